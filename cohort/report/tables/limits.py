"""T14: what departs from the plan, what limits the conclusions, what failed and by how much it could matter."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from cohort.display.style import arm_label
from cohort.display.table import Column, Table, number, probability
from cohort.report.tables.characteristics import worst
from cohort.study import Study
from cohort.trial import MEAN

SUSPECT = 0.05  # p of a posterior predictive check below which a misfit is said


def failures(visits: pl.DataFrame, at: int, codes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Patients simulated per arm, at the posterior mean and under draws, and how many failed, by reason.

    `bound`: by how much the failures could move a mean of percentages from -100 to 100 at most, in points.
    """
    rows = []
    per_lane = visits.gather_every(at)
    for (arm,), own in per_lane.partition_by("arm", as_dict=True, maintain_order=True).items():
        failed = own.filter(pl.col("code") > 0)
        reasons = {codes[c]: n for c, n in failed["code"].value_counts().iter_rows()}
        everyone = own.filter(pl.col("draw") == MEAN).height
        share = failed.height / own.height
        rows.append(
            {
                "arm": arm,
                "mean": everyone,
                "draws": own.height - everyone,
                "failed": failed.height,
                "reasons": reasons,
                "bound": 200 * share,
            }
        )
    return rows


def limits(
    study: Study,
    summary: dict[str, Any],
    failed: list[dict[str, Any]],
    fits: list[dict[str, Any]],
    *,
    calibration: dict[str, Any] | None = None,
    own: bool = False,
    outside: int = 0,
    warnings: list[str] | None = None,
    same: bool = True,
    changed: bool = False,
) -> Table:
    """failed: as `failures` returns; fits: as of T13; own: this study calibrated; outside: people beyond the ages of
    their source; warnings: of matching; same: the trials still give the predictions that were frozen; changed: the code
    that simulated differs from its commit."""
    rows: list[dict[str, Any]] = [
        {"kind": "deviation", "says": says} for says in _deviations(study, summary, same, changed)
    ]
    rows += [{"kind": "limitation", "says": says} for says in _limitations(study, summary, fits, calibration, own)]
    rows += [{"kind": "limitation", "says": says} for says in warnings or []]
    if outside:
        rows.append({"kind": "limitation", "says": f"{outside} people are outside the ages of their source"})
    for row in failed:
        reasons = ", ".join(f"{reason} {n}" for reason, n in row["reasons"].items())
        says = f"{arm_label(row['arm'])}: {row['failed']} of {row['mean'] + row['draws']} simulated patients failed"
        says += f" ({reasons})" if reasons else ""
        rows.append({"kind": "failure", "says": says, "bound": row["bound"]} if row["failed"] else {})
    rows = [row for row in rows if row]
    if not any(row["kind"] == "failure" for row in rows):
        of = sum(row["mean"] + row["draws"] for row in failed)
        rows.append({"kind": "failure", "says": f"none: all of {of} simulated patients were solved", "bound": 0.0})
    rows += [{"kind": "assumption", "says": says} for says in _assumptions(study)]
    caption = (
        "Deviation: from what was registered or planned. Bound: by how much the failures could move a mean of values "
        "between −100 and 100 at most, in points. Assumption: stated in the study's file, and not learnt from data."
    )
    columns = (
        Column("kind", "kind", plain=True),
        Column("says", "", plain=True),
        Column("bound", "bound", lambda value: number(value, 2), plain=True),
    )
    return Table("T14", "limits", "Deviations, limitations, failures, assumptions", caption, columns, rows)


def _deviations(study: Study, summary: dict[str, Any], same: bool, changed: bool) -> Iterator[str]:
    standing = summary.get("standing")
    if standing:
        yield from standing["reasons"]
        if standing["status"] != "registered":
            yield f"the predictions are {standing['status']}: no registration from before the outcomes stands for them"
        elif not standing.get("identical") and standing.get("largest_difference") is not None:
            largest, tolerance = standing["largest_difference"], standing["tolerance"]
            yield (
                f"this run's means differ from the registered ones by up to {number(largest, 2)}, "
                f"{'within' if largest <= tolerance else 'more than'} the {number(tolerance, 2)} of simulation error"
            )
    plan = (summary.get("comparison") or {}).get("standing")
    if plan and plan["status"] != "planned before":
        opened = f", after the outcomes were first opened here ({plan['opened'][:10]})" if plan.get("opened") else ""
        yield f"the comparison's plan is {plan['status']}{opened}; it is plan number {plan['number']}"
    if study.comparison is not None:
        yield "the comparison's plan is no part of what was registered; it was frozen with the predictions of this run"
    if not same:
        yield "the virtual trials no longer give the predictions that were frozen; compare again"
    if changed:
        yield "the code that simulated differs from its commit"


def _limitations(
    study: Study,
    summary: dict[str, Any],
    fits: list[dict[str, Any]],
    calibration: dict[str, Any] | None,
    own: bool,
) -> Iterator[str]:
    if summary.get("validation"):
        if not all(use.prospective for use in study.evidence.values() if use.use == "validation"):
            yield "retrospective: the trial's results were public before these predictions"
    elif summary.get("arms"):
        yield "the arms taught the model: nothing here validates it"
    else:
        yield "no outcome: nothing here validates the model"
    if calibration and calibration["fit"]["p_chi2"] < SUSPECT:
        whose = "the model does not fit all arms of its own calibration" if own else "its calibration misfits its arms"
        yield f"{whose}: posterior predictive p of χ² {number(calibration['fit']['p_chi2'], 3)}"
    prior_only = [r["parameter"] for r in (calibration or {}).get("parameters", []) if r["from_the_prior"]]
    if prior_only:
        yield f"the data taught little or nothing of {', '.join(prior_only)}: these are their priors"
    for row in fits:
        if not row["reliable"]:
            yield f"{row['fit']}: {row['wrong']}"
        if row.get("loo_reliable") is False:
            few = f"{row['loo_above']} of {row['loo_of']} arms"
            yield f"{row['fit']}: leave-one-out is unreliable for {few}, and nothing rests on it"
    comparison = summary.get("comparison")
    if comparison:
        yield from _of_comparison(comparison)
    for row in summary.get("not_compared", []):
        yield f"published and compared with nothing: {row['outcome']} of {', '.join(row['arms'])}: {row['why']}"
    missing = sorted({row["event"] for row in summary.get("events", []) if not row["modelled"]})
    if missing:
        yield f"not predicted, for nothing is known of them: {', '.join(missing).replace('_', ' ')}"
    uncounted = sorted({row["event"] for row in summary.get("events", []) if row["observed"] is None})
    if uncounted and summary.get("arms"):
        yield f"no published count in some group: {', '.join(uncounted).replace('_', ' ')}"


def _of_comparison(comparison: dict[str, Any]) -> Iterator[str]:
    taught = len(comparison["learnt_from"])
    if taught < 3:
        of = {0: "no other trial", 1: "one other trial", 2: "two other trials"}[taught]
        yield f"how far the model errs is learnt from {of}: it stays mostly an assumption"
    design = worst(comparison)
    if design and design["missed"]:
        yield (
            f"the planned borrowing does not hold the type I error as designed: up to {number(design['type_one'], 3)} "
            f"at a drift of {number(design['at_drift'])}, with {design['allowed']:g} allowed"
        )
    full = next((r for r in comparison["calibrated"] if r["design"] == "full borrowing" and r["missed"]), None)
    if full and full["type_one"] is not None:
        yield f"full borrowing has a type I error of up to {probability(full['type_one'])}: shown for contrast only"
    if "says" in comparison:
        yield str(comparison["says"])


def _assumptions(study: Study) -> Iterator[str]:
    yield from study.assumptions
    plan = study.analysis
    yield f"discrepancy {plan.discrepancy}, of an arm {plan.arm_discrepancy}: {plan.source}"
    if study.comparison is not None:
        yield f"the comparison's plan: {study.comparison.source}"
    yield f"dropout {100 * study.conduct.dropout:g} %: {study.conduct.source}"
    for name, covariate in study.population.covariates.items():
        if covariate.source.startswith("assumption"):
            yield f"{name}: {covariate.source}"
