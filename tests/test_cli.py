"""The steps as commands, on a study of sixty patients: their order, their refusals, and the same bits every time."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from cohort.cli import app
from cohort.evidence import COLUMNS
from cohort.record import Audit
from cohort.results import open_results

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")
STUDY = "config/studies/small.yaml"
CALIBRATED = {
    "kout": (0.31, 0.09),
    "smax": (2.6, 0.5),
    "sc50": (2.5, 0.8),
    "smax.spread": (0.4, 0.1),
    "sc50.spread": (0.4, 0.1),
    "sigma": (14.6, 1.0),
    "drift": (0.008, 0.016),
    "treatment_related_ae.background": (-2.6, 0.3),
    "treatment_related_ae.drug": (0.15, 0.3),
}


def cohort(*words: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def done(*words: str | Path | int) -> Result:
    result = cohort(*words)
    assert result.exit_code == 0, result.output
    return result


def refused(*words: str | Path | int) -> str:
    """What is said where a command refuses: exit code 2, and no trace."""
    result = cohort(*words)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def evidence(figures: list[tuple[str, str, str]]) -> str:
    """An evidence file with these arms' means and standard errors, and a count on placebo."""
    lines = [
        {"arm": arm, "outcome": "ldl_change", "n": "20", "estimate": mean, "se": se, "unit": "percent"}
        for arm, mean, se in figures
    ]
    lines.append({"arm": ARMS[0], "outcome": "treatment_related_ae", "n": "20", "events": "0", "unit": "subjects"})
    lines = [line | {"trial": "small", "visit": "12 wk"} for line in lines]
    return "\n".join([",".join(COLUMNS), *(",".join(line.get(c, "") for c in COLUMNS) for line in lines)]) + "\n"


SEEN = evidence([(ARMS[0], "1.5", "4.5"), (ARMS[1], "-58", "4.6"), (ARMS[2], "-52", "4.4")])
GARBAGE = SEEN.replace("-58", "minus fifty-eight")


def small(text: str) -> str:
    """MENDEL cut to three arms of twenty, a population of eighty, and sixteen draws."""
    kept, section = [], ""
    for line in text.splitlines():
        section = line.split(":")[0] if line[:1].isalpha() else section
        if section == "comparison":  # it learns from a study that is not here
            continue
        if section == "arms" and line.startswith("  ") and line.split(":")[0].strip() not in ARMS:
            continue
        kept.append(line.replace("control: placebo_q4w", "control: placebo_q2w"))
    cut = "\n".join(kept) + "\n"
    for before, after in (
        ("size: 2000", "size: 80"),
        ("draws: 64", "draws: 16"),
        ("{n: 45", "{n: 20"),
        ("mendel: {file: config/evidence/mendel.csv", "small: {file: config/evidence/small.csv"),
    ):
        assert before in cut
        cut = cut.replace(before, after)
    return cut


@pytest.fixture(scope="module")
def posterior():
    """Made by hand, so that no test waits for a calibration."""
    from arviz_base import from_dict

    rng = np.random.default_rng(1)
    draws = {k: m + s * rng.standard_normal((4, 40)) for k, (m, s) in CALIBRATED.items()}
    tree = from_dict({"posterior": {k: np.abs(v) if CALIBRATED[k][0] > 0.1 else v for k, v in draws.items()}})
    tree.attrs |= {"study": "laplace", "study_hash": "a", "model_hash": "b", "evidence_hash": "c", "summary": "{}"}
    return tree


def project(folder: Path, root: Path, posterior, outcomes: str) -> Path:
    (folder / "config/studies").mkdir(parents=True)
    (folder / "config/evidence").mkdir()
    shutil.copytree(root / "config/cluster", folder / "config/cluster")
    shutil.copy(root / "config/studies/laplace.yaml", folder / "config/studies")
    shutil.copy(root / "config/evidence/laplace.csv", folder / "config/evidence")
    (folder / STUDY).write_text(small((root / "config/studies/mendel.yaml").read_text()))
    (folder / "config/evidence/small.csv").write_text(outcomes)
    if posterior is not None:
        (folder / "results/laplace").mkdir(parents=True)
        posterior.to_netcdf(folder / "results/laplace/posterior.nc")
        open_results(folder / "config/studies/laplace.yaml").stamp("calibrate")
    return folder


@pytest.fixture(scope="module")
def finished(root, posterior, tmp_path_factory) -> Path:
    """A project in which every step up to the comparison was run, the predictions registered before the outcomes."""
    folder = project(tmp_path_factory.mktemp("finished"), root, posterior, SEEN)
    for verb in ("population", "simulate", "trial", "register"):
        done(verb, folder / STUDY)
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "config"], [*who, "commit", "-q", "-m", "registered"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    done("compare", folder / STUDY)
    return folder


@pytest.fixture
def fresh(root, posterior, tmp_path) -> Path:
    return project(tmp_path, root, posterior, SEEN)


def test_predictions_are_frozen_before_outcomes_are_opened(finished):
    audit = Audit(finished / "results/small/audit.jsonl")
    events = [line["event"] for line in audit.lines()]
    assert events == [
        "population",
        "simulated",
        "trials",
        "registered",
        "predictions frozen",
        "outcomes opened",
        "compared",
    ]
    assert audit.broken_at() is None
    frozen, opened = audit.lines()[4:6]
    assert frozen["predictions"] == audit.lines()[3]["predictions"]
    assert opened["use"] == "validation"


def test_what_was_registered_and_not_changed_is_called_so(finished):
    results = open_results(finished / STUDY)
    assert results.summary["standing"]["status"] == "registered"
    assert results.summary["standing"]["identical"]


def test_every_arm_is_compared(finished):
    summary = open_results(finished / STUDY).summary
    assert [(r["kind"], r["arm"]) for r in summary["arms"]] == [
        ("mean", ARMS[0]),
        ("mean", ARMS[1]),
        ("effect", ARMS[1]),
        ("mean", ARMS[2]),
        ("effect", ARMS[2]),
    ]
    modelled = {r["event"]: r["modelled"] for r in summary["events"]}
    assert modelled == {"treatment_related_ae": True, "treatment_related_serious_ae": False}
    assert [r["weight"] for r in [summary["borrowing"]]] == [0.8]


def test_the_report_is_one_file_that_needs_nothing_else(finished, tmp_path):
    """No script, style sheet, font or picture from elsewhere; what a study says is text, never markup."""
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    done("report", folder / STUDY)
    page = (folder / "results/small/report.html").read_text()
    assert not re.search(r"<script|<link|@import|\bsrc=|url\((?!#)|href=\"(?!#)", page)
    assert page.count("<svg") == 12
    for arm in ARMS:
        assert arm.replace("_", " ") in page
    assert "not predicted" in page
    assert "no count found" in page
    again = (folder / "results/small/figures/dose_response.svg").read_text()
    done("report", folder / STUDY)
    assert (folder / "results/small/figures/dose_response.svg").read_text() == again


def test_what_a_study_says_is_escaped_in_its_report(finished, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    file = folder / STUDY
    file.write_text(file.read_text().replace("title: ", 'title: "<script>alert(1)</script> " # '))
    for verb in ("population", "simulate", "trial", "compare", "report"):
        done(verb, file)
    page = (folder / "results/small/report.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_a_comparison_after_a_change_of_plan_is_post_hoc(finished, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    file = folder / STUDY
    file.write_text(file.read_text().replace("margin: 5 percent", "margin: 10 percent"))
    assert "trial.parquet was made from another study; run: cohort trial" in refused("compare", file)
    for verb in ("population", "simulate", "trial", "compare"):
        done(verb, file)
    standing = open_results(file).summary["standing"]
    assert standing["status"] == "post hoc"
    assert standing["reasons"][0].startswith("study: registered")


def test_no_step_before_compare_reads_the_outcomes(root, posterior, tmp_path):
    """With figures that are no numbers, everything runs but the comparison, which names the cell."""
    folder = project(tmp_path, root, posterior, GARBAGE)
    for verb in ("check", "population", "simulate", "trial", "register"):
        done(verb, folder / STUDY)
    said = refused("compare", folder / STUDY)
    assert "config/evidence/small.csv:3, estimate: 'minus fifty-eight'; write a number" in said
    events = [line["event"] for line in Audit(folder / "results/small/audit.jsonl").lines()]
    assert events[-2:] == ["predictions frozen", "outcomes opened"]
    assert not (folder / "results/small/comparison.nc").exists()


def test_workers_and_chunks_change_no_byte(finished, tmp_path):
    """Against the run of the fixture: one worker and chunks of 50, then two and chunks of 1000."""
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    first = {p.name: p.read_bytes() for p in (finished / "results/small/arms").iterdir()}
    assert sorted(first) == sorted(f"{arm}.parquet" for arm in ARMS)
    for workers, chunk in (("1", "50"), ("2", "1000")):
        shutil.rmtree(folder / "results/small/arms")
        shutil.rmtree(folder / "results/small/state")
        done("simulate", folder / STUDY, "--workers", workers, "--chunk", chunk)
        again = {p.name: p.read_bytes() for p in (folder / "results/small/arms").iterdir()}
        assert again == first


def test_running_again_gives_the_same_bits(finished, fresh):
    for verb in ("population", "simulate", "trial"):
        done(verb, fresh / STUDY)
    for name in ("population.parquet", "parameters.parquet", "trial.parquet"):
        ours, theirs = (pl.read_parquet(f / "results/small" / name) for f in (fresh, finished))
        assert ours.equals(theirs)


def test_a_calibration_that_was_not_run_is_refused_with_the_command_to_run(root, tmp_path):
    folder = project(tmp_path, root, None, SEEN)
    done("population", folder / STUDY)
    said = refused("simulate", folder / STUDY)
    assert (
        f"results/laplace/posterior.nc is not there yet; run: cohort calibrate {folder / 'config/studies/laplace.yaml'}"
        in said
    )


@pytest.mark.parametrize(
    ("verb", "needed"),
    [("calibrate", "population"), ("simulate", "population"), ("trial", "simulate"), ("register", "trial")],
)
def test_a_step_before_its_time_names_the_one_that_comes_first(fresh, verb: str, needed: str):
    said = refused(verb, fresh / STUDY)
    assert f"is not there yet; run: cohort {needed} {fresh / STUDY}" in said


def test_a_study_that_calibrates_nothing_has_no_sensitivity_to_run(fresh):
    done("population", fresh / STUDY)
    said = refused("sensitivity", fresh / STUDY)
    assert "small.yaml: there is no calibration section; nothing to vary" in said


def test_errors_of_a_study_come_with_file_and_line_all_at_once(fresh):
    file = fresh / STUDY
    file.write_text(
        file.read_text().replace("dose: 140 mg", "dose: 140 mgs").replace("dropout: 0.04", "drop_out: 0.04")
    )
    said = refused("check", file).splitlines()
    dose = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if "140 mgs" in line)
    conduct = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if "drop_out" in line)
    assert any(line.startswith(f"{file}:{dose}  arms.evolocumab_140_q2w.dose: ") for line in said)
    assert any(
        line.startswith(f"{file}:{conduct}  conduct.drop_out: unknown key; did you mean 'dropout'") for line in said
    )


def test_a_planted_wrong_unit_is_found_on_its_line(root, tmp_path):
    text = (root / "models/evolocumab.py").read_text()
    right, wrong = "p.ka * y.depot - p.cl * c -", "p.ka * y.depot - p.cl * y.central -"
    assert right in text
    planted = tmp_path / "planted.py"
    planted.write_text(text.replace(right, wrong))
    line = next(n for n, row in enumerate(planted.read_text().splitlines(), 1) if wrong in row)
    assert f"{planted}:{line}  ode: " in refused("check", planted)


def test_the_library_model_and_its_studies_are_right(root):
    assert "units agree" in done("check", root / "models/evolocumab.py").output
    said = done("check", root / "config/studies/mendel.yaml").output
    assert "8 arms, 361 patients planned" in said


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "no such file; name a study file such as" in refused("check", tmp_path / "nothing.yaml")
    assert "nothing.py" in refused("check", tmp_path / "nothing.py")


def test_a_study_that_is_not_there_is_not_run(fresh, monkeypatch):
    monkeypatch.chdir(fresh)
    assert "no study nothing; there are: laplace, small" in refused("run", "nothing")


def test_a_run_outside_a_project_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no study file in config/studies/; run this in the project's folder" in refused("run")


def test_what_is_registered_is_readable(finished):
    written = json.loads((finished / "config/registered/small.json").read_text())
    assert set(written["predictions"]["arms"]["ldl_change"]) == set(ARMS)
    assert written["predictions"]["risks"]["treatment_related_serious_ae"] is None


def test_people_without_a_study(tmp_path: Path):
    """Columns by name, units in the Parquet schema; the first of many are the few; and the graph they come from."""
    file, more = tmp_path / "few.parquet", tmp_path / "more.parquet"
    said = done("population", "--source", "us", "--size", 300, "--seed", 5, "-o", file).stdout
    assert "300 people of us" in said
    done("population", "--source", "us", "--size", 9000, "--seed", 5, "-o", more)
    people = pl.read_parquet(file)
    assert people.equals(pl.read_parquet(more).head(300))
    for name in [
        "subject",
        "sex",
        "age",
        "ancestry",
        "height",
        "weight",
        "bmi",
        "fat_free_mass",
        "haematocrit",
        "creatinine",
        "gfr",
        "albumin",
        "cardiac_output",
        "mass_liver",
        "flow_liver",
        "abundance_CYP3A4",
        "CYP2D6",
        "CYP2D6_phenotype",
        "VKORC1",
    ]:
        assert name in people.columns
    assert "flow_lung" not in people.columns
    field = pq.read_schema(file).field("mass_liver")
    assert field.metadata[b"unit"] == b"kg"
    assert b"Johnson 2005" in field.metadata[b"source"]
    graph = done("show", "population").stdout
    assert "mass_… (19)" in graph
    assert "creatinine" in graph


def test_people_with_criteria_conditions_and_a_baseline(tmp_path: Path):
    table = tmp_path / "baseline.csv"
    table.write_text("variable,level,statistic,value,unit,n,source\nage,,mean,63,y,200,a made-up trial\n")
    file = tmp_path / "people.parquet"
    alone = ("population", "--source", "us", "--size", 200, "-o", file)
    said = done(*alone, "--criterion", "50 y <= age <= 75 y", "--condition", "ckd=3", "--match", table).stdout
    assert "turned away" in said
    people = pl.read_parquet(file)
    assert people["age"].is_between(50, 75).all()
    assert people["gfr"].is_between(30, 60).all()
    assert people["age"].mean() == pytest.approx(63, abs=2)


def test_people_that_cannot_be_are_refused(tmp_path: Path):
    file = tmp_path / "people.parquet"
    alone = ("population", "--source", "us", "--size", 20, "-o", file)
    for words in (
        ["population"],
        ["population", STUDY, "--source", "us"],
        ["population", STUDY, "--condition", "ckd=3"],
    ):
        assert "name a study file, which says everything; or --source" in refused(*words)
    assert "write one of us, europe, japan" in refused("population", "--source", "uk", "--size", 20, "-o", file)
    assert "did you mean 'ckd'" in refused(*alone, "--condition", "ckt=4")
    assert "sex == female" in refused(*alone, "--condition", "pregnancy=20")
    assert "no value left" in refused(*alone, "--criterion", "age > 60 y", "--criterion", "age < 50 y")
    assert "is not a set of abundances" in refused(*alone, "--abundances", "guess")
    lacking = refused(*alone, "--compound", "caffeine", "--abundances", "lcms")
    assert "the set 'lcms' has no abundance_CYP1A2" in lacking
    assert "there are caffeine, midazolam" in refused(*alone, "--compound", "aspirin")
    assert "no such file" in refused(*alone, "--match", tmp_path / "nowhere.csv")
    assert not file.exists()


BODY = """
title: Midazolam by mouth in US adults
question: How much exposure does 7.5 mg give?
context_of_use: A test of the platform.
model: pbpk
population: {source: us, size: 60, compound: midazolam, eligibility: [18 y <= age <= 50 y]}
conduct: {dropout: 0, source: none}
arms:
  oral: {n: 20, dose: 7.5 mg, route: oral, every: 24 h, for: 24 h}
  iv:   {n: 20, dose: 2 mg, route: iv, every: 24 h, for: 24 h}
visits: [0 h, 0.25 h, 0.5 h, 1 h, 2 h, 4 h, 8 h, 24 h]
endpoints:
  auc: {role: efficacy, better: lower}
analysis: {draws: 16, discrepancy: 0.1 mg*h/L, arm_discrepancy: 0.1 mg*h/L, source: an assumption}
seed: 7
"""


def test_a_whole_body_in_a_study_without_evidence(tmp_path: Path, monkeypatch, root: Path):
    """The model asks for organs, flows, partition coefficients; nobody's AUC by mouth exceeds that of the dose iv."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(root / "config/cluster", "config/cluster")
    study = Path("config/studies/body.yaml")
    study.parent.mkdir()
    study.write_text(BODY)
    for step in ("check", "population", "simulate", "trial", "compare", "report"):
        done(step, study)
    results = open_results(study)
    means = results.trial.filter(pl.col("draw") == 0).pivot("arm", index="subject", values="auc_true")
    assert (means["oral"] / 7.5 < means["iv"] / 2).all()
    # Heizmann et al. 1983 and others: 0.3 to 0.5 of an oral dose of midazolam reach the circulation
    assert (means["oral"] / 7.5 / (means["iv"] / 2)).mean() == pytest.approx(0.4, abs=0.15)
    page = results.report_file.read_text()
    assert "No outcome to compare with" in page
    assert "kp_liver" in page


def test_a_twin_has_what_is_known_of_the_person(tmp_path: Path):
    """CKD-EPI 2021 of 1.1 mg/dL for a woman of 60 y: 57.5 mL/min per 1.73 m²."""
    person, file = tmp_path / "person.yaml", tmp_path / "twin.parquet"
    person.write_text(
        "source: us\ngiven: {sex: female, ancestry: Other, age: 60 y}\nknown: {height: 158 cm, creatinine: 1.1 mg/dL}\n"
    )
    assert "exact draws" in done("twin", person, "-o", file, "--draws", 200).stdout
    people = pl.read_parquet(file)
    assert people["height"].to_numpy() == pytest.approx(158)
    assert people["gfr"].to_numpy() == pytest.approx(57.5, abs=0.05)
    assert np.std(people["bmi"].to_numpy()) > 3
    assert pq.read_schema(file).metadata[b"cohort.known.height"] == b"158 +- 0"
    person.write_text("source: us\nknown: {height: 380 cm}\n")
    assert "height" in refused("twin", person, "-o", file)
