"""T12: adverse events, seen and predicted, with bounds where nothing was seen; drug against placebo; benefit and risk.

References
----------
[1] Clopper, Pearson 1934, Biometrika 26:404: exact interval of a proportion.
"""

from typing import Any

import numpy as np
import scipy

from cohort.comparison import Predictions
from cohort.display.table import Absent, Column, Table, digits, percent, probability
from cohort.mixture import BetaMixture
from cohort.mixture import difference as between
from cohort.report.tables.primary import NOT_PLANNED, decision_word
from cohort.study import Study

LEVEL = 0.95


def group_of(study: Study, arms: list[str]) -> str:
    """Placebo, drug, or both."""
    active = {study.arms[arm].active for arm in arms}
    return "drug" if active == {True} else "placebo" if active == {False} else "placebo and drug"


def exact_interval(events: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Equal-tailed [1]; where no event was seen, or nobody was without one, one-sided at `level`."""
    tail = 1 - level if events in (0, n) else (1 - level) / 2
    low = float(scipy.stats.beta.ppf(tail, events, n - events + 1)) if events else 0.0
    high = float(scipy.stats.beta.ppf(1 - tail, events + 1, n - events)) if events < n else 1.0
    return low, high


def event_rows(study: Study, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The comparison's rows, each with its group, the raw share and its exact interval."""
    rows = []
    for row in summary.get("events", []):
        own = {**row, "group": group_of(study, row["arms"])}
        if row["observed"] is not None and row["n"]:
            low, high = exact_interval(row["observed"], row["n"])
            own |= {"share": row["observed"] / row["n"], "share_low": low, "share_high": high}
        count = f"{row['count_low']} to {row['count_high']}" if row["modelled"] else None
        rows.append(own | {"count": count, "modelled_as": "predicted" if row["modelled"] else "not predicted"})
    return rows


def adverse_events(study: Study, summary: dict[str, Any]) -> Table | Absent:
    """Counts as published and as predicted, by group."""
    title = "Adverse events, seen and predicted"
    rows = event_rows(study, summary)
    if not rows:
        return Absent("T12", title, "the study has no endpoint that counts events")
    caption = (
        "Patients with at least one. Seen: share with its 95 % Clopper–Pearson interval, which is one-sided "
        "where nothing was seen: the upper bound is what can be excluded, and no evidence of absence. Predicted: "
        "mean and 95 % credible interval (equal-tailed) of the risk, and 95 % predictive interval of the count "
        "of so many patients; background and effect come from the calibration's counts, and the effect does not "
        "depend on dose. Place: share of the prediction below the seen count. An event without a model is not "
        "predicted."
    )
    columns = (
        Column("event", "event", lambda name: name.replace("_", " "), plain=True),
        Column("group", "group"),
        Column("n", "n"),
        Column("observed", "seen", lambda value: "no count found" if value is None else str(value)),
        Column("share", "share seen", _percent, low="share_low", high="share_high"),
        Column("modelled_as", "model", hidden=True),
        Column("risk", "predicted risk", _risk, low="risk_low", high="risk_high"),
        Column("count", "predicted count"),
        Column("place", "place", digits(2)),
    )
    return Table("T12", "adverse_events", title, caption, columns, rows)


def _risk(value: float | None) -> str:
    return "not predicted" if value is None else _percent(value)


def _percent(value: float | None) -> str:
    return percent(value, 1)


def contrasts(study: Study, summary: dict[str, Any], predictions: Predictions) -> list[dict[str, Any]]:
    """Per event, drug against placebo: difference and ratio of the risks, as seen (uniform priors on either) and as
    predicted. predictions: those that were frozen."""
    found: list[dict[str, Any]] = []
    rows = event_rows(study, summary)
    for event in dict.fromkeys(row["event"] for row in rows):
        own = {row["group"]: row for row in rows if row["event"] == event and row["observed"] is not None}
        if {"placebo", "drug"} <= set(own):
            drug, placebo = (_uniform(own[group]) for group in ("drug", "placebo"))
            q = [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]
            difference = between.quantile(drug, placebo, q)
            ratio = np.exp(between.quantile(drug, placebo, q, link="log"))
            more = float(between.probability(drug, placebo))
            row = _contrast(event, "seen", difference, ratio, more)
            if not own["drug"]["observed"] + own["placebo"]["observed"]:
                row |= dict.fromkeys(("ratio", "ratio_low", "ratio_high", "more"))  # only the prior would speak
            found.append(row)
        risks = predictions.risks.get(event)
        if risks is not None:
            without, on_drug = risks
            q = [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]
            difference, ratio = np.quantile(on_drug - without, q), np.quantile(on_drug / without, q)
            found.append(_contrast(event, "predicted", difference, ratio, float(np.mean(on_drug > without))))
    return found


def _uniform(row: dict[str, Any]) -> BetaMixture:
    return BetaMixture([1.0], [1.0 + row["observed"]], [1.0 + row["n"] - row["observed"]])


def _contrast(event: str, source: str, difference: Any, ratio: Any, more: float) -> dict[str, Any]:
    low, middle, high = (float(v) for v in difference)
    ratio_low, ratio_middle, ratio_high = (float(v) for v in ratio)
    return {
        "event": event,
        "source": source,
        "difference": middle,
        "difference_low": low,
        "difference_high": high,
        "ratio": ratio_middle,
        "ratio_low": ratio_low,
        "ratio_high": ratio_high,
        "more": more,
    }


def risk_contrasts(rows: list[dict[str, Any]], draws: int) -> Table | Absent:
    """rows: as `contrasts` returns; draws: of the prediction."""
    title = "Adverse events, drug against placebo"
    if not rows:
        return Absent("T12", title, "no event has counts in both groups, and none is predicted")
    caption = (
        "Median and 95 % credible interval, equal-tailed. Seen: each group's risk under a uniform prior, exact; "
        f"the doses are pooled, and nothing is shrunk between so few events. Predicted: {draws} posterior draws."
    )
    columns = (
        Column("event", "event", lambda name: name.replace("_", " "), plain=True),
        Column("source", "from"),
        Column("difference", "risk difference", _percent, low="difference_low", high="difference_high"),
        Column("ratio", "risk ratio", digits(2), low="ratio_low", high="ratio_high"),
        Column("more", "P(more on drug)", probability),
    )
    return Table("T12", "risk_contrasts", title, caption, columns, rows)


def benefit_and_risk(comparison: dict[str, Any] | None) -> Table | Absent:
    """comparison: of the summary. The planned decision on benefit and each criterion of harm, side by side."""
    title = "Benefit and risk side by side"
    found = (comparison or {}).get("benefit_risk")
    if not comparison or not found:
        why = NOT_PLANNED if not comparison else comparison.get("says") or "the plan states no criterion of harm"
        return Absent("T12", title, why)
    planned = next(row for row in comparison["methods"] if row["planned"])
    rows = [{"side": "benefit", **c, "mcse": 0.0, "met_word": _met(c["met"], True)} for c in planned["criteria"]]
    rows += [{"side": "risk", **c, "met_word": _met(c["met"], c["sure"])} for c in found["criteria"]]
    if not found["criteria"]:
        rows.append({"side": "risk", "criterion": found["harm"], "p": None, "met_word": "no conclusion"})
    why = f" ({found['why']})" if found["why"] else ""
    word = {"go": "benefit and no harm", "no go": "not both"}.get(found["says"], found["says"])
    caption = (
        f"With the planned borrowing: {decision_word(planned['decision'])}. Together: {word}{why}. Benefit is "
        "judged on this trial, exactly; a probability of harm without a Monte Carlo standard error is exact as "
        "well. Nobody's preferences weigh one against the other: each has to be met by itself."
    )
    columns = (
        Column("side", ""),
        Column("criterion", "criterion", lambda text: text.replace("_", " "), plain=True),
        Column("p", "probability", probability, error="mcse"),
        Column("met_word", "met"),
    )
    return Table("T12", "benefit_and_risk", title, caption, columns, rows)


def _met(met: bool, sure: bool) -> str:
    return ("yes" if met else "no") if sure else "no conclusion: more draws"
