"""The endpoint as it would read if each visit were the last, arm by arm."""

import warnings

import numpy as np
import polars as pl

from cohort.display.style import OBSERVED, PREDICTED, arm_label, grid, svg
from cohort.model import Model
from cohort.study import Study
from cohort.trial import MEAN


def course(study: Study, model: Model, visits: pl.DataFrame, endpoint: str, arm: str) -> np.ndarray:
    """Mean of the true endpoint up to each visit, under each draw: (draws, visits), NaN where it needs more visits."""
    at = len(study.visits)
    rows = visits.filter((pl.col("arm") == arm) & (pl.col("draw") != MEAN))
    draws = rows["draw"].to_numpy()[::at]
    seen = {name: rows[name].to_numpy().reshape(-1, at) for name in model.outputs.fields()}
    read = model.endpoints[endpoint].reads
    values = np.stack(
        [
            np.asarray(read(model.outputs(**{n: v[:, np.minimum(np.arange(at), k)] for n, v in seen.items()})))
            for k in range(at)  # later visits as that one: an endpoint may read a visit by its place
        ],
        axis=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a visit at which nobody has a value
        return np.stack([np.nanmean(values[draws == d], axis=0) for d in np.unique(draws)])


def _scale(study: Study) -> str:
    """The unit of time in which the study's length is read best."""
    last = study.visits[-1]
    return next((unit for unit, least in (("wk", 4), ("d", 2), ("h", 2), ("s", 0)) if last.to(unit) >= least), "s")


def time_course(
    study: Study, model: Model, visits: pl.DataFrame, endpoint: str, observed: dict[str, tuple[float, float]]
) -> str:
    """observed: per arm, mean and standard error at the last visit."""
    unit = _scale(study)
    times = [visit.to(unit) for visit in study.visits]
    figure, axes = grid(len(study.arms), 2, 1.75, sharex=True, sharey=True)
    for axis, name in zip(axes, study.arms, strict=True):
        draws = course(study, model, visits, endpoint, name)
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        axis.fill_between(times, low, high, color=PREDICTED, alpha=0.25, lw=0)
        axis.plot(times, draws.mean(axis=0), color=PREDICTED, lw=1.6)
        if name in observed:
            mean, se = observed[name]
            axis.errorbar(times[-1], mean, 1.96 * se, fmt="D", color=OBSERVED, ms=4, lw=1.3, clip_on=False, zorder=5)
        axis.axhline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_title(arm_label(name))
    for axis in axes[-2:]:
        axis.set_xlabel({"wk": "week", "d": "day", "h": "hour", "s": "second"}[unit])
    label = f"mean of {endpoint.replace('_', ' ')} ({model.endpoints[endpoint].unit})"
    figure.supylabel(label, fontsize=9.5, color="#333")
    return svg(figure, "Time course of the endpoint's mean in every arm, with the observed last visit")
