"""A real trial's ADaM data sets are taken as they are, and give the numbers that were published of it."""

import os
from pathlib import Path

import polars as pl
import pytest

from cohort.trial import EstimandError, adam, apply
from cohort.trial.estimand import handling

DATA = Path(os.environ.get("COHORT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PILOT = DATA / "trials" / "cdiscpilot01"


@pytest.fixture
def bds() -> pl.DataFrame:
    """Two subjects: one completed, one stopped on study day 30 and was seen once more."""
    rows = [
        ("01", "Drug", "SCORE", "Baseline", 1.0, 20.0, 20.0, None, None),
        ("01", "Drug", "SCORE", "Week 8", 57.0, 18.0, 20.0, -2.0, None),
        ("02", "Placebo", "SCORE", "Baseline", -1.0, 30.0, 30.0, None, None),
        ("02", "Placebo", "SCORE", "Week 4", 29.0, 28.0, 30.0, -2.0, None),
        ("02", "Placebo", "SCORE", "Week 8", 58.0, 31.0, 30.0, 1.0, None),
        ("02", "Placebo", "SCORE", "Week 12", None, 31.0, 30.0, 1.0, "LOCF"),
        ("02", "Placebo", "OTHER", "Week 8", 58.0, 1.0, 1.0, 0.0, None),
    ]
    names = ["USUBJID", "TRTP", "PARAMCD", "AVISIT", "ADY", "AVAL", "BASE", "CHG", "DTYPE"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


@pytest.fixture
def adsl() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "USUBJID": ["01", "02", "03"],
            "TRTSDT": ["2014-01-01"] * 3,
            "TRTEDT": ["2014-02-26", "2014-01-30", "2014-01-02"],
            "EOSDT": ["2014-02-26", "2014-02-10", "2014-01-03"],
            "EOSSTT": ["COMPLETED", "DISCONTINUED", "DISCONTINUED"],
        }
    )


def test_rows_of_a_bds_become_measurements_in_days_since_the_first_dose(bds):
    made = adam.measurements(bds, "SCORE")
    assert made.filter(pl.col("subject") == "01")["time"].to_list() == [0.0, 56.0]
    assert made.filter(pl.col("subject") == "02")["time"].to_list() == [-1.0, 28.0, 57.0]  # there is no day 0; no LOCF
    assert made["change"].to_list()[1] == -2.0


def test_who_did_not_complete_stopped_at_the_last_dose_and_left_with_the_last_measurement(bds, adsl):
    made = adam.intercurrent(adsl, adam.measurements(bds, "SCORE"))
    assert made.rows() == [("02", "Placebo", "discontinuation", 29.0), ("02", "Placebo", "withdrawal", 57.0)]


def test_missing_columns_and_parameters_are_named(bds, adsl):
    with pytest.raises(EstimandError, match="the BDS has no ADY, TRTP; add the column"):
        adam.measurements(bds.drop("ADY", "TRTP"), "SCORE")
    with pytest.raises(EstimandError, match="no rows with PARAMCD 'SCOER'; it has OTHER, SCORE"):
        adam.measurements(bds, "SCOER")
    with pytest.raises(EstimandError, match="subject 01 has more than one row at 'Baseline'"):
        adam.measurements(pl.concat([bds, bds[:1]]), "SCORE")
    with pytest.raises(EstimandError, match="the ADSL has no EOSDT, EOSSTT"):
        adam.intercurrent(adsl.drop("EOSDT", "EOSSTT"), adam.measurements(bds, "SCORE"))


@pytest.mark.skipif(not PILOT.is_dir(), reason=f"needs the CDISC pilot's data in {PILOT}")
def test_independent_the_cdisc_pilot_has_its_observed_cases_under_treatment_policy():
    """ADAS-Cog at week 24, efficacy set, observed cases: 65, 49 and 41 patients changed by 2.15, 1.25 and 1.70."""
    bds = pl.read_csv(PILOT / "adam_adqsadas.csv.gz", infer_schema_length=None).filter(pl.col("EFFFL") == "Y")
    adsl = pl.read_csv(PILOT / "adam_adsl.csv.gz", infer_schema_length=None)
    rows = adam.measurements(bds, "ACTOT")
    events = adam.intercurrent(adsl, rows)
    at_end = pl.col("visit") == "Week 24"
    policy = apply(handling({"discontinuation": "treatment policy"}), rows, events).filter(at_end)
    found = policy.group_by("arm").agg(n=pl.col("analysis_value").count(), change=pl.col("analysis_change").mean())
    told = {arm: (n, round(change, 2)) for arm, n, change in found.rows()}
    assert told == {
        "Placebo": (65, 2.15),
        "Xanomeline Low Dose": (49, 1.25),
        "Xanomeline High Dose": (41, 1.70),
    }
    on = apply(handling({"discontinuation": "hypothetical"}), rows, events).filter(at_end)
    left = dict(on.group_by("arm").agg(pl.col("analysis_value").count()).rows())
    assert left["Placebo"] == 60  # those who completed 24 weeks
    assert left["Xanomeline High Dose"] == 28
    with pytest.raises(EstimandError, match="not identifiable"):
        apply(handling({"discontinuation": "principal stratum"}), rows, events)
