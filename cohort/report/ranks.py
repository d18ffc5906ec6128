"""What simulation-based calibration prints: per parameter, whether its ranks are as even as a right model's."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from cohort.display.table import number


def print_ranks(rows: Sequence[dict[str, Any]]) -> None:
    """rows: as `cohort.inference.sbc.uniformity` returns."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 110
    table = Table(title="Ranks of the true parameters", title_justify="left", box=None, pad_edge=False)
    for heading in ("model", "parameter"):
        table.add_column(heading)
    for heading in ("replicates", "diverged in", "mean rank", "ECDF"):
        table.add_column(heading, justify="right")
    before = None
    for row in rows:
        table.add_row(
            row["model"] if row["model"] != before else "",
            row["parameter"],
            str(row["replicates"]),
            str(row["diverged"]),
            f"{number(row['mean'], 3)} ± {number(row['se'], 3)}",
            "inside" if row["inside"] else f"outside by {number(row['beyond'], 3)}",
        )
        before = row["model"]
    console.print(table)
    outside = sum(not row["inside"] for row in rows)
    console.print(
        f"{outside} of {len(rows)} parameters leave their simultaneous 95 % band; of right models about "
        f"{number(0.05 * len(rows), 1)} do. Mean rank: 0.5 of a right model, ± standard error.",
        style="dim",
    )
