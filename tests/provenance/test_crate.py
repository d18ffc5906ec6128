"""The sealed folder as a research object: what another tool reads of it, and what it must not say."""

import getpass
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cohort.provenance import crate
from cohort.provenance.manifest import read_manifest
from cohort.provenance.signature import sign
from cohort.record import Audit, file_digest

RUNCRATE = ".tools/peers/bin/runcrate"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def written(folder: Path) -> dict[str, dict[str, Any]]:
    """The entities of the crate, by their id."""
    crate.write(folder, read_manifest(folder))
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    return entities


def references(value: Any) -> Iterator[str]:
    """Every id that something refers to."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        if set(value) == {"@id"}:
            yield value["@id"]
        for each in value.values():
            yield from references(each)


def ids(value: list[dict[str, str]]) -> set[str]:
    return {each["@id"] for each in value}


def test_it_declares_the_profiles_and_its_workflow(copy):
    entities = written(copy)
    root = entities["./"]
    assert entities["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.3"}
    assert ids(root["conformsTo"]) == {
        "https://w3id.org/ro/wfrun/process/0.6",
        "https://w3id.org/ro/wfrun/workflow/0.6",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.1",
    }
    workflow = entities[root["mainEntity"]["@id"]]
    assert set(workflow["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert entities[workflow["programmingLanguage"]["@id"]]["@type"] == "ComputerLanguage"
    assert {"@id": "#run"} in root["mentions"]
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))


def test_the_run_goes_from_inputs_to_outputs(copy):
    entities, manifest = written(copy), read_manifest(copy)
    run = entities["#run"]
    assert run["@type"] == "CreateAction"
    assert run["instrument"] == entities["./"]["mainEntity"]
    named = {unquote(i) for i in ids(run["object"] + run["result"])}
    assert named - {"#seed", "#draws"} == set(manifest.files)
    assert {unquote(i) for i in ids(run["object"])} - {"#seed", "#draws"} == {
        name for name in manifest.files if name.startswith("inputs/")
    }
    assert entities["#seed"]["value"] == str(manifest.study.seed)
    lines = Audit(copy / "audit.jsonl").lines()
    assert run["startTime"] == lines[0]["time"]
    assert run["endTime"] == next(line["time"] for line in reversed(lines) if line["event"] != "sealed")
    assert "agent" not in run


def test_every_file_stands_with_its_hash_and_everything_that_is_referred_to_is_there(copy):
    entities, manifest = written(copy), read_manifest(copy)
    for name, part in manifest.files.items():
        entity = next(e for i, e in entities.items() if unquote(i) == name)
        assert entity["sha256"] == part.sha256
        assert entity["contentSize"] == str(part.bytes)
    assert entities["manifest.json"]["sha256"] == file_digest(copy / "manifest.json")
    there = {unquote(i) for i in ids(entities["./"]["hasPart"])}
    assert there == {*manifest.files, "manifest.json", "audit.jsonl"}
    for entity in entities.values():
        missing = [i for i in references({k: v for k, v in entity.items() if k != "@id"}) if i not in entities]
        assert [i for i in missing if i != "https://w3id.org/ro/crate/1.3"] == [], entity["@id"]


def test_versions_and_licences_are_named(copy):
    entities, manifest = written(copy), read_manifest(copy)
    software = entities["#software-cohort"]
    assert software["softwareVersion"] == manifest.code["cohort"]
    assert software["license"] == {"@id": "https://spdx.org/licenses/Apache-2.0"}
    needed = {entities[i]["name"]: entities[i]["softwareVersion"] for i in ids(software["softwareRequirements"])}
    assert needed == {"Python": manifest.code["python"], **manifest.code["versions"]}
    assert entities[entities["./"]["license"]["@id"]]["name"] == "No licence stated"


def test_the_same_folder_gives_the_same_bytes_anywhere(copy, tmp_path):
    crate.write(copy, read_manifest(copy))
    first = (copy / "ro-crate-metadata.json").read_bytes()
    time.sleep(1.1)  # a clock that is read would show
    moved = Path(shutil.copytree(copy, tmp_path / "a folder elsewhere"))
    crate.write(moved, read_manifest(moved))
    assert (moved / "ro-crate-metadata.json").read_bytes() == first


def test_it_names_no_place_no_user_and_no_machine(copy):
    written(copy)
    text = (copy / "ro-crate-metadata.json").read_text()
    assert str(copy.parent) not in text
    assert re.findall(r'"(?:file:|[A-Za-z]:|~|/)[^"]*"', text) == []  # a value that is an absolute path
    for name in (socket.gethostname(), getpass.getuser()):
        assert not re.search(rf"\b{re.escape(name)}\b", text), name


def test_who_signed_endorsed_the_manifest_and_did_not_run_it(copy):
    made = sign(copy, KEY, "Jane Doe", "approved as statistician")
    entities = written(copy)
    endorsed = entities[f"#signature-{made.key}"]
    assert endorsed["@type"] == "EndorseAction"
    assert entities[endorsed["agent"]["@id"]]["name"] == "Jane Doe"
    assert endorsed["object"] == {"@id": "manifest.json"}
    assert endorsed["endTime"] == made.time
    assert endorsed["name"] == "approved as statistician"
    assert "agent" not in entities["#run"]


def test_lines_after_the_sealing_are_not_retold(copy):
    written(copy)
    before = (copy / "ro-crate-metadata.json").read_text()
    with (copy / "audit.jsonl").open("a") as f:
        f.write("no record\n")
    written(copy)
    assert (copy / "ro-crate-metadata.json").read_text() == before


def test_a_signature_that_is_not_valid_is_not_retold(copy):
    made = sign(copy, KEY, "Jane Doe", "approved as statistician")
    file = copy / "signatures" / made.file
    file.write_text(file.read_text().replace("Jane", "Joan"))
    assert not [e for e in written(copy).values() if e["@type"] in ("EndorseAction", "Person")]


@pytest.mark.faults
def test_runcrate_reads_the_run(root: Path, copy):
    """Another group's program: it follows instrument, object and result."""
    program = root / RUNCRATE
    if not program.exists():
        pytest.skip(f"{RUNCRATE} is not there; `make test-faults` installs it")
    sign(copy, KEY, "Jane Doe", "approved as statistician")
    crate.write(copy, read_manifest(copy))
    offline = {"PATH": "/usr/bin:/bin", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([program, "report", copy], capture_output=True, text=True, env=offline, timeout=120)
    assert done.returncode == 0, done.stderr
    blocks = done.stdout.split("action: ")[1:]
    assert len(blocks) == 1
    assert blocks[0].startswith("#run\n")
    assert "instrument: inputs/config/studies/small.yaml" in blocks[0]
    inputs, outputs = blocks[0].split("inputs:")[1].split("outputs:")
    files = read_manifest(copy).files
    assert {line.strip() for line in inputs.splitlines()} >= {name for name in files if name.startswith("inputs/")}
    assert {line.strip() for line in outputs.splitlines() if line.strip()} == {
        name for name in files if not name.startswith("inputs/")
    }
