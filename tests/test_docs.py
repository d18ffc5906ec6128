"""What the documents show runs as it stands there: a reader may copy it."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cohort.cli import app
from cohort.study import read_study, source_of

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

STUDY = """
title: Arms
question: What do these arms do?
context_of_use: A test of the document
model: anticoagulant.py
population:
  source: us
  size: 200
  covariates: {amiodarone: {fraction: 0, source: by design}}
  eligibility: []
conduct: {dropout: 0.0, source: by design}
visits: [0 wk, 4 wk, 8 wk]
endpoints:
  inr: {role: efficacy, better: higher}
analysis: {discrepancy: 1 percent, arm_discrepancy: 1 percent, source: assumption}
seed: 1
"""


def blocks(path: Path, language: str) -> list[tuple[int, str]]:
    """Line and text of each block of this language."""
    text = path.read_text()
    return [(text.count("\n", 0, m.start()) + 1, m[2]) for m in BLOCK.finditer(text) if m[1] == language]


def files(path: Path, folder: Path) -> None:
    """Write the blocks that open with a file's name, as that file."""
    for language in ("python", "yaml", "csv"):
        for _, text in blocks(path, language):
            if name := re.match(r"# (\w+\.\w+)\n", text):
                (folder / name[1]).write_text(text if language == "python" else text.split("\n", 1)[1])


@pytest.fixture
def engine(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document, in a folder with the files that it shows."""
    path = root / "docs/engine.md"
    files(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return path


def test_every_example_runs_in_the_order_of_the_document(engine: Path):
    """An error names the line of the document."""
    names: dict[str, object] = {}
    examples = blocks(engine, "python")
    assert len(examples) > 10
    for line, text in examples:
        exec(compile("\n" * line + text, str(engine), "exec"), names)


def test_the_arms_that_are_shown_are_read(engine: Path, tmp_path: Path):
    [(_, arms)] = blocks(engine, "yaml")
    (tmp_path / "study.yaml").write_text(STUDY + arms)
    study = read_study(tmp_path / "study.yaml")
    assert list(study.arms) == ["placebo", "infused", "loaded", "at_home", "by_inr", "with_amiodarone"]
    assert study.numerics == type(study.numerics)(), "the defaults that the document names"


def test_the_model_that_is_shown_has_its_units_in_order(engine: Path):
    done = CliRunner().invoke(app, ["check", "anticoagulant.py"])
    assert done.exit_code == 0, done.output
    assert "units agree" in done.output


def test_what_is_not_offered_is_refused_in_the_words_of_the_document(engine: Path, tmp_path: Path):
    """A cube root in the line that the document names."""
    model = tmp_path / "anticoagulant.py"
    model.write_text(model.read_text().replace("c=y.plasma / p.v, inr", "c=jnp.cbrt(y.plasma / p.v), inr"))
    refused = CliRunner().invoke(app, ["check", "anticoagulant.py"])
    assert refused.exit_code == 2
    assert refused.stderr.strip() in engine.read_text()
    assert "cbrt" in refused.stderr


@pytest.fixture
def population(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document, in a folder with the files that it shows."""
    path = root / "docs/population.md"
    files(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return path


def test_every_command_of_the_population_runs(population: Path):
    commands = re.findall(r"^cohort (population .*|twin .*)$", population.read_text(), re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, f"{command}: {done.output}"


def test_every_example_of_the_population_runs(population: Path):
    examples = blocks(population, "python")
    assert len(examples) == 2
    for line, text in examples:
        exec(compile("\n" * line + text, str(population), "exec"), {})


def test_the_people_of_a_study_that_are_shown_are_read(population: Path, tmp_path: Path):
    [people] = [text for _, text in blocks(population, "yaml") if text.startswith("population:")]
    study = re.sub(r"population:\n(  .*\n)+", people, STUDY).replace("anticoagulant.py", "evolocumab")
    covariates = "  covariates:\n" + "".join(
        f"    {name}: {{mean: {mean}, sd: {sd}, source: made up}}\n"
        for name, mean, sd in (("pcsk9", "400 ng/mL", "100 ng/mL"), ("ldl", "130 mg/dL", "20 mg/dL"))
    )
    study = study.replace("  covariates:\n", covariates + "    ezetimibe: {fraction: 0, source: made up}\n")
    study = study.replace("inr: {", "ldl_change: {") + "arms: {placebo: {n: 10}}\n"
    (tmp_path / "study.yaml").write_text(study)
    read = read_study(tmp_path / "study.yaml")
    assert read.population.conditions == ["ckd=3"]
    assert "kp_liver" in source_of(read).columns


def test_what_the_document_says_of_conditions_is_so(population: Path):
    from cohort.population.conditions import CONDITIONS

    told = dict(re.findall(r"^\| `(\w+)` \| (`[^|]*`)[^|]* \|", population.read_text(), re.MULTILINE))
    assert set(CONDITIONS) <= set(told)
    for name, condition in CONDITIONS.items():
        values = re.findall(r"`([^`]+)`", told[name])
        assert set(values) <= set(condition.values)


@pytest.fixture
def comparison(root: Path) -> Path:
    return root / "docs/comparison.md"


def test_every_example_of_the_comparison_runs_in_its_order(comparison: Path):
    names: dict[str, object] = {}
    examples = blocks(comparison, "python")
    assert len(examples) == 3
    for line, text in examples:
        exec(compile("\n" * line + text, str(comparison), "exec"), names)
    characteristics = names["characteristics"]
    assert set(characteristics["rate_mcse"]) == {0.0}  # type: ignore[index]


def test_the_plan_the_conduct_and_the_estimand_that_are_shown_are_read(comparison: Path, root: Path, tmp_path: Path):
    shutil.copytree(root / "config", tmp_path / "config")
    study = tmp_path / "config/studies/mendel.yaml"
    text = study.read_text()
    plan, conduct, estimand = (block.split("\n", 1)[1] for _, block in blocks(comparison, "yaml"))
    text = re.sub(r"comparison:.*?\n(?=assumptions:)", lambda _: plan + "\n", text, flags=re.DOTALL)
    text = re.sub(r"conduct:.*?\n(?=arms:)", lambda _: conduct + "\n", text, flags=re.DOTALL)
    text = re.sub(r"estimand: Mean percent.*\n", lambda _: estimand, text, count=1)
    study.write_text(text)
    read = read_study(study)
    assert read.comparison is not None
    assert read.conduct.allocation is not None
    assert "treatment policy" in str(read.endpoints["ldl_change"].estimand)


@pytest.mark.slow
def test_the_calibration_of_models_that_is_shown_runs(comparison: Path, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(root)
    [command] = re.findall(r"^cohort (sbc .*)$", comparison.read_text(), re.MULTILINE)
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    assert "leave their simultaneous 95 % band" in done.output
