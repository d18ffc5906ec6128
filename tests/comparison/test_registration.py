"""What was written down before the outcomes were opened, and what counts as the same."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cohort.comparison import (
    ArmPrediction,
    ComparisonError,
    Predictions,
    record,
    register,
    registered_path,
    standing,
)
from cohort.comparison.registration import plan_standing
from cohort.record import Audit
from cohort.study import read_study

ATTRS = {"study": "laplace", "study_hash": "a", "model_hash": "b", "evidence_hash": "c", "summary": "{}"}


@pytest.fixture
def study(root, tmp_path):
    return read_study(root / "config/studies/mendel.yaml").model_copy(update={"root": tmp_path})


def made(study, shift: float = 0.0) -> Predictions:
    """64 draws with an SD of 2 between them: the simulation error of the mean is 0.25."""
    draws = np.random.default_rng(1).standard_normal(64)
    draws = (draws - draws.mean()) / draws.std(ddof=1)
    arms = {
        name: ArmPrediction(shift - 7.0 * k + 2 * draws, np.full(64, 20.0), np.full(64, 45.0), np.zeros(64))
        for k, name in enumerate(study.arms)
    }
    return Predictions({"ldl_change": arms}, {}, {"treatment_related_ae": None})


def commit(path: Path) -> None:
    """As a person would, in a repository of the test's own."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", str(path)], [*who, "commit", "-q", "-m", "registered"]):
        subprocess.run(["git", "-C", str(path.parents[2]), *words], check=True)


@pytest.fixture
def written(study, tmp_path) -> Path:
    path = registered_path(study)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(register(study, made(study), ATTRS, Audit(tmp_path / "audit.jsonl"))))
    commit(path)
    return path


def test_what_is_written_but_not_committed_is_post_hoc(study, written):
    written.write_text(written.read_text() + "\n")
    found = standing(study, record(study, made(study), ATTRS), None)
    assert found["reasons"] == ["the registered file is not committed as it stands"]


def test_what_was_committed_after_the_outcomes_were_opened_is_post_hoc(study, written, tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    audit.append("outcomes opened", evidence="mendel", use="validation")
    line = audit.lines()[0] | {"time": "2020-01-01T00:00:00.000+00:00"}
    audit.path.write_text(json.dumps(line) + "\n")
    found = standing(study, record(study, made(study), ATTRS), audit)
    assert found["status"] == "post hoc"
    assert found["reasons"][0].endswith("after the outcomes were first opened at 2020-01-01T00:00:00.000+00:00")


def test_once_outcomes_were_opened_it_is_too_late_to_register(study, tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    audit.append("outcomes opened", evidence="mendel", use="validation")
    with pytest.raises(ComparisonError, match=r"its outcomes were opened at .*; it is too late to register"):
        register(study, made(study), ATTRS, audit)


def test_other_predictions_do_not_overwrite_a_registration(study, written, tmp_path):
    with pytest.raises(
        ComparisonError, match=r"mendel\.json holds other predictions; a registration is not overwritten"
    ):
        register(study, made(study, 0.1), ATTRS, Audit(tmp_path / "audit.jsonl"))


def test_the_same_predictions_are_registered(study, written):
    found = standing(study, record(study, made(study), ATTRS), None)
    assert (found["status"], found["reasons"]) == ("registered", [])
    assert found["identical"]
    assert found["largest_difference"] == 0.0
    assert found["file"] == "mendel.json"


def test_predictions_within_simulation_error_are_registered_and_not_identical(study, written):
    found = standing(study, record(study, made(study, 0.5), ATTRS), None)
    assert found["status"] == "registered"
    assert not found["identical"]
    assert found["largest_difference"] == pytest.approx(0.5, abs=1e-3)


def test_other_predictions_are_post_hoc(study, written):
    found = standing(study, record(study, made(study, 2.0), ATTRS), None)  # 4 √2 times 0.25 is 1.41
    assert found["status"] == "post hoc"
    assert "ldl_change, evolocumab_70_q2w: registered -7.00, now -5.00" in found["reasons"]
    assert len(found["reasons"]) == len(study.arms)


def test_nothing_written_down_is_post_hoc(study):
    found = standing(study, record(study, made(study), ATTRS), None)
    assert found["status"] == "post hoc"
    assert found["reasons"] == ["there is no mendel.json in config/registered/"]


def test_another_seed_is_post_hoc(study, written):
    other = study.model_copy(update={"seed": 7})
    found = standing(other, record(other, made(other), ATTRS), None)
    assert found["status"] == "post hoc"
    assert "seed: registered 20121107, now 7" in found["reasons"]


def test_another_margin_is_post_hoc(study, written):
    wider = study.endpoints["ldl_change"].margin
    plan = study.endpoints["ldl_change"].model_copy(update={"margin": dataclasses.replace(wider, value=10.0)})
    other = study.model_copy(update={"endpoints": study.endpoints | {"ldl_change": plan}})
    found = standing(other, record(other, made(other), ATTRS), None)
    assert found["status"] == "post hoc"
    assert [reason.split(":")[0] for reason in found["reasons"]] == ["study"]


@pytest.mark.parametrize("what", ["study_hash", "model_hash", "evidence_hash"])
def test_another_calibration_is_post_hoc(study, written, what: str):
    found = standing(study, record(study, made(study), ATTRS | {what: "other"}), None)
    assert found["status"] == "post hoc"
    assert found["reasons"][0].startswith("calibration: registered")


def test_an_arm_that_was_not_registered_is_post_hoc(study, written):
    theirs = json.loads(written.read_text())
    del theirs["predictions"]["arms"]["ldl_change"]["evolocumab_140_q2w"]
    written.write_text(json.dumps(theirs))
    commit(written)
    found = standing(study, record(study, made(study), ATTRS), None)
    assert found["reasons"] == ["ldl_change, evolocumab_140_q2w: not registered"]


def test_the_code_that_ran_is_written_down_and_does_not_count(study, written):
    theirs = json.loads(written.read_text())
    assert {"cohort", "commit", "versions"} <= set(theirs["code"])
    theirs["code"]["commit"] = "another"
    written.write_text(json.dumps(theirs))
    commit(written)
    assert standing(study, record(study, made(study), ATTRS), None)["status"] == "registered"


def test_a_study_that_validates_nothing_has_nothing_to_register(laplace, tmp_path):
    with pytest.raises(ComparisonError, match=r"no evidence with use: validation; nothing to register"):
        register(laplace, made(laplace), ATTRS, Audit(tmp_path / "audit.jsonl"))


@pytest.mark.parametrize("name", ["mendel", "yukawa"])
def test_what_is_committed_rests_on_these_studies_and_this_model(root, name: str):
    """The studies in config/studies/ still say what they said when their predictions were registered."""
    study = read_study(root / f"config/studies/{name}.yaml")
    theirs = json.loads(registered_path(study).read_text())
    mine = record(study, made(study), theirs["identity"]["calibration"])["identity"]
    assert {k: v for k, v in theirs["identity"].items() if k != "calibration"} == {
        k: v for k, v in mine.items() if k != "calibration"
    }
    assert set(theirs["predictions"]["arms"]["ldl_change"]) == set(study.arms)


def with_events(study, share: float = 0.3, risk: float = 0.08) -> Predictions:
    """A share and a risk beside the means, each with a simulation error of .01 / 8."""
    spread = 0.01 * np.random.default_rng(2).standard_normal(64)
    shares = {"ldl_below_25": {arm: share + spread for arm in study.arms}}
    return dataclasses.replace(
        made(study), shares=shares, risks={"treatment_related_ae": (risk + spread, 1.5 * risk + spread)}
    )


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"share": 0.9}, "ldl_below_25, placebo_q2w: registered 0.30"),
        ({"risk": 0.5}, "treatment_related_ae, placebo: registered 0.08"),
    ],
)
def test_another_share_or_risk_is_post_hoc(study, written, now, said: str):
    written.write_text(json.dumps(record(study, with_events(study), ATTRS)))
    commit(written)
    assert standing(study, record(study, with_events(study), ATTRS), None)["status"] == "registered"
    close = with_events(study, share=0.302, risk=0.081)
    assert standing(study, record(study, close, ATTRS), None)["status"] == "registered"
    found = standing(study, record(study, with_events(study, **now), ATTRS), None)
    assert found["status"] == "post hoc"
    assert any(reason.startswith(said) for reason in found["reasons"])


def test_a_spread_that_is_another_is_post_hoc(study, written):
    wide = {name: dataclasses.replace(p, theta=3 * p.theta) for name, p in made(study).means["ldl_change"].items()}
    found = standing(study, record(study, Predictions({"ldl_change": wide}, {}, {}), ATTRS), None)
    assert any(", sd: registered" in reason for reason in found["reasons"])


def test_a_plan_is_planned_before_only_if_it_was_frozen_before_the_first_opening(tmp_path):
    audit = Audit(tmp_path / "audit.jsonl")
    assert plan_standing(audit, None) is None
    audit.append("predictions frozen", plan="first")
    audit.append("outcomes opened", evidence="mendel", use="validation")
    audit.append("predictions frozen", plan="second")
    first, second = plan_standing(audit, "first"), plan_standing(audit, "second")
    assert first
    assert second
    assert (first["status"], first["number"]) == ("planned before", 1)
    assert (second["status"], second["number"]) == ("post hoc", 2)
