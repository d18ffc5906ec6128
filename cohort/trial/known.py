"""What is known of virtual patients in the place of what a trial did not see of them."""

from collections.abc import Mapping

import polars as pl

from cohort.study.protocol import Strategy

RANK = {"composite": 0, "while on treatment": 1, "hypothetical": 2}  # which decides of events at the same time


def known_of(
    rows: pl.DataFrame,
    potential: pl.DataFrame,
    strategies: Mapping[str, Strategy],
    key: list[str],
    truth: bool,
    numbers: Mapping[str, float | None],
) -> pl.DataFrame:
    """The rows with what is known in the place of what was not seen, or with `truth` of every value.

    Whether a patient had stopped treatment goes by the moment at which the visit would have taken place, and in the
    truth by the day planned for it, so that the truth does not depend on when and whether patients were seen. Rescue
    begins at a visit, and what comes after it is the same by either.
    """
    handled = {name: plan.strategy for name, plan in strategies.items()}
    without = {name for name in ("discontinuation", "rescue") if handled.get(name) == "hypothetical"}
    worlds = {(): "lived", ("discontinuation",): "without_discontinuation", ("rescue",): "without_rescue"}
    end = "_true" if truth else ""
    world = worlds.get(tuple(sorted(without)), "without_either") + end
    flags = {"discontinuation": "discontinued_by_planned_day" if truth else "discontinued", "rescue": "rescued"}
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
