"""The range of drift over which borrowing pays: a smaller error of the estimate, and more power at no more type I error
than is allowed."""

from dataclasses import dataclass

import numpy as np

from cohort.decision import DecisionError, exact
from cohort.decision.design import Design, boundary, require_designs

Ranges = tuple[tuple[float, float], ...]
POINTS = 201


@dataclass(frozen=True)
class SweetSpot:
    """Where one design is better than another. Ranges of drift, none where it never is; curves at `drift` (q,)."""

    mse: Ranges  # the mean squared error is less
    power: Ranges  # the power is greater
    allowed: Ranges  # the type I error is not more than alpha
    both: Ranges  # more power and an allowed type I error
    drift: np.ndarray
    mse_ratio: np.ndarray
    power_gain: np.ndarray
    type_1: np.ndarray


def ranges(x: np.ndarray, margin: np.ndarray) -> Ranges:
    """Where a curve is above 0: intervals of x, their ends interpolated linearly between points."""
    good = margin > 0
    found, start = [], float(x[0]) if good[0] else None
    for i in range(1, len(x)):
        if good[i] == good[i - 1]:
            continue
        at = float(x[i - 1] + (x[i] - x[i - 1]) * margin[i - 1] / (margin[i - 1] - margin[i]))
        if good[i]:
            start = at
        else:
            assert start is not None
            found.append((start, at))
            start = None
    return tuple([*found, (start, float(x[-1]))] if start is not None else found)


def sweet_spot(
    borrowing: Design,
    without: Design,
    *,
    centre: float,
    within: tuple[float, float],
    effect: float,
    alpha: float,
    null: float | None = None,
) -> SweetSpot:
    """Borrowing against none over a range of drift. effect: the true one for power and mean squared error.
    null: the true one for type I error; the threshold of the borrowing design's first criterion if None.
    Errors: DecisionError of an empty range, an effect that is the null, designs of two families."""
    require_designs([borrowing, without], arms=2)
    null = boundary(borrowing) if null is None else null
    wrong = [] if 0 < alpha < 1 else [f"alpha is {alpha}; write a number between 0 and 1, such as 0.025"]
    wrong += [] if effect != null else [f"effect is {effect}, the null; write another to have a power"]
    wrong += [] if within[0] < within[1] else [f"drift range {within}: write the lower end first"]
    if wrong:
        raise DecisionError("\n".join(wrong))
    drift = np.linspace(*within, POINTS)
    control = centre + drift
    with_, alone = (exact.characteristics(d, control + effect, control, level=None) for d in (borrowing, without))
    error = exact.rate(borrowing, control + null, control)
    gain = with_.rate - alone.rate
    ratio = with_.value["mse"] / alone.value["mse"]
    spare = alpha - error + 1e-12  # an error of just alpha is allowed
    return SweetSpot(
        mse=ranges(drift, 1 - ratio),
        power=ranges(drift, gain),
        allowed=ranges(drift, spare),
        both=ranges(drift, np.minimum(gain, spare)),
        drift=drift,
        mse_ratio=ratio,
        power_gain=gain,
        type_1=error,
    )
