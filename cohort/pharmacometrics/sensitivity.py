"""Global sensitivity: which parameters make an output differ between subjects, with all of them varying at once.

Sobol' indices [1] say how much of the variance of an output goes with a parameter alone (*first*), and with it alone or
together with others (*total*): the estimators of [2] and [3] on scrambled Sobol' points, as SciPy has them. Measures
from derivatives [4] cost one derivative per parameter instead, converge sooner, and bound the total index from above;
for a normal variable the constant of the bound is its variance, for a uniform one its squared range over π² [4, 5].

Every number stands beside its Monte Carlo error: the whole is repeated with independent scramblings, and the error is
the standard deviation of the repeats over the root of their number, which holds for Sobol' points, as a bootstrap of
them would not.

References
----------
[1] Sobol' 2001, Global sensitivity indices for nonlinear mathematical models and their Monte Carlo estimates. Math
    Comput Simul 55:271, doi 10.1016/S0378-4754(00)00270-6.
[2] Saltelli, Annoni, Azzini, Campolongo, Ratto & Tarantola 2010, Variance based sensitivity analysis of model output.
    Comput Phys Commun 181:259, doi 10.1016/j.cpc.2009.09.018. Table 2 (b).
[3] Jansen 1999, Analysis of variance designs for model output. Comput Phys Commun 117:35. In [2] Table 2 (f).
[4] Sobol' & Kucherenko 2009, Derivative based global sensitivity measures and their link with global sensitivity
    indices. Math Comput Simul 79:3009, doi 10.1016/j.matcom.2009.01.023.
[5] Lamboni, Iooss, Popelin & Gamboa 2013, Derivative-based global sensitivity measures: general links with Sobol'
    indices and numerical tests. Math Comput Simul 87:45, doi 10.1016/j.matcom.2013.02.002.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from scipy.special import ndtri
from scipy.stats import norm, qmc, sobol_indices, uniform

from cohort.model import Model

type Function = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Varying:
    """A parameter as a function of a standard variable: a normal one, or one uniform between 0 and 1. `value` works
    elementwise and, where derivatives are wanted, under JAX."""

    law: Literal["normal", "uniform"]
    value: Callable[[Any], Any]


def between_subjects(model: Model, names: Iterable[str] | None = None) -> dict[str, Varying]:
    """Parameters as they vary between subjects, before covariates; by default all that do.

    Errors: ValueError for a name that does not vary, and for a model whose parameters are correlated: the variance of
    an output then has no parts that go with one parameter each.
    """
    effects = model.effects()
    names = list(effects if names is None else names)
    wrong = [f"{name!r} does not vary between subjects; those that do are {', '.join(effects)}" for name in names]
    wrong = [text for name, text in zip(names, wrong, strict=True) if name not in effects]
    if tied := sorted({n for pair in model.correlations for n in pair}):
        wrong.append(f"{', '.join(tied)} are correlated; write model.replace(correlations={{}}) to vary them apart")
    if wrong:
        raise ValueError("; ".join(wrong))

    def value(name: str) -> Callable[[Any], Any]:
        others = dict.fromkeys(effects, 0.0)
        return lambda z: getattr(model.varied(model.typical(), others | {name: z}), name)

    return {name: Varying("normal", value(name)) for name in names}


def sobol(
    f: Function,
    over: Mapping[str, Varying | tuple[float, float]],
    *,
    n: int = 1024,
    replicates: int = 8,
    seed: int = 1,
) -> pl.DataFrame:
    """Sobol' indices of `f`, one row per parameter and output.

    f: from the parameters by name, (points,) each, to an output (points,) or to several by name. over: the parameters,
    two or more, each with the way it varies, such as `between_subjects` tells, or with the two ends of a range, uniform
    between. n: a power of 2; `f` is evaluated at n (parameters + 2) points per replicate.

    Returns `output` (if they have names), `parameter`, `first`, `first_error`, `total`, `total_error`. An output that
    does not vary has indices of zero. Errors: ValueError where `f` is not finite, with the first such point.
    """
    laws = _laws(over, n, replicates, least=2)
    outputs: list[str] = []

    def evaluate(points: np.ndarray) -> np.ndarray:
        made = _finite(f, laws, dict(zip(laws, points, strict=True)))
        outputs[:] = made
        return np.stack([np.asarray(y) for y in made.values()])

    marginals = [norm() if v.law == "normal" else uniform() for v in laws.values()]
    found = []
    for child in np.random.SeedSequence(seed).spawn(replicates):
        result = sobol_indices(func=evaluate, n=n, dists=marginals, rng=np.random.default_rng(child))
        found.append([np.reshape(a, (-1, len(laws))) for a in (result.first_order, result.total_order)])
    return _table(outputs, list(laws), {"first": [a for a, _ in found], "total": [b for _, b in found]})


def dgsm(
    f: Function,
    over: Mapping[str, Varying | tuple[float, float]],
    *,
    n: int = 1024,
    replicates: int = 8,
    seed: int = 1,
) -> pl.DataFrame:
    """Sensitivity measures from derivatives of `f`, one row per parameter and output.

    Arguments as of `sobol`; `f` must be differentiable by JAX, and each point's output depend on that point alone.
    `f` is differentiated at n points for each parameter, in each replicate.

    Returns `output` (if they have names), `parameter`, `measure`: the mean square of the derivative by the standardised
    parameter (its between-subject standard deviation, or its range, being one), in the output's unit squared; `bound`:
    the total index is not above it; `measure_error`, `bound_error`.
    """
    laws = _laws(over, n, replicates, least=1)
    constants = np.array([1.0 if v.law == "normal" else math.pi**-2 for v in laws.values()])  # [4, 5]
    outputs: list[str] = []
    measures, bounds = [], []
    for child in np.random.SeedSequence(seed).spawn(replicates):
        points = qmc.Sobol(len(laws), rng=np.random.default_rng(child)).random(n).T
        at = {
            name: jnp.asarray(ndtri(u) if v.law == "normal" else u)
            for (name, v), u in zip(laws.items(), points, strict=True)
        }
        still = {name: jnp.zeros(n) for name in laws}

        def standardised(s: dict[str, Any]) -> list[Any]:
            made = _named(f({name: v.value(s[name]) for name, v in laws.items()}))
            outputs[:] = made
            return list(made.values())

        slopes, values = [], []
        for name in laws:
            values, slope = jax.jvp(standardised, (at,), (still | {name: jnp.ones(n)},))
            slopes.append([np.mean(np.square(a)) for a in slope])
        _refuse(values, laws, at)
        measure = np.array(slopes).T  # (outputs, parameters)
        variance = np.array([np.var(np.asarray(y)) for y in values])[:, None]
        measures.append(measure)
        bounds.append(np.divide(constants * measure, variance, where=variance > 0, out=np.zeros_like(measure)))
    return _table(outputs, list(laws), {"measure": measures, "bound": bounds})


def _laws(over: Mapping[str, Varying | tuple[float, float]], n: int, replicates: int, least: int) -> dict[str, Varying]:
    wrong = [
        f"{name} ranges from {v[0]:g} to {v[1]:g}; write the lower end first"
        for name, v in over.items()
        if not isinstance(v, Varying) and not v[0] < v[1]
    ]
    if len(over) < least:
        wrong.append(f"there are {len(over)} parameters; give {least} or more")
    if n < 2 or n & (n - 1):
        wrong.append(f"n is {n}; write a power of 2, such as 1024")
    if replicates < 2:
        wrong.append(f"replicates is {replicates}; the error needs 2 or more")
    if wrong:
        raise ValueError("; ".join(wrong))
    return {name: v if isinstance(v, Varying) else _between(*v) for name, v in over.items()}


def _between(low: float, high: float) -> Varying:
    return Varying("uniform", lambda u: low + (high - low) * u)


def _named(made: Any) -> dict[str, Any]:
    return dict(made) if isinstance(made, Mapping) else {"": made}


def _finite(f: Function, laws: Mapping[str, Varying], at: Mapping[str, Any]) -> dict[str, Any]:
    made = _named(f({name: np.asarray(v.value(at[name])) for name, v in laws.items()}))
    _refuse(made.values(), laws, at)
    return made


def _refuse(made: Iterable[Any], laws: Mapping[str, Varying], at: Mapping[str, Any]) -> None:
    """Errors: ValueError where an output is not finite."""
    bad = ~np.all([np.isfinite(np.asarray(y)) for y in made], axis=0)
    if bad.any():
        first = int(np.argmax(bad))
        where = ", ".join(f"{name}={float(np.asarray(v.value(at[name]))[first]):.6g}" for name, v in laws.items())
        raise ValueError(
            f"the output is not finite at {bad.sum()} of {bad.size} points, the first {where}; "
            "narrow what varies, or return what the output amounts to there"
        )


def _table(outputs: list[str], names: list[str], found: Mapping[str, list[np.ndarray]]) -> pl.DataFrame:
    """found: by column, one array of (outputs, parameters) per replicate."""
    table: dict[str, Any] = {
        "output": np.repeat(outputs, len(names)),
        "parameter": np.tile(names, len(outputs)),
    }
    for column, repeats in found.items():
        values = np.stack([a.ravel() for a in repeats])
        table[column] = values.mean(axis=0)
        table[f"{column}_error"] = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    frame = pl.DataFrame(table)
    return frame.drop("output") if outputs == [""] else frame
