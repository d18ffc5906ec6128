"""A subject's random numbers are the subject's own."""

import numpy as np
import pytest
from scipy import stats

from cohort.philox import philox
from cohort.streams import streams

# Random123, tests/kat_vectors, philox4x32 10: counter, key, output (Salmon et al. 2011).
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def test_philox_gives_the_known_answers_of_random123():
    for counter, key, out in KNOWN:
        assert [int(w) for w in philox(*map(np.uint64, _words(counter) + _words(key)))] == _words(out)


def test_uniforms_lie_strictly_between_0_and_1_and_are_uniform():
    u = streams(1, "test", [str(i) for i in range(20_000)]).uniform("u", 5)
    assert u.min() > 0
    assert u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3


def test_normals_are_normal_and_independent_between_names_and_places():
    s = streams(1, "test", [str(i) for i in range(20_000)])
    z = np.column_stack([s.normal("a", 3), s.normal("b")])
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    r = np.corrcoef(z.T)[np.triu_indices(4, 1)]
    assert np.abs(r).max() < 4.5 / np.sqrt(20_000)


def test_a_subject_is_the_same_alone_in_company_and_in_any_order():
    ids = [f"{i:05d}" for i in range(500)]
    together = streams(7, "effects", ids).normal("cl", 3)
    assert np.array_equal(streams(7, "effects", ids[::-1]).normal("cl", 3), together[::-1])
    assert np.array_equal(streams(7, "effects", [ids[123]]).normal("cl", 3)[0], together[123])


def test_names_drawn_before_or_beside_change_nobody():
    s, t = streams(7, "effects", ["1"]), streams(7, "effects", ["1"])
    for name in ("ka", "v", "new"):
        s.normal(name, 4)
    assert np.array_equal(s.normal("cl", 2), t.normal("cl", 2))


def test_asking_for_more_numbers_leaves_the_first_ones():
    s = streams(7, "effects", ["1", "2"])
    assert np.array_equal(s.uniform("cl", 9)[:, :4], s.uniform("cl", 4))
    assert s.uniform("cl", 0).shape == (2, 0)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, "effects", "12"), (1, "effects", "0012")),
        ((1, "effects", "12"), (2, "effects", "12")),
        ((1, "effects", "12"), (1, "dropout", "12")),
        ((1, "ab", "c"), (1, "a", "bc")),
        ((1, "effects1", "2"), (1, "effects", "12")),
    ],
)
def test_streams_differ_by_subject_seed_and_purpose(a, b):
    first, second = (streams(seed, purpose, [subject]).uniform("u")[0, 0] for seed, purpose, subject in (a, b))
    assert first != second
