"""ADAE: adverse events, each by its first occurrence in a subject.

References
----------
[1] CDISC ADaM Structure for Occurrence Data (OCCDS) 1.1.
[2] CDISC controlled terminology: Action Taken with Study Treatment (C66767).
"""

import polars as pl

from cohort.cdisc.dataset import Dataset
from cohort.export.adeff import SUBJECT
from cohort.export.variables import (
    YES,
    assembled,
    copied,
    day,
    draw_variable,
    flag,
    integer,
    of_parameters,
    study_day,
    text,
    treatment,
    whole_days,
    with_subjects,
    words,
)
from cohort.export.virtual import VirtualTrial
from cohort.trial import declares

PERSON = ("AGE", "AGEGR1", "AGEGR1N", "RACE", "RACEN", "SEX", "SAFFL")
ACTION = (("DRUG WITHDRAWN", "Drug Withdrawn"), ("DOSE NOT CHANGED", "Dose Not Changed"))
NO_TIMES = (
    "the study declares no conduct, so its adverse events are predicted as counts of an arm and have no times; "
    "declare conduct.visits, discontinuation or withdrawal"
)


def adae(trial: VirtualTrial, adsl: Dataset) -> tuple[Dataset | None, list[str]]:
    """A row per subject and event that occurred. Returns what is not in it, too."""
    named = events_of(trial)
    if not declares(trial.study):
        return None, [NO_TIMES if named else "the study has no endpoint of kind event"]
    unknown = sorted(set(named) - set(modelled(trial)))
    absent = [f"{', '.join(unknown)}: the parameters have no risk of it"] if unknown else []
    table = trial.tables["adverse_events"]
    if table.height == 0:
        return None, absent or ["no adverse event occurred in this trial"]
    frame = with_subjects(table.sort("subject", "time", "event"), adsl).with_columns(
        AESEQ=pl.int_range(1, pl.len() + 1).over("subject"),
        term=pl.col("event").replace_strict({name: words(name) for name in named}, return_dtype=pl.String),
    )
    terms = of_parameters(frame.with_columns(same=pl.col("term")), "term", "same")
    stopped = pl.col("led_to").is_in(["discontinuation", "both"])
    columns = [
        *copied(adsl, SUBJECT),
        *[column for column in treatment(adsl) if column[0].name.startswith("TRTA")],
        *copied(adsl, PERSON),
        (
            day("ASTDT", "Analysis Start Date", "TRTSDT plus the whole days to the event", mandatory=True),
            pl.col("TRTSDT") + whole_days(pl.col("time")),
        ),
        (integer("ASTDY", "Analysis Start Relative Day", "ASTDT - TRTSDT + 1"), study_day(pl.col("time"))),
        (
            text("AETERM", "Reported Term for the Adverse Event", origin="Assigned", codelist=terms, mandatory=True),
            pl.col("term"),
        ),
        (
            text(
                "AEDECOD",
                "Dictionary-Derived Term",
                "AETERM",
                codelist=terms,
                comment="The study's own name of the event; it is in no dictionary.",
            ),
            pl.col("term"),
        ),
        (
            text(
                "AEACN",
                "Action Taken with Study Treatment",
                "DRUG WITHDRAWN where the event led to discontinuation",
                codelist=ACTION,
            ),
            pl.when(stopped).then(pl.lit("DRUG WITHDRAWN")).otherwise(pl.lit("DOSE NOT CHANGED")),
        ),
        (
            flag("AEDISFL", "AE Led to Study Discontinuation", "Y where the event led to withdrawal", YES),
            pl.when(pl.col("led_to").is_in(["withdrawal", "both"])).then(pl.lit("Y")),
        ),
        (
            integer("AESEQ", "Sequence Number", "Number of the event within the subject", mandatory=True),
            pl.col("AESEQ"),
        ),
        (
            flag("TRTEMFL", "Treatment Emergent Analysis Flag", "Y where treatment was going on until the event", YES),
            pl.when("on_treatment").then(pl.lit("Y")),
        ),
        (
            flag("AOCCFL", "1st Occurrence within Subject Flag", "Y of the subject's first event", YES),
            pl.when(pl.col("AESEQ") == 1).then(pl.lit("Y")),
        ),
        (
            flag("AOCCPFL", "1st Occurrence of Preferred Term Flag", "Y: later occurrences are not simulated", YES),
            pl.lit("Y"),
        ),
        (draw_variable(), pl.lit(trial.draw)),
    ]
    return assembled(
        "ADAE",
        "Adverse Event Analysis",
        columns,
        frame,
        keys=["STUDYID", "USUBJID", "AESEQ"],
        structure="One record per subject per adverse event",
        kind="OCCURRENCE DATA STRUCTURE",
        subclass="ADVERSE EVENT",
    ), absent


def events_of(trial: VirtualTrial) -> list[str]:
    return [name for name, plan in trial.study.endpoints.items() if plan.kind == "event"]


def modelled(trial: VirtualTrial) -> list[str]:
    """The events that can occur: those that are waited for."""
    return trial.tables["time_to_event"]["PARAM"].unique(maintain_order=True).to_list()
