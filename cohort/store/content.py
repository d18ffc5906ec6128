"""A hash of what a table says, whatever file, row groups, compression or version of a library it is written with."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cohort.record import digest

BATCH = 1 << 18  # rows held at a time


class _Column:
    """Hash of a column's values, fed piece by piece: which are missing, the values, and of text the lengths."""

    def __init__(self, kind: str):
        self.kind = kind
        self.missing, self.values, self.lengths = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()

    def add(self, column: Any) -> None:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        self.missing.update(np.ascontiguousarray(column.is_null().to_numpy(zero_copy_only=False)).tobytes())
        if self.kind == "text":
            column = column.fill_null("").cast(pa.large_binary())
            # Values of a slice stand between its first offset and its last.
            _, offsets, data = column.buffers()
            at = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
            self.lengths.update(np.diff(at).tobytes())
            if data is not None:
                self.values.update(memoryview(data)[int(at[0]) : int(at[-1])])
        else:
            zero = False if self.kind == "bool" else 0
            filled = column.fill_null(pa.scalar(zero, column.type)).to_numpy(zero_copy_only=False)
            self.values.update(np.ascontiguousarray(filled).tobytes())

    def hexdigest(self) -> str:
        return digest([self.kind, self.missing.hexdigest(), self.values.hexdigest(), self.lengths.hexdigest()])


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(kind)
    raise TypeError(f"a column of {kind} has no content hash; tables here hold text, numbers, yes and no")


def _digest(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> str:
    columns = {field.name: _Column(_kind(field.type)) for field in schema}
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        for name, column in columns.items():
            column.add(batch.column(name))
    return digest([rows, [[name, column.hexdigest()] for name, column in columns.items()]])


def content_digest(path: Path) -> str:
    """SHA-256 of a Parquet file's columns, names and kinds in order; memory does not grow with the file."""
    with pq.ParquetFile(path) as file:
        return _digest(file.schema_arrow, file.iter_batches(BATCH))


def table_digest(table: pl.DataFrame) -> str:
    """The same of a table in memory."""
    arrow = table.to_arrow()
    return _digest(arrow.schema, arrow.to_batches(BATCH))
