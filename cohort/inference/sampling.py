"""NUTS in NumPyro or in PyMC, to one form: an ArviZ DataTree with log-likelihood and log-prior, diagnosed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

Engine = Literal["numpyro", "pymc"]


@dataclass(frozen=True)
class Sampling:
    """How a posterior is drawn: chains one after the other, so that its bits do not depend on cores."""

    warmup: int = 1000
    draws: int = 1000
    chains: int = 4
    target_accept: float = 0.9
    dense: bool = False
    max_tree_depth: int = 10


DEFAULT = Sampling()


def numpyro_nuts(
    model: Callable[..., Any],
    *args: Any,
    seed: int,
    sampling: Sampling = DEFAULT,
    priors: Sequence[str] = (),
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    **kwargs: Any,
) -> "xr.DataTree":
    """The posterior of a NumPyro model under `model(*args, **kwargs)`.

    priors: the sites whose prior density is kept, each as a variable of the group `log_prior`: those that a sensitivity
    analysis may scale, which are the top of a hierarchy and never its middle. Groups: posterior, sample_stats,
    log_likelihood, observed_data, and log_prior where sites are named.
    """
    import jax
    import numpyro.infer.initialization  # noqa: F401  (from_numpyro takes it as imported)
    from arviz_base import from_numpyro
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)
    kernel = NUTS(
        model,
        target_accept_prob=sampling.target_accept,
        dense_mass=sampling.dense,
        max_tree_depth=sampling.max_tree_depth,
    )
    mcmc = MCMC(
        kernel,
        num_warmup=sampling.warmup,
        num_samples=sampling.draws,
        num_chains=sampling.chains,
        chain_method="sequential",
        progress_bar=False,
        jit_model_args=False,
    )
    mcmc.run(jax.random.key(seed), *args, extra_fields=("energy", "diverging", "num_steps"), **kwargs)
    tree = from_numpyro(
        mcmc,
        log_likelihood=True,
        coords=None if coords is None else {k: list(v) for k, v in coords.items()},
        dims=None if dims is None else {k: list(v) for k, v in dims.items()},
    )
    if priors:
        _add_log_prior(tree, model, args, kwargs, mcmc.get_samples(group_by_chain=True), priors)
    return tree


def _add_log_prior(
    tree: "xr.DataTree", model: Callable[..., Any], args: tuple, kwargs: dict, drawn: Any, priors: Sequence[str]
) -> None:
    """`from_numpyro` makes no such group, and ArviZ's prior sensitivity needs it."""
    import jax
    import xarray as xr
    from arviz_base import dict_to_dataset
    from numpyro.infer.util import compute_log_probs

    def densities(one: Any) -> dict[str, Any]:
        found, _ = compute_log_probs(model, args, kwargs, one, sum_log_prob=True)
        return {name: found[name] for name in priors}

    chains = jax.jit(jax.vmap(jax.vmap(densities)))(drawn)
    tree["log_prior"] = xr.DataTree(dict_to_dataset({k: np.asarray(v) for k, v in chains.items()}))


def pymc_nuts(model: "pm.Model", *, seed: int, sampling: Sampling = DEFAULT) -> "xr.DataTree":
    """The posterior of a PyMC model; groups as `numpyro_nuts`, log_prior of every free variable."""
    import logging

    import pymc as pm
    from pymc import stats

    logging.getLogger("pymc").setLevel(logging.ERROR)  # it tells of every run
    with model:
        tree = pm.sample(
            draws=sampling.draws,
            tune=sampling.warmup,
            chains=sampling.chains,
            cores=1,
            target_accept=sampling.target_accept,
            random_seed=seed,
            progressbar=False,
        )
        if model.observed_RVs:
            stats.compute_log_likelihood(tree, progressbar=False)
        stats.compute_log_prior(tree, progressbar=False)
    return tree
