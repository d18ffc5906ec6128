"""What a model is: typed records of named quantities, and pure functions between them.

Covariates --individual--> Parameters --initial--> State --ode--> State --observe--> Outputs
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import expit, logit
from scipy import special

jax.config.update("jax_enable_x64", True)
with contextlib.suppress(RuntimeError):  # JAX is already running: the chains of a calibration then go one by one
    jax.config.update("jax_num_cpu_devices", 4)

type Scalar = jax.Array | np.ndarray | float
type Variability = Literal["lognormal", "logitnormal", "normal", "exponential", "fixed"]


@dataclass(frozen=True)
class Error:
    """Residual error of an output; each size is a number or the name of a parameter.

    A sum of normal parts: `additive` in the output's unit; `proportional` to the output; `baseline` a percentage of the
    subject's first visit, at every visit but the first: the standard deviation of a percent change from baseline. Or
    one that keeps the output within its bounds and stands alone: `logarithmic`, the standard deviation of the
    logarithm; `precision` of a beta distribution on (0, `upper`) around the output.
    """

    additive: float | str = 0.0
    proportional: float | str = 0.0
    baseline: float | str = 0.0
    logarithmic: float | str = 0.0
    precision: float | str = 0.0
    upper: float = 0.0

    def __add__(self, other: "Error") -> "Error":
        mine, theirs = vars(self), vars(other)
        if any(mine[part] and theirs[part] for part in mine):
            raise ValueError("a residual error adds parts of different kinds")
        if any(error.logarithmic or error.precision for error in (self, other)):
            raise ValueError("lognormal_error and beta_error are errors of their own; leave the other part out")
        return Error(**{part: mine[part] or theirs[part] for part in mine})

    def sd(self, visits: np.ndarray, parameter: Callable[[str], np.ndarray]) -> np.ndarray:
        """Standard deviation of each visit. visits: (n, visits), the true course. Variances add."""

        def size(part: float | str) -> np.ndarray | float:
            return parameter(part)[:, None] if isinstance(part, str) else part

        if self.precision:
            share = visits / self.upper
            return self.upper * np.sqrt(share * (1 - share) / (1 + size(self.precision)))
        if self.logarithmic:
            variance = np.square(size(self.logarithmic))
            return np.abs(visits) * np.sqrt(np.expm1(variance) * np.exp(variance))
        later = np.arange(visits.shape[-1]) > 0
        return np.sqrt(
            (size(self.additive)) ** 2
            + (size(self.proportional) * visits) ** 2
            + (size(self.baseline) / 100 * visits[..., :1] * later) ** 2
        )

    def measured(self, visits: np.ndarray, z: np.ndarray, parameter: Callable[[str], np.ndarray]) -> np.ndarray:
        """What is measured of a true course. visits: (n, visits); z: standard normals of that shape. The same z is the
        same place in the distribution of the error, whatever the course."""
        if self.precision:
            tau = parameter(self.precision)[:, None] if isinstance(self.precision, str) else self.precision
            share = visits / self.upper
            # At a bound there is no room to err in.
            inside = (share > 0) & (share < 1)
            held = np.where(inside, share, 0.5)
            drawn = self.upper * special.betaincinv(held * tau, (1 - held) * tau, special.ndtr(z))
            return np.where(inside, drawn, visits)
        if self.logarithmic:
            sd = parameter(self.logarithmic)[:, None] if isinstance(self.logarithmic, str) else self.logarithmic
            return visits * np.exp(sd * z)
        return visits + self.sd(visits, parameter) * z


def additive(size: float | str) -> Error:
    return Error(additive=size)


def proportional(size: float | str) -> Error:
    return Error(proportional=size)


def of_baseline(percent: float | str) -> Error:
    return Error(baseline=percent)


def lognormal_error(sd: float | str) -> Error:
    """The output times exp(sd z), z standard normal: its median is the true value."""
    return Error(logarithmic=sd)


def beta_error(precision: float | str, upper: float) -> Error:
    """Of a score between 0 and `upper`: beta-distributed around the output m with variance m (upper - m) / (1 +
    precision), so that what is measured keeps within the bounds."""
    if not (upper > 0 and (isinstance(precision, str) or precision > 0)):
        raise ValueError(f"beta_error needs precision > 0 and upper > 0, got {precision=}, {upper=}")
    return Error(precision=precision, upper=upper)


def _parameter(
    typical: float, unit: str, about: str, source: str, kind: Variability, spread: float, rse: float | None
) -> Any:
    meta = dict(unit=unit, about=about, source=source, kind=kind, spread=spread, rse=rse)
    return field(default=typical, metadata=meta)


def lognormal(typical: float, unit: str, *, cv: float, about: str, source: str = "", rse: float | None = None) -> Any:
    """Varies between subjects as typical * exp(eta); sd(eta) = sqrt(log(1 + cv²)). `rse`: % uncertainty of typical."""
    if not (typical > 0 and 0 <= cv < 5):
        raise ValueError(f"lognormal needs typical > 0 and 0 <= cv < 5, got {typical=}, {cv=} ({about})")
    return _parameter(typical, unit, about, source, "lognormal", math.sqrt(math.log1p(cv**2)), rse)


def logitnormal(typical: float, unit: str, *, sd: float, about: str, source: str = "", rse: float | None = None) -> Any:
    """Varies between subjects within (0, 1), with standard deviation `sd` on the logit scale."""
    if not (0 < typical < 1 and sd >= 0):
        raise ValueError(f"logitnormal needs 0 < typical < 1 and sd >= 0, got {typical=}, {sd=} ({about})")
    return _parameter(typical, unit, about, source, "logitnormal", sd, rse)


def normal(typical: float, unit: str, *, sd: float, about: str, source: str = "", rse: float | None = None) -> Any:
    """Varies between subjects around `typical` with standard deviation `sd`, in the parameter's unit."""
    if not sd >= 0:
        raise ValueError(f"normal needs sd >= 0, got {sd=} ({about})")
    return _parameter(typical, unit, about, source, "normal", sd, rse)


def exponential(mean: float, unit: str, *, about: str, source: str = "", rse: float | None = None) -> Any:
    """Varies between subjects exponentially around `mean`: the threshold that a cumulative hazard reaches when an event
    happens, with `mean` 1. It has no further spread; `<name>.spread` multiplies the mean and is 1."""
    if not mean > 0:
        raise ValueError(f"exponential needs mean > 0, got {mean=} ({about})")
    return _parameter(mean, unit, about, source, "exponential", 1.0, rse)


def fixed(value: float, unit: str, *, about: str, source: str = "", rse: float | None = None) -> Any:
    """A parameter every subject shares."""
    return _parameter(value, unit, about, source, "fixed", 0.0, rse)


def quantity(
    unit: str,
    about: str,
    *,
    error: Error | None = None,
    plausible: tuple[float, float] = (-math.inf, math.inf),
) -> Any:
    """A state, output or continuous covariate. A course with an output outside `plausible` counts as failed; of a
    covariate it bounds who can be enrolled."""
    return field(metadata=dict(unit=unit, about=about, error=error or Error(), plausible=plausible, levels=None))


def category(*levels: str, about: str = "") -> Any:
    """A categorical covariate; stored as the index of its level."""
    return field(metadata=dict(unit="1", about=about, levels=levels))


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    field_specifiers=(lognormal, logitnormal, normal, exponential, fixed, quantity, category),
)
class Record:
    """A frozen dataclass that JAX can differentiate, vmap and jit over."""

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        jax.tree_util.register_pytree_node(cls, lambda r: (tuple(vars(r).values()), tuple(vars(r))), cls._unflatten)

    @classmethod
    def _unflatten(cls, names: tuple[str, ...], values: tuple[Any, ...]) -> Self:
        record = object.__new__(cls)
        for name, value in zip(names, values, strict=True):
            object.__setattr__(record, name, value)
        return record

    def replace(self, **changes: Any) -> Self:
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    @classmethod
    def fields(cls) -> dict[str, Mapping[str, Any]]:
        """What was declared of each quantity: unit, meaning, source and so on, by name."""
        return {f.name: f.metadata for f in dataclasses.fields(cls)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Route:
    """How a dose enters: the state it is added to, the fraction that arrives, how late, and the mass of a mole.

    `bioavailability`, `lag`, `duration` (of an infusion whose length the model says) and `rate` (of one whose speed it
    says) name parameters. With `molar_mass` in g/mol a dose in mg enters a state in nmol; without it one in mg.
    """

    state: str
    bioavailability: str | None = None
    molar_mass: float | None = None
    lag: str | None = None
    duration: str | None = None
    rate: str | None = None


class Decision[M: "Record"](NamedTuple):
    """What a rule decides: its memory from now on, the amount of each dose still to come by route, and the rate that
    runs from now on by route, both in the unit of the state they enter. A route left out goes on as before."""

    memory: M
    doses: Mapping[str, Scalar] = MappingProxyType({})
    rates: Mapping[str, Scalar] = MappingProxyType({})


@dataclass(frozen=True)
class Rule:
    """A decision rule of an arm. `decide(t, seen, memory) -> Decision`, where `seen` are Outputs as measured then, with
    their residual error. `memory`: a Record whose defaults are what the rule remembers at the start."""

    memory: "type[Record]"
    decide: Callable[[Any, Any, Any], Decision]
    about: str


@dataclass(frozen=True)
class Endpoint:
    """What a subject's visits amount to. `reads` takes Outputs of (..., visits), missing visits as NaN."""

    reads: Callable[[Any], Any]
    unit: str
    about: str
    binary: bool = False


def first(series: Any) -> Any:
    """The value at the first visit. series: (..., visits)."""
    return series[..., 0]


def last(series: Any) -> Any:
    """The value at the last planned visit, NaN where it was missed. series: (..., visits)."""
    return series[..., -1]


def lowest(series: Any) -> Any:
    """The lowest value at any visit that took place. series: (..., visits)."""
    return jnp.nanmin(jnp.asarray(series), axis=-1)


def _log_above(z: Any) -> Any:
    """log P(Z > z) of a standard normal Z, in operations that the engine has; relative error of the probability below
    1.2e-7 [Press et al. 1992, Numerical Recipes, 2nd ed., section 6.2: Chebyshev fit of erfc]."""
    x = jnp.abs(z) / math.sqrt(2)
    t = 1 / (1 + x / 2)
    terms = (
        *(-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806),
        *(0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277),
    )
    series = 0.0
    for term in reversed(terms):
        series = series * t + term
    log_erfc = jnp.log(t) - x * x + series
    return jnp.where(jnp.asarray(z) >= 0, log_erfc, jnp.log(2 - jnp.exp(log_erfc))) - math.log(2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Model[P: Record, X: Record, Y: Record, O: Record]:
    """A pharmacological model of one subject, in its own unit of time; `jax.vmap` makes it a cohort."""

    covariates: type[X]
    parameters: type[P]
    state: type[Y]
    outputs: type[O]
    time: str
    individual: Callable[[P, X], P]
    initial: Callable[[P], Y]
    ode: Callable[[Scalar, Y, P], Y]
    observe: Callable[[Scalar, Y, P], O]
    routes: Mapping[str, Route]
    endpoints: Mapping[str, Endpoint]
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    text: str = ""  # the file it was read from; empty once a part was replaced
    name: str = ""
    recipe: tuple[Callable[..., Any], tuple[Any, ...]] | None = None  # how a worker rebuilds this model from its text

    def __post_init__(self) -> None:
        states, parameters = self.state.fields(), self.parameters.fields()
        wrong = [
            f"route {name!r} doses {route.state!r}, but the states are {', '.join(states)}"
            for name, route in self.routes.items()
            if route.state not in states
        ]
        named = {f"route {n!r}": (r.bioavailability, r.lag, r.duration, r.rate) for n, r in self.routes.items()}
        named |= {f"output {n!r}": tuple(vars(m["error"]).values()) for n, m in self.outputs.fields().items()}
        named |= {f"correlation {pair}": pair for pair in self.correlations}
        wrong += [
            f"{where} names {name!r}, but the parameters are {', '.join(parameters)}"
            for where, names in named.items()
            for name in names
            if isinstance(name, str) and name not in parameters
        ]
        wrong += [
            f"route {name!r} has the molar mass {r.molar_mass}; write one above 0, in g/mol"
            for name, r in self.routes.items()
            if r.molar_mass is not None and not r.molar_mass > 0
        ]
        wrong += self._uncorrelated()
        if wrong:
            raise ValueError("; ".join(wrong))

    def _uncorrelated(self) -> list[str]:
        """What of the correlations cannot be."""
        wrong, effects = [], self.effects()
        for pair, value in self.correlations.items():
            constant = [n for n in pair if n in self.parameters.fields() and n not in effects]
            if constant:
                wrong.append(f"correlation {pair} names {', '.join(constant)}, which varies between no subjects")
            if pair[0] == pair[1] or pair[::-1] in self.correlations:
                wrong.append(f"correlation {pair} names one parameter twice, or stands twice; write each pair once")
            if not -1 < value < 1:
                wrong.append(f"correlation {pair} is {value}; write a number between -1 and 1")
        if not wrong and {n for pair in self.correlations for n in pair} <= set(effects):
            smallest = np.linalg.eigvalsh(self._correlation()[1]).min(initial=1.0)
            if smallest < 1e-9:
                wrong.append(
                    "the correlations contradict each other: their matrix is not positive definite; lower them"
                )
        return wrong

    def replace(self, **changes: Any) -> Self:
        """The same model with some parts exchanged; it no longer travels as its file."""
        return dataclasses.replace(self, text="", recipe=None, **changes)

    def __reduce__(self) -> Any:
        return self.recipe or super().__reduce__()

    def rehearse(self) -> None:
        """Run every function once on abstract scalars, so that a model that raises does so before anything starts."""

        def course(z: dict[str, float], x: X) -> Any:
            p = self.subject(self.typical(), z, x)
            y = self.initial(p)
            derivative = self.ode(0.0, y, p)
            out = self.observe(0.0, y, p)
            for made, kind in ((p, self.parameters), (y, self.state), (derivative, self.state), (out, self.outputs)):
                if not isinstance(made, kind):
                    raise TypeError(f"expected a {kind.__name__}, got {type(made).__name__}")
            return jax.tree.map(jnp.asarray, (p, y, derivative, out))

        one = self.covariates(**{n: 0 if m["levels"] else 1.0 for n, m in self.covariates.fields().items()})
        jax.eval_shape(course, dict.fromkeys(self.effects(), 0.0), one)
        visits = self.outputs(**dict.fromkeys(self.outputs.fields(), jnp.ones(3)))
        for endpoint in self.endpoints.values():
            jax.eval_shape(endpoint.reads, visits)
        seen = self.outputs(**dict.fromkeys(self.outputs.fields(), 1.0))
        for name, rule in self.rules.items():

            def decided(out: O, name: str = name, rule: Rule = rule) -> Any:
                made = rule.decide(0.0, out, rule.memory())
                if not isinstance(made, Decision) or not isinstance(made.memory, rule.memory):
                    raise TypeError(f"rule {name!r} returns no Decision with a {rule.memory.__name__}")
                unknown = {*made.doses, *made.rates} - set(self.routes)
                if unknown:
                    raise ValueError(f"rule {name!r} doses {', '.join(sorted(unknown))}, which is no route")
                return jax.tree.map(jnp.asarray, (made.memory, dict(made.doses), dict(made.rates)))

            jax.eval_shape(decided, seen)

    def effects(self) -> tuple[str, ...]:
        """The parameters that may vary between subjects, in the order of the file."""
        return tuple(n for n, m in self.parameters.fields().items() if m["kind"] != "fixed")

    def typical(self) -> dict[str, float]:
        """Typical value of each parameter, and `<name>.spread` of each that varies: what a posterior replaces."""
        fields = self.parameters.fields()
        values = {name: float(value) for name, value in vars(self.parameters()).items()}
        return values | {f"{name}.spread": fields[name]["spread"] for name in self.effects()}

    def _correlation(self) -> tuple[list[str], np.ndarray]:
        """The effects that are tied to another, and their correlation matrix."""
        tied = sorted({name for pair in self.correlations for name in pair}, key=self.effects().index)
        r = np.eye(len(tied))
        for (a, b), value in self.correlations.items():
            i, j = tied.index(a), tied.index(b)
            r[i, j] = r[j, i] = value
        return tied, r

    def correlate(self, z: Mapping[str, Any]) -> dict[str, Any]:
        """Tie independent standard normals, one per effect, by the model's correlations."""
        tied, r = self._correlation()
        if not tied:
            return dict(z)
        lower = np.linalg.cholesky(r)
        rows = {name: sum(lower[i, j] * z[tied[j]] for j in range(i + 1)) for i, name in enumerate(tied)}
        return dict(z) | rows

    def subject(self, values: Mapping[str, Any], z: Mapping[str, Any], x: X) -> P:
        """One subject's parameters: random effects onto the typical values first, then the covariates.

        `values` as `typical()`; `z`: a standard normal per effect; `x`: covariates. Elementwise, so arrays of (n,) do.
        """
        return self.individual(self.varied(values, z), x)

    def varied(self, values: Mapping[str, Any], z: Mapping[str, Any]) -> P:
        """Random effects on the typical values, before any covariate. Arguments as of `subject`."""
        z = self.correlate(z)
        varied: dict[str, Any] = {}
        for name, meta in self.parameters.fields().items():
            typical = values[name]
            eta = values[f"{name}.spread"] * z[name] if meta["kind"] != "fixed" else 0.0
            match meta["kind"]:
                case "exponential":
                    varied[name] = typical * values[f"{name}.spread"] * -_log_above(z[name])
                case "lognormal":
                    varied[name] = typical * jnp.exp(eta)
                case "logitnormal":
                    varied[name] = expit(logit(typical) + eta)
                case "normal":
                    varied[name] = typical + eta
                case _:
                    varied[name] = typical
        return self.parameters(**varied)
