"""Single simulated trials traced from data to decision: what an operating characteristic counts."""

import numpy as np
import polars as pl

from cohort.decision.criteria import evaluate_exactly
from cohort.decision.design import ARMS, Arm, Design, require_truth
from cohort.mixture import BetaMixture, NormalMixture


def _observed(design: Design, arm: Arm, truth: float, rng: np.random.Generator) -> float:
    if isinstance(arm.prior, BetaMixture):
        return float(rng.binomial(int(arm.n), truth))
    if isinstance(arm.prior, NormalMixture):
        return float(rng.normal(truth, design.standard_error(arm)))
    return float(rng.poisson(truth * arm.n))


def trace(
    design: Design, treatment: float, control: float | None = None, *, seeds: range | list[int], level: float = 0.95
) -> pl.DataFrame:
    """One row per seed: the data (events, or the mean), and of each arm the prior and posterior mean, the equal-tailed
    interval of both, and the weight of each prior component before and after; the probability of every criterion; the
    decision. Errors: DecisionError of truths that the outcome cannot have."""
    require_truth(design, np.array([treatment]), None if control is None else np.array([control]))
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        row: dict[str, object] = {"design": design.name, "seed": seed}
        posterior = {}
        for name, arm, truth in zip(ARMS, design.arms, (treatment, control), strict=False):
            assert truth is not None
            y = _observed(design, arm, truth, rng)
            size = design.standard_error(arm) if design.family == "normal" else arm.n
            after = arm.prior.updated(y, size)
            posterior[name] = after
            row |= {f"{name}_true": truth, f"{name}_n": arm.n, f"{name}_observed": y}
            for stage, m in (("prior", arm.prior), ("posterior", after)):
                low, high = m.interval(level)
                row |= {f"{name}_{stage}": m.mean, f"{name}_{stage}_low": low, f"{name}_{stage}_high": high}
                row |= {f"{name}_{stage}_weights": [float(w) for w in m.weight]}
        verdict = evaluate_exactly(design.decision, posterior)
        row |= {f.criterion.event: f.probability for f in verdict.findings}
        rows.append(row | {"decision": verdict.conclusion})
    return pl.DataFrame(rows)
