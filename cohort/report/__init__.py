"""The report: one HTML file that says what was asked, what was run, what agreed and what did not."""

import jinja2

from cohort.engine import CODES, described
from cohort.library import load
from cohort.record import code, digest
from cohort.report import tables
from cohort.report.figures.borrowing import borrowing, row_label
from cohort.report.figures.causal import causal
from cohort.report.figures.closure import closure
from cohort.report.figures.dose_response import dose_response
from cohort.report.figures.genotypes import genotypes
from cohort.report.figures.learning import fit_of_arms, learning, ranks
from cohort.report.figures.love import love
from cohort.report.figures.population import population
from cohort.report.figures.ribbons import ribbons
from cohort.report.figures.style import arm_label
from cohort.report.figures.time_course import time_course
from cohort.results import Results
from cohort.simulation import numerics
from cohort.study import fingerprint, source_of, unit_of


def figures(results: Results) -> dict[str, str]:
    """The report's figures by name, as SVG text."""
    study, summary = results.study, results.summary
    model = load(study.model, study.path.parent)
    continuous = [n for n, e in study.endpoints.items() if e.kind == "course" and not model.endpoints[n].binary]
    drawn = {
        "population": population(study, results.population, _units(results)),
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
        if rows:
            drawn["dose_response"] = dose_response(study, rows, unit)
        seen = {row["arm"]: (row["observed"], row["se"]) for row in rows if row["kind"] == "mean"}
        drawn["time_course"] = time_course(study, model, results.visits, endpoint, seen)
    if "borrowing" in summary:
        drawn["borrowing"] = borrowing(summary["borrowing"]["rows"], model.endpoints[continuous[0]].unit)
    calibration = results.calibration
    if calibration and study.calibration is not None and results.posterior is not None:
        drawn["learning"] = learning(results.posterior, calibration["parameters"])
        drawn["fit"] = fit_of_arms(calibration["arms"])
        drawn["ranks"] = ranks(results.posterior, [row["parameter"] for row in calibration["parameters"]])
    return drawn


FAMILIES = ("mass_", "volume_", "blood_", "flow_", "kp_")  # of columns, one an organ


def _units(results: Results) -> dict[str, str]:
    """Of each quantity of the people that the study has to do with: size, covariates, criteria; not organ by organ."""
    study, people = results.study, results.population
    model, source = load(study.model, study.path.parent), source_of(study)
    concerned = ["age", "height", "weight", "bmi", *model.covariates.fields(), *study.population.covariates]
    concerned += [criterion.column for criterion in study.population.eligibility]
    shown = [n for n in dict.fromkeys(concerned) if n in people and not n.startswith(FAMILIES)]
    return {name: unit_of(source, model, name) for name in shown if people[name].dtype.is_numeric()}


def report(results: Results, drawn: dict[str, str]) -> str:
    """The page, as HTML text without scripts, fonts or anything else from elsewhere. `drawn`: as `figures` returns."""
    study, summary = results.study, results.summary
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
    page.filters |= {"arm": arm_label, "row_label": row_label, **tables.FILTERS}
    return page.get_template("page.html").render(
        study=study,
        summary=summary,
        model=model,
        figures={name: jinja2.utils.markupsafe.Markup(figure) for name, figure in drawn.items()},
        calibration=calibration,
        own=own,
        verdicts=tables.verdicts(study, summary),
        criteria=tables.attrition(study, results.attrition),
        people=tables.people(results.population, _units(results), list(model.covariates.fields())),
        failures=tables.failures(results.visits, len(study.visits), CODES),
        parameters=tables.model_parameters(model, calibration),
        outcomes=summary.get("outcomes", []),
        evidence_notes=tables.evidence_notes(summary),
        sensitivity=results.sensitivity if own else None,
        outside=int((results.population["age_outside_source"] == "yes").sum()),
        source=source_of(study),
        matching=results.matching,
        record={
            "study": fingerprint(study),
            "model": digest(model.text),
            "engine": described(model, numerics(study)),
            # The code that simulated, which need not be the code that draws the report.
            **next((line["code"] for line in reversed(audit) if line["event"] == "simulated"), code()),
        },
        audit=audit,
    )


__all__ = ["figures", "report"]
