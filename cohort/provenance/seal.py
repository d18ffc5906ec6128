"""Sealing: the steps are done and agree with each other, inputs are gathered, and the manifest is written last."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohort.provenance import bundle
from cohort.provenance.manifest import (
    CLUTTER,
    NAME,
    STEPS,
    FilePart,
    Manifest,
    SealError,
    described,
    entries,
    make,
    several_codes,
)
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import digest, file_digest
from cohort.results import Results, ResultsError
from cohort.store import lock, write_text

TRAIL = 16 << 20  # bytes of an audit trail that is read whole: thousands of runs of every step leave less


@dataclass(frozen=True)
class Sealed:
    manifest: Manifest
    undone: list[str]  # steps of the study that were not run
    warning: str  # which code made which steps, where they were not all made by the same; "" where they were


def seal(
    results: Results, *, partial: bool = False, progress: Callable[[int, int], None] = lambda done, of: None
) -> Sealed:
    """Seal a study's results: gather what they rest on into inputs/, tell the audit trail, write manifest.json.

    `partial`: also where steps after `simulate` were not run. Memory does not grow with the tables. Errors: SealError
    naming everything that is missing, stale or of no known origin; Busy where a run is at work in the folder.
    """
    from cohort.provenance import crate, integrity

    folder = results.folder
    with lock(folder / "state", "seal"):
        undone = check(results, partial)
        # What was said of the former state must not be taken for this one, should anything stop us on the way.
        (folder / NAME).unlink(missing_ok=True)
        bundle.gather(results)
        found, wrong = entries(folder)
        if wrong:
            raise SealError("\n".join(f"{folder}: {line}; remove it" for line in wrong))
        files: dict[str, FilePart] = dict(described(found, progress))
        listed = digest({name: part.model_dump(mode="json") for name, part in files.items()})
        results.audit.append("sealed", study=results.study.name, files=listed, undone=undone)
        manifest = make(results, files)
        if unlike := list(integrity.agreement(manifest, folder, list(integrity.read_lines(folder)))):
            raise SealError("\n".join([f"{folder} is not sealed: run the steps of these again:", *unlike]))
        write_text(folder / NAME, manifest.text)
        crate.write(folder, manifest)
    return Sealed(manifest, undone, several_codes(manifest.steps))


def check(results: Results, partial: bool = False) -> list[str]:
    """Whether a folder can be sealed. Returns the steps that were not run. Errors: SealError with every reason."""
    study, folder = results.study, results.folder
    wrong: list[str] = []
    undone: list[str] = []
    outputs = {
        "population": [results.population_file, results.attrition_file],
        "calibrate": [results.folder / "posterior.nc"] if study.calibration is not None else [],
        "simulate": [results.parameters_file, *(results.arm_file(arm) for arm in study.arms)],
        "trial": [results.trial_file],
        "compare": [results.comparison_file],
        "chapters": [results.chapter_file(name) for name in study.chapters],
        "report": [results.report_file],
    }
    for step, paths in outputs.items():
        there = [path for path in paths if path.is_file()]
        if not paths:
            continue
        if not there and partial and step not in ("population", "calibrate", "simulate"):
            undone.append(step)
            continue
        if missing := [path for path in paths if path not in there]:
            names = ", ".join(str(path) for path in missing)
            wrong.append(f"{names}: not there yet; run: cohort {step} {study.path}")
        elif step != "report":
            wrong += _stale(results, step)
    if (folder / "arms").is_dir():
        strange = {p.name for p in (folder / "arms").glob("*.parquet")} - {f"{arm}.parquet" for arm in study.arms}
        wrong += [f"{folder / 'arms' / name}: of no arm of {study.path}; remove it" for name in sorted(strange)]
    left = [p for p in folder.rglob(".*-*") if p.is_file() and p.relative_to(folder).parts[0] not in ("state", "log")]
    wrong += [f"{path}: left by a step that was stopped while writing; remove it" for path in sorted(left)]
    if results.calibrated is not results:
        wrong += _stale(results.calibrated, "calibrate")
    for other in results.taught_by.values():
        wrong += _stale(other, "compare")
    for path in sorted((folder / "made").glob("*.json")):
        if path.stem not in STEPS:
            wrong.append(f"{path}: of no step; remove it")
        elif not outputs.get(path.stem):  # of no part of a run: sensitivity, export, a calibration that was one
            wrong += _stale(results, path.stem)
    clutter = (path for path in folder.rglob("*") if CLUTTER.fullmatch(path.name))
    wrong += [f"{path}: added by a file browser; remove it" for path in sorted(clutter)]
    wrong += _trail(results)
    if (folder / "signatures").exists():
        wrong.append(f"{folder / 'signatures'}: what is signed is not sealed again; move the signatures away first")
    if wrong:
        raise SealError("\n".join([f"{folder} is not sealed:", *wrong]))
    return undone


def _trail(results: Results) -> list[str]:
    path = results.audit.path
    if not path.is_file():
        return [f"{path}: missing; the steps' order cannot be shown: run them again"]
    try:
        broken = results.audit.broken_at()
    except UnicodeDecodeError:
        broken = 1
    if path.stat().st_size > TRAIL:
        return [f"{path}: larger than {TRAIL >> 20} MB, which is not read again; run the steps in a new folder"]
    if broken:
        return [f"{path}:{broken}: does not follow from the line before; run the steps again in a new folder"]
    return told(results.audit.lines(), lambda name: results.folder / name)


def _stale(results: Results, step: str) -> list[str]:
    """Why a step's output does not rest on what is there now; nothing where it does."""
    stamp = results.folder / "made" / f"{step}.json"
    again = f"run: cohort {step} {results.study.path}"
    if not stamp.is_file():
        return [f"{stamp}: missing, so nothing says what {step} rested on; {again}"]
    try:
        then, now = parsed(stamp.read_bytes(), spelt=True), results.basis(step)
    except SpellingError:
        return [f"{stamp}: damaged; {again}"]
    except (ResultsError, OSError) as e:
        return [str(e)]
    changed = [key for key in now if then.get(key) != now[key]]
    return [f"{step} rested on another {' and '.join(changed)}; {again}"] if changed else []


# Which fact of which event is the hash of which file: the last such event speaks of what is there now.
SAID = {
    "calibrated": ("posterior", "posterior.nc"),
    "sensitivity": ("sensitivity", "sensitivity.json"),
    "compared": ("comparison", "comparison.nc"),
    "report": ("report", "report.html"),
    "dossier": ("dossier", "dossier.html"),
}


def told(lines: list[dict[str, Any]], file: Callable[[str], Path]) -> list[str]:
    """Where a file is not the one whose hash the audit trail last told, or the report is older than what it shows."""
    last = {line["event"]: (i, line) for i, line in enumerate(lines)}
    wrong = []
    for event, (fact, name) in SAID.items():
        path = file(name)
        if not path.is_file():
            continue
        if event not in last:
            wrong.append(f"{name}: the audit trail does not tell of it; run its step again")
        elif last[event][1].get(fact) != file_digest(path):
            wrong.append(f"{name}: not the file that the audit trail's last '{event}' speaks of; run its step again")
    if "report" in last and file("report.html").is_file() and last["report"][0] < last.get("compared", (-1,))[0]:
        wrong.append("report.html: older than the comparison; run: cohort report")
    chapters = {p.stem: file_digest(p) for p in sorted(file("chapters").glob("*.json"))}
    if chapters and chapters != next((line["files"] for line in reversed(lines) if line["event"] == "chapters"), None):
        wrong.append("chapters/: other files than the audit trail's last 'chapters' speaks of; run: cohort chapters")
    export = file("export")
    there = {p.relative_to(export).as_posix(): file_digest(p) for p in export.rglob("*") if p.is_file()}
    if there and not any(line["event"] == "exported" and line.get("files") == there for line in lines):
        wrong.append("export/: other files than the audit trail tells of; remove it, or run: cohort export")
    return wrong
