"""Safety of virtual arms: closed forms, published limits, competing dropout, and what is refused."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from cohort.analysis import AnalysisError
from cohort.analysis.virtual_safety import (
    Background,
    Criterion,
    Response,
    Safety,
    benefit_risk,
    count,
    predict,
    upper_bound,
    within,
)
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

DRAWS = 4000
RATE = Background(GammaMixture([0.7, 0.3], [20.0, 4.0], [100.0, 10.0]))
FLAT = Response(np.zeros(DRAWS))


def certain(rate, draws=3):
    """A background of one rate, to twelve digits."""
    return Background(GammaMixture([1.0], [1e24 * rate], [1e24])), Response(np.zeros(draws))


def arms(seed=1, **options):
    rng = np.random.default_rng(3)
    response = Response(rng.normal(0.02, 0.005, DRAWS))
    exposure = {"placebo": np.zeros(50), "drug": rng.lognormal(3, 0.4, (DRAWS, 50))}
    return predict(RATE, response, exposure, seed=seed, **({"duration": 1.0} | options))


def test_without_slope_or_dropout_the_rate_is_the_background_and_the_incidence_its_exponential():
    found = predict(RATE, FLAT, {"drug": np.full(7, 40.0)}, duration=0.5, seed=2)["drug"]
    rate = RATE.mixture.sample(DRAWS, 2)
    assert found.rate == pytest.approx(rate, rel=1e-12)
    assert found.incidence == pytest.approx(-np.expm1(-rate * 0.5), rel=1e-12)


def test_double_programmed_incidence_with_dropout_is_the_integral_of_hazard_times_survival():
    background, _ = certain(0.3)
    x, slope, leaving, duration = np.array([0.0, 10.0, 25.0]), 0.05, 0.8, 1.5
    found = predict(background, Response([slope]), {"a": x}, duration=duration, dropout=leaving, seed=1)["a"]
    hazards = 0.3 * np.exp(slope * x)

    def happens(t):
        return np.mean(hazards * np.exp(-(hazards + leaving) * t))

    def remains(t):
        return np.mean(np.exp(-(hazards + leaving) * t))

    incidence, time = integrate.quad(happens, 0, duration)[0], integrate.quad(remains, 0, duration)[0]
    assert found.incidence[0] == pytest.approx(incidence, rel=1e-9)
    assert found.time[0] == pytest.approx(time, rel=1e-9)
    assert found.rate[0] == pytest.approx(incidence / time, rel=1e-9)


def test_double_programmed_incidence_is_that_of_simulated_patients():
    background, _ = certain(0.4)
    x = np.random.default_rng(5).lognormal(2, 0.5, 400)
    found = predict(background, Response([0.03]), {"a": x}, duration=1.0, dropout=0.6, seed=1)["a"]
    rng = np.random.default_rng(6)
    event = rng.exponential(1 / (0.4 * np.exp(0.03 * x)), (500, 400))
    leaves = rng.exponential(1 / 0.6, (500, 400))
    seen = (event < leaves) & (event < 1)
    se = seen.mean(axis=1).std() / math.sqrt(500)
    assert abs(seen.mean() - found.incidence[0]) < 4 * se
    rate = seen.sum() / np.minimum(np.minimum(event, leaves), 1).sum()
    assert rate == pytest.approx(found.rate[0], rel=0.01)


def test_dropout_lowers_the_incidence_but_not_a_common_rate():
    background, response = certain(0.3)
    kept, left = (
        predict(background, response, {"a": np.zeros(4)}, duration=2, dropout=d, seed=1)["a"] for d in (0.0, 1.0)
    )
    assert (left.incidence < kept.incidence).all()
    assert left.rate == pytest.approx(kept.rate, rel=1e-12)


def test_a_logit_normal_background_has_its_own_risk_at_its_horizon():
    prior = NormalMixture([0.8, 0.2], [-2.0, -1.0], [0.3, 0.8])
    found = predict(Background(prior, horizon=0.5), FLAT, {"a": np.zeros(3)}, duration=0.5, seed=4)["a"]
    assert found.incidence == pytest.approx(1 / (1 + np.exp(-prior.sample(DRAWS, 4))), rel=1e-10)


def test_a_log_exposure_slope_is_a_power_of_the_exposure_ratio():
    background, _ = certain(0.2)
    found = predict(background, Response([0.7], 10.0, "log"), {"a": np.array([20.0])}, duration=1, seed=1)["a"]
    assert found.rate[0] == pytest.approx(0.2 * 2**0.7, rel=1e-9)


def test_arms_share_the_background_of_a_draw():
    found = predict(RATE, FLAT, {"a": np.zeros(3), "b": np.full(5, 9.0)}, duration=1, seed=1)
    assert found["a"].rate == pytest.approx(found["b"].rate, rel=1e-12)


def test_the_same_seed_gives_the_same_bits():
    assert (arms()["drug"].rate == arms()["drug"].rate).all()


def test_double_programmed_counts_are_those_of_a_gamma_poisson_where_events_are_rare():
    background = Background(GammaMixture([1.0], [8.0], [8000.0]))
    safety = predict(background, Response(np.zeros(40000)), {"a": np.zeros(2)}, duration=1.0, seed=7)["a"]
    found = count(safety, 500)
    exact: Any = stats.nbinom(8, 8000 / (8000 + 500))
    assert abs(found.mean - exact.mean()) < 4 * found.mcse
    assert abs(found.none - exact.pmf(0)) < 4 * found.none_mcse + 2e-4
    assert (found.low, found.high) == (exact.ppf(0.025), exact.ppf(0.975))


@pytest.mark.parametrize(("n", "bound"), [(10, 0.2589), (20, 0.1391), (100, 0.0295), (300, 0.00994)])
def test_independent_limits_of_no_event_are_the_published_ones(n, bound):
    found = upper_bound(0, n)
    assert found.exact == pytest.approx(bound, abs=5e-5)
    assert found.exact == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-12)
    assert found.rule_of_three == pytest.approx(3 / n, rel=0.002)


def test_double_programmed_limits_with_events_solve_their_own_equation():
    found = upper_bound(3, 40, level=0.975)
    assert stats.binom.cdf(3, 40, found.exact) == pytest.approx(0.025, rel=1e-9)
    assert found.rule_of_three is None
    assert stats.poisson.cdf(2, 12.5 * upper_bound(2, 12.5, "exposure").exact) == pytest.approx(0.05, rel=1e-9)
    assert upper_bound(0, 12.5, "exposure").exact == pytest.approx(upper_bound(0, 12.5, "exposure").rule_of_three)
    assert upper_bound(5, 5).exact == 1


def test_double_programmed_bayesian_limits_are_those_of_the_conjugate_posterior():
    assert upper_bound(0, 30, prior=BetaMixture([1.0], [1.0], [1.0])).bayesian == pytest.approx(1 - 0.05 ** (1 / 31))
    of_rate = upper_bound(0, 30.0, "exposure", prior=GammaMixture([1.0], [0.5], [10.0])).bayesian
    assert of_rate == pytest.approx(stats.gamma.ppf(0.95, 0.5, scale=1 / 40), rel=1e-8)


def test_double_programmed_margin_probability_of_normal_differences():
    rng = np.random.default_rng(8)
    a, b = rng.normal(0.10, 0.01, 20000), rng.normal(0.13, 0.02, 20000)
    control, treated = (Safety(1 - np.exp(-v), v, (1 - np.exp(-v)) / v, 1.0) for v in (a, b))
    found = within(treated, control, 0.05)
    exact = stats.norm.cdf(0.02 / math.hypot(0.01, 0.02))
    assert abs(found.probability - exact) < 4 * found.mcse
    assert found.verdict == "not shown"
    assert within(treated, control, 0.10).verdict == "within"
    assert within(treated, control, 0.05, threshold=found.probability).verdict == "more draws"


def test_a_wider_margin_is_met_at_least_as_often():
    found = arms(dropout={"placebo": 0.1, "drug": 0.3})
    met = [within(found["drug"], found["placebo"], m, quantity="incidence").probability for m in (0.02, 0.1, 0.3)]
    assert met == sorted(met)


def test_double_programmed_joint_benefit_and_risk_of_a_bivariate_normal():
    rng = np.random.default_rng(9)
    rho = 0.6
    draws = rng.multivariate_normal([1.0, 0.5], [[1, rho], [rho, 1]], 20000)
    zero = np.zeros(20000)
    found = benefit_risk(
        [
            Criterion("response", zero, draws[:, 0], "higher", 0.0),
            Criterion("nausea", zero, draws[:, 1], "lower", -1.0),
        ]
    )
    turned: Any = [[1, -rho], [-rho, 1]]
    both = stats.multivariate_normal([-1.0, 0.5], turned).cdf(np.array([0.0, 1.0]))
    assert abs(found.together - both) < 4 * found.mcse
    assert found.together < found.apart  # who benefits more is harmed more
    assert found.correlation[0, 1] == pytest.approx(-rho, abs=0.02)
    assert abs(found.rows[1]["met"] - stats.norm.cdf(0.5)) < 4 * found.rows[1]["met_mcse"]


def test_efficacy_and_safety_of_one_draw_stand_together():
    found, slope = arms(), np.random.default_rng(3).normal(0.02, 0.005, DRAWS)
    rows = [
        Criterion("effect", np.zeros(DRAWS), 50 * slope, "higher", 0.5),
        Criterion("event", found["placebo"].incidence, found["drug"].incidence, "lower", -0.2),
    ]
    assert benefit_risk(rows).correlation[0, 1] < -0.2


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Background(NormalMixture([1.0], [0.0], [1.0])), "horizon: None"),
        (lambda: Background(GammaMixture([1.0], [1.0], [1.0]), 1.0), "leave it out"),
        (lambda: Background(BetaMixture([1.0], [1.0], [1.0])), "beta"),  # type: ignore[arg-type]
        (lambda: Response([np.nan]), "slope"),
        (lambda: Response([0.1], 0.0, "log"), "reference"),
        (lambda: predict(RATE, FLAT, {}, duration=1, seed=1), "no arms"),
        (lambda: predict(RATE, FLAT, {"a": []}, duration=1, seed=1), "with patients"),
        (lambda: predict(RATE, FLAT, {"a": [1.0, -1.0]}, duration=1, seed=1), "negative"),
        (lambda: predict(RATE, FLAT, {"a": [1.0, np.inf]}, duration=1, seed=1), "infinite"),
        (lambda: predict(RATE, FLAT, {"a": np.ones((7, 2))}, duration=1, seed=1), "shape"),
        (lambda: predict(RATE, FLAT, {"a": [1.0]}, duration=0, seed=1), "duration"),
        (lambda: predict(RATE, FLAT, {"a": [1.0]}, duration=1, dropout=-1.0, seed=1), "hazard of 0 or more"),
        (lambda: predict(RATE, FLAT, {"a": [1.0]}, duration=1, dropout={"b": 1.0}, seed=1), "'b' is not among"),
        (lambda: predict(RATE, Response(np.ones(9)), {"a": [1e3]}, duration=1, seed=1), "check units"),
        (lambda: count(arms()["drug"], 0), "1 or more"),
        (lambda: count(arms()["drug"], 10, level=95), "between 0 and 1"),
        (lambda: upper_bound(5, 4), "5 of 4 patients"),
        (lambda: upper_bound(-1, 4), "events: -1"),
        (lambda: upper_bound(0, 0), "size: 0"),
        (lambda: upper_bound(0, 4, "people"), "kind"),  # type: ignore[arg-type]
        (lambda: upper_bound(0, 4, prior=GammaMixture([1.0], [1.0], [1.0])), "write a beta mixture"),
        (lambda: within(arms()["drug"], arms()["placebo"], -0.1), "above 0"),
        (lambda: within(arms()["drug"], arms()["placebo"], 0.1, quantity="odds"), "rate or incidence"),  # type: ignore[arg-type]
        (lambda: within(arms()["drug"], arms(duration=2.0)["placebo"], 0.1), "predict both arms"),
        (lambda: benefit_risk([Criterion("a", np.zeros(9), np.arange(9.0), "higher", 0)]), "fewer than two"),
        (lambda: benefit_risk([Criterion("a", np.zeros(9), np.ones(9), "higher", 0)] * 2), "stands twice"),
    ],
)
def test_what_no_conclusion_can_be_drawn_from_is_refused(call, said):
    with pytest.raises(AnalysisError, match=said):
        call()


def test_every_reason_is_in_one_message():
    with pytest.raises(AnalysisError) as e:
        predict(RATE, FLAT, {"a": [-1.0]}, duration=-1, dropout=np.nan, seed=1)
    assert len(str(e.value).splitlines()) == 3


def autocorrelated(shape, rho, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    for i in range(1, shape[1]):
        x[:, i] = rho * x[:, i - 1] + math.sqrt(1 - rho**2) * x[:, i]
    return x


def test_double_programmed_the_error_of_autocorrelated_chains_is_that_of_their_effective_sample_size():
    """An AR(1) chain of correlation 0.9 has (1 - 0.9) / (1 + 0.9) of its draws."""
    x = autocorrelated((4, 5000), 0.9, 1)
    treated, control = (Safety(np.exp(v), np.exp(v), np.ones_like(v), 1.0) for v in (np.log(0.3 + 0.01 * x), 0 * x - 3))
    found = within(treated, control, 0.25)
    assert found.difference_mcse == pytest.approx(0.01 / math.sqrt(20000 / 19), rel=0.15)
    one, two = (Safety(s.incidence.ravel(), s.rate.ravel(), s.time.ravel(), 1.0) for s in (treated, control))
    flat = within(one, two, 0.25)
    assert (flat.probability, flat.difference) == pytest.approx((found.probability, found.difference))
    assert found.difference_mcse > 3.5 * flat.difference_mcse
    assert found.mcse > 2 * flat.mcse
    assert count(treated, 10).mcse == pytest.approx(10 * found.difference_mcse, rel=1e-9)
    other = x + autocorrelated(x.shape, 0.9, 2)
    table = benefit_risk([Criterion(k, 0 * x, v, "higher", 0.5) for k, v in (("a", x), ("b", other))])
    assert table.rows[0]["difference_mcse"] == pytest.approx(1 / math.sqrt(20000 / 19), rel=0.15)
    assert table.correlation[0, 1] == pytest.approx(math.sqrt(0.5), abs=0.05)


def test_chains_of_slopes_give_the_same_safety_as_the_same_draws_in_a_row():
    slope, x = np.random.default_rng(3).normal(0.02, 0.005, (2, 50)), np.random.default_rng(4).uniform(0, 30, (100, 5))
    chains, row = (
        predict(RATE, Response(s), {"a": x}, duration=1.0, dropout=s**2, seed=1)["a"] for s in (slope, slope.ravel())
    )
    assert chains.incidence.shape == (2, 50)
    assert (chains.incidence.ravel() == row.incidence).all()
    assert (chains.rate.ravel() == row.rate).all()


def test_three_draws_of_a_chain_tell_no_error_and_no_verdict():
    tenth = np.full((2, 3), 0.1)
    few = Safety(tenth, tenth, tenth, 1.0)
    assert math.isnan(count(few, 10).mcse)
    assert within(few, few, 0.2).verdict == "more draws"
