"""The piecewise exponential gives the published hazard ratio of interferon, from tables and from the patients."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.analysis import AnalysisError
from cohort.analysis import piecewise as p
from cohort.analysis.survival import survival
from cohort.inference.diagnosis import flat
from cohort.inference.sampling import Engine, Sampling
from cohort.inference.sbc import calibrated, uniformity

DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "trials" / "e1684_e1690"

# Relapse-free survival, years: cuts; events and exposure, observation then interferon.
CUTS = {2: [0.722795], 5: [0.262284, 0.536620, 0.888156, 1.626834]}
E1690 = {
    2: ([[67, 59], [53, 61]], [[117.693662, 324.829240], [134.052357, 388.040730]]),
    5: (
        [[31, 25, 20, 24, 26], [17, 24, 27, 24, 22]],
        [
            [49.3535125, 42.70551, 46.9130981, 80.9649, 222.585882],
            [53.4750088, 50.343118, 54.4525, 93.425518, 270.396942],
        ],
    ),
}
E1684 = {
    2: ([[58, 36], [39, 42]], [[66.61485, 248.09751], [81.1797189, 362.092860]]),
    5: (
        [[30, 25, 3, 14, 22], [17, 15, 12, 16, 21]],
        [
            [30.331262, 23.063938, 24.79492, 44.131774, 192.390466],
            [33.3085029, 29.822996, 33.310274, 58.595178, 288.235628],
        ],
    ),
}
REFERENCE = p.Priors("independent", hazard_sd=10, log_hr_sd=10)
ENGINES: tuple[Engine, ...] = ("numpyro", "pymc")
SHORT = Sampling(warmup=500, draws=2000, chains=4, target_accept=0.99)


def of(tables, j):
    events = np.sum([t[j][0] for t in tables], axis=0)
    exposure = np.sum([t[j][1] for t in tables], axis=0)
    return p.from_table(events, exposure, CUTS[j], arms=("observation", "interferon"), horizon=6, unit="y")


@cache
def fitted(j, pooled=False, engine: Engine = "numpyro", priors=REFERENCE):
    return p.fit(of([E1690, E1684] if pooled else [E1690], j), seed=11, priors=priors, sampling=SHORT, engine=engine)


def quadrature(s, log_hr_sd=10.0):
    """Mean and SD of the log hazard ratio with hazards integrated out, each under a flat prior: half-normal with SD 10
    is flat over the hazards that the data allow."""
    (d0, d1), (e0, e1) = s.table()
    beta = np.linspace(-2, 2, 20001)
    log = beta * d1.sum() - np.sum((d0 + d1 + 1)[:, None] * np.log(e0[:, None] + e1[:, None] * np.exp(beta)), axis=0)
    log -= 0.5 * (beta / log_hr_sd) ** 2
    w = np.exp(log - log.max())
    w /= w.sum()
    mean = np.sum(w * beta)
    return mean, np.sqrt(np.sum(w * (beta - mean) ** 2))


@pytest.mark.parametrize(("j", "mean", "sd"), [(2, -0.2703, 0.1281), (5, -0.2867, 0.1276)])
def test_independent_reference_model_of_e1690(j, mean, sd):
    draws = flat(fitted(j), "log_hr")
    assert draws.mean() == pytest.approx(mean, abs=0.01)
    assert draws.std() == pytest.approx(sd, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("j", "mean", "sd"), [(2, -0.3405, 0.0973), (5, -0.3392, 0.0976)])
def test_independent_e1684_and_e1690_pooled(j, mean, sd):
    draws = flat(fitted(j, pooled=True), "log_hr")
    assert draws.mean() == pytest.approx(mean, abs=0.01)
    assert draws.std() == pytest.approx(sd, abs=0.005)


@pytest.mark.parametrize("j", [2, 5])
def test_double_programmed_by_quadrature_with_hazards_integrated_out(j):
    mean, sd = quadrature(of([E1690], j))
    draws = flat(fitted(j), "log_hr")
    assert draws.mean() == pytest.approx(mean, abs=4 * sd / np.sqrt(1500))
    assert draws.std() == pytest.approx(sd, abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("priors", [REFERENCE, p.Priors()], ids=["independent", "walk"])
def test_independent_pymc_says_the_same(priors):
    here, there = (fitted(5, engine=engine, priors=priors) for engine in ENGINES)
    for name in ("log_hr", "log_hazard"):
        a, b = flat(here, name), flat(there, name)
        np.testing.assert_allclose(a.mean(0), b.mean(0), atol=4 * np.sqrt(2) * a.std(0).max() / np.sqrt(1000))
        np.testing.assert_allclose(a.std(0), b.std(0), rtol=0.12)


def patients(name):
    path = DATA / f"{name}.csv"
    if not path.exists():
        pytest.skip("E1684 and E1690 are not here: set COHORT_DATA")
    d = pl.read_csv(path, infer_schema_length=1000)
    arm = np.where(d["treatment"].to_numpy() == 1, "interferon", "observation")
    return survival(d["failtime"], d["failcens"], arm, control="observation", unit="y", zero="half day")


@pytest.mark.parametrize(("name", "tables"), [("E1690", E1690), ("E1684", E1684)])
@pytest.mark.parametrize("j", [2, 5])
def test_independent_statistics_from_the_patients(name, tables, j):
    events, exposure = p.statistics(patients(name), CUTS[j]).table()
    np.testing.assert_allclose(exposure, tables[j][1], atol=2e-4)
    assert events.tolist() == tables[j][0]


def test_intervals_hold_about_as_many_events_each_and_lose_none():
    data = patients("E1690")
    s = p.statistics(data, p.cuts(data))
    events, exposure = s.table()
    assert s.intervals == 10
    assert np.all(np.abs(events.sum(axis=0) - 24) <= 2)  # several relapses were seen on one day
    assert events.sum() == 240
    assert exposure.sum() == pytest.approx(data.time.sum())


def test_covariates_split_the_rows_and_change_no_total():
    rng = np.random.default_rng(8)
    time, event, arm = rng.exponential(1, 60), rng.random(60) < 0.8, np.where(rng.random(60) < 0.5, "a", "b")
    stratum = np.where(rng.random(60) < 0.4, "hi", "lo")
    plain = survival(time, event, arm, control="a", unit="y")
    split = survival(time, event, arm, control="a", unit="y", covariates={"stratum": stratum})
    ends = p.cuts(plain, 3)
    for one, other in zip(p.statistics(plain, ends).table(), p.statistics(split, ends).table(), strict=True):
        np.testing.assert_allclose(one, other)
    assert len(p.statistics(split, ends).events) == 12  # 3 intervals, 2 arms, 2 strata


def test_an_event_at_a_cut_is_in_the_interval_that_it_ends():
    data = survival([1.0, 2, 3], [1, 1, 1], list("aaa"), control="a", unit="y")
    events, exposure = p.statistics(data, [2.0]).table()
    assert events.tolist() == [[2, 1]]
    assert exposure.tolist() == [[5.0, 1.0]]


def test_the_unit_of_time_changes_no_design():
    s = of([E1690], 5)
    days = replace(s, cuts=s.cuts * 365.25, exposure=s.exposure * 365.25, unit="d")
    years, of_days = (p.design(x, p.Priors()) for x in (s, days))
    assert years["priors"]["centre"] - of_days["priors"]["centre"] == pytest.approx(np.log(365.25))
    rate = years["exposure"] * np.exp(years["priors"]["centre"])
    np.testing.assert_allclose(rate, of_days["exposure"] * np.exp(of_days["priors"]["centre"]))


@pytest.mark.slow
def test_a_covariate_that_matters_is_found_and_its_shift_changes_nothing():
    rng = np.random.default_rng(5)
    n, x = 400, np.random.default_rng(6).normal(50, 10, 400)
    arm = np.where(rng.random(n) < 0.5, "a", "b")
    latent = rng.exponential(np.exp(-(-1 - 0.5 * (arm == "b") + 0.6 * (x - 50) / 10)))
    found = []
    for shift in (0, 1000):
        data = survival(
            np.minimum(latent, 4), latent <= 4, arm, control="a", unit="y", covariates={"x": np.round(x) + shift}
        )
        s = p.statistics(data, p.cuts(data, 5))
        tree = p.fit(s, seed=2, sampling=SHORT)
        found.append((flat(tree, "log_hr").mean(), flat(tree, "coefficient").mean(), flat(tree, "coefficient").std()))
    assert found[0][0] == pytest.approx(-0.5, abs=0.3)
    assert found[0][1] == pytest.approx(0.6, abs=4 * found[0][2])
    np.testing.assert_allclose(found[0], found[1], atol=0.015)


@pytest.mark.parametrize(
    ("events", "exposure", "said"),
    [
        ([[0, 0], [0, 0]], [[9, 9], [9, 9]], "every time is censored, no conclusion.*upper bound of the rate"),
        ([[3, 4], [0, 0]], [[9, 9], [9, 9]], "no event in 'treated', no conclusion on a hazard ratio"),
        ([[-1, 4], [1, 0]], [[9, 9], [9, 9]], "events: not whole numbers from 0"),
        ([[1.5, 4], [1, 0]], [[9, 9], [9, 9]], "events: not whole numbers from 0"),
        ([[1, 4], [1, 0]], [[0, 9], [9, 9]], "exposure: 0 where there are events"),
        ([[1, 4], [1, 0]], [[9, 9], [9, float("nan")]], "exposure: not finite"),
        ([[1, 4]], [[9, 9]], r"events: shape \(1, 2\); write \(2, 2\)"),
    ],
)
def test_tables_without_a_conclusion_are_refused(events, exposure, said):
    with pytest.raises(AnalysisError, match=said):
        p.fit(p.from_table(events, exposure, [1.0], arms=("control", "treated"), horizon=2, unit="y"), seed=1)


def test_one_event_is_no_conclusion():
    one = p.from_table([[1, 0]], [[9.0, 9]], [1.0], arms=("control",), horizon=2, unit="y")
    with pytest.raises(AnalysisError, match="one event, no conclusion is drawn"):
        p.fit(one, seed=1)


def test_too_few_events_for_the_intervals_are_refused():
    data = survival(np.arange(1, 9), [1, 1, 1, 1, 1, 1, 0, 0], list("abababab"), control="a", unit="y")
    with pytest.raises(AnalysisError, match="5 are not supported by 6 distinct event times"):
        p.cuts(data)
    assert len(p.cuts(data, 3)) == 2
    with pytest.raises(AnalysisError, match="increasing times above 0"):
        p.statistics(data, [2.0, 1.0])


def test_improper_priors_are_refused_all_at_once():
    with pytest.raises(AnalysisError, match=r"level_sd: inf.*log_hr_sd: 0"):
        p.Priors(level_sd=float("inf"), log_hr_sd=0)
    with pytest.raises(AnalysisError, match="coefficient_sd: nan"):
        p.Priors(coefficient_sd=float("nan"))


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["walk", "independent"])
def test_ranks_of_its_own_prior_are_uniform(baseline):
    rows = uniformity(calibrated(p.case(baseline), replicates=100, seed=1))
    assert sum(not row["inside"] for row in rows) == 0
