"""Exact decisions of a normal trial with known variance: which mean of the treatment arm is enough, and how often.

The posterior of a normal mean moves up with the observed one under any prior, so each criterion is met on one side of a
critical mean of the treatment arm, which depends on the control's. It is found by bisection between the critical means
of single components, where it must lie. What is left is one integral over the control's mean, by the trapezoidal rule,
which for such integrands converges faster than any power of the step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from cohort.decision import DecisionError
from cohort.decision.design import Arm, Design, upward
from cohort.mixture import NormalMixture, posterior_weights

HALVINGS = 60
REACH = 8.5  # standard deviations on either side that an integral covers: 2e-17 is beyond
FINE, COARSE = 8, 2  # nodes in a standard deviation
MOST = 2_000_000  # nodes before those of several scenarios are joined


@dataclass(frozen=True)
class Means:
    """How an arm's observed mean is distributed in each scenario: normal components, each (scenarios, components)."""

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def density(self, y: np.ndarray) -> np.ndarray:
        """At y (q,): (scenarios, q)."""
        z = (y[None, None, :] - self.mean[..., None]) / self.sd[..., None]
        scale = (self.weight / self.sd)[..., None] / math.sqrt(2 * math.pi)
        return np.sum(scale * np.exp(-(z**2) / 2), axis=1)

    def below(self, y: np.ndarray) -> np.ndarray:
        """P(mean < y) at y (q,): (scenarios, q)."""
        z = (y[None, None, :] - self.mean[..., None]) / self.sd[..., None]
        return np.sum(self.weight[..., None] * ndtr(z), axis=1)

    def nodes(self, per_sd: int) -> tuple[np.ndarray, float]:
        """Points of a lattice within reach of any scenario's components, (q,), and the distance of neighbours."""
        step = float(self.sd.min()) / per_sd
        low, high = (np.rint((self.mean + side * REACH * self.sd) / step).astype(int).ravel() for side in (-1, 1))
        spans = np.unique(np.stack([low, high], axis=1), axis=0)
        if np.sum(spans[:, 1] - spans[:, 0]) > MOST:
            raise DecisionError(
                f"scenarios span {spans[:, 1].max() - spans[:, 0].min()} steps of {step:.3g}; ask for few"
            )
        return np.unique(np.concatenate([np.arange(i, j + 1) for i, j in spans])) * step, step


def at_truth(truth: np.ndarray, se: float) -> Means:
    """The observed mean at true means (scenarios,)."""
    mean = np.atleast_1d(np.asarray(truth, float))[:, None]
    return Means(np.ones_like(mean), mean, np.full_like(mean, se))


def posterior(arm: Arm, y: np.ndarray, se: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and means (..., components) and SDs (components,) after an observed mean (...)."""
    assert isinstance(arm.prior, NormalMixture)
    mean, sd = arm.prior.component_updated(y, se)
    return posterior_weights(arm.prior, y, se), mean, np.broadcast_to(sd, mean.shape).reshape(-1, mean.shape[-1])[0]


def moments(arm: Arm, y: np.ndarray, se: float) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and variance after observed means (...)."""
    weight, mean, sd = posterior(arm, y, se)
    centre = np.sum(weight * mean, axis=-1)
    return centre, np.sum(weight * (sd**2 + (mean - centre[..., None]) ** 2), axis=-1)


def critical(design: Design, threshold: float, probability: float, y_control: np.ndarray | None) -> np.ndarray:
    """The treatment arm's mean above which P(treatment - control > threshold) exceeds a probability, at each mean of
    the control (q,); of one arm, where y_control is None, P(treatment > threshold): (1,)."""
    arm = design.treatment
    assert isinstance(arm.prior, NormalMixture)
    se, prior = design.standard_error(arm), arm.prior
    if y_control is None:
        weight_c, mean_c, sd_c = np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1)
    else:
        assert design.control is not None
        weight_c, mean_c, sd_c = posterior(design.control, y_control, design.standard_error(design.control))
    precision = prior.component_sd**-2.0 + se**-2
    sd = np.sqrt(1 / precision[:, None] + sd_c**2)  # (components of treatment, of control)
    log_scale = -np.log(np.hypot(prior.component_sd, se)) + prior.log_weight
    # Posterior mean of each component at the root, then the observed mean that has it.
    wanted = mean_c[:, None, :] + threshold + ndtri(probability) * sd
    alone = (wanted * precision[:, None] - (prior.component_mean / prior.component_sd**2)[:, None]) * se**2
    low, high = alone.min(axis=(1, 2)), alone.max(axis=(1, 2))
    for _ in range(HALVINGS if alone.shape[1] * alone.shape[2] > 1 else 0):
        middle = (low + high) / 2
        z = (middle[:, None] - prior.component_mean) / np.hypot(prior.component_sd, se)
        log_w = log_scale - z**2 / 2
        w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
        w /= w.sum(axis=1, keepdims=True)
        mean = (prior.component_mean / prior.component_sd**2 + middle[:, None] / se**2) / precision
        inside = ndtr((mean[:, :, None] - mean_c[:, None, :] - threshold) / sd)
        enough = np.einsum("qi,qij,qj->q", w, inside, weight_c) > probability
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return (low + high) / 2


def region(design: Design, y_control: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Between which means of the treatment arm every criterion is met, each (q,), or (1,) of one arm; the lower is not
    below the upper where it is never met."""
    shape = (1,) if y_control is None else y_control.shape
    lower, upper = np.full(shape, -np.inf), np.full(shape, np.inf)
    for c in design.decision.criteria:
        if c.names == ("control",):
            assert design.control is not None
            assert y_control is not None
            weight, mean, sd = posterior(design.control, y_control, design.standard_error(design.control))
            above = np.sum(weight * ndtr((mean - c.threshold) / sd), axis=-1)
            upper = np.where(c.met(above if c.above else 1 - above), upper, -np.inf)
            continue
        threshold, above = upward(c)
        at = critical(design, threshold, c.cut if above else 1 - c.cut, y_control if c.second else None)
        if above == c.exceeds:
            lower = np.maximum(lower, at)
        else:
            upper = np.minimum(upper, at)
    return lower, upper


def between(
    treatment: Means, control: Means | None, lower: np.ndarray, upper: np.ndarray, y: np.ndarray | None, step: float
) -> np.ndarray:
    """P(lower < mean of treatment < upper) over the control's mean at nodes y: (scenarios,)."""
    inside = np.maximum(treatment.below(upper) - treatment.below(lower), 0.0)
    if control is None or y is None:
        return inside[:, 0]
    return np.minimum(np.sum(inside * control.density(y), axis=1) * step, 1.0)  # rounding


def rate(design: Design, treatment: Means, control: Means | None) -> np.ndarray:
    """How often the decision is positive in each scenario: (scenarios,)."""
    if control is None:
        return between(treatment, None, *region(design, None), None, 1.0)
    y, step = control.nodes(FINE)
    return between(treatment, control, *region(design, y), y, step)


def coverage(design: Design, treatment: Means, control: Means | None, truth: np.ndarray, level: float) -> np.ndarray:
    """How often the equal-tailed interval of the difference (or of the one mean) holds the truth (scenarios,)."""
    y, step = control.nodes(FINE) if control is not None else (None, 1.0)
    found = np.empty(len(truth))
    for value in np.unique(truth):
        who = np.flatnonzero(truth == value)
        lower = critical(design, float(value), (1 - level) / 2, y)
        upper = critical(design, float(value), (1 + level) / 2, y)
        some = [None if m is None else Means(m.weight[who], m.mean[who], m.sd[who]) for m in (treatment, control)]
        assert some[0] is not None
        found[who] = between(some[0], some[1], lower, upper, y, step)
    return found


def quantiles(design: Design, y_treatment: np.ndarray, y_control: np.ndarray | None, q: Sequence[float]) -> np.ndarray:
    """Quantiles of the difference at every pair of means: (quantiles, treatment, control or 1), to 1e-9 of an SD."""
    weight, mean, sd = posterior(design.treatment, y_treatment, design.standard_error(design.treatment))
    weight_c, mean_c, sd_c = np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1)
    if y_control is not None:
        assert design.control is not None
        weight_c, mean_c, sd_c = posterior(design.control, y_control, design.standard_error(design.control))
    shape = (len(weight), len(weight_c), -1)
    w = (weight[:, None, :, None] * weight_c[None, :, None, :]).reshape(shape)
    m = (mean[:, None, :, None] - mean_c[None, :, None, :]).reshape(shape)
    s = np.sqrt(sd[:, None] ** 2 + sd_c**2).ravel()
    found = []
    for share in q:
        alone = m + ndtri(share) * s
        low, high = alone.min(axis=2), alone.max(axis=2)
        for _ in range(34 if w.shape[2] > 1 else 0):
            middle = (low + high) / 2
            over = np.sum(w * ndtr((middle[..., None] - m) / s), axis=2) > share
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        found.append((low + high) / 2)
    return np.stack(found)


def width(design: Design, treatment: Means, control: Means | None, level: float) -> np.ndarray:
    """Mean width of the equal-tailed interval in each scenario: (scenarios,)."""
    y, step = treatment.nodes(COARSE)
    y_c, step_c = control.nodes(COARSE) if control is not None else (None, 1.0)
    low, high = quantiles(design, y, y_c, ((1 - level) / 2, (1 + level) / 2))
    over = treatment.density(y) @ (high - low) * step
    return over[:, 0] if control is None or y_c is None else np.sum(over * control.density(y_c), axis=1) * step_c
