"""Verbs that run whole studies, show what came out, or calibrate the models of endpoints."""

from pathlib import Path
from typing import Annotated

import typer

from cohort.cli.app import ClusterName, Workers, app, bar, console, refusals, spread


@app.command()
def sbc(
    names: Annotated[list[str] | None, typer.Argument(help="models of endpoints, such as binary; all if none")] = None,
    replicates: Annotated[int, typer.Option(min=20, help="data sets drawn and fitted; 1000 for a release")] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a .csv file for the ranks' summary")] = None,
    cluster: ClusterName = "local",
    workers: Workers = None,
) -> None:
    """Simulation-based calibration: do the posteriors of endpoints hold the truth as often as they say?"""
    with refusals():
        import polars as pl

        from cohort.analysis.cases import CASES, case
        from cohort.inference.sbc import calibrated, uniformity
        from cohort.report.ranks import print_ranks
        from cohort.store import Store

        cases = [case(name) for name in names or CASES]
        rows = []
        kept = Store.at("results/.calibrated")
        with spread(Path(), cluster, workers) as (client, _):
            for each in cases:
                with bar(f"calibrating {each.name}") as progress:
                    how = {"replicates": replicates, "seed": seed, "store": kept, "client": client}
                    found = calibrated(each, **how, progress=progress)
                rows += uniformity(found)
        print_ranks(rows)
        if output:
            pl.DataFrame(rows).write_csv(output)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="names of studies in config/studies/; all if none")] = None,
    cores: Annotated[int | None, typer.Option(help="cores of this machine to use; all if not given")] = None,
    cluster: ClusterName = "local",
) -> None:
    """Run studies end to end through Snakemake, then print what was predicted and observed."""
    known = sorted(p.stem for p in Path("config/studies").glob("*.yaml"))
    unknown = [n for n in names or [] if n not in known]
    if unknown or not known:
        where = "no study file in config/studies/; run this in the project's folder"
        message = f"no study {', '.join(unknown)}; there are: {', '.join(known)}" if known else where
        console.print(message, style="red", markup=False)
        raise typer.Exit(2)
    with refusals():
        from cohort.study import read_study

        for name in names or known:
            read_study(Path("config/studies") / f"{name}.yaml")
    with refusals(), bar("running") as progress:
        from cohort.bounded import printable
        from cohort.pipeline import run as pipeline

        def told(line: str) -> None:
            console.print(printable(line), markup=False)

        pipeline(names or known, cores=cores, cluster=cluster, say=told, progress=progress)
    show(names or known)


@app.command()
def show(
    names: Annotated[list[str] | None, typer.Argument(help="names of studies, all if none; or: population")] = None,
    source: Annotated[str, typer.Option(help="of population: whose causal graph")] = "us",
) -> None:
    """Print what was predicted and observed, arm by arm; of `population`, from what each column of a person is made."""
    with refusals():
        if names == ["population"]:
            from cohort.population.sources import source as named
            from cohort.report.chain import print_chain

            print_chain(named(source))
            return
        from cohort.report.terminal import print_summary
        from cohort.results import open_results

        known = sorted(p.stem for p in Path("config/studies").glob("*.yaml"))
        print_summary([open_results(name) for name in names or known])
