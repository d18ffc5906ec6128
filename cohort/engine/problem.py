"""What is compiled: a model with the way it is solved, the places doses go to, and the rule that sets them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cohort.engine.graph import Graph
from cohort.engine.linear import Linear, linear
from cohort.engine.methods import Step, explicit_step, stiff_step
from cohort.engine.program import Dynamics, ProgramError, dynamics, path_of, record, traced
from cohort.model import Model, Rule

# Inputs of a program that change on the way; all others depend on the subject alone, until an event sets them.
ON_THE_WAY = ("t", "h", "dt")
INSIDE = ("y.", "k.", "r.", "seen.", "z.", "m.", "cycle.", "sum.", "a.", "e.")  # these prefixes


@dataclass(frozen=True)
class Problem:
    """Everything a program depends on; equal problems are compiled once.

    `targets`: routes or states that doses go into. `infused`: indices of states that something flows into. `changing`,
    `sloping`: covariates that change, in steps or along lines; `inputs`: what of the program's inputs that sets.
    """

    model: Model
    solver: str
    targets: tuple[str, ...] = ()
    infused: tuple[int, ...] = ()
    changing: tuple[str, ...] = ()
    sloping: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    rule: Rule | None = None


@dataclass(eq=False)
class Orders:
    """A rule in the graph. Inputs beside `t` and the parameters: `seen.<output>`, `z.<output>` (a standard normal for
    its measurement error) and `m.<memory>`."""

    start: dict[str, float]  # what the rule remembers at first
    memory: list[int]
    doses: dict[int, int]  # by target: the amount of each dose from now on
    rates: dict[int, int]  # by target: what flows in from now on


@dataclass(eq=False)
class Parts:
    """A problem's program, ready for a back end."""

    dynamics: Dynamics
    step: Step | None  # None: the linear solver has no step of a size
    linear: Linear | None
    into: list[int]  # by target: the state
    arrives: list[int]  # by target: the node of its bioavailability
    orders: Orders | None


@functools.lru_cache(maxsize=64)
def parts(problem: Problem) -> Parts:
    """The program of a problem, in a graph of its own: how its products are fused depends on the order of the nodes,
    and so must not depend on what else was compiled before. Errors: ProgramError."""
    model = problem.model
    d = dynamics(model, problem.changing, problem.sloping).copy()
    make = {"explicit": explicit_step, "stiff": stiff_step}.get(problem.solver)
    routes = [model.routes.get(name) for name in problem.targets]
    return Parts(
        dynamics=d,
        step=make(d, problem.infused) if make else None,
        linear=linear(d, problem.infused) if problem.solver == "linear" else None,
        into=[d.states.index(r.state if r else name) for r, name in zip(routes, problem.targets, strict=True)],
        arrives=[d.parameters[r.bioavailability] if r and r.bioavailability else d.graph.constant(1.0) for r in routes],
        orders=_orders(problem, d) if problem.rule else None,
    )


def decides(model: Model, rule: Rule) -> tuple[set[str], set[str]]:
    """The routes whose doses a rule sets, and those whose rates it sets."""
    made = _decision(Graph(), model, rule)
    return ({n.removeprefix("dose.") for n in made if n.startswith("dose.")},
            {n.removeprefix("rate.") for n in made if n.startswith("rate.")})  # fmt: skip


def _decision(graph: Graph, model: Model, rule: Rule) -> dict[str, int]:
    def decide(v: Mapping[str, Any]) -> dict[str, Any]:
        decision = rule.decide(v["t"], record(model.outputs, "seen.", v), record(rule.memory, "m.", v))
        return (
            {f"m.{n}": value for n, value in vars(decision.memory).items()}
            | {f"dose.{n}": value for n, value in decision.doses.items()}
            | {f"rate.{n}": value for n, value in decision.rates.items()}
        )

    names = ["t", *(f"seen.{n}" for n in model.outputs.fields()), *(f"m.{n}" for n in rule.memory.fields())]
    return traced(graph, decide, names, path_of(model), "decide")


def _orders(problem: Problem, d: Dynamics) -> Orders:
    """The rule, seeing what was measured: each output with its error; a percentage of baseline is of the value at
    time 0, untreated."""
    rule, g = problem.rule, d.graph
    assert rule is not None
    scratch = Graph()
    made = _decision(scratch, problem.model, rule)
    seen = {}
    untreated = {"t": g.constant(0.0)} | {f"y.{s}": node for s, node in zip(d.states, d.initial, strict=True)}
    baselines = g.replay(d.observe, g, untreated)
    for (name, meta), baseline in zip(problem.model.outputs.fields().items(), baselines, strict=True):
        error, value = meta["error"], g.input(f"seen.{name}")

        def size(part: float | str) -> int:
            return d.parameters[part] if isinstance(part, str) else g.constant(part)

        if error.precision:
            raise ProgramError(
                f"{path_of(problem.model)}: {name} has a beta_error, which a rule cannot be shown; give the rule an "
                "output of its own with another error"
            )
        if error.logarithmic:
            factor = g.apply("exp", g.apply("mul", size(error.logarithmic), g.input(f"z.{name}")))
            seen[f"seen.{name}"] = g.apply("mul", value, factor)
            continue
        proportional = g.apply("mul", size(error.proportional), value)
        variance = g.apply("add", g.power(size(error.additive), 2), g.power(proportional, 2))
        of_baseline = g.apply("mul", g.apply("mul", size(error.baseline), g.constant(0.01)), baseline)
        variance = g.apply("add", variance, g.power(of_baseline, 2))
        noise = g.apply("mul", g.apply("sqrt", variance), g.input(f"z.{name}"))
        seen[f"seen.{name}"] = g.apply("add", value, noise)
    nodes = dict(zip(made, scratch.replay(list(made.values()), g, seen), strict=True))
    where = {name: k for k, name in enumerate(problem.targets)}
    return Orders(
        start={f"m.{n}": float(value) for n, value in vars(rule.memory()).items()},
        memory=[nodes[f"m.{n}"] for n in rule.memory.fields()],
        doses={where[n.removeprefix("dose.")]: k for n, k in nodes.items() if n.startswith("dose.")},
        rates={where[n.removeprefix("rate.")]: k for n, k in nodes.items() if n.startswith("rate.")},
    )
