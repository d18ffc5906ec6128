"""By how much the patients who could not be solved might matter, at the worst."""

from typing import Any

import polars as pl

from cohort.engine import CODES
from cohort.library import load
from cohort.report.tables import failures as counted
from cohort.results import Results
from cohort.trial import MEAN


def rows(results: Results) -> list[dict[str, Any]]:
    """Per arm and endpoint: courses simulated and failed, the mean of those solved, and between what it would lie had
    every failed patient had the lowest, or the highest, value that any solved patient of any arm has (0 and 1 of a
    yes-or-no endpoint); likewise of the difference from the control, with both arms at their worst.
    """
    study, trial = results.study, results.trial
    model = load(study.model, study.path.parent)
    reasons = {
        row["arm"]: ", ".join(f"{why} {n}" for why, n in row["reasons"].items())
        for row in counted(results.visits, len(study.visits), CODES)
    }
    found: list[dict[str, Any]] = []
    for endpoint, plan in study.endpoints.items():
        column = f"{endpoint}_true"
        if plan.kind != "course" or column not in trial.columns:
            continue
        solved = trial.filter((pl.col("code") == 0) & pl.col(column).is_not_null() & pl.col(column).is_not_nan())
        binary = model.endpoints[endpoint].binary
        low, high = (0.0, 1.0) if binary else (solved[column].min(), solved[column].max())
        own = {arm: _arm(trial, arm, column, low, high) for arm in study.arms}
        for arm, row in own.items():
            control = study.arms[arm].control
            row |= {"arm": arm, "endpoint": endpoint, "unit": model.endpoints[endpoint].unit}
            row |= {"reasons": reasons.get(arm, ""), "missed": row["failed"] > 0, "worst": low, "best": high}
            if control:
                other = own[control]
                row |= {"difference_low": row["low"] - other["high"], "difference_high": row["high"] - other["low"]}
            found.append(row)
    return found


def _arm(trial: pl.DataFrame, arm: str, column: str, low: Any, high: Any) -> dict[str, Any]:
    lanes = trial.filter(pl.col("arm") == arm)
    failed = lanes.filter(pl.col("code") > 0).height
    share = failed / lanes.height if lanes.height else 0.0
    kept = lanes.filter((pl.col("code") == 0) & (pl.col("draw") == MEAN))[column].drop_nulls().drop_nans()
    mean = float(kept.mean()) if len(kept) else None  # type: ignore[arg-type]
    if mean is None or low is None:
        return {"courses": lanes.height, "failed": failed, "mean": None, "low": low or 0.0, "high": high or 0.0}
    ends = [(1 - share) * mean + share * end for end in (low, high)]
    return {"courses": lanes.height, "failed": failed, "mean": mean, "low": ends[0], "high": ends[1]}
