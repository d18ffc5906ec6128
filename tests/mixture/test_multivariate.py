"""Mixtures of multivariate normals against SciPy, and against their own marginals."""

import numpy as np
import pytest
from scipy import stats

from cohort.mixture import MixtureError, MvNormalMixture, NormalMixture

MEAN = np.array([[0.0, 1.0], [2.0, 3.0]])
COV = np.array([[[1.0, 0.4], [0.4, 2.0]], [[2.0, -0.5], [-0.5, 1.0]]])
VISITS = MvNormalMixture([0.3, 0.7], MEAN, COV)
ERROR = np.array([[0.5, 0.1], [0.1, 0.4]])


def test_double_programmed_density_is_scipy_s():
    x = np.array([[0.0, 0.0], [1.5, 2.0], [40.0, -30.0]])
    expected = [
        np.logaddexp(
            np.log(0.3) + stats.multivariate_normal.logpdf(point, MEAN[0], COV[0]),
            np.log(0.7) + stats.multivariate_normal.logpdf(point, MEAN[1], COV[1]),
        )
        for point in x
    ]
    np.testing.assert_allclose(VISITS.logpdf(x), expected, rtol=1e-12)
    assert VISITS.pdf(x[0]) == pytest.approx(np.exp(expected[0]))


def test_double_programmed_update_is_by_precisions():
    y = np.array([1.0, 0.5])
    posterior = VISITS.updated(y, ERROR)
    density = [stats.multivariate_normal.pdf(y, m, c + ERROR) for m, c in zip(MEAN, COV, strict=True)]
    weight = np.array([0.3, 0.7]) * density
    np.testing.assert_allclose(posterior.weight, weight / weight.sum(), rtol=1e-12)
    for k in range(2):
        cov = np.linalg.inv(np.linalg.inv(COV[k]) + np.linalg.inv(ERROR))
        mean = cov @ (np.linalg.solve(COV[k], MEAN[k]) + np.linalg.solve(ERROR, y))
        np.testing.assert_allclose(posterior.component_cov[k], cov, rtol=1e-12)
        np.testing.assert_allclose(posterior.component_mean[k], mean, rtol=1e-12)
    assert VISITS.log_marginal(y, ERROR) == pytest.approx(np.log(weight.sum()), rel=1e-12)


def test_of_one_quantity_it_is_the_normal_mixture():
    one = MvNormalMixture([0.3, 0.7], [[0], [2]], [[[1]], [[4]]])
    scalar = NormalMixture([0.3, 0.7], [0, 2], [1, 2])
    assert one.logpdf([1.3]) == pytest.approx(scalar.logpdf(1.3))
    after, before = one.updated([5.0], [[9.0]]), scalar.updated(5, 3)
    np.testing.assert_allclose(after.weight, before.weight)
    np.testing.assert_allclose(after.component_mean[:, 0], before.means)
    assert after.sd == pytest.approx([before.sd])
    np.testing.assert_allclose(np.ravel(one.interval()), scalar.interval())


def test_marginals_and_combinations_have_the_moments_of_draws():
    draws = VISITS.sample(40_000, seed=1)
    difference = VISITS.combination([-1, 1])
    assert stats.kstest(draws[:, 1], VISITS.marginal(1).cdf).pvalue > 1e-3
    assert stats.kstest(draws[:, 1] - draws[:, 0], difference.cdf).pvalue > 1e-3
    np.testing.assert_allclose(draws.mean(axis=0), VISITS.mean, atol=5 * np.max(VISITS.sd) / 200)
    np.testing.assert_allclose(np.cov(draws.T), VISITS.cov, atol=0.1)
    assert difference.sd**2 == pytest.approx(VISITS.cov[0, 0] + VISITS.cov[1, 1] - 2 * VISITS.cov[0, 1])
    assert np.array_equal(draws, VISITS.sample(40_000, seed=1))


def test_a_wide_vague_part_in_five_dimensions_loses_whatever_its_weight():
    informative = MvNormalMixture([1], np.zeros((1, 5)), 0.1 * np.eye(5)[None])
    wide = MvNormalMixture([1], np.zeros((1, 5)), 100 * np.eye(5)[None])
    posterior = informative.robust(0.9, wide).updated(np.full(5, 0.6), 0.05 * np.eye(5))
    assert posterior.weight[-1] < 1e-3  # robust in name only: a unit-information part is wanted


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MvNormalMixture([1], [[0, 0]], [[[1, 2], [2, 1]]]), r"cov\[0\]: is not positive definite"),
        (lambda: MvNormalMixture([1], [[0, 0]], [[[1, 0.5], [0.1, 1]]]), r"cov\[0\]: is not symmetric"),
        (lambda: MvNormalMixture([1], [[0, 0]], [[[1, 1], [1, 1]]]), "is not positive definite"),
        (lambda: MvNormalMixture([1], [[0, 0, 0]], [[[1, 0], [0, 1]]]), r"has shape \(1, 2, 2\)"),
        (lambda: MvNormalMixture([0.5], [[0, 0]], [np.eye(2)]), "sum is 0.5"),
        (lambda: MvNormalMixture([1], [[0, np.nan]], [np.eye(2)]), "not finite"),
        (lambda: VISITS.updated([1], ERROR), "do not fit 2 quantities"),
        (lambda: VISITS.updated([1, 1], -ERROR), "not positive definite"),
        (lambda: VISITS.marginal(2), "no quantity 2"),
        (lambda: VISITS.logpdf([1, 2, 3]), "x: shape"),
        (lambda: VISITS.robust(0.2, MvNormalMixture([1], [[0]], [[[1]]])), "has 1 quantities"),
        (lambda: VISITS.robust(-0.2, MvNormalMixture([1], [[0, 0]], [np.eye(2)])), "outside 0-1"),
    ],
)
def test_what_is_no_prior_or_no_data_is_refused(make, said):
    with pytest.raises(MixtureError, match=said):
        make()
