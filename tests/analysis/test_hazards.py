"""Proportional hazards are doubted where they fail, in a crossing trial, and not where they hold."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize

from cohort.analysis import AnalysisError
from cohort.analysis import hazards as h
from cohort.analysis import piecewise as p
from cohort.analysis import restricted as r
from cohort.analysis.survival import kaplan_meier, survival
from cohort.inference.diagnosis import flat
from cohort.inference.sampling import Engine, Sampling
from cohort.inference.sbc import calibrated, uniformity

DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "trials"
ENGINES: tuple[Engine, ...] = ("numpyro", "pymc")
SHORT = Sampling(warmup=500, draws=2000, chains=4, target_accept=0.99)


@cache
def melanoma(name):
    path = DATA / "e1684_e1690" / f"{name}.csv"
    if not path.exists():
        pytest.skip("E1684 and E1690 are not here: set COHORT_DATA")
    d = pl.read_csv(path, infer_schema_length=1000)
    arm = np.where(d["treatment"].to_numpy() == 1, "interferon", "observation")
    return survival(d["failtime"], d["failcens"], arm, control="observation", unit="y", zero="half day")


@cache
def oak(endpoint):
    path = DATA / "oak" / "oak_clinical_850.csv"
    if not path.exists():
        pytest.skip("OAK is not here: set COHORT_DATA")
    d = pl.read_csv(path, infer_schema_length=2000)
    arm = np.where(d["TRT01P"].to_numpy() == "Docetaxel", "docetaxel", "atezolizumab")
    return survival(d[endpoint], 1 - d[f"{endpoint}.CNSR"], arm, control="docetaxel", unit="mo")


def partial(data, g=None, efron=False):
    """Minus the log partial likelihood of (beta, slope): the hazard ratio at t is exp(beta + slope g(t))."""
    z = (data.arm == 1).astype(float)

    def of(theta):
        total = 0.0
        for t in np.unique(data.time[data.event]):
            score = z * (theta[0] + (theta[1] * g(t) if g else 0.0))
            dying, risk = data.event & (data.time == t), np.exp(score)[data.time >= t].sum()
            tied = np.exp(score)[dying].sum()
            for k in range(dying.sum()):
                total += np.log(risk - (k / dying.sum() * tied if efron else 0.0))
            total -= score[dying].sum()
        return total

    return of


def cox(data, efron):
    of = partial(data, efron=efron)
    beta = minimize(lambda b: of(b), [0.0], tol=1e-10).x[0]
    step = 1e-3
    return beta, (step**2 / (of([beta + step]) + of([beta - step]) - 2 * of([beta]))) ** 0.5


@pytest.mark.parametrize(
    ("name", "n", "events", "beta", "se"),
    [("E1690", 426, 240, -0.2411, 0.1293), ("E1684", 262, 175, -0.3946, 0.1519)],
)
def test_independent_published_cox_of_interferon(name, n, events, beta, se):
    data = melanoma(name)
    assert (len(data.time), data.event.sum()) == (n, events)
    assert cox(data, efron=True) == pytest.approx((beta, se), abs=5e-4)


@pytest.mark.parametrize(("load", "name"), [(melanoma, "E1690"), (melanoma, "E1684"), (oak, "OS"), (oak, "PFS")])
def test_double_programmed_hazard_ratio_and_score_test_of_a_trend(load, name):
    data = load(name)
    beta, statistic, _ = h.schoenfeld(data, data.arms[1])
    assert beta == pytest.approx(cox(data, efron=False)[0], abs=2e-5)
    pooled = survival(data.time, data.event, ["all"] * len(data.time), control="all", unit="d")
    km = kaplan_meier(pooled, "all")
    before = dict(zip(km.time, np.concatenate([[1.0], km.value[:-1]]), strict=True))
    of = partial(data, lambda t: 1 - before[t])
    step = 1e-3
    e = np.eye(2) * step
    at = np.array([beta, 0.0])
    score = (of(at + e[1]) - of(at - e[1])) / (2 * step)
    info = np.array([[of(at + a + b) - of(at + a - b) - of(at - a + b) + of(at - a - b) for b in e] for a in e])
    info /= 4 * step**2
    expected = score**2 / (info[1, 1] - info[0, 1] ** 2 / info[0, 0])
    assert statistic == pytest.approx(expected, rel=2e-3)


def test_independent_published_hazard_ratios_of_oak():
    assert np.exp(cox(oak("OS"), efron=True)[0]) == pytest.approx(0.73, abs=0.005)
    assert np.exp(cox(oak("PFS"), efron=True)[0]) == pytest.approx(0.95, abs=0.02)  # theirs is stratified


@cache
def checked(load, name, engine: Engine = "numpyro"):
    data = load(name)
    s = p.statistics(data, p.cuts(data, 8))
    tree = h.fit(s, seed=3, sampling=SHORT, engine=engine)
    return data, s, tree, h.check(tree, s, data.arms[1], subjects=data)


@pytest.mark.slow
def test_progression_in_oak_crosses_and_restricted_mean_is_the_estimand():
    data, s, tree, check = checked(oak, "PFS")
    assert check.doubt
    assert check.sign_change > 0.99
    assert check.crosses > 0.95
    assert check.late_less_early.high < -0.3  # benefit is late
    assert check.score_p is not None
    assert check.score_p < 1e-6
    assert check.estimand == "difference in restricted mean survival time"
    assert "restricted mean survival time, RMST" in check.sentence
    assert check.by_interval[0].mean > 0 > check.by_interval[-1].mean
    assert check.spread.low > 0.1
    curves = h.curves(tree, s)
    found = r.restricted_mean(curves, 18.0).mean((0, 1))
    for a, arm in enumerate(data.arms):  # the area under Kaplan-Meier, by its steps
        km = kaplan_meier(data, arm)
        t = np.concatenate([[0.0], km.time[km.time < 18], [18.0]])
        area = np.sum(np.diff(t) * np.concatenate([[1.0], km.value[km.time < 18]]))
        assert found[a] == pytest.approx(area, abs=0.15)
    milestones = r.milestone(curves, 3.0).mean((0, 1)), r.milestone(curves, 15.0).mean((0, 1))
    assert milestones[0][0] > milestones[0][1]
    assert milestones[1][0] < milestones[1][1]  # the curves have crossed


@pytest.mark.slow
@pytest.mark.parametrize(("load", "name"), [(melanoma, "E1690"), (melanoma, "E1684"), (oak, "OS")])
def test_elsewhere_nothing_speaks_against_them_and_the_report_says_that_this_is_no_proof(load, name):
    check = checked(load, name)[3]
    assert not check.doubt
    assert check.estimand == "hazard ratio"
    assert "does not prove" in check.sentence
    assert "RMST" in check.sentence
    assert 0 < check.sign_change_before < 0.5


@pytest.mark.slow
def test_independent_pymc_says_the_same():
    here, there = (checked(oak, "PFS", engine=engine)[2] for engine in ENGINES)
    for name in ("log_hr", "drift", "log_hazard"):
        a, b = flat(here, name), flat(there, name)
        np.testing.assert_allclose(a.mean(0), b.mean(0), atol=4 * np.sqrt(2) * a.std(0).max() / np.sqrt(800))


def test_the_score_test_is_wrong_once_in_twenty_where_hazards_are_proportional():
    rng, wrong, trials = np.random.default_rng(7), 0, 400
    arm = np.where(np.arange(150) % 2, "b", "a")
    for _ in range(trials):
        latent, stop = rng.weibull(1.3, 150) * np.where(arm == "b", 1.5, 1.0), rng.uniform(0.5, 2.5, 150)
        data = survival(np.minimum(latent, stop), latent <= stop, arm, control="a", unit="y")
        wrong += h.schoenfeld(data, "b")[2] < 0.05
    assert wrong / trials == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / trials) ** 0.5)


def test_later_less_earlier_is_the_contrast_of_halves_of_the_events():
    np.testing.assert_allclose(h._contrast(np.array([5, 5, 5, 5])), [-0.5, -0.5, 0.5, 0.5])
    np.testing.assert_allclose(h._contrast(np.array([1, 1, 1])), [-2 / 3, 0, 2 / 3], atol=1e-12)
    assert h._contrast(np.array([7, 1, 4, 2, 9])).sum() == pytest.approx(0)


def test_double_programmed_sign_change_before_the_data():
    """With two intervals, N(0, sd) -+ N(0, drift) / 2: P(signs differ) = E[2 arctan(drift / (2 sd))] / pi."""
    drift = np.abs(np.random.default_rng(1).normal(0, 0.5, 1_000_000))
    assert h._before(2, 2.0, 0.5, seed=2) == pytest.approx(2 * np.mean(np.arctan(drift / 4)) / np.pi, abs=0.004)


def test_what_no_hazard_ratio_can_be_made_of_is_refused():
    def table(events, arms=("a", "b")):
        return p.from_table(events, np.ones((len(arms), 2)), [1.0], arms=arms, horizon=2, unit="y")

    with pytest.raises(AnalysisError, match="no event in 'b', no conclusion on a hazard ratio"):
        h.fit(table([[3, 4], [0, 0]]), seed=1)
    with pytest.raises(AnalysisError, match="arms: one only"):
        h.fit(table([[3, 4]], ("a",)), seed=1)
    with pytest.raises(AnalysisError, match="cuts: one interval"):
        h.fit(p.from_table([[3], [4]], [[9.0], [9]], [], arms=("a", "b"), horizon=2, unit="y"), seed=1)
    with pytest.raises(AnalysisError, match="spread_sd: inf"):
        h.fit(table([[3, 4], [2, 2]]), seed=1, spread_sd=float("inf"))
    with pytest.raises(AnalysisError, match="has no maximum"):
        h.schoenfeld(survival([1.0, 2, 5, 6], [1, 1, 1, 1], list("aabb"), control="a", unit="y"), "b")
    with pytest.raises(AnalysisError, match="the partial likelihood: no event in 'a'"):
        h.schoenfeld(survival([1.0, 2, 3, 4], [0, 0, 1, 1], list("aabb"), control="a", unit="y"), "b")


@pytest.mark.slow
def test_ranks_of_its_own_prior_are_uniform():
    rows = uniformity(calibrated(h.case(), replicates=100, seed=1))
    assert sum(not row["inside"] for row in rows) == 0
