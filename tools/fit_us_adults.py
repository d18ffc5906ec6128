"""Fit US adults to NHANES and write cohort/population/tables/us_adults.json.

    python tools/fit_us_adults.py                                        refit on 2013-2018, compare, write the table
    python tools/fit_us_adults.py --cycles 2013-2016 --test 2017-2018    fit on some cycles, compare with others

Each of height, log BMI, haematocrit and log creatinine is location + spread × shape. Location and spread depend on sex,
ancestry and age; the shape, a quantile function, on sex and age. Data: NHANES 2013-2018 (CDC/NCHS, public domain), as
packed in httk 2.7.4, in the folder that COHORT_DATA names or in ../shared/data.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtr

from cohort.population import us
from cohort.population.causal import Chain
from tools.survey import compare, correlations, kidneys, nhanes, quantile

TABLE = Path(us.__file__).parent / "tables" / "us_adults.json"
SOURCE = "NHANES 2013-2018 (CDC/NCHS, public domain), as packed in httk 2.7.4; fitted by tools/fit_us_adults.py"
LATENTS = {"height": "height", "bmi": "bmi", "haematocrit": "haematocrit", "creatinine": "kidney"}  # by variable
LOGARITHM = ("bmi", "creatinine")
BOUNDS = {"height": (120, 220), "bmi": (12, 90), "haematocrit": (0.15, 0.65), "creatinine": (0.2, 18)}
PEOPLE, SEED = 20_000, 1

NODES = us.FROM_AGE + us.AGE_STEP * np.arange(us.AGE_NODES)
Z = us.FROM_Z + us.Z_STEP * np.arange(us.Z_NODES)
BENDS = (22.0, 36.0, 50.0, 64.0, 78.0)  # y, of the splines; straight outside them
WINDOW = 10.0  # y, SD of the ages whose people make a node's shape
SEEN = 3.5  # latent beyond which, where a person or two are left, a shape goes on as steep as in its middle
GENTLEST = 0.02  # least rise of a shape between nodes, so that a value tells the latent


def _spline(age: np.ndarray) -> np.ndarray:
    """Natural cubic spline: (n, bends)."""
    first, *inner, before_last, last = BENDS
    cube = {k: np.maximum(age - k, 0) ** 3 for k in BENDS}

    def bend(k: float) -> np.ndarray:
        return (cube[k] - cube[last]) / (last - k)

    curves = [(bend(k) - bend(before_last)) / (last - first) ** 2 for k in (first, *inner)]
    return np.column_stack([np.ones_like(age), (age - 50) / 10, *(c / 10 for c in curves)])


def _groups(ancestry: np.ndarray) -> np.ndarray:
    """Indicators of every ancestry but the largest: (n, 4)."""
    return (ancestry[:, None] == [i for i, a in enumerate(us.ANCESTRY) if a != "non-Hispanic White"]).astype(float)


def _centred(age: np.ndarray) -> np.ndarray:
    """Age in tens of years from 50; held at the ends of the survey's ages."""
    return (np.clip(age, *us.AGES) - 50) / 10


def _location_terms(age: np.ndarray, ancestry: np.ndarray) -> np.ndarray:
    """A spline in age; for each ancestry an offset and a slope. Straight beyond the survey's ages."""
    groups = _groups(ancestry)
    return np.hstack([_spline(age), groups, groups * _centred(age)[:, None]])


def _spread_terms(age: np.ndarray, ancestry: np.ndarray) -> np.ndarray:
    """A parabola in age and an offset for each ancestry. Constant beyond the survey's ages."""
    t = _centred(age)
    return np.hstack([np.vander(t, 3), _groups(ancestry)])


def _least_squares(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    root = np.sqrt(w)
    return np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]


def _location(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Coefficients of the centre, Huber's: it is not drawn by the few on dialysis."""
    b = _least_squares(x, y, w)
    for _ in range(20):
        r = np.abs(y - x @ b)
        b = _least_squares(x, y, w * np.minimum(1, 2 * quantile(r, w, 0.5) / np.maximum(r, 1e-9)))
    return b


def _spread(x: np.ndarray, r: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Coefficients of the log of the mean of r: gamma regression by scoring."""
    b = _least_squares(x, np.full_like(r, np.log(np.average(r, weights=w))), w)
    for _ in range(20):
        b += _least_squares(x, r / np.exp(x @ b) - 1, w)
    return b


def _shape(age: np.ndarray, e: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Quantiles of the standardised e, (age nodes, latent nodes)."""
    seen = np.clip(Z, -SEEN, SEEN)
    rows = []
    for node in np.clip(NODES, 22, 76):
        near = w * np.exp(-0.5 * ((age - node) / WINDOW) ** 2)
        low, high = quantile(e, near, ndtr([-1.0, 1.0]))
        rows.append(quantile(e, near, ndtr(seen)) + (high - low) / 2 * (Z - seen))
    rise = np.maximum(np.diff(rows, axis=1), GENTLEST)
    curves = np.cumsum(np.hstack([np.zeros((len(rows), 1)), rise]), axis=1)
    middle = len(Z) // 2
    return curves + (np.array(rows) - curves)[:, middle : middle + 1]


def _rounded(x: np.ndarray, decimals: int) -> list:
    return np.round(x, decimals).tolist()


def _measured(people: pl.DataFrame, variable: str) -> dict:
    """Location and spread (sex, ancestry, age node) and shape (sex, age node, latent node) of one variable."""
    location, spread, shape = [], [], []
    for s in range(len(us.SEX)):
        of = people.filter(pl.col("sex") == s)
        age, ancestry, w, y = (of[c].to_numpy() for c in ("age", "ancestry", "survey_weight", variable))
        y = np.log(y) if variable in LOGARITHM else y
        at, around = _location_terms(age, ancestry), _spread_terms(age, ancestry)
        centre = _location(at, y, w)
        left = y - at @ centre
        width = _spread(around, np.abs(left), w)
        shape.append(_shape(age, left / np.exp(around @ width), w))
        groups = [np.full(len(NODES), a) for a in range(len(us.ANCESTRY))]
        location.append([_location_terms(NODES, group) @ centre for group in groups])
        spread.append([np.exp(_spread_terms(NODES, group) @ width) for group in groups])
    decimals = 3 if variable == "height" else 5
    return {
        "logarithm": variable in LOGARITHM,
        "bounds": BOUNDS[variable],
        "location": _rounded(np.array(location), decimals),
        "spread": _rounded(np.array(spread), decimals),
        "shape": _rounded(np.array(shape), 3),
    }


def _correlations(people: pl.DataFrame, table: dict) -> list:
    """Between what is left of each variable, in its own unit, when its median by sex, ancestry and age is taken off.
    Not between ranks: Pearson's r of creatinine is that of the few whose kidneys fail, who are anaemic as well."""
    x = {c: people[c].to_numpy() for c in people.columns}
    middle = np.zeros(people.height)
    left = np.array([x[v] - us.Surface.read(table[v]).value(x, middle) for v in LATENTS])
    w, names = x["survey_weight"], list(LATENTS.values())
    covariances = [np.cov(left[:, x["sex"] == s], aweights=w[x["sex"] == s]) for s in range(len(us.SEX))]
    r = np.mean([c / np.sqrt(np.outer(np.diag(c), np.diag(c))) for c in covariances], axis=0)
    return [[names[i], names[j], round(float(r[i, j]), 3)] for i, j in itertools.combinations(range(len(names)), 2)]


def _ages(people: pl.DataFrame) -> np.ndarray:
    """Quantiles of age (sex, ancestry, latent node), y. Within the month that the survey tells, even."""
    first, last = (round(12 * a) for a in us.AGES)

    def quantiles(s: int, a: int) -> np.ndarray:
        of = people.filter(pl.col("sex") == s, pl.col("ancestry") == a)
        months = (12 * of["age"].to_numpy()).astype(int) - first
        below = np.cumsum(np.bincount(months, of["survey_weight"].to_numpy(), last - first))
        return np.interp(ndtr(Z), np.append(0, below / below[-1]), np.arange(first, last + 1) / 12)

    return np.array([[quantiles(s, a) for a in range(len(us.ANCESTRY))] for s in range(len(us.SEX))])


def fit(people: pl.DataFrame) -> dict:
    """people: as `survey.nhanes`. Returns what us_adults.json holds."""
    w = people["survey_weight"].to_numpy()
    sex, ancestry = people["sex"].to_numpy(), people["ancestry"].to_numpy()
    share = np.zeros((len(us.SEX), len(us.ANCESTRY)))
    np.add.at(share, (sex, ancestry), w)
    table = {
        "source": SOURCE,
        "female": round(float(w[sex == 1].sum() / w.sum()), 5),
        "ancestry": _rounded(share / share.sum(1, keepdims=True), 5),
        "age": _rounded(_ages(people), 3),
        **{variable: _measured(people, variable) for variable in LATENTS},
    }
    return table | {"correlations": _correlations(people, table)}


def generate(table: dict, survey: pl.DataFrame | None = None) -> pl.DataFrame:
    """PEOPLE of the fit, of the composition fitted or, drawn by weight, of a survey's."""
    rng = np.random.default_rng(SEED)
    given = {}
    if survey is not None:
        w = survey["survey_weight"].to_numpy()
        total = (np.cumsum(w) - w / 2) / w.sum()
        row = np.minimum(np.searchsorted(total, (np.arange(PEOPLE) + rng.random()) / PEOPLE), len(w) - 1)
        given = {c: survey[c].to_numpy()[row] for c in ("sex", "ancestry", "age")}
    chain = Chain(us.steps(table), us.correlations(table))
    return pl.DataFrame(chain.people(lambda _: rng.standard_normal(PEOPLE), given))


def report(survey: pl.DataFrame, generated: pl.DataFrame) -> None:
    found = compare(survey, generated)
    missed = found.filter(pl.col("times") > 1).sort("times", descending=True)
    gfr = kidneys(survey).join(kidneys(generated), on=["sex", "from"], suffix="_generated", maintain_order="left")
    r = correlations(generated)["r"] - correlations(survey)["r"]
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=160, tbl_hide_dataframe_shape=True):
        print(f"{found.height} figures; these {missed.height} are more than 3 standard errors and 1.5 % apart:", missed)
        print("eGFR, mL/min per 1.73 m², and % of people below 60:", gfr, sep="\n")
    print(f"largest difference of a correlation: {r.abs().max():.3f}")


def _text(table: dict) -> str:
    """JSON with a line for each key and each run of numbers."""
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
    return text.replace(',"', ',\n"').replace("],[", "],\n[") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", default="2013-2018", help="years to fit on; the table is written for all of them")
    parser.add_argument("--test", help="years to compare with, if not those fitted on")
    asked = parser.parse_args()
    years = [int(y) for y in asked.cycles.split("-")]
    table = fit(nhanes(*years))
    if years == [2013, 2018]:
        TABLE.write_text(_text(table))
    survey = nhanes(*(int(y) for y in (asked.test or asked.cycles).split("-")))
    report(survey, generate(table, survey if asked.test else None))


if __name__ == "__main__":
    main()
