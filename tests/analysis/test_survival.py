"""Data of times to an event are refused or right; Kaplan-Meier and Nelson-Aalen are those of the textbooks."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.analysis import AnalysisError
from cohort.analysis.survival import centred, kaplan_meier, nelson_aalen, number_at_risk, survival

DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "trials"

# Freireich et al. 1963, remission under 6-MP, weeks; + is censored. Survival and SE as printed in textbooks.
TIMES = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
EVENTS = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def freireich():
    return survival(TIMES, EVENTS, ["6-MP"] * 21, control="6-MP", unit="wk")


def test_independent_kaplan_meier_of_the_leukaemia_trial():
    curve = kaplan_meier(freireich(), "6-MP")
    assert curve.time.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    np.testing.assert_allclose(curve.value, [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], atol=5e-5)
    np.testing.assert_allclose(curve.se, [0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346], atol=5e-5)
    assert curve.first_below(0.5) == 23
    assert curve.at([0, 5.9, 6, 35]).tolist() == pytest.approx([1, 1, 18 / 21, curve.value[-1]])
    assert np.isnan(curve.at(36))  # nobody was followed so long
    assert curve.first_below(0.1) == float("inf")


def test_double_programmed_log_log_interval_and_cumulative_hazard():
    s, h = kaplan_meier(freireich(), "6-MP"), nelson_aalen(freireich(), "6-MP")
    theta = np.log(-np.log(s.value[0]))
    se = np.sqrt(3 / (21 * 18)) / np.log(18 / 21)  # of log(-log S), by the delta method
    bounds = np.exp(-np.exp(theta + np.array([1, -1]) * 1.959964 * abs(se)))
    np.testing.assert_allclose([s.low[0], s.high[0]], bounds, rtol=1e-6)
    expected = np.cumsum([3 / 21, 1 / 17, 1 / 15, 1 / 12, 1 / 11, 1 / 7, 1 / 6])
    np.testing.assert_allclose(h.value, expected)
    assert np.all(np.exp(-h.value) > s.value)  # always, since exp(-x) > 1 - x
    assert h.start == 0


def test_double_programmed_kaplan_meier_with_many_ties_by_the_loop_over_subjects():
    rng = np.random.default_rng(3)
    time, event = np.ceil(rng.exponential(5, 80)), rng.random(80) < 0.7
    arm = np.where(rng.random(80) < 0.5, "a", "b")
    data = survival(time, event, arm, control="a", unit="d")
    for name in "ab":
        curve = kaplan_meier(data, name)
        for t in np.arange(1, 20):
            if t > curve.last:
                continue
            s = 1.0
            for u in sorted({v for v, e, a in zip(time, event, arm, strict=True) if e and a == name and v <= t}):
                here = [(v, e) for v, e, a in zip(time, event, arm, strict=True) if a == name and v >= u]
                s *= 1 - sum(e for v, e in here if v == u) / len(here)
            assert curve.at(t) == pytest.approx(s, abs=1e-12)
        assert number_at_risk(data, [3.0])["ab".index(name), 0] == np.sum((arm == name) & (time >= 3))


def test_without_censoring_kaplan_meier_is_one_less_the_empirical_distribution():
    time = np.random.default_rng(0).exponential(1, 30)
    curve = kaplan_meier(survival(time, np.ones(30), ["a"] * 30, control="a", unit="y"), "a")
    for t in (0.1, 0.5, 1.0):
        assert curve.at(t) == pytest.approx(np.mean(time > t))
    assert curve.at(100) == 0  # all have died
    n, s = 30, curve.value[9]
    assert curve.se[9] == pytest.approx(np.sqrt(s * (1 - s) / n))  # Greenwood is then binomial


def test_covariates_are_centred_coded_and_know_no_units():
    arm, sex = ["a", "b"] * 3, ["f", "m", "m", "f", "f", "f"]
    age = np.array([30.0, 41, 52, 63, 35, 47])

    def x(**covariates):
        return centred(survival(np.arange(1, 7), [1] * 6, arm, control="b", unit="d", covariates=covariates))

    np.testing.assert_allclose(x(age=age), x(age=age * 365.25 - 7))
    assert x(age=age).mean() == pytest.approx(0, abs=1e-12)
    data = survival(np.arange(1, 7), [1] * 6, arm, control="b", unit="d", covariates={"sex": sex, "age": age})
    assert data.covariates == ("sex[m]", "age")
    assert data.arms == ("b", "a")
    assert data.counts().tolist() == [3, 3]
    assert data.of("a").time.tolist() == [1, 3, 5]


def test_a_time_of_nothing_is_refused_or_counts_half_a_day():
    def made(**more):
        return survival([0, 2.0], [1, 1], ["a", "b"], control="a", unit="y", **more)

    with pytest.raises(AnalysisError, match=r"0 in row 1.*zero='half day'"):
        made()
    assert made(zero="half day").time[0] == pytest.approx(0.5 / 365.25)


GOOD = {"time": [1.0, 2, 3, 4], "event": [1, 0, 1, 1], "arm": ["a", "b", "a", "b"], "control": "a", "unit": "y"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time": [1, -2, 3, 4]}, "-2 in row 2.*not negative"),
        ({"time": [1, float("nan"), 3, 4]}, "time: 1 not usable .nan in row 2"),
        ({"time": [1, float("inf"), 3, 4]}, "inf in row 2"),
        ({"time": ["one", 2, 3, 4]}, "time: not all are numbers"),
        ({"time": [], "event": [], "arm": []}, "there are no subjects"),
        ({"event": [1, 0, 2, 1]}, "event: 1 not usable .2 in row 3.*write 1 for an event"),
        ({"event": [1, 0, 1]}, "event: 3 values for 4 times"),
        ({"control": "placebo"}, "control: 'placebo' is not an arm; write one of a, b"),
        ({"arms": ["a", "b", "c"]}, "arm: 'c' has no subjects"),
        ({"arms": ["a"]}, "arm: 'b' is not among a"),
        ({"covariates": {"age": [1, 1, 1, 1]}}, "covariates.age: every subject has 1"),
        ({"covariates": {"sex": ["m"] * 4}}, "covariates.sex: every subject is 'm'"),
        ({"covariates": {"sex": ["m", None, "f", "m"]}}, r"covariates.sex: missing in rows \[2\]"),
        ({"covariates": {"age": [1, 2, float("nan"), 4]}}, "covariates.age: 1 not usable .nan in row 3"),
        ({"covariates": {"twice": [1, 2, 1, 2]}}, "follows from the others and the arm"),
        ({"cause": ["x", "", "", "y"]}, r"cause: 1 do not go with the event, first in rows \[3\]"),
        ({"upper": [0.5, float("nan"), float("nan"), float("nan")]}, "an interval ends after it starts"),
        ({"upper": [float("nan"), 5, float("nan"), float("nan")]}, "an interval holds an event"),
    ],
)
def test_what_is_wrong_is_refused_with_where_and_what_instead(change, said):
    given = GOOD | change
    time, event, arm = (given.pop(k) for k in ("time", "event", "arm"))
    with pytest.raises(AnalysisError, match=said):
        survival(time, event, arm, **given)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(AnalysisError) as error:
        survival([-1.0, 0, 3, 4], [1, 0, 7, 1], list("aabb"), control="c", unit="y", covariates={"age": [5] * 4})
    for part in ("-1 in row 1", "0 in row 2", "7 in row 3", "control: 'c'", "covariates.age"):
        assert part in str(error.value)


def test_an_interval_is_refused_where_exact_times_are_needed():
    data = survival([0.0, 2], [1, 0], ["a", "a"], control="a", unit="y", upper=[1.0, float("nan")])
    with pytest.raises(
        AnalysisError, match="Kaplan-Meier needs the time of each event, and 1 are known by an interval"
    ):
        kaplan_meier(data, "a")


def test_independent_medians_of_the_oak_trial():
    path = DATA / "oak" / "oak_clinical_850.csv"
    if not path.exists():
        pytest.skip("OAK is not here: set COHORT_DATA")
    oak = pl.read_csv(path, infer_schema_length=2000)
    for endpoint, medians in (("OS", (9.6, 13.8)), ("PFS", (4.0, 2.8))):  # as published
        arm = oak["TRT01P"].to_list()
        data = survival(oak[endpoint], 1 - oak[f"{endpoint}.CNSR"], arm, control="Docetaxel", unit="mo")
        found = [kaplan_meier(data, name).first_below(0.5) for name in data.arms]
        assert found == pytest.approx(medians, abs=0.05)


@pytest.mark.parametrize("gap", [None, float("nan"), "", np.nan])
def test_a_missing_label_is_no_group(gap):
    good = {"arm": ["a", "b", "a", "b"], "cause": ["x", "", "x", "y"]}
    for name, said in (("arm", "arm: 1 missing .*the first in row 3"), ("cause", r"cause: 1 do not .*rows \[3\]")):
        given = good | {name: [*good[name][:2], gap, good[name][3]]}
        with pytest.raises(AnalysisError, match=said):
            survival([1.0, 2, 3, 4], [1, 0, 1, 1], given["arm"], control="a", unit="d", cause=given["cause"])
    with pytest.raises(AnalysisError, match=r"covariates.site: missing in rows \[3\]"):
        survival(
            [1.0, 2, 3, 4], [1, 0, 1, 1], good["arm"], control="a", unit="d", covariates={"site": ["x", "y", gap, "x"]}
        )
