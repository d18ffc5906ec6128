"""Operating characteristics over drift: how a design that borrows does when the true control is not what was borrowed.

Drift is the true control less the centre of the prior evidence. Either the truth moves, and designs are given as they
are; or the evidence does and the truth stays, and designs are given as a function of the drift. The second shows a
design that borrows nothing exactly alike at every drift.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.decision import DecisionError, exact
from cohort.decision.design import Design, boundary, in_range, require_designs
from cohort.decision.exact import MEASURES, Characteristics
from cohort.mixture import NormalMixture

Designs = Sequence[Design] | Callable[[float], Sequence[Design]]
Measure = Callable[[Sequence[Design], np.ndarray, np.ndarray], Sequence[Characteristics]]
GRID = 401  # drifts at which a supremum is sought before it is refined, over the range
LOCAL = 61  # the same within six SDs of a normal component, about it


@dataclass(frozen=True)
class Safety:
    """A binary safety endpoint beside: the design with its criteria of risk, the true rates where there is harm, and
    the correlation of a subject's outcome with the latent normal of the event (simulated trials only)."""

    design: Design
    treatment: float
    control: float
    correlation: float = 0.0

    def __post_init__(self) -> None:
        wrong = (
            [] if self.design.family == "beta" and self.design.control else ["safety: write two arms of beta priors"]
        )
        for name, rate in (("treatment", self.treatment), ("control", self.control)):
            if not 0 <= rate <= 1:
                wrong.append(f"safety: the rate of {name} is {rate}; write a probability")
        if not -1 < self.correlation < 1:
            wrong.append(f"safety: correlation is {self.correlation}; write a number between -1 and 1")
        if wrong:
            raise DecisionError("\n".join(wrong))

    def passed(self) -> float:
        """How often the criteria of risk are met although the harm is there."""
        return float(exact.rate(self.design, np.array([self.treatment]), np.array([self.control]))[0])


def _exactly(level: float | None) -> Measure:
    return lambda designs, treatment, control: [
        exact.characteristics(d, treatment, control, level=level) for d in designs
    ]


def table(
    designs: Designs,
    *,
    centre: float,
    drifts: Sequence[float] | np.ndarray,
    effects: Sequence[float] | None = None,
    null: float | None = None,
    level: float | None = 0.95,
    worst_within: tuple[float, float] | None = None,
    safety: Safety | None = None,
    measure: Measure | None = None,
) -> pl.DataFrame:
    """One row per design, effect and drift: every measure of MEASURES with its Monte Carlo standard error.

    The rate is the type I error where the true effect is the null, and power elsewhere (`kind`). null: the threshold of
    each design's first criterion if None. effects: true ones; the nulls if None. worst_within: adds the
    drift of the range at which the type I error is largest, as a row that says `worst`. safety: adds `go_with_harm`,
    the probability of a positive decision although harm is present, both endpoints independent; simulated measures have
    it of their own safety, with a correlation.
    measure: in place of the exact characteristics, such as simulated ones. level: of the equal-tailed interval; None
    leaves it out. Errors: DecisionError of truths that the outcome cannot have."""
    drifts = np.atleast_1d(np.asarray(drifts, float))
    given = [centre, null or 0.0, *(() if effects is None else effects)]
    if not (
        np.isfinite(drifts).all() and np.isfinite(given).all() and len(drifts) and (effects is None or len(effects))
    ):
        raise DecisionError("centre, null, drifts and effects must be finite, one drift and one effect at least")
    if safety is not None and (measure is not None or safety.correlation):
        raise DecisionError("safety: the exact table takes endpoints as independent; give it to simulate.measure")
    find = measure or _exactly(level)
    simulated = measure is not None
    nulls = {d.name: boundary(d) if null is None else float(null) for d in _at(designs, 0.0)}
    effects = list(dict.fromkeys(nulls.values())) if effects is None else effects
    rows: list[dict[str, object]] = []
    for effect in effects:
        rows += _rows(designs, centre, drifts, float(effect), find, nulls, worst=False)
    if worst_within is not None:
        for design in _at(designs, 0.0):
            own, one = nulls[design.name], _one(designs, design.name)
            at, _ = worst(one, centre=centre, within=worst_within, null=own)
            for effect in dict.fromkeys([own, *effects]):
                rows += _rows(one, centre, np.array([at]), effect, find, nulls, worst=True)
    passed = None if safety is None else safety.passed()
    found = pl.DataFrame(rows).with_columns(method=pl.lit("simulated" if simulated else "exact"))
    if passed is None:
        return found
    return found.with_columns(go_with_harm=pl.col("rate") * passed, go_with_harm_mcse=pl.col("rate_mcse") * passed)


def _at(designs: Designs, drift: float) -> Sequence[Design]:
    made = designs(drift) if callable(designs) else designs
    require_designs(made, arms=2)
    return made


def _one(designs: Designs, name: str) -> Designs:
    """The one design of this name, fixed or as a function of the drift."""
    if callable(designs):
        return lambda drift: [d for d in designs(drift) if d.name == name]
    return [d for d in designs if d.name == name]


def _rows(
    designs: Designs,
    centre: float,
    drifts: np.ndarray,
    effect: float,
    find: Measure,
    nulls: Mapping[str, float],
    *,
    worst: bool,
) -> list[dict[str, object]]:
    blocks = (
        [(drifts, _at(designs, 0.0))]
        if not callable(designs)
        else [(drifts[[i]], _at(designs, d)) for i, d in enumerate(drifts)]
    )
    rows = []
    for some, made in blocks:
        control = np.full(len(some), centre) if callable(designs) else centre + some
        treated = in_range(made[0], control + effect)
        for design, c in zip(made, find(made, treated, control), strict=True):
            for i, drift in enumerate(some):
                row: dict[str, object] = {"design": design.name, "effect": effect, "drift": float(drift)}
                row |= {"control": float(control[i]), "treatment": float(treated[i])}
                for name in (*MEASURES, "go_with_harm"):
                    if name in c.value:
                        row |= {name: float(c.value[name][i]), f"{name}_mcse": float(c.mcse[name][i])}
                at_null = math.isclose(effect, nulls[design.name], rel_tol=1e-9, abs_tol=1e-12)
                rows.append(row | {"worst": worst, "kind": "type I" if at_null else "power"})
    return rows


def worst(
    designs: Designs, *, centre: float, within: tuple[float, float], null: float | None = None
) -> tuple[float, float]:
    """The drift of a range at which the first design's type I error is largest, and that error; exact. null: the true
    effect; the threshold of that design's first criterion if None."""
    first = _at(designs, 0.0)[0]
    effect = boundary(first) if null is None else null

    def type_1(drift: np.ndarray) -> np.ndarray:
        if not callable(designs):
            return exact.rate(first, in_range(first, centre + drift + effect), centre + drift)
        at = np.array([centre])
        return np.array([exact.rate(_at(designs, float(d))[0], at + effect, at)[0] for d in drift])

    return supremum(type_1, grid(first, centre, within))


def grid(design: Design, centre: float, within: tuple[float, float]) -> np.ndarray:
    """Drifts that resolve where a type I error can rise, (q,): over the range, and about each normal component at its
    own scale. Errors: DecisionError of an empty range."""
    low, high = within
    if not (np.isfinite([low, high]).all() and low <= high):
        raise DecisionError(f"drift range ({low}, {high}): write the lower end first, both finite")
    if design.control is None or not isinstance(design.control.prior, NormalMixture):
        return np.unique(np.linspace(low, high, GRID))
    prior, se = design.control.prior, design.standard_error(design.control)
    parts = [np.linspace(low, high, LOCAL)]
    for mean, sd in zip(prior.component_mean, prior.component_sd, strict=True):
        reach = 6 * np.hypot(sd, se)
        parts.append(np.linspace(mean - centre - reach, mean - centre + reach, LOCAL))
    return np.unique(np.clip(np.concatenate(parts), low, high))


def supremum(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> tuple[float, float]:
    """Where a function is largest, and how large: on a grid x (q,), then twice on a finer one between the neighbours of
    the best."""
    at, best = float(x[0]), -np.inf
    for _ in range(3):
        y = f(x)
        i = int(np.argmax(y))
        if y[i] > best:
            at, best = float(x[i]), float(y[i])
        x = np.unique(np.linspace(x[max(i - 1, 0)], x[min(i + 1, len(x) - 1)], 21))
    return at, best
