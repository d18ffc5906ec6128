"""A continuous endpoint: NUTS against closed forms, what a prognostic score saves, and history that is overruled."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cohort.analysis import AnalysisError
from cohort.analysis.continuous import (
    Belief,
    Continuous,
    MixturePrior,
    Priors,
    Regression,
    case,
    design_of,
    exact,
    fit,
    history,
    procova,
    procova_case,
    procova_exact,
    prognosis,
)
from cohort.analysis.subjects import Subjects
from cohort.inference.sampling import Sampling

QUICK = Sampling(warmup=500, draws=1500)
PRIORS = Priors(scale=2.0, centre=10.0)


def scored(n=80, effect=1.0, seed=1, slope=0.9, shift=3.0, sd=1.5):
    rng = np.random.default_rng(seed)
    arm = np.where(np.arange(n) % 2, "drug", "placebo")
    score = rng.normal(10, 2, n)
    y = shift + slope * score + effect * (arm == "drug") + rng.normal(0, sd, n)
    return Continuous(y, Subjects(arm, ("placebo", "drug")), score)


def score_of(data):
    assert data.score is not None
    return data.score


def past(n=200, seed=7):
    rng = np.random.default_rng(seed)
    score = rng.normal(10, 2, n)
    return 3 + 0.9 * score + rng.normal(0, 1.5, n), score


def mixture(worth=60.0):
    return MixturePrior(history(*past(), worth=worth), history(*past(), worth=1), effect_sd=10.0)


def bare(y, arm):
    return Continuous(np.asarray(y), Subjects(np.asarray(arm), ("placebo", "drug")))


def near(tree, name, exact, column=0):
    from arviz_stats import mcse

    draws = tree.children["posterior"].dataset[name].values.reshape(4, 500, -1)[..., column]
    return abs(draws.mean() - exact) < 4 * float(mcse(draws))


@pytest.fixture(scope="module")
def covariance():
    data = scored()
    return data, fit(data, PRIORS, seed=1, sampling=QUICK)


def test_double_programmed_nuts_has_the_posterior_of_the_closed_form(covariance):
    data, tree = covariance
    found = exact(data, PRIORS)
    mean, sd = found.moments()
    assert near(tree, "intercept", mean[0])
    assert near(tree, "effect", mean[1])
    assert near(tree, "coefficient", mean[2])
    assert near(tree, "sigma", found.weight @ found.sigma)
    effect = tree.children["posterior"].dataset["effect"].values
    assert effect.std() == pytest.approx(sd[1], rel=0.08)


def test_double_programmed_known_sigma_is_the_normal_conjugate_update():
    from cohort.mixture import NormalMixture

    y = np.array([1.0, 2.0, 4.0, 3.5])
    regression = Regression(np.ones((4, 1)), y, np.array([0.5]), np.array([[2.0]]))
    log_marginal, mean, cov = regression.given(np.array([1.5]))
    prior = NormalMixture([1.0], [0.5], [2.0])
    updated = prior.updated(y.mean(), 0.75)
    assert mean[0, 0] == pytest.approx(updated.mean, rel=1e-12)
    assert cov[0, 0, 0] ** 0.5 == pytest.approx(updated.sd, rel=1e-12)
    cov_y: Any = 2.25 * np.eye(4) + 4 * np.ones((4, 4))
    joint = stats.multivariate_normal.logpdf(y, np.full(4, 0.5), cov_y)
    assert log_marginal[0] == pytest.approx(joint, rel=1e-12)


def test_independent_vague_priors_give_the_t_distribution_of_least_squares():
    data = scored(n=40)
    x = np.column_stack([np.ones(40), data.subjects.arm == "drug", score_of(data)])
    found, squares = np.linalg.lstsq(x, data.y)[:2]
    error = math.sqrt(squares[0] / 36 * np.linalg.inv(x.T @ x)[1, 1])
    vague = exact(
        data, Priors(scale=2.0, centre=10.0, intercept_sd=1e3, effect_sd=1e3, coefficient_sd=1e3, sigma_scale=50)
    )
    p = float(stats.t.sf(0.5, 36, found[1], error))  # of a prior flat in sigma, not in its log: n - p - 1 degrees
    assert vague.probability(1, 0.5) == pytest.approx(p, abs=1e-4)
    assert vague.moments()[0][1] == pytest.approx(found[1], rel=1e-4)


def test_shifting_the_score_changes_nothing():
    data = scored()
    moved = Continuous(data.y, Subjects(data.subjects.arm, ("placebo", "drug")), score_of(data) + 100)
    for a, b in zip(exact(data, PRIORS).moments(), exact(moved, PRIORS).moments(), strict=True):
        assert a == pytest.approx(b, rel=1e-9)


@pytest.mark.slow
def test_unequal_variances_have_a_sigma_each():
    rng = np.random.default_rng(2)
    arm = np.repeat(["placebo", "drug"], 60)
    y = np.where(arm == "drug", rng.normal(1, 3, 120), rng.normal(0, 0.5, 120))
    data = bare(y, arm)
    tree = fit(data, Priors(scale=2), unequal=True, seed=3, sampling=QUICK)
    sigma = tree.children["posterior"].dataset["sigma"]
    assert sigma["spread"].values.tolist() == ["placebo", "drug"]
    for k, name in enumerate(("placebo", "drug")):
        part = y[arm == name]
        assert float(sigma[..., k].mean()) == pytest.approx(part.std(ddof=1), rel=0.03)
    welch = math.sqrt(sum(y[arm == a].var(ddof=1) / 60 for a in ("placebo", "drug")))
    assert float(tree.children["posterior"].dataset["effect"].std()) == pytest.approx(welch, rel=0.1)


def test_the_variance_falls_by_one_less_the_squared_correlation():
    found = prognosis(scored(n=4000, seed=5))
    rho2 = 0.9**2 * 4 / (0.9**2 * 4 + 1.5**2)  # of slope .9, SD 2 of the score, 1.5 of the rest
    assert found.correlation**2 == pytest.approx(rho2, abs=0.03)
    assert found.low < math.sqrt(rho2) < found.high
    assert found.observed_factor == pytest.approx(found.variance_factor, abs=0.03)
    assert found.saving == pytest.approx(1 - found.variance_factor)
    assert found.needed(1000) == math.ceil(1000 * found.variance_factor)


def test_independent_correlation_and_its_interval_are_scipy_s():
    data = scored()
    control = data.subjects.arm == "placebo"
    score = score_of(data)
    reference: Any = stats.pearsonr(score[control], data.y[control])
    found = prognosis(data)
    assert found.correlation == pytest.approx(reference.statistic, rel=1e-12)
    assert (found.low, found.high) == pytest.approx(reference.confidence_interval(0.95), rel=1e-9)


@pytest.mark.slow
def test_adjustment_for_a_score_keeps_the_type_one_error_and_raises_power():
    """Of 2000 trials each: with score and without, P(effect > 0) > 0.975."""
    rates = {}
    for effect in (0.0, 0.8):
        hits = np.zeros(2)
        for k in range(2000):
            data = scored(n=80, effect=effect, seed=1000 + k)
            hits += [exact(d, PRIORS).probability(1) > 0.975 for d in (data, bare(data.y, data.subjects.arm))]
        rates[effect] = hits / 2000
    limit = 3 * math.sqrt(0.025 * 0.975 / 2000)  # three Monte Carlo standard errors
    assert np.abs(rates[0.0] - 0.025).max() < limit
    assert rates[0.8][0] > rates[0.8][1] + 0.15


def test_double_programmed_evidence_of_bayesian_procova_by_brute_quadrature():
    """Over b0, b1 and log sigma of a component, effect by conjugacy, against the closed form."""
    data, prior = scored(n=12, seed=4), mixture()
    found = procova_exact(data, prior)
    score = score_of(data)
    treated = (data.subjects.arm == "drug").astype(float)
    evidence = []
    for belief in (prior.weak, prior.info):
        mean, factor = belief.joint()
        z = np.linspace(-6, 6, 61)
        grid = np.stack(np.meshgrid(z, z, z, indexing="ij"), -1).reshape(-1, 3)
        theta, weight = mean + grid @ factor.T, np.exp(-(grid**2).sum(axis=1) / 2)
        rest = data.y - theta[:, :1] - theta[:, 1:2] * (score - belief.centre)
        variance = np.exp(2 * theta[:, 2])
        sums, squares = rest @ treated, (rest**2).sum(axis=1)
        ratio = variance + 100 * treated.sum()
        log = -6 * np.log(2 * np.pi * variance) - np.log(ratio / variance) / 2
        log -= (squares / variance - 100 * sums**2 / (variance * ratio)) / 2
        evidence.append(np.log(np.sum(weight * np.exp(log)) / weight.sum()))
    assert [c.log_evidence for c in found.components] == pytest.approx(evidence, abs=2e-3)
    informative = 1 / (1 + math.exp(evidence[0] - evidence[1]))
    assert found.informative == pytest.approx(informative, abs=1e-3)
    assert found.omega == pytest.approx((1 + informative) / 3, abs=1e-3)


def test_history_that_agrees_is_kept_and_one_that_does_not_is_overruled():
    agreeing = procova_exact(scored(seed=11), mixture())
    against = procova_exact(scored(seed=11, shift=9.0), mixture())
    assert agreeing.informative > 0.8
    assert against.informative < 0.05
    assert agreeing.omega > 0.5 > against.omega
    effect, sd = (v[2] for v in against.moments())
    assert abs(effect - 1.0) < 3 * sd


def test_history_in_agreement_narrows_the_effect():
    data = scored(seed=11)
    alone = exact(data, Priors(scale=2.0, centre=10.0)).moments()[1][1]
    assert procova_exact(data, mixture()).moments()[1][2] < alone


def test_a_history_is_worth_what_it_may_be():
    full, thin = history(*past(n=5000)), history(*past(n=5000), worth=50)
    assert thin.cov == pytest.approx(full.cov * 100)
    assert thin.log_sigma_sd == pytest.approx(10 * full.log_sigma_sd)
    assert full.mean[1] == pytest.approx(0.9, abs=0.03)
    assert math.exp(full.log_sigma) == pytest.approx(1.5, rel=0.03)


@pytest.fixture(scope="module")
def procova_trial():
    data = scored(n=40, seed=11)
    return data, procova(data, mixture(), seed=4, sampling=QUICK)


@pytest.mark.slow
def test_double_programmed_bayesian_procova_by_nuts_and_by_quadrature(procova_trial):
    data, tree = procova_trial
    found = procova_exact(data, mixture())
    mean, _ = found.moments()
    assert near(tree, "omega", found.omega)
    assert near(tree, "informative", found.informative)
    assert near(tree, "nuisance", mean[0], 0)
    assert near(tree, "nuisance", mean[1], 1)
    assert near(tree, "effect", mean[2])


@pytest.mark.slow
def test_independent_pymc_agrees_within_monte_carlo_error(covariance, procova_trial):
    data, _ = covariance
    found = exact(data, PRIORS)
    tree = fit(data, PRIORS, seed=5, sampling=QUICK, engine="pymc")
    assert near(tree, "effect", found.moments()[0][1])
    assert near(tree, "sigma", found.weight @ found.sigma)
    data, _ = procova_trial
    tree = procova(data, mixture(), seed=5, sampling=QUICK, engine="pymc")
    mixed = procova_exact(data, mixture())
    assert near(tree, "effect", mixed.moments()[0][2])
    assert near(tree, "informative", mixed.informative)


@pytest.mark.parametrize(
    ("y", "score", "said"),
    [
        ([1, 2, 3, math.nan], None, "y: 1 missing"),
        ([1, 1, 1, 1], None, "does not vary"),
        ([1, 2, 3, 4], [1, 2, math.nan, 3], "score: 1 missing"),
        ([1, 2, 3, 4], [5, 5, 5, 5], "score: every subject has the same"),
        ([1, 2, 3, 4], [5, 5, 5], "score: shape"),
    ],
)
def test_outcomes_and_scores_that_do_not_serve_are_refused(y, score, said):
    arm = np.array(["placebo", "placebo", "drug", "drug"])
    with pytest.raises(AnalysisError, match=said):
        Continuous(np.array(y, float), Subjects(arm, ("placebo", "drug")), None if score is None else np.array(score))


def test_an_arm_of_one_is_refused():
    with pytest.raises(AnalysisError, match="'drug' has one subject"):
        bare([1.0, 2, 3], ["placebo", "placebo", "drug"])


def test_a_prior_in_another_unit_is_refused():
    with pytest.raises(AnalysisError, match=r"priors\.scale: 1, but the outcome's SD is"):
        exact(bare(np.arange(8) * 30.0, ["placebo", "drug"] * 4))
    with pytest.raises(AnalysisError, match=r"priors\.sigma_scale: inf"):
        Priors(sigma_scale=math.inf)


def test_histories_that_say_nothing_are_refused():
    y, score = past(20)
    with pytest.raises(AnalysisError, match=r"history\.score: does not vary"):
        history(y, np.ones(20))
    with pytest.raises(AnalysisError, match=r"history\.worth: 21"):
        history(y, score, worth=21)
    with pytest.raises(AnalysisError, match="six or more"):
        history(y[:5], score[:5])
    with pytest.raises(AnalysisError, match="fits every outcome exactly"):
        history(2 * score, score)
    with pytest.raises(AnalysisError, match="positive definite"):
        Belief(np.zeros(2), np.ones((2, 2)), 0.0, 1.0, 0.0)


def test_no_prognosis_without_a_score_and_no_other_covariate_in_bayesian_procova():
    with pytest.raises(AnalysisError, match="score: missing"):
        prognosis(bare([1.0, 2, 3, 4], ["placebo", "drug"] * 2))
    data = scored()
    other = Subjects(data.subjects.arm, ("placebo", "drug"), {"age": np.arange(80)})
    with pytest.raises(AnalysisError, match="adjusts for the score alone"):
        procova_exact(Continuous(data.y, other, data.score), mixture())


@pytest.mark.parametrize("made", [case(), procova_case()], ids=lambda c: c.name)
def test_the_cases_draw_their_data_and_have_their_parameters(made):
    from numpyro.handlers import seed, trace

    sites = trace(seed(made.model, 0)).get_trace(made.design, None)
    assert set(made.observed) | set(made.parameters) <= set(sites)
    assert np.isfinite(sites["y"]["value"]).all()


def test_the_design_tells_whose_sigma_is_whose():
    data = bare([1.0, 2, 3, 5], ["placebo", "drug"] * 2)
    assert design_of(data, Priors(), unequal=True)["spread"].tolist() == [0, 1, 0, 1]
    assert design_of(data, Priors())["spread"].tolist() == [0, 0, 0, 0]
