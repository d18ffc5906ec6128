"""Patients take what was ordered, or as much of it as they are said to.

References
----------
[1] Vrijens, Vincze, Kristanto, Urquhart & Burnier 2008, BMJ 336:1114: dosing histories of 4783 patients.
"""

from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.dosing.adherence import Adherence, adhere, expanded
from cohort.dosing.records import Events
from cohort.engine import solve
from cohort.model import Model, Record, Scalar, quantity

N, DOSES = 1500, 120
SUBJECTS = [f"P{i:04}" for i in range(N)]


def _daily(n: int = N, doses: int = DOSES, **columns: Any) -> Events:
    """100 mg under the skin every day from day 0."""
    return Events.of(n, **{"into": "sc", "amount": 100.0, "interval": 1.0, "additional": doses - 1} | columns)


def _taken(
    adherence: Adherence, events: Events | None = None, subjects: list[str] = SUBJECTS, **more: Any
) -> np.ndarray:
    """How often each dose of a daily regimen was taken, (n, doses)."""
    rows = adhere(events or _daily(len(subjects)), subjects, 1, adherence, **more).rows
    taken = np.zeros((len(subjects), DOSES), dtype=int)
    np.add.at(taken, (rows["course"].to_numpy(), np.floor(rows["time"].to_numpy()).astype(int)), 1)
    return taken


def _near(values: np.ndarray, expected: float) -> None:
    """The mean over independent subjects is what was said, within four standard errors."""
    values = np.asarray(values, float).reshape(len(values), -1).mean(axis=1)
    assert abs(values.mean() - expected) < 4 * values.std(ddof=1) / np.sqrt(len(values))


def _everything() -> Adherence:
    return Adherence(missed=0.2, spread=0.15, runs=0.3, doubled=0.1, late=0.2, stops=0.005)


# What is ordered


def test_additional_doses_are_written_out():
    rows = expanded(_daily(2, 4)).rows
    assert rows["time"].to_list() == [0, 1, 2, 3]
    assert rows["amount"].to_list() == [100] * 4
    assert rows["additional"].sum() == rows["interval"].sum() == 0


def test_a_dose_written_out_stands_before_what_was_written_below_its_order():
    events = Events.of(
        1,
        time=[0, 1, 2],
        action=["dose", "observe", "observe"],
        into="sc",
        amount=5,
        interval=[1, 0, 0],
        additional=[2, 0, 0],
    )
    rows = expanded(events).rows.select("time", "action").rows()
    assert rows == [(0, "dose"), (1, "dose"), (1, "observe"), (2, "dose"), (2, "observe")]


@pytest.mark.parametrize("stop", [{"action": "reset", "into": ""}, {"amount": 9.0, "steady": 1, "interval": 1.0}])
def test_what_was_ordered_before_a_reset_ends_with_it(stop: dict):
    """So it does before a dose whose steady state replaces what was there."""
    stop = {"time": 2.5, "into": "sc"} | stop
    events = Events(
        np.zeros(1, int), pl.concat([_daily(1, 9).rows, Events.of(1, **stop).rows, _daily(1, 2, time=4.0).rows])
    )
    assert expanded(events).rows["time"].to_list() == [0, 1, 2, 2.5, 4, 5]
    added = Events.of(1, time=[0, 2.5], into="sc", amount=5, interval=1, additional=[4, 0], steady=[0, 2])
    assert expanded(added).rows["time"].to_list() == [0, 1, 2, 2.5, 3, 4]


def test_a_constant_infusion_has_no_further_doses():
    with pytest.raises(ValueError, match="a constant infusion in its steady state has no further doses"):
        Events.of(1, into="iv", rate=5.0, steady=1, additional=3, interval=1)


def test_only_the_first_of_steady_doses_stands_for_a_past():
    rows = expanded(_daily(1, 3, steady=2)).rows
    assert rows["steady"].to_list() == [2, 0, 0]
    assert rows["interval"].to_list() == [1, 0, 0]


def test_perfect_adherence_changes_nothing():
    events = Events(np.array([1, 0, 1]), pl.concat([_daily(1, 3).rows, _daily(1, 2, course=1, amount=7.0).rows]))
    after = adhere(events, ["a", "b", "c"], 1, Adherence())
    assert after.rows.equals(expanded(events).rows)
    assert after.course.tolist() == [1, 0, 1]


@pytest.mark.parametrize("none", [{"missed": 1e-300}, {"doubled": 1e-300}, {"stops": 1e-300}])
def test_adherence_that_is_all_but_perfect_changes_nothing_either(none: dict):
    events = Events(np.array([1, 0, 1]), pl.concat([_daily(1, 3).rows, _daily(1, 2, course=1, amount=7.0).rows]))
    after = adhere(events, ["a", "b", "c"], 1, Adherence(**none))
    for i, course in enumerate(events.course):
        before = expanded(events).rows.filter(course=course).drop("course")
        assert after.rows.filter(course=after.course[i]).drop("course").equals(before)


class _Amounts(Record):
    depot: Scalar = quantity("mg", "under the skin")
    central: Scalar = quantity("mg", "in plasma")


def test_doses_that_are_written_out_do_what_their_order_did(linear: Model, subjects: Any):
    """As the engine sees it: steady states, infusions, a reset and observations at the time of a dose."""
    model = linear.replace(
        state=_Amounts,
        initial=lambda p: _Amounts(depot=0.0, central=0.0),
        ode=lambda t, y, p: _Amounts(depot=-p.ka * y.depot, central=p.ka * y.depot - p.cl / p.v * y.central),
        observe=lambda t, y, p: linear.outputs(c=y.central / p.v, total=y.depot + y.central),
    )
    orders = Events.of(
        300,
        time=[0.0, 0.5, 6.0, 6.0, 12.5, 14.0, 17.0],
        action=["dose", "dose", "observe", "dose", "reset", "dose", "observe"],
        into=["sc", "iv", "", "sc", "", "iv", ""],
        amount=[50.0, 20.0, 0, 30.0, 0, 10.0, 0],
        rate=[0, 40.0, 0, 0, 0, 0, 0],
        interval=[1.0, 2.0, 0, 1.5, 0, 1.0, 0],
        additional=[30, 30, 0, 30, 0, 1, 0],
        steady=[1, 0, 0, 2, 0, 0, 0],
    )
    ordered, _ = solve(model, subjects, orders)
    written, status = solve(model, subjects, expanded(orders))
    assert not status.code.any()
    assert (ordered.c[:, 1] > 0.1).all()
    np.testing.assert_allclose(written.c, ordered.c, rtol=1e-9)
    taken, _ = solve(model, subjects, adhere(orders, [str(i) for i in range(300)], 1, Adherence(missed=1e-300)))
    np.testing.assert_array_equal(taken.c, written.c)


# Doses missed and doubled


@pytest.mark.parametrize("extra", [{}, {"runs": 0.5}, {"spread": 0.2}, {"runs": 0.4, "spread": 0.1, "doubled": 0.3}])
def test_the_share_missed_is_what_was_said(extra: dict):
    _near(_taken(Adherence(missed=0.25, **extra)) == 0, 0.25)


def test_the_share_doubled_is_of_the_doses_taken():
    taken = _taken(Adherence(missed=0.25, runs=0.4, doubled=0.1))
    _near(taken == 2, 0.75 * 0.1)
    _near(taken, 0.75 * 1.1)


def test_amounts_add_up_to_what_was_taken():
    adherence = Adherence(missed=0.3, doubled=0.2, late=0.1)
    rows = adhere(_daily(), SUBJECTS, 1, adherence).rows
    assert rows["amount"].sum() == 100 * _taken(adherence).sum()
    assert set(rows["amount"]) == {100}


def test_patients_who_miss_all_take_nothing_and_those_who_double_all_take_twice():
    assert not _taken(Adherence(missed=1)).any()
    assert (_taken(Adherence(doubled=1)) == 2).all()


def test_an_infusion_taken_twice_is_two_infusions():
    rows = adhere(_daily(1, 1, rate=10.0), ["a"], 1, Adherence(doubled=1)).rows
    assert rows.select("time", "amount", "rate").rows() == [(0, 100, 10), (0, 100, 10)]


def test_patients_differ_by_the_spread():
    missed, spread, n = 0.2, 0.1, DOSES
    shares = (_taken(Adherence(missed=missed, spread=spread)) == 0).mean(axis=1)
    binomial = (missed * (1 - missed) - spread**2) / n  # of a beta-binomial share
    expected = spread**2 + binomial
    error = np.std((shares - missed) ** 2) / np.sqrt(N)
    assert abs(shares.var() - expected) < 4 * error
    alike = (_taken(Adherence(missed=missed)) == 0).mean(axis=1)
    assert alike.var() == pytest.approx(missed * (1 - missed) / n, rel=4 * np.sqrt(2 / N))


def test_missing_one_dose_makes_missing_the_next_more_likely():
    missed, runs = 0.2, 0.4
    gone = _taken(Adherence(missed=missed, runs=runs)) == 0
    after = gone[:, 1:][gone[:, :-1]]
    se = np.sqrt(after.mean() * (1 - after.mean()) / len(after))
    assert abs(after.mean() - (missed + runs * (1 - missed))) < 4 * se
    _near(gone[:, 0], missed)


def test_the_histories_of_hypertensive_patients_can_be_told():
    """[1]: 10 % missed, 42 % of these alone, 43 % in three or more; almost half with such a holiday in a year."""
    gone = adhere(_daily(N, 365), SUBJECTS, 1, Adherence(missed=0.1, spread=0.15, runs=0.15)).rows
    taken = np.zeros((N, 367), dtype=int)
    taken[:, [0, -1]] = 1
    taken[gone["course"].to_numpy(), gone["time"].to_numpy().astype(int) + 1] = 1
    who, when = np.nonzero(taken)
    lengths = np.diff(when)[np.diff(who) == 0] - 1
    total = lengths.sum()
    assert total / (365 * N) == pytest.approx(0.10, abs=0.02)
    assert lengths[lengths == 1].sum() / total == pytest.approx(0.42, abs=0.07)
    assert lengths[lengths >= 3].sum() / total == pytest.approx(0.43, abs=0.07)
    holiday = who[:-1][(np.diff(who) == 0) & (np.diff(when) > 3)]
    assert len(set(holiday)) / N == pytest.approx(0.45, abs=0.08)


# Doses late, and the end of treatment


def test_delays_are_exponential_with_the_mean_that_was_said():
    late = 0.02  # a fiftieth of the interval: the cut is out of sight
    time = adhere(_daily(), SUBJECTS, 1, Adherence(late=late)).rows["time"].to_numpy().reshape(N, DOSES)
    delay = time - np.arange(DOSES)
    assert (delay > 0).all()
    _near(delay, late)
    _near(delay > late * np.log(2), 0.5)


def test_a_late_dose_never_passes_the_next():
    time = adhere(_daily(), SUBJECTS, 1, Adherence(late=2.0)).rows["time"].to_numpy().reshape(N, DOSES)
    delay = (time - np.arange(DOSES))[:, :-1]
    assert (delay < 1).all()
    _near(delay, 2.0 - 1 / np.expm1(1 / 2.0))  # of an exponential cut at 1
    _near(time[:, -1] - (DOSES - 1), 2.0)  # nothing follows the last


def test_a_dose_that_is_late_for_a_visit_comes_after_it():
    events = Events.of(
        3,
        time=[0, 1, 1.5],
        action=["dose", "observe", "observe"],
        into="sc",
        amount=5,
        interval=[1, 0, 0],
        additional=[1, 0, 0],
    )
    rows = adhere(events, ["a", "b", "c"], 1, Adherence(late=1e-6)).rows
    assert rows["action"].to_list() == ["dose", "observe", "dose", "observe"] * 3
    assert rows["time"].is_between(0, 1.5).all()


def test_half_have_stopped_at_the_half_life_of_treatment():
    taken = _taken(Adherence(stops=np.log(2) / 30))
    _near(taken[:, 30], 0.5)
    assert taken[:, 0].all()
    assert (np.diff(taken, axis=1) <= 0).all()  # for good


# Whose doses they are


def test_what_is_taken_at_one_time_is_taken_or_missed_together():
    pair = Events(np.zeros(N, int), pl.concat([_daily(1).rows, _daily(1, into="gut", amount=30.0).rows]))
    rows = adhere(pair, SUBJECTS, 1, Adherence(missed=0.3, doubled=0.2, late=0.1)).rows
    sc, gut = (rows.filter(into=into).select("course", "time") for into in ("sc", "gut"))
    assert sc.equals(gut)
    assert 0 < sc.height < N * DOSES


def test_what_a_nurse_gives_is_given():
    clinic = _daily(1, 3, into="iv", time=0.5, interval=10.0).rows
    events = Events(np.zeros(N, int), pl.concat([_daily(1).rows, clinic]))
    rows = adhere(events, SUBJECTS, 1, _everything(), into=["sc"]).rows
    assert rows.filter(into="iv")["time"].to_list() == [0.5, 10.5, 20.5] * N
    assert (
        rows.filter(into="sc")
        .select("course", "time")
        .equals(adhere(_daily(), SUBJECTS, 1, _everything()).rows.select("course", "time"))
    )


def test_a_steady_state_is_not_missed_but_the_doses_after_it_are():
    rows = adhere(_daily(1, 5, steady=1), ["a"], 1, Adherence(missed=1)).rows
    assert rows.select("time", "steady", "interval").rows() == [(0, 1, 1)]


@pytest.mark.parametrize("action", ["observe", "reset", "decide", "other"])
def test_only_doses_are_missed(action: str):
    events = Events.of(
        N, time=[0.0, 1.0, 2.0], action=["dose", action, action], into=["sc", "", ""], amount=[1.0, 0, 0]
    )
    rows = adhere(events, SUBJECTS, 1, Adherence(missed=1)).rows
    assert rows["action"].to_list() == [action] * 2 * N


def test_subjects_without_events_have_none():
    assert adhere(Events.none(3), ["a", "b", "c"], 1, _everything()).rows.is_empty()
    visits = Events.of(2, time=[0.0, 1.0], action="observe")
    assert adhere(visits, ["a", "b"], 1, _everything()).rows.height == 4


# The same in any company


def test_a_subjects_doses_are_the_same_in_any_company_and_order():
    weekly = _daily(1, 200, course=1, interval=7.0).rows
    course = np.arange(N) % 2
    events = Events(course, pl.concat([_daily(1).rows, weekly]))
    together = adhere(events, SUBJECTS, 1, _everything())
    order = np.random.default_rng(0).permutation(N)[:40]
    apart = adhere(Events(course[order], events.rows), [SUBJECTS[i] for i in order], 1, _everything())
    for i, j in enumerate(order):
        mine = together.rows.filter(course=together.course[j]).drop("course")
        assert apart.rows.filter(course=apart.course[i]).drop("course").equals(mine)
        alone = adhere(Events(course[[j]], events.rows), [SUBJECTS[j]], 1, _everything()).rows.drop("course")
        assert alone.equals(mine)


def test_the_rest_of_a_patient_is_the_same_when_one_habit_changes():
    missed = _taken(Adherence(missed=0.2)) == 0
    np.testing.assert_array_equal(_taken(Adherence(missed=0.2, doubled=0.3)) == 0, missed)
    np.testing.assert_array_equal(_taken(Adherence(missed=0.2, late=0.01))[:, :-1] == 0, missed[:, :-1])
    assert (missed <= (_taken(Adherence(missed=0.3)) == 0)).all()


def test_another_seed_is_another_history():
    one, two = (adhere(_daily(), SUBJECTS, seed, Adherence(missed=0.5)).rows for seed in (1, 2))
    assert not one.equals(two)


# What cannot be


def test_habits_that_cannot_be_are_named_at_once():
    with pytest.raises(ValueError, match="adherence") as refusal:
        Adherence(missed=0.1, spread=0.31, runs=1.0, doubled=1.5, late=-1.0, stops=np.nan)
    wrong = [line.strip().split(" ")[:2] for line in str(refusal.value).split("\n")[1:]]
    assert wrong == [["spread:", "0.31"], ["runs:", "1.0"], ["doubled:", "1.5"], ["late:", "-1.0"], ["stops:", "nan"]]
    for missed in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="missed"):
            Adherence(missed=missed)


def test_every_subject_has_an_id():
    with pytest.raises(ValueError, match="2 subjects, and events for 3"):
        adhere(_daily(3), ["a", "b"], 1, Adherence(missed=0.1))
