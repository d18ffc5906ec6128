"""Real trials' ADaM data sets in the columns that `apply` takes: a BDS and the ADSL beside it.

References
----------
[1] CDISC ADaM Implementation Guide 1.3: ADSL (USUBJID, TRTSDT, TRTEDT, EOTSTT, DCTREAS, EOSDT, EOSSTT, DCSREAS, DTHDT,
    DTHFL), BDS (PARAMCD, AVISIT, ADY, AVAL, BASE, CHG, AWTARGET, AWHI). ADY has no day 0: the day of the first dose is
    1, the day before it -1; AWTARGET and AWHI, where a visit's window is aimed and ends, count as it does.
"""

import polars as pl

from cohort.trial.estimand import EstimandError

BDS = ("USUBJID", "PARAMCD", "AVISIT", "ADY", "AVAL")
ADSL = ("USUBJID", "TRTSDT", "TRTEDT")
STATES = ("COMPLETED", "DISCONTINUED", "ONGOING")
REASONS = ("DCSREAS", "DCDECOD", "DCREASCD")  # why a subject left the study, whichever is there, in this order
ENDS = ("EOSDT", "RFENDT", "RFENDTC")  # the end of the study of a subject, whichever is there, in this order


def measurements(bds: pl.DataFrame, parameter: str, *, visits: list[str] | None = None) -> pl.DataFrame:
    """The rows of one PARAMCD as subject, arm, visit, time (d since the first dose), value, baseline, change; with
    AWTARGET and AWHI in days also visit_day and window_end.

    Imputed rows (DTYPE filled in, such as LOCF) are left out: an estimand decides what stands for what was not seen.
    Of several rows for a subject and visit the one flagged ANL01FL is taken. `visits`: those of the AVISIT to keep, all
    that are not empty if left out. Errors: EstimandError for missing columns and for repeated visits.
    """
    arm = next((c for c in ("TRTP", "TRTA", "ARM") if c in bds.columns), None)
    missing = [c for c in BDS if c not in bds.columns] + ([] if arm else ["TRTP"])
    if missing or arm is None:
        raise EstimandError(f"the BDS has no {', '.join(missing)}; add the column")
    rows = bds.filter(pl.col("PARAMCD") == parameter, pl.col("AVISIT").is_not_null())
    if rows.height == 0:
        known = ", ".join(sorted(bds["PARAMCD"].unique().drop_nulls().to_list())[:20])
        raise EstimandError(f"the BDS has no rows with PARAMCD {parameter!r}; it has {known}")
    if "DTYPE" in rows.columns:
        rows = rows.filter(pl.col("DTYPE").is_null() | (pl.col("DTYPE").cast(pl.String) == ""))
    if "ANL01FL" in rows.columns:
        rows = rows.filter(pl.col("ANL01FL") == "Y")
    if visits is not None:
        rows = rows.filter(pl.col("AVISIT").is_in(visits))
    units = set(rows["AWU"].drop_nulls().unique()) if "AWU" in rows.columns else set()
    windows = {"visit_day": "AWTARGET", "window_end": "AWHI"} if units <= {"DAYS", "DAY"} else {}
    made = rows.select(
        subject=pl.col("USUBJID").cast(pl.String),
        arm=pl.col(arm),
        visit=pl.col("AVISIT"),
        time=_since_first_dose("ADY"),
        parameter=pl.col("PARAMCD"),
        value=pl.col("AVAL").cast(pl.Float64),
        baseline=(pl.col("BASE") if "BASE" in rows.columns else pl.lit(None)).cast(pl.Float64),
        change=(pl.col("CHG") if "CHG" in rows.columns else pl.lit(None)).cast(pl.Float64),
        **{name: _since_first_dose(column) for name, column in windows.items() if column in rows.columns},
    )
    twice = made.filter(pl.struct("subject", "visit").is_duplicated())
    if twice.height:
        who, visit = twice.select("subject", "visit").row(0)
        raise EstimandError(f"subject {who} has more than one row at {visit!r}; flag the one analysed by ANL01FL")
    return made


def intercurrent(adsl: pl.DataFrame, seen: pl.DataFrame, *, planned: float | None = None) -> pl.DataFrame:
    """What happened to each subject in `seen`, measurements as above: subject, arm, event, time (d), reason.

    - *discontinuation* of treatment, at TRTEDT, of whom EOTSTT says so. `planned`: for an ADSL without EOTSTT, for how
      long treatment was planned (d); whose TRTEDT is sooner discontinued it.
    - *withdrawal* from the study, of whom EOSSTT says so, else DISCONFL or a DCSREAS, at its end or with the last
      measurement where that is later: what was measured after treatment stays.
    - *death*, of DTHFL = Y, at DTHDT or, where death is the reason of leaving, at the end of the study. It is neither
      of the other two.

    ONGOING is no event: these are censored at the data cut. Errors: EstimandError, with every column, date and status
    that is missing.
    """
    end = next((c for c in ENDS if c in adsl.columns), None)
    state = next((c for c in ("EOSSTT", "DISCONFL", "DCSREAS") if c in adsl.columns), None)
    told = "EOTSTT" in adsl.columns
    missing = [c for c in ADSL if c not in adsl.columns] + ([] if end else ["EOSDT"]) + ([] if state else ["EOSSTT"])
    wrong = [f"the ADSL has no {', '.join(missing)}; add the column"] if missing else []
    if not told and planned is None:
        wrong.append("the ADSL has no EOTSTT; add it, or give planned, for how many days treatment was")
    if wrong or end is None or state is None:
        raise EstimandError("\n".join(wrong))
    why = next((c for c in REASONS if c in adsl.columns), "")
    last = seen.group_by("subject", "arm", maintain_order=True).agg(
        _last=pl.col("time").filter(pl.col("value").is_not_null()).max()
    )
    people = last.join(
        adsl.select(
            subject=pl.col("USUBJID").cast(pl.String),
            study=_status(adsl, state),
            treatment=_status(adsl, "EOTSTT"),
            stop=_day(adsl, "TRTEDT"),
            end=_day(adsl, end),
            death=_day(adsl, "DTHDT"),
            died=_text(adsl, "DTHFL").eq_missing("Y"),
            why_stopped=_text(adsl, "DCTREAS" if "DCTREAS" in adsl.columns else why),
            why_left=_text(adsl, why),
            listed=True,
        ),
        on="subject",
        how="left",
        maintain_order="left",
    )
    of_death = pl.col("why_left").str.to_uppercase() == "DEATH"
    people = people.with_columns(end=pl.max_horizontal("end", "_last"))
    people = people.with_columns(death=pl.coalesce("death", pl.when(of_death).then("end")))
    if not told:
        early = pl.when(pl.col("stop") < planned).then(pl.lit("DISCONTINUED"))
        on = (pl.col("study") == "ONGOING") & pl.col("stop").is_null()
        people = people.with_columns(treatment=early.when(on | (pl.col("stop") >= planned)).then(pl.lit("COMPLETED")))
    _check(people, state, told)
    by_death = {why: pl.col(why).str.to_uppercase().eq_missing("DEATH") for why in ("why_stopped", "why_left")}
    died, sooner = pl.col("died"), pl.col("end") < pl.col("death")
    stopped = (pl.col("treatment") == "DISCONTINUED") & ~(died & by_death["why_stopped"])
    left = (pl.col("study") == "DISCONTINUED") & (~died | (sooner & ~by_death["why_left"]))
    found = {
        "discontinuation": (stopped, "stop", "why_stopped"),
        "withdrawal": (left, "end", "why_left"),
        "death": (died, "death", "why_left"),
    }
    parts = [
        people.filter(who).select("subject", "arm", event=pl.lit(event), time=pl.col(time), reason=pl.col(reason))
        for event, (who, time, reason) in found.items()
    ]
    return pl.concat(parts).sort("subject", "time", "event")


def _since_first_dose(column: str) -> pl.Expr:
    day = pl.col(column).cast(pl.Float64)
    return pl.when(day > 0).then(day - 1).otherwise(day)


def _text(adsl: pl.DataFrame, column: str) -> pl.Expr:
    """A column's text without blanks around it, null where it is empty or there is none."""
    if column not in adsl.columns:
        return pl.lit(None, dtype=pl.String)
    stripped = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def _status(adsl: pl.DataFrame, column: str) -> pl.Expr:
    """One of STATES by a status, a flag of discontinuation, or the reason of one, which completers lack."""
    text = _text(adsl, column).str.to_uppercase()
    if column not in ("DISCONFL", "DCSREAS"):
        return text
    left = text == "Y" if column == "DISCONFL" else text.is_not_null() & (text != "COMPLETED")
    return pl.when(left).then(pl.lit("DISCONTINUED")).otherwise(pl.lit("COMPLETED"))


def _day(adsl: pl.DataFrame, column: str) -> pl.Expr:
    """A date in days since the first dose."""
    date, first = (_text(adsl, c).str.slice(0, 10).str.to_date(strict=False) for c in (column, "TRTSDT"))
    return (date - first).dt.total_days().cast(pl.Float64)


def _check(people: pl.DataFrame, state: str, told: bool) -> None:
    """Errors: EstimandError for whom it cannot be told what happened, or when."""
    known = pl.col("listed").is_not_null()
    stopped, unsure = pl.col("treatment") == "DISCONTINUED", pl.col("study") == "ONGOING"
    faults = {
        "no row in the ADSL of {}; add it": ~known,
        f"no {state} of {{}}; write {', '.join(STATES)}": known & pl.col("study").is_in(STATES).not_().fill_null(True),
        "no date of death of {}; add DTHDT": pl.col("died") & pl.col("death").is_null(),
        "{} died before what was measured last; mend DTHDT": pl.col("died") & (pl.col("_last") > pl.col("death")),
    }
    if told:
        faults |= {
            f"no EOTSTT of {{}}; write {', '.join(STATES)}": known
            & pl.col("treatment").is_in(STATES).not_().fill_null(True),
            "no last day of treatment of {}; add TRTSDT and TRTEDT": stopped & pl.col("stop").is_null(),
        }
    else:
        faults |= {
            "no last day of treatment of {}; add TRTSDT and TRTEDT": known & pl.col("treatment").is_null(),
            "{} goes on in the study, and whether in treatment cannot be told from TRTEDT; add EOTSTT": unsure
            & stopped,
        }
    wrong = []
    for message, who in faults.items():
        found = people.filter(who)["subject"].unique().sort().head(5).to_list()
        wrong += [message.format(", ".join(found))] if found else []
    if people["subject"].is_duplicated().any():
        wrong.append("the ADSL or the arms have subjects twice; keep one row of each")
    if wrong:
        raise EstimandError("\n".join(wrong))
