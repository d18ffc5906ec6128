"""The command itself, and what its verbs share: refusals, progress bars, options."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from cohort.cluster import Cluster
    from cohort.results import Results
    from cohort.store import Store


app = typer.Typer(
    help="In-silico clinical trials: from a study file to a report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def common(
    untrusted: Annotated[bool, typer.Option("--untrusted", help="run no model from outside the library")] = False,
) -> None:
    """In-silico clinical trials: from a study file to a report."""
    if untrusted:
        from cohort.library import UNTRUSTED

        os.environ[UNTRUSTED] = "1"  # so that it reaches workers and the pipeline's steps


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
    except (ValueError, RuntimeError, OSError) as e:
        from cohort.store.files import FULL

        full = isinstance(e, OSError) and e.errno in FULL  # of a line of the trail, say: no fault of the program's
        if not full and not type(e).__module__.startswith("cohort."):
            raise
        from cohort.bounded import printable

        console.print(printable(str(e)), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def opened(study: Path) -> "Results":
    from cohort.results import open_results

    return open_results(study)


@contextlib.contextmanager
def at_work(results: "Results", step: str) -> Iterator[None]:
    """Hold the study's folder while a step writes to it. What the step left before counts as undone from now on."""
    from cohort.store import lock

    with lock(results.folder / "state", f"cohort {step}"):
        results.begin(step)
        yield


@contextlib.contextmanager
def spread(root: Path, cluster: str, workers: int | None) -> "Iterator[tuple[Any, Cluster]]":
    """A Dask client of the cluster of this name, and what its file says; `workers` are of this machine."""
    from cohort import cluster as clusters

    where = clusters.named(cluster, root, workers)
    with clusters.client(where) as client:
        yield client, where


def store_of(results: "Results", where: "Cluster", step: str) -> "Store":
    """Where a step's chunks lie: beside its results, or in the cluster's own store."""
    from cohort.store import Store

    if where.store:
        return Store.at(f"{where.store}/{results.study.name}/{step}", where.endpoint, where.stalled)
    return Store.at(results.folder / "state" / step, patience=where.stalled)


def warn(text: str) -> None:
    from cohort.bounded import printable

    console.print(printable(text), style="yellow", markup=False, soft_wrap=True)


def say(results: "Results", text: str) -> None:
    print(f"{results.study.name}: {text}", flush=True)


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, of)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)
