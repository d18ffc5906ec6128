"""A hundred thousand random study files and event tables: refused with a place and a reason, or read as they stand."""

import csv
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import (
    Broken,
    bases,
    check_study,
    check_table,
    differences,
    run_studies,
    run_tables,
    table_model,
    table_text,
)

from cohort.evidence import COLUMNS, EvidenceError
from cohort.evidence import read as read_evidence
from cohort.population.resample import PeopleError, read_people
from cohort.population.sources import source
from cohort.study.reader import study_of

pytestmark = pytest.mark.faults
MANY = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project")
    shutil.copytree(root / "config", made / "config")
    return made


def _told(broken: list[tuple[int, str, str]]) -> str:
    return "\n".join(f"{k}: {what}" for k, what, _ in broken[:5])


@pytest.mark.timeout(1800)
def test_fifty_thousand_studies(folder: Path):
    counts, broken = run_studies(folder, seed=1, n=50_000)
    assert not broken, _told(broken)
    assert counts["accepted"] > 5_000  # the rest says something only if many are nearly right
    assert counts["refused"] > 25_000


@pytest.mark.timeout(1800)
def test_fifty_thousand_event_tables(folder: Path):
    counts, broken = run_tables(folder, seed=1, n=50_000)
    assert not broken, _told(broken)
    assert counts["accepted"] > 5_000
    assert counts["refused"] > 25_000


# The properties can fail


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (lambda t: t["arms"]["placebo_q2w"].update(n=99), "n: '99'"),
        (lambda t: t["arms"].pop("placebo_q4w"), "arms"),
        (lambda t: t["conduct"].update(source="another"), "source"),
        (lambda t: t["visits"].reverse(), r"visits\[0\]"),
        (lambda t: t.update(assumptions=[]), "assumptions"),
        (lambda t: t["population"]["covariates"]["age"].update(sd="9 d"), "sd"),
        (lambda t: t["population"].update(conditions=["ckd=4"]), "population"),
    ],
)
def test_a_study_that_is_not_what_its_file_says_is_noticed(folder: Path, edit: Any, what: str):
    name, tree = bases()[0]
    study = study_of(json.dumps(tree), folder / f"config/studies/{name}.yaml")
    as_text = json.loads(json.dumps(tree), parse_int=str, parse_float=str)
    assert list(differences(_texts(as_text), study)) == []
    edit(tree)
    found = list(differences(_texts(json.loads(json.dumps(tree), parse_int=str, parse_float=str)), study))
    assert any(what.replace("\\", "") in line for line in found), found


def _texts(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _texts(v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_texts(v) for v in tree]
    return {True: "true", False: "false", None: "null"}.get(tree, tree) if not isinstance(tree, str) else tree


def test_a_table_that_is_read_as_another_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import mutations

    model, read = table_model(), mutations.read_events
    good = "ID,TIME,AMT,CMT,DV,DVID,weight\n1,0,10,sc,.,.,70\n1,1,.,.,2.5,c,.\n"
    assert check_table(good, tmp_path / "events.csv", model) == "accepted"
    for old, new in (("10", "11"), ("2.5", "2.4"), ("70", "71"), (",1,", ",2,"), ("\n1,", "\n01,")):
        other = tmp_path / "other.csv"
        other.write_text(good.replace(old, new))
        monkeypatch.setattr(mutations, "read_events", lambda path, model, other=other: read(other, model))
        with pytest.raises(Broken, match="accepted, but"):
            check_table(good, tmp_path / "events.csv", model)


# Found by Hypothesis, which shrinks what it finds

leaf = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
anything = st.recursive(
    leaf, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=8), s, max_size=3), max_leaves=8
)


def _places(tree: Any, at: tuple = ()) -> list[tuple]:
    found = [at] if at else []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        found += _places(value, (*at, key))
    return found


def _read_or_named[T](reads: Callable[[], T], error: type[ValueError], path: Path) -> T | None:
    """What is read; None where our own error refuses it, which names the file."""
    try:
        return reads()
    except error as e:
        if str(path) not in str(e):
            raise Broken(f"refused without a place: {e}") from e
        return None


COLUMNS_OF_PEOPLE = source("us").columns
BASES = bases()
PLACES = [(i, place) for i, (_, tree) in enumerate(BASES) for place in _places(tree)]


@MANY
@given(where=st.sampled_from(PLACES), value=anything)
def test_anything_in_the_place_of_anything(folder: Path, where: tuple[int, tuple], value: Any):
    name, tree = bases()[where[0]]
    inner = tree
    for key in where[1][:-1]:
        inner = inner[key]
    inner[where[1][-1]] = value
    text = json.dumps(tree, ensure_ascii=False)
    check_study(text, folder / f"config/studies/{name}.yaml")


@MANY
@given(anything)
def test_anything_in_the_place_of_a_study(folder: Path, value: Any):
    assert check_study(json.dumps(value, ensure_ascii=False), folder / "config/studies/laplace.yaml") == "refused"


@MANY
@given(st.integers(0, 2**32), st.integers(0, 200), st.text(max_size=6))
def test_anything_in_the_cells_of_an_event_table(tmp_path: Path, seed: int, at: int, cell: str):
    lines = list(csv.reader(table_text(random.Random(seed)).splitlines()))
    row = lines[at % len(lines)]
    if row:
        row[at % len(row)] = cell
    path = tmp_path / "events.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows(lines)
    check_table(path.read_text("utf-8"), path, table_model())


@MANY
@given(st.lists(st.text(max_size=8), min_size=len(COLUMNS), max_size=len(COLUMNS)))
def test_anything_in_the_cells_of_evidence(tmp_path: Path, cells: list[str]):
    path = tmp_path / "evidence.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([COLUMNS, cells])
    if row := _read_or_named(lambda: read_evidence(path).to_dicts()[0], EvidenceError, path):
        assert row["n"] == int(cells[COLUMNS.index("n")])


@MANY
@given(st.sampled_from(["subject", "sex", "age", "height", "weight", "ancestry", "ldl", "site"]), st.text(max_size=8))
def test_anything_in_the_cells_of_a_file_of_people(tmp_path: Path, column: str, cell: str):
    path = tmp_path / "people.csv"
    good = {
        "subject": "0012",
        "sex": "male",
        "age": "50",
        "height": "178",
        "weight": "80",
        "ancestry": "Other",
        "ldl": "130",
        "site": "north",
    }
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows(
            [list(good), list((good | {column: cell}).values()), list((good | {"subject": "0013"}).values())]
        )
    read = _read_or_named(lambda: read_people(path, COLUMNS_OF_PEOPLE), PeopleError, path)
    if read and column in ("age", "height", "weight"):
        assert read[0][column][0] == float(cell)
