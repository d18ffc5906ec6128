"""The self-adapting mixture (SAM) prior: a robust mixture whose weight is a likelihood ratio at the trial's own data.

    w = R / (1 + R),  R = L(y; theta_h) / max{ L(y; theta_h + delta), L(y; theta_h - delta) }  [1]

The data set the weight and enter the likelihood too: not a Bayesian posterior, to be calibrated by simulation.

References
----------
[1] Yang et al. 2023, Biometrics 79:2857: SAM, self-adapting mixture prior.
"""

from typing import TYPE_CHECKING

import numpy as np

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed
from cohort.borrowing.robust import robust
from cohort.borrowing.trials import Trials, linked, one

if TYPE_CHECKING:
    from cohort.borrowing.borrowed import Distribution


def weight(trial: Trials, centre: float, delta: float) -> float:
    """Prior weight on the informative part. centre: what the historical data say; delta: the least difference that
    matters clinically, both on the natural scale. A side that is no probability or rate is left out."""
    low, high = {"logit": (0.0, 1.0), "log": (0.0, np.inf), "identity": (-np.inf, np.inf)}[trial.link]
    wrong = checks.numbers("centre", centre) + checks.positive("delta", delta) + one("trial", trial)
    sides = [centre - delta, centre + delta]
    if not wrong and not low < centre < high:
        wrong = [f"centre: {centre:g} is outside {low:g} to {high:g}; write a value within"]
    if not wrong and not any(low < s < high for s in sides):
        wrong = [
            f"delta: {delta:g} leads from {centre:g} beyond {low:g} to {high:g} on both sides; write a smaller one"
        ]
    checks.refuse(wrong)

    def log_likelihood(x: float) -> float:
        return float(trial.log_likelihood(linked(np.array([x]), trial.link))[0])

    log_ratio = log_likelihood(centre) - max(log_likelihood(s) for s in sides if low < s < high)
    return float(1 / (1 + np.exp(-log_ratio)))


def sam(
    trial: Trials, informative: "Distribution", other: "Distribution", *, delta: float, centre: float | None = None
) -> Borrowed:
    """The control arm under a SAM prior. centre: of the historical data; the informative prior's mean if None.
    about: prior_weight, the likelihood ratio's. `weight`: posterior weight on the informative part."""
    w = weight(trial, float(informative.mean) if centre is None else centre, delta)
    return robust(trial, informative, other, weight_on_vague=1 - w, method="SAM", uses_data_twice=True)
