"""Who is in the study: candidates of a source, the trial's own covariates, its criteria, its published baseline."""

import itertools
import math
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri

from cohort.library import load
from cohort.model import Model
from cohort.population import matching, table
from cohort.population.baseline import Target, read_targets
from cohort.population.causal import Column
from cohort.population.sources import Source, names
from cohort.record import digest, file_digest, source_digest
from cohort.store import Job, Store, run
from cohort.streams import Streams, streams
from cohort.study import Criterion, Share, Spread, Study, setting_text, source_of, unit_of
from cohort.units import Quantity

BLOCK = 4096  # candidates screened at a time
PATIENCE = 64 * BLOCK  # candidates without a full cohort after which screening gives up


class PopulationError(ValueError):
    """A population that cannot be made, or a table that is not one; the message names criterion, row or column."""


@dataclass(frozen=True)
class Screening:
    """Enrolled people, and how many candidates each criterion turned away, in the order of the protocol. With a
    published baseline table: how the pool of eligible people was matched to it."""

    people: pl.DataFrame
    screened: int
    excluded: dict[str, int]
    matching: dict[str, Any] | None = None  # as the report shows it


def _drawn(distribution: Share | Spread, unit: str, z: np.ndarray) -> np.ndarray:
    """A covariate from its standard normal, in `unit`."""
    if isinstance(distribution, Share):
        # The upper tail of z has the trait; a share of 0 or 1 leaves no one out.
        return z > (
            ndtri(1 - distribution.fraction)
            if 0 < distribution.fraction < 1
            else (0.5 - distribution.fraction) * math.inf
        )
    mean, sd = distribution.mean.to(unit), distribution.sd.to(unit)
    if distribution.shape == "normal":
        return mean + sd * z
    sigma = math.sqrt(math.log1p((sd / mean) ** 2))
    return mean * np.exp(sigma * z - sigma**2 / 2)


def _given(study: Study, source: Source, own: Streams) -> dict[str, np.ndarray]:
    """What the study says of columns that the source has: (n,) each, in its unit or by the index of the level."""
    columns, given = source.columns, {}
    for name, distribution in study.population.covariates.items():
        column = "sex" if name == "female" else name
        if column in columns:
            value = _drawn(distribution, columns[column].unit, own.normal(column)[:, 0])
            given[column] = value.astype(np.intp) if columns[column].levels else value
    return given


def candidates(study: Study, source: Source, model: Model, subjects: list[str]) -> pl.DataFrame:
    """The people these ids stand for, before eligibility: columns of the source, and the trial's own covariates."""
    own = streams(study.seed, "population", subjects)
    people = source.people(own, _given(study, source, own))
    frame = pl.DataFrame(table.table(subjects, people, source.columns))
    extra: dict[str, np.ndarray] = {}
    for name, meta in model.covariates.fields().items():
        if name not in frame.columns and name not in study.assigned:
            value = _drawn(study.population.covariates[name], meta["unit"], own.normal(name)[:, 0])
            extra[name] = np.where(value, meta["levels"][1], meta["levels"][0]) if meta["levels"] else value
    return frame.with_columns(**{name: pl.Series(value) for name, value in extra.items()})


def columns_of(study: Study) -> dict[str, Column]:
    """Every column of the study's people beside `subject`, in order; what the trial says of its own has its source."""
    model, given = load(study.model, study.path.parent), study.population.covariates
    columns = {
        name: replace(column, source=given[said].source)
        if (said := "female" if name == "sex" else name) in given
        else column
        for name, column in source_of(study).columns.items()
    }
    return columns | {
        name: Column(meta["unit"], meta["about"], given[name].source, tuple(meta["levels"] or ()))
        for name, meta in model.covariates.fields().items()
        if name not in columns and name not in study.assigned
    }


@dataclass
class Tally:
    """Candidates screened so far, how many were enrolled, and how many each criterion or condition turned away."""

    screened: int = 0
    enrolled: int = 0
    excluded: dict[str, int] = field(default_factory=dict)


def examined(
    subjects: list[str],
    drawn: Callable[[list[str]], pl.DataFrame],
    refused: Callable[[list[str]], np.ndarray],
    criteria: Sequence[Criterion],
    units: Callable[[str], str],
) -> pl.DataFrame:
    """Candidates and why each is turned away, `reason`: empty of the eligible, whose other columns alone are filled.

    drawn: who these ids stand for; refused: why each cannot be (of a condition), empty text who can.
    """
    reason = refused(subjects)
    able = reason == ""
    block = drawn([s for s, a in zip(subjects, able, strict=True) if a])
    keep = able.copy()
    for criterion in criteria:
        passed = np.zeros(len(subjects), dtype=bool)
        passed[able] = criterion.keeps(block[criterion.column].to_numpy(), units(criterion.column))
        reason[keep & ~passed] = str(criterion)
        keep &= passed
    told = pl.DataFrame({"subject": subjects, "reason": pl.Series(reason, dtype=pl.String)})
    return told.join(block.filter(pl.Series(keep[able])), on="subject", how="left", maintain_order="left")


def eligible(
    blocks: Iterator[pl.DataFrame], criteria: Sequence[Criterion], size: int, tally: Tally
) -> Iterator[pl.DataFrame]:
    """The eligible of each block, in order of their ids until there are `size`: screening stops at the candidate who
    fills the cohort. Errors: PopulationError if there are not enough."""
    tally.excluded |= {str(c): 0 for c in criteria}
    for block in blocks:
        enrolled = np.cumsum((block["reason"] == "").to_numpy())
        last = min(int(np.searchsorted(enrolled, size - tally.enrolled)) + 1, block.height)
        seen = block.head(last)
        for why, n in seen.filter(pl.col("reason") != "").group_by("reason", maintain_order=True).len().rows():
            tally.excluded[why] = tally.excluded.get(why, 0) + n
        people = seen.filter(pl.col("reason") == "").drop("reason")
        tally.screened += last
        tally.enrolled += people.height
        yield people
        if tally.enrolled >= size:
            return
        if tally.screened >= max(PATIENCE, 64 * size) or tally.enrolled == 0:
            worst = max(tally.excluded, key=lambda c: tally.excluded[c])
            raise PopulationError(
                f"population.eligibility: {tally.enrolled} of {tally.screened} candidates are eligible, {size} are "
                f"needed; '{worst}' turned {tally.excluded[worst]} away: widen it or change the covariates"
            )


def screened(study: Study, first: int, n: int = BLOCK) -> pl.DataFrame:
    """n candidates of a study, numbered from `first` on, as `examined` returns them."""
    model, source = load(study.model, study.path.parent), source_of(study)

    def refused(subjects: list[str]) -> np.ndarray:
        own = streams(study.seed, "population", subjects)
        return source.refused(own, _given(study, source, own))

    return examined(
        names(first, n),
        lambda subjects: candidates(study, source, model, subjects),
        refused,
        study.population.eligibility,
        lambda column: unit_of(source, model, column),
    )


def _job(study: Study, first: int, n: int) -> Job:
    plan = study.population
    rests = {
        "population": plan.model_dump(mode="json", exclude={"size", "match"}),
        "files": {str(f): file_digest(study.root / f) for f in plan.files},
        "model": digest(load(study.model, study.path.parent).text),
        "seed": study.seed,
        "code": source_digest(),
    }
    return Job(digest([rests, first, n])[:32], screened, (study, first, n))


def enrol(
    study: Study,
    tally: Tally,
    *,
    store: Store | None = None,
    client: Any = None,
    tidy: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
    said: Callable[[str], None] = lambda text: None,
) -> Iterator[pl.DataFrame]:
    """The eligible people of a study, block by block, until the cohort is full; of one that matches a baseline table,
    until the pool is. With `store`, blocks are kept there and found again, and to be `tidy` those of other runs are
    removed at the end; with `client`, they are Dask tasks. Errors: PopulationError if it cannot be filled."""
    plan = study.population
    size = plan.size * (plan.match.pool if plan.match else 1)

    kept: list[str] = []
    n = BLOCK if size < 64 * BLOCK else 8 * BLOCK

    def blocks() -> Iterator[pl.DataFrame]:
        first = 0
        while True:
            # As many more as it takes if the next are as eligible as those before: a few rounds fill the cohort.
            share = tally.enrolled / tally.screened if tally.enrolled else 1.0
            more = range(first, first + n * math.ceil((size - tally.enrolled) / share / n), n)
            first = more.stop
            if store is None:
                yield from (screened(study, at, n) for at in more)
            else:
                for key in run(store, (_job(study, at, n) for at in more), client=client, said=said):
                    kept.append(key)
                    yield store.read(key)

    try:
        for people in eligible(blocks(), plan.eligibility, size, tally):
            progress(min(tally.enrolled, size), size)
            yield people
        if store is not None and tidy:
            store.keep(kept)
    except PopulationError as e:
        raise PopulationError(f"{study.path}: {e}") from None


def sample_population(
    study: Study,
    *,
    store: Store | None = None,
    client: Any = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    said: Callable[[str], None] = lambda text: None,
) -> Screening:
    """Screen candidates until the cohort is full; with a baseline table, until a pool is, from which the cohort is
    drawn by weight. Errors: PopulationError if it cannot be filled, MatchingError if the table cannot be met."""
    tally, plan = Tally(), study.population
    blocks = enrol(study, tally, store=store, client=client, progress=progress, said=said)
    people, told = (pl.concat(blocks), None) if plan.match is None else matched(study, blocks)
    return Screening(people, tally.screened, tally.excluded, told)


def matched(study: Study, pool: Iterator[pl.DataFrame]) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The cohort drawn by weight from a pool, so that it has the study's baseline table; and how near it came. Errors:
    MatchingError if the table cannot be met."""
    plan = study.population
    assert plan.match is not None
    targets = read_targets(study.root / plan.match.table, source_of(study).columns, plan.eligibility)
    return match(pl.concat(pool), targets, plan.size, study.seed, soft=plan.match.soft)


def draw_people(
    source: Source,
    seed: int,
    size: int,
    criteria: Sequence[Criterion],
    targets: list[Target] | None = None,
    *,
    pool: int = 20,
    soft: bool = False,
) -> Screening:
    """People of a source without a study: who meets the criteria, with the baseline table where there is one."""

    def drawn(subjects: list[str]) -> pl.DataFrame:
        people = source.people(streams(seed, "population", subjects))
        return pl.DataFrame(table.table(subjects, people, source.columns))

    def blocks() -> Iterator[pl.DataFrame]:
        for first in itertools.count(step=BLOCK):
            yield examined(
                names(first, BLOCK),
                drawn,
                lambda subjects: source.refused(streams(seed, "population", subjects)),
                criteria,
                lambda column: source.columns[column].unit,
            )

    tally = Tally()
    people = pl.concat(eligible(blocks(), criteria, size * (pool if targets else 1), tally))
    if not targets:
        return Screening(people, tally.screened, tally.excluded)
    matched, told = match(people, targets, size, seed, soft=soft)
    return Screening(matched, tally.screened, tally.excluded, told)


def match(
    pool: pl.DataFrame, targets: list[Target], size: int, seed: int, *, soft: bool = False
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """`size` people of a pool with this baseline table, drawn by weight; and what was reached, row by row. Errors:
    MatchingError, naming what of the table the pool cannot have."""
    matched = matching.balance(pool, targets, soft=soft)
    people, repeats = matching.resample(pool, matched, size, seed)
    enrolled = matching.baseline_table(people, np.full(people.height, 1 / people.height), targets)["after"]
    return people, {
        "pool": pool.height,
        "effective": matched.effective,
        "largest": matched.largest,
        "repeats": repeats,
        "warnings": matched.warnings(size),
        "rows": matched.table.with_columns(enrolled=enrolled).to_dicts(),
    }


def columns_read(study: Study) -> list[str]:
    """Columns of the study's people that simulation and allocation read, in order, beside `subject`."""
    model, plan = load(study.model, study.path.parent), study.conduct.allocation
    strata = [one.column for one in plan.strata] if plan else []
    return list(dict.fromkeys([*own_covariates(study, model, source_of(study).columns), *strata]))


def own_covariates(study: Study, model: Model, columns: Collection[str]) -> list[str]:
    """The model's covariates that people with these columns have of their own, in its order: all but those that every
    arm sets and nobody has."""
    return [name for name in model.covariates.fields() if name in columns or name not in study.assigned]


def settings(model: Model, sets: Mapping[str, Quantity | str]) -> dict[str, float | int]:
    """What an arm sets, as the model has it: numbers in its units, of a category the index of the level."""
    known = model.covariates.fields()
    return {
        name: value.to(known[name]["unit"])
        if isinstance(value, Quantity) and not known[name]["levels"]
        else known[name]["levels"].index(setting_text(value))
        for name, value in sets.items()
    }


def covariates_of(model: Model, people: pl.DataFrame, sets: Mapping[str, Quantity | str] = MappingProxyType({})) -> Any:
    """Covariates of these people, (n,) each: numbers in the model's units, categories by the index of the level.
    sets: what their arm sets, in place of what they have."""
    given = settings(model, sets)

    def column(name: str, meta: Mapping[str, Any]) -> np.ndarray:
        if name in given:
            return np.full(people.height, given[name])
        if meta["levels"]:
            return people[name].cast(pl.Enum(meta["levels"])).to_physical().to_numpy().astype(np.int64)
        return people[name].to_numpy().astype(float)

    return model.covariates(**{name: column(name, meta) for name, meta in model.covariates.fields().items()})


def check_people(study: Study, people: pl.DataFrame) -> None:
    """Refuse a table that is not a population of this study. Errors: PopulationError naming rows and columns."""
    model = load(study.model, study.path.parent)
    wrong: list[str] = []
    if "subject" not in people.columns:
        raise PopulationError("there is no column 'subject'; give each person an id")
    if people["subject"].dtype != pl.String:
        raise PopulationError("column subject: ids are text, so that 0012 stays 0012; write them as strings")
    if people.height == 0:
        raise PopulationError("the table has no rows; give at least one person")
    for i, name in enumerate(people["subject"].to_list(), 1):
        if not name or name != unicodedata.normalize("NFC", name).strip():
            wrong.append(
                f"row {i}, column 'subject': {name!r}; write an id without surrounding space, in Unicode's NFC"
            )
    twice = people.filter(pl.col("subject").is_duplicated())["subject"].unique(maintain_order=True)
    wrong += [f"subject {s!r} stands on more than one row; keep one" for s in twice]
    for name, meta in model.covariates.fields().items():
        if name not in people.columns and name in study.assigned:
            continue
        if name not in people.columns:
            holds = " or ".join(meta["levels"]) if meta["levels"] else meta["unit"]
            wrong.append(f"column '{name}' ({holds}) is missing; add it")
            continue
        column = people[name]
        if meta["levels"]:
            bad = [i for i, v in enumerate(column.to_list()) if v not in meta["levels"]]
            want = f"write one of {', '.join(meta['levels'])}"
        elif not column.dtype.is_numeric():
            wrong.append(f"column '{name}' holds text; write numbers in {meta['unit']}")
            continue
        else:
            low, high = meta["plausible"]
            bad = [i for i, v in enumerate(column.to_list()) if v is None or not low <= v <= high]
            want = f"write a number from {low:g} to {high:g} {meta['unit']}"
        wrong += [
            f"row {i + 1}, subject {people['subject'][i]!r}, column '{name}': {column[i]!r}; {want}" for i in bad[:20]
        ]
        if len(bad) > 20:
            wrong.append(f"column '{name}': {len(bad) - 20} rows more")
    if wrong:
        raise PopulationError("\n".join(wrong))
