"""The probability cut with which a design that borrows keeps its type I error, over the drift that was agreed.

With a cut of 0.975 a design that borrows has a type I error of 0.025 at no drift, less at some and more at others. The
cut is raised (or lowered) until the largest type I error over the agreed range of drift is alpha. Holding it at any
drift at all, strictly, takes away most of what borrowing gives, so both cuts are reported.

The type I error is that where the true effect is the null: the criterion's own threshold, unless another is given.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.decision import DecisionError, exact
from cohort.decision.design import Design, boundary, in_range, require_designs
from cohort.decision.drift import grid, supremum

LEAST, MOST = 0.5, 1 - 1e-7  # between which a cut is sought
CLOSE = 1e-6  # to which it is found


@dataclass(frozen=True)
class Calibration:
    """A cut, and the largest type I error left over a range of drift. cut: None where none below MOST does it."""

    scope: str
    within: tuple[float, float]
    cut: float | None
    type_1: float | None
    at_drift: float | None
    power: tuple[float, ...]  # at each alternative, without drift


def _agreed(design: Design, within: tuple[float, float], centre: float, null: float) -> tuple[float, float]:
    low, high = within
    if design.family != "normal":
        low = max(low, -centre, -centre - null)
    if design.family == "beta":
        high = min(high, 1 - centre, 1 - centre - null)
    if not low < high:
        raise DecisionError(f"drift range {within}: no true control within it; write the lower end first")
    return low, high


def widest(design: Design, centre: float, null: float | None = None) -> tuple[float, float]:
    """Drift as far as it can go: every probability; else six SDs of the prior and the control's mean, either way.
    null: the true effect, that of the first criterion's threshold if None."""
    assert design.control is not None
    null = boundary(design) if null is None else null
    if design.family == "beta":
        return _agreed(design, (-1.0, 1.0), centre, null)
    prior, n = design.control.prior, design.control.n
    variance = float(design.sigma or 0) ** 2 / n if design.family == "normal" else centre / n
    reach = 6 * math.sqrt(prior.sd**2 + variance)
    return _agreed(design, (-reach, reach), centre, null)


def type_1(
    design: Design, centre: float, within: tuple[float, float], null: float | None = None
) -> tuple[float, float]:
    """The drift of the range with the largest type I error, and that error. null: the true effect, that of the first
    criterion's threshold if None."""
    effect = boundary(design) if null is None else null

    def error(drift: np.ndarray) -> np.ndarray:
        return exact.rate(design, in_range(design, centre + drift + effect), in_range(design, centre + drift))

    return supremum(error, grid(design, centre, within))


def calibrate(
    design: Design,
    *,
    centre: float,
    within: tuple[float, float],
    alpha: float = 0.025,
    null: float | None = None,
    alternatives: Sequence[float] = (),
    which: int = 0,
    strict_within: tuple[float, float] | None = None,
) -> list[Calibration]:
    """The design as it stands, the cut for the agreed range, and the strict one for any drift, in that order.

    centre: of the prior evidence, from which drift is counted. alternatives: effects at which the power is told. which:
    the criterion whose cut is sought; others stay. null: the true effect, treatment - control, at which the type I
    error is taken; the threshold of that criterion if None. strict_within: in place of `widest`.
    Errors: DecisionError of one arm, an alpha not between 0 and 1, a criterion that asks for less than its cut."""
    require_designs([design], arms=2)
    wrong = [] if 0 < alpha < 1 else [f"alpha is {alpha}; write a number between 0 and 1, such as 0.025"]
    if not 0 <= which < len(design.decision.criteria):
        wrong.append(f"which is {which}; the decision has criteria 0 to {len(design.decision.criteria) - 1}")
    elif not design.decision.criteria[which].exceeds:
        wrong.append(
            f"'{design.decision.criteria[which]}': asks for less than its cut; calibrate one that asks for more"
        )
    if not np.isfinite([centre, null or 0.0, *within, *alternatives, *(strict_within or ())]).all():
        wrong.append("centre, null, ranges and alternatives must be finite numbers")
    if wrong:
        raise DecisionError("\n".join(wrong))
    null = boundary(design, which) if null is None else null
    agreed = _agreed(design, within, centre, null)
    strict = _agreed(design, strict_within, centre, null) if strict_within else widest(design, centre, null)
    power = np.asarray(alternatives, float)

    def told(scope: str, span: tuple[float, float], cut: float | None) -> Calibration:
        if cut is None:
            return Calibration(scope, span, None, None, None, ())
        made = design.with_cut(cut, which)
        drift, error = type_1(made, centre, span, null)
        at = exact.rate(made, centre + power, np.full(len(power), centre)) if len(power) else []
        return Calibration(scope, span, cut, error, drift, tuple(map(float, at)))

    def found(span: tuple[float, float]) -> float | None:
        def holds(cut: float) -> bool:
            return type_1(design.with_cut(cut, which), centre, span, null)[1] <= alpha

        low, high = LEAST, MOST
        if holds(low):
            return low
        if not holds(high):
            return None
        while high - low > CLOSE * (1 - low):
            middle = 1 - math.sqrt((1 - low) * (1 - high))  # halves the logarithm of what the cut leaves
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high

    return [
        told("as designed", agreed, design.decision.criteria[which].cut),
        told("agreed drift", agreed, found(agreed)),
        told("any drift", strict, found(strict)),
    ]


def table(found: Sequence[Calibration], alternatives: Sequence[float] = ()) -> pl.DataFrame:
    """One row per calibration, with the power at each alternative."""
    return pl.DataFrame(
        [
            {"scope": c.scope, "low": c.within[0], "high": c.within[1], "cut": c.cut}
            | {"type_1": c.type_1, "at_drift": c.at_drift}
            | {f"power_{a:g}": c.power[i] if c.power else None for i, a in enumerate(alternatives)}
            for c in found
        ]
    )
