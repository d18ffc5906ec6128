"""Parts of a sealed run made again from its inputs, and how far they are from what was recorded.

Everything random about a person hangs on the study's seed and the person's id, so that any of them can be made again
alone: from the seed to the person, from the person to the course in every arm, from the course to the trial.
"""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.enrolment import BLOCK, Tally, columns_of, enrol, own_covariates, sample_population, screened
from cohort.library import load
from cohort.population.table import schema
from cohort.posterior import parameter_draws
from cohort.provenance.manifest import Manifest, machine
from cohort.provenance.rows import Allocation
from cohort.provenance.same import CAP, Outcome, compared, different, numbers, together
from cohort.record import canonical, digest, file_digest, plain, source_digest, versions
from cohort.results import Results
from cohort.simulation import Simulation, solve_lanes
from cohort.study import fingerprint
from cohort.trial import MEAN, analysed, analysis_set, declares, tables

WHOLE = 100_000  # lanes up to which trials are made again as a whole
POOL = 50_000  # candidates up to which everyone is screened again
FIGURE = 1e-9  # relative tolerance of what no solver computes

NUMERICAL = ("jax", "jaxlib", "llvmlite", "numba", "numpy", "polars", "scipy")  # whose versions may decide bits


def excuses(manifest: Manifest) -> tuple[list[str], list[str]]:
    """What differs between what made the results and what is here, and may change last digits: of the machine, which
    the verifier cannot change, and of what is installed on it, which the verifier can."""
    there, here, machines, installed = manifest.hardware, machine(), list[str](), list[str]()
    if missing := sorted(set(there.get("isa", [])) ^ set(here["isa"])):
        machines.append(f"instruction sets ({', '.join(missing[:4])})")
    for name in ("flags", "width"):
        if there.get(name) != here[name]:
            machines.append(f"{name} {there.get(name)}, here {here[name]}")
    if manifest.code.get("machine") != platform.machine():
        machines.append(f"a {manifest.code.get('machine')}, here a {platform.machine()}")
    mine = versions()
    for name in NUMERICAL:
        if manifest.versions.get(name) != mine.get(name):
            installed.append(f"{name} {manifest.versions.get(name)}, here {mine.get(name)}")
    if codes := {str(rests["code"]) for rests in manifest.steps.values() if "code" in rests} - {source_digest()}:
        installed.append(f"cohort's code {', '.join(sorted(c[:12] for c in codes))}, here {source_digest()[:12]}")
    return machines, installed


# ---------------------------------------------------------------------------------------------------------- people


def subjects_of(results: Results) -> pl.Series:
    return pl.scan_parquet(results.population_file, glob=False).select("subject").collect()["subject"]


def _shaped(results: Results, people: pl.DataFrame) -> pl.DataFrame:
    """People as the study's population is written: these columns, of these types, in this order."""
    shape = schema(columns_of(results.study))
    return pl.DataFrame(pl.from_arrow(people.select(shape.names).to_arrow().cast(shape)))


def people(results: Results, everyone: pl.Series, chosen: Sequence[str]) -> Outcome:
    """The blocks of candidates among whom the chosen ones are: who of them is eligible, and every column of theirs."""
    study, what = results.study, "people"
    matched = study.population.match is not None
    candidate = everyone.str.extract(r"^(\d{7,15})(?:~[1-9]\d*)?$").cast(pl.Int64)
    numbers = candidate.filter(everyone.is_in(list(chosen))).to_list()
    if not all(numbers):
        return different(what, "ids that are none of candidates of this study")
    last = int(results.attrition["screened"])
    outcomes = []
    for first in sorted({(n - 1) // BLOCK * BLOCK for n in numbers}):
        mine = (candidate > first) & (candidate <= first + BLOCK)
        rows = mine.arg_true()
        recorded = _rows(results.population_file, int(rows.min() or 0), int(rows.max() or 0) + 1)  # type: ignore[arg-type]
        recorded = recorded.filter(pl.col("subject").is_in(everyone.filter(mine).implode()))
        made = screened(study, first).filter(pl.col("reason") == "").drop("reason")
        made = made.filter(pl.col("subject").cast(pl.Int64) <= last)
        if matched:  # who was drawn from the pool, and how often, is asked of the whole
            own = recorded.select("subject", base=pl.col("subject").str.split("~").list.first())
            made = own.join(made, left_on="base", right_on="subject", how="inner").drop("base")
        outcomes.append(compared(what, recorded, _shaped(results, made), ["subject"], FIGURE))
    return together(what, outcomes)


def _rows(file: Path, start: int, stop: int) -> pl.DataFrame:
    return pl.scan_parquet(file, glob=False).slice(start, stop - start).collect()


def whole_population(results: Results) -> Outcome:
    """Everyone, enrolled again; and what is told of whom the criteria turned away, and of the matching."""
    study, what, file = results.study, "people", results.population_file
    tally = Tally()

    def blocks() -> Iterator[Outcome]:
        if study.population.match is not None:
            made = sample_population(study)
            tally.screened, tally.enrolled, tally.excluded = made.screened, made.people.height, made.excluded
            yield compared(what, pl.read_parquet(file, glob=False), _shaped(results, made.people), ["subject"], FIGURE)
            yield numbers("matching", results.matching, plain(made.matching), FIGURE, 1e-6)
            return
        at = 0
        for people in enrol(study, tally):
            recorded = _rows(file, at, at + people.height)
            yield compared(what, recorded, _shaped(results, people), ["subject"], FIGURE)
            at += people.height
        if (more := _rows(file, at, at + 1)).height:
            yield different(what, f"{more['subject'][0]} is recorded, and was not enrolled again")

    outcomes = list(blocks())
    counts = {"screened": tally.screened, "enrolled": tally.enrolled, "excluded": tally.excluded}
    return together(what, [*outcomes, numbers("attrition", results.attrition, counts, 0.0, 0.0)])


def parameters(results: Results) -> Outcome:
    """The draws that were simulated, from the posterior; and that it is one of the study that calibrated it."""
    what, owner = "parameters", results.calibrated.study
    model = load(results.study.model, results.study.path.parent)
    made = parameter_draws(results.study, model, results.posterior)
    outcomes = [compared(what, results.parameters, made, ["draw"], FIGURE)]
    if results.posterior is not None:
        files = [owner.root / use.file for use in owner.evidence.values() if use.use == "calibration"]
        due = {
            "study": owner.name,
            "study_hash": fingerprint(owner),
            "model_hash": digest(load(owner.model, owner.path.parent).text),
            "evidence_hash": canonical({f.name: file_digest(f) for f in files}),
        }
        told = {key: str(results.posterior.attrs.get(key)) for key in due}
        outcomes.append(numbers("parameters: the posterior", told, due, 0.0, 0.0))
    return together(what, outcomes)


# ------------------------------------------------------------------------------------------------------------ arms


def tolerance(results: Results) -> tuple[float, float]:
    """Of solved values, relative and absolute: a hundred times what the solver may err by in a step, and no more than
    CAP, of which `compared` takes the absolute one of the column's size."""
    return min(100 * results.study.numerics.rtol, CAP), 100 * results.study.numerics.atol


@dataclass(frozen=True)
class Lanes:
    """The chosen people's lanes in every arm, as recorded."""

    outcome: Outcome
    recorded: pl.DataFrame


def lanes(results: Results, chosen: Sequence[str], allocation: Allocation) -> Lanes:
    """Solve the chosen people's lanes again: every arm at the posterior mean, and the arm allocated in every draw."""
    study = results.study
    model = load(study.model, study.path.parent)
    rtol, atol = tolerance(results)
    mine = pl.col("subject").is_in(list(chosen))
    covariates = pl.scan_parquet(results.population_file, glob=False).filter(mine)
    known = covariates.collect_schema().names()
    covariates = covariates.select("subject", *own_covariates(study, model, known)).collect()
    at_mean = covariates.select(pl.lit(MEAN, pl.Int32).alias("draw"), "subject")
    outcomes, recorded = [], []
    for arm, due in allocation.arms.items():
        rows = pl.scan_parquet(results.arm_file(arm), glob=False).filter(mine).collect(engine="streaming")
        recorded.append(rows)
        table = pl.concat([at_mean, due.filter(mine)]).sort("draw", "subject")
        table = table.join(covariates, on="subject", how="left", maintain_order="left")
        made = solve_lanes(study, model, arm, table, results.parameters)
        outcomes.append(compared(f"arms/{arm}", rows, made, ["draw", "subject", "time"], rtol, atol))
    order = ["arm", "draw", "subject", "time"]
    return Lanes(together("arms", outcomes), pl.concat(recorded, how="vertical_relaxed").sort(order))


def whole_arms(results: Results) -> Outcome:
    """Every lane, solved again in the order of the files."""
    rtol, atol = tolerance(results)

    def chunks() -> Iterator[Outcome]:
        at = dict.fromkeys(results.study.arms, 0)
        for arm, made in Simulation.of(results.study, results.enrolled, results.parameters).solved():
            recorded = _rows(results.arm_file(arm), at[arm], at[arm] + made.height)
            at[arm] += made.height
            yield compared(f"arms/{arm}", recorded, made, ["draw", "subject", "time"], rtol, atol)
        for arm, rows in at.items():
            if (more := _rows(results.arm_file(arm), rows, rows + 1)).height:
                yield different(f"arms/{arm}", f"{more['subject'][0]} is recorded beyond the last lane solved again")

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
        people = results.population
        made = tables(study, people, results.parameters, threads=2)
        whole = analysed(study, model, people, made)
        outcomes = [compared("trial", pl.read_parquet(results.trial_file, glob=False), whole, keys, rtol, atol)]
        for name, table in made.items():
            file = results.trial_folder / f"{name}.parquet"
            unique = [c for c in table.columns if not table.schema[c].is_float()]
            outcomes.append(compared(f"trial/{name}", pl.read_parquet(file, glob=False), table, unique, rtol, atol))
        return together("trial", outcomes)
    scan = pl.scan_parquet(results.trial_file, glob=False)
    if recorded is None:
        visits, rows = results.visits, scan.collect()
    else:
        who = recorded["subject"].unique().to_list()
        visits, rows = recorded, scan.filter(pl.col("subject").is_in(who)).collect(engine="streaming")
    made = analysis_set(study, model, visits, results.parameters)
    lacking = [c for c in rows.columns if c not in made.columns]  # of trials, where only the mean is among the rows
    made = made.with_columns(pl.lit(None, rows.schema[c]).alias(c) for c in lacking)
    return compared("trial", rows, made, keys, rtol, atol)
