"""Doses that are decided on the way: titration, weekly INR, a pump every five minutes, against the same by hand."""

import functools
from collections.abc import Callable
from typing import Any

import curves
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cohort.engine import CODES, Numerics, native, solve
from cohort.model import (
    Decision,
    Model,
    Record,
    Route,
    Rule,
    Scalar,
    additive,
    beta_error,
    fixed,
    lognormal_error,
    of_baseline,
    proportional,
    quantity,
)

NATIVE = [Numerics(solver=solver, rtol=1e-9, atol=1e-9) for solver in ("linear", "explicit", "stiff")]
ALL = [*NATIVE, Numerics(solver="explicit", backend="xla", rtol=1e-9, atol=1e-9)]
HALF = 12.0  # h, half-life


def each(numerics: list[Numerics]) -> Any:
    return pytest.mark.parametrize("numerics", numerics, ids=lambda n: f"{n.backend}-{n.solver}")


def vein(**parts: Any) -> Model:
    """One compartment of 1 L with a half-life of 12 h; from the mouth 70 percent arrives, at once."""
    model = curves.model(
        dict(k=np.log(2) / HALF, f=0.7),
        ("central",),
        ("c",),
        lambda t, y, p: dict(central=-p.k * y.central),
        lambda t, y, p: dict(c=y.central),
        routes={"iv": Route("central"), "po": Route("central", bioavailability="f")},
        **parts,
    )
    return model


VEIN = vein()


class Dose(Record):
    """What a rule remembers: the dose it gives."""

    dose: Scalar = fixed(100.0, "mg", about="the dose from now on")


def doubling(t: Scalar, seen: Any, m: Dose) -> Decision[Dose]:
    dose = jnp.where(seen.c > 30, 2 * m.dose, m.dose)
    return Decision(m.replace(dose=dose), doses={"iv": dose})


DOUBLING = Rule(Dose, doubling, "twice the dose where the concentration is above 30 mg/L")


def daily(days: int, order: tuple[str, ...] = ("decide", "dose")) -> list[dict[str, Any]]:
    """100 mg into the vein at the start; then every day a decision and a dose."""
    of = {"decide": dict(action="decide"), "dose": dict(action="dose", into="iv", amount=100.0)}
    first = dict(action="dose", into="iv", amount=100.0, time=0.0)
    return [first, *(of[name] | dict(time=24.0 * day) for day in range(1, days) for name in order)]


def seen(
    model: Model, rule: Rule | None, courses: list[list[dict[str, Any]]], times: Any, numerics: Numerics, **how: Any
) -> np.ndarray:
    """Outputs, (outputs, n, visits), of a typical subject on each course, or of `p`."""
    p = how.pop("p", None) or curves.subjects(model, [{}] * len(courses))
    out, status = solve(model, p, curves.events(courses), times, rule=rule, numerics=numerics, **how)
    assert not np.asarray(status.code).any()
    return np.stack([np.asarray(a) for a in vars(out).values()])


# --- titration -------------------------------------------------------------------------------------------------------


@each(ALL)
def test_a_dose_is_doubled_from_the_first_trough_above_the_threshold(numerics: Numerics):
    """A quarter is left after a day: troughs of 25 and 125/4 = 31.25 mg/L, then 200 mg: (31.25 + 200)/4, and so on."""
    troughs = seen(VEIN, DOUBLING, [daily(5)], 24.0 * np.arange(1, 5), numerics)[0, 0]
    third, fourth = (31.25 + 200) / 4, ((31.25 + 200) / 4 + 400) / 4
    assert troughs == pytest.approx([25, 31.25, third, fourth], rel=1e-8)


@each(ALL)
def test_a_decision_after_the_dose_of_its_time_sees_the_peak(numerics: Numerics):
    """The first decision then sees 125 mg/L and doubles the dose of the day after."""
    troughs = seen(VEIN, DOUBLING, [daily(4, ("dose", "decide"))], [24.0, 48.0, 72.0], numerics)[0, 0]
    assert troughs == pytest.approx([25, 31.25, (31.25 + 200) / 4], rel=1e-8)
    troughs = seen(VEIN, DOUBLING, [daily(4)], [24.0, 48.0, 72.0], numerics)[0, 0]
    assert troughs == pytest.approx([25, 31.25, (31.25 + 200) / 4], rel=1e-8)


@each(NATIVE)
def test_a_rule_that_decides_nothing_changes_nothing(numerics: Numerics):
    nothing = Rule(Dose, lambda t, seen, m: Decision(m), "nothing")
    times = np.linspace(0, 120, 11)
    with_rule, without = (seen(VEIN, rule, [daily(5)], times, numerics) for rule in (nothing, None))
    np.testing.assert_allclose(with_rule, without, rtol=1e-8, atol=1e-9)


@each(ALL)
def test_each_patient_has_a_memory_of_their_own(numerics: Numerics):
    """A rule that gives 10 mg more at each decision; one patient decides daily, one every other day, one never."""

    def more(t: Scalar, seen: Any, m: Dose) -> Decision[Dose]:
        return Decision(m.replace(dose=m.dose + 10), doses={"iv": m.dose + 10})

    def course(every: float) -> list[dict[str, Any]]:
        given = [dict(action="dose", into="iv", amount=100.0, time=24.0 * d) for d in range(7)]
        decided = [dict(action="decide", time=24.0 * d) for d in range(7) if every and d % every == 0]
        return sorted([*decided, *given], key=lambda row: row["time"])

    got = seen(VEIN, Rule(Dose, more, "ever more"), [course(1), course(2), course(0)], [168.0], numerics)[0, :, 0]
    amounts = [[110, 120, 130, 140, 150, 160, 170], [110, 110, 120, 120, 130, 130, 140], [100] * 7]
    want = [sum(a / 4.0 ** (7 - d) for d, a in enumerate(given)) for given in amounts]
    assert got == pytest.approx(want, rel=1e-8)


@each(ALL)
def test_a_rule_knows_what_time_it_is(numerics: Numerics):
    by_time = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": t}), "as many mg as hours")
    got = seen(VEIN, by_time, [daily(3)], [72.0], numerics)[0, 0, 0]
    assert got == pytest.approx(100 / 64 + 24 / 16 + 48 / 4, rel=1e-8)


@each(ALL)
def test_of_what_is_ordered_by_mouth_a_part_arrives(numerics: Numerics):
    """Of doses and of what is to flow in; the route that is not named goes on as planned."""
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"po": 50.0}, rates={"po": 3.0}), "50 mg, and 3 mg/h")
    rows = [
        dict(action="dose", into="iv", amount=10.0, time=0.0),
        dict(action="dose", into="po", amount=20.0, time=0.0),
        dict(action="decide", time=24.0),
        dict(action="dose", into="iv", amount=10.0, time=24.0),
        dict(action="dose", into="po", amount=20.0, time=24.0),
    ]
    got = seen(VEIN, rule, [rows], [24.0, 48.0], numerics)[0, 0]
    trough = (10 + 0.7 * 20) / 4
    flown = 0.7 * 3 / (np.log(2) / HALF) * (1 - 0.25)
    assert got == pytest.approx([trough, (trough + 10 + 0.7 * 50) / 4 + flown], rel=1e-8)


@each(ALL)
def test_what_a_rule_lets_flow_comes_on_top_of_what_is_planned(numerics: Numerics):
    """5 mg/h for four hours are planned; from the second on, the rule adds 2 mg/h and from the third on none."""

    def add(t: Scalar, seen: Any, m: Dose) -> Decision[Dose]:
        return Decision(m, rates={"iv": jnp.where(t < 2.5, 2.0, 0.0)})

    rows = [dict(action="dose", into="iv", amount=20.0, rate=5.0), *(dict(action="decide", time=t) for t in (2.0, 3.0))]
    got = seen(VEIN, Rule(Dose, add, "a little more"), [rows], [1.0, 2.0, 3.0, 4.0, 6.0], numerics)[0, 0]
    k, y, want = np.log(2) / HALF, 0.0, []
    for rate, hours in ((5, 1), (5, 1), (7, 1), (5, 1), (0, 2)):
        y = rate / k + (y - rate / k) * np.exp(-k * hours)
        want.append(y)
    assert got == pytest.approx(want, rel=1e-8)


# --- what a rule sees ------------------------------------------------------------------------------------------------

KINDS = {
    "additive": (additive(2.0), lambda c, start: 2.0),
    "by a parameter": (additive("noise"), lambda c, start: 4.0),
    "proportional": (proportional(0.1), lambda c, start: 0.1 * c),
    "of baseline": (of_baseline(20.0), lambda c, start: 0.2 * start),
    "both": (additive(2.0) + proportional(0.1), lambda c, start: np.hypot(2.0, 0.1 * c)),
}


def measured(error: Any) -> Model:
    """A level of 50 that falls by half a day, measured with an error."""
    outputs = curves.record("Outputs", c=quantity("mg/L", "level", error=error))
    model = curves.model(
        dict(k=np.log(2) / 24, noise=4.0),
        ("central",),
        ("c",),
        lambda t, y, p: dict(central=-p.k * y.central),
        lambda t, y, p: dict(c=y.central),
        initial=lambda p: dict(central=50.0),
        routes={"iv": Route("central")},
    )
    return model.replace(outputs=outputs, observe=lambda t, y, p: outputs(c=y.central))


@pytest.mark.parametrize("backend", ["native", "xla"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_sees_what_is_measured(kind: str, backend: Any):
    """It gives as many mg as it measures mg/L, so that the course tells what it saw: the level and its error."""
    error, sd = KINDS[kind]
    model = measured(error)
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": seen.c}), "what is measured")
    rows = [row | dict(time=24.0 * day) for day in (1, 2)
            for row in (dict(action="decide"), dict(action="dose", into="iv", amount=1.0))]  # fmt: skip
    noise = np.array([[[0.5], [-1.5]], [[2.0], [0.0]]])
    numerics = Numerics(solver="explicit", backend=backend, rtol=1e-9, atol=1e-9)
    got = seen(model, rule, [rows, rows], [0.0, 24.0, 48.0, 72.0], numerics, noise=noise)[0]
    for i in range(2):
        c, want = 50.0, [50.0]
        for z in noise[i, :, 0]:
            c /= 2
            want.append(c)
            c += c + sd(c, 50.0) * z
        assert got[i] == pytest.approx([*want, c / 2], rel=1e-8)


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_a_lognormal_error_multiplies_what_a_rule_sees(backend: Any):
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": seen.c}), "what is measured")
    rows = [dict(action="decide", time=24.0), dict(action="dose", into="iv", amount=1.0, time=24.0)]
    numerics = Numerics(solver="explicit", backend=backend, rtol=1e-9, atol=1e-9)
    noise = np.array([[[1.5]]])
    got = seen(measured(lognormal_error(0.18)), rule, [rows], [0.0, 24.0, 48.0], numerics, noise=noise)[0, 0]
    assert got == pytest.approx([50.0, 25.0, (25 + 25 * np.exp(0.18 * 1.5)) / 2], rel=1e-8)


def test_a_rule_cannot_be_shown_a_beta_error():
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": seen.c}), "what is measured")
    rows = [dict(action="decide", time=24.0), dict(action="dose", into="iv", amount=1.0, time=24.0)]
    with pytest.raises(ValueError, match="c has a beta_error, which a rule cannot be shown"):
        seen(measured(beta_error(50.0, 100.0)), rule, [rows], [48.0], Numerics(solver="explicit"))


def test_without_noise_a_rule_sees_the_truth():
    numerics = Numerics(solver="linear")
    model = measured(additive(2.0))
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": seen.c}), "what is measured")
    rows = [dict(action="decide", time=24.0), dict(action="dose", into="iv", amount=1.0, time=24.0)]
    assert seen(model, rule, [rows], [0.0, 48.0], numerics)[0, 0, 1] == pytest.approx(25.0, rel=1e-12)


# --- INR, weekly -----------------------------------------------------------------------------------------------------

WEEKS = 8


def inr() -> Model:
    """An anticoagulant by mouth, once a day, that slows the loss of INR; its numbers are made up."""
    outputs = curves.record(
        "Outputs", c=quantity("mg/L", "concentration"), inr=quantity("1", "INR", error=proportional("cv"))
    )
    model = curves.model(
        dict(ka=24.0, k=0.4, v=10.0, kout=0.6, imax=0.8, ic50=1.2, cv=0.1),
        ("gut", "plasma", "inr"),
        ("c", "inr"),
        lambda t, y, p: dict(
            gut=-p.ka * y.gut,
            plasma=p.ka * y.gut - p.k * y.plasma,
            inr=p.kout * (1 - (1 - p.imax * y.plasma / (p.ic50 * p.v + y.plasma)) * y.inr),
        ),
        lambda t, y, p: dict(c=y.plasma / p.v, inr=y.inr),
        initial=lambda p: dict(inr=1.0),
        routes={"po": Route("gut")},
    )
    return model.replace(outputs=outputs, observe=lambda t, y, p: outputs(c=y.plasma / p.v, inr=y.inr))


class Tablets(Record):
    dose: Scalar = fixed(5.0, "mg", about="the daily dose")
    before: Scalar = fixed(1.0, "1", about="the INR of the week before")


def adjusted(dose: Any, now: Any, before: Any, where: Callable[..., Any]) -> Any:
    """A tenth more where INR is below 2 and not on its way there, 15 percent less where it is above 3; 1 to 20 mg."""
    raised = where((now < 2) & (now - before < 0.3), 1.1 * dose, dose)
    dose = where(now > 3, 0.85 * dose, raised)
    return where(dose > 20.0, 20.0, where(dose < 1.0, 1.0, dose))


def weekly(t: Scalar, seen: Any, m: Tablets) -> Decision[Tablets]:
    dose = adjusted(m.dose, seen.inr, m.before, jnp.where)
    return Decision(Tablets(dose=dose, before=seen.inr), doses={"po": dose})


WEEKLY = Rule(Tablets, weekly, "the daily dose by the INR of the week")


def by_hand(p: dict[str, float], z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """INR at the end of each week and the daily dose of each; z: (weeks - 1,), the error of each measurement."""

    def rates(t: float, y: np.ndarray) -> list[float]:
        inhibited = 1 - p["imax"] * y[1] / (p["ic50"] * p["v"] + y[1])
        return [-p["ka"] * y[0], p["ka"] * y[0] - p["k"] * y[1], p["kout"] * (1 - inhibited * y[2])]

    y, dose, before, ends, doses = np.array([0.0, 0.0, 1.0]), 5.0, 1.0, [], []
    for week in range(WEEKS):
        if week:
            now = float(y[2] * (1 + p["cv"] * z[week - 1]))
            dose, before = float(adjusted(dose, now, before, lambda c, a, b: a if c else b)), now
        doses.append(dose)
        for _ in range(7):
            y[0] += dose
            y = solve_ivp(rates, (0, 1), y, method="LSODA", rtol=1e-11, atol=1e-12).y[:, -1].copy()
        ends.append(y[2])
    return np.array(ends), np.array(doses)


@functools.cache
def clinic() -> tuple[Any, np.ndarray, list[dict[str, Any]]]:
    """Six patients, the errors of their measurements, and their course."""
    rng = np.random.default_rng(14)
    people = [dict(k=0.4 * rng.lognormal(0, 0.3), ic50=1.2 * rng.lognormal(0, 0.5)) for _ in range(6)]
    rows = [dict(action="dose", into="po", amount=5.0, interval=1.0, additional=6)]
    for week in range(1, WEEKS):
        rows += [dict(action="decide", time=7.0 * week), rows[0] | dict(time=7.0 * week)]
    return curves.subjects(inr(), people), rng.standard_normal((6, WEEKS - 1, 2)), rows


@pytest.mark.parametrize("solver", ["explicit", "stiff"])
@pytest.mark.parametrize("backend", ["native", "xla"])
def test_inr_is_guided_as_a_clinic_would_by_hand(backend: Any, solver: Any):
    p, noise, rows = clinic()
    model, ends = inr(), 7.0 * np.arange(1, WEEKS + 1)
    numerics = Numerics(solver=solver, backend=backend, rtol=1e-9, atol=1e-9)
    got = seen(model, WEEKLY, [rows] * 6, ends, numerics, p=p, noise=noise)[1]
    doses = []
    for i in range(6):
        want, given = by_hand({n: float(v[i]) for n, v in vars(p).items()}, noise[i, :, 1])
        assert got[i] == pytest.approx(want, rel=1e-6), i
        doses.append(given)
    assert len(np.unique(np.array(doses)[:, -1])) > 3  # the clinic had something to do


@pytest.mark.parametrize("solver", ["explicit", "stiff"])
def test_a_patient_who_is_guided_is_the_same_alone_and_in_any_company(solver: Any, monkeypatch: pytest.MonkeyPatch):
    p, noise, rows = clinic()
    model, times, run = inr(), np.arange(0.0, 7 * WEEKS + 1, 3), native.run
    numerics = Numerics(solver=solver, rtol=1e-6, atol=1e-8)

    def bits(who: list[int], **how: Any) -> np.ndarray:
        some = type(p)(**{n: v[who] for n, v in vars(p).items()})
        made = seen(model, WEEKLY, [rows] * len(who), times, numerics, p=some, noise=noise[who], **how)
        return np.moveaxis(made, 1, 0).copy().view(np.int64)

    everyone = bits(list(range(6)))
    assert np.array_equal(bits([5, 1, 3, 1]), everyone[[5, 1, 3, 1]])
    assert np.array_equal(bits([0, 1, 2, 3, 4, 5] * 20, threads=2), np.tile(everyone, (20, 1, 1)))
    for i in range(6):
        assert np.array_equal(bits([i])[0], everyone[i])
    for width in (4, 8, 16):
        monkeypatch.setattr(native, "run", functools.partial(run, width=width))
        assert np.array_equal(bits(list(range(6))), everyone)


# --- a pump every five minutes ---------------------------------------------------------------------------------------


def glucose() -> Model:
    """Glucose, insulin and its delayed action, a meal at the first hour; numbers are made up."""
    return curves.model(
        dict(sg=0.02, si=0.0006, p2=0.05, ke=0.09, base=110.0, meal=90.0),
        ("glucose", "action", "insulin"),
        ("glucose",),
        lambda t, y, p: dict(
            glucose=p.sg * (p.base - y.glucose)
            - y.action * y.glucose
            + p.meal / 30 * jnp.where((t >= 60) & (t < 90), 1.0, 0.0),
            action=p.p2 * (p.si * y.insulin - y.action),
            insulin=-p.ke * y.insulin,
        ),
        lambda t, y, p: dict(glucose=y.glucose),
        initial=lambda p: dict(glucose=160.0),
        routes={"pump": Route("insulin")},
    )


class Controller(Record):
    total: Scalar = fixed(0.0, "mg min/dL", about="sum of what was above the target")


def control(t: Scalar, seen: Any, m: Controller) -> Decision[Controller]:
    above = seen.glucose - 100
    total = jnp.clip(m.total + 5 * above, -1000.0, 3000.0)
    return Decision(Controller(total=total), rates={"pump": jnp.maximum(0.02 * above + 0.0005 * total, 0.0)})


PUMP = Rule(Controller, control, "insulin by what glucose is above 100 mg/dL, and was")
MINUTES = np.arange(0.0, 300.0, 5.0)


def pumped(p: dict[str, float], z: np.ndarray) -> np.ndarray:
    """Glucose at each decision, by SciPy from one to the next."""
    y, total, course = np.array([160.0, 0.0, 0.0]), 0.0, []
    for k, t in enumerate(MINUTES):
        course.append(y[0])
        above = y[0] + 0.1 * z[k] - 100
        total = float(np.clip(total + 5 * above, -1000, 3000))
        rate = max(0.02 * above + 0.0005 * total, 0.0)
        eats = p["meal"] / 30 if 60 <= t < 90 else 0.0

        def rates(_: float, y: np.ndarray, rate: float = rate, eats: float = eats) -> list[float]:
            return [
                p["sg"] * (p["base"] - y[0]) - y[1] * y[0] + eats,
                p["p2"] * (p["si"] * y[2] - y[1]),
                rate - p["ke"] * y[2],
            ]

        y = solve_ivp(rates, (t, t + 5), y, method="DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    return np.array(course)


@pytest.mark.parametrize("solver", ["explicit", "stiff"])
@pytest.mark.parametrize("backend", ["native", "xla"])
def test_a_pump_follows_glucose_every_five_minutes(backend: Any, solver: Any):
    model, rng = glucose(), np.random.default_rng(15)
    people = [{}, dict(si=0.0011), dict(meal=140.0)]
    p, z = curves.subjects(model, people), rng.standard_normal((3, len(MINUTES), 1))
    rows = [dict(action="decide", time=t) for t in MINUTES]
    numerics = Numerics(solver=solver, backend=backend, rtol=1e-9, atol=1e-9)
    got = seen(model, PUMP, [rows] * 3, MINUTES, numerics, p=p, noise=z)[0]
    for i in range(3):
        want = pumped({n: float(v[i]) for n, v in vars(p).items()}, z[i, :, 0])
        assert got[i] == pytest.approx(want, rel=1e-6), i
    assert got.max(axis=1).min() > 150
    assert np.abs(got[:, -1] - 100).max() < 15  # it is held


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["doses", "rates"])
def test_a_rule_that_doses_no_route_of_the_model_is_refused(what: str):
    wrong: dict[str, Any] = {what: {"sc": 1.0}}
    rule = Rule(Dose, lambda t, seen, m: Decision(m, **wrong), "under the skin")
    with pytest.raises(ValueError, match="the rule doses 'sc'; the routes are iv, po"):
        seen(VEIN, rule, [daily(3)], [72.0], NATIVE[0])


@pytest.mark.parametrize("shape", [(2, 2, 1), (1, 1, 1), (1, 2, 3), (2, 1)])
def test_errors_of_measurement_that_do_not_reach_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="write 1 subjects, at least 2 decisions"):
        seen(VEIN, DOUBLING, [daily(3)], [72.0], NATIVE[0], noise=np.zeros(shape))


def test_a_rule_is_a_program_of_scalars_too():
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": jnp.cbrt(seen.c)}), "a root")
    with pytest.raises(ValueError, match=r"decide: cbrt is not an operation .* write x \*\* \(1 / 3\) instead"):
        seen(VEIN, rule, [daily(3)], [72.0], NATIVE[0])


@each(ALL)
def test_a_dose_ordered_that_is_no_number_fails_its_patient_and_no_other(numerics: Numerics):
    """The root of what is measured above 30 mg/L does not exist for the patient who is below."""
    rule = Rule(Dose, lambda t, seen, m: Decision(m, doses={"iv": jnp.sqrt(seen.c - 30)}), "a root")
    p = curves.subjects(VEIN, [{}, dict(k=0.01)])
    rows = daily(3)
    out, status = solve(VEIN, p, curves.events([rows, rows]), [24.0, 72.0], rule=rule, numerics=numerics)
    assert [CODES[code] for code in np.asarray(status.code)] == ["not finite", "finished"]
    assert np.isnan(np.asarray(out.c)[0]).all()
    assert np.isfinite(np.asarray(out.c)[1]).all()
