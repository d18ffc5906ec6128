"""Baseline of the virtual people before and after matching, against the published table: a love plot."""

from typing import Any

from cohort.display.style import OBSERVED, PREDICTED, QUIET, grid, svg

SMALL = 0.1  # a standardised difference commonly taken as balanced


def love(rows: list[dict[str, Any]]) -> str:
    """rows: of a baseline table: target, difference_before, difference_after."""
    figure, (axis,) = grid(1, 1, 0.3 * len(rows) + 0.8)
    for y, row in enumerate(reversed(rows)):
        before, after = row["difference_before"], row["difference_after"]
        axis.plot([before, after], [y, y], color=QUIET, lw=1, zorder=1)
        axis.plot(before, y, "o", color=OBSERVED, mfc="white", ms=6)
        axis.plot(after, y, "o", color=PREDICTED, ms=6)
    axis.axvline(0, color="#888", lw=0.8)
    for side in (-SMALL, SMALL):
        axis.axvline(side, color="#bbb", lw=0.8, ls=":")
    axis.set_yticks(range(len(rows)), [row["target"].replace("**2", "²") for row in reversed(rows)])
    axis.set_xlabel("standardised difference from the published figure")
    axis.plot([], [], "o", color=OBSERVED, mfc="white", label="before")
    axis.plot([], [], "o", color=PREDICTED, label="after")
    axis.legend(loc="upper right", ncols=2, bbox_to_anchor=(1, 1.12))
    return svg(figure, "Standardised differences before and after matching")
