"""Whether a hazard ratio is one number: log hazard ratios by interval, and what to report when they are not alike.

Three looks: a random walk of the log hazard ratio over the intervals, with the posterior of its spread and the
probability that its sign changes; late less early, from the same draws; and the score test of a trend with time in the
partial likelihood [1]. None of them proves proportional hazards: restricted mean survival stands beside a hazard ratio
in every case, and in its place where one of them speaks.

References
----------
[1] Grambsch and Therneau 1994, Biometrika 81:515: tests from weighted (Schoenfeld) residuals.
[2] Gamerman 1991, Applied Statistics 40:63: dynamic models of the hazard.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from cohort.analysis import AnalysisError, piecewise
from cohort.analysis.piecewise import SAMPLING, Priors, Statistics
from cohort.analysis.restricted import Curves, Estimate, estimate, probability
from cohort.analysis.survival import Survival, kaplan_meier, require_events, require_exact, table
from cohort.inference.diagnosis import require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

SPREAD_SD = 0.5  # of the half-normal prior of a step of the log hazard ratio between intervals
MATERIAL = math.log(1.25)  # a log hazard ratio that matters, on either side of 0
SURE = 0.95  # that it matters on both sides in turn, from which proportional hazards are in doubt
ALPHA = 0.05  # two-sided, of the other two looks


def model(d: dict[str, Any], outcome: dict[str, Any] | None = None) -> None:
    """NumPyro model of `events` (rows,): that of `piecewise`, with `log_hr` (J, treatments) a random walk about its
    mean [2]."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    d = {k: v if k == "priors" else jnp.asarray(v) for k, v in d.items()}
    j, n, p = d["interval"].shape[1], d["treated"].shape[1], d["priors"]
    log_rate = d["interval"] @ piecewise.log_baseline(d) + piecewise.covariate_part(d)
    mean = numpyro.sample("mean_log_hr", dist.Normal(0, p["log_hr"]).expand([n]).to_event(1))
    drift = numpyro.sample("drift", dist.HalfNormal(p["drift"]).expand([n]).to_event(1))
    step = numpyro.sample("drift_step", dist.Normal(0, 1).expand([j - 1, n]).to_event(2))
    log_hr = numpyro.deterministic("log_hr", mean + drift * (piecewise.walk(j) @ step))
    log_rate = log_rate + jnp.sum(d["treated"] * (d["interval"] @ log_hr), axis=1)
    seen = None if outcome is None else outcome["events"]
    numpyro.sample("events", dist.Poisson(d["exposure"] * jnp.exp(log_rate)), obs=seen)


def _pymc(d: dict[str, Any], events: np.ndarray) -> Any:
    import pymc as pm

    j, n, p = d["interval"].shape[1], d["treated"].shape[1], d["priors"]
    with pm.Model() as built:
        rows = piecewise.pymc_baseline(d)
        mean = pm.Normal("mean_log_hr", 0, p["log_hr"], shape=n)
        drift = pm.HalfNormal("drift", p["drift"], shape=n)
        step = pm.Normal("drift_step", 0, 1, shape=(j - 1, n))
        log_hr = pm.Deterministic("log_hr", mean + drift * pm.math.dot(piecewise.walk(j), step))
        rows = rows + pm.math.sum(d["treated"] * pm.math.dot(d["interval"], log_hr), axis=1)
        pm.Poisson("events", d["exposure"] * pm.math.exp(rows), observed=events)
    return built


def fit(
    data: Statistics,
    *,
    seed: int,
    priors: Priors | None = None,
    spread_sd: float = SPREAD_SD,
    sampling: Sampling = SAMPLING,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """Posterior of `log_hr` (J, treatments) and of `drift` (treatments,), the SD of its step from one interval to the
    next. Errors: AnalysisError with fewer than two arms or intervals, or too few events; NotConverged."""
    wrong = [] if len(data.arms) > 1 else ["arms: one only; a hazard ratio needs a control and a treatment"]
    wrong += [] if data.intervals > 1 else ["cuts: one interval; give at least one cut"]
    wrong += [] if math.isfinite(spread_sd) and spread_sd > 0 else [f"spread_sd: {spread_sd:g}; write above 0"]
    if wrong:
        raise AnalysisError("; ".join(wrong))
    require_events(data.table()[0].sum(axis=1), data.arms, "a hazard ratio by interval")
    d = piecewise.design(data, priors or Priors())
    d["priors"]["drift"] = spread_sd
    names = ["log_hazard", "log_hr", "drift", *(["coefficient"] if data.covariates else [])]
    if engine == "pymc":
        tree = pymc_nuts(_pymc(d, data.events), seed=seed, sampling=sampling)
    else:
        tree = numpyro_nuts(
            model, d, {"events": data.events}, seed=seed, sampling=sampling,
            priors=[*(k for k in piecewise.top(d, names) if k != "log_hr"), "mean_log_hr", "drift"],
            dims={"log_hazard": ["interval"], "log_hr": ["interval", "treatment"], "drift": ["treatment"]},
            coords={"treatment": data.arms[1:]},
        )  # fmt: skip
    require(tree, names, what="the hazard ratio by interval")
    return tree


def curves(tree: "xr.DataTree", data: Statistics) -> Curves:
    """Survival of each arm with hazards that need not be proportional, averaged over the subjects' covariates."""
    log_hr = np.moveaxis(values(tree, "log_hr"), -1, -2)  # (chains, draws, treatments, J)
    log_hazard = values(tree, "log_hazard")[..., None, :]
    effect = log_hazard + np.concatenate([np.zeros_like(log_hr[..., :1, :]), log_hr], axis=-2)
    linear = values(tree, "coefficient") @ data.subjects.T if data.covariates else None
    return piecewise.of_hazards(np.exp(effect), linear, data)


def schoenfeld(data: Survival, arm: str) -> tuple[float, float, float]:
    """Score test of a log hazard ratio to the control that goes with 1 - S(t), pooled Kaplan-Meier, in the partial
    likelihood (Breslow's for ties) [1]. Without covariates. Returns log hazard ratio, chi-squared on one degree of
    freedom, and P."""
    require_exact(data, "the partial likelihood")
    pair = np.isin(data.arm, (0, data.place(arm)))
    one = replace(data, time=data.time[pair], event=data.event[pair], arm=(data.arm[pair] > 0).astype(int), x=data.x[
        pair], arms=(data.arms[0], arm), covariates=(), cause=None, causes=())  # fmt: skip
    require_events(one.counts(), one.arms, "the partial likelihood")
    times, d, r = table(one)
    treated = np.sort(one.time[one.arm == 1])
    r1 = len(treated) - np.searchsorted(treated, times, side="left")
    d1 = np.array([int(np.sum((one.time == t) & one.event & (one.arm == 1))) for t in times])
    beta = _maximum(d, d1, r, r1)
    pooled = kaplan_meier(replace(one, arm=np.zeros(len(one.time), int), arms=("all",)), "all")
    g = 1 - np.concatenate([[1.0], pooled.value[:-1]])
    share = r1 * np.exp(beta) / (r1 * np.exp(beta) + r - r1)
    v = d * share * (1 - share)
    g = g - np.sum(g * v) / np.sum(v)
    information = np.sum(g**2 * v)
    if not information > 1e-12 * np.sum(v):
        raise AnalysisError("the partial likelihood: both arms were at risk at one event time only, no trend is tested")
    statistic = float(np.sum(g * (d1 - d * share)) ** 2 / information)
    return beta, statistic, float(chi2.sf(statistic, 1))


def _maximum(d: np.ndarray, d1: np.ndarray, r: np.ndarray, r1: np.ndarray) -> float:
    """The log hazard ratio by Newton. d, r: events and at risk at each event time, (k,); d1, r1: of the treated."""
    beta = 0.0
    for _ in range(25):
        share = r1 * np.exp(beta) / (r1 * np.exp(beta) + r - r1)
        variance = np.sum(d * share * (1 - share))
        if not variance > 1e-9:
            break
        change = np.sum(d1 - d * share) / variance
        if abs(change) < 1e-10:
            return beta
        beta += float(np.clip(change, -1, 1))
    raise AnalysisError("the partial likelihood has no maximum: while both arms were at risk, the events were of one "
                        "arm; no conclusion on a hazard ratio is drawn")  # fmt: skip


@dataclass(frozen=True)
class Check:
    """What was seen of proportional hazards in one treatment.

    by_interval: log hazard ratio in each. spread: SD of its step between intervals. sign_change: posterior probability
    that it takes both signs, with its Monte Carlo error, and before the data; noise about a constant ratio near 1 does
    so as well, so it is no sign by itself. crosses: probability that it goes beyond log 1.25 on both sides.
    late_less_early: mean log hazard ratio of the later half of the events less that of the earlier. score_p: of the
    score test, None where subjects were not given. reasons: what speaks against; with one, they are in `doubt`.
    """

    arm: str
    by_interval: tuple[Estimate, ...]
    spread: Estimate
    sign_change: float
    mcse_sign_change: float
    sign_change_before: float
    crosses: float
    mcse_crosses: float
    late_less_early: Estimate
    score_p: float | None
    reasons: tuple[str, ...]

    @property
    def doubt(self) -> bool:
        return bool(self.reasons)

    @property
    def estimand(self) -> str:
        return "difference in restricted mean survival time" if self.doubt else "hazard ratio"

    @property
    def sentence(self) -> str:
        if self.doubt:
            return (
                f"Proportional hazards are in doubt for {self.arm} ({'; '.join(self.reasons)}): the estimand is the "
                "difference in restricted mean survival time, RMST, and a single hazard ratio is not reported alone."
            )
        return (
            f"No sign against proportional hazards was seen for {self.arm}, which does not prove them: the difference "
            "in restricted mean survival time, RMST, is reported beside the hazard ratio."
        )


def check(
    tree: "xr.DataTree",
    data: Statistics,
    arm: str,
    *,
    subjects: Survival | None = None,
    priors: Priors | None = None,
    spread_sd: float = SPREAD_SD,
    level: float = 0.95,
    seed: int = 0,
) -> Check:
    """The looks at one treatment. tree, priors and spread_sd: of `fit`, the last two for the sign change before the
    data. subjects: for the score test. In doubt: `crosses` >= 0.95, an interval (equal-tailed, `level`) of late less
    early without 0, or P < 0.05; with proportional hazards the last two are each wrong about once in twenty."""
    if arm not in data.arms[1:]:
        raise AnalysisError(f"arm '{arm}' is no treatment of the fit; write one of {', '.join(data.arms[1:])}")
    k = data.arms.index(arm) - 1
    log_hr = values(tree, "log_hr")[..., k]  # (chains, draws, J)
    changes, mcse = probability(_both_signs(log_hr))
    crosses, mcse_crosses = probability(_both_signs(log_hr, MATERIAL))
    late = _contrast(data.table()[0].sum(axis=0))
    trend = estimate(log_hr @ late, level=level)
    p = None if subjects is None else schoenfeld(subjects, arm)[2]
    reasons = []
    if crosses >= SURE:
        reasons.append(f"the hazard ratio crosses 1, and is beyond 0.8 and 1.25, with probability {crosses:.3f}")
    if trend.low > 0 or trend.high < 0:
        reasons.append(f"the log hazard ratio of the later half of events less that of the earlier is {trend.mean:.2f} "
                       f"({level:.0%} equal-tailed {trend.low:.2f} to {trend.high:.2f})")  # fmt: skip
    if p is not None and p < ALPHA:
        reasons.append(f"score test of a trend in time, P = {p:.2g}")
    return Check(
        arm, tuple(estimate(log_hr[..., j], level=level) for j in range(data.intervals)),
        estimate(values(tree, "drift")[..., k], level=level), changes, mcse,
        _before(data.intervals, (priors or Priors()).log_hr_sd, spread_sd, seed), crosses, mcse_crosses, trend, p,
        tuple(reasons),
    )  # fmt: skip


def _both_signs(log_hr: np.ndarray, by: float = 0.0) -> np.ndarray:
    return (log_hr.min(axis=-1) < -by) & (log_hr.max(axis=-1) > by)


def _contrast(events: np.ndarray) -> np.ndarray:
    """Weights (J,) of the later half of the events, sum 1, less those of the earlier; an interval may be in both."""
    edges = np.concatenate([[0.0], np.cumsum(events)]) / events.sum()
    early = np.diff(np.minimum(edges, 0.5))
    return ((np.diff(edges) - early) - early) / 0.5


def _before(intervals: int, mean_sd: float, spread_sd: float, seed: int, draws: int = 100_000) -> float:
    """Probability of a sign change under the prior, by simulation: standard error at most 0.0016."""
    rng = np.random.default_rng(seed)
    drift = np.abs(rng.normal(0, spread_sd, draws))[:, None]
    steps = rng.standard_normal((draws, intervals - 1)) @ piecewise.walk(intervals).T
    return float(_both_signs(rng.normal(0, mean_sd, draws)[:, None] + drift * steps).mean())


def case() -> Case:
    """The small trial of `piecewise.case`, with a hazard ratio that drifts, for simulation-based calibration."""
    one = piecewise.case()
    d = one.design | {"priors": one.design["priors"] | {"drift": SPREAD_SD}}
    names = ("level", "spread", "mean_log_hr", "drift")
    return Case("log hazard ratio by interval", model, d, ("events",), names, one.sampling)
