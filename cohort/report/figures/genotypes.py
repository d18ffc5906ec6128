"""Phenotypes of the genes: how many people have which."""

import polars as pl

from cohort.report.figures.style import grid, svg

SHADES = ("#1f5fa8", "#6d9bd1", "#b9c4d0", "#e9a66b", "#d95f02", "#8c3b00")


def genotypes(people: pl.DataFrame) -> str:
    """people: with <gene>_phenotype."""
    genes = [c.removesuffix("_phenotype") for c in people.columns if c.endswith("_phenotype")]
    figure, (axis,) = grid(1, 1, 0.36 * len(genes) + 0.6)
    for y, gene in enumerate(reversed(genes)):
        shares = people[f"{gene}_phenotype"].value_counts(normalize=True).sort(f"{gene}_phenotype")
        left = 0.0
        for k, (phenotype, share) in enumerate(shares.iter_rows()):
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
