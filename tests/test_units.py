"""Quantities mean what they say, or are refused."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.units import factor, quantity, unit


def test_a_week_is_seven_days():
    assert quantity("12 wk", "time").to("d") == pytest.approx(84, rel=1e-15)


def test_a_year_is_365_and_a_quarter_days():
    assert factor("y", "d") == pytest.approx(365.25, rel=1e-15)


def test_a_gram_is_a_million_micrograms():
    assert factor("g", "ug") == pytest.approx(1e6)


def test_a_percent_is_a_hundredth():
    assert factor("percent", "1") == pytest.approx(0.01)


def test_141_8_kilodalton_make_a_nanomolar_0_1418_micrograms_per_millilitre():
    assert 141_800 * factor("g/mol*nmol/L", "ug/mL") == pytest.approx(0.1418)


def test_a_quantity_reads_back_as_itself():
    assert str(quantity("0.30000000000000004 mg", "mass")) == "0.30000000000000004 mg"
    assert str(quantity("2.0 wk", "time")) == "2 wk"


@pytest.mark.parametrize(
    "text", ["10 mgs", "10 mgg", "10 Mg", "10 MG", "10", "mg", "", "ten mg", "1e400 mg", "10 wk", 10, None, True]
)
def test_what_is_not_a_mass_is_refused_with_a_hint(text):
    with pytest.raises(ValueError, match=r"is not a mass; write a number and one of ug, mg, g, kg"):
        quantity(text, "mass")


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "mg**9**9**9", "((mg)", "1/0", "mg//0", "mg #", "'", "mg**mg", "\x00", "("]
)
def test_a_unit_is_never_evaluated_as_arithmetic(text):
    with pytest.raises(ValueError, match="is not a unit"):
        unit(text)


@pytest.mark.parametrize("text", ["yy", "dd", "mg/dd", "Mwk"])
def test_a_letter_too_many_makes_no_fraction_of_a_day(text):
    with pytest.raises(ValueError, match="is not a unit"):
        unit(text)


@pytest.mark.parametrize(
    "text", ["1", "1/d", "ug/mL/nM", "kg/m**2", "(mg/dL)/d", "(nmol)/d", "mg / dL", "m^2", "%", "µg"]
)
def test_units_in_use_are_known(text):
    unit(text)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_whatever_is_written_a_quantity_is_read_or_refused(text):
    for write in (text, f"1 {text}"):
        with contextlib.suppress(ValueError):
            assert quantity(write, "mass").to("mg") < math.inf
