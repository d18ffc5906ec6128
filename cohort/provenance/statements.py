"""Where the manifest, the steps' stamps and inputs/ of a sealed folder say different things of one. Nothing of the
folder is executed: a study is read as the plain YAML that it is."""

import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from cohort import evidence
from cohort.bounded import BoundError, read, text
from cohort.provenance.bundle import STUDIES
from cohort.provenance.manifest import LARGEST, MADE_BY, STEPS, Manifest
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import digest

UNSTAMPED = ("report", "dossier")  # steps whose output the trail's hash tells of, and no stamp
ALWAYS = ("population", "simulate", "trial", "compare", "report")  # steps of every study
MAIN = {
    "population": ("population.parquet", "attrition.json"),
    "calibrate": ("posterior.nc",),
    "simulate": ("parameters.parquet",),
    "trial": ("trial.parquet",),
    "compare": ("comparison.nc",),
    "report": ("report.html",),
}


def sha_of(manifest: Manifest, name: str) -> str | None:
    return manifest.files[name].sha256 if name in manifest.files else None


def same(what: str, *said: Any) -> Iterator[str]:
    if any(each != said[0] for each in said):
        yield f"{what} is told in several ways"


def spelt(manifest: Manifest, folder: Path) -> Iterator[str]:
    """JSON of the folder that can be taken in two ways, or is none, or is not what `cohort` writes there."""
    for name in sorted(manifest.files):
        path = PurePosixPath(name)
        ours = len(path.parts) == 1 or path.parent.name == "made"  # written canonically
        if path.suffix != ".json" or not (ours or name.startswith("inputs/config/registered/")):
            continue
        try:
            if (folder / name).stat().st_size > LARGEST:
                raise SpellingError(f"larger than {LARGEST >> 20} MB")
            value = parsed((folder / name).read_bytes(), spelt=ours)
        except SpellingError as e:
            yield f"{name}: {e}"
            continue
        if name == "attrition.json" and not _is_attrition(value):
            yield f"{name}: not what `cohort population` writes"
        elif not isinstance(value, dict):
            yield f"{name}: not an object"


def _is_attrition(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"screened", "enrolled", "excluded"}:
        return False
    excluded = value["excluded"]
    counts = [value["screened"], value["enrolled"], *(excluded.values() if isinstance(excluded, dict) else [None])]
    return all(type(n) is int and n >= 0 for n in counts)


def complete(manifest: Manifest, undone: list[str]) -> Iterator[str]:
    """Outputs that no stamp tells of, and steps that are neither there nor said to be undone."""
    there = {MADE_BY.get(name.split("/")[0], "") for name in manifest.files}
    for step in STEPS:
        if step in there and step not in UNSTAMPED and step not in manifest.steps:
            yield f"{step}: made/{step}.json is missing, though its output is there"
    yield from (f"made/{step[:60]}.json: of no step" for step in manifest.steps if step not in STEPS)
    own = manifest.posterior is not None and manifest.posterior.study == manifest.study.name
    for step in (*ALWAYS, *(("calibrate",) if own else ())):
        outputs = MAIN[step] + (tuple(f"arms/{arm}.parquet" for arm in manifest.failures) if step == "simulate" else ())
        lacking = [name for name in outputs if name not in manifest.files]
        if lacking and step not in undone:
            yield f"{step}: {', '.join(lacking)} is missing, and the trail does not say that it was not run"
        elif step in undone and (not lacking or step in manifest.steps):
            yield f"{step}: the trail says that it was not run, though its output or stamp is there"


def stamps(manifest: Manifest, folder: Path) -> Iterator[str]:
    """Where made/<step>.json says other than the manifest, or than inputs/ holds."""
    study, steps = manifest.study, manifest.steps
    for name in manifest.files:
        if name.startswith("made/") and name.endswith(".json"):
            step = name.removeprefix("made/").removesuffix(".json")
            yield from same(name, steps.get(step), parsed((folder / name).read_bytes()))
    for step, rests in steps.items():
        if f"made/{step}.json" not in manifest.files:
            yield f"made/{step}.json is missing"
        yield from same(f"{step}: the study", study.fingerprint, rests.get("study"))
        yield from same(f"{step}: the model", manifest.model.sha256, rests.get("model"))
        for file, told in (rests.get("evidence", {}) | rests.get("people", {})).items():
            yield from same(f"{step}: {file}", told, sha_of(manifest, f"inputs/{file}"))
        for other, told in rests.get("learnt", {}).items():
            yield from same(
                f"{step}: what {other} taught", told, sha_of(manifest, f"inputs/results/{other}/comparison.nc")
            )
        if "registered" in rests:
            registered = sha_of(manifest, f"inputs/config/registered/{study.name}.json")
            yield from same(f"{step}: the registered prediction", rests["registered"], registered)
        if "comparison plan" in rests:
            yield from same(f"{step}: the plan of the comparison", rests["comparison plan"], study.plan)
        if "posterior" in rests:
            posterior = manifest.posterior and manifest.posterior.sha256
            yield from same(f"{step}: the posterior", rests["posterior"], posterior)


def inputs(manifest: Manifest, folder: Path) -> Iterator[str]:
    """Where inputs/ holds another model, evidence, posterior or lock than the manifest says."""
    study = manifest.study
    if manifest.posterior:
        owner = manifest.posterior.study
        place = "posterior.nc" if owner == study.name else f"inputs/results/{owner}/posterior.nc"
        yield from same("the posterior", manifest.posterior.sha256, sha_of(manifest, place))
    yield from same("requirements.lock", manifest.code["lock"], sha_of(manifest, "inputs/requirements.lock"))
    for name, version in manifest.code["versions"].items():
        yield from same(f"the version of {name[:60]}", version, manifest.versions.get(name))
    try:
        source = read(text(folder / "inputs" / STUDIES / f"{study.name}.yaml"))
    except BoundError as e:
        yield f"the study: {e}"
        return
    data = source.data
    if source.problems or not isinstance(data, dict):
        yield "the study in inputs/ is not one"
        return
    yield from _model(manifest, folder, data.get("model"))
    yield from _evidence(manifest, folder, data.get("evidence") or {})
    owner = data.get("parameters_from") or (study.name if data.get("calibration") is not None else None)
    yield from same("whose calibration it is", owner, manifest.posterior and manifest.posterior.study)


def _model(manifest: Manifest, folder: Path, reference: Any) -> Iterator[str]:
    if not isinstance(reference, str) or PurePosixPath(reference).stem != manifest.model.name:
        yield "the model's name is told in several ways"
        return
    own = reference.endswith(".py")
    name = posixpath.normpath(f"inputs/{STUDIES}/{reference}") if own else f"inputs/models/{reference}.py"
    if name not in manifest.files:
        yield f"the model {reference[:60]!r} is not in inputs/"
        return
    try:
        yield from same("the model's text", manifest.model.sha256, digest((folder / name).read_text(encoding="utf-8")))
    except UnicodeDecodeError:
        yield f"{name}: not UTF-8 text"


def _evidence(manifest: Manifest, folder: Path, named: Any) -> Iterator[str]:
    """Evidence as the study names it, with as many rows as the manifest says."""
    if not isinstance(named, dict) or named.keys() != manifest.evidence.keys():
        yield "the study in inputs/ names other evidence than the manifest"
        return
    for name, part in manifest.evidence.items():
        use = named[name] if isinstance(named[name], dict) else {}
        said = (str(PurePosixPath(str(use.get("file")))), use.get("use"))
        yield from same(f"evidence {name}: file and use", said, (part.file, part.use))
        sha = sha_of(manifest, f"inputs/{part.file}")
        yield from same(f"evidence {name}", part.sha256, sha)
        if sha is None:
            continue
        try:
            rows = len(evidence.arms(folder / "inputs" / part.file))
        except ValueError as e:
            yield f"evidence {name}: {str(e)[:200]}"
        else:
            yield from same(f"evidence {name}: its rows", rows, part.rows)
