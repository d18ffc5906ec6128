"""Solving a model for many patients: the one door to solvers.

A model is traced once to a program of scalars (`program`), its events become a plan of actions (`schedule`), and a back
end walks the plan for every patient: `native`, machine code for several patients at once, or `xla`, the same through
JAX. Three ways to go from one action to the next: in closed form where the model is linear (`linear`), by Tsit5 where
nothing is stiff, by Rodas5P where something is (`methods`).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from cohort.dosing.covariates import CovariateCourse
from cohort.dosing.records import Events
from cohort.engine import native, schedule, xla
from cohort.engine.problem import Problem, decides
from cohort.engine.program import Dynamics, ProgramError, dynamics, path_of
from cohort.engine.schedule import Plan
from cohort.engine.solved import CODES, FINISHED, IMPLAUSIBLE, NOT_FINITE, Solved
from cohort.model import Model, Record, Rule

__all__ = ["CODES", "Numerics", "Status", "choose", "described", "differentiable", "solve"]

STIFF = 100.0  # rates that differ by more make an explicit method take steps for stability's sake
LARGEST = 8  # states of a linear model that are worth a matrix exponential written out


@dataclass(frozen=True)
class Numerics:
    """How to solve. `solver`: *auto* looks at the program (`choose`). `most`: steps between two events."""

    solver: Literal["auto", "linear", "explicit", "stiff"] = "auto"
    backend: Literal["native", "xla"] = "native"
    rtol: float = 1e-8
    atol: float = 1e-8
    most: int = 100_000

    def __post_init__(self) -> None:
        if not (self.rtol > 0 and self.atol > 0 and self.most > 0):
            raise ValueError(f"rtol {self.rtol}, atol {self.atol}, most {self.most}: write numbers above 0")


@dataclass(frozen=True)
class Status:
    """How each patient's solve ended: an index into CODES; when, and in which state or output, it was first seen to
    have gone wrong."""

    code: np.ndarray  # (n,)
    time: np.ndarray  # (n,), NaN where finished
    state: np.ndarray  # (n,), "" where finished
    steps: np.ndarray  # (n,)


@functools.lru_cache(maxsize=256)
def choose(model: Model) -> str:
    """The solver for a model, by its program and its typical subject: *linear* where the states follow y' = K y + b,
    *stiff* where rates at the start, or with one unit in every state, differ more than a hundredfold, else *explicit*.

    It depends on the model alone, so that a patient has the same solver in any study; a study may name another.
    """
    d = dynamics(model)
    if d.linear and len(d.states) <= LARGEST:
        return "linear"
    p = {f"p.{name}": value for name, value in model.typical().items() if "." not in name}
    start = [float(a) for a in d.graph.evaluate(d.initial, p)]
    ratios = [_spread(d, p, start), _spread(d, p, [a + 1.0 for a in start])]
    return "stiff" if max(ratios) > STIFF else "explicit"


def described(model: Model, numerics: Numerics) -> str:
    """The way of solving in words, for the record. Errors: ProgramError for a model that cannot be solved so."""
    solver = choose(model) if numerics.solver == "auto" else numerics.solver
    if solver == "linear" and not dynamics(model).linear:
        raise _not_linear(model)
    method = {"linear": "closed form", "explicit": "Tsit5", "stiff": "Rodas5P"}[solver]
    accuracy = "" if solver == "linear" else f", rtol {numerics.rtol:g}, atol {numerics.atol:g}"
    chosen = "chosen by the program" if numerics.solver == "auto" else "named in the study"
    return f"{method} ({chosen}), {numerics.backend} back end{accuracy}, float64"


def _not_linear(model: Model) -> ProgramError:
    return ProgramError(f"{path_of(model)} is not linear; write solver: auto, explicit or stiff")


def _spread(d: Dynamics, p: dict[str, float], y: Sequence[float]) -> float:
    """The fastest rate of the Jacobian by the slowest that is not nothing."""
    inputs = p | {"t": 0.0} | {f"y.{n}": value for n, value in zip(d.states, y, strict=True)}
    jacobian = np.zeros((len(y), len(y)))
    for place, value in zip(d.jacobian, d.graph.evaluate(list(d.jacobian.values()), inputs), strict=True):
        jacobian[place] = float(value)
    rates = np.abs(np.linalg.eigvals(jacobian)) if np.isfinite(jacobian).all() else np.ones(1)
    rates = rates[rates > 1e-9 * max(rates.max(initial=0.0), 1e-300)]
    return rates.max(initial=1.0) / rates.min(initial=np.inf) if len(rates) else 1.0


def solve(
    model: Model,
    p: Record,
    events: Events,
    times: Sequence[float] | np.ndarray | None = None,
    *,
    numerics: Numerics = Numerics(),
    covariates: CovariateCourse | None = None,
    rule: Rule | None = None,
    noise: np.ndarray | None = None,
    threads: int = 1,
) -> tuple[Any, Status]:
    """Solve for n patients.

    `p`: the model's parameters, arrays of (n,); with `covariates`, those before any covariate, which the model's
    `individual` then applies at every time. `times`: when they are observed, (visits,), ascending, or (n, visits)
    padded with NaN, in the model's unit of time; None where `events` hold *observe* rows. An observation in `times`
    comes before a dose at its time; in `events` the order of the rows decides. `rule`: sets doses at the *decide* rows
    of `events`, seeing outputs with the measurement error `noise`, standard normals of (n, decisions, outputs), none if
    left out. A course begins, in the model's initial state, at its first record or visit; the columns of *observe* rows
    are in the order of these rows.

    Returns Outputs of (n, visits), NaN at every visit of a patient who failed, and a Status. A patient's numbers depend
    on nothing but that patient. Errors: ProgramError for a model that is no program of scalars, ValueError for events,
    times or covariates that cannot be.
    """
    n = len(events)
    values = {f"p.{name}": np.broadcast_to(np.asarray(value, float), n) for name, value in vars(p).items()}
    values |= _covariates(covariates, n)
    at = None if times is None else np.asarray(times, dtype=float)
    if at is not None and not at.size and n:
        raise ValueError("there are no times; write at least one")
    problem, plan = _posed(model, values, events, at, numerics, covariates, rule)
    if noise is not None:
        noise = np.asarray(noise, dtype=float)
        if noise.ndim != 3 or noise.shape[1] < plan.decisions or noise.shape[::2] != (n, len(model.outputs.fields())):
            raise ValueError(
                f"noise has the shape {noise.shape}; write {n} subjects, at least {plan.decisions} decisions, "
                f"{len(model.outputs.fields())} outputs"
            )
        noise = noise[:, : plan.decisions]  # none of what is decided after the last observation
    back_end = {"native": native, "xla": xla}[numerics.backend]
    solved = back_end.run(problem, values, plan, noise, numerics.rtol, numerics.atol, numerics.most, threads)
    at = plan.observed_at if at is None else at
    assert at is not None
    return _judged(model, solved, np.broadcast_to(at, (n, plan.visits)))


def differentiable(
    model: Model,
    events: Events,
    times: Sequence[float] | np.ndarray,
    *,
    numerics: Numerics = Numerics(backend="xla"),
) -> Callable[[Any], Any]:
    """A function from Parameters, single values or arrays of (n,), to Outputs of (n, visits), through the xla back end:
    for `jax.jvp`, `jax.jacfwd` and `jax.vmap`. What it differentiates is the computed solution, its steps held fixed.

    Errors: ValueError where the times of doses depend on parameters, for these would not be differentiated.
    """

    def moves(parameter: str, *_: Any) -> np.ndarray:
        raise ValueError(f"when doses enter depends on the parameter {parameter}; its derivative is not offered")

    problem, plan = _posed(model, {}, events, np.asarray(times, dtype=float), numerics, None, None, moves)
    return xla.differentiable(problem, plan, numerics.rtol, numerics.atol, numerics.most)


def _covariates(covariates: CovariateCourse | None, n: int) -> dict[str, np.ndarray]:
    """The program's inputs from covariates at the start."""
    if covariates is None:
        return {}
    covariates.check()
    if len(covariates) != n:
        raise ValueError(f"events are of {n} subjects, covariates of {len(covariates)}")
    values = {f"x.{name}": np.asarray(value, float) for name, value in vars(covariates.start).items()}
    return values | {f"s.{name}": np.zeros(n) for name in covariates.linear} | {"since": np.zeros(n)}


def _posed(
    model: Model,
    values: Mapping[str, np.ndarray],
    events: Events,
    at: np.ndarray | None,
    numerics: Numerics,
    covariates: CovariateCourse | None,
    rule: Rule | None,
    value_of: Callable[..., np.ndarray] | None = None,
) -> tuple[Problem, Plan]:
    """What to compile, and what happens to whom. It does not ask whose covariates change, so that a patient's program
    is the same in any company."""
    changing = tuple(sorted(model.covariates.fields())) if covariates is not None else ()
    sloping = tuple(sorted(covariates.linear)) if covariates is not None else ()
    program = dynamics(model, changing, sloping)
    value_of = value_of or _ValueOf(program, values, covariates, sloping, _first(events, at))
    plan = schedule.plan(model, len(events), events, at, value_of, covariates)
    plan, infused = _with_rule(model, plan, rule)
    solver = choose(model) if numerics.solver == "auto" else numerics.solver
    if solver == "linear" and not program.linear:
        if numerics.solver == "linear":
            raise _not_linear(model)
        solver = "explicit"  # a covariate along a line moves the coefficients
    return Problem(model, solver, plan.targets, infused, changing, sloping, plan.inputs, rule), plan


@dataclass(frozen=True)
class _ValueOf:
    """The value of a parameter for some subjects at some times."""

    dynamics: Dynamics
    values: Mapping[str, np.ndarray]
    covariates: CovariateCourse | None
    sloping: tuple[str, ...]
    begin: np.ndarray  # (n,), each subject's first record

    def __call__(self, parameter: str, subjects: np.ndarray, at: np.ndarray) -> np.ndarray:
        d = self.dynamics
        node = d.parameters[parameter]
        inputs = {name: self.values[name][subjects] for name in d.graph.inputs([node]) if name in self.values}
        if self.covariates is not None:
            now = self.covariates.at(subjects, at, self.begin[subjects])
            inputs |= {f"x.{name}": value for name, value in now.items()}
            inputs |= {f"s.{name}": np.zeros(len(at)) for name in self.sloping} | {"t": at, "since": at}
        made = d.graph.evaluate([node], inputs)[0]
        return np.broadcast_to(np.asarray(made, float), np.shape(subjects))


def _first(events: Events, times: np.ndarray | None) -> np.ndarray:
    """The time of each subject's first record or visit, (n,)."""
    first = np.full(int(events.course.max(initial=0)) + 1, np.inf)
    np.minimum.at(first, events.rows["course"].to_numpy(), events.rows["time"].to_numpy())
    seen = np.inf if times is None else np.where(np.isnan(times), np.inf, times).min(axis=-1, initial=np.inf)
    return np.minimum(first[events.course], seen)


_DOSING = (schedule.ADD, schedule.RATE)


def _with_rule(model: Model, plan: Plan, rule: Rule | None) -> tuple[Plan, tuple[int, ...]]:
    """The plan with the places that a rule doses among its targets."""
    if rule is None:
        return plan, plan.infused
    doses, rates = decides(model, rule)
    wrong = [
        f"the rule doses {name!r}; the routes are {', '.join(model.routes)}"
        for name in sorted((doses | rates) - set(model.routes))
    ]
    kinds = {code: {plan.targets[k] for k in np.unique(plan.slot[plan.code == code])} for code in _DOSING}
    wrong += [
        f"the rule sets doses by {name!r}, which are infusions; set their rate, or write doses without `over`"
        for name in sorted(doses & kinds[schedule.RATE])
    ]
    given = kinds[schedule.ADD] | kinds[schedule.RATE]
    wrong += [
        f"the rule sets doses by {name!r}, which nobody is given; schedule them, or set a rate"
        for name in sorted((doses & set(model.routes)) - given)
    ]
    if wrong:
        raise ProgramError("\n".join(wrong))
    targets = tuple(sorted({*plan.targets, *doses, *rates}))
    places = np.array([targets.index(name) for name in plan.targets], dtype=np.int64)
    moved = np.isin(plan.code, _DOSING)
    slot = plan.slot.copy()
    slot[moved] = places[slot[moved]] if len(places) else slot[moved]
    states = list(model.state.fields())
    infused = tuple(sorted({*plan.infused, *(states.index(model.routes[name].state) for name in rates)}))
    return replace(plan, targets=targets, slot=slot), infused


def _judged(model: Model, solved: Solved, at: np.ndarray) -> tuple[Any, Status]:
    """Outputs, and how it ended: what is not finite, or is finite nonsense, fails its patient too."""
    code, when = solved.code, solved.time
    names = np.array(["", *model.state.fields(), *model.outputs.fields()], dtype=object)
    where = np.where(code == FINISHED, 0, solved.state + 1)
    judged = np.zeros(len(code))
    for k, meta in enumerate(model.outputs.fields().values()):
        if not solved.suspect:
            break  # all is well, as it mostly is
        low, high = meta["plausible"]
        seen = solved.out[k]
        bad = (~np.isfinite(seen) | (seen < low) | (seen > high)) & ~np.isnan(at)  # where there was a visit
        hit = np.flatnonzero(bad.any(axis=1) & ((code == FINISHED) | (judged > 0)))
        first = bad[hit].argmax(axis=1)
        sooner = (judged[hit] == 0) | (at[hit, first] < when[hit])  # what was wrong first is told
        hit, first = hit[sooner], first[sooner]
        code[hit] = np.where(np.isfinite(seen[hit, first]), IMPLAUSIBLE, NOT_FINITE)
        when[hit], where[hit], judged[hit] = at[hit, first], 1 + len(model.state.fields()) + k, 1
    if (code != FINISHED).any():
        solved.out[:, code != FINISHED] = np.nan
    outputs = model.outputs(**dict(zip(model.outputs.fields(), solved.out, strict=True)))
    return outputs, Status(code, when, names[where], solved.steps)
