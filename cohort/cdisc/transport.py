"""SAS transport files, version 5: the format regulators ask data sets in.

Written and read as SAS's technical paper lays it out [1]: records of 80 bytes, integers with the largest byte first,
numbers as IBM/370 hexadecimal floating point. Its 56 bits of fraction, of which at most three lead with zero, hold
the 53 of a double: every number that `checks.refuse` lets through is stored exactly (-0.0 as 0.0). Lengths are those
declared, and the time is an argument, so that the same data set is the same bytes.

A version 5 file does not say how many rows it has. One cut in mid-row is refused; one cut between two rows cannot be
told from a shorter one, and a row of nothing but blanks at the end cannot be told from padding.

[1] TS-140, Record Layout of a SAS Version 5 or 6 Data Set in SAS Transport (XPORT) Format,
    support.sas.com/techsup/technote/ts140.pdf
"""

import struct
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from cohort.cdisc.checks import NotExportable, refuse
from cohort.cdisc.dataset import Dataset, Variable, clock, created, format_parts
from cohort.store import write

RECORD = 80
NAMESTR = struct.Struct(">hhhh8s40s8shhh2s8shhl52s")  # [1] struct NAMESTR, 140 bytes
CHUNK = 1 << 16  # rows at a time
FRACTION = (1 << 56) - 1
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
MISSING = 0x2E << 56  # "."


class NotTransport(ValueError):
    """A file that is no whole version 5 transport file of one data set, or holds what we cannot keep."""


def write_transport(dataset: Dataset, path: Path, when: datetime | None = None) -> None:
    """Write `path` whole or not at all. `when`: UTC; SOURCE_DATE_EPOCH where it is None."""
    dataset = dataset.fitted()
    refuse(dataset)
    at = created(when)
    stamp = f"{at:%d}{MONTHS[at.month - 1]}{at:%y:%H:%M:%S}"  # not %b, which speaks the locale's language
    write(path, lambda temporary: _write(dataset, temporary, stamp))


def read_transport(
    path: Path, encoding: str = "ascii", *, most_bytes: int = 2**30, most_cells: int = 100_000_000
) -> Dataset:
    """The one data set of a version 5 transport file. Version 5 does not say its encoding: give it where not ASCII.

    Numbers come as doubles, the nearest where a 56-bit fraction has none; those with the format of a SAS date as
    integers. Blank text and "." are null. Keys, origins and the like are not in such a file. Raises `NotTransport`.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise NotTransport(f"{path}: {size} bytes; at most {most_bytes} are read")
    try:
        return _read(path.read_bytes(), str(path), encoding, most_cells)
    except NotTransport as error:
        raise NotTransport(f"{path}: {error}") from None


def to_ibm(x: np.ndarray) -> np.ndarray:
    """Doubles, (n,), as IBM/370 hexadecimal floating point in uint64: sign, exponent of 16 plus 64, 56-bit fraction.

    Exact for 0 and `checks.TINY` <= |x| < `checks.HUGE`, all that `checks.refuse` lets through. NaN becomes missing.
    """
    empty = np.isnan(x)
    fraction, exponent = np.frexp(np.where(empty, 0.0, x))  # x = fraction 2**exponent, 1/2 <= |fraction| < 1
    hexponent = -(-exponent // 4)  # x = f 16**hexponent, 1/16 <= |f| < 1
    bits = np.abs(fraction * 2.0**53).astype(np.uint64) << (3 - (4 * hexponent - exponent)).astype(np.uint64)
    words = ((x < 0).astype(np.uint64) << np.uint64(63)) | ((hexponent + 64).astype(np.uint64) << np.uint64(56)) | bits
    return np.where(empty, np.uint64(MISSING), np.where(bits == 0, np.uint64(0), words))


def from_ibm(words: np.ndarray) -> np.ndarray:
    """The nearest doubles, (n,), to IBM/370 floating point in uint64, (n,). Missing values are not looked for."""
    exponent = ((words >> np.uint64(56)) & np.uint64(0x7F)).astype(np.int64)
    size = np.ldexp((words & np.uint64(FRACTION)).astype(np.float64), 4 * (exponent - 64) - 56)
    return np.where(words >> np.uint64(63) == 1, -size, size)


def _header(name: str, digits: str) -> bytes:
    return f"HEADER RECORD*******{name:<8}HEADER RECORD!!!!!!!{digits:<30}  ".encode()


def _write(dataset: Dataset, path: Path, stamp: str) -> None:
    with path.open("wb") as f:
        f.write(_header("LIBRARY", "0" * 30))
        f.write(f"{'SAS':<8}{'SAS':<8}{'SASLIB':<8}{'6.06':<8}{'bsd4.2':<8}{'':24}{stamp}{stamp:<80}".encode())
        f.write(_header("MEMBER", "000000000000000001600000000140") + _header("DSCRPTR", "0" * 30))
        f.write(f"{'SAS':<8}{dataset.name:<8}{'SASDATA':<8}{'6.06':<8}{'bsd4.2':<8}{'':24}{stamp}".encode())
        f.write(f"{stamp:<16}{'':16}{dataset.label:<40}{'':8}".encode())
        f.write(_header("NAMESTR", f"000000{len(dataset.variables):04d}" + "0" * 20))
        start = 0
        for number, v in enumerate(dataset.variables, start=1):
            f.write(_namestr(v, number, start))
            start += v.length or 8
        _pad(f)
        f.write(_header("OBS", "0" * 30))
        packed = b""
        for rows in dataset.rows.iter_slices(CHUNK):
            packed = _pack(dataset.variables, rows)
            f.write(packed)
        if packed and not packed[-start:].strip(b" "):
            raise NotExportable(f"data set {dataset.name}: the last row is all missing and would read as padding")
        _pad(f)


def _namestr(v: Variable, number: int, start: int) -> bytes:
    name, width, decimals = format_parts(v.format)
    kind, right = (2, 0) if v.is_text else (1, 1)
    texts = (v.name.ljust(8).encode(), v.label.ljust(40).encode(), name.ljust(8).encode())
    return NAMESTR.pack(
        kind, 0, v.length or 8, number, *texts, width, decimals, right, b"", b" " * 8, 0, 0, start, b""
    )  # fmt: skip


def _pack(variables: tuple[Variable, ...], rows: pl.DataFrame) -> bytes:
    packed = np.empty(rows.height, _layout(variables))
    for v in variables:
        if v.is_text:
            packed[v.name] = rows[v.name].fill_null("").str.pad_end(v.length or 1).to_numpy().astype(f"S{v.length}")
        else:
            packed[v.name] = to_ibm(rows[v.name].cast(pl.Float64).fill_null(np.nan).to_numpy())
    return packed.tobytes()


def _layout(variables: tuple[Variable, ...]) -> np.dtype:
    return np.dtype([(v.name, f"S{v.length}" if v.is_text else ">u8") for v in variables])


def _pad(f: BinaryIO) -> None:
    f.write(b" " * (-f.tell() % RECORD))


def _read(data: bytes, source: str, encoding: str, most_cells: int) -> Dataset:
    _expect(data, 0, "LIBRARY", source)
    if len(data) % RECORD:
        raise NotTransport(f"{len(data)} bytes are no whole number of records of {RECORD}: the file is cut")
    _expect(data, 240, "MEMBER", source)
    _expect(data, 320, "DSCRPTR", source)
    _expect(data, 560, "NAMESTR", source)
    name, label = _words(data[408:416], "data set"), _words(data[512:552], "label of the data set")
    size, count = _digits(data[314:318], "length of a description"), _digits(data[614:618], "number of variables")
    if size not in (136, 140) or not count:
        raise NotTransport(f"{count} variables described in {size} bytes each; 140, or 136, is the standard's")
    end = 640 + size * count
    end += -end % RECORD
    _expect(data, end, "OBS", source)
    found = [_variable(data[640 + size * i : 640 + size * (i + 1)].ljust(140)) for i in range(count)]
    variables = [v for v, _, _ in found]
    widths = [width for _, width, _ in found]
    names = [v.name for v in variables]
    if len(set(names)) < count:
        raise NotTransport(f"variables {sorted({n for n in names if names.count(n) > 1})} stand twice")
    starts = [int(s) for s in np.cumsum([0, *widths[:-1]])]
    if starts != [start for _, _, start in found]:
        raise NotTransport("the variables' places in a row overlap or leave gaps")
    for at in range(end + RECORD, len(data), RECORD):
        if data.startswith(b"HEADER RECORD*******MEMBER", at):
            raise NotTransport(f"a second data set begins at byte {at}; write one data set a file")
    height = _height(data, end + RECORD, sum(widths))
    if height * count > most_cells:
        raise NotTransport(f"{height} rows of {count} variables; at most {most_cells} cells are read")
    table = np.frombuffer(data, np.uint8, height * sum(widths), end + RECORD).reshape(height, sum(widths))
    columns: list[pl.Series] = []
    typed: list[Variable] = []
    for v, start, width in zip(variables, starts, widths, strict=True):
        cells = np.ascontiguousarray(table[:, start : start + width])
        series = _text(v.name, cells, encoding) if v.is_text else _numbers(v.name, cells)
        if not v.is_text and clock(v.format) and (series == series.floor()).all():
            v, series = Variable(v.name, v.label, "integer", format=v.format), series.cast(pl.Int64)
        typed.append(v)
        columns.append(series)
    return Dataset(name, label, tuple(typed), pl.DataFrame(columns), source=source)


def _expect(data: bytes, at: int, name: str, source: str) -> None:
    head = data[at : at + RECORD]
    if head.startswith(_header(name, "")[:48]):
        return
    if at == 0 and head.startswith(b"HEADER RECORD*******LIBV8"):
        raise NotTransport("a transport file of version 8; write version 5")
    if at == 0 and head.startswith(b"**COMPRESSED**"):
        raise NotTransport("made by PROC CPORT, whose format is SAS's own; write it with the XPORT engine")
    if len(head) < RECORD:
        raise NotTransport(f"ends at byte {len(data)}, before the header {name}: the file is cut")
    raise NotTransport(f"no header {name} at byte {at}, but {head[:28]!r}: no transport file of version 5")


def _digits(raw: bytes, what: str) -> int:
    if not raw.isdigit():
        raise NotTransport(f"{what} is {raw!r}, no number")
    return int(raw)


def _words(raw: bytes, what: str) -> str:
    try:
        return raw.decode("ascii").rstrip(" \0")
    except UnicodeDecodeError:
        raise NotTransport(f"{what} {raw!r} is not ASCII") from None


def _variable(raw: bytes) -> tuple[Variable, int, int]:
    """A variable from its description, the bytes it takes of a row and where they start."""
    kind, _, width, _, name, label, form, formed, decimals, _, _, _, _, _, start, _ = NAMESTR.unpack(raw)
    name = _words(name, "variable")
    if kind not in (1, 2) or not 1 <= width <= (8 if kind == 1 else 32767) or (kind == 1 and width < 2):
        raise NotTransport(f"{name}: a variable of type {kind} and {width} bytes; 1 is a number of 2 to 8, 2 a text")
    word = _words(form, f"format of {name}")
    written = f"{word}{formed or ''}.{decimals or ''}" if word or formed else ""
    text: dict[str, Any] = {"kind": "text", "length": width} if kind == 2 else {"kind": "number"}
    return Variable(name, _words(label, f"label of {name}"), format=written, **text), width, start


def _height(data: bytes, start: int, width: int) -> int:
    """How many rows the bytes from `start` on hold, less the blanks that fill the last record."""
    height, rest = divmod(len(data) - start, width)
    if rest >= RECORD or data[len(data) - rest :].strip(b" "):
        raise NotTransport(f"the last row has {rest} of {width} bytes: the file is cut")
    while (
        height and rest + width < RECORD and not data[start + (height - 1) * width : start + height * width].strip(b" ")
    ):
        height, rest = height - 1, rest + width
    return height


def _text(name: str, cells: np.ndarray, encoding: str) -> pl.Series:
    if (rows := np.flatnonzero((cells == 0).any(axis=1))).size:
        raise NotTransport(f"{name}, row {rows[0] + 1}: a NUL byte in a text")
    texts: list[str | None] = []
    for row, raw in enumerate(cells.view(f"S{cells.shape[1]}").ravel().tolist() if cells.size else [], start=1):
        try:
            texts.append(raw.decode(encoding).rstrip(" ") or None)
        except UnicodeDecodeError:
            raise NotTransport(f"{name}, row {row}: {raw[:60]!r} is not {encoding}; name the file's encoding") from None
    return pl.Series(name, texts, pl.String)


def _numbers(name: str, cells: np.ndarray) -> pl.Series:
    """A number of fewer than 8 bytes is one of 8 whose last are 0 [1]."""
    full = np.zeros((len(cells), 8), np.uint8)
    full[:, : cells.shape[1]] = cells
    words = full.view(">u8").ravel().astype(np.uint64)
    first = full[:, 0]
    empty = (words & np.uint64(FRACTION) == 0) & (
        (first == 0x2E) | (first == 0x5F) | ((first >= 0x41) & (first <= 0x5A))
    )
    if (rows := np.flatnonzero(empty & (first != 0x2E))).size:
        code = chr(first[rows[0]])
        raise NotTransport(
            f"{name}, row {rows[0] + 1}: special missing value .{code}; write . and keep the reason as text"
        )
    return pl.Series(name, from_ibm(words)).scatter(np.flatnonzero(empty), None)
