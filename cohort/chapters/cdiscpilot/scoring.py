"""How good the twins were: their intervals, their bias, and their score against predictions that use no model.

Two predictions without a model: no change but for measurement error, which needs nothing of the trial; and the mean
change of the patient's own arm with its spread, from patients of other sites, which knows of this trial what the twins
of placebo do not: how fast its patients declined.
"""

import numpy as np
import polars as pl

from cohort.agreement.scores import crps, crps_normal, gain, places
from cohort.chapters.cdiscpilot.safety import exact
from cohort.chapters.cdiscpilot.trial import ARMS, VISITS, Trial
from cohort.chapters.cdiscpilot.twins import UPPER, Twins, folds

LEVELS = (0.8, 0.95)


def observed(trial: Trial) -> np.ndarray:
    """Scores as seen, whenever treatment ended, (subjects, visits), NaN where there is none."""
    wide = trial.scores.filter(pl.col("visit") != "Baseline").pivot("visit", index="subject", values="value")
    rows = trial.people.select("subject").join(wide, on="subject", how="left", maintain_order="left")
    return rows.select(VISITS).to_numpy().astype(float)


def arm_mean(trial: Trial, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of the change, (subjects, visits), of the patient's own arm in other folds of sites."""
    fold, arm = folds(trial.people), trial.people["arm"].to_numpy()
    change = seen - trial.people["base"].to_numpy()[:, None]
    mean, sd = np.empty_like(change), np.empty_like(change)
    for a in ARMS:
        for k in np.unique(fold):
            own, others = (arm == a) & (fold == k), change[(arm == a) & (fold != k)]
            mean[own], sd[own] = np.nanmean(others, axis=0), np.nanstd(others, axis=0, ddof=1)
    return mean, sd


def scored(trial: Trial, twins: Twins, precision: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """By arm and visit, and all visits of an arm: number, bias (observed less predicted, with its standard error),
    share inside 80 and 95 % predictive intervals with exact 95 % limits, mean CRPS, and CRPS less that of either
    prediction without a model, with standard errors over patients. And for each score seen: subject, arm, visit, place
    in its prediction, predicted mean, observed."""
    people, seen = trial.people, observed(trial)
    arm, base = people["arm"].to_numpy(), people["base"].to_numpy()
    other, spread = arm_mean(trial, seen)
    error = np.sqrt(2 * base * (UPPER - base) / (precision + 1))  # of two measurements, beta
    rows, each = [], []
    for a in ARMS:
        parts = []
        for j, visit in enumerate(VISITS):
            who = np.flatnonzero((arm == a) & ~np.isnan(seen[:, j]))
            draws, y = twins.measured[a][who, :, j], seen[who, j]
            part = {
                "who": who,
                "error": y - draws.mean(axis=1),
                "crps": crps(draws, y),
                "no change": crps_normal(base[who], error[who], y),
                "arm's mean": crps_normal(base[who] + other[who, j], spread[who, j], y),
            }
            for level in LEVELS:
                low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=1)
                part[f"{level}"] = (low <= y) & (y <= high)
            parts.append(part)
            rows.append(_row(a, visit, part))
            told = {
                "subject": people["subject"].to_numpy()[who],
                "place": places(draws, y),
                "predicted": draws.mean(axis=1),
            }
            each.append(
                pl.DataFrame(told | {"observed": y, "before": base[who]}).with_columns(
                    arm=pl.lit(a), visit=pl.lit(visit)
                )
            )
        rows.append(_row(a, "all", {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}))
    return pl.DataFrame(rows), pl.concat(each)


def _row(arm: str, visit: str, part: dict[str, np.ndarray]) -> dict[str, object]:
    who = part["who"]
    bias = gain(part["error"], np.zeros(len(who)), who)
    row: dict[str, object] = {
        "arm": arm,
        "visit": visit,
        "n": len(who),
        "patients": bias.patients,
        "bias": bias.mean,
        "bias_se": bias.se,
        "crps": float(part["crps"].mean()),
    }
    for level in LEVELS:
        inside = part[f"{level}"]
        # Scores of one patient share that patient: limits are those of as many results as there are patients.
        low, high = exact(round(float(inside.mean()) * bias.patients), bias.patients)
        row |= {f"inside_{level:g}": float(inside.mean()), f"low_{level:g}": low, f"high_{level:g}": high}
    for name, key in (("no change", "no_change"), ("arm's mean", "arm_mean")):
        found = gain(part["crps"], part[name], who)
        row |= {f"against_{key}": found.mean, f"against_{key}_se": found.se}
    return row
