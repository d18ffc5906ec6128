"""The engine in JAX: the same bits in any company, the textbook's curves and the other back end's, and derivatives."""

from typing import Any

import curves
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from curves import TYPICAL
from scipy.integrate import solve_ivp

from cohort.dosing.covariates import CHANGES, CovariateCourse
from cohort.dosing.records import Events
from cohort.engine import CODES, Numerics, differentiable, solve
from cohort.model import Decision, Model, Record, Route, Rule

SOLVERS = ["linear", "explicit", "stiff"]
STEPPING = ["explicit", "stiff"]
TIMES = np.array([0.0, 1, 2, 5, 8, 12, 20, 30, 40])
N = 200

TABLETS = [dict(action="dose", into="oral", amount=100.0, interval=12.0, additional=2)]
HOSPITAL = [
    dict(action="dose", into="iv", amount=50.0, time=3.0, rate=10.0),
    dict(action="reset", time=13.0),
    dict(action="dose", into="oral", amount=10.0, time=14.0, interval=12.0, steady=1),
    dict(action="dose", into="iv", amount=5.0, time=21.0, interval=6.0, steady=2),
    dict(action="other", time=22.0),
]


def saturable() -> Model:
    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        c = y.central / p.v1
        return dict(depot=-p.ka * y.depot, central=p.ka * y.depot - p.cl * c / (1 + c))

    return curves.model(
        dict(ka=1.0, cl=3.0, v1=12.0),
        ("depot", "central"),
        ("c",),
        ode,
        lambda t, y, p: dict(c=y.central / p.v1),
        routes={"oral": Route("depot"), "iv": Route("central")},
    )


def people(n: int = N) -> list[dict[str, float]]:
    z = np.exp(0.3 * np.random.default_rng(7).standard_normal((n, 3)))
    return [dict(cl=3 * a, v1=12 * b, ka=c) for a, b, c in z.tolist()]


def numerics(solver: Any, backend: Any = "xla", tolerance: float = 1e-8, **more: Any) -> Numerics:
    return Numerics(solver=solver, backend=backend, rtol=tolerance, atol=tolerance, **more)


def seen(of: Model, who: list[dict], events: Events, how: Numerics, times: Any = TIMES, **more: Any) -> np.ndarray:
    """Concentrations, (n, visits), of subjects who all finish."""
    out, status = solve(of, curves.subjects(of, who), events, times, numerics=how, **more)
    assert not np.asarray(status.code).any()
    return np.asarray(out.c)


@pytest.fixture(scope="module", params=SOLVERS)
def crowd(request: pytest.FixtureRequest) -> tuple[Model, Numerics, np.ndarray]:
    """Two hundred subjects on tablets, as one solver sees them."""
    of = curves.compartments(2) if request.param == "linear" else saturable()
    how = numerics(request.param)
    return of, how, seen(of, people(), curves.events([TABLETS], N), how)


# --- bits ------------------------------------------------------------------------------------------------------------


def test_a_subjects_bits_are_the_same_alone_in_part_and_in_any_order(crowd: tuple[Model, Numerics, np.ndarray]):
    of, how, all_of_them = crowd
    order = np.random.default_rng(3).permutation(N)
    for who in (order, np.arange(30, 170), np.array([7])):
        got = seen(of, [people()[i] for i in who], curves.events([TABLETS], len(who)), how)
        np.testing.assert_array_equal(got, all_of_them[who])


def test_a_subjects_bits_do_not_depend_on_what_is_done_to_others(crowd: tuple[Model, Numerics, np.ndarray]):
    of, how, all_of_them = crowd
    rows = curves.events([TABLETS, HOSPITAL]).rows
    course = np.arange(N) % 2
    mixed = seen(of, people(), Events(course, rows), how)
    np.testing.assert_array_equal(mixed[::2], all_of_them[::2])
    few = [1, 3, 77]
    np.testing.assert_array_equal(seen(of, [people()[i] for i in few], Events(course[few], rows), how), mixed[few])


def test_a_subjects_bits_do_not_depend_on_threads(crowd: tuple[Model, Numerics, np.ndarray]):
    of, how, all_of_them = crowd
    many = 3 * people()
    got = seen(of, many, curves.events([TABLETS], len(many)), how, threads=2)
    np.testing.assert_array_equal(got, np.tile(all_of_them, (3, 1)))


# --- curves known from elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_boluses_infusions_and_steady_states_are_the_textbooks(solver: str):
    of, response = curves.compartments(2), curves.response(2, TYPICAL)
    each = {
        "bolus": ([dict(action="dose", into="iv", amount=100.0)], curves.bolus(response, TIMES, 100)),
        "by mouth": (
            [dict(action="dose", into="oral", amount=100.0, time=1.0)],
            curves.bolus(curves.absorbed(response, TYPICAL["ka"]), TIMES - 1 - TYPICAL["lag"], 100 * TYPICAL["f"]),
        ),
        "infusion": (
            [dict(action="dose", into="iv", amount=60.0, time=2.0, rate=10.0)],
            curves.infusion(response, TIMES - 2, 60, 6),
        ),
        "modelled duration": (
            [dict(action="dose", into="drip", amount=60.0, time=2.0, rate=-2.0)],
            curves.infusion(response, TIMES - 2, 60, TYPICAL["duration"]),
        ),
        "steady": (
            [dict(action="dose", into="iv", amount=100.0, interval=12.0, steady=1)],
            curves.bolus(response, TIMES, 100, every=12),
        ),
        "reset": ([dict(action="dose", into="iv", amount=100.0), dict(action="reset", time=5.0)],
                  curves.bolus(response, TIMES, 100) * (TIMES <= 5)),
    }  # fmt: skip
    got = seen(of, [{}] * len(each), curves.events([rows for rows, _ in each.values()]), numerics(solver))
    want = np.array([curve for _, curve in each.values()], dtype=float)
    np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-7)


def test_evolocumab_is_as_scipy_solves_it(evolocumab: Model):
    p, rng = evolocumab.parameters(), np.random.default_rng(5)
    effects = {name: getattr(p, name) * np.exp(0.3 * rng.standard_normal(3)) for name in evolocumab.effects()}
    p = type(p)(**{n: np.broadcast_to(np.asarray(v, float), 3) for n, v in (vars(p) | effects).items()})
    doses, visits, amount = np.array([0.0, 14.0, 28.0]), np.array([0.0, 7.0, 14.0, 21.0, 28.0, 35.0, 56.0]), 1000.0
    name, route = next((n, r) for n, r in evolocumab.routes.items() if r.state == "depot")
    events = Events.of(3, time=doses, into=name, amount=amount)
    got, _ = solve(evolocumab, p, events, visits, numerics=numerics("explicit"))

    slope = jax.jit(lambda t, y, q: evolocumab.ode(t, evolocumab.state(**y), q))
    states = list(evolocumab.state.fields())
    for i in range(3):
        q = jax.tree.map(lambda a, i=i: float(a[i]), p)
        y = np.array([float(v) for v in vars(evolocumab.initial(q)).values()])

        def rates(t: float, y: np.ndarray, q: Any = q) -> list[float]:
            return [float(v) for v in vars(slope(t, dict(zip(states, y, strict=True)), q)).values()]

        for k, t in enumerate(visits):
            want = evolocumab.observe(t, evolocumab.state(**dict(zip(states, y, strict=True))), q)
            for output, value in vars(want).items():
                np.testing.assert_allclose(getattr(got, output)[i, k], value, rtol=1e-6, atol=1e-6, err_msg=output)
            if t in doses:
                y[states.index("depot")] += amount * (getattr(q, route.bioavailability) if route.bioavailability else 1)
            if t < visits[-1]:
                y = solve_ivp(rates, (t, visits[k + 1]), y, method="LSODA", rtol=1e-10, atol=1e-10).y[:, -1]


# --- the other back end ----------------------------------------------------------------------------------------------


def both(of: Model, who: list[dict], events: Events, solver: str, **more: Any) -> list[np.ndarray]:
    return [seen(of, who, events, numerics(solver, backend), **more) for backend in ("native", "xla")]


@pytest.mark.parametrize("solver", STEPPING)
def test_every_kind_of_event_is_as_in_the_native_back_end(solver: str):
    events = curves.events([TABLETS, HOSPITAL], 8)
    native, xla = both(saturable(), people(16), events, solver)
    np.testing.assert_allclose(xla, native, rtol=1e-7, atol=1e-7)


class Memory(Record):
    last: Any = 100.0


def titrate(t: Any, looked: Any, memory: Memory) -> Decision:
    """Up while the concentration is low, with a drip that follows it down."""
    amount = jnp.where(looked.c < 3.0, memory.last * 1.5, memory.last * 0.5)
    return Decision(Memory(last=amount), {"oral": amount}, {"iv": jnp.maximum(2.0 - looked.c, 0.0)})


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_rule_sees_and_orders_as_in_the_native_back_end(solver: str):
    of = curves.compartments(2)
    rows = [dict(action="dose", into="oral", amount=100.0, interval=8.0, additional=3)]
    rows += [dict(action="decide", time=t) for t in (7.5, 15.5, 23.5)]
    noise = np.random.default_rng(2).standard_normal((6, 3, 2))
    more = dict(rule=Rule(Memory, titrate, "titration"), noise=noise)
    native, xla = both(of, people(6), curves.events([rows], 6), solver, **more)
    np.testing.assert_allclose(xla, native, rtol=1e-7, atol=1e-7)
    unruled = seen(of, people(6), curves.events([rows], 6), numerics(solver))
    assert (np.abs(unruled - xla)[:, -3:] > 0.01 * unruled[:, -3:]).all()  # the rule has changed every course


@pytest.mark.parametrize("linear", [frozenset(), frozenset({"weight"})], ids=["steps", "lines"])
def test_weight_that_changes_on_the_way_is_as_in_the_native_back_end(linear: frozenset[str]):
    of = saturable()
    of = of.replace(individual=lambda p, x: p.replace(cl=p.cl * (x.weight / 70) ** 0.75, v1=p.v1 * x.weight / 70))
    changes = dict(subject=[0, 0, 2], time=[6.0, 20.0, 10.0], name=["weight"] * 3, value=[60.0, 95.0, 40.0])
    start = of.covariates(weight=np.array([70.0, 80.0, 90.0]))
    weights = CovariateCourse(start, pl.DataFrame(changes, schema=CHANGES), linear)
    native, xla = both(of, people(3), curves.events([TABLETS], 3), "explicit", covariates=weights)
    np.testing.assert_allclose(xla, native, rtol=1e-7, atol=1e-7)


# --- failures --------------------------------------------------------------------------------------------------------


def explosive() -> Model:
    """y' = y²: from y0 on, infinite at 1 / y0. A bystander decays."""
    return curves.model(
        dict(y0=0.01),
        ("quiet", "hot"),
        ("hot", "quiet"),
        lambda t, y, p: dict(quiet=-y.quiet, hot=y.hot**2),
        lambda t, y, p: dict(hot=y.hot, quiet=y.quiet),
        initial=lambda p: dict(hot=p.y0, quiet=1.0),
        routes={"in": Route("hot")},
    )


@pytest.mark.parametrize("solver", STEPPING)
def test_a_course_without_end_is_reported_and_harms_nobody(solver: str):
    of, y0 = explosive(), np.full(150, 0.01)
    how = numerics(solver, most=2000)
    times = np.array([0.0, 1.0, 4.0, 10.0])
    well, _ = solve(of, of.parameters(y0=y0), Events.none(150), times, numerics=how)
    y0[[3, 140]] = 0.5  # infinite at t = 2
    out, status = solve(of, of.parameters(y0=y0), Events.none(150), times, numerics=how)
    failed = np.isin(np.arange(150), [3, 140])
    np.testing.assert_array_equal(np.asarray(status.code) != CODES.index("finished"), failed)
    np.testing.assert_allclose(np.asarray(status.time)[failed], 2.0, rtol=1e-3)
    assert set(np.asarray(status.state)[failed]) == {"hot"}
    assert np.isnan(np.asarray(out.hot)[failed]).all()
    np.testing.assert_array_equal(np.asarray(out.hot)[~failed], np.asarray(well.hot)[~failed])


@pytest.mark.parametrize("solver", STEPPING)
def test_more_steps_than_allowed_is_the_step_limit(solver: str):
    of = explosive()
    _, status = solve(
        of, of.parameters(y0=np.array([0.01, 0.1])), Events.none(2), [0.0, 9.9], numerics=numerics(solver, most=5)
    )
    assert [CODES[c] for c in np.asarray(status.code)] == ["step limit", "step limit"]
    assert (np.asarray(status.time) < 9.9).all()


@pytest.mark.parametrize("solver", STEPPING)
def test_a_parameter_that_is_no_number_fails_that_subject_at_once(solver: str):
    of = explosive()
    out, status = solve(
        of, of.parameters(y0=np.array([0.01, np.nan])), Events.none(2), [1.0, 2.0], numerics=numerics(solver)
    )
    assert [CODES[c] for c in np.asarray(status.code)] == ["finished", "not finite"]
    np.testing.assert_allclose(np.asarray(out.hot)[0], 1 / (100 - np.array([0.0, 1.0])), rtol=1e-7)


# --- derivatives -----------------------------------------------------------------------------------------------------


def elimination(p: dict[str, float], t: np.ndarray) -> dict[str, np.ndarray]:
    """Derivatives of 100 mg / v1 exp(-cl t / v1)."""
    c = 100 / p["v1"] * np.exp(-p["cl"] / p["v1"] * t)
    return dict(cl=-c * t / p["v1"], v1=c * (p["cl"] * t / p["v1"] ** 2 - 1 / p["v1"]))


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_derivative_of_a_bolus_is_that_of_the_formula(solver: str):
    of = curves.compartments(1)
    times = TIMES[1:]
    events = curves.events([[dict(action="dose", into="iv", amount=100.0)]])
    f = differentiable(of, events, times, numerics=numerics(solver))
    jacobian = jax.jit(jax.jacfwd(f))(of.parameters())
    for name, want in elimination(TYPICAL, times).items():
        np.testing.assert_allclose(getattr(jacobian.c, name)[0], want, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("solver", STEPPING)
def test_the_derivative_of_saturable_kinetics_is_its_difference_quotient(solver: str):
    of, who = saturable(), people(3)
    p = curves.subjects(of, who)
    f = differentiable(of, curves.events([TABLETS], 3), TIMES, numerics=numerics(solver, tolerance=1e-10))
    way = of.parameters(ka=np.ones(3), cl=np.full(3, -0.5), v1=np.full(3, 2.0))
    value, slope = jax.jvp(f, (p,), (way,))
    step = 1e-4
    ahead, behind = (f(jax.tree.map(lambda a, d, s=sign: a + s * step * d, p, way)) for sign in (1, -1))
    np.testing.assert_allclose(slope.c, (ahead.c - behind.c) / (2 * step), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value.c, f(p).c, rtol=1e-12)


def test_many_parameters_at_once_are_each_by_itself():
    of = saturable()
    f = differentiable(of, curves.events([TABLETS]), TIMES, numerics=numerics("explicit"))
    p = curves.subjects(of, people(5))
    together = jax.vmap(f)(p)
    for i in range(5):
        alone = f(jax.tree.map(lambda a, i=i: a[i], p))
        np.testing.assert_allclose(together.c[i], alone.c, rtol=1e-9, atol=1e-12)
