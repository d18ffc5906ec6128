"""A model as one straight-line program of scalars: what every solver and every back end runs.

Each function of a model is traced once by JAX, on scalars, and written down as a graph in which equal expressions are
one node. Divisions become products with reciprocals, so that one division serves all that share a denominator.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cohort import trace
from cohort.engine.graph import TRUTHS, Graph
from cohort.model import Model, Record

# What stands in the same place but is not offered, and what to write for it.
INSTEAD = {
    "cbrt": "x ** (1 / 3)",
    "exp2": "jnp.exp(x * log 2)",
    "erf": "a logistic or tanh",
    "atan2": "the ratio it is taken of",
    "log2": "jnp.log(x) / math.log(2)",
    "tan": "jnp.sin(x) / jnp.cos(x)",
    "sinh": "(jnp.exp(x) - jnp.exp(-x)) / 2",
    "cosh": "(jnp.exp(x) + jnp.exp(-x)) / 2",
    "while": "a fixed formula, or a state of its own",
    "scan": "the terms one by one",
    "dot_general": "the sum of products, term by term",
    "reduce_sum": "the sum, term by term",
    "concatenate": "one scalar per quantity",
    "stack": "one scalar per quantity",
}


class ProgramError(ValueError):
    """A model that does not become a program of scalars; the message names the line and what to write instead."""


def traced(
    graph: Graph,
    f: Callable[..., Any],
    inputs: Sequence[str],
    path: str = "",
    where: str = "",
    whole: Iterable[str] = (),
) -> dict[str, int]:
    """`f`, a function of a mapping of scalars to a Record or mapping of them, written into the graph.

    `whole`: inputs that are whole numbers (the levels of categories). Returns the node of each output, by name.
    Errors: ProgramError naming every line whose operation is not one of scalars.
    """
    wrong: list[str] = []

    def constant(value: Any) -> Any:
        value = np.asarray(value)
        return graph.constant(value.item()) if value.ndim == 0 else value

    def rule(equation: Any, given: list, within: tuple) -> Any:
        if any(isinstance(g, int) and graph.name(g) == "nothing" for g in given):
            return graph.input("nothing")  # follows from what was named already
        try:
            return _rule(graph, equation, given)
        except NotImplementedError as e:
            name = str(e) or equation.primitive.name
            advice = f"; write {INSTEAD[name]} instead" if name in INSTEAD else ""
            place = f"{path}:{trace.line_of((equation, *within), path)}"
            wrong.append(f"{place}  {where}: {name} is not an operation of scalars that the engine has{advice}")
            return graph.input("nothing")

    example = {name: 1 if name in set(whole) else 1.0 for name in inputs}
    made = trace.walk(f, {name: graph.input(name) for name in inputs}, rule, constant, example)
    if wrong:
        raise ProgramError("\n".join(dict.fromkeys(wrong)))
    one, zero = graph.constant(1.0), graph.constant(0.0)
    return {  # an answer yes or no is a number, as anywhere outside a program
        name: graph.apply("select", node, one, zero) if graph.nodes[node][0] in TRUTHS else node
        for name, node in made.items()
    }


def _rule(graph: Graph, equation: Any, given: list) -> Any:
    """One equation of JAX's program as nodes; arrays of constants (look-up tables) stay arrays."""
    name, params, apply = equation.primitive.name, equation.params, graph.apply
    if name in ("dynamic_slice", "gather"):
        return _look_up(graph, name, params, given)
    if any(isinstance(g, np.ndarray) for g in given) or any(v.aval.size > 1 for v in equation.outvars):
        values = [g if isinstance(g, np.ndarray) else graph.value(g) for g in given]
        if any(v is None for v in values):
            raise NotImplementedError
        kinds = [v.aval.dtype for v in equation.invars]
        made = np.asarray(equation.primitive.bind(*map(jnp.asarray, values, kinds), **params))
        return graph.constant(made.item()) if made.size == 1 else made
    a, b, *_ = [*given, None, None]
    truths = equation.invars and np.issubdtype(equation.invars[-1].aval.dtype, np.bool_)
    match name:
        case "min" | "max" if truths:
            return apply({"min": "and", "max": "or"}[name], a, b)
        case "eq" | "ne" if truths:
            return graph.differ(a, b) if name == "ne" else apply("not", graph.differ(a, b))
        case "select_n" | "cond" if truths and np.issubdtype(equation.outvars[0].aval.dtype, np.bool_):
            which, *choices = given
            made = choices[-1]
            for k in reversed(range(len(choices) - 1)):
                first = _is_first(graph, equation, which, k)
                made = apply("or", apply("and", first, choices[k]), apply("and", apply("not", first), made))
            return made
        case "add" | "add_any":
            return apply("add", a, b)
        case "gt" | "ge":
            return apply({"gt": "lt", "ge": "le"}[name], b, a)
        case "sub" | "mul" | "div" | "lt" | "le" | "eq" | "ne" | "min" | "max" | "pow" | "neg" | "abs" | "sqrt" | "exp":
            if name == "div" and np.issubdtype(equation.outvars[0].aval.dtype, np.integer):
                return apply("trunc", apply("quotient", a, b))
            return apply(name, *given)
        case "log" | "log1p" | "expm1" | "tanh" | "sin" | "cos" | "floor" | "ceil":
            return apply(name, a)
        case "round":
            if int(params["rounding_method"]) == 0:  # halves away from zero
                half = apply("floor", apply("add", apply("abs", a), graph.constant(0.5)))
                return apply("select", apply("lt", a, graph.constant(0.0)), apply("neg", half), half)
            return apply("round", a)
        case "sign":
            zero = graph.constant(0.0)
            down = apply("select", apply("lt", a, zero), graph.constant(-1.0), a)
            return apply("select", apply("lt", zero, a), graph.constant(1.0), down)
        case "rem":
            return apply("rem", a, b)
        case "square":
            return graph.power(a, 2)
        case "one_minus_square":  # in factors, which keep their digits near 1
            one = graph.constant(1.0)
            return apply("mul", apply("add", one, a), apply("sub", one, a))
        case "integer_pow":
            return graph.power(a, params["y"])
        case "rsqrt":
            return apply("inverse", apply("sqrt", a))
        case "logistic":
            return apply("inverse", apply("add", graph.constant(1.0), apply("exp", apply("neg", a))))
        case "and" | "or" | "not":
            if equation.outvars[0].aval.dtype != bool:
                raise NotImplementedError(f"{name} of bits")
            return apply(name, *given)
        case "is_finite":
            zero = apply("sub", a, a)  # not a number unless finite; kept a node, for x - x is no zero here
            return apply("eq", zero, zero)
        case "clamp":
            return apply("min", apply("max", b, a), given[2])
        case "select_n" | "cond":
            which, *choices = given
            made = choices[-1]
            for k in reversed(range(len(choices) - 1)):
                made = apply("select", _is_first(graph, equation, which, k), choices[k], made)
            return made
        case "convert_element_type":
            before, after = equation.invars[0].aval.dtype, params["new_dtype"]
            was, becomes = (np.issubdtype(kind, np.bool_) for kind in (before, after))
            if was and not becomes:
                return apply("select", a, graph.constant(1.0), graph.constant(0.0))
            if becomes and not was:
                return apply("ne", a, graph.constant(0.0))
            if np.issubdtype(before, np.floating) and np.issubdtype(after, np.integer):
                return apply("trunc", a)
            return a
        case "stop_gradient" | "copy" | "copy_p" | "broadcast_in_dim" | "reshape" | "squeeze" | "expand_dims":
            return a
        case "reduce_precision" | "optimization_barrier":
            return a
        case _:
            raise NotImplementedError


def _is_first(graph: Graph, equation: Any, which: int, k: int) -> int:
    """Whether a choice, by a truth or by a number, is one of those up to `k`."""
    if np.issubdtype(equation.invars[0].aval.dtype, np.bool_):
        return graph.apply("not", which)
    return graph.apply("lt", which, graph.constant(k + 0.5))


def _look_up(graph: Graph, name: str, params: Mapping[str, Any], given: list) -> int:
    """table[category] as selects, the index held within the table as JAX does."""
    table, *indices = given
    plain = isinstance(table, np.ndarray) and not any(isinstance(i, np.ndarray) for i in indices)
    if not plain or any(size != 1 for size in params["slice_sizes"]) or len(indices) != table.ndim:
        raise NotImplementedError(f"{name} of anything but one value of a constant table")

    def choose(part: np.ndarray, rest: list[int]) -> int:
        if part.ndim == 0:
            return graph.constant(part.item())
        made = choose(part[-1], rest[1:])
        for k in reversed(range(len(part) - 1)):
            below = graph.apply("lt", rest[0], graph.constant(k + 0.5))
            made = graph.apply("select", below, choose(part[k], rest[1:]), made)
        return made

    return choose(table, indices)


@dataclass(eq=False)
class Dynamics:
    """A model's functions in one graph.

    Inputs are named `t`, `y.<state>` and `p.<parameter>`; with covariates that change, also what `individual` reads.
    """

    graph: Graph
    states: tuple[str, ...]
    outputs: tuple[str, ...]
    initial: list[int]
    rates: list[int]  # dy/dt
    observe: list[int]
    parameters: dict[str, int]  # the node of every parameter: an input, or a formula of covariates that change
    jacobian: dict[tuple[int, int], int]  # d rates[i] / d y[j], structural zeros left out
    by_time: list[int]  # d rates[i] / d t

    def copy(self) -> "Dynamics":
        """The same in a new graph, whose nodes are numbered by these functions alone."""
        graph = Graph()

        def moved(nodes: Iterable[int]) -> list[int]:
            return self.graph.replay(list(nodes), graph, {})

        return Dynamics(
            graph=graph,
            states=self.states,
            outputs=self.outputs,
            initial=moved(self.initial),
            rates=moved(self.rates),
            observe=moved(self.observe),
            parameters=dict(zip(self.parameters, moved(self.parameters.values()), strict=True)),
            jacobian=dict(zip(self.jacobian, moved(self.jacobian.values()), strict=True)),
            by_time=moved(self.by_time),
        )

    @property
    def linear(self) -> bool:
        """Whether the states follow y' = K y + b, with K and b constant between events."""
        return "t" not in self.graph.inputs(self.rates) and _affine(self.graph, self.rates)

    @property
    def accumulating(self) -> tuple[int, ...]:
        """States that only add up, an AUC or an amount eliminated: no rate depends on them."""
        read = set(self.graph.inputs(self.rates))
        return tuple(i for i, s in enumerate(self.states) if f"y.{s}" not in read)


def _affine(graph: Graph, wanted: Sequence[int]) -> bool:
    """Whether nodes are sums of states times what does not depend on any. Derivatives do not tell: a step has none."""
    degree: dict[int, int] = {}
    for node in graph.reached(wanted):
        op, *args = graph.nodes[node]
        degrees = [degree[a] for a in graph.arguments(node)]
        if op == "input":
            degree[node] = int(args[0].startswith("y."))
        elif op == "mul":
            degree[node] = sum(degrees)
        elif op in ("add", "sub", "neg") or (op == "select" and degrees[0] == 0):
            degree[node] = max(degrees)
        else:
            degree[node] = 2 if any(degrees) else 0
    return all(degree[node] < 2 for node in wanted)


def path_of(model: Model) -> str:
    return str(model.recipe[1][0]) if model.recipe else model.name or "model"


def record(kind: type[Record], prefix: str, values: Mapping[str, Any]) -> Any:
    return kind(**{name: values[prefix + name] for name in kind.fields()})


@functools.lru_cache(maxsize=64)
def dynamics(model: Model, changing: tuple[str, ...] = (), sloping: tuple[str, ...] = ()) -> Dynamics:
    """Trace a model. `changing`: covariates that change over time, in steps; those also in `sloping`, along lines.

    The parameters `p.*` are then those before covariates, and every covariate is an input `x.*`; a sloping one has the
    value `x.* + s.* (t - since)`. Errors: ProgramError.
    """
    graph, path = Graph(), path_of(model)
    states, parameters = [f"y.{n}" for n in model.state.fields()], [f"p.{n}" for n in model.parameters.fields()]
    names = ["t", *states, *parameters]

    def y_of(v: Mapping[str, Any]) -> Any:
        return record(model.state, "y.", v)

    def p_of(v: Mapping[str, Any]) -> Any:
        return record(model.parameters, "p.", v)

    p = {n: graph.input(n) for n in parameters}
    if changing:
        levels = {f"x.{n}" for n, m in model.covariates.fields().items() if m["levels"]}
        x_names = [f"x.{n}" for n in model.covariates.fields()]

        def individual(v: Mapping[str, Any]) -> Any:
            return model.individual(p_of(v), record(model.covariates, "x.", v))

        made = traced(graph, individual, [*parameters, *x_names], path, "individual", levels)
        elapsed = graph.apply("sub", graph.input("t"), graph.input("since"))
        lines = {
            f"x.{n}": graph.apply("add", graph.input(f"x.{n}"), graph.apply("mul", graph.input(f"s.{n}"), elapsed))
            for n in sloping
        }
        p = {f"p.{n}": node for n, node in zip(made, graph.replay(list(made.values()), graph, lines), strict=True)}

    scratch = Graph()  # the functions of parameters as such, before these are replaced by their formulae

    def part(where: str, f: Callable[..., Any], inputs: list[str], fields: Iterable[str]) -> list[int]:
        made = traced(scratch, f, inputs, path, where)
        return scratch.replay([made[n] for n in fields], graph, p)

    def slope(v: Mapping[str, Any]) -> Any:
        def rates(y: Any, t: Any) -> Any:
            return jax.tree.map(lambda a: jnp.asarray(a, float), model.ode(t, y, p_of(v)))

        return jax.jvp(rates, (y_of(v), v["t"]), (record(model.state, "d.", v), v["dt"]))[1]

    wrong: list[str] = []

    def attempt(*arguments: Any) -> list[int]:
        try:
            return part(*arguments)
        except ProgramError as e:
            wrong.append(str(e))
            return []

    initial = attempt("initial", lambda v: model.initial(p_of(v)), parameters, model.state.fields())
    rates = attempt("ode", lambda v: model.ode(v["t"], y_of(v), p_of(v)), names, model.state.fields())
    seen = attempt("observe", lambda v: model.observe(v["t"], y_of(v), p_of(v)), names, model.outputs.fields())
    if wrong:
        raise ProgramError("\n".join(wrong))
    tangents = [f"d.{n}" for n in model.state.fields()]
    along = traced(scratch, slope, [*names, *tangents, "dt"], path, "ode")
    zero = graph.constant(0.0)

    def column(direction: str) -> list[int]:
        """One column of the Jacobian: the tangent along one direction, the others structurally zero."""
        unit = {n: graph.constant(float(n == direction)) if n == direction else zero for n in (*tangents, "dt")}
        return scratch.replay([along[n] for n in model.state.fields()], graph, p | unit)

    jacobian = {
        (i, j): node
        for j, direction in enumerate(tangents)
        for i, node in enumerate(column(direction))
        if graph.value(node) != 0
    }
    by_time = _by_time(graph, rates) if sloping else column("dt")  # along lines, time moves the parameters too
    return Dynamics(
        graph=graph,
        states=tuple(model.state.fields()),
        outputs=tuple(model.outputs.fields()),
        initial=initial,
        rates=rates,
        observe=seen,
        parameters={n.removeprefix("p."): node for n, node in p.items()},
        jacobian=jacobian,
        by_time=by_time,
    )


def _by_time(graph: Graph, rates: list[int]) -> list[int]:
    """d rates / d t, also through covariates that change along lines, by JAX from the graph itself."""
    inputs = sorted({"t", *graph.inputs(rates)})

    def along(v: Mapping[str, Any]) -> dict[str, Any]:
        def f(t: Any) -> list[Any]:
            return [jnp.asarray(a, float) for a in graph.evaluate(rates, {**v, "t": t})]

        return {str(i): a for i, a in enumerate(jax.jvp(f, (v["t"],), (1.0,))[1])}

    made = traced(graph, along, inputs)
    return [made[str(i)] for i in range(len(rates))]
