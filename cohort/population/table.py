"""People as a table: Arrow with unit, meaning and source of every column, written to Parquet block by block."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cohort.population.causal import Column

ROWS = 65_536  # of a row group


def schema(columns: Mapping[str, Column], about: Mapping[str, str] | None = None) -> pa.Schema:
    """Fields of these columns, `subject` first, with unit, meaning, source in each field's metadata."""
    fields = [pa.field("subject", pa.string(), nullable=False, metadata={"about": "id of the person"})]
    for name, column in columns.items():
        kind = pa.string() if column.levels else pa.float64()
        told = {"unit": column.unit, "about": column.about, "source": column.source}
        told |= {"levels": ", ".join(column.levels)} if column.levels else {}
        fields.append(pa.field(name, kind, nullable=False, metadata=told))
    return pa.schema(fields, metadata=dict(about or {}))


def table(subjects: list[str], people: Mapping[str, np.ndarray], columns: Mapping[str, Column]) -> pa.Table:
    """An Arrow table of people. people: (n,) each, categories by the index of their level."""
    arrays: list[pa.Array] = [pa.array(subjects, pa.string())]
    for name, column in columns.items():
        values = people[name]
        if column.levels:
            arrays.append(pa.DictionaryArray.from_arrays(values.astype(np.int32), list(column.levels)).cast("string"))
        else:
            arrays.append(pa.array(values))
    return pa.Table.from_arrays(arrays, schema=schema(columns))


def write(path: Path, blocks: Iterable[pa.Table], shape: pa.Schema) -> int:
    """Write tables one after another, in row groups of ROWS. Returns the number of rows."""
    waiting: list[pa.Table] = []
    rows = total = 0
    texts = [f.name for f in shape if f.type == pa.string() and f.name != "subject"]
    # Measured: random doubles do not compress, and their statistics cost a tenth of the writing.
    how: dict[str, Any] = {"compression": "none", "use_dictionary": texts, "write_statistics": ["subject"]}
    with pq.ParquetWriter(path, shape, **how) as writer:
        for block in blocks:
            waiting.append(block)
            rows, total = rows + block.num_rows, total + block.num_rows
            if rows >= ROWS:
                writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
                waiting, rows = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=rows)
    return total
