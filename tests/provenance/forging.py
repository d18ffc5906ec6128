"""What a forger would do to a sealed folder, and what shows that nothing was done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from typer.testing import CliRunner, Result

from cohort.cli import app
from cohort.provenance.manifest import described, entries, read_manifest
from cohort.provenance.verify import Verdict
from cohort.record import canonical, digest, trail
from cohort.store import write_table

VICTIM = "0000003"
ARM = "arms/evolocumab_140_q2w.parquet"


def cohort(*words: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def state(verdict: Verdict, what: str) -> tuple[str, str]:
    return next((check.state, check.said) for check in verdict.checks if check.what == what)


def elsewhere(folder: Path, **hardware: object) -> dict[str, dict]:
    """The hardware of a manifest that another machine made."""
    return {"hardware": read_manifest(folder).hardware | hardware}


def tree(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder, with its time of change."""
    return {
        p.relative_to(folder).as_posix(): (p.stat().st_mtime_ns, p.stat().st_size, digest(p.read_bytes()))
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def forged(folder: Path, name: str = "", change: Callable[[Path], object] = lambda path: None, **manifest: Any) -> None:
    """Change a file and mend all that tells of it, as someone would who has the whole folder but no key: the manifest,
    the line of the trail that tells of the sealing, and its hash. manifest: other values of its own keys."""
    if name:
        change(folder / name)
    files = {k: part.model_dump(mode="json") for k, part in described(entries(folder)[0])}
    path = folder / "audit.jsonl"
    lines = trail(path.read_text())
    lines[-1] = canonical(json.loads(lines[-1]) | {"files": digest(files)})
    path.write_text("\n".join(lines) + "\n")
    data = json.loads(read_manifest(folder).text) | {"files": files} | manifest
    data["audit"] = {"lines": len(lines), "head": digest(lines[-1])}
    (folder / "manifest.json").write_text(canonical(data) + "\n")


def nudged(column: str, by: float, **where: Any) -> Callable[[Path], None]:
    """A change of one number of a Parquet file: `by` times itself is added to the first that is neither 0 nor NaN."""

    def change(path: Path) -> None:
        table = pl.read_parquet(path).with_row_index("i")
        rows = table.filter(pl.col(column).is_not_nan() & (pl.col(column) != 0)).filter(**where)
        at = pl.col("i") == rows["i"][0]
        value = pl.when(at).then(pl.col(column) * (1 + by)).otherwise(pl.col(column))
        write_table(path, table.with_columns(value.alias(column)).drop("i"))

    return change
