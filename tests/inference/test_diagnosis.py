"""A posterior that may not be used is refused, with each reason."""

import math

import numpy as np
import pytest

from cohort.inference.diagnosis import convergence, reasons_to_refuse


def tree(groups):
    from arviz_base import from_dict

    return from_dict(groups)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"r_hat": 1.0099, "divergences": 0}, []),
        ({"r_hat": 1.011, "divergences": 0}, ["R-hat is 1.011, more than 1.01"]),
        ({"r_hat": 1.0, "divergences": 3}, ["3 transitions diverged"]),
        ({"r_hat": math.nan, "divergences": 0}, ["R-hat is nan, more than 1.01"]),
        ({"r_hat": 1.5, "divergences": 1}, ["R-hat is 1.500, more than 1.01", "1 transitions diverged"]),
    ],
)
def test_what_may_not_be_used_is_refused_with_each_reason(found, said):
    assert reasons_to_refuse(found) == said


def test_chains_in_different_places_are_seen():
    rng = np.random.default_rng(6)
    apart = rng.standard_normal((4, 500)) + np.arange(4)[:, None]
    sampled = {"energy": rng.standard_normal((4, 500)), "diverging": np.zeros((4, 500), dtype=bool)}
    found = convergence(tree({"posterior": {"a": apart}, "sample_stats": sampled}), ["a"])
    assert found["r_hat"] > 1.1
    assert found["divergences"] == 0
    assert found["draws"] == 2000
