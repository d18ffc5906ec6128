"""What is done to a subject and when: the order of things at one time, whose visits, and what may be rearranged."""

from typing import Any

import curves
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from curves import TYPICAL, absorbed, bolus, infusion
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from cohort.dosing.covariates import CHANGES, CovariateCourse
from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.model import Model, Route, category, quantity

ONE, TWO = curves.compartments(1), curves.compartments(2)
RESPONSE = curves.response(2, TYPICAL)
TIMES = np.array([0.0, 1, 2, 3, 5, 7, 8, 11, 12, 16, 24, 30])
LINEAR = Numerics(solver="linear")
ALL = [Numerics(solver=solver, rtol=1e-9, atol=1e-9) for solver in ("linear", "explicit", "stiff")]


def dose(into: str, amount: float, time: float = 0.0, **more: Any) -> dict[str, Any]:
    return dict(action="dose", into=into, amount=amount, time=time, **more)


def observe(*times: float) -> list[dict[str, Any]]:
    return [dict(action="observe", time=t) for t in times]


def seen(courses: list[list[dict]], times: Any = TIMES, of: Model = TWO, numerics: Numerics = LINEAR) -> np.ndarray:
    """Concentrations, (courses, visits), of one typical subject on each course."""
    p = curves.subjects(of, [{}] * len(courses))
    out, status = solve(of, p, curves.events(courses), times, numerics=numerics)
    assert not np.asarray(status.code).any()
    return np.asarray(out.c)


def same(got: np.ndarray, want: np.ndarray, numerics: Numerics = LINEAR) -> None:
    tolerance = 1e-11 if numerics.solver == "linear" else 10 * numerics.rtol
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# --- dose and observation at one time --------------------------------------------------------------------------------


@pytest.mark.parametrize("numerics", ALL, ids=lambda n: n.solver)
def test_a_visit_at_the_time_of_a_dose_sees_the_trough(numerics: Numerics):
    got = seen([[dose("iv", 100, interval=12.0, additional=1)]], numerics=numerics)[0]
    assert got[0] == 0
    want = bolus(RESPONSE, TIMES, 100) + bolus(RESPONSE, TIMES - 12, 100)
    same(got, want.astype(float), numerics)


@pytest.mark.parametrize("numerics", ALL, ids=lambda n: n.solver)
def test_in_a_table_the_order_of_its_rows_decides_between_trough_and_peak(numerics: Numerics):
    first = [dose("iv", 100)]
    before = [*first, *observe(5.0), dose("iv", 50, 5.0), *observe(8.0)]
    after = [*first, dose("iv", 50, 5.0), *observe(5.0, 8.0)]
    around = [*first, *observe(5.0), dose("iv", 50, 5.0), *observe(5.0)]
    got = seen([before, after, around], None, numerics=numerics)
    trough = float(bolus(RESPONSE, np.array(5.0), 100))
    peak = trough + 50 / TYPICAL["v1"]
    later = float(bolus(RESPONSE, np.array(8.0), 100) + bolus(RESPONSE, np.array(3.0), 50))
    same(got, np.array([[trough, later], [peak, later], [trough, peak]]), numerics)


@pytest.mark.parametrize("numerics", ALL, ids=lambda n: n.solver)
def test_a_steady_state_is_seen_from_its_row_on(numerics: Numerics):
    """Observed before the row, nothing has been given; after it, the peak of doses since ever."""
    rows = [*observe(1.0), dose("iv", 100, 1.0, interval=12.0, steady=1), *observe(1.0, 13.0)]
    got = seen([rows], None, numerics=numerics)[0]
    trough = float(bolus(RESPONSE, np.array(12.0), 100, every=12))
    same(got, np.array([0.0, trough + 100 / TYPICAL["v1"], trough]), numerics)


@pytest.mark.parametrize("numerics", ALL, ids=lambda n: n.solver)
def test_a_visit_planned_for_an_additional_dose_sees_its_trough_though_the_sums_round(numerics: Numerics):
    """Three times 0.1 is not 0.3 to a computer, and is to a nurse."""
    times = np.arange(12) / 10
    got = seen([[dose("iv", 100, interval=0.1, additional=11)]], times, numerics=numerics)[0]
    want = [sum(bolus(RESPONSE, (i - k) * 0.1, 100) for k in range(i)) for i in range(12)]
    same(got, np.array(want, dtype=float), numerics)


def test_an_infusion_has_given_nothing_at_its_start_and_all_at_its_end():
    of = curves.compartments(1, closed=True)
    rows = [dose("iv", 40, 2.0, rate=10.0), *observe(2.0, 4.0, 6.0, 9.0)]
    out, _ = solve(of, curves.subjects(of, [{}]), curves.events([rows]), None, numerics=LINEAR)
    np.testing.assert_allclose(np.asarray(out.total)[0], [0, 20, 40, 40], rtol=1e-12)


def test_a_reset_and_a_dose_at_one_time_follow_the_order_of_their_rows():
    reset = dict(action="reset", time=4.0)
    kept = [dose("iv", 100), reset, dose("iv", 30, 4.0), *observe(4.0)]
    lost = [dose("iv", 100), dose("iv", 30, 4.0), reset, *observe(4.0)]
    same(seen([kept, lost], None), np.array([[30 / TYPICAL["v1"]], [0.0]]))


# --- whose visits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_subjects_with_visits_of_their_own_are_seen_then(backend: Any):
    own = np.array([[1.0, 5.0, 12.0, np.nan], [2.0, np.nan, np.nan, np.nan], [3.0, 7.0, 8.0, 24.0], [np.nan] * 4])
    rows = [dose("oral", 100), dose("iv", 30, 3.0, rate=10.0)]
    got = seen([rows] * 4, own, numerics=Numerics(solver="linear", backend=backend))
    common = seen([rows])[0]
    want = [[common[list(TIMES).index(t)] if np.isfinite(t) else np.nan for t in row] for row in own]
    np.testing.assert_array_equal(np.isnan(got), np.isnan(own))
    np.testing.assert_allclose(got, want, rtol=1e-11)


def test_a_table_with_more_rows_for_one_subject_leaves_the_others_visits_missing():
    got = seen([[dose("iv", 100), *observe(1.0, 2.0, 3.0)], [dose("iv", 100), *observe(2.0)]], None)
    want = bolus(RESPONSE, np.array([1.0, 2.0, 3.0]), 100).astype(float)
    same(got[0], want)
    same(got[1, :1], want[1:2])
    assert np.isnan(got[1, 1:]).all()


def test_subjects_of_one_course_keep_their_own_parameters():
    people = [dict(cl=1.0 + i, v1=10.0 + 3 * i, ka=0.3 + 0.4 * i) for i in range(5)]
    shared, own = np.array([1, 0, 1, 1, 0]), np.arange(5)
    courses = [[dose("oral", 100)], [dose("iv", 50, 2.0), dose("depot", 70, 3.0, rate=35.0)]]
    events = curves.events(courses)
    p = curves.subjects(TWO, people)
    together, _ = solve(TWO, p, Events(shared, events.rows), TIMES, numerics=LINEAR)
    apart, _ = solve(TWO, p, curves.events([courses[k] for k in shared]), TIMES, numerics=LINEAR)
    np.testing.assert_array_equal(np.asarray(together.c), np.asarray(apart.c))
    for i in own:
        q = TYPICAL | people[i]
        r = curves.response(2, q)
        ab = absorbed(r, q["ka"])
        want = [bolus(ab, TIMES - q["lag"], q["f"] * 100), bolus(r, TIMES - 2, 50) + infusion(ab, TIMES - 3, 70, 2)]
        same(np.asarray(together.c)[i], want[shared[i]].astype(float))


# --- what may be rearranged ------------------------------------------------------------------------------------------


def test_doses_so_far_apart_are_those_doses_one_by_one():
    once = [dose("iv", 100, 1.0, interval=4.0, additional=5), dose("oral", 60, interval=7.0, additional=2)]
    each = [dose("iv", 100, 1.0 + 4 * i) for i in range(6)] + [dose("oral", 60, 7.0 * i) for i in range(3)]
    got = seen([once, each])
    same(got[0], got[1])


def test_rows_of_other_times_may_stand_in_any_order():
    rows = [dose("oral", 100), dose("iv", 20, 3.0, rate=5.0), dict(action="reset", time=6.0), dose("iv", 50, 6.5)]
    got = seen([rows, rows[::-1], [rows[2], rows[0], rows[3], rows[1]]])
    np.testing.assert_array_equal(got[1:], got[[0, 0]])


def test_a_row_that_is_nothing_but_a_time_changes_nothing():
    rows = [dose("iv", 100, rate=30.0), dose("oral", 50, 2.0)]
    other = [dict(action="other", time=t) for t in (0.0, 1.7, 3.0, 9.0)]
    got = seen([rows, [*rows, *other]])
    same(got[1], got[0])


def test_a_dose_of_nothing_changes_nothing():
    rows = [dose("iv", 100)]
    got = seen([rows, [*rows, dose("iv", 0, 3.0), dose("oral", 0, 4.0, interval=2.0, additional=3)]])
    same(got[1], got[0])


def test_a_dose_after_the_last_visit_is_not_seen():
    rows = [dose("iv", 100), dose("iv", 60, 2.0, rate=1.0)]
    got = seen([rows, [*rows, dose("iv", 1e6, 30.0), dose("iv", 1e6, 40.0, rate=1e6), dose("late", 1e6, 20.0)]])
    same(got[1], got[0])


def test_what_is_infused_in_an_instant_is_nearly_a_bolus():
    got = seen([[dose("iv", 100, rate=1e10)], [dose("iv", 100)]])
    np.testing.assert_allclose(got[0], got[1], rtol=1e-7)


bolus_rows = st.builds(
    dose,
    st.sampled_from(["iv", "oral", "depot", "central", "peripheral2", "late"]),
    st.floats(0.1, 200),
    st.floats(0, 20),
    interval=st.floats(0.5, 9),
    additional=st.integers(0, 5),
)
infusion_rows = st.builds(
    lambda into, amount, time, hours, **more: dose(into, amount, time, rate=amount / hours, **more),
    st.sampled_from(["iv", "oral", "depot", "peripheral2"]),
    st.floats(0.1, 200),
    st.floats(0, 20),
    st.floats(0.2, 15),
    interval=st.floats(0.5, 9),
    additional=st.integers(0, 5),
)
modelled_rows = st.builds(
    lambda kind, amount, time: dose(kind, amount, time, rate=-2.0 if kind == "drip" else -1.0),
    st.sampled_from(["drip", "pump"]),
    st.floats(0.1, 200),
    st.floats(0, 20),
)
dose_rows = st.one_of(bolus_rows, infusion_rows, modelled_rows)


@given(rows=st.lists(dose_rows, min_size=2, max_size=5))
@settings(max_examples=12)
def test_doses_of_a_linear_drug_superpose(rows: list[dict]):
    got = seen([rows, *([row] for row in rows)])
    np.testing.assert_allclose(got[0], got[1:].sum(0), rtol=1e-10, atol=1e-12 * got.max())


@given(rows=st.lists(dose_rows, min_size=1, max_size=4), later=st.floats(0, 500))
@settings(max_examples=12)
def test_all_that_happens_later_is_seen_later(rows: list[dict], later: float):
    moved = [row | dict(time=row["time"] + later) for row in rows]
    own = np.stack([TIMES + 0.05, TIMES + 0.05 + later])  # visits between events: a sum of floats may fall either side
    got = seen([rows, moved], own)
    np.testing.assert_allclose(got[1], got[0], rtol=1e-8, atol=1e-9 * got.max())


@given(amount=st.floats(1, 200), hours=st.floats(0.1, 20), at=st.floats(0.05, 0.95), start=st.floats(0, 10))
@settings(max_examples=12)
def test_an_infusion_that_is_halted_and_goes_on_at_once_is_one_infusion(
    amount: float, hours: float, at: float, start: float
):
    rate = amount / hours
    whole = [dose("iv", amount, start, rate=rate)]
    halves = [dose("iv", at * amount, start, rate=rate), dose("iv", (1 - at) * amount, start + at * hours, rate=rate)]
    beside = [dose("iv", part * amount, start, rate=part * rate) for part in (at, 1 - at)]
    got = seen([whole, halves, beside])
    np.testing.assert_allclose(got[1:], got[[0, 0]], rtol=1e-10, atol=1e-12 * got.max())


steady_rows = st.builds(
    lambda row, interval, steady, additional: row | dict(interval=interval, steady=steady, additional=additional),
    st.one_of(bolus_rows, infusion_rows, modelled_rows),
    st.floats(2, 12),
    st.sampled_from([1, 2]),
    st.integers(0, 2),
)
constant_rows = st.builds(
    lambda into, rate, time: dose(into, 0.0, time, rate=rate, steady=1),
    st.sampled_from(["iv", "depot"]),
    st.floats(0.1, 20),
    st.floats(0, 20),
)
plain_rows = st.builds(
    lambda action, time: dict(action=action, time=time), st.sampled_from(["reset", "other"]), st.floats(0, 20)
)
any_rows = st.lists(st.one_of(dose_rows, steady_rows, constant_rows, plain_rows), min_size=1, max_size=5)


@given(tables=st.lists(any_rows, min_size=8, max_size=8))
@settings(max_examples=4)
def test_stepping_finds_the_course_of_the_closed_form_whatever_is_done(tables: list[list[dict]]):
    exact, *stepped = (seen(tables, TIMES + 0.05, numerics=numerics) for numerics in ALL)
    for got in stepped:
        np.testing.assert_allclose(got, exact, rtol=1e-7, atol=1e-8 * exact.max())


# --- equations that switch -------------------------------------------------------------------------------------------


def test_an_input_that_the_equations_switch_off_at_a_time_ends_then():
    """Nothing in the Jacobian says so: its entries are constant, and so are the derivatives by time."""

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(central=jnp.where(t < 4.3, p.input, 0.0) - p.k * y.central)

    of = curves.model(dict(input=10.0, k=0.25), ("central",), ("c",), ode, lambda t, y, p: dict(c=y.central))
    out, _ = solve(of, curves.subjects(of, [{}]), Events.none(1), TIMES, numerics=Numerics(rtol=1e-8, atol=1e-8))
    want = infusion(curves.one(0.25, 1.0), TIMES, 43, 4.3).astype(float)
    np.testing.assert_allclose(np.asarray(out.c)[0], want, rtol=1e-6, atol=1e-6)


def test_an_elimination_that_changes_at_a_level_changes_there():
    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(central=-jnp.where(y.central > p.level, 2.0, 0.5))

    def observe(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(c=y.central)

    of = curves.model(dict(level=1.0), ("central",), ("c",), ode, observe, initial=lambda p: dict(central=5.0))
    times = np.array([0.0, 1, 2, 3])
    out, _ = solve(of, curves.subjects(of, [{}]), Events.none(1), times, numerics=Numerics(rtol=1e-8, atol=1e-8))
    np.testing.assert_allclose(np.asarray(out.c)[0], [5, 3, 1, 0.5], atol=1e-6)


# --- covariates that change ------------------------------------------------------------------------------------------


def changing() -> Model:
    """One compartment whose clearance follows kidney function, and a drug taken beside it halves the rest."""

    def individual(p: Any, x: Any) -> Any:
        return p.replace(cl=p.cl * (x.crcl / 100) * jnp.where(x.inhibitor == 1, 0.5, 1.0))

    covariates = curves.record(
        "Covariates", crcl=quantity("mL/min", "creatinine clearance"), inhibitor=category("no", "yes")
    )
    return ONE.replace(covariates=covariates, individual=individual)


CHANGING = changing()


def course(n: int, rows: list[tuple], linear: tuple[str, ...] = ()) -> CovariateCourse:
    start = CHANGING.covariates(crcl=np.full(n, 100.0), inhibitor=np.zeros(n))
    return CovariateCourse(start, pl.DataFrame(rows, schema=CHANGES, orient="row"), frozenset(linear))


def piecewise(times: np.ndarray, k: list[tuple[float, float]], start: np.ndarray, rate: float = 0.0) -> np.ndarray:
    """Amount in the central compartment whose rate constant is k from each time on. `start`: depot and central."""
    ka, made = TYPICAL["ka"], []
    for t in times:
        y = np.append(start, 1.0)
        for (since, now), until in zip(k, [s for s, _ in k[1:]] + [np.inf], strict=True):
            a = np.array([[-ka, 0, 0], [ka, -now, rate], [0, 0, 0]])
            y = expm(a * max(min(t, until) - since, 0)) @ y
        made.append(y[1])
    return np.array(made)


@pytest.mark.parametrize("backend", ["native", "xla"])
@pytest.mark.parametrize("solver", ["linear", "explicit", "stiff", "auto"])
def test_clearance_that_steps_with_a_covariate_bends_the_curve_there(solver: Any, backend: Any):
    """Each subject has its own changes, the last one none; a category changes as a number does."""
    changes = [
        (0, 4.0, "crcl", 40.0),
        (0, 9.5, "crcl", 70.0),
        (1, 6.0, "inhibitor", 1.0),
        (1, 12.0, "inhibitor", 0.0),
        (1, 12.0, "crcl", 150.0),
    ]
    k = TYPICAL["cl"] / TYPICAL["v1"]
    constants = [[(0, k), (4, 0.4 * k), (9.5, 0.7 * k)], [(0, k), (6, 0.5 * k), (12, 1.5 * k)], [(0, k)]]
    p = curves.subjects(CHANGING, [{}] * 3)
    given = curves.events([[dose("depot", 100), dose("central", 30)]], people=3)
    numerics = Numerics(solver=solver, backend=backend, rtol=1e-9, atol=1e-9)
    out, status = solve(CHANGING, p, given, TIMES[1:], numerics=numerics, covariates=course(3, changes))
    assert not np.asarray(status.code).any()
    want = [piecewise(TIMES[1:], of, np.array([100.0, 30.0])) / TYPICAL["v1"] for of in constants]
    tolerance = 1e-11 if solver in ("linear", "auto") else 1e-8
    np.testing.assert_allclose(np.asarray(out.c), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("solver", ["linear", "explicit"])
def test_clearance_that_steps_during_an_infusion(solver: Any):
    given = curves.events([[dose("iv", 200, rate=20.0)]])
    k = TYPICAL["cl"] / TYPICAL["v1"]
    times = np.array([1.0, 4, 6, 8, 10])
    out, _ = solve(
        CHANGING,
        curves.subjects(CHANGING, [{}]),
        given,
        times,
        numerics=Numerics(solver=solver, rtol=1e-9, atol=1e-9),
        covariates=course(1, [(0, 4.0, "crcl", 10.0)]),
    )
    want = piecewise(times, [(0, k), (4, 0.1 * k)], np.zeros(2), rate=20.0) / TYPICAL["v1"]
    np.testing.assert_allclose(np.asarray(out.c)[0], want, rtol=1e-8)


@pytest.mark.parametrize("backend", ["native", "xla"])
@pytest.mark.parametrize("solver", ["explicit", "stiff", "auto"])
def test_clearance_that_runs_along_a_line_has_the_integral_of_that_line(solver: Any, backend: Any):
    """From 100 mL/min at 2 h straight to 20 at 10 h, then to 60 at 14 h, and so it stays."""
    rows = [(0, 2.0, "crcl", 100.0), (0, 10.0, "crcl", 20.0), (0, 14.0, "crcl", 60.0)]
    given = curves.events([[dose("iv", 100)]], people=2)
    p = curves.subjects(CHANGING, [{}] * 2)
    numerics = Numerics(solver=solver, backend=backend, rtol=1e-9, atol=1e-9)
    out, status = solve(CHANGING, p, given, TIMES, numerics=numerics, covariates=course(2, rows, ("crcl",)))
    assert not np.asarray(status.code).any()
    knots = np.array([0, 2, 10, 14, 100.0])
    values = np.array([100, 100, 20, 60, 60.0])
    area = []  # of the polygon, exactly
    for t in TIMES:
        inside = np.append(knots[knots < t], t)
        area.append(np.trapezoid(np.interp(inside, knots, values), inside))
    k = TYPICAL["cl"] / TYPICAL["v1"]
    want = 100 / TYPICAL["v1"] * np.exp(-k * np.array(area) / 100) * (TIMES > 0)
    constant = 100 / TYPICAL["v1"] * np.exp(-k * TIMES) * (TIMES > 0)
    np.testing.assert_allclose(np.asarray(out.c), [want, constant], rtol=1e-8, atol=1e-8)


def test_a_covariate_that_does_not_change_is_as_if_it_were_part_of_the_subject():
    p = curves.subjects(CHANGING, [{}])
    given = curves.events([[dose("oral", 100), dose("iv", 20, 4.0, rate=5.0)]])
    out, _ = solve(CHANGING, p, given, TIMES, numerics=LINEAR, covariates=course(1, [(0, 0.0, "crcl", 55.0)]))
    plain, _ = solve(CHANGING, p.replace(cl=p.cl * 0.55), given, TIMES, numerics=LINEAR)
    np.testing.assert_allclose(np.asarray(out.c), np.asarray(plain.c), rtol=1e-11)


def test_a_visit_at_the_time_of_a_covariates_change_sees_the_new_value():
    """Fluid doubles the volume: the amount stays, the concentration halves."""
    of = CHANGING.replace(individual=lambda p, x: p.replace(v1=p.v1 * x.crcl / 100, cl=1e-12 * p.cl))
    given = curves.events([[dose("iv", 100)]])
    p, times = curves.subjects(of, [{}]), np.array([0.0, 4.9, 5, 6])
    out, _ = solve(of, p, given, times, numerics=LINEAR, covariates=course(1, [(0, 5.0, "crcl", 200.0)]))
    before = 100 / TYPICAL["v1"]
    np.testing.assert_allclose(np.asarray(out.c)[0], [0, before, before / 2, before / 2], rtol=1e-9)


def test_bioavailability_that_follows_a_covariate_is_that_of_the_doses_time():
    of = CHANGING.replace(individual=lambda p, x: p.replace(f=jnp.where(x.inhibitor == 1, 1.0, 0.5)))
    given = curves.events([[dose("patch", 100, rate=-2.0, interval=10.0, additional=1)]])
    p = curves.subjects(of, [{}])
    out, _ = solve(of, p, given, TIMES, numerics=LINEAR, covariates=course(1, [(0, 6.0, "inhibitor", 1.0)]))
    r, at = curves.one(TYPICAL["cl"], TYPICAL["v1"]), TYPICAL["lag"]
    want = infusion(r, TIMES - at, 50, TYPICAL["duration"]) + infusion(r, TIMES - 10 - at, 100, TYPICAL["duration"])
    same(np.asarray(out.c)[0], want.astype(float))


def test_a_clearance_that_runs_along_a_line_has_no_closed_form():
    rows = [(0, 2.0, "crcl", 100.0), (0, 10.0, "crcl", 20.0)]
    with pytest.raises(ValueError, match="linear"):
        solve(
            CHANGING,
            curves.subjects(CHANGING, [{}]),
            curves.events([[dose("iv", 100)]]),
            TIMES,
            numerics=LINEAR,
            covariates=course(1, rows, ("crcl",)),
        )


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (dose("sublingual", 100), "sublingual"),
        (dose("iv", 100, rate=-2.0), "duration"),
        (dose("central", 100, rate=-1.0), "rate"),
    ],
)
def test_a_dose_that_the_model_has_no_place_or_parameter_for_is_refused(row: dict, says: str):
    with pytest.raises(ValueError, match=says):
        seen([[dose("iv", 1), row]])


def test_a_saturable_drug_has_no_closed_form():
    of = curves.michaelis_menten()
    with pytest.raises(ValueError, match="linear"):
        solve(of, curves.subjects(of, [{}]), Events.of(1, into="iv", amount=1.0), TIMES, numerics=LINEAR)


def test_subjects_and_their_events_are_as_many():
    with pytest.raises(ValueError, match="2"):
        solve(TWO, curves.subjects(TWO, [{}] * 3), Events.of(2, into="iv", amount=1.0), TIMES, numerics=LINEAR)


def test_a_route_without_a_lag_and_one_with_it_arrive_apart():
    of = TWO.replace(routes={"a": Route("central"), "b": Route("central", lag="lag")})
    got = seen([[dose("a", 10)], [dose("b", 10)]], np.array([0.3, 0.6, 0.9]), of)
    assert got[0][0] > 0
    assert (got[1][:2] == 0).all()
    same(got[1], bolus(RESPONSE, np.array([0.3, 0.6, 0.9]) - TYPICAL["lag"], 10).astype(float))
