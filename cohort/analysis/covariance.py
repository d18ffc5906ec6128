"""How repeated measures of one subject hang together: covariance structures with proper priors, NumPyro and PyMC.

    Sigma = D R D,  D = diag(SD by visit),  visits taken as equally spaced where the structure orders them

The prior of each structure's correlations: LKJ(eta) for the unstructured one [1]; uniform over all admissible values
for compound symmetry and first-order autoregression; uniform partial autocorrelations for Toeplitz [2], which give
every positive definite Toeplitz matrix and no other.

References
----------
[1] Lewandowski, Kurowicka, Joe 2009, J Multivar Anal 100:1989, doi 10.1016/j.jmva.2009.04.008.
[2] Barndorff-Nielsen & Schou 1973, J Multivar Anal 3:408, doi 10.1016/0047-259X(73)90030-4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from cohort.analysis import AnalysisError

Structure = Literal["unstructured", "compound symmetry", "autoregressive", "toeplitz"]


@dataclass(frozen=True)
class Covariance:
    """A structure; heterogeneous: an SD for each visit, else one for all. Errors: AnalysisError of an unknown one."""

    structure: Structure = "unstructured"
    heterogeneous: bool = True

    def __post_init__(self) -> None:
        if self.structure not in get_args(Structure):
            known = ", ".join(f"'{s}'" for s in get_args(Structure))
            raise AnalysisError(f"covariance: '{self.structure}' is no structure known here; write one of {known}")


def lags(visits: int) -> np.ndarray:
    """How many visits lie between two: (visits, visits)."""
    at = np.arange(visits)
    return np.abs(at[:, None] - at[None, :])


def by_lag(correlation: Sequence[Any]) -> Any:
    """The Toeplitz matrix of correlations at lag 0, 1, ...: numbers, or traced scalars of JAX or PyTensor."""
    lag = lags(len(correlation))
    matrix: Any = (lag == 0) * 1.0
    for k, r in enumerate(correlation[1:], 1):
        matrix = matrix + r * (lag == k)
    return matrix


def compound_symmetry(rho: Any, visits: int) -> Any:
    """One correlation for every pair of visits; admissible above -1 / (visits - 1)."""
    return by_lag([1.0, *[rho] * (visits - 1)])


def autoregressive(rho: Any, visits: int) -> Any:
    """rho to the power of the lag."""
    return by_lag([rho**k for k in range(visits)])


def toeplitz(partial: Sequence[Any]) -> Any:
    """The matrix with these partial autocorrelations (visits - 1,), each in (-1, 1), by Durbin's recursion [2]."""
    rho, phi, error = [1.0], [], 1.0
    for k, p in enumerate(partial):
        rho.append(sum((f * rho[k - j] for j, f in enumerate(phi)), p * error))
        phi = [f - p * g for f, g in zip(phi, reversed(phi), strict=True)] + [p]
        error = error * (1 - p * p)
    return by_lag(rho)


def lower(visits: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the correlations stand that a posterior keeps: rows and columns of the lower triangle, row by row."""
    return np.tril_indices(visits, -1)


def matrices(sd: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Covariance matrices (..., visits, visits) of SDs (..., visits) and lower triangles (..., pairs) of R."""
    visits = sd.shape[-1]
    rows, columns = lower(visits)
    r = np.broadcast_to(np.eye(visits), (*sd.shape, visits)).copy()
    r[..., rows, columns] = r[..., columns, rows] = correlation
    return r * sd[..., :, None] * sd[..., None, :]


def sites(covariance: Covariance) -> list[str]:
    """The sampled sites of a structure."""
    own = {
        "unstructured": "factor|standard",
        "compound symmetry": "rho",
        "autoregressive": "rho",
        "toeplitz": "partial",
    }
    return ["sd|standard", own[covariance.structure]]


def _uniform(covariance: Covariance, visits: int) -> tuple[float, float, int | None]:
    """The bounds of the uniform prior, and how many such parameters there are: None for a scalar."""
    if covariance.structure == "compound symmetry":
        return -1 / (visits - 1), 1.0, None
    return (-1.0, 1.0, None) if covariance.structure == "autoregressive" else (-1.0, 1.0, visits - 1)


def _correlation(covariance: Covariance, visits: int, drawn: Any) -> Any:
    if covariance.structure == "compound symmetry":
        return compound_symmetry(drawn, visits)
    if covariance.structure == "autoregressive":
        return autoregressive(drawn, visits)
    return toeplitz([drawn[k] for k in range(visits - 1)])


def numpyro_factor(covariance: Covariance, visits: int, sd_scale: Any, eta: Any) -> tuple[Any, Any, Any]:
    """Draws SDs (visits,) ~ HalfNormal(sd_scale) and R inside a NumPyro model.

    Returns the SDs, the Cholesky factor of Sigma (visits, visits), and the lower triangle of R (pairs,)."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    half = dist.HalfNormal(sd_scale)
    many = half.expand([visits]) if covariance.heterogeneous else half
    sd: Any = jnp.ones(visits) * numpyro.sample("sd|standard", many)  # type: ignore[arg-type]
    if covariance.structure == "unstructured":
        factor: Any = numpyro.sample("factor|standard", dist.LKJCholesky(visits, eta))
        r = factor @ factor.T
    else:
        low, high, size = _uniform(covariance, visits)
        prior = dist.Uniform(low, high)
        drawn = numpyro.sample(sites(covariance)[1], prior if size is None else prior.expand([size]))
        r = jnp.asarray(_correlation(covariance, visits, drawn))
        factor = jnp.linalg.cholesky(r)
    return sd, sd[:, None] * factor, r[lower(visits)]


def _shapes(visits: int, eta: float) -> tuple[np.ndarray, np.ndarray]:
    """Of the beta distributions of (1 + partial correlation) / 2 under LKJ(eta) [1], (pairs,) each."""
    shape = eta + (visits - 2 - lower(visits)[1]) / 2
    return shape, shape


def vine(partial: Any, visits: int) -> Any:
    """The Cholesky factor of R from partial correlations (pairs,) given all visits before the earlier one [1]: the way
    that PyMC draws it, whose own LKJCorr has no log-prior of its draws."""
    import pytensor.tensor as pt

    rows, at = [[1.0] + [0.0] * (visits - 1)], iter(range(visits * (visits - 1) // 2))
    for j in range(1, visits):
        row, left = [], 1.0
        for _ in range(j):
            z = partial[next(at)]
            row.append(z * left**0.5)
            left = left * (1 - z * z)
        rows.append([*row, left**0.5] + [0.0] * (visits - 1 - j))
    return pt.stack([pt.stack([pt.as_tensor(x) for x in row]) for row in rows])


def pymc_matrix(covariance: Covariance, visits: int, sd_scale: float, eta: float) -> tuple[Any, Any, Any]:
    """As `numpyro_factor` in the PyMC model whose context is open: SDs, Sigma itself, and the lower triangle of R."""
    import pymc as pm
    import pytensor.tensor as pt

    sd = pt.ones(visits) * pm.HalfNormal("sd|standard", sd_scale, shape=visits if covariance.heterogeneous else ())
    if covariance.structure == "unstructured":
        factor = vine(2 * pm.Beta("factor|standard", *_shapes(visits, eta)) - 1, visits)
        r = pt.dot(factor, factor.T)
    else:
        low, high, size = _uniform(covariance, visits)
        drawn = pm.Uniform(sites(covariance)[1], low, high, shape=() if size is None else size)
        r = _correlation(covariance, visits, drawn)
    return sd, r * sd[:, None] * sd[None, :], r[lower(visits)]
