"""What a sealed folder says of itself, said twice or left out: found before anything of it runs, and never a crash."""

import json
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from forging import Lines, cohort, forged
from small_study import STUDY

from cohort.provenance import integrity
from cohort.provenance.contents import summary
from cohort.provenance.integrity import TRAIL
from cohort.provenance.manifest import ManifestError, entries, read_manifest, several_codes
from cohort.provenance.seal import SealError, seal
from cohort.provenance.spelling import SpellingError, parsed
from cohort.record import Audit, canonical, digest, file_digest
from cohort.results import Results, open_results

SMALL = "inputs/config/evidence/small.csv"
REGISTERED = "inputs/config/registered/small.json"


def wrong(folder: Path) -> str:
    """Everything that does not agree."""
    manifest = read_manifest(folder)
    lines = list(integrity.read_lines(folder))
    assert list(integrity.trail(manifest, lines)) == []
    return "; ".join(integrity.agreement(manifest, folder, lines))


def written(text: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def prefixed(pair: str) -> Callable[[Path], object]:
    """Another value of a key before the one that programs of ours would take."""
    return lambda path: path.write_text(path.read_text().replace("{", "{" + pair + ",", 1))


def test_an_honest_folder_agrees(sealed: Path):
    assert wrong(sealed) == ""


# -------------------------------------------------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a":1,"a":2}', "'a' stands twice"),
        ('[{"b":{"c":1,"d":2,"c":1}}]', "'c' stands twice"),
        ("[" * 200_000, "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_json_says_one_thing(text: str | bytes, said: str):
    with pytest.raises(SpellingError, match=said):
        parsed(text)


@pytest.mark.parametrize("text", ['{"b":1,"a":2}', '{"a": 1}', "1e2", "NaN", '"\\u00e9"', "1\n"])
def test_what_is_hashed_has_one_spelling(text: str):
    parsed(text.replace("\n", ""))
    with pytest.raises(SpellingError):
        parsed(text, spelt=True)
    assert parsed(canonical(parsed('{"b":1.5,"a":"\\u00e9"}')), spelt=True) == {"a": "é", "b": 1.5}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("made/trial.json", prefixed('"model":"other"'), "made/trial.json: the key 'model' stands twice"),
        ("made/trial.json", lambda p: p.write_text(p.read_text() + "\n"), "made/trial.json: not spelt canonically"),
        ("attrition.json", prefixed('"enrolled":9999'), "attrition.json: the key 'enrolled' stands twice"),
        ("attrition.json", written("{"), "attrition.json: not JSON"),
        ("attrition.json", written("[1]"), "attrition.json: not what"),
        ("attrition.json", written('{"enrolled":80}'), "attrition.json: not what"),
        ("attrition.json", written('{"enrolled":80,"excluded":{"age":-1},"screened":90}'), "attrition.json: not what"),
        ("made/trial.json", written("{"), "made/trial.json: not JSON"),
        ("made/trial.json", written("[" * 200_000), "made/trial.json: not JSON"),
        ("made/other.json", written("{}"), "made/other.json: of no step"),
        ("inputs/results/laplace/made/calibrate.json", prefixed('"note":"x","note":"y"'), "'note' stands twice"),
        ("inputs/models/evolocumab.py", written(b"\xff\xfe"), "not UTF-8"),
        (SMALL, written(b"\xff\xfe"), "evidence small: "),
    ],
)
def test_json_that_can_be_taken_in_two_ways_or_is_none_is_found(copy: Path, name: str, change, said: str):
    forged(copy, name, change)
    assert said in wrong(copy)


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "{}", '{"predictions_hash":1,"predictions":{},"identity":{}}'])
def test_a_registration_that_is_none_is_found(copy: Path, text: str):
    (copy / REGISTERED).parent.mkdir()
    forged(copy, REGISTERED, written(text))
    assert REGISTERED in wrong(copy)


def test_a_line_of_the_trail_has_one_spelling_and_no_key_twice(copy: Path):
    """Also where its hash is mended."""
    for pair in ('"patients":1,"patients"', '"patients" '):
        lines = (copy / "audit.jsonl").read_text().splitlines()
        lines[1] = lines[1].replace('"patients"', pair)
        for i in range(2, len(lines)):
            lines[i] = canonical(json.loads(lines[i]) | {"previous": digest(lines[i - 1])})
        other = Path(shutil.copytree(copy, copy.parent / f"other{len(pair)}"))
        (other / "audit.jsonl").write_text("\n".join(lines) + "\n")
        found = list(integrity.trail(read_manifest(other), list(integrity.read_lines(other))))
        assert "line 2 is no record" in found[0]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("hardware", {"cpu": "x", "isa": 5, "flags": {}, "width": 2}),
        ("hardware", {"cpu": "x", "isa": [{}], "flags": {}, "width": 2}),
        ("steps", {"trial": {"code": [1]}}),
        ("steps", {"compare": {"evidence": [1]}}),
        ("steps", {"trial": {"note": "approved"}}),
        ("code", {"cohort": "1"}),
    ],
)
def test_a_manifest_holds_what_is_asked_of_it(copy: Path, part: str, value: dict[str, Any]):
    data = json.loads((copy / "manifest.json").read_text()) | {part: value}
    (copy / "manifest.json").write_text(canonical(data) + "\n")
    with pytest.raises(ManifestError, match=part):
        read_manifest(copy)


# ------------------------------------------------------------------------------------------------ manifest and inputs


def without(folder: Path, *names: str) -> dict[str, Any]:
    """Without files; returns the steps that have a stamp still."""
    for name in names:
        (folder / name).unlink()
    steps = json.loads((folder / "manifest.json").read_text())["steps"]
    return {step: rests for step, rests in steps.items() if (folder / f"made/{step}.json").is_file()}


def test_an_output_needs_the_stamp_of_its_step(copy: Path):
    forged(copy, steps=without(copy, "made/trial.json"))
    assert "trial: made/trial.json is missing, though its output is there" in wrong(copy)


def test_a_step_that_is_gone_was_said_to_be_undone(copy: Path):
    forged(copy, steps=without(copy, "made/trial.json", "trial.parquet"))
    assert "trial: trial.parquet is missing, and the trail does not say that it was not run" in wrong(copy)
    forged(copy, retold=lambda lines: [*lines[:-1], lines[-1] | {"undone": ["trial", "compare", "report"]}])
    assert wrong(copy) == ""
    forged(copy, retold=lambda lines: [*lines[:-1], lines[-1] | {"undone": ["simulate", "trial", "compare", "report"]}])
    assert "simulate: the trail says that it was not run" in wrong(copy)


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("evidence", "rows", 99, "evidence small: its rows"),
        ("evidence", "use", "calibration", "evidence small: file and use"),
        ("evidence", "file", "config/evidence/laplace.csv", "evidence small: file and use"),
        ("evidence", "opened", "2026-01-01T00:00:00.000+00:00", "opened at another time, or not"),
        ("model", "name", "another", "the model's name"),
    ],
)
def test_facts_of_the_manifest_follow_from_inputs(copy: Path, part: str, key: str, value: object, said: str):
    data = json.loads((copy / "manifest.json").read_text())
    one = data["evidence"]["small"] if part == "evidence" else data[part]
    one[key] = value
    forged(copy, **{part: data[part]})
    assert said in wrong(copy)


def test_whose_posterior_it_is_follows_from_the_study(copy: Path):
    forged(copy, posterior=None)
    assert "whose calibration it is" in wrong(copy)


def test_the_lock_is_the_one_that_the_code_names(copy: Path):
    forged(copy, "inputs/requirements.lock", written("numpy==1.0\n"))
    assert "requirements.lock is told in several ways" in wrong(copy)


def test_versions_are_those_that_the_code_names(copy: Path):
    forged(copy, versions={})
    assert "the version of jax is told" in wrong(copy)


# ------------------------------------------------------------------------------------------------------------ trail


def retelling(event: str, **facts: Any) -> Callable[[Lines], Lines]:
    return lambda lines: [line | facts if line["event"] == event else line for line in lines]


@pytest.mark.parametrize(
    ("retold", "said"),
    [
        (retelling("simulated", time="yesterday"), "line 2 of the trail has no time"),
        (retelling("simulated", time="2026-11-26T00:00:00"), "line 2 of the trail has no time"),
        (retelling("simulated", time=5), "line 2 of the trail has no time"),
        (retelling("simulated", patients="many"), "line 2 of the trail, 'simulated', does not tell patients"),
        (retelling("population", screened=10**6), "attrition.json: other counts"),
        (retelling("population", study="another"), "another study, 'another'"),
        (retelling("simulated", failed=777), "failed; the trail tells otherwise"),
        (retelling("simulated", hardware={"cpu": "another"}), "hardware: another"),
        (retelling("trials", draws=10**6), "16 draws; the trail tells otherwise"),
        (lambda lines: [line for line in lines if line["event"] != "trials"], "trial: the trail does not tell"),
    ],
)
def test_the_trail_tells_what_the_folder_holds(copy: Path, retold, said: str):
    forged(copy, retold=retold)
    assert said in wrong(copy)


def test_steps_may_be_repeated(copy: Path):
    forged(copy, retold=lambda lines: [*lines[:2], lines[0] | {"screened": 1}, *lines[:3], *lines[1:]])
    assert wrong(copy) == ""


def test_later_lines_are_counted_and_a_trail_without_end_is_not_read(copy: Path):
    for _ in range(15):
        Audit(copy / "audit.jsonl").append("x" * 100)
    manifest, lines = read_manifest(copy), list(integrity.read_lines(copy))
    said = integrity.later(manifest, lines)
    assert said.endswith(", ".join(["x" * 60] * 10) + " and 5 more")
    with (copy / "audit.jsonl").open("a") as f:
        f.write("x" * TRAIL)
    assert list(integrity.read_lines(copy)) == [("", None)]


@pytest.mark.faults
def test_four_hundred_thousand_lines_after_the_seal_take_no_memory(copy: Path):
    previous = digest((copy / "audit.jsonl").read_text().splitlines()[-1])
    with (copy / "audit.jsonl").open("a") as f:
        for _ in range(400_000):
            line = canonical({"event": "x", "previous": previous, "time": "2027-01-01T00:00:00+00:00"})
            f.write(line + "\n")
            previous = digest(line)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = list(integrity.trail(read_manifest(copy), list(integrity.read_lines(copy))))
    assert "more than 16 MB" in found[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


# ------------------------------------------------------------------------------------------------- files and places


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "inputs/._a", "arms/desktop.ini"])
def test_what_a_file_browser_added_is_named_as_such(copy: Path, name: str):
    (copy / name).write_bytes(b"x")
    found = "; ".join(integrity.files(read_manifest(copy), entries(copy)[0]))
    assert found == f"{name!r} is not in the manifest, added by a file browser: remove it"


def test_what_a_file_browser_added_is_not_sealed(fresh: Results):
    (fresh.folder / "arms/.DS_Store").write_bytes(b"x")
    with pytest.raises(SealError, match=r"\.DS_Store: added by a file browser; remove it"):
        seal(fresh, partial=True)


def test_a_place_whose_name_looks_like_a_pattern_is_a_place(fresh: Results, tmp_path: Path):
    moved = tmp_path / "odd [1] *x"
    shutil.copytree(fresh.study.root, moved)
    manifest = seal(open_results(moved / STUDY), partial=True).manifest
    assert manifest.files["trial.parquet"].rows
    assert wrong(moved / "results/small") == ""


def test_an_export_that_the_trail_does_not_tell_of_is_found(copy: Path):
    (copy / "export").mkdir()
    forged(copy, "export/adsl.csv", written("usubjid,ldl\n1,-99\n"))
    forged(copy, "dossier.html", written("approved"))
    found = wrong(copy)
    assert "export: made/export.json is missing" in found
    assert "export/: other files than the audit trail tells of" in found
    assert "dossier.html: the audit trail does not tell of it" in found


# ------------------------------------------------------------------------------------------------------- code


def test_steps_made_by_different_code_are_told(fresh: Results):
    stamp = fresh.folder / "made/trial.json"
    stamp.write_text(canonical(json.loads(stamp.read_text()) | {"code": "e" * 64}))
    sealed = seal(fresh, partial=True)
    own = sealed.manifest.steps["simulate"]["code"][:12]  # type: ignore[reportTypedDictNotRequiredAccess]
    assert sealed.warning == (f"steps made by different code: population, simulate by {own}; trial by {'e' * 12}")
    del sealed.manifest.steps["trial"]
    assert several_codes(sealed.manifest.steps) == ""


# ------------------------------------------------------------------------------------------- a folder with all steps


@pytest.fixture
def whole(complete: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "whole"))


def dropped(event: str) -> Callable[[Lines], Lines]:
    return lambda lines: [line for line in lines if line["event"] != event]


def swapped(first: str, second: str) -> Callable[[Lines], Lines]:
    """With two events in each other's place."""

    def change(lines: Lines) -> Lines:
        i, j = (next(k for k, line in enumerate(lines) if line["event"] == event) for event in (first, second))
        lines[i], lines[j] = lines[j], lines[i]
        return lines

    return change


@pytest.mark.faults
@pytest.mark.parametrize(
    ("retold", "said"),
    [
        (swapped("predictions frozen", "outcomes opened"), "outcomes were opened before predictions were frozen"),
        (dropped("predictions frozen"), "compared before predictions were frozen"),
        (dropped("outcomes opened"), "evidence small: compared without being opened"),
        (dropped("compared"), "compare: the trail does not tell"),
        (retelling("outcomes opened", sha256="0" * 64), "evidence small: compared without being opened as it stands"),
        (retelling("outcomes opened", use="discrepancy"), "evidence small: compared without being opened"),
        (retelling("predictions frozen", plan="another"), "another plan"),
        (retelling("predictions frozen", identity={}), "its predictions rest on something else"),
        (retelling("predictions frozen", plan=[1]), "tells of a plan that is none"),
        (retelling("registered", predictions="0" * 64), "not one that the trail tells of"),
    ],
)
def test_predictions_were_frozen_before_outcomes_were_opened(whole: Path, retold, said: str):
    forged(whole, retold=retold)
    assert said in wrong(whole)


@pytest.mark.faults
def test_a_comparison_cannot_be_left_unasked(whole: Path):
    forged(whole, steps=without(whole, "made/trial.json", "made/compare.json"))
    for step in ("trial", "compare"):
        assert f"{step}: made/{step}.json is missing" in wrong(whole)


def registering(folder: Path, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Change the registered prediction, and what is stamped of it; returns the steps."""
    path, steps = folder / REGISTERED, read_manifest(folder).steps
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    steps["compare"]["registered"] = file_digest(path)
    (folder / "made/compare.json").write_text(canonical(steps["compare"]))
    return {**steps}


def summarised(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with h5py.File(folder / "comparison.nc", "r+") as f:
        found = json.loads(str(f.attrs["summary"]))
        change(found)
        f.attrs["summary"] = canonical(found)


@pytest.mark.faults
def test_a_registration_that_was_edited_is_found(whole: Path):
    """Its hash kept, and what the comparison repeats of it mended."""

    def lower(registered: dict[str, Any]) -> None:
        registered["predictions"]["arms"]["ldl_change"]["evolocumab_140_q2w"]["mean"] -= 20

    forged(whole, steps=registering(whole, lower))
    assert "file_hash, registered is not what the registration says" in wrong(whole)
    registered = json.loads((whole / REGISTERED).read_text())["predictions"]
    mended = {"file_hash": file_digest(whole / REGISTERED), "registered": registered}
    summarised(whole, lambda found: found["standing"].update(mended))
    forged(whole)
    assert wrong(whole) == "the registered prediction has the hash of what was predicted, and other values"


@pytest.mark.faults
def test_a_registration_with_another_hash_is_found(whole: Path):
    """Also where the trail does not tell of it: it may have been registered in another folder."""
    steps = registering(whole, lambda found: found.update(predictions_hash="0" * 64))
    forged(whole, retold=dropped("registered"), steps=steps)
    assert "identical is not what the registration says" in wrong(whole)


@pytest.mark.faults
def test_a_registration_of_another_folder_is_none_of_this_trail(whole: Path):
    forged(whole, retold=dropped("registered"))
    assert wrong(whole) == ""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["standing"].update(status="registered", reasons=[]), "it was not committed before"),
        (lambda found: found["standing"].update(status="registered"), "is not what its reasons say"),
        (lambda found: found.pop("standing"), "how its predictions stand is not said"),
        (lambda found: found.update(comparison={"standing": None}), "another plan of the comparison"),
        (lambda found: found.pop("predictions"), "no summary that can be read"),
    ],
)
def test_a_comparison_says_how_it_stands_as_trail_and_registration_do(whole: Path, change, said: str):
    summarised(whole, change)
    forged(whole)
    assert said in wrong(whole)


@pytest.mark.faults
def test_what_was_registered_was_committed_before_the_outcomes_were_opened(fresh: Results, tmp_path: Path):
    """As the comparison says; that it says the truth, git alone could tell."""

    def git(*words: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", fresh.study.root, *who, *words], check=True, capture_output=True)

    assert cohort("register", fresh.study.path).exit_code == 0
    git("init", "-q")
    git("add", "config")
    git("commit", "-qm", "registered")
    for verb in ("compare", "report", "seal"):
        assert cohort(verb, fresh.study.path).exit_code == 0
    assert summary(fresh.folder / "comparison.nc")["standing"]["status"] == "registered"
    assert wrong(fresh.folder) == ""
    later = {"committed": "2100-01-01T00:00:00+00:00"}
    copy = Path(shutil.copytree(fresh.folder, tmp_path / "copy"))
    summarised(copy, lambda found: found["standing"].update(later))
    forged(copy)
    assert "it was not committed before the outcomes were opened" in wrong(copy)


@pytest.mark.faults
def test_a_comparison_without_tables_is_an_answer(whole: Path):
    with h5py.File(whole / "comparison.nc", "r+") as f:
        del f.attrs["summary"]
    forged(whole)
    assert "comparison.nc: it has no summary that can be read" in wrong(whole)


@pytest.mark.faults
def test_steps_may_be_repeated_and_sealed_again(complete: Path, tmp_path: Path):
    project = Path(shutil.copytree(complete.parents[1], tmp_path / "project"))
    for verb in ("population", "compare", "compare", "report", "export", "seal"):
        done = cohort(verb, project / STUDY)
        assert done.exit_code == 0, done.output
        assert ("seal it again" in done.stderr) == (verb == "export")
    assert wrong(project / "results/small") == ""
