"""Kidney function and plasma proteins of adults.

References
----------
[1] Inker et al. 2021, N Engl J Med 385:1737: CKD-EPI 2021, creatinine, without race.
[2] Ring et al. 2017, Environ Int 106:105 (httk): measured over estimated GFR, SD of the logarithm 0.206.
[3] Campion, deLabry & Glynn 1988, J Gerontol 43:M18: albumin of 1066 healthy men falls by 0.54 g/L a decade; 42.5 g/L
    (SD 2.6) in the eighth decade of life.
[4] Weaving, Batstone & Jones 2016, Ann Clin Biochem 53:106: women's albumin is lower than men's and meets it at 60 y;
    by how much at 20 y: 2 g/L, unverified.
"""

from collections.abc import Mapping

import numpy as np

from cohort.population.causal import Column, Columns, step

KAPPA = np.array([0.9, 0.7])  # mg/dL, men and women [1]
ALPHA = np.array([-0.302, -0.241])
FEMALE = np.array([1.0, 1.012])

ALBUMIN_SD = 2.6  # g/L [3]
AAG = np.array([0.8, 0.7])  # g/L, men and women: unverified
AAG_SPREAD = 0.28  # SD of the logarithm: unverified
GFR_SPREAD = 0.206  # [2]


def ckd_epi_2021(sex: np.ndarray, age: np.ndarray, creatinine: np.ndarray) -> np.ndarray:
    """Estimated GFR, mL/min per 1.73 m², of creatinine in mg/dL [1]."""
    ratio = creatinine / KAPPA[sex]
    power = np.where(ratio < 1, ALPHA[sex], -1.2)
    return 142 * FEMALE[sex] * np.exp(power * np.log(ratio) + np.log(0.9938) * age)


def creatinine_of(sex: np.ndarray, age: np.ndarray, gfr: np.ndarray) -> np.ndarray:
    """Creatinine, mg/dL, at which [1] gives this GFR."""
    log_ratio = np.log(gfr / (142 * FEMALE[sex] * 0.9938**age))
    return KAPPA[sex] * np.exp(log_ratio / np.where(log_ratio > 0, ALPHA[sex], -1.2))


@step(
    {"gfr": Column("mL/min", "estimated GFR per 1.73 m² of body surface", "CKD-EPI 2021 of creatinine")},
    needs=("sex", "age", "creatinine"),
)
def estimated_gfr(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {"gfr": ckd_epi_2021(x["sex"], x["age"], x["creatinine"])}


@step(
    {"measured_gfr": Column("mL/min", "GFR of this body, as measured", "CKD-EPI 2021; SD of log: httk, 0.206")},
    needs=("gfr", "bsa"),
    draws=("measured_gfr",),
)
def measured_gfr(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    return {"measured_gfr": x["gfr"] * x["bsa"] / 1.73 * np.exp(GFR_SPREAD * z["measured_gfr"])}


@step(
    {
        "albumin": Column(
            "g/L", "albumin in plasma", "Campion 1988 (men); women 2 g/L lower at 20 y, Weaving 2016: unverified"
        ),
        "aag": Column("g/L", "alpha-1-acid glycoprotein in plasma", "0.8 (men), 0.7 (women), spread 28 %: unverified"),
    },
    needs=("sex", "age"),
    draws=("albumin", "aag"),
)
def proteins(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    sex, age = x["sex"], x["age"]
    lower = np.array([0.0, 2.0])[sex] * np.clip((60 - age) / 40, 0, 1)  # [4]
    albumin = 42.5 + 0.054 * (75 - age) - lower + ALBUMIN_SD * np.clip(z["albumin"], -5, 5)  # [3]
    return {"albumin": albumin, "aag": AAG[sex] * np.exp(AAG_SPREAD * z["aag"])}


STEPS = (estimated_gfr, measured_gfr, proteins)
