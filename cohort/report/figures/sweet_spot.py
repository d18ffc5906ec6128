"""Over which drift borrowing pays: error of the estimate, power gained, and the type I error that it costs."""

from typing import Any

import numpy as np

from cohort.display.style import OBSERVED, PREDICTED, grid, svg


def sweet_spot(found: dict[str, Any], allowed: float, unit: str) -> str:
    """found: drift, mse_ratio, power_gain and type_1 along it, and the ranges mse, power, allowed, both."""
    x = np.array(found["drift"])
    figure, axes = grid(3, 1, 1.35, sharex=True)
    panels = (
        ("mse_ratio", 1.0, "mse", "mean squared error, borrowing over none"),
        ("power_gain", 0.0, "power", "power gained"),
        ("type_1", allowed, "allowed", "type I error"),
    )
    for axis, (key, line, good, title) in zip(axes, panels, strict=True):
        axis.plot(x, found[key], color=PREDICTED, lw=1.8)
        axis.axhline(line, color=OBSERVED, lw=0.9, ls=(0, (5, 1.5)))
        for low, high in found[good]:
            axis.axvspan(low, high, color=PREDICTED, alpha=0.12, lw=0)
        where = ", ".join(f"{low:.1f} to {high:.1f}" for low, high in found[good]).replace("-", "−")
        axis.set_title(f"{title}; better: {where or 'nowhere'}", fontsize=8.8)
        axis.axvline(0, color="#ccc", lw=0.8, zorder=0)
    for low, high in found["both"]:
        for axis in axes:
            axis.axvspan(low, high, fc="none", ec="#333", lw=0.9, ls=(0, (1, 1.2)))
    axes[-1].set_xlabel(f"drift: true less virtual control ({unit})")
    return svg(figure, "The range of drift over which borrowing pays")
