"""How fast people are made, and how near that is to the floor: as many random columns, drawn and written the same way.

Each measurement is a process of its own, held on one processor, from starting Python to the last byte of the Parquet
file. `results/benchmarks/population.json` has the numbers.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = """
import sys
import numpy as np
import pyarrow as pa
from cohort.population import table
from cohort.population.causal import Column

rows, numbers, texts, out = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
columns = {f"n{i}": Column("1", "", "") for i in range(numbers)}
columns |= {f"t{i}": Column("1", "", "", ("a", "b", "c")) for i in range(texts)}
rng = np.random.default_rng(1)

def blocks():
    for first in range(0, rows, 8192):
        n = min(8192, rows - first)
        made = {k: rng.integers(0, 3, n) if c.levels else rng.random(n) for k, c in columns.items()}
        yield table.table([f"{i:07d}" for i in range(first, first + n)], made, columns)

table.write(out, blocks(), table.schema(columns))
"""


def measured(command: list[str]) -> dict[str, float]:
    """Seconds by the wall clock and of the processor, and most memory, of a process on one processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    pinned = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    peak = 0
    with subprocess.Popen([*pinned, *command], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, *(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")))
            except (OSError, TypeError):
                pass
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - start, "cpu_seconds": cpu, "peak_mb": peak / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/population.json"))
    given = parser.parse_args()
    from cohort.population.sources import source

    columns = source("us").columns
    texts = sum(bool(c.levels) for c in columns.values())
    found = []
    with tempfile.TemporaryDirectory(prefix="cohort-benchmark-") as folder:
        file = f"{folder}/people.parquet"
        cohort = [str(Path(sys.executable).parent / "cohort"), "population", "--source", "us", "-o", file]
        for size in given.sizes:
            commands = {
                "cohort": [*cohort, "--size", str(size)],
                "floor": [sys.executable, "-c", FLOOR, str(size), str(len(columns) - texts), str(texts), file],
            }
            for name, command in commands.items():
                rounds = [measured(command) for _ in range(given.rounds)]
                best = min(rounds, key=lambda r: r["seconds"])
                found.append({"what": name, "people": size, "columns": len(columns) + 1, **best})
                print("{what:7} {people:>9} {columns} columns {seconds:6.2f} s {peak_mb:6.0f} MB".format(**found[-1]))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
