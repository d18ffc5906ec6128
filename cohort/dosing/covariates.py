"""Covariates that change during treatment: what a subject weighs, or takes beside the study drug, and from when on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from cohort.model import Record

CHANGES = {"subject": pl.Int64, "time": pl.Float64, "name": pl.String, "value": pl.Float64}


@dataclass(frozen=True)
class CovariateCourse[X: Record]:
    """The covariates of n subjects over time.

    `start`: the model's covariates, arrays of (n,), a category as the index of its level. `changes`: rows of CHANGES,
    in any order: from `time` on, in the model's unit, subject `subject` (its place, from 0) has covariate `name` at
    `value`. A covariate is at its start until its first row, and then at each row's value until the next; one that is
    named in `linear` runs straight from its start, at the subject's first record, to its first row and from each row to
    the next, and stays where the last one puts it.
    """

    start: X
    changes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CHANGES))
    linear: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return max((np.size(values) for values in vars(self.start).values()), default=0)

    def at(self, subjects: np.ndarray, times: np.ndarray, begin: np.ndarray | float = 0.0) -> dict[str, np.ndarray]:
        """Every covariate, (k,), of subjects (k,) at times (k,). `begin`: their first records, where lines start."""
        return {name: self._at(name, subjects, times, begin) for name in self.start.fields()}

    def _at(self, name: str, subjects: np.ndarray, times: np.ndarray, begin: np.ndarray | float) -> np.ndarray:
        now = np.asarray(getattr(self.start, name), dtype=np.float64)[subjects]
        rows = self.changes.filter(pl.col("name") == name).sort("subject", "time")
        if rows.is_empty():
            return now
        who, when, value = (rows[column].to_numpy() for column in ("subject", "time", "value"))
        known = np.unique(when)
        key, sought = (
            i * (len(known) + 1) + np.searchsorted(known, t, "right") for i, t in ((who, when), (subjects, times))
        )
        last = np.searchsorted(key, sought, "right") - 1  # keys ascend with subject and time
        begun = (last >= 0) & (who[last] == subjects)
        now = np.where(begun, value[last], now)
        if name in self.linear:
            since, then = np.where(begun, when[last], begin), np.minimum(last + 1, len(who) - 1)
            ahead = (then > last) & (who[then] == subjects) & (when[then] > since)
            share = (times - since) / np.where(ahead, when[then] - since, 1.0)
            now = now + np.where(ahead, np.clip(share, 0.0, 1.0), 0.0) * (value[then] - now)
        return now

    def check(self) -> None:
        """Errors: ValueError naming every covariate and every row, counted from 0, that cannot be."""
        wrong = [*self._wrong_start(), *self._wrong_linear()]
        if self.changes.schema == CHANGES:
            wrong += [text for _, text in sorted(self._wrong_changes())]
        else:
            have, want = (", ".join(f"{n} {kind}" for n, kind in s.items()) for s in (self.changes.schema, CHANGES))
            wrong.append(f"changes: the columns are {have or 'none'}; write {want}")
        if wrong:
            raise ValueError("\n".join(["covariates", *(f"  {line}" for line in wrong)]))

    def _wrong_start(self) -> Iterator[str]:
        for name, meta in self.start.fields().items():
            values = np.asarray(getattr(self.start, name), dtype=np.float64)
            if values.shape != (len(self),):
                yield f"start, {name}: the shape is {values.shape}; write one value for each of {len(self)} subjects"
                continue
            bad = np.flatnonzero(~_fits(values, meta))
            if len(bad):
                who = ", ".join(map(str, bad[:10])) + (f" and {len(bad) - 10} more" if len(bad) > 10 else "")
                yield f"start, {name}: cannot be {values[bad[0]]:g}, as for subjects {who}; write {_wanted(meta)}"

    def _wrong_linear(self) -> Iterator[str]:
        known = self.start.fields()
        for name in sorted(self.linear):
            if name not in known:
                yield f"linear: the model has no covariate {name!r}; it has {', '.join(known)}"
            elif known[name]["levels"]:
                yield f"linear: {name} is a category, and nothing lies between its levels; leave it out"

    def _wrong_changes(self) -> Iterator[tuple[int, str]]:
        """Row and what is wrong with it."""
        known, n, rows = self.start.fields(), len(self), self.changes

        def bad(column: str, rule: pl.Expr, advice: str) -> Iterator[tuple[int, str]]:
            for i, found in rows.with_row_index().filter(rule).select("index", column).iter_rows():
                yield i, f"changes, row {i}, {column}: {found!r}; {advice}"

        yield from bad(
            "subject", ~pl.col("subject").is_between(0, n - 1).fill_null(False), f"write a place from 0 to {n - 1}"
        )
        yield from bad("time", ~pl.col("time").is_finite().fill_null(False), "write a finite number")
        yield from bad(
            "name",
            ~pl.col("name").is_in(list(known)).fill_null(False),
            f"write a covariate of the model: {', '.join(known)}",
        )
        for name, meta in known.items():
            fits = pl.Series(_fits(rows["value"].to_numpy(), meta))
            yield from bad("value", (pl.col("name") == name) & ~pl.lit(fits), f"as {name}, write {_wanted(meta)}")
        again = ~pl.struct("subject", "time", "name").is_first_distinct()
        yield from bad("time", again, "a row above has this covariate at this time already; keep one")


def _fits(values: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """Whether each is a finite number, and for a category the index of a level."""
    return np.isin(values, np.arange(len(meta["levels"]))) if meta["levels"] else np.isfinite(values)


def _wanted(meta: Mapping[str, Any]) -> str:
    levels = meta["levels"]
    return f"the index of one of {', '.join(levels)}, from 0" if levels else f"a finite number in {meta['unit']}"
