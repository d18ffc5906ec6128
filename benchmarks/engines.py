"""Everything that is compared, under one signature: cohort's two back ends and the solvers beside it."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import peers
from benchmarks.workloads import Workload
from cohort.engine import CODES, Numerics, choose, solve


def by_cohort(workload: Workload, p: Any, rtol: float, threads: int = 1, backend: str = "native") -> Any:
    """Outputs of (n, visits). Errors: RuntimeError where subjects did not finish."""
    n = len(next(iter(vars(p).values())))
    numerics = Numerics(backend=backend, rtol=rtol, atol=rtol / 100)  # type: ignore[arg-type]
    outputs, status = solve(workload.model, p, workload.events(n), workload.times, numerics=numerics, threads=threads)
    if status.code.any():
        raise RuntimeError(f"{workload.name}: {(status.code != CODES.index('finished')).sum()} of {n} did not finish")
    return outputs


@dataclass(frozen=True)
class Engine:
    """`solve(workload, p, rtol, threads) -> Outputs`; `method(workload)` names its solver; `needs`: what it imports."""

    solve: Callable[[Workload, Any, float, int], Any]
    method: Callable[[Workload], str]
    needs: tuple[str, ...]
    threads: tuple[int, ...] = (1,)

    def installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in self.needs)


def _chosen(workload: Workload) -> str:
    return {"linear": "closed form", "explicit": "Tsit5", "stiff": "Rodas5P"}[choose(workload.model)]


ENGINES = {
    "cohort native": Engine(
        lambda w, p, rtol, threads: by_cohort(w, p, rtol, threads, "native"), _chosen, ("cohort.engine",), (1, 2)
    ),
    "cohort xla": Engine(
        lambda w, p, rtol, threads: by_cohort(w, p, rtol, threads, "xla"), _chosen, ("cohort.engine",), (1, 2)
    ),
    "diffrax": Engine(
        lambda w, p, rtol, _: peers.diffrax(w, p, rtol),
        lambda w: "Kvaerno5" if w.stiff else "Tsit5",
        ("diffrax", "jax"),
    ),
    "SciPy": Engine(lambda w, p, rtol, _: peers.scipy_lsoda(w, p, rtol), lambda w: "LSODA", ("scipy.integrate",)),
    "numbalsoda": Engine(lambda w, p, rtol, _: peers.numbalsoda(w, p, rtol), lambda w: "LSODA", ("numbalsoda",)),
}
