"""Trial-level predictive checks: where observed results lie in what was predicted for trials of their size.

References
----------
[1] Dawid 1984, JRSS A 147:278: the probability integral transform of a right prediction is uniform.
[2] Säilynoja, Bürkner, Vehtari 2022, Statistics and Computing 32:32: simultaneous bands of the ECDF.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from cohort.agreement import AgreementError

LEVELS = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Check:
    """One observed result in its prediction. `place`: share of the prediction below it (mid-probability where results
    are discrete) [1]; `intervals`: level to (low, high, inside), equal-tailed; `mcse`: Monte Carlo error of `place`."""

    label: str
    trial: str
    observed: float
    mean: float
    sd: float
    place: float
    mcse: float
    intervals: dict[float, tuple[float, float, bool]]


def check(label: str, observed: float, predicted: np.ndarray, *, trial: str, levels: Sequence[float] = LEVELS) -> Check:
    """observed: the result of a real trial; predicted: (draws,) that of virtual trials of the same size, each with its
    own parameters, patients, errors and drop-outs. Errors: AgreementError."""
    predicted = np.asarray(predicted, float)
    wrong = []
    if predicted.ndim != 1 or len(predicted) < 20:
        wrong.append(f"{label}: {predicted.size} predicted results; give at least 20")
    if not np.isfinite(predicted).all():
        wrong.append(f"{label}: {int((~np.isfinite(predicted)).sum())} predicted results are not finite")
    if not np.isfinite(observed):
        wrong.append(f"{label}: the observed result is {observed}; leave the arm out and say so")
    if wrong:
        raise AgreementError("; ".join(wrong))
    below, equal = float(np.mean(predicted < observed)), float(np.mean(predicted == observed))
    place = below + equal / 2
    intervals = {}
    for level in levels:
        low, high = (float(q) for q in np.quantile(predicted, [(1 - level) / 2, (1 + level) / 2]))
        intervals[level] = (low, high, bool(low <= observed <= high))
    mcse = float(np.sqrt(max(place * (1 - place), 0.25 / len(predicted)) / len(predicted)))
    return Check(label, trial, float(observed), float(predicted.mean()), float(predicted.std()), place, mcse, intervals)


def coverage(checks: Sequence[Check], *, level: float = 0.95) -> list[dict[str, Any]]:
    """How many results fall inside each interval, with an interval of that share at `level`: see `covered`."""
    trials = len({c.trial for c in checks})
    return [
        covered(nominal, sum(c.intervals[nominal][2] for c in checks), len(checks), trials, level=level)
        for nominal in (checks[0].intervals if checks else ())
    ]


def covered(nominal: float, inside: int, of: int, trials: int, *, level: float = 0.95) -> dict[str, Any]:
    """The share of results inside the interval of level `nominal`, with its own interval at `level`.

    Results of one trial share its people and the model's errors, so they are worth fewer than they are many: beside the
    Clopper-Pearson interval that takes them as independent stands the one with as many results as there are trials.
    """
    apart = scipy.stats.binomtest(inside, of).proportion_ci(level)
    a, b = inside / of * trials, (1 - inside / of) * trials
    tail = (1 - level) / 2
    return {
        "level": nominal,
        "inside": inside,
        "of": of,
        "trials": trials,
        "low": float(apart.low),
        "high": float(apart.high),
        "low_by_trial": float(scipy.stats.beta.ppf(tail, a, b + 1)) if a > 0 else 0.0,
        "high_by_trial": float(scipy.stats.beta.ppf(1 - tail, a + 1, b)) if b > 0 else 1.0,
    }


def uniform(checks: Sequence[Check], *, level: float = 0.95) -> dict[str, Any]:
    """The ECDF of the places with its simultaneous band at `level` [2]; too few places keep within any band, so their
    number and the largest departure that could have stayed unseen are returned beside it.

    Returns x, ecdf, low, high: (points,); n; inside; `unseen`: half the widest part of the band.
    """
    from arviz_stats.ecdf_utils import ecdf_pit

    if len(checks) < 2:
        raise AgreementError(f"{len(checks)} results; an ECDF of places needs at least 2")
    places = np.array([c.place for c in checks])
    x, ecdf, low, high = ecdf_pit(places, level, 1000, rng=np.random.default_rng(1))
    return {
        "x": x,
        "ecdf": ecdf,
        "low": low,
        "high": high,
        "n": len(places),
        "inside": bool(np.all((low - 1e-12 <= ecdf) & (ecdf <= high + 1e-12))),
        "unseen": float(np.max(high - low) / 2),
    }
