"""The verb that gathers the evidence for and against a study's model."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cohort.cli.app import StudyFile, app, console, opened, refusals, say

FAILED = 4  # as `cohort verify` says of what differs


@app.command()
def dossier(
    study: StudyFile,
    tests: Annotated[Path | None, typer.Option(help="what pytest --junitxml wrote")] = None,
    commit: Annotated[str | None, typer.Option(help="at which the tests ran, where their file does not say it")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="also as PDF, by a Chromium that is installed")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a folder; the study's results if none")] = None,
    patients: Annotated[int, typer.Option(min=1, help="how many the step is refined on")] = 64,
) -> None:
    """Write the credibility dossier: one HTML file that needs no network. Exit code 4 where a check of it failed."""
    with refusals("verifying, and gathering the evidence"):
        from cohort.dossier import dossier as run
        from cohort.dossier import read_tests, verify
        from cohort.record import file_digest
        from cohort.store import write_text

        ran = read_tests(tests, commit) if tests else None
        results = opened(study)
        own = output is None
        folder = results.folder if output is None else output
        checks = verify(results, patients)
        page = folder / "dossier.html"
        write_text(page, run(results, ran, checks))
        if own:
            results.audit.append("dossier", dossier=file_digest(page), failed=len(checks.failed))
        say(results, f"dossier in {os.path.relpath(page)}")
        if own and (folder / "manifest.json").is_file():
            console.print("the folder was sealed without this dossier; seal it again", style="yellow")
    if pdf:
        _print(page)
    for row in checks.failed:
        found = f"FAILED: {row['what']}: expected {row['expected']}, found {row['found']}"
        console.print(found, style="red", markup=False, soft_wrap=True)
    if checks.failed:
        raise typer.Exit(FAILED)


def _print(page: Path) -> None:
    """The PDF beside the page. That there is no browser is said, and takes nothing from the page."""
    from cohort.dossier.pdf import browser, write_pdf

    if browser() is None:
        console.print("no PDF: no Chromium is installed; the HTML prints from any browser", style="yellow")
        return
    with refusals("printing"):
        write_pdf(page, page.with_suffix(".pdf"))
    print(f"PDF in {os.path.relpath(page.with_suffix('.pdf'))}", flush=True)
