"""Robust borrowing: an informative prior with a weight, a vague one with the rest; the data move the weight.

References
----------
[1] Schmidli et al. 2014, Biometrics 70:1023: robust meta-analytic-predictive priors.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed, log_marginal, updated
from cohort.borrowing.density import Density, mixture
from cohort.borrowing.trials import Trials, linked, natural, slope

if TYPE_CHECKING:
    from cohort.borrowing.borrowed import Distribution


def weight_after(informative: "Distribution", other: "Distribution", weight_on_vague: float, trial: Trials) -> float:
    """The posterior weight on the vague part [1]."""
    checks.refuse(checks.within("weight on vague", weight_on_vague, 0, 1))
    if weight_on_vague in (0, 1):
        return float(weight_on_vague)
    log_odds = log_marginal(other, trial) - log_marginal(informative, trial)
    return float(1 / (1 + np.exp(-log_odds) * (1 - weight_on_vague) / weight_on_vague))


def robust(
    trial: Trials,
    informative: "Distribution",
    other: "Distribution",
    *,
    weight_on_vague: float = 0.2,
    method: str = "robust",
    uses_data_twice: bool = False,
) -> Borrowed:
    """The control arm under (1 - weight_on_vague) informative + weight_on_vague other. Exact also where the informative
    part is a density rather than a mixture fitted to it. `weight`: posterior weight on the informative part."""
    after = weight_after(informative, other, weight_on_vague, trial)
    figures = {"prior_weight": 1 - weight_on_vague}
    kind = "posterior weight on the informative part"
    if not isinstance(informative, Density):
        prior: Any = informative.robust(weight_on_vague, other)  # type: ignore[arg-type]
        return Borrowed(method, updated(prior, trial), 1 - after, kind, prior, uses_data_twice, figures)
    mine, flat = _together(informative, other)
    prior = mixture([mine, flat], np.array([1 - weight_on_vague, weight_on_vague]))
    parts = [mine.updated(trial), flat.updated(trial)]
    posterior = mixture(parts, np.array([1 - after, after]))
    return Borrowed(method, posterior, 1 - after, kind, prior, uses_data_twice, figures)


def _together(informative: Density, other: "Distribution") -> tuple[Density, Density]:
    """Both at the same points, which hold both: beyond its own points the informative density is zero."""
    link, theta = informative.link, informative.theta
    bounds = np.asarray(other.quantile([1e-9, 1 - 1e-9]), float)
    ends = np.clip(linked(bounds, link), -36, 36) if link != "identity" else bounds  # beyond, a probability is 1
    below, above = theta[0] - ends[0], ends[1] - theta[-1]
    left = theta[0] - _steps(theta[1] - theta[0], below)[::-1]
    right = theta[-1] + _steps(theta[-1] - theta[-2], above)
    points = np.r_[left, theta, right]
    pdf = np.r_[np.zeros(len(left)), informative.pdf_theta, np.zeros(len(right))]
    with np.errstate(divide="ignore"):
        log_pdf = other.logpdf(natural(points, link)) + np.log(slope(points, link))
    return Density(points, pdf, link), Density.of(points, log_pdf, link)


def _steps(first: float, reach: float) -> np.ndarray:
    """Ever wider steps, from the first one to a reach; none if there is nothing to reach."""
    if reach <= 0:
        return np.empty(0)
    return np.geomspace(first, reach, 200) if reach > first else np.array([first])
