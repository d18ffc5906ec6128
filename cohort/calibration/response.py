"""The calibration endpoint as a differentiable function of the calibrated parameters.

What does not depend on them (concentrations) is solved once, through the engine, for a fixed set of quasi-random
patients. What does is integrated on a fixed grid: each state must be linear in itself, y' = a(t) y + b(t), so that
with a and b held at the middle of each cell a step is exact and whole intervals are one sum (the exponential
midpoint rule, second order [1]).

References
----------
[1] Hochbruck & Ostermann 2010, Acta Numerica 19:209, section 2.
[2] Sobol' 1967, USSR Comput Math Math Phys 7:86, scrambled; as implemented in scipy.stats.qmc.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from scipy.special import ndtri

from cohort.dosing import events
from cohort.engine import solve
from cohort.enrolment import covariates_of, settings
from cohort.model import Model
from cohort.simulation import numerics
from cohort.study import Arm, Study
from cohort.trace import dependencies
from cohort.units import Quantity


class CalibrationError(RuntimeError):
    """A calibration that cannot be done, or whose posterior may not be used; the message says why."""


def representative(
    model: Model, people: pl.DataFrame, n: int, seed: int, sets: Mapping[str, Quantity | str] = MappingProxyType({})
) -> tuple[Any, dict[str, np.ndarray]]:
    """n quasi-random patients [2]: covariates of real rows of `people`, evenly along their main axis of variation, and
    standard normals per random effect. sets: stands in for covariates that people lack. Returns Covariates of (n,) and
    effects of (n,)."""
    from scipy.stats import qmc

    columns = vars(covariates_of(model, people, sets))
    table = np.stack(list(columns.values()), axis=1).astype(float)
    spread = table.std(axis=0)
    scaled = (table - table.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    axis = np.linalg.svd(scaled, full_matrices=False)[2][0]
    axis *= np.sign(axis[np.argmax(np.abs(axis))])
    along = np.argsort(scaled @ axis, kind="stable")
    points = qmc.Sobol(1 + len(model.effects()), rng=np.random.default_rng(seed)).random(n)
    rows = along[np.minimum((points[:, 0] * len(along)).astype(int), len(along) - 1)]
    x = model.covariates(**{name: column[rows] for name, column in columns.items()})
    return x, {name: ndtri(points[:, k]) for k, name in enumerate(model.effects(), 1)}


def drivers_and_responses(model: Model, calibrated: set[str]) -> tuple[list[str], list[str]]:
    """States that no calibrated value touches, and states that some do. Errors: CalibrationError if a response is not
    linear in itself or needs another response."""
    states, effects = list(model.state.fields()), model.effects()
    values = model.typical()
    covariates = {f"x.{n}": 1.0 for n in model.covariates.fields()}

    def derivative(v: Mapping[str, Any]) -> Any:
        x = model.covariates(
            **{n: v[f"x.{n}"].astype(int) if m["levels"] else v[f"x.{n}"] for n, m in model.covariates.fields().items()}
        )
        p = model.subject({n: v[f"v.{n}"] for n in values}, {e: v[f"z.{e}"] for e in effects}, x)
        return model.ode(v["t"], model.state(**{s: v[f"y.{s}"] for s in states}), p)

    names = ["t", *(f"v.{n}" for n in values), *(f"z.{e}" for e in effects), *covariates, *(f"y.{s}" for s in states)]
    needs = dependencies(derivative, names)
    touched = {f"v.{name}" for name in calibrated}
    responses: set[str] = set()
    while True:
        reached = {s for s in states if needs[s] & (touched | {f"y.{r}" for r in responses})}
        if reached == responses:
            break
        responses = reached
    for s in sorted(responses):

        def slope(v: Mapping[str, Any], s: str = s) -> Any:
            return {s: jax.grad(lambda own: getattr(derivative({**v, f"y.{s}": own}), s))(v[f"y.{s}"])}

        others = {f"y.{r}" for r in responses - {s}}
        if f"y.{s}" in dependencies(slope, names)[s] or needs[s] & others:
            raise CalibrationError(
                f"the state {s!r} depends on calibrated parameters and is not linear in itself alone; "
                "this calibration integrates states of the form y' = a(t) y + b(t) only"
            )
    return [s for s in states if s not in responses], [s for s in states if s in responses]


def slopes(model: Model, endpoint: str, visits: int) -> dict[str, np.ndarray]:
    """By output, whether the endpoint moves with its value at each of so many visits, at some generic course."""
    generic = 1.0 + np.random.default_rng(0).random((len(model.outputs.fields()), visits))
    with jax.ensure_compile_time_eval():  # an answer about the model, also where a likelihood is being traced
        course = model.outputs(**dict(zip(model.outputs.fields(), jnp.asarray(generic), strict=True)))
        found = jax.grad(lambda out: jnp.asarray(model.endpoints[endpoint].reads(out), float))(course)
    return {name: np.asarray(getattr(found, name)) != 0 for name in model.outputs.fields()}


def response(study: Study, people: pl.DataFrame, model: Model, subjects: int, step: float) -> Callable[..., Any]:
    """Returns f(values) -> the true endpoint of (arms, subjects), in the order of the study's arms, differentiable in
    `values`: the model's typical values, those with a prior replaced."""
    plan = study.calibration
    assert plan is not None
    calibrated = {name for name in plan.priors if name in model.typical()}
    drivers, responses = drivers_and_responses(model, calibrated)
    lacking = {n: v for arm in study.arms.values() for n, v in arm.sets.items() if n not in people.columns}
    x, z = representative(model, people, subjects, study.seed, lacking)
    read = model.endpoints[plan.endpoint].reads
    planned = np.array([visit.to(model.time) for visit in study.visits])
    visits = planned[np.any(list(slopes(model, plan.endpoint, len(planned)).values()), axis=0)]  # those that count
    # What the last visit reads has forgotten most of what came long before: cells widen by √2 per interval backwards.
    widths = step * np.sqrt(2.0) ** np.arange(len(planned) - 1)[::-1]
    edges = [
        np.linspace(a, b, max(1, math.ceil((b - a) / w - 1e-9)), endpoint=False)
        for (a, b), w in zip(itertools.pairwise(planned), widths, strict=True)
    ]
    edge = np.append(np.concatenate(edges), planned[-1])
    edge = edge[(edge >= visits[0]) & (edge <= visits[-1])]
    lengths, middles = np.diff(edge), (edge[:-1] + edge[1:]) / 2
    starts = np.searchsorted(edge, visits)
    regimens = {str(arm.treatment): name for name, arm in reversed(study.arms.items())}
    distinct = {name: study.arms[name] for name in sorted(regimens.values())}  # two placebo arms are one course
    of_arm = [list(distinct).index(regimens[str(arm.treatment)]) for arm in study.arms.values()]
    several = any(arm.sets for arm in distinct.values())  # else all arms share their patients' parameters
    x_of = {
        name: x.replace(**{n: np.full(subjects, value) for n, value in settings(model, arm.sets).items()})
        for name, arm in distinct.items()
    }
    course = _courses(study, model, distinct, x_of, z, np.concatenate([visits, middles]), drivers)
    at_visits = {s: c[:, :, : len(visits)] for s, c in course.items()}
    at_middles = {s: jnp.asarray(c[:, :, len(visits) :]) for s, c in course.items()}

    def rates(t: Any, driven: Mapping[str, Any], p: Any) -> Any:
        """a and b of each response, at one time of one patient."""

        def right(own: Mapping[str, Any]) -> dict[str, Any]:
            made = model.ode(t, model.state(**driven, **own), p)
            return {s: getattr(made, s) for s in responses}

        nothing, one = ({s: value for s in responses} for value in (jnp.zeros(()), jnp.ones(())))
        return jax.jvp(right, (nothing,), (one,))

    over_cells = jax.vmap(rates, in_axes=(0, 0, None))
    over_patients = jax.vmap(over_cells, in_axes=(None, 0, 0))
    over_arms = jax.vmap(over_patients, in_axes=(None, 0, 0 if several else None))
    if several:
        x = jax.tree.map(lambda *arms: np.stack(arms), *x_of.values())
    shape = (len(distinct), subjects) if several else (subjects,)

    def endpoint(values: Mapping[str, Any]) -> Any:
        p = jax.tree.map(lambda a: jnp.broadcast_to(jnp.asarray(a, float), shape), model.subject(values, z, x))
        b, a = over_arms(jnp.asarray(middles), at_middles, p)
        y0 = model.initial(p)
        states = {s: jnp.asarray(c) for s, c in at_visits.items()}
        for s in responses:
            first = jnp.broadcast_to(getattr(y0, s), a[s].shape[:2])
            states[s] = _integrated(first, a[s] * lengths, b[s] * lengths, starts)
        seen = jax.vmap(model.observe, in_axes=(0, 2, None), out_axes=2)(
            jnp.asarray(visits), model.state(**states), p if several else jax.tree.map(lambda v: v[None, :], p)
        )
        return read(seen)[np.array(of_arm)]

    return endpoint


def _integrated(first: Any, growth: Any, source: Any, starts: np.ndarray) -> Any:
    """y at each visit. first: (arms, subjects); growth = a dt and source = b dt: (arms, subjects, cells)."""
    y, courses = first, [first]
    small = jnp.abs(growth) < 1e-6
    per_growth = source / jnp.where(small, 1.0, growth)
    for begin, end in itertools.pairwise(starts):
        # E[m]: what of y at the start of cell m is left at the visit, by growth alone; 1 at the end of the last cell.
        left = jnp.exp(jnp.cumsum(growth[..., begin:end][..., ::-1], axis=-1)[..., ::-1])
        after = jnp.concatenate([left[..., 1:], jnp.ones_like(left[..., :1])], axis=-1)
        added = jnp.where(
            small[..., begin:end], source[..., begin:end] * after, per_growth[..., begin:end] * (left - after)
        )
        y = y * left[..., 0] + jnp.sum(added, axis=-1)
        courses.append(y)
    return jnp.stack(courses, axis=-1)


def _courses(
    study: Study,
    model: Model,
    arms: Mapping[str, Arm],
    x: Mapping[str, Any],
    z: Any,
    times: np.ndarray,
    drivers: list[str],
) -> dict[str, np.ndarray]:
    """The driving states of every arm, (arms, subjects, times), at the model's own typical values. x: by arm."""
    n = len(next(iter(z.values())))
    alone = model.replace(outputs=model.state, observe=lambda t, y, p: y, endpoints={})
    order = np.unique(times)
    who = [str(i) for i in range(n)]
    courses: dict[str, list[np.ndarray]] = {s: [] for s in drivers}
    for name, arm in arms.items():
        if arm.rule is not None:
            raise CalibrationError(
                f"arm {name}: doses set by a rule depend on what is calibrated; leave its evidence out"
            )
        own = model.subject(model.typical(), z, x[name])
        p = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a, float), (n,)), own)
        seen, status = solve(alone, p, events(arm, model, who, study.seed, order[-1]), order, numerics=numerics(study))
        if status.code.any():
            raise CalibrationError(f"arm {name}: {int((status.code > 0).sum())} of {n} patients could not be solved")
        for s in drivers:
            courses[s].append(getattr(seen, s)[:, np.searchsorted(order, times)])
    return {s: np.stack(c) for s, c in courses.items()}
