"""Machine code for several patients at once: functions to 2 units in the last place, the same bits everywhere."""

import ctypes
import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from llvmlite import ir

from cohort.engine import machine
from cohort.engine.graph import FUNCTIONS, Graph
from cohort.engine.program import traced
from cohort.engine.vector import DOUBLE, I64, Vector, emit

WIDTHS = (4, 8, 16)
ISAS = [
    "avx2",
    pytest.param(
        "avx512", marks=pytest.mark.skipif(machine.target() != "avx512", reason="this processor has no AVX-512")
    ),
]
if machine.target() == "native":
    ISAS = ["native"]
N = 50_000  # arguments of each kind


def compiled(graph: Graph, wanted: Mapping[str, int], width: int = 8, isa: str = "") -> Callable[..., dict[str, Any]]:
    """Machine code of the wanted nodes: a function of arrays of the graph's inputs, (n,), to arrays by name."""
    inputs = graph.inputs(wanted.values())
    module, pointer = ir.Module("graph"), DOUBLE.as_pointer()
    f = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] + [pointer] * (len(inputs) + len(wanted))), "run")
    n, *arrays = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    v, entry = Vector(b, width), b.block
    body, done = f.append_basic_block("body"), f.append_basic_block("done")
    b.branch(body)
    b.position_at_end(body)
    i = b.phi(I64)
    i.add_incoming(ir.Constant(I64, 0), entry)
    place = {
        name: b.bitcast(b.gep(array, [i]), v.type.as_pointer())
        for name, array in zip((*(f"< {n}" for n in inputs), *wanted), arrays, strict=True)
    }
    for name, value in emit(v, graph, wanted, lambda name: b.load(place[f"< {name}"], align=8)).items():
        b.store(value, place[name], align=8)
    following = b.add(i, ir.Constant(I64, width))
    i.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, n), body, done)
    b.position_at_end(done)
    b.ret_void()
    engine = machine.compiled(str(module), isa or machine.target())
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * len(arrays))
    call = kind(engine.get_function_address("run"))

    def run(**given: Any) -> dict[str, Any]:
        many = max(np.size(x) for x in given.values()) if given else 1
        padded = -(-many // width) * width
        data = [np.resize(np.broadcast_to(np.asarray(given[name], float), many), padded) for name in inputs]
        out = {name: np.empty(padded) for name in wanted}
        call(padded, *[a.ctypes.data for a in (*data, *out.values())])
        assert engine is not None  # the code lives as long as what calls it
        return {name: a[:many] for name, a in out.items()}

    return run


@functools.cache
def function(name: str, width: int = 8, isa: str = "") -> Callable[..., np.ndarray]:
    """One of the engine's own functions, of arrays of (n,)."""
    graph = Graph()
    arguments = ("x", "y") if name == "pow" else ("x",)
    node = graph.apply(name, *map(graph.input, arguments))
    run = compiled(graph, {"it": node}, width, isa)
    return lambda *given: run(**dict(zip(arguments, given, strict=True)))["it"]


# --- accuracy --------------------------------------------------------------------------------------------------------


def beside(x: float, n: int = 2000) -> np.ndarray:
    """The numbers next to x, below and above."""
    return x + np.arange(-n // 2, n // 2) * np.spacing(x)


def closest_to_a_quarter_turn() -> np.ndarray:
    """Of each power of two below 2**30, the double that comes closest to a multiple of pi / 2."""
    with mpmath.workprec(400):
        half_pi = Fraction(int(mpmath.pi / 2 * 2**300), 2**300)
    best = [(half_pi * Fraction(2) ** (53 - k)).limit_denominator(int(2**k / half_pi)) for k in range(1, 31)]
    return np.array([float(f.numerator * Fraction(2) ** (k - 53)) for k, f in enumerate(best, start=1)])


def arguments(name: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Arguments of a function, by what is difficult in them."""
    rng = np.random.default_rng(20)
    u = functools.partial(rng.uniform, size=N)
    sign, tiny, small = rng.choice([-1.0, 1.0], N), 10 ** u(-323, -8), 10 ** u(-12, 0)
    match name:
        case "exp":
            return {
                "ordinary": (u(-5, 5),),
                "the whole range": (u(-708, 709.7),),
                "results below the normal": (u(-745, -708),),
                "tiny": (sign * tiny,),
                "at the ends": (np.append(beside(709.782712893384), beside(-745.1332191019411)),),
                "between powers of two": (
                    np.concatenate([beside(k * np.log(2) / 2, 64) for k in range(-999, 999, 2)]),
                ),
            }
        case "expm1":
            return {
                "ordinary": (u(-5, 5),),
                "the whole range": (u(-60, 709.7),),
                "tiny": (sign * tiny,),
                "small": (sign * small,),
                "at the end": (beside(709.782712893384),),
                "where the reduction begins": (sign * u(0.33, 0.37),),
            }
        case "log":
            return {
                "ordinary": (u(0.01, 100),),
                "the whole range": (np.exp(u(-708, 709.7)),),
                "below the normal": (10 ** u(-323, -308),),
                "beside 1": (beside(1.0),),
                "near 1": (1 + sign * small / 2,),
                "where the exponent changes": (np.append(beside(0.5**0.5), beside(2**0.5)),),
            }
        case "log1p":
            return {
                "ordinary": (u(-0.99, 100),),
                "tiny": (sign * tiny,),
                "small": (sign * small * 0.99,),
                "huge": (10 ** u(1, 308),),
                "towards -1": (-1 + 10 ** u(-16, -1),),
                "where the exponent changes": (np.append(beside(0.5**0.5 - 1), beside(2**0.5 - 1)),),
            }
        case "tanh":
            return {
                "ordinary": (u(-3, 3),),
                "small": (sign * small,),
                "tiny": (sign * tiny,),
                "where most is lost": (sign * u(0.01, 0.3),),
                "flat": (sign * u(3, 25),),
            }
        case "sin" | "cos":
            return {
                "ordinary": (u(-10, 10),),
                "many turns": (u(-(2.0**30), 2.0**30),),
                "near multiples of a quarter turn": (sign * np.arange(N) * np.pi / 2,),
                "near multiples, far out": (rng.integers(-(2**29), 2**29, N) * (np.pi / 2),),
                "nearest to multiples": (closest_to_a_quarter_turn(),),
                "tiny": (sign * tiny,),
            }
        case _:
            return {
                "ordinary": (10 ** u(-3, 3), u(-5, 5)),
                "whole powers": (sign * 10 ** u(-3, 3), rng.integers(-40, 41, N).astype(float)),
                "near 1, to high powers": (u(0.9, 1.1), u(-5000, 5000)),
                "beside 1, to the highest": (beside(1.0, N), u(-1e16, 1e16)),
                "the whole range": (np.exp(u(-708, 709)), u(-1, 1)),
                "below the normal": (10 ** u(-323, -308), u(-0.95, 0.95)),
                "results below the normal": (10 ** u(2, 3), u(-108, -103)),
                "tiny powers": (10 ** u(-3, 3), sign * tiny),
            }


def units_off(name: str, given: tuple[np.ndarray, ...], got: np.ndarray) -> np.ndarray:
    """By how many units in the last place results are off, (n,); beyond the largest double only infinity is right."""
    meant: Callable[..., Any] = getattr(mpmath, "power" if name == "pow" else name)
    off = []
    with mpmath.workprec(200):
        for *x, y in zip(*given, got, strict=True):
            want = meant(*map(mpmath.mpf, map(float, x)))
            if np.isinf(y):
                off.append(0.0 if abs(want) >= mpmath.mpf(2) ** 1024 * (1 - mpmath.mpf(2) ** -54) else np.inf)
                continue
            unit = np.spacing(abs(float(want))) if abs(want) < 1.7e308 else 2.0**971
            off.append(float(abs(mpmath.mpf(float(y)) - want) / unit))
    return np.array(off)


DIFFICULT = [(name, what) for name in FUNCTIONS for what in arguments(name)]


@pytest.mark.parametrize(("name", "what"), DIFFICULT, ids=lambda x: x)
def test_a_function_is_within_two_units_of_the_last_place(name: str, what: str):
    """Those where it and NumPy's differ most, and some others."""
    given = arguments(name)[what]
    got = function(name)(*given)
    with np.errstate(all="ignore"):
        other = getattr(np, "power" if name == "pow" else name)(*given)
        apart = np.abs(got - other) / np.spacing(np.abs(other))
    worst = np.argsort(-np.nan_to_num(apart, posinf=0.0))[:100]
    chosen = np.union1d(worst, np.arange(0, len(got), max(len(got) // 100, 1)))
    off = units_off(name, tuple(x[chosen] for x in given), got[chosen])
    i = np.argmax(off)
    assert off[i] <= 2, f"{name}({', '.join(repr(float(x[chosen][i])) for x in given)}) is {off[i]:.3f} units off"


# --- special values --------------------------------------------------------------------------------------------------

SPECIAL = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 710.0, 746.0, 1e6, 2.0**53, 2.0**53 + 2, 1e308, np.inf])
SPECIAL = np.append(SPECIAL, [1e-20, 1e-310, 5e-324, np.nextafter(1, 2), np.nextafter(1, 0)])
SPECIAL = np.concatenate([SPECIAL, -SPECIAL, [np.nan]])


def same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """To rounding; infinities, what is no number and the sign of a zero exactly."""
    with np.errstate(invalid="ignore"):
        near = np.abs(got - want) <= 2 * np.spacing(np.abs(want))
    exact = (got == want) & (np.signbit(got) == np.signbit(want))
    return exact | (near & np.isfinite(want) & (want != 0)) | (np.isnan(got) & np.isnan(want))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "pow"])
def test_what_is_special_is_as_in_numpy(name: str):
    x = SPECIAL[~(np.abs(SPECIAL) >= 2.0**30) | ~np.isfinite(SPECIAL)] if name in ("sin", "cos") else SPECIAL
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x)
    got = function(name)(x)
    wrong = [f"{name}({a}) is {b}, in NumPy {c}" for a, b, c in zip(x, got, want, strict=True) if not same(b, c)]
    assert not wrong


def test_powers_of_what_is_special_are_as_in_numpy():
    """But for -1 to an infinite power, which is no number here and 1 there."""
    x, y = (a.ravel() for a in np.meshgrid(SPECIAL, np.append(SPECIAL, [0.25, -0.5, 4.0, -5.0])))
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    got = function("pow")(x, y)
    wrong = [
        f"{a} ** {b} is {c}, in NumPy {d}"
        for a, b, c, d in zip(x, y, got, want, strict=True)
        if not same(c, d) and not (a == -1 and np.isinf(b))
    ]
    assert not wrong
    assert np.isnan(function("pow")(np.array([-1.0, -1.0]), np.array([np.inf, -np.inf]))).all()


def test_the_angle_of_a_number_too_large_to_have_one_is_no_number():
    large = np.array([2.0**30, -(2.0**30), 1e300])
    assert np.isnan(function("sin")(large)).all()
    assert np.isnan(function("cos")(large)).all()
    below = np.nextafter(2.0**30, 0)
    assert function("sin")(np.array([below]))[0] == pytest.approx(np.sin(below), rel=1e-15)


# --- the operations of IEEE 754 --------------------------------------------------------------------------------------

EXACT: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "inverse": np.reciprocal,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "min": np.minimum,
    "max": np.maximum,
}


@pytest.mark.parametrize("op", EXACT)
def test_an_exact_operation_has_numpys_bits(op: str):
    rng = np.random.default_rng(2)
    x = np.concatenate([np.repeat(SPECIAL, len(SPECIAL)), rng.normal(size=N), np.arange(-50, 50) / 4])
    y = np.concatenate([np.tile(SPECIAL, len(SPECIAL)), rng.normal(size=N), np.arange(50, -50, -1) / 4])
    given = (x, y) if op in ("add", "sub", "mul", "min", "max") else (x,)
    graph = Graph()
    node = graph.apply(op, *map(graph.input, ("x", "y")[: len(given)]))
    got = compiled(graph, {"it": node})(**dict(zip(("x", "y"), given, strict=False)))["it"]
    with np.errstate(all="ignore"):
        want = EXACT[op](*given)
    assert np.array_equal(got, want, equal_nan=True)


@pytest.mark.parametrize("period", [24.0, 7.0, 49.0, 0.1, 0.7, -103.0])
def test_a_period_ends_where_the_next_begins(period: float):
    """At every whole multiple, as far as it is one in binary, and next to it."""
    multiples = period * np.arange(1, 2000.0)
    t = np.concatenate([x * sign for x in (multiples, np.nextafter(multiples, 0)) for sign in (1, -1)])
    for f in (jnp.mod, jnp.fmod, jnp.floor_divide):
        graph = Graph()
        made = traced(graph, lambda v, f=f: {"it": f(v["t"], period)}, ["t"])
        want = getattr(np, f.__name__)(t, period)
        assert np.array_equal(compiled(graph, made)(t=t)["it"], want), f.__name__
        if period == round(period):  # a product that is rounded by itself, as in JAX, may miss the end of others
            assert np.array_equal(graph.evaluate([made["it"]], {"t": t})[0], want), f.__name__


@pytest.mark.parametrize("by", [3, 7, 49, 98, 103, -49])
def test_whole_numbers_are_divided_as_whole_numbers(by: int):
    whole = np.arange(-5000, 5000)
    for f in (jnp.floor_divide, jnp.remainder, jax.lax.div, jax.lax.rem):
        graph = Graph()
        made = traced(graph, lambda v, f=f: {"it": f(v["n"], by) * 1.0}, ["n"], whole={"n"})
        assert np.array_equal(compiled(graph, made)(n=whole)["it"], np.asarray(f(whole, by))), f.__name__


def test_a_product_and_a_sum_are_rounded_once():
    graph = Graph()
    x, y, z = map(graph.input, "xyz")
    product = graph.apply("mul", x, y)
    given = dict(x=np.array([1 + 2.0**-30]), y=np.array([1 - 2.0**-30]), z=np.array([1.0]))
    fused = compiled(graph, {"it": graph.apply("sub", product, z)})(**given)["it"]
    assert fused[0] == -(2.0**-60)
    back = compiled(graph, {"it": graph.apply("sub", z, product)})(**given)["it"]
    assert back[0] == 2.0**-60


def test_a_product_that_is_wanted_for_itself_is_rounded_before_the_sum():
    graph = Graph()
    x, y, z = map(graph.input, "xyz")
    product = graph.apply("mul", x, y)
    run = compiled(graph, {"product": product, "it": graph.apply("sub", product, z)})
    made = run(x=np.array([1 + 2.0**-30]), y=np.array([1 - 2.0**-30]), z=np.array([1.0]))
    assert made["product"][0] == 1.0
    assert made["it"][0] == 0.0


# --- whole formulae, as models write them ----------------------------------------------------------------------------

TABLE = np.array([10.0, 20.0, 40.0])
WRITTEN: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "saturation": (lambda x, y: x / (jnp.abs(y) + 1), lambda x, y: x / (np.abs(y) + 1)),
    "a logistic": (lambda x, y: jax.nn.sigmoid(x - y), lambda x, y: 1 / (1 + np.exp(y - x))),
    "a power": (lambda x, y: jnp.abs(x) ** 0.75 * (y / 70) ** 2, lambda x, y: np.abs(x) ** 0.75 * (y / 70) ** 2),
    "time of day": (lambda x, y: jnp.mod(x, 24.0) - jnp.mod(y, -0.7), lambda x, y: np.mod(x, 24.0) - np.mod(y, -0.7)),
    "a table": (
        lambda x, y: jnp.asarray(TABLE)[jnp.abs(x).astype(int)],
        lambda x, y: TABLE[np.minimum(np.abs(x).astype(int), 2)],
    ),
    "a truth as a number": (lambda x, y: (x > y) * y + (x > 0), lambda x, y: (x > y) * y + (x > 0)),
    "a truth": (lambda x, y: x > y, lambda x, y: (x > y).astype(float)),
    "truths": (
        lambda x, y: jnp.where((x > 0) & ~(y > 0) | (x > 2), x, y),
        lambda x, y: np.where((x > 0) & ~(y > 0) | (x > 2), x, y),
    ),
    "equal truths": (
        lambda x, y: jnp.where((x > 0) == (y > 0), x, y),
        lambda x, y: np.where((x > 0) == (y > 0), x, y),
    ),
    "different truths": (
        lambda x, y: jnp.where((x > 0) != (y > 0), x, y),
        lambda x, y: np.where((x > 0) != (y > 0), x, y),
    ),
    "a truth chosen among truths": (
        lambda x, y: jnp.where(jnp.where(x > 0, y > 0, y < 1), x, y),
        lambda x, y: np.where(np.where(x > 0, y > 0, y < 1), x, y),
    ),
    "a truth chosen among one and a certain one": (
        lambda x, y: jnp.where(jnp.where(x > 0, True, y < 1), x, y),
        lambda x, y: np.where(np.where(x > 0, True, y < 1), x, y),
    ),
    "a branch of truths": (
        lambda x, y: jnp.where(jax.lax.cond(x > 0, lambda: y > 0, lambda: y < 1), x, y),
        lambda x, y: np.where(np.where(x > 0, y > 0, y < 1), x, y),
    ),
    "a truth from a number": (lambda x, y: jnp.where(jnp.floor(x).astype(bool), x, y),
                              lambda x, y: np.where(np.floor(x) != 0, x, y)),
    "a number that is none": (
        lambda x, y: jnp.where(jnp.isnan(jnp.log(x)), -1.0, jnp.maximum(y, 0.0)),
        lambda x, y: np.where(x < 0, -1.0, np.maximum(y, 0.0)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_machine_code_of_a_formula_gives_what_numpy_gives(name: str):
    written, meant = WRITTEN[name]
    rng = np.random.default_rng(6)
    x, y = rng.normal(0, 3, 1000), rng.normal(0, 3, 1000)
    graph = Graph()
    made = traced(graph, lambda v: {"it": written(v["x"], v["y"])}, ["x", "y"])
    run = compiled(graph, made)
    given = {name: a for name, a in (("x", x), ("y", y)) if name in graph.inputs(made.values())}
    np.testing.assert_allclose(run(**given)["it"], meant(x, y), rtol=1e-14, atol=1e-15)


# --- the same bits everywhere ----------------------------------------------------------------------------------------


def bits(x: np.ndarray) -> np.ndarray:
    """The bits of each number; of what is no number, that it is none."""
    return np.where(np.isnan(x), -1, x.view(np.int64))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_same_bits_at_every_width_and_in_all_code(name: str, isa: str):
    given = [np.concatenate([*column, SPECIAL]) for column in zip(*arguments(name).values(), strict=True)]
    want = function(name)(*given)
    for width in WIDTHS:
        assert np.array_equal(bits(function(name, width, isa)(*given)), bits(want)), width
