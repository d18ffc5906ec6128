"""Estimands: one function that handles intercurrent events, the same for tables of virtual and of real patients.

Of an event's five strategies [1], with a visit counted as after the event when its time is later than the event's:

- *treatment policy*: the value counts as it is, whether or not the event happened.
- *hypothetical*: after the event the value is what it would have been without. A real trial does not see it: it is
  left out, to be imputed. Of virtual patients it is known (`potential`) and put in its place.
- *composite*: after the event the variable takes the value that the estimand gives it, seen or not.
- *while on treatment*: after the event the variable stays at the last value seen at or before it.
- *principal stratum*: those are analysed who would have the event in no arm. Only virtual people, each of whom went
  through every arm, show it; of others a predictor known at baseline may stand for it.

A visit that was not seen counts as after every event before its window ended, for until then it might have taken place;
where no window is known, before its planned day. The truth goes by the planned day of every visit, seen or not, and an
event that began at a visit by that visit's.

Withdrawal from the study is missing data and handled as hypothetical. Where several events happen to a patient, the
earliest whose strategy is not treatment policy decides (at the same time: composite, while on treatment, hypothetical),
since what follows it is no longer the course that the estimand means. After death nothing is missing, nor is there a
value as if alive: death needs a strategy of its own, composite or while alive, which decides from then on.

References
----------
[1] ICH E9(R1) 2019, Addendum on estimands and sensitivity analysis in clinical trials, section A.3.2.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl
from pydantic import ValidationError

from cohort.study.protocol import Estimand, Handling, Strategy
from cohort.trial.allocation import TrialError
from cohort.trial.death import WHILE_ALIVE, with_death, without_deaths
from cohort.trial.known import RANK, known_of

EVENTS = ("discontinuation", "rescue", "withdrawal")
NEEDED = {"subject": pl.String, "arm": pl.String, "visit": None, "time": None, "value": None}


class EstimandError(TrialError):
    """Tables or strategies to which an estimand cannot be applied; the message lists every reason."""


def handling(events: Mapping[str, Any]) -> Handling:
    """Strategies by event, as a study file writes them. Errors: EstimandError."""
    try:
        return Handling.model_validate(dict(events), strict=True)
    except ValidationError as e:
        told = [f"events.{'.'.join(map(str, w['loc']))}: {_said(w)}" for w in e.errors()]
        raise EstimandError("\n".join(told)) from None


def _said(error: Any) -> str:
    if error["loc"][:1] == ("withdrawal",):
        return f"{error['input']!r}: who withdrew is not seen any more, this is missing data; write hypothetical"
    if error["type"] == "extra_forbidden":
        return f"is no intercurrent event; write one of {', '.join(EVENTS)}"
    return f"found {error['input']!r}; {error['msg'].removeprefix('Value error, ')}"


def apply(
    estimand: Estimand | Handling,
    measurements: pl.DataFrame,
    intercurrent: pl.DataFrame,
    *,
    potential: pl.DataFrame | None = None,
    truth: bool = False,
    stratum: pl.DataFrame | None = None,
    unit: str = "1",
    failure: float = 0.0,
    death: str | Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """Handle the intercurrent events of one variable.

    measurements: subject, arm, visit, time (d), value, a row per visit, of one parameter; value null where it was not
    seen; further columns are kept (`draw` tells trials apart, `visit_day` is the planned day, `window_end` the last on
    which the visit may take place). Visits of which a patient has no row are added, without a value. intercurrent:
    subject, event, time (d), and arm where subjects are in several. potential: as `tables` makes it, of the same
    parameter; with it, what a real trial would have to impute is put in, and with `truth` every value is the true one.
    stratum: subject, in_stratum, of a predictor. unit: of the values, for a composite number; failure: what `failure`
    is as a number; death: `while alive`, or a composite as a study file writes it, needed where somebody died.

    Returns the rows with `analysis_value`, `analysis_change` of the baseline where there is one, `analysed` (False:
    outside the population of the estimand, or of a virtual patient whose course failed), `imputable` (True: missing, or
    left out; an analysis has to impute or model it) and `reason`. Errors: EstimandError.
    """
    events = estimand.events if isinstance(estimand, Estimand) else estimand
    dying = _dying(death)
    key = [k for k in ("draw", "arm", "subject") if k in measurements.columns]
    _check(measurements, intercurrent, key, events, dying, potential, truth)
    rows = _completed(measurements, key, truth)
    deaths, intercurrent = intercurrent, without_deaths(intercurrent, key)
    strategies = {"discontinuation": events.discontinuation, "rescue": events.rescue}
    strategies = {name: plan for name, plan in strategies.items() if plan is not None}
    strategies["withdrawal"] = Strategy(strategy="hypothetical")
    excluded = _outside(strategies, rows, intercurrent, key, stratum, potential)
    decisive = _decisive(strategies, intercurrent, key, unit, failure)
    if truth:
        decisive = _as_planned(decisive, rows, key)
    on = [k for k in key if k in decisive.columns]
    rows = rows.join(decisive, on=on, how="left", maintain_order="left")
    after = pl.col("_at").is_not_null() & (pl.col("_time") > pl.col("_at"))
    before = pl.when(~after.fill_null(False)).then(pl.col("value"))
    rows = rows.with_columns(
        _after=after.fill_null(False),
        _last=before.forward_fill().over(key, order_by="_time"),
    )
    at = pl.col("_after")
    kind = pl.when(at).then(pl.col("_kind"))
    value = (
        pl.when(kind == "composite")
        .then(pl.col("_value"))
        .when(kind == "while on treatment")
        .then(pl.col("_last"))
        .when(kind == "hypothetical")
        .then(None)
        .otherwise(pl.col("value"))
    )
    missing = pl.col("missing") if "missing" in rows.columns else pl.lit(None, dtype=pl.String)
    rows = rows.with_columns(
        analysis_value=value.cast(pl.Float64),
        analysed=pl.lit(True),
        reason=pl.when(kind == "hypothetical")
        .then("hypothetical: " + pl.col("_event"))
        .when(kind == "composite")
        .then("composite: " + pl.col("_event"))
        .when((kind == "while on treatment") & pl.col("_last").is_not_null())
        .then("last value before " + pl.col("_event"))
        .when(pl.col("value").is_null())
        .then("missing: " + missing.fill_null("not seen"))
        .otherwise(pl.lit("observed")),
    )
    rows = with_death(rows, deaths, dying, key, _number(dying, unit, failure) if dying else None)
    rows = rows.with_columns(imputable=pl.col("analysis_value").is_null())
    if potential is not None:
        numbers = {name: _number(plan, unit, failure) for name, plan in strategies.items()}
        rows = known_of(rows, potential, strategies, key, truth, numbers)
    if excluded is not None:
        on = [k for k in key if k in excluded.columns]
        rows = (
            rows.join(excluded.with_columns(_out=True), on=on, how="left", maintain_order="left")
            .with_columns(
                analysed=pl.col("_out").is_null(),
                imputable=pl.col("imputable") & pl.col("_out").is_null(),
                analysis_value=pl.when(pl.col("_out").is_null()).then(pl.col("analysis_value")),
                reason=pl.when(pl.col("_out").is_null())
                .then("reason")
                .otherwise(pl.lit("outside the principal stratum")),
            )
            .drop("_out")
        )
    if "missing" in rows.columns:
        failed = _failed(key)
        rows = rows.with_columns(
            analysis_value=pl.when(~failed).then(pl.col("analysis_value")),
            analysed=pl.col("analysed") & ~failed,
            imputable=pl.col("imputable") & ~failed,
            reason=pl.when(failed).then(pl.lit("failed: the course was not solved")).otherwise("reason"),
        )
    rows = rows.drop("_time", "_at", "_event", "_kind", "_value", "_after", "_last")
    if "baseline" in rows.columns:
        rows = rows.with_columns(analysis_change=pl.col("analysis_value") - pl.col("baseline"))
    return rows


def _check(
    rows: pl.DataFrame,
    events: pl.DataFrame,
    key: list[str],
    handled: Handling,
    dying: Strategy | None,
    potential: pl.DataFrame | None,
    truth: bool,
) -> None:
    wrong = [f"measurements have no column {name!r}; add it" for name in NEEDED if name not in rows.columns]
    wrong += [f"intercurrent has no column {n!r}; add it" for n in ("subject", "event", "time") if n not in events]
    if wrong:
        raise EstimandError("\n".join(wrong))
    if rows.height == 0:
        wrong.append("measurements have no rows; give at least one subject")
    for table, name in ((rows, "value"), (rows, "time"), (events, "time")):
        if not table[name].dtype.is_numeric() and table.height and table[name].null_count() < table.height:
            wrong.append(f"column {name!r} holds {table[name].dtype}; write numbers")
        elif table.height and table[name].cast(pl.Float64).drop_nulls().is_finite().not_().any():
            wrong.append(f"column {name!r} holds a NaN or an infinity; write null for what was not seen")
    if events["time"].null_count():
        who = events.filter(pl.col("time").is_null())["subject"].unique(maintain_order=True).to_list()
        wrong.append(f"intercurrent: no time of {', '.join(map(str, who[:5]))}; write one, or leave the row out")
    if "parameter" in rows.columns and rows["parameter"].n_unique() > 1:
        wrong.append("measurements are of several parameters; filter one, for an estimand has one variable")
    for who, visit in rows.filter(pl.struct(*key, "visit").is_duplicated()).select("subject", "visit").head(5).rows():
        wrong.append(f"subject {who}, visit {visit!r} stands twice; keep one")
    for event in events["event"].unique(maintain_order=True).to_list():
        if event == "death":
            who = ", ".join(map(str, events.filter(pl.col("event") == "death")["subject"].unique().sort().head(5)))
            if dying is None:
                advice = f"give apply death: a composite, or {WHILE_ALIVE!r}"
                wrong.append(f"intercurrent: death of {who}, whose values after it are not missing; {advice}")
            elif potential is not None:
                wrong.append(f"intercurrent: death of {who}, but virtual patients do not die; leave out potential")
        elif event not in EVENTS:
            wrong.append(f"intercurrent: {event!r} is no such event; write one of {', '.join(EVENTS)}")
        elif getattr(handled, event) is None:
            wrong.append(f"the estimand has no strategy for {event}, which happened; add {event}: treatment policy")
    strangers = events.join(rows, on=[k for k in key if k in events.columns], how="anti")["subject"].unique().sort()
    if len(strangers):
        wrong.append(f"intercurrent: no measurements of {', '.join(map(str, strangers.head(5)))}; give their rows")
    if "arm" not in events.columns and rows.select("subject", "arm").unique()["subject"].is_duplicated().any():
        wrong.append("subjects are in several arms: intercurrent needs the column arm")
    if potential is None and truth:
        wrong.append("the truth is known of virtual patients only; give their table `potential`")
    if wrong:
        raise EstimandError("\n".join(wrong))


def _dying(death: str | Mapping[str, Any] | None) -> Strategy | None:
    """The strategy for death. Errors: EstimandError."""
    if death is None or death == WHILE_ALIVE:
        return None if death is None else Strategy(strategy="while on treatment")
    try:
        plan = Strategy.model_validate(death, strict=True)
    except ValidationError as e:
        told = "; ".join(str(w["msg"]).removeprefix("Value error, ") for w in e.errors())
        raise EstimandError(f"death: found {death!r}; {told}") from None
    if plan.strategy != "composite":
        raise EstimandError(f"death: {plan.strategy!r} is of the living; write {WHILE_ALIVE!r}, or a composite")
    return plan


def _failed(key: list[str]) -> pl.Expr:
    """Whether the engine failed a virtual patient, in rows with `missing` as `tables` writes it."""
    return (pl.col("missing") == "failed").any().over(key).fill_null(False)


def _as_planned(decisive: pl.DataFrame, rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The decisive events, those that began at a visit at its planned day, which is `_time` of the rows."""
    on = [k for k in key if k in decisive.columns]
    visits = rows.drop_nulls("time").group_by(*on, _at=pl.col("time").cast(pl.Float64)).agg(_day=pl.col("_time").min())
    moved = decisive.join(visits, on=[*on, "_at"], how="left", maintain_order="left")
    return moved.with_columns(_at=pl.coalesce("_day", "_at")).drop("_day")


def _completed(rows: pl.DataFrame, key: list[str], truth: bool) -> pl.DataFrame:
    """A row for every subject and visit, and `_time`: when it took place, or where it did not its window ended; the
    planned day of each in the truth."""
    planned = pl.col("visit_day") if "visit_day" in rows.columns else pl.col("time")
    ends = pl.col("window_end") if "window_end" in rows.columns else planned
    usual = rows.group_by("visit", maintain_order=True).agg(
        _planned=planned.median().cast(pl.Float64), _end=ends.median().cast(pl.Float64)
    )
    grid = rows.select(key).unique(maintain_order=True).join(usual, how="cross", maintain_order="left")
    kept = grid.join(rows, on=[*key, "visit"], how="left", maintain_order="left")
    same = [c for c in ("baseline", "parameter", "unit") if c in rows.columns]  # of a patient's every row
    kept = kept.with_columns(pl.col(c).fill_null(pl.col(c).drop_nulls().first().over(key)) for c in same)
    unseen = pl.max_horizontal("_planned", "_end")
    at = pl.col("_planned") if truth else pl.coalesce(pl.col("time").cast(pl.Float64), unseen)
    return kept.with_columns(_time=at).drop("_planned", "_end")


def _outside(
    strategies: Mapping[str, Strategy],
    rows: pl.DataFrame,
    events: pl.DataFrame,
    key: list[str],
    stratum: pl.DataFrame | None,
    potential: pl.DataFrame | None,
) -> pl.DataFrame | None:
    """Who is not in the principal stratum, by subject (and draw); None where no event asks for one."""
    asking = [name for name, plan in strategies.items() if plan.strategy == "principal stratum"]
    if not asking:
        return None
    if stratum is not None:
        missing = rows.select("subject").unique().join(stratum, on="subject", how="anti")["subject"].sort()
        if len(missing) or stratum["in_stratum"].null_count():
            raise EstimandError(f"stratum: unknown of {', '.join(missing.head(5)) or 'some subjects'}; fill it in")
        return stratum.filter(~pl.col("in_stratum")).select("subject")
    person = [k for k in key if k != "arm"]
    arms = rows["arm"].n_unique()
    in_all = rows.group_by(person).agg(n=pl.col("arm").n_unique())
    if (in_all["n"] < arms).any():
        raise EstimandError(
            f"principal stratum by {', '.join(asking)}: not identifiable, for a subject's course is known in one arm "
            "only; give a predictor known at baseline (stratum), or tables in which everyone goes through every arm"
        )
    had = [events.filter(pl.col("event").is_in(asking)).select(person)]
    if "missing" in rows.columns:  # of whom the engine failed it is not known
        had.append(rows.filter(_failed(key)).select(person))
    if potential is not None:  # also who would have had it after withdrawing
        flags = {"discontinuation": "discontinued", "rescue": "rescued"}
        had += [potential.filter(flags[name]).select(person) for name in asking]
    return pl.concat(had).unique(maintain_order=True)


def _decisive(
    strategies: Mapping[str, Strategy], events: pl.DataFrame, key: list[str], unit: str, failure: float
) -> pl.DataFrame:
    """Of each patient the earliest event that changes what counts: when, which, its strategy, a composite's value."""
    plans = [
        (name, plan.strategy, RANK[plan.strategy], _number(plan, unit, failure))
        for name, plan in strategies.items()
        if plan.strategy in RANK
    ]
    schema = {"event": pl.String, "_kind": pl.String, "_rank": pl.Int32, "_value": pl.Float64}
    table = pl.DataFrame(plans, schema=schema, orient="row")
    on = [k for k in key if k in events.columns]
    return (
        events.with_columns(pl.col("event").cast(pl.String))
        .join(table, on="event", how="inner")
        .sort("time", "_rank")
        .group_by(on, maintain_order=True)
        .first()
        .select(*on, "_kind", "_value", _at=pl.col("time").cast(pl.Float64), _event="event")
    )


def _number(plan: Strategy, unit: str, failure: float) -> float | None:
    if plan.value is None or isinstance(plan.value, str):
        return None if plan.value is None else failure
    try:
        return plan.value.to(unit)
    except ValueError:
        raise EstimandError(f"composite: '{plan.value}' is not in {unit}, the unit of the values") from None
