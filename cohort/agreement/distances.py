"""Distances between the outcomes of virtual and of real patients, against those between two real samples.

References
----------
[1] Székely, Rizzo 2013, J Stat Plan Inference 143:1249: energy statistics.
[2] Inman, Bradley 1989, Commun Stat Theory Methods 18:3851: the overlapping coefficient.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy

from cohort.agreement import AgreementError


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """In the unit of the outcome: how far patients would have to move on average."""
    return float(scipy.stats.wasserstein_distance(a, b))


def energy(a: np.ndarray, b: np.ndarray) -> float:
    """2 E|A - B| - E|A - A'| - E|B - B'| [1], in the unit of the outcome; 0 only if the distributions are one."""
    return float(scipy.stats.energy_distance(a, b) ** 2)


def kolmogorov(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of the two distribution functions."""
    return float(scipy.stats.ks_2samp(a, b).statistic)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Area under the lower of the two densities [2], each a Gaussian kernel estimate with Scott's bandwidth."""
    both = np.concatenate([a, b])
    if np.ptp(both) == 0:
        return 1.0
    reach = 3 * both.std()
    grid = np.linspace(both.min() - reach, both.max() + reach, 512)
    densities = [_density(values, grid) for values in (a, b)]
    return float(np.trapezoid(np.minimum(*densities), grid))


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """On an even grid: values are shared between the two nearest points, then smoothed by a convolution."""
    step = grid[1] - grid[0]
    at = (values - grid[0]) / step
    left = np.floor(at).astype(int)
    mass = np.bincount(left, 1 - (at - left), len(grid)) + np.bincount(left + 1, at - left, len(grid))[: len(grid)]
    bandwidth = max(values.std(ddof=1) * len(values) ** -0.2, step)  # a resample may hold one value only
    return scipy.ndimage.gaussian_filter1d(mass / len(values) / step, bandwidth / step, mode="constant", truncate=6)


MEASURES = {"wasserstein": wasserstein, "energy": energy, "kolmogorov": kolmogorov, "overlap": overlap}


def compare(
    real: np.ndarray,
    virtual: np.ndarray,
    *,
    seed: int,
    replicates: int = 500,
    level: float = 0.95,
    measures: Sequence[str] = tuple(MEASURES),
) -> list[dict[str, Any]]:
    """Each distance between real (n,) and virtual (N,) outcomes, with a bootstrap interval and a real-versus-real null.

    All are of samples of size n, for a distance shrinks with the sample: of the virtual patients n are drawn anew in
    each replicate. The null is the distance between two samples of n drawn from the real patients; `beyond`: share of
    the null that is at least as far as the mean distance, with its Monte Carlo error. A share that is not small says
    that n real patients could not tell the difference, not that there is none. Errors: AgreementError.
    """
    real, virtual = np.asarray(real, float), np.asarray(virtual, float)
    wrong = [
        f"{name}: {problem}" for name, values in (("real", real), ("virtual", virtual)) for problem in _problems(values)
    ]
    if unknown := [m for m in measures if m not in MEASURES]:
        wrong.append(f"unknown measure {', '.join(unknown)}; write of {', '.join(MEASURES)}")
    if wrong:
        raise AgreementError("; ".join(wrong))
    rng, n = np.random.default_rng(seed), len(real)
    rows = []
    for measure in measures:
        distance = MEASURES[measure]
        seen = np.array([distance(rng.choice(real, n), rng.choice(virtual, n)) for _ in range(replicates)])
        null = np.array([distance(rng.choice(real, n), rng.choice(real, n)) for _ in range(replicates)])
        mean = float(np.mean([distance(real, rng.choice(virtual, n)) for _ in range(100)]))
        beyond = float(np.mean(null <= mean if measure == "overlap" else null >= mean))
        tail = (1 - level) / 2
        rows.append(
            {
                "measure": measure,
                "n": n,
                "distance": mean,
                "low": float(np.quantile(seen, tail)),
                "high": float(np.quantile(seen, 1 - tail)),
                "level": level,
                "null": float(np.median(null)),
                "null_limit": float(np.quantile(null, 0.05 if measure == "overlap" else 0.95)),
                "beyond": beyond,
                "mcse": float(np.sqrt(max(beyond * (1 - beyond), 1 / replicates) / replicates)),
            }
        )
    return rows


def by_group(
    real: Mapping[str, np.ndarray], virtual: Mapping[str, np.ndarray], *, seed: int, **options: Any
) -> list[dict[str, Any]]:
    """`compare` in each subgroup, or at each visit. Groups that one side lacks, and groups that are too small, are rows
    without a number and with the reason. Errors: AgreementError where none is on both sides."""
    if not set(real) & set(virtual):
        raise AgreementError(f"no group is on both sides: real {', '.join(real)}; virtual {', '.join(virtual)}")
    rows: list[dict[str, Any]] = []
    for i, group in enumerate(dict.fromkeys([*real, *virtual])):
        if group not in real or group not in virtual:
            rows.append({"group": group, "refused": f"no {'real' if group not in real else 'virtual'} patients"})
            continue
        try:
            found = compare(real[group], virtual[group], seed=seed + i, **options)
        except AgreementError as e:
            rows.append({"group": group, "refused": str(e)})
        else:
            rows += [{"group": group, **row} for row in found]
    return rows


def _problems(values: np.ndarray) -> list[str]:
    if values.ndim != 1 or len(values) < 10:
        return [f"{values.size} patients; a distribution needs at least 10"]
    if not np.isfinite(values).all():
        return [
            f"{int((~np.isfinite(values)).sum())} outcomes are missing or not finite; say how they are handled first"
        ]
    if np.ptp(values) == 0:
        return [f"every outcome is {values[0]:g}; there is no distribution to compare"]
    return []
