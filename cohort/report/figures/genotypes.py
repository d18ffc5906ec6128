"""Phenotypes of the genes: how many people have which."""

from collections.abc import Mapping

import polars as pl

from cohort.display.style import grid, svg
from cohort.population.causal import Column

SHADES = ("#d95f02", "#e9a66b", "#b9c4d0", "#6d9bd1", "#1f5fa8")  # least active first


def genotypes(people: pl.DataFrame, columns: Mapping[str, Column]) -> str:
    """people: with <gene>_phenotype, whose levels `columns` has, least active first."""
    genes = [c.removesuffix("_phenotype") for c in columns if c.endswith("_phenotype") and c in people.columns]
    figure, (axis,) = grid(1, 1, 0.36 * len(genes) + 0.6)
    for y, gene in enumerate(reversed(genes)):
        drawn, left = people[f"{gene}_phenotype"], 0.0
        for k, phenotype in enumerate(columns[f"{gene}_phenotype"].levels):
            share = int((drawn == phenotype).sum()) / max(len(drawn), 1)
            axis.barh(y, share, left=left, color=SHADES[k % len(SHADES)], height=0.74)
            if share > 0.07:
                words = f"{phenotype}\n{100 * share:.0f} %" if share > 0.16 else f"{100 * share:.0f} %"
                dark = k % len(SHADES) in (0, 4, 5)
                axis.text(
                    left + share / 2,
                    y,
                    words,
                    ha="center",
                    va="center",
                    fontsize=6.3,
                    color="white" if dark else "#222",
                )
            left += share
    axis.set_yticks(range(len(genes)), list(reversed(genes)))
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of people")
    return svg(figure, "Phenotypes of eight genes")
