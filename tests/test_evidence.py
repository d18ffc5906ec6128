"""Published arms are read whole or refused cell by cell; names can be read without the figures."""

from pathlib import Path

import pytest

from cohort.evidence import COLUMNS, EvidenceError, Row, arms, read

MEAN = {"trial": "t", "registry": "r", "arm": "low", "outcome": "ldl_change", "visit": "12 wk", "n": "78",
        "estimate": "-63.34", "se": "2.40", "unit": "percent", "source": "[1]", "status": "abstract"}  # fmt: skip
COUNT = MEAN | {"arm": "low + high", "outcome": "ae", "estimate": "", "se": "", "events": "11", "unit": "subjects"}


def _file(tmp_path: Path, *rows: dict[str, str], header: str = ",".join(COLUMNS)) -> Path:
    path = tmp_path / "trial.csv"
    path.write_text("\n".join([header, *(",".join(row.get(c, "") for c in COLUMNS) for row in rows)]) + "\n")
    return path


def test_laplace_has_a_mean_for_each_of_its_eight_arms(root: Path):
    table = read(root / "config/evidence/laplace.csv")
    means = table.filter(table["outcome"] == "ldl_change")
    assert means.height == 8
    # Giugliano et al. 2012, abstract: 140 mg every two weeks against placebo, -66.1 %
    value = dict(zip(means["arm"], means["estimate"], strict=True))
    assert value["evolocumab_140_q2w"] - value["placebo_q2w"] == pytest.approx(-66.1, abs=0.05)


def test_numbers_are_numbers_and_pooled_arms_a_list(tmp_path: Path):
    first, second = read(_file(tmp_path, MEAN, COUNT)).to_dicts()
    assert (first["n"], first["estimate"], first["se"], first["events"]) == (78, -63.34, 2.40, None)
    assert (second["arms"], second["events"], second["estimate"]) == (["low", "high"], 11, None)


def test_names_are_read_without_parsing_a_figure(tmp_path: Path):
    path = _file(tmp_path, MEAN | {"estimate": "blinded", "se": "blinded", "n": "blinded"})
    row = arms(path)[0]
    assert row == Row(2, "t", ("low",), "ldl_change", "12 wk", "percent")
    assert "blinded" not in repr(row)


def test_blanks_around_a_name_are_no_part_of_it(tmp_path: Path):
    blank = {column: f" {cell} " for column, cell in MEAN.items()}
    assert arms(_file(tmp_path, blank)) == arms(_file(tmp_path, MEAN))


def test_every_bad_cell_is_named_with_line_and_column(tmp_path: Path):
    path = _file(tmp_path, MEAN | {"n": "-3", "se": "0"}, MEAN, COUNT | {"events": "2.5", "n": "many"})
    with pytest.raises(EvidenceError) as refused:
        read(path)
    found = str(refused.value).splitlines()
    assert [line.split(";")[0] for line in found] == [
        f"{path}:2, n: '-3'",
        f"{path}:2, se: '0'",
        f"{path}:4, n: 'many'",
        f"{path}:4, events: '2.5'",
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (MEAN | {"se": ""}, "2, se: empty; an estimate needs its standard error"),
        (MEAN | {"n": ""}, "2, n: empty; write the number of patients"),
        (MEAN | {"estimate": "", "se": ""}, "2: a line gives either estimate and se, or events"),
        (MEAN | {"events": "3"}, "2: a line gives either estimate and se, or events"),
        (MEAN | {"estimate": "nan"}, "2, estimate: 'nan'; write a number"),
        (MEAN | {"se": "inf"}, "2, se: 'inf'; write a positive number"),
        (COUNT | {"events": "79"}, "events: 79 of 78 patients; there are more events than patients"),
        (COUNT | {"events": "-1"}, "2, events: '-1'; write a number"),
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, row: dict[str, str], reason: str):
    with pytest.raises(EvidenceError, match=reason):
        read(_file(tmp_path, row))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (",".join(COLUMNS[1:]), "missing trial;"),
        (",".join([*COLUMNS, "note"]), "unknown note;"),
        (",".join([*COLUMNS, "se"]), "written twice se;"),
        ("", "missing trial"),
    ],
)
def test_a_header_that_is_not_the_columns_is_refused(tmp_path: Path, header: str, reason: str):
    with pytest.raises(EvidenceError, match=f"trial.csv:1: .*{reason}"):
        arms(_file(tmp_path, header=header))


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("t,r,low\n", r"trial\.csv:3: more or fewer cells"),
        (",".join("x" * (len(COLUMNS) + 1)) + "\n", r"trial\.csv:3: more or fewer cells"),
        ('t,"r', r"trial\.csv:\d: not CSV"),
    ],
)
def test_a_line_that_is_not_a_row_is_refused_not_cut(tmp_path: Path, extra: str, reason: str):
    path = _file(tmp_path, MEAN)
    path.write_text(path.read_text() + extra)
    with pytest.raises(EvidenceError, match=reason):
        arms(path)


def test_lines_are_counted_as_an_editor_does(tmp_path: Path):
    path = _file(tmp_path, MEAN)
    path.write_text(path.read_text() + "\n\n" + ",".join(COUNT.get(c, "") for c in COLUMNS) + "\n")
    assert [row.line for row in arms(path)] == [2, 5]


def test_a_file_in_another_encoding_is_refused(tmp_path: Path):
    path = _file(tmp_path, MEAN)
    path.write_bytes(path.read_bytes() + "Größe".encode("latin-1"))
    with pytest.raises(EvidenceError, match="not UTF-8"):
        arms(path)
