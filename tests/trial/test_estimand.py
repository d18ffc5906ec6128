"""Every strategy on six patients, with the answers worked out by hand."""

from typing import Any

import polars as pl
import pytest

from cohort.study.protocol import Estimand
from cohort.trial import EstimandError, apply
from cohort.trial.estimand import handling

DAYS = {"baseline": 0.0, "week 4": 28.0, "week 8": 56.0, "week 12": 84.0}
# One completes and missed week 8; two stopped on day 40 and came on; three was rescued at week 4; four withdrew on day
# 60; five stopped on day 20 and withdrew on day 50; six was rescued at week 4 and stopped on day 60.
VALUES: dict[str, list[float | None]] = {
    "one": [0.0, -1.0, None, -3.0],
    "two": [0.0, -1.0, 1.0, 2.0],
    "three": [0.0, 5.0, -4.0, -5.0],
    "four": [0.0, -2.0, -3.0, None],
    "five": [0.0, -1.0, None, None],
    "six": [0.0, 6.0, -1.0, 3.0],
}
HAPPENED = [
    ("two", "discontinuation", 40.0),
    ("three", "rescue", 28.0),
    ("four", "withdrawal", 60.0),
    ("five", "discontinuation", 20.0),
    ("five", "withdrawal", 50.0),
    ("six", "rescue", 28.0),
    ("six", "discontinuation", 60.0),
]
COMPOSITE = {"strategy": "composite", "value": "10 percent"}


@pytest.fixture
def measurements() -> pl.DataFrame:
    """Rows of what was seen only, as a real data set has them; the arms are of three."""
    rows = [
        (who, "a" if k < 3 else "b", visit, day, value)
        for k, (who, values) in enumerate(VALUES.items())
        for (visit, day), value in zip(DAYS.items(), values, strict=True)
        if value is not None
    ]
    return pl.DataFrame(rows, schema=["subject", "arm", "visit", "time", "value"], orient="row")


@pytest.fixture
def intercurrent() -> pl.DataFrame:
    return pl.DataFrame(HAPPENED, schema=["subject", "event", "time"], orient="row")


def _at(rows: pl.DataFrame, visit: str, column: str = "analysis_value") -> dict[str, Any]:
    return dict(rows.filter(pl.col("visit") == visit).select("subject", column).rows())


BY_HAND = {
    "policy of both": ("treatment policy", "treatment policy", [-3, 2, -5, None, None, 3], [None, 1, -4, -3, None, -1]),
    "hypothetical stop": (
        "hypothetical",
        "treatment policy",
        [-3, None, -5, None, None, None],
        [None, None, -4, -3, None, -1],
    ),
    "hypothetical rescue": (
        "treatment policy",
        "hypothetical",
        [-3, 2, None, None, None, None],
        [None, 1, None, -3, None, None],
    ),
    "stopping is failure": (COMPOSITE, "treatment policy", [-3, 10, -5, None, 10, 10], [None, 10, -4, -3, 10, -1]),
    "rescue is failure": ("treatment policy", COMPOSITE, [-3, 2, 10, None, None, 10], [None, 1, 10, -3, None, 10]),
    "while on treatment": (
        "while on treatment",
        "treatment policy",
        [-3, -1, -5, None, 0, -1],
        [None, -1, -4, -3, 0, -1],
    ),
    "no rescue, stopping fails": (
        COMPOSITE,
        "hypothetical",
        [-3, 10, None, None, 10, None],
        [None, 10, None, -3, 10, None],
    ),
    "before rescue, stopping fails": (
        COMPOSITE,
        "while on treatment",
        [-3, 10, 5, None, 10, 6],
        [None, 10, 5, -3, 10, 6],
    ),
    "before stopping, rescue fails": (
        "while on treatment",
        COMPOSITE,
        [-3, -1, 10, None, 0, 10],
        [None, -1, 10, -3, 0, 10],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_strategy_gives_what_was_worked_out_by_hand(measurements, intercurrent, name: str):
    stop, rescue, week_12, week_8 = BY_HAND[name]
    plan = handling({"discontinuation": stop, "rescue": rescue})
    rows = apply(plan, measurements, intercurrent, unit="percent")
    assert rows.height == 24
    assert list(_at(rows, "week 12").values()) == week_12
    assert list(_at(rows, "week 8").values()) == week_8
    assert list(_at(rows, "baseline").values()) == [0] * 6
    assert list(_at(rows, "week 4").values())[:4] == [-1, -1, 5, -2]  # on the day of rescue it is not yet after it
    assert rows["analysed"].all()
    assert (rows["imputable"] == rows["analysis_value"].is_null()).all()


def test_the_reason_says_why_a_value_stands_or_is_left_out(measurements, intercurrent):
    plan = handling({"discontinuation": "while on treatment", "rescue": "hypothetical"})
    told = _at(apply(plan, measurements, intercurrent), "week 12", "reason")
    assert told == {
        "one": "observed",
        "two": "last value before discontinuation",
        "three": "hypothetical: rescue",
        "four": "hypothetical: withdrawal",
        "five": "last value before discontinuation",
        "six": "hypothetical: rescue",
    }
    missed = _at(apply(plan, measurements, intercurrent), "week 8", "reason")["one"]
    assert missed == "missing: not seen"


def test_failure_of_a_responder_variable_is_the_value_it_is_said_to_be(measurements, intercurrent):
    plan = handling({"discontinuation": {"strategy": "composite", "value": "failure"}, "rescue": "treatment policy"})
    responders = measurements.with_columns(value=(pl.col("value") < 0).cast(pl.Float64))
    assert list(_at(apply(plan, responders, intercurrent), "week 12").values()) == [1, 0, 1, None, 0, 0]
    assert list(_at(apply(plan, responders, intercurrent, failure=1.0), "week 12").values()) == [1, 1, 1, None, 1, 1]


def test_the_order_of_rows_does_not_matter(measurements, intercurrent):
    plan = handling({"discontinuation": "while on treatment", "rescue": COMPOSITE})
    key = ["subject", "visit"]
    one = apply(plan, measurements, intercurrent, unit="percent").sort(key)
    other = apply(plan, measurements.reverse(), intercurrent.reverse(), unit="percent").sort(key)
    assert one.select(sorted(one.columns)).equals(other.select(sorted(other.columns)), null_equal=True)


def test_the_principal_stratum_is_not_identifiable_where_a_person_is_in_one_arm(measurements, intercurrent):
    plan = handling({"discontinuation": "principal stratum", "rescue": "treatment policy"})
    with pytest.raises(EstimandError, match="not identifiable, for a subject's course is known in one arm only"):
        apply(plan, measurements, intercurrent)


def test_a_baseline_predictor_stands_for_the_principal_stratum(measurements, intercurrent):
    plan = handling({"discontinuation": "principal stratum", "rescue": "treatment policy"})
    stratum = pl.DataFrame({"subject": list(VALUES), "in_stratum": [True, False, True, True, False, True]})
    rows = apply(plan, measurements, intercurrent, stratum=stratum)
    assert list(_at(rows, "week 12").values()) == [-3, None, -5, None, None, 3]
    assert list(_at(rows, "week 12", "analysed").values()) == [True, False, True, True, False, True]
    with pytest.raises(EstimandError, match="stratum: unknown of one; fill it in"):
        apply(plan, measurements, intercurrent, stratum=stratum[1:])


def test_of_people_in_every_arm_those_are_kept_who_would_stop_in_none(measurements, intercurrent):
    """Stopping in one arm puts a person out of the stratum in the other as well."""
    both = pl.concat([measurements.with_columns(arm=pl.lit(arm)) for arm in ("drug", "placebo")])
    events = intercurrent.with_columns(
        arm=pl.when(pl.col("subject") == "two").then(pl.lit("drug")).otherwise(pl.lit("placebo"))
    )
    plan = handling({"discontinuation": "principal stratum", "rescue": "treatment policy"})
    rows = apply(plan, both, events)
    kept = rows.filter("analysed").select("arm", "subject").unique().sort("arm", "subject").rows()
    assert kept == [(arm, who) for arm in ("drug", "placebo") for who in ("four", "one", "three")]


def _potential() -> pl.DataFrame:
    """What would have been: had nobody stopped everyone falls by a unit a visit; without rescue three and six rise."""
    rows = []
    for who, values in VALUES.items():
        stops = {w: t for w, e, t in HAPPENED if e == "discontinuation"}.get(who, float("inf"))
        saved = {w: t for w, e, t in HAPPENED if e == "rescue"}.get(who, float("inf"))
        for k, (day, value) in enumerate(zip(DAYS.values(), values, strict=True)):
            lived = -10.0 * k if value is None else value
            on = -1.0 * k
            row = {"subject": who, "visit_number": k, "lived": lived, "without_discontinuation": on}
            row |= {"without_rescue": 7.0 * k, "without_either": -2.0 * k}
            row |= {f"{name}_true": row[name] + 0.5 for name in list(row)[2:]}
            row |= {"discontinued_by_planned_day": day > stops}
            row |= {"discontinued": day > stops, "rescued": day > saved, "rescued_without_discontinuation": day > saved}
            rows.append(row)
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    ("stop", "rescue", "expected", "true"),
    [
        # seen values stay; four and five, who withdrew, have the course as lived; with `truth` all have the true one
        ("treatment policy", "treatment policy", [-3, 2, -5, -30, -30, 3], [-2.5, 2.5, -4.5, -29.5, -29.5, 3.5]),
        ("hypothetical", "treatment policy", [-3, -3, -5, -3, -3, -3], [-2.5, -2.5, -2.5, -2.5, -2.5, -2.5]),
        ("treatment policy", "hypothetical", [-3, 2, 21, 21, 21, 21], [21.5, 21.5, 21.5, 21.5, 21.5, 21.5]),
        ("hypothetical", "hypothetical", [-3, -6, -6, -6, -6, -6], [-5.5] * 6),
        # six was rescued, which fails, whether or not treatment had gone on
        ("hypothetical", COMPOSITE, [-3, -3, 10, -3, -3, 10], [-2.5, -2.5, 10, -2.5, -2.5, 10]),
        (COMPOSITE, "treatment policy", [-3, 10, -5, -30, 10, 10], [-2.5, 10, -4.5, -29.5, 10, 10]),
        ("while on treatment", "treatment policy", [-3, -1, -5, -30, 0, -1], [-2.5, -0.5, -4.5, -29.5, 0.5, -0.5]),
    ],
)
def test_of_virtual_patients_what_was_not_seen_is_known(measurements, intercurrent, stop, rescue, expected, true):
    numbers = {visit: k for k, visit in enumerate(DAYS)}
    full = pl.DataFrame(
        [(w, "a", v, d, x) for w, xs in VALUES.items() for (v, d), x in zip(DAYS.items(), xs, strict=True)],
        schema=["subject", "arm", "visit", "time", "value"],
        orient="row",
    ).with_columns(visit_number=pl.col("visit").replace_strict(numbers))
    potential = _potential().with_columns(arm=pl.lit("a"))
    plan = handling({"discontinuation": stop, "rescue": rescue})
    rows = apply(plan, full, intercurrent, potential=potential, unit="percent")
    assert list(_at(rows, "week 12").values()) == expected
    assert not rows["imputable"].any()
    truths = apply(plan, full, intercurrent, potential=potential, truth=True, unit="percent")
    assert list(_at(truths, "week 12").values()) == true


@pytest.mark.parametrize(
    ("day", "window_end", "expected"),
    [(86.0, 89.0, 10), (86.0, 86.0, None), (86.0, None, None), (83.0, None, 10), (90.0, 89.0, None)],
)
def test_a_visit_not_seen_comes_after_what_happened_before_its_window_ended(day, window_end, expected):
    """The last visit, planned on day 84, was not seen; treatment stopped on some day about it."""
    rows = pl.DataFrame(
        {
            "subject": ["one"] * 2,
            "arm": ["a"] * 2,
            "visit": ["baseline", "week 12"],
            "visit_number": [0, 1],
            "visit_day": [0.0, 84.0],
            "window_end": [0.0, window_end],
            "time": [0.0, None],
            "value": [0.0, None],
        }
    )
    events = pl.DataFrame({"subject": ["one"], "event": ["discontinuation"], "time": [day]})
    plan = handling({"discontinuation": COMPOSITE})
    made = apply(plan, rows, events, unit="percent").filter(pl.col("visit") == "week 12")
    assert made["analysis_value"].to_list() == [expected]
    assert made["imputable"].to_list() == [expected is None]


@pytest.mark.parametrize("seen", [81.0, 84.0, 88.0, None])
@pytest.mark.parametrize(("day", "expected"), [(83.0, 10.0), (86.0, -7.0)])
def test_the_truth_goes_by_the_planned_day_whenever_and_whether_the_visit_was_seen(seen, day, expected):
    worlds = ("lived", "without_discontinuation", "without_rescue", "without_either")
    potential = pl.DataFrame(
        {
            "subject": ["one"] * 2,
            "arm": ["a"] * 2,
            "visit_number": [0, 1],
            **{f"{w}{end}": [0.0, -7.0] for w in worlds for end in ("", "_true")},
            "discontinued": [False, (seen or 88.0) > day],
            "discontinued_by_planned_day": [False, day < 84.0],
            "rescued": [False] * 2,
            "rescued_without_discontinuation": [False] * 2,
        }
    )
    rows = potential.select("subject", "arm", "visit_number").with_columns(
        visit=pl.Series(["baseline", "week 12"]),
        visit_day=pl.Series([0.0, 84.0]),
        window_end=pl.Series([0.0, 89.0]),
        time=pl.Series([0.0, seen]),
        value=pl.Series([0.0, None if seen is None else -7.5]),
    )
    events = pl.DataFrame({"subject": ["one"], "event": ["discontinuation"], "time": [day]})
    made = apply(
        handling({"discontinuation": COMPOSITE}), rows, events, potential=potential, truth=True, unit="percent"
    )
    assert made["analysis_value"].to_list() == [0.0, expected]


DEATHS = {
    # two died on day 70, after stopping on day 40; five on day 80, after stopping on day 20 and withdrawing on day 50
    "policy, while alive": ("treatment policy", "while alive", {"two": 1, "five": -1}),
    "policy, death is failure": ("treatment policy", COMPOSITE, {"two": 10, "five": 10}),
    "no stopping, while alive": ("hypothetical", "while alive", {"two": -1, "five": 0}),
    "no stopping, death is failure": ("hypothetical", COMPOSITE, {"two": 10, "five": 10}),
    "stopping is failure, while alive": ({**COMPOSITE, "value": "9 percent"}, "while alive", {"two": 9, "five": 9}),
    "stopping is failure, so is death": ({**COMPOSITE, "value": "9 percent"}, COMPOSITE, {"two": 10, "five": 10}),
}


@pytest.mark.parametrize("name", DEATHS)
def test_nothing_is_imputed_of_the_dead(measurements, intercurrent, name: str):
    stop, death, expected = DEATHS[name]
    deaths = pl.DataFrame({"subject": ["two", "five"], "event": ["death"] * 2, "time": [70.0, 80.0]})
    alive = measurements.filter((pl.col("subject") != "two") | (pl.col("time") < 70))
    plan = handling({"discontinuation": stop, "rescue": "treatment policy"})
    rows = apply(plan, alive, pl.concat([intercurrent, deaths]), unit="percent", death=death)
    dead = rows.filter(pl.col("visit") == "week 12", pl.col("subject").is_in(["two", "five"]))
    assert dict(dead.select("subject", "analysis_value").rows()) == expected
    assert not dead["imputable"].any()
    same = apply(plan, alive, intercurrent, unit="percent").filter(~pl.col("subject").is_in(["two", "five"]))
    assert rows.filter(~pl.col("subject").is_in(["two", "five"])).equals(same, null_equal=True)


def test_death_takes_no_strategy_of_the_living(measurements, intercurrent):
    plan = handling({"discontinuation": "treatment policy", "rescue": "treatment policy"})
    for wrong, said in (
        ({"strategy": "hypothetical"}, "'hypothetical' is of the living; write 'while alive', or a composite"),
        ({"strategy": "composite"}, "composite needs the value that the variable takes"),
    ):
        with pytest.raises(EstimandError) as refused:
            apply(plan, measurements, intercurrent, death=wrong)
        assert said in str(refused.value)
    events = pl.concat([intercurrent, pl.DataFrame({"subject": ["two"], "event": ["death"], "time": [70.0]})])
    with pytest.raises(EstimandError, match="virtual patients do not die; leave out potential"):
        apply(plan, measurements, events, death="while alive", potential=_potential())


def test_an_estimand_reads_as_a_sentence():
    told = Estimand.model_validate(
        {
            "population": "all randomised",
            "treatment": "drug against placebo",
            "variable": "change to week 12",
            "summary": "mean difference",
            "events": {"discontinuation": "treatment policy"},
        }
    )
    assert str(told) == (
        "mean difference of change to week 12, drug against placebo, in all randomised "
        "(discontinuation: treatment policy; withdrawal: hypothetical)"
    )


WRONG = {
    "withdrawal has one strategy": ({"withdrawal": "composite"}, "this is missing data; write hypothetical"),
    "composite without its value": ({"rescue": "composite"}, "composite needs the value that the variable takes"),
    "a value without composite": ({"rescue": {"strategy": "hypothetical", "value": "failure"}}, "takes no value"),
    "no such strategy": ({"rescue": "intention to treat"}, "found 'intention to treat'"),
    "no such event": ({"death": "composite"}, "is no intercurrent event; write one of discontinuation, rescue"),
}


@pytest.mark.parametrize("name", WRONG)
def test_strategies_that_cannot_be_are_refused(name: str):
    with pytest.raises(EstimandError) as refused:
        handling(WRONG[name][0])
    assert WRONG[name][1] in str(refused.value)


def test_every_fault_of_the_tables_is_told_at_once(measurements, intercurrent):
    plan = handling({"discontinuation": "treatment policy"})
    broken = pl.concat([measurements, measurements[:1]]).with_columns(
        value=pl.when(pl.col("subject") == "two").then(float("nan")).otherwise(pl.col("value"))
    )
    events = pl.concat([intercurrent, pl.DataFrame({"subject": ["seven"], "event": ["pregnancy"], "time": [3.0]})])
    with pytest.raises(EstimandError) as refused:
        apply(plan, broken, events)
    for said in (
        "column 'value' holds a NaN or an infinity; write null",
        "subject one, visit 'baseline' stands twice",
        "'pregnancy' is no such event",
        "the estimand has no strategy for rescue, which happened",
        "no measurements of seven",
    ):
        assert said in str(refused.value)
    with pytest.raises(EstimandError, match="measurements have no column 'value'; add it"):
        apply(plan, measurements.drop("value"), intercurrent)
    with pytest.raises(EstimandError, match="no rows"):
        apply(plan, measurements.clear(), intercurrent.clear())
    with pytest.raises(EstimandError, match="the truth is known of virtual patients only"):
        apply(
            handling({"discontinuation": "hypothetical", "rescue": "hypothetical"}),
            measurements,
            intercurrent,
            truth=True,
        )
    with pytest.raises(EstimandError, match="'10 percent' is not in mg/dL"):
        apply(handling({"discontinuation": COMPOSITE, "rescue": COMPOSITE}), measurements, intercurrent, unit="mg/dL")
