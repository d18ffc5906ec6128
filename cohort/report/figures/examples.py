"""Single simulated trials, traced from the truth to the decision."""

from typing import Any

import numpy as np

from cohort.display.style import OBSERVED, PREDICTED, QUIET, grid, svg


def examples(rows: list[dict[str, Any]], centre: float, unit: str) -> str:
    """rows: drift, effect, what was observed, the control's posterior and the decision; centre: the virtual control."""
    figure, (axis,) = grid(1, 1, 0.62 * len(rows) + 1.0)
    at = np.arange(len(rows))[::-1].astype(float)
    axis.axvline(centre, color=QUIET, lw=0.9, ls=(0, (3, 2)))
    for y, row in zip(at, rows, strict=True):
        control = centre + row["drift"]
        axis.plot([control] * 2, [y - 0.3, y + 0.3], color="#333", lw=1.6)
        axis.plot([control + row["effect"]] * 2, [y - 0.3, y + 0.3], color="#333", lw=1.6)
        axis.plot(row["control_observed"], y + 0.13, "D", color=OBSERVED, ms=5)
        axis.plot(row["treatment_observed"], y + 0.13, "D", color=OBSERVED, mfc="white", ms=5)
        axis.plot([row["control_low"], row["control_high"]], [y - 0.13] * 2, color=PREDICTED, lw=2)
        axis.plot(row["control_posterior"], y - 0.13, "o", color=PREDICTED, ms=5)
    labels = [
        f"drift {r['drift']:.0f}, effect {r['effect']:.0f}\nweight {r['weight']:.2f}: {r['decision']}".replace("-", "−")
        for r in rows
    ]
    axis.set_yticks(at, labels, fontsize=9)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(f"mean ({unit})")
    axis.plot([], [], "|", color="#333", mew=1.6, ms=10, label="truth")
    axis.plot([], [], "D", ls="none", color=OBSERVED, label="control seen")
    axis.plot([], [], "D", ls="none", color=OBSERVED, mfc="white", label="treatment seen")
    axis.plot([], [], "o-", color=PREDICTED, label="control believed")
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=9, columnspacing=1, handletextpad=0.4)
    return svg(figure, "Four simulated trials, from the truth to the decision")
