"""A fit judged as a fit: what was learnt, and whether each arm is as the others predict."""

import math

import numpy as np
import pytest
import scipy

from cohort.calibration.fit import Data
from cohort.calibration.fitness import (
    chi_square,
    contraction,
    fit_of_arms,
    leave_one_out,
    prior_sd,
)
from cohort.study import Prior

SE = np.array([2.0, 2.5, 3.0, 2.0])
SEEN = np.array([-41.0, -44.0, -38.0, -42.0])


def tree(groups):
    from arviz_base import from_dict

    return from_dict(groups)


def data_of(mean: np.ndarray, se: np.ndarray) -> Data:
    return Data(mean, se, np.empty(0), np.empty(0), np.empty((0, len(mean))), (), {})


@pytest.mark.parametrize(
    ("prior", "draw"),
    [
        (Prior("lognormal", (0.305, 0.3)), lambda z: 0.305 * np.exp(0.3 * z)),
        (Prior("normal", (1.0, 5.0)), lambda z: 1 + 5 * z),
        (Prior("halfnormal", (0.5,)), lambda z: 0.5 * np.abs(z)),
    ],
    ids=["lognormal", "normal", "halfnormal"],
)
def test_where_nothing_was_learnt_the_ratio_is_one_and_says_so(prior, draw):
    """Posterior draws that are draws of the prior: SD over SD is 1, within 4/sqrt(2n)."""
    z = np.random.default_rng(1).standard_normal((4, 5000))
    row = contraction(tree({"posterior": {"a": draw(z)}}), {"a": prior}).row(0, named=True)
    assert row["ratio"] == pytest.approx(1, abs=4 / math.sqrt(2 * z.size))
    assert row["from_the_prior"]


@pytest.mark.parametrize(("share", "said"), [(0.79, False), (0.81, True)])
def test_above_four_fifths_of_the_priors_sd_a_parameter_is_from_the_prior(share: float, said: bool):
    z = np.random.default_rng(1).standard_normal((4, 1000))
    z = (z - z.mean()) / z.std()
    row = contraction(tree({"posterior": {"a": 5 * share * z}}), {"a": Prior("normal", (0.0, 5.0))}).row(0, named=True)
    assert row["ratio"] == pytest.approx(share, rel=1e-9)
    assert row["from_the_prior"] is said


def test_the_sd_of_a_half_normal():
    assert prior_sd(Prior("halfnormal", (0.5,))) == pytest.approx(scipy.stats.halfnorm(scale=0.5).std())


def conjugate(seen: np.ndarray, se: np.ndarray, prior_sd: float) -> tuple[float, float]:
    """Posterior mean and SD of one mean shared by all arms, around a prior at 0."""
    precision = prior_sd**-2 + (se**-2).sum()
    return float((seen / se**2).sum() / precision), float(precision**-0.5)


@pytest.fixture(scope="module")
def shared():
    """Arms that share one mean: 40 000 draws of their exact posterior."""
    mean, sd = conjugate(SEEN, SE, 100.0)
    theta = mean + sd * np.random.default_rng(3).standard_normal((4, 10_000))
    return tree({"posterior": {"arm_mean": np.repeat(theta[:, :, None], 4, axis=2)}})


def test_an_arm_left_out_is_predicted_as_exactly_without_it(shared):
    """Pareto-smoothed weights against the closed form of a normal mean."""
    table = leave_one_out(shared, data_of(SEEN, SE), refit=None)
    assert table["refitted"].to_list() == [False] * 4
    for i, row in enumerate(table.iter_rows(named=True)):
        rest = np.arange(4) != i
        mean, sd = conjugate(SEEN[rest], SE[rest], 100.0)
        assert row["loo_mean"] == pytest.approx(mean, abs=0.04)  # 4 SD/sqrt(40 000), weights near even
        assert row["loo_sd"] == pytest.approx(sd, rel=0.03)
        assert row["loo_z"] == pytest.approx((SEEN[i] - mean) / math.hypot(sd, SE[i]), abs=0.03)


def test_where_weights_do_not_hold_the_arm_is_left_out_by_a_fit_without_it():
    """An arm so exact and so far off that the posterior without it lies elsewhere."""
    seen, se = np.array([-41.0, -42.0, -60.0]), np.array([2.0, 2.0, 0.3])
    mean, sd = conjugate(seen, se, 100.0)
    theta = mean + sd * np.random.default_rng(4).standard_normal((4, 1000))
    posterior = tree({"posterior": {"arm_mean": np.repeat(theta[:, :, None], 3, axis=2)}})
    asked: list[int] = []

    def refit(arm: int) -> np.ndarray:
        asked.append(arm)
        return np.array([-42.0, -41.0])

    row = leave_one_out(posterior, data_of(seen, se), refit).row(2, named=True)
    assert 2 in asked
    assert row["refitted"]
    assert row["khat"] > 0.7
    assert (row["loo_mean"], row["loo_sd"]) == (-41.5, 0.5)


def test_an_arm_that_nothing_calibrated_moves_is_predicted_as_with_it():
    """A placebo arm where no drift is calibrated: its mean is 0 under every draw."""
    posterior = tree({"posterior": {"arm_mean": np.zeros((4, 100, 4))}})
    table = leave_one_out(posterior, data_of(SEEN, SE), refit=None)
    assert table["refitted"].to_list() == [False] * 4
    assert table["loo_z"].to_list() == pytest.approx((SEEN / SE).tolist())


def test_an_arm_without_a_published_mean_is_not_left_out(shared):
    seen = SEEN.copy()
    seen[1] = np.nan
    assert leave_one_out(shared, data_of(seen, SE), refit=None)["position"].to_list() == [0, 2, 3]


def test_the_p_of_chi_square_with_one_draw_is_that_of_the_table():
    """Twelve of chi-square on four arms: 0.0174."""
    means = (SEEN + SE * np.sqrt(3))[None, :]
    assert chi_square(means, SEEN, SE) == pytest.approx((12.0, 0.017351), rel=1e-4)


def test_the_p_of_chi_square_averages_over_draws_and_skips_what_was_not_published():
    seen = np.append(SEEN, np.nan)
    se = np.append(SE, np.nan)
    means = np.stack([np.append(SEEN, 0.0), np.append(SEEN + 2 * SE, 0.0)])
    chi2, p = chi_square(means, seen, se)
    assert chi2 == pytest.approx(8.0)
    assert p == pytest.approx((1 + scipy.stats.chi2.sf(16, 4)) / 2)


def test_arms_that_are_as_predicted_have_a_uniform_p():
    """Data drawn under the posterior's own draws: p is uniform when the posterior is a point."""
    rng = np.random.default_rng(5)
    found = [chi_square(SEEN[None, :], SEEN + SE * rng.standard_normal(4), SE)[1] for _ in range(500)]
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.001


def test_residuals_show_their_trend_with_dose(laplace):
    """Residuals that grow by 4 percentage points from nothing to the largest dose of a group."""
    n = len(laplace.arms)
    dose = np.array([arm.dose.to("mg") if arm.dose else 0.0 for arm in laplace.arms.values()])
    members = np.array([[name.endswith(group) for name in laplace.arms] for group in ("q2w", "q4w")], dtype=float)
    largest = np.where(members[0] > 0, 140.0, 420.0)
    seen, means = 4 * dose / largest - 1, np.zeros((4, 100, n))
    groups = Data(seen, np.full(n, 2.0), np.ones(2), np.ones(2), members, ("q2w", "q4w"), {})
    posterior = tree({"posterior": {"arm_mean": means}})
    loo = leave_one_out(posterior, groups, refit=lambda arm: np.zeros(10))
    table, overall = fit_of_arms(laplace, posterior, groups, loo)
    assert overall["slope_q2w"] == pytest.approx(4)
    assert overall["slope_q4w"] == pytest.approx(4)
    assert overall["mean_residual_q2w"] == pytest.approx(seen[members[0] > 0].mean())
    assert table["z"].to_list() == pytest.approx((seen / 2).tolist())
