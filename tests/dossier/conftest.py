"""A study of three arms and eighty people, run as far as its comparison, whose outcomes were made up."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cohort.cli import app
from cohort.evidence import COLUMNS
from cohort.results import Results, open_results

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")
SEEN = {"placebo_q2w": (1.5, 4.5), "evolocumab_140_q2w": (-20.0, 4.6), "evolocumab_420_q4w": (-49.0, 4.4)}


def outcomes() -> str:
    lines = [
        {"trial": "small", "arm": arm, "outcome": "ldl_change", "visit": "12 wk", "n": "20", "unit": "percent"}
        | {"estimate": str(mean), "se": str(se)}
        for arm, (mean, se) in SEEN.items()
    ]
    return "\n".join([",".join(COLUMNS), *(",".join(line.get(c, "") for c in COLUMNS) for line in lines)]) + "\n"


def small(said: dict) -> dict:
    """MENDEL with three arms of twenty, and the model's own parameters."""
    said = {k: v for k, v in said.items() if k not in ("comparison", "parameters_from")}
    said["arms"] = {arm: said["arms"][arm] | {"n": 20} for arm in ARMS}
    said["arms"][ARMS[2]]["control"] = ARMS[0]
    said["population"] |= {"size": 80}
    said["analysis"] = {k: v for k, v in said["analysis"].items() if k != "borrowing"} | {"draws": 16}
    said["endpoints"] = {k: said["endpoints"][k] for k in ("ldl_change", "ldl_below_25")}
    said["evidence"] = {"small": {"file": "config/evidence/small.csv", "use": "validation"}}
    return said


@pytest.fixture(scope="session")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in which every step up to the comparison was run; returns the study's file."""
    folder = tmp_path_factory.mktemp("dossier")
    (folder / "config/studies").mkdir(parents=True)
    (folder / "config/evidence").mkdir()
    shutil.copytree(root / "config/cluster", folder / "config/cluster")
    said = small(yaml.safe_load((root / "config/studies/mendel.yaml").read_text()))
    study = folder / "config/studies/small.yaml"
    study.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True))
    (folder / "config/evidence/small.csv").write_text(outcomes())
    for verb in ("population", "simulate", "trial", "compare"):
        made = CliRunner().invoke(app, [verb, str(study)])
        assert made.exit_code == 0, made.output
    return study


@pytest.fixture
def own(ran: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    shutil.copytree(ran.parents[2], tmp_path / "project")
    return tmp_path / "project/config/studies/small.yaml"


@pytest.fixture(scope="session")
def results(ran: Path) -> Results:
    return open_results(ran)


@pytest.fixture
def edited(own: Path) -> Callable[[Callable[[dict], None]], Results]:
    """The copy with its file changed where no result rests on it."""

    def edit(change: Callable[[dict], None]) -> Results:
        said = yaml.safe_load(own.read_text())
        change(said)
        own.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True))
        return open_results(own)

    return edit
