"""Patients × arms × draws to visits: in chunks, each written once, spread over a cluster when there is one.

A lane is one person in one arm under one parameter draw. Draw 0 is the posterior mean, under which everyone goes
through every arm with the same random effects; under each other draw the people of that draw's trial do, each in the
arm allocated.
"""

import functools
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort.engine import CODES
from cohort.enrolment import check_people, own_covariates
from cohort.library import load
from cohort.model import Model
from cohort.posterior import parameter_draws
from cohort.record import digest, source_digest
from cohort.store import Folder, Job, Store, run, table_digest, write_rows
from cohort.study import Study
from cohort.trial import MEAN, allocate
from cohort.trial.course import course, numerics

if TYPE_CHECKING:
    import xarray as xr

# How lanes are cut into tasks; results do not depend on it.
CHUNK = 1 << 15  # lanes of a task at most, a third of a second of a small model
TASKS, LEAST = 16, 32  # at least so many tasks, of so many lanes: a few patients of a heavy model keep all workers busy


class SimulationError(RuntimeError):
    """More patients failed than the limit; the message counts them by arm and reason."""


def lanes(study: Study, people: pl.DataFrame, draws: list[int]) -> dict[str, pl.DataFrame]:
    """Per arm, (draw, row of `people`) of every lane, in order."""
    subjects = people["subject"].to_list()
    everyone = pl.select(draw=pl.repeat(MEAN, len(subjects), dtype=pl.Int32), row=pl.int_range(len(subjects)))
    row = {subject: i for i, subject in enumerate(subjects)}
    parts: dict[str, list[pl.DataFrame]] = {arm: [everyone] if MEAN in draws else [] for arm in study.arms}
    for draw in draws:
        if draw != MEAN:
            for arm, who in allocate(study, subjects, draw, people).items():
                rows = pl.Series("row", [row[s] for s in who], dtype=pl.Int64)
                parts[arm].append(pl.select(draw=pl.repeat(draw, len(who), dtype=pl.Int32), row=rows))
    return {arm: pl.concat(own) for arm, own in parts.items()}


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


@dataclass(frozen=True)
class Simulation:
    """What is to be simulated: people as enrolled, and the values of the model's parameters by draw."""

    study: Study
    people: pl.DataFrame
    parameters: pl.DataFrame

    @classmethod
    def of(cls, study: Study, people: pl.DataFrame, posterior: "xr.DataTree | pl.DataFrame | None") -> "Simulation":
        """Errors: PopulationError for people who are not such."""
        check_people(study, people)
        if isinstance(posterior, pl.DataFrame):
            return cls(study, people, posterior)
        model = load(study.model, study.path.parent)
        if posterior is not None:
            return cls(study, people, parameter_draws(study, model, posterior))
        return cls(study, people, pl.DataFrame({"draw": [MEAN], **{k: [v] for k, v in model.typical().items()}}))

    @functools.cached_property
    def model(self) -> Model:
        return load(self.study.model, self.study.path.parent)

    @functools.cached_property
    def covariates(self) -> pl.DataFrame:
        return self.people.select("subject", *own_covariates(self.study, self.model, self.people.columns))

    @functools.cached_property
    def identity(self) -> str:
        """What determines a chunk beside its lanes: model, protocol, seed, numerics and the code that does them."""
        return digest(
            {
                "model": digest(self.model.text),
                "seed": self.study.seed,
                "visits": [str(v) for v in self.study.visits],
                "arms": {name: arm.treatment for name, arm in self.study.arms.items()},
                "numerics": vars(numerics(self.study)),
                "code": source_digest(),
            }
        )

    def chunks(self, lanes_each: int | None = None) -> list[tuple[str, pl.DataFrame]]:
        """Arm and lanes of every task, arm by arm."""
        whole = lanes(self.study, self.people, self.parameters["draw"].to_list())
        if lanes_each is None:
            lanes_each = min(CHUNK, max(LEAST, sum(table.height for table in whole.values()) // TASKS))
        return [(arm, part) for arm, table in whole.items() for part in table.iter_slices(lanes_each)]

    @functools.cached_property
    def _used(self) -> dict[tuple[int, ...], tuple[pl.DataFrame, str]]:
        return {}

    def used(self, draws: tuple[int, ...]) -> tuple[pl.DataFrame, str]:
        """Parameters of these draws, and their hash: a chunk after the other asks for the same."""
        if draws not in self._used:
            table = self.parameters.filter(pl.col("draw").is_in(draws))
            self._used[draws] = table, table_digest(table)
        return self._used[draws]

    def job(self, arm: str, part: pl.DataFrame) -> Job:
        table = pl.concat([part.select("draw"), self.covariates[part["row"]]], how="horizontal")
        used, used_hash = self.used(tuple(part["draw"].unique(maintain_order=True)))
        key = digest([self.identity, arm, table_digest(table), used_hash])[:32]
        return Job(key, solve_lanes, (self.study, self.model, arm, table, used))

    def solved(self, chunk: int | None = None) -> Iterator[tuple[str, pl.DataFrame]]:
        """Arm and rows of every chunk, solved here and kept nowhere."""
        for arm, part in self.chunks(chunk):
            yield arm, solve_lanes(*self.job(arm, part).args)

    def solve(
        self,
        store: Store,
        *,
        client: Any = None,
        chunk: int | None = None,
        progress: Callable[[int, int], None] = lambda done, of: None,
        said: Callable[[str], None] = lambda text: None,
    ) -> dict[str, list[str]]:
        """Keys of the chunks of each arm: kept in the store and found there again; Dask tasks if there is a client.
        Errors: StoreError."""
        tasks = self.chunks(chunk)
        keys: dict[str, list[str]] = {arm: [] for arm in self.study.arms}
        jobs = run(store, (self.job(arm, part) for arm, part in tasks), client=client, said=said)
        for done, ((arm, _), key) in enumerate(zip(tasks, jobs, strict=True), 1):
            keys[arm].append(key)
            progress(done, len(tasks))
        return keys


def assemble(store: Store, study: Study, keys: list[str], path: Path) -> pl.DataFrame:
    """Write the chunks of one arm as one file, few of them in memory at a time. Returns the number of its lanes by
    arm and code."""
    counted = Counted(study)

    def rows() -> Iterator[pl.DataFrame]:
        for key in keys:
            table = store.read(key)
            counted.add(table)
            yield table

    write_rows(path, rows())
    return counted.table()


def assembled(
    store: Store,
    study: Study,
    keys: Mapping[str, list[str]],
    path: Callable[[str], Path],
    *,
    client: Any = None,
    said: Callable[[str], None] = lambda text: None,
) -> "Counted":
    """Write every arm's file, each by a worker where they share the disk. path: of an arm. Returns who failed; not
    checked yet."""
    jobs = [Job(uuid.uuid4().hex, assemble, (store, study, own, path(arm))) for arm, own in keys.items()]
    counted = Counted(study)
    for key in run(store, jobs, client=client if isinstance(store.place, Folder) else None, said=said):
        counted.merge(store.read(key))
    return counted


def simulate(
    study: Study,
    people: pl.DataFrame,
    posterior: "xr.DataTree | pl.DataFrame | None" = None,
    *,
    client: Any = None,
    state: Path | None = None,
    chunk: int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> pl.DataFrame:
    """Every patient in every arm. people: as `sample_population` enrols; posterior: a calibration's DataTree, or its
    draws as a table, `draw` and a column per value of `Model.typical()`. Without one, the model's own values are taken
    as known, and everyone is simulated once.

    With `state`, a folder, chunks are kept there and found again; with `client`, they are Dask tasks. Returns a row per
    draw, arm, subject and visit. Errors: PopulationError for people who are not such, before anything is solved;
    SimulationError when more patients failed than the study allows; StoreError.
    """
    if client is not None and state is None:
        raise SimulationError("a cluster's workers leave what they solve in a folder; give state=Path(...)")
    simulation, counted = Simulation.of(study, people, posterior), Counted(study)
    if state is None:
        tables, whole = [], len(simulation.chunks(chunk))
        for done, (_, table) in enumerate(simulation.solved(chunk), 1):
            tables.append(table)
            progress(done, whole)
    else:
        store = Store.at(state)
        keys = simulation.solve(store, client=client, chunk=chunk, progress=progress)
        tables = [store.read(key) for own in keys.values() for key in own]
    for table in tables:
        counted.add(table)
    counted.check()
    return pl.concat(tables)


class Counted:
    """Lanes simulated, by arm and how their solve ended, as their rows go by."""

    def __init__(self, study: Study):
        self.study = study
        self.codes: Counter[tuple[str, int]] = Counter()

    def add(self, rows: pl.DataFrame) -> None:
        """rows: whole lanes, a row per visit."""
        self.merge(rows.gather_every(len(self.study.visits)).group_by("arm", "code").len().sort("arm", "code"))

    def merge(self, table: pl.DataFrame) -> None:
        for arm, code, n in table.rows():
            self.codes[arm, code] += n

    def table(self) -> pl.DataFrame:
        rows = [(arm, code, n) for (arm, code), n in sorted(self.codes.items())]
        return pl.DataFrame(rows, schema={"arm": pl.String, "code": pl.Int8, "len": pl.UInt32}, orient="row")

    @property
    def lanes(self) -> int:
        return self.codes.total()

    @property
    def failed(self) -> dict[tuple[str, int], int]:
        return {key: n for key, n in self.codes.items() if key[1] > 0}

    def check(self) -> None:
        """Errors: SimulationError with the count by arm and reason, when more failed than the study allows."""
        failed = sum(self.failed.values())
        if failed > self.study.analysis.max_failed_fraction * self.lanes:
            listed = "; ".join(f"{arm}: {n} {CODES[code]}" for (arm, code), n in self.failed.items())
            raise SimulationError(
                f"{self.study.path}: {failed} of {self.lanes} simulated patients failed: {listed}; mend the model, its "
                "numerics or its plausible ranges, or raise analysis.max_failed_fraction"
            )
