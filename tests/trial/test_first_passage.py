"""First passage of an integrated hazard, against integrals known in closed form or taken by quadrature."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from cohort.trial.hazards import constant, passage, switching


def _one(edges, left, right, base, level) -> float:
    made = passage(np.array([edges]), np.array([left]), np.array([right]), np.array([base]), np.array([level]))
    return float(made[0])


@given(level=st.floats(1e-6, 20), base=st.floats(1e-4, 1))
def test_a_constant_hazard_gives_the_level_by_the_hazard(level: float, base: float):
    found = _one([0.0, 10.0, 25.0, 84.0], [0.0] * 3, [0.0] * 3, base, level)
    assert found == (pytest.approx(level / base, rel=1e-12) if level / base <= 84 * (1 - 1e-12) else found)
    assert math.isinf(found) == (level > base * 84 * (1 - 1e-12)) or level == pytest.approx(base * 84)


@given(
    log=st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    level=st.floats(0.01, 3),
)
def test_double_programmed_a_log_linear_hazard_agrees_with_quadrature(log: list[float], level: float):
    edges, base = [0.0, 7.0, 20.0, 40.0], 0.05

    def rate(t: float) -> float:
        return base * math.exp(np.interp(t, edges, log))

    def gained(t: float) -> float:
        parts = [min(t, e) for e in edges]
        return sum(scipy.integrate.quad(rate, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(parts))

    found = _one(edges, log[:-1], log[1:], base, level)
    if math.isinf(found):
        assert gained(40.0) <= level * (1 + 1e-9)
    else:
        assert gained(found) == pytest.approx(level, rel=1e-8)


def test_segments_of_no_length_are_passed_over():
    assert _one([0.0, 5.0, 5.0, 9.0], [0, 3, 0], [0, 3, 0], 0.1, 0.7) == pytest.approx(7.0)


def test_a_hazard_that_switches_is_that_of_its_two_parts():
    level = np.array([0.2, 0.9, 0.9])
    at = np.array([5.0, 5.0, np.inf])
    found = switching(np.full(3, 0.1), np.full(3, 0.02), at, level)
    assert found == pytest.approx([2.0, 5 + 0.4 / 0.02, 9.0])


def test_the_constant_hazard_loses_its_share_by_the_end():
    assert 1 - math.exp(-constant(0.3, 84.0) * 84.0) == pytest.approx(0.3)
