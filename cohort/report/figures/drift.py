"""Type I error and power of the designs as the true control departs from the virtual one."""

from typing import Any

from cohort.display.style import DESIGNS, OBSERVED, QUIET, grid, svg
from cohort.report.tables.characteristics import curve, effects


def drift(comparison: dict[str, Any]) -> str:
    """comparison: of the summary. One panel for each true effect; at the null, the first criterion is judged."""
    words = effects(comparison)
    allowed = comparison["calibrated"][0]["allowed"] if comparison["calibrated"] else 0.025
    designs = list(dict.fromkeys(row["design"] for row in comparison["drift"]))
    figure, axes = grid(len(words), min(len(words), 3), 2.7)
    for axis, (effect, word) in zip(axes, words.items(), strict=True):
        null = word == "null"
        for design in designs:
            x, y = curve(comparison, design, effect, "first" if null else "rate")
            colour, dashes = DESIGNS.get(design, (QUIET, "-"))
            axis.plot(x, y, color=colour, ls=dashes, lw=1.8, label=design)
        if null:
            axis.axhline(allowed, color=OBSERVED, lw=0.8)
            axis.annotate(
                f"{allowed:g}", (1, allowed), xycoords=("axes fraction", "data"), fontsize=9, va="bottom", ha="right"
            )
        axis.axvline(0, color="#ccc", lw=0.8, zorder=0)
        axis.set_ylim(-0.02, 1.02)
        what = "type I error" if null else "success"
        axis.set_title(f"{what}, effect {effect:.1f}".replace("-", "−"), fontsize=9)
        axis.set_xlabel(f"{word}; drift ({comparison['unit']})", fontsize=9)
    axes[0].legend(loc="upper right", fontsize=9)
    return svg(figure, "Type I error and power against drift, by design")
