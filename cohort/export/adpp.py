"""ADPP: pharmacokinetic parameters of each subject, without a model, from the concentrations measured in it.

Of an arm with one regimen that is taken as planned: after a single dose the whole curve, of several the first interval
between doses and the last one. Times of doses that patients or a rule decide on are not in the data sets, and an
analysis would not know them.

References
----------
[1] CDISC controlled terminology, PK Parameters (C85493 names, C85839 codes).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.cdisc.dataset import Dataset
from cohort.dosing import times
from cohort.export.adeff import SUBJECT, parameter
from cohort.export.adpc import NONE, PERSON, active_arms
from cohort.export.variables import (
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
from cohort.export.virtual import VirtualTrial, in_mass, in_moles
from cohort.pharmacometrics.nca import Given, nca, nca_interval
from cohort.study import Regimen, is_mass

FEWEST = 2  # samples after the dose
SINGLE, FIRST, LAST = "Single Dose", "First Dosing Interval", "Last Dosing Interval"
VISITS = {SINGLE: 0, FIRST: 1, LAST: 2}


@dataclass(frozen=True)
class Parameter:
    """A parameter of the analysis under CDISC's code and name; its unit with `c` for that of the concentration."""

    code: str
    name: str
    unit: str


CURVE = {
    "c_max": Parameter("CMAX", "Max Conc", "c"),
    "t_max": Parameter("TMAX", "Time of CMAX", "d"),
    "c_0": Parameter("C0", "Initial Conc", "c"),
    "c_last": Parameter("CLST", "Last Nonzero Conc", "c"),
    "t_last": Parameter("TLST", "Time of Last Nonzero Conc", "d"),
    "auc_last": Parameter("AUCLST", "AUC to Last Nonzero Conc", "d*c"),
    "auc_inf": Parameter("AUCIFO", "AUC Infinity Obs", "d*c"),
    "extrapolated": Parameter("AUCPEO", "AUC %Extrapolation Obs", "%"),
    "lambda_z": Parameter("LAMZ", "Lambda z", "1/d"),
    "half_life": Parameter("LAMZHL", "Half-Life Lambda z", "d"),
    "r2_adjusted": Parameter("R2ADJ", "R Squared Adjusted", ""),
    "points": Parameter("LAMZNPT", "Number of Points for Lambda z", ""),
}
INTERVAL = {
    "c_max": CURVE["c_max"],
    "t_max": CURVE["t_max"],
    "c_min": Parameter("CMIN", "Min Conc", "c"),
    "c_trough": Parameter("CTROUGH", "Conc Trough", "c"),
    "auc_tau": Parameter("AUCTAU", "AUC Over Dosing Interval", "d*c"),
    "c_avg": Parameter("CAVG", "Average Conc", "c"),
    "fluctuation": Parameter("FLUCP", "Fluctuation%", "%"),
    "half_life": CURVE["half_life"],
}
ABSORBED = {
    "cl": Parameter("CLFO", "Total CL Obs by F", "L/d"),
    "vz": Parameter("VZFO", "Vz Obs by F", "L"),
    "mrt": Parameter("MRTEVIFO", "MRT Extravasc Infinity Obs", "d"),
}
INTRAVENOUS = {
    "cl": Parameter("CLO", "Total CL Obs", "L/d"),
    "vz": Parameter("VZO", "Vz Obs", "L"),
    "vss": Parameter("VSSO", "Vol Dist Steady State Obs", "L"),
    "mrt": Parameter("MRTIVIFO", "MRT Intravasc Infinity Obs", "d"),
}
STEADY = {
    True: Parameter("CLFTAU", "Total CL by F for Dose Int", "L/d"),
    False: Parameter("CLTAU", "Total CL for Dose Int", "L/d"),
}


def adpp(trial: VirtualTrial, adsl: Dataset) -> tuple[Dataset | None, list[str]]:
    """A row per subject, analyte, parameter and interval that could be determined. Returns what is not in it, too."""
    if not trial.concentrations:
        return None, [NONE]
    active = active_arms(trial)
    if not active:
        return None, ["no arm is given a drug"]
    absent, parts = [], []
    for arm in active:
        why = _why_not(trial, arm)
        if why:
            absent.append(f"{arm}: {why}")
            continue
        for analyte in trial.concentrations:
            parts += _analysed(trial, arm, analyte)
            regimen = trial.study.arms[arm].regimens[0]
            if _amount(trial, regimen, analyte) is None:
                unit, dosed = trial.unit(analyte), regimen.dose.unit
                absent.append(f"{arm}: no clearance, for {analyte} is in {unit} and the dose in {dosed}")
    found = pl.concat(parts) if parts else pl.DataFrame()
    if found.height == 0:
        return None, absent or ["no parameter could be determined of anybody"]
    order = {name: i for i, name in enumerate(sorted(set(found["PARAMCD"])), 1)}
    frame = with_subjects(found, adsl).with_columns(
        PARAMN=pl.col("PARAMCD").replace_strict(order, return_dtype=pl.Int64)
    )
    intervals = tuple((name, name) for name in VISITS if name in set(frame["interval"]))
    columns = [
        *copied(adsl, SUBJECT),
        *treatment(adsl),
        *copied(adsl, PERSON),
        *parameter(of_parameters(frame)),
        (text("PARCAT1", "Parameter Category 1", origin="Assigned", mandatory=True), pl.col("analyte")),
        (text("AVISIT", "Analysis Visit", origin="Assigned", codelist=intervals, mandatory=True), pl.col("interval")),
        (
            integer(
                "AVISITN",
                "Analysis Visit (N)",
                "0 of a single dose, 1 of the first interval, 2 of the last",
                mandatory=True,
            ),
            pl.col("interval").replace_strict(VISITS, return_dtype=pl.Int64),
        ),
        (
            number(
                "AVAL",
                "Analysis Value",
                "Non-compartmental, linear up and logarithmic down, of ADPC.AVAL by the subject's own times and the "
                "planned dose",
                mandatory=True,
            ),
            pl.col("value"),
        ),
        (text("AVALU", "Analysis Value Unit", "Unit of the parameter"), pl.col("unit")),
        (number("DOSEP", "Planned Dose", "The dose that the interval begins with"), pl.col("dose")),
        dose_unit(trial.study.dose_unit),
        (draw_variable(), pl.lit(trial.draw)),
    ]
    return assembled(
        "ADPP",
        "PK Parameter Analysis",
        columns,
        frame,
        keys=["STUDYID", "USUBJID", "PARAMCD", "AVISITN"],
        structure="One record per subject per analyte per parameter per dosing interval",
        kind="BASIC DATA STRUCTURE",
    ), absent


def _why_not(trial: VirtualTrial, name: str) -> str:
    """Why an arm's curves are not analysed; empty where they are."""
    arm = trial.study.arms[name]
    if arm.rule is not None:
        return "a rule sets the doses"
    if arm.adherence is not None:
        return "patients do not take the doses as planned"
    if len(arm.regimens) > 1:
        return "two regimens at once have no interval between doses"
    days = np.array([visit.to("d") for visit in trial.study.visits])
    start, end = _interval(arm.regimens[0], 0)
    if ((days > start) & (days <= end)).sum() < FEWEST:
        return f"fewer than {FEWEST} samples between doses"
    return ""


def _interval(regimen: Regimen, which: int) -> tuple[float, float]:
    """Start and end, d, of an interval between doses, 0 the first and -1 the last; a single dose's has no end."""
    given = times(regimen, "d")
    return float(given[which]), float(given[which] + regimen.every.to("d")) if len(given) > 1 else np.inf


def _analysed(trial: VirtualTrial, name: str, analyte: str) -> Iterator[pl.DataFrame]:
    """Of an arm, the parameters that could be determined, a row each."""
    regimen = trial.study.arms[name].regimens[0]
    own = (pl.col("arm") == name) & (pl.col("parameter") == analyte)
    rows = trial.tables["measurements"].filter(own).sort("subject", "visit_number")
    visits = len(trial.study.visits)
    subjects = rows["subject"].to_list()[::visits]
    values, at = (rows[c].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, visits) for c in ("value", "time"))
    treated = dict(trial.tables["subjects"].select("subject", "treatment_end").rows())
    ends = np.array([treated[s] for s in subjects])
    given, dose = _given(trial, regimen, analyte), _amount(trial, regimen, analyte)
    several = len(times(regimen, "d")) > 1
    for which, label in ((0, FIRST), (-1, LAST)) if several else ((0, SINGLE),):
        start, end = _interval(regimen, which)
        sampled = ((at > start) & (at <= end) & np.isfinite(values)).sum(axis=1)
        kept = np.flatnonzero((ends > start) & (sampled >= FEWEST))
        if not len(kept):
            continue
        about = {"start": start, "dose": dose, "given": given, "subjects": [subjects[i] for i in kept]}
        if several:
            made = nca_interval(values[kept], at[kept], tau=end - start, **about)
            told = INTERVAL | ({"cl": STEADY[given == "oral"]} if label == LAST else {})
        else:
            made = nca(values[kept], at[kept], duration=_over(regimen), **about)
            told = CURVE | (ABSORBED if given == "oral" else INTRAVENOUS)
        yield _long(trial, made, told, analyte, label, regimen)


def _over(regimen: Regimen) -> float:
    return regimen.over.to("d") if regimen.over else 0.0


def _given(trial: VirtualTrial, regimen: Regimen, analyte: str) -> Given:
    """How the analysis has to take the dose: by what the model does with it."""
    route = trial.model.routes[regimen.route]
    at_once = trial.enters(regimen.route, analyte)
    if at_once and (regimen.over is not None or route.duration or route.rate):
        return "infusion"
    return "bolus" if at_once else "oral"


def _amount(trial: VirtualTrial, regimen: Regimen, analyte: str) -> float | None:
    """The dose in the analyte's unit of concentration times litres, so that clearances are in L/d; None where the
    molar mass that it takes is not known."""
    unit, mass = trial.unit(analyte), trial.model.routes[regimen.route].molar_mass
    if not is_mass(regimen.dose):
        return None
    if (per := in_mass(unit)) is not None:
        return regimen.dose.to("mg") / per
    per = in_moles(unit)
    return None if mass is None or per is None else regimen.dose.to("g") / mass * 1e9 / per


def _long(
    trial: VirtualTrial, made: pl.DataFrame, told: dict[str, Parameter], analyte: str, label: str, regimen: Regimen
) -> pl.DataFrame:
    """A row per subject and parameter that was determined."""
    place = trial.concentrations.index(analyte)
    about, dosed, parts = trial.about(analyte), trial.study.dose_unit, []
    for name, one in told.items():
        if name not in made.columns:
            continue
        unit = one.unit.replace("c", trial.unit(analyte))
        parts.append(
            made.select(
                "subject",
                value=pl.col(name).cast(pl.Float64).fill_nan(None),
                PARAMCD=pl.lit(one.code if place == 0 else f"{one.code[:7]}{place + 1}"),
                PARAM=pl.lit(f"{one.name} of {about}" + (f" ({unit})" if unit else "")),
                unit=pl.lit(unit),
                analyte=pl.lit(about[:1].upper() + about[1:]),
                interval=pl.lit(label),
                dose=pl.lit(regimen.dose.to(dosed) if dosed else None, dtype=pl.Float64),
            )
        )
    found = pl.concat(parts)
    return found.filter(pl.col("value").is_finite())
