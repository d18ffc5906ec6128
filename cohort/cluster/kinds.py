"""The kinds of cluster: what a file in config/cluster/ may say."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator

from cohort.units import number_and_unit

LOOPBACK = "lo"  # the name of Linux's loopback interface


class ClusterError(ValueError):
    """A cluster file that cannot be read as one, or a cluster that cannot be reached; the message says what to do."""


def _path(value: Any, info: ValidationInfo) -> Path:
    """Relative to the folder of the cluster file, `~` is the home folder."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"found {value!r}; write a path as text")
    return (info.context or Path()) / Path(value).expanduser()


SECONDS = {"s": 1, "min": 60, "h": 3600}


def _seconds(value: Any) -> float:
    read = number_and_unit(value)
    if read is None or read.unit not in SECONDS or read.value <= 0:
        raise ValueError(f"found {value!r}; write such as 10 min, in s, min or h")
    return read.value * SECONDS[read.unit]


File = Annotated[Path, BeforeValidator(_path)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Memory = Annotated[str, Field(pattern=r"^[1-9]\d*(\.\d+)? ?[kMGT]i?B$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]  # of things in Kubernetes
Line = Annotated[str, Field(pattern=r"^[^\r\n]+$")]  # one line of a job script


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tls(_Section):
    """Certificates in PEM format: each side shows `cert` and believes who shows one that `ca` signed. `passphrase`: the
    environment variable that holds the key's."""

    ca: File
    cert: File
    key: File
    passphrase: Variable | None = None


class Mounted(Tls):
    """`secret`: the Secret in Kubernetes that gives the pods theirs, as ca.crt, tls.crt and tls.key."""

    secret: Name


# `temporary`: a certificate made for each run, which only its workers get.
Made = Annotated[
    Annotated[Literal["temporary"], Tag("(temporary)")] | Annotated[Tls, Tag("(files)")],
    Discriminator(lambda value: "(files)" if isinstance(value, dict | Tls) else "(temporary)"),
]


class _Kind(_Section):
    """What every kind may say. `store`: where chunks are kept when workers share no disk with this machine; `endpoint`:
    of a store that is not Amazon's; credentials come from AWS_ACCESS_KEY_ID and the other variables of that family.
    `patience`: how long to wait for the first worker; `stalled`: for the next chunk, before a run that does not move is
    ended."""

    store: str | None = None
    endpoint: str | None = None
    patience: Seconds = 600.0
    stalled: Seconds = 900.0

    @field_validator("store")
    @classmethod
    def _bucket(cls, store: str | None) -> str | None:
        if store is not None and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s?#@]+)*/?", store):
            raise ValueError(f"found {_shown(store)}; write such as s3://bucket/prefix")
        return store

    @field_validator("endpoint", mode="after")
    @classmethod
    def _url(cls, endpoint: str | None, info: ValidationInfo) -> str | None:
        if endpoint is None:
            return None
        url = urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.path not in ("", "/"):
            raise ValueError(f"found {_shown(endpoint)}; write such as https://minio.example.org:9000")
        if info.data.get("store", "") is None:
            raise ValueError("belongs to a store; add store: s3://bucket/prefix")
        return endpoint


def _shown(url: str) -> str:
    """A URL as a message may show it: what is before an @ could be a password."""
    return repr(re.sub(r"[^/]*@", "...@", url)) + (" with credentials" if "@" in url else "")


class Local(_Kind):
    """This machine. `workers`: all cores if not given, threads of this process or `processes` of their own; `memory`:
    limit of each process. A patient's bits are the same either way."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, gt=0)
    processes: bool = False
    memory: Memory = "2 GB"
    patience: Seconds = 120.0


class Slurm(_Kind):
    """Jobs of a SLURM queue, between `minimum` and `maximum` of them as there is work. Each has `cores` and `memory`,
    shared by its `processes`, and leaves before its `walltime` is over. `directives`: lines for #SBATCH; `prologue`:
    lines of shell before the worker starts, such as module load; `python`: the workers' if not this one; `scratch`: a
    folder that nodes and this machine share, for what a run leaves nowhere else.

    Off the loopback `interface`, and so on every cluster of more than this machine, `tls` is needed: whoever reaches a
    scheduler without it can run what they like."""

    kind: Literal["slurm"]
    queue: Line | None = None
    account: Line | None = None
    walltime: str
    cores: int = Field(gt=0)
    memory: Memory
    processes: int = Field(default=1, gt=0)
    minimum: int = Field(default=1, gt=0)
    maximum: int = Field(gt=0)
    interface: str = Field(default=LOOPBACK, pattern=r"^[A-Za-z0-9_.:@-]+$")
    tls: Made | None = Field(default=None, validate_default=True)
    directives: list[Line] = []
    prologue: list[Line] = []
    python: Line | None = None
    scratch: File = Field(default=Path("results/.scratch"))

    @field_validator("walltime")
    @classmethod
    def _time(cls, walltime: str) -> str:
        if not re.fullmatch(r"(\d+-)?\d{1,2}:[0-5]\d:[0-5]\d", walltime):
            raise ValueError(f"found {walltime!r}; write hours, minutes and seconds such as 12:00:00")
        if seconds(walltime) < 120:
            raise ValueError(f"found {walltime!r}; write at least 00:02:00: workers leave before it is over")
        return walltime

    @field_validator("processes")
    @classmethod
    def _share(cls, processes: int, info: ValidationInfo) -> int:
        if processes > info.data.get("cores", processes):
            raise ValueError(f"found {processes}; write at most {info.data['cores']}, one for each of the cores")
        return processes

    @field_validator("maximum")
    @classmethod
    def _above(cls, maximum: int, info: ValidationInfo) -> int:
        if maximum < info.data.get("minimum", 1):
            raise ValueError(f"found {maximum}; write at least the minimum, {info.data['minimum']}")
        return maximum

    @field_validator("tls")
    @classmethod
    def _guarded(cls, tls: Any, info: ValidationInfo) -> Any:
        interface = info.data.get("interface", LOOPBACK)
        if tls is None and interface != LOOPBACK:
            raise ValueError(
                f"missing, and other machines reach {interface!r}; write tls: temporary, or ca, cert and key below tls:"
            )
        return tls

    @property
    def lifetime(self) -> tuple[int, int]:
        """After how many seconds a worker leaves by itself, and by how many these differ, so that not all go at once:
        even the last has time to hand over what it does before the walltime."""
        whole = seconds(self.walltime)
        stagger = min(whole // 20, 600)
        return whole - stagger - max(45, stagger), stagger


def seconds(walltime: str) -> int:
    """Of SLURM's [days-]hours:minutes:seconds."""
    days, _, clock = walltime.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + rest


class Kubernetes(_Kind):
    """Pods of the Dask operator: `workers` of them with `cores` and `memory`, from an `image` that holds this version
    of cohort. `credentials`: the Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the store."""

    kind: Literal["kubernetes"]
    image: Annotated[str, Field(pattern=r"^[^\s]+$")]
    namespace: Name = "default"
    workers: int = Field(gt=0)
    cores: int = Field(gt=0)
    memory: Memory
    tls: Mounted
    credentials: Name | None = None


class Address(_Kind):
    """A scheduler that runs already: tls://host:port with certificates, or tcp:// on this machine alone."""

    kind: Literal["address"]
    address: str
    tls: Tls | None = Field(default=None, validate_default=True)
    patience: Seconds = 60.0

    @field_validator("address")
    @classmethod
    def _reachable(cls, address: str) -> str:
        url = urlsplit(address)
        try:
            complete = url.scheme in ("tls", "tcp") and url.hostname and url.port and address.endswith(f":{url.port}")
        except ValueError:  # a port that is none
            complete = False
        if not complete:
            raise ValueError(f"found {address!r}; write such as tls://scheduler.example.org:8786")
        if url.scheme == "tcp" and not _this_machine(str(url.hostname)):
            raise ValueError(f"found {address!r}; write tls:// for another machine: tcp:// is for this one alone")
        return address

    @field_validator("tls")
    @classmethod
    def _certified(cls, tls: Tls | None, info: ValidationInfo) -> Tls | None:
        scheme = info.data.get("address", "").partition(":")[0]
        if scheme == "tls" and tls is None:
            raise ValueError("missing; write ca, cert and key below tls:")
        if scheme == "tcp" and tls is not None:
            raise ValueError("certificates, but the address is tcp://; write tls:// there")
        return tls


def _this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Cluster = Annotated[Local | Slurm | Kubernetes | Address, Field(discriminator="kind")]
