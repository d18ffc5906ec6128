"""Two small grammars of a study file, eligibility criteria and priors, never `eval`; and what to write for a word."""

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cohort.units import Quantity, number_and_unit, spelt, unit

COMPARE: dict[str, Callable] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
MIRROR = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "==": "=="}


@dataclass(frozen=True)
class Criterion:
    """One line of eligibility: a column, and the bounds or the level it must keep."""

    text: str
    column: str
    bounds: tuple[tuple[str, Quantity | str], ...]  # (comparison, limit), the column on the left

    def __str__(self) -> str:
        return self.text

    def keeps(self, values: np.ndarray, column_unit: str) -> np.ndarray:
        """Which of these values pass. values: (n,), in `column_unit`, or levels as text."""
        passed = np.ones(len(values), dtype=bool)
        for comparison, limit in self.bounds:
            passed &= COMPARE[comparison](values, limit.to(column_unit) if isinstance(limit, Quantity) else limit)
        return passed

    def interval(self, column_unit: str) -> tuple[float, float]:
        """The lowest and the highest value that a numeric criterion allows."""
        low, high = -math.inf, math.inf
        for comparison, limit in self.bounds:
            if isinstance(limit, Quantity):
                value = limit.to(column_unit)
                beyond = {">": math.nextafter(value, math.inf), "<": math.nextafter(value, -math.inf)}
                low = max(low, beyond.get(comparison, value)) if comparison in (">=", ">", "==") else low
                high = min(high, beyond.get(comparison, value)) if comparison in ("<=", "<", "==") else high
        return low, high


def criterion(text: str | Criterion) -> Criterion:
    """Read `18 y <= age <= 80 y`, `ldl >= 85 mg/dL` or `statin == yes`."""
    if isinstance(text, Criterion):
        return text
    example = "write such as 18 y <= age <= 80 y, or statin == yes"
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a criterion; {example}")
    parts = re.split(r"(<=|>=|==|<|>)", text)
    terms, comparisons = [t.strip() for t in parts[::2]], parts[1::2]
    columns = [t for t in terms if t.isidentifier()]
    if len(comparisons) == 1 and comparisons == ["=="] and len(columns) == 2:
        return Criterion(text, columns[0], (("==", columns[1]),))
    if not 1 <= len(comparisons) <= 2 or len(columns) != 1 or (len(terms) == 3 and not terms[1].isidentifier()):
        raise ValueError(f"{text!r} is not a criterion; {example}")
    at = terms.index(columns[0])
    bounds = []
    for i, term in enumerate(terms):
        if i == at:
            continue
        limit = number_and_unit(term)
        if limit is None:
            raise ValueError(f"{term!r} in {text!r} is not a number with a unit; {example}")
        unit(limit.unit)
        comparison = comparisons[i] if i < at else comparisons[i - 1]
        bounds.append((MIRROR[comparison] if i < at else comparison, limit))
    return Criterion(text, columns[0], tuple(bounds))


# Arguments of each prior: lognormal(median, sd of the logarithm), normal(mean, sd), halfnormal(scale).
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
PRIORS = {"lognormal": 2, "normal": 2, "halfnormal": 1}


@dataclass(frozen=True)
class Prior:
    kind: str
    arguments: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(spelt, self.arguments))})"

    def scaled(self, factor: float) -> "Prior":
        """The same prior of a number `factor` times as large: another unit."""
        if self.kind == "lognormal":
            return Prior(self.kind, (self.arguments[0] * factor, self.arguments[1]))
        return Prior(self.kind, tuple(a * factor for a in self.arguments))


def prior(text: str | Prior) -> Prior:
    """Read `lognormal(2, 0.7)`."""
    if isinstance(text, Prior):
        return text
    match = re.fullmatch(r"\s*(\w+)\(([^()]*)\)\s*", text) if isinstance(text, str) else None
    kinds = "lognormal(median, sd of log), normal(mean, sd) or halfnormal(scale)"
    if match is None or match[1] not in PRIORS:
        raise ValueError(f"{text!r} is not a prior; write {kinds}")
    given = match[2].split(",")
    if not all(NUMBER.fullmatch(a.strip()) for a in given):  # float() would read 1_0 as ten
        raise ValueError(f"{text!r} has an argument that is not a number; write {kinds}")
    arguments = tuple(map(float, given))
    if len(arguments) != PRIORS[match[1]] or not all(map(math.isfinite, arguments)):
        raise ValueError(f"{match[1]} takes {PRIORS[match[1]]} finite numbers; write {kinds}")
    if arguments[-1] <= 0 or (match[1] == "lognormal" and arguments[0] <= 0):
        raise ValueError(f"{text!r} has a scale or median that is not positive; write {kinds}")
    return Prior(match[1], arguments)


def near(word: str, known: Iterable[str]) -> str:
    """What to write in place of a word that is not known."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{found[0]}'?" if found else f"write one of {', '.join(known) or 'none'}"
