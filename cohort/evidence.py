"""Real arms: their published summaries, with sources. `arms` reads names only; `read` opens the outcomes."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.bounded import BoundError, csv_rows

COLUMNS = [
    "trial", "registry", "arm", "outcome", "visit", "n", "estimate", "se", "events", "unit", "pooled_sd",
    "assay", "analysis_set", "adjustment", "missing_data", "source", "status",
]  # fmt: skip
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Row:
    """What a line of an evidence file is about, without its figures: n, estimate, se and events stay closed."""

    line: int
    trial: str
    arms: tuple[str, ...]
    outcome: str
    visit: str
    unit: str


class EvidenceError(ValueError):
    """An evidence file that cannot be read as one; the message names file, line and column."""


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Each row with the line that it ends on; every row has every column."""
    try:
        header, rows = csv_rows(path)
    except BoundError as e:
        raise EvidenceError(str(e)) from None
    missing = [c for c in COLUMNS if c not in header]
    unknown = [c for c in header if c not in COLUMNS]
    twice = sorted({c for c in header if header.count(c) > 1})
    if missing or unknown or twice:
        raise EvidenceError(
            f"{path}:1: the header must be {','.join(COLUMNS)};"
            + (f" missing {', '.join(missing)};" if missing else "")
            + (f" unknown {', '.join(unknown)};" if unknown else "")
            + (f" written twice {', '.join(twice)};" if twice else "")
        )
    wrong = [number for number, row in rows if len(row) != len(header)]
    if wrong:
        raise EvidenceError(
            "\n".join(f"{path}:{n}: more or fewer cells than the {len(COLUMNS)} columns of the header" for n in wrong)
        )
    return [(number, dict(zip(header, row, strict=True))) for number, row in rows]


def arms(path: Path) -> list[Row]:
    """The names on each line: what may be known before predictions are frozen. Errors: EvidenceError."""
    return [
        Row(
            i,
            line["trial"].strip(),
            tuple(a.strip() for a in line["arm"].split("+")),
            *(line[c].strip() for c in ("outcome", "visit", "unit")),
        )
        for i, line in _lines(path)
    ]


def read(path: Path) -> pl.DataFrame:
    """The outcomes. Returns one row per arm and outcome: `arms` as a list, numbers as numbers, the rest as text.

    Errors: EvidenceError naming every cell that is not what its column says.
    """
    wrong: list[str] = []
    rows = []
    for number, line in _lines(path):

        def cell(column: str, kind: type, positive: bool = False, line=line, number=number):
            text = line[column].strip()
            if not text:
                return None
            read = (WHOLE if kind is int else NUMBER).fullmatch(text)
            value = kind(text) if read else math.nan
            if not math.isfinite(value) or (positive and value <= 0) or (kind is int and value < 0):
                wrong.append(f"{path}:{number}, {column}: {text!r}; write a {'positive ' if positive else ''}number")
                return None
            return value

        row = {
            **{c: line[c].strip() for c in COLUMNS},
            "arms": [a.strip() for a in line["arm"].split("+")],
            "n": cell("n", int, positive=True),
            "estimate": cell("estimate", float),
            "se": cell("se", float, positive=True),
            "events": cell("events", int),
        }
        mean, count = row["estimate"] is not None, row["events"] is not None
        if mean == count and not wrong:
            wrong.append(f"{path}:{number}: a line gives either estimate and se, or events")
        if mean and row["se"] is None and not wrong:
            wrong.append(f"{path}:{number}, se: empty; an estimate needs its standard error")
        if count and row["n"] is not None and row["events"] > row["n"]:
            wrong.append(
                f"{path}:{number}, events: {row['events']} of {row['n']} patients; there are more events than patients"
            )
        if row["n"] is None and not wrong:
            wrong.append(f"{path}:{number}, n: empty; write the number of patients analysed")
        rows.append(row)
    if wrong:
        raise EvidenceError("\n".join(wrong))
    numbers = {"arms": pl.List(pl.String), "n": pl.Int64, "estimate": pl.Float64, "se": pl.Float64, "events": pl.Int64}
    return pl.DataFrame(rows, schema={c: numbers.get(c, pl.String) for c in (*COLUMNS, "arms")})
