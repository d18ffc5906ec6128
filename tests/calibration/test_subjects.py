"""Sixty-four quasi-random patients stand for the population: twice as many move no posterior mean by 0.1 SD."""

import pytest

from cohort.calibration import calibrate
from cohort.population import sample_population
from cohort.posterior import flat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FURTHER = pytest.mark.xfail(
    reason="measured +0.27 SD (error 0.04), a posterior from the prior; 128 to 256: +0.02", strict=True
)


@pytest.fixture(scope="module")
def shifts(laplace) -> dict[str, float]:
    """Shift of each posterior mean from 64 to 128 subjects, in posterior SDs. 2400 draws a fit: its error is 0.04."""
    enrolled = sample_population(laplace).people
    plan = laplace.calibration.model_copy(update={"subjects": 2 * laplace.calibration.subjects})
    doubled = laplace.model_copy(update={"calibration": plan})
    few, many = (calibrate(s, enrolled, leave_one_out=False) for s in (laplace, doubled))
    found = {}
    for name in laplace.calibration.priors:
        before, after = flat(few, name), flat(many, name)
        found[name] = float((after.mean() - before.mean()) / before.std())
    print({name: f"{shift:+.2f}" for name, shift in found.items()})
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("kout", "smax", "sc50", "sc50.spread", "sigma", "drift"),
        *("treatment_related_ae.background", "treatment_related_ae.drug"),
        pytest.param("smax.spread", marks=FURTHER),
    ],
)
def test_twice_as_many_subjects_move_nothing(shifts, name: str):
    assert abs(shifts[name]) < 0.1
