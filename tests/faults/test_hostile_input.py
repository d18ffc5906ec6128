"""Files of whoever means harm: refused with a reason, in bounded time and memory, and nothing of them runs."""

import ast
import csv
import os
import re
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from mutations import table_model

from cohort import library
from cohort.dosing.table import EventTableError, read_events
from cohort.evidence import EvidenceError, arms
from cohort.evidence import read as read_evidence
from cohort.library import ModelError, from_text, load, path_of
from cohort.population.baseline import MatchingError, read_targets
from cohort.population.partition import CompoundError, read_compound
from cohort.population.person import PersonError, read_person
from cohort.population.resample import PeopleError, read_people
from cohort.population.sources import source
from cohort.study import StudyError, read_study

pytestmark = pytest.mark.faults


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """A copy of this project's studies and evidence, beside a folder that is none of it."""
    shutil.copytree(root / "config", tmp_path / "project" / "config")
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "project"


def _refused(project: Path, old: str, new: str) -> str:
    study = project / "config/studies/laplace.yaml"
    text = study.read_text()
    assert old in text
    study.write_text(text.replace(old, new, 1))
    with pytest.raises(StudyError) as refusal:
        read_study(study)
    assert all(re.match(r".+:\d+  \S", line) for line in str(refusal.value).splitlines())
    return str(refusal.value)


# YAML

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
)
HOSTILE = {
    "a tag that would call": ("!!python/object/apply:os.system ['touch {mark}']", "the tag"),
    "a tag that would import": ("!!python/module:antigravity x", "the tag"),
    "a tag that would make": ("!!python/object/new:subprocess.Popen [[touch, '{mark}']]", "the tag"),
    "a tag of a kind": ("!!set {{a, b}}", "the tag"),
    "a billion laughs": (LAUGHS, "an alias"),
    "itself": ("&x [*x]", "an alias"),
    "too deep": ("[" * 100_000, "more than 40 levels"),
    "too deep, by dashes": ("\n" + "- " * 2_000 + "x", "more than 40 levels"),
    "too deep, by keys": ("{{a: " * 2_000, "more than 40 levels"),
    "too long": ("x" * 2**21, "longer than the 1,048,576"),
    "too many": ("[" + "1, " * 200_000 + "1]", "more than 100,000 values"),
    "another document": ("1\n---\na: 2", "another document"),
    "a key that is a list": ("1\n? [a, b]\n: 2", "a key that is no plain text"),
    "a number without end": ("9" * 5_000, "more than 18 digits"),
    "a number beyond all": ("1e999", "beyond all numbers"),
    "a control character": ("\x1b[2J", "is not text"),
    "a nought": ("\x00", "is not text"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_yaml_is_refused_by_every_reader_at_once(project: Path, tmp_path: Path, what: str):
    mark = tmp_path / "ran"
    text, said = HOSTILE[what][0].format(mark=mark) if "{" in HOSTILE[what][0] else HOSTILE[what][0], HOSTILE[what][1]
    hostile = text if what == "a billion laughs" else f"name: {text}\n"
    (project / "drug.yaml").write_text(hostile)
    (project / "config/studies/odd.yaml").write_text(f"title: {text}\n" if what != "a billion laughs" else text)
    begun = time.process_time()
    for reads, error, path in (
        (read_study, StudyError, project / "config/studies/odd.yaml"),
        (read_compound, CompoundError, project / "drug.yaml"),
        (read_person, PersonError, project / "drug.yaml"),
    ):
        with pytest.raises(error) as refusal:
            reads(path)
        assert said in str(refusal.value)
        assert path.name in str(refusal.value)
        assert len(str(refusal.value)) < 100_000
    assert not mark.exists()
    assert time.process_time() - begun < 6


def test_a_hostile_neighbour_keeps_no_study_from_being_read(project: Path):
    for i, text in enumerate(("[" * 100_000, LAUGHS, "evidence: [1]\ncomparison: 3\n", "\x00", "a: *a")):
        (project / f"config/studies/neighbour{i}.yaml").write_text(text)
    assert read_study(project / "config/studies/mendel.yaml").name == "mendel"


def test_a_neighbour_that_is_named_and_makes_no_sense_is_said(project: Path):
    (project / "config/studies/yukawa.yaml").write_text("evidence: [1]\ncomparison: 3\nmodel: [evolocumab]\n")
    with pytest.raises(StudyError, match="'yukawa' does not validate alone"):
        read_study(project / "config/studies/mendel.yaml")


# Paths

OUT = [
    ("file: config/evidence/laplace.csv", "file: ../elsewhere/laplace.csv"),
    ("file: config/evidence/laplace.csv", "file: /etc/passwd"),
    ("file: config/evidence/laplace.csv", "file: config/evidence/link.csv"),
    ("file: config/evidence/laplace.csv", "file: config/linked/laplace.csv"),
    ("  size: 2000", "  size: 2000\n  compound: ../elsewhere/drug.yaml"),
    ("  size: 2000", "  size: 2000\n  compound: /etc/drug.yaml"),
    ("  size: 2000", "  size: 2000\n  compound: config/drug.yaml"),
    ("  source: us", "  people: config/linked/people.csv\n  source: resample"),
    ("  source: us", "  people: ../elsewhere/people.csv\n  source: resample"),
    ("  size: 2000", "  size: 2000\n  match: {table: config/linked/table.csv}"),
    ("model: evolocumab", "model: ../../../elsewhere/model.py"),
    ("model: evolocumab", "model: model.py"),
]


@pytest.mark.parametrize(("old", "new"), OUT, ids=[new.strip().replace("\n", " ") for _, new in OUT])
def test_no_path_of_a_study_leads_out_of_the_project(project: Path, old: str, new: str):
    elsewhere, ran = project.parent / "elsewhere", project.parent / "ran"
    shutil.copy(project / "config/evidence/laplace.csv", elsewhere / "laplace.csv")
    (elsewhere / "model.py").write_text(f"open({str(ran)!r}, 'w')\n{path_of('evolocumab').read_text()}")
    (elsewhere / "drug.yaml").write_text("name: secret\n")
    (elsewhere / "people.csv").write_text("secret\n")
    (elsewhere / "table.csv").write_text("secret\n")
    (project / "config/evidence/link.csv").symlink_to(elsewhere / "laplace.csv")
    (project / "config/linked").symlink_to(elsewhere)
    (project / "config/drug.yaml").symlink_to(elsewhere / "drug.yaml")
    (project / "config/studies/model.py").symlink_to(elsewhere / "model.py")
    said = _refused(project, old, new)
    assert "leaves the project" in said
    assert "secret" not in said
    assert not ran.exists()


@pytest.mark.parametrize(
    "name", ["../tools/survey", "..", ".", "a/b", "/etc/passwd", "evolocumab.pyc", "x" * 3000, "evolocumab\u0000"]
)
def test_the_library_is_left_by_no_name(name: str):
    with pytest.raises(ModelError, match="no model "):
        path_of(name)


@pytest.mark.parametrize("name", ["../enzymes", "/etc/passwd", "a/b", "../compounds/caffeine", "x" * 3000])
def test_the_compounds_are_left_by_no_name(name: str):
    with pytest.raises(CompoundError, match="no compound "):
        read_compound(name)


@pytest.mark.parametrize("stem", ["a b", "$(touch ran)", "a;b", "-rf", "a'b", "é", "a|b", "a\nb", "[bold]x", "x" * 120])
def test_a_study_has_a_name_that_a_shell_leaves_alone(project: Path, stem: str):
    path = project / f"config/studies/{stem}.yaml"
    shutil.copy(project / "config/studies/laplace.yaml", path)
    with pytest.raises(StudyError, match="the file's name"):
        read_study(path)


LONG = [
    ("model: evolocumab", "model: evolocumab\nparameters_from: " + "x" * 5000),
    ("model: evolocumab", "model: " + "x" * 5000 + ".py"),
    ("file: config/evidence/laplace.csv", "file: " + "x" * 5000),
    ("  size: 2000", "  size: 2000\n  compound: " + "x" * 5000 + ".yaml"),
    ("  size: 2000", "  size: 2000\n  compound: " + "x" * 5000),
    ("  source: us", "  source: resample\n  people: " + "x/" * 2000 + "a.csv"),
]


@pytest.mark.parametrize(("old", "new"), LONG, ids=range(len(LONG)))
def test_a_name_longer_than_a_file_can_have_is_refused(project: Path, old: str, new: str):
    assert len(_refused(project, old, new)) < 50_000


# Models are code


def _own(project: Path) -> tuple[Path, Path]:
    """A model that is not the library's, and what it leaves when it runs."""
    ran, path = project / "ran", project / "config/studies/mine.py"
    path.write_text(f"open({str(ran)!r}, 'a').write('x')\n{path_of('evolocumab').read_text()}")
    return path, ran


def test_untrusted_runs_no_model_from_outside_the_library(project: Path, monkeypatch: pytest.MonkeyPatch):
    path, ran = _own(project)
    monkeypatch.setenv(library.UNTRUSTED, "1")
    for refused in (lambda: load(str(path)), lambda: from_text(str(path), path.read_text())):
        with pytest.raises(ModelError, match=r"from outside the library \(sha256 [0-9a-f]{64}\)"):
            refused()
    assert "is not run as untrusted" in _refused(project, "model: evolocumab", "model: mine.py")
    assert not ran.exists()
    assert load("evolocumab").name == "evolocumab"
    shutil.copy(path_of("evolocumab"), project / "copy.py")
    assert load("copy.py", project).name == "copy"  # the very text of the library's is the library's


def test_untrusted_holds_after_a_model_was_run_trusted(project: Path, monkeypatch: pytest.MonkeyPatch):
    path, _ = _own(project)
    load(str(path))
    monkeypatch.setenv(library.UNTRUSTED, "1")
    with pytest.raises(ModelError, match="untrusted"):
        load(str(path))


def test_untrusted_reaches_processes_that_are_started(project: Path):
    path, ran = _own(project)
    code = f"from cohort.library import from_text; from_text({str(path)!r}, open({str(path)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, library.UNTRUSTED: "1"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "is not run as untrusted" in done.stderr
    assert not ran.exists()


def test_a_model_from_elsewhere_is_named_with_its_hash_before_it_runs(project: Path, caplog: pytest.LogCaptureFixture):
    import hashlib

    path, _ = _own(project)
    path.write_text(path.read_text() + "\n1 / 0\n")  # it fails when it runs; it was named before
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        load(str(path))
    [said] = [r.getMessage() for r in caplog.records if r.name == "cohort.library"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert said == f"{path}: a model from outside the library, which is code and runs now; sha256 {digest}"
    load("evolocumab")
    assert len([r for r in caplog.records if r.name == "cohort.library"]) == 1


# Ids, through each reader that takes them

ALIKE = {
    "empty": ["", "12"],
    "blank": [" ", "12"],
    "with space before": [" 12", "0012"],
    "with space after": ["12 ", "0012"],
    "with a space that is none": ["\u00a012", "0012"],
    "unseen": ["1\u200b2", "0012"],
    "decomposed": ["e\u0301", "12"],
    "composed and not": ["é", "e\u0301"],
    "twice": ["12", "12"],
}
PEOPLE = "subject,sex,age,height,weight,ancestry\n"


def _people(tmp_path: Path, ids: list[str], kind: str) -> Path:
    rows = [
        {"subject": i, "sex": "male", "age": 50.0, "height": 178.0, "weight": 80.0, "ancestry": "Other"} for i in ids
    ]
    path = tmp_path / f"people.{kind}"
    if kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        pl.DataFrame(rows).write_csv(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("what", ALIKE)
def test_people_whose_ids_could_be_taken_for_another_are_refused_by_row_alone(tmp_path: Path, kind: str, what: str):
    with pytest.raises(PeopleError) as refusal:
        read_people(_people(tmp_path, ALIKE[what], kind), source("us").columns)
    row = {"twice": 2, "composed and not": 2}.get(what, 1)
    assert f"row {row}, column 'subject': " in str(refusal.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_people_0012_and_12_are_two(tmp_path: Path, kind: str):
    rows, extra = read_people(_people(tmp_path, ["0012", "12", "012"], kind), source("us").columns)
    assert len(rows["age"]) == 3
    assert not extra


def test_people_whose_ids_are_numbers_are_refused(tmp_path: Path):
    path = tmp_path / "people.parquet"
    pl.DataFrame(
        {"subject": [12], "sex": ["male"], "age": [50.0], "height": [178.0], "weight": [80.0], "ancestry": ["Other"]}
    ).write_parquet(path)
    with pytest.raises(PeopleError, match="ids are text, so that 0012 stays 0012"):
        read_people(path, source("us").columns)


def _table(tmp_path: Path, ids: list[str], kind: str) -> Path:
    frame = pl.DataFrame({"ID": ids, "TIME": ["0"] * len(ids), "AMT": ["10"] * len(ids), "CMT": ["sc"] * len(ids)})
    path = tmp_path / f"events.{kind}"
    frame.write_parquet(path) if kind == "parquet" else frame.write_csv(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("what", ["empty", "blank", "unseen", "decomposed", "composed and not"])
def test_event_tables_refuse_such_ids_by_row(tmp_path: Path, kind: str, what: str):
    with pytest.raises(EventTableError, match=r"row [23], ID: ") as refusal:
        read_events(_table(tmp_path, ALIKE[what], kind), table_model())
    assert "e\u0301" not in str(refusal.value) or unicodedata.is_normalized("NFD", str(refusal.value))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_event_tables_keep_0012_and_12_apart(tmp_path: Path, kind: str):
    assert read_events(_table(tmp_path, ["0012", "12", "012"], kind), table_model()).subjects == ["0012", "12", "012"]
    with pytest.raises(EventTableError, match=r"row 3, ID: .*only space sets it apart"):
        read_events(_table(tmp_path, ["12", "12 "], kind), table_model())


# Numbers that a lenient reader would take for others


@pytest.mark.parametrize("cell", ["1_0", "٣", "0x10", "1e999", "1,5", "１２", "1e5x", "--1", "nan", "infinity"])
def test_what_is_not_written_as_a_number_is_none(root: Path, tmp_path: Path, cell: str):
    rows = list(csv.DictReader((root / "config/evidence/laplace.csv").open(newline="")))
    rows[0]["estimate"] = cell
    path = tmp_path / "e.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(EvidenceError, match=r"e\.csv:2, estimate: "):
        read_evidence(path)
    table = tmp_path / "table.csv"
    table.write_text(f'variable,level,statistic,value,unit,n,source\nage,,mean,"{cell}",y,20,a test\n')
    with pytest.raises(MatchingError, match=r"table\.csv:2, value: "):
        read_targets(table, source("us").columns)
    events = tmp_path / "events.csv"
    events.write_text(f'ID,TIME,AMT,CMT\n1,"{cell}",1,sc\n')
    with pytest.raises(EventTableError, match="row 2, TIME: "):
        read_events(events, table_model())


@pytest.mark.parametrize("column", ["age", "weight"])
def test_people_s_columns_that_stand_twice_are_refused_and_not_renamed(tmp_path: Path, column: str):
    path = tmp_path / "people.csv"
    path.write_text(f"{PEOPLE.strip()},{column}\n1,male,50,178,80,Other,60\n")
    with pytest.raises(PeopleError, match=f"columns '{column}' are there more than once"):
        read_people(path, source("us").columns)


def test_people_s_rows_that_are_short_are_refused_and_not_filled(tmp_path: Path):
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE + "1,male,50,178,80,Other\n2,male,50,178,80\n3,male,50,178,80,Other,x\n")
    with pytest.raises(PeopleError) as refusal:
        read_people(path, source("us").columns)
    assert [line.rsplit(": ", 2)[1] for line in str(refusal.value).splitlines()] == ["row 2", "row 3"]


def test_hostile_csv_is_refused_by_every_reader(tmp_path: Path):
    path = tmp_path / "x.csv"
    columns = source("us").columns
    readers: list[tuple[Callable[[Path], object], type[ValueError]]] = [
        (arms, EvidenceError),
        (lambda p: read_targets(p, columns), MatchingError),
        (lambda p: read_people(p, columns), PeopleError),
        (lambda p: read_events(p, table_model()), EventTableError),
    ]
    for raw in (
        b"",
        b"\n",
        b"\xff\xfe",
        b'a,"b\n',
        b"," * 5_000,
        b"a\n" + b"x" * 200_000,
        b"\x00" * 100,
        b"PK\x03\x04" * 50,
        b"\x1f\x8b" * 50,
    ):
        path.write_bytes(raw)
        for reads, error in readers:
            with pytest.raises(error, match=r"x\.csv"):
                reads(path)


# One door to each danger

ALLOWED = {"exec": {"library.py"}, "compile": {"library.py"}, "Markup": {"report/__init__.py"}}
DANGEROUS = {
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "joblib",
    "cloudpickle",
    "zipfile",
    "tarfile",
    "gzip",
    "bz2",
    "lzma",
    "imp",
}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "unsafe_load",
    "full_load",
    "load_all",
    "unpack_archive",
    "literal_eval",
    "mktemp",
    "system",
    "popen",
}


def _called(node: ast.Call) -> str:
    return (
        node.func.id
        if isinstance(node.func, ast.Name)
        else node.func.attr
        if isinstance(node.func, ast.Attribute)
        else ""
    )


def test_no_pickle_no_archive_no_eval_and_no_shell(root: Path):
    wrong = []
    for path in sorted((root / "cohort").rglob("*.py")):
        where = path.relative_to(root / "cohort").as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{where}:{node.lineno} imports {n}" for n in names if n.split(".")[0] in DANGEROUS]  # type: ignore[attr-defined]
            if not isinstance(node, ast.Call):
                continue
            name = _called(node)
            bare = isinstance(node.func, ast.Name) or name in (
                "unsafe_load",
                "full_load",
                "unpack_archive",
                "system",
                "popen",
            )
            if name in CALLS and bare and where not in ALLOWED.get(name, set()):
                wrong.append(f"{where}:{node.lineno} calls {name}")
            for word in node.keywords:
                true = isinstance(word.value, ast.Constant) and word.value.value is True
                if true and word.arg in ("allow_pickle", "shell"):
                    wrong.append(f"{where}:{node.lineno} says {word.arg}=True")
            if name == "load" and ast.unparse(node.func) in ("yaml.load", "np.load", "numpy.load"):
                wrong.append(f"{where}:{node.lineno} calls {ast.unparse(node.func)}")
    assert wrong == []
