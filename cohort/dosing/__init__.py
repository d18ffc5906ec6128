"""Regimens to event records: when a dose is given, how much, and by which route."""

import numpy as np

from cohort.dosing.records import Events
from cohort.model import Model
from cohort.study import Arm


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


def events(arm: Arm, model: Model, n: int) -> Events:
    """The doses of n subjects of one arm, who all have the same."""
    given = times(arm, model.time)
    if arm.route is None or not len(given):
        return Events.none(n)
    return Events.of(n, time=given, into=arm.route, amount=amount(arm, model))
