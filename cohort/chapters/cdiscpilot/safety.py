"""Adverse events by body system, and the time to the first of the skin, whose hazards need not be proportional.

The three-level model weighs each term against its body system; it is fitted to the high dose against placebo, for terms
that five patients or more of the trial had: the others would bring no signal and most of the work. The low dose stands
beside it as counts.

References
----------
[1] Clopper & Pearson 1934, Biometrika 26:404: exact limits of a share.
"""

import numpy as np
import polars as pl

from cohort.analysis import adverse_events, hazards, piecewise
from cohort.analysis.restricted import Estimate, difference, estimate, milestone, restricted_mean
from cohort.analysis.survival import Survival, kaplan_meier, survival
from cohort.chapters.cdiscpilot.trial import ARMS, END, NAMES
from cohort.inference.sampling import Sampling
from cohort.record import digest, source_digest
from cohort.store import Job

FEWEST = 5  # patients of the trial with a term, for the model to have it
TERMS = Sampling(warmup=800, draws=1200, chains=2)
WALK = Sampling(warmup=700, draws=700, chains=4, target_accept=piecewise.SAMPLING.target_accept)
PERIODS = 6
LEVEL = 0.95
ACTIVE = tuple(ARMS)[1:]


def counted(adae: pl.DataFrame) -> pl.DataFrame:
    """Patients with each event emergent on treatment: system, term, and a count for each arm."""
    once = adae.filter(pl.col("TRTEMFL") == "Y").unique(["USUBJID", "AEBODSYS", "AEDECOD"], maintain_order=True)
    arm = pl.col("TRTA").replace_strict(NAMES)
    rows = (
        once.with_columns(arm=arm)
        .group_by("AEBODSYS", "AEDECOD")
        .agg(**{a: (pl.col("arm") == a).sum().cast(pl.Int64) for a in ARMS})
    )
    return rows.rename({"AEBODSYS": "system", "AEDECOD": "term"}).sort("system", "term")


def anything(adae: pl.DataFrame, patients: dict[str, int]) -> pl.DataFrame:
    """Patients with any event emergent on treatment, any serious one, any of the skin: arm, kind, events, of."""
    on = adae.filter(pl.col("TRTEMFL") == "Y").with_columns(arm=pl.col("TRTA").replace_strict(NAMES))
    kinds = {
        "any event on treatment": pl.lit(True),
        "any serious one": pl.col("AESER") == "Y",
        "any of the skin": pl.col("CQ01NAM").is_not_null(),
    }
    rows = []
    for kind, those in kinds.items():
        had = dict(on.filter(those).group_by("arm").agg(pl.col("USUBJID").n_unique()).rows())
        rows += [{"kind": kind, "arm": a, "events": had.get(a, 0), "of": patients[a]} for a in ARMS]
    return pl.DataFrame(rows)


def skin(adtte: pl.DataFrame) -> Survival:
    """Days to the first dermatological event, or to the end of what is known of the patient."""
    arm = adtte["TRTA"].replace_strict(NAMES).to_numpy()
    return survival(
        adtte["AVAL"].to_numpy(), 1 - adtte["CNSR"].to_numpy(), arm, control="placebo", unit="d", arms=tuple(ARMS)
    )


def jobs(adae: pl.DataFrame, adtte: pl.DataFrame, patients: dict[str, int], seed: int) -> list[Job]:
    """Terms, and hazard ratios by period."""
    counts, times = counted(adae), adtte.select("USUBJID", "TRTA", "AVAL", "CNSR").sort("USUBJID")
    told = {"terms": (terms, (counts, patients, seed)), "periods": (periods, (times, seed))}
    of = {"terms": counts.rows(), "periods": times.rows()}
    return [Job(digest([name, of[name], seed, source_digest()])[:32], *told[name]) for name in told]


def terms(counts: pl.DataFrame, patients: dict[str, int], seed: int) -> pl.DataFrame:
    """`counted`, with what the model says of the high dose; null of rarer terms. Diagnostics in each row."""
    often = counts.filter(pl.sum_horizontal(*ARMS) >= FEWEST)
    data = adverse_events.AdverseEvents(
        tuple(often["term"]),
        tuple(often["system"]),
        often["placebo"].to_numpy(),
        often["high dose"].to_numpy(),
        patients["placebo"],
        patients["high dose"],
    )
    tree = adverse_events.fit(data, seed=seed, sampling=TERMS)
    found = adverse_events.signals(tree, data, level=LEVEL)
    kept = ["system", "term", "p", "mcse", "none", "shrunk", "low", "high", "p_above", "flag", "flag_fdr"]
    rows = counts.join(found.terms.select(kept), on=["system", "term"], how="left", maintain_order="left")
    told = {k: pl.lit(float(tree.attrs[k])) for k in ("r_hat", "ess_bulk", "divergences")}
    return rows.with_columns(expected_fdr=pl.lit(found.expected_fdr, dtype=pl.Float64), **told)


def periods(adtte: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Rows of kind `ratio`, by arm and period (start, end; d): hazard ratio to placebo; `late less early`: difference
    of log hazard ratios; `free`: mean days without an event of the first 168, less placebo's; `share`: with an event by
    day 168, the model's. Of each mean, low, high, mcse; `doubt` of proportional hazards, and the score test's `p`."""
    data = skin(adtte)
    cuts = piecewise.cuts(data, PERIODS)
    counts = piecewise.statistics(data, cuts)
    tree = hazards.fit(counts, seed=seed, sampling=WALK)
    curves = hazards.curves(tree, counts)
    free, left = restricted_mean(curves, END), milestone(curves, END)
    ends = [0.0, *cuts.tolist(), float("nan")]
    rows = []
    for arm in ACTIVE:
        check = hazards.check(tree, counts, arm, subjects=data, level=LEVEL)
        k = ACTIVE.index(arm)
        log_hr = tree.children["posterior"].dataset["log_hr"].values[..., k]
        for j in range(counts.intervals):
            place = {"start": ends[j], "end": None if j == counts.intervals - 1 else ends[j + 1]}
            rows.append(
                {"kind": "ratio", "arm": arm, **place, **_figures(estimate(np.exp(log_hr[..., j]), level=LEVEL))}
            )
        rows.append({"kind": "late less early", "arm": arm, **_figures(check.late_less_early), "p": check.score_p})
        rows[-1]["doubt"] = check.doubt
        rows.append({"kind": "free", "arm": arm, **_figures(estimate(difference(free, curves, arm), level=LEVEL))})
    rows += [
        {"kind": "share", "arm": arm, **_figures(estimate(1 - left[..., i], level=LEVEL))} for i, arm in enumerate(ARMS)
    ]
    rows += [
        {"kind": "free of event", "arm": arm, **_figures(estimate(free[..., i], level=LEVEL))}
        for i, arm in enumerate(ARMS)
    ]
    told = {k: pl.lit(float(tree.attrs[k])) for k in ("r_hat", "ess_bulk", "divergences")}
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(**told)


def _figures(e: Estimate) -> dict[str, float]:
    return {"mean": e.mean, "low": e.low, "high": e.high, "mcse": e.mcse}


def seen(adtte: pl.DataFrame) -> pl.DataFrame:
    """What was seen without a model, by arm: patients, events, days at risk, median (d; infinite where not reached),
    share with an event by day 168 (Kaplan-Meier, log-log 95 % interval), and hazard ratios to placebo of one number."""
    data = skin(adtte)
    rows = []
    for i, arm in enumerate(ARMS):
        own, curve = data.of(arm), kaplan_meier(data, arm, level=LEVEL)
        last = int(np.searchsorted(curve.time, END, side="right")) - 1
        row = {
            "arm": arm,
            "patients": len(own.time),
            "events": int(own.event.sum()),
            "days": float(own.time.sum()),
            "median": curve.first_below(0.5),
            "share": 1 - float(curve.at(END)),
            "low": 1 - float(curve.high[last]),
            "high": 1 - float(curve.low[last]),
            "ratio": float(np.exp(hazards.schoenfeld(data, arm)[0])) if i else None,
        }
        rows.append(row | {"median": row["median"] if np.isfinite(row["median"]) else None})
    return pl.DataFrame(rows)


def exact(events: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Limits of a share [1]."""
    from scipy.stats import binomtest

    found = binomtest(events, of).proportion_ci(level)
    return float(found.low), float(found.high)
