"""Criteria and priors mean what they say, and are never evaluated."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.study.grammar import Prior, criterion, prior

AGES = np.array([17.0, 18.0, 50.0, 80.0, 81.0])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("18 y <= age <= 80 y", [50, 18, 80]),
        ("18 y < age < 80 y", [50]),
        ("80 y >= age > 18 y", [50, 80]),
        ("age >= 80 y", [80, 81]),
        ("18 y > age", [17]),
        ("age == 50 y", [50]),
        ("216 month <= age <= 80 y", [18, 50, 80]),
    ],
)
def test_a_criterion_keeps_whom_it_says(text: str, kept: list[float]):
    assert set(AGES[criterion(text).keeps(AGES, "y")]) == set(kept)


def test_a_level_is_compared_as_a_word():
    assert criterion("statin == yes").keeps(np.array(["yes", "no"]), "1").tolist() == [True, False]


def test_limits_are_converted_to_the_unit_of_the_column():
    assert criterion("ldl >= 1 g/L").keeps(np.array([99.0, 101.0]), "mg/dL").tolist() == [False, True]


def test_a_strict_limit_is_not_within_its_interval():
    assert criterion("18 y <= age <= 80 y").interval("y") == (18, 80)
    low, high = criterion("18 y < age < 80 y").interval("y")
    assert 18 < low < 18.001
    assert 79.999 < high < 80
    assert criterion("age > 18 y").interval("y")[1] == math.inf


@pytest.mark.parametrize(
    "text",
    ["", "age", "age > ", "age > 18", "age > 18 yy", "18 y", "18 y <= 20 y", "age <= ldl",
     "18 y <= age <= 80 y <= 90 y",
     "age != 18 y", "age > nan y", "age > 1e400 y", "__import__('os').system('true') > 1 y", "statin == yes == no",
     "age > 3 9**9**9**9", 18, None],
)  # fmt: skip
def test_what_is_no_criterion_is_refused_with_an_example(text: object):
    with pytest.raises(ValueError, match=r"18 y <= age <= 80 y|is not a unit"):
        criterion(text)  # type: ignore[arg-type]


@given(st.text(max_size=40) | st.text(st.sampled_from("<>= ageyld0123.e-+*/()"), max_size=25))
def test_the_criterion_grammar_raises_nothing_but_a_refusal(text: str):
    try:
        found = criterion(text)
    except ValueError:
        return
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "kind", "arguments"),
    [
        ("lognormal(2, 0.7)", "lognormal", (2, 0.7)),
        (" normal( -2.5 ,1 ) ", "normal", (-2.5, 1)),
        ("halfnormal(0.5)", "halfnormal", (0.5,)),
    ],
)
def test_a_prior_is_read(text: str, kind: str, arguments: tuple):
    assert prior(text) == Prior(kind, arguments)


@pytest.mark.parametrize(
    "text",
    ["", "normal", "normal()", "normal(1)", "normal(1, 2, 3)", "normal(1, 0)", "normal(1, -1)", "lognormal(0, 1)",
     "lognormal(-1, 1)", "halfnormal(0)", "normal(nan, 1)", "normal(1, inf)", "normal(a, 1)", "cauchy(0, 1)",
     "normal(1, 2); import os", "normal((1), 2)", "NORMAL(1, 2)", 3, None],
)  # fmt: skip
def test_what_is_no_prior_is_refused_with_what_is(text: object):
    with pytest.raises(ValueError, match=r"normal"):
        prior(text)  # type: ignore[arg-type]


FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
PRIORS = (
    st.builds(Prior, st.just("normal"), st.tuples(FINITE, POSITIVE))
    | st.builds(Prior, st.just("lognormal"), st.tuples(POSITIVE, POSITIVE))
    | st.builds(Prior, st.just("halfnormal"), st.tuples(POSITIVE))
)


@given(PRIORS)
def test_the_text_of_a_prior_reads_back_as_that_prior(one: Prior):
    assert prior(str(one)) == one


@given(st.text(max_size=30) | st.text(st.sampled_from("normalhfg(),.0123e- "), max_size=30))
def test_the_prior_grammar_raises_nothing_but_a_refusal(text: str):
    try:
        found = prior(text)
    except ValueError:
        return
    assert prior(str(found)) == found


def test_a_prior_in_another_unit_is_the_same_prior():
    assert prior("lognormal(2, 0.5)").scaled(1000) == prior("lognormal(2000, 0.5)")  # the spread of a log has no unit
    assert prior("normal(2, 0.5)").scaled(10) == prior("normal(20, 5)")
    assert prior("halfnormal(0.5)").scaled(10) == prior("halfnormal(5)")
