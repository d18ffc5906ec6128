"""Borrowing against conflict: how it gives way as the trial departs from the history, and where a decision flips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed
from cohort.borrowing.trials import Binomial, Normal, Poisson, Trials


def _observed(trial: Trials) -> float:
    """The trial's estimate on the natural scale."""
    if isinstance(trial, Normal):
        return float(trial.y[0])
    return float(trial.events[0] / (trial.n[0] if isinstance(trial, Binomial) else trial.exposure[0]))


def binomial_outcomes(n: int) -> list[Trials]:
    """Every outcome of an arm of n subjects."""
    return [Binomial(events, n) for events in range(n + 1)]


def normal_outcomes(y: Sequence[float] | np.ndarray, se: float) -> list[Trials]:
    """Trials with these means and one standard error."""
    return [Normal(value, se) for value in np.asarray(y, float)]


def poisson_outcomes(events: Sequence[int] | np.ndarray, exposure: float) -> list[Trials]:
    """Trials with these counts over one exposure."""
    return [Poisson(count, exposure) for count in events]


def curve(borrow: Callable[[Trials], Borrowed], outcomes: Sequence[Trials], *, centre: float) -> pl.DataFrame:
    """A row per outcome: observed, conflict (observed - centre), the borrowing weight in the method's own measure, and
    the posterior's mean, SD and departure from the observed value. centre: what the history says."""
    checks.refuse(checks.numbers("centre", centre) + ([] if outcomes else ["outcomes: none; write at least one"]))
    rows = []
    for trial in outcomes:
        found, at = borrow(trial), _observed(trial)
        rows.append(
            {
                "observed": at,
                "conflict": at - centre,
                "weight": found.weight,
                "weight_is": found.weight_is,
                "mean": found.mean,
                "sd": found.sd,
                "pulled": found.mean - at,
            }
        )
    return pl.DataFrame(rows)


@dataclass(frozen=True)
class Flip:
    """Where a probability crosses its threshold: between `low` and `high` (one number, where it varies smoothly).
    `up`: it is above the threshold on the higher side."""

    low: float
    high: float
    up: bool


def flips_between(value: Sequence[float], probability: Sequence[float], threshold: float) -> list[Flip]:
    """The pairs of neighbouring outcomes between which the decision differs; none: the decision stands throughout."""
    wrong = checks.within("probability", probability, 0, 1) + checks.within("threshold", threshold, 0, 1)
    wrong += checks.numbers("value", value)
    if not wrong and len(value) != len(probability):
        wrong = [f"value: {len(value)} for {len(probability)} probabilities; write one each"]
    checks.refuse(wrong)
    go = np.asarray(probability) > threshold
    return [
        Flip(float(value[i]), float(value[i + 1]), bool(go[i + 1])) for i in range(len(go) - 1) if go[i] != go[i + 1]
    ]


def flips(
    probability: Callable[[float], float], low: float, high: float, threshold: float, *, looks: int = 41
) -> list[Flip]:
    """Every tipping point of a smooth argument (prior weight, discrepancy scale, observed mean) that a scan of `looks`
    points sees, each then found by bisection to a millionth of the range."""
    checks.refuse(
        checks.numbers("range", [low, high]) + ([] if low < high else [f"range: {low:g} to {high:g}; write low < high"])
    )
    at = np.linspace(low, high, looks)
    found = []
    for pair in flips_between(list(at), [probability(float(x)) for x in at], threshold):
        a, b = pair.low, pair.high
        while b - a > 1e-6 * (high - low):
            middle = (a + b) / 2
            a, b = (a, middle) if (probability(middle) > threshold) == pair.up else (middle, b)
        found.append(Flip((a + b) / 2, (a + b) / 2, pair.up))
    return found
