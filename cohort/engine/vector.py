"""Vectors of patients in LLVM's language: arithmetic that gives the same bits at every width and on every machine.

Every fused multiply-add is written out and no rounding is left to the compiler; what is not IEEE-exact (exponentials,
logarithms, circular functions) is computed here, in the same explicit form, to 2 units in the last place.

References
----------
[1] Muller 2016, Elementary Functions, 3rd ed., chapters 3 and 11: polynomials and range reduction.
[2] Dekker 1971, Numer Math 18:224: a product and a sum in two numbers.
[3] Cody & Waite 1980, Software Manual for the Elementary Functions: reduction in several parts.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any

from llvmlite import ir

from cohort.engine.graph import FUNCTIONS, Graph

I64, DOUBLE = ir.IntType(64), ir.DoubleType()
SHIFTER = 1.5 * 2.0**52  # adding and subtracting it rounds to a whole number, which stands in the lowest bits
LOG2E = math.log2(math.e)
LN2 = (0.6931471805599453, 2.3190468138462996e-17)  # in two parts
LN2_SHORT = (0.6931471805598903, 5.497923018708371e-14)  # whole numbers below 2**11 times the first part are exact
HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)


class Vector:
    """Operations on vectors of `width` doubles at the builder's place."""

    def __init__(self, builder: ir.IRBuilder, width: int):
        self.b, self.width = builder, width
        self.type = ir.VectorType(DOUBLE, width)
        self.whole = ir.VectorType(I64, width)
        self.module = builder.module

    def constant(self, x: float) -> Any:
        return ir.Constant(self.type, [ir.Constant(DOUBLE, float(x))] * self.width)

    def integer(self, k: int) -> Any:
        return ir.Constant(self.whole, [ir.Constant(I64, k)] * self.width)

    def _intrinsic(self, name: str, *arguments: Any) -> Any:
        full = f"llvm.{name}.v{self.width}f64"
        f = self.module.globals.get(full)
        if f is None:
            f = ir.Function(self.module, ir.FunctionType(self.type, [self.type] * len(arguments)), full)
        return self.b.call(f, arguments)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self._intrinsic("fma", a, b, c)

    def sqrt(self, a: Any) -> Any:
        return self._intrinsic("sqrt", a)

    def abs(self, a: Any) -> Any:
        return self._intrinsic("fabs", a)

    def floor(self, a: Any) -> Any:
        return self._intrinsic("floor", a)

    def ceil(self, a: Any) -> Any:
        return self._intrinsic("ceil", a)

    def trunc(self, a: Any) -> Any:
        return self._intrinsic("trunc", a)

    def round(self, a: Any) -> Any:
        return self._intrinsic("rint", a)  # halves to even, as NumPy and JAX

    def add(self, a: Any, b: Any) -> Any:
        return self.b.fadd(a, b)

    def sub(self, a: Any, b: Any) -> Any:
        return self.b.fsub(a, b)

    def mul(self, a: Any, b: Any) -> Any:
        return self.b.fmul(a, b)

    def neg(self, a: Any) -> Any:
        return self.b.fneg(a)

    def quotient(self, a: Any, b: Any) -> Any:
        return self.b.fdiv(a, b)

    def rem(self, a: Any, b: Any) -> Any:
        """What is left of a by whole b, with the sign of a: exact, though the quotient may round to one more."""
        size, by = self.abs(a), self.abs(b)
        left = self.fma(self.neg(self.trunc(self.b.fdiv(size, by))), by, size)
        left = self.select(self.less(left, self.constant(0.0)), self.add(left, by), left)
        left = self.select(self.less(left, by), left, self.sub(left, by))
        return self.select(self.less(a, self.constant(0.0)), self.neg(left), left)

    def kept(self, a: Any) -> Any:
        return a

    def inverse(self, a: Any) -> Any:
        return self.b.fdiv(self.constant(1.0), a)

    def less(self, a: Any, b: Any) -> Any:
        return self.b.fcmp_ordered("<", a, b)

    def select(self, truth: Any, a: Any, b: Any) -> Any:
        return self.b.select(truth, a, b)

    def min(self, a: Any, b: Any) -> Any:
        """The smaller; not a number if either is not, as in JAX."""
        return self.select(self.b.or_(self.less(a, b), self.b.fcmp_unordered("uno", a, a)), a, b)

    def max(self, a: Any, b: Any) -> Any:
        return self.select(self.b.or_(self.less(b, a), self.b.fcmp_unordered("uno", a, a)), a, b)

    def larger(self, a: Any, b: Any) -> Any:
        """The larger of two numbers; b if either is not one."""
        return self.select(self.less(b, a), a, b)

    def smaller(self, a: Any, b: Any) -> Any:
        return self.select(self.less(a, b), a, b)

    def bits(self, a: Any) -> Any:
        return self.b.bitcast(a, self.whole)

    def number(self, bits: Any) -> Any:
        return self.b.bitcast(bits, self.type)

    def two_to(self, k: Any) -> Any:
        """2**k of whole numbers (as integers) between -1022 and 1023."""
        return self.number(self.b.shl(self.b.add(k, self.integer(1023)), self.integer(52)))

    def rough_inverse(self, a: Any) -> Any:
        """1/a to 1 %, without dividing: for the control of steps only, where only sameness counts."""
        r = self.number(self.b.sub(self.integer(0x7FDE6238502484BA), self.bits(a)))
        return self.mul(r, self.fma(self.neg(a), r, self.constant(2.0)))

    def rough_tenth_root_inverse(self, a: Any) -> Any:
        """a**(-1/10) to a few per cent, by shifts of its bits: for the control of steps only."""
        bits = self.bits(a)
        parts = [self.b.lshr(bits, self.integer(k)) for k in (4, 5, 8, 9)]  # 0.0996 of it
        tenth = self.b.add(self.b.add(parts[0], parts[1]), self.b.add(parts[2], parts[3]))
        one = 1023 * 2**52
        power = sum(one >> k for k in (4, 5, 8, 9))
        return self.number(self.b.sub(self.integer(one + power - 2**52 // 22), tenth))

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Horner's rule, the constant first."""
        made = self.constant(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            made = self.fma(made, x, self.constant(c))
        return made

    def call(self, name: str, *arguments: Any) -> Any:
        """One of FUNCTIONS, as a function of its own in the module."""
        full = f"{name}.{self.width}"
        f = self.module.globals.get(full)
        if f is None:
            f = ir.Function(self.module, ir.FunctionType(self.type, [self.type] * len(arguments)), full)
            f.linkage = "internal"
            inside = Vector(ir.IRBuilder(f.append_basic_block()), self.width)
            inside.b.ret(_FUNCTIONS[name](inside, *f.args))
        return self.b.call(f, arguments)


def emit(
    v: Vector, graph: Graph, wanted: Mapping[str, int], load: Callable[[str], Any], known: Collection[int] = ()
) -> dict[str, Any]:
    """The wanted nodes as instructions. `load`: the vector of an input by name, and that of a `known` node, which was
    computed before, as `q.<node>`.

    A product used once, by a sum or a difference, becomes a fused multiply-add: decided by the program alone.
    """
    order = graph.reached(wanted.values(), known)
    uses = Counter(a for node in order if node not in known for a in graph.arguments(node))
    uses.update([*wanted.values()] * 2)  # a result is needed as it is
    fused = {}  # a sum's or difference's product
    for node in order:
        if graph.nodes[node][0] in ("add", "sub") and node not in known:
            alone = [a for a in graph.arguments(node) if graph.nodes[a][0] == "mul" and uses[a] == 1 and a not in known]
            fused.update({node: alone[-1]} if alone else {})
    inside = set(fused.values())
    made: dict[int, Any] = {}
    for node in order:
        op, *args = graph.nodes[node]
        if node in known:
            made[node] = load(f"q.{node}")
        elif node in fused:
            a, b = args
            x, y = (made[f] for f in graph.arguments(fused[node]))
            if fused[node] == b:
                made[node] = v.fma(v.neg(x) if op == "sub" else x, y, made[a])
            else:
                made[node] = v.fma(x, y, v.neg(made[b]) if op == "sub" else made[b])
        elif node not in inside:
            made[node] = _instruction(v, graph, op, args, made, load)
    return {name: made[node] for name, node in wanted.items()}


def _instruction(v: Vector, graph: Graph, op: str, args: list, made: Mapping[int, Any], load: Callable) -> Any:
    compare = {"lt": "<", "le": "<=", "eq": "=="}
    match op:
        case "input":
            return load(args[0])
        case "constant":
            return v.constant(float.fromhex(args[0]))
        case "lt" | "le" | "eq":
            return v.b.fcmp_ordered(compare[op], made[args[0]], made[args[1]])
        case "ne":
            return v.b.fcmp_unordered("!=", made[args[0]], made[args[1]])
        case "and" | "or":
            return getattr(v.b, op + "_")(made[args[0]], made[args[1]])
        case "not":
            return v.b.not_(made[args[0]])
        case _ if op in FUNCTIONS:
            return v.call(op, *(made[a] for a in args))
        case _:
            return getattr(v, op)(*(made[a] for a in args))


def _reduced(v: Vector, x: Any) -> tuple[Any, Any, Any]:
    """x = k ln 2 + r, |r| <= ln 2 / 2. Returns k as a number, k as an integer, and r."""
    shifted = v.fma(x, v.constant(LOG2E), v.constant(SHIFTER))
    k = v.sub(shifted, v.constant(SHIFTER))
    whole = v.b.sub(v.bits(shifted), v.bits(v.constant(SHIFTER)))
    r = v.fma(v.neg(k), v.constant(LN2[1]), v.fma(v.neg(k), v.constant(LN2[0]), x))
    return k, whole, r


def _scaled(v: Vector, x: Any, whole: Any) -> Any:
    """x 2**k for any k an exponential may have, in two factors."""
    half = v.b.ashr(whole, v.integer(1))
    return v.mul(v.mul(x, v.two_to(half)), v.two_to(v.b.sub(whole, half)))


EXP = [1 / math.factorial(k) for k in range(14)]  # Taylor to r**13: 0.02 ulp at ln 2 / 2


def _exp(v: Vector, x: Any, low: Any = None) -> Any:
    """e**x; e**(x + low) with `low` far below x."""
    held = v.smaller(v.larger(x, v.constant(-746.0)), v.constant(710.0))
    _, whole, r = _reduced(v, held)
    if low is not None:
        r = v.add(r, low)
    p = v.fma(v.mul(r, r), v.polynomial(r, EXP[2:]), r)
    made = _scaled(v, v.add(p, v.constant(1.0)), whole)
    return v.select(v.b.fcmp_unordered("uno", x, x), x, made)


def _expm1(v: Vector, x: Any) -> Any:
    held = v.smaller(v.larger(x, v.constant(-50.0)), v.constant(709.9))
    k, whole, r = _reduced(v, held)
    lost = v.fma(v.neg(k), v.constant(LN2[1]), v.sub(v.fma(v.neg(k), v.constant(LN2[0]), held), r))
    p = v.add(r, v.fma(v.mul(r, r), v.polynomial(r, EXP[2:]), lost))
    half = v.two_to(v.b.sub(whole, v.integer(1)))  # 2**1024 is no number, its half is
    made = v.mul(v.constant(2.0), v.fma(half, p, v.sub(half, v.constant(0.5))))
    made = v.select(v.b.fcmp_ordered("==", k, v.constant(0.0)), p, made)
    made = v.select(v.less(v.constant(709.8), x), v.constant(math.inf), made)
    return v.select(v.b.fcmp_unordered("uno", x, x), x, v.select(v.b.fcmp_ordered("==", x, v.constant(0.0)), x, made))


def _two_sum(v: Vector, a: Any, b: Any) -> tuple[Any, Any]:
    s = v.add(a, b)
    other = v.sub(s, a)
    return s, v.add(v.sub(a, v.sub(s, other)), v.sub(b, other))


TWO_THIRDS_LOW = float(Fraction(2, 3) - Fraction(2 / 3))  # what 2/3 loses as a double
ATANH = [2 / (2 * k + 1) for k in range(2, 12)]  # of s**5 on; s below 0.172


def _log_parts(v: Vector, x: Any) -> tuple[Any, Any]:
    """log x of a positive normal or subnormal x, as a number and what it lacks."""
    tiny = v.less(x, v.constant(2.0**-1022))
    x = v.select(tiny, v.mul(x, v.constant(2.0**54)), x)
    bits = v.bits(x)
    offset = v.integer(0x3FE6A09E667F3BCD)  # the square root of a half: m lies around 1
    e = v.b.ashr(v.b.sub(bits, offset), v.integer(52))
    m = v.number(v.b.sub(bits, v.b.shl(e, v.integer(52))))
    k = v.sub(v.number(v.b.add(e, v.bits(v.constant(SHIFTER)))), v.constant(SHIFTER))
    k = v.select(tiny, v.sub(k, v.constant(54.0)), k)
    below = v.sub(m, v.constant(1.0))
    above, above_low = _two_sum(v, m, v.constant(1.0))
    inverse = v.inverse(above)
    s = v.mul(below, inverse)
    rest = v.fma(v.neg(s), above_low, v.fma(v.neg(s), above, below))
    s_low = v.mul(rest, inverse)
    # log m = 2 (s + s**3/3 + s**5/5 + ...); the cube in two parts [2]
    s2 = v.mul(s, s)
    s2_low = v.fma(v.mul(v.constant(2.0), s), s_low, v.fma(s, s, v.neg(s2)))
    cube = v.mul(s2, s)
    cube_low = v.add(v.fma(s2, s, v.neg(cube)), v.fma(s2_low, s, v.mul(s2, s_low)))
    third = v.constant(2 / 3)
    c = v.mul(cube, third)
    c_low = v.add(v.fma(cube, third, v.neg(c)), v.fma(cube_low, third, v.mul(cube, v.constant(TWO_THIRDS_LOW))))
    tail = v.mul(v.mul(cube, s2), v.polynomial(s2, ATANH))
    two = v.constant(2.0)
    high, low = _two_sum(v, v.mul(k, v.constant(LN2_SHORT[0])), v.mul(two, s))
    more, more_low = _two_sum(v, high, c)
    low = v.add(v.add(low, more_low), v.add(v.fma(two, s_low, tail), c_low))
    low = v.fma(k, v.constant(LN2_SHORT[1]), low)
    total = v.add(more, low)
    return total, v.add(v.sub(more, total), low)


def _log_edges(v: Vector, x: Any, made: Any) -> Any:
    zero, infinite = v.constant(0.0), v.constant(math.inf)
    made = v.select(v.b.fcmp_ordered("==", x, infinite), infinite, made)
    made = v.select(v.b.fcmp_ordered("==", x, zero), v.constant(-math.inf), made)
    return v.select(v.b.fcmp_unordered("<", x, zero), v.constant(math.nan), made)


def _log(v: Vector, x: Any) -> Any:
    return _log_edges(v, x, _log_parts(v, x)[0])


def _log1p(v: Vector, x: Any) -> Any:
    u, lost = _two_sum(v, v.constant(1.0), x)
    high, low = _log_parts(v, u)
    made = _log_edges(v, u, v.add(high, v.add(low, v.b.fdiv(lost, u))))
    tiny = v.less(v.abs(x), v.constant(2.0**-54))
    return v.select(tiny, x, v.select(v.b.fcmp_ordered("==", x, v.constant(math.inf)), x, made))


def _pow(v: Vector, x: Any, y: Any) -> Any:
    """x**y as e**(y log x), the logarithm in two parts; of a negative x only whole y."""
    one, zero, infinite = v.constant(1.0), v.constant(0.0), v.constant(math.inf)
    size = v.abs(x)
    high, low = _log_parts(v, size)
    edge = _log_edges(v, size, high)
    product = v.mul(y, edge)
    lost = v.fma(y, low, v.fma(y, high, v.neg(product)))
    finite = v.less(v.abs(product), v.constant(1000.0))
    made = _exp(v, product, v.select(finite, lost, zero))
    whole = v.b.fcmp_ordered("==", v.floor(y), y)
    half = v.mul(y, v.constant(0.5))
    odd = v.b.and_(whole, v.b.fcmp_ordered("!=", v.floor(half), half))
    negative = v.b.icmp_signed("<", v.bits(x), v.integer(0))
    made = v.select(v.b.and_(negative, odd), v.neg(made), made)
    root = v.b.and_(v.b.and_(v.less(x, zero), v.less(size, infinite)), v.b.not_(whole))
    made = v.select(root, v.constant(math.nan), made)
    made = v.select(v.b.fcmp_unordered("uno", x, y), v.constant(math.nan), made)
    return v.select(v.b.or_(v.b.fcmp_ordered("==", y, zero), v.b.fcmp_ordered("==", x, one)), one, made)


def _tanh(v: Vector, x: Any) -> Any:
    """(e**2x - 1) / (e**2x + 1), both in two parts."""
    size = v.mul(v.constant(2.0), v.smaller(v.abs(x), v.constant(22.0)))
    _, whole, r = _reduced(v, size)
    square = v.mul(v.mul(r, r), v.polynomial(r, EXP[2:]))
    p, p_low = _two_sum(v, r, square)
    power = v.two_to(whole)
    high, low = _two_sum(v, v.sub(power, v.constant(1.0)), v.mul(power, p))
    low = v.fma(power, p_low, low)
    above, above_low = _two_sum(v, high, v.constant(2.0))
    inverse = v.inverse(above)
    q = v.mul(high, inverse)
    rest = v.add(v.fma(v.neg(q), above, high), v.fma(v.neg(q), v.add(above_low, low), low))
    made = v.fma(rest, inverse, q)
    sign = v.b.and_(v.bits(x), v.integer(-(2**63)))
    made = v.number(v.b.or_(v.bits(made), sign))
    return v.select(v.b.fcmp_unordered("uno", x, x), x, made)


SIN = [(-1) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]
COS = [(-1) ** k / math.factorial(2 * k) for k in range(2, 9)]


def _circular(v: Vector, x: Any, quarter: int) -> Any:
    """sin (quarter 0) or cos (quarter 1); not a number beyond 2**30, where a double says nothing of the angle."""
    shifted = v.fma(x, v.constant(2 / math.pi), v.constant(SHIFTER))
    k = v.neg(v.sub(shifted, v.constant(SHIFTER)))
    whole = v.b.add(v.bits(shifted), v.integer(quarter))
    first = v.fma(k, v.constant(HALF_PI[0]), x)
    second = v.mul(k, v.constant(HALF_PI[1]))
    r, low = _two_sum(v, first, second)
    low = v.add(low, v.fma(k, v.constant(HALF_PI[2]), v.fma(k, v.constant(HALF_PI[1]), v.neg(second))))
    r2 = v.mul(r, r)
    sine = v.add(r, v.fma(v.mul(r2, r), v.polynomial(r2, SIN), low))
    half = v.mul(r2, v.constant(0.5))
    one = v.constant(1.0)
    near = v.sub(one, half)
    cosine = v.add(
        near, v.add(v.sub(v.sub(one, near), half), v.fma(v.neg(r), low, v.mul(v.mul(r2, r2), v.polynomial(r2, COS))))
    )
    swap = v.b.icmp_signed("==", v.b.and_(whole, v.integer(1)), v.integer(1))
    flip = v.b.shl(v.b.and_(whole, v.integer(2)), v.integer(62))
    made = v.number(v.b.xor(v.bits(v.select(swap, cosine, sine)), flip))
    if quarter == 0:
        made = v.select(v.b.fcmp_ordered("==", x, v.constant(0.0)), x, made)
    return v.select(v.less(v.abs(x), v.constant(2.0**30)), made, v.constant(math.nan))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "pow": _pow,
    "tanh": _tanh,
    "sin": lambda v, x: _circular(v, x, 0),
    "cos": lambda v, x: _circular(v, x, 1),
}
