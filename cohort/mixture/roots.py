"""Many roots at once of increasing functions, each inside its bracket: Newton, and bisection where Newton strays."""

from collections.abc import Callable

import numpy as np

MOST = 400  # steps


def increasing(
    function: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    low: np.ndarray,
    high: np.ndarray,
    scale: np.ndarray,
    relative: float = 1e-13,
) -> np.ndarray:
    """x (n,) with f(x) = 0, between low (n,) and high (n,), where f is at most 0 and at least 0.

    function: of x (m,), and which of the n they belong to (m,) -> f, df/dx, both (m,). scale: (n,), a length on which f
    changes; a step below `relative` times the larger of it and |x| ends the search."""
    low, high = np.array(low, dtype=float), np.array(high, dtype=float)
    found = low + (high - low) / 2
    before = high - low
    left = np.arange(len(found))  # those still sought
    for _ in range(MOST):
        x, at_low, at_high = found[left], low[left], high[left]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            f, slope = function(x, left)
            newton = -f / slope
        at_low, at_high = np.where(f <= 0, x, at_low), np.where(f >= 0, x, at_high)
        middle = at_low + (at_high - at_low) / 2
        good = (x + newton > at_low) & (x + newton < at_high) & (np.abs(newton) < before[left] / 2)
        step = np.where(f == 0, 0.0, np.where(good, newton, middle - x))
        found[left], low[left], high[left], before[left] = x + step, at_low, at_high, np.abs(step)
        enough = relative * np.maximum(np.abs(x + step), scale[left])
        left = left[(np.abs(step) > enough) & (at_high - at_low > enough)]
        if not len(left):
            break
    return found
