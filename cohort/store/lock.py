"""One run at a time in a folder."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cohort.store.files import room


class Busy(RuntimeError):
    """Another run is at work in the same folder; the message says which, and what to do."""


@contextlib.contextmanager
def lock(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder` for this process. The lock dies with its process, so none is ever left over. Errors: Busy."""
    with room(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / "lock").open("a+")
    with held as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            f.seek(0)
            raise Busy(
                f"{folder} is in use: {f.read().strip() or 'another run'}. "
                "Wait until it ends, or stop it; two runs must not write to one folder"
            ) from None
        now = datetime.now(UTC).isoformat(timespec="seconds")
        f.truncate(0)
        f.write(f"{what}, process {os.getpid()} on {socket.gethostname()} since {now}")
        f.flush()
        yield
