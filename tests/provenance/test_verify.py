"""Whoever gets a sealed folder learns whether it holds: untouched it is identical, and every change is found."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from forging import ARM, VICTIM, cohort, elsewhere, forged, nudged, state, tree
from small_study import project, simulated

from cohort.library import UNTRUSTED
from cohort.provenance import bundle
from cohort.provenance.manifest import machine, read_manifest
from cohort.provenance.seal import seal
from cohort.provenance.signature import new_key, read_key, sign, trusted_line
from cohort.provenance.verify import UNSIGNED, Check, Verdict, VerifyError, verify
from cohort.record import Audit, canonical, digest, file_digest, git

# ----------------------------------------------------------------------------------------------------------- holds


def test_a_folder_from_elsewhere_is_identical_and_nothing_is_written_into_it(sealed: Path, monkeypatch, tmp_path):
    before = tree(sealed)
    for path in (sealed, *sealed.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    monkeypatch.chdir(tmp_path)
    verdict = verify(sealed)
    assert (verdict.answer, verdict.exit_code, verdict.wrong) == ("identical", 0, [])
    assert len(verdict.patients) == 20
    assert verdict.said.endswith(f"{UNSIGNED}; not made again: calibration")
    assert tree(sealed) == before
    for path in (sealed, *sealed.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def test_the_command_says_each_check_and_the_answer(sealed: Path, tmp_path: Path):
    result = cohort("verify", sealed, "--patients", 2, "--subject", VICTIM, "--seed", 7, "--json", tmp_path / "a.json")
    assert result.exit_code == 0
    said = f"identical: 3 patients made again, every bit the same; {UNSIGNED}; not made again: calibration\n"
    assert result.stdout == said
    assert "files        ok" in result.stderr
    told = json.loads((tmp_path / "a.json").read_text())
    assert (told["answer"], told["exit_code"], told["seed"]) == ("identical", 0, 7)
    assert VICTIM in told["patients"]


def test_the_draw_of_patients_is_told_and_can_be_had_again_but_not_foreseen(sealed: Path):
    first = verify(sealed, patients=3)
    again = verify(sealed, patients=3, seed=first.seed)
    assert again.patients == first.patients
    assert verify(sealed, patients=3).seed != first.seed


@pytest.mark.slow
def test_what_was_not_made_again_is_said(complete: Path):
    """All steps, up to the report: what MCMC sampled is not made again unless asked for."""
    verdict = verify(complete, patients=2)
    assert verdict.exit_code == 0
    assert state(verdict, "predictions")[0] == "ok"
    for what in ("calibration", "comparison", "report"):
        assert state(verdict, what)[0] == "not done"


@pytest.mark.slow
def test_all_of_it_is_made_again_when_asked_for(complete: Path):
    verdict = verify(complete, everything=True)
    assert verdict.exit_code == 0
    assert state(verdict, "comparison")[0] == "ok"


def test_later_lines_of_the_trail_are_told(copy: Path):
    Audit(copy / "audit.jsonl").append("exported", study="small")
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 0
    assert "since then: exported" in state(verdict, "audit trail")[1]


# ----------------------------------------------------------------------------------------------------------- usage


def test_a_folder_that_is_not_sealed_is_a_question_not_an_answer(copy: Path):
    (copy / "manifest.json").unlink()
    result = cohort("verify", copy)
    assert result.exit_code == 2
    assert "is not sealed: it has no manifest.json" in result.stderr


def test_a_patient_who_is_not_in_the_study_is_refused(sealed: Path):
    with pytest.raises(VerifyError, match="--subject: no '12'; the study's ids are such as '0000001'"):
        verify(sealed, subjects=["12"])


def test_the_answer_is_not_written_into_the_folder(copy: Path):
    result = cohort("verify", copy, "--json", copy / "verdict.json")
    assert result.exit_code == 2
    assert not (copy / "verdict.json").exists()


# ----------------------------------------------------------------------------------------------------------- model


def another(copy: Path, text: str) -> None:
    """The folder with another model text, which every stamp, the posterior and the manifest name."""
    posterior = copy / "inputs/results/laplace/posterior.nc"
    (copy / "inputs/models/evolocumab.py").write_text(text)
    with h5py.File(posterior, "r+") as file:
        file.attrs["model_hash"] = digest(text)
    for stamp in (*copy.glob("made/*.json"), copy / "inputs/results/laplace/made/calibrate.json"):
        rests = json.loads(stamp.read_text()) | {"model": digest(text)}
        rests |= {"posterior": file_digest(posterior)} if "posterior" in rests else {}
        stamp.write_text(canonical(rests))
    model = read_manifest(copy).model.model_dump() | {"sha256": digest(text), "in_library": False}
    forged(copy, model=model, posterior={"from": "laplace", "sha256": file_digest(posterior)})


def test_a_model_that_the_library_has_not_runs_only_when_told(copy: Path, tmp_path: Path, monkeypatch):
    mark = tmp_path / "mark"
    text = (copy / "inputs/models/evolocumab.py").read_text()
    another(copy, f"{text}\nfrom pathlib import Path\n\nPath({str(mark)!r}).touch()\n")
    unrun = verify(copy)
    assert (unrun.answer, unrun.exit_code, unrun.wrong) == ("not re-run", 5, [])
    assert "then run it with --run-model" in state(unrun, "model")[1]
    with monkeypatch.context() as patch:
        patch.setenv(UNTRUSTED, "1")
        assert verify(copy, patients=2, run_model=True).exit_code == 5
    assert not mark.exists()
    assert verify(copy, patients=2, run_model=True).exit_code == 0
    assert mark.exists()


def test_a_model_that_a_trusted_key_signed_runs(copy: Path, tmp_path: Path):
    another(copy, (copy / "inputs/models/evolocumab.py").read_text() + "\n# another text\n")
    public = new_key(tmp_path / "key.pem")
    sign(copy, read_key(tmp_path / "key.pem"), "A. Statistician", "approved")
    (tmp_path / "trusted").write_text(trusted_line(public, "A. Statistician") + "\n")
    stranger = new_key(tmp_path / "other.pem")
    (tmp_path / "others").write_text(trusted_line(stranger, "Somebody else") + "\n")
    assert verify(copy, patients=1, trust=tmp_path / "others").wrong == ["signatures"]
    verdict = verify(copy, patients=1, trust=tmp_path / "trusted")
    assert verdict.exit_code == 0
    assert "A. Statistician" in verdict.said
    assert "since then: signed" in state(verdict, "audit trail")[1]


def test_a_signature_of_another_manifest_is_tampering(copy: Path, tmp_path: Path):
    new_key(tmp_path / "key.pem")
    sign(copy, read_key(tmp_path / "key.pem"), "A. Statistician", "approved")
    study = read_manifest(copy).study.model_dump()
    data = json.loads(read_manifest(copy).text) | {"study": study | {"title": "Another title"}}
    (copy / "manifest.json").write_text(canonical(data) + "\n")
    assert "signatures" in verify(copy, patients=1).wrong


@pytest.mark.faults
def test_a_model_of_ones_own_is_verified_far_from_its_project(root: Path, tmp_path: Path):
    """Given by its path beside the study file, and run for real."""
    own = tmp_path / "project/config/studies/own.py"
    own.parent.mkdir(parents=True)
    own.write_text((root / "models/evolocumab.py").read_text() + "\n# mine\n")
    results = simulated(project(tmp_path / "project", root, model="own.py"))
    seal(results, partial=True)
    shutil.move(results.folder, tmp_path / "sealed")
    shutil.rmtree(tmp_path / "project")
    assert verify(tmp_path / "sealed").exit_code == 5
    assert verify(tmp_path / "sealed", run_model=True).exit_code == 0


# ------------------------------------------------------------------------------------------ what runs, and what not


def repository(folder: Path) -> Path:
    """A git repository whose own configuration has git run something. Returns what that leaves."""
    mark = folder.parent / "ran"
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    subprocess.run([git, "init", "--quiet", folder], check=True)
    subprocess.run([git, "-C", folder, "config", "core.fsmonitor", f"touch {mark}"], check=True)
    return mark


def test_git_runs_nothing_that_a_repository_names(tmp_path: Path):
    (tmp_path / "other").mkdir()
    mark = repository(tmp_path / "other")
    assert git(tmp_path / "other", "status", "--porcelain") == ""
    assert not mark.exists()


def test_git_is_not_asked_about_a_bundle(copy: Path, tmp_path: Path):
    mark = repository(copy / "inputs")
    with bundle.opened(copy, "small") as results:
        assert git(results.study.root, "rev-parse", "--git-dir") is None
    assert git(copy / "inputs", "rev-parse", "--git-dir") == ".git"
    assert verify(copy, patients=1, everything=True).exit_code == 4
    assert not mark.exists()


def swapping(folder: Path, after: str, change: Callable[[], object]) -> Verdict:
    """Ask a folder that another process writes to, right after one question was answered."""

    def say(check: Check) -> None:
        if check.what == after:
            change()

    return verify(folder, patients=1, run_model=True, say=say)


@pytest.mark.parametrize(
    ("after", "what", "said"),
    [
        ("signatures", "model", "not the text that was sealed"),
        ("model", "re-run", "its text is not the one that was asked about"),
    ],
)
def test_no_model_runs_that_was_put_there_meanwhile(copy: Path, tmp_path: Path, after: str, what: str, said: str):
    mark, model = tmp_path / "ran", copy / "inputs/models/evolocumab.py"
    another(copy, model.read_text() + "\n# another text\n")
    hostile = f"{model.read_text()}\nfrom pathlib import Path\n\nPath({str(mark)!r}).touch()\n"
    verdict = swapping(copy, after, lambda: model.write_text(hostile))
    assert said in state(verdict, what)[1]
    assert verdict.exit_code == 4
    assert not mark.exists()


def test_a_table_that_is_another_while_it_is_asked_is_found(copy: Path):
    true = (copy / ARM).read_bytes()
    verdict = swapping(copy, "people", lambda: (copy / ARM).write_bytes(true))
    assert verdict.wrong == ["meanwhile"]  # though every byte is as it was
    assert "ask a copy that nobody else writes to" in state(verdict, "meanwhile")[1]


def test_steps_made_by_different_code_are_told_on_a_line(copy: Path):
    stamp = copy / "made/trial.json"
    stamp.write_text(canonical(json.loads(stamp.read_text()) | {"code": "e" * 64}))
    forged(copy)
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 0
    assert "trial by eeeeeeeeeeee" in state(verdict, "code")[1]


def test_what_is_appended_after_the_seal_changes_no_answer(copy: Path):
    for event in ("predictions frozen", "report", "sealed"):
        Audit(copy / "audit.jsonl").append(event, predictions="0" * 64)
    assert verify(copy, patients=1).exit_code == 0


# ------------------------------------------------------------------------------------------------------ signatures


def test_a_signature_that_was_taken_away_is_found(copy: Path, tmp_path: Path):
    public = new_key(tmp_path / "key.pem")
    sign(copy, read_key(tmp_path / "key.pem"), "A. Statistician", "rejected: do not use")
    (tmp_path / "trusted").write_text(trusted_line(public, "A. Statistician") + "\n")
    verdict = verify(copy, patients=1, trust=tmp_path / "trusted")
    assert verdict.exit_code == 0
    assert "rejected: do not use" in verdict.said
    shutil.rmtree(copy / "signatures")
    found = state(verify(copy, patients=1), "signatures")
    assert found[0] == "not ok"
    assert "the trail tells that 'A. Statistician' signed" in found[1]
    assert "none by a key that" in state(verify(copy, patients=1, trust=tmp_path / "trusted"), "signatures")[1]


def test_a_signature_that_the_trail_does_not_tell_of_is_found(copy: Path, tmp_path: Path):
    new_key(tmp_path / "key.pem")
    before = (copy / "audit.jsonl").read_bytes()
    sign(copy, read_key(tmp_path / "key.pem"), "A. Statistician", "approved")
    (copy / "audit.jsonl").write_bytes(before)
    assert "the trail does not tell of it" in state(verify(copy, patients=1), "signatures")[1]


def test_nothing_is_made_again_unless_patients_are_asked_for(sealed: Path):
    assert verify(sealed, patients=0).exit_code == 5


# ------------------------------------------------------------------------------------------------------- tampering


@pytest.mark.parametrize(
    ("by", "answer"), [(0.0, "identical"), (1e-12, "within tolerance"), (1e-3, "different or tampered")]
)
def test_last_digits_may_differ_from_another_machine_and_no_more(copy: Path, by: float, answer: str):
    width = 8 if machine()["width"] == 4 else 4  # another than this machine's
    forged(copy, ARM, nudged("ldl", by, subject=VICTIM, draw=0), **elsewhere(copy, isa=["avx2", "fma"], width=width))
    verdict = verify(copy, patients=0, subjects=[VICTIM])
    assert verdict.answer == answer
    assert verdict.exit_code == {"identical": 0, "within tolerance": 3, "different or tampered": 4}[answer]
    assert any(f"width {width}" in excuse for excuse in verdict.excuses)
    if answer == "within tolerance":
        arms = next(outcome for outcome in verdict.off if outcome.what == "arms")
        assert f"ldl of 0 {VICTIM}" in arms.where
        assert arms.largest == pytest.approx(1e-12, rel=0.01)
        assert "within 1e-06" in verdict.said


def test_other_versions_of_what_computes_are_an_excuse_and_others_none(copy: Path):
    versions = read_manifest(copy).versions
    forged(copy, versions=versions | {"jinja2": "0"}, hardware=machine())
    assert verify(copy, patients=1).excuses == []
    forged(copy, versions=versions | {"jaxlib": "0.1"})
    assert verify(copy, patients=1).excuses == [f"jaxlib 0.1, here {versions['jaxlib']}"]
