"""Places of a right prediction are uniform; coverage says how little a few arms show."""

import numpy as np
import pytest
import scipy

from cohort.agreement import AgreementError
from cohort.agreement.predictive import check, coverage, uniform


def checks(n: int, off: float = 0.0, trials: int = 1):
    rng = np.random.default_rng(5)
    return [
        check(f"arm {i}", rng.normal() + off, rng.standard_normal(2000), trial=f"trial {i % trials}") for i in range(n)
    ]


def test_a_result_at_a_known_quantile_has_that_place():
    predicted = scipy.stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    found = check("arm", scipy.stats.norm.ppf(0.9), predicted, trial="t")
    assert found.place == pytest.approx(0.9, abs=5e-4)
    assert found.intervals[0.95][2]
    assert not found.intervals[0.5][2]
    assert found.intervals[0.8][:2] == pytest.approx((-1.2816, 1.2816), abs=2e-3)


def test_a_count_has_the_mid_probability():
    assert check("arm", 1, np.repeat([0, 1, 2, 3], 10), trial="t").place == pytest.approx(0.25 + 0.125)


def test_double_programmed_coverage_of_arms_taken_as_independent_and_of_whole_trials():
    rows = coverage(checks(8, trials=2))
    for row in rows:
        k, n = row["inside"], row["of"]
        low = scipy.stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
        assert row["low"] == pytest.approx(low)
        assert row["trials"] == 2
        assert row["low_by_trial"] <= row["low"]
        assert row["high_by_trial"] >= row["high"]


def test_right_predictions_keep_within_the_band_and_biased_ones_do_not():
    assert uniform(checks(100))["inside"]
    assert not uniform(checks(100, off=1.0))["inside"]
    assert uniform(checks(4))["unseen"] > 0.3  # four arms hardly show anything


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(AgreementError, match="at least 20"):
        check("arm", 0.0, np.zeros(3), trial="t")
    with pytest.raises(AgreementError, match="not finite"):
        check("arm", 0.0, np.full(50, np.nan), trial="t")
    with pytest.raises(AgreementError, match="observed result is nan"):
        check("arm", np.nan, np.zeros(50), trial="t")
