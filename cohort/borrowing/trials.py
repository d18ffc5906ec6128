"""What is known of arms of trials: events of subjects, means with standard errors, or counts over an exposure."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from cohort.borrowing import checks

Link = Literal["identity", "log", "logit"]


def natural(theta: Any, link: Link) -> Any:
    """From the link scale to the natural one: a mean, a rate or a probability."""
    return {"identity": np.asarray, "log": np.exp, "logit": special.expit}[link](theta)


def linked(x: Any, link: Link) -> Any:
    """From the natural scale to the link's."""
    return {"identity": np.asarray, "log": np.log, "logit": special.logit}[link](x)


def slope(theta: Any, link: Link) -> Any:
    """d natural / d theta."""
    if link == "identity":
        return np.ones_like(theta)
    return np.exp(theta) if link == "log" else special.expit(theta) * special.expit(-np.asarray(theta))


def _same_length(**arrays: Any) -> list[str]:
    sizes = {name: np.size(x) for name, x in arrays.items()}
    if len(set(sizes.values())) > 1:
        return [f"trials: {', '.join(f'{n} has {k}' for n, k in sizes.items())}; write one of each for every trial"]
    return []


def _keep(record: Any, **arrays: Any) -> None:
    for name, x in arrays.items():
        object.__setattr__(record, name, np.atleast_1d(np.asarray(x, float)))


@dataclass(frozen=True)
class Binomial:
    """Subjects with an event among n, of one trial or of several: arrays (trials,)."""

    events: Any
    n: Any

    link: Link = "logit"

    def __post_init__(self) -> None:
        wrong = checks.counts("events", self.events) + checks.counts("n", self.n)
        wrong = wrong or checks.positive("n", self.n) + _same_length(events=self.events, n=self.n)
        if not wrong and np.any(np.asarray(self.events) > np.asarray(self.n)):
            wrong = [f"events: {self.events} of {self.n}: more events than subjects; write events of at most n"]
        checks.refuse(wrong)
        _keep(self, events=self.events, n=self.n)

    def log_likelihood(self, theta: Any) -> np.ndarray:
        """Of each trial at its logit, theta (..., trials), with the binomial coefficient."""
        return (
            self.events * np.asarray(theta)
            - self.n * np.logaddexp(0, theta)
            - special.betaln(self.events + 1, self.n - self.events + 1)
            - np.log1p(self.n)
        )

    def derivatives(self, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of the log-likelihood in theta (..., trials)."""
        p = special.expit(theta)
        return self.events - self.n * p, -self.n * p * (1 - p)

    def approximate(self) -> tuple[np.ndarray, np.ndarray]:
        """Logit and its standard error, half an event added to each side: where to look, not what to conclude."""
        yes, no = self.events + 0.5, self.n - self.events + 0.5
        return np.log(yes / no), np.sqrt(1 / yes + 1 / no)


@dataclass(frozen=True)
class Poisson:
    """Events over an exposure (patient-time), of one trial or of several: arrays (trials,)."""

    events: Any
    exposure: Any

    link: Link = "log"

    def __post_init__(self) -> None:
        wrong = checks.counts("events", self.events) + checks.positive("exposure", self.exposure)
        checks.refuse(wrong or _same_length(events=self.events, exposure=self.exposure))
        _keep(self, events=self.events, exposure=self.exposure)

    def log_likelihood(self, theta: Any) -> np.ndarray:
        """Of each trial at its log rate, theta (..., trials)."""
        at = np.asarray(theta) + np.log(self.exposure)
        return self.events * at - np.exp(at) - special.gammaln(self.events + 1)

    def derivatives(self, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of the log-likelihood in theta (..., trials)."""
        expected = self.exposure * np.exp(theta)
        return self.events - expected, -expected

    def approximate(self) -> tuple[np.ndarray, np.ndarray]:
        """Log rate and its standard error, half an event added: where to look, not what to conclude."""
        return np.log((self.events + 0.5) / self.exposure), 1 / np.sqrt(self.events + 0.5)


@dataclass(frozen=True)
class Normal:
    """Estimates with known standard errors, of one trial or of several: arrays (trials,). On the scale on which they
    are normal: a mean, a log rate, a log hazard ratio."""

    y: Any
    se: Any

    link: Link = "identity"

    def __post_init__(self) -> None:
        wrong = checks.numbers("y", self.y) + checks.positive("se", self.se)
        checks.refuse(wrong or _same_length(y=self.y, se=self.se))
        _keep(self, y=self.y, se=self.se)

    def log_likelihood(self, theta: Any) -> np.ndarray:
        """Of each trial at its mean, theta (..., trials)."""
        return -0.5 * ((self.y - np.asarray(theta)) / self.se) ** 2 - np.log(self.se) - 0.5 * np.log(2 * np.pi)

    def derivatives(self, theta: Any) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of the log-likelihood in theta (..., trials)."""
        return (self.y - np.asarray(theta)) / self.se**2, np.broadcast_to(-1 / self.se**2, np.shape(theta))

    def approximate(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error."""
        return self.y, self.se


Trials = Binomial | Normal | Poisson


def one(where: str, trials: Trials) -> list[str]:
    """A single trial is meant."""
    k = len(trials.approximate()[0])
    return [] if k == 1 else [f"{where}: holds {k} trials; write one, or pool them first"]


def pooled(trials: Trials) -> Any:
    """All trials as though they were one, of the same kind: sums, or the mean weighted by precision."""
    if isinstance(trials, Binomial):
        return Binomial(trials.events.sum(), trials.n.sum())
    if isinstance(trials, Poisson):
        return Poisson(trials.events.sum(), trials.exposure.sum())
    precision = trials.se**-2
    return Normal(precision @ trials.y / precision.sum(), precision.sum() ** -0.5)
