"""Differences of two mixtures against published numbers, SciPy's quadrature and closed forms."""

import itertools

import numpy as np
import pytest
from scipy import integrate, special, stats

from cohort.mixture import BetaMixture, GammaMixture, MixtureError, NormalMixture, difference

MAP = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
ROBUST = MAP.robust(0.2, BetaMixture([1], [1], [1])).updated(1, 6)
TREATED = BetaMixture([1], [0.5], [1]).updated(14, 24)
RATE = GammaMixture([0.6, 0.4], [20, 4], [10, 1]).updated(30, 12)
RATE_TREATED = GammaMixture([1], [0.5], [0.001]).updated(18, 12)


@pytest.mark.parametrize(
    ("a", "b", "published", "within"),
    [
        (TREATED, ROBUST, 0.99132326770, 1e-9),  # by SciPy; RBesT .9913232544
        (TREATED, MAP.updated(1, 6), 0.9953022173, 2e-8),
        (TREATED, BetaMixture([1], [11], [32]).updated(1, 6), 0.9972799775, 2e-9),
        (RATE, RATE_TREATED, 0.94286546, 5e-9),
    ],
)
def test_independent_probability_is_that_of_rbest(a, b, published, within):
    assert difference.probability(a, b) == pytest.approx(published, abs=within)


@pytest.mark.parametrize("c", [-0.9, -0.5, -0.1, 0, 0.2, 0.7])
@pytest.mark.parametrize("b", [ROBUST, BetaMixture([1], [0.5], [0.5]), BetaMixture([0.5, 0.5], [1, 300], [1, 2])])
def test_double_programmed_probability_is_scipy_s_integral(b, c):
    def integrand(t):
        x = special.expit(t)
        return np.exp(b.natural_log_density(np.array([t]), *b.parameters)) @ b.weight * TREATED.sf(x + c)

    kinks = [float(special.logit(k)) for k in (-c, 1 - c) if 0 < k < 1]
    edges = [-120.0, *kinks, *special.logit(b.quantile([1e-6, 0.1, 0.5, 0.9, 1 - 1e-6])), 120.0]
    edges = sorted(edges)
    parts = [
        integrate.quad(integrand, left, right, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        for left, right in itertools.pairwise(edges)
    ]
    assert difference.probability(TREATED, b, c) == pytest.approx(sum(parts), abs=1e-10)


def test_double_programmed_probability_of_gammas_is_the_beta_tail():
    a, b = GammaMixture([1], [3.5], [2]), GammaMixture([1], [0.4], [0.7])
    for c in (-2, 0, 0.5):  # a / b > r where Beta(a's shape, b's shape) of the standardised parts is large
        r = np.exp(c)
        expected = stats.beta.sf(2 * r / (2 * r + 0.7), 3.5, 0.4)
        assert difference.probability(a, b, c, "log") == pytest.approx(expected, abs=1e-10)


def test_normal_differences_are_normal():
    a, b = NormalMixture([1], [1], [3]), NormalMixture([1], [-1], [4])
    assert difference.probability(a, b, [0, 5]) == pytest.approx(stats.norm.sf([0, 5], 2, 5), rel=1e-13)
    assert difference.quantile(a, b, 0.9) == pytest.approx(stats.norm.ppf(0.9, 2, 5), rel=1e-12)
    assert difference.density(a, b, 0.3) == pytest.approx(stats.norm.pdf(0.3, 2, 5), rel=1e-12)


def test_two_families_differ_on_the_identity():
    a, b = NormalMixture([0.5, 0.5], [0.2, 0.8], [0.1, 0.3]), ROBUST
    expected = integrate.quad(lambda x: b.pdf(x) * a.sf(x + 0.1), 0, 1, epsabs=1e-13, limit=200)[0]
    assert difference.probability(a, b, 0.1) == pytest.approx(expected, abs=1e-10)
    assert difference.probability(b, a, -0.1) == pytest.approx(1 - expected, abs=1e-10)


@pytest.mark.parametrize(
    ("a", "b", "link"),
    [
        (TREATED, ROBUST, "identity"),
        (TREATED, ROBUST, "log"),
        (TREATED, ROBUST, "logit"),
        (RATE, RATE_TREATED, "identity"),
        (RATE, RATE_TREATED, "log"),
        (BetaMixture([1], [0.3], [0.4]), BetaMixture([0.5, 0.5], [0.2, 4], [0.9, 1]), "identity"),
    ],
)
def test_swapping_the_arms_turns_the_sign(a, b, link):
    c = np.array([-0.4, -0.01, 0.0, 0.3])
    there, back = difference.probability(a, b, c, link), difference.probability(b, a, -c, link)
    np.testing.assert_allclose(there + back, 1, atol=1e-10)


@pytest.mark.parametrize("link", ["identity", "log", "logit"])
def test_quantiles_of_the_difference_have_their_probability_and_density_is_its_slope(link):
    q = np.array([0.001, 0.025, 0.5, 0.975])
    d = difference.quantile(TREATED, ROBUST, q, link)
    np.testing.assert_allclose(1 - difference.probability(TREATED, ROBUST, d, link), q, atol=1e-10)
    step = 1e-4
    slope = difference.probability(TREATED, ROBUST, d - step, link) - difference.probability(
        TREATED, ROBUST, d + step, link
    )
    np.testing.assert_allclose(difference.density(TREATED, ROBUST, d, link), slope / (2 * step), rtol=1e-4)


def test_independent_quantiles_are_those_of_rbest_up_to_its_own_tolerance():
    found = difference.quantile(TREATED, ROBUST, [0.025, 0.5, 0.975])
    np.testing.assert_allclose(found, [0.070464, 0.329479, 0.558870], atol=5e-5)
    assert difference.interval(TREATED, ROBUST) == pytest.approx((found[0], found[2]))


@pytest.mark.parametrize("link", ["identity", "log", "logit"])
def test_probability_agrees_with_draws_within_monte_carlo_error(link):
    g = {"identity": lambda x: x, "log": np.log, "logit": special.logit}[link]
    n = 200_000
    drawn = np.mean(g(TREATED.sample(n, seed=1)) - g(ROBUST.sample(n, seed=2)) > 0.4)
    exact = difference.probability(TREATED, ROBUST, 0.4, link)
    assert abs(drawn - exact) < 4 * np.sqrt(exact * (1 - exact) / n)


def test_equal_arms_are_even_however_close_to_the_bounds():
    for m in (ROBUST, BetaMixture([1], [0.01], [0.01]), GammaMixture([1], [0.02], [3]), BetaMixture([1], [1e6], [3e6])):
        assert difference.probability(m, m) == pytest.approx(0.5, abs=1e-10)


def test_margins_beyond_what_a_difference_can_be_are_certain():
    assert difference.probability(TREATED, ROBUST, [-np.inf, -1, 1, 3, np.inf]) == pytest.approx([1, 1, 0, 0, 0])
    assert difference.density(TREATED, ROBUST, [-1.5, 2]) == pytest.approx([0, 0])


def test_a_component_of_weight_zero_changes_nothing():
    also = BetaMixture([1, 0], [14.5, 0.001], [11, 2])
    assert difference.probability(also, ROBUST, 0.1) == pytest.approx(difference.probability(TREATED, ROBUST, 0.1))
    assert difference.probability(ROBUST, also, 0.1) == pytest.approx(difference.probability(ROBUST, TREATED, 0.1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: difference.probability(TREATED, ROBUST, 0, "probit"), "'probit' is not known"),  # pyright: ignore
        (lambda: difference.probability(RATE, ROBUST, 0, "logit"), "a: a gamma mixture has no logit link"),
        (lambda: difference.probability(TREATED, ROBUST, np.nan), "above: is NaN"),
        (lambda: difference.probability(TREATED, 3), "b: is a int"),  # pyright: ignore
        (lambda: difference.quantile(TREATED, ROBUST, 1), "not between 0 and 1"),
        (lambda: difference.interval(TREATED, ROBUST, 95), "95 is not between 0 and 1"),
    ],
)
def test_what_has_no_difference_is_refused(make, said):
    with pytest.raises(MixtureError, match=said):
        make()
