"""The chapter on SCR-002: what it reads, what it must not, and what it says of numbers known from elsewhere."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort import external
from cohort.analysis import concentration_qtc as qtc
from cohort.chapters import Figure
from cohort.chapters import concentration_qtc as chapter
from cohort.display.table import Table
from cohort.enrolment import sample_population
from cohort.library import load
from cohort.study import read_study

HEADER = "RANDID,EXTRT,TPT,PCSTRESN,RR,PR,QT,QRS,JTPEAK,TPEAKTEND"


@pytest.fixture(scope="module")
def recorded() -> Path:
    file = external.found(chapter.FILE)
    if file is None:
        pytest.skip(f"needs {chapter.OBTAIN}, at {chapter.FILE} below a folder that COHORT_DATA names")
    return file


def written(folder: Path, *rows: str) -> Path:
    file = folder / "table.csv"
    file.write_text("\n".join([HEADER, *rows, ""]))
    return file


def test_a_triplicate_is_one_recording_in_one_unit(tmp_path: Path):
    """At RR 1000 ms Fridericia changes nothing; dofetilide's pg/mL become ng/mL, ranolazine's ng/mL stay."""
    rows = [
        "1,Dofetilide,2.5,2500,1000,130,400,95,220,80",
        "1,Dofetilide,2.5,2500,1000,130,410,95,220,80",
        "1,Dofetilide,2.5,2500,1000,-4294967166,NA,95,230,86",
        "1,Ranolazine,2.5,1500,1000,130,405,95,220,80",
        "1,Placebo,2.5,NA,1000,130,395,95,220,80",
    ]
    table = chapter.recordings(written(tmp_path, *rows), ("dofetilide", "ranolazine"))
    dofetilide = table.row(by_predicate=pl.col("arm") == "dofetilide", named=True)
    assert dofetilide["qtcf"] == pytest.approx(405.0)
    assert dofetilide["c"] == pytest.approx(2.5)
    assert dofetilide["tpte"] == pytest.approx(82.0)
    assert table.row(by_predicate=pl.col("arm") == "ranolazine", named=True)["c"] == pytest.approx(1500.0)
    assert table.row(by_predicate=pl.col("arm") == "placebo", named=True)["c"] is None


def test_fridericia_and_the_correction_of_j_tpeak(tmp_path: Path):
    """QT 400 ms at RR 512 ms is 500 ms, for 0.8 cubed is 0.512."""
    table = chapter.recordings(written(tmp_path, "1,Placebo,1,NA,512,130,400,95,200,80"), ())
    assert table["qtcf"][0] == pytest.approx(500.0)
    assert table["jtpc"][0] == pytest.approx(200 / 0.512**0.58)


def test_for_prediction_ranolazine_is_not_there_whatever_it_says(tmp_path: Path):
    same = ["1,Dofetilide,1,2000,1000,130,400,95,220,80", "1,Placebo,1,NA,1000,130,395,95,220,80"]
    one = chapter.recordings(written(tmp_path, *same, "1,Ranolazine,1,1500,1000,130,405,95,220,80"), ("dofetilide",))
    two = chapter.recordings(written(tmp_path, *same, "1,Ranolazine,1,9999,900,130,600,95,300,200"), ("dofetilide",))
    assert one.equals(two)
    assert set(one["arm"]) == {"dofetilide", "placebo"}


@pytest.mark.parametrize(
    ("drug", "hour", "qtcf", "sd"), [("dofetilide", 2.5, 79.1, 22.6), ("ranolazine", 7.0, 12.6, 16.4)]
)
def test_largest_mean_effects_are_those_computed_before_independent(recorded: Path, drug, hour, qtcf, sd):
    """Figures that came with the data, of another program: time-matched differences of 22 people."""
    seen = chapter.observed(chapter.recordings(recorded, (drug,)), drug)
    k = seen["hours"].index(hour)
    assert max(seen["qtcf"]["mean"]) == seen["qtcf"]["mean"][k]
    assert seen["qtcf"]["mean"][k] == pytest.approx(qtcf, abs=0.05)
    assert seen["qtcf"]["se"][k] * np.sqrt(22) == pytest.approx(sd, abs=0.05)


@pytest.mark.parametrize(
    ("drug", "interval", "slope", "low", "high"),
    [
        ("dofetilide", "qtcf", 28.5, 25.6, 31.5),
        ("dofetilide", "jtpc", 14.1, 11.2, 17.1),
        ("dofetilide", "tpte", 14.4, 11.1, 17.7),
        ("ranolazine", "qtcf", 0.0044, 0.0028, 0.0060),
        ("ranolazine", "jtpc", -0.0007, -0.0023, 0.0009),
        ("ranolazine", "tpte", 0.0044, 0.0027, 0.0061),
    ],
)
def test_slopes_of_the_differences_are_those_of_another_program_independent(
    recorded: Path, drug, interval, slope, low, high
):
    """Figures that came with the data, of a mixed model with random intercept and slope fitted elsewhere; some of those
    fits warned of their Hessian. ms per ng/mL with 95 % intervals."""
    table = chapter.recordings(recorded, (drug,)).select("subject", "arm", "time", "c", qtcf=interval)
    found = qtc.reml(qtc.of_differences(qtc.time_matched(table, drug, "placebo")))
    width = high - low
    assert found.beta["concentration"] == pytest.approx(slope, abs=0.1 * width)
    assert found.interval("concentration") == pytest.approx((low, high), abs=0.15 * width)


def test_the_curve_is_slope_times_the_cell_at_the_free_concentration():
    """Half of the largest prolongation at the concentration of which the free part is `half`."""
    values = {"fu": 0.5, "potency": 1.0, "most": 100.0, "half": 10.0, "hill": 1.0, "mass": 0.4}
    parameters = pl.DataFrame({f"x_{name}": [value] for name, value in values.items()} | {"slope": [2.0]})
    c = np.array([0.0, 10.0 / 0.5 * 0.4, 1e9])
    assert chapter.curve(parameters, "x", c)[0] == pytest.approx([0.0, 100.0, 200.0], rel=1e-3)


def test_a_slope_that_is_there_is_found_again_and_intervals_hold_it():
    """Forty people on a drug that prolongs QTcF by 10 ms for 1 ng/mL: the mean effect, and the slope in virtual "
    "trials."""
    rng = np.random.default_rng(1)
    hours = np.array([0.0, 1, 2, 4, 8])
    c = rng.lognormal(0, 0.2, (6, 40, 1)) * np.array([0.0, 3, 4, 2, 1])
    zero = np.full(c.shape, 100.0)
    arms = {
        "x": {"c": c, "dapd": 5 * c, "change": zero + 10 * c},
        "placebo": {"c": 0 * c, "dapd": 0 * c, "change": zero},
    }
    parameters = pl.DataFrame({"sigma": [1.0] * 6, "slope": [2.0, 2.1, 1.9, 2.0, 2.05, 1.95]})
    for name, value in {"fu": 0.5, "potency": 1.0, "exposure": 1.0, "most": 1e3, "half": 1e3, "hill": 1.0}.items():
        parameters = parameters.with_columns(pl.lit(value).alias(f"x_{name}"))
    parameters = parameters.with_columns(pl.lit(1.0).alias("x_mass"))
    told = chapter.of_a_drug(arms, "x", parameters, hours, 22, np.random.default_rng(2))
    assert told["slope"]["mean"] == pytest.approx(10.0, abs=0.2)
    assert told["peak"]["hour"] == 2.0
    assert told["peak"]["mean"] == pytest.approx(10 * c[:, :, 2].mean())
    assert told["ddqtcf"]["trial_low"][1] < told["peak"]["mean"] < told["ddqtcf"]["trial_high"][1]
    assert set(told["shares"]) == {"slope"}  # the others did not vary


class Opened:
    """In place of the record of openings: what was opened, as what, in order."""

    def __init__(self, file: Path):
        self.file, self.uses, self.frozen = file, [], False

    def open(self, path: str, *, use: str, obtain: str) -> Path:
        assert path == chapter.FILE
        assert obtain
        assert use != "validation" or self.frozen
        self.uses.append(use)
        return self.file

    def solve(self, jobs: Any) -> list[pl.DataFrame]:
        return [job.work(*job.args) for job in jobs]


def small(root: Path) -> Any:
    """What the chapter reads of a study's results: few people, few draws around the model's own values."""
    study = read_study(root / "config/studies/scr002.yaml")
    few = study.population.model_copy(update={"size": 110})
    people = sample_population(study.model_copy(update={"population": few})).people
    typical = load("scr002").typical()
    rng = np.random.default_rng(4)
    varied = {f"{d}_{n}" for d in chapter.DRUGS for n in ("fu", "exposure", "potency")} | {"slope"}
    columns = {
        name: value * np.exp(0.1 * rng.standard_normal(5) * (name in varied) * (np.arange(5) > 0))
        for name, value in typical.items()
    }
    return SimpleNamespace(
        study=study, enrolled=people.head(30), parameters=pl.DataFrame({"draw": range(5), **columns})
    )


def without_sampling(table: pl.DataFrame, drug: str, seed: int) -> dict[str, Any]:
    """As `analysed`, with restricted likelihood in place of the sampler."""
    matched = qtc.time_matched(table, drug, "placebo")
    told: dict[str, Any] = {"peak_c": 1.0, "at_peak": {"upper90": 1.0}, "r_hat": 1.0, "ess": 400.0}
    for name, data in (("restricted", qtc.of_changes(matched)), ("differences", qtc.of_differences(matched))):
        made = qtc.reml(data)
        low, high = made.interval("concentration")
        told[name] = {"mean": made.beta["concentration"], "low": low, "high": high}
    return told | {"posterior": told["restricted"]}


def test_the_chapter_predicts_before_it_opens_and_shows_all_four_drugs(recorded: Path, root: Path, monkeypatch):
    monkeypatch.setattr(chapter, "analysed", without_sampling)
    results, data = small(root), Opened(recorded)
    predicted = chapter.predict(results, data)  # type: ignore[arg-type]
    assert data.uses == ["calibration"]
    assert set(predicted["drugs"]) == set(chapter.DRUGS)
    data.frozen = True
    page = chapter.made(results, predicted, data)  # type: ignore[arg-type]
    assert data.uses == ["calibration", "validation"]
    assert page.efficacy.startswith("None")
    tables = {block.name: block for block in page.blocks if isinstance(block, Table)}
    assert [row["drug"] for row in tables["peak"].rows] == list(chapter.DRUGS)
    unopened = [row for row in tables["peak"].rows if row["drug"] in chapter.UNOPENED]
    assert all("seen" not in row for row in unopened)
    assert all(table.csv() for table in tables.values())
    assert all(block.drawn.startswith("<svg") for block in page.blocks if isinstance(block, Figure))
    slopes = {row["drug"]: row for row in tables["exposure_response"].rows}
    assert slopes["dofetilide"]["differences"] == pytest.approx(28.5, abs=0.3)
    assert slopes["quinidine"].get("differences") is None
    assert any("pure hERG blocker" in text for text in page.findings)
