"""What was concluded is made again: no figure of a comparison, a registration or a report says other than its data."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from forging import Lines, concluded, elsewhere, forged, state

from cohort.cli.records import _redrawn
from cohort.provenance.inferred import _sampled
from cohort.provenance.manifest import read_manifest
from cohort.provenance.verify import Verdict, verify
from cohort.record import canonical, file_digest

REGISTERED = "inputs/config/registered/small.json"


@pytest.fixture
def whole(complete: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "whole"))


def asked(folder: Path, **options) -> Verdict:
    return verify(folder, patients=1, redraw=_redrawn, **options)


# ----------------------------------------------------------------------------------------------------- predictions


@pytest.mark.faults
@pytest.mark.parametrize("key", ["predicted", "low_0.95", "observed", "se", "z"])
def test_a_figure_beside_the_outcomes_is_made_again_without_sampling(whole: Path, key: str):
    def change(summary: dict) -> None:
        summary["arms"][0][key] -= 20

    forged(whole, "comparison.nc", concluded(change))
    assert asked(whole).wrong == ["predictions"]


@pytest.mark.faults
@pytest.mark.parametrize("part", ["coverage", "events", "outcomes", "evidence_of_model", "validation"])
def test_a_part_of_a_comparison_cannot_be_left_out(whole: Path, part: str):
    forged(whole, "comparison.nc", concluded(lambda summary: summary.pop(part)))
    assert "predictions" in asked(whole).wrong


@pytest.mark.faults
def test_reasons_against_a_registration_cannot_be_invented(whole: Path):
    forged(whole, "comparison.nc", concluded(lambda s: s["standing"]["reasons"].append("seed: registered 1, now 2")))
    assert "why it counts as registered or post hoc" in state(asked(whole), "predictions")[1]


@pytest.mark.faults
@pytest.mark.parametrize(("part", "inner"), [("predictions", "arms"), ("identity", "calibration")])
def test_a_registration_that_was_edited_and_kept_its_hash_is_found(whole: Path, part: str, inner: str):
    registered = json.loads((whole / REGISTERED).read_text())
    registered[part][inner] |= {"more": {}}
    (whole / REGISTERED).write_text(json.dumps(registered))
    stamp = whole / "made/compare.json"
    stamp.write_text(canonical(json.loads(stamp.read_text()) | {"registered": file_digest(whole / REGISTERED)}))
    told = {"file_hash": file_digest(whole / REGISTERED), "registered": registered["predictions"]}
    forged(whole, "comparison.nc", concluded(lambda summary: summary["standing"].update(told)))
    assert asked(whole).exit_code == 4


# --------------------------------------------------------------------------------------------------------- sampled


def shifted(summary: dict) -> None:
    """What MCMC found, by less than it may be off on another machine."""
    summary["discrepancies"][0]["mean"] *= 1.02
    summary["discrepancy"]["mean"] *= 1.02


@pytest.mark.faults
def test_a_version_excuses_nothing_sampled_where_all_else_has_the_same_bits(whole: Path):
    versions = read_manifest(whole).versions | {"scipy": "1.0"}
    forged(whole, "comparison.nc", concluded(shifted), versions=versions)
    verdict = asked(whole, everything=True)
    assert "comparison" in verdict.wrong
    assert "ask again with the versions of the run (scipy 1.0" in state(verdict, "comparison")[1]


@pytest.mark.faults
def test_on_another_machine_what_was_sampled_may_differ(whole: Path):
    forged(whole, "comparison.nc", concluded(shifted), **elsewhere(whole, isa=["avx2", "fma"], width=4))
    verdict = asked(whole, everything=True)
    assert "comparison" not in verdict.wrong
    assert "comparison" in [outcome.what for outcome in verdict.off]


@pytest.mark.faults
def test_on_another_machine_what_was_observed_may_not_differ(whole: Path):
    def change(summary: dict) -> None:
        summary["arms"][0]["observed"] *= 1.001

    forged(whole, "comparison.nc", concluded(change), **elsewhere(whole, isa=["avx2", "fma"], width=4))
    assert {"predictions", "comparison"} <= set(asked(whole, everything=True).wrong)


def test_a_sample_of_another_spread_is_another():
    draws = np.random.default_rng(1).normal(5, 1, (4, 1000))
    other = np.random.default_rng(2).normal(5, 1, (4, 1000))
    assert _sampled("kout", draws, draws).identical
    assert _sampled("kout", draws, other).within
    assert not _sampled("kout", 5 + 10 * (draws - 5), other).within  # its own spread would hide how far the mean is
    assert not _sampled("kout", 5 + 0.5 * (draws - 5), other).within
    assert not _sampled("kout", draws + 0.2, other).within


@pytest.mark.faults
@pytest.mark.parametrize("key", ["study", "study_hash", "model_hash", "evidence_hash"])
def test_a_posterior_of_another_study_is_found(copy: Path, key: str):
    posterior, owner = copy / "inputs/results/laplace/posterior.nc", copy / "inputs/results/laplace/made/calibrate.json"
    with h5py.File(posterior, "r+") as file:
        file.attrs[key] = "another"
    for stamp in (*copy.glob("made/*.json"), owner):
        rests = json.loads(stamp.read_text())
        rests |= {"posterior": file_digest(posterior)} if "posterior" in rests else {}
        stamp.write_text(canonical(rests))
    forged(copy, posterior={"from": "laplace", "sha256": file_digest(posterior)})
    assert f"{key} is 'another'" in state(verify(copy, patients=1), "parameters")[1]


# ---------------------------------------------------------------------------------------------------------- report


@pytest.mark.slow
def test_the_report_is_drawn_again_when_all_is_asked_for(complete: Path):
    assert state(asked(complete, everything=True), "report")[0] == "ok"
    assert "not made again: calibration, comparison, report" in asked(complete).said


@pytest.mark.faults
@pytest.mark.parametrize("name", ["report.html", "tables/T01_question.csv", "figures/forest.svg"])
def test_a_report_that_says_something_else_is_found(whole: Path, name: str):
    def change(path: Path) -> None:
        path.write_text(path.read_text() + "approved")

    forged(whole, name, change)
    assert asked(whole).exit_code == 0
    verdict = asked(whole, everything=True)
    assert verdict.wrong == ["report"]
    assert name in state(verdict, "report")[1]


@pytest.mark.faults
def test_a_figure_in_a_table_is_found(whole: Path):
    def change(path: Path) -> None:
        text = path.read_text()
        assert "." in text
        path.write_text(re.sub(r"\d(?=\.\d)", "7", text))

    forged(whole, "tables/T05_validation_arms.csv", change)
    assert asked(whole, everything=True).wrong == ["report"]


@pytest.mark.faults
def test_files_that_nothing_makes_again_are_named_in_the_answer(copy: Path):
    def retold(lines: Lines) -> Lines:
        told = {"event": "dossier", "dossier": file_digest(copy / "dossier.html"), "time": lines[-1]["time"]}
        return [*lines[:-1], told, lines[-1]]

    forged(copy, "dossier.html", lambda path: path.write_text("approved"), retold)
    verdict = asked(copy, everything=True)
    assert verdict.exit_code == 0
    assert state(verdict, "dossier.html") == ("not done", "1 files that nothing here makes again")
    assert verdict.said.endswith("not made again: calibration, dossier.html")
