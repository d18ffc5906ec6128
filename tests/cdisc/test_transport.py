"""A transport file holds what the rows hold, says so to readers of others, and is the same bytes each time."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyreadstat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from cohort.cdisc.checks import HUGE, TINY, NotExportable
from cohort.cdisc.dataset import FLAG, Dataset, Variable, simulated_label
from cohort.cdisc.transport import NotTransport, from_ibm, read_transport, to_ibm, write_transport

REPRESENTABLE = st.floats(TINY, HUGE, exclude_max=True, width=64)


@given(st.lists(st.just(0.0) | REPRESENTABLE | REPRESENTABLE.map(lambda x: -x), min_size=1))
@settings(max_examples=300)
def test_every_double_in_range_survives_hexadecimal_floating_point(values: list[float]):
    x = np.array(values)
    assert np.array_equal(from_ibm(to_ibm(x)), x)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (1.0, 0x4110000000000000),
        (-118.625, 0xC276A00000000000),  # 76.A hexadecimal, the textbook's example
        (0.1, 0x401999999999999A),
        (TINY, 0x0010000000000000),
        (np.nextafter(HUGE, 0.0), 0x7FFFFFFFFFFFFFF8),
        (0.0, 0),
        (-0.0, 0),
        (np.nan, 0x2E00000000000000),
    ],
)
def test_numbers_have_the_bits_of_ibm_370(value: float, word: int):
    assert to_ibm(np.array([value]))[0] == word


def test_a_data_set_reads_back_whole(adsl: Dataset, tmp_path: Path, when: datetime):
    write_transport(adsl, tmp_path / "adsl.xpt", when)
    back = read_transport(tmp_path / "adsl.xpt")
    assert (back.name, back.label) == (adsl.name, adsl.label)
    assert [(v.name, v.label, v.format) for v in back.variables] == [
        (v.name, v.label, v.format) for v in adsl.variables
    ]
    assert {v.name: v.length for v in back.variables if v.is_text}["BRTHDTC"] == 10
    assert back["TRTSDT"].kind == "integer"
    assert_frame_equal(back.rows.cast(adsl.rows.schema), adsl.rows)  # type: ignore[arg-type]


def test_two_writes_are_the_same_bytes_and_only_the_time_differs(
    adsl: Dataset, tmp_path: Path, when: datetime, monkeypatch: pytest.MonkeyPatch
):
    for name, at in (("a", when), ("b", when), ("c", when.replace(year=2025, day=28))):
        write_transport(adsl, tmp_path / name, at)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(when.timestamp())))
    write_transport(adsl, tmp_path / "d")
    a, b, c, d = ((tmp_path / n).read_bytes() for n in "abcd")
    assert a == b == d
    differ = [i for i in range(len(a)) if a[i] != c[i]]
    stamps = {i for start in (144, 160, 464, 480) for i in range(start, start + 16)}
    assert len(a) == len(c)
    assert differ
    assert set(differ) <= stamps
    assert a[144:160] == b"29FEB24:23:59:07"


def test_without_a_time_nothing_is_written(adsl: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH is ''"):
        write_transport(adsl, tmp_path / "adsl.xpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["adsl", "adeff", "pilot"])
def test_readstat_finds_the_same(which: str, request, tmp_path: Path, when: datetime):
    dataset: Dataset = request.getfixturevalue(which)
    write_transport(dataset, tmp_path / "a.xpt", when)
    found, said = pyreadstat.read_xport(tmp_path / "a.xpt", output_format="polars", disable_datetime_conversion=True)
    assert (said.table_name, said.file_label) == (dataset.name, dataset.label)
    assert said.column_labels == [v.label for v in dataset.variables]
    assert said.creation_time == when.replace(tzinfo=None)
    assert isinstance(found, pl.DataFrame)
    table = found.with_columns(pl.col(pl.String).replace("", None))  # ReadStat's missing text
    assert_frame_equal(table, dataset.rows.with_columns(pl.col(pl.Int64).cast(pl.Float64)))


@pytest.mark.parametrize("which", ["adeff", "pilot"])
def test_pandas_finds_the_same(which: str, request, tmp_path: Path, when: datetime):
    """A reader that shares no code with ReadStat. Not for rows of under 80 bytes with blanks, which it miscounts."""
    dataset: Dataset = request.getfixturevalue(which)
    write_transport(dataset, tmp_path / "a.xpt", when)
    found = pd.DataFrame(pd.read_sas(tmp_path / "a.xpt", format="xport", encoding="ascii"))  # type: ignore[arg-type]
    table = pl.DataFrame({name: [None if pd.isna(x) else x for x in found[name]] for name in found})
    table = table.with_columns(pl.col(pl.String).replace("", None), pl.col(pl.Float64).replace(TINY, 0.0))  # its zero
    assert_frame_equal(table, dataset.rows.with_columns(pl.col(pl.Int64).cast(pl.Float64)))


def test_what_readstat_writes_is_read(pilot: Dataset, tmp_path: Path):
    rows = pilot.rows
    formats = {v.name: "DATE9." for v in pilot.variables if v.kind == "integer"}
    pyreadstat.write_xport(
        rows,  # pyright: ignore[reportArgumentType]: Polars 1 is a frame to pyreadstat
        tmp_path / "a.xpt",
        file_label="Subject-Level",
        column_labels={v.name: v.label for v in pilot.variables},
        table_name="ADSL",
        file_format_version=5,
        variable_format=formats,
    )
    back = read_transport(tmp_path / "a.xpt")
    assert (back.name, back.label, back.rows.height) == ("ADSL", "Subject-Level", 254)
    assert {v.format for v in back.variables} == {"", "DATE9."}
    assert_frame_equal(back.rows, rows)


def test_the_pilot_survives_the_way_there_and_back(pilot: Dataset, tmp_path: Path, when: datetime):
    write_transport(pilot, tmp_path / "a.xpt", when)
    back = read_transport(tmp_path / "a.xpt")
    assert_frame_equal(back.rows, pilot.rows)
    assert [v.kind for v in back.variables] == [v.kind for v in pilot.variables]
    write_transport(back, tmp_path / "b.xpt", when)
    assert (tmp_path / "a.xpt").read_bytes() == (tmp_path / "b.xpt").read_bytes()


PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=9).filter(
    lambda t: not t.endswith(" ") and t[0] not in "=@+-"
)


@given(st.lists(st.tuples(st.none() | PRINTABLE, st.none() | REPRESENTABLE), max_size=40), st.integers(1, 3))
@settings(max_examples=60)
def test_any_rows_come_back(tmp_path_factory, rows: list[tuple[str | None, float | None]], width: int):
    """Rows narrower than a record too, where blanks at the end are padding."""
    table = pl.DataFrame({"T": [t for t, _ in rows], "X": [x for _, x in rows]}, {"T": pl.String, "X": pl.Float64})
    variables = (Variable("T", "A text", "text", length=8 + width), Variable("X", "A number", "number"))
    path = tmp_path_factory.mktemp("xpt") / "a.xpt"
    write_transport(
        Dataset("A", "Any", variables, table, source="hypothesis"),
        path,
        datetime(2024, 1, 1, tzinfo=UTC),
    )
    assert_frame_equal(read_transport(path).rows, table)


def test_a_last_row_of_blanks_is_refused(tmp_path: Path, when: datetime):
    text = Dataset("A", "Any", (Variable("T", "T", "text"),), pl.DataFrame({"T": ["a", None]}), source="here")
    with pytest.raises(NotExportable, match="the last row is all missing"):
        write_transport(text, tmp_path / "a.xpt", when)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_a_file_cut_anywhere_is_refused_unless_it_is_cut_before_its_rows(
    adeff: Dataset, tmp_path: Path, when: datetime
):
    """Version 5 does not say how many rows follow: without any, it is a file of none."""
    write_transport(adeff, tmp_path / "a.xpt", when)
    whole, path, read = (tmp_path / "a.xpt").read_bytes(), tmp_path / "cut.xpt", {}
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        try:
            read[end] = read_transport(path).rows.height
        except NotTransport as refused:
            assert str(refused).startswith(f"{path}: ")  # noqa: PT017
    assert read == {whole.index(b"HEADER RECORD*******OBS") + 80: 0}


@pytest.mark.faults
@given(st.data())
@settings(max_examples=1000)
def test_a_file_with_any_bytes_changed_is_read_or_refused_with_words(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("xpt") / "a.xpt"
    variables = (Variable("T", "A text", "text"), Variable("X", "A number", "number"))
    rows = pl.DataFrame({"T": ["a", "bc"], "X": [1.0, None]})
    write_transport(Dataset("A", "Any", variables, rows, source="here"), path, datetime(2024, 1, 1, tzinfo=UTC))
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        read_transport(path)
    except NotTransport as refused:
        assert str(path) in str(refused)  # noqa: PT017


def _changed(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b"", "ends at byte 0"),
        (lambda b: b[:-80], "the file is cut"),
        (lambda b: b[:-1], "no whole number of records"),
        (lambda b: b"PK\x03\x04" + b[4:], "no transport file of version 5"),
        (lambda b: b.replace(b"LIBRARY HEADER", b"LIBV8   HEADER"), "version 8"),
        (lambda b: b"**COMPRESSED** " * 8 + b[120:], "PROC CPORT"),
        (lambda b: _changed(b, 614, b"0099"), "the file is cut|no header OBS"),
        (lambda b: _changed(b, 614, b"xx99"), "no number"),
        (lambda b: _changed(b, 640, b"\x00\x07"), "a variable of type 7"),
        (lambda b: _changed(b, 640 + 84, b"\x7f\xff\xff\xff"), "overlap or leave gaps"),
        (lambda b: _changed(b, 640 + 140 + 8, b"STUDYID "), "stand twice"),
        (lambda b: b + b[240:], "a second data set"),
        (lambda b: b.replace(b"0012", b"00\xe42"), "is not ascii; name the file's encoding"),
        (lambda b: b.replace(b"0012", b"00\x002"), "a NUL byte"),
        (lambda b: b.replace(b"\x2e" + bytes(7), b"A" + bytes(7)), "special missing value .A"),
    ],
)  # fmt: skip
def test_what_is_no_whole_transport_file_is_refused(change, words: str, adeff: Dataset, tmp_path: Path, when: datetime):
    path = tmp_path / "a.xpt"
    write_transport(adeff, path, when)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(NotTransport, match=words):
        read_transport(path)


def test_files_beyond_the_bounds_are_refused(adeff: Dataset, tmp_path: Path, when: datetime):
    write_transport(adeff, tmp_path / "a.xpt", when)
    with pytest.raises(NotTransport, match="at most 1000 are read"):
        read_transport(tmp_path / "a.xpt", most_bytes=1000)
    with pytest.raises(NotTransport, match="4 rows of 6 variables"):
        read_transport(tmp_path / "a.xpt", most_cells=23)


def test_text_of_another_encoding_is_read_when_it_is_named(adeff: Dataset, tmp_path: Path, when: datetime):
    write_transport(adeff, tmp_path / "a.xpt", when)
    (tmp_path / "a.xpt").write_bytes((tmp_path / "a.xpt").read_bytes().replace(b"0012", b"00\xe42"))
    back = read_transport(tmp_path / "a.xpt", "latin-1")
    assert back.rows["USUBJID"][0] == "00ä2"
    with pytest.raises(NotExportable, match=r"USUBJID, row 1: '00ä2' holds 'ä' \(U\+00E4\); write printable ASCII"):
        write_transport(back, tmp_path / "b.xpt", when)


def test_short_numbers_are_read_exactly(adeff: Dataset, tmp_path: Path, when: datetime):
    """SAS may store a number in 3 bytes: the first of the 8, whose rest is 0."""
    variables = (Variable("N", "Number", "number"),)
    rows = pl.DataFrame({"N": [1.0, -118.5, None, 4096.0] * 20})
    write_transport(Dataset("A", "Any", variables, rows, source="here"), tmp_path / "a.xpt", when)
    raw = (tmp_path / "a.xpt").read_bytes()
    head, body = raw[:880], raw[880 : 880 + 640]
    assert head[-80:].startswith(b"HEADER RECORD*******OBS")
    short = b"".join(body[i : i + 3] for i in range(0, 640, 8))
    (tmp_path / "b.xpt").write_bytes(_changed(head, 644, b"\x00\x03") + short + b" " * (-len(short) % 80))
    assert_frame_equal(read_transport(tmp_path / "b.xpt").rows, rows)


def test_ours_without_the_marks_is_refused_and_a_foreign_one_is_not(adsl: Dataset, tmp_path: Path, when: datetime):
    unmarked = replace(
        adsl,
        label="Subject-Level",
        rows=adsl.rows.with_columns(pl.lit("TEST").alias("STUDYID")).drop("SIMFL"),
        variables=tuple(v for v in adsl.variables if v.name != FLAG.name),
    )
    with pytest.raises(NotExportable) as refused:
        write_transport(unmarked, tmp_path / "a.xpt", when)
    assert "label 'Subject-Level'; write 'SIMULATED Subject-Level'" in str(refused.value)
    assert "STUDYID of row 1: 'TEST'" in str(refused.value)
    assert "no variable SIMFL" in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    write_transport(replace(unmarked, source="elsewhere.xpt"), tmp_path / "a.xpt", when)
    assert read_transport(tmp_path / "a.xpt").label == "Subject-Level"
    assert simulated_label("Subject-Level") == "SIMULATED Subject-Level"
