"""A manifest says one thing in one spelling, of every file that is sealed, and of nothing else."""

import json
import os
from pathlib import Path

import polars as pl
import pytest

from cohort.provenance.manifest import ManifestError, entries, failures, plain_path, read_manifest
from cohort.provenance.seal import SealError, seal
from cohort.record import Audit, canonical, digest, file_digest
from cohort.results import Results
from cohort.store import content_digest
from cohort.study import fingerprint


def test_every_file_is_in_it_with_its_hash(sealed: Path):
    manifest = read_manifest(sealed)
    there = {p.relative_to(sealed).as_posix() for p in sealed.rglob("*") if p.is_file()}
    assert set(manifest.files) == there - {"manifest.json", "audit.jsonl", "ro-crate-metadata.json", "state/lock"}
    for name, part in manifest.files.items():
        assert (part.sha256, part.bytes) == (file_digest(sealed / name), (sealed / name).stat().st_size)
        if name.endswith(".parquet"):
            assert part.rows == pl.read_parquet(sealed / name).height
            assert part.content == content_digest(sealed / name)


def test_it_says_what_the_results_rest_on(sealed: Path, run: Results):
    manifest, study = read_manifest(sealed), run.study
    assert (manifest.study.fingerprint, manifest.study.seed) == (fingerprint(study), study.seed)
    assert manifest.model.in_library
    assert manifest.posterior is not None
    assert (manifest.posterior.study, manifest.posterior.sha256) == ("laplace", file_digest(run.posterior_file))
    assert manifest.evidence["small"].rows == 3
    assert manifest.evidence["small"].opened is None  # nothing was compared
    assert run.basis("trial").items() <= manifest.steps["trial"].items()
    lanes = 80 + 16 * 20
    assert {arm: (f.patients, f.failed) for arm, f in manifest.failures.items()} == {a: (lanes, {}) for a in study.arms}
    assert manifest.versions["jax"] == manifest.code["versions"]["jax"]


def test_failures_are_counted_by_their_reason(tmp_path: Path):
    code = [0, 0, 2, 2, 0, 0, 3, 3, 2, 2]  # two visits each
    pl.DataFrame({"code": pl.Series(code, dtype=pl.Int8)}).write_parquet(tmp_path / "a.parquet")
    found = failures(tmp_path / "a.parquet", 2)
    assert found.patients == 5
    assert found.failed == {"not finite": 2, "out of plausible range": 1}


def test_its_text_is_canonical_and_reads_back(sealed: Path):
    text = (sealed / "manifest.json").read_text()
    assert text == canonical(json.loads(text)) + "\n" == read_manifest(sealed).text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(",", ", ", 1), "not spelt canonically"),
        (lambda text: text.replace("manifest 1", "manifest 2"), "its format is 'cohort manifest 2'"),
        (lambda text: text[:-200], "not JSON"),
        (lambda text: text.replace('"draws":16', '"draws":16.0'), "draws"),
        (lambda text: text.replace('"draws":16', '"draws":16,"trusted":true'), "trusted"),
        (lambda text: text.replace('"trial.parquet"', '"../trial.parquet"'), "no path of a sealed file"),
        (lambda text: text.replace('"trial.parquet"', '"/trial.parquet"'), "no path of a sealed file"),
        (lambda text: "[" * 100_000, "not JSON"),
        (lambda text: "3", "manifest.json"),
        (lambda text: text.replace('"draws":16', '"draws":8,"draws":16'), "'draws' stands twice"),
        (lambda text: text.replace('"made/trial.json"', '"inputs/.git/config"'), "no path of a sealed file"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(copy: Path, change, said: str):
    before = (copy / "manifest.json").read_text()
    after = change(before)
    if '"../' in after or '"/trial' in after or ".git" in after:
        after = canonical(json.loads(after)) + "\n"
    assert after != before
    (copy / "manifest.json").write_text(after)
    with pytest.raises(ManifestError, match=said):
        read_manifest(copy)


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "/a", "a//b", "./a", "a/", "", "a\\b", "a\0b", "a\nb", "e\u0301", "a/.git/b", ".GIT"]
)
def test_a_path_has_one_spelling_below_the_folder(name: str):
    assert not plain_path(name)
    assert plain_path("arms/placebo é.parquet")


def test_links_are_no_files_of_a_folder(copy: Path):
    (copy / "tables").symlink_to("/etc")
    os.mkfifo(copy / "pipe")
    (copy / "inputs/.git").mkdir()
    (copy / "inputs/.git/config").write_text("[core]\nfsmonitor = touch ran\n")
    found, wrong = entries(copy)
    assert not any(name.startswith(("tables", "pipe", "inputs/.git")) for name in found)
    assert sorted(wrong) == [
        "'inputs/.git' is a repository of git",
        "'pipe' is neither a file nor a folder",
        "'tables' is a symbolic link",
    ]


def test_a_folder_gives_one_manifest(fresh: Results):
    """But for the line of the trail that tells of the sealing, with its time."""
    first = seal(fresh, partial=True).manifest
    again = seal(fresh, partial=True).manifest
    assert first.files == again.files
    assert again.audit.lines == first.audit.lines + 1
    same = {"audit": again.audit}
    assert first.model_copy(update=same).text == again.text


def test_the_trail_tells_of_the_sealing_and_its_head_is_in_the_manifest(sealed: Path):
    manifest, text = read_manifest(sealed), (sealed / "audit.jsonl").read_text().splitlines()
    assert (len(text), digest(text[-1])) == (manifest.audit.lines, manifest.audit.head)
    last = Audit(sealed / "audit.jsonl").lines()[-1]
    assert last["event"] == "sealed"
    assert last["undone"] == ["compare", "report"]


def refused(results: Results, partial: bool = True) -> str:
    with pytest.raises(SealError) as told:
        seal(results, partial=partial)
    assert not (results.folder / "manifest.json").exists()
    return str(told.value)


def test_what_was_not_run_is_named_with_its_command(fresh: Results):
    (fresh.folder / "attrition.json").unlink()
    said = refused(fresh, partial=False)
    for step, name in (("population", "attrition.json"), ("compare", "comparison.nc"), ("report", "report.html")):
        assert f"{fresh.folder / name}: not there yet; run: cohort {step} {fresh.study.path}" in said


def test_what_rests_on_something_else_is_named_all_at_once(fresh: Results):
    fresh.posterior_file.write_bytes(fresh.posterior_file.read_bytes() + b" ")
    (fresh.folder / "made/population.json").unlink()
    (fresh.folder / "arms/other.parquet").write_bytes(b"")
    (fresh.folder / "arms/.placebo-xyz.parquet").write_bytes(b"")
    said = refused(fresh)
    assert "simulate rested on another posterior; run: cohort simulate" in said
    assert "population.json: missing" in said
    assert "other.parquet: of no arm" in said
    assert ".placebo-xyz.parquet: left by a step that was stopped while writing; remove it" in said


def test_a_broken_trail_is_not_sealed(fresh: Results):
    path = fresh.folder / "audit.jsonl"
    path.write_text(path.read_text().replace('"failed":0', '"failed":1'))
    assert "audit.jsonl:3: does not follow from the line before" in refused(fresh)


def test_what_is_signed_is_not_sealed_again(fresh: Results):
    (fresh.folder / "signatures").mkdir()
    assert "move the signatures away first" in refused(fresh)
