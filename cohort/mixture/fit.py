"""A mixture fitted to draws of a quantity, such as those of a meta-analytic-predictive prior.

Expectation-maximisation [1] from three starts: groups by size, by distance from the middle (heavy tails on both sides),
and about centres drawn at random [2]; with steps lengthened by squared extrapolation [4]. Many draws are first thinned
to some THIN of them, evenly in order of size. The number of components is the one of the least AIC,
penalty x parameters - 2 log likelihood of all draws.

References
----------
[1] Dempster, Laird & Rubin 1977, J R Stat Soc B 39:1-38.
[2] Arthur & Vassilvitskii 2007, k-means++: the advantages of careful seeding. SODA 2007:1027-1035.
[3] Minka 2000, Estimating a Dirichlet distribution; the Newton step of a beta's maximum likelihood.
[4] Varadhan & Roland 2008, Scand J Stat 35:335-353, scheme S3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import betaln, digamma, gammaln, polygamma

from cohort.mixture.families import LOG_2PI, BetaMixture, GammaMixture, NormalMixture
from cohort.mixture.multivariate import MvNormalMixture
from cohort.mixture.multivariate import log_density as mv_log_density
from cohort.mixture.scalar import ScalarMixture
from cohort.mixture.validation import MixtureError, require

Family = Literal["beta", "normal", "gamma", "mvnormal"]
Mixture = ScalarMixture | MvNormalMixture
MOST = 4  # components tried where their number is not given
FEWEST = 20  # draws for each component
THIN = 2000  # draws on which starts are tried
SHORT, LONG = 20, 400  # rounds, of three iterations each, of a start and of the best one
GAIN = 1e-3  # of the log likelihood of all draws: less in a round ends it
NARROWEST = 1e-4  # SD of a component, in SDs of the draws: a narrower one has caught repeated draws


@dataclass(frozen=True)
class Fit:
    """A fitted mixture, largest weight first, and how good it is."""

    mixture: Any  # BetaMixture, NormalMixture, GammaMixture or MvNormalMixture
    aic: dict[int, float]  # by number of components; nan where every start collapsed
    penalty: float  # of AIC, for each parameter
    log_likelihood: float
    cdf_error: float  # largest distance between the distribution functions of draws and mixture, over the quantities
    draws: int

    @property
    def components(self) -> int:
        return self.mixture.components


def fit(
    draws: Any,
    family: Family = "beta",
    components: int | None = None,
    *,
    seed: int,
    penalty: float = 2.0,
) -> Fit:
    """The mixture of a family that fits draws best; it is in `.mixture` of what is returned.

    draws: numbers of any shape, or of mvnormal (n, d). components: how many; None tries 1 to 4. seed: of one of the
    three starts. penalty: of AIC for each parameter; 2 is Akaike's, and larger ones take fewer components, which
    correlated draws of a chain may call for. n independent draws have a cdf_error of about 0.8 / sqrt(n) by chance:
    fewer than some 30 000 cannot show one below 0.005.
    Errors: MixtureError of draws outside the family's support or on its bounds, not finite, all alike or too few."""
    x = _checked(draws, family, components, penalty)
    kind = _kind(family, x)
    tried = range(1, MOST + 1) if components is None else [components]
    found = {k: _best(family, x, k, np.random.default_rng(seed)) for k in tried if components or len(x) >= FEWEST * k}
    free = {k: (k - 1) + k * kind.free for k in found}
    aic = {k: penalty * free[k] - 2 * f[0] if f else math.nan for k, f in found.items()}
    if all(map(math.isnan, aic.values())):
        raise MixtureError(
            f"fit of a {family} mixture\n  components collapsed onto repeated draws; write fewer of them"
        )
    best = min((k for k in aic if not math.isnan(aic[k])), key=lambda k: aic[k])
    likelihood, weight, parameters = found[best] or (math.nan, np.ones(0), ())
    order = np.argsort(-weight, kind="stable")
    mixture = kind.made(weight[order], *(p[order] for p in parameters))
    return Fit(mixture, aic, penalty, likelihood, cdf_error(mixture, x), len(x))


def cdf_error(mixture: Mixture, draws: Any) -> float:
    """Largest distance between the distribution functions of draws and of a mixture; of several quantities, the largest
    over them. draws: (n,), or (n, d) of an MvNormalMixture."""
    x = np.asarray(draws, dtype=float)
    if isinstance(mixture, MvNormalMixture):
        return max(cdf_error(mixture.marginal(i), x[:, i]) for i in range(mixture.dimension))
    x = np.sort(x.ravel())
    f, n = np.asarray(mixture.cdf(x)), len(x)
    below, above = np.searchsorted(x, x, "left") / n, np.searchsorted(x, x, "right") / n
    return float(max(np.max(above - f), np.max(f - below)))


def _checked(draws: Any, family: str, components: int | None, penalty: float) -> np.ndarray:
    """The draws as (n,), or (n, d) of mvnormal."""
    reasons = []
    x = np.asarray(draws, dtype=float)
    if family not in get_args(Family):
        reasons.append(f"family: '{family}' is not known; write one of {', '.join(get_args(Family))}")
    if family == "mvnormal" and x.ndim != 2:
        reasons.append(f"draws: shape {x.shape}; write (n, d)")
    elif family != "mvnormal":
        x = x.ravel()
    if components is not None and components < 1:
        reasons.append(f"components: {components}; write 1 or more, or None")
    if not (math.isfinite(penalty) and penalty >= 0):
        reasons.append(f"penalty: {penalty}; write 0 or more, 2 of AIC")
    if (bad := ~np.isfinite(x)).any():
        reasons.append(f"draws: {int(bad.sum())} of {x.size} are not finite; write numbers")
    else:
        if family == "beta" and (out := (x <= 0) | (x >= 1)).any():
            reasons.append(f"draws: {int(out.sum())} of {x.size} are not between 0 and 1, such as {x[out][0]:g}")
        if family == "gamma" and (out := x <= 0).any():
            reasons.append(f"draws: {int(out.sum())} of {x.size} are not above 0, such as {x[out][0]:g}")
        if len(x) < FEWEST * (components or 1):
            reasons.append(f"draws: {len(x)} are too few; write {FEWEST} or more for each component")
        elif np.any(np.ptp(x, axis=0) <= 1e-12 * np.abs(x).max(axis=0)):
            reasons.append("draws: are all alike; a quantity without variance has no mixture")
        elif family == "mvnormal" and x.ndim == 2 and _dependent(x):
            reasons.append("draws: one quantity is a combination of the others; leave it out")
    require("fit of a mixture", reasons)
    return x


def _dependent(x: np.ndarray) -> bool:
    return bool(np.linalg.matrix_rank(np.atleast_2d(np.corrcoef(x.T))) < np.size(x, 1))


@dataclass(frozen=True)
class _Kind:
    """What expectation-maximisation needs of a family, for one set of draws."""

    made: Callable[..., Any]
    free: int  # parameters of a component
    log_density: Callable[..., np.ndarray]  # of parameters, each (k, ...): (n, k)
    largest: Callable[[np.ndarray, tuple], tuple]  # parameters of most likelihood, of shares (n, k) and the last ones
    spread: Callable[..., np.ndarray]  # (k,) SDs of components, the least of each, in SDs of the draws
    positive: tuple[bool, bool]  # which of the parameters are, and are extrapolated as logarithms


def _kind(family: str, x: np.ndarray) -> _Kind:
    sd = x.std(axis=0)
    if family == "mvnormal":
        d = x.shape[-1]
        return _Kind(
            made=MvNormalMixture,
            free=d + d * (d + 1) // 2,
            log_density=lambda m, c: mv_log_density(x, m, c),
            largest=lambda r, _: _mvnormal(x, r),
            spread=lambda m, c: np.sqrt(np.linalg.eigvalsh(c / np.outer(sd, sd)).min(axis=1).clip(0)),
            positive=(False, False),
        )
    if family == "normal":
        return _Kind(
            made=NormalMixture,
            free=2,
            log_density=lambda m, s: -(((x[:, None] - m) / s) ** 2) / 2 - np.log(s) - LOG_2PI / 2,
            largest=lambda r, _: _normal(x, r),
            spread=lambda m, s: s / sd,
            positive=(False, True),
        )
    if family == "gamma":
        by_log = np.c_[np.log(x), x]
        return _Kind(
            made=GammaMixture,
            free=2,
            log_density=lambda a, b: by_log @ np.array([a - 1, -b]) + a * np.log(b) - gammaln(a),
            largest=lambda r, last: _gamma(by_log, r, last),
            spread=lambda a, b: np.sqrt(a) / b / sd,
            positive=(True, True),
        )
    by_logs = np.c_[np.log(x), np.log1p(-x)]
    return _Kind(
        made=BetaMixture,
        free=2,
        log_density=lambda a, b: by_logs @ np.array([a - 1, b - 1]) - betaln(a, b),
        largest=lambda r, last: _beta(by_logs, x, r, last),
        spread=lambda a, b: np.sqrt(a * b / (a + b + 1)) / (a + b) / sd,
        positive=(True, True),
    )


State = tuple[np.ndarray, tuple]  # weights (k,) and parameters, each (k, ...)


def _best(family: str, x: np.ndarray, k: int, rng: np.random.Generator) -> tuple[float, np.ndarray, tuple] | None:
    """Log likelihood, weights and parameters of k components; None where each start collapses."""
    kind = _kind(family, x)
    if k == 1:
        last = _maximised(kind, np.ones((len(x), 1)), ())
        return (_expected(kind, *last)[1], *last) if last else None
    order = x if x.ndim == 1 else x[:, 0]
    few = x[np.argsort(order, kind="stable")[:: max(1, len(x) // THIN)]]
    thin = _kind(family, few)
    starts = [last for group in _starts(few, k, rng) if (last := _maximised(thin, _shares(group, k), ()))]
    short = [f for last in starts if (f := _run(thin, last, SHORT))]
    for _, weight, parameters in sorted(short, key=lambda f: -f[0]):
        longer = _run(thin, (weight, parameters), LONG)
        if longer and (found := _run(kind, longer[1:], LONG)):
            return found
    return None


def _expected(kind: _Kind, weight: np.ndarray, parameters: tuple) -> tuple[np.ndarray, float]:
    """Shares of the components in each draw, (n, k), and the log likelihood of all."""
    terms = kind.log_density(*parameters) + np.log(weight)
    top = terms.max(axis=1, keepdims=True)
    shares = np.exp(terms - top)
    total = shares.sum(axis=1, keepdims=True)
    return shares / total, float(np.log(total).sum() + top.sum())


def _maximised(kind: _Kind, shares: np.ndarray, last: tuple) -> State | None:
    """Weights and parameters of most likelihood; None if a component collapses."""
    total = shares.sum(axis=0)
    if total.min() < 2:
        return None
    parameters = kind.largest(shares, last)
    return (total / len(shares), parameters) if np.all(kind.spread(*parameters) > NARROWEST) else None


def _run(kind: _Kind, last: State, most: int) -> tuple[float, np.ndarray, tuple] | None:
    """Log likelihood, weights and parameters after rounds of two iterations, a longer step along them and a third
    iteration [4]; None if a component collapses."""
    shares, now = _expected(kind, *last)
    for _ in range(most):
        before, path = now, [last]
        for _ in range(2):
            if not (step := _maximised(kind, shares, path[-1][1])):
                return None
            path.append(step)
            shares, now = _expected(kind, *step)
        last = path[-1]
        if (far := _extrapolated(kind, path)) and (step := _maximised(kind, _expected(kind, *far)[0], far[1])):
            reached = _expected(kind, *step)
            if reached[1] > now:
                last, (shares, now) = step, reached
        if now - before < GAIN:
            break
    return now, *last


def _extrapolated(kind: _Kind, path: list[State]) -> State | None:
    """Where three points of a path lead; None where that is no mixture."""

    def flattened(weight: np.ndarray, parameters: tuple) -> np.ndarray:
        pairs = zip(parameters, kind.positive, strict=True)
        return np.concatenate([np.log(weight), *(np.ravel(np.log(p) if log else p) for p, log in pairs)])

    flat = [flattened(*point) for point in path]
    r, v = flat[1] - flat[0], flat[2] - 2 * flat[1] + flat[0]
    if not (size := np.linalg.norm(v)) > 0:
        return None
    length = max(1.0, float(np.linalg.norm(r) / size))
    at = flat[0] + 2 * length * r + length**2 * v
    k = len(path[0][0])
    weight = np.exp(at[:k] - at[:k].max())
    made, begin = [], k
    for p, log in zip(path[0][1], kind.positive, strict=True):
        part = at[begin : begin + p.size].reshape(p.shape)
        made.append(np.exp(np.clip(part, -50, 50)) if log else part)
        begin += p.size
    parameters = tuple(made)
    fits = np.isfinite(at).all() and np.all(kind.spread(*parameters) > NARROWEST) and weight.min() > 1e-12
    return (weight / weight.sum(), parameters) if fits else None


def _shares(group: np.ndarray, k: int) -> np.ndarray:
    """Shares (n, k) that lie mostly with the group of each draw."""
    return 0.9 * np.eye(k)[group] + 0.1 / k


def _starts(x: np.ndarray, k: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Groups of draws, (n,) each."""
    flat = x[:, None] if x.ndim == 1 else x
    z = (flat - np.median(flat, axis=0)) / flat.std(axis=0)
    axis = np.linalg.eigh(np.atleast_2d(np.cov(z.T)))[1][:, -1]
    along, away = z @ axis, np.linalg.norm(z, axis=1)
    ranks = [np.argsort(np.argsort(v, kind="stable"), kind="stable") * k // len(x) for v in (along, away)]
    centres = z[[rng.integers(len(z))]]
    while len(centres) < k:  # [2]
        squared = ((z[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        centres = np.r_[centres, z[[rng.choice(len(z), p=squared / squared.sum())]]]
    return [*ranks, ((z[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)]


def _normal(x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = r.sum(axis=0)
    mean = x @ r / total
    return mean, np.sqrt(np.sum(r * (x[:, None] - mean) ** 2, axis=0) / total)


def _mvnormal(x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = r.sum(axis=0)
    mean = r.T @ x / total[:, None]
    away = x[:, None] - mean
    return mean, np.einsum("nk,nki,nkj->kij", r, away, away, optimize=True) / total[:, None, None]


def _gamma(features: np.ndarray, r: np.ndarray, last: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Most likelihood: log(shape) - digamma(shape) = log(mean x) - mean log x, by Newton on log(shape)."""
    log_mean, mean = (features.T @ r) / r.sum(axis=0)
    gap = np.maximum(np.log(mean) - log_mean, 1e-12)
    shape = last[0] if last else (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)
    for _ in range(50):
        step = (np.log(shape) - digamma(shape) - gap) / (1 - shape * polygamma(1, shape))
        shape = shape * np.exp(-np.clip(step, -2, 2))
        if np.all(np.abs(step) < 1e-10):
            break
    return shape, shape / mean


def _beta(features: np.ndarray, x: np.ndarray, r: np.ndarray, last: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Most likelihood: digamma(a) - digamma(a + b) = mean log x, and so of b and 1 - x, by Newton on logarithms [3]."""
    log_x, log_y = (features.T @ r) / r.sum(axis=0)
    if last:
        a, b = last
    else:
        mean, sd = _normal(x, r)
        n = np.clip(mean * (1 - mean) / np.maximum(sd**2, 1e-300) - 1, 1e-2, 1e12)
        a, b = mean * n, (1 - mean) * n
    for _ in range(50):
        both, curve = digamma(a + b), polygamma(1, a + b)
        f, g = digamma(a) - both - log_x, digamma(b) - both - log_y
        faa, fbb, fab = a * (polygamma(1, a) - curve), b * (polygamma(1, b) - curve), curve
        det = faa * fbb - a * b * fab**2
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN of a component without width, which is given up
            step_a, step_b = (f * fbb + b * fab * g) / det, (g * faa + a * fab * f) / det
        a, b = a * np.exp(-np.clip(step_a, -2, 2)), b * np.exp(-np.clip(step_b, -2, 2))
        if max(np.abs(step_a).max(), np.abs(step_b).max()) < 1e-10:
            break
    return a, b
