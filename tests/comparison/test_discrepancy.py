"""The discrepancy of a trial from the model: closed form, NumPyro and PyMC agree, and one trial leaves it uncertain."""

import numpy as np
import pytest

from cohort.comparison import ArmPrediction
from cohort.comparison.discrepancy import ComparisonError, exact, fit, moments

NAMES = ["placebo", "low", "high"]
TRIAL, ARM = 5.0, 2.5
SEEN, SE = np.array([3.0, -47.0, -70.0]), np.array([2.4, 2.6, 2.5])


@pytest.fixture(scope="module")
def arms() -> list[ArmPrediction]:
    """Three arms whose means move together with the parameters."""
    rng = np.random.default_rng(1)
    common, own = rng.standard_normal(200), rng.standard_normal((3, 200))
    theta = np.array([[0.0], [-45.0], [-62.0]]) + np.array([[0.5], [2.0], [2.5]]) * common + 0.6 * own
    return [ArmPrediction(t, np.full(200, 20.0), np.full(200, 80.0), np.zeros(200)) for t in theta]


def conjugate(mean, covariance, y, se, trial, arm):
    """Information form over (theta, trial, arm_1..k), written from the model's definition."""
    k = len(y)
    prior_mean = np.concatenate([mean, np.zeros(1 + k)])
    precision = np.zeros((2 * k + 1, 2 * k + 1))
    precision[:k, :k] = np.linalg.inv(covariance)
    precision[k, k] = trial**-2
    precision[k + 1 :, k + 1 :] = np.eye(k) * arm**-2
    design = np.hstack([np.eye(k), np.ones((k, 1)), np.eye(k)])
    noise = np.diag(se**-2.0)
    posterior = np.linalg.inv(precision + design.T @ noise @ design)
    centre = posterior @ (precision @ prior_mean + design.T @ noise @ y)
    mu, mu_cov = design @ centre, design @ posterior @ design.T
    return {"trial": centre[k], "trial_sd": posterior[k, k] ** 0.5, "mu": mu, "mu_sd": np.diag(mu_cov) ** 0.5}


@pytest.fixture(scope="module")
def answer(arms):
    mean, factor = moments(arms)
    return exact(mean, factor, SEEN, SE, TRIAL, ARM)


def test_moments_are_those_of_the_draws(arms):
    mean, factor = moments(arms)
    theta = np.stack([p.theta for p in arms])
    assert mean == pytest.approx(theta.mean(axis=1))
    assert factor @ factor.T == pytest.approx(np.cov(theta), rel=1e-6)


def test_arms_that_never_differ_still_have_a_factor():
    """Two placebo arms are one course: their covariance is singular."""
    theta = np.random.default_rng(2).normal(0, 2, 50)
    one = ArmPrediction(theta, np.full(50, 20.0), np.full(50, 80.0), np.zeros(50))
    factor = moments([one, one])[1]
    assert factor @ factor.T == pytest.approx(np.full((2, 2), theta.var(ddof=1)), rel=1e-6)


def test_the_closed_form_is_the_conjugate_answer(arms, answer):
    mean, factor = moments(arms)
    want = conjugate(mean, factor @ factor.T, SEEN, SE, TRIAL, ARM)
    for key, value in want.items():
        assert answer[key] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("engine", ["numpyro", pytest.param("pymc", marks=pytest.mark.slow)])
def test_numpyro_and_pymc_sample_the_same_posterior(arms, answer, engine):
    """Each within four Monte Carlo standard errors of the closed form, hence of each other."""
    from arviz_stats import summary

    tree = fit(NAMES, arms, SEEN, SE, trial=TRIAL, arm=ARM, seed=7, engine=engine)
    table = summary(tree, var_names=["trial", "mu"], round_to="none")
    want = [answer["trial"], *answer["mu"]], [answer["trial_sd"], *answer["mu_sd"]]
    found = {column: np.asarray(table[column], float) for column in ("mean", "sd", "mcse_mean", "mcse_sd")}
    assert np.all(np.abs(found["mean"] - want[0]) < 4 * found["mcse_mean"])
    assert np.all(np.abs(found["sd"] - want[1]) < 4 * found["mcse_sd"])
    assert tree.attrs["engine"] == engine
    assert tree["posterior"]["mu"].coords["arm"].values.tolist() == NAMES


def test_too_few_draws_are_refused(arms):
    with pytest.raises(ComparisonError, match=r"the comparison did not converge: (R-hat is|\d+ transitions)"):
        fit(NAMES, arms, SEEN, SE, trial=TRIAL, arm=ARM, seed=7, draws=5)


def test_one_trial_leaves_the_shared_part_uncertain():
    """Everything else known exactly: Var(trial) = 1/(1/trial² + k/arm²), however precise the arms."""
    k = 4
    found = exact(np.zeros(k), 1e-9 * np.eye(k), np.full(k, 3.0), np.full(k, 1e-6), TRIAL, ARM)
    assert found["trial_sd"] == pytest.approx((TRIAL**-2 + k / ARM**2) ** -0.5, rel=1e-6)
    assert found["trial"] == pytest.approx(3.0 * (k / ARM**2) / (TRIAL**-2 + k / ARM**2), rel=1e-6)


def test_a_trial_that_says_nothing_leaves_the_prior(arms):
    mean, factor = moments(arms)
    found = exact(mean, factor, SEEN, np.full(3, 1e6), TRIAL, ARM)
    assert found["trial"] == pytest.approx(0, abs=1e-6)
    assert found["trial_sd"] == pytest.approx(TRIAL, rel=1e-6)
    assert found["mu"] == pytest.approx(mean, abs=1e-6)


def test_a_shift_of_all_arms_is_the_trials_and_of_one_arm_mostly_its_own(arms):
    """A common shift of 4 moves the shared part more than a shift of 4 in one arm does."""
    mean, factor = moments(arms)
    together = exact(mean, factor, mean + 4.0, SE, TRIAL, ARM)["trial"]
    alone = exact(mean, factor, mean + np.array([4.0, 0, 0]), SE, TRIAL, ARM)["trial"]
    assert 0 < alone < together < 4
