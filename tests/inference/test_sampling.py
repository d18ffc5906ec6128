"""Sampling itself: threads that fit at once do not mix their models, and have the bits of fits alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cohort.inference.diagnosis import values
from cohort.inference.sampling import Sampling, numpyro_nuts

SHORT = Sampling(warmup=100, draws=100, chains=2)


def _one(y: np.ndarray) -> None:
    import numpyro
    import numpyro.distributions as dist

    mean = numpyro.sample("mean", dist.Normal(0, 10))
    numpyro.sample("y", dist.Normal(mean, 1), obs=y)


def _two(y: np.ndarray) -> None:
    import numpyro
    import numpyro.distributions as dist

    mean = numpyro.sample("mean", dist.Normal(0, 10))
    spread = numpyro.sample("spread", dist.HalfNormal(2))
    numpyro.sample("y", dist.Normal(mean, spread), obs=y)


@pytest.mark.parametrize("at_once", [4])
def test_fits_in_threads_are_those_of_fits_alone(at_once: int):
    y = np.random.default_rng(1).normal(1, 1, 30)
    wanted = [(_one, 1), (_two, 1)] * 2

    def mean(model_seed) -> np.ndarray:
        model, seed = model_seed
        return values(numpyro_nuts(model, y, seed=seed, sampling=SHORT, priors=["mean"]), "mean")

    alone = {pair: mean(pair) for pair in wanted[:2]}
    with ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(mean, wanted))
    for pair, draws in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(draws, alone[pair])
