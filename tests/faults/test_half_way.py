"""What happens half-way: another run, a clock that goes back, a worker that is stuck or out of memory, another model,
other code, and arms and chunks of nobody or one."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from disturbed import (
    LANES,
    SIMULATE,
    STUDY,
    TEXT,
    TRACE,
    Moment,
    chunks,
    done,
    made,
    project,
    ran,
    refused,
    started,
    unharmed,
    workers,
)

import cohort
from cohort.cluster import Local, client
from cohort.library import load
from cohort.posterior import parameter_draws
from cohort.record import Audit
from cohort.results import open_results
from cohort.simulation import Simulation
from cohort.store import Job, Stalled, Store, StoreError, run

pytestmark = pytest.mark.faults
RESULTS = "results/small"


# -- two runs


@pytest.mark.parametrize("words", [SIMULATE, ("population", STUDY)])
def test_a_second_run_is_refused_and_the_first_is_unharmed(folder: Path, reference, words: tuple[str, ...]):
    first = started(folder, *SIMULATE)
    Moment.of(2).wait(first, folder)
    os.kill(first.pid, signal.SIGSTOP)  # so that it is at work however slow the second starts
    (folder / "said.txt").rename(folder / "first.txt")
    before = chunks(folder)
    try:
        said = refused(folder, *words)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert f"{folder / RESULTS / 'state'} is in use: cohort simulate, process {first.pid} on " in said
    assert "two runs must not write to one folder" in said
    assert first.wait(120) == 0, (folder / "first.txt").read_text()
    unharmed(folder, reference, before)


# -- a clock that goes back

BACK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
/* A year and a day ago, for every library of the process. */
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    if (!failed && which == CLOCK_REALTIME) now->tv_sec -= 366 * 86400;
    return failed;
}
"""


@pytest.fixture(scope="session")
def a_year_ago(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process whose clock is behind."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler here, which makes the clock that is behind")
    place = tmp_path_factory.mktemp("clock")
    (place / "back.c").write_text(BACK)
    command = ["cc", "-shared", "-fPIC", "-o", str(place / "back.so"), str(place / "back.c"), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(place / "back.so")}


def test_a_clock_that_goes_back_breaks_no_chain_is_told_and_signs_nothing(
    folder: Path, reference, a_year_ago: dict[str, str]
):
    done(folder, *SIMULATE, **a_year_ago)
    assert made(folder) == reference
    trail = Audit(folder / RESULTS / "audit.jsonl")
    assert [line["event"] for line in trail.lines()] == ["population", "simulated"]
    first, second = (line["time"] for line in trail.lines())
    assert second < first
    assert trail.broken_at() is None
    done(folder, "seal", STUDY, "--partial")
    end = ran(folder, "verify", RESULTS, "--patients", "2")
    assert end.code in (0, 5), end.said
    assert "the clock went backwards 1 times" in end.said
    done(folder, "sign", "--new-key", "key.pem", "--name", "A Person")
    how = ("--key", "key.pem", "--name", "A Person", "--meaning", "approved")
    said = refused(folder, "sign", RESULTS, *how, **a_year_ago)
    assert "it went backwards; set it right" in said
    assert not (folder / RESULTS / "signatures").exists()
    done(folder, "sign", RESULTS, *how)


# -- workers


def _jobs(folder: Path) -> list[Job]:
    results = open_results(folder / STUDY)
    draws = parameter_draws(results.study, load(results.study.model), None)
    what = Simulation.of(results.study, results.enrolled, draws)
    return [what.job(arm, part) for arm, part in what.chunks(LANES)]


def test_a_stuck_worker_is_restarted_and_the_run_goes_on(undisturbed: Path, tmp_path: Path):
    """One of two workers is stopped among its chunks; nothing is finished for the seconds of patience."""
    store, jobs, heard = Store.at(tmp_path / "state", patience=10), _jobs(undisturbed), list[str]()
    with client(Local(processes=True, workers=2)) as found:
        stopped = None
        kept = []
        for key in run(store, jobs, client=found, said=heard.append):
            kept.append(key)
            if stopped is None:
                stopped = random.Random(1).choice(workers(os.getpid()))
                stopped.suspend()
        assert stopped is not None
        assert not stopped.is_running()
    assert kept == [job.key for job in jobs]
    assert [line for line in heard if line.startswith("no chunk was finished for 10 s: 2 workers")]
    theirs = Store.at(undisturbed / RESULTS / "state/simulate")
    assert all(store.read(key).equals(theirs.read(key)) for key in kept)


def stuck() -> pl.DataFrame:
    while True:
        time.sleep(1)


def test_a_job_that_never_ends_ends_the_run_loudly(tmp_path: Path):
    store, heard = Store.at(tmp_path / "state", patience=5), list[str]()
    jobs = [Job("stuck", stuck), *(Job(f"job{i}", small, (i,)) for i in range(8))]
    with (
        client(Local(processes=True, workers=1)) as found,
        pytest.raises(Stalled, match=r"no chunk was finished for 5 s: .*look at the workers, run again"),
    ):
        list(run(store, jobs, client=found, said=heard.append))
    assert [line for line in heard if line.endswith("those are restarted")]


def hungry(mark: Path, times: int) -> pl.DataFrame:
    """Takes all memory there is the first few times."""
    with mark.open("a") as f:
        f.write("x")
    if mark.stat().st_size <= times:
        taken = []
        for _ in range(200):
            taken.append(bytearray(os.urandom(1 << 20)) * 32)
            time.sleep(0.05)
    return pl.DataFrame({"n": [1]})


def small(n: int) -> pl.DataFrame:
    return pl.DataFrame({"n": [n]})


def test_a_worker_out_of_memory_once_is_replaced_and_its_job_is_done(tmp_path: Path):
    store, mark = Store.at(tmp_path / "state"), tmp_path / "mark"
    jobs = [Job(f"job{i}", small, (i,)) for i in range(8)]
    jobs.insert(4, Job("hungry", hungry, (mark, 1)))
    with client(Local(processes=True, workers=2, memory="700 MB")) as found:
        assert list(run(store, jobs, client=found)) == [job.key for job in jobs]
    assert mark.stat().st_size == 2


@pytest.mark.timeout(300)
def test_a_job_for_which_no_worker_has_the_memory_is_put_in_quarantine_and_the_others_are_done(tmp_path: Path):
    store, mark = Store.at(tmp_path / "state"), tmp_path / "mark"
    jobs = [Job(f"job{i}", small, (i,)) for i in range(8)]
    jobs.insert(4, Job("hungry", hungry, (mark, 1000)))
    with (
        client(Local(processes=True, workers=1, memory="700 MB")) as found,
        pytest.raises(StoreError, match="1 chunks failed each time; the first, hungry: KilledWorker"),
    ):
        list(run(store, jobs, client=found))
    print(f"{mark.stat().st_size} workers died of it")
    assert all(store.committed(f"job{i}") for i in range(8))
    assert "KilledWorker" in (tmp_path / "state/quarantine/hungry.txt").read_text()


# -- another model, other code

FASTER = ("kout: Scalar = fixed(0.305,", "kout: Scalar = fixed(0.405,")


def test_a_model_that_is_changed_half_way_leaves_nothing_of_the_old_one(own_model: Callable[..., Path], tmp_path: Path):
    folder = own_model()
    done(folder, "population", STUDY)
    first = started(folder, *SIMULATE)
    Moment.of(4).wait(first, folder)
    first.kill()
    first.wait()
    old = chunks(folder)
    assert old
    file = folder / "models/own.py"
    file.write_text(file.read_text().replace(*FASTER))
    said = refused(folder, *SIMULATE)
    assert f"population.parquet was made from another model; run: cohort population {STUDY}" in said
    done(folder, "population", STUDY)
    done(folder, *SIMULATE)
    assert not set(old) & set(chunks(folder))
    other = tmp_path / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("results"))
    done(other, "population", STUDY)
    done(other, "simulate", STUDY)
    assert made(folder) == made(other)
    # Finished results of the one model are refused beside the text of the other.
    file.write_text(file.read_text().replace(FASTER[1], FASTER[0]))
    said = refused(folder, "trial", STUDY)
    assert "was made from another model; run: cohort" in said


def test_people_of_other_code_are_told_by_the_record(folder: Path, tmp_path: Path, reference):
    """The same package with one more comment makes the people; this one makes the patients, and says so."""
    here = Path(cohort.__file__).resolve().parent
    there = tmp_path / "there"
    quiet = shutil.ignore_patterns("__pycache__")
    shutil.copytree(here, there / "cohort", ignore=quiet)
    shutil.copytree(here.parent / "models", there / "models", ignore=quiet)
    (there / "cohort/enrolment.py").open("a").write("# Another version.\n")
    done(folder, "population", STUDY, PYTHONPATH=str(there))
    done(folder, *SIMULATE)
    codes = {
        s: json.loads((folder / RESULTS / f"made/{s}.json").read_text())["code"] for s in ("population", "simulate")
    }
    assert codes["population"] != codes["simulate"]
    assert made(folder) == reference
    end = done(folder, "seal", STUDY, "--partial")
    manifest = json.loads((folder / RESULTS / "manifest.json").read_text())
    assert {s: manifest["steps"][s]["code"] for s in codes} == codes
    checked = ran(folder, "verify", RESULTS, "--patients", "2")
    print(end.said, checked.said)
    assert "other code" in end.said + checked.said


# -- nobody, and one


def test_an_arm_of_nobody_is_refused(folder: Path):
    file = folder / STUDY
    file.write_text(file.read_text().replace("low:     {n: 20,", "low:     {n: 0,"))
    line = next(i for i, row in enumerate(file.read_text().splitlines(), 1) if "{n: 0," in row)
    assert f"{STUDY}:{line}  arms.low.n: " in refused(folder, *SIMULATE)


@pytest.mark.parametrize("size", [20])
def test_a_chunk_of_one_patient_changes_no_byte(tmp_path: Path, size: int):
    text = TEXT.replace("size: 1200", f"size: {size}").replace("{n: 20", "{n: 5")
    folder = project(tmp_path / "project", text)
    done(folder, "population", STUDY)
    done(folder, "simulate", STUDY)
    whole = made(folder)
    shutil.rmtree(folder / RESULTS / "arms")
    shutil.rmtree(folder / RESULTS / "state")
    done(folder, "simulate", STUDY, "--chunk", "1")
    assert made(folder) == whole
    assert len(chunks(folder)) == 3 * (size + 16 * 5)


def test_an_arm_to_which_nobody_is_allocated_in_some_draw_is_simulated_and_its_trials_go_on(tmp_path: Path):
    """Two patients an arm, in blocks within many strata: some trials have nobody in an arm."""
    text = TEXT.replace("size: 1200", "size: 20").replace("{n: 20", "{n: 2")
    strata = "[sex, age >= 55 y, ldl >= 120 mg/dL, weight >= 80 kg, height >= 170 cm]"
    conduct = "conduct: {dropout: 0.04, source: assumption"
    assert conduct in text
    text = text.replace(conduct, f"{conduct}, allocation: {{blocks: 3, strata: {strata}}}")
    folder = project(tmp_path / "project", text)
    done(folder, "population", STUDY)
    done(folder, "simulate", STUDY)
    tables = {f.stem: pl.read_parquet(f) for f in (folder / RESULTS / "arms").iterdir()}
    assert {name: table.filter(draw=0)["subject"].n_unique() for name, table in tables.items()} == dict.fromkeys(
        tables, 20
    )
    empty = [(n, d) for n, table in tables.items() for d in range(1, 17) if not (table["draw"] == d).any()]
    assert empty
    end = ran(folder, "trial", STUDY)
    print(end.code, end.said)
    assert end.code in (0, 2)
    assert TRACE not in end.said
