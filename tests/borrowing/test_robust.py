"""Robust borrowing and SAM: posterior weights against published ones, symmetry, and the trap of a wide vague part."""

import numpy as np
import pytest

from cohort.borrowing import BorrowingError
from cohort.borrowing.borrowed import subjects_borrowed, vague
from cohort.borrowing.density import gridded
from cohort.borrowing.robust import robust, weight_after
from cohort.borrowing.sam import sam, weight
from cohort.borrowing.trials import Binomial, Normal, Poisson
from cohort.mixture import BetaMixture, GammaMixture, MvNormalMixture, NormalMixture

M_AS = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])


@pytest.mark.parametrize(
    ("events", "n", "on_vague", "mean"),
    [
        (0, 6, 0.154307, 0.199775),
        (1, 6, 0.0974764, 0.242808),
        (2, 6, 0.115470, 0.280928),
        (3, 6, 0.203290, 0.340551),
        (4, 6, 0.427534, 0.462847),
        (5, 6, 0.766718, 0.667981),
        (6, 6, 0.963482, 0.860099),
        (2, 20, 0.122229, 0.190134),
        (5, 20, 0.0695977, 0.253827),
        (8, 20, 0.144405, 0.324378),
        (11, 20, 0.448527, 0.469056),
        (14, 20, 0.843194, 0.657089),
        (17, 20, 0.986227, 0.815493),
    ],
)
def test_independent_robust_weight_and_mean_are_the_published_ones(events, n, on_vague, mean):
    trial = Binomial(events, n)
    found = robust(trial, M_AS, vague(trial))
    assert (1 - found.weight, found.mean) == pytest.approx((on_vague, mean), rel=1e-5)


def test_a_density_in_place_of_its_mixture_changes_nothing():
    trial = Binomial(11, 20)
    exact, mixed = robust(trial, gridded(M_AS), vague(trial)), robust(trial, M_AS, vague(trial))
    assert (exact.weight, exact.mean, exact.sd) == pytest.approx((mixed.weight, mixed.mean, mixed.sd), abs=1e-6)
    assert exact.interval() == pytest.approx(mixed.interval(), abs=1e-5)


@pytest.mark.parametrize("w", [0.0, 1.0])
def test_weights_of_zero_and_one_are_full_and_no_borrowing(w):
    trial = Binomial(4, 20)
    found, alone = robust(trial, M_AS, vague(trial), weight_on_vague=w), (vague(trial) if w else M_AS)
    assert found.mean == pytest.approx(alone.updated(4, 20).mean)
    assert found.weight == 1 - w


def test_the_weight_is_symmetric_in_conflict():
    informative, other = NormalMixture([1], [-50.0], [15.0]), NormalMixture([1], [-50.0], [88.0])
    found = [weight_after(informative, other, 0.2, Normal(-50 + d, 20)) for d in (-80, -40, 0, 40, 80)]
    assert found == pytest.approx(found[::-1])
    assert found[2] < found[1] < found[0]


@pytest.mark.parametrize(("events", "w"), [(3, 0.2277235), (6, 0.7198017), (9, 0.2696492), (12, 0.0503887)])
def test_independent_sam_weight_is_the_published_one(events, w):
    assert weight(Binomial(events, 20), 0.3, 0.15) == pytest.approx(w, abs=1e-7)


def test_sam_is_a_robust_mixture_of_its_weight_and_says_that_it_uses_the_data_twice():
    trial = Binomial(9, 20)
    found, w = sam(trial, M_AS, vague(trial), delta=0.15, centre=0.3), weight(trial, 0.3, 0.15)
    assert found.mean == pytest.approx(robust(trial, M_AS, vague(trial), weight_on_vague=1 - w).mean)
    assert found.uses_data_twice
    assert not robust(trial, M_AS, vague(trial)).uses_data_twice
    # at 0.1 only the side above is a probability
    assert weight(Binomial(0, 10), 0.1, 0.15) == pytest.approx(0.9**10 / (0.9**10 + 0.75**10))


def test_a_wide_vague_part_in_five_dimensions_is_nominal_and_a_unit_one_is_not():
    """Lindley: under N(0, 100 I) the informative part wins whatever its prior weight, though every mean is 2 SD off."""
    d, eye = 5, np.eye(5)
    map_part = MvNormalMixture([1], np.zeros((1, d)), (0.3**2 * eye)[None])
    y, cov = np.full(d, 0.6), 0.1**2 * eye

    def on_vague(w, scale):
        mixed = map_part.robust(w, MvNormalMixture([1], np.zeros((1, d)), (scale**2 * eye)[None]))
        return float(mixed.updated(y, cov).weight[-1])

    assert all(on_vague(w, 10.0) < 0.01 for w in (0.2, 0.5, 0.9))
    assert all(on_vague(w, 1.0) > 0.7 for w in (0.2, 0.5, 0.9))


def test_the_vague_part_is_worth_one_subject_by_default():
    assert (vague(Binomial(1, 5)).a[0], vague(Binomial(1, 5)).b[0]) == (1, 1)
    assert vague(Normal(1, 0.2), mean=3, unit_sd=8).sd == 8
    rate = vague(Poisson(2, 5.0), mean=0.4)
    assert (rate.mean, rate.shape[0]) == (0.4, 1)


def test_subjects_borrowed_are_those_of_the_precisions():
    trial = Normal(0.0, 1.0)
    alone = robust(trial, NormalMixture([1], [0.0], [0.5]), NormalMixture([1], [0.0], [1e6]), weight_on_vague=1.0)
    full = robust(trial, NormalMixture([1], [0.0], [0.5]), NormalMixture([1], [0.0], [1e6]), weight_on_vague=0.0)
    assert subjects_borrowed(full, alone, 30) == pytest.approx(120)  # precision 4 beside the trial's 1


def test_data_of_another_kind_and_weights_outside_zero_to_one_are_refused():
    with pytest.raises(BorrowingError, match="write a NormalMixture"):
        robust(Normal(0, 1), M_AS, M_AS)
    with pytest.raises(BorrowingError, match="outside 0 to 1"):
        robust(Binomial(1, 5), M_AS, M_AS, weight_on_vague=1.2)
    with pytest.raises(BorrowingError, match="holds 2 trials"):
        robust(Binomial([1, 2], [5, 6]), M_AS, M_AS)
    with pytest.raises(BorrowingError, match="standard deviation of one subject"):
        vague(Normal(0, 1), mean=0)
    with pytest.raises(BorrowingError, match="write a smaller one"):
        weight(Binomial(1, 5), 0.5, 0.6)
    assert isinstance(vague(Poisson(1, 2.0), mean=1.0), GammaMixture)


def test_what_is_borrowed_is_never_more_than_the_history_that_there_is():
    from cohort.borrowing.power import fixed

    for trial, history in (((0, 20), (0, 50)), ((2, 20), (2, 50)), ((6, 20), (5, 50)), ((2, 20), (15, 50))):
        none, full = (fixed(Binomial(*trial), Binomial(*history), a0) for a0 in (0.0, 1.0))
        assert subjects_borrowed(full, none, 20) == pytest.approx(50)
