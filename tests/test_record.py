"""One spelling per value, and a trail that shows where it was changed."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.record import Audit, canonical, code, digest, file_digest, plain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_reads_back_as_the_value(value):
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_changes_no_hash(mapping):
    assert digest(dict(reversed(mapping.items()))) == digest(mapping)


def test_canonical_json_has_no_spaces_and_no_nan():
    assert canonical({"b": [1, 2.5], "a": "ö"}) == '{"a":"ö","b":[1,2.5]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


def test_the_digest_of_abc_is_that_of_fips_180():
    # FIPS 180-4 example, SHA-256 of "abc"
    want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest("abc") == digest(b"abc") == want


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == digest(b"abc")


def test_what_json_cannot_hold_becomes_null():
    assert plain({"a": np.array([1.0, np.nan]), 2: (np.float64(0.5), np.inf)}) == {"a": [1.0, None], "2": [0.5, None]}


def test_the_record_names_versions_and_machine():
    found = code()
    assert found["versions"]["jax"]
    assert found["cohort"]
    assert found["machine"]


@pytest.fixture
def trail(tmp_path: Path) -> Audit:
    audit = Audit(tmp_path / "folder" / "audit.jsonl")
    for i in range(5):
        audit.append("step", number=i, sha256=digest(str(i)))
    return audit


def test_an_undisturbed_trail_is_whole(trail: Audit):
    assert trail.broken_at() is None
    assert [line["number"] for line in trail.lines()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_an_edited_line_breaks_the_link_of_the_next(trail: Audit, line: int):
    lines = trail.path.read_text().splitlines()
    lines[line] = lines[line].replace(f'"number":{line}', '"number":9')
    trail.path.write_text("\n".join(lines) + "\n")
    assert trail.broken_at() == line + 2


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_removed_line_breaks_the_chain_where_it_stood(trail: Audit, line: int):
    lines = trail.path.read_text().splitlines()
    trail.path.write_text("\n".join(lines[:line] + lines[line + 1 :]) + "\n")
    assert trail.broken_at() == line + 1


def test_two_lines_exchanged_break_the_chain(trail: Audit):
    lines = trail.path.read_text().splitlines()
    trail.path.write_text("\n".join([lines[0], lines[2], lines[1], *lines[3:]]) + "\n")
    assert trail.broken_at() == 2


@pytest.mark.parametrize("rubbish", ["", "not json", "[]", "{}", "3"])
def test_a_line_that_is_no_record_breaks_the_chain(trail: Audit, rubbish: str):
    lines = trail.path.read_text().splitlines()
    trail.path.write_text("\n".join([*lines[:2], rubbish, *lines[3:]]) + "\n")
    assert trail.broken_at() == 3


def test_steps_that_end_at_the_same_moment_keep_the_chain(tmp_path: Path):
    audit = Audit(tmp_path / "audit.jsonl")
    threads = [threading.Thread(target=audit.append, args=("step",), kwargs={"number": i}) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["number"] for line in audit.lines()) == list(range(20))
    assert audit.broken_at() is None
