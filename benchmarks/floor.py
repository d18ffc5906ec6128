"""How fast this machine could be: operations and memory operands of a step against what one core does at most.

A step's operations are counted in the program that the native back end writes, before a compiler has seen it: each
number is loaded once and stored once, as if there were registers for all between. What the core does at most is
measured here, one kind of operation at a time. A step is no faster than its slowest kind: that is the floor. What the
compiled step loads and stores beyond that are numbers that found no register.

The step of a linear model is its whole course, from event to event in closed form.
"""

import ctypes
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.run import FOLDER, hold
from benchmarks.workloads import WORKLOADS, Workload
from cohort.engine import Numerics, choose, machine, solve
from cohort.engine.linear import NORM
from cohort.engine.native import lanes, steps
from cohort.engine.native.writer import Writer
from cohort.engine.problem import Problem
from cohort.record import plain
from cohort.store import write_text

KINDS: tuple[str, ...] = ("arithmetic", "division", "load", "store")
SAME = {"fdiv": "division", "load": "load", "store": "store"}
FREE = ("alloca", "bitcast", "getelementptr", "br", "phi", "ret", "shufflevector", "insertelement", "zext", "trunc")
SUBJECTS = 256  # whose steps are counted


def _all(writer: Writer) -> Counter[str]:
    counts: Counter[str] = Counter()
    for block in writer.f.blocks:
        for i in block.instructions:
            moved = i.operands[0] if i.opname == "store" else i
            if i.opname in FREE or not str(moved.type).startswith("<"):
                continue  # no work, or no vector
            root = i.opname == "call" and "sqrt" in i.callee.name
            counts["division" if root else SAME.get(i.opname, "arithmetic")] += 1
    return counts


def added(writer: Writer, piece: Callable[[], Any]) -> Counter[str]:
    """Vector operations, by KINDS, of a piece of the kernel."""
    before = _all(writer)
    piece()
    return _all(writer) - before


def operations(workload: Workload, problem: Problem, width: int) -> dict[str, float]:
    """Of one step of a block of subjects, by KINDS."""
    w = Writer(problem, width)
    if w.closed is None:
        return dict(added(w, lambda: steps.step(w)))
    closed, g = w.closed, w.g
    gaps = np.diff(np.union1d(workload.doses, workload.times))
    lengths = np.unique(gaps)
    typical = {f"p.{name}": np.float64(value) for name, value in vars(workload.model.parameters()).items()}
    norm = float(g.evaluate([closed.norm], typical)[0])
    squarings = np.maximum(0, np.ceil(np.log2(norm * lengths / NORM))).sum()
    visits = len(workload.times) * len(w.d.outputs)
    parts = (
        (1, lambda: steps.prepare(w)),
        (len(lengths), lambda: steps.power(w, w.v.constant(1.0))),  # with one squaring
        (squarings - len(lengths), lambda: w.emit({str(k): n for k, n in closed.squared.items()})),
        (len(gaps), lambda: w.emit({str(k): n for k, n in enumerate(closed.new)})),
        (len(workload.times), lambda: steps.look(w)),
    )
    total = dict.fromkeys(KINDS, 0.0)
    for times, piece in parts:
        for kind, count in added(w, piece).items():
            total[kind] += times * count
    total["load"] += len(workload.doses)
    total["store"] += len(workload.doses) + len(gaps) * len(w.d.states) + visits
    return total


def compiled(problem: Problem, width: int, isa: str) -> dict[str, int]:
    """Vector instructions with a memory operand in the longest stretch of machine code without a jump: the step."""
    writer = Writer(problem, width)
    lanes.kernel(writer)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COHORT_ASSEMBLY"] = str(Path(folder) / "kernel.s")
        machine.compiled(str(writer.module), isa)
        lines = Path(os.environ.pop("COHORT_ASSEMBLY")).read_text().splitlines()
    stretches: list[list[str]] = [[]]
    for line in lines:
        if re.match(r"\.?\w+:", line):
            stretches.append([])
        elif line.startswith("\tv"):
            stretches[-1].append(line.split("#")[0].strip())
    longest = max(stretches, key=len)
    memory = [line for line in longest if "(" in line]
    stores = [line for line in memory if line.startswith("vmov") and line.endswith(")")]
    return {"instructions": len(longest), "load": len(memory) - len(stores), "store": len(stores)}


def peaks(isa: str, width: int) -> dict[str, float]:
    """Nanoseconds of one vector operation of each kind, when a core does nothing else."""
    v = f"<{width} x double>"
    one = f"{v} <{', '.join(['double 0.5'] * width)}>"
    value = one.removeprefix(v)
    many = 16
    body = {
        "arithmetic": lambda k: f"%r{k} = call {v} @llvm.fma.v{width}f64({v} %a{k}, {one}, {one})",
        "division": lambda k: f"%r{k} = fdiv {one}, %a{k}",
        "load": lambda k: f"%r{k} = load volatile {v}, {v}* %p{k}, align 64",
        "store": lambda k: f"store volatile {one}, {v}* %p{k}, align 64",
    }
    made = {}
    for kind, line in body.items():
        carried = kind in ("arithmetic", "division")
        text = [f"declare {v} @llvm.fma.v{width}f64({v}, {v}, {v})", "define void @run(i64 %n, double* %m) {", "entry:"]
        for k in range(many):
            text.append(f"%q{k} = getelementptr double, double* %m, i64 {k * width}")
            text.append(f"%p{k} = bitcast double* %q{k} to {v}*")
        text += ["br label %loop", "loop:", "%i = phi i64 [0, %entry], [%j, %loop]"]
        text += [f"%a{k} = phi {v} [{value}, %entry], [%r{k}, %loop]" for k in range(many) if carried]
        text += [line(k) for k in range(many)]
        text += ["%j = add i64 %i, 1", "%more = icmp slt i64 %j, %n", "br i1 %more, label %loop, label %done", "done:"]
        text += [f"store volatile {v} %r{k}, {v}* %p{k}, align 64" for k in range(many) if carried]
        code = machine.compiled("\n".join([*text, "ret void", "}"]), isa)
        run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(code.get_function_address("run"))
        memory = np.full(many * width + 8, 0.5)
        place = memory.ctypes.data + -memory.ctypes.data % 64
        took = []
        for _ in range(5):
            begin = time.perf_counter()
            run(200_000, place)
            took.append((time.perf_counter() - begin) / 200_000 / many * 1e9)
        made[kind] = min(took)
    return made


def floors(measured: dict[str, float]) -> list[dict[str, Any]]:
    """Of every workload. `measured`: subjects per CPU-second of the native back end, by workload."""
    hold(1)
    isa = machine.target()
    register = machine.TARGETS[isa][1]
    peak = peaks(isa, register)
    rows = []
    for w in WORKLOADS.values():
        problem = Problem(model=w.model, solver=choose(w.model), targets=(w.into,))
        counts = operations(w, problem, register)
        times = {kind: counts.get(kind, 0) * peak[kind] / register for kind in KINDS}  # ns of one subject's step
        rtol = w.rtol["cohort native"]
        numerics = Numerics(rtol=rtol, atol=rtol / 100)
        _, status = solve(w.model, w.parameters(SUBJECTS), w.events(SUBJECTS), w.times, numerics=numerics)
        taken = 1.0 if problem.solver == "linear" else float(status.steps.mean())
        row = {"workload": w.name, "width": register, "steps": taken, "operations": counts, "nanoseconds": times}
        row |= {"bytes": 8 * (counts["load"] + counts["store"]), "binds": max(KINDS, key=lambda k: times[k])}
        row |= {"floor_ns": max(times.values())}
        if problem.solver != "linear":
            row["compiled"] = compiled(problem, register, isa)
        if w.name in measured:
            row["measured_ns"] = 1e9 / measured[w.name] / taken
        rows.append(row)
    return [{"peak_ns": peak}, *rows]


def main(folder: Annotated[Path, typer.Argument(help="Where engine.json is.")] = FOLDER) -> None:
    """Print the floors beside what engine.json says was reached, and write floor.json."""
    found = folder / "engine.json"
    reached = json.loads(found.read_text())["rows"] if found.is_file() else []
    ours = [r for r in reached if r["engine"] == "cohort native" and r["threads"] == 1]
    peak, *rows = floors({r["workload"]: r["subjects_per_cpu_second"] for r in ours})
    write_text(folder / "floor.json", json.dumps(plain(peak | {"rows": rows}), indent=1))
    shown = Table(
        "", "steps", *KINDS, "compiled: loads", "stores", "bytes", "floor, ns", "binds", "reached, ns", "times"
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for r in rows:
        reached_ns, code = r.get("measured_ns"), r.get("compiled", {})
        shown.add_row(
            r["workload"],
            f"{r['steps']:,.0f}",
            *(f"{r['operations'].get(kind, 0):,.0f}" for kind in KINDS),
            *(str(code.get(kind, "")) for kind in ("load", "store")),
            f"{r['bytes']:,.0f}",
            f"{r['floor_ns']:.3g}",
            r["binds"],
            f"{reached_ns:.3g}" if reached_ns else "",
            f"{reached_ns / r['floor_ns']:.2g}" if reached_ns else "",
        )
    console = Console(width=max(Console().width, 130))
    console.print(shown)
    console.print("One vector operation takes, in ns: " + ", ".join(f"{k} {t:.3f}" for k, t in peak["peak_ns"].items()))


if __name__ == "__main__":
    typer.run(main)
