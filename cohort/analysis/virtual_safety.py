"""Safety of virtual arms: a background rate and a slope on exposure become incidence, counts, margins and a table of
benefit and risk, draw by draw; and what can be said where no event was seen.

    hazard_i = background · exp(slope · (x_i - reference)),  a second, competing hazard of dropout,
    incidence_i = hazard_i / (hazard_i + dropout) · (1 - exp(-(hazard_i + dropout) · duration))

with x the exposure metric (AUC, Cavg) or its log, and both hazards constant in time. A patient who drops out can have
no event later, so the incidence is that of the cause [1], and is lower than 1 - exp(-hazard · duration).

Monte Carlo standard errors of draws (chains, draws) rest on their effective sample size, as MCMC needs. A plain
(draws,) is taken for independent draws: flattened chains state errors that are too small.

References
----------
[1] Putter, Fiocco and Geskus 2007, Statistics in Medicine 26:2389: competing risks, cause-specific hazards.
[2] Clopper and Pearson 1934, Biometrika 26:404, doi 10.1093/biomet/26.4.404: exact limits of a proportion.
[3] Garwood 1936, Biometrika 28:437, doi 10.1093/biomet/28.3-4.437: exact limits of a Poisson rate.
[4] Hanley and Lippman-Hand 1983, JAMA 249:1743: if nothing goes wrong, is everything all right? The rule of three.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from cohort.analysis.refusal import refuse
from cohort.analysis.restricted import probability

if TYPE_CHECKING:
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

Quantity = Literal["rate", "incidence"]
STEEPEST = 50.0  # log of a hazard ratio: none that was ever seen is near it


@dataclass(frozen=True)
class Background:
    """What is known of the event without the drug: a gamma mixture of the rate per unit of time, such as a MAP prior,
    or a normal mixture of the logit of the risk over `horizon`, without dropout. Errors: AnalysisError of a normal
    mixture without horizon, or a gamma mixture with one."""

    mixture: "GammaMixture | NormalMixture"
    horizon: float | None = None

    def __post_init__(self) -> None:
        family, wrong = getattr(self.mixture, "family", type(self.mixture).__name__), []
        if family not in ("gamma", "normal"):
            wrong.append(f"mixture: {family}; write a GammaMixture of the rate or a NormalMixture of the logit of risk")
        if family == "gamma" and self.horizon is not None:
            wrong.append(f"horizon: {self.horizon} of a rate, which has none; leave it out")
        if family == "normal" and not (self.horizon is not None and 0 < self.horizon < math.inf):
            wrong.append(f"horizon: {self.horizon}; write the time over which the risk is, above 0")
        refuse(wrong)

    def rates(self, n: int, seed: int) -> np.ndarray:
        """n draws of the rate per unit of time."""
        drawn = np.asarray(self.mixture.sample(n, seed))
        return drawn if self.horizon is None else np.logaddexp(0, drawn) / self.horizon  # -log(1 - expit(drawn))


@dataclass(frozen=True)
class Response:
    """How exposure moves the log hazard. slope: (chains, draws) of MCMC, or (draws,) that are independent, per unit of
    the metric, or of its log if scale is 'log'; reference: the exposure at which the hazard is the background's, 0
    where that is placebo's (linear only)."""

    slope: Any
    reference: float = 0.0
    scale: Literal["linear", "log"] = "linear"

    def __post_init__(self) -> None:
        wrong, slope = [], np.asarray(self.slope, float)
        if slope.ndim not in (1, 2) or not slope.size or not np.isfinite(slope).all():
            wrong.append(
                f"slope: shape {slope.shape}, or not finite; write finite numbers, (draws,) or (chains, draws)"
            )
        if self.scale not in ("linear", "log"):
            wrong.append(f"scale: '{self.scale}'; write linear or log")
        if not math.isfinite(self.reference) or self.reference < 0 or (self.scale == "log" and self.reference <= 0):
            wrong.append(f"reference: {self.reference}; write an exposure, 0 or more, and above 0 on the log scale")
        refuse(wrong)
        object.__setattr__(self, "slope", slope)


@dataclass(frozen=True)
class Safety:
    """One virtual arm, (draws,) or (chains, draws) each, as the slope: `incidence`, the share of patients with the
    event by `duration` before they drop out; `rate`, exposure-adjusted: events per patient-time at risk of a first one;
    `time`, at risk per patient."""

    incidence: np.ndarray
    rate: np.ndarray
    time: np.ndarray
    duration: float


def predict(
    background: Background,
    response: Response,
    exposures: Mapping[str, Any],
    *,
    duration: float,
    dropout: Mapping[str, Any] | np.ndarray | float = 0.0,
    seed: int,
) -> dict[str, Safety]:
    """The safety of each arm. exposures: per arm (patients,), or (draws, patients) where each draw has its own, chain
    after chain; dropout: the hazard in every arm, or per arm, one number or one a draw, 0 for none. A draw has one
    background and one slope in all arms, so differences of arms are those of one truth. Errors: AnalysisError, listing
    all that is wrong, also where slope times exposure is beyond what a hazard can be."""
    shape, n, wrong = response.slope.shape, response.slope.size, []
    leaving = dict(dropout) if isinstance(dropout, Mapping) else dict.fromkeys(exposures, dropout)
    if not 0 < duration < math.inf:
        wrong.append(f"duration: {duration}; write a positive, finite time")
    if not exposures:
        wrong.append("exposures: no arms; give each its patients' exposure")
    wrong += [f"dropout: '{arm}' is not among the arms {list(exposures)}" for arm in leaving if arm not in exposures]
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for arm, given in exposures.items():
        x = np.asarray(given, float)
        if x.ndim not in (1, 2) or 0 in x.shape or (x.ndim == 2 and len(x) != n):
            wrong.append(f"exposures.{arm}: shape {x.shape}; write (patients,) or ({n}, patients), with patients")
        elif not np.isfinite(x).all() or (x < 0).any() or (response.scale == "log" and (x == 0).any()):
            wrong.append(f"exposures.{arm}: negative, missing or infinite, or 0 on the log scale; use the linear one")
        if arm not in leaving:
            wrong.append(f"dropout: nothing for '{arm}'; write its hazard, 0 for none")
            continue
        d = np.asarray(leaving[arm], float)
        if d.shape not in ((), (n,), shape) or not np.isfinite(d).all() or (d < 0).any():
            wrong.append(f"dropout.{arm}: write a hazard of 0 or more, one number or one for each of {n} draws")
        found[arm] = np.atleast_2d(x), np.broadcast_to(d, n) if d.shape == () else d.ravel()
    refuse(wrong)
    rate = background.rates(n, seed)
    made = {arm: _arm(rate, response, x, d, duration) for arm, (x, d) in found.items()}
    if len(shape) == 1:
        return made
    return {
        arm: replace(s, **{k: getattr(s, k).reshape(shape) for k in ("incidence", "rate", "time")})
        for arm, s in made.items()
    }


def _arm(rate: np.ndarray, response: Response, x: np.ndarray, dropout: np.ndarray, duration: float) -> Safety:
    """x: (1 or draws, patients); dropout: (draws,)."""
    log = response.scale == "log"
    moved = np.log(x / response.reference) if log else x - response.reference
    incidence, time = np.empty((2, len(rate)))
    for i, slope in enumerate(response.slope.ravel()):  # a draw at a time: (draws, patients) may not fit in memory
        power = slope * moved[i if len(moved) > 1 else 0]
        if power.max() > STEEPEST:
            refuse([f"slope: {slope:g} per unit of exposure makes a hazard exp({power.max():.0f}) times; check units"])
        hazard = rate[i] * np.exp(power)
        total = hazard + dropout[i]
        at_risk = np.where(total > 0, -np.expm1(-total * duration) / np.where(total > 0, total, 1.0), duration)
        incidence[i], time[i] = np.mean(hazard * at_risk), np.mean(at_risk)  # [1]
    return Safety(incidence, incidence / time, time, duration)


@dataclass(frozen=True)
class Count:
    """Patients with the event among n. low, high: equal-tailed interval of the predictive distribution, at `level`;
    none: P(no event at all); mcse, none_mcse: of the mean and of `none`, from the effective sample size of (chains,
    draws), or for independent draws (draws,)."""

    n: int
    mean: float
    mcse: float
    low: int
    high: int
    level: float
    none: float
    none_mcse: float


def count(safety: Safety, n: int, *, level: float = 0.95) -> Count:
    """The count among n new patients of this arm: binomial at each draw's incidence, summed without simulation. Monte
    Carlo errors take (draws,) for independent, and (chains, draws) by their effective sample size. Errors:
    AnalysisError of n below 1, or a level outside 0-1."""
    refuse(
        _levels(level) + ([] if n >= 1 and n == int(n) else [f"n: {n}; write a whole number of patients, 1 or more"])
    )
    n, p = int(n), np.asarray(safety.incidence)

    def at(q: float) -> int:
        return bisect.bisect_left(range(n), q, key=lambda k: float(stats.binom.cdf(k, n, p).mean()))

    low, high, none = at((1 - level) / 2), at((1 + level) / 2), (1 - p) ** n
    return Count(n, float(n * p.mean()), _mcse(n * p), low, high, level, float(none.mean()), _mcse(none))


@dataclass(frozen=True)
class Bound:
    """One-sided upper bounds at `level` of a risk (of n patients) or a rate (per unit of exposure): `exact` [2, 3],
    `bayesian` under `prior`, and `rule_of_three`, -log(1 - level) over n or exposure, where no event was seen [4]."""

    events: int
    size: float
    level: float
    exact: float
    bayesian: float | None
    prior: str
    rule_of_three: float | None


def upper_bound(
    events: int,
    size: float,
    kind: Literal["patients", "exposure"] = "patients",
    *,
    prior: "BetaMixture | GammaMixture | None" = None,
    level: float = 0.95,
) -> Bound:
    """The largest risk or rate that the data leave possible. size: patients, or exposure at risk; prior: a beta mixture
    of the risk or a gamma mixture of the rate, no Bayesian bound without one. Errors: AnalysisError of impossible
    counts, a level outside 0-1, or a prior of another kind."""
    wrong, family = _levels(level), {"patients": "beta", "exposure": "gamma"}.get(kind)
    if family is None:
        wrong.append(f"kind: '{kind}'; write patients or exposure")
    if not (math.isfinite(events) and events >= 0 and events == int(events)):
        wrong.append(f"events: {events}; write a whole number, 0 or more")
    if not 0 < size < math.inf or (kind == "patients" and size != int(size)):
        wrong.append(f"size: {size}; write a whole number of patients or a positive, finite exposure")
    elif kind == "patients" and events > size:
        wrong.append(f"events: {events} of {size} patients; write 0 to {size}")
    if prior is not None and family is not None and prior.family != family:
        wrong.append(f"prior: a {prior.family} mixture; write a {family} mixture")
    refuse(wrong)
    if kind == "patients":
        exact = 1.0 if events == size else float(stats.beta.ppf(level, events + 1, size - events))  # [2]
    else:
        exact = float(stats.gamma.ppf(level, events + 1) / size)  # [3]
    bayesian = None if prior is None else float(prior.updated(events, size).quantile(level))
    return Bound(events, size, level, exact, bayesian, str(prior), _three(size, level) if events == 0 else None)


def _three(size: float, level: float) -> float:
    return -math.log1p(-level) / size  # [4]: 2.996 / n at 95 %


@dataclass(frozen=True)
class Margin:
    """Whether treated less control stays below a margin. verdict: 'within' if P(difference < margin) is above the
    threshold, 'not shown' if not, and 'more draws' where three MCSE reach the threshold, or there is none. Interval:
    equal-tailed. MCSEs are from the effective sample size of (chains, draws), or for independent draws (draws,)."""

    quantity: Quantity
    margin: float
    probability: float
    mcse: float
    difference: float
    difference_mcse: float
    low: float
    high: float
    level: float
    verdict: Literal["within", "not shown", "more draws"]


def within(
    treated: Safety,
    control: Safety,
    margin: float,
    *,
    quantity: Quantity = "rate",
    threshold: float = 0.95,
    level: float = 0.95,
) -> Margin:
    """P(treated - control < margin) of the exposure-adjusted rate or the incidence. Monte Carlo errors take (draws,)
    for independent, and (chains, draws) by their effective sample size. Errors: AnalysisError of a margin that is not
    positive, an unknown quantity, arms of other draws or durations, or levels outside 0-1."""
    wrong = _levels(level) + _levels(threshold, "threshold")
    if quantity not in ("rate", "incidence"):
        wrong.append(f"quantity: '{quantity}'; write rate or incidence")
    if not 0 < margin < math.inf:
        wrong.append(f"margin: {margin}; write the largest increase that is acceptable, above 0")
    if treated.rate.shape != control.rate.shape or treated.duration != control.duration:
        wrong.append("treated, control: other draws or durations; predict both arms in one call")
    refuse(wrong)
    d = getattr(treated, quantity) - getattr(control, quantity)
    p = float(np.mean(d < margin))
    mcse = _share(d < margin)
    unsure = math.isnan(mcse) or abs(p - threshold) <= 3 * mcse
    verdict = "more draws" if unsure else "within" if p > threshold else "not shown"
    low, high = np.quantile(d, ((1 - level) / 2, (1 + level) / 2))
    return Margin(quantity, margin, p, mcse, float(d.mean()), _mcse(d), float(low), float(high), level, verdict)


@dataclass(frozen=True)
class Criterion:
    """One line of a benefit-risk table. control, treated: the same posterior draws in every line, (chains, draws) of
    MCMC, or (draws,) that are independent; better: which way is good; margin: how much better than control it has to
    be, or below 0 how much worse it may be."""

    name: str
    control: np.ndarray
    treated: np.ndarray
    better: Literal["higher", "lower"]
    margin: float
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Benefit beside risk. rows: one per criterion, means, difference with its equal-tailed interval, and `met`, P(the
    margin is met), with MCSE; together: P(all are met), in the same draw; apart: what the product of the rows' would
    be; correlation: (criteria, criteria) of the differences, each signed so that higher is better. MCSEs are from the
    effective sample size of (chains, draws), or for independent draws (draws,)."""

    rows: tuple[dict[str, Any], ...]
    together: float
    mcse: float
    apart: float
    correlation: np.ndarray
    level: float


def benefit_risk(criteria: Sequence[Criterion], *, level: float = 0.95) -> Table:
    """Efficacy and safety side by side, jointly. Monte Carlo errors take (draws,) for independent, and (chains, draws)
    by their effective sample size. Errors: AnalysisError of fewer than two criteria, duplicate names, draws that are
    not finite or not of one length, or no spread in a difference."""
    wrong = _levels(level) + ([] if len(criteria) > 1 else ["criteria: fewer than two; give benefit and risk"])
    names = [c.name for c in criteria]
    wrong += [f"criteria: '{k}' stands twice; name each once" for k in sorted(set(names)) if names.count(k) > 1]
    shapes = {np.shape(v) for c in criteria for v in (c.control, c.treated)}
    if len(shapes) > 1 or any(len(s) not in (1, 2) or math.prod(s) < 2 for s in shapes):
        wrong.append(
            f"criteria: draws of shapes {sorted(shapes)}; give the same draws in each line, (draws,) or (chains, draws)"
        )
    for c in criteria:
        if not (np.isfinite(c.control).all() and np.isfinite(c.treated).all()):
            wrong.append(f"{c.name}: draws that are not finite")
        elif not wrong and np.ptp(np.subtract(c.treated, c.control)) == 0:
            wrong.append(f"{c.name}: the difference is the same in every draw; keep its uncertainty")
        if c.better not in ("higher", "lower"):
            wrong.append(f"{c.name}: better is '{c.better}'; write higher or lower")
        if not math.isfinite(c.margin):
            wrong.append(f"{c.name}: margin {c.margin}; write a finite number")
    refuse(wrong)
    rows, met, gains = [], [], []
    for c in criteria:
        d = np.subtract(c.treated, c.control)
        gains.append(d if c.better == "higher" else -d)
        met.append(gains[-1] > c.margin)
        low, high = np.quantile(d, ((1 - level) / 2, (1 + level) / 2))
        rows.append(
            {
                "criterion": c.name,
                "unit": c.unit,
                "better": c.better,
                "margin": c.margin,
                "control": float(np.mean(c.control)),
                "control_mcse": _mcse(c.control),
                "treated": float(np.mean(c.treated)),
                "treated_mcse": _mcse(c.treated),
                "difference": float(d.mean()),
                "difference_mcse": _mcse(d),
                "low": float(low),
                "high": float(high),
                "met": float(met[-1].mean()),
                "met_mcse": _share(met[-1]),
            }
        )
    every = np.all(met, axis=0)
    apart = math.prod(r["met"] for r in rows)
    return Table(tuple(rows), float(every.mean()), _share(every), apart, np.corrcoef([g.ravel() for g in gains]), level)


def _levels(level: float, name: str = "level") -> list[str]:
    return [] if 0 < level < 1 else [f"{name}: {level}; write a number between 0 and 1, such as 0.95"]


def _mcse(draws: np.ndarray) -> float:
    """MCSE of the mean: of independent draws (draws,), or of (chains, draws) from their effective sample size. NaN with
    too few draws to tell."""
    draws = np.asarray(draws, float)
    if draws.ndim == 2:
        from arviz_stats import mcse

        if draws.shape[1] < 4:
            return math.nan
        return float(mcse(draws)) if np.ptp(draws) > 1e-12 * np.abs(draws).max() else 0.0
    return float(np.std(draws, ddof=1) / math.sqrt(len(draws))) if len(draws) > 1 else math.nan


def _share(yes: np.ndarray) -> float:
    """MCSE of a share of independent draws (draws,), or of (chains, draws) from their effective sample size; where none
    or all are, that of one draw."""
    if yes.ndim == 2:
        return max(probability(yes)[1], 1 / yes.size) if yes.shape[1] >= 4 else math.nan
    p = float(np.mean(yes))
    return math.sqrt(max(p * (1 - p), 1 / len(yes)) / len(yes))
