"""What a sealed folder says of itself: its files, its trail, what is told in several places. Executes nothing of it."""

import itertools
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cohort.bounded import BoundError, check_hdf5
from cohort.provenance.bundle import STUDIES
from cohort.provenance.manifest import LARGEST, Manifest, hashed
from cohort.provenance.seal import told
from cohort.record import digest
from cohort.store import content_digest

SMALL = 2_000_000  # rows up to which a table's content is hashed again
EXTENSION = b"ARROW:extension:name"
CELL = 256  # bytes of a cell, on the mean, beyond which a table's footer is not believed

type Lines = list[tuple[str, dict[str, Any] | None]]  # each line of a trail, and what it tells; None of no record


def size(manifest: Manifest) -> str:
    total = sum(part.bytes for part in manifest.files.values())
    return f"{len(manifest.files)} files, {total / 1e6:,.1f} MB: all there, no other, every hash holds"


def files(manifest: Manifest, found: dict[str, Path]) -> Iterator[str]:
    """What of the folder is not what the manifest lists."""
    yield from (f"{name!r} is missing" for name in sorted(manifest.files.keys() - found.keys()))
    yield from (f"{name!r} is not in the manifest" for name in sorted(found.keys() - manifest.files.keys()))
    both = {name: path for name, path in found.items() if name in manifest.files}
    for (name, path), sha in zip(both.items(), hashed(both.values()), strict=True):
        if sha != manifest.files[name].sha256 or path.stat().st_size != manifest.files[name].bytes:
            yield f"{name!r} was changed"
    if f"inputs/{STUDIES}/{manifest.study.name}.yaml" not in manifest.files:
        yield f"inputs/{STUDIES} has no study {manifest.study.name!r}"


def tables(manifest: Manifest, found: dict[str, Path]) -> Iterator[str]:
    """Parquet and netCDF files that are none, lead elsewhere or claim more than they can hold, and tables whose content
    is not as stated. Footers alone are read before that."""
    for name, path in found.items():
        if name.endswith(".nc"):
            try:
                check_hdf5(path)
            except BoundError as e:
                yield f"{name!r}: {e}"
        if not name.endswith(".parquet"):
            continue
        part = manifest.files[name]
        try:
            footer, schema = pq.read_metadata(path), pq.read_schema(path)
            groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        except (pa.ArrowException, OSError, ValueError) as e:
            yield f"{name!r} is not Parquet: {str(e)[:100]}"
            continue
        if footer.num_rows != part.rows or sum(g.num_rows for g in groups) != footer.num_rows:
            yield f"{name!r} holds {footer.num_rows} rows, the manifest says {part.rows}"
        elif sum(g.total_byte_size for g in groups) > (footer.num_rows * footer.num_columns + 65_536) * CELL:
            yield f"{name!r} would unfold to more than its rows can hold"
        elif any(isinstance(f.type, pa.BaseExtensionType) or EXTENSION in (f.metadata or {}) for f in schema):
            yield f"{name!r} holds an extension type; tables here hold text, numbers, yes and no"
        elif footer.num_rows <= SMALL and part.content not in (None, content_digest(path)):
            yield f"{name!r}: its content has another hash than the manifest says"


def read_lines(folder: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The lines of the folder's trail, as they stand."""
    path = folder / "audit.jsonl"
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as f:
        while raw := f.readline(LARGEST):
            try:
                text = raw.decode("utf-8")
                line = json.loads(text)
                fine = isinstance(line, dict) and isinstance(line.get("event"), str) and text.endswith("\n")
            except (ValueError, RecursionError):
                text, line, fine = "", None, False
            yield text.removesuffix("\n"), line if fine else None


def trail(manifest: Manifest, lines: Lines) -> Iterator[str]:
    """Where the chain is broken, or is not the one that was sealed."""
    n = manifest.audit.lines
    if not lines:
        yield "audit.jsonl is missing or empty"
        return
    previous = None
    for number, (text, line) in enumerate(lines, 1):
        if line is None or "previous" not in line:
            yield f"line {number} is no record"
            return
        if line["previous"] != previous:
            yield f"line {number} does not follow from the line before"
            return
        previous = digest(text)
    if len(lines) < n or digest(lines[n - 1][0]) != manifest.audit.head:
        yield f"it is not the trail that was sealed, of {n} lines"
    elif (lines[n - 1][1] or {})["event"] != "sealed":
        yield f"line {n} does not tell of the sealing"
    else:
        listed = digest({name: part.model_dump(mode="json") for name, part in manifest.files.items()})
        if (lines[n - 1][1] or {}).get("files") != listed:
            yield "the files that were sealed are others than the manifest lists"


def later(manifest: Manifest, lines: Lines) -> str:
    """What the trail tells beside its being whole."""
    events = [line["event"] for _, line in lines[manifest.audit.lines :] if line]
    later = f"; since then: {', '.join(events)}" if events else ""
    try:
        times = [datetime.fromisoformat(line["time"]) for _, line in lines if line]
        back = sum(b < a for a, b in itertools.pairwise(times))
    except (ValueError, KeyError, TypeError):
        return f"{manifest.audit.lines} lines, whole, with times that are none{later}"
    clock = f"; the clock went backwards {back} times" if back else ""
    return f"{manifest.audit.lines} lines, whole{clock}{later}"


def agreement(manifest: Manifest, folder: Path, lines: Lines) -> Iterator[str]:
    """Where what the manifest, the steps' stamps, the trail and inputs/ say of one thing differs. Executes nothing."""
    sealed_files, steps, study = manifest.files, manifest.steps, manifest.study
    sealed = [line for _, line in lines[: manifest.audit.lines] if line]

    def same(what: str, *said: Any) -> Iterator[str]:
        if len({json.dumps(s, sort_keys=True) for s in said}) > 1:
            yield f"{what} is told in several ways"

    def sha(name: str) -> str | None:
        return sealed_files[name].sha256 if name in sealed_files else None

    for name in sealed_files:
        if name.startswith("made/") and name.endswith(".json"):
            step = name.removeprefix("made/").removesuffix(".json")
            yield from same(name, steps.get(step), json.loads((folder / name).read_text()))
    for step, rests in steps.items():
        if f"made/{step}.json" not in sealed_files:
            yield f"made/{step}.json is missing"
        yield from same(f"{step}: the study", study.fingerprint, rests.get("study"))
        yield from same(f"{step}: the model", manifest.model.sha256, rests.get("model"))
        for file, told_sha in (rests.get("evidence") or {}).items():
            yield from same(f"{step}: {file}", told_sha, sha(f"inputs/{file}"))
        for file, told_sha in (rests.get("people") or {}).items():
            yield from same(f"{step}: {file}", told_sha, sha(f"inputs/{file}"))
        for other, told_sha in (rests.get("learnt") or {}).items():
            yield from same(f"{step}: what {other} taught", told_sha, sha(f"inputs/results/{other}/comparison.nc"))
        if "registered" in rests:
            registered = sha(f"inputs/config/registered/{study.name}.json")
            yield from same(f"{step}: the registered prediction", rests["registered"], registered)
        if "posterior" in rests:
            yield from same(
                f"{step}: the posterior", rests["posterior"], manifest.posterior and manifest.posterior.sha256
            )
    if manifest.posterior:
        owner = manifest.posterior.study
        place = "posterior.nc" if owner == study.name else f"inputs/results/{owner}/posterior.nc"
        yield from same("the posterior", manifest.posterior.sha256, sha(place))
    for name, part in manifest.evidence.items():
        yield from same(f"evidence {name}", part.sha256, sha(f"inputs/{part.file}"))
        opened = [s for s in sealed if s["event"] == "outcomes opened" and s.get("evidence") == name]
        opened = [s for s in opened if s.get("use") != "discrepancy"]
        yield from same(f"evidence {name}: when it was opened", part.opened, opened[0].get("time") if opened else None)
        if opened and "compare" in steps:
            yield from same(f"evidence {name}, as last opened", part.sha256, opened[-1].get("sha256"))
    yield from told(sealed, lambda name: folder / name)
    registered = folder / "inputs" / "config" / "registered" / f"{study.name}.json"
    if registered.is_file():
        said = [s.get("predictions") for s in sealed if s["event"] == "registered"]
        try:
            written = json.loads(registered.read_text(encoding="utf-8"))["predictions_hash"]
        except (ValueError, KeyError, TypeError):
            yield "the registered prediction cannot be read"
            return
        if said and written not in said:
            yield "the registered prediction is not one that the trail tells of"
    model = folder / "inputs" / "models" / f"{manifest.model.name}.py"
    if model.is_file():
        yield from same("the model's text", manifest.model.sha256, digest(model.read_text(encoding="utf-8")))
