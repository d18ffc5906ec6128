"""Curves known in closed form, and a patient's bits that depend on the patient alone."""

import jax
import numpy as np
import pytest

from cohort.dosing.records import Events
from cohort.engine import CODES, Numerics, solve

TIMES = np.array([0.0, 0.5, 1, 2, 4, 7, 10, 14, 21, 28])
N = 300


def _doses(route: str, times: list[float], amount: float | np.ndarray, n: int = N) -> Events:
    amounts = np.broadcast_to(np.reshape(amount, (-1, 1)), (n, len(times))).ravel()
    course = np.repeat(np.arange(n), len(times))
    return Events.of(n, np.arange(n), course=course, time=np.tile(times, n), into=route, amount=amounts)


def _take(record, rows):
    return jax.tree.map(lambda a: np.asarray(a)[rows], record)


def _bolus(p, t: np.ndarray) -> np.ndarray:
    """Concentration after 1 mg into the plasma; (n, times)."""
    k = (p.cl / p.v)[:, None]
    return np.where(t > 0, np.exp(-k * t) / p.v[:, None], 0.0)


def _absorbed(p, t: np.ndarray) -> np.ndarray:
    """Concentration after 1 mg under the skin: Bateman's function; (n, times)."""
    k, ka = (p.cl / p.v)[:, None], p.ka[:, None]
    curve = p.f[:, None] * ka / (p.v[:, None] * (ka - k)) * (np.exp(-k * t) - np.exp(-ka * t))
    return np.where(t > 0, curve, 0.0)


def test_an_intravenous_dose_falls_exponentially(linear, subjects):
    out, status = solve(linear, subjects, _doses("iv", [0.0], 100.0), TIMES)
    assert not status.code.any()
    assert out.c == pytest.approx(100 * _bolus(subjects, TIMES), rel=1e-6, abs=1e-7)


def test_a_subcutaneous_dose_follows_batemans_function(linear, subjects):
    out, _ = solve(linear, subjects, _doses("sc", [0.0], 100.0), TIMES)
    assert out.c == pytest.approx(100 * _absorbed(subjects, TIMES), rel=1e-6, abs=1e-7)


def test_repeated_doses_of_a_linear_drug_superpose(linear, subjects):
    given = [0.0, 3.0, 6.0, 9.5]
    out, _ = solve(linear, subjects, _doses("sc", given, 100.0), TIMES)
    want = sum(100 * _absorbed(subjects, TIMES - t) for t in given)
    assert out.c == pytest.approx(want, rel=1e-6, abs=1e-7)


def test_two_routes_at_once_superpose(linear, subjects):
    both = Events.of(N, into=["iv", "sc"], amount=[10.0, 100.0])
    out, _ = solve(linear, subjects, both, TIMES)
    want = 10 * _bolus(subjects, TIMES) + 100 * _absorbed(subjects, TIMES)
    assert out.c == pytest.approx(want, rel=1e-6, abs=1e-7)


def test_a_closed_model_keeps_all_that_was_absorbable(linear, subjects):
    out, _ = solve(linear, subjects, _doses("sc", [0.0, 5.0], 100.0), TIMES)
    want = 100 * subjects.f[:, None] * np.where(TIMES > 5, 2, np.where(TIMES > 0, 1, 0))
    assert out.total == pytest.approx(want, rel=1e-9)


def test_a_dose_at_the_time_of_a_visit_comes_after_it(linear, subjects):
    once, _ = solve(linear, subjects, _doses("iv", [0.0], 100.0), TIMES)
    again, _ = solve(linear, subjects, _doses("iv", [0.0, 7.0], 100.0), TIMES)
    assert np.all(again.c[:, 0] == 0)
    trough = TIMES.tolist().index(7.0)
    assert again.c[:, : trough + 1] == pytest.approx(once.c[:, : trough + 1], rel=1e-12)
    assert np.all(again.c[:, trough + 1] > once.c[:, trough + 1])


def test_a_dose_at_or_after_the_last_visit_is_not_seen(linear, subjects):
    out, _ = solve(linear, subjects, _doses("iv", [0.0, 28.0, 40.0], 100.0), TIMES)
    assert np.array_equal(out.c, solve(linear, subjects, _doses("iv", [0.0], 100.0), TIMES)[0].c)


def test_without_a_dose_nothing_happens(linear, subjects):
    out, status = solve(linear, subjects, Events.none(N), TIMES)
    assert not status.code.any()
    assert not out.c.any()


def test_ldl_at_a_constant_concentration_reaches_the_level_that_stimulation_sets(evolocumab):
    """dL/dt = kout*base - kout*(1 + s)*L has the solution base/(1 + s) + (base - base/(1 + s))*exp(-kout*(1 + s)*t)."""

    def ode(t, y, p):
        return evolocumab.ode(t, y, p).replace(depot=0.0 * y.depot, central=0.0 * y.central)

    constant = evolocumab.replace(ode=ode)
    c_mass = np.array([0.0, 0.5, 2.0, 10.0, 100.0])
    p = evolocumab.parameters(**{name: np.full(5, value) for name, value in vars(evolocumab.parameters()).items()})
    amounts = c_mass / p.ug_per_nmol * p.v
    times = np.array([0.0, 1, 3, 7, 28, 84])
    out, _ = solve(constant, p, _doses("iv", [0.0], amounts, 5), times)
    s = (2 * c_mass / (2 + c_mass))[:, None]
    want = 120 / (1 + s) + (120 - 120 / (1 + s)) * np.exp(-0.305 * (1 + s) * times)
    assert out.ldl == pytest.approx(want, rel=1e-7)
    assert out.ldl[:, -1] == pytest.approx(120 / (1 + s[:, 0]), rel=1e-7)


def test_a_patients_bits_are_the_same_alone_in_company_and_in_any_order(linear, subjects):
    doses = np.linspace(50, 200, N)
    together, _ = solve(linear, subjects, _doses("sc", [0.0, 5.0], doses), TIMES)
    back = np.arange(N)[::-1]
    reversed_, _ = solve(linear, _take(subjects, back), _doses("sc", [0.0, 5.0], doses[back]), TIMES)
    assert np.array_equal(reversed_.c, together.c[back])
    for i in (0, 1, 15, 16, N - 1):
        alone, _ = solve(linear, _take(subjects, [i]), _doses("sc", [0.0, 5.0], doses[i], 1), TIMES)
        assert np.array_equal(alone.c[0], together.c[i])
        assert np.array_equal(alone.total[0], together.total[i])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_parameter_that_is_no_number_fails_its_patient_and_no_other(linear, subjects, value: float):
    healthy, _ = solve(linear, subjects, _doses("sc", [0.0], 100.0), TIMES)
    cl = np.array(subjects.cl)
    cl[[0, 130]] = value
    out, status = solve(linear, subjects.replace(cl=cl), _doses("sc", [0.0], 100.0), TIMES)
    assert [CODES[c] for c in status.code[[0, 130]]] == ["not finite"] * 2
    assert np.isnan(out.c[[0, 130]]).all()
    others = np.setdiff1d(np.arange(N), [0, 130])
    assert not status.code[others].any()
    assert np.array_equal(out.c[others], healthy.c[others])


def test_a_dose_that_is_no_number_fails_its_patient(linear, subjects):
    doses = np.full(N, 100.0)
    doses[7] = np.nan
    out, status = solve(linear, subjects, _doses("sc", [0.0], doses), TIMES)
    assert np.flatnonzero(status.code).tolist() == [7]
    assert np.isnan(out.c[7]).all()


def test_when_no_patient_can_be_solved_all_have_the_reason(linear, subjects):
    out, status = solve(linear, subjects.replace(cl=np.full(N, np.nan)), _doses("sc", [0.0], 100.0), TIMES)
    assert {CODES[c] for c in status.code} == {"not finite"}
    assert out.c.shape == (N, len(TIMES))
    assert np.isnan(out.c).all()


@pytest.mark.parametrize("dose", [1e12, 1e100, 1e300])
def test_finite_nonsense_is_a_failure_not_a_number(linear, subjects, dose: float):
    doses = np.full(N, 100.0)
    doses[7] = dose
    out, status = solve(linear, subjects, _doses("iv", [0.0], doses), TIMES)
    assert np.flatnonzero(status.code).tolist() == [7]
    assert CODES[status.code[7]] in ("out of plausible range", "step limit", "not finite")
    assert np.isnan(out.c[7]).all()
    healthy, _ = solve(linear, subjects, _doses("iv", [0.0], 100.0), TIMES)
    assert np.array_equal(np.delete(out.c, 7, axis=0), np.delete(healthy.c, 7, axis=0))


def test_an_implausible_concentration_is_named_with_the_visit_that_shows_it(linear, subjects):
    doses = np.full(N, 100.0)
    doses[7] = 1e9
    _, status = solve(linear, subjects, _doses("iv", [0.0], doses), TIMES)
    assert CODES[status.code[7]] == "out of plausible range"
    assert status.time[7] == 0.5
    assert np.isnan(np.delete(status.time, 7)).all()


def test_a_patient_too_stiff_for_the_steps_meets_the_step_limit(linear, subjects):
    ka = np.array(subjects.ka)
    ka[7] = 1e8
    few = Numerics(solver="explicit", most=1000)
    out, status = solve(linear, subjects.replace(ka=ka), _doses("sc", [0.0], 100.0), TIMES, numerics=few)
    assert np.flatnonzero(status.code).tolist() == [7]
    assert CODES[status.code[7]] == "step limit"
    assert status.state[7] in linear.state.fields()
    assert 0 <= status.time[7] < 0.5
    assert np.isnan(out.c[7]).all()


@pytest.mark.parametrize("solver", ["linear", "explicit"])
def test_what_only_adds_up_starts_anew_at_a_steady_state(linear, subjects, solver):
    """Eliminated over one interval of a steady state: all that was given."""
    given = Events.of(N, into="iv", amount=100.0, interval=7.0, steady=1)
    out, status = solve(linear, subjects, given, [0.0, 7.0], numerics=Numerics(solver=solver))
    assert not status.code.any()
    k = subjects.cl / subjects.v
    trough = 100 / subjects.v * np.exp(-7 * k) / (1 - np.exp(-7 * k))
    assert out.c[:, 1] == pytest.approx(trough, rel=1e-6)
    in_plasma = out.c * subjects.v[:, None]
    gone = (out.total - in_plasma)[:, 1]
    assert gone == pytest.approx(100, rel=1e-6)
