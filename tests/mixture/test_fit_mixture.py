"""Mixtures found again from their own draws, and what is refused."""

import math

import numpy as np
import pytest
from scipy import stats

from cohort.mixture import BetaMixture, GammaMixture, MixtureError, MvNormalMixture, NormalMixture
from cohort.mixture.fit import cdf_error, fit
from cohort.mixture.size import ess

MAP = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
CROHN = NormalMixture(
    [0.50104846, 0.41871594, 0.08023561],
    [-51.42408665, -47.25917128, -55.07086416],
    [19.04525409, 7.85193726, 44.57325],
)
RATE = GammaMixture([0.6, 0.4], [20, 4], [10, 1])
VISITS = MvNormalMixture([0.7, 0.3], [[0, 0], [4, -2]], [[[1, 0.5], [0.5, 1]], [[0.3, 0], [0, 0.5]]])


def even(m, n=3000):
    """Quantiles at even steps: draws without chance."""
    return m.quantile((np.arange(n) + 0.5) / n)


@pytest.mark.parametrize("truth", [MAP, CROHN, RATE], ids=lambda m: m.family)
def test_a_mixture_is_found_again_from_its_quantiles(truth):
    found = fit(even(truth), truth.family, truth.components, seed=1)
    assert found.cdf_error < 1.5e-3  # half a step of the draws' distribution function is 1.7e-4
    assert found.mixture.mean == pytest.approx(truth.mean, rel=1e-3)
    assert found.mixture.sd == pytest.approx(truth.sd, rel=1e-2)
    assert np.all(np.diff(found.mixture.weight) <= 0)


@pytest.mark.parametrize("truth", [MAP, CROHN, RATE], ids=lambda m: m.family)
def test_the_fit_is_at_least_as_likely_as_the_truth(truth):
    draws = truth.sample(3000, seed=4)
    found = fit(draws, truth.family, truth.components, seed=1)
    assert found.log_likelihood > truth.logpdf(draws).sum()
    assert found.log_likelihood == pytest.approx(found.mixture.logpdf(draws).sum(), rel=1e-9)


@pytest.mark.filterwarnings("ignore:a component has an a, b or shape of 1")
def test_a_fit_passes_the_test_of_a_prior_in_conflict():
    found = fit(even(MAP), "beta", 2, seed=1).mixture.robust(0.2, BetaMixture([1], [1], [1]))
    truth = MAP.robust(0.2, BetaMixture([1], [1], [1]))
    for y in range(7):
        assert found.updated(y, 6).weight[-1] == pytest.approx(truth.updated(y, 6).weight[-1], abs=0.01)
    assert ess(found) == pytest.approx(ess(truth), rel=0.02)


def test_one_component_is_the_maximum_likelihood_of_scipy():
    x = np.random.default_rng(2).beta(3, 8, 400)
    a, b, _, _ = stats.beta.fit(x, floc=0, fscale=1)
    np.testing.assert_allclose(
        np.ravel(fit(x, "beta", 1, seed=1).mixture.parameters), np.array([a, b], float), rtol=1e-4
    )
    x = np.random.default_rng(2).gamma(3, 0.5, 400)
    shape, _, scale = stats.gamma.fit(x, floc=0)
    np.testing.assert_allclose(
        np.ravel(fit(x, "gamma", 1, seed=1).mixture.parameters), np.array([shape, 1 / scale]), rtol=1e-4
    )
    one = fit(x, "normal", 1, seed=1)
    np.testing.assert_allclose(np.ravel(one.mixture.parameters), [x.mean(), x.std()])
    assert one.aic[1] == pytest.approx(2 * 2 - 2 * stats.norm.logpdf(x, x.mean(), x.std()).sum())


def test_the_number_of_components_is_of_the_least_aic():
    two = fit(RATE.sample(2000, seed=2), "gamma", seed=1)
    assert two.components == 2
    assert set(two.aic) == {1, 2, 3, 4}
    assert min(two.aic, key=lambda k: two.aic[k]) == 2
    one = fit(even(NormalMixture([1], [3], [2]), 1000), "normal", seed=1)
    assert one.components == 1
    dear = fit(CROHN.sample(1000, seed=5), "normal", seed=1, penalty=1000)
    assert dear.components == 1


def test_several_quantities_are_fitted_together():
    found = fit(VISITS.sample(2000, seed=2), "mvnormal", 2, seed=1)
    np.testing.assert_allclose(found.mixture.weight, VISITS.weight, atol=0.03)
    np.testing.assert_allclose(found.mixture.component_mean, VISITS.component_mean, atol=0.15)
    np.testing.assert_allclose(found.mixture.component_cov, VISITS.component_cov, atol=0.15)
    assert found.cdf_error < 0.03


def test_the_same_seed_makes_the_same_fit_and_order_of_draws_does_not_matter_much():
    draws = MAP.sample(1000, seed=3)
    first, again = fit(draws, "beta", 2, seed=8), fit(draws, "beta", 2, seed=8)
    np.testing.assert_array_equal(first.mixture.parameters, again.mixture.parameters)
    turned = fit(draws[::-1].reshape(4, 250), "beta", 2, seed=9)
    assert turned.log_likelihood == pytest.approx(first.log_likelihood, abs=0.05)


def test_double_programmed_distance_is_kolmogorov_s():
    draws = MAP.sample(500, seed=1)
    assert cdf_error(MAP, draws) == pytest.approx(stats.kstest(draws, MAP.cdf).statistic, rel=1e-12)


def test_components_do_not_collapse_onto_repeated_draws():
    draws = np.r_[np.full(100, 0.25), MAP.sample(400, seed=1)]  # as of a chain that stood still
    found = fit(draws, "beta", seed=1)
    assert found.mixture.component_sd.min() > 1e-4 * np.std(draws)
    assert not all(math.isnan(v) for v in found.aic.values())


@pytest.mark.parametrize(
    ("draws", "family", "options", "said"),
    [
        (np.r_[np.full(50, 0.3), 0], "beta", {}, "1 of 51 are not between 0 and 1, such as 0"),
        (np.linspace(0.1, 1.2, 60), "beta", {}, "not between 0 and 1"),
        (np.linspace(-1, 3, 60), "gamma", {}, "not above 0, such as -1"),
        (np.r_[np.linspace(0, 1, 50), np.nan], "normal", {}, "1 of 51 are not finite"),
        (np.full(60, 0.3), "beta", {}, "all alike"),
        (np.linspace(0.1, 0.9, 19), "beta", {}, "19 are too few"),
        (np.linspace(0.1, 0.9, 70), "beta", {"components": 4}, "too few"),
        (np.linspace(0.1, 0.9, 70), "beta", {"components": 0}, "components: 0"),
        (np.linspace(0.1, 0.9, 70), "weibull", {}, "'weibull' is not known"),
        (np.linspace(0.1, 0.9, 70), "mvnormal", {}, r"shape \(70,\)"),
        (np.outer(np.linspace(0.1, 0.9, 70), [1, 2]), "mvnormal", {}, "a combination of the others"),
        (np.linspace(0.1, 0.9, 70), "beta", {"penalty": -1}, "penalty: -1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(draws, family, options, said):
    with pytest.raises(MixtureError, match=said):
        fit(draws, family, seed=1, **options)
