"""Repeated measures of a continuous endpoint: a Bayesian MMRM, its adjusted means and treatment contrasts by visit.

    y_i[seen] ~ Normal((z_i C)[seen], Sigma[seen, seen])

The rows of C (columns of z): control mean, treatment effects and the slope of baseline, each by visit [1]; further
covariates with one coefficient for all visits; a twin's prognostic score at each visit, which bears on that visit
alone [2]. Covariates are centred in the trial, so the control means are those of its average subject. Values are
missing at random given what is seen: the hypothetical estimand where values after an intercurrent event are left out.

The likelihood sees, of each pattern of missing visits, only the cross-products of z and y: its cost does not grow with
the number of subjects.

References
----------
[1] Mallinckrodt et al. 2008, Drug Inf J 42:303, doi 10.1177/009286150804200402.
[2] Time-matched prognostic scores in an MMRM (PROCOVA-MMRM), arXiv:2404.17576.
[3] Kass & Wasserman 1995, J Am Stat Assoc 90:928, doi 10.1080/01621459.1995.10476592: the unit-information prior.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.covariance import Covariance, lower, matrices, numpyro_factor, pymc_matrix, sites
from cohort.analysis.refusal import improper, refuse, unusable
from cohort.analysis.restricted import probability
from cohort.analysis.subjects import Subjects
from cohort.inference.diagnosis import require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr

    from cohort.mixture import MvNormalMixture

SAMPLING = Sampling(dense=True)  # means, effects and variances of neighbouring visits are correlated
PARAMETERS = ["control", "effect", "sd", "correlation"]


@dataclass(frozen=True)
class Longitudinal:
    """A continuous endpoint at the same visits in every subject. y: (subjects, visits), NaN where missing; visits:
    their names in order; baseline: (subjects,); twin: (subjects, visits), a predicted outcome for every visit, or None.

    Errors: AnalysisError of gaps in baseline or score, infinite values, an arm without a value at a visit, a visit
    without variance, or fewer values at a visit than the means need."""

    y: np.ndarray
    subjects: Subjects
    visits: tuple[str, ...]
    baseline: np.ndarray
    twin: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, y = len(self.subjects.arm), np.asarray(self.y, float)
        wrong = unusable("baseline", self.baseline, n)
        if not wrong and np.ptp(np.asarray(self.baseline, float)) == 0:
            wrong.append(f"baseline: every subject has {np.asarray(self.baseline)[0]}; give each subject's own value")
        if len(self.visits) < 2 or len(set(self.visits)) < len(self.visits):
            wrong.append(f"visits: {list(self.visits)}; write two or more different names after baseline")
        shape = (n, len(self.visits))
        for name, table in (("y", y), ("twin", self.twin)):
            if table is not None and np.shape(table) != shape:
                wrong.append(
                    f"{name}: shape {np.shape(table)}; write one row per subject, one column per visit: {shape}"
                )
        if y.shape == shape:
            wrong += self._values(y)
        if self.twin is not None and np.shape(self.twin) == shape:
            score = np.asarray(self.twin, float)
            for visit, column in zip(self.visits, score.T, strict=True):
                wrong += (bad := unusable(f"twin at {visit}", column, n))
                if not bad and np.ptp(column) == 0:
                    wrong.append(f"twin at {visit}: every subject has {column[0]}; a score must tell subjects apart")
            object.__setattr__(self, "twin", score)
        refuse(wrong)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "baseline", np.asarray(self.baseline, float))

    def _values(self, y: np.ndarray) -> list[str]:
        wrong, seen = [], ~np.isnan(y)
        if np.isinf(y).any():
            wrong.append(f"y: {np.isinf(y).sum()} infinite values; write NaN where a value is missing")
            return wrong
        need = len(self.subjects.arms) + len(self.subjects.encoding.names) + 1 + (self.twin is not None) + 2
        for j, visit in enumerate(self.visits):
            column = y[seen[:, j], j]
            if len(column) < need:
                wrong.append(f"y at {visit}: {len(column)} values; at least {need} are needed, or leave the visit out")
            elif np.ptp(column) == 0:
                wrong.append(f"y at {visit}: every value is {column[0]}; a visit without variance has no model")
            for arm in self.subjects.arms:
                if not seen[self.subjects.arm == arm, j].any():
                    wrong.append(f"y at {visit}: no value in arm '{arm}'; leave the visit or the arm out")
        return wrong

    @property
    def seen(self) -> np.ndarray:
        """Which values there are: (subjects, visits)."""
        return ~np.isnan(self.y)

    def visit(self, name: str | None) -> int:
        """The place of a visit, the last if None. Errors: AnalysisError of one that is not there."""
        if name is not None and name not in self.visits:
            raise AnalysisError(f"visit: '{name}' is not there; write one of {list(self.visits)}")
        return len(self.visits) - 1 if name is None else self.visits.index(name)

    def columns(self) -> np.ndarray:
        """z (subjects, 1 + treated arms + 1 + covariates [+ visits]), everything but the arms centred, in own units
        (covariates as encoded)."""
        design = self.subjects.design()
        parts = [np.ones((len(self.y), 1)), design["treated"], (self.baseline - self.baseline.mean())[:, None]]
        parts.append(design["x"])
        if self.twin is not None:
            parts.append(self.twin - self.twin.mean(axis=0))
        return np.column_stack(parts)

    def spread(self) -> tuple[float, float]:
        """The mean of all values, and their SD within arms and visits: the unit in which priors are stated."""
        within, lost = 0.0, 0
        for arm in self.subjects.arms:
            rows = self.y[self.subjects.arm == arm]
            within += float(np.nansum((rows - np.nanmean(rows, axis=0)) ** 2))
            lost += rows.shape[1]
        return float(np.nanmean(self.y)), (within / (self.seen.sum() - lost)) ** 0.5


@dataclass(frozen=True)
class Priors:
    """Independent normal priors of means and coefficients, half-normal of SDs, LKJ of an unstructured correlation.

    All but `lkj` and `centre` are in multiples of `unit`, an SD in the outcome's own unit; where it is None, the SD
    within arms and visits of the data at hand, which makes the prior no more than weakly dependent on them. A control
    mean has prior mean `centre`, in the outcome's own unit; where it is None, the mean of all values. Slopes are per SD
    of their covariate."""

    unit: float | None = None
    centre: float | None = None
    control: float = 20.0
    effect: float = 20.0
    slope: float = 20.0
    sd: float = 2.5
    lkj: float = 1.0

    def __post_init__(self) -> None:
        scales = {k: getattr(self, k) for k in ("control", "effect", "slope", "sd", "lkj")}
        scales |= {} if self.unit is None else {"unit": self.unit}
        refuse(improper(scales, {} if self.centre is None else {"centre": self.centre}))


def patterns(data: Longitudinal) -> tuple[np.ndarray, np.ndarray]:
    """The patterns of seen visits that occur, (patterns, visits), and each subject's, (subjects,): -1 of none seen."""
    found, which = np.unique(data.seen, axis=0, return_inverse=True)
    some = found.any(axis=1)
    return found[some], np.where(some, np.cumsum(some) - 1, -1)[which.reshape(-1)]


def designed(data: Longitudinal, priors: Priors, control: "MvNormalMixture | None" = None) -> dict[str, Any]:
    """The arrays of `model`: z (subjects, q) with slopes per SD, their cross-products by pattern, patterns, priors in
    standard units. Errors: AnalysisError of a control prior that does not fit the visits or is improper."""
    visits = len(data.visits)
    mean, sd = data.spread()
    centre, unit = (mean if priors.centre is None else priors.centre), (sd if priors.unit is None else priors.unit)
    seen, pattern = patterns(data)
    member = (pattern[:, None] == np.arange(len(seen))).astype(float)
    z = data.columns()
    treated, covariates = len(data.subjects.arms) - 1, len(data.subjects.encoding.names)
    scale = np.ones(z.shape[1])
    scale[1 + treated] = data.baseline.std()
    if data.twin is not None:
        scale[-visits:] = z[:, -visits:].std()
    z = z / scale
    weight, at, spread = np.ones(1), np.zeros((1, visits)), np.eye(visits)[None] * priors.control**2
    if control is not None:
        weight, at = np.asarray(control.weight, float), (np.asarray(control.component_mean, float) - centre) / unit
        spread = np.asarray(control.component_cov, float) / unit**2
        refuse(_unfit(weight, at, spread, visits))
    return {
        "z": z,
        "zz": np.einsum("ip,ia,ib->pab", member, z, z),
        "member": member,
        "seen": seen.astype(float),
        "centre": np.asarray(centre),
        "unit": np.asarray(unit),
        "scale": {"baseline": np.asarray(scale[1 + treated]), "twin": np.asarray(scale[-1])},
        "control": {"weight": weight, "mean": at, "factor": np.linalg.cholesky(spread)},
        "effect": np.full((treated, visits), priors.effect),
        "baseline": np.full(visits, priors.slope),
        "coefficient": np.full(covariates, priors.slope),
        "twin": np.full(visits if data.twin is not None else 0, priors.slope),
        "sd": np.asarray(priors.sd),
        "lkj": np.asarray(priors.lkj),
    }


def _unfit(weight: np.ndarray, mean: np.ndarray, cov: np.ndarray, visits: int) -> list[str]:
    k = len(weight)
    if mean.shape != (k, visits) or cov.shape != (k, visits, visits):
        return [f"control: means {mean.shape}, covariances {cov.shape}; write ({k}, {visits}) and its squares"]
    wrong = []
    if not (np.all(weight >= 0) and abs(weight.sum() - 1) < 1e-9):
        wrong.append(f"control: weights {weight.tolist()}; write numbers from 0 to 1 that sum to 1")
    if not (np.isfinite(mean).all() and np.isfinite(cov).all() and np.all(np.linalg.eigvalsh(cov) > 0)):
        wrong.append("control: a component is improper; write finite means and positive definite covariances")
    return wrong


def products(design: Mapping[str, Any], y: Any) -> Any:
    """The sufficient statistics of y (subjects, visits; in standard units, 0 where missing) for each pattern: z'y over
    y'y, (patterns, q + visits, visits)."""
    import jax.numpy as jnp

    zy = jnp.concatenate([jnp.asarray(design["z"]), y], axis=1)
    return jnp.einsum("ip,ia,ib->pab", jnp.asarray(design["member"]), zy, y)


@functools.cache
def _log_density() -> Any:
    """log |A| and tr(A^-1 B) of many small matrices (many, visits, visits). The gradient is given, for the one that JAX
    derives of a Cholesky factor takes twice the time of all the rest, and most of the time to compile."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import solve_triangular

    def forward(a: Any, b: Any) -> Any:
        factor = jnp.linalg.cholesky(a)
        root = solve_triangular(factor, jnp.broadcast_to(jnp.eye(a.shape[-1]), a.shape), lower=True)
        inverse = jnp.swapaxes(root, 1, 2) @ root
        logs = 2 * jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        return (logs, (inverse * b).sum(axis=(1, 2))), (inverse, b)

    def backward(kept: Any, given: Any) -> Any:
        (inverse, b), (of_log, of_trace) = kept, (g[:, None, None] for g in given)
        return of_log * inverse - of_trace * (inverse @ b @ inverse), of_trace * inverse

    terms = jax.custom_vjp(lambda a, b: forward(a, b)[0])
    terms.defvjp(forward, backward)

    @jax.jit
    def density(c: Any, factor: Any, design: Any, value: Any) -> Any:
        q, visits = c.shape
        seen, count = design["seen"], design["member"].sum(axis=0)
        cross = jnp.swapaxes(value[:, :q], 1, 2) @ c
        within = value[:, q:] - cross - jnp.swapaxes(cross, 1, 2) + c.T @ design["zz"] @ c
        pair = seen[:, :, None] * seen[:, None, :]
        # a missing visit gets variance 1 and no covariance, so that every pattern has one shape
        logs, squares = terms(pair * (factor @ factor.T) + jnp.eye(visits) * (1 - seen[:, :, None]), pair * within)
        return -(count * (logs + seen.sum(axis=1) * np.log(2 * np.pi)) + squares) / 2

    return density


@functools.cache
def _patterned() -> Any:
    """The distribution of those statistics, with the density of the values behind them."""
    import jax
    import jax.numpy as jnp
    import numpyro.distributions as dist

    jax.config.update("jax_enable_x64", True)

    class Patterned(dist.Distribution):
        pytree_data_fields = ("coefficients", "factor", "design")

        def __init__(self, coefficients: Any, factor: Any, design: Any) -> None:
            """coefficients: C (q, visits); factor: Cholesky factor of Sigma (visits, visits)."""
            self.coefficients, self.factor, self.design = coefficients, factor, design
            q, visits = coefficients.shape
            super().__init__((design["seen"].shape[0],), (q + visits, visits), validate_args=False)

        def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Any:
            z, seen = jnp.asarray(self.design["z"]), jnp.asarray(self.design["member"]) @ self.design["seen"]
            noise = jax.random.normal(key, (*sample_shape, len(z), self.coefficients.shape[1]))
            drawn = (z @ self.coefficients + noise @ self.factor.T) * seen
            one = functools.partial(products, self.design)
            return functools.reduce(lambda f, _: jax.vmap(f), sample_shape, one)(drawn)

        def log_prob(self, value: Any, intermediates: Any = None) -> Any:
            used = {k: jnp.asarray(self.design[k]) for k in ("seen", "member", "zz")}
            return _log_density()(self.coefficients, self.factor, used, value)

    return Patterned


def model(design: Any, outcome: Any = None, covariance: Covariance = Covariance()) -> None:  # noqa: B008 (frozen)
    """The MMRM in NumPyro. design: of `designed`; outcome: `products`, or None to draw them.

    Sites in standard units end in `|standard`; in the outcome's own unit: control (visits,), effect (arms - 1, visits),
    baseline (visits,) and twin (visits,) per unit of theirs, coefficient (covariates,), sd (visits,), correlation
    (pairs,), and control_weight (components,), the posterior weights of the control prior's components."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    unit, prior = design["unit"], design["control"]
    visits = design["effect"].shape[1]
    weight = jnp.asarray(prior["weight"])
    parts = dist.MultivariateNormal(jnp.asarray(prior["mean"]), scale_tril=jnp.asarray(prior["factor"]))
    control: Any = numpyro.sample("control|standard", dist.MixtureSameFamily(dist.Categorical(probs=weight), parts))
    share = jnp.log(weight) + parts.log_prob(control)
    numpyro.deterministic("control_weight", jax.nn.softmax(share))
    effect: Any = numpyro.sample("effect|standard", dist.Normal(0, jnp.asarray(design["effect"])).to_event(2))
    slope: Any = numpyro.sample("baseline|standard", dist.Normal(0, jnp.asarray(design["baseline"])).to_event(1))
    rows = [control[None], effect, slope[None]]
    numpyro.deterministic("control", design["centre"] + unit * control)
    numpyro.deterministic("effect", unit * effect)
    numpyro.deterministic("baseline", unit * slope / design["scale"]["baseline"])
    if design["coefficient"].shape[0]:
        of = dist.Normal(0, jnp.asarray(design["coefficient"])).to_event(1)
        coefficient: Any = numpyro.sample("coefficient|standard", of)
        numpyro.deterministic("coefficient", unit * coefficient)
        rows.append(jnp.repeat(coefficient[:, None], visits, axis=1))
    if design["twin"].shape[0]:
        twin: Any = numpyro.sample("twin|standard", dist.Normal(0, jnp.asarray(design["twin"])).to_event(1))
        numpyro.deterministic("twin", unit * twin / design["scale"]["twin"])
        rows.append(jnp.diag(twin))
    sd, factor, correlation = numpyro_factor(covariance, visits, design["sd"], design["lkj"])
    numpyro.deterministic("sd", unit * sd)
    numpyro.deterministic("correlation", correlation)
    y = _patterned()(jnp.concatenate(rows), factor, design)
    numpyro.sample("products", y, obs=None if outcome is None else outcome["products"])


def _twin(data: Longitudinal, design: Any, covariance: Covariance, coords: Mapping[str, Any]) -> Any:
    """The same in PyMC, from the values of every subject."""
    import pymc as pm
    import pytensor.tensor as pt

    unit, prior, visits = float(design["unit"]), design["control"], len(data.visits)
    y = (data.y - design["centre"]) / unit
    with pm.Model(coords=dict(coords)) as built:
        parts = [pm.MvNormal.dist(m, chol=f) for m, f in zip(prior["mean"], prior["factor"], strict=True)]
        one = len(parts) == 1
        control = (
            pm.MvNormal("control|standard", prior["mean"][0], chol=prior["factor"][0])
            if one
            else pm.Mixture("control|standard", prior["weight"], parts)
        )
        share = pt.stack([np.log(w) + pm.logp(p, control) for w, p in zip(prior["weight"], parts, strict=True)])
        pm.Deterministic("control_weight", pt.special.softmax(share))
        effect = pm.Normal("effect|standard", 0, design["effect"])
        slope = pm.Normal("baseline|standard", 0, design["baseline"])
        rows = [control[None], effect, slope[None]]
        pm.Deterministic("control", float(design["centre"]) + unit * control, dims="visit")
        pm.Deterministic("effect", unit * effect, dims=("arm", "visit"))
        pm.Deterministic("baseline", unit * slope / float(design["scale"]["baseline"]), dims="visit")
        if len(design["coefficient"]):
            coefficient = pm.Normal("coefficient|standard", 0, design["coefficient"])
            pm.Deterministic("coefficient", unit * coefficient, dims="covariate")
            rows.append(pt.repeat(coefficient[:, None], visits, axis=1))
        if len(design["twin"]):
            twin = pm.Normal("twin|standard", 0, design["twin"])
            pm.Deterministic("twin", unit * twin / float(design["scale"]["twin"]), dims="visit")
            rows.append(pt.diag(twin))
        sd, sigma, correlation = pymc_matrix(covariance, visits, float(design["sd"]), float(design["lkj"]))
        pm.Deterministic("sd", unit * sd, dims="visit")
        pm.Deterministic("correlation", correlation, dims="pair")
        means = pt.dot(design["z"], pt.concatenate(rows))
        for p, seen in enumerate(design["seen"]):
            at, who = np.flatnonzero(seen), np.flatnonzero(design["member"][:, p])
            pm.MvNormal(f"y_{p}", means[who][:, at], cov=sigma[at][:, at], observed=y[np.ix_(who, at)])
    return built


def fit(
    data: Longitudinal,
    covariance: Covariance | None = None,
    priors: Priors | None = None,
    *,
    control: "MvNormalMixture | None" = None,
    seed: int,
    sampling: Sampling = SAMPLING,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """The posterior of the MMRM; log_likelihood: `y` of every subject with a value.

    control: a prior of the control means of the visits, in the outcome's own unit, in the place of the vague one; it
    bears on nothing else. It must speak of this trial's average subject. Errors: NotConverged, as `designed`."""
    import jax

    jax.config.update("jax_enable_x64", True)
    covariance, design = covariance or Covariance(), designed(data, priors or Priors(), control)
    pairs = [f"{data.visits[a]}, {data.visits[b]}" for a, b in zip(*lower(len(data.visits)), strict=True)]
    coords = data.subjects.labels()["coords"] | {"visit": list(data.visits), "pair": pairs}
    if engine == "pymc":
        tree = pymc_nuts(_twin(data, design, covariance, coords), seed=seed, sampling=sampling)
    else:
        by_visit = {k: ["visit"] for k in ("control", "baseline", "sd", *(["twin"] if data.twin is not None else []))}
        dims = by_visit | {"effect": ["arm", "visit"], "correlation": ["pair"]}
        if data.subjects.encoding.names:
            dims |= {"coefficient": ["covariate"]}
        optional = {"coefficient": design["coefficient"], "twin": design["twin"]}
        priors_of = ["control|standard", "effect|standard", "baseline|standard"]
        priors_of += [f"{k}|standard" for k, v in optional.items() if len(v)] + sites(covariance)
        y = np.where(data.seen, (data.y - design["centre"]) / design["unit"], 0.0)
        tree = numpyro_nuts(
            functools.partial(model, covariance=covariance),
            design,
            {"products": products(design, y)},
            seed=seed,
            sampling=sampling,
            priors=priors_of,
            coords=coords,
            dims=dims,
        )
    require(tree, PARAMETERS, what="the MMRM")
    _pointwise(tree, data)
    return tree


def means(tree: "xr.DataTree", data: Longitudinal, arm: str | None = None, every: int = 1) -> np.ndarray:
    """Each subject's expected outcome: (chains, draws, subjects, visits), as of the own arm, or had all been in `arm`.
    every: of every how many draws."""
    drawn = {k: values(tree, k)[:, ::every] for k in ("control", "effect", "baseline")}
    z, arms = data.columns(), data.subjects.arms
    own = data.subjects.arm if arm is None else np.full(len(z), arm)
    at = np.array([arms.index(a) for a in own])
    effects = np.concatenate([np.zeros_like(drawn["control"])[:, :, None], drawn["effect"]], axis=2)
    slopes = drawn["baseline"][:, :, None, :]
    mean = drawn["control"][:, :, None, :] + effects[:, :, at] + z[:, len(arms), None] * slopes
    after = len(arms) + 1
    if names := data.subjects.encoding.names:
        mean = mean + (values(tree, "coefficient")[:, ::every] @ z[:, after : after + len(names)].T)[..., None]
    if data.twin is not None:
        mean = mean + z[:, -len(data.visits) :] * values(tree, "twin")[:, ::every, None]
    return mean


def covariances(tree: "xr.DataTree", every: int = 1) -> np.ndarray:
    """Sigma of every draw: (chains, draws, visits, visits)."""
    return matrices(values(tree, "sd")[:, ::every], values(tree, "correlation")[:, ::every])


def _pointwise(tree: "xr.DataTree", data: Longitudinal) -> None:
    """In the place of the engine's own log-likelihood, one term per subject, as leave-one-out needs it."""
    import xarray as xr
    from arviz_base import dict_to_dataset

    sigma, (seen, pattern) = covariances(tree), patterns(data)
    terms = np.zeros((*sigma.shape[:2], len(pattern)))
    for chain in range(len(sigma)):  # one at a time: residuals are the largest array here
        residual = data.y - means(tree.isel(chain=[chain]), data)[0]
        for p, visible in enumerate(seen):
            at, who = np.flatnonzero(visible), pattern == p
            factor = np.linalg.cholesky(sigma[chain][:, at[:, None], at])
            white = np.linalg.solve(factor, np.swapaxes(residual[:, who][:, :, at], 1, 2))
            logs = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1) + len(at) * np.log(2 * np.pi) / 2
            terms[chain][:, who] = -logs[:, None] - (white**2).sum(axis=1) / 2
    tree["log_likelihood"] = xr.DataTree(dict_to_dataset({"y": terms[:, :, pattern >= 0]}))


def contrast(tree: "xr.DataTree", data: Longitudinal, arm: str, visit: str | None = None) -> np.ndarray:
    """Draws (chains, draws) of the adjusted mean of an arm less the control's, at a visit, the last if None."""
    return values(tree, "effect")[:, :, data.subjects.at(arm), data.visit(visit)]


def adjusted(tree: "xr.DataTree", data: Longitudinal) -> np.ndarray:
    """Draws (chains, draws, arms, visits) of the arms' means for the trial's average subject."""
    control = values(tree, "control")[:, :, None]
    return np.concatenate([control, control + values(tree, "effect")], axis=2)


def table(tree: "xr.DataTree", data: Longitudinal, level: float = 0.95) -> "pl.DataFrame":
    """One row per treated arm and visit: mean, SD, equal-tailed interval at `level` and P(contrast < 0), with the Monte
    Carlo standard errors of the mean and of the probability; where all draws are on one side, one draw's share stands
    for the latter."""
    import polars as pl
    from arviz_stats import mcse

    rows = []
    for arm in data.subjects.arms[1:]:
        for visit in data.visits:
            draws = contrast(tree, data, arm, visit)
            low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
            below, below_mcse = probability(draws < 0)
            rows.append(
                {
                    "arm": arm,
                    "visit": visit,
                    "mean": draws.mean(),
                    "sd": draws.std(ddof=1),
                    "low": low,
                    "high": high,
                    "level": level,
                    "mcse": float(mcse(draws)),
                    "below": below,
                    "below_mcse": below_mcse,
                }
            )
    return pl.DataFrame(rows)


def control_weight(tree: "xr.DataTree") -> tuple[np.ndarray, np.ndarray]:
    """The posterior weight of each component of the control prior, (components,), and its Monte Carlo error."""
    from arviz_stats import mcse

    draws = values(tree, "control_weight")
    errors = [float(mcse(draws[..., k])) if np.ptp(draws[..., k]) > 0 else 0.0 for k in range(draws.shape[-1])]
    return draws.mean(axis=(0, 1)), np.array(errors)


def robust_control(virtual: "MvNormalMixture", data: Longitudinal, weight: float = 0.2) -> "MvNormalMixture":
    """A virtual prior of the control means with a vague part of this weight: unit-information [3], one subject's worth
    about the virtual mean, with the covariance of the control arm's complete subjects within the arm.

    Errors: AnalysisError of a weight outside (0, 1), or fewer complete control subjects than a covariance needs."""
    from cohort.mixture import MvNormalMixture

    rows = data.y[(data.subjects.arm == data.subjects.arms[0]) & data.seen.all(axis=1)]
    wrong = [] if 0 < weight < 1 else [f"weight: {weight}; write the vague part's, above 0 and below 1"]
    if len(rows) < len(data.visits) + 2:
        wrong.append(f"control arm: {len(rows)} complete subjects; {len(data.visits) + 2} are needed for a unit")
    refuse(wrong)
    centre = np.asarray(virtual.weight) @ np.asarray(virtual.component_mean)
    vague = MvNormalMixture(np.ones(1), centre[None], np.cov(rows.T)[None])
    return virtual.robust(weight, vague)


def without(data: Longitudinal, hidden: np.ndarray) -> Longitudinal:
    """The same data with the values at `hidden` (subjects, visits) taken for missing."""
    return replace(data, y=np.where(hidden, np.nan, data.y))


def case() -> Case:
    """For simulation-based calibration: 30 subjects, three visits, two arms, a third of them lost on the way."""
    rng = np.random.default_rng(1)
    y, baseline = rng.normal(size=(30, 3)), rng.normal(size=30)
    y[24:, 1:], y[20:24, 2], y[:3, 1] = np.nan, np.nan, np.nan
    subjects = Subjects(np.array(["control", "active"] * 15), ("control", "active"))
    priors = Priors(unit=1.0, centre=0.0, control=1.0, effect=1.0, slope=1.0, sd=1.0, lkj=2.0)
    design = designed(Longitudinal(y, subjects, ("1", "2", "3"), baseline), priors)
    return Case("mmrm", model, design, ("products",), tuple(PARAMETERS))
