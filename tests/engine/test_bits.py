"""A patient's bits are the patient's own: alone or in company, in any order, at any width, in any code, on threads."""

import functools
from collections.abc import Sequence
from typing import Any

import curves
import jax
import numpy as np
import polars as pl
import pytest

from benchmarks.workloads import WORKLOADS
from cohort.dosing.covariates import CHANGES, CovariateCourse
from cohort.dosing.records import Events
from cohort.engine import CODES, Numerics, machine, native, problem, program, solve
from cohort.model import Model, Route

N = 40
RTOL, ATOL = 1e-6, 1e-8
SOLVERS: list[Any] = ["linear", "explicit", "stiff"]
WAYS = [
    pytest.param(
        width,
        isa,
        marks=pytest.mark.skipif(
            machine.target() != "avx512" and isa != machine.target(), reason=f"this processor has no {isa}"
        ),
    )
    for isa in ("avx2", "avx512", "native")
    for width in (4, 8, 16)
    if isa != "native" or machine.target() == "native"
]


def take(record: Any, who: Sequence[int]) -> Any:
    return jax.tree.map(lambda a: np.asarray(a)[np.asarray(who, dtype=int)], record)


def bits(out: Any, status: Any) -> np.ndarray:
    """Outputs as whole numbers, (n, outputs, visits), for patients who came through."""
    assert not np.asarray(status.code).any()
    return np.stack([np.asarray(a) for a in vars(out).values()], axis=1).view(np.int64)


def solved(name: str, who: Sequence[int], **how: Any) -> np.ndarray:
    """A workload's first three doses to these of its subjects."""
    w = WORKLOADS[name]
    times = w.times[w.times <= w.doses[3]]
    events = Events.of(len(who), time=w.doses[:3], into=w.into, amount=w.amount)
    method: Any = "linear" if name == "W1" else "stiff" if w.stiff else "explicit"
    numerics = Numerics(solver=method, rtol=RTOL, atol=ATOL)
    return bits(*solve(w.model, take(w.parameters(N), who), events, times, numerics=numerics, **how))


@functools.cache
def together(name: str) -> np.ndarray:
    return solved(name, range(N))


def by(width: int, isa: str = "") -> Any:
    """The native back end at a width and in code of one kind."""
    return functools.partial(native.run, width=width, isa=isa)


# --- the workloads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_patient_alone_is_the_patient_in_company(name: str):
    for i in (0, 7, N - 1):
        assert np.array_equal(solved(name, [i])[0], together(name)[i])


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_order_of_patients_says_nothing(name: str):
    order = np.random.default_rng(8).permutation(N).tolist()
    assert np.array_equal(solved(name, order), together(name)[order])
    some = [31, 4, 4, 17, 4]  # one of them three times
    assert np.array_equal(solved(name, some), together(name)[some])


@pytest.mark.parametrize("name", WORKLOADS)
def test_of_nobody_there_is_no_course(name: str):
    assert solved(name, []).shape == (0, *together(name).shape[1:])


@pytest.mark.parametrize("name", WORKLOADS)
def test_two_threads_do_what_one_does(name: str):
    assert np.array_equal(solved(name, range(N), threads=2), together(name))


@pytest.mark.parametrize(("width", "isa"), WAYS)
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_patient_is_the_same_at_every_width_and_in_all_code(
    name: str, width: int, isa: str, monkeypatch: pytest.MonkeyPatch
):
    want = together(name)
    monkeypatch.setattr(native, "run", by(width, isa))
    assert np.array_equal(solved(name, range(N)), want)


# --- what is done to the others --------------------------------------------------------------------------------------


def dose(into: str, amount: float, time: float = 0.0, **more: Any) -> dict[str, Any]:
    return dict(action="dose", into=into, amount=amount, time=time, **more)


TWO = curves.compartments(2)
TIMES = np.array([0.0, 1.0, 6.0, 12.0, 150.0, 300.0])
COURSES: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "a bolus": [dose("iv", 100)],
    "a bolus by mouth": [dose("oral", 100)],
    "an infusion": [dose("iv", 100, rate=30.0), dose("iv", 50, 7.0)],
    "an infusion of modelled duration": [dose("drip", 100, 2.0, rate=-2)],
    "an infusion into the depot": [dose("oral", 100, rate=20.0)],
    "doses every other hour": [dose("oral", 100, 2.0, interval=2.0, additional=3)],
    "doses for ten days": [dose("iv", 20, 13.0, interval=12.0, additional=20)],
    "a steady state": [dose("iv", 100, interval=12.0, steady=1)],
    "a steady state of infusions": [dose("iv", 100, rate=25.0, interval=12.0, steady=1)],
    "a steady state on top": [dose("oral", 30), dose("iv", 100, 2.0, interval=12.0, steady=2)],
    "a reset": [dose("iv", 100, rate=10.0), dict(action="reset", time=4.0), dose("iv", 60, 4.0)],
    "a late start": [dose("oral", 80, 140.0)],
}


@functools.cache
def people() -> Any:
    rng = np.random.default_rng(9)
    return curves.subjects(TWO, [{k: v * rng.lognormal(0, 0.3) for k, v in curves.TYPICAL.items()} for _ in range(N)])


def treated(who: Sequence[int], courses: Sequence[str], solver: Any, of: Model = TWO, **how: Any) -> np.ndarray:
    """Some of the people, each on a course."""
    events = curves.events([COURSES[name] for name in courses])
    numerics = Numerics(solver=solver, rtol=RTOL, atol=ATOL)
    return bits(*solve(of, take(people(), who), events, TIMES, numerics=numerics, **how))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_crowd_on_all_kinds_of_courses_is_so_many_patients_alone(solver: str):
    names = [list(COURSES)[i % len(COURSES)] for i in np.random.default_rng(10).permutation(N)]
    crowd = treated(range(N), names, solver)
    assert np.array_equal(treated(range(N), names, solver, threads=2), crowd)
    order = np.random.default_rng(11).permutation(N).tolist()
    assert np.array_equal(treated(order, [names[i] for i in order], solver), crowd[order])
    for i in range(0, N, 3):
        assert np.array_equal(treated([i], [names[i]], solver)[0], crowd[i]), names[i]


@pytest.mark.parametrize(("width", "isa"), WAYS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_crowd_is_the_same_at_every_width_and_in_all_code(
    solver: str, width: int, isa: str, monkeypatch: pytest.MonkeyPatch
):
    names = [list(COURSES)[i % len(COURSES)] for i in range(N)]
    want = treated(range(N), names, solver)
    monkeypatch.setattr(native, "run", by(width, isa))
    assert np.array_equal(treated(range(N), names, solver), want)


@pytest.mark.parametrize("infused", ["W2", "W2S", "W3"])
def test_an_infusion_into_a_neighbour_is_not_felt(infused: str):
    """In stiff models, dosed by mouth or under the skin, where the neighbour's infusion runs into the same state."""
    w = WORKLOADS[infused]
    numerics, times = Numerics(solver="stiff", rtol=RTOL, atol=ATOL), w.times[:15]
    p = take(w.parameters(N), range(5))
    bolus = bits(*solve(w.model, p, Events.of(5, into=w.into, amount=w.amount), times, numerics=numerics))
    rate = [0.0, w.amount / 3]
    mixed = Events.of(5, np.array([0, 0, 0, 0, 1]), course=[0, 1], into=w.into, amount=w.amount, rate=rate)
    assert np.array_equal(bits(*solve(w.model, p, mixed, times, numerics=numerics))[:4], bolus[:4])


@pytest.mark.parametrize("name", ["W1", "W2S", "W3"])
def test_a_patient_is_the_same_whatever_was_solved_before(name: str):
    """The program of a patient does not remember for whom else the model was written down."""
    for cache in (program.dynamics, problem.parts, native.kernel):
        cache.cache_clear()
    w = WORKLOADS[name]
    infusions = Events.of(1, into=list(w.model.state.fields())[-1], amount=1.0, rate=10.0)
    for other in SOLVERS if name == "W1" else SOLVERS[1:]:
        numerics = Numerics(solver=other, rtol=1e-3, atol=1e-3)
        solve(w.model, take(w.parameters(N), [0]), infusions, [0.0, 0.01], numerics=numerics)
    after = solved(name, [0, 1])
    for cache in (program.dynamics, problem.parts, native.kernel):
        cache.cache_clear()
    assert np.array_equal(solved(name, [0, 1]), after)


# --- patients of a linear model on one course, all at once -----------------------------------------------------------

SHARED = ["nothing", "a bolus", "an infusion", "an infusion into the depot", "doses for ten days", "a reset"]


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("sizes", [[40], [36, 4], [17, 22, 1]], ids=str)
def test_patients_taken_through_a_course_together_are_those_taken_one_by_one(
    sizes: list[int], width: int, monkeypatch: pytest.MonkeyPatch
):
    """Several courses, of so many patients each."""
    ways: list[bool] = []  # whether the patients of a course were taken together
    compiled = native.kernel

    def kernel(posed: Any, shared: bool, width: int, isa: str) -> Any:
        ways.append(shared)
        return compiled(posed, shared, width, isa)

    monkeypatch.setattr(native, "kernel", kernel)
    monkeypatch.setattr(native, "run", by(width))
    p = people().replace(lag=np.zeros(N), f=np.full(N, 0.7))  # which would make courses differ
    follows = np.random.default_rng(12).permutation(np.repeat(np.arange(len(sizes)), sizes))
    for k in range(len(SHARED) - len(sizes) + 1):
        events = Events(follows, curves.events([COURSES[name] for name in SHARED[k : k + len(sizes)]]).rows)
        at_once = bits(*solve(TWO, p, events, TIMES, numerics=Numerics(solver="linear")))
        with monkeypatch.context() as m:
            m.setattr(native, "TOGETHER", ())
            one_by_one = bits(*solve(TWO, p, events, TIMES, numerics=Numerics(solver="linear")))
        assert np.array_equal(one_by_one, at_once), SHARED[k]
        assert ways[-2:] == [width * len(sizes) <= N, False]


# --- covariates that change ------------------------------------------------------------------------------------------


def weighed() -> Model:
    """One compartment whose clearance follows the body weight."""
    return curves.model(
        dict(cl=3.0, v=12.0),
        ("central",),
        ("c",),
        lambda t, y, p: dict(central=-p.cl / p.v * y.central),
        lambda t, y, p: dict(c=y.central / p.v),
        individual=lambda p, x: p.replace(cl=p.cl * (x.weight / 70) ** 0.75),
        routes={"iv": Route("central")},
    )


@pytest.mark.parametrize("linear", [frozenset(), frozenset({"weight"})], ids=["in steps", "along lines"])
@pytest.mark.parametrize("solver", ["auto", "explicit", "stiff"])
def test_a_patient_is_the_same_whatever_the_neighbours_weigh(solver: Any, linear: frozenset[str]):
    of, rng = weighed(), np.random.default_rng(13)
    weight = rng.uniform(50, 110, N)
    p = curves.subjects(of, [dict(cl=3 * rng.lognormal(0, 0.3)) for _ in range(N)])
    lighter = {i: dict(time=4.0 + i % 3, name="weight", value=weight[i] - 5) for i in range(0, N, 2)}

    def run(who: list[int]) -> np.ndarray:
        changes = [dict(subject=k) | lighter[i] for k, i in enumerate(who) if i in lighter]
        course = CovariateCourse(of.covariates(weight=weight[who]), pl.DataFrame(changes, schema=CHANGES), linear)
        events = Events.of(len(who), into="iv", amount=100.0, interval=5.0, additional=2)
        numerics = Numerics(solver=solver, rtol=RTOL, atol=ATOL)
        return bits(*solve(of, take(p, who), events, [0.0, 3.0, 6.0, 20.0], numerics=numerics, covariates=course))

    crowd = run(list(range(N)))
    for i in (0, 1, 16, 39):
        assert np.array_equal(run([i])[0], crowd[i]), i


# --- neighbours that fail --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["W1", "W2", "W2S", "W3"])
def test_a_neighbour_that_fails_leaves_no_trace(name: str):
    """One is no number from the start, one becomes none by its dose, one never arrives: its rates are too fast."""
    w = WORKLOADS[name]
    method: Any = "linear" if name == "W1" else "stiff" if w.stiff else "explicit"
    numerics = Numerics(solver=method, rtol=RTOL, atol=ATOL, most=2000)
    times = w.times[w.times <= w.doses[2]]

    def run(p: Any, amount: list[float]) -> tuple[Any, Any]:
        return solve(w.model, p, Events.of(N, np.arange(N), course=range(N), into=w.into, amount=amount), times,
                     numerics=numerics)  # fmt: skip

    p, amount = w.parameters(N), [w.amount] * N
    healthy = bits(*run(p, amount))
    ill = {k: np.array(v) for k, v in vars(p).items()}
    first = next(iter(ill))
    ill[first][3] = np.nan
    ill[first][11] = 1e300
    amount[20] = np.nan
    out, status = run(type(p)(**ill), amount)
    failed = np.flatnonzero(status.code)
    assert {3, 20} <= set(failed) <= {3, 11, 20}
    assert {CODES[k] for k in np.asarray(status.code)[[3, 20]]} == {"not finite"}
    made = np.stack([np.asarray(a) for a in vars(out).values()], axis=1)
    assert np.isnan(made[failed]).all()
    others = np.setdiff1d(np.arange(N), [3, 11, 20])
    assert np.array_equal(made[others].view(np.int64), healthy[others])


def test_a_neighbour_at_the_limit_of_steps_leaves_no_trace():
    w = WORKLOADS["W2"]
    times = w.times[w.times <= 24]
    numerics = Numerics(solver="explicit", rtol=RTOL, atol=ATOL, most=300)
    events = Events.of(N, into=w.into, amount=w.amount)
    healthy = bits(*solve(w.model, w.parameters(N), events, times, numerics=numerics))
    slow = np.arange(0, N, 7)
    ka = np.array(w.parameters(N).ka)
    ka[slow] = 1e7
    out, status = solve(w.model, w.parameters(N).replace(ka=ka), events, times, numerics=numerics)
    assert np.flatnonzero(status.code).tolist() == slow.tolist()
    assert {CODES[k] for k in np.asarray(status.code)[slow]} == {"step limit"}
    assert set(np.asarray(status.state)[slow]) == {"depot"}
    made = np.stack([np.asarray(a) for a in vars(out).values()], axis=1)
    others = np.setdiff1d(np.arange(N), slow)
    assert np.array_equal(made[others].view(np.int64), healthy[others])
