"""The virtual-MAP prior: a new arm's mean from a simulated cohort, as wide as the model's record in real trials says.

    y_ka - m_ka = mu_d + u_k + w_ka + e_ka,   e_k ~ N(0, S_k + V_k),
    u_k ~ N(0, tau_d²) of a trial, w_ka ~ N(0, tau_arm²) of an arm in it, mu_d ~ N(0, sigma²),
    new arm a:  theta_a = theta_va + mu_d + u_new + w_new,a

theta_v comes from outer draws of the model's parameters: its spread is what is not known of them, and does not shrink
with the number of virtual patients. Arms of one trial share u_k, so two arms are no two trials. Given tau_d and tau_arm
all is normal; the two are integrated on a grid, so the prior is a mixture over them, exact to quadrature.

With no validation trial, or one, the priors of tau_d and tau_arm decide: see `sweep`. The uncertainty V_k of the model
parameters is taken to be independent between trials; where the same parameters err alike everywhere, that error is in
mu_d and in theta_v, and the prior is wider than it need be.

References
----------
[1] Neuenschwander et al. 2010, Clin Trials 7:5: the predictive distribution of a new trial's parameter.
[2] Kennedy and O'Hagan 2001, J R Stat Soc B 63:425: model discrepancy beside parameter uncertainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cohort.borrowing import checks
from cohort.borrowing.scale import Scale

if TYPE_CHECKING:
    from cohort.mixture import NormalMixture


@dataclass(frozen=True)
class Evidence:
    """What the simulated arms of one trial say: mean (arms,) and covariance (arms, arms) over parameter uncertainty."""

    mean: np.ndarray
    cov: np.ndarray


def evidence(
    draws: np.ndarray,
    *,
    within_variance: np.ndarray | float = 0.0,
    patients: int | None = None,
    subjects: Literal["redrawn", "common"] = "redrawn",
) -> Evidence:
    """From outer draws (draws, arms) of the arms' means, each over `patients` inner virtual patients whose variance is
    `within_variance` (arms,); patients None: the inner noise is negligible.

    redrawn: every draw has patients of its own, whose noise is in the spread between draws and is taken out of it.
    common: the same patients serve every draw; their noise moves all draws alike, is not in that spread, and is added.
    Errors: BorrowingError, also where nothing but inner noise is left: simulate more patients per draw."""
    found = np.asarray(draws, float)
    found = found[:, None] if found.ndim == 1 else found
    wrong = checks.numbers("draws", found) + checks.within("within_variance", within_variance, 0, np.inf)
    wrong += checks.known("subjects", subjects, ["redrawn", "common"])
    wrong += [] if patients is None else checks.positive("patients", patients)
    if not wrong and len(found) < 2:
        wrong = [f"draws: {len(found)} outer draw has no spread; write two or more draws of the parameters"]
    checks.refuse(wrong)
    cov = np.atleast_2d(np.cov(found, rowvar=False))
    inner = np.broadcast_to(np.asarray(within_variance, float), (found.shape[1],)) / (patients or np.inf)
    cov = cov - np.diag(inner) if subjects == "redrawn" else cov + np.diag(inner)
    if np.linalg.eigvalsh(cov).min() <= 0:
        checks.refuse(
            ["draws: their spread is no more than the inner noise, or zero; simulate more patients per draw, or say 0"]
        )
    return Evidence(found.mean(axis=0), cov)


@dataclass(frozen=True)
class Validation:
    """A real trial that the model foretold: y and se (arms,) of its arms, and the model's evidence of the same arms."""

    y: np.ndarray
    se: np.ndarray
    model: Evidence

    def __post_init__(self) -> None:
        y, se = np.atleast_1d(np.asarray(self.y, float)), np.atleast_1d(np.asarray(self.se, float))
        wrong = checks.numbers("y", y) + checks.positive("se", se)
        if not wrong and not len(y) == len(se) == len(self.model.mean):
            wrong = [f"arms: y has {len(y)}, se {len(se)}, the model {len(self.model.mean)}; write one of each per arm"]
        checks.refuse(wrong)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "se", se)


@dataclass(frozen=True)
class Discrepancy:
    """Priors of the model's errors, in the unit of the arms' means: SD `sigma` of the mean error mu_d, tau_d between
    trials, tau_arm between arms of one trial. Errors: BorrowingError of an improper one."""

    sigma: float
    trial: Scale
    arm: Scale

    def __post_init__(self) -> None:
        checks.refuse(checks.positive("discrepancy, sigma", self.sigma))

    def scaled(self, factor: float) -> "Discrepancy":
        """All three times a factor."""
        return Discrepancy(
            factor * self.sigma,
            Scale(factor * self.trial.scale, self.trial.kind, self.trial.df),
            Scale(factor * self.arm.scale, self.arm.kind, self.arm.df),
        )


@dataclass(frozen=True)
class Virtual:
    """The prior of the new trial's arms and what the validation trials made of the errors: means and SDs a posteriori.

    `prior`: a normal mixture over (tau_d, tau_arm); of several arms a multivariate one. `trials`: how many."""

    prior: Any  # NormalMixture, or MvNormalMixture
    trials: int
    mu_d: tuple[float, float]
    tau_d: tuple[float, float]
    tau_arm: tuple[float, float]
    log_marginal: float


def predictive(
    new: Evidence, validation: Sequence[Validation], discrepancy: Discrepancy, *, points: int = 32
) -> Virtual:
    """The virtual-MAP prior [1, 2] of the arms of `new`."""
    from cohort.mixture import MvNormalMixture, NormalMixture

    of_trial, of_arm = discrepancy.trial.nodes(points), discrepancy.arm.nodes(points)
    tau_d, tau_arm = (g.ravel() for g in np.meshgrid(of_trial[0], of_arm[0], indexing="ij"))
    log_w = np.add.outer(of_trial[1], of_arm[1]).ravel()
    # mu_d given the taus: a normal prior and one normal message of each trial
    precision, weighted = np.full(len(tau_d), discrepancy.sigma**-2), np.zeros(len(tau_d))
    for k in validation:
        arms = len(k.y)
        cov = (
            k.model.cov
            + np.diag(k.se**2)
            + tau_d[:, None, None] ** 2 * np.ones((arms, arms))
            + tau_arm[:, None, None] ** 2 * np.eye(arms)
        )
        off = k.y - k.model.mean
        inverse = np.linalg.inv(cov)
        _, log_det = np.linalg.slogdet(cov)
        log_w = log_w - 0.5 * (log_det + np.einsum("i,gij,j->g", off, inverse, off) + arms * np.log(2 * np.pi))
        precision = precision + inverse.sum(axis=(1, 2))
        weighted = weighted + (inverse @ off).sum(axis=1)
    mean, var = weighted / precision, 1 / precision
    log_w = log_w + 0.5 * (weighted**2 / precision - np.log(precision) - np.log(discrepancy.sigma**2))
    top = log_w.max()
    w = np.exp(log_w - top)
    log_marginal, w = float(top + np.log(w.sum())), w / w.sum()
    kept = w > 1e-10
    w, mean, var, tau_d, tau_arm = w[kept] / w[kept].sum(), mean[kept], var[kept], tau_d[kept], tau_arm[kept]

    arms = len(new.mean)
    if arms == 1:
        sd = np.sqrt(new.cov[0, 0] + var + tau_d**2 + tau_arm**2)
        prior: Any = NormalMixture(w, new.mean[0] + mean, sd)
    else:
        shared = (var + tau_d**2)[:, None, None] * np.ones((arms, arms))
        cov = new.cov + shared + tau_arm[:, None, None] ** 2 * np.eye(arms)
        prior = MvNormalMixture(w, new.mean + mean[:, None], cov)

    def moments(x: np.ndarray, spread: np.ndarray | float = 0.0) -> tuple[float, float]:
        centre = float(w @ x)
        return centre, float(np.sqrt(w @ ((x - centre) ** 2 + spread)))

    return Virtual(prior, len(validation), moments(mean, var), moments(tau_d), moments(tau_arm), log_marginal)


@dataclass(frozen=True)
class Capped:
    """A prior held to a number of subjects: its ELIR effective sample size before and after, and by how much its SDs
    were stretched (1: not at all)."""

    prior: "NormalMixture"
    ess_before: float
    ess: float
    stretch: float


def capped(prior: "NormalMixture", cap: float, *, sigma: float) -> Capped:
    """The prior stretched about its mean until it is worth `cap` subjects at most, on average over what it expects
    (ELIR); where data agree with its centre it may give more. Cap the informative part before a vague one is added,
    which would dilute the average. sigma: SD of one subject.

    The ELIR size is an expected curvature of the log density, so stretching by c divides it by c²: no search is needed.
    Errors: BorrowingError of a cap or sigma that is not positive."""
    from cohort.mixture import NormalMixture
    from cohort.mixture.size import ess

    checks.refuse(checks.positive("cap", cap) + checks.positive("sigma", sigma))
    before = float(ess(prior, method="elir", sigma=sigma))
    stretch = max(1.0, float(np.sqrt(before / cap))) if before > 0 else 1.0
    if stretch == 1.0:
        return Capped(prior, before, before, 1.0)
    wide = NormalMixture(prior.weight, prior.mean + stretch * (prior.means - prior.mean), stretch * prior.sds)
    return Capped(wide, before, float(ess(wide, method="elir", sigma=sigma)), stretch)


def sweep(
    new: Evidence, validation: Sequence[Validation], discrepancy: Discrepancy, factors: Sequence[float]
) -> dict[float, Virtual]:
    """The prior of `new` with the discrepancy's three scales times each factor: what rests on the assumption alone."""
    checks.refuse(checks.positive("factors", factors))
    return {float(f): predictive(new, validation, discrepancy.scaled(f)) for f in factors}
