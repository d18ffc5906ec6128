"""A control arm's posterior after borrowing, by whatever method: what every method returns, and what it is worth.

References
----------
[1] Hobbs, Carlin, Sargent 2013, Clin Trials 10:430: the effective historical sample size, from posterior precisions.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.borrowing import checks
from cohort.borrowing.density import Density
from cohort.borrowing.trials import Binomial, Normal, Poisson, Trials, one

if TYPE_CHECKING:
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

    type Distribution = BetaMixture | GammaMixture | NormalMixture | Density


@dataclass(frozen=True)
class Borrowed:
    """`posterior`: of the control arm's mean, rate or probability. `weight`: how much was borrowed in the method's own
    measure, which `weight_is` names (nan: it has none). `uses_data_twice`: the trial's data set the weight and enter
    the likelihood as well, so this is no Bayesian posterior and must be calibrated by simulation. `about`: further
    figures."""

    method: str
    posterior: Any  # a Distribution: a conjugate mixture of one quantity, or a Density
    weight: float = float("nan")
    weight_is: str = ""
    prior: Any = None  # the same, where the method has one
    uses_data_twice: bool = False
    about: dict[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        return float(self.posterior.mean)

    @property
    def sd(self) -> float:
        return float(self.posterior.sd)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Equal-tailed."""
        low, high = self.posterior.interval(level)
        return float(low), float(high)


def updated(prior: "Distribution", trial: Trials) -> Any:
    """A conjugate mixture or a density after one trial."""
    return prior.updated(trial) if isinstance(prior, Density) else prior.updated(*_arguments(prior, trial))  # type: ignore[arg-type]


def log_marginal(prior: "Distribution", trial: Trials) -> float:
    """Log probability of one trial's data under a prior: what decides the weights of a mixture of priors."""
    if isinstance(prior, Density):
        return prior.log_marginal(trial)
    return float(prior.log_marginal(*_arguments(prior, trial)))  # type: ignore[arg-type]


def _arguments(prior: Any, trial: Trials) -> tuple[float, float]:
    """The trial's data as the mixture of its family takes them."""
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

    family = {Binomial: BetaMixture, Poisson: GammaMixture, Normal: NormalMixture}[type(trial)]
    if wrong := one("trial", trial):
        checks.refuse(wrong)
    if not isinstance(prior, family):
        checks.refuse(
            [f"prior: a {type(prior).__name__} does not go with {type(trial).__name__} data; write a {family.__name__}"]
        )
    if isinstance(trial, Binomial):
        return float(trial.events[0]), float(trial.n[0])
    if isinstance(trial, Poisson):
        return float(trial.events[0]), float(trial.exposure[0])
    return float(trial.y[0]), float(trial.se[0])


def vague(trial: Trials, *, mean: float | None = None, unit_sd: float | None = None) -> Any:
    """A prior worth one subject, or one event: Beta of size 2 (uniform at a mean of .5), Gamma(1, 1 / mean), or
    N(mean, unit_sd²) with the SD of one subject. Never wider: under a very wide part the informative one wins however
    much it errs.

    Errors: BorrowingError where mean or unit_sd is needed and absent."""
    from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

    if isinstance(trial, Binomial):
        centre = 0.5 if mean is None else mean
        wrong = checks.within("vague, mean", centre, 0, 1)
        wrong = wrong or ([] if 0 < centre < 1 else [f"vague, mean: {centre:g} is no probability inside 0 to 1"])
        checks.refuse(wrong)
        return BetaMixture(np.ones(1), np.array([2 * centre]), np.array([2 * (1 - centre)]))
    if mean is None:
        checks.refuse(["vague, mean: is absent; write where the vague part is centred"])
    assert mean is not None
    if isinstance(trial, Poisson):
        checks.refuse(checks.positive("vague, mean", mean))
        return GammaMixture(np.ones(1), np.ones(1), np.array([1 / mean]))
    if unit_sd is None:
        checks.refuse(["vague, unit_sd: is absent; write the standard deviation of one subject"])
    checks.refuse(checks.numbers("vague, mean", mean) + checks.positive("vague, unit_sd", unit_sd))
    return NormalMixture(np.ones(1), np.array([float(mean)]), np.array([unit_sd]))


def subjects_borrowed(with_it: Any, without: Any, subjects: float) -> float:
    """How many more subjects' worth (of a rate, how much more exposure) the arm of `subjects` became [1]; negative
    where borrowing made it less certain, as it may in conflict. with_it, without: a distribution, or what borrowed it.

    Of probabilities and rates, whose variance changes with their mean, the sizes of the beta or gamma with the same
    moments are compared; of means, the variances."""
    checks.refuse(checks.positive("subjects", subjects))
    after, before = (getattr(x, "posterior", x) for x in (with_it, without))
    of_link = {"logit": "beta", "log": "gamma"}.get(getattr(after, "link", ""), "normal")
    family = getattr(after, "family", of_link)
    if family == "normal":
        return float(subjects * ((before.sd / after.sd) ** 2 - 1))
    odds = 1.0 if family == "beta" else 0.0
    size = [x.mean * (1 - odds * x.mean) / x.sd**2 for x in (after, before)]
    return float(size[0] - size[1])
