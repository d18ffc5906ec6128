"""What the exact answer is: W1's formula, and SciPy at tolerances far below anything that is measured.

SciPy solves the first subjects of each workload, by DOP853 [1] from visit to visit; Radau [2], with the exact Jacobian,
takes over where that is too stiff, and solves the first few of a stiff model again. They vouch for a solve of every
subject by cohort at a tight tolerance, which then serves all engines. Kept in results/benchmarks/reference/, under a
hash of what the numbers rest on.

References
----------
[1] Hairer, Norsett & Wanner 1993, Solving Ordinary Differential Equations I, 2nd ed.: DOP853, explicit, order 8.
[2] Hairer & Wanner 1996, Solving Ordinary Differential Equations II, 2nd ed.: Radau IIA, implicit, order 5.
[3] Gibaldi & Perrier 1982, Pharmacokinetics, 2nd ed.: two compartments with first-order absorption, superposition.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
import scipy

from benchmarks import plain
from benchmarks.engines import by_cohort
from benchmarks.peers import arriving, intervals, observed, start
from benchmarks.workloads import ROOT, Workload
from cohort.record import digest
from cohort.store import write

FOLDER = ROOT / "results/benchmarks/reference"
RTOL, ATOL = 1e-11, 1e-13
SUBJECTS = 64  # solved by SciPy; one in sixteen of them by its second method too, if the model is stiff
TIGHT = 1e-12  # relative tolerance of cohort's solve of every subject
AGREEMENT = 1e-8  # of two references, as `error` measures it; the errors to be told apart start at 1e-6


def error(outputs: Any, reference: Any) -> float:
    """Largest |y - ref| / (|ref| + 0.001 max |ref|) of all visits and outputs; the maximum is a subject's own.

    Records of (n, visits), of which the first subjects are compared, as many as both have. NaN where a solve failed.
    """
    worst = 0.0
    for name, exact in vars(reference).items():
        n = min(len(exact), len(getattr(outputs, name)))
        size = np.abs(exact[:n]) + 1e-3 * np.abs(exact[:n]).max(axis=1, keepdims=True)
        worst = np.maximum(worst, (np.abs(getattr(outputs, name)[:n] - exact[:n]) / size).max())
    return float(worst)


def formula(workload: Workload, p: Any) -> Any:
    """W1 at its visits, by superposition of single doses [3]."""
    k10, k12, k21 = p.cl / p.v2, p.q / p.v2, p.q / p.v3
    total = k10 + k12 + k21
    alpha = (total + np.sqrt(total**2 - 4 * k10 * k21)) / 2
    beta = k10 * k21 / alpha
    rates = np.array([alpha, beta, p.ka])  # (3, n)
    others = [(beta, p.ka), (alpha, p.ka), (alpha, beta)]
    sizes = np.array([(k21 - r) / ((a - r) * (b - r)) for r, (a, b) in zip(rates, others, strict=True)])
    since = np.subtract.outer(workload.times, workload.doses)  # (visits, doses)
    c = np.zeros((len(p.cl), len(workload.times)))
    for visit, ages in enumerate(since):
        for age in ages[ages > 0]:
            c[:, visit] += (sizes * np.exp(-rates * age)).sum(axis=0)
    return workload.model.outputs(c=c * (workload.amount * p.ka / p.v2)[:, None])


def _by(advance: Callable[..., np.ndarray], workload: Workload, p: Any) -> Any:
    """Outputs of (n, visits), each stretch between doses and visits solved by `advance(f, jacobian, y, begin, end)`."""
    size, prepare, rhs = plain.functions(workload.model)
    prepare, rhs = numba.njit(prepare), numba.njit(rhs)
    jacobian = _jacobian(workload)
    state, amount = arriving(workload, p)
    rows = []
    for subject, y, dose in zip(plain.matrix(p), start(workload, p), amount, strict=True):
        c = np.empty(size)
        prepare(subject, c)

        def f(t: float, y: np.ndarray, c: np.ndarray = c) -> np.ndarray:
            dy = np.empty(len(y))
            rhs(t, y, c, dy)
            return dy

        def j(t: float, y: np.ndarray, subject: np.ndarray = subject) -> np.ndarray:
            return np.asarray(jacobian(t, y, subject))

        seen = [y] * int((workload.times <= workload.doses[0]).sum())
        for i in intervals(workload):
            y = y + dose * (np.arange(len(y)) == state)
            for begin, end in zip([i.begin, *i.stops()], i.stops(), strict=False):
                y = advance(f, j, y, begin, end)
                if end in i.visits:
                    seen.append(y)
        rows.append(seen)
    return observed(workload, p, np.array(rows))


def _jacobian(workload: Workload) -> Callable[..., jax.Array]:
    model = workload.model

    def ode(t: Any, y: Any, p: Any) -> Any:
        states = model.state(**dict(zip(model.state.fields(), y, strict=True)))
        derivative = model.ode(t, states, model.parameters(**dict(zip(model.parameters.fields(), p, strict=True))))
        return jnp.stack([jnp.asarray(v, float) for v in vars(derivative).values()])

    return jax.jit(jax.jacfwd(ode, argnums=1))


def dop853(f: Any, j: Any, y: np.ndarray, begin: float, end: float) -> np.ndarray:
    """[1], and [2] for a stretch that [1] finds too stiff for itself."""
    solver = scipy.integrate.ode(f).set_integrator("dop853", rtol=RTOL, atol=ATOL, nsteps=10**8)
    with warnings.catch_warnings(action="ignore"):
        reached = solver.set_initial_value(y, begin).integrate(end)
    return reached if solver.successful() else radau(f, j, y, begin, end)


def radau(f: Any, j: Any, y: np.ndarray, begin: float, end: float) -> np.ndarray:
    """[2]. Errors: RuntimeError where it does not get to the end."""
    solved = scipy.integrate.solve_ivp(f, (begin, end), y, "Radau", jac=j, rtol=RTOL, atol=ATOL)
    if not solved.success:
        raise RuntimeError(f"Radau gave up between {begin} and {end}: {solved.message}")
    return solved.y[:, -1]


def first(record: Any, n: int) -> Any:
    return type(record)(**{name: value[:n] for name, value in vars(record).items()})


def _kept(workload: Workload, what: str, p: Any, make: Callable[[], Any], *rests_on: Any) -> Any:
    """Outputs of the subjects `p` from the folder, or made and put there."""
    w, subjects = workload, plain.matrix(p)
    regimen = [w.into, w.amount, w.doses.tolist(), w.times.tolist()]
    key = digest([w.model.text, regimen, digest(subjects.tobytes()), RTOL, ATOL, *rests_on])
    path = FOLDER / f"{w.name.lower()}-{what}-{len(subjects)}-{key[:12]}.npz"
    if not path.is_file():
        outputs = make()
        write(path, lambda temporary: np.savez(temporary, **vars(outputs)))
    with np.load(path) as arrays:
        return w.model.outputs(**arrays)


def by_scipy(workload: Workload, n: int = SUBJECTS) -> Any:
    """Outputs of the first n subjects. Errors: RuntimeError where SciPy gives up, or its two methods disagree."""
    p = workload.parameters(n)

    def make() -> Any:
        outputs = _by(dop853, workload, p)
        if workload.stiff and (few := n // 16):
            apart = error(_by(radau, workload, first(p, few)), outputs)
            if not apart < AGREEMENT:
                raise RuntimeError(f"{workload.name}: DOP853 and Radau are {apart:.1e} apart")
        return outputs

    return _kept(workload, "scipy", p, make)


@functools.cache
def exact(workload: Workload, n: int, vouching: int = SUBJECTS) -> Any:
    """Outputs of the first n subjects, (n, visits), to about 1e-9 of each.

    Errors: RuntimeError where the solve of all and SciPy's of some are apart.
    """
    if workload.name == "W1":
        return formula(workload, workload.parameters(n))
    vouched = by_scipy(workload, min(vouching, n))
    if n <= vouching:
        return vouched
    p = workload.parameters(n)
    outputs = _kept(workload, "cohort", p, lambda: by_cohort(workload, p, TIGHT), TIGHT)
    if not (apart := error(outputs, vouched)) < AGREEMENT:
        raise RuntimeError(f"{workload.name}: the tight solve and SciPy are {apart:.1e} apart")
    return outputs
