"""Each real patient's course under each arm, predicted from what was known at baseline.

    true baseline ~ the published distribution between patients, given the score measured (beta error)   [1]
    rate          ~ the published distribution between patients of that baseline, age and sex             [1]
    measured score ~ beta about the true one                                                               [1]

The true baseline is drawn from its posterior on a grid, by inversion: it has one dimension. No parameter of placebo's
course was fitted to this trial, so every score on placebo is out of sample. The effect of the patch was: it is taken
from placebo and low dose, for a patient of the low dose from patients of other sites, and for the high dose from all of
them, whom it does not contain.

References
----------
[1] models/alzheimer.py, reference [1]: Conrado et al. 2014, DDMODEL00000290.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit, logit
from scipy.stats import beta

from cohort.chapters.cdiscpilot.trial import ARMS, DAYS, STUDY, VISITS
from cohort.dosing.records import Events
from cohort.engine import solve
from cohort.engine.subjects import individuals
from cohort.model import Model
from cohort.record import digest
from cohort.streams import streams
from cohort.study import Study
from cohort.trial.course import course, numerics

BETWEEN = 0.156**0.5  # SD of log baseline between patients, [1]: the first of the block 0.156, 0.0224, 0.0413
UNKNOWN_APOE4 = 0.72  # copies, where not recorded, as [1] counts them
PRIOR = 0.05  # d/mg, SD of the effect's prior about none, as in the study's calibration
DRAWS = 500  # of each twin
FOLDS = 5
UPPER = 70.0
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)


def beliefs(measured: np.ndarray, typical: np.ndarray, precision: float, u: np.ndarray) -> np.ndarray:
    """Draws of the true baselines, (n, m). measured, typical: (n,), the latter of patients of such covariates; u:
    (n, m) uniform. On a grid of log baseline between 0.5 and 69.5 points."""
    grid = np.exp(np.linspace(np.log(0.5), np.log(UPPER - 0.5), 800))
    mean = grid / UPPER
    log_prior = -(((np.log(grid)[None] - np.log(typical)[:, None]) / BETWEEN) ** 2) / 2
    log_likelihood = beta.logpdf(measured[:, None] / UPPER, mean * precision, (1 - mean) * precision)
    weight = log_prior + log_likelihood
    weight = np.exp(weight - weight.max(axis=1, keepdims=True))
    below = np.cumsum(weight, axis=1)
    below = (below - weight / 2) / below[:, -1:]
    return np.stack([np.exp(np.interp(row, b, np.log(grid))) for row, b in zip(u, below, strict=True)])


@dataclass(frozen=True)
class Course:
    """base: (n, m), true scores before treatment; score: (n, m, visits), true scores without drug."""

    base: np.ndarray
    score: np.ndarray


def untreated(study: Study, model: Model, people: pl.DataFrame, *, medicated: bool = False, conditioned: bool = True,
              draws: int | None = None) -> Course:  # fmt: skip
    """Courses on placebo, by published parameters alone. people: as `trial.baseline`. medicated: whether all are on
    a cholinesterase inhibitor or memantine, which the data do not tell. conditioned: on the measured baseline with its
    error, or take the measured for the true one."""
    draws = draws or DRAWS
    n, own = people.height, streams(study.seed, "twins", people["subject"].to_list())
    values, base = model.typical(), people["base"].to_numpy()
    female = people["female"].to_numpy()
    if conditioned:
        typical = values["base"] * np.where(female == 1, 1.0, values["male_on_base"])
        u = (own.uniform("stratum", draws).argsort(axis=1) + own.uniform("base", draws)) / draws
        true = beliefs(base, typical, values["precision"], u)
    else:
        true = np.repeat(base[:, None], draws, axis=1)

    def each(column: np.ndarray) -> np.ndarray:
        return np.repeat(column, draws)

    x = model.covariates(
        age=each(people["age"].to_numpy()),
        sex=each(female),
        apoe4=np.full(n * draws, UNKNOWN_APOE4),
        comedication=np.full(n * draws, float(medicated)),
        adas=true.ravel(),
    )
    z = dict.fromkeys(model.effects(), np.zeros(n * draws)) | {"rate": own.normal("rate", draws).ravel()}
    p = individuals(model, values, z, x, n * draws)
    outputs, status = solve(model, p, Events.none(n * draws), (0.0, *DAYS), numerics=numerics(study))
    if status.code.any():
        raise RuntimeError(f"{int((status.code > 0).sum())} of {n * draws} courses were not solved")
    return Course(true, np.asarray(outputs.adas).reshape(n, draws, -1)[:, :, 1:])


def shift(study: Study, model: Model) -> dict[str, np.ndarray]:
    """Of each arm as the study doses it: points at the reference, at each visit, for an effect of 1 d/mg, (visits,)."""
    levels = {name: meta["levels"][0] for name, meta in model.covariates.fields().items() if meta["levels"]}
    one = pl.DataFrame(
        {"draw": [0], "subject": ["one"], "age": [75.0], "apoe4": [UNKNOWN_APOE4], "adas": [24.0]}
        | {name: [level] for name, level in levels.items()}
    )  # which person does not matter: what is read is the shift in log-odds
    found, size, values = {}, -0.01, model.typical()
    point = UPPER / (values["reference"] * (UPPER - values["reference"]))
    for arm, name in STUDY.items():
        at = []
        for slope in (0.0, size):
            parameters = pl.DataFrame({"draw": [0]} | {k: [v] for k, v in (values | {"xanomeline": slope}).items()})
            at.append(course(study, model, name, one, parameters, np.array(DAYS))[0]["adas"][0])
        found[arm] = (logit(at[1] / UPPER) - logit(at[0] / UPPER)) / point / size
    return found


def folds(people: pl.DataFrame) -> np.ndarray:
    """Which fold each patient is in, (n,): pooled sites whole, dealt out in turn from the largest."""
    sites = people.group_by("site").len().sort("len", "site", descending=[True, False])["site"].to_list()
    fold = {site: k % FOLDS for k, site in enumerate(sites)}
    return people["site"].replace_strict(fold, return_dtype=pl.Int64).to_numpy()


def effect(change: np.ndarray, treated: np.ndarray, unit: float) -> tuple[float, float]:
    """Posterior mean and SD of the patch's effect, d/mg, from the difference of mean changes of those on the low dose
    and on placebo; unit: of that difference for 1 d/mg. Normal prior about none."""
    low, placebo = change[treated], change[~treated]
    slope = (low.mean() - placebo.mean()) / unit
    se = np.sqrt(low.var(ddof=1) / len(low) + placebo.var(ddof=1) / len(placebo)) / abs(unit)
    precision = 1 / se**2 + 1 / PRIOR**2
    return float(slope / se**2 / precision), float(precision**-0.5)


def effects(people: pl.DataFrame, carried: pl.DataFrame, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """For each patient, posterior mean and SD of the effect, (n,), from others. carried: subject, arm, change, of
    placebo and low dose only. Errors: ValueError for the high dose among them."""
    if (carried["arm"] == "high dose").any():
        raise ValueError("carried: holds the high dose; what teaches the effect may not")
    fold = folds(people)
    taught = carried.join(people.select("subject").with_columns(fold=pl.Series(fold)), on="subject", how="left")
    change, treated = taught["change"].to_numpy(), (taught["arm"] == "low dose").to_numpy()
    everybody = effect(change, treated, unit)
    without = [
        effect(change[other], treated[other], unit) for other in (taught["fold"].to_numpy() != k for k in range(FOLDS))
    ]
    own = (people["arm"] == "low dose").to_numpy()
    chosen = np.where(own[:, None], np.array(without)[fold], np.array(everybody)[None])
    return chosen[:, 0], chosen[:, 1]


@dataclass(frozen=True)
class Twins:
    """measured: by arm, (n, m, visits), scores as they would be measured. change: by arm, (n, visits), expected true
    score less the measured baseline."""

    measured: Mapping[str, np.ndarray]
    change: Mapping[str, np.ndarray]

    def frozen(self, people: pl.DataFrame) -> dict[str, object]:
        """What goes into the record: mean, SD and quantiles of every patient's measured score, by arm and visit, and a
        hash of all draws."""
        told: dict[str, object] = {"subject": people["subject"].to_list(), "quantiles": list(QUANTILES)}
        for arm, draws in self.measured.items():
            told[arm] = {
                visit: {
                    "mean": np.round(draws[:, :, j].mean(axis=1), 3).tolist(),
                    "sd": np.round(draws[:, :, j].std(axis=1), 3).tolist(),
                    "quantile": np.round(np.quantile(draws[:, :, j], QUANTILES, axis=1), 2).tolist(),
                }
                for j, visit in enumerate(VISITS)
            }
        return told | {"draws": self.hash()}

    def hash(self) -> str:
        return digest([digest(np.round(draws, 6).tobytes()) for draws in self.measured.values()])


def twins(study: Study, model: Model, people: pl.DataFrame, carried: pl.DataFrame, draws: int | None = None) -> Twins:
    """Everybody's course under every arm. carried: as `effects` takes it. draws: of each, `DRAWS` if left out."""
    draws = draws or DRAWS
    values, found = model.typical(), untreated(study, model, people, draws=draws)
    by_arm = shift(study, model)
    mean, sd = effects(people, carried, float(by_arm["low dose"][-1]))
    own = streams(study.seed, "twins' effects", people["subject"].to_list())
    slope = mean[:, None] + sd[:, None] * own.normal("effect", draws)
    point = UPPER / (values["reference"] * (UPPER - values["reference"]))
    measured, change = {}, {}
    for arm in ARMS:
        moved = found.score
        if by_arm[arm].any():
            moved = UPPER * expit(logit(found.score / UPPER) + point * slope[:, :, None] * by_arm[arm])
        u = own.uniform(f"measured, {arm}", draws * len(DAYS)).reshape(moved.shape)
        share, precision = moved / UPPER, values["precision"]
        measured[arm] = UPPER * beta.ppf(u, share * precision, (1 - share) * precision)
        change[arm] = moved.mean(axis=1) - people["base"].to_numpy()[:, None]
    return Twins(measured, change)
