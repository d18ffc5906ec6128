"""Patients who share a block and nothing else: each lane goes through its own plan, and then takes the next patient."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from cohort.engine import schedule
from cohort.engine.native import steps
from cohort.engine.native.together import REPEAT
from cohort.engine.native.writer import I1, LINE, Writer, integer
from cohort.engine.solved import FINISHED, NOT_FINITE, STEP_LIMIT
from cohort.engine.vector import DOUBLE, I64

EMPTY, FRESH, RUNNING = 0, 1, 2  # a lane: without a patient, with one whose program is to be prepared, on its way
CYCLES = 10_000  # of a dosing interval, in search of a steady state


@dataclass(frozen=True)
class Masks:
    """Where the block stands, as places of whole numbers; a bit a lane but for `ready`."""

    live: Any  # has a patient, or may get one
    pending: Any  # is to be looked after before the next step
    changed: Any  # what it integrates has changed
    prepares: Any  # has new inputs
    decides: Any  # waits for its rule
    settles: Any  # waits for its steady state
    repeats: Any  # waits for the sum of its doses
    ready: Any  # of the lane looked after: outputs are those of its time and states


@dataclass(frozen=True)
class Now:
    """One action for one lane. `again(*masks)`: come back to it when what these wait for was computed; `change()`: what
    the lane integrates has changed."""

    lane: Any
    bit: Any
    row: Any
    slot: Any
    value: Any
    again: Callable[..., None]
    change: Callable[[], None]


def kernel(w: Writer) -> None:
    """Write the kernel: look after the lanes that wait, then step until some lane arrives, and so on to the last."""
    b, width = w.b, w.width
    with w.each(len(w.frame) * width) as i:
        b.store(ir.Constant(DOUBLE, 0.0), b.gep(w.memory, [i]))
    with w.each(width) as i:
        w.put(w.lane_state, i, integer(EMPTY))
    whole = (1 << width) - 1
    m = Masks(w.variable(whole), w.variable(whole), *(w.variable(0) for _ in range(6)))
    events, going, stepping, after = (b.append_basic_block(n) for n in ("events", "going", "stepping", "after"))
    b.branch(events)

    b.position_at_end(events)
    _compute(w, m)
    waiting = b.load(m.pending)
    b.store(integer(0), m.pending)
    for lane, bit in _lanes(w, waiting):
        advance(w, m, lane, bit)
    b.cbranch(b.icmp_unsigned("!=", b.load(m.pending), integer(0)), events, going)

    b.position_at_end(going)
    changed = b.load(m.changed)
    with b.if_then(b.icmp_unsigned("!=", changed, integer(0))):
        steps.restart(w, changed)
        b.store(integer(0), m.changed)
    b.branch(stepping)

    b.position_at_end(stepping)
    over, moving = b.append_basic_block("over"), b.append_basic_block("moving")
    b.cbranch(b.icmp_unsigned("!=", b.load(m.live), integer(0)), moving, over)
    b.position_at_end(moving)
    there, stuck = steps.step(w)
    b.cbranch(b.icmp_unsigned("==", b.or_(there, stuck), integer(0)), moving, after)

    b.position_at_end(after)
    b.store(there, m.pending)
    if not w.closed:
        with b.if_then(b.icmp_unsigned("!=", stuck, integer(0)), likely=False):
            steps.sloped(w)
            for lane, bit in _lanes(w, stuck):
                give_up(w, lane)
                b.store(b.or_(b.load(m.pending), bit), m.pending)
    b.branch(events)

    b.position_at_end(over)
    b.ret_void()


def _compute(w: Writer, m: Masks) -> None:
    """What waiting lanes wait for. A lane that waits for a rule or the like takes its bit away itself."""
    b = w.b
    with b.if_then(b.icmp_unsigned("!=", b.load(m.prepares), integer(0)), likely=False):
        steps.prepare(w)
        b.store(integer(0), m.prepares)
    steps.look(w)
    for wanted, compute, possible in (
        (m.decides, steps.decide, w.parts.orders is not None),
        (m.settles, steps.settle, w.closed is not None),
        (m.repeats, steps.repeat, w.closed is not None and bool(w.problem.targets)),
    ):
        if possible:
            with b.if_then(b.icmp_unsigned("!=", b.load(wanted), integer(0)), likely=False):
                compute(w)


def _lanes(w: Writer, bits: Any) -> Iterator[tuple[Any, Any]]:
    """For each lane among `bits`: it and its bit. To be gone through once, in a `for`."""
    b = w.b
    with w.each(w.width) as lane:
        bit = b.shl(integer(1), lane)
        with b.if_then(b.icmp_unsigned("!=", b.and_(bits, bit), integer(0))):
            yield lane, bit


def give_up(w: Writer, lane: Any) -> None:
    """Say when and in which state it went wrong: the one that is no number, or moves fastest for its tolerance."""
    b = w.b
    worst, largest = w.variable(-1), w.array(1, DOUBLE)
    b.store(ir.Constant(DOUBLE, -1.0), largest)
    with w.each(len(w.d.states)) as i:
        y = w.number(b.add(i, integer(w.frame.first["y"])), lane)
        k = w.number(b.add(i, integer(w.frame.first["k"])), lane)
        size = b.call(w.fabs(), [y])
        fast = b.fdiv(b.call(w.fabs(), [k]), b.fadd(w.arg["atol"], b.fmul(w.arg["rtol"], size)))
        bad = b.fcmp_unordered("uno", b.fsub(y, y), b.fsub(k, k))  # infinities too
        fast = b.select(bad, ir.Constant(DOUBLE, math.inf), fast)
        with b.if_then(b.fcmp_ordered(">", fast, b.load(largest))):
            b.store(fast, largest)
            b.store(i, worst)
    finite = b.fcmp_ordered("<", b.load(largest), ir.Constant(DOUBLE, math.inf))
    subject = w.get(w.lane_subject, lane)
    w.put(w.arg["failed_at"], subject, w.number("t", lane))
    w.put(w.arg["failed_state"], subject, b.load(worst))
    end(w, lane, b.select(finite, integer(STEP_LIMIT), integer(NOT_FINITE)))


def end(w: Writer, lane: Any, code: Any) -> None:
    """The patient leaves the lane."""
    subject = w.get(w.lane_subject, lane)
    w.put(w.arg["failed"], subject, code)
    w.put(w.arg["steps"], subject, w.number("steps", lane))
    w.put(w.lane_state, lane, integer(EMPTY))


def advance(w: Writer, m: Masks, lane: Any, bit: Any) -> None:
    """Everything that happens to a lane's patient at its time, as far as no new vector is needed for it."""
    b = w.b
    top, running, done = (b.append_basic_block(n) for n in ("top", "running", "done"))

    def again(*wanted: Any) -> None:
        for mask in (m.pending, *wanted):
            b.store(b.or_(b.load(mask), bit), mask)
        b.branch(done)

    def change() -> None:
        b.store(b.or_(b.load(m.changed), bit), m.changed)
        w.set("n", lane, 0.0)

    b.store(integer(1), m.ready)
    b.branch(top)
    b.position_at_end(top)
    state = w.get(w.lane_state, lane)
    with b.if_then(b.icmp_signed("==", state, integer(EMPTY)), likely=False):
        _next_patient(w, m, lane, bit, done)
        again(m.prepares)
    with b.if_then(b.icmp_signed("==", state, integer(FRESH)), likely=False):
        _enter(w, lane)
        _stale(w, m)
        change()
    b.branch(running)

    b.position_at_end(running)
    row = w.get(w.lane_row, lane)
    with b.if_then(b.icmp_signed(">=", row, w.get(w.lane_end, lane)), likely=False):
        end(w, lane, integer(FINISHED))
        b.branch(top)
    then = w.get(w.arg["time"], row)
    with b.if_then(b.fcmp_ordered(">", then, w.number("t", lane))):
        w.set("tn", lane, then)
        w.set("n", lane, 0.0)
        b.branch(done)
    slot, value = w.get(w.arg["slot"], row), w.get(w.arg["value"], row)
    now = Now(lane, bit, row, slot, value, again, change)
    go_on = b.append_basic_block("go_on")
    switch = b.switch(w.get(w.arg["code"], row), go_on)
    for code, happen in ACTIONS.items():
        block = b.append_basic_block(f"code{code}")
        switch.add_case(integer(code), block)
        b.position_at_end(block)
        happen(w, m, now)
        if not b.block.is_terminated:  # type: ignore[union-attr]
            b.branch(go_on)
    b.position_at_end(go_on)
    w.put(w.lane_row, lane, b.add(w.get(w.lane_row, lane), integer(1)))
    b.branch(running)
    b.position_at_end(done)


def _next_patient(w: Writer, m: Masks, lane: Any, bit: Any, done: Any) -> None:
    """The lane gets the next patient in line; if there is none, it rests from now on."""
    b = w.b
    mine = b.atomic_rmw("add", w.arg[LINE], integer(1), "monotonic")
    with b.if_then(b.icmp_signed(">=", mine, w.arg["last"])):
        b.store(b.and_(b.load(m.live), b.not_(bit)), m.live)
        w.set("t", lane, 0.0)
        w.set("tn", lane, 0.0)
        b.branch(done)
    subject = w.get(w.arg["subjects"], mine)
    w.put(w.lane_subject, lane, subject)
    with w.each(len(w.layout.theta)) as j:
        place = b.add(b.mul(j, w.arg["n"]), subject)
        w.set(b.add(j, integer(w.frame.first["theta"])), lane, w.get(w.arg["theta"], place))
    course = w.get(w.arg["course"], subject)
    w.put(w.lane_row, lane, w.get(w.arg["start"], course))
    w.put(w.lane_end, lane, w.get(w.arg["start"], b.add(course, integer(1))))
    w.put(w.lane_state, lane, integer(FRESH))


def _enter(w: Writer, lane: Any) -> None:
    """The patient stands at the start of the plan."""
    b = w.b
    w.copy("begin", "y", lane, len(w.d.states))
    for group, value in (("rate", 0.0), ("flow", 0.0), ("order", math.nan)):
        w.fill(group, lane, len(w.problem.targets), value)
    for name, value in (w.parts.orders.start if w.parts.orders else {}).items():
        w.set(name, lane, value)
    w.set("steps", lane, 0.0)
    row = w.get(w.lane_row, lane)
    with b.if_then(b.icmp_signed("<", row, w.get(w.lane_end, lane))):
        w.set("t", lane, w.get(w.arg["time"], row))
    w.put(w.lane_state, lane, integer(RUNNING))


def _unless_ready(w: Writer, m: Masks, now: Now) -> None:
    with w.b.if_then(w.b.icmp_unsigned("==", w.b.load(m.ready), integer(0))):
        now.again()


def _stale(w: Writer, m: Masks) -> None:
    w.b.store(integer(0), m.ready)


def _observe(w: Writer, m: Masks, now: Now) -> None:
    b = w.b
    _unless_ready(w, m, now)
    subject = w.get(w.lane_subject, now.lane)
    place = b.add(b.mul(subject, w.arg["visits"]), now.slot)
    apart = b.mul(w.arg["n"], w.arg["visits"])
    fine = ir.Constant(I1, 1)
    for o, (name, (low, high)) in enumerate(zip(w.d.outputs, w.plausible(), strict=True)):
        seen = w.number(f"seen.{name}", now.lane)
        w.put(w.arg["out"], b.add(place, b.mul(apart, integer(o))), seen)
        for sign, limit in ((">=", low), ("<=", high)):
            fine = b.and_(fine, b.fcmp_ordered(sign, seen, ir.Constant(DOUBLE, limit)))
    with b.if_then(b.not_(fine), likely=False):
        w.suspect()


def _add(w: Writer, m: Masks, now: Now) -> None:
    b = w.b
    if not w.problem.targets:
        return
    ordered = w.number(b.add(now.slot, integer(w.frame.first["order"])), now.lane)
    amount = b.select(b.fcmp_ordered("ord", ordered, ordered), ordered, now.value)
    into = w.get(w.into, now.slot)
    arrives = w.number(b.add(now.slot, integer(w.frame.first["arrives"])), now.lane)
    w.set(into, now.lane, b.fadd(w.number(into, now.lane), b.fmul(amount, arrives)))
    _stale(w, m)
    now.change()


def _rate(w: Writer, m: Masks, now: Now) -> None:
    w.set(w.b.add(now.slot, integer(w.frame.first["rate"])), now.lane, now.value)
    now.change()


def _reset(w: Writer, m: Masks, now: Now) -> None:
    w.copy("begin", "y", now.lane, len(w.d.states))
    for group in ("rate", "flow"):
        w.fill(group, now.lane, len(w.problem.targets), 0.0)
    _stale(w, m)
    now.change()


def _set(w: Writer, m: Masks, now: Now) -> None:
    """A covariate changes. Those that change together are one preparation."""
    b = w.b
    if not w.problem.inputs:
        return
    w.set(w.get(w.setting, now.slot), now.lane, now.value)
    now.change()
    following = b.add(now.row, integer(1))
    w.put(w.lane_row, now.lane, following)
    more = b.append_basic_block("more")
    enough = b.append_basic_block("enough")
    b.cbranch(b.icmp_signed("<", following, w.get(w.lane_end, now.lane)), more, enough)
    b.position_at_end(more)
    same = b.fcmp_ordered("==", w.get(w.arg["time"], following), w.get(w.arg["time"], now.row))
    same = b.and_(same, b.icmp_signed("==", w.get(w.arg["code"], following), integer(schedule.SET)))
    next_one = b.append_basic_block("next_one")
    b.cbranch(same, next_one, enough)
    b.position_at_end(enough)
    now.again(m.prepares)
    b.position_at_end(next_one)
    w.put(w.lane_row, now.lane, now.row)  # which go_on moves on


def _decide(w: Writer, m: Masks, now: Now) -> None:
    b, orders = w.b, w.parts.orders
    if orders is None:
        return
    waited = b.and_(b.load(m.decides), now.bit)
    with b.if_then(b.icmp_unsigned("==", waited, integer(0))):
        many = len(w.d.outputs)
        subject = w.get(w.lane_subject, now.lane)
        first = b.mul(b.add(b.mul(subject, w.arg["decisions"]), now.slot), integer(many))
        with w.each(many) as o:
            noise = w.get(w.arg["noise"], b.add(first, o))
            w.set(b.add(o, integer(w.frame.first["z"])), now.lane, noise)
        now.again(m.decides)
    b.store(b.and_(b.load(m.decides), b.not_(now.bit)), m.decides)
    w.copy("then", "m", now.lane, len(orders.start))
    for k in orders.doses:
        w.set(f"order.{k}", now.lane, _possible(w, w.number(f"dose.{k}", now.lane)))
    for k in orders.rates:
        w.set(f"flow.{k}", now.lane, _possible(w, w.number(f"go.{k}", now.lane)))
    if orders.rates:
        now.change()


def _possible(w: Writer, ordered: Any) -> Any:
    """What a rule orders; what is no number from 0 on becomes endless, which fails its patient."""
    zero, endless = (ir.Constant(DOUBLE, x) for x in (0.0, math.inf))
    return w.b.select(w.b.fcmp_ordered(">=", ordered, zero), ordered, endless)


def _repeat(w: Writer, m: Masks, now: Now) -> None:
    """More doses like the one just given; how many, how far apart and until when stands in the next row."""
    b = w.b
    if not w.closed or not w.problem.targets:
        return
    following = b.add(now.row, integer(1))
    with b.if_then(b.icmp_unsigned("==", b.and_(b.load(m.repeats), now.bit), integer(0))):
        w.set("dt", now.lane, w.get(w.arg["value"], following))
        w.set("count", now.lane, b.sitofp(w.get(w.arg["slot"], following), DOUBLE))
        w.fill("sum", now.lane, len(w.d.states), 0.0)
        apart = w.frame.first["sum"] - w.frame.first["y"]
        arrives = w.number(b.add(now.slot, integer(w.frame.first["arrives"])), now.lane)
        w.set(b.add(w.get(w.into, now.slot), integer(apart)), now.lane, b.fmul(now.value, arrives))
        now.again(m.repeats)
    b.store(b.and_(b.load(m.repeats), b.not_(now.bit)), m.repeats)
    w.copy("solved", "y", now.lane, len(w.d.states))
    w.set("t", now.lane, w.get(w.arg["time"], following))
    _stale(w, m)
    now.change()


def _steady_start(w: Writer, m: Masks, now: Now) -> None:
    states = len(w.d.states)
    w.copy("y", "kept", now.lane, states)
    w.copy("begin", "y", now.lane, states)
    w.copy("begin", "cycle", now.lane, states)
    w.fill("delta", now.lane, states, math.inf)
    w.fill("calm", now.lane, states, 0.0)
    w.fill("rate", now.lane, len(w.problem.targets), 0.0)
    w.set("cycles", now.lane, 0.0)
    w.set("t", now.lane, now.value)
    _stale(w, m)
    now.change()


def _steady_check(w: Writer, m: Masks, now: Now) -> None:
    """Whether another cycle would change nothing any more; a linear model needs one cycle to know."""
    b = w.b
    if w.closed:
        with b.if_then(b.icmp_unsigned("==", b.and_(b.load(m.settles), now.bit), integer(0))):
            w.set("dt", now.lane, b.fsub(w.number("t", now.lane), now.value))
            now.again(m.settles)
        b.store(b.and_(b.load(m.settles), b.not_(now.bit)), m.settles)
        w.copy("settled", "y", now.lane, len(w.d.states))
        _stale(w, m)
        now.change()
        return
    settled = w.variable(1)
    returning = [i for i in range(len(w.d.states)) if i not in w.d.accumulating]
    table = w.table("returning", returning)
    with w.each(len(returning)) as k:
        i = w.get(table, k)
        y = w.number(b.add(i, integer(w.frame.first["y"])), now.lane)
        begun = w.lane(b.add(i, integer(w.frame.first["cycle"])), now.lane)
        before = w.lane(b.add(i, integer(w.frame.first["delta"])), now.lane)
        delta = b.call(w.fabs(), [b.fsub(y, b.load(begun))])
        # what is still to come, if each cycle goes on to bring the same share of the one before
        share = b.fdiv(delta, b.load(before))
        rest = b.fdiv(b.fmul(delta, share), b.fsub(ir.Constant(DOUBLE, 1.0), share))
        slower = b.fcmp_ordered("<", share, ir.Constant(DOUBLE, 1.0))
        near = b.fadd(w.arg["atol"], b.fmul(w.arg["rtol"], b.call(w.fabs(), [y])))
        later = b.fcmp_ordered(">=", w.number("cycles", now.lane), ir.Constant(DOUBLE, 1.0))
        # a change of about the tolerance that gets no smaller is the error of the steps
        near = b.select(slower, near, b.fmul(near, ir.Constant(DOUBLE, 10.0)))
        fine = b.fcmp_ordered("<=", b.select(slower, b.fadd(delta, rest), delta), near)
        fine = b.or_(b.and_(later, fine), b.fcmp_ordered("==", delta, ir.Constant(DOUBLE, 0.0)))
        calm = w.lane(b.add(i, integer(w.frame.first["calm"])), now.lane)
        was = b.fcmp_ordered(">", b.load(calm), ir.Constant(DOUBLE, 0.0))  # errors of steps may alternate
        b.store(b.uitofp(fine, DOUBLE), calm)
        b.store(b.and_(b.load(settled), b.zext(b.or_(fine, was), I64)), settled)
        b.store(delta, before)
        b.store(y, begun)
    cycles = b.fadd(w.number("cycles", now.lane), ir.Constant(DOUBLE, 1.0))
    w.set("cycles", now.lane, cycles)
    for name in (w.d.states[i] for i in w.d.accumulating):  # what only adds up starts anew
        w.set(f"y.{name}", now.lane, w.number(f"begin.{name}", now.lane))
    with b.if_then(b.icmp_unsigned("==", b.load(settled), integer(0))):
        with b.if_then(b.fcmp_ordered(">", cycles, ir.Constant(DOUBLE, float(CYCLES)))):
            give_up(w, now.lane)
            now.again()
        w.set("t", now.lane, now.value)
        back = b.sub(now.row, now.slot)
        w.put(w.lane_row, now.lane, b.sub(back, integer(1)))  # go_on adds one
        now.change()
    _stale(w, m)


def _steady_add(w: Writer, m: Masks, now: Now) -> None:
    """The steady state on top of what there was before."""
    b = w.b
    with w.each(len(w.d.states)) as i:
        y, kept, begin = (
            w.number(b.add(i, integer(w.frame.first[group])), now.lane) for group in ("y", "kept", "begin")
        )
        w.set(b.add(i, integer(w.frame.first["y"])), now.lane, b.fadd(y, b.fsub(kept, begin)))
    _stale(w, m)
    now.change()


def _pass(w: Writer, m: Masks, now: Now) -> None:
    """Nothing but a time at which to stop."""


ACTIONS = {
    schedule.OBSERVE: _observe,
    schedule.ADD: _add,
    schedule.RATE: _rate,
    schedule.RESET: _reset,
    schedule.SET: _set,
    schedule.DECIDE: _decide,
    schedule.STEADY_START: _steady_start,
    schedule.STEADY_CHECK: _steady_check,
    schedule.STEADY_ADD: _steady_add,
    schedule.PASS: _pass,
    REPEAT: _repeat,
}
