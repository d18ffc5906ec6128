"""One, two and three compartments by every route: the engine against the curves of the textbooks, to its tolerance.

References
----------
[1] NONMEM users guide VI (PREDPP), chapter V: dose event records. Bioavailability shortens an infusion whose rate is
    given and slows one whose duration is; the constant infusion of a steady state ends at the time of its record; a
    steady state (SS = 1) replaces what was there and one more (SS = 2) is added to it; a reset, and SS = 1, cancel
    additional and delayed doses.
[2] Beal 1982, J Pharmacokinet Biopharm 10:109: the course of Michaelis-Menten elimination.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import curves
import numpy as np
import pytest
from curves import absorbed, bolus, constant, infusion, left_from_constant
from scipy.linalg import expm

from cohort.dosing.records import Events
from cohort.engine import CODES, Numerics, solve
from cohort.model import Route

# fmt: off
TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7.75, 8, 10, 12, 12.5, 13, 14, 16, 18, 20, 24, 24.5,
                  25, 28, 30, 36, 36.5, 37, 40, 48, 49, 60, 61, 72, 96])
# fmt: on
PEOPLE = [
    {},
    dict(ka=0.11, f=0.93, lag=1.3, duration=4.0, rate=11.0, cl=6.1, v1=9.0, q2=9.0, v2=14.0, q3=2.5, v3=35.0),
    dict(ka=2.9, f=0.35, lag=0.1, duration=0.7, rate=140.0, cl=0.9, v1=31.0, q2=1.0, v2=55.0, q3=0.3, v3=80.0),
]
NUMERICS = [(solver, backend) for backend in ("native", "xla") for solver in ("linear", "explicit", "stiff")]
RTOL = ATOL = 1e-8


@dataclass(frozen=True)
class Course:
    """What is done to a subject, and the concentration that textbooks give for it: curve(response, subject, times)."""

    name: str
    rows: list[dict[str, Any]]
    curve: Callable[..., Any]
    since_ever: bool = False


def dose(into: str, amount: float = 100.0, time: float = 0.0, **more: Any) -> dict[str, Any]:
    return dict(action="dose", into=into, amount=amount, time=time, **more)


def reset(time: float) -> dict[str, Any]:
    return dict(action="reset", time=time)


def until(t: np.ndarray, end: float, curve: Any) -> np.ndarray:
    """A curve up to a reset, 0 afterwards; an observation at its time comes before it."""
    return np.where(t <= end, curve, 0)


def cycle(t: np.ndarray, lag: float, every: float, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A curve since ever, where a dose taken at 0 arrives after a lag: until then, that of the one that has arrived."""
    since = np.where(t > lag, t - lag, t - lag + every * np.ceil((lag - t) / every + 1e-9))
    return np.where(t > 0, curve(since), 0)


def oral(r: Any, p: dict, t: np.ndarray, amount: float = 100.0) -> np.ndarray:
    return bolus(absorbed(r, p["ka"]), t - p["lag"], p["f"] * amount)


COURSES = [
    Course("a bolus", [dose("iv")], lambda r, p, t: bolus(r, t, 100)),
    Course("a bolus between two visits", [dose("iv", time=2.7)], lambda r, p, t: bolus(r, t - 2.7, 100)),
    Course(
        "repeated boluses",
        [dose("iv", interval=12.0, additional=4)],
        lambda r, p, t: sum(bolus(r, t - 12 * i, 100) for i in range(5)),
    ),
    Course("an infusion of a given rate", [dose("iv", rate=25.0)], lambda r, p, t: infusion(r, t, 100, 4)),
    Course(
        "an infusion of a modelled duration",
        [dose("drip", rate=-2.0)],
        lambda r, p, t: infusion(r, t, 100, p["duration"]),
    ),
    Course(
        "an infusion of a modelled rate",
        [dose("pump", rate=-1.0)],
        lambda r, p, t: infusion(r, t, 100, 100 / p["rate"]),
    ),
    Course(
        "bioavailability shortens an infusion of a given rate",  # [1]
        [dose("patch", rate=25.0)],
        lambda r, p, t: infusion(r, t - p["lag"], p["f"] * 100, p["f"] * 100 / 25),
    ),
    Course(
        "bioavailability slows an infusion of a modelled duration",  # [1]
        [dose("patch", rate=-2.0)],
        lambda r, p, t: infusion(r, t - p["lag"], p["f"] * 100, p["duration"]),
    ),
    Course(
        "bioavailability shortens an infusion of a modelled rate",  # [1]
        [dose("patch", rate=-1.0)],
        lambda r, p, t: infusion(r, t - p["lag"], p["f"] * 100, p["f"] * 100 / p["rate"]),
    ),
    Course(
        "infusions that overlap",
        [dose("iv", rate=25.0, interval=3.0, additional=5)],
        lambda r, p, t: sum(infusion(r, t - 3 * i, 100, 4) for i in range(6)),
    ),
    Course("an oral dose", [dose("oral")], lambda r, p, t: oral(r, p, t)),
    Course(
        "repeated oral doses",
        [dose("oral", interval=8.0, additional=6)],
        lambda r, p, t: sum(oral(r, p, t - 8 * i) for i in range(7)),
    ),
    Course("a dose straight into the depot", [dose("depot")], lambda r, p, t: bolus(absorbed(r, p["ka"]), t, 100)),
    Course(
        "release at a constant rate, then absorption",
        [dose("depot", rate=20.0)],
        lambda r, p, t: infusion(absorbed(r, p["ka"]), t, 100, 5),
    ),
    Course(
        "doses whose lag is longer than their interval",
        [dose("late", interval=6.0, additional=3)],
        lambda r, p, t: sum(bolus(absorbed(r, p["ka"]), t - p["slow"] - 6 * i, 100) for i in range(4)),
    ),
    Course(
        "several routes at once",
        [dose("oral"), dose("iv", 30.0), dose("iv", 40.0, time=3.3, rate=10.0)],
        lambda r, p, t: oral(r, p, t) + bolus(r, t, 30) + infusion(r, t - 3.3, 40, 4),
    ),
    Course(
        "a reset empties every compartment",
        [dose("oral"), reset(10.0), dose("iv", time=13.5)],
        lambda r, p, t: until(t, 10, oral(r, p, t)) + bolus(r, t - 13.5, 100),
    ),
    Course(
        "a reset and a dose at once",
        [dose("iv"), reset(10.0), dose("iv", 50.0, time=10.0)],
        lambda r, p, t: until(t, 10, bolus(r, t, 100)) + bolus(r, t - 10, 50),
    ),
    Course(
        "a reset stops an infusion",
        [dose("iv", rate=5.0), reset(10.0)],
        lambda r, p, t: until(t, 10, infusion(r, t, 100, 20)),
    ),
    Course(
        "a reset cancels what is still to come",  # [1]
        [dose("late"), dose("iv", interval=4.0, additional=9), reset(10.0), dose("iv", 60.0, time=30.5)],
        lambda r, p, t: until(t, 10, sum(bolus(r, t - 4 * i, 100) for i in range(3))) + bolus(r, t - 30.5, 60),
    ),
    Course(
        "boluses since ever",
        [dose("iv", interval=12.0, steady=1)],
        lambda r, p, t: bolus(r, t, 100, every=12),
        since_ever=True,
    ),
    Course(
        "boluses since ever, and on",
        [dose("iv", interval=12.0, steady=1, additional=3)],
        lambda r, p, t: bolus(r, t, 100, every=12) + sum(bolus(r, t - 12 * i, 100) for i in (1, 2, 3)),
        since_ever=True,
    ),
    Course(
        "oral doses since ever, and on",
        [dose("oral", interval=8.0, steady=1, additional=2)],
        lambda r, p, t: (
            cycle(t, p["lag"], 8, lambda e: bolus(absorbed(r, p["ka"]), e, p["f"] * 100, every=8))
            + sum(oral(r, p, t - 8 * i) for i in (1, 2))
        ),
        since_ever=True,
    ),
    Course(
        "infusions since ever",
        [dose("iv", rate=25.0, interval=8.0, steady=1, time=0.5)],
        lambda r, p, t: infusion(r, t - 0.5, 100, 4, every=8),
        since_ever=True,
    ),
    Course(
        "infusions of a modelled duration since ever",
        [dose("drip", rate=-2.0, interval=8.0, steady=1)],
        lambda r, p, t: infusion(r, t, 100, p["duration"], every=8),
        since_ever=True,
    ),
    Course(
        "infusions longer than their interval since ever, and on",
        [dose("iv", rate=10.0, interval=4.0, steady=1, additional=5)],
        lambda r, p, t: infusion(r, t, 100, 10, every=4) + sum(infusion(r, t - 4 * i, 100, 10) for i in range(1, 6)),
        since_ever=True,
    ),
    Course(
        "doses since ever whose lag is longer than their interval",
        [dose("late", interval=6.0, steady=1)],
        lambda r, p, t: cycle(t, p["slow"], 6, lambda e: bolus(absorbed(r, p["ka"]), e, 100, every=6)),
        since_ever=True,
    ),
    Course(
        "infusions with lag, longer than their interval, since ever",
        [dose("patch", rate=3.0, interval=6.0, steady=1)],
        lambda r, p, t: cycle(t, p["lag"], 6, lambda e: infusion(r, e, p["f"] * 100, p["f"] * 100 / 3, every=6)),
        since_ever=True,
    ),
    Course(
        "infusions with bioavailability and lag since ever",
        [dose("patch", rate=25.0, interval=8.0, steady=1)],
        lambda r, p, t: cycle(t, p["lag"], 8, lambda e: infusion(r, e, p["f"] * 100, p["f"] * 4, every=8)),
        since_ever=True,
    ),
    Course(
        "a steady state replaces what was there",
        [dose("iv", rate=4.0), dose("depot"), dose("iv", 50.0, time=13.5, interval=6.0, steady=1)],
        lambda r, p, t: (
            until(t, 13.5, infusion(r, t, 100, 25) + bolus(absorbed(r, p["ka"]), t, 100))
            + bolus(r, t - 13.5, 50, every=6)
        ),
        since_ever=True,
    ),
    Course(
        "a steady state cancels what is still to come",  # [1]
        [dose("late"), dose("iv", interval=4.0, additional=9), dose("iv", 50.0, time=10.5, interval=6.0, steady=1)],
        lambda r, p, t: (
            until(t, 10.5, sum(bolus(r, t - 4 * i, 100) for i in range(3))) + bolus(r, t - 10.5, 50, every=6)
        ),
        since_ever=True,
    ),
    Course(
        "a steady state added to the present: a morning and an evening dose",
        [dose("iv", 100.0, interval=24.0, steady=1, additional=2), dose("iv", 50.0, 14.0, interval=24.0, steady=2)],
        lambda r, p, t: (
            bolus(r, t, 100, every=24) + sum(bolus(r, t - 24 * i, 100) for i in (1, 2)) + bolus(r, t - 14, 50, every=24)
        ),
        since_ever=True,
    ),
    Course(
        "a constant infusion since ever, then none",  # [1]
        [dose("iv", 0.0, rate=7.0, steady=1, time=1.0)],
        lambda r, p, t: left_from_constant(r, t - 1, 7),
        since_ever=True,
    ),
    Course(
        "a constant infusion since ever that goes on for a day",
        [dose("iv", 0.0, rate=7.0, steady=1), dose("iv", 7.0 * 24, rate=7.0)],
        lambda r, p, t: np.where((t > 0) & (t <= 24), constant(r, 7), left_from_constant(r, t - 24, 7)),
        since_ever=True,
    ),
]
OPEN = {course.name: i for i, course in enumerate(COURSES)}
CLOSED = [course for course in COURSES if not course.since_ever]


@cache
def compartments(number: int, closed: bool = False) -> Any:
    return curves.compartments(number, closed)


def person(number: int, which: int) -> dict[str, float]:
    return curves.TYPICAL | PEOPLE[which]


def wanted(number: int, course: Course, times: np.ndarray = TIMES) -> np.ndarray:
    """(people, times)"""
    people = [person(number, i) for i in range(len(PEOPLE))]
    return np.array([course.curve(curves.response(number, p), p, times) for p in people], dtype=float)


def run(model: Any, courses: list[Course], solver: Any, backend: Any, times: Any = TIMES, tol: float = RTOL) -> Any:
    """Outputs of (courses, people, times)."""
    p = curves.subjects(model, PEOPLE * len(courses))
    numerics = Numerics(solver=solver, backend=backend, rtol=tol, atol=tol)
    out, status = solve(
        model, p, curves.events([course.rows for course in courses], len(PEOPLE)), times, numerics=numerics
    )
    assert not np.asarray(status.code).any(), status
    return {n: np.asarray(v).reshape(len(courses), len(PEOPLE), -1) for n, v in vars(out).items()}


@cache
def all_courses(number: int, solver: str, backend: str) -> np.ndarray:
    return run(compartments(number), COURSES, solver, backend)["c"]


def close(got: np.ndarray, want: np.ndarray, solver: str, tol: float = RTOL) -> None:
    """The linear solver is exact to rounding; a stepping one keeps ten times its tolerance."""
    if solver == "linear":
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13 * np.abs(want).max())
    else:
        np.testing.assert_allclose(got, want, rtol=10 * tol, atol=10 * tol)


# --- the oracles themselves ------------------------------------------------------------------------------------------


def by_matrix(number: int, p: dict[str, float], into: str, t: float, rate: float = 0.0, bolus: float = 0.0) -> Any:
    """All states t after a bolus and a constant rate into one of them, by the exponential of the rate matrix."""
    of = compartments(number)
    names = list(of.state.fields())
    q = of.parameters(**{n: p[n] for n in of.parameters.fields()})
    unit = [of.state(**{n: float(n == m) for n in names}) for m in names]
    a = np.array([[float(v) for v in vars(of.ode(0.0, y, q)).values()] for y in unit]).T
    forced = np.zeros((len(names) + 1, len(names) + 1))
    forced[:-1, :-1] = a
    forced[names.index(into), -1] = rate
    start = np.zeros(len(names) + 1)
    start[[names.index(into), -1]] = bolus, 1
    return (expm(forced * t) @ start)[:-1], a, names.index("central")


@pytest.mark.parametrize("which", range(len(PEOPLE)))
@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_curves_of_the_textbooks_are_matrix_exponentials(number: int, which: int):
    p = person(number, which)
    r = curves.response(number, p)
    ab = absorbed(r, p["ka"])
    for t in (0.25, 3.0, 11.0, 40.0):
        for into, answer in (("central", r), ("depot", ab)):
            y, a, central = by_matrix(number, p, into, t, bolus=100.0)
            assert float(bolus(answer, np.array(t), 100)) == pytest.approx(y[central] / p["v1"], rel=1e-12)
            before, _, _ = by_matrix(number, p, into, t, bolus=100.0)
            ever = np.linalg.solve(np.eye(len(a)) - expm(12 * a), before)
            assert float(bolus(answer, np.array(t), 100, every=12)) == pytest.approx(ever[central] / p["v1"], rel=1e-12)
            during, _, _ = by_matrix(number, p, into, min(t, 5.0), rate=20.0)
            after = expm(a * max(t - 5.0, 0)) @ during
            assert float(infusion(answer, np.array(t), 100, 5)) == pytest.approx(after[central] / p["v1"], rel=1e-12)
            level = -np.linalg.solve(a, np.eye(len(a))[list(compartments(number).state.fields()).index(into)])
            assert float(constant(answer, 7)) == pytest.approx(7 * level[central] / p["v1"], rel=1e-12)


@pytest.mark.parametrize("duration", [4, 8, 10, 30])
def test_infusions_since_ever_are_what_very_many_infusions_approach(duration: int):
    r = curves.response(3, person(3, 0))
    t = np.array([0.5, 3.0, 4.0, 7.9, 12.0, 31.0])
    many = np.sum([infusion(r, t + 4 * i, 100, duration) for i in range(800)], axis=0)
    np.testing.assert_allclose(infusion(r, t, 100, duration, every=4).astype(float), many.astype(float), rtol=1e-12)


def test_what_passes_equal_stages_is_a_matrix_exponential():
    stages, ktr, k = 4, 2.0, 0.3
    a = np.diag([-ktr] * stages + [-k]) + np.diag([ktr] * stages, -1)
    for t in (0.1, 1.0, 5.0, 20.0):
        want = expm(a * t)[-1, 0]
        assert curves.after_transit(np.array(t), stages, ktr, k) == pytest.approx(want, rel=1e-12)


# --- the engine against them -----------------------------------------------------------------------------------------


def slow_where_compiled(backend: str, solver: str, number: int) -> Any:
    """XLA takes long to compile, so that the quick tests run the smallest model."""
    marks = [pytest.mark.slow] if backend == "xla" and number > 1 else []
    return pytest.param(number, solver, backend, marks=marks, id=f"{number}-{solver}-{backend}")


HOW = [slow_where_compiled(backend, solver, number) for number in (1, 2, 3) for solver, backend in NUMERICS]


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize(("number", "solver", "backend"), HOW)
def test_a_curve_is_that_of_the_textbook(number: int, solver: str, backend: str, name: str):
    got = all_courses(number, solver, backend)[OPEN[name]]
    close(got, wanted(number, COURSES[OPEN[name]]), solver)


@pytest.mark.parametrize(("number", "solver", "backend"), HOW)
def test_all_that_was_given_is_somewhere(number: int, solver: str, backend: str):
    """With what is eliminated kept, the compartments sum to what has arrived; the curves stay those of the textbook."""
    got = run(compartments(number, closed=True), CLOSED, solver, backend)
    for i, course in enumerate(CLOSED):
        close(got["c"][i], wanted(number, course), solver)
    by_name = {course.name: got["total"][i] for i, course in enumerate(CLOSED)}
    f, lag = (np.array([person(number, i)[n] for i in range(len(PEOPLE))])[:, None] for n in ("f", "lag"))
    tight = 1e-12 if solver == "linear" else 1e-9  # every linear invariant is kept by either method
    bolus_total = 100 * (TIMES > 0) + 0 * f
    oral_total = 100 * f * np.sum([TIMES - 8 * i > lag for i in range(7)], axis=0)
    np.testing.assert_allclose(by_name["a bolus"], bolus_total, rtol=tight)
    np.testing.assert_allclose(by_name["repeated oral doses"], oral_total, rtol=tight)
    running = 25 * np.clip(TIMES, 0, 4) + 0 * f
    np.testing.assert_allclose(by_name["an infusion of a given rate"], running, rtol=tight)


CHAINS = [(stages, solver, "native") for stages in (1, 4, 9) for solver in ("linear", "explicit", "stiff", "auto")]
CHAINS += [(stages, "linear", "xla") for stages in (1, 4)]


@pytest.mark.parametrize(("stages", "solver", "backend"), CHAINS)
def test_a_dose_through_equal_stages_arrives_by_erlangs_distribution(stages: int, solver: Any, backend: Any):
    """The rate matrix then has one eigenvalue many times over and cannot be diagonalised."""
    of = curves.transit(stages)
    p = curves.subjects(of, [{}, dict(ktr=5.0, k=0.1), dict(ktr=0.9, k=0.8)])
    times = np.array([0.0, 0.3, 1, 2, 4, 7, 12, 20, 40])
    numerics = Numerics(solver=solver, backend=backend, rtol=RTOL, atol=ATOL)
    out, status = solve(of, p, Events.of(3, into="oral", amount=10.0), times, numerics=numerics)
    assert not np.asarray(status.code).any()
    want = [10 * curves.after_transit(times, stages, ktr, k) for ktr, k in zip(p.ktr, p.k, strict=True)]
    tolerance = 1e-11 if solver == "linear" else 1e-7
    np.testing.assert_allclose(out.a, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["native", "xla"])
@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-9, 1e-6, 1e-3])
def test_absorption_as_fast_as_elimination_is_no_singularity(apart: float, backend: Any):
    """Where ka meets cl / v, Bateman's difference of exponentials becomes dose * k * t * exp(-k t) / v."""
    of = compartments(1)
    k = 0.25
    p = curves.subjects(of, [dict(ka=k * (1 + apart), cl=3.0, v1=12.0)])
    times = np.array([0.0, 0.5, 2, 4, 8, 16, 32])
    out, _ = solve(
        of, p, Events.of(1, into="depot", amount=100.0), times, numerics=Numerics(solver="linear", backend=backend)
    )
    half = k * apart / 2  # the divided difference of exp at two points so near is that at their middle, to apart²/24
    shape = np.where(apart < 1e-4, 1.0, np.sinh(half * times) / np.where(half * times == 0, 1, half * times))
    shape[0] = 1.0
    want = 100 / 12 * k * (1 + apart) * times * np.exp(-(k + half) * times) * shape
    np.testing.assert_allclose(out.c[0], want, rtol=1e-10)


def test_a_solver_that_nobody_names_is_the_exact_one():
    """`auto` finds that these models are linear."""
    got = run(compartments(2), COURSES, "auto", "native")["c"]
    for i, course in enumerate(COURSES):
        close(got[i], wanted(2, course), "linear")


@pytest.mark.parametrize("solver", ["linear", "explicit", "stiff"])
def test_two_routes_into_one_state_keep_their_own_bioavailability_and_lag(solver: Any):
    of = compartments(1)
    of = of.replace(routes={"a": Route("depot", bioavailability="f"), "b": Route("depot", lag="lag")})
    p = curves.subjects(of, [{}])
    r, q = curves.response(1, curves.TYPICAL), curves.TYPICAL
    given = Events.of(1, into=["a", "b"], amount=[100.0, 40.0], time=[0.0, 1.0])
    out, _ = solve(of, p, given, TIMES, numerics=Numerics(solver=solver, rtol=RTOL, atol=ATOL))
    ab = absorbed(r, q["ka"])
    want = bolus(ab, TIMES, q["f"] * 100) + bolus(ab, TIMES - 1.0 - q["lag"], 40)
    close(np.asarray(out.c)[0], want.astype(float), solver)


# --- steady states that are no sum of exponentials -------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", ["explicit", "stiff"])
def test_a_saturable_drug_swings_between_the_peak_and_trough_that_mass_balance_sets(solver: Any, backend: Any):
    """Over an interval as much is eliminated as given: vmax * every = dose + km * log(peak / trough) [2].

    The nearer a dose is to vmax * every, the more slowly that is reached, and the easier it is to stop too early."""
    of, every = curves.michaelis_menten(), 12.0
    doses = np.array([8.0, 15.0, 20.0, 23.0])
    courses = [
        [
            dose("iv", amount, interval=every, steady=1),
            dict(action="observe", time=0.0),
            dict(action="observe", time=every),
        ]
        for amount in doses
    ]
    p = curves.subjects(of, [{}] * len(doses))
    numerics = Numerics(solver=solver, backend=backend, rtol=RTOL, atol=ATOL)
    out, status = solve(of, p, curves.events(courses), None, numerics=numerics)
    assert not np.asarray(status.code).any()
    trough = doses / np.expm1((p.vmax * every - doses) / p.km)
    np.testing.assert_allclose(out.c, np.stack([trough + doses, trough], axis=1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", ["explicit", "stiff"])
def test_a_constant_infusion_of_a_saturable_drug_levels_off_below_its_capacity(solver: Any, backend: Any):
    of, rates = curves.michaelis_menten(), np.array([0.2, 1.0, 1.9])
    courses = [[dose("iv", 0.0, rate=rate, steady=1), dict(action="observe", time=0.0)] for rate in rates]
    p = curves.subjects(of, [{}] * len(rates))
    numerics = Numerics(solver=solver, backend=backend, rtol=RTOL, atol=ATOL)
    out, status = solve(of, p, curves.events(courses), None, numerics=numerics)
    assert not np.asarray(status.code).any()
    np.testing.assert_allclose(out.c[:, 0], p.km * rates / (p.vmax - rates), rtol=1e-7)


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", ["explicit", "stiff"])
def test_a_constant_infusion_of_an_antibody_levels_off_where_both_ways_out_carry_it(solver: Any, backend: Any):
    """rate = cl * c + vmax * c / (km + c), a quadratic in c. A course that is there stays only as still as rounding
    lets it, which is still enough."""

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        to = p.q * (y.central / p.v1 - y.peripheral / p.v2)
        c = y.central / p.v1
        return dict(central=-p.cl * c - p.vmax * c / (p.km + c) - to, peripheral=to)

    of = curves.model(
        dict(cl=1.0, vmax=6.0, km=2.0, v1=12.0, v2=20.0, q=4.0),
        ("central", "peripheral"),
        ("c",),
        ode,
        lambda t, y, p: dict(c=y.central / p.v1),
        routes={"iv": Route("central")},
    )
    rates = np.array([0.5, 1.0, 1.875, 3.0, 6.0, 10.0, 20.0])
    courses = [[dose("iv", 0.0, rate=rate, steady=1), dict(action="observe", time=0.0)] for rate in rates]
    p = curves.subjects(of, [{}] * len(rates))
    for tolerance in (1e-6, 1e-8, 1e-10):
        numerics = Numerics(solver=solver, backend=backend, rtol=tolerance, atol=tolerance)
        out, status = solve(of, p, curves.events(courses), None, numerics=numerics)
        assert [CODES[c] for c in status.code] == ["finished"] * len(rates)
        b = p.cl * p.km + p.vmax - rates
        want = (-b + np.sqrt(b**2 + 4 * p.cl * p.km * rates)) / (2 * p.cl)
        np.testing.assert_allclose(out.c[:, 0], want, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", ["linear", "explicit", "stiff"])
def test_what_the_body_makes_itself_is_there_beneath_every_dose(solver: Any, backend: Any):
    """A hormone: made at a constant rate, and given. The subject starts away from the level that production sets."""
    of = curves.model(
        dict(made=6.0, k=0.2, start=5.0),
        ("central",),
        ("c",),
        lambda t, y, p: dict(central=p.made - p.k * y.central),
        lambda t, y, p: dict(c=y.central),
        initial=lambda p: dict(central=p.start),
        routes={"iv": Route("central")},
    )
    r = curves.one(0.2, 1.0)
    courses = [
        [dose("iv", time=1.0)],
        [dose("iv", time=1.0, rate=25.0), reset(8.0)],
        [dose("iv", time=1.0, interval=8.0, steady=1)],
    ]
    numerics = Numerics(solver=solver, backend=backend, rtol=RTOL, atol=ATOL)
    out, _ = solve(of, curves.subjects(of, [{}] * 3), curves.events(courses), TIMES, numerics=numerics)

    def own(t: np.ndarray) -> np.ndarray:
        return 30 + (5 - 30) * np.exp(-0.2 * t)

    want = [
        own(TIMES) + bolus(r, TIMES - 1, 100),
        np.where(TIMES > 8, own(TIMES - 8), own(TIMES) + infusion(r, TIMES - 1, 100, 4)),
        np.where(TIMES > 1, 30, own(TIMES)) + bolus(r, TIMES - 1, 100, every=8),
    ]
    close(np.asarray(out.c), np.array(want, dtype=float), solver)


def test_an_interval_of_many_half_lives_of_the_fast_and_few_of_the_slow_process():
    """Absorption within minutes, elimination over months, and nothing observed for six weeks."""
    of = compartments(1)
    p = curves.subjects(of, [dict(ka=100.0, cl=0.001, v1=1.0)])
    out, _ = solve(of, p, Events.of(1, into="depot", amount=100.0), [0, 1000.0], numerics=Numerics(solver="linear"))
    want = bolus(absorbed(curves.one(0.001, 1.0), 100.0), 1000.0, 100)
    np.testing.assert_allclose(out.c[0, 1], float(want), rtol=1e-10)
