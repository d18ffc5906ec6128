"""Simulation-based calibration: whether a model's posterior is the one of its own prior and likelihood.

Parameters are drawn from the prior, data from the parameters, and the posterior is drawn for those data: over many
replicates the rank of a parameter among its posterior draws is uniform [1], whatever the model. Libraries for this
compile the sampler anew for each replicate; here it is compiled once and mapped over the data.

References
----------
[1] Talts et al. 2018, arXiv:1804.06788.
[2] Säilynoja, Bürkner, Vehtari 2022, Statistics and Computing 32:32: simultaneous bands of the ECDF.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from cohort.inference.sampling import Sampling
from cohort.record import digest, hardware, source_digest
from cohort.store import Job, Store, run

TRACING = threading.Lock()  # NumPyro's handlers are one stack for all threads
THIN = 5
BATCH = 50  # replicates of a task; ranks do not depend on it


@dataclass(frozen=True)
class Case:
    """A model to check. `model(design, outcome)`: a NumPyro model; with `outcome` None it draws its data, else
    `outcome` holds an array for each site named in `observed`. `design`: what does not vary, a pytree of arrays.
    `parameters`: the sites, sampled or deterministic, whose ranks are taken."""

    name: str
    model: Callable[[Any, Any], Any]
    design: Any
    observed: tuple[str, ...]
    parameters: tuple[str, ...]
    sampling: Sampling = field(default_factory=lambda: Sampling(warmup=500, draws=500, chains=1))


@dataclass(frozen=True)
class Ranks:
    """Of each parameter (an element of one, such as `theta[2]`): ranks (replicates,) among `draws` thinned posterior
    draws; `diverged`: (replicates,) transitions that diverged. No replicate is left out."""

    name: str
    draws: int
    ranks: dict[str, np.ndarray]
    diverged: np.ndarray


def replicate(case: Case, seed: int, numbers: np.ndarray, thin: int = THIN) -> Ranks:
    """The ranks of the replicates with these `numbers`: each has a stream of its own, whichever others run with it."""
    import jax
    import jax.numpy as jnp
    from numpyro.infer import MCMC, NUTS, Predictive

    jax.config.update("jax_enable_x64", True)
    sites, plan = [*case.parameters, *case.observed], case.sampling

    def one(number: Any) -> tuple[dict[str, Any], Any]:
        prior, posterior = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
        drawn = Predictive(case.model, num_samples=1, return_sites=sites)(prior, case.design, None)
        drawn = {name: value[0] for name, value in drawn.items()}
        kernel = NUTS(
            case.model,
            target_accept_prob=plan.target_accept,
            dense_mass=plan.dense_mass,
            max_tree_depth=plan.max_tree_depth,
        )
        mcmc = MCMC(
            kernel, num_warmup=plan.warmup, num_samples=plan.draws, chain_method="vectorized", progress_bar=False
        )
        mcmc.run(posterior, case.design, {n: drawn[n] for n in case.observed}, extra_fields=("diverging",))
        found = mcmc.get_samples()
        ranks = {n: jnp.sum(found[n][::thin] < drawn[n], axis=0) for n in case.parameters}
        return ranks, jnp.sum(mcmc.get_extra_fields()["diverging"])

    with TRACING:
        program = jax.jit(lambda all_of_them: jax.lax.map(one, all_of_them)).lower(jnp.asarray(numbers)).compile()
    ranks, diverged = jax.device_get(program(jnp.asarray(numbers)))
    apart = {}
    for name, values in ranks.items():
        values = np.asarray(values).reshape(len(numbers), -1)
        names = [name] if values.shape[1] == 1 else [f"{name}[{i}]" for i in range(values.shape[1])]
        apart |= dict(zip(names, values.T, strict=True))
    return Ranks(case.name, len(range(0, plan.draws, thin)), apart, np.asarray(diverged))


def ranked(case: Case, seed: int, numbers: np.ndarray) -> pl.DataFrame:
    """The ranks of these replicates as a table: a column for each parameter, and how many transitions diverged."""
    found = replicate(case, seed, numbers)
    return pl.DataFrame({**found.ranks, "|diverged": found.diverged})


def _hashed(value: Any) -> Any:
    """What determines a pytree of arrays and plain values, as JSON can hold it."""
    import jax

    leaves, shape = jax.tree.flatten(value)
    return [str(shape), *([np.shape(v), digest(np.ascontiguousarray(v).tobytes())] for v in leaves)]


def calibrated(
    case: Case,
    *,
    replicates: int = 100,
    seed: int = 1,
    store: Store | None = None,
    client: Any = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Ranks:
    """The ranks of so many replicates, in batches: kept in a `store` if there is one, and found there again; then as
    tasks of a Dask `client` if there is one."""
    batches = np.array_split(np.arange(replicates), max(1, -(-replicates // BATCH)))
    if store is None:
        parts = []
        for done, batch in enumerate(batches, 1):
            parts.append(ranked(case, seed, batch))
            progress(done, len(batches))
    else:
        rests = [case.name, vars(case.sampling), case.observed, case.parameters, _hashed(case.design), seed]
        known = digest([rests, source_digest(), hardware()])
        jobs = [Job(digest([known, batch.tolist()])[:32], ranked, (case, seed, batch)) for batch in batches]
        parts = []
        for key in run(store, jobs, client=client):
            parts.append(store.read(key))
            progress(len(parts), len(batches))
    together = pl.concat(parts)
    ranks = {name: together[name].to_numpy() for name in together.columns if name != "|diverged"}
    return Ranks(case.name, len(range(0, case.sampling.draws, THIN)), ranks, together["|diverged"].to_numpy())


def uniformity(found: Ranks, *, level: float = 0.95) -> list[dict[str, Any]]:
    """Per parameter: mean rank as a share with its standard error, whether the ECDF of the ranks keeps within its
    simultaneous band [2] at `level`, and by how much it leaves it at most (0 where it does not).

    Of k parameters of a right model, k times (1 - level) leave their band. Replicates whose transitions diverged are
    counted beside, not left out.
    """
    from arviz_stats.ecdf_utils import ecdf_pit

    rows = []
    for name, ranks in found.ranks.items():
        n = len(ranks)
        # A rank of a discrete set is spread evenly over its own step.
        spread = np.random.default_rng(len(name) + n).uniform(size=n)
        shares = (ranks + spread) / (found.draws + 1)
        _, ecdf, low, high = ecdf_pit(shares, level, 1000, rng=np.random.default_rng(1))
        outside = float(np.max(np.maximum(low - ecdf, ecdf - high)))
        rows.append(
            {
                "model": found.name,
                "parameter": name,
                "replicates": n,
                "mean": float(shares.mean()),
                "se": float(np.sqrt(1 / 12 / n)),
                "inside": outside <= 1e-12,
                "beyond": max(outside, 0.0),
                "diverged": int((found.diverged > 0).sum()),
            }
        )
    return rows
