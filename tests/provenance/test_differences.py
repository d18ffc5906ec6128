"""Two sealed runs side by side: what differs, where it begins, and what on record explains it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xarray as xr
from typer.testing import CliRunner

from cohort.cli import app
from cohort.provenance.contents import netcdf, same_text, tables
from cohort.provenance.differences import (
    EXPLAINED,
    SAME,
    STEPS,
    UNEXPLAINED,
    Change,
    Differences,
    DifferencesError,
    differences,
)
from cohort.provenance.manifest import described, entries, read_manifest
from cohort.provenance.seal import seal
from cohort.record import canonical, digest
from cohort.results import Results, open_results
from cohort.simulation import simulate
from cohort.store import write_table

ARM = "arms/evolocumab_140_q2w.parquet"
MODEL = "inputs/models/evolocumab.py"


def nothing(manifest: dict[str, Any]) -> None:
    """What is recorded stays as it is."""


def resealed(folder: Path, change: Callable[[dict[str, Any]], None] = nothing) -> Path:
    """The folder as it would have been sealed with these files and this record."""
    files = {name: part.model_dump(mode="json") for name, part in described(entries(folder)[0])}
    manifest = json.loads((folder / "manifest.json").read_text()) | {"files": files}
    change(manifest)
    told = (folder / "audit.jsonl").read_text().splitlines()[:-1]
    sealed = {
        "event": "sealed",
        "files": digest(files),
        "previous": digest(told[-1]),
        "time": "2030-01-01T00:00:00+00:00",
    }
    told.append(canonical(sealed))
    (folder / "audit.jsonl").write_text("\n".join(told) + "\n")
    manifest["audit"] = {"lines": len(told), "head": digest(told[-1])}
    (folder / "manifest.json").write_text(canonical(manifest) + "\n")
    return folder


def stamped(key: str, *steps: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        for step in steps:
            another = {"another": "another"} if key == "evidence" else "another"
            manifest["steps"].setdefault(step, {})[key] = another

    return change


def rewrite(file: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(file)).write_parquet(file)


def the(found: Differences, name: str) -> Change:
    (change,) = (c for c in found.inputs if c.input == name)
    return change


def test_the_same_folder_is_the_same(sealed, copy):
    found = differences(sealed, copy)
    assert found == Differences((), (), (), ())
    assert found.exit_code == SAME


def test_steps_are_in_the_order_of_the_data():
    done: list[str] = []
    for step, reads in STEPS.items():
        assert set(reads) <= set(done), step
        done.append(step)


def test_the_same_study_simulated_again_in_other_chunks_gives_the_same(sealed, fresh: Results):
    visits = simulate(fresh.study, fresh.population, fresh.parameters, chunk=7)
    for (arm,), rows in visits.partition_by("arm", as_dict=True).items():
        write_table(fresh.arm_file(str(arm)), rows)
    seal(fresh, partial=True)
    found = differences(sealed, fresh.folder)
    assert found.steps == ()
    assert found.exit_code == SAME


def test_a_model_that_was_changed_explains_what_it_simulates(sealed, copy):
    model = copy / MODEL
    line = next(line for line in model.read_text().splitlines() if line.startswith("    smax: "))
    model.write_text(model.read_text().replace(line, line.replace("2.0", "2.5")))
    rewrite(copy / ARM, lambda t: t.with_columns(pl.col("ldl") + 0.5))
    rewrite(copy / "trial.parquet", lambda t: t.with_columns(pl.col("ldl_change") + 0.25))
    found = differences(sealed, resealed(copy, stamped("model", "population", "simulate", "trial")))
    change = the(found, "model")
    assert change.details == (f"-{line}", f"+{line.replace('2.0', '2.5')}")
    assert change.reaches == ("population", "simulate", "trial")
    assert [(s.name, s.inputs, s.upstream) for s in found.steps] == [
        ("simulate", ("model",), ()),
        ("trial", ("model",), ("simulate",)),
    ]
    ((name, table),) = found.steps[0].tables
    rows = pl.read_parquet(copy / ARM).filter(pl.col("ldl").is_not_null()).height
    assert name == ARM
    assert table.columns == (("ldl", pytest.approx(0.5), rows),)
    assert found.exit_code == EXPLAINED


def test_an_output_that_no_input_explains_is_unexplained(sealed, copy):
    rewrite(copy / ARM, lambda t: t.with_columns(pl.col("ldl") * 1.0001))
    rewrite(copy / "trial.parquet", lambda t: t.with_columns(pl.col("ldl_change") + 0.25))
    found = differences(sealed, resealed(copy))
    assert found.inputs == ()
    assert found.unexplained == ("simulate",)  # the trial follows from it
    assert found.exit_code == UNEXPLAINED
    shown = CliRunner().invoke(app, ["diff", str(sealed), str(copy)])
    assert shown.exit_code == UNEXPLAINED
    assert "UNEXPLAINED: simulate" in shown.stdout
    assert "The runs part at: simulate" in shown.stdout


def test_an_input_that_does_not_reach_a_step_does_not_explain_it(sealed, copy):
    """People were changed by nothing on record; the evidence that a later step reads is no excuse."""
    file = copy / "inputs/config/evidence/small.csv"
    file.write_text(file.read_text().replace("1.5", "2.5"))
    rewrite(copy / "population.parquet", lambda t: t.with_columns(pl.col("weight") + 1))
    found = differences(sealed, resealed(copy, stamped("evidence", "compare")))
    assert the(found, "evidence").details == ("placebo_q2w ldl_change 12 wk, estimate: 1.5 -> 2.5",)
    assert [(s.name, s.explained) for s in found.steps] == [("population", False)]


def test_a_study_is_compared_by_what_it_says(sealed, copy):
    file = copy / "inputs/config/studies/small.yaml"
    before = file.read_text()
    file.write_text("# a comment\n" + before)
    layout = differences(sealed, resealed(copy))
    assert "layout and comments alone" in the(layout, "study").about
    assert the(layout, "study").reaches == ()
    assert layout.exit_code == SAME
    file.write_text(before.replace("margin: 5 percent", "margin: 6 percent"))
    (copy / "attrition.json").write_text(canonical({"enrolled": 80, "screened": 99, "excluded": {}}))
    found = differences(sealed, resealed(copy, stamped("study", "population")))
    assert the(found, "study").details == ("endpoints.ldl_change.margin: 5 percent -> 6 percent",)
    assert [(s.name, s.inputs) for s in found.steps] == [("population", ("study",))]


def test_json_that_says_two_things_is_compared_as_text(sealed, copy):
    """Else the second of two values would hide the first."""
    name = "inputs/results/laplace/made/calibrate.json"
    (copy / name).write_text((copy / name).read_text().replace("{", '{"model":"other",', 1))
    found = differences(sealed, resealed(copy))
    assert any('"model":"other"' in detail for change in found.inputs for detail in change.details)


def test_machine_code_and_versions_reach_every_step(sealed, copy):
    def elsewhere(manifest: dict[str, Any]) -> None:
        manifest["hardware"]["cpu"] = "another"
        manifest["versions"]["numpy"] = "0.1"
        manifest["code"]["commit"] = "0" * 40

    found = differences(sealed, resealed(copy, elsewhere))
    assert {c.input for c in found.inputs} == {"hardware", "versions", "code"}
    assert all(c.reaches == tuple(STEPS) for c in found.inputs)
    assert any("numpy" in line and "0.1" in line for line in the(found, "versions").details)
    assert found.exit_code == SAME  # whatever they are, the outputs are the same


def test_other_bytes_of_the_same_table_are_the_same(sealed, copy):
    pl.read_parquet(copy / ARM).write_parquet(copy / ARM, compression="gzip", row_group_size=100)
    found = differences(sealed, resealed(copy))
    assert found.exit_code == SAME
    assert ARM in found.notes[0]


def test_rows_of_other_people_are_not_subtracted(sealed, copy):
    rewrite(copy / ARM, lambda t: t.reverse())
    ((_, table),) = differences(sealed, resealed(copy)).steps[0].tables
    assert table.columns == ()
    assert "subject" in table.note


def comparison(file: Path, predicted: float, made: str, status: str = "registered", chains: float = 1.0) -> None:
    arm = {"arm": "placebo_q2w", "endpoint": "ldl_change", "kind": "mean", "low_0.95": -5.0, "high_0.95": 6.1}
    summary = {"arms": [arm | {"predicted": predicted}], "standing": {"status": status, "frozen": made}}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"delta": ("draw", np.arange(5.0) * chains)})})
    tree["posterior"].attrs["created_at"] = made
    tree.attrs["summary"] = canonical(summary)
    tree.to_netcdf(file)


def test_predictions_stand_side_by_side(copy, tmp_path):
    comparison(copy / "comparison.nc", 0.59, "2026-11-25T20:02:34.050238+00:00")
    before = shutil.copytree(resealed(copy), tmp_path / "before")
    comparison(copy / "comparison.nc", 0.75, "2026-11-26T20:02:34.050238+00:00")
    found = differences(before, resealed(copy))
    (arm,) = found.arms
    assert (arm.arm, arm.a["predicted"], arm.b["predicted"], arm.b["high_0.95"]) == ("placebo_q2w", 0.59, 0.75, 6.1)
    assert found.steps[0].files == ("comparison.nc: other /@summary (arms)",)
    assert found.unexplained == ("compare",)


def test_when_a_comparison_was_made_is_no_difference_of_it(tmp_path):
    a, b = tmp_path / "a.nc", tmp_path / "b.nc"
    comparison(a, 0.59, "2026-11-25T20:02:34.050238+00:00")
    comparison(b, 0.59, "2026-11-26T21:02:34.050238+00:00", status="post hoc")
    assert netcdf(a, b) == ""
    comparison(b, 0.59, "2026-11-26T21:02:34.050238+00:00", chains=1 + 1e-15)
    assert netcdf(a, b) == "other posterior/delta"
    b.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "not readable" in netcdf(a, b)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("made 2026-11-25T20:02:34Z", "made 2026-11-26T21:00:00Z", True),
        ("made 2026-11-25 20:02 UTC", "made 2026-11-25 20:03 UTC", True),
        ("on 25 November 2026", "on 26 November 2026", True),
        (f"sha {'a' * 64}", f"sha {'b' * 64}", True),
        ("p = 0.017", "p = 0.018", False),
        ("2.2204460492503131e-16", "2.2204460492503132e-16", False),
        ("12345678.901234567890", "12345678.901234567891", False),
        ("5 patients 2026", "6 patients 2026", False),
    ],
)
def test_times_and_hashes_alone_are_set_aside_in_texts(a, b, same):
    assert same_text(a.encode(), b.encode()) is same


def test_tables_say_why_they_are_not_compared(tmp_path):
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pl.DataFrame({"subject": ["1", "2"], "x": [1.0, None], "y": [1, 2]}).write_parquet(a)
    pl.DataFrame({"subject": ["1", "2"], "x": [1.0, 2.0], "y": ["1", "2"], "z": [1, 2]}).write_parquet(b)
    table = tables(a, b)
    assert table.columns == (("x", 0.0, 1),)  # one value is missing on one side: no number to subtract
    assert "z" in table.note
    assert "y" in table.note
    pl.DataFrame({"subject": ["1"]}).write_parquet(b)
    assert tables(a, b).note == "2 and 1 rows"
    b.write_bytes(b"PAR1")
    assert "not readable" in tables(a, b).note


def test_a_folder_that_was_changed_after_sealing_is_not_compared(sealed, copy):
    rewrite(copy / ARM, lambda t: t.with_columns(pl.col("ldl") + 0.5))
    resealed(copy)
    rewrite(copy / ARM, lambda t: t.with_columns(pl.col("ldl") + 0.5))
    with pytest.raises(DifferencesError, match="cohort verify"):
        differences(sealed, copy)
    result = CliRunner().invoke(app, ["diff", str(sealed), str(copy)])
    assert result.exit_code == 2
    assert "cohort verify" in result.stderr


def test_a_folder_that_is_not_sealed_is_refused(run: Results, sealed):
    result = CliRunner().invoke(app, ["diff", str(run.folder), str(sealed)])
    assert result.exit_code == 2
    assert "not sealed" in result.stderr


@pytest.mark.faults
def test_nothing_of_a_bundle_is_executed(sealed, copy):
    (copy / MODEL).write_text(f"open({str(copy.parent / 'ran')!r}, 'w')\n")
    (copy / "inputs/config/studies/small.yaml").write_text(
        f"model: !!python/object/apply:os.mkdir [{copy.parent}/ran]\n"
    )
    (copy / "inputs/config/studies/laplace.yaml").write_text("a: &a [1]\nb: [*a, *a]\n")
    (copy / "inputs/config/evidence/small.csv").write_text("arm\x1b[2J\n=cmd|' /C calc'!A0\n")
    found = differences(sealed, resealed(copy, stamped("model", "simulate")))
    assert not (copy.parent / "ran").exists()
    assert the(found, "model").details
    assert all(line.isprintable() for c in found.inputs for line in (c.about, *c.details))


@pytest.mark.faults
def test_a_link_out_of_the_folder_is_not_followed(sealed, copy):
    rewrite(copy / ARM, lambda t: t.with_columns(pl.col("ldl") + 0.5))
    resealed(copy)
    shutil.move(copy / "arms", copy.parent / "outside")
    (copy / "arms").symlink_to(copy.parent / "outside")
    with pytest.raises(DifferencesError, match="cohort verify"):
        differences(sealed, copy)


def test_the_manifest_of_this_tests_making_is_one(copy):
    assert read_manifest(resealed(copy)).audit.lines == len((copy / "audit.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_another_seed_differs_from_the_people_on(sealed, fresh: Results):
    """The verbs themselves, with a study that differs in one value."""
    path = fresh.study.path
    path.write_text(path.read_text().replace("seed: 20121107", "seed: 20121108"))
    for verb in ("population", "simulate", "trial"):
        done = subprocess.run([sys.executable, "-m", "cohort.cli", verb, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    seal(results := open_results(path), partial=True)
    found = differences(sealed, results.folder)
    assert "seed: 20121107 -> 20121108" in the(found, "study").details
    assert [(s.name, "study" in s.inputs) for s in found.steps] == [
        ("population", True),
        ("simulate", True),
        ("trial", True),
    ]
    assert found.exit_code == EXPLAINED
