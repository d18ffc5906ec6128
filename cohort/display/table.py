"""A table of the report: one set of rows, shown in the page and written as CSV."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


def number(value: float | None, digits: int = 1) -> str:
    """A figure for reading, with a true minus sign; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None or math.isnan(value) else f"{number(100 * value, digits)} %"


def probability(value: float | None) -> str:
    """Three digits; what would round to 0 or 1 is a bound, for no posterior is sure."""
    if value is None or math.isnan(value):
        return "–"
    return "<0.001" if value < 0.0005 else ">0.999" if value >= 0.9995 else f"{value:.3f}"


def yes(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"


def short(text: str | None) -> str:
    return text[:12] if text else "–"


def significant(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3g}".replace("-", "−")


def words(value: Any) -> str:
    return "–" if value is None else str(value)


def digits(n: int) -> Callable[[float | None], str]:
    return lambda value: number(value, n)


FILTERS = {
    "number": number,
    "percent": percent,
    "short": short,
    "significant": significant,
    "probability": probability,
    "yes": yes,
}
NEGLIGIBLE = 1e-6  # a standard error below it is said to be so
# A spreadsheet would run a text that starts so.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True)
class Column:
    """`key`: of the rows, and the name in the CSV; `label`: its heading; `show`: from value to text; `plain`: words,
    which may wrap, and not figures; `error`: the key of its Monte Carlo standard error, shown after ± unless it is 0,
    and the value exact; `spread`: of its standard deviation or error, in brackets; `low` and `high`: of its interval;
    `to`: of the other end, where the value is one end of an interval. A column that is `hidden` is in the CSV only."""

    key: str
    label: str
    show: Callable[[Any], str] = words
    plain: bool = False
    error: str | None = None
    spread: str | None = None
    low: str | None = None
    high: str | None = None
    to: str | None = None
    hidden: bool = False

    def cell(self, row: dict[str, Any]) -> str:
        """The value as text, with its error and its interval where the column has them."""
        value = row.get(self.key)
        text = self.show(value)
        if value is None:
            return text
        if self.to and row.get(self.to) is not None:
            text += f" to {self.show(row[self.to])}"
        if self.error and row.get(self.error):
            text += f" ± {_error(row[self.error], self.show)}"
        if self.spread and row.get(self.spread) is not None:
            text += f" ({self.show(row[self.spread])})"
        if self.low and self.high and row.get(self.low) is not None:
            text += f" ({self.show(row[self.low])} to {self.show(row[self.high])})"
        return text


def _error(value: float, show: Callable[[Any], str]) -> str:
    """A standard error as its value is written, with more digits where it would be nought."""
    text = show(value)
    if any(d in text for d in "123456789") and text[0] not in "<>":
        return text
    return f"{value:.0e}" if value >= NEGLIGIBLE else f"<{NEGLIGIBLE:.0e}"


@dataclass(frozen=True)
class Absent:
    """A table that does not apply to a study, and why."""

    number: str
    title: str
    reason: str


@dataclass(frozen=True)
class Table:
    """`number`: T1 to T14; `name`: of its file; `caption`: unit, kind and level of intervals, what is simulated.
    A row whose key `missed` is true is marked. `brief`: the rows that stand in view where the whole is long, and has to
    be opened."""

    number: str
    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]
    brief: Sequence[dict[str, Any]] = ()

    @property
    def file(self) -> str:
        """Its name below the folder `tables`, such as T05_validation.csv."""
        return f"T{int(self.number[1:]):02d}_{self.name}.csv"

    @property
    def shown(self) -> list[Column]:
        return [column for column in self.columns if not column.hidden]

    @property
    def keys(self) -> list[str]:
        """Of the values, with errors and ends of intervals as columns of their own."""
        found = [k for c in self.columns for k in (c.key, c.to, c.error, c.spread, c.low, c.high) if k]
        return list(dict.fromkeys(found))

    def csv(self) -> str:
        """The values as they are, unrounded, one row a line; nothing where there is none. A text that a spreadsheet
        would take for a formula starts with an apostrophe; numbers are numbers."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(_plain, self.keys))
        writer.writerows([_plain(row.get(key)) for key in self.keys] for row in self.rows)
        return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = " + ".join(map(str, value))
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
