"""The latent exchangeability prior: a triple sum, its limits, and NUTS on subjects."""

import numpy as np
import pytest
from scipy import stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.leap import Priors, binomial, model, normal
from cohort.borrowing.trials import Binomial


def test_double_programmed_binomial_by_a_triple_sum():
    theta, w = np.polynomial.legendre.leggauss(80)
    theta, w = (theta + 1) / 2, w / 2
    mine, other, share = theta[:, None, None], theta[None, :, None], theta[None, None, :]
    p = share * mine + (1 - share) * other
    joint = stats.binom.pmf(30, 100, p) * stats.binom.pmf(14, 20, mine)
    joint = joint * w[:, None, None] * w[None, :, None] * w[None, None, :]
    found = binomial(Binomial(14, 20), Binomial(30, 100))
    total = joint.sum()
    assert found.mean == pytest.approx((joint * mine).sum() / total, abs=1e-6)
    assert found.weight == pytest.approx((joint * share).sum() / total, abs=1e-6)


def test_nobody_exchangeable_is_no_borrowing_and_everybody_is_pooling():
    trial, history = Binomial(6, 20), Binomial(30, 100)
    none = binomial(trial, history, n_cap=0.001)
    assert none.mean == pytest.approx(7 / 22, abs=1e-4)
    all_alike = binomial(trial, history, share_prior=(1e6, 1e-3))
    assert all_alike.mean == pytest.approx(37 / 122, abs=1e-3)


def test_the_share_falls_with_conflict_and_obeys_its_cap():
    share = [binomial(Binomial(y, 20), Binomial(30, 100)).weight for y in (6, 11, 14, 18)]
    assert share == sorted(share, reverse=True)
    capped = binomial(Binomial(6, 20), Binomial(30, 100), n_cap=40)
    assert capped.about["gamma_most"] == 0.4
    assert capped.weight < 0.4


def test_subjects_alike_or_too_few_are_refused():
    with pytest.raises(BorrowingError) as e:
        normal(np.ones(5), np.array([1.0]), Priors(0, 1, 1), seed=1)
    assert len(str(e.value).splitlines()) == 2
    with pytest.raises(BorrowingError, match="not finite"):
        Priors(0, np.inf, 1)


def test_the_model_draws_its_own_data():
    from numpyro.handlers import seed, trace

    sites = trace(seed(model(Priors(0, 1, 1, most=0.5)), 0)).get_trace(
        {"current": np.zeros(4), "historical": np.zeros(7)}
    )
    assert sites["current"]["value"].shape == (4,)
    assert sites["historical"]["value"].shape == (7,)
    assert 0 <= float(sites["share"]["value"]) <= 0.5


@pytest.mark.slow
def test_independent_normal_leap_takes_those_who_are_alike_and_leaves_the_rest():
    """Half of the historical subjects lie far off: the mean is that of the trial and of the near half together."""
    from cohort.inference.diagnosis import flat
    from cohort.inference.sampling import Sampling

    rng = np.random.default_rng(1)
    current, near, far = rng.normal(0, 1, 30), rng.normal(0, 1, 40), rng.normal(8, 1, 40)
    tree = normal(current, np.r_[near, far], Priors(0, 10, 5), seed=1, sampling=Sampling(warmup=500, draws=1000))
    both = np.r_[current, near]
    assert flat(tree, "mean").mean() == pytest.approx(both.mean(), abs=0.02)
    assert flat(tree, "mean").std() == pytest.approx(both.std() / np.sqrt(70), rel=0.1)
    assert flat(tree, "share").mean() == pytest.approx(41 / 82, abs=0.02)  # Beta(1 + 40, 1 + 40)
