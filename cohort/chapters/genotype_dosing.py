"""Two trials of dosing warfarin by genotype: whether one model has both results, and whether the comparator is why.

The study's own virtual people are read at the model's values; the other trial's are made here, and are those of its own
report. An arm that names a control is a pair with it, and pairs go by the covariate `reading` that they set. Every
person is in every arm, so that a difference has the Monte Carlo error of a mean of differences.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from cohort import evidence
from cohort.chapters import Chapter, Data, Figure, Text
from cohort.decision.assurance import two_arm_normal
from cohort.display.style import DASHES, OBSERVED, PREDICTED, QUIET, grid, svg
from cohort.display.table import Column, Table, number, probability
from cohort.enrolment import sample_population
from cohort.library import load
from cohort.posterior import parameter_draws
from cohort.record import file_digest
from cohort.results import Results
from cohort.simulation import Simulation
from cohort.study import Study, read_study
from cohort.trial import MEAN, analysis_set

Z = 1.959963984540054  # of a two-sided test at 5 %, and of 95 % intervals
READINGS = {"published": "1/MTT1, as published", "six_spans": "6/MTT1", "hamberg_2010": "28.6 h in all"}
GROUPS = {"ttr": "all", "ttr_black": "Black", "ttr_others": "not Black"}
COMPARATORS = {
    "clinical": "COAG's clinical algorithm",
    "standard": "EU-PACT's standard loading doses",
    "fixed": "standard loading doses and then 5 mg a day to day 7",
}
OCCASIONS = "luck"  # how the model's parameters of occasions begin
EXCURSIONS = {
    "time_above_4": "% of time above 4",
    "time_below_2": "% of time below 2",
    "ever_above_4": "% with an INR of 4 or more",
}


def predict(results: Results, data: Data) -> dict[str, Any]:
    """Both trials' differences and operating characteristics, courses and excursions of the INR."""
    options = results.study.chapters["genotype_dosing"]
    own = results.study
    at_model = results.trial.filter(pl.col("draw") == MEAN)
    visits = pl.concat([results.visits_of(arm).filter(pl.col("draw") == MEAN) for arm in own.arms])
    other = read_study(own.path.parent / f"{options['other']}.yaml")
    people = options.get("people")  # of each simulation here; the study's own number if left out
    other_at_model, other_visits = _simulated(other, people, data)
    first, control = next((name, arm.control) for name, arm in own.arms.items() if arm.control)
    pair = own.model_copy(update={"arms": {name: own.arms[name] for name in (first, control)}})
    steady, _ = _simulated(pair, people, data, alike=OCCASIONS)
    return {
        "own": own.name,
        "other": other.name,
        "steady": _difference(own, steady, first, control, "ttr"),
        "trials": {own.name: _trial(own, at_model, visits), other.name: _trial(other, other_at_model, other_visits)},
    }


def _simulated(study: Study, people: Any, data: Data, alike: str | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The endpoints and visits of so many people of a study at the model's values, each of them in every arm. alike:
    parameters whose names begin so do not vary."""
    population = study.population.model_copy(update={"size": people or study.population.size})
    analysis = study.analysis.model_copy(update={"draws": 0})
    small = study.model_copy(update={"population": population, "analysis": analysis})
    model = load(small.model, small.path.parent)
    parameters = parameter_draws(small, model, None)
    if alike:
        spreads = [name for name in parameters.columns if name.startswith(alike) and name.endswith(".spread")]
        parameters = parameters.with_columns(pl.lit(0.0).alias(name) for name in spreads)
    what = Simulation.of(small, sample_population(small).people, parameters)
    visits = pl.concat(data.solve([what.job(arm, part) for arm, part in what.chunks()]))
    return analysis_set(small, model, visits, parameters), visits


def _trial(study: Study, at_model: pl.DataFrame, visits: pl.DataFrame) -> dict[str, Any]:
    """at_model: a row per arm and person; visits: a row per arm, person and visit."""
    pairs = {name: arm.control for name, arm in study.arms.items() if arm.control}
    used = {*pairs, *pairs.values()}
    first = next(iter(pairs))
    others = [(first, name) for name in study.arms if name not in used]  # another comparator for the first pair
    groups = [name for name in GROUPS if name in study.endpoints]
    rows = [_difference(study, at_model, a, b, group) for group in groups for a, b in pairs.items() if b]
    return {
        "differences": rows,
        "comparators": [_difference(study, at_model, a, b, "ttr") for a, b in others],
        "windows": [
            {"control": b, "from": start, "to": end, **_window(study, visits, first, b, start, end)}
            for b in (pairs[first], *(name for _, name in others))
            for start, end in _windows(study)
        ],
        "excursions": [_excursions(at_model, a, b, str(study.arms[a].sets["reading"])) for a, b in pairs.items() if b],
        "courses": {arm: _course(visits, arm) for arm in (first, pairs[first])},
        "names": [first, pairs[first]],
    }


def _values(at_model: pl.DataFrame, arm: str, column: str) -> np.ndarray:
    return at_model.filter(pl.col("arm") == arm).sort("subject")[column].cast(pl.Float64).to_numpy()


def _paired(at_model: pl.DataFrame, a: str, b: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Of who has the value in both arms: (n,) in each."""
    x, y = (_values(at_model, arm, f"{column}_true") for arm in (a, b))
    there = ~(np.isnan(x) | np.isnan(y))
    return x[there], y[there]


def _difference(study: Study, at_model: pl.DataFrame, a: str, b: str, group: str) -> dict[str, Any]:
    """Arm a less arm b, as the model has it and as a trial of the real size would see it: of the planned patients less
    those expected to leave, and of a group its share of them."""
    x, y = _paired(at_model, a, b, group)
    gain = x - y
    mean, mcse = float(gain.mean()), float(gain.std(ddof=1) / math.sqrt(len(gain)))
    share = len(x) / at_model.filter(pl.col("arm") == a).height
    n = [study.arms[arm].n * (1 - study.conduct.dropout) * share for arm in (a, b)]
    sd = [float(v.std(ddof=1)) for v in (x, y)]
    se = math.hypot(sd[0] / math.sqrt(n[0]), sd[1] / math.sqrt(n[1]))
    width = Z * math.hypot(se, mcse)
    wrong = math.sqrt(2) * study.analysis.arm_discrepancy.to("percent")  # the arms' own; what they share falls out
    return {
        "group": group,
        "reading": str(study.arms[a].sets["reading"]),
        "arm": a,
        "control": b,
        "people": len(x),
        "mean": float(x.mean()),
        "mean_control": float(y.mean()),
        "sd": sd[0],
        "sd_control": sd[1],
        "difference": mean,
        "mcse": mcse,
        "se": se,
        "low": mean - width,
        "high": mean + width,
        "n": n[0],
        "n_control": n[1],
        "power": two_arm_normal(mean, 0.0, se, Z * se),
        "assurance": two_arm_normal(mean, math.hypot(wrong, mcse), se, Z * se),
        "not_significant": float(ndtr(Z - mean / se) - ndtr(-Z - mean / se)),
        "detectable": (Z + 0.8416212335729143) * se,  # with a power of 80 %
    }


def _windows(study: Study) -> list[tuple[float, float]]:
    """COAG's window and what comes after it, in days since the first dose, of a trial that goes on so long."""
    last = study.visits[-1].to("d")
    return [(3.0, 28.0), (28.0, last)] if last > 28 else []


def _window(study: Study, visits: pl.DataFrame, a: str, b: str, start: float, end: float) -> dict[str, float]:
    """The difference in time in range of arms a and b between two days."""
    model = load(study.model, study.path.parent)

    def read(arm: str) -> np.ndarray:
        rows = visits.filter((pl.col("arm") == arm) & (pl.col("time") <= 24 * end)).sort("subject", "time")
        at = rows["time"].n_unique()
        seen = {name: rows[name].to_numpy().reshape(-1, at) for name in model.outputs.fields()}
        seen["since"] = np.full_like(seen["since"], 24 * start)
        return np.asarray(model.endpoints["ttr"].reads(model.outputs(**seen)), float)

    gain = read(a) - read(b)
    gain = gain[~np.isnan(gain)]
    return {"difference": float(gain.mean()), "mcse": float(gain.std(ddof=1) / math.sqrt(len(gain)))}


def _excursions(at_model: pl.DataFrame, a: str, b: str, reading: str) -> dict[str, Any]:
    found: dict[str, Any] = {"reading": reading, "arm": a, "control": b}
    for name in EXCURSIONS:
        x, y = _paired(at_model, a, b, name)
        scale = 100.0 if name.startswith("ever") else 1.0
        gain = scale * (x - y)
        found |= {
            f"{name}": float(scale * x.mean()),
            f"{name}_control": float(scale * y.mean()),
            f"{name}_difference": float(gain.mean()),
            f"{name}_mcse": float(gain.std(ddof=1) / math.sqrt(len(gain))),
        }
    return found


def _course(visits: pl.DataFrame, arm: str) -> dict[str, list[float]]:
    """Mean INR at each visit, its quartiles, and the mean daily dose taken since the visit before."""
    rows = visits.filter(pl.col("arm") == arm)
    by_visit = (
        rows.group_by("time", maintain_order=True)
        .agg(
            mean=pl.col("inr").mean(),
            low=pl.col("inr").quantile(0.25, "linear"),
            high=pl.col("inr").quantile(0.75, "linear"),
            taken=pl.col("taken").mean(),
        )
        .sort("time")
    )
    days = by_visit["time"].to_numpy() / 24
    doses = np.diff(by_visit["taken"].to_numpy()) / np.diff(days)
    return {
        "day": (days + 1).tolist(),
        "dose": doses.tolist(),
        **{k: by_visit[k].to_list() for k in ("mean", "low", "high")},
    }


# --- After the predictions are frozen. -------------------------------------------------------------------------------


def _published(study: Study, results: Results) -> dict[str, dict[str, float]]:
    """Per group, the published difference of the study's first pair, with its standard error and 95 % interval."""
    found: dict[str, dict[str, float]] = {}
    arm, control = next((name, arm.control) for name, arm in study.arms.items() if arm.control)
    for name, use in study.evidence.items():
        if study.name != results.study.name:
            file = study.root / use.file
            told = {"evidence": name, "use": use.use, "file": str(use.file), "sha256": file_digest(file)}
            results.audit.append("outcomes opened", **told)
        rows = {(r["outcome"], r["arms"][0]): r for r in evidence.read(study.root / use.file).iter_rows(named=True)}
        for group in GROUPS:
            if (group, arm) in rows and (group, control) in rows:
                a, b = rows[group, arm], rows[group, control]
                gain, se = a["estimate"] - b["estimate"], math.hypot(a["se"], b["se"])
                found[group] = {
                    "observed": gain,
                    "observed_se": se,
                    "observed_low": gain - Z * se,
                    "observed_high": gain + Z * se,
                    "observed_mean": a["estimate"],
                    "observed_control": b["estimate"],
                }
    return found


def made(results: Results, predicted: Mapping[str, Any], data: Data) -> Chapter:
    studies = {
        name: read_study(results.study.path.parent / f"{name}.yaml")
        for name in sorted(predicted["trials"], reverse=True)
    }
    rows = []
    for name, study in studies.items():
        published = _published(study, results)
        for row in predicted["trials"][name]["differences"]:
            seen = published.get(row["group"], {})
            full = {"trial": name, **row, **seen}
            if seen:
                full["z"] = (seen["observed"] - row["difference"]) / math.hypot(row["se"], row["mcse"])
                full["missed"] = not row["low"] <= seen["observed"] <= row["high"]
                full["inside"] = not full["missed"]
            rows.append(full)
    joint = _joint(predicted["trials"])
    blocks = [
        Text(
            "The same model, people like those of each trial, and each trial's own rules up to day 7; from day 8 on "
            "every arm of both trials follows one table of adjustments. What differs between the trials is whom "
            "genotype-guided dosing was set against, for how long, and in whom."
        ),
        _differences_table(rows),
        Figure("differences", _forest(rows), _forest_caption()),
        _characteristics_table(rows),
        _joint_table(joint),
        *_comparators(predicted["trials"]),
        *_windows_tables(predicted["trials"]),
        _steady_table(predicted),
        Figure("courses", _courses(predicted["trials"]), _courses_caption()),
        _excursions_table(predicted["trials"]),
        Text(
            "Black participants are an extrapolation: of CYP2C9 the model knows *2 and *3 alone, and *5, *6, *8, *11 "
            "and rs12777823 act as *1. A guided dose that ignores alleles that slow clearance is too high; the model "
            "cannot see that, and a difference that is due to it cannot be predicted."
        ),
    ]
    efficacy = _efficacy(rows, predicted["trials"])
    return Chapter(
        "Dosing by genotype in two trials",
        efficacy,
        _safety(predicted),
        _findings(rows, joint, predicted["trials"]),
        blocks,
    )


def _joint(trials: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By reading, how probable the two published conclusions are together: guided dosing better than standard loading
    doses, and not different from the clinical algorithm. The trials are independent."""
    found = []
    for reading in READINGS:
        of = {
            name: row
            for name, trial in trials.items()
            for row in trial["differences"]
            if row["group"] == "ttr" and row["reading"] == reading
        }
        if {"eupact", "coag"} <= set(of):
            better, same = of["eupact"]["power"], of["coag"]["not_significant"]
            found.append({"reading": reading, "better": better, "same": same, "both": better * same})
    return found


def _reading(name: str) -> str:
    return READINGS.get(name, name)


def _group(name: str) -> str:
    return GROUPS.get(name, name)


def _trial_name(name: str) -> str:
    return {"eupact": "EU-PACT", "coag": "COAG"}.get(name, name)


def _differences_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "C1",
        "differences",
        "Time in range: guided dosing less its comparator, percentage points",
        "Predicted at the model's published values: means of virtual people who are in both arms, ± Monte Carlo "
        "standard error; in brackets the 95 % predictive interval of a trial of the real size. Published: difference "
        "of the means, 95 % confidence interval from the derived standard error. z: published less predicted, in "
        "standard deviations of such a trial. Marked: outside the predictive interval. Of the readings, the published "
        "one was the planned.",
        [
            Column("trial", "trial", _trial_name, plain=True),
            Column("group", "participants", _group, plain=True),
            Column("reading", "reading of MTT1", _reading, plain=True),
            Column("mean", "guided", number),
            Column("mean_control", "comparator", number),
            Column("difference", "difference", number, error="mcse", low="low", high="high"),
            Column("observed", "published", number, low="observed_low", high="observed_high"),
            Column("observed_mean", "published, guided", number),
            Column("observed_control", "published, comparator", number),
            Column("z", "z", number),
            *(Column(k, k, hidden=True) for k in ("mcse", "se", "low", "high", "observed_se", "people")),
        ],
        rows,
    )


def _characteristics_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "C2",
        "characteristics",
        "What trials of this size can see",
        "Two-sided test at 5 % on the difference of two means, patients as planned less those expected to leave. "
        "Power at the predicted difference; assurance: the same averaged over the assumed discrepancy of each arm; "
        "detectable: the difference seen with a power of 80 %, percentage points. Closed form, at predicted means "
        "that carry the Monte Carlo error of the table before.",
        [
            Column("trial", "trial", _trial_name, plain=True),
            Column("group", "participants", _group, plain=True),
            Column("reading", "reading of MTT1", _reading, plain=True),
            Column("n", "n guided", lambda v: number(v, 0)),
            Column("n_control", "n comparator", lambda v: number(v, 0)),
            Column("sd", "SD guided", number),
            Column("sd_control", "SD comparator", number),
            Column("power", "power", probability),
            Column("assurance", "assurance", probability),
            Column("detectable", "detectable", number),
        ],
        rows,
    )


def _joint_table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table(
        "C3",
        "both_trials",
        "The probability of both conclusions",
        "Under each reading: a significant advantage in EU-PACT, none in COAG, and both together, the trials being "
        "independent; two-sided tests at 5 %, trials of the real sizes, no discrepancy.",
        [
            Column("reading", "reading of MTT1", _reading, plain=True),
            Column("better", "EU-PACT: guided better", probability),
            Column("same", "COAG: no difference seen", probability),
            Column("both", "both", probability),
        ],
        rows,
    )


def _comparators(trials: Mapping[str, Any]) -> list[Table]:
    rows = [{"trial": name, **row} for name, trial in trials.items() for row in trial["comparators"]]
    if not rows:
        return []
    return [
        Table(
            "C4",
            "comparators",
            "Against another comparator",
            "The trial's own people, days and guided arm, against what its comparator was not. Standard and clinical: "
            "the other trial's comparator. Fixed: standard loading doses, then 5 mg a day to day 7, whatever the INR, "
            "in the place of local practice. Otherwise as the table of differences, percentage points; published "
            "reading.",
            [
                Column("trial", "trial", _trial_name, plain=True),
                Column("control", "comparator", lambda v: str(v).replace("_", " "), plain=True),
                Column("mean", "guided", number),
                Column("mean_control", "comparator's mean", number),
                Column("difference", "difference", number, error="mcse", low="low", high="high"),
            ],
            rows,
        )
    ]


def _windows_tables(trials: Mapping[str, Any]) -> list[Table]:
    rows = [
        {"trial": name, "days": f"{row['from'] + 1:.0f} to {row['to'] + 1:.0f}", **row}
        for name, trial in trials.items()
        for row in trial["windows"]
    ]
    if not rows:
        return []
    return [
        Table(
            "C5",
            "windows",
            "When genotype gains",
            "Difference in time in range, percentage points ± Monte Carlo standard error, counted over COAG's window "
            "and over what comes after it; published reading.",
            [
                Column("trial", "trial", _trial_name, plain=True),
                Column("control", "comparator", plain=True),
                Column("days", "days", plain=True),
                Column("difference", "difference", number, error="mcse"),
                Column("mcse", "mcse", hidden=True),
            ],
            rows,
        )
    ]


def _steady_table(predicted: Mapping[str, Any]) -> Table:
    own = predicted["own"]
    usual = next(r for r in predicted["trials"][own]["differences"] if r["group"] == "ttr")
    return Table(
        "C6",
        "occasions",
        "With and without variation between occasions",
        "Percent of time in range; its difference in percentage points ± Monte Carlo error; published reading. "
        "Without: every INR is on the patient's course, and clinics dose by it.",
        [
            Column("trial", "trial", _trial_name, plain=True),
            Column("what", "variation between occasions", plain=True),
            Column("mean", "guided", number),
            Column("mean_control", "comparator", number),
            Column("difference", "difference", number, error="mcse"),
            Column("mcse", "mcse", hidden=True),
        ],
        [{"trial": own, "what": "as in the model", **usual}, {"trial": own, "what": "none", **predicted["steady"]}],
    )


def _excursions_table(trials: Mapping[str, Any]) -> Table:
    rows = [
        {
            "trial": name,
            "reading": row["reading"],
            "what": label,
            "mean": row[key],
            "mean_control": row[f"{key}_control"],
            "difference": row[f"{key}_difference"],
            "mcse": row[f"{key}_mcse"],
        }
        for name, trial in trials.items()
        for key, label in EXCURSIONS.items()
        for row in trial["excursions"]
    ]
    return Table(
        "C7",
        "excursions",
        "Excursions of the INR",
        "Predicted means of virtual people who are in both arms, by lines between the visits' INRs; differences ± "
        "Monte Carlo standard error. No figure of either trial that could be read was found to hold against them.",
        [
            Column("trial", "trial", _trial_name, plain=True),
            Column("what", "excursion", plain=True),
            Column("reading", "reading of MTT1", _reading, plain=True),
            Column("mean", "guided", number),
            Column("mean_control", "comparator", number),
            Column("difference", "difference", number, error="mcse"),
            Column("mcse", "mcse", hidden=True),
        ],
        rows,
    )


def _forest(rows: Sequence[dict[str, Any]]) -> str:
    figure, (axis,) = grid(1, 1, 0.28 * len(rows) + 1.0)
    labels = []
    for at, row in enumerate(reversed(rows)):
        axis.plot([row["low"], row["high"]], [at + 0.12] * 2, color=PREDICTED, lw=1.6)
        axis.plot(row["difference"], at + 0.12, "o", color=PREDICTED, ms=4)
        if "observed" in row:
            axis.plot([row["observed_low"], row["observed_high"]], [at - 0.14] * 2, color=OBSERVED, lw=1.3)
            axis.plot(row["observed"], at - 0.14, "D", color=OBSERVED, ms=4)
        labels.append(f"{_trial_name(row['trial'])}, {_group(row['group'])}: {_reading(row['reading'])}")
    axis.axvline(0, color="#bbb", lw=0.8, zorder=0)
    axis.set_yticks(range(len(rows)), labels, fontsize=8)
    axis.set_xlabel("time in range, guided less comparator (percentage points)")
    return svg(figure, "Predicted and published differences in time in range, in both trials, by group and reading")


def _forest_caption() -> str:
    return (
        "Differences in time in range. Circles: predicted, with the 95 % predictive interval of a trial of the real "
        "size (Monte Carlo standard errors, at most 0.6 points, in the table). Diamonds: published, with the 95 % "
        "confidence interval; the same in all readings of a trial and group."
    )


def _courses(trials: Mapping[str, Any]) -> str:
    figure, axes = grid(2 * len(trials), 2, 2.2)
    for k, (name, trial) in enumerate(sorted(trials.items(), reverse=True)):
        inr, dose = axes[2 * k], axes[2 * k + 1]
        for edge in (2, 3):
            inr.axhline(edge, color="#bbb", lw=0.8, zorder=0)
        for colour, dashes, arm in zip((PREDICTED, QUIET), DASHES[:2], trial["names"], strict=True):
            own = trial["courses"][arm]
            inr.fill_between(own["day"], own["low"], own["high"], color=colour, alpha=0.15, lw=0)
            inr.plot(own["day"], own["mean"], color=colour, ls=dashes, lw=1.6, label=arm)
            dose.stairs(own["dose"], own["day"], color=colour, ls=dashes, lw=1.6, baseline=None)
        inr.set_title(f"{_trial_name(name)}: INR")
        dose.set_title(f"{_trial_name(name)}: dose (mg per day)")
        inr.legend(fontsize=8)
        dose.set_ylim(0)
    for axis in axes[-2:]:
        axis.set_xlabel("day")
    return svg(figure, "Mean INR and mean daily dose over time, by arm, in both trials")


def _courses_caption() -> str:
    return (
        "Left: mean INR at the visits, with the range of the middle half of the people (25 to 75 %, between people, no "
        "interval of the mean); lines at 2 and 3. Right: mean dose taken per day between visits. Published "
        "reading; Monte Carlo standard errors of the means are below 0.03 and 0.1 mg."
    )


def _find(rows: Sequence[dict[str, Any]], trial: str, group: str = "ttr") -> dict[str, Any]:
    return next(r for r in rows if (r["trial"], r["group"], r["reading"]) == (trial, group, "published"))


def _gain(row: Mapping[str, Any]) -> str:
    gain, low, high = (number(row[k]) for k in ("difference", "low", "high"))
    told = f"{gain} points predicted (95 % predictive interval {low} to {high})"
    if "observed" in row:
        seen, low, high = (number(row[k]) for k in ("observed", "observed_low", "observed_high"))
        told += f", {seen} published ({low} to {high})"
    return told


def _efficacy(rows: Sequence[dict[str, Any]], trials: Mapping[str, Any]) -> str:
    eupact, coag = _find(rows, "eupact"), _find(rows, "coag")
    both = not eupact.get("missed", True) and not coag.get("missed", True)
    says = "One model has both differences" if both else "One model does not have both differences"
    return (
        f"{says}: against standard loading doses {_gain(eupact)}; against the clinical algorithm {_gain(coag)}. "
        f"{_through(eupact['difference'], coag['difference'], trials)}The levels of time in range are not predicted "
        f"well."
    )


def _through(eupact: float, coag: float, trials: Mapping[str, Any]) -> str:
    """Whether the comparator makes the difference: each trial with the other's, all else its own."""
    swapped = {
        name: row["difference"]
        for name, other in (("eupact", "clinical"), ("coag", "standard"))
        for row in trials[name]["comparators"]
        if row["control"] == other
    }
    if len(swapped) < 2:
        return ""
    a, b = swapped["eupact"], swapped["coag"]
    follows = abs(a - coag) < abs(a - eupact) and abs(b - eupact) < abs(b - coag)
    return (
        f"The comparator {'explains' if follows else 'alone does not explain'} why they differ: with the other "
        f"trial's, all else being its own, EU-PACT would have {number(a)} points and COAG {number(b)}. "
    )


def _safety(predicted: Mapping[str, Any]) -> str:
    told = []
    for name in sorted(predicted["trials"], reverse=True):
        row = next(r for r in predicted["trials"][name]["excursions"] if r["reading"] == "published")
        told.append(
            f"{_trial_name(name)}: {number(row['time_above_4'])} and {number(row['time_above_4_control'])} % of time "
            f"with INR above 4, {number(row['time_below_2'])} and {number(row['time_below_2_control'])} % below 2, "
            f"guided and comparator"
        )
    return (
        f"Excursions of the INR only, predicted and not validated: {'; '.join(told)}. No verdict on bleeding: no "
        f"function of the INR that could be cited was found."
    )


def _findings(rows: Sequence[dict[str, Any]], joint: Sequence[dict[str, Any]], trials: Mapping[str, Any]) -> list[str]:
    eupact, coag = _find(rows, "eupact"), _find(rows, "coag")
    told = [f"EU-PACT: {_gain(eupact)}.", f"COAG: {_gain(coag)}."]
    for trial in ("eupact", "coag"):
        found = [r["difference"] for r in rows if (r["trial"], r["group"]) == (trial, "ttr")]
        span = f"{number(min(found))} to {number(max(found))}"
        told.append(f"{_trial_name(trial)}, over the readings of the transit time: {span} points predicted.")
    for name, trial in sorted(trials.items(), reverse=True):
        for row in trial["comparators"]:
            against = f"Had {_trial_name(name)} set genotype against {COMPARATORS.get(row['control'], row['control'])}"
            told.append(f"{against}: {_gain(row)}.")
    gains = [
        f"{number(row['difference'])} points over days {row['from'] + 1:.0f} to {row['to'] + 1:.0f}"
        for row in trials["eupact"]["windows"]
        if row["control"] == "standard"
    ]
    if gains:
        told.append(f"EU-PACT's predicted gain over standard loading doses by time: {' and '.join(gains)}.")
    if any(r["group"] == "ttr_black" for r in rows):
        black = _find(rows, "coag", "ttr_black")
        end = "missed" if black.get("missed") else "inside the interval"
        told.append(
            f"COAG, Black participants: {_gain(black)}; {end}. The alleles that they carry are not in the model."
        )
    off = [r for r in (eupact, coag) if "observed_mean" in r]
    if off:
        levels = "; ".join(
            f"{_trial_name(r['trial'])} {number(r['mean'])} and {number(r['mean_control'])} % predicted, "
            f"{number(r['observed_mean'])} and {number(r['observed_control'])} % published"
            for r in off
        )
        told.append(f"Time in range itself, guided and comparator: {levels}.")
    if joint:
        span = [row["both"] for row in joint]
        told.append(
            "Significant in EU-PACT and not in COAG: a probability of "
            f"{probability(min(span))} to {probability(max(span))} over the readings of the transit time."
        )
    return told
