"""When patients are seen, and what is measured then: actual visits in their windows, residual error, values so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from cohort.model import Model
from cohort.streams import Streams, streams
from cohort.study import Study
from cohort.trial.analysis import carried_forward


@dataclass(frozen=True)
class World:
    """A course that might be lived. true, measured: of each output, (n, visits); rescued: (n,) days, else infinite."""

    true: dict[str, np.ndarray]
    measured: dict[str, np.ndarray]
    rescued: np.ndarray


@dataclass(frozen=True)
class Luck:
    """Streams of lanes, which differ between draws."""

    seed: int
    draws: np.ndarray
    subjects: Sequence[str]

    def of(self, purpose: str) -> Streams:
        keys = np.empty((4, len(self.subjects)), dtype=np.uint64)
        for draw in np.unique(self.draws):
            mine = np.flatnonzero(self.draws == draw)
            keys[:, mine] = streams(self.seed, f"{purpose} {draw}", [self.subjects[int(i)] for i in mine]).keys
        return Streams(keys)


def visiting(study: Study, luck: Luck) -> tuple[np.ndarray, np.ndarray]:
    """When each visit takes place (d), and whether it does, (n, visits) each. The first is at 0, and nobody misses it.

    Within the window: uniformly, or normally with half of it as standard deviation, cut at its ends by inversion.
    """
    planned = np.array([visit.to("d") for visit in study.visits])
    n, later = len(luck.subjects), len(planned) - 1
    at = np.tile(planned, (n, 1))
    attended = np.ones(at.shape, dtype=bool)
    plan = study.conduct.visits
    if plan is None:
        return at, attended
    own = luck.of("visits")
    if plan.window is not None:
        width = windows(study)[1:]
        u = own.uniform("time", later)
        if plan.distribution == "normal":
            place = ndtri(ndtr(-2.0) + u * (ndtr(2.0) - ndtr(-2.0))) / 2
        else:
            place = 2 * u - 1
        at[:, 1:] += place * width
    attended[:, 1:] = own.uniform("missed", later) >= plan.missed
    return at, attended


def windows(study: Study) -> np.ndarray:
    """How far from its planned day each visit may take place, (visits,) d."""
    plan, later = study.conduct.visits, len(study.visits) - 1
    width = np.array([w.to("d") for w in plan.window]) if plan and plan.window else np.zeros(1)
    return np.concatenate([[0.0], np.broadcast_to(width, later)])


def measure(
    model: Model, true: Mapping[str, np.ndarray], noise: Mapping[str, np.ndarray], values: pl.DataFrame
) -> dict[str, np.ndarray]:
    """The true course with the model's residual error. values: (n,) of each parameter."""
    seen = {}
    for name, meta in model.outputs.fields().items():
        seen[name] = meta["error"].measured(true[name], noise[name], lambda part: values[part].to_numpy())
    return seen


def so_far(model: Model, name: str, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """An output, or an endpoint as it would be read at each visit, later ones taken as no different; (n, visits)."""
    if name in outputs:
        return np.asarray(outputs[name], dtype=float)
    visits = next(iter(outputs.values())).shape[1]
    read = []
    for k in range(visits):
        frozen = {n: np.where(np.arange(visits) <= k, a, a[:, k : k + 1]) for n, a in outputs.items()}
        read.append(np.asarray(model.endpoints[name].reads(model.outputs(**frozen)), dtype=float))
    return np.stack(read, axis=1)


def last_seen(values: np.ndarray, attended: np.ndarray) -> np.ndarray:
    """At each visit what was last measured, at it or before. values, attended: (n, visits)."""
    return carried_forward(np.where(attended, values, np.nan))


def unit_of(model: Model, name: str) -> str:
    """The unit of an output or endpoint."""
    return model.outputs.fields()[name]["unit"] if name in model.outputs.fields() else model.endpoints[name].unit
