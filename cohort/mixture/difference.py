"""How two arms differ: probability, density and quantiles of g(a) - g(b), where a and b are independent mixtures.

    P(g(a) - g(b) > c) = integral of P(g(a) > v + c) over the density of v = g(b)

The integral is taken on the scale without bounds of b (logit, log or itself), on which its density is smooth, over
panels between quantiles of the components of a and b. Where both are normal, it is the mixture of the differences of
their components.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import log_expit, logit

from cohort.mixture import quadrature, roots
from cohort.mixture.families import NormalMixture
from cohort.mixture.scalar import ScalarMixture, scalar_or_array
from cohort.mixture.validation import MixtureError, require

Link = Literal["identity", "log", "logit"]
LINKS = {"beta": ("identity", "log", "logit"), "gamma": ("identity", "log"), "normal": ("identity",)}
TOLERANCE = 2e-11  # of a panel
OF_A = (1e-6, 0.05, 0.5, 0.95, 1 - 1e-6)  # quantiles of components of a at which panels meet
BOUNDS = {("beta", "identity"): [0.0, 1.0], ("beta", "log"): [0.0], ("gamma", "identity"): [0.0]}  # of link(a)


def probability(a: ScalarMixture, b: ScalarMixture, above: Any = 0.0, link: Link = "identity") -> Any:
    """P(link(a) - link(b) > above) to 1e-10; of an array of `above`, an array.

    link: 'identity'; 'log' of beta or gamma, whose difference is a log ratio; 'logit' of beta, a log odds ratio.
    Errors: MixtureError of a link that a family has not, and of NaN."""
    c = _checked(a, b, above, "above", link)
    if isinstance(a, NormalMixture) and isinstance(b, NormalMixture):
        return _normal(a, b).sf(above)

    def over(t: np.ndarray, which: np.ndarray) -> np.ndarray:
        return a.natural_over(_partner(a, b, t, c[which], link)[..., None], *a.parameters) @ a.weight

    return scalar_or_array(np.clip(_mean(a, b, c, link, over), 0, 1).reshape(np.shape(above)))


def density(a: ScalarMixture, b: ScalarMixture, at: Any, link: Link = "identity") -> Any:
    """Density of link(a) - link(b); of an array of `at`, an array.

    To 1e-9; less near, and infinite at, differences at which both densities are infinite.
    Errors: MixtureError of a link that a family has not, and of NaN."""
    d = _checked(a, b, at, "at", link)
    if isinstance(a, NormalMixture) and isinstance(b, NormalMixture):
        return _normal(a, b).pdf(at)

    def dense(t: np.ndarray, which: np.ndarray) -> np.ndarray:
        partner = _partner(a, b, t, d[which], link)
        inside = np.isfinite(partner)
        partner = np.where(inside, partner, 0.0)
        each = np.exp(
            a.natural_log_density(partner[..., None], *a.parameters) - _log_slope(a, partner, link)[..., None]
        )
        return np.where(inside, each @ a.weight, 0.0)

    return scalar_or_array(_mean(a, b, d, link, dense).reshape(np.shape(at)))


def quantile(a: ScalarMixture, b: ScalarMixture, q: Any, link: Link = "identity") -> Any:
    """d with P(link(a) - link(b) <= d) = q; of an array of q, an array.

    Errors: MixtureError of q not between 0 and 1, and of a link that a family has not."""
    share = _checked(a, b, q, "q", link)
    if not np.all((share > 0) & (share < 1)):
        raise MixtureError(f"q: {share[~((share > 0) & (share < 1))][0]} is not between 0 and 1; write a probability")
    if isinstance(a, NormalMixture) and isinstance(b, NormalMixture):
        return _normal(a, b).quantile(q)
    low = _quantile(a, share / 2, link) - _quantile(b, 1 - share / 2, link)  # the two tails together hold q at most
    high = _quantile(a, (1 + share) / 2, link) - _quantile(b, (1 - share) / 2, link)

    def off(d: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (1 - share[which]) - np.asarray(probability(a, b, d, link)), np.asarray(density(a, b, d, link))

    found = roots.increasing(off, low, high, 1e-3 * (high - low), relative=1e-11)
    return scalar_or_array(found.reshape(np.shape(q)))


def interval(a: ScalarMixture, b: ScalarMixture, level: float = 0.95, link: Link = "identity") -> tuple[float, float]:
    """The equal-tailed interval of link(a) - link(b). Errors: MixtureError of a level not between 0 and 1."""
    if not 0 < level < 1:
        raise MixtureError(f"level: {level} is not between 0 and 1; write a share, such as 0.95")
    low, high = quantile(a, b, [(1 - level) / 2, (1 + level) / 2], link)
    return float(low), float(high)


def _normal(a: NormalMixture, b: NormalMixture) -> NormalMixture:
    """The mixture of a - b: every component of a with every one of b."""
    return NormalMixture(
        np.outer(a.weight, b.weight).ravel(),
        np.subtract.outer(a.means, b.means).ravel(),
        np.hypot.outer(a.sds, b.sds).ravel(),
    )


def _checked(a: ScalarMixture, b: ScalarMixture, value: Any, name: str, link: str) -> np.ndarray:
    """The value as (n,)."""
    reasons = []
    for side, m in (("a", a), ("b", b)):
        if not isinstance(m, ScalarMixture):
            reasons.append(f"{side}: is a {type(m).__name__}; write a beta, normal or gamma mixture")
        elif link in get_args(Link) and link not in LINKS[m.family]:
            reasons.append(
                f"{side}: a {m.family} mixture has no {link} link; write one of {', '.join(LINKS[m.family])}"
            )
    if link not in get_args(Link):
        reasons.append(f"link: '{link}' is not known; write one of {', '.join(get_args(Link))}")
    made = np.asarray(value, dtype=float)
    if np.isnan(made).any():
        reasons.append(f"{name}: is NaN; write a number")
    require("difference of two mixtures", reasons)
    return made.ravel()


def _linked(m: ScalarMixture, t: np.ndarray, link: str) -> np.ndarray:
    """link(x) of natural(x) = t."""
    if link == "identity":
        return m.from_natural(t)
    return log_expit(t) if (m.family, link) == ("beta", "log") else t


def _natural(m: ScalarMixture, v: np.ndarray, link: str) -> np.ndarray:
    """natural(x) of link(x) = v; infinite outside what the link can be."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if link == "identity" and m.family == "beta":
            return logit(np.clip(v, 0, 1))
        if link == "identity" and m.family == "gamma":
            return np.log(np.maximum(v, 0))
        if link == "log" and m.family == "beta":
            return np.where(v < 0, v - np.log(-np.expm1(np.minimum(v, 0))), np.inf)
    return v


def _log_slope(m: ScalarMixture, t: np.ndarray, link: str) -> np.ndarray:
    """log of d link(x) / d natural(x)."""
    if link == "identity" and m.family == "beta":
        return log_expit(t) + log_expit(-t)
    if link == "identity" and m.family == "gamma":
        return t
    return log_expit(-t) if (m.family, link) == ("beta", "log") else np.zeros_like(t)


def _partner(a: ScalarMixture, b: ScalarMixture, t: np.ndarray, c: np.ndarray, link: str) -> np.ndarray:
    """natural(a) where link(a) = link(b) + c and natural(b) = t. t: (panels, nodes); c: (panels,)."""
    moved = _natural(a, _linked(b, t, link) + c[:, None], link)
    return np.where(c[:, None] == 0, t, moved) if a.family == b.family else moved


def _quantile(m: ScalarMixture, q: np.ndarray, link: str) -> np.ndarray:
    return _linked(m, m.natural(np.asarray(m.quantile(q))), link)


def _mean(
    a: ScalarMixture,
    b: ScalarMixture,
    c: np.ndarray,
    link: str,
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """The mean of function(t, which) over t = natural(b), for each of c (n,): (n,).

    function: of t (panels, nodes), and the index into c of each panel."""
    low, high = quadrature.ends(b)
    finite = np.isfinite(c)
    kinks = np.r_[_linked(a, quadrature.joints(a, OF_A), link), BOUNDS.get((a.family, link), [])]
    kinks = _natural(b, kinks - np.where(finite, c, 0.0)[:, None], link)
    joints = np.broadcast_to(np.r_[low, quadrature.joints(b), high], (len(c), len(quadrature.joints(b)) + 2))

    def weighted(t: np.ndarray, which: np.ndarray) -> np.ndarray:
        return function(t, which) * (np.exp(b.natural_log_density(t[..., None], *b.parameters)) @ b.weight)

    found = quadrature.integrals(weighted, np.clip(np.c_[joints, kinks], low, high), TOLERANCE)
    return np.where(finite, found, function(np.zeros((len(c), 1)), np.arange(len(c)))[:, 0])
