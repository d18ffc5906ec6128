"""Verbs about the record of a study: seal it, and ask a sealed folder whether it holds."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cohort.cli.app import StudyFile, app, bar, console, opened, refusals, say, warn

if TYPE_CHECKING:
    from cohort.results import Results


@app.command()
def seal(
    study: StudyFile,
    partial: Annotated[bool, typer.Option("--partial", help="though steps after simulate were not run")] = False,
) -> None:
    """Seal a study's results: gather what they rest on, and write the manifest of it all."""
    with refusals():
        from cohort.provenance.seal import seal as run

        results = opened(study)
        with bar(f"sealing {results.study.name}") as progress:
            sealed = run(results, partial=partial, progress=progress)
        if sealed.warning:
            warn(sealed.warning)
        without = f", without {', '.join(sealed.undone)}" if sealed.undone else ""
        folder = os.path.relpath(results.folder)
        say(results, f"sealed, {len(sealed.manifest.files)} files{without}; verify with: cohort verify {folder}")


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="a sealed folder, such as results/laplace, from anywhere")],
    patients: Annotated[int, typer.Option(min=0, help="how many are drawn and made again")] = 20,
    subject: Annotated[list[str] | None, typer.Option(help="one to make again; may be repeated")] = None,
    trust: Annotated[Path | None, typer.Option(help="a file of the public keys that you trust")] = None,
    run_model: Annotated[bool, typer.Option("--run-model", help="execute the model text in the folder")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="everyone, what MCMC sampled, the report; takes as the run")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="of the draw of patients; fresh if not given")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="a file for the answer, outside the folder")] = None,
) -> None:
    """Ask whether a sealed folder holds: 0 identical, 3 within tolerance, 4 different or tampered, 5 not re-run."""
    with refusals():
        from cohort.provenance.verify import VerifyError, verify
        from cohort.record import canonical, plain
        from cohort.store import write_text

        if json is not None and json.resolve().is_relative_to(folder.resolve()):
            raise VerifyError(f"--json {json}: lies in the folder, which is not written to; name a file elsewhere")
        verdict = verify(
            folder,
            patients=patients,
            subjects=subject or (),
            trust=trust,
            run_model=run_model,
            everything=everything,
            seed=seed,
            redraw=_redrawn,
            say=lambda check: console.print(str(check), markup=False, highlight=False, soft_wrap=True),
        )
        if json is not None:
            write_text(json, canonical(plain(verdict.as_json())) + "\n")
        print(verdict.said)
    raise typer.Exit(verdict.exit_code)


def _redrawn(results: "Results") -> dict[str, str]:
    """Report, tables and figures by their paths in the folder, as `cohort report` draws them."""
    from cohort.report import figures, made, report

    found = made(results)
    drawn = figures(results, found)
    return (
        {"report.html": report(results, drawn, found)}
        | {f"tables/{table.file}": table.csv() for table in found.tables.values()}
        | {f"figures/{name}.svg": figure for name, figure in drawn.items()}
    )
