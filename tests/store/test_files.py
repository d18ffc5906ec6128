"""A chunk is there whole or not at all."""

from pathlib import Path

import polars as pl
import pytest

from cohort.store import commit, committed, sidecar, write, write_text

TABLE = pl.DataFrame({"subject": ["1", "2"], "c": [0.1, None]})


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


def test_a_committed_chunk_reads_back(tmp_path: Path):
    chunk = tmp_path / "chunk.parquet"
    commit(chunk, TABLE)
    assert committed(chunk)
    assert pl.read_parquet(chunk).equals(TABLE)


def test_a_chunk_without_its_sidecar_does_not_exist(tmp_path: Path):
    chunk = tmp_path / "chunk.parquet"
    commit(chunk, TABLE)
    sidecar(chunk).unlink()
    assert not committed(chunk)


def test_a_sidecar_without_its_chunk_is_nothing(tmp_path: Path):
    chunk = tmp_path / "chunk.parquet"
    commit(chunk, TABLE)
    chunk.unlink()
    assert not committed(chunk)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_chunk_with_one_wrong_byte_is_not_committed(tmp_path: Path, place: int):
    chunk = tmp_path / "chunk.parquet"
    commit(chunk, TABLE)
    raw = bytearray(chunk.read_bytes())
    raw[place] ^= 1
    chunk.write_bytes(raw)
    assert not committed(chunk)


def test_an_empty_sidecar_commits_nothing(tmp_path: Path):
    chunk = tmp_path / "chunk.parquet"
    commit(chunk, TABLE)
    sidecar(chunk).write_text("")
    assert not committed(chunk)
