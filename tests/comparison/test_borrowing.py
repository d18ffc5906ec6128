"""Borrowing from a virtual arm: exact updates of normal mixtures, less borrowed the more the arms conflict."""

import itertools
import math

import numpy as np
import pytest
import scipy

from cohort.comparison import ArmPrediction
from cohort.comparison.borrowing import Mixture, table

SE, DISCREPANCY, WEIGHT = 3.0, 5.6, 0.8


def arm(centre: float = -62.0, spread: float = 2.0, patients_sd: float = 22.0) -> ArmPrediction:
    theta = np.random.default_rng(1).standard_normal(100)
    theta = centre + spread * (theta - theta.mean()) / theta.std(ddof=1)
    return ArmPrediction(theta, np.full(100, patients_sd), np.full(100, 45.0), np.zeros(100))


def borrowed(y: float, **changes) -> list[dict]:
    return table(arm(**changes), y, SE, discrepancy=DISCREPANCY, weight=WEIGHT, level=0.95)


def row(rows: list[dict], label: str, factor: float = 1.0) -> dict:
    return next(r for r in rows if r["label"] == label and r["discrepancy_factor"] == factor)


def one(mean: float, sd: float) -> Mixture:
    return Mixture(np.ones(1), np.array([mean]), np.array([sd]))


def test_a_mixture_is_updated_as_by_quadrature():
    prior = Mixture(np.array([0.8, 0.2]), np.array([-62.0, -55.0]), np.array([3.0, 20.0]))
    y, se = -50.0, 4.0
    after = prior.updated(y, se)
    grid = np.linspace(-200, 100, 300_001)
    parts = prior.weight[:, None] * scipy.stats.norm.pdf(grid, prior.mean[:, None], prior.sd[:, None])
    joint = parts * scipy.stats.norm.pdf(y, grid, se)
    mass = np.trapezoid(joint, grid, axis=1)
    assert after.weight == pytest.approx(mass / mass.sum(), rel=1e-9)
    density = joint.sum(axis=0) / mass.sum()
    mean = np.trapezoid(density * grid, grid)
    sd = math.sqrt(np.trapezoid(density * (grid - mean) ** 2, grid))
    assert after.moments() == pytest.approx((mean, sd), rel=1e-9)
    below = np.cumsum(density) * (grid[1] - grid[0])
    for q in (0.025, 0.5, 0.975):
        assert after.quantile(q) == pytest.approx(float(np.interp(q, below, grid)), abs=2e-3)


@pytest.mark.parametrize(
    ("power", "mean", "sd"),
    [(0.25, -55.927223, 9.742823), (0.5, -53.591494, 7.931992), (1.0, -51.742235, 6.129959)],
)
def test_a_normal_power_prior_as_computed_elsewhere(power: float, mean: float, sd: float):
    """y -63.1 (SE 13.9), history -49 (6.83) at a fixed power: bayes.md 2.3, closed form checked against peers there."""
    found = one(-49, 6.83 / math.sqrt(power)).updated(-63.1, 13.9)
    assert found.moments() == pytest.approx((mean, sd), abs=5e-6)


def test_one_component_has_the_quantiles_of_a_normal():
    assert one(-50, 3).quantile(0.975) == pytest.approx(scipy.stats.norm.ppf(0.975, -50, 3), abs=1e-9)


def test_without_borrowing_the_model_says_nothing():
    alone = borrowed(-63.0)[0]
    elsewhere = borrowed(-63.0, centre=-10.0, spread=9.0, patients_sd=50.0)[0]
    same = [key for key in alone if key != "discrepancy_factor"]  # which it has not
    assert {key: alone[key] for key in same} == {key: elsewhere[key] for key in same}
    assert (alone["label"], alone["mean"], alone["sd"]) == ("no borrowing", -63.0, pytest.approx(SE))
    assert math.isnan(alone["discrepancy_factor"])
    assert alone["weight_after"] is None


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0])
def test_full_borrowing_is_the_conjugate_answer(factor: float):
    found = row(borrowed(-56.0), "full borrowing", factor)
    virtual = math.hypot(2.0, factor * DISCREPANCY)
    precision = virtual**-2 + SE**-2
    assert found["mean"] == pytest.approx((-62 / virtual**2 - 56 / SE**2) / precision, rel=1e-9)
    assert found["sd"] == pytest.approx(precision**-0.5, rel=1e-9)


def test_the_weight_after_the_data_is_by_bayes_rule():
    found = row(borrowed(-56.0), "robust borrowing")
    virtual = scipy.stats.norm(-62, math.sqrt(2.0**2 + DISCREPANCY**2 + SE**2)).pdf(-56)
    vague = scipy.stats.norm(-62, math.sqrt(22.0**2 + SE**2)).pdf(-56)  # worth one patient
    assert found["weight_after"] == pytest.approx(0.8 * virtual / (0.8 * virtual + 0.2 * vague), rel=1e-9)


def test_the_weight_falls_with_conflict_and_alike_on_both_sides():
    conflicts = [0.0, 3.0, 8.0, 15.0, 30.0]
    above = [row(borrowed(-62.0 + d), "robust borrowing")["weight_after"] for d in conflicts]
    below = [row(borrowed(-62.0 - d), "robust borrowing")["weight_after"] for d in conflicts]
    assert above == pytest.approx(below, rel=1e-9)
    assert all(a > b for a, b in itertools.pairwise(above))
    assert above[0] > WEIGHT
    assert above[-1] < 0.05


def test_in_great_conflict_robust_borrowing_returns_to_the_data():
    """All but: the vague part is still worth one patient of some fifty."""
    found = row(borrowed(0.0), "robust borrowing", 0.0)
    assert found["mean"] == pytest.approx(0.0, abs=1.5)
    assert row(borrowed(0.0), "full borrowing", 0.0)["mean"] < -40


def test_a_larger_discrepancy_borrows_less():
    rows = borrowed(-56.0)
    worth = [row(rows, "robust borrowing", f)["worth_patients"] for f in (0.0, 1.0, 2.0)]
    assert worth == pytest.approx([(22 / math.hypot(2, f * DISCREPANCY)) ** 2 for f in (0, 1, 2)], rel=1e-9)
    widths = [row(rows, "full borrowing", f)["sd"] for f in (0.0, 1.0, 2.0)]
    assert widths == sorted(widths)
    assert widths[-1] < SE


def test_intervals_hold_what_they_say():
    found = row(borrowed(-50.0), "robust borrowing")
    virtual, vague = math.hypot(2.0, DISCREPANCY), 22.0
    after = Mixture(np.array([0.8, 0.2]), np.full(2, -62.0), np.array([virtual, vague])).updated(-50.0, SE)
    mass = after.weight @ (
        scipy.stats.norm.cdf(found["high"], after.mean, after.sd)
        - scipy.stats.norm.cdf(found["low"], after.mean, after.sd)
    )
    assert mass == pytest.approx(0.95, abs=1e-9)
