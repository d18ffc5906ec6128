"""Body composition and organs of adults: fat, fat-free mass, and eighteen organs that close to the body weight.

Organ masses follow fat-free mass or body surface, not height alone, so that weight changes organs and thin people
keep plausible ones. What the measured organs leave of the weight is muscle and the rest, never fat.

References
----------
[1] ICRP 2002, Publication 89: reference man 176 cm, 73 kg and woman 163 cm, 60 kg; masses without blood. Yellow marrow
    (2.48 and 1.80 kg) counts as adipose tissue here.
[2] Janmahasatian et al. 2005, Clin Pharmacokinet 44:1051: fat-free mass.
[3] McNally et al. 2014, Toxicology 315:70, and Ring et al. 2017, Environ Int 106:105 (httk): spread of organ masses.
[4] Johnson et al. 2005, Liver Transpl 11:1481: liver volume 0.722 BSA^1.176 L.
[5] Bosgra et al. 2012, Crit Rev Toxicol 42:751: brain by age, blood volume by body surface.
[6] Willmann et al. 2007, J Pharmacokinet Pharmacodyn 34:401: blood held in organs, exponents of height.
[7] Birnbaum et al. 1994, as in httk: contents of the gut 1.4 % and other tissue 3.3 % of body weight.
[8] Janssen et al. 2000, J Appl Physiol 89:81: muscle falls by 0.001 age² kg, not noticeably before 45 to 50 y.
[9] Wynne et al. 1989, Hepatology 9:297: liver volume falls with age by 20 to 40 % (24 to 91 y).
[10] Mosteller 1987, N Engl J Med 317:1098: body surface.
[11] Martin et al. 1994, Int J Obes 18:79: lipid in adipose tissue rises with adiposity, up to 0.85 in cadavers.
[12] Clarys, Martin, Marfell-Jones et al. 1999, Am J Hum Biol 11:167: fat outside adipose tissue is 4 to 14 % of the
    fat-free weight.
[13] Gallagher et al. 1996, Am J Epidemiol 143:228: fat share at one BMI rises by 0.14 points a year of age.
[14] Vaibhav et al. 2022, Cureus 14:e27044: brains of 137 adults at autopsy, CV 0.10 in all.
[15] Cho et al. 2024, Clin Kidney J 17:sfae068 (UK Biobank): kidney volume per body surface, CV 0.15.
"""

from collections.abc import Mapping

import numpy as np

from cohort.population.causal import Column, Columns, step

MEASURED = (
    "bone", "brain", "gonads", "heart", "kidney", "large_intestine", "liver", "lung", "lymph_nodes", "pancreas", "skin",
    "small_intestine", "spleen", "stomach", "thymus",
)  # fmt: skip
REMAINDER = ("muscle", "rest")  # share what the others leave of the body weight
ORGANS = ("adipose", "blood", *MEASURED, *REMAINDER)

# Mass without blood, kg, of the reference man and woman [1].
REFERENCE: dict[str, tuple[float, float]] = {
    "adipose": (18.2, 22.5),
    "blood": (5.6, 4.1),
    "bone": (8.02, 6.00),
    "brain": (1.45, 1.30),
    "gonads": (0.035, 0.011),
    "heart": (0.33, 0.25),
    "kidney": (0.31, 0.275),
    "large_intestine": (0.37, 0.36),
    "liver": (1.80, 1.40),
    "lung": (0.50, 0.42),
    "lymph_nodes": (0.27, 0.22),
    "muscle": (29.0, 17.5),
    "pancreas": (0.14, 0.12),
    "skin": (3.3, 2.3),
    "small_intestine": (0.65, 0.60),
    "spleen": (0.15, 0.13),
    "stomach": (0.15, 0.14),
    "thymus": (0.025, 0.020),
    "rest": (3.43, 2.82),  # [7]
}
REFERENCE_FAT_FREE = (57.5, 38.9)  # kg, [2] of the reference people
REFERENCE_BSA = (1.89, 1.65)  # m²
REFERENCE_HEIGHT = (176.0, 163.0)  # cm

# Coefficient of variation of people of one size and age, men and women [3]. Of bone [3] has 0.01, which would make
# skeletons alike: 0.10, unverified. Of brain [14] and kidneys [15] what was measured since; of lymph nodes, thymus [6].
CV: dict[str, tuple[float, float]] = {
    "blood": (0.10, 0.10),
    "bone": (0.10, 0.10),
    "brain": (0.09, 0.09),
    "gonads": (0.05, 0.05),
    "heart": (0.19, 0.25),
    "kidney": (0.15, 0.15),
    "large_intestine": (0.20, 0.13),
    "liver": (0.24, 0.25),
    "lung": (0.33, 0.33),
    "lymph_nodes": (0.05, 0.05),
    "muscle": (0.10, 0.10),
    "pancreas": (0.27, 0.29),
    "skin": (0.05, 0.05),
    "small_intestine": (0.12, 0.13),
    "spleen": (0.38, 0.38),
    "stomach": (0.31, 0.13),
    "thymus": (0.05, 0.05),
}
NOISE = {organ: np.sqrt(np.log1p(np.square(cv))) for organ, cv in CV.items()}  # SD of the logarithm, by sex

# kg/L, as the literature's PBPK models have it; gonads, lymph nodes, thymus and rest: unverified.
DENSITY: dict[str, float] = {
    "adipose": 0.916, "blood": 1.06, "bone": 1.3, "brain": 1.036, "gonads": 1.04, "heart": 1.03, "kidney": 1.05,
    "large_intestine": 1.043, "liver": 1.04, "lung": 1.051, "lymph_nodes": 1.03, "muscle": 1.041, "pancreas": 1.045,
    "skin": 1.116, "small_intestine": 1.043, "spleen": 1.054, "stomach": 1.05, "thymus": 1.03, "rest": 1.04,
}  # fmt: skip

# Where the blood is: share of its volume, percent [6]; what [6] leaves out is in the rest.
_BLOOD = {
    "venous": 22.5, "arterial": 10.5, "lung": 12.5, "muscle": 14.0, "liver": 10.0, "bone": 7.0, "adipose": 5.0,
    "small_intestine": 3.8, "skin": 3.0, "large_intestine": 2.2, "kidney": 2.0, "spleen": 1.4, "brain": 1.2,
    "heart": 1.0, "stomach": 1.0, "pancreas": 0.6, "lymph_nodes": 0.2, "thymus": 0.06, "gonads": 0.04,
}  # fmt: skip
BLOOD_SHARE: dict[str, float] = {k: v / 100 for k, v in _BLOOD.items()} | {"rest": 1 - sum(_BLOOD.values()) / 100}

FAT_LIMITS = (0.06, 0.62)  # share of the body weight
REMAINDER_LIMITS = (0.20, 0.72)  # muscle and rest, of the fat-free mass; of the reference people 0.56 and 0.52
FAT_SPREAD = np.array([0.20, 0.13])  # SD of logit(fat share) given weight and height: 5 % of fat-free mass, unverified


def mosteller(height: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Body surface, m² [10], of cm and kg."""
    return np.sqrt(height * weight / 3600)


def janmahasatian(sex: np.ndarray, weight: np.ndarray, bmi: np.ndarray) -> np.ndarray:
    """Typical fat-free mass, kg [2]."""
    return 9270 * weight / (np.array([6680.0, 8780.0])[sex] + np.array([216.0, 244.0])[sex] * bmi)


@step({"bsa": Column("m**2", "body surface", "Mosteller 1987")}, needs=("height", "weight"))
def body_surface(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {"bsa": mosteller(x["height"], x["weight"])}


@step(
    {
        "fat_free_mass": Column(
            "kg",
            "fat-free mass",
            "Janmahasatian 2005, by age Gallagher 1996; its 5 % spread between people of one size: unverified",
        )
    },
    needs=("sex", "age", "weight", "bmi"),
    draws=("fat",),
)
def composition(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    fat = 1 - janmahasatian(x["sex"], x["weight"], x["bmi"]) / x["weight"]  # [2]
    share = fat + 0.0014 * np.maximum(x["age"] - 45, 0)  # [13], from when muscle is lost [8]
    typical = np.clip(share, *FAT_LIMITS)
    odds = typical / (1 - typical) * np.exp(FAT_SPREAD[x["sex"]] * z["fat"])
    return {"fat_free_mass": x["weight"] * (1 - np.clip(odds / (1 + odds), *FAT_LIMITS))}


def adipose_tissue(weight: np.ndarray, fat_free: np.ndarray) -> np.ndarray:
    """Mass of adipose tissue, kg: the fat that is not in other tissue [12], at 80 % lipid in lean people [1] and 85 %
    in fat ones [11], changing between fat shares of 0.25 and 0.40 (proposal)."""
    fat = weight - fat_free
    lipid = 0.80 + 0.05 * np.clip((fat / weight - 0.25) / 0.15, 0, 1)
    return (fat - 0.04 * fat_free) / lipid


def typical_masses(sex: np.ndarray, age: np.ndarray, height: np.ndarray, bsa: np.ndarray, fat_free: np.ndarray) -> dict:
    """Mean mass of each organ but adipose tissue, kg, of people of this size and age; muscle and rest before
    closing. All (n,)."""
    size = (fat_free / np.array(REFERENCE_FAT_FREE)[sex]) ** 0.75  # allometric, on fat-free mass
    surface = bsa / np.array(REFERENCE_BSA)[sex]
    tall = height / np.array(REFERENCE_HEIGHT)[sex]
    mass = {organ: np.array(REFERENCE[organ])[sex] * size for organ in MEASURED}
    mass["brain"] = np.array([0.405, 0.373])[sex] * 3.68 * np.exp(-age / 629)  # [5], grown up
    mass["liver"] = DENSITY["liver"] * 0.722 * bsa**1.176 * (1 - 0.01 * np.maximum(age - 60, 0))  # [4], [9]
    mass["skin"] = np.array(REFERENCE["skin"])[sex] * surface
    mass["blood"] = DENSITY["blood"] * (np.array([3.33, 2.66])[sex] * bsa - np.array([0.81, 0.46])[sex])  # [5]
    muscle = np.array(REFERENCE["muscle"])[sex] * size - 0.001 * (age**2 - 35**2)  # [8], about the reference age
    mass["muscle"] = np.maximum(muscle, 0.3 * np.array(REFERENCE["muscle"])[sex])
    # Bone loss from 50 y on: from there, not from birth on, so that nothing jumps at 50.
    mass["bone"] = np.array(REFERENCE["bone"])[sex] * tall**2 - np.array([0.0019, 0.0056])[sex] / 0.65 * np.maximum(
        age - 50, 0
    )
    return mass


def close_mass(mass: Mapping[str, np.ndarray], weight: np.ndarray, fat_free: np.ndarray) -> dict[str, np.ndarray]:
    """Make organs sum to the body weight: muscle and rest, in their own proportion, take what is left. Where that
    would be too little or too much to be a body, the measured organs give way. mass: kg by organ, any `conceptus` with
    them."""
    fixed = [mass[o] for o in mass if o not in (*REMAINDER, *MEASURED)]
    outside = weight - sum(fixed)
    organs = sum(mass[o] for o in MEASURED)
    left = np.clip(outside - organs, REMAINDER_LIMITS[0] * fat_free, REMAINDER_LIMITS[1] * fat_free)
    give = (outside - left) / organs
    share = left / sum(mass[o] for o in REMAINDER)
    return {**mass, **{o: mass[o] * give for o in MEASURED}, **{o: mass[o] * share for o in REMAINDER}}


def _mass_columns() -> dict[str, Column]:
    sources = dict.fromkeys(ORGANS, "ICRP 89 by fat-free mass^0.75 (proposal); spread: McNally 2014")
    sources |= {
        "adipose": "80 to 85 % of it is fat (Martin 1994), 4 % of the fat-free mass elsewhere (Clarys 1999)",
        "blood": "Bosgra 2012; spread: McNally 2014",
        "brain": "Bosgra 2012; spread: McNally 2014",
        "liver": "Johnson 2005; -1 %/y after 60 y after Wynne 1989, unverified; spread: McNally 2014",
        "skin": "ICRP 89 by body surface; spread: McNally 2014",
        "muscle": "what other organs leave of the weight; proportions: ICRP 89, Janssen 2000; spread: unverified",
        "bone": "ICRP 89 by height², loss from 50 y on: httk; spread: unverified",
        "rest": "what other organs leave of the weight; proportions: Birnbaum 1994",
    }
    about = {"rest": "all else: connective tissue, contents of the gut", "blood": "blood", "adipose": "adipose tissue"}
    return {
        f"mass_{o}": Column("kg", about.get(o, f"{o.replace('_', ' ')}, without blood"), sources[o]) for o in ORGANS
    }


MASSES = _mass_columns()


@step(
    MASSES,
    needs=("sex", "age", "height", "weight", "bsa", "fat_free_mass"),
    draws=tuple(f"mass_{organ}" for organ in CV),
)
def organ_masses(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    sex = x["sex"]
    mass = typical_masses(sex, x["age"], x["height"], x["bsa"], x["fat_free_mass"])
    for organ, noise in NOISE.items():
        s = noise[sex]
        mass[organ] = mass[organ] * np.exp(s * (z[f"mass_{organ}"] - s / 2))
    mass["adipose"] = adipose_tissue(x["weight"], x["fat_free_mass"])
    mass["rest"] = 0.047 * x["weight"]  # [7]
    return {f"mass_{organ}": value for organ, value in close_mass(mass, x["weight"], x["fat_free_mass"]).items()}


@step(
    {f"volume_{o}": Column("L", f"volume of mass_{o}", f"density {DENSITY[o]:g} kg/L") for o in ORGANS},
    needs=tuple(f"mass_{o}" for o in ORGANS),
)
def volumes(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {f"volume_{o}": x[f"mass_{o}"] * (1 / DENSITY[o]) for o in ORGANS}


@step(
    {
        f"blood_{o}": Column("L", f"{o.replace('_', ' ')} blood", f"{100 * s:.3g} % of the blood: Willmann 2007")
        for o, s in BLOOD_SHARE.items()
    },
    needs=("volume_blood",),
)
def blood_content(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {f"blood_{o}": share * x["volume_blood"] for o, share in BLOOD_SHARE.items()}


STEPS = (body_surface, composition, organ_masses, volumes, blood_content)
