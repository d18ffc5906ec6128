"""ADEFF: measured outputs of the model and its endpoints, visit by visit.

References
----------
[1] CDISC ADaM Implementation Guide 1.3, section 3.3, BDS: ADY has no day 0; DTYPE names how a derived record was made.
"""

import polars as pl

from cohort.cdisc.dataset import Dataset
from cohort.export.variables import (
    YES,
    Column,
    assembled,
    coded,
    copied,
    day,
    described,
    draw_variable,
    flag,
    integer,
    number,
    of_parameters,
    study_day,
    text,
    treatment,
    visit_names,
    whole_days,
    with_subjects,
)
from cohort.export.virtual import VirtualTrial

SUBJECT = ("STUDYID", "SITEID", "USUBJID", "SUBJID", "TRTSDT", "TRTEDT")
PERSON = ("AGE", "AGEGR1", "AGEGR1N", "RACE", "RACEN", "SEX", "SAFFL", "ITTFL", "EFFFL", "COMPLFL")
DERIVED = (("LOCF", "Last Observation Carried Forward"), ("ESTIMAND", "As the Endpoint's Estimand Handles Events"))


def adeff(trial: VirtualTrial, adsl: Dataset) -> tuple[Dataset | None, list[str]]:
    """A row per subject, parameter and visit that was measured, and one more where an endpoint is analysed with
    another value than the one measured. Concentrations of the drug are in ADPC. Returns what is not in it, too."""
    parameters = parameters_of(trial)
    if not parameters:
        return None, [
            "every output of the model is a concentration of a drug, and the study has no endpoint of a course"
        ]
    frame = with_subjects(_records(trial, parameters), adsl)
    codes = of_parameters(frame)
    columns = [*copied(adsl, SUBJECT), *treatment(adsl), *copied(adsl, PERSON), *visits(frame)]
    return assembled(
        "ADEFF",
        "Efficacy Analysis",
        [*columns, *_values(trial, codes, parameters)],
        frame,
        keys=["STUDYID", "USUBJID", "PARAMCD", "AVISITN", "ASEQ"],
        structure="One record per subject per parameter per analysis visit, and one more where it is derived",
        kind="BASIC DATA STRUCTURE",
    ), _not_here(trial)


def parameters_of(trial: VirtualTrial) -> list[str]:
    """Outputs that are not concentrations of a drug, then endpoints read from the course."""
    outputs = [name for name in trial.model.outputs.fields() if name not in trial.concentrations]
    return [*outputs, *endpoints_of(trial)]


def endpoints_of(trial: VirtualTrial) -> list[str]:
    return [name for name, plan in trial.study.endpoints.items() if plan.kind == "course"]


def _not_here(trial: VirtualTrial) -> list[str]:
    said = {name: plan for name, plan in trial.study.endpoints.items() if plan.kind == "event"}
    return [f"{name}: a count of events, no course is measured; see ADAE and ADTTE" for name in said]


def measured(trial: VirtualTrial, parameters: list[str]) -> pl.DataFrame:
    """The rows of these parameters that have a value, with what a parameter and a visit are called."""
    about, codes = described(trial, parameters), coded(parameters)
    names = dict(enumerate(visit_names(trial)))
    return (
        trial.tables["measurements"]
        .filter(pl.col("parameter").is_in(parameters), pl.col("value").is_not_null())
        .with_columns(
            PARAM=pl.col("parameter").replace_strict(about, return_dtype=pl.String),
            PARAMCD=pl.col("parameter").replace_strict(codes, return_dtype=pl.String),
            PARAMN=pl.col("parameter").replace_strict(
                {p: i for i, p in enumerate(parameters, 1)}, return_dtype=pl.Int64
            ),
            AVISIT=pl.col("visit_number").replace_strict(names, return_dtype=pl.String),
        )
    )


def _records(trial: VirtualTrial, parameters: list[str]) -> pl.DataFrame:
    """The measured rows, and the derived ones; `chosen`: those that an endpoint's estimand analyses."""
    rows = measured(trial, parameters).with_columns(
        derived=pl.lit(None, dtype=pl.String), chosen=pl.lit(False), observed=pl.lit(True)
    )
    last = len(trial.study.visits) - 1
    for name in endpoints_of(trial):
        at_end = (pl.col("parameter") == name) & (pl.col("visit_number") == last)
        analysed = trial.analysed.select("subject", _value=pl.col(name).fill_nan(None))
        rows = rows.join(analysed, on="subject", how="left", maintain_order="left")
        same = at_end & (pl.col("value") == pl.col("_value")).fill_null(False)
        found = rows.filter(same)["subject"]
        rows = rows.with_columns(chosen=pl.col("chosen") | same).drop("_value")
        rest = analysed.filter(pl.col("_value").is_not_null(), ~pl.col("subject").is_in(found.to_list()))
        how = "LOCF" if trial.study.endpoints[name].missing == "locf" else "ESTIMAND"
        shape = measured_shape(trial, parameters, name, last)
        made = rest.select("subject", value="_value").join(shape, how="cross", maintain_order="left")
        made = made.with_columns(derived=pl.lit(how), chosen=pl.lit(True), observed=pl.lit(False))
        rows = pl.concat([rows, made], how="diagonal_relaxed")
    return rows.sort("subject", "PARAMN", "visit_number", "derived", nulls_last=False).with_columns(
        ASEQ=pl.int_range(1, pl.len() + 1).over("subject")
    )


def measured_shape(trial: VirtualTrial, parameters: list[str], name: str, visit: int) -> pl.DataFrame:
    """What all rows of a parameter at a visit have in common, one row."""
    planned = trial.study.visits[visit].to("d")
    return pl.DataFrame(
        {
            "parameter": [name],
            "PARAM": [described(trial, parameters)[name]],
            "PARAMCD": [coded(parameters)[name]],
            "PARAMN": pl.Series([parameters.index(name) + 1], dtype=pl.Int64),
            "visit_number": pl.Series([visit], dtype=pl.Int32),
            "AVISIT": [visit_names(trial)[visit]],
            "visit_day": [planned],
        }
    )


def visits(frame: pl.DataFrame) -> list[Column]:
    """When a record is of; `frame` has AVISIT, visit_number, visit_day, window_end and time."""
    planned, end, time = pl.col("visit_day"), pl.col("window_end"), pl.col("time")
    names = tuple((name, name) for name in frame.unique("visit_number").sort("visit_number")["AVISIT"])
    window = "The window of the planned visit, in days of ADY"
    begin = pl.max_horizontal(2 * planned - end, pl.lit(0.0))
    return [
        (text("AVISIT", "Analysis Visit", "The planned visit", codelist=names, mandatory=True), pl.col("AVISIT")),
        (
            integer("AVISITN", "Analysis Visit (N)", "Rank of the planned visit, 0 first", mandatory=True),
            pl.col("visit_number"),
        ),
        (
            day("ADT", "Analysis Date", "TRTSDT plus the whole days since randomisation"),
            pl.col("TRTSDT") + whole_days(time),
        ),
        (integer("ADY", "Analysis Relative Day", "ADT - TRTSDT + 1"), study_day(time)),
        (number("AWTARGET", "Analysis Window Target", "Planned day of the visit, counted as ADY"), planned + 1),
        (number("AWLO", "Analysis Window Beginning Timepoint", window), begin + 1),
        (number("AWHI", "Analysis Window Ending Timepoint", window), end + 1),
        (text("AWU", "Analysis Window Unit", origin="Assigned", codelist=(("DAYS", "Days"),)), pl.lit("DAYS")),
    ]


def parameter(codes: tuple[tuple[str, str], ...]) -> list[Column]:
    """What a record is of."""
    as_named = {"origin": "Assigned", "mandatory": True}
    return [
        (text("PARAM", "Parameter", comment="Meaning and unit in the model.", **as_named), pl.col("PARAM")),
        (text("PARAMCD", "Parameter Code", codelist=codes, **as_named), pl.col("PARAMCD")),
        (integer("PARAMN", "Parameter (N)", **as_named), pl.col("PARAMN")),
    ]


def _values(trial: VirtualTrial, codes: tuple[tuple[str, str], ...], parameters: list[str]) -> list[Column]:
    named = coded(parameters)
    roles = {
        n: trial.study.endpoints[n].role.upper() if n in endpoints_of(trial) else "MODEL OUTPUT" for n in parameters
    }
    groups = tuple((role, role.capitalize()) for role in dict.fromkeys(roles.values()))
    binary = [n for n in endpoints_of(trial) if trial.model.endpoints[n].binary]
    ways = tuple(
        (
            named[n],
            f"As measured, in {trial.unit(n)}"
            if n not in endpoints_of(trial)
            else "The model's endpoint, read of the visits so far; of a derived record what the estimand makes of it",
        )
        for n in parameters
    )
    based = pl.col("baseline").is_not_null()
    answer = pl.when(pl.col("value") == 1).then(pl.lit("Y")).otherwise(pl.lit("N"))
    return [
        *parameter(codes),
        (
            text("PARCAT1", "Parameter Category 1", origin="Assigned", codelist=groups, mandatory=True),
            pl.col("parameter").replace_strict(roles, return_dtype=pl.String),
        ),
        (number("AVAL", "Analysis Value", by_parameter=ways, mandatory=True), pl.col("value")),
        (
            text("AVALC", "Analysis Value (C)", "Y where AVAL is 1, N where it is 0, of yes-or-no endpoints"),
            pl.when(pl.col("parameter").is_in(binary)).then(answer),
        ),
        (number("BASE", "Baseline Value", "AVAL of the record with ABLFL = Y"), pl.col("baseline")),
        (number("CHG", "Change from Baseline", "AVAL - BASE"), pl.col("change")),
        (number("PCHG", "Percent Change from Baseline", "100 * (AVAL - BASE) / BASE"), pl.col("percent_change")),
        (
            flag(
                "ABLFL", "Baseline Record Flag", "Y at the first visit, before treatment, of what has a baseline", YES
            ),
            pl.when(based & (pl.col("visit_number") == 0)).then(pl.lit("Y")),
        ),
        (
            flag("ANL01FL", "Analysis Flag 01", "Y of what was measured at a visit: one record per visit", YES),
            pl.when("observed").then(pl.lit("Y")),
        ),
        (
            flag(
                "ANL02FL", "Analysis Flag 02", "Y of the record that the endpoint's estimand analyses at its visit", YES
            ),
            pl.when("chosen").then(pl.lit("Y")),
        ),
        (
            text(
                "DTYPE",
                "Derivation Type",
                "LOCF, or ESTIMAND where the strategies for intercurrent events give another value than was measured",
                codelist=DERIVED,
            ),
            pl.col("derived"),
        ),
        (flag("ONTRTFL", "On Treatment Record Flag", "Y while treatment was going on", YES), _if("on_treatment")),
        (flag("RESCFL", "After Rescue Medication Flag", "Y once rescue medication had begun", YES), _if("rescued")),
        (
            integer("ASEQ", "Analysis Sequence Number", "Number of the record within the subject", mandatory=True),
            pl.col("ASEQ"),
        ),
        (draw_variable(), pl.lit(trial.draw)),
    ]


def _if(column: str) -> pl.Expr:
    return pl.when(column).then(pl.lit("Y"))
