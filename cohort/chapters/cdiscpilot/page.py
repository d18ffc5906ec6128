"""What the chapter says: verdicts, findings, text, tables and figures."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from cohort.analysis.survival import Survival
from cohort.chapters import Chapter, Figure, Text
from cohort.chapters.cdiscpilot import efficacy, figures, safety, scoring, twins
from cohort.chapters.cdiscpilot.trial import ANCOVA, ARMS, GRACE, PUBLISHED, REPEATED, VISITS
from cohort.display.table import Column, Table, digits, number, percent, probability

ACTIVE = tuple(ARMS)[1:]
TWO, THREE = digits(2), digits(3)
SURE = 0.975
FIGURES = ("outcome", "predicted", "mcse", "low", "high", "observed", "se", "inside")  # of the CSV


@dataclass(frozen=True)
class Found:
    """Everything that was found, as the modules beside this one give it."""

    again: pl.DataFrame
    covariance: pl.DataFrame
    retrieved: dict[str, int]
    stops: dict[str, int]
    policy: pl.DataFrame
    hypothetical: pl.DataFrame
    anything: pl.DataFrame
    terms: pl.DataFrame
    periods: pl.DataFrame
    seen: pl.DataFrame
    skin: Survival
    compared: list[dict[str, Any]]
    placebo: list[dict[str, Any]]
    scores: pl.DataFrame
    each: pl.DataFrame
    twins: dict[str, list[float]]
    saved: pl.DataFrame
    patients: dict[str, int]
    after: dict[str, dict[str, float]]


def chapter(f: Found) -> Chapter:
    return Chapter(
        "Alzheimer's disease, patient by patient: the CDISC pilot trial",
        _efficacy(f),
        _safety(f),
        _findings(f),
        [*_own(f), *_estimands(f), *_events(f), *_time(f), *_virtual(f), *_twins(f), *_procova(f)],
    )


def _row(table: pl.DataFrame, **where: Any) -> dict[str, Any]:
    return table.row(by_predicate=pl.all_horizontal(pl.col(k) == v for k, v in where.items()), named=True)


def _interval(row: dict[str, Any], n: int = 2) -> str:
    return f"{number(row['mean'], n)} ({number(row['low'], n)} to {number(row['high'], n)})"


def _last(table: pl.DataFrame, arm: str) -> dict[str, Any]:
    return _row(table, kind="difference", arm=arm, visit=VISITS[-1])


def _efficacy(f: Found) -> str:
    told = []
    for arm in ACTIVE:
        a, b = _last(f.policy, arm), _last(f.hypothetical, arm)
        told.append(f"{arm} {_interval(a)} under treatment policy and {_interval(b)} had nobody stopped")
    sure = [_last(t, a)["below"] >= SURE for t in (f.policy, f.hypothetical) for a in ACTIVE]
    verdict = (
        "A benefit is shown" if all(sure) else "No benefit is shown" if not any(sure) else "The estimands disagree"
    )
    return (
        f"{verdict} at week 24: difference of ADAS-Cog(11) change to placebo, points, "
        f"{'; '.join(told)} (posterior means, 95 % equal-tailed credible intervals; below 0 favours the patch)."
    )


def _safety(f: Found) -> str:
    high = _row(f.periods, kind="free", arm="high dose")
    crude = {r["arm"]: f"{r['events']}/{r['patients']}" for r in f.seen.iter_rows(named=True)}
    flagged = f.terms.filter(pl.col("flag"))["term"].to_list()
    stops = ", ".join(f"{f.stops[a]}/{f.patients[a]}" for a in ARMS)
    return (
        f"Both doses harm the skin: a first dermatological event in {', '.join(crude.values())} of placebo, low and "
        f"high dose; the high dose costs {number(-high['mean'], 0)} of the first 168 days free of one (95 % "
        f"equal-tailed credible interval {number(-high['high'], 0)} to {number(-high['low'], 0)}). Terms raised by "
        f"the high dose with probability above 0.95: {', '.join(t.lower() for t in flagged) or 'none'}. Treatment "
        f"was stopped by {stops}."
    )


def _findings(f: Found) -> list[str]:
    week = _row(f.scores, arm="low dose", visit="Week 8")
    all_placebo = _row(f.scores, arm="placebo", visit="all")
    worst, best = f.placebo[0], f.placebo[-1]
    observed = _row(f.again, arm="placebo")
    se = observed["sd"] / observed["n"] ** 0.5
    ratio = f.saved.filter(pl.col("score") == "PROCOVA")["ratio"].to_numpy()
    low = f.after["low dose"]
    told = [
        "The trial's own table is reproduced: ADAS-Cog(11) change at week 24, last value carried forward, "
        + ", ".join(f"{number(r['mean'], 2)} ({number(r['sd'], 2)})" for r in f.again.iter_rows(named=True))
        + f" in {', '.join(str(n) for n in f.again['n'])} patients.",
        "The estimands differ most for the low dose: "
        + " against ".join(_interval(_last(t, "low dose")) for t in (f.policy, f.hypothetical))
        + f" points. Of its patients seen at week 24, {low['after_n']:.0f} had stopped and had changed by "
        f"{number(low['after'], 1)} points, the {low['on_n']:.0f} on treatment by {number(low['on'], 1)}.",
        f"The model's placebo declines too little: {number(worst['predicted'], 2)} points for a typical patient "
        f"without background medication, against {number(observed['mean'], 2)} (SE {number(se, 2)}), "
        f"{number((observed['mean'] - worst['predicted']) / se, 2)} standard errors; with every patient's own "
        f"baseline and medication assumed for all, {number((observed['mean'] - best['predicted']) / se, 2)}.",
        f"Twins on placebo hold {percent(all_placebo['inside_0.8'])} and {percent(all_placebo['inside_0.95'])} of "
        f"scores in their 80 and 95 % intervals; low-dose patients were {number(week['bias'], 1)} (SE "
        f"{number(week['bias_se'], 1)}) points worse at week 8 than their twins.",
        f"PROCOVA's score saves nothing here beside baseline: the variance of an effect changes by factors of "
        f"{number(float(ratio.min()), 3)} to {number(float(ratio.max()), 3)}."
        if ratio.min() > 1
        else f"PROCOVA's score lowers the variance of an effect by {percent(1 - float(ratio.min()), 1)} at most.",
    ]
    predicted = sorted((r for r in f.compared if r["role"] == "predicted"), key=lambda r: not r["missed"])
    if predicted:
        told.append(f"High dose, predicted from placebo and low dose: {'; '.join(map(_predicted, predicted))}.")
    return told


def _predicted(r: dict[str, Any]) -> str:
    show = (lambda x: number(x, 2)) if r["outcome"] == "adas_change" else percent
    missed = "; missed" if r["missed"] else ""
    said = f"{show(r['predicted'])} ({show(r['low'])} to {show(r['high'])})"
    return f"{r['what']} {said}, seen {show(r['observed'])}{missed}"


def _own(f: Found) -> list[Text | Table | Figure]:
    rows = []
    for r in f.again.iter_rows(named=True):
        n, mean, sd = PUBLISHED[r["arm"]]
        own = _row(f.covariance, arm=r["arm"]) if r["arm"] in ACTIVE else {}
        told = {f"own_{k}": own.get(k) for k in ("difference", "se", "low", "high", "p")}
        published = ANCOVA.get(r["arm"])
        rows.append(
            r
            | told
            | {
                "published": f"{n}; {number(mean, 2)} ({number(sd, 2)})",
                "published_difference": f"{number(published[0])} ({number(published[1], 2)})" if published else "–",
            }
        )
    columns = [
        Column("arm", "arm", plain=True),
        Column("n", "n"),
        Column("mean", "mean (SD)", TWO, spread="sd"),
        Column("published", "published n; mean (SD)"),
        Column("own_difference", "difference to placebo (SE)", TWO, spread="own_se"),
        Column("own_low", "95 % confidence interval", TWO, to="own_high"),
        Column("own_p", "P", THREE),
        Column("published_difference", "published difference (SE)"),
    ]
    caption = (
        "Change of ADAS-Cog(11) at week 24, points, efficacy set, last value carried forward; analysis of covariance "
        "with pooled site and baseline, least squares, 95 % confidence intervals. Published: the trial's table "
        "14-3.01, as given in the data's description and in a public replication of its report. Values are carried "
        "forward in this table and where it says so, and nowhere else."
    )
    return [
        Text("The trial's own analysis comes first: whoever cannot reproduce it has read the data wrongly."),
        Table("C1", "own_table", "The trial's primary endpoint, again", caption, columns, rows),
    ]


def _estimands(f: Found) -> list[Text | Table | Figure]:
    rows = []
    for name, t in (("treatment policy", f.policy), ("hypothetical", f.hypothetical)):
        for arm in ACTIVE:
            for visit in VISITS:
                rows.append({"estimand": name, **_row(t, kind="difference", arm=arm, visit=visit)})
    columns = [
        Column("estimand", "estimand", plain=True),
        Column("arm", "arm", plain=True),
        Column("visit", "visit", plain=True),
        Column("n", "n seen"),
        Column("mean", "difference to placebo", TWO, error="mcse", low="low", high="high"),
        Column("below", "P(below 0)", probability, error="below_mcse"),
        Column("reml", "REML (SE)", TWO, spread="reml_se"),
    ]
    told = "; ".join(
        f"{name}: R-hat {number(t['r_hat'].drop_nulls()[0], 3)}, bulk and tail effective sizes "
        f"{number(t['ess_bulk'].drop_nulls()[0], 0)} and {number(t['ess_tail'].drop_nulls()[0], 0)}, "
        f"{number(t['divergences'].drop_nulls()[0], 0)} divergences"
        for name, t in (("treatment policy", f.policy), ("hypothetical", f.hypothetical))
    )
    caption = (
        "Points of ADAS-Cog(11) change, below 0 better for the patch; posterior means ± Monte Carlo standard error, "
        "95 % equal-tailed credible intervals; all randomised, unstructured covariance, baseline by visit, pooled "
        f"site. REML: the same model by restricted maximum likelihood. {told}. The trial's own repeated measures "
        f"(SAS, type UN, efficacy set, without the handling of death below) had {number(REPEATED['low dose'], 2)} "
        f"and {number(REPEATED['high dose'], 2)} at week 24."
    )
    assumed = []
    words = {
        "treatment policy, missing at random": ("policy", "difference"),
        "treatment policy, from those retrieved": ("hypothetical", "from those retrieved"),
        "hypothetical, at random": ("hypothetical", "difference"),
        "hypothetical, at random (imputed)": ("hypothetical", "at random"),
        "copy increments in placebo": ("hypothetical", "copy increments in placebo"),
        "copy placebo": ("hypothetical", "copy placebo"),
        "jump to placebo": ("hypothetical", "jump to placebo"),
    }
    for said, (which, kind) in words.items():
        for arm in ACTIVE:
            assumed.append({"words": said, **_row(getattr(f, which), kind=kind, arm=arm, visit=VISITS[-1])})
    tips = []
    for kind in ("at random", "jump to placebo"):
        for arm in ACTIVE:
            own = f.hypothetical.filter(pl.col("kind") == f"tipping, {kind}", pl.col("arm") == arm)
            start = _row(own, delta=0.0)
            tips.append(
                {
                    "kind": kind,
                    "arm": arm,
                    "start": start["below"],
                    "start_mcse": start["below_mcse"],
                    "at": own["mean"][0],
                }
            )
    counts = "; ".join(f"{name}: {n}" for name, n in f.retrieved.items())
    stops = ", ".join(f"{f.stops[a]} of {f.patients[a]}" for a in ARMS)
    text = (
        f"Treatment was stopped by {stops} (placebo, low, high; by the reason of stopping in ADSL). Treatment policy "
        "uses whatever was measured. Scores of week 24 after treatment are counted by rule, which gives different "
        f"numbers: {counts}. The hypothetical estimand leaves out what was measured more than {GRACE:g} days after "
        "the last patch, at any visit: the visit at which a patient stops is still one on treatment, and one score "
        "of week 24, 19 days after the last patch and not named a retrieval visit, is out. Three patients died; the "
        "score stays what it was while alive. What else is missing is at random given what was seen, unless it says "
        "otherwise."
    )
    reference = (
        "After stopping, the missing course is at random, or follows placebo in one of three ways. Under treatment "
        "policy it may instead be learnt from those retrieved (a regression on arm, baseline and the last value "
        f"before stopping; only {efficacy.RETRIEVED} were retrieved on placebo, so it leans on the other arms). "
        "Reference-based intervals keep the information lost (Rubin's variance)."
    )
    tip_caption = (
        "Probability that the patch is better, ± Monte Carlo standard error, without delta, and the delta in points "
        "that must be added to every value imputed after stopping in that arm, and to none on placebo, for it to "
        "reach 0.975. A dash: on no delta from −8 to 4. No conclusion stands without delta, so none can tip: it is "
        "read the other way, as how much better than imputed those who stopped would have had to be."
    )
    return [
        Text(text),
        Table("C2", "repeated_measures", "Repeated measures under two estimands", caption, columns, rows),
        Figure(
            "means",
            figures.means({"treatment policy": f.policy, "hypothetical": f.hypothetical}, f.twins),
            "Adjusted mean change, points, 95 % equal-tailed credible intervals; dotted, the mean of the placebo "
            "patients' twins, predicted from baseline by published parameters.",
        ),
        Text(reference),
        Table(
            "C3",
            "assumptions",
            "Week 24 under every assumption",
            "Difference to placebo, points, posterior mean ± Monte Carlo standard error, 95 % equal-tailed credible "
            "interval; imputed rows analysed by covariance with baseline and pooled site.",
            [
                Column("words", "assumption", plain=True),
                Column("arm", "arm", plain=True),
                Column("mean", "difference to placebo", TWO, error="mcse", low="low", high="high"),
                Column("below", "P(below 0)", probability, error="below_mcse"),
            ],
            assumed,
        ),
        Figure(
            "differences",
            figures.differences(assumed),
            "The same rows: posterior means with 95 % equal-tailed credible intervals; below 0 favours the patch.",
        ),
        Table(
            "C4",
            "tipping",
            "How much the missing would have to differ",
            tip_caption,
            [
                Column("kind", "imputed", plain=True),
                Column("arm", "arm", plain=True),
                Column("start", "P(benefit) without delta", probability, error="start_mcse"),
                Column("at", "delta for 0.975", TWO),
            ],
            tips,
        ),
        Figure(
            "tipping",
            figures.tipping(f.hypothetical.filter(pl.col("kind").str.starts_with("tipping"))),
            "Probability of benefit by delta; the line is 0.975. Curves of posterior means, no interval; Monte Carlo "
            "standard errors at most "
            f"{number(f.hypothetical.filter(pl.col('kind').str.starts_with('tipping'))['below_mcse'].max(), 3)}.",  # type: ignore[arg-type]
        ),
    ]


def _events(f: Found) -> list[Text | Table | Figure]:
    shown = f.terms.filter(pl.col("p").is_not_null()).sort("p", descending=True)
    rows = [
        r
        | {"term": r["term"].capitalize(), "system": r["system"].capitalize()}
        | {"flagged": "yes" if r["flag"] else "list" if r["flag_fdr"] else ""}
        for r in shown.iter_rows(named=True)
    ]
    n = " / ".join(str(f.patients[a]) for a in ARMS)
    fdr = shown["expected_fdr"].drop_nulls()
    caption = (
        f"Patients with a term emergent on treatment (placebo / low / high: {n} patients), terms of {safety.FEWEST} "
        "patients or more; the model of the high dose against placebo by body system: P(odds ratio > 1) ± Monte "
        "Carlo standard error, and the odds ratio at the posterior mean of its logarithm with a 95 % equal-tailed "
        "credible interval, shrunk towards its body system and towards none. Flag: yes, P > 0.95; list, in the "
        "longest list whose expected false discovery rate is at most 10 % "
        f"({percent(fdr[0], 1) if len(fdr) else 'empty'}). Two chains, R-hat {number(shown['r_hat'][0], 3)}, "
        f"smallest bulk effective size {number(shown['ess_bulk'][0], 0)}."
    )
    general = []
    for r in f.anything.iter_rows(named=True):
        low, high = safety.exact(r["events"], r["of"])
        general.append(r | {"share": r["events"] / r["of"], "low": low, "high": high})
    return [
        Table(
            "C5",
            "any_event",
            "Patients with an adverse event",
            "Emergent on treatment; shares with exact (Clopper-Pearson) 95 % confidence intervals.",
            [
                Column("kind", "kind", plain=True),
                Column("arm", "arm", plain=True),
                Column("events", "patients"),
                Column("of", "of"),
                Column("share", "share", percent, low="low", high="high"),
            ],
            general,
        ),
        Table(
            "C6",
            "terms",
            "Terms by body system",
            caption,
            [
                Column("system", "body system", plain=True),
                Column("term", "term", plain=True),
                *(Column(a, a) for a in ARMS),
                Column("p", "P(raised)", probability, error="mcse"),
                Column("shrunk", "odds ratio", TWO, low="low", high="high"),
                Column("flagged", "flag", plain=True),
            ],
            rows,
        ),
    ]


def _time(f: Found) -> list[Text | Table | Figure]:
    rows = []
    for r in f.seen.iter_rows(named=True):
        share, free = (_row(f.periods, kind=k, arm=r["arm"]) for k in ("share", "free of event"))
        less = _row(f.periods, kind="free", arm=r["arm"]) if r["arm"] in ACTIVE else {}
        rows.append(
            r
            | {f"model_{k}": share[k] for k in ("mean", "low", "high", "mcse")}
            | {f"free_{k}": free[k] for k in ("mean", "low", "high", "mcse")}
            | {f"less_{k}": less.get(k) for k in ("mean", "low", "high", "mcse")}
        )
    ratios = f.periods.filter(pl.col("kind") == "ratio")
    checks = [_row(f.periods, kind="late less early", arm=a) for a in ACTIVE]
    said = "; ".join(
        f"{c['arm']}: log hazard ratio of the later half of events less that of the earlier {_interval(c)}, score "
        f"test of a trend P = {number(c['p'], 2)}"
        for c in checks
    )
    doubt = any(c["doubt"] for c in checks)
    words = (
        f"Proportional hazards were not assumed. {said}. "
        + ("They are in doubt. " if doubt else "Neither speaks against them, which does not prove them. ")
        + "Days free of an event within 168 need no such assumption. Follow-up ends soon after treatment, mostly for "
        "these very events or others: censoring is not blind to the skin, and the shares below are those of people "
        "who would all have stayed."
    )
    return [
        Text(words),
        Table(
            "C7",
            "skin_events",
            "Time to the first dermatological event",
            "Kaplan-Meier with 95 % log-log confidence intervals, pointwise; model: piecewise exponential with a "
            "hazard ratio that changes by period, posterior means ± Monte Carlo standard error, 95 % equal-tailed "
            f"credible intervals (R-hat {number(f.periods['r_hat'][0], 3)}, bulk effective size "
            f"{number(f.periods['ess_bulk'][0], 0)}). Days of the first 168; hazard ratio as one number by partial "
            "likelihood, for comparison.",
            [
                Column("arm", "arm", plain=True),
                Column("events", "events"),
                Column("days", "days at risk", digits(0)),
                Column("median", "median, d", digits(0)),
                Column("share", "share by day 168, Kaplan-Meier", percent, low="low", high="high"),
                Column("model_mean", "the model's", percent, low="model_low", high="model_high"),
                Column("free_mean", "days free of an event", digits(0), low="free_low", high="free_high"),
                Column("less_mean", "less placebo's", digits(1), error="less_mcse", low="less_low", high="less_high"),
                Column("ratio", "one hazard ratio", TWO),
            ],
            rows,
        ),
        Figure(
            "skin",
            figures.skin(f.skin, ratios),
            "Left, Kaplan-Meier with pointwise 95 % log-log confidence bands; right, hazard ratio to placebo by "
            "period, posterior means with 95 % equal-tailed credible intervals, Monte Carlo standard error at most "
            f"{number(ratios['mcse'].max(), 2)}.",  # type: ignore[arg-type]
        ),
    ]


def _virtual(f: Found) -> list[Text | Table | Figure]:
    observed = _row(f.again, arm="placebo")
    se = observed["sd"] / observed["n"] ** 0.5
    ways = [
        r
        | {"medication": "all" if r["medicated"] else "none", "observed": observed["mean"]}
        | {"off": (observed["mean"] - r["predicted"]) / se}
        for r in f.placebo
    ]
    shown = []
    for r in f.compared:
        show = TWO if r["outcome"] == "adas_change" else percent
        error = number(r["mcse"], 2) if r["outcome"] == "adas_change" else percent(r["mcse"], 1)
        told = {"said": f"{show(r['predicted'])} ± {error}", "range": f"{show(r['low'])} to {show(r['high'])}"}
        shown.append(r | told | {"was": f"{show(r['observed'])} ({show(r['se'])})"})
    return [
        Text(
            "The virtual trials of the study, set against the real one. Placebo's course of the score is published "
            "and fitted to nothing here; events, stopping and the effect of the low dose are fitted; of the high "
            "dose nothing is."
        ),
        Table(
            "C8",
            "virtual",
            "Virtual and real trial, arm by arm",
            "Means ± Monte Carlo standard error and equal-tailed 95 % predictive intervals of a trial of the real "
            "size, over draws of the parameters, under the study's estimands; observed with standard error, the "
            "score with the last value carried forward, events until follow-up (of the skin) or treatment (others) "
            "ended; place: the share of the prediction below what was observed, ± Monte Carlo standard error. Rows "
            "outside their interval are marked; its ends are of few draws too, so that a place within two such errors "
            "of 0.025 or 0.975 is undecided. The table of fitted arms has the score from a smooth distribution.",
            [
                Column("what", "outcome", plain=True),
                Column("arm", "arm", plain=True),
                Column("role", "role", plain=True),
                Column("said", "predicted"),
                Column("range", "95 % predictive interval"),
                Column("was", "observed (SE)"),
                Column("place", "place", TWO, error="place_mcse"),
                *(Column(k, k, hidden=True) for k in FIGURES),
            ],
            shown,
        ),
        Table(
            "C9",
            "placebo",
            "The model's placebo against the trial's",
            "Mean change at week 24, points ± Monte Carlo standard error; observed with the last value carried "
            f"forward, {observed['n']} patients, standard error {number(se, 2)}; off: observed less predicted in "
            "standard errors of the observed. Background medication: whether all or none took a cholinesterase "
            "inhibitor or memantine, which the data read here do not tell. Nothing was fitted to it; values carried "
            "forward understate decline, so that the disagreement is no smaller than it looks.",
            [
                Column("way", "prediction", plain=True),
                Column("medication", "background medication", plain=True),
                Column("predicted", "predicted", TWO, error="mcse"),
                Column("observed", "observed", TWO),
                Column("off", "off, SE", TWO),
            ],
            ways,
        ),
    ]


def _twins(f: Found) -> list[Text | Table | Figure]:
    columns = [
        Column("arm", "arm", plain=True),
        Column("visit", "visit", plain=True),
        Column("n", "scores"),
        Column("patients", "patients"),
        Column("bias", "observed less predicted (SE)", TWO, spread="bias_se"),
        *(
            Column(
                f"inside_{level:g}",
                f"in {percent(level)} interval",
                percent,
                low=f"low_{level:g}",
                high=f"high_{level:g}",
            )
            for level in scoring.LEVELS
        ),
        Column("crps", "CRPS", TWO),
        Column("against_no_change", "less that of no change (SE)", TWO, spread="against_no_change_se"),
        Column("against_arm_mean", "less that of the arm's mean (SE)", TWO, spread="against_arm_mean_se"),
    ]
    return [
        Text(
            f"A twin is a patient's predicted course under each arm, {twins.DRAWS} draws of it, given age, sex and "
            "the measured baseline. Placebo's courses use published parameters only, so every one of them is scored "
            f"out of sample; the patch's effect is cross-fitted by site ({twins.FOLDS} folds) for the low dose, and "
            "for the high dose comes from the other two arms. Twins stay on treatment and are set against whatever "
            "was measured at the visit as planned. They were frozen before a score after baseline of the high dose "
            "was read."
        ),
        Table(
            "C10",
            "twins",
            "How good the twins were",
            "Each patient's own arm. Shares inside equal-tailed predictive intervals with exact (Clopper-Pearson) 95 "
            "% confidence limits for as many results as patients; CRPS in points, less is better, so that "
            "differences below 0 favour the twins, with standard errors over patients, of whom one with several "
            "scores counts once. No change: the measured baseline with the published measurement error. The arm's "
            "mean: mean and SD of the change in other sites' patients of that arm.",
            columns,
            f.scores.rows(named=True),
        ),
        Figure(
            "twins",
            figures.twins(f.each),
            "Places of observed scores in the predictions of their patients' twins, uniform (dotted) where "
            "predictions are right; last, observed against predicted mean change at week 24, with the line of "
            "equality. No interval.",
        ),
    ]


def _procova(f: Found) -> list[Text | Table | Figure]:
    rows = [r | {"change": 1 - r["ratio"]} for r in f.saved.iter_rows(named=True)]
    return [
        Text(
            "PROCOVA's score is the twin's expected change on placebo; a score that was fitted to this trial's "
            "placebo patients, each from other sites, stands beside it under its own name. Both come on top of "
            "baseline, which both contain. Analyses are exact (quadrature; restricted maximum likelihood): two "
            "sampled posteriors could not tell variances that differ by a percent."
        ),
        Table(
            "C11",
            "prognostic_scores",
            "What a prognostic score saves",
            "Difference to placebo at week 24, points, with posterior SD (covariance) or standard error (repeated "
            "measures), without and with the score; saved: the share by which the variance falls, negative where it "
            "rises; correlation of score and change on placebo with Fisher's 95 % confidence interval, of which the "
            "square is the expected saving where baseline is not in the model.",
            [
                Column("score", "score", plain=True),
                Column("analysis", "analysis", plain=True),
                Column("arm", "arm", plain=True),
                Column("without", "without (SD)", TWO, spread="without_sd"),
                Column("with", "with (SD)", TWO, spread="with_sd"),
                Column("change", "variance saved", lambda v: percent(v, 1)),
                Column("correlation", "correlation", TWO, low="low", high="high"),
            ],
            rows,
        ),
    ]
