"""Chunks on disk: written once, whole, hashed; found again after a crash."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from cohort.record import canonical, file_digest


def write(path: Path, how: Callable[[Path], object]) -> None:
    """Write `path` whole or not at all: `how` fills a temporary file, which is synced and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        how(temporary)
        with temporary.open("rb") as f:
            os.fsync(f.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write(path, lambda temporary: temporary.write_text(text))


def write_table(path: Path, table: pl.DataFrame) -> None:
    write(path, lambda temporary: table.write_parquet(temporary))


def sidecar(path: Path) -> Path:
    return path.with_suffix(".commit")


def commit(path: Path, table: pl.DataFrame) -> None:
    """Write a chunk, then its sidecar: only a chunk whose sidecar names its hash exists."""
    write_table(path, table)
    mark = canonical({"sha256": file_digest(path), "rows": table.height})
    write_text(sidecar(path), mark)


def committed(path: Path) -> bool:
    """True for a chunk that is whole: present, and with the hash that its sidecar names."""
    if not (path.is_file() and sidecar(path).is_file()):
        return False
    return file_digest(path) in sidecar(path).read_text()
