"""Everything a result rests on that was not measured here, with its source and what the source admits."""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from cohort.library import load
from cohort.report.tables import evidence_notes, model_parameters
from cohort.results import Results
from cohort.study import source_of

# What a text says of itself, by the words it uses.
TAGS = {
    "assumption": ("assum", "chosen"),
    "unverified": ("unverified", "not found", "not checked", "unpublished"),
}
TAGGED = ("assumption", "unverified", "no source")


def tags(text: str) -> list[str]:
    """*assumption* and *unverified* where a source says so, *no source* where there is none."""
    low = text.lower()
    if not low.strip():
        return ["no source"]
    return [tag for tag, words in TAGS.items() if any(word in low for word in words)]


def rows(results: Results) -> list[dict[str, Any]]:
    """Group, name, value, source and tags of each."""
    found = [*_parameters(results), *_study(results), *_evidence(results), *_people(results)]
    return [{**row, "tags": ", ".join(row["tagged"]), "missed": False} for row in found]


def counts(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per group, how many there are, and how many carry each tag."""
    groups: dict[str, dict[str, Any]] = {}
    for row in found:
        own = groups.setdefault(row["group"], {"group": row["group"], "of": 0, **dict.fromkeys(TAGGED, 0)})
        own["of"] += 1
        for tag in row["tagged"]:
            own[tag] += 1
    return list(groups.values())


def references(text: str) -> str:
    """What the numbers in brackets of a model's sources stand for: the references in the opening words of its file."""
    opening = ast.get_docstring(ast.parse(text)) or ""
    _, found, listed = opening.partition("References\n")
    return listed.lstrip("-\n").strip() if found else ""


def _row(group: str, name: str, value: str, source: str, tagged: list[str] | None = None) -> dict[str, Any]:
    return {
        "group": group,
        "name": name,
        "value": value,
        "source": source,
        "tagged": tags(source) if tagged is None else tagged,
    }


def _parameters(results: Results) -> Iterator[dict[str, Any]]:
    """Every parameter of the model, and every correlation, which has no source of its own."""
    study = results.study
    model = load(study.model, study.path.parent)
    learnt = {row["parameter"]: row for row in (results.calibration or {}).get("parameters", [])}
    for p in model_parameters(model, results.calibration):
        unit = "" if p["unit"] == "1" else f" {p['unit']}"
        spread = learnt.get(f"{p['name']}.spread", {"mean": p["spread"]})["mean"]
        varies = "the same in all patients" if p["kind"] == "fixed" else f"{p['kind']} {spread:.3g} between patients"
        own = p["learnt"]
        value = f"{own['mean']:.3g}{unit} (posterior, SD {own['sd']:.2g})" if own else f"{p['value']:.3g}{unit}"
        source = f"calibrated in {results.calibrated.study.name}; in the model: {p['source']}" if own else p["source"]
        yield _row("model parameter", p["name"], f"{value}, {varies}", source, tags(p["source"]))
    for (a, b), r in model.correlations.items():
        yield _row("model correlation", f"{a}, {b}", f"{r:g}", "")


def _study(results: Results) -> Iterator[dict[str, Any]]:
    """Whatever in the study's file has a source; the priors of its calibration; what it calls assumptions."""
    study, owner = results.study, results.calibrated.study
    said = study.model_dump(mode="json", by_alias=True, exclude={"credibility"})
    if owner is not study:
        said["calibration"] = owner.model_dump(mode="json", by_alias=True)["calibration"]
    for path, own in _with_source(said, ()):
        kept = {k: v for k, v in own.items() if k != "source" and isinstance(v, str | int | float) and v is not None}
        value = ", ".join(f"{k} {v}" for k, v in kept.items())
        whose = f"calibration ({owner.name})" if path[0] == "calibration" else path[0]
        yield _row(whose, ".".join(path[1:]) or path[0], value, own["source"])
    for i, text in enumerate(study.assumptions, 1):
        yield _row("stated assumption", str(i), "", text, list(dict.fromkeys(["assumption", *tags(text)])))


def _with_source(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every mapping that has a source, with its place. The source of the people is a name, not a reference."""
    if isinstance(value, dict):
        if isinstance(value.get("source"), str) and path != ("population",):
            yield path, value
        for key, inner in value.items():
            yield from _with_source(inner, (*path, str(key)))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _with_source(inner, (*path, str(i)))


def _evidence(results: Results) -> Iterator[dict[str, Any]]:
    """How each real trial measured and analysed its outcomes."""
    for note in evidence_notes(results.summary):
        for key in ("assay", "analysis_set", "adjustment", "missing_data"):
            wording = "; ".join(note[key])
            tagged = tags(wording) if wording else ["unverified"]
            yield _row("real trial", f"{note['trial']}, {key.replace('_', ' ')}", "", wording or "not stated", tagged)


def _people(results: Results) -> Iterator[dict[str, Any]]:
    """The columns of the source of people: those that the model reads and the study does not set itself, and how many
    of the others say that a figure of theirs was not checked."""
    study = results.study
    model, columns = load(study.model, study.path.parent), source_of(study).chain.columns
    for name, column in columns.items():
        own = "female" if name == "sex" else name
        if name in model.covariates.fields() and own not in study.population.covariates:
            yield _row("people, read by the model", name, "", column.source)
    for name, column in columns.items():
        if name not in model.covariates.fields():
            yield _row("people, other columns", name, "", column.source)
