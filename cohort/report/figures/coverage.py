"""How many observed results lie inside the predictive intervals, level by level."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cohort.display.style import OBSERVED, QUIET, grid, svg


def coverage(rows: Sequence[dict[str, Any]]) -> str:
    """rows: level, inside, of, trials, and the interval of the share by arm (low, high) and by trial."""
    figure, (axis,) = grid(1, 1, 2.7)
    axis.plot([0, 1], [0, 1], color=QUIET, lw=0.8, ls=(0, (3, 2)))
    level = np.array([row["level"] for row in rows])
    share = np.array([row["inside"] / row["of"] for row in rows])
    for row in rows:
        axis.plot([row["level"] + 0.012] * 2, [row["low_by_trial"], row["high_by_trial"]], color=QUIET, lw=1)
        axis.plot([row["level"]] * 2, [row["low"], row["high"]], color=OBSERVED, lw=2.4)
        axis.annotate(
            f"{row['inside']} of {row['of']}",
            (row["level"], row["inside"] / row["of"]),
            xytext=(-7, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )
    axis.plot(level, share, "D", color=OBSERVED, ms=5.5)
    axis.plot([], [], color=OBSERVED, lw=2.4, label="95 %, arms independent")
    axis.plot([], [], color=QUIET, lw=1, label=f"95 %, as many results as trials ({rows[0]['trials'] if rows else 0})")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    axis.set_xlim(0.3, 1.0)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xticks(level, [f"{100 * v:g} %" for v in level])
    axis.set_xlabel("predictive interval")
    axis.set_ylabel("share of arms inside")
    return svg(figure, "Coverage of the predictive intervals, with its own interval")
