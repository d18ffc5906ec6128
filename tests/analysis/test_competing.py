"""Cumulative incidence of several causes adds up to what has happened, and is that of the textbooks."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.analysis import AnalysisError
from cohort.analysis import competing as c
from cohort.analysis import piecewise as p
from cohort.analysis.survival import kaplan_meier, survival
from cohort.inference.sampling import Sampling

DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data") / "trials"


def small():
    cause = ["relapse", "", "death", "relapse", "relapse", ""]
    return survival([1.0, 2, 3, 3, 5, 6], [1, 0, 1, 1, 1, 0], ["a"] * 6, control="a", unit="y", cause=cause)


def random(n=90, seed=2):
    rng = np.random.default_rng(seed)
    cause = rng.choice(["", "death", "relapse"], n, p=[0.3, 0.3, 0.4])
    time = np.ceil(rng.exponential(6, n))
    arm = np.where(np.arange(n) % 2, "a", "b")
    return survival(time, cause != "", arm, control="a", unit="mo", cause=cause)


def test_double_programmed_aalen_johansen_by_hand():
    relapse, death = (c.aalen_johansen(small(), k, "a") for k in ("relapse", "death"))
    # S: 5/6 after 1, then 2 of 4 at 3: 5/12, then 1 of 2 at 5: 5/24.
    assert relapse.at([1, 3, 5]).tolist() == pytest.approx([1 / 6, 1 / 6 + 5 / 24, 1 / 6 + 5 / 24 + 5 / 24])
    assert death.at([1, 3, 5]).tolist() == pytest.approx([0, 5 / 24, 5 / 24])
    assert relapse.at(0.5) == 0
    assert np.isnan(death.low[0])  # none has died


def test_incidences_add_up_to_what_kaplan_meier_has_lost():
    data = random()
    for arm in "ab":
        lost = 1 - kaplan_meier(c.composite(data), arm).value
        total = sum(c.aalen_johansen(data, cause, arm).value for cause in data.causes)
        np.testing.assert_allclose(total, lost, atol=1e-12)


def test_censoring_the_other_cause_in_kaplan_meier_overstates_the_risk():
    data = random()
    naive = kaplan_meier(c.cause_specific(data, "death"), "a")
    right = c.aalen_johansen(data, "death", "a")
    assert np.all(1 - naive.value[1:] >= right.at(naive.time)[1:])
    assert 1 - naive.value[-1] > right.at(naive.time[-1]) + 0.05


def test_without_censoring_incidence_and_its_error_are_binomial():
    rng = np.random.default_rng(4)
    cause, time = rng.choice(["x", "y"], 50), rng.exponential(1, 50)
    curve = c.aalen_johansen(survival(time, [1] * 50, ["a"] * 50, control="a", unit="y", cause=cause), "x", "a")
    for k in (5, 20, 40):
        share = np.mean((time <= curve.time[k]) & (cause == "x"))
        assert curve.value[k] == pytest.approx(share)
        assert curve.se[k] == pytest.approx(np.sqrt(share * (1 - share) / 50), rel=1e-9)
        assert 0 <= curve.low[k] < share < curve.high[k] <= 1


def test_with_one_cause_the_error_is_greenwoods():
    rng = np.random.default_rng(4)
    event, time = rng.random(60) < 0.6, np.ceil(rng.exponential(5, 60))
    data = survival(time, event, ["a"] * 60, control="a", unit="y", cause=np.where(event, "x", "").tolist())
    km, aj = kaplan_meier(c.composite(data), "a"), c.aalen_johansen(data, "x", "a")
    np.testing.assert_allclose(aj.se[:-1], km.se[:-1], rtol=1e-9)


def test_cause_specific_and_composite_events_count():
    data = random()
    counts = [c.cause_specific(data, cause).event.sum() for cause in data.causes]
    assert sum(counts) == c.composite(data).event.sum() == data.event.sum()


def causes():
    """Statistics of causes x and y, and of their composite."""
    x, y, both = (
        p.from_table(d, np.ones((2, 2)), [1.0], arms=("a", "b"), horizon=4, unit="y")
        for d in ([[1, 2], [2, 1]], [[2, 2], [1, 3]], [[3, 4], [3, 4]])
    )
    return {"x": x, "y": y}, both


def trees(rng, shape=(2, 40)):
    from arviz_base import from_dict

    j = 2
    made = {}
    for cause in ("x", "y"):
        posterior = {"log_hazard": rng.normal(-1, 0.5, (*shape, j)), "log_hr": rng.normal(0, 0.4, (*shape, 1))}
        made[cause] = from_dict({"posterior": posterior})
    return made


def test_double_programmed_posterior_incidence_by_quadrature():
    from scipy.integrate import quad

    parts, s = causes()
    made = trees(np.random.default_rng(1))
    found, free = c.incidence(made, parts, [0.0, 0.7, 3.0], composite=s)
    np.testing.assert_allclose(found["x"] + found["y"] + free, 1.0, rtol=1e-12)
    assert np.all(found["x"][..., 0] == 0)
    h = {
        k: np.exp(t["posterior"]["log_hazard"].values[1, 7] + t["posterior"]["log_hr"].values[1, 7])
        for k, t in made.items()
    }
    total = h["x"] + h["y"]

    def density(t):
        j = int(t > 1)
        return h["x"][j] * np.exp(-(total[0] * min(t, 1) + total[1] * max(t - 1, 0)))

    for i, t in ((1, 0.7), (2, 3.0)):
        expected = quad(density, 0, min(t, 1), epsabs=1e-12)[0] + (quad(density, 1, t)[0] if t > 1 else 0)
        assert found["x"][1, 7, 1, i] == pytest.approx(expected, rel=1e-9)


def test_what_no_incidence_can_be_made_of_is_refused():
    parts, s = causes()
    made = trees(np.random.default_rng(1))
    with pytest.raises(AnalysisError, match="times from 0 to 4 y"):
        c.incidence(made, parts, [5.0], composite=s)
    with pytest.raises(AnalysisError, match="one cause only"):
        c.incidence({"x": made["x"]}, {"x": s}, [1.0], composite=s)
    with pytest.raises(AnalysisError, match="fit all causes alike"):
        c.incidence(made | {"y": trees(np.random.default_rng(1), (2, 30))["y"]}, parts, [1.0], composite=s)
    with pytest.raises(AnalysisError, match="cause 'stroke' is not in the data; write one of death, relapse"):
        c.aalen_johansen(small(), "stroke", "a")
    with pytest.raises(AnalysisError, match="one kind of event"):
        c.composite(survival([1.0], [1], ["a"], control="a", unit="y"))


def e1690():
    path = DATA / "e1684_e1690" / "E1690.csv"
    if not path.exists():
        pytest.skip("E1690 is not here: set COHORT_DATA")
    d = pl.read_csv(path, infer_schema_length=1000)
    event, relapse = d["failcens"].to_numpy() == 1, (d["failtime"] < d["survtime"]).to_numpy()
    cause = np.where(~event, "", np.where(relapse, "relapse", "death")).tolist()
    arm = np.where(d["treatment"].to_numpy() == 1, "interferon", "observation")
    return survival(d["failtime"], event, arm, control="observation", unit="y", cause=cause, zero="half day")


@pytest.mark.slow
def test_independent_posterior_incidence_in_e1690_is_within_the_band_of_aalen_johansen():
    data = e1690()
    assert len(data.causes) == 2
    ends = p.cuts(c.composite(data), 5)
    sampling = Sampling(warmup=500, draws=2000, target_accept=0.99)
    made, parts, s = {}, {}, p.statistics(c.composite(data), ends)
    for seed, cause in enumerate(data.causes):
        parts[cause] = p.statistics(c.cause_specific(data, cause), ends)
        made[cause] = p.fit(parts[cause], seed=seed, sampling=sampling)
    found, _ = c.incidence(made, parts, [0.5, 1.0, 2.0, 4.0], composite=s)
    for cause in data.causes:
        for a, arm in enumerate(data.arms):
            curve = c.aalen_johansen(data, cause, arm)
            at = np.searchsorted(curve.time, [0.5, 1.0, 2.0, 4.0], side="right") - 1
            assert np.all(np.abs(found[cause][:, :, a].mean((0, 1)) - curve.value[at]) < 2 * curve.se[at] + 0.005)


def test_fits_that_are_not_of_the_causes_of_one_composite_are_refused():
    made, (parts, s) = trees(np.random.default_rng(1)), causes()
    other = p.from_table([[1, 2], [1, 2]], np.ones((2, 2)), [1.5], arms=("a", "b"), horizon=4, unit="y")
    with pytest.raises(AnalysisError, match=r"y: cuts \[1.5\]; fit it with those of the composite, \[1.0\]"):
        c.incidence(made, {"x": parts["x"], "y": other}, [1.0], composite=s)
    with pytest.raises(AnalysisError, match="the causes have 12 events and the composite 14"):
        c.incidence(made, {"x": parts["x"], "y": parts["x"]}, [1.0], composite=s)
    longer = p.from_table([[1, 2], [1, 2]], 2 * np.ones((2, 2)), [1.0], arms=("a", "b"), horizon=4, unit="y")
    with pytest.raises(AnalysisError, match="y: its follow-up is not the composite's"):
        c.incidence(made, {"x": parts["x"], "y": longer}, [1.0], composite=s)
    with pytest.raises(AnalysisError, match=r"statistics: of \['x'\]; write those of each fit, \['x', 'y'\]"):
        c.incidence(made, {"x": parts["x"]}, [1.0], composite=s)


def test_a_fit_of_other_events_than_its_statistics_is_refused():
    import xarray as xr

    made, (parts, s) = trees(np.random.default_rng(1)), causes()
    made["x"]["observed_data"] = xr.Dataset({"events": ("row", parts["x"].events)})
    c.incidence(made, parts, [1.0], composite=s)
    made["y"]["observed_data"] = xr.Dataset({"events": ("row", parts["x"].events)})
    with pytest.raises(AnalysisError, match="y: the fit saw other events than its statistics"):
        c.incidence(made, parts, [1.0], composite=s)
