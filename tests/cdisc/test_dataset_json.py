"""A Dataset-JSON file is valid, holds every digit, and what is none is refused with every reason."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from cohort.cdisc.checks import NotExportable
from cohort.cdisc.dataset import Dataset, Variable
from cohort.cdisc.dataset_json import NotDatasetJson, read_dataset_json, write_dataset_json

SCHEMA = json.loads((Path(__file__).parent / "schemas/dataset.schema.json").read_text())


def _written(dataset: Dataset, path: Path, when: datetime, **more) -> dict:
    write_dataset_json(dataset, path, when, **more)
    return json.loads(path.read_text(encoding="ascii"))


def test_the_schema_is_one_and_refuses_a_misspelt_attribute():
    jsonschema.Draft201909Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="itemgroupOID"):
        jsonschema.validate({"itemgroupOID": "IG.A"}, SCHEMA)


@pytest.mark.parametrize("which", ["adsl", "adeff", "pilot"])
def test_a_file_is_valid_and_reads_back_whole(which: str, request, tmp_path: Path, when: datetime):
    dataset: Dataset = request.getfixturevalue(which)
    found = _written(dataset, tmp_path / "a.json", when)
    jsonschema.validate(found, SCHEMA)
    assert list(found) == [name for name in SCHEMA["properties"] if name in found]  # the standard's order
    assert found["records"] == dataset.rows.height == len(found["rows"])
    back = read_dataset_json(tmp_path / "a.json")
    assert (back.name, back.label, back.keys) == (dataset.name, dataset.label, dataset.keys)
    assert_frame_equal(back.rows, dataset.rows)
    assert [(v.name, v.label, v.kind, v.format) for v in back.variables] == [
        (v.name, v.label, v.kind, v.format) for v in dataset.variables
    ]


def test_attributes_say_what_the_study_is(adsl: Dataset, tmp_path: Path, when: datetime):
    found = _written(adsl, tmp_path / "a.json", when, define="define.xml")
    assert found["datasetJSONCreationDateTime"] == "2024-02-29T23:59:07Z"
    assert found["datasetJSONVersion"] == "1.1.0"
    assert (found["studyOID"], found["metaDataVersionOID"]) == ("SIM-TEST", "MDV.SIM-TEST")
    assert (found["itemGroupOID"], found["metaDataRef"]) == ("IG.ADSL", "define.xml")
    columns = {c["name"]: c for c in found["columns"]}
    assert columns["USUBJID"] == {
        "itemOID": "IT.ADSL.USUBJID",
        "name": "USUBJID",
        "label": "Unique Subject Identifier",
        "dataType": "string",
        "length": 4,
        "keySequence": 2,
    }
    assert columns["TRTSDT"] == {
        "itemOID": "IT.ADSL.TRTSDT",
        "name": "TRTSDT",
        "label": "Date of First Exposure to Treatment",
        "dataType": "date",
        "targetDataType": "integer",
        "displayFormat": "DATE9.",
    }
    place = [c["name"] for c in found["columns"]].index("TRTSDT")
    # SAS counts days from 1960-01-01 = 0; 29 February 2024 is day 23435
    assert [row[place] for row in found["rows"]] == ["1960-01-01", "2024-02-29", "1959-12-31"]


def test_seconds_and_times_are_written_as_iso_and_read_as_counted(tmp_path: Path, when: datetime):
    variables = (
        Variable("ADTM", "Analysis Datetime", "integer", format="DATETIME20."),
        Variable("ATM", "Analysis Time", "integer", format="TIME8."),
    )
    rows = pl.DataFrame({"ADTM": [0, 2024870399, None], "ATM": [0, 86399, None]})
    found = _written(Dataset("A", "Any", variables, rows, source="here"), tmp_path / "a.json", when)
    assert found["rows"][0] == ["1960-01-01T00:00:00", "00:00:00"]
    assert found["rows"][1] == ["2024-02-29T23:59:59", "23:59:59"]
    assert_frame_equal(read_dataset_json(tmp_path / "a.json").rows, rows)


def test_two_writes_are_the_same_bytes(adsl: Dataset, tmp_path: Path, when: datetime):
    for name in "ab":
        write_dataset_json(adsl, tmp_path / name, when)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=9).filter(
    lambda t: not t.endswith(" ") and t[0] not in "=@+-"
)
NUMBERS = st.floats(1e-70, 1e70) | st.just(0.0) | st.floats(-1e70, -1e-70)


@given(st.lists(st.tuples(st.none() | TEXTS, st.none() | NUMBERS, st.none() | st.integers(-(2**53), 2**53))))
@settings(max_examples=50)
def test_any_rows_come_back(tmp_path_factory, rows: list[tuple]):
    schema = {"T": pl.String, "X": pl.Float64, "N": pl.Int64}
    table = pl.DataFrame(rows, schema, orient="row")
    variables = (Variable("T", "Text", "text"), Variable("X", "Number", "number"), Variable("N", "Count", "integer"))
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_dataset_json(
        Dataset("A", "Any", variables, table, source="hypothesis"), path, datetime(2024, 1, 1, tzinfo=UTC)
    )
    assert_frame_equal(read_dataset_json(path).rows, table)


def test_what_is_not_marked_or_not_finite_is_not_written(adsl: Dataset, tmp_path: Path, when: datetime):
    with pytest.raises(NotExportable, match="not marked as simulated"):
        write_dataset_json(replace(adsl, label="Subjects"), tmp_path / "a.json", when)
    nan = adsl.rows.with_columns(WEIGHTBL=pl.lit(float("nan")))
    with pytest.raises(NotExportable, match=r"WEIGHTBL, row 1: not a number; .* \(and 2 more rows\)"):
        write_dataset_json(replace(adsl, rows=nan), tmp_path / "a.json", when)
    assert list(tmp_path.iterdir()) == []


COLUMN = {"itemOID": "IT.A.X", "name": "X", "label": "A variable", "dataType": "double"}
FILE = {
    "datasetJSONCreationDateTime": "2024-01-01T00:00:00",
    "datasetJSONVersion": "1.1",
    "itemGroupOID": "IG.A",
    "records": 1,
    "name": "A",
    "label": "Any",
    "columns": [COLUMN],
    "rows": [[1]],
}


def _read(found: object, path: Path) -> Dataset:
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return read_dataset_json(path)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("", "Expecting value"),
        ("[1]", "no JSON object"),
        ('{"a": NaN}', "NaN is no JSON; write null for missing"),
        ('{"a": 1, "a": 2}', "['a'] stand twice in one object"),
        ("[" * 100_000, "recursion"),
        ("[" + "9" * 5000 + "]", "digits"),
        ({**FILE, "records": 2}, "records is 2, and there are 1 rows"),
        ({**FILE, "records": True}, "records is True"),
        ({**FILE, "rows": [[1, 2]]}, "row 1: write a list of 1 values"),
        ({**FILE, "row": []}, "row: unknown; Dataset-JSON 1.1 has"),
        ({k: v for k, v in FILE.items() if k != "label"}, "label is missing"),
        ({**FILE, "datasetJSONVersion": "1.0.0"}, "'1.0.0'; 1.1 is read"),
        ({**FILE, "columns": []}, "write a list of at least one column"),
        ({**FILE, "columns": [COLUMN, COLUMN], "rows": [[1, 2]]}, "column 'X' stands twice"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "boolean"}]}, "write 'Y' and 'N'"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "number"}]}, "dataType is 'number'; write one of"),
        ({**FILE, "columns": [{**COLUMN, "targetDataType": "integer"}]}, "does not combine"),
        ({**FILE, "columns": [{**COLUMN, "length": 0}]}, "length is 0; write an integer from 1"),
        ({**FILE, "columns": [{**COLUMN, "Length": 1}]}, "Length: unknown"),
        ({**FILE, "rows": [["1"]]}, "X, row 1: '1' is no number"),
        ({**FILE, "rows": [[True]]}, "X, row 1: True is no number"),
        ({**FILE, "rows": [[2**53 + 1]]}, "beyond 2**53"),
        (json.dumps(FILE).replace("[[1]]", "[[1e999]]"), "beyond what a double holds"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "integer"}], "rows": [[1.0]]}, "1.0 is no integer"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "string"}]}, "1 is no text"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "decimal"}], "rows": [["1,5"]]}, "no decimal number"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "decimal"}], "rows": [["1_000"]]}, "no decimal number"),
        ({**FILE, "columns": [{**COLUMN, "dataType": "string"}], "rows": [["\ud800"]]}, "surrogates not allowed"),
        ({**FILE, "columns": [{**COLUMN, "dataType": ["date"]}]}, "dataType is ['date']; write text"),
        (
            {**FILE, "columns": [{**COLUMN, "dataType": "decimal"}], "rows": [["0.1000000000000000001"]]},
            "more digits than a double keeps",
        ),
        (
            {**FILE, "columns": [{**COLUMN, "dataType": "date", "targetDataType": "integer"}], "rows": [["2024-02"]]},
            "'2024-02' is no whole ISO 8601 date",
        ),
    ],
)
def test_what_is_no_dataset_json_is_refused(found: object, words: str, tmp_path: Path):
    with pytest.raises(NotDatasetJson) as refused:
        _read(found, tmp_path / "a.json")
    assert words in str(refused.value)
    assert str(tmp_path / "a.json") in str(refused.value)


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["date", "\ud800", "integer"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


KINDS = ("string", "integer", "double", "decimal", "boolean", "URI", "date", "datetime", "time")


@pytest.mark.faults
@given(st.sampled_from([*FILE, "x"]), st.sampled_from([*COLUMN, "targetDataType", "length", "keySequence"]), ANY)
@settings(max_examples=300)
def test_a_file_with_anything_in_any_place_is_read_or_refused_with_words(tmp_path_factory, where, what, one):
    path = tmp_path_factory.mktemp("json") / "a.json"
    columns = [{**COLUMN, "dataType": k, **t} for k in KINDS for t in ({}, {"targetDataType": "integer"})]
    wrong = [{where: one}, {"columns": [COLUMN | {what: one}]}, *({"columns": [c], "rows": [[one]]} for c in columns)]
    for change in wrong:
        path.write_text(json.dumps(FILE | change))
        try:
            read_dataset_json(path)
        except NotDatasetJson as refused:
            assert str(path) in str(refused)  # noqa: PT017


def test_everything_wrong_is_said_at_once(tmp_path: Path):
    column = {**COLUMN, "dataType": "number", "length": 0}
    with pytest.raises(NotDatasetJson) as refused:
        _read({**FILE, "columns": [column], "records": 3, "surplus": 1}, tmp_path / "a.json")
    assert len(str(refused.value).splitlines()) == 5


def test_an_empty_text_stays_one_and_a_decimal_is_the_number_it_says(tmp_path: Path):
    text, decimal = {**COLUMN, "dataType": "string"}, {**COLUMN, "name": "D", "dataType": "decimal"}
    decimal["targetDataType"] = "decimal"
    file = {**FILE, "columns": [text, decimal], "records": 2, "rows": [["", "30.8983333232059"], [None, None]]}
    back = _read(file, tmp_path / "a.json")
    assert back.rows.rows() == [("", 30.8983333232059), (None, None)]


def test_metadata_without_rows_is_a_data_set_of_none(tmp_path: Path):
    found = {k: v for k, v in FILE.items() if k != "rows"} | {"records": 0}
    assert _read(found, tmp_path / "a.json").rows.schema == {"X": pl.Float64}


def test_files_beyond_the_bounds_are_refused(adeff: Dataset, tmp_path: Path, when: datetime):
    write_dataset_json(adeff, tmp_path / "a.json", when)
    with pytest.raises(NotDatasetJson, match="at most 1000 are read"):
        read_dataset_json(tmp_path / "a.json", most_bytes=1000)
    with pytest.raises(NotDatasetJson, match="4 rows of 6 columns"):
        read_dataset_json(tmp_path / "a.json", most_cells=23)
