"""The virtual-MAP prior: closed forms, a simulation, and what arms, inner noise and caps may not do."""

import numpy as np
import pytest
from scipy import stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.map import as_mixture, largest_error
from cohort.borrowing.map import predictive as map_predictive
from cohort.borrowing.scale import Scale
from cohort.borrowing.trials import Normal
from cohort.borrowing.virtual import Discrepancy, Evidence, Validation, capped, evidence, predictive, sweep
from cohort.mixture import MvNormalMixture, NormalMixture

NEW = Evidence(np.array([1.0]), np.array([[0.04]]))
PRIOR = Discrepancy(0.5, Scale(0.25), Scale(0.15))
TINY = Scale(1e-6)


def one_arm(y, se=0.1, mean=0.0, var=0.0):
    return Validation(np.array([y]), np.array([se]), Evidence(np.array([mean]), np.array([[var]])))


def test_without_trials_the_prior_is_the_assumption():
    found = predictive(NEW, [], PRIOR)
    # half-normal: E(tau²) = scale²
    assert found.prior.mean == pytest.approx(1.0)
    assert found.prior.sd == pytest.approx(np.sqrt(0.04 + 0.5**2 + 0.25**2 + 0.15**2), abs=1e-7)
    assert (found.tau_d[0], found.mu_d) == (pytest.approx(0.25 * np.sqrt(2 / np.pi)), pytest.approx((0.0, 0.5)))
    assert found.log_marginal == pytest.approx(0, abs=1e-6)


def test_the_sweep_scales_what_is_assumed():
    wider = sweep(NEW, [], PRIOR, [0.5, 1.0, 2.0])
    for f, found in wider.items():
        assert found.prior.sd == pytest.approx(np.sqrt(0.04 + f**2 * (0.5**2 + 0.25**2 + 0.15**2)), abs=1e-6)


def test_independent_one_arm_a_trial_is_the_map_prior_of_the_differences():
    """With no arm-level deviation and one arm a trial, the model is a MAP of y - m, by another quadrature."""
    y, se = [0.3, -0.1, 0.5], [0.1, 0.2, 0.15]
    found = predictive(
        Evidence(np.array([0.0]), np.array([[1e-12]])),
        [one_arm(a, b) for a, b in zip(y, se, strict=True)],
        Discrepancy(0.5, Scale(0.25), TINY),
        points=64,
    )
    other = map_predictive(Normal(y, se), mu=(0, 0.5), tau=Scale(0.25))
    assert (found.prior.mean, found.prior.sd) == pytest.approx((other.prior.mean, other.prior.sd), abs=1e-6)
    assert found.log_marginal == pytest.approx(other.log_marginal, abs=1e-6)
    assert (found.tau_d[0], found.mu_d[0]) == pytest.approx((other.tau.mean, other.mu.mean), abs=1e-4)


def test_double_programmed_two_arms_by_importance_sampling():
    """Everything drawn from the prior and weighted by the multivariate normal density of two trials of two arms."""
    n, rng = 400_000, np.random.default_rng(7)
    v = np.array([[0.02, 0.01], [0.01, 0.02]])
    trials = [
        Validation(np.array(y), np.array([0.1, 0.1]), Evidence(np.array([0.0, 0.4]), v))
        for y in ([0.2, 0.5], [-0.1, 0.5])
    ]
    found = predictive(NEW, trials, PRIOR)
    mu = rng.normal(0, 0.5, n)
    tau_d, tau_arm = np.abs(rng.normal(0, 0.25, n)), np.abs(rng.normal(0, 0.15, n))
    log_w = np.zeros(n)
    for k in trials:
        off = k.y - k.model.mean - mu[:, None]
        # two arms: sum and difference are independent, as variances are equal
        s, d = off.sum(axis=1) / 2**0.5, (off[:, 0] - off[:, 1]) / 2**0.5
        log_w += stats.norm.logpdf(s, 0, np.sqrt(0.03 + 0.01 + 2 * tau_d**2 + tau_arm**2))
        log_w += stats.norm.logpdf(d, 0, np.sqrt(0.01 + 0.01 + tau_arm**2))
    w = np.exp(log_w)
    new = 1 + mu + rng.normal(0, np.sqrt(0.04 + tau_d**2 + tau_arm**2))
    mean = w @ new / w.sum()
    mcse = 1 / np.sqrt(w.sum() ** 2 / (w**2).sum())
    assert found.prior.mean == pytest.approx(mean, abs=4 * mcse * found.prior.sd)
    assert found.prior.sd == pytest.approx(np.sqrt(w @ (new - mean) ** 2 / w.sum()), rel=4 * mcse)
    assert found.tau_d[0] == pytest.approx(w @ tau_d / w.sum(), abs=4 * mcse * found.tau_d[1])
    assert found.log_marginal == pytest.approx(np.log(w.mean()), abs=4 * mcse)


def test_arms_of_one_trial_are_not_trials():
    """Four arms of one trial, all 0.4 off, leave the next trial less certain than one arm of each of four trials."""
    four = Evidence(np.zeros(4), 1e-9 * np.eye(4))
    one_trial = predictive(NEW, [Validation(np.full(4, 0.4), np.full(4, 0.05), four)], PRIOR)
    four_trials = predictive(NEW, [one_arm(0.4, 0.05) for _ in range(4)], PRIOR)
    assert one_trial.prior.sd > four_trials.prior.sd
    assert one_trial.mu_d[1] > four_trials.mu_d[1]
    assert one_trial.tau_d[0] > four_trials.tau_d[0]


def test_more_virtual_patients_leave_the_prior_as_wide_as_the_parameters():
    rng = np.random.default_rng(3)
    theta = rng.normal(1.0, 0.2, 4000)

    def sd(n):
        noisy = theta + rng.normal(0, 2 / np.sqrt(n), len(theta))
        return np.sqrt(evidence(noisy, within_variance=4.0, patients=n).cov[0, 0])

    assert sd(100) == pytest.approx(0.2, abs=0.02)
    assert sd(1_000_000) == pytest.approx(0.2, abs=0.01)


def test_common_subjects_add_their_noise_once():
    rng = np.random.default_rng(4)
    draws = rng.normal(1.0, 0.2, 4000)
    plain = evidence(draws).cov[0, 0]
    assert evidence(draws, within_variance=4.0, patients=400, subjects="common").cov[0, 0] == pytest.approx(
        plain + 0.01
    )
    assert evidence(draws, within_variance=4.0, patients=400).cov[0, 0] == pytest.approx(plain - 0.01)


def test_several_new_arms_share_the_trial_and_not_the_arm():
    two = Evidence(np.array([1.0, 2.0]), np.array([[0.04, 0.03], [0.03, 0.05]]))
    found = predictive(two, [one_arm(0.2)], PRIOR)
    assert isinstance(found.prior, MvNormalMixture)
    single = predictive(Evidence(two.mean[:1], two.cov[:1, :1]), [one_arm(0.2)], PRIOR).prior
    first = found.prior.marginal(0)
    assert (first.mean, first.sd) == pytest.approx((single.mean, single.sd))
    # what they share drops out of their difference
    difference = found.prior.combination(np.array([-1.0, 1.0]))
    assert difference.mean == pytest.approx(1.0)
    assert difference.sd == pytest.approx(
        np.sqrt(0.04 + 0.05 - 0.06 + 2 * (found.tau_arm[0] ** 2 + found.tau_arm[1] ** 2))
    )


def test_the_cap_is_obeyed_and_both_sizes_told():
    prior = NormalMixture([0.7, 0.3], [1.0, 1.2], [0.1, 0.4])
    held = capped(prior, 20, sigma=1.0)
    assert held.ess_before > 20
    assert held.ess == pytest.approx(20, rel=1e-6)
    assert held.prior.mean == pytest.approx(prior.mean)
    assert held.prior.sd == pytest.approx(held.stretch * prior.sd)
    free = capped(prior, 1e6, sigma=1.0)
    assert (free.stretch, free.ess) == (1.0, free.ess_before)


def test_few_components_stand_for_the_grid():
    found = predictive(NEW, [one_arm(0.2), one_arm(0.5)], PRIOR).prior
    fitted = as_mixture(found, seed=1)
    assert len(fitted.weight) <= 4
    assert largest_error(found, fitted) < 0.005
    assert (fitted.mean, fitted.sd) == pytest.approx((found.mean, found.sd), abs=0.002)


def test_evidence_without_spread_or_of_other_arms_is_refused():
    with pytest.raises(BorrowingError, match="no more than the inner noise"):
        evidence(np.array([1.0, 1.01, 0.99]), within_variance=4.0, patients=10)
    with pytest.raises(BorrowingError, match="two or more draws"):
        evidence(np.array([1.0]))
    with pytest.raises(BorrowingError, match="one of each per arm"):
        Validation(np.zeros(2), np.ones(2), NEW)
    with pytest.raises(BorrowingError, match="sigma"):
        Discrepancy(np.inf, Scale(1.0), Scale(1.0))
