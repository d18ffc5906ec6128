"""Piecewise exponential survival: a constant hazard in each interval, fitted from events and exposure alone.

With events d and exposure e of subjects that share interval, arm and covariates, the likelihood is that of
d ~ Poisson(lambda e) [1]. Log hazards go from interval to interval as a random walk whose step the data choose (which
smooths), or each has its own half-normal prior (which does not). The latter is flat in the hazard where it is wide, and
so counts as one event more in each interval of the baseline: with J intervals of few events it moves the log hazard
ratio down, by 0.04 in E1690 with five.

References
----------
[1] Holford 1980, Biometrics 36:299; Laird and Olivier 1981, JASA 76:231: the Poisson form of the likelihood.
[2] Fahrmeir and Lang 2001, Applied Statistics 50:201: random-walk priors of a baseline hazard.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.restricted import Curves, marginal
from cohort.analysis.survival import Survival, centred, improper, require_events, require_exact
from cohort.inference.diagnosis import require, values
from cohort.inference.sampling import Engine, Sampling, numpyro_nuts, pymc_nuts
from cohort.inference.sbc import Case

if TYPE_CHECKING:
    import xarray as xr

SAMPLING = Sampling(target_accept=0.99)  # a walk whose spread may be 0 has a narrow place there
FEWEST, MOST = 5, 10  # intervals, where none are named
EACH = 10  # events in an interval, wanted before there is one more


@dataclass(frozen=True)
class Priors:
    """What is known before the data; times in the data's unit.

    baseline "walk": log hazards go from interval to interval by Normal(0, spread), spread ~ HalfNormal(spread_sd),
    about their mean ~ Normal(centre, level_sd), so that time has no direction. centre None: log of all events over all
    follow-up, so that a result does not depend on the unit. "independent": each hazard ~ HalfNormal(hazard_sd), per
    unit of time. Log hazard ratios of treatments ~ Normal(0, log_hr_sd); coefficients, per SD of the covariate,
    ~ Normal(0, coefficient_sd).
    """

    baseline: Literal["walk", "independent"] = "walk"
    centre: float | None = None
    level_sd: float = 2.5
    spread_sd: float = 0.5
    hazard_sd: float = 10.0
    log_hr_sd: float = 2.0
    coefficient_sd: float = 1.0

    def __post_init__(self) -> None:
        wrong = improper(self, "log hazard")
        if self.baseline not in ("walk", "independent"):
            wrong.append(f"baseline: '{self.baseline}' is unknown; write 'walk' or 'independent'")
        if wrong:
            raise AnalysisError("; ".join(wrong))


@dataclass(frozen=True)
class Statistics:
    """All that the likelihood needs. cuts: (J-1,) ends of the intervals but the last; an event at a cut is in the
    interval that it ends. events, exposure, interval, arm: (rows,). x: (rows, p), standardised covariates of a row.
    subjects: (n, p) those of every subject. horizon: the longest time that every arm was followed."""

    cuts: np.ndarray
    events: np.ndarray
    exposure: np.ndarray
    interval: np.ndarray
    arm: np.ndarray
    x: np.ndarray
    arms: tuple[str, ...]
    covariates: tuple[str, ...]
    subjects: np.ndarray
    horizon: float
    unit: str

    @property
    def intervals(self) -> int:
        return len(self.cuts) + 1

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Events and exposure, (arms, intervals) each."""
        shape = (len(self.arms), self.intervals)
        events, exposure = np.zeros(shape, int), np.zeros(shape)
        np.add.at(events, (self.arm, self.interval), self.events)
        np.add.at(exposure, (self.arm, self.interval), self.exposure)
        return events, exposure


def cuts(data: Survival, intervals: int | None = None) -> np.ndarray:
    """Ends of the intervals but the last, (intervals - 1,): quantiles of the event times, arms together, so that each
    interval holds about as many events. None: 5 to 10 intervals, one more for each ten events above fifty. Errors:
    AnalysisError where there are too few events for as many intervals."""
    require_exact(data, "a piecewise exponential")
    times = data.time[data.event]
    j = min(MOST, max(FEWEST, len(times) // EACH)) if intervals is None else intervals
    if j < 1 or len(np.unique(times)) < 2 * j:
        raise AnalysisError(f"intervals: {j} are not supported by {len(np.unique(times))} distinct event times; write "
                            "at most half as many, or use a parametric model")  # fmt: skip
    found = np.unique(np.quantile(times, np.arange(1, j) / j))
    if len(found) < j - 1:
        raise AnalysisError(f"intervals: {j} do not separate tied event times; write fewer")
    return found


def statistics(data: Survival, ends: Sequence[float] | np.ndarray) -> Statistics:
    """Events and exposure of each interval, arm and pattern of covariates; `ends` as `cuts` gives them."""
    require_exact(data, "a piecewise exponential")
    ends = _checked_cuts(ends)
    edges = np.concatenate([[0.0], ends, [np.inf]])
    spent = np.clip(data.time[:, None] - edges[:-1], 0, np.diff(edges))  # (n, J)
    here = np.searchsorted(ends, data.time, side="left")
    x = centred(data)
    patterns, pattern = np.unique(np.column_stack([data.arm, x]), axis=0, return_inverse=True)
    pattern = pattern.ravel()
    shape = (len(patterns), len(ends) + 1)
    events, exposure = np.zeros(shape, int), np.zeros(shape)
    np.add.at(events, (pattern, here), data.event)
    np.add.at(exposure, pattern, spent)
    row, interval = np.nonzero(exposure > 0)
    horizon = min(float(data.time[data.arm == a].max()) for a in range(len(data.arms)))
    return Statistics(
        ends, events[row, interval], exposure[row, interval], interval, patterns[row, 0].astype(int),
        patterns[row, 1:], data.arms, data.covariates, x, horizon, data.unit,
    )  # fmt: skip


def from_table(
    events: Any, exposure: Any, ends: Sequence[float] | np.ndarray, *, arms: Sequence[str], horizon: float, unit: str
) -> Statistics:
    """Statistics that were published: events and exposure (arms, intervals), control first. horizon: up to which every
    arm was followed. Errors: AnalysisError, which lists all that is wrong."""
    ends = _checked_cuts(ends)
    d, e = np.atleast_2d(np.asarray(events, float)), np.atleast_2d(np.asarray(exposure, float))
    shape = (len(arms), len(ends) + 1)
    wrong = [f"{k}: shape {v.shape}; write {shape}" for k, v in (("events", d), ("exposure", e)) if v.shape != shape]
    if not wrong:
        wrong += ["events: not whole numbers from 0"] if not np.all((d >= 0) & (d == np.floor(d))) else []
        wrong += ["exposure: not finite numbers from 0"] if not np.all((e >= 0) & np.isfinite(e)) else []
        wrong += ["exposure: 0 where there are events"] if np.any((d > 0) & ~(e > 0)) else []
    if len(set(arms)) < len(arms) or not arms:
        wrong.append(f"arms: {list(arms)}; write each once")
    if not (math.isfinite(horizon) and horizon > max([0.0, *ends])):
        wrong.append(f"horizon: {horizon:g} is not after the last cut")
    if wrong:
        raise AnalysisError("; ".join(wrong))
    arm, interval = np.nonzero(e > 0)
    return Statistics(
        ends, d[arm, interval].astype(int), e[arm, interval], interval, arm, np.zeros((len(arm), 0)), tuple(arms), (),
        np.zeros((0, 0)), float(horizon), unit,
    )  # fmt: skip


def _checked_cuts(ends: Sequence[float] | np.ndarray) -> np.ndarray:
    found = np.asarray(ends, float).ravel()
    if not np.all(np.isfinite(found)) or np.any(np.diff(np.concatenate([[0.0], found])) <= 0):
        raise AnalysisError(f"cuts: {found.tolist()}; write increasing times above 0")
    return found


def design(s: Statistics, priors: Priors) -> dict[str, Any]:
    """What the model takes: indicators of interval (rows, J) and of treatment (rows, arms - 1), covariates, exposure,
    and the hyperparameters of the priors that are used."""
    walk = priors.baseline == "walk"
    events = max(float(s.events.sum()), 0.5)
    centre = math.log(events / s.exposure.sum()) if priors.centre is None else priors.centre
    scale = {"centre": centre, "level": priors.level_sd, "spread": priors.spread_sd} if walk else {}
    scale |= {} if walk else {"hazard": priors.hazard_sd}
    return {
        "interval": np.eye(s.intervals)[s.interval],
        "treated": np.eye(len(s.arms))[s.arm][:, 1:],
        "x": s.x,
        "exposure": s.exposure,
        "priors": scale | {"log_hr": priors.log_hr_sd, "coefficient": priors.coefficient_sd},
    }


def walk(intervals: int) -> np.ndarray:
    """What turns steps (J-1,) into a path (J,) of mean 0."""
    sums = np.tril(np.ones((intervals, intervals - 1)), -1)
    return sums - sums.mean(axis=0)


def log_baseline(d: dict[str, Any]) -> Any:
    """NumPyro: log hazard of each interval for the control at the covariates' mean, (J,), site `log_hazard`."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    j, p = d["interval"].shape[1], d["priors"]
    if "hazard" in p:
        hazard = numpyro.sample("hazard", dist.HalfNormal(p["hazard"]).expand([j]).to_event(1))
        return numpyro.deterministic("log_hazard", jnp.log(hazard))
    level = numpyro.sample("level", dist.Normal(p["centre"], p["level"]))
    if j == 1:
        return numpyro.deterministic("log_hazard", jnp.atleast_1d(level))
    spread = numpyro.sample("spread", dist.HalfNormal(p["spread"]))
    step = numpyro.sample("step", dist.Normal(0, 1).expand([j - 1]).to_event(1))
    return numpyro.deterministic("log_hazard", level + spread * (walk(j) @ step))


def covariate_part(d: dict[str, Any]) -> Any:
    """NumPyro: what the covariates add to the log hazard of a row, (rows,), site `coefficient` (p,)."""
    import numpyro
    import numpyro.distributions as dist

    if not d["x"].shape[1]:
        return 0.0
    size = [d["x"].shape[1]]
    return d["x"] @ numpyro.sample("coefficient", dist.Normal(0, d["priors"]["coefficient"]).expand(size).to_event(1))


def model(d: dict[str, Any], outcome: dict[str, Any] | None = None) -> None:
    """NumPyro model of `events` (rows,), given the exposure."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    d = {k: v if k == "priors" else jnp.asarray(v) for k, v in d.items()}
    log_rate = d["interval"] @ log_baseline(d) + covariate_part(d)
    if treatments := d["treated"].shape[1]:
        log_hr = numpyro.sample("log_hr", dist.Normal(0, d["priors"]["log_hr"]).expand([treatments]).to_event(1))
        log_rate = log_rate + d["treated"] @ log_hr
    seen = None if outcome is None else outcome["events"]
    numpyro.sample("events", dist.Poisson(d["exposure"] * jnp.exp(log_rate)), obs=seen)


def pymc_baseline(d: dict[str, Any]) -> Any:
    """PyMC: as `log_baseline` and `covariate_part`, the log hazard of a row of a control, inside a model."""
    import pymc as pm

    j, p = d["interval"].shape[1], d["priors"]
    if "hazard" in p:
        log_hazard = pm.Deterministic("log_hazard", pm.math.log(pm.HalfNormal("hazard", p["hazard"], shape=j)))
    elif j == 1:
        log_hazard = pm.Deterministic("log_hazard", pm.Normal("level", p["centre"], p["level"]) * np.ones(1))
    else:
        level = pm.Normal("level", p["centre"], p["level"])
        spread = pm.HalfNormal("spread", p["spread"])
        step = pm.Normal("step", 0, 1, shape=j - 1)
        log_hazard = pm.Deterministic("log_hazard", level + spread * pm.math.dot(walk(j), step))
    rows = pm.math.dot(d["interval"], log_hazard)
    if d["x"].shape[1]:
        rows = rows + pm.math.dot(d["x"], pm.Normal("coefficient", 0, p["coefficient"], shape=d["x"].shape[1]))
    return rows


def _pymc(d: dict[str, Any], events: np.ndarray) -> Any:
    import pymc as pm

    with pm.Model() as built:
        rows = pymc_baseline(d)
        if treatments := d["treated"].shape[1]:
            rows = rows + pm.math.dot(d["treated"], pm.Normal("log_hr", 0, d["priors"]["log_hr"], shape=treatments))
        pm.Poisson("events", d["exposure"] * pm.math.exp(rows), observed=events)
    return built


def fit(
    data: Statistics,
    *,
    seed: int,
    priors: Priors | None = None,
    sampling: Sampling = SAMPLING,
    engine: Engine = "numpyro",
) -> "xr.DataTree":
    """Posterior of `log_hazard` (J,), `log_hr` (treatments,) and `coefficient` (p,). Its log_likelihood is of a row of
    the statistics, not of a subject. Errors: AnalysisError where no conclusion can be drawn, NotConverged."""
    require_events(data.table()[0].sum(axis=1), data.arms, "a piecewise exponential")
    d = design(data, priors or Priors())
    names = ["log_hazard", *(["log_hr"] if len(data.arms) > 1 else []), *(["coefficient"] if data.covariates else [])]
    if engine == "pymc":
        tree = pymc_nuts(_pymc(d, data.events), seed=seed, sampling=sampling)
    else:
        tree = numpyro_nuts(
            model, d, {"events": data.events}, seed=seed, sampling=sampling, priors=top(d, names),
            dims={"log_hazard": ["interval"], "log_hr": ["treatment"], "coefficient": ["covariate"]},
            coords={"treatment": data.arms[1:], "covariate": data.covariates},
        )  # fmt: skip
    require(tree, names, what="the piecewise exponential")
    return tree


def top(d: dict[str, Any], names: Sequence[str]) -> list[str]:
    """The sites at the top of the hierarchy, whose priors a sensitivity analysis may scale."""
    walk = ["level", "spread"] if d["interval"].shape[1] > 1 else ["level"]
    return [*(["hazard"] if "hazard" in d["priors"] else walk), *(n for n in names if n in ("log_hr", "coefficient"))]


def curves(tree: "xr.DataTree", data: Statistics) -> Curves:
    """Survival of each arm, averaged over the subjects' covariates."""
    effect = values(tree, "log_hazard")[..., None, :]  # (chains, draws, 1, J)
    if len(data.arms) > 1:
        log_hr = values(tree, "log_hr")
        effect = effect + np.concatenate([np.zeros_like(log_hr[..., :1]), log_hr], axis=-1)[..., None]
    linear = values(tree, "coefficient") @ data.subjects.T if data.covariates else None
    return of_hazards(np.exp(effect), linear, data)


def of_hazards(hazard: np.ndarray, linear: np.ndarray | None, data: Statistics) -> Curves:
    """Curves of hazards (chains, draws, arms, J); `linear` as `restricted.marginal` takes it."""
    edges = np.concatenate([[0.0], data.cuts, [np.inf]])

    def cumulative(times: np.ndarray) -> np.ndarray:
        return hazard @ np.clip(times - edges[:-1, None], 0, np.diff(edges)[:, None])

    return Curves(
        lambda times: marginal(cumulative, linear, np.asarray(times, float)),
        data.arms, data.unit, data.horizon, tuple(data.cuts.tolist()),
    )  # fmt: skip


def case(baseline: Literal["walk", "independent"] = "walk") -> Case:
    """A small trial of two arms in four intervals, for simulation-based calibration."""
    exposure = np.array([[30.0, 22.0, 15.0, 9.0], [31.0, 24.0, 18.0, 12.0]])
    s = from_table(np.ones((2, 4)), exposure, [0.5, 1, 2], arms=("control", "treated"), horizon=3, unit="y")
    priors = Priors(baseline, centre=-1.0, level_sd=0.7, hazard_sd=1.0, log_hr_sd=0.7)
    names = ("level", "spread", "log_hr") if baseline == "walk" else ("hazard", "log_hr")
    return Case(f"piecewise exponential, {baseline}", model, design(s, priors), ("events",), names,
                Sampling(warmup=500, draws=500, chains=1, target_accept=0.99))  # fmt: skip
