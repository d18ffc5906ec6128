"""Residual errors: what is measured of a true value, against the distributions that they are named after."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy

from cohort import Scalar, additive, beta_error, lognormal_error, of_baseline, proportional
from cohort.model import Error, Record, exponential, fixed

Z = np.array([[-3.0, -1.0, 0.0, 1.0, 3.0]])


def none(name: str) -> np.ndarray:
    raise AssertionError(name)


def test_a_beta_error_is_the_quantile_of_the_beta_distribution():
    true = np.full((1, 5), 24.0)
    got = beta_error(87.5, 70.0).measured(true, Z, none)
    want = 70 * scipy.stats.beta.ppf(scipy.stats.norm.cdf(Z), 24 / 70 * 87.5, 46 / 70 * 87.5)
    assert got == pytest.approx(want, rel=1e-10)
    assert ((got > 0) & (got < 70)).all()


def test_a_beta_errors_sd_at_24_of_70_is_that_of_the_published_score_model():
    """Precision 87.5: residual SD 3.53 at a score of 24 (Conrado 2014 as quoted in the science notes)."""
    assert beta_error(87.5, 70.0).sd(np.array([[24.0]]), none)[0, 0] == pytest.approx(3.53, abs=0.005)


def test_at_the_bound_of_a_score_there_is_no_room_to_err_in():
    got = beta_error("tau", 70.0).measured(np.array([[0.0, 70.0, 35.0]]), np.ones((1, 3)), lambda _: np.array([87.5]))
    assert got[0, :2].tolist() == [0.0, 70.0]
    assert got[0, 2] > 35


def test_a_lognormal_error_multiplies_and_its_sd_is_that_of_the_distribution():
    error = lognormal_error("s")
    got = error.measured(np.full((1, 5), 2.5), Z, lambda _: np.array([0.18]))
    assert got == pytest.approx(2.5 * np.exp(0.18 * Z))
    want = scipy.stats.lognorm(0.18, scale=2.5).std()
    assert error.sd(np.array([[2.5]]), lambda _: np.array([0.18]))[0, 0] == pytest.approx(want, rel=1e-12)


def test_normal_parts_add_their_variances_as_before():
    error = proportional(0.2) + additive(3.0) + of_baseline(10.0)
    true = np.array([[100.0, 50.0]])
    got = error.measured(true, np.ones((1, 2)), none)
    assert got[0, 0] == 100 + np.hypot(20, 3)
    assert got[0, 1] == pytest.approx(50 + np.sqrt(10**2 + 3**2 + 10**2))


@pytest.mark.parametrize("other", [lognormal_error(0.1), beta_error(10, 1)])
def test_errors_that_keep_the_bounds_stand_alone(other: Error):
    with pytest.raises(ValueError, match="errors of their own"):
        _ = additive(1.0) + other


def test_an_exponential_threshold_has_the_exponential_distribution(one_parameter):
    z = np.array([-30.0, -8.0, -1.0, 0.0, 1.0, 8.0, 30.0])
    got = np.asarray(one_parameter.varied(one_parameter.typical(), {"threshold": z}).threshold)
    want = -scipy.special.log_ndtr(-z) * 2.0  # -log P(Z > z)
    assert got[2:] == pytest.approx(want[2:], rel=1e-6)
    assert got[:2] == pytest.approx(want[:2], abs=1e-6)  # there the event is next to certain at once
    assert scipy.stats.expon(scale=2).cdf(got[2:6]) == pytest.approx(scipy.stats.norm.cdf(z[2:6]), rel=1e-6)
    assert (got >= 0).all()


@pytest.fixture
def one_parameter():
    from cohort import Model, quantity

    class X(Record):
        pass

    class P(Record):
        threshold: Scalar = exponential(2.0, "1", about="threshold", source="made up")
        k: Scalar = fixed(0.1, "1/d", about="rate", source="made up")

    class Y(Record):
        h: Scalar = quantity("1", "cumulative hazard")

    class Seen(Record):
        happened: Scalar = quantity("1", "whether the event has happened")

    return Model(
        covariates=X,
        parameters=P,
        state=Y,
        outputs=Seen,
        time="d",
        individual=lambda p, x: p,
        initial=lambda p: Y(h=0.0),
        ode=lambda t, y, p: Y(h=p.k),
        observe=lambda t, y, p: Seen(happened=jnp.where(y.h > p.threshold, 1.0, 0.0)),
        routes={},
        endpoints={},
    )
