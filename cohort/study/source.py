"""YAML with line numbers: plain data only, no duplicate keys, no tags, and `no` is a word."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Place = tuple[str | int, ...]


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


INTEGER = re.compile(r"[-+]?\d+")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read(text: str) -> Source:
    """Parse YAML text. Duplicate keys, tags and aliases are problems, named with their line."""
    source = Source(None)
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        source.data = _build(node, (), source, set()) if node is not None else None
    except yaml.MarkedYAMLError as e:
        source.lines[()] = e.problem_mark.line + 1 if e.problem_mark else 1
        source.problems.append(((), f"not YAML: {e.problem}"))
    except yaml.reader.ReaderError as e:
        source.lines[()] = text.count("\n", 0, e.position) + 1
        source.problems.append(((), f"not YAML: the character {e.character!r} is not text"))
    except RecursionError:
        source.problems.append(((), "not YAML: brackets within brackets without end"))
    return source


def _build(node: yaml.Node, place: Place, source: Source, seen: set[int]) -> Any:
    source.lines.setdefault(place, node.start_mark.line + 1)
    if id(node) in seen:
        source.problems.append((place, "an alias (*name); write the value out"))
        return None
    seen.add(id(node))
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        source.problems.append((place, f"the tag {node.tag!r}; a study file holds plain values only"))
        return None
    if isinstance(node, yaml.MappingNode):
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            here = (*place, key)
            if key in found:
                first = source.lines[here]
                source.problems.append(
                    ((*place, key, key_node.start_mark.line + 1), f"written twice, first on line {first}; keep one")
                )
                source.lines[(*place, key, key_node.start_mark.line + 1)] = key_node.start_mark.line + 1
                continue
            source.lines[here] = key_node.start_mark.line + 1
            found[key] = _build(value_node, here, source, seen)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*place, i), source, seen) for i, child in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    if node.style in ("'", '"', "|", ">"):
        return node.value.strip() if node.style == ">" else node.value
    if node.value in WORDS:
        return WORDS[node.value]
    if len(node.value) > 300:  # no number is so long; int() refuses one of thousands of digits
        return node.value
    if INTEGER.fullmatch(node.value):
        return int(node.value)
    return float(node.value) if NUMBER.fullmatch(node.value) else node.value
