"""What a statistician receives of simulated courses at the planned visits: one row per draw, arm and subject.

Each posterior draw has one trial, in which a person takes part in one arm only. Sampling error enters here, once.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from cohort.model import Endpoint, Model
from cohort.streams import streams
from cohort.study import Study
from cohort.trial.allocation import MEAN


def lost_after(study: Study, subjects: Sequence[str], draw: int) -> np.ndarray:
    """Time (d) at which each subject leaves the trial: exponential, with the planned share lost by the last visit."""
    u = streams(study.seed, f"dropout {draw}", subjects).uniform("time")[:, 0]
    if study.conduct.dropout == 0:
        return np.full(len(subjects), math.inf)
    hazard = -math.log1p(-study.conduct.dropout) / study.visits[-1].to("d")
    return -np.log(u) / hazard


def carried_forward(visits: np.ndarray) -> np.ndarray:
    """Missing visits take the last value seen. visits: (n, visits)."""
    at = np.where(np.isnan(visits), 0, np.arange(visits.shape[1]))
    return np.take_along_axis(visits, np.maximum.accumulate(at, axis=1), axis=1)


def read(endpoint: Endpoint, course: Any) -> np.ndarray:
    """What a measured course amounts to, (n,). course: Outputs of (n, visits), visits not seen as NaN.

    A comparison with NaN is no, so of a yes-or-no endpoint a no is known only of who was seen to the end: it is NaN
    where the last visit is. A yes that was seen stays. Visits missed in between are left to the endpoint.
    """
    found = np.asarray(endpoint.reads(course), dtype=float)
    if not endpoint.binary:
        return found
    lost = np.logical_or.reduce([np.isnan(values[:, -1]) for values in vars(course).values()])
    return np.where(lost & (found == 0), np.nan, found)


def analysis_set(study: Study, model: Model, visits: pl.DataFrame, parameters: pl.DataFrame) -> pl.DataFrame:
    """What a statistician receives. visits: as `simulate` returns; parameters: values by draw. Of the study's conduct
    it knows the share lost alone; `analysed` has the rest.

    Returns one row per draw, arm and subject: code, whether the last visit was missed, and for each endpoint that the
    model reads its value on the true course (`<endpoint>_true`) and, in trials, on the measured one (`<endpoint>`),
    NaN where it was not seen.
    """
    plans = {n: e for n, e in study.endpoints.items() if e.kind == "course"}
    days = np.array([visit.to("d") for visit in study.visits])
    sets = []
    for (draw, arm), rows in visits.group_by("draw", "arm", maintain_order=True):
        subjects = rows["subject"].to_list()[:: len(days)]
        true = {name: rows[name].to_numpy().reshape(-1, len(days)) for name in model.outputs.fields()}
        columns: dict[str, object] = {"draw": [draw] * len(subjects), "arm": [arm] * len(subjects), "subject": subjects}
        columns["code"] = rows["code"].to_numpy()[:: len(days)]
        failed = columns["code"] > 0  # a comparison with NaN is an answer; a failed patient has none
        course = model.outputs(**true)
        for name in plans:
            known = np.asarray(model.endpoints[name].reads(course), dtype=float)
            columns[f"{name}_true"] = np.where(failed, np.nan, known)
        if draw != MEAN:
            seen = days[None, :] <= lost_after(study, subjects, int(str(draw)))[:, None]
            measured = _measured(
                study, model, true, parameters.row(by_predicate=pl.col("draw") == draw, named=True), subjects
            )
            for name, plan in plans.items():
                kept = {n: np.where(seen, v, np.nan) for n, v in measured.items()}
                if plan.missing == "locf":
                    kept = {n: carried_forward(v) for n, v in kept.items()}
                found = read(model.endpoints[name], model.outputs(**kept))
                columns[name] = np.where(failed, np.nan, found)
            columns["completed"] = seen[:, -1]
        sets.append(pl.DataFrame(columns))
    return pl.concat(sets, how="diagonal").with_columns(pl.col("draw").cast(pl.Int32), pl.col("code").cast(pl.Int8))


def _measured(study: Study, model: Model, true: dict, values: dict, subjects: Sequence[str]) -> dict[str, np.ndarray]:
    """The true course with residual error; each subject has the same luck in whatever arm."""
    luck = streams(study.seed, f"measurement {values['draw']}", subjects)
    measured = {}
    for name, meta in model.outputs.fields().items():
        course = true[name]
        z = luck.normal(name, course.shape[1])
        measured[name] = meta["error"].measured(course, z, lambda part: np.full(len(subjects), values[part]))
    return measured
