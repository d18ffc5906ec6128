"""Times to an event by arm, checked: the data of every survival model, with Kaplan-Meier and Nelson-Aalen beside them.

References
----------
[1] Kaplan and Meier 1958, JASA 53:457: the product-limit estimator.
[2] Kalbfleisch and Prentice 2002, The Statistical Analysis of Failure Time Data, 2nd ed., section 1.4: Greenwood's
    variance, and the interval that is symmetric for log(-log S).
[3] Aalen 1978, Annals of Statistics 6:701: the estimator of the cumulative hazard, and its variance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import norm

from cohort.analysis import AnalysisError

Unit = Literal["d", "wk", "mo", "y"]
HALF_DAY = {"d": 0.5, "wk": 0.5 / 7, "mo": 0.5 / 30.4375, "y": 0.5 / 365.25}  # in each unit of time


@dataclass(frozen=True)
class Survival:
    """Subjects followed to an event or to censoring; made by `survival`, which checks it.

    time: (n,) of follow-up, positive. event: (n,) bool. arm: (n,) place in `arms`, whose first is the control. x:
    (n, p) of the columns `covariates`. cause: (n,) place in `causes`, -1 where censored; None with one kind of event.
    upper: (n,) the event is known to lie in (time, upper], NaN where it is exact or censored; None if all are.
    """

    time: np.ndarray
    event: np.ndarray
    arm: np.ndarray
    arms: tuple[str, ...]
    unit: Unit
    x: np.ndarray
    covariates: tuple[str, ...] = ()
    cause: np.ndarray | None = None
    causes: tuple[str, ...] = ()
    upper: np.ndarray | None = None

    def of(self, arm: str) -> "Survival":
        """The subjects of one arm. Errors: AnalysisError of an arm that is not there."""
        keep = self.arm == self.place(arm)
        cut = {k: None if (v := getattr(self, k)) is None else v[keep] for k in ("cause", "upper")}
        one = replace(self, time=self.time[keep], event=self.event[keep], x=self.x[keep], arms=(arm,), **cut)
        return replace(one, arm=np.zeros(int(keep.sum()), int))

    def place(self, arm: str) -> int:
        if arm not in self.arms:
            raise AnalysisError(f"arm '{arm}' is not in the data; write one of {', '.join(self.arms)}")
        return self.arms.index(arm)

    def counts(self) -> np.ndarray:
        """Events by arm, (arms,)."""
        return np.bincount(self.arm[self.event], minlength=len(self.arms))


def survival(
    time: Any,
    event: Any,
    arm: Sequence[str] | np.ndarray,
    *,
    control: str,
    unit: Unit,
    arms: Sequence[str] | None = None,
    covariates: Mapping[str, Any] | None = None,
    cause: Sequence[str] | np.ndarray | None = None,
    upper: Any = None,
    zero: Literal["refuse", "half day"] = "refuse",
) -> Survival:
    """Checked data of n subjects.

    time: (n,) in `unit`, above 0: a time of 0 is refused, or set to half a day where `zero` says so. event: (n,) 1, or
    0 where censored. arm: (n,) names. arms: those of the protocol, every one of which must have subjects. covariates:
    numbers (n,), or text, of which each level but the first in the alphabet becomes an indicator. cause: (n,) text, ""
    where censored. upper: (n,) end of an interval in which the event lies and whose start is `time` (0 allowed there);
    NaN for the others. Errors: AnalysisError, which lists all that is wrong.
    """
    wrong: list[str] = []
    t = _numbers("time", time, wrong)
    n = len(t)
    e = _numbers("event", event, wrong)
    wrong += unlabelled("arm", arm, "write the arm of every subject")
    names = np.asarray(arm).astype(str)
    wrong += [f"{k}: {len(v)} values for {n} times" for k, v in (("event", e), ("arm", names)) if len(v) != n]
    if n == 0:
        wrong.append("time: there are no subjects")
    if wrong:
        raise AnalysisError("; ".join(wrong))
    ends = None if upper is None else np.asarray(upper, float)
    if ends is not None and ends.shape != t.shape:
        raise AnalysisError(f"upper: {ends.size} values for {n} times")
    within = np.zeros(n, bool) if ends is None else ~np.isnan(ends)

    _rows("event", ~np.isin(e, (0, 1)), e, "write 1 for an event and 0 for a censored time", wrong)
    _rows("time", t < 0, t, "a time of follow-up is not negative", wrong)
    nothing = (t == 0) & ~within
    if zero == "half day":
        t = np.where(nothing, HALF_DAY[unit], t)
    else:
        _rows("time", nothing, t, "give the time after entry, or zero='half day' to count half a day", wrong)
    if ends is not None:
        _rows("upper", within & ~(ends > t), ends, "an interval ends after it starts", wrong)
        _rows("upper", within & (e == 0), ends, "an interval holds an event: write 1 in event", wrong)
        _rows("upper", np.isinf(ends), ends, "write event 0 for an event after `time` with no end", wrong)
    levels = _arms(names, control, arms, wrong)
    x, columns = _covariates(covariates or {}, n, wrong)
    causes, which = _causes(cause, e, wrong)
    if wrong:
        raise AnalysisError("; ".join(wrong))
    place = np.array([levels.index(name) for name in names])
    design = np.column_stack([np.ones(n), *(place == k for k in range(1, len(levels))), _standard(x)])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise AnalysisError("covariates: one follows from the others and the arm; leave it out")
    return Survival(t, e == 1, place, levels, unit, x, columns, which, causes, ends if within.any() else None)


def _numbers(name: str, given: Any, wrong: list[str]) -> np.ndarray:
    try:
        found = np.asarray(given).astype(float)
    except (TypeError, ValueError):
        wrong.append(f"{name}: not all are numbers")
        return np.zeros(len(given))
    if found.ndim != 1:
        wrong.append(f"{name}: has {found.ndim} dimensions; write one value a subject")
        return found.ravel()
    _rows(name, ~np.isfinite(found), found, "leave the subject out, or find the value", wrong)
    return found


def _rows(name: str, bad: np.ndarray, found: np.ndarray, instead: str, wrong: list[str]) -> None:
    """One line for all subjects that share a mistake."""
    if bad.any():
        first = ", ".join(f"{found[i]:g} in row {i + 1}" for i in np.flatnonzero(bad)[:3])
        wrong.append(f"{name}: {int(bad.sum())} not usable ({first}); {instead}")


def missing(labels: Any) -> np.ndarray:
    """Which labels (n,) are None, NaN, NA or blank, as bool (n,). The text 'nan' counts as NaN, since that is what
    NumPy makes of one in an array of text."""
    return np.array([v is None or str(v).strip().casefold() in ("", "nan", "nat", "<na>") for v in labels], bool)


def unlabelled(name: str, labels: Any, instead: str, *, empty: bool = False) -> list[str]:
    """What is wrong with labels (n,) of which some are missing: as text these would silently be a group of their own.
    empty: '' is allowed, and means none. Give the labels as they came, before NumPy makes text of them."""
    bad = missing(labels)
    if empty:
        bad &= np.array([not (isinstance(v, str) and v == "") for v in labels], bool)
    if not bad.any():
        return []
    return [f"{name}: {int(bad.sum())} missing (None, NaN or blank), the first in row {bad.argmax() + 1}; {instead}"]


def _arms(names: np.ndarray, control: str, wanted: Sequence[str] | None, wrong: list[str]) -> tuple[str, ...]:
    seen = sorted(set(names.tolist()))
    levels = tuple(seen if wanted is None else wanted)
    wrong += [f"arm: '{a}' is not among {', '.join(levels)}" for a in seen if a not in levels]
    wrong += [f"arm: '{a}' has no subjects" for a in levels if a not in seen]
    if len(set(levels)) < len(levels):
        wrong.append(f"arms: {', '.join(levels)} names one twice")
    if control not in levels:
        wrong.append(f"control: '{control}' is not an arm; write one of {', '.join(levels)}")
    return (control, *(a for a in levels if a != control))


def _covariates(given: Mapping[str, Any], n: int, wrong: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    columns: dict[str, np.ndarray] = {}
    for name, column in given.items():
        array = np.asarray(column)
        if array.shape != (n,):
            wrong.append(f"covariates.{name}: {array.size} values for {n} times")
        elif array.dtype.kind in "UOS" and not all(isinstance(v, int | float) for v in array):
            if empty := (np.flatnonzero(missing(column)) + 1).tolist():
                wrong.append(f"covariates.{name}: missing in rows {empty[:3]}; leave them out or write a level")
                continue
            levels = sorted({str(v) for v in array})
            columns |= {f"{name}[{level}]": (array.astype(str) == level).astype(float) for level in levels[1:]}
            if len(levels) == 1:
                wrong.append(f"covariates.{name}: every subject is '{levels[0]}'; leave it out")
        else:
            columns[name] = _numbers(f"covariates.{name}", array, wrong)
    for name, column in columns.items():
        if np.all(np.isfinite(column)) and np.ptp(column) == 0:
            wrong.append(f"covariates.{name}: every subject has {column[0]:g}; leave it out")
    return np.column_stack(list(columns.values())) if columns else np.zeros((n, 0)), tuple(columns)


def _causes(
    cause: Sequence[str] | np.ndarray | None, event: np.ndarray, wrong: list[str]
) -> tuple[tuple[str, ...], np.ndarray | None]:
    if cause is None:
        return (), None
    none = missing(cause)
    text = np.array(["" if no else str(c) for c, no in zip(cause, none, strict=True)])
    if len(text) != len(event):
        wrong.append(f"cause: {len(text)} values for {len(event)} times")
        return (), None
    odd = none == (event == 1)
    if odd.any():
        rows = (np.flatnonzero(odd)[:3] + 1).tolist()
        wrong.append(f"cause: {int(odd.sum())} do not go with the event, first in rows {rows}; write a cause for each "
                     "event and '' where censored")  # fmt: skip
    causes = tuple(sorted(set(text.tolist()) - {""}))
    return causes, np.array([causes.index(c) if c else -1 for c in text])


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0) if x.size else x


def centred(data: Survival) -> np.ndarray:
    """Covariates with mean 0 and SD 1, (n, p): a hazard is that of the mean, and a prior does not know units."""
    return _standard(data.x)


def improper(priors: Any, what: str) -> list[str]:
    """What makes the priors of a survival model improper. priors: a dataclass with fields `..._sd`, and a `centre` that
    may be None; what: the centre is one of."""
    wrong = [
        f"{k}: {v:g} gives no proper prior; write a number above 0"
        for k, v in asdict(priors).items()
        if k.endswith("_sd") and not (math.isfinite(v) and v > 0)
    ]
    if priors.centre is not None and not math.isfinite(priors.centre):
        wrong.append(f"centre: {priors.centre:g} is no {what}; write a finite number or None")
    return wrong


def require_exact(data: Survival, what: str) -> None:
    """Errors: AnalysisError where events are known by an interval only."""
    if data.upper is not None:
        raise AnalysisError(f"{what} needs the time of each event, and {int(np.sum(~np.isnan(data.upper)))} are "
                            "known by an interval: use a parametric model")  # fmt: skip


def require_events(counts: np.ndarray, arms: Sequence[str], what: str) -> None:
    """Errors: AnalysisError where no conclusion can be drawn from so few events. counts: (arms,)."""
    if counts.sum() == 0:
        raise AnalysisError(f"{what}: every time is censored, no conclusion is drawn; report follow-up and an upper "
                            "bound of the rate")  # fmt: skip
    if none := [arm for arm, k in zip(arms, counts, strict=True) if k == 0]:
        raise AnalysisError(f"{what}: no event in {', '.join(map(repr, none))}, no conclusion on a hazard ratio "
                            "is drawn: the data bound it on one side only; report an upper bound of the rate"
                            )  # fmt: skip
    if counts.sum() < 2:
        raise AnalysisError(f"{what}: one event, no conclusion is drawn; report it with the follow-up")


@dataclass(frozen=True)
class Curve:
    """A step function of time with a pointwise interval: `value` from each `time` on, `start` before the first.

    time, value, se, low, high: (k,) at the distinct event times. at_risk: (k,) just before. last: the longest
    follow-up, beyond which nothing is known. level: of the interval, whose kind is `kind`.
    """

    time: np.ndarray
    value: np.ndarray
    se: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    start: float
    last: float
    level: float
    kind: str

    def at(self, times: Any) -> np.ndarray:
        """Values at `times`; NaN beyond the longest follow-up, unless a survival has come to 0."""
        t = np.asarray(times, float)
        found = np.concatenate([[self.start], self.value])[np.searchsorted(self.time, t, side="right")]
        done = self.start == 1 and len(self.value) and self.value[-1] == 0
        return found if done else np.where(t > self.last, np.nan, found)

    def first_below(self, share: float) -> float:
        """The first time at which a survival is at or below `share`; infinite where it never is."""
        below = np.flatnonzero(self.value <= share + 1e-12)
        return float(self.time[below[0]]) if len(below) else float("inf")


def table(data: Survival) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct event times (k,), events at each and subjects at risk just before, arms together."""
    times, d = np.unique(data.time[data.event], return_counts=True)
    return times, d, len(data.time) - np.searchsorted(np.sort(data.time), times, side="left")


def kaplan_meier(data: Survival, arm: str, *, level: float = 0.95) -> Curve:
    """Survival of one arm [1], with Greenwood's variance and a log-log interval [2]. Interval: NaN where S is 0."""
    require_exact(data, "Kaplan-Meier")
    one = data.of(arm)
    t, d, r = table(one)
    s = np.cumprod(1 - d / r)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.sqrt(np.cumsum(d / (r * (r - d))))  # of log S
        half = norm.ppf(0.5 + level / 2) * relative / np.abs(np.log(s))
        low, high = s ** np.exp(half), s ** np.exp(-half)
        se = s * relative
    none = s == 0
    low, high, se = (np.where(none, np.nan, v) for v in (low, high, se))
    return Curve(t, s, se, low, high, r, d, 1.0, float(one.time.max()), level, "pointwise, log-log")


def nelson_aalen(data: Survival, arm: str, *, level: float = 0.95) -> Curve:
    """Cumulative hazard of one arm with the Poisson variance and an interval on the log scale [3]."""
    require_exact(data, "Nelson-Aalen")
    one = data.of(arm)
    t, d, r = table(one)
    h, se = np.cumsum(d / r), np.sqrt(np.cumsum(d / r**2))
    factor = np.exp(norm.ppf(0.5 + level / 2) * se / h)
    return Curve(t, h, se, h / factor, h * factor, r, d, 0.0, float(one.time.max()), level, "pointwise, log")


def number_at_risk(data: Survival, times: Any) -> np.ndarray:
    """Subjects still followed just before each time, (arms, times)."""
    t = np.atleast_1d(np.asarray(times, float))
    return np.array([[int(np.sum(data.time[data.arm == a] >= at)) for at in t] for a in range(len(data.arms))])
