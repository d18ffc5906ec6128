"""How the chapter's numbers are shown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cohort.analysis.torsade import CLASSES, ProportionalOdds, Scores, fit, interval, jackknifed, left_out, majority
from cohort.chapters.torsade.drugs import classes
from cohort.display.style import OBSERVED, PREDICTED, QUIET, grid, svg
from cohort.display.table import Column, Table, digits, number, percent

METRICS = {
    "qnet": "torsade metric score",
    "net_block": "hERG − (ICaL + INaL)",
    "herg_ical": "hERG − ICaL",
}
UNIT = "µC/µF"
DRAWS = 4000  # of one sample of each drug
FDA = ProportionalOdds(20.01199509307, 15.665426847338, -292.539547635619)  # [2] qNettraining_errors.csv: all 28 drugs


def drug_rows(
    predicted: Mapping[str, Any], known: Scores, drugs: pl.DataFrame, judged: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row a drug: its score, the class that most of its samples have, and what FDA's own fit says, left out."""
    counts, rows = predicted["counts"]["qnet"], []
    said = dict(zip(counts, majority(np.array(list(counts.values()))).tolist(), strict=True))
    theirs = majority(drugs.select("fda_low", "fda_intermediate", "fda_high").to_numpy())
    for drug, fda in zip(drugs.iter_rows(named=True), theirs.tolist(), strict=True):
        name, own = drug["drug"], known[drug["drug"]]
        _, low, high = interval(own)
        shares = np.array(counts[name]) / sum(counts[name])
        rows.append(
            {
                "drug": name,
                "set": drug["set"],
                "class": CLASSES[drug["class"]],
                "score": float(own.mean()),
                "error": float(own.std(ddof=1) / math.sqrt(len(own))) if len(own) > 1 else None,
                "low": low,
                "high": high,
                "samples": len(own),
                "said": CLASSES[said[name]],
                "share": float(shares[said[name]]),
                "left_out": CLASSES[judged["majority"][name]],
                "fda": CLASSES[fda],
                "missed": said[name] != drug["class"],
            }
        )
    return sorted(rows, key=lambda row: (row["set"], -CLASSES.index(row["class"]), row["score"]))


def drug_table(rows: Sequence[Mapping[str, Any]], samples: int) -> Table:
    return Table(
        "C1",
        "torsade_drugs",
        "Torsade metric score and class of every drug",
        f"Mean net charge of a beat over 1 to 4 times free Cmax, {UNIT}, ± Monte Carlo standard error of the mean "
        f"over {samples} samples; in brackets 95 % interval over samples (equal tails). Said: the class of most "
        "samples by boundaries from the 12 training drugs, and their share; left out: by the fit on the other 27; FDA: "
        "its own fit on the other 27, 2000 samples. A drug whose class is missed is marked.",
        [
            Column("drug", "drug", plain=True),
            Column("set", "set", plain=True),
            Column("class", "class", plain=True),
            Column("score", "score", digits(4), error="error", low="low", high="high"),
            Column("samples", "samples", str),
            Column("said", "said", plain=True),
            Column("share", "share", percent),
            Column("left_out", "left out", plain=True),
            Column("fda", "FDA, left out", plain=True),
        ],
        [dict(row) for row in rows],
    )


def boundary_rows(
    predicted: Mapping[str, Any], known: Mapping[str, Scores], drugs: pl.DataFrame
) -> list[dict[str, Any]]:
    """Boundaries of every score from the training drugs, and those of the torsade metric score from all 28."""
    rows = []
    for metric, label in METRICS.items():
        own = predicted["classifiers"][metric]
        for k, between in enumerate(("low and intermediate", "intermediate and high")):
            rows.append(
                {
                    "score": label,
                    "fitted": "12 for training",
                    "between": between,
                    "at": own["boundaries"][k],
                    "error": own["errors"][k],
                    "low": own["lowest"][k],
                    "high": own["highest"][k],
                    "fda": None,
                }
            )
    truth = classes(drugs)

    def boundaries(some: Scores) -> np.ndarray:
        return np.array(fit(some, truth).boundaries)

    errors = jackknifed(known["qnet"], boundaries)
    without = np.array([m.boundaries for m in left_out(known["qnet"], truth).values()])
    for k, between in enumerate(("low and intermediate", "intermediate and high")):
        rows.append(
            {
                "score": METRICS["qnet"],
                "fitted": "all 28",
                "between": between,
                "at": float(boundaries(known["qnet"])[k]),
                "error": float(errors[k]),
                "low": float(np.nanmin(without[:, k])),
                "high": float(np.nanmax(without[:, k])),
                "fda": FDA.boundaries[k],
            }
        )
    return rows


def boundary_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        "C2",
        "torsade_boundaries",
        "Class boundaries",
        "Scores at which two classes are as probable, ± Monte Carlo standard error (jackknife over samples); in "
        "brackets the range when each drug in turn is left out, which is no confidence interval. "
        f"{UNIT} for the torsade metric score, shares of block at Cmax for the others. FDA: its published "
        "coefficients, which are of all 28 drugs.",
        [
            Column("score", "score", plain=True),
            Column("fitted", "drugs", plain=True),
            Column("between", "between", plain=True),
            Column("at", "boundary", digits(4), error="error", low="low", high="high"),
            Column("fda", "FDA", digits(4)),
        ],
        [dict(row) for row in rows],
    )


WORDS = {
    "AUC1": "AUC1: intermediate or high against low",
    "AUC2": "AUC2: high against the rest",
    "pairwise": "pairs of drugs in the right order",
    "LR1+": "LR+ of the first boundary",
    "LR1-": "LR− of the first boundary",
    "LR2+": "LR+ of the second boundary",
    "LR2-": "LR− of the second boundary",
    "error": "mean error, classes",
    "right": "share of drugs in their class",
}


def ratio(value: float | None) -> str:
    return "∞" if value is not None and math.isinf(value) else number(value, 2)


def measure_table(judged: Mapping[str, Any], part: str, title: str) -> Table:
    rows = []
    for measure, words in WORDS.items():
        row: dict[str, Any] = {"measure": words}
        for metric in METRICS:
            row |= {
                f"{metric}{end}": judged[metric][part][measure][name]
                for end, name in (("", "value"), ("_low", "low"), ("_high", "high"), ("_error", "error"))
            }
        rows.append(row)
    return Table(
        "C3",
        f"torsade_measures_{part}",
        title,
        "Median ± Monte Carlo standard error of the mean (jackknife over samples; none for likelihood ratios, which "
        f"may be infinite), in brackets 95 % interval (equal tails) over {DRAWS} draws of one sample of each drug. "
        "Pairs count where at least one drug is for validation. The net blocks at Cmax need no cell model.",
        [
            Column("measure", "measure", plain=True),
            *(
                Column(m, label, ratio, error=f"{m}_error", low=f"{m}_low", high=f"{m}_high")
                for m, label in METRICS.items()
            ),
        ],
        rows,
    )


COLOURS = {"low": (PREDICTED, "o"), "intermediate": (QUIET, "s"), "high": (OBSERVED, "D")}


def drawn(known: Scores, drugs: pl.DataFrame, classifier: Mapping[str, Any]) -> str:
    """Scores of the drugs, those for training above those for validation, each part from high to low risk."""
    rows = sorted(
        drugs.iter_rows(named=True),
        key=lambda d: (d["set"] == "validation", -d["class"], float(known[d["drug"]].mean())),
    )
    figure, (axis,) = grid(1, 1, 0.19 * len(rows) + 1.0)
    for y, drug in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
        own = known[drug["drug"]]
        middle, low, high = interval(own)
        colour, marker = COLOURS[CLASSES[drug["class"]]]
        axis.plot([low, high], [y, y], color=colour, lw=2)
        axis.plot(middle, y, marker, color=colour, ms=5, mfc=colour if drug["set"] == "training" else "white")
    for at in classifier["boundaries"]:
        axis.axvline(at, color="#555", lw=0.9, ls=(0, (4, 2)), zorder=0)
    axis.axhline(sum(drug["set"] == "validation" for drug in rows) - 0.5, color="#ccc", lw=0.8, zorder=0)
    axis.set_yticks(range(len(rows) - 1, -1, -1), [drug["drug"] for drug in rows])
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_xlabel(f"torsade metric score ({UNIT}); lower is more dangerous")
    for name in reversed(CLASSES):
        colour, marker = COLOURS[name]
        axis.plot([], [], marker, ls="-", color=colour, ms=5, label=f"{name} risk")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return svg(figure, "Torsade metric score of 28 drugs with the boundaries of the classes")


def drawn_caption(predicted: Mapping[str, Any]) -> str:
    return (
        f"Torsade metric score: median and 95 % interval (equal tails) over {predicted['options']['samples']} samples. "
        "Above, filled: drugs for training, from which the boundaries (dashed) come; below, open: drugs for validation."
    )
