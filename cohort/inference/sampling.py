"""NUTS in NumPyro or in PyMC, to one form: an ArviZ DataTree with log-likelihood and log-prior, diagnosed."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

Engine = Literal["numpyro", "pymc"]
# NumPyro's effect handlers are one stack of the process: two threads that trace models at once mix their sites. What
# is traced then compiles and runs beside others.
_TRACING = threading.RLock()


@dataclass(frozen=True)
class Sampling:
    """How a posterior is drawn: chains one after the other, so that its bits do not depend on cores. dense: whether the
    mass matrix is, or the groups of sites that share a dense block."""

    warmup: int = 1000
    draws: int = 1000
    chains: int = 4
    target_accept: float = 0.9
    dense: bool | Sequence[tuple[str, ...]] = False
    max_tree_depth: int = 10

    @property
    def dense_mass(self) -> Any:
        """`dense` as NumPyro takes it."""
        return self.dense if isinstance(self.dense, bool) else list(self.dense)


DEFAULT = Sampling()


def numpyro_nuts(
    model: Callable[..., Any],
    *args: Any,
    seed: int,
    sampling: Sampling = DEFAULT,
    priors: Sequence[str] = (),
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    start: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> "xr.DataTree":
    """The posterior of a NumPyro model under `model(*args, **kwargs)`.

    priors: the sites whose prior density is kept, each as a variable of the group `log_prior`: those that a sensitivity
    analysis may scale, which are the top of a hierarchy and never its middle. start: where every chain begins, by site;
    at random if left out, which a model of curves may not survive. Groups: posterior, sample_stats, log_likelihood,
    observed_data, and log_prior where sites are named.
    """
    import jax
    import xarray as xr
    from arviz_base import from_dict
    from numpyro.infer import MCMC, NUTS, init_to_uniform, init_to_value, log_likelihood

    jax.config.update("jax_enable_x64", True)
    kernel = NUTS(
        model,
        target_accept_prob=sampling.target_accept,
        dense_mass=sampling.dense_mass,
        max_tree_depth=sampling.max_tree_depth,
        init_strategy=init_to_uniform if start is None else init_to_value(values=dict(start)),
    )

    def chain(key: Any) -> tuple[Any, Any]:
        mcmc = MCMC(
            kernel,
            num_warmup=sampling.warmup,
            num_samples=sampling.draws,
            chain_method="vectorized",
            progress_bar=False,
        )
        mcmc.run(key, *args, extra_fields=("energy", "diverging", "num_steps"), **kwargs)
        return mcmc.get_samples(), mcmc.get_extra_fields()

    # One program for all chains, which run one after the other: left to itself, NumPyro compiles one for each.
    with _TRACING:
        observed = _observed(model, args, kwargs)
    keys = jax.random.split(jax.random.key(_own_seed(seed, _name(model), observed)), sampling.chains)
    drawn, extra = _run(lambda keys: jax.lax.map(chain, keys), keys)
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in drawn.items()}
    likely = _run(lambda draws: log_likelihood(model, draws, *args, **kwargs), flat)
    shape = (sampling.chains, sampling.draws)
    groups = {
        "posterior": drawn,
        "sample_stats": {
            "energy": extra["energy"],
            "diverging": extra["diverging"],
            "n_steps": extra["num_steps"],
            "reached_max_treedepth": extra["num_steps"] >= 2**sampling.max_tree_depth - 1,
        },
        "log_likelihood": {name: np.asarray(v).reshape(*shape, *v.shape[1:]) for name, v in likely.items()},
        "observed_data": observed,
    }
    if priors:
        groups["log_prior"] = _log_prior(model, args, kwargs, drawn, priors)
    tree = xr.DataTree()
    for name, group in groups.items():
        if not group:
            continue
        arrays = {k: np.asarray(v) for k, v in group.items()}
        # A site is by arm in the posterior and one number in the prior's density: dims where they fit.
        beside = 0 if name == "observed_data" else 2  # chain and draw
        fit = {k: list(v) for k, v in (dims or {}).items() if k in arrays and len(v) == arrays[k].ndim - beside}
        used = {d for names in fit.values() for d in names}
        own = from_dict({name: arrays}, coords={k: list(v) for k, v in (coords or {}).items() if k in used}, dims=fit)
        tree[name] = own[name]
    return tree


def _run(function: Callable[[Any], Any], given: Any) -> Any:
    """`function(given)`, compiled: traced while no other thread traces, and run with whoever else runs."""
    import jax

    with _TRACING:
        lowered = jax.jit(function).lower(given)
    return lowered.compile()(given)


def _name(model: Callable[..., Any]) -> str:
    """Of the function, also where some of its arguments are given already."""
    return getattr(getattr(model, "func", model), "__qualname__", type(model).__qualname__)


def _own_seed(seed: int, name: str, observed: Mapping[str, Any]) -> int:
    """A seed of this model and these data: two fits with one `seed` must not share their random numbers, or their
    draws would be correlated where their posteriors are not."""
    found = hashlib.sha256(f"{seed} {name}".encode())
    for site, values in sorted(observed.items()):
        found.update(site.encode() + np.ascontiguousarray(np.asarray(values, float)).tobytes())
    return int.from_bytes(found.digest()[:4], "big")


def _observed(model: Callable[..., Any], args: tuple, kwargs: dict) -> dict[str, Any]:
    """What the model conditions on, by site."""
    from numpyro import handlers

    trace = handlers.trace(handlers.seed(model, 0)).get_trace(*args, **kwargs)
    return {n: s["value"] for n, s in trace.items() if s["type"] == "sample" and s["is_observed"]}


def _log_prior(
    model: Callable[..., Any], args: tuple, kwargs: dict, drawn: Any, priors: Sequence[str]
) -> dict[str, Any]:
    """Log density of each named site at each draw: ArviZ's prior sensitivity needs it."""
    import jax
    from numpyro.infer.util import compute_log_probs

    def densities(one: Any) -> dict[str, Any]:
        found, _ = compute_log_probs(model, args, kwargs, one, sum_log_prob=True)
        return {name: found[name] for name in priors}

    return _run(jax.vmap(jax.vmap(densities)), drawn)


def pymc_nuts(model: "pm.Model", *, seed: int, sampling: Sampling = DEFAULT) -> "xr.DataTree":
    """The posterior of a PyMC model; groups as `numpyro_nuts`, log_prior of every free variable."""
    import logging

    import pymc as pm
    from pymc import stats

    logging.getLogger("pymc").setLevel(logging.ERROR)  # it tells of every run
    held = [model.rvs_to_values[rv] for rv in model.observed_RVs]
    own = _own_seed(seed, "pymc", {str(v.name): v.eval() for v in held})
    with model:
        tree = pm.sample(
            draws=sampling.draws,
            tune=sampling.warmup,
            chains=sampling.chains,
            cores=1,
            target_accept=sampling.target_accept,
            random_seed=own,
            progressbar=False,
        )
        if model.observed_RVs:
            stats.compute_log_likelihood(tree, progressbar=False)
        stats.compute_log_prior(tree, progressbar=False)
    return tree
