"""The same subjects through other solvers, each used the way its own documentation does it best.

Every function takes a workload and parameters of (n,) arrays, and returns Outputs of (n, visits). A solve goes from
dose to dose and no solver is made to stop at a visit: each interpolates by its own formula.

References
----------
[1] Kidger 2021, On Neural Differential Equations, PhD thesis, Oxford: diffrax.
[2] Virtanen et al. 2020, Nat Methods 17:261: SciPy, whose LSODA is ODEPACK's.
[3] Petzold 1983, SIAM J Sci Stat Comput 4:136: LSODA. numbalsoda calls a C++ translation of it from compiled loops.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import plain
from benchmarks.workloads import Workload

PARTS = 24  # of a stiff interval between doses, for numbalsoda
TILE, STIFF_TILE = 256, 64  # subjects in one call of diffrax: the fastest that were tried


@dataclass(frozen=True, eq=False)
class Interval:
    """From a dose to the next, or to the last visit. A visit at the time of a dose belongs to the interval before."""

    begin: float
    end: float
    visits: np.ndarray  # times

    def stops(self, parts: int = 1) -> np.ndarray:
        """Where to report: visits and end, and the ends of so many equal parts; ascending, each once."""
        return np.unique([*self.visits, *np.linspace(self.begin, self.end, parts + 1)[1:]])


def intervals(workload: Workload) -> list[Interval]:
    begins, ends, t = workload.doses, [*workload.doses[1:], workload.times[-1]], workload.times
    return [Interval(a, b, t[(t > a) & (t <= b)]) for a, b in zip(begins, ends, strict=True)]


def arriving(workload: Workload, p: Any) -> tuple[int, np.ndarray]:
    """Which state a dose enters, and how much of it arrives in each subject, (n,)."""
    route = workload.model.routes[workload.into]
    fraction = getattr(p, route.bioavailability) if route.bioavailability else 1.0
    n = len(next(iter(vars(p).values())))
    return list(workload.model.state.fields()).index(route.state), np.broadcast_to(workload.amount * fraction, n)


def observed(workload: Workload, p: Any, y: np.ndarray) -> Any:
    """Outputs of (n, visits) from states of (n, visits, states)."""
    states = workload.model.state(**dict(zip(workload.model.state.fields(), np.moveaxis(y, -1, 0), strict=True)))
    each = type(p)(**{name: value[:, None] for name, value in vars(p).items()})
    seen = workload.model.observe(workload.times, states, each)
    return type(seen)(**{name: np.broadcast_to(np.asarray(v), y.shape[:2]) for name, v in vars(seen).items()})


def start(workload: Workload, p: Any) -> np.ndarray:
    """(n, states) before the first dose."""
    n = len(next(iter(vars(p).values())))
    return np.broadcast_to(plain.matrix(workload.model.initial(p)), (n, len(workload.model.state.fields())))


@functools.cache
def _vmapped(workload: Workload, rtol: float) -> Callable[..., Any]:
    """diffrax over a tile: parameters, doses (tile,) and states to states (tile, visits after the first dose)."""
    import diffrax  # type: ignore[import-not-found] of the benchmark alone, as all three
    import jax
    import jax.numpy as jnp
    import optimistix  # type: ignore[import-not-found]

    model, names = workload.model, list(workload.model.state.fields())
    state = model.routes[workload.into].state
    steps = diffrax.PIDController(rtol=rtol, atol=rtol / 100)

    def packed(y: Any) -> Any:
        return jnp.stack([jnp.asarray(getattr(y, name), float) for name in names], axis=-1)

    def unpacked(y: Any) -> Any:
        return model.state(**{name: y[..., k] for k, name in enumerate(names)})

    def ode(t: Any, y: Any, p: Any) -> Any:
        return packed(model.ode(t, unpacked(y), p)) if workload.stiff else model.ode(t, y, p)

    # For these stiff models Newton's method takes an eighth of the steps of the default, which reuses its Jacobian; one
    # array is faster than a record, for Tsit5 slower; and cubic interpolation would lose what Kvaerno5 gains.
    implicit = diffrax.Kvaerno5(root_finder=optimistix.Newton(rtol=rtol, atol=rtol / 100))

    def one(p: Any, dose: Any, y: Any) -> Any:
        def interval(y: Any, at: Any) -> Any:
            begin, stops = at
            y = y.replace(**{state: getattr(y, state) + dose})
            solved = diffrax.diffeqsolve(
                diffrax.ODETerm(ode),  # type: ignore[arg-type]
                implicit if workload.stiff else diffrax.Tsit5(),
                begin,
                stops[-1],
                None,
                packed(y) if workload.stiff else y,
                p,
                saveat=diffrax.SaveAt(ts=stops),
                stepsize_controller=diffrax.ClipStepSizeController(steps, step_ts=stops) if workload.stiff else steps,
                max_steps=10**5,
                throw=False,
            ).ys
            seen = unpacked(solved) if workload.stiff else solved
            return jax.tree.map(lambda a: a[-1], seen), packed(seen)

        rows = []
        for _, alike in itertools.groupby(intervals(workload), key=lambda i: (len(i.visits), len(i.stops()))):
            group = list(alike)
            at = jnp.array([i.begin for i in group]), jnp.array([i.stops() for i in group])
            y, seen = jax.lax.scan(interval, y, at)  # seen: (intervals, stops, states)
            rows.append(seen[:, : len(group[0].visits)].reshape(-1, len(names)))
        return jnp.concatenate(rows)

    return jax.jit(jax.vmap(one))


def diffrax(workload: Workload, p: Any, rtol: float) -> Any:
    """[1] vmapped over tiles of subjects: Tsit5, or Kvaerno5 where the model is stiff."""
    _, dose = arriving(workload, p)
    y = start(workload, p)
    rows = []
    tile = STIFF_TILE if workload.stiff else TILE
    for begin in range(0, len(y), tile):
        here = slice(begin, begin + tile)
        states = workload.model.state(**dict(zip(workload.model.state.fields(), y[here].T.copy(), strict=True)))
        some = type(p)(**{name: value[here] for name, value in vars(p).items()})
        rows.append(np.asarray(_vmapped(workload, rtol)(some, dose[here], states)))
    before = np.repeat(y[:, None], (workload.times <= workload.doses[0]).sum(), axis=1)
    return observed(workload, p, np.concatenate([before, np.concatenate(rows)], axis=1))


def scipy_lsoda(workload: Workload, p: Any, rtol: float) -> Any:
    """[2] subject by subject; the equations are plain Python on floats, which SciPy calls at every step."""
    from scipy.integrate import solve_ivp

    size, prepare, rhs = plain.functions(workload.model)
    state, amount = arriving(workload, p)
    rows = []
    for subject, y, dose in zip(plain.matrix(p).tolist(), start(workload, p).copy(), amount, strict=True):
        c = [0.0] * size
        prepare(subject, c)

        def f(t: float, y: np.ndarray, c: list[float] = c) -> list[float]:
            dy = [0.0] * len(y)
            rhs(t, y.tolist(), c, dy)
            return dy

        seen = [y] * int((workload.times <= workload.doses[0]).sum())
        for i in intervals(workload):
            y = y.copy()
            y[state] += dose
            solved = solve_ivp(f, (i.begin, i.end), y, "LSODA", t_eval=i.stops(), rtol=rtol, atol=rtol / 100).y.T
            seen += list(solved[: len(i.visits)])
            y = solved[-1]
        rows.append(seen)
    return observed(workload, p, np.array(rows))


@functools.cache
def _compiled_lsoda(workload: Workload) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    import numba
    from numbalsoda import lsoda, lsoda_sig  # type: ignore[import-not-found]

    size, prepare, rhs = plain.functions(workload.model)
    prepare, rhs = numba.njit(prepare), numba.njit(rhs)
    address = numba.cfunc(lsoda_sig)(lambda t, y, dy, c: rhs(t, y, c, dy)).address

    @numba.njit(nogil=True)
    def constants(p: np.ndarray) -> np.ndarray:
        c = np.empty((len(p), size))
        for i in range(len(p)):
            prepare(p[i], c[i])
        return c

    @numba.njit(nogil=True)
    def cohort(y0, c, state, dose, stops, visit, first, before, visits, rtol):
        out = np.empty((len(y0), visits, y0.shape[1]))
        for i in range(len(y0)):
            y = y0[i].copy()
            out[i, :before] = y
            v = before
            for k in range(len(first) - 1):
                y[state] += dose[i]
                solved, well = lsoda(address, y, stops[first[k] : first[k + 1]], c[i], rtol, rtol / 100)
                if not well:
                    solved[:] = np.nan
                for j in range(len(solved)):
                    if visit[first[k] + j]:
                        out[i, v] = solved[j]
                        v += 1
                y = solved[-1].copy()
        return out

    return constants, cohort


def numbalsoda(workload: Workload, p: Any, rtol: float) -> Any:
    """[3] subject by subject; loops and equations are compiled, Python is not called in between."""
    constants, cohort = _compiled_lsoda(workload)
    state, dose = arriving(workload, p)
    # LSODA gives up after 500 steps without a stop, so a stiff interval is cut; it interpolates there, as at a visit.
    parts = PARTS if workload.stiff else 1
    each = [np.append(i.begin, i.stops(parts)) for i in intervals(workload)]
    visit = [np.isin(stops, i.visits) for stops, i in zip(each, intervals(workload), strict=True)]
    first = np.cumsum([0] + [len(stops) for stops in each])
    before = int((workload.times <= workload.doses[0]).sum())
    y = cohort(
        np.ascontiguousarray(start(workload, p)), constants(plain.matrix(p)), state, np.ascontiguousarray(dose),
        np.concatenate(each), np.concatenate(visit), first, before, len(workload.times), rtol,
    )  # fmt: skip
    return observed(workload, p, y)
