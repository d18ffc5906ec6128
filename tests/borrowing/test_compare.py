"""The side-by-side table against the published robust analysis, and its invariants."""

import numpy as np
import pytest
from scipy import integrate

from cohort.borrowing import BorrowingError
from cohort.borrowing.borrowed import vague
from cohort.borrowing.commensurate import Commensurability
from cohort.borrowing.compare import effect_interval, methods, probability_above, table
from cohort.borrowing.robust import robust
from cohort.borrowing.trials import Binomial, Normal, Poisson
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture
from tests.borrowing.published import AS, CROHN, CROHN_N

M_AS = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
TRIAL = Binomial(1, 6)
TREATED = BetaMixture([1], [0.5], [1]).updated(14, 24)


@pytest.fixture(scope="module")
def found():
    rows = methods(TRIAL, AS, M_AS, vague(TRIAL), delta=0.15, n_cap=24)
    return table(rows, subjects=6, treatment=TREATED)


def row(table, method):
    return table.filter(table["method"] == method).row(0, named=True)


def test_independent_robust_row_is_the_published_analysis(found):
    robust_20, full = row(found, "robust, 0.2 vague"), row(found, "full borrowing")
    assert (robust_20["mean"], robust_20["sd"]) == pytest.approx((0.24280816, 0.07881635), rel=1e-6)
    assert (robust_20["low"], robust_20["high"]) == pytest.approx((0.09219458, 0.42540511), abs=2e-5)
    assert robust_20["p_above"] == pytest.approx(0.99132326770, abs=1e-9)
    assert (robust_20["effect_low"], robust_20["effect_high"]) == pytest.approx((0.070464, 0.558870), abs=2e-5)
    assert robust_20["prior_ess"] == pytest.approx(25.730952, rel=1e-3)
    assert full["p_above"] == pytest.approx(0.9953022173, abs=1e-7)  # its own quadrature's digits
    assert full["prior_ess"] == pytest.approx(36.817273, rel=1e-3)


def test_independent_ess_by_robust_weight_is_the_published_one(found):
    ess = [row(found, f"robust, {w:g} vague")["prior_ess"] for w in (0.1, 0.2, 0.5, 0.8, 0.9)]
    assert ess == pytest.approx([30.818528, 25.730952, 12.69737, 3.0374859, 0.98070062], rel=1e-3)


def test_the_first_row_borrows_nothing_and_pooling_borrows_most(found):
    assert found["method"][0] == "no borrowing"
    assert found["subjects_borrowed"][0] == 0
    assert found["subjects_borrowed"].arg_max() == found["method"].to_list().index("pooled")
    swept = [row(found, f"robust, {w / 10:g} vague")["subjects_borrowed"] for w in range(1, 10)]
    assert swept == sorted(swept, reverse=True)


def test_only_the_methods_that_use_the_data_twice_say_so(found):
    assert found.filter(found["uses_data_twice"])["method"].to_list() == ["discount function", "SAM"]


def test_the_cap_holds_in_every_row_that_it_names(found):
    power = found.filter(found["method"].str.starts_with("power prior"))
    assert power["weight"][0] * 513 == pytest.approx(24)
    assert row(found, "discount function")["weight"] * 513 <= 24
    assert row(found, "normalised power prior")["weight"] * 513 <= 24


def test_normal_and_poisson_controls_have_their_tables():
    trial = Normal(-70, 88 / np.sqrt(20))
    informative, other = NormalMixture([1], [-50.0], [19.0]), vague(trial, mean=-50, unit_sd=88)
    tau = Commensurability("half-normal", 20.0)
    rows = methods(trial, CROHN, informative, other, delta=20, tau=tau, n_cap=20, subjects=float(CROHN_N.sum()))
    made = table(rows, subjects=20, sigma=88.0)
    assert "commensurate, half-normal" in made["method"].to_list()
    assert row(made, "full borrowing")["prior_ess"] == pytest.approx((88 / 19) ** 2)
    assert made["mean"].is_between(-70, -45).all()
    counts = Poisson(8, 20.0)
    informative, other = GammaMixture([1], [30.0], [80.0]), vague(counts, mean=0.4)
    assert len(table(methods(counts, Poisson(32, 90.0), informative, other, delta=0.2), subjects=20)) == 15


def test_double_programmed_probability_and_interval_of_a_difference():
    control = robust(TRIAL, M_AS, vague(TRIAL)).posterior
    direct = integrate.quad(lambda x: control.pdf(x) * (1 - TREATED.cdf(x + 0.1)), 0, 1, limit=200)[0]
    assert probability_above(TREATED, control, 0.1) == pytest.approx(direct, abs=1e-7)
    a, b = NormalMixture([1], [3.0], [2.0]), NormalMixture([1], [1.0], [1.5])
    assert effect_interval(a, b) == pytest.approx((2 - 1.959964 * 2.5, 2 + 1.959964 * 2.5), abs=1e-4)


def test_bad_requests_are_refused_all_at_once():
    with pytest.raises(BorrowingError) as e:
        table([], subjects=0, level=1.2)
    assert len(str(e.value).splitlines()) == 3
