"""Mixtures of multivariate normal distributions as priors, such as of the means at several visits.

References
----------
[1] Gelman et al. 2013, Bayesian Data Analysis, 3rd ed., section 3.5: the multivariate normal with known covariance.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

import numpy as np

from cohort.mixture.families import LOG_2PI, NormalMixture
from cohort.mixture.scalar import check_robust, frozen, log_of, log_sum, scalar_or_array, tails
from cohort.mixture.validation import MixtureError, array, require, weights


def _covariance(name: str, value: np.ndarray, reasons: list[str]) -> None:
    """Adds a reason for each matrix (..., d, d) that is not symmetric and positive definite."""
    for i, matrix in enumerate(value.reshape(-1, *value.shape[-2:])):
        where = f"{name}[{i}]" if value.ndim == 3 else name
        if not np.isfinite(matrix).all():
            continue
        if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12 * np.abs(matrix).max(initial=0)):
            reasons.append(f"{where}: is not symmetric; write a covariance matrix")
            continue
        least = np.linalg.eigvalsh(matrix).min()
        if not least > 1e-14 * np.abs(matrix).max():
            reasons.append(f"{where}: is not positive definite, least eigenvalue {least:.3g}; write a covariance")


def log_density(x: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """x (..., d), mean (k, d), cov (k, d, d): (..., k)."""
    factor = np.linalg.cholesky(cov)
    away = np.moveaxis(x[..., None, :] - mean, -2, 0)  # (k, ..., d)
    flat = away.reshape(len(mean), -1, x.shape[-1])
    z = np.linalg.solve(factor, np.swapaxes(flat, 1, 2))
    half = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    terms = -np.sum(z**2, axis=1) / 2 - half[:, None] - x.shape[-1] * LOG_2PI / 2
    return np.moveaxis(terms.reshape(away.shape[:-1]), 0, -1)


@final
@dataclass(frozen=True, init=False, eq=False)
class MvNormalMixture:
    """Several quantities without bounds: weight (components,), mean (components, d), cov (components, d, d); data are
    estimates y (d,) and their covariance (d, d).

    The arrays given as mean and cov are kept as component_mean and component_cov. Errors: MixtureError of weights
    outside 0-1 or not of sum 1, and of a cov that is not symmetric and positive definite."""

    weight: np.ndarray
    component_mean: np.ndarray
    component_cov: np.ndarray
    log_weight: np.ndarray = field(init=False, repr=False)
    family: ClassVar[str] = "mvnormal"

    def __init__(self, weight: Any, mean: Any, cov: Any) -> None:
        reasons: list[str] = []
        means, covs = array("mean", mean, reasons, ndim=2), array("cov", cov, reasons, ndim=3)
        made = weights(weight, len(means), reasons)
        if not reasons and covs.shape != (*means.shape, means.shape[1]):
            reasons.append(f"cov: has shape {covs.shape}; write {(*means.shape, means.shape[1])}")
        elif covs.shape[1] == covs.shape[2]:
            _covariance("cov", covs, reasons)
        require("MvNormalMixture", reasons)
        frozen(self, weight=made, log_weight=log_of(made), component_mean=means, component_cov=covs)

    @property
    def components(self) -> int:
        return len(self.weight)

    @property
    def dimension(self) -> int:
        return self.component_mean.shape[1]

    @property
    def mean(self) -> np.ndarray:
        """(d,)"""
        return self.weight @ self.component_mean

    @property
    def cov(self) -> np.ndarray:
        """(d, d)"""
        away = self.component_mean - self.mean
        return np.einsum("k,kij->ij", self.weight, self.component_cov + away[:, :, None] * away[:, None, :])

    @property
    def sd(self) -> np.ndarray:
        """(d,)"""
        return np.sqrt(np.diagonal(self.cov))

    def logpdf(self, x: Any) -> Any:
        """Log density at x (..., d)."""
        at = np.asarray(x, dtype=float)
        if at.shape[-1:] != (self.dimension,) or np.isnan(at).any():
            raise MixtureError(f"x: shape {at.shape}, or NaN in it; write numbers of shape (..., {self.dimension})")
        terms = self.log_weight + log_density(at, self.component_mean, self.component_cov)
        return scalar_or_array(log_sum(terms))

    def pdf(self, x: Any) -> Any:
        """Density at x (..., d)."""
        return scalar_or_array(np.exp(self.logpdf(x)))

    def marginal(self, index: int) -> NormalMixture:
        """The mixture of one of the quantities."""
        if not 0 <= index < self.dimension:
            raise MixtureError(f"index: there is no quantity {index} of {self.dimension}; write 0-{self.dimension - 1}")
        return self.combination(np.eye(self.dimension)[index])

    def combination(self, coefficients: Any) -> NormalMixture:
        """The mixture of a linear combination of the quantities; coefficients: (d,)."""
        c = np.asarray(coefficients, dtype=float)
        if c.shape != (self.dimension,) or not np.isfinite(c).all() or not c.any():
            raise MixtureError(f"coefficients: {c} do not combine {self.dimension} quantities; write one for each")
        made = NormalMixture(
            self.weight, self.component_mean @ c, np.sqrt(np.einsum("i,kij,j->k", c, self.component_cov, c))
        )
        frozen(made, log_weight=self.log_weight)
        return made

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """The equal-tailed interval of each quantity by itself: low (d,) and high (d,)."""
        found = np.array([self.marginal(i).quantile(tails(level)) for i in range(self.dimension)])
        return found[:, 0], found[:, 1]

    def sample(self, n: int, seed: int) -> np.ndarray:
        """n independent draws, (n, d). Errors: MixtureError unless n is at least 1."""
        if n < 1:
            raise MixtureError(f"n: {n} draws cannot be made; write 1 or more")
        rng = np.random.default_rng(seed)
        which = rng.choice(self.components, size=n, p=self.weight)
        factor = np.linalg.cholesky(self.component_cov)
        standard = rng.standard_normal((n, self.dimension))
        return self.component_mean[which] + np.einsum("nij,nj->ni", factor[which], standard)

    def _data(self, y: Any, cov: Any) -> tuple[np.ndarray, np.ndarray]:
        reasons: list[str] = []
        at, error = array("y", y, reasons, ndim=1), array("cov", cov, reasons, ndim=2)
        if not reasons and (at.size != self.dimension or error.shape != (self.dimension, self.dimension)):
            reasons.append(f"y {at.shape} and cov {error.shape} do not fit {self.dimension} quantities")
        if not reasons:
            _covariance("cov", error, reasons)
        require("data for an MvNormalMixture", reasons)
        return at, error

    def component_log_marginal(self, y: Any, cov: Any) -> np.ndarray:
        """Log density of y ~ Normal(mean, prior cov + cov) under each component, (components,)."""
        at, error = self._data(y, cov)
        return log_density(at, self.component_mean, self.component_cov + error)

    def log_marginal(self, y: Any, cov: Any) -> float:
        """Log marginal likelihood of estimates y (d,) with covariance (d, d)."""
        return float(log_sum(self.log_weight + self.component_log_marginal(y, cov)))

    def updated(self, y: Any, cov: Any) -> Self:
        """The mixture after estimates y (d,) with covariance (d, d) [1]."""
        at, error = self._data(y, cov)
        gain = np.swapaxes(np.linalg.solve(self.component_cov + error, self.component_cov), 1, 2)  # (k, d, d)
        means = self.component_mean + np.einsum("kij,kj->ki", gain, at - self.component_mean)
        left = np.eye(self.dimension) - gain
        covs = left @ self.component_cov @ np.swapaxes(left, 1, 2) + gain @ error @ np.swapaxes(gain, 1, 2)
        return self._with(self.log_weight + self.component_log_marginal(y, cov), means, covs)

    def robust(self, weight_on_vague: float, vague: Self) -> Self:
        """(1 - weight_on_vague) of this mixture, and a vague component after the last.

        In several dimensions a wide vague part loses to any other whatever the data: write one of unit information.
        Errors: MixtureError of a weight outside 0-1, or of a vague part that is not one component as wide as this."""
        check_robust(self, weight_on_vague, vague)
        if vague.dimension != self.dimension:
            raise MixtureError(f"vague: has {vague.dimension} quantities; write {self.dimension}")
        with np.errstate(divide="ignore"):
            kept, added = np.log1p(-weight_on_vague), np.log(weight_on_vague)
        return self._with(
            np.append(self.log_weight + kept, added),
            np.concatenate([self.component_mean, vague.component_mean]),
            np.concatenate([self.component_cov, vague.component_cov]),
        )

    def _with(self, log_weight: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> Self:
        log_weight = log_weight - log_sum(log_weight)
        made = type(self)(np.exp(log_weight), mean, (cov + np.swapaxes(cov, 1, 2)) / 2)
        frozen(made, log_weight=log_weight)
        return made
