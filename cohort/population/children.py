"""Children from birth to 18 y: growth along one centile, organs that close to body weight, flows, kidney and plasma.

A child keeps its z scores of height and of body mass index, so that two ages of one child lie on the same centiles. Its
weight is BMI times height squared at every age: below 2 y the WHO standards give BMI by recumbent length. Organs are
those of the ICRP's reference child of that age and sex, scaled by fat-free mass; closing, noise, densities, shares of
blood and of cardiac output are the adults'. At 18 y the reference child is the reference adult.

References
----------
[1] ICRP 2002, Publication 89: newborn, 1, 5, 10, 15 y and adult: body size and organ masses. Adipose tissue includes
    yellow marrow, which the skeleton here is without; yellow marrow by age (0, 20, 160, 630, 1480/1380 g): unverified.
[2] Al-Sallami et al. 2015, Clin Pharmacokinet 54:1169: fat-free mass of 3-29 y, a maturation of Janmahasatian's.
[3] Fomon et al. 1982, Am J Clin Nutr 35:1169: fat, share of body weight, of reference infants; unverified, but at 2 y
    it meets [2] at 3 y.
[4] Haycock et al. 1978, J Pediatr 93:62: body surface.
[5] Johnson et al. 2005, Liver Transpl 11:1481: liver volume 0.722 BSA^1.176 L, birth to adulthood.
[6] Johnson et al. 2006, Clin Pharmacokinet 45:931, and its Simcyp successors, as public code prints them: cardiac index
    110 + 184.974 (e^(-0.0378 a) - e^(-0.2477 a)) L/h/m², a in y; albumin 1.1287 ln(d) + 33.746 g/L and alpha-1-acid
    glycoprotein 0.887 d^0.38/(8.89^0.38 + d^0.38) g/L, d in days.
[7] National Research Council 1999, Risk assessment of radon in drinking water, appendix A: a child's organ has the
    blood flow of its mass at the adult's perfusion.
[8] Kehrer & Schöning 2009, Pediatr Res 66:560: brain perfusion 22 mL/100 g/min at birth, 50 at 6 months; Eisert et al.
    2012, Neuropediatrics 43: total cerebral flow 1073 mL/min at 3-18 y, falling with age.
[9] Rhodin et al. 2009, Pediatr Nephrol 24:67: GFR 121.2 mL/min (w/70)^0.75 PMA^3.4/(47.7^3.4 + PMA^3.4), PMA in weeks.
[10] Pierce et al. 2021, Kidney Int 99:948 (CKiD U25): GFR = k height/creatinine, k by sex and age, of children with
    kidney disease, 1-25 y.
[11] NHANES 2013-2018 (CDC/NCHS, public domain, as packed in httk 2.7.4), examination weights, 2-17 y: our fit.
[12] Dallman 1977, in Rudolph, Pediatrics: haematocrit from birth to 2 y.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from cohort.population import body, circulation, plasma, us
from cohort.population.causal import Column, Columns, Step, step
from cohort.population.growth import growth

KNOTS = np.array([0.0, 1.0, 5.0, 10.0, 15.0, 18.0])  # y: of [1], whose adults stand at 18
WEIGHT = ((3.5, 10, 19, 32, 56, 73), (3.5, 10, 19, 32, 53, 60))  # kg, boys and girls [1]
HEIGHT = ((51, 76, 109, 138, 167, 176), (51, 76, 109, 138, 161, 163))  # cm [1]

# kg at birth, 1, 5, 10 and 15 y, without blood [1]; one row of both sexes, or boys and girls.
_MASSES: dict[str, tuple[tuple[float, ...], ...]] = {
    "adipose": ((0.93, 3.8, 5.5, 8.6, 12.0), (0.93, 3.8, 5.5, 8.6, 18.7)),
    "blood": ((0.29, 0.53, 1.5, 2.5, 4.8), (0.29, 0.53, 1.5, 2.5, 3.5)),
    "bone": ((0.37, 1.15, 2.27, 3.87, 6.47), (0.37, 1.15, 2.27, 3.87, 5.80)),
    "brain": ((0.38, 0.95, 1.31, 1.40, 1.42), (0.38, 0.95, 1.18, 1.22, 1.30)),
    "gonads": ((0.00085, 0.0015, 0.0017, 0.002, 0.016), (0.0003, 0.0008, 0.002, 0.0035, 0.006)),
    "heart": ((0.02, 0.05, 0.085, 0.14, 0.23), (0.02, 0.05, 0.085, 0.14, 0.22)),
    "kidney": ((0.025, 0.07, 0.11, 0.18, 0.25), (0.025, 0.07, 0.11, 0.18, 0.24)),
    "large_intestine": ((0.017, 0.05, 0.12, 0.21, 0.30),),
    "liver": ((0.13, 0.33, 0.57, 0.83, 1.3),),
    "lung": ((0.03, 0.08, 0.125, 0.21, 0.33), (0.03, 0.08, 0.125, 0.21, 0.29)),
    "lymph_nodes": ((0.0129, 0.0375, 0.0703, 0.1185, 0.2065), (0.0129, 0.0375, 0.0703, 0.1185, 0.1975)),
    "muscle": ((0.8, 1.9, 5.6, 11.0, 24.0), (0.8, 1.9, 5.6, 11.0, 17.0)),
    "pancreas": ((0.006, 0.02, 0.035, 0.06, 0.11), (0.006, 0.02, 0.035, 0.06, 0.10)),
    "skin": ((0.175, 0.35, 0.57, 0.82, 2.0), (0.175, 0.35, 0.57, 0.82, 1.7)),
    "small_intestine": ((0.03, 0.085, 0.22, 0.37, 0.52),),
    "spleen": ((0.0095, 0.029, 0.05, 0.08, 0.13),),
    "stomach": ((0.007, 0.02, 0.05, 0.085, 0.12),),
    "thymus": ((0.013, 0.03, 0.03, 0.04, 0.035), (0.013, 0.03, 0.03, 0.035, 0.03)),
}
REST = 0.047  # of body weight, as of adults (Birnbaum 1994)
ORGANS = (*_MASSES, "rest")
MASS = np.stack(  # (sex, knot, organ) kg
    [
        np.array([*((*rows[min(sex, len(rows) - 1)], body.REFERENCE[o][sex]) for o, rows in _MASSES.items()),
                  tuple(REST * w for w in WEIGHT[sex])]).T
        for sex in (0, 1)
    ]
)  # fmt: skip

# Fat, share of body weight, of boys and girls [3], and the median BMI of those ages (WHO 2006), kg/m².
INFANT_AGES = (0.0, 0.25, 0.5, 1.0, 2.0)
INFANT_FAT = ((0.137, 0.232, 0.254, 0.225, 0.195), (0.149, 0.238, 0.264, 0.237, 0.204))
INFANT_BMI = ((13.4, 16.9, 17.3, 16.8, 16.0), (13.3, 16.4, 16.9, 16.4, 15.7))
FFM_FROM = 3.0  # y, first age of [2]

# Water and other lean tissue that a child's adipose tissue has beyond an adult's of the same fat, share of the fat-free
# mass: what brings the fat of [2] and [3] to the adipose tissue of [1].
ADIPOSE_AGES = (0.0, 1.0, 5.0, 10.0, 18.0)
ADIPOSE_LEAN = (0.16, 0.18, 0.09, 0.03, 0.0)

# Perfusion against the adult's: of the brain [8], whose peak and the way there and back are unverified.
BRAIN_AGES = (0.0, 0.5, 6.0, 18.0)
BRAIN_PERFUSION = (0.41, 0.92, 1.44, 1.0)

KIDNEY_SPREAD = 0.18  # SD of log creatinine at one sex and year of age, 12-17 y [11]
HEALTHY = 0.20  # by how much more creatinine than by [10] healthy people have at 18 y, growing from 10 y on [11]

HAEMATOCRIT_AGES = (0, 1 / 12, 1 / 6, 0.375, 1.25, 3, 5, 7.5, 10.5, 13.5, 16.5, 17.5)  # y: [12], from 3 y on [11]
HAEMATOCRIT = (
    (0.51, 0.43, 0.35, 0.35, 0.36, 0.365, 0.371, 0.383, 0.391, 0.419, 0.4445, 0.4496),
    (0.51, 0.43, 0.35, 0.35, 0.36, 0.368, 0.375, 0.381, 0.393, 0.399, 0.393, 0.390),
)
HAEMATOCRIT_SD = (0.045, 0.06, 0.035, 0.03, 0.02, 0.022, 0.022, 0.022, 0.024, 0.028, 0.028, 0.028)

# Latents: tall children are heavier for their height; z scores of CDC's curves at 2-17 y: boys 0.25, girls 0.21 [11].
CORRELATIONS: dict[tuple[str, str], float] = {("height", "bmi"): 0.23}


@dataclass(frozen=True)
class Reference:
    """Whose growth: the curves, ages in y (the last not included), and ancestries with shares, `told` by what.
    `genetic`: one superpopulation for each ancestry; none where they are those of US adults, whose rule then holds."""

    growth: str
    source: str
    ages: tuple[float, float]
    ancestry: tuple[str, ...]
    shares: tuple[float, ...]
    told: str
    genetic: tuple[str, ...] = ()


US = Reference(
    "cdc",
    "CDC growth charts 2000, extended BMI-for-age 2022: lighter than US children of today",
    (2.0, 18.0),
    us.ANCESTRY,
    (0.173, 0.085, 0.503, 0.133, 0.106),
    "NHANES 2013-2018, 2-17 y",
)
GERMAN = Reference(
    "kiggs",
    "KiGGS 2003-2006 (Robert Koch Institute 2013)",
    (1 / 3, 18.0),
    ("German",),
    (1.0,),
    "one group, migrants among them",
    ("EUR",),
)
WHO = Reference(
    "who",
    "WHO Child Growth Standards 2006",
    (0.0, 5.0),
    ("Brazil", "Ghana", "India", "Norway", "Oman", "United States"),
    (1 / 6,) * 6,
    "sites of the WHO's study, taken to be equal: unverified",
    ("AMR", "AFR", "SAS", "EUR", "EUR", "EUR"),  # nearest of the superpopulations; Oman: unverified
)
AGES = {"us_children": US.ages, "german_children": GERMAN.ages, "who_children": WHO.ages}


def haycock(height: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Body surface, m² [4], of cm and kg."""
    return 0.024265 * weight**0.5378 * height**0.3964


def _by_sex(sex: np.ndarray, age: np.ndarray, ages: tuple | np.ndarray, rows: tuple) -> np.ndarray:
    boys, girls = (np.interp(age, ages, row) for row in rows)
    return np.where(sex == 0, boys, girls)


def _al_sallami(sex: np.ndarray, age: np.ndarray) -> np.ndarray:
    low, half, power = np.array([0.88, 1.11])[sex], np.array([13.4, 7.1])[sex], np.array([12.7, 1.1])[sex]
    return low + (1 - low) / (1 + (half / age) ** power)


_INFANT = tuple(  # maturation that gives an infant of median BMI the fat of [3], then that of [2]
    (
        *((1 - f) * (a + b * bmi) / 9270 for f, bmi in zip(fat, bmis, strict=True)),
        float(_al_sallami(np.array([sex]), np.array([FFM_FROM]))[0]),
    )
    for sex, fat, bmis, a, b in zip((0, 1), INFANT_FAT, INFANT_BMI, (6680, 8780), (216, 244), strict=True)
)


def fat_free_mass(sex: np.ndarray, age: np.ndarray, weight: np.ndarray, bmi: np.ndarray) -> np.ndarray:
    """Typical fat-free mass, kg: [2] from 3 y on, below so that reference infants have the fat of [3]."""
    mature = _al_sallami(sex, np.maximum(age, FFM_FROM))
    infant = _by_sex(sex, age, (*INFANT_AGES, FFM_FROM), _INFANT)
    return np.where(age < FFM_FROM, infant, mature) * body.janmahasatian(sex, weight, bmi)


def reference_child(sex: np.ndarray, age: np.ndarray) -> dict[str, np.ndarray]:
    """Organ masses, kg, of [1] by organ, and its height (cm) and weight (kg), linear in age between its ages."""
    node = np.clip(np.searchsorted(KNOTS, age, side="right") - 1, 0, len(KNOTS) - 2)
    part = np.minimum((age - KNOTS[node]) / (KNOTS[node + 1] - KNOTS[node]), 1)
    low, high = MASS[sex, node], MASS[sex, node + 1]
    mass = (low + part[:, None] * (high - low)).T
    size = {"height": _by_sex(sex, age, KNOTS, HEIGHT), "weight": _by_sex(sex, age, KNOTS, WEIGHT)}
    return dict(zip(ORGANS, mass, strict=True)) | size


def typical_masses(sex: np.ndarray, age: np.ndarray, bsa: np.ndarray, fat_free: np.ndarray) -> dict[str, np.ndarray]:
    """Mean mass of each organ but adipose tissue and the rest, kg, of children of this size; all (n,)."""
    mass = reference_child(sex, age)
    height, weight = mass.pop("height"), mass.pop("weight")
    lean = fat_free / fat_free_mass(sex, age, weight, weight / (height / 100) ** 2)
    size = lean**0.75  # allometric, as of adults: a proposal, not a published rule
    surface = bsa / haycock(height, weight)
    by = {"brain": 1.0, "blood": lean, "skin": surface}
    typical = {o: mass[o] * by.get(o, size) for o in ORGANS if o not in ("adipose", "rest")}
    typical["liver"] = body.DENSITY["liver"] * 0.722 * bsa**1.176  # [5]
    return typical


@step({"bsa": Column("m**2", "body surface", "Haycock 1978")}, needs=("height", "weight"))
def body_surface(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {"bsa": haycock(x["height"], x["weight"])}


@step(
    {
        "fat_free_mass": Column(
            "kg",
            "fat-free mass",
            "Al-Sallami 2015; below 3 y by the fat of Fomon 1982, unverified; spread: as adults, unverified",
        )
    },
    needs=("sex", "age", "weight", "bmi"),
    draws=("fat",),
)
def composition(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    lean = fat_free_mass(x["sex"], x["age"], x["weight"], x["bmi"])
    typical = np.clip(1 - lean / x["weight"], *body.FAT_LIMITS)
    odds = typical / (1 - typical) * np.exp(body.FAT_SPREAD[x["sex"]] * z["fat"])
    return {"fat_free_mass": x["weight"] * (1 - np.clip(odds / (1 + odds), *body.FAT_LIMITS))}


def _source(organ: str) -> str:
    told = {
        "adipose": "as adults of this fat, with more water when young, fitted to ICRP 89",
        "liver": "Johnson 2005; spread: McNally 2014, adults",
        "brain": "ICRP 89 by age; spread: McNally 2014, adults",
        "skin": "ICRP 89 by body surface; spread: McNally 2014, adults",
        "blood": "ICRP 89 by fat-free mass; spread: McNally 2014, adults",
    }
    told |= {o: "what other organs leave of the weight; proportions: ICRP 89" for o in body.REMAINDER}
    return told.get(organ, "ICRP 89 by fat-free mass^0.75 (proposal); spread: McNally 2014, adults")


@step(
    {name: Column(c.unit, c.about, _source(name.removeprefix("mass_"))) for name, c in body.organ_masses.makes.items()},
    needs=("sex", "age", "weight", "bsa", "fat_free_mass"),
    draws=body.organ_masses.draws,
)
def organ_masses(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    sex, age, weight, lean = x["sex"], x["age"], x["weight"], x["fat_free_mass"]
    mass = typical_masses(sex, age, x["bsa"], lean)
    for organ, noise in body.NOISE.items():
        s = noise[sex]
        mass[organ] = mass[organ] * np.exp(s * (z[f"mass_{organ}"] - s / 2))
    mass["adipose"] = body.adipose_tissue(weight, lean) + lean * np.interp(age, ADIPOSE_AGES, ADIPOSE_LEAN)
    mass["rest"] = REST * weight
    return {f"mass_{organ}": value for organ, value in body.close_mass(mass, weight, lean).items()}


@step(
    {
        "cardiac_output": Column(
            "L/h", "cardiac output at rest", "cardiac index by age: Johnson 2006 and Simcyp; CV 16 %: unverified"
        )
    },
    needs=("age", "bsa"),
    draws=("cardiac_output",),
)
def output_of_the_heart(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    index = 110 + 184.974 * (np.exp(-0.0378 * x["age"]) - np.exp(-0.2477 * x["age"]))  # [6]
    s = circulation.OUTPUT_SPREAD
    return {"cardiac_output": index * x["bsa"] * np.exp(s * (z["cardiac_output"] - s / 2))}


def maturation(age: np.ndarray) -> np.ndarray:
    """GFR against that of grown kidneys of this size [9], of children born at 40 weeks."""
    return 1 / (1 + (47.7 / (40 + age * 365.25 / 7)) ** 3.4)


FLOW_SOURCE = "ICRP 89 shares of adults by the child's organ mass (NRC 1999, within an age mass^0.75)"


@step(
    {
        name: Column(
            c.unit,
            c.about,
            FLOW_SOURCE
            + {
                "flow_brain": "; perfusion by age: Kehrer 2009, Eisert 2012, between them unverified",
                "flow_kidney": "; perfusion matures as GFR does (Rhodin 2009): unverified",
            }.get(name, ""),
        )
        for name, c in circulation.organ_flows.makes.items()
    },
    needs=("age", *circulation.organ_flows.needs),
    draws=circulation.organ_flows.draws,
)
def organ_flows(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    sex, age = x["sex"], x["age"]
    typical = reference_child(sex, age)
    flow = {}
    for organ, share in circulation.SHARE.items():
        per_mass = np.array(share) / np.array(body.REFERENCE[organ])  # of adults
        size = (x[f"mass_{organ}"] / typical[organ]) ** circulation.EXPONENT
        flow[organ] = per_mass[sex] * typical[organ] * size * np.exp(circulation.SPREAD * z[f"flow_{organ}"])
    flow["brain"] *= np.interp(age, BRAIN_AGES, BRAIN_PERFUSION)
    flow["kidney"] *= maturation(age)
    return {f"flow_{o}": value for o, value in circulation.close_flow(flow, x["cardiac_output"]).items()}


@step(
    {
        "haematocrit": Column(
            "1", "packed cells, as a fraction of the volume of blood", "NHANES 2013-2018; below 2 y Dallman 1977"
        )
    },
    needs=("sex", "age"),
    draws=("haematocrit",),
)
def haematocrit(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    typical, spread = _typical_haematocrit(x)
    return {"haematocrit": np.clip(typical + spread * z["haematocrit"], 0.15, 0.70)}


def _typical_haematocrit(x: Columns) -> tuple[np.ndarray, np.ndarray]:
    typical = _by_sex(x["sex"], x["age"], HAEMATOCRIT_AGES, HAEMATOCRIT)
    return typical, np.interp(x["age"], HAEMATOCRIT_AGES, HAEMATOCRIT_SD)


def typical_gfr(age: np.ndarray, weight: np.ndarray, bsa: np.ndarray) -> np.ndarray:
    """Median GFR, mL/min per 1.73 m² [9]."""
    return 121.2 * (weight / 70) ** 0.75 * maturation(age) * 1.73 / bsa


def u25(sex: np.ndarray, age: np.ndarray) -> np.ndarray:
    """k of [10]: GFR in mL/min per 1.73 m² is k times height in m over creatinine in mg/dL; its form of 1-12 y is taken
    down to birth, unverified."""
    teens = np.clip(age - 12, 0, 6) * np.log([1.045, 1.023])[sex]
    return np.array([39.0, 36.1])[sex] * np.exp(np.log(1.008) * np.minimum(age - 12, 0) + teens)


def typical_creatinine(x: Columns, gfr: np.ndarray) -> np.ndarray:
    """Creatinine, mg/dL, of children with this GFR, mL/min per 1.73 m². x: sex, age, height."""
    healthy = 1 + HEALTHY * np.clip((x["age"] - 10) / 8, 0, 1)
    return u25(x["sex"], x["age"]) * healthy * (x["height"] / 100) / gfr


@step(
    {"gfr": Column("mL/min", "GFR per 1.73 m² of body surface", "Rhodin 2009; spread: creatinine of NHANES 2013-2018")},
    needs=("age", "weight", "bsa"),
    draws=("kidney",),
)
def gfr(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {"gfr": typical_gfr(x["age"], x["weight"], x["bsa"]) * np.exp(-KIDNEY_SPREAD * z["kidney"])}


@step(
    {
        "creatinine": Column(
            "mg/dL",
            "creatinine in serum",
            "CKiD U25 of gfr, raised from 10 y on to NHANES 2013-2018; below 1 y unverified",
        )
    },
    needs=("sex", "age", "height", "gfr"),
)
def creatinine(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {"creatinine": typical_creatinine(x, x["gfr"])}


def _aag(days: np.ndarray | float) -> np.ndarray:
    return days**0.38 / (8.89**0.38 + days**0.38)  # [6]


@step(
    {
        "albumin": Column("g/L", "albumin in plasma", "Johnson 2006; spread: Campion 1988, men of old age"),
        "aag": Column(
            "g/L",
            "alpha-1-acid glycoprotein in plasma",
            "rise with age: Johnson 2006, to the adults' level at 18 y; level and spread: unverified",
        ),
    },
    needs=("sex", "age"),
    draws=("albumin", "aag"),
)
def proteins(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    days = np.maximum(x["age"] * 365.25, 1)
    albumin = 1.1287 * np.log(days) + 33.746 + plasma.ALBUMIN_SD * np.clip(z["albumin"], -5, 5)  # [6]
    grown = _aag(days) / _aag(18 * 365.25)
    return {"albumin": albumin, "aag": plasma.AAG[x["sex"]] * grown * np.exp(plasma.AAG_SPREAD * z["aag"])}


PHYSIOLOGY: tuple[Step, ...] = (
    body_surface, composition, organ_masses, body.volumes, body.blood_content, output_of_the_heart, organ_flows,
    haematocrit, gfr, creatinine, plasma.measured_gfr, proteins,
)  # fmt: skip
_ADULT = {name: s for s in us.STEPS for name in s.makes}  # steps of US adults, by what they make


def _told_by(name: str, source: str) -> Column:
    return replace(_ADULT[name].makes[name], source=source)


def steps(reference: Reference) -> tuple[Step, ...]:
    """Children of this reference, half of them girls, even in age: every step, in causal order."""
    first, last = reference.ages

    @step({"sex": Column("1", "sex", "even", us.SEX)}, draws=("sex",))
    def sex(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"sex": (z["sex"] > 0).astype(np.intp)}

    bounds = ndtri(np.cumsum(reference.shares)[:-1])

    @step({"ancestry": Column("1", "ancestry", reference.told, reference.ancestry)}, draws=("ancestry",))
    def ancestry(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"ancestry": np.searchsorted(bounds, z["ancestry"])}

    origins = np.array([us.GENETIC_ANCESTRY.index(g) for g in reference.genetic], np.intp)

    @step(
        {"genetic_ancestry": _told_by("genetic_ancestry", "nearest to the ancestry: unverified")}, needs=("ancestry",)
    )
    def genetic_ancestry(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"genetic_ancestry": origins[x["ancestry"]]}

    @step({"age": Column("y", "age", f"even over {first:.3g} to {last:.3g} y")}, draws=("age",))
    def age(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"age": np.minimum(first + (last - first) * ndtr(z["age"]), np.nextafter(last, 0))}

    @step({"age_outside_source": _told_by("age_outside_source", reference.source)}, needs=("age",))
    def age_outside_source(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"age_outside_source": ((x["age"] < first) | (x["age"] >= last)).astype(np.intp)}

    @step(
        {"height": Column("cm", "standing height; length below 2 y", reference.source)},
        needs=("sex", "age"),
        draws=("height",),
    )
    def height(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"height": growth(reference.growth, "height").value(x["sex"], x["age"], z["height"])}

    @step({"bmi": Column("kg/m**2", "body mass index", reference.source)}, needs=("sex", "age"), draws=("bmi",))
    def bmi(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"bmi": growth(reference.growth, "bmi").value(x["sex"], x["age"], z["bmi"])}

    genetic = genetic_ancestry if reference.genetic else _ADULT["genetic_ancestry"]
    return (sex, ancestry, genetic, age, age_outside_source, height, bmi, _ADULT["weight"], *PHYSIOLOGY)


def inverses(reference: Reference) -> dict[str, Callable[[Columns], np.ndarray]]:
    """Column to the function that gives its latent, (n,), from columns made before and the column itself."""

    def grown(measure: str) -> Callable[[Columns], np.ndarray]:
        return lambda x: growth(reference.growth, measure).z_of(x["sex"], x["age"], x[measure])

    def red_cells(x: Columns) -> np.ndarray:
        typical, spread = _typical_haematocrit(x)
        return (x["haematocrit"] - typical) / spread

    def kidney(x: Columns) -> np.ndarray:
        usual = typical_creatinine(x, typical_gfr(x["age"], x["weight"], x["bsa"]))
        return np.log(x["creatinine"] / usual) / KIDNEY_SPREAD

    return {"height": grown("height"), "bmi": grown("bmi"), "haematocrit": red_cells, "creatinine": kidney}


US_CHILDREN, GERMAN_CHILDREN = steps(US), steps(GERMAN)


def who_children() -> tuple[Step, ...]:
    """As US_CHILDREN, of the WHO's growth standards; GrowthError where they cannot be had."""
    for measure in ("height", "bmi"):
        growth(WHO.growth, measure)
    return steps(WHO)


INVERSES = {"us_children": inverses(US), "german_children": inverses(GERMAN), "who_children": inverses(WHO)}
