"""Pacing and the reading of beats, on potentials whose durations are known."""

import math

import numpy as np
import polars as pl
import pytest

from cohort import Endpoint, Model, Record, Route, Scalar, fixed, last, quantity
from cohort.engine import Numerics, solve
from cohort.pharmacometrics import beats

TAU, REST = 50.0, -80.0


class Covariates(Record):
    nothing: Scalar = quantity("1", "not used")


class Parameters(Record):
    tau: Scalar = fixed(TAU, "ms", about="time constant of the membrane", source="made up")
    rest: Scalar = fixed(REST, "mV", about="potential at rest", source="made up")
    leak: Scalar = fixed(3.0, "uA/uF", about="current whose charge is counted", source="made up")
    area: Scalar = fixed(1.5e-4, "cm**2", about="membrane", source="made up")
    cm: Scalar = fixed(1.0, "uF/cm**2", about="capacitance", source="made up")
    faraday: Scalar = fixed(96485.0, "C/mol", about="Faraday's constant", source="made up")
    v_myo: Scalar = fixed(2.5e-5, "uL", about="cytosol", source="made up")


class State(Record):
    v: Scalar = quantity("mV", "potential")
    ki: Scalar = quantity("mM", "K inside")
    qnet: Scalar = quantity("nC/uF", "charge since the start")


@pytest.fixture(scope="module")
def membrane() -> Model:
    """A passive membrane: a stimulus lifts it, and it falls back exponentially."""
    return Model(
        covariates=Covariates,
        parameters=Parameters,
        state=State,
        outputs=State,
        time="ms",
        individual=lambda p, x: p,
        initial=lambda p: State(v=p.rest, ki=0.0, qnet=0.0),
        ode=lambda t, y, p: State(v=(p.rest - y.v) / p.tau, ki=0.0, qnet=p.leak),
        observe=lambda t, y, p: State(v=y.v, ki=y.ki, qnet=y.qnet),
        routes={"stimulus": Route("v"), "stimulus_potassium": Route("ki")},
        endpoints={"v": Endpoint(lambda seen: last(seen.v), unit="mV", about="potential")},
    )


def test_each_beat_brings_the_potassium_that_carries_its_charge(membrane):
    """40 mV on the membrane's capacitance, in moles by Faraday's constant, in the volume of the cytosol."""
    p = beats.cells(membrane, 2)
    out = solve(membrane, p, beats.pacing(membrane, 5, 2), [5 * beats.CYCLE], numerics=Numerics(solver="explicit"))[0]
    charge = 40e-3 * 1.5e-4 * 1e-6  # C: V x cm2 x F/cm2
    assert out.ki[0, 0] == pytest.approx(5 * charge / 96485.0 / 2.5e-11 * 1e3, rel=1e-9)  # mmol/L


def test_a_membrane_that_falls_exponentially_lasts_as_long_as_its_logarithm_says(membrane):
    """Steepest upstroke in the millisecond of the stimulus; the peak is at its end, and falls by a share s in
    -tau log(1 - s)."""
    table = beats.pace(membrane, beats.cells(membrane, 3, tau=[50.0, 100.0, 200.0]), 4, [1, 4])
    first = table.filter(pl.col("beat") == 1)
    for share in (50, 90):
        expected = -np.array([50.0, 100.0, 200.0]) * math.log(1 - share / 100)
        assert np.abs(first[f"apd{share}"].to_numpy() - expected).max() <= 2.0
    assert table["qnet"].to_numpy() == pytest.approx(np.full(6, 3.0 * 2000 / 1000))
    assert table["failed"].to_list() == [0.0] * 6
    assert table["code"].to_list() == [0] * 6


def test_a_cell_that_cannot_be_solved_is_no_number_and_keeps_its_row(membrane):
    table = beats.pace(membrane, beats.cells(membrane, 2, tau=[50.0, math.nan]), 1)
    assert table["code"].to_list() == [0, 2]
    assert math.isfinite(table["qnet"][0])
    assert table.select(pl.col("qnet", "apd90", "failed").last().is_nan()).row(0) == (
        True,
        True,
        True,
    )


def _action_potential(*corners: tuple[float, float]) -> np.ndarray:
    """Lines from corner to corner, (ms, mV), each millisecond to 1000 ms."""
    at, v = np.array([(0.0, REST), (1.0, 20.0), *corners, (1000.0, REST)]).T
    return np.interp(np.arange(1001.0), at, v)


def test_durations_slope_and_failure_of_drawn_potentials():
    plain = _action_potential((301.0, -80.0))  # falls by 100 mV in 300 ms
    after = _action_potential((101.0, -20.0), (151.0, 5.0), (301.0, -80.0))  # rises by 25 mV in 50 ms on its way
    stuck = np.interp(np.arange(1001.0), [0.0, 1.0, 1000.0], [REST, 20.0, -10.0])
    v = np.stack([plain, after, stuck])
    apd = np.asarray(beats.duration(v, 0.9))
    assert apd[0] == 271.0
    assert apd[1] == math.ceil(301 - 150 * 10 / 85)
    assert math.isnan(apd[2])
    slope = np.asarray(beats.slope(v))
    assert slope[0] == pytest.approx(-1 / 3)
    assert slope[1] == pytest.approx(0.5)
    assert np.asarray(beats.failed(v)).tolist() == [0.0, 1.0, 1.0]
    v[0, 500] = np.nan
    assert math.isnan(beats.failed(v)[0])


def test_the_beat_that_counts_is_the_steepest_and_the_first_of_equals():
    table = pl.DataFrame(
        {
            "cell": [0, 0, 0, 1, 1, 1],
            "beat": [751, 900, 1000, 751, 900, 1000],
            "slope": [-0.3, -0.2, -0.2, math.nan, -0.4, -0.5],
        }
    )
    assert beats.counting(table)["beat"].to_list() == [900, 900]
