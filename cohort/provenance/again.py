"""Parts of a sealed run made again from its inputs, and how far they are from what was recorded.

Everything random about a person hangs on the study's seed and the person's id, so that any of them can be made again
alone: from the seed to the person, from the person to the course in every arm, from the course to the trial.
"""

import json
import math
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cohort.comparison import compare
from cohort.comparison.predict import predict, record
from cohort.enrolment import BLOCK, Tally, enrol, sample_population, screened
from cohort.library import load
from cohort.posterior import parameter_draws
from cohort.provenance.manifest import Manifest, failures, machine
from cohort.record import canonical, plain, source_digest, versions
from cohort.results import Results
from cohort.simulation import Simulation, solve_lanes
from cohort.trial import MEAN, allocate, analysed, analysis_set, declares, tables

WHOLE = 100_000  # lanes up to which trials are made again as a whole
ALLOCATED = 20_000_000  # people times draws up to which every draw's allocation is
POOL = 50_000  # candidates up to which everyone is screened again
FIGURE = 1e-9  # relative tolerance of what no solver computes
MCMC = 0.05  # of what sampling computes anew on another machine, relative

NUMERICAL = ("jax", "jaxlib", "llvmlite", "numba", "numpy", "polars", "scipy")  # whose versions may decide bits


@dataclass(frozen=True)
class Outcome:
    """What was made again beside what was recorded. `largest`: the largest relative difference, and `where`; `problem`:
    a difference that no arithmetic explains, "" where there is none."""

    what: str
    values: int = 0
    largest: float = 0.0
    where: str = ""
    tolerance: float = 0.0  # relative
    within: bool = True
    problem: str = ""

    @property
    def identical(self) -> bool:
        return not self.problem and not self.where

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        if self.identical:
            return f"{self.values:,} values, every bit the same"
        how = "within" if self.within else "beyond"
        return f"largest relative difference {self.largest:.2g}, {how} {self.tolerance:.2g}, on {self.where}"


def together(what: str, outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of several, over all their values."""
    found = list(outcomes)
    problems = [o.problem for o in found if o.problem]
    worst = max(found, key=lambda o: (bool(o.where), not o.within, o.largest), default=Outcome(what))
    more = f"; {len(problems) - 3} more" if len(problems) > 3 else ""
    return Outcome(
        what,
        sum(o.values for o in found),
        worst.largest,
        worst.where,
        worst.tolerance,
        all(o.within for o in found),
        "; ".join(problems[:3]) + more,
    )


def excuses(manifest: Manifest) -> list[str]:
    """What differs between the machine that made the results and this one, and may change last digits."""
    there, here, found = manifest.hardware, machine(), []
    missing = sorted(set(there.get("isa", [])) ^ set(here["isa"]))
    if missing:
        found.append(f"instruction sets ({', '.join(missing[:4])})")
    for name in ("flags", "width"):
        if there.get(name) != here[name]:
            found.append(f"{name} {there.get(name)}, here {here[name]}")
    installed = versions()
    for name in NUMERICAL:
        if manifest.versions.get(name) != installed.get(name):
            found.append(f"{name} {manifest.versions.get(name)}, here {installed.get(name)}")
    if manifest.code.get("machine") != platform.machine():
        found.append(f"a {manifest.code.get('machine')}, here a {platform.machine()}")
    if codes := {rests["code"] for rests in manifest.steps.values() if "code" in rests} - {source_digest()}:
        found.append(f"cohort's code {', '.join(sorted(str(c)[:12] for c in codes))}, here {source_digest()[:12]}")
    return found


def compared(
    what: str, recorded: pl.DataFrame, made: pl.DataFrame, keys: Sequence[str], rtol: float, atol: float = 0.0
) -> Outcome:
    """Two tables that ought to be the same, row by row of `keys`. A number may be off by `atol` + `rtol` times itself;
    all else, and whether there is a number, may not be off at all."""
    if missing := set(made.columns) ^ set(recorded.columns):
        return Outcome(what, within=False, problem=f"{what}: columns {', '.join(sorted(missing))} on one side only")
    a, b = recorded.sort(*keys), made.select(recorded.columns).sort(*keys)
    if not a.select(keys).equals(b.select(pl.col(k).cast(a.schema[k]) for k in keys)):
        lost, new = b.join(a, on=keys, how="anti"), a.join(b, on=keys, how="anti")
        told = [
            f"{len(rows)} rows {how}, such as {' '.join(map(str, rows.select(keys).row(0)))}"
            for rows, how in ((new, "are recorded that are not made again"), (lost, "are made again and not recorded"))
            if len(rows)
        ]
        twice = f"rows {a.height} recorded, {b.height} made again"
        return Outcome(what, within=False, problem=f"{what}: {'; '.join(told) or twice}")
    largest, where, within, problem = 0.0, "", True, ""
    for name in recorded.columns:
        x, y = a[name], b[name]
        if not x.dtype.is_float():
            if not (same := x.cast(pl.String).eq_missing(y.cast(pl.String))).all():
                i = int((~same).arg_max() or 0)
                at = " ".join(map(str, a.select(keys).row(i)))
                problem = problem or f"{what}: {name} of {at} is {x[i]!r}, made again {y[i]!r}"
            continue
        u, v = x.to_numpy().astype(float), y.to_numpy().astype(float)
        off = ~((u == v) | (np.isnan(u) & np.isnan(v)))
        if x.is_null().to_numpy().tolist() != y.is_null().to_numpy().tolist():
            problem = problem or f"{what}: {name} is missing in other rows than when made again"
        if not off.any():
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            size, gap = np.maximum(np.abs(u), np.abs(v)), np.where(off, np.abs(u - v), 0.0)
        gap[np.isnan(gap)] = math.inf  # a number on one side only
        bound = np.nan_to_num(atol + rtol * size, nan=0.0, posinf=0.0)
        within &= bool((gap <= bound).all())
        relative = gap / np.maximum(np.nan_to_num(size, nan=1.0), max(atol / rtol, 1e-300))
        i = int(relative.argmax())
        if relative[i] >= largest:
            at = " ".join(map(str, a.select(keys).row(i)))
            there, here = float(u[i]), float(v[i])
            largest, where = float(relative[i]), f"{name} of {at} ({there!r} recorded, {here!r} made again)"
    return Outcome(what, a.height * len(a.columns), largest, where.strip(), rtol, within, problem)


# ---------------------------------------------------------------------------------------------------------- people


def subjects_of(results: Results) -> pl.Series:
    return pl.scan_parquet(results.population_file).select("subject").collect()["subject"]


def _candidate(subject: str) -> int | None:
    """The number of the candidate whom an id stands for; `0000012~2` is the second of 0000012. None for another id."""
    base = re.fullmatch(r"(\d{7,15})(~[1-9]\d*)?", subject)
    number = int(base[1]) if base else 0
    return number if base and number and f"{number:07d}" == base[1] else None


def people(results: Results, everyone: pl.Series, chosen: Sequence[str]) -> Outcome:
    """The blocks of candidates among whom the chosen ones are: who of them is eligible, and every column of theirs."""
    study, what = results.study, "people"
    matched = study.population.match is not None
    numbers = {s: _candidate(s) for s in chosen}
    if odd := [s for s, n in numbers.items() if n is None]:
        problem = f"{what}: {', '.join(map(repr, odd[:5]))}: no ids of candidates of this study"
        return Outcome(what, within=False, problem=problem)
    candidate = everyone.str.split("~").list.first().cast(pl.Int64, strict=False)
    last = int(results.attrition["screened"])
    outcomes = []
    for first in sorted({(n - 1) // BLOCK * BLOCK for n in numbers.values() if n}):
        mine = (candidate > first) & (candidate <= first + BLOCK)
        rows = mine.arg_true()
        recorded = _rows(results.population_file, int(rows.min() or 0), int(rows.max() or 0) + 1)  # type: ignore[arg-type]
        recorded = recorded.filter(pl.col("subject").is_in(everyone.filter(mine).implode()))
        made = screened(study, first).filter(pl.col("reason") == "").drop("reason")
        made = made.filter(pl.col("subject").cast(pl.Int64) <= last)
        if matched:  # who was drawn from the pool, and how often, is asked of the whole
            own = recorded.select("subject", base=pl.col("subject").str.split("~").list.first())
            made = own.join(made, left_on="base", right_on="subject", how="inner").drop("base")
        outcomes.append(compared(what, recorded, made, ["subject"], FIGURE))
    return together(what, outcomes)


def _rows(file: Path, start: int, stop: int) -> pl.DataFrame:
    return pl.scan_parquet(file).slice(start, stop - start).collect()


def whole_population(results: Results) -> Outcome:
    """Everyone, enrolled again; and what is told of whom the criteria turned away, and of the matching."""
    study, what, file = results.study, "people", results.population_file
    tally = Tally()

    def blocks() -> Iterator[Outcome]:
        if study.population.match is not None:
            made = sample_population(study)
            tally.screened, tally.enrolled, tally.excluded = made.screened, made.people.height, made.excluded
            yield compared(what, pl.read_parquet(file), made.people, ["subject"], FIGURE)
            yield numbers("matching", results.matching, plain(made.matching), FIGURE, 1e-6)
            return
        at = 0
        for people in enrol(study, tally):
            yield compared(what, _rows(file, at, at + people.height), people, ["subject"], FIGURE)
            at += people.height

    outcomes = list(blocks())
    counts = {"screened": tally.screened, "enrolled": tally.enrolled, "excluded": tally.excluded}
    return together(what, [*outcomes, numbers("attrition", results.attrition, counts, 0.0, 0.0)])


def parameters(results: Results) -> Outcome:
    """The draws that were simulated, from the posterior."""
    model = load(results.study.model, results.study.path.parent)
    made = parameter_draws(results.study, model, results.posterior)
    return compared("parameters", results.parameters, made, ["draw"], FIGURE)


# ------------------------------------------------------------------------------------------------------------ arms


def tolerance(results: Results) -> tuple[float, float]:
    """Of solved values, relative and absolute: a hundred times what the solver may err by in a step."""
    return 100 * results.study.numerics.rtol, 100 * results.study.numerics.atol


def counts(results: Results, manifest: Manifest, everyone: pl.Series) -> Outcome:
    """Rows of each arm by draw and how they ended: everyone is there at the mean, and the failures are those stated."""
    study, visits, what = results.study, len(results.study.visits), "rows"
    wrong, rows = [], 0
    for arm in study.arms:
        scan = pl.scan_parquet(results.arm_file(arm))
        found = scan.group_by("arm", "draw").len().collect(engine="streaming")
        rows += int(found["len"].sum())
        at_mean = int(found.filter(pl.col("draw") == MEAN)["len"].sum())
        if set(found["arm"]) != {arm}:
            wrong.append(f"{arm}: rows of {', '.join(map(str, set(found['arm']) - {arm}))} in its file")
        if at_mean != visits * len(everyone):
            wrong.append(f"{arm}: {at_mean} rows at the posterior mean, {visits * len(everyone)} are due")
        if set(found["draw"]) != set(results.parameters["draw"]):
            wrong.append(f"{arm}: other draws than parameters.parquet has")
        if (now := failures(results.arm_file(arm), visits)) != manifest.failures.get(arm):
            wrong.append(f"{arm}: {now.failed or 'no'} failures, the manifest says otherwise")
    return Outcome(what, rows, within=not wrong, problem="; ".join(wrong))


@dataclass(frozen=True)
class Lanes:
    """The chosen people's lanes in every arm, as recorded."""

    outcome: Outcome
    recorded: pl.DataFrame
    reallocated: int  # draws whose allocation was made again
    draws: int


def lanes(results: Results, everyone: pl.Series, chosen: Sequence[str], rng: np.random.Generator) -> Lanes:
    """Solve the chosen people's lanes again: every arm at the posterior mean, and the arm allocated in every draw."""
    study = results.study
    model = load(study.model, study.path.parent)
    rtol, atol = tolerance(results)
    values = results.parameters
    draws = [d for d in values["draw"].to_list() if d != MEAN]
    few = max(1, ALLOCATED // max(len(everyone), 1))
    again = draws if len(draws) <= few else sorted(rng.choice(draws, few, replace=False).tolist())
    strata = study.conduct.allocation.strata if study.conduct.allocation else []
    columns = ["subject", *dict.fromkeys(s.column for s in strata)]
    whole = pl.read_parquet(results.population_file, columns=columns) if again and strata else None
    mine, names = set(chosen), everyone.to_list()
    due: dict[str, set[tuple[int, str]]] = {arm: {(MEAN, s) for s in chosen} for arm in study.arms}
    for draw in again:
        for arm, who in allocate(study, names, draw, whole).items():
            due[arm] |= {(draw, s) for s in who if s in mine}
    covariates = pl.scan_parquet(results.population_file).filter(pl.col("subject").is_in(list(chosen)))
    covariates = covariates.select("subject", *model.covariates.fields()).collect()
    outcomes, recorded = [], []
    unasked = set(draws) - set(again)
    for arm in study.arms:
        own = pl.scan_parquet(results.arm_file(arm)).filter(pl.col("subject").is_in(list(chosen)))
        rows = own.collect(engine="streaming")
        recorded.append(rows)
        there = {p for p in rows.select("draw", "subject").unique().iter_rows() if p[0] in unasked}
        pairs = sorted(due[arm] | there)
        table = pl.DataFrame(pairs, schema={"draw": pl.Int32, "subject": pl.String}, orient="row")
        table = table.join(covariates, on="subject", how="left", maintain_order="left")
        made = solve_lanes(study, model, arm, table, values)
        outcomes.append(compared(f"arms/{arm}", rows, made, ["draw", "subject", "time"], rtol, atol))
    order = ["arm", "draw", "subject", "time"]
    return Lanes(together("arms", outcomes), pl.concat(recorded).sort(order), len(again), len(draws))


def whole_arms(results: Results) -> Outcome:
    """Every lane, solved again in the order of the files."""
    rtol, atol = tolerance(results)

    def chunks() -> Iterator[Outcome]:
        at = dict.fromkeys(results.study.arms, 0)
        for arm, made in Simulation.of(results.study, results.enrolled, results.parameters).solved():
            recorded = _rows(results.arm_file(arm), at[arm], at[arm] + made.height)
            at[arm] += made.height
            yield compared(f"arms/{arm}", recorded, made, ["draw", "subject", "time"], rtol, atol)

    return together("arms", chunks())


# ----------------------------------------------------------------------------------------------------------- above


def size(results: Results) -> int:
    """Lanes of the study."""
    study = results.study
    planned = sum(arm.n for arm in study.arms.values())
    return study.population.size * len(study.arms) + study.analysis.draws * planned


def trial(results: Results, recorded: pl.DataFrame | None) -> Outcome:
    """What is analysed. recorded: visits of some people, whose rows are made again; None: everyone's."""
    study = results.study
    model = load(study.model, study.path.parent)
    rtol, atol = tolerance(results)
    keys = ["draw", "arm", "subject"]
    if declares(study):
        people = results.enrolled
        made = tables(study, people, results.parameters, threads=2)
        whole = analysed(study, model, people, made)
        outcomes = [compared("trial", pl.read_parquet(results.trial_file), whole, keys, rtol, atol)]
        for name, table in made.items():
            file = results.trial_folder / f"{name}.parquet"
            unique = [c for c in table.columns if not table.schema[c].is_float()]
            outcomes.append(compared(f"trial/{name}", pl.read_parquet(file), table, unique, rtol, atol))
        return together("trial", outcomes)
    scan = pl.scan_parquet(results.trial_file)
    if recorded is None:
        visits, rows = results.visits, scan.collect()
    else:
        who = recorded["subject"].unique().to_list()
        visits, rows = recorded, scan.filter(pl.col("subject").is_in(who)).collect(engine="streaming")
    made = analysis_set(study, model, visits, results.parameters)
    lacking = [c for c in rows.columns if c not in made.columns]  # of trials, where only the mean is among the rows
    made = made.with_columns(pl.lit(None, rows.schema[c]).alias(c) for c in lacking)
    return compared("trial", rows, made, keys, rtol, atol)


def predictions(results: Results, frozen: str | None) -> Outcome:
    """What was predicted, from the trials; `frozen`: its hash in the audit trail, before the outcomes were opened."""
    study, what = results.study, "predictions"
    posterior = results.posterior
    attrs = {} if posterior is None else {str(k): v for k, v in posterior.attrs.items()}
    made = predict(study, results.trial, results.parameters)
    rtol, _ = tolerance(results)
    told = record(study, made, attrs)["predictions"]
    outcome = numbers(what, results.summary["predictions"], told, 0.0 if made.hash() == frozen else rtol, 1e-4)
    if frozen is None:
        return Outcome(what, within=False, problem=f"{what}: the audit trail does not say that they were frozen")
    if made.hash() == frozen or not outcome.identical:
        return outcome
    return Outcome(what, outcome.values, rtol, "digits beyond the fourth (their hash is another)", rtol, True)


def calibration(results: Results, excused: bool) -> Outcome:
    """The posterior, sampled again. On another machine chains part ways: then means may be off by MCMC of their SD."""
    from cohort.calibration import calibrate

    then = results.posterior
    made = calibrate(results.study, results.enrolled)
    assert then is not None
    old, new = (tree.children["posterior"].dataset for tree in (then, made))
    outcomes = []
    for name in map(str, old.data_vars):
        a = np.asarray(old[name].values, float)
        if name not in new or new[name].shape != a.shape:
            outcomes.append(Outcome("calibration", within=False, problem=f"calibration: {name} has another shape"))
            continue
        b = np.asarray(new[name].values, float)
        if np.array_equal(a, b, equal_nan=True):
            outcomes.append(Outcome("calibration", a.size))
            continue
        spread = a.std(axis=(0, 1))
        off = float(np.max(np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / np.maximum(spread, 1e-300)))
        where = f"the mean of {name}, in its standard deviations"
        outcomes.append(Outcome("calibration", a.size, off, where, MCMC * 2, excused and off <= MCMC * 2))
    return together("calibration", outcomes)


def comparison(results: Results) -> Outcome:
    """The comparison's tables, sampled again; not whether its predictions were registered, which hangs on the place."""
    tree = compare(results.study, results.visits, results.posterior, analysis=results.trial, learnt=results.learnt)
    return numbers("comparison", _placeless(results.summary), _placeless(json.loads(tree.attrs["summary"])), MCMC, 1e-6)


def _placeless(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        k: _placeless(v) if k == "comparison" else v
        for k, v in summary.items()
        if k not in ("standing", "plan_standing")
    }


def numbers(what: str, recorded: Any, made: Any, rtol: float, atol: float) -> Outcome:
    """Two values of JSON that ought to be the same, number by number."""
    if canonical(plain(recorded)) == canonical(plain(made)):
        return Outcome(what, sum(1 for _ in _leaves(recorded)))
    a, b = dict(_leaves(plain(recorded))), dict(_leaves(plain(made)))
    if odd := sorted(a.keys() ^ b.keys()):
        return Outcome(what, within=False, problem=f"{what}: {odd[0]} on one side only")
    largest, where, within, problem = 0.0, "", True, ""
    for place, x in a.items():
        y = b[place]
        if isinstance(x, int | float) and isinstance(y, int | float) and not isinstance(x, bool):
            gap = abs(x - y) / max(abs(x), abs(y), 1e-300)
            if x != y and gap >= largest:
                largest, where = gap, f"{place} ({x!r} recorded, {y!r} made again)"
            within &= abs(x - y) <= atol + rtol * max(abs(x), abs(y))
        elif x != y:
            problem = problem or f"{what}: {place} is {x!r}, made again {y!r}"
    return Outcome(what, len(a), largest, where, rtol, within, problem)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}".strip("."))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{i}]")
    else:
        yield place, value
