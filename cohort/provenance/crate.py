"""The sealed folder as a research object that other tools read: Workflow Run RO-Crate 0.6 [1] on RO-Crate 1.3.

The workflow is the study file, for that is what `cohort` runs; the run is one CreateAction from inputs/ to all other
sealed files. Nothing records who ran it, so no agent is named; who signed is named as what they are: one who endorsed
the manifest. The file retells manifest, trail and signatures, is no part of what is sealed, and has the same bytes
whenever it is written.

[1] https://w3id.org/ro/wfrun/workflow/0.6, and process/0.6 beneath it
"""

import json
import mimetypes
from collections.abc import Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from rocrate.model.computationalworkflow import ComputationalWorkflow
from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from cohort.provenance.integrity import read_lines
from cohort.provenance.manifest import NAME, Manifest
from cohort.provenance.signature import Signed, check
from cohort.record import digest
from cohort.store import write_text

FILE = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.6": ("Process Run Crate", "0.6"),
    "https://w3id.org/ro/wfrun/workflow/0.6": ("Workflow Run Crate", "0.6"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.1": ("Workflow RO-Crate", "1.1"),
}
KINDS = {
    ".parquet": "application/vnd.apache.parquet",
    ".nc": "application/x-netcdf",
    ".yaml": "application/yaml",
    ".jsonl": "application/jsonl",
    ".py": "text/x-python",
    ".lock": "text/plain",
    ".xpt": "application/x-sas-xport",
}
LICENCE = "https://spdx.org/licenses/Apache-2.0"


def write(folder: Path, manifest: Manifest) -> None:
    """Write ro-crate-metadata.json from the manifest, the trail and the signatures of this folder."""
    write_text(folder / FILE, text(folder, manifest))


def text(folder: Path, manifest: Manifest) -> str:
    """What `write` writes. It holds paths within the folder alone, no user and no machine's name."""
    told = [line for _, line in islice(read_lines(folder), manifest.audit.lines) if line]
    steps = [line for line in told if line["event"] != "sealed"]
    crate = ROCrate()
    crate.root_dataset["datePublished"] = told[-1]["time"]  # when it was sealed, not when this is written
    crate.name = f"{manifest.study.title}: results of an in-silico trial"
    crate.description = (
        "Simulated patients, not people. Sealed by cohort: manifest.json holds the hash of every file, and what the "
        "results rest on; `cohort verify` checks them and makes a sample of patients again."
    )
    crate.license = _context(
        crate,
        "#licence",
        "CreativeWork",
        name="No licence stated",
        description="Whoever made these results says under which terms they may be used. The software: Apache-2.0.",
    )
    profiles = [
        _context(crate, url, ["CreativeWork", "Profile"], name=name, version=version)
        for url, (name, version) in PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles
    files = {name: _file(crate, manifest, name) for name in sorted(manifest.files)}
    workflow = files[_workflow(manifest)]
    workflow["programmingLanguage"] = _context(
        crate,
        "#study-file",
        "ComputerLanguage",
        name="cohort study file",
        description="YAML in the order of a protocol synopsis; cohort runs it step by step",
        version=manifest.code["cohort"],
    )
    workflow["softwareRequirements"] = _software(crate, manifest)
    crate.mainEntity = workflow
    run = _context(
        crate,
        "#run",
        "CreateAction",
        name=f"cohort run {manifest.study.name}",
        description=f"Steps as the audit trail tells them, in order: {', '.join(line['event'] for line in steps)}",
        startTime=told[0]["time"],
        endTime=(steps or told)[-1]["time"],
        instrument=workflow,
        actionStatus="http://schema.org/CompletedActionStatus",
        object=[
            *(files[name] for name in files if _is_input(name)),
            _context(crate, "#seed", "PropertyValue", name="seed", value=str(manifest.study.seed)),
            _context(crate, "#draws", "PropertyValue", name="parameter draws", value=str(manifest.draws)),
        ],
        result=[files[name] for name in files if not _is_input(name)],
    )
    sealed = _add(crate, NAME, {"about": run, "sha256": digest(manifest.text), "description": "hash of every file"})
    _add(crate, "audit.jsonl", {"about": run, "description": "audit trail; it may grow after sealing"})
    crate.root_dataset["mentions"] = [run, *(_signed(crate, s, sealed) for s in check(folder, {}) if s.valid)]
    return json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _workflow(manifest: Manifest) -> str:
    return f"inputs/config/studies/{manifest.study.name}.yaml"


def _is_input(name: str) -> bool:
    return name.startswith("inputs/")


def _file(crate: ROCrate, manifest: Manifest, name: str) -> Entity:
    part = manifest.files[name]
    facts: dict[str, Any] = {"sha256": part.sha256, "contentSize": str(part.bytes)}
    if part.rows is not None:
        facts["description"] = f"{part.rows} rows"
    return _add(crate, name, facts, ComputationalWorkflow if name == _workflow(manifest) else File)


def _add(crate: ROCrate, name: str, facts: Mapping[str, Any], kind: type[File] = File) -> Entity:
    suffix = PurePosixPath(name).suffix
    known = KINDS.get(suffix) or mimetypes.types_map.get(suffix) or "application/octet-stream"
    made = kind(crate, dest_path=name, properties={"name": name, "encodingFormat": known, **facts})
    crate.add(made)
    return made


def _context(crate: ROCrate, identity: str, kind: str | list[str], **facts: Any) -> Entity:
    made = ContextEntity(crate, identity, properties={"@type": kind, **facts})
    crate.add(made)
    return made


def _software(crate: ROCrate, manifest: Manifest) -> Entity:
    """The programs that ran, with the versions that the manifest calls decisive; it lists every other as well."""
    decisive = {"Python": manifest.code["python"], **manifest.code["versions"]}
    needed = [
        _context(crate, f"#software-{name}", "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in sorted(decisive.items())
    ]
    commit = manifest.code.get("commit")
    changed = ", with changes that were not committed" if manifest.code.get("changed_since_commit") else ""
    return _context(
        crate,
        "#software-cohort",
        "SoftwareApplication",
        name="cohort",
        description=f"in-silico clinical trials; commit {commit}{changed}" if commit else "in-silico clinical trials",
        softwareVersion=manifest.code["cohort"],
        softwareRequirements=needed,
        license=_context(crate, LICENCE, "CreativeWork", name="Apache License 2.0", identifier="Apache-2.0"),
    )


def _signed(crate: ROCrate, signed: Signed, sealed: Entity) -> Entity:
    """Whoever signed, as one who endorsed the manifest; whether the key is theirs, a verifier's key file says."""
    file = _add(crate, f"signatures/{signed.file}", {"about": sealed})
    person = _context(crate, f"#signer-{signed.key}", "Person", name=signed.name, description="as the signature says")
    return _context(
        crate,
        f"#signature-{signed.key}",
        "EndorseAction",
        name=signed.meaning,
        agent=person,
        object=sealed,
        result=file,
        endTime=signed.time,
    )
