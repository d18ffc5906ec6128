"""Commensurate priors of a mean: their limits, symmetry, and a double integral in scipy."""

import numpy as np
import pytest
from scipy import integrate, stats

from cohort.borrowing import BorrowingError
from cohort.borrowing.commensurate import Commensurability, commensurate
from cohort.borrowing.power import fixed
from cohort.borrowing.trials import Normal

TRIAL, HISTORY = Normal(-63.1, 13.9), Normal(-49, 6.83)


def test_double_programmed_half_normal_commensurability():
    found = commensurate(TRIAL, HISTORY, Commensurability("half-normal", 12.0))

    def seen(s):
        return stats.norm.pdf(-63.1, -49, np.sqrt(13.9**2 + 6.83**2 + s**2)) * stats.halfnorm.pdf(s, scale=12.0)

    def mean(s):
        prior = 6.83**2 + s**2
        return (-63.1 * prior - 49 * 13.9**2) / (prior + 13.9**2)

    total = integrate.quad(seen, 0, 120)[0]
    assert found.mean == pytest.approx(integrate.quad(lambda s: mean(s) * seen(s), 0, 120)[0] / total, abs=1e-6)


def test_double_programmed_spike_and_slab():
    """The spike taken for a point, as it nearly is; the slab by scipy over the precision."""
    found = commensurate(TRIAL, HISTORY, Commensurability("spike-and-slab", share=0.3, spike=(0.5, 1e-4), slab=0.01))

    def seen(tau):
        return stats.norm.pdf(-63.1, -49, np.sqrt(13.9**2 + 6.83**2 + 1 / tau))

    def mean(tau):
        prior = 6.83**2 + 1 / tau
        return (-63.1 * prior - 49 * 13.9**2) / (prior + 13.9**2)

    def over(f):
        return integrate.quad(lambda t: f(np.exp(t)) * stats.halfnorm.pdf(np.exp(t), scale=0.01) * np.exp(t), -45, 0)[0]

    total = 0.3 * seen(0.5) + 0.7 * over(seen)
    expected = (0.3 * seen(0.5) * mean(0.5) + 0.7 * over(lambda t: seen(t) * mean(t))) / total
    assert found.mean == pytest.approx(expected, abs=1e-5)


def test_no_spread_pools_and_a_wider_one_borrows_less_as_the_logarithm_of_its_scale():
    pooled, alone = fixed(TRIAL, HISTORY, 1.0), fixed(TRIAL, HISTORY, 0.0)
    tight = commensurate(TRIAL, HISTORY, Commensurability("half-normal", 1e-3))
    assert (tight.mean, tight.sd) == pytest.approx((pooled.mean, pooled.sd), abs=1e-5)
    wide = [commensurate(TRIAL, HISTORY, Commensurability("half-normal", a)) for a in (1e3, 1e5, 1e7)]
    shift = [found.mean - alone.mean for found in wide]
    # the evidence of a wide half-normal is an integral of ds / s, so what is borrowed falls as 1 / log(scale)
    assert 1 / shift[1] - 1 / shift[0] == pytest.approx(1 / shift[2] - 1 / shift[1], rel=0.01)
    assert shift[0] > shift[1] > shift[2] > 0


@pytest.mark.parametrize("kind", ["gamma", "half-normal", "spike-and-slab"])
def test_the_share_borrowed_is_symmetric_in_conflict_and_falls_with_it(kind):
    tau = Commensurability(kind, 0.5, 0.5) if kind != "half-normal" else Commensurability(kind, 5.0)
    found = [commensurate(Normal(-49 + d, 13.9), HISTORY, tau).weight for d in (-90, -45, 0, 45, 90)]
    assert found == pytest.approx(found[::-1], rel=1e-9)
    assert found[0] < found[1] < found[2]


def test_adding_a_constant_to_both_sources_adds_it_to_the_posterior():
    tau = Commensurability("gamma", 0.001, 0.001)
    here = commensurate(TRIAL, HISTORY, tau)
    there = commensurate(Normal(-63.1 + 1000, 13.9), Normal(-49 + 1000, 6.83), tau)
    assert there.mean - here.mean == pytest.approx(1000, abs=1e-8)
    assert (there.sd, there.weight) == pytest.approx((here.sd, here.weight))


def test_bad_priors_are_refused_all_at_once():
    with pytest.raises(BorrowingError) as e:
        Commensurability("sharp", a=-1.0, share=1.5)  # type: ignore[arg-type]
    assert len(str(e.value).splitlines()) == 3
