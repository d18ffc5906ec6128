"""Regimens to events: when a dose is given, how much, and by which route."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cohort.model import Model
from cohort.study import Arm


@dataclass(frozen=True)
class Events:
    """Doses of n subjects on common times. A dose at the time of an observation comes after it: a trough."""

    times: np.ndarray  # (events,), in the model's unit of time
    amounts: dict[str, np.ndarray]  # per route, (n, events), in the unit of the state it enters

    def __len__(self) -> int:
        return len(self.times)


def amount(arm: Arm, model: Model) -> float:
    """One dose in the unit of the state it enters: nmol where the route has a molar mass, mg otherwise."""
    if arm.dose is None or arm.route is None:
        return 0.0
    molar_mass = model.routes[arm.route].molar_mass
    return arm.dose.to("mg") if molar_mass is None else arm.dose.to("g") / molar_mass * 1e9


def times(arm: Arm, unit: str) -> np.ndarray:
    """When the arm is dosed: from 0, `every` so often, before the end of `for`."""
    if arm.dose is None or arm.every is None or arm.duration is None:
        return np.empty(0)
    every, until = arm.every.to(unit), arm.duration.to(unit)
    return every * np.arange(int(np.ceil(until / every - 1e-9)))


def events(arm: Arm, model: Model, n: int, routes: Iterable[str]) -> Events:
    """The doses of n subjects of one arm. `routes`: those the study uses, so that all its arms are one program."""
    given = times(arm, model.time)
    amounts = {route: np.zeros((n, len(given))) for route in routes}
    if arm.route is not None:
        amounts[arm.route][:] = amount(arm, model)
    return Events(given, amounts)
