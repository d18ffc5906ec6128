"""Estimands: one function that handles intercurrent events, the same for tables of virtual and of real patients.

Of an event's five strategies [1], with a visit counted as after the event when its time is later than the event's:

- *treatment policy*: the value counts as it is, whether or not the event happened.
- *hypothetical*: after the event the value is what it would have been without. A real trial does not see it: it is
  left out, to be imputed. Of virtual patients it is known (`potential`) and put in its place.
- *composite*: after the event the variable takes the value that the estimand gives it, seen or not.
- *while on treatment*: after the event the variable stays at the last value seen at or before it.
- *principal stratum*: those are analysed who would have the event in no arm. Only virtual people, each of whom went
  through every arm, show it; of others a predictor known at baseline may stand for it.

Withdrawal from the study is missing data and handled as hypothetical. Where several events happen to a patient, the
earliest whose strategy is not treatment policy decides (at the same time: composite, while on treatment, hypothetical),
since what follows it is no longer the course that the estimand means.

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

EVENTS = ("discontinuation", "rescue", "withdrawal")
RANK = {"composite": 0, "while on treatment": 1, "hypothetical": 2}
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
) -> pl.DataFrame:
    """Handle the intercurrent events of one variable.

    measurements: subject, arm, visit, time (d), value, a row per visit, of one parameter; value null where it was not
    seen; further columns are kept (`draw` tells trials apart, `visit_day` is the planned time). Visits of which a
    patient has no row are added, without a value. intercurrent: subject, event, time (d), and arm where subjects are in
    several. potential: as `tables` makes it, of the same parameter; with it, what a real trial would have to impute is
    put in, and with `truth` every value is the true one. stratum: subject, in_stratum, of a predictor. unit: of the
    values, for a composite number; failure: what `failure` is as a number.

    Returns the rows with `analysis_value`, `analysis_change` of the baseline where there is one, `analysed` (False:
    outside the population of the estimand), `imputable` (True: missing, or left out; an analysis has to impute or model
    it) and `reason`. Errors: EstimandError.
    """
    events = estimand.events if isinstance(estimand, Estimand) else estimand
    key = [k for k in ("draw", "arm", "subject") if k in measurements.columns]
    _check(measurements, intercurrent, key, events, potential, truth)
    rows = _completed(measurements, key)
    strategies = {"discontinuation": events.discontinuation, "rescue": events.rescue}
    strategies = {name: plan for name, plan in strategies.items() if plan is not None}
    strategies["withdrawal"] = Strategy(strategy="hypothetical")
    excluded = _outside(strategies, rows, intercurrent, key, stratum, potential)
    decisive = _decisive(strategies, intercurrent, key, unit, failure)
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
    ).with_columns(imputable=pl.col("analysis_value").is_null())
    if potential is not None:
        numbers = {name: _number(plan, unit, failure) for name, plan in strategies.items()}
        rows = _known(rows, potential, strategies, key, truth, numbers)
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
    rows = rows.drop("_time", "_at", "_event", "_kind", "_value", "_after", "_last")
    if "baseline" in rows.columns:
        rows = rows.with_columns(analysis_change=pl.col("analysis_value") - pl.col("baseline"))
    return rows


def _check(
    rows: pl.DataFrame,
    events: pl.DataFrame,
    key: list[str],
    handled: Handling,
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
        if event not in EVENTS:
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


def _completed(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """A row for every subject and visit, and `_time`: when it took place, or was planned."""
    planned = pl.col("visit_day") if "visit_day" in rows.columns else pl.col("time")
    usual = rows.group_by("visit", maintain_order=True).agg(_planned=planned.median().cast(pl.Float64))
    grid = rows.select(key).unique(maintain_order=True).join(usual, how="cross", maintain_order="left")
    kept = grid.join(rows, on=[*key, "visit"], how="left", maintain_order="left")
    same = [c for c in ("baseline", "parameter", "unit") if c in rows.columns]  # of a patient's every row
    kept = kept.with_columns(pl.col(c).fill_null(pl.col(c).drop_nulls().first().over(key)) for c in same)
    return kept.with_columns(_time=pl.coalesce(pl.col("time").cast(pl.Float64), "_planned")).drop("_planned")


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


def _known(
    rows: pl.DataFrame,
    potential: pl.DataFrame,
    strategies: Mapping[str, Strategy],
    key: list[str],
    truth: bool,
    numbers: Mapping[str, float | None],
) -> pl.DataFrame:
    """With what is known of virtual patients in the place of what was not seen, or with `truth` of every value."""
    handled = {name: plan.strategy for name, plan in strategies.items()}
    without = {name for name in ("discontinuation", "rescue") if handled.get(name) == "hypothetical"}
    worlds = {(): "lived", ("discontinuation",): "without_discontinuation", ("rescue",): "without_rescue"}
    end = "_true" if truth else ""
    world = worlds.get(tuple(sorted(without)), "without_either") + end
    flags = {"discontinuation": "discontinued", "rescue": "rescued"}
    flags["rescue"] = "rescued_without_discontinuation" if "discontinuation" in without else "rescued"
    on = [*key, "visit_number"]
    columns = potential.select(*on, _world=world, **{f"_{name}": flag for name, flag in flags.items()})
    wide = rows.join(columns, on=on, how="left", maintain_order="left", validate="1:1")
    known = pl.col("_world")
    # What happens after the patient was last seen decides as well: the first event first, a composite one at a tie.
    ending = [name for name in flags if handled.get(name) in ("composite", "while on treatment")]
    first = {n: pl.col("visit_number").filter(pl.col(f"_{n}")).min().over(key) for n in ending}
    for name in sorted(ending, key=lambda n: RANK[handled[n]], reverse=True):
        flag = pl.col(f"_{name}")
        for other in ending:
            if other != name:
                sooner = first[other] < first[name] if RANK[handled[name]] == 0 else first[other] <= first[name]
                flag = flag & ~sooner.fill_null(False)
        held = pl.when(~pl.col(f"_{name}")).then(pl.col("_world")).forward_fill().over(key, order_by="visit_number")
        value = pl.lit(numbers[name]) if handled[name] == "composite" else held
        known = pl.when(flag).then(value).otherwise(known)
    wide = wide.with_columns(_known=known)
    if truth:
        kind = pl.when(pl.col("_after")).then(pl.col("_kind"))
        before = pl.when(~pl.col("_after")).then(pl.col("_world")).forward_fill().over(key, order_by="_time")
        filled = (
            pl.when(kind == "composite")
            .then(pl.col("_value"))
            .when(kind == "while on treatment")
            .then(before)
            .otherwise(pl.col("_known"))
        )
    else:
        filled = pl.coalesce("analysis_value", "_known")
    wide = wide.with_columns(_filled=filled)
    return wide.with_columns(
        reason=pl.when(pl.col("imputable") & pl.col("_filled").is_not_null())
        .then(pl.col("reason") + ", known of virtual patients")
        .otherwise("reason"),
        imputable=pl.col("_filled").is_null(),
        analysis_value=pl.col("_filled"),
    ).drop("_world", "_known", "_filled", *(f"_{name}" for name in flags))
