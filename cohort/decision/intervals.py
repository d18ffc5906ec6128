"""Equal-tailed intervals of a difference at every outcome of a counted trial: how often they hold the truth, how wide.

An interval holds the truth d where P(difference > d) lies between its two tails, so coverage needs one table for each
true difference. Widths need quantiles: tables at differences spaced by about the least posterior SD that there
can be, and between them the inverse normal of the probability, which is nearly straight, interpolated by a cubic.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from cohort.decision.counted import Posteriors, beyond

RARE = 1e-12  # an outcome less probable than this in every scenario is left out of widths
SPACING = 1.0  # of differences, in the least posterior SD


def _tail(t: Posteriors, c: Posteriors | None, d: float, exact: bool = True) -> np.ndarray:
    """P(difference > d), or of one arm P(parameter > d), at every outcome: (outcomes, outcomes or 1)."""
    return t.above(np.array([d]), exact) if c is None else beyond(t, c, d, exact=exact)


def coverage(
    t: Posteriors, c: Posteriors | None, p: np.ndarray, p_c: np.ndarray, truth: np.ndarray, level: float
) -> np.ndarray:
    """How often the interval holds the truth (scenarios,). p, p_c: probabilities of outcomes, (scenarios, outcomes)."""
    found = np.empty(len(truth))
    low, high = (1 - level) / 2, (1 + level) / 2
    keys = np.round(truth, 12)  # 0.3 - 0.1 and 0.2 are one truth
    for key in np.unique(keys):
        who = np.flatnonzero(keys == key)
        over = _tail(t, c, float(truth[who[0]]))
        held = ((over >= low) & (over <= high)).astype(float)
        found[who] = np.sum((p[who] @ held) * p_c[who], axis=1)
    return found


def _likely(arm: Posteriors, p: np.ndarray) -> tuple[Posteriors, np.ndarray]:
    """The arm with the outcomes that are likely in some scenario, and their probabilities."""
    some = np.flatnonzero(p.max(axis=0) > RARE)
    kept = slice(some[0], some[-1] + 1)
    return replace(arm, outcomes=arm.outcomes[kept]), p[:, kept]


def _differences(t: Posteriors, c: Posteriors | None) -> np.ndarray:
    """Increasing differences that resolve every posterior: the SD at d is at least sqrt(d (1 - d) / n)."""
    arms = [t] if c is None else [t, c]
    n = max(arm.largest if t.prior.family == "beta" else float(arm.parameters[1].max()) for arm in arms)
    step = SPACING / (2 * math.sqrt(n))
    if t.prior.family == "beta":
        phi = np.linspace(0, math.pi / 2, math.ceil(math.pi / 2 / step) + 1)
        size = np.sin(phi) ** 2
    else:
        most = max(float((m + 12 * np.sqrt(v)).max()) for m, v in (arm.moments for arm in arms))
        size = np.linspace(0, math.sqrt(most), math.ceil(math.sqrt(most) / step) + 1) ** 2
    return size if c is None else np.concatenate([-size[:0:-1], size])


def quantiles(t: Posteriors, c: Posteriors | None, q: Sequence[float]) -> np.ndarray:
    """Quantiles of the difference at every outcome: (quantiles, outcomes, outcomes or 1). One is right to about
    1e-3 of the parameter's scale, worst where no events were seen; mean widths to 1e-4 of themselves."""
    at = _differences(t, c)
    shape = (len(t.outcomes), 1 if c is None else len(c.outcomes))
    found = np.full((len(q), *shape), np.nan)
    wanted = ndtri(np.asarray(q))
    planes: list[np.ndarray] = []  # of the last four differences
    for i in range(len(at) + 1):
        if i < len(at):
            p = 1 - np.clip(_tail(t, c, float(at[i]), exact=False), 1e-16, 1 - 1e-15)
            planes = [*planes[-3:], ndtri(p) + 1e-9 * i]  # strictly increasing, also where it is 0 or 1
        else:
            planes = planes[-3:]
        if i < 2:
            continue
        last = min(i, len(at) - 1)
        window = list(range(last - len(planes) + 1, last + 1))
        left = i - 2  # the crossing is sought between differences left and left + 1
        lower, upper = planes[window.index(left)], planes[window.index(left + 1)]
        for k, z in enumerate(wanted):
            here = np.isnan(found[k]) & (upper >= z) & ((lower <= z) | (left == 0))
            if here.any():
                found[k][here] = _between([plane[here] for plane in planes], at[window], z, at[left], at[left + 1])
    return found


def _between(z: list[np.ndarray], d: np.ndarray, wanted: float, low: float, high: float) -> np.ndarray:
    """The difference at which z is as wanted, by Lagrange's polynomial through the inverse, kept in its bracket."""
    total = np.zeros_like(z[0])
    for i, own in enumerate(z):
        term = np.full_like(own, d[i])
        for j, other in enumerate(z):
            if j != i:
                term = term * (wanted - other) / (own - other)
        total += term
    return np.clip(total, low, high)


def width(t: Posteriors, c: Posteriors | None, p: np.ndarray, p_c: np.ndarray, level: float) -> np.ndarray:
    """Mean width of the interval in each scenario, (scenarios,)."""
    t, p = _likely(t, p)
    if c is not None:
        c, p_c = _likely(c, p_c)
    low, high = quantiles(t, c, ((1 - level) / 2, (1 + level) / 2))
    return np.sum((p @ (high - low)) * p_c, axis=1)
