"""The discount function against published one- and two-arm fits, closed forms and a simulation."""

import numpy as np
import pytest
from scipy import stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.discount import Discount, Sample, binomial, normal
from cohort.borrowing.trials import Binomial

TRIAL, HISTORY = Binomial(15, 200), Binomial(25, 250)
NEW, OLD = Sample(45, 10, 50), Sample(50, 10, 50)


def test_independent_binomial_discount_is_the_published_one():
    found = binomial(TRIAL, HISTORY)
    assert found.about["p_hat"] == pytest.approx(0.3685503, abs=1e-7)
    assert (found.posterior.a[0], found.posterior.b[0]) == pytest.approx((25.21376, 268.92381), abs=1e-5)
    assert (found.mean, found.posterior.quantile(0.5)) == pytest.approx((0.0857210, 0.0847824), abs=1e-7)
    assert found.interval() == pytest.approx((0.056550, 0.120217), abs=1e-6)


def test_independent_full_weight_is_the_pooled_posterior():
    found = binomial(TRIAL, HISTORY, fixed=True)
    assert (found.posterior.a[0], found.posterior.b[0]) == (41, 411)
    assert found.posterior.quantile(0.5) == pytest.approx(0.0901044, abs=1e-7)
    assert found.interval() == pytest.approx((0.066028, 0.118814), abs=1e-6)
    assert not found.uses_data_twice


def test_independent_two_arms_with_discounts_of_their_own():
    from cohort.borrowing.compare import effect_interval

    treated, control = binomial(TRIAL, HISTORY), binomial(Binomial(20, 250), Binomial(20, 250))
    assert control.weight == pytest.approx(1, abs=1e-9)
    assert treated.mean - control.mean == pytest.approx(0.00405, abs=1e-5)
    assert effect_interval(treated.posterior, control.posterior) == pytest.approx((-0.03485, 0.04517), abs=2e-4)


def test_independent_weibull_discount_is_the_published_one():
    w = Discount("weibull").w([0.05, 0.1, 0.135, 0.2])
    assert w == pytest.approx([0.0495363, 0.3339841, 0.6321206, 0.9612853], abs=5e-7)
    scaled = Discount("scaled weibull", shape=3.0, scale=0.5)
    assert (float(scaled.w(0.0)), float(scaled.w(1.0))) == (0.0, 1.0)


def test_independent_normal_discount_is_the_published_one():
    full, found = normal(NEW, OLD, fixed=True), normal(NEW, OLD)
    assert full.mean == pytest.approx(47.52, abs=0.05)
    assert full.interval() == pytest.approx((45.43, 49.63), abs=0.05)
    assert found.about["p_hat"] == pytest.approx(0.0150, abs=0.01)
    assert found.mean == pytest.approx(45.0795, abs=0.05)
    assert found.interval() == pytest.approx((42.297, 47.926), abs=0.05)


def test_independent_simulation_of_the_normal_discount():
    rng, n = np.random.default_rng(5), 400_000
    ours = 49 * 100 / rng.chisquare(49, n) / 50
    theirs = 49 * 100 / rng.chisquare(49, n) / 50
    a, b = rng.normal(45, np.sqrt(ours)), rng.normal(50, np.sqrt(theirs))
    found, alpha = normal(NEW, OLD), normal(NEW, OLD).weight
    assert found.about["p_hat"] == pytest.approx(2 * np.mean(a > b), abs=4 * 2 * np.sqrt(0.0075 / n))
    precision = 1 / ours + alpha / theirs
    mean = rng.normal((45 / ours + alpha * 50 / theirs) / precision, precision**-0.5)
    assert (found.mean, found.sd) == pytest.approx((mean.mean(), mean.std()), abs=4 * found.sd / np.sqrt(n))


def test_without_borrowing_the_mean_has_the_t_distribution_of_a_mean_and_not_of_a_subject():
    none = normal(NEW, OLD, Discount(alpha_max=0.0))
    exact = stats.t(49, loc=45, scale=10 / 50**0.5)
    assert (none.mean, none.sd) == pytest.approx((45, exact.std()), rel=1e-4)
    assert none.interval() == pytest.approx(exact.interval(0.95), abs=2e-3)


@pytest.mark.parametrize("kind", ["identity", "weibull", "scaled weibull"])
def test_alpha_max_and_the_cap_are_obeyed(kind):
    same = Binomial(25, 250)
    assert binomial(same, same, Discount(kind, alpha_max=0.4)).weight <= 0.4
    assert binomial(same, same, Discount(kind, alpha_max=0.4)).weight == pytest.approx(0.4, abs=1e-6)
    assert binomial(same, same, Discount(kind), n_cap=50).weight == pytest.approx(0.2, abs=1e-6)
    assert binomial(same, same, Discount(kind, alpha_max=0.1), n_cap=50, fixed=True).weight == 0.1
    assert normal(NEW, NEW, Discount(kind), n_cap=10).weight == pytest.approx(0.2, abs=1e-6)


def test_alpha_is_symmetric_in_conflict():
    found = [normal(Sample(50 + d, 10, 50), OLD).weight for d in (-4, -2, 0, 2, 4)]
    assert found == pytest.approx(found[::-1], abs=1e-10)
    assert found[0] < found[1] < found[2]


def test_arms_without_spread_or_subjects_are_refused():
    with pytest.raises(BorrowingError, match="sd: 0 is not above zero"):
        Sample(1.0, 0.0, 20)
    with pytest.raises(BorrowingError, match="two or more"):
        Sample(1.0, 2.0, 1)
    with pytest.raises(BorrowingError, match="outside 0 to 1"):
        Discount(alpha_max=1.5)
    assert binomial(TRIAL, HISTORY).uses_data_twice
