"""Adverse events by body system and preferred term: which terms the treatment raises, shrunk through three levels.

    control_j ~ Binomial(n, c_j), logit c_j = gamma_j;   treated_j ~ Binomial(n, t_j), logit t_j = gamma_j + theta_j
    gamma_j ~ Normal(mu_gamma_b, sigma_gamma_b²), mu_gamma_b ~ Normal(mu_gamma_0, tau_gamma²)
    theta_j ~ pi_b δ(0) + (1 - pi_b) Normal(mu_theta_b, sigma_theta_b²), mu_theta_b ~ Normal(mu_theta_0, tau_theta²)

of [1], for term j of body system b; or Poisson counts over exposure with log rates. Whether theta_j is 0 is summed out
of the likelihood, so that NUTS can sample; `theta` is the effect if there is one, `inclusion` whether there is.

References
----------
[1] Berry and Berry 2004, Biometrics 60:418, doi 10.1111/j.0006-341X.2004.00186.x: the three-level mixture model.
[2] Newton et al. 2004, Biostatistics 5:155, doi 10.1093/biostatistics/5.2.155: the expected false discovery rate of a
    list, the mean posterior probability of its members to be none.
[3] Gelman 2006, Bayesian Analysis 1:515, doi 10.1214/06-BA117A: half-normal priors on SDs instead of inverse gammas.
[4] Papaspiliopoulos, Roberts and Sköld 2007, Statistical Science 22:59, doi 10.1214/088342307000000014: partially
    non-centred parametrisations, by how much the data tell.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from scipy.special import expit

from cohort.analysis import AnalysisError
from cohort.analysis.refusal import improper, refuse
from cohort.analysis.virtual_safety import upper_bound
from cohort.inference.diagnosis import flat, require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

    from cohort.mixture import BetaMixture, GammaMixture

SAMPLING = Sampling(warmup=1000, draws=2000)
TOP = ("mu_gamma_0", "mu_theta_0", "alpha_pi|above", "beta_pi|above")  # and the spreads
SPREADS = ("tau_gamma", "tau_theta", "sigma_gamma", "sigma_theta")


@dataclass(frozen=True)
class AdverseEvents:
    """Counts per preferred term. term, system: (terms,) names; control, treated: (terms,) patients with the event among
    control_size and treated_size patients, or with kind 'exposure' events in so much exposure at risk, in a unit in
    which rates are of the order of 1; sizes: one number, or (terms,). systems: the coding dictionary's, if known.

    Errors: AnalysisError of terms without n, events above n, a term that stands twice, or an unseen body system."""

    term: tuple[str, ...]
    system: tuple[str, ...]
    control: np.ndarray
    treated: np.ndarray
    control_size: Any
    treated_size: Any
    kind: Literal["patients", "exposure"] = "patients"
    systems: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        n, wrong = len(self.term), []
        names = list(zip(self.system, self.term, strict=False))
        if not n or len(self.system) != n:
            wrong.append(f"term, system: {n} and {len(self.system)} names; write one body system for each term")
        wrong += [
            f"{b}: '{t}' stands twice; add up its patients" for b, t in sorted({k for k in names if _twice(k, names)})
        ]
        systems = tuple(self.systems) or tuple(dict.fromkeys(self.system))
        wrong += [
            f"{t}: body system '{b}' is not in the dictionary{_near(b, systems)}" for b, t in names if b not in systems
        ]
        if self.kind not in ("patients", "exposure"):
            wrong.append(f"kind: '{self.kind}'; write patients or exposure")
        for arm in ("control", "treated"):
            wrong += _counts(arm, getattr(self, arm), getattr(self, f"{arm}_size"), self.term, self.kind)
        refuse(wrong)
        for arm in ("control", "treated"):
            object.__setattr__(self, arm, np.asarray(getattr(self, arm), float))
            size = np.broadcast_to(np.asarray(getattr(self, f"{arm}_size"), float), n)
            object.__setattr__(self, f"{arm}_size", size)
        object.__setattr__(self, "term", tuple(map(str, self.term)))
        object.__setattr__(self, "system", tuple(map(str, self.system)))
        object.__setattr__(self, "systems", tuple(b for b in systems if b in self.system))

    def at(self, system: str) -> int:
        """The place of a body system. Errors: AnalysisError of one without terms in the data."""
        if system not in self.systems:
            raise AnalysisError(f"body system '{system}' has no term in the data{_near(system, self.systems)}")
        return self.systems.index(system)

    def design(self) -> dict[str, np.ndarray]:
        """member: (systems, terms) 0 or 1; patients or exposure: (2, terms), control first."""
        member = (np.array(self.systems)[:, None] == np.array(self.system)[None]).astype(float)
        size = np.stack([self.control_size, self.treated_size])
        return {"member": member, self.kind: size.astype(int) if self.kind == "patients" else size}


def _twice(name: Any, names: list[Any]) -> bool:
    return names.count(name) > 1


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; write one of {list(known)}"


def _counts(arm: str, events: Any, size: Any, terms: Sequence[str], kind: str) -> list[str]:
    """What is wrong with the counts of an arm."""
    e, n = np.asarray(events, float), np.asarray(size, float)
    if e.shape != (len(terms),) or n.shape not in ((), e.shape):
        return [f"{arm}: shapes {e.shape} and {n.shape}; write one count per term, and one size or one per term"]
    wrong = []
    for term, k, m in zip(terms, e, np.broadcast_to(n, e.shape), strict=True):
        whole = kind == "exposure" or m == np.floor(m)
        if not (possible := 0 < m < math.inf and whole):
            wrong.append(f"{term}, {arm}: {kind} {m:g}; write a number above 0{'' if whole else ', and a whole one'}")
        if not (math.isfinite(k) and k >= 0 and k == np.floor(k)):
            wrong.append(f"{term}, {arm}: {k:g} events; write a whole number, 0 or more")
        elif possible and kind == "patients" and k > m:
            wrong.append(f"{term}, {arm}: {k:g} events of {m:g} patients; count each patient once")
    return wrong


@dataclass(frozen=True)
class Priors:
    """Of the two grand means, normal with mean 0 and `mean_variance`. Of every variance, inverse gamma with
    `variance_shape` and `variance_scale` (mean 0.5); or of every SD half-normal with `sd_scale` [3], the sensitivity
    analysis. pi_b ~ Beta(alpha, beta), alpha - 1 and beta - 1 exponential with `pi_rate`. Defaults are those of the
    reference implementation of [1], c212."""

    spread: Literal["inverse gamma", "half-normal"] = "inverse gamma"
    mean_variance: float = 10.0
    variance_shape: float = 3.0
    variance_scale: float = 1.0
    sd_scale: float = 0.5
    pi_rate: float = 1.0

    def __post_init__(self) -> None:
        wrong = improper({k: v for k, v in vars(self).items() if k != "spread"})
        if self.spread not in ("inverse gamma", "half-normal"):
            wrong.append(f"priors.spread: '{self.spread}'; write inverse gamma or half-normal")
        refuse(wrong)

    def design(self) -> dict[str, float]:
        unused = ("variance_shape", "variance_scale") if self.spread == "half-normal" else ("sd_scale",)
        return {k: float(v) for k, v in vars(self).items() if k not in ("spread", *unused)}


HALF_NORMAL = Priors(spread="half-normal")


def model(design: Any, outcome: Any = None) -> None:
    """The model in NumPyro. design: of `AdverseEvents.design`, and prior; outcome: control, treated (terms,), or None
    to draw them."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    prior, member = design["prior"], design["member"]
    place, systems = member.argmax(axis=0), len(member)
    middle = dist.Normal(0, jnp.sqrt(prior["mean_variance"]))
    mu_gamma_0, mu_theta_0 = numpyro.sample("mu_gamma_0", middle), numpyro.sample("mu_theta_0", middle)
    tau_gamma, tau_theta = _spread("tau_gamma", (), prior), _spread("tau_theta", (), prior)
    sigma_gamma, sigma_theta = (_spread(k, (systems,), prior) for k in ("sigma_gamma", "sigma_theta"))
    above = dist.Exponential(prior["pi_rate"])
    alpha = numpyro.deterministic("alpha_pi", 1 + numpyro.sample("alpha_pi|above", above))
    beta = numpyro.deterministic("beta_pi", 1 + numpyro.sample("beta_pi|above", above))
    pi: Any = numpyro.sample("pi", dist.Beta(alpha, beta).expand([systems]))

    of_gamma, of_theta = (None, None) if outcome is None else _evidence(design, outcome)
    mu_gamma = _level("mu_gamma", mu_gamma_0, tau_gamma, _pooled(of_gamma, sigma_gamma, member), (systems,))
    mu_theta = _level("mu_theta", mu_theta_0, tau_theta, _pooled(of_theta, sigma_theta, member), (systems,))
    gamma = _level("gamma", mu_gamma[place], sigma_gamma[place], of_gamma, place.shape)
    theta = _level("theta", mu_theta[place], sigma_theta[place], None, place.shape)  # not there, it has but its prior

    def events(size: Any, eta: Any) -> Any:
        return dist.Binomial(size, logits=eta) if "patients" in design else dist.Poisson(size * jnp.exp(eta))

    at_risk = design["patients"] if "patients" in design else design["exposure"]
    control, treated = (None, None) if outcome is None else (outcome["control"], outcome["treated"])
    numpyro.sample("control", events(at_risk[0], gamma), obs=control)
    weight = dist.Categorical(logits=jnp.stack([jnp.log(pi), jnp.log1p(-pi)], axis=-1)[place])
    whether = [events(at_risk[1], gamma), events(at_risk[1], gamma + theta)]
    count = dist.constraints.nonnegative_integer
    numpyro.sample("treated", dist.MixtureGeneral(weight, whether, support=count), obs=treated)


def _spread(name: str, shape: tuple[int, ...], prior: Any) -> Any:
    """The SD of a level, under either prior."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    if "sd_scale" in prior:
        return numpyro.sample(name, dist.HalfNormal(prior["sd_scale"]).expand(shape))  # [3]
    of_variance = dist.InverseGamma(prior["variance_shape"], prior["variance_scale"])
    return numpyro.deterministic(name, jnp.sqrt(numpyro.sample(f"{name}|variance", of_variance.expand(shape))))


def _evidence(design: Any, outcome: Any) -> tuple[Any, Any]:
    """What the counts alone say of gamma and of theta, each as a value and its variance (terms,): it is used for the
    parametrisation and nothing else. A theta that is likely 0 says little about theta were it not."""
    import jax.numpy as jnp

    def seen(k: Any, size: Any) -> tuple[Any, Any]:
        if "patients" in design:
            return jnp.log(k + 0.5) - jnp.log(size - k + 0.5), 1 / (k + 0.5) + 1 / (size - k + 0.5)
        return jnp.log((k + 0.5) / size), 1 / (k + 0.5)

    (n, m), x, y = (design.get("patients", design.get("exposure"))), outcome["control"], outcome["treated"]
    (a, va), (b, vb) = seen(x, n), seen(y, m)
    effect, v = b - a, va + vb
    some = 1 / (1 + jnp.sqrt(1 + 1 / v) * jnp.exp(-(effect**2) / 2 * (1 / v - 1 / (1 + v))))  # against Normal(0, 1)
    return seen(x + (1 - some) * y, n + (1 - some) * m), (effect, v / some)


def _pooled(evidence: Any, sigma: Any, member: Any) -> Any:
    """What the terms of each body system together say of its mean: value and variance (systems,)."""
    if evidence is None:
        return None
    value, variance = evidence
    precision = 1 / (variance + sigma[member.argmax(axis=0)] ** 2)
    total = member @ precision
    return member @ (precision * value) / total, 1 / total


def _level(name: str, mean: Any, sd: Any, evidence: Any, shape: tuple[int, ...]) -> Any:
    """Normal(mean, sd²), sampled as `name|z`, which is standard normal a posteriori where the evidence is all that the
    data say [4]: centred where they say much, non-centred where little. The prior is the same for any evidence."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    if evidence is None:
        return numpyro.deterministic(name, mean + sd * numpyro.sample(f"{name}|z", dist.Normal(0, 1).expand(shape)))
    value, v = evidence
    total = sd**2 + v
    z = numpyro.sample(f"{name}|z", dist.Normal((mean - value) * sd / jnp.sqrt(v * total), jnp.sqrt(total / v)))
    return numpyro.deterministic(name, mean + sd**2 / total * (value - mean) + sd * jnp.sqrt(v / total) * z)


def _twin(data: AdverseEvents, priors: Priors) -> Any:
    """The model in PyMC, written plainly."""
    import pymc as pm

    design, prior = data.design(), priors.design()
    place, (n, m) = design["member"].argmax(axis=0), design[data.kind]
    with pm.Model(coords=_coords(data)) as twin:

        def spread(name: str, dims: str | None = None) -> Any:
            if "sd_scale" in prior:
                return pm.HalfNormal(name, prior["sd_scale"], dims=dims)
            shape, scale = prior["variance_shape"], prior["variance_scale"]
            variance = pm.InverseGamma(f"{name}|variance", alpha=shape, beta=scale, dims=dims)
            return pm.Deterministic(name, pm.math.sqrt(variance), dims=dims)

        def level(name: str) -> Any:
            top = pm.Normal(f"mu_{name}_0", 0, prior["mean_variance"] ** 0.5)
            tau, sigma = spread(f"tau_{name}"), spread(f"sigma_{name}", "system")
            z = pm.Normal(f"mu_{name}|z", dims="system")
            mu: Any = pm.Deterministic(f"mu_{name}", top + tau * z, dims="system")
            z = pm.Normal(f"{name}|z", dims="term")
            return pm.Deterministic(name, mu[place] + sigma[place] * z, dims="term")

        def events(size: np.ndarray, eta: Any) -> Any:
            if data.kind == "exposure":
                return pm.Poisson.dist(size * pm.math.exp(eta))
            return pm.Binomial.dist(size, logit_p=eta)

        gamma, theta = level("gamma"), level("theta")
        alpha, beta = (1 + pm.Exponential(f"{k}_pi|above", prior["pi_rate"]) for k in ("alpha", "beta"))
        pi: Any = pm.Beta("pi", alpha, beta, dims="system")
        if data.kind == "exposure":
            pm.Poisson("control", n * pm.math.exp(gamma), observed=data.control.astype(int), dims="term")
        else:
            pm.Binomial("control", n, logit_p=gamma, observed=data.control.astype(int), dims="term")
        weight, whether = (
            pm.math.stack([pi[place], 1 - pi[place]], axis=-1),
            [events(m, gamma), events(m, gamma + theta)],
        )
        pm.Mixture("treated", w=weight, comp_dists=whether, observed=data.treated.astype(int), dims="term")
    return twin


def _coords(data: AdverseEvents) -> dict[str, list[str]]:
    same = len(set(data.term)) < len(data.term)  # one term in two body systems
    names = [f"{b}: {t}" for b, t in zip(data.system, data.term, strict=True)] if same else list(data.term)
    return {"system": list(data.systems), "term": names}


def fit(
    data: AdverseEvents,
    priors: Priors | None = None,
    *,
    seed: int,
    sampling: Sampling = SAMPLING,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """The posterior. Errors: NotConverged; AnalysisError of a table without one event, of which no conclusion can be
    drawn, and `upper_bounds` says what can be said."""
    if not (data.control.any() or data.treated.any()):
        raise AnalysisError("no event in any term of either arm: no conclusion; `upper_bounds` gives what can be said")
    priors = priors or Priors()
    by = {"system": [*SPREADS[2:], "mu_gamma", "mu_theta", "pi"], "term": ["gamma", "theta", "control", "treated"]}
    dims = {name: [dim] for dim, names in by.items() for name in names}
    names = [*SPREADS, "mu_gamma_0", "mu_theta_0", "mu_gamma", "mu_theta", "pi", "gamma", "theta"]
    if engine == "pymc":
        tree = pymc_nuts(_twin(data, priors), seed=seed, sampling=sampling)
    else:
        design, outcome = data.design() | {"prior": priors.design()}, {"control": data.control, "treated": data.treated}
        spreads = [k if priors.spread == "half-normal" else f"{k}|variance" for k in SPREADS]
        kept = {"priors": [*TOP, *spreads], "coords": _coords(data), "dims": dims}
        tree = numpyro_nuts(model, design, outcome, seed=seed, sampling=sampling, **kept)
    require(tree, names, what="the model of adverse events")
    return tree


def inclusion(tree: "xr.DataTree", data: AdverseEvents) -> np.ndarray:
    """P(theta is not 0) of each draw given its other parameters, (chains, draws, terms): averages of it are averages
    over whether there is an effect, with less Monte Carlo error than drawing it."""
    gamma, theta, pi = (values(tree, k) for k in ("gamma", "theta", "pi"))
    pi = pi[..., data.design()["member"].argmax(axis=0)]
    if data.kind == "exposure":
        total = data.treated_size * np.exp(gamma) * np.expm1(theta)
    else:
        total = data.treated_size * (np.logaddexp(0, gamma + theta) - np.logaddexp(0, gamma))
    return expit(np.log1p(-pi) - np.log(pi) + data.treated * theta - total)


@dataclass(frozen=True)
class Signals:
    """What the treatment raises. `terms`, one row per term in order: body `system`, `term`, events and sizes, raw
    `difference` and `ratio` of risks or rates (null where the control had none); `p`, P(theta > 0), with `mcse`;
    `none`, P(theta = 0); `shrunk`, the odds ratio (rate ratio with exposure) at the posterior mean of theta, with
    equal-tailed `low` and `high` at `level`; `p_above`, P(ratio > `above`); `flag`, p > `threshold`; `flag_fdr`, in
    the longest list whose expected false discovery rate [2] is at most `fdr`: sure members make room for doubtful ones.
    `systems`: pi_b, P(no effect), mean and equal-tailed interval. expected_fdr: of that list, None if it is empty."""

    terms: pl.DataFrame
    systems: pl.DataFrame
    above: float
    threshold: float
    fdr: float
    level: float
    expected_fdr: float | None


def signals(
    tree: "xr.DataTree",
    data: AdverseEvents,
    *,
    above: float = 2.0,
    threshold: float = 0.95,
    fdr: float = 0.1,
    level: float = 0.95,
) -> Signals:
    """The table of terms, and which are flagged. Errors: AnalysisError of a level or ratio out of range."""
    from arviz_stats import mcse

    shares = {"threshold": threshold, "fdr": fdr, "level": level}
    wrong = [f"{k}: {v}; write a number between 0 and 1" for k, v in shares.items() if not 0 < v < 1]
    refuse(wrong + ([] if 0 < above < math.inf else [f"above: {above} is no ratio; write a positive number"]))
    theta, some = values(tree, "theta"), inclusion(tree, data)
    up = some * (theta > 0)
    p, terms = up.mean(axis=(0, 1)), range(len(data.term))
    bounds = np.array([_quantiles(theta[..., j], some[..., j], ((1 - level) / 2, (1 + level) / 2)) for j in terms])
    chosen = np.argsort(-p, kind="stable")
    expected = np.cumsum(1 - p[chosen]) / np.arange(1, len(p) + 1)  # [2]; rises along the list
    listed = int(np.sum(expected <= fdr))
    control, treated = data.control / data.control_size, data.treated / data.treated_size
    columns = {
        "system": data.system,
        "term": data.term,
        "control": data.control.astype(int),
        "control_size": data.control_size,
        "treated": data.treated.astype(int),
        "treated_size": data.treated_size,
        "difference": treated - control,
        "ratio": [b / a if a > 0 else None for a, b in zip(control, treated, strict=True)],
        "p": p,
        "mcse": [float(mcse(up[..., j])) for j in terms],
        "none": 1 - some.mean(axis=(0, 1)),
        "shrunk": np.exp((some * theta).mean(axis=(0, 1))),
        "low": np.exp(bounds[:, 0]),
        "high": np.exp(bounds[:, 1]),
        "p_above": (some * (theta > math.log(above)) if above >= 1 else 1 - some * (theta <= math.log(above))).mean(
            (0, 1)
        ),
        "flag": p > threshold,
        "flag_fdr": np.isin(np.arange(len(p)), chosen[:listed]),
    }
    pi = flat(tree, "pi")
    low, high = np.quantile(pi, ((1 - level) / 2, (1 + level) / 2), axis=0)
    each = [float(mcse(values(tree, "pi")[..., b])) for b in range(len(data.systems))]
    systems = {"system": data.systems, "pi": pi.mean(axis=0), "mcse": each, "low": low, "high": high}
    fdr_of = float(expected[listed - 1]) if listed else None
    return Signals(pl.DataFrame(columns), pl.DataFrame(systems), above, threshold, fdr, level, fdr_of)


def _quantiles(theta: np.ndarray, some: np.ndarray, q: tuple[float, float]) -> np.ndarray:
    """Quantiles of theta with its point mass at 0, of weighted draws."""
    at = np.append(theta.ravel(), 0.0)
    weight = np.append(some.ravel(), np.sum(1 - some))
    order = np.argsort(at, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    return at[order][np.minimum(np.searchsorted(below, q), len(at) - 1)]


def sensitivity(
    data: AdverseEvents, *, seed: int, sampling: Sampling = SAMPLING, threshold: float = 0.95, fdr: float = 0.1
) -> pl.DataFrame:
    """P(theta > 0) and flags of each term under the default priors and under half-normal SDs [3], and whether a flag
    changes. Errors: as `fit`."""
    options = {"inverse_gamma": Priors(), "half_normal": HALF_NORMAL}
    tight = replace(sampling, target_accept=max(sampling.target_accept, 0.95))  # SDs come near 0 without a gamma's edge
    wide = pl.DataFrame({"system": data.system, "term": data.term})
    for name, priors in options.items():
        chosen = tight if priors.spread == "half-normal" else sampling
        found = signals(fit(data, priors, seed=seed, sampling=chosen), data, threshold=threshold, fdr=fdr).terms
        wide = wide.with_columns(found[k].alias(f"{k}_{name}") for k in ("p", "mcse", "flag", "flag_fdr"))
    either = [pl.col(f"{k}_inverse_gamma") != pl.col(f"{k}_half_normal") for k in ("flag", "flag_fdr")]
    return wide.with_columns(changed=either[0] | either[1])


def upper_bounds(
    data: AdverseEvents, *, prior: "BetaMixture | GammaMixture | None" = None, level: float = 0.95
) -> pl.DataFrame:
    """One-sided upper bounds of each term's risk or rate in each arm, without any model of the terms together: all that
    can be said of a table without events. Columns and errors as `virtual_safety.upper_bound`."""
    rows = []
    for j, term in enumerate(data.term):
        for arm in ("control", "treated"):
            events, size = int(getattr(data, arm)[j]), float(getattr(data, f"{arm}_size")[j])
            bound = upper_bound(events, size, data.kind, prior=prior, level=level)
            rows.append({"system": data.system[j], "term": term, "arm": arm, **vars(bound)})
    return pl.DataFrame(rows)


def case() -> Case:
    """Two body systems of three terms, for simulation-based calibration."""
    design = {"member": np.kron(np.eye(2), np.ones((1, 3))), "patients": np.full((2, 6), 60)}
    design = design | {"prior": Priors().design()}
    ranked = ("mu_gamma_0", "mu_theta_0", "sigma_theta", "pi", "gamma", "theta")
    return Case("adverse events by body system", model, design, ("control", "treated"), ranked)
