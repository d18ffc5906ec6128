"""Events of several kinds, one per subject: as a composite, cause by cause, and as cumulative incidence.

The hazard of a cause is fitted with the other causes censored; its cumulative incidence needs the hazards of all, since
who has had one event can have no other [1].

References
----------
[1] Putter, Fiocco and Geskus 2007, Statistics in Medicine 26:2389: competing risks and multi-state models.
[2] Aalen and Johansen 1978, Scandinavian Journal of Statistics 5:141: the estimator of the cumulative incidence.
[3] Marubini and Valsecchi 1995, Analysing Survival Data from Clinical Trials and Observational Studies, section 10.2.3:
    its variance by the delta method.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from cohort.analysis import AnalysisError
from cohort.analysis.piecewise import Statistics
from cohort.analysis.survival import Curve, Survival, require_exact, table
from cohort.inference.diagnosis import values

if TYPE_CHECKING:
    import xarray as xr


def composite(data: Survival) -> Survival:
    """Any of the causes is the event."""
    _place(data, data.causes[0] if data.causes else "")
    return replace(data, cause=None, causes=())


def cause_specific(data: Survival, cause: str) -> Survival:
    """One cause is the event; a subject with another is censored then, which gives its cause-specific hazard and not
    the risk in a world without the others. Errors: AnalysisError of an unknown cause."""
    return replace(data, event=data.cause == _place(data, cause), cause=None, causes=())


def _place(data: Survival, cause: str) -> int:
    if data.cause is None:
        raise AnalysisError("cause: the data hold one kind of event; give `cause` to `survival`")
    if cause not in data.causes:
        raise AnalysisError(f"cause '{cause}' is not in the data; write one of {', '.join(data.causes)}")
    return data.causes.index(cause)


def aalen_johansen(data: Survival, cause: str, arm: str, *, level: float = 0.95) -> Curve:
    """Cumulative incidence of a cause in one arm [2], its variance [3], and an interval symmetric for log(-log(1-F)).

    The interval is NaN before the first event of that cause."""
    require_exact(data, "Aalen-Johansen")
    k = _place(data, cause)
    one = data.of(arm)
    times, d, r = table(one)
    mine = np.array([int(np.sum((one.time == t) & one.event & (one.cause == k))) for t in times])
    s = np.cumprod(1 - d / r)
    before = np.concatenate([[1.0], s[:-1]])
    f = np.cumsum(before * mine / r)
    variance = np.empty(len(times))
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.where(r > d, d / (r * (r - d)), 0.0)  # the last, of nobody left, has no later term to move
        for i in range(len(times)):  # [3]
            to = f[i] - f[: i + 1]
            b, m, n = before[: i + 1], mine[: i + 1], r[: i + 1]
            variance[i] = np.sum(to**2 * greenwood[: i + 1] + b**2 * (n - m) / n**3 * m - 2 * to * b * m / n**2)
        se = np.sqrt(np.maximum(variance, 0))
        half = norm.ppf(0.5 + level / 2) * se / ((1 - f) * np.abs(np.log1p(-f)))
        low, high = (1 - (1 - f) ** np.exp(sign * half) for sign in (-1, 1))
    known = (f > 0) & (f < 1)
    low, high = np.where(known, low, np.nan), np.where(known, high, np.nan)
    return Curve(times, f, se, low, high, r, d, 0.0, float(one.time.max()), level, "pointwise, log-log")


def incidence(
    trees: Mapping[str, "xr.DataTree"], statistics: Statistics, times: Any
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Posterior cumulative incidence of each cause, and survival free of all, (chains, draws, arms, k) each.

    trees: a piecewise exponential fitted to each cause with the same cuts; as the likelihood is a product over causes,
    their posteriors are independent, and draws may be put side by side. statistics: those of any of the causes. Errors:
    AnalysisError with covariates, with unequal draws, or beyond the follow-up."""
    t = np.atleast_1d(np.asarray(times, float))
    if statistics.covariates:
        raise AnalysisError("covariates: cumulative incidence is of fits without them; fit each arm's causes alone")
    if len(trees) < 2:
        raise AnalysisError("trees: one cause only; give a fit for each, or use survival")
    if not np.all((t >= 0) & (t <= statistics.horizon)):
        raise AnalysisError(f"times: write times from 0 to {statistics.horizon:.4g} {statistics.unit}")
    hazards = {}
    for cause, tree in trees.items():
        log_hazard = values(tree, "log_hazard")[..., None, :]
        if len(statistics.arms) > 1:
            log_hr = values(tree, "log_hr")
            zero = np.zeros_like(log_hr[..., :1])
            log_hazard = log_hazard + np.concatenate([zero, log_hr], axis=-1)[..., None]
        hazards[cause] = np.exp(log_hazard)  # (chains, draws, arms, J)
    if len({h.shape for h in hazards.values()}) > 1:
        raise AnalysisError("trees: fits differ in chains, draws, arms or intervals; fit all causes alike")
    edges = np.concatenate([[0.0], statistics.cuts, [np.inf]])
    spent = np.clip(t - edges[:-1, None], 0, np.diff(edges)[:, None])  # (J, k)
    whole = np.where(np.isfinite(np.diff(edges)), np.diff(edges), 0.0)
    total = np.sum(list(hazards.values()), axis=0)
    at_start = np.exp(-np.concatenate([np.zeros_like(total[..., :1]), np.cumsum(total * whole, -1)[..., :-1]], -1))
    lost = at_start[..., None] * -np.expm1(-total[..., None] * spent)  # (chains, draws, arms, J, k)
    found = {c: np.einsum("...j,...jk->...k", h / total, lost) for c, h in hazards.items()}
    return found, np.exp(-total @ spent)
