"""An external control of survival, against published fits of the same data from their sufficient statistics."""

import numpy as np
import pytest

from cohort.borrowing import BorrowingError
from cohort.borrowing.commensurate import Commensurability
from cohort.borrowing.external import external_control
from cohort.borrowing.trials import Poisson
from tests.borrowing.published import CONTROL, EXTERNAL, TREATED


def test_independent_commensurate_gamma():
    found = external_control(CONTROL, EXTERNAL, TREATED, Commensurability("gamma", 0.001, 0.001))
    ratio = found.log_hazard_ratio
    assert (ratio.mean, ratio.sd) == pytest.approx((-0.1557, 0.1984), abs=0.002)
    assert ratio.quantile([0.05, 0.95]) == pytest.approx([-0.4782, 0.1742], abs=0.003)
    assert (found.hazard_ratio_mean, np.exp(ratio.quantile(0.5))) == pytest.approx((0.8729, 0.8544), abs=0.002)
    assert (found.control.mean, found.control.sd) == pytest.approx((-3.3573, 0.161), abs=0.002)
    assert (found.external.mean, found.external.sd) == pytest.approx((-2.4003, 0.0558), abs=0.001)
    assert (found.tau_mean, found.tau_quantile(0.5)) == pytest.approx((1.208, 0.495), abs=0.01)


def test_independent_commensurate_gamma_of_a_larger_shape():
    found = external_control(CONTROL, EXTERNAL, TREATED, Commensurability("gamma", 1.0, 0.001))
    assert (found.log_hazard_ratio.mean, found.log_hazard_ratio.sd) == pytest.approx((-0.2165, 0.1987), abs=0.003)
    assert found.hazard_ratio_mean == pytest.approx(0.8214, abs=0.003)
    assert found.tau_mean == pytest.approx(4.235, rel=0.02)


def test_independent_no_and_full_borrowing():
    none = external_control(CONTROL, EXTERNAL, TREATED)
    full = external_control(CONTROL, EXTERNAL, TREATED, full=True)
    assert (none.log_hazard_ratio.mean, none.log_hazard_ratio.sd) == pytest.approx((-0.1309, 0.1973), abs=0.002)
    assert (full.log_hazard_ratio.mean, full.log_hazard_ratio.sd) == pytest.approx((-0.9552, 0.1267), abs=0.001)
    assert full.hazard_ratio_mean == pytest.approx(0.3878, abs=0.0005)


def test_independent_no_borrowing_is_the_difference_of_log_gammas():
    """Under flat priors of the log hazards, each is the log of a gamma variable: mean digamma(d) - log exposure."""
    from scipy.special import digamma, polygamma

    found = external_control(CONTROL, EXTERNAL, TREATED).log_hazard_ratio
    mean = digamma(75) - np.log(2502.05582382) - digamma(39) + np.log(1136.23335695)
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.sd == pytest.approx(np.sqrt(polygamma(1, 75) + polygamma(1, 39)), abs=1e-6)


def test_without_borrowing_the_external_arm_changes_nothing_whatever_its_drift():
    here = external_control(CONTROL, EXTERNAL, TREATED).log_hazard_ratio
    there = external_control(CONTROL, Poisson(326, 900.0), TREATED).log_hazard_ratio
    assert (here.mean, here.sd) == pytest.approx((there.mean, there.sd), abs=1e-9)


def test_borrowing_gives_way_with_conflict():
    tau = Commensurability("gamma", 0.001, 0.001)
    mean = [external_control(CONTROL, Poisson(326, e), TREATED, tau).tau_quantile(0.5) for e in (9000, 3575, 1000)]
    assert mean == sorted(mean, reverse=True)


def test_arms_without_enough_events_are_refused_all_at_once():
    with pytest.raises(BorrowingError) as e:
        external_control(Poisson(0, 10.0), Poisson(1, 10.0), TREATED, Commensurability("gamma"), full=True)
    assert len(str(e.value).splitlines()) == 3
