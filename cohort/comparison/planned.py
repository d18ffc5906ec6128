"""The comparison that a study plans: what is fixed before its outcomes are opened, and what is made of them after."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort.borrowing.trials import Normal
from cohort.comparison import characteristics, learning, primary
from cohort.comparison.agreement import unit_of
from cohort.comparison.predict import ComparisonError, Predictions
from cohort.comparison.primary import Counts, Seen, Setting
from cohort.inference.diagnosis import values
from cohort.record import digest, plain
from cohort.store import Store
from cohort.study import Study, planned, read_study

if TYPE_CHECKING:
    import xarray as xr


def prepare(study: Study, predictions: Predictions, learnt: Mapping[str, Mapping[str, Any]]) -> Setting | None:
    """The priors and the decision; None where no comparison is planned. learnt: the summaries of the comparisons of the
    studies that the plan learns from, by name. Errors: ComparisonError where one of them has no arm to learn from."""
    plan = study.comparison
    if plan is None:
        return None
    unit = unit_of(study, plan.endpoint)
    trials = {
        name: learning.validation(learnt[name], plan.endpoint, active=False)
        for name in plan.discrepancy_from
        if name in learnt
    }
    if missing := [name for name in plan.discrepancy_from if trials.get(name) is None]:
        raise ComparisonError(
            f"{study.path}: comparison.discrepancy_from: {', '.join(missing)}: no control arm with an outcome of "
            f"{plan.endpoint}; run: cohort compare config/studies/{missing[0]}.yaml, or leave it out"
        )
    control = predictions.means[plan.endpoint][plan.control]
    found = [t for t in trials.values() if t is not None]
    virtual = learning.priors(control, learning.assumed(study, unit), found, seed=study.seed)
    return primary.setting(
        plan,
        plan.decision.in_units(unit),
        virtual,
        control,
        plan.cap or _patients_on_control(study),
        study.analysis.level,
    )


def _patients_on_control(study: Study) -> int:
    """As many as taught the model what happens without the drug: the control arms of its calibration."""
    owner = study if study.parameters_from is None else read_study(study.path.parent / f"{study.parameters_from}.yaml")
    return sum(arm.n for arm in owner.arms.values() if not arm.active) or 1


def identity(study: Study, found: Setting) -> dict[str, Any]:
    """What is frozen of it, for the audit trail: the plan, and the prior of the virtual control."""
    return {
        "plan": planned(study),
        "prior": primary.components(primary.robust_part(found, found.planned, found.plan.weight)),
        "cap": found.cap,
        "learnt_from": found.plan.discrepancy_from,
    }


def before(
    study: Study,
    found: Setting,
    predictions: Predictions,
    posterior: "xr.DataTree | None" = None,
    *,
    store: Store | None = None,
    client: Any = None,
) -> dict[str, Any]:
    """What follows without any outcome: priors, operating characteristics, assurance, traced examples. With `store`,
    the operating characteristics are kept there and found again; with `client`, they are Dask tasks."""
    plan, unit = found.plan, unit_of(study, found.plan.endpoint)
    treatment, control = (predictions.means[plan.endpoint][arm] for arm in (plan.treatment, plan.control))
    sizes = study.arms[plan.treatment].n, study.arms[plan.control].n
    trial = characteristics.Trial(found, treatment, control, *sizes, plan.drift.to(unit))
    risks = _risks(study, posterior)
    rests = [identity(study, found), predictions.hash(), plain({k: v.tolist() for k, v in risks.items()}), study.seed]
    what = characteristics.Asked(trial, risks, plan.type_one_error, study.seed, digest(rests))
    return {
        "endpoint": plan.endpoint,
        "unit": unit,
        "treatment": plan.treatment,
        "control": plan.control,
        "planned_n": list(sizes),
        "weight": plan.weight,
        "decision": str(plan.decision),
        "level": found.level,
        "planned": found.planned,
        "learnt_from": plan.discrepancy_from,
        "cap": found.cap,
        "sigma": found.sigma,
        "source": plan.source,
        "priors": primary.priors_table(found),
        "prior": primary.components(primary.robust_part(found, found.planned, plan.weight)),
        **characteristics.tables(what, store=store, client=client),
        "examples": characteristics.examples(trial, study.seed),
    }


def after(
    study: Study, found: Setting, outcomes: pl.DataFrame | None, posterior: "xr.DataTree | None"
) -> dict[str, Any]:
    """What the outcomes make of it: each method's result side by side, sensitivity, conflict, tipping points, and
    benefit beside risk; `says`: why there is no conclusion, where there is none."""
    seen = None if outcomes is None else _seen(found, outcomes)
    if seen is None:
        arms = f"{found.plan.treatment} and {found.plan.control}"
        return {"says": f"no conclusion: {arms} have no published mean of {found.plan.endpoint} each"}
    half = found.plan.drift.to(unit_of(study, found.plan.endpoint))
    methods = primary.methods_table(found, seen)
    se = float(seen.control.se[0])
    return {
        "n": [seen.n_treatment, seen.n_control],
        "observed": {
            "treatment": float(seen.treatment.y[0]),
            "treatment_se": float(seen.treatment.se[0]),
            "control": float(seen.control.y[0]),
            "control_se": se,
        },
        "methods": methods,
        "sensitivity": primary.sensitivity_table(found, seen),
        "conflict": primary.conflict(found, se, half),
        "tipping": primary.tipping(found, seen, half),
        "benefit_risk": primary.benefit_and_risk(
            found.plan.harm, methods, _risks(study, posterior), {} if outcomes is None else _counts(study, outcomes)
        ),
    }


def _seen(found: Setting, outcomes: pl.DataFrame) -> Seen | None:
    rows = {}
    for row in outcomes.filter(pl.col("outcome") == found.plan.endpoint).iter_rows(named=True):
        if len(row["arms"]) == 1 and row["estimate"] is not None:
            rows[row["arms"][0]] = row
    t, c = rows.get(found.plan.treatment), rows.get(found.plan.control)
    if t is None or c is None:
        return None
    return Seen(Normal(t["estimate"], t["se"]), Normal(c["estimate"], c["se"]), t["n"], c["n"])


def _risks(study: Study, posterior: "xr.DataTree | None") -> dict[str, np.ndarray]:
    """Draws (chains, draws) of the risk of each event that the calibration knows, on placebo and on drug."""
    found: dict[str, np.ndarray] = {}
    if posterior is None:
        return found
    names = posterior.children["posterior"].dataset.data_vars
    for event, plan in study.endpoints.items():
        if plan.kind == "event" and f"{event}.background" in names:
            logit = values(posterior, f"{event}.background")
            found[f"{event}.placebo"] = 1 / (1 + np.exp(-logit))
            found[f"{event}.drug"] = 1 / (1 + np.exp(-logit - values(posterior, f"{event}.drug")))
    return found


def _counts(study: Study, outcomes: pl.DataFrame) -> dict[str, Counts]:
    """Events that the trial counted in both groups; rows that mix the two are of neither."""
    found = {}
    for event, plan in study.endpoints.items():
        if plan.kind != "event":
            continue
        groups = {True: [0, 0], False: [0, 0]}
        for row in outcomes.filter((pl.col("outcome") == event) & pl.col("events").is_not_null()).iter_rows(named=True):
            active = {study.arms[arm].active for arm in row["arms"]}
            if len(active) == 1:
                group = groups[active.pop()]
                group[0], group[1] = group[0] + row["events"], group[1] + row["n"]
        if groups[True][1] and groups[False][1]:
            (a, m), (b, n) = groups[False], groups[True]
            found[event] = Counts(placebo=(a, m), drug=(b, n))
    return found
