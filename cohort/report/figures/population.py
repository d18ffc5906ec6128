"""Who was enrolled: each covariate, with the limits of eligibility."""

import numpy as np
import polars as pl

from cohort.display.style import OBSERVED, PREDICTED, grid, svg
from cohort.study import Study


def population(study: Study, people: pl.DataFrame, units: dict[str, str]) -> str:
    """units: of each continuous column to show."""
    shown = [c for c in people.columns if c in units]
    figure, axes = grid(len(shown), 3, 1.7)
    for axis, name in zip(axes, shown, strict=True):
        axis.hist(people[name].to_numpy(), bins=40, color=PREDICTED, alpha=0.75)
        for criterion in study.population.eligibility:
            if criterion.column == name:
                for limit in criterion.interval(units[name]):
                    if np.isfinite(limit):
                        axis.axvline(limit, color=OBSERVED, lw=1.5)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_title(f"{name} ({units[name].replace('**2', '²')})", fontsize=9)
    return svg(figure, "Histograms of the enrolled virtual people, eligibility limits marked")
