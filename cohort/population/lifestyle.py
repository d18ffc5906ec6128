"""Smoking, comorbidity and comedication of adults, by published prevalences; children have none of them.

Each is a threshold on a latent normal: its probability by sex and age is the published one, and a score of body mass
moves people up or down within their sex and age. Diabetes and hypertension hence come with age and weight, drugs with
the disease. Alcohol and inhibitors of CYP3A4 are left out: no prevalence by age and sex was found.

References
----------
[1] Cornelius et al. 2023, MMWR 72:475 (NHIS 2021, public domain): cigarette smoking and quit ratios by age and by sex;
    here raked to both, on the scale of log odds.
[2] Stierman et al. 2021, National Health Statistics Reports 158, table 8 (NHANES 2017-March 2020, public domain):
    diabetes, diagnosed or by glucose or HbA1c, by sex and age.
[3] Gwira et al. 2024, NCHS Data Brief 516 (NHANES 2021-2023, public domain): diabetes in 6.8 % (BMI below 25), 12.3 %
    (25-30), 24.2 % (30 and above).
[4] Fryar et al. 2024, NCHS Data Brief 511 (NHANES 2021-2023, public domain): hypertension (130/80 mmHg or a drug for
    it) by sex and age, and who of them takes a drug.
[5] Dietary Guidelines Advisory Committee 2015, appendix E-2.20 (NHANES 2009-2012, public domain): hypertension (140/90)
    in 20.0, 26.4, 39.2 % by class of BMI, age-adjusted.
[6] Sarpong & Zuvekas 2014, MEPS Statistical Brief 459 (AHRQ, public domain): statins in 1.7 % (18-40 y), 20.3 %
    (41-64), 45.8 % (65 and above); in 54.9 % of people with diabetes.
[7] INE, Encuesta Nacional de Salud 2011-2012 (Spain): smoking by sex and age.
[8] Eurostat, EHIS 2014: diabetes in under 2 % below 45 y, 16 % at 65-74, 19.6 % at 75 and above, 7 % of all, men and
    women alike. At 30 y: 1.5 %, Robert Koch Institute (claims of 2013).
[9] Neuhauser et al. 2013, Bundesgesundheitsbl 56:795, and 2015, J Hum Hypertens 29:247 (DEGS1, Germany 2008-2011):
    hypertension (140/90 or a drug) in 33.3 % of men and 29.9 % of women, 75 % at 70-79 y; 65 % and 79 % of them
    treated.
[10] MHLW, National Health and Nutrition Survey of Japan: smoking 2019; diabetes 2016; hypertension (140/90 or a drug,
    60.0 % of men and 44.6 % of women of 30 and above) 2010; drugs for it by age 2004 and 2016.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from cohort.population.causal import Column, Columns, Step, step

ADULT = 18  # y
YEARS = 121  # tables go by whole years of age, men first, then women
NO_YES = ("no", "yes")

BY_BODY_MASS = {"diabetes": 0.42, "hypertension": 0.33}  # correlation with the score of body mass: fits [3], [5]
# Of the latents, given age and body mass: unverified. With it, 79 % of US adults with diabetes have hypertension.
CORRELATIONS: dict[tuple[str, str], float] = {("diabetes", "hypertension"): 0.3}

type Sexes = tuple[tuple[float, ...], tuple[float, ...]]  # percent: of men, of women


@dataclass(frozen=True)
class Region:
    """Prevalences, percent. Of smoking, treatment and statins: steps from each age on; of disease: linear in the probit
    between the ages, level beyond them."""

    bmi_median: tuple[float, float]  # kg/m², about which diseases' prevalences hold; men, women
    bmi_spread: tuple[float, float]  # SD of its logarithm
    smoking_from: tuple[float, ...]
    current: Sexes
    former: Sexes
    diabetes_at: tuple[float, ...]
    diabetes: Sexes
    hypertension_at: tuple[float, ...]
    hypertension: Sexes
    treated_from: tuple[float, ...]
    treated: Sexes  # of people with hypertension
    sources: Mapping[str, str]
    statin_from: tuple[float, ...] = (18, 41, 65)
    statin: Sexes = ((1.4, 13.1, 31.7), (9.1, 51.8, 76.9))  # of people without and with diabetes: solved for [6]


REGIONS: dict[str, Region] = {
    "us": Region(
        bmi_median=(28.3, 28.3),
        bmi_spread=(0.205, 0.25),
        smoking_from=(18, 25, 45, 65),
        current=((6.0, 14.2, 16.8, 9.5), (4.6, 11.0, 13.1, 7.3)),
        former=((6.6, 22.1, 29.3, 44.2), (4.1, 14.4, 19.8, 32.0)),
        # The bands' means are 4.0, 17.1, 36.3 (men) and 4.7, 15.9, 24.4 (women), 20-39, 40-59, 60 y and above [2].
        diabetes_at=(18, 30, 50, 70),
        diabetes=((1.3, 3.7, 15.6, 40.1), (2.0, 4.5, 15.7, 25.7)),
        # 30.0, 55.9, 71.6 (men) and 16.4, 49.0, 71.6 (women), 18-39, 40-59, 60 y and above [4].
        hypertension_at=(18, 30, 50, 70),
        hypertension=((21.2, 32.3, 54.4, 73.5), (6.5, 16.9, 48.6, 74.5)),
        treated_from=(18, 40, 60),
        treated=((10.1, 47.1, 69.1), (21.4, 47.1, 69.1)),
        sources={
            "smoking": "NHIS 2021 (MMWR 72:475), by age and by sex",
            "diabetes": "NHANES 2017-2020 (NHSR 158) by sex and age; by body mass: NCHS Data Brief 516",
            "hypertension": "NHANES 2021-2023 (NCHS Data Brief 511) by sex and age; by body mass: DGAC 2015 E-2.20",
            "antihypertensive": "NHANES 2021-2023 (NCHS Data Brief 511)",
            "statin": "MEPS 2010-2011 (Statistical Brief 459), by age and diabetes",
        },
    ),
    "europe": Region(
        bmi_median=(26.7, 25.4),
        bmi_spread=(0.15, 0.18),
        smoking_from=(18, 25, 65),
        current=((27.8, 36.4, 14.0), (24.9, 29.2, 2.9)),
        former=((3.2, 24.8, 50.3), (4.2, 16.7, 5.1)),
        diabetes_at=(30, 55, 70, 80),
        diabetes=((1.5, 7.0, 16.0, 19.6), (1.5, 7.0, 16.0, 19.6)),  # at 55 y: what 7 % of all leave
        hypertension_at=(20, 30, 45, 60, 80),
        hypertension=((5.4, 11.6, 28.4, 52.1, 81.1), (2.9, 7.7, 23.4, 49.0, 81.8)),
        treated_from=(18,),
        treated=((65.0,), (79.0,)),
        sources={
            "smoking": "Spain 2011-2012 (INE); that it stands for Europe: unverified",
            "diabetes": "EHIS 2014 (Eurostat), at 30 y Germany 2013 (RKI); at 55 y and by body mass (US): unverified",
            "hypertension": "Germany 2008-2011 (DEGS1), 140/90 mmHg; course with age and body mass (US): unverified",
            "antihypertensive": "Germany 2008-2011 (DEGS1), at every age alike: unverified",
            "statin": "US figures (MEPS 2010-2011): unverified for Europe",
        },
    ),
    "japan": Region(
        bmi_median=(23.3, 21.8),
        bmi_spread=(0.14, 0.16),
        smoking_from=(18, 30, 40, 50, 60, 70),
        current=((25.5, 33.2, 36.5, 31.8, 31.1, 15.1), (7.6, 7.4, 10.3, 12.9, 8.6, 3.0)),
        former=((10.0, 15.0, 20.0, 30.0, 40.0, 45.0), (4.0, 5.0, 5.0, 5.0, 4.0, 3.0)),
        diabetes_at=(35, 55, 65, 77),
        diabetes=((1.3, 12.6, 21.8, 23.2), (0.7, 6.1, 12.0, 16.8)),
        hypertension_at=(30, 45, 60, 77),
        hypertension=((39.0, 52.8, 66.2, 80.0), (21.4, 36.2, 53.4, 72.0)),
        treated_from=(18, 40, 50, 60, 70),
        treated=((3.0, 13.0, 25.0, 50.0, 65.0), (3.0, 13.0, 25.0, 50.0, 65.0)),
        sources={
            "smoking": "NHNS 2019 (men below 60 y); women's and older men's by age, and former smoking: unverified",
            "diabetes": "NHNS 2016, HbA1c 6.5 % or treated; by body mass (US): unverified",
            "hypertension": "NHNS 2010, 140/90 mmHg; course with age and body mass (US): unverified",
            "antihypertensive": "NHNS 2016 at 60 y and above; below, from NHNS 2004: unverified",
            "statin": "US figures (MEPS 2010-2011): unverified for Japan",
        },
    ),
}  # fmt: skip


def _by_year(limit: list[np.ndarray]) -> np.ndarray:
    """Limits that a latent must exceed, (2 * YEARS,); children exceed none."""
    table = np.array(limit)
    table[:, :ADULT] = np.inf
    return table.ravel()


def _steps(ages: tuple[float, ...], percent: tuple[tuple[float, ...], ...]) -> np.ndarray:
    band = np.maximum(np.searchsorted(ages, np.arange(YEARS), side="right") - 1, 0)
    return _by_year([-ndtri(np.array(row) / 100)[band] for row in percent])


def _curve(ages: tuple[float, ...], percent: Sexes) -> np.ndarray:
    middle = np.arange(YEARS) + 0.5  # of the year of life
    return _by_year([-np.interp(middle, ages, ndtri(np.array(row) / 100)) for row in percent])


def _row(who: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Where a table by year has the people of these sexes (or levels 0 and 1) and ages."""
    return who * YEARS + np.minimum(age, YEARS - 1).astype(np.intp)


def lifestyle_steps(region: str) -> tuple[Step, ...]:
    """Steps that make smoking, diabetes, hypertension, antihypertensive and statin, as in this region."""
    if region not in REGIONS:
        raise ValueError(f"no prevalences of region {region!r}; there are {', '.join(REGIONS)}")
    r = REGIONS[region]
    ever = tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(r.current, r.former, strict=True))
    smokes, smoked = _steps(r.smoking_from, r.current), _steps(r.smoking_from, ever)
    limits = {
        "diabetes": _curve(r.diabetes_at, r.diabetes),
        "hypertension": _curve(r.hypertension_at, r.hypertension),
    }
    # What is left of a latent's variance beside body mass; a limit on the whole becomes one on the rest.
    left = {disease: np.sqrt(1 - c**2) for disease, c in BY_BODY_MASS.items()}
    limits = {disease: limit / left[disease] for disease, limit in limits.items()}
    pull = {disease: c / left[disease] for disease, c in BY_BODY_MASS.items()}
    treated, statins = _steps(r.treated_from, r.treated), _steps(r.statin_from, r.statin)
    root, scale = np.sqrt(r.bmi_median), 2 / np.array(r.bmi_spread)

    def column(name: str, about: str, levels: tuple[str, ...] = NO_YES) -> dict[str, Column]:
        return {name: Column("1", about, r.sources[name], levels)}

    @step(
        column("smoking", "cigarettes", ("never", "former", "current")),
        needs=("sex", "age"),
        draws=("smoking",),
    )
    def smoking(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        row = _row(x["sex"], x["age"])
        return {"smoking": (z["smoking"] > smoked[row]).view(np.int8) + (z["smoking"] > smokes[row])}

    @step(
        column("diabetes", "diabetes mellitus, known or not")
        | column("hypertension", "high blood pressure, or a drug for it"),
        needs=("sex", "age", "bmi"),
        draws=("diabetes", "hypertension"),
    )
    def comorbidity(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        sex = x["sex"]
        row = _row(sex, x["age"])
        # Box-Cox score of power -1/2, which makes body mass index near enough normal.
        score = (1 - root[sex] / np.sqrt(x["bmi"])) * scale[sex]
        return {d: (z[d] + pull[d] * score > limits[d][row]).view(np.int8) for d in ("diabetes", "hypertension")}

    @step(
        column("antihypertensive", "takes a drug that lowers blood pressure") | column("statin", "takes a statin"),
        needs=("sex", "age", "diabetes", "hypertension"),
        draws=("antihypertensive", "statin"),
    )
    def comedication(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        wants = z["antihypertensive"] > treated[_row(x["sex"], x["age"])]
        statin = z["statin"] > statins[_row(x["diabetes"].astype(np.intp), x["age"])]
        return {
            "antihypertensive": (wants & (x["hypertension"] > 0)).view(np.int8),
            "statin": statin.view(np.int8),
        }

    return smoking, comorbidity, comedication


STEPS = lifestyle_steps("us")
