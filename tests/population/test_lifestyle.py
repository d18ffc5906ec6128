"""Smoking, disease and drugs against the surveys they come from."""

import zlib

import numpy as np
import pytest

from cohort.population.causal import Chain, Column, Columns, Step
from cohort.population.lifestyle import CORRELATIONS, REGIONS, lifestyle_steps
from cohort.population.sources import source

N = 200_000
MALE, FEMALE = 0, 1
FORMER, CURRENT = 1, 2


def normals(n: int, seed: int = 1):
    return lambda name: np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(n)


def lifestyle(given: Columns, normal, region: str = "us") -> dict[str, np.ndarray]:
    """What people of this sex, age and body mass do and have."""
    roots = Step(lambda x, z: given, {name: Column("1", name, "given") for name in given})
    return Chain((roots, *lifestyle_steps(region)), CORRELATIONS).people(normal)


def of_ages(first: float, last: float, region: str) -> dict[str, np.ndarray]:
    """Adults evenly of these ages, of the region's typical body mass and its spread."""
    n, r = 40_000, REGIONS[region]
    sex = np.arange(n) % 2
    bmi = np.array(r.bmi_median)[sex] * np.exp(np.array(r.bmi_spread)[sex] * normals(n)("bmi"))
    return lifestyle({"sex": sex, "age": np.linspace(first, last, n), "bmi": bmi}, normals(n), region)


@pytest.fixture(scope="module")
def us() -> dict[str, np.ndarray]:
    return source("us").chain.people(normals(N))


def percent(value: np.ndarray, who: np.ndarray) -> float:
    return 100 * float(np.mean(value[who]))


@pytest.mark.parametrize(
    ("ages", "current", "former"),
    [((18, 25), 5.3, 5.4), ((25, 45), 12.6, 18.1), ((45, 65), 14.9, 24.4), ((65, 80), 8.3, 37.6)],
)
def test_as_many_smoke_and_have_stopped_as_in_the_nhis(us, ages, current, former):
    who = (us["age"] >= ages[0]) & (us["age"] < ages[1])
    assert percent(us["smoking"] == CURRENT, who) == pytest.approx(current, abs=0.7)
    assert percent(us["smoking"] == FORMER, who) == pytest.approx(former, abs=0.9)


def test_more_men_than_women_smoke(us):
    now = us["smoking"] == CURRENT
    assert percent(now, us["sex"] == MALE) == pytest.approx(13.1, abs=0.7)
    assert percent(now, us["sex"] == FEMALE) == pytest.approx(10.1, abs=0.7)


def test_old_men_have_stopped_smoking_more_often_than_old_women(us):
    """NHIS 2018, not used in the table: 49.4 % of men and 30.6 % of women of 65 and above are former smokers."""
    old = us["age"] >= 65
    assert percent(us["smoking"] == FORMER, old & (us["sex"] == MALE)) == pytest.approx(49.4, abs=7)
    assert percent(us["smoking"] == FORMER, old & (us["sex"] == FEMALE)) == pytest.approx(30.6, abs=3)


@pytest.mark.parametrize(
    ("disease", "ages", "men", "women"),
    [
        ("diabetes", (20, 40), 4.0, 4.7),
        ("diabetes", (40, 60), 17.1, 15.9),
        ("diabetes", (60, 80), 36.3, 24.4),
        ("hypertension", (18, 40), 30.0, 16.4),
        ("hypertension", (40, 60), 55.9, 49.0),
        ("hypertension", (60, 80), 71.6, 71.6),
    ],
)
def test_disease_by_sex_and_age_is_that_of_nhanes(us, disease, ages, men, women):
    who = (us["age"] >= ages[0]) & (us["age"] < ages[1])
    assert percent(us[disease], who & (us["sex"] == MALE)) == pytest.approx(men, abs=1.5)
    assert percent(us[disease], who & (us["sex"] == FEMALE)) == pytest.approx(women, abs=1.5)


@pytest.mark.parametrize(("bmi", "expected"), [((0, 25), 6.8), ((25, 30), 12.3), ((30, 90), 24.2)])
def test_diabetes_rises_with_body_mass_as_in_nhanes(us, bmi, expected):
    who = (us["age"] >= 20) & (us["bmi"] >= bmi[0]) & (us["bmi"] < bmi[1])
    assert percent(us["diabetes"], who) == pytest.approx(expected, abs=1.8)


def test_hypertension_rises_with_body_mass(us):
    """NHANES 2009-2012, by 140/90 mmHg: 20.0 % of people of normal weight, 39.2 % of the obese."""
    middle = (us["age"] >= 40) & (us["age"] < 60)
    shares = [percent(us["hypertension"], middle & (us["bmi"] >= a) & (us["bmi"] < a + 5)) for a in (20, 25, 30, 35)]
    assert shares == sorted(shares)
    normal, _, obese, _ = (p / (100 - p) for p in shares)
    assert obese / normal == pytest.approx(39.2 / 60.8 / (20 / 80), rel=0.25)


def test_diabetes_and_hypertension_go_together(us):
    hypertensive = us["hypertension"] > 0
    assert percent(hypertensive, us["diabetes"] > 0) > percent(hypertensive, us["diabetes"] == 0) + 25


@pytest.mark.parametrize(("ages", "treated"), [((18, 40), 13.9), ((40, 60), 47.1), ((60, 80), 69.1)])
def test_hypertension_is_treated_as_often_as_in_nhanes(us, ages, treated):
    who = (us["hypertension"] > 0) & (us["age"] >= ages[0]) & (us["age"] < ages[1])
    assert percent(us["antihypertensive"], who) == pytest.approx(treated, abs=1.5)
    assert not us["antihypertensive"][us["hypertension"] == 0].any()


@pytest.mark.parametrize(("ages", "expected"), [((18, 41), 1.7), ((41, 65), 20.3), ((65, 80), 45.8)])
def test_statins_are_taken_as_in_meps(us, ages, expected):
    who = (us["age"] >= ages[0]) & (us["age"] < ages[1])
    assert percent(us["statin"], who) == pytest.approx(expected, abs=1.2)


def test_more_than_half_of_people_with_diabetes_take_a_statin(us):
    assert percent(us["statin"], us["diabetes"] > 0) == pytest.approx(54.9, abs=1.5)


@pytest.mark.parametrize(
    ("region", "disease", "ages", "men", "women"),
    [
        ("europe", "hypertension", (70, 80), 75.0, 75.0),  # DEGS1
        ("europe", "diabetes", (65, 75), 16.0, 16.0),  # EHIS 2014
        ("japan", "diabetes", (50, 60), 12.6, 6.1),  # NHNS 2016
        ("japan", "diabetes", (60, 70), 21.8, 12.0),
        ("japan", "diabetes", (70, 90), 23.2, 16.8),
    ],
)
def test_other_regions_have_their_own_diseases(region, disease, ages, men, women):
    x = of_ages(ages[0], ages[1], region)
    assert percent(x[disease], x["sex"] == MALE) == pytest.approx(men, abs=2.5)
    assert percent(x[disease], x["sex"] == FEMALE) == pytest.approx(women, abs=2.5)


def test_a_third_of_germans_have_hypertension():
    """DEGS1, 18-79 y: 33.3 % of men, 29.9 % of women; shares of the age bands about those of Germany in 2010."""
    bands = {(18, 30): 0.19, (30, 40): 0.15, (40, 50): 0.21, (50, 60): 0.18, (60, 70): 0.15, (70, 80): 0.12}
    parts = [(share, of_ages(ages[0], ages[1], "europe")) for ages, share in bands.items()]
    for sex, expected in ((MALE, 33.3), (FEMALE, 29.9)):
        total = sum(share * percent(x["hypertension"], x["sex"] == sex) for share, x in parts)
        assert total == pytest.approx(expected, abs=2)


def test_a_quarter_of_japanese_men_and_few_women_smoke():
    """NHNS 2019: 27.1 % of men and 7.6 % of women."""
    x = of_ages(20, 85, "japan")
    assert percent(x["smoking"] == CURRENT, x["sex"] == MALE) == pytest.approx(27.1, abs=2)
    assert percent(x["smoking"] == CURRENT, x["sex"] == FEMALE) == pytest.approx(7.6, abs=1)


@pytest.mark.parametrize("region", REGIONS)
def test_children_neither_smoke_nor_are_ill_nor_take_drugs(region):
    n = 5000
    given = {"sex": np.arange(n) % 2, "age": np.linspace(0, 17.999, n), "bmi": np.full(n, 35.0)}
    x = lifestyle(given, normals(n), region)
    assert all(not x[c].any() for c in ("smoking", "diabetes", "hypertension", "antihypertensive", "statin"))


def test_a_person_is_the_same_alone_and_in_company():
    n = 50
    given = {"sex": np.arange(n) % 2, "age": np.linspace(18, 89, n), "bmi": np.linspace(18, 50, n)}
    z = normals(n)
    together = lifestyle(given, z)
    for i in (0, 17, 49):
        alone = lifestyle({c: v[[i]] for c, v in given.items()}, lambda name, i=i: z(name)[[i]])
        assert all(alone[c][0] == together[c][i] for c in alone)


def test_a_region_without_prevalences_is_refused():
    with pytest.raises(ValueError, match="'mars'; there are us, europe, japan"):
        lifestyle_steps("mars")
