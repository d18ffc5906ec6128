"""The virtual trial against the real one, arm by arm; and how far the model's placebo is off, counted in three ways."""

from typing import Any

import numpy as np
import polars as pl

from cohort.agreement.predictive import check
from cohort.chapters.cdiscpilot.trial import ARMS, END, STUDY, Trial, carried
from cohort.chapters.cdiscpilot.twins import untreated
from cohort.model import Model
from cohort.results import Results
from cohort.study import Study
from cohort.trial import MEAN

LEVEL = 0.95
WHAT = {
    "adas_change": "change of ADAS-Cog(11) at week 24, points",
    "skin_event": "share with a skin event by day 168",
    "other_event": "share with another event by day 168",
    "stopped": "share that stopped before week 24",
}


def predicted(results: Results) -> dict[str, dict[str, list[float]]]:
    """What virtual trials of the real size found, by outcome and arm, one figure for each draw of the parameters."""
    table = results.trial.filter(pl.col("draw") != MEAN)
    people = pl.read_parquet(results.there(results.trial_folder / "subjects.parquet", "trial"), glob=False)
    people = people.filter(pl.col("draw") != MEAN).with_columns(stopped=pl.col("discontinued").cast(pl.Float64))
    found: dict[str, dict[str, list[float]]] = {}
    for what in WHAT:
        rows = people if what == "stopped" else table
        if what not in rows.columns:
            continue
        value = pl.col(what).cast(pl.Float64).fill_nan(None)
        means = rows.group_by("draw", "arm").agg(mean=value.mean()).sort("draw").drop_nulls()
        found[what] = {a: means.filter(pl.col("arm") == name)["mean"].to_list() for a, name in STUDY.items()}
    return found


def observed(trial: Trial, adtte: pl.DataFrame, adae: pl.DataFrame) -> dict[str, dict[str, tuple[float, float]]]:
    """The same of the real trial, with standard errors. Events count as seen until follow-up ended, others until
    treatment did; stopping by the day of the last patch, of who did not complete."""
    change = {
        a: (float(v.mean()), float(v.std(ddof=1) / np.sqrt(len(v))))  # type: ignore[arg-type]
        for a in ARMS
        for v in [carried(trial.adqsadas).filter(pl.col("arm") == a)["change"].to_numpy()]
    }
    n = dict(trial.people.group_by("arm").len().rows())
    skin = adtte.filter(pl.col("CNSR") == 0, pl.col("AVAL") <= END).group_by("TRTA").len()
    rest = adae.filter(pl.col("TRTEMFL") == "Y", pl.col("CQ01NAM").is_null(), pl.col("ASTDY") <= END)
    rest = rest.join(trial.adsl.select("USUBJID", "TRTDUR"), on="USUBJID", how="left", validate="m:1")
    rest = rest.filter(pl.col("ASTDY") <= pl.col("TRTDUR"))
    early = trial.adsl.filter(pl.col("DCDECOD") != "COMPLETED", pl.col("TRTDUR") <= END).group_by("TRT01A").len()
    counts = {
        "skin_event": dict(skin.rows()),
        "other_event": dict(rest.group_by("TRTA").agg(pl.col("USUBJID").n_unique()).rows()),
        "stopped": dict(early.rows()),
    }
    found: dict[str, dict[str, tuple[float, float]]] = {"adas_change": change}
    for what, by_arm in counts.items():
        shares = {a: by_arm.get(name, 0) / n[a] for a, name in ARMS.items()}
        found[what] = {a: (p, float(np.sqrt(p * (1 - p) / n[a]))) for a, p in shares.items()}
    return found


def compared(
    told: dict[str, dict[str, list[float]]], seen: dict[str, dict[str, tuple[float, float]]]
) -> list[dict[str, Any]]:
    """A row for each outcome and arm: predicted mean and equal-tailed 95 % predictive interval of a trial's result,
    Monte Carlo error of the mean, observed, its place in the prediction, and whether it was fitted."""
    rows = []
    for what, by_arm in told.items():
        for arm, draws in by_arm.items():
            found = check(what, seen[what][arm][0], np.array(draws), trial="cdiscpilot")
            low, high, inside = found.intervals[LEVEL]
            rows.append(
                {
                    "what": WHAT[what],
                    "outcome": what,
                    "arm": arm,
                    "predicted": found.mean,
                    "mcse": found.sd / np.sqrt(len(draws)),
                    "low": low,
                    "high": high,
                    "observed": found.observed,
                    "se": seen[what][arm][1],
                    "place": found.place,
                    "place_mcse": found.mcse,
                    "inside": inside,
                    "missed": not inside,
                    "role": "predicted" if arm == "high dose" else "published" if _published(what, arm) else "fitted",
                }
            )
    return rows


def _published(what: str, arm: str) -> bool:
    return what == "adas_change" and arm == "placebo"


def placebo(study: Study, model: Model, people: pl.DataFrame) -> list[dict[str, Any]]:
    """The model's mean change on placebo by week 24, in three ways and with or without background medication.

    people: placebo patients of the efficacy set. *typical*: one woman of 75 years at the mean baseline, with the
    typical rate; *averaged*: each patient at the measured baseline, rates varying; *conditioned*: each patient's true
    baseline given the measured one, so that extremes regress. mcse: 0 where exact."""
    rows = []
    base = people["base"].to_numpy()
    one = people.head(1).with_columns(base=pl.lit(float(base.mean())), age=pl.lit(75.0), female=pl.lit(1.0))
    rate = model.typical()["rate"]
    still = model.replace(individual=lambda p, x: model.individual(p.replace(rate=rate, base_on_rate=0.0), x))
    for medicated in (False, True):
        typical = untreated(study, still, one, medicated=medicated, conditioned=False, draws=1)
        rows.append(("typical patient", medicated, float(typical.score[0, 0, -1] - base.mean()), 0.0))
        for way, conditioned in (("averaged over patients", False), ("each given the measured baseline", True)):
            found = untreated(study, model, people, medicated=medicated, conditioned=conditioned)
            change = (found.score[:, :, -1] - base[:, None]).mean(axis=1)
            within = (found.score[:, :, -1].std(axis=1, ddof=1) ** 2 / found.score.shape[1]).mean()
            rows.append((way, medicated, float(change.mean()), float(np.sqrt(within / len(change)))))
    return [{"way": w, "medicated": m, "predicted": p, "mcse": e} for w, m, p, e in rows]
