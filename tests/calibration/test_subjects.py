"""Sixty-four quasi-random patients stand for the population: twice as many move no posterior mean by 0.1 SD."""

import pytest

from cohort.calibration import calibrate
from cohort.enrolment import sample_population
from cohort.inference.diagnosis import flat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shifts(laplace) -> dict[str, float]:
    """Shift of each posterior mean from 64 to 128 subjects, in posterior SDs. Four times a study's draws, 9600 a fit:
    its error is 0.02, where 2400 leave 0.04, too much to tell 0.1 from 0.05."""
    enrolled = sample_population(laplace).people
    own, fits = laplace.calibration, []
    for subjects in (own.subjects, 2 * own.subjects):
        plan = own.model_copy(update={"subjects": subjects, "draws": 4 * own.draws})
        study = laplace.model_copy(update={"calibration": plan})
        fits.append(calibrate(study, enrolled, leave_one_out=False))
    few, many = fits
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
        *("smax.spread", "treatment_related_ae.background", "treatment_related_ae.drug"),
    ],
)
def test_twice_as_many_subjects_move_nothing(shifts, name: str):
    assert abs(shifts[name]) < 0.1
