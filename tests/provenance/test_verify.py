"""Whoever gets a sealed folder learns whether it holds: untouched it is identical, and every change is found."""

import json
import shutil
from pathlib import Path

import pytest
from forging import ARM, VICTIM, cohort, elsewhere, forged, nudged, state, tree
from small_study import project, simulated

from cohort.library import UNTRUSTED
from cohort.provenance.manifest import machine, read_manifest
from cohort.provenance.seal import seal
from cohort.provenance.signature import new_key, read_key, sign, trusted_line
from cohort.provenance.verify import UNSIGNED, VerifyError, verify
from cohort.record import Audit, canonical, digest

# ----------------------------------------------------------------------------------------------------------- holds


def test_a_folder_from_elsewhere_is_identical_and_nothing_is_written_into_it(sealed: Path, monkeypatch, tmp_path):
    before = tree(sealed)
    for path in (sealed, *sealed.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    monkeypatch.chdir(tmp_path)
    verdict = verify(sealed)
    assert (verdict.answer, verdict.exit_code, verdict.wrong) == ("identical", 0, [])
    assert len(verdict.patients) == 20
    assert verdict.said.endswith(UNSIGNED)
    assert tree(sealed) == before
    for path in (sealed, *sealed.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def test_the_command_says_each_check_and_the_answer(sealed: Path, tmp_path: Path):
    result = cohort("verify", sealed, "--patients", 2, "--subject", VICTIM, "--seed", 7, "--json", tmp_path / "a.json")
    assert result.exit_code == 0
    assert result.stdout == f"identical: 3 patients made again, every bit the same; {UNSIGNED}\n"
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
    """The folder with another model text, which every stamp and the manifest name."""
    steps = {k: v | {"model": digest(text)} for k, v in read_manifest(copy).steps.items()}

    def change(path: Path) -> None:
        path.write_text(text)
        for step, rests in steps.items():
            (copy / f"made/{step}.json").write_text(canonical(rests))
        owner = copy / "inputs/results/laplace/made/calibrate.json"
        owner.write_text(canonical(json.loads(owner.read_text()) | {"model": digest(text)}))

    model = read_manifest(copy).model.model_dump() | {"sha256": digest(text), "in_library": False}
    forged(copy, "inputs/models/evolocumab.py", change, model=model, steps=steps)


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
    assert verify(copy, patients=1, trust=tmp_path / "others").exit_code == 5
    verdict = verify(copy, patients=1, trust=tmp_path / "trusted")
    assert verdict.exit_code == 0
    assert "signed by A. Statistician" in verdict.said
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


def test_nothing_is_made_again_unless_patients_are_asked_for(sealed: Path):
    assert verify(sealed, patients=0).exit_code == 5


# ------------------------------------------------------------------------------------------------------- tampering


@pytest.mark.parametrize(
    ("by", "answer"), [(0.0, "identical"), (1e-12, "within tolerance"), (1e-3, "different or tampered")]
)
def test_last_digits_may_differ_from_another_machine_and_no_more(copy: Path, by: float, answer: str):
    forged(copy, ARM, nudged("ldl", by, subject=VICTIM, draw=0), **elsewhere(copy, isa=["avx2", "fma"], width=4))
    verdict = verify(copy, patients=0, subjects=[VICTIM])
    assert verdict.answer == answer
    assert verdict.exit_code == {"identical": 0, "within tolerance": 3, "different or tampered": 4}[answer]
    assert any("width 4" in excuse for excuse in verdict.excuses)
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
