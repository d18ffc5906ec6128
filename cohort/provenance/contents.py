"""How two files differ in what they say, whatever bytes they say it with: tables by column, netCDF by variable, texts
beyond the times and hashes that every run writes anew."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.provenance.spelling import SpellingError, parsed

if TYPE_CHECKING:
    import h5py

KEYS = ("draw", "arm", "subject", "time", "visit", "endpoint", "event")  # what names a row in a table of ours
MONTHS = b"January|February|March|April|May|June|July|August|September|October|November|December"
MONTHS += b"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# What two runs of the same thing write differently: the time, and hashes of files that hold the time (whole, of a
# commit, or cut to 16 or 12 digits).
STAMPS = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?UTC|Z|[+-]\d\d:\d\d)?"
    rb"|\b\d{1,2} (" + MONTHS + rb") \d{4}\b"
    rb"|(?<![.\w])([0-9a-f]{64}|[0-9a-f]{40}|(?=\d*[a-f])([0-9a-f]{16}|[0-9a-f]{12}))(?![.\w])"
)
LARGEST = 64 << 20  # bytes of a text or of a chunk that is held whole
MOST = 8 << 30  # bytes of a variable that is read through
COLUMNS = 500  # columns of a table that are compared
INTERVAL = ("predicted", "low_0.95", "high_0.95")


@dataclass(frozen=True)
class Table:
    """Largest differences of two tables of the same rows, by column; or why there are none."""

    rows: int = 0
    columns: tuple[tuple[str, float | None, int], ...] = ()  # name, largest |difference|, rows that differ
    note: str = ""


def printable(text: str) -> str:
    """A text from a folder that may be hostile, as it can stand in a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def same_text(left: bytes, right: bytes) -> bool:
    """Whether two texts differ in nothing but times and hashes."""
    return STAMPS.sub(b"", left) == STAMPS.sub(b"", right)


def tables(left: Path, right: Path) -> Table:
    """Compare two Parquet files whose rows are the same people and visits in the same order. They are read side by side
    in a stream and never held whole."""
    try:
        return _tables(pl.scan_parquet(left, glob=False), pl.scan_parquet(right, glob=False))
    except pl.exceptions.PolarsError as e:
        return Table(note=f"not readable as Parquet ({type(e).__name__})")


def _tables(left: pl.LazyFrame, right: pl.LazyFrame) -> Table:
    x, y = left.collect_schema(), right.collect_schema()
    a, b = (int(each.select(pl.len()).collect().item()) for each in (left, right))
    if a != b:
        return Table(note=f"{a:,} and {b:,} rows")
    alone = [c for c in [*x, *y] if (c in x) != (c in y)]
    kinds = [c for c in x if c in y and x[c] != y[c]]
    note = [f"columns in one alone: {', '.join(alone)}"] if alone else []
    note += [f"columns of two kinds: {', '.join(kinds)}"] if kinds else []
    both = [c for c in x if c in y and c not in kinds]
    note += [f"{len(both) - COLUMNS} columns not compared"] if len(both) > COLUMNS else []
    both = both[:COLUMNS]
    rows = pl.concat(
        [
            left.select(pl.col(c).alias(f"a{i}") for i, c in enumerate(both)),
            right.select(pl.col(c).alias(f"b{i}") for i, c in enumerate(both)),
        ],
        how="horizontal",
    )
    keys = [i for i, c in enumerate(both) if c in KEYS]
    aligned = pl.all_horizontal([pl.col(f"a{i}").eq_missing(pl.col(f"b{i}")) for i in keys] or [pl.lit(True)])
    if keys and not rows.select(aligned.all()).collect(engine="streaming").item():
        named = ", ".join(both[i] for i in keys)
        return Table(a, note=f"the rows are not those of the same {named}, one after another")
    values = [i for i in range(len(both)) if i not in keys]
    asked = [pl.col(f"a{i}").ne_missing(pl.col(f"b{i}")).sum().alias(f"rows{i}") for i in values]
    numbers = [i for i in values if x[both[i]].is_numeric()]
    for i in numbers:
        apart = (pl.col(f"a{i}").cast(pl.Float64) - pl.col(f"b{i}").cast(pl.Float64)).abs()
        asked.append(apart.fill_nan(None).max().alias(f"most{i}"))
    row = rows.select(asked).collect(engine="streaming").row(0, named=True) if asked else {}
    differing = [(printable(both[i]), row.get(f"most{i}"), row[f"rows{i}"]) for i in values if row[f"rows{i}"]]
    return Table(a, tuple(differing), printable("; ".join(note)))


def netcdf(left: Path, right: Path) -> str:
    """Which variables and attributes differ between two netCDF files, times and hashes aside; "" where none do."""
    import h5py

    try:
        with h5py.File(left, "r") as f, h5py.File(right, "r") as g:
            found = [printable(name) for name in dict.fromkeys(_variables(f, g))]
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as e:
        return f"other bytes, not readable as netCDF ({type(e).__name__})"
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    return f"other {', '.join(found[:6])}{more}" if found else ""


def _variables(left: "h5py.File", right: "h5py.File") -> Iterator[str]:
    import h5py

    sides: list[dict[str, Any]] = []
    for file in (left, right):
        named: dict[str, Any] = {"/": file}
        file.visititems(
            lambda name, item, named=named: named.update({name: item})
        )  # no link out of the file is visited
        sides.append(named)
    x, y = sides
    for name in [*x, *(n for n in y if n not in x)]:
        if name not in x or name not in y:
            yield f"{name} (in {'B' if name not in x else 'A'} alone)"
            continue
        one, two = x[name], y[name]
        p, q = _attributes(one), _attributes(two)
        for key in [*p, *(k for k in q if k not in p)]:
            if p.get(key) != q.get(key):
                parts = _parts(p.get(key), q.get(key))
                yield f"{name}@{key}{f' ({parts})' if parts else ''}"
        if isinstance(one, h5py.Dataset) and isinstance(two, h5py.Dataset) and not _same_values(one, two):
            yield name


def _attributes(item: Any) -> dict[str, Any]:
    """Attributes that are text or numbers; references between variables are the format's own bookkeeping."""
    import numpy as np

    found: dict[str, Any] = {}
    for key in item.attrs:
        value = item.attrs[key]
        if isinstance(value, str):
            found[key] = _said(STAMPS.sub(b"", value.encode()).decode())
        elif np.asarray(value).dtype.kind in "biufSU":
            found[key] = repr(np.asarray(value).tolist())
    return found


def _said(text: str) -> Any:
    """A text, or what it says as JSON: of a comparison without its standing, which the trail tells."""
    try:
        found = parsed(text) if len(text) <= LARGEST else text
    except SpellingError:
        return text
    if isinstance(found, dict):
        found.pop("standing", None)
        if isinstance(found.get("comparison"), dict):
            found["comparison"].pop("standing", None)
    return found


def _parts(x: Any, y: Any) -> str:
    """Which parts of two JSON texts differ."""
    if not isinstance(x, dict) or not isinstance(y, dict):
        return ""
    return ", ".join(str(k) for k in [*x, *(k for k in y if k not in x)] if x.get(k) != y.get(k))


def _same_values(one: "h5py.Dataset", two: "h5py.Dataset") -> bool:
    import numpy as np

    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    for each in (one, two):
        if each.external or each.is_virtual:
            raise ValueError("values that lie in other files")
        held = math.prod(each.chunks or each.shape) * each.dtype.itemsize
        if held > LARGEST or math.prod(each.shape) * each.dtype.itemsize > MOST:
            raise ValueError("more values than a result of ours holds")
    for part in one.iter_chunks() if one.chunks else [...]:
        p, q = np.asarray(one[part]), np.asarray(two[part])
        if not np.array_equal(p, q, equal_nan=p.dtype.kind == "f"):
            return False
    return True


def predictions(path: Path) -> dict[tuple[str, str], dict[str, float | None]]:
    """Predicted mean and 95 % predictive interval by endpoint and arm, from a comparison; empty where it has none."""
    try:
        kept = [row for row in summary(path)["arms"] if row["kind"] == "mean"]
        return {(str(row["endpoint"]), str(row["arm"])): {f: _number(row[f]) for f in INTERVAL} for row in kept}
    except (KeyError, TypeError):
        return {}


def standing(path: Path) -> dict[str, Any]:
    """What a comparison says of its own standing: what was registered, frozen and opened before; times and hashes
    aside."""
    found = summary(path)
    plan = found.get("comparison")
    both = {"predictions": found.get("standing"), "plan": plan.get("standing") if isinstance(plan, dict) else None}
    return json.loads(STAMPS.sub(b"", json.dumps(both).encode()))


def summary(path: Path) -> dict[str, Any]:
    """The tables of a comparison; empty where there are none."""
    import h5py

    try:
        with h5py.File(path, "r") as f:
            text = f.attrs["summary"]
        found = parsed(text) if isinstance(text, str) and len(text) <= LARGEST else {}
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
