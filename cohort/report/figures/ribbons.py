"""Size and blood of virtual people by age: percentiles against those of a survey."""

import csv
from importlib import resources

import numpy as np
import polars as pl

from cohort.display.style import OBSERVED, PREDICTED, grid, svg

SHOWN = {
    "height": "height (cm)",
    "weight": "weight (kg)",
    "bmi": "body mass index (kg/m²)",
    "haematocrit": "haematocrit",
    "creatinine": "creatinine (mg/dL)",
}
PERCENTILES = (5, 50, 95)
FEWEST = 20  # people of one sex within a decade of whom percentiles are drawn


def reference() -> list[dict[str, str]]:
    """NHANES 2013-2018 by sex and decade: sex, from, to, variable, p5, p50, p95."""
    file = resources.files("cohort.population").joinpath("tables/us_percentiles.csv")
    return list(csv.DictReader(line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")))


def ribbons(people: pl.DataFrame, source: str) -> str:
    """people: with age, sex and what is shown. The survey is drawn beside people of source `us`."""
    shown = [c for c in SHOWN if c in people.columns]
    figure, axes = grid(2 * len(shown), 2, 1.75, sharex=True)
    rows = reference() if source == "us" else []
    for k, axis in enumerate(axes):
        name, sex = shown[k // 2], ("male", "female")[k % 2]
        own = people.filter(pl.col("sex") == sex)
        age, value = own["age"].to_numpy(), own[name].to_numpy()
        centres = np.arange(np.floor(age.min(initial=100)), np.ceil(age.max(initial=0)) + 1)
        windows = [(c, value[np.abs(age - c) <= 5]) for c in centres]
        drawn = [(c, np.percentile(v, PERCENTILES)) for c, v in windows if len(v) >= FEWEST]
        if drawn:
            x, lines = np.array([c for c, _ in drawn]), np.array([p for _, p in drawn])
            axis.fill_between(x, lines[:, 0], lines[:, 2], color=PREDICTED, alpha=0.18, lw=0)
            axis.plot(x, lines[:, 1], color=PREDICTED, lw=1.6)
        for row in rows:
            if row["variable"] == name and row["sex"] == sex:
                at = (float(row["from"]) + float(row["to"]) + 1) / 2
                axis.plot([at] * 3, [float(row[f"p{p}"]) for p in PERCENTILES], "D", color=OBSERVED, ms=3)
        axis.set_title(f"{SHOWN[name]}, {'men' if sex == 'male' else 'women'}", fontsize=9)
    for axis in axes[-2:]:
        axis.set_xlabel("age (y)")
    return svg(figure, "Percentiles of virtual people by age, and those of the survey")
