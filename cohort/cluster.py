"""Where tasks run: a Dask client, from a file in config/cluster/ that no result depends on."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Cluster(BaseModel):
    """One machine. `workers`: all cores if not given, threads of this process or `processes` of their own; `memory`:
    limit of each process. A patient's bits are the same either way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, gt=0)
    processes: bool = False
    memory: str = Field(default="2 GB", pattern=r"^[1-9]\d*(\.\d+)? ?[kMGT]i?B$")


INSTEAD = {
    "kind": "write local",
    "workers": "write a whole number such as 2, or leave it out for one per core",
    "processes": "write true or false",
    "memory": "write such as 2 GB",
}


class ClusterError(ValueError):
    """A cluster file that cannot be read as one; the message names file, line, key and what to write instead."""


def read_cluster(path: Path) -> Cluster:
    """Errors: ClusterError with everything that is wrong."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "no file"
        raise ClusterError(f"{path}: no such file; {path.parent} has {known}")
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except UnicodeDecodeError:
        raise ClusterError(f"{path}:1  not UTF-8 text; save the file as UTF-8") from None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        raise ClusterError(f"{path}:{mark.line + 1 if mark else 1}  not YAML: {getattr(e, 'problem', e)}") from None
    found = {} if found is None else found
    if not isinstance(found, dict):
        raise ClusterError(f"{path}:1  found {found!r}; write keys such as {', '.join(INSTEAD)}")
    try:
        return Cluster.model_validate({str(k): v for k, v in found.items()}, strict=True)
    except ValidationError as e:
        keys = {str(error["loc"][0]): error for error in e.errors()}
        lines = text.splitlines()
        at = {k: next((i for i, line in enumerate(lines, 1) if line.startswith(f"{k}:")), 1) for k in keys}
        wrong = [
            f"{path}:{at[k]}  {k}: "
            + (
                f"found {error['input']!r}; {INSTEAD[k]}"
                if k in INSTEAD
                else f"unknown key; known: {', '.join(INSTEAD)}"
            )
            for k, error in keys.items()
        ]
        raise ClusterError("\n".join(wrong)) from None


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
