"""A file is there whole or not at all, and its bytes do not tell how it was written."""

import errno
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.record import file_digest
from cohort.store import StoreError, files, sweep, write, write_rows, write_text


def test_a_file_whose_writing_fails_is_not_there(tmp_path: Path):
    def half(path: Path) -> None:
        path.write_text("half of it")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write(tmp_path / "deep" / "a.txt", half)
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_failed_rewrite_leaves_the_old_file(tmp_path: Path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "a.txt", lambda path: path.write_text("new") / 0)  # type: ignore[operator]
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def _table(rows: int) -> pl.DataFrame:
    made = np.random.default_rng(rows)
    names = pl.Series("subject", [f"{i:07d}" for i in range(rows)])
    return pl.DataFrame(
        {"subject": names, "c": made.normal(size=rows), "code": pl.Series(made.integers(0, 3, rows), dtype=pl.Int8)}
    )


@pytest.mark.parametrize("cut", [1000, 777, 64])
def test_rows_written_in_pieces_give_the_bytes_of_one_piece(tmp_path: Path, monkeypatch, cut: int):
    monkeypatch.setattr(files, "ROWS", 600)
    table = _table(1000)
    assert write_rows(tmp_path / "one.parquet", [table]) == 1000
    assert write_rows(tmp_path / "many.parquet", table.iter_slices(cut)) == 1000
    assert file_digest(tmp_path / "many.parquet") == file_digest(tmp_path / "one.parquet")
    assert pl.read_parquet(tmp_path / "many.parquet").equals(table)


def test_an_error_between_pieces_leaves_nothing(tmp_path: Path):
    def pieces():
        yield _table(10)
        raise RuntimeError("too many patients failed")

    with pytest.raises(RuntimeError, match="too many"):
        write_rows(tmp_path / "a.parquet", pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_named(tmp_path: Path):
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=f"{tmp_path}: the disk is full; what is finished is kept: run again after"):
        write(tmp_path / "a.txt", full)


def test_what_killed_writers_left_is_removed_but_chunks_are_left_alone(tmp_path: Path):
    left = [".trial-0a_b1c2d.parquet", "arms/.high-abcdefgh.parquet", "made/.simulate-01234567.json"]
    kept = [".gitkeep", "arms/high-abcdefgh.parquet", "state/simulate/.chunk-abcdefgh.parquet", ".x-abc.parquet"]
    for name in left + kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert sorted(str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_file()) == sorted(kept)
