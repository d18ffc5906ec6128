"""Of what a body is made and where its blood flows: mean shares, and how exactly they sum."""

import numpy as np
import polars as pl

from cohort.display.style import grid, svg

COLOURS = ("#1f5fa8", "#d95f02", "#3f8f5f", "#8a6bb0", "#c49a1a", "#7a8794", "#a34e63", "#5aa0c8")
LABELLED = 0.045  # share from which a part is named inside its bar


def error(people: pl.DataFrame, prefix: str, whole: str) -> float:
    """The largest |sum of the parts - whole| / whole of anyone."""
    parts = people.select(pl.col(f"^{prefix}_.*$")).to_numpy().sum(axis=1)  # Polars would add in any order
    total = people[whole].to_numpy()
    return float(np.max(np.abs(parts - total) / total))


def closure(people: pl.DataFrame) -> str:
    """people: with weight, mass_<organ>, cardiac_output, flow_<organ>."""
    figure, axes = grid(2, 1, 1.5)
    for axis, (prefix, whole, title) in zip(
        axes,
        (("mass", "weight", "share of body weight"), ("flow", "cardiac_output", "share of cardiac output")),
        strict=True,
    ):
        names = [c for c in people.columns if c.startswith(f"{prefix}_")]
        for y, sex in enumerate(("female", "male")):
            own = people.filter(pl.col("sex") == sex)
            if not own.height:
                continue
            shares = {n: float((own[n] / own[whole]).mean() or 0.0) for n in names}  # type: ignore[arg-type]
            left = 0.0
            for k, (name, share) in enumerate(sorted(shares.items(), key=lambda item: -item[1])):
                axis.barh(y, share, left=left, color=COLOURS[k % len(COLOURS)], height=0.72)
                if share > LABELLED:
                    label = name.removeprefix(f"{prefix}_").replace("_", "\n")
                    axis.text(left + share / 2, y, label, ha="center", va="center", fontsize=6.8, color="white")
                left += share
        axis.set_yticks([0, 1], ["women", "men"])
        axis.set_xlim(0, 1)
        axis.set_title(f"{title}; parts and whole differ by at most {error(people, prefix, whole):.0e}", fontsize=9)
    return svg(figure, "Shares of organs in body weight and in cardiac output")
