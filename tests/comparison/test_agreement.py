"""Where an observed arm lies in its prediction, and how probable agreement within a margin is."""

import numpy as np
import polars as pl
import pytest
import scipy

from cohort.comparison import ArmPrediction, Predictions
from cohort.comparison.agreement import arms_and_effects, by_use, coverage, not_compared, rows

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "placebo_q4w", "evolocumab_420_q4w")


def of(theta, sd=20.0, n=100.0) -> ArmPrediction:
    theta = np.asarray(theta, float)
    return ArmPrediction(theta, np.full(len(theta), sd), np.full(len(theta), n), np.zeros(len(theta)))


POINT = of([-50.0, -50.0])  # the same theta under every draw, SE of a trial's mean 2


def test_the_place_of_an_observed_mean_is_in_the_distribution_of_trials():
    row = rows(POINT, -53.0, 2.4, 5.0)
    assert row["place"] == pytest.approx(scipy.stats.norm.cdf(-1.5))
    assert row["z"] == pytest.approx(-1.5)
    assert row["difference"] == pytest.approx(-3.0)


def test_the_published_standard_error_does_not_move_the_place():
    """Sampling error is that of a virtual trial of the real size: no predictive spread uses the real one's."""
    a, b = rows(POINT, -53.0, 0.1, 5.0), rows(POINT, -53.0, 9.0, 5.0)
    of_agreement = ("se", "p_within_margin", "p_within_mcse", "p_tost", "says", "difference_low", "difference_high")
    same = [key for key in a if key not in of_agreement]
    assert {key: a[key] for key in same} == {key: b[key] for key in same}
    assert a["p_within_margin"] > b["p_within_margin"]


def test_agreement_sets_population_means_against_each_other():
    """theta known, the real mean Normal(-53, 2.4²): the probability that they are within 5 of each other."""
    row = rows(POINT, -53.0, 2.4, 5.0)
    real = scipy.stats.norm(-53.0, 2.4)
    assert row["p_within_margin"] == pytest.approx(real.cdf(-45) - real.cdf(-55), rel=1e-12)


def test_agreement_averages_over_what_is_not_known_of_the_parameters():
    rng = np.random.default_rng(1)
    theta = rng.normal(-50, 3, 500)
    real = rng.normal(-53, 2.4, (400, 1))
    want = float((np.abs(theta - real) < 5).mean())
    assert rows(of(theta), -53.0, 2.4, 5.0)["p_within_margin"] == pytest.approx(want, abs=0.04)


def test_without_a_margin_nothing_is_said_of_agreement():
    assert "p_within_margin" not in rows(POINT, -53.0, 2.4, None)


def test_inside_an_interval_is_between_its_ends():
    row = rows(POINT, -53.0, 2.4, None)
    assert (row["low_0.8"], row["high_0.8"]) == pytest.approx(scipy.stats.norm.interval(0.8, -50, 2))
    assert not row["inside_0.8"]  # -52.6 to -47.4
    assert row["inside_0.95"]


def test_places_of_trials_that_the_model_made_are_uniform():
    rng = np.random.default_rng(2)
    theta = rng.normal(-50, 3, 300)
    prediction = of(theta)
    trials = rng.choice(theta, 400) + 2 * rng.standard_normal(400)
    places = [prediction.cdf(y) for y in trials]
    assert scipy.stats.kstest(places, "uniform").pvalue > 0.001


@pytest.fixture(scope="module")
def study(laplace):
    return laplace.model_copy(update={"arms": {name: laplace.arms[name] for name in ARMS}})


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    rng = np.random.default_rng(3)
    return Predictions({"ldl_change": {a: of(rng.normal(-20 * k, 2, 50)) for k, a in enumerate(ARMS)}}, {}, {})


def outcome(arms: list[str], estimate: float, se: float, n: int = 80) -> dict:
    return {
        "trial": "mendel",
        "arms": arms,
        "outcome": "ldl_change",
        "estimate": estimate,
        "se": se,
        "n": n,
        "events": None,
    }


@pytest.fixture(scope="module")
def outcomes() -> pl.DataFrame:
    """placebo_q4w was not published; the two regimens together are no arm."""
    return pl.DataFrame(
        [
            outcome(["placebo_q2w"], 1.0, 2.0),
            outcome(["evolocumab_140_q2w"], -60.0, 2.5),
            outcome(["evolocumab_420_q4w"], -55.0, 2.5),
            outcome(["evolocumab_140_q2w", "evolocumab_420_q4w"], -57.5, 2.0),
        ]
    )


def test_every_published_arm_and_every_difference_that_has_both_sides(study, predictions, outcomes):
    table = arms_and_effects(study, predictions, outcomes)
    assert [(r["kind"], r["arm"]) for r in table] == [
        ("mean", "placebo_q2w"),
        ("mean", "evolocumab_140_q2w"),
        ("effect", "evolocumab_140_q2w"),
        ("mean", "evolocumab_420_q4w"),
    ]
    effect = table[2]
    assert effect["observed"] == -61.0
    assert effect["se"] == pytest.approx(np.hypot(2.5, 2.0))
    drug, placebo = (predictions.means["ldl_change"][a] for a in ("evolocumab_140_q2w", "placebo_q2w"))
    assert effect["predicted"] == pytest.approx((drug.theta - placebo.theta).mean())


@pytest.mark.parametrize(("inside", "of"), [(0, 6), (4, 6), (6, 6), (5, 8)])
def test_coverage_counts_arms_by_clopper_and_pearson(inside: int, of: int):
    """Against quantiles of the beta distribution."""
    flags = [
        {"kind": "mean", "trial": "one", **{f"inside_{v:g}": k < inside for v in (0.5, 0.8, 0.95)}} for k in range(of)
    ]
    found = coverage([*flags, {"kind": "effect"}])
    assert [r["level"] for r in found] == [0.5, 0.8, 0.95]
    for row in found:
        assert (row["inside"], row["of"]) == (inside, of)
        assert row["low"] == pytest.approx(scipy.stats.beta.ppf(0.025, inside, of - inside + 1) if inside else 0)
        assert row["high"] == pytest.approx(scipy.stats.beta.ppf(0.975, inside + 1, of - inside) if inside < of else 1)


def test_what_is_not_compared_is_said(study, predictions, outcomes):
    (row,) = not_compared(study, predictions, outcomes.with_columns(trial=pl.lit("mendel")))
    assert row["arms"] == ["evolocumab_140_q2w", "evolocumab_420_q4w"]
    assert "several arms together" in row["why"]


def test_without_arms_there_is_no_coverage():
    assert coverage([]) == []


def test_an_arm_that_was_fitted_is_not_counted_as_predicted_beside_one_that_was():
    uses = pl.DataFrame(
        {"outcome": ["ldl"] * 3, "arms": [["placebo"], ["low"], ["high"]], "use": ["calibration"] * 2 + ["validation"]}
    )
    table = [{"endpoint": "ldl", "arm": arm, "kind": "mean"} for arm in ("placebo", "low", "high")]
    predicted, fitted = by_use(table, uses)
    assert [row["arm"] for row in predicted] == ["high"]
    assert [row["arm"] for row in fitted] == ["placebo", "low"]


def test_of_arms_of_one_use_all_are_the_comparison():
    uses = pl.DataFrame({"outcome": ["ldl"], "arms": [["placebo"]], "use": ["calibration"]})
    table = [{"endpoint": "ldl", "arm": "placebo", "kind": "mean"}]
    assert by_use(table, uses) == (table, [])
