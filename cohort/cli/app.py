"""The command itself, and what its verbs share: refusals, progress bars, options."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from cohort.results import Results


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
