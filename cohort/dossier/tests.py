"""What a run of the test suite says, room by room, from the JUnit XML that pytest writes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from cohort.record import digest

LARGEST = 64 * 2**20  # bytes of a file
MOST = 200_000  # tests
DEEPEST = 32  # elements within elements
LONGEST = 300  # characters of a name that are kept

# Rooms whose tests compare with what is known from elsewhere, by their folder or file in tests/.
KNOWN = {
    "agreement": "closed forms",
    "analysis": "closed forms, quadrature, published trials and textbooks",
    "borrowing": "published fits, closed forms, quadrature",
    "calibration": "recovery of parameters that are known, for they were simulated",
    "comparison": "closed forms, two engines beside each other",
    "decision": "published tables, closed forms, exact sums",
    "dosing": "doses worked by hand, the meaning of NONMEM's tables",
    "engine": "textbook curves, order conditions, published stiff problems, SciPy at its tightest",
    "enrolment": "the survey that virtual people stand for",
    "inference": "formulae, ranks of models that are right and wrong",
    "mixture": "published numbers, SciPy's quadrature, conjugate priors",
    "models": "an independent solver, published pharmacokinetics",
    "pharmacometrics": "closed forms, published analyses of two data sets",
    "population": "reference people, published organs, surveys, closed formulae",
    "streams": "published known answers of Philox",
    "trial": "closed forms, a real trial's published numbers, answers worked by hand",
}


class DossierError(ValueError):
    """What a dossier cannot be made from; the message says what to write instead."""


@dataclass
class Room:
    """The tests of one room; `known`: what they compare with that is known from elsewhere, if they do."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def known(self) -> str:
        return KNOWN.get(self.name, "")

    @property
    def row(self) -> dict[str, Any]:
        told = {"room": self.name, "passed": self.passed, "failed": self.failed, "skipped": self.skipped}
        return told | {"known": self.known, "failures": "; ".join(self.failures), "missed": self.failed > 0}


@dataclass(frozen=True)
class Tests:
    """`commit`: at which the suite ran, as the file or the caller says; it cannot be checked."""

    file: str
    sha256: str
    commit: str | None
    when: str | None
    rooms: list[Room]

    def total(self, what: str, rooms: Iterable[str] | None = None) -> int:
        """How many passed, failed or were skipped, of some rooms or all."""
        kept = self.rooms if rooms is None else [r for r in self.rooms if r.name in set(rooms)]
        return sum(getattr(room, what) for room in kept)


def room_of(classname: str) -> str:
    """`tests.engine.test_curves` is of the engine, `tests.test_streams` of the streams."""
    parts = [p for p in classname.split(".") if p]
    parts = parts[parts.index("tests") + 1 :] if "tests" in parts else parts
    if not parts:
        return "unnamed"
    return parts[0].removeprefix("test_")


class _Reader:
    """Counts test cases as the parser meets them; keeps no tree."""

    def __init__(self, path: Path):
        self.path = path
        self.depth = self.seen = 0
        self.case: tuple[str, str, str] | None = None  # room, name, how it ended
        self.rooms: dict[str, Room] = {}
        self.commit: str | None = None
        self.when: str | None = None

    def doctype(self, *_: Any) -> None:
        raise DossierError(
            f"{self.path}: has a document type, which no JUnit file needs; write one with pytest --junitxml"
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.depth == 0 and tag not in ("testsuites", "testsuite"):
            raise DossierError(
                f"{self.path}: begins with <{tag[:LONGEST]}>, which is no JUnit file; use pytest --junitxml"
            )
        self.depth += 1
        if self.depth > DEEPEST:
            raise DossierError(f"{self.path}: is nested more than {DEEPEST} deep; write one with pytest --junitxml")
        match tag:
            case "testsuite":
                self.when = self.when or attributes.get("timestamp", "")[:40] or None
            case "property" if attributes.get("name") == "commit":
                self.commit = attributes.get("value", "")[:LONGEST] or None
            case "testcase":
                self.seen += 1
                if self.seen > MOST:
                    raise DossierError(f"{self.path}: has more than {MOST} tests; is it of this project?")
                place, name = attributes.get("classname", ""), attributes.get("name", "")
                self.case = (room_of(place)[:LONGEST], f"{place}::{name}"[:LONGEST], "passed")
            case "failure" | "error" if self.case:
                self.case = (*self.case[:2], "failed")
            case "skipped" if self.case and self.case[2] == "passed":
                self.case = (*self.case[:2], "skipped")

    def end(self, tag: str) -> None:
        self.depth -= 1
        if tag == "testcase" and self.case:
            name, test, how = self.case
            room = self.rooms.setdefault(name, Room(name))
            setattr(room, how, getattr(room, how) + 1)
            if how == "failed":
                room.failures.append(test)
            self.case = None


def read_tests(path: Path, commit: str | None = None) -> Tests:
    """Read a JUnit file: bounded in size, depth and number, no document type and so no entities. commit: at which the
    suite ran; what the file says in a property `commit`, if left out. Errors: DossierError."""
    if not path.is_file():
        raise DossierError(f"{path}: no such file; write one with pytest --junitxml={path.name}")
    if path.stat().st_size > LARGEST:
        raise DossierError(f"{path}: is larger than {LARGEST // 2**20} MiB; is it a JUnit file?")
    text, reader, parser = path.read_bytes(), _Reader(path), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    try:
        parser.Parse(text, True)
    except expat.ExpatError as e:
        raise DossierError(
            f"{path}:{e.lineno}: is no whole XML ({expat.ErrorString(e.code)}); run the tests again"
        ) from None
    if not reader.seen:
        raise DossierError(f"{path}: holds no test; run pytest --junitxml={path.name}")
    rooms = [reader.rooms[name] for name in sorted(reader.rooms)]
    return Tests(path.name, digest(text), commit or reader.commit, reader.when, rooms)
