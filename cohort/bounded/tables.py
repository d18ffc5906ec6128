"""Tables from elsewhere, CSV and Parquet: how large they may be, and nothing in them but cells."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cohort.bounded.files import BoundError, text

CSV = 2**28  # bytes
ROWS, COLUMNS, CELLS = 5_000_000, 2_000, 50_000_000
CELL = 32_767  # characters, as in a spreadsheet
UNPACKED = 2**31  # bytes of a Parquet file, once decompressed


def csv_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and every row that is not empty with the line that it ends on; rows may be ragged.
    Errors: BoundError with the line."""
    reader = csv.reader(io.StringIO(text(path, CSV).removeprefix("\ufeff"), newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    header: list[str] | None = None
    cells = 0
    try:
        for row in reader:
            cells += len(row)
            if len(row) > COLUMNS or len(rows) > ROWS or cells > CELLS:
                most = f"{ROWS:,} rows, {COLUMNS:,} columns and {CELLS:,} cells"
                raise BoundError(f"{path}:{reader.line_num}: more than the {most} that are read of a table")
            if any(len(cell) > CELL for cell in row):
                raise BoundError(f"{path}:{reader.line_num}: a cell of more than {CELL:,} characters")
            if header is None:
                header = row
            elif row:
                rows.append((reader.line_num, row))
    except csv.Error as e:
        raise BoundError(f"{path}:{reader.line_num}: not CSV: {e}") from None
    return header or [], rows


def parquet(path: Path) -> pa.Table:
    """Columns of numbers, yes or no, dates and text. Judged by its footer before anything is unpacked: rows, columns,
    bytes; no nested, binary or extension type. Text that is one word a million times over counts a million times.
    Errors: BoundError."""
    if not path.is_file():
        raise BoundError(f"{path}: no such file")
    try:
        with pq.ParquetFile(path) as file:
            footer, schema = file.metadata, file.schema_arrow
            groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
            unpacked = sum(g.column(j).total_uncompressed_size for g in groups for j in range(g.num_columns))
            rows, columns = footer.num_rows, len(schema.names)
            if rows > ROWS or columns > COLUMNS or rows * columns > CELLS:
                most = f"{ROWS:,} rows, {COLUMNS:,} columns and {CELLS:,} cells"
                raise BoundError(f"{path}: {rows:,} rows of {columns:,} columns; of a table {most} are read")
            if unpacked > UNPACKED or unpacked < 0:
                raise BoundError(f"{path}: {unpacked:,} bytes once unpacked; at most {UNPACKED:,} are read")
            wrong = [f"column {f.name!r} holds {kind}" for f in schema if (kind := _not_plain(f))]
            if wrong:
                raise BoundError(f"{path}: {'; '.join(wrong)}; write numbers, true or false, dates or text")
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            table = file.read()
        table.validate()
    except (pa.ArrowException, OSError, UnicodeError, ValueError) as e:
        raise e if isinstance(e, BoundError) else BoundError(f"{path}: not a whole Parquet file: {e}") from None
    if len(set(table.column_names)) < len(table.column_names):
        twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
        raise BoundError(f"{path}: columns {', '.join(map(repr, twice))} are there more than once; keep one")
    if sum(map(_letters, table.columns)) > UNPACKED // 2:
        raise BoundError(f"{path}: more than {UNPACKED // 2:,} characters of text")
    return table


def _not_plain(field: pa.Field) -> str | None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if isinstance(field.type, pa.BaseExtensionType) or b"ARROW:extension:name" in (field.metadata or {}):
        return "an extension type"
    plain = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
        pa.types.is_temporal,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    return None if any(is_one(kind) for is_one in plain) else str(kind)


def _letters(column: pa.ChunkedArray) -> int:
    """Characters if each cell were written out."""
    total = 0
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray) and pa.types.is_integer(chunk.indices.type):
            words = chunk.dictionary
            if not (pa.types.is_string(words.type) or pa.types.is_large_string(words.type)):
                continue
            lengths = np.array([0, *(len(word.as_py() or "") for word in words)])
            total += int(lengths[chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False) + 1].sum())
    return total
