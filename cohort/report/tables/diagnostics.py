"""T13: whether each fit may be relied on."""

from typing import Any

from cohort.display.table import Absent, Column, Table, digits, number, yes
from cohort.inference.diagnosis import MAX_RHAT, MIN_BFMI, MIN_ESS, reasons_to_refuse
from cohort.inference.sensitivity import khat_limit


def fits(calibration: dict[str, Any] | None, owner: str, diagnostics: dict[str, Any] | None) -> list[dict[str, Any]]:
    """One row per fit. calibration: its tables, fitted in study `owner`; diagnostics: of the comparison's summary."""
    rows = []
    if calibration and calibration.get("diagnostics"):
        row = _row(f"calibration ({owner})", calibration["diagnostics"])
        arms = calibration.get("arms", [])
        if arms:
            limit = khat_limit(int(row["draws"]))
            above = [arm for arm in arms if arm["khat"] > limit]
            row |= {"loo_khat": max(arm["khat"] for arm in arms), "loo_limit": limit, "loo_above": len(above)}
            row |= {"loo_of": len(arms), "refitted": sum(bool(arm["refitted"]) for arm in above)}
            row |= {"loo_reliable": row["refitted"] == len(above)}
        rows.append(row)
    if diagnostics:
        row = _row("discrepancy of this trial", diagnostics["convergence"])
        if one := diagnostics.get("leave_one_out"):
            row |= {"loo_khat": one["khat"], "loo_limit": one["limit"], "loo_above": one["above"]}
            row |= {"loo_of": one["observations"], "refitted": 0, "loo_reliable": one["reliable"]}
        if scaled := diagnostics.get("power_scaled"):
            row["psense_khat"] = max(p["khat"] for p in scaled)
            row["psense_reliable"] = all(p["reliable"] for p in scaled)
        rows.append(row)
    return rows


def _row(fit: str, found: dict[str, Any]) -> dict[str, Any]:
    wrong = reasons_to_refuse(found, min_ess=MIN_ESS)
    return {"fit": fit, **found, "reliable": not wrong, "wrong": "; ".join(wrong), "missed": bool(wrong)}


def diagnostics(rows: list[dict[str, Any]]) -> Table | Absent:
    """rows: as `fits` returns."""
    title = "Diagnostics of every fit"
    if not rows:
        return Absent("T13", title, "nothing was fitted by simulation")
    caption = (
        f"Reliable: largest R-hat at most {MAX_RHAT}, smallest bulk and tail effective sample size at least "
        f"{MIN_ESS}, no divergence, smallest BFMI at least {MIN_BFMI}; else no conclusion would be drawn. "
        "Leave-one-out: largest Pareto k̂, how many of the observations are above its limit, of these how many "
        "were refitted, and whether its sums may be used. Power-scaling: largest k̂. Everything else in this "
        "report that comes from normal mixtures is exact."
    )
    columns = (
        Column("fit", "fit", plain=True),
        Column("draws", "draws", lambda value: number(value, 0)),
        Column("r_hat", "R-hat", digits(4)),
        Column("ess_bulk", "ESS, bulk", lambda value: number(value, 0)),
        Column("ess_tail", "tail", lambda value: number(value, 0)),
        Column("divergences", "divergences", lambda value: number(value, 0)),
        Column("bfmi", "BFMI", digits(2)),
        Column("reliable", "reliable", yes),
        Column("loo_khat", "LOO k̂", digits(2)),
        Column("loo_limit", "limit", digits(2), hidden=True),
        Column("loo_above", "above", spread="loo_of"),
        Column("refitted", "refitted"),
        Column("loo_reliable", "LOO reliable", yes),
        Column("psense_khat", "power-scaling k̂", digits(2)),
        Column("psense_reliable", "reliable", yes),
    )
    return Table("T13", "diagnostics", title, caption, columns, rows)
