"""Death in an estimand: of the dead nothing is missing, and nothing stands for what they would have had alive."""

import polars as pl

from cohort.study.protocol import Strategy

WHILE_ALIVE = "while alive"


def without_deaths(events: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The events other than death, without the withdrawals of who died: a death that is known is no missing data."""
    events = events.with_columns(pl.col("event").cast(pl.String))
    dead = events.filter(pl.col("event") == "death").select([k for k in key if k in events.columns])
    left = dead.unique().with_columns(event=pl.lit("withdrawal"))
    return events.filter(pl.col("event") != "death").join(left, on=left.columns, how="anti", maintain_order="left")


def with_death(
    rows: pl.DataFrame, events: pl.DataFrame, plan: Strategy | None, key: list[str], number: float | None
) -> pl.DataFrame:
    """The rows with what counts after a death, whatever happened before it.

    `rows` have `_time`, `analysis_value` and `reason`. The variable takes the composite's `number` or, while alive, is
    what it was last before the death.
    """
    if plan is None:
        return rows
    on = [k for k in key if k in events.columns]
    died = events.filter(pl.col("event") == "death").group_by(on).agg(_death=pl.col("time").min().cast(pl.Float64))
    rows = rows.join(died, on=on, how="left", maintain_order="left")
    dead = (pl.col("_time") > pl.col("_death")).fill_null(False)
    alive = pl.when(~dead).then(pl.col("analysis_value")).forward_fill().over(key, order_by="_time")
    value, told = (alive, "last value before death") if number is None else (pl.lit(number), "composite: death")
    return rows.with_columns(
        analysis_value=pl.when(dead).then(value).otherwise("analysis_value"),
        reason=pl.when(dead).then(pl.lit(told)).otherwise("reason"),
    ).drop("_death")
