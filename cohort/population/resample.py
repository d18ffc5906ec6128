"""People from a user's own file, CSV or Parquet: each virtual person is one of its rows, drawn evenly.

Columns that the file lacks are made from those it has, by the equations of US adults. They may be real people: what is
wrong is said by row and column, never by what stands there, for messages end up in logs.
"""

import difflib
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from cohort.bounded import BoundError, csv_rows, odd_id, parquet
from cohort.population.causal import Column

REQUIRED = ("sex", "age", "height", "weight", "ancestry")
BODIES = {"age": (0, 130), "height": (20, 280), "weight": (0.2, 700)}  # y, cm, kg: people are within
MOST_LEVELS = 50  # of a category
SHOWN = 20  # cells of one column that are named one by one


class PeopleError(ValueError):
    """A file of people that is not one; the message names row and column of everything wrong."""


def _table(path: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """The file as it stands, all of a CSV as text, nothing as null; and the unit of each column that says one."""
    if not path.is_file():
        raise PeopleError(f"{path}: no such file; write the path of a .csv or .parquet file of people")
    try:
        if path.suffix == ".parquet":
            table = parquet(path)
            told = {f.name: (f.metadata or {}).get(b"unit", b"").decode("utf-8", "replace") for f in table.schema}
            frame = pl.DataFrame(pl.from_arrow(table))
            return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String)), told
        if path.suffix == ".csv":
            return _csv(path), {}
    except BoundError as e:
        raise PeopleError(str(e)) from None
    raise PeopleError(f"{path}: write people as .csv or .parquet, not {path.suffix or 'without an ending'}")


def _csv(path: Path) -> pl.DataFrame:
    header, rows = csv_rows(path)
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise PeopleError(f"{path}: columns {', '.join(map(repr, twice))} are there more than once; keep one")
    ragged = [i for i, (_, row) in enumerate(rows, 1) if len(row) != len(header)]
    if ragged:
        shown = "".join(f"\n{path}: row {i}: more or fewer cells than the header" for i in ragged[:SHOWN])
        raise PeopleError(shown[1:] + (f"\n{path}: {len(ragged) - SHOWN} rows more" if len(ragged) > SHOWN else ""))
    columns = zip(*(row for _, row in rows), strict=True) if rows else ([] for _ in header)
    texts = {name: [cell or None for cell in cells] for name, cells in zip(header, columns, strict=True)}
    return pl.DataFrame(texts, schema=dict.fromkeys(header, pl.String))


def read_people(path: Path, columns: Mapping[str, Column]) -> tuple[dict[str, np.ndarray], dict[str, Column]]:
    """What a file says of its people: (rows,) by column, categories by the index of their level; and the columns that
    no source has. columns: of the source whose equations fill in what is missing, in whose units the
    file is taken to be. Errors: PeopleError with everything that is wrong."""
    frame, units = _table(path)
    wrong: list[str] = []
    for name in ("subject", *REQUIRED):
        if name not in frame.columns:
            near = difflib.get_close_matches(name, frame.columns, 1)
            wrong.append(f"column '{name}' is missing; add it" + (f", or rename '{near[0]}'" if near else ""))
    if frame.height == 0:
        wrong.append("there are no rows; give at least one person")
    if wrong:
        raise PeopleError("\n".join(f"{path}: {line}" for line in wrong))
    wrong += _ids(frame["subject"])
    rows: dict[str, np.ndarray] = {}
    extra: dict[str, Column] = {}
    for series in frame.drop("subject").iter_columns():
        name, column = series.name, columns.get(series.name)
        if column is None:
            column = extra[name] = _own(series, units.get(name, ""), path.name)
        elif (unit := units.get(name) or column.unit) != column.unit:
            wrong.append(f"column '{name}' is in {unit}; write it in {column.unit}")
        if len(column.levels) > MOST_LEVELS:
            wrong.append(f"column '{name}' has {len(column.levels)} different texts: no category; leave it out")
            continue
        rows[name], lines = _categories(series, column) if column.levels else _numbers(series, column)
        wrong += lines
    if not wrong:
        wrong += _impossible(frame, rows)
    if wrong:
        raise PeopleError("\n".join(f"{path}: {line}" for line in wrong))
    rows["bmi"] = rows["weight"] / (rows["height"] / 100) ** 2
    return rows, extra


def _own(series: pl.Series, unit: str, file: str) -> Column:
    """A column that no source has, as the file has it."""
    number = series.dtype.is_numeric() or series.cast(pl.Float64, strict=False).null_count() == series.null_count()
    levels = () if number else tuple(sorted(set(series.cast(pl.String).drop_nulls())))
    return Column("1" if levels else unit, "as the file has it", file, levels)


def _categories(series: pl.Series, column: Column) -> tuple[np.ndarray, list[str]]:
    index = {level: i for i, level in enumerate(column.levels)}
    values = series.cast(pl.String).to_list()
    wrong = _cells(series.name, values, [v not in index for v in values], f"write one of {', '.join(column.levels)}")
    return np.array([index.get(v, 0) for v in values], np.intp), wrong


def _numbers(series: pl.Series, column: Column) -> tuple[np.ndarray, list[str]]:
    numbers = series.cast(pl.Float64, strict=False)
    bad = (~numbers.is_finite().fill_null(False)).to_list()
    want = "write a number" + (f" in {column.unit}" if column.unit not in ("", "1") else "")
    return numbers.to_numpy(), _cells(series.name, series.to_list(), bad, want)


def _cells(name: str, values: list, bad: list[bool], want: str) -> list[str]:
    found = [i for i, b in enumerate(bad) if b]
    lines = [f"row {i + 1}, column '{name}': {_kind(values[i])}; {want}" for i in found[:SHOWN]]
    return lines + ([f"column '{name}': {len(found) - SHOWN} rows more"] if len(found) > SHOWN else [])


def _kind(value: object) -> str:
    """What stands in a cell, without telling it."""
    if value is None or value == "":
        return "nothing"
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "another text"
    return "no finite number" if not math.isfinite(number) else "a number below 0" if number < 0 else "a number"


def _ids(subjects: pl.Series) -> list[str]:
    if subjects.dtype != pl.String:
        return ["column 'subject': ids are text, so that 0012 stays 0012; write them as strings"]
    ids = subjects.to_list()
    odd = [(row, message) for row, s in enumerate(ids, 1) if (message := odd_id(s))]
    first: dict[str, int] = {}
    again = [(row, first[s]) for row, s in enumerate(ids, 1) if s and first.setdefault(s, row) != row]
    wrong = [f"row {row}, column 'subject': {message}" for row, message in odd[:SHOWN]]
    wrong += [f"row {row}, column 'subject': the id of row {before} again; keep one" for row, before in again[:SHOWN]]
    more = max(len(odd) - SHOWN, 0) + max(len(again) - SHOWN, 0)
    return wrong + ([f"column 'subject': {more} rows more"] if more else [])


def _impossible(frame: pl.DataFrame, rows: Mapping[str, np.ndarray]) -> list[str]:
    """Cells that contradict each other."""
    wrong = []
    for name, (low, high) in BODIES.items():
        off = (rows[name] < low) | (rows[name] > high)
        wrong += _cells(name, rows[name].tolist(), off.tolist(), f"write one from {low:g} to {high:g}")
    if "bmi" in rows and not wrong:
        bmi = rows["weight"] / (rows["height"] / 100) ** 2
        off = np.abs(rows["bmi"] / bmi - 1) > 0.02
        wrong += _cells(
            "bmi", rows["bmi"].tolist(), off.tolist(), "it does not follow from height and weight; mend one"
        )
    if "pregnant" in frame.columns:
        men = (frame["sex"] == "male") & frame["pregnant"].cast(pl.String).is_in(["yes", "true", "1"])
        wrong += _cells("pregnant", frame["pregnant"].to_list(), men.to_list(), "a man is not; mend sex or pregnant")
    return wrong
