"""A model as a program of scalars: what JAX's operations become, what is refused, derivatives, and what is linear."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import curves
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort import library
from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.engine.graph import Graph
from cohort.engine.program import ProgramError, dynamics, traced
from cohort.model import Model

ROOT = Path(__file__).resolve().parents[2]


def value(f: Callable[..., Any], **given: float) -> float:
    """What the program of `f`, a function of scalars, makes of numbers."""
    graph = Graph()
    made = traced(graph, lambda v: {"it": f(**v)}, list(given))
    return float(graph.evaluate([made["it"]], given)[0])


# --- what JAX's operations become ------------------------------------------------------------------------------------

DAY = 24.0
DOSES = np.array([10.0, 20.0, 40.0])
BY_TWO = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

# By name: what a model may write, and the same in NumPy.
FORMULAE: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "functions within functions": (
        lambda x, y: jax.jit(lambda a: a * jax.jit(jnp.exp)(a))(x) + y,
        lambda x, y: x * np.exp(x) + y,
    ),
    "a choice between two branches": (
        lambda x, y: jax.lax.cond(x > 0.2, lambda a: a * y, lambda a: a - y, x),
        lambda x, y: x * y if x > 0.2 else x - y,
    ),
    "a choice among three branches": (
        lambda x, y: jax.lax.switch(jnp.floor(x).astype(int), [lambda a: a, lambda a: 10 * a, lambda a: a * a], y),
        lambda x, y: [y, 10 * y, y * y][int(np.clip(np.floor(x), 0, 2))],
    ),
    "where": (lambda x, y: jnp.where(x < y, x, 2 * y), lambda x, y: np.where(x < y, x, 2 * y)),
    "select": (lambda x, y: jax.lax.select(x < y, x, 2 * y), lambda x, y: np.where(x < y, x, 2 * y)),
    "whole powers": (lambda x, y: x**2 + y**3 - x**7, lambda x, y: x**2 + y**3 - x**7),
    "a whole negative power": (lambda x, y: (x + 4) ** -3, lambda x, y: (x + 4) ** -3.0),
    "a broken power": (lambda x, y: jnp.abs(x) ** 1.7 + jnp.abs(x) ** 0.5, lambda x, y: abs(x) ** 1.7 + abs(x) ** 0.5),
    "a power of a power": (lambda x, y: jnp.abs(x) ** y, lambda x, y: abs(x) ** y),
    "a logistic": (lambda x, y: jax.nn.sigmoid(x * y), lambda x, y: 1 / (1 + np.exp(-x * y))),
    "softplus": (lambda x, y: jax.nn.softplus(x), lambda x, y: np.logaddexp(x, 0)),
    "log-sum": (lambda x, y: jnp.logaddexp(x, y), lambda x, y: np.logaddexp(x, y)),
    "time of day": (lambda x, y: jnp.mod(x, y), lambda x, y: np.mod(x, y)),
    "remainder": (lambda x, y: jnp.fmod(x, y), lambda x, y: np.fmod(x, y)),
    "whole days": (lambda x, y: 7 * x // y, lambda x, y: np.floor_divide(7 * x, y)),
    "clip": (lambda x, y: jnp.clip(x, -0.5, 1.0), lambda x, y: np.clip(x, -0.5, 1.0)),
    "smallest and largest": (
        lambda x, y: jnp.minimum(x, y) - 3 * jnp.maximum(x, 1.0),
        lambda x, y: min(x, y) - 3 * max(x, 1.0),
    ),
    "roots and squares": (
        lambda x, y: jnp.sqrt(jnp.square(x)) + jax.lax.rsqrt(y * y + 1),
        lambda x, y: abs(x) + 1 / np.sqrt(y * y + 1),
    ),
    "rounding": (
        lambda x, y: jnp.floor(x) + 3 * jnp.ceil(x) + 9 * jnp.round(x) + 27 * jnp.trunc(x) + 81 * jax.lax.round(x),
        lambda x, y: (
            np.floor(x) + 3 * np.ceil(x) + 9 * np.round(x) + 27 * np.trunc(x) + 81 * np.sign(x) * np.floor(abs(x) + 0.5)
        ),
    ),
    "a sign": (lambda x, y: jnp.sign(x) + 2 * jnp.abs(x), lambda x, y: np.sign(x) + 2 * abs(x)),
    "exponentials and logarithms": (
        lambda x, y: jnp.exp(x) + jnp.log(jnp.abs(y)) + jnp.expm1(x) * jnp.log1p(jnp.abs(x)),
        lambda x, y: np.exp(x) + np.log(abs(y)) + np.expm1(x) * np.log1p(abs(x)),
    ),
    "circles": (
        lambda x, y: jnp.sin(2 * jnp.pi * x / DAY) + jnp.cos(y) * jnp.tanh(x),
        lambda x, y: np.sin(2 * np.pi * x / DAY) + np.cos(y) * np.tanh(x),
    ),
    "a truth as a number": (lambda x, y: (x > 0) * y + (x < y), lambda x, y: (x > 0) * y + (x < y)),
    "truths of truths": (
        lambda x, y: jnp.where((x > 0) & ~(y > 0) | (x > 2) | (x == y), 1.0, 2.0),
        lambda x, y: 1.0 if (x > 0 and not y > 0) or x > 2 or x == y else 2.0,
    ),
    "finite": (
        lambda x, y: jnp.where(jnp.isfinite(jnp.log(x)), 1.0, y) + 2 * jnp.isnan(jnp.log(x)),
        lambda x, y: 1.0 if x > 0 else y + 2 * (x < 0),
    ),
    "a table": (
        lambda x, y: jnp.asarray(DOSES)[jnp.abs(x).astype(int)] + jnp.take(jnp.asarray(DOSES), (x > 0).astype(int)),
        lambda x, y: DOSES[min(int(abs(x)), 2)] + DOSES[int(x > 0)],
    ),
    "a table by two": (
        lambda x, y: jnp.asarray(BY_TWO)[(y > 0).astype(int), jnp.abs(x).astype(int)],
        lambda x, y: BY_TWO[int(y > 0), min(int(abs(x)), 2)],
    ),
    "a table made in the model": (
        lambda x, y: (2 * jnp.asarray(DOSES) + 1)[(x > 0).astype(int)],
        lambda x, y: 2 * DOSES[int(x > 0)] + 1,
    ),
    "terms added by Python": (
        lambda x, y: sum(k * x**k for k in range(4)) + y,
        lambda x, y: x + 2 * x**2 + 3 * x**3 + y,
    ),
    "a number": (lambda x, y: 2.5, lambda x, y: 2.5),
    "a whole number": (lambda x, y: 3, lambda x, y: 3.0),
    "an input": (lambda x, y: y, lambda x, y: y),
}


@pytest.mark.parametrize("name", FORMULAE)
def test_a_formula_is_the_same_in_the_program_as_in_numpy(name: str):
    written, meant = FORMULAE[name]
    for x, y in [(-2.5, 0.3), (0.25, 1.0), (0.7, -1.5), (1.5, 1.5), (3.0, 2.0)]:
        with np.errstate(all="ignore"):
            want = float(meant(x, y))
        assert value(written, x=x, y=y) == pytest.approx(want, rel=1e-13, abs=1e-15), (x, y)


@pytest.mark.parametrize(("index", "row"), [(0, 0), (1, 1), (2, 2), (7, 2), (-1, 2), (-9, 0)])
def test_a_category_beyond_the_table_is_held_within_it_as_jax_holds_it(index: int, row: int):
    table = jnp.asarray(DOSES)
    assert float(table[index]) == DOSES[row]
    assert value(lambda x: table[x.astype(int)], x=index) == DOSES[row]


def test_a_category_is_a_whole_number_where_the_model_reads_it():
    """As it is in a solve, so that a look-up needs no conversion."""
    graph = Graph()
    made = traced(graph, lambda v: {"it": jnp.asarray(DOSES)[v["x.genotype"]]}, ["x.genotype"], whole={"x.genotype"})
    assert [float(graph.evaluate([made["it"]], {"x.genotype": k})[0]) for k in (0.0, 1.0, 2.0)] == DOSES.tolist()


def test_equal_expressions_are_computed_once():
    graph = Graph()
    traced(graph, lambda v: {"a": v["x"] / v["y"], "b": jnp.exp(v["x"] / v["y"]), "c": 3 / v["y"]}, ["x", "y"])
    assert [op for op, *_ in graph.nodes].count("inverse") == 1


def test_nothing_that_rounds_differently_elsewhere_is_computed_beforehand():
    """An exponential of a constant is left to the machine code, whose bits are the same everywhere."""
    graph = Graph()
    made = traced(graph, lambda v: {"it": v["x"] * jnp.exp(v["x"] * 0 + 2.0)}, ["x"])
    assert "exp" in [graph.nodes[node][0] for node in graph.reached(made.values())]


# --- what is refused -------------------------------------------------------------------------------------------------

MODEL = '''"""A model with something that is no operation of scalars."""

import jax
import jax.numpy as jnp

from cohort import Model, Record, Scalar, fixed, quantity


class Covariates(Record):
    """None."""


class Parameters(Record):
    a: Scalar = fixed(0.7, "1", about="a number")
    b: Scalar = fixed(0.4, "1", about="another")


class State(Record):
    y: Scalar = quantity("1", "a state")


class Outputs(Record):
    o: Scalar = quantity("1", "an output")


def initial(p: Parameters) -> State:
    return State(y=INITIAL)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    return State(y=ODE)


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(o=OBSERVE)


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="h",
    individual=lambda p, x: p,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={},
    endpoints={},
)
'''


def refused(folder: Path, **parts: str) -> tuple[str, Callable[[str], str]]:
    """What is said of a model file with these parts, and a function from a part to its place in the file."""
    text = MODEL
    lines = {}
    for part in ("INITIAL", "ODE", "OBSERVE"):
        lines[part.lower()] = MODEL[: MODEL.index(part)].count("\n") + 1
        text = text.replace(part, parts.get(part.lower(), "p.a"))
    path = folder / "refused.py"
    path.write_text(text)
    model = library.load(str(path))
    with pytest.raises(ProgramError) as error:
        dynamics(model)
    return str(error.value), lambda part: f"{path}:{lines[part]}"


# What a model may try to write: the operation that is named, and what is said to write instead.
REFUSED = {
    "jnp.sum(jnp.stack([y.y, p.a]))": ("stack", "one scalar per quantity"),
    "jnp.dot(jnp.stack([y.y, p.a]), jnp.ones(2))": ("stack", "one scalar per quantity"),
    "jnp.concatenate([jnp.array([y.y]), jnp.array([p.a])])[0]": ("concatenate", "one scalar per quantity"),
    "jnp.linalg.norm(jnp.array([y.y, p.a]))": ("concatenate", "one scalar per quantity"),
    "jnp.linalg.det(jnp.array([[y.y, p.a], [p.b, 1.0]]))": ("concatenate", "one scalar per quantity"),
    "jax.lax.while_loop(lambda a: a < 3, lambda a: a + p.a, y.y)": ("while", "a fixed formula"),
    "jax.lax.scan(lambda a, _: (a * p.a, None), y.y, None, length=3)[0]": ("scan", "the terms one by one"),
    "jax.lax.fori_loop(0, 3, lambda i, a: a * p.a, y.y)": ("scan", "the terms one by one"),
    "jax.scipy.special.erf(y.y)": ("erf", "a logistic or tanh"),
    "jnp.arctan2(y.y, p.a)": ("atan2", "the ratio it is taken of"),
    "jnp.cbrt(y.y)": ("cbrt", "x ** (1 / 3)"),
    "jnp.exp2(y.y)": ("exp2", "jnp.exp(x * log 2)"),
}


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_no_operation_of_scalars_is_named_with_its_line_and_what_to_write(tmp_path: Path, expression: str):
    name, instead = REFUSED[expression]
    said, place = refused(tmp_path, ode=expression)
    line = next(line for line in said.splitlines() if f"ode: {name} is not" in line)
    assert line.startswith(place("ode"))
    assert instead in line


@pytest.mark.parametrize(
    ("expression", "name"),
    [("jax.scipy.special.gammaln(y.y)", "lgamma"), ("jnp.arctan(y.y)", "atan"), ("jnp.sinh(y.y)", "sinh")],
)
def test_what_has_no_other_way_of_writing_is_named_with_its_line(tmp_path: Path, expression: str, name: str):
    said, place = refused(tmp_path, ode=expression)
    assert said.startswith(f"{place('ode')}  ode: {name} is not an operation of scalars")


@pytest.mark.parametrize(
    "expression",
    ["jnp.polyval(jnp.array([1.0, 2.0]), y.y)", "jnp.interp(y.y, jnp.array([0.0, 1.0]), jnp.array([0.0, 2.0]))"],
)
def test_an_operation_inside_a_function_of_jax_is_named_with_the_line_that_calls_it(tmp_path: Path, expression: str):
    said, place = refused(tmp_path, ode=expression)
    assert said.startswith(f"{place('ode')}  ode: ")


def test_what_follows_from_a_refused_operation_is_not_named_too(tmp_path: Path):
    said, place = refused(tmp_path, ode="jnp.exp(jnp.cbrt(y.y)) * p.a - y.y")
    assert said.splitlines() == [
        f"{place('ode')}  ode: cbrt is not an operation of scalars that the engine has; write x ** (1 / 3) instead"
    ]


def test_all_that_is_wrong_with_a_model_is_said_at_once(tmp_path: Path):
    said, place = refused(
        tmp_path, initial="jnp.cbrt(p.a)", ode="jnp.cbrt(y.y) + jnp.exp2(y.y)", observe="jnp.exp2(y.y)"
    )
    found = [tuple(line.split("  ")) for line in said.splitlines()]
    assert [(where, what.split(" is not")[0]) for where, what in found] == [
        (place("initial"), "initial: cbrt"),
        (place("ode"), "ode: cbrt"),
        (place("ode"), "ode: exp2"),
        (place("observe"), "observe: exp2"),
    ]


# --- simplification --------------------------------------------------------------------------------------------------

# Numbers of few bits, so that no operation rounds and every rearrangement has to give the same.
NUMBERS = [0.0, 1.0, -1.0, 2.0, -0.5, 3.0, 4.0, -6.0]
POWERS = [1.0, -1.0, 2.0, -0.5, 4.0]
INPUTS = {"a": 3.0, "b": -2.0, "c": 0.5, "d": 0.0, "e": -8.0}

type Tree = tuple[Any, ...]


def trees() -> st.SearchStrategy[Tree]:
    leaves = st.sampled_from([("constant", v) for v in NUMBERS] + [("input", n) for n in INPUTS])

    def grown(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        two = st.tuples(st.sampled_from(["add", "sub", "mul", "min", "max"]), inner, inner)
        one = st.tuples(st.sampled_from(["neg", "abs", "square"]), inner)
        shared = st.tuples(st.just("div"), inner, st.sampled_from([("constant", v) for v in POWERS] + [("input", "c")]))
        compared = st.tuples(st.sampled_from(["lt", "le", "eq", "ne"]), inner, inner)
        truth = st.one_of(
            compared,
            st.tuples(st.sampled_from(["and", "or"]), compared, compared),
            st.tuples(st.just("not"), compared),
        )
        return st.one_of(two, one, shared, st.tuples(st.just("select"), truth, inner, inner))

    return st.recursive(leaves, grown, max_leaves=12)


PLAIN: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "neg": np.negative,
    "abs": np.abs,
    "square": np.square,
    "div": np.divide,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "select": np.where,
}


def plain(tree: Tree) -> Any:
    op, *rest = tree
    match op:
        case "constant":
            return rest[0]
        case "input":
            return INPUTS[rest[0]]
        case _:
            return PLAIN[op](*map(plain, rest))


def grow(graph: Graph, tree: Tree) -> int:
    op, *rest = tree
    match op:
        case "constant":
            return graph.constant(rest[0])
        case "input":
            return graph.input(rest[0])
        case "square":
            return graph.power(grow(graph, rest[0]), 2)
        case _:
            return graph.apply(op, *(grow(graph, r) for r in rest))


@settings(max_examples=300)
@given(trees())
def test_what_is_simplified_keeps_its_value(tree: Tree):
    graph = Graph()
    node = grow(graph, tree)
    want = float(plain(tree))
    assert float(graph.evaluate([node], INPUTS)[0]) == want
    again = Graph()
    (copied,) = graph.replay([node], again, {})
    assert float(again.evaluate([copied], INPUTS)[0]) == want


@settings(max_examples=100)
@given(trees(), st.sampled_from(sorted(INPUTS)))
def test_a_formula_with_a_number_in_place_of_an_input_is_that_formula_of_the_number(tree: Tree, name: str):
    graph = Graph()
    node = grow(graph, tree)
    (fixed,) = graph.replay([node], graph, {name: graph.constant(INPUTS[name])})
    assert float(graph.evaluate([fixed], INPUTS)[0]) == float(plain(tree))
    assert name not in graph.inputs([fixed])


@pytest.mark.parametrize("n", range(-17, 18))
def test_a_whole_power_is_a_product_of_so_many_factors(n: int):
    graph = Graph()
    assert graph.evaluate([graph.power(graph.input("x"), n)], {"x": -0.5})[0] == (-0.5) ** n


@pytest.mark.parametrize("exponent", [math.inf, -math.inf])
def test_a_power_without_end_is_nothing_or_everything(exponent: float):
    assert value(lambda x: x**exponent, x=0.5) == 0.5**exponent


# --- derivatives -----------------------------------------------------------------------------------------------------


def everything() -> Model:
    """Three states whose rates use every kind of operation."""

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        stage = jnp.asarray(DOSES)[(p.k * 3).astype(int)]
        return dict(
            u=jnp.where(y.u > 0.5, jnp.tanh(y.v), y.v**2) + jax.nn.sigmoid(y.u * p.k) + stage * jnp.sqrt(y.u),
            v=jnp.clip(y.u * y.v, -0.2, 0.9) + jnp.abs(y.v - 1) ** p.g + jnp.maximum(y.w, y.u) + jnp.mod(3 * y.u, p.k),
            w=jax.lax.cond(y.w > 1, jnp.log1p, jnp.expm1, y.w) * jnp.cos(t * y.v) + jax.nn.softplus(y.v) / (p.g + y.w),
        )

    return curves.model(
        dict(k=0.4, g=1.3), ("u", "v", "w"), ("o",), ode, lambda t, y, p: dict(o=y.u), initial=lambda p: dict(u=1.0)
    )


@functools.cache
def subject_of(name: str) -> Model:
    if name == "everything":
        return everything()
    path = f"benchmarks/models/{name.lower()}.py"
    return library.load(path, ROOT) if (ROOT / path).is_file() else library.load(name)


def rates(model: Model, t: Any, y: Any, p: Any) -> Any:
    """dy/dt, (states,)."""
    made = model.ode(t, model.state(**dict(zip(model.state.fields(), y, strict=True))), p)
    return jnp.stack([jnp.asarray(a, float) for a in vars(made).values()])


MODELS = [*library.names(), "W1", "W2", "W2S", "W3", "everything"]


@pytest.mark.parametrize("name", MODELS)
def test_the_jacobian_is_that_of_jax(name: str):
    model = subject_of(name)
    d, rng = dynamics(model), np.random.default_rng(3)
    # What only `individual` computes is declared as 0, at which an EC50 or a rate has no derivative.
    typical = {n: float(a) or 1.0 for n, a in vars(model.parameters()).items()}
    by_state, by_time = (jax.jit(jax.jacfwd(functools.partial(rates, model), argnums=k)) for k in (1, 0))
    for _ in range(5):
        p = {n: a * float(rng.lognormal(0, 0.3)) for n, a in typical.items()}
        y, t = rng.lognormal(0, 1, len(d.states)), float(rng.uniform(0, 30))
        inputs = (
            {"t": t} | {f"p.{n}": a for n, a in p.items()} | {f"y.{n}": a for n, a in zip(d.states, y, strict=True)}
        )
        want = np.asarray(by_state(t, y, model.parameters(**p)))
        got = np.zeros_like(want)
        for place, a in zip(d.jacobian, d.graph.evaluate(list(d.jacobian.values()), inputs), strict=True):
            got[place] = float(a)
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
        along = [float(a) for a in d.graph.evaluate(d.by_time, inputs)]
        np.testing.assert_allclose(along, np.asarray(by_time(t, y, model.parameters(**p))), rtol=1e-11, atol=1e-13)


def test_an_organ_depends_on_its_own_blood_and_no_other():
    """The Jacobian of the PBPK model has entries where JAX's has, and nowhere else."""
    model = subject_of("W3")
    d, rng = dynamics(model), np.random.default_rng(4)
    jacobian = jax.jit(jax.jacfwd(functools.partial(rates, model), argnums=1))
    y = [rng.lognormal(0, 1, len(d.states)) for _ in range(3)]
    there = np.any([np.asarray(jacobian(0.0, v, model.parameters())) != 0 for v in y], axis=0)
    assert set(d.jacobian) == {(int(i), int(j)) for i, j in zip(*np.nonzero(there), strict=True)}
    assert d.graph.inputs(d.by_time) == []


# --- what is linear --------------------------------------------------------------------------------------------------

# One state's rate, and whether the states follow y' = K y + b with K and b constant between events.
LINEAR: dict[str, tuple[Callable[[Any, Any, Any], Any], bool]] = {
    "elimination": (lambda t, y, p: -p.k * y.a, True),
    "exchange": (lambda t, y, p: p.k * (y.b - y.a), True),
    "turnover": (lambda t, y, p: p.kin - p.k * y.a, True),
    "production alone": (lambda t, y, p: p.kin, True),
    "nothing": (lambda t, y, p: 0.0, True),
    "a ratio of parameters": (lambda t, y, p: -y.a * p.kin / (p.k + p.kin) ** 2, True),
    "a function of parameters": (lambda t, y, p: -jnp.exp(p.k) * jnp.minimum(p.kin, 1.0) * y.a, True),
    "a choice by a parameter": (lambda t, y, p: jnp.where(p.k > 1, -p.k * y.a, -p.kin * y.b), True),
    "a change of sign and unit": (lambda t, y, p: -(-(y.a - 2.0) / 1000.0), True),
    "by time": (lambda t, y, p: -p.k * jnp.sin(t) * y.a, False),
    "production by time": (lambda t, y, p: t - p.k * y.a, False),
    "a square": (lambda t, y, p: -p.k * y.a**2, False),
    "a product of states": (lambda t, y, p: -p.k * y.a * y.b, False),
    "saturation": (lambda t, y, p: -p.kin * y.a / (p.k + y.a), False),
    "a choice by a state": (lambda t, y, p: jnp.where(y.a > 1, -p.k * y.a, -p.kin * y.a), False),
    "a step by a state": (lambda t, y, p: p.kin * (y.a > 1), False),
    "a ceiling": (lambda t, y, p: -jnp.minimum(p.k * y.a, 1.0), False),
    "a size": (lambda t, y, p: -jnp.abs(y.a), False),
    "rounding": (lambda t, y, p: -jnp.floor(y.a), False),
    "a state by itself": (lambda t, y, p: -y.a / y.a, False),
}


def rated(rate: Callable[[Any, Any, Any], Any]) -> Model:
    return curves.model(
        dict(k=0.7, kin=2.0),
        ("a", "b"),
        ("o",),
        lambda t, y, p: dict(a=rate(t, y, p), b=-p.k * y.b),
        lambda t, y, p: dict(o=y.a),
        initial=lambda p: dict(a=1.0, b=4.0),
    )


@pytest.mark.parametrize("name", LINEAR)
def test_a_model_is_linear_where_its_rates_are_sums_of_states_times_constants(name: str):
    rate, is_linear = LINEAR[name]
    assert dynamics(rated(rate)).linear is is_linear


@pytest.mark.parametrize("name", [name for name, (_, is_linear) in LINEAR.items() if is_linear])
def test_a_linear_model_has_one_course_in_closed_form_and_in_steps(name: str):
    model = rated(LINEAR[name][0])
    p = curves.subjects(model, [{}, dict(k=1.4, kin=0.3)])
    made = []
    for solver in ("linear", "explicit"):
        numerics = Numerics(solver=solver, rtol=1e-10, atol=1e-12)
        out, status = solve(model, p, Events.none(2), [0.0, 0.5, 2.0, 6.0], numerics=numerics)
        assert not np.asarray(status.code).any()
        made.append(np.asarray(out.o))
    np.testing.assert_allclose(made[0], made[1], rtol=1e-8)


def test_turnover_settles_where_production_meets_loss():
    model = rated(LINEAR["turnover"][0])
    p = curves.subjects(model, [{}])
    out, _ = solve(model, p, Events.none(1), [0.0, 1.0, 100.0], numerics=Numerics(solver="linear"))
    level = 2.0 / 0.7
    want = [1.0, level + (1.0 - level) * math.exp(-0.7), level]
    assert np.asarray(out.o)[0] == pytest.approx(want, rel=1e-13)


@pytest.mark.parametrize("name", ["saturation", "by time", "a choice by a state"])
def test_the_closed_form_is_refused_to_a_model_that_has_none(name: str):
    model = rated(LINEAR[name][0])
    with pytest.raises(ValueError, match="is not linear; write solver: auto, explicit or stiff"):
        solve(model, curves.subjects(model, [{}]), Events.none(1), [0.0], numerics=Numerics(solver="linear"))
