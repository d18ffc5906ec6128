"""Adverse events in three levels: published posteriors, quadrature, another engine, a real trial, and refusals."""

import csv
import gzip
import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cohort.analysis import AnalysisError
from cohort.analysis.adverse_events import (
    HALF_NORMAL,
    SAMPLING,
    AdverseEvents,
    Priors,
    case,
    fit,
    inclusion,
    model,
    sensitivity,
    signals,
    upper_bounds,
)
from cohort.inference.diagnosis import flat, values
from cohort.inference.sampling import Sampling, numpyro_nuts

DATA = Path(os.environ.get("COHORT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "trials" / "cdiscpilot01"
TRIAL = {  # control/treatment of 450 each, by body system
    "B1": "19/27",
    "B2": "20/42 24/44 25/21 18/21",
    "B3": "17/64 23/62 11/41 26/48 23/59 15/45 25/50",
    "B4": "26/30 22/16 25/26 21/23 17/11",
    "B5": "57/62 64/58 45/56 72/56 49/38 64/42 51/50 45/48",
    "B6": "22/18 26/19 30/25 21/19 23/17 19/19 17/10 19/21 19/26 25/18 16/15",
    "B7": "12/21 25/21 24/23",
    "B8": "28/19 35/21 25/25 18/14 16/13 28/32",
}
PUBLISHED = {2: 0.9379, 3: 0.8767, 1: 0.2712, 37: 0.2501, 5: 0.2423, 4: 0.1170, 23: 0.0053}  # P(theta > 0), by c212
SMALL = {"GI": "10/25 12/30 8/9", "Skin": "20/18 15/16"}


def table(listed: dict[str, str], n: float = 450, **options: Any) -> AdverseEvents:
    cells = [(b, *map(int, cell.split("/"))) for b, text in listed.items() for cell in text.split()]
    system, control, treated = zip(*cells, strict=True)
    term = [f"Adv-Ev_{j + 1}" for j in range(len(cells))]
    return AdverseEvents(tuple(term), system, np.array(control), np.array(treated), n, n, **options)


@pytest.fixture(scope="module")
def small():
    data = table(SMALL, 200)
    return data, fit(data, seed=1, sampling=Sampling(warmup=600, draws=1500, chains=2))


@pytest.fixture(scope="module")
def trial():
    data = table(TRIAL)
    return data, fit(data, seed=1, sampling=replace(SAMPLING, draws=6000))  # MCSE .004 where the tolerance is .02


@pytest.mark.slow
def test_independent_posterior_of_45_terms_is_that_of_c212(trial):
    data, tree = trial
    found = signals(tree, data)
    p = found.terms["p"].to_numpy()
    assert {k: p[k - 1] for k in PUBLISHED} == pytest.approx(PUBLISHED, abs=0.02)
    assert (p[5:12] > 0.988).all()
    assert found.systems["pi"][0] == pytest.approx(0.614, abs=0.02)
    assert np.log(found.terms["shrunk"][1]) == pytest.approx(0.6908, abs=0.02)
    assert (found.terms["mcse"] < 0.01).all()
    assert tree.attrs["divergences"] == 0
    assert found.terms["flag"].to_numpy().nonzero()[0].tolist() == list(range(5, 12))


@pytest.mark.slow
def test_the_list_of_a_false_discovery_rate_is_the_longest_that_keeps_it(trial):
    data, tree = trial
    found = signals(tree, data)
    listed = found.terms.filter("flag_fdr")["p"].to_numpy()
    left = found.terms.filter(~found.terms["flag_fdr"])["p"].to_numpy()
    assert set(found.terms["flag_fdr"].to_numpy().nonzero()[0]) >= {1, 2, *range(5, 12)}
    assert found.expected_fdr == pytest.approx((1 - listed).mean())
    assert (1 - listed).mean() <= 0.1 < (1 - np.append(listed, left.max())).mean()


@pytest.mark.slow
def test_half_normal_spreads_find_the_same_body_system():
    found = sensitivity(table(TRIAL), seed=2)
    assert found["flag_inverse_gamma"].to_numpy().nonzero()[0].tolist() == list(range(5, 12))
    assert found["flag_half_normal"].to_numpy()[5:12].all()
    assert (
        found["p_half_normal"][1] > found["p_inverse_gamma"][1]
    )  # a slab may be narrower: two raised terms pull harder
    assert found["changed"].to_numpy()[[1, 2]].all()


@pytest.mark.parametrize(("x", "y", "pi"), [(10, 24, 0.5), pytest.param(15, 12, 0.7, marks=pytest.mark.slow)])
def test_double_programmed_posterior_of_one_term_is_that_of_quadrature(x, y, pi):
    from numpyro.handlers import condition

    data = AdverseEvents(("rash",), ("Skin",), np.array([x]), np.array([y]), 100, 100)
    variance = {"tau_gamma": 0.5, "tau_theta": 0.3, "sigma_gamma": 0.6, "sigma_theta": 0.4}
    known: dict[str, Any] = {
        f"{k}|variance": np.full(() if k.startswith("tau") else (1,), v) for k, v in variance.items()
    }
    known |= {"mu_gamma_0": np.array(-2.0), "mu_theta_0": np.array(0.3), "pi": np.array([pi])}
    design = data.design() | {"prior": Priors().design()}
    outcome = {"control": data.control, "treated": data.treated}
    tree = numpyro_nuts(condition(model, known), design, outcome, seed=3, sampling=Sampling(500, 8000, 1))
    gamma, theta = flat(tree, "gamma")[:, 0], flat(tree, "theta")[:, 0]

    g, t = np.meshgrid(np.linspace(-5, 1, 600), np.linspace(-5, 5, 801), indexing="ij")
    prior = stats.norm.pdf(g, -2, 1.1**0.5) * stats.norm.pdf(t, 0.3, 0.7**0.5) * stats.binom.pmf(x, 100, _risk(g))
    none = pi * prior * stats.binom.pmf(y, 100, _risk(g))
    some = (1 - pi) * prior * stats.binom.pmf(y, 100, _risk(g + t))
    total = (none + some).sum()

    odds = (1 - pi) / pi * stats.binom.pmf(y, 100, _risk(gamma + theta)) / stats.binom.pmf(y, 100, _risk(gamma))
    each = odds / (1 + odds)
    assert (each * (theta > 0)).mean() == pytest.approx(some[t > 0].sum() / total, abs=0.01)
    assert each.mean() == pytest.approx(some.sum() / total, abs=0.01)
    assert (each * theta).mean() == pytest.approx((some * t).sum() / total, abs=0.015)
    assert gamma.mean() == pytest.approx(((none + some) * g).sum() / total, abs=0.02)
    assert theta.std() == pytest.approx(_sd(t, (none + some) / total), rel=0.05)


def _risk(logit):
    return 1 / (1 + np.exp(-logit))


def _sd(x, weight):
    return np.sqrt(np.sum(weight * x**2) - np.sum(weight * x) ** 2)


@pytest.mark.slow
def test_independent_engine_has_the_same_posterior(small):
    data, tree = small
    twin = fit(data, seed=4, engine="pymc", sampling=Sampling(warmup=1000, draws=1000, target_accept=0.95))
    a, b = signals(tree, data), signals(twin, data)
    for p, q, se, other in zip(a.terms["p"], b.terms["p"], a.terms["mcse"], b.terms["mcse"], strict=True):
        assert abs(p - q) < 4 * np.hypot(se, other)
    assert a.terms["shrunk"].to_numpy() == pytest.approx(b.terms["shrunk"].to_numpy(), abs=0.08)
    assert a.systems["pi"].to_numpy() == pytest.approx(b.systems["pi"].to_numpy(), abs=0.03)


def test_double_programmed_inclusion_is_bayes_rule_on_binomial_probabilities(small):
    data, tree = small
    gamma, theta, pi = (values(tree, k)[1, 700] for k in ("gamma", "theta", "pi"))
    none, some = (stats.binom.pmf(data.treated, 200, _risk(eta)) for eta in (gamma, gamma + theta))
    pi = np.array([pi[data.at(b)] for b in data.system])
    assert inclusion(tree, data)[1, 700] == pytest.approx((1 - pi) * some / (pi * none + (1 - pi) * some), rel=1e-9)


def test_estimates_are_shrunk_toward_no_effect_and_probabilities_add_up(small):
    data, tree = small
    found = signals(tree, data).terms
    raw = data.treated * (200 - data.control) / (data.control * (200 - data.treated))
    assert (found["shrunk"].to_numpy()[:2] < raw[:2]).all()
    assert (found["p"] + found["none"] <= 1 + 1e-12).all()
    assert (found["p_above"] <= found["p"]).all()
    assert (found["low"] <= found["shrunk"]).all()
    assert (found["shrunk"] <= found["high"]).all()


def test_a_higher_ratio_is_less_probable_and_any_above_none_has_the_null(small):
    data, tree = small
    above = [signals(tree, data, above=r).terms["p_above"].to_numpy() for r in (0.5, 1.0, 2.0, 4.0)]
    assert all((a >= b).all() for a, b in itertools.pairwise(above))
    assert above[1] == pytest.approx(signals(tree, data).terms["p"].to_numpy(), abs=1e-12)


def test_the_groups_that_a_sensitivity_analysis_scales_are_there(small):
    _, tree = small
    kept = set(tree.children["log_prior"].dataset.data_vars)
    assert {"mu_gamma_0", "mu_theta_0", "tau_theta|variance", "sigma_theta|variance", "alpha_pi|above"} <= kept
    assert set(tree.children["log_likelihood"].dataset.data_vars) == {"control", "treated"}


@pytest.mark.parametrize("priors", [Priors(), HALF_NORMAL])
def test_the_parametrisation_that_data_choose_leaves_the_prior_as_it_is(priors):
    """The log density of one point, less the Jacobian of its standardised coordinates, is that of the plain model."""
    import jax
    from numpyro.handlers import seed, substitute, trace

    data = table(SMALL, 200)
    design = data.design() | {"prior": priors.design()}
    outcome = {"control": data.control, "treated": data.treated}
    drawn = trace(seed(model, jax.random.key(2))).get_trace(design, outcome)
    at = {k: np.asarray(v["value"]) for k, v in drawn.items() if v["type"] in ("sample", "deterministic")}
    place, found, plain = design["member"].argmax(axis=0), 0.0, 0.0
    for name in ("gamma", "theta", "mu_gamma", "mu_theta"):
        z = drawn[f"{name}|z"]
        part = name.removeprefix("mu_")
        if name == part:
            mean, sd = at[f"mu_{part}"][place], at[f"sigma_{part}"][place]
        else:
            mean, sd = at[f"mu_{part}_0"], at[f"tau_{part}"]
        plain += stats.norm.logpdf(at[name], mean, sd).sum()

        def moved(value, name=name):
            fixed: dict[str, Any] = {k: v for k, v in at.items() if drawn[k]["type"] == "sample"} | {f"{name}|z": value}
            return trace(substitute(seed(model, jax.random.key(2)), fixed)).get_trace(design, outcome)[name]["value"]

        jacobian = np.linalg.slogdet(jax.jacobian(moved)(z["value"]))[1]
        found += float(np.sum(z["fn"].log_prob(z["value"]))) - jacobian
    assert found == pytest.approx(plain, rel=1e-9)


def test_no_outcome_draws_counts_within_their_sizes():
    import jax
    from numpyro.handlers import seed, trace

    one = case()
    drawn = trace(seed(one.model, jax.random.key(1))).get_trace(one.design, None)
    assert set(one.observed) | set(one.parameters) <= set(drawn)
    for name in one.observed:
        assert drawn[name]["value"].shape == (6,)
        assert ((drawn[name]["value"] >= 0) & (drawn[name]["value"] <= 60)).all()


@pytest.mark.slow
def test_rates_of_rare_events_over_equal_exposure_tell_what_risks_tell():
    listed = {"GI": "10/25 12/30 8/9", "Skin": "20/18 15/16"}
    short = Sampling(warmup=600, draws=1500, chains=2)
    of_risk, of_rate = (table(listed, 1000, kind=kind) for kind in ("patients", "exposure"))
    a, b = (signals(fit(d, seed=5, sampling=short), d).terms for d in (of_risk, of_rate))
    for p, q, se, other in zip(a["p"], b["p"], a["mcse"], b["mcse"], strict=True):
        assert abs(p - q) < 4 * np.hypot(se, other) + 0.01


@pytest.mark.slow
def test_twice_the_exposure_for_twice_the_events_is_no_signal():
    data = table({"GI": "10/25 12/30 8/20", "Skin": "20/45 15/32"}, 100.0, kind="exposure")
    data = replace(data, treated_size=230.0)
    short = Sampling(warmup=600, draws=1500, chains=2)
    assert (signals(fit(data, seed=6, sampling=short), data).terms["p"] < 0.5).all()


def test_a_table_without_events_has_upper_bounds_and_no_conclusion():
    data = table({"GI": "0/0 0/0", "Skin": "0/0"}, 60)
    with pytest.raises(AnalysisError, match="no conclusion"):
        fit(data, seed=1)
    found = upper_bounds(data)
    assert found.height == 6
    assert found["exact"].to_numpy() == pytest.approx(1 - 0.05 ** (1 / 60))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"control": np.array([1, 2, 61])}, "c, control: 61 events of 60 patients"),
        ({"treated": np.array([1, -2, 6])}, "b, treated: -2 events"),
        ({"treated": np.array([1, 2.5, 6])}, "b, treated: 2.5 events"),
        ({"treated": np.array([1, np.nan, 6])}, "b, treated: nan events"),
        ({"treated_size": 0}, "a, treated: patients 0"),
        ({"treated_size": 50.5}, "and a whole one"),
        ({"control_size": np.inf}, "patients inf"),
        ({"control": np.array([1, 2])}, "one count per term"),
        ({"term": ("a", "b", "a"), "system": ("GI", "GI", "GI")}, "GI: 'a' stands twice"),
        ({"systems": ("GI", "Skn")}, "c: body system 'Skin' is not in the dictionary; did you mean 'Skn'?"),
        ({"system": ("GI", "GI")}, "one body system for each term"),
        ({"kind": "people"}, "patients or exposure"),
    ],
)
def test_counts_that_cannot_be_are_refused(changed, said):
    right = {"term": ("a", "b", "c"), "system": ("GI", "GI", "Skin"), "control": np.array([1, 2, 3])}
    right |= {"treated": np.array([1, 2, 6]), "control_size": 60, "treated_size": 60}
    AdverseEvents(**right)
    with pytest.raises(AnalysisError) as e:
        AdverseEvents(**(right | changed))
    assert said in str(e.value)


def test_every_reason_is_in_one_message():
    with pytest.raises(AnalysisError) as e:
        AdverseEvents(("a", "a"), ("GI", "GI"), np.array([-1, 9]), np.array([1, 2]), 5, 0)
    assert len(str(e.value).splitlines()) == 5


def test_an_unseen_body_system_is_refused_by_name():
    with pytest.raises(AnalysisError, match="did you mean 'Skin'"):
        table(SMALL).at("Skinn")


@pytest.mark.parametrize(
    "wrong", [{"mean_variance": np.inf}, {"variance_shape": 0.0}, {"sd_scale": -1.0}, {"spread": "flat"}]
)
def test_improper_priors_are_refused(wrong):
    with pytest.raises(AnalysisError, match=next(iter(wrong))):
        Priors(**wrong)


@pytest.mark.parametrize("wrong", [{"above": 0.0}, {"threshold": 95}, {"fdr": 0.0}, {"level": np.nan}])
def test_levels_out_of_range_are_refused(small, wrong):
    with pytest.raises(AnalysisError, match=next(iter(wrong))):
        signals(small[1], small[0], **wrong)


def _patients(arm):
    """Patients with each treatment-emergent term of an arm, and how many were treated."""
    with gzip.open(DATA / "adam_adsl.csv.gz", "rt") as f:
        n = sum(r["TRT01A"] == arm and r["SAFFL"] == "Y" for r in csv.DictReader(f))
    with gzip.open(DATA / "adam_adae.csv.gz", "rt") as f:
        seen = {
            (r["AEBODSYS"], r["AEDECOD"], r["USUBJID"])
            for r in csv.DictReader(f)
            if r["TRTA"] == arm and r["TRTEMFL"] == "Y"
        }
    return [key[:2] for key in seen], n


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "adam_adae.csv.gz").exists(), reason="shared data absent: set COHORT_DATA")
def test_xanomeline_patches_raise_reactions_where_they_stick():
    """The trial's own dermatologic events, 61 of 84 on the high dose and 29 of 86 on placebo, are seen term by term."""
    (placebo, n), (high, m) = _patients("Placebo"), _patients("Xanomeline High Dose")
    assert (n, m) == (86, 84)
    cells = sorted(set(placebo) | set(high))
    counts = [np.array([arm.count(cell) for cell in cells]) for arm in (placebo, high)]
    often = counts[0] + counts[1] >= 4
    system, term = zip(*[c for c, keep in zip(cells, often, strict=True) if keep], strict=True)
    data = AdverseEvents(term, system, counts[0][often], counts[1][often], n, m)
    found = signals(fit(data, seed=7), data).terms
    skin = {"APPLICATION SITE PRURITUS", "APPLICATION SITE ERYTHEMA", "PRURITUS"}
    assert skin <= set(found.filter("flag")["term"])
    assert {"ERYTHEMA", "HYPERHIDROSIS"} <= set(found.filter("flag_fdr")["term"])
