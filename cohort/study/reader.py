"""From a file to a Study: each section on its own, so that all errors come at once."""

import difflib
import functools
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from cohort.bounded import BoundError, Place, Source, read, text
from cohort.record import digest
from cohort.study import checks
from cohort.study.protocol import Section, Study

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)  # of a study: a folder, and a word of a shell's command


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: file, line, key, what was found and what to write instead."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {self.key + ': ' if self.key else ''}{self.message}"


class StudyError(ValueError):
    """A study that says something impossible; `problems` holds each reason with its place."""

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def read_study(path: str | Path) -> Study:
    """Read and check a study file. Errors: StudyError with every problem found; nothing is computed before."""
    path = Path(path)
    if not path.is_file():
        raise StudyError(
            [Problem(str(path), 1, "", "no such file; name a study file such as config/studies/laplace.yaml")]
        )
    try:
        written = text(path)
    except BoundError as e:
        line = re.match(r":(\d+): ", str(e).removeprefix(str(path)))
        message = str(e).removeprefix(str(path))[line.end() if line else 2 :]
        raise StudyError([Problem(str(path), int(line[1]) if line else 1, "", message)]) from None
    return study_of(written, path)


def study_of(written: str, path: Path) -> Study:
    """The study that this text is, as if it stood in the file `path`. Errors: StudyError with every problem found."""
    source = read(written)
    problems = list(source.problems)
    if not NAME.fullmatch(path.stem):
        message = f"{path.stem!r} names results, commands and predictions; use letters, digits, _, - and ."
        problems.append(((), f"the file's name: {message}"))
    if not isinstance(source.data, dict):
        problems = problems or [((), "not a study: write keys such as title, model, population, arms")]
        raise StudyError([_problem(path, source, *p) for p in problems])
    sections, wrong = _sections(source.data)
    problems += wrong
    root = project_root(path)
    found, evidence = checks.check(sections, source, path, root)
    problems += found
    if problems or evidence:
        in_file = sorted((_problem(path, source, *p) for p in problems), key=lambda p: p.line)
        raise StudyError(in_file + [Problem(*e) for e in evidence])
    return Study(**sections, name=path.stem, path=path, root=root)


def fingerprint(study: Study) -> str:
    """SHA-256 of what predictions rest on in a study, whatever its layout, comments and place: not of `comparison`,
    which says what is done with them, of `credibility`, which says how much rests on them, nor of `chapters`, which
    are other analyses.

    Registered predictions name it: a key that is added to the schema later gets `exclude_if` its default, so that
    studies that do not use it keep their fingerprint.
    """
    return digest(study.model_dump(mode="json", by_alias=True, exclude={"comparison", "credibility", "chapters"}))


def planned(study: Study) -> str | None:
    """SHA-256 of the comparison that a study plans; None if it plans none."""
    plan = study.comparison
    return None if plan is None else digest(plan.model_dump(mode="json", by_alias=True))


def project_root(path: Path) -> Path:
    """The folder that holds config/studies/; for a study elsewhere, the working directory."""
    folder = path.resolve().parent
    return folder.parent.parent if folder.name == "studies" and folder.parent.name == "config" else Path.cwd()


def _problem(path: Path, source: Source, place: Place, message: str) -> Problem:
    shown = [str(p) for p in place if not (isinstance(p, int) and p == source.lines.get(place))]
    return Problem(str(path), source.line(place), ".".join(shown), message)


def _sections(data: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[Place, str]]]:
    """Validate each top-level key, and each entry of a mapping, by itself. Returns what holds, and what does not."""
    sections: dict[str, Any] = {}
    problems: list[tuple[Place, str]] = []
    fields = {name: f for name, f in Study.model_fields.items() if not f.exclude}
    for key, value in data.items():
        if key not in fields:
            problems.append(((key,), _unknown(key, list(fields))))
            continue
        whole = _kinds()[key]
        if whole.parts and isinstance(value, dict):
            names, entries = whole.parts
            sections[key] = {}
            for name, entry in value.items():
                _validate(names, name, (key, name), problems)
                valid = _validate(entries, entry, (key, name), problems)
                if valid is not None:
                    sections[key][name] = valid
        else:
            valid = _validate(whole, value, (key,), problems)
            if valid is not None:
                sections[key] = valid
    for name, f in fields.items():
        if f.is_required() and name not in data:
            problems.append(((), f"'{name}' is missing; add it"))
    return sections, problems


@dataclass(frozen=True)
class _Kind:
    """An annotation, and what validates by it; of a mapping also those of its names and of its entries."""

    hint: Any
    adapter: TypeAdapter
    parts: "list[_Kind]"


def _kind(hint: Any) -> _Kind:
    parts = typing.get_args(hint) if typing.get_origin(hint) is dict else ()
    return _Kind(hint, TypeAdapter(hint), [_kind(part) for part in parts])


@functools.cache
def _kinds() -> dict[str, _Kind]:
    """Of each section: made once, for it takes longer than all that is validated by it."""
    return {name: _kind(f.rebuild_annotation()) for name, f in Study.model_fields.items() if not f.exclude}


def _validate(kind: _Kind, value: Any, place: Place, problems: list[tuple[Place, str]]) -> Any:
    try:
        return kind.adapter.validate_python(value, strict=True)  # strict: "12", 12.0 and true are not 12
    except ValidationError as e:
        problems += [_explain(error, place, kind.hint) for error in e.errors()]
        return None


LONGEST = 300  # characters of what was found that a message repeats

# What to write where pydantic says what it found, by its error type and what that type carries.
INSTEAD = {
    "int_type": "write a whole number such as 2000",
    "float_type": "write a number such as 0.05",
    "bool_type": "write true or false",
    "string_type": "write text, in quotes if it looks like a number",
    "string_too_short": "write some text",
    "list_type": "write a list such as [a, b], or a line with a dash for each item",
    "string_too_long": "write at most {max_length} characters",
    "too_short": "write at least {min_length} items",
    "literal_error": "write {expected}",
    "greater_than": "write more than {gt:g}",
    "greater_than_equal": "write at least {ge:g}",
    "less_than": "write less than {lt:g}",
    "less_than_equal": "write at most {le:g}",
}


def _explain(error: Any, place: Place, hint: Any) -> tuple[Place, str]:
    tags = ("share", "spread") if place[:1] == ("population",) else ()  # of the kinds of distribution, no keys
    inner = tuple(p for p in error["loc"] if p not in (*tags, "[key]"))
    where, message = (*place, *inner), error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    given = "nothing" if error["input"] is None else _short(repr(error["input"]))
    match error["type"]:
        case "extra_forbidden":
            return where, _unknown(str(where[-1]), _keys(hint, error["loc"][:-1]))
        case "missing":
            return where, "missing; add it"
        case "value_error":
            return where, message
        case "string_pattern_mismatch":
            return where, f"{given} is not a name; write lower-case letters, digits and _"
        case "model_type" | "model_attributes_type" | "dict_type":
            return where, f"found {given}; write keys and values below it"
        case kind if kind in INSTEAD:
            return where, f"found {given}; {INSTEAD[kind].format(**error.get('ctx', {}))}"
        case _:
            return where, f"found {given}; {message[0].lower()}{message[1:]}"


def _short(said: str) -> str:
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


def _unknown(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"unknown key; did you mean '{near[0]}'?" if near else f"unknown key; known keys: {', '.join(known)}"


def _keys(hint: Any, inner: tuple) -> list[str]:
    """The keys of the section that `inner` leads to, from the annotation `hint`."""
    kinds = [k for k in _leaves(hint) if isinstance(k, type) and issubclass(k, BaseModel)]
    for word in inner:
        deeper = [f for k in kinds for n, f in k.model_fields.items() if word in (n, f.alias)]
        if deeper:
            kinds = [k for f in deeper for k in _leaves(f.annotation) if isinstance(k, type) and issubclass(k, Section)]
        elif word in ("share", "spread"):
            kinds = [k for k in kinds if k.__name__.lower() == word]
    return [f.alias or n for k in kinds for n, f in k.model_fields.items()]


def _leaves(hint: Any) -> list[Any]:
    inner = typing.get_args(hint)
    return [hint] if not inner else [leaf for part in inner for leaf in _leaves(part)]
