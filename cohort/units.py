"""Quantities such as "84 d" or "50 mg": read once at the edge, refused where they make no sense."""

import functools
import math
import re
import tokenize
from dataclasses import dataclass
from typing import Any

import pint

NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(\S.*?)?\s*")

# Names joined by * and /, each with one small exponent: pint would also work out 9**9**9**9.
_FACTOR = r"\(*\s*(?:1|%|[^\W\d]\w*)\s*(?:(?:\*\*|\^)\s*-?\d(?:\.\d+)?\s*)?\)*\s*(?:(?:\*\*|\^)\s*-?\d\s*)?"
WORD = re.compile(r"[^\W\d]\w*")
UNIT = re.compile(rf"\s*(?:{_FACTOR}(?:[*/]\s*{_FACTOR})*)?")

# What a protocol measures, and in which units: few, for pint takes Mg for a tonne and dd for a tenth of a day.
DIMENSIONS = {
    "time": ("d", ("h", "d", "wk", "y", "min", "s", "ms")),
    "mass": ("mg", ("ug", "mg", "g", "kg")),
    "length": ("cm", ("cm", "m")),
    "fraction": ("percent", ("percent",)),
}
UNPREFIXED = {"minute", "hour", "day", "week", "wk", "month", "year", "y"}


@functools.cache
def registry() -> pint.UnitRegistry:
    """Pint's units with the field's short names for week and year."""
    units = pint.UnitRegistry(cache_folder=None)
    units.define("wk = 7 * day")
    units.define("y = 365.25 * day")
    return units


@functools.cache
def unit(text: str) -> pint.Unit:
    """The unit written as `text`; ValueError when there is none of that name. "1" is no unit at all."""
    if len(text) > 60 or not UNIT.fullmatch(text):
        raise ValueError(f"{text!r} is not a unit")
    try:
        if any(p and base in UNPREFIXED for w in WORD.findall(text) for p, base, _ in registry().parse_unit_name(w)):
            raise ValueError(f"{text!r} is not a unit")
        return registry().parse_units("" if text.strip() == "1" else text)
    except (pint.PintError, tokenize.TokenError, ValueError, TypeError, AttributeError, AssertionError, KeyError):
        raise ValueError(f"{text!r} is not a unit") from None


@functools.cache
def factor(source: str, target: str) -> float:
    """What a number in `source` is multiplied by to stand in `target`; ValueError when they measure two things."""
    try:
        return float(registry().Quantity(1.0, unit(source)).to(unit(target)).magnitude)
    except pint.DimensionalityError:
        raise ValueError(f"{source} cannot be written in {target}") from None


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, as it stands in a study file."""

    value: float
    unit: str

    def to(self, target: str) -> float:
        return self.value * factor(self.unit, target)

    def __str__(self) -> str:
        return f"{spelt(self.value)} {self.unit}"


def spelt(number: float) -> str:
    """The shortest text that reads back as this very number; 2, not 2.0."""
    return repr(float(number)).removesuffix(".0")


def number_and_unit(text: Any) -> Quantity | None:
    """Split `120 mg/dL`; None when `text` is not a finite number followed by something."""
    match = NUMBER_AND_UNIT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] is None or not math.isfinite(float(match[1])):
        return None
    return Quantity(float(match[1]), match[2])


def quantity(text: Any, dimension: str) -> Quantity:
    """Read `text` as a quantity. `dimension` is a name in DIMENSIONS or a unit that it must be convertible to."""
    target, known = DIMENSIONS.get(dimension, (dimension, (dimension,)))
    kind = dimension if dimension in DIMENSIONS else f"quantity in {dimension}"
    hint = f"write a number and {'one of ' if len(known) > 1 else ''}{', '.join(known)}"
    read = number_and_unit(text)
    if read is None or (dimension in DIMENSIONS and read.unit not in known):
        raise ValueError(f"{text!r} is not a {kind}; {hint}")
    try:
        factor(read.unit, target)
    except ValueError:
        raise ValueError(f"{text!r} is not a {kind}; {hint}") from None
    return read
