"""Real trials' ADaM data sets in the columns that `apply` takes: a BDS and the ADSL beside it.

References
----------
[1] CDISC ADaM Implementation Guide 1.3: ADSL (USUBJID, TRTSDT, TRTEDT, EOSDT), BDS (PARAMCD, AVISIT, ADY, AVAL, BASE,
    CHG). ADY has no day 0: the day of the first dose is 1, the day before it -1.
"""

import polars as pl

from cohort.trial.estimand import EstimandError

BDS = ("USUBJID", "PARAMCD", "AVISIT", "ADY", "AVAL")
ADSL = ("USUBJID", "TRTSDT", "TRTEDT")
ENDS = ("EOSDT", "RFENDT", "RFENDTC")  # the end of the study of a subject, whichever is there, in this order


def measurements(bds: pl.DataFrame, parameter: str, *, visits: list[str] | None = None) -> pl.DataFrame:
    """The rows of one PARAMCD as subject, arm, visit, time (d since the first dose), value, baseline, change.

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
    day = pl.col("ADY").cast(pl.Float64)
    made = rows.select(
        subject=pl.col("USUBJID").cast(pl.String),
        arm=pl.col(arm),
        visit=pl.col("AVISIT"),
        time=pl.when(day > 0).then(day - 1).otherwise(day),
        parameter=pl.col("PARAMCD"),
        value=pl.col("AVAL").cast(pl.Float64),
        baseline=(pl.col("BASE") if "BASE" in rows.columns else pl.lit(None)).cast(pl.Float64),
        change=(pl.col("CHG") if "CHG" in rows.columns else pl.lit(None)).cast(pl.Float64),
    )
    twice = made.filter(pl.struct("subject", "visit").is_duplicated())
    if twice.height:
        who, visit = twice.select("subject", "visit").row(0)
        raise EstimandError(f"subject {who} has more than one row at {visit!r}; flag the one analysed by ANL01FL")
    return made


def intercurrent(adsl: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Discontinuation and withdrawal of each subject in `seen`, measurements as above: subject, arm, event, time (d).

    Who completed the study (DISCONFL empty, or EOSSTT = COMPLETED) has neither. Others discontinued treatment at its
    last day, TRTEDT, and withdrew at the end of their study, or with their last measurement where that is later: what
    was measured after treatment stays. Errors: EstimandError.
    """
    missing = [c for c in ADSL if c not in adsl.columns]
    end = next((c for c in ENDS if c in adsl.columns), None)
    state = next((c for c in ("EOSSTT", "DISCONFL") if c in adsl.columns), None)
    missing += ([] if end else ["EOSDT"]) + ([] if state else ["EOSSTT"])
    if missing or end is None or state is None:
        raise EstimandError(f"the ADSL has no {', '.join(missing)}; add the column")
    left = pl.col(state) == "Y" if state == "DISCONFL" else pl.col(state) != "COMPLETED"

    def day(column: str) -> pl.Expr:
        text = pl.col(column).cast(pl.String).str.slice(0, 10).str.to_date(strict=False)
        start = pl.col("TRTSDT").cast(pl.String).str.slice(0, 10).str.to_date(strict=False)
        return (text - start).dt.total_days().cast(pl.Float64)

    last = seen.filter(pl.col("value").is_not_null()).group_by("subject", "arm").agg(_last=pl.col("time").max())
    people = (
        adsl.filter(left)
        .select(subject=pl.col("USUBJID").cast(pl.String), _stop=day("TRTEDT"), _end=day(end))
        .join(last, on="subject", how="inner", maintain_order="left")
        .with_columns(_end=pl.max_horizontal("_end", "_last"))
    )
    parts = [
        people.select("subject", "arm", event=pl.lit(event), time=pl.col(column)).drop_nulls("time")
        for event, column in (("discontinuation", "_stop"), ("withdrawal", "_end"))
    ]
    return pl.concat(parts).sort("subject", "time", "event")
