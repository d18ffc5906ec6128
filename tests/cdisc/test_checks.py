"""What no standard's file can hold is named before any is written: all of it, with data set, variable and row."""

from dataclasses import replace

import polars as pl
import pytest

from cohort.cdisc.checks import HUGE, TINY, NotExportable, marked_simulated, refuse, refuse_undescribed, whole
from cohort.cdisc.dataset import Dataset, Variable, clock, format_parts


def _one(kind: str, values: list, **more) -> Dataset:
    variable = Variable("X", "A variable", kind, **more)  # type: ignore[arg-type]
    column = {"number": pl.Float64, "integer": pl.Int64}.get(kind, pl.String)
    return Dataset("A", "Any", (variable,), pl.DataFrame({"X": values}, {"X": column}), source="here")


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("text", ["a", "ü"], r"X, row 2: 'ü' holds 'ü' (U+00FC); write printable ASCII"),
        ("text", ["a\tb"], r"holds '\t' (U+0009)"),
        ("text", ["a\x00b"], r"holds '\x00' (U+0000)"),
        ("text", ["\x85"], "(U+0085)"),
        ("text", ["x" * 201, "x" * 200], "has 201 bytes; 200 at most"),
        ("text", ["ok", ""], "X, row 2: an empty text; write null for missing"),
        ("text", ["a "], "ends in a blank"),
        ("text", ["=1+1"], "would run as a formula"),
        ("text", ["+cmd|'/c'"], "would run as a formula"),
        ("text", ["-2+3+A1"], "would run as a formula"),
        ("text", ["@SUM(1)"], "would run as a formula"),
        ("text", ["a HEADER RECORD*******OBS"], "begins a header of a transport file"),
        ("number", [1.0, 1e300], "X, row 2: 1e+300; a transport file holds 0 and 5.4e-79 to 7.2e+75"),
        ("number", [HUGE], "a transport file holds"),
        ("number", [float("-inf")], "-inf; a transport file holds"),
        ("number", [5e-324], "5e-324; a transport file holds"),
        ("number", [float("nan")], "not a number; write null for missing"),
        ("integer", [2**53 + 1], "9007199254740993 is beyond 2**53"),
        ("date", ["2023-02-29"], "'2023-02-29' is no ISO 8601 date"),
        ("date", ["20230228"], "is no ISO 8601 date"),
        ("date", ["2023-2-8"], "is no ISO 8601 date"),
        ("date", ["2023-13"], "is no ISO 8601 date"),
        ("date", ["2023-W05-1"], "is no ISO 8601 date"),
        ("date", ["2023-02-28T"], "is no ISO 8601 date"),
        ("datetime", ["2023-02-28T24:30"], "is no ISO 8601 datetime"),
        ("datetime", ["2023-02T10:00"], "is no ISO 8601 datetime"),
        ("time", ["8:30"], "is no ISO 8601 time"),
    ],
)
def test_a_value_that_cannot_be_held_is_named(kind: str, values: list, words: str):
    with pytest.raises(NotExportable) as refused:
        refuse(_one(kind, values))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["x" * 200, " a", "-1.5", "+", "-", "<65", "a=b", "1e-5", None]),
        ("number", [0.0, -0.0, TINY, -TINY, 7.2e75, None]),
        ("integer", [2**53, -(2**53), None]),
        ("date", ["2024", "2024-02", "2024-02-29", None]),
        ("datetime", ["2024", "2024-02-29", "2024-02-29T23", "2024-02-29T23:59", "2024-02-29T23:59:59.5+01:00"]),
        ("time", ["08", "08:30", "08:30:00"]),
    ],
)
def test_what_can_be_held_is_let_through(kind: str, values: list):
    refuse(_one(kind, values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "TOOLONGNA"}, "name 'TOOLONGNA'; write 1 to 8"),
        ({"name": "aval"}, "name 'aval'"),
        ({"name": "1AVAL"}, "name '1AVAL'"),
        ({"label": "x" * 41}, "has 41 characters; write 40 at most"),
        ({"label": "µg"}, "holds 'µ' (U+00B5)"),
        ({"label": " "}, "label is empty"),
        ({"label": "=cmd()"}, "would run as a formula"),
        ({"format": "8,3"}, "format '8,3' is none of SAS's"),
        ({"format": "$8."}, "formats of text, and no others, begin with $"),
        ({"format": "NINELETTR8."}, "a name of at most 8 characters"),
        ({"length": 8}, "only text has one"),
        ({"codelist": (("1", "one"), ("1", "uno"))}, "code '1' stands twice"),
        ({"codelist": (("2", "two"),)}, "X, row 1: 1 is not in the code list"),
        ({"codelist": (("one", "one"),)}, "code 'one' of a integer is no number"),
        ({"codelist": (("1", ""),)}, "both need words"),
        ({"format": "TIME8."}, "-1 as a time"),
    ],
)
def test_what_is_wrong_with_a_variable_is_named(change: dict, words: str):
    one = _one("integer", [1, -1])
    variable = replace(one["X"], **change)
    with pytest.raises(NotExportable) as refused:
        refuse(replace(one, variables=(variable,), rows=one.rows.rename({"X": variable.name})))
    assert words in str(refused.value)


def test_everything_wrong_is_said_at_once(adsl: Dataset):
    rows = adsl.rows.with_columns(
        pl.Series("USUBJID", ["12", "12", None]),
        pl.Series("SEX", ["F", "X", "ö"]),
        pl.Series("SIMFL", ["Y", "N", None]),
    )
    with pytest.raises(NotExportable) as refused:
        refuse(replace(adsl, name="ADSLLONGER", rows=rows))
    lines = str(refused.value).splitlines()
    assert lines[0] == "data set ADSLLONGER"
    for words in (
        "name 'ADSLLONGER'",
        "USUBJID, row 3: missing, and the variable is mandatory",
        "2 rows share their keys: rows 1, 2 all have STUDYID 'SIM-TEST', USUBJID '12'",
        "SEX, row 2: 'X' is not in the code list (and 1 more rows)",
        "SEX, row 3: 'ö' holds 'ö'",
        "SIMFL, row 3: missing",
        "SIMFL, row 2: 'N' is not in the code list",
        "not marked as simulated: SIMFL of row 2: 'N'; write 'Y' in every row",
    ):
        assert any(words in line for line in lines), words


def test_a_declared_length_too_short_for_a_value_is_refused():
    refuse(_one("text", ["abc"], length=3))
    with pytest.raises(NotExportable, match="'abcd' has 4 bytes; 3 at most"):
        refuse(_one("text", ["abcd"], length=3))
    assert _one("text", ["abcd", None]).fitted()["X"].length == 4
    assert _one("text", [None]).fitted()["X"].length == 1


def test_columns_must_be_those_described():
    one = _one("integer", [1])
    with pytest.raises(NotExportable, match=r"Y.* without a description"):
        refuse(replace(one, rows=one.rows.with_columns(Y=1)))
    with pytest.raises(NotExportable, match="X: integer in a column of Float64; write Int64"):
        refuse(replace(one, rows=one.rows.cast(pl.Float64)))
    with pytest.raises(NotExportable, match="key Z is no variable"):
        refuse(replace(one, keys=("Z",)))


def test_a_missing_key_is_refused():
    with pytest.raises(NotExportable, match="X, row 2: missing, and the variable is a key"):
        refuse(replace(_one("text", ["a", None]), keys=("X",)))


def test_the_marks_are_three_and_each_is_needed(adsl: Dataset):
    assert marked_simulated(adsl)
    assert not marked_simulated(replace(adsl, label="Subjects"))
    for change in ({"STUDYID": "TEST"}, {"SIMFL": "N"}, {"SIMFL": None}):
        rows = adsl.rows.with_columns(pl.lit(v, pl.String).alias(k) for k, v in change.items())
        assert not marked_simulated(replace(adsl, rows=rows)), change


def test_define_wants_structure_class_keys_and_methods(adeff: Dataset):
    refuse_undescribed(adeff)
    variables = tuple(replace(v, by_parameter=v.by_parameter[:1]) for v in adeff.variables)
    variables = tuple(replace(v, origin="Derived") if v.name == "AVISITN" else v for v in variables)
    with pytest.raises(NotExportable) as refused:
        refuse_undescribed(replace(adeff, structure="", class_=None, keys=(), variables=variables))
    for words in ("no structure", "no class", "no keys", "AVISITN: origin 'Derived' without a method", "'LDLPCT'"):
        assert words in str(refused.value)


def test_formats_are_taken_apart():
    assert format_parts("8.3") == ("", 8, 3)
    assert format_parts("DATE9.") == ("DATE", 9, 0)
    assert format_parts("E8601DA10.") == ("E8601DA", 10, 0)
    assert format_parts("$20.") == ("$", 20, 0)
    assert [clock(f) for f in ("DATE9.", "E8601DT19.", "TIME8.", "8.3", "")] == ["date", "datetime", "time", None, None]


def test_a_cut_date_is_told_from_a_whole_one():
    assert whole("date", "2024-02-29")
    assert not whole("date", "2024-02")
    assert whole("datetime", "2024-02-29T10:00:00")
    assert not whole("datetime", "2024-02-29T10:00")
