"""At which mean of the control the decision would turn."""

from typing import Any

from cohort.display.style import DESIGNS, OBSERVED, QUIET, grid, svg


def tipping(found: dict[str, Any], unit: str) -> str:
    """found: at, spare and turns by design, observed."""
    figure, (axis,) = grid(1, 1, 2.8)
    axis.axhline(0, color="#888", lw=0.8)
    for name, spare in found["spare"].items():
        colour, dashes = DESIGNS.get(name, (QUIET, "-"))
        where = ", ".join(f"{turn:.1f}" for turn in found["turns"][name]).replace("-", "−")
        axis.plot(found["at"], spare, color=colour, ls=dashes, lw=1.8, label=f"{name}: {where or 'not here'}")
        axis.plot(found["turns"][name], [0] * len(found["turns"][name]), "o", color=colour, ms=5, zorder=4)
    axis.axvline(found["observed"], color=OBSERVED, lw=1)
    axis.text(found["observed"], 0.03, " observed", transform=axis.get_xaxis_transform(), fontsize=9)
    axis.set_xlabel(f"mean of the control ({unit})")
    axis.set_ylabel("probability to spare")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, title="turns at", fontsize=9, title_fontsize=9)
    return svg(figure, "Control means at which the decision turns, with and without borrowing")
