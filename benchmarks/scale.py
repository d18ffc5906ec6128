"""A million patients in eight arms, as a user runs them: `cohort population`, `simulate`, `seal`, `verify`.

Each command is a process; its workers are processes of their own. `results/benchmarks/scale.json` has the numbers.
What the work needs, and what binds at 100 and 1,000 workers, stands in `benchmarks/scale.md`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl

from cohort.record import digest
from cohort.store import Job, Store, content_digest, run

ROOT = Path(__file__).resolve().parent.parent


def project(folder: Path, people: int) -> Path:
    """A project with LAPLACE's protocol for so many people, its parameters as known: without calibration and evidence
    nothing else is to be made first, and of its 16 draws, the fewest, each adds a trial of 630 patients."""
    text = (ROOT / "config/studies/laplace.yaml").read_text()
    text = re.sub(r"\n(evidence|calibration|credibility):.*?(?=\n\S)", "", text, flags=re.DOTALL)
    text = text.replace("size: 2000", f"size: {people}").replace("draws: 64", "draws: 16")
    file = folder / "config/studies/big.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    cluster = folder / "config/cluster/local.yaml"
    cluster.parent.mkdir()
    cluster.write_text("kind: local\nprocesses: true\nmemory: 4 GB\n")
    return file


def children(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(p) for p in tasks.read_text().split()]
            except OSError:
                continue
    return found


def measured(command: list[str], folder: Path) -> dict[str, Any]:
    """Seconds of a command, and the most memory of its largest process and of its largest worker, MB."""
    peak: dict[int, float] = {}

    def watch(pid: int) -> None:
        while not over.wait(0.2):
            for each in children(pid):
                try:
                    status = Path(f"/proc/{each}/status").read_text()
                except OSError:
                    continue
                if most := re.search(r"VmHWM:\s+(\d+)", status):
                    peak[each] = max(peak.get(each, 0), int(most[1]) / 1000)

    over, start = threading.Event(), time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "cohort.cli", *command], cwd=folder, stdout=subprocess.DEVNULL)
    watcher = threading.Thread(target=watch, args=(process.pid,))
    watcher.start()
    code = process.wait()
    over.set()
    watcher.join()
    if code:
        raise RuntimeError(f"cohort {' '.join(command)} ended with {code}")
    driver = peak.pop(process.pid, 0.0)
    return {
        "command": " ".join(command),
        "seconds": time.perf_counter() - start,
        "driver_mb": driver,
        "worker_mb": max(peak.values(), default=0.0),
    }


def chunks(state: Path) -> list[float]:
    """Seconds that each chunk took to make."""
    return [json.loads(p.read_text())["seconds"] for p in state.glob("*.commit")]


def hashes(folder: Path) -> str:
    """One hash of the population and all arms."""
    files = [folder / "population.parquet", *sorted((folder / "arms").glob("*.parquet"))]
    return digest([content_digest(f) for f in files])


def once(people: int, workers: int, place: Path, verify: bool) -> dict[str, Any]:
    study = str(project(place, people).relative_to(place))
    results = place / "results/big"
    options = ["--workers", str(workers)]
    rows = [measured(["population", study, *options], place), measured(["simulate", study, *options], place)]
    made = chunks(results / "state/simulate")
    size = sum(p.stat().st_size for p in results.rglob("*") if "state" not in p.parts)
    if verify:
        rows += [measured(["seal", study, "--partial"], place), measured(["verify", str(results)], place)]
    busy = sum(made) / workers
    return {
        "people": people,
        "workers": workers,
        "hash": hashes(results),
        "steps": rows,
        "chunks": len(made),
        "chunk_seconds": sum(made) / len(made),
        "busy_share_of_simulate": busy / rows[1]["seconds"],
        "bytes": size,
    }


def nothing(n: int) -> pl.DataFrame:
    return pl.DataFrame({"n": [n]})


def idle_job(workers: int, jobs: int = 1000) -> float:
    """Seconds that a job costs beside its work: scheduling, a chunk on disk with its sidecar, and finding it there."""
    from cohort.cluster import Local, client

    with tempfile.TemporaryDirectory() as folder, client(Local(workers=workers, processes=True)) as dask:
        store = Store.at(Path(folder))
        list(run(store, [Job("first", nothing, (0,))], client=dask))  # workers have imported what they need
        start = time.perf_counter()
        list(run(store, (Job(f"job{i}", nothing, (i,)) for i in range(jobs)), client=dask))
        return (time.perf_counter() - start) / jobs


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--people", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    reader.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    reader.add_argument("--out", type=Path, default=ROOT / "results/benchmarks")
    told = reader.parse_args()
    found = []
    for people in told.people:
        for workers in told.workers if people == max(told.people) else [2]:
            place = Path(tempfile.mkdtemp(prefix="cohort-scale-"))
            try:
                row = once(people, workers, place, verify=people == max(told.people) and workers == 2)
            finally:
                shutil.rmtree(place)
            found.append(row)
            steps = ", ".join(
                f"{s['command'].split()[0]} {s['seconds']:.1f} s ({s['driver_mb']:.0f} and {s['worker_mb']:.0f} MB)"
                for s in row["steps"]
            )
            print(
                f"{people} people, {workers} workers: {steps}; {row['chunks']} chunks of {row['chunk_seconds']:.3f} s, "
                f"{row['busy_share_of_simulate']:.0%} of simulate; {row['bytes'] / 1e9:.2f} GB; {row['hash'][:12]}",
                flush=True,
            )
    idle = {workers: idle_job(workers) for workers in (1, 2)}
    print(
        f"a job that does nothing, through scheduler and store: {idle[1] * 1e3:.1f} ms, two workers {idle[2] * 1e3:.1f}"
    )
    told.out.mkdir(parents=True, exist_ok=True)
    (told.out / "scale.json").write_text(
        json.dumps({"cores": os.cpu_count(), "rows": found, "idle_job": idle}, indent=1)
    )


if __name__ == "__main__":
    main()
