"""Growth curves: a child's height, weight or body mass index from sex, age and one z score, and the z score back.

A curve is Cole's LMS: value = M (1 + L S z)^(1/L), or M exp(S z) where L is 0, with L, M and S linear in age between
the tabulated ages.

References
----------
[1] "cdc", 2-20 y: CDC/NCHS growth charts of the United States, 2000 (public domain). Body mass index above its 95th
    percentile: CDC extended BMI-for-age, 2022 (Wei et al. 2020, Ann Hum Biol 47:514): percentile
    90 + 10 Φ((BMI - P95)/sigma), a half-normal tail.
[2] "kiggs", 4 months-18 y: KiGGS 2003-2006, Germany; L, M, S as the Robert Koch Institute published them in 2013.
[3] "who", 0-5 y: WHO Child Growth Standards 2006, by day. The WHO reserves its rights, hence not shipped: read from
    population/lms_who_*.csv in the folder that the environment variable COHORT_DATA names.
[4] WHO 2006, Methods and development: LMS holds within 3 SD; beyond, values go on by the distance between 2 and 3 SD.
    So here for all three: LMS alone has no KiGGS boy of 7.5 y above 3.6 SD of body mass index.
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

TABLES = Path(__file__).parent / "tables"
NAMES = {"cdc": "CDC 2000", "kiggs": "KiGGS", "who": "WHO 2006"}
WHO_FILES = {"height": "lgth_ht", "weight": "wt", "bmi": "bmi"}
MEASURES = tuple(WHO_FILES)
P95 = float(ndtri(0.95))
LIMIT = 3.0  # SD, up to which curves follow LMS [4]


class GrowthError(ValueError):
    """A growth reference that is not there, or an age that it has no figures for."""


def _lms(curve: np.ndarray, z: np.ndarray | float) -> np.ndarray:
    """curve: (n, 3) of L, M, S."""
    power, middle, spread = curve.T
    even = power == 0
    safe = np.where(even, 1, power)
    return middle * np.exp(np.where(even, spread * z, np.log1p(power * spread * z) / safe))


def _lms_z(curve: np.ndarray, value: np.ndarray) -> np.ndarray:
    power, middle, spread = curve.T
    log = np.log(value / middle)
    even = power == 0
    return np.where(even, log, np.expm1(power * log) / np.where(even, 1, power)) / spread


@dataclass(frozen=True)
class Growth:
    """One measure of one reference. `ages`: (k,) ascending, in the table's own unit, `per_year` of them a year;
    `curves`: (2, k, 3) L, M, S of boys and girls, and as a fourth the sigma of an extended upper tail."""

    name: str
    ages: np.ndarray
    per_year: float
    curves: np.ndarray

    @property
    def range(self) -> tuple[float, float]:
        """First and last age, y."""
        return float(self.ages[0] / self.per_year), float(self.ages[-1] / self.per_year)

    def curve(self, sex: np.ndarray, age: np.ndarray) -> np.ndarray:
        """(n, 3 or 4) L, M, S (and sigma) of sex (0 male, 1 female) and age in y; GrowthError at other ages."""
        first, last = self.range
        outside = ~((age >= first) & (age <= last))  # so that an age that is no number is outside
        if outside.any():
            bad = np.asarray(age)[outside][0]
            raise GrowthError(
                f"age {bad:g} y is outside {self.name}, which has figures for {first:.4g} to {last:.4g} y"
            )
        at = age * self.per_year
        node = np.minimum(np.searchsorted(self.ages, at, side="right") - 1, len(self.ages) - 2)
        part = (at - self.ages[node]) / (self.ages[node + 1] - self.ages[node])
        low, high = self.curves[sex, node], self.curves[sex, node + 1]
        return low + part[:, None] * (high - low)

    def value(self, sex: np.ndarray, age: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(n,) cm, kg or kg/m² of children with these z scores."""
        curve = self.curve(sex, age)
        lms, top = curve[:, :3], P95 if self.extended else LIMIT
        value = _lms(lms, np.clip(z, -LIMIT, top))
        if (far := self._far(z)).any():
            before = _lms(lms[far], np.sign(z[far]) * (LIMIT - 1))
            value[far] += (np.abs(z[far]) - LIMIT) * (value[far] - before)
        if self.extended and (high := z > P95).any():
            value[high] -= curve[high, 3] * ndtri(10 * ndtr(-z[high]))
        return value

    def z_of(self, sex: np.ndarray, age: np.ndarray, value: np.ndarray) -> np.ndarray:
        """(n,) z scores of children with these values: the inverse of `value`."""
        curve = self.curve(sex, age)
        lms = curve[:, :3]
        z = _lms_z(lms, value)
        if (far := self._far(z)).any():
            sign = np.sign(z[far])
            end, before = (_lms(lms[far], sign * s) for s in (LIMIT, LIMIT - 1))
            z[far] = sign * (LIMIT + (value[far] - end) / (end - before))
        if self.extended and (high := z > P95).any():
            above = (value[high] - _lms(lms[high], P95)) / curve[high, 3]
            z[high] = -ndtri(ndtr(-above) / 10)
        return z

    @property
    def extended(self) -> bool:
        """Whether the upper tail, from the 95th percentile on, is half-normal."""
        return self.curves.shape[2] > 3

    def _far(self, z: np.ndarray) -> np.ndarray:
        return z < -LIMIT if self.extended else np.abs(z) > LIMIT


def _read(path: Path, skip: int) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", skiprows=skip, ndmin=2)


def _who(measure: str) -> tuple[np.ndarray, np.ndarray]:
    folder = os.environ.get("COHORT_DATA")
    files = [f"lms_who_{WHO_FILES[measure]}_for_age_{who}.csv" for who in ("boys", "girls")]
    if not folder:
        raise GrowthError(
            "the WHO growth standards are not shipped, for the WHO reserves its rights; "
            f"set COHORT_DATA to a folder that has population/{files[0]}"
        )
    paths = [Path(folder) / "population" / file for file in files]
    if missing := [path for path in paths if not path.is_file()]:
        raise GrowthError(f"COHORT_DATA: there is no {missing[0]}, which the WHO growth standards are read from")
    boys, girls = (_read(path, 1) for path in paths)
    return boys[:, 0], np.stack([boys[:, 1:4], girls[:, 1:4]])


@functools.cache
def growth(reference: str, measure: str) -> Growth:
    """The curves of a reference ("cdc", "kiggs", "who") for "height" (cm; length below 2 y), "weight" (kg) or "bmi"
    (kg/m²). GrowthError where the reference cannot be had."""
    if reference not in NAMES or measure not in MEASURES:
        raise GrowthError(f"{reference!r} {measure!r}: references are {', '.join(NAMES)}, of {', '.join(MEASURES)}")
    name = f"{NAMES[reference]} {measure}-for-age"
    if reference == "who":
        days, curves = _who(measure)
        return Growth(name, days, 365.25, curves)
    rows = _read(TABLES / f"growth_{reference}_{measure}.csv", 2)
    half = len(rows) // 2  # boys, then girls, at the same ages
    curves = rows[:, 2:6].reshape(2, half, -1)  # of CDC's table of BMI without P95, which follows from L, M and S
    return Growth(name, rows[:half, 1], 12.0, curves)
