"""Virtual patients for parameters without data: plausible ones, and those of them who make up what was observed.

Every random start in the box of parameters is moved until the model's outputs lie within observed ranges [1]; of these
plausible patients each is taken with probability proportional to the density of the observed outputs over that of the
plausible ones, so that those taken match without weights [1], or is weighted by it (prevalence weights, the purpose of
[2], by density ratio and maximum entropy instead of its bins).

Where this departs from [1]: starts are moved by a bounded quasi-Newton method, not by simulated annealing, towards a
random point of the ranges, for those that stop at the first plausible point heap up at the edges; and the scale of the
probabilities is found exactly along one set of uniform numbers, as each patient is taken from some scale on.

References
----------
[1] Allen, Rieger & Musante 2016, Efficient generation and selection of virtual populations in quantitative systems
    pharmacology models. CPT Pharmacometrics Syst Pharmacol 5:140-146, doi 10.1002/psp4.12063. The cost of a start and
    the five neighbours are as open ports of it have them; unverified against the text of the paper.
[2] Schmidt, Casey, Paterson & Chan 2013, Alternate virtual populations elucidate the type I interferon signature
    predictive of the response to rituximab in rheumatoid arthritis. BMC Bioinformatics 14:221,
    doi 10.1186/1471-2105-14-221.
[3] Loftsgaarden & Quesenberry 1965, A nonparametric estimate of a multivariate density function. Ann Math Stat
    36:1049-1051, doi 10.1214/aoms/1177700079.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.spatial import KDTree
from scipy.special import gammaln, ndtr

from cohort.population.baseline import Target
from cohort.population.matching import balance

type Ranges = Mapping[str, tuple[float, float]]
type Simulate = Callable[[np.ndarray], np.ndarray]  # (n, parameters) to (n, outputs); NaN where a solve failed

NEIGHBOURS = 5  # [1]
TRIES = 10  # starts per patient wanted, after which the search gives up
FEWEST = 20  # patients that may stand for a population
STEP = 1e-6  # of a derivative, in the box's width


class PlausibleError(ValueError):
    """Patients who cannot be found; the message names parameter or output."""


@dataclass(frozen=True)
class Plausible:
    """Patients whose outputs all lie within the observed ranges."""

    parameters: np.ndarray  # (n, k)
    outputs: np.ndarray  # (n, m)
    bounds: Ranges  # of the parameters
    ranges: Ranges  # of the outputs
    starts: int  # tried for these n
    simulated: int  # patients simulated on the way


@dataclass(frozen=True)
class Observed:
    """What was seen in people: outputs that are normal together, those in `logs` after taking the logarithm."""

    names: tuple[str, ...]
    mean: np.ndarray  # (m,)
    covariance: np.ndarray  # (m, m)
    logs: frozenset[str] = frozenset()

    @classmethod
    def of(cls, sample: np.ndarray, names: Sequence[str], logs: Sequence[str] = ()) -> "Observed":
        """From people themselves, (n, m)."""
        y = cls(tuple(names), np.zeros(0), np.zeros((0, 0)), frozenset(logs)).plain(sample)
        return cls(tuple(names), y.mean(axis=0), np.atleast_2d(np.cov(y, rowvar=False)), frozenset(logs))

    def plain(self, outputs: np.ndarray) -> np.ndarray:
        """On the scale where they are normal, (n, m)."""
        return np.column_stack([np.log(y) if n in self.logs else y for n, y in zip(self.names, outputs.T, strict=True)])

    def white(self, outputs: np.ndarray) -> np.ndarray:
        """Without correlation and of unit variance, (n, m)."""
        return np.linalg.solve(np.linalg.cholesky(self.covariance), (self.plain(outputs) - self.mean).T).T

    def misfit(self, outputs: np.ndarray, weights: np.ndarray) -> dict[str, float]:
        """Kolmogorov's distance of each output's weighted distribution to the observed one. weights: (n,), sum 1."""
        y = (self.plain(outputs) - self.mean) / np.sqrt(np.diag(self.covariance))
        found = {}
        for name, column in zip(self.names, y.T, strict=True):
            order = np.argsort(column)
            reached, wanted = np.cumsum(weights[order]), ndtr(column[order])
            found[name] = float(max((reached - wanted).max(), (wanted - reached + weights[order]).max()))
        return found


@dataclass(frozen=True)
class Population:
    """Plausible patients as they make up the observed people."""

    weights: np.ndarray  # (n,), sum 1: equal for those taken and 0 for others, or prevalence weights
    misfit: dict[str, float]  # Kolmogorov's distance of each output
    diversity: pl.DataFrame  # of `diversity`

    @property
    def taken(self) -> np.ndarray:
        return np.flatnonzero(self.weights)

    @property
    def effective(self) -> float:
        """The effective number of patients."""
        return float(1 / np.sum(self.weights**2))


def plausible(simulate: Simulate, bounds: Ranges, ranges: Ranges, n: int, seed: int) -> Plausible:
    """n plausible patients, from random starts in `bounds`, (low, high) of each parameter, to outputs in `ranges`.

    A start that comes to no plausible patient is given up and counted. Errors: PlausibleError, naming the outputs
    that were never within their range and how near they came."""
    for what, box in (("parameter", bounds), ("output", ranges)):
        for name, (low, high) in box.items():
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise PlausibleError(f"{what} '{name}': from {low:g} to {high:g} is no range; write two finite bounds")
    if n < 1 or not bounds or not ranges:
        raise PlausibleError("nothing to look for: ask for one patient or more, with bounds and ranges")
    rng = np.random.default_rng(seed)
    (low, high), (least, most) = (np.array(list(box.values()), float).T for box in (bounds, ranges))
    middle, half = (least + most) / 2, (most - least) / 2
    seen = _Seen(simulate, list(ranges), low, high - low)
    patients: list[tuple[np.ndarray, np.ndarray]] = []
    starts = 0
    while len(patients) < n and starts < TRIES * n:
        u = rng.random((n - len(patients), len(low)))
        aims = rng.uniform(-1, 1, (len(u), len(middle)))
        starts += len(u)
        for x, y, aim in zip(u, seen(u), aims, strict=True):
            off = (y - middle) / half
            if not np.all(np.abs(off) <= 1):
                x = _moved(seen, x, lambda y, aim=aim: np.sum(((y - middle) / half - aim) ** 2, axis=1))
                if not np.all(np.abs(seen(x[None])[0] - middle) <= half):  # the aim is out of reach: any point will do
                    x = _moved(seen, x, lambda y: np.sum(np.maximum(((y - middle) / half) ** 2 - 1, 0), axis=1))  # [1]
                y = seen(x[None])[0]
            if np.all(np.abs(y - middle) <= half):
                patients.append((x, y))
    if len(patients) < n:
        raise PlausibleError(seen.never(least, most, f"{len(patients)} of {starts} starts came to a plausible patient"))
    parameters, outputs = (np.array(part) for part in zip(*patients, strict=True))
    return Plausible(low + parameters * (high - low), outputs, bounds, ranges, starts, seen.simulated)


class _Seen:
    """The model on the unit box, and the widest that its outputs went."""

    def __init__(self, simulate: Simulate, names: list[str], low: np.ndarray, width: np.ndarray) -> None:
        self.simulate, self.names, self.low, self.width = simulate, names, low, width
        self.simulated, self.least, self.most = 0, np.full(len(names), math.inf), np.full(len(names), -math.inf)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """(n, k) in the unit box to (n, m)."""
        y = np.asarray(self.simulate(self.low + u * self.width), float)
        if y.shape != (len(u), len(self.names)):
            raise PlausibleError(f"the model returned {y.shape} for {len(u)} patients with {len(self.names)} outputs")
        self.simulated += len(u)
        self.least, self.most = np.fmin(self.least, np.fmin.reduce(y)), np.fmax(self.most, np.fmax.reduce(y))
        return y

    def never(self, least: np.ndarray, most: np.ndarray, told: str) -> str:
        far = [
            f"{name}: from {a:g} to {b:g} was asked; the model went from {c:g} to {d:g}"
            for name, a, b, c, d in zip(self.names, least, most, self.least, self.most, strict=True)
            if not (c <= b and d >= a)
        ]
        each = far or [f"{', '.join(self.names)}: each comes within its range, too seldom together"]
        return "\n".join([*each, f"{told}: widen the parameters' bounds, or mend the range"])


def _moved(seen: _Seen, start: np.ndarray, cost: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Where the cost of the outputs is least, near a start. start: (k,), in the unit box."""
    k = len(start)

    def with_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        side = np.where(x + STEP <= 1, STEP, -STEP)
        c = cost(seen(np.vstack([x, x + np.diag(side)])))
        c = np.where(np.isfinite(c), c, 1e12)
        return float(c[0]), (c[1:] - c[0]) / side

    return np.clip(minimize(with_slope, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * k).x, 0, 1)


def _log_ratio(found: Plausible, observed: Observed) -> np.ndarray:
    """Logarithm of the observed density over that of the plausible patients, (n,), but for a constant. The latter by
    the distance to the fifth nearest neighbour [1], [3], where the observed outputs are white."""
    if observed.names != tuple(found.ranges):
        raise PlausibleError(f"observed are {', '.join(observed.names)}; the model gives {', '.join(found.ranges)}")
    if odd := [name for name in observed.logs if not found.ranges.get(name, (0, 0))[0] > 0]:
        raise PlausibleError(f"{', '.join(odd)}: a logarithm needs a range above 0")
    n, m = found.outputs.shape
    if n < FEWEST:
        raise PlausibleError(f"{n} plausible patients are too few to choose from; ask for {FEWEST} or more")
    white = observed.white(found.outputs)
    distance = KDTree(white).query(white, NEIGHBOURS + 1)[0][:, -1]
    sphere = m * np.log(np.maximum(distance, np.finfo(float).tiny)) + m / 2 * math.log(math.pi) - gammaln(m / 2 + 1)
    return sphere - np.sum(white**2, axis=1) / 2


def accept(found: Plausible, observed: Observed, seed: int) -> Population:
    """Those of the plausible patients who match the observed people without weights: each is taken with probability
    proportional to the ratio of densities, as many as make the outputs' mean distance of Kolmogorov least [1]."""
    from_scale = np.log(np.random.default_rng(seed).random(len(found.outputs))) - _log_ratio(found, observed)
    order = np.argsort(from_scale)

    def taking(size: int) -> np.ndarray:
        weights = np.zeros(len(order))
        weights[order[:size]] = 1 / size
        return weights

    sizes = np.unique(np.geomspace(FEWEST, len(order), 200).astype(int))
    best = min(sizes, key=lambda size: np.mean(list(observed.misfit(found.outputs, taking(size)).values())))
    weights = taking(best)
    return Population(weights, observed.misfit(found.outputs, weights), diversity(found, weights))


def prevalence(found: Plausible, observed: Observed) -> Population:
    """All plausible patients, weighted by the ratio of densities, and from there as little as will give each output
    its observed mean and SD. Errors: MatchingError naming an output that no weights give these."""
    ratio = _log_ratio(found, observed)
    people = pl.DataFrame(observed.plain(found.outputs), schema=list(observed.names))
    sd = np.sqrt(np.diag(observed.covariance))
    targets = [
        Target(name, statistic, float(value), "1")
        for name, *both in zip(observed.names, observed.mean, sd, strict=True)
        for statistic, value in zip(("mean", "sd"), both, strict=True)
    ]
    weights = balance(people, targets, base=np.exp(ratio - ratio.max())).weights
    return Population(weights, observed.misfit(found.outputs, weights), diversity(found, weights))


def diversity(found: Plausible, weights: np.ndarray) -> pl.DataFrame:
    """How much of the box of parameters these patients fill: a row per parameter, and one for all.

    `covered`: of the parameter's bounds, from the least to the largest taken; of all, the geometric mean. `spread`: the
    root mean square distance between two patients, as a share of that of two uniform in the bounds."""
    low, high = np.array(list(found.bounds.values()), float).T
    u = (found.parameters - low) / (high - low)
    covered = np.ptp(u[weights > 0], axis=0)
    variance = weights @ (u - weights @ u) ** 2  # half the mean square distance; a uniform's is 1/12
    with np.errstate(divide="ignore"):
        overall = float(np.exp(np.mean(np.log(covered))))
    return pl.DataFrame(
        {
            "parameter": [*found.bounds, "all"],
            "covered": [*covered, overall],
            "spread": [*np.sqrt(12 * variance), math.sqrt(12 * variance.mean())],
        }
    )
