"""Simulation-based calibration: whether a model's posterior is the one of its own prior and likelihood."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cohort.inference.sampling import Sampling


@dataclass(frozen=True)
class Case:
    """A model to check. `model(design, outcome)`: a NumPyro model; with `outcome` None it draws its data, else `outcome`
    holds an array for each site named in `observed`. `design`: what does not vary, a pytree of arrays. `parameters`:
    the sites, sampled or deterministic, whose ranks are taken."""

    name: str
    model: Callable[[Any, Any], Any]
    design: Any
    observed: tuple[str, ...]
    parameters: tuple[str, ...]
    sampling: Sampling = field(default_factory=lambda: Sampling(warmup=500, draws=500, chains=1))
