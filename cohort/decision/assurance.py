"""How probable success is when the effect itself is uncertain: before a trial, and at an interim look.

Assurance is the rate of positive decisions averaged over a design prior, which is what is believed of the parameters
and is not the prior of the analysis [1]. Arms believed to be independent have predictive distributions of their data in
closed form, under which the decision table is averaged exactly.

References
----------
[1] O'Hagan, Stevens & Campbell 2005, Assurance in clinical trial design. Pharm Stat 4:187-201, doi 10.1002/pst.175.
[2] Tsiatis 1981, The asymptotic joint distribution of the efficient scores test for the proportional hazards model.
    Biometrika 68:311-315: a log hazard ratio has variance 4 / events at equal allocation.
"""

import math

import numpy as np
from scipy.special import ndtr

from cohort.decision import DecisionError, exact
from cohort.decision.criteria import decision, effective_size
from cohort.decision.design import Arm, Design, Prior, boundary, in_range, require_designs
from cohort.mixture import NormalMixture

NODES = 200  # of an average over a design prior, in its probability


def assurance(design: Design, treatment: Prior | float, control: Prior | float | None = None) -> float:
    """Exact probability of success with independent beliefs of the arms' parameters, or with known ones.
    Errors: DecisionError of a belief of another family than the design's."""
    _both(design, control)
    t = exact.under(design, design.treatment, treatment)
    c = None if design.control is None or control is None else exact.under(design, design.control, control)
    return float(exact.success(design, t, c)[0])


def over_draws(design: Design, treatment: np.ndarray, control: np.ndarray | None = None) -> tuple[float, float]:
    """Assurance over draws of the parameters, jointly believed, and its Monte Carlo standard error.

    Draws of shape (draws,) are taken as independent. Those of chains are not: give these as (chains, draws), 4 or more
    of each, and the error is that of the effective sample size of the rates.
    Errors: DecisionError of draws of two shapes, or of too few."""
    arms = [np.asarray(x, float) for x in (treatment, control) if x is not None]
    shape = arms[0].shape
    least = 2 if len(shape) == 1 else 4  # with fewer in a chain, its autocorrelation has no estimate
    wrong = [] if len({x.shape for x in arms}) == 1 else [f"draws have shapes {[x.shape for x in arms]}; give one"]
    if len(shape) not in (1, 2):
        wrong.append(f"draws of shape {shape}; give (draws,) or (chains, draws)")
    elif shape[-1] < least or 0 in shape:
        wrong.append(f"{shape[-1]} draws of shape {shape}; give {least} or more")
    if wrong:
        raise DecisionError("\n".join(wrong))
    rates = exact.rate(design, arms[0].ravel(), None if control is None else arms[1].ravel())
    size = float(rates.size) if len(shape) == 1 else effective_size(rates.reshape(shape), "mean")
    return float(rates.mean()), float(rates.std(ddof=1) / math.sqrt(size))


def average_type_1(design: Design, control: Prior, null: float | None = None) -> float:
    """The type I error averaged over what is believed of the control, by quadrature in its probability.

    null: the true effect; the threshold of the first criterion if None. Controls with which the treatment could not
    have that effect, such as a probability above 1, are left out of the average.
    Errors: DecisionError of one arm, or where no control that is believed in allows the null."""
    require_designs([design], arms=2)
    effect = boundary(design) if null is None else null
    low = 0.0 if design.family == "normal" or effect >= 0 else float(control.cdf(-effect))
    high = float(control.cdf(1 - effect)) if design.family == "beta" and effect > 0 else 1.0
    if not low < high:
        raise DecisionError(f"null is {effect}: no treatment can differ from the control by that; write another")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    at = np.asarray(control.quantile(low + (high - low) * (nodes + 1) / 2), float)
    return float(weights @ exact.rate(design, in_range(design, at + effect), at) / 2)


def two_arm_normal(mean: float, sd: float, se: float, critical: float) -> float:
    """Closed form: an effect believed to be Normal(mean, sd²), estimated with standard error se, and a success where
    the estimate exceeds a critical value. sd 0 gives the power at the mean."""
    wrong = [] if np.isfinite([mean, critical]).all() else [f"mean {mean} and critical {critical} must be finite"]
    wrong += [] if 0 <= sd < math.inf else [f"sd is {sd}; write 0 or more"]
    wrong += [] if 0 < se < math.inf else [f"se is {se}; write a positive number"]
    if wrong:
        raise DecisionError("\n".join(wrong))
    return float(ndtr((mean - critical) / math.hypot(sd, se)))  # [1]


def _both(design: Design, control: object) -> None:
    if (control is None) != (design.control is None):
        raise DecisionError(f"{design.name}: has {len(design.arms)} arms; give as many beliefs")


def _updated(prior: Prior, design: Design, seen: tuple[float, float]) -> Prior:
    y, n = seen
    if n == 0:
        return prior
    if isinstance(prior, NormalMixture):
        return prior.updated(y, float(design.sigma or 0) / math.sqrt(n))
    return prior.updated(y, n)


def at_interim(
    design: Design,
    treatment: tuple[float, float],
    control: tuple[float, float] | None = None,
    *,
    belief: tuple[Prior | float, Prior | float | None] | None = None,
) -> float:
    """Probability of success at the end, given what an interim look saw: of each arm the estimate (or events) and n.

    belief: of the parameters after the interim data, in place of the analysis priors updated by them; numbers in place
    of mixtures give the conditional power. Errors: DecisionError of data that cannot be, or beliefs of other families.
    """
    _both(design, control)
    arms, looks = design.arms, [x for x in (treatment, control) if x is not None]
    for arm, (y, n) in zip(arms, looks, strict=True):
        exact.under(design, arm, arm.prior, (y, n))  # refuses data that cannot be, before anything is updated
    if belief is None:
        believed = [_updated(arm.prior, design, seen) for arm, seen in zip(arms, looks, strict=True)]
    else:
        believed = [b for b in belief if b is not None]
        _both(design, belief[1])
    ends = [exact.under(design, arm, b, seen) for arm, b, seen in zip(arms, believed, looks, strict=True)]
    return float(exact.success(design, ends[0], ends[1] if len(ends) > 1 else None)[0])


def hazard_ratio_design(
    name: str, *, events: float, prior: NormalMixture, below: float = 1.0, cut: float = 0.975
) -> Design:
    """A trial to a time to event by the normal approximation: the log hazard ratio has SD 2 / sqrt(events) [2], and
    success is P(hazard ratio < below) > cut. prior: of the log hazard ratio.
    Errors: DecisionError of no events, or a hazard ratio that is not positive."""
    if not 0 < below < math.inf:
        raise DecisionError(f"below is {below}; write a positive hazard ratio")
    wanted = decision(f"P(treatment < {math.log(below)!r}) > {cut!r}", ["treatment"])
    return Design(name, wanted, Arm(events, prior), sigma=2.0)
