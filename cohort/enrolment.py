"""Who is in the study: candidates of a source, the trial's own covariates, its criteria, its published baseline."""

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from cohort.streams import Streams, streams
from cohort.study import Criterion, Share, Spread, Study, source_of, unit_of

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
        if name not in frame.columns:
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
        if name not in columns
    }


def screen(
    drawn: Callable[[list[str]], pl.DataFrame],
    refused: Callable[[list[str]], np.ndarray],
    criteria: Sequence[Criterion],
    units: Callable[[str], str],
    size: int,
) -> Screening:
    """Screen candidates in order of their ids until `size` are eligible. drawn: who these ids stand for; refused: why
    each cannot be (of a condition), empty text who can. Errors: PopulationError if there are not enough."""
    excluded = {str(c): 0 for c in criteria}
    enrolled: list[pl.DataFrame] = []
    found = screened = 0
    while found < size:
        if screened >= max(PATIENCE, 64 * size) or (screened >= BLOCK and found == 0):
            worst = max(excluded, key=lambda c: excluded[c])
            raise PopulationError(
                f"population.eligibility: {found} of {screened} candidates are eligible, {size} are needed; "
                f"'{worst}' turned {excluded[worst]} away: widen it or change the covariates"
            )
        subjects = names(screened, BLOCK)
        reason = refused(subjects)
        able = reason == ""
        block = drawn([s for s, a in zip(subjects, able, strict=True) if a])
        keep = able.copy()
        for criterion in criteria:
            passed = np.zeros(BLOCK, dtype=bool)
            passed[able] = criterion.keeps(block[criterion.column].to_numpy(), units(criterion.column))
            reason[keep & ~passed] = str(criterion)
            keep &= passed
        # Screening stops at the candidate who fills the cohort.
        last = int(np.searchsorted(np.cumsum(keep), size - found)) + 1 if keep.any() else BLOCK
        last = min(last, BLOCK)
        for why in reason[:last][~keep[:last]]:
            excluded[why] = excluded.get(why, 0) + 1
        enrolled.append(block.filter(pl.Series(keep[able] & (np.arange(BLOCK)[able] < last))))
        found += enrolled[-1].height
        screened += last
    return Screening(pl.concat(enrolled), screened, excluded)


def sample_population(study: Study) -> Screening:
    """Screen candidates until the cohort is full; with a baseline table, until a pool is, from which the cohort is
    drawn by weight. Errors: PopulationError if it cannot be filled, MatchingError if the table cannot be met."""
    model, source = load(study.model, study.path.parent), source_of(study)
    plan = study.population

    def refused(subjects: list[str]) -> np.ndarray:
        own = streams(study.seed, "population", subjects)
        return source.refused(own, _given(study, source, own))

    wanted = plan.size * (plan.match.pool if plan.match else 1)
    try:
        pool = screen(
            lambda subjects: candidates(study, source, model, subjects),
            refused,
            plan.eligibility,
            lambda column: unit_of(source, model, column),
            wanted,
        )
    except PopulationError as e:
        raise PopulationError(f"{study.path}: {e}") from None
    if plan.match is None:
        return pool
    targets = read_targets(study.root / plan.match.table, source.columns, plan.eligibility)
    people, told = match(pool.people, targets, plan.size, study.seed, soft=plan.match.soft)
    return Screening(people, pool.screened, pool.excluded, told)


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

    screening = screen(
        drawn,
        lambda subjects: source.refused(streams(seed, "population", subjects)),
        criteria,
        lambda column: source.columns[column].unit,
        size * (pool if targets else 1),
    )
    if not targets:
        return screening
    people, told = match(screening.people, targets, size, seed, soft=soft)
    return Screening(people, screening.screened, screening.excluded, told)


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


def covariates_of(model: Model, people: pl.DataFrame) -> Any:
    """Covariates of these people, (n,) each: numbers in the model's units, categories by the index of the level."""
    return model.covariates(
        **{
            name: people[name].cast(pl.Enum(meta["levels"])).to_physical().to_numpy().astype(np.int64)
            if meta["levels"]
            else people[name].to_numpy().astype(float)
            for name, meta in model.covariates.fields().items()
        }
    )


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
