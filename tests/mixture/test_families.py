"""Mixtures of beta, normal and gamma: moments, quantiles and updates against published numbers and SciPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from cohort.mixture import (
    BetaMixture,
    GammaMixture,
    MixtureError,
    NormalMixture,
    posterior_cdf,
    posterior_quantile,
    posterior_weights,
)

UNIFORM = BetaMixture([1], [1], [1])
SECUKINUMAB = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
ROBUST = SECUKINUMAB.robust(0.2, UNIFORM)
CROHN = NormalMixture(
    [0.50104846, 0.41871594, 0.08023561],
    [-51.42408665, -47.25917128, -55.07086416],
    [19.04525409, 7.85193726, 44.57325],
)
RATE = GammaMixture([0.6, 0.4], [20, 4], [10, 1])
RATES = GammaMixture([0.3, 0.7], [20, 50], [4, 10])
ALL = [SECUKINUMAB, ROBUST, CROHN, RATE, RATES, BetaMixture([0.5, 0.5], [0.5, 2], [0.7, 0.6])]


@pytest.mark.parametrize(
    ("mixture", "mean", "sd"),
    [
        (SECUKINUMAB, 0.25857963, 0.08423297),
        (ROBUST, 0.30686370, 0.17795569),
        (ROBUST.updated(1, 6), 0.24280816, 0.07881635),
        (BetaMixture([1], [0.5], [1]).updated(14, 24), 0.56862745, 0.09620934),
        (CROHN, -49.972772, 19.318134),
        (RATE, 2.8, 1.6370706),
        (RATE.updated(30, 12), 2.35982177, 0.38786831),
        (RATES.updated(180, 30), 5.78881752, 0.39492092),
    ],
)
def test_independent_mean_and_sd_are_those_of_rbest(mixture, mean, sd):
    assert mixture.mean == pytest.approx(mean, rel=1e-6)
    assert mixture.sd == pytest.approx(sd, rel=1e-6)


@pytest.mark.parametrize(
    ("mixture", "quantiles"),
    [
        (SECUKINUMAB, [0.10808237, 0.25003652, 0.47028444]),
        (ROBUST, [0.08133682, 0.25986125, 0.87500197]),
        (ROBUST.updated(1, 6), [0.09219458, 0.23864185, 0.42540511]),
    ],
)
def test_independent_quantiles_are_those_of_rbest_up_to_its_own_tolerance(mixture, quantiles):
    # RBesT seeks quantiles to 1e-4: its cdf at .10808237 is .024982; ours solve the equation, as tested below
    np.testing.assert_allclose(mixture.quantile([0.025, 0.5, 0.975]), quantiles, atol=5e-5)


@pytest.mark.parametrize("mixture", ALL, ids=lambda m: m.family)
def test_double_programmed_quantiles_are_roots_of_the_distribution_function(mixture):
    q = np.array([1e-6, 0.025, 0.2, 0.5, 0.9, 0.975, 1 - 1e-6])
    low, high = {"beta": (0, 1), "normal": (-1e4, 1e4), "gamma": (0, 1e3)}[mixture.family]
    component = {
        "beta": lambda x: stats.beta.cdf(x, *mixture.parameters),
        "normal": lambda x: stats.norm.cdf(x, *mixture.parameters),
        "gamma": lambda x: stats.gamma.cdf(x, mixture.parameters[0], scale=1 / mixture.parameters[1]),
    }[mixture.family]
    for share in q:
        root = optimize.brentq(lambda x, p=share: component(x) @ mixture.weight - p, low, high, xtol=1e-15)
        assert mixture.quantile(share) == pytest.approx(root, rel=1e-10)
    np.testing.assert_allclose(mixture.cdf(mixture.quantile(q)), q, rtol=1e-11)


@pytest.mark.parametrize("mixture", ALL, ids=lambda m: m.family)
def test_double_programmed_density_integrates_to_the_distribution_function(mixture):
    points = mixture.quantile([0.05, 0.3, 0.6, 0.95])
    for left, right in itertools.pairwise(points):
        area = integrate.quad(mixture.pdf, left, right, epsabs=1e-11)[0]
        assert area == pytest.approx(mixture.cdf(right) - mixture.cdf(left), abs=1e-10)
        assert mixture.cdf(right) + mixture.sf(right) == pytest.approx(1, abs=1e-14)


def test_independent_posterior_weights_are_those_of_rbest():
    posterior = ROBUST.updated(1, 6)
    np.testing.assert_allclose(posterior.weight, [0.587381775, 0.315141854, 0.097476371], atol=1e-9)
    np.testing.assert_allclose(posterior.a, [20.1916387, 4.5278745, 2])
    np.testing.assert_allclose(posterior.b, [62.7779318, 14.373598, 6])
    np.testing.assert_allclose(RATE.updated(30, 12).weight, [0.74582627, 0.25417373], atol=5e-9)
    np.testing.assert_allclose(RATE.updated(30, 12).parameters, [[50, 34], [22, 13]])
    np.testing.assert_allclose(RATES.updated(180, 30).weight, [0.29328795, 0.70671205], atol=5e-9)


@pytest.mark.parametrize(
    ("n", "events", "weights", "means"),
    [
        (
            6,
            [0, 1, 2, 3, 4, 5, 6],
            [0.154307, 0.0974764, 0.115470, 0.203290, 0.427534, 0.766718, 0.963482],
            [0.199775, 0.242808, 0.280928, 0.340551, 0.462847, 0.667981, 0.860099],
        ),
        (
            20,
            [2, 5, 8, 11, 14, 17],
            [0.122229, 0.0695977, 0.144405, 0.448527, 0.843194, 0.986227],
            [0.190134, 0.253827, 0.324378, 0.469056, 0.657089, 0.815493],
        ),
    ],
)
def test_independent_weight_on_the_vague_part_in_conflict_is_that_of_rbest(n, events, weights, means):
    np.testing.assert_allclose(posterior_weights(ROBUST, events, n)[:, -1], weights, atol=1e-6)
    np.testing.assert_allclose([ROBUST.updated(y, n).mean for y in events], means, rtol=5e-6)


@pytest.mark.parametrize(
    ("mixture", "first", "second"),
    [
        (ROBUST, np.arange(13), np.array(12)),
        (CROHN, np.linspace(-900, 900, 7), np.array(20.0)),
        (RATE, np.arange(40), np.array(7.5)),
    ],
    ids=["beta", "normal", "gamma"],
)
def test_arrays_of_data_give_what_each_gives_by_itself(mixture, first, second):
    weights = posterior_weights(mixture, first, second)
    medians, tails = posterior_quantile(mixture, 0.5, first, second), posterior_cdf(mixture, 0.6, first, second)
    marginal = mixture.log_marginal(first, second)
    for i, y in enumerate(first):
        posterior = mixture.updated(y, second)
        np.testing.assert_allclose(weights[i], posterior.weight, rtol=1e-12, atol=1e-300)
        assert medians[i] == pytest.approx(posterior.quantile(0.5), rel=1e-12)
        assert tails[i] == pytest.approx(posterior.cdf(0.6), rel=1e-12)
        assert marginal[i] == pytest.approx(mixture.log_marginal(y, second), rel=1e-13)


def test_double_programmed_marginal_likelihoods_are_scipy_s_compound_distributions():
    for y in range(7):
        expected = SECUKINUMAB.weight @ stats.betabinom.pmf(y, 6, SECUKINUMAB.a, SECUKINUMAB.b)
        assert SECUKINUMAB.log_marginal(y, 6) == pytest.approx(np.log(expected), rel=1e-12)
    expected = RATE.weight @ stats.nbinom.pmf(30, RATE.shape, RATE.rate / (RATE.rate + 12))
    assert RATE.log_marginal(30, 12) == pytest.approx(np.log(expected), rel=1e-12)
    expected = integrate.quad(lambda x: CROHN.pdf(x) * stats.norm.pdf(-60, x, 12), -400, 400, limit=200)[0]
    assert CROHN.log_marginal(-60, 12) == pytest.approx(np.log(expected), rel=1e-9)


def test_the_probability_of_all_outcomes_of_a_trial_is_one():
    assert np.exp(ROBUST.log_marginal(np.arange(41), 40)).sum() == pytest.approx(1, abs=1e-12)
    assert np.exp(RATE.log_marginal(np.arange(2000), 12)).sum() == pytest.approx(1, abs=1e-12)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_data_in_two_portions_make_the_same_posterior_as_at_once(y1, more1, y2, more2):
    apart = ROBUST.updated(y1, y1 + more1).updated(y2, y2 + more2)
    once = ROBUST.updated(y1 + y2, y1 + more1 + y2 + more2)
    np.testing.assert_allclose(apart.weight, once.weight, rtol=1e-9)
    np.testing.assert_allclose(apart.parameters, once.parameters)


def test_a_component_that_data_ruled_out_comes_back_with_later_data():
    prior = NormalMixture([0.5, 0.5], [0, 100], [1, 1])
    away = prior.updated(0, 0.5)
    assert away.weight[1] < 1e-300
    np.testing.assert_allclose(away.updated(100, 0.5).weight, [0.5, 0.5], rtol=1e-9)


def test_the_posterior_of_a_mean_is_narrower_than_the_estimate_and_the_prior():
    posterior = NormalMixture([1], [0], [3]).updated(2, 4)
    assert posterior.sd == pytest.approx(2.4)
    assert posterior.mean == pytest.approx(2 * 9 / 25)


def test_no_data_leave_a_prior_as_it_is():
    posterior = ROBUST.updated(0, 0)
    np.testing.assert_allclose(posterior.weight, ROBUST.weight)
    np.testing.assert_allclose(posterior.parameters, ROBUST.parameters)
    assert ROBUST.log_marginal(0, 0) == pytest.approx(0, abs=1e-12)


def test_a_component_of_weight_zero_changes_nothing():
    also = BetaMixture([0.6167463, 0.3832537, 0], [19.1916387, 3.5278745, 0.01], [57.7779318, 9.3735980, 0.02])
    q = [0, 1e-9, 0.3, 0.5, 0.99, 1]
    np.testing.assert_allclose(also.quantile(q), SECUKINUMAB.quantile(q), rtol=1e-12)
    np.testing.assert_allclose(also.pdf([0, 0.2, 1]), SECUKINUMAB.pdf([0, 0.2, 1]))
    assert also.mean == pytest.approx(SECUKINUMAB.mean)
    assert also.updated(3, 9).mean == pytest.approx(SECUKINUMAB.updated(3, 9).mean)
    assert SECUKINUMAB.robust(0, UNIFORM).weight[-1] == 0
    assert SECUKINUMAB.robust(1, UNIFORM).interval(0.9) == pytest.approx((0.05, 0.95))


def test_quantiles_between_far_components_are_found():
    far = NormalMixture([0.5, 0.5], [-1e6, 1e6], [1, 1e-3])
    assert far.quantile([0.25, 0.75]) == pytest.approx([-1e6, 1e6], rel=1e-12)
    assert NormalMixture([0.5, 0.5], [-30, 30], [1, 1]).quantile(0.5) == pytest.approx(0, abs=1e-9)
    assert far.cdf(far.quantile(0.5 - 1e-12)) == pytest.approx(0.5 - 1e-12, abs=1e-15)


def test_small_tails_keep_their_digits():
    mixture = NormalMixture([0.9, 0.1], [0, 1], [1, 2])
    x = mixture.quantile([1e-300, 1e-40])
    np.testing.assert_allclose(mixture.cdf(x), [1e-300, 1e-40], rtol=1e-9)
    assert mixture.sf(60) == pytest.approx(0.1 * stats.norm.sf(29.5), rel=1e-12)


def test_equal_tailed_interval_leaves_half_of_the_rest_on_either_side():
    low, high = CROHN.interval(0.9)
    assert CROHN.cdf(low) == pytest.approx(0.05, abs=1e-13)
    assert CROHN.sf(high) == pytest.approx(0.05, abs=1e-13)


@pytest.mark.parametrize("mixture", ALL, ids=lambda m: m.family)
def test_draws_follow_the_mixture_and_hang_on_the_seed(mixture):
    draws = mixture.sample(4000, seed=3)
    assert stats.kstest(draws, mixture.cdf).pvalue > 1e-3
    assert np.array_equal(draws, mixture.sample(4000, seed=3))
    assert not np.array_equal(draws, mixture.sample(4000, seed=4))


def test_mixtures_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        SECUKINUMAB.weight[0] = 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BetaMixture([0.5, 0.6], [1, 1], [1, 1]), "sum is 1.1"),
        (lambda: BetaMixture([-0.5, 1.5], [1, 1], [1, 1]), r"weight\[0\] -0.5, weight\[1\] 1.5 is outside 0-1"),
        (lambda: BetaMixture([1], [0], [1]), r"a\[0\] 0 is not positive"),
        (lambda: BetaMixture([0.5, 0.5], [1, 2], [1]), "components differ in number: a 2, b 1"),
        (lambda: BetaMixture([1], [[1]], [1]), "a: has 2 dimensions"),
        (lambda: BetaMixture([], [], []), "is empty"),
        (lambda: BetaMixture([1], ["x"], [1]), "not an array of numbers"),
        (lambda: NormalMixture([1], [np.nan], [1]), r"mean\[0\] nan is not finite"),
        (lambda: NormalMixture([1], [0], [np.inf]), r"sd\[0\] inf is not finite"),
        (lambda: NormalMixture([1], [0], [-1]), r"sd\[0\] -1 is not positive"),
        (lambda: GammaMixture([1], [1], [0]), r"rate\[0\] 0 is not positive"),
        (lambda: GammaMixture([1], [-1], [1]), r"shape\[0\] -1 is not positive"),
        (lambda: SECUKINUMAB.updated(7, 6), "7 is more than n = 6"),
        (lambda: SECUKINUMAB.updated(-1, 6), "events -1 is negative"),
        (lambda: SECUKINUMAB.updated(np.nan, 6), "not finite"),
        (lambda: SECUKINUMAB.updated([1, 2], 6), "one observation"),
        (lambda: posterior_weights(SECUKINUMAB, [1, 2], [6, 6, 6]), "shapes do not go together"),
        (lambda: CROHN.updated(0, 0), "se 0 is not positive"),
        (lambda: RATE.updated(3, 0), "exposure 0 is not positive"),
        (lambda: RATE.updated(-3, 1), "events -3 is negative"),
        (lambda: SECUKINUMAB.quantile(1.01), "1.01 is not a probability"),
        (lambda: SECUKINUMAB.quantile(np.nan), "nan is not a probability"),
        (lambda: SECUKINUMAB.cdf([0.1, np.nan]), "1 of 2 values are NaN"),
        (lambda: SECUKINUMAB.interval(95), "95 is not between 0 and 1"),
        (lambda: SECUKINUMAB.sample(0, seed=1), "0 draws"),
        (lambda: SECUKINUMAB.robust(20, UNIFORM), "20 is outside 0-1"),
        (
            lambda: SECUKINUMAB.robust(0.2, CROHN),  # pyright: ignore
            "is a NormalMixture; write a BetaMixture",
        ),
        (lambda: SECUKINUMAB.robust(0.2, SECUKINUMAB), "has 2 components; write one"),
    ],
)
def test_what_is_no_prior_or_no_data_is_refused(make, said):
    with pytest.raises(MixtureError, match=said):
        make()


def test_every_problem_is_in_one_message():
    with pytest.raises(MixtureError) as error:
        BetaMixture([0.5, 0.6, -1], [1, np.nan, 0], [1, 2, -3])
    for said in ("a[1] nan", "weight[2] -1", "sum is 0.1", "a[2] 0", "b[2] -3"):
        assert said in str(error.value)
