"""What the data sets share: how a variable is computed, names that SAS takes, days and dates, words."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl

from cohort.cdisc.dataset import COLUMNS, EPOCH, FLAG, Class, Dataset, Variable, simulated_label
from cohort.export.virtual import VirtualTrial
from cohort.units import Quantity, spelt

type Column = tuple[Variable, pl.Expr]

YES = (("Y", "Yes"),)
YES_NO = (("Y", "Yes"), ("N", "No"))
WHOLE = 6  # decimals of a day that count: 84.0000000001 d is day 84


def assembled(
    name: str,
    label: str,
    columns: Sequence[Column],
    frame: pl.DataFrame,
    *,
    keys: Sequence[str],
    structure: str,
    kind: Class,
    subclass: str = "",
) -> Dataset:
    """A data set whose variables are computed of the rows of `frame`; marked as simulated, sorted by its keys."""
    marked = [*columns, (FLAG, pl.lit("Y"))]
    rows = frame.select(_clean(v, expression) for v, expression in marked).sort(*keys)
    return Dataset(
        name=name,
        label=simulated_label(label),
        variables=tuple(v for v, _ in marked),
        rows=rows,
        keys=tuple(keys),
        structure=structure,
        class_=kind,
        subclass=subclass,
    )


def _clean(variable: Variable, expression: pl.Expr) -> pl.Expr:
    """In the variable's type; missing is null, neither NaN nor an empty text."""
    kind = COLUMNS[variable.kind]
    if kind is pl.Float64:
        made = expression.cast(pl.Float64).fill_nan(None)
    elif kind is pl.String:
        text = expression.cast(pl.String)
        made = pl.when(text != "").then(text)
    else:
        made = expression.cast(kind)
    return made.alias(variable.name)


def text(name: str, label: str, method: str = "", **more: Any) -> Variable:
    return Variable(name, label, "text", method=method, **more)


def number(name: str, label: str, method: str = "", **more: Any) -> Variable:
    return Variable(name, label, "number", method=method, **more)


def integer(name: str, label: str, method: str = "", **more: Any) -> Variable:
    return Variable(name, label, "integer", method=method, **more)


def day(name: str, label: str, method: str = "", **more: Any) -> Variable:
    """A date as SAS counts it, in days since 1960-01-01."""
    return Variable(name, label, "integer", format="DATE9.", method=method, **more)


def iso_date(name: str, label: str, method: str) -> Variable:
    """A date as ISO 8601 text."""
    return Variable(name, label, "date", method=method)


def draw_variable() -> Variable:
    """Which trial this is."""
    return integer(
        "DRAW",
        "Parameter Draw of This Virtual Trial",
        origin="Assigned",
        mandatory=True,
        comment="One draw of the model's parameters is one trial; the others are not in this package.",
    )


def flag(name: str, label: str, method: str, codes: tuple[tuple[str, str], ...] = YES_NO) -> Variable:
    return Variable(name, label, "text", length=1, method=method, codelist=codes, mandatory=len(codes) > 1)


def copied(adsl: Dataset, names: Iterable[str]) -> list[Column]:
    """Variables of the ADSL, as they stand there."""
    return [
        (replace(adsl[name], origin="Predecessor", method=f"ADSL.{name}", comment=""), pl.col(name)) for name in names
    ]


def dose_unit(unit: str | None) -> Column:
    """The unit of a planned dose; missing where the doses of the arms do not measure one thing."""
    codes = (("mg", "Milligram"),) if unit == "mg" else ((unit, unit),) if unit else None
    variable = text("DOSEU", "Dose Unit", origin="Assigned", codelist=codes)
    return variable, pl.lit(unit, dtype=pl.String)


def treatment(adsl: Dataset) -> list[Column]:
    """The one treatment of a parallel trial, under the names that records of a period have."""
    made = []
    for name, source in (("TRTP", "TRT01P"), ("TRTPN", "TRT01PN"), ("TRTA", "TRT01A"), ("TRTAN", "TRT01AN")):
        told = adsl[source]
        label = told.label.replace(" for Period 01", "")
        copy = replace(told, name=name, label=label, origin="Predecessor", method=f"ADSL.{source}", comment="")
        made.append((copy, pl.col(source)))
    return made


def of_parameters(frame: pl.DataFrame, code: str = "PARAMCD", decode: str = "PARAM") -> tuple[tuple[str, str], ...]:
    """The codelist of a variable by its decodes in the frame."""
    return tuple(sorted(frame.select(code, decode).unique().drop_nulls().rows()))


def with_subjects(table: pl.DataFrame, adsl: Dataset) -> pl.DataFrame:
    """The rows of a table with the variables of the ADSL beside them."""
    return table.join(
        adsl.rows, left_on="subject", right_on="SUBJID", how="left", maintain_order="left", coalesce=False
    )


def coded(names: Iterable[str], end: str = "") -> dict[str, str]:
    """A name that SAS takes for each, closing with `end`: letters and digits, at most eight, no two alike; of a long
    one the first letters of each word."""
    made: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        words = re.findall(r"[A-Z0-9]+", name.upper()) or ["X"]
        most = 8 - len(end)
        if len("".join(words)) > most and len(words) > 1:
            words = [word[: max(1, most // len(words))] for word in words]
        whole = "".join(words)
        whole = (f"P{whole}" if whole[0].isdigit() else whole)[:most]
        code, n = whole, 1
        while code in used:
            n += 1
            code = f"{whole[: most - len(str(n))]}{n}"
        used.add(code)
        made[name] = code + end
    return made


def described(trial: VirtualTrial, names: Sequence[str]) -> dict[str, str]:
    """PARAM of each output or endpoint: its meaning and its unit; with its name where two would read alike."""
    told = {name: _sentence(trial.about(name), trial.unit(name)) for name in names}
    twice = {text for text in told.values() if list(told.values()).count(text) > 1}
    return {name: f"{text}, {name}" if text in twice else text for name, text in told.items()}


def _sentence(about: str, unit: str) -> str:
    return f"{about[:1].upper()}{about[1:]}" + ("" if unit == "1" else f" ({unit})")


def words(name: str) -> str:
    """An identifier as words in capitals: TREATMENT RELATED AE."""
    return name.replace("_", " ").upper()


NAMED = {"wk": "Week", "h": "Hour", "min": "Minute", "y": "Year"}


def visit_name(visit: Quantity) -> str:
    """AVISIT: Baseline, Week 12, Hour 4. The first day of treatment is Day 1, as of ADY."""
    if visit.value == 0:
        return "Baseline"
    if visit.unit == "d":
        return f"Day {spelt(visit.value + 1)}"
    return f"{NAMED[visit.unit]} {spelt(visit.value)}" if visit.unit in NAMED else str(visit)


def visit_names(trial: VirtualTrial) -> list[str]:
    """AVISIT by the number of the visit, no two alike."""
    made = [visit_name(visit) for visit in trial.study.visits]
    return [
        name if made.count(name) == 1 else f"{name} ({visit})"
        for name, visit in zip(made, trial.study.visits, strict=True)
    ]


def whole_days(time: pl.Expr) -> pl.Expr:
    """Days since the first dose, counted whole: what a date can say of a time."""
    return time.round(WHOLE).floor().cast(pl.Int64)


def study_day(time: pl.Expr) -> pl.Expr:
    """ADY: the day of the first dose is 1. No time in a virtual trial lies before it."""
    return whole_days(time) + 1


def sas(moment: date) -> int:
    """A date as SAS counts it."""
    return (moment - EPOCH).days


def iso(days: pl.Expr) -> pl.Expr:
    """A SAS date as ISO 8601 text."""
    return (days - (date(1970, 1, 1) - EPOCH).days).cast(pl.Int32).cast(pl.Date).dt.strftime("%Y-%m-%d")
