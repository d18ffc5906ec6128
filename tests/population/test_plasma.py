"""Kidney function and plasma proteins against published values.

References
----------
[1] Inker et al. 2021, N Engl J Med 385:1737: CKD-EPI 2021.
[2] An independent calculation of [1]: tests of an R package for the Swiss Transplant Cohort Study (egfr_2021).
[3] NHANES 2013-2018: mean and SD of [1] by sex and age (our figures, of the survey itself).
[4] Campion, deLabry & Glynn 1988, J Gerontol 43:M18: albumin of healthy men, by 0.54 g/L a decade; 42.5 (SD 2.6) g/L in
    the eighth decade of life.
[5] Weaving, Batstone & Jones 2016, Ann Clin Biochem 53:106: a million reports; women's albumin is lower than men's, and
    meets it at 60 y.
[6] Reference range of alpha-1-acid glycoprotein in serum of adults: 0.55 to 1.4 g/L, as clinical laboratories print it.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.population.plasma import ckd_epi_2021, creatinine_of
from cohort.population.sources import names, source
from cohort.streams import streams

MEN, WOMEN = 0, 1

type People = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=["us", "europe", "japan"])
def people(request: pytest.FixtureRequest) -> People:
    return source(request.param).people(streams(1, "population", names(0, 20_000)))


def gfr(sex: int, age: float, creatinine: float) -> float:
    return float(ckd_epi_2021(np.array([sex]), np.array([age]), np.array([creatinine]))[0])


# [2], by sex and age, at 50, 200 and 1000 µmol/L; 88.4 µmol/L are 1 mg/dL.
@pytest.mark.parametrize(
    ("sex", "age", "published"),
    [
        (WOMEN, 20, (133.593163688188, 31.0592504679203, 4.50222262164412)),
        (WOMEN, 60, (104.17030388951, 24.2186910654752, 3.51064295302982)),
        (MEN, 20, (144.284189204047, 41.4938585174298, 6.01478096419053)),
        (MEN, 60, (112.506713823456, 32.3551574944189, 4.69007203340876)),
    ],
)
def test_gfr_is_that_of_an_independent_calculation(sex: int, age: float, published: tuple[float, ...]):
    assert [gfr(sex, age, c / 88.4) for c in (50, 200, 1000)] == pytest.approx(published, rel=1e-3)


def test_gfr_of_one_milligram_at_fifty():
    assert gfr(MEN, 50, 1.0) == pytest.approx(91.7, abs=0.05)
    assert gfr(WOMEN, 50, 1.0) == pytest.approx(68.6, abs=0.05)


def test_both_branches_of_the_equation_meet():
    """[1]: at 0.9 (men) and 0.7 mg/dL (women), where 142 and 142 × 1.012 fall with age alone."""
    assert gfr(MEN, 0, 0.9) == pytest.approx(142)
    assert gfr(WOMEN, 0, 0.7) == pytest.approx(142 * 1.012)
    for sex, at in ((MEN, 0.9), (WOMEN, 0.7)):
        assert gfr(sex, 40, at * (1 - 1e-9)) == pytest.approx(gfr(sex, 40, at * (1 + 1e-9)))


@given(sex=st.integers(0, 1), age=st.floats(18, 95), creatinine=st.floats(0.15, 20))
def test_gfr_tells_the_creatinine(sex: int, age: float, creatinine: float):
    who, years = np.array([sex]), np.array([age])
    rate = ckd_epi_2021(who, years, np.array([creatinine]))
    assert creatinine_of(who, years, rate)[0] == pytest.approx(creatinine, rel=1e-9)


@given(sex=st.integers(0, 1), age=st.floats(18, 94), creatinine=st.floats(0.2, 15))
def test_kidneys_filter_less_with_age_and_with_more_creatinine(sex: int, age: float, creatinine: float):
    assert gfr(sex, age + 1, creatinine) == pytest.approx(0.9938 * gfr(sex, age, creatinine))
    assert gfr(sex, age, 1.1 * creatinine) < gfr(sex, age, creatinine)


@pytest.mark.parametrize(
    ("sex", "ages", "mean"),
    [(MEN, (20, 40), 109.1), (MEN, (60, 70), 82.9), (WOMEN, (20, 40), 113.0), (WOMEN, (60, 70), 82.2)],
)
def test_us_adults_filter_as_in_the_survey(sex: int, ages: tuple[float, float], mean: float):
    """[3]"""
    x = source("us").people(streams(2, "population", names(0, 20_000)))
    who = (x["sex"] == sex) & (x["age"] >= ages[0]) & (x["age"] < ages[1])
    assert x["gfr"][who].mean() == pytest.approx(mean, abs=3)


def test_creatinine_and_gfr_are_of_one_kidney(people: People):
    assert people["gfr"] == pytest.approx(ckd_epi_2021(people["sex"], people["age"], people["creatinine"]), rel=1e-12)
    assert np.corrcoef(people["age"], people["gfr"])[0, 1] < -0.5


def test_measured_gfr_is_of_the_whole_body(people: People):
    """In proportion to body surface, and 20.6 % around the estimate (httk)."""
    ratio = np.log(people["measured_gfr"] / (people["gfr"] * people["bsa"] / 1.73))
    assert ratio.mean() == pytest.approx(0, abs=0.005)
    assert ratio.std() == pytest.approx(0.206, abs=0.005)
    assert np.corrcoef(people["bsa"], people["measured_gfr"])[0, 1] > 0.2


def test_haematocrit_is_that_of_living_people(people: People):
    assert ((people["haematocrit"] > 0.15) & (people["haematocrit"] < 0.65)).all()
    men, women = (people["haematocrit"][people["sex"] == s].mean() for s in (MEN, WOMEN))
    assert men - women == pytest.approx(0.045, abs=0.01)  # NHANES: 0.445 and 0.400


def test_albumin_of_men_is_that_of_the_normative_aging_study(people: People):
    men, age, albumin = people["sex"] == MEN, people["age"], people["albumin"]
    old = men & (age >= 70)
    assert albumin[old].mean() == pytest.approx(42.5, abs=0.2)  # [4]
    assert albumin[old].std() == pytest.approx(2.6, abs=0.15)
    slope = np.polyfit(age[men], albumin[men], 1)[0]
    assert slope == pytest.approx(-0.054, abs=0.006)


def test_albumin_of_women_meets_that_of_men_at_sixty(people: People):
    """[5]"""
    women, age, albumin = people["sex"] == WOMEN, people["age"], people["albumin"]

    def lower(first: float, last: float) -> float:
        who = (age >= first) & (age < last)
        return float(albumin[who & ~women].mean() - albumin[who & women].mean())

    assert lower(18, 30) > lower(30, 45) > lower(45, 55) > 0
    assert lower(60, 80) == pytest.approx(0, abs=0.15)


def test_alpha_1_acid_glycoprotein_is_in_the_range_of_laboratories(people: People):
    """[6]"""
    low, middle, high = np.quantile(people["aag"], [0.025, 0.5, 0.975])
    assert low == pytest.approx(0.55, rel=0.25)
    assert high == pytest.approx(1.4, rel=0.15)
    assert 0.55 < middle < 0.97  # the range's geometric middle is 0.88
    men, women = (np.median(people["aag"][people["sex"] == s]) for s in (MEN, WOMEN))
    assert men / women == pytest.approx(0.8 / 0.7, abs=0.03)
