"""Counts of adverse events, predicted as counts; and events of the model's own course, without validation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import scipy

from cohort.comparison.predict import Predictions
from cohort.model import Model
from cohort.study import Study
from cohort.trial import MEAN, declares


def events(study: Study, predictions: Predictions, outcomes: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Per event and group of arms: predicted probability and count of so many patients, and the observed count.

    An event without a model is not predicted, and says so; a group without a published count keeps its planned size.
    """
    rows: list[dict[str, Any]] = []
    groups = {
        "placebo": tuple(n for n, arm in study.arms.items() if not arm.active),
        "drug": tuple(n for n, arm in study.arms.items() if arm.active),
    }
    for event, risk in predictions.risks.items():
        counts = [] if outcomes is None else outcomes.filter(pl.col("outcome") == event).to_dicts()
        listed = [(tuple(r["arms"]), r["n"], r["events"]) for r in counts]
        counted = {arm for arms, _, _ in listed for arm in arms}
        listed += [
            (arms, sum(study.arms[a].n for a in arms), None)
            for arms in groups.values()
            if arms and not counted & set(arms)
        ]
        for arms, n, seen in listed:
            planned = [study.arms[a].n for a in arms]
            on_drug = np.average([study.arms[a].active for a in arms], weights=planned)
            row: dict[str, Any] = {
                "event": event,
                "arms": list(arms),
                "n": n,
                "observed": seen,
                "modelled": risk is not None,
            }
            if risk is not None:
                # Pooled placebo and drug: the risk of the mix.
                p = (1 - on_drug) * risk[0] + on_drug * risk[1]
                cdf = scipy.stats.binom.cdf(np.arange(n + 1)[:, None], n, p).mean(axis=1)
                row |= {
                    "risk": float(p.mean()),
                    "risk_low": float(np.quantile(p, 0.025)),
                    "risk_high": float(np.quantile(p, 0.975)),
                    "count_low": int(np.searchsorted(cdf, 0.025)),
                    "count_high": int(np.searchsorted(cdf, 0.975)),
                }
                if seen is not None:
                    below = cdf[seen - 1] if seen else 0.0
                    row["place"] = float((below + cdf[seen]) / 2)  # mid-probability of a discrete distribution
            rows.append(row)
    return rows


def shares(
    study: Study,
    model: Model,
    visits: pl.DataFrame,
    analysis: pl.DataFrame,
    predictions: Predictions,
    outcomes: pl.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Yes-or-no endpoints of the model, per arm: the share in virtual trials by the true course, and with measurement
    at every visit; and how the true share moves when every baseline is 10 % lower or higher, and when patients'
    courses lie a fifth closer together or further apart: None where patients may stop treatment or be rescued, whose
    course as lived is not the one simulated. With a published count of the arm also that, beside the predictive
    distribution of such a count; else a prediction without validation."""
    everyone = visits.filter((pl.col("draw") == MEAN) & (pl.col("code") == 0))
    at = len(study.visits)
    rows = []
    for endpoint, per_arm in predictions.shares.items():
        for arm, trials in per_arm.items():
            own = everyone.filter(pl.col("arm") == arm)
            measured = analysis.filter((pl.col("arm") == arm) & (pl.col("draw") != MEAN))[endpoint].fill_nan(None)
            course = {name: own[name].to_numpy().reshape(-1, at) for name in model.outputs.fields()}

            def share(change: Callable[[np.ndarray], np.ndarray], course=course, endpoint=endpoint) -> float:
                changed = model.outputs(**{name: change(v) for name, v in course.items()})
                return float(np.mean(np.asarray(model.endpoints[endpoint].reads(changed))))

            changes = {
                "at_mean": lambda v: v,
                "baseline_low": lambda v: _scaled(v, 0.9),
                "baseline_high": lambda v: _scaled(v, 1.1),
                "spread_low": lambda v: _spread(v, 0.8),
                "spread_high": lambda v: _spread(v, 1.2),
            }
            rows.append(
                {
                    "endpoint": endpoint,
                    "arm": arm,
                    "mean": float(trials.mean()),
                    "low": float(np.quantile(trials, 0.025)),
                    "high": float(np.quantile(trials, 0.975)),
                    "mcse": float(trials.std(ddof=1) / np.sqrt(len(trials))),
                    "measured": measured.mean(),
                    **{name: None if declares(study) else share(change) for name, change in changes.items()},
                    **_counted(endpoint, arm, trials, study.arms[arm].n, outcomes),
                }
            )
    return rows


def _counted(endpoint: str, arm: str, trials: np.ndarray, size: int, outcomes: pl.DataFrame | None) -> dict[str, Any]:
    """A published count of one arm and where it lies in the prediction; nothing where there is none.

    trials: (draws,) share in each draw's trial of `size` patients. Their own sampling is taken out of its spread, and
    that of the published number of patients put in."""
    if outcomes is None or "events" not in outcomes.columns:
        return {}
    of = (pl.col("outcome") == endpoint) & pl.col("events").is_not_null() & (pl.col("arms").list.len() == 1)
    seen = outcomes.filter(of & (pl.col("arms").list.first() == arm)).to_dicts()
    if not seen:
        return {}
    centre, variance = float(trials.mean()), float(trials.var(ddof=1))
    own = float(np.mean(trials * (1 - trials))) / max(size - 1, 1)  # unbiased for the sampling variance of a share
    kept = np.sqrt(max(variance - own, 0.0) / variance) if variance > 0 else 0.0
    p = np.clip(centre + (trials - centre) * kept, 0.0, 1.0)
    n, events = seen[-1]["n"], seen[-1]["events"]
    cdf = scipy.stats.binom.cdf(np.arange(n + 1)[:, None], n, p).mean(axis=1)
    below = cdf[events - 1] if events else 0.0
    return {
        "n": n,
        "observed": events,
        "use": seen[-1].get("use"),
        "count_low": int(np.searchsorted(cdf, 0.025)),
        "count_high": int(np.searchsorted(cdf, 0.975)),
        "place": float((below + cdf[events]) / 2),  # mid-probability of a discrete distribution
    }


def _scaled(visits: np.ndarray, factor: float) -> np.ndarray:
    """Courses of what is always positive, multiplied; times, flags and amounts that may be nought stay."""
    return factor * visits if (visits > 0).all() else visits


def _spread(visits: np.ndarray, factor: float) -> np.ndarray:
    """Courses with the deviation of log(visit / baseline) from its mean over patients multiplied by `factor`."""
    if not (visits > 0).all():
        return visits
    change = np.log(visits / visits[:, :1])
    return visits[:, :1] * np.exp(change.mean(axis=0) + factor * (change - change.mean(axis=0)))
