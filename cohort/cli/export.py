"""The verb that writes a virtual trial as CDISC data sets."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cohort.cli.app import StudyFile, app, console, opened, refusals, say


@app.command()
def export(
    study: StudyFile,
    draw: Annotated[int | None, typer.Option(help="which virtual trial, by its draw; the first if not given")] = None,
    formats: Annotated[str, typer.Option("--format", help="of xpt, json and define, with commas")] = "xpt,json,define",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a folder; results/<study>/export if none")
    ] = None,
    reference_date: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="the day enrolment starts, which has no meaning")
    ] = datetime(1960, 1, 1),
) -> None:
    """Write one virtual trial as ADaM data sets: transport files, Dataset-JSON, Define-XML."""
    with refusals("exporting"):
        from cohort.export.package import export as run

        results = opened(study)
        chosen = [name.strip() for name in formats.split(",")]
        made = run(results, draw=draw, formats=chosen, folder=output, start=reference_date.date())
        for name, reasons in made.absent.items():
            say(results, f"no {name}: {'; '.join(reasons)}")
        names = ", ".join(one.name for one in made.datasets)
        where = os.path.relpath(output or results.folder / "export")
        say(results, f"{names} of draw {made.trial.draw} in {where}")
        if output is None and (results.folder / "manifest.json").is_file():
            console.print("the folder was sealed without these data sets; seal it again", style="yellow")
