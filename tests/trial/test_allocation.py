"""Permuted blocks balance exactly, within strata, whoever else there is; people arrive as a Poisson process does."""

import math
from collections import Counter

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.trial import TrialError, allocate
from cohort.trial.allocation import arrivals, participants, ratio, sequence, strata_of, when

BLOCKS = {"allocation": {"blocks": [3, 6], "strata": ["sex", "ldl >= 130 mg/dL"]}}


@given(draw=st.integers(1, 10_000), sizes=st.lists(st.sampled_from([3, 6, 9]), min_size=1, max_size=3))
@settings(max_examples=40)
def test_every_whole_block_has_the_arms_in_their_ratio(conducting, draw: int, sizes: list[int]):
    study = conducting({"allocation": {"blocks": sizes}})
    places = sequence(study, draw, "anyone", 90)
    level = [k for k in range(0, 91, 3) if all(3 * places[:k].count(arm) == k for arm in study.arms)]
    assert max(np.diff([*level, 90])) <= max(sizes)  # the arms are level at the end of every block
    for k in range(1, 91):
        counts = [places[:k].count(arm) for arm in study.arms]
        assert max(counts) - min(counts) <= max(sizes) // 3


@given(draw=st.integers(1, 10_000))
@settings(max_examples=15)
def test_arms_are_balanced_within_every_stratum(conducting, company, draw: int):
    study = conducting(BLOCKS)
    subjects = company["subject"].to_list()
    arms = allocate(study, subjects, draw, company)
    everyone = [s for who in arms.values() for s in who]
    assert sorted(everyone) == sorted(participants(study, subjects, draw))
    stratum = strata_of(study, company, subjects)
    assert len(set(stratum.values())) == 4
    for name in set(stratum.values()):
        counts = [sum(stratum[s] == name for s in who) for who in arms.values()]
        assert max(counts) - min(counts) <= 2  # the last block of a stratum is all that is open, of six at most


def test_planned_numbers_in_another_ratio_fill_the_blocks_so(conducting, company):
    study = conducting({"allocation": {"blocks": [4]}})
    arms = {
        name: arm.model_copy(update={"n": n}) for (name, arm), n in zip(study.arms.items(), (30, 30, 60), strict=True)
    }
    study = study.model_copy(update={"arms": arms})
    assert ratio(study) == {"evolocumab_140_q2w": 1, "evolocumab_420_q4w": 2, "placebo_q2w": 1}
    allocated = allocate(study, company["subject"].to_list(), 1)
    assert {name: len(who) for name, who in allocated.items()} == {name: arm.n for name, arm in arms.items()}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_allocation_does_not_depend_on_how_people_and_arms_are_listed(conducting, company, seed: int):
    study = conducting(BLOCKS)
    shuffled = company.sample(fraction=1.0, shuffle=True, seed=seed)
    other = study.model_copy(update={"arms": dict(reversed(study.arms.items()))})
    expected = allocate(study, company["subject"].to_list(), 7, company)
    assert allocate(study, shuffled["subject"].to_list(), 7, shuffled) == expected
    assert allocate(other, shuffled["subject"].to_list(), 7, company) == expected


def test_allocation_sees_no_column_but_those_of_the_strata(conducting, company):
    study = conducting(BLOCKS)
    changed = company.with_columns(pl.col("weight") * 2, pl.col("age") + 1)
    subjects = company["subject"].to_list()
    assert allocate(study, subjects, 3, changed) == allocate(study, subjects, 3, company)


def test_conduct_after_allocation_does_not_change_it(conducting, company):
    subjects = company["subject"].to_list()
    plain = conducting(BLOCKS)
    eventful = conducting(BLOCKS | {"withdrawal": {"share": 0.5}, "visits": {"window": "2 d", "missed": 0.3}})
    assert allocate(plain, subjects, 3, company) == allocate(eventful, subjects, 3, company)


def test_trials_differ_and_every_arm_is_as_likely(conducting, company):
    """Over 300 trials a person in the trial is in each arm a third of the time."""
    study = conducting({"allocation": {"blocks": [3, 6]}})
    subjects = company["subject"].to_list()
    found = Counter()
    for draw in range(1, 301):
        for arm, who in allocate(study, subjects, draw).items():
            found[arm] += subjects[0] in who
    n = sum(found.values())
    assert scipy.stats.chisquare([found[a] for a in study.arms]).pvalue > 1e-3
    assert n == pytest.approx(300 * 180 / 400, abs=4 * math.sqrt(300 * 0.45 * 0.55))


def test_strata_without_people_and_columns_that_are_not_there_are_refused(conducting, company):
    study = conducting(BLOCKS)
    subjects = company["subject"].to_list()
    with pytest.raises(TrialError, match=r"conduct\.allocation\.strata: strata need people; give their table"):
        allocate(study, subjects, 1)
    with pytest.raises(TrialError, match=r"people have no column sex; add it"):
        allocate(study, subjects, 1, company.drop("sex"))


def test_blocks_that_the_ratio_does_not_fill_are_refused(conducting, company):
    study = conducting({"allocation": {"blocks": [4]}})
    with pytest.raises(TrialError, match=r"the arms' ratio fills blocks of 3; 4 is no multiple of it"):
        allocate(study, company["subject"].to_list(), 1)


def test_people_arrive_as_a_poisson_process(conducting):
    """Gaps are independent exponentials at the rate; a process of two a day brings 6000 in 3000 days."""
    study = conducting({"enrolment": {"rate": "2 1/d"}}, n=2000)
    days = sorted(arrivals(study, [str(i) for i in range(6000)], 1).values())
    gaps = np.diff([0.0, *days])
    assert scipy.stats.kstest(gaps, "expon", args=(0, 0.5)).pvalue > 1e-3
    assert days[-1] == pytest.approx(3000, abs=4 * math.sqrt(6000) / 2)


def test_along_the_ramp_arrivals_are_as_dense_as_the_line(conducting):
    """Of those who arrive along a ramp of 100 d, a share (t / 100)^2 has come by the day t."""
    study = conducting({"enrolment": {"rate": "20 1/d", "ramp": "100 d"}}, n=2000)
    days = np.array(list(arrivals(study, [str(i) for i in range(6000)], 1).values()))
    ramp = days[days < 100]
    assert len(ramp) == pytest.approx(1000, abs=4 * math.sqrt(1000))
    assert scipy.stats.kstest(ramp, lambda t: (t / 100) ** 2).pvalue > 1e-3


@given(expected=st.floats(0, 1e4), rate=st.floats(0.01, 100), ramp=st.floats(0, 1000))
def test_the_day_is_the_inverse_of_the_people_expected_by_it(expected: float, rate: float, ramp: float):
    t = float(when(np.array([expected]), rate, ramp)[0])
    by = rate * t**2 / (2 * ramp) if ramp and t < ramp else rate * (t - ramp / 2)
    assert by == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_arrivals_do_not_depend_on_how_people_are_listed(conducting, seed: int):
    study = conducting({"enrolment": {"rate": "2 1/d", "ramp": "30 d"}})
    subjects = [str(i) for i in range(200)]
    shuffled = np.random.default_rng(seed).permutation(subjects).tolist()
    assert arrivals(study, shuffled, 4) == arrivals(study, subjects, 4)
