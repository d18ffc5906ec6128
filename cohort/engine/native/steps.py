"""What is computed for all lanes of a block at once: what depends on the subject, outputs, a step.

References
----------
[1] Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I, II.4: step control, and the first step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cohort.engine.linear import NORM
from cohort.engine.native.writer import Writer, integer
from cohort.engine.vector import DOUBLE, emit

SAFETY, SHRINK, GROW = 0.9, 0.2, 6.0  # [1]
TINY = 1e-14  # a step this far below the time is none


def prepare(w: Writer) -> None:
    """What depends on the subject alone: hoisted nodes, states at the start, what arrives of a dose."""
    hoisted = {name: node for node, name in w.layout.hoisted.items()}
    named = hoisted | {f"begin.{s}": n for s, n in zip(w.d.states, w.d.initial, strict=True)}
    named |= {f"arrives.{k}": node for k, node in enumerate(w.parts.arrives)}
    made = emit(w.v, w.g, named, w.vector)
    for name, value in made.items():
        w.store(name, value)


def look(w: Writer) -> None:
    made = w.emit({f"seen.{o}": n for o, n in zip(w.d.outputs, w.d.observe, strict=True)})
    for name, value in made.items():
        w.store(name, value)


def decide(w: Writer) -> None:
    orders = w.parts.orders
    assert orders is not None
    wanted = {f"then.{m}": node for m, node in zip(orders.start, orders.memory, strict=True)}
    wanted |= {f"dose.{k}": node for k, node in orders.doses.items()}
    wanted |= {f"go.{k}": node for k, node in orders.rates.items()}
    for name, value in w.emit(wanted).items():
        w.store(name, value)


def flows(w: Writer) -> None:
    """What flows into each state: what is scheduled and, as it arrives, what a rule ordered."""
    ordered = w.parts.orders.rates if w.parts.orders else {}
    for i in w.problem.infused:
        total = w.v.constant(0.0)
        for k, state in enumerate(w.parts.into):
            if state == i:
                total = w.v.add(total, w.vector(f"rate.{k}"))
                if k in ordered:
                    total = w.v.fma(w.vector(f"flow.{k}"), w.vector(f"arrives.{k}"), total)
        w.store(f"r.{w.d.states[i]}", total)


def slopes(w: Writer, inputs: Mapping[str, Any]) -> list[Any]:
    """dy/dt, with what flows in."""
    made = w.emit({s: n for s, n in zip(w.d.states, w.d.rates, strict=True)}, inputs)
    return [
        w.v.add(made[s], w.vector(f"r.{s}")) if i in w.problem.infused else made[s] for i, s in enumerate(w.d.states)
    ]


def sloped(w: Writer) -> None:
    """dy/dt of every lane where it stands, into `k.*`."""
    for s, slope in zip(w.d.states, slopes(w, {}), strict=True):
        w.store(f"k.{s}", slope)


def mean_square(w: Writer, values: Sequence[Any], scales: Sequence[Any]) -> Any:
    """Of values by roughly inverted scales."""
    total = w.v.constant(0.0)
    for x, scale in zip(values, scales, strict=True):
        ratio = w.v.mul(x, scale)
        total = w.v.fma(ratio, ratio, total)
    return w.v.mul(total, w.v.constant(1 / len(values)))


def scale(w: Writer, *sizes: Any) -> Any:
    """1 / (atol + rtol |y|), roughly."""
    size = w.v.abs(sizes[0])
    for other in sizes[1:]:
        size = w.v.larger(w.v.abs(other), size)
    return w.v.rough_inverse(w.v.fma(w.splat(w.arg["rtol"]), size, w.splat(w.arg["atol"])))


def restart(w: Writer, changed: Any) -> None:
    """After something has happened: the slope, and a first step from it (Hairer, Nørsett & Wanner 1993, II.4)."""
    v, states = w.v, w.d.states
    if w.problem.infused:
        flows(w)
    if w.closed:
        return
    lanes = w.truths(changed)
    t = w.vector("t")
    y = [w.vector(f"y.{s}") for s in states]
    k = slopes(w, {"t": t})
    scales = [scale(w, x) for x in y]
    tiny = v.constant(1e-30)
    d0, d1 = (v.larger(mean_square(w, x, scales), tiny) for x in (y, k))
    known = v.less(v.constant(1e-10), v.smaller(d0, d1))
    first = v.mul(v.constant(0.01), v.sqrt(v.mul(d0, v.rough_inverse(d1))))
    first = v.select(known, first, v.constant(1e-6))
    later = {f"y.{s}": v.fma(first, slope, x) for s, slope, x in zip(states, k, y, strict=True)}
    bent = slopes(w, later | {"t": v.add(t, first)})
    bend = [v.sub(a, b) for a, b in zip(bent, k, strict=True)]
    per_first = v.rough_inverse(v.larger(first, tiny))
    d2 = v.mul(mean_square(w, bend, scales), v.mul(per_first, per_first))
    root = v.rough_tenth_root_inverse(v.larger(v.larger(d1, d2), tiny))  # largest**(-1/5), squares under it
    step = v.mul(v.constant(0.01**0.2), root)
    step = v.select(known, v.smaller(step, v.mul(v.constant(100.0), first)), step)
    w.store("h", v.select(lanes, step, w.vector("h")))
    if w.parts.step and w.parts.step.last:
        for s, slope in zip(states, k, strict=True):
            w.store(f"k.{s}", v.select(lanes, slope, w.vector(f"k.{s}")))


def step(w: Writer) -> tuple[Any, Any]:
    """One step of every lane that has somewhere to go. Returns the lanes that arrived and those that gave up."""
    v, b = w.v, w.b
    t, tn, h = w.vector("t"), w.vector("tn"), w.vector("h")
    rest = v.sub(tn, t)
    active = v.less(v.constant(0.0), rest)
    if w.closed:
        propagate(w, v.select(active, rest, v.constant(0.0)), active)
        w.store("t", v.select(active, tn, t))
        return w.bits(active), integer(0)
    assert w.parts.step is not None
    last = b.fcmp_ordered(">=", h, rest)
    halved = v.select(v.less(rest, v.add(h, h)), v.mul(v.constant(0.5), rest), h)  # no sliver is left to the end
    now = v.select(active, v.select(last, rest, halved), v.constant(1.0))
    states, step = w.d.states, w.parts.step
    wanted = {f"new.{s}": n for s, n in zip(states, step.new, strict=True)}
    wanted |= {f"error.{s}": n for s, n in zip(states, step.error, strict=True)}
    wanted |= {f"last.{s}": n for s, n in zip(states, step.last, strict=True)} if step.last else {}
    made = w.emit(wanted, {"h": now, "t": t})
    y = {s: w.vector(f"y.{s}") for s in states}
    scales = [scale(w, y[s], made[f"new.{s}"]) for s in states]
    wrong = mean_square(w, [made[f"error.{s}"] for s in states], scales)
    good = b.and_(active, b.fcmp_ordered("<=", wrong, v.constant(1.0)))
    factor = v.mul(v.constant(SAFETY), v.rough_tenth_root_inverse(wrong))
    factor = v.smaller(v.larger(factor, v.constant(SHRINK)), v.constant(GROW))
    factor = v.select(b.fcmp_ordered("ord", wrong, wrong), factor, v.constant(SHRINK))
    for s in states:
        w.store(f"y.{s}", v.select(good, made[f"new.{s}"], y[s]))
        if step.last:
            w.store(f"k.{s}", v.select(good, made[f"last.{s}"], w.vector(f"k.{s}")))
    next_h = v.mul(now, factor)
    grown = v.select(last, v.larger(h, next_h), next_h)
    smaller = v.mul(now, v.smaller(factor, v.constant(SAFETY)))
    w.store("h", v.select(active, v.select(good, grown, smaller), h))
    there = b.and_(good, last)
    w.store("t", v.select(good, v.select(last, tn, v.add(t, now)), t))
    one = v.select(active, v.constant(1.0), v.constant(0.0))
    count = v.add(w.vector("n"), one)
    w.store("n", count)
    w.store("steps", v.add(w.vector("steps"), one))
    many = b.fcmp_ordered(">", count, w.splat(b.sitofp(w.arg["most"], DOUBLE)))
    nothing = b.fcmp_ordered("<=", now, v.mul(v.constant(TINY), v.abs(t)))
    stuck = b.and_(active, b.and_(b.not_(good), b.or_(many, b.or_(nothing, v.less(now, v.constant(1e-300))))))
    stuck = b.or_(stuck, b.and_(b.and_(active, b.not_(there)), many))
    return w.bits(there), w.bits(stuck)


def power(w: Writer, dt: Any) -> None:
    """The exponential over `dt`, into the slots `e.*`."""
    v, b, closed = w.v, w.b, w.closed
    assert closed is not None
    norm = v.mul(w.emit({"norm": closed.norm})["norm"], dt)
    raised = b.lshr(v.bits(v.mul(norm, v.constant(1 / NORM))), v.integer(52))
    times = b.sub(raised, v.integer(1022))  # so that the norm, halved as often, is below NORM
    times = b.select(b.icmp_signed("<", times, v.integer(0)), v.integer(0), times)
    times = b.select(b.icmp_signed(">", times, v.integer(1000)), v.integer(1000), times)
    down = v.two_to(b.sub(v.integer(0), times))
    exponent = w.emit({f"{i}.{j}": node for (i, j), node in closed.exponent.items()}, {"dt": dt})
    scaled = {f"a.{name}": v.mul(value, down) for name, value in exponent.items()}
    made = w.emit({f"e.{i}.{j}": node for (i, j), node in closed.taylor.items()}, scaled)
    for name, value in made.items():
        w.store(name, value)
    head, body, after = (b.append_basic_block(n) for n in ("square", "squaring", "squared"))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    left = b.phi(times.type)
    left.add_incoming(times, before)
    more = b.icmp_signed(">", left, v.integer(0))
    b.cbranch(b.icmp_unsigned("!=", w.bits(more), integer(0)), body, after)
    b.position_at_end(body)
    squared = w.emit({f"e.{i}.{j}": node for (i, j), node in closed.squared.items()})
    for name, value in squared.items():
        w.store(name, v.select(more, value, w.vector(name)))
    left.add_incoming(b.sub(left, v.integer(1)), b.block)
    b.branch(head)
    b.position_at_end(after)


def propagate(w: Writer, dt: Any, active: Any) -> None:
    """y over `dt`, exactly."""
    assert w.closed is not None
    power(w, dt)
    made = w.emit({f"y.{s}": n for s, n in zip(w.d.states, w.closed.new, strict=True)}, {"dt": dt})
    for name, value in made.items():
        w.store(name, w.v.select(active, value, w.vector(name)))


def settle(w: Writer) -> None:
    """The states that the cycle just ended would bring back, into `settled.*`."""
    assert w.closed is not None
    power(w, w.vector("dt"))
    made = w.emit({f"settled.{s}": n for s, n in zip(w.d.states, w.closed.steady, strict=True)})
    for name, value in made.items():
        w.store(name, value)


def repeat(w: Writer) -> None:
    """Where `count` more doses, `dt` apart, each of which adds `sum.*`, bring the states: into `solved.*`.

    One dose and the interval before it are y -> Φ y + s; twice as many are Φ² y + (Φ s + s), and so on: the powers
    of two that `count` is made of, whatever of them comes first.
    """
    v, b, closed, states = w.v, w.b, w.closed, w.d.states
    assert closed is not None
    dt = w.vector("dt")
    power(w, dt)
    nothing = {f"y.{s}": v.constant(0.0) for s in states}
    flown = w.emit({s: n for s, n in zip(states, closed.new, strict=True)}, nothing | {"dt": dt})
    for s in states:
        w.store(f"sum.{s}", v.add(w.vector(f"sum.{s}"), flown[s]))
        w.store(f"solved.{s}", w.vector(f"y.{s}"))
    left = b.fptosi(w.vector("count"), v.whole)
    head, body, after = (b.append_basic_block(n) for n in ("bits", "bit", "counted"))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    count = b.phi(v.whole)
    count.add_incoming(left, before)
    more = b.icmp_signed(">", count, v.integer(0))
    b.cbranch(b.icmp_unsigned("!=", w.bits(more), integer(0)), body, after)
    b.position_at_end(body)
    odd = b.icmp_signed("==", b.and_(count, v.integer(1)), v.integer(1))
    solved = {f"y.{s}": w.vector(f"solved.{s}") for s in states}
    moved = w.emit({s: n for s, n in zip(states, closed.many, strict=True)}, solved)
    doubled = w.emit({s: n for s, n in zip(states, closed.doubled, strict=True)})
    squared = w.emit({f"e.{i}.{j}": node for (i, j), node in closed.squared.items()})
    for s in states:
        w.store(f"solved.{s}", v.select(odd, moved[s], solved[f"y.{s}"]))
        w.store(f"sum.{s}", doubled[s])
    for name, value in squared.items():
        w.store(name, value)
    count.add_incoming(b.lshr(count, v.integer(1)), b.block)
    b.branch(head)
    b.position_at_end(after)
