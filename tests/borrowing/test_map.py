"""The MAP prior by quadrature, against published fits, a brute-force integral, and NUTS in two engines."""

import numpy as np
import polars as pl
import pytest
from scipy import special, stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.borrowed import vague
from cohort.borrowing.map import as_mixture, largest_error, predictive
from cohort.borrowing.robust import robust
from cohort.borrowing.scale import Scale
from cohort.borrowing.trials import Binomial, Normal, Poisson
from tests.borrowing.published import AS, CROHN, CROHN_N, data


@pytest.fixture(scope="module")
def spondylitis():
    return predictive(AS, mu=(0, 2), tau=Scale(1.0))


def test_independent_spondylitis_map_is_the_published_one(spondylitis):
    assert (spondylitis.tau.mean, spondylitis.tau.sd) == pytest.approx((0.37944, 0.21061), abs=2e-4)
    assert spondylitis.tau.quantile([0.025, 0.5, 0.975]) == pytest.approx([0.0439, 0.3529, 0.8753], abs=0.005)
    assert (spondylitis.mu.mean, spondylitis.mu.sd) == pytest.approx((-1.10371, 0.18933), abs=5e-5)
    assert (spondylitis.prior.mean, spondylitis.prior.sd) == pytest.approx((0.258276, 0.087407), abs=2e-5)
    assert spondylitis.prior.quantile([0.025, 0.5, 0.975]) == pytest.approx([0.11086, 0.24860, 0.47142], abs=5e-5)


def test_independent_a_smaller_scale_of_tau_gives_the_published_map():
    m = predictive(AS, mu=(0, 2), tau=Scale(0.5))
    assert (m.tau.mean, m.tau.sd) == pytest.approx((0.33190, 0.17600), abs=5e-5)
    assert (m.prior.mean, m.prior.sd) == pytest.approx((0.256106, 0.076871), abs=2e-5)
    assert m.prior.quantile([0.025, 0.5, 0.975]) == pytest.approx([0.12311, 0.24846, 0.44049], abs=5e-5)


def test_independent_crohn_map_is_the_published_one():
    m = predictive(CROHN, mu=(0, 88), tau=Scale(44.0))
    assert (m.tau.mean, m.tau.sd) == pytest.approx((14.4245, 9.7934), abs=2e-3)
    assert (m.mu.mean, m.mu.sd) == pytest.approx((-49.8188, 8.5574), abs=1e-3)
    assert (m.prior.mean, m.prior.sd) == pytest.approx((-49.8188, 19.4218), abs=1e-3)
    assert m.prior.quantile([0.025, 0.5, 0.975]) == pytest.approx([-92.02, -48.55, -11.48], abs=0.01)


@pytest.mark.parametrize(
    ("trials", "mu", "scale"),
    [
        (AS, (0, 2), 1.0),
        (CROHN, (0, 88), 44.0),
        (Poisson([12, 30, 9], [20.0, 31.0, 22.0]), (0, 2), 0.5),
        (Binomial([0, 0], [20, 15]), (0, 2), 1.0),
    ],
)
def test_the_map_mean_is_the_mean_of_mu_on_the_link_scale(trials, mu, scale):
    m = predictive(trials, mu=mu, tau=Scale(scale))
    assert m.prior.on_link().mean == pytest.approx(m.mu.mean, abs=1e-5 * scale)


def test_double_programmed_two_trials_by_a_plain_sum():
    """Of the log evidence and of the mean of mu: every integral a sum over even points, no point placed by the data."""
    y, n = (4, 9), (20, 25)
    tau, w = np.polynomial.legendre.leggauss(40)
    tau, w = 3.5 * (tau + 1), 3.5 * w
    mu, z = np.linspace(-11, 10, 106)[:, None], np.linspace(-8.5, 8.5, 681)
    at = []
    for t in tau:
        p = special.expit(mu + t * z)
        each = [stats.binom.pmf(k, m, p) @ stats.norm.pdf(z) * (z[1] - z[0]) for k, m in zip(y, n, strict=True)]
        at.append(each[0] * each[1] * stats.norm.pdf(mu[:, 0], 0, 2) * (mu[1, 0] - mu[0, 0]))
    weight = w * stats.halfnorm.pdf(tau, scale=1.0)
    total = weight @ np.sum(at, axis=1)
    mean = weight @ (np.array(at) @ mu[:, 0]) / total
    m = predictive(Binomial(y, n), mu=(0, 2), tau=Scale(1.0))
    assert m.log_marginal == pytest.approx(np.log(total), abs=1e-7)
    assert m.mu.mean == pytest.approx(mean, abs=1e-7)
    assert m.prior.on_link().mean == pytest.approx(mean, abs=1e-6)


def test_with_one_trial_the_prior_of_tau_decides():
    sd = [predictive(Normal(1.0, 0.1), mu=(0, 10), tau=Scale(s)).prior.sd for s in (0.1, 0.5, 2.0)]
    assert sd == sorted(sd)
    for s, found in zip((0.1, 0.5, 2.0), sd, strict=True):
        # tau ~ half-normal is untouched by one trial up to the prior of mu: variance is that of y + tau² twice
        assert found == pytest.approx(np.sqrt(0.01 + 2 * s**2), rel=0.05)


def test_trials_that_agree_leave_a_narrower_prior_than_trials_that_differ():
    alike = predictive(Binomial([10] * 4, [40] * 4), mu=(0, 2), tau=Scale(1.0)).prior.sd
    apart = predictive(Binomial([2, 8, 14, 20], [40] * 4), mu=(0, 2), tau=Scale(1.0)).prior.sd
    assert alike < 0.6 * apart


def test_independent_exact_robust_posterior_and_its_weight_in_conflict(spondylitis):
    agree, conflict = Binomial(1, 6), Binomial(14, 20)
    found = robust(agree, spondylitis.prior, vague(agree))
    assert (found.mean, found.sd, 1 - found.weight) == pytest.approx((0.241534, 0.079053, 0.0973681), abs=5e-6)
    assert 1 - robust(conflict, spondylitis.prior, vague(conflict)).weight == pytest.approx(0.826, abs=5e-4)


def test_a_fitted_mixture_keeps_the_weight_of_the_exact_prior_in_conflict(spondylitis):
    fitted, conflict = as_mixture(spondylitis.prior, seed=1), Binomial(14, 20)
    assert largest_error(spondylitis.prior, fitted) < 0.002
    exact = robust(conflict, spondylitis.prior, vague(conflict))
    found = robust(conflict, fitted, vague(conflict))
    assert found.weight == pytest.approx(exact.weight, abs=0.002)
    assert found.mean == pytest.approx(exact.mean, abs=0.002)


def test_data_as_published_are_those_typed_here():
    table = pl.read_csv(data("trials/historical_controls/AS.csv"))
    assert table["r"].to_list() == list(AS.events)
    assert table["n"].to_list() == list(AS.n)
    table = pl.read_csv(data("trials/historical_controls/crohn.csv"))
    assert table["y"].to_list() == list(CROHN.y)
    assert table["n"].to_list() == list(CROHN_N)


@pytest.mark.parametrize("name", ["transplant", "colitis"])
def test_other_published_controls_give_a_map_within_their_range(name):
    table = pl.read_csv(data(f"trials/historical_controls/{name}.csv"))
    m = predictive(Binomial(table["r"].to_numpy(), table["n"].to_numpy()), mu=(0, 2), tau=Scale(1.0))
    rate = (table["r"] / table["n"]).to_numpy()
    assert rate.min() < m.prior.mean < rate.max()
    assert m.prior.on_link().mean == pytest.approx(m.mu.mean, abs=1e-5)


@pytest.mark.parametrize("kind", ["half-t", "half-cauchy", "exponential", "uniform"])
def test_every_prior_of_tau_is_proper_and_used(kind):
    prior = Scale(0.5, kind)
    tau, log_w = prior.nodes()
    assert np.exp(log_w).sum() == pytest.approx(1, abs=1e-3 if kind == "half-cauchy" else 1e-8)
    m = predictive(CROHN, mu=(0, 88), tau=Scale(44.0, kind))
    assert m.prior.on_link().mean == pytest.approx(m.mu.mean, abs=0.02)
    assert m.tau.quantile(0.5) > 0
    assert tau.min() > 0


def test_a_tail_that_no_probability_can_hold_is_refused():
    with pytest.raises(BorrowingError, match="lighter tail"):
        predictive(Binomial(3, 10), mu=(0, 2), tau=Scale(30.0, "half-cauchy"))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpyro", "pymc"])
def test_independent_nuts_finds_the_map_of_quadrature(engine, spondylitis):
    from cohort.borrowing.map_sampled import fit
    from cohort.inference.diagnosis import flat
    from cohort.inference.sampling import Sampling

    sampling = Sampling(warmup=1000, draws=2000, target_accept=0.95)
    tree = fit(AS, mu=(0, 2), tau=Scale(1.0), seed=3, sampling=sampling, engine=engine)
    p = special.expit(flat(tree, "new"))
    assert flat(tree, "tau").mean() == pytest.approx(spondylitis.tau.mean, abs=0.02)
    assert flat(tree, "mu").mean() == pytest.approx(spondylitis.mu.mean, abs=0.02)
    assert (p.mean(), p.std()) == pytest.approx((spondylitis.prior.mean, spondylitis.prior.sd), abs=0.005)
    assert "tau" in tree["log_prior"]


@pytest.mark.slow
@pytest.mark.parametrize("trials", [CROHN, Poisson([12, 30, 9], [20.0, 31.0, 22.0])], ids=["normal", "poisson"])
def test_independent_nuts_finds_the_map_of_other_families(trials):
    from cohort.borrowing.map_sampled import fit
    from cohort.inference.diagnosis import flat
    from cohort.inference.sampling import Sampling

    mu, tau = ((0, 88), Scale(44.0)) if trials is CROHN else ((0, 2), Scale(0.5))
    exact = predictive(trials, mu=mu, tau=tau)
    tree = fit(trials, mu=mu, tau=tau, seed=4, sampling=Sampling(draws=2000, target_accept=0.97))
    link = exact.prior.on_link()
    assert flat(tree, "new").mean() == pytest.approx(link.mean, abs=0.06 * link.sd)
    assert flat(tree, "new").std() == pytest.approx(link.sd, rel=0.08)
