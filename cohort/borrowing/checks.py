"""What is refused before anything is borrowed: each finding says where, what was found, and what to write instead."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cohort.borrowing import BorrowingError


def refuse(problems: Iterable[str]) -> None:
    """Errors: BorrowingError that lists all problems, if there are any."""
    if found := list(problems):
        raise BorrowingError("\n".join(found))


def _shown(x: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in np.ravel(x)[:5])


def numbers(where: str, x: Any) -> list[str]:
    """x is finite and not empty."""
    try:
        found = np.asarray(x, float)
    except (TypeError, ValueError):
        return [f"{where}: {x!r} is not a number; write numbers"]
    if found.size == 0:
        return [f"{where}: is empty; write at least one number"]
    if not np.isfinite(found).all():
        return [f"{where}: {_shown(found[~np.isfinite(found)])} is not finite; write finite numbers"]
    return []


def positive(where: str, x: Any) -> list[str]:
    """x > 0 everywhere."""
    if wrong := numbers(where, x):
        return wrong
    bad = np.asarray(x, float)
    bad = bad[bad <= 0]
    return [f"{where}: {_shown(bad)} is not above zero; write positive numbers"] if bad.size else []


def within(where: str, x: Any, low: float, high: float) -> list[str]:
    """low <= x <= high everywhere."""
    if wrong := numbers(where, x):
        return wrong
    bad = np.asarray(x, float)
    bad = bad[(bad < low) | (bad > high)]
    return [f"{where}: {_shown(bad)} is outside {low:g} to {high:g}; write numbers within"] if bad.size else []


def counts(where: str, x: Any) -> list[str]:
    """Whole numbers of zero or more."""
    if wrong := numbers(where, x):
        return wrong
    bad = np.asarray(x, float)
    bad = bad[(bad < 0) | (bad != np.floor(bad))]
    return [f"{where}: {_shown(bad)} is not a count; write whole numbers of zero or more"] if bad.size else []


def known(where: str, name: str, names: Iterable[str]) -> list[str]:
    """A name is one of those known."""
    options = list(names)
    return [] if name in options else [f"{where}: {name!r} is unknown; write one of {', '.join(options)}"]
