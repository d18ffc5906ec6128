"""How far a real trial is from the model: one difference that its arms share, and one of each arm beside it.

    observed_k ~ Normal(mu_k, SE_k²),  mu_k = theta_k + trial + arm_k,
    theta ~ MVN(predicted mean and covariance),  trial ~ Normal(0, discrepancy²),  arm_k ~ Normal(0, arm_discrepancy²)

Arms of one trial are no replicates, so the shared part stays as uncertain as one trial leaves it. The same model is
written for NumPyro and for PyMC.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cohort.comparison.learning import evidence_of
from cohort.comparison.predict import ArmPrediction, ComparisonError
from cohort.inference.diagnosis import convergence, reasons_to_refuse
from cohort.inference.sampling import Sampling, numpyro_nuts, pymc_nuts

if TYPE_CHECKING:
    import xarray as xr


def moments(predictions: list[ArmPrediction]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (arms,) and Cholesky factor (arms, arms) of the population means under parameter uncertainty."""
    found = evidence_of(predictions)
    return found.mean, np.linalg.cholesky(found.cov + 1e-9 * np.trace(found.cov) * np.eye(len(predictions)))


def exact(
    mean: np.ndarray, factor: np.ndarray, y: np.ndarray, se: np.ndarray, trial: float, arm: float
) -> dict[str, Any]:
    """The posterior in closed form: everything is normal. Returns mean and SD of the shared part and of each mu."""
    k = len(y)
    prior = factor @ factor.T + trial**2 * np.ones((k, k)) + arm**2 * np.eye(k)
    gain = np.linalg.inv(prior + np.diag(se**2))
    mu = mean + prior @ gain @ (y - mean)
    mu_cov = prior - prior @ gain @ prior
    with_trial = trial**2 * np.ones(k)
    shared = float(with_trial @ gain @ (y - mean))
    shared_var = float(trial**2 - with_trial @ gain @ with_trial)
    return {"trial": shared, "trial_sd": shared_var**0.5, "mu": mu, "mu_sd": np.sqrt(np.diag(mu_cov))}


def fit(
    arms: list[str],
    predictions: list[ArmPrediction],
    y: np.ndarray,
    se: np.ndarray,
    *,
    trial: float,
    arm: float,
    seed: int,
    engine: Literal["numpyro", "pymc"] = "numpyro",
    draws: int = 1000,
) -> "xr.DataTree":
    """Posterior of `trial`, `own` and `mu` by NUTS. Errors: ComparisonError if R-hat > 1.01 or one diverged."""
    mean, factor = moments(predictions)
    sample = {"numpyro": _numpyro, "pymc": _pymc}[engine]
    tree = sample(arms, mean, factor, y, se, trial, arm, seed, draws)
    found = convergence(tree, ["trial", "mu"])
    if wrong := reasons_to_refuse(found):
        raise ComparisonError(f"the comparison did not converge: {'; '.join(wrong)}")
    tree.attrs |= {"engine": engine, "r_hat": found["r_hat"]}
    return tree


def _numpyro(
    arms: Any, mean: Any, factor: Any, y: Any, se: Any, trial: float, arm: float, seed: int, draws: int
) -> Any:
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    def model() -> None:
        shared = numpyro.deterministic("trial", trial * numpyro.sample("trial|standard", dist.Normal(0, 1)))
        with numpyro.plate("arms", len(y)):
            theta = numpyro.sample("theta|standard", dist.Normal(0, 1))
            own = numpyro.deterministic("own", arm * numpyro.sample("own|standard", dist.Normal(0, 1)))
        mu = numpyro.deterministic("mu", jnp.asarray(mean) + jnp.asarray(factor) @ theta + shared + own)
        numpyro.sample("observed", dist.Normal(mu, jnp.asarray(se)), obs=jnp.asarray(y))

    return numpyro_nuts(
        model,
        seed=seed,
        sampling=Sampling(warmup=draws, draws=draws, target_accept=0.8),
        priors=["trial|standard", "own|standard"],
        coords={"arm": arms},
        dims={"mu": ["arm"], "own": ["arm"], "observed": ["arm"]},
    )


def _pymc(arms: Any, mean: Any, factor: Any, y: Any, se: Any, trial: float, arm: float, seed: int, draws: int) -> Any:
    import pymc as pm

    with pm.Model(coords={"arm": arms}) as model:
        shared = pm.Deterministic("trial", trial * pm.Normal("trial|standard", 0, 1))
        theta = pm.Normal("theta|standard", 0, 1, dims="arm")
        own = pm.Deterministic("own", arm * pm.Normal("own|standard", 0, 1, dims="arm"), dims="arm")
        mu = pm.Deterministic("mu", mean + pm.math.dot(factor, theta) + shared + own, dims="arm")
        pm.Normal("observed", mu, se, observed=y, dims="arm")
    return pymc_nuts(model, seed=seed, sampling=Sampling(warmup=draws, draws=draws, target_accept=0.8))
