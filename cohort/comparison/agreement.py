"""Arm by arm: where an observed result lies in what was predicted, and how probable agreement within a margin is."""

from typing import Any

import numpy as np
import polars as pl

from cohort.agreement.equivalence import equivalence, interval
from cohort.agreement.predictive import LEVELS, covered
from cohort.comparison.predict import ArmPrediction, Predictions
from cohort.library import load
from cohort.study import Study


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
    found["difference_low"], found["difference_high"] = interval(observed, se, prediction.means)
    if margin is not None:
        of = equivalence(observed, se, prediction.means, margin=margin)
        found |= {"margin": margin, "p_within_margin": of.within, "p_within_mcse": of.mcse, "p_tost": of.p_tost}
        found["says"] = of.says
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
            base = {"endpoint": endpoint, "arm": name, "trial": own["trial"], "n": own["n"]}
            table.append({**base, "kind": "mean", **rows(per_arm[name], own["estimate"], own["se"], margin)})
            if arm.control is not None and arm.control in seen:
                control = seen[arm.control]
                difference = own["estimate"] - control["estimate"]
                se = float(np.hypot(own["se"], control["se"]))
                effect = per_arm[name].minus(per_arm[arm.control])
                table.append({**base, "kind": "effect", **rows(effect, difference, se, margin)})
    return table


def by_use(table: list[dict[str, Any]], outcomes: pl.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a comparison, and those of arms that only taught the model. Where a study has arms of both uses, an
    arm that was fitted is no evidence of prediction and not counted as such; where all were fitted, they are its rows.
    outcomes: with `use`, of the evidence that each is of."""
    if outcomes["use"].n_unique() < 2:
        return table, []
    of = {(row["outcome"], row["arms"][0]): row["use"] for row in outcomes.iter_rows(named=True)}
    predicted = [row for row in table if of[row["endpoint"], row["arm"]] == "validation"]
    return predicted, [row for row in table if row not in predicted]


def not_compared(study: Study, predictions: Predictions, outcomes: pl.DataFrame) -> list[dict[str, Any]]:
    """Published outcomes that no prediction is set against, each with the reason."""
    found = []
    for row in outcomes.iter_rows(named=True):
        why = None
        if row["estimate"] is not None and len(row["arms"]) > 1:
            why = "a mean of several arms together; give each arm's"
        elif row["estimate"] is not None and row["outcome"] not in predictions.means:
            why = "a mean, but the model gives a share or a count"
        elif row["events"] is not None and len(row["arms"]) > 1 and row["outcome"] in predictions.shares:
            why = "a count of several arms together, whose shares differ; give each arm's"
        if why:
            found.append({"trial": row["trial"], "arms": row["arms"], "outcome": row["outcome"], "why": why})
    return found


def coverage(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many arms fell inside each interval; see `cohort.agreement.predictive.covered`."""
    means = [row for row in table if row["kind"] == "mean"]
    trials = len({row["trial"] for row in means})
    return [
        covered(level, sum(row[f"inside_{level:g}"] for row in means), len(means), trials) for level in LEVELS if means
    ]
