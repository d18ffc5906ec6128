"""Subjects of simulated continuous trials, whose random numbers hang on the seed and the trial's index alone."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from cohort.decision.design import Design
from cohort.decision.drift import Safety

BLOCK = 4096  # trials that are drawn together; fixed, for the bits of a sum may hang on it


def _jax() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def _subjects(key: Any, n: int, arm: int, what: int) -> Any:
    """Standard normals of an arm's subjects, (n,): those of fewer subjects are the first of more."""
    import jax

    return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, arm), what), (n,))


@dataclass(frozen=True)
class Standard:
    """Trials with mean 0 and SD 1: by number of subjects, means and sums of squares about them; events of harm."""

    mean: dict[tuple[int, int], np.ndarray]  # (arm, n): (trials,)
    squares: dict[tuple[int, int], np.ndarray]
    events: tuple[np.ndarray, np.ndarray] | None


def standard(sizes: Sequence[tuple[int, int]], *, seed: int, trials: int, safety: Safety | None = None) -> Standard:
    """What every scenario is made of. sizes: (n of treatment, n of control) of each design. Returns trials 0, 1, ..."""
    jax = _jax()
    import jax.numpy as jnp

    arms = tuple(sorted({(arm, n[arm]) for n in sizes for arm in (0, 1)}))
    harm, rho = (), 0.0
    if safety is not None:
        rho = safety.correlation
        pairs = zip(safety.design.arms, (safety.treatment, safety.control), strict=True)
        harm = tuple((int(arm.n), float(-ndtri(rate))) for arm, rate in pairs)
    block, key = _block(arms, harm, rho), jax.random.key(seed)
    parts = [block(key, first + jnp.arange(BLOCK)) for first in range(0, trials, BLOCK)]
    m, s, e = ([np.concatenate(x)[:trials] for x in zip(*(p[i] for p in parts), strict=True)] for i in range(3))
    return Standard(dict(zip(arms, m, strict=True)), dict(zip(arms, s, strict=True)), (e[0], e[1]) if e else None)


@functools.cache
def _block(arms: tuple[tuple[int, int], ...], harm: tuple[tuple[int, float], ...], rho: float) -> Any:
    """Compiled: from a key and the indices of trials to means, sums of squares, and events. arms: (arm, n) each; harm:
    by arm, n and the latent value above which there is an event."""
    import jax
    import jax.numpy as jnp

    most = [max(n for a, n in (*arms, *((i, h[0]) for i, h in enumerate(harm))) if a == arm) for arm in (0, 1)]

    def one(key: Any, index: Any) -> tuple[Any, ...]:
        own = jax.random.fold_in(key, index)
        z = [_subjects(own, most[arm], arm, 0) for arm in (0, 1)]
        means = [z[arm][:n].mean() for arm, n in arms]
        squares = [jnp.sum((z[arm][:n] - m) ** 2) for (arm, n), m in zip(arms, means, strict=True)]
        events = []
        for arm, (n, cut) in enumerate(harm):
            latent = rho * z[arm][:n] + math.sqrt(1 - rho**2) * _subjects(own, n, arm, 1)
            events.append(jnp.sum(latent > cut))
        return tuple(means), tuple(squares), tuple(events)

    return jax.jit(jax.vmap(one, (None, 0)))


@dataclass(frozen=True)
class Trial:
    """One simulated trial. seed: for whatever randomness its analysis needs."""

    index: int
    treatment: np.ndarray  # (n,)
    control: np.ndarray  # (n,)
    seed: int


def trial(design: Design, treatment: float, control: float, *, seed: int, index: int) -> Trial:
    """The trial of this index at true means: the one that `simulate` analyses under the same seed."""
    jax = _jax()
    assert design.control is not None
    key = jax.random.fold_in(jax.random.key(seed), index)
    sigma = float(design.sigma or 0)
    y = [
        truth + sigma * np.asarray(_subjects(key, int(arm.n), i, 0))
        for i, (arm, truth) in enumerate(zip(design.arms, (treatment, control), strict=True))
    ]
    return Trial(index, y[0], y[1], int(np.random.SeedSequence((seed, index)).generate_state(1)[0]))
