"""ADTTE: times to the first adverse event of each kind, and to discontinuation, rescue and withdrawal.

AVAL is the time as simulated, with its fraction of a day; ADT is the day it falls on.

References
----------
[1] CDISC ADaM Basic Data Structure for Time-to-Event Analyses 1.0: CNSR is 0 of an event.
"""

import polars as pl

from cohort.cdisc.dataset import Dataset
from cohort.export.adae import events_of
from cohort.export.adeff import SUBJECT, parameter
from cohort.export.variables import (
    assembled,
    coded,
    copied,
    day,
    draw_variable,
    integer,
    number,
    of_parameters,
    study_day,
    text,
    treatment,
    whole_days,
    with_subjects,
)
from cohort.export.virtual import VirtualTrial

PERSON = ("AGE", "AGEGR1", "AGEGR1N", "RACE", "RACEN", "SEX", "SAFFL", "ITTFL", "EFFFL")
ENDS = {
    "event": ("EVENT", "The event occurred"),
    "withdrawal": ("WITHDRAWAL", "Censored: withdrew from the study"),
    "cut-off": ("CUT-OFF", "Censored: enrolment's cut-off"),
    "completed": ("COMPLETED", "Censored: last visit reached"),
}


def adtte(trial: VirtualTrial, adsl: Dataset) -> tuple[Dataset | None, list[str]]:
    """A row per subject, whose course was solved, and event waited for. Returns what is not in it, too."""
    table = trial.tables["time_to_event"]
    waited = sorted(set(table["PARAM"]))
    absent = [f"{name}: without a time in this study" for name in events_of(trial) if name not in waited]
    if table.height == 0:
        return None, ["the study waits for no event: nobody stops, is rescued or leaves, and no event has a time"]
    codes, ill = coded(waited), set(events_of(trial))
    told = {name: f"Time to {name.replace('_', ' ')} (d)" for name in waited}
    sources = {name: ("ADAE", "ASTDT") if name in ill else ("ADSL", "") for name in waited}
    sources |= {"discontinuation": ("ADSL", "TRTEDT"), "withdrawal": ("ADSL", "EOSDT"), "rescue": ("ADEFF", "RESCFL")}
    frame = with_subjects(table.rename({"PARAM": "event"}), adsl).with_columns(
        PARAM=pl.col("event").replace_strict(told, return_dtype=pl.String),
        PARAMCD=pl.col("event").replace_strict(codes, return_dtype=pl.String),
        PARAMN=pl.col("event").replace_strict({n: i for i, n in enumerate(waited, 1)}, return_dtype=pl.Int64),
        domain=pl.col("event").replace_strict({n: s[0] for n, s in sources.items()}, return_dtype=pl.String),
        variable=pl.col("event").replace_strict({n: s[1] for n, s in sources.items()}, return_dtype=pl.String),
    )
    happened = pl.col("CNSR") == 0
    columns = [
        *copied(adsl, SUBJECT),
        *treatment(adsl),
        *copied(adsl, PERSON),
        *parameter(of_parameters(frame)),
        (
            number("AVAL", "Analysis Value", "Days from randomisation to the event or to censoring", mandatory=True),
            pl.col("AVAL"),
        ),
        (day("STARTDT", "Time-to-Event Origin Date for Subject", "TRTSDT", mandatory=True), pl.col("TRTSDT")),
        (
            day("ADT", "Analysis Date", "STARTDT plus the whole days of AVAL", mandatory=True),
            pl.col("TRTSDT") + whole_days(pl.col("AVAL")),
        ),
        (integer("ADY", "Analysis Relative Day", "ADT - TRTSDT + 1"), study_day(pl.col("AVAL"))),
        (
            integer(
                "CNSR",
                "Censor",
                "0 where the event happened, 1 where it was censored",
                codelist=(("0", "Event"), ("1", "Censored")),
                mandatory=True,
            ),
            pl.col("CNSR"),
        ),
        (
            text(
                "EVNTDESC",
                "Event or Censoring Description",
                "What ended the time",
                codelist=tuple(ENDS.values()),
                mandatory=True,
            ),
            pl.col("EVNTDESC").replace_strict({k: v[0] for k, v in ENDS.items()}, return_dtype=pl.String),
        ),
        (
            text("SRCDOM", "Source Data", "ADAE of adverse events; of censored times ADSL"),
            pl.when(happened).then(pl.col("domain")).otherwise(pl.lit("ADSL")),
        ),
        (
            text("SRCVAR", "Source Variable", "The variable of SRCDOM that the time comes from"),
            pl.when(happened).then(pl.col("variable")).otherwise(pl.lit("EOSDT")),
        ),
        (draw_variable(), pl.lit(trial.draw)),
    ]
    return assembled(
        "ADTTE",
        "Time-to-Event Analysis",
        columns,
        frame,
        keys=["STUDYID", "USUBJID", "PARAMCD"],
        structure="One record per subject per event",
        kind="BASIC DATA STRUCTURE",
        subclass="TIME-TO-EVENT",
    ), absent
