"""One dose and an indirect response against the engine's solution of the same equations, and where they are plain."""

import jax.numpy as jnp
import numpy as np
import pytest

from cohort import Events, Numerics, solve
from cohort.library import load
from cohort.pharmacometrics.indirect_response import one_dose, slowed


def test_concentration_and_response_are_those_that_the_engine_solves():
    model, n = load("warfarin_total"), 24
    rng = np.random.default_rng(3)
    z = {name: rng.standard_normal(n) for name in model.effects()}
    p = model.subject(model.typical(), z, model.covariates(weight=rng.uniform(40, 110, n)))
    times = np.array([0.0, 2.0, 24, 36, 48, 96, 144])
    fine = Numerics(rtol=1e-11, atol=1e-11)
    solved, _ = solve(model, p, Events.of(n, time=0.0, into="oral", amount=100.0), times, numerics=fine)

    ka, cl, v, c50 = (jnp.asarray(own)[:, None] for own in (p.ka, p.cl, p.v, p.c50))
    c = one_dose(times - p.lag, 100.0, ka, cl, v)
    assert np.abs(c - solved.c).max() < 1e-9

    def inhibition(t):
        at = one_dose(t - p.lag, 100.0, ka[..., None], cl[..., None], v[..., None])
        return at / (c50[..., None] + at)

    pca = slowed(times, np.full(n, float(p.lag)), p.pca0, p.kout, inhibition)
    assert np.abs(pca - solved.pca).max() < 1e-3  # percent of normal


def test_equal_rates_of_absorption_and_elimination_are_no_hole():
    near, equal = (float(one_dose(5.0, 10.0, ka, 1.0, 2.0)) for ka in (0.5 + 1e-5, 0.5))
    assert equal == pytest.approx(near, rel=1e-4)
    assert equal == pytest.approx(10 / 2 * 0.5 * 5 * np.exp(-2.5), rel=1e-12)


def test_full_inhibition_is_plain_decay_and_none_leaves_the_base():
    times, one = np.array([0.0, 10.0, 30.0]), np.ones(1)
    gone = slowed(times, 4.0 * one, 90.0 * one, 0.1 * one, lambda t: jnp.ones_like(t))
    assert gone[0] == pytest.approx([90.0, 90 * np.exp(-0.6), 90 * np.exp(-2.6)], rel=1e-9)
    still = slowed(times, 4.0 * one, 90.0 * one, 0.1 * one, lambda t: jnp.zeros_like(t))
    assert still[0] == pytest.approx([90.0, 90.0, 90.0], rel=1e-9)
