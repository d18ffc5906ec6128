"""The discount function (MDIC): historical or virtual data count for alpha, set by how alike they are to the trial's.

    p_hat = 2 min{ P(theta < theta_0), P(theta > theta_0) },  alpha = alpha_max W(p_hat),
    posterior = prior x L(trial) x L(historical)^alpha  [1]

The data set alpha and enter the likelihood too: not a Bayesian posterior, to be calibrated by simulation. p_hat is by
quadrature and not by simulation. Each arm of a two-arm trial has an alpha of its own.

References
----------
[1] Haddad et al. 2017, J Biopharm Stat 27:1089: stochastic engineering models as prior information in device trials.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed
from cohort.borrowing.power import cap
from cohort.borrowing.quadrature import unit
from cohort.borrowing.trials import Binomial, one, pooled

METHOD = "discount function"
MEASURE = "alpha"


@dataclass(frozen=True)
class Discount:
    """W(p): identity p, Weibull 1 - exp(-(p / scale)^shape), or Weibull scaled so that W(1) = 1. alpha_max: the most
    that one historical subject counts for."""

    kind: Literal["identity", "weibull", "scaled weibull"] = "identity"
    shape: float = 3.0
    scale: float = 0.135
    alpha_max: float = 1.0

    def __post_init__(self) -> None:
        checks.refuse(
            checks.known("discount, kind", self.kind, ["identity", "weibull", "scaled weibull"])
            + checks.positive("discount, shape and scale", [self.shape, self.scale])
            + checks.within("discount, alpha_max", self.alpha_max, 0, 1)
        )

    def w(self, p: Any) -> Any:
        """The share of alpha_max at p_hat."""
        checks.refuse(checks.within("p_hat", p, 0, 1))
        if self.kind == "identity":
            return np.asarray(p, float)
        weibull = -np.expm1(-((np.asarray(p, float) / self.scale) ** self.shape))
        return weibull if self.kind == "weibull" else weibull / -np.expm1(-((1 / self.scale) ** self.shape))

    def most(self, subjects: float, n_cap: float | None) -> float:
        """alpha_max, or less where the historical subjects would count for more than n_cap."""
        return min(self.alpha_max, cap(n_cap, subjects))

    def alpha(self, p_hat: float, subjects: float, n_cap: float | None) -> float:
        """What each historical subject counts for at p_hat."""
        return float(self.most(subjects, n_cap) * self.w(p_hat))


IDENTITY = Discount()


@dataclass(frozen=True)
class Sample:
    """Mean, standard deviation and number of subjects of one arm."""

    mean: float
    sd: float
    n: int

    def __post_init__(self) -> None:
        wrong = checks.numbers("mean", self.mean) + checks.positive("sd", self.sd) + checks.counts("n", self.n)
        if not wrong and self.n < 2:
            wrong = [f"n: {self.n} subjects have no standard deviation; write two or more"]
        checks.refuse(wrong)


def two_sided(below: float) -> float:
    """p_hat of P(theta < theta_0)."""
    return float(min(1.0, 2 * min(below, 1 - below)))


def p_hat_binomial(trial: Binomial, historical: Binomial, prior: tuple[float, float] = (1.0, 1.0)) -> float:
    """Two-sided p_hat of two proportions, each after Beta(*prior)."""
    data, (a, b) = pooled(historical), prior
    u, w = unit(400)
    theirs = special.betaincinv(a + data.events[0], b + data.n[0] - data.events[0], u)
    ours = special.betainc(a + trial.events[0], b + trial.n[0] - trial.events[0], theirs)
    return two_sided(float(w @ ours))


def binomial(
    trial: Binomial,
    historical: Binomial,
    function: Discount = IDENTITY,
    *,
    prior: tuple[float, float] = (1.0, 1.0),
    n_cap: float | None = None,
    fixed: bool = False,
) -> Borrowed:
    """One arm's proportion; prior: shapes of the beta before all data. fixed: alpha is alpha_max, whatever the data.

    about: p_hat. For the difference of two arms, call it for each and see `cohort.mixture.difference`."""
    from cohort.mixture import BetaMixture

    checks.refuse(one("trial", trial) + checks.positive("prior shapes", prior))
    data = pooled(historical)
    p_hat = p_hat_binomial(trial, historical, prior)
    n = float(data.n[0])
    alpha = function.most(n, n_cap) if fixed else function.alpha(p_hat, n, n_cap)
    yes = prior[0] + trial.events[0] + alpha * data.events[0]
    no = prior[1] + trial.n[0] - trial.events[0] + alpha * (n - data.events[0])
    posterior = BetaMixture(np.ones(1), np.array([yes]), np.array([no]))
    return Borrowed(METHOD, posterior, alpha, MEASURE, None, not fixed, {"p_hat": p_hat})


def p_hat_normal(trial: Sample, historical: Sample) -> float:
    """Two-sided p_hat of two means, each a scaled t after a flat prior of the mean and log SD."""
    u, w = unit(400)
    theirs = historical.mean + historical.sd / historical.n**0.5 * stats.t.ppf(u, historical.n - 1)
    return two_sided(float(w @ stats.t.cdf((theirs - trial.mean) / (trial.sd / trial.n**0.5), trial.n - 1)))


def normal(
    trial: Sample,
    historical: Sample,
    function: Discount = IDENTITY,
    *,
    n_cap: float | None = None,
    fixed: bool = False,
    points: int = 48,
) -> Borrowed:
    """One arm's mean, not a subject's value: sigma² ~ IG((n - 1) / 2, (n - 1) s² / 2) of each source by itself, and the
    mean given both variances by precision, n / sigma² and alpha n_0 / sigma_0². A mixture over the variances.

    fixed: alpha is alpha_max, whatever the data. about: p_hat."""
    from cohort.mixture import NormalMixture

    p_hat = p_hat_normal(trial, historical)
    alpha = function.most(historical.n, n_cap) if fixed else function.alpha(p_hat, historical.n, n_cap)
    u, w = unit(points)

    def precision(x: Sample) -> np.ndarray:
        return x.n / x.sd**2 * stats.chi2.ppf(u, x.n - 1) / (x.n - 1)

    ours, theirs = np.meshgrid(precision(trial), alpha * precision(historical), indexing="ij")
    total = (ours + theirs).ravel()
    mean = (ours * trial.mean + theirs * historical.mean).ravel() / total
    posterior = NormalMixture(np.outer(w, w).ravel(), mean, total**-0.5)
    return Borrowed(METHOD, posterior, alpha, MEASURE, None, not fixed, {"p_hat": p_hat})
