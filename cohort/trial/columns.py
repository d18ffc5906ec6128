"""The columns of a trial's tables, with unit and meaning; written into the files beside the numbers.

`subjects` is shaped as ADaM's ADSL, `measurements` as its BDS, `time_to_event` as its time-to-event BDS (PARAM, AVAL,
CNSR); an exporter renames. Days count from randomisation, which is day 0.
"""

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cohort.store import write

KEY = {
    "draw": ("1", "parameter draw; 0 is the posterior mean, where everyone goes through every arm"),
    "arm": ("1", "arm"),
    "subject": ("1", "id of the person, the same in every arm and draw"),
}
COVARIATE = ("as in the population", "covariate, see the population's table")
COLUMNS: dict[str, dict[str, tuple[str, str]]] = {
    "subjects": KEY
    | {
        "stratum": ("1", "stratum of the randomisation; empty without strata"),
        "randomised": ("d", "day of randomisation from the start of enrolment; null where there is no calendar"),
        "treatment_end": ("d", "when treatment ended, by discontinuation, withdrawal or the end of follow-up"),
        "followup": ("d", "last day of which anything is known"),
        "discontinued": ("1", "whether treatment was discontinued while the patient was followed"),
        "discontinuation_reason": ("1", "hazard, or the adverse event that led to it"),
        "withdrawn": ("1", "whether the patient withdrew from the study"),
        "withdrawal_reason": ("1", "hazard, or the adverse event that led to it"),
        "rescued": ("1", "whether rescue medication was given"),
        "completed": ("1", "whether the last visit was reached: neither withdrawn nor cut off"),
        "code": ("1", "how the engine ended; 0 is well, else nothing of the patient is analysed"),
    },
    "measurements": KEY
    | {
        "visit": ("1", "planned visit"),
        "visit_number": ("1", "number of the planned visit, 0 the baseline"),
        "visit_day": ("d", "day of the planned visit"),
        "window_end": ("d", "last day on which the planned visit may take place"),
        "time": ("d", "day on which it took place; null where it did not"),
        "parameter": ("1", "output of the model, or endpoint as read of the visits so far"),
        "unit": ("1", "unit of value, baseline and change"),
        "value": ("see unit", "as measured; null where there is none"),
        "baseline": ("see unit", "value at the first visit; null of endpoints"),
        "change": ("see unit", "value less baseline; null of endpoints"),
        "percent_change": ("percent", "change of the baseline; null of endpoints"),
        "on_treatment": ("1", "whether treatment was going on at the visit"),
        "rescued": ("1", "whether rescue medication had begun before the visit"),
        "missing": ("1", "why there is no value: withdrawal, cut-off, missed, failed; else null"),
    },
    "potential": KEY
    | {
        "visit_number": ("1", "number of the planned visit"),
        "parameter": ("1", "output of the model, or endpoint as read of the visits so far"),
        "lived": ("see unit", "measured value in the course as lived, whether or not it was seen"),
        "lived_true": ("see unit", "the same without measurement error; so of every column ending in _true"),
        "without_discontinuation": ("see unit", "had treatment not been discontinued"),
        "without_discontinuation_true": ("see unit", "see there"),
        "without_rescue": (
            "see unit",
            "had there been no rescue medication, and treatment been discontinued as it was",
        ),
        "without_rescue_true": ("see unit", "see there"),
        "without_either": ("see unit", "had there been neither"),
        "without_either_true": ("see unit", "see there"),
        "discontinued": ("1", "whether treatment had been discontinued before the visit, in the course as lived"),
        "discontinued_by_planned_day": ("1", "the same before the day planned for the visit"),
        "rescued": ("1", "whether rescue had begun before the visit, in the course as lived"),
        "rescued_without_discontinuation": ("1", "the same had treatment not been discontinued"),
    },
    "intercurrent": KEY
    | {
        "event": ("1", "discontinuation, rescue or withdrawal"),
        "time": ("d", "when"),
        "reason": ("1", "hazard, the adverse event that led to it, or the criterion of rescue"),
    },
    "adverse_events": KEY
    | {
        "event": ("1", "name of the event"),
        "time": ("d", "when it first occurred; further occurrences are not modelled"),
        "on_treatment": ("1", "whether treatment was going on until then"),
        "led_to": ("1", "discontinuation, withdrawal, both or nothing"),
    },
    "time_to_event": KEY
    | {
        "PARAM": ("1", "what is waited for: first occurrence of an adverse event, discontinuation, rescue, withdrawal"),
        "AVAL": ("d", "time to it, or to the end of observation"),
        "CNSR": ("1", "0 it happened, 1 censored"),
        "EVNTDESC": ("1", "what ended the time: event, withdrawal, cut-off or completed"),
    },
}


def write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write each table to `folder`, one Parquet file by its name, with unit and meaning in each column's metadata."""
    for name, table in tables.items():
        arrow, told = table.to_arrow(), COLUMNS[name]
        fields = [
            field.with_metadata(dict(zip(("unit", "about"), told.get(field.name, COVARIATE), strict=True)))
            for field in arrow.schema
        ]
        shaped = arrow.cast(pa.schema(fields))
        write(folder / f"{name}.parquet", lambda temporary, shaped=shaped: pq.write_table(shaped, temporary))
