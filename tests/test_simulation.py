"""A patient has the same bits whatever the chunks, the workers, and what was killed on the way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from cohort import simulation as room
from cohort.cluster import Local, client
from cohort.engine import CODES
from cohort.enrolment import PopulationError
from cohort.simulation import Counted, Simulation, SimulationError, simulate
from cohort.trial import MEAN

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")


@pytest.fixture(scope="module")
def study(laplace):
    """LAPLACE with three arms of twenty."""
    arms = {name: laplace.arms[name].model_copy(update={"n": 20}) for name in ARMS}
    return laplace.model_copy(update={"arms": arms})


@pytest.fixture(scope="module")
def parameters(evolocumab) -> pl.DataFrame:
    values = evolocumab.typical()
    draws = {name: [value, value * 1.1, value * 0.9] for name, value in values.items()}
    return pl.DataFrame({"draw": [MEAN, 1, 2], **draws})


@pytest.fixture(scope="module")
def company(people) -> pl.DataFrame:
    return people.head(150)


@pytest.fixture(scope="module")
def reference(study, company, parameters) -> pl.DataFrame:
    return simulate(study, company, parameters)


def test_everyone_is_in_every_arm_at_the_mean_and_in_one_arm_of_each_trial(study, company, reference):
    lanes = reference.filter(pl.col("time") == 0)
    mean, trials = lanes.filter(pl.col("draw") == MEAN), lanes.filter(pl.col("draw") != MEAN)
    assert mean.height == 150 * 3
    assert trials.height == 2 * 3 * 20
    assert trials.select("draw", "subject").is_duplicated().sum() == 0
    assert reference.height == lanes.height * len(study.visits)
    assert set(reference["code"]) == {0}


def test_a_patient_has_the_same_random_effects_in_every_arm(reference):
    """On placebo nobody has drug; at the first visit nobody has had any, and LDL is the patient's own."""
    first = reference.filter((pl.col("time") == 0) & (pl.col("draw") == MEAN))
    assert first.group_by("subject").agg(pl.col("ldl").n_unique())["ldl"].max() == 1
    assert reference.filter(pl.col("arm") == "placebo_q2w")["c"].abs().max() == 0


@pytest.mark.parametrize("chunk", [37, 128, 2048])
def test_chunks_of_any_size_give_the_same_bits(study, company, parameters, reference, chunk: int):
    assert simulate(study, company, parameters, chunk=chunk).equals(reference)


def test_few_patients_are_work_for_many_workers(study, company, parameters):
    """570 lanes, in as many pieces as are worth it; a million are cut by size alone."""
    few = Simulation.of(study, company, parameters).chunks()
    assert sum(part.height for _, part in few) == 570
    assert max(part.height for _, part in few) == 35
    many = {"arm": pl.DataFrame({"row": range(1_000_000)})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "lanes", lambda *_: many)
        assert Simulation.of(study, company, parameters).chunks()[0][1].height == room.CHUNK


def test_a_patient_alone_has_the_bits_of_the_cohort(study, company, reference):
    alone = simulate(study, company[100:101])
    who = company["subject"][100]
    assert alone.equals(reference.filter((pl.col("subject") == who) & (pl.col("draw") == MEAN)))


def test_people_in_another_order_have_the_same_bits(study, company, parameters, reference):
    shuffled = simulate(study, company.reverse(), parameters)
    key = ["draw", "arm", "subject", "time"]
    assert shuffled.sort(key).equals(reference.sort(key))


def test_chunks_on_disk_are_found_again(study, company, parameters, reference, tmp_path: Path):
    first = simulate(study, company, parameters, state=tmp_path, chunk=128)
    written = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    seen: list[tuple[int, int]] = []
    again = simulate(study, company, parameters, state=tmp_path, chunk=128, progress=lambda *p: seen.append(p))
    assert first.equals(reference)
    assert again.equals(reference)
    assert written == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}, "nothing was left to do"
    assert seen == [(i + 1, len(seen)) for i in range(len(written) // 2)]


def test_what_was_lost_or_damaged_is_made_again(study, company, parameters, reference, tmp_path: Path):
    simulate(study, company, parameters, state=tmp_path, chunk=128)
    chunks = sorted(tmp_path.glob("*.parquet"))
    chunks[0].unlink()
    chunks[1].write_bytes(b"half a chu")
    chunks[2].with_suffix(".commit").unlink()
    (tmp_path / ".left-behind.parquet").write_bytes(b"a killed writer's temporary file")
    assert simulate(study, company, parameters, state=tmp_path, chunk=128).equals(reference)


def test_another_seed_parameter_or_person_is_another_chunk(study, company, parameters, tmp_path: Path):
    simulate(study, company, parameters, state=tmp_path)
    n = len(list(tmp_path.glob("*.parquet")))
    simulate(study.model_copy(update={"seed": study.seed + 1}), company, parameters, state=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 2 * n
    simulate(study, company, parameters.with_columns(pl.col("kout") * (1 + 1e-15)), state=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 3 * n
    tiny = [parameters.with_columns(drift=pl.lit(value)) for value in (1e-20, 2e-20)]
    for table in tiny:
        simulate(study, company, table, state=tmp_path)
    assert len(list(tmp_path.glob("*.parquet"))) == 5 * n


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from cohort.study import read_study
from cohort.simulation import simulate

study = read_study(sys.argv[1])
study = study.model_copy(update={"arms": {n: study.arms[n].model_copy(update={"n": 20}) for n in sys.argv[4:]}})
people, parameters = (pl.read_parquet(p) for p in sys.argv[2].split(":"))
def progress(done, of):
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
simulate(study, people, parameters, state=Path(sys.argv[3]), chunk=128, progress=progress)
"""


def test_a_killed_simulation_goes_on_to_the_same_bits(study, company, parameters, reference, tmp_path: Path):
    company.write_parquet(tmp_path / "people.parquet")
    parameters.write_parquet(tmp_path / "parameters.parquet")
    tables = f"{tmp_path / 'people.parquet'}:{tmp_path / 'parameters.parquet'}"
    command = [sys.executable, "-c", KILLED, str(study.path), tables, str(tmp_path / "state"), *ARMS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "state").glob("*.commit"))) == 2
    assert simulate(study, company, parameters, state=tmp_path / "state", chunk=128).equals(reference)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_bits(study, company, parameters, reference, tmp_path: Path, workers: int):
    with client(Local(workers=workers)) as dask:
        spread = simulate(study, company, parameters, client=dask, state=tmp_path, chunk=64 * workers)
    assert spread.equals(reference)


def test_what_a_worker_runs_lives_in_the_package(study, company, parameters):
    """A function of a script travels by value, and what it compiles is lost after every task."""
    simulation = room.Simulation.of(study, company, parameters)
    assert simulation.job(*simulation.chunks(64)[0]).work.__module__ == "cohort.simulation"


def test_a_patient_who_fails_is_a_row_with_a_reason_and_nobody_elses_bits_change(study, company, parameters, reference):
    """A spread so wide that exp(eta) overflows for some: their clearance is no number."""
    wide = parameters.filter(pl.col("draw") == MEAN).with_columns(pl.lit(1500.0).alias("ka.spread"))
    lenient = study.model_copy(update={"analysis": study.analysis.model_copy(update={"max_failed_fraction": 1.0})})
    with pytest.raises(SimulationError, match="simulated patients failed"):
        simulate(study, company, wide)
    visits = simulate(lenient, company, wide)
    assert visits.height == reference.filter(pl.col("draw") == MEAN).height
    failed = visits.filter(pl.col("code") > 0)
    assert 0 < failed["subject"].n_unique() < 150
    assert {CODES[c] for c in set(failed["code"])} <= set(CODES[1:])
    assert failed["ldl"].is_nan().all()
    placebo = visits.filter((pl.col("arm") == "placebo_q2w") & (pl.col("code") == 0))
    same = placebo.join(reference.filter(pl.col("draw") == MEAN), on=["draw", "arm", "subject", "time"])
    assert same["ldl"].equals(same["ldl_right"])


def test_more_failures_than_the_study_allows_stop_it_with_a_count_by_arm_and_reason(study, reference):
    def check(study, visits: pl.DataFrame) -> None:
        counted = Counted(study)
        for part in visits.iter_slices(13 * 64):
            counted.add(part)
        counted.check()

    check(study, reference)
    some = reference["subject"].unique().sort()[:3]
    broken = reference.with_columns(
        code=pl.when(pl.col("subject").is_in(some.implode()) & (pl.col("arm") == ARMS[1])).then(1).otherwise(0)
    )
    failed = broken.filter((pl.col("time") == 0) & (pl.col("code") > 0)).height
    assert failed < 0.01 * 570  # of 450 + 120 lanes: allowed
    check(study, broken)
    strict = study.model_copy(update={"analysis": study.analysis.model_copy(update={"max_failed_fraction": 0.0})})
    with pytest.raises(
        SimulationError, match=f"{failed} of 570 simulated patients failed: {ARMS[1]}: {failed} step limit"
    ):
        check(strict, broken)


def test_people_who_are_none_are_refused_before_anything_is_solved(study, company, tmp_path: Path):
    with pytest.raises(PopulationError, match="weight"):
        simulate(study, company.with_columns(weight=-pl.col("weight")), state=tmp_path)
    assert list(tmp_path.iterdir()) == []
