"""Counts: conjugate arms against published numbers, regression against quadrature, spread and zeros that are seen."""

import math

import numpy as np
import pytest
from scipy import stats

from cohort.analysis import AnalysisError
from cohort.analysis.binary import probability
from cohort.analysis.counts import Counts, Priors, case, checks, fit, rates, two_arms
from cohort.analysis.subjects import Subjects
from cohort.inference.sampling import Sampling
from cohort.mixture import GammaMixture

QUICK = Sampling(warmup=500, draws=1500)
PRIORS = Priors(intercept_sd=1.5, effect_sd=1.0)


def trial(n=120, dispersion=0.9, zeros=0.0, seed=2, covariates=None):
    rng = np.random.default_rng(seed)
    arm = np.where(np.arange(n) % 2, "drug", "placebo")
    exposure = rng.uniform(0.5, 2, n)
    mean = exposure * np.exp(1.0 - 0.5 * (arm == "drug"))
    rate = mean * rng.gamma(dispersion**-2, dispersion**2, n) if dispersion else mean
    y = rng.poisson(rate) * (rng.uniform(size=n) >= zeros)
    return Counts(y, exposure, Subjects(arm, ("placebo", "drug"), covariates or {}))


def near(tree, name, exact):
    from arviz_stats import mcse

    draws = tree.children["posterior"].dataset[name].values.reshape(4, -1)
    return abs(draws.mean() - exact) < 4 * float(mcse(draws))


@pytest.fixture(scope="module")
def poisson():
    data = trial()
    return data, fit(data, PRIORS, family="poisson", seed=1, sampling=QUICK)


@pytest.fixture(scope="module")
def negative_binomial():
    data = trial()
    return data, fit(data, PRIORS, seed=1, sampling=QUICK)


def test_independent_gamma_mixture_has_the_posterior_of_rbest():
    prior = GammaMixture([0.6, 0.4], [20, 4], [10, 1])
    control, treated = two_arms((30, 18), (12, 12), prior, GammaMixture([1.0], [0.5], [0.001]))
    assert control.mean == pytest.approx(2.35982177, rel=1e-8)
    assert control.sd == pytest.approx(0.38786831, rel=1e-7)
    assert 1 - probability(control, treated, 1.0, "ratio") == pytest.approx(0.94286546, abs=1e-7)
    assert 1 - probability(control, treated, 0.0) == pytest.approx(0.94286546, abs=1e-7)


def test_double_programmed_poisson_regression_has_the_posterior_of_quadrature(poisson):
    data, tree = poisson
    a, b = np.meshgrid(np.linspace(0, 2, 800), np.linspace(-1.5, 0.7, 800), indexing="ij")
    treated = data.subjects.arm == "drug"
    log = -((a / 1.5) ** 2 + b**2) / 2 + a * data.y.sum() + b * data.y[treated].sum()
    log -= np.exp(a) * (data.exposure[~treated].sum() + np.exp(b) * data.exposure[treated].sum())
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    assert near(tree, "intercept", np.sum(weight * a))
    assert near(tree, "effect", np.sum(weight * b))
    sd = math.sqrt(np.sum(weight * b**2) - np.sum(weight * b) ** 2)
    assert tree.children["posterior"].dataset["effect"].values.std() == pytest.approx(sd, rel=0.08)


def test_double_programmed_negative_binomial_has_the_posterior_of_quadrature(negative_binomial):
    data, tree = negative_binomial
    treated = (data.subjects.arm == "drug").astype(float)
    axes = np.linspace(0.3, 1.9, 60), np.linspace(-1.5, 0.7, 60), np.linspace(0.4, 1.6, 50)
    a, b, s = (v.ravel() for v in np.meshgrid(*axes, indexing="ij"))
    log = -((a / 1.5) ** 2 + b**2 + s**2) / 2
    for y, t, x in zip(data.y, data.exposure, treated, strict=True):
        mean, phi = t * np.exp(a + b * x), s**-2
        log += stats.nbinom.logpmf(y, phi, phi / (phi + mean))
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    for name, v in (("intercept", a), ("effect", b), ("dispersion", s)):
        assert near(tree, name, weight @ v)


def test_overdispersed_counts_make_a_poisson_model_too_sure(poisson, negative_binomial):
    sd = [t.children["posterior"].dataset["effect"].values.std() for _, t in (poisson, negative_binomial)]
    assert sd[1] > 1.3 * sd[0]


def test_the_check_sees_overdispersion_of_the_poisson_and_none_of_the_negative_binomial(poisson, negative_binomial):
    spread, zeros = checks(poisson[1], poisson[0], seed=1)
    assert spread.p < 0.01
    assert zeros.p < 0.01
    assert spread.observed > 2
    assert spread.mcse > 0
    spread, zeros = checks(negative_binomial[1], negative_binomial[0], seed=1)
    assert 0.05 < spread.p < 0.95
    assert 0.05 < zeros.p < 0.95


def test_zeros_beyond_the_model_are_told(negative_binomial):
    _, tree = negative_binomial
    _, zeros = checks(tree, trial(zeros=0.5), seed=1)
    assert zeros.p < 0.01


def test_the_rate_ratio_is_the_same_in_every_population(negative_binomial):
    data, tree = negative_binomial
    found = rates(tree, data, "drug", bootstrap_seed=1)
    effect = tree.children["posterior"].dataset["effect"].values[..., 0]
    assert found["ratio"].values == pytest.approx(np.exp(effect), rel=1e-12)
    assert (found["difference"] == found["treated"] - found["control"]).all()


@pytest.mark.slow
def test_the_unit_of_exposure_moves_the_intercept_alone():
    data = trial(dispersion=0.0)
    months = Counts(data.y, data.exposure * 12, data.subjects)
    a = fit(data, PRIORS, family="poisson", seed=1, sampling=QUICK).children["posterior"].dataset
    shifted = Priors(intercept=-math.log(12), intercept_sd=1.5, effect_sd=1.0)
    b = fit(months, shifted, family="poisson", seed=2, sampling=QUICK).children["posterior"].dataset
    assert float(a["effect"].mean()) == pytest.approx(float(b["effect"].mean()), abs=0.02)
    assert float(a["intercept"].mean() - b["intercept"].mean()) == pytest.approx(math.log(12), abs=0.02)


@pytest.mark.slow
def test_independent_pymc_agrees_within_monte_carlo_error(negative_binomial):
    from arviz_stats import mcse

    data, tree = negative_binomial
    twin = fit(data, PRIORS, seed=1, sampling=QUICK, engine="pymc")
    for name in ("intercept", "effect", "dispersion"):
        a, b = (t.children["posterior"].dataset[name].values.reshape(4, -1) for t in (tree, twin))
        assert abs(a.mean() - b.mean()) < 4 * math.hypot(float(mcse(a)), float(mcse(b)))


@pytest.mark.slow
def test_independent_large_conjugate_arms_agree_with_the_regression():
    """With much data and wide priors, log rate ratio: difference of digammas, variance of trigammas."""
    from scipy.special import digamma, polygamma

    data = trial(n=400, dispersion=0.0)
    tree = fit(data, Priors(intercept_sd=20, effect_sd=20), family="poisson", seed=1, sampling=QUICK)
    arms = [data.subjects.arm == a for a in ("placebo", "drug")]
    events, exposure = [data.y[k].sum() for k in arms], [data.exposure[k].sum() for k in arms]
    log_rate = [digamma(y) - math.log(t) for y, t in zip(events, exposure, strict=True)]
    assert near(tree, "effect", log_rate[1] - log_rate[0])
    sd = math.sqrt(sum(float(polygamma(1, y)) for y in events))
    assert tree.children["posterior"].dataset["effect"].values.std() == pytest.approx(sd, rel=0.08)


@pytest.mark.parametrize(
    ("y", "exposure", "said"),
    [
        ([1, -1], [1, 1], "y: -1 is no count"),
        ([1, 0.5], [1, 1], "y: 0.5 is no count"),
        ([0, 0], [1, 1], "no events at all"),
        ([1, math.nan], [1, 1], "y: 1 missing"),
        ([1, 2], [1, 0], "exposure: 0; write a positive time"),
        ([1, 2], [1, math.inf], "exposure: 1 missing or not finite"),
    ],
)
def test_counts_and_exposures_that_are_none_are_refused(y, exposure, said):
    with pytest.raises(AnalysisError, match=said):
        Counts(np.array(y), np.array(exposure), Subjects(np.array(["a", "b"]), ("a", "b")))


def test_impossible_arms_families_and_priors_are_refused():
    one = GammaMixture([1.0], [1.0], [1.0])
    with pytest.raises(AnalysisError, match=r"control: -1 events.*\ntreated: exposure 0"):
        two_arms((-1, 3), (1.0, 0.0), one, one)
    with pytest.raises(AnalysisError, match="family: 'zip'"):
        fit(trial(), family="zip", seed=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AnalysisError, match=r"priors\.dispersion_scale: 0"):
        Priors(dispersion_scale=0)


@pytest.mark.parametrize("made", [case(), case("poisson")], ids=lambda c: c.name)
def test_the_cases_draw_their_data_and_have_their_parameters(made):
    from numpyro.handlers import seed, trace

    sites = trace(seed(made.model, 0)).get_trace(made.design, None)
    assert set(made.observed) | set(made.parameters) <= set(sites)
    assert (np.asarray(sites["y"]["value"]) >= 0).all()
