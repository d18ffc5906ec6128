"""What a data set must satisfy before any of it is written: the limits of transport files, ISO dates, codes, keys.

A transport file cuts, replaces or loses what it cannot hold and says nothing; so everything is looked for here first,
and all of it is reported at once, by data set, variable and row (the first is row 1).
Limits: SAS TS-140 (names of 8, labels of 40, texts of 200 bytes), FDA Study Data Technical Conformance Guide (ASCII).
"""

import math
import re
from collections.abc import Iterator
from datetime import date, datetime, time

import polars as pl

from cohort.cdisc.dataset import COLUMNS, SAS_FORMAT, Dataset, Variable, clock, format_parts, unmarked

NAME = re.compile(r"[A-Z][A-Z0-9_]{0,7}")
LABEL = 40
TEXT = 200
WHOLE = 2**53
"""Largest integer up to which a double holds every one."""
TINY, HUGE = 16.0**-65, 16.0**63
"""IBM/370 hexadecimal floating point holds 0 and TINY <= |x| < HUGE: 5.4e-79 to 7.2e75 (TS-140)."""
FIRST_DAY, LAST_DAY = -137_774, 2_936_549
"""SAS counts days from 1582-10-15 on, and ISO 8601 has four digits for a year: to 9999-12-31."""
PRINTABLE = r"^[\x20-\x7e]*$"
FORMULA = r"^(?:[=@]|[+-].*[^0-9.eE+-])"
"""What a spreadsheet would run when someone opens the table in one; "-1.5" and "+" stay."""
RECORD = "HEADER RECORD*******"
"""Begins every header of a transport file: a value with it could be taken for one."""


class NotExportable(ValueError):
    """A data set that a standard's file cannot hold as it is."""


def marked_simulated(dataset: Dataset) -> bool:
    """Whether label, STUDYID and SIMFL all say that the data are simulated."""
    return not any(unmarked(dataset))


def refuse(dataset: Dataset) -> None:
    """Raise `NotExportable` with everything that is wrong; a data set of ours must also be marked as simulated."""
    found = list(_shape(dataset)) or [*_names(dataset), *_values(dataset), *_keys(dataset)]
    if not dataset.source:
        found += [f"not marked as simulated: {words}" for words in unmarked(dataset)]
    _raise(dataset, found)


def refuse_undescribed(dataset: Dataset) -> None:
    """Raise `NotExportable` for what Define-XML must say of a data set and this one does not."""
    found: list[str] = []
    if not dataset.structure:
        found.append("no structure; write as 'One record per subject'")
    if dataset.class_ is None:
        found.append("no class; write as 'BASIC DATA STRUCTURE'")
    if not dataset.keys:
        found.append("no keys; write the variables that tell any two rows apart")
    for v in dataset.variables:
        if v.origin in ("Derived", "Predecessor") and not (v.method or v.by_parameter):
            found.append(
                f"{v.name}: origin {v.origin!r} without a method; write how it is derived, or from which variable"
            )
        texts = [v.method, v.comment, *(method for _, method in v.by_parameter)]
        found += [f"{v.name}: control character in {t!r}" for t in texts if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", t)]
        if v.by_parameter:
            if "PARAMCD" not in dataset.rows.columns:
                found.append(f"{v.name}: methods by parameter, and there is no PARAMCD")
            else:
                there = set(dataset.rows["PARAMCD"].drop_nulls().unique())
                lacking = sorted(there - {code for code, _ in v.by_parameter})
                found += [f"{v.name}: no method for PARAMCD {code!r}" for code in lacking]
    _raise(dataset, found)


def _raise(dataset: Dataset, found: list[str]) -> None:
    if found:
        where = f" (read from {dataset.source})" if dataset.source else ""
        raise NotExportable("\n".join([f"data set {dataset.name}{where}", *(f"  {line}" for line in found)]))


def _shape(dataset: Dataset) -> Iterator[str]:
    """Errors without which the others cannot be looked for."""
    names, columns = [v.name for v in dataset.variables], dataset.rows.columns
    if not names:
        yield "no variables"
    if names != columns:
        twice = sorted({n for n in names if names.count(n) > 1})
        yield (
            f"variables and columns differ: described {sorted(set(names) - set(columns))} without a column, columns "
            f"{sorted(set(columns) - set(names))} without a description, twice {twice}; or they stand in another order"
        )
        return
    for v in dataset.variables:
        if dataset.rows.schema[v.name] != COLUMNS[v.kind]:
            yield f"{v.name}: {v.kind} in a column of {dataset.rows.schema[v.name]}; write {COLUMNS[v.kind]}"
    yield from (f"key {k} is no variable" for k in dataset.keys if k not in names)


def _names(dataset: Dataset) -> Iterator[str]:
    if not NAME.fullmatch(dataset.name):
        yield f"name {dataset.name!r}; write 1 to 8 of A-Z, 0-9 and _, a letter first"
    yield from (f"label {words}" for words in _label(dataset.label))
    for v in dataset.variables:
        if not NAME.fullmatch(v.name):
            yield f"{v.name}: name {v.name!r}; write 1 to 8 of A-Z, 0-9 and _, a letter first"
        yield from (f"{v.name}: label {words}" for words in _label(v.label))
        yield from (f"{v.name}: {words}" for words in _format(v))
        yield from (f"{v.name}: {words}" for words in _codelist(v))


def _label(label: str) -> Iterator[str]:
    if not label.strip():
        yield "is empty"
    if len(label) > LABEL:
        yield f"{label!r} has {len(label)} characters; write {LABEL} at most"
    if label != label.rstrip():
        yield f"{label!r} ends in a blank"
    yield from (f"{label!r} {words}" for words in _odd(label))


def _odd(text: str) -> Iterator[str]:
    """What in a text is not printable ASCII, or what a spreadsheet would run."""
    odd = next((c for c in text if not " " <= c <= "~"), None)
    if odd is not None:
        yield f"holds {odd!r} (U+{ord(odd):04X}); write printable ASCII"
    if re.match(FORMULA, text):
        yield "would run as a formula in a spreadsheet"
    if RECORD in text:
        yield f"holds {RECORD!r}, which begins a header of a transport file"


def _format(v: Variable) -> Iterator[str]:
    name, width, decimals = format_parts(v.format)
    if v.format and not SAS_FORMAT.fullmatch(v.format):
        yield f"format {v.format!r} is none of SAS's; write as '8.3', 'DATE9.' or '$20.'"
    elif v.format and name.startswith("$") != v.is_text:
        yield f"format {v.format!r} of a {v.kind}; formats of text, and no others, begin with $"
    elif len(name) > 8 or width > 32767 or decimals > 31:
        yield f"format {v.format!r}: a name of at most 8 characters, at most 31 decimals"
    if v.length is not None and not v.is_text:
        yield f"length {v.length} of a {v.kind}; only text has one"
    elif v.length is not None and not 1 <= v.length <= TEXT:
        yield f"length {v.length}; write 1 to {TEXT}"


def _codelist(v: Variable) -> Iterator[str]:
    if v.codelist is None:
        return
    codes = [code for code, _ in v.codelist]
    if not codes:
        yield "a code list without codes"
    yield from (f"code {code!r} stands twice" for code in sorted({c for c in codes if codes.count(c) > 1}))
    for code, decode in v.codelist:
        if not code or not decode:
            yield f"code {code!r} ({decode!r}): both need words"
        yield from (f"code {code!r} ({decode!r}) {words}" for text in (code, decode) for words in _odd(text))
        if not v.is_text and _number(code) is None:
            yield f"code {code!r} of a {v.kind} is no number"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _values(dataset: Dataset) -> Iterator[str]:
    for v in dataset.variables:
        column = dataset.rows[v.name]
        if v.mandatory:
            yield from _rows(column, column.is_null(), lambda _: "missing, and the variable is mandatory")
        yield from _text(v, column) if v.is_text else _numbers(v, column)
        if v.codelist:
            coded = [code if v.is_text else _number(code) for code, _ in v.codelist]
            fine = column.is_in(coded) if v.is_text else column.cast(pl.Float64).is_in(coded)
            yield from _rows(column, column.is_not_null() & ~fine, lambda x: f"{x!r} is not in the code list")


def _text(v: Variable, column: pl.Series) -> Iterator[str]:
    most = TEXT if v.length is None else min(v.length, TEXT)
    yield from _rows(
        column, column.str.len_bytes() > most, lambda x: f"{_short(x)} has {len(x.encode())} bytes; {most} at most"
    )
    yield from _rows(column, column == "", lambda _: "an empty text; write null for missing")
    blank = (column != "") & column.str.ends_with(" ")
    yield from _rows(column, blank, lambda x: f"{_short(x)} ends in a blank, which a transport file loses")
    odd = ~column.str.contains(PRINTABLE) | column.str.contains(FORMULA) | column.str.contains(RECORD, literal=True)
    yield from _rows(column, odd, lambda x: f"{_short(x)} {'; '.join(_odd(x))}")
    if v.kind != "text":
        wrong = [x for x in column.drop_nulls().unique() if x and not _iso(v.kind, x)]
        yield from _rows(column, column.is_in(wrong), lambda x: f"{_short(x)} is no ISO 8601 {v.kind}")


def _numbers(v: Variable, column: pl.Series) -> Iterator[str]:
    if v.kind == "integer":
        large = (column > WHOLE) | (column < -WHOLE)
        yield from _rows(column, large, lambda x: f"{x} is beyond 2**53, where a double skips integers")
        if counts := clock(v.format):
            day = {"date": 1, "datetime": 86_400}.get(counts, 0)
            low, high = (FIRST_DAY * day, (LAST_DAY + 1) * day - 1) if day else (0, 86_399)
            beyond = ~large & ((column < low) | (column > high))
            yield from _rows(column, beyond, lambda x: f"{x} as a {counts} with format {v.format}; {low} to {high}")
        return
    yield from _rows(column, column.is_nan(), lambda _: "not a number; write null for missing")
    size = column.abs()
    beyond = ~column.is_nan() & ((size >= HUGE) | ((size < TINY) & (size > 0)))
    yield from _rows(column, beyond, lambda x: f"{x!r}; a transport file holds 0 and {TINY:.2g} to {HUGE:.2g}")


def _keys(dataset: Dataset) -> Iterator[str]:
    if not dataset.keys:
        return
    keys = dataset.rows.select(dataset.keys)
    for column in keys:
        if not dataset[column.name].mandatory:  # else it has been said
            yield from _rows(column, column.is_null(), lambda _: "missing, and the variable is a key")
    if keys.height != keys.n_unique():
        twice = dataset.rows.with_row_index("row").filter(keys.is_duplicated())
        first = twice.row(0, named=True)
        same = twice.filter(pl.all_horizontal(pl.col(k).eq_missing(first[k]) for k in dataset.keys))["row"] + 1
        words = ", ".join(f"{k} {first[k]!r}" for k in dataset.keys)
        yield f"{twice.height} rows share their keys: rows {', '.join(map(str, same[:5]))} all have {words}"


def _rows(column: pl.Series, wrong: pl.Series, words) -> Iterator[str]:
    """One line for what is wrong in a column: the first row, and how many more there are."""
    rows = wrong.fill_null(False).arg_true()
    if len(rows):
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        yield f"{column.name}, row {rows[0] + 1}: {words(column[rows[0]])}{more}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


_CUT = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")  # `fromisoformat` also takes weeks and the basic form, which CDISC does not
_HOURS = re.compile(r"([01]\d|2[0-3])(:[0-5]\d)?")


def _iso(kind: str, text: str) -> bool:
    """Whether a text is an ISO 8601 date, date-time or time, whole or cut from the right."""
    if kind == "time":
        return _is_time(text)
    day, t, hours = text.partition("T")
    if kind == "date" and t:
        return False
    return (_is_day(day) and (not t or _is_time(hours))) or (not t and _CUT.fullmatch(day) is not None)


def _is_day(text: str) -> bool:
    try:
        return _DAY.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    """hh, hh:mm, or hh:mm:ss with decimals or a zone."""
    try:
        seconds = text[:2] < "24" and text[2:3] == text[5:6] == ":" and time.fromisoformat(text) is not None
    except ValueError:
        return False
    return seconds or _HOURS.fullmatch(text) is not None


def whole(kind: str, text: str) -> bool:
    """Whether a date or time, known to be ISO 8601, is not cut."""
    if kind == "date":
        return len(text) == 10
    return len(text) >= 8 if kind == "time" else len(text) >= 19 and datetime.fromisoformat(text) is not None
