"""Where tasks run: a Dask client, from a file in config/cluster/ that no result depends on."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field


class Cluster(BaseModel):
    """One machine. `workers`: all cores if not given, threads of this process or `processes` of their own; `memory`:
    limit of each process. A patient's bits are the same either way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local"] = "local"
    workers: int | None = Field(None, gt=0)
    processes: bool = False
    memory: str = "2 GB"


def read_cluster(path: Path) -> Cluster:
    """Errors: pydantic.ValidationError for keys or values that a cluster file does not have."""
    return Cluster.model_validate(yaml.safe_load(path.read_text()) or {})


@contextlib.contextmanager
def client(cluster: Cluster) -> Iterator[Any]:
    """A client of single-threaded workers on the loopback interface, without a dashboard."""
    from distributed import Client, LocalCluster

    workers = cluster.workers or os.cpu_count() or 1
    with (
        tempfile.TemporaryDirectory(prefix="cohort-dask-") as scratch,
        LocalCluster(
            n_workers=workers if cluster.processes else 1,
            threads_per_worker=1 if cluster.processes else workers,
            processes=cluster.processes,
            memory_limit=cluster.memory if cluster.processes else None,
            host="127.0.0.1" if cluster.processes else None,  # threads need no address at all
            dashboard_address=None,  # type: ignore[arg-type]
            local_directory=scratch,
        ) as local,
        Client(local) as c,
    ):
        yield c
