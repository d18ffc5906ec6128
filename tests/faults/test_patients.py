"""One patient never sinks the ship: what is no number is refused by its row, who cannot be solved fails alone and is
counted, and too many of them stop the run."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from disturbed import SIMULATE, STUDY, TEXT, content, done, project, refused

from cohort.engine import CODES
from cohort.enrolment import PopulationError, check_people
from cohort.record import Audit
from cohort.results import open_results
from cohort.simulation import Simulation
from cohort.streams import streams
from cohort.study import read_study

pytestmark = pytest.mark.faults
RESULTS = "results/small"


# -- files of people


def people_file(folder: Path, change: Callable[[list[dict]], None] = lambda rows: None) -> Path:
    """A project of own people, ten of them."""
    text = TEXT.replace("source: us\n", "source: resample\n  people: people.csv\n").replace("size: 1200", "size: 40")
    text = text.replace("{n: 20", "{n: 10")
    rows = [
        {"subject": f"p{i}", "sex": ("male", "female")[i % 2], "age": 40 + i, "height": 170 + i, "weight": 70 + i}
        | {"ancestry": "Other"}
        for i in range(10)
    ]
    change(rows)
    made = project(folder, text)
    lines = [",".join(rows[0]), *(",".join(str(v) for v in row.values()) for row in rows)]
    (made / "people.csv").write_text("\n".join(lines) + "\n")
    return made


@pytest.mark.parametrize("value", ["nan", "inf", "", "1e999"])
@pytest.mark.parametrize("column", ["weight", "age"])
def test_a_covariate_that_is_no_number_is_refused_by_its_rows(tmp_path: Path, column: str, value: str):
    def change(rows: list[dict]) -> None:
        for i in (3, 7):
            rows[i][column] = value

    said = refused(people_file(tmp_path, change), "population", STUDY)
    for row in (4, 8):
        assert f"row {row}, column '{column}'" in said
    assert not (tmp_path / RESULTS / "population.parquet").exists()


@pytest.mark.parametrize("column", ["weight", "height", "age"])
def test_a_covariate_beyond_all_bodies_is_refused_by_its_row(tmp_path: Path, column: str):
    def change(rows: list[dict]) -> None:
        rows[3][column] = "1e300"

    folder = people_file(tmp_path, change)
    said = refused(folder, "population", STUDY)
    assert f"column '{column}'" in said
    assert "row 4" in said


@pytest.mark.parametrize("value", [math.nan, 1e300, -1.0, math.inf])
def test_people_of_a_notebook_are_checked_row_by_row(undisturbed: Path, value: float):
    results = open_results(undisturbed / STUDY)
    people = results.enrolled.with_row_index("row")
    wrong = people.with_columns(ldl=pl.when(pl.col("row").is_in([1, 1100])).then(value).otherwise("ldl")).drop("row")
    with pytest.raises(PopulationError) as refusal:
        check_people(results.study, wrong)
    lines = str(refusal.value).splitlines()
    assert [line.split(",")[0] for line in lines] == ["row 2", "row 1101"]
    assert all("column 'ldl'" in line and "write a number from 10 to 800 mg/dL" in line for line in lines)
    with pytest.raises(PopulationError):
        Simulation.of(results.study, wrong, None)


# -- ids


def test_0012_and_12_stay_two_people_with_streams_of_their_own(tmp_path: Path):
    def change(rows: list[dict]) -> None:
        rows[0]["subject"], rows[1]["subject"], rows[2]["subject"] = "0012", "12", "a b"

    folder = people_file(tmp_path, change)
    done(folder, "population", STUDY)
    done(folder, "simulate", STUDY)
    people = pl.read_parquet(folder / RESULTS / "population.parquet")
    assert people["subject"].dtype == pl.String
    assert people["subject"].n_unique() == 40
    first, second = (streams(7, "effects", [name]).normal("cl") for name in ("0012", "12"))
    assert not np.array_equal(first, second)
    # Simulated under their own ids they are two as well.
    results = open_results(folder / STUDY)
    renamed = results.enrolled.head(2).with_columns(subject=pl.Series(["0012", "12"]))
    same = pl.concat([renamed.head(1), renamed.head(1).with_columns(subject=pl.lit("12"))])
    visits = Simulation.of(results.study, same, pl.DataFrame({"draw": [0], **_typical(results)}))
    (table,) = [rows for arm, rows in _solved(visits) if arm == "high"]
    assert table["subject"].unique(maintain_order=True).to_list() == ["0012", "12"]
    one, two = (table.filter(subject=name)["c"].to_numpy() for name in ("0012", "12"))
    assert not np.array_equal(one[1:], two[1:])


def _typical(results) -> dict[str, list[float]]:
    from cohort.library import load

    return {k: [v] for k, v in load(results.study.model, results.study.path.parent).typical().items()}


def _solved(what: Simulation) -> list[tuple[str, pl.DataFrame]]:
    jobs = [(arm, what.job(arm, part)) for arm, part in what.chunks(10_000)]
    return [(arm, job.work(*job.args)) for arm, job in jobs]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ((" 12", "12"), "row 1, column 'subject'"),
        (("12 ", "12"), "row 1, column 'subject'"),
        (("1\u00a02", "12"), "row 1, column 'subject'"),
        (("1\u200b2", "12"), "row 1, column 'subject'"),
        (("caf\u00e9", "cafe\u0301"), "row 2, column 'subject'"),
        (("12", "12"), "row 2, column 'subject': the id of row 1 again"),
    ],
)
def test_ids_that_only_look_alike_are_refused_by_their_rows(tmp_path: Path, ids: tuple[str, str], said: str):
    def change(rows: list[dict]) -> None:
        rows[0]["subject"], rows[1]["subject"] = ids

    assert said in refused(people_file(tmp_path, change), "population", STUDY)


# -- solves that fail

START = "central=0.0, ldl=p.base)"  # of the library's model
SEEN = "ldl=y.ldl + p.base"
# What becomes of who has more LDL cholesterol than a limit, and how it is called.
KINDS = {
    "no number": (START, "central=0.0, ldl=jnp.where(p.base > LIMIT, jnp.nan, p.base))", "not finite"),
    "beyond": (SEEN, "ldl=jnp.where(p.base > LIMIT, 1e300, 1.0) * y.ldl + p.base", "out of plausible range"),
}


def _model(own_model: Callable[..., Path], kind: str, limit: float, *study: tuple[str, str]) -> Path:
    before, after, _ = KINDS[kind]
    return own_model((before, after.replace("LIMIT", repr(limit))), study=study)


@pytest.fixture(scope="session")
def limits(undisturbed: Path) -> dict[str, float]:
    """LDL cholesterol that one of the people has alone, and that one in twenty have."""
    ldl = np.sort(pl.read_parquet(undisturbed / RESULTS / "population.parquet")["ldl"].to_numpy())
    return {"one": float(ldl[-2:].mean()), "5 %": float(np.quantile(ldl, 0.95))}


@pytest.mark.parametrize("kind", KINDS)
def test_one_patient_who_cannot_be_solved_fails_alone_and_is_counted(
    own_model: Callable[..., Path], undisturbed: Path, limits: dict[str, float], kind: str
):
    folder = _model(own_model, kind, limits["one"])
    done(folder, "population", STUDY)
    assert content(folder, "population.parquet") == content(undisturbed, "population.parquet")
    end = done(folder, *SIMULATE)
    sick = pl.read_parquet(folder / RESULTS / "population.parquet").filter(pl.col("ldl") > limits["one"])["subject"]
    assert sick.len() == 1
    lanes = failed = 0
    for arm in ("placebo", "low", "high"):
        ours, theirs = (pl.read_parquet(f / RESULTS / f"arms/{arm}.parquet") for f in (folder, undisturbed))
        well = ~ours["subject"].is_in(sick.implode())
        assert ours.filter(well).equals(theirs.filter(well))
        ill = ours.filter(~well)
        assert {CODES[c] for c in ill["code"]} == {KINDS[kind][2]}
        assert np.isnan(ill.select("c", "ldl").to_numpy()).all()
        lanes, failed = lanes + ours.height // 4, failed + ill.height // 4
    assert failed >= 3
    assert f"small: {lanes} patients simulated, {failed} failed" in end.said
    line = Audit(folder / RESULTS / "audit.jsonl").lines()[-1]
    assert (line["event"], line["patients"], line["failed"]) == ("simulated", lanes, failed)
    done(folder, "trial", STUDY)
    done(folder, "seal", STUDY, "--partial")
    manifest = json.loads((folder / RESULTS / "manifest.json").read_text())
    counted = {arm: told["failed"] for arm, told in manifest["failures"].items()}
    assert all(set(reasons) == {KINDS[kind][2]} for reasons in counted.values())
    assert sum(n for reasons in counted.values() for n in reasons.values()) == failed


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_failures_stop_the_run_and_earlier_results_are_not_taken_for_new_ones(
    own_model: Callable[..., Path], limits: dict[str, float], kind: str
):
    folder = _model(own_model, kind, 1e9)  # nobody
    done(folder, "population", STUDY)
    done(folder, *SIMULATE)
    done(folder, "trial", STUDY)
    file = folder / "models/own.py"
    file.write_text(file.read_text().replace("1000000000.0", repr(limits["5 %"])))
    done(folder, "population", STUDY)
    said = refused(folder, *SIMULATE)
    assert "simulated patients failed: " in said
    for arm in ("placebo", "low", "high"):
        assert f"{arm}: " in said
    assert KINDS[kind][2] in said
    assert "raise analysis.max_failed_fraction" in said
    for step in ("trial", "register", "compare"):
        assert "run: cohort " in refused(folder, step, STUDY)
    events = [line["event"] for line in Audit(folder / RESULTS / "audit.jsonl").lines()]
    assert events == ["population", "simulated", "trials", "population"]
    study = folder / STUDY
    study.write_text(study.read_text().replace("draws: 16,", "draws: 16, max_failed_fraction: 0.1,"))
    assert read_study(study).analysis.max_failed_fraction == 0.1
    done(folder, "population", STUDY)
    assert " failed" in done(folder, *SIMULATE).said
