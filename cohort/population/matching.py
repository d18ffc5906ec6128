"""Matching people to a trial: weights with which a larger pool has its published baseline table, and a cohort drawn.

Weights are those of maximum entropy that meet the table (entropy balancing [1], the dual of the method of moments of
MAIC [2]): w proportional to exp(a'c), where c holds a moment per line of the table. How variables hang together comes
from the pool.

References
----------
[1] Hainmueller 2012, Entropy balancing for causal effects. Political Analysis 20:25-46, doi 10.1093/pan/mpr025.
[2] Signorovitch et al. 2010, Comparative effectiveness without head-to-head trials. Pharmacoeconomics 28:935-945,
    doi 10.2165/11538370-000000000-00000.
[3] Madow 1949, On the theory of systematic sampling, II. Ann Math Stat 20:333-354, doi 10.1214/aoms/1177729988.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.population.baseline import MatchingError, Target
from cohort.streams import streams

TOLERANCE = 1e-9  # of a moment, in standard deviations of the pool
FEASIBLE = 1e-7  # of the sum of slacks, in the same
FEW = 0.1  # of the pool: an effective size below it is worth a warning


@dataclass(frozen=True)
class Matched:
    """Weights of the people of a pool, and the baseline table that they give."""

    weights: np.ndarray  # (n,), sum 1
    table: pl.DataFrame  # of `baseline_table`
    iterations: int

    @property
    def effective(self) -> float:
        """The effective sample size: how many people of equal weight would tell as much."""
        return float(1 / np.sum(self.weights**2))

    @property
    def largest(self) -> float:
        return float(self.weights.max())

    def warnings(self, n: int) -> list[str]:
        """What to know before n people are drawn."""
        pool, effective, twice = len(self.weights), self.effective, int(np.sum(n * self.weights > 1))
        far = self.table.filter(pl.col("standard_errors").abs() > 2)
        return [
            *([f"the effective size is {effective:.0f} of {pool}, below {FEW:.0%}"] if effective < FEW * pool else []),
            *([f"the effective size is {effective:.0f}, below the {n} wanted: enlarge the pool"] * (effective < n)),
            *([f"{twice} people stand for more than one of {n}: they are repeated, or enlarge the pool"] * (twice > 0)),
            *(f"{r['target']}: {r['standard_errors']:+.1f} standard errors off" for r in far.iter_rows(named=True)),
        ]


def values(pool: pl.DataFrame, name: str) -> np.ndarray:
    """A column of people, (n,): numbers, or levels as text. Errors: MatchingError of an unknown column or bad cells."""
    if name not in pool.columns:
        near = difflib.get_close_matches(name, pool.columns, n=1)
        raise MatchingError(f"column '{name}' is not in the pool" + (f"; did you mean '{near[0]}'?" if near else ""))
    column = pool[name]
    if column.dtype == pl.Boolean:
        column = column.replace_strict({True: "yes", False: "no"}, return_dtype=pl.String)
    number = column.dtype.is_numeric()
    bad = column.is_null() | ~column.is_finite() if number else column.is_null()
    if bad.any():
        rows = [i + 1 for i in bad.arg_true().head(5)]
        raise MatchingError(f"column '{name}': {bad.sum()} cells are missing or not finite, the first in rows {rows}")
    return column.to_numpy().astype(float) if number else column.cast(pl.String).to_numpy().astype(str)


def _moments(pool: pl.DataFrame, targets: Sequence[Target]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the table says, as means: (n, k) of the pool, (k,) wanted, and (k,) the wanted ones' sampling variance for
    one patient. The SD is the second moment about the published mean; a quantile, the share at or below it."""
    mean = {t.variable: t.value for t in targets if t.statistic == "mean"}
    sd = {t.variable: t.value for t in targets if t.statistic == "sd"}
    lines = []
    for t in targets:
        x = values(pool, t.variable)
        if (x.dtype.kind == "U") != (t.statistic == "percent"):
            raise MatchingError(f"{t}: column '{t.variable}' holds {'levels' if x.dtype.kind == 'U' else 'numbers'}")
        if t.statistic == "mean":
            c, b, v = x, t.value, sd.get(t.variable, x.std()) ** 2
        elif t.statistic == "sd":
            if t.variable not in mean:
                raise MatchingError(f"{t}: an SD needs the mean of {t.variable} beside it")
            c, b, v = (x - mean[t.variable]) ** 2, t.value**2, 2 * t.value**4  # of a normal variable
        else:
            b = t.value / 100 if t.statistic == "percent" else t.share
            c, v = ((x == t.level) if t.statistic == "percent" else (x <= t.value)).astype(float), b * (1 - b)
        lines.append((c, b, v))
    columns, wanted, variance = zip(*lines, strict=True)
    return np.column_stack(columns), np.array(wanted), np.array(variance)


def balance(
    pool: pl.DataFrame, targets: Sequence[Target], soft: bool = False, base: np.ndarray | None = None
) -> Matched:
    """The weights nearest to `base` (n,), or to equal ones, with which the pool has the published table.

    soft: a line is met within the sampling error of its figure, from the trial's n, and the pool counts for as much as
    one patient; lines without n are met all the same. Sampling errors of two lines are taken for independent.
    Errors: MatchingError naming what cannot be reached, and how far the pool goes."""
    if not targets or not pool.height:
        raise MatchingError("there is nothing to match: give at least one person and one line of a baseline table")
    moments, wanted, variance = _moments(pool, targets)
    scale = moments.std(axis=0)
    scale[scale <= 1e-12 * np.abs(moments).max(axis=0)] = 1.0  # the whole pool alike
    z = (moments - wanted) / scale
    give = np.array([v / t.n if soft and t.n else 0.0 for t, v in zip(targets, variance, strict=True)]) / scale**2
    start = np.full(pool.height, 1 / pool.height) if base is None else base / base.sum()
    weights, iterations = _tilted(z, start, give)
    if weights is None:
        hard = np.flatnonzero(give == 0).tolist()
        raise MatchingError(_why([targets[j] for j in hard], z[:, hard], scale[hard]))
    return Matched(weights, baseline_table(pool, weights, targets), iterations)


def _sum(over: str, *arrays: np.ndarray) -> np.ndarray:
    """Sums of products in one order: those of `@` hang on how many threads the linear algebra has."""
    return np.einsum(over, *arrays, optimize=False)


def _tilted(z: np.ndarray, start: np.ndarray, give: np.ndarray) -> tuple[np.ndarray | None, int]:
    """Newton on the convex dual, log sum start exp(z a) + a'diag(give)a / 2: weights with z'w + give a = 0, and the
    iterations. None where there are no such weights. z: (n, k); start: (n,); give: (k,)."""
    log_start = np.log(np.maximum(start, np.finfo(float).tiny))
    floor = -math.inf if give.any() else log_start.min() - 1  # no divergence from `start` goes below: no weights exist

    def dual(a: np.ndarray) -> tuple[float, np.ndarray]:
        s = log_start + _sum("nk,k->n", z, a)
        top = s.max()
        e = np.exp(s - top)
        total = e.sum()
        return float(top + np.log(total) + a @ (give * a) / 2), e / total

    a, iteration = np.zeros(z.shape[1]), 0
    value, w = dual(a)
    while iteration < 200 and value >= floor:
        mean = _sum("n,nk->k", w, z)
        gradient = mean + give * a
        if np.abs(gradient).max() < TOLERANCE:
            return w, iteration
        hessian = _sum("nj,nk->jk", z * w[:, None], z) - np.outer(mean, mean) + np.diag(give)
        step = -np.linalg.pinv(hessian, rcond=1e-13, hermitian=True) @ gradient  # lines may say the same twice
        slope, length = gradient @ step, 1.0
        while not (there := dual(a + length * step))[0] <= value + 1e-4 * length * slope + 1e-14:
            length /= 2
            if length < 1e-12:
                return None, iteration
        a, (value, w), iteration = a + length * step, there, iteration + 1
    return None, iteration


def _why(targets: Sequence[Target], z: np.ndarray, scale: np.ndarray) -> str:
    """Which lines of the table stand in the way, each with how far the pool goes. z: (n, k), moments less wanted ones
    in units of scale (k,). Smallest sets of lines that cannot hold together are found by linear programming."""
    from scipy.optimize import linprog

    def program(cost: np.ndarray, lines: list[int], price: float) -> tuple[float, np.ndarray]:
        """The least cost'w + price (sum of misses) over weights w, and what it hangs on, (lines,). By generation of
        columns: of a large pool few people matter, those at its edge."""
        k = len(lines)
        people = np.vstack([z[:, lines].T, np.ones(len(z))])
        misses = np.vstack([np.hstack([np.eye(k), -np.eye(k)]), np.zeros(2 * k)])
        some = np.unique(np.r_[z[:, lines].argmin(axis=0), z[:, lines].argmax(axis=0), cost.argmin()])
        while True:
            a, c = np.hstack([people[:, some], misses]), np.r_[cost[some], np.full(2 * k, price)]
            found = linprog(c, A_eq=a, b_eq=np.r_[np.zeros(k), 1])
            gain = cost - found.eqlin.marginals @ people
            gain[some] = 0
            if gain.min() > -1e-8:
                return found.fun, found.eqlin.marginals[:k]
            more = np.argsort(gain)[:200]
            some = np.r_[some, more[gain[more] < 0]]

    def slack(lines: list[int]) -> tuple[float, np.ndarray]:
        return program(np.zeros(len(z)), lines, 1)

    def reach(line: int, others: list[int], sign: int) -> float:
        """The most, or with a sign of -1 the least, that one line's moment can be while others are met."""
        return -sign * program(-sign * z[:, line], others, 1e4)[0]

    lines, told = list(range(len(targets))), []
    while lines:
        missed, tight = slack(lines)
        if missed < FEASIBLE:
            break
        core = [j for j, t in zip(lines, tight, strict=True) if abs(t) > 1e-9]
        for j in list(core):
            rest = [i for i in core if i != j]
            if rest and slack(rest)[0] >= FEASIBLE:
                core = rest
        for j in core:
            rest = [i for i in core if i != j]
            high, low = reach(j, rest, 1), reach(j, rest, -1)
            bound, side = (high, "at most") if high < 0 else (low, "at least")
            beside = f" with {' and '.join(str(targets[i]) for i in rest)}" if rest else ""
            far = targets[j].off(bound * scale[j])
            about = " about the published mean" if targets[j].statistic == "sd" else ""
            told.append(f"{targets[j]}{about} cannot be reached{beside}; the pool reaches {side} {far}")
        lines = [j for j in lines if j not in core]
    if not told:
        return "the weights did not converge, though they exist: the table asks for the very edge of the pool; widen it"
    return "\n".join([*told, "check the figures, or widen the pool or the criteria; soft targets allow for a small n"])


def _statistic(t: Target, x: np.ndarray, w: np.ndarray) -> float:
    """What the table would print of these people. x, w: (n,)."""
    if t.statistic == "percent":
        return float(100 * np.sum(w[x == t.level]))
    if t.statistic in ("mean", "sd"):
        mean = np.sum(w * x)
        return float(mean if t.statistic == "mean" else np.sqrt(np.sum(w * (x - mean) ** 2)))
    order = np.argsort(x, kind="stable")
    at = int(np.searchsorted(np.cumsum(w[order]), t.share - TOLERANCE))
    return float(x[order][min(at, len(x) - 1)])


def baseline_table(pool: pl.DataFrame, weights: np.ndarray, targets: Sequence[Target]) -> pl.DataFrame:
    """The published table beside the pool's before and after weighting: one row per target.

    Differences are standardised by the published SD, or the pool's where none is published; of an SD they are relative;
    of a percentage or quantile they are of the share, over its binomial SD. `standard_errors`: how many of the
    published figure's the weighted one is away; null where the trial's n is not known."""
    moments, wanted, variance = _moments(pool, targets)
    equal = np.full(pool.height, 1 / pool.height)
    rows = []
    for j, t in enumerate(targets):
        x, c = values(pool, t.variable), moments[:, j]
        spread = math.sqrt(variance[j]) or c.std() or 1.0  # 0 % or 100 % was published
        before, after = _statistic(t, x, equal), _statistic(t, x, weights)
        off = (np.sum(weights * c) - wanted[j]) / spread
        sd = t.statistic == "sd"
        rows.append(
            {
                "target": str(t),
                "variable": t.variable,
                "level": t.level,
                "statistic": t.statistic,
                "unit": t.unit,
                "before": before,
                "after": after,
                "published": t.value,
                "difference_before": before / t.value - 1 if sd else (c.mean() - wanted[j]) / spread,
                "difference_after": after / t.value - 1 if sd else off,
                "standard_errors": off * math.sqrt(t.n) if t.n else None,
                "source": t.source,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"standard_errors": pl.Float64})


def resample(pool: pl.DataFrame, matched: Matched, n: int, seed: int) -> tuple[pl.DataFrame, int]:
    """n people, each expected n w times, by systematic sampling in random order [3]: nobody twice unless n w > 1.
    Returns them in the order of their ids, and how many are repeats: `0012~2` is the second of 0012.

    Order and start hang on seed and ids alone. Errors: MatchingError of an id that stands on more than one row."""
    if n < 1:
        raise MatchingError(f"{n} people cannot be drawn; ask for one or more")
    subjects = pool["subject"]
    if (twice := subjects.filter(subjects.is_duplicated()).unique(maintain_order=True)).len():
        raise MatchingError(f"subject {twice[0]!r} stands on more than one row; {twice.len()} ids do; keep one of each")
    shuffled = np.argsort(streams(seed, "resample", subjects.to_list()).uniform("order")[:, 0], kind="stable")
    start = streams(seed, "resample start", [str(n)]).uniform("start")[0, 0]
    reached = np.cumsum(matched.weights[shuffled])
    copies = np.empty(pool.height, dtype=np.int64)
    copies[shuffled] = np.diff(np.floor(n * reached / reached[-1] + start), prepend=0.0)
    people = pool.with_columns(copy=pl.int_ranges(1, pl.Series(copies) + 1)).filter(pl.Series(copies > 0))
    people = people.explode("copy").sort("subject", "copy")
    again = pl.when(pl.col("copy") > 1).then(pl.format("{}~{}", "subject", "copy")).otherwise("subject")
    people = people.with_columns(subject=again).drop("copy")
    if people["subject"].is_duplicated().any():
        raise MatchingError("an id of the pool ends as a repeat's would, such as 0012~2; rename it")
    return people, int(np.sum(np.maximum(copies - 1, 0)))
