"""The causal graph of a source of people in the terminal: what each step makes, from what, and on whose word."""

from rich.console import Console
from rich.table import Table

from cohort.bounded import printable
from cohort.population.sources import Source

FEW = 4  # columns that are named one by one


def _named(names: tuple[str, ...] | list[str]) -> str:
    """Names in a row; families such as mass_<organ> as one."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.split("_")[0] if "_" in name else name, []).append(name)
    return ", ".join(f"{head}_… ({len(own)})" if len(own) > FEW else ", ".join(own) for head, own in families.items())


def print_chain(source: Source) -> None:
    console = Console(highlight=False, markup=False)  # what a file of people is called is text
    console.print(printable(f"{source.name}: {source.about}"), style="bold")
    console.print(
        f"ages {source.ages[0]:.3g} to {source.ages[1]:.3g} y; {len(source.columns)} columns from "
        f"{len(source.chain.latents)} standard normals, in causal order. ~ marks steps with variation of their own.\n"
    )
    grid = Table("makes", "unit", "from", "source", box=None, pad_edge=False, header_style="bold")
    for step in source.chain.steps:
        made = [name for name in step.makes]
        units = dict.fromkeys("category" if c.levels else c.unit for c in step.makes.values())
        words = dict.fromkeys(c.source for c in step.makes.values())
        told = next(iter(words)) + (f"; and {len(words) - 1} more" if len(words) > 1 else "")
        needs = _named(step.needs) + (" ~" if step.draws else "")
        grid.add_row(*map(printable, (_named(made), ", ".join(units), needs, told)))
    console.print(grid)
    if source.chain.correlations:
        pairs = ", ".join(f"{a} with {b} {r:+.2f}" for (a, b), r in source.chain.correlations.items())
        console.print(f"\nCorrelated normals: {pairs}.")
