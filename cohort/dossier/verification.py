"""What is verified here and now, on this machine, in seconds: the solver against exact curves, the step refined on this
study's own model and arms, a patient's bits in other company, known answers of the random numbers, and units.

References
----------
[1] Gibaldi & Perrier 1982, Pharmacokinetics, chapter 1: one compartment with first-order absorption.
[2] Beal 1982, J Pharmacokinet Biopharm 10:109: the course of Michaelis-Menten elimination, by Lambert's W.
[3] Salmon, Moraes, Dror & Shaw 2011, Random123, tests/kat_vectors: philox4x32 with ten rounds.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from scipy.special import lambertw

from cohort.dosing.records import Events
from cohort.engine import Numerics, choose, solve
from cohort.enrolment import own_covariates
from cohort.library import load, path_of
from cohort.model import Model, Record, Route, Scalar, fixed, quantity
from cohort.philox import philox
from cohort.results import Results
from cohort.study import Study
from cohort.trace import check_units
from cohort.trial import MEAN
from cohort.trial.course import course, numerics

SAMPLE = 64  # of the study's people, the first ones
FEWEST, STEPS = 4, 200_000  # of people, and of steps that an arm of them may take: heart cells take 50,000 each
CLOSED = 1e-12  # relative error of what is solved in closed form
CURVES = 100.0  # times the requested tolerance: what a curve may be off by, for the solver controls the error of a step
COURSES = 1000.0  # the same over a whole study with its doses
MARGIN = 0.01  # of the margin of agreement, or of the spread between patients: what an endpoint may move by
ORDERS = (0.5, 1.5)  # within which the error follows the tolerance: both methods extrapolate, so its power is about 1
NOISE = 1e-12  # relative: rounding, which no smaller step takes away


class Parameters(Record):
    ka: Scalar = fixed(1.0, "1/h", about="absorption", source="chosen here")
    k: Scalar = fixed(0.1, "1/h", about="elimination", source="chosen here")
    v: Scalar = fixed(10.0, "L", about="volume", source="chosen here")
    vmax: Scalar = fixed(0.0, "mg/h", about="capacity of saturable elimination", source="chosen here")
    km: Scalar = fixed(5.0, "mg", about="amount of half that capacity", source="chosen here")


class State(Record):
    depot: Scalar = quantity("mg", "to be absorbed")
    central: Scalar = quantity("mg", "in plasma")
    gone: Scalar = quantity("mg", "eliminated")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "concentration")
    total: Scalar = quantity("mg", "all of the drug, wherever it is")


class Covariates(Record):
    weight: Scalar = quantity("kg", "not used")


def _linear(t: Scalar, y: State, p: Parameters) -> State:
    return State(depot=-p.ka * y.depot, central=p.ka * y.depot - p.k * y.central, gone=p.k * y.central)


def _saturable(t: Scalar, y: State, p: Parameters) -> State:
    eliminated = p.vmax * y.central / (p.km + y.central)
    return State(depot=0.0 * y.depot, central=-eliminated, gone=eliminated)


def compartment(ode: Any) -> Model:
    """One compartment that keeps what is eliminated; doses go into the depot (`oral`) or the plasma (`iv`)."""
    return Model(
        covariates=Covariates,
        parameters=Parameters,
        state=State,
        outputs=Outputs,
        time="h",
        individual=lambda p, x: p,
        initial=lambda p: State(depot=0.0, central=0.0, gone=0.0),
        ode=ode,
        observe=lambda t, y, p: Outputs(c=y.central / p.v, total=y.depot + y.central + y.gone),
        routes={"oral": Route("depot"), "iv": Route("central")},
        endpoints={},
    )


METHODS: dict[Any, str] = {"linear": "closed form", "explicit": "Tsit5", "stiff": "Rodas5P"}
LINEAR, SATURABLE = compartment(_linear), compartment(_saturable)
DOSE, EVERY, DOSES = 100.0, 12.0, 3  # mg, h
TIMES = np.array([0.5, 1, 2, 4, 8, 12, 18, 24, 30, 36, 48, 72])
SUBJECTS = Parameters(
    ka=np.array([0.4, 1.0, 2.5]),
    k=np.array([0.05, 0.1, 0.3]),
    v=np.array([10.0, 30.0, 8.0]),
    vmax=np.array([3.0, 6.0, 12.0]),
    km=np.array([5.0, 20.0, 60.0]),
)


def absorbed(t: np.ndarray) -> np.ndarray:
    """Exact concentration of the subjects after DOSES oral doses, (n, times); superposition of [1]."""
    ka, k, v = (np.asarray(a)[:, None] for a in (SUBJECTS.ka, SUBJECTS.k, SUBJECTS.v))
    found = np.zeros((3, len(t)))
    for i in range(DOSES):
        since = np.maximum(t - i * EVERY, 0.0)
        found += DOSE * ka / (v * (ka - k)) * (np.exp(-k * since) - np.exp(-ka * since))
    return found


def saturated(t: np.ndarray) -> np.ndarray:
    """Exact concentration of the subjects after one bolus, (n, times) [2]."""
    vmax, km, v = (np.asarray(a)[:, None] for a in (SUBJECTS.vmax, SUBJECTS.km, SUBJECTS.v))
    return km / v * lambertw(DOSE / km * np.exp((DOSE - vmax * t) / km)).real


def observed_order(errors: Sequence[float], tolerances: Sequence[float]) -> float:
    """The power of the tolerance that the error goes with: the slope of their logarithms."""
    return float(np.polyfit(np.log(tolerances), np.log(errors), 1)[0])


@dataclass(frozen=True)
class Verification:
    """`checks`: rows of kind, what, expected, found, tolerance, passed; `refinement`: rows by arm and quantity; `how`:
    what it was done with."""

    checks: list[dict[str, Any]]
    refinement: list[dict[str, Any]]
    how: dict[str, Any]

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [row for row in self.checks if not row["passed"]]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [row for row in self.checks if row["kind"] in kinds]


def _row(kind: str, what: str, expected: str, found: Any, tolerance: float | None, passed: bool) -> dict[str, Any]:
    return {
        "kind": kind,
        "what": what,
        "expected": expected,
        "found": found,
        "tolerance": tolerance,
        "passed": bool(passed),
    }


def _within(kind: str, what: str, expected: str, found: float, tolerance: float) -> dict[str, Any]:
    return _row(kind, what, expected, found, tolerance, math.isfinite(found) and found <= tolerance)


def analytic(how: Numerics) -> Iterator[dict[str, Any]]:
    """The engine on models whose curves are known exactly. how: back end and tolerances of the study."""
    oral = Events.of(3, action="dose", into="oral", amount=DOSE, interval=EVERY, additional=DOSES - 1)
    bolus = Events.of(3, action="dose", into="iv", amount=DOSE)
    for solver, name in METHODS.items():
        own = Numerics(solver=solver, backend=how.backend, rtol=how.rtol, atol=how.atol)
        out, _ = solve(LINEAR, SUBJECTS, oral, TIMES, numerics=own)
        allowed = CLOSED if solver == "linear" else CURVES * how.rtol
        exact = absorbed(TIMES)
        error = float(np.max(np.abs(out.c - exact)) / exact.max())
        curve = "one compartment, three oral doses"
        yield _within("analytic", f"{name}: {curve}", "the exact curve [Gibaldi & Perrier]", error, allowed)
        given = DOSE * (1 + np.minimum(np.floor((TIMES - 1e-9) / EVERY), DOSES - 1))
        lost = float(np.max(np.abs(out.total / given - 1)))
        yield _within("analytic", f"{name}: mass balance of the same", "what was given, at every time", lost, allowed)
        if solver == "linear":
            continue
        exact = saturated(TIMES)
        out, _ = solve(SATURABLE, SUBJECTS, bolus, TIMES, numerics=own)
        error = float(np.max(np.abs(out.c - exact)) / exact.max())
        what = f"{name}: saturable elimination of a bolus"
        yield _within("analytic", what, "the exact curve [Beal 1982]", error, CURVES * how.rtol)
        order = observed_order(*_errors(solver, how.backend, bolus))
        low, high = ORDERS
        what = f"{name}: power of the tolerance that its error goes with, same curve"
        passed = math.isfinite(order) and low <= order <= high
        yield _row("order", what, f"about 1, between {low:g} and {high:g}", order, None, passed)


def _errors(solver: Any, backend: Any, bolus: Events) -> tuple[list[float], list[float]]:
    """Largest errors at three tolerances."""
    tolerances, exact = [1e-5, 1e-6, 1e-7], saturated(TIMES)
    errors = []
    for tolerance in tolerances:
        own = Numerics(solver=solver, backend=backend, rtol=tolerance, atol=tolerance)
        out, _ = solve(SATURABLE, SUBJECTS, bolus, TIMES, numerics=own)
        errors.append(float(np.max(np.abs(out.c - exact))))
    return errors, tolerances


@dataclass(frozen=True)
class _Sample:
    """Some of a study's patients at the posterior mean, in whichever arm."""

    study: Study
    model: Model
    table: pl.DataFrame
    parameters: pl.DataFrame
    times: np.ndarray

    def run(self, arm: str, study: Study | None = None, rows: Any = None, threads: int = 1) -> dict[str, np.ndarray]:
        """Outputs, (n, visits); of some rows of the table."""
        table = self.table if rows is None else self.table[rows]
        return course(study or self.study, self.model, arm, table, self.parameters, self.times, threads=threads)[0]

    def affordable(self) -> "_Sample":
        """Fewer of them, where a patient's course takes very many steps."""
        arm = next(iter(self.study.arms))
        _, status = course(self.study, self.model, arm, self.table.head(1), self.parameters, self.times)
        few = max(FEWEST, STEPS // max(int(status.steps[0]), 1))
        return replace(self, table=self.table.head(few))

    def finer(self, factor: float, **changes: Any) -> Study:
        """The study with its tolerances divided."""
        plan = self.study.numerics
        own = plan.model_copy(update={"rtol": plan.rtol / factor, "atol": plan.atol / factor, **changes})
        return self.study.model_copy(update={"numerics": own})


def _sample(results: Results, n: int) -> _Sample:
    study = results.study
    model = load(study.model, study.path.parent)
    table = results.population.head(n)
    table = table.select("subject", *own_covariates(study, model, table.columns))
    table = table.with_columns(draw=pl.lit(MEAN, dtype=pl.Int32))
    at_mean = results.parameters.filter(pl.col("draw") == MEAN)
    return _Sample(study, model, table, at_mean, np.array([v.to(model.time) for v in study.visits]))


def _off(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference; infinite where one is a number and the other none."""
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return math.inf
    return float(np.max(np.abs(a - b), initial=0.0, where=~np.isnan(a)))


def refinement(sample: _Sample) -> list[dict[str, Any]]:
    """Every output and endpoint of every arm, as stated and with tolerances a tenth, against a hundredth of them. A
    model that is solved in closed form has no step: it is set beside Tsit5 at a hundredth.

    `stated` and `tenth` are differences: of outputs relative to the arm's largest value; of endpoints in their unit,
    the largest of a patient, the arm's mean, or the number of patients who change sides.
    """
    with ThreadPoolExecutor() as pool:
        arms = pool.map(lambda arm: list(_refined_arm(sample, arm)), sample.study.arms)
        return [row for rows in arms for row in rows]


def _refined_arm(sample: _Sample, arm: str) -> Iterator[dict[str, Any]]:
    study, model = sample.study, sample.model
    closed = _solver(sample) == "linear"
    finest = sample.finer(100, solver="explicit") if closed else sample.finer(100)
    reference, stated = sample.run(arm, finest), sample.run(arm)
    tenth = None if closed else sample.run(arm, sample.finer(10))
    for name, exact in reference.items():
        scale = float(np.max(np.abs(exact), initial=0.0, where=~np.isnan(exact))) or 1.0
        off = [None if out is None else _off(out[name], exact) / scale for out in (stated, tenth)]
        yield _refined(arm, name, "output, relative", "1", off, COURSES * study.numerics.rtol)
    for name, plan in study.endpoints.items():
        if plan.kind != "course":
            continue
        endpoint = model.endpoints[name]
        exact = _read(model, name, reference)
        read = [None if out is None else _read(model, name, out) for out in (stated, tenth)]
        if endpoint.binary:
            off = [None if x is None else float(np.sum(x != exact)) for x in read]
            yield _refined(arm, name, "patients who change sides", "1", off, 0.0)
            continue
        allowed = MARGIN * (plan.margin.to(endpoint.unit) if plan.margin else float(np.nanstd(exact)))
        off = [None if x is None else _off(x, exact) for x in read]
        yield _refined(arm, name, "one patient", endpoint.unit, off, allowed)
        off = [None if x is None else abs(float(np.nanmean(x) - np.nanmean(exact))) for x in read]
        yield _refined(arm, name, "mean", endpoint.unit, off, allowed)


def _read(model: Model, endpoint: str, outputs: dict[str, np.ndarray]) -> np.ndarray:
    """An endpoint of each patient, (n,)."""
    return np.asarray(model.endpoints[endpoint].reads(model.outputs(**outputs)), float)


def _refined(arm: str, name: str, of: str, unit: str, off: list[Any], allowed: float) -> dict[str, Any]:
    """off: as stated, and with tolerances a tenth, None where there are none."""
    stated, tenth = off
    row = {"arm": arm, "quantity": name, "of": of, "unit": unit, "stated": stated, "tenth": tenth}
    return row | {"allowed": allowed, "missed": not stated <= allowed}


def _solver(sample: _Sample) -> str:
    named = sample.study.numerics.solver
    return choose(sample.model) if named == "auto" else named


def _of_refinement(sample: _Sample, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One check a quantity: the arm in which it moves most."""
    closed = _solver(sample) == "linear"
    beside = "beside Tsit5 at a hundredth of its tolerances" if closed else "beside a hundredth of the tolerances"
    for name, of in dict.fromkeys((row["quantity"], row["of"]) for row in rows):
        own = [row for row in rows if (row["quantity"], row["of"]) == (name, of)]
        worst = max(own, key=lambda row: row["stated"])
        unit = "" if worst["unit"] == "1" else f", {worst['unit']}"
        what = f"{name}, {of}{unit}: largest change {beside}, in {worst['arm']}"
        yield _within("refinement", what, "none that matters", worst["stated"], worst["allowed"])
        if not closed and of.startswith("output"):
            smaller = all(row["tenth"] <= max(row["stated"], NOISE) for row in own)
            found = max(row["tenth"] for row in own)
            expected = "nearer to the finest, in every arm"
            yield _row("refinement", f"{name}: the same with tolerances a tenth", expected, found, None, smaller)


def determinism(results: Results, sample: _Sample) -> Iterator[dict[str, Any]]:
    """A patient's bits in other company, order, chunks, on more threads, and as the result folder has them."""
    arm = next((name for name, plan in sample.study.arms.items() if plan.active), next(iter(sample.study.arms)))
    n = sample.table.height
    base = sample.run(arm)
    every = list(range(n))
    alone = sorted({0, n // 2, n - 1})
    chunks = [every[i : i + 7] for i in range(0, n, 7)]
    tries = {
        f"{len(alone)} patients, each alone": (alone, [sample.run(arm, rows=[i]) for i in alone]),
        "in the opposite order": (every[::-1], [sample.run(arm, rows=every[::-1])]),
        "in chunks of seven": (every, [sample.run(arm, rows=part) for part in chunks]),
        "on two threads": (every, [sample.run(arm, threads=2)]),
    }
    for what, (rows, made) in tries.items():
        parts = {name: np.concatenate([m[name] for m in made]) for name in base}
        told = {name: values[rows] for name, values in base.items()}
        yield _same(f"{arm}: {what}", told, parts, 0.0)
    allowed = 0.0 if sample.study.numerics.backend == "native" else 1e-9
    for name in sample.study.arms:
        there = pl.read_parquet(results.arm_file(name), glob=False).filter(pl.col("draw") == MEAN)
        there = there.filter(pl.col("subject").is_in(sample.table["subject"].to_list()))
        now = sample.run(name)
        then = {k: there[k].to_numpy().reshape(-1, len(sample.times)) for k in now}
        yield _same(f"{name}: the result folder's, solved again", then, now, allowed)


def _same(what: str, a: dict[str, np.ndarray], b: dict[str, np.ndarray], allowed: float) -> dict[str, Any]:
    if all(np.ascontiguousarray(a[k]).tobytes() == np.ascontiguousarray(b[k]).tobytes() for k in a):
        return _row("determinism", what, "the same bits", "the same bits", allowed, True)
    if any(a[k].shape != b[k].shape for k in a):
        return _row("determinism", what, "the same bits", "other patients", allowed, False)
    off = max(_off(a[k], b[k]) / (float(np.nanmax(np.abs(a[k]))) or 1.0) for k in a)
    found = f"a relative difference of {off:.1e}"
    return _row("determinism", what, "the same bits", found, allowed, off <= allowed)


# Counter, key, output of Philox4x32-10 [3].
KNOWN = (
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
)


def streams() -> Iterator[dict[str, Any]]:
    for counter, key, known in KNOWN:
        words = [np.uint64(int(word, 16)) for word in (counter + " " + key).split()]
        found = " ".join(f"{int(word):08x}" for word in philox(*words))
        yield _row(
            "streams", f"Philox4x32-10 of counter {counter[:8]}…, key {key[:8]}…", known, found, None, found == known
        )


def units(results: Results) -> dict[str, Any]:
    study = results.study
    wrong = check_units(load(study.model, study.path.parent), path_of(study.model, study.path.parent).name)
    return _row("units", f"units of {study.model}", "all agree", "; ".join(wrong) or "all agree", None, not wrong)


def verify(results: Results, patients: int = SAMPLE) -> Verification:
    """Every check, on the study's first `patients` people. Errors: ResultsError where a step before it is missing."""
    sample = _sample(results, patients).affordable()
    how = numerics(results.study)
    rows = refinement(sample)
    checks = [
        *analytic(how),
        *_of_refinement(sample, rows),
        *determinism(results, sample),
        *streams(),
        units(results),
    ]
    told = {"patients": sample.table.height, "solver": _solver(sample), "rtol": how.rtol, "atol": how.atol}
    return Verification(checks, rows, told | {"backend": how.backend, "arms": len(results.study.arms)})
