"""Power priors: none at zero, all at one, and the normalised one against published figures and a double integral."""

import numpy as np
import pytest
from scipy import integrate, stats

from cohort.borrowing.power import fixed, normalised
from cohort.borrowing.trials import Binomial, Normal, Poisson
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

TRIAL, HISTORY = Normal(-63.1, 13.9), Normal(-49, 6.83)


@pytest.mark.parametrize(
    ("a0", "mean", "sd"),
    [
        (0, -63.1, 13.9),
        (0.25, -55.927223, 9.742823),
        (0.5, -53.591494, 7.931992),
        (1, -51.742235, 6.129959),
    ],
)
def test_independent_normal_power_prior_is_the_closed_form(a0, mean, sd):
    found = fixed(TRIAL, HISTORY, a0)
    assert (found.mean, found.sd) == pytest.approx((mean, sd), abs=1e-6)


def test_a_power_of_zero_borrows_nothing_and_of_one_pools():
    trial, history, first = Binomial(7, 20), Binomial([20, 10], [70, 30]), BetaMixture([1], [1], [1])
    none, pooled = fixed(trial, history, 0.0), fixed(trial, history, 1.0)
    assert (none.posterior.a[0], none.posterior.b[0]) == (8, 14)
    assert (pooled.posterior.a[0], pooled.posterior.b[0]) == (38, 84)
    assert none.mean == first.updated(7, 20).mean
    rate = fixed(Poisson(3, 10.0), Poisson(40, 90.0), 1.0, initial=GammaMixture([1], [0.5], [0.001]))
    assert (rate.posterior.shape[0], rate.posterior.rate[0]) == pytest.approx((43.5, 100.001))


@pytest.mark.parametrize(
    ("events", "a0", "mean", "sd"),
    [(5, 0.5386319, 0.2905581, 0.0564672), (6, 0.5415295, 0.3062591, 0.0572661), (14, 0.1709274, 0.5599601, 0.1227285)],
)
def test_independent_normalised_power_prior_is_the_published_one(events, a0, mean, sd):
    found = normalised(Binomial(events, 20), Binomial(30, 100))
    assert (found.weight, found.mean, found.sd) == pytest.approx((a0, mean, sd), abs=2e-7)


def test_double_programmed_normalised_normal_power_prior():
    """By scipy over a0, with a prior of its own and a proper initial prior."""
    start = NormalMixture([1], [0.0], [50.0])
    found = normalised(TRIAL, HISTORY, initial=start, power_prior=(2.0, 3.0))

    def moments(a0):
        precision = 1 / 50.0**2 + a0 / 6.83**2
        mean, var = a0 * -49 / 6.83**2 / precision, 1 / precision
        seen = stats.norm.pdf(-63.1, mean, np.hypot(np.sqrt(var), 13.9)) * stats.beta.pdf(a0, 2, 3)
        after = precision + 1 / 13.9**2
        return seen, (precision * mean - 63.1 / 13.9**2) / after

    total = integrate.quad(lambda a: moments(a)[0], 0, 1)[0]
    mean = integrate.quad(lambda a: np.prod(moments(a)), 0, 1)[0] / total
    power = integrate.quad(lambda a: a * moments(a)[0], 0, 1)[0] / total
    assert (found.mean, found.weight) == pytest.approx((mean, power), abs=1e-6)


def test_double_programmed_normalised_power_prior_with_a_flat_start():
    """Without an initial prior the integrand is a square root of a0 near zero."""
    found = normalised(TRIAL, HISTORY)

    def seen(a0):
        return stats.norm.pdf(-63.1, -49, np.sqrt(13.9**2 + 6.83**2 / a0))

    total = integrate.quad(seen, 0, 1)[0]
    assert found.weight == pytest.approx(integrate.quad(lambda a: a * seen(a), 0, 1)[0] / total, abs=1e-6)


def test_the_cap_is_obeyed():
    trial, history = Binomial(7, 20), Binomial(30, 100)
    assert fixed(trial, history, 1.0, n_cap=20).weight == pytest.approx(0.2)
    found = normalised(trial, history, n_cap=20)
    assert found.about["a0_most"] == pytest.approx(0.2)
    assert found.about["a0_prior_mean"] == pytest.approx(0.1)
    assert 0 < found.weight < 0.2
    assert np.max(found.posterior.a + found.posterior.b) <= 2 + 20 + 20
    assert normalised(trial, history, n_cap=0).mean == fixed(trial, history, 0).mean
    assert fixed(TRIAL, HISTORY, 1.0, n_cap=10, subjects=100).weight == pytest.approx(0.1)


def test_the_learnt_power_falls_alike_with_conflict_on_both_sides():
    found = [normalised(Normal(-49 + d, 13.9), HISTORY).weight for d in (-60, -30, 0, 30, 60)]
    assert found == pytest.approx(found[::-1], abs=1e-9)
    assert found[0] < found[1] < found[2]
