"""Inputs are a project of their own; no model of theirs runs before someone may say so."""

import os
import shutil
from pathlib import Path

import pytest

from cohort import library
from cohort.provenance import bundle
from cohort.provenance.seal import SealError, seal
from cohort.record import digest
from cohort.results import Results, open_results

HOSTILE = """
from pathlib import Path
Path({mark!r}).write_text("executed")
"""


def test_inputs_are_all_that_the_study_rests_on(sealed: Path):
    there = {p.relative_to(sealed / "inputs").as_posix() for p in (sealed / "inputs").rglob("*") if p.is_file()}
    assert there == {
        "config/studies/small.yaml",
        "config/studies/laplace.yaml",
        "config/evidence/small.csv",
        "config/evidence/laplace.csv",
        "models/evolocumab.py",
        "results/laplace/posterior.nc",
        "results/laplace/made/calibrate.json",
        "requirements.lock",
    }


def test_a_bundle_opens_as_the_study_without_its_project(sealed: Path, run: Results):
    with bundle.opened(sealed, "small") as results:
        assert results.study.root == (sealed / "inputs").resolve()
        for step in ("population", "simulate", "trial"):
            assert results.basis(step) == run.basis(step)
        assert results.posterior is not None
        assert results.parameters.equals(run.parameters)


def test_what_is_stale_in_inputs_goes(fresh: Results):
    seal(fresh, partial=True)
    old = fresh.folder / "inputs/config/evidence/old/figures.csv"
    old.parent.mkdir()
    old.write_text("old")
    changed = fresh.folder / "inputs/requirements.lock"
    changed.write_text("changed")
    manifest = seal(fresh, partial=True).manifest
    assert not old.parent.exists()
    assert changed.read_text() != "changed"
    assert "inputs/config/evidence/old/figures.csv" not in manifest.files


def test_what_lies_outside_the_project_cannot_be_sealed(fresh: Results, tmp_path: Path):
    file = fresh.study.root / "config/evidence/small.csv"
    shutil.move(file, tmp_path / "small.csv")
    file.symlink_to(tmp_path / "small.csv")
    with pytest.raises(SealError, match="is a link that leads out of the project"):
        bundle.wanted(fresh)


def test_a_link_among_inputs_is_refused_not_followed(fresh: Results, tmp_path: Path):
    (fresh.folder / "inputs/config").mkdir(parents=True)
    os.symlink(tmp_path, fresh.folder / "inputs/config/evidence")
    with pytest.raises(SealError, match="'config/evidence' is a symbolic link"):
        bundle.gather(fresh)


def test_models_are_named_without_being_executed(copy: Path, tmp_path: Path):
    mark = tmp_path / "mark"
    (copy / "inputs/models/evolocumab.py").write_text(HOSTILE.format(mark=str(mark)))
    found = {text.study: text for text in bundle.models(copy)}
    assert set(found) == {"small", "laplace"}
    assert not any(text.in_library for text in found.values())
    assert not mark.exists()


@pytest.mark.parametrize(
    "reference", ["../../../../tmp/evil", "/tmp/evil.py", "../../../outside.py", "evil/../evil", ""]
)
def test_a_model_that_leads_out_of_the_bundle_is_no_file_of_it(copy: Path, reference: str):
    (copy.parent / "outside.py").write_text("")
    study = copy / "inputs/config/studies/small.yaml"
    study.write_text(study.read_text().replace("model: evolocumab\n", f'model: "{reference}"\n'))
    own = next(text for text in bundle.models(copy) if text.study == "small")
    assert own.file is None
    assert not own.in_library


def test_the_text_that_ran_runs_where_the_library_has_another(copy: Path):
    """And the library is as it was afterwards."""
    path = copy / "inputs/models/evolocumab.py"
    path.write_text(path.read_text() + "\n# another text\n")
    before = library.FOLDER
    with bundle.opened(copy, "small") as results:
        assert results.basis("population")["model"] == digest(path.read_text())
    assert before == library.FOLDER
    assert not any(text.in_library for text in bundle.models(copy))


def test_a_study_of_another_place_is_refused(fresh: Results, tmp_path: Path):
    elsewhere = tmp_path / "small.yaml"
    shutil.copy(fresh.study.path, elsewhere)
    moved = Results(fresh.study.model_copy(update={"path": elsewhere}), fresh.folder)
    with pytest.raises(SealError, match="move the study to"):
        bundle.wanted(moved)
    assert open_results(fresh.study.path).study == fresh.study
