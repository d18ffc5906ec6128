"""YAML is read as plain words and numbers, each with its line, or refused."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.bounded import Source, read


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "off", "No", "NO", "y", "n", "0x10", "1_000", "12:30:45", "2012-11-06"]
)
def test_a_word_stays_a_word(word: str):
    assert read(f"a: {word}").data == {"a": word}


@pytest.mark.parametrize(
    ("written", "value"),
    [("12", 12), ("-3", -3), ("0.5", 0.5), ("1e-3", 0.001), (".5", 0.5), ("true", True), ("", None), ("~", None)],
)
def test_numbers_are_numbers(written: str, value: object):
    assert read(f"a: {written}").data == {"a": value}


def test_what_is_quoted_is_text():
    assert read("a: '12'\nb: \"no\"\nc: 'true'").data == {"a": "12", "b": "no", "c": "true"}


def test_each_key_has_its_line():
    source = read("# a comment\na: 1\nb:\n  c: {d: 2,\n      e: 3}\n  f:\n    - 4\n    - 5\n")
    assert source.line(("a",)) == 2
    assert source.line(("b", "c", "e")) == 5
    assert source.line(("b", "f", 1)) == 8
    assert source.line(("b", "f", "no such key")) == 6


def test_a_key_written_twice_is_named_with_both_lines_and_the_first_stays():
    source = read("a: 1\nb: 2\na: 3\n")
    assert source.data == {"a": 1, "b": 2}
    [(place, message)] = source.problems
    assert source.line(place) == 3
    assert message == "written twice, first on line 1; keep one"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (
            "a: 1\nb: !!python/object/apply:os.system ['true']",
            2,
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: 1\nb: !!python/name:os.system", 2, "holds plain values only"),
        ("a: 1\nb: !mine 3", 2, "the tag '!mine'"),
        ("a: &x 1\nb: *x", 2, "an alias"),
        ("a: 1\nb: &x [*x]", 2, "an alias"),
        ("a: 1\nb: *x", 2, "an alias"),
        ("a: 1\nb: [1, 2", 2, "not YAML: "),
        ("a: 1\n\tb: 2", 2, "not YAML: "),
        ("a: 1\n--- \nb: 2", 2, "not YAML: but found another document"),
        ("a: 1\nb: \x07", 2, "is not text"),
    ],
)
def test_what_is_not_plain_data_is_a_problem_with_its_line(text: str, line: int, reason: str):
    source = read(text)
    assert len(source.problems) == 1
    place, message = source.problems[0]
    assert reason in message
    assert source.line(place) == line


def test_an_alias_bomb_is_not_unfolded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert len(read("\n".join(lines)).problems) == 9 * 11


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{b: " * 3000, "a: " + "9" * 5000, "- " * 4000])
def test_monstrous_input_is_read_or_refused(text: str):
    assert isinstance(read(text), Source)


@given(st.text(st.characters(), max_size=60))
def test_the_reader_never_raises(text: str):
    read(text)


@given(st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%,? \n\t01"), max_size=40))
def test_the_reader_never_raises_on_what_looks_like_yaml(text: str):
    read(text)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,5}", fullmatch=True),
        st.integers(-(10**17), 10**17) | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
        max_size=5,
    )
)
def test_what_json_writes_reads_back(data: dict):
    assert read("\n".join(f"{k}: {json.dumps(v)}" for k, v in data.items()) or "{}").data == data


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "'-----BEGIN EC PRIVATE KEY-----'",
        "s3://me:password@store/bucket",
        "|\n  -----BEGIN PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(secret: str):
    source = read(f"a: 1\nstore: {secret}\n")
    [(place, message)] = source.problems
    assert (place, source.data) == (("store",), {"a": 1, "store": None})
    assert message.startswith("looks like a secret")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "more than 40 levels"),
        ("[" + "1, " * 200_000 + "1]", "more than 100,000 values"),
        ("x" * 2**21, "longer than"),
        ("9" * 19, "more than 18 digits"),
        ("1e999", "beyond all numbers"),
        ("!!str 12", "the tag"),
        ("{? [a]: 1}", "a key that is no plain text"),
    ],
)
def test_what_nobody_writes_is_refused_at_once(text: str, said: str):
    begun = time.process_time()
    assert said in read(f"a: {text}").problems[0][1]
    assert time.process_time() - begun < 2
