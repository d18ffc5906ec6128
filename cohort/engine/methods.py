"""One step of each method, written into a model's program: Tsit5 where nothing is stiff, Rodas5P where something is.

References
----------
[1] Tsitouras 2011, Comput Math Appl 62:770: Runge-Kutta pairs of order 5(4) satisfying only the first column
    simplifying assumption.
[2] Steinebach 2023, BIT Numer Math 63:27: Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks.
[3] Hairer & Wanner 1996, Solving Ordinary Differential Equations II, section IV.7: the form without matrix products.
[4] Markowitz 1957, Management Science 3:255: the elimination form of the inverse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cohort.engine.graph import Graph
from cohort.engine.program import Dynamics


class Tsit5:
    """Explicit, six new evaluations a step, the last one the first of the next [1]."""

    A = (
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
    )
    C = (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
    ERROR = (
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    )


class Rodas5P:
    """Linearly implicit, eight stages and one factorisation a step, stiffly accurate [2], in the form of [3]."""

    GAMMA = 0.21193756319429014
    A = (
        (),
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946),
    )  # the seventh and eighth stage stand at the one before plus its increment
    C = (
        (),
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    )
    TIMES = (0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0)
    BY_TIME = (
        0.21193756319429014,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0.0,
        0.0,
        0.0,
    )


@dataclass
class Step:
    """One step of size `h` from `y` at `t`, as nodes: the new states, and what the embedded method says is wrong."""

    new: list[int]
    error: list[int]
    last: list[int] = field(default_factory=list)  # dy/dt at the end, where the method has it


type Rates = Callable[[int, Sequence[int]], list[int]]


def rates_of(d: Dynamics, infused: Sequence[int]) -> Rates:
    """dy/dt at a time and states; `infused`: states that also take what flows in, the inputs `r.<state>`.

    Each is `kept`, fused with nothing that it enters: so it is the same whether nothing flows or nothing can.
    """
    g = d.graph
    flows = {i: g.input(f"r.{d.states[i]}") for i in infused}

    def rates(t: int, y: Sequence[int]) -> list[int]:
        inputs = {"t": t} | {f"y.{n}": node for n, node in zip(d.states, y, strict=True)}
        made = g.replay(d.rates, g, inputs)
        return [g.apply("kept", g.apply("add", node, flows[i]) if i in flows else node) for i, node in enumerate(made)]

    return rates


def states_of(d: Dynamics) -> list[int]:
    return [d.graph.input(f"y.{n}") for n in d.states]


def explicit_step(d: Dynamics, infused: Sequence[int]) -> Step:
    """A step of Tsit5. Inputs beside the model's: `h`, and `k.<state>`, dy/dt at the start."""
    g, rates = d.graph, rates_of(d, infused)
    t, h, y = g.input("t"), g.input("h"), states_of(d)
    slopes = [[g.input(f"k.{n}") for n in d.states]]
    z = y
    for row, c in zip(Tsit5.A[1:], Tsit5.C[1:], strict=True):
        z = [
            g.apply("add", y[i], g.apply("mul", h, g.total((a, k[i]) for a, k in zip(row, slopes, strict=True))))
            for i in range(len(y))
        ]
        slopes.append(rates(g.apply("add", t, g.apply("mul", g.constant(c), h)), z))
    error = [
        g.apply("mul", h, g.total((e, k[i]) for e, k in zip(Tsit5.ERROR, slopes, strict=True))) for i in range(len(y))
    ]
    return Step(z, error, slopes[-1])


def stiff_step(d: Dynamics, infused: Sequence[int]) -> Step:
    """A step of Rodas5P. Inputs beside the model's: `h`."""
    g, rates, n = d.graph, rates_of(d, infused), len(d.states)
    t, h, y = g.input("t"), g.input("h"), states_of(d)
    per_h = g.apply("inverse", h)
    diagonal = g.apply("mul", g.constant(1 / Rodas5P.GAMMA), per_h)
    matrix = {place: g.apply("neg", node) for place, node in d.jacobian.items()}
    for i in range(n):
        matrix[i, i] = g.apply("add", diagonal, matrix[i, i]) if (i, i) in matrix else diagonal
    solve = factorised(g, matrix, n)
    increments: list[list[int]] = []
    z = y
    for s, row in enumerate(Rodas5P.C):
        if s:
            a = Rodas5P.A[s] if s < len(Rodas5P.A) else None
            z = [
                g.apply("add", y[i], g.total((c, u[i]) for c, u in zip(a, increments, strict=True)))
                if a is not None
                else g.apply("add", z[i], increments[-1][i])
                for i in range(n)
            ]
        right = rates(g.apply("add", t, g.apply("mul", g.constant(Rodas5P.TIMES[s]), h)), z)
        by_time = g.apply("mul", g.constant(Rodas5P.BY_TIME[s]), h)
        right = [
            g.apply(
                "add",
                g.apply("add", right[i], g.apply("mul", by_time, d.by_time[i])),
                g.apply("mul", per_h, g.total((c, u[i]) for c, u in zip(row, increments, strict=True))),
            )
            for i in range(n)
        ]
        increments.append(solve(right))
    return Step([g.apply("add", z[i], increments[-1][i]) for i in range(n)], increments[-1])


def markowitz(pattern: set[tuple[int, int]], n: int) -> list[int]:
    """An order of elimination, on the diagonal, that fills in little: each time the row and column that touch least."""
    rows = {i: {j for a, j in pattern if a == i and j != i} for i in range(n)}
    columns = {i: {a for a, j in pattern if j == i and a != i} for i in range(n)}
    left, order = set(range(n)), []
    while left:
        best = min(
            left, key=lambda i: (len(rows[i] & left) * len(columns[i] & left), len((rows[i] | columns[i]) & left), i)
        )
        left.remove(best)
        order.append(best)
        for i in columns[best] & left:
            for j in rows[best] & left - {i}:
                rows[i].add(j)
                columns[j].add(i)
    return order


def factorised(g: Graph, matrix: Mapping[tuple[int, int], int], n: int) -> Callable[[Sequence[int]], list[int]]:
    """LU without pivoting, unrolled along the pattern. Returns a function from a right-hand side to the solution.

    No pivoting: 1/(γh) - J of a kinetic model is, for steps the error control takes, dominated by its diagonal, and a
    step that is not comes out with a large error and is taken again, smaller.
    """
    order = markowitz(set(matrix), n)
    a, lower, inverse = dict(matrix), {}, {}
    for k, pivot in enumerate(order):
        inverse[pivot] = g.apply("inverse", a[pivot, pivot])
        after = order[k + 1 :]
        for i in (i for i in after if (i, pivot) in a):
            lower[i, pivot] = g.apply("mul", a[i, pivot], inverse[pivot])
            for j in (j for j in after if (pivot, j) in a):
                product = g.apply("mul", lower[i, pivot], a[pivot, j])
                a[i, j] = g.apply("sub", a[i, j], product) if (i, j) in a else g.apply("neg", product)
    upper = {(i, j): a[i, j] for k, i in enumerate(order) for j in order[k + 1 :] if (i, j) in a}

    def solve(right: Sequence[int]) -> list[int]:
        x = list(right)
        for k, pivot in enumerate(order):
            for i in (i for i in order[k + 1 :] if (i, pivot) in lower):
                x[i] = g.apply("sub", x[i], g.apply("mul", lower[i, pivot], x[pivot]))
        for k, i in reversed(list(enumerate(order))):
            for j in (j for j in order[k + 1 :] if (i, j) in upper):
                x[i] = g.apply("sub", x[i], g.apply("mul", upper[i, j], x[j]))
            x[i] = g.apply("mul", x[i], inverse[i])
        return x

    return solve
