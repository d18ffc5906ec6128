"""Tables from elsewhere are cells, of bounded number and size, or they are refused before they are unpacked."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohort.bounded import BoundError, csv_rows, parquet, tables


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def test_rows_come_with_the_line_that_they_end_on(tmp_path: Path):
    path = _csv(tmp_path, '\ufeffa,b\n1,"x\ny"\n\n2\n')
    assert csv_rows(path) == (["a", "b"], [(3, ["1", "x\ny"]), (5, ["2"])])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,"2\n', r":2: not CSV"),
        ("a\n" + "x" * 40_000, r":2: a cell of more than 32,767 characters"),
        ("a\n" + "x" * 200_000, r":2: not CSV: field larger"),
        ("," * 2_001, r":1: more than the .* 2,000 columns"),
        ("a\n\ud800", r":2: not UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: str, said: str):
    with pytest.raises(BoundError, match=r"table\.csv" + said):
        csv_rows(_csv(tmp_path, text))


def test_bounds_are_of_rows_cells_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _csv(tmp_path, "a,b\n" + "1,2\n" * 50)
    for name, most, said in (
        ("ROWS", 20, "20 rows"),
        ("CELLS", 60, "60 cells"),
        ("CSV", 100, "longer than the 100 bytes"),
    ):
        with monkeypatch.context() as bounds:
            bounds.setattr(tables, name, most)
            with pytest.raises(BoundError, match=said):
                csv_rows(path)
    assert len(csv_rows(path)[1]) == 50


def test_a_pipe_a_folder_and_nothing_are_no_file(tmp_path: Path):
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "none.csv"):
        with pytest.raises(BoundError, match="no such file"):
            csv_rows(path)


def test_parquet_that_polars_wrote_reads_back(tmp_path: Path):
    frame = pl.DataFrame(
        {"id": ["0012", "12"], "x": [1.5, None], "n": [1, 2], "sex": pl.Series(["m", "f"], dtype=pl.Enum(["m", "f"]))}
    )
    frame.write_parquet(tmp_path / "t.parquet")
    read = pl.DataFrame(pl.from_arrow(parquet(tmp_path / "t.parquet")))
    assert read["id"].cast(pl.String).to_list() == ["0012", "12"]
    assert read["x"].to_list() == [1.5, None]


def test_a_million_copies_of_a_long_word_are_refused_unwritten(tmp_path: Path):
    path = tmp_path / "bomb.parquet"
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 30_000]))
    pq.write_table(pa.table({"subject": words}), path)
    assert path.stat().st_size < 100_000  # six gigabytes, if they were written out
    with pytest.raises(BoundError, match="characters of text"):
        parquet(path)


def test_a_footer_of_too_many_rows_or_bytes_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"x": pa.array([0.0] * 1_000_000)}), path, compression="zstd")
    assert path.stat().st_size < 5_000
    with monkeypatch.context() as bounds:
        bounds.setattr(tables, "ROWS", 999_999)
        with pytest.raises(BoundError, match="1,000,000 rows of 1 columns"):
            parquet(path)
    wide = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"x": pa.array(range(1000), pa.int64())}), wide, use_dictionary=False)
    monkeypatch.setattr(tables, "UNPACKED", 5_000)
    with pytest.raises(BoundError, match="bytes once unpacked; at most 5,000"):
        parquet(wide)


class _Mine(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int64(), "cohort.test")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"anything"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> "_Mine":
        raise AssertionError("a file's bytes reached an extension type")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.ExtensionArray.from_storage(_Mine(), pa.array([1, 2])), "an extension type"),
        (pa.array([[1], [2]]), "list"),
        (pa.array([{"a": 1}]), "struct"),
        (pa.array([b"\x80\x04."]), "binary"),
    ],
    ids=["extension", "list", "struct", "bytes"],
)
def test_only_plain_columns_are_read(tmp_path: Path, column: pa.Array, kind: str):
    pq.write_table(pa.table({"x": column}), tmp_path / "t.parquet")
    with pytest.raises(BoundError, match=f"column 'x' holds {kind}"):
        parquet(tmp_path / "t.parquet")


def test_a_damaged_parquet_file_is_refused_wherever_it_is_damaged(tmp_path: Path):
    whole = tmp_path / "whole.parquet"
    pl.DataFrame({"subject": [f"{i:04d}" for i in range(300)], "age": [float(i) for i in range(300)]}).write_parquet(
        whole
    )
    raw, path = whole.read_bytes(), tmp_path / "damaged.parquet"
    refused = 0
    for at in range(0, len(raw), 23):
        for made in (raw[:at], raw[:at] + bytes([raw[at] ^ 0x5A]) + raw[at + 1 :]):
            path.write_bytes(made)
            try:
                parquet(path)
            except BoundError as e:
                refused += str(path) in str(e)
    assert refused > len(raw) // 23  # every cut, and flips where they show; a hash is what sees the others
