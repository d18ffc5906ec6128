"""From a Cluster to a Dask client, and everything away again afterwards, however the work ended."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cohort.cluster.kinds import Address, Cluster, ClusterError, Kubernetes, Local, Slurm
from cohort.record import ONE_THREAD

# Pages that Dask would serve over HTTP beside its own protocol: none. Its server stays, on loopback, and is empty.
NO_PAGES = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
NOWHERE = "127.0.0.1:0"


@contextlib.contextmanager
def client(cluster: Cluster) -> Iterator[Any]:
    """A distributed.Client with at least one worker. Errors: ClusterError when the cluster cannot be reached, or no
    worker came in time, with what the cluster says about it."""
    import dask
    import distributed  # noqa: F401 - its defaults first: else they leave with what is set here

    with _ended_by_signal(), dask.config.set(NO_PAGES):
        match cluster:
            case Local():
                from cohort.cluster.local import local as opened
            case Slurm():
                from cohort.cluster.slurm import slurm as opened
            case Kubernetes():
                from cohort.cluster.kubernetes import kubernetes as opened
            case Address():
                from cohort.cluster.address import address as opened
        with opened(cluster) as found:  # type: ignore[arg-type]
            yield found


def wait(client: Any, patience: float, why: Callable[[], str]) -> None:
    """Until a worker is there. patience: s; `why` says what keeps them. Errors: ClusterError."""
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError:
        raise ClusterError(f"no worker came within {patience:g} s; {why()}") from None


def one_thread(tasks: int) -> dict[str, str]:
    """The environment of a worker with so many threads, a task on each: what a task calls starts none of its own."""
    return ONE_THREAD | {"POLARS_MAX_THREADS": str(tasks)}  # one pool for all tasks


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM, which a queue sends before it kills, ends the work as an exception does: nothing is left behind."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
