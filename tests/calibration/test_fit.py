"""What calibration evidence says, what the likelihood makes of it, and which posteriors may not be used."""

import math

import numpy as np
import polars as pl
import pytest
import scipy

import cohort.calibration as room
from cohort import evidence
from cohort.calibration import CalibrationError, calibrate
from cohort.calibration.fit import distribution, fitted, observed, pooled_variance, priors, probability
from cohort.posterior import parameter_draws
from cohort.study import Prior

ARMS = ("placebo_q2w", "evolocumab_140_q2w")


@pytest.fixture(scope="module")
def outcomes(root) -> pl.DataFrame:
    return evidence.read(root / "config/evidence/laplace.csv")


@pytest.fixture(scope="module")
def data(laplace, outcomes):
    return observed(laplace, outcomes)


def flat(study, change: float):
    """An endpoint that is the same in everyone of an arm: 0 on placebo, `change` on drug, in four subjects."""
    base = np.array([0.0 if arm.dose is None else change for arm in study.arms.values()])
    return lambda values: np.repeat(base[:, None], 4, axis=1) + 100 * values["drift"]


def test_one_pooled_standard_deviation_per_regimen(data):
    """SE²·n is the same in each arm of an analysis that pools the SD: one datum, with the group's degrees of freedom.

    q2w 21.2 percentage points with 310, q4w 22.3 with 311."""
    assert data.groups == ("q2w", "q4w")
    assert data.sd == pytest.approx([21.2, 22.3], abs=0.05)
    assert data.df.tolist() == [314 - 4, 315 - 4]
    assert data.members.sum(axis=1).tolist() == [4, 4]
    assert data.members.sum(axis=0).tolist() == [1] * 8


def test_means_stand_in_the_order_of_the_studys_arms(laplace, data):
    arms = list(laplace.arms)
    assert data.mean[arms.index("evolocumab_140_q2w")] == -63.34
    assert data.se[arms.index("evolocumab_420_q4w")] == 2.53


def test_only_events_with_a_prior_are_counted(data):
    n, events, on_drug = data.counts["treatment_related_ae"]
    assert list(data.counts) == ["treatment_related_ae"]
    assert sorted(zip(n, events, on_drug, strict=True)) == [(155, 11, 0.0), (474, 39, 1.0)]


def test_counts_that_pool_drug_with_placebo_are_refused(laplace, outcomes):
    pooled = outcomes.with_columns(
        arms=pl.when(pl.col("outcome") == "treatment_related_ae").then(pl.lit(list(ARMS))).otherwise("arms")
    )
    with pytest.raises(CalibrationError, match=r"treatment_related_ae, .*: pools drug with placebo; give them apart"):
        observed(laplace, pooled)


def test_a_mean_of_several_arms_is_refused_with_all_that_is_wrong(laplace, outcomes):
    pooled = outcomes.with_columns(
        arms=pl.when(pl.col("outcome") == "ldl_change").then(pl.lit(list(ARMS))).otherwise("arms")
    )
    with pytest.raises(CalibrationError) as e:
        observed(laplace, pooled)
    assert str(e.value).count("one arm with estimate and se is needed") == 8
    assert "no row gives ldl_change" in str(e.value)


@pytest.mark.parametrize(
    ("prior", "exact"),
    [
        (Prior("lognormal", (0.305, 0.3)), scipy.stats.lognorm(0.3, scale=0.305)),
        (Prior("normal", (1.0, 5.0)), scipy.stats.norm(1.0, 5.0)),
        (Prior("halfnormal", (0.5,)), scipy.stats.halfnorm(scale=0.5)),
    ],
    ids=["lognormal", "normal", "halfnormal"],
)
def test_the_standard_variable_becomes_the_prior(prior, exact):
    _, transform = distribution(prior)
    draws = np.asarray(transform(np.random.default_rng(1).standard_normal(20_000)))
    assert scipy.stats.kstest(draws, exact.cdf).pvalue > 0.001


def test_priors_are_in_the_models_units(laplace, evolocumab):
    """The study writes the drift in percent, the model as a fraction."""
    scaled = priors(laplace, evolocumab)
    assert scaled["drift"] == Prior("normal", (0.0, 0.05))
    assert scaled["sigma"] == Prior("lognormal", (15.0, 0.3))


def test_the_variance_of_a_group_is_the_mean_of_its_arms_and_the_residual(data):
    structural = np.arange(8.0)
    q2w = data.members[0] > 0
    assert pooled_variance(data, structural, 4.0)[0] == structural[q2w].mean() + 4.0


def test_the_likelihood_is_what_it_says(laplace, evolocumab, data):
    """Against the same densities written with scipy."""
    from numpyro.infer.util import log_density

    names = sorted(laplace.calibration.priors)
    z = {name: 0.1 * k - 0.3 for k, name in enumerate(names)}
    inputs = {f"{name}|standard": value for name, value in z.items()} | {"adjustment|standard": 0.7}
    used = np.arange(8) != 3
    model = probability(laplace, evolocumab, flat(laplace, -50.0), data)
    got = float(log_density(model, (used,), {}, inputs)[0])

    values = {n: float(distribution(p)[1](z[n])) for n, p in priors(laplace, evolocumab).items()}
    mean = np.array([0.0 if arm.dose is None else -50.0 for arm in laplace.arms.values()]) + 100 * values["drift"]
    want = sum(scipy.stats.norm.logpdf(v) for v in [*z.values(), 0.7])
    want += scipy.stats.norm.logpdf(data.mean, mean, data.se)[used].sum()
    variance = values["sigma"] ** 2 * math.exp(2 * 0.7 * 0.05)
    scaled = data.df * data.sd**2 / variance
    want += (scipy.stats.chi2.logpdf(scaled, data.df) + np.log(data.df / variance)).sum()
    n, events, drug = data.counts["treatment_related_ae"]
    logit = values["treatment_related_ae.background"] + drug * values["treatment_related_ae.drug"]
    want += scipy.stats.binom.logpmf(events, n, scipy.special.expit(logit)).sum()
    assert got == pytest.approx(want, rel=1e-9)


def test_a_shift_of_a_group_moves_its_arms_and_no_other(laplace, evolocumab, data):
    draws = {"drift": np.zeros(2), "sigma": np.full(2, 15.0), "offset": np.array([[0.0, 0.0], [3.0, -1.0]])}
    made = fitted(laplace, evolocumab, flat(laplace, -50.0), data, draws)
    moved = made["arm_mean"][1] - made["arm_mean"][0]
    assert moved == pytest.approx(data.members.T @ [3.0, -1.0])
    assert made["group_sd"] == pytest.approx(15.0)


def test_a_posterior_that_has_not_converged_is_not_returned(laplace, people, monkeypatch):
    """Ten draws after five of warm-up are too few for any model; here one of a flat response, for speed."""
    monkeypatch.setattr(room, "response", lambda *_: flat(laplace, -50.0))
    plan = laplace.calibration.model_copy(update={"warmup": 5, "draws": 10, "chains": 2})
    hasty = laplace.model_copy(update={"calibration": plan})
    with pytest.raises(CalibrationError, match=r"did not converge: (R-hat is|\d+ transitions).*Nothing was written"):
        calibrate(hasty, people, leave_one_out=False)


def test_a_study_that_calibrates_nothing_is_refused(laplace, people):
    with pytest.raises(CalibrationError, match=r"there is no calibration section; add it, or write parameters_from"):
        calibrate(laplace.model_copy(update={"calibration": None}), people)


@pytest.fixture(scope="module")
def posterior():
    from arviz_base import from_dict

    rng = np.random.default_rng(2)
    draws = {"smax": 2 + rng.standard_normal((4, 50)), "arm_mean": rng.standard_normal((4, 50, 8))}
    return from_dict({"posterior": draws})


def test_draw_0_is_the_posterior_mean_and_the_others_are_draws(laplace, evolocumab, posterior):
    table = parameter_draws(laplace, evolocumab, posterior)
    smax = posterior["posterior"]["smax"].values.ravel()
    assert table["draw"].to_list() == list(range(65))
    assert table["smax"][0] == pytest.approx(smax.mean(), rel=1e-12)
    assert table["smax"][1] == smax[0]
    assert set(table["smax"][1:]) <= set(smax)
    assert table["smax"][1:].n_unique() == 64
    assert "arm_mean" not in table.columns


def test_what_is_not_calibrated_keeps_the_models_value(laplace, evolocumab, posterior):
    table = parameter_draws(laplace, evolocumab, posterior)
    typical = evolocumab.typical()
    assert set(typical) <= set(table.columns)
    assert set(table["cl"]) == {typical["cl"]}
    alone = parameter_draws(laplace, evolocumab, None)
    assert {name: set(alone[name]) for name in typical} == {name: {value} for name, value in typical.items()}
