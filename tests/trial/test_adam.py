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
            "EOTSTT": ["COMPLETED", "DISCONTINUED", "DISCONTINUED"],
            "DCSREAS": [None, "WITHDRAWAL BY SUBJECT", "ADVERSE EVENT"],
            "DCTREAS": [None, "ADVERSE EVENT", "ADVERSE EVENT"],
        }
    )


def _of(adsl: pl.DataFrame, who: str, **changed: str | None) -> pl.DataFrame:
    """The ADSL with some columns of a subject changed, null in the others where they are new."""
    new = [pl.lit(None, dtype=pl.String).alias(c) for c in changed if c not in adsl.columns]
    own = pl.col("USUBJID") == who
    return adsl.with_columns(new).with_columns(
        pl.when(own).then(pl.lit(value, dtype=pl.String)).otherwise(pl.col(c)).alias(c) for c, value in changed.items()
    )


def test_rows_of_a_bds_become_measurements_in_days_since_the_first_dose(bds):
    made = adam.measurements(bds, "SCORE")
    assert made.filter(pl.col("subject") == "01")["time"].to_list() == [0.0, 56.0]
    assert made.filter(pl.col("subject") == "02")["time"].to_list() == [-1.0, 28.0, 57.0]  # there is no day 0; no LOCF
    assert made["change"].to_list()[1] == -2.0


def test_who_did_not_complete_stopped_at_the_last_dose_and_left_with_the_last_measurement(bds, adsl):
    made = adam.intercurrent(adsl, adam.measurements(bds, "SCORE"))
    assert made.rows() == [
        ("02", "Placebo", "discontinuation", 29.0, "ADVERSE EVENT"),
        ("02", "Placebo", "withdrawal", 57.0, "WITHDRAWAL BY SUBJECT"),
    ]


def test_who_stopped_treatment_and_stayed_discontinued_without_withdrawing(bds, adsl):
    seen = adam.measurements(bds, "SCORE")
    stayed = adam.intercurrent(_of(adsl, "02", EOSSTT="COMPLETED", DCSREAS=None), seen)
    assert stayed.rows() == [("02", "Placebo", "discontinuation", 29.0, "ADVERSE EVENT")]
    left = adam.intercurrent(_of(adsl, "02", EOTSTT="COMPLETED", DCTREAS=None), seen)
    assert left["event"].to_list() == ["withdrawal"]


def test_who_goes_on_at_the_data_cut_is_censored_and_has_neither_stopped_nor_left(bds, adsl):
    cut = _of(adsl, "02", EOSSTT="ONGOING", EOTSTT="ONGOING", TRTEDT=None, EOSDT=None)
    assert adam.intercurrent(cut, adam.measurements(bds, "SCORE")).height == 0


def test_without_its_status_treatment_stopped_where_it_ended_before_the_planned_day(bds, adsl):
    seen, bare = adam.measurements(bds, "SCORE"), adsl.drop("EOTSTT")
    told = adam.intercurrent(bare, seen, planned=56.0).filter(pl.col("event") == "discontinuation")
    assert told.select("subject", "time").rows() == [("02", 29.0)]
    longer = adam.intercurrent(bare, seen, planned=57.0).filter(pl.col("event") == "discontinuation")
    assert longer["subject"].to_list() == ["01", "02"]  # although 01 completed the study
    with pytest.raises(EstimandError, match="no EOTSTT; add it, or give planned"):
        adam.intercurrent(bare, seen)
    with pytest.raises(EstimandError, match="02 goes on in the study, and whether in treatment cannot be told"):
        adam.intercurrent(_of(bare, "02", EOSSTT="ONGOING"), seen, planned=56.0)


def test_who_died_neither_stopped_nor_left_and_needs_a_strategy(bds, adsl):
    seen = adam.measurements(bds, "SCORE")
    dead = _of(adsl, "02", DTHFL="Y", DTHDT="2014-02-28", DCSREAS="DEATH", DCTREAS="DEATH")
    events = adam.intercurrent(dead, seen)
    assert events.rows() == [("02", "Placebo", "death", 58.0, "DEATH")]
    plan = handling({"discontinuation": "treatment policy"})
    with pytest.raises(EstimandError, match="death of 02, whose values after it are not missing; give apply death"):
        apply(plan, seen, events)
    ending = adam.intercurrent(dead.drop("DTHDT"), seen)
    assert ending["time"].to_list() == [57.0]  # the end of the study, which is not before the last measurement
    with pytest.raises(EstimandError, match="02 died before what was measured last; mend DTHDT"):
        adam.intercurrent(_of(dead, "02", DTHDT="2014-02-20"), seen)
    with pytest.raises(EstimandError, match="no date of death of 02; add DTHDT"):
        adam.intercurrent(_of(dead.drop("DTHDT"), "02", DCSREAS="ADVERSE EVENT"), seen)


def test_every_status_and_date_that_is_missing_is_told_with_its_subject(bds, adsl):
    seen = adam.measurements(bds, "SCORE")
    broken = _of(_of(adsl, "01", EOSSTT=None, EOTSTT="STOPPED"), "02", TRTEDT=None)
    with pytest.raises(EstimandError) as refused:
        adam.intercurrent(broken, seen)
    for said in (
        "no EOSSTT of 01; write COMPLETED, DISCONTINUED, ONGOING",
        "no EOTSTT of 01; write COMPLETED, DISCONTINUED, ONGOING",
        "no last day of treatment of 02; add TRTSDT and TRTEDT",
    ):
        assert said in str(refused.value)
    with pytest.raises(EstimandError, match="no row in the ADSL of 02; add it"):
        adam.intercurrent(adsl.filter(pl.col("USUBJID") != "02"), seen)


def test_the_window_of_a_visit_is_taken_where_it_is_in_days(bds):
    windows = bds.with_columns(AWTARGET=pl.lit(57.0), AWHI=pl.lit(64.0), AWU=pl.lit("DAYS"))
    made = adam.measurements(windows, "SCORE")
    assert made.select("visit_day", "window_end").unique().rows() == [(56.0, 63.0)]
    assert "window_end" not in adam.measurements(windows.with_columns(AWU=pl.lit("WEEKS")), "SCORE").columns


def test_missing_columns_and_parameters_are_named(bds, adsl):
    with pytest.raises(EstimandError, match="the BDS has no ADY, TRTP; add the column"):
        adam.measurements(bds.drop("ADY", "TRTP"), "SCORE")
    with pytest.raises(EstimandError, match="no rows with PARAMCD 'SCOER'; it has OTHER, SCORE"):
        adam.measurements(bds, "SCOER")
    with pytest.raises(EstimandError, match="subject 01 has more than one row at 'Baseline'"):
        adam.measurements(pl.concat([bds, bds[:1]]), "SCORE")
    with pytest.raises(EstimandError, match="the ADSL has no EOSDT, EOSSTT"):
        adam.intercurrent(adsl.drop("EOSDT", "EOSSTT", "DCSREAS"), adam.measurements(bds, "SCORE"))


@pytest.mark.skipif(not PILOT.is_dir(), reason=f"needs the CDISC pilot's data in {PILOT}")
def test_independent_the_cdisc_pilot_has_its_observed_cases_under_treatment_policy():
    """ADAS-Cog at week 24, efficacy set, observed cases: 65, 49 and 41 patients changed by 2.15, 1.25 and 1.70.

    Its ADSL has no EOTSTT: treatment was planned for the 24 weeks. Two of the set died, at days 60 and 174."""
    bds = pl.read_csv(PILOT / "adam_adqsadas.csv.gz", infer_schema_length=None).filter(pl.col("EFFFL") == "Y")
    adsl = pl.read_csv(PILOT / "adam_adsl.csv.gz", infer_schema_length=None)
    rows = adam.measurements(bds, "ACTOT")
    events = adam.intercurrent(adsl, rows, planned=7 * 24)
    assert dict(events.group_by("event").len().rows()) == {"discontinuation": 120, "withdrawal": 122, "death": 2}
    plan = handling({"discontinuation": "treatment policy"})
    with pytest.raises(EstimandError, match="death of 01-701-1211, 01-704-1445, whose values after it are not missing"):
        apply(plan, rows, events)
    at_end = pl.col("visit") == "Week 24"
    everyone = apply(plan, rows, events, death="while alive").filter(at_end)
    dead = everyone.filter(pl.col("reason") == "last value before death")
    assert dead.select("subject", "analysis_value").rows() == [("01-701-1211", 62.0)]  # the other outlived week 24
    policy = everyone.filter(pl.col("reason") == "observed")
    found = policy.group_by("arm").agg(n=pl.col("analysis_value").count(), change=pl.col("analysis_change").mean())
    told = {arm: (n, round(change, 2)) for arm, n, change in found.rows()}
    assert told == {
        "Placebo": (65, 2.15),
        "Xanomeline Low Dose": (49, 1.25),
        "Xanomeline High Dose": (41, 1.70),
    }
    on = apply(handling({"discontinuation": "hypothetical"}), rows, events, death="while alive").filter(at_end)
    left = dict(on.group_by("arm").agg(pl.col("analysis_value").count()).rows())
    assert left["Placebo"] == 60  # those who completed 24 weeks
    assert left["Xanomeline High Dose"] == 28
    with pytest.raises(EstimandError, match="not identifiable"):
        apply(handling({"discontinuation": "principal stratum"}), rows, events, death="while alive")
