"""Reference-based imputation against closed forms with a known covariance, and Rubin's rules against their formulae."""

import numpy as np
import pytest
import scipy.stats as st
import xarray as xr

from cohort.analysis import AnalysisError
from cohort.analysis.imputation import Effect, Events, analyse, before, impute, impute_retrieved
from cohort.analysis.longitudinal import Longitudinal
from cohort.analysis.subjects import Subjects

ARMS, VISITS = ("control", "active"), ("1", "2", "3", "4")
CONTROL = np.array([1.0, 2.0, 3.0, 4.0])
EFFECT = np.array([-1.0, -2.0, -3.0, -5.0])
SLOPE = np.array([0.1, 0.2, 0.3, 0.4])
SD = np.array([1.0, 1.5, 2.0, 2.5])
R = 0.7 ** np.abs(np.subtract.outer(range(4), range(4)))
SIGMA = R * np.outer(SD, SD)


def posterior(chains: int = 2, draws: int = 1000) -> xr.DataTree:
    """A posterior that knows every parameter."""
    known = {
        "control": CONTROL,
        "effect": EFFECT[None],
        "baseline": SLOPE,
        "sd": SD,
        "correlation": R[np.tril_indices(4, -1)],
    }
    full = {k: np.broadcast_to(v, (chains, draws, *v.shape)) for k, v in known.items()}
    dims = {k: ("chain", "draw", *(f"{k}_{i}" for i in range(v.ndim - 2))) for k, v in full.items()}
    return xr.DataTree.from_dict({"posterior": xr.Dataset({k: (dims[k], v) for k, v in full.items()})})


def complete(n: int = 60, seed: int = 0) -> Longitudinal:
    rng = np.random.default_rng(seed)
    active = np.arange(n) % 2
    baseline = rng.normal(10, 3, n)
    mean = CONTROL + active[:, None] * EFFECT + (baseline - baseline.mean())[:, None] * SLOPE
    y = mean + rng.multivariate_normal(np.zeros(4), SIGMA, n)
    return Longitudinal(y, Subjects(np.array(ARMS)[active], ARMS), VISITS, baseline)


def events(visits: dict[int, int], n: int = 60, kind: str = "adverse event") -> Events:
    at = np.full(n, 4)
    at[list(visits)] = list(visits.values())
    return Events(at, np.where(at < 4, kind, ""))


LOST = {1: 2, 3: 1, 5: 3, 7: 0, 9: 2, 2: 2}  # all active but subject 2


def expected(data: Longitudinal, who: int, event: int, strategy: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the visits after the event, from the definitions."""
    shift = (data.baseline[who] - data.baseline.mean()) * SLOPE
    reference = CONTROL + shift
    own = reference + (EFFECT if data.subjects.arm[who] == "active" else 0)
    pre, post = np.arange(event), np.arange(event, 4)
    first, then = own[pre], own[post]
    if strategy == "jump to reference" or (event == 0 and strategy != "hypothetical"):
        then = reference[post]
    elif strategy == "copy reference":
        first, then = reference[pre], reference[post]
    elif strategy == "copy increments in reference":
        then = own[event - 1] + reference[post] - reference[event - 1]
    gain = SIGMA[np.ix_(post, pre)] @ np.linalg.pinv(SIGMA[np.ix_(pre, pre)])
    residual = before(data, events(LOST)).y[who, pre] - first
    return then + gain @ residual, SIGMA[np.ix_(post, post)] - gain @ SIGMA[np.ix_(pre, post)]


@pytest.mark.parametrize(
    "strategy", ["hypothetical", "jump to reference", "copy reference", "copy increments in reference"]
)
def test_double_programmed_imputed_values_have_the_conditional_mean_and_covariance(strategy):
    data = before(complete(), events(LOST))
    done = impute(posterior(), data, events(LOST), strategy, seed=1, draws=None)
    drawn = done.y.reshape(-1, 60, 4)
    for who, event in LOST.items():
        mean, cov = expected(data, who, event, strategy)
        found = drawn[:, who, event:]
        error = np.sqrt(np.diag(cov) / len(found))
        np.testing.assert_array_less(np.abs(found.mean(axis=0) - mean), 4.5 * error)
        np.testing.assert_allclose(np.cov(found.T), np.atleast_2d(cov).squeeze(), atol=0.12 * cov.max())
    np.testing.assert_array_equal(drawn[:, data.seen], np.broadcast_to(data.y[data.seen], (2000, data.seen.sum())))


def test_the_reference_arm_is_imputed_alike_under_every_strategy():
    data = before(complete(), events(LOST))
    ways = [
        impute(posterior(draws=20), data, events(LOST), s, seed=1).y[:, :, 2]
        for s in ("hypothetical", "jump to reference", "copy reference", "copy increments in reference")
    ]
    for other in ways[1:]:
        np.testing.assert_allclose(other, ways[0])


def test_a_strategy_for_each_kind_of_event_is_the_one_its_subjects_get():
    lost, kinds = events(LOST), events(LOST).kind.astype(object)
    kinds[[3, 5]] = "lack of efficacy"
    mixed = Events(lost.visit, kinds)
    data = before(complete(), lost)
    named = {"adverse event": "jump to reference", "lack of efficacy": "copy reference"}
    done = impute(posterior(draws=20), data, mixed, named, seed=1).y  # type: ignore[arg-type]
    jump, copy = (impute(posterior(draws=20), data, lost, s, seed=1).y for s in ("jump to reference", "copy reference"))
    np.testing.assert_allclose(done[:, :, [1, 7, 9]], jump[:, :, [1, 7, 9]])
    np.testing.assert_allclose(done[:, :, [3, 5]], copy[:, :, [3, 5]])


def test_values_missing_before_an_event_or_without_one_stay_missing_at_random():
    full = complete()
    y = full.y.copy()
    y[11, 1] = y[13, 2:] = y[1, 0] = np.nan  # intermittent; lost without an event; before subject 1's event
    data = before(Longitudinal(y, full.subjects, VISITS, full.baseline), events(LOST))
    jump, random = (
        impute(posterior(draws=50), data, events(LOST), s, seed=3) for s in ("jump to reference", "hypothetical")
    )
    for who, visit in ((11, 1), (13, 2), (13, 3), (1, 0)):
        np.testing.assert_allclose(jump.y[:, :, who, visit], random.y[:, :, who, visit])
    assert not np.isnan(jump.y).any()
    assert not jump.after[[11, 13]].any()
    assert jump.after[1].tolist() == [False, False, True, True]
    gain = SIGMA[1, [0, 2, 3]] @ np.linalg.inv(SIGMA[np.ix_([0, 2, 3], [0, 2, 3])])
    mean = CONTROL + EFFECT + (full.baseline[11] - full.baseline.mean()) * SLOPE
    want = mean[1] + gain @ (full.y[11] - mean)[[0, 2, 3]]
    assert jump.y[:, :, 11, 1].mean() == pytest.approx(want, abs=5 * SD[1] / 10)


def test_double_programmed_without_missing_values_every_estimand_is_the_analysis_of_covariance():
    data, none = complete(), events({})
    x = np.column_stack([np.ones(60), data.subjects.arm == "active", data.baseline]).astype(float)
    beta, rss, *_ = np.linalg.lstsq(x, data.y[:, 3], rcond=None)
    se = np.sqrt(rss[0] / 57 * np.linalg.inv(x.T @ x)[1, 1])
    for strategy in ("hypothetical", "jump to reference", "copy reference", "copy increments in reference"):
        effect = analyse(impute(posterior(draws=8), data, none, strategy, seed=1), "active")
        pooled = effect.pooled()
        assert effect.mean == pytest.approx(beta[1], rel=1e-10)
        assert (pooled.estimate, pooled.se, pooled.df) == pytest.approx((beta[1], se, 57), rel=1e-10)
        low, high = st.t.interval(0.95, 57, beta[1], se)
        assert effect.interval() == pytest.approx((low, high), rel=1e-8)
        assert (pooled.low, pooled.high) == pytest.approx((low, high), rel=1e-10)
        assert effect.above()[0] == pytest.approx(st.t.sf(0, 57, beta[1], se), rel=1e-9)
        assert effect.mcse == 0


def test_jump_to_reference_draws_the_effect_towards_none_and_copy_increments_less_so():
    lost = events({i: 2 for i in range(1, 40, 4)})
    data = before(complete(), lost)
    found = {
        s: analyse(impute(posterior(), data, lost, s, seed=5), "active").mean
        for s in ("hypothetical", "jump to reference", "copy increments in reference")
    }
    assert found["hypothetical"] < found["copy increments in reference"] < found["jump to reference"] < 0


def test_double_programmed_jump_to_reference_effect_with_a_known_mean():
    """Before the first visit nothing is known: all imputed values come from the reference, whatever the arm."""
    lost = events({i: 0 for i in range(1, 30, 2)})
    data = before(complete(), lost)
    effect = analyse(impute(posterior(), data, lost, "jump to reference", seed=5), "active", method="mean difference")
    shift = (data.baseline - data.baseline.mean()) * SLOPE[3]
    y = np.where(data.seen[:, 3], data.y[:, 3], CONTROL[3] + shift)
    active = data.subjects.arm == "active"
    assert effect.mean == pytest.approx(y[active].mean() - y[~active].mean(), abs=4.5 * effect.mcse)


def test_double_programmed_rubins_rules():
    rng = np.random.default_rng(0)
    estimate, se = rng.normal(-2, 0.5, (2, 50)), rng.uniform(0.9, 1.1, (2, 50))
    pooled = Effect(estimate, se, 80).pooled()
    q, w, b = estimate.mean(), (se**2).mean(), estimate.var(ddof=1)
    total = w + 1.01 * b
    lam = 1.01 * b / total
    old, com = 99 / lam**2, 81 / 83 * 80 * (1 - lam)
    assert (pooled.estimate, pooled.se, pooled.df) == pytest.approx((q, total**0.5, old * com / (old + com)))
    half = st.t.ppf(0.975, pooled.df) * pooled.se
    assert (pooled.low, pooled.high) == pytest.approx((q - half, q + half))


def test_double_programmed_the_posterior_is_a_mixture_of_students():
    rng = np.random.default_rng(0)
    estimate, se = rng.normal(-1, 0.5, (2, 2000)), rng.uniform(0.4, 0.6, (2, 2000))
    effect = Effect(estimate, se, 12)
    draws = estimate + se * rng.standard_t(12, (200, *estimate.shape))
    assert effect.interval() == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.01)
    assert effect.sd == pytest.approx(draws.std(), rel=0.01)
    probability, error = effect.above(-0.5)
    assert probability == pytest.approx((draws > -0.5).mean(), abs=0.003)
    assert 0 < error < 0.02


def retrieved(seen: int, n: int = 200) -> tuple[Longitudinal, Events]:
    """Half the active subjects had an event; `seen` of them were seen at the last visit, where they are 3 worse."""
    data = complete(n)
    lost = events({i: 2 for i in range(1, n, 4)}, n)
    y = data.y.copy()
    who = np.flatnonzero(lost.visit < 4)
    y[who, 3] = y[who, 1] + 3 + np.random.default_rng(1).normal(0, 0.5, len(who))
    y[who, 2], y[who[seen:], 3] = np.nan, np.nan
    return Longitudinal(y, data.subjects, VISITS, data.baseline), lost


def test_double_programmed_retrieved_subjects_stand_for_those_lost():
    data, lost = retrieved(30)
    done = impute_retrieved(posterior(), data, lost, seed=2)
    who = np.flatnonzero(lost.visit < 4)
    mean = CONTROL[1] + EFFECT[1] + (data.baseline - data.baseline.mean()) * SLOPE[1]
    x = np.column_stack([np.ones(200), data.baseline, data.y[:, 1] - mean])
    beta = np.linalg.lstsq(x[who[:30]], data.y[who[:30], 3], rcond=None)[0]
    want = x[who[30:]] @ beta
    found = done.y[..., who[30:], 3].reshape(-1, len(want))
    np.testing.assert_allclose(found.mean(axis=0), want, atol=0.2)
    np.testing.assert_array_equal(done.y[0, 0][data.seen], data.y[data.seen])
    assert np.isnan(done.y[..., who, 2]).all()
    on = analyse(impute(posterior(), before(data, lost), lost, "hypothetical", seed=2), "active").mean
    assert analyse(done, "active").mean > on + 0.5
    with pytest.raises(AnalysisError, match="visit 3: 50 values were not imputed"):
        analyse(done, "active", visit="3")


def test_too_few_retrieved_are_refused_with_their_counts():
    data, lost = retrieved(6)
    with pytest.raises(AnalysisError, match="arm 'active' at 4: 44 missing after an event and 6 seen after one, fewer"):
        impute_retrieved(posterior(draws=4), data, lost, seed=1)


def test_a_death_is_no_missing_value():
    data, lost = complete(), events(LOST, kind="death")
    with pytest.raises(AnalysisError, match="after death there is no outcome to impute"):
        impute(posterior(draws=4), before(data, lost), lost, "jump to reference", seed=1)
    with pytest.raises(AnalysisError, match="after death there is no outcome to impute"):
        impute_retrieved(posterior(draws=4), data, lost, seed=1)


def test_what_cannot_be_imputed_is_refused_with_every_reason():
    data, lost = complete(), events(LOST)
    with pytest.raises(AnalysisError) as found:
        impute(posterior(draws=4), data, lost, "jump to reference", seed=1, reference="placebo")
    assert "reference: 'placebo' is no arm" in str(found.value)
    assert "y: 14 values come after an event" in str(found.value)
    cut = before(data, lost)
    with pytest.raises(AnalysisError, match="event 'adverse event': 6 subjects without a strategy"):
        impute(posterior(draws=4), cut, lost, {"other": "copy reference"}, seed=1)
    with pytest.raises(AnalysisError, match="'last value' is no strategy; write one of 'hypothetical'"):
        impute(posterior(draws=4), cut, lost, {"adverse event": "last value"}, seed=1)  # type: ignore[dict-item]
    with pytest.raises(AnalysisError, match="write whole numbers from 0 to 4"):
        before(data, Events(np.full(60, 5), np.full(60, "")))
    with pytest.raises(AnalysisError, match="1 subjects have a visit or a kind alone, the first in row 2"):
        before(data, Events(np.where(np.arange(60) == 1, 2, 4), np.full(60, "")))
    done = impute(posterior(draws=4), cut, lost, "jump to reference", seed=1)
    with pytest.raises(AnalysisError, match="is no treated arm"):
        analyse(done, "control")
    with pytest.raises(AnalysisError, match="method: 'anova'"):
        analyse(done, "active", method="anova")  # type: ignore[arg-type]
    with pytest.raises(AnalysisError, match="level: 95"):
        analyse(done, "active").interval(95)


@pytest.mark.parametrize(
    "kind", ["Death (any cause)", "patient DIED", "deceased", "fatal stroke", "All-cause mortality", "found dead"]
)
def test_a_death_is_refused_however_it_is_written(kind):
    lost = events(LOST, kind=kind)
    with pytest.raises(AnalysisError, match="after death there is no outcome to impute"):
        impute(posterior(draws=4), before(complete(), lost), lost, "hypothetical", seed=1)


@pytest.mark.parametrize("kind", ["nonfatal stroke", "Non-fatal MI"])
def test_an_event_that_was_survived_is_imputed(kind):
    lost = events(LOST, kind=kind)
    impute(posterior(draws=4), before(complete(), lost), lost, "hypothetical", seed=1)


@pytest.mark.parametrize("gap", [None, float("nan"), " "])
def test_a_missing_kind_is_no_kind_of_event(gap):
    lost = events(LOST)
    kinds = lost.kind.astype(object)
    kinds[[3, 5]] = gap
    with pytest.raises(AnalysisError, match=r"events.kind: 2 missing .*the first in row 4"):
        before(complete(), Events(lost.visit, kinds))


def test_three_draws_of_a_chain_tell_no_monte_carlo_error():
    effect = Effect(np.arange(6.0).reshape(2, 3), np.ones((2, 3)), 20)
    assert np.isnan(effect.mcse)
    assert np.isnan(effect.above()[1])
