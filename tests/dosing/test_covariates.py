"""A course of covariates is whole, or what it lacks is named."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.dosing.covariates import CHANGES, CovariateCourse
from cohort.model import Model


def _course(linear: Model, rows: list[tuple] = (), straight: frozenset = frozenset(), **start: Any) -> CovariateCourse:  # type: ignore[assignment]
    start = {"weight": np.array([70.0, 80.0]), "sex": np.array([0, 1])} | start
    changes = pl.DataFrame(rows or None, schema=CHANGES, orient="row")
    return CovariateCourse(linear.covariates(**start), changes, straight)


def _wrong(course: CovariateCourse) -> list[str]:
    with pytest.raises(ValueError, match="covariates") as refusal:
        course.check()
    return [line.strip() for line in str(refusal.value).split("\n")[1:]]


def test_a_course_may_change_or_not(linear: Model):
    steady = CovariateCourse(linear.covariates(weight=np.array([70.0]), sex=np.array([0.0])))
    steady.check()
    assert (len(steady), steady.changes.height) == (1, 0)
    changing = _course(linear, [(1, 5.0, "weight", 81.0), (0, 2.0, "sex", 1.0), (1, 2.0, "weight", 79.0)])
    changing.check()
    assert len(changing) == 2


def test_a_covariate_is_what_the_last_row_says_and_before_it_what_it_was_at_the_start(linear: Model):
    course = _course(linear, [(1, 5.0, "weight", 81.0), (0, 2.0, "sex", 1.0), (1, 2.0, "weight", 79.0)])
    now = course.at(np.array([1, 1, 1, 1, 1, 0, 0]), np.array([-9.0, 2, 4, 5, 99, 1, 2]))
    assert now["weight"].tolist() == [80, 79, 79, 81, 81, 70, 70]
    assert now["sex"].tolist() == [1, 1, 1, 1, 1, 0, 1]


def test_a_covariate_along_a_line_lies_between_start_and_rows_and_stays_after_the_last(linear: Model):
    rows = [(0, 2.0, "weight", 72.0), (0, 6.0, "weight", 76.0), (1, 4.0, "weight", 90.0)]
    course = _course(linear, rows, frozenset({"weight"}))
    who, when = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1]), np.array([-1, 0.5, 2, 3, 6, 8, 0, 1, 4, 9.0])
    assert course.at(who, when)["weight"].tolist() == [70, 70.5, 72, 73, 76, 76, 80, 82.5, 90, 90]
    assert course.at(np.array([1, 1]), np.array([-1.0, 3.0]), begin=2.0)["weight"].tolist() == [80, 85]


@pytest.mark.parametrize("straight", [frozenset(), frozenset({"weight"})])
def test_a_covariate_of_many_subjects_is_that_of_each(linear: Model, straight: frozenset):
    rng = np.random.default_rng(3)
    n, rows = 30, 200
    who, time, weight = rng.integers(0, n, rows), rng.permutation(rows) / 4 + 1, rng.random(rows)
    changes = pl.DataFrame({"subject": who, "time": time, "name": "weight", "value": weight})
    start = linear.covariates(weight=rng.random(n), sex=np.zeros(n))
    course = CovariateCourse(start, changes, straight)
    who, when = rng.integers(0, n, 500), rng.integers(-4, 5 + rows, 500) / 4
    for i, t, found in zip(who, when, course.at(who, when)["weight"], strict=True):
        own = changes.filter(subject=int(i)).sort("time")
        knots, values = np.append(0.0, own["time"]), np.append(start.weight[i], own["value"])
        k = max(np.searchsorted(knots, t, "right") - 1, 0)
        assert found == pytest.approx(np.interp(t, knots, values) if straight else values[k], rel=1e-12)


def test_every_row_that_cannot_be_is_named_at_once(linear: Model):
    course = _course(
        linear,
        [
            (2, 0.0, "weight", 70.0),
            (0, np.nan, "weight", 70.0),
            (0, 1.0, "wieght", 70.0),
            (0, 1.0, "weight", np.inf),
            (0, 1.0, "sex", 2.0),
            (0, 2.0, "sex", None),
            (1, 3.0, "sex", 1.0),
            (1, 3.0, "sex", 0.0),
        ],
    )
    wrong = _wrong(course)
    assert [line.split(";")[0] for line in wrong] == [
        "changes, row 0, subject: 2",
        "changes, row 1, time: nan",
        "changes, row 2, name: 'wieght'",
        "changes, row 3, value: inf",
        "changes, row 4, value: 2.0",
        "changes, row 5, value: None",
        "changes, row 7, time: 3.0",
    ]
    assert "male, female" in wrong[4]


def test_every_subject_starts_with_every_covariate(linear: Model):
    wrong = _wrong(_course(linear, weight=np.array([70.0, np.nan]), sex=np.array([0.5, 1])))
    assert [line.split(";")[0] for line in wrong] == [
        "start, weight: cannot be nan, as for subjects 1",
        "start, sex: cannot be 0.5, as for subjects 0",
    ]
    assert "(1,)" in _wrong(_course(linear, sex=np.array([1])))[0]


def test_nothing_lies_between_two_categories(linear: Model):
    _course(linear, straight=frozenset({"weight"})).check()
    wrong = _wrong(_course(linear, straight=frozenset({"sex", "age"})))
    assert [line.split(";")[0] for line in wrong] == [
        "linear: the model has no covariate 'age'",
        "linear: sex is a category, and nothing lies between its levels",
    ]


def test_changes_have_their_columns(linear: Model):
    course = CovariateCourse(_course(linear).start, pl.DataFrame({"subject": [0], "when": [1.0]}))
    assert "write subject Int64, time Float64, name String, value Float64" in _wrong(course)[0]
