"""One verb per step of a study, in their order."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cohort.cli.app import (
    ClusterName,
    StudyFile,
    Workers,
    app,
    at_work,
    bar,
    console,
    opened,
    refusals,
    say,
    spread,
    store_of,
    warn,
)

if TYPE_CHECKING:
    from cohort.results import Results


@app.command()
def check(target: Annotated[Path, typer.Argument(help="a study file (.yaml) or a model file (.py)")]) -> None:
    """Read a study, or check the units of a model; say everything that is wrong."""
    with refusals():
        if target.suffix == ".py":
            from cohort.engine import Numerics, described
            from cohort.library import load, path_of
            from cohort.trace import check_units

            path = path_of(str(target))
            model = load(str(target))
            how = described(model, Numerics())  # first: units are checked of what the engine can run
            wrong = check_units(model, str(path))
            if wrong:
                console.print("\n".join(wrong), style="red", markup=False, soft_wrap=True)
                raise typer.Exit(2)
            print(f"{path}: units agree; solver: {how}")
        else:
            from cohort.engine import described
            from cohort.library import load
            from cohort.simulation import numerics
            from cohort.study import fingerprint, read_study

            study = read_study(target)
            patients = sum(arm.n for arm in study.arms.values())
            how = described(load(study.model, study.path.parent), numerics(study))
            print(f"{target}: {len(study.arms)} arms, {patients} patients planned, {fingerprint(study)[:12]}")
            print(f"solver: {how}")


@app.command()
def calibrate(study: StudyFile, cluster: ClusterName = "local", workers: Workers = None) -> None:
    """Fit the model's parameters to the calibration evidence."""
    with refusals("calibrating by NUTS, about a minute"):
        from cohort.calibration import calibrate as run
        from cohort.record import file_digest
        from cohort.store import write

        results = opened(study)
        people = results.enrolled
        with at_work(results, "calibrate"), spread(results.study.root, cluster, workers) as (client, where):
            _open_calibration(results)
            chains = store_of(results, where, "calibrate")
            posterior = run(results.study, people, store=chains, client=client, said=warn)
            write(results.posterior_file, posterior.to_netcdf)
            results.audit.append("calibrated", posterior=file_digest(results.posterior_file))
            results.stamp("calibrate")
        sizes = posterior["posterior"].sizes
        say(results, f"calibrated, {sizes['chain']} chains of {sizes['draw']} draws")


def _open_calibration(results: "Results") -> None:
    from cohort.record import file_digest

    for name, use in results.study.evidence.items():
        if use.use == "calibration":
            sha = file_digest(results.study.root / use.file)
            results.audit.append("outcomes opened", evidence=name, use=use.use, file=str(use.file), sha256=sha)


@app.command()
def sensitivity(study: StudyFile) -> None:
    """Fit again under other assumptions, a minute each, and say how far every parameter moves."""
    with refusals():
        from cohort.calibration import CalibrationError
        from cohort.calibration.sensitivity import sensitivity as run
        from cohort.record import canonical, file_digest
        from cohort.store import write_text

        results = opened(study)
        people, base = results.population, results.posterior
        if results.study.calibration is None or base is None:
            raise CalibrationError(f"{study}: there is no calibration section; nothing to vary")
        with at_work(results, "sensitivity"):
            _open_calibration(results)
            with bar(f"varying the assumptions of {results.study.name}") as progress:
                found = run(results.study, people, base, progress=progress)
            write_text(results.sensitivity_file, canonical(found))
            results.audit.append("sensitivity", sensitivity=file_digest(results.sensitivity_file))
            results.stamp("sensitivity")
        for variant in found["variants"]:
            moved = max(variant["parameters"], key=lambda row: abs(row["shift"]), default=None)
            most = f"{moved['parameter']} moves most, by {moved['shift']:+.2f} SD" if moved else variant["refused"]
            print(f"{variant['label']}: {most}")
        say(results, f"sensitivity in {os.path.relpath(results.sensitivity_file)}")


@app.command()
def simulate(
    study: StudyFile,
    cluster: ClusterName = "local",
    workers: Workers = None,
    chunk: Annotated[int | None, typer.Option(min=1, help="patients a task; results do not depend on it")] = None,
) -> None:
    """Run every patient through every arm, at the posterior mean and under each parameter draw."""
    with refusals():
        from cohort.library import load
        from cohort.posterior import parameter_draws
        from cohort.provenance.manifest import machine
        from cohort.record import code
        from cohort.simulation import Simulation, assembled
        from cohort.store import write_table

        results = opened(study)
        model = load(results.study.model, results.study.path.parent)
        parameters = parameter_draws(results.study, model, results.posterior)
        what = Simulation.of(results.study, results.enrolled, parameters)
        with at_work(results, "simulate"), spread(results.study.root, cluster, workers) as (client, where):
            store = store_of(results, where, "simulate")
            with bar(f"simulating {results.study.name}") as progress:
                keys = what.solve(store, client=client, chunk=chunk, progress=progress, said=warn)
            counted = assembled(store, results.study, keys, results.arm_file, client=client, said=warn)
            counted.check()
            write_table(results.parameters_file, parameters)
            store.keep(key for own in keys.values() for key in own)
            failed = sum(counted.failed.values())
            about = {"code": code(), "hardware": machine()}
            results.audit.append("simulated", patients=counted.lanes, failed=failed, **about)
            results.stamp("simulate")
        say(results, f"{counted.lanes} patients simulated, {failed} failed")


@app.command()
def trial(study: StudyFile, cluster: ClusterName = "local", workers: Workers = None) -> None:
    """Turn the simulated courses into virtual trials: enrolment, allocation, visits, measurement, who leaves."""
    with refusals():
        import polars as pl

        from cohort.library import load
        from cohort.store import write_table
        from cohort.trial import analysed, analysis_set, declares, tables, write_tables

        results = opened(study)
        model, parameters = load(results.study.model, results.study.path.parent), results.parameters
        with at_work(results, "trial"):
            if declares(results.study):
                people = results.population
                with (
                    spread(results.study.root, cluster, workers) as (client, _),
                    bar(f"virtual trials of {results.study.name}") as progress,
                ):
                    made = tables(results.study, people, parameters, client=client, progress=progress)
                write_tables(results.trial_folder, made)
                table = analysed(results.study, model, people, made)
            else:
                with console.status("running virtual trials"):  # arm by arm: there may be a million people in each
                    arms = (results.visits_of(arm) for arm in results.study.arms)
                    table = pl.concat(
                        [analysis_set(results.study, model, rows, parameters) for rows in arms], how="diagonal"
                    )
            write_table(results.trial_file, table)
            results.audit.append("trials", draws=results.study.analysis.draws)
            results.stamp("trial")
        say(results, f"{results.study.analysis.draws} virtual trials")


@app.command()
def register(study: StudyFile) -> None:
    """Write the predictions of a study to config/registered/, to be committed before its outcomes are read."""
    with refusals("predicting"):
        import json

        from cohort.comparison import predict, registered_path
        from cohort.comparison import register as record
        from cohort.store import write_text

        results = opened(study)
        predictions, posterior = predict(results.study, results.trial, results.parameters), results.posterior
        attrs = {} if posterior is None else {str(k): v for k, v in posterior.attrs.items()}
        path = registered_path(results.study)
        with at_work(results, "register"):
            made = record(results.study, predictions, attrs, results.audit)
            write_text(path, json.dumps(made, indent=1, sort_keys=True) + "\n")
            results.audit.append("registered", file=path.name, predictions=predictions.hash())
        say(results, f"registered in {os.path.relpath(path)}; commit it before the outcomes are opened")


@app.command()
def compare(study: StudyFile, cluster: ClusterName = "local", workers: Workers = None) -> None:
    """Freeze the predictions, open the outcomes, and set them side by side."""
    with refusals("comparing"):
        from cohort.comparison import compare as run
        from cohort.record import file_digest
        from cohort.store import write

        results = opened(study)
        analysis, visits, learnt = results.trial, results.visits, results.learnt
        with at_work(results, "compare"), spread(results.study.root, cluster, workers) as (client, where):
            tree = run(
                results.study,
                visits,
                results.posterior,
                analysis=analysis,
                learnt=learnt,
                audit=results.audit,
                store=store_of(results, where, "compare"),
                client=client,
            )
            write(results.comparison_file, tree.to_netcdf)
            results.audit.append("compared", comparison=file_digest(results.comparison_file))
            results.stamp("compare")
        say(results, "compared")


@app.command()
def chapters(study: StudyFile, cluster: ClusterName = "local", workers: Workers = None) -> None:
    """Write the study's chapters: each predicts, freezes, then opens what it is compared with."""
    with refusals():
        from cohort.chapters import Data, analysis, write
        from cohort.record import file_digest

        results = opened(study)
        for name in results.study.chapters:
            analysis(name)
        with at_work(results, "chapters"), spread(results.study.root, cluster, workers) as (client, where):
            store, files = store_of(results, where, "chapters"), {}
            used: list[str] = []
            with bar(f"chapters of {results.study.name}") as progress:
                for done, name in enumerate(results.study.chapters):
                    progress(done, len(results.study.chapters))
                    data = Data(results, name, store, client)
                    files[name] = file_digest(write(results, name, data))
                    used += data.used
            store.keep(used)
            results.audit.append("chapters", files=files)
            results.stamp("chapters")
        say(results, f"{len(files)} chapters: {', '.join(files)}" if files else "no chapters are named")


@app.command()
def report(study: StudyFile) -> None:
    """Write the report: one HTML file that needs no network."""
    with refusals("drawing the report"):
        from cohort.record import file_digest
        from cohort.report import figures, made
        from cohort.report import report as run
        from cohort.report import write as write_tables
        from cohort.store import write_text

        results = opened(study)
        found = made(results)
        with at_work(results, "report"):
            write_tables(results, found.tables)
            drawn = figures(results, found)
            for name, figure in drawn.items():
                write_text(results.folder / "figures" / f"{name}.svg", figure)
            write_text(results.report_file, run(results, drawn, found))
            results.audit.append("report", report=file_digest(results.report_file))
        say(results, f"report in {os.path.relpath(results.report_file)}")
