"""What is predicted: sampling error enters once, and the patients' own noise is taken out by pairing."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
import scipy

from cohort.comparison import ArmPrediction, Predictions, predict

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")
DRAWS = 8


def of(theta, sd=20.0, n=80.0, noise=0.0, common=0.0) -> ArmPrediction:
    theta = np.atleast_1d(np.asarray(theta, float))
    columns = [np.full(len(theta), float(v)) for v in (sd, n, noise)]
    return ArmPrediction(theta, columns[0], columns[1], columns[2], common)


def test_one_draw_is_one_normal():
    one, exact = of(-50.0, sd=20, n=100), scipy.stats.norm(-50, 2)
    for q in (0.025, 0.25, 0.5, 0.975):
        assert one.quantile(q) == pytest.approx(exact.ppf(q), abs=1e-9)
    for value in (-55, -50, -47.5):
        assert one.cdf(value) == pytest.approx(exact.cdf(value), abs=1e-14)


def test_many_draws_are_a_mixture_as_monte_carlo_says():
    rng = np.random.default_rng(1)
    some = ArmPrediction(np.array([-60.0, -50, -48, -30]), np.array([10.0, 20, 30, 15]), np.full(4, 50.0), np.zeros(4))
    which = rng.integers(4, size=400_000)
    trials = some.theta[which] + some.standard_error[which] * rng.standard_normal(len(which))
    for q in (0.025, 0.1, 0.5, 0.9, 0.975):
        value = some.quantile(q)
        assert some.cdf(value) == pytest.approx(q, abs=1e-12)
        assert (trials < value).mean() == pytest.approx(q, abs=4 * math.sqrt(q * (1 - q) / len(trials)))


def test_sampling_error_enters_once():
    """Variance of a trial's mean: that of theta, and the mean SE². Also as the second moment of the mixture."""
    theta = np.random.default_rng(2).normal(-50, 3, 400)
    some = of(theta, sd=20, n=64)
    assert some.summary()["predictive_sd"] == pytest.approx(math.sqrt(theta.var(ddof=1) + 20**2 / 64), rel=1e-12)
    grid = np.linspace(-90, -10, 16_001)
    density = np.gradient([some.cdf(v) for v in grid], grid)
    mean = np.trapezoid(density * grid, grid)
    second = np.trapezoid(density * (grid - mean) ** 2, grid)
    assert math.sqrt(second) == pytest.approx(math.sqrt(theta.var() + 20**2 / 64), rel=1e-5)


def test_simulation_noise_is_taken_out_of_the_uncertainty_of_theta():
    """theta carries 3 of parameters and 2 of simulation: the SD reported is 3."""
    rng = np.random.default_rng(3)
    theta = rng.normal(-50, 3, 20_000) + rng.normal(0, 2, 20_000)
    assert of(theta, noise=2.0).summary()["sd"] == pytest.approx(3, rel=0.03)
    assert of([-50.0, -50.0], noise=2.0).summary()["sd"] == 0.0


def test_simulation_error_that_all_draws_share_is_added_once():
    """It is in no spread of theta: parameters 3 and shared error 4 make 5; more draws do not average it away."""
    theta = np.random.default_rng(3).normal(-50, 3, 20_000)
    found = of(theta, common=4.0).summary()
    assert found["sd"] == pytest.approx(5, rel=0.02)
    assert found["mcse"] == pytest.approx(4, rel=0.01)


def test_more_virtual_patients_do_not_sharpen_a_prediction():
    """The predictive SD is that of parameters and of the real trial's size; simulation error alone shrinks."""
    rng = np.random.default_rng(4)
    theta = rng.normal(-50, 3, 20_000)
    few = of(theta + rng.normal(0, 1, len(theta)), noise=1.0).summary()
    many = of(theta, noise=0.001).summary()
    assert few["predictive_sd"] == pytest.approx(many["predictive_sd"], rel=0.02)
    assert many["sd"] == pytest.approx(theta.std(ddof=1), rel=1e-6)


def test_a_difference_pairs_draws_and_adds_sampling_variances():
    drug, placebo = of([-50.0, -40], sd=20, n=100), of([1.0, -1], sd=15, n=25)
    effect = drug.minus(placebo)
    assert effect.theta.tolist() == [-51, -39]
    assert effect.standard_error == pytest.approx(np.full(2, math.hypot(2, 3)))


@pytest.fixture(scope="module")
def study(laplace):
    return laplace.model_copy(update={"arms": {name: laplace.arms[name] for name in ARMS}})


@pytest.fixture(scope="module")
def shifts() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 2, DRAWS)


@pytest.fixture(scope="module")
def analysis(shifts) -> pl.DataFrame:
    """300 people at the mean, and in each draw's trial 40 per arm, all moved by the draw's shift, one of them lost."""
    rng = np.random.default_rng(6)
    tables = []
    for k, arm in enumerate(ARMS):
        own = rng.normal(-30 * k, 12, 300)
        tables.append(table(0, arm, range(300), own, None))
        for draw, shift in enumerate(shifts, 1):
            who = rng.choice(300, 40, replace=False)
            measured = own[who] + shift + rng.normal(0, 15, 40)
            measured[0] = math.nan
            tables.append(table(draw, arm, who, own[who] + shift, measured))
    return pl.concat(tables, how="diagonal")


def table(draw: int, arm: str, who, true, measured) -> pl.DataFrame:
    columns = {
        "draw": np.full(len(true), draw, dtype=np.int32),
        "arm": [arm] * len(true),
        "subject": [str(i) for i in who],
        "code": np.zeros(len(true), dtype=np.int8),
        "ldl_change_true": true,
        "ldl_below_25_true": (true < -70).astype(float),
    }
    if measured is not None:
        columns |= {"ldl_change": measured, "ldl_below_25": (measured < -70).astype(float)}
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def parameters() -> pl.DataFrame:
    draws = np.arange(DRAWS + 1, dtype=np.int32)
    return pl.DataFrame(
        {
            "draw": draws,
            "treatment_related_ae.background": np.full(len(draws), math.log(0.1 / 0.9)),
            "treatment_related_ae.drug": 0.1 * draws,
        }
    )


@pytest.fixture(scope="module")
def predictions(study, analysis, parameters) -> Predictions:
    return predict(study, analysis, parameters)


def test_a_draws_mean_is_that_of_everyone_moved_by_the_draw(study, analysis, predictions, shifts):
    """Each draw's 40 patients are set against themselves: whoever was drawn, the shift alone is left."""
    for arm in ARMS:
        everyone = analysis.filter((pl.col("draw") == 0) & (pl.col("arm") == arm))["ldl_change_true"].to_numpy()
        made = predictions.means["ldl_change"][arm]
        assert made.theta == pytest.approx(everyone.mean() + shifts)
        assert made.noise == pytest.approx(np.zeros(DRAWS), abs=1e-6)
        assert made.common == pytest.approx(everyone.std(ddof=1) / math.sqrt(300), rel=1e-6)


def test_size_and_spread_are_those_analysed_in_the_virtual_trial(analysis, predictions):
    made = predictions.means["ldl_change"]["evolocumab_140_q2w"]
    rows = analysis.filter((pl.col("draw") == 3) & (pl.col("arm") == "evolocumab_140_q2w"))
    assert set(made.n) == {39.0}
    assert made.sd[2] == pytest.approx(np.nanstd(rows["ldl_change"].to_numpy(), ddof=1))


def test_a_patient_who_failed_in_one_draw_is_left_out_of_both_sides(study, analysis, parameters, shifts):
    arm = "evolocumab_140_q2w"
    who = analysis.filter((pl.col("draw") == 1) & (pl.col("arm") == arm))["subject"][5]
    hit = (pl.col("draw") == 1) & (pl.col("arm") == arm) & (pl.col("subject") == who)
    broken = analysis.with_columns(
        pl.when(hit).then(math.nan).otherwise(pl.col(c)).alias(c) for c in ("ldl_change_true", "ldl_change")
    )
    made = predict(study, broken, parameters).means["ldl_change"][arm]
    everyone = analysis.filter((pl.col("draw") == 0) & (pl.col("arm") == arm))["ldl_change_true"].mean()
    assert made.theta == pytest.approx(everyone + shifts)
    assert made.n.tolist() == [38.0] + [39.0] * (DRAWS - 1)


def test_a_share_is_of_the_true_course_in_each_trial(analysis, predictions):
    rows = analysis.filter((pl.col("draw") == 2) & (pl.col("arm") == "evolocumab_420_q4w"))
    assert predictions.shares["ldl_below_25"]["evolocumab_420_q4w"][1] == rows["ldl_below_25_true"].mean()


def test_the_risk_of_an_event_is_of_background_and_drug(predictions):
    placebo, drug = predictions.risks["treatment_related_ae"] or (None, None)
    assert placebo == pytest.approx(np.full(DRAWS, 0.1))
    assert drug == pytest.approx(scipy.special.expit(math.log(0.1 / 0.9) + 0.1 * np.arange(1, DRAWS + 1)))


def test_an_event_without_a_model_has_no_risk_rather_than_none_at_all(predictions):
    assert predictions.risks["treatment_related_serious_ae"] is None


def test_the_hash_changes_with_any_figure(study, analysis, parameters, predictions):
    assert predict(study, analysis, parameters).hash() == predictions.hash()
    arm = predictions.means["ldl_change"]["placebo_q2w"]
    moved = dataclasses.replace(arm, theta=arm.theta + np.eye(DRAWS)[0] * 1e-12)
    means = {"ldl_change": predictions.means["ldl_change"] | {"placebo_q2w": moved}}
    assert dataclasses.replace(predictions, means=means).hash() != predictions.hash()
    risks = predictions.risks | {"treatment_related_ae": None}
    assert dataclasses.replace(predictions, risks=risks).hash() != predictions.hash()
