"""What the fault tests share: a study that was run undisturbed, copies of it to disturb, a SLURM of this machine."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from disturbed import SIMULATE, STUDY, copied, done, made, project


def _clusters() -> object:
    """The fixtures that the tests of clusters have."""
    file = Path(__file__).resolve().parent.parent / "cluster/conftest.py"
    spec = importlib.util.spec_from_file_location("clusters_conftest", file)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


slurm = _clusters().slurm  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose `population` and `simulate` nobody disturbed."""
    folder = project(tmp_path_factory.mktemp("undisturbed"))
    done(folder, "population", STUDY)
    done(folder, *SIMULATE)
    return folder


@pytest.fixture(scope="session")
def reference(undisturbed: Path) -> dict[str, tuple[str, str]]:
    return made(undisturbed)


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """The same project before `simulate`."""
    return copied(undisturbed, tmp_path / "project")


@pytest.fixture
def own_model(root: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a project with a model of its own: the library's, with parts of its text changed."""

    def make(*changes: tuple[str, str], study: tuple[tuple[str, str], ...] = ()) -> Path:
        from disturbed import TEXT

        said = TEXT.replace("model: evolocumab", "model: ../../models/own.py")
        for before, after in study:
            assert before in said
            said = said.replace(before, after)
        made = project(tmp_path / "own", said)
        (made / "models").mkdir(exist_ok=True)
        text = (root / "models/evolocumab.py").read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after, 1)
        (made / "models/own.py").write_text(text)
        return made

    return make
