"""Verbs on sealed results: sign one, and say what differs between two."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cohort.cli.app import app, console, refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from cohort.provenance.contents import Table as Compared
    from cohort.provenance.differences import Differences

Sealed = Annotated[Path, typer.Argument(help="a sealed result folder, such as results/laplace")]


@app.command()
def sign(
    results: Annotated[Path | None, typer.Argument(help="a sealed result folder, such as results/laplace")] = None,
    key: Annotated[Path | None, typer.Option(help="your private Ed25519 key, a PEM file")] = None,
    name: Annotated[str, typer.Option(help="your full name, as it is to be printed")] = "",
    meaning: Annotated[str, typer.Option(help="what the signature means: approved as ..., reviewed as ...")] = "",
    new_key: Annotated[Path | None, typer.Option(help="make a key in this file, print its public line")] = None,
    passphrase_env: Annotated[str, typer.Option(help="environment variable that holds the key's passphrase")] = "",
) -> None:
    """Sign a sealed result with Ed25519: name, time of this computer's clock, meaning."""
    with refusals():
        from cohort.provenance import signature

        passphrase = _passphrase(passphrase_env)
        if new_key is not None:
            if results is not None or key is not None:
                raise signature.SignatureError("--new-key makes a key and signs nothing; leave RESULTS and --key out")
            signature.usable("name", name)  # before a key is made that no line could name
            print(signature.trusted_line(signature.new_key(new_key, passphrase), name))
            how = "its passphrase is the only lock" if passphrase else "it is not encrypted: --passphrase-env locks it"
            console.print(f"{new_key}: private key; {how}. The line above is for a file of trusted keys.", markup=False)
            return
        if results is None or key is None:
            raise signature.SignatureError(
                "name a sealed folder and --key; `cohort sign --new-key FILE --name ...` makes a key"
            )
        if key.is_file() and key.stat().st_mode & 0o077:
            console.print(f"{key} can be read by others than you; run: chmod 600 {key}", style="yellow", markup=False)
        made = signature.sign(results, signature.read_key(key, passphrase), name, meaning)
        if (results / "ro-crate-metadata.json").is_file():
            from cohort.provenance import crate
            from cohort.provenance.manifest import read_manifest

            crate.write(results, read_manifest(results))
        print(made.line)


def _passphrase(variable: str) -> bytes | None:
    from cohort.provenance.signature import SignatureError

    if not variable:
        return None
    if not os.environ.get(variable):
        raise SignatureError(f"--passphrase-env: the environment has no {variable}; set it to the passphrase")
    return os.environ[variable].encode()


@app.command()
def diff(a: Sealed, b: Sealed) -> None:
    """Say what differs between two sealed results, and which inputs explain it. Exit code: 0 the same outputs,
    3 others that recorded inputs explain, 4 others that none explains."""
    with refusals("comparing"):
        from cohort.provenance.differences import differences

        found = differences(a, b)
    _print(found, a, b)
    raise typer.Exit(found.exit_code)


def _print(found: "Differences", a: Path, b: Path) -> None:
    from rich.console import Console

    out = Console(highlight=False, markup=False)
    if not out.is_terminal:
        out.width = 120  # a log file has no width of its own

    def line(text: str, style: str = "") -> None:
        out.print(text, style=style, soft_wrap=True)

    line(f"A: {a}\nB: {b}\n")
    line("Inputs that differ" if found.inputs else "No recorded input differs.", "bold")
    for change in found.inputs:
        line(f"  {change.input}: {change.about}")
        for detail in change.details:
            line(f"      {detail}", "dim")
    line(
        "\nOutputs that differ, in the order in which they are made" if found.steps else "\nThe outputs are the same.",
        "bold",
    )
    for step in found.steps:
        line(f"  {step.name}")
        for file in step.files:
            line(f"      {file}")
        for name, table in step.tables:
            _print_table(out, name, table)
        if step.inputs:
            line(f"      rests on: {', '.join(step.inputs)}", "dim")
        if step.upstream:
            line(f"      reads what differs already: {', '.join(step.upstream)}", "dim")
        if not step.explained:
            line("      UNEXPLAINED: no recorded input that differs reaches this step", "bold red")
    if found.arms:
        _print_arms(out, found)
    for note in found.notes:
        line(f"\n{note}", "dim")
    if found.steps:
        line(f"\nThe runs part at: {found.steps[0].name}")
    if found.unexplained:
        names = ", ".join(found.unexplained)
        line(f"UNEXPLAINED: {names}. What was sealed as the same inputs gave other outputs.", "bold red")


def _print_table(out: "Console", name: str, table: "Compared") -> None:
    if table.note:
        out.print(f"      {name}: {table.note}", soft_wrap=True)
    if not table.columns:
        return
    shown = Table(title=f"{name}, {table.rows:,} rows", title_justify="left", box=None, pad_edge=False)
    shown.add_column("column")
    for heading in ("largest difference", "rows that differ"):
        shown.add_column(heading, justify="right")
    for column, most, rows in table.columns[:20]:
        shown.add_row(column, "" if most is None else f"{most:.3g}", f"{rows:,}")
    out.print(shown)
    if len(table.columns) > 20:
        out.print(f"      and {len(table.columns) - 20} more columns")


def _print_arms(out: "Console", found: "Differences") -> None:
    shown = Table(title="\nPredicted mean, 95 % predictive interval", title_justify="left", box=None, pad_edge=False)
    for heading in ("endpoint", "arm"):
        shown.add_column(heading)
    for heading in ("A", "B"):
        shown.add_column(heading, justify="right")

    def cell(values: "Mapping[str, float | None]") -> str:
        mean, low, high = (values.get(k) for k in ("predicted", "low_0.95", "high_0.95"))
        if mean is None or low is None or high is None:
            return "absent"
        return f"{mean:.4g} ({low:.4g} to {high:.4g})"

    for arm in found.arms:
        shown.add_row(arm.endpoint, arm.arm, cell(arm.a), cell(arm.b))
    out.print(shown)
