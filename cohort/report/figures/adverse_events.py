"""Adverse events on drug against placebo: difference and ratio of the risks, seen and predicted."""

from typing import Any

import numpy as np

from cohort.display.style import OBSERVED, PREDICTED, grid, svg


def adverse_events(rows: list[dict[str, Any]]) -> str:
    """rows: event, source (seen or predicted), difference and ratio with their intervals; a ratio may be None."""
    figure, axes = grid(2, 2, 0.42 * len(rows) + 1.0, sharey=True)
    at = np.arange(len(rows))[::-1]
    for axis, key, scale in zip(axes, ("difference", "ratio"), (100.0, 1.0), strict=True):
        for y, row in zip(at, rows, strict=True):
            if row[key] is None:
                continue
            seen = row["source"] == "seen"
            colour, marker = (OBSERVED, "D") if seen else (PREDICTED, "o")
            axis.plot([scale * row[f"{key}_low"], scale * row[f"{key}_high"]], [y, y], color=colour, lw=2)
            axis.plot(scale * row[key], y, marker, color=colour, ms=5.5)
    axes[0].axvline(0, color="#888", lw=0.8, zorder=0)
    axes[1].axvline(1, color="#888", lw=0.8, zorder=0)
    axes[1].set_xscale("log")
    low, high = (bound for bound in axes[1].get_xlim())
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= t <= high]
    axes[1].set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes[1].minorticks_off()
    axes[0].set_yticks(at, [f"{row['event'].replace('_', ' ')}, {row['source']}" for row in rows], fontsize=9)
    axes[0].set_ylim(-0.6, len(rows) - 0.4)
    axes[0].set_xlabel("risk difference (points)")
    axes[1].set_xlabel("risk ratio")
    return svg(figure, "Risk difference and ratio of adverse events, drug against placebo")
