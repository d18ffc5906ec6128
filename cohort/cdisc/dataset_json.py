"""Dataset-JSON 1.1: a data set with its columns' descriptions in one JSON file [1].

Attributes stand in the standard's order, rows one a line. Numbers are written in the shortest decimal that gives the
same double back. Days, seconds and times that SAS counts in integers are written as ISO 8601 text with
`targetDataType` integer, as the standard asks for ADaM. Missing is null.

[1] CDISC Dataset-JSON Version 1.1, 2024-12-05, github.com/cdisc-org/DataExchange-DatasetJson
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from cohort.cdisc.checks import WHOLE, refuse
from cohort.cdisc.dataset import COLUMNS, MARK, Dataset, Kind, Variable, clock, created
from cohort.store import write

VERSION = "1.1.0"
EPOCH_DAYS = 3653  # from 1960-01-01, where SAS counts from, to 1970-01-01
DAY = 86400
TYPES: dict[Kind, str] = {"text": "string", "integer": "integer", "number": "double"}
KINDS: dict[str, Kind] = {
    **{"string": "text", "URI": "text", "integer": "integer", "decimal": "number", "float": "number"},
    **{"double": "number", "date": "date", "datetime": "datetime", "time": "time"},
}
TARGETS = {"decimal": [None, "decimal"], **{k: [None, "integer"] for k in ("date", "datetime", "time")}}
REQUIRED = ("datasetJSONCreationDateTime", "datasetJSONVersion", "itemGroupOID", "records", "name", "label", "columns")
OPTIONAL = (
    *("fileOID", "dbLastModifiedDateTime", "originator", "sourceSystem", "studyOID", "metaDataVersionOID"),
    *("metaDataRef", "rows"),
)
TEXTS = ("datasetJSONCreationDateTime", "itemGroupOID", "name", "label")
COLUMN_REQUIRED = ("itemOID", "name", "label", "dataType")
COLUMN_OPTIONAL = ("targetDataType", "length", "displayFormat", "keySequence")
CHUNK = 1 << 14  # rows at a time


class NotDatasetJson(ValueError):
    """A file that is no Dataset-JSON 1.1, or holds what we cannot keep."""


def write_dataset_json(dataset: Dataset, path: Path, when: datetime | None = None, define: str = "") -> None:
    """Write `path` whole or not at all. `when`: UTC; SOURCE_DATE_EPOCH where it is None. `define`: its Define-XML."""
    dataset = dataset.fitted()
    refuse(dataset)
    head: dict[str, Any] = {
        "datasetJSONCreationDateTime": created(when).isoformat().replace("+00:00", "Z"),
        "datasetJSONVersion": VERSION,
        "fileOID": f"cohort.{dataset.name}",
        "originator": f"cohort ({MARK} data)" if not dataset.source else "cohort",
        "sourceSystem": {"name": "cohort", "version": metadata.version("insilico-cohort")},
        **_study(dataset, define),
        "itemGroupOID": dataset.oid,
        "records": dataset.rows.height,
        "name": dataset.name,
        "label": dataset.label,
        "columns": [_column(dataset, v) for v in dataset.variables],
    }
    write(path, lambda temporary: _write(head, dataset, temporary))


def read_dataset_json(path: Path, *, most_bytes: int = 2**28, most_cells: int = 20_000_000) -> Dataset:
    """The data set of a Dataset-JSON 1.1 file. An empty text stays one; the standard tells it from null.

    What names the file, its system and its study is not kept: a `Dataset` has the rows and what describes them.
    Raises `NotDatasetJson` with everything that is wrong, a value that no double or text of ours can hold included.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise NotDatasetJson(f"{path}: {size} bytes; at most {most_bytes} are read")
    try:
        found = json.loads(path.read_bytes(), parse_constant=_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # JSON, UTF-8, an integer of thousands of digits
        raise NotDatasetJson(f"{path}: {error}") from None
    errors = list(_malformed(found))
    if not errors and found["records"] * len(found["columns"]) > most_cells:
        errors.append(
            f"{found['records']} rows of {len(found['columns'])} columns; at most {most_cells} cells are read"
        )
    if not errors:
        columns = [Column.read(c, i) for i, c in enumerate(found["columns"])]
        rows = found.get("rows", [])
        series = [c.series(rows, errors) for c in columns]
        if not errors:
            keyed = sorted((c.key, c.variable.name) for c in columns if c.key)
            return Dataset(
                found["name"],
                found["label"],
                tuple(c.variable for c in columns),
                pl.DataFrame(series),
                keys=tuple(name for _, name in keyed),
                source=str(path),
            )
    raise NotDatasetJson("\n".join([str(path), *(f"  {e}" for e in errors)]))


def _study(dataset: Dataset, define: str) -> dict[str, str]:
    """What ties the file to its study and Define-XML."""
    if "STUDYID" not in dataset.rows.columns or not dataset.rows.height:
        return {}
    study = dataset.rows["STUDYID"][0]
    return {"studyOID": study, **({"metaDataVersionOID": f"MDV.{study}", "metaDataRef": define} if define else {})}


def _column(dataset: Dataset, v: Variable) -> dict[str, Any]:
    counts = clock(v.format) if v.kind == "integer" else None
    found: dict[str, Any] = {"itemOID": dataset.item_oid(v), "name": v.name, "label": v.label}
    found["dataType"] = counts or TYPES.get(v.kind, v.kind)
    if counts:
        found["targetDataType"] = "integer"
    if v.kind == "text":
        found["length"] = v.length
    if v.format:
        found["displayFormat"] = v.format
    if v.name in dataset.keys:
        found["keySequence"] = dataset.keys.index(v.name) + 1
    return found


def _write(head: dict[str, Any], dataset: Dataset, path: Path) -> None:
    with path.open("w", encoding="ascii", newline="\n") as f:
        f.write(json.dumps(head, allow_nan=False)[:-1] + ', "rows": [')
        first = True
        for part in dataset.rows.iter_slices(CHUNK):
            for row in part.select(_as_iso(v) for v in dataset.variables).iter_rows():
                f.write(("\n" if first else ",\n") + json.dumps(row, allow_nan=False))
                first = False
        f.write("]}\n" if first else "\n]}\n")


def _as_iso(v: Variable) -> pl.Expr:
    """A column with what SAS counts as the ISO 8601 text it stands for."""
    column, counts = pl.col(v.name), clock(v.format) if v.kind == "integer" else None
    if counts == "date":
        return (column - EPOCH_DAYS).cast(pl.Int32).cast(pl.Date).dt.to_string("%Y-%m-%d")
    if counts == "datetime":
        return pl.from_epoch(column - EPOCH_DAYS * DAY, time_unit="s").dt.to_string("%Y-%m-%dT%H:%M:%S")
    if counts == "time":
        return pl.from_epoch(column, time_unit="s").dt.to_string("%H:%M:%S")
    return column


def _constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON; write null for missing")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{sorted({n for n in names if names.count(n) > 1})} stand twice in one object")
    return found


def _malformed(found: Any) -> Iterator[str]:
    """What is wrong with the frame: attributes, their types, the number of rows and of values in each."""
    if not isinstance(found, dict):
        yield "no JSON object; write the attributes of Dataset-JSON 1.1"
        return
    yield from _attributes(found, REQUIRED, OPTIONAL, "")
    version = found.get("datasetJSONVersion")
    if not (isinstance(version, str) and re.fullmatch(r"1\.1(\.(0|[1-9]\d*))?", version)):
        yield f"datasetJSONVersion is {version!r}; 1.1 is read"
    yield from (f"{n} is {found[n]!r}; write text" for n in REQUIRED if n in TEXTS and not _is_text(found.get(n, "")))
    columns, rows, records = found.get("columns"), found.get("rows", []), found.get("records")
    if not isinstance(columns, list) or not columns:
        yield "columns: write a list of at least one column"
        return
    for i, column in enumerate(columns):
        yield from _odd_column(column, i)
    names = [c.get("name") for c in columns if isinstance(c, dict)]
    yield from (f"column {n!r} stands twice" for n in sorted({str(n) for n in names if names.count(n) > 1}))
    if not isinstance(rows, list):
        yield "rows: write a list of lists"
        return
    if not _is_count(records) or records != len(rows):
        yield f"records is {records!r}, and there are {len(rows)} rows"
    odd = [i for i, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(columns)]
    if odd:
        yield f"row {odd[0] + 1}: write a list of {len(columns)} values ({len(odd)} such rows)"


def _attributes(
    found: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...], where: str
) -> Iterator[str]:
    yield from (f"{where}{name} is missing" for name in required if name not in found)
    for name in found:
        if name not in required and name not in optional:
            yield f"{where}{name}: unknown; Dataset-JSON 1.1 has {', '.join((*required, *optional))}"


def _odd_column(column: Any, i: int) -> Iterator[str]:
    if not isinstance(column, dict):
        yield f"column {i + 1}: write an object"
        return
    where = f"column {i + 1} ({column.get('name')}): "
    yield from _attributes(column, COLUMN_REQUIRED, COLUMN_OPTIONAL, where)
    for name in (*COLUMN_REQUIRED, "displayFormat"):
        if name in column and not _is_text(column[name]):
            yield f"{where}{name} is {column[name]!r}; write text"
    for name in ("length", "keySequence"):
        if name in column and not (_is_count(column[name]) and column[name]):
            yield f"{where}{name} is {column[name]!r}; write an integer from 1"
    kind, target = column.get("dataType"), column.get("targetDataType")
    if not isinstance(kind, str):
        return  # said above
    if kind == "boolean":
        yield f"{where}boolean, which neither ADaM nor a transport file has; write 'Y' and 'N'"
    elif kind not in KINDS:
        yield f"{where}dataType is {kind!r}; write one of {', '.join(KINDS)}"
    elif target not in TARGETS.get(kind, [None]):
        yield f"{where}{kind} with targetDataType {target!r}, which Dataset-JSON 1.1 does not combine"


def _is_text(value: Any) -> bool:
    """Text of whole characters: JSON can write half of a surrogate pair."""
    return isinstance(value, str) and not re.search(r"[\ud800-\udfff]", value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@dataclass(frozen=True)
class Column:
    """A column's variable, its place in a row, in the keys (0 for none), and how a JSON value becomes one of ours."""

    variable: Variable
    place: int
    key: int
    value: Callable[[Any], Any]

    @staticmethod
    def read(column: dict[str, Any], place: int) -> "Column":
        kind, counts = KINDS[column["dataType"]], column.get("targetDataType") == "integer"
        variable = Variable(
            column["name"],
            column["label"],
            "integer" if counts else kind,
            length=column.get("length") if kind == "text" else None,
            format=column.get("displayFormat", ""),
        )
        value = {"integer": _integer, "number": _double}.get(kind, _string)
        if column["dataType"] == "decimal":
            value = _decimal
        return Column(variable, place, column.get("keySequence", 0), _sas(kind) if counts else value)

    def series(self, rows: list[list[Any]], errors: list[str]) -> pl.Series:
        """The column's values; the first that cannot be kept is reported, with how many more there are."""
        kept: list[Any] = []
        wrong: list[str] = []
        for number, row in enumerate(rows, start=1):
            raw = row[self.place]
            try:
                kept.append(None if raw is None else self.value(raw))
            except ValueError as error:
                wrong.append(f"{self.variable.name}, row {number}: {error}")
        if wrong:
            errors.append(wrong[0] + (f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""))
        return pl.Series(self.variable.name, [] if wrong else kept, COLUMNS[self.variable.kind])


def _string(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is no text")
    raw.encode()  # half of a surrogate pair is no character
    return raw


def _integer(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise ValueError(f"{raw!r} is no integer")
    if abs(raw) > WHOLE:
        raise ValueError(f"{raw} is beyond 2**53")
    return raw


def _double(raw: Any) -> float:
    """JSON's numbers have any number of digits; Python has read this one as the nearest double."""
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise ValueError(f"{raw!r} is no number")
    if isinstance(raw, int) and abs(raw) > WHOLE:
        raise ValueError(f"{raw} is beyond 2**53, where a double skips integers")
    if raw in (float("inf"), float("-inf")):
        raise ValueError("beyond what a double holds")
    return float(raw)


def _decimal(raw: Any) -> float:
    """A decimal in text, if the double nearest to it is written so too."""
    try:
        exact = Decimal(raw if re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", _string(raw)) else "")
    except InvalidOperation:
        raise ValueError(f"{raw!r} is no decimal number") from None
    if not exact.is_finite() or Decimal(repr(float(exact))) != exact:
        raise ValueError(f"{raw!r} has more digits than a double keeps")
    return float(exact)


def _sas(kind: Kind) -> Callable[[Any], int]:
    """ISO 8601 text as SAS counts it: days or seconds from 1960, seconds from midnight."""

    def count(raw: Any) -> int:
        text = _string(raw)
        whole = {"date": f"{text}T00:00:00", "time": f"1960-01-01T{text}"}.get(kind, text)
        form = r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d"
        if not re.fullmatch(form, whole):
            raise ValueError(
                f"{raw!r} is no whole ISO 8601 {kind} without fraction or zone, which an integer can count"
            )
        seconds = round((datetime.fromisoformat(whole) - datetime(1960, 1, 1)).total_seconds())
        return seconds // DAY if kind == "date" else seconds

    return count
