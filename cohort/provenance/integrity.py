"""What a sealed folder says of itself: its files, its trail, what is told in several places. Executes nothing of it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cohort.bounded import BoundError, check_hdf5
from cohort.provenance import history, statements
from cohort.provenance.bundle import STUDIES
from cohort.provenance.manifest import CLUTTER, Manifest, hashed
from cohort.provenance.seal import TRAIL, told
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import digest
from cohort.store import content_digest

SMALL = 2_000_000  # rows up to which a table's content is hashed again
EXTENSION = b"ARROW:extension:name"
SHOWN = 10  # events since the sealing that are named
CELL = 256  # bytes of a cell, on the mean, beyond which a table's footer is not believed

type Lines = list[tuple[str, dict[str, Any] | None]]  # each line of a trail, and what it tells; None of no record


def size(manifest: Manifest) -> str:
    total = sum(part.bytes for part in manifest.files.values())
    return f"{len(manifest.files)} files, {total / 1e6:,.1f} MB: all there, no other, every hash holds"


def files(manifest: Manifest, found: dict[str, Path]) -> Iterator[str]:
    """What of the folder is not what the manifest lists."""
    yield from (f"{name!r} is missing" for name in sorted(manifest.files.keys() - found.keys()))
    for name in sorted(found.keys() - manifest.files.keys()):
        clutter = ", added by a file browser: remove it" if CLUTTER.fullmatch(found[name].name) else ""
        yield f"{name!r} is not in the manifest{clutter}"
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
    """The lines of the folder's trail, as they stand; one that is no record where there are more than any trail has."""
    path = folder / "audit.jsonl"
    if path.is_symlink() or not path.is_file():
        return
    if path.stat().st_size > TRAIL:
        yield "", None
        return
    with path.open("rb") as f:
        for raw in f:
            try:
                text = raw.decode("utf-8")
                line = parsed(text.removesuffix("\n"), spelt=True)
                fine = isinstance(line, dict) and isinstance(line.get("event"), str) and text.endswith("\n")
            except (SpellingError, UnicodeDecodeError):
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
            yield f"line {number} is no record, or there are more than {TRAIL >> 20} MB of them"
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
    more = f" and {len(events) - SHOWN} more" if len(events) > SHOWN else ""
    since = f"; since then: {', '.join(event[:60] for event in events[:SHOWN])}{more}" if events else ""
    times = [history.time_of(line) for _, line in lines if line]
    back = sum(a is not None and b is not None and b < a for a, b in itertools.pairwise(times))
    clock = f"; the clock went backwards {back} times" if back else ""
    registered = history.registration_of(manifest) in manifest.files
    git = "; when the registration was committed, git alone can say, which is not asked here" if registered else ""
    return f"{manifest.audit.lines} lines, whole{clock}{since}{git}"


def agreement(manifest: Manifest, folder: Path, lines: Lines) -> Iterator[str]:
    """Where what the manifest, the steps' stamps, the trail and inputs/ say of one thing differs. Executes nothing."""
    sealed = [line for _, line in lines[: manifest.audit.lines] if line]
    try:
        wrong = [*statements.spelt(manifest, folder), *history.facts(sealed)]
        if wrong:  # others rely on it
            yield from wrong
            return
        yield from statements.complete(manifest, sealed[-1]["undone"])
        yield from statements.stamps(manifest, folder)
        yield from statements.inputs(manifest, folder)
        if "attrition.json" in manifest.files:
            yield from history.done(manifest, sealed, parsed((folder / "attrition.json").read_bytes()))
        yield from history.order(manifest, sealed)
        yield from history.stands(manifest, folder, sealed)
        yield from told(sealed, lambda name: folder / name)
    except RecursionError:
        yield "something is nested deeper than anybody writes"
