"""The report: one HTML file that says what was asked, what was run, what agreed and what did not."""

from importlib import resources

import jinja2

from cohort.engine import ATOL, CODES, RTOL, WIDTH
from cohort.library import load
from cohort.record import code, digest
from cohort.report import tables
from cohort.report.figures.borrowing import borrowing, row_label
from cohort.report.figures.dose_response import dose_response
from cohort.report.figures.learning import fit_of_arms, learning, ranks
from cohort.report.figures.population import population
from cohort.report.figures.style import arm_label
from cohort.report.figures.time_course import time_course
from cohort.results import Results
from cohort.study import COLUMNS, fingerprint


def report(results: Results) -> str:
    """The page, as HTML text without scripts, fonts or anything else from elsewhere."""
    study, summary = results.study, results.summary
    model = load(study.model, study.path.parent)
    continuous = [n for n, e in study.endpoints.items() if e.kind == "course" and not model.endpoints[n].binary]
    units = {c: u for c, u in COLUMNS.items() if isinstance(u, str)}
    units |= {n: m["unit"] for n, m in model.covariates.fields().items() if not m["levels"]}
    figures: dict[str, str] = {"population": population(study, results.population, units)}
    for endpoint in continuous[:1]:
        rows = [row for row in summary.get("arms", []) if row["endpoint"] == endpoint]
        unit = model.endpoints[endpoint].unit
        if rows:
            figures["dose_response"] = dose_response(study, rows, unit)
        seen = {row["arm"]: (row["observed"], row["se"]) for row in rows if row["kind"] == "mean"}
        figures["time_course"] = time_course(study, model, results.visits, endpoint, seen)
    if "borrowing" in summary:
        figures["borrowing"] = borrowing(summary["borrowing"]["rows"], model.endpoints[continuous[0]].unit)
    calibration = results.calibration
    own = study.calibration is not None
    if calibration and own and results.posterior is not None:
        figures["learning"] = learning(results.posterior, calibration["parameters"])
        figures["fit"] = fit_of_arms(calibration["arms"])
        figures["ranks"] = ranks(results.posterior, [row["parameter"] for row in calibration["parameters"]])
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    page.filters |= {"arm": arm_label, "row_label": row_label, **tables.FILTERS}
    template = page.from_string(resources.files("cohort.report").joinpath("page.html").read_text("utf-8"))
    return template.render(
        study=study,
        summary=summary,
        model=model,
        figures={name: jinja2.utils.markupsafe.Markup(figure) for name, figure in figures.items()},
        calibration=calibration,
        own=own,
        verdicts=tables.verdicts(study, summary),
        criteria=tables.attrition(study, results.attrition),
        people=tables.people(results.population, units),
        failures=tables.failures(results.visits, len(study.visits), CODES),
        parameters=tables.model_parameters(model, calibration),
        outcomes=summary.get("outcomes", []),
        evidence_notes=tables.evidence_notes(summary),
        sensitivity=getattr(results, "sensitivity", None) if own else None,
        record={
            "study": fingerprint(study),
            "model": digest(model.text),
            "engine": f"Tsit5, rtol {RTOL:g}, atol {ATOL:g}, tiles of {WIDTH} patients, float64",
            **code(),
        },
        audit=[line for line in results.audit.lines() if line["event"] != "report"],
    )


__all__ = ["report"]
