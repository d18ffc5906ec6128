"""Random study files and event tables, most of them wrong, and what must hold of whatever is read from them.

    .venv/bin/python tests/faults/mutations.py --studies 50000 --tables 50000 --seed 1

Either a file is refused by our own error with a place and a reason, or it is accepted, and then what was read is what
stands in the file, by a second reading that shares nothing with the first: no key lost, none made up, no value changed.
"""

import argparse
import copy
import csv
import io
import json
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from cohort.bounded import read
from cohort.decision.criteria import Decision
from cohort.dosing.table import EventTable, EventTableError, read_events
from cohort.library import load
from cohort.model import Model, Record, Route, Scalar, category, fixed, quantity
from cohort.record import digest
from cohort.study import Criterion, Prior, Study, StudyError, fingerprint, planned
from cohort.study.reader import study_of
from cohort.units import Quantity

ROOT = Path(__file__).resolve().parents[2]
SLOWEST = 2.0  # seconds of processor time for one file

type Path_ = tuple[str | int, ...]


class Broken(AssertionError):
    """A file that was read, or refused, as none may be."""


@contextmanager
def _in_time() -> Iterator[None]:
    def late(*_: Any) -> None:
        raise Broken(f"took more than {SLOWEST} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SLOWEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# Studies: what is mutated

SHIPPED = ("laplace", "mendel", "yukawa")
CONDUCT = """
dropout: 0
source: a test
enrolment: {rate: 30 1/wk, ramp: 8 wk, cutoff: 2 y, source: a test}
allocation: {blocks: [8, 16], strata: [sex, "ldl >= 130 mg/dL"]}
visits: {window: 2 d, missed: 0.05, source: a test}
discontinuation:
  share: 0.1
  depends: [{on: ldl, log_hazard: 0.1, per: 10 mg/dL, reference: 120 mg/dL}]
  after: {treatment_related_ae: 0.3}
  source: a test
withdrawal:
  share: 0.05
  depends: [{on: ldl_change, log_hazard: 0.2, per: 10 percent, reference: 0 percent, value: actual}]
  source: a test
rescue: {when: "ldl >= 190 mg/dL", since: 2 wk, output: ldl, effect: -30 percent, half_time: 1 wk, source: a test}
"""
ESTIMAND = """
population: all randomised
treatment: evolocumab beside a statin against placebo
variable: percent change of LDL cholesterol from baseline to week 12
summary: mean difference
events: {discontinuation: treatment policy, rescue: {strategy: composite, value: 0 percent}}
"""
ARM = """
n: 79
dose: 70 mg
route: sc
every: 2 wk
for: 12 wk
start: 0 wk
control: placebo_q2w
also: [{dose: 420 mg, route: iv, every: 4 wk, for: 8 wk, start: 2 wk, over: 1 h}]
adherence:
  {missed: 0.1, spread: 0.05, runs: 0.3, doubled: 0.01, late: 6 h, half_stop_within: 1 y, routes: [sc], source: a test}
"""
WORDS = [
    "",
    " ",
    "no",
    "true",
    "null",
    "nan",
    "inf",
    "0",
    "-1",
    "70 mg",
    "70  mg",
    "70mg",
    "1_0 mg",
    "7O mg",
    "70 mgs",
    "2 wk",
    "14 d",
    "0 wk",
    "-2 wk",
    "1e300 wk",
    "1e-300 d",
    "1e999 mg",
    "5 percent",
    "٣ mg",
    "1 µg",
    "sc",
    "iv",
    "evolocumab",
    "../x",
    "/etc/passwd",
    "config/evidence/laplace.csv",
    "placebo_q2w",
    "laplace",
    "mendel",
    "us",
    "resample",
    "failure",
    "lognormal(2, 0.7)",
    "normal(0, 1_0)",
    "18 y <= age <= 80 y",
    "sex == male",
    "age < 3",
    "P(a - b > 0) > 0.9",
    "x" * 5000,
    "e\u0301",
    "\u202e",
    "=1+1",
    "<script>",
    "[bold]",
    "${x}",
    "$(id)",
    "{{ 1 }}",
    "a\nb",
    "9" * 40,
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    78,
    0.5,
    -0.5,
    1e-9,
    1e300,
    10**17,
    10**30,
    [],
    {},
    [[]],
    {"a": 1},
    [1, 2],
]


def bases() -> list[tuple[str, dict[str, Any]]]:
    """Studies that are right, each by the name of its file, with every section among them."""
    plain = [read((ROOT / f"config/studies/{name}.yaml").read_text()).data for name in SHIPPED]
    rich = copy.deepcopy(plain[0])
    rich["conduct"] = read(CONDUCT).data
    rich["conduct"]["allocation"]["ratio"] = dict.fromkeys(rich["arms"], 1)
    rich["endpoints"]["ldl_change"]["estimand"] = read(ESTIMAND).data
    rich["numerics"] = {"solver": "explicit", "backend": "native", "rtol": 1e-7, "atol": 1e-7}
    armed = copy.deepcopy(plain[1])
    armed["arms"]["evolocumab_70_q2w"] = read(ARM).data
    armed["population"] |= {"conditions": ["ckd=3"]}
    return [*zip(SHIPPED, plain, strict=True), ("laplace", rich), ("mendel", armed)]


def _paths(tree: Any, at: Path_ = ()) -> Iterator[Path_]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*at, key))


def _at(tree: Any, path: Path_) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _value(rng: random.Random, tree: Any, old: Any) -> Any:
    """Another value in the place of `old`, more often than not of its kind."""
    how = rng.random()
    if how < 0.35 and isinstance(old, int | float) and not isinstance(old, bool):
        return rng.choice([old + 1, old - 1, old * 2, old / 2, -old, old * 1000, float(old), int(old), str(old)])
    if how < 0.5 and isinstance(old, str) and old:
        i = rng.randrange(len(old))
        return rng.choice(
            [
                old[:i] + old[i + 1 :],
                old[:i] + rng.choice("0123456789 .-_e<>()µ\u00a0\u200bé") + old[i:],
                old + " ",
                old.upper(),
                " " + old,
            ]
        )
    if how < 0.6 and isinstance(old, str) and (number := re.search(r"\d+\.?\d*", old)):
        other = rng.choice(["0", "1", "3", "1.5", "12", "100", "1e2", "1e5", "00" + number[0], number[0] + "0"])
        return old[: number.start()] + other + old[number.end() :]
    if how < 0.75:
        return copy.deepcopy(_at(tree, rng.choice(list(_paths(tree)))))
    if how < 0.85:
        return rng.choice([[old], {"value": old}, [old, old], str(old)])
    return copy.deepcopy(rng.choice(WORDS + VALUES))


KEYS = ["extra", "sede", "n", "draws", "source", "start", "sensitivity", "risk"]


def _key(rng: random.Random, key: str) -> str:
    i = rng.randrange(len(key)) if key else 0
    other = [
        key[:i] + key[i + 1 :],
        key + "s",
        key.upper(),
        key[:i] + "а" + key[i + 1 :],
        "",
        "?",
        "sd",
        "source",
        "n",
        "also",
        "over",
    ]
    return rng.choice(other)


def _mutate(rng: random.Random, tree: dict[str, Any]) -> None:
    paths = list(_paths(tree))
    if not paths:
        return
    path = rng.choice(paths)
    parent: Any = _at(tree, path[:-1])
    key: Any = path[-1]
    how = rng.random()
    if how < 0.6:
        parent[key] = _value(rng, tree, parent[key])
    elif how < 0.7:
        del parent[key]
    elif how < 0.8 and isinstance(parent, dict):
        parent[_key(rng, str(key))] = parent.pop(key) if rng.random() < 0.5 else copy.deepcopy(parent[key])
    elif how < 0.88:
        other = rng.choice(paths)
        try:
            there: Any = _at(tree, other[:-1])
            there[other[-1]], parent[key] = copy.deepcopy(parent[key]), copy.deepcopy(there[other[-1]])
        except (KeyError, IndexError, TypeError):
            pass
    elif how < 0.9:
        deep: Any = "x"
        for _ in range(rng.choice([3, 30, 60, 300])):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        parent[key] = deep
    elif isinstance(parent, list):
        parent.insert(rng.randrange(len(parent) + 1), _value(rng, tree, parent[key]))
    else:
        parent[rng.choice(KEYS)] = _value(rng, tree, 1)


TOKENS = [
    "&a ",
    "*a",
    "!!python/name:os.system ",
    "!!str ",
    "!t ",
    "<<: ",
    "---\n",
    "? ",
    "| ",
    "> ",
    "\t",
    "\x00",
    "\x07",
    "\x1b[2J",
    "\u2028",
    "\ufeff",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "#",
    "'",
    '"',
    "%YAML 1.1\n",
    "\r",
    "é",
    "\ud800",
    "\\",
    ",",
    "0x1",
    "1:30",
    "\n\n",
]


def _mutate_text(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.random()
    if how < 0.2:
        lines[i], lines[j] = lines[j], lines[i]
    elif how < 0.3:
        lines.insert(i, lines[j])
    elif how < 0.4:
        del lines[i]
    elif how < 0.5:
        lines[i] = rng.choice([" ", "  ", "\t"]) + lines[i] if rng.random() < 0.5 else lines[i][1:]
    elif how < 0.55:
        return text[: rng.randrange(len(text))]
    else:
        k = rng.randrange(len(text))
        gone = rng.choice([0, 0, 1, 3])
        return text[:k] + rng.choice(TOKENS) + text[k + gone :]
    return "\n".join(lines)


def study_text(rng: random.Random, trees: list[tuple[str, dict[str, Any]]]) -> tuple[str, str]:
    """The name of a file, and what stands in it."""
    if rng.random() < 0.3:
        name = rng.choice(SHIPPED)
        text = (ROOT / f"config/studies/{name}.yaml").read_text()
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            text = _mutate_text(rng, text or "a: 1")
        return name, text
    name, tree = copy.deepcopy(rng.choice(trees))
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        _mutate(rng, tree)
    return name, json.dumps(tree, indent=1, ensure_ascii=False)


# Studies: what must hold


def _name(owner: BaseModel, field: str) -> str:
    return type(owner).model_fields[field].alias or field


def differences(written: Any, held: Any, at: str = "") -> Iterator[str]:
    """Where what was read is not what is written. written: as a plain YAML parser has it, every scalar as its text."""
    if isinstance(held, BaseModel):
        given = {_name(held, f): getattr(held, f) for f in held.model_fields_set}
        if isinstance(held, Study):
            given = {k: v for k, v in given.items() if k not in ("name", "path", "root")}
        if isinstance(written, str) and set(given) == {"strategy"}:  # a word for a mapping of one
            written = {"strategy": written}
        held = given
    if isinstance(held, dict):
        if not isinstance(written, dict) or set(written) != set(held):
            yield f"{at}: {written!r} was read as {held!r}"
            return
        for key, value in held.items():
            yield from differences(written[key], value, f"{at}.{key}")
    elif isinstance(held, list | tuple):
        many = written if isinstance(written, list) else [written]  # one may stand for a list of one
        if len(many) != len(held):
            yield f"{at}: {written!r} was read as {held!r}"
            return
        for i, value in enumerate(held):
            yield from differences(many[i], value, f"{at}[{i}]")
    elif not (isinstance(written, str) and _same(written, held)):
        yield f"{at}: {written!r} was read as {held!r}"


PLAIN = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def _number(text: str) -> float | None:
    return float(text) if PLAIN.fullmatch(text) else None


def _words(text: str) -> list[Any]:
    """Names, signs and numbers, whatever the space between them."""
    found = re.findall(
        r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.])|[^\W\d][\w.]*|<=|>=|==|[^\s\w]", text
    )
    return [word if (number := _number(word)) is None else number for word in found]


def _same(written: str, held: Any) -> bool:
    if held is None:
        return written in ("", "~", "null")
    if isinstance(held, bool):
        return written == ("true" if held else "false")
    if isinstance(held, int | float):
        return _number(written) == held and (
            isinstance(held, float) or re.fullmatch(r"[-+]?[0-9]+", written) is not None
        )
    if isinstance(held, Quantity):
        number = PLAIN.match(written.strip())
        return bool(number and float(number[0]) == held.value and written.strip()[number.end() :].strip() == held.unit)
    if isinstance(held, Criterion):
        return written == held.text
    if isinstance(held, Prior | Decision):
        return _words(written) == _words(str(held))
    if isinstance(held, Path):
        return Path(written).as_posix() == held.as_posix()
    return written.strip() == held.strip()


def contents(study: Study) -> tuple[str, str]:
    """What a study holds, and the hashes that speak for it."""
    held = study.model_dump(mode="json", by_alias=True)
    sensitivity = study.calibration and study.calibration.sensitivity.model_dump(mode="json")
    other = {"sensitivity": sensitivity, "credibility": held.get("credibility")}
    return digest(held | other), digest([fingerprint(study), planned(study), other])


def check_study(text: str, path: Path) -> str:
    """`refused` or `accepted`; Broken where neither is rightly so."""
    try:
        with _in_time():
            study = study_of(text, path)
    except StudyError as e:
        lines = len(re.split("\n|\r|\x85|\u2028|\u2029", text)) + 1
        if not e.problems or len(str(e)) > 400_000:
            raise Broken(f"refused with {len(e.problems)} problems in {len(str(e))} characters") from e
        for problem in e.problems:
            if not problem.message.strip() or not problem.file or not 1 <= problem.line <= max(lines, 500):
                raise Broken(f"refused without a place or a reason: {problem!r}") from e
        return "refused"
    written = yaml.load(text, Loader=yaml.CBaseLoader)  # no tags, no types, no bounds
    if wrong := list(differences(written, study)):
        raise Broken("accepted, but " + "; ".join(wrong[:3]))
    return "accepted"


# Event tables


class _Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))
    sex: Scalar = category("male", "female", about="sex")


class _Parameters(Record):
    k: Scalar = fixed(0.5, "1/d", about="rate constant")


class _State(Record):
    depot: Scalar = quantity("mg", "under the skin")
    central: Scalar = quantity("mg", "in plasma")


class _Outputs(Record):
    c: Scalar = quantity("mg", "in plasma")
    total: Scalar = quantity("mg", "all of it")


def table_model() -> Model:
    """Two routes, in mg, and two outputs."""
    return Model(
        covariates=_Covariates,
        parameters=_Parameters,
        state=_State,
        outputs=_Outputs,
        time="d",
        individual=lambda p, x: p,
        initial=lambda p: _State(depot=0.0, central=0.0),
        ode=lambda t, y, p: _State(depot=-p.k * y.depot, central=p.k * y.depot - p.k * y.central),
        observe=lambda t, y, p: _Outputs(c=y.central, total=y.depot + y.central),
        routes={"sc": Route("depot"), "iv": Route("central")},
        endpoints={},
    )


HEADER = ["ID", "TIME", "AMT", "RATE", "DUR", "II", "ADDL", "SS", "CMT", "EVID", "MDV", "DV", "DVID", "weight", "sex"]
CELLS = [
    "",
    ".",
    " ",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "-1",
    "-2",
    "0012",
    "12",
    "12.0",
    " 12",
    "1e300",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "1_0",
    "0x1",
    "1,5",
    "1e5",
    "+3",
    "1.",
    ".5",
    "٣",
    "8:30",
    "2012-11-06",
    "sc",
    "iv",
    "depot",
    "c",
    "total",
    "male",
    "Male",
    "e\u0301",
    "é",
    "a\u200b",
    "\x00",
    "\x1b[31m",
    "=1+1",
    "x" * 300,
    "70",
    "1e-320",
    "-0",
    "3000000000",
    '"',
    "NA",
]
IDS = ["1", "2", "01", "0012", "12", "a b", "é", "S-001"]


def _record(rng: random.Random) -> dict[str, str]:
    kind = rng.choice(
        ["observe", "observe", "bolus", "infusion", "long", "repeated", "steady", "other", "reset", "both"]
    )
    row = {"EVID": {"observe": "0", "other": "2", "reset": "3", "both": "4"}.get(kind, "1")}
    amount = rng.choice(["10", "4.02", "1e2", ".5"])
    if kind in ("bolus", "infusion", "long", "repeated", "steady", "both"):
        row |= {"AMT": amount, "CMT": rng.choice(["1", "2", "sc", "iv", "depot", "central", "1.0"])}
    row |= {"infusion": {"RATE": "2.5"}, "long": {"DUR": "0.25"}}.get(kind, {})
    row |= {"repeated": {"ADDL": rng.choice(["1", "3"]), "II": "7"}, "steady": {"SS": "1", "II": "1"}}.get(kind, {})
    if kind == "observe":
        row |= {
            "DV": rng.choice(["1.5", "0", ".", "-3"]),
            "DVID": rng.choice(["1", "2", "c", "total"]),
            "MDV": rng.choice(["0", ".", "1"]),
        }
    return row


def table_text(rng: random.Random) -> str:
    header = [name for name in HEADER if name in ("ID", "TIME", "DVID") or rng.random() < 0.93]
    rows = []
    for subject in rng.sample(IDS, rng.randint(1, 3)):
        when, first = rng.choice([0.0, 1.5]), True
        for _ in range(rng.randint(1, 4)):
            row = {"ID": subject, "TIME": f"{when:g}"} | _record(rng)
            if first or rng.random() < 0.3:
                row |= {"weight": rng.choice(["70", "81.5"]), "sex": rng.choice(["male", "female", "0", "1"])}
            rows.append([row.get(name, rng.choice([".", ""])) for name in header])
            when, first = when + rng.choice([0.0, 0.5, 7.0]), False
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        row = rng.choice(rows)
        how = rng.random()
        if how < 0.75 and row:
            row[rng.randrange(len(row))] = rng.choice(CELLS)
        elif how < 0.8:
            rows.append(list(row))
        elif how < 0.85:
            rng.shuffle(rows)
        elif how < 0.9:
            row.append(rng.choice(CELLS)) if rng.random() < 0.5 or not row else row.pop()
        elif how < 0.95 and header:
            header[rng.randrange(len(header))] = rng.choice(
                [*HEADER, "DATE", "ROUTE", "note", "", "id", " Time ", "\x1b[2J"]
            )
        elif row:
            row[rng.randrange(len(row))] += rng.choice([" ", "\u00a0", "0", ".0", "e", "\u0301"])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    made = text.getvalue()
    if rng.random() < 0.05:
        k = rng.randrange(len(made))
        made = made[:k] + rng.choice(['"', "\x00", "\r", "\n", ",", "\ufeff", ";", "\ud7ff"]) + made[k:]
    return made


def _expected(text: str) -> tuple[list[str], list[dict[str, str | None]]]:
    """Another reading of a table: its columns in capitals, and each row's cells, None where missing."""
    header, *rows = [row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")) if row]
    names = [name.strip().upper() for name in header]
    return names, [
        {n: None if (c := cell.strip()) in ("", ".") else c for n, cell in zip(names, row, strict=True)} for row in rows
    ]


def table_differences(text: str, table: EventTable) -> Iterator[str]:
    _, rows = _expected(text)

    def number(row: dict[str, str | None], name: str) -> float:
        cell = row.get(name)
        if cell is None:
            return 0.0
        if (value := _number(cell)) is None:
            raise Broken(f"accepted {name} = {cell!r}, which is no number")
        return value

    ids = list(dict.fromkeys(row["ID"] for row in rows))
    if table.subjects != ids:
        yield f"subjects {ids} were read as {table.subjects}"
        return
    known = {"1": 0, "2": 1, "c": 0, "total": 1}
    events, changes = table.events.rows.to_dicts(), table.covariates.changes.to_dicts()
    for i, subject in enumerate(ids):
        mine = [row for row in rows if row["ID"] == subject]
        found = [event for event in events if event["course"] == table.events.course[i]]
        wanted: list[tuple] = []
        seen: list[tuple[float, float]] = []
        for row in mine:
            given = tuple(number(row, name) for name in ("AMT", "RATE", "DUR", "II", "ADDL", "SS"))
            evid = int(number(row, "EVID")) if "EVID" in row else int(any(given))
            when = number(row, "TIME")
            if evid == 4:
                wanted.append((when, "reset", *[0.0] * 6))
            wanted.append((when, ["observe", "dose", "other", "reset", "dose"][evid], *given))
            if evid == 0:
                measured = row.get("DV") is not None and number(row, "MDV") != 1
                which = known[re.sub(r"^(\d+)\.0*$", r"\1", row["DVID"] or "")] if measured else -1
                seen.append(tuple(number(row, "DV") if which == k else float("nan") for k in (0, 1)))  # type: ignore[arg-type]
        read = [
            (
                e["time"],
                e["action"],
                e["amount"],
                e["rate"],
                e["duration"],
                e["interval"],
                float(e["additional"]),
                float(e["steady"]),
            )
            for e in found
        ]
        if read != wanted:
            yield f"{subject}: {wanted} were read as {read}"
        for k, name in enumerate(("c", "total")):
            values = getattr(table.observed, name)[i].tolist()
            expected = [pair[k] for pair in seen]
            expected += [float("nan")] * (len(values) - len(expected))
            if [repr(v) for v in values] != [repr(v) for v in expected]:
                yield f"{subject}: {name} {expected} was read as {values}"
        yield from _covariates(i, subject, mine, table, [c for c in changes if c["subject"] == i])


def _covariates(
    i: int, subject: str | None, rows: list[dict[str, str | None]], table: EventTable, changes: list[dict[str, Any]]
) -> Iterator[str]:
    for name in ("weight", "sex"):
        if name.upper() not in rows[0]:
            continue
        held: dict[float, float] = {}
        value = float("nan")
        for row in rows:
            if (cell := row[name.upper()]) is not None:
                cell = {"male": "0", "female": "1"}.get(cell, cell)
                number = _number(cell)
                value = value if number is None else number
            held[_number(row["TIME"] or "") or 0.0] = value
        course = {change["time"]: change["value"] for change in changes if change["name"] == name}
        now = float(getattr(table.covariates.start, name)[i])
        for when, expected in held.items():
            now = course.get(when, now)
            if now != expected:
                yield f"{subject}: {name} at {when} is {expected}, read as {now}"


def check_table(text: str, path: Path, model: Model) -> str:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        with _in_time():
            table = read_events(path, model)
    except EventTableError as e:
        if not str(e).strip() or path.name not in str(e):
            raise Broken(f"refused without a place: {e}") from e
        return "refused"
    if wrong := list(table_differences(text, table)):
        raise Broken("accepted, but " + "; ".join(wrong[:3]))
    return "accepted"


# Many of them


def run(
    made: Callable[[random.Random], Any], check: Callable[[Any], str], seed: int, n: int, first: int = 0
) -> tuple[Counter[str], list[tuple[int, str, str]]]:
    """Counts by outcome, and of whatever broke its number, what happened and the file. File k depends on seed and k."""
    counts: Counter[str] = Counter()
    broken: list[tuple[int, str, str]] = []
    for k in range(first, first + n):
        text = made(random.Random(f"{seed}/{k}"))
        try:
            counts[check(text)] += 1
        except Exception as e:
            counts["broken"] += 1
            broken.append((k, f"{type(e).__name__}: {e}", str(text)))
    return counts, broken


def run_studies(folder: Path, seed: int, n: int, first: int = 0) -> tuple[Counter[str], list[tuple[int, str, str]]]:
    """In a copy of this project's config/, so that what a study names beside itself is there. Of two studies that are
    accepted, those with other contents have other hashes."""
    trees = bases()
    spoken: dict[str, str] = {}

    def check(made: tuple[str, str]) -> str:
        name, text = made
        path = folder / f"config/studies/{name}.yaml"
        outcome = check_study(text, path)
        if outcome == "accepted":
            held, hashes = contents(study_of(text, path))
            if spoken.setdefault(hashes, held) != held:
                raise Broken("accepted with the hashes of a study that says something else")
        return outcome

    return run(lambda rng: study_text(rng, trees), check, seed, n, first)


def run_tables(folder: Path, seed: int, n: int, first: int = 0) -> tuple[Counter[str], list[tuple[int, str, str]]]:
    model = table_model()
    return run(table_text, lambda text: check_table(text, folder / "events.csv", model), seed, n, first)


def main() -> None:
    import shutil

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="how many that broke are printed")
    told = parser.parse_args()
    load("evolocumab")
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(ROOT / "config", Path(scratch) / "config")
        bad = 0
        for name, runs, n in (("studies", run_studies, told.studies), ("tables", run_tables, told.tables)):
            begun = time.process_time()
            counts, broken = runs(Path(scratch), told.seed, n, told.first)
            print(f"{name}: {dict(counts)}, {time.process_time() - begun:.0f} s", flush=True)
            for k, what, text in broken[: told.show]:
                print(f"--- {name} {k}: {what[:600]}\n{text if name == 'tables' else ''}")
            bad += len(broken)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
