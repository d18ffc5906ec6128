"""What the model says of an arm before its outcome is seen: its own uncertainty, and how far it erred elsewhere.

How far it erred is learnt from trials that it did not see, each as one: their arms share the trial's people, conduct
and laboratory. Arms without a drug teach of arms without a drug, and arms with one of those with one, for a model may
know the disease and misjudge the drug.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cohort.borrowing.map import as_mixture, largest_error
from cohort.borrowing.scale import Scale
from cohort.borrowing.virtual import Discrepancy, Evidence, Validation, Virtual, predictive
from cohort.comparison.predict import ArmPrediction
from cohort.mixture import NormalMixture
from cohort.study import Study

POINTS = 1000  # quantiles of a prior over scales of discrepancy, to which a mixture of few normals is fitted
LEARNT = {"learnt": 1.0, "learnt, scales halved": 0.5, "learnt, scales doubled": 2.0}


def evidence_of(arms: Sequence[ArmPrediction]) -> Evidence:
    """Mean (arms,) and covariance (arms, arms) of the arms' population means under parameter uncertainty.

    The patients redrawn for each draw put noise of their own into the spread of each arm: it is taken out. The people
    at the posterior mean are the same in every arm: their sampling error moves all alike, and is added once."""
    theta = np.stack([arm.theta for arm in arms])
    covariance = np.atleast_2d(np.cov(theta)) - np.diag([float(np.mean(arm.noise**2)) for arm in arms])
    values, vectors = np.linalg.eigh(covariance)
    covariance = vectors @ np.diag(np.maximum(values, 0.0)) @ vectors.T
    common = np.array([arm.common for arm in arms])
    return Evidence(theta.mean(axis=1), covariance + np.outer(common, common))


def plain(study: Study, per_arm: Mapping[str, ArmPrediction]) -> dict[str, Any]:
    """The same as plain values, for a study that learns from this one."""
    found = evidence_of(list(per_arm.values()))
    return {
        "arms": list(per_arm),
        "active": [study.arms[name].active for name in per_arm],
        "mean": found.mean.tolist(),
        "covariance": found.cov.tolist(),
    }


def assumed(study: Study, unit: str) -> Discrepancy:
    """The study's assumption as a prior that trials can teach: of the variance of a trial's error half repeats in every
    trial and half differs between them, so that without any trial the standard deviations are the stated ones."""
    trial, arm = study.analysis.discrepancy.to(unit), study.analysis.arm_discrepancy.to(unit)
    return Discrepancy(trial / 2**0.5, Scale(trial / 2**0.5), Scale(arm))  # E tau² of a half-normal is its scale²


def validation(summary: Mapping[str, Any], endpoint: str, *, active: bool) -> Validation | None:
    """The arms of another study, with a drug or without, that have an outcome; None if it has none.
    summary: of its comparison."""
    says = summary.get("evidence_of_model", {}).get(endpoint)
    seen = {row["arm"]: row for row in summary.get("arms", []) if row["endpoint"] == endpoint and row["kind"] == "mean"}
    if says is None:
        return None
    kept = [i for i, arm in enumerate(says["arms"]) if arm in seen and says["active"][i] == active]
    if not kept:
        return None
    rows = [seen[says["arms"][i]] for i in kept]
    model = Evidence(np.array(says["mean"])[kept], np.array(says["covariance"])[np.ix_(kept, kept)])
    return Validation(np.array([r["observed"] for r in rows]), np.array([r["se"] for r in rows]), model)


@dataclass(frozen=True)
class Prior:
    """The model's word on one arm: `label` of the discrepancy it rests on, `mixture` of few normals, and how far its
    distribution function is from the one it stands for at most; `virtual`: what it was learnt from, None at 0."""

    label: str
    mixture: NormalMixture
    error: float
    virtual: Virtual | None


def priors(
    arm: ArmPrediction, discrepancy: Discrepancy, trials: Sequence[Validation], *, seed: int
) -> dict[str, Prior]:
    """By what the discrepancy rests on: `none`, only parameters are uncertain; `assumed` and twice that, before any
    trial; and, where there are trials, `learnt` from them, with the scales as assumed, halved and doubled."""
    model = evidence_of([arm])
    # An arm that no parameter moves would be known exactly; a thousandth of a patient's SD is worth a million patients.
    sd = max(float(np.sqrt(model.cov[0, 0])), float(np.sqrt(np.mean(arm.sd**2))) / 1000)
    model = Evidence(model.mean, np.array([[sd**2]]))
    found = {"none": Prior("none", NormalMixture([1.0], model.mean, [sd]), 0.0, None)}
    for label, factor in (("assumed", 1.0), ("assumed, doubled", 2.0)):
        found[label] = _fitted(label, predictive(model, [], discrepancy.scaled(factor)), seed)
    for label, factor in LEARNT.items() if trials else ():
        found[label] = _fitted(label, predictive(model, trials, discrepancy.scaled(factor)), seed)
    return found


def _fitted(label: str, virtual: Virtual, seed: int) -> Prior:
    """A mixture over a grid of scales has hundreds of components that few stand for."""
    assert isinstance(virtual.prior, NormalMixture)
    mixture = as_mixture(virtual.prior, seed=seed, points=POINTS)
    assert isinstance(mixture, NormalMixture)
    return Prior(label, mixture, largest_error(virtual.prior, mixture), virtual)
