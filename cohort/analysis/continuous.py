"""A continuous endpoint by arm: analysis of covariance, with a prognostic score from a twin (PROCOVA), and with a prior
from history that the trial may overrule (Bayesian PROCOVA).

    y_i ~ Normal(intercept + effect[arm_i] + x_i · coefficient, sigma²),  sigma ~ half-normal

References
----------
[1] Schuler et al. 2022, Int J Biostat 18:329, doi 10.1515/ijb-2021-0072: adjustment for a prognostic score (PROCOVA);
    the variance falls by the factor 1 - rho².
[2] Vanderbeek et al. 2023, arXiv:2310.18027: Bayesian PROCOVA, an additive mixture prior whose weight has a prior.
[3] Gelman et al., Bayesian Data Analysis, 3rd ed., section 14.2: the posterior of a regression under the reference
    prior.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.refusal import improper, refuse, unusable
from cohort.analysis.subjects import Subjects, linear, linear_pymc, sites
from cohort.inference.diagnosis import require
from cohort.inference.sampling import DEFAULT, Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

SCORE = "prognostic score"


@dataclass(frozen=True)
class Continuous:
    """A continuous endpoint. y: (n,) in the endpoint's unit; score: (n,) each subject's expected outcome under control,
    of the twin, which becomes one more covariate. Errors: AnalysisError of missing values, of an outcome or a score
    that does not vary, of an arm with one subject."""

    y: np.ndarray
    subjects: Subjects
    score: np.ndarray | None = None

    def __post_init__(self) -> None:
        subjects = self.subjects
        wrong = unusable("y", self.y, len(subjects.arm))
        if not wrong and np.ptp(y := np.asarray(self.y, float)) == 0:
            wrong.append(f"y: every subject has {y.flat[0]:g}; an outcome that does not vary says nothing of sigma")
        wrong += [
            f"arms: '{a}' has one subject; enrol two or more" for a in subjects.arms if sum(subjects.arm == a) < 2
        ]
        if self.score is not None:
            wrong += (bad := unusable("score", self.score, len(subjects.arm)))
            if not bad and np.ptp(np.asarray(self.score, float)) == 0:
                wrong.append("score: every subject has the same; a twin that tells no one apart cannot adjust")
            if SCORE in subjects.covariates:
                wrong.append(f"covariate '{SCORE}': also given as score; leave out one")
        refuse(wrong)
        object.__setattr__(self, "y", np.asarray(self.y, float))
        if self.score is not None:
            score = np.asarray(self.score, float)
            object.__setattr__(self, "score", score)
            object.__setattr__(self, "subjects", replace(subjects, covariates={**subjects.covariates, SCORE: score}))


@dataclass(frozen=True)
class Priors:
    """scale: the outcome's SD as known before the trial, in its unit; centre: its mean under control. In units of
    scale: SDs of the normal priors of the control's mean about the centre, of each effect and of each coefficient (per
    SD of its covariate), and the scale of the half-normal prior of sigma."""

    scale: float = 1.0
    centre: float = 0.0
    intercept_sd: float = 10.0
    effect_sd: float = 5.0
    coefficient_sd: float = 2.5
    sigma_scale: float = 2.0

    def __post_init__(self) -> None:
        scales = {k: v for k, v in vars(self).items() if k != "centre"}
        refuse(improper(scales, {"centre": self.centre}))

    def design(self, spreads: int = 1) -> dict[str, Any]:
        scaled = {k: self.scale * getattr(self, k) for k in ("intercept_sd", "effect_sd", "coefficient_sd")}
        return scaled | {"intercept": self.centre, "sigma_scale": np.full(spreads, self.scale * self.sigma_scale)}

    def check(self, y: np.ndarray) -> None:
        """Errors: AnalysisError where the scale is not of this outcome."""
        if not self.scale / 100 < (sd := float(np.std(y))) < 5 * self.scale:
            raise AnalysisError(f"priors.scale: {self.scale:g}, but the outcome's SD is {sd:.3g}; write it in y's unit")


def design_of(data: Continuous, priors: Priors, unequal: bool = False) -> dict[str, Any]:
    """treated, x, prior, and spread (n,): whose sigma is each subject's. unequal: one sigma for each arm."""
    arms = data.subjects.arms
    spread = np.array([arms.index(a) for a in data.subjects.arm]) if unequal else np.zeros(len(data.y), int)
    prior = priors.design(len(arms) if unequal else 1)
    return data.subjects.design() | {"spread": spread, "prior": prior}


def model(design: Any, outcome: Any = None) -> None:
    """The analysis of covariance in NumPyro. design: of `design_of`; outcome: y (n,), or None to draw it."""
    import numpyro
    import numpyro.distributions as dist

    mean = linear(design)
    sigma: Any = numpyro.sample("sigma", dist.HalfNormal(design["prior"]["sigma_scale"]))
    spread: Any = sigma[design["spread"]]
    numpyro.sample("y", dist.Normal(mean, spread), obs=None if outcome is None else outcome["y"])


def fit(
    data: Continuous,
    priors: Priors | None = None,
    *,
    unequal: bool = False,
    seed: int,
    sampling: Sampling = DEFAULT,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """The posterior of the analysis of covariance: intercept, effect (the mean difference to control, by arm),
    coefficient, sigma. unequal: one sigma for each arm. Errors: NotConverged; AnalysisError of a scale that is not y's.
    """
    priors, subjects = priors or Priors(), data.subjects
    priors.check(data.y)
    design, labels = design_of(data, priors, unequal), subjects.labels()
    labels["coords"] |= {"spread": list(subjects.arms) if unequal else ["all"]}
    labels["dims"] |= {"sigma": ["spread"]}
    names = [*sites(subjects), "sigma"]
    if engine == "pymc":
        import pymc as pm

        with pm.Model(coords=labels["coords"]) as twin:
            mean = linear_pymc(design)
            sigma = pm.HalfNormal("sigma", design["prior"]["sigma_scale"], dims="spread")
            pm.Normal("y", mean, sigma[design["spread"]], observed=data.y)
        tree = pymc_nuts(twin, seed=seed, sampling=sampling)
    else:
        outcome = {"y": data.y}
        tree = numpyro_nuts(model, design, outcome, seed=seed, sampling=sampling, priors=names, **labels)
    require(tree, names, what="the analysis of covariance")
    return tree


@dataclass(frozen=True)
class Regression:
    """A normal regression in closed form given sigma. x: (n, p); mean (p,) and factor (p, p): the normal prior of its
    coefficients, factor times its transpose the covariance. The oracle of NUTS, and quick enough to be simulated."""

    x: np.ndarray
    y: np.ndarray
    mean: np.ndarray
    factor: np.ndarray

    def given(self, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each sigma (g,): the log marginal likelihood (g,), and posterior mean (g, p) and covariance (g, p, p)."""
        sigma = np.atleast_1d(np.asarray(sigma, float))
        scaled, rest = self.x @ self.factor, self.y - self.x @ self.mean
        values, vectors = np.linalg.eigh(scaled.T @ scaled)
        values = np.maximum(values, 0.0)
        z, variance = vectors.T @ (scaled.T @ rest), sigma[:, None] ** 2
        log_det = len(rest) * np.log(2 * np.pi * variance[:, 0]) + np.log1p(values / variance).sum(axis=1)
        squares = rest @ rest / variance[:, 0] - (z**2 / (variance * (variance + values))).sum(axis=1)
        back = self.factor @ vectors
        cov = np.einsum("ij,gj,kj->gik", back, variance / (variance + values), back)
        return -(log_det + squares) / 2, self.mean + (z / (variance + values)) @ back.T, cov

    def over_sigma(self, log_prior: Any, nodes: int = 400) -> "Mixed":
        """The posterior under a prior of log sigma, by the trapezium rule. log_prior: its log density, a function."""
        middle = math.log(np.std(self.y - self.x @ np.linalg.lstsq(self.x, self.y)[0]))
        grid = np.linspace(middle - 6, middle + 6, 3000)
        height = self.given(np.exp(grid))[0] + log_prior(grid)
        near = grid[height > height.max() - 40]
        grid = np.linspace(near[0] - 0.01, near[-1] + 0.01, nodes)
        log_marginal, mean, cov = self.given(np.exp(grid))
        height = log_marginal + log_prior(grid)
        weight = np.exp(height - height.max())
        log_evidence = float(height.max() + np.log(weight.sum() * (grid[1] - grid[0])))
        return Mixed(weight / weight.sum(), np.exp(grid), mean, np.sqrt(np.einsum("gii->gi", cov)), log_evidence)


@dataclass(frozen=True)
class Mixed:
    """A posterior of coefficients as a mixture over sigma. weight, sigma: (g,); mean, sd: (g, p)."""

    weight: np.ndarray
    sigma: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    log_evidence: float

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and SD of each coefficient, (p,)."""
        mean = self.weight @ self.mean
        return mean, np.sqrt(self.weight @ (self.sd**2 + self.mean**2) - mean**2)

    def probability(self, k: int, above: float = 0.0) -> float:
        """P(coefficient k > above)."""
        from scipy.stats import norm

        return float(self.weight @ norm.sf(above, self.mean[:, k], self.sd[:, k]))


def exact(data: Continuous, priors: Priors | None = None) -> Mixed:
    """The posterior of `fit` with one sigma, by quadrature: intercept, effects, coefficients in that order."""
    priors = priors or Priors()
    priors.check(data.y)
    design = design_of(data, priors)
    prior, x = design["prior"], np.column_stack([np.ones(len(data.y)), design["treated"], design["x"]])
    k, p = design["treated"].shape[1], x.shape[1]
    sd = np.r_[prior["intercept_sd"], np.full(k, prior["effect_sd"]), np.full(p - 1 - k, prior["coefficient_sd"])]
    scale = float(prior["sigma_scale"][0])
    regression = Regression(x, data.y, np.r_[priors.centre, np.zeros(p - 1)], np.diag(sd))

    def log_prior(t: np.ndarray) -> np.ndarray:
        return math.log(math.sqrt(2 / math.pi) / scale) - np.exp(2 * (t - math.log(scale))) / 2 + t

    return regression.over_sigma(log_prior)


@dataclass(frozen=True)
class Prognosis:
    """What a prognostic score is worth in a trial [1]. correlation: of score and outcome in the control arm, with
    Fisher's interval at `level`; variance_factor: 1 - correlation², what is expected; observed_factor: the ratio of the
    effect's least-squares variances with and without the score; saving: the share of subjects that could be spared at
    equal power, correlation²."""

    controls: int
    correlation: float
    low: float
    high: float
    level: float
    variance_factor: float
    observed_factor: float
    saving: float

    def needed(self, n: int) -> int:
        """Subjects that give with the score the power that n give without."""
        return math.ceil(n * self.variance_factor)


def prognosis(data: Continuous, *, level: float = 0.95) -> Prognosis:
    """Errors: AnalysisError without a score, with fewer than four controls, or where either does not vary in them."""
    from scipy.stats import norm

    if data.score is None:
        raise AnalysisError("score: missing; give each subject's expected outcome under control")
    control = data.subjects.arm == data.subjects.arms[0]
    wrong = [] if 0 < level < 1 else [f"level: {level}; write a number between 0 and 1"]
    if control.sum() < 4:
        wrong.append(f"{data.subjects.arms[0]}: {control.sum()} subjects; a correlation needs four or more")
    for name, column in (("score", data.score), ("y", data.y)):
        if np.ptp(column[control]) == 0:
            wrong.append(f"{name}: does not vary in {data.subjects.arms[0]}; there is no correlation")
    design = data.subjects.design()
    full = np.column_stack([np.ones(len(data.y)), design["treated"], design["x"]])
    if len(data.y) <= np.linalg.matrix_rank(full):
        wrong.append(f"y: {len(data.y)} subjects for {full.shape[1]} coefficients; enrol more, or adjust for less")
    refuse(wrong)
    rho = float(np.corrcoef(data.score[control], data.y[control])[0, 1])
    half = norm.ppf((1 + level) / 2) / math.sqrt(control.sum() - 3)
    middle = math.atanh(min(max(rho, -1 + 1e-12), 1 - 1e-12))
    column = data.subjects.encoding.names.index(SCORE) + 1 + design["treated"].shape[1]
    ratio = _variance(full, data.y) / _variance(np.delete(full, column, axis=1), data.y)
    low, high = math.tanh(middle - half), math.tanh(middle + half)
    return Prognosis(int(control.sum()), rho, low, high, level, 1 - rho**2, ratio, rho**2)


def _variance(x: np.ndarray, y: np.ndarray) -> float:
    """The least-squares variance of the first effect, column 1 of x."""
    inverse = np.linalg.pinv(x.T @ x)
    rest = y - x @ (inverse @ (x.T @ y))
    return float(rest @ rest / (len(y) - np.linalg.matrix_rank(x)) * inverse[1, 1])


@dataclass(frozen=True)
class Belief:
    """A normal prior of (b0, b1, log sigma) of y = b0 + b1 (score - centre) under control. mean, cov: of b0 and b1."""

    mean: np.ndarray  # (2,)
    cov: np.ndarray  # (2, 2)
    log_sigma: float
    log_sigma_sd: float
    centre: float

    def __post_init__(self) -> None:
        mean, cov = np.asarray(self.mean, float), np.asarray(self.cov, float)
        wrong = improper({"log_sigma_sd": self.log_sigma_sd}, {"log_sigma": self.log_sigma, "centre": self.centre})
        if mean.shape != (2,) or not np.isfinite(mean).all():
            wrong.append(f"priors.mean: {mean}; write two finite numbers, of b0 and b1")
        if cov.shape != (2, 2) or not np.isfinite(cov).all() or np.linalg.eigvalsh((cov + cov.T) / 2)[0] <= 0:
            wrong.append(f"priors.cov: {cov.tolist()}; write a positive definite 2 x 2 matrix")
        refuse(wrong)

    def joint(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (3,) and Cholesky factor (3, 3) of (b0, b1, log sigma)."""
        factor = np.zeros((3, 3))
        factor[:2, :2], factor[2, 2] = np.linalg.cholesky(self.cov), self.log_sigma_sd
        return np.r_[self.mean, self.log_sigma], factor


def history(y: np.ndarray, score: np.ndarray, *, worth: float | None = None) -> Belief:
    """What past or virtual controls say of (b0, b1, sigma): the moments of the posterior under the reference prior [3].

    worth: the number of subjects that they may count for at most; a virtual history can be made as long as one likes,
    so for one it should be given. worth=1 is the unit-information prior. Errors: AnalysisError of fewer than six
    subjects, missing values, a score or residuals that do not vary."""
    from scipy.special import digamma, polygamma

    y, score = np.asarray(y), np.asarray(score)
    wrong = unusable("history.y", y) + unusable("history.score", score, max(y.size, 1))
    if not wrong and y.size < 6:
        wrong.append(f"history: {y.size} subjects; write six or more")
    if worth is not None and not 0 < worth <= max(y.size, 1):
        wrong.append(f"history.worth: {worth}; write a number above 0 and at most the {y.size} subjects there are")
    if not wrong and np.ptp(score.astype(float)) == 0:
        wrong.append("history.score: does not vary; there is no slope")
    refuse(wrong)
    centre, nu = float(score.mean()), y.size - 2
    x = np.column_stack([np.ones(y.size), score - centre])
    found = np.linalg.lstsq(x, y)[0]
    squares = float(np.sum((y - x @ found) ** 2))
    if squares <= 1e-20 * float(y @ y):
        raise AnalysisError("history: the score fits every outcome exactly; a residual SD of zero is no prior")
    thin = 1.0 if worth is None else y.size / worth
    cov = thin * squares / (nu - 2) * np.linalg.inv(x.T @ x)  # of Student's t
    log_sigma = (math.log(squares / 2) - float(digamma(nu / 2))) / 2  # sigma² ~ inverse gamma(nu / 2, squares / 2)
    return Belief(found, cov, log_sigma, math.sqrt(thin * float(polygamma(1, nu / 2)) / 4), centre)


@dataclass(frozen=True)
class MixturePrior:
    """(b0, b1, log sigma) ~ omega info + (1 - omega) weak, omega ~ Beta(a, b) [2]; effect ~ Normal(0, effect_sd²).

    weak: as a rule `history(..., worth=1)`. A much wider one makes the trial prefer info even in conflict (Lindley)."""

    info: Belief
    weak: Belief
    effect_sd: float
    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        wrong = improper({"effect_sd": self.effect_sd, "a": self.a, "b": self.b})
        if self.info.centre != self.weak.centre:
            wrong.append(f"priors.weak.centre: {self.weak.centre}; write that of info, {self.info.centre}")
        refuse(wrong)

    def design(self) -> dict[str, Any]:
        """Components: weak, info."""
        (weak, weak_factor), (info, info_factor) = self.weak.joint(), self.info.joint()
        parts = {"mean": np.stack([weak, info]), "factor": np.stack([weak_factor, info_factor])}
        return parts | {"effect_sd": float(self.effect_sd), "a": float(self.a), "b": float(self.b)}


def _procova_design(data: Continuous, prior: MixturePrior) -> dict[str, Any]:
    if data.score is None or data.subjects.encoding.names != (SCORE,):
        raise AnalysisError("covariates: Bayesian PROCOVA adjusts for the score alone; give score, no other covariate")
    score = data.score - prior.info.centre
    return {"treated": data.subjects.design()["treated"], "score": score, "prior": prior.design()}


def procova_model(design: Any, outcome: Any = None) -> None:
    """Bayesian PROCOVA in NumPyro. nuisance: (b0, b1, log sigma); informative: the probability that they are of info,
    whose posterior mean is the component's posterior probability."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    prior = design["prior"]
    omega: Any = numpyro.sample("omega", dist.Beta(prior["a"], prior["b"]))
    parts = dist.MultivariateNormal(jnp.asarray(prior["mean"]), scale_tril=jnp.asarray(prior["factor"]))
    weights: Any = jnp.stack([1 - omega, omega])
    nuisance: Any = numpyro.sample("nuisance", dist.MixtureSameFamily(dist.CategoricalProbs(weights), parts))
    effect = numpyro.sample("effect", dist.Normal(0, prior["effect_sd"]).expand([design["treated"].shape[1]]))
    numpyro.deterministic("informative", jax.nn.softmax(parts.log_prob(nuisance) + jnp.log(weights))[1])
    mean = nuisance[0] + nuisance[1] * design["score"] + design["treated"] @ effect
    numpyro.sample("y", dist.Normal(mean, jnp.exp(nuisance[2])), obs=None if outcome is None else outcome["y"])


def procova(
    data: Continuous, prior: MixturePrior, *, seed: int, sampling: Sampling = DEFAULT, engine: Engine = "numpyro"
) -> "xr.DataTree":
    """The posterior of Bayesian PROCOVA: omega, nuisance, effect, informative (see `procova_model`). Errors:
    NotConverged, as it may be in strong conflict, where the posterior has two modes: `procova_exact` then stands;
    AnalysisError without a score, or with other covariates."""
    design, labels = _procova_design(data, prior), data.subjects.labels()
    labels["coords"]["of control"] = ["b0", "b1", "log sigma"]
    labels["dims"] = {"effect": ["arm"], "nuisance": ["of control"]}
    names = ["omega", "nuisance", "effect"]
    if engine == "pymc":
        import pymc as pm

        known = design["prior"]
        with pm.Model(coords=labels["coords"]) as twin:
            omega = pm.Beta("omega", known["a"], known["b"])
            parts = [pm.MvNormal.dist(m, chol=f) for m, f in zip(known["mean"], known["factor"], strict=True)]
            nuisance = pm.Mixture("nuisance", w=pm.math.stack([1 - omega, omega]), comp_dists=parts, dims="of control")
            effect = pm.Normal("effect", 0, known["effect_sd"], dims="arm")
            weak, info = (cast(Any, pm.logp(p, nuisance)) for p in parts)
            pm.Deterministic("informative", pm.math.sigmoid(pm.math.logit(omega) + info - weak))
            mean = nuisance[0] + nuisance[1] * design["score"] + pm.math.dot(design["treated"], effect)
            pm.Normal("y", mean, pm.math.exp(nuisance[2]), observed=data.y)
        tree = pymc_nuts(twin, seed=seed, sampling=sampling)
    else:
        outcome = {"y": data.y}
        tree = numpyro_nuts(procova_model, design, outcome, seed=seed, sampling=sampling, priors=names, **labels)
    require(tree, names, what="Bayesian PROCOVA")
    return tree


@dataclass(frozen=True)
class Procova:
    """Bayesian PROCOVA by quadrature. informative: the posterior probability of info; omega: its posterior mean;
    components: the posterior under each, weak first, over (b0, b1, effects)."""

    informative: float
    omega: float
    components: tuple[Mixed, Mixed]

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and SD of (b0, b1, effects)."""
        w = np.array([1 - self.informative, self.informative])
        mean, sd = (np.stack(v) for v in zip(*(c.moments() for c in self.components), strict=True))
        return w @ mean, np.sqrt(w @ (sd**2 + mean**2) - (w @ mean) ** 2)

    def probability(self, effect: int = 0, above: float = 0.0) -> float:
        """P(effect > above)."""
        weak, info = (c.probability(2 + effect, above) for c in self.components)
        return (1 - self.informative) * weak + self.informative * info


def procova_exact(data: Continuous, prior: MixturePrior) -> Procova:
    """Bayesian PROCOVA exactly: each component is closed given sigma, and the weight of info in the posterior is by
    their evidence at the prior mean of omega. Errors: as `procova`."""
    from scipy.stats import norm

    design = _procova_design(data, prior)
    x = np.column_stack([np.ones(len(data.y)), design["score"], design["treated"]])
    effects = design["treated"].shape[1]
    found = []
    for belief in (prior.weak, prior.info):
        factor = np.zeros((2 + effects, 2 + effects))
        factor[:2, :2] = np.linalg.cholesky(belief.cov)
        factor[2:, 2:] = prior.effect_sd * np.eye(effects)
        regression = Regression(x, data.y, np.r_[belief.mean, np.zeros(effects)], factor)
        found.append(regression.over_sigma(partial(norm.logpdf, loc=belief.log_sigma, scale=belief.log_sigma_sd)))
    a, b = prior.a, prior.b
    log_odds = found[1].log_evidence - found[0].log_evidence + math.log(a / b)
    informative = 0.5 * (1 + math.tanh(log_odds / 2))
    omega = (a + informative) / (a + b + 1)  # a mixture of Beta(a + 1, b) and Beta(a, b + 1)
    return Procova(informative, omega, (found[0], found[1]))


def case() -> Case:
    """Two arms with a sigma each and a covariate, for simulation-based calibration."""
    n = 30
    treated = np.arange(n) % 2
    x = np.linspace(-1.5, 1.5, n)[:, None]
    prior = Priors(intercept_sd=1.0, effect_sd=1.0, coefficient_sd=1.0, sigma_scale=1.0).design(2)
    design = {"treated": treated[:, None].astype(float), "x": x, "spread": treated, "prior": prior}
    return Case("analysis of covariance", model, design, ("y",), ("intercept", "effect", "coefficient", "sigma"))


def procova_case() -> Case:
    """Bayesian PROCOVA of thirty subjects, with a history worth twenty, for simulation-based calibration."""
    n = 30
    score = np.linspace(-1.5, 1.5, n)
    info = Belief(np.array([0.0, 1.0]), np.diag([0.05, 0.05]), 0.0, 0.16, 0.0)
    weak = Belief(np.array([0.0, 1.0]), np.eye(2), 0.0, 0.7, 0.0)
    treated = (np.arange(n) % 2).astype(float)[:, None]
    design = {"treated": treated, "score": score, "prior": MixturePrior(info, weak, 1.0).design()}
    return Case("Bayesian PROCOVA", procova_model, design, ("y",), ("omega", "nuisance", "effect"))
