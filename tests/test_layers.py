"""Imports point down, and the public list is true."""

import ast
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import cohort

PACKAGE = Path(cohort.__file__).parent
ROOMS: list[str] = [
    "bounded", "units", "external", "philox", "streams", "record", "store", "cdisc", "cluster", "inference", "mixture",
    "borrowing", "analysis", "agreement", "decision", "model", "library", "trace", "evidence", "population",
    "study", "enrolment", "dosing", "engine", "trial", "posterior", "simulation", "pharmacometrics", "calibration",
    "comparison", "results", "display", "chapters", "provenance", "export", "report", "dossier", "pipeline", "cli",
]  # fmt: skip
FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py" and "models" not in p.parts]


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import from the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the import from cohort on"
            modules = [f"cohort.{a.name}" for a in node.names] if node.module == "cohort" else [node.module or ""]
        else:
            continue
        yield from ((node.lineno, m.split(".")[1]) for m in modules if m.startswith("cohort."))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path):
    own = ROOMS.index(_room(path))
    for line, room in _imported(path):
        assert room in ROOMS, f"{path}:{line}: imports {room!r}, which is no room"
        assert ROOMS.index(room) <= own, f"{path}:{line}: {_room(path)} imports {room}, which stands above it"


def test_no_room_is_named_after_nothing():
    names = {part.removesuffix(".py") for p in FILES for part in p.relative_to(PACKAGE).parts}
    assert not names & {"utils", "util", "helpers", "core", "common", "misc"}


def test_the_public_list_is_sorted_and_names_each_thing_once():
    assert list(cohort.__all__) == sorted(set(cohort.__all__))


def test_everything_on_the_public_list_is_there():
    assert [name for name in cohort.__all__ if not hasattr(cohort, name)] == []


def test_everything_public_is_on_the_list():
    public = {n for n, v in vars(cohort).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    assert public <= set(cohort.__all__)
