"""Ranks of a right model are uniform; those of a wrong one are not."""

import dataclasses

import numpy as np
import pytest

from cohort.inference.sbc import Case, calibrated, replicate, uniformity


def normal_mean(prior_sd: float):
    """Five normal outcomes about a mean; the prior that data come from has SD 1, the one that is fitted `prior_sd`."""

    def model(design, outcome=None):
        import numpyro
        import numpyro.distributions as dist

        sd = 1.0 if outcome is None else prior_sd
        mu = numpyro.sample("mu", dist.Normal(0, sd))
        with numpyro.plate("subjects", 5):
            numpyro.sample("y", dist.Normal(mu, design["sigma"]), obs=None if outcome is None else outcome["y"])

    return Case("normal mean", model, {"sigma": np.array(2.0)}, ("y",), ("mu",))


def test_the_right_posterior_has_uniform_ranks():
    (row,) = uniformity(calibrated(normal_mean(1.0), replicates=100, seed=3))
    assert row["inside"]
    assert abs(row["mean"] - 0.5) < 4 * row["se"]
    assert row["diverged"] == 0


def test_a_prior_ten_times_too_narrow_is_found():
    (row,) = uniformity(calibrated(normal_mean(0.1), replicates=100, seed=3))
    assert not row["inside"]
    assert row["beyond"] > 0.05


def test_a_replicate_is_the_same_whichever_others_run_with_it():
    case = normal_mean(1.0)
    case = dataclasses.replace(case, sampling=dataclasses.replace(case.sampling, warmup=100, draws=100))
    together, alone = replicate(case, 7, np.arange(4)), replicate(case, 7, np.array([2]))
    assert together.ranks["mu"][2] == pytest.approx(alone.ranks["mu"][0])
