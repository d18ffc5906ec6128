"""Verbs that make virtual people."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cohort.cli.app import (
    ClusterName,
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
    import pyarrow as pa

    from cohort.population.sources import Source
    from cohort.study import Criterion


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
    cluster: ClusterName = "local",
    workers: Workers = None,
) -> None:
    """Make virtual people: those of a study, screened against its criteria, or any number of a source."""
    told = (source, size, output, seed, condition, criterion, match, people, compound, abundances)
    if study is not None and all(option is None for option in told):
        _enrol(study, cluster, workers)
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


def _enrol(study: Path, cluster: str, workers: int | None) -> None:
    with refusals():
        from cohort.enrolment import Tally, columns_of, enrol, matched
        from cohort.population.table import schema, write
        from cohort.record import canonical, plain
        from cohort.store import write as whole
        from cohort.store import write_text

        results = opened(study)
        plan, shape, tally = results.study.population, schema(columns_of(results.study)), Tally()
        told = None
        with at_work(results, "population"), spread(results.study.root, cluster, workers) as (client, where):
            with bar(f"making people of {results.study.name}") as progress:
                store = store_of(results, where, "population")
                blocks = enrol(
                    results.study, tally, store=store, client=client, tidy=True, progress=progress, said=warn
                )
                if plan.match is not None:  # the pool is weighted as a whole
                    people, told = matched(results.study, blocks)
                    blocks = iter([people])
                rows = (block.select(shape.names).to_arrow().cast(shape) for block in blocks)
                whole(results.population_file, lambda temporary: write(temporary, rows, shape))
            counts = {"screened": tally.screened, "enrolled": plan.size, "excluded": tally.excluded}
            write_text(results.attrition_file, canonical(counts))
            if told:
                write_text(results.matching_file, canonical(plain(told)))
            results.audit.append("population", study=results.study.name, **counts)
            results.stamp("population")
        say(results, f"{plan.size} people enrolled of {tally.screened} screened")


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
