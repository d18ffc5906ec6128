"""One oral dose in one compartment, and a response whose making the drug slows, without a solver of equations.

What a fit of hundreds of parameters by their gradient needs: the concentration in closed form, the response by
quadrature between the times at which it is wanted. Written with JAX, so that the lag is differentiated like all else.

References
----------
[1] Dayneka, Garzone & Jusko 1993, J Pharmacokinet Biopharm 21:457: indirect response of type I.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

NODES = 16  # of Gauss and Legendre in each interval: the response within 1e-5 of its base for warfarin (tests)


def one_dose(since: Any, dose: Any, ka: Any, cl: Any, v: Any) -> Any:
    """Concentration (dose over v) a time `since` the start of absorption, 0 before it. Rates ka and cl/v may be equal.
    Elementwise; the units are the caller's, and consistent."""
    s, k = jnp.maximum(since, 0.0), cl / v
    x = (ka - k) * s
    small = jnp.abs(x) < 1e-8
    share = jnp.where(small, 1 - x / 2, -jnp.expm1(-x) / jnp.where(small, 1.0, x))
    return dose / v * ka * s * jnp.exp(-k * s) * share


def slowed(times: Any, start: Any, base: Any, kout: Any, inhibition: Callable[[Any], Any]) -> Any:
    """The response y of dy/dt = kout (base (1 - inhibition(t)) - y), y = base up to `start`, at ascending `times`.

    start, base, kout: (n,). times: (visits,). inhibition: of times (n, visits, nodes), 0 to 1. Returns (n, visits) [1].
    """
    # Squared, so that nodes crowd at the start, where an absorbed dose rises fast.
    x, weight = np.polynomial.legendre.leggauss(NODES)
    x, weight = ((x + 1) / 2) ** 2, weight / 2 * (x + 1)
    start, base, kout = (jnp.asarray(a)[:, None] for a in (start, base, kout))
    ends = jnp.maximum(start, jnp.asarray(times)[None])
    begins = jnp.concatenate([start, ends[:, :-1]], axis=1)
    gap = ends - begins
    left = gap[..., None] * (1 - x)  # of the interval, at each node
    made = (1 - inhibition(ends[..., None] - left)) * jnp.exp(-kout[..., None] * left)
    added, kept = base * kout * gap * (made @ weight), jnp.exp(-kout * gap)
    y, found = base[:, 0], []
    for visit in range(ends.shape[1]):
        y = y * kept[:, visit] + added[:, visit]
        found.append(y)
    return jnp.stack(found, axis=1)
