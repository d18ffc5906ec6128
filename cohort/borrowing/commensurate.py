"""The commensurate prior: the trial's mean lies about the historical one with a precision tau that is learnt.

    theta ~ N(theta_0, 1 / tau),  theta_0 from the historical data under a flat prior,  tau ~ gamma, half-normal on the
    SD 1 / sqrt(tau), or spike and slab [1, 2]

Everything is normal given tau, so the prior of theta is a mixture over log tau, exact to quadrature. Log tau is the
variable: a gamma prior of tiny shape lies over hundreds of orders of magnitude.

References
----------
[1] Hobbs et al. 2011, Biometrics 67:1047: commensurate priors, precision parametrisation.
[2] Hobbs, Sargent, Carlin 2012, Bayesian Anal 7:639: spike-and-slab hyperpriors of the precision.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed, updated
from cohort.borrowing.quadrature import unit
from cohort.borrowing.trials import Normal, one, pooled

FARTHEST = -45.0  # of log tau: an SD of 6e9, where no data are shared


@dataclass(frozen=True)
class Commensurability:
    """A prior of the precision tau, in the unit of theta to the power -2.

    gamma: shape `a` and rate `b` of tau; half-normal: scale `a` of the SD 1 / sqrt(tau); spike-and-slab: tau is in a
    narrow spike N+(spike[0], spike[1]²) with probability `share`, else N+(0, slab²). A wider half-normal borrows less,
    but only as the logarithm of its scale: a very large one is not the same as no borrowing."""

    kind: Literal["gamma", "half-normal", "spike-and-slab"]
    a: float = 1.0
    b: float = 1.0
    share: float = 0.1
    spike: tuple[float, float] = (200.0, 0.1)
    slab: float = 5.0

    def __post_init__(self) -> None:
        checks.refuse(
            checks.known("tau prior, kind", self.kind, ["gamma", "half-normal", "spike-and-slab"])
            + checks.positive("tau prior, a and b", [self.a, self.b])
            + checks.within("tau prior, share", self.share, 0, 1)
            + checks.positive("tau prior, spike and slab", [*self.spike, self.slab])
        )

    def nodes(self, step: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
        """Points of log tau and their prior weights, of sum 1. Below `FARTHEST` the prior is cut off: nothing is
        borrowed there, and the trial's data cannot tell one such tau from another."""
        if self.kind == "half-normal":
            line = _line(FARTHEST, -2 * np.log(1e-13 * self.a), step)
            weight = stats.halfnorm.pdf(np.exp(-line / 2), scale=self.a) * np.exp(-line / 2)
            return line, weight / weight.sum()
        if self.kind == "gamma":
            most = np.log(max(special.gammainccinv(self.a, 1e-14) / self.b, np.exp(FARTHEST + 1)))
            line = _line(FARTHEST, most, step)
            log_weight = self.a * line - self.b * np.exp(line)
            weight = np.exp(log_weight - log_weight.max())
            return line, weight / weight.sum()
        slab = _line(FARTHEST, np.log(9 * self.slab), step)
        of_slab = stats.halfnorm.pdf(np.exp(slab), scale=self.slab) * np.exp(slab)
        u, w = unit(41)
        low = max(-8.0, -self.spike[0] / self.spike[1])
        z = low + u * (8 - low)
        of_spike = w * stats.norm.pdf(z)
        line = np.r_[slab, np.log(self.spike[0] + self.spike[1] * z)]
        return line, np.r_[(1 - self.share) * of_slab / of_slab.sum(), self.share * of_spike / of_spike.sum()]


def _line(low: float, high: float, step: float) -> np.ndarray:
    return np.linspace(low, high, max(int(np.ceil((high - low) / step)), 2) + 1)


def prior(historical: Normal, tau: Commensurability) -> tuple[Any, np.ndarray]:
    """The prior of the trial's mean, a NormalMixture over tau, and its points of log tau."""
    from cohort.mixture import NormalMixture

    data = pooled(historical)
    line, weight = tau.nodes()
    sd = np.sqrt(data.se[0] ** 2 + np.exp(-line))
    return NormalMixture(weight, np.full(len(line), data.y[0]), sd), line


def commensurate(trial: Normal, historical: Normal, tau: Commensurability) -> Borrowed:
    """The control arm's mean under a commensurate prior. Several historical estimates are pooled by precision.

    `weight`: the share that the historical estimate has in the posterior mean; about: mean and SD of log tau, and
    its median."""
    checks.refuse(one("trial", trial))
    before, line = prior(historical, tau)
    posterior = updated(before, trial)
    share = float(posterior.weight @ (trial.se[0] ** 2 / (before.sds**2 + trial.se[0] ** 2)))
    mean = float(posterior.weight @ line)
    order = np.argsort(line)
    middle = float(line[order][np.searchsorted(np.cumsum(posterior.weight[order]), 0.5)])
    about = {
        "log_tau_mean": mean,
        "log_tau_sd": float(np.sqrt(posterior.weight @ (line - mean) ** 2)),
        "tau_median": float(np.exp(middle)),
    }
    name = f"commensurate, {tau.kind}"
    return Borrowed(name, posterior, share, "share of the historical estimate in the mean", before, False, about)
