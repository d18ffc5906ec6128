"""Stopping treatment removes what was still to be given, of each subject its own, and nothing else."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.dosing.records import Events
from cohort.model import Decision, Record, Rule, Scalar, fixed
from cohort.study.protocol import RulePlan
from cohort.trial import TrialError
from cohort.trial.course import stoppable, stopped
from cohort.units import Quantity


class Memory(Record):
    steps: Scalar = fixed(0.0, "1", about="decisions so far")


def _rule(**sets: Any) -> Rule:
    def decide(t: Any, seen: Any, memory: Memory) -> Decision[Memory]:
        return Decision(memory, **sets)

    return Rule(Memory, decide, "a test")


def _rows(events: Events, subject: int) -> list[tuple[float, str]]:
    own = events.rows.filter(pl.col("course") == events.course[subject])
    return [(t, a) for t, a in own.select("time", "action").rows()]


def test_doses_and_decisions_from_the_stop_on_are_removed():
    doses = Events.of(3, into="sc", amount=1.0, interval=7.0, additional=3)
    rows = pl.concat([doses.rows, Events.of(3, action="decide", time=[7.0, 14.0]).rows])
    rows = pl.concat([rows, Events.of(3, action="reset", time=20.0).rows])
    made = stopped(Events(np.zeros(3, dtype=np.int64), rows), np.array([np.inf, 14.0, 0.0]))
    decisions = [(7.0, "decide"), (14.0, "decide")]
    everything = [(0.0, "dose"), (7.0, "dose"), (14.0, "dose")]  # the reset cancels the fourth
    assert sorted(_rows(made, 0)) == sorted([*everything, *decisions, (20.0, "reset")])
    assert sorted(_rows(made, 1)) == sorted([(0.0, "dose"), (7.0, "dose"), (7.0, "decide"), (20.0, "reset")])
    assert _rows(made, 2) == [(20.0, "reset")]
    made.check()


def test_a_rule_that_sets_a_rate_cannot_be_stopped_by_removing_doses(conducting, evolocumab):
    study = conducting({"discontinuation": {"share": 0.1}})
    arm = study.arms["placebo_q2w"].model_copy(update={"rule": RulePlan(name="titrate", every=Quantity(2, "wk"))})
    ruled = study.model_copy(update={"arms": study.arms | {"placebo_q2w": arm}})
    with pytest.raises(TrialError, match=r"arms\.placebo_q2w\.rule: titrate sets the rate of iv, which runs on"):
        stoppable(ruled, evolocumab.replace(rules={"titrate": _rule(rates={"iv": 1.0})}))
    stoppable(ruled, evolocumab.replace(rules={"titrate": _rule(doses={"sc": 1.0})}))
    stoppable(study, evolocumab)
