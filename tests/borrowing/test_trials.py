"""Data that nothing can be concluded from are refused, with every reason."""

import numpy as np
import pytest
from scipy import stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.density import Density, grid, gridded
from cohort.borrowing.scale import Scale
from cohort.borrowing.trials import Binomial, Normal, Poisson, pooled
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Binomial(7, 5), "more events than subjects"),
        (lambda: Binomial(-1, 5), "not a count"),
        (lambda: Binomial(1.5, 5), "not a count"),
        (lambda: Binomial(0, 0), "not above zero"),
        (lambda: Binomial([], []), "is empty"),
        (lambda: Binomial([1, 2], [5, 6, 7]), "one of each"),
        (lambda: Binomial(np.nan, 5), "not finite"),
        (lambda: Normal(0, 0), "not above zero"),
        (lambda: Normal(np.inf, 1), "not finite"),
        (lambda: Normal("a", 1), "not a number"),
        (lambda: Poisson(3, 0), "not above zero"),
        (lambda: Scale(0.0), "not above zero"),
        (lambda: Scale(np.inf), "not finite"),
        (lambda: Scale(1.0, "flat"), "unknown"),  # type: ignore[arg-type]
    ],
)
def test_what_nothing_follows_from_is_refused(make, said):
    with pytest.raises(BorrowingError, match=said):
        make()


def test_all_reasons_come_in_one_message():
    with pytest.raises(BorrowingError) as e:
        Normal([np.nan, 1], [-1, 2])
    assert len(str(e.value).splitlines()) == 2


def test_double_programmed_likelihoods_are_those_of_scipy():
    theta = np.array([-1.0, 0.3])
    p = 1 / (1 + np.exp(-theta))
    assert Binomial([3, 5], [9, 7]).log_likelihood(theta) == pytest.approx(stats.binom.logpmf([3, 5], [9, 7], p))
    rate = np.exp(theta) * [10, 4]
    assert Poisson([3, 5], [10, 4]).log_likelihood(theta) == pytest.approx(stats.poisson.logpmf([3, 5], rate))
    assert Normal([3, 5], [2, 1]).log_likelihood(theta) == pytest.approx(stats.norm.logpdf([3, 5], theta, [2, 1]))


@pytest.mark.parametrize("trials", [Binomial([3, 5], [9, 7]), Poisson([3, 5], [10, 4]), Normal([3, 5], [2, 1])])
def test_derivatives_are_those_of_the_likelihood(trials):
    theta, h = np.array([-0.4, 0.3]), 1e-4
    up, here, down = (trials.log_likelihood(theta + d) for d in (h, 0, -h))
    first, second = trials.derivatives(theta)
    assert first == pytest.approx((up - down) / (2 * h), rel=1e-6)
    assert second == pytest.approx((up - 2 * here + down) / h**2, rel=1e-4)


def test_pooling_sums_counts_and_weights_means_by_precision():
    assert pooled(Binomial([3, 5], [9, 7])).events[0] == 8
    both = pooled(Normal([0.0, 3.0], [1.0, 2.0]))
    assert (both.y[0], both.se[0]) == pytest.approx((0.6, np.sqrt(0.8)))


@pytest.mark.parametrize(
    "mixture",
    [
        BetaMixture([0.6, 0.4], [20, 3.5], [58, 9.4]),
        GammaMixture([0.6, 0.4], [20, 4], [10, 1]),
        NormalMixture([0.5, 0.5], [0, 3], [2, 0.3]),
    ],
)
def test_a_density_at_points_is_the_mixture_it_was_made_of(mixture):
    found = gridded(mixture)
    assert (found.mean, found.sd) == pytest.approx((mixture.mean, mixture.sd), rel=1e-6)
    q = np.array([0.001, 0.025, 0.5, 0.975, 0.999])
    assert found.quantile(q) == pytest.approx(mixture.quantile(q), rel=1e-5)
    x = mixture.quantile(np.array([0.1, 0.7]))
    assert found.pdf(x) == pytest.approx(mixture.pdf(x), rel=1e-5)
    assert found.cdf(x) == pytest.approx([0.1, 0.7], abs=1e-7)
    drawn = found.sample(40_000, seed=1)
    assert drawn.mean() == pytest.approx(mixture.mean, abs=4 * mixture.sd / 200)


def test_the_update_of_a_density_is_conjugate_algebra():
    prior = gridded(BetaMixture([1], [4], [9]))
    trial, exact = Binomial(6, 10), BetaMixture([1], [4], [9])
    assert prior.updated(trial).mean == pytest.approx(10 / 23, abs=1e-8)
    assert prior.log_marginal(trial) == pytest.approx(exact.log_marginal(6, 10), abs=1e-8)
    with pytest.raises(BorrowingError, match="same kind"):
        prior.updated(Normal(0, 1))
    with pytest.raises(BorrowingError, match="exclude each other"):
        Density.of(grid(0, 1, 5), np.full(2001, -np.inf))
