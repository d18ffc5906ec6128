"""Power-scaling says whose word a posterior is; leaving one out agrees with the formula."""

import numpy as np
import pytest
import scipy

from cohort.inference.sampling import Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sensitivity import khat_limit, leave_one_out, power_scaled

Y, SD = np.random.default_rng(4).normal(1.0, 2.0, 40), 2.0


def model(prior_mean, prior_sd):
    import numpyro
    import numpyro.distributions as dist

    mu = numpyro.sample("mu", dist.Normal(prior_mean, prior_sd))
    with numpyro.plate("subjects", len(Y)):
        numpyro.sample("y", dist.Normal(mu, SD), obs=Y)


def fitted(prior_mean, prior_sd):
    return numpyro_nuts(model, prior_mean, prior_sd, seed=1, sampling=Sampling(chains=2), priors=["mu"])


def test_a_broad_prior_says_nothing_and_a_prior_far_off_is_a_conflict():
    (broad,), (far,) = power_scaled(fitted(0.0, 50.0), ["mu"]), power_scaled(fitted(-4.0, 0.7), ["mu"])
    assert broad["says"] == "none"
    assert broad["prior"] < 0.01
    assert far["says"] == "prior and data in conflict"
    assert far["prior"] > 0.05
    assert broad["reliable"]


def test_double_programmed_elpd_of_a_normal_mean_in_closed_form():
    tree = fitted(0.0, 50.0)
    parts = []
    for i in range(len(Y)):
        others = np.delete(Y, i)
        precision = 50.0**-2 + len(others) / SD**2
        mean = others.sum() / SD**2 / precision
        parts.append(scipy.stats.norm.logpdf(Y[i], mean, np.sqrt(1 / precision + SD**2)))
    found = leave_one_out(tree)
    assert found["elpd"] == pytest.approx(sum(parts), abs=0.1)
    assert found["reliable"]
    assert found["observations"] == 40


def test_the_limit_on_khat_is_the_printed_one():
    assert khat_limit(1000) == pytest.approx(0.6667, abs=1e-4)
    assert khat_limit(100_000) == 0.7


def test_independent_pymc_gives_the_same_groups_and_posterior():
    import pymc as pm

    with pm.Model() as twin:
        mu = pm.Normal("mu", 0.0, 50.0)
        pm.Normal("y", mu, SD, observed=Y)
    theirs, mine = pymc_nuts(twin, seed=2, sampling=Sampling(chains=2)), fitted(0.0, 50.0)
    for tree in (theirs, mine):
        assert {"posterior", "sample_stats", "log_likelihood", "log_prior"} <= set(tree.children)
    a, b = (tree.children["posterior"].dataset["mu"].values.reshape(-1) for tree in (theirs, mine))
    assert a.mean() == pytest.approx(b.mean(), abs=5 * a.std() / np.sqrt(800))
    assert a.std() == pytest.approx(b.std(), rel=0.1)


def test_two_fits_with_one_seed_do_not_share_their_random_numbers():
    def fit(y):
        import numpyro
        import numpyro.distributions as dist

        def other():
            mu = numpyro.sample("mu", dist.Normal(0, 50))
            with numpyro.plate("subjects", len(y)):
                numpyro.sample("y", dist.Normal(mu, SD), obs=y)

        tree = numpyro_nuts(other, seed=1, sampling=Sampling(chains=2))
        return tree.children["posterior"].dataset["mu"].values.reshape(-1)

    assert abs(np.corrcoef(fit(Y), fit(Y + 0.5))[0, 1]) < 0.15
    assert np.array_equal(fit(Y), fit(Y))
