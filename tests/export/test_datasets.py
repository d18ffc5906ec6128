"""The data sets of a virtual trial keep its numbers, agree with each other, and read back to the same estimand."""

import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cohort.cdisc.checks import marked_simulated
from cohort.cdisc.dataset import Dataset
from cohort.cdisc.dataset_json import write_dataset_json
from cohort.cdisc.read import read_adam
from cohort.cdisc.transport import write_transport
from cohort.enrolment import sample_population
from cohort.export.adsl import RACES
from cohort.export.consistency import InconsistentError, refuse_inconsistent
from cohort.export.package import Package, package, readme
from cohort.export.variables import coded, iso, sas, study_day, visit_name
from cohort.export.virtual import EPOCH, VirtualTrial, planned_tables
from cohort.model import Model
from cohort.population import reference_adults, us
from cohort.simulation import simulate
from cohort.study import Study
from cohort.study.protocol import Conduct, EndpointPlan
from cohort.trial import adam, analysed, analysis_set, apply, tables
from cohort.trial.estimand import handling
from cohort.units import quantity

DATA = Path(os.environ.get("COHORT_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PILOT = DATA / "trials" / "cdiscpilot01"
ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")
AE = "treatment_related_ae"
N = 40
DRAW = 2
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
CONDUCT: dict[str, Any] = {
    "dropout": 0.0,
    "source": "a test",
    "enrolment": {"rate": "1 1/d", "cutoff": "180 d", "source": "a test"},
    "discontinuation": {"share": 0.3, "after": {AE: 0.5}, "source": "a test"},
    "withdrawal": {"share": 0.2, "after": {AE: 0.3}, "source": "a test"},
}
WINDOWS = {"visits": {"window": ["3 d"], "missed": 0.1, "source": "a test"}}
COMPOSITE = {
    "role": "efficacy",
    "better": "lower",
    "estimand": {
        "population": "all randomised",
        "treatment": "drug against placebo",
        "variable": "LDL cholesterol",
        "summary": "mean difference",
        "events": {"discontinuation": {"strategy": "composite", "value": "0 percent"}},
    },
}


def conducted(laplace: Study, conduct: dict[str, Any], plan: dict[str, Any] | None = None) -> Study:
    """LAPLACE with this conduct and three arms of forty."""
    arms = {name: laplace.arms[name].model_copy(update={"n": N, "control": None}) for name in ARMS}
    read = TypeAdapter(Conduct).validate_python(conduct, strict=True)
    endpoints = dict(laplace.endpoints)
    if plan is not None:
        endpoints["ldl_change"] = TypeAdapter(EndpointPlan).validate_python(plan, strict=True)
    return laplace.model_copy(update={"arms": arms, "conduct": read, "endpoints": endpoints})


def drawn(model: Model) -> pl.DataFrame:
    values = model.typical() | {f"{AE}.background": -1.0, f"{AE}.drug": 0.5}
    return pl.DataFrame({"draw": pl.Series([0, 1, 2], dtype=pl.Int32), **{k: [v] * 3 for k, v in values.items()}})


def trial_of(study: Study, model: Model, people: pl.DataFrame) -> VirtualTrial:
    made = tables(study, people, drawn(model))
    own = pl.col("draw") == DRAW
    sets = analysed(study, model, people, made).filter(own)
    return VirtualTrial(study, model, DRAW, people, {n: t.filter(own) for n, t in made.items()}, sets)


@pytest.fixture(scope="module")
def company(laplace: Study) -> pl.DataFrame:
    """People enough for three arms."""
    population = laplace.population.model_copy(update={"size": 3 * N})
    return sample_population(laplace.model_copy(update={"population": population})).people


@pytest.fixture(scope="module")
def trial(laplace, evolocumab, company) -> VirtualTrial:
    """A trial with all that a conduct has but rescue; its endpoint is composite."""
    return trial_of(conducted(laplace, CONDUCT | WINDOWS, COMPOSITE), evolocumab, company)


@pytest.fixture(scope="module")
def made(trial) -> Package:
    return package(trial)


@pytest.fixture(scope="module")
def of(made) -> dict[str, Dataset]:
    return {one.name: one for one in made.datasets}


@pytest.fixture(scope="module")
def simple(laplace, evolocumab, company) -> tuple[VirtualTrial, Package]:
    """A trial of a study that says nothing of its conduct but the share lost, which is large."""
    study = conducted(laplace, {"dropout": 0.3, "source": "a test"})
    values = drawn(evolocumab)
    visits = simulate(study, company, values)
    own = pl.col("draw") == DRAW
    sets = analysis_set(study, evolocumab, visits, values).filter(own)
    held = planned_tables(study, evolocumab, visits.filter(own), values)
    one = VirtualTrial(study, evolocumab, DRAW, company, held, sets)
    return one, package(one)


# What is kept


def test_everyone_allocated_has_one_row_in_the_arm_allocated(trial, of):
    counted = dict(of["ADSL"].rows.group_by("TRT01P").len().rows())
    assert counted == dict(trial.tables["subjects"].group_by("arm").len().rows())
    assert sum(counted.values()) <= 3 * N
    assert of["ADSL"].rows["SUBJID"].n_unique() == of["ADSL"].rows.height


def test_without_declared_conduct_the_arms_have_their_planned_numbers(simple):
    adsl = simple[1].datasets[0].rows
    assert dict(adsl.group_by("TRT01P").len().rows()) == dict.fromkeys(ARMS, N)


@pytest.mark.parametrize("kind", ["declared", "simple"])
def test_the_endpoint_of_each_arm_is_what_the_comparison_receives(kind, trial, made, simple):
    source, whole = (trial, made) if kind == "declared" else simple
    adeff = next(one for one in whole.datasets if one.name == "ADEFF").rows
    last = len(source.study.visits) - 1
    rows = adeff.filter(pl.col("PARAMCD") == "LDLCHAN", pl.col("ANL02FL") == "Y", pl.col("AVISITN") == last)
    found = dict(rows.group_by("TRTP").agg(pl.col("AVAL").mean()).rows())
    theirs = source.analysed.with_columns(pl.col("ldl_change").fill_nan(None)).drop_nulls("ldl_change")
    expected = dict(theirs.group_by("arm").agg(pl.col("ldl_change").mean()).rows())
    assert found == pytest.approx(expected, rel=1e-12)
    assert rows.height == theirs.height > 60


def test_the_percent_change_of_ldl_is_the_endpoint_by_another_path(simple):
    """PCHG of the model's output, against the endpoint that the model reads."""
    adeff = next(one for one in simple[1].datasets if one.name == "ADEFF").rows
    last = adeff.filter(pl.col("PARAMCD") == "LDL", pl.col("AVISIT") == "Week 12").select("SUBJID", "PCHG")
    both = last.join(simple[0].analysed, left_on="SUBJID", right_on="subject")
    assert np.allclose(both["PCHG"], both["ldl_change"], rtol=1e-12)
    seen = simple[0].analysed.filter(pl.col("completed"))
    assert set(last["SUBJID"]) == set(seen["subject"])
    assert 60 < seen.height < 3 * N


def test_a_composite_value_is_a_derived_record_beside_the_one_measured(trial, of):
    stopped = set(trial.tables["subjects"].filter("discontinued")["subject"])
    rows = of["ADEFF"].rows.filter(pl.col("PARAMCD") == "LDLCHAN")
    derived = rows.filter(pl.col("DTYPE") == "ESTIMAND")
    assert set(derived["SUBJID"]) == stopped
    assert (derived["AVAL"] == 0).all()
    assert derived["ANL01FL"].null_count() == derived.height
    beside = rows.filter(pl.col("SUBJID").is_in(list(stopped)), pl.col("AVISITN") == 12, pl.col("ANL01FL") == "Y")
    assert beside.height > 10
    assert beside["ANL02FL"].null_count() == beside.height


def test_an_endpoint_that_carries_the_last_value_forward_has_derived_records(laplace, evolocumab, company):
    plan = {"role": "efficacy", "better": "lower", "missing": "locf", "estimand": "as text"}
    one = trial_of(conducted(laplace, CONDUCT, plan), evolocumab, company)
    adeff = next(d for d in package(one).datasets if d.name == "ADEFF").rows
    carried = adeff.filter(pl.col("PARAMCD") == "LDLCHAN", pl.col("DTYPE") == "LOCF")
    gone = one.tables["subjects"].filter(~pl.col("completed"), pl.col("code") == 0)
    assert set(carried["SUBJID"]) == set(gone["subject"])
    seen = adeff.filter(pl.col("PARAMCD") == "LDLCHAN", pl.col("DTYPE").is_null()).group_by(
        "SUBJID", maintain_order=True
    )
    both = carried.join(seen.agg(last=pl.col("AVAL").last()), on="SUBJID")
    assert np.allclose(both["AVAL"], both["last"], rtol=1e-12)


def test_events_and_times_are_those_of_the_tables(trial, of):
    adae = of["ADAE"].rows
    assert adae.height == trial.tables["adverse_events"].height > 20
    assert set(adae["AEDECOD"]) == {"TREATMENT RELATED AE"}
    waited = trial.tables["time_to_event"]
    events = dict(waited.group_by("PARAM").agg((pl.col("CNSR") == 0).sum()).rows())
    rows = of["ADTTE"].rows
    found = dict(rows.group_by("PARAMCD").agg((pl.col("CNSR") == 0).sum()).rows())
    assert found == {coded(sorted(events))[name]: n for name, n in events.items()}
    assert found["TRREAE"] == adae.height
    assert sorted(rows["AVAL"]) == sorted(waited["AVAL"])
    assert (rows["ADT"] - rows["STARTDT"] == rows["AVAL"].floor().cast(pl.Int64)).all()


def test_an_event_that_led_to_something_says_so_here_and_in_adsl(of):
    adae, adsl = of["ADAE"].rows, of["ADSL"].rows
    stopped = adae.filter(pl.col("AEACN") == "DRUG WITHDRAWN")["USUBJID"]
    left = adae.filter(pl.col("AEDISFL") == "Y")["USUBJID"]
    assert len(stopped) > 5
    assert len(left) > 2
    assert set(stopped) == set(adsl.filter(pl.col("DCTREAS") == "ADVERSE EVENT")["USUBJID"])
    assert set(left) == set(adsl.filter(pl.col("DSRAEFL") == "Y")["USUBJID"])


def test_statuses_are_the_ends_of_the_tables(trial, of):
    both = of["ADSL"].rows.join(trial.tables["subjects"], left_on="SUBJID", right_on="subject")
    assert ((both["EOSSTT"] == "DISCONTINUED") == both["withdrawn"]).all()
    assert ((both["EOSSTT"] == "COMPLETED") == both["completed"]).all()
    assert ((both["EOTSTT"] == "DISCONTINUED") == both["discontinued"]).all()
    assert set(both["EOSSTT"]) == {"COMPLETED", "DISCONTINUED", "ONGOING"}
    assert both["TRTSDT"].max() > 60  # enrolled over a hundred days
    assert (both["EOSDT"] - both["TRTSDT"] == both["followup"].floor().cast(pl.Int64)).all()


def test_cumulated_doses_are_those_planned_until_treatment_ended(trial, of):
    both = of["ADSL"].rows.join(trial.tables["subjects"], left_on="SUBJID", right_on="subject")
    given = {"placebo_q2w": (0.0, 14), "evolocumab_140_q2w": (140.0, 14), "evolocumab_420_q4w": (420.0, 28)}
    for arm, dose, end in both.select("arm", "CUMDOSE", "treatment_end").rows():
        size, every = given[arm]
        planned = [day for day in range(0, 84, every) if day < end]
        assert dose == pytest.approx(size * len(planned))


def test_concentrations_are_of_the_drug_alone_and_in_who_was_given_it(trial, of):
    assert trial.concentrations == ("c",)
    adpc = of["ADPC"].rows
    assert set(adpc["TRTP"]) == set(ARMS) - {"placebo_q2w"}
    own = (pl.col("parameter") == "c") & pl.col("value").is_not_null() & (pl.col("arm") != "placebo_q2w")
    assert sorted(adpc["AVAL"]) == sorted(trial.tables["measurements"].filter(own)["value"])
    since = adpc.filter(pl.col("TRTP") == "evolocumab_420_q4w", pl.col("AVISIT") == "Week 5")
    assert (since["NRRLT"] == 7).all()
    assert (since["DOSEP"] == 420).all()
    before = adpc.filter(pl.col("AVISIT") == "Week 4", pl.col("TRTP") == "evolocumab_420_q4w")
    assert (before["NRRLT"] == 28).all()  # a sample at the time of a dose is before it


def test_who_failed_is_in_adsl_and_nowhere_else(trial):
    """A patient whose course could not be solved was randomised, and nothing more is known."""
    who = trial.tables["measurements"]["subject"][0]
    own = pl.col("subject") == who
    broken = {name: table.filter(~own) for name, table in trial.tables.items()}
    ill = pl.when(own).then(2).otherwise("code").cast(pl.Int8).alias("code")
    broken["subjects"] = trial.tables["subjects"].with_columns(ill)
    nothing = [pl.when(own).then(float("nan")).otherwise(c).alias(c) for c in ("ldl_change", "ldl_below_25")]
    whole = package(replace(trial, tables=broken, analysed=trial.analysed.with_columns(nothing)))
    row = whole.datasets[0].rows.filter(pl.col("SUBJID") == who).row(0, named=True)
    assert (row["ITTFL"], row["SAFFL"], row["EFFFL"], row["SIMSTAT"]) == ("Y", "N", "N", "not finite")
    assert (row["TRTEDT"], row["EOSDT"], row["EOSSTT"], row["EOTSTT"]) == (None, None, None, None)
    assert all(who not in one.rows["SUBJID"] for one in whole.datasets[1:])


# What is not there is said


def test_a_study_without_times_of_events_says_why_it_has_no_adae(simple):
    absent = simple[1].absent
    assert set(absent) == {"ADAE"}
    assert "declares no conduct" in absent["ADAE"][0]
    told = readme(simple[1])
    assert f"ADAE: {absent['ADAE'][0]}" in told
    assert "that of parameter draw 2 of 64" in told


def test_a_trial_without_a_drug_has_no_concentrations_and_says_so(trial):
    study = trial.study.model_copy(update={"arms": {"placebo_q2w": trial.study.arms["placebo_q2w"]}})
    own = {name: table.filter(pl.col("arm") == "placebo_q2w") for name, table in trial.tables.items()}
    analysis = trial.analysed.filter(pl.col("arm") == "placebo_q2w")
    absent = package(replace(trial, study=study, tables=own, analysed=analysis)).absent
    assert absent["ADPC"] == absent["ADPP"] == ["no arm is given a drug"]


def test_doses_that_a_patient_decides_on_give_no_parameters_and_no_times_since_them(trial):
    arms = dict(trial.study.arms)
    plan = arms["evolocumab_140_q2w"].model_dump(mode="json", by_alias=True, exclude_none=True)
    plan |= {"adherence": {"missed": 0.1, "source": "a test"}}
    arms["evolocumab_140_q2w"] = type(arms["evolocumab_140_q2w"]).model_validate(plan)
    whole = package(replace(trial, study=trial.study.model_copy(update={"arms": arms})))
    assert whole.partly["ADPP"] == ["evolocumab_140_q2w: patients do not take the doses as planned"]
    held = {
        one.name: one.rows.filter(pl.col("TRTP" if "TRTP" in one.rows.columns else "TRTA") == "evolocumab_140_q2w")
        for one in whole.datasets[1:]
    }
    assert held["ADPP"].height == 0
    assert held["ADPC"]["NRRLT"].null_count() == held["ADPC"].height > 0


# Marked, named, coded


def test_every_data_set_is_marked_as_simulated_and_says_which_draw(made):
    assert [one.name for one in made.datasets] == ["ADSL", "ADPC", "ADEFF", "ADAE", "ADTTE", "ADPP"]
    for one in made.datasets:
        assert marked_simulated(one)
        assert set(one.rows["DRAW"]) == {DRAW}
        assert one.rows["USUBJID"].str.starts_with("SIM-LAPLACE-").all()


def test_every_ancestry_of_adults_has_its_terms():
    known = {*us.ANCESTRY, reference_adults.EUROPE.ancestry, reference_adults.JAPAN.ancestry}
    assert set(RACES) == known


@pytest.mark.skipif(not PILOT.is_dir(), reason=f"needs the CDISC pilot's data in {PILOT}")
def test_independent_adsl_has_the_shape_of_the_cdisc_pilots(of):
    """What both have is of the same type, coded alike and in the same order. The file has no labels."""
    pilot = pl.read_csv(PILOT / "adam_adsl.csv.gz", infer_schema_length=None)
    ours = of["ADSL"].rows
    shared = [name for name in ours.columns if name in pilot.columns]
    assert shared == [name for name in pilot.columns if name in ours.columns]
    missing = set(pilot.columns) - set(ours.columns)
    assert missing == {
        "SITEGR1", "COMP8FL", "COMP16FL", "COMP24FL", "EDUCLVL", "DISONSDT", "DURDIS", "DURDSGR1", "VISIT1DT",
        "VISNUMEN", "DCREASCD", "MMSETOT",
    }  # fmt: skip
    dates = {"TRTSDT", "TRTEDT", "RFENDT"}  # numbers in the file's XPT, written as dates in its CSV
    identifiers = {"SUBJID", "SITEID"}  # text in its XPT, read as numbers from its CSV
    for name in set(shared) - dates - identifiers - {"DTHFL"}:
        assert ours.schema[name].is_numeric() == pilot.schema[name].is_numeric(), name
    for name in ("SEX", "AGEU", "SAFFL", "ITTFL", "EFFFL", "AGEGR1", "BMIBLGR1", "DISCONFL"):
        assert set(ours[name].drop_nulls()) <= set(pilot[name].drop_nulls()) | {"Y", "N"}, name


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=30), unique=True, max_size=30))
def test_names_become_names_that_sas_takes_no_two_alike(names: list[str]):
    for end in ("", "BL"):
        found = coded(names, end)
        assert len(set(found.values())) == len(names)
        assert all(re.fullmatch(r"[A-Z][A-Z0-9]{0,7}", code) and code.endswith(end) for code in found.values())


def test_long_names_keep_the_beginning_of_each_word():
    found = coded(["treatment_related_ae", "treatment_related_serious_ae", "treatment_related_severe_ae", "ldl"])
    assert list(found.values()) == ["TRREAE", "TRRESEAE", "TRRESEA2", "LDL"]


@given(st.floats(0, 5000, allow_nan=False), st.integers(0, 40_000))
def test_days_and_dates_tell_the_same(time: float, start: int):
    row = pl.DataFrame({"time": [time], "start": [start]})
    day = row.select(study_day(pl.col("time"))).item()
    assert day >= 1
    assert abs(day - 1 - time) <= 1
    text = row.select(iso(pl.col("start") + day - 1)).item()
    assert sas(date.fromisoformat(text)) - start + 1 == day


def test_visits_are_named_as_in_protocols():
    named = {"0 wk": "Baseline", "12 wk": "Week 12", "28 d": "Day 29", "0.5 h": "Hour 0.5", "1 y": "Year 1"}
    assert {text: visit_name(quantity(text, "time")) for text in named} == named


# Data sets agree with each other


def _changed(made: Package, name: str, **columns: pl.Expr) -> list[Dataset]:
    """The data sets with some columns of one changed in one row: the first, and of ADEFF the first of LDL."""
    of_ldl = next(d for d in made.datasets if d.name == "ADEFF").rows["PARAMCD"].index_of("LDL")
    here = pl.int_range(pl.len()) == (of_ldl if name == "ADEFF" else 0)
    changed = [pl.when(here).then(value).otherwise(pl.col(c)).alias(c) for c, value in columns.items()]
    return [replace(d, rows=d.rows.with_columns(changed)) if d.name == name else d for d in made.datasets]


@pytest.mark.parametrize(
    ("name", "columns", "said"),
    [
        ("ADAE", {"USUBJID": pl.lit("SIM-LAPLACE-nobody")}, "ADAE: SIM-LAPLACE-nobody is not in ADSL"),
        ("ADPC", {"TRTP": pl.lit("other")}, "ADPC: TRTP of {who} is not ADSL.TRT01P"),
        ("ADTTE", {"AGE": pl.col("AGE") + 1}, "ADTTE: AGE of {who} is not ADSL.AGE"),
        ("ADEFF", {"PARAM": pl.lit("another")}, "ADEFF: PARAMCD 'LDL' has more than one PARAM"),
        ("ADEFF", {"AVISITN": pl.lit(99)}, "ADEFF: AVISIT 'Baseline' has more than one AVISITN"),
        ("ADEFF", {"CHG": pl.lit(7.0)}, "ADEFF: CHG of {who} is not AVAL - BASE"),
        ("ADEFF", {"PCHG": pl.lit(7.0)}, "ADEFF: PCHG of {who} is not 100 * CHG / BASE"),
        ("ADEFF", {"ABLFL": pl.lit(None)}, "ADEFF: BASE of {who} without a record flagged ABLFL"),
        ("ADTTE", {"CNSR": pl.lit(-1)}, "ADTTE: CNSR of {who} is not 0, 1, 2 ..."),
        ("ADTTE", {"AVAL": pl.lit(-1.0)}, "ADTTE: a negative time of {who}"),
        ("ADAE", {"ASTDT": pl.lit(99_999)}, "ADAE: ASTDT of {who} lies after EOSDT"),
        ("ADAE", {"ASTDY": pl.lit(0)}, "ADAE: ASTDY of {who} is not the day of ASTDT"),
        ("ADAE", {"ASTDT": pl.lit(-5)}, "ADAE: ASTDT of {who} lies before TRTSDT"),
    ],
)
def test_a_contradiction_is_found_and_named(made, name: str, columns: dict[str, pl.Expr], said: str):
    refuse_inconsistent(made.datasets)
    broken = _changed(made, name, **columns)
    who = next(d for d in made.datasets if d.name == name).rows["USUBJID"][0]
    with pytest.raises(InconsistentError, match=re.escape(said.format(who=who))):
        refuse_inconsistent(broken)


def test_a_second_row_or_a_second_baseline_is_found(made, of):
    adsl = replace(of["ADSL"], rows=pl.concat([of["ADSL"].rows, of["ADSL"].rows[:1]]))
    with pytest.raises(InconsistentError, match="ADSL: more than one row of SIM-LAPLACE"):
        refuse_inconsistent([adsl])
    rows = of["ADEFF"].rows
    base = rows.filter(pl.col("ABLFL") == "Y")[:1].with_columns(
        AVISITN=pl.lit(1, dtype=pl.Int64), AVISIT=pl.lit("Week 1")
    )
    with pytest.raises(InconsistentError, match="ADEFF: more than one baseline of a parameter of"):
        refuse_inconsistent([of["ADSL"], replace(of["ADEFF"], rows=pl.concat([rows, base]))])
    with pytest.raises(InconsistentError, match="there is no ADSL"):
        refuse_inconsistent([of["ADEFF"]])


# Read back


@pytest.mark.parametrize("suffix", ["xpt", "json"])
@pytest.mark.parametrize("windows", [False, True])
def test_read_back_as_a_real_trials_the_estimand_is_the_same(laplace, evolocumab, company, tmp_path, suffix, windows):
    """Dates count whole days, so the tables are rounded down to them; without windows visits are on whole days, and
    nothing changes by that."""
    conduct = CONDUCT | (WINDOWS if windows else {})
    one = trial_of(conducted(laplace, conduct, COMPOSITE), evolocumab, company)
    write = {"xpt": write_transport, "json": write_dataset_json}[suffix]
    for data in package(one).datasets:
        write(data, tmp_path / f"{data.name.lower()}.{suffix}", WHEN)
    adsl, adeff = (read_adam(tmp_path / f"{name}.{suffix}") for name in ("adsl", "adeff"))
    seen = adam.measurements(adeff, "LDLCHAN")
    events = adam.intercurrent(adsl, seen)
    rows = one.tables["measurements"].filter(pl.col("parameter") == "ldl_change")
    happened = one.tables["intercurrent"]
    if windows:
        rows, happened = (t.with_columns(pl.col("time").floor()) for t in (rows, happened))
    names = {"discontinuation": {"strategy": "composite", "value": "0 percent"}}
    for strategies in (names, {"discontinuation": "treatment policy"}, {"discontinuation": "while on treatment"}):
        plan = handling(strategies)
        theirs = apply(plan, rows, happened, unit="percent").filter(pl.col("visit") == "12 wk")
        ours = apply(plan, seen, events, unit="percent").filter(pl.col("visit") == "Week 12")
        ours = ours.select(who=pl.col("subject").str.slice(len("SIM-LAPLACE-")), ours="analysis_value")
        both = theirs.join(ours, left_on="subject", right_on="who", how="full", validate="1:1")
        assert both["analysis_value"].equals(both["ours"].alias("analysis_value"), null_equal=True)
        assert both["ours"].drop_nulls().len() > 50


def test_a_reference_date_moves_every_date_and_no_day(trial, of):
    moved = {d.name: d.rows for d in package(replace(trial, start=date(2020, 2, 29))).datasets}
    by = sas(date(2020, 2, 29))
    for name, column in (("ADSL", "TRTSDT"), ("ADEFF", "ADT"), ("ADAE", "ASTDT"), ("ADTTE", "ADT")):
        assert (moved[name][column] - of[name].rows[column]).drop_nulls().unique().to_list() == [by]
    assert moved["ADEFF"]["ADY"].equals(of["ADEFF"].rows["ADY"], null_equal=True)
    assert (moved["ADSL"]["RFSTDTC"] >= "2020-02-29").all()
    assert trial.start == EPOCH
