"""Workers as jobs of a SLURM queue: more where there is work, replaced where one dies, none left at the end."""

import contextlib
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohort.cluster.connect import NOWHERE, one_thread, wait
from cohort.cluster.kinds import LOOPBACK, ClusterError, Slurm

# What a worker needs of this process's environment although a site may submit jobs with an empty one.
PASSED = ("JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS", "XLA_FLAGS", "PYTHONPATH")


@contextlib.contextmanager
def slurm(cluster: Slurm) -> Iterator[Any]:
    """A client of workers in jobs. Errors: ClusterError when SLURM does not answer or refuses such a job, when nodes
    could not reach this process, and when no job started in time."""
    from distributed import Client

    jobs_of = _jobqueue()
    name = f"cohort-{uuid.uuid4().hex[:8]}"
    with _outside_a_job(), _scratch(cluster, name) as scratch:
        _reachable(cluster)
        try:
            with jobs_of(**_options(cluster, name, scratch)) as jobs, Client(jobs) as found:
                _accepted(jobs.job_script(), scratch)
                # More jobs as soon as there is work; fewer only after a minute without.
                jobs.adapt(minimum_jobs=cluster.minimum, maximum_jobs=cluster.maximum, interval="2s", wait_count=30)
                wait(found, cluster.patience, lambda: _says(name, scratch))
                yield found
        finally:
            _emptied(name)


def _jobqueue() -> Any:
    """dask_jobqueue.SLURMCluster, whose import makes of Ctrl-C an end with exit code 0: taken back."""
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise ClusterError("SLURM needs dask-jobqueue; install cohort with its extra: insilico-cohort[slurm]") from None
    if signal.getsignal(signal.SIGINT) is not before:
        signal.signal(signal.SIGINT, before)
    return SLURMCluster


def _options(cluster: Slurm, name: str, scratch: Path) -> dict[str, Any]:
    """Of dask_jobqueue.SLURMCluster; all that could come from a user's own Dask configuration is given."""
    from dask.utils import parse_bytes

    from cohort.cluster.tls import security

    lifetime, stagger = cluster.lifetime
    threads = cluster.cores // cluster.processes
    return {
        "job_name": name,
        "queue": cluster.queue,
        "account": cluster.account,
        "walltime": cluster.walltime,
        "cores": cluster.cores,
        "memory": cluster.memory,
        "job_mem": f"{math.ceil(parse_bytes(cluster.memory) / 2**20)}M",  # left to itself, in whole GiB
        "processes": cluster.processes,
        "interface": cluster.interface,
        "security": security(cluster.tls) if cluster.tls else None,
        "protocol": "tls://" if cluster.tls else "tcp://",
        "shared_temp_directory": str(scratch),
        "python": shlex.quote(cluster.python or sys.executable),
        "local_directory": str(scratch),
        "log_directory": str(scratch),
        "death_timeout": 60,
        "job_extra_directives": cluster.directives,
        "job_directives_skip": [],
        "job_script_prologue": [
            *(f"export {key}={shlex.quote(os.environ[key])}" for key in PASSED if key in os.environ),
            *(f"export {key}={value}" for key, value in one_thread(threads).items()),
            "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
            *cluster.prologue,
        ],
        "worker_extra_args": [
            *("--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{stagger}s"),
            *("--no-dashboard", "--dashboard-address", NOWHERE),
        ],
        "scheduler_options": {
            "interface": cluster.interface,
            "dashboard": False,
            "dashboard_address": NOWHERE,
        },
    }


@contextlib.contextmanager
def _outside_a_job() -> Iterator[None]:
    """Without the variables of the job that this process may itself be: new jobs would take them as their options."""
    ours = {k: v for k, v in os.environ.items() if k.startswith(("SLURM_", "SBATCH_")) and k != "SLURM_CONF"}
    for key in ours:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(ours)


@contextlib.contextmanager
def _scratch(cluster: Slurm, name: str) -> Iterator[Path]:
    """A folder of this run: the jobs' logs, what workers spill, certificates. Of a run that failed the logs stay."""
    folder = cluster.scratch.absolute()
    if any(c.isspace() for c in str(folder)):
        raise ClusterError(f"scratch: {folder} has a space, which a job's directives do not take; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))  # for this user alone
    except OSError as e:
        raise ClusterError(f"scratch: {folder} cannot be written: {e.strerror}") from None
    kept = {".err", ".out", ".sh"}
    try:
        yield own
        kept = set()
    finally:
        for path in own.iterdir():
            if path.suffix not in kept:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            own.rmdir()


def _run(*command: str) -> str:
    """What a command of SLURM prints. Errors: ClusterError with what it complains about."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise ClusterError(f"there is no {command[0]} here; run this on a machine of the SLURM cluster") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"SLURM does not answer: {command[0]} took more than 60 s") from None
    if done.returncode:
        raise ClusterError(f"SLURM does not answer: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _reachable(cluster: Slurm) -> None:
    """Can the nodes reach the scheduler, which is in this process? Errors: ClusterError."""
    import psutil

    known = psutil.net_if_addrs()
    if cluster.interface not in known:
        raise ClusterError(
            f"interface: there is no {cluster.interface!r} here; write one of {', '.join(sorted(known))}"
        )
    of = ["-p", cluster.queue] if cluster.queue else []
    nodes = dict(line.split() for line in _run("sinfo", "-h", "-N", *of, "-o", "%N %o").splitlines() if line)
    if not nodes:
        raise ClusterError(f"queue: SLURM has no nodes in {cluster.queue!r}; sinfo shows what there is")
    here = {"localhost", socket.gethostname(), socket.getfqdn(), socket.gethostname().partition(".")[0]}
    here |= {address.address for addresses in known.values() for address in addresses}
    others = sorted(node for node, address in nodes.items() if address not in here)
    if others and cluster.interface == LOOPBACK:
        shown = ", ".join(others[:3]) + (" and others" if len(others) > 3 else "")
        use = ", ".join(sorted(set(known) - {LOOPBACK}))
        raise ClusterError(
            f"interface: {shown} are other machines and cannot reach {LOOPBACK!r} here; "
            f"write the one they share with this machine, of {use}, and tls: temporary"
        )


def _accepted(script: str, scratch: Path) -> None:
    """Would SLURM take such a job? Asked beforehand, for Dask would try again in silence. Errors: ClusterError."""
    file = scratch / "job.sh"
    file.write_text(script)
    try:
        _run("sbatch", "--test-only", str(file))
    except ClusterError as e:
        said = str(e).removeprefix("SLURM does not answer: ")
        raise ClusterError(f"SLURM would refuse the workers' job: {said}\n\n{script}") from None


def _says(name: str, scratch: Path) -> str:
    """Why no worker is there: the queue, and the end of a job's log."""
    queue = _run("squeue", "-h", "--name", name, "-o", "job %i is %T (%r)").splitlines()
    said = f"squeue says: {'; '.join(sorted(queue)) or 'there is no such job: it ended at once'}"
    logs = sorted(scratch.glob("*.err"), key=lambda log: log.stat().st_mtime)
    last = "\n".join(logs[-1].read_text(errors="replace").splitlines()[-10:]) if logs else ""
    return said + (f"\n{logs[-1]}:\n{last}" if last else "")


def _emptied(name: str, patience: float = 60.0) -> None:
    """Cancel every job of this run, those too that were submitted while it ended, and wait until they are gone."""
    until = time.monotonic() + patience
    while True:
        with contextlib.suppress(ClusterError):  # a controller that restarts answers later
            if not _run("squeue", "-h", "--name", name, "-o", "%i"):
                return
            _run("scancel", "--quiet", "--name", name)
        if time.monotonic() > until:
            return
        time.sleep(0.5)
