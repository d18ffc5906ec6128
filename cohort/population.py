"""Virtual people: demography, the trial's covariates, and who of them meets its criteria.

Height and body mass index are drawn given sex, age and group; weight follows. Every variable has its own stream.

References
----------
[1] NHANES 2013-2018 (CDC/NCHS, public domain), examination weights, ages 20-79: our fit to 6809 men and 7414 women.
    Height normal; BMI Box-Cox-Cole-Green, M (1 + L S z)^(1/L).
[2] Dietary Reference Intakes for Japanese 2020 (MHLW): reference height and weight by age.
    Unverified: the standard deviations of height and BMI that go with it.
"""

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri

from cohort.library import load
from cohort.model import Model
from cohort.streams import Streams, streams
from cohort.study import COLUMNS, Share, Spread, Study

AGES = (20.0, 80.0)  # y: where [1] holds; outside it the equations are used at the nearest age, and the row says so
BLOCK = 4096  # candidates screened at a time
PATIENCE = 64 * BLOCK  # candidates without a full cohort after which screening gives up

ANCESTRY = ("Mexican American", "Other Hispanic", "non-Hispanic White", "non-Hispanic Black", "Other")


@dataclass(frozen=True)
class Demography:
    """[1]: polynomial coefficients in x = (age - 45 y)/10; offsets in the order of ANCESTRY."""

    share: tuple[float, ...]
    height: tuple[float, ...]  # cm
    height_offset: tuple[float, ...]
    height_sd: float
    log_bmi: tuple[float, ...]  # log M, kg/m²
    log_bmi_offset: tuple[float, ...]
    log_s: tuple[float, float]
    box_cox: float


US = {  # [1]
    "male": Demography(
        share=(0.0490, 0.0309, 0.3103, 0.0494, 0.0463),
        height=(178.080, -0.528, -0.281),
        height_offset=(-6.915, -6.532, 0.0, -1.034, -4.110),
        height_sd=6.959,
        log_bmi=(3.3786, 0.0065, -0.0151, 0.0030),
        log_bmi_offset=(0.0462, 0.0125, 0.0, -0.0176, -0.0623),
        log_s=(-1.6304, -0.0401),
        box_cox=-0.664,
    ),
    "female": Demography(
        share=(0.0465, 0.0346, 0.3238, 0.0604, 0.0488),
        height=(164.085, -0.732, -0.295),
        height_offset=(-6.486, -5.020, 0.0, -0.579, -4.827),
        height_sd=6.329,
        log_bmi=(3.3518, 0.0122, -0.0107, 0.0020),
        log_bmi_offset=(0.0918, 0.0209, 0.0, 0.0942, -0.0717),
        log_s=(-1.4365, -0.0284),
        box_cox=-0.624,
    ),
}
JAPAN_AGES = (18.0, 30.0, 50.0, 65.0, 75.0)  # y, lower ends of the bands of [2]
JAPAN = {  # [2]: reference height cm and weight kg by band; unverified: SD of height cm, CV of BMI
    "male": ((171.0, 171.0, 169.0, 165.2, 160.8), (64.5, 68.1, 68.0, 65.0, 59.6), 5.7, 0.14),
    "female": ((158.0, 158.0, 155.8, 152.0, 148.0), (50.3, 53.0, 53.8, 52.1, 48.8), 5.4, 0.16),
}


class PopulationError(ValueError):
    """A population that cannot be made, or a table that is not one; the message names criterion, row or column."""


@dataclass(frozen=True)
class Screening:
    """Enrolled people, and how many candidates each criterion turned away, in the order of the protocol."""

    people: pl.DataFrame
    screened: int
    excluded: dict[str, int]


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    return sum((c * x**k for k, c in enumerate(coefficients)), np.zeros_like(x))


def _us(female: np.ndarray, age: np.ndarray, s: Streams) -> tuple[np.ndarray, np.ndarray]:
    """Height (cm) and BMI (kg/m²) of US adults [1]."""
    x = (np.clip(age, *AGES) - 45) / 10
    u, z_height, z_bmi = s.uniform("ancestry")[:, 0], s.normal("height")[:, 0], s.normal("bmi")[:, 0]
    height, bmi = np.empty_like(age), np.empty_like(age)
    for sex, d in US.items():
        who = female == (sex == "female")
        shares = np.cumsum(d.share) / sum(d.share)
        group = np.minimum(np.searchsorted(shares, u[who]), len(ANCESTRY) - 1)
        height[who] = _polynomial(d.height, x[who]) + np.array(d.height_offset)[group] + d.height_sd * z_height[who]
        median = np.exp(_polynomial(d.log_bmi, x[who]) + np.array(d.log_bmi_offset)[group])
        s_bmi = np.exp(_polynomial(d.log_s, x[who]))
        bmi[who] = median * np.maximum(1 + d.box_cox * s_bmi * z_bmi[who], 1e-3) ** (1 / d.box_cox)
    return height, bmi


def _japan(female: np.ndarray, age: np.ndarray, s: Streams) -> tuple[np.ndarray, np.ndarray]:
    """Height (cm) and BMI (kg/m²) of Japanese adults [2]."""
    z_height, z_bmi = s.normal("height")[:, 0], s.normal("bmi")[:, 0]
    height, bmi = np.empty_like(age), np.empty_like(age)
    band = np.clip(np.searchsorted(JAPAN_AGES, age, side="right") - 1, 0, len(JAPAN_AGES) - 1)
    for sex, (heights, weights, height_sd, bmi_cv) in JAPAN.items():
        who = female == (sex == "female")
        tall, heavy = np.array(heights)[band[who]], np.array(weights)[band[who]]
        height[who] = tall + height_sd * z_height[who]
        bmi[who] = heavy / (tall / 100) ** 2 * np.exp(math.sqrt(math.log1p(bmi_cv**2)) * z_bmi[who])
    return height, bmi


SOURCES: dict[str, Callable] = {"us": _us, "japan": _japan}


def _drawn(distribution: Share | Spread, unit: str, z: np.ndarray) -> np.ndarray:
    """A covariate from its standard normal, in `unit`."""
    if isinstance(distribution, Share):
        # The upper tail of z has the trait; a share of 0 or 1 leaves no one out.
        return z > (
            ndtri(1 - distribution.fraction)
            if 0 < distribution.fraction < 1
            else (0.5 - distribution.fraction) * math.inf
        )
    mean, sd = distribution.mean.to(unit), distribution.sd.to(unit)
    if distribution.shape == "normal":
        return mean + sd * z
    sigma = math.sqrt(math.log1p((sd / mean) ** 2))
    return mean * np.exp(sigma * z - sigma**2 / 2)


def candidates(study: Study, model: Model, subjects: list[str]) -> pl.DataFrame:
    """The people these ids stand for, before eligibility."""
    s = streams(study.seed, "population", subjects)
    given = study.population.covariates
    female_share, age_spread = given.get("female", Share(fraction=0.5, source="even")), given.get("age")
    female = _drawn(female_share, "1", s.normal("sex")[:, 0])
    age = (
        _drawn(age_spread, "y", s.normal("age")[:, 0])
        if age_spread
        else AGES[0] + np.ptp(AGES) * s.uniform("age")[:, 0]
    )
    height, bmi = SOURCES[study.population.source](female, age, s)
    people: dict[str, object] = {
        "subject": subjects,
        "sex": np.where(female, "female", "male"),
        "age": age,
        "height": height,
        "weight": bmi * (height / 100) ** 2,
        "bmi": bmi,
        "age_outside_source": (age < AGES[0]) | (age > AGES[1]),
    }
    for name, meta in model.covariates.fields().items():
        if name in COLUMNS:
            continue
        value = _drawn(given[name], meta["unit"], s.normal(name)[:, 0])
        people[name] = np.where(value, meta["levels"][1], meta["levels"][0]) if meta["levels"] else value
    return pl.DataFrame(people)


def sample_population(study: Study) -> Screening:
    """Screen candidates in order of their ids until the cohort is full. Errors: PopulationError if it cannot be."""
    model = load(study.model, study.path.parent)
    units = {c: u for c, u in COLUMNS.items() if isinstance(u, str)}
    units |= {n: m["unit"] for n, m in model.covariates.fields().items() if not m["levels"]}
    excluded = {str(c): 0 for c in study.population.eligibility}
    enrolled: list[pl.DataFrame] = []
    found = screened = 0
    while found < study.population.size:
        if screened >= PATIENCE or (screened >= BLOCK and found == 0):
            worst = max(excluded, key=lambda c: excluded[c])
            raise PopulationError(
                f"{study.path}: population.eligibility: {found} of {screened} candidates are eligible, "
                f"{study.population.size} are needed; '{worst}' turned {excluded[worst]} away: "
                "widen it or change the covariates"
            )
        block = candidates(study, model, [f"{i:07d}" for i in range(screened + 1, screened + 1 + BLOCK)])
        keep = np.ones(BLOCK, dtype=bool)
        reason = np.full(BLOCK, -1)
        for k, criterion in enumerate(study.population.eligibility):
            passed = criterion.keeps(block[criterion.column].to_numpy(), units.get(criterion.column, "1"))
            reason[keep & ~passed] = k
            keep &= passed
        # Screening stops at the candidate who fills the cohort.
        last = int(np.searchsorted(np.cumsum(keep), study.population.size - found)) + 1 if keep.any() else BLOCK
        last = min(last, BLOCK)
        for k, criterion in enumerate(study.population.eligibility):
            excluded[str(criterion)] += int((reason[:last] == k).sum())
        enrolled.append(block[:last].filter(pl.Series(keep[:last])))
        found += enrolled[-1].height
        screened += last
    return Screening(pl.concat(enrolled), screened, excluded)


def covariates_of(model: Model, people: pl.DataFrame) -> Any:
    """Covariates of these people, (n,) each: numbers in the model's units, categories by the index of the level."""
    return model.covariates(
        **{
            name: people[name].cast(pl.Enum(meta["levels"])).to_physical().to_numpy().astype(np.int64)
            if meta["levels"]
            else people[name].to_numpy().astype(float)
            for name, meta in model.covariates.fields().items()
        }
    )


def check_people(study: Study, people: pl.DataFrame) -> None:
    """Refuse a table that is not a population of this study. Errors: PopulationError naming rows and columns."""
    model = load(study.model, study.path.parent)
    wrong: list[str] = []
    if "subject" not in people.columns:
        raise PopulationError("there is no column 'subject'; give each person an id")
    if people["subject"].dtype != pl.String:
        raise PopulationError("column subject: ids are text, so that 0012 stays 0012; write them as strings")
    if people.height == 0:
        raise PopulationError("the table has no rows; give at least one person")
    for i, name in enumerate(people["subject"].to_list(), 1):
        if not name or name != unicodedata.normalize("NFC", name).strip():
            wrong.append(
                f"row {i}, column 'subject': {name!r}; write an id without surrounding space, in Unicode's NFC"
            )
    twice = people.filter(pl.col("subject").is_duplicated())["subject"].unique(maintain_order=True)
    wrong += [f"subject {s!r} stands on more than one row; keep one" for s in twice]
    for name, meta in model.covariates.fields().items():
        if name not in people.columns:
            holds = " or ".join(meta["levels"]) if meta["levels"] else meta["unit"]
            wrong.append(f"column '{name}' ({holds}) is missing; add it")
            continue
        column = people[name]
        if meta["levels"]:
            bad = [i for i, v in enumerate(column.to_list()) if v not in meta["levels"]]
            want = f"write one of {', '.join(meta['levels'])}"
        elif not column.dtype.is_numeric():
            wrong.append(f"column '{name}' holds text; write numbers in {meta['unit']}")
            continue
        else:
            low, high = meta["plausible"]
            bad = [i for i, v in enumerate(column.to_list()) if v is None or not low <= v <= high]
            want = f"write a number from {low:g} to {high:g} {meta['unit']}"
        wrong += [
            f"row {i + 1}, subject {people['subject'][i]!r}, column '{name}': {column[i]!r}; {want}" for i in bad[:20]
        ]
        if len(bad) > 20:
            wrong.append(f"column '{name}': {len(bad) - 20} rows more")
    if wrong:
        raise PopulationError("\n".join(wrong))
