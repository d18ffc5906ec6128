"""Side by side: what the trial says by itself, and what each way of borrowing makes of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort.borrowing import checks, commensurate, discount, leap, power, sam
from cohort.borrowing.borrowed import Borrowed, subjects_borrowed, updated
from cohort.borrowing.density import Density, gridded
from cohort.borrowing.quadrature import unit
from cohort.borrowing.robust import robust
from cohort.borrowing.trials import Binomial, Normal, Trials

if TYPE_CHECKING:
    from cohort.borrowing.borrowed import Distribution

WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # on the vague part


def methods(
    trial: Trials,
    historical: Trials,
    informative: "Distribution",
    vague: "Distribution",
    *,
    delta: float,
    weights: Sequence[float] = WEIGHTS,
    a0: float = 0.5,
    tau: commensurate.Commensurability | None = None,
    n_cap: float | None = None,
    subjects: float | None = None,
) -> list[Borrowed]:
    """The control arm without borrowing, robust at each weight on the vague part, full, and by every other method that
    its kind of data allows. historical: what the informative prior was made of, pooled where a method takes one trial.
    delta: of SAM; tau: of commensurate borrowing, which is left out if None; n_cap, subjects: as `power.fixed`."""
    checks.refuse(checks.within("weights", weights, 0, 1))
    alone: Any = vague
    rows = [Borrowed("no borrowing", updated(vague, trial), 0.0, "weight", vague)]
    rows += [robust(trial, informative, vague, weight_on_vague=w, method=f"robust, {w:g} vague") for w in weights]
    rows.append(Borrowed("full borrowing", updated(informative, trial), 1.0, "weight", informative))
    kept: dict[str, Any] = {"initial": alone, "n_cap": n_cap, "subjects": subjects}
    rows.append(power.fixed(trial, historical, a0, **kept))
    rows.append(power.normalised(trial, historical, **kept))
    pooled = power.fixed(trial, historical, 1.0, initial=alone)
    rows.append(Borrowed("pooled", pooled.posterior, 1.0, "a0", pooled.prior))
    if isinstance(trial, Normal) and isinstance(historical, Normal) and tau is not None:
        rows.append(commensurate.commensurate(trial, historical, tau))
    if isinstance(trial, Binomial) and isinstance(historical, Binomial):
        shapes = (float(alone.a[0]), float(alone.b[0]))
        rows.append(discount.binomial(trial, historical, prior=shapes, n_cap=n_cap))
        rows.append(leap.binomial(trial, historical, prior=shapes, n_cap=n_cap))
    rows.append(sam.sam(trial, informative, vague, delta=delta))
    return rows


def elir(prior: "Distribution | None", sigma: float | None = None) -> float:
    """The prior's effective sample size; nan of a density, or where the method has no prior of its own."""
    from cohort.mixture.size import ess

    if prior is None or isinstance(prior, Density) or len(prior.weight) > 100:
        return float("nan")  # mixtures over a grid have hundreds of components; fit them first
    if prior.family == "normal" and sigma is None:
        return float("nan")
    return float(ess(prior, method="elir", sigma=sigma if prior.family == "normal" else None))


def probability_above(treatment: "Distribution", control: "Distribution", above: float = 0.0) -> float:
    """P(treatment - control > above), for any two of mixtures and densities, by quadrature over the control."""
    at, weight = _spread(control)
    return float(weight @ (1 - treatment.cdf(at + above)))


def _spread(control: "Distribution") -> tuple[np.ndarray, np.ndarray]:
    """Points of a distribution, at quantiles, and their weights, of sum 1."""
    u, w = unit(400)
    return np.asarray(gridded(control).quantile(u)), w


def effect_interval(treatment: Any, control: Any, level: float = 0.95) -> tuple[float, float]:
    """Equal-tailed, of treatment - control."""
    from scipy.optimize import brentq

    middle, spread = treatment.mean - control.mean, float(np.hypot(treatment.sd, control.sd))
    at, weight = _spread(control)

    def over(c: float, q: float) -> float:
        return float(weight @ (1 - treatment.cdf(at + c))) - q

    ends = []
    for q in ((1 + level) / 2, (1 - level) / 2):
        reach = spread / np.sqrt((1 - level) / 2)  # by Cantelli's inequality no quantile lies further off
        ends.append(brentq(over, middle - 1.01 * reach, middle + 1.01 * reach, args=(q,), xtol=1e-8 * spread))
    return float(ends[0]), float(ends[1])


def table(
    rows: Sequence[Borrowed],
    *,
    subjects: float,
    treatment: "Distribution | None" = None,
    above: float = 0.0,
    sigma: float | None = None,
    level: float = 0.95,
) -> pl.DataFrame:
    """One row per method; the first is what the others are compared with. Intervals are equal-tailed, of `level`.

    weight: of the method's own measure, which weight_is names; prior_ess: ELIR of the prior (sigma: SD of one subject,
    of normal outcomes); subjects_borrowed: how many subjects' worth the arm of `subjects` gained over the first row, by
    precision; negative where borrowing widened it. treatment: posterior of the other arm: adds the effect's mean, SD
    and interval, and P(effect > above)."""
    wrong = [] if 0 < level < 1 else [f"level: {level:g} is not between 0 and 1; write 0.95"]
    wrong += [] if rows else ["rows: none; write at least one method"]
    checks.refuse(wrong + checks.positive("subjects", subjects) + checks.numbers("above", above))
    found = []
    for row in rows:
        low, high = row.interval(level)
        line: dict[str, Any] = {
            "method": row.method,
            "mean": row.mean,
            "sd": row.sd,
            "low": low,
            "high": high,
            "level": level,
            "weight": row.weight,
            "weight_is": row.weight_is,
            "prior_ess": elir(row.prior, sigma),
            "subjects_borrowed": subjects_borrowed(row, rows[0], subjects),
            "uses_data_twice": row.uses_data_twice,
        }
        if treatment is not None:
            low, high = effect_interval(treatment, row.posterior, level)
            line |= {
                "effect": float(treatment.mean - row.mean),
                "effect_sd": float(np.hypot(treatment.sd, row.sd)),
                "effect_low": low,
                "effect_high": high,
                "above": above,
                "p_above": probability_above(treatment, row.posterior, above),
            }
        found.append(line)
    return pl.DataFrame(found)
