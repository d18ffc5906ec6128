"""The manifest of a sealed result folder: every file with its hash, and all that determined what is in them."""

import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypedDict

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cohort import evidence
from cohort.engine import CODES
from cohort.engine.machine import TARGETS, MachineError, target
from cohort.library import FOLDER, load
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import canonical, code, digest, file_digest, hardware, trail, versions
from cohort.results import Results
from cohort.store import content_digest
from cohort.study import fingerprint, planned

FORMAT: Literal["cohort manifest 1"] = "cohort manifest 1"
NAME = "manifest.json"
# What stands beside the sealed files: the manifest, what vouches for it or retells it, and what no result rests on.
BESIDE = frozenset({NAME, "audit.jsonl", "signatures", "ro-crate-metadata.json", "state", "log"})
LARGEST = 64 << 20  # bytes of a manifest: no honest one comes near
# Each step with those whose output it reads, in the order in which the data go.
STEPS: dict[str, tuple[str, ...]] = {
    "population": (),
    "calibrate": ("population",),
    "sensitivity": ("population", "calibrate"),
    "simulate": ("population", "calibrate"),
    "trial": ("population", "calibrate", "simulate"),
    "compare": ("calibrate", "simulate", "trial"),
    "chapters": ("population", "calibrate", "simulate", "trial", "compare"),
    "report": ("population", "calibrate", "sensitivity", "simulate", "trial", "compare", "chapters"),
    "export": ("population", "simulate", "trial"),
    "dossier": ("population", "calibrate", "sensitivity", "simulate", "trial", "compare", "chapters", "report"),
}
# Whose output a file is, by the first part of its path; anything else is the report's.
MADE_BY = {
    "population.parquet": "population",
    "attrition.json": "population",
    "matching.json": "population",
    "posterior.nc": "calibrate",
    "sensitivity.json": "sensitivity",
    "parameters.parquet": "simulate",
    "arms": "simulate",
    "trial.parquet": "trial",
    "trial": "trial",
    "comparison.nc": "compare",
    "chapters": "chapters",
    "export": "export",
    "dossier.html": "dossier",
    "dossier.pdf": "dossier",
}
CLUTTER = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE)  # what file browsers leave unasked


class SealError(RuntimeError):
    """A folder that cannot be sealed; the message says what is in the way, and which command mends it."""


class ManifestError(ValueError):
    """A manifest that is not one; the message says where it differs from what `cohort seal` writes."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _absent(value: Any) -> bool:
    return value is None


class StudyPart(Part):
    name: str
    title: str
    fingerprint: str
    plan: str | None
    seed: int


class ModelPart(Part):
    name: str
    sha256: str  # of its text
    in_library: bool


class EvidencePart(Part):
    file: str
    sha256: str
    use: str
    rows: int
    opened: str | None  # when its outcomes were first opened in this folder


class PosteriorPart(Part):
    study: str = Field(alias="from")  # whose calibration it is
    sha256: str


class FailuresPart(Part):
    patients: int  # lanes: one person in one arm under one draw
    failed: dict[str, int]


class FilePart(Part):
    sha256: str
    bytes: int
    rows: int | None = Field(default=None, exclude_if=_absent)
    content: str | None = Field(default=None, exclude_if=_absent)  # what a table says, however it is written


class AuditPart(Part):
    lines: int
    head: str  # hash of the last line


class HardwarePart(TypedDict):
    """`cohort.record.hardware`, and the patients that a register of the native back end holds."""

    cpu: str
    isa: list[str]
    flags: dict[str, str]
    width: int | None


class CodePart(TypedDict):
    """`cohort.record.code`."""

    cohort: str
    commit: str | None
    changed_since_commit: bool | None
    lock: str | None
    python: str
    machine: str
    versions: dict[str, str]


# What a step's output rests on, `Results.basis`, and which code made it.
StepPart = TypedDict(
    "StepPart",
    {
        "study": str,
        "model": str,
        "code": str,
        "people": dict[str, str],
        "evidence": dict[str, str],
        "posterior": str | None,
        "registered": str | None,
        "comparison plan": str | None,
        "learnt": dict[str, str | None],
        "chapters": str,
    },
    total=False,
)


class Manifest(Part):
    format: Literal["cohort manifest 1"]
    study: StudyPart
    model: ModelPart
    code: CodePart
    versions: dict[str, str]
    hardware: HardwarePart
    numerics: dict[str, Any]
    draws: int
    evidence: dict[str, EvidencePart]
    posterior: PosteriorPart | None
    failures: dict[str, FailuresPart]
    steps: dict[str, StepPart]
    files: dict[str, FilePart]
    audit: AuditPart

    @property
    def text(self) -> str:
        """Canonical JSON, with a line feed at its end: what is on disk, and what is signed."""
        return canonical(self.model_dump(mode="json", by_alias=True)) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a sealed folder. Errors: ManifestError where it is missing, or is not spelt as `seal` spells."""
    path = folder / NAME
    if path.is_symlink() or not path.is_file():
        raise ManifestError(f"{path} is not there: the folder is not sealed; run: cohort seal STUDY")
    if path.stat().st_size > LARGEST:
        raise ManifestError(f"{path} is larger than {LARGEST >> 20} MB; no manifest is")
    try:
        text = path.read_bytes().decode("utf-8")
        data = parsed(text)
        if isinstance(data, dict) and data.get("format") != FORMAT:
            raise ManifestError(
                f"{path}: its format is {str(data.get('format'))[:60]!r}; this version of cohort reads {FORMAT!r}"
            )
        manifest = Manifest.model_validate(data)
        same = manifest.text == text
    except ValidationError as e:
        where = "; ".join(f"{'.'.join(map(str, p['loc']))[:120]}: {p['msg']}" for p in e.errors()[:5])
        raise ManifestError(f"{path}: {where}") from None
    except SpellingError as e:
        raise ManifestError(f"{path}: {e}") from None
    except (ValueError, RecursionError) as e:
        raise e if isinstance(e, ManifestError) else ManifestError(f"{path}: not JSON: {str(e)[:120]}") from None
    if not same:
        raise ManifestError(f"{path} is not spelt canonically; it was written by something else, or changed")
    if wrong := [name for name in manifest.files if not plain_path(name) or name.split("/")[0] in BESIDE]:
        raise ManifestError("\n".join(f"{path}: {name[:200]!r} is no path of a sealed file" for name in wrong[:20]))
    return manifest


def plain_path(name: str) -> bool:
    """Whether this is a path below a folder as a manifest spells it: no `..`, no absolute one, one spelling of each;
    and none into a repository of git, whose settings are commands that git runs."""
    parts = name.split("/")
    odd = any(p.lower() in ("", ".", "..", ".git") for p in parts) or "\\" in name or "\0" in name
    return not odd and unicodedata.normalize("NFC", name) == name and name.isprintable()


def entries(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files that a seal covers, by their paths, and what no sealed folder may hold, each with what it is. Nothing
    is followed that leads elsewhere."""
    found: dict[str, Path] = {}
    wrong: list[str] = []

    def walk(at: Path, prefix: str) -> None:
        for entry in sorted(os.scandir(at), key=lambda e: e.name):
            name = f"{prefix}{entry.name}"
            if entry.is_symlink():
                wrong.append(f"{name!r} is a symbolic link")
            elif not prefix and entry.name in BESIDE:
                continue
            elif entry.name.lower() == ".git":
                wrong.append(f"{name!r} is a repository of git")
            elif entry.is_dir(follow_symlinks=False):
                walk(Path(entry.path), f"{name}/")
            elif not entry.is_file(follow_symlinks=False):
                wrong.append(f"{name!r} is neither a file nor a folder")
            elif not plain_path(name):
                wrong.append(f"{name!r} has a name that not every system can hold")
            else:
                found[name] = Path(entry.path)

    walk(folder, "")
    return found, wrong


def hashed(paths: Iterable[Path], progress: Callable[[int, int], None] = lambda done, of: None) -> list[str]:
    """SHA-256 of each file, two at a time: hashing runs without Python's lock."""
    paths = list(paths)
    found: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        for sha in pool.map(file_digest, paths):
            found.append(sha)
            progress(len(found), len(paths))
    return found


def described(files: dict[str, Path], progress: Callable[[int, int], None] = lambda done, of: None) -> Iterator:
    """Each file of the folder as the manifest has it, with its path."""
    for (name, path), sha in zip(files.items(), hashed(files.values(), progress), strict=True):
        if path.suffix == ".parquet":
            rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
            yield name, FilePart(sha256=sha, bytes=path.stat().st_size, rows=rows, content=_content(path))
        else:
            yield name, FilePart(sha256=sha, bytes=path.stat().st_size)


def _content(path: Path) -> str | None:
    try:
        return content_digest(path)
    except TypeError:
        return None  # columns of kinds that no table of ours has; the file's own hash stands


def failures(arm: Path, visits: int) -> FailuresPart:
    """How many lanes of an arm there are, and how many failed, by reason. Memory does not grow with the file."""
    counts = pl.scan_parquet(arm, glob=False).group_by("code").len().collect(engine="streaming").sort("code")
    per = {int(c): int(n) // visits for c, n in counts.iter_rows()}
    failed = {CODES[c] if 0 <= c < len(CODES) else f"code {c}": n for c, n in per.items() if c != 0}
    return FailuresPart(patients=sum(per.values()), failed=failed)


def machine() -> HardwarePart:
    """On what this process computes, with the patients that a register of the native back end holds."""
    try:
        width: int | None = TARGETS.get(target(), ("", 2))[1]
    except MachineError:
        width = None
    about = hardware()
    return {"cpu": about["cpu"], "isa": about["isa"], "flags": about["flags"], "width": width}


def several_codes(steps: Mapping[str, StepPart]) -> str:
    """Which code made which steps, where they were not all made by the same; "" where they were."""
    by: dict[str, list[str]] = {}
    for step in sorted(steps, key=lambda name: list(STEPS).index(name) if name in STEPS else len(STEPS)):
        by.setdefault(steps[step].get("code", "")[:12], []).append(step)
    told = (f"{', '.join(made)} by {code or 'code that is not named'}" for code, made in by.items())
    return f"steps made by different code: {'; '.join(told)}" if len(by) > 1 else ""


def make(results: Results, files: dict[str, FilePart]) -> Manifest:
    """The manifest of a folder whose files are these and whose inputs/ are gathered. It reads the folder, and the audit
    trail as it stands."""
    study, folder = results.study, results.folder
    text = load(study.model, study.path.parent).text
    name = Path(study.model).stem
    own = FOLDER / f"{name}.py"
    lines = trail(results.audit.path.read_text(encoding="utf-8"))
    told = [json.loads(line) for line in lines]
    opened: dict[str, str] = {}
    for line in told:
        if line["event"] == "outcomes opened" and line["use"] != "discrepancy":
            opened.setdefault(line["evidence"], line["time"])
    simulated = next((line for line in reversed(told) if line["event"] == "simulated"), {})
    owner = results.calibrated.study
    stamps = sorted((folder / "made").glob("*.json"))
    return Manifest(
        format=FORMAT,
        study=StudyPart(
            name=study.name,
            title=study.title,
            fingerprint=fingerprint(study),
            plan=planned(study),
            seed=study.seed,
        ),
        model=ModelPart(
            name=name,
            sha256=digest(text),
            in_library=own.is_file() and digest(own.read_text()) == digest(text),
        ),
        code=CodePart(**code()),
        versions=versions(),
        hardware=simulated.get("hardware") or machine(),  # of who simulated, where the trail says
        numerics=study.numerics.model_dump(mode="json"),
        draws=study.analysis.draws,
        evidence={
            key: EvidencePart(
                file=use.file.as_posix(),
                sha256=file_digest(study.root / use.file),
                use=use.use,
                rows=len(evidence.arms(study.root / use.file)),
                opened=opened.get(key),
            )
            for key, use in study.evidence.items()
        },
        posterior=None
        if owner.calibration is None
        else PosteriorPart.model_validate({"from": owner.name, "sha256": file_digest(results.posterior_file)}),
        failures={arm: failures(results.arm_file(arm), len(study.visits)) for arm in study.arms},
        steps={path.stem: parsed(path.read_bytes(), spelt=True) for path in stamps},
        files=files,
        audit=AuditPart(lines=len(lines), head=digest(lines[-1])),
    )
