"""Jobs are done once, in order, tried again, and never waited for in silence."""

import errno
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cohort.store import Job, Stalled, Store, StoreError, lock, run
from cohort.store.lock import Busy
from cohort.study import StudyError


def squared(n: int, calls: Path | None = None) -> pl.DataFrame:
    if calls is not None:
        with calls.open("a") as f:
            f.write(f"{n}\n")
    return pl.DataFrame({"n": [n * n]})


def _jobs(n: int, calls: Path) -> list[Job]:
    return [Job(f"job{i}", squared, (i, calls)) for i in range(n)]


@pytest.fixture(scope="module")
def threads() -> Iterator:
    from distributed import Client

    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        yield client


@pytest.fixture(params=["here", "threads"])
def client(request: pytest.FixtureRequest):
    return None if request.param == "here" else request.getfixturevalue("threads")


def test_keys_come_in_the_order_of_the_jobs_and_each_job_is_done_once(tmp_path: Path, client):
    store, calls = Store.at(tmp_path / "state"), tmp_path / "calls"
    assert list(run(store, _jobs(200, calls), client=client)) == [f"job{i}" for i in range(200)]
    assert [store.read(f"job{i}")["n"][0] for i in (0, 7, 199)] == [0, 49, 199 * 199]
    assert list(run(store, _jobs(200, calls), client=client)) == [f"job{i}" for i in range(200)]
    assert sorted(map(int, calls.read_text().split())) == list(range(200))


def test_what_is_there_is_not_done_again_and_a_damaged_chunk_is(tmp_path: Path, client):
    store, calls, heard = Store.at(tmp_path / "state"), tmp_path / "calls", []
    list(run(store, _jobs(5, calls), client=client))
    (tmp_path / "state/job3.parquet").write_bytes(b"")
    (tmp_path / "state/job4.commit").unlink()
    calls.unlink()
    list(run(store, _jobs(6, calls), client=client, said=heard.append))
    assert sorted(map(int, calls.read_text().split())) == [3, 4, 5]
    assert len(heard) == 1
    assert "chunk job3 was damaged; it is set aside" in heard[0]


def test_jobs_are_taken_as_they_are_needed(tmp_path: Path, client):
    """Of endless jobs some are run, and few more than were asked for."""
    store, calls = Store.at(tmp_path / "state"), tmp_path / "calls"
    endless = (Job(f"job{i}", squared, (i, calls)) for i in itertools.count())
    assert list(itertools.islice(run(store, endless, client=client), 10)) == [f"job{i}" for i in range(10)]
    assert len(calls.read_text().split()) < 200


def failing(marks: Path, times: int) -> pl.DataFrame:
    with marks.open("a") as f:
        f.write("x")
    if marks.stat().st_size <= times:
        raise MemoryError("a worker ran out of memory")
    return pl.DataFrame({"n": [1]})


def test_a_job_that_fails_twice_is_tried_a_third_time(tmp_path: Path, client):
    store = Store.at(tmp_path / "state")
    jobs = [Job("flaky", failing, (tmp_path / "marks", 2)), Job("next", squared, (2,))]
    assert list(run(store, jobs, client=client)) == ["flaky", "next"]
    assert (tmp_path / "marks").stat().st_size == 3


def test_a_job_that_always_fails_is_put_in_quarantine_and_the_others_are_done(tmp_path: Path, client):
    store = Store.at(tmp_path / "state")
    jobs = [Job("bad", failing, (tmp_path / "marks", 99)), Job("good", squared, (2,))]
    with pytest.raises(StoreError, match="1 chunks failed each time; the first, bad: MemoryError: a worker ran out"):
        list(run(store, jobs, client=client))
    assert store.committed("good")
    assert "MemoryError" in (tmp_path / "state/quarantine/bad.txt").read_text()
    assert (tmp_path / "marks").stat().st_size == 3


def refusing(marks: Path) -> pl.DataFrame:
    with marks.open("a") as f:
        f.write("x")
    raise StudyError([])


def test_a_refusal_of_our_own_is_final(tmp_path: Path, client):
    with pytest.raises(StudyError):
        list(run(Store.at(tmp_path / "state"), [Job("a", refusing, (tmp_path / "marks",))], client=client))
    assert (tmp_path / "marks").stat().st_size == 1


def full() -> pl.DataFrame:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_stops_the_run_at_once_and_says_so(tmp_path: Path, client):
    with pytest.raises(StoreError, match="the disk is full; what is finished is kept: run again after"):
        list(run(Store.at(tmp_path / "state"), [Job("a", full)], client=client))


def stuck(seconds: float) -> pl.DataFrame:
    time.sleep(seconds)
    return pl.DataFrame({"n": [1]})


def test_a_run_that_does_not_move_fails_loudly(tmp_path: Path, threads):
    store = Store.at(tmp_path / "state", patience=1)
    with pytest.raises(Stalled, match="no chunk was finished for 1 s: 1 workers, 1 of them hold jobs, 0 paused"):
        list(run(store, [Job("quick", squared, (2,)), Job("slow", stuck, (3,))], client=threads))
    assert store.committed("quick")


# --- one run at a time -----------------------------------------------------------------------------------------------


def test_a_second_run_is_told_who_is_at_work(tmp_path: Path):
    with lock(tmp_path, "cohort simulate"):
        with pytest.raises(Busy, match=r"is in use: cohort simulate, process \d+ on .* since 20.*Wait until it ends"):
            lock(tmp_path, "cohort population").__enter__()
        assert "cohort simulate" in (tmp_path / "lock").read_text(), "who was refused leaves no mark"


def test_a_lock_ends_with_its_block_or_its_process(tmp_path: Path):
    with lock(tmp_path, "first"):
        pass
    with lock(tmp_path, "second"):
        assert (tmp_path / "lock").read_text().startswith("second")
