"""Real, virtual, and what is believed of each arm once the model's error has been estimated: a forest plot."""

from typing import Any

import numpy as np

from cohort.display.style import OBSERVED, PREDICTED, arm_label, grid, svg

BELIEVED = "#3d3d3d"


def forest(rows: list[dict[str, Any]], discrepancy: dict[str, Any] | None, unit: str) -> str:
    """rows: means of one endpoint, as the comparison lists them; discrepancy: of its summary, None where not fitted."""
    believed = {row["arm"]: row for row in (discrepancy or {}).get("arms", [])}
    figure, (axis,) = grid(1, 1, 0.5 * len(rows) + 0.9)
    at = np.arange(len(rows))[::-1].astype(float)
    for y, row in zip(at, rows, strict=True):
        half = 1.96 * row["predicted_sd"]
        axis.plot([row["predicted"] - half, row["predicted"] + half], [y + 0.22] * 2, color=PREDICTED, lw=2)
        axis.plot(row["predicted"], y + 0.22, "o", color=PREDICTED, ms=5)
        half = 1.96 * row["se"]
        axis.plot([row["observed"] - half, row["observed"] + half], [y] * 2, color=OBSERVED, lw=2)
        axis.plot(row["observed"], y, "D", color=OBSERVED, ms=5)
        if own := believed.get(row["arm"]):
            axis.plot([own["low"], own["high"]], [y - 0.22] * 2, color=BELIEVED, lw=1.3)
            axis.plot(own["mean"], y - 0.22, "s", color=BELIEVED, mfc="white", ms=4.5)
    axis.axvline(0, color="#bbb", lw=0.8, zorder=0)
    axis.set_yticks(at, [arm_label(row["arm"]) for row in rows])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(f"mean ({unit})")
    axis.plot([], [], "o-", color=PREDICTED, label="virtual")
    axis.plot([], [], "D-", color=OBSERVED, label="real")
    if believed:
        axis.plot([], [], "s-", color=BELIEVED, mfc="white", label="both, with discrepancy")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return svg(figure, "Real and virtual mean of every arm, and both together with the model's discrepancy")
