"""Beats of a heart cell: pacing, and what is read off an action potential sampled each millisecond.

A beat starts with its stimulus, and its samples stand 1 ms apart from then to the start of the next, both included.
Definitions are those of the CiPA initiative, so that its numbers can be reproduced.

References
----------
[1] Dutta et al. 2017, Front Physiol 8:616, doi 10.3389/fphys.2017.00616: net charge; of the last 250 of 1000 beats the
    one whose potential rises fastest while it should fall counts.
[2] O'Hara et al. 2011, PLoS Comput Biol 7:e1002061: the stimulus, -80 uA/uF for 0.5 ms, carried by potassium.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl

from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.model import Model, Record

CYCLE = 2000.0  # ms
STIMULUS, LASTS = 40.0, 0.5  # mV in all, ms: 80 uA/uF [2]
LAST = 250  # beats among which the one that counts is looked for [1]
RETURNED = -40.0  # mV; a cell that ends its beat above has not repolarised
NUMERICS = Numerics(solver="stiff", rtol=1e-6, atol=1e-8)


def pacing(model: Model, beats: int, n: int, *, cycle: float = CYCLE) -> Events:
    """Events of n cells: so many stimuli, `cycle` ms apart, from time 0 on; each charges the membrane by 40 mV and
    brings the potassium that carries the charge into the cytosol. model: one with the routes of `models/cipa.py`."""
    p = model.parameters()
    potassium = STIMULUS * p.area * p.cm / p.faraday / p.v_myo  # mM
    return Events.of(
        n,
        into=["stimulus", "stimulus_potassium"],
        amount=[STIMULUS, potassium],
        duration=LASTS,
        interval=cycle,
        additional=beats - 1,
    )


def cells(model: Model, size: int, /, **values: Any) -> Any:
    """Parameters of `size` typical cells, but for `values`, single numbers or arrays of (size,). No covariate acts: a
    drug is given by its kinetics, half blocks and concentration. Errors: ValueError for what is no parameter."""
    fields = model.parameters.fields()
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no parameter of the model; it has {', '.join(fields)}")
    given = {name: model.typical()[name] for name in fields} | values
    return model.parameters(**{name: np.broadcast_to(np.asarray(value, float), size) for name, value in given.items()})


def pace(
    model: Model,
    p: Record,
    beats: int,
    observed: Sequence[int] = (),
    *,
    cycle: float = CYCLE,
    numerics: Numerics = NUMERICS,
    threads: int = 1,
) -> pl.DataFrame:
    """Pace cells and read off the beats `observed`, counted from 1; the last one if left out.

    p: parameters, arrays of (n,). Returns a row per cell and beat: cell, beat, code (of the solve), and `measures`,
    which are NaN of a cell that could not be solved.
    """
    observed = sorted(observed) or [beats]
    n, samples = len(next(iter(vars(p).values()))), round(cycle) + 1
    times = np.concatenate([(beat - 1) * cycle + np.arange(samples) for beat in observed])
    once, place = np.unique(times, return_inverse=True)  # the end of one beat is the start of the next
    out, status = solve(model, p, pacing(model, beats, n, cycle=cycle), once, numerics=numerics, threads=threads)
    shape = (n, len(observed), samples)
    read = measures(out.v[:, place].reshape(shape), out.qnet[:, place].reshape(shape))
    return pl.DataFrame(
        {
            "cell": np.repeat(np.arange(n), len(observed)),
            "beat": np.tile(observed, n),
            "code": np.repeat(status.code, len(observed)),
            **{name: value.reshape(-1) for name, value in read.items()},
        }
    )


def measures(v: np.ndarray, qnet: np.ndarray) -> dict[str, np.ndarray]:
    """What is read off beats. v, qnet: (..., samples), mV and nC/uF. Returns arrays of (...): qnet (uC/uF), apd50 and
    apd90 (ms), peak and rest (mV), slope (mV/ms), failed (0 or 1)."""
    read = {
        "qnet": net_charge(qnet),
        "apd50": duration(v, 0.5),
        "apd90": duration(v, 0.9),
        "peak": jnp.max(jnp.asarray(v), axis=-1),
        "rest": jnp.asarray(v)[..., 0],
        "slope": slope(v),
        "failed": failed(v),
    }
    return {name: np.asarray(value) for name, value in read.items()}


def counting(beats: pl.DataFrame) -> pl.DataFrame:
    """Of each cell's beats the one that counts: the steepest while it should fall, the first of equals [1]. Rows as of
    `pace`; pace so that they lie among the last 250."""
    steepest = pl.col("slope").fill_nan(None)
    ordered = beats.sort("cell", steepest, "beat", descending=[False, True, False], nulls_last=True)
    return ordered.unique("cell", keep="first", maintain_order=True)


def net_charge(qnet: Any) -> Any:
    """Charge of one beat in uC/uF, from what has flowed since the start, (..., samples) in nC/uF."""
    qnet = jnp.asarray(qnet)
    return (qnet[..., -1] - qnet[..., 0]) / 1000


def duration(v: Any, share: float) -> Any:
    """From the steepest upstroke to the first sample after the peak by which `share` of the amplitude is gone, in ms;
    NaN where the beat ends before. v: (..., samples)."""
    v = jnp.asarray(v)
    up = jnp.argmax(jnp.diff(v, axis=-1), axis=-1)
    first, there = _falls(v, share)
    return jnp.where(there, first - up, jnp.nan)


def slope(v: Any) -> Any:
    """Steepest rise after 30 % repolarisation and before 90 %, or the end of a beat that does not get there, in mV/ms
    [1]; below 0 where the potential falls all along. v: (..., samples)."""
    v = jnp.asarray(v)
    begin, there = _falls(v, 0.3)
    end, returned = _falls(v, 0.9)
    rate = (v[..., 2:] - v[..., :-2]) / 2  # at samples 1, 2, ...: within 1e-4 of the derivative there
    sample = jnp.arange(1, v.shape[-1] - 1)
    inside = (sample > begin[..., None]) & ((sample < end[..., None]) | ~returned[..., None])
    steepest = jnp.max(jnp.where(inside, rate, -jnp.inf), axis=-1)
    return jnp.where(there & jnp.isfinite(steepest), steepest, jnp.nan)


def failed(v: Any) -> Any:
    """1 where the beat ends above -40 mV, or the potential rises before 90 % of the amplitude is gone (an early
    afterdepolarisation); NaN where a sample is missing. v: (..., samples)."""
    v = jnp.asarray(v)
    fails = (v[..., -1] > RETURNED) | (slope(v) > 0)
    return jnp.where(jnp.isnan(v).any(axis=-1), jnp.nan, fails)


def _falls(v: Any, share: float) -> tuple[Any, Any]:
    """The first sample after the peak with `share` of the amplitude gone, and whether there is one."""
    peak, rest = jnp.max(v, axis=-1), v[..., 0]
    low = v <= (peak - share * (peak - rest))[..., None]
    low = low & (jnp.arange(v.shape[-1]) > jnp.argmax(v, axis=-1)[..., None])
    return jnp.argmax(low, axis=-1), low.any(axis=-1)
