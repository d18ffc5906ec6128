"""Weight against conflict, and where a decision flips."""

import numpy as np
import pytest

from cohort.borrowing import BorrowingError
from cohort.borrowing.borrowed import vague
from cohort.borrowing.compare import probability_above
from cohort.borrowing.conflict import binomial_outcomes, curve, flips, flips_between, normal_outcomes, poisson_outcomes
from cohort.borrowing.robust import robust
from cohort.borrowing.trials import Binomial, Normal
from cohort.mixture import BetaMixture, NormalMixture

M_AS = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])


def test_independent_curve_of_every_outcome_of_six_is_the_published_one():
    found = curve(lambda x: robust(x, M_AS, vague(x)), binomial_outcomes(6), centre=M_AS.mean)
    expected = [0.154307, 0.0974764, 0.115470, 0.203290, 0.427534, 0.766718, 0.963482]
    assert (1 - found["weight"]).to_list() == pytest.approx(expected, rel=1e-5)
    assert found["conflict"][0] == pytest.approx(-M_AS.mean)


def test_the_curve_of_a_normal_prior_is_symmetric_and_lets_go():
    informative, other = NormalMixture([1], [0.0], [0.3]), NormalMixture([1], [0.0], [2.0])
    found = curve(lambda x: robust(x, informative, other), normal_outcomes(np.linspace(-4, 4, 21), 0.4), centre=0.0)
    assert found["weight"].to_list() == pytest.approx(found["weight"].to_list()[::-1])
    assert found["pulled"].to_list() == pytest.approx((-found["pulled"]).to_list()[::-1])
    assert found["weight"][0] < 1e-4
    assert found["weight"][10] > 0.9
    pulled = found["pulled"].abs().to_list()
    assert pulled[0] < max(pulled) / 2  # the pull grows, then gives way


def test_the_tipping_weight_is_where_the_probability_meets_the_threshold():
    """Two normal arms in conflict: borrowing lowers the control, so a success needs it."""
    treated, trial = NormalMixture([1], [1.0], [0.3]), Normal(0.6, 0.3)
    informative, other = NormalMixture([1], [0.0], [0.2]), NormalMixture([1], [0.0], [3.0])

    def success(w):
        return probability_above(treated, robust(trial, informative, other, weight_on_vague=w).posterior)

    (tip,) = flips(success, 0.01, 0.99, 0.9)
    assert not tip.up
    assert success(tip.low) == pytest.approx(0.9, abs=1e-5)
    assert flips(success, 0.01, 0.05, 0.5) == []


def test_the_tipping_outcome_lies_between_two_counts():
    treated = BetaMixture([1], [0.5], [1]).updated(14, 24)
    outcomes = range(25)
    success = [
        probability_above(treated, robust(Binomial(y, 24), M_AS, vague(Binomial(y, 24))).posterior) for y in outcomes
    ]
    (tip,) = flips_between(list(outcomes), success, 0.95)
    assert (tip.high - tip.low, tip.up) == (1, False)
    assert success[int(tip.low)] > 0.95 >= success[int(tip.high)]


def test_every_flip_is_found_where_the_decision_turns_back():
    found = flips(lambda x: 0.5 + 0.4 * np.sin(x), 0.0, 9.0, 0.5)
    # sin is zero at the start, so the first flip is up at once
    assert [f.low for f in found] == pytest.approx([0.0, np.pi, 2 * np.pi], abs=1e-4)
    assert [f.up for f in found] == [True, False, True]


def test_nonsense_is_refused():
    with pytest.raises(BorrowingError, match="write low < high"):
        flips(lambda x: 0.5, 1.0, 0.0, 0.9)
    with pytest.raises(BorrowingError, match="probability"):
        flips_between([0, 1], [0.2, np.nan], 0.9)
    assert len(poisson_outcomes([0, 1, 2], 10.0)) == 3
