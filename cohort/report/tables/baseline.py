"""T4: who the virtual people are, and how near their baseline is to the published one."""

from typing import Any

import polars as pl

from cohort.display.table import Absent, Column, Table, digits, percent, significant
from cohort.study import Study


def attrition(study: Study, counts: dict[str, Any]) -> list[tuple[str, int]]:
    """How many each criterion turned away, and each condition that they could not have."""
    criteria = {str(c): 0 for c in study.population.eligibility}
    return list((criteria | counts["excluded"]).items())


def people(table: pl.DataFrame, units: dict[str, str], covariates: list[str]) -> list[dict[str, Any]]:
    """Mean, SD, quantiles of quantities, by `units`; shares of sex, ancestry and the categories among `covariates`."""
    rows: list[dict[str, Any]] = []
    shown = {"sex", "ancestry", *covariates}
    for name in table.columns:
        column = table[name]
        if name in units:
            quantiles = [float(column.quantile(q) or 0.0) for q in (0.05, 0.5, 0.95)]
            mean, sd = float(column.mean()), float(column.std())  # type: ignore[arg-type]
            rows.append({"name": name, "unit": units[name], "mean": mean, "sd": sd, "quantiles": quantiles})
        elif column.dtype == pl.String and name in shown:
            shares = column.value_counts(normalize=True, sort=True)
            rows.append({"name": name, "shares": list(shares.iter_rows())})
    return rows


def baseline(shown: list[dict[str, Any]], sources: dict[str, str], n: int) -> Table:
    """shown: as `people` returns; sources: of each variable; n: people enrolled."""
    rows: list[dict[str, Any]] = []
    for row in shown:
        source = sources.get(row["name"], "")
        if "shares" in row:
            for level, share in sorted(row["shares"], key=lambda pair: (-pair[1], pair[0])):
                rows.append({"variable": f"{row['name']}: {level}", "unit": "share", "share": share, "source": source})
            continue
        low, middle, high = row["quantiles"]
        own = {"variable": row["name"], "unit": row["unit"], "mean": row["mean"], "sd": row["sd"]}
        rows.append(own | {"p5": low, "p50": middle, "p95": high, "source": source})
    columns = (
        Column("variable", "variable", lambda name: name.replace("_", " "), plain=True),
        Column("unit", "unit", _unit),
        Column("share", "share", percent),
        Column("mean", "mean (SD)", significant, spread="sd"),
        Column("p5", "5 %", significant),
        Column("p50", "50 %", significant),
        Column("p95", "95 %", significant),
        Column("source", "source", plain=True),
    )
    caption = f"The {n} enrolled virtual people, and where each distribution comes from."
    return Table("T4", "baseline", "Baseline of the virtual people", caption, columns, rows)


def _unit(text: str) -> str:
    return "–" if text == "1" else text.replace("**2", "²")


def matched(matching: dict[str, Any] | None) -> Table | Absent:
    """matching: what the people were weighted to, None where no baseline was matched."""
    title = "Virtual against published baseline"
    if matching is None:
        return Absent(
            "T4", title, "the study names no published baseline table to match; its covariates were set one by one (T4)"
        )
    columns = (
        Column("target", "published", _unit, plain=True),
        Column("before", "before", significant),
        Column("after", "after", significant),
        Column("enrolled", "enrolled", significant),
        Column("difference_before", "standardised difference before", digits(3)),
        Column("difference_after", "after", digits(3)),
        Column("source", "source", plain=True),
    )
    caption = (
        "Before: the pool of eligible people; after: weighted by maximum entropy. A standardised difference "
        "below 0.1 is commonly taken as balanced; it says nothing of variables that were not published."
    )
    return Table("T4", "baseline_matched", title, caption, columns, matching["rows"])
