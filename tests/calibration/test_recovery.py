"""Parameters are recovered from data like LAPLACE's: 80 % intervals cover 80 % of what was true."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from numpyro.infer import MCMC

from cohort import evidence
from cohort.calibration.fit import distribution, nuts, observed, pooled_variance, priors, probability
from cohort.calibration.response import response

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
REPLICATES, LEVEL = 32, 0.8


@pytest.fixture(scope="module")
def covered(root, laplace, people, evolocumab) -> dict[str, list[bool]]:
    """Per quantity, whether each replicate's interval covers its true value.

    The truth is drawn from the prior, hence the intervals cover exactly at their level if likelihood, sampler and
    transforms are right. Data: means with LAPLACE's standard errors, pooled SDs by a scaled chi-square, counts. No
    replicate is dropped.
    """
    data = observed(laplace, evidence.read(root / "config/evidence/laplace.csv"))
    endpoint = jax.jit(response(laplace, people, evolocumab, 32, laplace.calibration.step.to("d")))
    planned = priors(laplace, evolocumab)
    event, (n, _, on_drug) = next(iter(data.counts.items()))

    def inference(used: Any, mean: Any = None, sd: Any = None, events: Any = None) -> None:
        """Data as arguments: one program for all replicates."""
        seen = dataclasses.replace(data, mean=mean, sd=sd, counts={event: (n, events, on_drug)})
        probability(laplace, evolocumab, endpoint, seen)(used)

    @jax.jit
    def arms_under(draws: Any) -> Any:
        """Mean and structural variance of each arm, (draws, arms) each."""

        def one(draw: Any) -> Any:
            course = endpoint(evolocumab.typical() | draw)
            return jnp.mean(course, axis=1), jnp.var(course, axis=1)

        return jax.lax.map(one, {k: jnp.asarray(v) for k, v in draws.items() if k in evolocumab.typical()})

    rng = np.random.default_rng(20121106)
    kernel = nuts(inference)
    mcmc = MCMC(kernel, num_warmup=300, num_samples=300, num_chains=2, progress_bar=False, jit_model_args=True)
    inside: dict[str, list[bool]] = {}
    for replicate in range(REPLICATES):
        truth = {name: float(distribution(p)[1](rng.standard_normal())) for name, p in planned.items()}
        means, structural = (np.asarray(a)[0] for a in arms_under({k: np.array([v]) for k, v in truth.items()}))
        sds = np.sqrt(pooled_variance(data, structural, truth["sigma"] ** 2))
        off = laplace.calibration.adjustment * rng.standard_normal()
        sd = sds * np.exp(off) * np.sqrt(rng.chisquare(data.df) / data.df)
        risk = scipy.special.expit(truth[f"{event}.background"] + truth[f"{event}.drug"] * on_drug)
        seen = (means + data.se * rng.standard_normal(len(means)), sd, rng.binomial(n, risk))
        mcmc.run(jax.random.key(replicate), np.ones(len(means), dtype=bool), *seen)
        draws = {k: np.asarray(v) for k, v in mcmc.get_samples().items() if k in planned}
        draws |= dict(zip(laplace.arms, np.asarray(arms_under(draws)[0]).T, strict=True))
        for name, true in (truth | dict(zip(laplace.arms, means, strict=True))).items():
            low, high = np.quantile(draws[name], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            inside.setdefault(name, []).append(bool(low <= true <= high))
    print({name: f"{sum(hits)}/{REPLICATES}" for name, hits in inside.items()})
    return inside


@pytest.mark.parametrize(
    "name",
    [
        *("smax", "sc50", "drift", "sigma", "kout", "smax.spread", "sc50.spread"),
        *("treatment_related_ae.background", "treatment_related_ae.drug"),
        *("placebo_q2w", "evolocumab_70_q2w", "evolocumab_140_q2w", "evolocumab_280_q4w", "evolocumab_420_q4w"),
    ],
)
def test_eighty_percent_intervals_cover_eighty_percent(covered, name: str):
    """Within the central 99.9 % of the binomial: 17 to 32 of 32."""
    low, high = scipy.stats.binom.interval(0.999, REPLICATES, LEVEL)
    assert low <= sum(covered[name]) <= high


def test_all_parameters_together_cover_it_more_sharply(covered, laplace):
    """Parameters of a replicate are dependent, replicates are not: the mean share against its own standard error."""
    shares = np.mean([covered[name] for name in laplace.calibration.priors], axis=0)
    assert shares.mean() == pytest.approx(LEVEL, abs=3.3 * shares.std(ddof=1) / np.sqrt(REPLICATES))
