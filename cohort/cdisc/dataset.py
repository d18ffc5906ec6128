"""A data set as CDISC's standards see one: rows, and what each variable is, where it came from, which codes it takes.

The writers (`transport`, `dataset_json`, `define`) take a `Dataset` and nothing else; the readers give one back.
Missing is null, never NaN and never an empty text: a transport file cannot tell an empty text from a missing one.

What we simulate says so in three places, so that no cut or join loses all of them: the data set's label begins with
`SIMULATED`, every STUDYID with `SIM-`, and every row has SIMFL = "Y". The writers refuse a data set of ours without.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

import polars as pl

EPOCH = date(1960, 1, 1)  # day 0 of a SAS date

Kind = Literal["text", "integer", "number", "date", "datetime", "time"]
"""Dates and times are ISO 8601 text, whole or cut from the right ("2012-03").

SAS's own dates (days since 1960-01-01), times (s) and date-times (s) are integers with such a format: "DATE9."."""
Origin = Literal["Derived", "Assigned", "Protocol", "Predecessor"]
Class = Literal[
    "SUBJECT LEVEL ANALYSIS DATASET", "BASIC DATA STRUCTURE", "OCCURRENCE DATA STRUCTURE", "ADAM OTHER"
]  # CDISC controlled terminology, General Observation Class (C103329)
COLUMNS: dict[Kind, type[pl.DataType]] = {
    "text": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "date": pl.String,
    "datetime": pl.String,
    "time": pl.String,
}
"""The type of a column of `Dataset.rows`, by kind of variable."""


class CdiscError(ValueError):
    """A file or a time that these formats cannot take; the message says what to give."""


@dataclass(frozen=True)
class Variable:
    """A column: `name` of at most 8 characters, `label` of at most 40.

    `method` says how a derived value is computed, or names the predecessor ("ADSL.AGE"); `comment` is for the reader.
    `length` is in bytes and of text only; `Dataset.fitted` fills it in. `format` is SAS's ("8.3", "DATE9.").
    `by_parameter`: method by PARAMCD, for an AVAL that each parameter derives in another way.
    """

    name: str
    label: str
    kind: Kind
    length: int | None = None
    format: str = ""
    origin: Origin = "Derived"
    method: str = ""
    comment: str = ""
    codelist: tuple[tuple[str, str], ...] | None = None  # (code, decode), every code that occurs
    mandatory: bool = False  # no row may lack it
    by_parameter: tuple[tuple[str, str], ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether a transport file stores characters."""
        return COLUMNS[self.kind] is pl.String


@dataclass(frozen=True, eq=False)
class Dataset:
    """`rows` has one column a variable, in order, with the type `COLUMNS` gives; `keys` tell any two rows apart."""

    name: str
    label: str
    variables: tuple[Variable, ...]
    rows: pl.DataFrame
    keys: tuple[str, ...] = ()
    structure: str = ""  # "One record per subject"
    class_: Class | None = None
    subclass: str = ""  # "TIME-TO-EVENT", "ADVERSE EVENT", ... (Define-XML 2.1)
    source: str = ""  # the file it was read from; empty for what we simulated

    def __getitem__(self, name: str) -> Variable:
        """The variable of that name."""
        return next(v for v in self.variables if v.name == name)

    @property
    def oid(self) -> str:
        """What Define-XML and Dataset-JSON call this data set."""
        return f"IG.{self.name}"

    def item_oid(self, v: Variable) -> str:
        """What Define-XML and Dataset-JSON call a variable of this data set."""
        return f"IT.{self.name}.{v.name}"

    def fitted(self) -> "Dataset":
        """The same with the length of every text variable that states none: the longest value's, in bytes."""
        return replace(self, variables=tuple(self._fit(v) for v in self.variables))

    def _fit(self, v: Variable) -> Variable:
        if not v.is_text or v.length is not None:
            return v
        longest = self.rows[v.name].str.len_bytes().max() if self.rows.height else None
        return replace(v, length=max(1, int(str(longest or 1))))


MARK = "SIMULATED"
STUDY_MARK = "SIM-"
FLAG = Variable(
    "SIMFL",
    "Simulated Record Flag",
    "text",
    length=1,
    origin="Assigned",
    comment="Y on every record: the subject is virtual and no person was studied.",
    codelist=(("Y", "Yes"),),
    mandatory=True,
)
"""The variable that marks a row as simulated."""


def simulated_label(label: str) -> str:
    """The label of a data set we simulated; 30 characters remain for `label`."""
    return f"{MARK} {label}"


def simulated_study(study: str) -> str:
    """The STUDYID of a study we simulated."""
    return f"{STUDY_MARK}{study.upper()}"


def unmarked(dataset: Dataset) -> Iterator[str]:
    """What a data set lacks of the three marks, in words."""
    if not dataset.label.startswith(MARK):
        yield f"label {dataset.label!r}; write {simulated_label(dataset.label)!r}"
    for name, fine, want in (
        ("STUDYID", pl.col("STUDYID").cast(pl.String).str.starts_with(STUDY_MARK), f"text that begins {STUDY_MARK!r}"),
        (FLAG.name, pl.col(FLAG.name).cast(pl.String) == "Y", "'Y' in every row"),
    ):
        if name not in dataset.rows.columns:
            yield f"no variable {name}; write {want}"
        elif not dataset.rows.select(fine.fill_null(False).all()).item():
            wrong = dataset.rows.with_row_index("row").filter(~fine.fill_null(False))
            yield f"{name} of row {wrong['row'][0] + 1}: {wrong[name][0]!r}; write {want}"


def created(when: datetime | None) -> datetime:
    """The time a file says it was written at, UTC to the second: the one given, else SOURCE_DATE_EPOCH.

    The clock is never asked: the same data set written twice is the same bytes.
    """
    if when is not None:
        if when.tzinfo is None:
            raise CdiscError(f"{when.isoformat()} has no time zone; give a time in UTC")
        return when.astimezone(UTC).replace(microsecond=0)
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not re.fullmatch(r"\d{1,11}", epoch):
        raise CdiscError(
            f"no time to write into the file: SOURCE_DATE_EPOCH is {epoch!r}; give the time, or set it to seconds UTC"
        )
    return datetime.fromtimestamp(int(epoch), UTC)


SAS_FORMAT = re.compile(r"(?P<name>\$?(?:[A-Z_](?:[A-Z0-9_]*[A-Z_])?)?)(?P<width>\d*)\.(?P<decimals>\d*)")
"""A SAS format: a name or none, a width, a point, decimals: "8.3", "DATE9.", "$20.", "BEST12."."""
_CLOCKS: dict[str, Literal["date", "datetime", "time"]] = {
    **dict.fromkeys(("DATE", "E8601DA", "YYMMDD", "MMDDYY", "DDMMYY", "IS8601DA", "B8601DA"), "date"),
    **dict.fromkeys(("DATETIME", "E8601DT", "IS8601DT", "B8601DT"), "datetime"),
    **dict.fromkeys(("TIME", "E8601TM", "IS8601TM", "B8601TM"), "time"),
}


def format_parts(text: str) -> tuple[str, int, int]:
    """Name, width and decimals of a SAS format; 0 where it states none. The format is known to be well formed."""
    found = SAS_FORMAT.fullmatch(text)
    if not text or found is None:
        return "", 0, 0
    return found["name"], int(found["width"] or 0), int(found["decimals"] or 0)


def clock(text: str) -> Literal["date", "datetime", "time"] | None:
    """What a number with this SAS format counts: days, seconds since 1960, seconds since midnight, or nothing such."""
    return _CLOCKS.get(format_parts(text)[0])
