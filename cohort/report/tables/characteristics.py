"""T10 and T11: how the planned procedure does if the virtual control is off, and averaged over what is believed."""

from typing import Any

import numpy as np

from cohort.display.table import Absent, Column, Table, digits, number, probability
from cohort.report.tables.primary import NOT_PLANNED

MEASURES = ("rate", "bias", "mse", "coverage", "width", "ess_borrowed", "n_expected")


def effects(comparison: dict[str, Any]) -> dict[float, str]:
    """What each true effect of the grid stands for: the null, where the first criterion has its type I error, first."""
    null = {row["effect"] for row in comparison["drift"] if row["kind"] == "type I"}
    predicted = comparison["assurance"][0]["effect"]
    values = {row["effect"] for row in comparison["drift"]}
    words = {predicted: "as predicted"} | dict.fromkeys(null, "null")
    return {v: words.get(v, "a threshold") for v in sorted(values, key=lambda v: (v not in null, abs(v)))}


def operating(comparison: dict[str, Any] | None) -> Table | Absent:
    """comparison: of the summary. In view: the ends, the middle and the quarters of the grid of drift."""
    title = "Operating characteristics over drift"
    if not comparison:
        return Absent("T10", title, NOT_PLANNED)
    words = effects(comparison)
    rows = []
    for row in comparison["drift"]:
        errors = [row.get(f"{m}_mcse") or 0.0 for m in MEASURES]
        exact = "exact" if row["method"] == "exact" and not any(errors) else row["method"]
        rows.append({**row, "effect_is": words[row["effect"]], "computed": exact})
    drifts = sorted({row["drift"] for row in rows})
    shown = {drifts[round(q * (len(drifts) - 1))] for q in (0, 0.25, 0.5, 0.75, 1)}
    brief = [row for row in rows if row["drift"] in shown and row["effect_is"] == "null"]
    n = " and ".join(map(str, comparison["planned_n"]))
    caption = (
        f"{n} patients planned on treatment and control, of whom virtual trials lose some. Drift: true control "
        f"less virtual control, {comparison['unit']}. Success: how often every criterion is met. First: how often "
        "the first is, which at the null is the type I error that is held. Coverage and width: of the "
        f"{100 * comparison['level']:g} % interval of the difference. Borrowed: patients. With harm: how often "
        "success is declared, and the safety criteria on the trial's own counts passed, although harm is at its "
        "margin. Value ± Monte Carlo standard error; exact where that is 0."
    )
    columns = (
        Column("design", "design"),
        Column("effect", "true effect", number),
        Column("effect_is", "which is"),
        Column("drift", "drift", number),
        Column("first", "first", digits(4)),
        Column("rate", "success", probability, error="rate_mcse"),
        Column("bias", "bias", digits(2), error="bias_mcse"),
        Column("mse", "MSE", digits(2), error="mse_mcse"),
        Column("coverage", "coverage", digits(3), error="coverage_mcse"),
        Column("width", "width", digits(2), error="width_mcse"),
        Column("ess_borrowed", "borrowed", number, error="ess_borrowed_mcse"),
        Column("n_expected", "expected n", lambda value: number(value, 0), error="n_expected_mcse"),
        Column("go_with_harm", "with harm", probability, error="go_with_harm_mcse"),
        Column("computed", "Monte Carlo error"),
    )
    return Table("T10", "operating_characteristics", title, caption, columns, rows, brief=brief)


def calibrated(comparison: dict[str, Any] | None) -> Table | Absent:
    """comparison: of the summary. A row that does not keep the type I error is marked."""
    title = "Type I error as designed, and the cut that would hold it"
    if not comparison:
        return Absent("T10", title, NOT_PLANNED)
    rows = [{**row, "held": _held(row)} for row in comparison["calibrated"]]
    broken = [row["design"] for row in rows if row["scope"] == "as designed" and row["missed"]]
    allowed = rows[0]["allowed"] if rows else 0.025
    found = f"As designed it is not held by: {', '.join(broken)}. " if broken else "As designed every design holds it. "
    caption = (
        f"Of the first criterion, where the true effect is its threshold; {allowed:g} is allowed. {found}Largest "
        "over the drifts from low to high, and where; exact. Cut: of the criterion's probability. Power: of that "
        "criterion, at the predicted effect and a quarter of the way there, without drift. None: no cut below 1 "
        "holds it."
    )
    columns = (
        Column("design", "design"),
        Column("scope", "for"),
        Column("low", "drifts", number, to="high"),
        Column("cut", "cut", _cut),
        Column("type_one", "type I error", digits(4)),
        Column("at_drift", "at drift", number),
        Column("power", "power", probability),
        Column("power_quarter", "at a quarter", probability),
        Column("held", "held", plain=True),
    )
    return Table("T10", "calibrated_cuts", title, caption, columns, rows)


def _cut(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:.4f}" if value < 0.9999 else f"1 − {1 - value:.0e}"


def _held(row: dict[str, Any]) -> str:
    return "no" if row["missed"] else "yes"


def assurance(comparison: dict[str, Any] | None) -> Table | Absent:
    title = "Assurance, and type I error averaged over what is believed"
    if not comparison:
        return Absent("T11", title, NOT_PLANNED)
    rows = comparison["assurance"]
    first = rows[0]
    caption = (
        "Without this trial's outcomes. Assurance: how often every criterion is met averaged over the design "
        f"prior, ± Monte Carlo standard error: effect {number(first['effect'])} (SD {number(first['effect_sd'])}) "
        f"by the model's parameters, control {number(first['control'])} (SD {number(first['control_sd'])}) with "
        f"its discrepancy, {comparison['unit']}. It takes the model's effect for right, which the trial is to "
        "test. Power: at the centre of the design prior. Type I error: of the first criterion, averaged over the "
        "belief of the control; its largest value is in T10."
    )
    columns = (
        Column("design", "design"),
        Column("assurance", "assurance", probability, error="mcse"),
        Column("power", "power", probability),
        Column("type_one", "average type I error", digits(4)),
        Column("effect", "effect (SD)", number, spread="effect_sd"),
        Column("control", "control (SD)", number, spread="control_sd"),
    )
    return Table("T11", "assurance", title, caption, columns, rows)


def worst(comparison: dict[str, Any]) -> dict[str, Any] | None:
    """The planned design's largest type I error as designed."""
    return next((r for r in comparison["calibrated"] if r["design"] == "robust" and r["scope"] == "as designed"), None)


def curve(comparison: dict[str, Any], design: str, effect: float, key: str) -> tuple[np.ndarray, np.ndarray]:
    """One measure of one design along the drifts: both (drifts,)."""
    own = [row for row in comparison["drift"] if row["design"] == design and row["effect"] == effect]
    own = sorted((row for row in own if not row.get("worst")), key=lambda row: row["drift"])
    return np.array([row["drift"] for row in own]), np.array([row[key] for row in own], float)
