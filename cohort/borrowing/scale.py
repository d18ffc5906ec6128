"""Priors of a standard deviation between trials.

References
----------
[1] Gelman 2006, Bayesian Analysis 1:515: half-normal, half-t and half-Cauchy priors of a group-level SD.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from cohort.borrowing import checks
from cohort.borrowing.quadrature import unit

Kind = Literal["half-normal", "half-t", "half-cauchy", "exponential", "uniform"]


@dataclass(frozen=True)
class Scale:
    """A proper prior on tau > 0 [1]. `scale`: that of the untruncated normal or t, the mean of an exponential, the end
    of a uniform; in the unit of the link scale. `df`: of half-t alone."""

    scale: float
    kind: Kind = "half-normal"
    df: float = 3.0

    def __post_init__(self) -> None:
        kinds = ["half-normal", "half-t", "half-cauchy", "exponential", "uniform"]
        checks.refuse(
            checks.positive("tau prior, scale", self.scale)
            + checks.positive("tau prior, df", self.df)
            + checks.known("tau prior, kind", self.kind, kinds)
        )

    def _distribution(self) -> Any:
        if self.kind == "half-normal":
            return stats.halfnorm(scale=self.scale)
        if self.kind == "half-cauchy":
            return stats.halfcauchy(scale=self.scale)
        if self.kind == "exponential":
            return stats.expon(scale=self.scale)
        return stats.uniform(0, self.scale)

    def logpdf(self, tau: Any) -> np.ndarray:
        """Log density at tau."""
        if self.kind == "half-t":
            return np.where(np.asarray(tau) >= 0, np.log(2) + stats.t.logpdf(tau, self.df, scale=self.scale), -np.inf)
        return np.asarray(self._distribution().logpdf(tau))

    def quantile(self, q: Any) -> Any:
        """tau below which a share q of the prior lies."""
        if self.kind == "half-t":
            return stats.t.ppf((1 + np.asarray(q)) / 2, self.df, scale=self.scale)
        return self._distribution().ppf(q)

    def nodes(self, count: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Legendre points of tau (count,) and log weights that hold the prior: sum of exp = 1."""
        u, w = unit(count)
        if self.kind == "uniform":
            tau, log_w = self.scale * u, np.log(w * self.scale)
        else:
            # dense near zero, and the whole half-line at once: half a prior's scale is at a third of the points
            tau, log_w = self.scale * u / (1 - u), np.log(w * self.scale) - 2 * np.log1p(-u)
        return tau, log_w + self.logpdf(tau)
