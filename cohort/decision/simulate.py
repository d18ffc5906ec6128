"""Continuous two-arm trials simulated by the hundred thousand, analysed with robust mixture priors in closed form.

A trial's random numbers hang on the seed and the trial's index alone, so that results do not depend on how trials are
spread, and every design and scenario sees the same subjects (common random numbers).

The SD of the outcome is not known to the analysis but in mode "known". "normal" puts the pooled estimate in its place,
which at few subjects is too sure. "t" widens it by the ratio of the t to the normal quantile at the strictest
probability cut: with flat priors the decision is then the t test's.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.special import ndtri, stdtrit

from cohort.decision import DecisionError, counted
from cohort.decision.criteria import Decision
from cohort.decision.design import Arm, Design, require_designs, require_truth, upward
from cohort.decision.drift import Measure, Safety
from cohort.decision.exact import Characteristics
from cohort.decision.trials import Standard, Trial, standard, trial
from cohort.mixture import NormalMixture

Variance = Literal["known", "normal", "t"]


@dataclass(frozen=True)
class Simulated:
    """Trials of each design in each scenario. decided, estimate: (designs, scenarios, trials)."""

    designs: tuple[str, ...]
    decided: np.ndarray
    estimate: np.ndarray
    characteristics: tuple[Characteristics, ...]

    def gain(self, design: str, over: str) -> tuple[np.ndarray, np.ndarray]:
        """How much more often one design decides than another, and its standard error, which common random numbers
        make small: (scenarios,) each."""
        a, b = (self.decided[self.designs.index(name)].astype(float) for name in (design, over))
        return (a - b).mean(axis=1), (a - b).std(axis=1, ddof=1) / math.sqrt(a.shape[1])


def widening(design: Design, degrees: float) -> float:
    """What mode "t" multiplies the standard error by: t over normal quantile at the strictest cut; 1 at a half."""
    strict = max((max(c.cut, 1 - c.cut) for c in design.decision.criteria), default=0.5)
    return 1.0 if strict == 0.5 else float(stdtrit(degrees, strict) / ndtri(strict))


def _posterior(prior: tuple[Any, Any, Any], y: Any, se: Any) -> tuple[Any, Any, Any]:
    """Weight, mean and SD of each component after means y (trials,) with standard errors se: (components, trials)."""
    import jax
    import jax.numpy as jnp

    w, m, s = (x[:, None] for x in prior)
    total = s**2 + se**2
    log_w = w - (y - m) ** 2 / (2 * total) - jnp.log(total) / 2
    precision = s**-2 + se**-2
    return jax.nn.softmax(log_w, axis=0), (m / s**2 + y / se**2) / precision, precision**-0.5


@functools.cache
def _compiled(decision: Decision, level: float | None) -> Any:
    import jax

    return jax.jit(functools.partial(_analysed, decision, level))


def _analysed(
    decision: Decision, level: float | None, priors: Any, t: Any, t_se: Any, c: Any, c_se: Any
) -> dict[str, Any]:
    """Decision, estimate, interval and the variance of the control's posterior, each (trials,)."""
    import jax.numpy as jnp
    from jax.scipy.special import ndtr

    (wt, mt, st), (wc, mc, sc) = _posterior(priors[0], t, t_se), _posterior(priors[1], c, c_se)
    k = wt.shape[0] * wc.shape[0]
    w = (wt[:, None] * wc[None]).reshape(k, -1)
    m = (mt[:, None] - mc[None]).reshape(k, -1)
    s = jnp.sqrt(st[:, None] ** 2 + sc[None] ** 2).reshape(k, -1)
    decided = jnp.ones(len(t), bool)
    for criterion in decision.criteria:
        if criterion.second:
            threshold, above = upward(criterion)
            p = jnp.sum(w * ndtr((m - threshold) / s), axis=0)
        else:
            weight, mean, sd = (wt, mt, st) if criterion.first == "treatment" else (wc, mc, sc)
            above = criterion.above
            p = jnp.sum(weight * ndtr((mean - criterion.threshold) / sd), axis=0)
        p = p if above else 1 - p
        decided &= (p > criterion.cut) if criterion.exceeds else (p < criterion.cut)
    centre = jnp.sum(wc * mc, axis=0)
    found = {"decided": decided, "estimate": jnp.sum(w * m, axis=0)}
    found["variance"] = jnp.sum(wc * (sc**2 + (mc - centre) ** 2), axis=0)
    if level is not None:
        found["low"], found["high"] = (_quantile(w, m, s, (1 + side * level) / 2) for side in (-1, 1))
    return found


def _quantile(w: Any, m: Any, s: Any, q: float) -> Any:
    """Of normal mixtures (components, trials): Newton steps, bisection where one would leave the bracket."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import ndtr

    def step(_: int, now: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        low, high, x = now
        z = (x - m) / s
        off = jnp.sum(w * ndtr(z), axis=0) - q
        low, high = jnp.where(off < 0, x, low), jnp.where(off < 0, high, x)
        slope = jnp.sum(w / s * jnp.exp(-(z**2) / 2), axis=0) / math.sqrt(2 * math.pi)
        newton = x - off / slope
        return low, high, jnp.where((newton > low) & (newton < high), newton, (low + high) / 2)

    alone = m + float(ndtri(q)) * s
    low, high = alone.min(axis=0), alone.max(axis=0)
    return jax.lax.fori_loop(0, 12, step, (low, high, jnp.sum(w * alone, axis=0)))[2]


def simulate(
    designs: Sequence[Design],
    treatment: np.ndarray | float,
    control: np.ndarray | float,
    *,
    seed: int,
    trials: int = 100_000,
    variance: Variance = "t",
    level: float | None = 0.95,
    safety: Safety | None = None,
) -> Simulated:
    """Normal designs at true means (scenarios,), each subject's SD being the design's sigma.

    Measures and standard errors are those of `exact.characteristics`; with safety also `go_with_harm`.
    Errors: DecisionError of designs that are not normal with two arms, of one subject in both, of bad truths."""
    designs = tuple(designs)
    require_designs(designs, arms=2)
    wrong = [f"{d.name}: is {d.family}; write normal priors" for d in designs if d.family != "normal"]
    wrong += [f"{d.name}: n is {d.n}; write whole numbers, 3 or more in all" for d in designs if not _countable(d)]
    if not (isinstance(trials, int) and trials >= 2):
        wrong.append(f"trials is {trials}; write a whole number of 2 or more")
    if variance not in ("known", "normal", "t"):
        wrong.append(f"variance is {variance!r}; write known, normal or t")
    if level is not None and not 0 < level < 1:
        wrong.append(f"level is {level}; write a number between 0 and 1, such as 0.95")
    if wrong:
        raise DecisionError("\n".join(wrong))
    first, second = np.broadcast_arrays(np.atleast_1d(np.asarray(treatment, float)), np.asarray(control, float))
    require_truth(designs[0], first, second)
    sizes = [(int(d.treatment.n), int(d.control.n)) for d in designs if d.control]
    drawn = standard(sizes, seed=seed, trials=trials, safety=safety)
    safe = None if safety is None or drawn.events is None else _passed(safety, drawn.events)
    found = [_scenarios(d, n, first, second, drawn, variance, level, safe) for d, n in zip(designs, sizes, strict=True)]
    decided, estimate, measured = zip(*found, strict=True)
    return Simulated(tuple(d.name for d in designs), np.stack(decided), np.stack(estimate), tuple(measured))


def _countable(d: Design) -> bool:
    return all(arm.n == int(arm.n) for arm in d.arms) and d.n >= 3


def _normal_prior(arm: Arm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert isinstance(arm.prior, NormalMixture)
    return arm.prior.log_weight, arm.prior.component_mean, arm.prior.component_sd


def _passed(safety: Safety, events: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Trial by trial, whether the criteria of risk are met: (trials,)."""
    d = safety.design
    assert d.control is not None
    t, c = counted.posteriors(d.treatment), counted.posteriors(d.control)
    return counted.met(d, counted.probabilities(d, t, c))[events[0], events[1]]


def _scenarios(
    design: Design,
    n: tuple[int, int],
    treatment: np.ndarray,
    control: np.ndarray,
    drawn: Standard,
    variance: Variance,
    level: float | None,
    safe: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, Characteristics]:
    sigma, degrees = float(design.sigma or 0), n[0] + n[1] - 2
    spread = np.full(len(drawn.mean[0, n[0]]), sigma)
    if variance != "known":
        spread = sigma * np.sqrt((drawn.squares[0, n[0]] + drawn.squares[1, n[1]]) / degrees)
    wide = spread * (widening(design, degrees) if variance == "t" else 1.0)
    analysed = functools.partial(_compiled(design.decision, level), [_normal_prior(arm) for arm in design.arms])
    decided, estimates, rows = [], [], []
    for mean_t, mean_c in zip(treatment, control, strict=True):
        y_t, y_c = mean_t + sigma * drawn.mean[0, n[0]], mean_c + sigma * drawn.mean[1, n[1]]
        a = {k: np.asarray(v) for k, v in analysed(y_t, wide / math.sqrt(n[0]), y_c, wide / math.sqrt(n[1])).items()}
        decided.append(a["decided"])
        estimates.append(a["estimate"])
        rows.append(_measured(design, a, float(mean_t - mean_c), wide**2 / a["variance"] - n[1], safe))
    names = rows[0].keys()
    value, mcse = ({k: np.array([row[k][i] for row in rows]) for k in names} for i in (0, 1))
    return np.stack(decided), np.stack(estimates), Characteristics(value, mcse)


def _measured(
    design: Design, a: dict[str, np.ndarray], truth: float, borrowed: np.ndarray, safe: np.ndarray | None
) -> dict[str, tuple[float, float]]:
    error = a["estimate"] - truth
    found = {"rate": share(a["decided"]), "bias": mean(error), "mse": mean(error**2)}
    if "low" in a:
        found["coverage"] = share((a["low"] <= truth) & (truth <= a["high"]))
        found["width"] = mean(a["high"] - a["low"])
    found |= {"ess_borrowed": mean(borrowed), "n_expected": (float(design.n), 0.0)}
    return found if safe is None else found | {"go_with_harm": share(a["decided"] & safe)}


def share(x: np.ndarray) -> tuple[float, float]:
    """A proportion and its standard error; one more of each kind is counted in it, for none seen is not never."""
    n, p = len(x), float(np.mean(x))
    q = (n * p + 1) / (n + 2)
    return p, math.sqrt(q * (1 - q) / n)


def mean(x: np.ndarray) -> tuple[float, float]:
    """A mean and its standard error."""
    return float(np.mean(x)), float(np.std(x, ddof=1)) / math.sqrt(len(x))


def measure(*, seed: int, trials: int = 100_000, variance: Variance = "t", **options: Any) -> Measure:
    """`simulate` as what `drift.table` measures with."""
    return lambda designs, treatment, control: (
        simulate(designs, treatment, control, seed=seed, trials=trials, variance=variance, **options).characteristics
    )


def analyse(
    design: Design,
    treatment: float,
    control: float,
    analysis: Callable[[Trial], Mapping[str, float]],
    *,
    seed: int,
    trials: Sequence[int],
    client: Any = None,
    chunk: int = 16,
) -> pl.DataFrame:
    """An analysis of one's own, such as by MCMC, of the trials of these indices, the same as those that `simulate` has
    under the same seed: one row each, with what it returns, and the reason where it failed.

    client: of Dask, over whose workers chunks of trials are spread; what comes out does not depend on it or them."""
    require_truth(design, np.array([treatment]), np.array([control]))
    if len(trials) == 0 or min(trials) < 0 or chunk < 1:
        raise DecisionError("trials: give one index or more, each 0 or more; chunk: 1 or more")
    run = functools.partial(_some, design, treatment, control, analysis, seed)
    parts = [list(trials[i : i + chunk]) for i in range(0, len(trials), chunk)]
    done = map(run, parts) if client is None else client.gather(client.map(run, parts, pure=False))
    return pl.DataFrame([row for part in done for row in part], infer_schema_length=None)


def _some(
    design: Design,
    treatment: float,
    control: float,
    analysis: Callable[[Trial], Mapping[str, float]],
    seed: int,
    indices: list[int],
) -> list[dict[str, Any]]:
    rows = []
    for index in indices:
        try:
            found = dict(analysis(trial(design, treatment, control, seed=seed, index=index)))
            reason = None
        except (ValueError, RuntimeError, ArithmeticError) as e:  # one trial that does not converge is a row
            found, reason = {}, f"{type(e).__name__}: {e}"
        rows.append({"trial": index} | found | {"failed": reason})
    return rows
