"""A virtual trial has the size, the losses and the noise of the real one."""

import math

import numpy as np
import polars as pl
import pytest

from cohort.enrolment import sample_population
from cohort.simulation import simulate
from cohort.trial import MEAN, TrialError, allocate, analysis_set, lost_after
from cohort.trial.analysis import read

DRAWS = 6


@pytest.fixture(scope="module")
def enrolled(laplace) -> pl.DataFrame:
    population = laplace.population.model_copy(update={"size": 700})
    return sample_population(laplace.model_copy(update={"population": population})).people


@pytest.fixture(scope="module")
def parameters(evolocumab) -> pl.DataFrame:
    """The typical values as the mean, and six draws equal to them: what differs between trials is sampling alone."""
    return pl.DataFrame(
        {"draw": list(range(DRAWS + 1)), **{k: [v] * (DRAWS + 1) for k, v in evolocumab.typical().items()}}
    )


@pytest.fixture(scope="module")
def visits(laplace, enrolled, parameters) -> pl.DataFrame:
    return simulate(laplace, enrolled, parameters)


@pytest.fixture(scope="module")
def results(laplace, evolocumab, visits, parameters) -> pl.DataFrame:
    return analysis_set(laplace, evolocumab, visits, parameters)


def test_each_arm_has_its_planned_number_and_nobody_is_in_two(laplace, enrolled):
    subjects = enrolled["subject"].to_list()
    for draw in (1, 2):
        arms = allocate(laplace, subjects, draw)
        assert {name: len(who) for name, who in arms.items()} == {name: arm.n for name, arm in laplace.arms.items()}
        everyone = [s for who in arms.values() for s in who]
        assert len(everyone) == len(set(everyone))
        assert set(everyone) <= set(subjects)


def test_trials_differ_between_draws_and_not_between_runs(laplace, enrolled):
    subjects = enrolled["subject"].to_list()
    assert allocate(laplace, subjects, 1) == allocate(laplace, subjects, 1)
    assert allocate(laplace, subjects, 1) != allocate(laplace, subjects, 2)


def test_allocation_depends_on_neither_the_order_of_people_nor_of_arms(laplace, enrolled):
    subjects = enrolled["subject"].to_list()
    other_way = laplace.model_copy(update={"arms": dict(reversed(laplace.arms.items()))})
    assert allocate(laplace, subjects[::-1], 1) == allocate(laplace, subjects, 1)
    assert allocate(other_way, subjects, 1) == allocate(laplace, subjects, 1)


def test_allocation_is_blind_to_covariates(laplace, enrolled):
    """Over many trials the mean LDL of an arm is that of the population, within its error."""
    ldl = dict(zip(enrolled["subject"], enrolled["ldl"], strict=True))
    means = [np.mean([ldl[s] for s in allocate(laplace, list(ldl), draw)["placebo_q2w"]]) for draw in range(1, 101)]
    error = enrolled["ldl"].to_numpy().std() / math.sqrt(78 * 100)
    assert np.mean(means) == pytest.approx(enrolled["ldl"].mean(), abs=4 * error)


def test_a_trial_larger_than_the_population_is_refused(laplace, enrolled):
    with pytest.raises(
        TrialError, match=r"population\.size: the arms plan 631 patients, the population has 630; raise it"
    ):
        allocate(laplace, enrolled["subject"].to_list()[:630], 1)


def test_the_planned_share_leaves_at_a_constant_hazard(laplace):
    n, last = 40_000, 84.0
    lost = lost_after(laplace, [str(i) for i in range(n)], 1)
    for day in (last / 2, last):
        share = 1 - 0.96 ** (day / last)
        assert (lost < day).mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))


def test_without_dropout_nobody_leaves(laplace):
    study = laplace.model_copy(update={"conduct": laplace.conduct.model_copy(update={"dropout": 0.0})})
    assert np.isinf(lost_after(study, ["1", "2"], 1)).all()


def test_the_mean_has_everyone_in_every_arm_and_no_trial(laplace, results, enrolled):
    mean = results.filter(pl.col("draw") == MEAN)
    assert mean.height == enrolled.height * len(laplace.arms)
    assert mean["ldl_change"].null_count() == mean.height
    assert mean["ldl_change_true"].null_count() == 0


def test_on_placebo_the_measured_change_is_the_residual_error(results, evolocumab):
    """Nothing happens on placebo: the SD of the percent change is sigma, with a standard error of sigma/sqrt(2n)."""
    placebo = results.filter((pl.col("draw") > 0) & pl.col("arm").str.starts_with("placebo"))
    assert placebo["ldl_change_true"].abs().max() == pytest.approx(0, abs=1e-6)
    change = placebo.filter(pl.col("completed"))["ldl_change"].to_numpy()
    sigma = evolocumab.typical()["sigma"]
    assert change.std() == pytest.approx(sigma, abs=4 * sigma / math.sqrt(2 * len(change)))
    assert change.mean() == pytest.approx(0, abs=4 * sigma / math.sqrt(len(change)))


def test_measurement_error_is_independent_of_the_arm_in_distribution(results, evolocumab):
    sigma = evolocumab.typical()["sigma"]
    treated = results.filter((pl.col("draw") > 0) & (pl.col("arm") == "evolocumab_140_q2w") & pl.col("completed"))
    error = (treated["ldl_change"] - treated["ldl_change_true"]).to_numpy()
    assert error.std() == pytest.approx(sigma, abs=4 * sigma / math.sqrt(2 * len(error)))


def test_a_person_has_other_luck_in_another_trial(results):
    trials = results.filter(pl.col("completed")).with_columns(error=pl.col("ldl_change") - pl.col("ldl_change_true"))
    both = trials.filter(pl.col("draw") == 1).join(trials.filter(pl.col("draw") == 2), on="subject")
    r = np.corrcoef(both["error"], both["error_right"])[0, 1]
    assert abs(r) < 4 / math.sqrt(both.height)


def test_who_left_has_no_value_at_the_last_visit(results):
    trials = results.filter(pl.col("draw") > 0)
    left = trials.filter(~pl.col("completed"))
    share, n = 1 - trials["completed"].mean(), trials.height
    assert left["ldl_change"].is_nan().all()
    assert not trials.filter(pl.col("completed"))["ldl_change"].is_nan().any()
    assert share == pytest.approx(0.04, abs=4 * math.sqrt(0.04 * 0.96 / n))


def test_carrying_forward_gives_leavers_their_last_value_and_changes_no_completer(
    laplace, evolocumab, visits, parameters, results
):
    plan = laplace.endpoints["ldl_change"].model_copy(update={"missing": "locf"})
    study = laplace.model_copy(update={"endpoints": laplace.endpoints | {"ldl_change": plan}})
    carried = analysis_set(study, evolocumab, visits, parameters)
    key = ["draw", "arm", "subject"]
    both = results.filter(pl.col("draw") > 0).join(carried, on=key, suffix="_carried", validate="1:1")
    stayed, left = both.filter(pl.col("completed")), both.filter(~pl.col("completed"))
    assert stayed["ldl_change"].equals(stayed["ldl_change_carried"])
    assert not left["ldl_change_carried"].is_nan().any()
    # who left before week 1 was seen at baseline only, and has not changed
    for (draw,), rows in left.group_by("draw"):
        early = lost_after(laplace, rows["subject"].to_list(), int(str(draw))) < 7
        assert ((rows["ldl_change_carried"].to_numpy() == 0) == early).all()


def test_a_no_is_known_only_of_who_was_seen_to_the_end_and_a_yes_that_was_seen_stays(
    laplace, evolocumab, visits, parameters, results
):
    """LDL below 25 mg/dL at any visit; with values carried forward nothing is missing."""
    trials = results.filter(pl.col("draw") > 0, pl.col("arm") == "evolocumab_420_q4w")
    left = trials.filter(~pl.col("completed"))
    assert set(left["ldl_below_25"].fill_nan(None)) == {1.0, None}
    assert not trials.filter("completed")["ldl_below_25"].is_nan().any()
    plan = laplace.endpoints["ldl_below_25"].model_copy(update={"missing": "locf"})
    study = laplace.model_copy(update={"endpoints": laplace.endpoints | {"ldl_below_25": plan}})
    carried = analysis_set(study, evolocumab, visits, parameters)
    both = trials.join(carried, on=["draw", "arm", "subject"], suffix="_carried", validate="1:1")
    unknown = both.filter(pl.col("ldl_below_25").is_nan())
    assert unknown.height > 0
    assert (unknown["ldl_below_25_carried"] == 0).all()
    known = both.filter(pl.col("ldl_below_25").is_not_nan())
    assert (known["ldl_below_25_carried"] == known["ldl_below_25"]).all()


def test_a_visit_missed_in_between_leaves_a_no_as_it_is(evolocumab):
    low, high, gap = [120.0, 20.0, 100.0], [120.0, 90.0, 100.0], math.nan
    courses = np.array([high, [120.0, gap, 100.0], [120.0, 90.0, gap], [120.0, 20.0, gap], low])
    found = read(evolocumab.endpoints["ldl_below_25"], evolocumab.outputs(c=courses, ldl=courses))
    assert np.array_equal(found, [0, 0, math.nan, 1, 1], equal_nan=True)


def test_a_failed_patient_has_no_endpoint_not_even_a_false_one(laplace, evolocumab, visits, parameters):
    who = visits["subject"][0]
    broken = visits.with_columns(
        code=pl.when(pl.col("subject") == who).then(2).otherwise(pl.col("code")).cast(pl.Int8),
        ldl=pl.when(pl.col("subject") == who).then(math.nan).otherwise(pl.col("ldl")),
    )
    rows = analysis_set(laplace, evolocumab, broken, parameters).filter(pl.col("subject") == who)
    assert rows.height >= len(laplace.arms)
    assert set(rows["code"]) == {2}
    for column in ("ldl_change_true", "ldl_below_25_true"):
        assert rows[column].is_nan().all()
    assert rows.filter(pl.col("draw") > 0)["ldl_below_25"].is_nan().all()
