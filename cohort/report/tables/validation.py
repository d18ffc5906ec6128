"""T5: whether virtual and real arms agree, arm by arm and effect by effect, within a margin stated beforehand."""

from dataclasses import replace
from typing import Any

import numpy as np

from cohort.agreement.equivalence import ENOUGH
from cohort.agreement.predictive import LEVELS, Check
from cohort.agreement.predictive import coverage as covered
from cohort.comparison.agreement import unit_of
from cohort.display.style import arm_label
from cohort.display.table import Absent, Column, Table, number, percent, probability
from cohort.study import Study

NO_MARGIN = "no margin stated"
KINDS = {"mean": ("validation_arms", "arm by arm"), "effect": ("validation_effects", "effects against the control")}


def verdicts(study: Study, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per endpoint with published means: which arms lie inside the 95 % predictive interval, and which do not."""
    found = []
    for endpoint in dict.fromkeys(row["endpoint"] for row in summary.get("arms", [])):
        means = [r for r in summary["arms"] if r["endpoint"] == endpoint and r["kind"] == "mean"]
        found.append(
            {
                "endpoint": endpoint,
                "hit": [r for r in means if r["inside_0.95"]],
                "missed": [r for r in means if not r["inside_0.95"]],
                "of": len(means),
                "unit": (unit := unit_of(study, endpoint)),
                "points": "points" if unit == "percent" else unit,
                "margin": study.endpoints[endpoint].margin,
                "mean_difference": sum(r["difference"] for r in means) / len(means),
            }
        )
    return found


def agreed(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparison's rows of arms and effects, with the verdict in words also where there is no margin."""
    return [
        {**row, "says": row.get("says", NO_MARGIN), "missed": row.get("says") == "different"}
        for row in summary.get("arms", [])
    ]


def fitted_beside(summary: dict[str, Any], unit: str) -> list[Table]:
    """Of a study that fits some arms of a trial and predicts others: how the fitted ones come out."""
    rows = agreed({"arms": summary.get("fitted", [])})
    found = [validation(rows, kind, validated=False, unit=unit) for kind in KINDS]
    return [
        replace(table, name=f"fitted{table.name.removeprefix('validation')}")
        for table in found
        if isinstance(table, Table)
    ]


def validation(rows: list[dict[str, Any]], kind: str, *, validated: bool, unit: str) -> Table | Absent:
    """rows: as `agreed` returns; kind: mean or effect; validated: else the arms were fitted, and agree for that."""
    name, of = KINDS[kind]
    title = f"{'Validation' if validated else 'Fit, no validation'}: {of}"
    own = [{**row, "inside": _inside(row)} for row in rows if row["kind"] == kind]
    if not own:
        return Absent("T5", title, "the evidence has no such outcome with an estimate and a standard error")
    margins = ", ".join(dict.fromkeys(f"{row['margin']:g}" for row in own if row.get("margin"))) or "not stated"
    fitted = "" if validated else "These arms taught the model, so agreement is no evidence of prediction. "
    caption = (
        f"{fitted}In {unit}; margin {margins}. Predicted: mean of the virtual population ± simulation error; "
        "95 % predictive interval (equal-tailed) of the mean of a trial of the planned size. Difference: real minus "
        "virtual population, 95 % credible interval (equal-tailed). Within: probability that the populations' means "
        "differ by less than the margin; TOST: larger p of two one-sided tests. Equivalent: P(within) above "
        f"{ENOUGH:g}; different: P(outside) above {ENOUGH:g}; else undecided, which is no agreement, and neither is a "
        "difference that is not significant. Place: share of the prediction below the observed value."
    )
    if kind == "effect":
        caption = f"{fitted}As arm by arm, for the arm's difference from its control; margin {margins}."
    several = len({row["endpoint"] for row in own}) > 1
    columns = (
        Column("arm", "arm", arm_label, plain=True),
        Column("endpoint", "endpoint", hidden=not several),
        Column("says", "verdict"),
        Column("n", "n"),
        Column("predicted", "predicted", number, error="mcse"),
        Column("low_0.95", "95 % predictive", number, to="high_0.95"),
        Column("observed", "observed (SE)", number, spread="se"),
        Column("difference", "difference", number, low="difference_low", high="difference_high"),
        Column("margin", "margin", lambda value: "–" if value is None else f"{value:g}", hidden=True),
        Column("p_within_margin", "within", probability, error="p_within_mcse"),
        Column("p_tost", "TOST", probability),
        Column("place", "place", probability),
        Column("inside", "inside"),
        *(Column(f"inside_{level:g}", f"inside {100 * level:g} %", hidden=True) for level in LEVELS),
    )
    return Table("T5", name, title, caption, columns, own)


def _inside(row: dict[str, Any]) -> str:
    """Which of the predictive intervals hold the observed value."""
    held = [f"{100 * level:g}" for level in LEVELS if row[f"inside_{level:g}"]]
    return f"{', '.join(held)} %" if held else "none"


def checks(summary: dict[str, Any], draws: int) -> list[Check]:
    """Each arm's predictive check, for coverage and for the places. draws: under how many it was predicted."""
    trials = {(o["outcome"], o["arm"]): o["trial"] for o in summary.get("outcomes", [])}
    found = []
    for row in summary.get("arms", []):
        if row["kind"] != "mean":
            continue
        place = row["place"]
        mcse = float(np.sqrt(max(place * (1 - place), 0.25 / draws) / draws))
        within = {v: (row[f"low_{v:g}"], row[f"high_{v:g}"], row[f"inside_{v:g}"]) for v in LEVELS}
        trial = trials.get((row["endpoint"], row["arm"]), "")
        sd = row["predicted_sd"]
        found.append(Check(row["arm"], trial, row["observed"], row["predicted"], sd, place, mcse, within))
    return found


def coverage(found: list[Check], *, validated: bool) -> Table | Absent:
    title = "Coverage of the predictive intervals"
    if not found:
        return Absent("T5", title, "no arm has an outcome")
    rows = covered(found)
    fitted = "" if validated else "The arms were fitted: no evidence of prediction. "
    caption = (
        f"{fitted}How many arms lie inside. Interval of the share: 95 % Clopper–Pearson with arms taken as "
        "independent, which is too narrow, for they share people, conduct and the model's errors; and with as "
        "many results as there are trials, which is too wide."
    )
    columns = (
        Column("level", "interval", percent),
        Column("inside", "inside"),
        Column("of", "of"),
        Column("low", "95 % of the share, by arm", percent, to="high"),
        Column("trials", "trials"),
        Column("low_by_trial", "95 % of the share, by trial", percent, to="high_by_trial"),
    )
    return Table("T5", "coverage", title, caption, columns, rows)
