"""Exact posterior probabilities at every outcome of a binary or Poisson trial of one or two arms.

What is decided at a pair of outcomes depends on the design alone, not on the truth, so one table serves every scenario.
P(treatment - control > c) is the integral of f(x) F(x - c): of the posterior density f of the treatment, a row for each
of its outcomes, and the posterior distribution function F of the control, all at the same nodes. The table over all
pairs of outcomes is then one product of two matrices.

Distribution functions of neighbouring outcomes differ by one term,
I_x(a + 1, b - 1) = I_x(a, b) - x^a (1 - x)^(b-1) Γ(a+b) / (Γ(a+1) Γ(b)) [1, 8.17.20 and 8.17.21], and likewise for the
gamma distribution [1, 8.8.5]; so of each component only one is computed, and the others by a running sum.

Nodes: the trapezoidal rule on the logit (or log) of the place within the support, spaced by a sinh that spares the
tails; it converges faster than any power of the step [2].

References
----------
[1] NIST Digital Library of Mathematical Functions, dlmf.nist.gov.
[2] Trefethen & Weideman 2014, The exponentially convergent trapezoidal rule. SIAM Rev 56:385,
    doi 10.1137/130932132.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.special import betaincc, betaincinv, expit, gammaincc, gammaincinv, gammaln, logit, xlogy

from cohort.decision.criteria import Criterion
from cohort.decision.design import Arm, Design
from cohort.mixture import BetaMixture, GammaMixture, posterior_weights

LOG_NOTHING = 36.0  # exp(-36) is below rounding
SPARE = 4.0  # the logit from which nodes are spread out
CURVE = 512  # points of an interpolated distribution function


@dataclass(frozen=True)
class Posteriors:
    """One arm: the posterior mixture after each of its outcomes 0 ... m. The last axis is that of components."""

    outcomes: np.ndarray  # (outcomes,)
    n: float  # subjects or exposure
    prior: BetaMixture | GammaMixture

    @cached_property
    def weight(self) -> np.ndarray:
        return posterior_weights(self.prior, self.outcomes, self.n)

    @cached_property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        first, second = self.prior.component_updated(self.outcomes, self.n)
        return np.asarray(first, float), np.asarray(second, float)

    @property
    def largest(self) -> float:
        """The most that a posterior is worth: a + b of a beta, the shape of a gamma."""
        a, b = self.parameters
        return float((a + b).max()) if self.prior.family == "beta" else float(a.max())

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and variance, each (outcomes,)."""
        a, b = self.parameters
        if self.prior.family == "beta":
            mean, var = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
        else:
            mean, var = a / b, a / b**2
        centre = np.sum(self.weight * mean, axis=1)
        return centre, np.sum(self.weight * (var + (mean - centre[:, None]) ** 2), axis=1)

    def worth(self) -> np.ndarray:
        """Subjects (or exposure) that the posterior is worth, by its moments, less those seen: (outcomes,)."""
        mean, var = self.moments
        return (mean * (1 - mean) / var - 1 if self.prior.family == "beta" else mean / var) - self.n

    def density(self, x: np.ndarray, complement: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        """Posterior density times dx/dnode at nodes (q,), (outcomes, q). complement: 1 - x, without cancellation."""
        a, b = self.parameters
        log_x, log_jacobian = np.log(x), np.log(jacobian)
        if self.prior.family == "beta":
            other, norm = np.log(complement), gammaln(a + b) - gammaln(a) - gammaln(b)
            second, shift = other, -1.0
        else:
            second, norm, shift = -x, a * np.log(b) - gammaln(a), 0.0
        found = np.zeros((len(self.outcomes), len(x)))
        for k in range(self.weight.shape[1]):
            log_f = np.outer(a[:, k] - 1, log_x) + np.outer(b[:, k] + shift, second) + log_jacobian
            found += self.weight[:, k, None] * np.exp(log_f + norm[:, k, None])
        return found

    def above(self, x: np.ndarray, exact: bool = True) -> np.ndarray:
        """P(parameter > x) at each x (q,), (outcomes, q): one function value a component, and a running sum. The one
        is interpolated where not exact, to 1e-8."""
        beta = self.prior.family == "beta"
        x = np.clip(x, 0.0, 1.0) if beta else np.maximum(x, 0.0)
        a, b = self.parameters
        found = np.zeros((len(self.outcomes), len(x)))
        with np.errstate(divide="ignore"):
            log_x, other = np.log(x), np.log1p(-x) if beta else x
        for k in range(self.weight.shape[1]):
            p = a[:-1, k]  # from each outcome to the next
            if beta:
                q = b[1:, k]
                norm = gammaln(p + q + 1) - gammaln(p + 1) - gammaln(q + 1)
                steps = np.outer(p, log_x) + np.outer(q, other)
            else:
                norm = p * np.log(b[0, k]) - gammaln(p + 1)
                steps = np.outer(p, log_x) - b[0, k] * other
            tail = np.empty_like(found)
            tail[0] = self._first(k, x) if exact else self._interpolated(k, log_x, other)
            tail[1:] = np.exp(steps + norm[:, None])
            found += self.weight[:, k, None] * np.minimum(np.cumsum(tail, axis=0), 1.0)
        return np.clip(found, 0.0, 1.0)

    def _first(self, k: int, x: np.ndarray) -> np.ndarray:
        """P(parameter > x) of a component after the first outcome."""
        a, b = (float(p[0, k]) for p in self.parameters)
        return betaincc(a, b, x) if self.prior.family == "beta" else gammaincc(a, b * x)

    @cached_property
    def _curves(self) -> list[CubicHermiteSpline]:
        """`_first` of each component on the scale of the logit or log, from its values and slopes."""
        curves = []
        beta = self.prior.family == "beta"
        for k, (a, b) in enumerate(zip(*(p[0] for p in self.parameters), strict=True)):
            ends = np.array([1e-12, 1 - 1e-12])
            x = np.maximum(betaincinv(a, b, ends) if beta else gammaincinv(a, ends) / b, 1e-250)
            low, high = logit(np.minimum(x, 1 - 1e-16)) if beta else np.log(x)
            u = np.linspace(low, high, CURVE)
            x = expit(u) if beta else np.exp(u)
            if beta:
                log_slope = xlogy(a, x) + xlogy(b, expit(-u)) + gammaln(a + b) - gammaln(a) - gammaln(b)
            else:
                log_slope = a * np.log(b * x) - b * x - gammaln(a)
            curves.append(CubicHermiteSpline(u, self._first(k, x), -np.exp(log_slope)))
        return curves

    def _interpolated(self, k: int, log_x: np.ndarray, other: np.ndarray) -> np.ndarray:
        curve = self._curves[k]
        with np.errstate(invalid="ignore"):
            u = log_x - other if self.prior.family == "beta" else log_x
        return np.clip(curve(np.clip(u, curve.x[0], curve.x[-1])), 0.0, 1.0)

    def likelihood(self, truth: np.ndarray) -> np.ndarray:
        """Probability of each outcome at true parameters (s,), (s, outcomes)."""
        y, truth = self.outcomes, np.atleast_1d(truth)[:, None]
        if self.prior.family == "beta":
            choose = gammaln(self.n + 1) - gammaln(y + 1) - gammaln(self.n - y + 1)
            return np.exp(choose + xlogy(y, truth) + xlogy(self.n - y, 1 - truth))
        mean = truth * self.n
        return np.exp(xlogy(y, mean) - mean - gammaln(y + 1))


def posteriors(arm: Arm, largest_rate: float = 0.0) -> Posteriors:
    """Of every outcome of an arm; of a Poisson one, of those with any weight at rates up to the largest."""
    if isinstance(arm.prior, BetaMixture):
        return Posteriors(np.arange(int(arm.n) + 1.0), arm.n, arm.prior)
    assert isinstance(arm.prior, GammaMixture)
    mean = largest_rate * arm.n
    most = math.ceil(mean + 9 * math.sqrt(mean) + 40)  # Poisson mass beyond is below 1e-15
    return Posteriors(np.arange(most + 1.0), arm.n, arm.prior)


def _nodes(
    t: Posteriors, c: Posteriors, low: float, high: float, exact: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x within (low, high), 1 - x, and weights of the integral over x. The step is three quarters of the SD to which
    two posteriors together narrow the integrand, for errors of 1e-15; half as much again for 1e-7 where not exact."""
    beta = t.prior.family == "beta"
    step = (1.5 if beta else 0.75) / math.sqrt(t.largest + c.largest) * (1.0 if exact else 1.5)
    least = min(1.0, *(float(p.min()) for p in (t.parameters if beta else t.parameters[:1])))
    reach = math.asinh(min(LOG_NOTHING / least * (1.0 if exact else 0.6), 690.0) / SPARE)
    if beta:
        v = np.linspace(-reach, reach, 2 * math.ceil(reach / (step / SPARE)) + 1)
        u, width = SPARE * np.sinh(v), (v[1] - v[0]) * SPARE * np.cosh(v)
        place, rest = expit(u), expit(-u)
        span = high - low
        return low + span * place, (1 - high) + span * rest, width * span * place * rest
    scale = math.log(float((t.parameters[0] / t.parameters[1]).max()))
    over = math.asinh((math.log1p(60 / math.sqrt(t.largest)) + 4) / SPARE)  # far beyond exp(-36)
    v = np.linspace(-reach - 1, over, math.ceil((reach + 1 + over) / (step / SPARE)) + 1)
    x = np.exp(scale + SPARE * np.sinh(v))
    return low + x, 1 - x, (v[1] - v[0]) * SPARE * np.cosh(v) * x


def beyond(t: Posteriors, c: Posteriors, threshold: float, *, ratio: bool = False, exact: bool = True) -> np.ndarray:
    """P(treatment - control > threshold), or of the ratio, at every pair of outcomes: (outcomes, outcomes). To 1e-12,
    or 1e-6 where not exact."""
    top = 1.0 if t.prior.family == "beta" else math.inf
    if not ratio and abs(threshold) >= top:
        return np.full((len(t.outcomes), len(c.outcomes)), float(threshold < 0))
    # Where F is 0 or 1 nothing is integrated, so that its kink is an end of the interval.
    low = 0.0 if ratio else max(threshold, 0.0)
    high = min(top, threshold * top) if ratio else min(top, top + threshold)
    x, rest, width = _nodes(t, c, low, high, exact)
    f = t.density(x, rest, np.maximum(width, 1e-300))
    at = x / threshold if ratio else x - threshold
    found = f @ (1 - c.above(at, exact)).T
    if high < top:
        found = found + t.above(np.array([high]), exact)
    return np.clip(found, 0.0, 1.0)


def probability(c: Criterion, t: Posteriors, control: Posteriors | None) -> np.ndarray:
    """The posterior probability of a criterion at every outcome, (outcomes of treatment, of control or 1)."""
    if c.operation == "":
        arm = t if c.first == "treatment" else control
        assert arm is not None
        tail = arm.above(np.array([c.threshold]))
        tail = tail if c.above else 1 - tail
        return tail if arm is t else tail.T
    assert control is not None
    turned = c.first == "control"
    if c.operation == "/":
        above = beyond(t, control, 1 / c.threshold if turned else c.threshold, ratio=True)
    else:
        above = beyond(t, control, -c.threshold if turned else c.threshold)
    return above if c.above != turned else 1 - above


def probabilities(design: Design, t: Posteriors, control: Posteriors | None) -> list[np.ndarray]:
    """Of each criterion in turn, at every outcome."""
    return [probability(c, t, control) for c in design.decision.criteria]


def met(design: Design, found: list[np.ndarray]) -> np.ndarray:
    """Whether every criterion is met, at every outcome: (outcomes, outcomes or 1)."""
    passed = [c.met(p) for c, p in zip(design.decision.criteria, found, strict=True)]
    return np.logical_and.reduce(np.broadcast_arrays(*passed))
