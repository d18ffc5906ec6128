"""Borrowing a log hazard ratio from E1684 for E1690, against published and NUTS fits of the same model."""

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.commensurate import Commensurability
from cohort.borrowing.survival import Intervals, Priors, commensurate, log_hazard_ratio, split
from tests.borrowing.published import CUTS, E1684, E1690, data


@pytest.mark.parametrize(
    ("intervals", "a0", "mean", "sd"),
    [
        (2, 0.0, -0.2703, 0.1281),
        (5, 0.0, -0.2867, 0.1276),
        (2, 0.5, -0.3157, 0.1093),
        (5, 0.5, -0.3196, 0.1098),
        (2, 1.0, -0.3405, 0.0973),
        (5, 1.0, -0.3392, 0.0976),
    ],
)
def test_independent_power_prior_of_e1684_for_e1690(intervals, a0, mean, sd):
    found = log_hazard_ratio(E1690[intervals], E1684[intervals], a0=a0)
    assert found.mean == pytest.approx(mean, abs=0.002)
    assert found.sd == pytest.approx(sd, abs=0.0015)


def test_independent_intervals_of_the_published_power_prior():
    for j, expected in ((2, (-0.529, -0.103)), (5, (-0.535, -0.106))):
        assert log_hazard_ratio(E1690[j], E1684[j], a0=0.5).interval() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("intervals", "mean", "sd"), [(2, -0.28, 0.13), (5, -0.29, 0.12)])
def test_independent_commensurate_slab_is_what_was_published(intervals, mean, sd):
    """The published fits were sampled; a spike of SD 0.1 at a precision of 200, far above the slab, is one that chains
    started in the slab need not find, and the slab alone gives what they printed."""
    slab = commensurate(E1690[intervals], E1684[intervals], Commensurability("spike-and-slab", share=0.0))
    assert slab.mean == pytest.approx(mean, abs=0.01)
    assert slab.sd == pytest.approx(sd, abs=0.006)


def test_double_programmed_commensurate_with_its_spike():
    """Slab and spike by scipy, each likelihood a normal density: they are nearly so."""
    j = 2
    own, past = (log_hazard_ratio(x[j]) for x in (E1690, E1684))

    def seen(tau):
        return stats.norm.pdf(own.mean, past.mean, np.sqrt(own.sd**2 + past.sd**2 + 1 / tau))

    def mean(tau):
        prior = past.sd**2 + 1 / tau
        return (own.mean * prior + past.mean * own.sd**2) / (prior + own.sd**2)

    def slab(f):
        return integrate.quad(lambda t: f(np.exp(t)) * stats.halfnorm.pdf(np.exp(t), scale=5) * np.exp(t), -45, 4)[0]

    total = 0.1 * seen(200) + 0.9 * slab(seen)
    expected = (0.1 * seen(200) * mean(200) + 0.9 * slab(lambda t: seen(t) * mean(t))) / total
    found = commensurate(E1690[j], E1684[j], Commensurability("spike-and-slab"))
    assert found.mean == pytest.approx(expected, abs=5e-4)
    assert found.mean == pytest.approx(-0.2924, abs=1e-4)  # the whole prior's, beside the slab's -0.2820


def test_commensurate_goes_from_no_borrowing_to_the_pooled_effect():
    found = [commensurate(E1690[2], E1684[2], Commensurability("half-normal", a)).mean for a in (0.1, 1.0, 100.0, 1e4)]
    full = commensurate(E1690[2], E1684[2], Commensurability("half-normal", 1e-3))
    own, past = log_hazard_ratio(E1690[2]), log_hazard_ratio(E1684[2])
    pooled = (own.mean / own.sd**2 + past.mean / past.sd**2) / (own.sd**-2 + past.sd**-2)
    assert [*found, own.mean] == sorted([*found, own.mean])  # ever less is borrowed of the larger effect
    assert full.mean == pytest.approx(pooled, abs=2e-3)  # baseline hazards stay each trial's own


def test_double_programmed_hazards_are_integrated():
    """One interval: the joint posterior of hazard and log hazard ratio on a plain grid."""
    x = Intervals(np.array([[5], [3]]), np.array([[40.0], [50.0]]))
    beta, hazard = np.linspace(-5, 4, 451)[:, None], np.linspace(1e-5, 0.8, 4001)
    log_p = 8 * np.log(hazard) + 3 * beta - hazard * (40 + 50 * np.exp(beta))
    p = np.exp(log_p - log_p.max() - 0.5 * (hazard / 0.1) ** 2 - 0.5 * beta**2)
    found = log_hazard_ratio(x, priors=Priors(log_ratio_sd=1.0, hazard_scale=0.1))
    assert found.mean == pytest.approx(float((beta * p).sum() / p.sum()), abs=1e-5)


def test_no_history_and_a_power_of_zero_are_one():
    assert log_hazard_ratio(E1690[2]).mean == pytest.approx(log_hazard_ratio(E1690[2], E1684[2], a0=0).mean, abs=1e-9)


@pytest.mark.parametrize("j", [2, 5])
def test_events_and_exposure_from_patients_are_those_typed_here(j):
    for name, typed in (("E1690", E1690[j]), ("E1684", E1684[j])):
        table = pl.read_csv(data(f"trials/e1684_e1690/{name}.csv"))
        time = np.where(table["failtime"].to_numpy() == 0, 0.5 / 365.25, table["failtime"].to_numpy())
        found = split(time, table["failcens"].to_numpy(), table["treatment"].to_numpy(), CUTS[j])
        assert found.events.tolist() == typed.events.tolist()
        assert found.exposure == pytest.approx(typed.exposure, rel=1e-5)


def test_arms_with_one_event_or_none_have_no_conclusion():
    with pytest.raises(BorrowingError) as e:
        Intervals(np.array([[0, 0], [1, 0]]), np.ones((2, 2)))
    assert "control: 0 events" in str(e.value)
    assert "treated: 1 events" in str(e.value)
    with pytest.raises(BorrowingError, match="cut both at the same times"):
        log_hazard_ratio(E1690[2], E1684[5], a0=0.5)
    with pytest.raises(BorrowingError, match="0 or 1"):
        split([1, 2], [1, 2], [0, 1], [0.5])


@pytest.mark.slow
@pytest.mark.parametrize("a0", [0.0, 0.5])
def test_independent_nuts_finds_the_log_hazard_ratio(a0):
    from cohort.borrowing.survival import fit
    from cohort.inference.diagnosis import flat
    from cohort.inference.sampling import Sampling

    tree = fit(E1690[2], E1684[2], a0=a0, seed=2, sampling=Sampling(warmup=500, draws=1500, chains=4))
    exact = log_hazard_ratio(E1690[2], E1684[2], a0=a0)
    assert flat(tree, "log_hazard_ratio").mean() == pytest.approx(exact.mean, abs=0.01)
    assert flat(tree, "log_hazard_ratio").std() == pytest.approx(exact.sd, abs=0.005)
