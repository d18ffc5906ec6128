"""What a prognostic score saves: the same analyses with and without it, as a covariate beside baseline and site.

PROCOVA's score is the twin's expected change on placebo: published parameters, age, sex and the measured baseline, and
nothing of this trial. The other score is fitted to this trial's placebo patients, for each patient to those of other
sites; it is no PROCOVA, and is called a fitted score.

References
----------
[1] Schuler et al. 2022, Int J Biostat 18:329, doi 10.1515/ijb-2021-0072: PROCOVA.
"""

import numpy as np
import polars as pl

from cohort.analysis.continuous import Continuous, Priors, exact, prognosis
from cohort.analysis.reml import reml
from cohort.analysis.subjects import Subjects
from cohort.chapters.cdiscpilot.trial import ARMS, Trial, carried
from cohort.chapters.cdiscpilot.twins import folds

ACTIVE = tuple(ARMS)[1:]
PREDICTORS = ("base", "age", "female", "mmse", "education", "duration")


def fitted_score(trial: Trial) -> np.ndarray:
    """Expected change carried forward to week 24 on placebo, (subjects,): least squares on `PREDICTORS` in placebo
    patients of the other folds of sites."""
    people = trial.people
    rows = people.join(
        carried(trial.adqsadas).select("subject", "change"), on="subject", how="left", maintain_order="left"
    )
    x = np.column_stack([np.ones(rows.height), rows.select(PREDICTORS).to_numpy().astype(float)])
    y, fold = rows["change"].to_numpy().astype(float), folds(people)
    control = (rows["arm"] == "placebo").to_numpy() & ~np.isnan(y)
    score = np.empty(rows.height)
    for k in np.unique(fold):
        taught = control & (fold != k)
        score[fold == k] = x[fold == k] @ np.linalg.lstsq(x[taught], y[taught])[0]
    return score


def saved(trial: Trial, scores: dict[str, np.ndarray]) -> pl.DataFrame:
    """By score, analysis and arm: the difference to placebo at week 24 with its SD (posterior SD, or REML's standard
    error), without and with the score; `ratio` of the variances; of the primary endpoint also the correlation of score
    and change on placebo with 95 % limits. scores: by name, (subjects,) or by visit (subjects, visits)."""
    people, primary = trial.people, carried(trial.adqsadas)
    at = people.select("subject").with_row_index().join(primary, on="subject", how="inner", maintain_order="left")
    who, y = at["index"].to_numpy(), at["change"].to_numpy()
    own = {"baseline": people["base"].to_numpy()[who], "site": people["site"].to_numpy()[who]}
    subjects = Subjects(people["arm"].to_numpy()[who], tuple(ARMS), own)
    priors = Priors(scale=float(y.std()), centre=float(y.mean()))
    plain = exact(Continuous(y, subjects), priors).moments()
    seen = trial.changes(trial.handled("treatment policy"))
    repeated = reml(trial.longitudinal(seen))
    rows = []
    for name, score in scores.items():
        by_visit = score if score.ndim == 2 else np.repeat(score[:, None], seen.shape[1], axis=1)
        data = Continuous(y, subjects, by_visit[who, -1])
        mean, sd = exact(data, priors).moments()
        told, after = prognosis(data), reml(trial.longitudinal(seen, twin=by_visit))
        for i, arm in enumerate(ACTIVE):
            common = {"score": name, "arm": arm}
            rows.append(
                common
                | {
                    "analysis": "covariance, last value carried forward",
                    "without": plain[0][1 + i],
                    "without_sd": plain[1][1 + i],
                    "with": mean[1 + i],
                    "with_sd": sd[1 + i],
                    "correlation": told.correlation,
                    "low": told.low,
                    "high": told.high,
                }
            )
            rows.append(
                common
                | {
                    "analysis": "repeated measures, treatment policy",
                    "without": repeated.effect[i, -1],
                    "without_sd": repeated.se[i, -1],
                    "with": after.effect[i, -1],
                    "with_sd": after.se[i, -1],
                }
            )
    found = pl.DataFrame(rows, infer_schema_length=None)
    return found.with_columns(ratio=(pl.col("with_sd") / pl.col("without_sd")) ** 2)
