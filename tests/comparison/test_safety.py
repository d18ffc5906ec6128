"""Adverse events are predicted as counts; an event without a model is not predicted, which is not nothing."""

import math

import numpy as np
import polars as pl
import pytest
import scipy

from cohort.comparison import Predictions
from cohort.comparison.safety import _counted, _spread, events, shares

ARMS = ("placebo_q2w", "evolocumab_140_q2w")
EVENT, RARE = "treatment_related_ae", "treatment_related_serious_ae"


@pytest.fixture(scope="module")
def study(laplace):
    return laplace.model_copy(update={"arms": {name: laplace.arms[name] for name in ARMS}})


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """Risk near 7 % on placebo and 8 % on drug, uncertain; the serious event is not modelled."""
    rng = np.random.default_rng(1)
    placebo = scipy.special.expit(rng.normal(-2.6, 0.3, 64))
    drug = scipy.special.expit(rng.normal(-2.4, 0.2, 64))
    return Predictions({}, {}, {EVENT: (placebo, drug), RARE: None})


def counts(*rows: tuple[str, list[str], int, int]) -> pl.DataFrame:
    return pl.DataFrame([{"outcome": o, "arms": a, "n": n, "events": k} for o, a, n, k in rows])


def risk(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Of the modelled event, without and with drug, under each draw."""
    found = predictions.risks[EVENT]
    assert found is not None
    return found


def test_an_event_without_a_model_is_not_predicted_and_never_0(study, predictions):
    seen = counts((RARE, [ARMS[0]], 155, 0))
    row = next(r for r in events(study, predictions, seen) if r["event"] == RARE)
    assert row == {"event": RARE, "arms": [ARMS[0]], "n": 155, "observed": 0, "modelled": False}


def test_a_count_of_zero_has_a_place(study, predictions):
    """The middle of its step: half the probability of no event at all."""
    row = events(study, predictions, counts((EVENT, [ARMS[0]], 40, 0)))[0]
    placebo = risk(predictions)[0]
    assert row["place"] == pytest.approx(np.mean((1 - placebo) ** 40) / 2, rel=1e-12)
    assert 0 < row["place"] < 0.5
    assert row["observed"] == 0


def test_counts_are_those_of_monte_carlo(study, predictions):
    row = events(study, predictions, counts((EVENT, [ARMS[1]], 474, 39)))[0]
    rng = np.random.default_rng(2)
    drug = risk(predictions)[1]
    drawn = rng.binomial(474, rng.choice(drug, 200_000))
    for q, key in ((0.025, "count_low"), (0.975, "count_high")):
        assert (drawn < row[key]).mean() <= q + 0.002
        assert (drawn <= row[key]).mean() >= q - 0.002
    assert row["place"] == pytest.approx((drawn < 39).mean() + (drawn == 39).mean() / 2, abs=0.005)
    assert row["risk"] == pytest.approx(drug.mean())


def test_places_of_counts_that_the_model_made_average_a_half(study, predictions):
    """Mid-probabilities have mean 1/2 exactly, uniform or not."""
    rng = np.random.default_rng(3)
    drug = risk(predictions)[1]
    drawn = rng.binomial(50, rng.choice(drug, 300))
    places = [events(study, predictions, counts((EVENT, [ARMS[1]], 50, int(k))))[0]["place"] for k in drawn]
    assert np.mean(places) == pytest.approx(0.5, abs=4 / math.sqrt(12 * 300))


def test_arms_that_are_pooled_have_the_risk_of_the_mix(study, predictions):
    placebo, drug = risk(predictions)
    row = events(study, predictions, counts((EVENT, list(ARMS), 200, 15)))[0]
    assert row["risk"] == pytest.approx((placebo.mean() + drug.mean()) / 2)


def test_without_a_published_count_the_planned_size_is_predicted(study, predictions):
    rows = [r for r in events(study, predictions, None) if r["event"] == EVENT]
    assert [(r["arms"], r["n"], r["observed"]) for r in rows] == [([ARMS[0]], 78, None), ([ARMS[1]], 78, None)]
    assert all("place" not in r for r in rows)


def test_spreading_keeps_baselines_and_the_mean_course():
    rng = np.random.default_rng(4)
    visits = 120 * np.exp(np.cumsum(rng.normal(-0.1, 0.2, (500, 4)), axis=1))
    for factor in (0.0, 0.8, 1.0, 1.2):
        changed = _spread(visits, factor)
        assert changed[:, 0] == pytest.approx(visits[:, 0])
        before, after = (np.log(v / v[:, :1]) for v in (visits, changed))
        assert after.mean(axis=0) == pytest.approx(before.mean(axis=0), abs=1e-12)
        assert after.std(axis=0) == pytest.approx(factor * before.std(axis=0), abs=1e-12)


def test_a_share_moves_with_baseline_as_the_threshold_would(study, evolocumab):
    """LDL below 25 mg/dL with every value 10 % lower is LDL below 25/0.9 as it stands."""
    rng = np.random.default_rng(5)
    n, at = 400, len(study.visits)
    ldl = np.tile(rng.normal(110, 20, (n, 1)), (1, at))
    ldl[:, 1:] *= rng.lognormal(-1.2, 0.4, (n, 1))
    visits = pl.DataFrame(
        {
            "draw": np.zeros(n * at, dtype=np.int32),
            "arm": [ARMS[1]] * n * at,
            "code": np.zeros(n * at, dtype=np.int8),
            "c": np.zeros(n * at),
            "ldl": ldl.ravel(),
        }
    )
    analysis = pl.DataFrame({"draw": [1] * 3, "arm": [ARMS[1]] * 3, "ldl_below_25": [1.0, 0.0, math.nan]})
    trials = np.array([0.1, 0.2, 0.3])
    made = Predictions({}, {"ldl_below_25": {ARMS[1]: trials}}, {})
    row = shares(study, evolocumab, visits, analysis, made)[0]
    lowest = ldl.min(axis=1)
    assert row["at_mean"] == (lowest < 25).mean()
    assert row["baseline_low"] == pytest.approx((lowest < 25 / 0.9).mean())
    assert row["baseline_high"] == pytest.approx((lowest < 25 / 1.1).mean())
    assert row["spread_low"] < row["at_mean"] < row["spread_high"]
    assert row["measured"] == 0.5
    assert (row["mean"], row["mcse"]) == (pytest.approx(0.2), pytest.approx(0.1 / math.sqrt(3)))


def test_a_published_count_of_a_yes_or_no_endpoint_has_a_place_without_the_virtual_trials_own_sampling():
    """Every draw with the same risk: the spread between trials is sampling alone, and the prediction binomial."""
    rng = np.random.default_rng(5)
    trials = rng.binomial(84, 0.7, 4000) / 84
    outcomes = pl.DataFrame({"outcome": ["skin"], "arms": [["high"]], "n": [50], "events": [40], "use": ["validation"]})
    found = _counted("skin", "high", trials, 84, outcomes)
    low, high = scipy.stats.binom.ppf([0.025, 0.975], 50, 0.7)
    assert abs(found["count_low"] - low) <= 1
    assert abs(found["count_high"] - high) <= 1
    middle = scipy.stats.binom.cdf(39, 50, 0.7) + scipy.stats.binom.pmf(40, 50, 0.7) / 2
    assert found["place"] == pytest.approx(middle, abs=0.02)
    assert _counted("skin", "low", trials, 84, outcomes) == {}
