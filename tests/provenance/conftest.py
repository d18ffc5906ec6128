"""A small study, run for real and sealed."""

import shutil
from pathlib import Path

import pytest
from small_study import STUDY, project, simulated
from typer.testing import CliRunner

from cohort.cli import app
from cohort.provenance.seal import seal
from cohort.results import Results, open_results


@pytest.fixture(scope="session")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Simulated, neither compared nor sealed; not to be written to."""
    return simulated(project(tmp_path_factory.mktemp("run"), root))


@pytest.fixture
def fresh(run: Results, tmp_path: Path) -> Results:
    """A copy of that project."""
    shutil.copytree(run.study.root, tmp_path / "project")
    return open_results(tmp_path / "project" / STUDY)


@pytest.fixture(scope="session")
def sealed(run: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sealed results alone, far from the project they were made in, which is no more."""
    folder = tmp_path_factory.mktemp("made") / "project"
    shutil.copytree(run.study.root, folder)
    results = open_results(folder / STUDY)
    seal(results, partial=True)
    shutil.copytree(results.folder, elsewhere := tmp_path_factory.mktemp("elsewhere") / "sealed")
    shutil.rmtree(folder)
    return elsewhere


@pytest.fixture
def copy(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "copy"))


@pytest.fixture(scope="session")
def complete(run: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all steps, to the report."""
    folder = tmp_path_factory.mktemp("complete") / "project"
    shutil.copytree(run.study.root, folder)
    for verb in ("register", "compare", "report", "seal"):
        result = CliRunner().invoke(app, [verb, str(folder / STUDY)])
        assert result.exit_code == 0, result.output
    return folder / "results/small"
