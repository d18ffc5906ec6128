"""Both stepping methods are of order five: their coefficients, their steps, and what a tolerance buys.

References
----------
[1] Butcher 1963, J Aust Math Soc 3:185; Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I,
    section II.2: a Runge-Kutta method is of order p if a condition holds for each rooted tree of up to p vertices.
[2] Hairer & Wanner 1996, Solving Ordinary Differential Equations II, section IV.7, table 7.1: the same for Rosenbrock
    methods, where a vertex with one branch carries alpha + gamma in place of alpha; section IV.3: stability.
"""

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from math import prod
from typing import Any

import curves
import jax.numpy as jnp
import numpy as np
import pytest

from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.engine.methods import Rodas5P, Tsit5, explicit_step, stiff_step
from cohort.engine.program import dynamics
from cohort.model import Model

type Tree = tuple["Tree", ...]  # a rooted tree is the trees that hang from its root


def trees(order: int) -> set[Tree]:
    """Every rooted tree of so many vertices."""
    return {tuple(sorted(branches)) for sizes in partitions(order - 1) for branches in forests(sizes)}


def partitions(n: int, most: int | None = None) -> Iterator[tuple[int, ...]]:
    if n == 0:
        yield ()
    for first in range(min(n, most or n), 0, -1):
        yield from ((first, *rest) for rest in partitions(n - first, first))


def forests(sizes: tuple[int, ...]) -> Iterator[tuple[Tree, ...]]:
    if not sizes:
        yield ()
        return
    same = sizes.count(sizes[0])
    for here in combinations_with_replacement(sorted(trees(sizes[0])), same):
        yield from ((*here, *rest) for rest in forests(sizes[same:]))


def vertices(tree: Tree) -> int:
    return 1 + sum(map(vertices, tree))


def density(tree: Tree) -> int:
    return vertices(tree) * prod(map(density, tree))


def elementary(tree: Tree, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The elementary weight of each stage: `beta` along a single branch, `alpha` where a vertex has several [2]."""
    if not tree:
        return np.ones(len(alpha))
    along = beta if len(tree) == 1 else alpha
    return np.prod([along @ elementary(branch, alpha, beta) for branch in tree], axis=0)


def defects(weights: np.ndarray, alpha: np.ndarray, beta: np.ndarray, order: int) -> list[float]:
    """By how much each condition of this order is missed."""
    return [float(weights @ elementary(tree, alpha, beta) - 1 / density(tree)) for tree in trees(order)]


def square(rows: Any, n: int) -> np.ndarray:
    return np.array([[*row, *[0.0] * (n - len(row))] for row in rows])


def tsit5() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, and the weights of the fifth and of the embedded fourth order."""
    a = square(Tsit5.A, 7)
    return a, a[-1], a[-1] - np.array(Tsit5.ERROR)


def rodas5p() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Alpha, Gamma, and both weights, from the form without matrix products: C = 1/gamma - Gamma^-1, a = alpha Gamma^-1
    and m = b Gamma^-1 (equation 7.25 of [2]). The last three stages add up the increments before them."""
    last = Rodas5P.A[5]
    a = square([*Rodas5P.A[:6], (*last, 1.0), (*last, 1.0, 1.0)], 8)
    gamma = np.linalg.inv(np.eye(8) / Rodas5P.GAMMA - square(Rodas5P.C, 8))
    return a @ gamma, gamma, np.array([*last, 1, 1, 1]) @ gamma, np.array([*last, 1, 1, 0]) @ gamma


def test_there_are_seventeen_trees_up_to_order_five():
    assert [len(trees(n)) for n in range(1, 6)] == [1, 1, 2, 4, 9]


@pytest.mark.parametrize("order", range(1, 6))
def test_tsit5_meets_every_condition_of_order_five(order: int):
    a, weights, embedded = tsit5()
    assert np.abs(defects(weights, a, a, order)).max() < 1e-13
    if order <= 4:
        assert np.abs(defects(embedded, a, a, order)).max() < 1e-13
    np.testing.assert_allclose(a.sum(1), Tsit5.C, atol=1e-15)


@pytest.mark.parametrize("order", range(1, 6))
def test_rodas5p_meets_every_condition_of_order_five(order: int):
    alpha, gamma, weights, embedded = rodas5p()
    assert np.abs(defects(weights, alpha, alpha + gamma, order)).max() < 1e-11
    if order <= 4:
        assert np.abs(defects(embedded, alpha, alpha + gamma, order)).max() < 1e-11
    np.testing.assert_allclose(alpha.sum(1), Rodas5P.TIMES, atol=1e-12)
    np.testing.assert_allclose(gamma.sum(1), Rodas5P.BY_TIME, atol=1e-12)


def test_neither_embedded_method_is_of_order_five():
    """Otherwise the difference of the two would not see the error of a step."""
    a, _, embedded = tsit5()
    assert np.abs(defects(embedded, a, a, 5)).max() > 1e-5
    alpha, gamma, _, embedded = rodas5p()
    assert np.abs(defects(embedded, alpha, alpha + gamma, 5)).max() > 1e-5


def test_rodas5p_damps_what_is_stiff():
    """A-stable, and a component of infinite rate is gone after one step: L-stable."""
    alpha, gamma, weights, _ = rodas5p()

    def growth(z: complex) -> float:
        return float(abs(1 + z * weights @ np.linalg.solve(np.eye(8) - z * (alpha + gamma), np.ones(8))))

    assert growth(-1e12) < 1e-9
    assert max(growth(1j * w) for w in np.logspace(-3, 6, 400)) <= 1 + 1e-12


def wave() -> Model:
    """u = 1 / (1 + t²), v = 1 / (2 - sin t): not linear, moved by time, and each equation holds the other's state."""

    def ode(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(
            u=-2 * t * y.u**2 * y.v * (2 - jnp.sin(t)),
            v=jnp.cos(t) * y.v**2 * y.u * (1 + t**2),
        )

    def observe(t: Any, y: Any, p: Any) -> dict[str, Any]:
        return dict(u=y.u, v=y.v)

    return curves.model({}, ("u", "v"), ("u", "v"), ode, observe, initial=lambda p: dict(u=1.0, v=0.5))


def exactly(t: float) -> np.ndarray:
    return np.array([1 / (1 + t**2), 1 / (2 - np.sin(t))])


def stepper(make: Callable[..., Any]) -> Callable[[float, float, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """One step of size h from y at t, as the engine's program has it: the new states and their estimated error."""
    d = dynamics(wave())
    graph, written = d.graph, make(d, ())

    def step(t: float, h: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = {"t": t, "h": h} | {f"y.{n}": v for n, v in zip(d.states, y, strict=True)}
        slopes = graph.evaluate(d.rates, given)
        given |= {f"k.{n}": v for n, v in zip(d.states, slopes, strict=True)}
        made = np.array(graph.evaluate([*written.new, *written.error], given), dtype=float)
        return made[: len(y)], made[len(y) :]

    return step


@pytest.mark.parametrize("make", [explicit_step, stiff_step])
def test_half_the_step_leaves_a_thirtysecond_of_the_error(make: Callable[..., Any]):
    step = stepper(make)
    errors = []
    for n in (8, 16, 32, 64):
        course = [exactly(0.0)]
        for i in range(n):
            course.append(step(i / n, 1 / n, course[-1])[0])
        errors.append(np.abs(course - np.array([exactly(i / n) for i in range(n + 1)])).max())
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert slopes == pytest.approx(5, abs=0.2), errors


@pytest.mark.parametrize("make", [explicit_step, stiff_step])
def test_the_estimated_error_of_a_step_is_of_fourth_order(make: Callable[..., Any]):
    step = stepper(make)
    sizes = 0.0125 / 2.0 ** np.arange(3)
    estimates = [np.mean([np.abs(step(t, h, exactly(t))[1]) for t in (0.1, 0.3, 0.5, 0.7, 0.9)]) for h in sizes]
    slopes = np.log2(np.divide(estimates[:-1], estimates[1:]))
    assert slopes == pytest.approx(5, abs=0.3), estimates  # of one step: a power more than that of a course


@pytest.mark.parametrize("backend", ["native", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", ["explicit", "stiff"])
def test_the_error_falls_with_the_tolerance(solver: Any, backend: Any):
    """A tenth of the tolerance, about a tenth of the error; Michaelis-Menten elimination, whose course is known."""
    of = curves.michaelis_menten()
    people = [dict(vmax=vmax, km=km) for vmax in (1.0, 2.0, 5.0) for km in (0.5, 3.0)]
    p = curves.subjects(of, people)
    times = np.linspace(0.5, 24, 12)
    want = np.array([curves.saturated(times, 20.0, q["vmax"], q["km"]) for q in people])
    tolerances = 10.0 ** -np.arange(4, 11)
    errors = []
    for tol in tolerances:
        out, status = solve(
            of,
            p,
            Events.of(len(people), into="iv", amount=20.0),
            times,
            numerics=Numerics(solver=solver, backend=backend, rtol=tol, atol=tol),
        )
        assert not np.asarray(status.code).any()
        errors.append(np.abs(out.c - want).max())
        assert np.all(np.abs(out.c - want) <= 10 * tol * (1 + np.abs(want)))
    slope = np.polyfit(np.log10(tolerances), np.log10(errors), 1)[0]
    assert 0.75 < slope < 1.25, (errors, slope)
