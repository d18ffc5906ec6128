"""Adults of the United States: demography, height, body mass index, haematocrit and creatinine.

Every measured variable is a quantile surface: its value by sex, ancestry, age and the person's latent normal, bilinear
in age and latent between the nodes of a table. A surface rises with the latent, so that a person's value gives the
latent back: `INVERSES`. How haematocrit falls where kidneys fail is in the correlation of their latents only.

References
----------
[1] NHANES 2013-2018 (CDC/NCHS, public domain; the examined, as packed in httk 2.7.4), examination weights: our fit to
    15 000 adults of 18-79 y, by tools/fit_us_adults.py. No figure rests on a person of 80 or above.
[2] American Community Survey 2019 (U.S. Census Bureau), as reported by Governing, January 2021: 5.7 % Asian alone.
[3] Budiman & Ruiz 2021, Key facts about Asian origin groups in the U.S., Pew Research Center: Indian, 20 % of Asians.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from cohort.population.causal import Column, Columns, Step, step

SEX = ("male", "female")
ANCESTRY = ("Mexican American", "Other Hispanic", "non-Hispanic White", "non-Hispanic Black", "Other")
OTHER = ANCESTRY.index("Other")
GENETIC_ANCESTRY = ("AFR", "AMR", "EAS", "EUR", "SAS")
SURVEY = "NHANES 2013-2018, examination weights: our fit"  # [1]
AGES = (18.0, 80.0)  # y: where [1] holds, the upper end excluded

# Nodes of the tables: years, and latent standard normals.
FROM_AGE, AGE_STEP, AGE_NODES = 18.0, 9.0, 9
FROM_Z, Z_STEP, Z_NODES = -5.0, 0.25, 41

# "Other" is 9.5 % of [1], and 5.7 % of people of all ages are Asian [2]. Indians are 20 % of Asians [3]; unverified:
# other South Asians 4 %. All other Asians are taken as EAS, which holds China and Vietnam. Unverified: those of "Other"
# who are not Asian, of several races or of smaller groups, have the frequencies of EUR.
ASIAN, SOUTH_ASIAN = 0.6, 0.24
OTHER_BOUNDS = ndtri([ASIAN * (1 - SOUTH_ASIAN), ASIAN])  # of the latent: EAS, SAS, EUR
ORIGIN = np.array([GENETIC_ANCESTRY.index(g) for g in ("AMR", "AMR", "EUR", "AFR", "EAS", "SAS", "EUR")])

ORIGINS = Column(
    "1",
    "superpopulation of the 1000 Genomes whose allele frequencies the person has",
    "NHANES 2013-2018 by ancestry; of Other: ACS 2019, Pew 2021, partly unverified",
    GENETIC_ANCESTRY,
)
OUTSIDE = Column("1", "age is beyond the evidence of the source", "ages of the source", ("no", "yes"))
MEASURED = {
    "height": Column("cm", "standing height", SURVEY),
    "bmi": Column("kg/m**2", "body mass index", SURVEY),
    "haematocrit": Column("1", "packed cells, as a fraction of the volume of blood", SURVEY),
    "creatinine": Column("mg/dL", "creatinine in serum", SURVEY),
}
WHO = ("sex", "ancestry", "age")


def _node(x: np.ndarray, start: float, width: float, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The node below x, and how far x is on the way to the next; beyond the ends, less than 0 or more than 1."""
    position = (x - start) * (1 / width)
    node = np.minimum(np.maximum(position, 0), nodes - 2).astype(np.intp)
    return node, position - node


@dataclass(frozen=True)
class Surface:
    """Quantiles (sex, ancestry, age, latent) of a variable, or of its logarithm; `bounds` in the variable's own unit.

    Ages beyond the table's ends have the values of the nearest end; latents beyond them carry on the last slope.
    """

    quantiles: np.ndarray
    bounds: tuple[float, float]
    logarithm: bool = False

    @classmethod
    def read(cls, fitted: Mapping) -> "Surface":
        """Location and spread by sex, ancestry and age; the shape of what is left by sex, age and latent."""
        location, spread, shape = (np.array(fitted[part]) for part in ("location", "spread", "shape"))
        quantiles = location[..., None] + spread[..., None] * shape[:, None]
        return cls(quantiles, tuple(fitted["bounds"]), fitted["logarithm"])

    def _row(self, x: Columns) -> tuple[np.ndarray, np.ndarray]:
        """The row of quantiles at the age node below, and how far each person is on the way to the next row."""
        age = np.minimum(np.maximum(x["age"], FROM_AGE), FROM_AGE + (AGE_NODES - 1) * AGE_STEP)
        node, part = _node(age, FROM_AGE, AGE_STEP, AGE_NODES)
        return (x["sex"] * len(ANCESTRY) + x["ancestry"]) * AGE_NODES + node, part

    def value(self, x: Columns, z: np.ndarray) -> np.ndarray:
        """x: sex, ancestry, age. Returns (n,) in the variable's unit."""
        row, older = self._row(x)
        node, part = _node(z, FROM_Z, Z_STEP, Z_NODES)
        at, flat = row * Z_NODES + node, self.quantiles.ravel()
        low, next_low = flat.take(at), flat.take(at + 1)
        high, next_high = flat.take(at + Z_NODES), flat.take(at + Z_NODES + 1)
        low += part * (next_low - low)
        high += part * (next_high - high)
        low += older * (high - low)
        if self.logarithm:
            np.exp(low, out=low)
        return np.minimum(np.maximum(low, self.bounds[0], out=low), self.bounds[1], out=low)

    def latent(self, x: Columns, value: np.ndarray) -> np.ndarray:
        """The latent with which a person of this sex, ancestry and age has this value: (n,)."""
        row, older = self._row(x)
        rows = self.quantiles.reshape(-1, Z_NODES)
        curve = rows[row] + older[:, None] * (rows[row + 1] - rows[row])
        y = np.log(value) if self.logarithm else np.asarray(value, float)
        node = np.clip((curve <= y[:, None]).sum(1) - 1, 0, Z_NODES - 2)
        low, high = (np.take_along_axis(curve, (node + k)[:, None], 1)[:, 0] for k in (0, 1))
        return FROM_Z + Z_STEP * (node + (y - low) / (high - low))


def surfaces(table: Mapping) -> dict[str, Surface]:
    """By the column they make. table: as tables/us_adults.json."""
    return {name: Surface.read(table[name]) for name in MEASURED}


def _genetic_ancestry(x: Columns, z: Columns) -> Columns:
    first, second = ((z["genetic_ancestry"] > bound).astype(np.intp) for bound in OTHER_BOUNDS)
    return {"genetic_ancestry": ORIGIN.take(x["ancestry"] + (x["ancestry"] == OTHER) * (first + second))}


def _age_outside_source(x: Columns, z: Columns) -> Columns:
    return {"age_outside_source": ((x["age"] < AGES[0]) | (x["age"] >= AGES[1])).astype(np.intp)}


def _weight(x: Columns, z: Columns) -> Columns:
    return {"weight": x["bmi"] * (x["height"] * 0.01) ** 2}


GENETIC = step({"genetic_ancestry": ORIGINS}, needs=("ancestry",), draws=("genetic_ancestry",))(_genetic_ancestry)
FLAG = step({"age_outside_source": OUTSIDE}, needs=("age",))(_age_outside_source)
WEIGHT = step({"weight": Column("kg", "body weight", "bmi × height²")}, needs=("height", "bmi"))(_weight)


def steps(table: Mapping) -> tuple[Step, ...]:
    """The steps whose figures are those of the table, as tables/us_adults.json."""
    male = ndtri(1 - table["female"])
    reported = ndtri(np.cumsum(table["ancestry"], axis=1)[:, :-1]).T  # (ancestry but the last, sex), of the latent
    ages = np.ravel(table["age"])  # (sex, ancestry, latent), y
    surface = surfaces(table)

    @step({"sex": Column("1", "sex", SURVEY, SEX)}, draws=("sex",))
    def sex(x: Columns, z: Columns) -> Columns:
        return {"sex": (z["sex"] > male).astype(np.intp)}

    @step(
        {"ancestry": Column("1", "race and Hispanic origin, as reported", SURVEY, ANCESTRY)},
        needs=("sex",),
        draws=("ancestry",),
    )
    def ancestry(x: Columns, z: Columns) -> Columns:
        group = np.zeros(len(x["sex"]), np.intp)
        for bound in reported:
            group += z["ancestry"] > bound.take(x["sex"])
        return {"ancestry": group}

    @step({"age": Column("y", "age", SURVEY)}, needs=("sex", "ancestry"), draws=("age",))
    def age(x: Columns, z: Columns) -> Columns:
        node, part = _node(z["age"], FROM_Z, Z_STEP, Z_NODES)
        node += (x["sex"] * len(ANCESTRY) + x["ancestry"]) * Z_NODES
        low = ages.take(node)
        low += part * (ages.take(node + 1) - low)
        return {"age": np.minimum(np.maximum(low, AGES[0]), np.nextafter(AGES[1], 0))}

    @step({"height": MEASURED["height"]}, needs=WHO, draws=("height",))
    def height(x: Columns, z: Columns) -> Columns:
        return {"height": surface["height"].value(x, z["height"])}

    @step({"bmi": MEASURED["bmi"]}, needs=WHO, draws=("bmi",))
    def bmi(x: Columns, z: Columns) -> Columns:
        return {"bmi": surface["bmi"].value(x, z["bmi"])}

    @step({"haematocrit": MEASURED["haematocrit"]}, needs=WHO, draws=("haematocrit",))
    def haematocrit(x: Columns, z: Columns) -> Columns:
        return {"haematocrit": surface["haematocrit"].value(x, z["haematocrit"])}

    @step({"creatinine": MEASURED["creatinine"]}, needs=WHO, draws=("kidney",))
    def creatinine(x: Columns, z: Columns) -> Columns:
        return {"creatinine": surface["creatinine"].value(x, z["kidney"])}

    return sex, ancestry, GENETIC, age, FLAG, height, bmi, WEIGHT, haematocrit, creatinine


def correlations(table: Mapping) -> dict[tuple[str, str], float]:
    """Between latents, by their names."""
    return {(a, b): r for a, b, r in table["correlations"]}


def inverse(surface: Surface, name: str) -> Callable[[Columns], np.ndarray]:
    return lambda x: surface.latent(x, x[name])


TABLE = json.loads((Path(__file__).parent / "tables" / "us_adults.json").read_text())
SURFACES = surfaces(TABLE)
BMI_BOUNDS = SURFACES["bmi"].bounds
STEPS, CORRELATIONS = steps(TABLE), correlations(TABLE)
# A measured column to the function that gives its latent, (n,), from sex, ancestry, age and the column itself.
INVERSES = {name: inverse(surface, name) for name, surface in SURFACES.items()}
