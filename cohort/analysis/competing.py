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
from cohort.analysis.refusal import refuse
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
    trees: Mapping[str, "xr.DataTree"], statistics: Mapping[str, Statistics], times: Any, *, composite: Statistics
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Posterior cumulative incidence of each cause, and survival free of all, (chains, draws, arms, k) each.

    trees: a piecewise exponential fitted to each cause; statistics: what each was fitted to; composite: those of any
    cause, with the same cuts. As the likelihood is a product over causes, so is the posterior, and draws may be put
    side by side if the fits had different seeds: with one seed they may share random numbers, and their draws be
    correlated. Errors: AnalysisError, which lists all that is wrong: covariates, other cuts, arms or follow-up, causes
    whose events do not add up to the composite's, unequal draws, or times beyond the follow-up."""
    t = np.atleast_1d(np.asarray(times, float))
    refuse(_apart(trees, statistics, composite, t))
    hazards = {}
    for cause, tree in trees.items():
        log_hazard = values(tree, "log_hazard")[..., None, :]
        if len(composite.arms) > 1:
            log_hr = values(tree, "log_hr")
            zero = np.zeros_like(log_hr[..., :1])
            log_hazard = log_hazard + np.concatenate([zero, log_hr], axis=-1)[..., None]
        hazards[cause] = np.exp(log_hazard)  # (chains, draws, arms, J)
    if len({h.shape for h in hazards.values()}) > 1 or next(iter(hazards.values())).shape[-1] != composite.intervals:
        raise AnalysisError("trees: fits differ in chains, draws, arms or intervals; fit all causes alike")
    edges = np.concatenate([[0.0], composite.cuts, [np.inf]])
    spent = np.clip(t - edges[:-1, None], 0, np.diff(edges)[:, None])  # (J, k)
    whole = np.where(np.isfinite(np.diff(edges)), np.diff(edges), 0.0)
    total = np.sum(list(hazards.values()), axis=0)
    at_start = np.exp(-np.concatenate([np.zeros_like(total[..., :1]), np.cumsum(total * whole, -1)[..., :-1]], -1))
    lost = at_start[..., None] * -np.expm1(-total[..., None] * spent)  # (chains, draws, arms, J, k)
    found = {c: np.einsum("...j,...jk->...k", h / total, lost) for c, h in hazards.items()}
    return found, np.exp(-total @ spent)


def _apart(
    trees: Mapping[str, "xr.DataTree"], statistics: Mapping[str, Statistics], composite: Statistics, t: np.ndarray
) -> list[str]:
    """Why the fits are not of the causes of one composite."""
    wrong = [] if len(trees) > 1 else ["trees: one cause only; give a fit for each, or use survival"]
    if set(trees) != set(statistics):
        wrong.append(f"statistics: of {sorted(statistics)}; write those of each fit, {sorted(trees)}")
    if composite.covariates or any(s.covariates for s in statistics.values()):
        wrong.append("covariates: cumulative incidence is of fits without them; fit each arm's causes alone")
    if not np.all((t >= 0) & (t <= composite.horizon)):
        wrong.append(f"times: write times from 0 to {composite.horizon:.4g} {composite.unit}")
    events, exposure = composite.table()
    alike = True
    for cause, s in statistics.items():
        if not np.array_equal(s.cuts, composite.cuts):
            wrong.append(f"{cause}: cuts {s.cuts.tolist()}; fit it with those of the composite, "
                         f"{composite.cuts.tolist()}")  # fmt: skip
        elif (s.arms, s.unit) != (composite.arms, composite.unit):
            wrong.append(f"{cause}: arms {list(s.arms)} in {s.unit}; write {list(composite.arms)} in {composite.unit}")
        elif not np.allclose(s.table()[1], exposure):
            wrong.append(f"{cause}: its follow-up is not the composite's; censor at the other causes")
        else:
            continue
        alike = False
    if alike and statistics:
        total = np.sum([s.table()[0] for s in statistics.values()], axis=0)
        if not np.array_equal(total, events):
            wrong.append(f"statistics: the causes have {total.sum()} events and the composite {events.sum()}, or they "
                         "differ by arm or interval; give every cause once, and no other")  # fmt: skip
    for cause, tree in trees.items():
        seen = _fitted(tree)
        if cause in statistics and seen is not None and not np.array_equal(seen, statistics[cause].events):
            wrong.append(f"{cause}: the fit saw other events than its statistics; give those it was fitted to")
    return wrong


def _fitted(tree: "xr.DataTree") -> np.ndarray | None:
    """The events that a fit saw, if it keeps them."""
    if "observed_data" not in tree.children or "events" not in tree["observed_data"]:
        return None
    return np.asarray(tree["observed_data"]["events"].values)
