"""How much worse than imputed the missing values would have to be for a conclusion to fall: delta adjustment.

A delta, in the outcome's unit, is added to imputed values at the visit analysed [1]; the conclusion is that the
posterior probability of benefit reaches a threshold.

References
----------
[1] Carpenter & Kenward 2013, Multiple Imputation and its Application, ch. 10, doi 10.1002/9781119942283.
[2] Cro et al. 2020, Stat Med 39:2815, doi 10.1002/sim.8569: controlled multiple imputation in practice.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.imputation import Completed, Effect, Method, analyse, least_squares, regressors
from cohort.analysis.refusal import refuse

Benefit = Literal["lower", "higher"]
Which = Literal["after event", "all imputed"]


@dataclass(frozen=True)
class Conclusion:
    """What is concluded of an arm: P(effect on the side of benefit, beyond margin) >= threshold. margin: in the
    outcome's unit, with the sign of the effect. Errors: AnalysisError of a side or threshold that is none."""

    arm: str
    benefit: Benefit
    threshold: float = 0.975
    margin: float = 0.0

    def __post_init__(self) -> None:
        wrong = []
        if self.benefit not in get_args(Benefit):
            wrong.append(f"benefit: '{self.benefit}'; write 'lower' or 'higher', whichever is better for the patient")
        if not 0.5 < self.threshold < 1:
            wrong.append(f"threshold: {self.threshold}; write a probability above 0.5 and below 1")
        if not np.isfinite(self.margin):
            wrong.append(f"margin: {self.margin}; write a finite difference in the outcome's unit")
        elif self.benefit in get_args(Benefit) and self.margin * (-1 if self.benefit == "lower" else 1) < 0:
            wrong.append(f"margin: {self.margin} lies on the side of harm; write one on the side of benefit, or 0")
        refuse(wrong)

    def probability(self, effect: Effect) -> tuple[float, float]:
        """Of benefit, and its Monte Carlo standard error."""
        above, error = effect.above(self.margin)
        return (1 - above if self.benefit == "lower" else above), error


@dataclass(frozen=True)
class Curve:
    """Deltas (k,) of the conclusion's arm, 0 among them; for each the probability of benefit, its Monte Carlo
    standard error, the mean effect and its equal-tailed interval at `level`. tipping: the delta at which the conclusion
    falls, with its Monte Carlo standard error; None where it does not, and `reason` says why."""

    delta: np.ndarray
    probability: np.ndarray
    mcse: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    tipping: float | None
    tipping_mcse: float | None
    reason: str


@dataclass(frozen=True)
class Surface:
    """Probability of benefit and its Monte Carlo standard error, (deltas, control deltas), 0 among the deltas of the
    arm; tipping: (control deltas,), the delta of the arm nearest to 0 at which the conclusion falls. Whatever the side
    of benefit, -inf means that it never holds on the grid, and inf that it always does."""

    delta: np.ndarray
    control_delta: np.ndarray
    probability: np.ndarray
    mcse: np.ndarray
    tipping: np.ndarray


@dataclass(frozen=True)
class _Shifted:
    """The effect for any delta of the arm and of the control, by linearity of least squares."""

    y: np.ndarray
    x: np.ndarray
    column: int
    moved: dict[str, np.ndarray]

    def effect(self, delta: float, control: float = 0.0) -> Effect:
        y = self.y + delta * self.moved["arm"] + control * self.moved["control"]
        return Effect(*least_squares(y, self.x, self.column), len(self.x) - self.x.shape[1])


def _shifted(completed: Completed, arm: str, visit: str | None, method: Method, which: Which) -> _Shifted:
    data = completed.data
    analyse(completed, arm, visit=visit, method=method)  # for its errors
    if which not in get_args(Which):
        raise AnalysisError(f"which: '{which}'; write one of {list(get_args(Which))}")
    at = data.visit(visit)
    free = (completed.after if which == "after event" else completed.imputed)[:, at]
    names = {"arm": arm, "control": data.subjects.arms[0]}
    moved = {k: (free & (data.subjects.arm == name)).astype(float) for k, name in names.items()}
    return _Shifted(completed.y[..., at], regressors(data, at, method), 1 + data.subjects.at(arm), moved)


def _grid(name: str, deltas: Sequence[float] | np.ndarray, *, none: bool = False) -> np.ndarray:
    """The deltas, with 0 put among them if `none`: else a conclusion that falls between 0 and the first is missed."""
    found = np.asarray(deltas, float)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all() or not np.all(np.diff(found) > 0):
        raise AnalysisError(f"{name}: write two or more finite numbers in rising order, in the outcome's unit")
    if none:
        found = np.where(np.abs(found) < 1e-9 * np.ptp(found), 0.0, found)  # a zero of linspace may be 1e-17
        found = np.union1d(found, [0.0])
    return found


def _root(shifted: _Shifted, conclusion: Conclusion, deltas: np.ndarray, found: np.ndarray, control: float) -> float:
    """The delta nearest to none at which the probability crosses the threshold, within the grid; -inf if the
    conclusion holds nowhere on it, inf if everywhere."""
    from scipy.optimize import brentq

    above = found >= conclusion.threshold
    crossed = np.flatnonzero(above[1:] != above[:-1])
    if not len(crossed):
        return float("inf" if above.all() else "-inf")
    k = crossed[np.argmin(np.abs(deltas[crossed] + deltas[crossed + 1]))]

    def over(delta: float) -> float:
        return conclusion.probability(shifted.effect(delta, control))[0] - conclusion.threshold

    return float(brentq(over, deltas[k], deltas[k + 1]))  # type: ignore[arg-type]


def curve(
    completed: Completed,
    conclusion: Conclusion,
    deltas: Sequence[float] | np.ndarray,
    *,
    visit: str | None = None,
    method: Method = "ancova",
    which: Which = "after event",
    level: float = 0.95,
) -> Curve:
    """The conclusion along deltas of its arm, the control's imputed values as they are.

    deltas: rising; 0 is added where it is not among them. which: whether a delta moves only what was imputed after an
    event, or every imputed value. The tipping point is found within the grid's step that brackets it; its Monte Carlo
    error is the probability's there over the slope. Errors: AnalysisError of a grid, level or side that is none, and as
    `analyse`."""
    shifted = _shifted(completed, conclusion.arm, visit, method, which)
    deltas = _grid("deltas", deltas, none=True)
    effects = [shifted.effect(d) for d in deltas]
    probability, mcse = np.array([conclusion.probability(e) for e in effects]).T
    low, high = np.array([e.interval(level) for e in effects]).T
    make = functools.partial(Curve, deltas, probability, mcse, np.array([e.mean for e in effects]), low, high, level)
    moved = int(shifted.moved["arm"].sum())
    if not moved:
        return make(None, None, f"arm '{conclusion.arm}' has no such value: there is nothing to move")
    start = conclusion.probability(shifted.effect(0.0))[0]
    if start < conclusion.threshold:
        return make(None, None, f"there is no conclusion to fall: P = {start:.4f} without delta")
    root = _root(shifted, conclusion, deltas, probability, 0.0)
    if np.isinf(root):
        return make(None, None, f"the conclusion holds from {deltas[0]:g} to {deltas[-1]:g}; widen the deltas")
    step = 1e-4 * (deltas[-1] - deltas[0])
    slope = np.diff([conclusion.probability(shifted.effect(root + s))[0] for s in (-step, step)])[0] / (2 * step)
    error = conclusion.probability(shifted.effect(root))[1] / abs(slope)
    return make(root, float(error), f"the conclusion falls at {root:.4g}, added to {moved} imputed values")


def surface(
    completed: Completed,
    conclusion: Conclusion,
    deltas: Sequence[float] | np.ndarray,
    control_deltas: Sequence[float] | np.ndarray,
    *,
    visit: str | None = None,
    method: Method = "ancova",
    which: Which = "after event",
) -> Surface:
    """The conclusion over deltas of its arm and of the control. Arguments and errors as `curve`."""
    shifted = _shifted(completed, conclusion.arm, visit, method, which)
    deltas, others = _grid("deltas", deltas, none=True), _grid("control_deltas", control_deltas)
    found = np.array([[conclusion.probability(shifted.effect(d, c)) for c in others] for d in deltas])
    tipping = [_root(shifted, conclusion, deltas, found[:, j, 0], c) for j, c in enumerate(others)]
    return Surface(deltas, others, found[..., 0], found[..., 1], np.array(tipping))
