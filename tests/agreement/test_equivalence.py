"""Agreement is a probability within a margin; what is not significant is undecided, not equal."""

import math

import numpy as np
import pytest
import scipy

from cohort.agreement import AgreementError
from cohort.agreement.equivalence import equivalence

VIRTUAL = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)  # N(0, 1)


def test_double_programmed_probability_within_the_margin_of_two_normals():
    found = equivalence(1.0, 2.0, VIRTUAL, margin=3.0)
    total = math.hypot(1.0, 2.0)
    expected = scipy.stats.norm.cdf(2 / total) - scipy.stats.norm.cdf(-4 / total)
    assert found.within == pytest.approx(expected, abs=1e-3)
    assert found.p_tost == pytest.approx(scipy.stats.norm.cdf(-2 / total), abs=1e-3)
    assert (found.low, found.high) == pytest.approx((1 - 1.96 * total, 1 + 1.96 * total), abs=2e-2)


def test_a_small_trial_that_is_not_significantly_different_is_undecided():
    found = equivalence(1.0, 4.0, VIRTUAL, margin=2.0)
    assert found.low < 0 < found.high  # no significant difference
    assert found.says == "undecided"


def test_a_large_trial_that_is_significantly_different_may_be_equivalent():
    found = equivalence(1.0, 0.1, 0.1 * VIRTUAL, margin=2.0)
    assert found.low > 0
    assert found.says == "equivalent"
    assert equivalence(5.0, 0.1, 0.1 * VIRTUAL, margin=2.0).says == "different"


@pytest.mark.parametrize(
    ("real", "se", "margin", "said"),
    [(0.0, 1.0, -2.0, "margin is -2"), (0.0, 0.0, 2.0, "standard error is 0"), (math.nan, 1.0, 2.0, "estimate is nan")],
)
def test_wrong_margins_and_estimates_are_refused(real, se, margin, said):
    with pytest.raises(AgreementError, match=said):
        equivalence(real, se, VIRTUAL, margin=margin)
