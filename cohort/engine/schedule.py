"""From event records to what happens to each subject, action by action, in order: the plan that every solver walks.

Doses at intervals, lags, infusions and steady states become actions at times here, once and for all subjects together,
so that a solver needs to know only ten of them. At one time, a covariate changes first; then a visit of `times` sees
the state; then the records act in the order of their rows, an additional or delayed dose in the place of its record;
then infusions start and stop. Times that differ by no more than rounding are one time.

A reset, and a dose with a steady state that replaces the state, stop what earlier records have running and cancel what
those would still give, additional or delayed [1].

References
----------
[1] Boeckmann, Sheiner & Beal 2018, NONMEM Users Guide, part VIII: EVID, SS, II, ADDL and RATE; F, ALAG, R and D. The
    bioavailable amount sets how long an infusion of a given rate lasts, and how fast one of a given duration runs.
"""

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from cohort.dosing.covariates import CovariateCourse
from cohort.dosing.records import ACTIONS, MODELLED_DURATION, MODELLED_RATE, Events
from cohort.model import Model

OBSERVE, ADD, RATE, RESET, SET, DECIDE, STEADY_START, STEADY_CHECK, STEADY_ADD, PASS = range(10)

CODE = {"observe": OBSERVE, "reset": RESET, "decide": DECIDE, "other": PASS}
DOSE = ACTIONS.index("dose")
ROUNDING = 1e-12  # of a course's largest time: what adding intervals up may have made of two times that are one
CYCLE = 24.0  # how often a constant infusion is asked whether its state is steady, where no interval is given
CHANGING, VISITING, ACTING, FLOWING = range(4)  # kinds of rows, as they follow each other at one time
ORDERS, TURNS = 2**26, 8  # more than a course has records, and a record has rows at one time
STARTS, STOPS, AGAIN = range(3)  # turns of FLOWING rows

type ValueOf = Callable[[str, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Plan:
    """The actions of n subjects, course by course, those of a course in the order in which they happen.

    `course`: (n,), the course each subject follows. `start`: (courses + 1,), where its rows begin. Of each row:
    `time`; `code`, one of the ten; `slot` and `value`, which say

    - OBSERVE: the column of the outputs;
    - ADD: the target, and the amount before bioavailability;
    - RATE: the target, and all that flows into it from now on, per time, after bioavailability;
    - RESET: every state is as at the start, nothing flows;
    - SET: the input, and its value;
    - DECIDE: the how-manieth decision of the subject;
    - STEADY_START: the state is put aside, states are as at the start, nothing flows, the clock goes back to `value`;
    - STEADY_CHECK: unless the state is that of a cycle ago, the clock goes back to `value`, by `slot` rows;
    - STEADY_ADD: what was put aside is added;
    - PASS: nothing.

    Times ascend within a course but for those between STEADY_START and STEADY_CHECK, which lie within the cycle before.
    RATE rows at the time of a RESET or STEADY_CHECK say anew what flows. A course ends with its last OBSERVE.

    `visits`: columns of the outputs. `decisions`: most of a subject. `targets`: the routes and states that doses name,
    sorted. `inputs`: the program's inputs that SET changes, sorted. `infused`: indexes of the states that infusions
    flow into. `observed_at`: (n, visits), times of the outputs where the records say them, NaN-padded.
    """

    course: np.ndarray
    start: np.ndarray
    time: np.ndarray
    code: np.ndarray
    slot: np.ndarray
    value: np.ndarray
    visits: int
    decisions: int
    targets: tuple[str, ...]
    inputs: tuple[str, ...]
    infused: tuple[int, ...]
    observed_at: np.ndarray | None = None


NUMBERS = ("time", "amount", "rate", "duration", "interval", "additional", "steady")  # of the records


class _Records(NamedTuple):
    """Event records as columns; those of a course stand together, by time and then by row."""

    course: np.ndarray
    order: np.ndarray  # the how-manieth of its course
    time: np.ndarray
    action: np.ndarray  # index into ACTIONS
    slot: np.ndarray  # the how-manieth observation, decision, ... of its course
    target: np.ndarray
    amount: np.ndarray
    rate: np.ndarray
    duration: np.ndarray
    interval: np.ndarray
    additional: np.ndarray
    steady: np.ndarray
    until: np.ndarray  # when a later record stops and cancels what this one gives

    def take(self, index: np.ndarray) -> "_Records":
        """Those at an index, or where a mask is true."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        return _Records(*(column[index] for column in self))


class _Rows(NamedTuple):
    """Rows of the plan, and what sorts them: when, and which first then."""

    course: np.ndarray
    at: np.ndarray
    rank: np.ndarray  # by kind, then the place of the record, then the turn within the record
    time: np.ndarray
    code: np.ndarray
    slot: np.ndarray
    value: np.ndarray

    def take(self, index: np.ndarray) -> "_Rows":
        return _Rows(*(column[index] for column in self))


def _rows(
    code: int, course: np.ndarray, at: np.ndarray, *, where: np.ndarray | None = None, **given: np.ndarray | float
) -> _Rows:
    """Rows from columns (k,) or single values, those at `where`."""
    columns = {"kind": ACTING, "order": 0, "turn": 0, "code": code, "time": at, "slot": 0, "value": 0.0} | given
    kind, order, turn = (columns.pop(name) for name in ("kind", "order", "turn"))
    columns["rank"] = (kind * ORDERS + order) * TURNS + turn
    filled = {name: np.broadcast_to(column, np.shape(course)) for name, column in columns.items()}
    rows = _Rows(course=course, at=at, **filled)
    return rows if where is None else rows.take(np.flatnonzero(where))


def plan(
    model: Model,
    n: int,
    events: Events,
    times: np.ndarray | None,
    value_of: ValueOf,
    covariates: CovariateCourse | None = None,
) -> Plan:
    """What happens to n subjects of a model, in order.

    `times`: (visits,) or (n, visits), NaN-padded, the visits of all or of each; None where `events` observe.
    `value_of(parameter, subjects, times)`: (k,), a parameter of subjects (k,) at times (k,). `covariates`: those that
    change. Subjects share a course wherever it is the same for them. A dose whose amount, lag, rate or duration is
    no finite number from 0 on is an ADD of NaN, for the solver to report.

    Errors: ValueError naming every row whose dose enters nowhere or whose infusion no parameter describes; visits that
    are named twice or not at all.
    """
    times = None if times is None else np.asarray(times, dtype=np.float64)
    dosed = events.rows.with_row_index().filter(pl.col("action") == "dose")
    _check(model, n, events, times, dosed)
    targets = tuple(sorted(dosed["into"].unique()))

    followed, first, course = np.unique(events.course, return_index=True, return_inverse=True)
    records = _records(events.rows, followed, targets)
    visits, observed_at = 0 if times is None else times.shape[-1], None
    if times is None:
        seen = records.take(records.action == ACTIONS.index("observe"))
        visits = int(seen.slot.max(initial=-1)) + 1
        observed_at = np.full((len(followed), visits), np.nan)
        observed_at[seen.course, seen.slot] = seen.time
        observed_at = observed_at[course]
    apart = _apart(model, targets, n, records, course, times, value_of, covariates)
    if apart:
        course, base, first = _split(course, apart)
        size = np.bincount(records.course, minlength=len(followed))
        index, whose = _spread(size[base], (np.cumsum(size) - size)[base])
        records = records.take(index)._replace(course=whose)

    rows = [_visits(times, first)]
    for name, code in CODE.items():
        r = records.take(records.action == ACTIONS.index(name))
        rows.append(_rows(code, r.course, r.time, order=r.order, slot=r.slot))
    begin, end = np.full(len(first), np.inf), np.full(len(first), -np.inf)
    for r in (records, *rows[:2]):
        np.minimum.at(begin, r.course, r.time)
    for r in rows[:2]:  # those that observe
        np.maximum.at(end, r.course, r.time)
    near = ROUNDING * np.maximum(np.abs(begin), np.abs(end))

    def value(parameter: str, courses: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.asarray(value_of(parameter, first[courses], at), dtype=np.float64)

    changes, inputs = _covariate_rows(covariates, course, begin)
    rows += changes
    rows += _Doses(model, targets, value, near).rows(records.take(records.action == DOSE), end)
    rated = (records.action == DOSE) & ((records.rate != 0) | (records.duration > 0))
    rows.append(_flowing_on(records, rated, len(first), len(targets)))
    start, r = _in_order(_Rows(*map(np.concatenate, zip(*rows, strict=True))), near)
    return Plan(
        course=course,
        start=start,
        time=r.time,
        code=r.code.astype(np.int32),
        slot=r.slot.astype(np.int32),
        value=r.value,
        visits=visits,
        decisions=int(r.slot[r.code == DECIDE].max(initial=-1)) + 1,
        targets=targets,
        inputs=inputs,
        infused=tuple(
            sorted(
                {
                    _state(model, name)
                    for name in dosed.filter((pl.col("rate") != 0) | (pl.col("duration") > 0))["into"].unique()
                }
            )
        ),
        observed_at=observed_at,
    )


def _state(model: Model, target: str) -> int:
    return list(model.state.fields()).index(model.routes[target].state if target in model.routes else target)


def _check(model: Model, n: int, events: Events, times: np.ndarray | None, doses: pl.DataFrame) -> None:
    names = list(dict.fromkeys((*model.routes, *model.state.fields())))
    wrong = []
    for name in sorted({*doses["into"].unique()} - {*names}):
        near = difflib.get_close_matches(name, names, 1)
        what = f"into {name!r} is neither a route nor a state" + (f"; did you mean {near[0]!r}?" if near else "")
        wrong.append(f"{_places(doses.filter(pl.col('into') == name))}: {what}; write one of {', '.join(names)}")
    modelled = doses.filter(pl.col("rate") < 0) if (doses["rate"] < 0).any() else doses.clear()
    for (name, kind), rows in modelled.group_by("into", "rate", maintain_order=True):
        part = "rate" if kind == MODELLED_RATE else "duration"
        if name in names and not getattr(model.routes.get(str(name)), part, None):
            what = f"rate {kind:g} asks for the modelled {part} of {name!r}, which has none"
            wrong.append(f"{_places(rows)}: {what}; write Route(..., {part}=<a parameter>), or a rate above 0")
    observes = bool((events.rows["action"] == "observe").any())
    if times is not None and observes:
        wrong.append("visits stand in `times` and as observe rows; keep one of them")
    if times is None and not observes:
        wrong.append("nothing is observed; give `times`, or observe rows")
    if times is not None and (times.ndim not in (1, 2) or (times.ndim == 2 and len(times) != n)):
        wrong.append(f"times has the shape {times.shape}; write (visits,) or ({n}, visits)")
    if times is not None and np.isinf(times).any():
        wrong.append("times holds an infinity; write NaN where a subject has no visit")
    if len(events) != n:
        wrong.append(f"events are of {len(events)} subjects, and {n} are to be solved")
    if wrong:
        raise ValueError("\n".join(["events", *(f"  {line}" for line in wrong)]))


def _places(rows: pl.DataFrame) -> str:
    index = rows["index"].to_list()
    return f"row {', '.join(map(str, index[:10]))}" + (f" and {len(index) - 10} more" if len(index) > 10 else "")


def _records(rows: pl.DataFrame, followed: np.ndarray, targets: tuple[str, ...]) -> _Records:
    """The records of the courses that somebody follows, numbered from 0."""
    there = np.isin(rows["course"].to_numpy(), followed)
    rows = rows if there.all() else rows.filter(pl.Series(there))
    column = {name: rows[name].to_numpy() for name in NUMBERS}
    course, action = np.searchsorted(followed, rows["course"].to_numpy()), _index(rows["action"], ACTIONS)
    seen, decides, gives, resets = (action == ACTIONS.index(name) for name in ("observe", "decide", "dose", "reset"))
    slot = np.zeros(len(rows), dtype=np.int64)
    slot[seen] = _place(course[seen])
    by = np.lexsort((column["time"], course))
    decisions = by[decides[by]]
    slot[decisions] = _place(course[decisions])

    columns = dict(column, course=course, action=action, slot=slot, target=_index(rows["into"], targets))
    columns["additional"] = np.where(gives, column["additional"], 0)
    columns = {name: values[by] for name, values in columns.items()}
    stop = np.where((resets | (gives & (column["steady"] == 1)))[by], np.arange(len(by)), len(by))
    following = np.minimum.accumulate(np.r_[stop, len(by)][::-1])[::-1][1:]
    whose, when = (np.append(columns[name], last) for name, last in (("course", -1), ("time", np.inf)))
    until = np.where(whose[following] == columns["course"], when[following], np.inf)
    return _Records(**columns, order=_place(columns["course"]), until=until)


def _index(names: pl.Series, known: Sequence[str]) -> np.ndarray:
    """The place of each name among those known, -1 for others."""
    return names.cast(pl.Enum(known), strict=False).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _place(course: np.ndarray) -> np.ndarray:
    """The how-manieth of its course each is."""
    by = np.argsort(course, kind="stable")
    place = np.empty(len(by), dtype=np.int64)
    count = np.bincount(course, minlength=1)
    place[by] = np.arange(len(by)) - (np.cumsum(count) - count)[course[by]]
    return place


def _needs(model: Model, targets: tuple[str, ...], r: _Records) -> Iterator[tuple[str, str, np.ndarray]]:
    """What of a route the plan has to know, the parameter that says it, and of which records."""
    asks = {
        "lag": r.action == DOSE,
        "bioavailability": (r.rate != 0) | (r.duration > 0),
        "rate": r.rate == MODELLED_RATE,
        "duration": r.rate == MODELLED_DURATION,
    }
    for k, name in enumerate(targets):
        for part, asked in asks.items():
            parameter = getattr(model.routes.get(name), part, None)
            mask = asked & (r.action == DOSE) & (r.target == k)
            if parameter and mask.any():
                yield part, parameter, mask


def _apart(
    model: Model, targets: tuple[str, ...], n: int, records: _Records, course: np.ndarray, times: np.ndarray | None,
    value_of: ValueOf, covariates: CovariateCourse | None,
) -> list[np.ndarray]:  # fmt: skip
    """(n,) each: what tells two subjects of one course apart."""
    apart = []
    for _, parameter, mask in _needs(model, targets, records):
        needed = np.isin(course, records.course[mask])
        values = np.asarray(value_of(parameter, np.arange(n), np.zeros(n)), dtype=np.float64)
        apart.append(np.where(needed, values, 0.0))
    if times is not None and times.ndim == 2:
        apart += list(times.T)
    if covariates is not None and len(covariates.changes):
        changing = np.zeros(n)
        changing[covariates.changes["subject"].to_numpy()] = 1
        apart.append(changing * np.arange(1, n + 1))
    return [values for values in apart if len(values) and (values.view(np.int64) != values[:1].view(np.int64)).any()]


def _split(course: np.ndarray, apart: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Courses of subjects that nothing tells apart, by their first subject. Returns the course of each subject, and of
    each course the one that it came from and its first subject."""
    keys = np.ascontiguousarray(np.column_stack([course, *apart]), dtype=np.float64)
    whole = keys.view(np.dtype((np.void, keys.shape[1] * keys.itemsize))).ravel()  # by bits, so that NaN is NaN
    _, first, index = np.unique(whole, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    first = np.sort(first)
    return rank[index], course[first], first


def _spread(count: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """start[i], start[i] + 1, ... for `count[i]` numbers, one i after the other; and the i of each."""
    whose = np.repeat(np.arange(len(count)), count)
    return np.arange(len(whose)) + (start - (np.cumsum(count) - count))[whose], whose


def _visits(times: np.ndarray | None, first: np.ndarray) -> _Rows:
    """OBSERVE rows of `times`. `first`: (courses,), a subject of each."""
    if times is None:
        times = np.empty(0)
    planned = times[first] if times.ndim == 2 else np.broadcast_to(times, (len(first), len(times)))
    course, column = np.nonzero(~np.isnan(planned))
    return _rows(OBSERVE, course, planned[course, column], kind=VISITING, slot=column)


def _flowing_on(r: _Records, rated: np.ndarray, courses: int, targets: int) -> _Rows:
    """What flows is to be said anew where a reset or the way to a steady state has stopped it: changes by nothing."""
    infused = np.zeros((courses, targets), dtype=bool)
    infused[r.course[rated], r.target[rated]] = True
    stopped = r.take((r.action == ACTIONS.index("reset")) | ((r.action == DOSE) & (r.steady > 0)))
    i, target = np.nonzero(infused[stopped.course])
    return _rows(RATE, stopped.course[i], stopped.time[i], kind=FLOWING, turn=AGAIN, slot=target)


@dataclass(frozen=True)
class _Doses:
    """How doses enter, and when. `value`: as `plan`'s `value_of`, by course. `near`: (courses,), times closer than this
    are one."""

    model: Model
    targets: tuple[str, ...]
    value: ValueOf
    near: np.ndarray

    def entering(self, r: _Records, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """How doses due at `at` enter: lag, rate and length (0 and 0 of a bolus), and amount, NaN if it cannot be."""
        neutral = {"lag": 0.0, "bioavailability": 1.0, "rate": 0.0, "duration": 0.0}
        known = {part: np.full(len(at), value) for part, value in neutral.items()}
        for part, parameter, mask in _needs(self.model, self.targets, r):
            known[part][mask] = self.value(parameter, r.course[mask], at[mask])
        lag, arriving = known["lag"], known["bioavailability"] * r.amount
        by_rate, by_duration = r.rate == MODELLED_RATE, (r.rate == MODELLED_DURATION) | (r.duration > 0)
        known["duration"] = np.where(r.duration > 0, r.duration, known["duration"])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # [1]
            rate = np.where(by_rate, known["rate"], np.where(by_duration, arriving / known["duration"], r.rate))
            length = np.where(by_duration, known["duration"], arriving / rate)
        length = np.where((r.steady > 0) & (r.amount == 0), _cycle(r), length)  # a constant infusion
        flows = ((r.rate != 0) | by_duration) & ~(np.abs(length) <= 2 * self.near[r.course])
        can = np.isfinite(lag) & (lag >= 0) & (~flows | (np.isfinite(length) & (length > 0) & np.isfinite(rate)))
        flows &= can
        return (
            np.where(can, lag, 0.0),
            np.where(flows, rate, 0.0),
            np.where(flows, length, 0.0),
            np.where(can, r.amount, np.nan),
        )

    def rows(self, r: _Records, end: np.ndarray) -> Iterator[_Rows]:
        """Rows of dose records; what flows as changes, not yet totals. `end`: (courses,), the last observation."""
        r = r.take((r.steady > 0) | (r.amount != 0) | ((r.rate == 0) & (r.duration == 0)))
        before = np.zeros(len(r.time), dtype=np.int64)  # doses still to come or running when a state is steady
        steady = np.flatnonzero(r.steady > 0)
        if len(steady):
            s = r.take(steady)
            lag, rate, length, amount = self.entering(s, s.time)
            before[steady] = np.where(length > 0, np.ceil((lag + length) / _cycle(s)) - 1, lag // _cycle(s))
            yield from _cycles(s, lag, rate, length, amount)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = np.maximum(np.floor((end[r.course] - r.time) / r.interval) + 1, 0)  # no more than anyone could see
        after = np.where(r.additional > 0, np.minimum(r.additional, seen), 0).astype(np.int64)
        constant = (r.steady > 0) & (r.amount == 0)
        j, whose = _spread(np.where(constant, 0, before + 1 + after), -before)

        d = r.take(whose)
        due = np.where(j == 0, d.time, d.time + j * d.interval)
        lag, rate, length, amount = self.entering(d, np.maximum(due, d.time))
        on, off = np.maximum(due + lag, d.time), np.minimum(due + lag + length, d.until)
        bolus, flows = (length == 0) & (on <= d.until), (length > 0) & (on < off)
        yield _rows(ADD, d.course, on, where=bolus, order=d.order, turn=7, slot=d.target, value=amount)
        flow = {"where": flows, "kind": FLOWING, "slot": d.target}
        yield _rows(RATE, d.course, on, turn=STARTS, value=rate, **flow)
        yield _rows(RATE, d.course, off, turn=STOPS, value=-rate, **flow)


def _cycles(r: _Records, lag: np.ndarray, rate: np.ndarray, length: np.ndarray, amount: np.ndarray) -> Iterator[_Rows]:
    """The cycles of doses that lead to a steady state. Arguments after the records: as `_Doses.entering` returns."""
    cycle = _cycle(r)
    since, phase, flows = r.time - cycle, lag % cycle, length > 0
    always, part = np.divmod(length, cycle)  # so many infusions run all the time, and one a part of it
    stop = phase + part
    wraps = stop > cycle
    starts, stops = (part > 0) & (phase > 0), (part > 0) & (stop != cycle)
    running = rate * (always + ((part > 0) & (wraps | (phase == 0))))
    off = since + np.where(wraps, stop - cycle, stop)

    row = functools.partial(_rows, course=r.course, at=r.time, order=r.order)
    yield row(STEADY_START, value=since)
    yield row(ADD, where=~flows, turn=1, time=since + phase, slot=r.target, value=amount)
    yield row(RATE, where=flows, turn=1, time=since, slot=r.target, value=running)
    yield row(RATE, where=starts, turn=3, time=since + phase, slot=r.target, value=rate * (always + 1))
    yield row(RATE, where=stops, turn=np.where(wraps, 2, 4), time=off, slot=r.target, value=rate * always)
    yield row(STEADY_CHECK, turn=5, slot=1 + starts + stops, value=since)
    yield row(STEADY_ADD, where=r.steady == 2, turn=6)


def _cycle(r: _Records) -> np.ndarray:
    return np.where(r.interval > 0, r.interval, CYCLE)


def _covariate_rows(
    covariates: CovariateCourse | None, course: np.ndarray, begin: np.ndarray
) -> tuple[list[_Rows], tuple[str, ...]]:
    """SET rows of the covariates that change, and the inputs that these set. `begin`: (courses,), the first time of
    each, before which nothing can be set and at which the start values hold."""
    if covariates is None or not len(covariates.changes):
        return [], ()
    sloping = pl.col("name").is_in(list(covariates.linear))
    steps, linear = covariates.changes.filter(~sloping), covariates.changes.filter(sloping)
    sets = [steps.select("subject", "time", input="x." + pl.col("name"), value="value")]
    if len(linear):
        sets += _slopes(linear, covariates, begin[course])
    table = pl.concat(sets).sort("time", maintain_order=True)
    inputs = tuple(sorted(table["input"].unique()))
    slot = table["input"].replace_strict(inputs, range(len(inputs)), return_dtype=pl.Int64).to_numpy()
    whose = course[table["subject"].to_numpy()]
    at = np.maximum(table["time"].to_numpy(), begin[whose])
    order = np.arange(len(table))
    return [_rows(SET, whose, at, kind=CHANGING, order=order, slot=slot, value=table["value"].to_numpy())], inputs


def _slopes(linear: pl.DataFrame, covariates: CovariateCourse, begin: np.ndarray) -> list[pl.DataFrame]:
    """Value and slope of all sloping covariates of a subject wherever one of them turns, and that time."""
    each = ["subject", "name"]
    first = linear.group_by(each, maintain_order=True).agg(pl.col("time").min())
    start = [float(np.asarray(getattr(covariates.start, name))[i]) for i, name in first.select(each).iter_rows()]
    starts = first.with_columns(turn="time", time=begin[first["subject"].to_numpy()], value=pl.Series(start))
    knots = pl.concat([starts.filter(pl.col("time") < pl.col("turn")).drop("turn"), linear], how="diagonal")
    rise, run = (pl.col(c).shift(-1) - pl.col(c) for c in ("value", "time"))
    knots = knots.sort("time").with_columns(slope=(rise / run).over(each).fill_null(0.0), knot="time")
    turns = knots.select("subject", "time").unique()
    grid = turns.join(knots.select(each).unique(), on="subject").sort("time", *each)
    grid = grid.join_asof(knots, on="time", by=each, check_sortedness=False).drop_nulls("knot")
    value = pl.col("value") + pl.col("slope") * (pl.col("time") - pl.col("knot"))
    keys = ["subject", "time"]
    return [
        grid.select(*keys, input="x." + pl.col("name"), value=value),
        grid.select(*keys, input="s." + pl.col("name"), value="slope"),
        turns.select(*keys, input=pl.lit("since"), value="time"),
    ]


def _in_order(rows: _Rows, near: np.ndarray) -> tuple[np.ndarray, _Rows]:
    """The start of each course, and rows in the order in which they happen, none that nobody sees."""
    by = np.lexsort((rows.at, rows.course))
    course, at = rows.course[by], rows.at[by]
    with np.errstate(invalid="ignore"):
        later = (course[1:] != course[:-1]) | (at[1:] - at[:-1] > near[course[1:]])
    first = np.append(True, later)[: len(by)]  # of those at one time
    moment = np.cumsum(first) - 1
    place = np.argsort(moment * (4 * ORDERS * TURNS) + rows.rank[by], kind="stable")
    rows, moment = rows.take(by[place]), moment[place]
    now = at[first][moment]
    rows = rows._replace(time=np.where(rows.time == rows.at, now, np.minimum(rows.time, now)))  # cycles end by then

    visit = np.flatnonzero(rows.code == OBSERVE)
    last = np.full(len(near), -1)
    last[rows.course[visit]] = visit
    keep = np.arange(len(by)) <= last[rows.course]
    flow = np.flatnonzero(rows.rank >= FLOWING * ORDERS * TURNS)
    if len(flow):
        rows.value[flow], news = _totals(rows.take(flow), moment[flow])
        keep[flow] &= news
    rows = rows.take(keep)
    return np.append(0, np.cumsum(np.bincount(rows.course, minlength=len(near)))), rows


def _totals(rows: _Rows, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All that flows into a target after each change, and whether a solver has to hear of it: of the last change at a
    time. Summed anew from whenever nothing flows, so that no rounding stays, and no course's sums touch another's."""
    by = np.lexsort((rows.slot, rows.course))
    r, moment = rows.take(by), moment[by]
    turn = r.rank % TURNS
    count = np.arange(len(by))
    running = np.cumsum(np.choose(turn, (1, -1, 0)))
    fresh = np.append(True, running[:-1] == 0)
    place = count - np.maximum.accumulate(np.where(fresh, count, 0))
    total = r.value.copy()
    for i in np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place)))[1:]:
        total[i] += total[i - 1]
    total[running == 0] = 0.0

    other = (r.course[1:] != r.course[:-1]) | (r.slot[1:] != r.slot[:-1])
    end = np.flatnonzero(np.append(other | (moment[1:] != moment[:-1]), True))
    before = np.where(np.append(True, other[end[:-1]]), 0.0, total[np.append(0, end[:-1])])
    news = np.zeros(len(by), dtype=bool)
    news[end] = (total[end] != before) | (turn[end] == AGAIN)
    back = np.argsort(by)
    return total[back], news[back]
