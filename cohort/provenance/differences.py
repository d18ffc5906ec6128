"""What differs between two sealed runs, and which recorded inputs explain it: from study, model and machine down to the
arms' figures. Nothing of either folder is executed; what is read in detail is first held against its sealed hash."""

import csv
import difflib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from cohort.bounded import read
from cohort.provenance import integrity
from cohort.provenance.contents import (
    LARGEST,
    Table,
    netcdf,
    predictions,
    printable,
    same_text,
    standing,
    tables,
)
from cohort.provenance.manifest import MADE_BY, STEPS, Manifest, read_manifest
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import file_digest

SAME, EXPLAINED, UNEXPLAINED = 0, 3, 4  # exit codes of `cohort diff`
TEXT = (".html", ".svg", ".csv", ".json", ".md", ".txt", ".xml")
DETAILED = 2 << 20  # bytes of an input that is compared line by line
SHOWN = 40  # lines of detail for one input
DEEPEST = 40  # levels of a value that are told apart


class DifferencesError(ValueError):
    """Two folders that cannot be compared; the message says why."""


@dataclass(frozen=True)
class Change:
    """An input that is not the same in both."""

    input: str  # such as "study", "model", "versions"
    about: str  # one line
    details: tuple[str, ...] = ()
    reaches: tuple[str, ...] = ()  # steps that rest on it, by their stamps


@dataclass(frozen=True)
class Step:
    """A step whose output differs."""

    name: str
    files: tuple[str, ...]  # "path: how it differs"
    inputs: tuple[str, ...]  # differing inputs that reach it
    upstream: tuple[str, ...]  # differing steps whose output it reads
    tables: tuple[tuple[str, Table], ...] = ()

    @property
    def explained(self) -> bool:
        """Whether anything recorded accounts for it: an input, or a step before it that differs."""
        return bool(self.inputs or self.upstream)


@dataclass(frozen=True)
class Arm:
    """An arm's predicted mean, low and high of its 95 % predictive interval, in both; None for what is absent."""

    endpoint: str
    arm: str
    a: Mapping[str, float | None]
    b: Mapping[str, float | None]


@dataclass(frozen=True)
class Differences:
    inputs: tuple[Change, ...]
    steps: tuple[Step, ...]  # in the order of the data: the first is where the runs part
    arms: tuple[Arm, ...]
    notes: tuple[str, ...]

    @property
    def unexplained(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps if not step.explained)

    @property
    def exit_code(self) -> int:
        """Of outputs: the same (whatever inputs differ), different with a cause on record, different without one."""
        if self.unexplained:
            return UNEXPLAINED
        return EXPLAINED if self.steps else SAME


@dataclass(frozen=True)
class _Side:
    """One of the two folders."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        return read_manifest(self.folder)

    def path(self, name: str) -> Path:
        """A sealed file, after its hash was found to hold. Errors: DifferencesError."""
        path = self.folder / name
        parts = [name, *map(str, PurePosixPath(name).parents)][:-1]
        linked = any((self.folder / part).is_symlink() for part in parts)
        if linked or not path.is_file() or file_digest(path) != self.manifest.files[name].sha256:
            raise DifferencesError(f"{path} is not the file that was sealed; run: cohort verify {self.folder}")
        return path

    def text(self, name: str, limit: int) -> str | None:
        """A sealed text; None for what is larger, or is none."""
        path = self.path(name)
        try:
            return path.read_text(encoding="utf-8") if path.stat().st_size <= limit else None
        except UnicodeDecodeError:
            return None


def differences(a: Path, b: Path) -> Differences:
    """Compare two sealed folders, of two studies or of one before and after.
    Errors: ManifestError for a folder that is not sealed, DifferencesError for one that was changed since."""
    one, two = _Side(a), _Side(b)
    notes = []
    if one.manifest.study.name != two.manifest.study.name:
        notes.append(f"Two studies: {one.manifest.study.name} and {two.manifest.study.name}.")
    was, now = ({arm: f.model_dump() for arm, f in side.manifest.failures.items()} for side in (one, two))
    notes += [f"Patients and failures, {line}" for line in _dotted(was, now)]
    changed = _inputs(one, two)
    steps = _steps(one, two, changed, notes)
    if any(not step.explained for step in steps) and one.manifest.code.get("changed_since_commit"):
        notes.append("The code had changes that were not committed; what these were is not recorded.")
    return Differences(tuple(changed), tuple(steps), tuple(_arms(one, two)), tuple(notes))


# ---------------------------------------------------------------------------------------------------------- inputs


def _inputs(one: _Side, two: _Side) -> list[Change]:
    """Everything recorded of what the results rest on that differs: files of inputs/, then stamps of steps that no such
    file accounts for, then what reaches every step: code, versions, machine."""
    a, b = one.manifest, two.manifest

    def resting(key: str) -> tuple[str, ...]:
        """The steps whose stamps differ in this."""
        return tuple(s for s in STEPS if a.steps.get(s, {}).get(key) != b.steps.get(s, {}).get(key))

    found = []
    for left, right in _pairs(one, two):
        role, about, details = _file_change(one, two, left, right)
        found.append(Change(role, about, _short(details), resting(role)))
    for name, left, right in (("seed", a.study.seed, b.study.seed), ("draws", a.draws, b.draws)):
        if left != right:
            found.append(Change(name, f"{left} -> {right}", (), resting("study")))
    for name, left, right in (
        ("code", a.code | {"versions": None}, b.code | {"versions": None}),  # these again, of a few libraries
        ("versions", a.versions, b.versions),
        ("hardware", a.hardware, b.hardware),
        ("numerics", a.numerics, b.numerics),
    ):
        if lines := list(_dotted(left, right)):
            found.append(Change(name, f"recorded values that differ: {len(lines)}", _short(lines), tuple(STEPS)))
    keys = sorted({key for m in (a, b) for stamp in m.steps.values() for key in stamp})
    if all(m.posterior is not None and m.posterior.study == m.study.name for m in (a, b)):
        keys = [key for key in keys if key != "posterior"]  # both calibrate: their posterior is an output
    named = {change.input for change in found}
    for key in keys:
        if key not in named and (reached := resting(key)):
            found.append(Change(key, "the steps were stamped with another hash of it", (), reached))
    return [*found, *_history(one, two)]


def _history(one: _Side, two: _Side) -> Iterator[Change]:
    """What was done in which order, and so how a comparison stands: no figure rests on it, but reports tell of it."""
    events = [[line["event"] for line in _told(side)] for side in (one, two)]
    lines = list(_dotted(*(_standing(side) for side in (one, two))))
    if events[0] != events[1] or lines:
        about = f"{len(events[0])} and {len(events[1])} lines: other events, or the same in another order"
        yield Change("trail", about, _short(lines), ("report", "dossier"))


def _told(side: _Side) -> list[dict[str, Any]]:
    lines = list(integrity.read_lines(side.folder))
    if any(integrity.trail(side.manifest, lines)):
        raise DifferencesError(
            f"{side.folder / 'audit.jsonl'} is not what was sealed; run: cohort verify {side.folder}"
        )
    return [line for _, line in lines[: side.manifest.audit.lines] if line]


def _standing(side: _Side) -> Any:
    return standing(side.path("comparison.nc")) if "comparison.nc" in side.manifest.files else None


def _pairs(one: _Side, two: _Side) -> Iterator[tuple[str | None, str | None]]:
    """Input files that differ. The two studies' own files stand for each other, whatever their names."""
    sides: list[dict[str, str]] = []
    for side in (one, two):
        study = side.manifest.study.name
        own = {
            f"inputs/config/studies/{study}.yaml": "a study",
            f"inputs/config/registered/{study}.json": "b registered",
        }
        own |= {name: "c model" for name in side.manifest.files if name.endswith(f"/{side.manifest.model.name}.py")}
        sides.append({own.get(name, name): name for name in side.manifest.files if name.startswith("inputs/")})
    left, right = sides
    for label in sorted(left.keys() | right.keys()):
        x, y = left.get(label), right.get(label)
        if x is None or y is None or one.manifest.files[x].sha256 != two.manifest.files[y].sha256:
            yield x, y


def _file_change(one: _Side, two: _Side, left: str | None, right: str | None) -> tuple[str, str, Iterable[str]]:
    """Which input a differing file is, one line about it, and what differs in it."""
    name = right or left or ""
    path = PurePosixPath(name)
    role = _role(path, one, two)
    if left is None or right is None:
        return role, f"{name}: in {'B' if left is None else 'A'} alone", ()
    if path.suffix in (".nc", ".parquet"):
        return role, f"{name}: {_how(one, two, left, right) or 'the same content in other bytes'}", ()
    x, y = one.text(left, DETAILED), two.text(right, DETAILED)
    if x is None or y is None:
        return role, f"{name}: other bytes", ()
    if path.suffix == ".yaml":
        sources = read(x), read(y)
        if not any(source.problems for source in sources):
            lines = list(_dotted(*(source.data for source in sources)))
            if role == "study" and lines and all(line.startswith("comparison") for line in lines):
                role = "comparison plan"
            return role, f"{name}: {len(lines)} values differ" if lines else f"{name}: layout and comments alone", lines
    if path.suffix == ".csv":
        return role, f"{name}: other rows", _rows(x, y)
    if path.suffix == ".json":
        try:
            return role, f"{name}: other values", list(_dotted(parsed(x), parsed(y)))
        except SpellingError:
            pass  # compared as text
    return role, f"{name}: other lines", _unified(x, y)


def _role(path: PurePosixPath, one: _Side, two: _Side) -> str:
    """Which input a file of inputs/ is, as the steps' stamps call it; what is none of the known is data of people."""
    match path.parts[1:]:
        case ("config", "studies", name):
            own = {f"{side.manifest.study.name}.yaml" for side in (one, two)}
            return "study" if name in own else "another study"
        case ("config", "evidence", *_):
            return "evidence"
        case ("config", "registered", *_):
            return "registered"
        case (*_, name) if name.endswith(".py"):
            return "model"
        case ("results", _, "comparison.nc") | ("results", _, "made", "compare.json"):
            return "learnt"
        case ("results", *_):
            return "posterior"
        case ("requirements.lock",):
            return "lock"
    return "people"


_ABSENT = object()


def _dotted(x: Any, y: Any, place: str = "", depth: int = 0) -> Iterator[str]:
    """Each value that differs, as `path: this -> that`."""
    if isinstance(x, Mapping) and isinstance(y, Mapping) and depth < DEEPEST:
        for key in [*x, *(k for k in y if k not in x)]:
            here = f"{place}.{key}" if place else str(key)
            yield from _dotted(x.get(key, _ABSENT), y.get(key, _ABSENT), here, depth + 1)
    elif isinstance(x, list) and isinstance(y, list) and depth < DEEPEST:
        for i in range(max(len(x), len(y))):
            left, right = (v[i] if i < len(v) else _ABSENT for v in (x, y))
            yield from _dotted(left, right, f"{place}[{i}]", depth + 1)
    elif type(x) is not type(y) or x != y:
        yield f"{printable(place)}: {_value(x)} -> {_value(y)}"


def _value(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 100 else f"{text[:97]}..."


def _unified(x: str, y: str) -> Iterator[str]:
    """The lines that differ. A parameter of a model is one line."""
    lines = islice(difflib.unified_diff(x.splitlines(), y.splitlines(), n=0, lineterm=""), 2, None)
    return (printable(line) for line in lines if not line.startswith("@@"))


def _rows(x: str, y: str) -> Iterator[str]:
    """Rows of evidence that differ, by arm, outcome and visit, with each cell that does."""
    sides: list[dict[str, dict[str, Any]]] = []
    for text in (x, y):
        keyed: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
            cells = {str(column): cell for column, cell in row.items()}
            key = " ".join(str(cells[c]) for c in ("arm", "outcome", "visit") if cells.get(c)) or f"line {number}"
            keyed[key if key not in keyed else f"{key} (line {number})"] = cells
        sides.append(keyed)
    left, right = sides
    for key in [*left, *(k for k in right if k not in left)]:
        if key not in left or key not in right:
            yield f"{printable(key)}: in {'A' if key in left else 'B'} alone"
        else:
            yield from (f"{printable(key)}, {line}" for line in _dotted(left[key], right[key]))


def _short(lines: Iterable[str]) -> tuple[str, ...]:
    lines = list(lines)
    more = len(lines) - SHOWN
    return tuple([*lines[:SHOWN], f"... and {more} more"] if more > 0 else lines)


# --------------------------------------------------------------------------------------------------------- outputs


def _steps(one: _Side, two: _Side, changed: list[Change], notes: list[str]) -> list[Step]:
    """The steps whose outputs differ, each with what reaches it."""
    a, b = one.manifest, two.manifest
    files: dict[str, list[str]] = {}
    compared: dict[str, list[tuple[str, Table]]] = {}
    same: list[str] = []
    for name in sorted(a.files.keys() | b.files.keys()):
        first = name.split("/")[0]
        if first in ("inputs", "made"):  # inputs are compared as such; made/ holds the steps' stamps
            continue
        step = MADE_BY.get(first, "report")
        x, y = a.files.get(name), b.files.get(name)
        if x is None or y is None:
            files.setdefault(step, []).append(f"{name}: in {'B' if x is None else 'A'} alone")
        elif x.sha256 != y.sha256:
            if how := _how(one, two, name, name):
                files.setdefault(step, []).append(f"{name}: {how}")
                if name.endswith(".parquet"):
                    compared.setdefault(step, []).append((name, tables(one.path(name), two.path(name))))
            else:
                same.append(name)
    if same:
        notes.append(f"The same content in other bytes: {', '.join(_short(same))}.")
    steps: list[Step] = []
    for step, reads in STEPS.items():
        if step not in files:
            continue
        # Without a stamp of its own, a step rests on what those rest on whose output it reads.
        resting = {step} if step in a.steps or step in b.steps else {step, *reads}
        inputs = dict.fromkeys(change.input for change in changed if resting & set(change.reaches))
        upstream = tuple(before.name for before in steps if before.name in reads)
        steps.append(Step(step, tuple(files[step]), tuple(inputs), upstream, tuple(compared.get(step, ()))))
    return steps


def _how(one: _Side, two: _Side, left: str, right: str) -> str:
    """How two files with other bytes differ; "" where they say the same."""
    a, b = one.manifest.files[left], two.manifest.files[right]
    suffix = PurePosixPath(right).suffix
    if suffix == ".parquet" and a.content is not None and b.content is not None:
        if a.content == b.content:
            return ""
        return "other values" if a.rows == b.rows else f"{a.rows:,} and {b.rows:,} rows"
    if suffix == ".nc":
        return netcdf(one.path(left), two.path(right))
    if suffix in TEXT:
        x, y = one.text(left, LARGEST), two.text(right, LARGEST)
        if x is not None and y is not None:
            return "" if same_text(x.encode(), y.encode()) else "another text, beyond times and hashes"
    return "other bytes, which may be time stamps: what such a file says is not compared"


def _arms(one: _Side, two: _Side) -> Iterator[Arm]:
    """Predictions of each arm where they differ."""
    name = "comparison.nc"
    shas = [side.manifest.files[name].sha256 for side in (one, two) if name in side.manifest.files]
    if len(shas) < 2 or shas[0] == shas[1]:
        return
    left, right = (predictions(side.path(name)) for side in (one, two))
    for key in [*left, *(k for k in right if k not in left)]:
        x, y = left.get(key, {}), right.get(key, {})
        if x != y:
            yield Arm(printable(key[0]), printable(key[1]), x, y)
