"""From a file in config/cluster/ to a Cluster, or every reason why not, each with its line."""

import difflib
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from cohort.bounded import BoundError, Place, Source, read, text
from cohort.cluster.kinds import Address, Cluster, ClusterError, Kubernetes, Local, Mounted, Slurm, Tls

KINDS: dict[str, type[BaseModel]] = {"local": Local, "slurm": Slurm, "kubernetes": Kubernetes, "address": Address}

# What to write instead, by key.
INSTEAD = {
    "kind": f"write one of {', '.join(KINDS)}",
    "walltime": "write hours, minutes and seconds such as 12:00:00",
    "memory": "write such as 2 GB",
    "queue": "write its name as sinfo shows it",
    "account": "write its name as text",
    "interface": "write the name of a network interface, such as eth0",
    "directives": "write a list of lines such as --qos=normal",
    "prologue": "write a list of lines such as module load python",
    "python": "write a path such as /opt/cohort/bin/python",
    "scratch": "write the path of a folder that all nodes share",
    "tls": "write ca, cert and key below it; on SLURM, temporary does as well",
    "ca": "write the path of a file in PEM format",
    "cert": "write the path of a file in PEM format",
    "key": "write the path of a file in PEM format",
    "patience": "write such as 10 min",
    "stalled": "write such as 15 min",
    "passphrase": "write the name of an environment variable, not the passphrase",
    "secret": "write the name of a Secret in lower-case letters, digits and -",
    "credentials": "write the name of a Secret in lower-case letters, digits and -",
    "namespace": "write its name in lower-case letters, digits and -",
    "image": "write such as registry.example.org/cohort:0.1.0",
    "address": "write such as tls://scheduler.example.org:8786",
    "store": "write such as s3://bucket/prefix",
    "endpoint": "write such as https://minio.example.org:9000",
}


def named(name: str, root: Path = Path(), workers: int | None = None) -> Cluster:
    """The cluster `name` of the project in `root`; `workers` are of this machine, and no other kind's."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ClusterError(f"{name!r} is no name; write that of a file in config/cluster/ without .yaml, such as local")
    found = read_cluster(root / "config" / "cluster" / f"{name}.yaml")
    return found.model_copy(update={"workers": workers}) if workers and isinstance(found, Local) else found


def read_cluster(path: Path) -> Cluster:
    """Errors: ClusterError with everything that is wrong."""
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "no file"
        raise ClusterError(f"{path}: no such file; {path.parent} has {known}")
    try:
        source = read(text(path))
    except BoundError as e:
        raise ClusterError(str(e)) from None
    found = {} if source.data is None and not source.problems else source.data
    cluster: Any = None
    wrong = [(source.line(place), f"{_key(place)}{message}") for place, message in source.problems]
    if isinstance(found, dict):
        try:
            cluster = TypeAdapter(Cluster).validate_python({"kind": "local", **found}, context=path.parent)
        except ValidationError as e:
            wrong += [_explained(error, found, source) for error in e.errors()]
    elif not wrong:
        wrong = [(1, f"found {found!r}; write keys such as kind, workers, memory")]
    if wrong:
        raise ClusterError("\n".join(f"{path}:{line}  {message}" for line, message in sorted(wrong)))
    return cluster


def _key(place: Place) -> str:
    """Of a place, its keys: no numbers of items, nor tags of a union."""
    words = [word for word in place if isinstance(word, str) and not word.startswith("(")]
    return ".".join(words) + ": " if words else ""


def _explained(error: Any, found: dict, source: Source) -> tuple[int, str]:
    """Line, and what is wrong there with what to write instead."""
    if error["type"].startswith("union_tag"):
        near = difflib.get_close_matches(str(found["kind"]), KINDS, n=1)
        return source.line(("kind",)), f"kind: found {found['kind']!r}; " + (
            f"did you mean {near[0]!r}?" if near else INSTEAD["kind"]
        )
    kind, *rest = error["loc"]
    place = tuple(word for word in rest if not str(word).startswith("("))
    word = next((word for word in reversed(place) if isinstance(word, str)), "")
    given = "nothing" if error["input"] is None else repr(error["input"])
    match error["type"]:
        case "extra_forbidden":
            known = _known(KINDS[kind], place[:-1])
            near = difflib.get_close_matches(word, known, n=1)
            message = f"unknown key; did you mean {near[0]!r}?" if near else f"unknown key; known: {', '.join(known)}"
        case "missing":
            message = f"missing; {INSTEAD.get(word, 'write a whole number such as 2')}"
        case "value_error":
            message = str(error["ctx"]["error"])
        case "bool_type":
            message = f"found {given}; write true or false"
        case "int_type" | "greater_than":
            message = f"found {given}; write a whole number such as 2"
        case _:
            message = f"found {'something else' if word == 'passphrase' else given}; {INSTEAD[word]}"
    return source.line(place), f"{_key(place)}{message}"


def _known(kind: type[BaseModel], inner: Place) -> list[str]:
    """The keys of a kind, or of its `tls`."""
    if inner:
        return list((Mounted if kind is Kubernetes else Tls).model_fields)
    return ["kind", *(name for name in kind.model_fields if name != "kind")]
