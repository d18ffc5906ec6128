"""Adults of Europe and Japan, from published figures by age: height normal, body mass index log-normal.

No survey microdata could be had of either: spreads are partly unverified, and haematocrit and creatinine are those of
non-Hispanic White US adults of the same sex and age, an assumption.

References
----------
[1] KiGGS (Robert Koch Institute 2013, 2nd edition): height of Germans at 18 y and its coefficient of variation.
[2] NAKO Health Study, Fischer et al. 2020, Bundesgesundheitsbl 63:290: 100 000 Germans of 20-75 y; the youngest are
    6 cm taller than the oldest; mean BMI 27 kg/m² (men) and 26 (women).
[3] Health Survey for England 1994 (Hansard, 6 Nov 1996, col. 568): mean BMI by sex and age, whose shape is taken;
    raised by 0.8 for men to meet [2].
[4] Dietary Reference Intakes for Japanese 2020 (MHLW): reference (median) height and weight by age.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from cohort.population import us
from cohort.population.causal import Column, Columns, Step, step

AGES = (18.0, 80.0)  # y
WHITE = us.ANCESTRY.index("non-Hispanic White")


@dataclass(frozen=True)
class Reference:
    """Figures at `ages` (y), linear between; men first, then women."""

    ancestry: str
    genetic: str
    ages: tuple[float, ...]
    height: tuple[tuple[float, ...], tuple[float, ...]]  # cm
    height_sd: tuple[float, float]
    bmi: tuple[tuple[float, ...], tuple[float, ...]]  # kg/m², medians
    bmi_cv: tuple[float, float]
    source: str


def _medians(means: tuple[float, ...], cv: float) -> tuple[float, ...]:
    return tuple(mean / (1 + cv**2) ** 0.5 for mean in means)


EUROPE = Reference(
    ancestry="European",
    genetic="EUR",
    ages=(20, 29.5, 39.5, 49.5, 59.5, 69.5, 78),
    height=((179.0, 178.0, 176.8, 175.6, 174.4, 173.2, 172.2), (165.8, 164.9, 163.7, 162.5, 161.3, 160.1, 159.1)),
    height_sd=(7.1, 6.4),
    bmi=(
        _medians((24.3, 26.1, 27.2, 27.6, 27.8, 27.8, 27.3), 0.15),
        _medians((23.5, 24.8, 25.7, 26.3, 27.5, 27.3, 25.7), 0.19),
    ),
    bmi_cv=(0.15, 0.19),
    source="KiGGS 2013 at 18 y, NAKO 2020, HSE 1994 (shape of BMI by age); spread of BMI: unverified",
)
_JAPAN = (((171.0, 64.5), (171.0, 68.1), (169.0, 68.0), (165.2, 65.0), (160.8, 59.6)),
          ((158.0, 50.3), (158.0, 53.0), (155.8, 53.8), (152.0, 52.1), (148.0, 48.8)))  # fmt: skip
JAPAN = Reference(
    ancestry="Japanese",
    genetic="EAS",
    ages=(24, 40, 57.5, 70, 79),  # the middles of the bands of [4]
    height=tuple(tuple(h for h, _ in rows) for rows in _JAPAN),  # type: ignore[arg-type]
    height_sd=(5.7, 5.4),
    bmi=tuple(tuple(w / (h / 100) ** 2 for h, w in rows) for rows in _JAPAN),  # type: ignore[arg-type]
    bmi_cv=(0.14, 0.16),
    source="Dietary Reference Intakes for Japanese 2020; spreads: unverified",
)


def _at_age(reference: Reference, rows: tuple[tuple[float, ...], ...], x: Columns) -> np.ndarray:
    men, women = (np.interp(x["age"], reference.ages, row) for row in rows)
    return np.where(x["sex"] == 0, men, women)


def steps(reference: Reference) -> tuple[Step, ...]:
    """Demography of adults of this reference, even in age, half of them women."""
    spread = np.sqrt(np.log1p(np.square(reference.bmi_cv)))
    origin = us.GENETIC_ANCESTRY.index(reference.genetic)
    told = "NHANES 2013-2018, non-Hispanic White: an assumption"

    @step({"sex": Column("1", "sex", "even", us.SEX)}, draws=("sex",))
    def sex(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"sex": (z["sex"] > 0).astype(np.intp)}

    @step(
        {
            "ancestry": Column("1", "ancestry", "the source's", (reference.ancestry,)),
            "genetic_ancestry": Column("1", us.ORIGINS.about, "the source's", us.GENETIC_ANCESTRY),
        },
        needs=("sex",),
    )
    def ancestry(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"ancestry": np.zeros_like(x["sex"]), "genetic_ancestry": np.full_like(x["sex"], origin)}

    @step({"age": Column("y", "age", "even over 18 to 80 y")}, draws=("age",))
    def age(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"age": AGES[0] + (AGES[1] - AGES[0]) * ndtr(z["age"])}

    @step({"height": Column("cm", "standing height", reference.source)}, needs=("sex", "age"), draws=("height",))
    def height(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        mean = _at_age(reference, reference.height, x)
        return {"height": mean + np.array(reference.height_sd)[x["sex"]] * z["height"]}

    @step({"bmi": Column("kg/m**2", "body mass index", reference.source)}, needs=("sex", "age"), draws=("bmi",))
    def bmi(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        s = spread[x["sex"]]
        return {"bmi": np.clip(_at_age(reference, reference.bmi, x) * np.exp(s * z["bmi"]), *us.BMI_BOUNDS)}

    @step(
        {"haematocrit": Column("1", us.MEASURED["haematocrit"].about, told)},
        needs=("sex", "age"),
        draws=("haematocrit",),
    )
    def haematocrit(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"haematocrit": us.SURFACES["haematocrit"].value(_white(x), z["haematocrit"])}

    @step(
        {"creatinine": Column("mg/dL", us.MEASURED["creatinine"].about, told)}, needs=("sex", "age"), draws=("kidney",)
    )
    def creatinine(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return {"creatinine": us.SURFACES["creatinine"].value(_white(x), z["kidney"])}

    return sex, ancestry, age, us.FLAG, height, bmi, us.WEIGHT, haematocrit, creatinine


def _white(x: Columns) -> Columns:
    return {**x, "ancestry": np.full_like(x["sex"], WHITE)}


def inverses(reference: Reference) -> dict:
    """Column to the function that gives its latent, (n,), from sex, age and the column itself."""
    spread = np.sqrt(np.log1p(np.square(reference.bmi_cv)))

    def height(x: Columns) -> np.ndarray:
        return (x["height"] - _at_age(reference, reference.height, x)) / np.array(reference.height_sd)[x["sex"]]

    def bmi(x: Columns) -> np.ndarray:
        return np.log(x["bmi"] / _at_age(reference, reference.bmi, x)) / spread[x["sex"]]

    return {
        "height": height,
        "bmi": bmi,
        "haematocrit": lambda x: us.SURFACES["haematocrit"].latent(_white(x), x["haematocrit"]),
        "creatinine": lambda x: us.SURFACES["creatinine"].latent(_white(x), x["creatinine"]),
    }
