"""Effective sample sizes against RBesT's and against conjugate priors, whose size is known."""

import warnings

import numpy as np
import pytest
from scipy import integrate

from cohort.mixture import BetaMixture, GammaMixture, MixtureError, NormalMixture
from cohort.mixture.size import ess

at_a_bound = pytest.mark.filterwarnings("ignore:a component has an a, b or shape of 1")
UNIFORM = BetaMixture([1], [1], [1])
MAP = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
CROHN = NormalMixture(
    [0.50104846, 0.41871594, 0.08023561],
    [-51.42408665, -47.25917128, -55.07086416],
    [19.04525409, 7.85193726, 44.57325],
)
RATE = GammaMixture([0.6, 0.4], [20, 4], [10, 1])
PUBLISHED = [
    (MAP, None, 36.817273, 26.020575, 62.673154),
    (MAP.robust(0.2, UNIFORM), None, 25.730952, 5.7164594, 53.464506),
    (BetaMixture([0.2, 0.8], [1, 10], [1, 2]), None, 7.6515202, 3.1610338, 8.4876027),
    (CROHN, 88, 38.999303, 20.750808, 89.227024),
    (CROHN.robust(0.2, NormalMixture([1], [-50], [88])), 88, 28.138306, 4.1919453, 86.259302),
    (NormalMixture([0.5, 0.5], [0, 3], [2, 4]), 10, 10.82796, 8.163265, 18.41814),
    (RATE, None, 4.5232469, 1.0447761, 6.4444654),
    (GammaMixture([0.3, 0.7], [20, 50], [4, 10]), None, 7.1593776, 6.8965517, 8.6905339),
]


@at_a_bound
@pytest.mark.parametrize(("m", "sigma", "elir", "moment", "morita"), PUBLISHED)
def test_independent_sizes_are_those_of_rbest(m, sigma, elir, moment, morita):
    assert ess(m, "elir", sigma) == pytest.approx(elir, rel=1e-6)
    assert ess(m, "moment", sigma) == pytest.approx(moment, rel=1e-6)
    # of gamma RBesT leaves out 1e-4 of the predictive: 3e-4 apart; of the others 1e-5
    assert ess(m, "morita", sigma) == pytest.approx(morita, rel=3e-4 if m.family == "gamma" else 1e-5)


@at_a_bound
@pytest.mark.parametrize(
    ("weight", "elir"),
    [(0.1, 30.818528), (0.2, 25.730952), (0.5, 12.69737), (0.8, 3.0374859), (0.9, 0.98070062), (1, 0)],
)
def test_independent_size_falls_with_the_weight_on_the_uniform_as_rbest_s(weight, elir):
    assert ess(MAP.robust(weight, UNIFORM)) == pytest.approx(elir, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("method", ["elir", "moment", "morita"])
def test_a_conjugate_prior_is_worth_its_own_size(method):
    assert ess(BetaMixture([1], [5], [15]), method) == 20
    assert ess(NormalMixture([1], [3], [2]), method, sigma=10) == 25
    assert ess(GammaMixture([1], [7], [4]), method) == 4


@pytest.mark.parametrize("method", ["elir", "moment"])
def test_a_component_said_twice_counts_once(method):
    assert ess(BetaMixture([0.3, 0.7], [5, 5], [15, 15]), method) == pytest.approx(20, rel=1e-10)
    assert ess(NormalMixture([0.3, 0.7], [3, 3], [2, 2]), method, sigma=10) == pytest.approx(25, rel=1e-10)
    assert ess(GammaMixture([0.3, 0.7], [7, 7], [4, 4]), method) == pytest.approx(4, rel=1e-10)


@pytest.mark.parametrize("method", ["elir", "moment", "morita"])
def test_a_component_of_weight_zero_counts_for_nothing(method):
    also = BetaMixture([0.6167463, 0.3832537, 0], [19.1916387, 3.5278745, 0.1], [57.7779318, 9.3735980, 0.1])
    assert ess(also, method) == pytest.approx(ess(MAP, method), rel=1e-12)
    wide = NormalMixture([1, 0], [3, 0], [2, 1e5])
    assert ess(wide, method, sigma=10) == 25


def test_double_programmed_elir_is_the_integral_of_a_numerical_second_derivative():
    def curved(x, step=1e-4):
        return -(MAP.logpdf(x + step) - 2 * MAP.logpdf(x) + MAP.logpdf(x - step)) / step**2

    found = integrate.quad(lambda x: MAP.pdf(x) * curved(x) * x * (1 - x), 2e-4, 0.999, limit=400, epsabs=1e-6)[0]
    assert ess(MAP) == pytest.approx(found, rel=1e-4)


def test_double_programmed_elir_of_gammas_is_the_integral_of_the_squared_slope():
    def slope(x):  # by parts, where the density is 0 at 0: E[-x (log p)''] = E[x (log p)'^2]
        each = np.exp(RATE.log_density(np.array([x]), *RATE.parameters)) * RATE.weight
        return (each @ ((RATE.shape - 1) / x - RATE.rate)) ** 2 / each.sum() * x

    assert ess(RATE) == pytest.approx(integrate.quad(slope, 1e-9, 60, limit=400, epsabs=1e-11)[0], rel=1e-8)


@at_a_bound
@pytest.mark.filterwarnings("ignore:the effective sample size")  # that of a posterior in conflict may be negative
@pytest.mark.parametrize("m", [MAP, MAP.robust(0.2, UNIFORM), BetaMixture([0.2, 0.8], [1, 10], [1, 2])])
def test_elir_is_predictively_consistent(m):
    n = 40  # the size after n subjects is n more, on average over the prior predictive
    after = [ess(m.updated(y, n)) * np.exp(m.log_marginal(y, n)) for y in range(n + 1)]
    assert sum(after) - n == pytest.approx(ess(m), abs=0.75)


@at_a_bound
def test_a_negative_size_is_told():
    with pytest.warns(RuntimeWarning, match="negative by 'elir'"):
        found = ess(GammaMixture([0.5, 0.5], [1, 1], [1, 100]))
    assert found < -1


def test_independent_a_uniform_is_worth_nothing():
    assert ess(UNIFORM) == 0
    assert ess(UNIFORM, "moment") == 2


@pytest.mark.parametrize("method", ["elir", "moment", "morita"])
def test_one_component_with_a_density_at_a_bound_is_worth_its_conjugate_size(method):
    assert ess(BetaMixture([1], [1], [9]), method) == 10
    assert ess(BetaMixture([1], [9], [1]), method) == 10
    assert ess(GammaMixture([1], [1], [3]), method) == 3


def test_a_mixture_with_a_density_at_a_bound_is_warned_of_with_its_size_by_moments():
    for m in (MAP.robust(0.2, UNIFORM), GammaMixture([0.3, 0.7], [1, 50], [4, 10])):
        with pytest.warns(RuntimeWarning, match=f"not reliable.*'moment' the size is {ess(m, 'moment'):.3g}"):
            ess(m)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ess(MAP)
        ess(CROHN, sigma=88)
        ess(BetaMixture([1, 0], [5, 1], [15, 1]))  # of weight 0
        ess(MAP.robust(0.2, UNIFORM), "moment")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ess(CROHN), "sigma: None"),
        (lambda: ess(CROHN, sigma=-1), "sigma: -1"),
        (lambda: ess(CROHN, sigma=np.nan), "sigma: nan"),
        (lambda: ess(MAP, sigma=1), "no meaning for a BetaMixture"),
        (lambda: ess(MAP, "harmonic"), "'harmonic' is not known"),  # pyright: ignore
        (lambda: ess(BetaMixture([0.5, 0.5], [0.5, 5], [1, 15])), "minus infinity"),
        (lambda: ess(GammaMixture([0.5, 0.5], [0.5, 5], [1, 15])), "minus infinity"),
        (lambda: ess(BetaMixture([0.5, 0.5], [0.5, 0.4], [9, 8]), "morita"), "no mode inside"),
    ],
)
def test_what_has_no_size_is_refused(make, said):
    with pytest.raises(MixtureError, match=said):
        make()
