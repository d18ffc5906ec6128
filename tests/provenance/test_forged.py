"""Whatever is changed in a sealed folder is found: by hashes what was changed alone, by making it again what was forged
with every hash made to agree."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from forging import ARM, VICTIM, forged, nudged, state

from cohort.provenance.manifest import read_manifest
from cohort.provenance.verify import verify

pytestmark = pytest.mark.faults


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "name",
    [
        "population.parquet",
        ARM,
        "trial.parquet",
        "attrition.json",
        "made/trial.json",
        "inputs/config/studies/small.yaml",
        "inputs/models/evolocumab.py",
        "inputs/results/laplace/posterior.nc",
        "inputs/config/evidence/small.csv",
        "inputs/requirements.lock",
        "manifest.json",
        "audit.jsonl",
    ],
)
def test_one_flipped_bit_is_found(copy: Path, name: str):
    flipped(copy / name)
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 4
    assert not any(check.what == "people" for check in verdict.checks)  # nothing ran


@pytest.mark.parametrize("name", ["trial.parquet", "audit.jsonl", "made/simulate.json", "inputs/models/evolocumab.py"])
def test_a_missing_file_is_found(copy: Path, name: str):
    (copy / name).unlink()
    assert verify(copy, patients=1).exit_code == 4


@pytest.mark.parametrize("name", ["more.txt", "arms/other.parquet", ".hidden", "inputs/config/studies/other.yaml"])
def test_an_added_file_is_found(copy: Path, name: str):
    (copy / name).write_text("more")
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 4
    assert f"'{name}' is not in the manifest" in state(verdict, "files")[1]


def test_a_file_that_became_a_link_is_found(copy: Path, tmp_path: Path):
    shutil.move(copy / "trial.parquet", tmp_path / "trial.parquet")
    (copy / "trial.parquet").symlink_to(tmp_path / "trial.parquet")
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 4
    assert "'trial.parquet' is a symbolic link" in state(verdict, "files")[1]


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_a_trail_cut_short_is_found(copy: Path, kept: int):
    lines = (copy / "audit.jsonl").read_text().splitlines(keepends=True)
    (copy / "audit.jsonl").write_text("".join(lines[:kept]) + lines[kept][:20])
    assert verify(copy, patients=1).exit_code == 4


def test_a_line_slipped_into_the_trail_is_found(copy: Path):
    lines = (copy / "audit.jsonl").read_text().splitlines(keepends=True)
    (copy / "audit.jsonl").write_text("".join([*lines[:2], lines[1], *lines[2:]]))
    assert "line 3 does not follow" in state(verify(copy, patients=1), "audit trail")[1]


# ---------------------------------------------------------------------------- forged, with every hash made to agree


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        (ARM, nudged("ldl", 0.01, subject=VICTIM, draw=0), "arms"),
        (ARM, nudged("ldl", 1e-12, subject=VICTIM, draw=0), "arms"),  # on this machine every bit is known
        ("population.parquet", nudged("weight", 1e-6, subject=VICTIM), "people"),
        ("trial.parquet", nudged("ldl_change_true", 1e-3, subject=VICTIM), "trial"),
        ("parameters.parquet", nudged("smax", 1e-3), "parameters"),
    ],
)
def test_a_forged_number_of_a_named_patient_is_found(copy: Path, name: str, change, found: str):
    forged(copy, name, change)
    verdict = verify(copy, patients=0, subjects=[VICTIM])
    assert verdict.exit_code == 4
    assert state(verdict, found)[0] == "not ok" if found != "arms" else found in verdict.wrong
    assert state(verdict, "files")[0] == "ok"


def dropped(subject: str) -> Callable[[Path], None]:
    return lambda path: pl.read_parquet(path).filter(pl.col("subject") != subject).write_parquet(path)


@pytest.mark.parametrize("name", ["population.parquet", ARM, "trial.parquet"])
def test_a_patient_who_was_left_out_is_found(copy: Path, name: str):
    forged(copy, name, dropped(VICTIM))
    assert verify(copy, patients=3).exit_code == 4


def test_a_failure_that_was_hushed_up_is_found(copy: Path):
    told = {k: v.model_dump() for k, v in read_manifest(copy).failures.items()}
    told["placebo_q2w"]["failed"] = {"not finite": 3}
    forged(copy, failures=told)
    assert verify(copy, patients=1).wrong == ["rows"]


@pytest.mark.parametrize("key", ["seed", "fingerprint", "title"])
def test_another_study_in_the_manifest_than_in_inputs_is_found(copy: Path, key: str):
    study = read_manifest(copy).study.model_dump()
    study[key] = study[key] + (1 if key == "seed" else "0")
    forged(copy, study=study)
    assert verify(copy, patients=1).exit_code == 4


def test_another_seed_in_the_study_is_found(copy: Path):
    """Even where the manifest and all stamps say the same."""

    def change(path: Path) -> None:
        path.write_text(path.read_text().replace("seed: ", "seed: 1"))

    forged(copy, "inputs/config/studies/small.yaml", change)
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 4
    assert "fingerprint" in state(verdict, "study")[1]


def test_a_table_that_is_none_is_an_answer_not_a_crash(copy: Path):
    change = lambda path: pl.read_parquet(path).drop("code").write_parquet(path)  # noqa: E731
    told = {k: v.model_dump() for k, v in read_manifest(copy).failures.items()}
    forged(copy, ARM, change, failures=told)
    assert verify(copy, patients=1).exit_code == 4


def test_what_a_folder_says_does_not_steer_the_terminal(copy: Path):
    study = read_manifest(copy).study.model_dump()
    forged(copy, study=study | {"name": "small\x1b[2J"})
    verdict = verify(copy, patients=1)
    assert verdict.exit_code == 4
    assert "\x1b" not in "".join(map(str, verdict.checks)) + verdict.said


# --------------------------------------------------------------------------------------------- on another machine
