"""One arm without borrowing, with robust and with full borrowing, as the assumed discrepancy grows."""

from typing import Any

import numpy as np

from cohort.report.figures.style import OBSERVED, PREDICTED, QUIET, grid, svg


def row_label(row: dict[str, Any]) -> str:
    factor = row["discrepancy_factor"]
    if factor is None:
        return row["label"]
    return f"{row['label']}, discrepancy {'0' if factor == 0 else 'assumed' if factor == 1 else 'doubled'}"


def borrowing(rows: list[dict[str, Any]], unit: str) -> str:
    figure, (axis,) = grid(1, 1, 0.34 * len(rows) + 0.7)
    at = np.arange(len(rows))[::-1]
    for y, row in zip(at, rows, strict=True):
        colour = {"no borrowing": OBSERVED, "robust borrowing": PREDICTED}.get(row["label"], QUIET)
        axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=2)
        axis.plot(row["mean"], y, "o", color=colour)
    axis.set_yticks(at, [row_label(row) for row in rows])
    axis.set_xlabel(f"mean of the arm ({unit})")
    return svg(figure, "An arm's mean with and without borrowing")
