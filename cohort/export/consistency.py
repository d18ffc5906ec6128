"""What ADaM asks of data sets taken together; CDISC's own engine has no rules for ADaM, so these are ours.

Each function yields what is wrong, in words, and nothing where all is well.

References
----------
[1] CDISC ADaM Implementation Guide 1.3; OCCDS 1.1; BDS for Time-to-Event Analyses 1.0.
"""

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from cohort.cdisc.dataset import Dataset

SHOWN = 5
NEAR = 1e-9  # relative difference of a computed number from the same by another path


class InconsistentError(ValueError):
    """Data sets that contradict each other; the message lists every contradiction."""


def refuse_inconsistent(datasets: Sequence[Dataset]) -> None:
    """Errors: InconsistentError with everything that is wrong."""
    named = {one.name: one for one in datasets}
    adsl = named.get("ADSL")
    if adsl is None:
        raise InconsistentError("there is no ADSL; every other data set rests on it")
    wrong = [f"ADSL: {words}" for words in one_row_each(adsl)]
    for one in datasets:
        if one is not adsl:
            wrong += [f"{one.name}: {words}" for check in CHECKS for words in check(one, adsl)]
    if wrong:
        raise InconsistentError("\n".join(wrong))


def one_row_each(adsl: Dataset) -> Iterator[str]:
    """ADSL has one row per subject."""
    twice = adsl.rows.filter(pl.col("USUBJID").is_duplicated())
    yield from _of(twice, "more than one row of {}")


def known(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """Everyone is in ADSL."""
    yield from _of(one.rows.join(adsl.rows, on="USUBJID", how="anti"), "{} is not in ADSL")


def same_person(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """What is copied from ADSL is as it stands there, the treatment among it."""
    treatments = {"TRTP": "TRT01P", "TRTPN": "TRT01PN", "TRTA": "TRT01A", "TRTAN": "TRT01AN"}
    copies = {name: treatments.get(name, name) for name in one.rows.columns if name != "USUBJID"}
    copies = {name: source for name, source in copies.items() if source in adsl.rows.columns}
    theirs = adsl.rows.select("USUBJID", **{f"_{name}": source for name, source in copies.items()})
    both = one.rows.join(theirs, on="USUBJID", how="inner", maintain_order="left")
    for name, source in copies.items():
        yield from _of(both.filter(pl.col(name).ne_missing(pl.col(f"_{name}"))), f"{name} of {{}} is not ADSL.{source}")


def one_to_one(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """PARAM and PARAMCD, AVISIT and AVISITN name each other."""
    for pair in (("PARAM", "PARAMCD"), ("PARAMN", "PARAMCD"), ("AVISIT", "AVISITN")):
        if set(pair) <= set(one.rows.columns):
            pairs = one.rows.select(pair).unique().drop_nulls()
            for name, other in (pair, pair[::-1]):
                several = pairs.filter(pl.col(name).is_duplicated())[name].unique().sort()
                yield from (f"{name} {value!r} has more than one {other}" for value in several.head(SHOWN))


def changes(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """CHG is AVAL - BASE, PCHG that in percent of BASE."""
    if not {"AVAL", "BASE", "CHG"} <= set(one.rows.columns):
        return
    change = pl.col("AVAL") - pl.col("BASE")
    yield from _of(one.rows.filter(_differs(pl.col("CHG"), change)), "CHG of {} is not AVAL - BASE")
    if "PCHG" in one.rows.columns:
        percent = pl.when(pl.col("BASE") != 0).then(100 * change / pl.col("BASE"))
        yield from _of(one.rows.filter(_differs(pl.col("PCHG"), percent)), "PCHG of {} is not 100 * CHG / BASE")


def _differs(value: pl.Expr, other: pl.Expr) -> pl.Expr:
    size = pl.max_horizontal(value.abs(), other.abs(), pl.lit(1.0))
    return (value.is_not_null() & other.is_null()) | ((value - other).abs() > NEAR * size).fill_null(False)


def one_baseline(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """A subject has one baseline of a parameter that has any, and BASE is its AVAL."""
    if not {"ABLFL", "BASE", "PARAMCD"} <= set(one.rows.columns):
        return
    key = ["USUBJID", "PARAMCD"]
    flagged = one.rows.filter(pl.col("ABLFL") == "Y")
    yield from _of(flagged.filter(pl.struct(key).is_duplicated()), "more than one baseline of a parameter of {}")
    based = one.rows.filter(pl.col("BASE").is_not_null())
    yield from _of(based.join(flagged, on=key, how="anti"), "BASE of {} without a record flagged ABLFL")
    first = flagged.unique(key, keep="first", maintain_order=True).select(*key, _base="AVAL")
    both = based.join(first, on=key, how="inner", maintain_order="left")
    yield from _of(both.filter(pl.col("BASE") != pl.col("_base")), "BASE of {} is not AVAL of its baseline")


def censored(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """CNSR is 0 or more, and a time is not negative."""
    if "CNSR" not in one.rows.columns:
        return
    yield from _of(one.rows.filter((pl.col("CNSR") >= 0).not_().fill_null(True)), "CNSR of {} is not 0, 1, 2 ...")
    yield from _of(one.rows.filter(pl.col("AVAL") < 0), "a negative time of {}")


def dated(one: Dataset, adsl: Dataset) -> Iterator[str]:
    """Days follow from dates: ADY counts from TRTSDT without a day 0, and nothing lies after the end of the study."""
    own = one.rows.select(c for c in one.rows.columns if c not in ("TRTSDT", "EOSDT"))
    rows = own.join(adsl.rows.select("USUBJID", "TRTSDT", "EOSDT"), on="USUBJID", how="inner", maintain_order="left")
    for date, day in (("ADT", "ADY"), ("ASTDT", "ASTDY")):
        if not {date, day} <= set(rows.columns):
            continue
        since = pl.col(date) - pl.col("TRTSDT")
        counted = pl.when(since >= 0).then(since + 1).otherwise(since)
        yield from _of(rows.filter(pl.col(day).ne_missing(counted)), f"{day} of {{}} is not the day of {date}")
        yield from _of(rows.filter(pl.col(date) > pl.col("EOSDT")), f"{date} of {{}} lies after EOSDT")
        yield from _of(rows.filter(pl.col(date) < pl.col("TRTSDT")), f"{date} of {{}} lies before TRTSDT")


CHECKS = (known, same_person, one_to_one, changes, one_baseline, censored, dated)


def _of(rows: pl.DataFrame, message: str) -> Iterable[str]:
    """A line that names the first few subjects of these rows; none without rows."""
    who = rows["USUBJID"].unique().sort()
    if len(who):
        more = f" and {len(who) - SHOWN} more" if len(who) > SHOWN else ""
        yield message.format(", ".join(map(str, who.head(SHOWN))) + more)
