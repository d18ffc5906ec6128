"""Canonical JSON, hashes and the audit trail: what every step writes to."""

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

VERSIONED = ("jax", "jaxlib", "llvmlite", "numpyro", "pymc", "arviz", "numpy", "scipy", "polars", "pyarrow", "dask")
# What in the environment may decide bits: compilers' flags, and which code paths numerical libraries take.
FLAGS = re.compile(
    r"XLA_FLAGS|LLVM_OPTIONS|PYTENSOR_FLAGS|MKL_CBWR|OPENBLAS_CORETYPE|OMP_NUM_THREADS|SOURCE_DATE_EPOCH"
    r"|NPY_(DISABLE|ENABLE)_CPU_FEATURES|JAX_(ENABLE_X64|PLATFORMS|DEFAULT_\w+)|NUMBA_(CPU_\w+|FASTMATH\w*|OPT)"
)
# Sums of linear algebra hang on how many threads it takes: every process of ours has it take one.
ONE_THREAD: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Instruction sets that arithmetic is compiled for, of x86 and of ARM, among the many flags of a processor.
ARITHMETIC = re.compile(r"sse\w*|ssse3|avx\w*|fma\w*|f16c|amx\w*|asimd\w*|sve\w*")


def canonical(value: Any) -> str:
    """JSON with one spelling per value: keys sorted, no spaces, no NaN. The text that hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of bytes, of text, or of the canonical JSON of anything else."""
    raw = value if isinstance(value, bytes) else (value if isinstance(value, str) else canonical(value)).encode()
    return hashlib.sha256(raw).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """Numbers as JSON can hold them: a NaN or infinity becomes None, arrays become lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


# A repository's own configuration can name programs for git to run, and asking for its state can write to it.
HARMLESS = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "log.showSignature=false", "protocol.allow=never")
_foreign: list[Path] = []  # folders in which git is not asked


@contextlib.contextmanager
def without_git(folder: Path) -> Iterator[None]:
    """Meanwhile git is not asked in or below this folder: it comes from elsewhere, and whoever made it may have put a
    repository there, whose filters no option of git turns off."""
    _foreign.append(folder.resolve())
    try:
        yield
    finally:
        _foreign.pop()


def git(folder: Path, *words: str) -> str | None:
    """What git says in this folder; None where there is no git, no repository, an error, or git is not to be asked."""
    if any(folder.resolve().is_relative_to(place) for place in _foreign):
        return None
    options = [word for setting in HARMLESS for word in ("-c", setting)]
    quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = subprocess.run(
            ["git", "--no-pager", *options, "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=20,
            env=quiet,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def code() -> dict[str, Any]:
    """Which code ran: package version, git commit and whether the tree differs from it, library versions."""
    root = Path(__file__).resolve().parent.parent
    changes = git(root, "status", "--porcelain", "--", "cohort", "models")
    lock = root / "requirements.lock"
    return {
        "cohort": metadata.version("insilico-cohort"),
        "commit": git(root, "rev-parse", "HEAD"),
        "changed_since_commit": None if changes is None else bool(changes),
        "lock": file_digest(lock) if lock.is_file() else None,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {name: metadata.version(name) for name in VERSIONED},
    }


@functools.cache
def source_digest() -> str:
    """SHA-256 over the package's source files and the versions of the libraries that compute: what other code leaves
    is another result."""
    here = Path(__file__).resolve().parent
    files = [p.relative_to(here) for p in sorted(here.rglob("*.py"))]
    own = {str(f): file_digest(here / f) for f in files if f.parts[0] != "models"}
    return digest([own, {name: metadata.version(name) for name in VERSIONED}])


def versions() -> dict[str, str]:
    """Every distribution installed beside this one, by its normalised name."""
    found = {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in metadata.distributions()}
    return dict(sorted(found.items()))


def hardware() -> dict[str, Any]:
    """On what this process computes: the processor's name, the instruction sets its arithmetic may use, and what the
    environment sets of compilers and numerical libraries."""
    about: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            about.setdefault(key.strip(), value.strip())
    except OSError:
        pass  # no Linux: the platform's own name must do
    told = (about.get("flags") or about.get("Features") or "").split()
    return {
        "cpu": about.get("model name") or platform.processor() or platform.machine(),
        "isa": sorted(flag for flag in told if ARITHMETIC.fullmatch(flag)),
        "flags": {name: value for name, value in sorted(os.environ.items()) if FLAGS.fullmatch(name)},
    }


def trail(text: str) -> list[str]:
    """The lines of an audit trail. They end at line feeds alone: what is told may hold what Unicode calls an end."""
    return text.removesuffix("\n").split("\n") if text else []


class Audit:
    """An append-only trail of JSON lines, each carrying the hash of the line before it."""

    def __init__(self, path: Path):
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in trail(self.path.read_text(encoding="utf-8"))]

    def append(self, event: str, **facts: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+", buffering=0) as f:
            fcntl.flock(f, fcntl.LOCK_EX)  # steps of one study may end at the same moment
            f.seek(0)
            text = f.read().decode()
            before = trail(text)
            # A line that was cut off stays as it is, and shows as a break in the chain.
            begin = "\n" if text and not text.endswith("\n") else ""
            line = {
                "event": event,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "previous": digest(before[-1]) if before else None,
                **plain(facts),
            }
            raw, size = f"{begin}{canonical(line)}\n".encode(), f.seek(0, os.SEEK_END)
            try:
                if f.write(raw) != len(raw):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(f.fileno())
            except OSError:
                f.truncate(size)  # half a line would break the chain for good
                raise

    def broken_at(self) -> int | None:
        """The first line (from 1) whose link to the line before does not hold; None when the chain is whole."""
        previous = None
        for number, text in enumerate(trail(self.path.read_text(encoding="utf-8")), 1):
            try:
                link = json.loads(text)["previous"]
            except (ValueError, KeyError, TypeError, RecursionError):
                return number
            if link != previous:
                return number
            previous = digest(text)
        return None
