"""SCR-002: four drugs and placebo in five periods, predicted as the crossover that it was, and what two drugs showed.

The spine's virtual trials allocate people to one arm each. Here the same virtual people go through every arm under
every draw of the calibration, so that drug and placebo are compared within a person, as in the trial. Of the
recordings at hand dofetilide and placebo taught the translator; ranolazine is opened once the predictions are frozen.
Quinidine's and verapamil's are not at hand.

References
----------
[1] Johannesen et al. 2014, Clin Pharmacol Ther 96:549, doi 10.1038/clpt.2014.155: the trial.
[2] ICH E14 and its questions and answers: of concern is a mean effect whose upper bound is 10 ms or more.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats.mstats import mjci

from cohort.analysis.concentration_qtc import (
    LIMIT,
    Recordings,
    at,
    bound,
    fit,
    of_changes,
    of_differences,
    reml,
    slopes,
    time_matched,
)
from cohort.chapters import Chapter, Data, Figure, Text
from cohort.display.style import OBSERVED, PREDICTED, QUIET, grid, svg
from cohort.display.table import Column, Table, digits, number, percent, significant, words, yes
from cohort.inference.sampling import Sampling
from cohort.library import load
from cohort.record import digest, source_digest
from cohort.results import Results
from cohort.simulation import solve_lanes
from cohort.store import Job
from cohort.study import fingerprint
from cohort.trial import MEAN

FILE = "trials/scr002/scr002_dofetilide_ranolazine_placebo.csv"
OBTAIN = "PhysioNet ecgrdvq 1.0.0, clinical table, rows of dofetilide, ranolazine and placebo"
DRUGS = ("dofetilide", "ranolazine", "quinidine", "verapamil")
ROLE = {
    "dofetilide": "taught the translator",
    "ranolazine": "predicted, then opened",
    "quinidine": "predicted; not opened",
    "verapamil": "predicted; not opened",
}
UNOPENED = ("quinidine", "verapamil")
PLACEBO = "placebo"
LEVEL = 0.95
# Of the residual variance of a change: what a period's recordings share, their one baseline; placebo arm, 15 hours.
SHARED = 0.66
SAMPLING = Sampling(warmup=400, draws=400, chains=3, dense=True)
LEARNT = ("slope", "fu", "exposure", "potency")


# --- what was recorded ------------------------------------------------------------------------------------------------


def recordings(file: Path, drugs: tuple[str, ...]) -> pl.DataFrame:
    """The trial's table of these treatments and placebo alone: subject, arm, time (h), c (ng/mL), qtcf, jtpc and tpte
    (ms), means of what there is of each triplicate. Other treatments' rows are dropped as the file is read."""
    kept = [name.capitalize() for name in (*drugs, PLACEBO)]
    raw = pl.scan_csv(file, null_values="NA", infer_schema_length=10_000).filter(pl.col("EXTRT").is_in(kept)).collect()
    # A measured interval is a positive number of ms; two PR intervals of -4.29e9 stand for none.
    intervals = ["RR", "QT", "QRS", "PR", "JTPEAK", "TPEAKTEND"]
    raw = raw.with_columns(pl.when(pl.col(c) > 0).then(pl.col(c).cast(pl.Float64)).alias(c) for c in intervals)
    seconds = pl.col("RR") / 1000
    # Dofetilide was assayed in pg/mL, the others in ng/mL.
    per_ng = pl.when(pl.col("EXTRT") == "Dofetilide").then(1000.0).otherwise(1.0)
    return (
        raw.group_by(subject="RANDID", arm=pl.col("EXTRT").str.to_lowercase(), time=pl.col("TPT"), maintain_order=True)
        .agg(
            c=(pl.col("PCSTRESN").cast(pl.Float64) / per_ng).mean(),
            qtcf=(pl.col("QT") / seconds ** (1 / 3)).mean(),
            jtpc=(pl.col("JTPEAK") / seconds**0.58).mean(),
            tpte=pl.col("TPEAKTEND").mean(),
        )
        .sort("arm", "subject", "time")
    )


def observed(table: pl.DataFrame, drug: str) -> dict[str, Any]:
    """By hour after the dose: means, standard errors and number of the time-matched differences of QTcF, JTpc and TpTe,
    and median, 5 and 95 % of concentration."""
    found: dict[str, Any] = {}
    for name in ("qtcf", "jtpc", "tpte"):
        matched = time_matched(table.select("subject", "arm", "time", "c", qtcf=name), drug, PLACEBO)
        by_hour = matched.group_by("time").agg(
            mean=pl.col("corrected").mean(), sd=pl.col("corrected").std(), n=pl.col("corrected").count()
        )
        by_hour = by_hour.sort("time")
        found["hours"] = by_hour["time"].to_list()
        found[name] = {
            "mean": by_hour["mean"].to_list(),
            "se": (by_hour["sd"] / by_hour["n"].sqrt()).to_list(),
            "n": by_hour["n"].to_list(),
        }
    c = (
        table.filter((pl.col("arm") == drug) & (pl.col("time") > 0))
        .group_by("time")
        .agg(mid=pl.col("c").median(), low=pl.col("c").quantile(0.05), high=pl.col("c").quantile(0.95))
    )
    found["c"] = {k: c.sort("time")[k].to_list() for k in ("mid", "low", "high")}
    return found


def analysed(table: pl.DataFrame, drug: str, seed: int) -> dict[str, Any]:
    """The exposure-response of one drug: the white paper's model by NUTS and by restricted likelihood, and that of the
    time-matched differences by restricted likelihood. Slopes in ms per ng/mL, with 95 % intervals."""
    matched = time_matched(table, drug, PLACEBO)
    changes, differences = of_changes(matched), of_differences(matched)
    tree = fit(changes, seed=seed, sampling=SAMPLING)
    peak = matched.group_by("subject").agg(pl.col("c").max())["c"].mean()
    drawn, effect = slopes(tree), at(tree, float(peak))  # type: ignore[arg-type]
    told = {"posterior": _interval(drawn), "peak_c": peak, "at_peak": {**_interval(effect), "upper90": bound(effect)}}
    for name, data in (("restricted", changes), ("differences", differences)):
        made = reml(data)
        low, high = made.interval("concentration", LEVEL)
        told[name] = {"mean": made.beta["concentration"], "low": low, "high": high, "sigma": made.sigma}
    return told | {"r_hat": tree.attrs["r_hat"], "ess": tree.attrs["ess_bulk"]}


# --- what is predicted ------------------------------------------------------------------------------------------------


def crossover(results: Results, data: Data, people: int) -> dict[str, dict[str, np.ndarray]]:
    """By arm: c, dapd and change of the same people under every draw but the mean, (draws, people, visits)."""
    study = results.study
    model = load(study.model, study.path.parent)
    own = results.enrolled.head(people).select("subject", pl.exclude("subject"))
    draws = results.parameters.filter(pl.col("draw") != MEAN)["draw"]
    table = pl.DataFrame({"draw": draws}).join(own, how="cross")
    rests = [fingerprint(study), digest(model.text), digest(results.parameters.write_csv()), source_digest()]
    jobs = [
        Job(
            digest([*rests, "crossover", arm, people])[:32],
            solve_lanes,
            (study, model, arm, table, results.parameters),
        )
        for arm in study.arms
    ]
    shape = (len(draws), own.height, len(study.visits))
    return {
        arm: {name: solved[name].to_numpy().reshape(shape) for name in ("c", "dapd", "change")}
        for arm, solved in zip(study.arms, data.solve(jobs), strict=True)
    }


def curve(parameters: pl.DataFrame, drug: str, c: np.ndarray) -> np.ndarray:
    """Prolongation of QTcF of the typical person once the heart has followed a concentration in plasma, ng/mL, under
    each draw: (draws, concentrations)."""
    value = {
        name: parameters[f"{drug}_{name}"].to_numpy()[:, None]
        for name in ("fu", "potency", "most", "half", "hill", "mass")
    }
    free = c[None, :] / value["mass"] * value["fu"] * value["potency"]
    relative = (free / value["half"]) ** value["hill"]
    return parameters["slope"].to_numpy()[:, None] * value["most"] * relative / (1 + relative)


def of_a_drug(
    arms: Mapping[str, Mapping[str, np.ndarray]],
    drug: str,
    parameters: pl.DataFrame,
    hours: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """What is predicted of one drug. parameters: of the draws; hours: of the visits; n: people in the trial.

    `ddqtcf`: of the population's mean the mean over draws and its 95 % credible interval, of a trial's mean its 95 %
    predictive interval, and the simulation error from finitely many people and draws; `slope`: of the mixed model of
    differences in each draw's virtual trial of n people, as measured."""
    corrected = (arms[drug]["change"] - arms[PLACEBO]["change"])[:, :, 1:]  # (draws, people, hours)
    mean = corrected.mean(axis=1)
    draws, people = corrected.shape[:2]
    sigma = parameters["sigma"].to_numpy()
    trials, found = np.empty((draws, corrected.shape[2])), np.empty(draws)
    c = arms[drug]["c"][:, :, 1:]
    above = np.empty(draws)
    for k in range(draws):
        who = rng.permutation(people)[:n]
        # Each period has an error of its one baseline and one of each recording; a difference has both twice.
        noise = [
            sigma[k]
            * (
                np.sqrt(SHARED) * rng.standard_normal((n, 1))
                + np.sqrt(1 - SHARED) * rng.standard_normal((n, len(hours) - 1))
            )
            for _ in range(2)
        ]
        seen = corrected[k, who] + noise[0] - noise[1]
        trials[k] = seen.mean(axis=0)
        above[k] = ((arms[drug]["change"][k, who, 1:] - 100.0 + noise[0]).max(axis=1) > 60.0).mean()
        found[k] = reml(
            Recordings(seen.ravel(), np.maximum(c[k, who], 0.0).ravel(), np.repeat(np.arange(n), len(hours) - 1)),
            starts=1,
        ).beta["concentration"]
    place = int(mean.mean(axis=0).argmax())
    everyone = corrected.mean(axis=0)
    grid_c = np.linspace(0.0, float(np.quantile(c.max(axis=2), 0.975)), 25)
    drawn = curve(parameters, drug, grid_c)
    names = {name: name if name == "slope" else f"{drug}_{name}" for name in LEARNT}
    at_peak = mean[:, place]
    errors = np.hypot(everyone.std(axis=0, ddof=1) / np.sqrt(people), mean.std(axis=0, ddof=1) / np.sqrt(draws))
    of_bound = float(mjci(at_peak, [0.95])[0])  # of a quantile of few draws: Maritz & Jarrett 1978, JASA 73:194
    return {
        "hours": hours[1:],
        "ddqtcf": {
            **_band(mean),
            "trial_low": np.quantile(trials, 0.025, axis=0),
            "trial_high": np.quantile(trials, 0.975, axis=0),
            "mcse": errors,
        },
        "c": {
            "mid": np.median(c, axis=(0, 1)),
            "low": np.quantile(c, 0.05, axis=(0, 1)),
            "high": np.quantile(c, 0.95, axis=(0, 1)),
        },
        "peak": {
            "hour": float(hours[1:][place]),
            **_interval(at_peak),
            "upper90": bound(at_peak),
            "upper90_mcse": float(np.hypot(of_bound, everyone[:, place].std(ddof=1) / np.sqrt(people))),
            "trial_low": float(np.quantile(trials[:, place], 0.025)),
            "trial_high": float(np.quantile(trials[:, place], 0.975)),
            "trial_upper90": float(np.quantile(trials[:, place], 0.95)),
            "mcse": float(errors[place]),
            "dapd": float(arms[drug]["dapd"][:, :, 1:].mean(axis=1)[:, place].mean()),
        },
        "above_60": {**_interval(above), "mcse": float(above.std(ddof=1) / np.sqrt(draws))},
        "slope": _interval(found),
        "curve": {"c": grid_c, **_band(drawn)},
        "shares": {
            name: float(np.corrcoef(np.log(parameters[column].to_numpy()), at_peak)[0, 1] ** 2)
            for name, column in names.items()
            if parameters[column].std() > 0  # type: ignore[operator]
        },
    }


def _interval(draws: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"mean": float(np.mean(draws)), "low": float(low), "high": float(high), "sd": float(np.std(draws, ddof=1))}


def _band(draws: np.ndarray) -> dict[str, np.ndarray]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {"mean": draws.mean(axis=0), "low": low, "high": high}


def predict(results: Results, data: Data) -> dict[str, Any]:
    """What the virtual crossover says of all four drugs; and of the recordings those of dofetilide and placebo, which
    are calibration data. The file holds ranolazine's as well: its rows, concentrations too, are dropped as it is
    read."""
    study = results.study
    people = int(study.chapters["concentration_qtc"].get("people", 100))
    hours = np.array([visit.to("h") for visit in study.visits])
    arms = crossover(results, data, people)
    parameters = results.parameters.filter(pl.col("draw") != MEAN)
    rng = np.random.default_rng([study.seed, 1])
    drugs = {
        drug: of_a_drug(arms, drug, parameters, hours, study.arms[drug].n, rng) for drug in DRUGS if drug in study.arms
    }
    table = recordings(data.open(FILE, use="calibration", obtain=OBTAIN), ("dofetilide",))
    return {
        "people": people,
        "draws": parameters.height,
        "drugs": drugs,
        "dofetilide": {
            "observed": observed(table, "dofetilide"),
            "analysed": analysed(table, "dofetilide", study.seed),
        },
    }


# --- what the report says ---------------------------------------------------------------------------------------------


def made(results: Results, predicted: Mapping[str, Any], data: Data) -> Chapter:
    """Now ranolazine's recordings are opened."""
    table = recordings(data.open(FILE, use="validation", obtain=OBTAIN), ("ranolazine",))
    real = {
        "dofetilide": predicted["dofetilide"],
        "ranolazine": {
            "observed": observed(table, "ranolazine"),
            "analysed": analysed(table, "ranolazine", results.study.seed),
        },
    }
    peaks = [_peak(drug, predicted["drugs"][drug], real.get(drug)) for drug in predicted["drugs"]]
    responses = [_response(drug, predicted["drugs"][drug], real.get(drug)) for drug in predicted["drugs"]]
    agreements = [_agreement(drug, predicted["drugs"][drug], real[drug]["observed"]) for drug in real]
    shares = [
        {"drug": drug, **predicted["drugs"][drug]["shares"], "sd": predicted["drugs"][drug]["peak"]["sd"]}
        for drug in predicted["drugs"]
    ]
    simulated = (
        f"{predicted['draws']} draws of the calibration, {predicted['people']} virtual people who take every treatment"
    )
    blocks = [
        Text(
            "Drug and placebo are compared within a person. Every virtual person takes every treatment under every "
            "draw of the calibrated translator, free fractions, exposures and potencies; the spine's arms above hold "
            "other people each, so that its intervals of a difference from placebo are those of a parallel trial, "
            "which are wider."
        ),
        Text(
            "The file of recordings holds three treatments. For prediction it is opened as calibration data, and the "
            "rows of ranolazine, outcomes and concentrations, are dropped as it is read; they are read after the "
            "predictions are frozen. Recordings on quinidine and verapamil are not at hand."
        ),
        _peak_table(peaks, simulated),
        Figure(
            "time_course",
            _courses(predicted["drugs"], real),
            "Time-matched, placebo-corrected change of QTcF. Line and dark band: mean of the population and its 95 % "
            f"credible interval; light band: 95 % predictive interval of the mean of 22 people; {simulated}; the "
            f"simulation error of the line is at most {number(_most_error(predicted['drugs']), 1)} ms. Diamonds: "
            "observed means with 95 % confidence intervals. Dotted: 10 ms.",
        ),
        Figure(
            "concentration",
            _concentrations(predicted["drugs"], real),
            "Concentration in plasma. Line and band: predicted median and 90 % range of people; diamonds and bars: "
            f"observed median and 5 to 95 % of people; {simulated}. Dofetilide's pharmacokinetics were fitted to these "
            "concentrations; the others' are published.",
        ),
        _response_table(responses),
        Figure(
            "exposure_response",
            _exposure_response(predicted["drugs"], real),
            "Placebo-corrected change of QTcF against concentration. Blue: cell and translator for the typical person "
            "once the heart has followed, mean and 95 % credible interval, without any published pharmacokinetics. "
            "Orange: observed means by hour; they lie off a line where the heart lags behind.",
        ),
        _agreement_table(agreements, simulated),
        _share_table(shares, predicted["draws"]),
        Figure(
            "intervals",
            _intervals(real),
            "Observed only: time-matched, placebo-corrected change of the J-Tpeak interval (corrected by RR to the "
            "power 0.58) and of Tpeak-Tend, means with 95 % confidence intervals. The translator speaks of the whole "
            "QT interval and of neither part: for that a strand of cells and its electrocardiogram would be needed.",
        ),
        Text(
            "Limits: one cell stands for the heart. The translator was learnt from a drug that blocks hERG alone; for "
            "the three that also block late sodium or calcium current it is an extrapolation, and nothing in its "
            "interval covers that. Metabolites are not in it, of which those of quinidine, verapamil and ranolazine "
            "may act. The cell is paced once in 2 s and stays so, whatever a drug does to heart rate."
        ),
    ]
    return Chapter(
        "Concentration and QTc: a crossover of four drugs",
        "None: healthy volunteers took single doses, and nothing of benefit was measured.",
        _verdict(predicted["drugs"], real),
        _findings(peaks, responses, agreements),
        blocks,
    )


def _peak(drug: str, told: Mapping[str, Any], real: Mapping[str, Any] | None) -> dict[str, Any]:
    peak = told["peak"]
    row = {
        "drug": drug,
        "role": ROLE[drug],
        **{
            key: peak[key]
            for key in (
                "hour",
                "mean",
                "low",
                "high",
                "mcse",
                "trial_low",
                "trial_high",
                "upper90",
                "upper90_mcse",
                "dapd",
            )
        },
        "of_concern": of_concern(peak),
        "above_60": told["above_60"]["mean"],
        "above_60_mcse": told["above_60"]["mcse"],
    }
    if real is not None:
        seen = real["observed"]
        k = seen["hours"].index(peak["hour"])
        mean, half = seen["qtcf"]["mean"][k], 1.96 * seen["qtcf"]["se"][k]
        row |= {"seen": mean, "seen_low": mean - half, "seen_high": mean + half}
        row |= {"inside": peak["trial_low"] <= mean <= peak["trial_high"]}
        largest = int(np.argmax(seen["qtcf"]["mean"]))
        row |= {"seen_hour": seen["hours"][largest], "seen_largest": seen["qtcf"]["mean"][largest]}
        row |= {"seen_upper90": seen["qtcf"]["mean"][largest] + 1.645 * seen["qtcf"]["se"][largest]}
    return row


def _peak_table(rows: list[dict[str, Any]], simulated: str) -> Table:
    return Table(
        "T1",
        "peak",
        "Largest mean prolongation of QTcF",
        f"ms, placebo-corrected and time-matched, at the hour at which the predicted mean is largest; {simulated}. "
        "Predicted: mean ± simulation error, 95 % credible interval; trial: 95 % predictive interval of the mean of "
        "22; bound: upper end of the two-sided 90 % credible interval, of concern at 10 ms or more (ICH E14), "
        "undecided within two simulation errors of it. "
        "Observed: mean, 95 % confidence interval.",
        [
            Column("drug", "drug", plain=True),
            Column("role", "recordings", plain=True),
            Column("hour", "hour", digits(1)),
            Column("dapd", "cell's dAPD90", digits(0)),
            Column("mean", "predicted", number, error="mcse", low="low", high="high"),
            Column("trial_low", "trial", number, to="trial_high"),
            Column("upper90", "bound", number, error="upper90_mcse"),
            Column("of_concern", "≥ 10 ms", plain=True),
            Column("seen", "observed then", number, low="seen_low", high="seen_high"),
            Column("inside", "inside", yes),
            Column("seen_largest", "largest observed", number),
            Column("seen_hour", "at hour", digits(1)),
            Column("seen_upper90", "its bound", number),
            Column("above_60", "share > 60 ms", percent, error="above_60_mcse"),
        ],
        rows,
    )


def _response(drug: str, told: Mapping[str, Any], real: Mapping[str, Any] | None) -> dict[str, Any]:
    row = {"drug": drug, "role": ROLE[drug], **told["slope"]}
    if real is not None:
        found = real["analysed"]
        for name in ("posterior", "restricted", "differences"):
            row |= {name: found[name]["mean"], f"{name}_low": found[name]["low"], f"{name}_high": found[name]["high"]}
        seen = found["differences"]
        row |= {"inside": told["slope"]["low"] <= seen["mean"] <= told["slope"]["high"]}
        row |= {"ratio": told["slope"]["mean"] / seen["mean"], "r_hat": found["r_hat"], "ess": found["ess"]}
        row |= {"peak_c": found["peak_c"], "upper90": found["at_peak"]["upper90"]}
    return row


def _response_table(rows: list[dict[str, Any]]) -> Table:
    return Table(
        "T2",
        "exposure_response",
        "Exposure and response: slope of QTcF on concentration",
        "ms per ng/mL. Predicted: mean and 95 % interval of the slope that the model of differences finds in a virtual "
        "trial of 22 under each draw. Observed: the model of differences by restricted likelihood (95 % confidence "
        "interval); the white paper's model, with treatment, time and baseline, by NUTS (95 % credible interval) and "
        "by restricted likelihood. Bound: upper end of the 90 % credible interval of the effect at the mean of "
        "people's highest concentrations.",
        [
            Column("drug", "drug", plain=True),
            Column("mean", "predicted", significant, low="low", high="high"),
            Column("differences", "observed, differences", significant, low="differences_low", high="differences_high"),
            Column("inside", "inside", yes),
            Column("ratio", "predicted/observed", digits(2)),
            Column("posterior", "white paper, NUTS", significant, low="posterior_low", high="posterior_high"),
            Column("restricted", "white paper, REML", significant, low="restricted_low", high="restricted_high"),
            Column("peak_c", "highest c, ng/mL", significant),
            Column("upper90", "bound there, ms", number),
            Column("r_hat", "R-hat", digits(3), hidden=True),
            Column("ess", "effective draws", digits(0), hidden=True),
        ],
        rows,
    )


def _agreement(drug: str, told: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    own = [list(told["hours"]).index(hour) for hour in seen["hours"]]
    mean = np.array(seen["qtcf"]["mean"])
    predicted = np.array(told["ddqtcf"]["mean"])[own]
    low, high = (np.array(told["ddqtcf"][key])[own] for key in ("trial_low", "trial_high"))
    c, c_seen = np.array(told["c"]["mid"])[own], np.array(seen["c"]["mid"], float)
    fair = c_seen > 0
    return {
        "drug": drug,
        "role": ROLE[drug],
        "hours": len(own),
        "inside": int(((low <= mean) & (mean <= high)).sum()),
        "bias": float((predicted - mean).mean()),
        "rmse": float(np.sqrt(((predicted - mean) ** 2).mean())),
        "c_ratio": float(np.exp(np.log(c[fair] / c_seen[fair]).mean())),
        "c_peak": float(c.max()),
        "c_peak_seen": float(c_seen.max()),
    }


def _agreement_table(rows: list[dict[str, Any]], simulated: str) -> Table:
    return Table(
        "T3",
        "agreement",
        "Whether the courses agree",
        "Over the hours after the dose: how many observed means lie inside the 95 % predictive interval of a trial's "
        "mean; mean and root mean square of predicted minus observed, ms; geometric mean ratio of predicted to "
        f"observed median concentration, and the highest median of each, ng/mL; {simulated}.",
        [
            Column("drug", "drug", plain=True),
            Column("role", "recordings", plain=True),
            Column("inside", "hours inside", words),
            Column("hours", "of", words),
            Column("bias", "bias", number),
            Column("rmse", "rms error", number),
            Column("c_ratio", "c predicted/observed", digits(2)),
            Column("c_peak", "highest c predicted", significant),
            Column("c_peak_seen", "observed", significant),
        ],
        rows,
    )


def _share_table(rows: list[dict[str, Any]], draws: int) -> Table:
    return Table(
        "T4",
        "uncertainty",
        "Where the uncertainty of the largest mean comes from",
        f"Squared correlation, over {draws} draws, of the largest mean with the logarithm of each quantity: about the "
        f"share of its variance that goes with it; of {draws} draws one that has no part shows {percent(1 / draws)} on "
        "average. Dofetilide's translator is calibrated together with its free fraction and potency, which trade "
        "against each other. sd: standard deviation of the largest mean, ms.",
        [
            Column("drug", "drug", plain=True),
            Column("slope", "translator", percent),
            Column("fu", "free fraction", percent),
            Column("exposure", "exposure", percent),
            Column("potency", "potency in the cell", percent),
            Column("sd", "sd", number),
        ],
        rows,
    )


def of_concern(peak: Mapping[str, float]) -> str:
    """Whether the bound reaches the limit: yes, no, or undecided within two of its simulation errors."""
    apart = peak["upper90"] - LIMIT
    return "undecided" if abs(apart) < 2 * peak["upper90_mcse"] else "yes" if apart > 0 else "no"


def _verdict(drugs: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    concern = {word: [d for d in drugs if of_concern(drugs[d]["peak"]) == word] for word in ("yes", "undecided")}
    said = f"Predicted of concern (upper bound of the mean effect 10 ms or more): {', '.join(concern['yes']) or 'none'}"
    for drug in concern["undecided"]:
        peak = drugs[drug]["peak"]
        said += f"; {drug} undecided, {number(peak['upper90'])} ± {number(peak['upper90_mcse'])} ms (simulation error)"
    seen = []
    for drug, found in real.items():
        qtcf = found["observed"]["qtcf"]
        upper = max(m + 1.645 * s for m, s in zip(qtcf["mean"], qtcf["se"], strict=True))
        seen.append(f"{drug} {number(upper)} ms")
    return f"{said}. Observed bounds: {', '.join(seen)}. Others were not opened."


def _findings(
    peaks: list[dict[str, Any]], responses: list[dict[str, Any]], agreements: list[dict[str, Any]]
) -> list[str]:
    found = []
    for row in peaks:
        text = (
            f"{row['drug'].capitalize()} ({row['role']}): largest mean prolongation of QTcF {number(row['mean'])} ms "
            f"({number(row['low'])} to {number(row['high'])}) at {number(row['hour'])} h"
        )
        if "seen" in row:
            verdict = "inside" if row["inside"] else "outside"
            text += (
                f"; observed then {number(row['seen'])} ({number(row['seen_low'])} to {number(row['seen_high'])}), "
                f"{verdict} the predictive interval"
            )
        found.append(f"{text}.")
    validation = next(row for row in agreements if row["drug"] == "ranolazine")
    slope = next(row for row in responses if row["drug"] == "ranolazine")
    found.append(
        f"Ranolazine was predicted by a translator learnt on a pure hERG blocker: {validation['inside']} of "
        f"{validation['hours']} hourly means inside, predicted minus observed {number(validation['bias'])} ms on "
        f"average, slope on concentration {number(slope['ratio'], 2)} times the observed."
    )
    return found


def _most_error(drugs: Mapping[str, Any]) -> float:
    return max(float(np.max(told["ddqtcf"]["mcse"])) for told in drugs.values())


def _panels(drugs: Mapping[str, Any]) -> tuple[Any, list[tuple[Any, str]]]:
    figure, axes = grid(len(drugs), 2, 2.2)
    for axis, drug in zip(axes, drugs, strict=True):
        axis.set_title(f"{drug}: {ROLE[drug]}", fontsize=9)
    return figure, list(zip(axes, drugs, strict=True))


def _courses(drugs: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    figure, panels = _panels(drugs)
    for axis, drug in panels:
        told = drugs[drug]["ddqtcf"]
        hours = [0.0, *drugs[drug]["hours"]]
        axis.fill_between(hours, [0, *told["trial_low"]], [0, *told["trial_high"]], color=PREDICTED, alpha=0.12, lw=0)
        axis.fill_between(hours, [0, *told["low"]], [0, *told["high"]], color=PREDICTED, alpha=0.3, lw=0)
        axis.plot(hours, [0, *told["mean"]], color=PREDICTED, lw=1.5)
        if drug in real:
            seen = real[drug]["observed"]
            half = 1.96 * np.array(seen["qtcf"]["se"])
            axis.errorbar(seen["hours"], seen["qtcf"]["mean"], half, fmt="D", color=OBSERVED, ms=3, lw=1)
        axis.axhline(LIMIT, color=QUIET, lw=0.9, ls=":")
        axis.axhline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_xlabel("hours after the dose")
        axis.set_ylabel("ddQTcF (ms)")
    return svg(figure, "Placebo-corrected change of QTcF over 24 hours, predicted and observed, by drug")


def _concentrations(drugs: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    figure, panels = _panels(drugs)
    for axis, drug in panels:
        told, hours = drugs[drug]["c"], drugs[drug]["hours"]
        axis.fill_between(hours, told["low"], told["high"], color=PREDICTED, alpha=0.22, lw=0)
        axis.plot(hours, told["mid"], color=PREDICTED, lw=1.5)
        if drug in real:
            seen = real[drug]["observed"]
            mid, low, high = (np.array(seen["c"][key], float) for key in ("mid", "low", "high"))
            axis.errorbar(seen["hours"], mid, [mid - low, high - mid], fmt="D", color=OBSERVED, ms=3, lw=1)
        axis.set_xlabel("hours after the dose")
        axis.set_ylabel("ng/mL")
    return svg(figure, "Concentration in plasma over 24 hours, predicted and observed, by drug")


def _exposure_response(drugs: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    figure, panels = _panels(drugs)
    for axis, drug in panels:
        told = drugs[drug]["curve"]
        axis.fill_between(told["c"], told["low"], told["high"], color=PREDICTED, alpha=0.22, lw=0)
        axis.plot(told["c"], told["mean"], color=PREDICTED, lw=1.5)
        if drug in real:
            seen = real[drug]["observed"]
            half = 1.96 * np.array(seen["qtcf"]["se"])
            axis.errorbar(seen["c"]["mid"], seen["qtcf"]["mean"], half, fmt="D", color=OBSERVED, ms=3, lw=1)
        axis.axhline(LIMIT, color=QUIET, lw=0.9, ls=":")
        axis.set_xlabel("ng/mL")
        axis.set_ylabel("ddQTcF (ms)")
    return svg(figure, "Placebo-corrected change of QTcF against concentration, predicted and observed, by drug")


def _intervals(real: Mapping[str, Any]) -> str:
    figure, axes = grid(len(real), 2, 2.2, sharex=True)
    for axis, (drug, found) in zip(axes, real.items(), strict=True):
        seen = found["observed"]
        for name, label, marker in (("jtpc", "J-Tpeak c", "o"), ("tpte", "Tpeak-Tend", "s")):
            half = 1.96 * np.array(seen[name]["se"])
            colour = OBSERVED if name == "jtpc" else QUIET
            axis.errorbar(seen["hours"], seen[name]["mean"], half, fmt=marker, color=colour, ms=3, lw=1, label=label)
        axis.axhline(0, color="#bbb", lw=0.8, zorder=0)
        axis.set_title(drug, fontsize=9)
        axis.set_xlabel("hours after the dose")
        axis.set_ylabel("change (ms)")
    axes[0].legend(fontsize=8)
    return svg(figure, "Observed change of J-Tpeak and Tpeak-Tend over 24 hours, by drug")
