"""Fit hazards of adverse events and of stopping to two arms of the CDISC pilot trial: placebo and the low dose.

    python tools/fit_cdiscpilot.py        prints every value with its standard error; writes nothing

The values stand in models/alzheimer.py and config/studies/cdiscpilot.yaml; a test fits again and compares. The high
dose is never read here: rows of that arm are dropped as the files are opened. Data: CDISC pilot study CDISCPILOT01
(CDISC; PHUSE, as packed in safetyData), ADaM data sets, in the folder that COHORT_DATA names or in ../shared/data.

Maximum likelihood of times to event, in logarithms of the parameters; standard errors from the observed information.
Time is in days from the first patch, d is the patch's dose in mg, and H is the cumulative hazard:

    skin      h = (a + b d (1 - exp(-s t))) exp(-f t)     first dermatological event (ADTTE, TTDE)
    other     h = (a + b d) exp(-f t)                     first other event emergent on treatment (ADAE)
    stopping  h = a (1 + b d) exp(c [skin event so far] + g (ADAS-Cog as last measured - 24)/10)

Of three forms for the skin, decaying and rising, decaying only, constant, AIC took the first.
"""

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import minimize

FOLDER = "trials/cdiscpilot01"
DOSE = {"Placebo": 0.0, "Xanomeline Low Dose": 54.0}  # mg; nobody else is read
END = 168.0  # d: week 24, the last visit of the study file


@dataclass(frozen=True)
class Estimate:
    """A fitted value, and the standard error of its logarithm, or of itself where `log` is no. `held`: the same with
    the rates of fading and sensitising held at their values."""

    value: float
    se: float
    unit: str
    log: bool = True
    held: float | None = None

    def __str__(self) -> str:
        low, high = (
            self.value * np.exp(np.array([-1.96, 1.96]) * self.se)
            if self.log
            else self.value + np.array([-1.96, 1.96]) * self.se
        )
        held = "" if self.held is None else f", {self.held:.3f} with the time course held"
        se = f"{'log ' if self.log else ''}SE {self.se:.3f}{held}"
        return f"{self.value:.5g} {self.unit} ({se}; 95 % {low:.4g} to {high:.4g})"


@dataclass(frozen=True)
class Fit:
    """Estimates by name, the maximum of the log-likelihood, how many patients and events."""

    estimates: Mapping[str, Estimate]
    log_likelihood: float
    patients: int
    events: int

    @property
    def aic(self) -> float:
        return 2 * len(self.estimates) - 2 * self.log_likelihood


def folder() -> Path:
    """Where the trial's files are. Errors: FileNotFoundError."""
    root = Path(os.environ.get("COHORT_DATA", "../shared/data")) / FOLDER
    if not (root / "adam_adsl.csv.gz").is_file():
        raise FileNotFoundError(f"{root}: obtain the ADaM data sets of CDISCPILOT01 (PHUSE, as in safetyData)")
    return root


def read(root: Path, name: str, treatment: str) -> pl.DataFrame:
    """One data set, without the arm that is to be predicted."""
    table = pl.read_csv(root / f"adam_{name}.csv.gz", infer_schema_length=None)
    kept = table.filter(pl.col(treatment).is_in(list(DOSE)))
    return kept.with_columns(dose=pl.col(treatment).replace_strict(DOSE, return_dtype=pl.Float64))


def maximum(log_likelihood: Callable[[np.ndarray], float], start: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Where it is largest, the covariance there by central differences, and its value. start: (k,)."""
    found = minimize(
        lambda p: -log_likelihood(p),
        start,
        method="Nelder-Mead",
        options={"maxiter": 20_000, "xatol": 1e-9, "fatol": 1e-11},
    )
    found = minimize(lambda p: -log_likelihood(p), found.x, method="BFGS", options={"gtol": 1e-6})
    best, k, step = found.x, len(start), 1e-3
    information = np.empty((k, k))
    for i in range(k):
        for j in range(k):
            a, b = step * np.eye(k)[i], step * np.eye(k)[j]
            corners = [log_likelihood(best + s * a + t * b) * s * t for s in (1, -1) for t in (1, -1)]
            information[i, j] = -sum(corners) / (4 * step**2)
    return best, np.linalg.inv(information), -float(found.fun)


def faded(rate: float, t: np.ndarray) -> np.ndarray:
    """The integral of exp(-rate t) from 0 to t."""
    return -np.expm1(-rate * t) / rate


def skin(root: Path, form: str = "rising") -> Fit:
    """The first dermatological event. form: rising, fading or constant."""
    table = read(root, "adtte", "TRTA")
    t, seen, d = table["AVAL"].to_numpy(), 1 - table["CNSR"].to_numpy(), table["dose"].to_numpy()

    def log_likelihood(logs: np.ndarray) -> float:
        a, b, *rest = np.exp(logs)
        if form == "constant":
            hazard, cumulative = a + b * d, (a + b * d) * t
        elif form == "fading":
            (f,) = rest
            hazard, cumulative = (a + b * d) * np.exp(-f * t), (a + b * d) * faded(f, t)
        else:
            s, f = rest
            hazard = (a - b * d * np.expm1(-s * t)) * np.exp(-f * t)
            cumulative = (a + b * d) * faded(f, t) - b * d * faded(f + s, t)
        return float(np.sum(seen * np.log(hazard) - cumulative))

    names = {
        "constant": ["background", "xanomeline"],
        "fading": ["background", "xanomeline", "fading"],
        "rising": ["background", "xanomeline", "sensitising", "fading"],
    }[form]
    start = {"background": 0.005, "xanomeline": 5e-4, "sensitising": 0.05, "fading": 0.01}
    return _fitted("skin", names, start, log_likelihood, len(t), int(seen.sum()))


def other(root: Path) -> Fit:
    """The first adverse event, emergent on treatment, that is not dermatological; seen until treatment ends."""
    events = read(root, "adae", "TRTA").filter((pl.col("TRTEMFL") == "Y") & pl.col("CQ01NAM").is_null())
    first = events.group_by("USUBJID").agg(day=pl.col("ASTDY").min())  # of eight events the day is not known
    table = read(root, "adsl", "TRT01A").join(first, on="USUBJID", how="left")
    end, day = table["TRTDUR"].to_numpy(), table["day"].fill_null(np.inf).to_numpy()
    t, seen, d = np.minimum(day, end), (day <= end).astype(float), table["dose"].to_numpy()

    def log_likelihood(logs: np.ndarray) -> float:
        a, b, f = np.exp(logs)
        return float(np.sum(seen * (np.log(a + b * d) - f * t) - (a + b * d) * faded(f, t)))

    start = {"background": 0.02, "xanomeline": 1e-4, "fading": 0.015}
    return _fitted("other", list(start), start, log_likelihood, len(t), int(seen.sum()))


def _fitted(
    prefix: str,
    names: list[str],
    start: Mapping[str, float],
    log_likelihood: Callable[[np.ndarray], float],
    patients: int,
    events: int,
) -> Fit:
    units = {"xanomeline": "1/mg"}  # a rate per day, per mg a day
    best, covariance, top = maximum(log_likelihood, np.log([start[n] for n in names]))
    errors = np.sqrt(np.diag(covariance))
    held = np.sqrt(np.diag(np.linalg.inv(np.linalg.inv(covariance)[:2, :2])))  # of background and xanomeline alone
    estimates = {
        f"{prefix}_{name}": Estimate(
            float(np.exp(best[i])), float(errors[i]), units.get(name, "1/d"), held=float(held[i]) if i < 2 else None
        )
        for i, name in enumerate(names)
    }
    return Fit(estimates, top, patients, events)


def courses(root: Path) -> pl.DataFrame:
    """Each patient's time on treatment in pieces within which nothing that stopping may depend on changes.

    Columns: subject, dose, skin (0 or 1), adas (as last measured), days, stopped (at the end of the piece).
    """
    people = read(root, "adsl", "TRT01A")
    rash = read(root, "adtte", "TRTA").filter(pl.col("CNSR") == 0).select("USUBJID", rash="AVAL")
    scores = read(root, "adqsadas", "TRTP").filter(
        (pl.col("PARAMCD") == "ACTOT") & pl.col("DTYPE").is_null() & pl.col("AVAL").is_not_null()
    )
    by_person = {name[0]: rows.sort("ADY") for name, rows in scores.group_by("USUBJID")}
    pieces = []
    for one in people.join(rash, on="USUBJID", how="left").iter_rows(named=True):
        end = min(one["TRTDUR"], END)
        stopped = one["DCDECOD"] != "COMPLETED" and one["TRTDUR"] <= END
        mine = by_person[one["USUBJID"]]
        day = np.maximum(mine["ADY"].to_numpy().astype(float), 0.0)
        day[0] = 0.0  # the baseline
        value = mine["AVAL"].to_numpy()
        rash_day = one["rash"] if one["rash"] is not None else np.inf
        cuts = np.unique([0.0, end, *(c for c in (*day, rash_day) if 0 < c < end)])
        for a, b in itertools.pairwise(cuts):
            adas = value[np.searchsorted(day, a, side="right") - 1]
            last = stopped and b == end
            pieces.append((one["USUBJID"], one["dose"], float(a >= rash_day), float(adas), b - a, float(last)))
    return pl.DataFrame(pieces, schema=["subject", "dose", "skin", "adas", "days", "stopped"], orient="row")


def stopping(root: Path, form: str = "linear") -> Fit:
    """Treatment stopped before or at week 24. form: of the hazard's rise with the dose, linear or exponential, which
    two doses cannot tell apart."""
    table = courses(root)
    d, days, stopped = (table[name].to_numpy() for name in ("dose", "days", "stopped"))
    x = np.column_stack([table["skin"].to_numpy(), (table["adas"].to_numpy() - 24) / 10])

    def log_likelihood(p: np.ndarray) -> float:
        by_dose = np.log1p(np.exp(p[1]) * d) if form == "linear" else np.exp(p[1]) * d
        log_hazard = p[0] + by_dose + x @ p[2:]
        return float(np.sum(stopped * log_hazard - np.exp(log_hazard) * days))

    best, covariance, top = maximum(log_likelihood, np.array([np.log(0.002), np.log(0.03), 0.2, 0.0]))
    errors = np.sqrt(np.diag(covariance))
    hazard, by_dose = np.exp(best[:2])
    estimates = {
        "stopping_hazard": Estimate(float(hazard), float(errors[0]), "1/d"),
        "stopping_xanomeline": Estimate(float(by_dose), float(errors[1]), "d/mg"),
        "stopping_skin": Estimate(float(best[2]), float(errors[2]), "1", log=False),
        "stopping_adas": Estimate(float(best[3]), float(errors[3]), "1", log=False),
    }
    return Fit(estimates, top, table["subject"].n_unique(), int(stopped.sum()))


def share(hazard: float) -> float:
    """Who stops by week 24 at this constant hazard per day."""
    return float(-np.expm1(-END * hazard))


def change(root: Path) -> dict[str, tuple[int, float, float]]:
    """Number, mean and SD of the change of ADAS-Cog(11) by week 24, last value carried forward, of the efficacy set."""
    table = read(root, "adqsadas", "TRTP").filter(
        (pl.col("PARAMCD") == "ACTOT")
        & (pl.col("AVISIT") == "Week 24")
        & (pl.col("ANL01FL") == "Y")
        & (pl.col("EFFFL") == "Y")
    )
    found = {}
    for arm in DOSE:
        values = table.filter(pl.col("TRTP") == arm)["CHG"].to_numpy()
        found[arm] = (len(values), float(values.mean()), float(values.std(ddof=1)))
    return found


def effect(root: Path) -> Estimate:
    """Points of ADAS-Cog(11) at week 24 per mg a day, from the randomised difference alone."""
    (n0, m0, s0), (n1, m1, s1) = change(root).values()
    return Estimate((m1 - m0) / 54, float(np.sqrt(s0**2 / n0 + s1**2 / n1)) / 54, "d/mg", log=False)


def main() -> None:
    root = folder()
    for form in ("constant", "fading", "rising"):
        print(f"skin, {form}: AIC {skin(root, form).aic:.1f}")
    for fit in (skin(root), other(root), stopping(root)):
        print(f"{fit.patients} patients, {fit.events} events")
        for name, estimate in fit.estimates.items():
            print(f"  {name}: {estimate}")
    stopped = share(stopping(root).estimates["stopping_hazard"].value)
    print(f"  of patients at 24 points without drug or event {stopped:.3f} by week 24")
    print("ADAS-Cog change by week 24, LOCF (n, mean, SD):", change(root))
    print(f"  xanomeline: {effect(root)}")


if __name__ == "__main__":
    main()
