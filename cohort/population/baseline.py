"""A trial's published baseline table: read, and checked against the columns of people and the trial's criteria."""

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from cohort.bounded import BoundError, csv_rows
from cohort.population.causal import Column
from cohort.units import factor

ROUNDING = 0.5  # percent, by which the printed percentages of a variable may sum to more or less than 100
HEADER = ["variable", "level", "statistic", "value", "unit", "n", "source"]
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?", re.ASCII)
STATISTIC = re.compile(r"mean|sd|percent|median|quantile\(0?\.\d*[1-9]\d*\)", re.ASCII)
WHOLE = re.compile(r"\d{1,9}", re.ASCII)
# No living adult's or child's mean: our own wide limits, in the columns' units, which catch a slip of unit.
LIMITS = {
    "age": (0, 120),
    "height": (20, 260),
    "weight": (0.3, 600),
    "bmi": (5, 200),
    "haematocrit": (0.05, 0.8),
    "creatinine": (0.05, 40),
    "gfr": (0, 300),
    "albumin": (5, 80),
}


class MatchingError(ValueError):
    """A table, a criterion or a pool that cannot be matched; the message names line, column or variable."""


class Criterion(Protocol):
    """One line of eligibility."""

    @property
    def text(self) -> str: ...

    @property
    def column(self) -> str: ...

    def keeps(self, values: np.ndarray, column_unit: str, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Target:
    """One line of a published baseline table.

    `statistic`: mean, sd, median or quantile(0.25) of a number, or percent of a category's level. `unit`: of the value.
    `n`: the patients whom it describes."""

    variable: str
    statistic: str
    value: float
    unit: str
    level: str = ""
    n: int | None = None
    source: str = ""

    @property
    def share(self) -> float:
        """At or below the value of a median or quantile."""
        return 0.5 if self.statistic == "median" else float(self.statistic[9:-1])

    @property
    def name(self) -> str:
        return f"{self.variable}: {' '.join(filter(None, (self.statistic, self.level)))}"

    def __str__(self) -> str:
        return f"{self.name} {self.value:.4g} {self.unit}".removesuffix(" 1")

    def off(self, miss: float) -> str:
        """The value that misses by so much in its moment: of an SD, in its square; of a percentage, in its share."""
        if self.statistic not in ("mean", "sd", "percent"):
            return f"a share of {self.share + miss:.3g} there, not {self.share:g}"
        if self.statistic == "sd":
            return f"{math.sqrt(max(self.value**2 + miss, 0)):.4g} {self.unit}".removesuffix(" 1")
        return f"{self.value + miss * (100 if self.statistic == 'percent' else 1):.4g} {self.unit}".removesuffix(" 1")


def read_targets(path: str | Path, columns: Mapping[str, Column], criteria: Sequence[Criterion] = ()) -> list[Target]:
    """A published baseline table, from CSV with the columns of HEADER; an empty n is unknown.

    Returns it in the units of `columns`. Errors: MatchingError naming file, row and column of everything wrong."""
    path = Path(path)
    try:
        header, rows = csv_rows(path)
    except BoundError as e:
        raise MatchingError(f"{e}; write the path of a CSV file" if not path.is_file() else str(e)) from None
    if sorted(header) != sorted(HEADER):
        raise MatchingError(f"{path}:1: the header is {','.join(header)}; write {','.join(HEADER)}")
    if not rows:
        raise MatchingError(f"{path}: there is no line below the header")
    wrong, read = [], []
    for number, row in rows:
        place, line = f"{path}:{number}", dict(zip(header, row, strict=False))
        if len(row) != len(header):
            wrong.append(f"{place}: more or fewer cells than the {len(HEADER)} columns of the header")
            continue
        variable, level, statistic, value, unit, n, source = (line[column].strip() for column in HEADER)
        if not NUMBER.fullmatch(value):
            wrong.append(f"{place}, value: {value!r}; write a number")
            continue
        if n and not (WHOLE.fullmatch(n) and int(n)):
            wrong.append(f"{place}, n: {n!r}; write the number of patients, or nothing")
            n = ""
        if not source:
            wrong.append(f"{place}, source: empty; write where the figure was published")
        read.append((place, Target(variable, statistic, float(value), unit, level, int(n) if n else None, source)))
    found, more = _checked(read, columns, criteria)
    if wrong := wrong + more:
        raise MatchingError("\n".join(wrong))
    return found


def check_targets(
    targets: Sequence[Target], columns: Mapping[str, Column], criteria: Sequence[Criterion] = ()
) -> list[Target]:
    """The same of targets written in Python. Errors: MatchingError naming everything wrong."""
    found, wrong = _checked([(f"target {i}", t) for i, t in enumerate(targets, 1)], columns, criteria)
    if wrong:
        raise MatchingError("\n".join(wrong))
    return found


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else f"write one of {', '.join(known)}"


def _checked(
    lines: Iterable[tuple[str, Target]], columns: Mapping[str, Column], criteria: Sequence[Criterion]
) -> tuple[list[Target], list[str]]:
    """Targets in the columns' units, and what is wrong with them. lines: where each stands, and what it says."""
    found: dict[tuple[str, str, str], tuple[str, Target]] = {}
    wrong: list[str] = []
    for place, t in lines:
        column = columns.get(t.variable)
        if column is None:
            wrong.append(f"{place}, variable: {t.variable!r} is no column; {_near(t.variable, columns)}")
            continue
        if t.statistic == "percent" and not t.level and column.levels == ("no", "yes"):
            t = replace(t, level="yes")
        if odd := _misfit(t, column):
            wrong.append(f"{place}, {odd}")
            continue
        unit = "percent" if t.statistic == "percent" else column.unit
        t = replace(t, value=t.value * factor(t.unit, unit), unit=unit)
        if odd := _impossible(t, criteria):
            wrong.append(f"{place}, value: {odd}")
            continue
        key = (t.variable, t.level, t.statistic if t.statistic in ("mean", "sd", "percent") else f"{t.share:g}")
        if key in found:
            wrong.append(f"{place}: says the same as {found[key][0]}; keep one")
            continue
        found[key] = place, t
    for variable in dict.fromkeys(key[0] for key in found):
        mine = [line for key, line in found.items() if key[0] == variable]
        wrong += _at_odds(mine)
        shares = {t.level: t for _, t in mine if t.statistic == "percent"}
        total = sum(t.value for t in shares.values())
        whole = bool(shares) and set(shares) == set(columns[variable].levels)
        if total > 100 + ROUNDING or (whole and total < 100 - ROUNDING):
            wrong.append(f"{mine[-1][0]}, value: the percentages of {variable} sum to {total:g}; check them")
        elif whole or total > 100:  # printed figures are rounded
            for level, t in shares.items():
                found[variable, level, "percent"] = "", replace(t, value=100 * t.value / total)
    return [t for _, t in found.values()], wrong


def _misfit(t: Target, column: Column) -> str | None:
    """What keeps a line from being about this column."""
    if not STATISTIC.fullmatch(t.statistic):
        return f"statistic: {t.statistic!r}; write mean, sd, percent, median or such as quantile(0.25)"
    if (t.statistic == "percent") != bool(column.levels):
        return f"statistic: {t.statistic} of {t.variable}, which is a {'category' if column.levels else 'number'}"
    if column.levels and t.level not in column.levels:
        return f"level: {t.level!r} of {t.variable}; {_near(t.level, column.levels)}"
    if not column.levels and t.level:
        return f"level: {t.level!r}, but {t.variable} is a number; leave it empty"
    unit = "percent" if column.levels else column.unit
    if not t.unit:
        return f"unit: missing; write such as {unit}"
    try:
        factor(t.unit, unit)
    except ValueError as e:
        return f"unit: {e}; write such as {unit}"
    return None


def _impossible(t: Target, criteria: Sequence[Criterion]) -> str | None:
    """Why no group of people has this figure."""
    if not math.isfinite(t.value):
        return f"{t.value}; write a number"
    if t.n is not None and t.n < 1:
        return f"of {t.n} patients; write 1 or more, or None"
    if t.statistic == "sd":
        return None if t.value > 0 else f"{t.value:g}: an SD is more than 0"
    if t.statistic == "percent" and not 0 <= t.value <= 100:
        return f"{t.value:g} percent; write one from 0 to 100"
    low, high = LIMITS.get(t.variable, (-math.inf, math.inf))
    if not low <= t.value <= high:
        return f"{t}: no such people; write one from {low:g} to {high:g} {t.unit}, or mend the unit"
    percent = t.statistic == "percent"
    for criterion in criteria:
        if criterion.column == t.variable and not (percent and t.value == 0):
            try:
                kept = criterion.keeps(np.array([t.level if percent else t.value]), "1" if percent else t.unit)
            except (TypeError, ValueError) as e:
                return f"criterion '{criterion.text}': {e}"
            if not kept.all():
                return f"{t} lies outside the criterion '{criterion.text}'"
    return None


def _at_odds(lines: Sequence[tuple[str, Target]]) -> list[str]:
    """Which lines about one number contradict each other."""
    mean, sd = (next((t for _, t in lines if t.statistic == s), None) for s in ("mean", "sd"))
    quantiles = sorted(
        ((place, t) for place, t in lines if t.statistic not in ("mean", "sd", "percent")), key=lambda q: q[1].share
    )
    wrong = [f"{p}: an SD needs the mean of {t.variable} beside it" for p, t in lines if t is sd and mean is None]
    for (_, a), (place, b) in itertools.pairwise(quantiles):
        if b.value <= a.value:
            wrong.append(f"{place}, value: {b} is not above {a}: quantiles are out of order")
    if mean is None or sd is None:
        return wrong
    for place, q in quantiles:
        low, high = -math.sqrt((1 - q.share) / q.share), math.sqrt(q.share / (1 - q.share))  # Cantelli's inequality
        if not low <= (q.value - mean.value) / sd.value <= high:
            wrong.append(f"{place}, value: {q} cannot be with {mean} and {sd}")
    return wrong
