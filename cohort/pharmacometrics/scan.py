"""Parameter scans: the same subject again and again, with other parameters, covariates or doses."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import polars as pl

from cohort.dosing.records import Events
from cohort.engine import CODES, Numerics, differentiable, solve
from cohort.model import Model, Record

type Design = Literal["factorial", "one at a time"]


def scan(
    model: Model,
    events: Events | Mapping[str, Events],
    times: Sequence[float] | np.ndarray,
    over: Mapping[str, Sequence[Any]],
    *,
    x: Record | None = None,
    design: Design = "factorial",
    numerics: Numerics = Numerics(),  # noqa: B008
    threads: int = 1,
) -> pl.DataFrame:
    """A typical subject's course at every combination of values, or with one of them changed at a time.

    events: of one subject, or several regimens by name. times: (visits,) in the model's unit, ascending. over: values
    by parameter (typical ones, before covariates, as `model.typical()` lists them) or by covariate (a category by its
    level). x: the covariates, single values; may be left out if all are scanned. numerics, threads: as of
    `engine.solve`.

    Returns a row per point and time: `point`, counted from 0; `regimen`, if they have names; `varied`, one at a time,
    the name of what differs from the typical subject, empty for that subject itself; the scanned values; `time`; the
    outputs in their units; and `status`, one of `engine.CODES`. Outputs of a solve that failed are missing.

    Errors: ValueError naming all that cannot be.
    """
    regimens = dict(events) if isinstance(events, Mapping) else {"": events}
    _check(model, regimens, over, x, design)
    if design == "factorial":
        points = [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
        varied = []
    else:
        own = model.typical() | (vars(x) if x is not None else {})
        start = {name: _level(model, name, own[name]) for name in over}
        changes = [(name, value) for name, values in over.items() for value in values]
        points = [start, *(start | {name: value} for name, value in changes)]
        varied = ["", *(name for name, _ in changes)]
    each, n = len(points), len(points) * len(regimens)
    table: dict[str, Any] = {"point": np.arange(n)}
    if isinstance(events, Mapping):
        table["regimen"] = [name for name in regimens for _ in range(each)]
    if varied:
        table["varied"] = varied * len(regimens)
    table |= {name: [point[name] for point in points] * len(regimens) for name in over}

    values = {name: np.array([_number(model, name, v) for v in table[name]]) for name in over}
    at = np.asarray(times, dtype=float)
    outputs, status = solve(
        model,
        subjects(model, values, x),
        _followed(list(regimens.values()), each),
        at,
        numerics=numerics,
        threads=threads,
    )
    table["status"] = [CODES[code] for code in status.code]
    courses = {name: pl.Series(np.asarray(a).ravel()).fill_nan(None) for name, a in vars(outputs).items()}
    rows = pl.DataFrame(table)[np.repeat(np.arange(n), len(at))]
    rows = rows.with_columns(time=pl.Series(np.tile(at, n)), **courses)
    return rows.select(pl.exclude("status"), "status")


def response(
    model: Model,
    events: Events,
    times: Sequence[float] | np.ndarray,
    reads: Callable[[Any], Any],
    *,
    x: Record | None = None,
    numerics: Numerics = Numerics(),  # noqa: B008
    threads: int = 1,
    smooth: bool = False,
) -> Callable[[Mapping[str, Any]], Any]:
    """What a typical subject's course amounts to, as a function of some of the parameters: what `sobol` takes and,
    if `smooth`, one that JAX can differentiate, which `dgsm` takes.

    events, times, x, numerics, threads: as of `scan`. reads: from Outputs of (n, visits) to (n,), such as an endpoint's
    `reads`, or to several of them by name. The function takes parameters by name, (n,) each; what it returns is NaN
    where a solve failed.
    """
    at = np.asarray(times, dtype=float)

    def amounts_to(values: Mapping[str, Any]) -> Any:
        n = len(next(iter(values.values())))
        p = subjects(model, values, x)
        if smooth:
            return reads(differentiable(model, _followed([events], n), at, numerics=numerics)(p))
        outputs, _ = solve(model, p, _followed([events], n), at, numerics=numerics, threads=threads)
        return reads(outputs)

    return amounts_to


def subjects(model: Model, values: Mapping[str, Any], x: Record | None = None) -> Any:
    """Parameters of typical subjects but for those parameters and covariates that `values` names, (n,) each."""
    known = model.covariates.fields()
    own = {} if x is None else vars(x)
    given = own | {name: v for name, v in values.items() if name in known}
    covariates = model.covariates(
        **{name: jnp.asarray(v).astype(int) if known[name]["levels"] else v for name, v in given.items()}
    )
    typical = model.typical() | {name: v for name, v in values.items() if name not in known}
    return model.subject(typical, dict.fromkeys(model.effects(), 0.0), covariates)


def _followed(events: Sequence[Events], each: int) -> Events:
    """Subjects who follow each of these courses, so many of each in a row."""
    rows = [e.rows.filter(pl.col("course") == e.course[0]).with_columns(course=pl.lit(i)) for i, e in enumerate(events)]
    return Events(np.repeat(np.arange(len(events)), each), pl.concat(rows, how="vertical_relaxed"))


def _level(model: Model, name: str, value: Any) -> Any:
    """A covariate's or parameter's value as it is written: a category by its level."""
    levels = model.covariates.fields().get(name, {}).get("levels")
    return levels[int(value)] if levels and not isinstance(value, str) else value


def _number(model: Model, name: str, value: Any) -> float:
    levels = model.covariates.fields().get(name, {}).get("levels")
    return float(levels.index(value)) if levels and isinstance(value, str) else float(value)


def _check(
    model: Model, regimens: Mapping[str, Events], over: Mapping[str, Sequence[Any]], x: Record | None, design: str
) -> None:
    covariates, parameters = model.covariates.fields(), model.typical()
    wrong = [
        f"over names {name!r}, which is no parameter ({', '.join(parameters)}) or covariate ({', '.join(covariates)})"
        for name in over
        if name not in parameters and name not in covariates
    ]
    wrong += [f"over has no values of {name}" for name, values in over.items() if not len(values)]
    wrong += [
        f"{name} is {value!r}; write one of {', '.join(meta['levels'])}"
        for name, meta in covariates.items()
        if meta["levels"]
        for value in over.get(name, ())
        if isinstance(value, str) and value not in meta["levels"]
    ]
    if design not in ("factorial", "one at a time"):
        wrong.append(f"design is {design!r}; write 'factorial' or 'one at a time'")
    missing = [n for n in covariates if n not in over or design == "one at a time"] if x is None else []
    if missing:
        wrong.append(f"there is no value of {', '.join(missing)}; give the covariates as x")
    wrong += [
        f"events{f' of {name}' if name else ''} are those of {len(e)} subjects; give one subject's"
        for name, e in regimens.items()
        if len(e) != 1
    ]
    if wrong:
        raise ValueError("; ".join(wrong))
