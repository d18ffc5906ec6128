"""The native back end: a problem's program as machine code that takes several patients a step at once.

A block of patients shares the vector registers and nothing else: each lane has its own time, step and place in its
plan, and when a patient is done the next one takes the lane. So a patient's bits are the same in any company.
"""

import contextlib
import ctypes
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llvmlite import ir

from cohort.engine import machine, schedule
from cohort.engine.linear import NORM, Linear, linear
from cohort.engine.problem import Parts, Problem, parts
from cohort.engine.schedule import Plan
from cohort.engine.solved import FINISHED, NOT_FINITE, STEP_LIMIT, Solved
from cohort.engine.vector import DOUBLE, I64, Vector, emit

I1, I32, VOID = ir.IntType(1), ir.IntType(32), ir.VoidType()
EMPTY, FRESH, RUNNING = 0, 1, 2  # a lane: without a patient, with one whose program is to be prepared, on its way
SAFETY, SHRINK, GROW = 0.9, 0.2, 6.0
TINY = 1e-14  # a step this far below the time is none
CYCLES = 10_000  # of a dosing interval, in search of a steady state
WHOLE = ("subjects", "course", "start", "code", "slot", "interval", "intervals", "failed", "failed_state")
REAL = ("theta", "time", "value", "lengths", "noise", "out", "failed_at", "steps", "scratch")
REPEAT = 10  # an action of this back end's own: as many doses so far apart, in closed form
SEVERAL = 8  # doses from which on this pays
TOGETHER = (schedule.OBSERVE, schedule.ADD, schedule.RATE, schedule.RESET, schedule.PASS, REPEAT)
NUMBERS = ("first", "last", "n", "visits", "decisions", "most")
SETTINGS = ("rtol", "atol")


def _integer(k: int) -> Any:
    return ir.Constant(I64, k)


class Frame:
    """Vectors in memory, by name; those of a group lie one after another. A lane of one is a number."""

    def __init__(self, width: int, groups: Mapping[str, Sequence[str]]):
        self.width = width
        self.slots: dict[str, int] = {}
        self.first: dict[str, int] = {}
        for group, names in groups.items():
            self.first[group] = len(self.slots)
            for name in names:
                self.slots[name] = len(self.slots)

    def __len__(self) -> int:
        return len(self.slots)


@dataclass(frozen=True)
class Layout:
    """What of a subject a kernel reads, in order, and how the frame of a block is laid out."""

    theta: tuple[str, ...]
    frame: Frame
    hoisted: dict[int, str]
    linear: Linear | None


INSIDE = ("y.", "k.", "r.", "seen.", "z.", "m.", "cycle.", "sum.", "a.", "e.")


def layout(problem: Problem, made: Parts, width: int) -> Layout:
    d, g = made.dynamics, made.dynamics.graph
    closed = linear(d, problem.infused) if problem.solver == "linear" else None
    wanted = [*d.initial, *d.rates, *d.observe, *made.arrives]
    if made.step:
        wanted += [*made.step.new, *made.step.error, *made.step.last]
    if closed:
        wanted += [
            closed.norm,
            *closed.exponent.values(),
            *closed.new,
            *closed.forcing,
            *closed.many,
            *closed.doubled,
            *closed.steady,
        ]
    if made.orders:
        wanted += [*made.orders.memory, *made.orders.doses.values(), *made.orders.rates.values()]
    order = g.reached(wanted)
    named = {node: g.name(node) for node in order}
    theta = {
        name for name in named.values() if name and name not in ("t", "h", "dt") and not name.startswith(INSIDE)
    } | set(problem.inputs)
    constant: set[int] = set()  # nodes that depend on the subject alone
    for node in order:
        op, *args = g.nodes[node]
        if (
            op == "constant"
            or (op == "input" and args[0] in theta)
            or (op != "input" and all(a in constant for a in args))
        ):
            constant.add(node)
    needed = {a for node in order if node not in constant for a in g.arguments(node)} | set(wanted)
    hoisted = {
        node: f"q.{node}"
        for node in order
        if node in needed and node in constant and g.nodes[node][0] not in ("constant", "input")
    }
    s, o, k = d.states, d.outputs, range(len(problem.targets))
    memory = tuple(made.orders.start) if made.orders else ()
    groups: dict[str, Sequence[str]] = {
        "clock": ("t", "tn", "h", "n", "steps"),
        "y": [f"y.{x}" for x in s],
        "k": [f"k.{x}" for x in s],
        "r": [f"r.{x}" for x in s],
        "theta": sorted(theta),
        "q": list(hoisted.values()),
        "seen": [f"seen.{x}" for x in o],
        "arrives": [f"arrives.{x}" for x in k],
        "rate": [f"rate.{x}" for x in k],
        "flow": [f"flow.{x}" for x in k],
        "order": [f"order.{x}" for x in k],
        "begin": [f"begin.{x}" for x in s],
        "kept": [f"kept.{x}" for x in s],
        "cycle": [f"cycle.{x}" for x in s],
        "delta": [f"delta.{x}" for x in s],
        "cycles": ["cycles", "dt", "count"],
        "z": [f"z.{x}" for x in o],
        "m": memory,
        "then": [f"then.{x}" for x in memory],
        "dose": [f"dose.{x}" for x in k],
        "go": [f"go.{x}" for x in k],
        "e": [f"e.{i}.{j}" for i, j in closed.power] if closed else [],
        "solved": [f"solved.{x}" for x in s] if closed else [],
        "sum": [f"sum.{x}" for x in s] if closed else [],
    }
    return Layout(tuple(sorted(theta)), Frame(width, groups), hoisted, closed)


class Writer:
    """The kernel's text, piece by piece."""

    def __init__(self, problem: Problem, width: int):
        self.problem, self.width = problem, width
        self.parts = parts(problem)
        self.d, self.g = self.parts.dynamics, self.parts.dynamics.graph
        self.layout = layout(problem, self.parts, width)
        self.frame, self.closed = self.layout.frame, self.layout.linear
        self.module = ir.Module("kernel")
        kinds = [I64.as_pointer()] * len(WHOLE) + [DOUBLE.as_pointer()] * len(REAL)
        kinds += [I64] * len(NUMBERS) + [DOUBLE] * len(SETTINGS)
        self.f = ir.Function(self.module, ir.FunctionType(VOID, kinds), "run")
        self.arg = dict(zip((*WHOLE, *REAL, *NUMBERS, *SETTINGS), self.f.args, strict=True))
        for name in (*WHOLE, *REAL):
            self.arg[name].add_attribute("noalias")
        self.b = ir.IRBuilder(self.f.append_basic_block("entry"))
        self.v = Vector(self.b, width)
        self.memory = self.b.alloca(DOUBLE, _integer(len(self.frame) * width))
        self.memory.align = 64  # type: ignore[assignment]  # llvmlite declares it None
        self.lane_state, self.lane_row, self.lane_end, self.lane_subject = (
            self.b.alloca(I64, _integer(width)) for _ in ("state", "row", "end", "subject")
        )
        self.tables: dict[str, Any] = {}

    # Small things to say

    def _array(self, size: int, kind: Any = I64) -> Any:
        with self.b.goto_entry_block():  # anywhere else it would be made again and again
            return self.b.alloca(kind, _integer(size))

    def variable(self, start: int) -> Any:
        place = self._array(1)
        self.b.store(_integer(start), place)
        return place

    def get(self, array: Any, i: Any) -> Any:
        return self.b.load(self.b.gep(array, [i]))

    def put(self, array: Any, i: Any, value: Any) -> None:
        self.b.store(value, self.b.gep(array, [i]))

    def vector(self, name: str) -> Any:
        place = self.b.gep(self.memory, [_integer(self.frame.slots[name] * self.width)])
        return self.b.load(self.b.bitcast(place, self.v.type.as_pointer()), align=8 * min(self.width, 8))

    def store(self, name: str, value: Any) -> None:
        place = self.b.gep(self.memory, [_integer(self.frame.slots[name] * self.width)])
        self.b.store(value, self.b.bitcast(place, self.v.type.as_pointer()), align=8 * min(self.width, 8))

    def lane(self, slot: Any, lane: Any) -> Any:
        """Where a lane of a slot lies; the slot a name, a number or computed."""
        slot = self.frame.slots[slot] if isinstance(slot, str) else slot
        slot = _integer(slot) if isinstance(slot, int) else slot
        return self.b.gep(self.memory, [self.b.add(self.b.mul(slot, _integer(self.width)), lane)])

    def number(self, slot: Any, lane: Any) -> Any:
        return self.b.load(self.lane(slot, lane))

    def set(self, slot: Any, lane: Any, value: Any) -> None:
        self.b.store(ir.Constant(DOUBLE, value) if isinstance(value, float) else value, self.lane(slot, lane))

    def table(self, name: str, values: Sequence[int]) -> Any:
        """A constant array of whole numbers; a pointer to its first."""
        kind = ir.ArrayType(I64, max(len(values), 1))
        made = ir.GlobalVariable(self.module, kind, name)
        made.initializer = ir.Constant(kind, [_integer(x) for x in values] or [_integer(0)])  # type: ignore[assignment]
        made.global_constant, made.linkage = True, "internal"
        return self.b.bitcast(made, I64.as_pointer())

    @contextlib.contextmanager
    def each(self, many: int | Any) -> Iterator[Any]:
        """A loop over whole numbers from 0."""
        many = _integer(many) if isinstance(many, int) else many
        head, body, after = (self.b.append_basic_block(n) for n in ("each", "body", "after"))
        before = self.b.block
        self.b.branch(head)
        self.b.position_at_end(head)
        i = self.b.phi(I64)
        i.add_incoming(_integer(0), before)
        self.b.cbranch(self.b.icmp_signed("<", i, many), body, after)
        self.b.position_at_end(body)
        yield i
        i.add_incoming(self.b.add(i, _integer(1)), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    def copy(self, source: str, target: str, lane: Any, many: int) -> None:
        """A lane of one group of slots to another."""
        if many:
            with self.each(many) as i:
                value = self.number(self.b.add(i, _integer(self.frame.first[source])), lane)
                self.set(self.b.add(i, _integer(self.frame.first[target])), lane, value)

    def fill(self, group: str, lane: Any, many: int, value: float) -> None:
        if many:
            with self.each(many) as i:
                self.set(self.b.add(i, _integer(self.frame.first[group])), lane, value)

    def emit(self, wanted: Mapping[str, int], inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        given = inputs or {}
        return emit(self.v, self.g, wanted, lambda n: given[n] if n in given else self.vector(n), self.layout.hoisted)

    def bits(self, truths: Any) -> Any:
        return self.b.zext(self.b.bitcast(truths, ir.IntType(self.width)), I64)

    def truths(self, bits: Any) -> Any:
        return self.b.bitcast(self.b.trunc(bits, ir.IntType(self.width)), ir.VectorType(I1, self.width))

    def splat(self, x: Any) -> Any:
        one = self.b.insert_element(ir.Constant(self.v.type, ir.Undefined), x, ir.Constant(I32, 0))
        kind = ir.VectorType(I32, self.width)
        return self.b.shuffle_vector(one, ir.Constant(self.v.type, ir.Undefined), ir.Constant(kind, [0] * self.width))

    # What is computed for all lanes at once

    def prepare(self) -> None:
        """What depends on the subject alone: hoisted nodes, states at the start, what arrives of a dose."""
        hoisted = {name: node for node, name in self.layout.hoisted.items()}
        named = hoisted | {f"begin.{s}": n for s, n in zip(self.d.states, self.d.initial, strict=True)}
        named |= {f"arrives.{k}": node for k, node in enumerate(self.parts.arrives)}
        made = emit(self.v, self.g, named, self.vector)
        for name, value in made.items():
            self.store(name, value)

    def look(self) -> None:
        made = self.emit({f"seen.{o}": n for o, n in zip(self.d.outputs, self.d.observe, strict=True)})
        for name, value in made.items():
            self.store(name, value)

    def decide(self) -> None:
        orders = self.parts.orders
        assert orders is not None
        wanted = {f"then.{m}": node for m, node in zip(orders.start, orders.memory, strict=True)}
        wanted |= {f"dose.{k}": node for k, node in orders.doses.items()}
        wanted |= {f"go.{k}": node for k, node in orders.rates.items()}
        for name, value in self.emit(wanted).items():
            self.store(name, value)

    def flows(self) -> None:
        """What flows into each state: what is scheduled and, as it arrives, what a rule ordered."""
        ordered = self.parts.orders.rates if self.parts.orders else {}
        for i in self.problem.infused:
            total = self.v.constant(0.0)
            for k, state in enumerate(self.parts.into):
                if state == i:
                    total = self.v.add(total, self.vector(f"rate.{k}"))
                    if k in ordered:
                        total = self.v.fma(self.vector(f"flow.{k}"), self.vector(f"arrives.{k}"), total)
            self.store(f"r.{self.d.states[i]}", total)

    def slopes(self, inputs: Mapping[str, Any]) -> list[Any]:
        """dy/dt, with what flows in."""
        made = self.emit({s: n for s, n in zip(self.d.states, self.d.rates, strict=True)}, inputs)
        return [
            self.v.add(made[s], self.vector(f"r.{s}")) if i in self.problem.infused else made[s]
            for i, s in enumerate(self.d.states)
        ]

    def mean_square(self, values: Sequence[Any], scales: Sequence[Any]) -> Any:
        """Of values by roughly inverted scales."""
        total = self.v.constant(0.0)
        for x, scale in zip(values, scales, strict=True):
            ratio = self.v.mul(x, scale)
            total = self.v.fma(ratio, ratio, total)
        return self.v.mul(total, self.v.constant(1 / len(values)))

    def scale(self, *sizes: Any) -> Any:
        """1 / (atol + rtol |y|), roughly."""
        size = self.v.abs(sizes[0])
        for other in sizes[1:]:
            size = self.v.larger(self.v.abs(other), size)
        return self.v.rough_inverse(self.v.fma(self.splat(self.arg["rtol"]), size, self.splat(self.arg["atol"])))

    def restart(self, changed: Any) -> None:
        """After something has happened: the slope, and a first step from it (Hairer, Nørsett & Wanner 1993, II.4)."""
        v, states = self.v, self.d.states
        if self.problem.infused:
            self.flows()
        if self.closed:
            return
        lanes = self.truths(changed)
        t = self.vector("t")
        y = [self.vector(f"y.{s}") for s in states]
        k = self.slopes({"t": t})
        scales = [self.scale(x) for x in y]
        tiny = v.constant(1e-30)
        d0, d1 = (v.larger(self.mean_square(x, scales), tiny) for x in (y, k))
        known = v.less(v.constant(1e-10), v.smaller(d0, d1))
        first = v.mul(v.constant(0.01), v.sqrt(v.mul(d0, v.rough_inverse(d1))))
        first = v.select(known, first, v.constant(1e-6))
        later = {f"y.{s}": v.fma(first, slope, x) for s, slope, x in zip(states, k, y, strict=True)}
        bent = self.slopes(later | {"t": v.add(t, first)})
        bend = [v.sub(a, b) for a, b in zip(bent, k, strict=True)]
        per_first = v.rough_inverse(v.larger(first, tiny))
        d2 = v.mul(self.mean_square(bend, scales), v.mul(per_first, per_first))
        root = v.rough_tenth_root_inverse(v.larger(v.larger(d1, d2), tiny))  # largest**(-1/5), squares under it
        step = v.mul(v.constant(0.01**0.2), root)
        step = v.select(known, v.smaller(step, v.mul(v.constant(100.0), first)), step)
        self.store("h", v.select(lanes, step, self.vector("h")))
        if self.parts.step and self.parts.step.last:
            for s, slope in zip(states, k, strict=True):
                self.store(f"k.{s}", v.select(lanes, slope, self.vector(f"k.{s}")))

    def step(self) -> tuple[Any, Any]:
        """One step of every lane that has somewhere to go. Returns the lanes that arrived and those that gave up."""
        v, b = self.v, self.b
        t, tn, h = self.vector("t"), self.vector("tn"), self.vector("h")
        rest = v.sub(tn, t)
        active = v.less(v.constant(0.0), rest)
        if self.closed:
            self.propagate(v.select(active, rest, v.constant(0.0)), active)
            self.store("t", v.select(active, tn, t))
            return self.bits(active), _integer(0)
        assert self.parts.step is not None
        last = b.fcmp_ordered(">=", h, rest)
        halved = v.select(v.less(rest, v.add(h, h)), v.mul(v.constant(0.5), rest), h)  # no sliver is left to the end
        now = v.select(active, v.select(last, rest, halved), v.constant(1.0))
        states, step = self.d.states, self.parts.step
        wanted = {f"new.{s}": n for s, n in zip(states, step.new, strict=True)}
        wanted |= {f"error.{s}": n for s, n in zip(states, step.error, strict=True)}
        wanted |= {f"last.{s}": n for s, n in zip(states, step.last, strict=True)} if step.last else {}
        made = self.emit(wanted, {"h": now, "t": t})
        y = {s: self.vector(f"y.{s}") for s in states}
        scales = [self.scale(y[s], made[f"new.{s}"]) for s in states]
        wrong = self.mean_square([made[f"error.{s}"] for s in states], scales)
        good = b.and_(active, b.fcmp_ordered("<=", wrong, v.constant(1.0)))
        factor = v.mul(v.constant(SAFETY), v.rough_tenth_root_inverse(wrong))
        factor = v.smaller(v.larger(factor, v.constant(SHRINK)), v.constant(GROW))
        factor = v.select(b.fcmp_ordered("ord", wrong, wrong), factor, v.constant(SHRINK))
        for s in states:
            self.store(f"y.{s}", v.select(good, made[f"new.{s}"], y[s]))
            if step.last:
                self.store(f"k.{s}", v.select(good, made[f"last.{s}"], self.vector(f"k.{s}")))
        next_h = v.mul(now, factor)
        grown = v.select(last, v.larger(h, next_h), next_h)
        smaller = v.mul(now, v.smaller(factor, v.constant(SAFETY)))
        self.store("h", v.select(active, v.select(good, grown, smaller), h))
        there = b.and_(good, last)
        self.store("t", v.select(good, v.select(last, tn, v.add(t, now)), t))
        one = v.select(active, v.constant(1.0), v.constant(0.0))
        count = v.add(self.vector("n"), one)
        self.store("n", count)
        self.store("steps", v.add(self.vector("steps"), one))
        many = b.fcmp_ordered(">", count, self.splat(b.sitofp(self.arg["most"], DOUBLE)))
        nothing = b.fcmp_ordered("<=", now, v.mul(v.constant(TINY), v.abs(t)))
        stuck = b.and_(active, b.and_(b.not_(good), b.or_(many, b.or_(nothing, v.less(now, v.constant(1e-300))))))
        stuck = b.or_(stuck, b.and_(b.and_(active, b.not_(there)), many))
        return self.bits(there), self.bits(stuck)

    def power(self, dt: Any) -> None:
        """The exponential over `dt`, into the slots `e.*`."""
        v, b, closed = self.v, self.b, self.closed
        assert closed is not None
        norm = v.mul(self.emit({"norm": closed.norm})["norm"], dt)
        raised = b.lshr(v.bits(v.mul(norm, v.constant(1 / NORM))), v.integer(52))
        times = b.sub(raised, v.integer(1022))  # so that the norm, halved as often, is below NORM
        times = b.select(b.icmp_signed("<", times, v.integer(0)), v.integer(0), times)
        times = b.select(b.icmp_signed(">", times, v.integer(1000)), v.integer(1000), times)
        down = v.two_to(b.sub(v.integer(0), times))
        exponent = self.emit({f"{i}.{j}": node for (i, j), node in closed.exponent.items()}, {"dt": dt})
        scaled = {f"a.{name}": v.mul(value, down) for name, value in exponent.items()}
        made = self.emit({f"e.{i}.{j}": node for (i, j), node in closed.taylor.items()}, scaled)
        for name, value in made.items():
            self.store(name, value)
        head, body, after = (b.append_basic_block(n) for n in ("square", "squaring", "squared"))
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        left = b.phi(times.type)
        left.add_incoming(times, before)
        more = b.icmp_signed(">", left, v.integer(0))
        b.cbranch(b.icmp_unsigned("!=", self.bits(more), _integer(0)), body, after)
        b.position_at_end(body)
        squared = self.emit({f"e.{i}.{j}": node for (i, j), node in closed.squared.items()})
        for name, value in squared.items():
            self.store(name, v.select(more, value, self.vector(name)))
        left.add_incoming(b.sub(left, v.integer(1)), b.block)
        b.branch(head)
        b.position_at_end(after)

    def propagate(self, dt: Any, active: Any) -> None:
        """y over `dt`, exactly."""
        assert self.closed is not None
        self.power(dt)
        made = self.emit({f"y.{s}": n for s, n in zip(self.d.states, self.closed.new, strict=True)}, {"dt": dt})
        for name, value in made.items():
            self.store(name, self.v.select(active, value, self.vector(name)))

    def settle(self) -> None:
        """The states that the cycle just ended would bring back, into `solved.*`."""
        assert self.closed is not None
        self.power(self.vector("dt"))
        made = self.emit({f"solved.{s}": n for s, n in zip(self.d.states, self.closed.steady, strict=True)})
        for name, value in made.items():
            self.store(name, value)

    def repeat(self) -> None:
        """Where `count` more doses, `dt` apart, each of which adds `sum.*`, bring the states: into `solved.*`.

        One dose and the interval before it are y -> Φ y + s; twice as many are Φ² y + (Φ s + s), and so on: the powers
        of two that `count` is made of, whatever of them comes first.
        """
        v, b, closed, states = self.v, self.b, self.closed, self.d.states
        assert closed is not None
        dt = self.vector("dt")
        self.power(dt)
        nothing = {f"y.{s}": v.constant(0.0) for s in states}
        flown = self.emit({s: n for s, n in zip(states, closed.new, strict=True)}, nothing | {"dt": dt})
        for s in states:
            self.store(f"sum.{s}", v.add(self.vector(f"sum.{s}"), flown[s]))
            self.store(f"solved.{s}", self.vector(f"y.{s}"))
        left = b.fptosi(self.vector("count"), v.whole)
        head, body, after = (b.append_basic_block(n) for n in ("bits", "bit", "counted"))
        before = b.block
        b.branch(head)
        b.position_at_end(head)
        count = b.phi(v.whole)
        count.add_incoming(left, before)
        more = b.icmp_signed(">", count, v.integer(0))
        b.cbranch(b.icmp_unsigned("!=", self.bits(more), _integer(0)), body, after)
        b.position_at_end(body)
        odd = b.icmp_signed("==", b.and_(count, v.integer(1)), v.integer(1))
        solved = {f"y.{s}": self.vector(f"solved.{s}") for s in states}
        moved = self.emit({s: n for s, n in zip(states, closed.many, strict=True)}, solved)
        doubled = self.emit({s: n for s, n in zip(states, closed.doubled, strict=True)})
        squared = self.emit({f"e.{i}.{j}": node for (i, j), node in closed.squared.items()})
        for s in states:
            self.store(f"solved.{s}", v.select(odd, moved[s], solved[f"y.{s}"]))
            self.store(f"sum.{s}", doubled[s])
        for name, value in squared.items():
            self.store(name, value)
        count.add_incoming(b.lshr(count, v.integer(1)), b.block)
        b.branch(head)
        b.position_at_end(after)

    # A block of patients on one course, whose model is linear: all go from event to event together

    def together(self) -> ir.Module:
        """The same arithmetic with the exponential of each length of interval computed once."""
        b, v, width, closed = self.b, self.v, self.width, self.closed
        assert closed is not None
        entries = [f"e.{i}.{j}" for i, j in closed.power]
        size = len(entries) * width
        blocks = b.sdiv(b.sub(self.arg["last"], self.arg["first"]), _integer(width))
        with self.each(blocks) as block:
            first = b.add(self.arg["first"], b.mul(block, _integer(width)))
            with self.each(width) as lane:
                subject = self.get(self.arg["subjects"], b.add(first, lane))
                self.put(self.lane_subject, lane, subject)
                with self.each(len(self.layout.theta)) as j:
                    place = b.add(b.mul(j, self.arg["n"]), subject)
                    self.set(b.add(j, _integer(self.frame.first["theta"])), lane, self.get(self.arg["theta"], place))
            course = self.get(self.arg["course"], self.get(self.lane_subject, _integer(0)))
            self.prepare()
            self._begin(("rate",))
            lengths = self.get(self.arg["intervals"], course)
            many = b.sub(self.get(self.arg["intervals"], b.add(course, _integer(1))), lengths)
            with self.each(many) as u:
                self.power(self.splat(self.get(self.arg["lengths"], b.add(lengths, u))))
                for k, name in enumerate(entries):
                    place = b.gep(self.arg["scratch"], [b.add(b.mul(u, _integer(size)), _integer(k * width))])
                    b.store(self.vector(name), b.bitcast(place, v.type.as_pointer()), align=8)
            start = self.get(self.arg["start"], course)
            with self.each(b.sub(self.get(self.arg["start"], b.add(course, _integer(1))), start)) as k:
                row = b.add(start, k)
                length = self.get(self.arg["interval"], row)
                with b.if_then(b.icmp_signed(">=", length, _integer(0))):
                    known = {}
                    for j, name in enumerate(entries):
                        at = b.add(b.mul(length, _integer(size)), _integer(j * width))
                        known[name] = b.load(b.bitcast(b.gep(self.arg["scratch"], [at]), v.type.as_pointer()), align=8)
                    wanted = {f"y.{s}": n for s, n in zip(self.d.states, closed.new, strict=True)}
                    for name, value in self.emit(wanted, known).items():
                        self.store(name, value)
                self._happens(row)
        b.ret_void()
        return self.module

    def _begin(self, groups: Sequence[str]) -> None:
        for s in self.d.states:
            self.store(f"y.{s}", self.vector(f"begin.{s}"))
        for group in groups:
            for k in range(len(self.problem.targets)):
                self.store(f"{group}.{k}", self.v.constant(0.0))
        self.flows()

    def _happens(self, row: Any) -> None:
        """One action, to all lanes of a block."""
        b, v = self.b, self.v
        slot, value = self.get(self.arg["slot"], row), self.get(self.arg["value"], row)
        after = b.append_basic_block("done")
        blocks = {code: b.append_basic_block(f"code{code}") for code in TOGETHER}
        switch = b.switch(self.get(self.arg["code"], row), after)
        for code, block in blocks.items():
            switch.add_case(_integer(code), block)

        def place(slots: Any) -> Any:
            return b.bitcast(self.lane(slots, _integer(0)), v.type.as_pointer())

        b.position_at_end(blocks[schedule.OBSERVE])
        self.store("t", self.splat(self.get(self.arg["time"], row)))
        self.look()
        apart = b.mul(self.arg["n"], self.arg["visits"])
        for o, name in enumerate(self.d.outputs):
            seen = self.vector(f"seen.{name}")
            first = b.add(b.mul(apart, _integer(o)), slot)
            for k in range(self.width):
                subject = self.get(self.lane_subject, _integer(k))
                at = b.add(first, b.mul(subject, self.arg["visits"]))
                self.put(self.arg["out"], at, b.extract_element(seen, ir.Constant(I32, k)))
        b.branch(after)
        b.position_at_end(blocks[schedule.ADD])
        if self.problem.targets:
            into = place(self.get(self.into, slot))
            arrives = b.load(place(b.add(slot, _integer(self.frame.first["arrives"]))), align=8)
            b.store(v.add(b.load(into, align=8), v.mul(self.splat(value), arrives)), into, align=8)
        b.branch(after)
        b.position_at_end(blocks[schedule.RATE])
        if self.problem.targets:
            b.store(self.splat(value), place(b.add(slot, _integer(self.frame.first["rate"]))), align=8)
            self.flows()
        b.branch(after)
        b.position_at_end(blocks[schedule.RESET])
        self._begin(("rate",))
        b.branch(after)
        b.position_at_end(blocks[REPEAT])
        if self.problem.targets:
            following = b.add(row, _integer(1))
            self.store("dt", self.splat(self.get(self.arg["value"], following)))
            self.store("count", self.splat(b.sitofp(self.get(self.arg["slot"], following), DOUBLE)))
            for s in self.d.states:
                self.store(f"sum.{s}", v.constant(0.0))
            apart = self.frame.first["sum"] - self.frame.first["y"]
            into = place(b.add(self.get(self.into, slot), _integer(apart)))
            arrives = b.load(place(b.add(slot, _integer(self.frame.first["arrives"]))), align=8)
            b.store(v.mul(self.splat(value), arrives), into, align=8)
            self.repeat()
            for s in self.d.states:
                self.store(f"y.{s}", self.vector(f"solved.{s}"))
        b.branch(after)
        b.position_at_end(blocks[schedule.PASS])
        b.branch(after)
        b.position_at_end(after)

    # One lane at a time: what happens to a patient

    def kernel(self) -> ir.Module:
        b, width = self.b, self.width
        with self.each(len(self.frame) * width) as i:
            b.store(ir.Constant(DOUBLE, 0.0), b.gep(self.memory, [i]))
        with self.each(width) as i:
            self.put(self.lane_state, i, _integer(EMPTY))
        whole = (1 << width) - 1
        self.next = self.variable(0)
        b.store(self.arg["first"], self.next)
        self.live, self.pending, self.changed = self.variable(whole), self.variable(whole), self.variable(0)
        self.prepares, self.decides, self.settles, self.repeats, self.ready = (self.variable(0) for _ in range(5))
        events, going, stepping, after = (b.append_basic_block(n) for n in ("events", "going", "stepping", "after"))
        b.branch(events)

        b.position_at_end(events)  # until no lane waits: compute what they wait for, then let each go on
        for wanted, compute in (
            (self.prepares, self.prepare),
            (None, self.look),
            (self.decides, self.decide if self.parts.orders else None),
            (self.settles, self.settle if self.closed else None),
            (self.repeats, self.repeat if self.closed and self.problem.targets else None),
        ):
            if compute is None:
                continue
            if wanted is None:
                compute()
                continue
            with b.if_then(b.icmp_unsigned("!=", b.load(wanted), _integer(0)), likely=False):
                compute()
                if wanted is self.prepares:
                    b.store(_integer(0), wanted)
        waiting = b.load(self.pending)
        b.store(_integer(0), self.pending)
        with self.each(width) as lane:
            bit = b.shl(_integer(1), lane)
            with b.if_then(b.icmp_unsigned("!=", b.and_(waiting, bit), _integer(0))):
                self.advance(lane, bit)
        b.cbranch(b.icmp_unsigned("!=", b.load(self.pending), _integer(0)), events, going)

        b.position_at_end(going)
        changed = b.load(self.changed)
        with b.if_then(b.icmp_unsigned("!=", changed, _integer(0))):
            self.restart(changed)
            b.store(_integer(0), self.changed)
        b.branch(stepping)

        b.position_at_end(stepping)
        over = b.append_basic_block("over")
        moving = b.append_basic_block("moving")
        b.cbranch(b.icmp_unsigned("!=", b.load(self.live), _integer(0)), moving, over)
        b.position_at_end(moving)
        there, stuck = self.step()
        b.cbranch(b.icmp_unsigned("==", b.or_(there, stuck), _integer(0)), moving, after)

        b.position_at_end(after)
        b.store(there, self.pending)
        if not self.closed:
            with b.if_then(b.icmp_unsigned("!=", stuck, _integer(0)), likely=False), self.each(width) as lane:
                bit = b.shl(_integer(1), lane)
                with b.if_then(b.icmp_unsigned("!=", b.and_(stuck, bit), _integer(0))):
                    self.give_up(lane)
                    b.store(b.or_(b.load(self.pending), bit), self.pending)
        b.branch(events)

        b.position_at_end(over)
        b.ret_void()
        return self.module

    def give_up(self, lane: Any) -> None:
        """Say when and in which state it went wrong: the one that is no number, or moves fastest for its tolerance."""
        b = self.b
        worst, largest = self.variable(-1), self._array(1, DOUBLE)
        b.store(ir.Constant(DOUBLE, -1.0), largest)
        with self.each(len(self.d.states)) as i:
            y = self.number(b.add(i, _integer(self.frame.first["y"])), lane)
            k = self.number(b.add(i, _integer(self.frame.first["k"])), lane)
            size = b.call(self._fabs(), [y])
            fast = b.fdiv(b.call(self._fabs(), [k]), b.fadd(self.arg["atol"], b.fmul(self.arg["rtol"], size)))
            bad = b.fcmp_unordered("uno", b.fsub(y, y), b.fsub(k, k))  # infinities too
            fast = b.select(bad, ir.Constant(DOUBLE, math.inf), fast)
            with b.if_then(b.fcmp_ordered(">", fast, b.load(largest))):
                b.store(fast, largest)
                b.store(i, worst)
        finite = b.fcmp_ordered("<", b.load(largest), ir.Constant(DOUBLE, math.inf))
        self.fail(lane, b.select(finite, _integer(STEP_LIMIT), _integer(NOT_FINITE)), b.load(worst))

    def _fabs(self) -> Any:
        known = self.module.globals.get("llvm.fabs.f64")
        return known or ir.Function(self.module, ir.FunctionType(DOUBLE, [DOUBLE]), "llvm.fabs.f64")

    def fail(self, lane: Any, code: Any, state: Any) -> None:
        subject = self.get(self.lane_subject, lane)
        self.put(self.arg["failed"], subject, code)
        self.put(self.arg["failed_at"], subject, self.number("t", lane))
        self.put(self.arg["failed_state"], subject, state)
        self.put(self.arg["steps"], subject, self.number("steps", lane))
        self.put(self.lane_state, lane, _integer(EMPTY))

    def advance(self, lane: Any, bit: Any) -> None:
        """Everything that happens to a lane's patient at its time, as far as no new vector is needed for it."""
        b, states, targets = self.b, len(self.d.states), len(self.problem.targets)
        top, done = b.append_basic_block("top"), b.append_basic_block("done")

        def again(*wanted: Any) -> None:
            """Come back when what is wanted was computed."""
            for mask in (self.pending, *wanted):
                b.store(b.or_(b.load(mask), bit), mask)
            b.branch(done)

        def change() -> None:
            b.store(b.or_(b.load(self.changed), bit), self.changed)
            self.set("n", lane, 0.0)

        b.store(_integer(1), self.ready)  # outputs were computed at this lane's time and states
        b.branch(top)
        b.position_at_end(top)
        state = self.get(self.lane_state, lane)
        empty, fresh, running = (b.append_basic_block(n) for n in ("empty", "fresh", "running"))
        chosen = b.switch(state, running)
        chosen.add_case(_integer(EMPTY), empty)
        chosen.add_case(_integer(FRESH), fresh)

        b.position_at_end(empty)
        mine = b.load(self.next)
        with b.if_then(b.icmp_signed(">=", mine, self.arg["last"])):
            b.store(b.and_(b.load(self.live), b.not_(bit)), self.live)
            self.set("t", lane, 0.0)
            self.set("tn", lane, 0.0)
            b.branch(done)
        b.store(b.add(mine, _integer(1)), self.next)
        subject = self.get(self.arg["subjects"], mine)
        self.put(self.lane_subject, lane, subject)
        with self.each(len(self.layout.theta)) as j:
            place = b.add(b.mul(j, self.arg["n"]), subject)
            self.set(b.add(j, _integer(self.frame.first["theta"])), lane, self.get(self.arg["theta"], place))
        course = self.get(self.arg["course"], subject)
        self.put(self.lane_row, lane, self.get(self.arg["start"], course))
        self.put(self.lane_end, lane, self.get(self.arg["start"], b.add(course, _integer(1))))
        self.put(self.lane_state, lane, _integer(FRESH))
        again(self.prepares)

        b.position_at_end(fresh)
        self.copy("begin", "y", lane, states)
        for group, value in (("rate", 0.0), ("flow", 0.0), ("order", math.nan)):
            self.fill(group, lane, targets, value)
        for name, value in (self.parts.orders.start if self.parts.orders else {}).items():
            self.set(name, lane, value)
        self.set("steps", lane, 0.0)
        row = self.get(self.lane_row, lane)
        with b.if_then(b.icmp_signed("<", row, self.get(self.lane_end, lane))):
            self.set("t", lane, self.get(self.arg["time"], row))
        self.put(self.lane_state, lane, _integer(RUNNING))
        b.store(_integer(0), self.ready)
        change()
        b.branch(running)

        b.position_at_end(running)
        row = self.get(self.lane_row, lane)
        with b.if_then(b.icmp_signed(">=", row, self.get(self.lane_end, lane))):
            subject = self.get(self.lane_subject, lane)
            self.put(self.arg["failed"], subject, _integer(FINISHED))
            self.put(self.arg["steps"], subject, self.number("steps", lane))
            self.put(self.lane_state, lane, _integer(EMPTY))
            b.branch(top)
        then = self.get(self.arg["time"], row)
        with b.if_then(b.fcmp_ordered(">", then, self.number("t", lane))):
            self.set("tn", lane, then)
            self.set("n", lane, 0.0)
            b.branch(done)
        slot, value = self.get(self.arg["slot"], row), self.get(self.arg["value"], row)
        go_on = b.append_basic_block("go_on")
        codes = {
            schedule.OBSERVE: self._observe,
            schedule.ADD: self._add,
            schedule.RATE: self._rate,
            schedule.RESET: self._reset,
            schedule.SET: self._set,
            schedule.DECIDE: self._decide,
            schedule.STEADY_START: self._steady_start,
            schedule.STEADY_CHECK: self._steady_check,
            schedule.STEADY_ADD: self._steady_add,
            schedule.PASS: None,
            REPEAT: self._repeat,
        }
        blocks = {code: b.append_basic_block(f"code{code}") for code in codes}
        switch = b.switch(self.get(self.arg["code"], row), go_on)
        for code, block in blocks.items():
            switch.add_case(_integer(code), block)
        for code, happen in codes.items():
            b.position_at_end(blocks[code])
            if happen is not None:
                happen(lane, bit, row, slot, value, again, change)
            if not b.block.is_terminated:  # type: ignore[union-attr]
                b.branch(go_on)
        b.position_at_end(go_on)
        self.put(self.lane_row, lane, b.add(self.get(self.lane_row, lane), _integer(1)))
        b.branch(running)
        b.position_at_end(done)

    def _unless_ready(self, again: Any) -> None:
        with self.b.if_then(self.b.icmp_unsigned("==", self.b.load(self.ready), _integer(0))):
            again()

    def _stale(self) -> None:
        self.b.store(_integer(0), self.ready)

    def _observe(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        b = self.b
        self._unless_ready(again)
        subject = self.get(self.lane_subject, lane)
        place = b.add(b.mul(subject, self.arg["visits"]), slot)
        apart = b.mul(self.arg["n"], self.arg["visits"])
        for o, name in enumerate(self.d.outputs):
            seen = self.number(f"seen.{name}", lane)
            self.put(self.arg["out"], b.add(place, b.mul(apart, _integer(o))), seen)

    def _add(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        b = self.b
        if not self.problem.targets:
            return
        ordered = self.number(b.add(slot, _integer(self.frame.first["order"])), lane)
        amount = b.select(b.fcmp_ordered("ord", ordered, ordered), ordered, value)
        into = self.get(self.into, slot)
        arrives = self.number(b.add(slot, _integer(self.frame.first["arrives"])), lane)
        self.set(into, lane, b.fadd(self.number(into, lane), b.fmul(amount, arrives)))
        self._stale()
        change()

    def _rate(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        self.set(self.b.add(slot, _integer(self.frame.first["rate"])), lane, value)
        change()

    def _reset(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        self.copy("begin", "y", lane, len(self.d.states))
        self.fill("rate", lane, len(self.problem.targets), 0.0)
        self._stale()
        change()

    def _set(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        """A covariate changes. Those that change together are one preparation."""
        b = self.b
        if not self.problem.inputs:
            return
        self.set(self.get(self.setting, slot), lane, value)
        change()
        following = b.add(row, _integer(1))
        self.put(self.lane_row, lane, following)
        more = b.append_basic_block("more")
        enough = b.append_basic_block("enough")
        b.cbranch(b.icmp_signed("<", following, self.get(self.lane_end, lane)), more, enough)
        b.position_at_end(more)
        same = b.fcmp_ordered("==", self.get(self.arg["time"], following), self.get(self.arg["time"], row))
        same = b.and_(same, b.icmp_signed("==", self.get(self.arg["code"], following), _integer(schedule.SET)))
        next_one = b.append_basic_block("next_one")
        b.cbranch(same, next_one, enough)
        b.position_at_end(enough)
        again(self.prepares)
        b.position_at_end(next_one)
        self.put(self.lane_row, lane, row)  # which go_on moves on

    def _decide(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        b, orders = self.b, self.parts.orders
        if orders is None:
            return
        waited = b.and_(b.load(self.decides), bit)
        with b.if_then(b.icmp_unsigned("==", waited, _integer(0))):
            many = len(self.d.outputs)
            subject = self.get(self.lane_subject, lane)
            first = b.mul(b.add(b.mul(subject, self.arg["decisions"]), slot), _integer(many))
            with self.each(many) as o:
                noise = self.get(self.arg["noise"], b.add(first, o))
                self.set(b.add(o, _integer(self.frame.first["z"])), lane, noise)
            again(self.decides)
        b.store(b.and_(b.load(self.decides), b.not_(bit)), self.decides)
        self.copy("then", "m", lane, len(orders.start))
        for k in orders.doses:
            self.set(f"order.{k}", lane, self.number(f"dose.{k}", lane))
        for k in orders.rates:
            self.set(f"flow.{k}", lane, self.number(f"go.{k}", lane))
        if orders.rates:
            change()

    def _repeat(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        """More doses like the one just given; how many, how far apart and until when stands in the next row."""
        b = self.b
        if not self.closed or not self.problem.targets:
            return
        following = b.add(row, _integer(1))
        with b.if_then(b.icmp_unsigned("==", b.and_(b.load(self.repeats), bit), _integer(0))):
            self.set("dt", lane, self.get(self.arg["value"], following))
            self.set("count", lane, b.sitofp(self.get(self.arg["slot"], following), DOUBLE))
            self.fill("sum", lane, len(self.d.states), 0.0)
            apart = self.frame.first["sum"] - self.frame.first["y"]
            arrives = self.number(b.add(slot, _integer(self.frame.first["arrives"])), lane)
            self.set(b.add(self.get(self.into, slot), _integer(apart)), lane, b.fmul(value, arrives))
            again(self.repeats)
        b.store(b.and_(b.load(self.repeats), b.not_(bit)), self.repeats)
        self.copy("solved", "y", lane, len(self.d.states))
        self.set("t", lane, self.get(self.arg["time"], following))
        self._stale()
        change()

    def _steady_start(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        states = len(self.d.states)
        self.copy("y", "kept", lane, states)
        self.copy("begin", "y", lane, states)
        self.copy("begin", "cycle", lane, states)
        self.fill("delta", lane, states, math.inf)
        self.fill("rate", lane, len(self.problem.targets), 0.0)
        self.set("cycles", lane, 0.0)
        self.set("t", lane, value)
        self._stale()
        change()

    def _steady_check(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        """Whether another cycle would change nothing any more; a linear model needs one cycle to know."""
        b, states = self.b, len(self.d.states)
        if self.closed:
            with b.if_then(b.icmp_unsigned("==", b.and_(b.load(self.settles), bit), _integer(0))):
                self.set("dt", lane, b.fsub(self.number("t", lane), value))
                again(self.settles)
            b.store(b.and_(b.load(self.settles), b.not_(bit)), self.settles)
            self.copy("solved", "y", lane, states)
            self._stale()
            change()
            return
        settled = self.variable(1)
        with self.each(states) as i:
            y = self.number(b.add(i, _integer(self.frame.first["y"])), lane)
            begun = self.lane(b.add(i, _integer(self.frame.first["cycle"])), lane)
            before = self.lane(b.add(i, _integer(self.frame.first["delta"])), lane)
            delta = b.call(self._fabs(), [b.fsub(y, b.load(begun))])
            # what is still to come, if each cycle goes on to bring the same share of the one before
            share = b.fdiv(delta, b.load(before))
            rest = b.fdiv(b.fmul(delta, share), b.fsub(ir.Constant(DOUBLE, 1.0), share))
            slower = b.fcmp_ordered("<", share, ir.Constant(DOUBLE, 1.0))
            near = b.fadd(self.arg["atol"], b.fmul(self.arg["rtol"], b.call(self._fabs(), [y])))
            later = b.fcmp_ordered(">=", self.number("cycles", lane), ir.Constant(DOUBLE, 1.0))
            fine = b.and_(b.and_(slower, later), b.fcmp_ordered("<=", b.fadd(delta, rest), near))
            fine = b.or_(fine, b.fcmp_ordered("==", delta, ir.Constant(DOUBLE, 0.0)))
            b.store(b.and_(b.load(settled), b.zext(fine, I64)), settled)
            b.store(delta, before)
            b.store(y, begun)
        cycles = b.fadd(self.number("cycles", lane), ir.Constant(DOUBLE, 1.0))
        self.set("cycles", lane, cycles)
        with b.if_then(b.icmp_unsigned("==", b.load(settled), _integer(0))):
            with b.if_then(b.fcmp_ordered(">", cycles, ir.Constant(DOUBLE, float(CYCLES)))):
                self.give_up(lane)
                again()
            self.set("t", lane, value)
            back = b.sub(row, slot)
            self.put(self.lane_row, lane, b.sub(back, _integer(1)))  # go_on adds one
            change()
        self._stale()

    def _steady_add(self, lane: Any, bit: Any, row: Any, slot: Any, value: Any, again: Any, change: Any) -> None:
        """The steady state on top of what there was before."""
        b = self.b
        with self.each(len(self.d.states)) as i:
            y, kept, begin = (
                self.number(b.add(i, _integer(self.frame.first[group])), lane) for group in ("y", "kept", "begin")
            )
            self.set(b.add(i, _integer(self.frame.first["y"])), lane, b.fadd(y, b.fsub(kept, begin)))
        self._stale()
        change()

    def module_of(self, together: bool) -> ir.Module:
        self.into = self.table("into", [self.frame.first["y"] + i for i in self.parts.into])
        self.setting = self.table("setting", [self.frame.slots[name] for name in self.problem.inputs])
        return self.together() if together else self.kernel()


@dataclass(frozen=True)
class Kernel:
    theta: tuple[str, ...]
    entries: int  # of the exponential
    run: Any
    engine: Any  # owns the code


@functools.lru_cache(maxsize=64)
def kernel(problem: Problem, together: bool, width: int, isa: str) -> Kernel:
    writer = Writer(problem, width)
    engine = machine.compiled(str(writer.module_of(together)), isa)
    closed = writer.layout.linear
    kinds = [ctypes.c_void_p] * (len(WHOLE) + len(REAL)) + [ctypes.c_int64] * len(NUMBERS)
    call = ctypes.CFUNCTYPE(None, *kinds, *[ctypes.c_double] * len(SETTINGS))
    entries = len(closed.power) if closed else 0
    return Kernel(writer.layout.theta, entries, call(engine.get_function_address("run")), engine)


def _width(problem: Problem, isa: str) -> int:
    """Patients in a block: two registers' worth, which hide each other's latencies, unless the program has so many
    numbers under way that one is enough."""
    register = machine.TARGETS.get(isa, ("", 2))[1]
    step = parts(problem).step
    return register if step and len(step.new) > 8 else 2 * register


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
    isa: str = "",
) -> Solved:
    """Solve for n subjects. `values`: of each input of the program, (n,). `noise`: (n, decisions, outputs)."""
    isa = isa or machine.target()
    width = width or _width(problem, isa)
    plan = _repeated(plan) if problem.solver == "linear" and problem.rule is None else plan
    n, outputs = len(plan.course), len(parts(problem).dynamics.outputs)
    courses = len(plan.start) - 1
    shared = problem.solver == "linear" and n >= width * courses and bool(np.isin(plan.code, TOGETHER).all())
    code = kernel(problem, shared, width, isa)
    subjects = _in_blocks(plan.course, width) if shared else np.arange(n)
    interval, intervals, lengths = _intervals(plan) if shared else (plan.slot, plan.start, plan.time)
    most_lengths = int(np.diff(intervals).max(initial=1)) if shared else 0
    whole = {
        "subjects": subjects,
        "course": plan.course,
        "start": plan.start,
        "code": plan.code,
        "slot": plan.slot,
        "interval": interval,
        "intervals": intervals,
        "failed": np.zeros(n),
        "failed_state": np.full(n, -1),
    }
    real = {
        "theta": [np.broadcast_to(np.asarray(values[name], float), n) for name in code.theta],
        "time": plan.time,
        "value": plan.value,
        "lengths": lengths,
        "noise": np.zeros((n, plan.decisions, outputs)) if noise is None else noise,
        "out": np.full((outputs, n, plan.visits), np.nan),
        "failed_at": np.full(n, np.nan),
        "steps": np.zeros(n),
    }
    whole = {k: np.ascontiguousarray(a, dtype=np.int64) for k, a in whole.items()}
    real = {k: np.ascontiguousarray(a, dtype=np.float64) for k, a in real.items()}
    pointers = [a.ctypes.data for a in (*whole.values(), *real.values())]

    def piece(first: int, last: int) -> None:
        scratch = np.empty(most_lengths * code.entries * width)
        code.run(*pointers, scratch.ctypes.data, first, last, n, plan.visits, plan.decisions, most, rtol, atol)

    # Several pieces a thread, so that none is left waiting for another's last patient; whole blocks each.
    edges = np.linspace(0, len(subjects) // width, min(8 * threads, 64) + 1).astype(int) * width
    edges = np.unique([*edges[:-1], len(subjects)]) if threads > 1 else np.array([0, len(subjects)])
    if len(edges) <= 2:
        piece(0, len(subjects))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(piece, edges[:-1], edges[1:]))
    return Solved(
        real["out"], whole["failed"].astype(int), real["failed_at"], whole["failed_state"], real["steps"].astype(int)
    )


def _repeated(plan: Plan) -> Plan:
    """The plan with runs of equal doses at equal intervals, and nothing between, as one action and what it needs."""
    course = np.repeat(np.arange(len(plan.start) - 1), np.diff(plan.start))
    gap = np.diff(plan.time)
    alike = (plan.code[1:] == schedule.ADD) & (plan.code[:-1] == schedule.ADD) & (course[1:] == course[:-1])
    alike &= (plan.slot[1:] == plan.slot[:-1]) & (plan.value[1:] == plan.value[:-1]) & (gap > 0)
    rounding = 1e-12 * np.maximum(np.abs(plan.time[1:]), np.abs(plan.time[:-1]))
    steady = np.append(False, np.abs(np.diff(gap)) <= 4 * rounding[1:]) if len(gap) else alike
    begins = alike & ~(np.append(False, alike[:-1]) & steady)
    run = np.cumsum(begins)  # of each gap, 0 before the first
    run[~alike] = 0
    first = np.flatnonzero(begins)
    many = np.bincount(run, minlength=len(first) + 1)[1:]  # gaps
    kept = many >= SEVERAL
    if not kept.any():
        return plan
    first, many = first[kept], many[kept]
    code, slot, value, time = (a.copy() for a in (plan.code, plan.slot, plan.value, plan.time))
    drop = np.zeros(len(time), dtype=bool)
    last = first + many
    for a, z in zip(first, last, strict=True):
        drop[a + 3 : z + 1] = True  # the dose itself, the action, and its numbers stay
    code[first + 1], time[first + 1] = REPEAT, plan.time[first]
    code[first + 2], slot[first + 2] = schedule.PASS, many
    value[first + 2] = (plan.time[last] - plan.time[first]) / many
    time[first + 2] = plan.time[last]
    rows = np.cumsum(np.append(0, ~drop))
    keep = ~drop
    return replace(plan, start=rows[plan.start], time=time[keep], code=code[keep], slot=slot[keep], value=value[keep])


def _in_blocks(course: np.ndarray, width: int) -> np.ndarray:
    """Subjects, those of one course in whole blocks; the last one of a course stands in for those that are missing."""
    order = np.argsort(course, kind="stable")
    first = np.flatnonzero(np.diff(course[order], prepend=-1))
    blocks = []
    for a, z in zip(first, [*first[1:], len(order)], strict=True):
        blocks.append(order[np.minimum(np.arange(a, a + -(-(z - a) // width) * width), z - 1)])
    return np.concatenate(blocks) if blocks else order


def _intervals(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The intervals before the rows of each course: which length each has, -1 for none, where the lengths of a course
    begin, and the lengths."""
    which, begin, lengths = np.full(len(plan.time), -1), [0], []
    for a, z in zip(plan.start[:-1], plan.start[1:], strict=True):
        gaps = np.diff(plan.time[a:z], prepend=plan.time[a:z][:1])
        gaps[1:][plan.code[a : z - 1] == REPEAT] = 0.0  # that action takes its time itself
        known, place = np.unique(gaps[gaps > 0], return_inverse=True)
        which[a:z][gaps > 0] = place
        lengths.append(known)
        begin.append(begin[-1] + len(known))
    return which, np.array(begin), np.concatenate(lengths) if lengths else np.empty(0)
