"""Whole models: the benchmark's workloads against SciPy at its tightest, and both back ends on the model library."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import curves
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.workloads import WORKLOADS, Workload
from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.library import load
from cohort.model import Model

ROOT = Path(__file__).resolve().parents[2]
FOUR = ["W1", "W2", "W2S", "W3"]
PEOPLE = 2
HORIZON = {"h": 7 * 24.0, "d": 84.0, "min": 24 * 60.0}


def functions(model: Model) -> Any:
    """dy/dt, its Jacobian and the outputs of a model, of plain arrays."""
    state = list(model.state.fields())

    def rates(t: Any, y: Any, p: Any) -> Any:
        made = model.ode(t, model.state(**dict(zip(state, y, strict=True))), p)
        return jnp.stack([jnp.asarray(v, float) for v in vars(made).values()])

    def outputs(t: Any, y: Any, p: Any) -> Any:
        made = model.observe(t, model.state(**dict(zip(state, y, strict=True))), p)
        return jnp.stack([jnp.asarray(v, float) for v in vars(made).values()])

    return jax.jit(rates), jax.jit(jax.jacfwd(rates, argnums=1)), jax.jit(outputs)


def shortened(name: str, doses: int | None) -> Workload:
    """A workload up to the end of so many dosing intervals; None: the whole."""
    w = WORKLOADS[name]
    if doses is None:
        return w
    return dataclasses.replace(w, doses=w.doses[:doses], times=w.times[w.times <= w.doses[doses]])


@functools.cache
def reference(name: str, doses: int | None) -> np.ndarray:
    """SciPy's course of each subject at 1e-12, (outputs, people, visits), begun again at each dose.

    LSODA's error then is below 1e-11, found by comparing it with Radau's at 1e-12 on W2S and W3.
    """
    w = shortened(name, doses)
    model, states = w.model, list(w.model.state.fields())
    rates, jacobian, outputs = functions(model)
    everyone = w.parameters(PEOPLE)
    route = model.routes[w.into]
    made = []
    for i in range(PEOPLE):
        p = model.parameters(**{n: float(v[i]) for n, v in vars(everyone).items()})
        y = np.array([float(v) for v in vars(model.initial(p)).values()])
        seen: list[np.ndarray] = []
        for since, until in zip(w.doses, [*w.doses[1:], w.times[-1]], strict=True):
            arrives = getattr(p, route.bioavailability) if route.bioavailability else 1
            y[states.index(route.state)] += w.amount * arrives
            visits = w.times[(w.times > since) & (w.times <= until)]  # a visit at the time of a dose comes before it
            course = solve_ivp(
                lambda t, y: np.asarray(rates(t, y, p)),  # noqa: B023
                (since, until),
                y,
                method="LSODA",
                t_eval=np.union1d(visits, until),
                jac=lambda t, y: np.asarray(jacobian(t, y, p)),  # noqa: B023
                rtol=1e-12,
                atol=1e-14,
            )
            assert course.success
            seen += [np.asarray(outputs(t, z, p)) for t, z in zip(course.t, course.y.T, strict=True) if t in visits]
            y = course.y[:, -1].copy()
        made.append(np.array(seen).T)
    return np.stack(made, axis=1)


def solved(w: Workload, solver: Any, backend: Any, tolerance: float, n: int = PEOPLE) -> np.ndarray:
    """(outputs, n, visits)"""
    numerics = Numerics(solver=solver, backend=backend, rtol=tolerance, atol=tolerance / 100)
    out, status = solve(w.model, w.parameters(n), w.events(n), w.times, numerics=numerics)
    assert not np.asarray(status.code).any()
    return np.array([np.asarray(v) for v in vars(out).values()])


def error(got: np.ndarray, want: np.ndarray) -> float:
    """The largest error relative to the course: near zero, to a thousandth of its largest value."""
    return float(np.max(np.abs(got - want) / (np.abs(want) + 1e-3 * np.abs(want).max(-1, keepdims=True))))


def method(w: Workload) -> str:
    return "linear" if w.name == "W1" else "stiff" if w.stiff else "explicit"


LENGTH = [pytest.param(4, id="four_doses"), pytest.param(None, id="whole", marks=pytest.mark.slow)]


@pytest.mark.parametrize("doses", LENGTH)
@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FOUR)
def test_a_workload_is_solved_as_scipy_solves_it(name: str, backend: str, doses: int | None):
    w = shortened(name, doses)
    assert error(solved(w, method(w), backend, 1e-8), reference(name, doses)) < (1e-10 if name == "W1" else 1e-7)


@pytest.mark.parametrize("doses", LENGTH)
@pytest.mark.parametrize("name", FOUR)
def test_the_engine_chooses_a_method_that_solves_the_workload(name: str, doses: int | None):
    assert error(solved(shortened(name, doses), "auto", "native", 1e-8), reference(name, doses)) < 1e-7


@pytest.mark.parametrize("name", ["W2", "W3"])
def test_the_method_not_made_for_a_workload_finds_the_same_course(name: str):
    w = shortened(name, 4)
    other = {"explicit": "stiff", "stiff": "explicit"}[method(w)]
    assert error(solved(w, other, "native", 1e-7), reference(name, 4)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUR)
def test_both_back_ends_agree_on_a_workload(name: str):
    w = WORKLOADS[name]
    native, xla = (solved(w, method(w), backend, 1e-8, 100) for backend in ("native", "xla"))
    np.testing.assert_allclose(native, xla, rtol=1e-7, atol=1e-9)


# Of all that takes drugs: what enters the heart cell is a stimulus, see tests/models/test_cipa.py.
@pytest.mark.parametrize(
    "path", [p for p in sorted((ROOT / "models").glob("*.py")) if p.stem != "cipa"], ids=lambda path: path.stem
)
def test_both_back_ends_agree_on_every_model_of_the_library(path: Path):
    """Within ten times the tolerance, after a dose by each route, in twenty subjects of the model's own variability."""
    model, n = load(path.stem), 20
    rng = np.random.default_rng(5)
    z = {name: rng.standard_normal(n) for name in model.effects()}
    x = {}
    for name, meta in model.covariates.fields().items():
        low, high = (0, 0) if meta["levels"] else meta["plausible"]
        middle = np.sqrt(low * high) if 0 < low < high < np.inf else max(low, 0.0) if meta["levels"] else 1.0
        x[name] = np.full(n, middle)
    p = model.subject(model.typical(), z, model.covariates(**x))
    p = model.parameters(**{name: np.broadcast_to(np.asarray(v, float), n).copy() for name, v in vars(p).items()})
    end = HORIZON[model.time]
    rows = [
        dict(action="dose", into=route, amount=100.0, time=end * k / 8, interval=end / 8, additional=1)
        for k, route in enumerate(model.routes)
    ]
    times = end * np.linspace(0, 1, 15)
    made = []
    for backend in ("native", "xla"):
        numerics = Numerics(backend=backend, rtol=1e-8, atol=1e-8)
        out, status = solve(model, p, Events(np.zeros(n, int), curves.events([rows]).rows), times, numerics=numerics)
        assert not np.asarray(status.code).any()
        made.append(np.array([np.asarray(v) for v in vars(out).values()]))
    np.testing.assert_allclose(made[0], made[1], rtol=1e-7, atol=1e-7)
