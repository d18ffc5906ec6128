"""What a forger would do to a sealed folder, and what shows that nothing was done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import polars as pl
from typer.testing import CliRunner, Result

from cohort.cli import app
from cohort.provenance.manifest import described, entries, read_manifest
from cohort.provenance.seal import SAID
from cohort.provenance.verify import Verdict
from cohort.record import canonical, digest, trail
from cohort.store import write_table

VICTIM = "0000003"
ARM = "arms/evolocumab_140_q2w.parquet"


def cohort(*words: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def state(verdict: Verdict, what: str) -> tuple[str, str]:
    return next((check.state, check.said) for check in verdict.checks if check.what == what)


def elsewhere(folder: Path, **hardware: object) -> dict[str, Any]:
    """The hardware of a manifest that another machine made."""
    return {"hardware": read_manifest(folder).hardware | hardware}


def tree(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder, with its time of change."""
    return {
        p.relative_to(folder).as_posix(): (p.stat().st_mtime_ns, p.stat().st_size, digest(p.read_bytes()))
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


type Lines = list[dict[str, Any]]


def forged(
    folder: Path,
    name: str = "",
    change: Callable[[Path], object] = lambda path: None,
    retold: Callable[[Lines], Lines] = lambda lines: lines,
    **manifest: Any,
) -> None:
    """Change a file and mend all that tells of it, as someone would who has the whole folder but no key: the counts and
    hashes in the trail and its chain, the stamps of steps, and the manifest. retold: the trail's lines as they are to
    be; manifest: other values of its own keys."""
    if name:
        change(folder / name)
    files = {k: part.model_dump(mode="json") for k, part in described(entries(folder)[0])}
    data = json.loads(read_manifest(folder).text)
    steps = {p.stem: _object(p) or data["steps"].get(p.stem, {}) for p in sorted((folder / "made").glob("*.json"))}
    data |= {"files": files, "steps": steps} | manifest
    for key in data["code"]["versions"].keys() & data["versions"].keys():
        data["code"]["versions"][key] = data["versions"][key]
    path, kept = folder / "audit.jsonl", list[str]()
    for line in retold(_counted(folder, data, [json.loads(line) for line in trail(path.read_text())])):
        fact, of = SAID.get(line["event"], ("", ""))
        line |= {fact: files[of]["sha256"]} if of in files else {}
        line |= {"files": digest(files)} if line["event"] == "sealed" else {}
        line["previous"] = digest(kept[-1]) if kept else None
        kept.append(canonical(line))
    path.write_text("\n".join(kept) + "\n")
    data["audit"] = {"lines": len(kept), "head": digest(kept[-1])}
    (folder / "manifest.json").write_text(canonical(data) + "\n")


def _counted(folder: Path, data: dict[str, Any], lines: Lines) -> Lines:
    """The trail with the counts that the folder and its manifest hold."""
    last = {line["event"]: line for line in lines}
    counts = _object(folder / "attrition.json") or {}
    last["population"].update({k: counts[k] for k in ("screened", "enrolled", "excluded") if k in counts})
    arms = data["failures"].values()
    failed = sum(n for arm in arms for n in arm["failed"].values())
    last["simulated"].update(patients=sum(arm["patients"] for arm in arms), failed=failed)
    if "hardware" in last["simulated"]:
        last["simulated"]["hardware"] = data["hardware"]
    return lines


def _object(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def rewritten(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    """A change of a table as a whole."""
    return lambda path: write_table(path, change(pl.read_parquet(path)))


def concluded(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """A change of what comparison.nc or posterior.nc says in words and figures."""

    def write(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            summary = json.loads(str(file.attrs["summary"]))
            change(summary)
            file.attrs["summary"] = canonical(summary)

    return write


def nudged(column: str, by: float, **where: Any) -> Callable[[Path], None]:
    """A change of one number of a Parquet file: `by` times itself is added to the first that is neither 0 nor NaN."""

    def change(path: Path) -> None:
        table = pl.read_parquet(path).with_row_index("i")
        rows = table.filter(pl.col(column).is_not_nan() & (pl.col(column) != 0)).filter(**where)
        at = pl.col("i") == rows["i"][0]
        value = pl.when(at).then(pl.col(column) * (1 + by)).otherwise(pl.col(column))
        write_table(path, table.with_columns(value.alias(column)).drop("i"))

    return change
