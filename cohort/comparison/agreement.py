"""Arm by arm: where an observed result lies in what was predicted, and how probable agreement within a margin is."""

from typing import Any

import numpy as np
import polars as pl
import scipy

from cohort.comparison.predict import ArmPrediction, Predictions
from cohort.library import load
from cohort.study import Study

LEVELS = (0.5, 0.8, 0.95)


def rows(prediction: ArmPrediction, observed: float, se: float, margin: float | None) -> dict[str, Any]:
    """One comparison. The predictive check sets the observed mean against virtual trials, which carry the sampling
    error; the probability of agreement sets population means against each other, theta against Normal(observed, SE²).
    """
    place = prediction.cdf(observed)
    summary = prediction.summary()
    found: dict[str, Any] = {
        "predicted": summary["mean"],
        "predicted_sd": summary["sd"],
        "mcse": summary["mcse"],
        "observed": observed,
        "se": se,
        "difference": observed - prediction.theta.mean(),
        "place": place,
        "z": (observed - prediction.theta.mean()) / summary["predictive_sd"],
    }
    for level in LEVELS:
        low, high = prediction.quantile((1 - level) / 2), prediction.quantile((1 + level) / 2)
        found |= {f"low_{level:g}": low, f"high_{level:g}": high, f"inside_{level:g}": bool(low <= observed <= high)}
    if margin is not None:
        upper = scipy.stats.norm.cdf((prediction.means + margin - observed) / se)
        lower = scipy.stats.norm.cdf((prediction.means - margin - observed) / se)
        found["p_within_margin"] = float(np.mean(upper - lower))
    return found


def unit_of(study: Study, endpoint: str) -> str:
    return load(study.model, study.path.parent).endpoints[endpoint].unit


def arms_and_effects(study: Study, predictions: Predictions, outcomes: pl.DataFrame) -> list[dict[str, Any]]:
    """Every arm with a published mean, and every difference from its control where both have one."""
    table = []
    for endpoint, per_arm in predictions.means.items():
        plan = study.endpoints[endpoint]
        margin = plan.margin.to(unit_of(study, endpoint)) if plan.margin else None
        seen = {
            row["arms"][0]: row
            for row in outcomes.filter(pl.col("outcome") == endpoint).iter_rows(named=True)
            if len(row["arms"]) == 1 and row["estimate"] is not None
        }
        for name, arm in study.arms.items():
            if name not in seen:
                continue
            own = seen[name]
            base = {"endpoint": endpoint, "arm": name, "n": own["n"]}
            table.append({**base, "kind": "mean", **rows(per_arm[name], own["estimate"], own["se"], margin)})
            if arm.control is not None and arm.control in seen:
                control = seen[arm.control]
                difference = own["estimate"] - control["estimate"]
                se = float(np.hypot(own["se"], control["se"]))
                effect = per_arm[name].minus(per_arm[arm.control])
                table.append({**base, "kind": "effect", **rows(effect, difference, se, margin)})
    return table


def coverage(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many arms fell inside each interval, with a Clopper-Pearson interval that takes arms as independent.

    They are not quite: arms of one trial share its people and its model errors, so it is too narrow.
    """
    means = [row for row in table if row["kind"] == "mean"]
    found = []
    for level in LEVELS:
        hits, of = sum(row[f"inside_{level:g}"] for row in means), len(means)
        if of:
            interval = scipy.stats.binomtest(hits, of).proportion_ci(0.95)
            found.append({"level": level, "inside": hits, "of": of, "low": interval.low, "high": interval.high})
    return found
