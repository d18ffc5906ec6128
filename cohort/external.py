"""Data that is not ours to ship: found in the folder that the environment variable COHORT_DATA names."""

import os
from pathlib import Path, PurePosixPath

VARIABLE = "COHORT_DATA"


class AbsentData(FileNotFoundError):
    """A file of others that is not there; the message says what to obtain, from where, and where to put it."""


def found(path: str) -> Path | None:
    """The file or folder at `path` below COHORT_DATA; None where there is none."""
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts:
        raise ValueError(f"{path!r} leaves the folder of {VARIABLE}; write a path below it, such as trials/a/b.csv")
    folder = os.environ.get(VARIABLE)
    whole = Path(folder).expanduser() / plain if folder else None
    return whole if whole and whole.exists() else None


def file(path: str, *, obtain: str) -> Path:
    """The same, or a refusal. obtain: what it is and who gives it. Errors: AbsentData."""
    here = found(path)
    if here is None:
        folder = os.environ.get(VARIABLE)
        where = f"put it at {path} below {folder}" if folder else f"put it at {path} below a folder named by {VARIABLE}"
        raise AbsentData(f"{path} is not there: obtain {obtain}, and {where}")
    return here
