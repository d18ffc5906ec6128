"""T8: what moves when an assumption does: of the primary analysis, of the calibration, and by power-scaling."""

from typing import Any

from cohort.display.style import arm_label
from cohort.display.table import Absent, Column, Table, digits, number, yes
from cohort.report.tables.primary import (
    NOT_PLANNED,
    criteria_columns,
    decision_word,
    spelt_criteria,
    with_criteria,
)
from cohort.study import Study


def primary_sensitivity(comparison: dict[str, Any] | None) -> Table | Absent:
    """comparison: of the summary. A row whose decision differs from the planned one is marked."""
    title = "Sensitivity of the primary result"
    rows = with_criteria((comparison or {}).get("sensitivity", []))
    if not rows or comparison is None:
        return Absent("T8", title, NOT_PLANNED if not comparison else comparison.get("says", "no conclusion"))
    planned = rows[0]["decision"]
    rows = [{**row, "missed": row["decision"] != planned} for row in rows]
    turned = sum(row["missed"] for row in rows)
    found = f"The decision turns in {turned} of {len(rows) - 1}." if turned else "The decision turns in none."
    caption = (
        f"One thing changed at a time; control {arm_label(comparison['control'])}, {comparison['unit']}; "
        f"{100 * comparison['level']:g} % credible interval, equal-tailed. {found} {spelt_criteria(rows)}."
    )
    columns = (
        Column("what", "changed", plain=True),
        Column("value", "to", lambda text: text or "–", plain=True),
        Column("mean", "control (SD)", number, spread="sd"),
        Column("weight", "weight after", digits(2)),
        Column("difference", "difference", number, low="difference_low", high="difference_high"),
        *criteria_columns(rows),
        Column("decision", "decision", decision_word),
    )
    return Table("T8", "sensitivity_primary", title, caption, columns, rows)


def calibration_sensitivity(sensitivity: dict[str, Any] | None, name: str, calibrated: bool) -> Table | Absent:
    """sensitivity: the calibration under other assumptions, None where it was not run; name: of the study."""
    title = "Sensitivity of the calibration"
    if sensitivity is None:
        run = f"not run; cohort sensitivity config/studies/{name}.yaml adds it to the report of {name}"
        return Absent("T8", title, run if calibrated else "nothing was calibrated")
    rows: list[dict[str, Any]] = []
    for variant in sensitivity["variants"]:
        own = {"variant": variant["label"], "p_chi2": variant.get("p_chi2"), "refused": variant["refused"]}
        rows += [{**own, **p} for p in variant["parameters"]] or [own]
    caption = (
        "The calibration repeated with one assumption changed. Shift: of the posterior mean, in posterior SDs of the "
        "calibration as it stands, ± simulation error; p of χ²: posterior predictive."
    )
    columns = (
        Column("variant", "variant", plain=True),
        Column("parameter", "parameter", lambda text: "–" if text is None else text.replace("_", " ")),
        Column("mean", "mean (SD)", digits(3), spread="sd"),
        Column("shift", "shift", digits(2), error="shift_mcse"),
        Column("p_chi2", "p of χ²", digits(3)),
        Column("refused", "refused because", plain=True),
    )
    largest = max(rows, key=lambda row: abs(row.get("shift") or 0.0))
    refused = [row for row in rows if row["refused"]]
    return Table("T8", "sensitivity_calibration", title, caption, columns, rows, brief=[largest, *refused])


def power_scaling(diagnostics: dict[str, Any] | None) -> Table | Absent:
    """diagnostics: of the summary."""
    title = "Power-scaling of prior and likelihood"
    rows = (diagnostics or {}).get("power_scaled", [])
    if not rows:
        return Absent("T8", title, "no discrepancy was fitted, for no outcome was left to validate")
    caption = (
        "How far the posterior of the trial's discrepancy moves when prior or likelihood is made a little stronger "
        "(cumulative Jensen–Shannon distance, Kallioinen 2024); of concern above 0.05. Reliable: the weights' Pareto k̂ "
        "is below its limit. The calibration's posterior keeps no log prior, so it has no such row."
    )
    columns = (
        Column("parameter", "parameter"),
        Column("prior", "prior", digits(3)),
        Column("likelihood", "likelihood", digits(3)),
        Column("khat", "k̂", digits(2)),
        Column("reliable", "reliable", yes),
        Column("says", "diagnosis", plain=True),
    )
    return Table("T8", "power_scaling", title, caption, columns, rows)


def estimands(study: Study) -> Absent:
    """Other estimands of the same outcome are no part of a comparison with published means."""
    of = [name for name, plan in study.endpoints.items() if plan.estimand]
    why = f"one estimand is stated, of {of[0]}" if len(of) == 1 else f"{len(of)} endpoints have one estimand each"
    return Absent("T8", "Sensitivity to the estimand", f"{why}, and published means allow no other")
