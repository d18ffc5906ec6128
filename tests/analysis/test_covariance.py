"""Covariance structures: admissible matrices, priors as stated, and both engines alike."""

import itertools

import numpy as np
import pytest

from cohort.analysis import AnalysisError
from cohort.analysis.covariance import (
    Covariance,
    autoregressive,
    compound_symmetry,
    lower,
    matrices,
    numpyro_factor,
    pymc_matrix,
    sites,
    toeplitz,
)

ALL = [
    Covariance(s, h)
    for s, h in itertools.product(("unstructured", "compound symmetry", "autoregressive", "toeplitz"), (True, False))
]


def test_the_matrices_of_textbooks():
    np.testing.assert_allclose(compound_symmetry(0.4, 3), [[1, 0.4, 0.4], [0.4, 1, 0.4], [0.4, 0.4, 1]])
    np.testing.assert_allclose(autoregressive(-0.5, 3), [[1, -0.5, 0.25], [-0.5, 1, -0.5], [0.25, -0.5, 1]])
    assert np.linalg.eigvalsh(compound_symmetry(-1 / 3, 4)).min() == pytest.approx(0, abs=1e-12)


def test_an_autoregression_is_the_toeplitz_matrix_whose_later_partial_autocorrelations_are_none():
    np.testing.assert_allclose(toeplitz([0.7, 0, 0]), autoregressive(0.7, 4), atol=1e-14)


def test_double_programmed_toeplitz_determinant_is_the_product_of_unexplained_shares():
    partial = [0.6, -0.3, 0.5, 0.2]
    shares = [(1 - p * p) ** (len(partial) - k) for k, p in enumerate(partial)]
    assert np.linalg.det(toeplitz(partial)) == pytest.approx(np.prod(shares), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_double_programmed_partial_autocorrelations_come_back_by_regression(seed: int):
    partial = np.random.default_rng(seed).uniform(-1, 1, 4).tolist()
    r = toeplitz(partial)
    assert np.linalg.eigvalsh(r).min() > 0
    back = [np.linalg.solve(r[: k + 1, : k + 1], r[0, 1 : k + 2])[-1] for k in range(4)]  # Yule-Walker
    np.testing.assert_allclose(back, partial, atol=1e-7)


def test_matrices_of_draws_are_put_together_from_sds_and_the_lower_triangle():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(2, 3, 4, 9))
    sigma = a @ np.swapaxes(a, -1, -2)
    sd = np.sqrt(np.diagonal(sigma, axis1=-2, axis2=-1))
    r = sigma / sd[..., :, None] / sd[..., None, :]
    rows, columns = lower(4)
    np.testing.assert_allclose(matrices(sd, r[..., rows, columns]), sigma)


@pytest.mark.parametrize("covariance", ALL, ids=str)
def test_every_structure_draws_positive_definite_matrices_of_its_kind(covariance: Covariance):
    import jax
    from numpyro import handlers

    jax.config.update("jax_enable_x64", True)
    for seed in range(2):
        with handlers.seed(rng_seed=seed), handlers.trace() as found:
            sd, factor, correlation = numpyro_factor(covariance, 4, 2.5, 1.0)
        assert list(found) == sites(covariance)
        sigma = np.asarray(factor @ factor.T)
        np.testing.assert_allclose(matrices(np.asarray(sd), np.asarray(correlation)), sigma, rtol=1e-9, atol=1e-12)
        assert np.linalg.eigvalsh(sigma).min() > 0
        assert covariance.heterogeneous or np.ptp(sd) == 0


@pytest.mark.parametrize("covariance", [ALL[0], ALL[1], ALL[3], ALL[4], ALL[7]], ids=str)
def test_both_engines_have_the_same_prior(covariance: Covariance):
    import jax
    import pymc as pm
    from numpyro import handlers

    jax.config.update("jax_enable_x64", True)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        with handlers.seed(rng_seed=key):
            sd, _, correlation = numpyro_factor(covariance, 3, 2.0, 1.5)
        return sd, correlation

    ours = [np.asarray(a) for a in jax.vmap(one)(jax.random.split(jax.random.key(0), 4000))]
    with pm.Model():
        sd, _, correlation = pymc_matrix(covariance, 3, 2.0, 1.5)
        theirs = pm.draw([sd, correlation], draws=4000, random_seed=1)
    for a, b in zip(ours, theirs, strict=True):
        for power in (1, 2):
            error = np.sqrt((a**power).var(axis=0) / 4000 + (b**power).var(axis=0) / 4000)
            assert np.all(np.abs((a**power).mean(axis=0) - (b**power).mean(axis=0)) < 5 * error)


def test_an_unknown_structure_is_refused():
    with pytest.raises(AnalysisError, match="'diagonal' is no structure known here; write one of 'unstructured'"):
        Covariance("diagonal")  # type: ignore[arg-type]
