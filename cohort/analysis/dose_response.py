"""Response against dose by an Emax curve, in one trial or over several (model-based meta-analysis), and the dose that
reaches a target.

    mean of trial t at dose d = E0_t + Emax_t d^h / (ED50^h + d^h),  E0_t ~ Normal(E0, ·),  Emax_t ~ Normal(Emax, ·)

References
----------
[1] Thomas, Sweeney & Somayaji 2014, Stat Biopharm Res 6:302, doi 10.1080/19466315.2014.924876: most curves of dose and
    response are Emax curves with h near 1.
[2] Mawdsley et al. 2016, CPT Pharmacometrics Syst Pharmacol 5:393, doi 10.1002/psp4.12091: model-based meta-analysis.
[3] Barlow et al. 1972, Statistical Inference under Order Restrictions: the distance of means from isotonic ones.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.refusal import improper, refuse, unusable
from cohort.inference.diagnosis import flat, require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

ONE = Sampling(target_accept=0.95, dense=True)  # Emax and ED50 go together
SEVERAL = Sampling(target_accept=0.995, dense=True)  # SDs between a few trials may be near 0


@dataclass(frozen=True)
class DoseResponse:
    """Arm means with standard errors, or subjects (se None). dose, y, se: (n,); trial: (n,) names, None of one trial.
    Errors: AnalysisError of fewer than three doses, negative doses, responses that do not vary, a trial of one dose."""

    dose: np.ndarray
    y: np.ndarray
    se: np.ndarray | None = None
    trial: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = np.size(self.dose)
        wrong = (bad_dose := unusable("dose", self.dose)) + (bad_y := unusable("y", self.y, n))
        trial = np.zeros(n, int).astype(str) if self.trial is None else np.asarray(self.trial).astype(str)
        if trial.shape != (n,):
            wrong.append(f"trial: shape {trial.shape}; write one name for each of {n} rows")
        if not bad_dose:
            dose = np.asarray(self.dose, float)
            if (dose < 0).any():
                wrong.append(f"dose: {dose.min():g}; write 0 or more")
            if len(np.unique(dose)) < 3:
                wrong.append(f"dose: {len(np.unique(dose))} different doses; an Emax curve needs three or more")
            if trial.shape == (n,):
                alone = [t for t in sorted(set(trial)) if len(np.unique(dose[trial == t])) < 2]
                wrong += [f"trial '{t}': one dose; leave it out, it says nothing of the curve" for t in alone]
        if not bad_y and np.ptp(y := np.asarray(self.y, float)) == 0:
            wrong.append(f"y: {y.flat[0]:g} everywhere; there is no curve")
        if self.se is not None:
            wrong += (bad_se := unusable("se", self.se, n))
            if not bad_se and (np.asarray(self.se, float) <= 0).any():
                wrong.append(f"se: {np.min(self.se):g}; write positive standard errors; of differences, the arms' own")
        refuse(wrong)
        for name in ("dose", "y", "se"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), float))
        object.__setattr__(self, "trial", trial)

    @property
    def trials(self) -> list[str]:
        return sorted(set(np.asarray(self.trial).tolist()))

    def arms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Trial index, dose, mean and standard error of each dose of each trial; arms of one dose are pooled. Errors:
        AnalysisError of subject data with a dose that fewer than two were given, or whose responses do not vary."""
        rows, wrong = [], []
        for t, name in enumerate(self.trials):
            for d in np.unique(self.dose[self.trial == name]):
                there = (self.trial == name) & (self.dose == d)
                y = self.y[there]
                if self.se is not None:
                    w = self.se[there] ** -2
                    rows.append((t, d, float(w @ y / w.sum()), float(w.sum() ** -0.5)))
                elif len(y) < 2 or np.ptp(y) == 0:
                    wrong.append(f"trial '{name}', dose {d:g}: no variance; give two or more subjects that differ")
                else:
                    rows.append((t, d, float(y.mean()), float(y.std(ddof=1) / math.sqrt(len(y)))))
        refuse(wrong)
        t, dose, mean, se = (np.array(v) for v in zip(*rows, strict=True))
        return t, dose, mean, se


@dataclass(frozen=True)
class Priors:
    """scale: the size that differences in response may have, in its unit; centre: response without drug. In units of
    scale: SDs of the normal priors of E0 about the centre and of Emax about none, half-normal scales of the SDs between
    trials of E0 and of Emax, and of subjects' sigma. ed50: the median of its log-normal prior, the geometric mean of
    the doses above 0 if None, with SD of its log; h, where sigmoid, is log-normal about 1 [1]."""

    scale: float = 1.0
    centre: float = 0.0
    e0_sd: float = 10.0
    emax_sd: float = 5.0
    between_e0: float = 1.0
    between_emax: float = 0.5
    sigma_scale: float = 2.0
    ed50: float | None = None
    log_ed50_sd: float = 1.5
    log_h_sd: float = 0.5

    def __post_init__(self) -> None:
        scales = {k: v for k, v in vars(self).items() if k != "centre" and v is not None}
        refuse(improper(scales, {"centre": self.centre}))


def design_of(data: DoseResponse, priors: Priors, sigmoid: bool = False) -> dict[str, Any]:
    """log_dose (n,), active (n,) 0 or 1, trial (n,) index, prior; se (n,) of arm means. The prior has only what the
    model then has."""
    positive = data.dose[data.dose > 0]
    middle = math.log(priors.ed50) if priors.ed50 else float(np.log(np.unique(positive)).mean())
    prior = {k: float(priors.scale * getattr(priors, k)) for k in ("e0_sd", "emax_sd")}
    prior |= {"centre": float(priors.centre), "log_ed50": middle, "log_ed50_sd": float(priors.log_ed50_sd)}
    if sigmoid:
        prior["log_h_sd"] = float(priors.log_h_sd)
    if len(data.trials) > 1:
        between = {"between_e0": priors.between_e0, "between_emax": priors.between_emax}
        prior |= {k: np.full(len(data.trials), priors.scale * v) for k, v in between.items()}
    if data.se is None:
        prior["sigma_scale"] = float(priors.scale * priors.sigma_scale)
    index = np.array([data.trials.index(t) for t in np.asarray(data.trial)])
    active = data.dose > 0
    doses = {"active": active.astype(float), "log_dose": np.log(np.where(active, data.dose, 1.0))}
    return doses | {"trial": index, "prior": prior} | ({} if data.se is None else {"se": data.se})


def model(design: Any, outcome: Any = None) -> None:
    """The curve in NumPyro. design: of `design_of`; outcome: y (n,), or None to draw it. Sites: e0, emax, log_ed50; h
    if sigmoid; of several trials also sd_e0, sd_emax and each trial's standardised e0_of, emax_of; sigma of subjects.
    """
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    prior, trial = design["prior"], design["trial"]
    e0: Any = numpyro.sample("e0", dist.Normal(prior["centre"], prior["e0_sd"]))
    emax: Any = numpyro.sample("emax", dist.Normal(0, prior["emax_sd"]))
    log_ed50: Any = numpyro.sample("log_ed50", dist.Normal(prior["log_ed50"], prior["log_ed50_sd"]))
    h: Any = numpyro.sample("h", dist.LogNormal(0, prior["log_h_sd"])) if "log_h_sd" in prior else 1.0
    numpyro.deterministic("ed50", jnp.exp(log_ed50))
    if "between_e0" in prior:
        sd_e0: Any = numpyro.sample("sd_e0", dist.HalfNormal(prior["between_e0"][0]))
        sd_emax: Any = numpyro.sample("sd_emax", dist.HalfNormal(prior["between_emax"][0]))
        trials = len(prior["between_e0"])
        e0 = (e0 + sd_e0 * numpyro.sample("e0_of", dist.Normal(0, 1).expand([trials])))[trial]
        emax = (emax + sd_emax * numpyro.sample("emax_of", dist.Normal(0, 1).expand([trials])))[trial]
    mean = e0 + emax * design["active"] * jax.nn.sigmoid(h * (design["log_dose"] - log_ed50))
    se: Any = design["se"] if "se" in design else numpyro.sample("sigma", dist.HalfNormal(prior["sigma_scale"]))
    numpyro.sample("y", dist.Normal(mean, se), obs=None if outcome is None else outcome["y"])


def _pymc(design: Any, data: DoseResponse) -> Any:
    import pymc as pm

    prior, trial = design["prior"], design["trial"]
    with pm.Model(coords={"trial": data.trials}) as twin:
        e0: Any = pm.Normal("e0", prior["centre"], prior["e0_sd"])
        emax: Any = pm.Normal("emax", 0, prior["emax_sd"])
        log_ed50: Any = pm.Normal("log_ed50", prior["log_ed50"], prior["log_ed50_sd"])
        h: Any = pm.LogNormal("h", 0, prior["log_h_sd"]) if "log_h_sd" in prior else 1.0
        pm.Deterministic("ed50", pm.math.exp(log_ed50))
        if "between_e0" in prior:
            sd_e0: Any = pm.HalfNormal("sd_e0", prior["between_e0"][0])
            sd_emax: Any = pm.HalfNormal("sd_emax", prior["between_emax"][0])
            e0 = (e0 + sd_e0 * pm.Normal("e0_of", 0, 1, dims="trial"))[trial]
            emax = (emax + sd_emax * pm.Normal("emax_of", 0, 1, dims="trial"))[trial]
        mean = e0 + emax * design["active"] * pm.math.sigmoid(h * (design["log_dose"] - log_ed50))
        se: Any = design["se"] if data.se is not None else pm.HalfNormal("sigma", prior["sigma_scale"])
        pm.Normal("y", mean, se, observed=data.y)
    return twin


def fit(
    data: DoseResponse,
    priors: Priors | None = None,
    *,
    sigmoid: bool = False,
    seed: int,
    sampling: Sampling | None = None,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """The posterior of the curve, see `model`. sigmoid: h is estimated, else 1. sampling: by default `ONE`, or
    `SEVERAL` of several trials. Errors: NotConverged; AnalysisError of a sigmoid of fewer than four doses."""
    if sigmoid and len(np.unique(data.dose)) < 4:
        raise AnalysisError(f"dose: {len(np.unique(data.dose))} different doses; a sigmoid curve needs four or more")
    design = design_of(data, priors or Priors(), sigmoid)
    several = len(data.trials) > 1
    sampling = sampling or (SEVERAL if several else ONE)
    names = ["e0", "emax", "log_ed50", *(["h"] if sigmoid else []), *(["sd_e0", "sd_emax"] if several else [])]
    names += ["sigma"] if data.se is None else []
    if engine == "pymc":
        tree = pymc_nuts(_pymc(design, data), seed=seed, sampling=sampling)
    else:
        labels = {"coords": {"trial": data.trials}, "dims": {"e0_of": ["trial"], "emax_of": ["trial"]}}
        outcome = {"y": data.y}
        tree = numpyro_nuts(
            model, design, outcome, seed=seed, sampling=sampling, priors=names, **(labels if several else {})
        )
    require(tree, names, what="the dose-response curve")
    return tree


def _curve(tree: "xr.DataTree") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws of e0, emax, log ED50 and h, each (chains, draws)."""
    h = values(tree, "h") if "h" in tree.children["posterior"].dataset else np.ones(values(tree, "e0").shape)
    return values(tree, "e0"), values(tree, "emax"), values(tree, "log_ed50"), h


def _share(dose: np.ndarray, log_ed50: np.ndarray, h: np.ndarray) -> np.ndarray:
    """d^h / (ED50^h + d^h)."""
    from scipy.special import expit

    with np.errstate(divide="ignore"):
        return expit(h * (np.log(dose) - log_ed50))  # 0 at dose 0


def curve(tree: "xr.DataTree", dose: np.ndarray) -> "xr.Dataset":
    """The typical trial's curve at dose (m,), as draws (chain, draw, dose): `response`, and `effect`, the difference to
    no drug. Errors: AnalysisError of doses that are negative or not finite."""
    import xarray as xr

    wrong = unusable("dose", dose)
    refuse(wrong or ([f"dose: {np.min(dose):g}; write 0 or more"] if np.min(dose) < 0 else []))
    e0, emax, log_ed50, h = (v[..., None] for v in _curve(tree))
    effect = emax * _share(np.asarray(dose, float), log_ed50, h)
    dims = ("chain", "draw", "dose")
    return xr.Dataset({"response": (dims, e0 + effect), "effect": (dims, effect)}, {"dose": np.asarray(dose, float)})


@dataclass(frozen=True)
class DoseForTarget:
    """The dose whose effect is `target`, with an equal-tailed interval at `level`; high is infinite where more draws
    than its tail never reach the target. reached: P(some dose reaches it); beyond: P(it lies above the largest dose
    studied, or nowhere), which is extrapolation; mcse: of the median."""

    target: float
    median: float
    low: float
    high: float
    level: float
    mcse: float
    reached: float
    beyond: float


def dose_for(tree: "xr.DataTree", data: DoseResponse, target: float, *, level: float = 0.95) -> DoseForTarget:
    """target: the wanted difference to no drug, signed. Errors: AnalysisError of a target of 0, or one that more than
    half of the posterior never reaches, as with the wrong sign: no dose is then given."""
    from arviz_stats import mcse

    wrong = [] if math.isfinite(target) and target else [f"target: {target}; write a finite difference that is not 0"]
    refuse(wrong + ([] if 0 < level < 1 else [f"level: {level}; write a number between 0 and 1"]))
    _, emax, log_ed50, h = _curve(tree)
    part = target / emax  # of Emax
    reachable = (part > 0) & (part < 1)
    inside = np.where(reachable, part, 0.5)
    log_dose = np.where(reachable, log_ed50 + np.log(inside / (1 - inside)) / h, np.inf)
    reached = float(reachable.mean())
    if reached <= 0.5:
        raise AnalysisError(f"target: {target:g} is reached with probability {reached:.3g}; no conclusion on a dose")
    low, median, high = np.quantile(np.exp(log_dose), [(1 - level) / 2, 0.5, (1 + level) / 2], method="nearest")
    beyond = float((log_dose > math.log(data.dose.max())).mean())
    finite = np.where(reachable, log_dose, log_dose[reachable].max() + 1)  # order alone matters to a median
    error = float(median) * float(mcse(finite, method="median"))
    return DoseForTarget(target, float(median), float(low), float(high), level, error, reached, beyond)


@dataclass(frozen=True)
class Monotone:
    """Whether responses turn with dose, which no Emax curve can. distance: weighted squares of the arm means from the
    nearest monotone ones [3], 0 if they are; p: how often replicates of the fit lie as far; mcse: of p."""

    distance: float
    p: float
    mcse: float


def monotone(tree: "xr.DataTree", data: DoseResponse, *, seed: int, replicates: int = 1000) -> Monotone:
    """The posterior predictive check of monotony, within trials, in the direction that fits best overall."""
    trial, dose, mean, se = data.arms()
    rng = np.random.default_rng(seed)
    e0, emax, log_ed50, h = (v.ravel() for v in _curve(tree))
    some = rng.choice(len(e0), size=replicates, replace=len(e0) < replicates)
    base, top = e0[some, None], emax[some, None]
    if len(data.trials) > 1:
        base = base + flat(tree, "sd_e0")[some, None] * flat(tree, "e0_of")[some][:, trial]
        top = top + flat(tree, "sd_emax")[some, None] * flat(tree, "emax_of")[some][:, trial]
    fitted = base + top * _share(dose, log_ed50[some, None], h[some, None])
    drawn = rng.normal(fitted, se)
    observed = _distance(trial, mean, se)
    p = float(np.mean([_distance(trial, y, se) >= observed for y in drawn]))
    return Monotone(observed, p, math.sqrt(max(p * (1 - p), 1 / replicates) / replicates))


def _distance(trial: np.ndarray, mean: np.ndarray, se: np.ndarray) -> float:
    """Weighted squares from the isotonic means, of trials whose doses are sorted."""
    from scipy.optimize import isotonic_regression

    def off(increasing: bool) -> float:
        total = 0.0
        for t in np.unique(trial):
            y, w = mean[trial == t], se[trial == t] ** -2
            total += float(w @ (y - isotonic_regression(y, weights=w, increasing=increasing).x) ** 2)
        return total

    return min(off(True), off(False))


def case(trials: int = 1, sigmoid: bool = False) -> Case:
    """Arm means at five doses, of one trial or more, for simulation-based calibration."""
    dose = np.tile([0.0, 1.0, 3.0, 10.0, 30.0], trials)
    names = np.repeat([f"trial {i + 1}" for i in range(trials)], 5)
    made = DoseResponse(dose, dose, np.full(5 * trials, 0.3), names)
    priors = Priors(e0_sd=1.0, emax_sd=2.0, log_ed50_sd=1.0, between_e0=0.5, between_emax=0.5)
    between = ("sd_e0", "sd_emax") if trials > 1 else ()
    sites = ("e0", "emax", "log_ed50", *(("h",) if sigmoid else ()), *between)
    sampling = replace(ONE if trials == 1 else SEVERAL, warmup=500, draws=500, chains=1)
    name = f"{'sigmoid' if sigmoid else 'Emax'} curve, {trials} trial{'s' * (trials > 1)}"
    return Case(name, model, design_of(made, priors, sigmoid), ("y",), sites, sampling)
