"""Kill -9 of a worker, the driver, the scheduler, Snakemake and a SLURM node's daemon, at ten random times each: after
resuming, the same content and bytes as an undisturbed run, and no finished chunk is done twice."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from disturbed import (
    CHUNKS,
    LANES,
    SIMULATE,
    TRACE,
    Moment,
    chunks,
    done,
    ended,
    environment,
    gone,
    made,
    ran,
    started,
    unharmed,
    workers,
)

from cohort.record import Audit

pytestmark = pytest.mark.faults
TIMES = range(10)


@pytest.mark.parametrize("seed", TIMES)
def test_a_killed_worker_is_replaced_and_the_run_goes_on(folder: Path, reference, seed: int):
    run = started(folder, *SIMULATE, "--cluster", "processes")
    Moment.of(seed).wait(run, folder, lambda: len(workers(run.pid)) == 2)
    before = chunks(folder)
    random.Random(seed).choice(workers(run.pid)).kill()
    end = ended(run, folder)
    assert end.code == 0, end.said
    assert TRACE not in end.said
    unharmed(folder, reference, before)


@pytest.mark.parametrize("seed", TIMES)
def test_a_killed_driver_is_resumed_and_its_workers_end_by_themselves(folder: Path, reference, seed: int):
    """With workers that are threads, and with such that are processes."""
    cluster = ("local", "processes")[seed % 2]
    run = started(folder, *SIMULATE, "--cluster", cluster)
    Moment.of(seed).wait(run, folder)
    orphans = workers(run.pid)
    run.kill()
    run.wait()
    before = chunks(folder)
    assert gone(orphans)
    assert not (folder / "results/small/made/simulate.json").exists()
    done(folder, *SIMULATE, "--cluster", cluster)
    unharmed(folder, reference, before)
    events = [line["event"] for line in Audit(folder / "results/small/audit.jsonl").lines()]
    assert events == ["population", "simulated"]


class Scheduler:
    """`dask scheduler` and workers, processes of their own on this machine's own network."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[subprocess.Popen] = []

    def start(self, count: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        (self.folder / "config/cluster/there.yaml").write_text(f"kind: address\naddress: {address}\n")
        alone = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        self.processes = [self._dask("scheduler", "--host", "127.0.0.1", "--port", str(port), *alone)]
        for _ in range(count):
            where = ("--host", "127.0.0.1", "--nthreads", "1", "--local-directory", str(self.folder / "tmp"))
            self.processes.append(self._dask("worker", address, *where, *alone))

    def _dask(self, kind: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words]
        return subprocess.Popen(
            command,
            env=environment(self.folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> list[psutil.Process]:
        """Kill the scheduler; returns the workers, which are left."""
        self.processes[0].kill()
        self.processes[0].wait()
        return [psutil.Process(p.pid) for p in self.processes[1:] if p.poll() is None]

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def scheduler(folder: Path) -> Iterator[Scheduler]:
    found = Scheduler(folder)
    yield found
    found.stop()


@pytest.mark.parametrize("seed", TIMES)
def test_a_killed_scheduler_ends_the_run_with_a_message_and_another_resumes_it(
    folder: Path, reference, scheduler: Scheduler, seed: int
):
    scheduler.start(2)
    run = started(folder, *SIMULATE, "--cluster", "there")
    Moment.of(seed).wait(run, folder)
    scheduler.kill()
    end = ended(run, folder, within=60)
    print(f"the driver ended {end.seconds:.1f} s later: {end.said.strip().splitlines()[-1:]}")
    assert end.code == 2, end.said
    assert TRACE not in end.said
    assert "scheduler" in end.said or "does not answer" in end.said
    scheduler.stop()  # workers may still be at their last chunk
    before = chunks(folder)
    assert len(before) < CHUNKS
    scheduler.start(2)
    done(folder, *SIMULATE, "--cluster", "there")
    unharmed(folder, reference, before)


MADE = "results/small/made/simulate.json"


@pytest.mark.parametrize("seed", TIMES)
def test_killed_snakemake_is_resumed_by_the_same_command(folder: Path, root: Path, reference, seed: int):
    """Of even seeds all that it started is killed as well, of odd ones Snakemake alone: its steps finish what they do,
    or give up, and meanwhile hold the study."""
    rules = (root / "Snakefile").read_text()
    assert "cohort simulate " in rules  # to which: as many chunks as the other cases have
    (folder / "Snakefile").write_text(rules.replace("cohort simulate ", f"cohort simulate --chunk {LANES} "))
    shutil.copytree(root / "config/profiles", folder / "config/profiles")
    words = ("--profile", "config/profiles/local", "--cores", "2", MADE)
    run = started(folder, *words, program="snakemake")
    Moment.of(seed).wait(run, folder)
    steps = psutil.Process(run.pid).children(recursive=True)
    if seed % 2:
        run.kill()
    else:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = chunks(folder)
    assert gone(steps, within=60)
    end = ran(folder, *words, program="snakemake")
    assert end.code == 0, end.said
    unharmed(folder, reference, before)


@pytest.fixture
def queue(slurm: Path, root: Path, folder: Path) -> Iterator[Callable[[str], None]]:
    """Kills the daemon of a node; it is started again after the test."""
    (folder / "config/cluster/slurm.yaml").write_text(
        "kind: slurm\nqueue: debug\nwalltime: 00:10:00\ncores: 1\nmemory: 1 GB\nminimum: 2\nmaximum: 2\n"
    )

    def kill(node: str) -> None:
        os.kill(int((slurm / f"slurmd.{node}.pid").read_text()), signal.SIGKILL)

    yield kill
    for node in ("n1", "n2"):
        subprocess.run([root / "tools/slurm", "node", slurm, node], check=True)
    until = time.monotonic() + 60
    while subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, check=True).stdout.strip():
        assert time.monotonic() < until, "jobs are left"
        time.sleep(0.2)


@pytest.mark.parametrize("seed", TIMES)
def test_a_killed_daemon_of_a_slurm_node_ends_no_run(folder: Path, queue, reference, seed: int):
    run = started(folder, *SIMULATE, "--cluster", "slurm")
    Moment.of(seed).wait(run, folder)
    queue(random.Random(seed).choice(["n1", "n2"]))
    before = chunks(folder)
    end = ended(run, folder)
    assert end.code == 0, end.said
    assert made(folder) == reference
    unharmed(folder, reference, before)
