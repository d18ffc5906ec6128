"""T2: of which data, model, code and seed every number is made, with hashes; and how the evidence was measured."""

from typing import Any

from cohort.display.table import Column, Table
from cohort.engine import described
from cohort.library import load
from cohort.record import code, digest
from cohort.results import Results
from cohort.simulation import numerics
from cohort.study import Study, fingerprint


def record(results: Results) -> dict[str, Any]:
    """Hashes of study and model, the engine, and the code that simulated, which need not be that which reports."""
    study = results.study
    model = load(study.model, study.path.parent)
    lines = reversed(results.audit.lines())
    return {
        "study": fingerprint(study),
        "model": digest(model.text),
        "engine": described(model, numerics(study)),
        **next((line["code"] for line in lines if line["event"] == "simulated"), code()),
    }


def provenance(
    study: Study,
    summary: dict[str, Any],
    made: dict[str, Any],
    audit: list[dict[str, Any]],
    frozen_again: str | None,
) -> Table:
    """made: as `record` returns; frozen_again: hash of the predictions as the trials give them now."""
    rows: list[dict[str, Any]] = []

    def add(item: str, value: Any, detail: Any = "") -> None:
        rows.append({"item": item, "value": "–" if value is None else str(value), "detail": str(detail or "")})

    changed = "changed since that commit" if made.get("changed_since_commit") else ""
    add("Study file", made["study"], "SHA-256 of what results rest on")
    add("Model", made["model"], f"SHA-256 of {study.model}")
    add("Code", made.get("commit"), ", ".join(filter(None, [f"cohort {made.get('cohort')}", changed])))
    add("Locked dependencies", made.get("lock"), "SHA-256 of requirements.lock")
    versions = ", ".join(f"{name} {version}" for name, version in (made.get("versions") or {}).items())
    add("Versions", versions, f"Python {made.get('python')}, {made.get('machine')}")
    add("Engine", made["engine"])
    add("Seed", study.seed, f"{study.analysis.draws} posterior draws")
    calibration = (summary.get("identity") or {}).get("calibration") or {}
    if calibration.get("study"):
        add("Calibration", calibration.get("study_hash"), f"of {calibration['study']}")
        add("Evidence of the calibration", calibration.get("evidence_hash"), "file and SHA-256")
    for name, use in study.evidence.items():
        add(f"Evidence {name}", *_opened(audit, name, str(use.file), use.use))
    for name in study.comparison.discrepancy_from if study.comparison else []:
        add(f"Learnt from {name}", *_opened(audit, name, "", "discrepancy"))
    frozen = [line for line in audit if line["event"] == "predictions frozen"]
    if frozen:
        same = "the trials give the same now" if frozen[-1]["predictions"] == frozen_again else "the trials differ now"
        add("Predictions", frozen[-1]["predictions"], f"frozen {frozen[-1]['time'][:19]} UTC; {same}")
        if frozen[-1].get("plan"):
            add("Comparison plan", frozen[-1]["plan"], "frozen with the predictions")
        if frozen[-1].get("prior"):
            add("Prior of the comparison", frozen[-1]["prior"], "plan, mixture, vague part and cap, frozen likewise")
    standing = summary.get("standing") or {}
    if standing.get("file"):
        committed = f", committed {standing['committed'][:10]}" if standing.get("committed") else ""
        add("Registered predictions", standing.get("file_hash"), f"{standing['file']}: {standing['status']}{committed}")
    caption = "Hashes are SHA-256. The audit trail stands below."
    columns = (Column("item", "", plain=True), Column("value", "value", plain=True), Column("detail", "", plain=True))
    return Table("T2", "provenance", "Data, model and code", caption, columns, rows)


def _opened(audit: list[dict[str, Any]], name: str, file: str, use: str) -> tuple[Any, str]:
    """Hash of a file of outcomes as it was last opened, and when."""
    lines = [a for a in audit if a["event"] == "outcomes opened" and a.get("evidence") == name and a.get("use") == use]
    if not lines:
        return None, f"{file} {use}, not opened".strip()
    return lines[-1].get("sha256"), f"{lines[-1].get('file')}, {use}, opened {lines[-1]['time'][:19]} UTC"


def evidence_notes(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per trial: how its outcomes were measured and analysed, as published, with each distinct wording once."""
    notes: dict[str, dict[str, Any]] = {}
    for row in summary.get("outcomes", []):
        own = notes.setdefault(row["trial"], {"trial": row["trial"], "registry": row["registry"]})
        for key in ("assay", "analysis_set", "adjustment", "missing_data", "source"):
            wordings = own.setdefault(key, [])
            if row[key] and row[key] not in wordings:
                wordings.append(row[key])
    return list(notes.values())
