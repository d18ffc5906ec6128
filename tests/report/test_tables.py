"""What the report's tables say of a comparison."""

import polars as pl
import pytest

from cohort.engine import CODES
from cohort.report.tables import evidence_notes, failures, number, percent, significant, verdicts


@pytest.mark.parametrize(
    ("value", "text"), [(-3.14, "−3.1"), (0.0, "0.0"), (-0.04, "0.0"), (None, "–"), (12.25, "12.2"), (99.96, "100.0")]
)
def test_a_figure_has_a_true_minus_sign_and_no_minus_zero(value, text: str):
    assert number(value) == text


def test_shares_are_percentages_and_small_numbers_keep_their_digits():
    assert percent(0.128) == "13 %"
    assert percent(None) == "–"
    assert significant(-0.012345) == "−0.0123"


def row(arm: str, inside: bool, difference: float, within: float) -> dict:
    return {
        "endpoint": "ldl_change",
        "arm": arm,
        "kind": "mean",
        "inside_0.95": inside,
        "difference": difference,
        "p_within_margin": within,
    }


def test_a_verdict_counts_hits_and_names_misses(laplace):
    means = [row("placebo_q2w", True, 1.0, 0.9), row("evolocumab_140_q2w", False, 11.0, 0.0)]
    effect = row("evolocumab_140_q2w", True, 0.0, 1.0) | {"kind": "effect"}
    [verdict] = verdicts(laplace, {"arms": [*means, effect]})
    assert [r["arm"] for r in verdict["hit"]] == ["placebo_q2w"]
    assert [r["arm"] for r in verdict["missed"]] == ["evolocumab_140_q2w"]
    assert [r["arm"] for r in verdict["agree"]] == ["placebo_q2w"]
    assert (verdict["of"], verdict["mean_difference"]) == (2, 6.0)


def test_without_published_means_there_is_no_verdict(laplace):
    assert verdicts(laplace, {}) == []


def test_failures_are_counted_by_arm_and_reason_with_a_bound():
    """Two of four patients failed: means of values from -100 to 100 could be 100 points off."""
    visits = pl.DataFrame(
        {
            "draw": [0, 0, 0, 0, 1, 1, 1, 1],
            "arm": ["a"] * 8,
            "subject": ["1", "1", "2", "2"] * 2,
            "code": [0, 0, 1, 1, 0, 0, 2, 2],
        }
    )
    [found] = failures(visits, 2, CODES)
    assert (found["mean"], found["draws"], found["failed"], found["bound"]) == (2, 2, 2, 100.0)
    assert found["reasons"] == {"step limit": 1, "not finite": 1}


def test_each_wording_of_a_trial_is_said_once():
    line = {
        "trial": "t",
        "registry": "NCT1",
        "assay": "x",
        "analysis_set": "",
        "adjustment": "",
        "missing_data": "",
        "source": "s",
    }
    [note] = evidence_notes({"outcomes": [line, line, line | {"assay": "y"}]})
    assert note["assay"] == ["x", "y"]
    assert note["missing_data"] == []
