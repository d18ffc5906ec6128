"""Mixtures of beta, normal and gamma distributions as priors, and their exact update by data.

A mixture of conjugate components stays one: each component is updated by itself, and its weight is multiplied by the
marginal likelihood that it gave the data [1, ch. 5]. Weights are carried as logarithms.

References
----------
[1] Bernardo & Smith 1994, Bayesian Theory. Wiley.
[2] Gelman et al. 2013, Bayesian Data Analysis, 3rd ed.: beta-binomial, normal and gamma-Poisson models, ch. 2.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from scipy import special
from scipy.special import betaln, expit, gammaln, log_expit, logit, xlog1py, xlogy

from cohort.mixture.scalar import ScalarMixture, frozen, log_of
from cohort.mixture.validation import components, data, each, require, weights

LOG_2PI = math.log(2 * math.pi)
FARTHEST = 700.0  # a logit or logarithm: its exponential is still a float
FEW_DIGITS = 1e-3  # a probability below it is not taken as 1 less another
MANY = 50.0  # a, b or shape from which Stirling's series is exact to rounding, and free of the difference of log gammas


def _positive(x: np.ndarray) -> np.ndarray:
    return x > 0


def _not_negative(x: np.ndarray) -> np.ndarray:
    return x >= 0


def _stirling(x: np.ndarray) -> np.ndarray:
    """log gamma(x) less (x - 1/2) log x - x + log(2 pi) / 2, for x of MANY or more."""
    y = 1 / np.maximum(x, MANY) ** 2
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y / 1680))) / np.maximum(x, MANY)


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _stirling(a + b) - _stirling(a) - _stirling(b)


def _beta_below(x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """P(X <= x) of beta distributions, where y = 1 - x: from the smaller of the two, which has more digits."""
    x, y, a, b = np.broadcast_arrays(x, y, a, b)
    small = x < 0.5
    near = special.betainc(np.where(small, a, b), np.where(small, b, a), np.where(small, x, y))
    found = np.where(small, near, 1 - near)
    lost = ~small & (found < FEW_DIGITS)  # SciPy's complement takes some fifty times longer
    if np.any(lost):
        found[lost] = special.betaincc(b[lost], a[lost], y[lost])
    return found


def _exp(t: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(t, FARTHEST))


def _lowest(t: np.ndarray, shape: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """P(log X <= t) of gammas below what x can be as a float, where it is a power of x."""
    return np.exp(shape * np.minimum(np.minimum(t, -FARTHEST) + np.log(rate), 0) - gammaln(shape + 1))


@final
@dataclass(frozen=True, init=False, eq=False)
class BetaMixture(ScalarMixture):
    """A probability: weight, a and b of the components, each (components,); data are events of n subjects.

    Errors: MixtureError of weights outside 0-1 or not of sum 1, and of a or b that is not positive."""

    weight: np.ndarray
    a: np.ndarray
    b: np.ndarray
    family: ClassVar[str] = "beta"
    names: ClassVar[tuple[str, str]] = ("a", "b")

    def __init__(self, weight: Any, a: Any, b: Any) -> None:
        reasons: list[str] = []
        made_a, made_b = components(reasons, a=a, b=b)
        made = weights(weight, made_a.size, reasons)
        each("a", made_a, _positive, "is not positive; an improper prior has no mixture", reasons)
        each("b", made_b, _positive, "is not positive; an improper prior has no mixture", reasons)
        require("BetaMixture", reasons)
        frozen(self, weight=made, log_weight=log_of(made), a=made_a, b=made_b)

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        return self.a, self.b

    @property
    def component_mean(self) -> np.ndarray:
        return self.a / (self.a + self.b)

    @property
    def component_sd(self) -> np.ndarray:
        n = self.a + self.b
        return np.sqrt(self.a * self.b / (n**2 * (n + 1)))

    @staticmethod
    def log_density(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        a, b = parameters
        inside = (x >= 0) & (x <= 1)
        at = np.where(inside, x, 0.5)
        return np.where(inside, xlogy(a - 1, at) + xlog1py(b - 1, -at) - betaln(a, b), -np.inf)

    @staticmethod
    def below(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return _beta_below(np.clip(x, 0, 1), np.clip(1 - x, 0, 1), *parameters)

    @staticmethod
    def over(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return _beta_below(np.clip(1 - x, 0, 1), np.clip(x, 0, 1), *parameters[::-1])

    @staticmethod
    def inverse(q: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return special.betaincinv(*parameters, q)

    @staticmethod
    def natural(x: np.ndarray) -> np.ndarray:
        return np.clip(logit(x), -FARTHEST, FARTHEST)

    @staticmethod
    def from_natural(t: np.ndarray) -> np.ndarray:
        return expit(t)

    @staticmethod
    def natural_log_density(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        a, b = parameters
        u, n = t - np.log(a / b), a + b
        with np.errstate(over="ignore"):
            many = a * u - n * np.log1p(a / n * np.expm1(u)) + np.log(a * b / n) / 2 - LOG_2PI / 2 + _between(a, b)
        return np.where(np.minimum(a, b) > MANY, many, a * log_expit(t) + b * log_expit(-t) - betaln(a, b))

    @staticmethod
    def natural_below(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        a, b = parameters
        near = _beta_below(expit(t), expit(-t), a, b)
        # beyond the floats that x or 1 - x can be, the tails are powers
        lower = np.exp(a * np.minimum(t, -FARTHEST) - np.log(a) - betaln(a, b))
        upper = np.exp(b * np.minimum(-t, -FARTHEST) - np.log(b) - betaln(a, b))
        return np.where(t < -FARTHEST, lower, np.where(t > FARTHEST, 1 - upper, near))

    @staticmethod
    def natural_over(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return BetaMixture.natural_below(-t, *parameters[::-1])

    @staticmethod
    def natural_scale(*parameters: np.ndarray) -> float:
        return 1.0

    @staticmethod
    def draw(rng: np.random.Generator, *parameters: np.ndarray) -> np.ndarray:
        return rng.beta(*parameters)

    @staticmethod
    def _data(events: Any, n: Any) -> tuple[np.ndarray, np.ndarray]:
        """Events and n with an axis for components. Fractions are allowed: a power prior discounts counts."""
        reasons: list[str] = []
        y, size = data(reasons, events=events, n=n)
        each("events", y, _not_negative, "is negative; write a count", reasons)
        each("n", size, _not_negative, "is negative; write a count", reasons)
        if not reasons and np.any(y > size):
            y_, n_ = (v.flat[np.argmax(y > size)] for v in np.broadcast_arrays(y, size))
            reasons.append(f"events: {y_:g} is more than n = {n_:g}; write at most n")
        require("data for a BetaMixture", reasons)
        return y[..., None], size[..., None]

    def component_log_marginal(self, events: Any, n: Any) -> np.ndarray:  # type: ignore[override]
        """Beta-binomial log probability of the events [2]."""
        y, size = self._data(events, n)
        choose = -np.log1p(size) - betaln(y + 1, size - y + 1)
        return choose + betaln(self.a + y, self.b + size - y) - betaln(self.a, self.b)

    def component_updated(self, events: Any, n: Any) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        y, size = self._data(events, n)
        return self.a + y, self.b + size - y


@final
@dataclass(frozen=True, init=False, eq=False)
class NormalMixture(ScalarMixture):
    """A quantity without bounds: weight, mean and SD of the components, each (components,); data are an estimate y and
    its standard error. The arrays given as mean and sd are kept as means and sds: `mean` and `sd` are the mixture's.

    Errors: MixtureError of weights outside 0-1 or not of sum 1, and of an SD that is not positive."""

    weight: np.ndarray
    means: np.ndarray
    sds: np.ndarray
    family: ClassVar[str] = "normal"
    names: ClassVar[tuple[str, str]] = ("mean", "sd")

    def __init__(self, weight: Any, mean: Any, sd: Any) -> None:
        reasons: list[str] = []
        means, sds = components(reasons, mean=mean, sd=sd)
        made = weights(weight, means.size, reasons)
        each("sd", sds, _positive, "is not positive; write a standard deviation", reasons)
        require("NormalMixture", reasons)
        frozen(self, weight=made, log_weight=log_of(made), means=means, sds=sds)

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        return self.means, self.sds

    @property
    def component_mean(self) -> np.ndarray:
        return self.means

    @property
    def component_sd(self) -> np.ndarray:
        return self.sds

    @staticmethod
    def log_density(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        mean, sd = parameters
        return -(((x - mean) / sd) ** 2) / 2 - np.log(sd) - LOG_2PI / 2

    @staticmethod
    def below(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return special.ndtr((x - parameters[0]) / parameters[1])

    @staticmethod
    def over(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return special.ndtr((parameters[0] - x) / parameters[1])

    @staticmethod
    def inverse(q: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return parameters[0] + parameters[1] * special.ndtri(q)

    @staticmethod
    def natural(x: np.ndarray) -> np.ndarray:
        return x

    @staticmethod
    def from_natural(t: np.ndarray) -> np.ndarray:
        return t

    @staticmethod
    def natural_log_density(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return NormalMixture.log_density(t, *parameters)

    @staticmethod
    def natural_below(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return NormalMixture.below(t, *parameters)

    @staticmethod
    def natural_over(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return NormalMixture.over(t, *parameters)

    @staticmethod
    def natural_scale(*parameters: np.ndarray) -> np.ndarray:
        return parameters[1].min(axis=-1)

    @staticmethod
    def draw(rng: np.random.Generator, *parameters: np.ndarray) -> np.ndarray:
        return rng.normal(*parameters)

    @staticmethod
    def _data(y: Any, se: Any) -> tuple[np.ndarray, np.ndarray]:
        reasons: list[str] = []
        at, error = data(reasons, y=y, se=se)
        each("se", error, _positive, "is not positive; write a standard error", reasons)
        require("data for a NormalMixture", reasons)
        return at[..., None], error[..., None]

    def component_log_marginal(self, y: Any, se: Any) -> np.ndarray:  # type: ignore[override]
        """Log density of y ~ Normal(mean, sd^2 + se^2) [2]."""
        at, error = self._data(y, se)
        return self.log_density(at, self.means, np.hypot(self.sds, error))

    def component_updated(self, y: Any, se: Any) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        at, error = self._data(y, se)
        total = np.hypot(self.sds, error)
        kept = (error / total) ** 2  # the share of the prior mean in the posterior mean
        return kept * self.means + (1 - kept) * at, self.sds * (error / total)


@final
@dataclass(frozen=True, init=False, eq=False)
class GammaMixture(ScalarMixture):
    """A rate: weight, shape and rate of the components, each (components,); data are events in an exposure.

    Errors: MixtureError of weights outside 0-1 or not of sum 1, and of a shape or rate that is not positive."""

    weight: np.ndarray
    shape: np.ndarray
    rate: np.ndarray
    family: ClassVar[str] = "gamma"
    names: ClassVar[tuple[str, str]] = ("shape", "rate")

    def __init__(self, weight: Any, shape: Any, rate: Any) -> None:
        reasons: list[str] = []
        shapes, rates = components(reasons, shape=shape, rate=rate)
        made = weights(weight, shapes.size, reasons)
        each("shape", shapes, _positive, "is not positive; an improper prior has no mixture", reasons)
        each("rate", rates, _positive, "is not positive; an improper prior has no mixture", reasons)
        require("GammaMixture", reasons)
        frozen(self, weight=made, log_weight=log_of(made), shape=shapes, rate=rates)

    @property
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        return self.shape, self.rate

    @property
    def component_mean(self) -> np.ndarray:
        return self.shape / self.rate

    @property
    def component_sd(self) -> np.ndarray:
        return np.sqrt(self.shape) / self.rate

    @staticmethod
    def log_density(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        shape, rate = parameters
        inside = (x >= 0) & (x < np.inf)
        at = np.where(inside, x, 1.0)
        return np.where(inside, xlogy(shape - 1, at) - rate * at + shape * np.log(rate) - gammaln(shape), -np.inf)

    @staticmethod
    def below(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return special.gammainc(parameters[0], np.maximum(x, 0) * parameters[1])

    @staticmethod
    def over(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return special.gammaincc(parameters[0], np.maximum(x, 0) * parameters[1])

    @staticmethod
    def inverse(q: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return special.gammaincinv(parameters[0], q) / parameters[1]

    @staticmethod
    def natural(x: np.ndarray) -> np.ndarray:
        return np.log(np.clip(x, np.exp(-FARTHEST), np.exp(FARTHEST)))

    @staticmethod
    def from_natural(t: np.ndarray) -> np.ndarray:
        return np.exp(t)

    @staticmethod
    def natural_log_density(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        shape, rate = parameters
        u = t - np.log(shape / rate)
        with np.errstate(over="ignore"):
            many = shape * (u - np.expm1(u)) + np.log(shape) / 2 - LOG_2PI / 2 - _stirling(shape)
            few = shape * (t + np.log(rate)) - rate * np.exp(t) - gammaln(shape)
        return np.where(shape > MANY, many, few)

    @staticmethod
    def natural_below(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return np.where(t < -FARTHEST, _lowest(t, *parameters), GammaMixture.below(_exp(t), *parameters))

    @staticmethod
    def natural_over(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        return np.where(t < -FARTHEST, 1 - _lowest(t, *parameters), GammaMixture.over(_exp(t), *parameters))

    @staticmethod
    def natural_scale(*parameters: np.ndarray) -> float:
        return 1.0

    @staticmethod
    def draw(rng: np.random.Generator, *parameters: np.ndarray) -> np.ndarray:
        return rng.gamma(parameters[0], 1 / parameters[1])

    @staticmethod
    def _data(events: Any, exposure: Any) -> tuple[np.ndarray, np.ndarray]:
        """Events and exposure with an axis for components. Fractions are allowed: a power prior discounts counts."""
        reasons: list[str] = []
        y, time = data(reasons, events=events, exposure=exposure)
        each("events", y, _not_negative, "is negative; write a count", reasons)
        each("exposure", time, _positive, "is not positive; write the time at risk", reasons)
        require("data for a GammaMixture", reasons)
        return y[..., None], time[..., None]

    def component_log_marginal(self, events: Any, exposure: Any) -> np.ndarray:  # type: ignore[override]
        """Log probability of the events of Poisson(rate exposure): negative binomial [2]."""
        y, time = self._data(events, exposure)
        prior, past = xlogy(self.shape, self.rate / (self.rate + time)), xlogy(y, time / (self.rate + time))
        return gammaln(self.shape + y) - gammaln(self.shape) - gammaln(y + 1) + prior + past

    def component_updated(self, events: Any, exposure: Any) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        y, time = self._data(events, exposure)
        shape, rate = np.broadcast_arrays(self.shape + y, self.rate + time)
        return shape, rate
