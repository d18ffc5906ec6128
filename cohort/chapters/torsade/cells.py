"""Lanes of the CiPA cell: one for each drug, sample and concentration, paced from the undrugged steady state on.

A cell settles over hundreds of beats. Its net charge where it settles is extrapolated from three beats: how near 300
beats come to 1000 is in docs/cipa_classes.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cohort.chapters import Data
from cohort.engine import Numerics, solve
from cohort.library import load
from cohort.pharmacometrics.beats import CYCLE, cells, duration, failed, pacing
from cohort.record import digest, source_digest
from cohort.store import Job

MODEL = "cipa"
TIMES = (1, 2, 3, 4)  # free Cmax
NAMES = {
    "concentration": "concentration",
    "Kmax": "kmax",
    "Ku": "ku",
    "n": "n",
    "halfmax": "halfmax",
    "Vhalf": "vhalf",
    "INa_IC50": "ic50_na",
    "INa_h": "h_na",
    "INaL_IC50": "ic50_nal",
    "INaL_h": "h_nal",
    "ICaL_IC50": "ic50_cal",
    "ICaL_h": "h_cal",
}  # of the samples, and of the model
# Against 1e-5 and 1e-7 net charge differs by 2e-6 at most and APD90 not at all: 42 lanes of nine drugs, 300 beats.
NUMERICS = Numerics(solver="stiff", rtol=1e-4, atol=1e-6)
APART = 50  # beats between those from which the net charge is extrapolated
SHRINKING = 0.8  # a change that shrinks by less from one to the next is not extrapolated


def lanes(
    drugs: pl.DataFrame, samples: Mapping[str, pl.DataFrame], options: Mapping[str, int], data: Data
) -> pl.DataFrame:
    """A row for each drug, sample and concentration: drug, sample (from 1), times_cmax, qnet (uC/uF), apd90 (ms),
    failed (0 or 1), code of the solve."""
    each = pl.concat(
        samples[drug]
        .with_row_index("sample", offset=1)
        .join(pl.DataFrame({"times_cmax": TIMES}), how="cross")
        .select(
            pl.lit(drug).alias("drug"), "sample", "times_cmax", *(name for name in NAMES if name != "concentration")
        )
        .with_columns(concentration=pl.col("times_cmax") * cmax)
        for drug, cmax in zip(drugs["drug"], drugs["cmax"], strict=True)
    ).select("drug", "sample", "times_cmax", *NAMES)
    text, jobs = digest(load(MODEL).text), []
    for some in each.iter_slices(
        options["block"]
    ):  # lanes are solved each for itself: their numbers do not depend on it
        columns = some.to_dict(as_series=False)
        key = digest(["torsade", columns, options["beats"], text, source_digest()])[:32]
        jobs.append(Job(key, paced, (columns, options["beats"])))
    return pl.concat(data.solve(jobs))


def paced(columns: Mapping[str, Sequence[Any]], beats: int) -> pl.DataFrame:
    """Lanes from the steady state of the undrugged cell on. columns: drug, sample, times_cmax and NAMES."""
    model, n = load(MODEL), len(columns["drug"])
    p = cells(model, n).replace(**{ours: np.array(columns[name], float) for name, ours in NAMES.items()})
    seen = [beat for beat in (beats - 2 * APART, beats - APART, beats) if beat > 0]
    # All three sampled alike: seen at its ends only, a beat's charge differs by 1e-6, which extrapolation magnifies
    times = np.concatenate([(beat - 1) * CYCLE + np.arange(CYCLE + 1) for beat in seen])
    out, status = solve(model, p, pacing(model, beats, n), times, numerics=NUMERICS)
    v, flowed = (x.reshape(n, len(seen), -1) for x in (out.v, out.qnet))
    # In NumPy: a division by JAX may differ in its last bit with the number of lanes.
    charge = (flowed[:, :, -1] - flowed[:, :, 0]) / 1000
    return pl.DataFrame(
        {
            "drug": columns["drug"],
            "sample": pl.Series(columns["sample"], dtype=pl.Int64),
            "times_cmax": pl.Series(columns["times_cmax"], dtype=pl.Int64),
            "qnet": limit(*charge.T) if len(seen) == 3 else charge[:, -1],
            "apd90": np.asarray(duration(v[:, -1], 0.9), float),
            "failed": np.asarray(failed(v[:, -1]), float),
            "code": status.code,
        }
    )


def limit(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    """Where values as far apart go whose distance to it shrinks by a factor (Aitken); the third where it does not.

    Sodium and potassium settle so, with about 100 beats to a factor e, and slowly released drugs."""
    before, after = second - first, third - second
    factor = np.divide(after, before, out=np.zeros_like(after), where=before != 0)
    return np.where((factor > 0) & (factor < SHRINKING), third + after * factor / (1 - factor), third)


def summary(lanes: pl.DataFrame) -> pl.DataFrame:
    """Of each drug and concentration: means over samples with Monte Carlo errors, and how many failed."""

    def of(column: str) -> list[pl.Expr]:
        value = pl.col(column).filter(pl.col(column).is_finite())
        return [
            value.mean().alias(column),
            (value.std() / value.len().sqrt()).alias(f"{column}_error"),
            value.std().alias(f"{column}_sd"),
        ]

    unsolved = (pl.col("code") != 0).sum().alias("unsolved")
    stuck = (pl.col("failed") == 1).sum().alias("failed")
    return lanes.group_by("drug", "times_cmax", maintain_order=True).agg(
        pl.len().alias("samples"), *of("qnet"), *of("apd90"), unsolved, stuck
    )
