"""Operating characteristics without simulation: every outcome of a binary or Poisson trial, quadrature of a normal one.

The estimate is the posterior mean of treatment - control (of one arm, of its parameter), the interval equal-tailed.
What a posterior is worth is measured by its moments; what is borrowed is that less what the arm itself has.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from cohort.decision import DecisionError, counted, intervals, normal
from cohort.decision.counted import Posteriors, posteriors
from cohort.decision.design import Arm, Design, Prior, require_truth
from cohort.decision.normal import Means
from cohort.mixture import GammaMixture, NormalMixture

MEASURES = ("rate", "bias", "mse", "coverage", "width", "ess_borrowed", "n_expected")
MOST = 20_000  # outcomes of a Poisson arm


@dataclass(frozen=True)
class Characteristics:
    """What a design does in each scenario, and the Monte Carlo standard error, each (scenarios,); 0 where exact."""

    value: dict[str, np.ndarray]
    mcse: dict[str, np.ndarray]

    @property
    def rate(self) -> np.ndarray:
        return self.value["rate"]


@dataclass(frozen=True)
class Outcomes:
    """How the data of an arm are distributed in each scenario. counts: (scenarios, outcomes) of 0, 1, ...; or means."""

    counts: np.ndarray | None = None
    means: Means | None = None


def at_truth(design: Design, arm: Arm, truth: np.ndarray, largest: float | None = None) -> Outcomes:
    """Data of an arm at true parameters (scenarios,). largest: rate up to which Poisson outcomes are counted."""
    truth = np.atleast_1d(np.asarray(truth, float))
    if isinstance(arm.prior, NormalMixture):
        return Outcomes(means=normal.at_truth(truth, design.standard_error(arm)))
    most = float(truth.max()) if largest is None else largest
    return Outcomes(counts=_possible(arm, most).likelihood(truth))


def _possible(arm: Arm, largest: float) -> Posteriors:
    if isinstance(arm.prior, GammaMixture) and largest * arm.n > MOST:
        raise DecisionError(f"a rate of {largest:.3g} makes over {MOST} events; write a less vague prior of the design")
    return posteriors(arm, largest)


def under(design: Design, arm: Arm, belief: Prior | float, seen: tuple[float, float] = (0.0, 0.0)) -> Outcomes:
    """Final data of an arm whose parameter is as believed, predictive, or is the number given. seen: estimate (or
    events) and n (or exposure) of an interim look, which the belief holds already.
    Errors: DecisionError where more was seen than planned, or of a belief of another family."""
    y, n = seen
    left = arm.n - n
    if not (left >= 0 and n >= 0 and np.isfinite([y, n]).all()):
        raise DecisionError(f"seen: {y} of n = {n}, planned are {arm.n}; write an n between 0 and that")
    if isinstance(belief, int | float):
        require_truth(design, np.array([belief]), None if design.control is None else np.array([belief]))
    elif belief.family != arm.prior.family:
        raise DecisionError(f"belief: is a {type(belief).__name__}; write a {type(arm.prior).__name__}")
    if design.family == "normal":
        if left == 0:
            return Outcomes(means=normal.at_truth(np.array([y]), 1e-9 * design.standard_error(arm)))
        error = float(design.sigma or 0) / np.sqrt(left)
        if not isinstance(belief, NormalMixture):
            known = normal.at_truth(np.array([(n * y + left * belief) / arm.n]), error * left / arm.n)  # type: ignore[operator]
            return Outcomes(means=known)
        spread = np.hypot(belief.component_sd, error) * left / arm.n
        return Outcomes(
            means=Means(*(x[None] for x in (belief.weight, (n * y + left * belief.component_mean) / arm.n, spread)))
        )
    if not (y >= 0 and y == int(y) and (design.family != "beta" or y <= n)):
        raise DecisionError(f"seen: {y} events of {n}; write a whole number of events, of subjects not more than n")
    if isinstance(belief, int | float):
        if left == 0:
            return Outcomes(counts=(np.arange(y + 1) == y).astype(float)[None])
        new = at_truth(design, replace(arm, n=left), np.array([float(belief)])).counts
        assert new is not None
        return Outcomes(counts=np.concatenate([np.zeros(int(y)), new[0]])[None])
    if isinstance(belief, GammaMixture):
        largest = float(belief.quantile(1 - 1e-12))
        if largest * arm.n > MOST:
            raise DecisionError(f"belief: rates up to {largest:.3g} make over {MOST} events; write a less vague prior")
        size = len(posteriors(arm, largest).outcomes)
    else:
        size = int(left) + 1
    new = np.arange(float(size))
    mass = np.exp(belief.log_marginal(new, left)) if left > 0 else (new == 0).astype(float)
    return Outcomes(counts=np.concatenate([np.zeros(int(y)), mass])[None])


def success(design: Design, treatment: Outcomes, control: Outcomes | None) -> np.ndarray:
    """How often the decision is positive, (scenarios,), with data so distributed, arms independent."""
    if treatment.means is not None:
        return normal.rate(design, treatment.means, None if control is None else control.means)
    assert treatment.counts is not None
    t = _of_size(design.treatment, treatment.counts)
    c = None if design.control is None or control is None else _of_size(design.control, control.counts)
    table = counted.met(design, counted.probabilities(design, t, c)).astype(float)
    return weighted(table, treatment.counts, None if control is None else control.counts)


def _of_size(arm: Arm, counts: np.ndarray | None) -> Posteriors:
    assert counts is not None
    return Posteriors(np.arange(float(counts.shape[1])), arm.n, arm.prior)  # type: ignore[arg-type]


def weighted(table: np.ndarray, p: np.ndarray, p_c: np.ndarray | None) -> np.ndarray:
    """Mean of a table (outcomes, outcomes or 1) over outcomes of probabilities (scenarios, outcomes): (scenarios,)."""
    found = p @ np.asarray(table, float)
    return found[:, 0] if p_c is None else np.sum(found * p_c, axis=1)


def rate(design: Design, treatment: np.ndarray, control: np.ndarray | None = None) -> np.ndarray:
    """How often the decision is positive at true parameters (scenarios,): type I error where there is no effect, power
    elsewhere. Errors: DecisionError of truths that the outcome cannot have."""
    truths = _truths(design, treatment, control)
    return success(design, *_outcomes(design, *truths))


def _truths(
    design: Design, treatment: np.ndarray | float, control: np.ndarray | float | None
) -> tuple[np.ndarray, np.ndarray | None]:
    first = np.atleast_1d(np.asarray(treatment, float))
    second = None if control is None else np.atleast_1d(np.asarray(control, float))
    require_truth(design, first, second)
    if second is not None:
        first, second = np.broadcast_arrays(first, second)
    return first, second


def _outcomes(design: Design, treatment: np.ndarray, control: np.ndarray | None) -> tuple[Outcomes, Outcomes | None]:
    t = at_truth(design, design.treatment, treatment)
    return t, None if control is None or design.control is None else at_truth(design, design.control, control)


def characteristics(
    design: Design, treatment: np.ndarray, control: np.ndarray | None = None, *, level: float | None = 0.95
) -> Characteristics:
    """Every measure of MEASURES at true parameters (scenarios,). level: of the equal-tailed interval; None leaves
    coverage and width out, which take longest. Errors: DecisionError of truths that the outcome cannot have."""
    if level is not None and not 0 < level < 1:
        raise DecisionError(f"level is {level}; write a number between 0 and 1, such as 0.95")
    first, second = _truths(design, treatment, control)
    truth = first if second is None else first - second
    find = _normal if design.family == "normal" else _counted
    value = find(design, first, second, truth, level) | {"n_expected": np.full(len(first), float(design.n))}
    return Characteristics(value, {k: np.zeros(len(first)) for k in value})


def _normal(
    design: Design, first: np.ndarray, second: np.ndarray | None, truth: np.ndarray, level: float | None
) -> dict[str, np.ndarray]:
    arms = [a.means for a in _outcomes(design, first, second) if a is not None]
    t, c = arms[0], arms[1] if len(arms) > 1 else None
    assert t is not None
    bias, variance, borrowed = -truth, np.zeros(len(truth)), np.zeros(len(truth))
    for sign, arm, means in zip((1, -1), design.arms, arms, strict=False):
        assert means is not None
        y, step = means.nodes(normal.FINE)
        f = means.density(y) * step
        centre, spread = normal.moments(arm, y, design.standard_error(arm))
        first_moment = f @ centre
        bias = bias + sign * first_moment
        variance = variance + np.sum(f * (centre - first_moment[:, None]) ** 2, axis=1)
        borrowed = (
            f @ (float(design.sigma or 0) ** 2 / spread) - arm.n
        )  # of the last arm: the control where there is one
    found = {"rate": normal.rate(design, t, c), "bias": bias, "mse": variance + bias**2, "ess_borrowed": borrowed}
    if level is not None:
        found["coverage"] = normal.coverage(design, t, c, truth, level)
        found["width"] = normal.width(design, t, c, level)
    return found


def _counted(
    design: Design, first: np.ndarray, second: np.ndarray | None, truth: np.ndarray, level: float | None
) -> dict[str, np.ndarray]:
    arms = [a.counts for a in _outcomes(design, first, second) if a is not None]
    each = [_of_size(arm, p) for arm, p in zip(design.arms, arms, strict=True)]
    t, c = each[0], each[1] if len(each) > 1 else None
    p, p_c = arms[0], arms[1] if len(arms) > 1 else np.ones((len(truth), 1))
    assert p is not None
    assert p_c is not None
    table = counted.met(design, counted.probabilities(design, t, c))
    bias, variance = -truth, np.zeros(len(truth))
    for sign, arm, f in zip((1, -1), each, (p, p_c), strict=False):
        centre = arm.moments[0]
        first_moment = f @ centre
        bias = bias + sign * first_moment
        variance = variance + np.sum(f * (centre - first_moment[:, None]) ** 2, axis=1)
    borrowed = (p if c is None else p_c) @ each[-1].worth()
    found = {"rate": weighted(table, p, p_c), "bias": bias, "mse": variance + bias**2, "ess_borrowed": borrowed}
    if level is not None:
        found["coverage"] = intervals.coverage(t, c, p, p_c, truth, level)
        found["width"] = intervals.width(t, c, p, p_c, level)
    return found


def critical_values(design: Design, control: np.ndarray | None = None, largest: float | None = None) -> pl.DataFrame:
    """The decision boundary: for each outcome of the control the treatment's outcomes `lowest` to `highest` with which
    the decision is positive, null where none is. control: means (q,) at which a normal design is told, none of one arm.
    largest: the rate up to which Poisson outcomes are counted. Errors: DecisionError where these are not given."""
    if design.family == "normal":
        if (control is None) != (design.control is None):
            raise DecisionError(f"{design.name}: give means of the control where there is one, (q,)")
        y = None if control is None else np.atleast_1d(np.asarray(control, float))
        lower, upper = normal.region(design, y)
        never = ~(lower < upper)
        columns = {"lowest": np.where(never, np.nan, lower), "highest": np.where(never, np.nan, upper)}
        table = pl.DataFrame(({} if y is None else {"control": y}) | columns)
        return table.with_columns(pl.col("lowest", "highest").fill_nan(None))
    if design.family == "gamma" and largest is None:
        raise DecisionError(f"{design.name}: give the largest rate up to which outcomes are counted")
    arms = [_possible(arm, largest or 0.0) for arm in design.arms]
    t, c = arms[0], arms[1] if len(arms) > 1 else None
    table = counted.met(design, counted.probabilities(design, t, c))
    some = table.any(axis=0)
    ends = {"lowest": table.argmax(axis=0), "highest": len(table) - 1 - table[::-1].argmax(axis=0)}
    rows = {k: [int(x) if s else None for x, s in zip(v, some, strict=True)] for k, v in ends.items()}
    return pl.DataFrame(({} if c is None else {"control": c.outcomes.astype(int)}) | rows)
