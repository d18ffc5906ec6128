"""A scratch study, the real commands on it as processes, and the comparison with what nobody disturbed."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from cohort.store import content_digest

STUDY = "config/studies/small.yaml"
PEOPLE, LANES = 1200, 60  # of the study, and of a chunk: CHUNKS in all
CHUNKS = 78
ARMS = ("placebo", "low", "high")
TEXT = f"""\
title: A fault is survived
question: Do the same bits come out of a run that was disturbed?
context_of_use: A test of the platform.
model: evolocumab
population:
  source: us
  size: {PEOPLE}
  covariates:
    pcsk9: {{mean: 430 ng/mL, sd: 130 ng/mL, source: assumption}}
    statin: {{fraction: 0.5, source: assumption}}
    ezetimibe: {{fraction: 0.1, source: assumption}}
    ldl: {{mean: 120 mg/dL, sd: 28 mg/dL, source: assumption}}
  eligibility: [18 y <= age <= 80 y, ldl >= 85 mg/dL]
conduct: {{dropout: 0.04, source: assumption}}
arms:
  placebo: {{n: 20}}
  low:     {{n: 20, dose: 70 mg, route: sc, every: 2 wk, for: 12 wk, control: placebo}}
  high:    {{n: 20, dose: 420 mg, route: sc, every: 4 wk, for: 12 wk, control: placebo}}
visits: [0 wk, 4 wk, 8 wk, 12 wk]
endpoints:
  ldl_change: {{role: efficacy, better: lower, margin: 5 percent}}
analysis: {{draws: 16, discrepancy: 5 percent, arm_discrepancy: 2.5 percent, source: assumption}}
seed: 7
"""
CLUSTERS = {"local": "kind: local\nworkers: 2\n", "processes": "kind: local\nprocesses: true\nworkers: 2\n"}
TRACE = "Traceback (most recent call last)"
SIMULATE = ("simulate", STUDY, "--chunk", str(LANES))


def project(folder: Path, text: str = TEXT) -> Path:
    for part in ("config/studies", "config/cluster", "tmp"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / STUDY).write_text(text)
    for name, said in CLUSTERS.items():
        (folder / f"config/cluster/{name}.yaml").write_text(said)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Of a process: `cohort` found by name, nothing left in this machine's folder for temporary files."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "TMPDIR": str(folder / "tmp"), "COLUMNS": "200", **more}


def started(folder: Path, *words: str, program: str = "cohort.cli", **more: str) -> subprocess.Popen:
    """A command in a session of its own, so that all it starts can be found and ended; what it says is in said.txt."""
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", program, *words],
            cwd=folder,
            env=environment(folder, **more),
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@dataclass(frozen=True)
class Ended:
    code: int
    said: str
    seconds: float


def ended(run: subprocess.Popen, folder: Path, within: float = 120) -> Ended:
    """Its exit code and words. A run that does not end in time is killed, and fails the test."""
    since = time.monotonic()
    try:
        code = run.wait(within)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        raise AssertionError(f"no end within {within:g} s:\n{(folder / 'said.txt').read_text()[-3000:]}") from None
    return Ended(code, (folder / "said.txt").read_text(), time.monotonic() - since)


def ran(folder: Path, *words: str, program: str = "cohort.cli", **more: str) -> Ended:
    return ended(started(folder, *words, program=program, **more), folder)


def done(folder: Path, *words: str, **more: str) -> Ended:
    end = ran(folder, *words, **more)
    assert end.code == 0, end.said
    return end


def refused(folder: Path, *words: str, **more: str) -> str:
    """What is said where a command refuses: exit code 2, and no trace of its own."""
    end = ran(folder, *words, **more)
    assert (end.code, TRACE in end.said) == (2, False), f"exit code {end.code}\n{end.said}"
    return end.said


def copied(reference: Path, folder: Path) -> Path:
    """The project as it was before `simulate`."""
    shutil.copytree(reference, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("simulate*", "arms", "tmp"))
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "results/small/parameters.parquet").unlink(missing_ok=True)
    trail = folder / "results/small/audit.jsonl"
    if trail.is_file():
        trail.write_text("".join(line for line in trail.open() if '"event":"simulated"' not in line))
    return folder


def made(folder: Path) -> dict[str, tuple[str, str]]:
    """Of each table that `population` and `simulate` make: what it says, and its bytes."""
    results = folder / "results/small"
    files = [results / "population.parquet", results / "parameters.parquet"]
    files += [results / f"arms/{arm}.parquet" for arm in ARMS]
    return {f.name: (content_digest(f), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files}


def content(folder: Path, name: str) -> str:
    return content_digest(folder / "results/small" / name)


def leavings(folder: Path) -> list[str]:
    """Temporary files that a killed writer left; Snakemake's own mark of a folder is none."""
    hidden = (f for f in (folder / "results").rglob(".*") if f.is_file() and f.name != ".snakemake_timestamp")
    return sorted(str(f.relative_to(folder)) for f in hidden)


def chunks(folder: Path, step: str = "simulate") -> dict[str, tuple[int, int]]:
    """Of each committed chunk: the file it is, and when it was written."""
    place = folder / "results/small/state" / step
    found = {}
    for mark in place.glob("[!.]*.commit"):
        about = mark.with_suffix(".parquet").stat()
        found[mark.stem] = (about.st_ino, about.st_mtime_ns)
    return found


@dataclass(frozen=True)
class Moment:
    """A random time of a run: when so many chunks are there, and so long after. Ten seeds cover the run from its
    start, before the first chunk, nearly to its end."""

    seed: int
    chunks: int
    seconds: float

    @classmethod
    def of(cls, seed: int) -> "Moment":
        at = random.Random(seed)
        share = CHUNKS * 9 // 100
        count = share * seed + at.randrange(share)
        moment = cls(seed, count, at.uniform(0, 2.5) if count == 0 else at.uniform(0, 0.05))
        print(f"seed {seed}: after {moment.chunks} chunks and {moment.seconds:.3f} s")
        return moment

    def wait(self, run: subprocess.Popen, folder: Path, also: Callable[[], bool] = lambda: True) -> None:
        """Until then. The run must still be at work."""
        place = folder / "results/small/state/simulate"
        until = time.monotonic() + 120
        while sum(1 for _ in place.glob("[!.]*.commit")) < self.chunks or not also():
            assert run.poll() is None, f"ended before {self}:\n{(folder / 'said.txt').read_text()}"
            assert time.monotonic() < until, f"{self} did not come:\n{(folder / 'said.txt').read_text()}"
            time.sleep(0.002)
        time.sleep(self.seconds)
        assert run.poll() is None, f"ended before {self}:\n{(folder / 'said.txt').read_text()}"


def workers(pid: int) -> list[psutil.Process]:
    """Worker processes of a driver, as multiprocessing starts them."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [p for p in children if "spawn_main" in " ".join(p.cmdline())]
    except psutil.NoSuchProcess:
        return []


def gone(processes: list[psutil.Process], within: float = 30) -> bool:
    """Whether they ended by themselves in time."""

    def alive(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until = time.monotonic() + within
    while any(map(alive, processes)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def unharmed(folder: Path, reference: dict[str, tuple[str, str]], before: dict[str, tuple[int, int]]) -> None:
    """The same content and bytes as undisturbed; no chunk that was there `before` was written again; nothing left."""
    assert made(folder) == reference
    after = chunks(folder)
    assert len(after) == CHUNKS  # of which all that is `before` is, but what a run keeps for itself alone
    assert {key: after[key] for key in before if key in after} == {k: v for k, v in before.items() if k in after}
    assert leavings(folder) == []
