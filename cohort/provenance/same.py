"""How far two things that ought to be the same are apart: tables, values of JSON, texts with numbers in them."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from cohort.record import canonical, plain

CAP = 1e-4  # of a value, and of its column's mean size: no study's numerics excuse more
NUMBER = re.compile(r"(?<![\w.])[-−+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Outcome:
    """What was made again beside what was recorded. `largest` and `gap`: the difference nearest to its bound, or
    furthest beyond, relative and absolute, and `where`; `problem`: a difference that no arithmetic explains, "" where
    there is none; `sampled`: by MCMC, whose chains part ways at the first digit that differs."""

    what: str
    values: int = 0
    largest: float = 0.0
    where: str = ""
    tolerance: float = 0.0  # relative
    within: bool = True
    problem: str = ""
    gap: float = 0.0
    sampled: bool = False

    @property
    def identical(self) -> bool:
        return not self.problem and not self.where

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        if self.identical:
            return f"{self.values:,} values, every bit the same"
        how = "within" if self.within else "beyond"
        apart = f"{self.largest:.2g} relative, {self.gap:.2g} absolute"
        return f"largest difference {apart}, {how} {self.tolerance:.2g}, on {self.where}"


def different(what: str, problem: str) -> Outcome:
    return Outcome(what, within=False, problem=f"{what}: {problem}")


def together(what: str, outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of several, over all their values."""
    found = list(outcomes)
    problems = [o.problem for o in found if o.problem]
    worst = max(found, key=lambda o: (bool(o.where), not o.within, o.largest), default=Outcome(what))
    more = f"; {len(problems) - 3} more" if len(problems) > 3 else ""
    return replace(
        worst,
        what=what,
        values=sum(o.values for o in found),
        within=all(o.within for o in found),
        problem="; ".join(problems[:3]) + more,
    )


def compared(
    what: str, recorded: pl.DataFrame, made: pl.DataFrame, keys: Sequence[str], rtol: float, atol: float = 0.0
) -> Outcome:
    """Two tables that ought to be the same, row by row of `keys`, to the bit and of the same types. A number may be off
    by `rtol` times itself and `atol`, which is at most CAP times its column's mean size; all else, and whether there is
    a number, may not be off at all."""
    if missing := set(made.columns) ^ set(recorded.columns):
        return different(what, f"columns {', '.join(sorted(missing))} on one side only")
    if kinds := [name for name in recorded.columns if recorded.schema[name] != made.schema[name]]:
        told = ", ".join(f"{n} is {recorded.schema[n]}, made again {made.schema[n]}" for n in kinds[:3])
        return different(what, told)
    a, b = recorded.sort(*keys), made.select(recorded.columns).sort(*keys)
    if not a.select(keys).equals(b.select(keys)):
        lost, new = b.join(a, on=keys, how="anti"), a.join(b, on=keys, how="anti")
        told = [
            f"{len(rows)} rows {how}, such as {' '.join(map(str, rows.select(keys).row(0)))}"
            for rows, how in ((new, "are recorded that are not made again"), (lost, "are made again and not recorded"))
            if len(rows)
        ]
        return different(what, "; ".join(told) or f"rows {a.height} recorded, {b.height} made again")
    found = [_column(what, a, b[name], keys, rtol, atol) for name in a.columns]
    return replace(together(what, found), values=a.height * len(a.columns), tolerance=rtol)


def _column(what: str, a: pl.DataFrame, y: pl.Series, keys: Sequence[str], rtol: float, atol: float) -> Outcome:
    """One column of two tables of the same rows in the same order; `a` has the keys."""
    name, x = y.name, a[y.name]

    def at(i: int) -> str:
        return f"{name} of {' '.join(map(str, a.select(keys).row(i)))}".strip()

    if not x.dtype.is_float():
        off = ~x.eq_missing(y)
        i = int(off.arg_max() or 0)
        return different(what, f"{at(i)} is {x[i]!r}, made again {y[i]!r}") if off.any() else Outcome(what)
    if (x.is_null() != y.is_null()).any():
        return different(what, f"{name} is missing in other rows than when made again")
    u, v = x.to_numpy().astype(np.float64), y.to_numpy().astype(np.float64)
    off = (u.view(np.int64) != v.view(np.int64)) & ~(np.isnan(u) & np.isnan(v))
    if not off.any():
        return Outcome(what)
    with np.errstate(all="ignore"):
        size, gap = np.maximum(np.abs(u), np.abs(v)), np.where(off, np.abs(u - v), 0.0)
        gap[np.isnan(gap)] = math.inf  # a number on one side only
        finite = np.abs(v[np.isfinite(v)])
        absolute = min(atol, CAP * float(finite.mean())) if finite.size else 0.0
        bound = np.nan_to_num(absolute + rtol * size, nan=0.0, posinf=0.0)
        beyond = np.where(gap > 0, gap / bound, 0.0)
    i = int(np.where(off, beyond, -1.0).argmax())
    relative = float(gap[i] / size[i]) if size[i] > 0 else math.inf if gap[i] else 0.0
    where = f"{at(i)} ({float(u[i])!r} recorded, {float(v[i])!r} made again)"
    return Outcome(what, 0, relative, where, rtol, bool((gap <= bound).all()), "", float(gap[i]))


def numbers(
    what: str,
    recorded: Any,
    made: Any,
    rtol: float,
    atol: float,
    exact: Callable[[str], bool] = lambda place: False,
) -> Outcome:
    """Two values of JSON that ought to be the same, number by number; those at places that are `exact` to the digit."""
    a, b = dict(_leaves(plain(recorded))), dict(_leaves(plain(made)))
    if odd := sorted(a.keys() ^ b.keys()):
        return different(what, f"{odd[0]} on one side only")
    found = [_leaf(what, place, x, b[place], rtol, 0.0 if exact(place) else atol, exact) for place, x in a.items()]
    return replace(together(what, found), values=len(a), tolerance=rtol)


def _leaf(what: str, place: str, x: Any, y: Any, rtol: float, atol: float, exact: Callable[[str], bool]) -> Outcome:
    if canonical(x) == canonical(y):
        return Outcome(what)
    counts = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (x, y))
    if not counts or exact(place):
        return different(what, f"{place} is {x!r}, made again {y!r}")
    gap, size = abs(x - y), max(abs(x), abs(y))
    where = f"{place} ({x!r} recorded, {y!r} made again)"
    return Outcome(what, 0, gap / size if size else 0.0, where, rtol, gap <= atol + rtol * size, "", gap)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}".strip("."))
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{i}]")
    else:
        yield place, value


def texts(what: str, recorded: bytes, made: bytes, rtol: float) -> Outcome:
    """Two texts that ought to be the same; a number in them may be off by `rtol` times itself, and by one in the last
    digit that is written."""
    a, b = (text.decode("utf-8", errors="replace") for text in (recorded, made))
    if a == b:
        return Outcome(what, 1)
    if NUMBER.sub("0", a) != NUMBER.sub("0", b):
        return different(what, "says something else than when it is drawn again")
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return together(what, [Outcome(what, 1), *(_figure(what, x, y, rtol) for x, y in pairs if x != y)])


def _figure(what: str, x: str, y: str, rtol: float) -> Outcome:
    u, v = (float(text.replace("−", "-")) for text in (x, y))
    mantissa, _, exponent = x.lower().partition("e")
    digit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    gap, size = abs(u - v), max(abs(u), abs(v))
    where = f"a figure in it ({x} recorded, {y} drawn again)"
    return Outcome(what, 0, gap / size if size else 0.0, where, rtol, gap <= 1.01 * digit + rtol * size, "", gap)
