"""ADAS-Cog(11) at week 24: the trial's own analysis again, then repeated measures under two estimands, and how much
rests on what is assumed of those who were not seen.

Treatment policy uses whatever was measured, retrieval visits among it; the hypothetical estimand leaves out what was
measured more than `trial.GRACE` days after the last patch. Missing values are at random given what is seen, or follow
placebo (`cohort.analysis.imputation`). Values carried forward are for the trial's own table alone.
"""

from typing import Any

import numpy as np
import polars as pl

from cohort.analysis.imputation import Effect, Events, analyse, before, impute, impute_retrieved
from cohort.analysis.longitudinal import SAMPLING, Longitudinal, adjusted, fit, table
from cohort.analysis.reml import reml
from cohort.analysis.restricted import estimate
from cohort.analysis.tipping import Conclusion, surface
from cohort.chapters.cdiscpilot.trial import ARMS, VISITS, Trial, carried
from cohort.inference.sampling import Sampling
from cohort.record import digest, source_digest
from cohort.store import Job

QUICK = Sampling(
    warmup=600, draws=1000, chains=2, target_accept=SAMPLING.target_accept, dense=SAMPLING.dense
)  # effective sizes near 2000
LEVEL = 0.95
RETRIEVED = 5  # on placebo no more were seen after stopping: the regression among them is one for all arms
ACTIVE = tuple(ARMS)[1:]
REFERENCE = {
    "hypothetical": "at random",
    "copy increments in reference": "copy increments in placebo",
    "copy reference": "copy placebo",
    "jump to reference": "jump to placebo",
}
DELTAS = np.arange(-8.0, 4.1, 2.0)  # points, added to what was imputed after stopping


def again(adqsadas: pl.DataFrame) -> pl.DataFrame:
    """The trial's own table: number, mean and SD of the change, last value carried forward, by arm."""
    rows = carried(adqsadas).group_by("arm").agg(n=pl.len(), mean=pl.col("change").mean(), sd=pl.col("change").std())
    return pl.DataFrame({"arm": list(ARMS)}).join(rows, on="arm", how="left", maintain_order="left")


def covariance(trial: Trial) -> pl.DataFrame:
    """The trial's primary analysis: least squares of the change carried forward on arm, pooled site and baseline.
    arm, difference to placebo, se, low, high (95 % confidence interval), p."""
    from scipy.stats import t

    rows = carried(trial.adqsadas).join(trial.people, on="subject", how="left", maintain_order="left")
    sites = sorted(rows["site"].unique())
    arms = [(rows["arm"] == a).to_numpy() for a in ACTIVE]
    x = np.column_stack(
        [np.ones(rows.height), *arms, *((rows["site"] == s).to_numpy() for s in sites[1:]), rows["base"].to_numpy()]
    ).astype(float)
    y = rows["change"].to_numpy()
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    df = len(y) - x.shape[1]
    se = np.sqrt(float(np.sum((y - x @ beta) ** 2)) / df * np.diag(inverse))
    half = float(t.ppf(0.5 + LEVEL / 2, df)) * se
    return pl.DataFrame(
        {
            "arm": ACTIVE,
            "difference": beta[1:3],
            "se": se[1:3],
            "low": (beta - half)[1:3],
            "high": (beta + half)[1:3],
            "p": 2 * t.sf(np.abs(beta / se)[1:3], df),
        }
    )


def stopped(trial: Trial) -> Events:
    """For each patient the first visit that comes after stopping, by the hypothetical estimand's rule."""
    rows = trial.handled("hypothetical").filter(pl.col("visit") != "Baseline")
    late = rows.filter(pl.col("reason").str.starts_with("hypothetical"))
    first = late.with_columns(at=pl.col("visit").replace_strict(dict(zip(VISITS, range(3), strict=True))))
    first = first.group_by("subject").agg(at=pl.col("at").min())
    at = trial.people.select("subject").join(first, on="subject", how="left", maintain_order="left")["at"]
    visit = at.fill_null(len(VISITS)).to_numpy().astype(int)
    return Events(visit, np.where(visit < len(VISITS), "stopped", ""))


def jobs(trial: Trial, seed: int) -> list[Job]:
    """The two fits, to be solved apart."""
    policy = trial.longitudinal(trial.changes(trial.handled("treatment policy")))
    events = stopped(trial)
    on = trial.longitudinal(trial.changes(trial.handled("hypothetical")))
    made = []
    for work, args in ((sampled, (policy, seed)), (completed, (on, policy, events, seed))):
        y = [np.where(np.isnan(d.y), -999.0, d.y).tolist() for d in args if isinstance(d, Longitudinal)]
        key = digest([work.__name__, y, policy.baseline.tolist(), events.visit.tolist(), seed, source_digest()])[:32]
        made.append(Job(key, work, args))
    return made


def sampled(data: Longitudinal, seed: int) -> pl.DataFrame:
    """The MMRM's contrasts and adjusted means by visit, REML's beside the contrasts, and how well it converged."""
    tree = fit(data, seed=seed, sampling=QUICK)
    return _rows(tree, data)


def _rows(tree: Any, data: Longitudinal) -> pl.DataFrame:
    exact, made = reml(data), []
    n = {(a, v): int(data.seen[data.subjects.arm == a, j].sum()) for a in ARMS for j, v in enumerate(VISITS)}
    for row in table(tree, data, LEVEL).iter_rows(named=True):
        i, j = ACTIVE.index(row["arm"]), VISITS.index(row["visit"])
        reml_of = {"reml": float(exact.effect[i, j]), "reml_se": float(exact.se[i, j])}
        made.append({"kind": "difference", **row, **reml_of, "n": n[row["arm"], row["visit"]]})
    means = adjusted(tree, data)
    for i, arm in enumerate(ARMS):
        for j, visit in enumerate(VISITS):
            e = estimate(means[:, :, i, j], level=LEVEL)
            figures = {"mean": e.mean, "sd": e.sd, "low": e.low, "high": e.high, "mcse": e.mcse}
            made.append({"kind": "mean", "arm": arm, "visit": visit, **figures, "n": n[arm, visit]})
    told = {k: float(tree.attrs[k]) for k in ("r_hat", "ess_bulk", "ess_tail", "divergences", "bfmi")}
    return pl.DataFrame(made, infer_schema_length=None).with_columns(**{k: pl.lit(v) for k, v in told.items()})


def _imputed(kind: str, arm: str, effect: Effect) -> dict[str, Any]:
    low, high = effect.interval(LEVEL)
    above, error = effect.above()
    figures = {"mean": effect.mean, "sd": effect.sd, "low": low, "high": high, "mcse": effect.mcse}
    return {"kind": kind, "arm": arm, "visit": VISITS[-1], **figures, "below": 1 - above, "below_mcse": error}


def completed(on: Longitudinal, policy: Longitudinal, events: Events, seed: int) -> pl.DataFrame:
    """The hypothetical estimand's MMRM, and from it week 24 completed under every assumption, then analysed by
    covariance; for treatment policy from those retrieved. Rows of kind `tipping` hold P(benefit) in `below`, by `delta`
    added to what was imputed after stopping in the arm (of placebo nothing), in `mean` the delta at which it comes to
    0.975, infinite where it does on none."""
    data = before(on, events)
    tree = fit(data, seed=seed, sampling=QUICK)
    made = [_rows(tree, data)]
    rows = []
    for strategy, words in REFERENCE.items():
        done = impute(tree, data, events, strategy, seed=seed)  # type: ignore[arg-type]
        for arm in ACTIVE:
            rows.append(_imputed(words, arm, analyse(done, arm)))
            if strategy in ("hypothetical", "jump to reference"):
                found = surface(done, Conclusion(arm, "lower"), DELTAS, [-1.0, 0.0])
                at = float(found.tipping[1])
                rows += [
                    {
                        "kind": f"tipping, {words}",
                        "arm": arm,
                        "visit": VISITS[-1],
                        "mean": at if np.isfinite(at) else None,
                        "delta": float(d),
                        "below": float(p),
                        "below_mcse": float(e),
                    }
                    for d, p, e in zip(found.delta, found.probability[:, 1], found.mcse[:, 1], strict=True)
                ]
    done = impute_retrieved(tree, policy, events, seed=seed, minimum=RETRIEVED)
    rows += [_imputed("from those retrieved", arm, analyse(done, arm)) for arm in ACTIVE]
    made.append(pl.DataFrame(rows, infer_schema_length=None))
    return pl.concat(made, how="diagonal_relaxed")
