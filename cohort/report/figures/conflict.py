"""How the weight of the virtual control falls as the real one departs from it."""

from typing import Any

import numpy as np

from cohort.display.style import DASHES, OBSERVED, PREDICTED, QUIET, grid, svg


def conflict(comparison: dict[str, Any]) -> str:
    """comparison: of the summary, with `conflict` and the observed control."""
    found = comparison["conflict"]
    off = np.array(found["off"])
    figure, (axis,) = grid(1, 1, 3.0)
    planned = comparison["planned"]
    labels = [planned, *(label for label in found["weight"] if label != planned)]
    for dashes, label in zip(DASHES * 3, labels, strict=False):
        mine = label == planned
        colour, name = (PREDICTED, f"{label}, planned") if mine else ("#555", label)
        axis.plot(off, found["weight"][label], color=colour, lw=2.2 if mine else 1.1, ls=dashes, label=name)
    axis.axhline(found["before"], color=QUIET, lw=0.8)
    axis.text(off[0], found["before"], " before the data", va="bottom", fontsize=9, color="#555")
    seen = comparison["observed"]["control"] - found["centre"]
    at = float(np.clip(seen, off[0], off[-1]))
    axis.axvline(at, color=OBSERVED, lw=1.2)
    weight = float(np.interp(at, off, found["weight"][planned]))
    axis.plot(at, weight, "D", color=OBSERVED, ms=6)
    beyond = " (beyond)" if at != seen else ""
    axis.annotate(f"observed{beyond}: {weight:.2f}", (at, 0.02), xytext=(5, 0), textcoords="offset points", fontsize=9)
    axis.set_ylim(0, 1.02)
    axis.set_xlim(off[0], off[-1])
    axis.set_xlabel(f"observed less virtual control ({comparison['unit']})")
    axis.set_ylabel("weight after the data")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, title="discrepancy", fontsize=9, title_fontsize=9)
    return svg(figure, "Weight of the virtual control against the conflict with the real one")
