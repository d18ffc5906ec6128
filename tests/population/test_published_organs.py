"""Organs and body composition of comparable people against published series: means within 10 % or two standard errors,
SDs within 0.7 to 1.4 times. What lies outside is listed with its numbers and reason, and the list is kept true.

Autopsy weights are compared with our organs without blood, though a weighed organ holds some; what was measured in
living people holds all of it, and is compared with our organ and the blood in it. Heights and weights of a study are
given to people of the nearest source; where a study tells none, the source's own stand.

Left out, as they tell of no body size and come from people unlike those of our sources: autopsies of Hyderabad (from
10 y on), Tehran, Zambia, and of Uttarakhand but for the brain, which hardly goes with size.

References
----------
[1] Molina & DiMaio 2012, Normal organ weights in men, I (the heart) and II, Am J Forensic Med Pathol 33:368: 232
    healthy men of 18-35 y, mean 23.9, who died a sudden traumatic death.
[2] Molina & DiMaio 2015, doi 10.1097/PAF.0000000000000175: the same of 102 women, mean age 24.4 y.
[3] Vaibhav et al. 2022, Cureus 14:e27044: autopsies, Uttarakhand; 137 men and women together.
[4] Miller & Corsellis 1977, Ann Hum Biol 4:253: autopsies of 20-50 y, the London Hospital; those born in 1940.
[5] Comparison at necropsy of heart weight in women aged 20 to 29 years (1978-1980): those of up to 25 kg/m².
[6] Lee & Kim 1986, Korean J Pathol 20:71: 45 young soldiers; body size unverified, that of Japanese men of 19-29 y.
[7] Liver Transpl 2004, 10:678: 728 German legal autopsies; 452 + 16.34 kg + 11.85 y - 166 (women) g at 16-50 y, here
    for men of 80 kg, women of 65 kg, of 33 y.
[8] HALT-PKD, PMC4267913, Table 2: livers of US living donors by MRI, and of healthy people by CT, cited there. Body
    size unverified: that of US adults below 30 kg/m².
[9] Feng et al. 2017, World J Gastroenterol 23:4968: livers of 369 Chinese by CT; body surface by their own regression,
    height unverified.
[10] Dabers et al. 2024, J Clin Med 13:769 (Pomerania): MRI, medians of the right kidney and of the left one's
    parenchyma, added; body size by BMI and surface.
[11] Roseman et al. 2017, Nephrol Dial Transplant (Framingham): both kidneys by MRI.
[12] Cho et al. 2024, Clin Kidney J 17:sfae068 (UK Biobank): kidneys by MRI per body surface, median and quartiles; body
    size of the imaged by NIHMS1763136, Table 1.
[13] Imaging markers derived from MRI-based automated kidney segmentation (NAKO): 9934 Germans, median.
[14] Reference values and sex differences in kidney size, BMC Nephrol 2020, s12882-020-01946-y: 635 autopsies, Geneva;
    weight of one kidney, here twice.
[15] Caglar et al. 2014, Folia Morphol, FM.2014.0038: spleens by CT, Turkey.
[16] Prassopoulos et al. 1997, normal splenic volume: 140 by CT, Crete.
[17] Saisho et al. 2007, Clin Anat 20:933: pancreas of 1721 without diabetes by CT, 20-60 y.
[18] Abdom Radiol 2019, 44:958: pancreas of 204 trauma patients by CT.
[19] Wang et al. 2001, Am J Hum Biol 13:612: muscle by MRI, as a share of what is not adipose tissue.
[20] Janssen et al. 2000, J Appl Physiol 89:81: muscle by MRI, 18-88 y; mean weight by its two ratios.
[21] Clarys, Martin & Drinkwater 1984: 12 men and 13 women of 55-94 y dissected; shares of what is not adipose tissue.
[22] Li et al. 2009, Am J Clin Nutr 90:1457: DXA, NHANES 1999-2004; weight is fat and fat-free mass together.
[23] Oxford Biobank, PMC5965665, Table 1: DXA; mean and SD by the middle and the width of three quartiles.
[24] Oberholzer et al. 2024, Am J Hematol: blood by carbon monoxide, per kg of body and of lean mass.
[25] Carlsson et al. 2012, J Cardiovasc Magn Reson 14:51: cardiac index by CMR, 144 healthy people of 21-81 y.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from cohort.population.causal import Columns
from cohort.population.sources import names, source
from cohort.streams import streams

N = 10_000
MEN, WOMEN, BOTH = 0, 1, None


@dataclass(frozen=True)
class Study:
    """`n` people of one sex, `ages` in y, even between; None where the study tells `n` of both sexes together. `height`
    in cm and `weight` in kg: mean, with SD where known; empty, those of the `source`. `figures`: mean, with SD where
    known, in kg, L and L/min."""

    n: int | None
    sex: int | None
    ages: tuple[float, float]
    figures: Mapping[str, tuple[float, ...]]
    height: tuple[float, ...] = ()
    weight: tuple[float, ...] = ()
    source: str = "us"
    bmi_below: float = np.inf


def drained(organ: str) -> Callable[[Columns], np.ndarray]:
    return lambda x: x[f"mass_{organ}"]


def in_life(organ: str) -> Callable[[Columns], np.ndarray]:
    return lambda x: x[f"volume_{organ}"] + x[f"blood_{organ}"]


def muscle_in_life(x: Columns) -> np.ndarray:
    return x["mass_muscle"] + 1.06 * x["blood_muscle"]


def not_adipose(x: Columns) -> np.ndarray:
    return x["weight"] - x["mass_adipose"]


OF: dict[str, Callable[[Columns], np.ndarray]] = {
    **{f"{organ} weight": drained(organ) for organ in ("brain", "heart", "kidney", "liver", "lung", "spleen")},
    **{f"{organ} volume": in_life(organ) for organ in ("kidney", "liver", "pancreas", "spleen")},
    "kidney volume / surface": lambda x: in_life("kidney")(x) / x["bsa"],
    "muscle": muscle_in_life,
    "muscle / not adipose": lambda x: muscle_in_life(x) / not_adipose(x),
    "muscle weight / not adipose": lambda x: x["mass_muscle"] / not_adipose(x),
    "skin weight / not adipose": lambda x: x["mass_skin"] / not_adipose(x),
    "bone weight / not adipose": lambda x: x["mass_bone"] / not_adipose(x),
    "fat": lambda x: x["weight"] - x["fat_free_mass"],
    "fat-free mass": lambda x: x["fat_free_mass"],
    "fat share": lambda x: 1 - x["fat_free_mass"] / x["weight"],
    "blood / weight": lambda x: x["volume_blood"] / x["weight"],
    "blood / lean mass": lambda x: (
        x["volume_blood"] / (0.95 * x["fat_free_mass"])
    ),  # DXA: without bone, 5 %, unverified
    "cardiac index": lambda x: x["cardiac_output"] / 60 / x["bsa"],
}

STUDIES = {
    "Molina men": Study(
        232, MEN, (18, 30), height=(173,), weight=(76.4,),
        figures={"heart weight": (0.331, 0.0567), "brain weight": (1.407,), "liver weight": (1.561,),
                 "spleen weight": (0.139,), "lung weight": (0.840,), "kidney weight": (0.266,)},
    ),
    "Molina women": Study(
        102, WOMEN, (18, 31), height=(160,), weight=(65.3,),
        figures={"brain weight": (1.233,), "liver weight": (1.288,), "spleen weight": (0.115,),
                 "lung weight": (0.639,), "kidney weight": (0.224,)},
    ),
    "Vaibhav men": Study(None, MEN, (18, 60), {"brain weight": (1.3132, 0.1277)}),
    "Vaibhav women": Study(None, WOMEN, (18, 60), {"brain weight": (1.2180, 0.1228)}),
    "London men": Study(None, MEN, (20, 50), {"brain weight": (1.424,)}, source="europe"),
    "London women": Study(None, WOMEN, (20, 50), {"brain weight": (1.265,)}, source="europe"),
    "women of 20-29 y": Study(82, WOMEN, (20, 30), {"heart weight": (0.262, 0.051)}, bmi_below=25),
    "Korean men": Study(
        45, MEN, (19, 29), source="japan",
        figures={"heart weight": (0.338, 0.054), "liver weight": (1.559, 0.267), "spleen weight": (0.155, 0.0693),
                 "lung weight": (1.175,)},
    ),
    "German autopsies, men": Study(None, MEN, (20, 46), {"liver weight": (2.150,)}, weight=(80,), source="europe"),
    "German autopsies, women": Study(None, WOMEN, (20, 46), {"liver weight": (1.739,)}, weight=(65,), source="europe"),
    "HALT donors, men": Study(11, MEN, (18, 60), {"liver volume": (1.772, 0.393)}, bmi_below=30),
    "HALT donors, women": Study(21, WOMEN, (18, 60), {"liver volume": (1.495, 0.357)}, bmi_below=30),
    "CT men": Study(41, MEN, (18, 60), {"liver volume": (1.710, 0.288)}, bmi_below=30),
    "CT women": Study(36, WOMEN, (18, 60), {"liver volume": (1.411, 0.263)}, bmi_below=30),
    "Feng": Study(
        369, BOTH, (20, 70), {"liver volume": (1.2054, 0.2575)}, height=(166,), weight=(66.7,), source="japan"
    ),
    "Pomerania men": Study(
        885, MEN, (31, 73), {"kidney volume": (0.354,)}, height=(175.9,), weight=(86.0,), source="europe"
    ),
    "Pomerania women": Study(
        930, WOMEN, (31, 73), {"kidney volume": (0.282,)}, height=(162.7,), weight=(70.1,), source="europe"
    ),
    "Framingham men": Study(870, MEN, (48, 80), {"kidney volume": (0.365, 0.066)}),
    "Framingham women": Study(982, WOMEN, (48, 80), {"kidney volume": (0.278, 0.054)}),
    "UK Biobank": Study(
        38526, BOTH, (51, 77), {"kidney volume / surface": (0.1419, 0.0213)}, height=(170.1,), weight=(76.7,),
        source="europe",
    ),
    "NAKO": Study(9934, BOTH, (20, 73), {"kidney volume / surface": (0.158,)}, source="europe"),
    "Geneva men": Study(436, MEN, (18, 80), {"kidney weight": (0.330, 0.080)}, source="europe"),
    "Geneva women": Study(199, WOMEN, (18, 80), {"kidney weight": (0.244, 0.058)}, source="europe"),
    "Caglar": Study(212, BOTH, (20, 80), {"spleen volume": (0.198, 0.088)}, source="europe"),
    "Prassopoulos": Study(140, BOTH, (20, 80), {"spleen volume": (0.2146,)}, source="europe"),
    "Saisho": Study(1721, BOTH, (20, 60), {"pancreas volume": (0.0724, 0.0258)}),
    "trauma patients": Study(204, BOTH, (20, 80), {"pancreas volume": (0.0779, 0.0217)}, source="europe"),
    "Wang men": Study(139, MEN, (18, 80), {"muscle / not adipose": (0.528, 0.036)}),
    "Wang women": Study(165, WOMEN, (18, 80), {"muscle / not adipose": (0.473, 0.037)}),
    "Janssen men": Study(None, MEN, (18, 80), {"muscle": (33.0,)}, weight=(85.9,)),
    "Janssen women": Study(None, WOMEN, (18, 80), {"muscle": (21.0,)}, weight=(68.6,)),
    "Clarys": Study(
        25, BOTH, (55, 80), source="europe",
        figures={"skin weight / not adipose": (0.0854, 0.012), "muscle weight / not adipose": (0.500, 0.044),
                 "bone weight / not adipose": (0.206, 0.026)},
    ),
    "NHANES men": Study(
        6559, MEN, (20, 80), weight=(87.7,),
        figures={"fat-free mass": (62.3,), "fat": (25.4,), "fat share": (0.281,)},
    ),
    "NHANES women": Study(
        6507, WOMEN, (20, 80), weight=(74.8,),
        figures={"fat-free mass": (44.0,), "fat": (30.8,), "fat share": (0.400,)},
    ),
    "Oxford men": Study(
        2119, MEN, (30, 50), {"fat": (22.3, 8.3)}, height=(179, 5.9), weight=(84.5, 12.9), source="europe"
    ),
    "Oxford women": Study(
        2831, WOMEN, (30, 50), {"fat": (23.3, 8.9)}, height=(165.3, 6.7), weight=(67.5, 11.6), source="europe"
    ),
    "Oberholzer men": Study(
        319, MEN, (18, 80), source="europe",
        figures={"blood / weight": (0.0803, 0.0108), "blood / lean mass": (0.1053, 0.0112)},
    ),
    "Oberholzer women": Study(
        263, WOMEN, (18, 80), source="europe",
        figures={"blood / weight": (0.0703, 0.0113), "blood / lean mass": (0.1109, 0.0125)},
    ),
    "Carlsson men": Study(76, MEN, (21, 57), {"cardiac index": (3.2, 0.5)}, source="europe"),
    "Carlsson women": Study(68, WOMEN, (21, 57), {"cardiac index": (3.1, 0.4)}, source="europe"),
    "Carlsson 20-29 y": Study(None, BOTH, (20, 30), {"cardiac index": (3.3, 0.4)}, source="europe"),
    "Carlsson 30-39 y": Study(None, BOTH, (30, 40), {"cardiac index": (3.3, 0.5)}, source="europe"),
    "Carlsson 40-49 y": Study(None, BOTH, (40, 50), {"cardiac index": (3.1, 0.5)}, source="europe"),
    "Carlsson 50-59 y": Study(None, BOTH, (50, 60), {"cardiac index": (3.0, 0.4)}, source="europe"),
    "Carlsson over 60 y": Study(None, BOTH, (60, 80), {"cardiac index": (3.0, 0.4)}, source="europe"),
}  # fmt: skip


def sized(x: np.ndarray, mean: float | None = None, sd: float | None = None) -> np.ndarray:
    """As x is distributed, but of this mean and SD; without them, as it is."""
    if mean is None:
        return x
    y = x if sd is None else x ** (np.sqrt(np.log1p((sd / mean) ** 2)) / np.log(x).std())
    return y * (mean / y.mean())


def comparable(study: Study) -> dict[str, np.ndarray]:
    """People as those of the study."""
    chain, own = source(study.source).chain, streams(1, "published", names(0, N))
    given = {"age": np.linspace(*study.ages, N)}
    if study.sex is not None:
        given["sex"] = np.full(N, study.sex)
    given = chain.upto("height", "bmi").people(lambda name: own.normal(name)[:, 0], given)
    given["height"] = sized(given["height"], *study.height)
    given["weight"] = sized(given["bmi"] * (given["height"] / 100) ** 2, *study.weight)
    given["bmi"] = given["weight"] / (given["height"] / 100) ** 2
    who = given["bmi"] < study.bmi_below
    own, given = own.of(who), {name: values[who] for name, values in given.items()}
    return chain.upto("blood_rest", "cardiac_output").people(lambda name: own.normal(name)[:, 0], given)


@dataclass(frozen=True)
class Comparison:
    mean: float  # ours over the published
    sd: float | None
    near: bool


def compare(study: Study, ours: np.ndarray, mean: float, sd: float | None = None) -> Comparison:
    error = (sd or ours.std()) / np.sqrt(study.n) if study.n else 0.0
    near = bool(abs(ours.mean() / mean - 1) < 0.10 or abs(ours.mean() - mean) < 2 * error)
    spread = float(ours.std() / sd) if sd else None
    return Comparison(float(ours.mean() / mean), spread, near and (spread is None or 0.7 < spread < 1.4))


# Reason to what lies outside for it: ours over the published, of means and of SDs where published.
OUTSIDE: dict[str, dict[tuple[str, str], tuple[float, float | None]]] = {
    "autopsied lungs hold blood and fluid, ours none; with their eighth of the blood ours weigh 1.2 kg": {
        ("Molina men", "lung weight"): (0.59, None),
        ("Molina women", "lung weight"): (0.66, None),
        ("Korean men", "lung weight"): (0.40, None),
    },
    "ICRP's kidneys, in women above all, are heavier than these": {
        ("Molina men", "kidney weight"): (1.15, None),
        ("Molina women", "kidney weight"): (1.24, None),
        ("Geneva women", "kidney weight"): (1.16, 0.92),
    },
    "ICRP's mass of the kidneys is by itself what a scan shows, blood with it: here the blood counts twice": {
        ("Pomerania men", "kidney volume"): (1.22, None),
        ("Pomerania women", "kidney volume"): (1.29, None),
        ("Framingham men", "kidney volume"): (1.17, 1.04),
        ("Framingham women", "kidney volume"): (1.31, 1.19),
        ("UK Biobank", "kidney volume / surface"): (1.44, 1.15),
        ("NAKO", "kidney volume / surface"): (1.32, None),
    },
    "our liver is Johnson's volume, by itself what a scan shows, blood with it: here the blood counts twice": {
        ("HALT donors, men", "liver volume"): (1.22, 1.13),
        ("HALT donors, women", "liver volume"): (1.17, 1.08),
        ("CT men", "liver volume"): (1.26, 1.55),
        ("CT women", "liver volume"): (1.24, 1.47),
        ("Feng", "liver volume"): (1.53, 1.75),
    },
    "these livers weigh as much as ours with their blood": {
        ("German autopsies, men", "liver weight"): (0.78, None),
        ("German autopsies, women", "liver weight"): (0.81, None),
    },
    "soldiers differ less in size and health than everyone": {("Korean men", "liver weight"): (0.93, 1.43)},
    "ICRP's spleen of women, 130 g, is heavier than these": {("Molina women", "spleen weight"): (1.14, None)},
    "ICRP's pancreas, 140 and 120 g, is twice what scans show": {
        ("Saisho", "pancreas volume"): (2.32, 1.78),
        ("trauma patients", "pancreas volume"): (2.05, 1.96),
    },
    "women of the study were leaner: by [19], 21 kg of muscle goes with 24 kg of adipose tissue, ours have 30": {
        ("Janssen women", "muscle"): (0.78, None),
    },
    "ICRP's skin is 6 % of what is not adipose tissue, and McNally's spread 5 %": {
        ("Clarys", "skin weight / not adipose"): (0.77, 0.58),
    },
    "yellow marrow is bone where it is dissected, and adipose tissue here": {
        ("Clarys", "bone weight / not adipose"): (0.73, 0.92),
    },
    "people of the study were leaner, their lean mass 76 and 63 % of the weight; per lean mass ours agree": {
        ("Oberholzer men", "blood / weight"): (0.89, 0.79),
        ("Oberholzer women", "blood / weight"): (0.89, 0.73),
    },
    "a spread of 44 % is more than the 38 % of McNally 2014 between people of one size": {
        ("Caglar", "spleen volume"): (1.05, 0.69)
    },
}
LISTED = {where: numbers for found in OUTSIDE.values() for where, numbers in found.items()}


@pytest.mark.parametrize("name", STUDIES)
def test_organs_are_those_of_comparable_people(name: str):
    study = STUDIES[name]
    people = comparable(study)
    for figure, published in study.figures.items():
        found = compare(study, OF[figure](people), *published)
        listed = LISTED.get((name, figure))
        assert found.near == (listed is None), f"{figure}: {found}"
        if listed:
            assert (found.mean, found.sd) == pytest.approx(listed, abs=0.02), figure


def test_what_is_listed_as_outside_is_compared():
    assert set(LISTED) <= {(name, figure) for name, study in STUDIES.items() for figure in study.figures}


@pytest.mark.parametrize("name", [n for n, s in STUDIES.items() if {"liver volume", "kidney volume"} & set(s.figures)])
def test_our_tissue_alone_is_as_large_as_scanned_livers_and_kidneys(name: str):
    """The reason given above: the blood of these organs is in the masses that they are made from."""
    people = comparable(STUDIES[name])
    for figure, (published, *_) in STUDIES[name].figures.items():
        alone = people[f"volume_{figure.split()[0]}"]
        assert alone.mean() == pytest.approx(published, rel=0.17)


def test_cardiac_index_falls_with_age_about_as_cmr_finds():
    """[25]: by 8 mL/min/m² a year."""
    young, old = (OF["cardiac index"](comparable(STUDIES[f"Carlsson {age}"])).mean() for age in ("20-29 y", "50-59 y"))
    assert (young - old) / 30 == pytest.approx(0.008, abs=0.003)
