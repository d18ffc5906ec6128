"""The power prior: historical likelihood to a power a0, which is given, or has a prior and is learnt.

    p(theta, a0) = L(theta; historical)^a0 p(theta) p(a0) / c(a0),   0 <= a0 <= n_cap / N,

with c(a0) such that theta integrates to one [2]; without it the data could not speak of a0. Everything is conjugate
given a0, so the prior of theta is a mixture over a0, exact to quadrature.

References
----------
[1] Ibrahim and Chen 2000, Statist Sci 15:46: power priors.
[2] Duan, Ye, Smith 2006, Environmetrics 17:95: the normalised power prior.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed, updated
from cohort.borrowing.quadrature import unit
from cohort.borrowing.trials import Binomial, Normal, Poisson, Trials, one, pooled

if TYPE_CHECKING:
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

    type Initial = BetaMixture | GammaMixture | NormalMixture | None


def cap(n_cap: float | None, subjects: float) -> float:
    """The greatest power that is allowed: historical subjects count for n_cap at most, and each for one at most."""
    if n_cap is None:
        return 1.0
    checks.refuse(checks.within("n_cap", n_cap, 0, np.inf) + checks.positive("historical subjects", subjects))
    return min(1.0, n_cap / subjects)


def _subjects(historical: Trials, subjects: float | None, n_cap: float | None) -> float:
    if isinstance(historical, Binomial):
        return float(historical.n.sum())
    if subjects is None and n_cap is not None:
        checks.refuse(["subjects: are absent and a cap is wanted; write the number of historical subjects"])
    return 1.0 if subjects is None else float(subjects)


def powered(historical: Trials, a0: np.ndarray, weight: np.ndarray, initial: "Initial") -> Any:
    """Conjugate mixture of the priors of theta at powers a0 (powers,), with their weights. initial: of one component,
    before the historical data; None: Beta(1, 1), or the flat limit of a normal, which needs a0 > 0."""
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

    data = pooled(historical)
    if initial is not None and np.size(initial.weight) != 1:
        checks.refuse(["initial prior: is a mixture; write one of a single component"])
    if isinstance(data, Binomial):
        first: Any = initial or BetaMixture(np.ones(1), np.ones(1), np.ones(1))
        events, n = data.events[0], data.n[0]
        return BetaMixture(weight, first.a[0] + a0 * events, first.b[0] + a0 * (n - events))
    if isinstance(data, Poisson):
        if initial is None:
            checks.refuse(["initial prior: is absent; write a GammaMixture of one component"])
        first = initial
        return GammaMixture(weight, first.shape[0] + a0 * data.events[0], first.rate[0] + a0 * data.exposure[0])
    told = a0 / data.se[0] ** 2
    if initial is None:
        return NormalMixture(weight, np.full(len(a0), data.y[0]), told**-0.5)
    first = initial
    precision = told + first.sds[0] ** -2
    return NormalMixture(weight, (told * data.y[0] + first.means[0] / first.sds[0] ** 2) / precision, precision**-0.5)


def fixed(
    trial: Trials,
    historical: Trials,
    a0: float,
    *,
    initial: "Initial" = None,
    n_cap: float | None = None,
    subjects: float | None = None,
) -> Borrowed:
    """The control arm under a power prior [1] of power a0, or of the cap's if that is less: `weight`. Historical trials
    are pooled. subjects: number of historical ones, where they are not binomial and n_cap is given."""
    checks.refuse(checks.within("a0", a0, 0, 1) + one("trial", trial))
    power = min(a0, cap(n_cap, _subjects(historical, subjects, n_cap)))
    name = f"power prior, a0 = {power:g}"
    if power == 0 and initial is None and isinstance(trial, Normal):
        from cohort.mixture import NormalMixture

        return Borrowed(name, NormalMixture(np.ones(1), trial.y, trial.se), 0.0, "a0")  # the flat limit
    prior = powered(historical, np.array([power]), np.ones(1), initial)
    return Borrowed(name, updated(prior, trial), power, "a0", prior)


def normalised(
    trial: Trials,
    historical: Trials,
    *,
    initial: "Initial" = None,
    power_prior: tuple[float, float] = (1.0, 1.0),
    n_cap: float | None = None,
    subjects: float | None = None,
    points: int = 200,
) -> Borrowed:
    """The control arm under a normalised power prior [2] with a0 ~ Beta(*power_prior), cut off at the cap. `weight`:
    E(a0 | data); about: its SD, and its prior mean."""
    checks.refuse(checks.positive("power prior, shapes", power_prior) + one("trial", trial))
    most = cap(n_cap, _subjects(historical, subjects, n_cap))
    if most == 0:
        return fixed(trial, historical, 0.0, initial=initial)
    u, w = unit(points)
    u, w = u**2, w * 2 * u  # denser where a0 is small, where a flat initial prior makes the integrand a square root
    of_a0 = stats.beta(*power_prior)
    a0 = np.maximum(of_a0.ppf(u * of_a0.cdf(most)), 1e-12)
    w = w / w.sum()
    prior = powered(historical, a0, w, initial)
    posterior = updated(prior, trial)
    mean = float(posterior.weight @ a0)
    sd = float(np.sqrt(posterior.weight @ (a0 - mean) ** 2))
    about = {"a0_sd": sd, "a0_prior_mean": float(w @ a0), "a0_most": most}
    return Borrowed("normalised power prior", posterior, mean, "E(a0 | data)", prior, False, about)
