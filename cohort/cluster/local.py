"""Workers on this machine: threads of this process, or processes of their own that hear loopback alone."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from typing import Any

from cohort.cluster.connect import NOWHERE, one_thread, wait
from cohort.cluster.kinds import Local


@contextlib.contextmanager
def local(cluster: Local) -> Iterator[Any]:
    """A client of this machine's workers."""
    from dask.system import CPU_COUNT  # what this process may use, in a container or a job too
    from distributed import Client, Nanny, Scheduler, SpecCluster, Worker

    workers = cluster.workers or CPU_COUNT
    if cluster.processes:
        where: dict[str, Any] = {"protocol": "tcp://", "host": "127.0.0.1"}
        size: dict[str, Any] = {"nthreads": 1, "memory_limit": cluster.memory, "env": one_thread(1)}
    else:
        where = {"protocol": "inproc://"}  # no address at all
        size = {"nthreads": workers, "memory_limit": None}
    hidden = {"dashboard": False, "dashboard_address": NOWHERE}
    with tempfile.TemporaryDirectory(prefix="cohort-dask-") as scratch:
        worker = {
            "cls": Nanny if cluster.processes else Worker,
            "options": where | size | hidden | {"local_directory": scratch, "silence_logs": logging.WARNING},
        }
        with (
            SpecCluster(
                workers=dict.fromkeys(range(workers if cluster.processes else 1), worker),
                scheduler={"cls": Scheduler, "options": where | hidden},
                silence_logs=logging.WARNING,  # type: ignore[arg-type] - a level, as LocalCluster gives
            ) as here,
            Client(here) as found,
        ):
            wait(found, cluster.patience, lambda: "this machine starts none: is its memory full?")
            yield found
