"""Two tables have one content hash if and only if they say the same, whatever file they lie in."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.store import content_digest, table_digest

TABLE = pl.DataFrame(
    {
        "subject": ["0012", "12", None, "é"],
        "c": [0.1, None, float("nan"), -0.0],
        "code": pl.Series([0, 1, 2, None], dtype=pl.Int8),
        "left": [True, False, None, True],
    }
)


@pytest.mark.parametrize("compression", ["zstd", "uncompressed", "snappy"])
@pytest.mark.parametrize("group", [1, 3, 100])
def test_a_file_has_the_hash_of_its_table(tmp_path: Path, compression, group: int):
    TABLE.write_parquet(tmp_path / "a.parquet", compression=compression, row_group_size=group)
    assert content_digest(tmp_path / "a.parquet") == table_digest(TABLE)


def test_another_writer_gives_the_same_hash(tmp_path: Path):
    for version in ("1.0", "2.6"):
        pq.write_table(TABLE.to_arrow(), tmp_path / "a.parquet", version=version)
        assert content_digest(tmp_path / "a.parquet") == table_digest(TABLE)


CHANGES = {
    "a value": TABLE.with_columns(c=pl.Series([0.1, None, float("nan"), 0.0])),
    "missing for a number": TABLE.with_columns(c=pl.col("c").fill_null(0.0)),
    "missing for a text": TABLE.with_columns(subject=pl.col("subject").fill_null("")),
    "where a text ends": TABLE.with_columns(subject=pl.Series(["001", "212", None, "é"])),
    "a name": TABLE.rename({"c": "d"}),
    "the order of rows": TABLE.reverse(),
    "the order of columns": TABLE.select("c", "subject", "code", "left"),
    "the kind": TABLE.with_columns(pl.col("code").cast(pl.Int16)),
    "a row less": TABLE.head(3),
    "normal form of a text": TABLE.with_columns(subject=pl.Series(["0012", "12", None, "e\u0301"])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_hash_changes(change: str):
    assert table_digest(CHANGES[change]) != table_digest(TABLE)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.floats())), min_size=1, max_size=30),
    st.integers(1, 7),
)
def test_slices_put_together_again_have_the_hash_of_the_whole(rows, cut: int):
    whole = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Float64}, orient="row")
    assert table_digest(pl.concat(list(whole.iter_slices(cut)), rechunk=False)) == table_digest(whole)
    for part in whole.iter_slices(cut):
        assert table_digest(part) == table_digest(pl.DataFrame(part.rows(), schema=part.schema, orient="row"))
