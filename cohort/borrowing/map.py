"""The meta-analytic-predictive (MAP) prior of a new trial's control arm from K historical ones, exact by quadrature.

    y_k ~ Binomial, Poisson or Normal given theta_k,  theta_k ~ N(mu, tau²),  mu ~ N(m, s²),  tau ~ half-normal, say;
    the prior of a new trial is the posterior predictive distribution of theta_new [1].

theta is a logit, a log rate or a mean. theta_k is integrated by adaptive Gauss-Hermite [2], in closed form if normal,
mu on a line, tau by Gauss-Legendre. With K of 0, 1 or 2 the prior of tau is what decides: sweep its scale.

References
----------
[1] Neuenschwander et al. 2010, Clin Trials 7:5: the MAP prior. Schmidli et al. 2014, Biometrics 70:1023: its fit.
[2] Naylor and Smith 1982, Appl Statist 31:214: adaptive Gauss-Hermite quadrature.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import CubicSpline

from cohort.borrowing import checks
from cohort.borrowing.density import Density, grid, gridded
from cohort.borrowing.quadrature import standard_normal
from cohort.borrowing.scale import Scale
from cohort.borrowing.trials import Normal, Trials

if TYPE_CHECKING:
    from cohort.borrowing.borrowed import Distribution
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

NEGLIGIBLE = 1e-13  # posterior weight of a tau that is passed over
FARTHEST = 60.0  # on a logit or log scale, a probability or rate of 1e-26
FAMILY = {"logit": "beta", "log": "gamma", "identity": "normal"}


@dataclass(frozen=True)
class Predictive:
    """What the historical trials say. `prior`: of a new trial's control arm, on its natural scale; `tau` and `mu`: on
    the link scale; `log_marginal`: log evidence of the historical data."""

    prior: Density
    tau: Density
    mu: Density
    log_marginal: float


def predictive(trials: Trials, *, mu: tuple[float, float], tau: Scale) -> Predictive:
    """The MAP prior; mu: mean and SD of the normal prior of the mean, on the link scale.

    Errors: BorrowingError of an improper or unfit prior."""
    centre, spread = mu
    checks.refuse(checks.numbers("mu prior, mean", centre) + checks.positive("mu prior, SD", spread))
    taus, log_w = tau.nodes()
    at, log_joint, step = _joint(trials, centre, spread, taus, log_w)
    top = log_joint.max()
    joint = np.exp(log_joint - top)
    total = joint.sum()
    weight = joint.sum(axis=1) / total
    at_tau = np.log(np.maximum(weight, 1e-300)) - log_w + tau.logpdf(taus)
    nearer = np.log(taus[0]) + np.linspace(-15, 0, 60, endpoint=False)  # below the first point it is flat in tau
    log_tau = np.r_[nearer, np.log(taus)]
    of_tau = Density.of(log_tau, np.r_[np.full(60, at_tau[0]), at_tau] + log_tau, "log")

    kept = np.flatnonzero(weight > NEGLIGIBLE)
    given = joint[kept] / joint[kept].sum(axis=1, keepdims=True)  # p(mu | tau), masses
    reach = 10 * float(np.sqrt((step[kept] / STEP) ** 2 + taus[kept] ** 2).max())
    middle = float(weight[kept] @ (given * at[kept]).sum(axis=1))
    if trials.link != "identity":
        reach = min(reach, FARTHEST)
    line = grid(middle, float((step[kept] / STEP).min()), reach)
    new, mean = np.zeros(len(line)), np.zeros(len(line))
    for i, mass in zip(kept, given, strict=True):
        new += weight[i] * _convolved(line, at[i], mass / step[i], step[i], taus[i])
        mean += weight[i] * _convolved(line, at[i], mass / step[i], step[i], 0.0)
    covered = float(CubicSpline(line, new).integrate(line[0], line[-1]))
    if covered < 1 - 1e-4:
        checks.refuse(
            [
                f"tau prior: {1 - covered:.2%} of the predictive distribution lies beyond ±{FARTHEST:g} on the"
                f" {trials.link} scale; write a smaller scale or a lighter tail, such as half-normal"
            ]
        )
    return Predictive(
        prior=Density(line, np.maximum(new, 0) / covered, trials.link),
        tau=of_tau,
        mu=Density.of(line, np.log(np.maximum(mean, 1e-300))),
        log_marginal=float(top + np.log(total)),
    )


HALF_WIDTH, STEP = 9.0, 0.15  # of mu given tau, in its approximate SD


def _joint(
    trials: Trials, centre: float, spread: float, taus: np.ndarray, log_w: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of mu (taus, points), log of prior times likelihood there with its quadrature weight, and the step of mu
    (taus,). Wider points are taken where mass lies at the ends."""
    y, se = trials.approximate()
    precision = 1 / (se**2 + taus[:, None] ** 2)
    total = precision.sum(axis=1) + spread**-2
    middle, sd = (precision @ y + centre / spread**2) / total, total**-0.5
    width = HALF_WIDTH
    while True:
        u = np.arange(-width, width + STEP / 2, STEP)
        at = middle[:, None] + sd[:, None] * u
        log_prior = -0.5 * ((at - centre) / spread) ** 2 - np.log(spread * np.sqrt(2 * np.pi))
        joint = log_prior + _integrated(trials, at, taus[:, None]) + (log_w + np.log(sd * STEP))[:, None]
        ends = np.exp(joint[:, [0, -1]] - joint.max()).sum()
        if ends < 1e-12 or width > 70:
            return at, joint, sd * STEP
        width *= 2


def _integrated(trials: Trials, mu: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Log of the product over trials of the integral of L_k(theta) N(theta; mu, tau²). mu: (taus, points)."""
    if isinstance(trials, Normal):
        total = np.zeros(np.broadcast_shapes(mu.shape, tau.shape))
        for y, se in zip(trials.y, trials.se, strict=True):
            variance = se**2 + tau**2
            total = total - 0.5 * (y - mu) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
        return total
    x, w = standard_normal(31)
    log_w = np.log(w) + x**2 / 2
    guess, guess_se = trials.approximate()
    total = np.zeros(mu.shape)
    for k in range(len(guess)):
        one = _only(trials, k)
        z = tau * (guess[k] - mu) / (guess_se[k] ** 2 + tau**2)
        for _ in range(12):  # Newton to the mode in standard normal units: log-concave, so it is the only one
            first, second = one.derivatives(mu + tau * z)
            z = z + np.clip((tau * first - z) / (1 - tau**2 * second), -1.5, 1.5)
        _, second = one.derivatives(mu + tau * z)
        s = (1 - tau**2 * second) ** -0.5
        terms = np.empty((*mu.shape, len(x)))
        for j, (xj, lj) in enumerate(zip(x, log_w, strict=True)):
            there = z + s * xj
            terms[..., j] = one.log_likelihood(mu + tau * there) - 0.5 * there**2 + lj
        top = terms.max(axis=-1)
        total += top + np.log(np.exp(terms - top[..., None]).sum(axis=-1) * s)
    return total


def _only(trials: Any, k: int) -> Any:
    """One trial of several."""
    names = ("events", "n") if hasattr(trials, "n") else ("events", "exposure")
    return type(trials)(*(getattr(trials, name)[k] for name in names))


def _convolved(line: np.ndarray, at: np.ndarray, density: np.ndarray, step: float, tau: float) -> np.ndarray:
    """The density of mu plus N(0, tau²) on a line. at, density: (points,), of mu."""
    if tau > 1.5 * step:  # the kernel is wide enough that a sum over mu's points is exact
        kernel = np.exp(-0.5 * ((line[:, None] - at) / tau) ** 2) / (tau * np.sqrt(2 * np.pi))
        return kernel @ (density * step)
    x, w = standard_normal(15) if tau > 0 else (np.zeros(1), np.ones(1))
    spline = CubicSpline(at, np.log(np.maximum(density, 1e-300)))
    there = line[:, None] + tau * x
    inside = (there >= at[0]) & (there <= at[-1])
    return np.where(inside, np.exp(spline(np.clip(there, at[0], at[-1]))), 0.0) @ w


def as_mixture(
    prior: "Distribution", *, seed: int, components: int | None = None, points: int = 20_000
) -> "BetaMixture | GammaMixture | NormalMixture":
    """The conjugate mixture nearest to a density, or to a mixture of very many components, fitted to evenly spaced
    quantiles, which carry no Monte Carlo error; seed: of the fit's starting points; components None: by AIC. Its tails
    decide what happens in conflict: see `largest_error`, and compare posterior weights at a point of conflict."""
    from cohort.mixture.fit import fit

    family: Any = FAMILY[prior.link] if isinstance(prior, Density) else prior.family
    quantiles = gridded(prior).quantile((np.arange(points) + 0.5) / points)
    found: Any = fit(quantiles, family=family, components=components, seed=seed)
    return found.mixture


def largest_error(prior: "Distribution", mixture: Any) -> float:
    """The greatest distance between the distribution functions of a prior and of the mixture fitted to it."""
    x = gridded(prior).quantile(np.linspace(0.0005, 0.9995, 1000))
    return float(np.abs(prior.cdf(x) - mixture.cdf(x)).max())
