"""Visual predictive checks: would the model have produced data like those observed?

The percentiles of the observations at each time stand beside those of many simulated replicates of the same study. With
a prediction correction, what differs between subjects only by dose, covariates or the time within a bin is taken out of
both first, so that adaptive doses and small groups can share a panel.

References
----------
[1] Bergstrand, Hooker, Wallin & Karlsson 2011, Prediction-corrected visual predictive checks for diagnosing nonlinear
    mixed-effects models. AAPS J 13:143, doi 10.1208/s12248-011-9255-z.
[2] Bergstrand & Karlsson 2009, Handling data below the limit of quantification in mixed effect models. AAPS J 11:371,
    doi 10.1208/s12248-009-9112-5.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

type Correction = Literal["none", "prediction", "variability"]

PREDICTED, OBSERVED, QUIET = "#1f5fa8", "#d95f02", "#8a8f98"  # as in the report
STYLE: Any = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": "#333",
    "axes.edgecolor": "#888",
    "xtick.color": "#444",
    "ytick.color": "#444",
    "legend.frameon": False,
}


class Check(NamedTuple):
    """What a visual predictive check found.

    `percentiles`: a row per stratum, bin and percentile: `bin`, its `low` and `high` edge and the `time` of its median
    observation, the number `n` of observations, `percentile`, its `observed` value, its median over the replicates
    `simulated`, and the ends `lower` and `upper` of the interval over the replicates. Null: below the limit of
    quantification. `censored`: the same of the share of observations below that limit; empty where there is none.
    `points`: the quantifiable observations, corrected as the percentiles are.
    """

    percentiles: pl.DataFrame
    censored: pl.DataFrame
    points: pl.DataFrame
    by: tuple[str, ...]
    interval: float
    lloq: float | None


def vpc(
    observed: pl.DataFrame,
    simulated: pl.DataFrame,
    *,
    time: str = "time",
    value: str = "value",
    replicate: str = "replicate",
    by: Sequence[str] = (),
    bins: int | Sequence[float] | None = None,
    percentiles: Sequence[float] = (5, 50, 95),
    interval: float = 0.95,
    correct: Correction = "none",
    prediction: str = "prediction",
    bound: float = 0.0,
    log: bool = False,
    lloq: float | None = None,
) -> Check:
    """A visual predictive check.

    observed: a row per observation, with columns `time` and `value` and the strata `by`. simulated: the same rows in
    the same order for each `replicate`, with values simulated with residual error, and for a correction the model's
    `prediction` for the typical subject with that dose and those covariates (NONMEM's PRED). An observation that is
    missing (null or NaN) is left out of both; a simulated value that is missing is left out of its replicate.

    bins: None, every time its own; a number, so many of about as many observations each; or edges, each bin from its
    lower edge to below its upper one, the last through it. correct: for the *prediction* [1], or for that and the
    *variability* expected of each observation [1]. bound: the lowest possible value [1]. log: values and predictions
    are logarithms. lloq, on the scale of the values: what is below is lower than all that is not, in both [2], also
    where a correction would change the order.

    Errors: ValueError naming what does not match.
    """
    _check(observed, simulated, [time, value, *by], replicate, prediction, percentiles, interval, correct)
    copies = simulated.sort(replicate, maintain_order=True)
    many = _replicates(observed, copies, [time, *by])
    there = np.isfinite(_floats(observed, value))
    kept = observed.filter(there)
    y, t = _floats(kept, value), _floats(kept, time)
    z = _floats(copies, value).reshape(many, observed.height)[:, there]
    typical = np.ones_like(z)
    if correct != "none":
        typical = _floats(copies, prediction).reshape(many, observed.height)[:, there]
        if not (typical == typical[0]).all():
            raise ValueError(f"{prediction!r} differs between replicates; write that of the typical subject in all")
    typical = typical[0]
    if correct != "none" and not log and not (typical > bound).all():
        raise ValueError(
            f"{(~(typical > bound)).sum()} predictions in {prediction!r} are not above the bound {bound:g}; "
            "leave out observations before the first dose, lower the bound, or write log=True for logarithms"
        )
    which, edges = _bins(t, bins)
    low_y, low_z = (y < lloq, z < lloq) if lloq is not None else (np.zeros_like(y, bool), np.zeros_like(z, bool))

    share = [50 * (1 - interval), 50, 50 * (1 + interval)]
    found: list[dict[str, Any]] = []
    censored: list[dict[str, Any]] = []
    for stratum, rows in _strata(kept, by, which):
        b = which[rows[0]]
        here = stratum | {"bin": int(b), "low": edges[b][0], "high": edges[b][1]}
        here |= {"time": float(np.median(t[rows])), "n": len(rows)}
        y[rows], z[:, rows] = _corrected(y[rows], z[:, rows], typical[rows], correct, bound, log)
        real = _percentiles(np.where(low_y[rows], -np.inf, y[rows])[None], percentiles)[:, 0]
        made = _percentiles(np.where(low_z[:, rows], -np.inf, z[:, rows]), percentiles)
        for p, value_of_p, (lower, middle, upper) in zip(percentiles, real, _percentiles(made, share).T, strict=True):
            spread = {"simulated": _or_null(middle), "lower": _or_null(lower), "upper": _or_null(upper)}
            found.append(here | {"percentile": float(p), "observed": _or_null(value_of_p)} | spread)
        if lloq is not None:
            valid = ~np.isnan(z[:, rows])
            shares = (low_z[:, rows] & valid).sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
            lower, middle, upper = np.percentile(shares, share)
            spread = {"simulated": middle, "lower": lower, "upper": upper}
            censored.append(here | {"observed": float(low_y[rows].mean())} | spread)
    points = kept.with_columns(time=pl.Series(t), value=pl.Series(y), bin=pl.Series(which)).filter(~low_y)
    points = points.select(*by, "time", "value", "bin")
    return Check(pl.DataFrame(found), pl.DataFrame(censored), points, tuple(by), interval, lloq)


def figure(
    check: Check, *, xlabel: str = "time", ylabel: str = "value", log: bool = False, points: bool = True
) -> "Figure":
    """The check drawn: observed percentiles as lines over the simulated intervals, one panel per stratum.

    Bins with a width are drawn as boxes, others joined. A small panel below shows the share under the limit of
    quantification, if there is one. log: values on a logarithmic axis.
    """
    import matplotlib
    from matplotlib.figure import Figure

    strata = list(check.percentiles.select(check.by).unique(maintain_order=True).iter_rows()) if check.by else [()]
    columns = min(len(strata), 3)
    rows = -(-len(strata) // columns)
    most = check.censored.select(pl.max_horizontal("upper", "observed").max()).item() if check.censored.height else 0
    deep = [3, 1] if check.censored.height else [3]
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(max(5.2, 3.3 * columns), (3.8 + 1.2 * (len(deep) - 1)) * rows), layout="constrained")
        axes = drawn.subplots(
            rows * len(deep), columns, sharex=True, sharey="row", squeeze=False, height_ratios=deep * rows
        )
        for spare in range(len(strata), rows * columns):
            for k in range(len(deep)):
                axes[spare // columns * len(deep) + k, spare % columns].remove()
        for i, stratum in enumerate(strata):
            row, column = i // columns * len(deep), i % columns
            axis = axes[row, column]
            if points:
                seen = _of(check.points, check.by, stratum)
                axis.plot(seen["time"], seen["value"], "o", color=QUIET, ms=2.4, alpha=0.4, mew=0, zorder=1)
            _percentile_lines(axis, _of(check.percentiles, check.by, stratum), check)
            if log:
                axis.set_yscale("log")
            axis.set_title(", ".join(f"{name} {_plain(level)}" for name, level in zip(check.by, stratum, strict=True)))
            lowest = axis
            if check.censored.height:
                lowest = axes[row + 1, column]
                _ribbon(lowest, _of(check.censored, check.by, stratum), PREDICTED, 0.0)
                lowest.set_ylim(0, min(1.02, 1.1 * most + 0.02))
            if column == 0:
                axis.set_ylabel(ylabel)
                if lowest is not axis:
                    lowest.set_ylabel("share\nbelow LLOQ")
            if i + columns >= len(strata):
                lowest.set_xlabel(xlabel)
                lowest.tick_params(labelbottom=True)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        drawn.legend(unique.values(), unique.keys(), loc="outside upper left", ncols=2, fontsize=8.5)
    return drawn


def _check(
    observed: pl.DataFrame,
    simulated: pl.DataFrame,
    columns: list[str],
    replicate: str,
    prediction: str,
    percentiles: Sequence[float],
    interval: float,
    correct: str,
) -> None:
    made = [*columns, replicate] if correct == "none" else [*columns, replicate, prediction]
    wrong = [
        f"{name} has no column {column!r}; it has {', '.join(frame.columns)}"
        for name, frame, wanted in (("observed", observed, columns), ("simulated", simulated, made))
        for column in wanted
        if column not in frame.columns
    ]
    if not percentiles or not all(0 <= p <= 100 for p in percentiles):
        wrong.append(f"percentiles are {list(percentiles)}; write some between 0 and 100")
    if not 0 < interval < 1:
        wrong.append(f"interval is {interval}; write a share between 0 and 1")
    if correct not in ("none", "prediction", "variability"):
        wrong.append(f"correct is {correct!r}; write 'none', 'prediction' or 'variability'")
    if wrong:
        raise ValueError("; ".join(wrong))


def _replicates(observed: pl.DataFrame, copies: pl.DataFrame, design: list[str]) -> int:
    """How many times the observed rows were simulated. copies: sorted by replicate."""
    rows = observed.height
    if rows == 0 or copies.height == 0 or copies.height % rows:
        raise ValueError(
            f"{copies.height} simulated rows are no multiple of the {rows} observed ones; "
            "simulate every observed row in every replicate"
        )
    many = copies.height // rows
    differ = [name for name in design if not copies[name].equals(pl.concat([observed[name]] * many))]
    if differ:
        raise ValueError(
            f"{', '.join(differ)} of the simulated rows differ from those observed; "
            "give each replicate the observed rows in their order"
        )
    return many


def _floats(frame: pl.DataFrame, column: str) -> np.ndarray:
    return frame[column].cast(pl.Float64).fill_null(np.nan).to_numpy().copy()


def _bins(t: np.ndarray, bins: int | Sequence[float] | None) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """The bin of each time, and the edges of each bin."""
    if bins is None:
        times, which = np.unique(t, return_inverse=True)
        return which, [(float(a), float(a)) for a in times]
    if isinstance(bins, int):
        edges = np.unique(np.quantile(t, np.linspace(0, 1, bins + 1)))
        edges = edges if len(edges) > 1 else np.repeat(edges, 2)
    else:
        edges = np.asarray(bins, dtype=float)
        if len(edges) < 2 or (np.diff(edges) <= 0).any():
            raise ValueError(f"bins are {edges.tolist()}; write two or more edges, ascending")
        outside = (t < edges[0]) | (t > edges[-1])
        if outside.any():
            raise ValueError(
                f"{outside.sum()} observations, the first at {t[outside][0]:g}, lie outside the bins from "
                f"{edges[0]:g} to {edges[-1]:g}; widen the bins or leave these observations out"
            )
    which = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, len(edges) - 2)
    return which, [(float(a), float(b)) for a, b in itertools.pairwise(edges)]


def _strata(kept: pl.DataFrame, by: Sequence[str], which: np.ndarray) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The rows of each stratum and bin, strata in the order in which they come, bins ascending."""
    keyed = kept.with_columns(_bin=pl.Series(which), _row=pl.int_range(pl.len()))
    strata = keyed.partition_by(list(by), maintain_order=True) if by else [keyed]
    for stratum in strata:
        for part in stratum.sort("_bin", maintain_order=True).partition_by("_bin", maintain_order=True):
            yield {name: part[name][0] for name in by}, part["_row"].to_numpy()


def _corrected(
    y: np.ndarray, z: np.ndarray, typical: np.ndarray, correct: Correction, bound: float, log: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Observations (rows,) and replicates (many, rows) of one bin, as if each had the bin's median prediction."""
    if correct == "none":
        return y, z
    middle = np.median(typical)
    if log:
        y, z = y + (middle - typical), z + (middle - typical)  # [1]
    else:
        scale = (middle - bound) / (typical - bound)
        y, z = bound + (y - bound) * scale, bound + (z - bound) * scale  # [1]
    if correct == "variability":
        sd = np.nanstd(z, axis=0, ddof=1)
        y, z = (middle + (a - middle) * np.median(sd) / sd for a in (y, z))  # [1]
    return y, z


def _percentiles(values: np.ndarray, percent: Sequence[float]) -> np.ndarray:
    """Percentiles of each row, interpolated between its order statistics; (percent, rows). NaN: missing, left out;
    -inf: below the limit, and so is what lies between that and a number."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = (~np.isnan(ordered)).sum(axis=1)
    at = np.multiply.outer(np.asarray(percent) / 100, np.maximum(count - 1, 0))
    below, above = np.floor(at).astype(int), np.ceil(at).astype(int)
    rows = np.arange(len(values))
    a, b = ordered[rows, below], ordered[rows, above]
    known = np.isfinite(a) & np.isfinite(b)
    return np.where(known, a + (at - below) * (np.where(known, b, 0) - np.where(known, a, 0)), a)


def _or_null(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _of(frame: pl.DataFrame, by: tuple[str, ...], stratum: tuple[Any, ...]) -> pl.DataFrame:
    return frame.filter(*(pl.col(name).eq_missing(level) for name, level in zip(by, stratum, strict=True)))


def _plain(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)


def _percentile_lines(axis: "Axes", rows: pl.DataFrame, check: Check) -> None:
    """The middle percentile in full, the others dashed, each over its interval."""
    percents = rows["percentile"].unique().sort().to_list()
    middle = percents[len(percents) // 2] if len(percents) % 2 else None
    outer = ", ".join(f"P{p:g}" for p in percents if p != middle)
    floor = rows["observed"].min() if check.lloq is None else check.lloq
    for p in percents:
        label = f"P{p:g}" if p == middle else outer
        colour, line = (PREDICTED, "-") if p == middle else (QUIET, "--")
        spread = f"simulated {label}: {100 * check.interval:g} % interval"
        _ribbon(axis, rows.filter(percentile=p), colour, floor, line, f"observed {label}", spread)
    if check.lloq is not None:
        axis.axhline(check.lloq, color="#bbb", lw=0.8, ls=":", zorder=0)


def _ribbon(
    axis: "Axes",
    rows: pl.DataFrame,
    colour: str,
    floor: Any,
    line: str = "-",
    label: str | None = None,
    spread: str | None = None,
) -> None:
    """One observed line over the interval of the simulated ones, which begins at `floor` where it has no lower end."""
    lower, upper = rows["lower"].fill_null(floor).to_numpy(), rows["upper"].fill_null(np.nan).to_numpy()
    low, high, t = (rows[name].to_numpy() for name in ("low", "high", "time"))
    look = {"color": colour, "alpha": 0.3, "lw": 0, "label": spread}
    if (high > low).all():
        axis.bar(low, upper - lower, high - low, lower, align="edge", **look)
    else:
        axis.fill_between(t, lower, upper, **look)
    axis.plot(t, rows["observed"], line, color=OBSERVED, lw=1.6, marker="o", ms=3, zorder=3, label=label)
