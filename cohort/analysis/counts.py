"""Counts of events by arm over each subject's exposure: conjugate gamma mixtures, Poisson or negative binomial
regression, the rate ratio, and whether the spread and the zeros are those of the model.

    y_i ~ Poisson(mu_i)  or  NegativeBinomial(mean mu_i, variance mu_i + mu_i² dispersion²),  dispersion ~ half-normal
    log mu_i = log exposure_i + intercept + effect[arm_i] + x_i · coefficient

References
----------
[1] Hilbe 2011, Negative Binomial Regression, 2nd ed., doi 10.1017/CBO9780511973420: the form NB2, here with
    1 / phi = dispersion².
[2] Gelman, Meng & Stern 1996, Statistica Sinica 6:733: posterior predictive checks of realised discrepancies.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cohort.analysis.refusal import improper, refuse, unusable
from cohort.analysis.subjects import Subjects, linear, linear_pymc, sites, standardised
from cohort.inference.diagnosis import flat, require, values
from cohort.inference.sampling import DEFAULT, Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

    from cohort.mixture import GammaMixture

Family = Literal["poisson", "negative binomial"]
LEAST = 1e-4  # of dispersion: below it the negative binomial is a Poisson, and its log-gammas cancel


@dataclass(frozen=True)
class Counts:
    """Events of each subject. y: (n,) whole numbers; exposure: (n,) above 0, in the unit that rates are wanted per.
    Errors: AnalysisError of anything else, or of a trial without one event."""

    y: np.ndarray
    exposure: np.ndarray
    subjects: Subjects

    def __post_init__(self) -> None:
        n = len(self.subjects.arm)
        wrong = unusable("y", self.y, n)
        if not wrong:
            y = np.asarray(self.y, float)
            if (bad := y[(y < 0) | (y != np.floor(y))]).size:
                wrong.append(f"y: {bad[0]:g} is no count; write 0, 1, 2, ...")
            elif not y.any():
                wrong.append("y: no events at all; a rate ratio needs one or more")
        wrong += (without := unusable("exposure", self.exposure, n))
        if not without and (bad := np.asarray(self.exposure, float)[np.asarray(self.exposure, float) <= 0]).size:
            wrong.append(f"exposure: {bad[0]:g}; write a positive time, or leave out who was not followed")
        refuse(wrong)
        object.__setattr__(self, "y", np.asarray(self.y, float))
        object.__setattr__(self, "exposure", np.asarray(self.exposure, float))


@dataclass(frozen=True)
class Priors:
    """Normal priors on the log scale: of the control's rate (its log's mean and SD, per unit of exposure), of each
    treatment effect (log rate ratio, centred at none), of each coefficient (per SD); half-normal scale of the
    dispersion, phi to the power of -1/2 [1]."""

    intercept: float = 0.0
    intercept_sd: float = 2.5
    effect_sd: float = 1.5
    coefficient_sd: float = 1.0
    dispersion_scale: float = 1.0

    def __post_init__(self) -> None:
        scales = {k: v for k, v in vars(self).items() if k != "intercept"}
        refuse(improper(scales, {"intercept": self.intercept}))

    def design(self, family: Family) -> dict[str, float]:
        kept = {k: float(v) for k, v in vars(self).items()}
        return kept if family == "negative binomial" else {k: v for k, v in kept.items() if k != "dispersion_scale"}


def model(design: Any, outcome: Any = None) -> None:
    """The regression in NumPyro: negative binomial if the prior has a `dispersion_scale`, else Poisson. design:
    treated, x, log_exposure (n,), prior; outcome: y (n,), or None to draw it."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    mean: Any = jnp.exp(design["log_exposure"] + linear(design))
    obs = None if outcome is None else outcome["y"]
    if "dispersion_scale" not in design["prior"]:
        numpyro.sample("y", dist.Poisson(mean), obs=obs)
        return
    dispersion: Any = numpyro.sample("dispersion", dist.HalfNormal(design["prior"]["dispersion_scale"]))
    phi: Any = 1 / jnp.maximum(dispersion, LEAST) ** 2  # [1]
    numpyro.sample("y", dist.NegativeBinomial2(mean, phi), obs=obs)


def fit(
    data: Counts,
    priors: Priors | None = None,
    *,
    family: Family = "negative binomial",
    seed: int,
    sampling: Sampling = DEFAULT,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """The posterior of the regression. Errors: NotConverged; AnalysisError of an unknown family."""
    refuse(
        []
        if family in ("poisson", "negative binomial")
        else [f"family: '{family}'; write poisson or negative binomial"]
    )
    subjects, prior = data.subjects, (priors or Priors()).design(family)
    design = subjects.design() | {"log_exposure": np.log(data.exposure), "prior": prior}
    names = [*sites(subjects), *(["dispersion"] if family == "negative binomial" else [])]
    if engine == "pymc":
        import pymc as pm

        with pm.Model(coords=subjects.labels()["coords"]) as twin:
            mean = pm.math.exp(design["log_exposure"] + linear_pymc(design))
            if family == "poisson":
                pm.Poisson("y", mean, observed=data.y)
            else:
                dispersion: Any = pm.HalfNormal("dispersion", prior["dispersion_scale"])
                least: Any = pm.math.maximum(dispersion, LEAST)
                pm.NegativeBinomial("y", mu=mean, alpha=1 / least**2, observed=data.y)
        tree = pymc_nuts(twin, seed=seed, sampling=sampling)
    else:
        outcome = {"y": data.y}
        tree = numpyro_nuts(model, design, outcome, seed=seed, sampling=sampling, priors=names, **subjects.labels())
    require(tree, names, what=f"the {family} regression")
    return tree


def rates(
    tree: "xr.DataTree",
    data: Counts,
    arm: str,
    *,
    population: Mapping[str, Any] | None = None,
    bootstrap_seed: int | None = None,
) -> "xr.Dataset":
    """Marginal rates per unit of exposure, as draws (chain, draw): `control`, `treated`, `difference`, `ratio`. The
    ratio does not hang on the population, exp(effect). Arguments and errors as `binary.standardised`."""
    import xarray as xr

    control, treated = standardised(tree, data.subjects, arm, np.exp, population, bootstrap_seed)
    draws = {"control": control, "treated": treated, "difference": treated - control, "ratio": treated / control}
    return xr.Dataset({k: (("chain", "draw"), v) for k, v in draws.items()})


@dataclass(frozen=True)
class Check:
    """A posterior predictive check [2]. observed, replicated: posterior means of the statistic in the data and in
    replicates; p: how often a replicate's is the greater or equal; mcse: of p."""

    statistic: str
    observed: float
    replicated: float
    p: float
    mcse: float


def checks(tree: "xr.DataTree", data: Counts, *, seed: int) -> tuple[Check, Check]:
    """Overdispersion, Pearson's sum of (y - mu)² / mu over n: of a Poisson fit a small p says that counts spread more
    than Poisson, of a negative binomial one more than that. Then the share of zeros: a small p says that the model
    makes too few; it is told, and no zero-inflated model is fitted for it."""
    design, rng = data.subjects.design(), np.random.default_rng(seed)
    shape = values(tree, "intercept").shape
    eta = flat(tree, "intercept")[:, None] + flat(tree, "effect") @ design["treated"].T
    if data.subjects.encoding.names:
        eta = eta + flat(tree, "coefficient") @ design["x"].T
    mean = np.exp(eta + np.log(data.exposure))
    rate = mean
    if "dispersion" in tree.children["posterior"].dataset:
        phi = 1 / np.maximum(flat(tree, "dispersion")[:, None], LEAST) ** 2
        rate = mean * rng.gamma(phi, 1 / phi, mean.shape)
    replicates = rng.poisson(rate)

    def pearson(y: np.ndarray) -> np.ndarray:
        return ((y - mean) ** 2 / mean).mean(axis=1)

    def zeros(y: np.ndarray) -> np.ndarray:
        return np.broadcast_to((y == 0).mean(axis=-1), len(mean))

    return (
        _check("Pearson dispersion", pearson(data.y), pearson(replicates), shape),
        _check("share of zeros", zeros(data.y), zeros(replicates), shape),
    )


def _check(name: str, observed: np.ndarray, replicated: np.ndarray, shape: tuple[int, ...]) -> Check:
    from arviz_stats import ess

    over = (replicated >= observed).astype(float)
    p = float(over.mean())
    independent = float(ess(over.reshape(shape))) if 0 < p < 1 else over.size
    bound = max(p * (1 - p), 1 / over.size)  # where none or all are greater, one draw's worth
    return Check(name, float(observed.mean()), float(replicated.mean()), p, math.sqrt(bound / independent))


def two_arms(
    events: tuple[int, int], exposure: tuple[float, float], control: "GammaMixture", treated: "GammaMixture"
) -> tuple["GammaMixture", "GammaMixture"]:
    """The posterior of each arm's rate, control first, by conjugacy; `binary.probability` compares them. Errors:
    AnalysisError of impossible counts or exposures."""
    wrong = []
    for name, y, t in zip(("control", "treated"), events, exposure, strict=True):
        if not (math.isfinite(y) and y == int(y) and y >= 0):
            wrong.append(f"{name}: {y} events; write a whole number, 0 or more")
        if not 0 < t < math.inf:
            wrong.append(f"{name}: exposure {t}; write a positive, finite time")
    refuse(wrong)
    return control.updated(events[0], exposure[0]), treated.updated(events[1], exposure[1])


def case(family: Family = "negative binomial") -> Case:
    """Two arms, a covariate and unequal exposure, for simulation-based calibration."""
    n = 30
    x = np.linspace(-1.5, 1.5, n)[:, None]
    treated = (np.arange(n) % 2).astype(float)[:, None]
    prior = Priors(0.5, 1.0, 1.0, 0.5, 0.7).design(family)
    design = {"treated": treated, "x": x, "log_exposure": np.log(np.linspace(0.5, 2, n)), "prior": prior}
    over = ("dispersion",) if family == "negative binomial" else ()
    return Case(f"{family} regression", model, design, ("y",), ("intercept", "effect", "coefficient", *over))
