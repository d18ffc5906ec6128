"""Event records hold what was ordered, and refuse what cannot be done."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.dosing.records import ACTIONS, COLUMNS, Events


def test_what_is_not_said_of_a_dose_is_neutral():
    (row,) = Events.of(2, into="sc", amount=5).rows.to_dicts()
    assert row == {name: neutral for name, (_, neutral) in COLUMNS.items()} | {"into": "sc", "amount": 5.0}


def test_a_single_value_holds_for_every_row():
    events = Events.of(3, time=[0, 1, 2], into="sc", amount=np.array([1, 2, 3]))
    assert events.rows["into"].to_list() == ["sc"] * 3
    assert events.rows["amount"].to_list() == [1, 2, 3]


def test_subjects_follow_one_course_unless_told():
    assert Events.of(3, into="sc", amount=1).course.tolist() == [0, 0, 0]
    assert len(Events.of(3, into="sc", amount=1)) == 3


def test_nothing_may_happen():
    events = Events.none(4)
    events.check()
    assert (len(events), events.rows.height) == (4, 0)
    assert events.rows.schema == {name: kind for name, (kind, _) in COLUMNS.items()}


def test_every_action_but_a_dose_needs_nothing_else():
    events = Events.of(1, time=[0, 1, 2, 3], action=[a for a in ACTIONS if a != "dose"])
    assert events.rows.height == len(ACTIONS) - 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"action": "eat"}, "action"),
        ({"time": np.nan}, "time"),
        ({"time": "noon"}, "time"),
        ({"into": ""}, "a dose goes nowhere"),
        ({"amount": -1}, "amount is negative"),
        ({"rate": -3}, "rate is negative"),
        ({"additional": 2}, "need an interval"),
        ({"steady": 1}, "need an interval"),
        ({"additional": -1, "interval": 1}, "additional is negative"),
        ({"steady": 3, "interval": 1}, "steady is not"),
    ],
)
def test_what_cannot_be_done_is_refused(columns: dict, message: str):
    good = {"time": 0.0, "into": "sc", "amount": 5}
    bad: dict[str, Any] = {name: [value] * 2 for name, value in (good | columns).items()}
    with pytest.raises(ValueError, match=message) as refusal:
        Events.of(1, **bad)
    assert ("row 0: " in str(refusal.value), "row 1: " in str(refusal.value)) == (True, True)


def test_all_rows_that_cannot_be_are_named_at_once():
    with pytest.raises(ValueError, match="row 0") as refusal:
        Events.of(1, time=[0, 1, 2], into=["", "sc", "sc"], amount=[1, 1, -1])
    assert ("row 0: a dose goes nowhere" in str(refusal.value), "row 2: amount" in str(refusal.value)) == (True, True)
    assert "row 1:" not in str(refusal.value)


def test_a_modelled_rate_or_duration_is_no_negative_rate():
    assert Events.of(1, into="sc", amount=5, rate=[-1, -2]).rows["rate"].to_list() == [-1, -2]


def test_the_steady_state_of_a_constant_infusion_needs_no_interval():
    assert Events.of(1, into="iv", rate=5, steady=1).rows["steady"].to_list() == [1]


def test_a_column_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="events have no dose"):
        Events.of(1, into="sc", dose=5)


def test_courses_keep_their_own_rows():
    rows = pl.concat([Events.of(1, into="sc", amount=a).rows.with_columns(course=pl.lit(a)) for a in (0, 1)])
    events = Events(np.array([1, 0, 1]), rows)
    events.check()
    assert events.rows.filter(course=int(events.course[0]))["amount"].to_list() == [1]
