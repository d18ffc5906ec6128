"""Thirty-two volunteers after one large dose: a model of their own, and what it says of the study's.

Their assay told no enantiomers, their effect is a prothrombin activity and no INR, and nobody's genotype is known. So
they are fitted by a model of total warfarin, which meets the study's model through a stated share of S-warfarin and a
stated link from activity to the INR alone. Nothing of the study's model is changed by them.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from cohort.chapters import Chapter, Data, Figure, Text
from cohort.chapters.genotype_dosing import READINGS, Z
from cohort.chapters.warfarin_volunteers import link
from cohort.chapters.warfarin_volunteers.population import FILE, MODEL, OBTAIN, REPLICATES, fitted, volunteers
from cohort.display.style import DASHES, OBSERVED, PREDICTED, QUIET, grid, svg
from cohort.display.table import Column, Table, number, significant
from cohort.library import load
from cohort.results import Results

SOURCES = {"own": "the model's own", "volunteers": "the volunteers'"}
NAMES = {"c": "total warfarin, mg/L", "pca": "activity, % of normal"}
# Of nlmixr2's example, as the R package posologyr quotes it; its absorption differs, its errors could not be read.
NLMIXR = {"cl": 0.131, "v": 7.92, "pca0": 96.5, "c50": 1.007, "kout": 0.0550}


def predict(results: Results, data: Data) -> dict[str, Any]:
    """The fit, its check, and the study's model for people like these: all rests on data that are open."""
    who = volunteers(data.open(FILE, use="calibration", obtain=OBTAIN))
    fit = fitted(who, data)
    seed = results.study.seed
    check = fit.check(seed)
    return {
        "people": who.n,
        "absorbing": who.seen.filter(pl.col("output") == "c", pl.col("time") <= 12)["person"].n_unique(),
        "measured": {name: len(who.rows(name)[2]) for name in NAMES},
        "convergence": fit.convergence(),
        "estimates": fit.estimates(),
        "check": check.percentiles.to_dicts(),
        "link": link.predicted(results, fit, seed),
    }


def made(results: Results, predicted: Mapping[str, Any], data: Data) -> Chapter:
    told, went = predicted["link"], predicted["convergence"]
    best = {
        source: min((r for r in told["chains"] if r["source"] == source), key=lambda r: r["off"]) for source in SOURCES
    }
    early = {row["reading"]: row for row in told["readings"] if row["source"] == "volunteers"}
    at = [row["time"] for row in told["observed"]].index(24.0)
    inside = [r for r in predicted["check"] if r["lower"] <= r["observed"] <= r["upper"]]
    seen = told["observed"][at]["mean"]
    findings = [
        f"Of {len(predicted['check'])} observed percentiles {len(inside)} lie inside the 95 % interval of the fitted "
        f"model's replicates.",
        f"A day after the dose the volunteers' activity is {number(seen)} % of normal; driven by their own "
        "concentrations the study's model has "
        + ", ".join(f"{number(early[r]['mean'][at])} % ({label})" for r, label in READINGS.items())
        + ".",
        f"Activity is lowest at {told['lowest']:.0f} h. The study's model has its lowest at "
        + ", ".join(f"{early[r]['lowest']:.0f} h ({label})" for r, label in READINGS.items())
        + ": in each person, when it is lowest does not hang on the link.",
        f"The fast chain that comes nearest is {best['volunteers']['chain']:g} h long with the volunteers' "
        f"concentrations and {best['own']['chain']:g} h with the model's own, of {len(link.CHAINS_OF)} lengths "
        f"tried; the published reading has {link.CHAINS_OF[-1]:g} h.",
        "The model's S-clearance at these ages and the volunteers' total clearance would agree if S-warfarin were "
        f"{100 * told['s_share']:.0f} % of the exposure; {100 * link.S_SHARE:.0f} % is stated here. Its people lose "
        "the drug faster than the volunteers did.",
    ]
    return Chapter(
        title="Thirty-two volunteers after one dose",
        efficacy="None: one dose in healthy people, without a comparator.",
        safety="None: no event was recorded.",
        findings=findings,
        blocks=[
            Text(
                f"Concentrations ({predicted['measured']['c']}) and activities ({predicted['measured']['pca']}) of "
                f"{predicted['people']} volunteers after 1.5 mg/kg (O'Reilly 1963, 1968), fitted together by NUTS: "
                f"{went['draws']:.0f} draws, R-hat at most {went['r_hat']:.3f}, effective sample size at least "
                f"{min(went['ess_bulk'], went['ess_tail']):.0f}, {went['divergences']:.0f} divergences. The lag is "
                "alike in everyone: with one of each person's own the chains did not mix, and only "
                f"{predicted['absorbing']} people were measured in the first 12 h. The residual error of "
                "concentrations takes up what that leaves out."
            ),
            _estimates(predicted["estimates"]),
            Figure("volunteers", _drawn_check(predicted["check"]), _check_caption()),
            Text(
                "The study's model meets these people through two stated links only: S-warfarin is "
                f"{link.S_SHARE:.2f} of the total concentration (clearances of ten patients at steady state, Chirality "
                "1997, 9:13, taken as constant over time), and activity follows from the INR by a published table seen "
                "at second hand. Genotypes are those of the study's virtual people; the volunteers' are not known."
            ),
            Figure("volunteers_readings", _drawn_readings(told), _readings_caption()),
            _readings(told),
            _chains(told),
        ],
    )


def _estimates(rows: list[dict[str, Any]]) -> Table:
    model = load(MODEL)
    fields, typical = model.parameters.fields(), model.typical()
    told = [
        row
        | {
            "what": fields[row["name"]]["about"],
            "unit": fields[row["name"]]["unit"],
            "published": typical[row["name"]],
            "nlmixr": NLMIXR.get(row["name"]),
        }
        for row in rows
    ]
    return Table(
        "V1",
        "volunteers_estimates",
        "What the volunteers say",
        "Posterior means ± Monte Carlo standard error with 95 % credible intervals; between people: standard deviation "
        "of the logarithm. Published: two other fits of the same people, by NONMEM (Nguyen 2017) and by nlmixr2. For "
        "an adult of 70 kg.",
        [
            Column("name", "parameter", plain=True),
            Column("what", "meaning", plain=True),
            Column("unit", "unit", plain=True),
            Column("mean", "estimate", significant, error="mcse", low="low", high="high"),
            Column("spread_mean", "between people", significant, low="spread_low", high="spread_high"),
            Column("published", "published", significant),
            Column("nlmixr", "nlmixr2", significant),
        ],
        told,
    )


def _drawn_check(rows: list[dict[str, Any]]) -> str:
    table = pl.DataFrame(rows).filter(pl.col("n") >= 10)
    figure, axes = grid(2, 2, 3.0)
    for axis, (output, label) in zip(axes, NAMES.items(), strict=True):
        for percentile in table["percentile"].unique().sort():
            own = table.filter(output=output, percentile=percentile).sort("time")
            middle = percentile == 50
            axis.fill_between(
                own["time"], own["lower"], own["upper"], color=PREDICTED if middle else QUIET, alpha=0.3, lw=0
            )
            axis.plot(own["time"], own["observed"], "-" if middle else "--", color=OBSERVED, marker="o", ms=3, lw=1.4)
        axis.set_title(label)
        axis.set_xlabel("hours after the dose")
        axis.set_ylim(0)
    return svg(figure, "Observed percentiles of concentration and activity over what the fitted model simulates")


def _check_caption() -> str:
    return (
        "Visual predictive check: 10th, 50th and 90th percentile of what was observed (orange) over the 95 % "
        f"interval of that percentile in {REPLICATES} replicates of new people, each under one draw of the "
        "posterior. Times with ten or more people."
    )


def _drawn_readings(told: Mapping[str, Any]) -> str:
    figure, axes = grid(2, 2, 3.0, sharey=True)
    time = [row["time"] for row in told["observed"]]
    for axis, (source, label) in zip(axes, SOURCES.items(), strict=True):
        for dashes, (reading, name) in zip(DASHES, READINGS.items(), strict=False):
            own = next(r for r in told["readings"] if (r["reading"], r["source"]) == (reading, source))
            axis.fill_between(time, own["low"], own["high"], color=PREDICTED, alpha=0.12, lw=0)
            axis.plot(time, own["mean"], color=PREDICTED, ls=dashes, lw=1.5, label=name)
        seen = [row["mean"] for row in told["observed"]]
        error = [Z * row["se"] for row in told["observed"]]
        axis.errorbar(time, seen, yerr=error, color=OBSERVED, marker="D", ms=4, lw=1.2, ls="none", label="observed")
        axis.set_title(f"{label} concentrations")
        axis.set_xlabel("hours after the dose")
        axis.set_ylim(0)
    axes[0].set_ylabel("mean activity, % of normal")
    axes[0].legend(fontsize=8)
    return svg(figure, "Mean prothrombin activity after one dose, observed and by three readings of the transit time")


def _readings_caption() -> str:
    return (
        "Mean activity of the volunteers (diamonds, 95 % confidence interval) and of virtual people of their ages, "
        f"weights and doses under the study's model, with the 95 % predictive interval of a mean of as many people "
        f"({link.COPIES} replicates). Left: the model's own pharmacokinetics; right: the volunteers' fitted "
        "concentrations. The volunteers had been seen when this was drawn; no reading was chosen by it."
    )


def _readings(told: Mapping[str, Any]) -> Table:
    rows = [
        {
            "reading": own["reading"],
            "source": own["source"],
            "time": seen["time"],
            "n": seen["n"],
            "observed": seen["mean"],
            "observed_se": seen["se"],
            "predicted": own["mean"][k],
            "mcse": own["mcse"][k],
            "low": own["low"][k],
            "high": own["high"][k],
            "missed": not own["low"][k] <= seen["mean"] <= own["high"][k],
        }
        for own in told["readings"]
        for k, seen in enumerate(told["observed"])
    ]
    return Table(
        "V2",
        "volunteers_readings",
        "Mean activity by reading",
        "Percent of normal. Observed means with standard error in brackets; predicted means ± Monte Carlo standard "
        "error with the 95 % predictive interval of a mean of the same people. Marked: the observed mean lies outside.",
        [
            Column("reading", "reading of MTT1", lambda r: READINGS.get(r, str(r)), plain=True),
            Column("source", "concentrations", lambda s: SOURCES.get(s, str(s)), plain=True),
            Column("time", "h", lambda t: number(t, 0)),
            Column("n", "n"),
            Column("observed", "observed", number, spread="observed_se"),
            Column("predicted", "predicted", number, error="mcse", low="low", high="high"),
        ],
        rows,
        brief=[row for row in rows if row["time"] in (24.0, 48.0)],
    )


def _chains(told: Mapping[str, Any]) -> Table:
    by = {(row["source"], row["chain"]): row["off"] for row in told["chains"]}
    rows = [{"chain": chain} | {source: by[source, chain] for source in SOURCES} for chain in link.CHAINS_OF]
    return Table(
        "V3",
        "volunteers_chain",
        "Length of the fast chain",
        "Root mean square of predicted less observed mean activity after the dose, percent of normal, by the mean time "
        "of the whole fast chain of six compartments. Nothing was set to the best.",
        [
            Column("chain", "h in all", significant),
            Column("own", "the model's own concentrations", number),
            Column("volunteers", "the volunteers' concentrations", number),
        ],
        rows,
    )
