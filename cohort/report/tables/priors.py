"""T3: the priors of the calibration with what was learnt, and the virtual control as the comparison's prior."""

from typing import Any

from cohort.display.table import Absent, Column, Table, digits, number, significant, yes
from cohort.model import Model
from cohort.study import Study


def calibration_priors(owner: Study, model: Model, calibration: dict[str, Any] | None) -> Table | Absent:
    """owner: the study that calibrated; calibration: its tables. Prior and posterior are in the same unit: that of the
    model, or that of the study's file where it is no parameter of the model."""
    title = "Priors of the calibration, and what was learnt"
    plans = owner.calibration.priors if owner.calibration else {}
    if not calibration or not plans:
        return Absent("T3", title, "no parameter was calibrated")
    rows = []
    for row in calibration["parameters"]:
        plan = plans.get(row["parameter"])
        fields = model.parameters.fields()
        unit = fields[row["parameter"]]["unit"] if row["parameter"] in fields else plan.unit if plan else ""
        stated = f"{plan.prior} {plan.unit}" if plan else None
        rows.append({**row, "unit": unit, "stated": stated, "why": plan.source if plan else None})
    caption = (
        f"Of {owner.name}. Interval: 95 % credible, equal-tailed. Ratio: posterior over prior standard deviation, "
        "of the logarithm where the prior is lognormal; above 0.8 the data taught little, and what is seen is "
        "the prior."
    )
    columns = (
        Column("parameter", "parameter", lambda name: name.replace("_", " "), plain=True),
        Column("prior", "prior"),
        Column("stated", "prior, as stated", hidden=True),
        Column("unit", "unit"),
        Column("mean", "posterior mean (SD)", significant, spread="sd"),
        Column("low", "95 %", significant, to="high"),
        Column("ratio", "ratio", digits(2)),
        Column("from_the_prior", "from the prior", yes),
        Column("why", "why", plain=True),
    )
    return Table("T3", "calibration_priors", title, caption, columns, rows)


def control_priors(comparison: dict[str, Any] | None) -> Table | Absent:
    """comparison: of the summary."""
    title = "Prior of the virtual control, by what its discrepancy rests on"
    if not comparison:
        return Absent("T3", title, "no comparison is planned, so nothing is borrowed for a decision")
    rows = [
        {**row, "discrepancy": f"{row['discrepancy']}, planned" if row["planned"] else row["discrepancy"]}
        for row in comparison["priors"]
    ]
    learnt = ", ".join(comparison["learnt_from"]) or "no trial"
    caption = (
        f"Mean of {comparison['control'].replace('_', ' ')} in {comparison['unit']}, without this trial's outcomes; "
        f"{100 * comparison['level']:g} % interval, equal-tailed. ESS: effective sample size in patients of standard "
        f"deviation {number(comparison['sigma'])}, by three definitions, after the cap of {comparison['cap']}; "
        "limited by parameters and discrepancy, never by the number simulated. Stretch: factor on the SD that "
        "the cap asked for. μ, τ: mean error of the model and its SD between trials and arms, posterior mean "
        f"(SD); learnt from {learnt}. Error: largest difference of the fitted mixture's distribution function "
        "from the exact one."
    )
    columns = (
        Column("discrepancy", "discrepancy"),
        Column("mean", "mean", number, low="low", high="high"),
        Column("sd", "SD", number),
        Column("elir", "ESS, ELIR", number),
        Column("moment", "moment", number),
        Column("morita", "Morita", number),
        Column("elir_before", "ELIR before the cap", number, hidden=True),
        Column("cap", "cap", hidden=True),
        Column("stretch", "stretch", digits(2)),
        Column("mu_d", "μ", number, spread="mu_d_sd"),
        Column("tau_d", "τ, trials", number, spread="tau_d_sd"),
        Column("tau_arm", "τ, arms", number, spread="tau_arm_sd"),
        Column("components", "normals", hidden=True),
        Column("error", "error", digits(4), hidden=True),
    )
    return Table("T3", "control_priors", title, caption, columns, rows)


def model_parameters(model: Model, calibration: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Every parameter with value, unit, variability and source; those calibrated with their posterior."""
    learnt = {row["parameter"]: row for row in (calibration or {}).get("parameters", [])}
    values = model.typical()
    return [
        {
            "name": name,
            "value": values[name],
            "unit": meta["unit"],
            "kind": meta["kind"],
            "spread": meta["spread"],
            "about": meta["about"],
            "source": meta["source"],
            "rse": meta["rse"],
            "learnt": learnt.get(name),
        }
        for name, meta in model.parameters.fields().items()
    ]
