"""What happens to the patients of an arm between the visits: when they are seen, fall ill, stop, are rescued, leave.

In this order, each step resting on those before it:

1. Visits take place at their actual times, and the engine solves the course there, everyone on treatment.
2. Adverse events come at their hazard on treatment; treatment is discontinued at the first of its own hazard and the
   adverse events that lead to it. All that this rests on lies before the stop, where the course is that on treatment.
3. The engine solves the course again for whoever stopped, without the doses after the stop. Nothing about what the
   drug leaves behind is assumed: the model says it. Adverse events that had not come yet come at their hazard without
   drug.
4. Rescue begins at the first visit at which its criterion is met, in the course as lived and in the one in which the
   treatment was not discontinued.
5. Patients withdraw from the study at their own hazard along the course as lived; enrolment may end it sooner.

A subject's luck is the same in every arm, as are the random effects: what differs between a person's arms is the
treatment alone. Who belongs to a principal stratum rests on that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.model import Model
from cohort.study import Study
from cohort.study.protocol import Leaving
from cohort.trial import hazards
from cohort.trial.allocation import MEAN, arrivals, participants
from cohort.trial.course import course
from cohort.trial.leaving import leaving, relieved, rescued, risk
from cohort.trial.visits import Luck, World, measure, visiting
from cohort.units import factor


@dataclass(frozen=True)
class Patients:
    """The n patients of an arm, over all draws, and the times of what happens to them in days since randomisation.

    lanes: draw, subject and the columns of people; at: (n, visits) when visits take place, or would; attended:
    (n, visits) whether they do, while the patient is in the study; calendar: (n,) day of randomisation, NaN at the
    posterior mean; events: (n,) first time of each adverse event; discontinued, withdrew: (n,), with the reasons, text;
    censored: (n,) when enrolment's cut-off ends the follow-up; code: (n,) of the engine; worlds: `lived` and, where the
    study can tell them apart, `without_discontinuation`, `without_rescue`, `without_either`. Infinite: never.
    """

    arm: str
    lanes: pl.DataFrame
    at: np.ndarray
    attended: np.ndarray
    calendar: np.ndarray
    events: dict[str, np.ndarray]
    discontinued: np.ndarray
    why_discontinued: np.ndarray
    withdrew: np.ndarray
    why_withdrew: np.ndarray
    censored: np.ndarray
    code: np.ndarray
    worlds: dict[str, World]

    @property
    def followup(self) -> np.ndarray:
        """(n,) days to the last moment of which anything is known."""
        return np.minimum(np.minimum(self.withdrew, self.censored), self.at[:, -1])

    @property
    def seen(self) -> np.ndarray:
        """(n, visits) which visits left a measurement."""
        return self.attended & (self.at <= self.followup[:, None]) & (self.code == 0)[:, None]


def conducted(
    study: Study, model: Model, arm: str, lanes: pl.DataFrame, parameters: pl.DataFrame, threads: int = 1
) -> Patients:
    """Run the conduct of the study for the lanes of one arm. lanes: draw, subject and the columns of people, a row
    each; parameters: values by draw. Errors: TrialError."""
    conduct = study.conduct
    subjects, draws = lanes["subject"].to_list(), lanes["draw"].to_numpy()
    luck = Luck(study.seed, draws, subjects)
    at, attended = visiting(study, luck)
    values = lanes.select("draw").join(parameters, on="draw", how="left", maintain_order="left")
    noise = {name: luck.of("measurement").normal(name, at.shape[1]) for name in model.outputs.fields()}
    per_day = _per_day(model)

    def solved(who: np.ndarray, stops: np.ndarray | None) -> tuple[dict[str, np.ndarray], np.ndarray]:
        clock = None if stops is None else stops / per_day
        made, status = course(
            study, model, arm, lanes.filter(pl.Series(who)), parameters, at[who] / per_day, clock, threads
        )
        return made, status.code

    def world(true: dict[str, np.ndarray]) -> World:
        """With rescue, if there is any."""
        seen = measure(model, true, noise, values)
        never = np.full(len(subjects), math.inf)
        if conduct.rescue is None:
            return World(true, seen, never)
        when = rescued(conduct.rescue, model, seen, at, attended)
        with_it = relieved(conduct.rescue, model, true, at, when)
        return World(with_it, measure(model, with_it, noise, values), when)

    everyone = np.ones(len(subjects), dtype=bool)
    on, code = solved(everyone, None)
    treated = world(on)
    end = at[:, -1]
    risks = risk(study, arm, values)
    levels = {name: -np.log(luck.of("event").uniform(name)[:, 0]) for name in risks}
    forever = np.full(len(subjects), math.inf)
    events = {n: hazards.switching(drug, drug, forever, levels[n]) for n, (_, drug) in risks.items()}

    stop, why_stop = forever, np.full(len(subjects), "", dtype=object)
    if conduct.discontinuation is not None:
        own = luck.of("discontinuation")
        plan = conduct.discontinuation
        stop, why_stop = leaving(study, model, arm, plan, own, treated, at, attended, events, forever)
        stop = np.where(stop < end, stop, math.inf)
    off, lived = {name: a.copy() for name, a in on.items()}, treated
    gone = np.isfinite(stop)
    if gone.any():
        after, code_after = solved(gone, stop[gone])
        for name, made in after.items():
            off[name][gone] = made
        code = code.copy()
        code[gone] = np.maximum(code[gone], code_after)
        lived = world(off)
        events = {n: hazards.switching(drug, bare, stop, levels[n]) for n, (bare, drug) in risks.items()}
    worlds = {"lived": lived}
    if conduct.discontinuation is not None:
        worlds["without_discontinuation"] = treated
    if conduct.rescue is not None:
        worlds["without_rescue"] = World(off, measure(model, off, noise, values), forever)
    if conduct.discontinuation is not None and conduct.rescue is not None:
        worlds["without_either"] = World(on, measure(model, on, noise, values), forever)

    calendar, censored = _calendar(study, lanes)
    own = luck.of("dropout")
    plan = conduct.withdrawal or Leaving(share=conduct.dropout, source=conduct.source)
    withdrew, why = leaving(study, model, arm, plan, own, lived, at, attended, events, stop)
    withdrew = np.where(withdrew < end, withdrew, math.inf)
    return Patients(arm, lanes, at, attended, calendar, events, stop, why_stop, withdrew, why, censored, code, worlds)


def _per_day(model: Model) -> float:
    """Days in the model's unit of time."""
    return factor(model.time, "d")


def _calendar(study: Study, lanes: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Day of randomisation of each lane, NaN where there is no trial, and when the cut-off ends its follow-up."""
    days = np.full(lanes.height, np.nan)
    plan = study.conduct.enrolment
    if plan is not None:
        when = lanes["calendar"].to_numpy().astype(float)
        days = np.where(lanes["draw"].to_numpy() == MEAN, np.nan, when)
    if plan is None or plan.cutoff is None:
        return days, np.full(lanes.height, math.inf)
    left = plan.cutoff.to("d") - days
    return days, np.where(np.isnan(left), math.inf, left)


def calendar(study: Study, subjects: Sequence[str], draw: int) -> dict[str, float]:
    """Day of randomisation of every participant of one draw's trial."""
    return arrivals(study, participants(study, subjects, draw), draw)
