"""Bayesian comparison of virtual and real arms: predictions frozen first, outcomes opened after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort import evidence
from cohort.comparison import agreement, borrowing, learning, planned, safety
from cohort.comparison.discrepancy import fit
from cohort.comparison.predict import ArmPrediction, ComparisonError, Predictions, predict, record, registered_path
from cohort.comparison.registration import plan_standing, register, standing
from cohort.inference.diagnosis import convergence, flat
from cohort.inference.sensitivity import leave_one_out, power_scaled
from cohort.library import load
from cohort.posterior import parameter_draws
from cohort.record import Audit, canonical, digest, file_digest, plain
from cohort.store import Store
from cohort.study import Study
from cohort.study import planned as plan_of
from cohort.trial import analysis_set, declares

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArmPrediction", "ComparisonError", "Predictions", "compare", "predict", "register", "registered_path"]


@dataclass(frozen=True)
class Learnt:
    """Another study's comparison: the summary, and the file that it was read from with its hash."""

    summary: Mapping[str, Any]
    file: str
    sha256: str


def compare(
    study: Study,
    visits: pl.DataFrame,
    posterior: "xr.DataTree | None" = None,
    *,
    predictions: Predictions | None = None,
    analysis: pl.DataFrame | None = None,
    learnt: Mapping[str, Learnt] | None = None,
    audit: Audit | None = None,
    store: Store | None = None,
    client: Any = None,
) -> "xr.DataTree":
    """Freeze the predictions, then open the outcomes and set the two side by side.

    visits: as `simulate` returns under this posterior. predictions, analysis: made here unless given. learnt: the
    comparisons of the studies that the plan learns the model's errors from, by name: their outcomes are opened before
    the predictions are frozen, and this trial's after. With `store`, operating characteristics are kept there and found
    again; with `client`, they are Dask tasks. Returns an ArviZ DataTree: the posterior of the trial's and arms'
    discrepancy where there is validation evidence, and every table, as JSON, in its attribute `summary`. Errors:
    ComparisonError if that posterior did not converge, EvidenceError for outcomes that cannot be read.
    """
    import xarray as xr

    model = load(study.model, study.path.parent)
    parameters = parameter_draws(study, model, posterior)
    if analysis is None and declares(study):
        raise ComparisonError(
            f"{study.path}: patients may stop treatment or leave in this study; give `analysis`, as from "
            "cohort.trial.analysed"
        )
    analysis = analysis_set(study, model, visits, parameters) if analysis is None else analysis
    predictions = predict(study, analysis, parameters) if predictions is None else predictions
    posterior_attrs = {} if posterior is None else {str(k): v for k, v in posterior.attrs.items()}
    mine = record(study, predictions, posterior_attrs)
    learnt = learnt or {}
    if audit is not None:
        for name, other in learnt.items():
            audit.append("outcomes opened", evidence=name, use="discrepancy", file=other.file, sha256=other.sha256)
    setting = planned.prepare(study, predictions, {name: other.summary for name, other in learnt.items()})
    before = (
        {} if setting is None else planned.before(study, setting, predictions, posterior, store=store, client=client)
    )
    if audit is not None:
        audit.append(
            "predictions frozen",
            predictions=predictions.hash(),
            identity=mine["identity"],
            code=mine["code"],
            plan=plan_of(study),
            prior=None if setting is None else digest(planned.identity(study, setting)),
        )
    uses = {use.use for use in study.evidence.values()}
    tables = []
    for name, use in study.evidence.items():
        file = study.root / use.file
        if audit is not None:
            audit.append("outcomes opened", evidence=name, use=use.use, file=str(use.file), sha256=file_digest(file))
        tables.append(evidence.read(file).with_columns(use=pl.lit(use.use)))
    outcomes = pl.concat(tables) if tables else None
    summary: dict[str, Any] = {
        "identity": mine["identity"],
        "predictions": mine["predictions"],
        "quantiles": mine["quantiles"],
        "validation": "validation" in uses,
        "events": safety.events(study, predictions, outcomes),
        "shares": safety.shares(study, model, visits, analysis, predictions, outcomes),
        "evidence_of_model": {e: learning.plain(study, per) for e, per in predictions.means.items()},
    }
    if setting is not None:
        summary["comparison"] = before | planned.after(study, setting, outcomes, posterior)
        summary["comparison"]["standing"] = plan_standing(audit, plan_of(study))
    tree = xr.DataTree()
    if outcomes is not None:
        every = agreement.arms_and_effects(study, predictions, outcomes)
        table, fitted = agreement.by_use(every, outcomes)
        summary |= {"fitted": fitted} if fitted else {}
        summary["not_compared"] = agreement.not_compared(study, predictions, outcomes)
        summary |= {"arms": table, "coverage": agreement.coverage(table)}
        summary["outcomes"] = outcomes.drop("arms", "use").to_dicts()
        if "validation" in uses:
            summary["standing"] = standing(study, mine, audit)
            tree = _discrepancy(study, predictions, table, summary)
            if borrowed := _borrowing(study, predictions, table, learnt):
                summary["borrowing"] = borrowed
    tree.attrs |= {"study": study.name, "summary": canonical(plain(summary))}
    return tree


def _discrepancy(
    study: Study, predictions: Predictions, table: list[dict[str, Any]], summary: dict[str, Any]
) -> "xr.DataTree":
    """Fit the discrepancy of each continuous endpoint's arms. `discrepancies` has all; `discrepancy`, its diagnostics
    and the posterior are those of the endpoint of the plan, else of the first."""
    import xarray as xr

    analysis = study.analysis
    kept = xr.DataTree()
    first = study.comparison.endpoint if study.comparison else None
    summary["discrepancies"] = []
    for endpoint, per_arm in predictions.means.items():
        rows = [row for row in table if row["endpoint"] == endpoint and row["kind"] == "mean"]
        if not rows:
            continue
        names = [row["arm"] for row in rows]
        y, se = np.array([row["observed"] for row in rows]), np.array([row["se"] for row in rows])
        unit = agreement.unit_of(study, endpoint)
        trial, arm = analysis.discrepancy.to(unit), analysis.arm_discrepancy.to(unit)
        mine = [per_arm[name] for name in names]
        tree = fit(names, mine, y, se, trial=trial, arm=arm, seed=study.seed, engine=analysis.engine)
        found = {
            "endpoint": endpoint,
            "engine": analysis.engine,
            "assumed_sd": trial,
            "assumed_arm_sd": arm,
            **_interval(flat(tree, "trial"), analysis.level),
            "sd": float(flat(tree, "trial").std()),
            "r_hat": tree.attrs["r_hat"],
            "arms": [
                {"arm": n, **_interval(mu, analysis.level)} for n, mu in zip(names, flat(tree, "mu").T, strict=True)
            ],
        }
        summary["discrepancies"].append(found)
        if "discrepancy" in summary and endpoint != first:
            continue
        kept, summary["discrepancy"] = tree, found
        summary["diagnostics"] = {
            "convergence": convergence(tree, ["trial", "mu"]),
            "power_scaled": power_scaled(tree, ["trial"]),
            "leave_one_out": leave_one_out(tree),
        }
    return kept


def _interval(draws: np.ndarray, level: float) -> dict[str, float]:
    """Mean and equal-tailed interval."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return {"mean": float(draws.mean()), "low": float(low), "high": float(high)}


def _borrowing(
    study: Study, predictions: Predictions, table: list[dict[str, Any]], learnt: Mapping[str, Learnt]
) -> dict[str, Any] | None:
    """The arm that the study names borrowing from its virtual one; what others taught is taken from arms like it."""
    plan, compared = study.analysis.borrowing, study.comparison
    rows = [row for row in table if row["kind"] == "mean" and plan is not None and row["arm"] == plan.arm]
    if plan is None or not rows:
        return None
    row = next((r for r in rows if compared and r["endpoint"] == compared.endpoint), rows[0])
    endpoint = row["endpoint"]
    trials = [
        learning.validation(learnt[name].summary, endpoint, active=study.arms[plan.arm].active)
        for name in (compared.discrepancy_from if compared else [])
        if name in learnt
    ]
    arm = predictions.means[endpoint][plan.arm]
    assumed = learning.assumed(study, agreement.unit_of(study, endpoint))
    priors = learning.priors(arm, assumed, [t for t in trials if t is not None], seed=study.seed)
    level = study.analysis.level
    found = borrowing.table(arm, row["observed"], row["se"], priors=priors, weight=plan.weight, level=level)
    return {"arm": plan.arm, "weight": plan.weight, "level": level, "rows": found}
