"""Non-compartmental analysis: exposure, clearance and half-life read off concentration-time curves, without a model.

What is said here of samples holds throughout. Times count from the dose. A missing sample (NaN) is left out. One that
is below the limit of quantification, or not above zero, counts as zero before the first quantifiable sample and is left
out after it [3], so the last sample of a curve is the last quantifiable one. Of two samples at the time of a dose the
first was taken before it, the second after. Where there is none, the curve starts from zero after the first dose, and
from the interval's smallest concentration after a later one [4]; that after a bolus starts from the line through its
first two samples on the log scale, or from the first sample if that line does not fall [4]. A sample at the time of a
bolus is the trough before it, and is no part of the curve that follows.

References
----------
[1] Gabrielsson & Weiner 2012, Non-compartmental analysis. Methods Mol Biol 929:377, doi 10.1007/978-1-62703-050-2_16.
[2] Purves 1992, Optimum numerical integration methods for estimation of area-under-the-curve (AUC) and area under the
    moment curve (AUMC). J Pharmacokinet Biopharm 20:211, doi 10.1007/BF01062525.
[3] Denney, Duvvuri & Buckeridge 2015, Simple, automatic noncompartmental analysis: the PKNCA R package. J Pharmacokinet
    Pharmacodyn 42:S65. Its rules for samples below the limit of quantification, and for the terminal phase.
[4] Phoenix WinNonlin 8.3 User's Guide, NCA computation rules: data checking and pre-treatment; lambda z.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import polars as pl

type Given = Literal["oral", "infusion", "bolus"]
type Method = Literal["linear-up log-down", "linear"]

AS_GOOD = 1e-4  # [3, 4]: terminal phases whose adjusted R² is so close to the best are as good; the longest is taken
FEWEST = 3  # samples in a terminal phase [3, 4]
FLAT = 1e-5  # relative fall below which the logarithmic rule cancels; the linear one then errs by less than 1e-10
HERE = 1e-9  # relative difference of two times that are the same


def nca(
    concentrations: Any,
    times: Any,
    *,
    dose: Any = None,
    given: Given = "oral",
    start: float = 0.0,
    duration: Any = 0.0,
    lloq: float = 0.0,
    method: Method = "linear-up log-down",
    subjects: Sequence[Any] | None = None,
) -> pl.DataFrame:
    """The curve after a single dose at `start`, or after the last one, one row per subject.

    concentrations: (n, visits). times: (visits,) or (n, visits), ascending. dose, duration of the infusion: one number
    or (n,). Units follow from those given: with concentrations in mg/L, times in h and doses in mg, AUC is in mg·h/L,
    AUMC in mg·h²/L, clearance in L/h and volumes in L.

    Returns `subject`; `c_max` and `t_max`, as sampled; `c_0` of a bolus; `c_last` and `t_last`; `auc_last` and
    `aumc_last` up to there; of the terminal phase `lambda_z`, `half_life`, `r2_adjusted`, `points` and where it begins,
    `lambda_z_from`; `auc_inf` and `aumc_inf`, extrapolated from the last sample, with `extrapolated` percent of
    `auc_inf`, and `auc_inf_predicted`, extrapolated from the terminal line at that time; `mrt`, the mean residence
    time, which after an oral dose holds that of absorption. With a dose also `cl` and `vz`, both over F unless
    intravenous, and `vss` of an intravenous one. What cannot be determined is NaN.

    Errors: ValueError for times that do not ascend or shapes that do not match.
    """
    c, t, _ = _curve(concentrations, times, start, np.inf, given, lloq)
    n = len(c)
    table: dict[str, Any] = {"subject": np.arange(n) if subjects is None else subjects}
    table |= _peak(c, t)
    c, t, c_0 = _from_dose(c, t, given, np.zeros(n))
    if given == "bolus":
        table["c_0"] = c_0
    c_last, t_last = _last(c, t)
    phase = _terminal(c, t, table["t_max"], given)
    rate = phase["lambda_z"]
    auc, aumc = _areas(c, t, method)
    auc_inf = auc + c_last / rate  # [1]
    aumc_inf = aumc + t_last * c_last / rate + c_last / rate**2  # [1]
    table |= {"c_last": c_last, "t_last": t_last, "auc_last": auc, "aumc_last": aumc}
    table |= {name: phase[name] for name in ("lambda_z", "half_life", "r2_adjusted", "points", "lambda_z_from")}
    table |= {"auc_inf": auc_inf, "auc_inf_predicted": auc + phase["c_last"] / rate, "aumc_inf": aumc_inf}
    table["extrapolated"] = 100 * (1 - auc / auc_inf)
    table["mrt"] = aumc_inf / auc_inf - (np.asarray(duration) / 2 if given == "infusion" else 0)  # [1]
    if dose is not None:
        table["cl"] = np.asarray(dose) / auc_inf
        table["vz"] = table["cl"] / rate
        if given != "oral":
            table["vss"] = table["cl"] * table["mrt"]
    return pl.DataFrame(table)


def nca_interval(
    concentrations: Any,
    times: Any,
    *,
    start: float,
    tau: float,
    dose: Any = None,
    given: Given = "oral",
    lloq: float = 0.0,
    method: Method = "linear-up log-down",
    subjects: Sequence[Any] | None = None,
) -> pl.DataFrame:
    """One dosing interval, from `start` to `start + tau`, the first or one at steady state; one row per subject.

    Arguments and units as of `nca`; concentrations may go on before and after. Of two samples at the end of the
    interval the first was taken before the next dose; where there is none, the terminal phase is drawn on to there.

    Returns `subject`; `c_max`, `t_max` (since the dose) and `c_min`, as sampled; `c_trough` at the end; `auc_tau`;
    `c_avg`; `fluctuation` (c_max - c_min over c_avg) and `swing` (over c_min), both in percent; `half_life` within the
    interval; with a dose `cl`, over F unless intravenous, which is the clearance only at steady state.
    """
    c, t, earlier = _curve(concentrations, times, start, tau, given, lloq)
    n = len(c)
    table: dict[str, Any] = {"subject": np.arange(n) if subjects is None else subjects}
    table |= _peak(c, t)
    c_min = _quietly(np.nanmin, c)
    c, t, _ = _from_dose(c, t, given, np.where(earlier, c_min, 0.0))
    phase = _terminal(c, t, table["t_max"], given)
    c_last, t_last = _last(c, t)
    trough = np.where(t_last == tau, c_last, c_last * np.exp(-phase["lambda_z"] * (tau - t_last)))
    end = np.where(t_last < tau, tau, np.nan)
    auc, _ = _areas(*_left(np.column_stack([c, trough]), np.column_stack([t, end])), method)
    auc = np.where(np.isfinite(trough), auc, np.nan)
    average = auc / tau
    table |= {"c_min": c_min, "c_trough": trough, "auc_tau": auc, "c_avg": average}
    table["fluctuation"] = 100 * (table["c_max"] - c_min) / average
    with np.errstate(divide="ignore", invalid="ignore"):
        table["swing"] = 100 * (table["c_max"] - c_min) / c_min  # infinite after the first dose
    table["half_life"] = phase["half_life"]
    if dose is not None:
        table["cl"] = np.asarray(dose) / auc
    return pl.DataFrame(table)


def accumulation(first: pl.DataFrame, steady: pl.DataFrame) -> pl.DataFrame:
    """How much of a drug accumulates: an interval at steady state over the first one.

    Both as `nca_interval` returns them. Returns `subject`, and the ratios `r_auc` of AUCtau and `r_max` of Cmax; a
    subject of only one of the tables has none.
    """
    both = steady.join(first, on="subject", how="inner", suffix="_first", maintain_order="left")
    return both.select(
        "subject", r_auc=pl.col("auc_tau") / pl.col("auc_tau_first"), r_max=pl.col("c_max") / pl.col("c_max_first")
    )


def _curve(
    concentrations: Any, times: Any, start: float, tau: float, given: Given, lloq: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What counts of each subject's samples from `start` on for `tau`, from the left, NaN behind: (n, visits) of
    concentrations and times since the start, and (n,) whether there are samples from before."""
    if given not in ("oral", "infusion", "bolus"):
        raise ValueError(f"given is {given!r}; write 'oral' (for any absorbed dose), 'infusion' or 'bolus'")
    end = start + tau
    c = np.atleast_2d(np.asarray(concentrations, dtype=float))
    t = np.asarray(times, dtype=float)
    if c.ndim != 2 or t.shape not in ((c.shape[1],), c.shape):
        raise ValueError(
            f"concentrations of {c.shape} and times of {t.shape} do not match; "
            "write (n, visits) and (visits,), or (n, visits) for both"
        )
    t = np.broadcast_to(t, c.shape)
    taken = np.isfinite(c) & np.isfinite(t)
    latest = np.fmax.accumulate(np.where(np.isfinite(t), t, -np.inf), axis=1)
    back = (np.isfinite(t[:, 1:]) & (t[:, 1:] < latest[:, :-1])).any(axis=1)
    if back.any():
        rows = ", ".join(map(str, np.flatnonzero(back)[:5]))
        raise ValueError(f"times go back in {back.sum()} of {len(c)} subjects (rows {rows}); sort each ascending")
    here = HERE * max(abs(start), abs(end) if np.isfinite(end) else 0.0, 1.0)
    at_start, at_end = np.abs(t - start) <= here, np.abs(t - end) <= here
    earlier = (taken & (t < start) & ~at_start).any(axis=1)
    inside = taken & ((t > start) | at_start) & ((t < end) | at_end)
    if given == "bolus":
        inside &= ~(at_start & (np.cumsum(taken & at_start, axis=1) == 1))
    inside &= ~(at_end & (np.cumsum(taken & at_end, axis=1) > 1))
    quantifiable = inside & (c > 0) & (c >= lloq)
    begun = np.maximum.accumulate(quantifiable, axis=1)
    c = np.where(quantifiable, c, np.where(inside & ~begun, 0.0, np.nan))
    since = np.where(at_start, 0.0, np.where(at_end, tau, t - start))
    return *_left(c, since), earlier


def _left(c: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples that are there first, in their order; NaN behind."""
    there = np.isfinite(c) & np.isfinite(t)
    order = np.argsort(~there, axis=1, kind="stable")
    c, t = (np.take_along_axis(np.where(there, a, np.nan), order, axis=1) for a in (c, t))
    return c, t


def _quietly(f: Any, c: np.ndarray) -> np.ndarray:
    """`f` of each row's samples, NaN where it has none."""
    some = np.isfinite(c).any(axis=1)
    return np.where(some, f(np.where(some[:, None], c, 0.0), axis=1), np.nan)


def _peak(c: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """The highest sample, the first of them if there are several, and its time; no time where none is quantifiable."""
    highest = _quietly(np.nanmax, c)
    at = np.argmax(np.where(np.isfinite(c), c, -np.inf), axis=1) if c.shape[1] else np.zeros(len(c), int)
    when = np.take_along_axis(t, at[:, None], axis=1)[:, 0]
    return {"c_max": highest, "t_max": np.where(highest > 0, when, np.nan)}


def _from_dose(
    c: np.ndarray, t: np.ndarray, given: Given, without: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The curves with a sample at the time of the dose, and the concentration there: (n,). `without`: (n,), what it is
    where no bolus was given and no sample taken."""
    if given == "bolus":
        c, t = (a if a.shape[1] > 1 else np.column_stack([a, np.full(len(a), np.nan)]) for a in (c, t))
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.log(c[:, 1] / c[:, 0]) / (t[:, 1] - t[:, 0])
            drawn_back = c[:, 0] * np.exp(-slope * t[:, 0])
        without = np.where(np.isfinite(slope) & (slope < 0), drawn_back, c[:, 0])
    none = np.isfinite(c[:, 0]) & (t[:, 0] > 0)
    c, t = _left(
        np.column_stack([np.where(none, without, np.nan), c]), np.column_stack([np.where(none, 0.0, np.nan), t])
    )
    return c, t, c[:, 0]


def _last(c: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last quantifiable sample and its time."""
    at = np.maximum(np.isfinite(c).sum(axis=1) - 1, 0)[:, None]
    c_last, t_last = (np.take_along_axis(a, at, axis=1)[:, 0] for a in (c, t))
    return np.where(c_last > 0, c_last, np.nan), np.where(c_last > 0, t_last, np.nan)


def _areas(c: np.ndarray, t: np.ndarray, method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the curve and under its first moment: (n,), NaN where there is no sample."""
    c1, c2, t1, t2 = c[:, :-1], c[:, 1:], t[:, :-1], t[:, 1:]
    dt = t2 - t1
    area, moment = dt * (c1 + c2) / 2, dt * (t1 * c1 + t2 * c2) / 2
    if method == "linear-up log-down":
        falls = (c2 > 0) & (c1 - c2 > FLAT * c2)
        drop = np.where(falls, c1 - c2, 1.0)
        log = np.log1p(drop / np.where(falls, c2, 1.0))
        area = np.where(falls, dt * drop / log, area)  # [1]
        moment = np.where(falls, dt * (t1 * c1 - t2 * c2) / log + dt**2 * drop / log**2, moment)  # [2]
    elif method != "linear":
        raise ValueError(f"method is {method!r}; write 'linear-up log-down' or 'linear'")
    some = np.isfinite(c).any(axis=1)
    auc, aumc = (np.where(some, np.nansum(a, axis=1), np.nan) for a in (area, moment))
    return auc, aumc


def _terminal(c: np.ndarray, t: np.ndarray, t_max: np.ndarray, given: Given) -> dict[str, np.ndarray]:
    """The terminal phase: of the straight lines through the last 3, 4, ... samples on the log scale, after the peak
    (from it after a bolus [4]), the one with the best adjusted R², or the longest of those as good [3, 4]."""
    c_last, t_last = _last(c, t)
    after = (t >= t_max[:, None]) if given == "bolus" else (t > t_max[:, None])
    use = ((c > 0) & after & (t > 0))[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(use, np.log(c / c_last[:, None])[:, ::-1], 0.0)  # from the last sample, so that nothing cancels
    x = np.where(use, (t - t_last[:, None])[:, ::-1], 0.0)
    n, sx, sy, xx, xy, yy = (np.cumsum(a, axis=1) for a in (use.astype(float), x, y, x * x, x * y, y * y))
    with np.errstate(divide="ignore", invalid="ignore"):
        vx, vy, covariance = xx - sx**2 / n, yy - sy**2 / n, xy - sx * sy / n
        slope = covariance / vx
        r2 = covariance**2 / (vx * vy)
        adjusted = 1 - (1 - r2) * (n - 1) / (n - 2)
        candidate = use & (n >= FEWEST) & (slope < 0) & np.isfinite(adjusted)
        adjusted = np.where(candidate, adjusted, -np.inf)
        as_good = candidate & (adjusted >= adjusted.max(axis=1, keepdims=True) - AS_GOOD)
        chosen = np.argmax(n * as_good, axis=1)[:, None]
    found = as_good.any(axis=1)

    def of(a: np.ndarray) -> np.ndarray:
        return np.where(found, np.take_along_axis(a, chosen, axis=1)[:, 0], np.nan)

    rate = -of(slope)
    line_at_last = (of(sy) + rate * of(sx)) / of(n)
    return {
        "lambda_z": rate,
        "half_life": np.log(2) / rate,
        "r2_adjusted": of(adjusted),
        "points": of(n),
        "lambda_z_from": of(t[:, ::-1]),
        "c_last": c_last * np.exp(line_at_last),
    }
