"""Files written whole or not at all."""

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 1 << 20  # of a row group
FULL = {errno.ENOSPC: "the disk is full", errno.EROFS: "the disk is read-only", errno.EDQUOT: "the quota is used up"}
FULL |= {errno.EACCES: "writing is not allowed", errno.EPERM: "writing is not allowed"}
TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}(\.\w+)?")


class StoreError(RuntimeError):
    """Chunks or files that cannot be made or kept; the message says what is done, what is not, and what to do."""


class NoRoom(StoreError):
    """A disk that takes no more."""


@contextlib.contextmanager
def room(place: object) -> Iterator[None]:
    """A disk that takes no more is told as such. Errors: NoRoom."""
    try:
        yield
    except OSError as e:
        if e.errno not in FULL:
            raise
        raise NoRoom(f"{place}: {FULL[e.errno]}; what is finished is kept: run again after") from e


def write(path: Path, how: Callable[[Path], object]) -> None:
    """Write `path` whole or not at all: `how` fills a temporary file, which is synced and then renamed. Errors: NoRoom
    where the disk takes no more."""
    with room(path.parent):
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
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a result folder, but those of chunks, which `Store.keep`
    removes. For whoever holds the folder's lock."""
    for parent, folders, files in os.walk(folder):
        if "state" in folders:
            folders.remove("state")
        for name in files:
            if TEMPORARY.fullmatch(name):
                (Path(parent) / name).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """The rename itself reaches the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    write(path, lambda temporary: temporary.write_text(text))


def write_table(path: Path, table: pl.DataFrame) -> None:
    def rows(temporary: Path) -> None:
        with temporary.open("wb") as f:  # of a full disk Polars itself tells no errno
            table.write_parquet(f)

    write(path, rows)


def write_rows(path: Path, tables: Iterable[pl.DataFrame]) -> int:
    """Write tables of one schema one after another, at least one, holding few of them in memory; the file's bytes do
    not depend on how the rows were cut. Returns the number of rows."""
    total = 0

    def rows(temporary: Path) -> None:
        nonlocal total
        writer: pq.ParquetWriter | None = None
        waiting: list[pa.Table] = []
        held = 0
        try:
            for table in tables:
                arrow = table.to_arrow()
                if writer is None:
                    texts = [f.name for f in arrow.schema if pa.types.is_large_string(f.type)]
                    # Measured: dictionaries of doubles are given up after a page, and cost the trying.
                    how: dict[str, Any] = {"compression": "zstd", "use_dictionary": texts, "write_statistics": texts}
                    writer = pq.ParquetWriter(temporary, arrow.schema, **how)
                waiting.append(arrow)
                held, total = held + arrow.num_rows, total + arrow.num_rows
                while held >= ROWS:
                    together = pa.concat_tables(waiting)
                    writer.write_table(together.slice(0, ROWS).combine_chunks(), row_group_size=ROWS)
                    waiting, held = [together.slice(ROWS)], held - ROWS
            if writer is not None and held:
                writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=ROWS)
        finally:
            if writer is not None:
                writer.close()

    write(path, rows)
    return total
