"""Calibrated cuts keep the type I error, and no more strictly than asked."""

import numpy as np
import pytest
from decision_designs import BINARY, CROHN_ROBUST, LANCET, UNIFORM, VAGUE, crohn

from cohort.decision import DecisionError, exact
from cohort.decision.calibrate import calibrate, table, widest
from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design, boundary
from cohort.mixture import NormalMixture

EFFECT = decision("P(treatment - control < 0) > 0.975")


def test_a_normal_design_without_borrowing_needs_no_calibration():
    flat = crohn("flat", VAGUE, wanted=EFFECT)
    found = calibrate(flat, centre=-50.0, within=(-20, 20), strict_within=(-200, 200), alpha=0.025)
    assert [c.cut for c in found] == pytest.approx([0.975] * 3, abs=1e-4)


def test_calibrated_cuts_hold_alpha_and_no_less_does():
    design = crohn("robust", CROHN_ROBUST, wanted=EFFECT)
    as_is, agreed, strict = calibrate(design, centre=-50.0, within=(-20, 20), alpha=0.025, alternatives=(-60.0,))
    assert as_is.type_1 is not None
    assert as_is.type_1 > 0.025
    for c in (agreed, strict):
        assert c.cut is not None
        assert c.type_1 == pytest.approx(0.025, rel=2e-4)
        grid = np.linspace(*c.within, 61) - 50.0
        assert exact.rate(design.with_cut(c.cut), grid, grid).max() <= 0.025 + 1e-9
        looser = design.with_cut(c.cut - 2e-4)
        at = np.array([-50.0 + (c.at_drift or 0.0)])
        assert exact.rate(looser, at, at)[0] > 0.025
    assert strict.cut is not None
    assert agreed.cut is not None
    assert strict.cut > agreed.cut
    assert strict.power[0] < agreed.power[0] < as_is.power[0]


def test_a_binary_design_is_calibrated_between_outcomes():
    design = BINARY["robust 24:6"]
    _, agreed, strict = calibrate(design, centre=0.25, within=(-0.1, 0.1), alpha=0.05, alternatives=(0.3,))
    for c in (agreed, strict):
        assert c.cut is not None
        assert c.type_1 is not None
        assert c.type_1 <= 0.05
        grid = np.linspace(*c.within, 301) + 0.25
        assert exact.rate(design.with_cut(c.cut), grid, grid).max() <= 0.05
        looser = design.with_cut(c.cut - 1e-5)
        assert exact.rate(looser, grid, grid).max() > 0.05
    assert strict.within == widest(design, 0.25) == pytest.approx((-0.25, 0.75))


def test_a_cut_that_does_not_exist_is_not_told():
    stubborn = crohn("stubborn", NormalMixture([1], [-50], [1]), wanted=EFFECT)
    found = calibrate(stubborn, centre=-50.0, within=(-1, 1), strict_within=(-3000, 3000))
    assert found[1].cut is not None
    assert (found[2].cut, found[2].type_1) == (None, None)
    assert table(found)["cut"][2] is None


FLAT = NormalMixture([1], [0], [100])
BORROWED = NormalMixture([0.8, 0.2], [0, 0], [0.1, 1])


def normal_design(text: str, one: bool = False) -> Design:
    return Design("d", decision(text), Arm(100, FLAT), None if one else Arm(50, BORROWED), sigma=1.0)


@pytest.mark.parametrize(
    ("text", "null"),
    [
        ("P(treatment - control > 0.5) > 0.975", 0.5),
        ("P(control - treatment < -0.5) > 0.975", 0.5),
        ("P(control - treatment > 0.5) > 0.975", -0.5),
        ("P(treatment - control < -0.5) > 0.975", -0.5),
    ],
)
def test_the_type_1_error_is_taken_at_the_margin_of_the_criterion(text: str, null: float):
    design = normal_design(text)
    assert boundary(design) == null
    options = {"centre": 0.0, "within": (-0.3, 0.3)}
    as_is, agreed, _ = calibrate(design, **options)
    assert calibrate(design, **options, null=null)[:2] == [as_is, agreed]
    assert agreed.cut is not None
    assert agreed.cut > 0.975
    control = np.linspace(-0.3, 0.3, 61)
    assert exact.rate(design.with_cut(agreed.cut), control + null, control).max() <= 0.025 + 1e-6
    wrongly = calibrate(design, **options, null=0.0)[1]  # no effect is far within the null hypothesis
    assert wrongly.cut is not None
    assert exact.rate(design.with_cut(wrongly.cut), control + null, control).max() > 0.25


def test_the_null_is_that_of_the_criterion_that_is_calibrated():
    design = normal_design("P(treatment - control > 0) > 0.975 and P(treatment - control > 0.5) > 0.6")
    assert (boundary(design), boundary(design, 1)) == (0, 0.5)
    options = {"centre": 0.0, "within": (-0.3, 0.3), "which": 1}
    assert calibrate(design, **options)[1] == calibrate(design, **options, null=0.5)[1]


def test_the_null_of_one_arm_and_of_ratios():
    assert boundary(normal_design("P(treatment > 0.3) > 0.9", one=True)) == 0.3
    ratio = Design("r", decision("P(treatment / control > 1) > 0.9"), Arm(24, UNIFORM), Arm(6, LANCET))
    assert boundary(ratio) == 0
    for text in ("P(treatment / control > 1.5) > 0.9", "P(treatment > 0.3) > 0.9"):
        with pytest.raises(DecisionError, match="give null"):
            boundary(Design("r", decision(text), Arm(24, UNIFORM), Arm(6, LANCET)))


def test_a_margin_of_probabilities_is_calibrated_over_every_control_that_allows_it():
    margin = decision("P(treatment - control > 0.1) > 0.95")
    design = Design("margin", margin, Arm(24, UNIFORM), Arm(6, LANCET))
    assert widest(design, 0.3) == pytest.approx((-0.3, 0.6))
    found = calibrate(design, centre=0.3, within=(-0.1, 0.1), alpha=0.05)
    assert [c.within for c in found[1:]] == [pytest.approx((-0.1, 0.1)), pytest.approx((-0.3, 0.6))]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"within": (0.2, 0.1)}, "lower end first"),
        ({"which": 3}, "which is 3"),
        ({"centre": np.nan}, "finite"),
    ],
)
def test_calibrations_that_make_no_sense_are_refused(options: dict, said: str):
    with pytest.raises(DecisionError, match=said):
        calibrate(BINARY["robust 24:6"], **({"centre": 0.25, "within": (-0.1, 0.1)} | options))


def test_a_criterion_that_asks_for_less_is_not_calibrated():
    safe = Design("safe", decision("P(treatment - control > 0.1) < 0.2"), Arm(24, UNIFORM), Arm(6, LANCET))
    with pytest.raises(DecisionError, match="asks for less"):
        calibrate(safe, centre=0.25, within=(-0.1, 0.1))
