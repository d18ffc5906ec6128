"""Whether a virtual and a real value agree within a margin that was stated beforehand.

References
----------
[1] Schuirmann 1987, J Pharmacokinet Biopharm 15:657: two one-sided tests.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from cohort.agreement import AgreementError

ENOUGH = 0.95


@dataclass(frozen=True)
class Equivalence:
    """`difference`: real minus virtual with its equal-tailed credible interval (`low`, `high` at `level`); `within`:
    probability that it is smaller than the margin, with Monte Carlo error `mcse`; `p_tost`: the larger p of the two
    one-sided tests [1]; `says`: one of `equivalent`, `different`, `undecided`."""

    difference: float
    low: float
    high: float
    level: float
    margin: float
    within: float
    mcse: float
    p_tost: float
    says: str


def equivalence(
    real: float, se: float, virtual: np.ndarray, *, margin: float, level: float = 0.95, enough: float = ENOUGH
) -> Equivalence:
    """real, se: estimate and standard error of the real population's value; virtual: (draws,) the virtual one's under
    parameter uncertainty, without sampling error, for the virtual population can be made as large as one likes.

    `equivalent` if P(|difference| < margin) > enough; `different` if P(|difference| > margin) > enough; else
    `undecided`, which is no evidence of agreement. Errors: AgreementError.
    """
    virtual = np.asarray(virtual, float)
    wrong = []
    if not margin > 0 or not np.isfinite(margin):
        wrong.append(f"the margin is {margin:g}; write a positive one, it counts on either side")
    if not se > 0 or not np.isfinite(se):
        wrong.append(f"the standard error is {se:g}; write a positive one")
    if not np.isfinite(real):
        wrong.append(f"the real estimate is {real:g}; leave the arm out and say so")
    if virtual.size == 0 or not np.isfinite(virtual).all():
        wrong.append("virtual values are missing or not finite")
    if not 0.5 < level < 1 or not 0.5 < enough < 1:
        wrong.append(f"level {level:g} and enough {enough:g} must be between 0.5 and 1")
    if wrong:
        raise AgreementError("; ".join(wrong))
    upper = scipy.stats.norm.cdf((virtual + margin - real) / se)
    lower = scipy.stats.norm.cdf((virtual - margin - real) / se)
    each = upper - lower
    within = float(each.mean())
    total = float(np.hypot(virtual.std(ddof=1) if virtual.size > 1 else 0.0, se))
    difference = real - float(virtual.mean())
    low, high = interval(real, se, virtual, level)
    p = max(scipy.stats.norm.sf((difference + margin) / total), scipy.stats.norm.cdf((difference - margin) / total))
    says = "equivalent" if within > enough else "different" if 1 - within > enough else "undecided"
    mcse = float(each.std(ddof=1) / np.sqrt(virtual.size)) if virtual.size > 1 else 0.0
    return Equivalence(difference, low, high, level, margin, within, mcse, float(p), says)


def interval(real: float, se: float, virtual: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The equal-tailed interval of real minus virtual, whatever margin there is or none; arguments as `equivalence`."""
    low, high = (_quantile(real, se, virtual, q) for q in ((1 - level) / 2, (1 + level) / 2))
    return low, high


def _quantile(real: float, se: float, virtual: np.ndarray, q: float) -> float:
    """Of real minus virtual: a normal about each draw, all draws alike."""
    centre, width = real - virtual.mean(), 12 * se + float(np.ptp(virtual)) + 1e-300

    def excess(x: float) -> float:
        return float(scipy.stats.norm.cdf((x - (real - virtual)) / se).mean()) - q

    return float(scipy.optimize.brentq(excess, centre - width, centre + width, xtol=1e-12 * width))
