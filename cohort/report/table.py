"""A table of the report: one set of rows, shown in the page and written as CSV."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl


def number(value: float | None, digits: int = 1) -> str:
    """A figure for reading, with a true minus sign; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 0) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def short(text: str | None) -> str:
    return text[:12] if text else "–"


def significant(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3g}".replace("-", "−")


def words(value: Any) -> str:
    return "–" if value is None else str(value)


def digits(n: int) -> Callable[[float | None], str]:
    return lambda value: number(value, n)


FILTERS = {"number": number, "percent": percent, "short": short, "significant": significant}


@dataclass(frozen=True)
class Column:
    """`key`: of the rows, and the name in the CSV; `label`: its heading; `show`: from value to text; `plain`: words,
    which may wrap, and not figures; `error`: the key of its Monte Carlo standard error, shown after ±."""

    key: str
    label: str
    show: Callable[[Any], str] = words
    plain: bool = False
    error: str | None = None
    low: str | None = None
    high: str | None = None

    def cell(self, row: dict[str, Any]) -> str:
        """The value as text, with its error and its interval where the column has them."""
        value = row.get(self.key)
        text = self.show(value)
        if value is None:
            return text
        if self.error and row.get(self.error) is not None:
            text += f" ± {self.show(row[self.error])}"
        if self.low and self.high and row.get(self.low) is not None:
            text += f" ({self.show(row[self.low])} to {self.show(row[self.high])})"
        return text


@dataclass(frozen=True)
class Table:
    """`number`: T1 to T14; `name`: of its file; `caption`: unit, kind and level of intervals, what is simulated.
    A row whose key `missed` is true is marked."""

    number: str
    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Any]]

    @property
    def file(self) -> str:
        """Its name below the folder `tables`, such as T05_validation.csv."""
        return f"T{int(self.number[1:]):02d}_{self.name}.csv"

    def frame(self) -> pl.DataFrame:
        """The values as they are, with errors and ends of intervals as columns of their own."""
        keys = [k for c in self.columns for k in (c.key, c.error, c.low, c.high) if k]
        values = {k: [_cell(row.get(k)) for row in self.rows] for k in dict.fromkeys(keys)}
        return pl.DataFrame({k: pl.Series(k, v, strict=False) for k, v in values.items()})


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
