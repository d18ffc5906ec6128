"""ADSL: one row per subject of the trial, in the order and by the names of CDISC's pilot submission.

References
----------
[1] CDISC ADaM Implementation Guide 1.3, section 3.2, ADSL.
[2] CDISC controlled terminology: Sex (C66731), Race (C74457), Ethnic Group (C66790), Completion/Reason for
    Non-Completion (C66727), Subject Status (C188728).
"""

import numpy as np
import polars as pl

from cohort.cdisc.dataset import Dataset, simulated_study
from cohort.dosing import times
from cohort.engine import CODES
from cohort.export.variables import (
    YES,
    Column,
    assembled,
    coded,
    day,
    draw_variable,
    flag,
    integer,
    iso,
    iso_date,
    number,
    sas,
    text,
    whole_days,
)
from cohort.export.virtual import PERSON, VirtualTrial
from cohort.study import Arm
from cohort.trial.leaving import HAZARD

SITE = "SIM"
AGES = (("<65", "Under 65 years"), ("65-80", "65 to 80 years"), (">80", "Over 80 years"))
BMIS = (("<25", "Under 25 kg/m2"), ("25-<30", "25 to under 30 kg/m2"), (">=30", "30 kg/m2 and over"))
SEX = (("M", "Male"), ("F", "Female"))
STATUS = (("COMPLETED", "Completed"), ("DISCONTINUED", "Discontinued"), ("ONGOING", "Ongoing"))

# A population says ancestry, or race and Hispanic origin in one answer; the terms say race and ethnicity apart. Whom
# one answer leaves open is UNKNOWN, and ANCESTRY keeps the answer.
RACES = {
    "non-Hispanic White": ("WHITE", "NOT HISPANIC OR LATINO"),
    "non-Hispanic Black": ("BLACK OR AFRICAN AMERICAN", "NOT HISPANIC OR LATINO"),
    "Mexican American": ("UNKNOWN", "HISPANIC OR LATINO"),
    "Other Hispanic": ("UNKNOWN", "HISPANIC OR LATINO"),
    "Other": ("OTHER", "NOT HISPANIC OR LATINO"),
    "Japanese": ("ASIAN", "UNKNOWN"),
    "European": ("WHITE", "UNKNOWN"),
}
RACE = (
    ("WHITE", "White"),
    ("BLACK OR AFRICAN AMERICAN", "Black or African American"),
    ("ASIAN", "Asian"),
    ("OTHER", "Other"),
    ("UNKNOWN", "Unknown"),
)
ETHNIC = (
    ("HISPANIC OR LATINO", "Hispanic or Latino"),
    ("NOT HISPANIC OR LATINO", "Not Hispanic or Latino"),
    ("UNKNOWN", "Unknown"),
)
REASONS = (
    ("ADVERSE EVENT", "Adverse Event"),
    ("WITHDRAWAL BY SUBJECT", "Withdrawal by Subject"),
    ("OTHER", "Other"),
)
DONE = (("COMPLETED", "Completed"), *REASONS)


def adsl(trial: VirtualTrial) -> Dataset:
    """Everyone randomised. A row per subject, whose id is that of the person in the population."""
    frame = _frame(trial)
    columns = [*_identity(trial), *_dates(trial), *_person(), *_populations(), *_baseline(trial), *_ends(trial)]
    return assembled(
        "ADSL",
        "Subject-Level Analysis",
        columns,
        frame,
        keys=["STUDYID", "USUBJID"],
        structure="One record per subject",
        kind="SUBJECT LEVEL ANALYSIS DATASET",
    )


def _frame(trial: VirtualTrial) -> pl.DataFrame:
    """The trial's subjects with what the columns are computed of."""
    subjects = trial.tables["subjects"]
    wanted = [c for c in ("subject", *PERSON, *trial.model.covariates.fields()) if c in trial.treated.columns]
    people = trial.treated.select(*dict.fromkeys(wanted))
    own = subjects.select(c for c in subjects.columns if c == "subject" or c not in people.columns)
    seen = trial.tables["measurements"].filter(pl.col("visit_number") > 0, pl.col("value").is_not_null())
    start = pl.lit(sas(trial.start)) + whole_days(pl.col("randomised").fill_null(0.0))
    well = pl.col("code") == 0
    number_of = {name: i for i, name in enumerate(sorted(trial.study.arms), 1)}
    frame = (
        own.join(people, on="subject", how="left", maintain_order="left")
        .join(_given(trial), on="subject", how="left", maintain_order="left")
        .with_columns(
            well=well,
            seen=well & pl.col("subject").is_in(seen["subject"].unique().to_list()),
            number=pl.col("arm").replace_strict(number_of, return_dtype=pl.Int64),
            start=start,
        )
        .with_columns(
            stop=pl.when("well").then(pl.col("start") + whole_days(pl.col("treatment_end"))),
            end=pl.when("well").then(pl.col("start") + whole_days(pl.col("followup"))),
        )
    )
    missing = [pl.lit(None, dtype=pl.String if c in ("sex", "ancestry") else pl.Float64).alias(c) for c in PERSON]
    return frame.with_columns(m for m in missing if m.meta.output_name() not in frame.columns)


def _given(trial: VirtualTrial) -> pl.DataFrame:
    """The drug given to each subject as planned until treatment ended, in the study's unit of doses; null where
    patients or a rule decide, or where doses do not measure one thing."""
    parts = []
    for (arm,), rows in trial.tables["subjects"].group_by("arm", maintain_order=True):
        plan = trial.study.arms[str(arm)]
        given = planned_until(plan, rows["treatment_end"].to_numpy(), trial.study.dose_unit)
        parts.append(rows.select("subject", dose=pl.lit(None, dtype=pl.Float64) if given is None else pl.Series(given)))
    return pl.concat(parts)


def planned_until(plan: Arm, ends: np.ndarray, unit: str | None) -> np.ndarray | None:
    """The sum of the doses planned before each end, (n,), in this unit; None without one, and where what is taken is
    not what is planned."""
    if unit is None or plan.rule is not None or plan.adherence is not None:
        return None
    total = np.zeros(len(ends))
    for regimen in plan.regimens:
        total += regimen.dose.to(unit) * np.searchsorted(times(regimen, "d"), ends, side="left")
    return total


def _identity(trial: VirtualTrial) -> list[Column]:
    study = simulated_study(trial.study.name)
    arm, rank = pl.col("arm"), pl.col("number")
    arms = tuple((name, name.replace("_", " ")) for name in sorted(trial.study.arms))
    ranks = tuple((str(i), name) for i, (name, _) in enumerate(arms, 1))
    planned, actual = "Planned Treatment for Period 01", "Actual Treatment for Period 01"
    same = "The arm allocated: in a virtual trial nobody is given another's treatment."
    assigned = {"origin": "Assigned", "mandatory": True}
    return [
        (text("STUDYID", "Study Identifier", comment="A virtual trial of this study.", **assigned), pl.lit(study)),
        (
            text("USUBJID", "Unique Subject Identifier", "STUDYID, a hyphen, SUBJID", mandatory=True),
            pl.lit(f"{study}-") + pl.col("subject"),
        ),
        (
            text("SUBJID", "Subject Identifier for the Study", comment="Id in the population.", **assigned),
            pl.col("subject"),
        ),
        (text("SITEID", "Study Site Identifier", comment="There are no sites.", **assigned), pl.lit(SITE)),
        (text("ARM", "Description of Planned Arm", codelist=arms, **assigned), arm),
        (text("TRT01P", planned, codelist=arms, **assigned), arm),
        (integer("TRT01PN", f"{planned} (N)", codelist=ranks, **assigned), rank),
        (text("TRT01A", actual, same, codelist=arms, mandatory=True), arm),
        (integer("TRT01AN", f"{actual} (N)", same, codelist=ranks, mandatory=True), rank),
    ]


def _dates(trial: VirtualTrial) -> list[Column]:
    length = pl.col("stop") - pl.col("start") + 1
    unit = trial.study.dose_unit or "without a common unit"
    begun = "The reference date of the export plus the whole days from the start of enrolment to randomisation"
    ended = "TRTSDT plus the whole days until treatment was discontinued or follow-up ended"
    return [
        (day("TRTSDT", "Date of First Exposure to Treatment", begun, mandatory=True), pl.col("start")),
        (day("TRTEDT", "Date of Last Exposure to Treatment", ended), pl.col("stop")),
        (integer("TRTDUR", "Duration of Treatment (days)", "TRTEDT - TRTSDT + 1"), length),
        (number("AVGDD", "Avg Daily Dose (as planned)", f"CUMDOSE / TRTDUR, {unit}"), pl.col("dose") / length),
        (
            number(
                "CUMDOSE",
                "Cumulative Dose (as planned)",
                f"Sum of the doses planned before treatment ended, {unit}; missing where patients or a rule decide on "
                "them",
            ),
            pl.when("well").then(pl.col("dose")),
        ),
    ]


def _person() -> list[Column]:
    age = pl.col("age").floor()
    group = pl.when(age < 65).then(0).when(age <= 80).then(1).when(age > 80).then(2)
    race, ethnic = ({name: terms[i] for name, terms in RACES.items()} for i in (0, 1))
    unlike = "The population knows ancestry, or race and origin in one answer: not an exact match of terms."
    of_person = {"origin": "Assigned"}
    return [
        (integer("AGE", "Age", "Whole years of the age in the population"), age),
        (text("AGEGR1", "Pooled Age Group 1", "From AGE", codelist=AGES), _named(group, AGES)),
        (integer("AGEGR1N", "Pooled Age Group 1 (N)", "1 to 3 for AGEGR1"), group + 1),
        (text("AGEU", "Age Units", codelist=(("YEARS", "Years"),), **of_person), pl.lit("YEARS")),
        (
            text("RACE", "Race", "From ANCESTRY", codelist=RACE, comment=unlike),
            pl.col("ancestry").replace_strict(race, default="UNKNOWN", return_dtype=pl.String),
        ),
        (
            integer("RACEN", "Race (N)", "Rank of RACE in its code list"),
            pl.col("ancestry")
            .replace_strict(race, default="UNKNOWN", return_dtype=pl.String)
            .replace_strict({code: i for i, (code, _) in enumerate(RACE, 1)}, return_dtype=pl.Int64),
        ),
        (
            text("SEX", "Sex", "From the population", codelist=SEX),
            pl.col("sex").replace_strict({"male": "M", "female": "F"}, default=None, return_dtype=pl.String),
        ),
        (
            text("ETHNIC", "Ethnicity", "From ANCESTRY", codelist=ETHNIC, comment=unlike),
            pl.col("ancestry").replace_strict(ethnic, default="UNKNOWN", return_dtype=pl.String),
        ),
        (text("ANCESTRY", "Ancestry as in the Population", **of_person), pl.col("ancestry")),
    ]


def _named(index: pl.Expr, codes: tuple[tuple[str, str], ...]) -> pl.Expr:
    return index.replace_strict({i: code for i, (code, _) in enumerate(codes)}, default=None, return_dtype=pl.String)


def _populations() -> list[Column]:
    well, left = pl.col("well"), pl.col("withdrawn") & pl.col("well")
    failed = "N where the course could not be solved: nothing of the subject is known"
    ill = left & (pl.col("withdrawal_reason") != HAZARD)
    return [
        (flag("SAFFL", "Safety Population Flag", failed), _yes_no(well)),
        (flag("ITTFL", "Intent-To-Treat Population Flag", "Y of all randomised"), pl.lit("Y")),
        (
            flag("EFFFL", "Efficacy Population Flag", "Y with a measurement after the first visit; " + failed),
            _yes_no(pl.col("seen")),
        ),
        (
            flag("COMPLFL", "Completers Population Flag", "Y where the last visit was reached"),
            _yes_no(well & pl.col("completed")),
        ),
        (
            flag("DISCONFL", "Did the Subject Discontinue the Study?", "Y where the subject withdrew", YES),
            _yes(left),
        ),
        (
            flag("DSRAEFL", "Discontinued due to AE?", "Y where an adverse event led to withdrawal", YES),
            _yes(ill),
        ),
        (
            flag("DTHFL", "Subject Died?", "Missing: virtual patients do not die", YES),
            pl.lit(None, dtype=pl.String),
        ),
    ]


def _yes_no(condition: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(pl.lit("Y")).otherwise(pl.lit("N"))


def _yes(condition: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(pl.lit("Y"))


def _baseline(trial: VirtualTrial) -> list[Column]:
    bmi = pl.col("bmi")
    group = pl.when(bmi < 25).then(0).when(bmi < 30).then(1).when(bmi >= 30).then(2)
    made = [
        (number("BMIBL", "Baseline BMI (kg/m^2)", "From the population"), bmi),
        (text("BMIBLGR1", "Pooled Baseline BMI Group 1", "From BMIBL", codelist=BMIS), _named(group, BMIS)),
        (number("HEIGHTBL", "Baseline Height (cm)", "From the population"), pl.col("height")),
        (number("WEIGHTBL", "Baseline Weight (kg)", "From the population"), pl.col("weight")),
    ]
    fields = trial.model.covariates.fields()
    own = [name for name in fields if name not in PERSON]
    codes = coded(own, "BL")
    for name in own:
        kind = text if fields[name]["levels"] else number
        label = f"Baseline {name}" if fields[name]["levels"] else f"Baseline {name} ({fields[name]['unit']})"
        by_arm = any(name in arm.sets for arm in trial.study.arms.values())
        origin = "As the arm sets it, else from the population" if by_arm else "From the population"
        made.append((kind(codes[name], label, origin, comment=fields[name]["about"]), pl.col(name)))
    return made


def _ends(trial: VirtualTrial) -> list[Column]:
    well, left = pl.col("well"), pl.col("withdrawn")
    study = (
        pl.when(~well).then(None).when(left).then(pl.lit("DISCONTINUED")).when("completed").then(pl.lit("COMPLETED"))
    ).otherwise(pl.lit("ONGOING"))
    stopped = pl.when(~well).then(None).when("discontinued").then(pl.lit("DISCONTINUED"))
    going_on = stopped.when(left | ~pl.col("completed")).then(pl.lit("ONGOING")).otherwise(pl.lit("COMPLETED"))
    study, going_on = study.cast(pl.String), going_on.cast(pl.String)
    why_left, why_stopped = pl.col("withdrawal_reason"), pl.col("discontinuation_reason")
    left_by, stopped_by = _reason(why_left, "WITHDRAWAL BY SUBJECT"), _reason(why_stopped, "OTHER")
    solved = tuple((words, words.capitalize()) for words in CODES)
    end, start = pl.col("end"), pl.col("start")
    told = "As in the trial's tables; ONGOING where follow-up ended before treatment did"
    reason = "ADVERSE EVENT where one led to it, else {}: of a hazard the study says no reason"
    return [
        (iso_date("RFSTDTC", "Subject Reference Start Date/Time", "TRTSDT"), iso(start)),
        (iso_date("RFENDTC", "Subject Reference End Date/Time", "EOSDT"), iso(end)),
        (day("RFENDT", "Date of Discontinuation/Completion", "EOSDT"), end),
        (
            text("DCDECOD", "Standardized Disposition Term", "COMPLETED, or DCSREAS", codelist=DONE),
            pl.coalesce(left_by, pl.when(well & pl.col("completed")).then(pl.lit("COMPLETED"))),
        ),
        (text("EOTSTT", "End of Treatment Status", told, codelist=STATUS), going_on),
        (
            text("DCTREAS", "Reason for Discontinuation of Treatment", reason.format("OTHER"), codelist=REASONS),
            stopped_by,
        ),
        (text("DCTREASP", "Reason Specify for Discont of Treatment", "As in the trial's tables"), why_stopped),
        (text("EOSSTT", "End of Study Status", "ONGOING: cut off", codelist=STATUS), study),
        (day("EOSDT", "End of Study Date", "TRTSDT plus the whole days of follow-up"), end),
        (
            text(
                "DCSREAS",
                "Reason for Discontinuation from Study",
                reason.format("WITHDRAWAL BY SUBJECT"),
                codelist=REASONS,
            ),
            left_by,
        ),
        (
            text("DCSREASP", "Reason Spec for Discont from Study", "As in the trial's tables"),
            pl.when(well).then(why_left),
        ),
        (day("RANDDT", "Date of Randomization", "TRTSDT: treatment begins on that day", mandatory=True), start),
        (text("STRATAR", "Strata Used for Randomization", "As in the trial's tables"), pl.col("stratum")),
        (
            text("SIMSTAT", "Status of the Simulated Course", "How the solver ended", codelist=solved, mandatory=True),
            pl.col("code").cast(pl.Int64).replace_strict(dict(enumerate(CODES)), return_dtype=pl.String),
        ),
        (draw_variable(), pl.lit(trial.draw)),
    ]


def _reason(why: pl.Expr, of_hazard: str) -> pl.Expr:
    """A term for why a subject stopped or left, null of who did neither."""
    term = pl.when(why == HAZARD).then(pl.lit(of_hazard)).when(why.is_not_null()).then(pl.lit("ADVERSE EVENT"))
    return pl.when("well").then(term)
