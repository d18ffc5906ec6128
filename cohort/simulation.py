"""Patients × arms × draws to visits: in chunks, each written once, spread over a cluster when there is one.

A lane is one person in one arm under one parameter draw. Draw 0 is the posterior mean, under which everyone goes
through every arm with the same random effects; under each other draw the people of that draw's trial do, each in the
arm allocated.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort import store
from cohort.enrolment import check_people
from cohort.library import load
from cohort.model import Model
from cohort.posterior import parameter_draws
from cohort.record import VERSIONED, code, digest
from cohort.study import Study
from cohort.trial import MEAN, allocate
from cohort.trial.course import course, numerics

if TYPE_CHECKING:
    import xarray as xr

CHUNK = 8192  # lanes per task; results do not depend on it


class SimulationError(RuntimeError):
    """More patients failed than the limit; the message counts them by arm and reason."""


def lanes(study: Study, people: pl.DataFrame, draws: list[int]) -> dict[str, pl.DataFrame]:
    """Per arm, (draw, subject) of every lane, in order."""
    subjects = people["subject"].to_list()
    trials = {draw: allocate(study, subjects, draw, people) for draw in draws if draw != MEAN}
    per_arm = {}
    for arm in study.arms:
        pairs = [(MEAN, s) for s in subjects] + [(draw, s) for draw, trial in trials.items() for s in trial[arm]]
        per_arm[arm] = pl.DataFrame(pairs, schema={"draw": pl.Int32, "subject": pl.String}, orient="row")
    return per_arm


def solve_lanes(study: Study, model: Model, arm: str, table: pl.DataFrame, parameters: pl.DataFrame) -> pl.DataFrame:
    """Solve the lanes of one arm. table: draw, subject and the covariates; parameters: values by draw.

    Returns a row per lane and visit: draw, arm, subject, time (in the model's unit), code, and each output.
    """
    times = np.array([visit.to(model.time) for visit in study.visits])
    outputs, status = course(study, model, arm, table, parameters, times)
    subjects = table["subject"].to_list()
    n = len(subjects)
    visits = len(times)
    return pl.DataFrame(
        {
            "draw": pl.Series(np.repeat(table["draw"].to_numpy(), visits), dtype=pl.Int32),
            "arm": pl.Series([arm] * n * visits, dtype=pl.String),
            "subject": pl.Series(np.repeat(np.array(subjects, dtype=object), visits), dtype=pl.String),
            "time": np.tile(times, n),
            "code": pl.Series(np.repeat(status.code, visits), dtype=pl.Int8),
            **{name: values.reshape(-1) for name, values in outputs.items()},
        }
    )


def _task(path: Path, study: Study, model: Model, arm: str, table: pl.DataFrame, parameters: pl.DataFrame) -> str:
    """What a worker does with a chunk; the result stays on disk."""
    store.commit(path, solve_lanes(study, model, arm, table, parameters))
    return str(path)


def simulate(
    study: Study,
    people: pl.DataFrame,
    posterior: "xr.DataTree | pl.DataFrame | None" = None,
    *,
    client: Any = None,
    state: Path | None = None,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> pl.DataFrame:
    """Every patient in every arm. people: as `sample_population` enrols; posterior: a calibration's DataTree, or its
    draws as a table, `draw` and a column per value of `Model.typical()`. Without one, the model's own values are taken
    as known, and everyone is simulated once.

    With `state`, chunks are kept there and found again; with `client`, they are Dask tasks. Returns a row per draw,
    arm, subject and visit. Errors: PopulationError for people who are not such, before anything is solved;
    SimulationError when more patients failed than the study allows.
    """
    check_people(study, people)
    model = load(study.model, study.path.parent)
    if posterior is None:
        parameters = pl.DataFrame({"draw": [MEAN], **{k: [v] for k, v in model.typical().items()}})
    else:
        parameters = posterior if isinstance(posterior, pl.DataFrame) else parameter_draws(study, model, posterior)
    covariates = people.select("subject", *model.covariates.fields())
    jobs: list[tuple[str, pl.DataFrame, pl.DataFrame]] = []
    for arm, table in lanes(study, people, parameters["draw"].to_list()).items():
        for part in table.iter_slices(chunk):
            joined = part.join(covariates, on="subject", how="left", maintain_order="left")
            jobs.append((arm, joined, parameters.filter(pl.col("draw").is_in(part["draw"].unique().to_list()))))
    if state is None:
        tables = []
        for done, job in enumerate(jobs, 1):
            tables.append(solve_lanes(study, model, *job))
            progress(done, len(jobs))
        return _whole(study, tables)
    identity = _identity(study, model)
    paths = [state / f"{digest(identity + _content(*job))[:32]}.parquet" for job in jobs]
    todo = [(p, job) for p, job in zip(paths, jobs, strict=True) if not store.committed(p)]
    progress(len(jobs) - len(todo), len(jobs))
    for done, _ in enumerate(_finished(client, study, model, todo), len(jobs) - len(todo) + 1):
        progress(done, len(jobs))
    return _whole(study, [pl.read_parquet(p) for p in paths])


def _whole(study: Study, tables: list[pl.DataFrame]) -> pl.DataFrame:
    visits = pl.concat(tables)
    check_failures(study, visits)
    return visits


def _finished(client: Any, study: Study, model: Model, todo: list) -> Iterator[str]:
    """Run the chunks that are not there yet, yielding each as it is done; few wait in the scheduler at a time."""
    if client is None:
        for path, job in todo:
            yield _task(path, study, model, *job)
        return
    from distributed import as_completed

    waiting = iter(todo)

    def submit(item: tuple) -> Any:
        path, job = item
        return client.submit(_task, path, study, model, *job, key=path.stem, pure=False, retries=2)

    in_flight = as_completed([submit(item) for _, item in zip(range(32), waiting, strict=False)])
    for future in in_flight:
        yield future.result()
        if (item := next(waiting, None)) is not None:
            in_flight.add(submit(item))


def _identity(study: Study, model: Model) -> str:
    """What determines a chunk beside its lanes: model, protocol, seed, numerics and the libraries that do them."""
    versions = {k: v for k, v in code()["versions"].items() if k in VERSIONED[:3]}
    arms = {name: arm.treatment for name, arm in study.arms.items()}
    return digest(
        {
            "model": digest(model.text),
            "seed": study.seed,
            "visits": [str(v) for v in study.visits],
            "arms": arms,
            "numerics": vars(numerics(study)),
            "versions": versions,
        }
    )


def _content(arm: str, table: pl.DataFrame, parameters: pl.DataFrame) -> str:
    return digest([arm, table.write_csv(), parameters.write_csv()])  # polars writes floats so that they read back


def check_failures(study: Study, visits: pl.DataFrame) -> None:
    """Stop when more lanes failed than the study allows. Errors: SimulationError with the count by arm and reason."""
    from cohort.engine import CODES

    per_lane = visits.group_by("draw", "arm", "subject", maintain_order=True).agg(pl.col("code").first())
    failed = per_lane.filter(pl.col("code") > 0)
    if failed.height > study.analysis.max_failed_fraction * per_lane.height:
        counts = failed.group_by("arm", "code", maintain_order=True).len().iter_rows()
        listed = "; ".join(f"{arm}: {n} {CODES[c]}" for arm, c, n in counts)
        raise SimulationError(f"{study.path}: {failed.height} of {per_lane.height} simulated patients failed: {listed}")
