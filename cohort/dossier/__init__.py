"""The dossier: what speaks for and against relying on a study's model, in the frame of ICH M15, with the credibility
factors of ASME V&V 40 as rows. It gathers evidence and judges nothing.

References
----------
[1] ICH M15, General principles for model-informed drug development, Step 4, 29 January 2026. Sections 2.1 and 2.2: the
    elements of the assessment; appendix 1: its table.
[2] ASME V&V 40-2018, Assessing Credibility of Computational Modeling through Verification and Validation.
[3] FDA 2023, Assessing the Credibility of Computational Modeling and Simulation in Medical Device Submissions.
"""

import re
from typing import Any

import jinja2

from cohort.display.style import arm_label
from cohort.display.table import FILTERS, Column, Table, number, significant
from cohort.dossier import assumptions, failures, trail
from cohort.dossier.factors import Material
from cohort.dossier.factors import rows as factor_rows
from cohort.dossier.tests import DossierError, Room, Tests, read_tests
from cohort.dossier.verification import Verification, verify
from cohort.library import load
from cohort.provenance.manifest import NAME, machine
from cohort.record import code, file_digest
from cohort.report.tables import made as made_tables
from cohort.report.tables import record, verdicts
from cohort.results import Results
from cohort.study import Study, fingerprint
from cohort.study.protocol import RISK

NOT_ASSESSED = "not assessed: the study's file has no section `credibility`"


def assessment(study: Study, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The elements of [1] in their order: element, rating if it has one, and what the study's file says."""
    stated = study.credibility
    rows: list[dict[str, Any]] = [
        {"element": "Question of interest", "says": study.question},
        {"element": "Context of use", "says": study.context_of_use.strip()},
    ]
    if stated is None:
        names = ("Model influence", "Consequence of wrong decision", "Model risk", "Model impact", "Technical criteria")
        rows += [{"element": name, "says": NOT_ASSESSED} for name in names]
    else:
        for name, rated in (
            ("Model influence", stated.influence),
            ("Consequence of wrong decision", stated.consequence),
        ):
            rows.append({"element": name, "rating": rated.level, "says": rated.because})
        how = f"from influence {stated.influence.level} and consequence {stated.consequence.level}, by the table below"
        rows.append({"element": "Model risk", "rating": stated.model_risk, "says": how})
        rows.append({"element": "Model impact", "rating": stated.impact.level, "says": stated.impact.because})
        count = len(stated.goals)
        rows.append(
            {"element": "Technical criteria", "says": f"goals of {count} credibility factors, in their rows below"}
        )
    rows.append({"element": "Appropriateness of the approach", "says": "not stated in the study's file"})
    rows.append({"element": "Evaluation of model outcomes", "says": _outcome(study, summary)})
    rows.append(
        {"element": "Outcome of the assessment", "says": "none is given here: it is for whoever relies on the model"}
    )
    return rows


def _outcome(study: Study, summary: dict[str, Any]) -> str:
    if not summary.get("validation"):
        return "none out of sample: the arms were used to fit" if summary.get("arms") else "no outcome to compare with"
    told = []
    for v in verdicts(study, summary):
        lower = "higher" if v["mean_difference"] > 0 else "lower"
        told.append(
            f"{v['endpoint']}: {len(v['hit'])} of {v['of']} arms inside their 95 % predictive interval, observed means "
            f"on average {number(abs(v['mean_difference']))} {lower} than predicted"
        )
    return "; ".join([*told, f"predictions are {summary['standing']['status']}"])


def _found(value: Any) -> str:
    return f"{value:.3g}".replace("-", "−") if isinstance(value, float) else str(value)


def _exact(value: float | None) -> str:
    return "–" if value is None else "0" if value == 0 else f"{value:.1e}".replace("-", "−")


CHECKS = (
    Column("what", "what", plain=True),
    Column("expected", "expected", plain=True),
    Column("found", "found", _found, plain=True),
    Column("tolerance", "tolerance", _exact),
    Column("passed", "passed", lambda ok: "yes" if ok else "FAILED"),
)
REFINED = (
    Column("arm", "arm", arm_label, plain=True),
    Column("quantity", "quantity", plain=True),
    Column("of", "of", plain=True),
    Column("unit", "unit", lambda u: "–" if u == "1" else u),
    Column("stated", "error as stated", _exact),
    Column("tenth", "tolerances a tenth", _exact),
    Column("allowed", "allowed", _exact),
)
ROOMS = (
    Column("room", "room", plain=True),
    Column("passed", "passed"),
    Column("failed", "failed"),
    Column("skipped", "skipped"),
    Column("known", "compared with what is known from elsewhere", lambda text: text or "–", plain=True),
    Column("failures", "which failed", lambda text: text or "–", plain=True),
)
INPUTS = (
    Column("name", "name", lambda text: re.sub(r"[_.]", " ", text), plain=True),
    Column("value", "value", lambda text: text or "–", plain=True),
    Column("source", "source", lambda text: text or "none", plain=True),
    Column("tags", "says itself", lambda text: text or "–", plain=True),
)
COUNTS = (
    Column("group", "what", plain=True),
    Column("of", "number"),
    *(Column(tag, tag) for tag in assumptions.TAGGED),
)
BOUNDS = (
    Column("arm", "arm", arm_label, plain=True),
    Column("endpoint", "endpoint", plain=True),
    Column("courses", "courses"),
    Column("failed", "failed"),
    Column("mean", "mean of those solved", significant),
    Column("low", "mean at the worst", significant, to="high"),
    Column("difference_low", "difference from control at the worst", significant, to="difference_high"),
    Column("reasons", "reasons", lambda text: text or "–", plain=True),
)
TRAIL = (Column("item", "", plain=True), Column("says", "", plain=True))
SIGNATURES = (
    Column("file", "file", plain=True),
    Column("name", "printed name", lambda text: text or "–", plain=True),
    Column("time", "UTC, signer's clock", lambda text: text or "–", plain=True),
    Column("meaning", "meaning", lambda text: text or "–", plain=True),
    Column("key", "key", lambda text: text or "–", plain=True),
    Column("says", "", plain=True),
)


def _table(name: str, columns: Any, rows: Any) -> Table:
    return Table("T0", name, "", "", columns, rows)


def dossier(results: Results, tests: Tests | None = None, checks: Verification | None = None) -> str:
    """The page, as HTML text without scripts, fonts or anything else from elsewhere. checks: as `verify` returns, made
    now where they are not given. Errors: ResultsError where the study has not been compared yet."""
    study, summary = results.study, results.summary
    checks = verify(results) if checks is None else checks
    made = made_tables(results)
    inputs = assumptions.rows(results)
    passed = [{**row, "missed": not row["passed"]} for row in checks.checks]
    order = trail.rows(results)
    found = factor_rows(Material(results, made, checks, tests, inputs, order))
    limits = made.tables["limits"].rows
    stated = study.credibility
    manifest = results.folder / NAME
    page = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("cohort.dossier", "page"), jinja2.PackageLoader("cohort.report", "page")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters |= {"arm": arm_label, "found": _found, **FILTERS}
    groups = list(dict.fromkeys(row["group"] for row in inputs))
    return page.get_template("dossier.html").render(
        study=study,
        summary=summary,
        assessment=assessment(study, summary),
        risk=RISK,
        stated=stated,
        factors=found,
        checks=checks,
        checked=_table("checks", CHECKS, passed),
        refined=_table("refined", REFINED, checks.refinement),
        tests=tests,
        rooms=_table("rooms", ROOMS, [room.row for room in tests.rooms] if tests else []),
        tables=made.tables,
        absent=made.absent,
        counts=_table("counts", COUNTS, assumptions.counts(inputs)),
        inputs={group: _table(group, INPUTS, [r for r in inputs if r["group"] == group]) for group in groups},
        bounds=_table("bounds", BOUNDS, failures.rows(results)),
        trail=_table("trail", TRAIL, order),
        deviations=[row["says"] for row in limits if row["kind"] == "deviation"],
        limits=[row["says"] for row in limits if row["kind"] == "limitation"],
        signatures=_table("signatures", SIGNATURES, trail.signatures(results.folder)),
        sealed=file_digest(manifest) if manifest.is_file() else None,
        fingerprint=fingerprint(study),
        references=assumptions.references(load(study.model, study.path.parent).text),
        ran=record(results),
        code=code(),
        machine=machine(),
    )


__all__ = [
    "DossierError",
    "Room",
    "Tests",
    "Verification",
    "assessment",
    "dossier",
    "read_tests",
    "verify",
]
