"""YAML with line numbers: plain data only, no duplicate keys, no tags, no aliases, and `no` is a word."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from cohort.bounded.files import TEXT

Place = tuple[str | int, ...]

DEEPEST = 40  # brackets within brackets; a study needs six
NODES = 100_000
DIGITS = 18  # of a whole number: more are no count and no seed, and overflow 64 bits


@dataclass
class Source:
    """What a file says, and on which line each of its keys stands."""

    data: Any
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of this key, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)


INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{36}|://[^\s/@:]+:[^\s/@]+@", re.ASCII
)
WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read(text: str) -> Source:
    """Parse YAML text. What is not plain data is a problem, named with its line: duplicate keys, tags, aliases, numbers
    beyond those that are computed with; and so is more of it than anybody writes."""
    source = Source(None)
    if len(text) > TEXT:
        source.problems.append(((), f"longer than the {TEXT:,} characters that are read of such a file"))
    elif odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
        source.lines[()] = text.count("\n", 0, odd.start()) + 1
        source.problems.append(((), f"not YAML: the character {ord(odd.group()):#04x} is not text"))
    else:
        try:
            # Event by event, so that nothing is made of what lies behind a bound. The parser in C, which keeps no
            # more than its place, is ten times as fast; it has been beside the one in Python in every wheel.
            source.data = _Builder(yaml.parse(text, Loader=yaml.CBaseLoader), source).document()
        except yaml.MarkedYAMLError as e:
            last = text.removesuffix("\n").count("\n") + 1
            source.data, source.lines[()] = None, min(e.problem_mark.line + 1, last) if e.problem_mark else 1
            source.problems.append(((), f"not YAML: {e.problem}"))
        except yaml.YAMLError as e:
            source.data = None
            source.problems.append(((), f"not YAML: {e}"))
    return source


class _Builder:
    def __init__(self, events: Iterator[yaml.Event], source: Source):
        self.events, self.source, self.nodes = events, source, 0

    def document(self) -> Any:
        next(self.events)  # the stream begins
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        data = self.node(next(self.events), ())
        next(self.events)  # the document ends
        more = next(self.events)
        if not isinstance(more, yaml.StreamEndEvent):
            raise yaml.MarkedYAMLError(problem="but found another document", problem_mark=more.start_mark)
        return data

    def node(self, event: yaml.Event, place: Place) -> Any:
        """The value that begins with this event."""
        self.nodes += 1
        if len(place) > DEEPEST or self.nodes > NODES:
            bound = f"more than {DEEPEST} levels" if len(place) > DEEPEST else f"more than {NODES:,} values"
            raise yaml.MarkedYAMLError(problem=f"{bound}; nobody writes so many", problem_mark=event.start_mark)
        self.source.lines.setdefault(place, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            self.wrong(place, "an alias (*name); write the value out")
            return None
        if isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(place)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(event_within := next(self.events), yaml.SequenceEndEvent):
                value.append(self.node(event_within, (*place, len(value))))
        else:
            assert isinstance(event, yaml.ScalarEvent)
            value = self.scalar(event, place)
        if event.tag is not None:
            self.wrong(place, f"the tag {event.tag!r}; a file like this holds plain values only")
            return None
        return value

    def mapping(self, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarEvent) or key.tag is not None:
                at = (*place, "?", line)
                self.source.lines[at] = line
                if not isinstance(key, yaml.AliasEvent):
                    self.node(key, at)
                self.wrong(at, "a key that is no plain text")
                self.node(next(self.events), at)
                continue
            here = (*place, key.value)
            if key.value in found:
                again = (*here, line)
                self.source.lines[again] = line
                self.wrong(again, f"written twice, first on line {self.source.lines[here]}; keep one")
                self.node(next(self.events), again)
                continue
            self.source.lines[here] = line
            found[key.value] = self.node(next(self.events), here)
        return found

    def scalar(self, event: yaml.ScalarEvent, place: Place) -> Any:
        word = event.value
        if SECRET.search(word):
            self.wrong(
                place, "looks like a secret; keep it in an environment variable, and name that where one is needed"
            )
            return None
        if event.style in ("'", '"', "|", ">"):
            return word.strip() if event.style == ">" else word
        if word in WORDS:
            return WORDS[word]
        if INTEGER.fullmatch(word):
            if len(word.lstrip("+-0")) > DIGITS:
                self.wrong(place, f"a whole number of more than {DIGITS} digits; write a smaller one")
                return None
            return int(word)
        if NUMBER.fullmatch(word):
            if not math.isfinite(float(word)):
                self.wrong(place, f"{word[:40]!r} is beyond all numbers that are computed with; write a smaller one")
                return None
            return float(word)
        return word

    def wrong(self, place: Place, message: str) -> None:
        self.source.problems.append((place, message))
