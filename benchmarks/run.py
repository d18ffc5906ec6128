"""Measure every engine on every workload, in turns, and write results/benchmarks/engine.json: `make benchmark`.

Each engine solves each workload in a process of its own, which holds as many processors as it has threads. Rounds go
engine by engine, so that whatever else the machine does meets all of them; a number is the median of the rounds.
"""

import importlib
import json
import math
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.workloads import ROOT, WORKLOADS, Workload
from cohort.record import code, plain
from cohort.store import write_table, write_text

FOLDER = ROOT / "results/benchmarks"
FLAGS = ("avx2", "fma", "avx512f", "avx512dq", "avx512vl")
VERSIONED = ("diffrax", "llvmlite", "numba", "numbalsoda", "optimistix")
PEERS = ("SciPy", "diffrax", "numbalsoda")
SHORTEST = 0.3  # s: a round repeats its solve until it takes about so long
ALONE = 0.1  # processors: with more than this at work for anything else, the wall clock says nothing
BLOCK = 10_000  # subjects that are in memory at once as the cohort grows

type Row = dict[str, Any]


def hold(processors: int) -> None:
    """Keep this process, and whatever threads it starts, on so many processors."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-processors:])


def at_work() -> float:
    """Seconds that all processors together have worked, for anyone; NaN where the system does not say."""
    try:
        spent = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return (sum(spent) - spent[3] - spent[4]) / os.sysconf("SC_CLK_TCK")  # less idle, and waiting for a disk
    except OSError:
        return math.nan


def peak_mb() -> float:
    """Most memory that this process held at any time; not what its parent held, as getrusage would say."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        import resource

        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size / (1024**2 if platform.system() == "Darwin" else 1024)


def measure(pipe: Connection, name: str, engine: str, threads: int, values: dict[str, np.ndarray]) -> None:
    """A process that solves when told to.

    Sends what the first subject took; of each round its CPU seconds, its wall seconds and how many processors worked
    for others; at the end the peak memory and the outputs.
    """
    hold(threads)
    from benchmarks.engines import ENGINES

    for module in ENGINES[engine].needs:
        importlib.import_module(module)
    workload = WORKLOADS[name]

    def solve(p: Any) -> Any:
        return ENGINES[engine].solve(workload, p, workload.rtol[engine], threads)

    begin = time.perf_counter()
    kind = workload.model.parameters  # reads the model's file
    solve(kind(**{k: v[:1] for k, v in values.items()}))
    pipe.send(time.perf_counter() - begin)

    p = kind(**values)
    outputs = solve(p)
    begin = time.perf_counter()
    outputs = solve(p)
    repeats = max(1, math.ceil(SHORTEST / (time.perf_counter() - begin)))
    pipe.send("warm")
    while pipe.recv():
        cpu, wall, work = time.process_time(), time.perf_counter(), at_work()
        for _ in range(repeats):
            outputs = solve(p)
        cpu, wall, work = time.process_time() - cpu, time.perf_counter() - wall, at_work() - work
        pipe.send((cpu / repeats, wall / repeats, max(0.0, work - cpu) / wall))
    pipe.send((peak_mb(), {k: np.asarray(v) for k, v in vars(outputs).items()}))


def grow(pipe: Connection, name: str, n: int, threads: int) -> None:
    """A process that solves n subjects block by block, each block written to disk before the next; sends seconds of
    solving, seconds of everything, and the peak memory."""
    hold(threads)
    from benchmarks.engines import by_cohort

    workload = WORKLOADS[name]
    rtol = workload.rtol["cohort native"]
    by_cohort(workload, workload.parameters(1), rtol, threads)  # compiled before the clock starts
    solving, begin = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for block, done in enumerate(range(0, n, BLOCK)):
            p = workload.parameters(min(BLOCK, n - done), block)
            started = time.perf_counter()
            outputs = by_cohort(workload, p, rtol, threads)
            solving += time.perf_counter() - started
            visits = pl.DataFrame({name: np.ravel(values) for name, values in vars(outputs).items()})
            write_table(Path(folder) / "block.parquet", visits)
    pipe.send((solving, time.perf_counter() - begin, peak_mb()))


def started(target: Any, *arguments: Any) -> tuple[Any, Connection]:
    """A fresh process, and the pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments), daemon=True)
    process.start()
    there.close()  # so that a process that dies is an error here, not silence
    return process, here


def received(pipe: Connection) -> Any:
    """What a process sends next. Errors: RuntimeError where it ended instead."""
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("a process that measures ended early; what it says stands above") from None


def rows_of(workload: Workload, engines: list[str], rounds: int, fewer: int, progress: Progress) -> list[Row]:
    """One workload through every engine and number of threads. `fewer`: divide the numbers of subjects by this."""
    from benchmarks.engines import ENGINES
    from benchmarks.reference import SUBJECTS, error, exact

    sizes = {engine: max(2, workload.subjects[engine] // fewer) for engine in engines}
    p = vars(workload.parameters(max(sizes.values())))
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    contenders = [(e, k) for e in engines for k in ENGINES[e].threads if k <= processors]
    bar = progress.add_task(workload.name, total=len(contenders) * (rounds + 2))
    truth = exact(workload, max(sizes.values()), max(2, SUBJECTS // fewer))

    rows, pipes = [], []
    for engine, threads in contenders:  # one after the other: a first subject has the machine for itself
        n = sizes[engine]
        progress.update(bar, description=f"{workload.name}: {engine}")
        _, pipe = started(measure, workload.name, engine, threads, {k: v[:n] for k, v in p.items()})
        rows.append(
            {
                "workload": workload.name,
                "engine": engine,
                "solver": ENGINES[engine].method(workload),
                "threads": threads,
                "n": n,
                "rtol": workload.rtol[engine],
                "atol": workload.rtol[engine] / 100,
                "first_subject_s": received(pipe),
            }
        )
        received(pipe)  # it is warm
        pipes.append(pipe)
        progress.advance(bar)
    taken: list[list[tuple[float, float, float]]] = [[] for _ in rows]
    for turn in range(rounds):
        for row, pipe, times in zip(rows, pipes, taken, strict=True):
            progress.update(bar, description=f"{workload.name}: round {turn + 1}, {row['engine']}")
            pipe.send(True)
            times.append(received(pipe))
            progress.advance(bar)
    for row, pipe, times in zip(rows, pipes, taken, strict=True):
        pipe.send(False)
        row["peak_mb"], outputs = received(pipe)
        cpu, wall, others = zip(*times, strict=True)
        row |= {
            "subjects_per_cpu_second": row["n"] / statistics.median(cpu),
            "subjects_per_second": row["n"] / statistics.median(wall),
            "others": statistics.median(others),
            "slowest_and_fastest_round": [row["n"] / max(cpu), row["n"] / min(cpu)],
            "max_error": error(workload.model.outputs(**outputs), truth),
        }
        progress.advance(bar)
    progress.update(bar, description=workload.name)
    return rows


def machine() -> dict[str, Any]:
    """Which processor, how many of them, what it can do, and the versions of everything."""
    try:
        lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
        cpu = {key.strip(): value.strip() for key, value in lines}
    except OSError:
        cpu = {}
    versions = {d.name: d.version for d in metadata.distributions() if d.name in VERSIONED}
    return {
        "processor": cpu.get("model name") or platform.processor(),
        "processors": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in cpu.get("flags", "").split()],
        "system": platform.platform(),
        "code": code() | {"benchmark": versions},
    }


def rounded(value: float) -> str:
    """Two digits, as one says them: 2.3 M, 67 k, 580."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{float(f'{value / size:.2g}'):g}{letter}"
    return f"{float(f'{value:.2g}'):g}"


def table(rows: list[Row]) -> Table:
    """Speeds, errors, and how many times as fast as each peer, by CPU time in the same rounds."""
    shown = Table(
        "", "", "", "threads", "per CPU-s", "per s", "error", "MB", "first, s", *(f"x {peer}" for peer in PEERS)
    )
    for k, column in enumerate(shown.columns):
        column.justify, column.no_wrap = "left" if k < 3 else "right", True
    speed = {(r["workload"], r["engine"]): r["subjects_per_cpu_second"] for r in rows if r["threads"] == 1}
    for k, r in enumerate(rows):
        mine, peers = r["subjects_per_cpu_second"], [speed.get((r["workload"], peer)) for peer in PEERS]
        shown.add_row(
            r["workload"],
            r["engine"],
            r["solver"],
            str(r["threads"]),
            rounded(mine),
            rounded(r["subjects_per_second"]),
            f"{r['max_error']:.1e}",
            f"{r['peak_mb']:.0f}",
            f"{r['first_subject_s']:.2f}",
            *(rounded(mine / peer) if peer and r["engine"] not in PEERS else "" for peer in peers),
            end_section=k + 1 == len(rows) or rows[k + 1]["workload"] != r["workload"],
        )
    return shown


def main(
    quick: Annotated[bool, typer.Option(help="A few subjects and one round: that it runs, not how fast.")] = False,
    workloads: Annotated[str, typer.Option(help="Some of them, by commas.")] = ",".join(WORKLOADS),
    engines: Annotated[str, typer.Option(help="Some of them, by commas; all that are installed.")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    out: Annotated[Path, typer.Option(help="Where engine.json is written.")] = FOLDER,
) -> None:
    """Measure, print a table, and write engine.json."""
    from benchmarks.engines import ENGINES

    console = Console()
    for given, known in ((workloads, WORKLOADS), (engines, ENGINES)):
        if unknown := set(given.split(",")) - {*known, ""}:
            raise typer.BadParameter(f"{', '.join(sorted(unknown))}: write some of {', '.join(known)}")
    chosen = [e for e in (engines.split(",") if engines else ENGINES) if ENGINES[e].installed()]
    for missing in [e for e in ENGINES if not engines and e not in chosen]:
        console.print(f"{missing} is not installed and is left out; `make benchmark` installs it")
    columns = TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    sizes = (100, 1000) if quick else (1000, 10_000, 100_000, 1_000_000)
    rows, growth = [], []
    with Progress(*columns, console=console) as progress:
        for name in workloads.split(","):
            rows += rows_of(WORKLOADS[name], chosen, 1 if quick else rounds, 50 if quick else 1, progress)
        bar = progress.add_task("growing", total=len(sizes) * len(workloads.split(",")))
        for name in workloads.split(","):
            for n in sizes:
                progress.update(bar, description=f"{name}: {n:,} subjects")
                solving, everything, peak = received(started(grow, name, n, 1)[1])
                growth.append({"workload": name, "n": n, "threads": 1, "solving_s": solving, "all_s": everything})
                growth[-1]["peak_mb"] = peak
                progress.advance(bar)
        progress.update(bar, description="growth")
    alone = not max(row["others"] for row in rows) > ALONE
    measured = {"machine": machine() | {"alone": alone}, "rows": rows, "growth": growth}
    write_text(out / "engine.json", json.dumps(plain(measured), indent=1))
    Console(width=max(console.width, 144)).print(table(rows))
    if not alone:
        console.print("Something else ran too: CPU-seconds hold, but not the wall clock, two threads or growth.")
    console.print(f"[bold]{out / 'engine.json'}[/]")


if __name__ == "__main__":
    typer.run(main)
