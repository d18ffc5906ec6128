"""One arm borrowing from its virtual one: less the more they conflict, and the less is believed of the model."""

import math

import numpy as np
import pytest

from cohort.borrowing.scale import Scale
from cohort.borrowing.virtual import Discrepancy
from cohort.comparison import ArmPrediction
from cohort.comparison.borrowing import table
from cohort.comparison.learning import priors

SE, WEIGHT = 3.0, 0.8
ASSUMED = Discrepancy(4.0, Scale(4.0), Scale(2.0))


def arm(centre: float = -62.0, spread: float = 2.0, patients_sd: float = 22.0) -> ArmPrediction:
    theta = np.random.default_rng(1).standard_normal(100)
    theta = centre + spread * (theta - theta.mean()) / theta.std(ddof=1)
    return ArmPrediction(theta, np.full(100, patients_sd), np.full(100, 45.0), np.zeros(100))


@pytest.fixture(scope="module")
def believed():
    return priors(arm(), ASSUMED, [], seed=1)


def borrowed(y: float, believed) -> list[dict]:
    return table(arm(), y, SE, priors=believed, weight=WEIGHT, level=0.95)


def row(rows: list[dict], label: str, discrepancy: str = "assumed") -> dict:
    return next(r for r in rows if r["label"] == label and r["discrepancy"] == discrepancy)


def test_without_borrowing_the_arm_is_as_observed(believed):
    alone = row(borrowed(-50.0, believed), "no borrowing", "")
    assert (alone["mean"], alone["sd"]) == (-50.0, SE)
    assert (alone["low"], alone["high"]) == pytest.approx((-50 - 1.959964 * SE, -50 + 1.959964 * SE))


def test_double_programmed_full_borrowing_without_discrepancy_is_a_precision_weighted_mean(believed):
    full = row(borrowed(-50.0, believed), "full borrowing", "none")
    precision = 1 / 2.0**2 + 1 / SE**2
    assert full["mean"] == pytest.approx((-62 / 2.0**2 + -50 / SE**2) / precision)
    assert full["sd"] == pytest.approx(precision**-0.5)
    assert full["patients"] == pytest.approx((22.0 / 2.0) ** 2)


def test_the_weight_falls_with_conflict_and_is_symmetric_in_it(believed):
    weights = [row(borrowed(-62.0 + off, believed), "robust borrowing")["weight_after"] for off in (-20, 0, 20)]
    assert weights[0] == pytest.approx(weights[2], abs=2e-3)
    assert weights[1] > WEIGHT > weights[0]


def test_the_less_is_believed_the_fewer_patients_the_virtual_arm_is_worth(believed):
    rows = borrowed(-55.0, believed)
    worth = [row(rows, "robust borrowing", d)["patients"] for d in ("none", "assumed", "assumed, doubled")]
    assert worth[0] > worth[1] > worth[2] > 0


def test_assumed_scales_have_the_variance_that_they_say(believed):
    # mu_d ~ N(0, 4²), tau_d half-normal(4), tau_arm half-normal(2), parameters 2: E tau² is the scale squared.
    assert believed["assumed"].mixture.sd == pytest.approx(math.sqrt(2**2 + 4**2 + 4**2 + 2**2), rel=0.02)
    assert believed["assumed"].error < 0.005
