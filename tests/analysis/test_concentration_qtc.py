"""The concentration-QTc model against a likelihood written out matrix by matrix, and against what simulated it."""

import numpy as np
import polars as pl
import pytest

from cohort.analysis import AnalysisError
from cohort.analysis import concentration_qtc as qtc
from cohort.inference.sampling import Sampling

SLOPE, INTERCEPT, TREATMENT, SIGMA = 25.0, -4.0, 2.0, 8.0
RANDOM = np.array([[36.0, -9.0], [-9.0, 25.0]])  # ms², of intercept and of the slope for 1 ng/mL


def simulated(subjects: int = 20, seed: int = 3, drop: float = 0.0) -> qtc.Recordings:
    """Drug and placebo of each subject at eight hours, concentrations that rise and fall, some rows lost."""
    rng = np.random.default_rng(seed)
    hours = np.array([0.5, 1, 2, 3, 4, 6, 12, 24])
    c = rng.lognormal(0, 0.2, (subjects, 1)) * 3 * (np.exp(-hours / 8) - np.exp(-hours / 0.8))
    effects = rng.multivariate_normal([0, 0], RANDOM, subjects)
    course = 3 * np.cos(2 * np.pi * hours / 24)
    baseline = rng.normal(400, 15, (subjects, 2))
    rows = []
    for treatment, own in ((1.0, c), (0.0, 0.0 * c)):
        mean = INTERCEPT + effects[:, :1] + TREATMENT * treatment + (SLOPE + effects[:, 1:]) * own + course
        start = baseline[:, int(treatment)][:, None]
        change = mean - 0.2 * (start - 400) + SIGMA * rng.standard_normal(own.shape)
        who, time = np.indices(own.shape)
        columns = [change, own, who, np.full(own.shape, treatment), hours[time], np.broadcast_to(start, own.shape)]
        rows.append(np.stack([np.asarray(a, float).ravel() for a in columns]))
    table = np.concatenate(rows, axis=1)
    return qtc.Recordings(*table[:, rng.uniform(size=table.shape[1]) >= drop])


def dense(data: qtc.Recordings, theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """-2 log restricted likelihood, beta and its covariance, with every subject's covariance matrix written out.
    theta: log sd of intercept and of the scaled slope, atanh of their correlation, log sigma."""
    x = np.stack(list(data.columns.values()), axis=1)
    z = x[:, :2]
    a, b = np.exp(theta[:2])
    d = np.array([[a * a, a * b * np.tanh(theta[2])], [a * b * np.tanh(theta[2]), b * b]])
    v = np.exp(2 * theta[3]) * np.eye(len(x)) + (z @ d @ z.T) * (data.subject[:, None] == data.subject[None, :])
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ data.change)
    rest = data.change - x @ beta
    deviance = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest
    return float(deviance), beta, np.linalg.inv(information)


def test_restricted_likelihood_is_that_of_the_dense_matrices_double_programmed():
    data = simulated(subjects=10, drop=0.1)
    mine = qtc.reml(data)
    sd = np.sqrt(np.diag(mine.random)) * [1.0, data.scale]
    correlation = mine.random[0, 1] / np.sqrt(mine.random[0, 0] * mine.random[1, 1])
    best = np.array([*np.log(sd), np.arctanh(correlation), np.log(mine.sigma)])
    least, beta, covariance = dense(data, best)
    unit = np.array([1 / data.scale if name == "concentration" else 1.0 for name in data.columns])
    assert np.allclose(list(mine.beta.values()), beta * unit, rtol=1e-6, atol=1e-8)
    assert np.allclose(mine.covariance, covariance * np.outer(unit, unit), rtol=1e-3, atol=1e-7)
    for step in 0.05 * np.concatenate([np.eye(4), -np.eye(4)]):  # no better place nearby
        assert dense(data, best + step)[0] > least


def test_restricted_likelihood_of_one_subject_each_is_ordinary_least_squares():
    """With one row of each subject no random effect can be told from the error: slope and intercept are a line's."""
    rng = np.random.default_rng(1)
    c = rng.uniform(0, 3, 400)
    data = qtc.Recordings(5 + 20 * c + rng.normal(0, 6, 400), c, np.arange(400))
    assert qtc.reml(data).beta["concentration"] == pytest.approx(np.polyfit(c, data.change, 1)[0], rel=0.02)


@pytest.mark.slow
def test_the_posterior_agrees_with_restricted_likelihood_and_holds_the_truth():
    data = simulated(subjects=16)
    tree = qtc.fit(data, seed=5, sampling=Sampling(warmup=400, draws=400, chains=3, dense=True))
    drawn, classical = qtc.slopes(tree), qtc.reml(data)
    low, high = classical.interval("concentration")
    assert drawn.mean() == pytest.approx(classical.beta["concentration"], abs=0.15 * (high - low))
    assert np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025) == pytest.approx(high - low, rel=0.25)
    assert np.quantile(drawn, 0.005) < SLOPE < np.quantile(drawn, 0.995)
    effect = qtc.at(tree, np.array([0.0, 2.0]))
    assert effect.shape == (1200, 2)
    assert (effect[:, 1] - effect[:, 0]).mean() == pytest.approx(2 * drawn.mean())
    assert qtc.bound(effect[:, 1]) == pytest.approx(np.quantile(effect[:, 1], 0.95))


def test_the_slope_does_not_depend_on_the_unit_of_concentration():
    data = simulated(subjects=8)
    other = qtc.Recordings(**{**vars_of(data), "concentration": data.concentration * 1000})
    assert qtc.reml(other).beta["concentration"] == pytest.approx(qtc.reml(data).beta["concentration"] / 1000, rel=1e-3)


def vars_of(data: qtc.Recordings) -> dict:
    names = ("change", "concentration", "subject", "treatment", "time", "baseline")
    return {name: getattr(data, name) for name in names}


def table() -> pl.DataFrame:
    """Two subjects, drug and placebo, before the dose and at two hours; one concentration was not measured."""
    rows = [
        (1, "drug", -0.5, None, 400.0),
        (1, "drug", 1.0, 2.0, 430.0),
        (1, "drug", 2.0, 1.0, 420.0),
        (1, "placebo", -0.5, None, 402.0),
        (1, "placebo", 1.0, None, 400.0),
        (1, "placebo", 2.0, None, 397.0),
        (2, "drug", -0.5, None, 390.0),
        (2, "drug", 1.0, None, 400.0),
        (2, "drug", 2.0, 1.5, 410.0),
        (2, "placebo", -0.5, None, 392.0),
        (2, "placebo", 2.0, None, 393.0),
    ]
    return pl.DataFrame(rows, schema=["subject", "arm", "time", "c", "qtcf"], orient="row")


def test_a_time_matched_difference_is_of_the_same_subject_and_hour():
    matched = qtc.time_matched(table(), "drug", "placebo")
    assert matched["subject"].to_list() == [1, 1, 2]  # subject 2 has no placebo at 1 h
    assert matched["corrected"].to_list() == [32.0, 25.0, 19.0]
    assert matched["baseline"].to_list() == [400.0, 400.0, 390.0]


def test_changes_hold_drug_and_placebo_of_each_measured_concentration():
    data = qtc.of_changes(qtc.time_matched(table(), "drug", "placebo"))
    assert data.treatment is not None
    assert data.change.tolist() == [30.0, 20.0, 20.0, -2.0, -5.0, 1.0]
    assert data.concentration.tolist() == [2.0, 1.0, 1.5, 0.0, 0.0, 0.0]
    assert data.treatment.tolist() == [1, 1, 1, 0, 0, 0]


def test_times_are_coded_to_sum_to_nought():
    data = simulated(subjects=6)
    coded = [column for name, column in data.columns.items() if name.startswith("time")]
    assert len(coded) == 7
    assert np.allclose(np.sum(coded, axis=1), 0)


def test_data_without_a_slope_are_refused():
    with pytest.raises(AnalysisError, match="does not vary"):
        qtc.Recordings(np.ones(4), np.zeros(4), np.arange(4))
    with pytest.raises(AnalysisError, match="no numbers"):
        qtc.Recordings(np.array([1.0, np.nan]), np.array([0.0, 1.0]), np.arange(2))
