"""Scores of single predictions, against closed forms."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cohort.agreement import AgreementError
from cohort.agreement.scores import crps, crps_normal, gain, places


def test_the_crps_of_one_number_is_the_absolute_error():
    assert crps(np.array([[3.0], [5.0]]), np.array([5.0, 5.0])) == pytest.approx([2.0, 0.0])


def test_double_programmed_the_crps_is_the_integral_of_squared_differences_of_distributions():
    draws, y = np.array([[0.0, 1.0, 4.0]]), 2.0

    def squared(x: float) -> float:
        return float((np.mean(draws[0] <= x) - (y <= x)) ** 2)

    assert crps(draws, np.array([y]))[0] == pytest.approx(quad(squared, -1, 5, points=[0, 1, 2, 4])[0], abs=1e-9)


def test_a_normal_prediction_has_its_closed_form_and_draws_come_to_it():
    exact = crps_normal(np.array([1.0]), np.array([2.0]), np.array([2.5]))[0]
    integral = quad(lambda x: (norm.cdf(x, 1, 2) - (x >= 2.5)) ** 2, -15, 17, points=[2.5])[0]
    assert exact == pytest.approx(integral, abs=1e-8)
    draws = norm.ppf((np.arange(4000) + 0.5) / 4000, 1, 2)[None]
    assert crps(draws, np.array([2.5]))[0] == pytest.approx(exact, abs=1e-3)


def test_a_right_prediction_scores_better_than_a_wide_or_a_shifted_one():
    y = np.random.default_rng(1).normal(size=4000)
    right, wide, off = (crps_normal(np.full(4000, m), np.full(4000, s), y).mean() for m, s in ((0, 1), (0, 2), (1, 1)))
    assert right < min(wide, off)


def test_places_count_half_of_what_equals_the_result():
    assert places(np.array([[1.0, 2.0, 2.0, 3.0]]), np.array([2.0])) == pytest.approx([0.5])


def test_a_patient_with_several_results_counts_once():
    found = gain(np.array([1.0, 3.0, 5.0]), np.zeros(3), np.array(["a", "a", "b"]))
    assert (found.mean, found.patients) == (3.5, 2)
    assert found.se == pytest.approx(np.std([2, 5], ddof=1) / np.sqrt(2))


def test_missing_results_are_refused():
    with pytest.raises(AgreementError, match="finite"):
        crps(np.zeros((1, 3)), np.array([np.nan]))
