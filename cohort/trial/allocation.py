"""Who is allocated to which arm: at once to the planned numbers, or as people arrive, in permuted blocks within strata.

All of it is drawn from streams of the seed, the draw and the subject (of blocks: the stratum and the block's number),
and uses nothing that is measured after allocation.
"""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from cohort.library import load
from cohort.streams import streams
from cohort.study import Criterion, Study, source_of, unit_of

MEAN = 0  # the draw that stands for the posterior mean: everyone in every arm, no trial


class TrialError(ValueError):
    """A virtual trial that cannot be run; the message says what to change."""


def allocate(study: Study, subjects: list[str], draw: int, people: pl.DataFrame | None = None) -> dict[str, list[str]]:
    """Random allocation of one draw's trial: who is in each arm, nobody twice.

    Without `conduct.allocation` the planned number of people per arm, exactly. With it, as many people as are planned
    arrive one after another and take the next place of their stratum's blocks, so that the arms' numbers differ from
    the planned ones by what the last block of each stratum leaves open. `people`: subject and the columns of the
    strata, a row each; needed where there are strata. Errors: TrialError.
    """
    arms = sorted(study.arms.items())  # by name: the order of a file's lines is not part of its fingerprint
    chosen = participants(study, subjects, draw)
    plan = study.conduct.allocation
    if plan is None:
        ends = np.cumsum([arm.n for _, arm in arms])
        return {name: sorted(chosen[end - arm.n : end]) for (name, arm), end in zip(arms, ends, strict=True)}
    order = [subject for subject, _ in sorted(arrivals(study, chosen, draw).items(), key=lambda pair: pair[1])]
    stratum = strata_of(study, people, order) if plan.strata else dict.fromkeys(order, "")
    in_stratum: dict[str, list[str]] = {}
    for subject in order:
        in_stratum.setdefault(stratum[subject], []).append(subject)
    allocated: dict[str, list[str]] = {name: [] for name, _ in arms}
    for name, who in in_stratum.items():
        for subject, arm in zip(who, sequence(study, draw, name, len(who)), strict=True):
            allocated[arm].append(subject)
    return {name: sorted(who) for name, who in allocated.items()}


def participants(study: Study, subjects: Sequence[str], draw: int) -> list[str]:
    """The people of one draw's trial, as many as the arms plan, in random order. Errors: TrialError for too few."""
    needed = sum(arm.n for arm in study.arms.values())
    if needed > len(subjects):
        raise TrialError(
            f"{study.path}: population.size: the arms plan {needed} patients, the population has {len(subjects)}; "
            "raise it"
        )
    order = np.argsort(streams(study.seed, f"allocation {draw}", subjects).uniform("order")[:, 0], kind="stable")
    return [subjects[int(i)] for i in order[:needed]]


def arrivals(study: Study, chosen: Sequence[str], draw: int) -> dict[str, float]:
    """When each of a trial's people is randomised, in days from the start of enrolment: a Poisson process.

    Its rate rises in a line along the ramp and is constant then. The gap before each arrival is drawn from the stream
    of who arrives, so that the order in which people are listed does not matter. All at 0 without
    `conduct.enrolment`: then the dictionary's order is still a random one.
    """
    own = streams(study.seed, f"enrolment {draw}", chosen)
    order = np.argsort(own.uniform("order")[:, 0], kind="stable")
    plan = study.conduct.enrolment
    if plan is None:
        return {chosen[int(i)]: 0.0 for i in order}
    unit_rate = np.cumsum(-np.log(own.uniform("gap")[order, 0]))  # arrivals of a process of rate 1
    days = when(unit_rate, plan.rate.to("1/d"), plan.ramp.to("d") if plan.ramp else 0.0)
    return {chosen[int(i)]: float(day) for i, day in zip(order, days, strict=True)}


def when(expected: np.ndarray, rate: float, ramp: float) -> np.ndarray:
    """The day by which so many people are expected: the inverse of the integrated rate of arrival.

    expected: (n,) numbers of people; rate: per day once the ramp is over; ramp: days. Along the ramp the integral is
    rate t^2 / (2 ramp), and rate (t - ramp / 2) after it.
    """
    if ramp == 0:
        return expected / rate
    return np.where(expected < rate * ramp / 2, np.sqrt(2 * ramp * expected / rate), expected / rate + ramp / 2)


def ratio(study: Study) -> dict[str, int]:
    """Places of each arm in the smallest block, by name: as stated, or the planned numbers in lowest terms."""
    plan = study.conduct.allocation
    planned = (plan.ratio if plan else None) or {name: arm.n for name, arm in study.arms.items()}
    common = math.gcd(*planned.values())
    return {name: planned[name] // common for name in sorted(planned)}


def sequence(study: Study, draw: int, stratum: str, length: int) -> list[str]:
    """The first `length` places of a stratum's list: permuted blocks, each drawn from a stream of its own."""
    plan = study.conduct.allocation
    assert plan is not None
    shares = ratio(study)
    whole = sum(shares.values())
    if wrong := sorted({b for b in plan.blocks if b % whole}):
        raise TrialError(
            f"{study.path}: conduct.allocation.blocks: the arms' ratio fills blocks of {whole}; "
            f"{', '.join(map(str, wrong))} is no multiple of it"
        )
    places: list[str] = []
    number = 0
    while len(places) < length:
        own = streams(study.seed, f"blocks {draw}", [f"{stratum} block {number}"])
        size = sorted(plan.blocks)[int(own.uniform("size")[0, 0] * len(plan.blocks))]
        block = [name for name, share in shares.items() for _ in range(share * size // whole)]
        places += [block[i] for i in np.argsort(own.uniform("place", size)[0], kind="stable")]
        number += 1
    return places[:length]


def strata_of(study: Study, people: pl.DataFrame | None, subjects: Sequence[str]) -> dict[str, str]:
    """The stratum of each subject in words, such as `sex = female, ldl >= 130 mg/dL: no`. Errors: TrialError."""
    plan = study.conduct.allocation
    strata = plan.strata if plan else []
    if not strata:
        return dict.fromkeys(subjects, "")
    if people is None:
        raise TrialError(f"{study.path}: conduct.allocation.strata: strata need people; give their table")
    missing = [s.column for s in strata if s.column not in people.columns]
    if missing:
        raise TrialError(f"{study.path}: conduct.allocation.strata: people have no column {', '.join(missing)}; add it")
    rows = pl.DataFrame({"subject": list(subjects)}).join(people, on="subject", how="left", maintain_order="left")
    parts = [_levels(study, one, rows[one.column]) for one in strata]
    return {subject: ", ".join(part[i] for part in parts) for i, subject in enumerate(subjects)}


def _levels(study: Study, one: Criterion, column: pl.Series) -> list[str]:
    if column.null_count():
        raise TrialError(f"{study.path}: conduct.allocation.strata: {one.column} is unknown of some people; fill it in")
    if not one.bounds:
        return [f"{one.column} = {value}" for value in column.to_list()]
    met = keeps(study, one, column)
    return [f"{one}: {'yes' if yes else 'no'}" for yes in met]


def keeps(study: Study, one: Criterion, column: pl.Series) -> np.ndarray:
    """Which of these people meet a criterion on a column of theirs, (n,)."""
    model = load(study.model, study.path.parent)
    values = column.to_numpy() if column.dtype.is_numeric() else np.array(column.to_list(), dtype=object)
    return one.keeps(values, unit_of(source_of(study), model, one.column))
