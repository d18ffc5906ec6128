"""Who is simulated, how they are dosed and when they are seen: the five workloads of the benchmark."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cohort.dosing.records import Events
from cohort.library import load
from cohort.model import Model

ROOT = Path(__file__).resolve().parent.parent
SEED = 20121106
ENGINES = ("cohort native", "cohort xla", "diffrax", "SciPy", "numbalsoda")


def _alike(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    """No covariates: subjects differ by their random effects alone."""
    return {}


def _on_a_statin(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    """Covariates of evolocumab's patients on a statin, drawn without regard to each other."""
    normal = rng.standard_normal((n, 5)).T
    return {
        "weight": 84 * np.exp(0.2 * normal[0]),
        "sex": (normal[1] < 0).astype(float),
        "pcsk9": 430 * np.exp(0.3 * normal[2]),
        "statin": np.ones(n),
        "ezetimibe": (normal[3] < -1.2816).astype(float),  # one in ten
        "ldl": 120 * np.exp(0.23 * normal[4]),
    }


@dataclass(frozen=True, eq=False)
class Workload:
    """Like subjects on one regimen.

    `reads`: the model. `doses`: (doses,), when; `into`: the route; `amount`: of each dose, in the unit of the state it
    enters. `times`: (visits,). Times in the model's unit. `stiff`: an explicit method takes steps far shorter than
    accuracy asks for. `subjects` and `rtol` of each engine: how many it solves at once, and its relative tolerance; the
    absolute one is a hundredth of that, in the unit of each state.
    """

    name: str
    about: str
    reads: str
    into: str
    amount: float
    doses: np.ndarray
    times: np.ndarray
    stiff: bool
    subjects: Mapping[str, int]
    rtol: Mapping[str, float]
    covariates: Callable[[int, np.random.Generator], Mapping[str, np.ndarray]] = _alike

    @functools.cached_property
    def model(self) -> Model:
        return load(self.reads, ROOT if self.reads.endswith(".py") else None)

    def parameters(self, n: int, block: int = 0) -> Any:
        """Parameters of n subjects, (n,) each; the first of many are the same as few. Every block is other people."""
        effects = self.model.effects()
        z = np.random.default_rng([SEED, block]).standard_normal((n, len(effects))).T
        x = self.model.covariates(**self.covariates(n, np.random.default_rng([SEED, block, 1])))
        p = self.model.subject(self.model.typical(), dict(zip(effects, z, strict=True)), x)
        return type(p)(**{name: np.broadcast_to(np.asarray(v, float), n).copy() for name, v in vars(p).items()})

    def events(self, n: int) -> Events:
        return Events.of(n, time=self.doses, into=self.into, amount=self.amount)


# Twenty-eight days, once a day: the first day, every trough, and three days from the last dose on.
FIRST_DAY = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 10, 12, 16]
LAST_DAYS = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 47, 60, 72]
DAILY = 24.0 * np.arange(28)
DAILY_VISITS = np.array([*FIRST_DAY, *(DAILY[1:] - 0.5), *(DAILY[-1] + np.array(LAST_DAYS))])

# Seven days, every twelve hours.
FIRST_HOURS = [0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 11.5]
LAST_HOURS = [0.1, *np.arange(0.25, 1.75, 0.25), *np.arange(2, 8, 0.5), 8, 9, 10, 10.5, 11, 11.5, 12]
TWICE_DAILY = 12.0 * np.arange(14)
TWICE_DAILY_VISITS = np.array([*FIRST_HOURS, *(TWICE_DAILY[2:] - 0.5), *(TWICE_DAILY[-1] + np.array(LAST_HOURS))])

# Twelve weeks, every second week, seen weekly.
FORTNIGHTLY = 14.0 * np.arange(6)
WEEKLY_VISITS = 7.0 * np.arange(13)


def _of(values: str, kind: type = float) -> dict[str, Any]:
    return dict(zip(ENGINES, map(kind, values.split()), strict=True))


ACCURACY = 5e-6  # of every engine on every subject

# rtol: of 1e-4, 5e-5, 2e-5, 1e-5, ... the loosest with which an engine keeps to ACCURACY.
WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "W1", "two compartments, linear; 28 doses", "benchmarks/models/w1.py",
            into="po", amount=100.0, doses=DAILY, times=DAILY_VISITS, stiff=False,
            subjects=_of("100000 20000 512 16 2000", int), rtol=_of("1e-6 1e-6 2e-6 5e-7 2e-7"),
        ),
        Workload(
            "W2", "one compartment, saturable, indirect response; 28 doses", "benchmarks/models/w2.py",
            into="po", amount=100.0, doses=DAILY, times=DAILY_VISITS, stiff=False,
            subjects=_of("5000 5000 512 32 2000", int), rtol=_of("2e-6 2e-6 1e-6 5e-7 2e-7"),
        ),
        Workload(
            "W2S", "target-mediated disposition, stiff; 28 doses", "benchmarks/models/w2s.py",
            into="sc", amount=300.0, doses=DAILY, times=DAILY_VISITS, stiff=True,
            subjects=_of("5000 5000 64 16 500", int), rtol=_of("1e-6 1e-6 2e-7 5e-7 5e-7"),
        ),
        Workload(
            "W3", "twenty-state PBPK, stiff; 14 doses", "benchmarks/models/w3.py",
            into="po", amount=200.0, doses=TWICE_DAILY, times=TWICE_DAILY_VISITS, stiff=True,
            subjects=_of("2000 2000 64 16 200", int), rtol=_of("1e-5 1e-5 2e-6 1e-6 1e-6"),
        ),
        Workload(
            "evolocumab", "140 mg every two weeks, as in LAPLACE-TIMI 57; 6 doses", "evolocumab",
            into="sc", amount=140 / 141_800 * 1e6, doses=FORTNIGHTLY, times=WEEKLY_VISITS, stiff=False,
            subjects=_of("20000 20000 1024 64 5000", int), rtol=_of("2e-6 2e-6 2e-6 5e-7 5e-7"),
            covariates=_on_a_statin,
        ),
    )
}  # fmt: skip
