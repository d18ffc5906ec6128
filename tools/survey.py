"""NHANES adults, and what a survey's design says of their figures: means, SDs, percentiles, each with standard error.

References
----------
[1] NHANES 2013-2018 (CDC/NCHS, public domain) as packed in httk 2.7.4: nhanes_2013_2018_mec_subset.csv in the folder
    that COHORT_DATA names, or in ../shared/data beside the checkout.
[2] Wolter 2007, Introduction to Variance Estimation, 2nd ed., chapter 6: Taylor series; primary units with replacement.
[3] Woodruff 1952, J Am Stat Assoc 47:635: confidence intervals for medians and other position measures.
"""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cohort.population import us
from cohort.population.plasma import ckd_epi_2021

CYCLES = ("2013-2014", "2015-2016", "2017-2018")
DECADES = tuple((a, a + 9) for a in range(20, 80, 10))
BANDS = ((20, 39), (40, 59), (60, 69), (70, 79))  # y, of the published eGFR
VARIABLES = ("height", "weight", "bmi", "haematocrit", "creatinine")
STATISTICS = ("mean", "sd", "p5", "p50", "p95")
RELATIVE = 0.015  # of the figure, allowed beside three standard errors
Z95 = 1.959964


def data_folder() -> Path:
    root = Path(__file__).resolve().parent.parent
    return Path(os.environ.get("COHORT_DATA", root.parent / "shared/data")) / "population"


def nhanes(first: int = 2013, last: int = 2018) -> pl.DataFrame:
    """Adults of the cycles from `first` to `last` [1] by our column names; `survey_weight` is relative.
    Errors: FileNotFoundError where the file is not."""
    names = [f"NHANES {c}" for c in CYCLES if first <= int(c[:4]) and int(c[5:]) <= last]
    ancestry = pl.col("ridreth1").str.replace("^N", "n")
    sex = pl.col("riagendr").str.to_lowercase()
    return (
        pl.read_csv(data_folder() / "nhanes_2013_2018_mec_subset.csv", null_values="NA")
        .filter(pl.col("sddsrvyr").is_in(names), pl.col("ridexagy") >= us.AGES[0])
        .select(
            sex=sex.replace_strict({s: i for i, s in enumerate(us.SEX)}, return_dtype=pl.Int64),
            ancestry=ancestry.replace_strict({a: i for i, a in enumerate(us.ANCESTRY)}, return_dtype=pl.Int64),
            age=(pl.col("ridexagm") + 0.5) / 12,
            height="bmxhtlenavg",
            weight="bmxwt",
            bmi=pl.col("bmxwt") / (pl.col("bmxhtlenavg") / 100) ** 2,
            haematocrit=pl.col("lbxhct") / 100,
            creatinine="lbxscr",
            stratum="sdmvstra",
            unit="sdmvpsu",
            survey_weight="wtmec6yr",
        )
    )


def quantile(y: np.ndarray, w: np.ndarray, p: Any) -> Any:
    """Weighted quantiles of y at p, one or many: linear between the middles of the distribution function's steps."""
    order = np.argsort(y, kind="stable")
    total = np.cumsum(w[order])
    return np.interp(p, (total - w[order] / 2) / total[-1], y[order])


@dataclass(frozen=True)
class Design:
    """Weights of n people, and the stratum and primary unit that each was drawn from, numbered from 0."""

    w: np.ndarray
    unit: np.ndarray
    stratum_of_unit: np.ndarray

    @classmethod
    def of(cls, people: pl.DataFrame) -> "Design":
        """Of a survey; or, where there is no weight, of people each drawn for themselves."""
        if "survey_weight" not in people.columns:
            return cls(np.ones(people.height), np.arange(people.height), np.zeros(people.height, int))
        pairs = people.select("stratum", "unit").to_numpy()
        units, unit = np.unique(pairs, axis=0, return_inverse=True)
        return cls(people["survey_weight"].to_numpy(), unit, np.unique(units[:, 0], return_inverse=True)[1])

    def standard_error(self, influence: np.ndarray) -> float:
        """Of the total of w × influence [2]."""
        totals = np.bincount(self.unit, self.w * influence, len(self.stratum_of_unit))
        units = np.bincount(self.stratum_of_unit)
        deviation = totals - (np.bincount(self.stratum_of_unit, totals) / units)[self.stratum_of_unit]
        squares = np.bincount(self.stratum_of_unit, deviation**2)
        return float(np.sqrt((units / np.maximum(units - 1, 1) * squares).sum()))

    def figures(self, y: np.ndarray, who: np.ndarray) -> dict[str, tuple[float, float]]:
        """STATISTICS of y among those in `who`, (n,) of bool; each with its standard error."""
        w, total = self.w[who], self.w[who].sum()
        mean = float(np.average(y[who], weights=w))
        variance = float(np.average((y[who] - mean) ** 2, weights=w))
        sd = variance**0.5
        figures = {
            "mean": (mean, self.standard_error(who * (y - mean) / total)),
            "sd": (sd, self.standard_error(who * ((y - mean) ** 2 - variance) / total) / (2 * sd)),
        }
        for name, p in (("p5", 0.05), ("p50", 0.5), ("p95", 0.95)):
            at = float(quantile(y[who], w, p))
            half = Z95 * self.standard_error(who * ((y <= at) - p) / total)
            low, high = quantile(y[who], w, np.clip([p - half, p + half], 0, 1))  # [3]
            figures[name] = (at, float(high - low) / (2 * Z95))
        return figures


def _groups(people: pl.DataFrame, bands: tuple[tuple[int, int], ...], ancestry: int | None = None) -> list[np.ndarray]:
    """Who is in each sex and band, (n,) of bool; of one ancestry, or of all."""
    sex, age, group = (people[c].to_numpy() for c in ("sex", "age", "ancestry"))
    of = np.full(len(sex), True) if ancestry is None else group == ancestry
    return [of & (sex == s) & (age >= a) & (age < b + 1) for s in range(len(us.SEX)) for a, b in bands]


def _labels(bands: tuple[tuple[int, int], ...]) -> list[tuple[str, int]]:
    return [(s, a) for s in us.SEX for a, _ in bands]


def compare(survey: pl.DataFrame, generated: pl.DataFrame, ancestry: int | None = None) -> pl.DataFrame:
    """By sex and decade: figure, its SE, generated figure, the difference allowed (3 combined SE + 1.5 %), and the
    difference in `times` that. Of one ancestry, by its index, or of all."""
    designs = Design.of(survey), Design.of(generated)
    groups = zip(
        _labels(DECADES), _groups(survey, DECADES, ancestry), _groups(generated, DECADES, ancestry), strict=True
    )
    rows = []
    for (s, a), who, made in groups:
        for variable in VARIABLES:
            theirs = designs[0].figures(survey[variable].to_numpy(), who)
            ours = designs[1].figures(generated[variable].to_numpy(), made)
            for statistic in STATISTICS:
                (figure, se), (found, found_se) = theirs[statistic], ours[statistic]
                allowed = 3 * np.hypot(se, found_se) + RELATIVE * figure
                rows.append((s, a, variable, statistic, figure, se, found, allowed, abs(found - figure) / allowed))
    return pl.DataFrame(
        rows, ["sex", "from", "variable", "statistic", "survey", "se", "generated", "allowed", "times"], orient="row"
    )


def kidneys(people: pl.DataFrame) -> pl.DataFrame:
    """By sex and band of age: mean eGFR (mL/min per 1.73 m²) and the share (%) below 60, each with standard error."""
    design = Design.of(people)
    gfr = ckd_epi_2021(*(people[c].to_numpy() for c in ("sex", "age", "creatinine")))
    rows = []
    for (s, a), who in zip(_labels(BANDS), _groups(people, BANDS), strict=True):
        total = design.w[who].sum()
        row: list[Any] = [s, a]
        for y in (gfr, 100.0 * (gfr < 60)):
            mean = np.average(y[who], weights=design.w[who])
            row += [mean, design.standard_error(who * (y - mean) / total)]
        rows.append(row)
    return pl.DataFrame(rows, ["sex", "from", "gfr", "gfr_se", "below_60", "below_60_se"], orient="row")


def correlations(people: pl.DataFrame) -> pl.DataFrame:
    """Pearson's r of every pair of VARIABLES and age, by sex, from 20 y."""
    names, w = (*VARIABLES, "age"), Design.of(people).w
    rows = []
    for s, label in enumerate(us.SEX):
        of = ((people["sex"] == s) & (people["age"] >= DECADES[0][0])).to_numpy()
        covariance = np.cov(people.select(names).to_numpy()[of].T, aweights=w[of])
        r = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        pairs = itertools.combinations(range(len(names)), 2)
        rows += [(label, names[i], names[j], r[i, j]) for i, j in pairs]
    return pl.DataFrame(rows, ["sex", "a", "b", "r"], orient="row")
