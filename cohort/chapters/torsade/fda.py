"""Four drugs against FDA's own results: distributions, and lane by lane."""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from cohort.analysis.torsade import Scores
from cohort.chapters import Data, Figure, Text
from cohort.chapters.torsade.drugs import OBTAIN
from cohort.chapters.torsade.page import UNIT
from cohort.display.table import Column, Table, digits, number, percent

EXACT = "cipa/cipa_exact_input_output_pairs_4drugs.csv"
REFERENCE = "cipa/cipa_ref_qnet_apd90_4drugs_1to4Cmax.csv"
REFERENCE_SCORE = "cipa/cipa_ref_torsade_metric_score_4drugs.csv"


def against_fda(predicted: Mapping[str, Any], known: Scores, data: Data) -> list[Text | Table | Figure]:
    """Four drugs against FDA's distributions, and lane by lane where its own results are at hand."""
    reference = pl.read_csv(data.open(REFERENCE, use="validation", obtain=OBTAIN))
    whole = pl.read_csv(data.open(REFERENCE_SCORE, use="validation", obtain=OBTAIN))
    cells, rows = {(c["drug"], c["times_cmax"]): c for c in predicted["cells"]}, []
    for theirs in reference.iter_rows(named=True):
        ours = cells[theirs["drug"], theirs["dose"]]
        rows.append(
            {
                "drug": theirs["drug"],
                "times": str(theirs["dose"]),
                "ours": ours["qnet"],
                "error": ours["qnet_error"],
                "sd": ours["qnet_sd"],
                "theirs": theirs["qNet_mean"],
                "theirs_sd": theirs["qNet_sd"],
                "apd": ours["apd90"],
                "apd_error": ours["apd90_error"],
                "apd_theirs": theirs["APD90_mean"],
            }
        )
    for theirs in whole.iter_rows(named=True):
        own = known[theirs["drug"]]
        rows.append(
            {
                "drug": theirs["drug"],
                "times": "mean of 1 to 4",
                "ours": float(own.mean()),
                "error": float(own.std(ddof=1) / math.sqrt(len(own))),
                "sd": float(own.std(ddof=1)),
                "theirs": theirs["mean"],
                "theirs_sd": theirs["std"],
            }
        )
    table = Table(
        "C4",
        "torsade_reference",
        "Four drugs against FDA's distributions",
        f"Net charge, {UNIT}, and APD90, ms: mean over {predicted['options']['samples']} samples ± Monte Carlo "
        "standard error, standard deviation over samples in brackets; FDA: over 2000 samples. No intervals.",
        [
            Column("drug", "drug", plain=True),
            Column("times", "× Cmax", plain=True),
            Column("ours", "net charge", digits(5), error="error", spread="sd"),
            Column("theirs", "FDA", digits(5), spread="theirs_sd"),
            Column("apd", "APD90", digits(1), error="apd_error"),
            Column("apd_theirs", "FDA", digits(1)),
        ],
        rows,
    )
    return [table, Text(_lane_by_lane(predicted, data))]


def _lane_by_lane(predicted: Mapping[str, Any], data: Data) -> str:
    near = nearness(predicted, pl.read_csv(data.open(EXACT, use="validation", obtain=OBTAIN)))
    return (
        f"The samples are the rows of FDA's own, so that {near['rows']} lanes can be held against its results one by "
        f"one: net charge differs by at most {near['qnet']:.1e} {UNIT} (within 2e-5 in {percent(near['qnet_within'])} "
        f"of lanes), APD90 by at most {number(near['apd90'], 1)} ms (within 1 ms in {percent(near['apd90_within'])}). "
        f"Lanes here are paced {predicted['options']['beats']} beats, FDA's 1000."
    )


def nearness(predicted: Mapping[str, Any], exact: pl.DataFrame) -> dict[str, float]:
    """How far lanes are from FDA's results for the same drug, sample and concentration."""
    theirs = exact.select(
        "drug",
        pl.col("sample").cast(pl.Int64),
        pl.col("dose_xCmax").cast(pl.Int64).alias("times_cmax"),
        pl.col("out_qNet").alias("their_qnet"),
        pl.col("out_APD90").alias("their_apd90"),
    )
    both = pl.DataFrame(predicted["first"]).join(theirs, on=["drug", "sample", "times_cmax"])
    qnet = (both["qnet"] - both["their_qnet"]).abs()
    apd90 = (both["apd90"] - both["their_apd90"]).abs()
    return {
        "rows": both.height,
        "qnet": float(qnet.max()),  # type: ignore[arg-type]
        "apd90": float(apd90.max()),  # type: ignore[arg-type]
        "qnet_within": float((qnet <= 2e-5).mean()),  # type: ignore[arg-type]
        "apd90_within": float((apd90 <= 1.0).mean()),  # type: ignore[arg-type]
    }
