"""Bayesian comparison of virtual and real arms: predictions frozen first, outcomes opened after."""

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort import evidence
from cohort.calibration import flat
from cohort.comparison import agreement, borrowing, safety
from cohort.comparison.discrepancy import ComparisonError as ComparisonError
from cohort.comparison.discrepancy import fit
from cohort.comparison.predict import (
    ArmPrediction as ArmPrediction,
)
from cohort.comparison.predict import (
    Predictions as Predictions,
)
from cohort.comparison.predict import (
    predict as predict,
)
from cohort.comparison.predict import (
    record as record,
)
from cohort.comparison.predict import (
    registered_path as registered_path,
)
from cohort.library import load
from cohort.record import Audit, canonical, file_digest, plain
from cohort.study import Study

if TYPE_CHECKING:
    import xarray as xr


def register(study: Study, predictions: Predictions, posterior_attrs: dict[str, Any]) -> dict[str, Any]:
    """The record that `cohort register` writes to config/registered/. Errors: ComparisonError where there is nothing to
    predict."""
    if not any(use.use == "validation" for use in study.evidence.values()):
        raise ComparisonError(f"{study.path}: there is no evidence with use: validation; nothing to register")
    return record(study, predictions, posterior_attrs)


def standing(study: Study, mine: dict[str, Any]) -> dict[str, Any]:
    """Whether these predictions were written down before: `registered` when what they rest on is the same and every
    predicted mean is, within its simulation error; `post hoc` otherwise, with the reasons."""
    path = registered_path(study)
    if not path.is_file():
        return {"status": "post hoc", "reasons": [f"there is no {path.name} in config/registered/"], "file": None}
    theirs = json.loads(path.read_text())
    reasons = [
        f"{key}: registered {theirs['identity'].get(key)}, now {mine['identity'][key]}"
        for key in mine["identity"]
        if theirs["identity"].get(key) != mine["identity"][key]
    ]
    largest = 0.0
    for endpoint, arms in mine["predictions"]["arms"].items():
        for arm, now in arms.items():
            then = theirs["predictions"]["arms"].get(endpoint, {}).get(arm)
            if then is None:
                reasons.append(f"{endpoint}, {arm}: not registered")
                continue
            off, allowed = abs(now["mean"] - then["mean"]), 4 * math.hypot(now["mcse"], then["mcse"])
            largest = max(largest, off)
            if off > allowed:
                reasons.append(f"{endpoint}, {arm}: registered {then['mean']:.2f}, now {now['mean']:.2f}")
    return {
        "status": "post hoc" if reasons else "registered",
        "reasons": reasons,
        "file": path.name,
        "file_hash": file_digest(path),
        "commit": theirs["code"].get("commit"),
        "identical": theirs["predictions_hash"] == mine["predictions_hash"],
        "largest_difference": largest,
        "registered": theirs["predictions"],
    }


def compare(
    study: Study,
    predictions: Predictions,
    visits: pl.DataFrame,
    analysis: pl.DataFrame,
    posterior_attrs: dict[str, Any],
    *,
    audit: Audit | None = None,
) -> "xr.DataTree":
    """Freeze the predictions, then open the outcomes and set the two side by side.

    Returns an ArviZ DataTree: the posterior of the trial's and arms' discrepancy where there is validation evidence,
    and every table, as JSON, in its attribute `summary`. Errors: ComparisonError if that posterior did not converge.
    """
    import xarray as xr

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
        "shares": safety.shares(study, load(study.model, study.path.parent), visits, analysis, predictions),
    }
    tree = xr.DataTree()
    if outcomes is not None:
        table = agreement.arms_and_effects(study, predictions, outcomes)
        summary |= {"arms": table, "coverage": agreement.coverage(table), "outcomes": outcomes.drop("arms").to_dicts()}
        if "validation" in uses:
            summary["standing"] = standing(study, mine)
            tree = _discrepancy(study, predictions, table, summary)
    tree.attrs |= {"study": study.name, "summary": canonical(plain(summary))}
    return tree


def _discrepancy(
    study: Study, predictions: Predictions, table: list[dict[str, Any]], summary: dict[str, Any]
) -> "xr.DataTree":
    """Fit the discrepancy of each continuous endpoint's arms; the first endpoint's posterior is kept."""
    import xarray as xr

    analysis = study.analysis
    trial, arm = analysis.discrepancy.to("percent"), analysis.arm_discrepancy.to("percent")
    tree = xr.DataTree()
    for endpoint, per_arm in predictions.means.items():
        rows = [row for row in table if row["endpoint"] == endpoint and row["kind"] == "mean"]
        if not rows:
            continue
        names = [row["arm"] for row in rows]
        y, se = np.array([row["observed"] for row in rows]), np.array([row["se"] for row in rows])
        mine = [per_arm[name] for name in names]
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
