"""Text and paths: how long a file may be, where it may lie, and what of it may reach a terminal."""

import os
import unicodedata
from pathlib import Path

TEXT = 2**20  # bytes of a file that a person writes: a study, a compound, a cluster


class BoundError(ValueError):
    """A file that is not what it says it is, or more than is read; the message names the file, and the line if any."""


def text(path: Path, most: int = TEXT) -> str:
    """The text of a file of at most so many bytes. Errors: BoundError."""
    if not os.path.isfile(path):  # nor is a pipe or a device, which may have no end
        raise BoundError(f"{path}: no such file")
    with path.open("rb") as f:
        raw = f.read(most + 1)
    if len(raw) > most:
        raise BoundError(f"{path}: longer than the {most:,} bytes that are read of such a file")
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise BoundError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None


def inside(file: Path | str, root: Path) -> Path:
    """Where a file that a study names lies, below the project's root also once links are followed.
    Errors: BoundError."""
    path = root / file
    if not path.resolve().is_relative_to(root.resolve()):
        raise BoundError(f"'{file}' leaves the project; write a path below its root, that no link leads out of")
    return path


def printable(text: str) -> str:
    """Text for a terminal or a log: characters that would steer it, or cannot be seen, as their escape."""
    return "".join(
        c if c == "\n" or c.isprintable() or unicodedata.category(c) == "Zs" else c.encode("unicode_escape").decode()
        for c in text
    )
