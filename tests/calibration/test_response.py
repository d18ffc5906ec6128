"""The calibration's own integral of LDL is the simulator's, and it can be differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohort.calibration.response import (
    CalibrationError,
    drivers_and_responses,
    representative,
    response,
    slopes,
)
from cohort.dosing import events
from cohort.engine import solve
from cohort.model import Endpoint
from cohort.units import Quantity

SUBJECTS = 64
NEAR_THE_POSTERIOR = {
    "kout": 0.31,
    "smax": 2.6,
    "sc50": 2.55,
    "smax.spread": 0.38,
    "sc50.spread": 0.43,
    "drift": 0.0076,
}
SLOW_TURNOVER = {"kout": 0.17, "smax": 1.8, "sc50": 0.9, "smax.spread": 0.02, "sc50.spread": 0.02, "drift": 0.04}
FAST_TURNOVER = {"kout": 0.52, "smax": 3.9, "sc50": 5.6, "smax.spread": 0.87, "sc50.spread": 1.1, "drift": -0.025}


@pytest.fixture(scope="module")
def endpoint(laplace, people, evolocumab):
    step = laplace.calibration.step.to("d")
    return jax.jit(response(laplace, people, evolocumab, SUBJECTS, step))


@pytest.fixture(scope="module")
def simulated(laplace, people, evolocumab):
    """The same subjects through the whole model and the adaptive solver: percent change, (arms, subjects)."""
    x, z = representative(evolocumab, people, SUBJECTS, laplace.seed)
    times = np.array([visit.to("d") for visit in laplace.visits])

    def run(values):
        p = evolocumab.subject(values, z, x)
        p = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a, float), (SUBJECTS,)), p)
        rows = []
        for arm in laplace.arms.values():
            given = events(arm, evolocumab, [str(i) for i in range(SUBJECTS)], 1, times[-1])
            out, status = solve(evolocumab, p, given, times)
            assert not status.code.any()
            rows.append(np.asarray(evolocumab.endpoints["ldl_change"].reads(out)))
        return np.array(rows)

    return run


def test_an_arm_that_sets_covariates_has_the_course_of_people_who_have_them(laplace, people, evolocumab):
    """Everyone in the one arm weighs 110 kg and takes a statin; in the others people are as they are."""
    arm = next(name for name, plan in laplace.arms.items() if plan.active)
    sets = {"weight": Quantity(110.0, "kg"), "statin": "yes"}
    arms = laplace.arms | {arm: laplace.arms[arm].model_copy(update={"sets": sets})}
    study, step = laplace.model_copy(update={"arms": arms}), laplace.calibration.step.to("d")
    at = list(study.arms).index(arm)
    values = evolocumab.typical() | NEAR_THE_POSTERIOR
    made = np.asarray(response(study, people, evolocumab, SUBJECTS, step)(values))
    plain = np.asarray(response(laplace, people, evolocumab, SUBJECTS, step)(values))
    others = np.arange(len(arms)) != at
    assert made[others] == pytest.approx(plain[others], rel=1e-9)

    x, z = representative(evolocumab, people, SUBJECTS, laplace.seed)
    x = x.replace(weight=np.full(SUBJECTS, 110.0), statin=np.full(SUBJECTS, 1))
    times = np.array([visit.to("d") for visit in laplace.visits])
    p = evolocumab.subject(values, z, x)
    p = jax.tree.map(lambda a: np.broadcast_to(np.asarray(a, float), (SUBJECTS,)), p)
    given = events(laplace.arms[arm], evolocumab, [str(i) for i in range(SUBJECTS)], 1, times[-1])
    solved = evolocumab.endpoints["ldl_change"].reads(solve(evolocumab, p, given, times)[0])
    assert made[at].mean() == pytest.approx(np.asarray(solved).mean(), abs=0.1)  # of the grid, as below
    assert abs(made[at].mean() - plain[at].mean()) > 1  # percent points: it does matter


@pytest.mark.parametrize(
    ("values", "of_mean", "of_subject"),
    [
        ({}, 0.1, 0.25),  # measured 0.058 and 0.18 percentage points
        (NEAR_THE_POSTERIOR, 0.1, 0.25),  # 0.065 and 0.20
        (SLOW_TURNOVER, 0.1, 0.25),  # 0.035 and 0.08
        (FAST_TURNOVER, 0.13, 0.6),  # 0.115 and 0.55: the corner of the posterior where LDL moves fastest
    ],
    ids=["typical", "near the posterior", "slow turnover", "fast turnover"],
)
def test_ldl_on_the_grid_is_that_of_the_simulator(endpoint, simulated, evolocumab, values, of_mean, of_subject):
    """0.1 percentage point on every arm's mean; what a patient is off by has the grid's sign and is little more."""
    values = evolocumab.typical() | values
    mine, theirs = np.asarray(endpoint(values)), simulated(values)
    assert np.abs(mine.mean(axis=1) - theirs.mean(axis=1)).max() < of_mean
    assert np.abs(mine - theirs).max() < of_subject


def test_a_grid_twice_as_fine_is_four_times_as_near(laplace, people, evolocumab, endpoint, simulated):
    """The exponential midpoint rule is of second order."""
    values = evolocumab.typical() | NEAR_THE_POSTERIOR
    finer = np.asarray(jax.jit(response(laplace, people, evolocumab, SUBJECTS, 0.375))(values))
    truth = simulated(values)
    coarse, fine = (np.abs(a.mean(axis=1) - truth.mean(axis=1)).max() for a in (np.asarray(endpoint(values)), finer))
    assert 3 < coarse / fine < 6


def test_placebo_changes_nothing(laplace, endpoint, evolocumab):
    changes = np.asarray(endpoint(evolocumab.typical()))
    for k, arm in enumerate(laplace.arms.values()):
        assert (np.abs(changes[k]).max() < 1e-12) == (arm.dose is None)


def test_on_placebo_the_drift_is_all_there_is(laplace, endpoint, evolocumab):
    changes = np.asarray(endpoint(evolocumab.typical() | {"drift": 0.03}))
    assert changes[list(laplace.arms).index("placebo_q4w")] == pytest.approx(3.0, abs=1e-9)


def test_a_larger_dose_lowers_ldl_more_in_everyone(laplace, endpoint, evolocumab):
    changes = dict(zip(laplace.arms, np.asarray(endpoint(evolocumab.typical())), strict=True))
    for regimen in (("70_q2w", "105_q2w", "140_q2w"), ("280_q4w", "350_q4w", "420_q4w")):
        low, middle, high = (changes[f"evolocumab_{name}"] for name in regimen)
        assert (high < middle).all()
        assert (middle < low).all()


@pytest.mark.parametrize("name", ["kout", "smax", "sc50", "smax.spread", "sc50.spread", "drift"])
def test_the_gradient_is_that_of_finite_differences(endpoint, evolocumab, name: str):
    values = evolocumab.typical() | NEAR_THE_POSTERIOR

    def means(v):
        return jnp.mean(endpoint({**values, name: v}), axis=1)

    at, h = values[name], 1e-5 * max(abs(values[name]), 0.01)
    want = (means(at + h) - means(at - h)) / (2 * h)
    assert np.asarray(jax.jacfwd(means)(at)) == pytest.approx(np.asarray(want), rel=1e-5, abs=1e-6)


def test_only_ldl_is_touched_by_what_is_calibrated(evolocumab):
    assert drivers_and_responses(evolocumab, {"kout", "smax", "sc50"}) == (["depot", "central"], ["ldl"])


def test_a_response_that_is_not_linear_in_itself_is_refused(evolocumab):
    def ode(t, y, p):
        return evolocumab.ode(t, y, p).replace(ldl=p.kout * p.base - p.kout * y.ldl**2 / p.base)

    with pytest.raises(CalibrationError, match=r"the state 'ldl' depends on calibrated .* not linear in itself alone"):
        drivers_and_responses(evolocumab.replace(ode=ode), {"kout"})


def test_a_response_that_needs_another_is_refused(evolocumab):
    """Calibrating clearance makes the concentration a response, and LDL needs it."""
    with pytest.raises(CalibrationError, match=r"is not linear in itself alone"):
        drivers_and_responses(evolocumab, {"cl", "kout"})


def test_of_ldl_the_first_and_the_last_visit_count(evolocumab):
    moves = slopes(evolocumab, "ldl_change", 13)
    assert np.flatnonzero(moves["ldl"]).tolist() == [0, 12]
    assert not moves["c"].any()


def test_of_an_average_the_visits_averaged_count(evolocumab):
    middle = Endpoint(lambda out: jnp.mean(out.ldl[..., 2:5], axis=-1), unit="mg/dL", about="mean of three visits")
    moves = slopes(evolocumab.replace(endpoints={"middle": middle}), "middle", 13)
    assert np.flatnonzero(moves["ldl"]).tolist() == [2, 3, 4]


def test_representative_patients_are_real_rows_with_standard_normal_effects(laplace, people, evolocumab):
    x, z = representative(evolocumab, people, SUBJECTS, laplace.seed)
    pairs = set(zip(people["weight"].to_list(), people["ldl"].to_list(), strict=True))
    assert set(zip(x.weight.tolist(), x.ldl.tolist(), strict=True)) <= pairs
    assert set(z) == set(evolocumab.effects())
    for normal in z.values():  # quasi-random: much nearer than 1/√64
        assert normal.mean() == pytest.approx(0, abs=0.05)
        assert normal.std() == pytest.approx(1, abs=0.1)
    again = representative(evolocumab, people, SUBJECTS, laplace.seed)[1]
    assert all((again[name] == z[name]).all() for name in z)
