"""What a kernel is written with: the frame of a block in memory, and small things to say in LLVM's language."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from cohort.engine.graph import TRUTHS
from cohort.engine.linear import Linear
from cohort.engine.problem import INSIDE, ON_THE_WAY, Parts, Problem, parts
from cohort.engine.vector import DOUBLE, I64, Vector, emit

I1, I32, VOID = ir.IntType(1), ir.IntType(32), ir.VoidType()
# What a kernel is given: arrays of whole numbers, arrays of numbers, whole numbers, numbers.
WHOLE = ("subjects", "course", "start", "code", "slot", "interval", "intervals", "failed", "failed_state")
REAL = ("theta", "time", "value", "lengths", "noise", "out", "failed_at", "steps", "scratch")
LINE = "line"  # for all threads: the place of the next patient, and whether any output was out of its plausible range
NUMBERS = ("first", "last", "n", "visits", "decisions", "most")
SETTINGS = ("rtol", "atol")


def integer(k: int) -> Any:
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


def layout(problem: Problem, made: Parts, width: int) -> Layout:
    d, g, closed = made.dynamics, made.dynamics.graph, made.linear
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
    theta = {name for name in named.values() if name and name not in ON_THE_WAY and not name.startswith(INSIDE)} | set(
        problem.inputs
    )
    constant: set[int] = set()  # nodes that depend on the subject alone
    for node in order:
        op, *args = g.nodes[node]
        if (
            op == "constant"
            or (op == "input" and args[0] in theta)
            or (op != "input" and all(a in constant for a in args))
        ):
            constant.add(node)
    # Truths are no numbers to be kept: they are told anew from the numbers they compare.
    told = {node for node in order if node not in constant or g.nodes[node][0] in TRUTHS}
    needed = {a for node in told for a in g.arguments(node)} | set(wanted)
    hoisted = {
        node: f"q.{node}"
        for node in order
        if node in needed and node not in told and g.nodes[node][0] not in ("constant", "input")
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
        "calm": [f"calm.{x}" for x in s],
        "cycles": ["cycles", "dt", "count"],
        "z": [f"z.{x}" for x in o],
        "m": memory,
        "then": [f"then.{x}" for x in memory],
        "dose": [f"dose.{x}" for x in k],
        "go": [f"go.{x}" for x in k],
        "e": [f"e.{i}.{j}" for i, j in closed.power] if closed else [],
        "solved": [f"solved.{x}" for x in s] if closed else [],
        "settled": [f"settled.{x}" for x in s] if closed else [],
        "sum": [f"sum.{x}" for x in s] if closed else [],
    }
    return Layout(tuple(sorted(theta)), Frame(width, groups), hoisted, closed)


class Writer:
    """A kernel's text, piece by piece."""

    def __init__(self, problem: Problem, width: int):
        self.problem, self.width = problem, width
        self.parts = parts(problem)
        self.d, self.g = self.parts.dynamics, self.parts.dynamics.graph
        self.layout = layout(problem, self.parts, width)
        self.frame, self.closed = self.layout.frame, self.layout.linear
        self.module = ir.Module("kernel")
        kinds = [I64.as_pointer()] * len(WHOLE) + [DOUBLE.as_pointer()] * len(REAL) + [I64.as_pointer()]
        kinds += [I64] * len(NUMBERS) + [DOUBLE] * len(SETTINGS)
        self.f = ir.Function(self.module, ir.FunctionType(VOID, kinds), "run")
        self.arg = dict(zip((*WHOLE, *REAL, LINE, *NUMBERS, *SETTINGS), self.f.args, strict=True))
        for name in (*WHOLE, *REAL):
            self.arg[name].add_attribute("noalias")
        self.b = ir.IRBuilder(self.f.append_basic_block("entry"))
        self.v = Vector(self.b, width)
        self.memory = self.b.alloca(DOUBLE, integer(len(self.frame) * width))
        self.memory.align = 64  # type: ignore[assignment]  # llvmlite declares it None
        self.lane_state, self.lane_row, self.lane_end, self.lane_subject = (
            self.b.alloca(I64, integer(width)) for _ in ("state", "row", "end", "subject")
        )
        self.into = self.table("into", [self.frame.first["y"] + i for i in self.parts.into])
        self.setting = self.table("setting", [self.frame.slots[name] for name in problem.inputs])

    def array(self, size: int, kind: Any = I64) -> Any:
        with self.b.goto_entry_block():  # anywhere else it would be made again and again
            return self.b.alloca(kind, integer(size))

    def variable(self, start: int) -> Any:
        place = self.array(1)
        self.b.store(integer(start), place)
        return place

    def get(self, array: Any, i: Any) -> Any:
        return self.b.load(self.b.gep(array, [i]))

    def put(self, array: Any, i: Any, value: Any) -> None:
        self.b.store(value, self.b.gep(array, [i]))

    def vector(self, name: str) -> Any:
        place = self.b.gep(self.memory, [integer(self.frame.slots[name] * self.width)])
        return self.b.load(self.b.bitcast(place, self.v.type.as_pointer()), align=8 * min(self.width, 8))

    def store(self, name: str, value: Any) -> None:
        place = self.b.gep(self.memory, [integer(self.frame.slots[name] * self.width)])
        self.b.store(value, self.b.bitcast(place, self.v.type.as_pointer()), align=8 * min(self.width, 8))

    def lane(self, slot: Any, lane: Any) -> Any:
        """Where a lane of a slot lies; the slot a name, a number or computed."""
        slot = self.frame.slots[slot] if isinstance(slot, str) else slot
        slot = integer(slot) if isinstance(slot, int) else slot
        return self.b.gep(self.memory, [self.b.add(self.b.mul(slot, integer(self.width)), lane)])

    def number(self, slot: Any, lane: Any) -> Any:
        return self.b.load(self.lane(slot, lane))

    def set(self, slot: Any, lane: Any, value: Any) -> None:
        self.b.store(ir.Constant(DOUBLE, value) if isinstance(value, float) else value, self.lane(slot, lane))

    def table(self, name: str, values: Sequence[int]) -> Any:
        """A constant array of whole numbers; a pointer to its first."""
        kind = ir.ArrayType(I64, max(len(values), 1))
        made = ir.GlobalVariable(self.module, kind, name)
        made.initializer = ir.Constant(kind, [integer(x) for x in values] or [integer(0)])  # type: ignore[assignment]
        made.global_constant, made.linkage = True, "internal"
        return self.b.bitcast(made, I64.as_pointer())

    @contextlib.contextmanager
    def each(self, many: int | Any) -> Iterator[Any]:
        """A loop over whole numbers from 0."""
        many = integer(many) if isinstance(many, int) else many
        head, body, after = (self.b.append_basic_block(n) for n in ("each", "body", "after"))
        before = self.b.block
        self.b.branch(head)
        self.b.position_at_end(head)
        i = self.b.phi(I64)
        i.add_incoming(integer(0), before)
        self.b.cbranch(self.b.icmp_signed("<", i, many), body, after)
        self.b.position_at_end(body)
        yield i
        i.add_incoming(self.b.add(i, integer(1)), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    def copy(self, source: str, target: str, lane: Any, many: int) -> None:
        """A lane of one group of slots to another."""
        if many:
            with self.each(many) as i:
                value = self.number(self.b.add(i, integer(self.frame.first[source])), lane)
                self.set(self.b.add(i, integer(self.frame.first[target])), lane, value)

    def fill(self, group: str, lane: Any, many: int, value: float) -> None:
        if many:
            with self.each(many) as i:
                self.set(self.b.add(i, integer(self.frame.first[group])), lane, value)

    def emit(self, wanted: Mapping[str, int], inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        given = inputs or {}
        return emit(self.v, self.g, wanted, lambda n: given[n] if n in given else self.vector(n), self.layout.hoisted)

    def plausible(self) -> list[tuple[float, float]]:
        """By output: the least and the largest number that it may be."""
        fields = self.problem.model.outputs.fields().values()
        largest = sys.float_info.max
        return [(max(low, -largest), min(high, largest)) for low, high in (meta["plausible"] for meta in fields)]

    def suspect(self) -> None:
        self.put(self.arg[LINE], integer(1), integer(1))

    def bits(self, truths: Any) -> Any:
        return self.b.zext(self.b.bitcast(truths, ir.IntType(self.width)), I64)

    def truths(self, bits: Any) -> Any:
        return self.b.bitcast(self.b.trunc(bits, ir.IntType(self.width)), ir.VectorType(I1, self.width))

    def splat(self, x: Any) -> Any:
        one = self.b.insert_element(ir.Constant(self.v.type, ir.Undefined), x, ir.Constant(I32, 0))
        kind = ir.VectorType(I32, self.width)
        return self.b.shuffle_vector(one, ir.Constant(self.v.type, ir.Undefined), ir.Constant(kind, [0] * self.width))

    def fabs(self) -> Any:
        known = self.module.globals.get("llvm.fabs.f64")
        return known or ir.Function(self.module, ir.FunctionType(DOUBLE, [DOUBLE]), "llvm.fabs.f64")
