"""When something happens to a patient at a hazard that changes along the course: first passage of its integral.

Time runs in segments; in each, the logarithm of the hazard is constant or a straight line, whose integral is closed:
from a to b, with log hazard l(a) and l(b), it is (h(b) - h(a)) (b - a) / (l(b) - l(a)). A time to event is where the
integral reaches a standard exponential, so that with a constant hazard it is exponential to the bit, -log(u) / h.
Competing causes take the earliest of their own times.
"""

import numpy as np

FLAT = 1e-9  # a slope of log hazard over a segment below which the segment counts as constant


def passage(edges: np.ndarray, left: np.ndarray, right: np.ndarray, base: np.ndarray, level: np.ndarray) -> np.ndarray:
    """When the integrated hazard reaches `level`.

    edges: (n, segments + 1) times, ascending, segments of no length allowed; left, right: (n, segments) logarithm of
    the hazard ratio at a segment's ends; base: (n,) hazard per unit of time at ratio 1; level: (n,) from a standard
    exponential. Returns (n,), infinite where it is not reached by the last edge.
    """
    length = np.diff(edges, axis=1)
    slope = right - left
    flat = np.abs(slope) < FLAT
    safe = np.where(flat, 1.0, slope)
    rate = base[:, None] * np.exp(left)
    gained = np.where(flat, rate * length, rate * length * np.expm1(slope) / safe)
    reached = np.cumsum(gained, axis=1)
    hit = reached >= level[:, None]
    happens = hit.any(axis=1)
    k = np.where(happens, hit.argmax(axis=1), 0)
    i = np.arange(len(level))
    rest = level - np.where(k > 0, reached[i, k - 1], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        even = rest / rate[i, k]
        lined = length[i, k] / safe[i, k] * np.log1p(rest * safe[i, k] / (rate[i, k] * length[i, k]))
    within = np.where(flat[i, k], even, lined)
    return np.where(happens, edges[i, k] + np.clip(within, 0.0, length[i, k]), np.inf)


def constant(share: float, by: float) -> float:
    """The constant hazard, per unit of time, at which this share has had the event by the time `by`."""
    return float(-np.log1p(-share) / by)


def switching(before: np.ndarray, after: np.ndarray, at: np.ndarray, level: np.ndarray) -> np.ndarray:
    """First passage of a hazard that is `before` until the time `at`, and `after` from then on; all (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        early = level / before
        late = at + (level - before * at) / after
    return np.where(early <= at, early, np.where(np.isfinite(at), late, np.inf))
