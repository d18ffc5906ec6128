"""The native back end: a problem's program as machine code that takes several patients a step at once.

A block of patients shares the vector registers and nothing else: each lane has its own time, step and place in its
plan, and when a patient is done the next one takes the lane. So a patient's bits are the same in any company.
"""

import ctypes
import functools
import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cohort.engine import machine, schedule
from cohort.engine.native import lanes
from cohort.engine.native.together import REPEAT, TOGETHER, together
from cohort.engine.native.writer import NUMBERS, REAL, SETTINGS, WHOLE, Writer
from cohort.engine.problem import Problem, parts
from cohort.engine.schedule import Plan
from cohort.engine.solved import Solved

SEVERAL = 8  # equal doses from which on closing their sum pays


@dataclass(frozen=True)
class Kernel:
    theta: tuple[str, ...]
    entries: int  # of the exponential
    run: Any
    engine: Any  # owns the code


@functools.lru_cache(maxsize=64)
def kernel(problem: Problem, shared: bool, width: int, isa: str) -> Kernel:
    """Machine code of a problem; `shared`: for patients on one course whose model is linear."""
    writer = Writer(problem, width)
    (together if shared else lanes.kernel)(writer)
    engine = machine.compiled(str(writer.module), isa)
    closed = writer.layout.linear
    kinds = [ctypes.c_void_p] * (len(WHOLE) + len(REAL) + 1) + [ctypes.c_int64] * len(NUMBERS)
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
        "out": _unseen((outputs, n, plan.visits), plan),
        "failed_at": np.full(n, np.nan),
        "steps": np.zeros(n),
    }
    whole = {k: np.ascontiguousarray(a, dtype=np.int64) for k, a in whole.items()}
    real = {k: np.ascontiguousarray(a, dtype=np.float64) for k, a in real.items()}
    pointers = [a.ctypes.data for a in (*whole.values(), *real.values())]

    line = np.zeros(2, dtype=np.int64)  # one for all threads, so that none waits for another's last patient

    def piece(first: int, last: int) -> None:
        scratch = np.empty(most_lengths * code.entries * width)
        code.run(
            *pointers,
            scratch.ctypes.data,
            line.ctypes.data,
            first,
            last,
            n,
            plan.visits,
            plan.decisions,
            most,
            rtol,
            atol,
        )

    if threads <= 1 or len(subjects) <= width:
        piece(0, len(subjects))
    else:
        blocks = np.linspace(0, len(subjects) // width, 4 * threads + 1).astype(int) * width
        edges = np.unique([*blocks[:-1], len(subjects)]) if shared else [0, len(subjects)]
        pieces = list(itertools.pairwise(edges)) * (1 if shared else threads)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda ends: piece(*ends), pieces))
    ended = whole["failed"], real["failed_at"], whole["failed_state"], real["steps"].astype(int)
    return Solved(real["out"], *ended, suspect=bool(line[1]))


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


def _unseen(shape: tuple[int, int, int], plan: Plan) -> np.ndarray:
    """Outputs before anything was observed: NaN where not all will be."""
    course = np.repeat(np.arange(len(plan.start) - 1), np.diff(plan.start))
    seen = np.bincount(course[plan.code == schedule.OBSERVE], minlength=len(plan.start) - 1)
    return np.empty(shape) if (seen == plan.visits).all() else np.full(shape, np.nan)


def _in_blocks(course: np.ndarray, width: int) -> np.ndarray:
    """Subjects, those of one course in whole blocks; the last one of a course stands in for those that are missing."""
    if not len(course):
        return course
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
