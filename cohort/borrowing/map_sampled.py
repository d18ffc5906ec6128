"""The MAP prior by NUTS, in NumPyro or in PyMC: a second way to what `map` finds by quadrature, and its calibration."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.borrowing import checks
from cohort.borrowing.scale import Scale
from cohort.borrowing.trials import Binomial, Normal, Poisson, Trials
from cohort.inference.sampling import DEFAULT, Engine, Sampling

if TYPE_CHECKING:
    import xarray as xr

    from cohort.inference.sbc import Case


def model(family: type[Trials], mu: tuple[float, float], tau: Scale) -> Callable[[Any, Any], None]:
    """The model of one kind of data. Its design is {"size": (trials,)}: subjects, exposures or standard errors; sites
    mu, tau and `new`, the new trial's parameter, on the link scale; observed `y`, (trials,)."""

    def made(design: Any, outcome: Any = None) -> None:
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        of_tau = {
            "half-normal": lambda: dist.HalfNormal(tau.scale),
            "half-cauchy": lambda: dist.HalfCauchy(tau.scale),
            "half-t": lambda: dist.FoldedDistribution(dist.StudentT(tau.df, 0.0, tau.scale)),
            "exponential": lambda: dist.Exponential(1 / tau.scale),
            "uniform": lambda: dist.Uniform(0.0, tau.scale),
        }[tau.kind]()
        size = jnp.asarray(design["size"])
        m = numpyro.sample("mu", dist.Normal(*mu))
        s = numpyro.sample("tau", of_tau)
        numpyro.deterministic("new", m + s * numpyro.sample("new|standard", dist.Normal(0, 1)))
        if family is Normal:
            likelihood: Any = dist.Normal(m, jnp.hypot(size, s))  # theta_k summed out, in closed form
        else:
            theta = m + s * numpyro.sample("theta|standard", dist.Normal(0, 1).expand([len(size)]))
            likelihood = (
                dist.Binomial(size, logits=theta) if family is Binomial else dist.Poisson(size * jnp.exp(theta))
            )
        numpyro.sample("y", likelihood, obs=None if outcome is None else jnp.asarray(outcome["y"]))

    return made


def _pymc(family: type[Trials], size: np.ndarray, y: np.ndarray, of_mu: tuple[float, float], prior: Scale) -> Any:
    import pymc as pm

    with pm.Model() as made:
        mu = pm.Normal("mu", *of_mu)
        tau = {
            "half-normal": lambda: pm.HalfNormal("tau", prior.scale),
            "half-cauchy": lambda: pm.HalfCauchy("tau", prior.scale),
            "half-t": lambda: pm.HalfStudentT("tau", nu=prior.df, sigma=prior.scale),
            "exponential": lambda: pm.Exponential("tau", scale=prior.scale),
            "uniform": lambda: pm.Uniform("tau", 0, prior.scale),
        }[prior.kind]()
        pm.Deterministic("new", mu + tau * pm.Normal("new|standard"))
        if family is Normal:
            pm.Normal("y", mu, pm.math.sqrt(size**2 + tau**2), observed=y)
            return made
        theta = mu + tau * pm.Normal("theta|standard", shape=len(size))
        if family is Binomial:
            pm.Binomial("y", n=size.astype(int), logit_p=theta, observed=y.astype(int))
        else:
            pm.Poisson("y", size * pm.math.exp(theta), observed=y.astype(int))
    return made


def fit(
    trials: Trials,
    *,
    mu: tuple[float, float],
    tau: Scale,
    seed: int,
    sampling: Sampling = DEFAULT,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """Posterior of mu, tau and `new`, on the link scale. Errors: BorrowingError of improper priors; NotConverged."""
    from cohort.inference.diagnosis import require
    from cohort.inference.sampling import numpyro_nuts, pymc_nuts

    checks.refuse(
        checks.numbers("mu prior, mean", mu[0])
        + checks.positive("mu prior, SD", mu[1])
        + checks.known("engine", engine, ["numpyro", "pymc"])
    )
    family, y = type(trials), trials.y if isinstance(trials, Normal) else trials.events
    size = trials.n if isinstance(trials, Binomial) else trials.exposure if isinstance(trials, Poisson) else trials.se
    if engine == "numpyro":
        sites = ["mu", "tau"]
        made = model(family, mu, tau)
        tree = numpyro_nuts(made, {"size": size}, {"y": y}, seed=seed, sampling=sampling, priors=sites)
    else:
        tree = pymc_nuts(_pymc(family, size, y, mu, tau), seed=seed, sampling=sampling)
    require(tree, ["mu", "tau", "new"], what="the meta-analytic-predictive prior")
    return tree


def case() -> "Case":
    """For simulation-based calibration: five small trials with a binary outcome."""
    from cohort.inference.sbc import Case

    made, size = model(Binomial, (0.0, 1.0), Scale(0.5)), {"size": np.full(5, 20.0)}
    return Case("MAP, binary outcome", made, size, ("y",), ("mu", "tau", "new"))
