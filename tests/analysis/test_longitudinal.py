"""The MMRM against likelihood theory, restricted maximum likelihood written anew, and a published trial."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats as st
import xarray as xr
from scipy.optimize import minimize

from cohort.analysis import AnalysisError
from cohort.analysis.covariance import Covariance
from cohort.analysis.imputation import Events, analyse, before, impute
from cohort.analysis.longitudinal import (
    PARAMETERS,
    Longitudinal,
    Priors,
    _patterned,
    adjusted,
    case,
    contrast,
    control_weight,
    covariances,
    designed,
    fit,
    means,
    model,
    products,
    robust_control,
    table,
)
from cohort.analysis.subjects import Subjects
from cohort.analysis.tipping import Conclusion, curve
from cohort.inference.diagnosis import values
from cohort.inference.sampling import Sampling

ARMS, VISITS = ("placebo", "low", "high"), ("8", "16", "24")
DATA = Path(os.environ.get("COHORT_DATA", Path(__file__).resolve().parents[3] / "shared/data"))
PILOT = DATA / "trials/cdiscpilot01/adam_adqsadas.csv.gz"
SHORT = Sampling(warmup=500, draws=2000, chains=2, dense=True)


def trial(n: int = 150, missing: bool = True, seed: int = 0, **more: np.ndarray) -> Longitudinal:
    """Three arms, three visits, dropout that depends on what was seen."""
    rng = np.random.default_rng(seed)
    arm, baseline = np.arange(n) % 3, rng.normal(25, 8, n)
    sigma = 0.7 ** np.abs(np.subtract.outer(range(3), range(3))) * np.outer([4, 5, 6], [4, 5, 6])
    mean = np.outer(np.ones(n), [1, 2, 3]) - np.outer(arm, [0.5, 1, 1.5]) - 0.1 * (baseline[:, None] - 25)
    y = mean + rng.multivariate_normal(np.zeros(3), sigma, n)
    if missing:
        for visit in (1, 2):
            lost = rng.random(n) < st.norm.cdf(-1.3 + 0.06 * np.nan_to_num(y[:, visit - 1]))
            y[lost, visit:] = np.nan
        y[rng.random((n, 3)) < 0.03] = np.nan
    return Longitudinal(y, Subjects(np.array(ARMS)[arm], ARMS), VISITS, baseline, **more)


def reml(data: Longitudinal, restricted: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects and standard errors (treated arms, visits) and Sigma, by restricted maximum likelihood, subject by
    subject, from the definitions: Sigma free, arm and baseline by visit."""
    visits = len(data.visits)
    arms = [data.subjects.arm == a for a in data.subjects.arms[1:]]
    z = np.column_stack([np.ones(len(data.y)), *arms, data.baseline - data.baseline.mean()]).astype(float)
    rows = [np.flatnonzero(~np.isnan(y)) for y in data.y]
    used = [(np.kron(zi, np.eye(visits))[s], y[s], s) for zi, y, s in zip(z, data.y, rows, strict=True) if len(s)]
    at = np.tril_indices(visits)
    scale = np.nanstd(data.y)

    def gls(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        factor = np.zeros((visits, visits))
        factor[at] = theta
        factor[np.diag_indices(visits)] = np.exp(np.diag(factor))
        sigma = scale**2 * factor @ factor.T
        p = used[0][0].shape[1]
        information, score, squares, logs = np.zeros((p, p)), np.zeros(p), 0.0, 0.0
        for x, y, s in used:
            inverse = np.linalg.inv(sigma[np.ix_(s, s)])
            information += x.T @ inverse @ x
            score += x.T @ inverse @ y
            squares += y @ inverse @ y
            logs += np.linalg.slogdet(sigma[np.ix_(s, s)])[1]
        beta = np.linalg.solve(information, score)
        deviance = logs + squares - beta @ score
        return deviance + restricted * np.linalg.slogdet(information)[1], beta, information, sigma

    start = np.zeros(len(at[0]))
    found = minimize(lambda t: gls(t)[0], start, method="BFGS", options={"gtol": 1e-4})
    _, beta, information, sigma = gls(found.x)
    se = np.sqrt(np.diag(np.linalg.inv(information)))
    treated = slice(visits, visits * len(data.subjects.arms))
    shape = (len(arms), visits)
    return beta[treated].reshape(shape), se[treated].reshape(shape), sigma


@pytest.fixture(scope="module")
def data() -> Longitudinal:
    return trial()


@pytest.fixture(scope="module")
def tree(data: Longitudinal) -> xr.DataTree:
    return fit(data, seed=1, sampling=SHORT)


def draw(rng: np.random.Generator, design: dict, visits: int) -> tuple[np.ndarray, np.ndarray]:
    a = rng.normal(size=(visits, 2 * visits))
    return rng.normal(size=(design["z"].shape[1], visits)), np.linalg.cholesky(a @ a.T)


def test_double_programmed_likelihood_is_the_sum_over_subjects():
    rng = np.random.default_rng(3)
    plain = trial(seed=4)
    subjects = Subjects(plain.subjects.arm, ARMS, {"age": rng.normal(70, 8, 150), "sex": rng.choice(["f", "m"], 150)})
    data = Longitudinal(plain.y, subjects, VISITS, plain.baseline, rng.normal(size=(150, 3)))
    design = designed(data, Priors())
    c, factor = draw(rng, design, 3)
    y = (data.y - design["centre"]) / design["unit"]
    terms = _patterned()(c, factor, design).log_prob(products(design, np.where(data.seen, y, 0.0)))
    sigma, mean, total = factor @ factor.T, design["z"] @ c, 0.0
    for i, s in enumerate(data.seen):
        if s.any():
            total += st.multivariate_normal(mean[i, s], sigma[np.ix_(s, s)]).logpdf(y[i, s])  # type: ignore[arg-type]
    assert float(terms.sum()) == pytest.approx(total, rel=1e-11)


def test_double_programmed_gradient_of_the_likelihood_by_differences(data: Longitudinal):
    import jax
    import jax.numpy as jnp

    design = designed(data, Priors())
    c, factor = draw(np.random.default_rng(5), design, 3)
    y = products(design, np.where(data.seen, (data.y - design["centre"]) / design["unit"], 0.0))

    def density(c: Any, factor: Any) -> Any:
        return _patterned()(c, factor, design).log_prob(y).sum()

    def slope(step_c: Any, step_factor: Any) -> float:
        up, down = density(c + step_c, factor + step_factor), density(c - step_c, factor - step_factor)
        return float(up - down) / 2e-5

    of_c, of_factor = jax.grad(density, (0, 1))(jnp.asarray(c), jnp.asarray(factor))
    for a, b in ((2, 1), (3, 0)):
        step = np.zeros_like(c)
        step[a, b] = 1e-5
        assert float(of_c[a, b]) == pytest.approx(slope(step, 0), rel=1e-5)
    for a, b in ((0, 0), (2, 1)):
        step = np.zeros_like(factor)
        step[a, b] = 1e-5
        assert float(of_factor[a, b]) == pytest.approx(slope(0, step), rel=1e-5)


def test_drawn_statistics_have_the_moments_of_the_model(data: Longitudinal):
    import jax

    design = designed(data, Priors())
    c, factor = draw(np.random.default_rng(6), design, 3)
    drawn = np.asarray(_patterned()(c, factor, design).sample(jax.random.key(0), (2000,)))
    q, seen = len(c), design["seen"]
    pair = seen[:, :, None] * seen[:, None, :]
    want = np.concatenate(
        [
            design["zz"] @ c * seen[:, None, :],
            pair * (c.T @ design["zz"] @ c + design["member"].sum(axis=0)[:, None, None] * (factor @ factor.T)),
        ],
        axis=1,
    )
    assert drawn.shape == (2000, *want.shape)
    assert q + 3 == want.shape[1]
    error = drawn.std(axis=0) / 2000**0.5
    assert np.abs((drawn.mean(axis=0) - want) / np.where(error > 0, error, np.inf)).max() < 5


def test_double_programmed_restricted_maximum_likelihood(data: Longitudinal, tree: xr.DataTree):
    """Under vague priors the posterior of an effect is close to the REML estimate and standard error; the margin is a
    tenth of a standard error for the mean, beyond Monte Carlo error, and a tenth for the SD."""
    effect, se, sigma = reml(data)
    found = values(tree, "effect")
    mcse = table(tree, data)["mcse"].to_numpy().reshape(2, 3)
    assert np.all(np.abs(found.mean(axis=(0, 1)) - effect) < 0.1 * se + 4 * mcse)
    np.testing.assert_allclose(found.std(axis=(0, 1)), se, rtol=0.1)
    middle = np.median(covariances(tree), axis=(0, 1))
    np.testing.assert_allclose(middle, sigma, rtol=0.15)


def test_pointwise_likelihoods_sum_to_what_was_sampled(data: Longitudinal, tree: xr.DataTree):
    design = designed(data, Priors())
    y = values(tree, "y", "log_likelihood")
    assert y.shape == (SHORT.chains, SHORT.draws, int(data.seen.any(axis=1).sum()))
    mean, sigma = means(tree, data)[0, 7], covariances(tree)[0, 7]
    terms = [
        st.multivariate_normal(mean[i, s], sigma[np.ix_(s, s)]).logpdf(data.y[i, s])
        for i, s in enumerate(data.seen)
        if s.any()
    ]
    np.testing.assert_allclose(y[0, 7], terms, rtol=1e-8)
    assert design["member"].sum() == len(terms)
    assert set(tree.children["log_prior"].dataset) == {
        "control|standard",
        "effect|standard",
        "baseline|standard",
        "sd|standard",
        "factor|standard",
    }


def test_adjusted_means_and_contrasts_are_one_model(data: Longitudinal, tree: xr.DataTree):
    lsmeans = adjusted(tree, data)
    np.testing.assert_allclose(lsmeans[:, :, 2, 1] - lsmeans[:, :, 0, 1], contrast(tree, data, "high", "16"))
    everyone = means(tree, data, "low").mean(axis=2)  # covariates are centred
    np.testing.assert_allclose(everyone, lsmeans[:, :, 1])


def test_hypothetical_imputation_is_the_mmrm_and_jump_to_reference_is_nearer_to_none(
    data: Longitudinal, tree: xr.DataTree
):
    """Missing at random, imputing from the MMRM adds nothing but noise to what the MMRM says."""
    visit = np.where(data.seen.any(axis=1), 3 - np.argmax(data.seen[:, ::-1], axis=1), 3)  # after the last value
    events = Events(visit, np.where(visit < 3, "dropout", ""))
    assert before(data, events).seen.sum() == data.seen.sum()
    found = {s: analyse(impute(tree, data, events, s, seed=1), "high") for s in ("hypothetical", "jump to reference")}
    mmrm = contrast(tree, data, "high")
    gap = abs(found["hypothetical"].mean - mmrm.mean())
    assert gap < 0.1 * mmrm.std() + 4 * (found["hypothetical"].mcse + mmrm.std() / 400**0.5) / 2
    assert found["hypothetical"].sd == pytest.approx(mmrm.std(), rel=0.1)
    assert abs(found["jump to reference"].mean) < abs(found["hypothetical"].mean)
    tipped = curve(
        impute(tree, data, events, "hypothetical", seed=1), Conclusion("high", "lower", 0.9), np.linspace(-5, 30, 15)
    )
    assert tipped.tipping is None or tipped.tipping > 0


def test_double_programmed_complete_data_give_the_analysis_of_covariance_of_each_visit():
    """With the same regressors at each visit and a free covariance, generalised and ordinary least squares agree."""
    data = trial(90, missing=False, seed=8)
    tree = fit(data, seed=2, sampling=SHORT)
    x = np.column_stack([np.ones(90), *[data.subjects.arm == a for a in ARMS[1:]], data.baseline]).astype(float)
    beta, rss, *_ = np.linalg.lstsq(x, data.y, rcond=None)
    se = np.sqrt(np.outer(np.diag(np.linalg.inv(x.T @ x)), rss / 86))[1:3]
    mcse = table(tree, data)["mcse"].to_numpy().reshape(2, 3)
    found = values(tree, "effect")
    assert np.all(np.abs(found.mean(axis=(0, 1)) - beta[1:3]) < 4 * mcse + 0.02 * se)
    np.testing.assert_allclose(found.std(axis=(0, 1)), se, rtol=0.1)


def conflicting(data: Longitudinal, tree: xr.DataTree, shift: float) -> SimpleNamespace:
    """A prior of the control means `shift` away from what the trial alone says, and a vague part."""
    centre = values(tree, "control").mean(axis=(0, 1)) + shift
    cov = np.array([0.25 * (0.3 + 0.7 * np.eye(3)), 30.0 * (0.3 + 0.7 * np.eye(3))])
    return SimpleNamespace(weight=np.array([0.8, 0.2]), component_mean=np.array([centre, centre]), component_cov=cov)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, 2.0, 6.0])
def test_double_programmed_posterior_of_a_mixture_prior_of_the_control(data, tree, shift: float):
    """The trial says (mean, covariance) of the control means; a mixture of normals updates by its evidence."""
    prior = conflicting(data, tree, shift)
    alone = values(tree, "control").reshape(-1, 3)
    y, v = alone.mean(axis=0), np.cov(alone.T)
    parts = list(zip(prior.component_mean, prior.component_cov, strict=True))
    evidence = [st.multivariate_normal(m, c + v).pdf(y) for m, c in parts]
    want = prior.weight * evidence / np.sum(prior.weight * evidence)
    each = [
        np.linalg.solve(np.linalg.inv(c) + np.linalg.inv(v), np.linalg.solve(c, m) + np.linalg.solve(v, y))
        for m, c in parts
    ]
    borrowed = fit(data, control=prior, seed=3, sampling=SHORT)  # type: ignore[arg-type]
    weight, error = control_weight(borrowed)
    assert weight == pytest.approx(want, abs=0.05)
    assert np.all(error < 0.02)
    found = values(borrowed, "control").mean(axis=(0, 1))
    np.testing.assert_allclose(found, want @ np.array(each), atol=0.15 * np.sqrt(np.diag(v)).max())
    if shift == 0:
        assert values(borrowed, "effect")[:, :, 1, 2].std() < 0.95 * values(tree, "effect")[:, :, 1, 2].std()


def test_a_robust_control_prior_has_a_unit_of_information_about_the_virtual_mean(data: Longitudinal):
    mixture = pytest.importorskip("cohort.mixture")
    virtual = mixture.MvNormalMixture(np.ones(1), np.array([[1.0, 2.0, 3.0]]), np.eye(3)[None])
    robust = robust_control(virtual, data, 0.3)
    rows = data.y[(data.subjects.arm == "placebo") & data.seen.all(axis=1)]
    assert np.asarray(robust.weight) == pytest.approx([0.7, 0.3])
    np.testing.assert_allclose(robust.component_mean[1], [1, 2, 3])
    np.testing.assert_allclose(robust.component_cov[1], np.cov(rows.T))
    assert designed(data, Priors(), robust)["control"]["mean"].shape == (2, 3)
    with pytest.raises(AnalysisError, match=r"weight: 1\.2"):
        robust_control(virtual, data, 1.2)


@pytest.mark.slow
def test_independent_engines_agree(data: Longitudinal, tree: xr.DataTree):
    twin = fit(data, seed=4, sampling=Sampling(warmup=500, draws=1500, chains=2), engine="pymc")
    from arviz_stats import mcse

    for name in PARAMETERS:
        a, b = values(tree, name), values(twin, name)
        for at in np.ndindex(a.shape[2:]):
            error = float(mcse(a[:, :, *at]) ** 2 + mcse(b[:, :, *at]) ** 2) ** 0.5
            assert abs(a[:, :, *at].mean() - b[:, :, *at].mean()) < 4.5 * error
            assert b[:, :, *at].std() == pytest.approx(a[:, :, *at].std(), rel=0.15)
    np.testing.assert_allclose(values(twin, "control_weight"), 1)


@pytest.mark.slow
def test_a_twins_score_takes_its_visits_variance_and_has_its_own_slope():
    plain = trial(120, missing=True, seed=11)
    score = np.random.default_rng(12).normal(5, 4, (120, 3))
    data = Longitudinal(plain.y + 1.0 * score, plain.subjects, VISITS, plain.baseline, score)
    other = Longitudinal(data.y, plain.subjects, VISITS, plain.baseline)
    with_score, without_score = (fit(d, seed=5, sampling=SHORT) for d in (data, other))
    np.testing.assert_allclose(values(with_score, "twin").mean(axis=(0, 1)), 1, atol=0.35)
    assert values(with_score, "effect")[:, :, 1, 2].std() < 0.9 * values(without_score, "effect")[:, :, 1, 2].std()
    moved = Longitudinal(data.y, plain.subjects, VISITS, plain.baseline + 100, score + 50)
    for a, b in zip(designed(data, Priors())["z"].T, designed(moved, Priors())["z"].T, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["compound symmetry", "autoregressive", "toeplitz"])
def test_other_structures_find_the_effect_that_the_free_one_does(data, tree, structure):
    found = fit(data, Covariance(structure), seed=6, sampling=SHORT)
    gap = values(found, "effect").mean(axis=(0, 1)) - values(tree, "effect").mean(axis=(0, 1))
    assert np.all(np.abs(gap) < 0.35 * values(tree, "effect").std(axis=(0, 1)))
    assert values(found, "correlation").shape == (SHORT.chains, SHORT.draws, 3)


def test_the_case_for_calibration_draws_data_that_it_can_score():
    import jax
    from numpyro import handlers
    from numpyro.infer.util import log_density

    jax.config.update("jax_enable_x64", True)
    one = case()
    drawn = handlers.trace(handlers.seed(one.model, 0)).get_trace(one.design)
    assert set(one.parameters) | set(one.observed) <= set(drawn)
    outcome = {k: drawn[k]["value"] for k in one.observed}
    sites = {k: v["value"] for k, v in drawn.items() if k.endswith("|standard")}
    assert np.isfinite(log_density(one.model, (one.design, outcome), {}, sites)[0])
    assert one.model is model


def test_data_that_no_model_fits_are_refused_with_every_reason():
    good = trial(30, missing=False)
    y, baseline = good.y.copy(), good.baseline.copy()
    y[good.subjects.arm == "low", 2], y[:, 1], baseline[3] = np.nan, 7.0, np.nan
    with pytest.raises(AnalysisError) as found:
        Longitudinal(y, good.subjects, VISITS, baseline, np.ones((30, 3)))
    for reason in (
        "baseline: 1 missing",
        "y at 16: every value is 7.0",
        "y at 24: no value in arm 'low'",
        "twin at 8: every subject has 1.0",
    ):
        assert reason in str(found.value)
    with pytest.raises(AnalysisError, match="infinite"):
        Longitudinal(np.where(y > 5, np.inf, y), good.subjects, VISITS, good.baseline)
    with pytest.raises(AnalysisError, match="y: shape"):
        Longitudinal(good.y[:, :2], good.subjects, VISITS, good.baseline)
    with pytest.raises(AnalysisError, match=r"priors\.effect: inf is no scale"):
        Priors(effect=np.inf)
    with pytest.raises(AnalysisError, match="visit: '99' is not there"):
        good.visit("99")
    bad = SimpleNamespace(weight=[0.5, 0.6], component_mean=np.zeros((2, 3)), component_cov=np.zeros((2, 3, 3)))
    with pytest.raises(AnalysisError, match=r"sum to 1\n.*improper"):
        designed(good, Priors(), bad)  # type: ignore[arg-type]


def pilot() -> pl.DataFrame:
    if not PILOT.exists():
        pytest.skip(f"needs {PILOT.name} of the CDISC pilot study; set COHORT_DATA")
    table = pl.read_csv(PILOT, infer_schema_length=None)
    return table.filter((pl.col("PARAMCD") == "ACTOT") & (pl.col("EFFFL") == "Y"))


def test_independent_reading_of_the_pilot_study_gives_its_published_change():
    rows = pilot().filter((pl.col("AVISIT") == "Week 24") & (pl.col("ANL01FL") == "Y"))
    found = rows.group_by("TRTP").agg(pl.len(), pl.col("CHG").mean().alias("mean"), pl.col("CHG").std().alias("sd"))
    got = {r["TRTP"]: (r["len"], round(r["mean"], 2), round(r["sd"], 2)) for r in found.iter_rows(named=True)}
    assert got == {
        "Placebo": (79, 2.54, 5.80),
        "Xanomeline Low Dose": (81, 2.00, 5.55),
        "Xanomeline High Dose": (74, 1.47, 4.26),
    }


@pytest.mark.slow
def test_double_programmed_restricted_maximum_likelihood_of_the_pilot_study():
    seen = pilot().filter(pl.col("DTYPE").is_null() & (pl.col("ANL01FL") == "Y"))
    baseline = seen.filter(pl.col("AVISIT") == "Baseline").select("USUBJID", "TRTP", pl.col("AVAL").alias("base"))
    wide = seen.filter(pl.col("AVISIT").is_in(["Week 8", "Week 16", "Week 24"])).pivot(
        "AVISIT", index="USUBJID", values="CHG"
    )
    people = baseline.join(wide, on="USUBJID", how="inner").sort("USUBJID")
    arms = ("Placebo", "Xanomeline Low Dose", "Xanomeline High Dose")
    y = people.select("Week 8", "Week 16", "Week 24").to_numpy().astype(float)
    data = Longitudinal(y, Subjects(people["TRTP"].to_numpy(), arms), VISITS, people["base"].to_numpy())
    assert np.isfinite(y).sum(axis=0).tolist() == [234, 150, 155]
    tree = fit(data, seed=1, sampling=SHORT)
    effect, se, _ = reml(data)
    mcse = table(tree, data)["mcse"].to_numpy().reshape(2, 3)
    found = values(tree, "effect")
    assert np.all(np.abs(found.mean(axis=(0, 1)) - effect) < 0.1 * se + 4 * mcse)
    np.testing.assert_allclose(found.std(axis=(0, 1)), se, rtol=0.1)


def test_where_all_draws_are_on_one_side_the_error_is_one_draws_share():
    effect = np.full((2, 50, 2, 3), -5.0) + np.random.default_rng(1).normal(size=(2, 50, 2, 3)) / 10
    dims = ("chain", "draw", "arm", "visit")
    found = table(xr.DataTree.from_dict({"posterior": xr.Dataset({"effect": (dims, effect)})}), trial())
    assert found["below"].to_list() == [1.0] * 6
    assert found["below_mcse"].to_list() == [0.01] * 6
