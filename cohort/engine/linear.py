"""Linear kinetics y' = K y + b in closed form: the matrix exponential, written out along the pattern of K.

From one event to the next y becomes Φ y + Ψ g, where Φ = exp(K Δt) and Ψ = ∫ exp(K s) ds over the interval are blocks
of the exponential of [[K, I], [0, 0]] Δt, and g is what flows in. Scaling and squaring of a Taylor polynomial [1] holds
for any K, also one whose eigenvalues coincide (a transit chain, ka = k), where a sum of exponentials loses its digits.

References
----------
[1] Moler & Van Loan 2003, SIAM Review 45:3, method 3; trusted up to a norm of 0.6 at degree 16: Al-Mohy & Higham 2011,
    SIAM J Sci Comput 33:488, table 3.1.
"""

import math
from dataclasses import dataclass

from cohort.engine.graph import Graph
from cohort.engine.methods import factorised, states_of
from cohort.engine.program import Dynamics

type Matrix = dict[tuple[int, int], int]

NORM = 0.5  # a matrix is halved until its norm is below


@dataclass
class Linear:
    """What a linear model's step is made of, as nodes. Rows and columns from `len(states)` on stand for the forcing of
    the `forced` states; `dt` is the input of that name."""

    forced: list[int]
    forcing: list[int]  # by forced state: what flows in
    norm: int  # of K, the largest sum of a row
    exponent: Matrix  # K dt, augmented
    scaled: Matrix  # inputs `a.<i>.<j>`: that, halved often enough
    taylor: Matrix  # its exponential
    power: Matrix  # inputs `e.<i>.<j>`: an exponential
    squared: Matrix
    new: list[int]  # of the states, from an exponential
    many: list[int]  # of the states after so many doses and intervals as the exponential and `sum.<state>` stand for
    doubled: list[int]  # `sum` for twice as many
    steady: list[int]  # the states a cycle brings back, from one that began at `cycle.<state>` and ended at `y.<state>`


def linear(d: Dynamics, infused: tuple[int, ...]) -> Linear:
    g, n = d.graph, len(d.states)
    y, zero = states_of(d), g.constant(0.0)
    at_rest = g.replay(d.rates, g, {f"y.{s}": zero for s in d.states})
    forced = [i for i in range(n) if i in infused or g.value(at_rest[i]) != 0]
    flows = [g.apply("add", at_rest[i], g.input(f"r.{d.states[i]}")) if i in infused else at_rest[i] for i in forced]
    rows = [[g.apply("abs", node) for (i, _), node in d.jacobian.items() if i == row] for row in range(n)]
    norm = zero  # what flows in has no part in it: its columns converge as the others do
    for row in rows:
        norm = g.apply("max", norm, _sum(g, row))
    dt = g.input("dt")
    exponent = {place: g.apply("mul", node, dt) for place, node in d.jacobian.items()}
    exponent |= {(i, n + k): dt for k, i in enumerate(forced)}
    size = n + len(forced)
    pattern = _closure(set(exponent), n, size)
    scaled = {place: g.input(f"a.{place[0]}.{place[1]}") for place in exponent}
    power = {place: g.input(f"e.{place[0]}.{place[1]}") for place in pattern}
    one = g.constant(1.0)
    full = power | {(n + k, n + k): one for k in range(len(forced))}
    taylor = exponential(g, scaled, size)
    new = [
        _sum(g, [g.apply("mul", full[i, j], (y + flows)[j]) for j in range(size) if (i, j) in full]) for i in range(n)
    ]
    sums = [g.input(f"sum.{s}") for s in d.states]

    def moved(i: int, x: list[int]) -> int:
        return _sum(g, [g.apply("mul", power[i, j], x[j]) for j in range(n) if (i, j) in power])

    def later(x: list[int]) -> list[int]:
        made = [moved(i, x) for i in range(n)]
        return [g.apply("add", a, b) for a, b in zip(sums, made, strict=True)]

    cycle = [g.input(f"cycle.{s}") for s in d.states]
    kept = [i for i in range(n) if i not in d.accumulating]  # what only adds up has no steady state and starts anew
    closing = {
        (kept.index(i), kept.index(j)): g.apply("sub", one if i == j else zero, node)
        for (i, j), node in power.items()
        if i in kept and j in kept
    }
    lost = [g.apply("sub", y[i], moved(i, cycle)) for i in kept]
    steady = list(d.initial)
    for i, node in zip(kept, factorised(g, closing, len(kept))(lost), strict=True):
        steady[i] = node
    return Linear(
        forced=forced,
        forcing=flows,
        norm=norm,
        exponent=exponent,
        scaled=scaled,
        taylor={place: taylor[place] for place in pattern},
        power=power,
        squared={place: node for place, node in product(g, full, full, size).items() if place in pattern},
        new=new,
        many=later(y),
        doubled=later(sums),
        steady=steady,
    )


def _closure(pattern: set[tuple[int, int]], n: int, size: int) -> set[tuple[int, int]]:
    """Where the exponential is not structurally the unit matrix: what reaches what, and the diagonal of the states."""
    reach = pattern | {(i, i) for i in range(n)}
    for k in range(size):
        reach |= {(i, j) for i, a in reach if a == k for b, j in reach if b == k}
    return reach


def _sum(g: Graph, nodes: list[int]) -> int:
    total = g.constant(0.0)
    for node in nodes:
        total = g.apply("add", total, node)
    return total


def product(g: Graph, a: Matrix, b: Matrix, size: int) -> Matrix:
    made: Matrix = {}
    for i in range(size):
        for j in range(size):
            terms = [g.apply("mul", a[i, k], b[k, j]) for k in range(size) if (i, k) in a and (k, j) in b]
            if terms:
                made[i, j] = _sum(g, terms)
    return made


def exponential(g: Graph, a: Matrix, size: int) -> Matrix:
    """The Taylor polynomial of degree 16, in six products: powers to the fourth, then Horner's rule in that."""
    unit: Matrix = {(i, i): g.constant(1.0) for i in range(size)}
    second = product(g, a, a, size)
    third = product(g, second, a, size)
    fourth = product(g, second, second, size)
    powers = [unit, a, second, third, fourth]

    def mixed(first: int, many: int) -> Matrix:
        places = {place for m in powers[:many] for place in m}
        return {
            place: g.total((1 / math.factorial(first + k), m[place]) for k, m in enumerate(powers[:many]) if place in m)
            for place in sorted(places)
        }

    made = mixed(12, 5)
    for first in (8, 4, 0):
        higher, lower = product(g, made, fourth, size), mixed(first, 4)
        made = {
            place: g.apply("add", lower.get(place, g.constant(0.0)), higher.get(place, g.constant(0.0)))
            for place in sorted(set(lower) | set(higher))
        }
    return made
