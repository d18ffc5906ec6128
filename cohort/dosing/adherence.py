"""Adherence: which of the scheduled doses a patient takes, when, and for how long the patient goes on.

The electronic dosing histories of 4783 patients on a once-daily antihypertensive are the measure [1]: half had stopped
within a year; on any day, those still engaged missed a tenth of the doses, 42 % of them one at a time and 43 % in
drug holidays of three days or more. Whether a dose is missed depends on whether the one before was, and on the
patient [2]; `Adherence(missed=0.1, spread=0.15, runs=0.15, stops=log(2) / 365)` comes near to them, in days.

References
----------
[1] Vrijens, Vincze, Kristanto, Urquhart & Burnier 2008, BMJ 336:1114, doi 10.1136/bmj.39553.670231.25.
[2] Girard, Blaschke, Kastrissios & Sheiner 1998, Stat Med 17:2313. A Markov model of compliance with random effects.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import betaincinv, expm1, log1p  # the same bits on any machine, unlike NumPy's vector log

from cohort.dosing.records import Events
from cohort.streams import Streams, streams


@dataclass(frozen=True)
class Adherence:
    """How patients take what was ordered. What a patient takes or misses at one time is taken or missed together.

    `missed`: the share of doses that are missed, by patients who have not stopped. `spread`: the standard deviation of
    this share between patients, which is beta-distributed. `runs`: the correlation between missing one dose and missing
    the next, 0 to less than 1: misses come in runs of 1 / ((1 - missed) (1 - runs)) on average. `doubled`: of the doses
    taken, the share taken twice at once. `late`: the mean delay of a dose that is taken, in the model's unit of time;
    delays are exponential, cut to less than the time to the next scheduled dose, which is thus always taken later.
    `stops`: the hazard of stopping for good, per unit of time since the first dose, e.g. log(2) / 365 for half within
    a year; no dose scheduled from then on is taken.
    """

    missed: float = 0.0
    spread: float = 0.0
    runs: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    stops: float = 0.0

    def __post_init__(self) -> None:
        widest = (max(self.missed * (1 - self.missed), 0.0)) ** 0.5  # all or nothing
        wrong = [
            f"{name}: {getattr(self, name)} is not {what}"
            for name, fits, what in (
                ("missed", 0 <= self.missed <= 1, "a share; write a number from 0 to 1"),
                (
                    "spread",
                    self.spread == 0 or 0 < self.spread < widest,
                    f"possible; write less than {widest:.3g}, at this share",
                ),
                ("runs", 0 <= self.runs < 1, "a correlation; write a number from 0 to less than 1"),
                ("doubled", 0 <= self.doubled <= 1, "a share; write a number from 0 to 1"),
                ("late", 0 <= self.late < np.inf, "a delay; write 0 or more"),
                ("stops", 0 <= self.stops < np.inf, "a hazard; write 0 or more"),
            )
            if not fits
        ]
        if wrong:
            raise ValueError("\n".join(["adherence", *(f"  {line}" for line in wrong)]))


def adhere(
    events: Events, subjects: Sequence[str], seed: int, adherence: Adherence, into: Collection[str] | None = None
) -> Events:
    """What these n subjects make of what `events` order: every dose written out, each subject on a course of its own.

    `into`: the routes or states whose doses the patients take themselves, by default all; others are given as ordered.
    So is a steady-state dose, which stands for a past that went well; its additional doses are the patient's to take.
    What happens to a dose is drawn from the subject's own stream, by the number of the dose: the same in any company.
    With perfect adherence, these are the events as `expanded`. Errors: ValueError unless there is one id per subject.
    """
    if len(subjects) != len(events):
        raise ValueError(f"there are {len(subjects)} subjects, and events for {len(events)}; give one id for each")
    ordered = expanded(events)
    if adherence == Adherence():
        return ordered
    rows = ordered.rows
    theirs = (pl.col("action") == "dose") & (pl.col("steady") == 0)
    if into is not None:
        theirs &= pl.col("into").is_in(list(into))
    course, time = rows["course"].to_numpy(), rows["time"].to_numpy()
    occasion = _occasions(course, time, rows.select(theirs).to_series().to_numpy())

    first, last = (np.searchsorted(course, events.course, side) for side in ("left", "right"))
    subject = np.repeat(np.arange(len(events)), last - first)
    row = np.arange(len(subject)) + np.repeat(last - np.cumsum(last - first), last - first)
    k, time = occasion[row], time[row]
    patient = k >= 0
    due = np.full((len(events), occasion.max(initial=-1) + 1), np.nan)
    due[subject[patient], k[patient]] = time[patient]
    copies, delay = _taken(adherence, streams(seed, "adherence", subjects), due)
    times = np.ones(len(row), dtype=np.int64)
    times[patient] = copies[subject[patient], k[patient]]
    time[patient] += delay[subject[patient], k[patient]]

    copied = np.repeat(np.arange(len(row)), times)
    taken = rows[row[copied]].with_columns(course=pl.Series(subject[copied]), time=pl.Series(time[copied]))
    return Events(np.arange(len(events)), taken.sort("course", "time", maintain_order=True))


def expanded(events: Events) -> Events:
    """The same events with additional doses written out in the place of their record, courses in order of time.

    A reset, or a dose whose steady state replaces the state, cancels what records before it would still give.
    """
    dose, steady, again = pl.col("action") == "dose", pl.col("steady"), pl.col("again")
    cancels = (pl.col("action") == "reset") | (dose & (steady == 1))
    pauses = dose & ((pl.col("amount") > 0) | (steady == 0))  # not the steady state of a constant infusion
    rows = (
        events.rows.sort("course", "time", maintain_order=True)
        .with_columns(until=pl.when(cancels).then("time").shift(-1).backward_fill().over("course"))
        .with_columns(again=pl.int_ranges(0, pl.when(pauses).then("additional").otherwise(0) + 1))
        .explode("again")
        .with_columns(pl.col("time") + again * pl.col("interval"), pl.when(again == 0).then(steady).otherwise(0))
        .filter((again == 0) | (pl.col("time") <= pl.col("until").fill_null(np.inf)))
        .with_columns(interval=pl.when(steady > 0).then("interval").otherwise(0.0), additional=pl.lit(0, pl.Int64))
        .sort("course", "time", maintain_order=True)
    )
    return Events(events.course, rows.select(pl.col(name).cast(kind) for name, kind in events.rows.schema.items()))


def _occasions(course: np.ndarray, time: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(rows,), sorted: for each of the patient's doses, how many times there were before in its course; else -1."""
    course, time = course[theirs], time[theirs]
    number = np.cumsum(np.r_[True, (np.diff(course) != 0) | (np.diff(time) != 0)][: len(time)])
    occasion = np.full(len(theirs), -1)
    occasion[theirs] = number - number[np.searchsorted(course, course)]
    return occasion


def _taken(adherence: Adherence, own: Streams, due: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often (0, 1 or 2) and how late each dose is taken, (n, doses). due: the same, NaN after a subject's last."""
    n, doses = due.shape
    missed = np.full(n, adherence.missed)
    if adherence.spread:
        size = adherence.missed * (1 - adherence.missed) / adherence.spread**2 - 1  # a + b of beta(a, b)
        missed = betaincinv(adherence.missed * size, (1 - adherence.missed) * size, own.uniform("missed")[:, 0])
    copies = np.empty((doses, n), dtype=np.int64)
    before = missed  # stationary from the first dose on
    for k, u in enumerate(np.ascontiguousarray(own.uniform("dose", doses).T)):
        likely = missed + adherence.runs * (before - missed)  # a Markov chain [2]
        before = u < likely
        copies[k] = 1 - 1 * before + (u > 1 - adherence.doubled * (1 - likely))
    copies = copies.T
    if adherence.stops:
        engaged = -log1p(-own.uniform("stop")) / adherence.stops
        copies[due - due[:, :1] >= engaged] = 0
    if not adherence.late:
        return copies, np.zeros((n, doses))
    gap = np.diff(due, axis=1, append=np.nan)
    cut = -expm1(-np.where(np.isnan(gap), np.inf, gap) / adherence.late)  # the share of delays shorter than the gap
    return copies, -adherence.late * log1p(-cut * own.uniform("delay", doses))
