"""A population of cells: which of the study's virtual people have a beat such as human cells have, and what the arms'
drugs do to theirs.

Cells differ in conductances and sex; those whose undrugged beat lies within the ranges of experiments are accepted.

References
----------
[1] Passini et al. 2017, Front Physiol 8:668, doi 10.3389/fphys.2017.00668; Britton et al. 2017, Front Physiol 8:278:
    ranges of human ventricular trabeculae, paced at 1 Hz. From memory: unverified. Beats here are 2 s apart, at which
    action potentials are longer, and the cell has neither neighbours nor a muscle's load.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from cohort.chapters import Figure, Text
from cohort.display.style import PREDICTED, QUIET, arm_label, grid, svg
from cohort.display.table import Column, Table, digits, percent
from cohort.library import load
from cohort.pharmacometrics.beats import CYCLE, duration, measures
from cohort.results import Results
from cohort.streams import streams
from cohort.trial import MEAN

RANGES = {
    "apd40": (85.0, 320.0, "APD40, ms"),
    "apd50": (110.0, 350.0, "APD50, ms"),
    "apd90": (180.0, 440.0, "APD90, ms"),
    "triangle": (50.0, 150.0, "APD90 − APD40, ms"),
    "peak": (10.0, 55.0, "peak, mV"),
    "rest": (-95.0, -80.0, "rest, mV"),
}  # [1]
SEXES = {"male": "men", "female": "women"}


def accept(results: Results) -> dict[str, Any] | None:
    """Cells of the people at the posterior mean, in every arm. None where the arms have no control to accept them by.

    Returns plain values: `biomarkers`, `arms`, `balance`: rows; `cells`, `accepted`: how many."""
    control = next((name for name, arm in results.study.arms.items() if arm.control is None), None)
    if control is None:
        return None
    beats = {arm: _beats(results, arm) for arm in results.study.arms}
    sex = dict(results.population.select("subject", "sex").iter_rows())
    own = beats[control].with_columns(sex=pl.col("subject").replace_strict(sex))
    within = {name: own[name].is_between(low, high).fill_null(False) for name, (low, high, _) in RANGES.items()}
    accepted = own["subject"].filter(pl.Series(np.logical_and.reduce([w.to_numpy() for w in within.values()])))
    biomarkers = [
        {
            "biomarker": label,
            "low": low,
            "high": high,
            "mean": float(own[name].drop_nans().mean()),  # type: ignore[arg-type]
            "sd": float(own[name].drop_nans().std()),  # type: ignore[arg-type]
            "within": float(within[name].mean()),  # type: ignore[arg-type]
        }
        for name, (low, high, label) in RANGES.items()
    ]
    arms = []
    for arm, table in beats.items():
        both = table.join(own.select("subject", "sex", at_rest=pl.col("apd90")), on="subject")
        both = both.filter(pl.col("subject").is_in(accepted.implode()))
        arms += [
            _of(arm, label, both if not level else both.filter(pl.col("sex") == level))
            for level, label in (("", "all"), *SEXES.items())
        ]
    shares = own.group_by("sex").agg(pl.len(), pl.col("subject").is_in(accepted.implode()).sum().alias("accepted"))
    return {
        "control": control,
        "cells": own.height,
        "accepted": len(accepted),
        "by_sex": {SEXES[row["sex"]]: [row["accepted"], row["len"]] for row in shares.sort("sex").to_dicts()},
        "biomarkers": biomarkers,
        "arms": [row for row in arms if row["n"]],
        "balance": _balance(results, own["subject"].to_list(), accepted.to_list()),
    }


def _beats(results: Results, arm: str) -> pl.DataFrame:
    """The last beat of each cell: subject, and what is read off it, NaN of one that could not be solved."""
    seen = results.visits_of(arm).filter(pl.col("draw") == MEAN).sort("subject", "time")
    subjects = seen["subject"].unique(maintain_order=True)
    samples = seen.height // len(subjects)
    v = seen["v"].to_numpy().reshape(len(subjects), samples)
    qnet = seen["qnet"].to_numpy().reshape(len(subjects), samples)
    last = seen["time"].to_numpy()[:samples] >= seen["time"][samples - 1] - CYCLE
    read = measures(v[:, last], qnet[:, last])
    apd40 = np.asarray(duration(v[:, last], 0.4))
    return pl.DataFrame({"subject": subjects, **read, "apd40": apd40, "triangle": read["apd90"] - apd40})


def _of(arm: str, sex: str, cells: pl.DataFrame) -> dict[str, Any]:
    """Of the accepted cells of an arm: means with Monte Carlo errors, and the share that fails to repolarise."""
    row: dict[str, Any] = {"arm": arm_label(arm), "sex": sex, "n": cells.height}
    longer = cells.with_columns(longer=pl.col("apd90") - pl.col("at_rest"))
    for name in ("qnet", "apd90", "longer"):
        values = longer[name].drop_nulls().drop_nans().to_numpy()
        if len(values) > 1:
            low, high = np.quantile(values, [0.025, 0.975])
            row |= {name: float(values.mean()), f"{name}_error": float(values.std(ddof=1) / math.sqrt(len(values)))}
            row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    solved = cells["failed"].drop_nans()
    if len(solved):
        failures = int((solved == 1).sum())
        within = stats.binomtest(failures, len(solved)).proportion_ci(0.95, method="exact")
        row |= {
            "failures": failures,
            "share": failures / len(solved),
            "share_low": within.low,
            "share_high": within.high,
        }
    return row


def _balance(results: Results, everyone: Sequence[str], accepted: Sequence[str]) -> list[dict[str, Any]]:
    """How far the accepted cells' conductances are from those of all cells, in standard deviations of all."""
    effects = streams(results.study.seed, "effects", everyone)  # the very numbers that the simulation drew
    who = np.isin(np.array(everyone), np.array(accepted))
    rows = []
    for name in load(results.study.model, results.study.path.parent).effects():
        z = effects.normal(name)[:, 0]
        rows.append(
            {"parameter": name, "difference": float((z[who].mean() - z.mean()) / z.std()) if who.any() else None}
        )
    return rows


def shown(found: Mapping[str, Any]) -> list[Text | Table | Figure]:
    """What `accept` found, as the report has it."""
    shares = ", ".join(f"{k} of {n} {who}" for who, (k, n) in found["by_sex"].items())
    share, n = found["accepted"] / found["cells"], found["cells"]
    words = (
        f"Population of cells: {found['accepted']} of {n} virtual cells ({percent(share)} ± "
        f"{percent(math.sqrt(share * (1 - share) / n), 1)} Monte Carlo standard error; {shares}) have an undrugged "
        "beat within all the ranges of experiments and are accepted. Ranges are from memory and were measured at 1 Hz; "
        "these beats are 2 s apart."
    )
    biomarkers = Table(
        "C5",
        "torsade_biomarkers",
        "Biomarkers of the undrugged cells, and who is accepted",
        f"{n} cells in the arm {arm_label(found['control'])}: mean and standard deviation over cells, and the "
        "share within the range. No intervals.",
        [
            Column("biomarker", "biomarker", plain=True),
            Column("low", "from", digits(0)),
            Column("high", "to", digits(0)),
            Column("mean", "mean", digits(1), spread="sd"),
            Column("within", "within", percent),
        ],
        found["biomarkers"],
    )
    arms = Table(
        "C6",
        "torsade_population",
        "Accepted cells, by arm and sex",
        "Mean over accepted cells ± Monte Carlo standard error, in brackets the central 95 % of cells. Longer: APD90 "
        "less that of the same cell undrugged. Failures: the beat ends above −40 mV or the potential rises while it "
        "should fall; exact 95 % confidence interval.",
        [
            Column("arm", "arm", plain=True),
            Column("sex", "cells of", plain=True),
            Column("n", "cells", str),
            Column("qnet", "net charge, µC/µF", digits(4), error="qnet_error", low="qnet_low", high="qnet_high"),
            Column("apd90", "APD90, ms", digits(0), error="apd90_error", low="apd90_low", high="apd90_high"),
            Column("longer", "longer, ms", digits(0), error="longer_error", low="longer_low", high="longer_high"),
            Column("failures", "failures"),
            Column("share", "share", lambda value: percent(value, 1), low="share_low", high="share_high"),
        ],
        found["arms"],
    )
    caption = (
        "Conductances of accepted cells less those of all cells, in standard deviations of all (logarithms): what "
        "acceptance selects. No intervals."
    )
    return [Text(words), biomarkers, arms, Figure("torsade_accepted", _love(found["balance"]), caption)]


def _love(rows: Sequence[Mapping[str, Any]]) -> str:
    """Standardised differences of the accepted cells from all, as points on a line each."""
    known = [row for row in rows if row["difference"] is not None]
    figure, (axis,) = grid(1, 1, 0.24 * len(known) + 0.8)
    for y, row in enumerate(reversed(known)):
        axis.plot([0, row["difference"]], [y, y], color=QUIET, lw=1)
        axis.plot(row["difference"], y, "o", color=PREDICTED, ms=5)
    axis.axvline(0, color="#888", lw=0.8)
    axis.set_yticks(range(len(known)), [row["parameter"] for row in reversed(known)])
    axis.set_xlabel("standardised difference, accepted less all")
    return svg(figure, "Conductances of the accepted cells against those of all")
