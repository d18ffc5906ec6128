"""Exponential survival with an external control arm: no borrowing, full, or commensurate borrowing of its hazard.

    events ~ Poisson(exposure exp(alpha)) in the trial's control arm and exp(alpha_0) in the external one,
    alpha ~ N(alpha_0, 1 / tau),  treated exp(alpha + beta)  [1]

References
----------
[1] Hobbs et al. 2011, Biometrics 67:1047: commensurate priors. Lewis et al. 2019, Stat Biopharm Res 11:67: of survival.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from cohort.borrowing import checks
from cohort.borrowing.commensurate import Commensurability
from cohort.borrowing.density import Density
from cohort.borrowing.survival import FEWEST, kernels
from cohort.borrowing.trials import Poisson, one


@dataclass(frozen=True)
class External:
    """Posteriors: log hazard ratio, treated over control, log hazards of the trial's and the external control, log tau
    and its prior-weighted points (nan and empty without commensurate borrowing)."""

    log_hazard_ratio: Density
    control: Density
    external: Density
    log_tau: np.ndarray
    tau_weight: np.ndarray

    @property
    def hazard_ratio_mean(self) -> float:
        return self.log_hazard_ratio.expectation(np.exp)

    @property
    def tau_mean(self) -> float:
        return float(self.tau_weight @ np.exp(self.log_tau)) if len(self.log_tau) else float("nan")

    def tau_quantile(self, q: float) -> float:
        """Of the posterior of tau."""
        below = np.cumsum(self.tau_weight) - self.tau_weight / 2
        return float(np.exp(np.interp(q, below, self.log_tau)))


def external_control(
    control: Poisson,
    external: Poisson,
    treated: Poisson,
    tau: Commensurability | None = None,
    *,
    full: bool = False,
    log_hazard_sd: float = 1000.0,
    log_ratio_sd: float = 1000.0,
) -> External:
    """Events and patient-time of three arms. tau None: no borrowing, or with `full` the two controls taken for one.

    log_hazard_sd, log_ratio_sd: of the normal priors about zero. Errors: BorrowingError of an arm with fewer than two
    events."""
    arms = {"control": control, "external": external, "treated": treated}
    wrong = [f for name, x in arms.items() for f in one(name, x)]
    wrong += [
        f"{name}: {x.events.sum():.0f} events; an arm needs {FEWEST} or more, or no conclusion is drawn"
        for name, x in arms.items()
        if x.events.sum() < FEWEST
    ]
    wrong += checks.positive("prior SDs", [log_hazard_sd, log_ratio_sd])
    if tau is not None and full:
        wrong.append("full: is said with a commensurate prior; write one of the two")
    checks.refuse(wrong)

    widest = 12 / np.sqrt(min(float(x.events[0]) for x in arms.values()))
    step = 0.06 / np.sqrt(max(float(x.events[0]) for x in arms.values()))
    rates = [float(np.log(x.events[0] / x.exposure[0])) for x in (control, external)]
    line = np.arange(min(rates) - widest, max(rates) + widest, step)
    vague = -0.5 * (line / log_hazard_sd) ** 2
    own, theirs = (x.log_likelihood(line[:, None])[:, 0] for x in (control, external))
    log_tau, tau_weight = np.empty(0), np.empty(0)
    if tau is None:
        both = own + theirs if full else own
        mine = Density.of(line, both + vague)
        other = mine if full else Density.of(line, theirs + vague)
    else:
        other = Density.of(line, theirs + vague)
        apart = step * np.arange(-(len(line) - 1), len(line))
        log_tau, weight = tau.nodes()
        order = np.argsort(log_tau)
        log_tau, weight = log_tau[order], weight[order]
        kernel = kernels(apart, step, log_tau, weight)
        middle = slice(len(line) - 1, 2 * len(line) - 1)
        prior = np.convolve(other.pdf_theta, kernel)[middle]
        mine = Density.of(line, own + np.log(np.maximum(prior, 1e-300)))
        likelihood = np.exp(own - own.max())
        other = Density.of(line, np.log(np.maximum(other.pdf_theta * np.convolve(likelihood, kernel)[middle], 1e-300)))
        # what the two arms say of each tau: the density of their difference, under the kernel of that tau
        difference = np.correlate(likelihood, np.exp(theirs + vague - (theirs + vague).max()), mode="full")
        evidence = np.array([difference @ kernels(apart, step, np.array([t]), np.ones(1)) for t in log_tau])
        tau_weight = weight * evidence / (weight @ evidence)

    centre = float(np.log(treated.events[0] / treated.exposure[0])) - float(mine.mean)
    beta = centre + np.linspace(-1, 1, 1601) * 10 * np.hypot(mine.sd, treated.events[0] ** -0.5)
    use = mine.pdf_theta > 1e-14 * mine.pdf_theta.max()
    d, e = treated.events[0], treated.exposure[0]
    at = beta[:, None] + line[use]
    log_ratio = special.logsumexp(d * at - e * np.exp(at), b=mine.pdf_theta[use], axis=1)
    found = Density.of(beta, log_ratio - 0.5 * (beta / log_ratio_sd) ** 2)
    return External(found, mine, other, log_tau, tau_weight)
