"""Where the observed results lie in their predictions: the ECDF of the places, with its simultaneous band."""

from collections.abc import Sequence

import numpy as np

from cohort.agreement.predictive import Check, uniform
from cohort.display.style import OBSERVED, PREDICTED, QUIET, grid, svg


def pit(checks: Sequence[Check]) -> str:
    """A single result has a place and no ECDF."""
    figure, (axis,) = grid(1, 1, 2.9)
    axis.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls=(0, (3, 2)))
    if len(checks) > 1:
        found = uniform(checks)
        axis.fill_between(found["x"], found["low"], found["high"], color=PREDICTED, alpha=0.15, lw=0)
        ordered = np.sort([c.place for c in checks])
        steps = np.arange(1, len(ordered) + 1) / len(ordered)
        axis.step([0, *ordered, 1], [0, *steps, 1], where="post", color=OBSERVED, lw=1.6)
        inside = "inside" if found["inside"] else "outside"
        words = (
            f"{found['n']} arms: {inside} the 95 % band, which\nlets departures up to {found['unseen']:.2f} pass unseen"
        )
    else:
        words = f"{len(checks)} arm: a place, and no distribution of places"
    places = np.array([c.place for c in checks])
    axis.plot(places, np.full(len(places), -0.05), "|", color=OBSERVED, ms=9, mew=1.6, clip_on=False)
    axis.text(0.02, 0.98, words, transform=axis.transAxes, va="top", fontsize=9, color="#333")
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.08, 1.02)
    axis.set_xlabel("place: share of the prediction below the observed mean")
    axis.set_ylabel("share of arms")
    return svg(figure, "Empirical distribution of the places of observed means in their predictions")
