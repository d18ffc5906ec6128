"""The analysis set of a trial whose conduct is declared, endpoint by endpoint; and its tables on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from cohort.trial import COLUMNS, MEAN, TrialError, analysed, apply, tables, write_tables
from cohort.trial.estimand import handling

CONDUCT = {"discontinuation": {"share": 0.3}, "withdrawal": {"share": 0.1}}
KEY = ["draw", "arm", "subject"]


def _endpoints(strategy: Any, **more: Any) -> dict[str, Any]:
    said = {
        "population": "all randomised",
        "treatment": "drug against placebo",
        "variable": "LDL cholesterol",
        "summary": "mean difference",
        "events": {"discontinuation": strategy},
    }
    return {"ldl_change": {"role": "efficacy", "better": "lower", "estimand": said | more}}


@pytest.fixture(scope="module")
def made(conducting, company, parameters) -> dict[str, pl.DataFrame]:
    return tables(conducting(CONDUCT), company, parameters(2))


@pytest.fixture(scope="module")
def of(conducting, company, evolocumab, made):
    """The analysis set under a strategy for discontinuation, with when each patient stopped and left."""

    def set_of(strategy: Any, endpoints: dict[str, Any] | None = None) -> pl.DataFrame:
        study = conducting(CONDUCT, endpoints or _endpoints(strategy))
        rows = analysed(study, evolocumab, company, made)
        return rows.join(made["subjects"].select(*KEY, "discontinued", "withdrawn"), on=KEY, how="left")

    return set_of


def test_a_composite_endpoint_has_its_value_in_whoever_stopped(of):
    trial = of({"strategy": "composite", "value": "0 percent"}).filter(pl.col("draw") != MEAN)
    stopped = trial.filter("discontinued")
    assert stopped.height > 20
    assert (stopped["ldl_change"] == 0).all()
    assert (stopped["ldl_change_true"] == 0).all()
    assert trial.filter(~pl.col("discontinued") & pl.col("withdrawn"))["ldl_change"].is_nan().all()


def test_under_treatment_policy_who_stopped_counts_with_what_was_seen(of, made):
    trial = of("treatment policy").filter(pl.col("draw") != MEAN)
    last = made["measurements"].filter(pl.col("parameter") == "ldl_change", pl.col("visit_number") == 12)
    both = trial.join(last.select(*KEY, "value"), on=KEY, validate="1:1")
    assert both["ldl_change"].fill_nan(None).equals(both["value"].alias("ldl_change"), null_equal=True)
    assert trial.filter("discontinued", ~pl.col("withdrawn"))["ldl_change"].is_not_nan().all()


def test_the_hypothetical_truth_is_the_course_on_treatment(of, made):
    """And it lies below that of treatment policy in the drug's arms: who goes on has a larger effect."""
    on, policy = of("hypothetical"), of("treatment policy")
    last = made["potential"].filter(pl.col("parameter") == "ldl_change", pl.col("visit_number") == 12)
    both = on.join(last, on=KEY, validate="1:1")
    assert (both["ldl_change_true"] == both["without_discontinuation_true"]).all()
    drug = (pl.col("arm") != "placebo_q2w") & pl.col("discontinued")
    assert np.mean(on.filter(drug)["ldl_change_true"].to_numpy()) < np.mean(
        policy.filter(drug)["ldl_change_true"].to_numpy()
    )
    assert on.filter("discontinued", pl.col("draw") != MEAN)["ldl_change"].is_nan().all()


def test_failure_of_an_endpoint_that_is_better_low_is_to_have_it(of):
    plan = _endpoints({"strategy": "composite", "value": "failure"}, summary="difference of proportions")["ldl_change"]
    trial = of(None, {"ldl_below_25": plan | {"role": "safety"}}).filter("discontinued", pl.col("draw") != MEAN)
    assert (trial["ldl_below_25"] == 1).all()


def test_a_predictor_keeps_the_people_who_meet_it(of, company):
    trial = of({"strategy": "principal stratum", "predictor": "ldl >= 120 mg/dL"})
    rows = trial.join(company.select("subject", "ldl"), on="subject")
    assert (rows["ldl_change_true"].is_nan() == (rows["ldl"] < 120)).all()


def test_at_the_posterior_mean_the_principal_stratum_is_known(made):
    """Its people would stop in no arm, and are the same in every arm; a trial does not show them."""
    rows = made["measurements"].filter(pl.col("parameter") == "ldl_change")
    plan = handling({"discontinuation": "principal stratum"})
    everyone = pl.col("draw") == MEAN
    kept = apply(plan, rows.filter(everyone), made["intercurrent"].filter(everyone)).filter("analysed")
    per_arm = [set(own["subject"]) for _, own in kept.group_by("arm")]
    assert len(per_arm) == 3
    assert per_arm[0] == per_arm[1] == per_arm[2]
    stopped = set(made["subjects"].filter(everyone, "discontinued")["subject"])
    assert per_arm[0] == set(rows["subject"]) - stopped
    potential = made["potential"].filter(everyone, pl.col("parameter") == "ldl_change")
    known = apply(plan, rows.filter(everyone), made["intercurrent"].filter(everyone), potential=potential)
    later = set(potential.filter("discontinued")["subject"])  # with whoever would have stopped after withdrawing
    assert later > stopped
    assert set(known.filter("analysed")["subject"]) == set(rows["subject"]) - later


def test_a_principal_stratum_without_a_predictor_is_refused_of_a_trial(of):
    with pytest.raises(TrialError, match=r"endpoints\.ldl_change\.estimand: a trial does not see who belongs to"):
        of("principal stratum")


def test_tables_on_disk_say_unit_and_meaning_of_every_column(made, tmp_path: Path):
    write_tables(tmp_path / "trial", made)
    for name, table in made.items():
        file = tmp_path / "trial" / f"{name}.parquet"
        assert pl.read_parquet(file).equals(table, null_equal=True)
        for field in pq.read_schema(file):
            assert set(field.metadata or {}) >= {b"unit", b"about"}, field.name
        assert [c for c in COLUMNS[name] if c not in table.columns] == []
