"""A trial's subjects: arms and standardised covariates, their linear predictor, and means standardised over them.

References
----------
[1] Robins 1986, Math Modelling 7:1393, doi 10.1016/0270-0255(86)90088-6: g-computation.
[2] Rubin 1981, Ann Stat 9:130, doi 10.1214/aos/1176345338: the Bayesian bootstrap.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.refusal import refuse, unusable
from cohort.inference.diagnosis import flat, values

if TYPE_CHECKING:
    import xarray as xr

CHUNK = 2**22  # predicted outcomes held at once


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


def standardised(
    tree: "xr.DataTree",
    subjects: Subjects,
    arm: str,
    inverse_link: Callable[[np.ndarray], np.ndarray],
    population: Mapping[str, Any] | None = None,
    bootstrap_seed: int | None = None,
) -> np.ndarray:
    """The mean outcome of a population were all of it control, and were all of it `arm` [1]: (2, chains, draws).

    population: whose covariates, the trial's own if None. bootstrap_seed: weigh its people anew in each draw [2], so
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
