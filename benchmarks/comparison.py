"""How fast operating characteristics of designs that borrow are had, next to the same sums written plainly with SciPy.

Three tasks: a binary and a normal two-arm trial, five designs at twenty drifts each, exact; and 100,000 simulated
continuous trials with a robust mixture prior. Each is a process of its own, which does its task first cold (nothing
compiled, JAX not yet imported) and then again; the plain peer takes one outcome, or one trial, after the other, as one
would write it down. Both must give the same figures. `results/benchmarks/comparison.json` has the numbers.

What the work needs. Binary, n + 1 and m + 1 outcomes of the arms, k and l components, q nodes: (n + 1) q k and
(m + 1) q l exponentials for densities and distribution functions, l q incomplete beta functions, and one product of
(n + 1) q by q (m + 1) for the table, whatever the number of drifts; each drift then costs (n + 1) (m + 1)
multiplications. That is about 50,000 exponentials and 35,000 multiplications for a table of 25 by 7 outcomes, 0.5 ms.
An interval's width needs such a table at some seventy differences. Normal: q nodes of the control's mean, 60 halvings
of k l normal probabilities for a criterion, about a million. A simulated trial needs a normal number per subject, and
24 k l normal probabilities and densities for an interval.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import integrate, optimize, special, stats

from cohort.decision import exact, simulate
from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design
from cohort.mixture import BetaMixture, NormalMixture

DRIFTS = 20
TRIALS = 100_000
PLAIN_TRIALS = 500  # of the plain simulation, which is told for TRIALS
QUOTED = "RBesT's oc2S: 0.2 s (binary) and 0.7 s (normal) a design, quoted and not measured here"

AS = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
CROHN = NormalMixture(
    [0.50104846, 0.41871594, 0.08023561],
    [-51.42408665, -47.25917128, -55.07086416],
    [19.04525409, 7.85193726, 44.57325],
)


def binary_designs() -> list[Design]:
    uniform, half = BetaMixture([1], [1], [1]), BetaMixture([1], [0.5], [1])
    wanted = decision("P(treatment - control > 0) > 0.95")
    return [
        Design("uniform 24:6", wanted, Arm(24, uniform), Arm(6, uniform)),
        Design("uniform 24:24", wanted, Arm(24, uniform), Arm(24, uniform)),
        Design("MAP 24:6", wanted, Arm(24, half), Arm(6, AS)),
        Design("robust 24:6", wanted, Arm(24, half), Arm(6, AS.robust(0.2, uniform))),
        Design("Beta(11,32) 24:6", wanted, Arm(24, half), Arm(6, BetaMixture([1], [11], [32]))),
    ]


def normal_designs() -> list[Design]:
    vague = NormalMixture([1], [-50], [880])
    wanted = decision("P(treatment - control < 0) > 0.95 and P(treatment - control < -50) > 0.5")
    robust = CROHN.robust(0.2, NormalMixture([1], [-50], [88]))
    controls = {"vague 40:20": (20, vague), "vague 40:40": (40, vague), "MAP 40:20": (20, CROHN)}
    controls |= {"robust 40:20": (20, robust), "robust 40:40": (40, robust)}
    return [Design(k, wanted, Arm(40, vague), Arm(n, p), sigma=88.0) for k, (n, p) in controls.items()]


BINARY_CONTROL = np.linspace(0.1, 0.6, DRIFTS)
NORMAL_CONTROL = np.linspace(-100.0, 0.0, DRIFTS)


def binary(level: float | None) -> list[float]:
    at = BINARY_CONTROL
    return [float(x) for d in binary_designs() for x in exact.characteristics(d, at + 0.2, at, level=level).rate]


def normal(level: float | None) -> list[float]:
    at = NORMAL_CONTROL
    return [float(x) for d in normal_designs() for x in exact.characteristics(d, at - 60, at, level=level).rate]


def simulated() -> list[float]:
    found = simulate.simulate(normal_designs()[3:4], -110.0, -50.0, seed=1, trials=TRIALS, variance="known")
    return [float(found.characteristics[0].rate[0])]


def plain_binary() -> list[float]:
    """An adaptive integral for each pair of outcomes."""
    rates = []
    for d in binary_designs():
        t, c = d.treatment, d.control
        assert c is not None
        n, m = int(t.n), int(c.n)
        go = np.zeros((n + 1, m + 1))
        for y in range(n + 1):
            for z in range(m + 1):
                a, b = t.prior.updated(y, n), c.prior.updated(z, m)
                p = sum(
                    v
                    * w
                    * integrate.quad(
                        lambda x, i=i, j=j, k=k, o=o: stats.beta.pdf(x, i, j) * special.betainc(k, o, x), 0, 1
                    )[0]
                    for v, i, j in zip(a.weight, a.a, a.b, strict=True)  # type: ignore[union-attr]
                    for w, k, o in zip(b.weight, b.a, b.b, strict=True)  # type: ignore[union-attr]
                )
                go[y, z] = p > 0.95
        for at in BINARY_CONTROL:
            rates.append(
                float(stats.binom.pmf(np.arange(n + 1), n, at + 0.2) @ go @ stats.binom.pmf(np.arange(m + 1), m, at))
            )
    return rates


def plain_normal() -> list[float]:
    """A root for each mean of the control at which an adaptive integral asks for the boundary."""
    rates = []
    for d in normal_designs():
        t, c = d.treatment, d.control
        assert c is not None
        se_t, se_c = d.standard_error(t), d.standard_error(c)

        def boundary(y_c: float, t=t, c=c, se_t=se_t, se_c=se_c) -> float:
            control = c.prior.updated(y_c, se_c)

            def off(y_t: float, threshold: float, cut: float) -> float:
                a = t.prior.updated(y_t, se_t)
                sd = np.hypot(a.component_sd[:, None], control.component_sd)
                below = stats.norm.cdf((threshold - (a.component_mean[:, None] - control.component_mean)) / sd)
                return float(a.weight @ below @ control.weight) - cut

            pairs = ((0.0, 0.95), (-50.0, 0.5))
            return min(optimize.root_scalar(off, args=x, bracket=(-2000, 2000), method="brentq").root for x in pairs)

        for at in NORMAL_CONTROL:

            def inside(y: float, at=at, se_t=se_t, se_c=se_c, boundary=boundary) -> float:
                return float(stats.norm.cdf(boundary(y), at - 60, se_t) * stats.norm.pdf(y, at, se_c))

            found = integrate.quad(inside, at - 6 * se_c, at + 6 * se_c, epsabs=1e-6, limit=50)
            rates.append(float(found[0]))
    return rates


def plain_simulated() -> list[float]:
    """One trial after the other: the update, the two probabilities, and the interval by a root finder."""
    d = normal_designs()[3]
    t, c = d.treatment, d.control
    assert c is not None
    rng, decided = np.random.default_rng(1), 0
    for _ in range(PLAIN_TRIALS):
        a = t.prior.updated(rng.normal(-110, 88, int(t.n)).mean(), d.standard_error(t))
        b = c.prior.updated(rng.normal(-50, 88, int(c.n)).mean(), d.standard_error(c))
        w = np.outer(a.weight, b.weight).ravel()
        m = (a.component_mean[:, None] - b.component_mean).ravel()
        s = np.hypot(a.component_sd[:, None], b.component_sd).ravel()

        def below(x: float, w=w, m=m, s=s) -> float:
            return float(w @ stats.norm.cdf((x - m) / s))

        decided += below(0) > 0.95 and below(-50) > 0.5
        for q in (0.025, 0.975):
            optimize.root_scalar(lambda x, q=q: below(x) - q, bracket=(-2000, 2000), method="brentq")
    return [decided / PLAIN_TRIALS]


TASKS: dict[str, dict[str, Callable[[], list[float]]]] = {
    "binary, rates": {"cohort": lambda: binary(None), "plain": plain_binary},
    "binary, all measures": {"cohort": lambda: binary(0.95)},
    "normal, rates": {"cohort": lambda: normal(None), "plain": plain_normal},
    "normal, all measures": {"cohort": lambda: normal(0.95)},
    "simulated, all measures": {"cohort": simulated, "plain": plain_simulated},
}
NEEDED = {"binary, all measures": 0.5, "normal, all measures": 1.0, "simulated, all measures": 10.0}  # s, cold


def one(task: str, who: str, rounds: int) -> dict:
    """Seconds by the wall clock and of the processor, cold and the best of the rounds after it, and the figures."""
    run = TASKS[task][who]
    times = []
    figures: list[float] = []
    for _ in range(1 if who == "plain" else rounds + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        figures = run()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    scale = TRIALS / PLAIN_TRIALS if (task, who) == ("simulated, all measures", "plain") else 1.0
    best = min(times[1:] or times)
    found = {"cold_s": times[0][0], "cold_cpu_s": times[0][1], "seconds": best[0], "cpu_seconds": best[1]}
    return {"task": task, "what": who} | {k: v * scale for k, v in found.items()} | {"figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/comparison.json"))
    parser.add_argument("--one", nargs=2, metavar=("TASK", "WHO"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one[0], given.one[1], given.rounds)))
        return
    found = []
    for task, sides in TASKS.items():
        for who in sides:
            command = [sys.executable, "-m", "benchmarks.comparison", "--rounds", str(given.rounds), "--one", task, who]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print("{task:24} {what:7} cold {cold_s:8.3f} s, then {seconds:8.3f} s".format(**found[-1]))
        if len(sides) == 2:
            pair = [np.array(row["figures"]) for row in found[-2:]]
            allowed = 5 * np.sqrt(0.25 / PLAIN_TRIALS) if task.startswith("simulated") else 1e-4
            if (apart := float(np.abs(pair[0] - pair[1]).max())) > allowed:
                raise RuntimeError(f"{task}: the two are {apart:.2g} apart, more than {allowed:.2g}")
            found[-2]["apart"] = apart
    for row in found:
        row["needed_s"] = NEEDED.get(row["task"]) if row["what"] == "cohort" else None
        del row["figures"]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"quoted": QUOTED, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
