"""A block of patients on one course, whose model is linear: all go from event to event together."""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from cohort.engine import schedule
from cohort.engine.native import steps
from cohort.engine.native.writer import I32, Writer, integer
from cohort.engine.vector import DOUBLE

REPEAT = schedule.PASS + 1  # an action of this back end's own: as many doses so far apart, in closed form
TOGETHER = (schedule.OBSERVE, schedule.ADD, schedule.RATE, schedule.RESET, schedule.PASS, REPEAT)


def together(w: Writer) -> None:
    """The same arithmetic with the exponential of each length of interval computed once."""
    b, v, width, closed = w.b, w.v, w.width, w.closed
    assert closed is not None
    entries = [f"e.{i}.{j}" for i, j in closed.power]
    size = len(entries) * width
    blocks = b.sdiv(b.sub(w.arg["last"], w.arg["first"]), integer(width))
    with w.each(blocks) as block:
        first = b.add(w.arg["first"], b.mul(block, integer(width)))
        with w.each(width) as lane:
            subject = w.get(w.arg["subjects"], b.add(first, lane))
            w.put(w.lane_subject, lane, subject)
            with w.each(len(w.layout.theta)) as j:
                place = b.add(b.mul(j, w.arg["n"]), subject)
                w.set(b.add(j, integer(w.frame.first["theta"])), lane, w.get(w.arg["theta"], place))
        course = w.get(w.arg["course"], w.get(w.lane_subject, integer(0)))
        steps.prepare(w)
        _begin(w, ("rate",))
        lengths = w.get(w.arg["intervals"], course)
        many = b.sub(w.get(w.arg["intervals"], b.add(course, integer(1))), lengths)
        with w.each(many) as u:
            steps.power(w, w.splat(w.get(w.arg["lengths"], b.add(lengths, u))))
            for k, name in enumerate(entries):
                place = b.gep(w.arg["scratch"], [b.add(b.mul(u, integer(size)), integer(k * width))])
                b.store(w.vector(name), b.bitcast(place, v.type.as_pointer()), align=8)
        start = w.get(w.arg["start"], course)
        with w.each(b.sub(w.get(w.arg["start"], b.add(course, integer(1))), start)) as k:
            row = b.add(start, k)
            length = w.get(w.arg["interval"], row)
            with b.if_then(b.icmp_signed(">=", length, integer(0))):
                known = {}
                for j, name in enumerate(entries):
                    at = b.add(b.mul(length, integer(size)), integer(j * width))
                    known[name] = b.load(b.bitcast(b.gep(w.arg["scratch"], [at]), v.type.as_pointer()), align=8)
                wanted = {f"y.{s}": n for s, n in zip(w.d.states, closed.new, strict=True)}
                for name, value in w.emit(wanted, known).items():
                    w.store(name, value)
            _happens(w, row)
    b.ret_void()


def _begin(w: Writer, groups: Sequence[str]) -> None:
    for s in w.d.states:
        w.store(f"y.{s}", w.vector(f"begin.{s}"))
    for group in groups:
        for k in range(len(w.problem.targets)):
            w.store(f"{group}.{k}", w.v.constant(0.0))
    steps.flows(w)


def _happens(w: Writer, row: Any) -> None:
    """One action, to all lanes of a block."""
    b, v = w.b, w.v
    slot, value = w.get(w.arg["slot"], row), w.get(w.arg["value"], row)
    after = b.append_basic_block("done")
    blocks = {code: b.append_basic_block(f"code{code}") for code in TOGETHER}
    switch = b.switch(w.get(w.arg["code"], row), after)
    for code, block in blocks.items():
        switch.add_case(integer(code), block)

    def place(slots: Any) -> Any:
        return b.bitcast(w.lane(slots, integer(0)), v.type.as_pointer())

    b.position_at_end(blocks[schedule.OBSERVE])
    w.store("t", w.splat(w.get(w.arg["time"], row)))
    steps.look(w)
    apart = b.mul(w.arg["n"], w.arg["visits"])
    for o, (name, (low, high)) in enumerate(zip(w.d.outputs, w.plausible(), strict=True)):
        seen = w.vector(f"seen.{name}")
        within = b.and_(b.fcmp_ordered(">=", seen, v.constant(low)), b.fcmp_ordered("<=", seen, v.constant(high)))
        with b.if_then(b.icmp_unsigned("!=", w.bits(b.not_(within)), integer(0)), likely=False):
            w.suspect()
        first = b.add(b.mul(apart, integer(o)), slot)
        for k in range(w.width):
            subject = w.get(w.lane_subject, integer(k))
            at = b.add(first, b.mul(subject, w.arg["visits"]))
            w.put(w.arg["out"], at, b.extract_element(seen, ir.Constant(I32, k)))
    b.branch(after)
    b.position_at_end(blocks[schedule.ADD])
    if w.problem.targets:
        into = place(w.get(w.into, slot))
        arrives = b.load(place(b.add(slot, integer(w.frame.first["arrives"]))), align=8)
        b.store(v.add(b.load(into, align=8), v.mul(w.splat(value), arrives)), into, align=8)
    b.branch(after)
    b.position_at_end(blocks[schedule.RATE])
    if w.problem.targets:
        b.store(w.splat(value), place(b.add(slot, integer(w.frame.first["rate"]))), align=8)
        steps.flows(w)
    b.branch(after)
    b.position_at_end(blocks[schedule.RESET])
    _begin(w, ("rate",))
    b.branch(after)
    b.position_at_end(blocks[REPEAT])
    if w.problem.targets:
        following = b.add(row, integer(1))
        w.store("dt", w.splat(w.get(w.arg["value"], following)))
        w.store("count", w.splat(b.sitofp(w.get(w.arg["slot"], following), DOUBLE)))
        for s in w.d.states:
            w.store(f"sum.{s}", v.constant(0.0))
        apart = w.frame.first["sum"] - w.frame.first["y"]
        into = place(b.add(w.get(w.into, slot), integer(apart)))
        arrives = b.load(place(b.add(slot, integer(w.frame.first["arrives"]))), align=8)
        b.store(v.mul(w.splat(value), arrives), into, align=8)
        steps.repeat(w)
        for s in w.d.states:
            w.store(f"y.{s}", w.vector(f"solved.{s}"))
    b.branch(after)
    b.position_at_end(blocks[schedule.PASS])
    b.branch(after)
    b.position_at_end(after)
