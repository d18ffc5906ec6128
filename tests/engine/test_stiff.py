"""Robertson's reactions and Van der Pol's oscillator: published values of the stiffest problems of the field.

References
----------
[1] Enright & Pryce 1987, ACM Trans Math Softw 13:28 (algorithm 648), problem D2: Robertson's reactions, y2 in units of
    1e-4 and y3 of 1e-2; the state at t = 40.
[2] Mazzia & Magherini 2008, Test Set for Initial Value Problem Solvers, release 2.4, University of Bari: Robertson's
    reactions at t = 1e11; Van der Pol's oscillator with mu = 1000 at t = 2000.
[3] Hairer & Wanner 1996, Solving Ordinary Differential Equations II, section IV.10, and the table of exact values that
    goes with it: Van der Pol's oscillator with epsilon = 1e-6 at t = 1, 2, ... 11.
"""

from typing import Any

import curves
import numpy as np
import pytest

from cohort.dosing.records import Events
from cohort.engine import CODES, Numerics, solve
from cohort.model import Model

BACKENDS = ["native", "xla"]


def robertson() -> Model:
    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        slow, fast, back = p.k1 * y.a, p.k2 * y.b * y.b, p.k3 * y.b * y.c
        return dict(a=-slow + back, b=slow - back - fast, c=fast)

    return curves.model(
        dict(k1=0.04, k2=3e7, k3=1e4),
        ("a", "b", "c"),
        ("a", "b", "c", "all"),
        ode,
        lambda t, y, p: vars(y) | dict(all=y.a + y.b + y.c),
        initial=lambda p: dict(a=1.0),
    )


def van_der_pol() -> Model:
    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(y=y.v, v=((1 - y.y**2) * y.v - y.y) / p.epsilon)

    return curves.model(
        dict(epsilon=1e-6), ("y", "v"), ("y", "v"), ode, lambda t, y, p: vars(y), initial=lambda p: dict(y=2.0)
    )


def course(of: Model, times: np.ndarray, backend: Any, rtol: float, atol: float) -> Any:
    numerics = Numerics(solver="stiff", backend=backend, rtol=rtol, atol=atol)
    out, status = solve(of, curves.subjects(of, [{}]), Events.none(1), times, numerics=numerics)
    assert [CODES[c] for c in np.asarray(status.code)] == ["finished"]
    return {n: np.asarray(v)[0] for n, v in vars(out).items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_robertsons_reactions_are_those_published(backend: str):
    times = np.array([0.0, 0.4, 40.0, 4e3, 4e5, 4e7, 1e11])
    got = course(robertson(), times, backend, 1e-9, 1e-20)
    at_40 = [got[n][2] for n in "abc"]
    np.testing.assert_allclose(at_40, [0.7158270687193941, 9.185534764557338e-06, 0.2841637457458413], rtol=1e-8)  # [1]
    last = [got[n][-1] for n in "abc"]
    np.testing.assert_allclose(  # [2], which gives nine digits of the reactions that have all but ended
        last, [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050], rtol=1e-7
    )
    np.testing.assert_allclose(got["all"], 1, rtol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_van_der_pols_oscillator_is_the_one_published(backend: str):
    want = [  # [3]; the second is also that of [2]
        (-0.1863646254808130e1, 0.7535430865435460),
        (0.1706167732170456e1, -0.8928097010248257),
        (-0.1510606936744095e1, 0.1178380000730945e1),
        (0.1194414677695905e1, -0.2799585996540082e1),
        (0.1890428596416747e1, -0.7345118680166940),
        (-0.1737716306805883e1, 0.8604008653025923),
        (0.1551614645548223e1, -0.1102382892533321e1),
        (-0.1278631984330405e1, 0.2013890883009155e1),
        (-0.1916552949489830e1, 0.7169573003463228),
        (0.1768163792391936e1, -0.8315276407898496),
        (-0.1590150544829062e1, 0.1040279389212485e1),
    ]
    got = course(van_der_pol(), np.arange(12.0), backend, 1e-9, 1e-9)
    np.testing.assert_allclose(np.column_stack([got["y"], got["v"]])[1:], want, rtol=1e-6)


def test_the_same_oscillator_is_beyond_an_explicit_method_but_not_beyond_its_limit_of_steps():
    """Stability, not accuracy, holds the explicit method to steps of a millionth: it gives up, and says so."""
    of = van_der_pol()
    numerics = Numerics(solver="explicit", rtol=1e-6, atol=1e-6)
    out, status = solve(of, curves.subjects(of, [{}]), Events.none(1), np.array([0.0, 11.0]), numerics=numerics)
    assert [CODES[c] for c in np.asarray(status.code)] == ["step limit"]
    assert np.isnan(np.asarray(out.y)).all()
    assert 0 < float(np.asarray(status.time)[0]) < 11
