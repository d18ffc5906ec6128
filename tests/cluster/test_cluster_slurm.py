"""A real SLURM of two nodes on this machine: jobs come, die, are replaced, and none is left."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from distributed import Client, as_completed

from cohort.cluster import ClusterError, Slurm, client
from cohort.cluster.kinds import LOOPBACK
from cohort.record import digest

pytestmark = pytest.mark.faults

DRIVER = """
import signal, sys, time
from pathlib import Path
from cohort.cluster import client, read_cluster
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background ignores
    with client(read_cluster(Path(sys.argv[1]))) as c:
        print("up", flush=True)
        c.gather([c.submit(time.sleep, 1, pure=False) for _ in range(600)])
"""
BODY = """
title: Midazolam by mouth in US adults
question: How much exposure does 7.5 mg give?
context_of_use: A test of the platform.
model: pbpk
population: {source: us, size: 60, compound: midazolam, eligibility: [18 y <= age <= 50 y]}
conduct: {dropout: 0, source: none}
arms:
  oral: {n: 20, dose: 7.5 mg, route: oral, every: 24 h, for: 24 h}
visits: [0 h, 1 h, 4 h, 24 h]
endpoints:
  auc: {role: efficacy, better: lower}
analysis: {draws: 16, discrepancy: 0.1 mg*h/L, arm_discrepancy: 0.1 mg*h/L, source: an assumption}
seed: 7
"""


def said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def jobs() -> list[str]:
    return said("squeue", "-h", "-o", "%i").split()


@pytest.fixture
def queue(slurm: Path) -> Iterator[Callable[[], list[str]]]:
    """The ids of what is queued or runs; nothing before and nothing after a test."""
    assert jobs() == []
    yield jobs
    until = time.monotonic() + 60
    while jobs() and time.monotonic() < until:
        time.sleep(0.5)
    assert jobs() == []


def _cluster(scratch: Path, **more: Any) -> Slurm:
    size = {"walltime": "00:10:00", "cores": 1, "memory": "700 MB", "minimum": 1, "maximum": 2}
    found = Slurm.model_validate({"kind": "slurm", "queue": "debug", "patience": "120 s", **size, **more})
    return found.model_copy(update={"scratch": scratch})


def test_patients_are_spread_over_jobs_that_are_gone_afterwards(queue, tmp_path: Path, monkeypatch, listening):
    """From within what looks like a job of another queue, whose options new jobs must not take over."""
    outer = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "1", "SBATCH_PARTITION": "nonsense", "SBATCH_TIMELIMIT": "x"}
    for name, value in outer.items():
        monkeypatch.setenv(name, value)
    before = set(listening(os.getpid()))
    with client(_cluster(tmp_path / "scratch", minimum=2)) as c:
        c.wait_for_workers(2, timeout=60)
        assert "SLURM_JOB_ID" not in os.environ
        assert "SLURM_CONF" in os.environ
        names = [f"subject {i}" for i in range(40)]
        assert c.gather(c.map(digest, names)) == [digest(name) for name in names]
        assert sorted(c.run(os.getenv, "SLURM_JOB_ID").values()) == sorted(queue())
        assert set(c.run(os.getenv, "SLURMD_NODENAME").values()) <= {"n1", "n2"}
        workers = c.scheduler_info()["workers"].values()
        assert {w["nthreads"] for w in workers} == {1}
        assert all(w["memory_limit"] == pytest.approx(700e6, rel=0.01) for w in workers)
        sockets = set(listening(os.getpid())) - before
        for worker in c.run(os.getpid).values():
            sockets |= set(listening(worker))
        assert {address for address, _ in sockets} == {"127.0.0.1"}
    assert queue() == []
    assert list((tmp_path / "scratch").iterdir()) == []
    assert {name: os.environ[name] for name in outer} == outer


def test_other_interfaces_hear_tls_alone(queue, tmp_path: Path, listening):
    others = [name for name, found in psutil.net_if_stats().items() if found.isup and name != LOOPBACK]
    addresses = {name: [a.address for a in psutil.net_if_addrs()[name] if a.family == 2] for name in others}
    usable = [name for name in others if addresses[name]]
    if not usable:
        pytest.skip("this machine has no network but its own")
    (address, *_) = addresses[usable[0]]
    before = set(listening(os.getpid()))
    cluster = _cluster(tmp_path, interface=usable[0], tls="temporary", cores=2, processes=2, memory="1400 MB")
    with client(cluster) as c:
        assert c.submit(digest, "a").result() == digest("a")
        assert c.scheduler.address.startswith(f"tls://{address}:")
        sockets = set(listening(os.getpid())) - before
        assert {found for found, _ in sockets} <= {address, "127.0.0.1"}
        with pytest.raises((OSError, TypeError)):
            Client(c.scheduler.address, timeout=3)
        with pytest.raises(OSError, match=r"Timed out|Connection"):
            Client(c.scheduler.address.replace("tls://", "tcp://"), timeout=3)
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        assert all(file.stat().st_mode & 0o077 == 0 for file in folder.glob("*worker.key*"))


def test_a_job_that_is_killed_is_replaced(queue, tmp_path: Path):
    with client(_cluster(tmp_path, minimum=2)) as c:
        c.wait_for_workers(2, timeout=60)
        first = set(queue())
        tasks = [c.submit(time.sleep, 0.5, pure=False) for _ in range(60)]
        time.sleep(2)
        said("scancel", "-s", "KILL", "--full", min(first))
        assert len(c.gather(tasks)) == 60
        until = time.monotonic() + 60
        while len(queue()) < 2 and time.monotonic() < until:
            time.sleep(0.5)
        assert len(set(queue()) - first) == 1
        c.wait_for_workers(2, timeout=60)
    assert queue() == []


def test_the_end_of_a_nodes_daemon_loses_nothing(queue, slurm: Path, root: Path, tmp_path: Path):
    with client(_cluster(tmp_path, minimum=2)) as c:
        c.wait_for_workers(2, timeout=60)
        tasks = [c.submit(time.sleep, 0.3, pure=False) for _ in range(40)]
        os.kill(int((slurm / "slurmd.n1.pid").read_text()), signal.SIGKILL)
        assert len(c.gather(tasks)) == 40
        said(root / "tools/slurm", "node", slurm, "n1")
    assert queue() == []


def test_workers_leave_before_the_walltime_and_others_come(queue, tmp_path: Path):
    """Jobs of two minutes, work for two and more. Results are taken as they come: what lies with the only worker goes
    with it, and would be done again."""
    with client(_cluster(tmp_path, walltime="00:02:00", minimum=1, maximum=1)) as c:
        first = set(queue())
        tasks = as_completed([c.submit(time.sleep, 2, pure=False) for _ in range(50)], with_results=True)
        assert sum(1 for _ in tasks) == 50
        assert not set(queue()) & first
        assert "TIMEOUT" not in said("squeue", "-h", "-t", "all", "-o", "%T")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_driver_that_is_ended_leaves_no_job(queue, tmp_path: Path, number: signal.Signals):
    """Also by SIGKILL, after which nobody cancels them: workers go when their scheduler is gone."""
    script, file = tmp_path / "driver.py", tmp_path / "mine.yaml"
    script.write_text(DRIVER)
    file.write_text(
        "kind: slurm\nqueue: debug\nwalltime: 00:10:00\ncores: 1\nmemory: 700 MB\nmaximum: 2\nscratch: scratch\n"
    )
    driver = subprocess.Popen(
        [sys.executable, script, file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "up\n"
        assert queue()
        driver.send_signal(number)
        assert driver.wait(60) != 0
    finally:
        driver.kill()
    if number != signal.SIGKILL:
        assert queue() == []
        assert not list((tmp_path / "scratch").glob("*/*worker*"))  # certificates, what was spilled


def test_a_failure_keeps_the_logs_and_no_job(queue, tmp_path: Path):
    with pytest.raises(KeyError, match="a defect"), client(_cluster(tmp_path)):
        raise KeyError("a defect")
    assert queue() == []
    (folder,) = tmp_path.iterdir()
    assert {file.suffix for file in folder.iterdir()} <= {".err", ".out", ".sh"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"queue": "nowhere"}, "SLURM has no nodes in 'nowhere'; sinfo shows what there is"),
        ({"queue": "elsewhere"}, "n3 are other machines and cannot reach 'lo' here; write the one they share"),
        ({"interface": "ib7", "tls": "temporary"}, "there is no 'ib7' here; write one of .*lo"),
        ({"memory": "900 TB"}, "SLURM would refuse the workers' job: .*(?s:.)*--mem="),
        ({"directives": ["--qos"]}, "SLURM would refuse the workers' job: "),
        ({"directives": ["--begin=now+1hour"], "patience": "3 s"}, r"within 3 s; squeue says: job \d+ is PENDING"),
        (
            {"prologue": ["echo no python >&2; exit 1"], "patience": "8 s"},
            r"within 8 s; (?s:.)*no python",
        ),
    ],
)
def test_why_no_worker_comes_is_said(queue, tmp_path: Path, more: dict, reason: str):
    with pytest.raises(ClusterError, match=reason), client(_cluster(tmp_path, **more)):
        pass
    assert queue() == []


@pytest.mark.timeout(900)
def test_steps_that_are_jobs_start_jobs_and_the_patients_are_the_same(queue, root: Path, tmp_path: Path):
    """Snakemake with the shipped profile: `simulate` is a job, and its workers are others."""
    for folder in ("config/studies", "config/cluster"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(root / "Snakefile", tmp_path)
    shutil.copytree(root / "config/profiles", tmp_path / "config/profiles")
    (tmp_path / "config/studies/body.yaml").write_text(BODY)
    (tmp_path / "config/cluster/local.yaml").write_text("kind: local\n")
    (tmp_path / "config/cluster/slurm.yaml").write_text(
        "kind: slurm\nqueue: debug\nwalltime: 00:10:00\ncores: 1\nmemory: 2 GB\nmaximum: 2\n"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = "results/body/made/simulate.json"
    # As shipped, but for this SLURM, which keeps no accounts.
    here = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
    here += ["--slurm-no-account", "--default-resources", "mem_mb=2000", "runtime=30", "--"]
    arms = []
    for profile, more in (("slurm", here), ("local", ["--"])):
        command = [sys.executable, "-m", "snakemake", "--profile", f"config/profiles/{profile}", *more, made]
        run = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        arms.append(pl.read_parquet(tmp_path / "results/body/arms/oral.parquet"))
        if profile == "slurm":
            names = re.findall(r"JobName=(\S+)", said("scontrol", "-o", "show", "jobs"))
            ours = [name for name in names if name.startswith("cohort-")]
            assert len(names) - len(ours) >= 2  # population and simulate
            assert ours
            assert queue() == []
            shutil.rmtree(tmp_path / "results")
    assert arms[0].equals(arms[1])
    assert arms[0].height > 0
