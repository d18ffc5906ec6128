"""Treatment effects of subgroups, raw and shrunk towards each other by a hierarchical model, and how many of the
directions claimed are expected to be false.

    estimate_g ~ Normal(d_g, se_g²),  d_g ~ Normal(d, tau²),  d ~ Normal(0, ·),  tau ~ half-normal(0.5 SD)

References
----------
[1] Jones et al. 2011, Clin Trials 8:129, doi 10.1177/1740774510396933: Bayesian shrinkage of subgroup effects.
[2] Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.4: the normal hierarchical model given tau.
[3] Gelman & Tuerlinckx 2000, Comput Stat 15:373, doi 10.1007/s001800000040: errors of sign under multiplicity.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.analysis.refusal import improper, refuse, unusable
from cohort.analysis.survival import unlabelled
from cohort.inference.diagnosis import flat, require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

CAREFUL = Sampling(target_accept=0.98)  # tau may be near 0


@dataclass(frozen=True)
class Estimates:
    """An effect of each subgroup. name: two or more; estimate, se: (groups,), on a scale where they are about normal
    (mean difference, log hazard ratio). Groups must not overlap. Errors: AnalysisError of anything else."""

    name: tuple[str, ...]
    estimate: np.ndarray
    se: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.name)
        wrong = [] if n >= 2 else [f"name: {n} subgroups; shrinkage needs two or more"]
        if len(set(self.name)) < n:
            wrong.append(f"name: {list(self.name)} repeats; write each subgroup once")
        wrong += unusable("estimate", self.estimate, n) + (bad := unusable("se", self.se, n))
        if not bad and (np.asarray(self.se, float) <= 0).any():
            wrong.append(f"se: {np.min(self.se):g}; write positive standard errors")
        refuse(wrong)
        object.__setattr__(self, "estimate", np.asarray(self.estimate, float))
        object.__setattr__(self, "se", np.asarray(self.se, float))


def differences(y: np.ndarray, arm: np.ndarray, group: np.ndarray, *, control: str, treated: str) -> Estimates:
    """Mean difference and standard error (of unequal variances) in each subgroup. y, arm, group: (n,). Errors:
    AnalysisError of an arm with fewer than two subjects, or no variance, in a subgroup, of missing values or labels."""
    wrong = unlabelled("arm", arm, f"write {control} or {treated}")
    wrong += unlabelled("group", group, "write the subgroup of every subject, or leave the subject out")
    y, arm, group = np.asarray(y), np.asarray(arm).astype(str), np.asarray(group).astype(str)
    wrong += unusable("y", y, arm.size)
    if group.shape != arm.shape:
        wrong.append(f"group: shape {group.shape}; write one subgroup for each of {arm.size} subjects")
    refuse(wrong)
    wrong += [f"arm: '{a}' is unknown; write {control} or {treated}" for a in sorted(set(arm) - {control, treated})]
    names, estimate, se = sorted(set(group)), [], []
    for name in names:
        parts = [y[(group == name) & (arm == a)].astype(float) for a in (control, treated)]
        for part, a in zip(parts, (control, treated), strict=True):
            if len(part) < 2:
                wrong.append(f"subgroup '{name}', arm '{a}': {len(part)} subjects; enrol two or more, or merge")
            elif np.ptp(part) == 0:
                wrong.append(f"subgroup '{name}', arm '{a}': every subject has {part[0]:g}; there is no variance")
        if not wrong:
            estimate.append(parts[1].mean() - parts[0].mean())
            se.append(math.sqrt(sum(p.var(ddof=1) / len(p) for p in parts)))
    refuse(wrong)
    return Estimates(tuple(names), np.array(estimate), np.array(se))


@dataclass(frozen=True)
class Priors:
    """scale: the outcome's SD, in the estimates' unit (1 for a log odds or hazard ratio). In units of scale: the SD of
    the overall effect's normal prior about none, and the half-normal scale of tau."""

    scale: float = 1.0
    overall_sd: float = 2.5
    tau_scale: float = 0.5

    def __post_init__(self) -> None:
        refuse(improper(vars(self)))

    def design(self) -> dict[str, float]:
        return {k: float(self.scale * getattr(self, k)) for k in ("overall_sd", "tau_scale")}


def model(design: Any, outcome: Any = None) -> None:
    """The hierarchy in NumPyro, subgroup effects integrated out and drawn from their conditional posterior [2], so that
    no funnel is left. design: se (groups,), prior; outcome: estimate (groups,), or None to draw it. Sites: overall,
    tau; effect (groups,) is deterministic."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    prior, se = design["prior"], design["se"]
    overall: Any = numpyro.sample("overall", dist.Normal(0, prior["overall_sd"]))
    tau: Any = numpyro.sample("tau", dist.HalfNormal(prior["tau_scale"]))
    variance: Any = se**2 + tau**2
    spread: Any = jnp.sqrt(variance)
    obs = None if outcome is None else outcome["estimate"]
    estimate: Any = numpyro.sample("estimate", dist.Normal(overall, spread), obs=obs)
    deviate = numpyro.sample("deviate", dist.Normal(0, 1).expand([len(se)]))
    mean = (tau**2 * estimate + se**2 * overall) / variance  # [2]
    numpyro.deterministic("effect", mean + tau * se / spread * deviate)


def fit(
    data: Estimates,
    priors: Priors | None = None,
    *,
    seed: int,
    sampling: Sampling = CAREFUL,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """The posterior of overall, tau and effect (subgroup). Errors: NotConverged."""
    prior, coords = (priors or Priors()).design(), {"subgroup": list(data.name)}
    if engine == "pymc":
        import pymc as pm

        with pm.Model(coords=coords) as twin:
            overall = pm.Normal("overall", 0, prior["overall_sd"])
            tau = pm.HalfNormal("tau", prior["tau_scale"])
            deviate = pm.Normal("deviate", 0, 1, dims="subgroup")
            effect = pm.Deterministic("effect", overall + tau * deviate, dims="subgroup")
            pm.Normal("estimate", effect, data.se, observed=data.estimate)
        tree = pymc_nuts(twin, seed=seed, sampling=sampling)
    else:
        design, outcome = {"se": data.se, "prior": prior}, {"estimate": data.estimate}
        tops, dims = ["overall", "tau"], {"effect": ["subgroup"], "deviate": ["subgroup"]}
        tree = numpyro_nuts(model, design, outcome, seed=seed, sampling=sampling, priors=tops, coords=coords, dims=dims)
    require(tree, ["overall", "tau", "effect"], what="the subgroup hierarchy")
    return tree


@dataclass(frozen=True)
class Effects:
    """Subgroup effects, raw and shrunk, with equal-tailed intervals at `level`; each (groups,). positive: P(effect > 0)
    after shrinkage; mcse: of mean, NaN of the exact posterior. overall, tau: posterior mean and SD."""

    name: tuple[str, ...]
    level: float
    raw: np.ndarray
    raw_low: np.ndarray
    raw_high: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    positive: np.ndarray
    mcse: np.ndarray
    overall: tuple[float, float]
    tau: tuple[float, float]


def _raw(data: Estimates, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.stats import norm

    refuse([] if 0 < level < 1 else [f"level: {level}; write a number between 0 and 1"])
    half = norm.ppf((1 + level) / 2) * data.se
    return data.estimate, data.estimate - half, data.estimate + half


def effects(tree: "xr.DataTree", data: Estimates, *, level: float = 0.95) -> Effects:
    """The effects from the draws of `fit`."""
    from arviz_stats import mcse

    raw, drawn = _raw(data, level), flat(tree, "effect")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    error = np.array([float(mcse(values(tree, "effect")[..., g])) for g in range(len(data.name))])
    overall, tau = ((float(v.mean()), float(v.std())) for v in (flat(tree, "overall"), flat(tree, "tau")))
    mean, sd, positive = drawn.mean(axis=0), drawn.std(axis=0), (drawn > 0).mean(axis=0)
    return Effects(data.name, level, *raw, mean, sd, low, high, positive, error, overall, tau)


def exact(data: Estimates, priors: Priors | None = None, *, level: float = 0.95, nodes: int = 20) -> Effects:
    """The effects by quadrature over tau: all else is normal given it [2]. nodes: of each of 24 panels."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    raw, prior = _raw(data, level), (priors or Priors()).design()
    top = 10 * prior["tau_scale"]  # beyond it the half-normal has 1e-23
    edges = np.r_[0.0, np.geomspace(min(data.se.min(), top) / 10, top, 24)]
    at, weight = np.polynomial.legendre.leggauss(nodes)
    half = np.diff(edges)[:, None] / 2
    tau, weight = (edges[:-1, None] + half * (1 + at)).ravel(), (half * weight).ravel()
    y, variance = data.estimate, data.se**2 + tau[:, None] ** 2
    precision = 1 / prior["overall_sd"] ** 2 + (1 / variance).sum(axis=1)
    overall = (y / variance).sum(axis=1) / precision
    log_height = (
        -(np.log(variance) + y**2 / variance).sum(axis=1) / 2
        + overall**2 * precision / 2
        - np.log(precision) / 2
        - (tau / prior["tau_scale"]) ** 2 / 2
    )
    weight = weight * np.exp(log_height - log_height.max())
    weight /= weight.sum()
    pull = data.se**2 / variance
    mean = (1 - pull) * y + pull * overall[:, None]
    sd = np.sqrt(pull * tau[:, None] ** 2 + pull**2 / precision[:, None])

    def moments(m: np.ndarray, s: Any) -> tuple[Any, Any]:
        centre = weight @ m
        return centre, np.sqrt(weight @ (s**2 + m**2) - centre**2)

    def quantile(g: int, q: float) -> float:
        ends = (float(np.min(mean[:, g] - 12 * sd[:, g])), float(np.max(mean[:, g] + 12 * sd[:, g])))
        root: Any = brentq(lambda v: float(weight @ norm.cdf(v, mean[:, g], sd[:, g])) - q, *ends, xtol=1e-12)
        return float(root)

    low, high = ([quantile(g, q) for g in range(len(y))] for q in ((1 - level) / 2, (1 + level) / 2))
    found, spread = moments(mean, sd)
    whole, tau_moments = moments(overall, precision**-0.5), moments(tau, 0.0)
    return Effects(
        data.name,
        level,
        *raw,
        found,
        spread,
        np.array(low),
        np.array(high),
        weight @ norm.sf(0, mean, sd),
        np.full(len(y), np.nan),
        (float(whole[0]), float(whole[1])),
        (float(tau_moments[0]), float(tau_moments[1])),
    )


@dataclass(frozen=True)
class Directions:
    """What is claimed of directions: those with a posterior probability of at least `threshold` [3]. claimed: names;
    expected_false: how many the posterior expects to be wrong; of_all: the same, were every direction claimed."""

    threshold: float
    groups: int
    claimed: tuple[str, ...]
    expected_false: float
    of_all: float

    def __str__(self) -> str:
        return (
            f"{len(self.claimed)} of {self.groups} subgroups have a direction with probability {self.threshold:g} or "
            f"more; {self.expected_false:.2g} of these are expected to be false, and {self.of_all:.2g} were the more "
            f"probable direction claimed of all {self.groups}"
        )


def directions(found: Effects, *, threshold: float = 0.975) -> Directions:
    """The multiplicity of subgroup claims, of shrunk effects. Errors: AnalysisError of a threshold outside 0.5-1."""
    refuse([] if 0.5 <= threshold < 1 else [f"threshold: {threshold}; write a probability from 0.5 to below 1"])
    wrong = np.minimum(found.positive, 1 - found.positive)
    claimed = 1 - wrong >= threshold
    names = tuple(n for n, c in zip(found.name, claimed, strict=True) if c)
    return Directions(threshold, len(found.name), names, float(wrong[claimed].sum()), float(wrong.sum()))


def case() -> Case:
    """Six subgroups, for simulation-based calibration."""
    design = {"se": np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.8]), "prior": Priors(overall_sd=1.0).design()}
    sampling = Sampling(warmup=500, draws=500, chains=1, target_accept=0.98)
    return Case("subgroup hierarchy", model, design, ("estimate",), ("overall", "tau", "effect"), sampling)
