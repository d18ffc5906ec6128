"""One arm without borrowing, with robust and with full borrowing, by what the model's error is taken from."""

from typing import Any

import numpy as np

from cohort.display.style import DESIGNS, PREDICTED, grid, svg

MARKERS = {"no borrowing": "D", "full borrowing": "s"}


def row_label(row: dict[str, Any]) -> str:
    return f"{row['label']}, {row['discrepancy']}" if row["discrepancy"] else row["label"]


def borrowing(rows: list[dict[str, Any]], unit: str) -> str:
    """rows: label, discrepancy, mean, low, high."""
    figure, (axis,) = grid(1, 1, 0.3 * len(rows) + 0.8)
    at = np.arange(len(rows))[::-1]
    for y, row in zip(at, rows, strict=True):
        colour, dashes = DESIGNS.get(row["label"], (PREDICTED, "-"))
        axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=2, ls=dashes)
        axis.plot(row["mean"], y, MARKERS.get(row["label"], "o"), color=colour, ms=5)
    axis.set_yticks(at, [row_label(row) for row in rows])
    axis.set_xlabel(f"mean of the arm ({unit})")
    return svg(figure, "An arm's mean with and without borrowing, by discrepancy")
