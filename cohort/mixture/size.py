"""What a prior is worth in subjects, or in time at risk: its effective sample size.

The unit is one subject (beta; normal with unit standard deviation sigma) or one unit of exposure (gamma). Of one
component all methods give the conjugate size: a + b, sigma^2 / sd^2, or the rate; but the uniform beta is worth 0 by
'elir', as has been published of a prior made robust with all weight on it.

    'elir'    expected local information ratio, E[i(prior) / i_F] over the prior [1]; the default, since it is
              predictively consistent: after n subjects it is n more, on average; not so where a component's a, b
              or shape is 1, whose density is not 0 at a bound
    'moment'  the size of the one component with the mixture's mean and SD
    'morita'  the sample after which a vague prior is expected to be as curved at the mode as this prior is [2]

i(prior) is the negative second derivative of the log density, and i_F the Fisher information of one unit. Of [2] the
point is the mode, not the mean; the vague prior is centred there and worth VAGUE of a unit, or, of a normal mixture,
VAGUE of its widest component.

References
----------
[1] Neuenschwander et al. 2020, Biometrics 76:578-587, doi 10.1111/biom.13252.
[2] Morita, Thall & Muller 2008, Biometrics 64:595-602, doi 10.1111/j.1541-0420.2007.00888.x.
"""

import warnings
from typing import Any, Literal, get_args

import numpy as np

from cohort.mixture import quadrature
from cohort.mixture.families import BetaMixture, GammaMixture, NormalMixture
from cohort.mixture.scalar import ScalarMixture
from cohort.mixture.validation import MixtureError, require

Method = Literal["elir", "moment", "morita"]
VAGUE = 0.01
GRID = 400  # points between quantiles of each component on which the mode is first sought


def ess(m: ScalarMixture, method: Method = "elir", sigma: float | None = None) -> float:
    """Effective sample size of a prior; components of weight 0 count for nothing.

    sigma: standard deviation of one subject, of a normal mixture only. Warns (RuntimeWarning) where 'elir' is
    negative: the components lie so far apart that the prior is, on average, convex; and where a mixture has a component
    with an a, b or shape of 1, of which 'elir' is not reliable: the warning gives the size by 'moment'.
    One component has its conjugate size by any method, but a uniform beta 0 by 'elir'.
    Errors: MixtureError of an unknown method, a sigma missing, not positive or not wanted, and by 'elir' of a mixture
    with a component of a, b or shape below 1, of which the integral is minus infinity; and by 'morita' of a prior
    whose density is largest at a bound."""
    reasons = []
    if not isinstance(m, BetaMixture | NormalMixture | GammaMixture):
        reasons.append(f"m: is a {type(m).__name__}; write a beta, normal or gamma mixture")
    if method not in get_args(Method):
        reasons.append(f"method: '{method}' is not known; write one of {', '.join(get_args(Method))}")
    if isinstance(m, NormalMixture) and (sigma is None or not (np.isfinite(sigma) and sigma > 0)):
        reasons.append(f"sigma: {sigma}; write the standard deviation of one subject, more than 0")
    if not isinstance(m, NormalMixture) and sigma is not None:
        reasons.append(f"sigma: {sigma} has no meaning for a {type(m).__name__}; leave it out")
    require("effective sample size", reasons)
    held = m.weight > 0
    m = _made(m, m.weight[held], *(p[held] for p in m.parameters))
    unit = 1.0 if sigma is None else float(sigma)
    if m.components == 1:
        return 0.0 if method == "elir" and _uniform(m) else float(_conjugate(m, unit))
    if method == "moment":
        return float(_moment(m, unit))
    if method == "morita":
        return float(_morita(m, unit))
    found = _elir(m, unit)
    if _open(m):
        warnings.warn(
            f"a component has an a, b or shape of 1: 'elir', {found:.3g}, is not reliable, for the density is not 0 at "
            f"a bound; by 'moment' the size is {_moment(m, unit):.3g}",
            RuntimeWarning,
            stacklevel=2,
        )
    if found < 0:
        warnings.warn(
            f"the effective sample size is {found:.3g}, negative by 'elir': components lie far apart; see 'moment' too",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def _made(like: Any, weight: Any, *parameters: np.ndarray) -> Any:
    """Another mixture of the same family."""
    return type(like)(weight, *parameters)


def _uniform(m: Any) -> bool:
    """Whether the one component is Beta(1, 1)."""
    return isinstance(m, BetaMixture) and bool(m.a[0] == 1 and m.b[0] == 1)


def _open(m: Any) -> bool:
    """Whether a component's density is neither 0 nor infinite at a bound."""
    if isinstance(m, BetaMixture):
        return bool(np.any(m.a == 1) or np.any(m.b == 1))
    return isinstance(m, GammaMixture) and bool(np.any(m.shape == 1))


def _conjugate(m: Any, sigma: float) -> float:
    if isinstance(m, BetaMixture):
        return m.a[0] + m.b[0]
    return (sigma / m.sds[0]) ** 2 if isinstance(m, NormalMixture) else m.rate[0]


def _moment(m: Any, sigma: float) -> float:
    if isinstance(m, BetaMixture):
        return m.mean * (1 - m.mean) / m.sd**2 - 1
    return (sigma / m.sd) ** 2 if isinstance(m, NormalMixture) else m.mean / m.sd**2


def _ratio(m: Any, t: np.ndarray, sigma: float) -> np.ndarray:
    """i(prior) / i_F at natural(x) = t, any shape.

    With shares r of the components in the density, -(log p)'' = sum r -(log p_k)'' - var_r (log p_k)'; the terms are
    multiplied by the square of 1 / i_F first, so that nothing large is subtracted near a bound."""
    x, at = m.from_natural(t)[..., None], t[..., None]
    if isinstance(m, BetaMixture):
        y = m.from_natural(-t)[..., None]  # 1 - x
        slope, curve, unit = (m.a - 1) * y - (m.b - 1) * x, (m.a - 1) * y**2 + (m.b - 1) * x**2, (x * y)[..., 0]
    elif isinstance(m, GammaMixture):
        slope, curve, unit = (m.shape - 1) - m.rate * x, m.shape - 1, x[..., 0]
    else:
        slope, curve, unit = -(x - m.means) / m.sds**2, m.sds**-2.0, np.array(sigma**-2.0)
    terms = m.log_weight + m.natural_log_density(at, *m.parameters)
    share = np.exp(terms - terms.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    middle = np.sum(share * slope, axis=-1, keepdims=True)
    return np.sum(share * (curve - (slope - middle) ** 2), axis=-1) / unit


def _elir(m: Any, sigma: float) -> float:
    """The expected ratio, to 1e-10 of its scale [1]."""
    least = {"beta": lambda: min(m.a.min(), m.b.min()), "gamma": lambda: m.shape.min()}.get(m.family, lambda: 1.0)()
    if least < 1:
        raise MixtureError(
            f"effective sample size\n  'elir' is minus infinity: a component has {least:g}, below 1, and the density "
            "is infinite at a bound; write method='moment'"
        )
    # near a bound the integrand is that of components with one event less: it ends where they do
    less = tuple(np.where(p > 1, p - 1, p) for p in m.parameters)
    reach = {"beta": less, "gamma": (less[0], m.parameters[1]), "normal": m.parameters}[m.family]
    wider = _made(m, m.weight, *reach)
    low, high = quadrature.ends(wider)
    more = quadrature.ends(m)
    low, high = min(low, more[0]), max(high, more[1])

    def weighted(t: np.ndarray, which: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            density = np.exp(m.natural_log_density(t[..., None], *m.parameters)) @ m.weight
            return np.where(density > 0, density * _ratio(m, t, sigma), 0.0)

    joints = np.clip(np.r_[low, quadrature.joints(m), quadrature.joints(wider), high], low, high)
    alone = [_made(m, [1.0], *(p[i : i + 1] for p in m.parameters)) for i in range(m.components)]
    scale = max(_conjugate(one, sigma) for one in alone)
    return float(quadrature.integrals(weighted, joints[None], 1e-12 * scale)[0])


def _mode(m: Any) -> float:
    """natural(x) at the mode of the density of x. Errors: MixtureError where that is at a bound."""
    low, high = quadrature.joints(m, (1e-6, 1 - 1e-6)).reshape(2, -1)
    t = np.linspace(low, high, GRID).ravel()
    t = np.unique(np.r_[t, quadrature.joints(m, tuple(np.linspace(0.01, 0.99, 99)))])
    slope = _slope(m, t)
    density = np.asarray(m.logpdf(m.from_natural(t)))
    tops = np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))
    if len(tops) == 0 or density.argmax() in (0, len(t) - 1):
        raise MixtureError("effective sample size\n  'morita': the density has no mode inside; write method='elir'")
    top = tops[np.argmax(np.maximum(density[tops], density[tops + 1]))]
    left, right = t[top], t[top + 1]
    for _ in range(100):
        middle = left + (right - left) / 2
        if _slope(m, np.array([middle]))[0] > 0:
            left = middle
        else:
            right = middle
    return float(left)


def _slope(m: Any, t: np.ndarray) -> np.ndarray:
    """A positive multiple of the derivative of the density of x, at natural(x) = t."""
    x = m.from_natural(t)[..., None]
    if isinstance(m, BetaMixture):
        slope = (m.a - 1) * m.from_natural(-t)[..., None] - (m.b - 1) * x
    else:
        slope = (m.shape - 1) - m.rate * x if isinstance(m, GammaMixture) else -(x - m.means) / m.sds**2
    terms = m.log_weight + m.natural_log_density(t[..., None], *m.parameters)
    return np.sum(np.exp(terms - terms.max(axis=-1, keepdims=True)) * slope, axis=-1)


def _morita(m: Any, sigma: float) -> float:
    """n with E[curvature of the vague prior after n units] = curvature of m, both at the mode x [2].

    The curvature after n units is linear in the data, and these are expected to be n times the prior mean."""
    t = _mode(m)
    x, ratio = float(m.from_natural(np.array(t))), float(_ratio(m, np.array(t), sigma))
    if isinstance(m, NormalMixture):
        return ratio - VAGUE * sigma**2 / m.sds.max() ** 2
    if isinstance(m, GammaMixture):
        return (ratio * x - (VAGUE * x - 1)) / m.mean  # curvature (shape - 1) / x^2
    y = 1 - x
    curve = ratio / (x * y)
    vague = (VAGUE * x - 1) / x**2 + (VAGUE * y - 1) / y**2
    return (curve - vague) / (m.mean / x**2 + (1 - m.mean) / y**2)
