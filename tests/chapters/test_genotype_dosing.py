"""Genotype-guided dosing in two trials: differences worked by hand, and what is opened when."""

import math
import types

import numpy as np
import polars as pl
import pytest

from cohort import chapters
from cohort.chapters import Data, Figure, Text, genotype_dosing
from cohort.display.table import Table
from cohort.record import Audit
from cohort.study import read_study
from cohort.trial import MEAN


@pytest.fixture(scope="module")
def eupact(root):
    return read_study(root / "config/studies/eupact.yaml")


@pytest.fixture(scope="module")
def coag(root):
    return read_study(root / "config/studies/coag.yaml")


def at_model(guided, comparator, columns=("ttr",), arms=("guided", "standard")):
    """Four people or so, each in both arms."""
    rows = [
        {"draw": MEAN, "arm": arm, "subject": f"{i:04d}", **{f"{c}_true": value for c in columns}}
        for arm, values in zip(arms, (guided, comparator), strict=True)
        for i, value in enumerate(values)
    ]
    return pl.DataFrame(rows)


def test_a_difference_has_the_monte_carlo_error_of_pairs_and_the_standard_error_of_a_trial(eupact):
    """Gains 10, 20, 0, 30: mean 15, SD 12.91, error of four 6.45. The trial: SDs 12.91 and 0, 94 % of 227 patients."""
    table = at_model([60.0, 70, 50, 80], [50.0, 50, 50, 50])
    found = genotype_dosing._difference(eupact, table, "guided", "standard", "ttr")
    sd = math.sqrt(500 / 3)
    assert found["difference"] == pytest.approx(15.0)
    assert found["mcse"] == pytest.approx(sd / 2)
    assert found["n"] == pytest.approx(227 * 0.94)
    assert found["se"] == pytest.approx(sd / math.sqrt(227 * 0.94))
    assert found["high"] - found["difference"] == pytest.approx(1.959964 * math.hypot(found["se"], sd / 2), rel=1e-6)


def test_a_group_is_of_who_has_its_value_and_of_its_share_of_the_trial(coag):
    table = at_model(
        [40.0, math.nan, 50, math.nan], [30.0, math.nan, 45, math.nan], ("ttr_black",), ("guided", "clinical")
    )
    found = genotype_dosing._difference(coag, table, "guided", "clinical", "ttr_black")
    assert found["people"] == 2
    assert found["difference"] == pytest.approx(7.5)
    assert found["n"] == pytest.approx(514 * 0.94 / 2)


def test_without_a_difference_the_test_is_of_its_size(eupact):
    rng = np.random.default_rng(1)
    x = rng.normal(50, 20, 400)
    found = genotype_dosing._difference(eupact, at_model(x, x), "guided", "standard", "ttr")
    assert found["power"] == pytest.approx(0.025, abs=1e-6)
    assert found["not_significant"] == pytest.approx(0.95, abs=1e-6)


def test_a_detectable_difference_is_seen_with_a_power_of_four_fifths(eupact):
    rng = np.random.default_rng(2)
    x, y = rng.normal(50, 20, 400), rng.normal(50, 20, 400)
    found = genotype_dosing._difference(eupact, at_model(x, y), "guided", "standard", "ttr")
    again = genotype_dosing._difference(
        eupact, at_model(x + found["detectable"] - found["difference"], y), "guided", "standard", "ttr"
    )
    assert again["power"] == pytest.approx(0.8, abs=1e-6)


@pytest.fixture(scope="module")
def simulated(eupact):
    """Sixty people of EU-PACT in every arm: their endpoints, and their visits."""
    return genotype_dosing._simulated(eupact, 60, Data(None, "genotype_dosing"))  # type: ignore[arg-type]


def test_the_whole_trial_as_a_window_is_the_trials_difference(eupact, simulated):
    table, visits = simulated
    whole = genotype_dosing._window(eupact, visits, "guided", "standard", 0.0, 84.0)
    found = genotype_dosing._difference(eupact, table, "guided", "standard", "ttr")
    assert whole == pytest.approx({"difference": found["difference"], "mcse": found["mcse"]}, rel=1e-9)


def test_two_windows_make_up_the_whole_by_their_lengths(eupact, simulated):
    parts = [
        genotype_dosing._window(eupact, simulated[1], "guided", "standard", *w) for w in ((0, 28), (28, 84), (0, 84))
    ]
    early, late, whole = (part["difference"] for part in parts)
    assert (28 * early + 56 * late) / 84 == pytest.approx(whole, rel=1e-9)


@pytest.fixture(scope="module")
def made(eupact, simulated, tmp_path_factory):
    """The chapter of EU-PACT with sixty people in each trial, and its trail."""
    folder = tmp_path_factory.mktemp("results")
    study = eupact.model_copy(update={"chapters": {"genotype_dosing": {"other": "coag", "people": 60}}})
    table, visits = simulated
    results = types.SimpleNamespace(
        study=study,
        folder=folder,
        audit=Audit(folder / "audit.jsonl"),
        trial=table,
        visits_of=lambda arm: visits.filter(pl.col("arm") == arm),
    )
    data = Data(results, "genotype_dosing")  # type: ignore[arg-type]
    predicted = genotype_dosing.predict(results, data)  # type: ignore[arg-type]
    unopened = [line["event"] for line in results.audit.lines()]
    return predicted, unopened, genotype_dosing.made(results, predicted, data), results  # type: ignore[arg-type]


def test_the_other_trials_outcomes_are_opened_after_predicting_only(made):
    _, unopened, _, results = made
    assert unopened == []
    opened = [(line["event"], line["evidence"]) for line in results.audit.lines()]
    assert opened == [("outcomes opened", "coag")]


def test_both_trials_are_predicted_under_every_reading_and_group(made):
    predicted, _, chapter, _ = made
    of = {(name, r["group"], r["reading"]) for name, t in predicted["trials"].items() for r in t["differences"]}
    readings = {"published", "six_spans", "hamberg_2010"}
    want = {("eupact", "ttr")} | {("coag", g) for g in ("ttr", "ttr_black", "ttr_others")}
    assert of == {(*key, reading) for key in want for reading in readings}
    assert {type(block) for block in chapter.blocks} == {Text, Table, Figure}


def test_published_differences_stand_beside_the_predicted_ones(made):
    """EU-PACT 67.4 - 60.3 = 7.1 (published, adjusted: 7.0, 3.3 to 10.6); COAG 45.2 - 45.4 = -0.2 (-3.4 to 3.1)."""
    _, _, chapter, _ = made
    table = next(b for b in chapter.blocks if isinstance(b, Table) and b.name == "differences")
    seen = {(r["trial"], r["group"]): r for r in table.rows if r["reading"] == "published"}
    eupact, coag = seen["eupact", "ttr"], seen["coag", "ttr"]
    assert eupact["observed"] == pytest.approx(7.1, abs=1e-9)
    assert (eupact["observed_low"], eupact["observed_high"]) == pytest.approx((3.4, 10.8), abs=0.1)
    assert coag["observed"] == pytest.approx(-0.2, abs=1e-9)
    assert (coag["observed_low"], coag["observed_high"]) == pytest.approx((-3.4, 3.1), abs=0.1)
    assert seen["coag", "ttr_black"]["observed"] == pytest.approx(-8.3, abs=1e-9)


def test_both_verdicts_are_given_and_bleeding_has_none(made):
    chapter = made[2]
    assert "standard loading doses" in chapter.efficacy
    assert "clinical algorithm" in chapter.efficacy
    assert "No verdict on bleeding" in chapter.safety


def _swapped(eupact, coag):
    return {
        "eupact": {"comparators": [{"control": "clinical", "difference": eupact}]},
        "coag": {"comparators": [{"control": "standard", "difference": coag}]},
    }


@pytest.mark.parametrize(
    ("swapped", "says"), [((1.5, 6.5), "explains"), ((4.6, -2.7), "alone does not"), ((1.5, 0.0), "alone does not")]
)
def test_the_comparator_explains_where_each_trial_follows_the_others(swapped, says):
    """Of gains of 7 and 1: where EU-PACT falls to about 1 with COAG's comparator, and COAG rises to about 7."""
    assert f"The comparator {says}" in genotype_dosing._through(7.0, 1.0, _swapped(*swapped))


def test_it_is_a_known_chapter():
    assert "genotype_dosing" in chapters.known()
