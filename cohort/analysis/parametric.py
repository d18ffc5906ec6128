"""Weibull and log-normal survival with right- or interval-censored times, as hazard ratio or as ratio of times.

log T = location - (or +) effect + sigma * error. A Weibull has both readings [1]: with shape k the log hazard ratio is
-k times the log ratio of times. A log-normal has no constant hazard ratio, and none is given.

References
----------
[1] Kalbfleisch and Prentice 2002, The Statistical Analysis of Failure Time Data, 2nd ed., sections 2.2 and 2.3.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr

from cohort.analysis import AnalysisError
from cohort.analysis.restricted import Curves
from cohort.analysis.survival import Survival, centred, improper, require_events
from cohort.inference.diagnosis import require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

Family = Literal["weibull_ph", "weibull_aft", "lognormal"]
FAMILIES = ("weibull_ph", "weibull_aft", "lognormal")


@dataclass(frozen=True)
class Priors:
    """What is known before the data. location, the log of the control's scale, ~ Normal(centre, location_sd); centre
    None: log of all follow-up over all events, so that a result does not depend on the unit. shape k of a Weibull, or
    SD sigma of log times, ~ LogNormal(0, shape_sd). effect, a log hazard ratio ("weibull_ph") or a log ratio of times,
    ~ Normal(0, effect_sd). Coefficients, on the same scale, per SD of the covariate, ~ Normal(0, coefficient_sd)."""

    centre: float | None = None
    location_sd: float = 2.5
    shape_sd: float = 1.0
    effect_sd: float = 2.0
    coefficient_sd: float = 1.0

    def __post_init__(self) -> None:
        wrong = improper(self, "log time")
        if wrong:
            raise AnalysisError("; ".join(wrong))


def design(data: Survival, family: Family, priors: Priors) -> dict[str, Any]:
    """What the model takes: indicators of treatment (n, arms - 1), covariates (n, p), `stop` (n,) when a subject that
    has had no event would be censored (for drawing data only), and hyperparameters. The family is which are there."""
    centre = math.log(data.time.sum() / data.event.sum()) if priors.centre is None else priors.centre
    scale = {"centre": centre, "location": priors.location_sd, "effect": priors.effect_sd}
    return {
        "treated": np.eye(len(data.arms))[data.arm][:, 1:],
        "x": centred(data),
        "stop": np.where(data.event, data.time.max(), data.time),
        "priors": scale | {"coefficient": priors.coefficient_sd, _SPREAD[family]: priors.shape_sd},
    }


_SPREAD = {"weibull_ph": "shape", "weibull_aft": "shape_aft", "lognormal": "sigma"}


def _family(d: dict[str, Any]) -> Family:
    """By the keys of the priors: a design is a pytree of arrays, in which no text can stand."""
    return next(f for f in FAMILIES if _SPREAD[f] in d["priors"])


def model(d: dict[str, Any], outcome: dict[str, Any] | None = None) -> None:
    """NumPyro model of `time` (n,) and `event` (n,), censored at `stop` where drawn. With `upper` (n,) in `outcome`,
    an event lies in (time, upper] where that is a number."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    family, p = _family(d), d["priors"]
    treated, x, stop = (jnp.asarray(d[k]) for k in ("treated", "x", "stop"))
    location = numpyro.sample("location", dist.Normal(p["centre"], p["location"]))
    lognormal = family == "lognormal"
    spread: Any = numpyro.sample("sigma" if lognormal else "shape", dist.LogNormal(0.0, p[_SPREAD[family]]))
    effect = jnp.zeros(len(stop))
    to_time = -1 / spread if family == "weibull_ph" else 1.0
    if n := treated.shape[1]:
        beta = numpyro.sample("effect", dist.Normal(0, p["effect"]).expand([n]).to_event(1))
        effect = treated @ beta
        numpyro.deterministic("log_time_ratio", to_time * beta)
        if not lognormal:
            numpyro.deterministic("log_hr", -spread * to_time * beta)
    if n := x.shape[1]:
        effect = effect + x @ numpyro.sample("coefficient", dist.Normal(0, p["coefficient"]).expand([n]).to_event(1))
    mu = location + to_time * effect
    base = dist.LogNormal(mu, spread) if lognormal else dist.Weibull(jnp.exp(mu), spread)
    if outcome is None:
        latent = numpyro.sample("latent", base)
        numpyro.deterministic("time", jnp.minimum(latent, stop))
        numpyro.deterministic("event", latent <= stop)
        return
    time, event = jnp.asarray(outcome["time"]), jnp.asarray(outcome["event"])
    if "upper" not in outcome:
        numpyro.sample("time", dist.RightCensoredDistribution(base, censored=event == 0), obs=time)
        return
    # From 0 an interval is left-censored: a density at 0 has no gradient.
    within = ~jnp.isnan(outcome["upper"])
    bounds = jnp.stack([time, jnp.where(within, outcome["upper"], time)], axis=-1)
    interval = dist.IntervalCensoredDistribution(base, within & (time == 0), event == 0)
    numpyro.sample("time", interval, obs=bounds)


def _pymc(d: dict[str, Any], data: Survival) -> Any:
    import pymc as pm

    family, p = _family(d), d["priors"]
    with pm.Model() as built:
        location = pm.Normal("location", p["centre"], p["location"])
        spread = pm.LogNormal("sigma" if family == "lognormal" else "shape", 0, p[_SPREAD[family]])
        to_time = -1 / spread if family == "weibull_ph" else 1.0
        effect = np.zeros(len(data.time))
        if n := d["treated"].shape[1]:
            beta = pm.Normal("effect", 0, p["effect"], shape=n)
            effect = effect + pm.math.dot(d["treated"], beta)
            pm.Deterministic("log_time_ratio", to_time * beta)
            if family != "lognormal":
                pm.Deterministic("log_hr", -spread * to_time * beta)
        if n := d["x"].shape[1]:
            effect = effect + pm.math.dot(d["x"], pm.Normal("coefficient", 0, p["coefficient"], shape=n))
        mu = location + to_time * effect
        base = pm.LogNormal.dist(mu, spread) if family == "lognormal" else pm.Weibull.dist(spread, pm.math.exp(mu))
        pm.Censored("time", base, lower=None, upper=np.where(data.event, np.inf, data.time), observed=data.time)
    return built


def fit(
    data: Survival,
    family: Family,
    *,
    seed: int,
    priors: Priors | None = None,
    sampling: Sampling | None = None,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """Posterior of `location`, `shape` or `sigma`, `effect` and `log_time_ratio` (treatments,), `log_hr` of a Weibull,
    and `coefficient` (p,). PyMC takes right-censored times only. Errors: AnalysisError where no conclusion can be
    drawn, NotConverged."""
    if family not in FAMILIES:
        raise AnalysisError(f"family: '{family}' is unknown; write one of {', '.join(FAMILIES)}")
    require_events(data.counts(), data.arms, f"a {family} model")
    if engine == "pymc" and data.upper is not None:
        raise AnalysisError("engine: PyMC takes no event known by an interval here; write 'numpyro'")
    d, sampling = design(data, family, priors or Priors()), sampling or Sampling()
    names = ["location", "sigma" if family == "lognormal" else "shape"]
    names += (["effect"] if len(data.arms) > 1 else []) + (["coefficient"] if data.covariates else [])
    if engine == "pymc":
        tree = pymc_nuts(_pymc(d, data), seed=seed, sampling=sampling)
    else:
        seen = {"time": data.time, "event": data.event} | ({} if data.upper is None else {"upper": data.upper})
        tree = numpyro_nuts(
            model, d, seen, seed=seed, sampling=sampling, priors=names,
            dims={k: ["treatment"] for k in ("effect", "log_hr", "log_time_ratio")} | {"coefficient": ["covariate"]},
            coords={"treatment": data.arms[1:], "covariate": data.covariates},
        )  # fmt: skip
    require(tree, names, what=f"the {family} model")
    tree.attrs["family"] = family
    return tree


def curves(tree: "xr.DataTree", data: Survival) -> Curves:
    """Survival of each arm, averaged over the subjects' covariates."""
    family = tree.attrs["family"]
    lognormal = family == "lognormal"
    spread = values(tree, "sigma" if lognormal else "shape")[..., None]
    location = values(tree, "location")[..., None]
    shift = np.zeros((*location.shape[:2], 1))
    if len(data.arms) > 1:
        shift = np.concatenate([shift, values(tree, "log_time_ratio")], axis=-1)
    mu = (location + shift)[..., None]  # (chains, draws, arms, 1)
    if data.covariates:
        linear = values(tree, "coefficient") @ centred(data).T
        mu = mu + (-linear / spread if family == "weibull_ph" else linear)[..., None, :]

    def at(times: np.ndarray) -> np.ndarray:
        out = np.empty((*mu.shape[:3], len(times)))
        with np.errstate(divide="ignore"):
            for k, log_t in enumerate(np.log(np.asarray(times, float))):
                z = log_t - mu
                s = ndtr(-z / spread[..., None]) if lognormal else np.exp(-np.exp(z * spread[..., None]))
                out[..., k] = s.mean(axis=-1)
        return out

    horizon = min(float(data.time[data.arm == a].max()) for a in range(len(data.arms)))
    return Curves(at, data.arms, data.unit, horizon)


def case(family: Family = "weibull_ph") -> Case:
    """A trial of two arms of 20, followed for 1.5 to 3 years, for simulation-based calibration."""
    n = 40
    treated = (np.arange(n) % 2)[:, None].astype(float)
    scale = {"centre": 0.0, "location": 0.7, "effect": 0.7, "coefficient": 1.0, _SPREAD[family]: 0.3}
    d = {"treated": treated, "x": np.zeros((n, 0)), "stop": np.linspace(1.5, 3.0, n), "priors": scale}
    names = ("location", "sigma" if family == "lognormal" else "shape", "effect")
    return Case(f"parametric survival, {family}", model, d, ("time", "event"), names)
