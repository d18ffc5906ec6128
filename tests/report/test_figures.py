"""Figures of a comparison are drawn from its numbers, the same each time, down to one arm and no plan."""

import copy
import re

import pytest
from hand_made import arm, comparison

from cohort.mixture import NormalMixture
from cohort.report.figures.adverse_events import adverse_events
from cohort.report.figures.borrowing import borrowing, row_label
from cohort.report.figures.conflict import conflict
from cohort.report.figures.coverage import coverage
from cohort.report.figures.drift import drift
from cohort.report.figures.examples import examples
from cohort.report.figures.forest import forest
from cohort.report.figures.pit import pit
from cohort.report.figures.prior_posterior import prior_posterior
from cohort.report.figures.sweet_spot import sweet_spot
from cohort.report.figures.tipping import tipping
from cohort.report.tables.characteristics import curve, effects, worst
from cohort.report.tables.validation import checks
from cohort.report.tables.validation import coverage as covered


def arms(n: int, inside: bool = True) -> list[dict]:
    return [arm(f"arm_{i}", "mean", -10.0 * i, -10.0 * i + 1, inside) | {"place": (i + 0.5) / n} for i in range(n)]


def contrast(source: str, ratio: float | None) -> dict:
    row = {"event": "x", "source": source, "difference": 0.01, "difference_low": -0.02, "difference_high": 0.05}
    return row | {"ratio": ratio, "ratio_low": ratio and 0.5, "ratio_high": ratio and 3.0, "more": 0.6}


def rows_of_borrowing() -> list[dict]:
    none = {"label": "no borrowing", "discrepancy": "", "mean": -50.0, "low": -55.0, "high": -45.0}
    return [none, {"label": "robust borrowing", "discrepancy": "learnt", "mean": -52.0, "low": -56.0, "high": -48.0}]


PRIOR = NormalMixture([0.8, 0.2], [0.0, 0.0], [5.0, 15.0])
HAND = comparison()
DRAWN = {
    "borrowing": lambda: borrowing(rows_of_borrowing(), "percent"),
    "pit": lambda: pit(checks({"arms": arms(8)}, 64)),
    "pit of one arm": lambda: pit(checks({"arms": arms(1)}, 64)),
    "coverage": lambda: coverage(covered(checks({"arms": arms(8)}, 64), validated=True).rows),  # type: ignore[union-attr]
    "coverage of one arm": lambda: coverage(covered(checks({"arms": arms(1)}, 64), validated=True).rows),  # type: ignore[union-attr]
    "forest": lambda: forest(arms(3), {"arms": [{"arm": "arm_0", "mean": 0, "low": -1, "high": 1}]}, "percent"),
    "forest of one arm": lambda: forest(arms(1), None, "percent"),
    "prior and posterior": lambda: prior_posterior(PRIOR, -3.0, 2.6, "percent"),
    "conflict": lambda: conflict(HAND),
    "tipping": lambda: tipping(HAND["tipping"], "percent"),
    "drift": lambda: drift(HAND),
    "sweet spot": lambda: sweet_spot(HAND["sweet_spot"], 0.025, "percent"),
    "examples": lambda: examples(HAND["examples"], 1.0, "percent"),
    "adverse events": lambda: adverse_events([contrast("seen", 1.2), contrast("predicted", 1.1)]),
    "adverse events without a ratio": lambda: adverse_events([contrast("seen", None)]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_one_svg_that_is_the_same_whenever_it_is_drawn(name: str):
    first = DRAWN[name]()
    assert first.startswith("<svg")
    assert first.count("<svg") == 1
    assert 'role="img" aria-label="' in first
    assert not re.search(r"<script|href=\"http(?!://www\.w3\.org)", first)
    assert "nan" not in re.findall(r' d="([^"]*)"', first)
    assert DRAWN[name]() == first


def test_an_observed_control_beyond_the_curves_is_drawn_at_their_end():
    far = copy.deepcopy(HAND)
    far["observed"]["control"] = 50.0
    assert conflict(far) != conflict(HAND)


def test_a_row_that_borrows_nothing_has_no_discrepancy_in_its_label():
    assert [row_label(row) for row in rows_of_borrowing()] == ["no borrowing", "robust borrowing, learnt"]


def test_type_one_error_is_that_of_the_first_criterion_along_the_drift():
    x, y = curve(HAND, "robust", 0.0, "first")
    assert x.tolist() == [-10.0, -5.0, 0.0, 5.0, 10.0]
    assert set(y) == {0.04}
    assert effects(HAND) == {0.0: "null", -30.0: "a threshold", -60.0: "as predicted"}
    assert next(iter(effects(HAND))) == 0.0  # the null stands first
    found = worst(HAND)
    assert found is not None
    assert found["type_one"] == 0.057
