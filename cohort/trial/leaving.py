"""What takes patients off the planned course: adverse events, hazards that depend on the course, rescue medication."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from scipy.special import expit

from cohort.model import Model
from cohort.streams import Streams
from cohort.study import Regimen, Study
from cohort.study.protocol import Leaving, Rescue
from cohort.trial import hazards
from cohort.trial.allocation import TrialError
from cohort.trial.visits import World, last_seen, so_far, unit_of

HAZARD = "hazard"  # the reason of whoever leaves by the hazard itself; else it is the adverse event that led to it


def risk(study: Study, arm: str, values: pl.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each adverse event that the parameters know, the hazards per day without drug and on the arm's treatment.

    The log-odds `<event>.background` and `.drug` are of a share of patients by the last visit, all on treatment until
    then; the hazard that gives it is constant.
    """
    days = study.visits[-1].to("d")
    made = {}
    for name, plan in study.endpoints.items():
        if plan.kind != "event" or f"{name}.background" not in values.columns:
            continue
        background = values[f"{name}.background"].to_numpy()
        drug = values[f"{name}.drug"].to_numpy() if study.arms[arm].active else np.zeros(len(background))
        made[name] = tuple(-np.log1p(-expit(logit)) / days for logit in (background, background + drug))
    return made


def leaving(
    study: Study,
    model: Model,
    arm: str,
    plan: Leaving,
    own: Streams,
    world: World,
    at: np.ndarray,
    attended: np.ndarray,
    events: Mapping[str, np.ndarray],
    stop: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """When each patient leaves, and why: the hazard, or an adverse event's name. stop: (n,) when treatment stopped.

    Measured values hold until the next visit that takes place; true ones run in a line from visit to visit. The dose is
    the sum over the arm's regimens, each from its start until the end of `for`, as planned; none after the stop.
    """
    n = len(at)
    plans = study.arms[arm].regimens
    given = study.dose_unit or ""  # a study whose doses have none depends on no dose
    changes = _changes(plans, at.max()) if any(term.on == "dose" for term in plan.depends) else np.empty(0)
    cuts = np.concatenate([stop[:, None], np.tile(changes, (n, 1))], axis=1)
    cut = np.sort(np.clip(cuts[:, None, :], at[:, :-1, None], at[:, 1:, None]), axis=2)  # (n, visits - 1, cuts)
    edges = np.concatenate([at[:, :-1, None], cut], axis=2).reshape(n, -1)
    edges = np.concatenate([edges, at[:, -1:]], axis=1)
    left, right = np.zeros((n, edges.shape[1] - 1)), np.zeros((n, edges.shape[1] - 1))
    for term in plan.depends:
        unit = given if term.on == "dose" else unit_of(model, term.on)
        slope = term.log_hazard / term.per.to(unit)
        if term.on == "dose":
            start = finish = np.where(edges[:, :-1] < stop[:, None], _being_given(plans, edges[:, :-1], given), 0.0)
        elif term.value == "measured":
            seen = so_far(model, term.on, {k: last_seen(v, attended) for k, v in world.measured.items()})
            start = finish = np.repeat(seen[:, :-1], cut.shape[2] + 1, axis=1)
        else:
            true = so_far(model, term.on, world.true)
            share = (cut - at[:, :-1, None]) / np.diff(at, axis=1)[:, :, None]
            middle = true[:, :-1, None] + share * np.diff(true, axis=1)[:, :, None]
            start = np.concatenate([true[:, :-1, None], middle], axis=2).reshape(n, -1)
            finish = np.concatenate([middle, true[:, 1:, None]], axis=2).reshape(n, -1)
        reference = term.reference.to(unit)
        left = left + np.nan_to_num(slope * (start - reference))
        right = right + np.nan_to_num(slope * (finish - reference))
    base = np.full(n, hazards.constant(plan.share, study.visits[-1].to("d")))
    times = hazards.passage(edges, left, right, base, -np.log(own.uniform("time")[:, 0]))
    why = np.where(np.isfinite(times), HAZARD, "").astype(object)
    for name, share in sorted(plan.after.items()):
        if name not in events:
            raise TrialError(
                f"{study.path}: conduct: {name} leads to leaving, but the parameters have no {name}.background; "
                "give it a prior, or leave it out of `after`"
            )
        led = (own.uniform(f"after {name}")[:, 0] < share) & (events[name] < times)
        times, why = np.where(led, events[name], times), np.where(led, name, why)
    return times, why


def _spans(regimens: Sequence[Regimen]) -> list[tuple[float, float]]:
    """Start and end in days of each regimen."""
    starts = [r.start.to("d") if r.start else 0.0 for r in regimens]
    return [(a, a + r.duration.to("d")) for a, r in zip(starts, regimens, strict=True)]


def _changes(regimens: Sequence[Regimen], end: float) -> np.ndarray:
    """When within the trial the dose that is being given changes, in days."""
    return np.array(sorted({day for span in _spans(regimens) for day in span if 0 < day < end}))


def _being_given(regimens: Sequence[Regimen], at: np.ndarray, unit: str) -> np.ndarray:
    """The dose being given at each time, in this unit."""
    given = zip(regimens, _spans(regimens), strict=True)
    return sum((np.where((a <= at) & (at < b), r.dose.to(unit), 0.0) for r, (a, b) in given), np.zeros(at.shape))


def rescued(
    plan: Rescue, model: Model, seen: Mapping[str, np.ndarray], at: np.ndarray, attended: np.ndarray
) -> np.ndarray:
    """The visit's time from which each patient has rescue medication, (n,), infinite for who never has."""
    kept = {name: last_seen(a, attended) for name, a in seen.items()}
    column = so_far(model, plan.when.column, kept)
    met = plan.when.keeps(column.reshape(-1), unit_of(model, plan.when.column)).reshape(column.shape)
    met &= ~np.isnan(column) & attended
    met &= at >= (plan.since.to("d") if plan.since else 0.0)
    met[:, 0] = False  # the first visit is before treatment
    return np.where(met.any(axis=1), at[np.arange(len(at)), met.argmax(axis=1)], math.inf)


def relieved(
    plan: Rescue, model: Model, true: Mapping[str, np.ndarray], at: np.ndarray, when: np.ndarray
) -> dict[str, np.ndarray]:
    """The course with the effect of rescue on its output, and on nothing else."""
    since = np.where(at > when[:, None], at - np.where(np.isfinite(when), when, 0.0)[:, None], 0.0)
    on = (since > 0).astype(float)
    if plan.half_time is not None:
        on = -np.expm1(-math.log(2) * since / plan.half_time.to("d"))
    before = true[plan.output]
    unit = model.outputs.fields()[plan.output]["unit"]
    if plan.effect.unit == "percent" and unit != "percent":
        after = before * (1 + plan.effect.value / 100 * on)
    else:
        after = before + plan.effect.to(unit) * on
    return {**true, plan.output: after}
