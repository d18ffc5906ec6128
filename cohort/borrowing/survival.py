"""A log hazard ratio under a piecewise exponential model, with a historical two-arm trial borrowed from.

    d_aj ~ Poisson(lambda_j e_aj exp(beta a)),  a = 0 control, 1 treated;  lambda_j ~ half-normal,  beta ~ normal

Events and patient-time of each interval and arm are all that the likelihood needs. Power prior: beta and lambda_j are
the same in both trials, and the historical likelihood counts for a0 [1]. Commensurate: each trial has its own, and
beta ~ N(beta_0, 1 / tau) [2]. The lambda_j are integrated by quadrature, so beta's posterior is exact to quadrature.

References
----------
[1] Ibrahim and Chen 2000, Statist Sci 15:46: power priors, of survival too.
[2] Hobbs, Sargent, Carlin 2012, Bayesian Anal 7:639: commensurate priors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed
from cohort.borrowing.commensurate import Commensurability
from cohort.borrowing.density import Density
from cohort.borrowing.quadrature import unit
from cohort.inference.sampling import DEFAULT, Sampling

if TYPE_CHECKING:
    import xarray as xr

FEWEST = 2  # events of an arm: with one, a hazard has no spread but the prior's


@dataclass(frozen=True)
class Intervals:
    """Events and exposure of both arms in each interval of time: (2, intervals), control first.

    Errors: BorrowingError of an arm with fewer than two events, of negative counts, of an interval without exposure."""

    events: np.ndarray
    exposure: np.ndarray

    def __post_init__(self) -> None:
        events, exposure = np.asarray(self.events, float), np.asarray(self.exposure, float)
        wrong = checks.counts("events", events) + checks.positive("exposure", exposure)
        if not wrong and (events.shape != exposure.shape or events.ndim != 2 or len(events) != 2):
            wrong = [f"shape: events {events.shape}, exposure {exposure.shape}; write (2, intervals) of both"]
        if not wrong:
            wrong = [
                f"{arm}: {total:.0f} events; an arm needs {FEWEST} or more: follow it longer, or draw no conclusion"
                for arm, total in zip(("control", "treated"), events.sum(axis=1), strict=True)
                if total < FEWEST
            ]
        checks.refuse(wrong)
        object.__setattr__(self, "events", events)
        object.__setattr__(self, "exposure", exposure)


@dataclass(frozen=True)
class Priors:
    """beta ~ N(0, log_ratio_sd²); lambda_j ~ half-normal(hazard_scale), per unit of the exposure's time."""

    log_ratio_sd: float = 10.0
    hazard_scale: float = 10.0

    def __post_init__(self) -> None:
        checks.refuse(checks.positive("priors", [self.log_ratio_sd, self.hazard_scale]))


VAGUE = Priors()


def split(time: Any, event: Any, treated: Any, cuts: Any) -> Intervals:
    """Events and exposure from subjects: time (n,) > 0, event (n,) 0 or 1, treated (n,) 0 or 1, cuts between intervals.
    An event at a cut belongs to the interval that ends there. Errors: BorrowingError."""
    t, e, a, edges = (np.asarray(x, float) for x in (time, event, treated, cuts))
    wrong = checks.positive("time", t) + checks.counts("event", e) + checks.counts("treated", a)
    wrong += checks.positive("cuts", edges) if edges.size else []
    if not wrong and (max(e.max(), a.max()) > 1 or not len(t) == len(e) == len(a) or np.any(np.diff(edges) <= 0)):
        wrong = ["subjects: write 0 or 1 for event and treated, as many as times, and cuts that increase"]
    checks.refuse(wrong)
    start, end = np.r_[0.0, edges], np.r_[edges, np.inf]
    at_risk = np.clip(np.minimum(t[:, None], end) - start, 0, None)
    here = e[:, None] * ((t[:, None] > start) & (t[:, None] <= end))
    arms = [a == 0, a == 1]
    return Intervals(np.array([here[g].sum(axis=0) for g in arms]), np.array([at_risk[g].sum(axis=0) for g in arms]))


def _log_likelihood(beta: np.ndarray, events: np.ndarray, exposure: np.ndarray, scale: float) -> np.ndarray:
    """Of beta (points,), the hazards integrated; events may be fractions, where a likelihood counts for less."""
    u, w = unit(80)
    total = beta * events[1].sum()
    for d, (e0, e1) in zip(events.sum(axis=0), exposure.T, strict=True):
        rate = e0 + e1 * np.exp(beta)
        prior = np.exp(-0.5 * (special.gammaincinv(d + 1, u)[:, None] / rate / scale) ** 2)
        total = total - (d + 1) * np.log(rate) + np.log(w @ prior)  # lambda_j rate ~ Gamma(d + 1), at its quantiles
    return total


def _line(*data: Intervals) -> np.ndarray:
    """Evenly spaced points that hold beta's posterior under any of the trials alone."""
    ends = []
    for x in data:
        d, e = x.events.sum(axis=1), x.exposure.sum(axis=1)
        middle, se = np.log(d[1] / e[1]) - np.log(d[0] / e[0]), np.sqrt((1 / d).sum())
        ends += [middle - 12 * se, middle + 12 * se]
    return np.linspace(min(ends), max(ends), 2001)


def _same_intervals(current: Intervals, historical: Intervals) -> None:
    if current.events.shape != historical.events.shape:
        checks.refuse(
            [
                f"historical: {historical.events.shape[1]} intervals, the trial has {current.events.shape[1]};"
                " cut both at the same times"
            ]
        )


def log_hazard_ratio(
    current: Intervals, historical: Intervals | None = None, *, a0: float = 0.0, priors: Priors = VAGUE
) -> Borrowed:
    """beta, treated over control: without borrowing (a0 = 0), under a power prior, or pooled (a0 = 1)."""
    checks.refuse(checks.within("a0", a0, 0, 1))
    events, exposure = current.events, current.exposure
    if historical is not None:
        _same_intervals(current, historical)
        events, exposure = events + a0 * historical.events, exposure + a0 * historical.exposure
    line = _line(current, *([historical] if historical and a0 > 0 else []))
    log_density = _log_likelihood(line, events, exposure, priors.hazard_scale) - 0.5 * (line / priors.log_ratio_sd) ** 2
    return Borrowed(f"power prior, a0 = {a0:g}", Density.of(line, log_density), a0, "a0")


def commensurate(
    current: Intervals, historical: Intervals, tau: Commensurability, *, priors: Priors = VAGUE
) -> Borrowed:
    """beta under a commensurate prior about the historical one; baseline hazards are each trial's own."""
    line = _line(current, historical)
    theirs = Density.of(
        line,
        _log_likelihood(line, historical.events, historical.exposure, priors.hazard_scale)
        - 0.5 * (line / priors.log_ratio_sd) ** 2,
    )
    prior = smoothed(theirs.pdf_theta, line, tau)
    own = _log_likelihood(line, current.events, current.exposure, priors.hazard_scale)
    posterior = Density.of(line, own + np.log(np.maximum(prior, 1e-300)))
    return Borrowed(f"commensurate, {tau.kind}", posterior, prior=Density.of(line, np.log(np.maximum(prior, 1e-300))))


def smoothed(pdf: np.ndarray, line: np.ndarray, tau: Commensurability) -> np.ndarray:
    """A density at evenly spaced points, convolved with N(0, 1 / tau) averaged over the prior of tau."""
    step = line[1] - line[0]
    offset = step * np.arange(-(len(line) - 1), len(line))
    kernel = kernels(offset, step, *tau.nodes())
    return np.convolve(pdf, kernel)[len(line) - 1 : 2 * len(line) - 1]


def kernels(offset: np.ndarray, step: float, log_tau: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mass of N(0, 1 / tau), averaged over tau, in cells of width `step` about the offsets: cells, so that a kernel
    narrower than one keeps its mass."""
    total = np.zeros(len(offset))
    for t, w in zip(log_tau, weight, strict=True):
        root = np.exp(t / 2)
        total += w * (special.ndtr((offset + step / 2) * root) - special.ndtr((offset - step / 2) * root))
    return total


def model(priors: Priors, a0: float = 0.0) -> Callable[[Any, Any], None]:
    """The power-prior model in NumPyro: design {"exposure", "historical_events", "historical_exposure"}, each
    (2, intervals); sites log_hazard_ratio and hazard (intervals,); observed `events` (2, intervals)."""

    def made(design: Any, outcome: Any = None) -> None:
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        exposure = jnp.asarray(design["exposure"])
        beta = numpyro.sample("log_hazard_ratio", dist.Normal(0, priors.log_ratio_sd))
        hazard = numpyro.sample("hazard", dist.HalfNormal(priors.hazard_scale).expand([exposure.shape[1]]).to_event(1))
        rate = hazard * jnp.exp(beta * jnp.arange(2.0))[:, None]
        seen = None if outcome is None else jnp.asarray(outcome["events"])
        numpyro.sample("events", dist.Poisson(rate * exposure), obs=seen)
        if a0 > 0:
            past = jnp.asarray(design["historical_events"])
            expected = rate * jnp.asarray(design["historical_exposure"])
            numpyro.factor("historical", a0 * jnp.sum(past * jnp.log(expected) - expected))

    return made


def fit(
    current: Intervals,
    historical: Intervals | None = None,
    *,
    a0: float = 0.0,
    priors: Priors = VAGUE,
    seed: int,
    sampling: Sampling = DEFAULT,
) -> "xr.DataTree":
    """`log_hazard_ratio` by NUTS, with the hazards beside it. Errors: BorrowingError; NotConverged."""
    from cohort.inference.diagnosis import require
    from cohort.inference.sampling import numpyro_nuts

    checks.refuse(checks.within("a0", a0, 0, 1))
    past = historical or current
    _same_intervals(current, past)
    design = {
        "exposure": current.exposure,
        "historical_events": past.events,
        "historical_exposure": past.exposure,
    }
    sites = ["log_hazard_ratio", "hazard"]
    made = model(priors, a0 if historical else 0.0)
    tree = numpyro_nuts(made, design, {"events": current.events}, seed=seed, sampling=sampling, priors=sites)
    require(tree, sites, what="the piecewise exponential model")
    return tree
