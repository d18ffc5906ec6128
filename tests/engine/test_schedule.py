"""What the schedule makes of event records, action by action; and that walking it gives the sum over all doses."""

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.dosing.covariates import CHANGES, CovariateCourse
from cohort.dosing.records import MODELLED_DURATION, MODELLED_RATE, Events
from cohort.engine.schedule import Plan, plan
from cohort.model import Model, Record, Route, Scalar, quantity

NAMES = ["observe", "add", "rate", "reset", "set", "decide", "steady-start", "steady-check", "steady-add", "pass"]
P = {"f": 0.5, "ka": 2.0, "v": 4.0, "cl": 5.0}
ROUTES = {
    "sc": Route("depot", bioavailability="f", lag="ka", duration="v", rate="cl"),
    "iv": Route("central"),
    "half": Route("central", bioavailability="f"),
    "late": Route("depot", lag="ka"),
}


class Growing(Record):
    weight: Scalar = quantity("kg", "body weight")
    age: Scalar = quantity("y", "age")


@pytest.fixture(scope="module")
def model(linear: Model) -> Model:
    """Parameters stand in for what a dose may need: `ka` a lag, `v` a duration, `cl` a rate; no plan sees the ode."""
    return linear.replace(routes=ROUTES)


def _plan(model: Model, times: Any = None, **given: Any) -> Plan:
    """`given`: the columns of the records; n, 1 if left out; covariates; and `values` of parameters where not P: a
    number, (n,), or a function of subjects and times."""
    n, covariates = given.pop("n", 1), given.pop("covariates", None)
    known: dict[str, Any] = P | given.pop("values", {})

    def value_of(parameter: str, subjects: np.ndarray, at: np.ndarray) -> np.ndarray:
        value = known[parameter]
        return np.asarray(value(subjects, at) if callable(value) else np.broadcast_to(value, n)[subjects])

    events = Events.of(n, **given) if given else Events.none(n)
    return plan(model, n, events, None if times is None else np.asarray(times, float), value_of, covariates)


def _lines(p: Plan, subject: int = 0, but: str = "observe") -> list[tuple[float, str, int, float]]:
    """Time, action, slot and value of a subject's rows."""
    c = p.course[subject]
    rows = range(p.start[c], p.start[c + 1])
    lines = [(float(p.time[i]), NAMES[p.code[i]], int(p.slot[i]), float(p.value[i])) for i in rows]
    return [line for line in lines if line[1] != but]


def _actions(p: Plan, subject: int = 0) -> str:
    return " ".join(line[1] for line in _lines(p, subject, but=""))


# Order.


def test_a_dose_at_the_time_of_a_visit_comes_after_it(model: Model):
    p = _plan(model, [0, 24, 30], time=[0.0, 24], into="iv", amount=[5.0, 6])
    assert _lines(p, but="") == [
        (0, "observe", 0, 0), (0, "add", 0, 5), (24, "observe", 1, 0), (24, "add", 0, 6), (30, "observe", 2, 0)
    ]  # fmt: skip
    assert (p.visits, p.decisions, p.targets, p.inputs, p.infused) == (3, 0, ("iv",), (), ())
    assert p.observed_at is None


def test_the_order_of_the_rows_decides_where_they_observe(model: Model):
    action = ["observe", "dose", "observe", "observe", "dose"]
    p = _plan(model, time=[1.0, 1, 1, 0, 2], action=action, into="iv", amount=7.0)
    assert _lines(p, but="") == [
        (0, "observe", 2, 0), (1, "observe", 0, 0), (1, "add", 0, 7), (1, "observe", 1, 0)
    ]  # fmt: skip
    assert p.observed_at is not None
    assert p.observed_at.tolist() == [[1, 1, 0]]


def test_an_additional_dose_stands_in_the_place_of_its_record(model: Model):
    action = ["observe", "dose", "observe", "observe"]
    p = _plan(model, time=[0.0, 0, 24, 48], action=action, into="iv", amount=7.0, interval=24.0, additional=2)
    assert _actions(p) == "observe add add observe add observe"


def test_times_that_differ_by_rounding_are_one_time(model: Model):
    assert 3 * 0.7 < 2.1
    p = _plan(model, [2.1, 3], time=0.0, into="iv", amount=1.0, interval=0.7, additional=3)
    assert _actions(p) == "add add add observe add observe"


def test_decisions_count_in_time(model: Model):
    action = ["decide", "decide", "other", "decide"]
    p = _plan(model, [9], time=[5.0, 3, 4, 10], action=action)
    assert _lines(p) == [(3, "decide", 0, 0), (4, "pass", 0, 0), (5, "decide", 1, 0)]
    assert p.decisions == 2


def test_nothing_is_planned_that_no_visit_sees(model: Model):
    p = _plan(model, [0, 24], time=[0.0, 30], into="iv", amount=1.0, interval=24.0, additional=10**9)
    assert _lines(p) == [(0, "add", 0, 1)]
    assert _plan(model, [np.nan], time=0.0, into="iv", amount=1.0).start.tolist() == [0, 0]


def test_a_trial_of_nobody_has_an_empty_plan(model: Model):
    p = _plan(model, [0, 24], n=0, time=0.0, into="iv", amount=1.0)
    assert p.course.shape == (0,)
    assert p.start.tolist() == [0]
    assert p.time.shape == (0,)


# Who shares a course.


def test_subjects_whose_records_and_parameters_agree_share_a_course(model: Model):
    p = _plan(model, [0, 24], n=10**6, time=0.0, into=["sc", "late"], amount=1.0, rate=[1.0, 0])
    assert p.start.tolist() == [0, 5]
    assert not p.course.any()


def test_only_what_the_times_of_a_dose_depend_on_sets_subjects_apart(model: Model):
    own = {"f": [0.1, 0.2, 0.2], "ka": [1.0, 1.0, 3.0], "v": [1.0, 2, 3], "cl": [1.0, 2, 3]}
    own = {name: np.array(values) for name, values in own.items()}
    dose = dict(time=0.0, amount=1.0, n=3, values=own)
    assert _plan(model, [9], into="half", **dose).course.tolist() == [0, 0, 0]
    assert _plan(model, [9], into="half", rate=1.0, **dose).course.tolist() == [0, 1, 1]
    assert _plan(model, [9], into="late", **dose).course.tolist() == [0, 0, 1]
    assert _plan(model, [9], into="sc", rate=MODELLED_RATE, **dose).course.tolist() == [0, 1, 2]
    late = _plan(model, [9], into="late", **dose)
    assert _lines(late, 1) == [(1, "add", 0, 1)]
    assert _lines(late, 2) == [(3, "add", 0, 1)]


def test_a_lag_sets_only_those_apart_who_take_that_route(model: Model):
    follows, lag = np.array([5, 3, 5, 3]), np.arange(4.0)
    p = _plan(
        model, [9], n=4, follows=follows, values={"ka": lag}, time=0.0, course=[3, 5], into=["iv", "late"], amount=1.0
    )
    assert p.course.tolist() == [0, 1, 2, 1]
    assert [_lines(p, i) for i in range(3)] == [[(0, "add", 1, 1)], [(0, "add", 0, 1)], [(2, "add", 1, 1)]]


def test_subjects_may_have_visits_of_their_own(model: Model):
    times = [[0, 2, np.nan], [1, np.nan, 5], [0, 2, np.nan]]
    p = _plan(model, times, n=3, time=2.0, into="iv", amount=1.0)
    assert p.course.tolist() == [0, 1, 0]
    assert _lines(p, but="") == [(0, "observe", 0, 0), (2, "observe", 1, 0)]
    assert _lines(p, 1, but="") == [(1, "observe", 0, 0), (2, "add", 0, 1), (5, "observe", 2, 0)]


def test_a_subject_without_visits_has_an_empty_course(model: Model):
    covariates = _covariates(model, [(1, 5.0, "weight", 80.0), (1, 5.0, "sex", 1.0)], ("weight",))
    p = _plan(model, [[1.0, 2], [np.nan, np.nan]], n=2, covariates=covariates)
    assert p.start.tolist() == [0, 2, 2]


def test_visits_are_as_many_as_of_the_subject_observed_most(model: Model):
    follows = np.array([7, 4, 9])
    rows = dict(course=[4, 4, 7, 8, 8, 8], time=[1.0, 2, 3, 9, 9, 9], action="observe")
    p = _plan(model, n=3, follows=follows, **rows)
    np.testing.assert_equal(p.observed_at, [[3, np.nan], [1, 2], [np.nan, np.nan]])
    assert p.visits == 2
    assert _lines(p, 2, but="") == []


# Doses.


def test_a_lag_delays_every_dose_of_its_record(model: Model):
    p = _plan(model, [99], time=1.0, into="late", amount=3.0, interval=10.0, additional=2)
    assert _lines(p) == [(3, "add", 0, 3), (13, "add", 0, 3), (23, "add", 0, 3)]


def test_bioavailability_shortens_an_infusion_and_slows_one_of_given_length(model: Model):
    """Rate as given, 20 x 0.5 / 5 h; rate cl, as long; length v, 20 x 0.5 / 4 h per h. All 2 h late."""
    given = _plan(model, [99], time=0.0, into="sc", amount=20.0, rate=5.0)
    assert _lines(given) == [(2, "rate", 0, 5), (4, "rate", 0, 0)]
    assert given.infused == (0,)
    assert _lines(_plan(model, [99], time=0.0, into="sc", amount=20.0, rate=MODELLED_RATE)) == _lines(given)
    p = _plan(model, [99], time=0.0, into="sc", amount=20.0, rate=MODELLED_DURATION)
    assert _lines(p) == [(2, "rate", 0, 2.5), (6, "rate", 0, 0)]


def test_infusions_into_one_route_add_up_and_leave_nothing(model: Model):
    p = _plan(model, [99], time=[0.0, 1, 2], into=["iv", "iv", "central"], amount=[0.4, 0.4, 9], rate=[0.1, 0.2, 3.0])
    assert p.targets == ("central", "iv")
    assert p.infused == (1,)
    lines = _lines(p)
    assert [line[0] for line in lines] == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose([line[3] for line in lines], [0.1, 0.1 + 0.2, 3, 0.1, 0, 0], rtol=1e-15)
    assert lines[-2][3] == lines[-1][3] == 0
    assert [line[2] for line in lines] == [1, 1, 0, 1, 1, 0]


def test_what_is_infused_within_no_time_is_a_bolus_and_nothing_is_infused_of_nothing(model: Model):
    p = _plan(model, [99], values={"v": 0.0}, time=0.0, into="sc", amount=[20.0, 0], rate=MODELLED_DURATION)
    assert _lines(p) == [(2, "add", 0, 20)]


def test_one_infusion_after_the_other_at_the_same_rate_is_one(model: Model):
    p = _plan(model, [99], time=0.0, into="iv", amount=3.0, rate=0.3, interval=10.0, additional=2)
    assert _lines(p) == [(0, "rate", 0, 0.3), (30, "rate", 0, 0)]


def test_a_reset_stops_what_runs_and_cancels_what_was_still_to_come(model: Model):
    p = _plan(
        model,
        [99],
        time=[0.0, 0, 3, 5, 5],
        action=["dose", "dose", "dose", "reset", "dose"],
        into=["iv", "late", "late", "", "iv"],
        amount=[100.0, 1, 2, 0, 8],
        rate=[2.0, 0, 0, 0, 2],
        interval=[0.0, 4, 0, 0, 0],
        additional=[0, 3, 0, 0, 0],
    )
    assert _lines(p) == [
        (0, "rate", 0, 2), (2, "add", 1, 1), (5, "add", 1, 2), (5, "reset", 0, 0), (5, "rate", 0, 2), (9, "rate", 0, 0)
    ]  # fmt: skip


def test_an_infusion_that_follows_one_stopped_by_a_reset_is_told_of_anew(model: Model):
    action, into = ["dose", "dose", "reset", "dose"], ["central", "iv", "", "iv"]
    p = _plan(model, [6], time=[0.0, 0, 5, 5], action=action, into=into, amount=100.0, rate=[1.0, 2, 0, 2])
    assert _lines(p)[2:] == [(5, "reset", 0, 0), (5, "rate", 0, 0), (5, "rate", 1, 2)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_dose_that_cannot_be_is_told_to_the_solver(model: Model, bad: float):
    for steady in (0, 1):
        p = _plan(
            model, [99], n=2, values={"ka": np.array([bad, 2.0])},
            time=7.0, into="late", amount=[1.0], interval=5.0, steady=steady,
        )  # fmt: skip
        assert math.isfinite(p.time.sum())
        assert [line for line in _lines(p) if math.isnan(line[3])][-1][:3] == (7, "add", 0)
        assert not any(math.isnan(line[3]) for line in _lines(p, 1))


@pytest.mark.parametrize(("rate", "parameter"), [(MODELLED_RATE, "cl"), (MODELLED_DURATION, "v"), (1.0, "f")])
@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_an_infusion_that_cannot_be_is_told_to_the_solver(model: Model, rate: float, parameter: str, bad: float):
    p = _plan(model, [99], values={parameter: bad}, time=7.0, into="sc", amount=1.0, rate=rate)
    assert [line[:3] for line in _lines(p)] == [(7, "add", 0)]
    assert math.isnan(_lines(p)[0][3])


@pytest.mark.parametrize("rate", [0.0, 2.0, MODELLED_RATE, MODELLED_DURATION])
def test_an_amount_that_is_no_number_is_told_to_the_solver(model: Model, rate: float):
    p = _plan(model, [99], time=7.0, into="sc", amount=np.nan, rate=rate)
    (line,) = _lines(p)
    assert line[1] == "add"
    assert math.isnan(line[3])


# Steady state.


def test_a_steady_state_of_boluses_is_a_cycle_and_then_the_dose(model: Model):
    p = _plan(model, [99], time=24.0, into="iv", amount=5.0, interval=12.0, steady=1, additional=1)
    assert _lines(p) == [
        (24, "steady-start", 0, 12), (12, "add", 0, 5), (24, "steady-check", 1, 12),
        (24, "add", 0, 5), (36, "add", 0, 5),
    ]  # fmt: skip


def test_a_steady_state_may_be_added_to_the_state(model: Model):
    p = _plan(model, [99], time=24.0, into="late", amount=5.0, interval=12.0, steady=2)
    assert _lines(p) == [
        (24, "steady-start", 0, 12), (14, "add", 0, 5), (24, "steady-check", 1, 12), (24, "steady-add", 0, 0),
        (26, "add", 0, 5),
    ]  # fmt: skip


def test_a_lag_beyond_the_interval_leaves_doses_on_their_way(model: Model):
    p = _plan(model, [99], values={"ka": 5.0}, time=0.0, into="late", amount=1.0, interval=2.0, steady=1)
    assert [line[:2] for line in _lines(p)] == [
        (0, "steady-start"), (-1, "add"), (0, "steady-check"), (1, "add"), (3, "add"), (5, "add")
    ]  # fmt: skip


def test_infusions_longer_than_their_interval_overlap_in_the_steady_state(model: Model):
    """10 h every 4 h: two always run, and a third for 2 h from each start on; when the last starts, three do."""
    p = _plan(model, [99], time=0.0, into="iv", amount=100.0, rate=10.0, interval=4.0, steady=1)
    assert _lines(p) == [
        (0, "steady-start", 0, -4), (-4, "rate", 0, 30), (-2, "rate", 0, 20), (0, "steady-check", 2, -4),
        (0, "rate", 0, 30), (2, "rate", 0, 20), (6, "rate", 0, 10), (10, "rate", 0, 0),
    ]  # fmt: skip


def test_an_infusion_may_reach_over_the_end_of_its_cycle(model: Model):
    """3 h every 4 h, 2 h late: until 1 h into the cycle, and from 2 h on."""
    p = _plan(model, [99], time=0.0, into="sc", amount=6.0, rate=1.0, interval=4.0, steady=1)
    assert _lines(p) == [
        (0, "steady-start", 0, -4), (-4, "rate", 0, 1), (-3, "rate", 0, 0), (-2, "rate", 0, 1),
        (0, "steady-check", 3, -4), (0, "rate", 0, 1), (1, "rate", 0, 0), (2, "rate", 0, 1), (5, "rate", 0, 0),
    ]  # fmt: skip


def test_an_infusion_as_long_as_its_interval_runs_all_the_time(model: Model):
    p = _plan(model, [99], time=0.0, into="iv", amount=8.0, rate=2.0, interval=4.0, steady=1)
    assert _lines(p) == [
        (0, "steady-start", 0, -4), (-4, "rate", 0, 2), (0, "steady-check", 1, -4), (0, "rate", 0, 2), (4, "rate", 0, 0)
    ]  # fmt: skip


def test_a_constant_infusion_ends_when_its_steady_state_is_reached(model: Model):
    p = _plan(model, [99], time=10.0, into="iv", rate=3.0, interval=[0.0, 6], steady=[1, 2])
    assert _lines(p) == [
        (10, "steady-start", 0, -14), (-14, "rate", 0, 3), (10, "steady-check", 1, -14),
        (10, "steady-start", 0, 4), (4, "rate", 0, 3), (10, "steady-check", 1, 4), (10, "steady-add", 0, 0),
        (10, "rate", 0, 0),
    ]  # fmt: skip


def test_other_infusions_run_on_after_a_steady_state_that_is_added(model: Model):
    columns = dict(into=["central", "iv"], amount=[90.0, 4], rate=[9.0, 0], interval=12.0, time=[0.0, 2])
    assert _lines(_plan(model, [99], steady=[0, 2], **columns))[-4:] == [
        (2, "steady-add", 0, 0), (2, "add", 1, 4), (2, "rate", 0, 9), (10, "rate", 0, 0)
    ]  # fmt: skip
    assert _lines(_plan(model, [99], steady=[0, 1], **columns))[-3:] == [
        (2, "steady-check", 1, -10), (2, "add", 1, 4), (2, "rate", 0, 0)
    ]  # fmt: skip


# Covariates.


def _covariates(model: Model, changes: list[tuple], linear: tuple[str, ...] = (), n: int = 2) -> CovariateCourse:
    course = CovariateCourse(
        model.covariates(weight=np.full(n, 70.0), sex=np.zeros(n)),
        pl.DataFrame(changes, schema=CHANGES, orient="row"),
        frozenset(linear),
    )
    course.check()
    return course


def test_a_covariate_changes_before_all_else_at_its_time(model: Model):
    covariates = _covariates(model, [(1, 5.0, "weight", 80.0), (1, 9.0, "sex", 1.0)])
    p = _plan(model, [5, 9], n=2, covariates=covariates, time=5.0, into="iv", amount=1.0)
    assert p.inputs == ("x.sex", "x.weight")
    assert p.course.tolist() == [0, 1]
    assert _actions(p) == "observe add observe"
    assert _lines(p, 1) == [(5, "set", 1, 80), (5, "add", 0, 1), (9, "set", 0, 1)]
    assert _actions(p, 1) == "set observe add set observe"


def test_what_changed_before_a_course_begins_holds_from_its_beginning(model: Model):
    covariates = _covariates(model, [(0, -5.0, "weight", 60.0), (0, -9.0, "weight", 50.0)])
    p = _plan(model, [5, 9], n=2, covariates=covariates)
    assert _lines(p) == [(5, "set", 0, 50), (5, "set", 0, 60)]


def test_a_sloping_covariate_runs_straight_from_its_start_through_its_values(model: Model):
    covariates = _covariates(model, [(0, 10.0, "weight", 80.0), (0, 20.0, "weight", 60.0)], ("weight",))
    p = _plan(model, [2, 30], n=2, covariates=covariates)
    assert p.inputs == ("s.weight", "since", "x.weight")
    assert p.course.tolist() == [0, 1]
    sets = {(time, p.inputs[slot]): value for time, _, slot, value in _lines(p)}
    assert sets == {
        (2, "x.weight"): 70, (2, "s.weight"): 10 / 8, (2, "since"): 2,
        (10, "x.weight"): 80, (10, "s.weight"): -2, (10, "since"): 10,
        (20, "x.weight"): 60, (20, "s.weight"): 0, (20, "since"): 20,
    }  # fmt: skip
    assert _lines(p, 1) == []


def test_all_sloping_covariates_of_a_subject_count_from_the_same_time(model: Model):
    changes = [(0, 10.0, "weight", 80.0), (0, -5.0, "age", 30.0), (0, 5.0, "age", 40.0), (0, 20.0, "age", 70.0)]
    covariates = CovariateCourse(
        Growing(weight=np.array([70.0]), age=np.array([99.0])),
        pl.DataFrame(changes, schema=CHANGES, orient="row"),
        frozenset(("weight", "age")),
    )
    p = _plan(model, [0, 30], covariates=covariates)
    at: dict[str, float] = {"s.age": 0.0, "s.weight": 0.0}
    for time, expected in ((0, (70, 35)), (5, (75, 40)), (10, (80, 50)), (20, (80, 70))):
        at |= {p.inputs[slot]: value for when, _, slot, value in _lines(p) if when == time}
        weight, age = (at[f"x.{name}"] + at[f"s.{name}"] * (time - at["since"]) for name in ("weight", "age"))
        assert (weight, age) == pytest.approx(expected, rel=1e-15)


def test_a_dose_finds_the_lag_of_its_own_time(model: Model):
    covariates = _covariates(model, [(1, 5.0, "weight", 80.0)])

    def lag(subjects: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.where((subjects == 1) & (at >= 5), 3.0, 2.0)

    p = _plan(
        model, [99], n=3, values={"ka": lag}, covariates=covariates, time=0.0, into="late", amount=1.0, interval=5.0,
        additional=1,
    )  # fmt: skip
    assert p.course.tolist() == [0, 1, 0]
    assert [line[0] for line in _lines(p) if line[1] == "add"] == [2, 7]
    assert [line[0] for line in _lines(p, 1) if line[1] == "add"] == [2, 8]


# Refusals.


def test_a_dose_that_enters_nowhere_is_refused_with_all_others(model: Model):
    into = ["iv", "cental", "sc", "late", "gut", "half", "cental"]
    rate = [MODELLED_RATE, 0, MODELLED_RATE, MODELLED_DURATION, 0, 1, 0]
    with pytest.raises(ValueError, match="events") as refusal:
        _plan(model, time=0.0, into=into, rate=rate, amount=1.0)
    assert str(refusal.value).splitlines() == [
        "events",
        "  row 1, 6: into 'cental' is neither a route nor a state; did you mean 'central'?; "
        "write one of sc, iv, half, late, depot, central, gone",
        "  row 4: into 'gut' is neither a route nor a state; write one of sc, iv, half, late, depot, central, gone",
        "  row 0: rate -1 asks for the modelled rate of 'iv', which has none; "
        "write Route(..., rate=<a parameter>), or a rate above 0",
        "  row 3: rate -2 asks for the modelled duration of 'late', which has none; "
        "write Route(..., duration=<a parameter>), or a rate above 0",
        "  nothing is observed; give `times`, or observe rows",
    ]


def test_visits_are_named_once(model: Model):
    with pytest.raises(ValueError, match="visits stand in `times` and as observe rows"):
        _plan(model, [1, 2], time=0.0, action="observe")
    with pytest.raises(ValueError, match=r"shape \(3, 2\); write \(visits,\) or \(2, visits\)"):
        _plan(model, np.zeros((3, 2)), n=2, time=0.0, action="reset")
    with pytest.raises(ValueError, match="write NaN where a subject has no visit"):
        _plan(model, [0, np.inf])
    with pytest.raises(ValueError, match="events are of 2 subjects, and 3 are to be solved"):
        plan(model, 3, Events.none(2), np.zeros(1), lambda *_: np.empty(0))


# Walking the plan.

K = 0.7  # per hour: what leaves the one compartment into which every route leads here
ARRIVES = {"sc": 0.5, "half": 0.5, "iv": 1.0, "late": 1.0}


def _walk(p: Plan) -> np.ndarray:
    """What is in the compartment at each visit of subject 0, by the rows of its course alone."""
    seen = np.full(p.visits, np.nan)
    t, y, aside, before = float(p.time[0]), 0.0, 0.0, math.nan
    flow = np.zeros(len(p.targets))
    i = 0
    while i < p.start[1]:
        passed = p.time[i] - t
        assert passed >= 0, "the clock goes back in STEADY_START and STEADY_CHECK only"
        y = y * math.exp(-K * passed) - flow.sum() / K * math.expm1(-K * passed)
        t, slot, value = p.time[i], p.slot[i], p.value[i]
        match NAMES[p.code[i]]:
            case "observe":
                seen[slot] = y
            case "add":
                y += ARRIVES[p.targets[slot]] * value
            case "rate":
                flow[slot] = value
            case "reset":
                y, flow[:] = 0.0, 0.0
            case "steady-start":
                y, aside, flow[:], t, before = 0.0, y, 0.0, value, math.nan
            case "steady-check":
                if not abs(y - before) <= 1e-15 * y:
                    i, t, before = i - slot - 1, value, y
            case "steady-add":
                y += aside
        i += 1
    assert not flow.any(), "what flows ends as nothing, to the last bit"
    return seen


def _sum(rows: list[dict[str, Any]], times: np.ndarray) -> np.ndarray:
    """The same from the records: one term for each dose, those of a steady state since long ago."""
    rows = sorted(rows, key=lambda r: r["time"])
    stops = [r["action"] == "reset" or r["steady"] == 1 for r in rows]

    def term(r: dict[str, Any], given: float, t: float) -> float:
        amount, lag = r["amount"] * ARRIVES[r["into"]], P["ka"] if r["into"] in ("sc", "late") else 0.0
        since = t - given - lag
        if since <= 0:
            return 0.0
        if r["rate"] == 0:
            return amount * math.exp(-K * since)
        rate = {MODELLED_RATE: P["cl"], MODELLED_DURATION: amount / P["v"]}.get(r["rate"], r["rate"])
        length = amount / rate
        return rate / K * -math.expm1(-K * min(since, length)) * math.exp(-K * max(since - length, 0.0))

    def effect(i: int, r: dict[str, Any], t: float) -> float:
        gone = any(stops[j] and rows[j]["time"] < t for j in range(i + 1, len(rows)))
        if r["action"] == "reset" or gone or r["time"] >= t:
            return 0.0
        since = math.ceil(50 / K / r["interval"]) if r["steady"] else 0
        return math.fsum(term(r, r["time"] + j * r["interval"], t) for j in range(-since, r["additional"] + 1))

    return np.array([math.fsum(effect(i, r, t) for i, r in enumerate(rows)) for t in times])


RECORD = st.fixed_dictionaries(
    {
        "time": st.integers(-4, 30).map(lambda half: half / 2),
        "action": st.sampled_from(["dose", "dose", "dose", "dose", "reset"]),
        "into": st.sampled_from(sorted(ARRIVES)),
        "amount": st.sampled_from([0.25, 1.0, 3.0, 20.0]),
        "rate": st.sampled_from([0.0, 0.0, 0.5, 3.0, 4.0, MODELLED_RATE, MODELLED_DURATION]),
        "interval": st.sampled_from([1.5, 2.0, 5.0]),
        "additional": st.integers(0, 3),
        "steady": st.sampled_from([0, 0, 0, 1, 2]),
    }
)


def _known(r: dict[str, Any]) -> dict[str, Any]:
    """Only by `sc` is an infusion modelled; only a dose has a steady state."""
    modelled = r["rate"] < 0 and r["into"] != "sc"
    return r | ({"rate": 2.0} if modelled else {}) | ({"steady": 0} if r["action"] == "reset" else {})


@given(st.lists(RECORD.map(_known), min_size=1, max_size=6))
def test_walking_a_plan_gives_the_sum_over_all_doses(linear: Model, rows: list[dict[str, Any]]):
    times = np.append(np.arange(-3.0, 21.0, 0.5), 200.0)
    p = _plan(linear.replace(routes=ROUTES), times, **{name: [r[name] for r in rows] for name in rows[0]})
    np.testing.assert_allclose(_walk(p), _sum(rows, times), rtol=1e-10, atol=1e-10)


@given(st.lists(RECORD.map(_known), min_size=1, max_size=6))
def test_times_ascend_but_within_the_cycles_of_a_steady_state(linear: Model, rows: list[dict[str, Any]]):
    p = _plan(linear.replace(routes=ROUTES), [99], **{name: [r[name] for r in rows] for name in rows[0]})
    cycling, now = None, -math.inf
    for i, (time, action, slot, value) in enumerate(_lines(p, but="")):
        assert time >= now
        if action == "steady-start":
            assert cycling is None
            cycling, time = (i, time, value), value
        elif action == "steady-check":
            assert cycling == (i - slot - 1, time, value)
            cycling = None
        else:
            assert cycling is None or action in ("add", "rate")
        now = time
    assert cycling is None


@given(st.lists(RECORD.map(_known).map(lambda r: r | {"steady": 0, "action": "dose"}), min_size=1, max_size=6))
def test_all_that_is_dosed_arrives(linear: Model, rows: list[dict[str, Any]]):
    p = _plan(linear.replace(routes=ROUTES), [999], **{name: [r[name] for r in rows] for name in rows[0]})
    for target, name in enumerate(p.targets):
        lines = [line for line in _lines(p) if line[2] == target]
        added = math.fsum(value for _, action, _, value in lines if action == "add")
        rates = [(time, value) for time, action, _, value in lines if action == "rate"]
        infused = math.fsum(r * (end - start) for (start, r), (end, _) in itertools.pairwise(rates))
        dosed = math.fsum(r["amount"] * (1 + r["additional"]) for r in rows if r["into"] == name)
        assert added * ARRIVES[name] + infused == pytest.approx(dosed * ARRIVES[name], rel=1e-12)
        assert not rates or rates[-1][1] == 0
