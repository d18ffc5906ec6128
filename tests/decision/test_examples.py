"""A traced trial is one that the operating characteristics count."""

import numpy as np
import pytest
from decision_designs import AS, BINARY, CROHN_ROBUST, FEWER, ROBUST, UNIFORM, crohn

from cohort.decision import DecisionError, exact
from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design
from cohort.decision.examples import trace


def test_traced_decisions_are_those_of_the_boundary():
    design = BINARY["robust 24:6"]
    lowest = exact.critical_values(design)["lowest"].to_list()
    for row in trace(design, 0.5, 0.3, seeds=range(12)).iter_rows(named=True):
        least = lowest[int(row["control_observed"])]
        assert (row["decision"] == "criteria met") == (least is not None and row["treatment_observed"] >= least)


def test_traced_posteriors_are_those_of_the_data():
    row = trace(BINARY["robust 24:6"], 0.5, 0.3, seeds=[1]).row(0, named=True)
    after = ROBUST.updated(row["control_observed"], 6)
    assert row["control_posterior"] == pytest.approx(after.mean)
    assert row["control_posterior_weights"] == pytest.approx(after.weight.tolist())
    assert row["control_prior"] == pytest.approx(ROBUST.mean)
    assert row["control_posterior_low"] < row["control_posterior"] < row["control_posterior_high"]


def test_every_family_and_one_arm_can_be_traced():
    assert trace(crohn("robust", CROHN_ROBUST), -110.0, -50.0, seeds=range(3)).height == 3
    assert trace(FEWER, 1.0, 2.0, seeds=range(3)).height == 3
    one = Design("one arm", decision("P(treatment > 0.2) > 0.95"), Arm(40, UNIFORM))
    assert trace(one, 0.4, seeds=[5]).equals(trace(one, 0.4, seeds=[5]))
    ratio = Design("ratio", decision("P(treatment / control > 1.2) > 0.8"), Arm(40, UNIFORM), Arm(40, AS))
    p = trace(ratio, 0.4, 0.3, seeds=[5])["P(treatment / control > 1.2)"][0]
    draws = [m.sample(100_000, i) for i, m in enumerate(_posteriors(ratio, trace(ratio, 0.4, 0.3, seeds=[5])))]
    assert p == pytest.approx(np.mean(draws[0] > 1.2 * draws[1]), abs=0.01)


def _posteriors(design: Design, row):
    names = ("treatment", "control")
    return [arm.prior.updated(row[f"{n}_observed"][0], arm.n) for n, arm in zip(names, design.arms, strict=True)]


def test_truths_that_cannot_be_are_refused():
    with pytest.raises(DecisionError):
        trace(BINARY["robust 24:6"], 1.5, 0.3, seeds=[1])
