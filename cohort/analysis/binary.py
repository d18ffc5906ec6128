"""A binary endpoint by arm: conjugate beta mixtures, or logistic regression with marginal risks by g-computation.

    y_i ~ Bernoulli(p_i),  logit p_i = intercept + effect[arm_i] + x_i · coefficient,  x standardised in the trial

References
----------
[1] Gelman et al. 2008, Ann Appl Stat 2:1360, doi 10.1214/08-AOAS191: proper priors on standardised inputs, with which
    complete separation leaves every coefficient finite.
[2] Robins 1986, Math Modelling 7:1393, doi 10.1016/0270-0255(86)90088-6: g-computation.
[3] Daniel et al. 2021, Biom J 63:528, doi 10.1002/bimj.201900297: marginal and conditional effects of a trial.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cohort.analysis.refusal import improper, refuse, unusable
from cohort.analysis.subjects import Subjects, linear, linear_pymc, sites, standardised
from cohort.inference.diagnosis import require
from cohort.inference.sampling import DEFAULT, Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

    from cohort.mixture import BetaMixture


@dataclass(frozen=True)
class Binary:
    """A binary endpoint. y: (n,) 0 or 1. Errors: AnalysisError of anything else."""

    y: np.ndarray
    subjects: Subjects

    def __post_init__(self) -> None:
        wrong = unusable("y", self.y, len(self.subjects.arm))
        if not wrong and not np.isin(y := np.asarray(self.y, float), (0, 1)).all():
            wrong = [f"y: {y[~np.isin(y, (0, 1))][0]:g} is no outcome; write 0 or 1"]
        refuse(wrong)
        object.__setattr__(self, "y", np.asarray(self.y, float))


@dataclass(frozen=True)
class Priors:
    """Normal priors on the log-odds scale [1]: of the control at the mean covariates, of each treatment effect (log
    odds ratio, centred at none), and of each coefficient (per SD, or of an indicator)."""

    intercept: float = 0.0
    intercept_sd: float = 2.5
    effect_sd: float = 2.5
    coefficient_sd: float = 2.5

    def __post_init__(self) -> None:
        scales = {k: getattr(self, k) for k in ("intercept_sd", "effect_sd", "coefficient_sd")}
        refuse(improper(scales, {"intercept": self.intercept}))

    def design(self) -> dict[str, float]:
        return {k: float(v) for k, v in vars(self).items()}


def model(design: Any, outcome: Any = None) -> None:
    """The logistic regression in NumPyro. design: treated, x, prior; outcome: y (n,), or None to draw it."""
    import numpyro
    import numpyro.distributions as dist

    logits: Any = linear(design)
    numpyro.sample("y", dist.Bernoulli(logits=logits), obs=None if outcome is None else outcome["y"])  # type: ignore[call-arg]


def fit(
    data: Binary, priors: Priors | None = None, *, seed: int, sampling: Sampling = DEFAULT, engine: Engine = "numpyro"
) -> "xr.DataTree":
    """The posterior of the logistic regression. Errors: NotConverged."""
    priors, subjects = priors or Priors(), data.subjects
    design = subjects.design() | {"prior": priors.design()}
    names = sites(subjects)
    if engine == "pymc":
        import pymc as pm

        with pm.Model(coords=subjects.labels()["coords"]) as twin:
            pm.Bernoulli("y", logit_p=linear_pymc(design), observed=data.y)
        tree = pymc_nuts(twin, seed=seed, sampling=sampling)
    else:
        outcome = {"y": data.y}
        tree = numpyro_nuts(model, design, outcome, seed=seed, sampling=sampling, priors=names, **subjects.labels())
    require(tree, names, what="the logistic regression")
    return tree


def marginal(
    tree: "xr.DataTree",
    data: Binary,
    arm: str,
    *,
    population: Mapping[str, Any] | None = None,
    bootstrap_seed: int | None = None,
) -> "xr.Dataset":
    """Marginal risks by g-computation [2, 3], as draws (chain, draw): `control`, `treated`, `difference`, `ratio`,
    `odds_ratio`. Arguments and errors as `standardised`."""
    import xarray as xr
    from scipy.special import expit

    control, treated = standardised(tree, data.subjects, arm, expit, population, bootstrap_seed)
    draws = {
        "control": control,
        "treated": treated,
        "difference": treated - control,
        "ratio": treated / control,
        "odds_ratio": treated * (1 - control) / (control * (1 - treated)),
    }
    return xr.Dataset({k: (("chain", "draw"), v) for k, v in draws.items()})


def two_arms(
    events: tuple[int, int], n: tuple[int, int], control: "BetaMixture", treated: "BetaMixture"
) -> tuple["BetaMixture", "BetaMixture"]:
    """The posterior of each arm's risk, control first, by conjugacy. Errors: AnalysisError of impossible counts."""
    wrong = []
    for name, r, m in zip(("control", "treated"), events, n, strict=True):
        if not (math.isfinite(r) and math.isfinite(m) and r == int(r) and m == int(m)):
            wrong.append(f"{name}: {r} events of {m}; write whole numbers")
        elif m < 1:
            wrong.append(f"{name}: no subjects; an arm needs one or more")
        elif not 0 <= r <= m:
            wrong.append(f"{name}: {r} events of {m}; write 0 to {m}")
    refuse(wrong)
    return control.updated(events[0], n[0]), treated.updated(events[1], n[1])


def probability(
    control: Any, treated: Any, above: float, scale: Literal["difference", "ratio", "odds ratio"] = "difference"
) -> float:
    """P(effect > above) of two independent arms by quadrature, for risks or rates. above: 0 says no difference, 1 no
    ratio. Errors: AnalysisError of a bound outside the scale, or an unknown scale."""
    from cohort.mixture import difference

    links: dict[str, Any] = {"difference": "identity", "ratio": "log", "odds ratio": "logit"}
    wrong = [] if scale in links else [f"scale: '{scale}'; write one of {list(links)}"]
    if not math.isfinite(above) or (scale != "difference" and above <= 0):
        wrong.append(
            f"above: {above} is no {scale}; write a {'finite' if scale == 'difference' else 'positive'} number"
        )
    refuse(wrong)
    bound = above if scale == "difference" else math.log(above)
    return float(difference.probability(treated, control, above=bound, link=links[scale]))


def case() -> Case:
    """Two arms and a covariate, for simulation-based calibration."""
    n = 40
    x = np.linspace(-1.5, 1.5, n)[:, None]
    treated = (np.arange(n) % 2).astype(float)[:, None]
    prior = Priors(intercept_sd=1.5, effect_sd=1.5, coefficient_sd=1.0).design()
    return Case(
        "logistic regression",
        model,
        {"treated": treated, "x": x, "prior": prior},
        ("y",),
        ("intercept", "effect", "coefficient"),
    )
