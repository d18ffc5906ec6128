"""The endpoint as it would read at each visit, arm by arm."""

import numpy as np
import polars as pl

from cohort.model import Model
from cohort.report.figures.style import OBSERVED, PREDICTED, arm_label, grid, svg
from cohort.study import Study
from cohort.trial import MEAN


def course(study: Study, model: Model, visits: pl.DataFrame, endpoint: str, arm: str) -> np.ndarray:
    """Mean of the true endpoint at each visit after the first, under each draw: (draws, visits - 1)."""
    at = len(study.visits)
    rows = visits.filter((pl.col("arm") == arm) & (pl.col("draw") != MEAN))
    draws = rows["draw"].to_numpy()[::at]
    seen = {name: rows[name].to_numpy().reshape(-1, at) for name in model.outputs.fields()}
    read = model.endpoints[endpoint].reads
    values = np.stack(
        [np.asarray(read(model.outputs(**{n: v[:, : k + 1] for n, v in seen.items()}))) for k in range(1, at)], axis=1
    )
    return np.stack([np.nanmean(values[draws == d], axis=0) for d in np.unique(draws)])


def time_course(
    study: Study, model: Model, visits: pl.DataFrame, endpoint: str, observed: dict[str, tuple[float, float]]
) -> str:
    """observed: per arm, mean and standard error at the last visit."""
    weeks = [visit.to("wk") for visit in study.visits[1:]]
    figure, axes = grid(len(study.arms), 2, 1.75, sharex=True, sharey=True)
    for axis, name in zip(axes, study.arms, strict=True):
        draws = course(study, model, visits, endpoint, name)
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        axis.fill_between([0, *weeks], [0, *low], [0, *high], color=PREDICTED, alpha=0.25, lw=0)
        axis.plot([0, *weeks], [0, *draws.mean(axis=0)], color=PREDICTED, lw=1.6)
        if name in observed:
            mean, se = observed[name]
            axis.errorbar(weeks[-1], mean, 1.96 * se, fmt="D", color=OBSERVED, ms=4, lw=1.3, clip_on=False, zorder=5)
        axis.axhline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_title(arm_label(name))
    for axis in axes[-2:]:
        axis.set_xlabel("week")
    unit = model.endpoints[endpoint].unit
    figure.supylabel(f"mean change from baseline ({unit})", fontsize=9.5, color="#333")
    return svg(figure, "Time course of the mean change in every arm, with the observed last visit")
