"""A regimen becomes the doses that a nurse would give."""

from types import SimpleNamespace

import numpy as np
import pytest

from cohort.dosing import amount, events, times
from cohort.study import Arm
from cohort.units import Quantity

SUBJECTS = ["1", "2", "3"]


def _arm(every: str = "2 wk", duration: str = "12 wk", dose: str = "140 mg") -> Arm:
    def quantity(text: str) -> Quantity:
        number, unit = text.split()
        return Quantity(float(number), unit)

    return Arm.model_validate(
        {"n": 10, "dose": quantity(dose), "route": "sc", "every": quantity(every), "for": quantity(duration)}
    )


def test_every_two_weeks_for_twelve_is_six_doses_the_last_in_week_ten():
    assert times(_arm().regimens[0], "d").tolist() == [0, 14, 28, 42, 56, 70]


def test_every_four_weeks_for_twelve_is_three_doses():
    assert times(_arm(every="4 wk").regimens[0], "d").tolist() == [0, 28, 56]


@pytest.mark.parametrize(("every", "doses"), [("1 d", 84), ("1 wk", 12), ("5 wk", 3), ("12 wk", 1), ("20 wk", 1)])
def test_no_dose_falls_on_the_end_or_after_it(every: str, doses: int):
    given = times(_arm(every=every).regimens[0], "d")
    assert len(given) == doses
    assert given[-1] < 84


@pytest.mark.parametrize(
    ("every", "duration", "doses"), [("0.7 d", "2.1 d", 3), ("0.1 d", "0.3 d", 3), ("8 h", "1 d", 3)]
)
def test_rounding_adds_no_dose(every: str, duration: str, doses: int):
    assert len(times(_arm(every=every, duration=duration).regimens[0], "d")) == doses


def test_a_dose_is_the_same_in_hours_and_days():
    assert times(_arm().regimens[0], "h") == pytest.approx(times(_arm().regimens[0], "d") * 24)


def test_140_mg_of_141_8_kilodalton_are_987_nanomol(evolocumab):
    assert amount(_arm().regimens[0], evolocumab) == pytest.approx(140e-3 / 141_800 * 1e9)
    assert amount(_arm(dose="140000 ug").regimens[0], evolocumab) == pytest.approx(140e-3 / 141_800 * 1e9)


def test_without_a_molar_mass_a_dose_stays_in_mg(linear):
    assert amount(_arm(dose="0.14 g").regimens[0], linear) == pytest.approx(140)


def test_a_dose_may_have_the_unit_of_the_state_it_enters(linear, evolocumab):
    volts = linear.state.fields() | {"depot": linear.state.fields()["depot"] | {"unit": "mV"}}
    record = type("Charged", (), {"fields": staticmethod(lambda: volts)})
    charged = SimpleNamespace(routes=linear.routes, state=record)
    assert amount(_arm(dose="0.04 V").regimens[0], charged) == pytest.approx(40)  # type: ignore[arg-type]
    assert amount(_arm(dose="0.5 umol").regimens[0], evolocumab) == pytest.approx(500), "moles need no molar mass"


def test_decisions_are_at_the_rules_own_times(evolocumab):
    arm = Arm.model_validate({"n": 10, "rule": {"name": "any", "at": ["0 h", "36 h", "5 d"]}}, strict=True)
    assert events(arm, evolocumab, SUBJECTS, 1, 84.0).rows["time"].to_list() == [0, 1.5, 5]
    assert events(arm, evolocumab, SUBJECTS, 1, 5.0).rows["time"].to_list() == [0, 1.5, 5]
    assert events(arm, evolocumab, SUBJECTS, 1, 4.9).rows["time"].to_list() == [0, 1.5]


def test_placebo_is_no_dose(evolocumab):
    assert events(Arm(n=10), evolocumab, SUBJECTS, 1, 84.0).rows.is_empty()


def test_everyone_in_an_arm_has_the_same_doses(evolocumab):
    given = events(_arm(), evolocumab, SUBJECTS, 1, 84.0)
    assert given.course.tolist() == [0, 0, 0]
    assert given.rows["into"].to_list() == ["sc"] * 6
    assert np.all(given.rows["amount"].to_numpy() == amount(_arm().regimens[0], evolocumab))
