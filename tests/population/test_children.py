"""Children: their organs, flows, kidneys and plasma against the ICRP's reference children and published figures."""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from cohort.population import body, children, circulation, plasma, us
from cohort.population.causal import Chain, Step
from cohort.population.growth import GrowthError, growth

DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data")
N = 4000


def latents(n: int = N, seed: int = 1) -> Callable[[str], np.ndarray]:
    return lambda name: np.random.default_rng([seed, *name.encode()]).standard_normal(n)


def people(steps: tuple[Step, ...], given: dict[str, np.ndarray] | None = None, n: int = N) -> dict[str, np.ndarray]:
    return Chain(steps, children.CORRELATIONS).people(latents(n), given)


def typical(sex: int) -> dict[str, np.ndarray]:
    """The ICRP's reference children of one sex, at the median of all else."""
    n = len(children.KNOTS)
    weight, height = np.array(children.WEIGHT[sex], float), np.array(children.HEIGHT[sex], float)
    given = {"sex": np.full(n, sex), "age": children.KNOTS, "height": height, "weight": weight}
    given["bmi"] = weight / (height / 100) ** 2
    for s in children.PHYSIOLOGY:
        given |= s.run({c: given[c] for c in s.needs}, {d: np.zeros(n) for d in s.draws})
    return given


def total(x: dict[str, np.ndarray], part: str) -> np.ndarray:
    return np.sum([value for name, value in x.items() if name.startswith(part)], axis=0)


@pytest.fixture
def who(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not (DATA / "population" / "lms_who_wt_for_age_boys.csv").is_file():
        pytest.skip("the WHO standards are not shipped, and COHORT_DATA has none")
    monkeypatch.setenv("COHORT_DATA", str(DATA))
    growth.cache_clear()
    yield
    growth.cache_clear()


@pytest.fixture(scope="module")
def nhanes() -> dict[str, np.ndarray]:
    """US children of 2-17 y with weight and height: sex, age (y), height, weight, creatinine, haematocrit, share."""
    path = DATA / "population" / "nhanes_2013_2018_mec_subset.csv"
    if not path.is_file():
        pytest.skip("needs population/nhanes_2013_2018_mec_subset.csv in COHORT_DATA")
    names = ("ridexagm", "bmxhtlenavg", "bmxwt", "lbxscr", "lbxhct", "wtmec6yr")
    with path.open() as file:
        rows = [
            (
                float(row["riagendr"] == "Female"),
                *(float(row[n]) if row[n] not in ("NA", "") else np.nan for n in names),
            )
            for row in csv.DictReader(file)
        ]
    sex, months, height, weight, creatinine, haematocrit, share = np.array(rows).T
    kept = (months >= 24) & (months < 216) & np.isfinite(height + weight)
    out = {"sex": sex.astype(int), "age": (months + 0.5) / 12, "height": height, "weight": weight}
    out |= {"creatinine": creatinine, "haematocrit": haematocrit / 100, "share": share}
    return {name: value[kept] for name, value in out.items()}


SOURCES = pytest.mark.parametrize("steps", [children.US_CHILDREN, children.GERMAN_CHILDREN], ids=["us", "german"])


def test_children_have_the_columns_of_adults():
    adults = Chain((*us.STEPS, *body.STEPS, *circulation.STEPS, *plasma.STEPS)).columns
    for steps in (children.US_CHILDREN, children.GERMAN_CHILDREN):
        columns = Chain(steps).columns
        assert set(columns) == set(adults)
        assert {n: c.unit for n, c in columns.items()} == {n: c.unit for n, c in adults.items()}


@SOURCES
def test_organs_make_the_weight_and_flows_the_cardiac_output(steps: tuple[Step, ...]):
    x = people(steps)
    np.testing.assert_allclose(total(x, "mass_"), x["weight"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(total(x, "flow_"), x["cardiac_output"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(total(x, "blood_"), x["volume_blood"], rtol=0, atol=1e-9)
    assert all((value > 0).all() for name, value in x.items() if name.startswith(("mass_", "flow_", "blood_")))


@pytest.mark.usefixtures("who")
def test_infants_close_too():
    x = people(children.who_children(), n=20_000)
    np.testing.assert_allclose(total(x, "mass_"), x["weight"], rtol=0, atol=1e-9)
    assert min(value.min() for name, value in x.items() if name.startswith(("mass_", "flow_"))) > 0
    assert x["age"].min() < 0.01 < 4.99 < x["age"].max() < 5


def test_a_child_depends_on_no_other():
    many = people(children.US_CHILDREN)
    alone = Chain(children.US_CHILDREN, children.CORRELATIONS).people(lambda name: latents()(name)[7:8])
    assert all(np.array_equal(alone[name], value[7:8]) for name, value in many.items())


def test_a_child_stays_on_its_centiles():
    young, old = (people(children.GERMAN_CHILDREN, {"age": np.full(N, age)}) for age in (3.3, 14.7))
    for measure in ("height", "bmi"):
        z = [children.INVERSES["german_children"][measure](x) for x in (young, old)]
        np.testing.assert_allclose(z[0], z[1], atol=1e-9)
        assert (old[measure] != young[measure]).all()


@SOURCES
def test_values_give_back_their_latents(steps: tuple[Step, ...]):
    x = people(steps)
    name = "us_children" if steps is children.US_CHILDREN else "german_children"
    z = Chain(steps, children.CORRELATIONS).tie(latents())
    for column, latent in (
        ("height", "height"),
        ("bmi", "bmi"),
        ("haematocrit", "haematocrit"),
        ("creatinine", "kidney"),
    ):
        np.testing.assert_allclose(children.INVERSES[name][column](x), z(latent), atol=1e-8)


@pytest.mark.parametrize("sex", [0, 1])
def test_reference_children_have_the_organs_of_the_icrp(sex: int):
    """Newborn, 1, 5, 10, 15 y and grown, within 15 %. Farthest: the liver of grown men, 1.55 kg for 1.80, of Johnson's
    equation for all ages; adipose tissue, -13 to +13 %, for fat-free mass is not fitted to these children."""
    x = typical(sex)
    for k, organ in enumerate(children.ORGANS):
        np.testing.assert_allclose(x[f"mass_{organ}"], children.MASS[sex, :, k], rtol=0.15, err_msg=organ)


def test_organs_agree_with_the_autopsies_of_ogiu():
    """Ogiu 1997, as httk prints them, masses in g of H in m and w in kg: reference children of 1-15 y within 20 %."""
    for sex in (0, 1):
        x = typical(sex)
        h, w = x["height"][1:5] / 100, x["weight"][1:5]
        q = h * np.sqrt(w)
        ogiu = {
            "liver": ((576.9, 8.9, -159.7), (674.3, 6.5, -214.4))[sex] @ np.array([h, w, np.ones(4)]),
            "kidney": ((20.12, 15.05), (20.53, 12.66))[sex] @ np.array([q, np.ones(4)]),
            "spleen": ((8.75, 11.06), (9.36, 7.98))[sex] @ np.array([q, np.ones(4)]),
            "pancreas": ((7.46, -0.79), (7.92, -2.09))[sex] @ np.array([q, np.ones(4)]),
        }
        lung = ((64.55, 16.59), (66.76, 2.96))[sex] @ np.array([q, np.ones(4)])  # with the blood in it
        full = x["mass_lung"] + body.DENSITY["blood"] * x["blood_lung"]
        np.testing.assert_allclose(1000 * full[1:5], lung, rtol=0.20)
        for organ, grams in ogiu.items():
            np.testing.assert_allclose(1000 * x[f"mass_{organ}"][1:5], grams, rtol=0.20, err_msg=f"{organ} {sex}")


@pytest.mark.parametrize("sex", [0, 1])
def test_children_of_18_years_are_adults(sex: int):
    x = {name: value[-1] for name, value in typical(sex).items()}
    for organ, grown in body.REFERENCE.items():
        assert x[f"mass_{organ}"] == pytest.approx(grown[sex], rel=0.15 if organ == "liver" else 0.10), organ
    assert x["cardiac_output"] == pytest.approx((390, 354)[sex], rel=0.10)  # ICRP 89
    assert x["haematocrit"] == pytest.approx((0.45, 0.40)[sex], rel=0.05)
    for organ, share in circulation.SHARE.items():
        assert x[f"flow_{organ}"] / x["cardiac_output"] == pytest.approx(share[sex] / 100, rel=0.15), organ
    adult = {"sex": np.array([sex]), "age": np.array([18.0]), "height": x["height"][None], "weight": x["weight"][None]}
    adult["bmi"] = x["bmi"][None]
    adult |= {"creatinine": x["creatinine"][None]}
    for s in (*body.STEPS, *circulation.STEPS, *plasma.STEPS):
        adult |= s.run({c: adult[c] for c in s.needs}, {d: np.zeros(1) for d in s.draws})
    for name in ("bsa", "fat_free_mass", "gfr", "albumin", "aag", *(f"mass_{o}" for o in body.ORGANS)):
        # Muscle and rest take up what the others differ by.
        assert x[name] == pytest.approx(adult[name][0], rel=0.15 if name == "mass_rest" else 0.10), name
    assert x["cardiac_output"] == pytest.approx(adult["cardiac_output"][0], rel=0.12)  # two indices of Simcyp


def test_kidneys_mature():
    """Rhodin 2009: 90 % of adult at 1 y. Of healthy children GFR is at least 60 from 2 y on, 50 at 6-24 months, 40 at
    1-6 months, 25 in the first month, in most."""
    assert children.maturation(np.array([1.0]))[0] == pytest.approx(0.90, abs=0.01)
    for first, last, least in ((2, 17.9, 60), (0.5, 2, 50), (1 / 12, 0.5, 40), (0, 1 / 12, 25)):
        n = 2000
        age = np.linspace(first, last, n)
        sex = np.arange(n) % 2
        given = children.reference_child(sex, age)
        x = {"age": age, "weight": given["weight"], "bsa": children.haycock(given["height"], given["weight"])}
        gfr = children.gfr.run(x, {"kidney": latents(n)("kidney")})["gfr"]
        assert np.mean(gfr >= least) > 0.90, (first, np.mean(gfr >= least))
        assert np.median(gfr) < 125


def test_brains_of_small_children_take_a_large_share_of_the_flow():
    """Kehrer & Schöning 2009: 67 and 80 mL/min at birth. Eisert 2012: 1073 (SD 203) mL/min at 3-18 y, falling."""
    x = typical(0)
    brain = x["flow_brain"] * 1000 / 60  # mL/min
    share = x["flow_brain"] / x["cardiac_output"]
    assert 60 < brain[0] < 110
    assert abs(np.interp([3, 6, 9, 12, 15, 18], x["age"], brain).mean() - 1073) < 203
    assert (np.diff(share[1:]) < 0).all()
    assert share[1] > 0.3 > 0.13 > share[-1]


@pytest.mark.parametrize(("reference", "ages"), [("kiggs", (1, 3, 6, 10, 13, 17)), ("who", (0.1, 0.5, 1, 2, 3, 4.5))])
def test_weights_agree_with_the_curves_of_weight_for_age(
    reference: str, ages: tuple[float, ...], request: pytest.FixtureRequest
):
    """Weight comes of height and body mass index, correlated as NHANES has them. The references' own curves of weight,
    which are not used, have the same 3rd, 50th and 97th percentile to 2 % (WHO) and 5 % (KiGGS)."""
    if reference == "who":
        request.getfixturevalue("who")
    n, r = 50_000, children.CORRELATIONS["height", "bmi"]
    height, own = latents(n)("height"), latents(n)("bmi")
    bmi = r * height + np.sqrt(1 - r**2) * own
    for age in ages:
        for sex in (0, 1):
            who = np.full(n, sex), np.full(n, float(age))
            weight = (
                growth(reference, "bmi").value(*who, bmi) * (growth(reference, "height").value(*who, height) / 100) ** 2
            )
            p = np.array([0.03, 0.5, 0.97])
            published = growth(reference, "weight").value(np.full(3, sex), np.full(3, float(age)), ndtri(p))
            np.testing.assert_allclose(np.quantile(weight, p), published, rtol=0.02 if reference == "who" else 0.05)


def test_us_children_of_today_are_heavier_than_cdcs_curves(nhanes: dict[str, np.ndarray]):
    """The curves are of 1963-1994. NHANES 2013-2018, 2-17 y: z scores of body mass index average +0.51 (boys) and +0.58
    (girls), of height +0.16 and +0.08; 19 % are above the 95th percentile, not 5 %. `us_children` are the CDC's, so
    they are that much too light for children of today."""
    sex, age, share = nhanes["sex"], nhanes["age"], nhanes["share"]
    bmi = nhanes["weight"] / (nhanes["height"] / 100) ** 2
    z = growth("cdc", "bmi").z_of(sex, age, bmi)
    tall = growth("cdc", "height").z_of(sex, age, nhanes["height"])
    for who, heavier, taller in ((0, 0.51, 0.16), (1, 0.58, 0.08)):
        m = sex == who
        assert np.average(z[m], weights=share[m]) == pytest.approx(heavier, abs=0.02)
        assert np.average(tall[m], weights=share[m]) == pytest.approx(taller, abs=0.02)
    assert np.average(z > ndtri(0.95), weights=share) == pytest.approx(0.189, abs=0.01)
    deviations = [v - np.average(v, weights=share) for v in (tall, z)]
    a, b = deviations
    correlation = np.average(a * b, weights=share) / np.sqrt(
        np.average(a**2, weights=share) * np.average(b**2, weights=share)
    )
    assert correlation == pytest.approx(children.CORRELATIONS["height", "bmi"], abs=0.02)


def test_creatinine_and_haematocrit_are_those_of_us_children(nhanes: dict[str, np.ndarray]):
    """Creatinine of teenagers of their size, by sex and year: geometric means within 9 %, spread within 0.07.
    Haematocrit from 2 y on within 1 point. Creatinine was measured in nobody below 12 y."""
    x = dict(nhanes)
    x["bsa"] = children.haycock(x["height"], x["weight"])
    typical_creatinine = children.typical_creatinine(x, children.typical_gfr(x["age"], x["weight"], x["bsa"]))
    ratio = np.log(x["creatinine"] / typical_creatinine)
    zeros = {"haematocrit": np.zeros(len(x["age"]))}
    difference = x["haematocrit"] - children.haematocrit.run(x, zeros)["haematocrit"]
    for sex in (0, 1):
        for year in range(2, 18):
            m = (x["sex"] == sex) & (x["age"] // 1 == year)
            if year >= 12:
                known = m & np.isfinite(ratio)
                mean = np.average(ratio[known], weights=x["share"][known])
                assert abs(mean) < 0.09, (sex, year, mean)
                spread = np.sqrt(np.average((ratio[known] - mean) ** 2, weights=x["share"][known]))
                assert spread == pytest.approx(children.KIDNEY_SPREAD, abs=0.07)
            known = m & np.isfinite(difference)
            assert abs(np.average(difference[known], weights=x["share"][known])) < 0.01, (sex, year)


def test_ages_beyond_the_evidence_are_refused_or_flagged():
    for age in (1.5, 21.0):
        with pytest.raises(GrowthError, match="outside CDC 2000 height-for-age, which has figures for 2 to 20 y"):
            people(children.US_CHILDREN, {"age": np.full(5, age)}, 5)
    with pytest.raises(GrowthError, match="outside KiGGS"):
        people(children.GERMAN_CHILDREN, {"age": np.full(5, 0.1)}, 5)
    x = people(children.US_CHILDREN, {"age": np.array([17.9, 18.5])}, 2)
    assert x["age_outside_source"].tolist() == [0, 1]
    x = people(children.US_CHILDREN)
    assert not x["age_outside_source"].any()
    assert 2 <= x["age"].min() < 2.1 < 17.9 < x["age"].max() < 18


def test_who_children_are_refused_where_the_standards_are_not(monkeypatch: pytest.MonkeyPatch):
    growth.cache_clear()
    monkeypatch.delenv("COHORT_DATA", raising=False)
    with pytest.raises(GrowthError, match="COHORT_DATA"):
        children.who_children()


def test_ancestries_are_those_of_us_children():
    x = people(children.US_CHILDREN, n=100_000)
    np.testing.assert_allclose(np.bincount(x["ancestry"]) / 100_000, children.US.shares, atol=0.005)
    assert set(people(children.GERMAN_CHILDREN)["genetic_ancestry"]) == {us.GENETIC_ANCESTRY.index("EUR")}
