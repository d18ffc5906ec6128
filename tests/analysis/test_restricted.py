"""Restricted means, milestones and medians of draws are those of the closed forms."""

import numpy as np
import pytest
from scipy import special, stats

from cohort.analysis import AnalysisError
from cohort.analysis import parametric as q
from cohort.analysis import piecewise as p
from cohort.analysis import restricted as r
from cohort.analysis.survival import survival
from cohort.inference.diagnosis import values

RNG = np.random.default_rng(2)
CHAINS, DRAWS = 2, 50


def tree(**posterior):
    from arviz_base import from_dict

    return from_dict({"posterior": posterior})


def pieces():
    s = p.from_table([[5, 6, 7], [4, 4, 9]], np.ones((2, 3)), [0.5, 1.5], arms=("a", "b"), horizon=3, unit="y")
    log_hazard = RNG.normal(-0.5, 0.4, (CHAINS, DRAWS, 3))
    log_hr = RNG.normal(-0.3, 0.2, (CHAINS, DRAWS, 1))
    return s, np.exp(log_hazard), np.exp(log_hr), tree(log_hazard=log_hazard, log_hr=log_hr)


def data(time=(1.0, 5, 2, 4), arm=("a", "a", "b", "b"), **more):
    return survival(time, np.ones(len(time)), arm, control="a", unit="y", **more)


def parametric(family):
    n = (CHAINS, DRAWS)
    name = "sigma" if family == "lognormal" else "shape"
    spread, location = np.exp(RNG.normal(0, 0.4, n)), RNG.normal(0.5, 0.3, n)
    ratio = RNG.normal(0.3, 0.2, (*n, 1))
    made = tree(**{name: spread, "location": location, "log_time_ratio": ratio})
    made.attrs["family"] = family
    scale = np.exp(location[..., None] + np.concatenate([np.zeros_like(ratio), ratio], axis=-1))
    return made, spread[..., None], scale


def test_double_programmed_piecewise_exponential_in_closed_form():
    s, hazard, hr, made = pieces()
    curves = p.curves(made, s)
    h = np.stack([hazard, hazard * hr], axis=2)
    width, start = np.array([0.5, 1.0, 1.3]), np.zeros((CHAINS, DRAWS, 2))
    area = np.zeros_like(start)
    for j in range(3):
        area += np.exp(-start) * -np.expm1(-h[..., j] * width[j]) / h[..., j]
        start += h[..., j] * width[j]
    np.testing.assert_allclose(r.restricted_mean(curves, 2.8), area, rtol=1e-12)
    np.testing.assert_allclose(r.milestone(curves, 2.8), np.exp(-start), rtol=1e-12)
    half = r.median(curves)
    cumulative = np.sum(h * np.clip(half[..., None] - [0, 0.5, 1.5], 0, [0.5, 1.0, np.inf]), axis=-1)
    reached = np.isfinite(half)
    np.testing.assert_allclose(cumulative[reached], np.log(2), rtol=1e-10)
    assert np.all(np.exp(-h @ [0.5, 1.0, 1.5])[~reached] > 0.5)
    assert reached.mean() > 0


@pytest.mark.parametrize("family", ["weibull_ph", "weibull_aft"])
def test_independent_weibull_in_closed_form(family):
    made, k, scale = parametric(family)
    curves = q.curves(made, data())
    z = (4 / scale) ** k
    area = scale / k * special.gamma(1 / k) * special.gammainc(1 / k, z)
    np.testing.assert_allclose(r.restricted_mean(curves, 4.0), area, rtol=1e-7)
    np.testing.assert_allclose(r.milestone(curves, 4.0), np.exp(-z), rtol=1e-12)
    half = scale * np.log(2) ** (1 / k)
    found = r.median(curves)
    np.testing.assert_allclose(found[half < 4], half[half < 4], rtol=1e-4)
    assert np.all(np.isinf(found[half > 4.01]))


def test_independent_log_normal_in_closed_form():
    made, sigma, scale = parametric("lognormal")
    curves = q.curves(made, data())
    z = (np.log(4.0) - np.log(scale)) / sigma
    area = scale * np.exp(sigma**2 / 2) * stats.norm.cdf(z - sigma) + 4 * stats.norm.sf(z)
    np.testing.assert_allclose(r.restricted_mean(curves, 4.0), area, rtol=1e-7)
    np.testing.assert_allclose(r.median(curves)[scale < 3.9], scale[scale < 3.9], rtol=1e-4)


@pytest.mark.parametrize("family", q.FAMILIES)
def test_survival_with_covariates_is_the_mean_over_the_subjects(family):
    made, spread, scale = parametric(family)
    coefficient = RNG.normal(0, 0.5, (CHAINS, DRAWS, 1))
    name = "sigma" if family == "lognormal" else "shape"
    posterior = {key: values(made, key) for key in (name, "location", "log_time_ratio")}
    made = tree(**posterior, coefficient=coefficient)
    made.attrs["family"] = family
    d = data(covariates={"age": [50.0, 60, 40, 75]})
    x = (np.array([50.0, 60, 40, 75]) - 56.25) / np.std([50.0, 60, 40, 75])
    found = q.curves(made, d).at(np.array([0.0, 2.0]))
    expected = 0
    for xi in x:
        effect = coefficient * xi
        shift = -effect / spread if family == "weibull_ph" else effect
        z = (
            (np.log(2) - np.log(scale) - shift) / spread
            if family == "lognormal"
            else (2 / scale / np.exp(shift)) ** spread
        )
        expected = expected + (stats.norm.sf(z) if family == "lognormal" else np.exp(-z)) / 4
    np.testing.assert_allclose(found[..., 1], expected, rtol=1e-10)
    np.testing.assert_allclose(found[..., 0], 1.0)


def test_piecewise_survival_with_covariates_is_the_mean_over_the_subjects():
    time, age = [0.4, 1.2, 0.8, 2.0, 2.5, 1.9], np.array([50.0, 60, 40, 75, 66, 31])
    s = p.statistics(data(time, tuple("ababab"), covariates={"age": age}), [1.0])
    log_hazard, log_hr = RNG.normal(0, 0.3, (CHAINS, DRAWS, 2)), RNG.normal(0, 0.3, (CHAINS, DRAWS, 1))
    coefficient = RNG.normal(0, 0.5, (CHAINS, DRAWS, 1))
    found = p.curves(tree(log_hazard=log_hazard, log_hr=log_hr, coefficient=coefficient), s).at(np.array([1.5]))
    h = np.exp(log_hazard) @ [1.0, 0.5]
    x = (age - age.mean()) / age.std()
    expected = np.mean([np.exp(-h * np.exp(log_hr[..., 0] + coefficient[..., 0] * xi)) for xi in x], axis=0)
    np.testing.assert_allclose(found[..., 1, 0], expected, rtol=1e-12)


def test_a_restricted_mean_is_below_its_limit_and_grows_with_it():
    s, _, _, made = pieces()
    curves = p.curves(made, s)
    one, two = r.restricted_mean(curves, 1.0), r.restricted_mean(curves, 2.0)
    assert np.all((one < 1) & (two < 2) & (two > one))
    better = r.difference(two, curves, "b")
    assert np.array_equal(better > 0, values(made, "log_hr")[..., 0] < 0)
    assert np.all(r.difference(two, curves, "a", "b") == -better)


@pytest.mark.parametrize("to", [0.0, -1.0, 3.1, float("nan")])
def test_nothing_is_said_beyond_the_follow_up(to):
    s, _, _, made = pieces()
    for ask in (r.restricted_mean, r.milestone):
        with pytest.raises(AnalysisError, match="not within the follow-up; write a time above 0 and up to 3 y"):
            ask(p.curves(made, s), to)


def test_unknown_arms_shares_and_levels_are_refused():
    s, _, _, made = pieces()
    curves = p.curves(made, s)
    with pytest.raises(AnalysisError, match="arm 'c' is not in the fit; write one of a, b"):
        r.difference(r.milestone(curves, 1.0), curves, "c")
    with pytest.raises(AnalysisError, match="share: 1 is not between"):
        r.median(curves, share=1.0)
    with pytest.raises(AnalysisError, match="level: 95"):
        r.estimate(np.zeros((2, 9)), level=95)
    with pytest.raises(AnalysisError, match="1 NaN"):
        r.estimate(np.where(np.eye(4) * [1, 0, 0, 0] > 0, np.nan, 1.0))


def test_estimates_are_those_of_normal_draws_with_their_monte_carlo_error():
    found = r.estimate(np.random.default_rng(1).normal(1.0, 2.0, (4, 5000)))
    assert found.mcse == pytest.approx(2 / np.sqrt(20000), rel=0.1)
    assert found.mean == pytest.approx(1, abs=4 * found.mcse)
    assert (found.low, found.high) == pytest.approx((1 - 3.92, 1 + 3.92), abs=0.12)
    assert found.above_zero == pytest.approx(stats.norm.cdf(0.5), abs=4 * found.mcse_above_zero)
    assert (found.level, found.kind) == (0.95, "equal-tailed")


def test_a_median_not_reached_has_quantiles_and_no_mean():
    draws = np.random.default_rng(1).exponential(1, (4, 1000))
    found = r.estimate(np.where(draws > 2, np.inf, draws))
    assert found.median == pytest.approx(np.log(2), abs=0.06)
    assert found.high == np.inf
    assert not np.isfinite(found.mean)
    assert np.isnan(found.mcse)


def test_a_probability_of_all_or_none_has_an_error_as_well():
    assert r.probability(np.ones((4, 100), bool)) == (1.0, 1 / 400)
