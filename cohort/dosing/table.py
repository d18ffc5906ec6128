"""Event tables as NONMEM reads them: one record per line, what was given, measured or changed, to whom and when.

The columns mean what they mean there [1], [2]; what NONMEM would refuse, or would take for a zero that nobody wrote, is
refused. Where this departs from it:

- a missing covariate keeps the subject's last value, and a covariate holds from its own record on; NONMEM reads zero,
  and carries the value of each record back over the interval before it;
- time never goes back, not even at a reset, and all records of a subject stand together;
- CMT says where a dose goes and nothing about an observation: DVID names the output that was measured;
- a dose by a route with a molar mass is in mg; any other is in the unit of the state that it enters.

References
----------
[1] Beal, Sheiner, Boeckmann & Bauer, NONMEM Users Guides, part VI, PREDPP Guide, chapter V: event records.
[2] The same, part VIII, Help Guide: the data items ADDL, AMT, CMT, DV, EVID, II, MDV, RATE and SS.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cohort.bounded import BoundError, csv_rows, odd_id, parquet
from cohort.dosing.covariates import CHANGES, CovariateCourse
from cohort.dosing.records import COLUMNS as RECORDS
from cohort.dosing.records import MODELLED_DURATION, MODELLED_RATE, Events
from cohort.model import Model, Record

OF_A_DOSE = ("AMT", "RATE", "DUR", "II", "ADDL", "SS")
COLUMNS = ("ID", "TIME", *OF_A_DOSE, "CMT", "ROUTE", "EVID", "MDV", "DV", "DVID")
DATES = ("DATE", "DAT1", "DAT2", "DAT3")  # beside one of these, NONMEM counts TIME from its calendar day
ACTIONS = np.array(["observe", "dose", "other", "reset", "dose"])  # by EVID; 4 is a reset, then this


class EventTableError(ValueError):
    """An event table that cannot be read as one; the message names every row and column that is wrong."""


@dataclass(frozen=True)
class EventTable[X: Record, O: Record]:
    """What an event table says of n subjects.

    `subjects`: their ids, in the table's order. `events`: their records in the table's order, with an *observe* for
    each EVID 0; subjects with equal records share a course. `observed`: the model's outputs, arrays of (n, most
    observations of a subject), laid out as `solve` predicts them; NaN where nothing was measured: MDV is 1, DV is
    missing, DV is of another output, or the subject has no more observations. `covariates`: at each subject's first
    record, and their later changes; those in `absent`, which have no column, are NaN. `ignored`: columns not read.
    """

    subjects: list[str]
    events: Events
    observed: O
    covariates: CovariateCourse[X]
    absent: tuple[str, ...]
    ignored: tuple[str, ...]


def read_events[X: Record, O: Record](
    table: str | Path | pl.DataFrame, model: Model[Any, X, Any, O], linear: Collection[str] = ()
) -> EventTable[X, O]:
    """Read an event table for a model, from a `.csv` or `.parquet` file or a frame.

    Columns, in any case and order: ID; TIME, a number in the model's unit; AMT; RATE, or DUR, how long an infusion
    takes; II, ADDL, SS; CMT, a state by its place or name, or a route; ROUTE; EVID, without which a record is a dose if
    any of AMT to SS is not zero; MDV; DV; DVID, an output by its place or name; and covariates by name, a category by
    its level, or else by the level's index. `.` and nothing are missing. A state that one route doses stands for that
    route, so that its bioavailability and lag apply. Covariates named in `linear` run straight from one record that has
    a value to the next; the others step.

    Errors: EventTableError naming every cell that cannot be, its row (the header is row 1), and what to write instead.
    """
    sheet = _sheet(table, model, linear)
    outputs = list(model.outputs.fields())
    subject = sheet.subjects()
    time = sheet.times(subject)
    evid, doses = sheet.doses(model)
    output, dv = sheet.measured(evid, outputs)
    covariates = {n: sheet.covariate(n, m, subject) for n, m in model.covariates.fields().items() if n in sheet.cells}
    sheet.done()

    n = int(subject[-1]) + 1
    first = np.searchsorted(subject, np.arange(n))
    absent = tuple(name for name in model.covariates.fields() if name not in covariates)
    start = {name: values[first] for name, (values, _) in covariates.items()}
    start |= {name: np.full(n, np.nan) for name in absent}
    changes = [_changes(name, subject, time, *course, name in linear) for name, course in covariates.items()]
    changes = pl.concat([pl.DataFrame(schema=CHANGES), *changes]).sort("subject", "time", maintain_order=True)
    return EventTable(
        subjects=sheet.cells["ID"].gather(first).to_list(),
        events=_events(subject, time, evid, doses),
        observed=model.outputs(**_laid_out(subject, evid, output, dv, outputs)),
        covariates=CovariateCourse(model.covariates(**start), changes, frozenset(linear)),
        absent=absent,
        ignored=sheet.ignored,
    )


@dataclass
class _Sheet:
    """The cells of a table, and what was found wrong with them."""

    where: str
    lines: np.ndarray  # (rows,), as an editor counts them
    ids: pl.Series  # as written, with the space around them
    cells: Mapping[str, pl.Series]  # text, null where missing, by column of COLUMNS or covariate
    ignored: tuple[str, ...]
    wrong: list[tuple[int, str]]  # line and message
    bad: dict[str, np.ndarray] = field(default_factory=dict)  # (rows,), cells refused already

    def done(self) -> None:
        """Errors: EventTableError for all that was refused, in the order of the rows."""
        if self.wrong:
            texts = (f"  row {line}, {text}" for line, text in sorted(self.wrong, key=lambda w: w[0]))
            raise EventTableError("\n".join([self.where, *texts]))

    def refuse(self, rows: np.ndarray, column: str, advice: str, needs: Collection[str] = ()) -> None:
        """Take exception to a column's cells in these rows, unless it or one it `needs` was refused there already."""
        for other in (column, *needs):
            rows = rows & ~self.bad.get(other, np.False_)
        if rows.any():
            text = self.text(column)
            for i in np.flatnonzero(rows).tolist():
                found = "missing" if text[i] is None else repr(text[i])
                self.wrong.append((int(self.lines[i]), f"{column}: {found}; {advice}"))
        self.bad[column] = self.bad.get(column, np.False_) | rows

    def text(self, column: str) -> pl.Series:
        """(rows,), null where missing."""
        return self.cells[column] if column in self.cells else _nothing(len(self.lines))

    def numbers(self, column: str, advice: str = "write a number") -> np.ndarray:
        """(rows,), NaN where missing or refused."""
        text = self.text(column)
        values = text.cast(pl.Float64, strict=False).to_numpy()
        self.refuse(text.is_not_null().to_numpy() & ~np.isfinite(values), column, f"{advice}, or . for none")
        return np.where(self.bad[column], np.nan, values)

    def counts(self, column: str, most: int, advice: str) -> np.ndarray:
        """(rows,) whole numbers from 0 to `most`, NaN where missing or refused."""
        values = self.numbers(column, advice)
        fits = (values >= 0) & (values <= most) & (values == np.floor(values))
        self.refuse(~np.isnan(values) & ~fits, column, advice)
        return np.where(fits, values, np.nan)

    def choices[T](self, column: str, known: Mapping[str, T], nothing: T, advice: str) -> list[T]:
        """(rows,), what each cell stands for among `known`; `nothing` where missing or refused."""
        text = self.text(column).str.replace(r"^(\d+)\.0*$", "${1}")  # a place may be written with a point
        self.refuse((text.is_not_null() & ~text.is_in(list(known))).to_numpy(), column, advice)
        return [known.get(t, nothing) for t in text]

    def subjects(self) -> np.ndarray:
        """(rows,), the place of each row's subject."""
        ids = self.text("ID")
        self.refuse(ids.is_null().to_numpy(), "ID", "write the subject's id")
        for advice, odd in _odd(ids.unique(maintain_order=True).drop_nulls()).items():
            self.refuse(ids.is_in(odd).fill_null(False).to_numpy(), "ID", advice)
        written = pl.DataFrame({"id": ids, "as": self.ids})
        spaced = written.select((pl.col("as") != pl.col("as").first().over("id")).fill_null(False)).to_series()
        self.refuse(spaced.to_numpy(), "ID", "only space sets it apart from an id above; write both alike")
        ids = ids.forward_fill()  # a record that lacks its id is no other subject between
        new = np.r_[True, ids[1:].ne_missing(ids[:-1]).to_numpy()]
        again = np.zeros_like(new)
        again[new] = ~ids.filter(pl.Series(new)).is_first_distinct().to_numpy()
        self.refuse(again, "ID", "this subject has records above another's; put all of its records together")
        return np.cumsum(new) - 1

    def times(self, subject: np.ndarray) -> np.ndarray:
        """(rows,), in the model's unit."""
        clock = self.text("TIME").str.contains(r"^\d+:\d+").fill_null(False).to_numpy()
        self.refuse(clock, "TIME", "clock times are not read; write a number in the model's unit of time")
        time = self.numbers("TIME", "write a number in the model's unit of time")
        self.refuse(np.isnan(time), "TIME", "write when the event was")
        back = np.r_[False, (np.diff(time) < 0) & (np.diff(subject) == 0)]
        self.refuse(back, "TIME", "the row above is later; time never goes back, also not after a reset (EVID 3 or 4)")
        return time

    def doses(self, model: Model) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """EVID, (rows,); and what Events hold of doses, (rows,) each, in the unit of the state they enter."""
        given = {column: self.numbers(column) for column in ("AMT", "RATE", "DUR", "II")}
        given["ADDL"] = self.counts("ADDL", 2**31, "write how many more doses follow: 0, 1, 2 and so on")
        given["SS"] = self.counts("SS", 2, "write 0, 1 or 2")
        given = {column: np.nan_to_num(values) for column, values in given.items()}
        amt, rate, dur, ii, addl, ss = given.values()
        if "EVID" in self.cells:
            evid = np.nan_to_num(self.counts("EVID", 4, "write 0, 1, 2, 3 or 4"))
        else:
            evid = np.any([values != 0 for values in given.values()], axis=0).astype(np.float64)
            self.bad["EVID"] = np.any([self.bad[column] for column in OF_A_DOSE], axis=0)  # nobody can say what it is
        dose = np.isin(evid, (1, 4))
        modelled = np.isin(rate, (MODELLED_RATE, MODELLED_DURATION))
        constant = (ss > 0) & (rate > 0) & (amt == 0)  # the steady state of an infusion that never paused [2]
        for column, values in given.items():
            self.refuse(~dose & (values != 0), column, "the record is no dose; write 0, or EVID 1", ("EVID",))
        for column, wrong, advice in (
            ("AMT", ~constant & ~(amt > 0), "a dose is more than 0; only the steady state of a constant RATE has none"),
            ("RATE", (rate < 0) & ~modelled, "write 0, more, or -1 or -2 where the model says the rate or duration"),
            ("DUR", dur < 0, "write how long the infusion takes"),
            ("DUR", (dur != 0) & (rate != 0), "RATE says it already; keep one of the two"),
            ("II", ii < 0, "write the time between doses"),
            ("II", constant & (ii != 0), "an infusion that never pauses has no interval; write 0"),
            ("II", ~constant & (ii == 0) & ((addl > 0) | (ss > 0)), "write the time between doses, for ADDL or SS"),
            ("II", (ii != 0) & (addl == 0) & (ss == 0), "nothing repeats; write 0, or ADDL or SS"),
            ("ADDL", constant & (addl > 0), "an infusion that never pauses has no further doses; write 0"),
        ):
            self.refuse(dose & wrong, column, advice, ("EVID", *OF_A_DOSE))
        into = self.destinations(dose, rate, model)
        amount, speed = amt, rate
        for name, route in model.routes.items():
            if route.molar_mass is not None:
                here = into == name
                amount = np.where(here, amount / 1000 / route.molar_mass * 1e9, amount)  # mg to nmol
                speed = np.where(here & ~modelled, speed / 1000 / route.molar_mass * 1e9, speed)
        return evid.astype(np.int64), {
            "into": into,
            "amount": amount,
            "rate": speed,
            "duration": dur,
            "interval": ii,
            "additional": addl.astype(np.int64),
            "steady": ss.astype(np.int64),
        }

    def destinations(self, dose: np.ndarray, rate: np.ndarray, model: Model) -> np.ndarray:
        """(rows,), the route or state that a dose enters; nothing where there is no dose."""
        states, routes = list(model.state.fields()), model.routes
        ways = {state: [name for name, route in routes.items() if route.state == state] for state in states}
        only = {state: (w[0] if len(w) == 1 else "" if w else state) for state, w in ways.items()}
        places = [(str(i), state) for i, state in enumerate(states, 1)] + [(state, state) for state in states]
        known = {"0": ("", "")} | {text: (state, only[state]) for text, state in places}
        known |= {name: (route.state, name) for name, route in routes.items()}
        choice = f"a state by its place or name ({', '.join(states)}), or a route ({', '.join(routes) or 'none'})"
        cmt = self.choices("CMT", known, ("", ""), f"write {choice}")
        route = self.choices("ROUTE", {name: name for name in routes}, "", f"write one of {', '.join(routes)}")

        state, into, by = np.array([s for s, _ in cmt]), np.array([i for _, i in cmt]), np.array(route)
        for name, at in routes.items():
            elsewhere = dose & (by == name) & (state != "") & (state != at.state)
            self.refuse(elsewhere, "ROUTE", f"it doses {at.state}, and CMT says another; keep one", ("EVID", "CMT"))
        for name in states:
            advice = f"{' and '.join(ways[name])} both dose {name}; write which of them, here or as ROUTE"
            self.refuse(dose & (state == name) & (into == "") & (by == ""), "CMT", advice, ("EVID", "ROUTE"))
        into = np.where(by != "", by, into)
        if len(routes) == 1:
            into = np.where((into == "") & (state == ""), next(iter(routes)), into)
        column = "ROUTE" if "ROUTE" in self.cells else "CMT"
        self.refuse(dose & (into == ""), column, f"write where the dose goes: {choice}", ("EVID", "CMT", "ROUTE"))
        for value, says in ((MODELLED_RATE, "rate"), (MODELLED_DURATION, "duration")):
            able = [name for name, route in routes.items() if getattr(route, says)]
            advice = f"write the rate, or a route whose {says} the model says ({', '.join(able) or 'none'})"
            missing = dose & (rate == value) & ~np.isin(into, able) & (into != "")
            self.refuse(missing, "RATE", advice, ("EVID", "CMT", "ROUTE"))
        return np.where(dose, into, "")

    def measured(self, evid: np.ndarray, outputs: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) each: which output was measured, -1 for none, and its value."""
        mdv = self.counts("MDV", 1, "write 0, or 1 where nothing was measured")
        self.refuse((mdv == 0) & (evid != 0), "MDV", "only an observation (EVID 0) is measured; write 1", ("EVID",))
        dv = self.numbers("DV")
        places = {str(i): i - 1 for i in range(len(outputs) + 1)} | {name: i for i, name in enumerate(outputs)}
        choice = f"which output DV is, by its place or name ({', '.join(outputs)})"
        which = np.array(self.choices("DVID", places, -1, f"write {choice}"))
        which = np.where((which < 0) & (len(outputs) == 1), 0, which)
        seen = (evid == 0) & (mdv != 1) & ~np.isnan(dv)
        self.refuse(seen & (which < 0), "DVID", f"write {choice}", ("EVID", "MDV", "DV"))
        return np.where(seen, which, -1), dv

    def covariate(self, name: str, meta: Mapping[str, Any], subject: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows,) each: its value, the last that was written; and whether it is written in this row."""
        if levels := meta["levels"]:
            known = {str(i): float(i) for i in range(len(levels))} | {level: float(i) for i, level in enumerate(levels)}
            values = np.array(self.choices(name, known, np.nan, f"write one of {', '.join(levels)}"))
        else:
            (low, high), unit = meta["plausible"], meta["unit"]
            values = self.numbers(name, f"write a number in {unit}")
            self.refuse((values < low) | (values > high), name, f"write a number from {low:g} to {high:g} {unit}")
        written, first = ~np.isnan(values), np.r_[True, np.diff(subject) > 0]
        self.refuse(first & ~written, name, "write the value that the subject starts with")
        latest = np.maximum.accumulate(np.where(written | first, np.arange(len(values)), 0))
        return values[latest], written


def _sheet(table: str | Path | pl.DataFrame, model: Model, linear: Collection[str]) -> _Sheet:
    """Errors: EventTableError for what is no table, or has no header to read it by."""
    where = "event table" if isinstance(table, pl.DataFrame) else str(table)
    short: dict[int, int] = {}
    try:
        if not isinstance(table, pl.DataFrame) and Path(table).suffix == ".csv":
            names, columns, lines, short = _csv(Path(table))
        elif isinstance(table, pl.DataFrame) or Path(table).suffix == ".parquet":
            frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(pl.from_arrow(parquet(Path(table))))
            names, columns, lines = frame.columns, frame.get_columns(), np.arange(frame.height) + 2
        else:
            raise EventTableError(f"{where}: is neither .csv nor .parquet; save it as one of them")
    except BoundError as e:
        raise EventTableError(f"cannot be read: {e}") from None

    covariates = {name.casefold(): name for name in model.covariates.fields()}
    known = [n if (n := c.strip().upper()) in COLUMNS else covariates.get(c.strip().casefold()) for c in names]
    wrong = [
        f"{name} is the meaning of more than one column; keep one"
        for name in dict.fromkeys(known)
        if name is not None and known.count(name) > 1
    ]
    wrong += [
        f"there is no column {name}; there are {', '.join(names)}" for name in ("ID", "TIME") if name not in known
    ]
    wrong += [
        f"column {name}: dates are not read; write TIME as a number in {model.time}, and drop this"
        for name in names
        if name.strip().upper() in DATES
    ]
    if "DV" in known and "DVID" not in known and len(outputs := model.outputs.fields()) > 1:
        wrong.append(f"there is no column DVID; write in one which output DV is ({', '.join(outputs)})")
    numbers = [name for name, meta in model.covariates.fields().items() if not meta["levels"]]
    wrong += [
        f"linear: {name!r} is no covariate that is a number; those are {', '.join(numbers)}"
        for name in sorted(set(linear) - set(numbers))
    ]
    if not len(lines):
        wrong.append("there are no records; write a row for each event")
    if wrong:
        raise EventTableError("\n".join([where, *(f"  {line}" for line in wrong)]))
    named = {name: column for name, column in zip(known, columns, strict=True) if name is not None}
    return _Sheet(
        where,
        lines,
        named["ID"].cast(pl.String),
        {name: _text(column) for name, column in named.items()},
        ignored=tuple(c for c, name in zip(names, known, strict=True) if name is None),
        wrong=[
            (line, f"{cells} cells, where the header has {len(names)}; write one for each, . for none")
            for line, cells in short.items()
        ],
        bad=dict.fromkeys(named, np.isin(lines, list(short))),
    )


def _csv(path: Path) -> tuple[list[str], list[pl.Series], np.ndarray, dict[int, int]]:
    """Header, columns, the line of each row, and how many cells there are in the lines that have more or fewer."""
    names, rows = csv_rows(path)
    short = {line: len(row) for line, row in rows if len(row) != len(names)}
    full = ((row + [""] * len(names))[: len(names)] for _, row in rows)
    columns = [pl.Series(column, dtype=pl.String) for column in zip(*full, strict=True)]
    return names, columns or [pl.Series([], dtype=pl.String)] * len(names), np.array([line for line, _ in rows]), short


def _odd(ids: pl.Series) -> dict[str, list[str]]:
    """Ids that another could be taken for, by what to write instead."""
    found: dict[str, list[str]] = {}
    for one in ids:
        if advice := odd_id(one):
            found.setdefault(advice, []).append(one)
    return found


def _text(column: pl.Series) -> pl.Series:
    """As text without the space around it, null where missing. Whole numbers have no point: 1, not 1.0."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
        if ((column == column.round()) & (column.abs() < 2**53)).all():
            column = column.cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.zip_with((text != "") & (text != "."), _nothing(len(text)))


def _nothing(rows: int) -> pl.Series:
    return pl.Series(dtype=pl.String).extend_constant(None, rows)


def _events(subject: np.ndarray, time: np.ndarray, evid: np.ndarray, doses: dict[str, np.ndarray]) -> Events:
    """The records, with one course for all subjects whose records are equal."""
    twice = evid == 4
    row = np.repeat(np.arange(len(evid)), 1 + twice)
    reset = twice[row] & np.r_[True, np.diff(row) > 0]
    columns = {"time": time[row], "action": np.where(reset, "reset", ACTIONS[evid[row]])}
    columns |= {name: np.where(reset, values.dtype.type(), values[row]) for name, values in doses.items()}
    kind = pl.DataFrame(columns).select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy()
    courses: dict[bytes, int] = {}
    pieces = np.split(kind, np.flatnonzero(np.diff(subject[row])) + 1)
    course = np.array([courses.setdefault(piece.tobytes(), len(courses)) for piece in pieces])
    leads = np.r_[True, np.diff(np.maximum.accumulate(course)) > 0]  # the first subject of each course
    kept = leads[subject[row]]
    rows = pl.DataFrame({"course": course[subject[row]]} | columns).filter(pl.Series(kept))
    events = Events(course, rows.select(pl.col(name).cast(kind) for name, (kind, _) in RECORDS.items()))
    events.check()
    return events


def _laid_out(
    subject: np.ndarray, evid: np.ndarray, output: np.ndarray, dv: np.ndarray, outputs: list[str]
) -> dict[str, np.ndarray]:
    """The measurements of each output, (n, most observations of a subject)."""
    observed = np.flatnonzero(evid == 0)
    who = subject[observed]
    visit = np.arange(len(who)) - np.searchsorted(who, who)
    table = np.full((len(outputs), subject[-1] + 1, visit.max(initial=-1) + 1), np.nan)
    seen = output[observed] >= 0
    table[output[observed][seen], who[seen], visit[seen]] = dv[observed][seen]
    return dict(zip(outputs, table, strict=True))


def _changes(
    name: str, subject: np.ndarray, time: np.ndarray, values: np.ndarray, written: np.ndarray, linear: bool
) -> pl.DataFrame:
    """Rows of CHANGES: where the value differs from the one before, or, to run straight between them, all that were
    written. Of several at one time the last holds."""
    rows = pl.DataFrame({"subject": subject, "time": time, "value": values, "written": written}).with_columns(
        start=pl.col("value").first().over("subject")
    )
    if linear:
        rows = rows.filter("written")
    rows = rows.unique(["subject", "time"], keep="last", maintain_order=True)
    if not linear:
        rows = rows.filter(pl.col("value") != pl.col("value").shift().over("subject").fill_null(pl.col("start")))
    return rows.select("subject", "time", name=pl.lit(name), value="value").cast(dict(CHANGES.items()))
