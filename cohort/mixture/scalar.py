"""A mixture of one quantity: its density, distribution function, quantiles, moments and draws, for any family.

Functions take the parameters of components on the last axis, (..., components), so that one call serves one mixture or
the posteriors of every possible outcome of a trial.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import logsumexp

from cohort.mixture import roots, validation
from cohort.mixture.validation import require

Arrays = tuple[np.ndarray, ...]


def log_sum(terms: np.ndarray) -> np.ndarray:
    """log(sum(exp(terms))) over the last axis."""
    return np.asarray(logsumexp(terms, axis=-1))


def scalar_or_array(value: np.ndarray) -> Any:
    """A float of an array without dimensions, else the array."""
    return float(value) if np.ndim(value) == 0 else value


class ScalarMixture(ABC):
    """Weights and components of one family; the families below are the only kinds."""

    weight: np.ndarray  # (components,)
    log_weight: np.ndarray  # (components,), kept so that a component far from data can come back with later data
    family: ClassVar[str]
    names: ClassVar[tuple[str, str]]  # of the parameters

    # --- what a family is ---------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def parameters(self) -> tuple[np.ndarray, np.ndarray]:
        """The two parameters of the components, each (components,)."""

    @property
    @abstractmethod
    def component_mean(self) -> np.ndarray:
        """Means of the components, (components,)."""

    @property
    @abstractmethod
    def component_sd(self) -> np.ndarray:
        """Standard deviations of the components, (components,)."""

    @staticmethod
    @abstractmethod
    def log_density(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """Log density of each component; -inf outside the support."""

    @staticmethod
    @abstractmethod
    def below(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """P(X <= x) of each component."""

    @staticmethod
    @abstractmethod
    def over(x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """P(X > x) of each component, exact where it is small."""

    @staticmethod
    @abstractmethod
    def inverse(q: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """Quantile of each component."""

    @staticmethod
    @abstractmethod
    def natural(x: np.ndarray) -> np.ndarray:
        """x on the scale on which the quantity has no bounds: logit, log, or x itself; finite at the bounds too."""

    @staticmethod
    @abstractmethod
    def from_natural(t: np.ndarray) -> np.ndarray:
        """x of `natural(x)`."""

    @staticmethod
    @abstractmethod
    def natural_log_density(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """Log density of natural(X) of each component."""

    @staticmethod
    @abstractmethod
    def natural_below(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """P(natural(X) <= t) of each component, exact where it is small."""

    @staticmethod
    @abstractmethod
    def natural_over(t: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        """P(natural(X) > t) of each component, exact where it is small."""

    @staticmethod
    @abstractmethod
    def natural_scale(*parameters: np.ndarray) -> np.ndarray | float:
        """A length of t that is small beside what the components tell apart, or 1."""

    @staticmethod
    @abstractmethod
    def draw(rng: np.random.Generator, *parameters: np.ndarray) -> np.ndarray:
        """One draw of each component."""

    @abstractmethod
    def component_log_marginal(self, *data: Any) -> np.ndarray:
        """Log marginal likelihood of data under each component, (..., components), (...) the shape of the data."""

    @abstractmethod
    def component_updated(self, *data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Parameters of the components after data, each (..., components), (...) the shape of the data."""

    # --- what follows from it -----------------------------------------------------------------------------------

    def _with(self, log_weight: np.ndarray, parameters: Arrays) -> Self:
        """This family with other components; log_weight need not be normalised."""
        log_weight = log_weight - log_sum(log_weight)
        made = type(self)(np.exp(log_weight), *parameters)  # type: ignore[call-arg]
        frozen(made, log_weight=log_weight)
        return made

    @property
    def components(self) -> int:
        return len(self.weight)

    @property
    def mean(self) -> float:
        return float(self.weight @ self.component_mean)

    @property
    def sd(self) -> float:
        return float(np.sqrt(self.weight @ (self.component_sd**2 + (self.component_mean - self.mean) ** 2)))

    def logpdf(self, x: Any) -> Any:
        """Log density at x, of any shape; -inf outside the support. Errors: MixtureError of NaN."""
        return scalar_or_array(log_density(self, _numbers(x), self.log_weight, self.parameters))

    def pdf(self, x: Any) -> Any:
        """Density at x, of any shape. Errors: MixtureError of NaN."""
        return scalar_or_array(np.exp(self.logpdf(x)))

    def cdf(self, x: Any) -> Any:
        """P(X <= x), of any shape. Errors: MixtureError of NaN."""
        return scalar_or_array(self.below(_numbers(x)[..., None], *self.parameters) @ self.weight)

    def sf(self, x: Any) -> Any:
        """P(X > x), of any shape, exact where it is small. Errors: MixtureError of NaN."""
        return scalar_or_array(self.over(_numbers(x)[..., None], *self.parameters) @ self.weight)

    def quantile(self, q: Any) -> Any:
        """x with P(X <= x) = q, of any shape, to rounding. Errors: MixtureError of q outside 0-1."""
        return scalar_or_array(quantile(self, q, self.weight, self.parameters))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The equal-tailed interval that holds `level` of the probability.

        Errors: MixtureError of a level not between 0 and 1."""
        low, high = self.quantile(tails(level))
        return float(low), float(high)

    def sample(self, n: int, seed: int) -> np.ndarray:
        """n independent draws, (n,). Errors: MixtureError unless n is at least 1."""
        if n < 1:
            raise validation.MixtureError(f"n: {n} draws cannot be made; write 1 or more")
        rng = np.random.default_rng(seed)
        which = rng.choice(self.components, size=n, p=self.weight)
        return self.draw(rng, *(p[which] for p in self.parameters))

    def updated(self, *data: Any) -> Self:
        """The mixture after data, exact: each component is conjugate, and weighted by how well it foretold them."""
        return self._with(
            self.log_weight + _one(self.component_log_marginal(*data)), tuple(map(_one, self.component_updated(*data)))
        )

    def log_marginal(self, *data: Any) -> Any:
        """Log marginal likelihood of data; of arrays of data, an array."""
        return scalar_or_array(log_sum(self.log_weight + self.component_log_marginal(*data)))

    def robust(self, weight_on_vague: float, vague: Self) -> Self:
        """(1 - weight_on_vague) of this mixture, and a vague component after the last.

        Errors: MixtureError of a weight outside 0-1, or of a vague part that is not one component of this family."""
        check_robust(self, weight_on_vague, vague)
        with np.errstate(divide="ignore"):
            kept, added = np.log1p(-weight_on_vague), np.log(weight_on_vague)
        pairs = zip(self.parameters, vague.parameters, strict=True)
        return self._with(np.append(self.log_weight + kept, added), tuple(np.append(p, v) for p, v in pairs))


def frozen(mixture: Any, **arrays: np.ndarray) -> None:
    """Sets fields of a frozen mixture, and closes the arrays to writing."""
    for name, value in arrays.items():
        value = np.array(value, dtype=float)
        value.setflags(write=False)
        object.__setattr__(mixture, name, value)


def log_of(weight: np.ndarray) -> np.ndarray:
    """Log of weights; -inf of 0."""
    with np.errstate(divide="ignore"):
        return np.log(weight)


def check_robust(mixture: Any, weight: float, vague: Any) -> None:
    """Errors: MixtureError of a weight outside 0-1, or of a vague part that is not one component of this family."""
    reasons: list[str] = []
    if not 0 <= weight <= 1:
        reasons.append(f"weight_on_vague: {weight} is outside 0-1; write a share, such as 0.2")
    if type(vague) is not type(mixture):
        reasons.append(f"vague: is a {type(vague).__name__}; write a {type(mixture).__name__} of one component")
    elif vague.components != 1:
        reasons.append(f"vague: has {vague.components} components; write one")
    require("a robust mixture", reasons)


def tails(level: float) -> np.ndarray:
    """The two probabilities of an equal-tailed interval. Errors: MixtureError of a level not between 0 and 1."""
    if not 0 < level < 1:
        raise validation.MixtureError(f"level: {level} is not between 0 and 1; write a share, such as 0.95")
    return np.array([(1 - level) / 2, (1 + level) / 2])


def _numbers(x: Any) -> np.ndarray:
    made = np.asarray(x, dtype=float)
    if np.isnan(made).any():
        raise validation.MixtureError(f"x: {int(np.isnan(made).sum())} of {made.size} values are NaN; write numbers")
    return made


def _one(value: np.ndarray) -> np.ndarray:
    if value.ndim != 1:
        raise validation.MixtureError(
            f"data: shape {value.shape[:-1]} where one observation updates; write scalars, or use posterior_weights"
        )
    return value


def log_density(
    family: ScalarMixture | type[ScalarMixture], x: np.ndarray, log_weight: np.ndarray, parameters: Arrays
) -> np.ndarray:
    """Log density of mixtures at x (...): log_weight and parameters (..., components)."""
    held = log_weight > -np.inf  # a component of weight 0 may have an infinite density
    with np.errstate(invalid="ignore"):
        terms = np.where(held, log_weight + family.log_density(x[..., None], *parameters), -np.inf)
    return log_sum(terms)


def quantile(family: ScalarMixture | type[ScalarMixture], q: Any, weight: np.ndarray, parameters: Arrays) -> np.ndarray:
    """Quantiles of mixtures: q (...), weight and parameters (..., components). Errors: MixtureError of q outside 0-1.

    The quantile lies between the least and the largest of the components' own. The equation is summed from the nearer
    tail of each component, so that a gap between far components, or a small tail, costs no digits."""
    q = np.asarray(q, dtype=float)
    if not np.all((q >= 0) & (q <= 1)):
        raise validation.MixtureError(f"q: {q[~((q >= 0) & (q <= 1))].flat[0]} is not a probability; write 0 to 1")
    shape = np.broadcast_shapes(q.shape, *(np.shape(p)[:-1] for p in (weight, *parameters)))
    k = weight.shape[-1]
    q = np.broadcast_to(q, shape).ravel()
    weight = np.broadcast_to(weight, (*shape, k)).reshape(-1, k)
    parameters = tuple(np.broadcast_to(p, (*shape, k)).reshape(-1, k) for p in parameters)
    each = family.inverse(q[:, None], *parameters)
    least = np.where(weight > 0, each, np.inf).min(axis=1)
    largest = np.where(weight > 0, each, -np.inf).max(axis=1)
    known = (q == 0) | (q == 1) | (least >= largest)
    low, high = family.natural(np.where(known, 0.25, least)), family.natural(np.where(known, 0.75, largest))
    scale = np.broadcast_to(family.natural_scale(*parameters), q.shape)

    def off(t: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        w, of = weight[which], [p[which] for p in parameters]
        lower, upper = family.natural_below(t[:, None], *of), family.natural_over(t[:, None], *of)
        past = lower > upper
        f = np.sum(w * past, axis=1) - q[which] + np.sum(w * np.where(past, -upper, lower), axis=1)
        return f, np.sum(w * np.exp(family.natural_log_density(t[:, None], *of)), axis=1)

    sought = np.flatnonzero(~known)
    found = np.where(q == 1, largest, least)
    found[sought] = family.from_natural(
        roots.increasing(lambda t, which: off(t, sought[which]), low[sought], high[sought], scale[sought])
    )
    return found.reshape(shape)


def posterior_weights(m: ScalarMixture, *data: Any) -> np.ndarray:
    """Weights of the components after data given as arrays: (..., components), (...) the shape of the data.

    Data are those of `m.updated`: of a BetaMixture, `events` such as np.arange(n + 1), and n."""
    terms = m.log_weight + m.component_log_marginal(*data)
    return np.exp(terms - log_sum(terms)[..., None])


def posterior_cdf(m: ScalarMixture, x: Any, *data: Any) -> np.ndarray:
    """P(X <= x) after data given as arrays; x and the data broadcast."""
    parameters = m.component_updated(*data)
    return np.sum(posterior_weights(m, *data) * m.below(_numbers(x)[..., None], *parameters), axis=-1)


def posterior_quantile(m: ScalarMixture, q: Any, *data: Any) -> np.ndarray:
    """Quantiles after data given as arrays; q and the data broadcast. Errors: MixtureError of q outside 0-1."""
    return quantile(m, q, posterior_weights(m, *data), m.component_updated(*data))
