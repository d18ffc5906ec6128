"""People, courses and trials that were never enrolled, allocated or simulated are found, whoever is drawn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from forging import ARM, VICTIM, Lines, forged, rewritten, state

from cohort.provenance import again, rows
from cohort.provenance.manifest import read_manifest
from cohort.provenance.same import compared
from cohort.provenance.verify import Verdict, verify
from cohort.record import canonical

GHOST = "0099999"
faults = pytest.mark.faults


def lanes_told(copy: Path, more: int = 0) -> dict[str, Any]:
    """The failures of a manifest in which an arm has so many lanes more."""
    told = {k: v.model_dump() for k, v in read_manifest(copy).failures.items()}
    told[Path(ARM).stem]["patients"] += more
    return {"failures": told}


def asked(folder: Path) -> Verdict:
    """One patient again who was not touched."""
    return verify(folder, patients=0, subjects=["0000001"])


# ---------------------------------------------------------------------------------------------------------- people


@faults
@pytest.mark.parametrize("ghost", [VICTIM, GHOST, "x", "0000000"])
def test_people_beyond_those_enrolled_are_found(copy: Path, ghost: str):
    """A row more, of which attrition and trail tell."""
    attrition = json.loads((copy / "attrition.json").read_text())
    enrolled = attrition["enrolled"] + 1
    (copy / "attrition.json").write_text(canonical(attrition | {"enrolled": enrolled}))
    row = pl.col("subject").replace(VICTIM, ghost)

    def retold(lines: Lines) -> Lines:
        return [line | {"enrolled": enrolled} if line["event"] == "population" else line for line in lines]

    forged(
        copy,
        "population.parquet",
        rewritten(lambda t: pl.concat([t, t.filter(pl.col("subject") == VICTIM).with_columns(row)])),
        retold,
    )
    assert "rows" in asked(copy).wrong
    assert {"people", "rows"} <= set(verify(copy, patients=1, everything=True).wrong)


@faults
def test_a_person_in_the_place_of_another_is_found(copy: Path):
    forged(copy, "population.parquet", rewritten(lambda t: t.with_columns(pl.col("subject").replace(VICTIM, GHOST))))
    assert "is no id of one of" in state(asked(copy), "rows")[1]


# ------------------------------------------------------------------------------------------------------------ arms


def copies(ghost: str, draw: int) -> Callable[[Path], None]:
    """Someone's rows once more under a draw, for another."""

    def more(table: pl.DataFrame) -> pl.DataFrame:
        own = table.filter(pl.col("draw") == draw)
        first = own.filter(pl.col("subject") == own["subject"][0])
        ghosts = first.with_columns(subject=pl.lit(ghost)) if ghost else first
        return pl.concat([table.filter(pl.col("draw") <= draw), ghosts, table.filter(pl.col("draw") > draw)])

    return rewritten(more)


@faults
@pytest.mark.parametrize(("ghost", "draw"), [("", 0), ("", 3), (GHOST, 0), (GHOST, 3), (VICTIM, 16)])
def test_rows_of_nobody_who_was_allocated_are_found(copy: Path, ghost: str, draw: int):
    forged(copy, ARM, copies(ghost, draw), **lanes_told(copy, 1))
    assert "rows" in asked(copy).wrong
    assert {"rows", "arms"} <= set(verify(copy, patients=1, everything=True).wrong)


def in_draw_4(column: str, value: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda t: t.with_columns(pl.when(pl.col("draw") == 4).then(value).otherwise(column).alias(column))


@faults
@pytest.mark.parametrize(
    "change",
    [
        in_draw_4("subject", pl.lit(GHOST)),
        in_draw_4("time", pl.lit(7.0)),
        in_draw_4("arm", pl.lit("other")),
        in_draw_4("code", (pl.col("time") > 7).cast(pl.Int8)),
        lambda t: t.sort("subject", maintain_order=True),
        lambda t: t.filter((pl.col("draw") != 4) | (pl.col("time") > 0)),
    ],
)
def test_other_keys_than_are_due_are_found(copy: Path, change):
    forged(copy, ARM, rewritten(change))
    assert "rows" in asked(copy).wrong


def test_draws_that_are_not_allocated_again_hold_this_population_once(copy: Path, monkeypatch):
    monkeypatch.setattr(rows, "ALLOCATED", 80)  # one draw of the sixteen
    verdict = asked(copy)
    assert (verdict.exit_code, verdict.wrong) == (0, [])
    assert "allocated again in 1 of 16 draws" in state(verdict, "arms")[1]
    forged(copy, ARM, copies(GHOST, 3), **lanes_told(copy, 1))
    assert "rows" in asked(copy).wrong


# ----------------------------------------------------------------------------------------------------------- trial


@faults
@pytest.mark.parametrize(
    "change",
    [
        lambda t: pl.concat([t, t.tail(1)]),
        lambda t: pl.concat([t, t.tail(1).with_columns(subject=pl.lit(GHOST))]),
        lambda t: t.filter((pl.col("subject") == "0000001") | (pl.col("draw") != 4)),
        in_draw_4("code", pl.lit(1, pl.Int8)),
    ],
)
def test_a_trial_of_others_than_were_simulated_is_found_in_a_study_of_many(copy: Path, change, monkeypatch):
    monkeypatch.setattr(again, "WHOLE", 0)  # as if too many to be made again as a whole
    forged(copy, "trial.parquet", rewritten(change))
    assert "trial" in state(asked(copy), "rows")[1]


# -------------------------------------------------------------------------------------------------------- every bit


@faults
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.with_columns(time=pl.when(pl.col("time") == 0).then(-0.0).otherwise("time")), "-0.0 recorded"),
        (lambda t: t.with_columns(pl.col("code").cast(pl.Int64)), "code is Int64, made again Int8"),
    ],
)
def test_the_same_value_in_other_bits_is_not_the_same(copy: Path, change, said: str):
    forged(copy, ARM, rewritten(change))
    assert said in state(verify(copy, patients=1), "arms")[1]


def test_no_numerics_excuse_more_than_a_ten_thousandth():
    made = pl.DataFrame({"subject": ["a", "b", "c"], "ldl": [100.0, 101.0, 0.0]})
    near = made.with_columns(ldl=pl.Series([100.0, 101.0, 0.001]))
    far = made.with_columns(ldl=pl.Series([100.0, 101.0, 0.01]))
    assert compared("arms", near, made, ["subject"], 1e-6, 1e3).within
    outcome = compared("arms", far, made, ["subject"], 1e-6, 1e3)
    assert not outcome.within
    assert (outcome.largest, outcome.gap) == (1.0, 0.01)
    assert "1 relative, 0.01 absolute, beyond 1e-06, on ldl of c (0.01 recorded, 0.0 made again)" in str(outcome)
