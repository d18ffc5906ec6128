"""Solving a model for many patients: the one door to solvers.

Tsit5 [1] with adaptive steps, between the times at which something happens. Patients go through in tiles of one
fixed width, the last one padded, so that a patient's bits do not depend on how many others there are.

References
----------
[1] Tsitouras 2011, Comput Math Appl 62:770, as implemented in diffrax.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from cohort.dosing import Events
from cohort.model import Model, Record

WIDTH = 128  # patients per tile; a result is bit-identical only at the same width, so it is part of the record
RTOL, ATOL = 1e-8, 1e-8
MAX_STEPS = 4096  # between two events
CODES = ("finished", "step limit", "not finite", "out of plausible range")


@dataclass(frozen=True)
class Status:
    """How each patient's solve ended: an index into CODES, and when it was first seen to have gone wrong."""

    code: np.ndarray  # (n,)
    time: np.ndarray  # (n,), NaN where finished


def tiled(f: Callable[..., Any], *arguments: Any, width: int = WIDTH) -> Any:
    """Apply `f`, jitted for tiles of `width`, to trees of arrays of (n, ...). Returns its tree of (n, ...), NumPy."""
    n = len(jax.tree.leaves(arguments)[0])
    pieces = []
    for start in range(0, n, width):
        rows = np.minimum(np.arange(start, start + width), n - 1)  # the padding repeats the last patient
        pieces.append(jax.device_get(f(*jax.tree.map(lambda a, rows=rows: np.asarray(a)[rows], arguments))))
    return jax.tree.map(lambda *a: np.concatenate(a)[:n], *pieces)


@functools.lru_cache(maxsize=64)
def _program(model: Model, routes: tuple[str, ...]) -> Callable[..., Any]:
    """One tile through one grid of times: observe, dose, integrate, and so on to the end."""
    term = diffrax.ODETerm(model.ode)  # type: ignore[arg-type]
    steps = diffrax.PIDController(rtol=RTOL, atol=ATOL)

    def dose(y: Any, p: Any, amounts: dict[str, Any]) -> Any:
        for name in routes:
            route = model.routes[name]
            arrives = getattr(p, route.bioavailability) if route.bioavailability else 1.0
            y = y.replace(**{route.state: getattr(y, route.state) + arrives * amounts[name]})
        return y

    def one(p: Any, amounts: dict[str, Any], grid: jax.Array) -> Any:
        def interval(y: Any, now: Any) -> Any:
            t0, t1, given = now
            seen = model.observe(t0, y, p)
            y = dose(y, p, given)
            solution = diffrax.diffeqsolve(
                term,
                diffrax.Tsit5(),
                t0,
                t1,
                (t1 - t0) / 16,
                y,
                p,
                stepsize_controller=steps,
                saveat=diffrax.SaveAt(t1=True),
                max_steps=MAX_STEPS,
                throw=False,
            )
            ended_well = solution.result == diffrax.RESULTS.successful
            return jax.tree.map(lambda a: a[-1], solution.ys), (as_floats(seen), ended_well)

        def as_floats(record: Any) -> Any:
            return jax.tree.map(lambda a: jnp.asarray(a, dtype=float), record)

        y0 = as_floats(model.initial(p))
        ends = (grid[:-1], grid[1:], {name: a[:-1] for name, a in amounts.items()})
        y, (seen, well) = jax.lax.scan(interval, y0, ends)
        last = as_floats(model.observe(grid[-1], y, p))
        return jax.tree.map(lambda a, b: jnp.append(a, b), seen, last), well

    return jax.jit(jax.vmap(one, in_axes=(0, 0, None)))


def solve(model: Model, p: Record, events: Events, times: Sequence[float] | np.ndarray) -> tuple[Any, Status]:
    """Solve for n patients.

    p: Parameters of (n,) arrays. times: (visits,) ascending from 0, in the model's unit of time.
    Returns Outputs of (n, visits) and a Status; a patient who failed has NaN at every visit. Doses at the time of a
    visit come after it.
    """
    at = np.asarray(times, dtype=float)
    grid = np.unique(np.concatenate([at, events.times[events.times < at[-1]]]))
    n = len(jax.tree.leaves(p)[0])
    amounts = {}
    for name, given in events.amounts.items():
        amounts[name] = np.zeros((n, len(grid)))
        kept = events.times < at[-1]
        amounts[name][:, np.searchsorted(grid, events.times[kept])] = given[:, kept]
    finite = np.all([np.isfinite(a) for a in jax.tree.leaves((p, amounts)) if np.ndim(a) == 1], axis=0)
    finite &= np.all([np.isfinite(a).all(axis=1) for a in amounts.values()] or [True], axis=0)
    # A patient who cannot be solved must not hold up the tile: one of the others stands in, and the result is dropped.
    stand_in = np.where(finite, np.arange(n), np.argmax(finite)) if finite.any() else None
    if stand_in is None:
        outputs = model.outputs(**{name: np.full((n, len(at)), np.nan) for name in model.outputs.fields()})
        return outputs, Status(np.full(n, CODES.index("not finite")), np.zeros(n))
    p, amounts = jax.tree.map(lambda a: np.asarray(a)[stand_in], (p, amounts))
    program = _program(model, tuple(amounts))
    seen, well = tiled(lambda p, a: program(p, a, grid), p, amounts)
    return _judge(model, jax.tree.map(lambda a: a[:, np.searchsorted(grid, at)], seen), well, finite, at, grid)


def _judge(model: Model, outputs: Any, well: np.ndarray, finite: np.ndarray, at: np.ndarray, grid: np.ndarray) -> Any:
    """Codes, the worst last: what did not finish, is not finite, or is finite nonsense is NaN with a reason."""
    code = np.zeros(len(finite), dtype=int)
    when = np.full(len(finite), np.nan)

    def mark(bad: np.ndarray, reason: str, clock: np.ndarray) -> None:
        hit = bad.any(axis=1) & (code == 0)
        code[hit], when[hit] = CODES.index(reason), clock[bad.argmax(axis=1)[hit]]

    mark(~finite[:, None], "not finite", at)
    mark(~well, "step limit", grid)
    for name, meta in model.outputs.fields().items():
        mark(~np.isfinite(getattr(outputs, name)), "not finite", at)
        low, high = meta["plausible"]
        mark((getattr(outputs, name) < low) | (getattr(outputs, name) > high), "out of plausible range", at)
    outputs = jax.tree.map(lambda a: np.where((code == 0)[:, None], a, np.nan), outputs)
    return outputs, Status(code, when)
