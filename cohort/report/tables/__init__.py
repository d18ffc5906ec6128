"""What the report's tables hold, T1 to T14, one module a group; and their values as CSV."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from cohort.comparison import predict
from cohort.comparison.agreement import unit_of
from cohort.display.table import FILTERS, Absent, Table, number, percent, short, significant
from cohort.engine import CODES
from cohort.library import load
from cohort.report.tables import characteristics, primary, safety, sensitivity, validation
from cohort.report.tables.baseline import attrition, baseline, matched, people
from cohort.report.tables.diagnostics import diagnostics, fits
from cohort.report.tables.limits import failures, limits
from cohort.report.tables.priors import calibration_priors, control_priors, model_parameters
from cohort.report.tables.provenance import evidence_notes, provenance, record
from cohort.report.tables.question import question
from cohort.report.tables.subgroups import subgroups
from cohort.report.tables.validation import verdicts
from cohort.results import Results
from cohort.store import write_text
from cohort.study import Study, source_of
from cohort.study import unit_of as unit_of_column

FAMILIES = ("mass_", "volume_", "blood_", "flow_", "kp_")  # of columns, one an organ


@dataclass(frozen=True)
class Made:
    """`tables`: by name; `absent`: those that do not apply, with the reason."""

    tables: dict[str, Table]
    absent: list[Absent]


def units(study: Study, folk: pl.DataFrame) -> dict[str, str]:
    """Of each quantity of the people that the study has to do with: size, covariates, criteria; not organ by organ."""
    model, source = load(study.model, study.path.parent), source_of(study)
    concerned = ["age", "height", "weight", "bmi", *model.covariates.fields(), *study.population.covariates]
    concerned += [criterion.column for criterion in study.population.eligibility]
    shown = [n for n in dict.fromkeys(concerned) if n in folk and not n.startswith(FAMILIES)]
    return {name: unit_of_column(source, model, name) for name in shown if folk[name].dtype.is_numeric()}


def sources(study: Study, names: list[str]) -> dict[str, str]:
    """Where each variable of the people comes from: the study's word before that of the source of people."""
    columns, found = source_of(study).chain.columns, {}
    for name in names:
        own = "female" if name == "sex" else name
        stated = study.population.covariates.get(own)
        found[name] = stated.source if stated else columns[name].source if name in columns else ""
    return found


def made(results: Results) -> Made:
    """Every table of a study, and why the others are not there."""
    study, summary, audit = results.study, results.summary, results.audit.lines()
    model = load(study.model, study.path.parent)
    predictions = predict(study, results.trial, results.parameters)
    comparison, calibration = summary.get("comparison"), results.calibration
    own, validated = study.calibration is not None, bool(summary.get("validation"))
    frozen = [line["predictions"] for line in audit if line["event"] == "predictions frozen"]
    code = record(results)
    folk = results.population
    shown = people(folk, units(study, folk), list(model.covariates.fields()))
    agreed = validation.agreed(summary)
    endpoints = dict.fromkeys(unit_of(study, row["endpoint"]) for row in agreed)
    unit = ", ".join("percentage points" if u == "percent" else u for u in endpoints) or "–"
    owner = results.calibrated.study
    fitted = fits(calibration, owner.name, summary.get("diagnostics"))
    tables: list[Table | Absent] = [
        question(study),
        provenance(study, summary, code, audit, predictions.hash()),
        calibration_priors(owner, model, calibration),
        control_priors(comparison),
        baseline(shown, sources(study, [row["name"] for row in shown]), folk.height),
        matched(results.matching),
        validation.validation(agreed, "mean", validated=validated, unit=unit),
        validation.validation(agreed, "effect", validated=validated, unit=unit),
        *validation.fitted_beside(summary, unit),
        validation.coverage(validation.checks(summary, study.analysis.draws), validated=validated),
        primary.primary(comparison),
        primary.borrowed_control(comparison),
        primary.borrowed_arm(summary.get("borrowing")),
        sensitivity.primary_sensitivity(comparison),
        sensitivity.calibration_sensitivity(results.sensitivity if own else None, owner.name, calibration is not None),
        sensitivity.power_scaling(summary.get("diagnostics")),
        sensitivity.estimands(study),
        subgroups(study),
        characteristics.operating(comparison),
        characteristics.calibrated(comparison),
        characteristics.assurance(comparison),
        safety.adverse_events(study, summary),
        safety.risk_contrasts(safety.contrasts(study, summary, predictions), study.analysis.draws),
        safety.benefit_and_risk(comparison),
        diagnostics(fitted),
        limits(
            study,
            summary,
            failures(results.visits, len(study.visits), CODES),
            fitted,
            calibration=calibration,
            own=own,
            outside=int((folk["age_outside_source"] == "yes").sum()),
            warnings=results.matching["warnings"] if results.matching else [],
            same=not frozen or frozen[-1] == predictions.hash(),
            changed=bool(code.get("changed_since_commit")),
        ),
    ]
    return Made(
        {t.name: t for t in tables if isinstance(t, Table)},
        [t for t in tables if isinstance(t, Absent)],
    )


def tables_of(results: Results) -> dict[str, Table]:
    """Every table that applies to a study, by name."""
    return made(results).tables


def write(results: Results, tables: Mapping[str, Table]) -> list[str]:
    """Each as CSV below the study's results, in the folder `tables`; those of an earlier report that do not apply any
    more are removed. Returns their names."""
    folder = results.folder / "tables"
    for table in tables.values():
        write_text(folder / table.file, table.csv())
    names = {table.file for table in tables.values()}
    for old in folder.glob("T[0-9][0-9]_*.csv"):
        if old.name not in names:
            old.unlink()
    return sorted(names)


def words_of(tables: Mapping[str, Table]) -> dict[str, list[dict[str, Any]]]:
    """The arms by the verdict of T5, in the order equivalent, different, undecided."""
    rows = tables["validation_arms"].rows if "validation_arms" in tables else ()
    found: dict[str, list[dict[str, Any]]] = {"equivalent": [], "different": [], "undecided": []}
    for row in rows:
        found.setdefault(row["says"], []).append(row)
    return found


__all__ = [
    "FILTERS",
    "Made",
    "attrition",
    "evidence_notes",
    "failures",
    "made",
    "model_parameters",
    "number",
    "people",
    "percent",
    "record",
    "short",
    "significant",
    "tables_of",
    "units",
    "verdicts",
    "words_of",
    "write",
]
