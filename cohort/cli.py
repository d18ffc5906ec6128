"""The command `cohort`: one short verb per step. Imports are lazy, for a pipeline starts some twenty of these."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    import pyarrow as pa

    from cohort.population.sources import Source
    from cohort.results import Results
    from cohort.study import Criterion

app = typer.Typer(
    help="In-silico clinical trials: from a study file to a report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, highlight=False)
StudyFile = Annotated[Path, typer.Argument(help="a study file, such as config/studies/laplace.yaml")]
ClusterName = Annotated[str, typer.Option(help="a file of config/cluster/, without .yaml")]
Workers = Annotated[int | None, typer.Option(min=1, help="workers; the cluster file's number if not given")]


@contextlib.contextmanager
def refusals(busy: str = "") -> Iterator[None]:
    """Our own errors say what to do: printed as they are, with exit code 2. Any other is a defect, with its trace.
    `busy`: what a spinner says meanwhile, for steps without a bar of their own."""
    try:
        with console.status(busy) if busy else contextlib.nullcontext():
            yield
    except (ValueError, RuntimeError) as e:
        if not type(e).__module__.startswith("cohort."):
            raise
        console.print(str(e), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def opened(study: Path) -> "Results":
    from cohort.results import open_results

    return open_results(study)


def say(results: "Results", text: str) -> None:
    print(f"{results.study.name}: {text}", flush=True)


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, of)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@app.command()
def check(target: Annotated[Path, typer.Argument(help="a study file (.yaml) or a model file (.py)")]) -> None:
    """Read a study, or check the units of a model; say everything that is wrong."""
    with refusals():
        if target.suffix == ".py":
            from cohort.engine import Numerics, described
            from cohort.library import from_text, path_of
            from cohort.trace import check_units

            path = path_of(str(target))
            model = from_text(str(path), path.read_text())
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
def population(
    study: Annotated[Path | None, typer.Argument(help="a study file; without one, --source, --size and -o")] = None,
    source: Annotated[str | None, typer.Option(help="us, europe, japan, us_children, …, or resample")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="how many people")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="another seed, other people; 1 if not given")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a .parquet file")] = None,
    condition: Annotated[list[str] | None, typer.Option(help="such as ckd=4; may be repeated")] = None,
    criterion: Annotated[list[str] | None, typer.Option(help="such as '18 y <= age <= 65 y'; may be repeated")] = None,
    match: Annotated[Path | None, typer.Option(help="a published baseline table, CSV")] = None,
    people: Annotated[Path | None, typer.Option(help="the people of resample, CSV or Parquet")] = None,
    compound: Annotated[
        str | None, typer.Option(help="midazolam, caffeine or a YAML file: partition coefficients")
    ] = None,
    abundances: Annotated[str | None, typer.Option(help="a set of enzyme abundances")] = None,
) -> None:
    """Make virtual people: those of a study, screened against its criteria, or any number of a source."""
    told = (source, size, output, seed, condition, criterion, match, people, compound, abundances)
    if study is not None and all(option is None for option in told):
        _enrol(study)
        return
    if study is not None or source is None or size is None or output is None:
        message = "name a study file, which says everything; or --source, --size and -o FILE"
        console.print(f"cohort population: {message}", style="red", markup=False)
        raise typer.Exit(2)
    with refusals():
        from cohort.population.enzymes import DEFAULT
        from cohort.population.sources import source as named

        chosen = named(
            source,
            conditions=tuple(condition or ()),
            compound=compound,
            people=people,
            abundances=abundances or DEFAULT,
        )
        kept: list[Criterion] = []
        if criterion or condition:
            from cohort.study import criteria_of

            kept = criteria_of(criterion or (), chosen.columns, condition or ())
        _write_people(chosen, size, 1 if seed is None else seed, output, kept, match)


def _write_people(
    source: "Source", size: int, seed: int, output: Path, criteria: "list[Criterion]", baseline: Path | None
) -> None:
    """As many people of a source as are asked for, streamed to a file; with criteria or a table, screened first."""
    from cohort.population.table import schema, write
    from cohort.store import write as whole

    told = {"cohort.source": source.name, "cohort.source.about": source.about, "cohort.seed": str(seed)}
    shape = schema(source.columns, told)
    with bar(f"making people of {source.name}") as progress:
        if not criteria and baseline is None and not source.conditional:

            def blocks() -> Iterator["pa.Table"]:
                done = 0
                for block in source.tables(seed, size):
                    yield block
                    done += block.num_rows
                    progress(done, size)

            whole(output, lambda temporary: write(temporary, blocks(), shape))
            turned_away: dict[str, int] = {}
        else:
            from cohort.enrolment import draw_people
            from cohort.population.baseline import read_targets

            targets = read_targets(baseline, source.columns, criteria) if baseline else None
            made = draw_people(source, seed, size, criteria, targets)
            turned_away = made.excluded
            rows = made.people.select("subject", *source.columns).to_arrow().cast(shape)
            whole(output, lambda temporary: write(temporary, [rows], shape))
            for warning in (made.matching or {}).get("warnings", []):
                console.print(f"{baseline}: {warning}", style="yellow", markup=False, soft_wrap=True)
    for why, n in turned_away.items():
        print(f"turned away: {n} by {why}")
    print(f"{size} people of {source.name}, {len(source.columns) + 1} columns, in {output}")


def _enrol(study: Path) -> None:
    with refusals("making virtual people"):
        from cohort.enrolment import columns_of, sample_population
        from cohort.population.table import schema, write
        from cohort.record import canonical, plain
        from cohort.store import write as whole
        from cohort.store import write_text

        results = opened(study)
        screening = sample_population(results.study)
        shape = schema(columns_of(results.study))
        rows = screening.people.select(shape.names).to_arrow().cast(shape)
        whole(results.population_file, lambda temporary: write(temporary, [rows], shape))
        counts = {"screened": screening.screened, "enrolled": screening.people.height, "excluded": screening.excluded}
        write_text(results.attrition_file, canonical(counts))
        if screening.matching:
            write_text(results.matching_file, canonical(plain(screening.matching)))
        results.stamp("population")
        results.audit.append("population", study=results.study.name, **counts)
        say(results, f"{screening.people.height} people enrolled of {screening.screened} screened")


@app.command()
def twin(
    person: Annotated[Path, typer.Argument(help="what is known of a person, YAML: source, given, known")],
    output: Annotated[Path, typer.Option("--output", "-o", help="a .parquet file")],
    draws: Annotated[int, typer.Option(min=1, help="how many")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Draw virtual people who are like one real person in all that is known of them."""
    with refusals("drawing a twin"):
        from cohort.population.person import read_person
        from cohort.population.sources import names
        from cohort.population.table import schema, table, write
        from cohort.population.twin import twin as condition
        from cohort.store import write as whole

        read = read_person(person)
        made = condition(read.source.chain, read.known, draws, seed, read.given, read.source.inverses)
        columns = read.source.columns
        told = {f"cohort.known.{n}": f"{k.value:g} +- {k.sd or 0:g}" for n, k in read.known.items()}
        told |= {f"cohort.given.{n}": str(v) for n, v in read.given.items()}
        told |= {"cohort.source": read.source.name, "cohort.seed": str(seed)}
        rows = table(names(0, draws), made.people, columns).cast(schema(columns, told))
        whole(output, lambda temporary: write(temporary, [rows], schema(columns, told)))
        how = "exact draws" if made.rhat == 1 else f"R-hat {made.rhat:.3f}, effective size {made.effective:.0f}"
        print(f"{draws} draws in {output}; {how}")


@app.command()
def calibrate(study: StudyFile) -> None:
    """Fit the model's parameters to the calibration evidence."""
    with refusals("calibrating by NUTS, about a minute"):
        from cohort.calibration import calibrate as run
        from cohort.record import file_digest
        from cohort.store import write

        results = opened(study)
        people = results.population
        _open_calibration(results)
        posterior = run(results.study, people)
        write(results.posterior_file, posterior.to_netcdf)
        results.stamp("calibrate")
        results.audit.append("calibrated", posterior=file_digest(results.posterior_file))
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
        _open_calibration(results)
        with bar(f"varying the assumptions of {results.study.name}") as progress:
            found = run(results.study, people, base, progress=progress)
        write_text(results.sensitivity_file, canonical(found))
        results.stamp("sensitivity")
        results.audit.append("sensitivity", sensitivity=file_digest(results.sensitivity_file))
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
        from cohort import cluster as clusters
        from cohort.library import load
        from cohort.posterior import parameter_draws
        from cohort.record import code
        from cohort.simulation import CHUNK
        from cohort.simulation import simulate as run
        from cohort.store import write_table

        results = opened(study)
        people, posterior = results.population, results.posterior
        model = load(results.study.model, results.study.path.parent)
        parameters = parameter_draws(results.study, model, posterior)
        where = clusters.read_cluster(results.study.root / "config" / "cluster" / f"{cluster}.yaml")
        where = where.model_copy(update={"workers": workers}) if workers else where
        with clusters.client(where) as client, bar(f"simulating {results.study.name}") as progress:
            visits = run(
                results.study,
                people,
                parameters,
                client=client,
                state=results.folder / "state",
                chunk=chunk or CHUNK,
                progress=progress,
            )
        write_table(results.parameters_file, parameters)
        for (arm,), rows in visits.partition_by("arm", as_dict=True).items():
            write_table(results.arm_file(str(arm)), rows)
        lanes = visits.height // len(results.study.visits)
        failed = int(visits.filter(visits["code"] > 0).height / len(results.study.visits))
        results.stamp("simulate")
        results.audit.append("simulated", patients=lanes, failed=failed, code=code())
        say(results, f"{lanes} patients simulated, {failed} failed")


@app.command()
def trial(study: StudyFile, workers: Workers = None) -> None:
    """Turn the simulated courses into virtual trials: enrolment, allocation, visits, measurement, who leaves."""
    with refusals():
        from cohort.library import load
        from cohort.store import write_table
        from cohort.trial import analysed, analysis_set, declares, tables, write_tables

        results = opened(study)
        model = load(results.study.model, results.study.path.parent)
        if declares(results.study):
            people, parameters = results.population, results.parameters
            with bar(f"virtual trials of {results.study.name}") as progress:
                made = tables(
                    results.study, people, parameters, threads=workers or os.cpu_count() or 1, progress=progress
                )
            write_tables(results.trial_folder, made)
            table = analysed(results.study, model, people, made)
        else:
            with console.status("running virtual trials"):
                table = analysis_set(results.study, model, results.visits, results.parameters)
        write_table(results.trial_file, table)
        results.stamp("trial")
        results.audit.append("trials", draws=results.study.analysis.draws)
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
        made = record(results.study, predictions, attrs, results.audit)
        write_text(path, json.dumps(made, indent=1, sort_keys=True) + "\n")
        results.audit.append("registered", file=path.name, predictions=predictions.hash())
        say(results, f"registered in {os.path.relpath(path)}; commit it before the outcomes are opened")


@app.command()
def compare(study: StudyFile) -> None:
    """Freeze the predictions, open the outcomes, and set them side by side."""
    with refusals("comparing"):
        from cohort.comparison import compare as run
        from cohort.record import file_digest
        from cohort.store import write

        results = opened(study)
        analysis = results.trial
        tree = run(
            results.study,
            results.visits,
            results.posterior,
            analysis=analysis,
            learnt=results.learnt,
            audit=results.audit,
        )
        write(results.comparison_file, tree.to_netcdf)
        results.stamp("compare")
        results.audit.append("compared", comparison=file_digest(results.comparison_file))
        say(results, "compared")


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
        write_tables(results, found.tables)
        drawn = figures(results, found)
        for name, figure in drawn.items():
            write_text(results.folder / "figures" / f"{name}.svg", figure)
        write_text(results.report_file, run(results, drawn, found))
        results.audit.append("report", report=file_digest(results.report_file))
        say(results, f"report in {os.path.relpath(results.report_file)}")


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

        from cohort import cluster as clusters
        from cohort.analysis.cases import CASES, case
        from cohort.inference.sbc import calibrated, uniformity
        from cohort.report.ranks import print_ranks

        cases = [case(name) for name in names or CASES]
        where = clusters.read_cluster(Path("config/cluster") / f"{cluster}.yaml")
        where = where.model_copy(update={"workers": workers}) if workers else where
        rows = []
        with clusters.client(where) as client:
            for each in cases:
                with bar(f"calibrating {each.name}") as progress:
                    found = calibrated(each, replicates=replicates, seed=seed, client=client, progress=progress)
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
        console.print(message, style="red")
        raise typer.Exit(2)
    with refusals():
        from cohort.study import read_study

        for name in names or known:
            read_study(Path("config/studies") / f"{name}.yaml")
    with refusals(), bar("running") as progress:
        from cohort.pipeline import run as pipeline

        pipeline(names or known, cores=cores, cluster=cluster, say=console.print, progress=progress)
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


if __name__ == "__main__":
    app()
