"""ADPC: measured concentrations of the drug.

Samples are taken at the visits; one at the time of a dose is taken before it. A model without a limit of quantification
measures with an error around nought, too: there are no values below a limit, and a small one may be negative.
"""

import numpy as np
import polars as pl

from cohort.cdisc.dataset import Dataset
from cohort.dosing import times
from cohort.export.adeff import SUBJECT, measured, parameter, visits
from cohort.export.variables import (
    Column,
    assembled,
    copied,
    dose_unit,
    draw_variable,
    integer,
    number,
    of_parameters,
    text,
    treatment,
    with_subjects,
)
from cohort.export.virtual import VirtualTrial
from cohort.study import Arm

PERSON = ("AGE", "SEX", "RACE", "WEIGHTBL", "SAFFL", "ITTFL")
DAYS = (("DAYS", "Days"),)
NONE = "no output of the model is a concentration of a drug: an amount per volume that is nought before treatment"


def adpc(trial: VirtualTrial, adsl: Dataset) -> tuple[Dataset | None, list[str]]:
    """A row per subject on an active treatment, output and sample. Returns what is not in it, too."""
    active = active_arms(trial)
    if not trial.concentrations:
        return None, [NONE]
    if not active:
        return None, ["no arm is given a drug"]
    rows = measured(trial, list(trial.concentrations)).filter(pl.col("arm").is_in(active))
    if rows.height == 0:
        return None, ["no concentration was measured in this trial"]
    frame = with_subjects(_since_dose(trial, rows), adsl).sort("subject", "PARAMN", "visit_number")
    frame = frame.with_columns(ASEQ=pl.int_range(1, pl.len() + 1).over("subject"))
    columns = [*copied(adsl, SUBJECT), *treatment(adsl), *copied(adsl, PERSON), *visits(frame)]
    data = assembled(
        "ADPC",
        "Concentration Analysis",
        [*columns, *_times(trial), *parameter(of_parameters(frame)), *_values(trial)],
        frame,
        keys=["STUDYID", "USUBJID", "PARAMCD", "AVISITN"],
        structure="One record per subject per analyte per sample",
        kind="BASIC DATA STRUCTURE",
    )
    placebo = sorted(set(trial.study.arms) - set(active))
    return data, [f"{', '.join(placebo)}: given no drug, and no samples are analysed"] if placebo else []


def active_arms(trial: VirtualTrial) -> list[str]:
    return [name for name, arm in sorted(trial.study.arms.items()) if arm.active]


def _since_dose(trial: VirtualTrial, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the dose planned last before each sample and the time since, null where it is not planned."""
    parts = []
    for (arm,), own in rows.group_by("arm", maintain_order=True):
        plan = trial.study.arms[str(arm)]
        given, doses = planned(plan, trial.study.dose_unit)
        first = given[0] if len(given) else 0.0
        if plan.rule is not None or plan.adherence is not None:
            given = given[:0]
        nothing = np.full(len(own), np.nan)
        columns = {"dose": nothing, "actual": nothing, "nominal": nothing}
        if len(given):
            for name, at in (("actual", "time"), ("nominal", "visit_day")):
                moments = own[at].to_numpy()
                last = np.searchsorted(given, moments, side="left") - 1  # a sample at a dose's time is before it
                columns[name] = np.where(last >= 0, moments - given[last], np.nan)
                columns["dose"] = np.where(last >= 0, doses[last], np.nan)
        made = {name: pl.Series(values) for name, values in columns.items()}
        parts.append(own.with_columns(**made, first=pl.lit(first)))
    return pl.concat(parts)


def planned(arm: Arm, unit: str | None) -> tuple[np.ndarray, np.ndarray]:
    """When an arm's doses are planned, d, and how much each is in this unit, NaN without one; in the order of time."""
    given = [times(regimen, "d") for regimen in arm.regimens]
    doses = [np.full(len(own), r.dose.to(unit) if unit else np.nan) for r, own in zip(arm.regimens, given, strict=True)]
    if not given:
        return np.empty(0), np.empty(0)
    order = np.argsort(np.concatenate(given), kind="stable")
    return np.concatenate(given)[order], np.concatenate(doses)[order]


def _times(trial: VirtualTrial) -> list[Column]:
    since = (
        "Days since the dose planned last before the sample; missing before the first, and where doses are not fixed"
    )
    return [
        (
            number("NFRLT", "Nominal Rel. Time from First Dose", "Planned time of the visit less that of the dose"),
            pl.col("visit_day") - pl.col("first"),
        ),
        (
            number(
                "AFRLT", "Actual Rel. Time from First Dose", "Time of the visit less that of the first planned dose"
            ),
            pl.col("time") - pl.col("first"),
        ),
        (number("NRRLT", "Nominal Rel. Time from Ref. Dose", since), pl.col("nominal")),
        (number("ARRLT", "Actual Rel. Time from Ref. Dose", since), pl.col("actual")),
        (text("FRLTU", "Rel. Time from First Dose Unit", origin="Assigned", codelist=DAYS), pl.lit("DAYS")),
        (text("RRLTU", "Rel. Time from Ref. Dose Unit", origin="Assigned", codelist=DAYS), pl.lit("DAYS")),
        (number("DOSEP", "Planned Dose", "The dose planned last before the sample"), pl.col("dose")),
        dose_unit(trial.study.dose_unit),
    ]


def _values(trial: VirtualTrial) -> list[Column]:
    how = "The output of the model with its residual error; no limit of quantification, small values may be negative"
    return [
        (number("AVAL", "Analysis Value", how, mandatory=True), pl.col("value")),
        (text("AVALU", "Analysis Value Unit", "Unit of the output", mandatory=True), pl.col("unit")),
        (
            integer("ASEQ", "Analysis Sequence Number", "Number of the record within the subject", mandatory=True),
            pl.col("ASEQ"),
        ),
        (draw_variable(), pl.lit(trial.draw)),
    ]
