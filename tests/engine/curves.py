"""Concentration curves as textbooks write them, and the same compartments as models for the engine to solve.

A drug that distributes linearly answers a unit bolus by a sum of exponentials [1]; every other curve follows from that
sum: a dose that is absorbed first, an infusion, doses since ever. All in extended precision where the machine has it,
so that what a comparison finds belongs to the engine. Amounts in mg, times in h, volumes in L.

References
----------
[1] Gibaldi & Perrier 1982, Pharmacokinetics, 2nd ed., Marcel Dekker: chapters 1 to 3.
[2] Dubois, Bertrand & Mentré 2011, Mathematical expressions of the pharmacokinetic and pharmacodynamic models
    implemented in the PFIM software, sections 1.1 to 1.3.
[3] Savic et al. 2007, J Pharmacokinet Pharmacodyn 34:711: a chain of transit compartments.
[4] Beal 1982, J Pharmacokinet Biopharm 10:109: Michaelis-Menten elimination by Lambert's W.
"""

import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import gammainc, lambertw

from cohort.dosing.records import COLUMNS, Events
from cohort.model import Model, Record, Route, additive, fixed, quantity

Array = np.ndarray
TRUE = np.longdouble


@dataclass(frozen=True)
class Response:
    """Concentration after a unit bolus: the sum of coefficients * exp(-rates * t). Both of (exponentials,)."""

    coefficients: Array
    rates: Array


def one(cl: float, v: float) -> Response:
    return Response(np.array([1 / TRUE(v)]), np.array([TRUE(cl) / TRUE(v)]))


def two(cl: float, v1: float, q2: float, v2: float) -> Response:
    """Central and one peripheral compartment: [2] equations 1.26 to 1.29."""
    k10, k12, k21 = TRUE(cl) / v1, TRUE(q2) / v1, TRUE(q2) / v2
    total = k10 + k12 + k21
    alpha = (total + np.sqrt(total**2 - 4 * k10 * k21)) / 2
    beta = k10 * k21 / alpha
    return Response(np.array([(alpha - k21), (k21 - beta)]) / (alpha - beta) / v1, np.array([alpha, beta]))


def three(cl: float, v1: float, q2: float, v2: float, q3: float, v3: float) -> Response:
    """Central and two peripheral compartments: the hybrid constants are the roots of a cubic."""
    k10, k12, k21, k13, k31 = TRUE(cl) / v1, TRUE(q2) / v1, TRUE(q2) / v2, TRUE(q3) / v1, TRUE(q3) / v3
    a2 = k10 + k12 + k13 + k21 + k31
    a1 = k10 * k31 + k21 * k31 + k21 * k13 + k10 * k21 + k31 * k12
    a0 = k10 * k21 * k31
    roots = np.sort(np.roots(np.array([1, -a2, a1, -a0], dtype=float)).real).astype(TRUE)
    for _ in range(3):  # Newton's method: from double to extended precision
        roots = roots - (((roots - a2) * roots + a1) * roots - a0) / ((3 * roots - 2 * a2) * roots + a1)
    others = np.array([(roots[1], roots[2]), (roots[0], roots[2]), (roots[0], roots[1])])
    spread = (others[:, 0] - roots) * (others[:, 1] - roots)
    return Response((k21 - roots) * (k31 - roots) / spread / v1, roots)


def absorbed(response: Response, ka: float) -> Response:
    """The response to a unit bolus at the site of absorption, with rate constant ka [1]."""
    share = response.coefficients * TRUE(ka) / (TRUE(ka) - response.rates)
    return Response(np.append(share, -share.sum()), np.append(response.rates, TRUE(ka)))


def _decay(rate: Any, t: Array, every: float | None) -> Array:
    """exp(-rate t), summed over doses at t = 0, -every, -2 every ... if they have been given since ever."""
    once = np.exp(-rate * t)
    return once if every is None else once / -np.expm1(-rate * TRUE(every))


def bolus(response: Response, t: Array | float, dose: float, every: float | None = None) -> Any:
    """Concentration at time t after a dose, 0 up to it; after the last of doses since ever if `every` says how far
    apart. t: (times,)."""
    t = np.asarray(t, TRUE)
    terms = [a * _decay(r, np.maximum(t, 0), every) for a, r in zip(response.coefficients, response.rates, strict=True)]
    return np.where(t > 0, TRUE(dose) * sum(terms), 0)


def infusion(response: Response, t: Array | float, dose: float, duration: float, every: float | None = None) -> Any:
    """Concentration at time t after the start of an infusion [1]; of the last of infusions since ever if `every`
    says how far apart they start, even where they overlap. t: (times,)."""
    t = np.asarray(t, TRUE)
    length = TRUE(duration)
    rate = TRUE(dose) / length

    def running(since: Array) -> Any:
        parts = zip(response.coefficients, response.rates, strict=True)
        return np.where(since > 0, rate * sum(a / r * -np.expm1(-r * np.maximum(since, 0)) for a, r in parts), 0)

    def ended(since: Array) -> Any:
        parts = zip(response.coefficients, response.rates, strict=True)
        return rate * sum(a / r * -np.expm1(-r * length) * _decay(r, since - length, every) for a, r in parts)

    if every is None:
        return np.where(t <= length, running(t), ended(np.maximum(t, length)))
    total, since = np.zeros_like(t), t.copy()
    while (since < length).any():  # infusions that still run: this one, the one before ...
        total = np.where(since < length, total + running(since), total)
        since = np.where(since < length, since + TRUE(every), since)
    return np.where(t > 0, total + ended(since), 0)


def constant(response: Response, rate: float) -> Any:
    """Concentration where an infusion has run since ever: rate / clearance."""
    return TRUE(rate) * np.sum(response.coefficients / response.rates)


def left_from_constant(response: Response, t: Array | float, rate: float) -> Any:
    """Concentration at time t after the end of an infusion that had run since ever."""
    t = np.asarray(t, TRUE)
    parts = zip(response.coefficients, response.rates, strict=True)
    return np.where(t > 0, TRUE(rate) * sum(a / r * np.exp(-r * np.maximum(t, 0)) for a, r in parts), 0)


def after_transit(t: Array, stages: int, ktr: float, k: float) -> Array:
    """Amount in the central compartment after a unit dose through so many stages of rate ktr, eliminated by k < ktr:
    the Erlang density [3] convolved with exp(-k t)."""
    return (ktr / (ktr - k)) ** stages * np.exp(-k * t) * gammainc(stages, (ktr - k) * t)


def saturated(t: Array, start: float, vmax: float, km: float) -> Array:
    """Concentration under Michaelis-Menten elimination from `start` at t = 0 [4]."""
    return km * lambertw(start / km * np.exp((start - vmax * t) / km)).real


# --- the same compartments as models ---------------------------------------------------------------------------------

TYPICAL = dict(ka=0.9, f=0.7, lag=0.6, slow=15.0, duration=2.5, rate=18.0, cl=3.0, v1=12.0)
TYPICAL |= dict(q2=4.0, v2=20.0, q3=0.8, v3=60.0)
ROUTES = {
    "oral": Route("depot", bioavailability="f", lag="lag"),
    "late": Route("depot", lag="slow"),
    "iv": Route("central"),
    "drip": Route("central", duration="duration"),
    "pump": Route("central", rate="rate"),
    "patch": Route("central", bioavailability="f", lag="lag", duration="duration", rate="rate"),
}


def record(name: str, **fields: Any) -> Any:
    """A Record with these fields."""
    return types.new_class(
        name, (Record,), exec_body=lambda body: body.update(fields, __annotations__=dict.fromkeys(fields, Any))
    )


def model(
    parameters: dict[str, float],
    states: tuple[str, ...],
    outputs: tuple[str, ...],
    ode: Any,
    observe: Any,
    **parts: Any,
) -> Model:
    """A model from its equations: `ode` and `observe` give dictionaries, and every state starts at 0 unless `initial`,
    a dictionary too, says otherwise."""
    state = record("State", **{n: quantity("mg", n) for n in states})
    seen = record("Outputs", **{n: quantity("mg/L", n, error=additive(0.1)) for n in outputs})
    initial = parts.pop("initial", lambda p: {})
    return Model(
        covariates=record("Covariates", weight=quantity("kg", "body weight")),
        parameters=record("Parameters", **{n: fixed(value, "1", about=n) for n, value in parameters.items()}),
        state=state,
        outputs=seen,
        time="h",
        individual=parts.pop("individual", lambda p, x: p),
        initial=lambda p: state(**dict.fromkeys(states, 0.0) | initial(p)),
        ode=lambda t, y, p: state(**ode(t, y, p)),
        observe=lambda t, y, p: seen(**observe(t, y, p)),
        endpoints={},
        routes=parts.pop("routes", {}),
        **parts,
    )


def compartments(number: int, closed: bool = False) -> Model:
    """A depot and one to three compartments. `closed` keeps what is eliminated in a state of its own."""
    peripheral = range(2, number + 1)
    states = ("depot", "central", *(f"peripheral{i}" for i in peripheral), *(("gone",) if closed else ()))
    needed = ("ka", "f", "lag", "slow", "duration", "rate", "cl", *(f"v{i}" for i in range(1, number + 1)))
    needed += tuple(f"q{i}" for i in peripheral)

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        c = y.central / p.v1
        to = {i: getattr(p, f"q{i}") * (c - getattr(y, f"peripheral{i}") / getattr(p, f"v{i}")) for i in peripheral}
        rates = dict(depot=-p.ka * y.depot, central=p.ka * y.depot - p.cl * c - sum(to.values()))
        rates |= {f"peripheral{i}": flow for i, flow in to.items()}
        return rates | (dict(gone=p.cl * c) if closed else {})

    def observe(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(c=y.central / p.v1, total=sum(vars(y).values()))

    return model({n: TYPICAL[n] for n in needed}, states, ("c", "total"), ode, observe, routes=ROUTES)


def transit(stages: int) -> Model:
    """A dose through so many stages of one rate into a central compartment."""
    states = (*(f"stage{i}" for i in range(stages)), "central")

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        flows = [p.ktr * getattr(y, f"stage{i}") for i in range(stages)]
        chain = {f"stage{i}": (flows[i - 1] if i else 0.0) - flows[i] for i in range(stages)}
        return chain | dict(central=flows[-1] - p.k * y.central)

    parameters = dict(ktr=2.0, k=0.3)
    return model(parameters, states, ("a",), ode, lambda t, y, p: dict(a=y.central), routes={"oral": Route("stage0")})


def michaelis_menten() -> Model:
    """One compartment that is eliminated by a capacity alone."""

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(central=-p.vmax * y.central / (p.km + y.central))

    parameters = dict(vmax=2.0, km=3.0)
    return model(
        parameters, ("central",), ("c",), ode, lambda t, y, p: dict(c=y.central), routes={"iv": Route("central")}
    )


def response(number: int, p: dict[str, float]) -> Response:
    """What the compartments of one subject answer to a unit bolus."""
    match number:
        case 1:
            return one(p["cl"], p["v1"])
        case 2:
            return two(p["cl"], p["v1"], p["q2"], p["v2"])
        case _:
            return three(p["cl"], p["v1"], p["q2"], p["v2"], p["q3"], p["v3"])


def subjects(of: Model, people: list[dict[str, float]]) -> Any:
    """Parameters of several subjects, (n,) each: what each person does not say is typical."""
    typical = {name: float(value) for name, value in vars(of.parameters()).items()}
    return of.parameters(**{n: np.array([float(q.get(n, typical[n])) for q in people]) for n in typical})


def events(courses: list[list[dict[str, Any]]], people: int = 1) -> Events:
    """So many people through each course, those of one course side by side. Courses: rows, without what is neutral."""
    schema = {name: kind for name, (kind, _) in COLUMNS.items()}
    neutral = {name: value for name, (_, value) in COLUMNS.items()}
    rows = [neutral | dict(course=i) | row for i, course in enumerate(courses) for row in course]
    made = Events(np.repeat(np.arange(len(courses)), people), pl.DataFrame(rows, schema=schema))
    made.check()
    return made
