"""What the audit trail of a sealed folder tells, beside what stands in the folder: a line for every step, the order of
predicting and opening, counts, and how a comparison says that it stands. Nothing of the folder is executed.

Whether a registration was committed before the outcomes were opened, git alone knows, and a sealed folder has no git:
here the comparison is only held against itself and against the trail.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cohort.comparison.registration import plan_standing
from cohort.provenance.contents import summary
from cohort.provenance.manifest import Manifest
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import Audit, canonical

type Line = dict[str, Any]

# What a line of each kind holds, and of which type; a line may hold more.
FACTS: dict[str, dict[str, type]] = {
    "population": {"study": str, "screened": int, "enrolled": int, "excluded": dict},
    "outcomes opened": {"evidence": str, "use": str, "file": str, "sha256": str},
    "calibrated": {"posterior": str},
    "sensitivity": {"sensitivity": str},
    "simulated": {"patients": int, "failed": int},
    "trials": {"draws": int},
    "registered": {"predictions": str},
    "predictions frozen": {"predictions": str, "identity": dict},
    "compared": {"comparison": str},
    "data opened": {"chapter": str, "use": str, "file": str, "sha256": str},
    "chapter frozen": {"chapter": str, "predicted": str},
    "chapters": {"files": dict},
    "report": {"report": str},
    "exported": {"files": dict},
    "dossier": {"dossier": str},
    "sealed": {"study": str, "files": str, "undone": list},
}
# Which event tells that a step was done.
EVENTS = {
    "population": "population",
    "calibrate": "calibrated",
    "sensitivity": "sensitivity",
    "simulate": "simulated",
    "trial": "trials",
    "compare": "compared",
    "chapters": "chapters",
    "export": "exported",
}
ROUNDED = 1.5e-4  # by how much a number rounded to four digits may differ from the same one made elsewhere


class Retold(Audit):
    """Lines that were read already, for who reads an audit trail."""

    def __init__(self, lines: Sequence[Line]):
        self._lines = list(lines)

    def lines(self) -> list[Line]:
        return self._lines


def facts(lines: Sequence[Line]) -> Iterator[str]:
    """Lines without a time or without what a line of their kind tells. Only where there are none may others ask."""
    for number, line in enumerate(lines, 1):
        if time_of(line) is None:
            yield f"line {number} of the trail has no time"
        wants = FACTS.get(line["event"], {})
        if lacking := [fact for fact, kind in wants.items() if not isinstance(line.get(fact), kind)]:
            yield f"line {number} of the trail, {line['event']!r}, does not tell {', '.join(lacking)}"
        if not isinstance(line.get("plan"), str | None):
            yield f"line {number} of the trail tells of a plan that is none"


def time_of(line: Line) -> datetime | None:
    try:
        time = datetime.fromisoformat(line["time"])
    except (ValueError, KeyError, TypeError):
        return None
    return time if time.tzinfo else None


def done(manifest: Manifest, lines: Sequence[Line], attrition: dict[str, Any]) -> Iterator[str]:
    """Steps of which the trail tells nothing, or something else than the folder says."""
    last = {line["event"]: line for line in lines}
    for step in manifest.steps:
        if EVENTS.get(step, step) not in last:
            yield f"{step}: the trail does not tell that it was done"
    for line in lines:
        if line["event"] in ("population", "sealed") and line["study"] != manifest.study.name:
            yield f"the trail tells of another study, {line['study'][:60]!r}"
    if population := last.get("population"):
        counts = {key: population[key] for key in ("screened", "enrolled", "excluded")}
        if canonical(counts) != canonical(attrition):
            yield "attrition.json: other counts than the trail tells"
    if simulated := last.get("simulated"):
        patients = sum(part.patients for part in manifest.failures.values())
        failed = sum(n for part in manifest.failures.values() for n in part.failed.values())
        if (simulated["patients"], simulated["failed"]) != (patients, failed):
            yield f"failures: {patients} patients, {failed} failed; the trail tells otherwise"
        if simulated.get("hardware", manifest.hardware) != manifest.hardware:
            yield "hardware: another than the trail tells of who simulated"
    if "trials" in last and last["trials"]["draws"] != manifest.draws:
        yield f"{manifest.draws} draws; the trail tells otherwise"


def order(manifest: Manifest, lines: Sequence[Line]) -> Iterator[str]:
    """Outcomes that were opened too early, or not at all, or are others than the manifest says."""
    opened = [(i, line) for i, line in enumerate(lines) if line["event"] == "outcomes opened"]
    own = [(i, line) for i, line in opened if line["use"] != "discrepancy"]
    frozen = [i for i, line in enumerate(lines) if line["event"] == "predictions frozen"]
    for name, part in manifest.evidence.items():
        mine = [line for _, line in own if line["evidence"] == name]
        if part.opened != (mine[0]["time"] if mine else None):
            yield f"evidence {name}: the trail tells that it was opened at another time, or not"

    def opens(name: str, start: int, end: int) -> bool:
        """Whether the last opening of evidence between two lines is of what is there now."""
        part = manifest.evidence[name]
        mine = [line for i, line in own if start < i < end and line["evidence"] == name]
        return bool(mine) and [mine[-1][k] for k in ("use", "file", "sha256")] == [part.use, part.file, part.sha256]

    first = next((i for i, line in own if line["use"] == "validation"), None)
    if first is not None and not any(i < first for i in frozen):
        yield "outcomes were opened before predictions were frozen"
    yield from _chapters(lines)
    if "calibrate" in manifest.steps and (end := last_of(lines, "calibrated")) is not None:
        for name, part in manifest.evidence.items():
            if part.use == "calibration" and not opens(name, -1, end):
                yield f"evidence {name}: calibrated without being opened as it stands"
    if "compare" not in manifest.steps or (end := last_of(lines, "compared")) is None:
        return
    start = last_of(lines[:end], "predictions frozen")
    if start is None:
        yield "compared before predictions were frozen"
        return
    for name in manifest.evidence:
        if not opens(name, start, end):
            yield f"evidence {name}: compared without being opened as it stands, between freezing and comparing"
    for name, sha in manifest.steps["compare"].get("learnt", {}).items():
        before = [line for i, line in opened if i < start and line["use"] == "discrepancy" and line["evidence"] == name]
        if not before or before[-1]["sha256"] != sha:
            yield f"{name}: it taught the comparison without being opened as it stands, before freezing"


def _chapters(lines: Sequence[Line]) -> Iterator[str]:
    """Chapters that opened what they are compared with before they had predicted."""
    frozen: set[str] = set()
    for line in lines:
        if line["event"] == "chapter frozen":
            frozen.add(line["chapter"])
        elif line["event"] == "data opened" and line["use"] == "validation" and line["chapter"] not in frozen:
            yield f"chapter {line['chapter'][:60]}: opened {line['file'][:100]} before its predictions were frozen"


def last_of(lines: Sequence[Line], event: str) -> int | None:
    return next((i for i in range(len(lines) - 1, -1, -1) if lines[i]["event"] == event), None)


def stands(manifest: Manifest, folder: Path, lines: Sequence[Line]) -> Iterator[str]:
    """Where a comparison says other than trail and registration what it rests on, and how it stands."""
    registered, wrong = _registration(manifest, folder)
    if wrong:
        yield wrong
        return
    told = [line["predictions"] for line in lines if line["event"] == "registered"]
    if registered and told and registered["predictions_hash"] not in told:
        yield "the registered prediction is not one that the trail tells of"
    if "comparison.nc" not in manifest.files:
        return
    found = summary(folder / "comparison.nc")
    if not all(isinstance(found.get(part), dict) for part in ("identity", "predictions")):
        yield "comparison.nc: it has no summary that can be read"
        return
    end = last_of(lines, "compared")
    start = None if end is None else last_of(lines[:end], "predictions frozen")
    if start is None:
        return  # `order` says it
    frozen, before = lines[start], Retold(lines[:end])
    study = manifest.study
    own = {"study": study.fingerprint, "model": manifest.model.sha256, "seed": study.seed, "draws": manifest.draws}
    if found["identity"] != frozen["identity"] or any(frozen["identity"].get(k) != v for k, v in own.items()):
        yield "comparison.nc: its predictions rest on something else than manifest and trail say"
    plan = found.get("comparison")
    if (plan is None) != (study.plan is None) or frozen.get("plan") != study.plan:
        yield "comparison.nc: another plan of the comparison than manifest and trail say"
    elif isinstance(plan, dict) and plan.get("standing") != plan_standing(before, study.plan):
        yield "comparison.nc: how its plan stands is not what the trail tells"
    elif plan is not None and not isinstance(plan, dict):
        yield "comparison.nc: its plan is none"
    if any(part.use == "validation" for part in manifest.evidence.values()):
        yield from _standing(manifest, found, registered, frozen, before)
    if registered is None or registered["predictions_hash"] != frozen["predictions"]:
        return
    if not _close(registered["predictions"], found["predictions"]):
        yield "the registered prediction has the hash of what was predicted, and other values"


def _registration(manifest: Manifest, folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The registered prediction, None where there is none; and why it cannot be read."""
    name = registration_of(manifest)
    if name not in manifest.files:
        return None, ""
    try:
        found = parsed((folder / name).read_bytes())
    except SpellingError as e:
        return None, f"{name}: {e}"
    shape = {"predictions_hash": str, "predictions": dict, "identity": dict}
    fine = isinstance(found, dict) and all(isinstance(found.get(key), kind) for key, kind in shape.items())
    return (found, "") if fine else (None, f"{name}: no registered prediction")


def registration_of(manifest: Manifest) -> str:
    """Where the registered prediction of the study lies, if it has one."""
    return f"inputs/config/registered/{manifest.study.name}.json"


def _standing(
    manifest: Manifest, found: dict[str, Any], registered: dict[str, Any] | None, frozen: Line, before: Retold
) -> Iterator[str]:
    """All of a standing that can be had without git."""
    said, what = found.get("standing"), "comparison.nc: how its predictions stand"
    if not isinstance(said, dict) or said.get("status") not in ("registered", "post hoc"):
        yield f"{what} is not said"
        return
    if (said["status"] == "registered") != (said.get("reasons") == []):
        yield f"{what} is not what its reasons say"
    if registered is None:
        if said["status"] == "registered" or said.get("file") is not None:
            yield f"{what} rests on a registration that inputs/ has not"
        return
    expected = {
        "file_hash": manifest.files[registration_of(manifest)].sha256,
        "identical": registered["predictions_hash"] == frozen["predictions"],
        "registered": registered["predictions"],
    }
    if wrong := [key for key, value in expected.items() if said.get(key) != value]:
        yield f"{what}: {', '.join(wrong)} is not what the registration says"
    first = next((s for s in before.lines() if s["event"] == "outcomes opened" and s["use"] == "validation"), None)
    committed, opened = time_of({"time": said.get("committed")}), None if first is None else time_of(first)
    if said["status"] == "registered" and (committed is None or opened is None or committed > opened):
        yield f"{what}: it was not committed before the outcomes were opened"


def _close(x: Any, y: Any) -> bool:
    """Whether two values are the same, to the digits that are written down."""
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(_close(x[key], y[key]) for key in x)
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(map(_close, x, y))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (x, y))
    return abs(x - y) <= ROUNDED if numbers else (type(x), x) == (type(y), y)
