"""Canonical JSON, hashes and the audit trail: what every step writes to."""

import fcntl
import hashlib
import json
import math
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

VERSIONED = ("jax", "jaxlib", "llvmlite", "numpyro", "pymc", "arviz", "numpy", "scipy", "polars", "pyarrow", "dask")


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


def git(folder: Path, *words: str) -> str | None:
    """What git says in this folder; None where there is no git, no repository, or an error."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
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


class Audit:
    """An append-only trail of JSON lines, each carrying the hash of the line before it."""

    def __init__(self, path: Path):
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def append(self, event: str, **facts: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)  # steps of one study may end at the same moment
            f.seek(0)
            before = f.read().splitlines()
            line = {
                "event": event,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "previous": digest(before[-1]) if before else None,
                **plain(facts),
            }
            f.write(canonical(line) + "\n")

    def broken_at(self) -> int | None:
        """The first line (from 1) whose link to the line before does not hold; None when the chain is whole."""
        previous = None
        for number, text in enumerate(self.path.read_text().splitlines(), 1):
            try:
                link = json.loads(text)["previous"]
            except (ValueError, KeyError, TypeError):
                return number
            if link != previous:
                return number
            previous = digest(text)
        return None
