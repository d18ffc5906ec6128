"""The report: one HTML file that says what was asked, what was run, what agreed and what did not."""

from typing import Any

import jinja2

from cohort.comparison.agreement import unit_of
from cohort.display.style import arm_label
from cohort.engine import CODES
from cohort.library import load
from cohort.mixture import NormalMixture
from cohort.report import tables as contents
from cohort.report.figures.adverse_events import adverse_events
from cohort.report.figures.borrowing import borrowing
from cohort.report.figures.causal import causal
from cohort.report.figures.closure import closure
from cohort.report.figures.conflict import conflict
from cohort.report.figures.coverage import coverage
from cohort.report.figures.dose_response import dose_response, doses_differ
from cohort.report.figures.drift import drift
from cohort.report.figures.examples import examples
from cohort.report.figures.forest import forest
from cohort.report.figures.genotypes import genotypes
from cohort.report.figures.learning import fit_of_arms, learning, ranks
from cohort.report.figures.love import love
from cohort.report.figures.pit import pit
from cohort.report.figures.population import population
from cohort.report.figures.prior_posterior import prior_posterior
from cohort.report.figures.ribbons import ribbons
from cohort.report.figures.sweet_spot import sweet_spot
from cohort.report.figures.time_course import time_course
from cohort.report.figures.tipping import tipping
from cohort.report.tables import Made, made, write
from cohort.report.tables.characteristics import worst
from cohort.report.tables.primary import decision_word, side_by_side
from cohort.report.tables.validation import checks
from cohort.results import Results
from cohort.study import source_of

MOST_VISITS = 60  # of a time course: it reads the endpoint up to each


def figures(results: Results, found: Made | None = None) -> dict[str, str]:
    """The report's figures by name, as SVG text. found: the tables, which are made where they are not given."""
    study, summary = results.study, results.summary
    found = made(results) if found is None else found
    model = load(study.model, study.path.parent)
    continuous = [n for n, e in study.endpoints.items() if e.kind == "course" and not model.endpoints[n].binary]
    drawn = {
        "population": population(study, results.population, contents.units(study, results.population)),
        "ribbons": ribbons(results.population, study.population.source),
        "closure": closure(results.population),
        "genotypes": genotypes(results.population, source_of(study).columns),
        "causal": causal(source_of(study).chain),
    }
    if results.matching:
        drawn["love"] = love(results.matching["rows"])
    for endpoint in continuous[:1]:
        rows = [row for row in summary.get("arms", []) if row["endpoint"] == endpoint]
        unit = model.endpoints[endpoint].unit
        means = [row for row in rows if row["kind"] == "mean"]
        if means and doses_differ(study, [row["arm"] for row in means]):
            drawn["dose_response"] = dose_response(study, rows, endpoint, unit)
        if means:
            fitted = summary.get("discrepancies") or [summary[k] for k in ("discrepancy",) if k in summary]
            own = next((one for one in fitted if one["endpoint"] == endpoint), None)
            drawn["forest"] = forest(means, own, unit)
        seen = {row["arm"]: (row["observed"], row["se"]) for row in means}
        if len(study.visits) <= MOST_VISITS:
            drawn["time_course"] = time_course(study, model, results.visits, endpoint, seen)
    if every := checks(summary, study.analysis.draws):
        drawn["pit"] = pit(every)
        drawn["coverage"] = coverage(found.tables["coverage"].rows)
    if "borrowing" in summary:
        of = {row["endpoint"] for row in summary["arms"] if row["arm"] == summary["borrowing"]["arm"]}
        planned_for = study.comparison.endpoint if study.comparison else ""
        named = planned_for if planned_for in of else min(of, key=list(study.endpoints).index)
        drawn["borrowing"] = borrowing(summary["borrowing"]["rows"], unit_of(study, named))
    if "risk_contrasts" in found.tables:
        drawn["adverse_events"] = adverse_events(list(found.tables["risk_contrasts"].rows))
    calibration = results.calibration
    if calibration and study.calibration is not None and results.posterior is not None:
        drawn["learning"] = learning(results.posterior, calibration["parameters"])
        drawn["fit"] = fit_of_arms(calibration["arms"])
        drawn["ranks"] = ranks(results.posterior, [row["parameter"] for row in calibration["parameters"]])
    return drawn | _of_comparison(results, found)


def _of_comparison(results: Results, found: Made) -> dict[str, str]:
    """What the planned comparison is drawn by: before the outcomes, and after where there are some."""
    comparison = results.summary.get("comparison")
    if not comparison:
        return {}
    unit = comparison["unit"]
    first = comparison["drift"][0]
    allowed = comparison["calibrated"][0]["allowed"]
    drawn = {
        "drift": drift(comparison),
        "sweet_spot": sweet_spot(comparison["sweet_spot"], allowed, unit),
        "examples": examples(comparison["examples"], first["control"] - first["drift"], unit),
    }
    if "methods" in comparison:
        drawn["conflict"] = conflict(comparison)
        drawn["tipping"] = tipping(comparison["tipping"], unit)
        seen = comparison["observed"]
        prior = NormalMixture(**comparison["prior"])
        drawn["prior_posterior"] = prior_posterior(prior, seen["control"], seen["control_se"], unit)
    return drawn


def report(results: Results, drawn: dict[str, str], found: Made | None = None) -> str:
    """The page, as HTML text without scripts, fonts or anything else from elsewhere. `drawn`: as `figures` returns;
    found: the tables, which are made where they are not given."""
    study, summary = results.study, results.summary
    found = made(results) if found is None else found
    model = load(study.model, study.path.parent)
    calibration, own = results.calibration, study.calibration is not None
    audit = [line for line in results.audit.lines() if line["event"] != "report"]
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("cohort.report", "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters |= {"arm": arm_label, "decision": decision_word, **contents.FILTERS}
    page.filters |= {"drawn": jinja2.utils.markupsafe.Markup}
    return page.get_template("page.html").render(
        study=study,
        summary=summary,
        model=model,
        figures={name: jinja2.utils.markupsafe.Markup(figure) for name, figure in drawn.items()},
        tables=found.tables,
        absent=found.absent,
        chapters=results.chapters,
        primary=_primary(summary),
        words=contents.words_of(found.tables),
        calibration=calibration,
        own=own,
        verdicts=contents.verdicts(study, summary),
        criteria=contents.attrition(study, results.attrition),
        failures=contents.failures(results.visits, len(study.visits), CODES),
        parameters=contents.model_parameters(model, calibration),
        evidence_notes=contents.evidence_notes(summary),
        sensitivity=results.sensitivity if own else None,
        outside=int((results.population["age_outside_source"] == "yes").sum()),
        source=source_of(study),
        matching=results.matching,
        record=contents.record(results),
        audit=audit,
    )


def _primary(summary: dict[str, Any]) -> dict[str, Any] | None:
    """The planned comparison in a line: each design's decision, or why there is none; and whether the planned borrowing
    holds its type I error."""
    comparison = summary.get("comparison")
    if not comparison:
        return None
    return {
        "designs": side_by_side(comparison),
        "says": comparison.get("says"),
        "decision": comparison["decision"],
        "worst": worst(comparison),
        "standing": comparison.get("standing"),
        "benefit_risk": comparison.get("benefit_risk"),
    }


__all__ = ["figures", "made", "report", "write"]
