"""A binary endpoint by arm: conjugate beta mixtures, or logistic regression with marginal risks by g-computation.

    y_i ~ Bernoulli(p_i),  logit p_i = intercept + effect[arm_i] + x_i · coefficient,  x standardised in the trial

References
----------
[1] Gelman et al. 2008, Ann Appl Stat 2:1360, doi 10.1214/08-AOAS191: proper priors on standardised inputs, with which
    complete separation leaves every coefficient finite.
[2] Robins 1986, Math Modelling 7:1393, doi 10.1016/0270-0255(86)90088-6: g-computation.
[3] Daniel et al. 2021, Biom J 63:528, doi 10.1002/bimj.201900297: marginal and conditional effects of a trial.
[4] Rubin 1981, Ann Stat 9:130, doi 10.1214/aos/1176345338: the Bayesian bootstrap.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cohort.analysis import AnalysisError
from cohort.inference.diagnosis import flat, require, values
from cohort.inference.sampling import DEFAULT, Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

    from cohort.mixture import BetaMixture

CHUNK = 2**22  # predicted outcomes held at once


def refuse(wrong: list[str]) -> None:
    """Raises AnalysisError with every line of `wrong`, if there is one."""
    if wrong:
        raise AnalysisError("\n".join(wrong))


def improper(named: Mapping[str, float], location: Mapping[str, float] | None = None) -> list[str]:
    """What makes a prior improper: scales that are not positive and finite, locations that are not finite."""
    wrong = [
        f"priors.{k}: {v} is no scale of a proper prior; write a positive, finite number"
        for k, v in named.items()
        if not 0 < v < math.inf
    ]
    return wrong + [
        f"priors.{k}: {v} is no location of a prior; write a finite number"
        for k, v in (location or {}).items()
        if not math.isfinite(v)
    ]


def unusable(name: str, column: Any, n: int | None = None) -> list[str]:
    """What is wrong with a numeric column that should hold n finite numbers."""
    found = np.asarray(column)
    if found.ndim != 1 or not len(found) or (n is not None and len(found) != n):
        return [f"{name}: shape {found.shape}; write one number for each of {n or 'the'} subjects or rows"]
    if found.dtype.kind not in "biuf":
        return [f"{name}: {found.dtype} is not numeric; write numbers"]
    if bad := np.flatnonzero(~np.isfinite(found.astype(float))).tolist():
        return [f"{name}: {len(bad)} missing or not finite, the first in row {bad[0] + 1}; leave out or impute them"]
    return []


@dataclass(frozen=True)
class Encoding:
    """How covariates become numbers: per SD from the trial's mean, and levels as indicators against the first, centred.
    Nothing changes when a covariate is shifted or rescaled."""

    levels: Mapping[str, tuple[str, ...]]  # of those that are categories
    names: tuple[str, ...]  # of the columns: 'age', 'sex: male'
    mean: np.ndarray  # (columns,)
    sd: np.ndarray  # (columns,): 1 for indicators
    of: tuple[str, ...]  # the covariates, in order

    def raw(self, covariates: Mapping[str, Any]) -> np.ndarray:
        """(n, columns) before centring. Errors: AnalysisError of a missing or unusable covariate or an unseen level."""
        wrong, columns = [], []
        for name in self.of:
            if name not in covariates:
                wrong.append(f"covariate '{name}': missing; give it for every subject")
                continue
            column = np.asarray(covariates[name])
            if name not in self.levels:
                if bad := unusable(f"covariate '{name}'", column):
                    wrong += bad
                    continue
                columns.append(column.astype(float))
                continue
            known = self.levels[name]
            if new := sorted({str(v) for v in column} - set(known)):
                wrong.append(f"covariate '{name}': {', '.join(new)} not seen in the fit; write one of {list(known)}")
            columns += [(column.astype(str) == level).astype(float) for level in known[1:]]
        if not wrong and len({len(c) for c in columns}) > 1:
            wrong.append(
                f"covariates: {sorted({len(c) for c in columns})} rows; give every covariate for every subject"
            )
        refuse(wrong)
        return np.column_stack(columns) if columns else np.empty((0, 0))

    def matrix(self, covariates: Mapping[str, Any]) -> np.ndarray:
        """(n, columns) as the model sees them. Errors: as `raw`."""
        return (self.raw(covariates) - self.mean) / self.sd if self.names else np.empty((0, 0))


def encoded(covariates: Mapping[str, Any], n: int) -> Encoding:
    """The encoding that n subjects give. Errors: AnalysisError of missing cells, or a covariate with one value only."""
    wrong, levels, names = [], {}, []
    for name, column in covariates.items():
        column = np.asarray(column)
        if column.dtype.kind in "biuf":
            wrong += (bad := unusable(f"covariate '{name}'", column, n))
            if not bad and np.ptp(column.astype(float)) == 0:
                wrong.append(f"covariate '{name}': every subject has {column[0]}; leave it out")
            names.append(name)
            continue
        if column.shape != (n,):
            wrong.append(f"covariate '{name}': shape {column.shape}; write one level for each of {n} subjects")
            continue
        if gaps := [i for i, v in enumerate(column) if v is None or v != v or str(v) == ""]:
            wrong.append(f"covariate '{name}': {len(gaps)} missing, the first in row {gaps[0] + 1}; impute them")
            continue
        levels[name] = tuple(sorted({str(v) for v in column}))
        if len(levels[name]) < 2:
            wrong.append(f"covariate '{name}': every subject has {column[0]}; leave it out")
        names += [f"{name}: {level}" for level in levels[name][1:]]
    refuse(wrong)
    bare = Encoding(levels, tuple(names), np.zeros(len(names)), np.ones(len(names)), tuple(covariates))
    if not names:
        return bare
    raw = bare.raw(covariates)
    sd = np.where([": " in k and k.split(": ")[0] in levels for k in names], 1.0, raw.std(axis=0))
    return Encoding(levels, tuple(names), raw.mean(axis=0), sd, tuple(covariates))


@dataclass(frozen=True)
class Subjects:
    """Each subject's arm and covariates. arm: (n,) names; arms: their order, the control first; covariates: name to
    (n,) numbers or levels. Errors: AnalysisError of arms without subjects or unknown arms, and as `encoded`."""

    arm: np.ndarray
    arms: tuple[str, ...]
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    encoding: Encoding = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arm = np.asarray(self.arm).astype(str)
        wrong = [] if arm.ndim == 1 else [f"arm: shape {arm.shape}; write one name per subject"]
        if len(self.arms) < 2 or len(set(self.arms)) < len(self.arms):
            wrong.append(f"arms: {list(self.arms)}; write two or more different names, the control first")
        wrong += [f"arms: '{a}' has no subjects; leave it out, or enrol" for a in self.arms if not np.any(arm == a)]
        wrong += [f"arm: '{a}' is not among {list(self.arms)}; add it there" for a in sorted(set(arm) - set(self.arms))]
        try:
            object.__setattr__(self, "encoding", encoded(self.covariates, arm.size))
        except AnalysisError as e:
            wrong.append(str(e))
        refuse(wrong)
        object.__setattr__(self, "arm", arm)

    def design(self) -> dict[str, np.ndarray]:
        """treated: (n, arms - 1) indicators against the control; x: (n, columns) standardised covariates."""
        treated = (self.arm[:, None] == np.array(self.arms[1:])[None]).astype(float)
        x = self.encoding.matrix(self.covariates) if self.encoding.names else np.empty((len(self.arm), 0))
        return {"treated": treated, "x": x}

    def labels(self) -> dict[str, Any]:
        """The coordinates and dimensions of a posterior of these subjects."""
        coords = {"arm": list(self.arms[1:]), "covariate": list(self.encoding.names)}
        return {"coords": coords, "dims": {"effect": ["arm"], "coefficient": ["covariate"]}}

    def at(self, arm: str) -> int:
        """The place of a treated arm among the effects. Errors: AnalysisError of one that is not there."""
        if arm not in self.arms[1:]:
            raise AnalysisError(f"arm: '{arm}' is no treated arm; write one of {list(self.arms[1:])}")
        return self.arms.index(arm) - 1


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


def linear(design: Any) -> Any:
    """The linear predictor (n,) of a NumPyro model: sites intercept, effect (arms - 1,), coefficient (columns,)."""
    import numpyro
    import numpyro.distributions as dist

    prior, (_, arms), (_, columns) = design["prior"], design["treated"].shape, design["x"].shape
    eta = numpyro.sample("intercept", dist.Normal(prior["intercept"], prior["intercept_sd"]))
    eta = eta + design["treated"] @ numpyro.sample("effect", dist.Normal(0, prior["effect_sd"]).expand([arms]))
    if columns:
        of_sd = dist.Normal(0, prior["coefficient_sd"]).expand([columns])
        eta = eta + design["x"] @ numpyro.sample("coefficient", of_sd)
    return eta


def linear_pymc(design: Any) -> Any:
    """`linear`, in the PyMC model whose context is open, with dimensions arm and covariate."""
    import pymc as pm

    prior = design["prior"]
    eta = pm.Normal("intercept", prior["intercept"], prior["intercept_sd"])
    eta = eta + pm.math.dot(design["treated"], pm.Normal("effect", 0, prior["effect_sd"], dims="arm"))
    if design["x"].shape[1]:
        eta = eta + pm.math.dot(design["x"], pm.Normal("coefficient", 0, prior["coefficient_sd"], dims="covariate"))
    return eta


def sites(subjects: Subjects) -> list[str]:
    """The sites of `linear` for these subjects."""
    return ["intercept", "effect", *(["coefficient"] if subjects.encoding.names else [])]


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


def standardised(
    tree: "xr.DataTree",
    subjects: Subjects,
    arm: str,
    inverse_link: Callable[[np.ndarray], np.ndarray],
    population: Mapping[str, Any] | None = None,
    bootstrap_seed: int | None = None,
) -> np.ndarray:
    """The mean outcome of a population were all of it control, and were all of it `arm`: (2, chains, draws).

    population: whose covariates, the trial's own if None. bootstrap_seed: weigh its people anew in each draw [4], so
    that the distribution of covariates is uncertain too. Errors: AnalysisError of a level that the fit has not seen."""
    adjusted, at = bool(subjects.encoding.names), subjects.at(arm)
    x = subjects.encoding.matrix(subjects.covariates if population is None else population) if adjusted else None
    n = 1 if x is None else len(x)
    intercept, effect = flat(tree, "intercept")[:, None], flat(tree, "effect")[:, at, None]
    rng = None if bootstrap_seed is None else np.random.default_rng(bootstrap_seed)
    means = np.empty((2, len(intercept)))
    step = max(1, CHUNK // n)
    for start in range(0, len(intercept), step):
        part = slice(start, start + step)
        eta = intercept[part] + (0.0 if x is None else flat(tree, "coefficient")[part] @ x.T)
        weight = np.ones((1, n)) if rng is None else rng.standard_exponential(eta.shape)
        weight = weight / weight.sum(axis=1, keepdims=True)  # of exponentials: Dirichlet(1, ..., 1)
        means[0, part] = np.sum(weight * inverse_link(eta), axis=1)
        means[1, part] = np.sum(weight * inverse_link(eta + effect[part]), axis=1)
    return means.reshape(2, *values(tree, "intercept").shape)


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
