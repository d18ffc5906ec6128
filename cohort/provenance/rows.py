"""Who is in each table of a sealed run: exactly those who were enrolled and allocated, each as often as is due, in the
order in which the steps write them. Tables are read in a stream and never held whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from cohort.engine import CODES
from cohort.library import load
from cohort.provenance.manifest import FailuresPart, Manifest
from cohort.provenance.same import Outcome
from cohort.results import Results
from cohort.trial import MEAN, allocate, declares
from cohort.trial.conduct import calendar

ALLOCATED = 20_000_000  # people times draws up to which every draw's allocation is made again
LANES = 1 << 15  # asked at a time
FEW = 5  # of what is wrong, told of one table


class Rows:
    """Some columns of a Parquet file, a few rows after the other."""

    def __init__(self, file: Path, columns: Sequence[str]):
        self.columns = list(columns)
        batches = pq.ParquetFile(file).iter_batches(batch_size=1 << 18, columns=self.columns)
        self._batches = (pl.DataFrame(pl.from_arrow(batch)) for batch in batches)
        self._waiting: list[pl.DataFrame] = []

    def take(self, n: int) -> pl.DataFrame:
        """The next n rows, or as many as there still are."""
        held = sum(part.height for part in self._waiting)
        while held < n and (batch := next(self._batches, None)) is not None:
            self._waiting.append(batch)
            held += batch.height
        if not self._waiting:
            return pl.DataFrame()
        whole = pl.concat(self._waiting, rechunk=False)
        self._waiting = [rest] if (rest := whole.slice(n)).height else []
        return whole.head(n)


def _astray(rows: pl.DataFrame, due: pl.DataFrame) -> str:
    """The first row that is not the one that is due there; "" where all are."""
    told = ""
    if rows.height < due.height:
        return f"ends before {' '.join(map(str, due.row(rows.height)))}"
    first = due.height
    for name in due.columns:
        off = rows[name].ne_missing(due[name])
        if off.any() and (i := int(off.arg_max() or 0)) < first:
            here = " ".join(map(str, rows.select(due.columns).row(i)))
            first, told = i, f"has {here} where {' '.join(map(str, due.row(i)))} is due"
    return told


def enrolled(results: Results, everyone: pl.Series) -> Iterator[str]:
    """Where the ids of the population are not as many as planned and told, each once, in the order of screening."""
    study, attrition = results.study, results.attrition
    size, screened = study.population.size, int(attrition["screened"])
    if not len(everyone) == size == attrition["enrolled"]:
        yield f"{len(everyone):,} people, {attrition['enrolled']:,} enrolled as attrition.json says, {size:,} planned"
    if (twice := everyone.filter(everyone.is_duplicated())).len():
        yield f"{twice[0]!r} is there twice"
    number = everyone.str.extract(r"^(\d{7,15})(?:~[1-9]\d*)?$").cast(pl.Int64)
    if number.null_count() or (number < 1).any() or (number > screened).any():
        odd = everyone.filter(number.is_null() | (number < 1) | (number > screened))
        yield f"{odd[0]!r} is no id of one of {screened:,} candidates"
    elif study.population.match is None and not (number.diff().drop_nulls() > 0).all():
        yield "people are not in the order in which they were screened"
    elif study.population.match is None and number.len() and number[-1] != screened:
        yield f"the last of them is {everyone[-1]!r}, and {screened:,} were screened"


@dataclass(frozen=True)
class Allocation:
    """`arms`: draw and subject of every lane of each arm's trials, in the order of its file; of draws that were not
    allocated again, as recorded. `again`, `draws`: how many were, of how many; `wrong`: what cannot be."""

    arms: dict[str, pl.DataFrame]
    again: int
    draws: int
    wrong: list[str]


def allocated(results: Results, everyone: pl.Series, rng: np.random.Generator) -> Allocation:
    """Every draw's trial allocated again, or of many people as many draws as that takes a minute for; the others'
    as recorded: people of this population, nobody twice, and as many as are planned."""
    study = results.study
    draws = [d for d in results.parameters["draw"].to_list() if d != MEAN]
    few = max(1, ALLOCATED // max(len(everyone), 1))
    again = set(draws if len(draws) <= few else rng.choice(draws, few, replace=False).tolist())
    strata = study.conduct.allocation.strata if study.conduct.allocation else []
    columns = ["subject", *dict.fromkeys(s.column for s in strata)]
    whole = pl.read_parquet(results.population_file, columns=columns, glob=False) if again and strata else None
    names = everyone.to_list() if again else []
    recorded = _recorded(results, set(draws) - again) if len(again) < len(draws) else {}
    parts: dict[str, list[pl.DataFrame]] = {arm: [] for arm in study.arms}
    wrong = []
    for draw in draws:
        who = allocate(study, names, draw, whole) if draw in again else {a: recorded[a].get(draw, []) for a in parts}
        if draw not in again:
            wrong += [f"draw {draw}: {reason}" for reason in _unfit(results, everyone, who)]
        for arm, subjects in who.items():
            parts[arm].append(_lanes(draw, pl.Series("subject", subjects, dtype=pl.String)))
    empty = _lanes(MEAN, everyone.head(0))
    return Allocation({arm: pl.concat([empty, *own]) for arm, own in parts.items()}, len(again), len(draws), wrong)


def _lanes(draw: int, subjects: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"draw": pl.repeat(draw, len(subjects), dtype=pl.Int32, eager=True), "subject": subjects})


def _recorded(results: Results, draws: set[int]) -> dict[str, dict[int, list[str]]]:
    """Whom each arm's file has under these draws."""
    visits, found = len(results.study.visits), dict[str, dict[int, list[str]]]()
    for arm in results.study.arms:
        scan = pl.scan_parquet(results.arm_file(arm), glob=False).filter(pl.col("draw").is_in(sorted(draws)))
        rows = scan.select("draw", "subject").collect(engine="streaming")
        own = rows.group_by("draw", maintain_order=True).agg(pl.col("subject").gather_every(visits))
        found[arm] = dict(own.iter_rows())
    return found


def _unfit(results: Results, everyone: pl.Series, who: dict[str, list[str]]) -> Iterator[str]:
    study = results.study
    subjects = pl.Series([s for own in who.values() for s in own], dtype=pl.String)
    if strange := subjects.filter(~subjects.is_in(everyone.implode())).to_list():
        yield f"{strange[0]!r} is not of this population"
    if subjects.is_duplicated().any():
        yield f"{subjects.filter(subjects.is_duplicated())[0]!r} was allocated twice"
    due = sum(arm.n for arm in study.arms.values())
    fixed = study.conduct.allocation is None
    if len(subjects) != due or (fixed and any(len(who[arm]) != one.n for arm, one in study.arms.items())):
        yield f"{len(subjects)} people were allocated, {due} are planned"


def counts(results: Results, manifest: Manifest, everyone: pl.Series, allocation: Allocation) -> Outcome:
    """Every arm's rows: everyone at the posterior mean and whom each draw's trial allocated, each at every visit, and
    nobody else; and the failures are those stated. What is analysed is of the same lanes."""
    study = results.study
    wrong, codes, rows = [*enrolled(results, everyone), *allocation.wrong], dict[str, np.ndarray](), 0
    model = load(study.model, study.path.parent)
    times = np.array([visit.to(model.time) for visit in study.visits])
    for arm in study.arms:
        due = pl.concat([_lanes(MEAN, everyone), allocation.arms[arm]])
        told, codes[arm] = _arm(results.arm_file(arm), arm, due, times)
        wrong += [f"{arm}: {told}"] if told else []
        rows += due.height * len(times)
        if not told and (now := _failures(codes[arm])) != manifest.failures.get(arm):
            wrong.append(f"{arm}: {now.failed or 'no'} failures, the manifest says otherwise")
    if "trial.parquet" in manifest.files and not wrong:
        told = _trial(results, everyone, allocation, codes)
        wrong += [f"trial: {told}"] if told else []
    more = [f"{len(wrong) - FEW} more"] if len(wrong) > FEW else []
    return Outcome("rows", rows, within=not wrong, problem="; ".join(wrong[:FEW] + more))


def _arm(file: Path, arm: str, due: pl.DataFrame, times: np.ndarray) -> tuple[str, np.ndarray]:
    """The first lane of an arm's file that is not the one due there; and how each lane ended, (lanes,)."""
    rows, visits, codes = Rows(file, ["draw", "arm", "subject", "time", "code"]), len(times), []
    for lanes in due.iter_slices(LANES):
        found = rows.take(lanes.height * visits)
        each = lanes[np.repeat(np.arange(lanes.height), visits)]
        each = each.with_columns(arm=pl.lit(arm), time=pl.Series(np.tile(times, lanes.height)))
        if told := _astray(found, each):
            return told, np.empty(0, np.int8)
        code = found["code"].to_numpy().reshape(-1, visits)
        if (mixed := (code != code[:, :1]).any(axis=1)).any():
            who = " ".join(map(str, lanes.row(int(mixed.argmax()))))
            return f"{who} ended in several ways", np.empty(0, np.int8)
        codes.append(code[:, 0].copy())
    more = rows.take(1)
    told = f"has {' '.join(map(str, more.row(0)))} where nothing more is due" if more.height else ""
    return told, np.concatenate(codes)


def _failures(codes: np.ndarray) -> FailuresPart:
    code, n = np.unique(codes, return_counts=True)
    named = {CODES[c] if 0 <= c < len(CODES) else f"code {c}": int(k) for c, k in zip(code, n, strict=True) if c != 0}
    return FailuresPart(patients=len(codes), failed=named)


def _trial(results: Results, everyone: pl.Series, allocation: Allocation, codes: dict[str, np.ndarray]) -> str:
    """The first row of what is analysed that is not the one due there."""
    study = results.study
    kind = pl.Enum(list(study.arms))
    if declares(study):
        due = _entered(results, everyone, allocation)
    else:
        due = (
            pl.concat([_lanes(MEAN, everyone), lanes]).with_columns(
                pl.lit(arm, kind).alias("arm"), code=pl.Series(codes[arm], dtype=pl.Int8)
            )
            for arm, lanes in allocation.arms.items()
        )
    columns = ["draw", "arm", "subject"] + ([] if declares(study) else ["code"])
    rows = Rows(results.trial_file, columns)
    for lanes in due:
        for part in lanes.iter_slices(LANES * 8):
            if told := _astray(rows.take(part.height), part.select(pl.col("arm").cast(pl.String), pl.exclude("arm"))):
                return told
    more = rows.take(1)
    return f"has {' '.join(map(str, more.row(0)))} where nothing more is due" if more.height else ""


def _entered(results: Results, everyone: pl.Series, allocation: Allocation) -> Iterator[pl.DataFrame]:
    """The lanes of a study that declares its conduct, draw by draw and sorted: of trials, whom the cut-off let in."""
    study = results.study
    plan, names, subjects = study.conduct.enrolment, everyone.to_list(), everyone.sort()
    cutoff = plan.cutoff.to("d") if plan and plan.cutoff else None
    for arm in sorted(study.arms):
        yield _lanes(MEAN, subjects).with_columns(arm=pl.lit(arm))
    for draw in (d for d in results.parameters["draw"].to_list() if d != MEAN):
        own = pl.concat(
            rows.filter(pl.col("draw") == draw).with_columns(arm=pl.lit(arm)) for arm, rows in allocation.arms.items()
        )
        if cutoff is not None:
            days = calendar(study, names, draw)
            own = own.filter(
                pl.Series([days.get(s, cutoff) < cutoff for s in own["subject"].to_list()], dtype=pl.Boolean)
            )
        yield own.sort("arm", "subject")
