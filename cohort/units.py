"""Quantities such as "84 d" or "50 mg": read once at the edge, refused where they make no sense."""

import functools
import re
from dataclasses import dataclass
from typing import Any

import pint

NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*?)?\s*")

# What a protocol measures, and the units worth suggesting when one is misspelt.
DIMENSIONS = {
    "time": ("d", ("h", "d", "wk", "y")),
    "mass": ("mg", ("ug", "mg", "g", "kg")),
    "length": ("cm", ("cm", "m")),
    "fraction": ("percent", ("percent",)),
}


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
    try:
        return registry().parse_units("" if text.strip() == "1" else text)
    except (pint.PintError, ValueError, TypeError, AttributeError, AssertionError, KeyError):
        raise ValueError(f"{text!r} is not a unit") from None


@functools.cache
def factor(source: str, target: str) -> float:
    """What a number in `source` is multiplied by to stand in `target`; ValueError when they measure different things."""
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
        return f"{self.value:.15g} {self.unit}"


def quantity(text: Any, dimension: str) -> Quantity:
    """Read `text` as a quantity. `dimension` is a name in DIMENSIONS or a unit that it must be convertible to."""
    target, known = DIMENSIONS.get(dimension, (dimension, (dimension,)))
    kind = dimension if dimension in DIMENSIONS else f"quantity in {dimension}"
    hint = f"write a number and {'one of ' if len(known) > 1 else ''}{', '.join(known)}"
    match = NUMBER_AND_UNIT.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] is None:
        raise ValueError(f"{text!r} is not a {kind}; {hint}")
    try:
        factor(match[2], target)
    except ValueError:
        raise ValueError(f"{text!r} is not a {kind}; {hint}") from None
    return Quantity(float(match[1]), match[2])
