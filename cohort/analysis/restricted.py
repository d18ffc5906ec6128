"""What a survival model says in time: restricted mean survival, survival at a milestone, median, each as draws.

These estimands need no proportional hazards [1]. With covariates, survival is that of the trial's own subjects, each as
if in the arm, and then averaged.

References
----------
[1] Royston and Parmar 2013, BMC Medical Research Methodology 13:152: restricted mean survival time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cohort.analysis import AnalysisError

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
# Towards 0 by powers of ten: there a Weibull survival of shape below 1 is steep.
_TOWARDS_ZERO = np.array([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.15, 0.4, 0.7])


@dataclass(frozen=True)
class Curves:
    """Posterior survival curves of the arms. at: of times (k,), survival (chains, draws, arms, k). breaks: times at
    which a hazard jumps. horizon: the longest time that every arm was followed, beyond which a curve is the model's."""

    at: Callable[[np.ndarray], np.ndarray]
    arms: tuple[str, ...]
    unit: str
    horizon: float
    breaks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A posterior in figures: mean, SD, median, equal-tailed interval at `level`, Monte Carlo standard errors of the
    mean and of the median, and the posterior probability to be above 0 with its own."""

    mean: float
    sd: float
    median: float
    low: float
    high: float
    mcse: float
    mcse_median: float
    above_zero: float
    mcse_above_zero: float
    level: float = 0.95
    kind: str = "equal-tailed"


def estimate(draws: np.ndarray, *, level: float = 0.95) -> Estimate:
    """Summary of draws (chains, draws). Infinite draws (a median not reached) leave mean and SD infinite or NaN, and
    quantiles as they are. Errors: AnalysisError where a draw is NaN, or a level is not between 0 and 1."""
    if not 0 < level < 1:
        raise AnalysisError(f"level: {level:g} is not between 0 and 1; write 0.95")
    if draws.ndim != 2 or np.isnan(draws).any():
        raise AnalysisError(f"draws: {np.isnan(draws).sum()} NaN in shape {draws.shape}; need finite (chains, draws)")
    finite = bool(np.all(np.isfinite(draws)))
    method = "linear" if finite else "closest_observation"  # between two draws not reached there is no number
    low, median, high = np.quantile(draws, [(1 - level) / 2, 0.5, (1 + level) / 2], method=method)
    mean, sd = (float(draws.mean()), float(draws.std(ddof=1))) if finite else (float(np.inf), float(np.nan))
    mcse, at_median = (_mcse(draws, "mean"), _mcse(draws, "median")) if finite else (float("nan"), float("nan"))
    share, share_mcse = probability(draws > 0)
    return Estimate(mean, sd, float(median), float(low), float(high), mcse, at_median, share, share_mcse, level)


def probability(holds: np.ndarray) -> tuple[float, float]:
    """Share of draws (chains, draws) in which something holds, and its Monte Carlo standard error; where it holds in
    all or none, one draw's share stands for the error."""
    share = float(np.mean(holds))
    if share in (0.0, 1.0):
        return share, 1 / holds.size
    return share, _mcse(holds.astype(float), "mean")


def _mcse(draws: np.ndarray, method: str) -> float:
    from arviz_stats.base import array_stats

    return float(np.asarray(array_stats.mcse(draws, method=method), float))


def restricted_mean(curves: Curves, to: float) -> np.ndarray:
    """Mean time without the event up to `to`, (chains, draws, arms), in the curves' unit: the integral of survival by
    Gauss-Legendre between the jumps of the hazard. Errors: AnalysisError beyond the follow-up."""
    _within(curves, to, "restricted mean")
    edges = np.unique([0.0, *(_TOWARDS_ZERO * to), *(b for b in curves.breaks if b < to), to])
    width = np.diff(edges)
    times = (edges[:-1, None] + width[:, None] * (_NODES + 1) / 2).ravel()
    return curves.at(times) @ (width[:, None] * _WEIGHTS / 2).ravel()


def milestone(curves: Curves, at: float) -> np.ndarray:
    """Survival at a time, (chains, draws, arms). Errors: AnalysisError beyond the follow-up."""
    _within(curves, at, "milestone survival")
    return curves.at(np.array([at]))[..., 0]


def median(curves: Curves, *, share: float = 0.5) -> np.ndarray:
    """The time at which survival comes to `share`, (chains, draws, arms); infinite where it does not within the
    follow-up. Survival is read at 256 steps of the follow-up and taken for exponential within one: exact for a
    piecewise exponential without covariates."""
    if not 0 < share < 1:
        raise AnalysisError(f"share: {share:g} is not between 0 and 1; write 0.5 for the median")
    grid = np.unique(np.concatenate([np.linspace(0, curves.horizon, 257), curves.breaks]))
    grid = grid[grid <= curves.horizon]
    s = curves.at(grid)
    after = np.minimum((s > share).sum(axis=-1), len(grid) - 1)
    reached = s[..., -1] <= share
    s0 = np.take_along_axis(s, after[..., None] - 1, -1)[..., 0]
    s1 = np.take_along_axis(s, after[..., None], -1)[..., 0]
    t0, t1 = grid[after - 1], grid[after]
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = t0 + (t1 - t0) * np.log(s0 / share) / np.log(s0 / s1)
    return np.where(reached, inside, np.inf)


def difference(draws: np.ndarray, curves: Curves, arm: str, against: str | None = None) -> np.ndarray:
    """An arm less another, the control if None, draw by draw: (chains, draws) of draws (chains, draws, arms)."""
    against = curves.arms[0] if against is None else against
    for name in (arm, against):
        if name not in curves.arms:
            raise AnalysisError(f"arm '{name}' is not in the fit; write one of {', '.join(curves.arms)}")
    return draws[..., curves.arms.index(arm)] - draws[..., curves.arms.index(against)]


def marginal(hazard: Callable[[np.ndarray], np.ndarray], linear: np.ndarray | None, times: np.ndarray) -> np.ndarray:
    """Survival averaged over subjects under proportional hazards: (chains, draws, arms, k) of `hazard`, the cumulative
    hazard at the covariates' mean, and `linear` (chains, draws, n), the log hazard ratio of each subject to it."""
    h = hazard(times)
    if linear is None:
        return np.exp(-h)
    ratio = np.exp(linear)
    out = np.empty_like(h)
    for a, k in np.ndindex(h.shape[-2:]):
        out[..., a, k] = np.exp(-h[..., a, k, None] * ratio).mean(axis=-1)
    return out


def _within(curves: Curves, to: Any, what: str) -> None:
    if not 0 < to <= curves.horizon * (1 + 1e-12):
        raise AnalysisError(f"{what}: {to:g} {curves.unit} is not within the follow-up; write a time above 0 and up to "
                            f"{curves.horizon:.4g} {curves.unit}, the longest that every arm was followed")  # fmt: skip
