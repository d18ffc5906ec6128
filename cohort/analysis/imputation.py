"""Values missing after an intercurrent event, imputed for each posterior draw as an estimand says, and then analysed.

A strategy is a mean of the visits from the event on; given a subject's values before the event they follow the
conditional normal distribution about it [1]:

    hypothetical                     the own arm's mean: missing at random
    jump to reference                the reference arm's mean; before the event the own arm's
    copy reference                   the reference arm's mean before and after
    copy increments in reference     the own arm's mean at the last visit before, plus the reference's change since;
                                     the reference's mean where the event came before the first visit

Values missing before an event, or without one, are always missing at random.

References
----------
[1] Carpenter, Roger, Kenward 2013, J Biopharm Stat 23:1352, doi 10.1080/10543406.2013.834911.
[2] Rubin 1987, Multiple Imputation for Nonresponse in Surveys, doi 10.1002/9780470316696.
[3] Barnard & Rubin 1999, Biometrika 86:948, doi 10.1093/biomet/86.4.948: degrees of freedom.
[4] Cro, Carpenter, Kenward 2019, J R Stat Soc A 182:623, doi 10.1111/rssa.12423: under reference-based imputation
    Rubin's variance keeps the information lost to missing values, and exceeds the repeated-sampling variance.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.longitudinal import Longitudinal, covariances, means, without
from cohort.analysis.refusal import refuse
from cohort.analysis.survival import unlabelled
from cohort.inference.diagnosis import values

if TYPE_CHECKING:
    import xarray as xr

Strategy = Literal["hypothetical", "jump to reference", "copy reference", "copy increments in reference"]
Method = Literal["ancova", "mean difference"]
DRAWS = 250  # of each chain
DEATH = re.compile("death|dead|died|deceased|mortality|(?<!non)(?<!non[- ])fatal")


@dataclass(frozen=True)
class Events:
    """Intercurrent events. visit: (subjects,) the place of the first visit after it, the number of visits where there
    is none; kind: (subjects,) what happened, '' where nothing did. A kind that names a death is never imputed."""

    visit: np.ndarray
    kind: np.ndarray

    def after(self, data: Longitudinal) -> np.ndarray:
        """Which visits come after the event: (subjects, visits). Errors: AnalysisError of events that do not fit."""
        n, visits = data.y.shape
        visit, kind = np.asarray(self.visit), np.asarray(self.kind).astype(str)
        wrong = unlabelled("events.kind", self.kind, "write what happened, and '' where nothing did", empty=True)
        if visit.shape != (n,) or kind.shape != (n,):
            wrong.append(f"events: visits {visit.shape}, kinds {kind.shape}; write one of each for {n} subjects")
        elif visit.dtype.kind not in "iu" or visit.min() < 0 or visit.max() > visits:
            wrong.append(f"events.visit: write whole numbers from 0 to {visits}, which stands for no event")
        elif not wrong and (odd := np.flatnonzero((visit < visits) != (kind != ""))).size:
            wrong.append(f"events: {odd.size} subjects have a visit or a kind alone, the first in row {odd[0] + 1}")
        refuse(wrong)
        return np.arange(visits) >= visit[:, None]


def before(data: Longitudinal, events: Events) -> Longitudinal:
    """The data until the event: what the MMRM of a reference-based or hypothetical estimand is fitted to."""
    return without(data, events.after(data))


@dataclass(frozen=True)
class Completed:
    """Data completed once for each draw kept. y: (chains, draws, subjects, visits); imputed: (subjects, visits), those
    that were missing; after: those among them after the event; data: what was completed."""

    y: np.ndarray
    imputed: np.ndarray
    after: np.ndarray
    data: Longitudinal


def _strategies(events: Events, strategy: Strategy | Mapping[str, Strategy]) -> np.ndarray:
    """The strategy of each subject, '' without an event. Errors: AnalysisError of an event that has none."""
    kinds, wrong = np.asarray(events.kind).astype(str), []
    named = {k: strategy for k in sorted(set(kinds) - {""})} if isinstance(strategy, str) else dict(strategy)
    for kind in sorted(set(kinds) - {""}):
        if DEATH.search(kind.casefold()):
            wrong.append(
                f"event '{kind}': {np.sum(kinds == kind)} subjects; after death there is no outcome to impute, and no "
                "such estimand; write a composite or a while-alive estimand"
            )
        elif kind not in named:
            wrong.append(f"event '{kind}': {np.sum(kinds == kind)} subjects without a strategy; write one for it")
        elif named[kind] not in get_args(Strategy):
            known = ", ".join(f"'{s}'" for s in get_args(Strategy))
            wrong.append(f"event '{kind}': '{named[kind]}' is no strategy; write one of {known}")
    refuse(wrong)
    return np.array([named.get(k, "") for k in kinds])


def _every(tree: "xr.DataTree", draws: int | None) -> int:
    """To keep of every how many draws."""
    have = values(tree, "sd").shape[1]
    if draws is not None and draws < 1:
        raise AnalysisError(
            f"draws: {draws}; write how many draws of each chain to impute, one or more, or None for all"
        )
    return 1 if draws is None else max(1, have // draws)


def _draw(y: np.ndarray, who: np.ndarray, given: np.ndarray, wanted: np.ndarray, mean: np.ndarray, sigma: np.ndarray,
          noise: np.ndarray) -> None:  # fmt: skip
    """Fills y[:, who, wanted] by the conditional normal distribution given y[:, who, given] about mean (draws, who,
    visits). sigma: (draws, visits, visits); noise: (draws, subjects, visits), standard normal."""
    if not len(wanted):
        return
    expected, spread = mean[:, :, wanted], sigma[:, wanted[:, None], wanted]
    if len(given):
        across = sigma[:, given[:, None], wanted]
        gain = np.linalg.solve(sigma[:, given[:, None], given], across)
        spread = spread - np.swapaxes(across, 1, 2) @ gain
        expected = expected + (y[:, who[:, None], given] - mean[:, :, given]) @ gain
    factor = np.linalg.cholesky(spread)
    y[:, who[:, None], wanted] = expected + noise[:, who[:, None], wanted] @ np.swapaxes(factor, 1, 2)


def _groups(*keys: np.ndarray) -> list[np.ndarray]:
    """Who has the same row in each of the keys."""
    table = np.column_stack([np.unique(k, axis=0, return_inverse=True)[1].reshape(-1) for k in keys])
    which = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
    return [np.flatnonzero(which == g) for g in range(which.max() + 1)]


def impute(
    tree: "xr.DataTree",
    data: Longitudinal,
    events: Events,
    strategy: Strategy | Mapping[str, Strategy],
    *,
    seed: int,
    reference: str | None = None,
    draws: int | None = DRAWS,
) -> Completed:
    """The data completed under each of `draws` draws of each chain, all if None.

    tree: the MMRM fitted to `data`, which ends at each event (`before`). strategy: one for all, or one by kind of
    event. reference: the arm that is copied, the first if None. The same seed gives every strategy the same noise.
    Errors: AnalysisError of a death, of an event without a strategy, of values after an event, of an unknown arm."""
    after, chosen = events.after(data), _strategies(events, strategy)
    reference = data.subjects.arms[0] if reference is None else reference
    wrong = []
    if reference not in data.subjects.arms:
        wrong.append(f"reference: '{reference}' is no arm; write one of {list(data.subjects.arms)}")
    if late := int((after & data.seen).sum()):
        wrong.append(f"y: {late} values come after an event, and no strategy here uses them; fit and impute `before`")
    refuse(wrong)
    every = _every(tree, draws)
    shape, visits = values(tree, "sd")[:, ::every].shape[:2], len(data.visits)
    sigma = covariances(tree, every).reshape(-1, visits, visits)
    own, other = (means(tree, data, arm, every).reshape(-1, *data.y.shape) for arm in (None, reference))
    y = np.broadcast_to(data.y, own.shape).copy()
    noise = np.random.default_rng(seed).standard_normal(own.shape)
    for who in _groups(data.seen, events.visit, chosen):
        at, seen, late = np.arange(visits), data.seen[who[0]], after[who[0]]
        mean = own[:, who]
        _draw(y, who, at[seen], at[~seen & ~late], mean, sigma, noise)
        if not late.any():
            continue
        last = at[late][0] - 1
        if chosen[who[0]] == "copy reference":
            mean = other[:, who]
        elif chosen[who[0]] == "jump to reference" or (chosen[who[0]] != "hypothetical" and last < 0):
            mean = np.where(late, other[:, who], mean)
        elif chosen[who[0]] == "copy increments in reference":
            step = own[:, who, last, None] + other[:, who] - other[:, who, last, None]
            mean = np.where(late, step, mean)
        _draw(y, who, at[~late], at[late], mean, sigma, noise)
    return Completed(y.reshape(*shape, *data.y.shape), ~data.seen, after & ~data.seen, data)


def impute_retrieved(
    tree: "xr.DataTree",
    data: Longitudinal,
    events: Events,
    *,
    seed: int,
    visit: str | None = None,
    minimum: int = 10,
    draws: int | None = DRAWS,
) -> Completed:
    """For a treatment-policy estimand: values seen after an event are kept, and those missing then at `visit` (the last
    if None) are drawn from subjects of the same arm who were seen at it after their event.

    Of those retrieved, the value is regressed on the arm, the baseline, and how far the last value before the event was
    from its arm's mean (0 where the event came before the first visit), with the reference prior. tree: the MMRM of
    `before(data, events)`. Other visits keep their gaps. Errors: AnalysisError, with counts, of an arm with fewer than
    `minimum` retrieved, of a death, and of a visit before which nobody had an event."""
    after, at = events.after(data), data.visit(visit)
    _strategies(events, "hypothetical")  # for deaths
    arms, arm = data.subjects.arms, data.subjects.arm
    seen, late = data.seen[:, at], after[:, at]
    wrong = [] if minimum >= 3 else [f"minimum: {minimum}; write 3 or more"]
    for name in arms:
        gaps, found = np.sum((arm == name) & late & ~seen), np.sum((arm == name) & late & seen)
        if gaps and found < minimum:
            wrong.append(
                f"arm '{name}' at {data.visits[at]}: {gaps} missing after an event and {found} seen after one, "
                f"fewer than {minimum}; impute by reference, or state a smaller minimum"
            )
    refuse(wrong)
    on = impute(tree, before(data, events), events, "hypothetical", seed=seed, draws=draws)
    y = np.where(data.seen, data.y, np.where(after, np.nan, on.y))
    if (late & ~seen).any():
        y = y.reshape(-1, *data.y.shape)
        y[:, late & ~seen, at] = _retrieved(tree, data, events, on, late, at, seed, _every(tree, draws))
        y = y.reshape(on.y.shape)
    return Completed(y, ~data.seen, after & ~data.seen, data)


def _retrieved(
    tree: "xr.DataTree",
    data: Longitudinal,
    events: Events,
    on: Completed,
    late: np.ndarray,
    at: int,
    seed: int,
    every: int,
) -> np.ndarray:
    """Predictions (draws, missing) of the regression among those retrieved, one draw of its parameters for each."""
    last = np.clip(np.asarray(events.visit) - 1, 0, None)
    residual = on.y.reshape(-1, *data.y.shape) - means(tree, data, None, every).reshape(-1, *data.y.shape)
    residual = np.where(np.asarray(events.visit) > 0, residual[:, np.arange(len(last)), last], 0.0)
    own = data.subjects.arm[:, None] == np.array(data.subjects.arms)[None]
    fixed = np.column_stack([own[:, own[late].any(axis=0)], data.baseline - data.baseline.mean()])
    x = np.concatenate([np.broadcast_to(fixed, (len(residual), *fixed.shape)), residual[..., None]], axis=2)
    seen, rng = data.seen[:, at], np.random.default_rng([seed, 1])
    there, gone = x[:, late & seen], x[:, late & ~seen]
    df = there.shape[1] - x.shape[2]
    if df < 3:
        raise AnalysisError(f"{there.shape[1]} seen after an event at {data.visits[at]}; {x.shape[2] + 3} are needed")
    gram = np.swapaxes(there, 1, 2) @ there
    if np.linalg.cond(gram).max() > 1e12:
        raise AnalysisError(
            "those seen after an event do not tell arm, baseline and last value apart; impute by reference"
        )
    target = data.y[late & seen, at]
    centre = np.linalg.solve(gram, (np.swapaxes(there, 1, 2) @ target)[..., None])[..., 0]
    squares = ((target - np.einsum("dik,dk->di", there, centre)) ** 2).sum(axis=1)
    sigma = np.sqrt(squares / rng.chisquare(df, len(squares)))
    factor = np.linalg.cholesky(np.linalg.inv(gram))
    drawn = centre + sigma[:, None] * np.einsum("dkl,dl->dk", factor, rng.standard_normal(centre.shape))
    return np.einsum("dik,dk->di", gone, drawn) + sigma[:, None] * rng.standard_normal(gone.shape[:2])


@dataclass(frozen=True)
class Pooled:
    """Rubin's rules [2, 3]: estimate, standard error, degrees of freedom, and a confidence interval at `level`."""

    estimate: float
    se: float
    df: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Effect:
    """A treatment effect of every completed data set. estimate, se: (chains, draws), of least squares; df: its residual
    degrees of freedom.

    Its posterior is the mixture over draws of the posterior given each completed data set, Student's t about the
    estimate. Like Rubin's rules, which it meets as draws grow, it does not credit a reference-based assumption with
    information [4]."""

    estimate: np.ndarray
    se: np.ndarray
    df: int

    @property
    def mean(self) -> float:
        return float(self.estimate.mean())

    @property
    def sd(self) -> float:
        within = float(np.mean(self.se**2)) * self.df / (self.df - 2)
        return (within + float(self.estimate.var())) ** 0.5

    @property
    def mcse(self) -> float:
        """The Monte Carlo standard error of the mean; NaN with fewer than four draws of each chain."""
        return error(self.estimate)

    def above(self, value: float = 0.0) -> tuple[float, float]:
        """P(effect > value), and its Monte Carlo standard error, NaN with fewer than four draws of each chain."""
        each = self._above(value)
        return float(each.mean()), error(each)

    def _above(self, value: float) -> np.ndarray:
        from scipy.special import stdtr

        return stdtr(self.df, (self.estimate - value) / self.se)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The equal-tailed interval of the posterior. Errors: AnalysisError of a level outside (0, 1)."""
        from scipy.optimize import brentq

        if not 0 < level < 1:
            raise AnalysisError(f"level: {level}; write a probability above 0 and below 1, such as 0.95")
        reach = 1000 * self.sd + abs(self.mean)
        low, high = (
            brentq(lambda x, q=q: self._above(x).mean() - q, self.mean - reach, self.mean + reach)
            for q in ((1 + level) / 2, (1 - level) / 2)
        )
        return float(low), float(high)  # type: ignore[arg-type]

    def pooled(self, level: float = 0.95) -> Pooled:
        """The same draws as multiple imputations under Rubin's rules [2], with small-sample degrees of freedom [3]."""
        from scipy.stats import t

        m, within = self.estimate.size, float(np.mean(self.se**2))
        between = float(self.estimate.var(ddof=1)) * (1 + 1 / m) if m > 1 else 0.0
        df = float(self.df)  # where nothing was imputed, that of the one analysis
        if between > 1e-20 * within:
            lost = between / (within + between)
            left = (self.df + 1) / (self.df + 3) * self.df * (1 - lost)
            df = 1 / (lost**2 / (m - 1) + 1 / left)
        se = (within + between) ** 0.5
        half = float(t.ppf((1 + level) / 2, df)) * se
        return Pooled(self.mean, se, df, self.mean - half, self.mean + half, level)


def error(draws: np.ndarray) -> float:
    """The Monte Carlo standard error of the mean of (chains, draws): 0 where they do not vary, NaN with fewer than
    four draws of each chain, which do not tell it."""
    from arviz_stats import mcse

    if draws.shape[1] < 4:
        return float("nan")
    scale = float(np.abs(draws).max())
    return float(mcse(draws)) if np.ptp(draws) > 1e-12 * max(scale, 1e-300) else 0.0


def regressors(data: Longitudinal, at: int, method: Method) -> np.ndarray:
    """The design of the analysis at a visit, (subjects, k): intercept, treated arms, and for an analysis of covariance
    baseline, covariates and the score of that visit."""
    if method not in get_args(Method):
        raise AnalysisError(f"method: '{method}' is none; write one of {list(get_args(Method))}")
    z, visits = data.columns(), len(data.visits)
    if method == "mean difference":
        return z[:, : len(data.subjects.arms)]
    return z if data.twin is None else np.column_stack([z[:, :-visits], z[:, z.shape[1] - visits + at]])


def least_squares(y: np.ndarray, x: np.ndarray, column: int) -> tuple[np.ndarray, np.ndarray]:
    """A coefficient of the regression of each y (..., subjects) on x (subjects, k), and its standard error."""
    if np.linalg.matrix_rank(x) < x.shape[1] or len(x) <= x.shape[1] + 2:
        raise AnalysisError(f"{len(x)} subjects do not determine {x.shape[1]} coefficients; leave covariates out")
    inverse = np.linalg.inv(x.T @ x)
    beta = y @ x @ inverse
    variance = ((y - beta @ x.T) ** 2).sum(axis=-1) / (len(x) - x.shape[1])
    return beta[..., column], np.sqrt(variance * inverse[column, column])


def analyse(completed: Completed, arm: str, *, visit: str | None = None, method: Method = "ancova") -> Effect:
    """The effect of an arm against the control at a visit, the last if None, in each completed data set.

    Errors: AnalysisError of an unknown arm, visit or method, or of gaps that were not imputed at this visit."""
    data = completed.data
    at, column = data.visit(visit), 1 + data.subjects.at(arm)
    y = completed.y[..., at]
    if gaps := int(np.isnan(y[0, 0]).sum()):
        raise AnalysisError(f"visit {data.visits[at]}: {gaps} values were not imputed; impute at this visit")
    x = regressors(data, at, method)
    estimate, se = least_squares(y, x, column)
    if not np.all(se > 0):
        raise AnalysisError(f"visit {data.visits[at]}: no variance is left about the means; there is no model of it")
    return Effect(estimate, se, len(x) - x.shape[1])
