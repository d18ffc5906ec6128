"""Growth curves against the percentiles that their sources publish, and against Box and Cox's formula in SciPy.

Published percentiles were found of CDC (all), of WHO (rounded to 0.1) and of KiGGS (height of boys, rounded to 0.1).
Of other KiGGS curves the LMS formula, evaluated independently at every tabulated age, stands in for them.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.special import inv_boxcox, ndtr, ndtri

from cohort.population.growth import TABLES, Growth, GrowthError, growth

DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data")
PERCENTILES = np.array([3, 5, 10, 25, 50, 75, 90, 95, 97]) / 100

# CDC growth charts 2000, data files statage and wtage (public domain): sex, age in months, P3 to P97.
CDC = {
    "height": """
0 24    79.91084 80.72977 81.99171 84.10289 86.4522 88.80525 90.92619 92.19688 93.02265
0 60.5  100.3318 101.4523 103.1712 106.0265 109.1751 112.2998 115.0924 116.755 117.8314
0 96.5  117.5 118.8053 120.8305 124.2562 128.1237 132.0559 135.6504 137.8267 139.2502
0 120.5 126.6678 128.1625 130.4809 134.4008 138.8234 143.3168 147.4214 149.9053 151.5294
0 144.5 135.6621 137.3326 139.928 144.3277 149.3088 154.3881 159.0439 161.8686 163.7185
0 180.5 154.6056 156.6566 159.7529 164.7713 170.1393 175.3105 179.8124 182.4429 184.127
0 240   163.3333 165.0389 167.6593 172.0227 176.8492 181.6538 185.9599 188.529 190.1943
1 24    78.43754 79.25982 80.52476 82.63524 84.97556 87.31121 89.40951 90.66355 91.47729
1 60.5  99.35047 100.3891 102.0109 104.7829 107.9566 111.2321 114.2701 116.1301 117.3552
1 96.5  117.2737 118.5443 120.53 123.9285 127.8263 131.8567 135.6015 137.8975 139.411
1 120.5 125.9599 127.4524 129.7752 133.7239 138.2112 142.8051 147.0322 149.6044 151.292
1 144.5 137.4381 139.2236 141.9594 146.4958 151.4866 156.428 160.8353 163.4555 165.1503
""",
    "weight": """
0 24    10.38209 10.64009 11.05266 11.78598 12.67076 13.63692 14.5834 15.18777 15.59648
0 60.5  14.85692 15.23202 15.84814 16.99698 18.48592 20.26086 22.17744 23.50833 24.46169
0 96.5  20.11467 20.66168 21.57637 23.34005 25.75257 28.84718 32.51025 35.28955 37.41935
0 120.5 24.19264 24.94392 26.20745 28.66894 32.08799 36.55851 41.96894 46.15753 49.41515
0 144.5 29.47257 30.55162 32.36224 35.86837 40.67444 46.81253 53.97661 59.30357 63.30853
0 180.5 41.52175 43.01506 45.49646 50.21378 56.49096 64.19328 72.75113 78.82659 83.24017
0 240   54.00392 55.66071 58.41105 63.63611 70.59761 79.18111 88.80644 95.71431 100.7784
1 24    9.985668 10.21027 10.57373 11.23357 12.05504 12.98667 13.93766 14.56636 15.00156
1 60.5  14.34277 14.70924 15.31758 16.47471 18.02314 19.95048 22.14604 23.75024 24.94401
1 96.5  19.54481 20.14535 21.15111 23.09446 25.75702 29.17046 33.19435 36.22699 38.53537
1 120.5 23.99143 24.86516 26.33132 29.17072 33.06392 38.03878 43.85001 48.17501 51.42913
1 144.5 30.0176 31.15094 33.05496 36.7495 41.82798 48.33396 55.95048 61.62701 65.90103
""",
}
# KiGGS, height of boys as reprinted in a German public health page: age in years, P3, P50, P97, cm.
KIGGS_BOYS = [
    (2, 82.6, 88.2, 94.3), (4, 97.1, 104.6, 112.6), (6, 108.9, 117.8, 127.4), (8, 120.7, 130.8, 141.5),
    (10, 129.8, 141.6, 153.9), (12, 137.9, 152.2, 166.8), (14, 150.8, 166.9, 182.5),
]  # fmt: skip
# WHO 2006, boys, by month from birth on: length at the 3rd percentile, cm; weight at -3 to 3 SD, kg.
WHO_LENGTH_P3 = [46.3, 51.1, 54.7, 57.6, 60.0, 61.9, 63.6, 65.1, 66.5, 67.7, 69.0, 70.1, 71.2]
WHO_WEIGHT = [
    (2.1, 2.5, 2.9, 3.3, 3.9, 4.4, 5.0),
    (2.9, 3.4, 3.9, 4.5, 5.1, 5.8, 6.6),
    (3.8, 4.3, 4.9, 5.6, 6.3, 7.1, 8.0),
    (4.4, 5.0, 5.7, 6.4, 7.2, 8.0, 9.0),
]
WHO_MONTH = 30.4375 / 365.25  # y

CURVES = [(r, m) for r in ("cdc", "kiggs") for m in ("height", "weight", "bmi")]


@pytest.fixture
def who(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not (DATA / "population" / "lms_who_wt_for_age_boys.csv").is_file():
        pytest.skip("the WHO standards are not shipped, and COHORT_DATA has none")
    monkeypatch.setenv("COHORT_DATA", str(DATA))
    growth.cache_clear()
    yield
    growth.cache_clear()


def curve(g: Growth, sex: int, age: float, z: np.ndarray) -> np.ndarray:
    return g.value(np.full(len(z), sex), np.full(len(z), age), z)


@pytest.mark.parametrize("measure", ["height", "weight"])
def test_percentiles_are_those_that_cdc_publishes(measure: str):
    for line in CDC[measure].split("\n")[1:-1]:
        sex, months, *published = (float(x) for x in line.split())
        ours = curve(growth("cdc", measure), int(sex), months / 12, ndtri(PERCENTILES))
        np.testing.assert_allclose(ours, published, rtol=2e-6)


def test_percentiles_of_body_mass_index_are_cdcs_at_whole_months():
    path = DATA / "population" / "httkpop_bmi_for_age_p5_p85_p95.csv"
    if not path.is_file():
        pytest.skip("needs population/httkpop_bmi_for_age_p5_p85_p95.csv in COHORT_DATA")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 400
    sex = np.array([row["Sex"] == "Female" for row in rows], int)
    age = np.array([float(row["Agemos"]) / 12 for row in rows])
    for percentile in (5, 85, 95):
        published = np.array([float(row[f"P{percentile}"]) for row in rows])
        ours = growth("cdc", "bmi").value(sex, age, np.full(len(rows), ndtri(percentile / 100)))
        np.testing.assert_allclose(ours, published, rtol=1e-4)


def test_the_95th_percentile_follows_from_cdcs_lms():
    table = np.loadtxt(TABLES / "growth_cdc_bmi.csv", delimiter=",", skiprows=2)
    sex, age, p95 = table[:, 0].astype(int), table[:, 1] / 12, table[:, 6]
    ours = growth("cdc", "bmi").value(sex, age, np.full(len(sex), ndtri(0.95)))
    np.testing.assert_allclose(ours, p95, rtol=1e-6)


def test_percentiles_of_height_are_those_of_kiggs():
    for age, *published in KIGGS_BOYS:
        ours = curve(growth("kiggs", "height"), 0, float(age), ndtri([0.03, 0.5, 0.97]))
        np.testing.assert_allclose(ours, published, atol=0.061)  # rounded to 0.1 cm; 0.05 % of it


@pytest.mark.parametrize(("reference", "measure"), CURVES)
def test_curves_are_box_and_coxs(reference: str, measure: str):
    """At every tabulated age; of CDC's body mass index up to the 95th percentile, where another rule begins."""
    table = np.loadtxt(TABLES / f"growth_{reference}_{measure}.csv", delimiter=",", skiprows=2)
    for percentile in PERCENTILES if (reference, measure) != ("cdc", "bmi") else PERCENTILES[:-2]:
        z = ndtri(percentile)
        exact = table[:, 3] * inv_boxcox(table[:, 4] * z, table[:, 2])
        ours = growth(reference, measure).value(table[:, 0].astype(int), table[:, 1] / 12, np.full(len(table), z))
        np.testing.assert_allclose(ours, exact, rtol=1e-9)


@pytest.mark.usefixtures("who")
def test_percentiles_are_those_that_who_publishes():
    for month, published in enumerate(WHO_LENGTH_P3):
        ours = curve(growth("who", "height"), 0, month * WHO_MONTH, ndtri(np.array([0.03])))
        assert ours[0] == pytest.approx(published, abs=0.051 + 0.001 * published)
    for month, published in enumerate(WHO_WEIGHT):
        ours = curve(growth("who", "weight"), 0, month * WHO_MONTH, np.arange(-3.0, 4.0))
        np.testing.assert_allclose(ours, published, atol=0.051, rtol=0.001)


def test_obesity_has_the_half_normal_tail_of_cdcs_extended_charts():
    """A boy of 12.04 y, tabulated at 144.5 months: percentile 90 + 10 Φ((BMI - P95)/sigma) above the 95th."""
    table = np.loadtxt(TABLES / "growth_cdc_bmi.csv", delimiter=",", skiprows=2)
    sigma, p95 = table[(table[:, 0] == 0) & (table[:, 1] == 144.5)][0, 5:]
    bmi = np.array([p95, p95 + sigma, p95 + 2 * sigma, p95 + 4 * sigma])
    z = growth("cdc", "bmi").z_of(np.zeros(4, int), np.full(4, 144.5 / 12), bmi)
    np.testing.assert_allclose(100 * ndtr(z), 90 + 10 * ndtr((bmi - p95) / sigma), rtol=1e-7)


@pytest.mark.parametrize(("reference", "measure"), CURVES)
def test_a_value_gives_back_its_z_score_and_rises_with_it(reference: str, measure: str):
    g = growth(reference, measure)
    z = np.linspace(-6, 6, 241)
    for age in np.linspace(*g.range, 37):
        for sex in (0, 1):
            value = curve(g, sex, age, z)
            assert (np.diff(value) > 0).all()
            np.testing.assert_allclose(g.z_of(np.full(len(z), sex), np.full(len(z), age), value), z, atol=1e-9)


def test_no_child_of_kiggs_is_beyond_the_end_of_its_curve():
    """LMS alone has no boy of 7.5 y above z 3.56, and a body mass index of 83 at z 3.5."""
    assert curve(growth("kiggs", "bmi"), 0, 7.5, np.array([3.5, 5.0])).max() < 60


@pytest.mark.parametrize(
    ("reference", "age", "told"),
    [
        ("cdc", 1.9, "2 to 20 y"),
        ("cdc", 20.1, "2 to 20 y"),
        ("kiggs", 0.2, "0.3333 to 18 y"),
        ("cdc", np.nan, "age nan"),
    ],
)
def test_ages_without_figures_are_refused(reference: str, age: float, told: str):
    with pytest.raises(GrowthError, match=told):
        growth(reference, "height").value(np.array([0, 1]), np.array([5.0, age]), np.zeros(2))


def test_who_is_refused_where_it_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    growth.cache_clear()
    monkeypatch.delenv("COHORT_DATA", raising=False)
    with pytest.raises(
        GrowthError, match="set COHORT_DATA to a folder that has population/lms_who_lgth_ht_for_age_boys"
    ):
        growth("who", "height")
    monkeypatch.setenv("COHORT_DATA", str(tmp_path))
    with pytest.raises(GrowthError, match=r"there is no .*lms_who_bmi_for_age_boys.csv"):
        growth("who", "bmi")


def test_a_reference_or_measure_that_is_not_there_is_refused():
    with pytest.raises(GrowthError, match="references are cdc, kiggs, who, of height, weight, bmi"):
        growth("uk90", "height")
