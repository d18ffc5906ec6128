"""Regimens to event records: when a dose is given, how much, and by which route; and when the arm's rule decides."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from cohort.dosing.adherence import Adherence, adhere
from cohort.dosing.records import Events
from cohort.model import Model
from cohort.study import Arm, Regimen, is_mass


def amount(regimen: Regimen, model: Model) -> float:
    """One dose in the unit of the state it enters; a mass by a route with a molar mass in nmol."""
    route = model.routes[regimen.route]
    if route.molar_mass is not None and is_mass(regimen.dose):
        return regimen.dose.to("g") / route.molar_mass * 1e9
    return regimen.dose.to(model.state.fields()[route.state]["unit"])


def times(regimen: Regimen, unit: str) -> np.ndarray:
    """When it is dosed: from `start`, `every` so often, before the end of `for`."""
    every, until = regimen.every.to(unit), regimen.duration.to(unit)
    start = regimen.start.to(unit) if regimen.start else 0.0
    return start + every * np.arange(int(np.ceil(until / every - 1e-9)))


def events(arm: Arm, model: Model, subjects: Sequence[str], seed: int, until: float) -> Events:
    """The event records of an arm's subjects, in the model's unit of time, as far as `until`.

    All have the same, unless they take their doses themselves: what they make of them is drawn from each one's own
    stream. A rule decides before a dose at its time.
    """
    n, rows = len(subjects), []
    if arm.rule is not None:
        rows.append(Events.of(n, action="decide", time=arm.rule.times(model.time, until)).rows)
    for regimen in arm.regimens:
        dose = amount(regimen, model)
        over = regimen.over.to(model.time) if regimen.over else 0.0
        rows.append(Events.of(n, time=times(regimen, model.time), into=regimen.route, amount=dose, duration=over).rows)
    table = pl.concat([Events.none(n).rows, *rows])
    moment = pl.col("time").round(9)  # 3 * 0.1 is no later than 0.3
    table = table.with_columns(pl.col("time").first().over(moment)).sort("time", maintain_order=True)
    ordered = Events(np.zeros(n, dtype=np.int64), table)
    if (plan := arm.adherence) is None:
        return ordered
    taken = Adherence(
        missed=plan.missed,
        spread=plan.spread,
        runs=plan.runs,
        doubled=plan.doubled,
        late=plan.late.to(model.time) if plan.late else 0.0,
        stops=math.log(2) / plan.half_stop_within.to(model.time) if plan.half_stop_within else 0.0,
    )
    return adhere(ordered, subjects, seed, taken, plan.routes)
