"""A distribution of one quantity known at points of a line: exact to quadrature, where no mixture need be fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from cohort.borrowing import checks
from cohort.borrowing.trials import Link, Trials, linked, natural, slope


@dataclass(frozen=True)
class Density:
    """`pdf` (points,) at `theta` (points,), increasing, on the scale of the link; a cubic spline between. Summaries are
    of the natural scale (a mean, a rate, a probability)."""

    theta: np.ndarray
    pdf_theta: np.ndarray
    link: Link = "identity"

    @classmethod
    def of(cls, theta: np.ndarray, log_density: np.ndarray, link: Link = "identity") -> "Density":
        """From a log density (points,) known but for a constant. Errors: BorrowingError if it cannot be normalised."""
        return cls.with_constant(theta, log_density, link)[0]

    @classmethod
    def with_constant(cls, theta: np.ndarray, log_density: np.ndarray, link: Link) -> tuple["Density", float]:
        """The density, and the logarithm of what it was divided by."""
        top = np.max(log_density)
        if not np.isfinite(top):
            checks.refuse([f"density: its logarithm is at most {top}; the data and the prior exclude each other"])
        height = np.exp(log_density - top)
        total = float(CubicSpline(theta, height).integrate(theta[0], theta[-1]))
        return cls(theta, height / total, link), float(top + np.log(total))

    @cached_property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self.theta, self.pdf_theta)

    @cached_property
    def _cumulative(self) -> tuple[Any, np.ndarray]:
        anti = self._spline.antiderivative()
        at = np.maximum.accumulate(anti(self.theta))
        return anti, at

    def expectation(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """Of a function of the natural quantity."""
        integrand = function(natural(self.theta, self.link)) * self.pdf_theta
        return float(CubicSpline(self.theta, integrand).integrate(self.theta[0], self.theta[-1]))

    @cached_property
    def mean(self) -> float:
        return self.expectation(lambda x: x)

    @cached_property
    def sd(self) -> float:
        centre = self.mean
        return float(np.sqrt(self.expectation(lambda x: (x - centre) ** 2)))

    def on_link(self) -> "Density":
        """The same distribution, of theta itself."""
        return Density(self.theta, self.pdf_theta)

    def logpdf(self, x: Any) -> np.ndarray:
        """Of the natural quantity; -inf outside the points."""
        theta = linked(np.asarray(x, float), self.link)
        inside = (theta >= self.theta[0]) & (theta <= self.theta[-1])
        height = np.where(inside, self._spline(np.clip(theta, self.theta[0], self.theta[-1])), 0.0)
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(height, 0)) - np.log(slope(theta, self.link))

    def pdf(self, x: Any) -> np.ndarray:
        """Of the natural quantity."""
        return np.exp(self.logpdf(x))

    def cdf(self, x: Any) -> np.ndarray:
        """P(quantity <= x)."""
        with np.errstate(divide="ignore"):
            theta = np.clip(linked(np.asarray(x, float), self.link), self.theta[0], self.theta[-1])
        anti, at = self._cumulative
        return np.clip(anti(theta) / at[-1], 0.0, 1.0)

    def quantile(self, q: Any) -> Any:
        """Of the natural scale, by bisection between the two points that hold it."""
        anti, at = self._cumulative
        wanted = np.asarray(q, float)
        checks.refuse(checks.within("q", wanted, 0, 1))
        target = np.atleast_1d(wanted) * at[-1]
        i = np.clip(np.searchsorted(at, target), 1, len(at) - 1)
        low, high = self.theta[i - 1], self.theta[i]
        for _ in range(60):
            middle = (low + high) / 2
            below = anti(middle) < target
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        found = natural((low + high) / 2, self.link)
        return float(found[0]) if wanted.ndim == 0 else found.reshape(wanted.shape)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Equal-tailed."""
        low, high = self.quantile([(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def sample(self, n: int, seed: int) -> np.ndarray:
        """(n,) draws on the natural scale, by inversion."""
        _, at = self._cumulative
        keep = np.r_[True, np.diff(at) > 0]
        u = np.random.default_rng(seed).uniform(size=n) * at[-1]
        return natural(np.interp(u, at[keep], self.theta[keep]), self.link)

    def updated(self, trial: Trials) -> "Density":
        """After one trial of the same link."""
        return self._with(trial)[0]

    def log_marginal(self, trial: Trials) -> float:
        """Log probability (density) of one trial's data under this as the prior."""
        return self._with(trial)[1]

    def _with(self, trial: Trials) -> tuple["Density", float]:
        if trial.link != self.link:
            checks.refuse([f"trial: its link is {trial.link}, the prior's is {self.link}; write data of the same kind"])
        with np.errstate(divide="ignore"):
            prior = np.log(np.maximum(self.pdf_theta, 0))
        return Density.with_constant(self.theta, prior + trial.log_likelihood(self.theta[:, None]).sum(-1), self.link)


def grid(centre: float, scale: float, reach: float, points: int = 2001) -> np.ndarray:
    """Points from centre - reach to centre + reach, as dense as `scale` asks at the centre and ever wider outwards."""
    t = np.linspace(-1, 1, points) * np.arcsinh(reach / scale)
    return centre + scale * np.sinh(t)


LINK: dict[str, Link] = {"beta": "logit", "gamma": "log", "normal": "identity"}


def gridded(distribution: Any, points: int = 2001) -> Density:
    """A conjugate mixture as a density: its quantiles are then quick, however many components it has."""
    if isinstance(distribution, Density):
        return distribution
    link = LINK[distribution.family]
    low, q1, middle, q3, high = linked(
        np.asarray(distribution.quantile([1e-10, 0.25, 0.5, 0.75, 1 - 1e-10]), float), link
    )
    reach = max(high - middle, middle - low)
    reach = reach if link == "identity" else min(reach, 36.0)
    theta = grid(middle, (q3 - q1) / 5, reach, points)
    return Density.of(theta, distribution.logpdf(natural(theta, link)) + np.log(slope(theta, link)), link)


def mixture(parts: list[Density], weight: np.ndarray) -> Density:
    """Of densities on the same points."""
    total = np.sum([w * p.pdf_theta for w, p in zip(weight, parts, strict=True)], axis=0)
    return Density(parts[0].theta, total, parts[0].link)
