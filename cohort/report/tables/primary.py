"""T6 and T7: the primary result without, with robust and with full borrowing, and how much each method borrows."""

from typing import Any

from cohort.display.style import arm_label
from cohort.display.table import Absent, Column, Table, digits, number, probability, yes

NOT_PLANNED = "the study plans no comparison"
TWICE = "the trial's data set the weight and are used again: no Bayesian posterior, to be calibrated by simulation"


def side_by_side(comparison: dict[str, Any] | None) -> list[dict[str, Any]]:
    """No borrowing, the planned robust borrowing and full borrowing, with `design` naming each; nothing where there is
    no conclusion."""
    methods = (comparison or {}).get("methods", [])
    named = {"no borrowing": "no borrowing", "full borrowing": "full borrowing"}
    kept = [(named.get(m["method"], "robust borrowing"), m) for m in methods if m["planned"] or m["method"] in named]
    return [{"design": design, **m} for design, m in kept]


def decision_word(met: bool | None) -> str:
    return "no conclusion" if met is None else "success" if met else "no success"


def _why_not(comparison: dict[str, Any] | None) -> str:
    return NOT_PLANNED if not comparison else comparison.get("says", "no conclusion")


def with_criteria(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each criterion's probability and whether it is met as values of the row: p_1, met_1, ..."""
    found = []
    for row in rows:
        each = {f"p_{i}": c["p"] for i, c in enumerate(row["criteria"], 1)}
        each |= {f"met_{i}": c["met"] for i, c in enumerate(row["criteria"], 1)}
        found.append({**row, **each})
    return found


def criteria_of(rows: list[dict[str, Any]]) -> list[str]:
    return [c["criterion"] for c in rows[0]["criteria"]] if rows else []


def criteria_columns(rows: list[dict[str, Any]]) -> list[Column]:
    columns = []
    for i, _ in enumerate(criteria_of(rows), 1):
        columns += [Column(f"p_{i}", f"P({i})", probability), Column(f"met_{i}", f"{i} met", yes, hidden=True)]
    return columns


def spelt_criteria(rows: list[dict[str, Any]]) -> str:
    return "; ".join(f"({i}) {text.replace('_', ' ')}" for i, text in enumerate(criteria_of(rows), 1))


def primary(comparison: dict[str, Any] | None) -> Table | Absent:
    """comparison: of the summary, None where none is planned."""
    title = "Primary result: without, with planned and with full borrowing"
    rows = side_by_side(comparison)
    if not rows or comparison is None:
        return Absent("T6", title, _why_not(comparison))
    seen, (n_treatment, n_control) = comparison["observed"], comparison["n"]
    level = f"{100 * comparison['level']:g} %"
    caption = (
        f"{arm_label(comparison['treatment'])} less {arm_label(comparison['control'])}, {comparison['unit']}. "
        f"Observed: treatment {number(seen['treatment'])} (SE {number(seen['treatment_se'])}, n = {n_treatment}), "
        f"control {number(seen['control'])} (SE {number(seen['control_se'])}, n = {n_control}). The treatment arm "
        f"has a flat prior and borrows nothing. Intervals: {level} credible, equal-tailed; exact, no simulation error. "
        f"Success is every criterion met; {spelt_criteria(rows)}. Planned: discrepancy {comparison['planned']}, weight "
        f"{comparison['weight']:g}; full: the virtual control taken as if the model did not err."
    )
    columns = (
        Column("design", "borrowing", plain=True),
        Column("decision", "decision", decision_word),
        Column("mean", "control", number, low="low", high="high"),
        Column("sd", "SD", digits(2)),
        Column("difference", "difference", number, low="difference_low", high="difference_high"),
        Column("difference_sd", "SD", digits(2)),
        *criteria_columns(rows),
    )
    return Table("T6", "primary", title, caption, columns, with_criteria(rows))


def borrowed_control(comparison: dict[str, Any] | None) -> Table | Absent:
    """Every method, and how many patients and which weight it borrows."""
    title = "How much each method borrows for the control"
    rows = (comparison or {}).get("methods", [])
    if not rows or comparison is None:
        return Absent("T7", title, _why_not(comparison))
    rows = [
        {**row, "method": f"{row['method']}, planned" if row["planned"] else row["method"]}
        for row in with_criteria(rows)
    ]
    if any(row["uses_data_twice"] for row in rows):
        twice = f" Data used twice: {TWICE}."
    else:
        twice = ""
    caption = (
        f"{arm_label(comparison['control'])}, {comparison['unit']}; {100 * comparison['level']:g} % credible interval, "
        "equal-tailed. Weight: after the data, of the virtual part; of the power prior its a₀, of the "
        "commensurate one the share of the virtual control in the mean. Patients: how many more on control would "
        f"have given the same precision, negative where borrowing widened it; capped at {comparison['cap']}, save "
        f"full borrowing.{twice}"
    )
    columns = (
        Column("method", "method", plain=True),
        Column("mean", "control", number, low="low", high="high"),
        Column("sd", "SD", digits(2)),
        Column("weight", "weight", digits(2)),
        Column("weight_is", "which is", hidden=True),
        Column("patients", "patients", number),
        Column("uses_data_twice", "data used twice", yes),
        Column("difference", "difference", number, low="difference_low", high="difference_high"),
        Column("difference_sd", "SD", digits(2), hidden=True),
        *criteria_columns(rows),
        Column("decision", "decision", decision_word),
    )
    return Table("T7", "borrowed_control", title, caption, columns, rows)


def borrowed_arm(borrowing: dict[str, Any] | None) -> Table | Absent:
    """borrowing: of the summary: one arm with its virtual one, at every discrepancy."""
    title = "One arm borrowing from its virtual arm"
    if not borrowing:
        return Absent("T7", title, "no arm with an outcome is named to borrow from its virtual one")
    caption = (
        f"{arm_label(borrowing['arm'])}: mean and its {100 * borrowing['level']:g} % credible interval, equal-tailed. "
        f"Before the data the virtual arm has weight {borrowing['weight']:g}; the rest is vague, worth one "
        "patient. Worth: patients that the virtual arm stands for (ELIR), limited by parameters and discrepancy, "
        "never by the number simulated. With discrepancy none the model is taken not to err."
    )
    columns = (
        Column("label", "borrowing", plain=True),
        Column("discrepancy", "discrepancy", lambda text: text or "–"),
        Column("mean", "mean", number, low="low", high="high"),
        Column("sd", "SD", digits(2)),
        Column("weight_after", "weight after", digits(2)),
        Column("patients", "worth, patients", number),
    )
    return Table("T7", "borrowed_arm", title, caption, columns, borrowing["rows"])
