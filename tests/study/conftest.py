"""A project of its own, to write wrong studies in."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cohort.study import Problem, StudyError, read_study

type Edit = tuple[str, str]


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A project of its own, with the studies and the evidence of this one."""
    shutil.copytree(root / "config", tmp_path / "config")
    return tmp_path


@pytest.fixture
def edited(folder: Path) -> Callable[..., Path]:
    """Write a study with some text exchanged; returns its path."""

    def edit(*edits: Edit, file: str = "config/studies/laplace.yaml") -> Path:
        text = (folder / file).read_text()
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new, 1)
        (folder / file).write_text(text)
        return folder / file

    return edit


@pytest.fixture
def problems(edited: Callable[..., Path], folder: Path) -> Callable[..., list[Problem]]:
    """What reading a study says after these edits."""

    def read(*edits: Edit, file: str = "config/studies/laplace.yaml", study: str = "laplace") -> list[Problem]:
        edited(*edits, file=file)
        with pytest.raises(StudyError) as refused:
            read_study(folder / f"config/studies/{study}.yaml")
        return refused.value.problems

    return read
