"""The engine in JAX: patients side by side in tiles, for gradients and GPUs, and as a check on the native one.

A tile is a fixed number of lanes, one patient each, with a time, a step and an error of their own. What happens to one
lane never enters another, so a patient's bits depend on the width of the tile alone, which is part of the record. All
lanes go to the next row of their course, and when the last is there every one does what its row says: a patient who
takes many steps takes them everywhere, so there is little to win by letting the others run ahead.

XLA copies an expression into everything that uses it, unless it stands behind a barrier: what several expressions use
and is not cheap to compute anew is put there.

References
----------
[1] Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I, section II.4: the norm of an error, what
    it says of the next step, and the first step.
"""

import functools
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cohort.engine.graph import FUNCTIONS, MEANING, Graph
from cohort.engine.linear import NORM
from cohort.engine.methods import rates_of, states_of
from cohort.engine.problem import INSIDE, ON_THE_WAY, Problem, parts
from cohort.engine.schedule import (
    ADD,
    DECIDE,
    OBSERVE,
    PASS,
    RATE,
    RESET,
    SET,
    STEADY_ADD,
    STEADY_CHECK,
    STEADY_START,
    Plan,
)
from cohort.engine.solved import FINISHED, NOT_FINITE, STEP_LIMIT, Solved

WIDTHS = {"linear": 128, "explicit": 128, "stiff": 64}  # lanes of a tile
OPTIONS = {"xla_cpu_prefer_vector_width": 512}  # of the compiler; they and the width decide the bits
CYCLES = 10_000  # of a dosing interval, in search of a steady state
SLOW = dict.fromkeys(("inverse", "sqrt", *FUNCTIONS), 16)  # operations, in additions
CHEAP = 4  # additions that are sooner done again than kept


class Rows(NamedTuple):
    """The rows of each lane's course, (rows, lanes)."""

    time: Any
    code: Any
    slot: Any
    value: Any
    gap: Any  # which of the gaps ends here
    gaps: Any  # (gaps, lanes), the lengths of time that a linear model goes at once, each only once
    visit: Any  # (visits, lanes), the row at which each is seen


class Lanes(NamedTuple):
    """Where each lane stands: arrays of (lanes,), and tuples of them."""

    row: Any  # of its course, the one to do next; counted where a lane may go back
    t: Any
    y: tuple
    fresh: Any  # whether something has changed since the last step
    h: Any  # the step to try next
    slopes: tuple  # dy/dt, where the method takes it along
    tries: Any  # steps since the last row
    inputs: tuple  # of the program, that SET changes
    rates: tuple  # by target: what is infused
    ordered: tuple  # by target: what a rule has flow in
    flows: tuple  # by infused state: the sum of these
    doses: tuple  # by target: the dose that a rule ordered, NaN where it did not
    memory: tuple
    saved: tuple  # the states before a steady state was sought
    cycle: tuple  # at the start of a cycle
    moved: tuple  # and how far the cycle before moved them
    calm: tuple  # and whether that was next to nothing
    cycles: Any
    code: Any
    steps: Any


def run(
    problem: Problem,
    values: Mapping[str, np.ndarray],
    plan: Plan,
    noise: np.ndarray | None,
    rtol: float,
    atol: float,
    most: int,
    threads: int = 1,
    width: int = 0,
) -> Solved:
    """Solve for n subjects. `values`: of each input of the program, (n,). `noise`: (n, decisions, outputs).

    `most`: steps between two rows. `width`: lanes of a tile, WIDTHS unless said.
    """
    n, width = len(plan.course), width or WIDTHS[problem.solver]
    courses, outputs = _Courses(plan, problem.solver), len(parts(problem).dynamics.outputs)
    names = tuple(sorted(values))
    table = np.stack([np.broadcast_to(np.asarray(values[name], float), n) for name in names] or [np.zeros(n)])
    program = _compiled(problem, names, courses.kinds)
    drawn = np.zeros((n, 1, outputs)) if noise is None else noise

    def tile(start: int) -> list[np.ndarray]:
        lanes = np.minimum(np.arange(start, start + width), n - 1)  # the padding repeats the last subject
        rows, last = courses.rows(plan.course[lanes])
        noise = drawn[lanes].transpose(1, 2, 0)
        return jax.device_get(program(table[:, lanes], rows, last, noise, float(rtol), float(atol), int(most)))

    starts = range(0, n, width)
    first = [tile(start) for start in starts[:1]]  # one thread compiles
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        tiles = first + list(pool.map(tile, starts[1:]))
    nobody = [np.zeros((outputs, plan.visits, 0)), np.zeros(0, int), np.zeros(0), np.zeros(0, int), np.zeros(0, int)]
    out, code, time, state, steps = (np.concatenate(a, axis=-1)[..., :n] for a in zip(nobody, *tiles, strict=True))
    return Solved(np.moveaxis(out, -1, 1), code, time, state, steps)


def differentiable(
    problem: Problem, plan: Plan, rtol: float, atol: float, most: int, others: Mapping[str, Any] | None = None
) -> Callable[[Any], Any]:
    """A function from Parameters of (n,) arrays, or of single values, to Outputs of (n, visits): for `jax.jvp`,
    `jax.jacfwd`, `jax.vmap` and `jax.jit`.

    What it differentiates is the computed solution, its steps held fixed. The plan's times do not move with the
    parameters. `others`: values of the program's inputs that are not parameters. A subject who fails is NaN.
    """
    n, courses, made = len(plan.course), _Courses(plan, problem.solver), parts(problem).dynamics
    rows, last = courses.rows(plan.course)

    def solve(p: Any) -> Any:
        values = {f"p.{name}": value for name, value in vars(p).items()} | dict(others or {})
        names = tuple(sorted(values))
        table = jnp.stack([jnp.broadcast_to(jnp.asarray(values[name], float), n) for name in names])
        tile = jax.jit(_tile(problem, names, courses.kinds))
        out = tile(table, rows, last, jnp.zeros((1, len(made.outputs), n)), rtol, atol, most)[0]
        return problem.model.outputs(**dict(zip(made.outputs, jnp.swapaxes(out, 1, 2), strict=True)))

    return solve


class _Courses:
    """A plan as tiles want it."""

    def __init__(self, plan: Plan, solver: str) -> None:
        self.plan, self.linear = plan, solver == "linear"
        self.kinds = frozenset(np.unique(plan.code).tolist())
        self.length = np.diff(plan.start)
        self.rows_at_most = _rounded(int(self.length.max(initial=1)))
        self.known: dict[bytes, tuple[Rows, int]] = {}
        self.lock = threading.Lock()

    def rows(self, course: np.ndarray) -> tuple[Rows, int]:
        """Rows of lanes that follow these courses, and how many count; the last are kept, for most tiles are alike."""
        with self.lock:
            key = course.tobytes()
            if key not in self.known:
                self.known = {key: self._rows(course)}
            return self.known[key]

    def _rows(self, course: np.ndarray) -> tuple[Rows, int]:
        p, length = self.plan, self.length[course]
        k = np.arange(self.rows_at_most)[:, None]
        index = np.where(length > 0, p.start[course] + np.minimum(k, length - 1), 0)

        def of(column: np.ndarray, kind: type) -> np.ndarray:
            return (column[index] if len(column) else np.zeros(index.shape)).astype(kind)

        time, slot, value = of(p.time, float), of(p.slot, np.int32), of(p.value, float)
        code = np.where(k < length, of(p.code, np.int32), np.int32(PASS))
        gap, gaps = np.zeros_like(slot), np.zeros((1, len(course)))
        if self.linear:
            before = np.where(code == STEADY_START, value, time)  # the clock after each row
            gap, gaps = _distinct(np.maximum(time - np.concatenate([time[:1], before[:-1]]), 0.0))
        visit = np.full((p.visits, len(course)), self.rows_at_most, np.int32)  # a row that no lane has
        at, lane = np.nonzero(code == OBSERVE)
        visit[slot[at, lane], lane] = at
        return jax.device_put(Rows(time, code, slot, value, gap, gaps, visit)), int(length.max(initial=0))


def _rounded(size: int) -> int:
    """A size that few programs do for many plans."""
    return max(8, 1 << (size - 1).bit_length())


def _distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of its lane's distinct values each is, and these. values: (rows, lanes); they: (distinct, lanes)."""
    order = np.argsort(values, axis=0, kind="stable")
    ascending = np.take_along_axis(values, order, axis=0)
    rank = np.cumsum(np.diff(ascending, axis=0, prepend=ascending[:1]) > 0, axis=0, dtype=np.int32)
    which, distinct = np.empty_like(rank), np.zeros((_rounded(int(rank.max()) + 1), values.shape[1]))
    np.put_along_axis(which, order, rank, axis=0)
    np.put_along_axis(distinct, rank, ascending, axis=0)
    return which, distinct


class _Program:
    """A problem's graph, evaluated with arrays of (lanes,) in place of numbers."""

    def __init__(self, problem: Problem) -> None:
        self.parts = parts(problem)
        self.d, self.graph = self.parts.dynamics, self.parts.dynamics.graph
        self.linear = self.parts.linear
        with _writing:
            self.slopes = rates_of(self.d, problem.infused)(self.graph.input("t"), states_of(self.d))
        step, closed, orders = self.parts.step, self.linear, self.parts.orders
        wanted = [*self.slopes, *self.d.observe, *self.d.initial, *self.parts.arrives]
        wanted += [*step.new, *step.error, *step.last] if step else []
        wanted += [closed.norm, *closed.exponent.values(), *closed.new, *closed.steady] if closed else []
        wanted += [*orders.memory, *orders.doses.values(), *orders.rates.values()] if orders else []
        moves: dict[int, bool] = {}
        order = self.graph.reached(wanted)
        for node in order:
            name = self.graph.name(node) or ""
            moves[node] = name in ON_THE_WAY or name.startswith(INSIDE)
            moves[node] |= any(moves[a] for a in self.graph.arguments(node))
        needed = {a for node in order if moves[node] for a in self.graph.arguments(node)} | set(wanted)
        self.still = [n for n in order if n in needed and not moves[n] and self.graph.arguments(n)]
        self.kept: dict[tuple[int, ...], set[int]] = {}

    def prepare(self, inputs: Mapping[str, Any]) -> dict[int, Any]:
        """What changes with no step, computed once."""
        return dict(zip(self.still, self.graph.evaluate(self.still, inputs), strict=True))

    def __call__(self, wanted: Sequence[int], inputs: Mapping[str, Any], prepared: Mapping[int, Any]) -> list[Any]:
        """The wanted nodes, arrays of (lanes,)."""
        if tuple(wanted) not in self.kept:
            self.kept[tuple(wanted)] = _kept(self.graph, wanted, prepared)
        kept, made = self.kept[tuple(wanted)], dict(prepared)
        for node in self.graph.reached(wanted):
            op, *rest = self.graph.nodes[node]
            if op == "input":
                made[node] = inputs[rest[0]]
            elif op == "constant":
                made[node] = float.fromhex(rest[0])
            elif node not in made:
                value = MEANING[op](*(made[a] for a in rest))
                made[node] = lax.optimization_barrier(value) if node in kept else value
        return [jnp.broadcast_to(made[node], inputs["t"].shape) for node in wanted]


def _kept(graph: Graph, wanted: Sequence[int], known: Collection[int]) -> set[int]:
    """The nodes whose value is kept, since to compute it anew for each that uses it would cost more."""
    order = [n for n in graph.reached(wanted) if n not in known and graph.arguments(n)]
    uses = dict.fromkeys(order, 0)
    for node in [a for n in order for a in set(graph.arguments(n))] + list(wanted):
        if node in uses:
            uses[node] += 1
    kept: set[int] = set()
    for node in order:
        anew, left = set(), [node]
        while left:
            one = left.pop()
            if one not in anew:
                anew.add(one)
                left += [a for a in graph.arguments(one) if a in uses and a not in kept]
        if (uses[node] - 1) * sum(SLOW.get(graph.nodes[a][0], 1) for a in anew) > CHEAP:
            kept.add(node)
    return kept


def _choose(which: Any, new: Sequence[Any], old: Sequence[Any]) -> tuple:
    return tuple(jnp.where(which, a, b) for a, b in zip(new, old, strict=True))


def _all(truths: Sequence[Any]) -> Any:
    return functools.reduce(jnp.logical_and, truths)


def _squares(errors: Sequence[Any], scales: Sequence[Any]) -> Any:
    """Mean square of errors in units of what is tolerated [1, eq. 4.11]."""
    return functools.reduce(jnp.add, [(e / s) ** 2 for e, s in zip(errors, scales, strict=True)]) / len(errors)


_writing = threading.Lock()  # a graph takes one hand at a time


@functools.lru_cache(maxsize=64)
def _compiled(problem: Problem, names: tuple[str, ...], kinds: frozenset[int]) -> Callable[..., Any]:
    return jax.jit(_tile(problem, names, kinds), compiler_options=OPTIONS)


@functools.lru_cache(maxsize=64)
def _tile(problem: Problem, names: tuple[str, ...], kinds: frozenset[int]) -> Callable[..., Any]:
    """A function that takes a tile of lanes through their courses.

    `names`: of the rows of its table of inputs. `kinds`: the codes that occur; nothing is compiled for the others. It
    returns outputs of (outputs, visits, lanes), and code, time, state and steps of (lanes,).
    """
    program = _Program(problem)
    made, d = program.parts, program.d
    step, closed, orders = made.step, program.linear, made.orders
    states, targets = range(len(d.states)), range(len(problem.targets))
    carries = bool(step and step.last)
    steady = STEADY_START in kinds

    def tile(table: Any, rows: Rows, last: Any, noise: Any, rtol: Any, atol: Any, most: Any) -> Any:
        given = dict(zip(names, table, strict=True))
        at_most, width = rows.time.shape
        zero, none = jnp.zeros(width), jnp.zeros(width, int)
        once = {} if problem.inputs else program.prepare(given)

        def inputs_of(s: Lanes) -> tuple[dict[str, Any], Mapping[int, Any]]:
            inputs = given | dict(zip(problem.inputs, s.inputs, strict=True)) | {"t": s.t}
            inputs |= {f"y.{n}": v for n, v in zip(d.states, s.y, strict=True)}
            inputs |= {f"r.{d.states[i]}": v for i, v in zip(problem.infused, s.flows, strict=True)}
            return inputs, program.prepare(inputs) if problem.inputs else once

        def tolerated(*several: Sequence[Any]) -> list[Any]:
            return [atol + rtol * functools.reduce(jnp.maximum, map(jnp.abs, y)) for y in zip(*several, strict=True)]

        def first_step(inputs: dict[str, Any], prepared: Mapping[int, Any], y: tuple, slopes: Sequence[Any]) -> Any:
            """[1, p. 169]"""
            scales = tolerated(y)
            d0, d1 = _squares(y, scales), _squares(slopes, scales)
            known = (d0 > 1e-10) & (d1 > 1e-10)
            guess = jnp.where(known, 0.01 * jnp.sqrt(d0 / jnp.where(known, d1, 1.0)), 1e-6)
            euler = {f"y.{n}": v + guess * k for n, v, k in zip(d.states, y, slopes, strict=True)}
            later = program(program.slopes, inputs | euler | {"t": inputs["t"] + guess}, prepared)
            bend = _squares([b - a for a, b in zip(slopes, later, strict=True)], scales) / guess**2
            steepest = jnp.maximum(d1, jnp.where(jnp.isfinite(bend), bend, 0.0))
            step = 0.01**0.2 * jnp.maximum(steepest, 1e-30) ** -0.1
            return lax.stop_gradient(jnp.where(known, jnp.minimum(100 * guess, step), step))

        def start(s: Lanes, due: Any) -> Lanes:
            """What flows, how steeply the states rise and the step to try, where something has changed."""
            inputs, prepared = inputs_of(s)
            fresh = s.fresh & due
            s = s._replace(fresh=s.fresh & ~due)
            if problem.infused:
                arrives = program(made.arrives, inputs, prepared)
                total = {i: zero for i in problem.infused}
                for j in targets:
                    if made.into[j] in total:
                        total[made.into[j]] += s.rates[j] + s.ordered[j] * arrives[j]
                s = s._replace(flows=_choose(fresh, list(total.values()), s.flows))
                inputs, prepared = inputs_of(s)
            if closed:
                return s
            slopes = program(program.slopes, inputs, prepared)
            lost = fresh & ~_all([jnp.isfinite(v) for v in (*s.y, *slopes)])
            return s._replace(
                h=jnp.where(fresh, first_step(inputs, prepared, s.y, slopes), s.h),
                slopes=_choose(fresh, slopes, s.slopes) if carries else (),
                code=jnp.where(lost, NOT_FINITE, s.code),
            )

        def advance(s: Lanes, going: Any, until: Any) -> Lanes:
            """Every lane to its own `until`, in steps of its own."""
            inputs, prepared = inputs_of(s)

            def on_the_way(s: Lanes) -> Any:
                return going & (s.t < until) & (s.code == FINISHED)

            def one_step(s: Lanes) -> Lanes:
                active, left = on_the_way(s), until - s.t
                arrives = s.h >= left
                even = jnp.where(left < 2 * s.h, 0.5 * left, s.h)  # no sliver is left to the end
                h = jnp.where(active, jnp.where(arrives, left, even), 1.0)
                now = inputs | {"t": s.t, "h": h}
                now |= {f"y.{n}": v for n, v in zip(d.states, s.y, strict=True)}
                now |= {f"k.{n}": v for n, v in zip(d.states, s.slopes, strict=carries)}
                assert step is not None
                made = iter(program([*step.new, *step.error, *step.last], now, prepared))
                new, error, slopes = [next(made) for _ in states], [next(made) for _ in states], list(made)
                wrong = lax.stop_gradient(_squares(error, tolerated(s.y, new)))
                factor = jnp.where(wrong < jnp.inf, jnp.clip(0.9 * jnp.exp(-0.1 * jnp.log(wrong)), 0.2, 6.0), 0.2)
                good = active & (wrong <= 1)
                there = good & arrives
                tries = s.tries + active
                stuck = (active & ~good & (h <= 1e-14 * jnp.abs(s.t) + 1e-300)) | (active & ~there & (tries > most))
                code = jnp.where(jnp.isfinite(wrong), STEP_LIMIT, NOT_FINITE)
                h = jnp.where(there, jnp.maximum(s.h, h * factor), h * factor)
                return s._replace(
                    t=jnp.where(good, jnp.where(arrives, until, s.t + now["h"]), s.t),
                    y=_choose(good, new, s.y),
                    slopes=_choose(good, slopes, s.slopes) if carries else (),
                    h=jnp.where(active, h, s.h),
                    tries=tries,
                    code=jnp.where(stuck, code, s.code),
                    steps=s.steps + active,
                )

            return lax.while_loop(lambda s: jnp.any(on_the_way(s)), one_step, s)

        def exponential(inputs: dict[str, Any], prepared: Mapping[int, Any], dt: Any) -> dict[str, Any]:
            """The inputs `e.*`: halved until Taylor's polynomial holds, and squared as often."""
            assert closed is not None
            (norm,) = program([closed.norm], inputs, prepared)
            times = jnp.clip(jnp.ceil(jnp.log2(lax.stop_gradient(norm * dt) / NORM)), 0, 1000)
            times = jnp.where(jnp.isnan(times), 0, times).astype(int)
            exponent = program(list(closed.exponent.values()), inputs | {"dt": dt}, prepared)
            half = jnp.ldexp(jnp.ones(width), -times)  # exactly: its error would be squared as often
            halved = {f"a.{i}.{j}": v * half for (i, j), v in zip(closed.exponent, exponent, strict=True)}
            names = [f"e.{i}.{j}" for i, j in closed.taylor]
            squared = [closed.squared[place] for place in closed.taylor]

            def square(state: Any) -> Any:
                left, power = state
                new = program(squared, inputs | dict(zip(names, power, strict=True)), {})
                return left - 1, _choose(left > 0, new, power)

            taylor = tuple(program(list(closed.taylor.values()), inputs | halved, prepared))
            _, power = lax.while_loop(lambda state: jnp.any(state[0] > 0), square, (times, taylor))
            return dict(zip(names, power, strict=True))

        def propagate(s: Lanes, going: Any, until: Any, gap: Any) -> Lanes:
            """Every lane to its own `until`, exactly."""
            assert closed is not None
            inputs, prepared = inputs_of(s)
            active = going & (s.t < until)
            if problem.inputs:
                power = exponential(inputs, prepared, jnp.where(active, until - s.t, 0.0))
            else:
                power = {n: jnp.take_along_axis(v, gap[None], axis=0)[0] for n, v in powers.items()}
            new = program(closed.new, inputs | lax.optimization_barrier(power), prepared)
            t = jnp.where(active, until, s.t)
            return s._replace(t=t, y=_choose(active, new, s.y), steps=s.steps + active)

        def act(s: Lanes, arrived: Any, code: Any, slot: Any, value: Any, seen: Sequence[Any]) -> Lanes:
            """Every lane that is there does what its row says."""
            inputs, prepared = inputs_of(s)

            def doing(*kinds: int) -> Any:
                return arrived & functools.reduce(jnp.logical_or, [code == kind for kind in kinds])

            def chosen(kind: int, new: Sequence[Any], old: Sequence[Any]) -> tuple:
                """By slot."""
                return tuple(jnp.where(doing(kind) & (slot == j), new[j], old[j]) for j in range(len(old)))

            s = s._replace(row=s.row + arrived, tries=jnp.where(arrived, 0, s.tries))
            if ADD in kinds:
                arrives = program(made.arrives, inputs, prepared)
                ordered = s.doses or (jnp.full(width, jnp.nan),) * len(targets)
                y = list(s.y)
                for j, i in zip(targets, made.into, strict=True):
                    amount = jnp.where(jnp.isnan(ordered[j]), value, ordered[j]) * arrives[j]
                    y[i] = jnp.where(doing(ADD) & (slot == j), y[i] + amount, y[i])
                s = s._replace(y=tuple(y))
            if RATE in kinds:
                s = s._replace(rates=chosen(RATE, [value] * len(targets), s.rates))
            if SET in kinds:
                s = s._replace(inputs=chosen(SET, [value] * len(s.inputs), s.inputs))
            if DECIDE in kinds and orders:
                which = jnp.clip(slot, 0, len(noise) - 1)[None, None, :]
                drawn = jnp.take_along_axis(noise, jnp.broadcast_to(which, (1, *noise.shape[1:])), axis=0)[0]
                now = inputs | {f"seen.{n}": v for n, v in zip(d.outputs, seen, strict=True)}
                now |= {f"z.{n}": v for n, v in zip(d.outputs, drawn, strict=True)}
                now |= dict(zip(orders.start, s.memory, strict=True))

                def order(nodes: Mapping[int, int], old: tuple) -> tuple:
                    made = program(list(nodes.values()), now, prepared)  # what cannot be is endless, and fails
                    new = {j: jnp.where(v >= 0, v, jnp.inf) for j, v in zip(nodes, made, strict=True)}
                    return tuple(jnp.where(doing(DECIDE), new[j], v) if j in new else v for j, v in enumerate(old))

                s = s._replace(
                    memory=_choose(doing(DECIDE), program(orders.memory, now, prepared), s.memory),
                    doses=order(orders.doses, s.doses),
                    ordered=order(orders.rates, s.ordered),
                )
            if kinds & {RESET, STEADY_START}:
                initial = program(d.initial, inputs, prepared)
                back = doing(RESET, STEADY_START)
                if steady:
                    s = seek(s, initial, doing, value, slot)
                nothing = [zero] * len(targets)
                s = s._replace(y=_choose(back, initial, s.y), rates=_choose(back, nothing, s.rates))
                if RESET in kinds:
                    s = s._replace(ordered=_choose(doing(RESET), nothing, s.ordered))
            return s._replace(fresh=s.fresh | (arrived & (code != OBSERVE) & (code != PASS)))

        def seek(s: Lanes, initial: Sequence[Any], doing: Any, value: Any, slot: Any) -> Lanes:
            """The state that a cycle of doses brings back."""
            begins, check = doing(STEADY_START), doing(STEADY_CHECK)
            y = _choose(doing(STEADY_ADD), [a + b - c for a, b, c in zip(s.y, s.saved, initial, strict=True)], s.y)
            s = s._replace(saved=_choose(begins, s.y, s.saved))
            if closed:  # one cycle tells
                inputs, prepared = inputs_of(s)
                inputs |= {f"cycle.{n}": v for n, v in zip(d.states, s.cycle, strict=True)}
                inputs |= exponential(inputs, prepared, jnp.where(check, s.t - value, 0.0))
                y = _choose(check, program(closed.steady, inputs, prepared), y)
                again = check & False
            else:
                moved = [jnp.abs(a - b) for a, b in zip(s.y, s.cycle, strict=True)]
                share = [a / b for a, b in zip(moved, s.moved, strict=True)]  # of the cycle before, and so of the next
                left = [a / (1 - b) for a, b in zip(moved, share, strict=True)]
                # a change of about the tolerance that gets no smaller is the error of the steps, which may alternate
                near = [
                    jnp.where(share < 1, left <= tolerance, moved <= 10 * tolerance) & (s.cycles > 0) | (moved == 0)
                    for left, share, moved, tolerance in zip(left, share, moved, tolerated(s.y), strict=True)
                ]
                settled = [
                    jnp.full_like(a, True) if i in d.accumulating else a | b
                    for i, (a, b) in enumerate(zip(near, s.calm, strict=True))
                ]
                again = check & ~_all(settled)
                s = s._replace(moved=_choose(check, moved, s.moved), calm=_choose(check, near, s.calm))
                y = tuple(jnp.where(check, initial[i], v) if i in d.accumulating else v for i, v in enumerate(y))
            s = s._replace(
                y=y,
                t=jnp.where(begins | again, value, s.t),
                row=jnp.where(again, s.row - 1 - slot, s.row),
                cycle=_choose(begins, initial, _choose(check, s.y, s.cycle)),
                cycles=jnp.where(begins, 0, s.cycles + check),
                code=jnp.where(again & (s.cycles >= CYCLES), STEP_LIMIT, s.code),
            )
            return s._replace(
                moved=tuple(jnp.where(begins, jnp.inf, v) for v in s.moved),
                calm=tuple(jnp.where(begins, False, v) for v in s.calm),
            )

        def turn(s: Lanes, going: Any, time: Any, code: Any, slot: Any, value: Any, gap: Any) -> tuple[Lanes, Any, Any]:
            """Lanes go to their next row and do it. Returns them, which of them did, and what was to be seen."""
            s = start(s, going & (s.t < time))
            s = propagate(s, going, time, gap) if closed else advance(s, going, time)
            arrived = going & (s.code == FINISHED)
            seen = program(d.observe, *inputs_of(s))
            return act(s, arrived, code, slot, value, seen), arrived, jnp.stack(seen)

        def together(k: Any, state: Any) -> Any:
            """Every lane does its k-th row."""
            s, seen = state
            s, arrived, now = turn(s, s.code == FINISHED, *(column[k] for column in rows[:5]))
            return s, seen.at[k].set(jnp.where(arrived, now, jnp.nan))

        def apart(state: Any) -> Any:
            """Every lane does its own next row, which in search of a steady state may be one that it did before."""
            s, seen = state
            row, going = s.row, under_way(s)
            here = (jnp.take_along_axis(column, jnp.minimum(row, last - 1)[None], axis=0)[0] for column in rows[:5])
            s, arrived, now = turn(s, going, *here)
            place = (jnp.arange(at_most + 1)[:, None] == row) & arrived
            return s, jnp.where(place[:, None, :], now, seen)

        def under_way(s: Lanes) -> Any:
            return (s.row < last) & (s.code == FINISHED)

        everyone = (zero,) * len(states)
        s = Lanes(
            row=none,
            t=rows.time[0],
            y=everyone,
            fresh=none == 0,
            h=zero,
            slopes=everyone if carries else (),
            tries=none,
            inputs=tuple(given[name] for name in problem.inputs),
            rates=(zero,) * len(targets),
            ordered=(zero,) * len(targets),
            flows=(zero,) * len(problem.infused),
            doses=(jnp.full(width, jnp.nan),) * len(targets) if orders else (),
            memory=tuple(jnp.full(width, v) for v in orders.start.values()) if orders else (),
            saved=everyone if steady else (),
            cycle=everyone if steady else (),
            moved=everyone if steady else (),
            calm=tuple(jnp.zeros_like(v, bool) for v in everyone) if steady else (),
            cycles=none,
            code=jnp.full(width, FINISHED),
            steps=none,
        )
        s = s._replace(y=tuple(program(d.initial, *inputs_of(s))))
        powers = {}
        if closed and not problem.inputs:
            inputs, prepared = inputs_of(s)
            powers = lax.map(lambda dt: exponential(inputs, prepared, dt), rows.gaps)
        seen = jnp.full((at_most + 1, len(d.outputs), width), jnp.nan)
        if steady:
            s, seen = lax.while_loop(lambda state: jnp.any(under_way(state[0])), apart, (s, seen))
        else:
            s, seen = lax.fori_loop(0, last, together, (s, seen))

        failed = s.code != FINISHED
        inputs, prepared = inputs_of(s)
        slopes = program(program.slopes, inputs, prepared)
        worst = [jnp.abs(k) / scale for k, scale in zip(slopes, tolerated(s.y), strict=True)]
        # The state that is no number, or the one that moves fastest for what is tolerated.
        worst = [jnp.where(jnp.isfinite(a) & jnp.isfinite(b), a, jnp.inf) for a, b in zip(worst, s.y, strict=True)]
        state = jnp.where(failed, jnp.argmax(jnp.stack(worst), axis=0), -1)
        out = jnp.take_along_axis(seen, rows.visit[:, None, :], axis=0)
        return jnp.swapaxes(out, 0, 1), s.code, jnp.where(failed, s.t, jnp.nan), state, s.steps

    return tile
