"""Bayesian comparison of virtual and real arms: predictions frozen first, outcomes opened after."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort import evidence
from cohort.comparison import agreement, borrowing, safety
from cohort.comparison.discrepancy import ComparisonError, fit
from cohort.comparison.predict import ArmPrediction, Predictions, predict, record, registered_path
from cohort.comparison.registration import register, standing
from cohort.inference.diagnosis import flat
from cohort.library import load
from cohort.posterior import parameter_draws
from cohort.record import Audit, canonical, file_digest, plain
from cohort.study import Study
from cohort.trial import analysis_set

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArmPrediction", "ComparisonError", "Predictions", "compare", "predict", "register", "registered_path"]


def compare(
    study: Study,
    visits: pl.DataFrame,
    posterior: "xr.DataTree | None" = None,
    *,
    predictions: Predictions | None = None,
    analysis: pl.DataFrame | None = None,
    audit: Audit | None = None,
) -> "xr.DataTree":
    """Freeze the predictions, then open the outcomes and set the two side by side.

    visits: as `simulate` returns under this posterior. predictions, analysis: made here unless given. Returns an ArviZ
    DataTree: the posterior of the trial's and arms' discrepancy where there is validation evidence, and every table, as
    JSON, in its attribute `summary`. Errors: ComparisonError if that posterior did not converge, EvidenceError for
    outcomes that cannot be read.
    """
    import xarray as xr

    model = load(study.model, study.path.parent)
    parameters = parameter_draws(study, model, posterior)
    analysis = analysis_set(study, model, visits, parameters) if analysis is None else analysis
    predictions = predict(study, analysis, parameters) if predictions is None else predictions
    posterior_attrs = {} if posterior is None else {str(k): v for k, v in posterior.attrs.items()}
    mine = record(study, predictions, posterior_attrs)
    if audit is not None:
        audit.append("predictions frozen", predictions=predictions.hash(), identity=mine["identity"], code=mine["code"])
    uses = {use.use for use in study.evidence.values()}
    tables = []
    for name, use in study.evidence.items():
        file = study.root / use.file
        if audit is not None:
            audit.append("outcomes opened", evidence=name, use=use.use, file=str(use.file), sha256=file_digest(file))
        tables.append(evidence.read(file))
    outcomes = pl.concat(tables) if tables else None
    summary: dict[str, Any] = {
        "identity": mine["identity"],
        "predictions": mine["predictions"],
        "quantiles": mine["quantiles"],
        "validation": "validation" in uses,
        "events": safety.events(study, predictions, outcomes),
        "shares": safety.shares(study, model, visits, analysis, predictions),
    }
    tree = xr.DataTree()
    if outcomes is not None:
        table = agreement.arms_and_effects(study, predictions, outcomes)
        summary |= {"arms": table, "coverage": agreement.coverage(table), "outcomes": outcomes.drop("arms").to_dicts()}
        if "validation" in uses:
            summary["standing"] = standing(study, mine, audit)
            tree = _discrepancy(study, predictions, table, summary)
    tree.attrs |= {"study": study.name, "summary": canonical(plain(summary))}
    return tree


def _discrepancy(
    study: Study, predictions: Predictions, table: list[dict[str, Any]], summary: dict[str, Any]
) -> "xr.DataTree":
    """Fit the discrepancy of each continuous endpoint's arms; the first endpoint's posterior is kept."""
    import xarray as xr

    analysis = study.analysis
    tree = xr.DataTree()
    for endpoint, per_arm in predictions.means.items():
        rows = [row for row in table if row["endpoint"] == endpoint and row["kind"] == "mean"]
        if not rows:
            continue
        names = [row["arm"] for row in rows]
        y, se = np.array([row["observed"] for row in rows]), np.array([row["se"] for row in rows])
        mine = [per_arm[name] for name in names]
        unit = agreement.unit_of(study, endpoint)
        trial, arm = analysis.discrepancy.to(unit), analysis.arm_discrepancy.to(unit)
        tree = fit(names, mine, y, se, trial=trial, arm=arm, seed=study.seed, engine=analysis.engine)
        draws = flat(tree, "trial")
        mu = flat(tree, "mu")
        low, high = (1 - analysis.level) / 2, (1 + analysis.level) / 2
        summary["discrepancy"] = {
            "endpoint": endpoint,
            "engine": analysis.engine,
            "assumed_sd": trial,
            "mean": float(draws.mean()),
            "sd": float(draws.std()),
            "low": float(np.quantile(draws, low)),
            "high": float(np.quantile(draws, high)),
            "r_hat": tree.attrs["r_hat"],
            "arms": [
                {
                    "arm": n,
                    "mean": float(m.mean()),
                    "low": float(np.quantile(m, low)),
                    "high": float(np.quantile(m, high)),
                }
                for n, m in zip(names, mu.T, strict=True)
            ],
        }
        if analysis.borrowing and analysis.borrowing.arm in names:
            k = names.index(analysis.borrowing.arm)
            summary["borrowing"] = {
                "arm": analysis.borrowing.arm,
                "weight": analysis.borrowing.weight,
                "level": analysis.level,
                "rows": borrowing.table(
                    mine[k],
                    float(y[k]),
                    float(se[k]),
                    discrepancy=math.hypot(trial, arm),
                    weight=analysis.borrowing.weight,
                    level=analysis.level,
                ),
            }
    return tree
