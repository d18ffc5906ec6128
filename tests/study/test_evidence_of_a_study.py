"""Evidence that does not fit its study is refused by file, line and column; its figures stay closed."""

import shutil
from pathlib import Path

import pytest

from cohort.study import read_study

EVIDENCE = "  laplace: {file: config/evidence/laplace.csv, use: calibration}"


def _line(path: Path, text: str) -> int:
    return path.read_text().split(text, 1)[0].count("\n") + 1


def test_evidence_for_an_arm_that_does_not_exist_is_named_with_its_line(problems, folder: Path):
    [problem] = problems((",evolocumab_105_q2w,", ",evolocumab_150_q2w,"), file="config/evidence/laplace.csv")
    path = folder / "config/evidence/laplace.csv"
    assert (problem.file, problem.line, problem.key) == (
        "config/evidence/laplace.csv",
        _line(path, "evolocumab_150_q2w"),
        "arm",
    )
    assert "'evolocumab_150_q2w' is no arm of laplace.yaml; did you mean 'evolocumab_1" in problem.message


def test_evidence_for_an_endpoint_that_does_not_exist_is_named(problems):
    [problem] = problems(
        ("evolocumab_70_q2w,ldl_change", "evolocumab_70_q2w,ldl_chance"), file="config/evidence/laplace.csv"
    )
    assert "'ldl_chance' is no endpoint of laplace.yaml; did you mean 'ldl_change'?" in problem.message


def test_a_duplicated_row_of_evidence_is_named_with_both_lines(problems, folder: Path):
    lines = (folder / "config/evidence/laplace.csv").read_text().splitlines()
    [problem] = problems((lines[3], lines[3] + "\n" + lines[3]), file="config/evidence/laplace.csv")
    assert (problem.line, problem.key) == (5, "arm")
    assert problem.message == "evolocumab_70_q2w, ldl_change stands already on line 4; keep one"


CSV = "config/evidence/laplace.csv"


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        (",percent,q2w", ",mg/dL,q2w", "unit", "'mg/dL' does not measure what ldl_change does; write it in percent"),
        (",percent,q2w", ",dd,q2w", "unit", "'dd' does not measure what ldl_change does; write it in percent"),
        (",percent,q2w", ",1,q2w", "unit", "'1', but ldl_change is in percent; write it in percent"),
        (",percent,q2w", ",,q2w", "unit", "'', but ldl_change is in percent; write it in percent"),
        (",subjects,,n", ",percent,,n", "unit", "'percent', but treatment_related_ae is a count; write subjects"),
        ("ldl_change,12 wk", "ldl_change,11 wk", "visit", "'11 wk' is not the last visit; write the result at '12 wk'"),
        ("ldl_change,12 wk", "ldl_change,week 12", "visit", "'week 12' is not a time; write a number and one of h, d"),
        ("ldl_change,12 wk", "ldl_change,", "visit", "'' is not a time"),
        ("laplace,NCT", "laplase,NCT", "trial",
         "'laplase', but laplace.yaml calls this evidence 'laplace'; write laplace"),
        (",placebo_q2w + placebo_q4w,", ",placebo_q2w + placebo_q2w,", "arm", "names an arm twice; keep one"),
        (",placebo_q2w + placebo_q4w,", ",placebo_q2w + evolocumab_70_q2w,", "arm",
         "evolocumab_70_q2w, treatment_related_ae stands already on line 10; keep one"),
    ],
)  # fmt: skip
def test_evidence_that_measures_something_else_is_named_with_its_line(
    problems, folder: Path, old: str, new: str, key: str, message: str
):
    [problem] = problems((old, new), file=CSV)
    line = _line(folder / CSV, new) + (", treatment_related_ae stands" in message)
    assert (problem.file, problem.line, problem.key) == (CSV, line, key)
    assert message in problem.message


def test_a_visit_is_compared_as_a_time(edited):
    edited(("ldl_change,12 wk", "ldl_change,84 d"), file=CSV)
    read_study(edited())


def test_an_outcome_at_another_visit_is_still_the_same_outcome(problems, folder: Path):
    row = (folder / CSV).read_text().splitlines()[3]
    found = problems((row, row + "\n" + row.replace("12 wk", "10 wk")), file=CSV)
    assert [(p.line, p.key) for p in found] == [(5, "visit"), (5, "arm")]
    assert found[1].message == "evolocumab_70_q2w, ldl_change stands already on line 4; keep one"


def test_an_outcome_in_a_second_file_is_named_with_both_places(problems, folder: Path):
    lines = (folder / CSV).read_text().splitlines()
    (folder / "config/evidence/again.csv").write_text("\n".join([lines[0], lines[3].replace("laplace,", "again,", 1)]))
    [problem] = problems((EVIDENCE, EVIDENCE + "\n  again: {file: config/evidence/again.csv, use: validation}"))
    assert (problem.file, problem.line, problem.key) == ("config/evidence/again.csv", 2, "arm")
    assert problem.message == f"evolocumab_70_q2w, ldl_change stands already in {CSV}:4; keep one"


def test_one_file_is_not_evidence_twice(problems):
    [problem] = problems((EVIDENCE, EVIDENCE + "\n" + EVIDENCE.replace("laplace:", "again:")))
    assert (problem.key, problem.message) == ("evidence.again.file", f"'{CSV}' is already 'laplace'; keep one")


@pytest.mark.parametrize(
    ("old", "new"), [("trial,registry", "trail,registry"), ("laplace,NCT01380730,placebo_q2w,", "x,")]
)
def test_evidence_that_is_no_table_is_refused(problems, old: str, new: str):
    [problem] = problems((old, new), file="config/evidence/laplace.csv")
    assert problem.key == "evidence.laplace.file"


def test_evidence_reached_through_a_link_out_of_the_project_is_refused(problems, folder: Path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "laplace.csv"
    shutil.move(folder / "config/evidence/laplace.csv", outside)
    (folder / "config/evidence/laplace.csv").symlink_to(outside)
    [problem] = problems(("seed:", "seed:"))
    assert "leaves the project" in problem.message
