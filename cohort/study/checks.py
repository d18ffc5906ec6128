"""What a study must make sense of beyond its grammar: routes, units, arms, evidence, priors, who can be enrolled.

Works on whatever sections were readable, so that its findings come together with the grammar's.
"""

import difflib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cohort import evidence, units
from cohort.library import ModelError, load
from cohort.model import Model
from cohort.study.protocol import Share, Spread
from cohort.study.source import Place, Source

# What every source of virtual people gives, with its unit; categories have levels instead.
COLUMNS: dict[str, str | tuple[str, ...]] = {
    "sex": ("male", "female"),
    "age": "y",
    "height": "cm",
    "weight": "kg",
    "bmi": "kg/m**2",
}

Found = tuple[Place, str]


def columns(model: Model | None) -> dict[str, str | tuple[str, ...]]:
    """Unit, or levels, of each column a virtual person has: the source's and the model's covariates."""
    covariates = model.covariates.fields() if model else {}
    return COLUMNS | {name: m["levels"] or m["unit"] for name, m in covariates.items() if name not in COLUMNS}


def check(
    sections: Mapping[str, Any], source: Source, path: Path, root: Path
) -> tuple[list[Found], list[tuple[str, int, str, str]]]:
    """Returns problems of the study file, by place, and of its evidence files, as (file, line, key, message)."""
    found: list[Found] = []
    model: Model | None = None
    if "model" in sections:
        try:
            model = load(sections["model"], path.parent)
        except ModelError as e:
            found.append((("model",), str(e)))
    if "population" in sections:
        found += _population(sections["population"], model)
    if "arms" in sections:
        found += _arms(sections["arms"], source, model)
        found += _visits(sections, model)
    found += _endpoints(sections, model)
    found += _parameters(sections, model, path)
    found += _borrowing(sections)
    return found, list(_evidence(sections, source, path, root, found))


def _near(word: str, known: Mapping[str, Any] | list[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else f"write one of {', '.join(known) or 'none'}"


def _population(population: Any, model: Model | None) -> Iterator[Found]:
    known = columns(model)
    given = {"female", "age"} | {c for c in known if c not in COLUMNS}
    for name, distribution in population.covariates.items():
        place: Place = ("population", "covariates", name)
        if model and name not in given:
            yield place, f"neither the source nor the model has it; {_near(name, sorted(given))}"
            continue
        levels_or_unit = ("male", "female") if name == "female" else known.get(name)
        if isinstance(levels_or_unit, tuple) and isinstance(distribution, Spread):
            yield place, f"has the levels {', '.join(levels_or_unit)}; write fraction"
        elif isinstance(levels_or_unit, str) and isinstance(distribution, Share):
            yield place, f"is a quantity in {levels_or_unit}; write mean and sd"
        elif isinstance(levels_or_unit, str) and isinstance(distribution, Spread):
            for key in ("mean", "sd"):
                value = getattr(distribution, key)
                try:
                    number = value.to(levels_or_unit)
                except ValueError:
                    yield (
                        (*place, key),
                        f"'{value}' is not a quantity in {levels_or_unit}; write it in {levels_or_unit}",
                    )
                    continue
                if number <= 0:
                    yield (*place, key), f"'{value}' must be more than 0"
    if model:
        for name in sorted(given - {"female", "age"} - set(population.covariates)):
            unit = known[name] if isinstance(known[name], str) else "yes or no"
            yield ("population", "covariates"), f"the model needs '{name}' ({unit}) and the source lacks it; add it"
    yield from _eligibility(population, known, model)


def _eligibility(population: Any, known: Mapping[str, Any], model: Model | None) -> Iterator[Found]:
    allowed: dict[str, tuple[float, float]] = {}
    level: dict[str, Any] = {}
    for i, criterion in enumerate(population.eligibility):
        place: Place = ("population", "eligibility", i)
        if criterion.column not in known:
            if model:
                yield (
                    place,
                    f"{criterion.column!r} in {criterion.text!r} is no column; {_near(criterion.column, known)}",
                )
            continue
        levels_or_unit = known[criterion.column]
        limit = criterion.bounds[0][1]
        if isinstance(levels_or_unit, tuple):
            if limit not in levels_or_unit:
                yield place, f"'{limit}' is no level of {criterion.column}; write one of {', '.join(levels_or_unit)}"
            elif level.setdefault(criterion.column, limit) != limit:
                yield place, f"no one can meet {criterion.text!r} together with the lines above; keep one level"
            continue
        if isinstance(limit, str):
            yield place, f"{criterion.column} is a quantity in {levels_or_unit}; compare it with a number and its unit"
            continue
        try:
            low, high = criterion.interval(levels_or_unit)
        except ValueError as e:
            yield place, f"{criterion.text!r}: {e}; {criterion.column} is in {levels_or_unit}"
            continue
        before = allowed.get(criterion.column, (low, high))
        low, high = max(low, before[0]), min(high, before[1])
        allowed[criterion.column] = (low, high)
        if low > high:
            yield (
                place,
                f"no one can meet {criterion.text!r} together with the lines above; "
                f"{criterion.column} has no value left",
            )


def _arms(arms: Mapping[str, Any], source: Source, model: Model | None) -> Iterator[Found]:
    named = source.data.get("arms") or {}
    if not named:
        yield ("arms",), "there are no arms; write at least one"
    regimens: dict[tuple, str] = {}
    for name, arm in arms.items():
        if model and arm.route is not None and arm.route not in model.routes:
            yield (
                ("arms", name, "route"),
                f"{arm.route!r} is no route of the model; {_near(arm.route, list(model.routes))}",
            )
        if arm.control is not None and (arm.control not in named or arm.control == name):
            others = [other for other in named if other != name]
            yield ("arms", name, "control"), f"{arm.control!r} is no other arm; {_near(arm.control, others)}"
        if arm.dose is not None:
            regimen = (str(arm.dose), arm.route, str(arm.every), str(arm.duration))
            if regimen in regimens:
                yield ("arms", name), f"is the same as '{regimens[regimen]}'; write each arm once"
            regimens[regimen] = name
    for control in {arm.control for arm in arms.values()} & set(arms):
        if arms[control].control is not None:
            yield ("arms", control, "control"), "is itself a control; leave its own control out"


def _visits(sections: Mapping[str, Any], model: Model | None) -> Iterator[Found]:
    times = [visit.to("d") for visit in sections.get("visits", [])]
    if times and times[0] != 0:
        yield ("visits", 0), "the first visit is the baseline; write 0 wk"
    for i, (a, b) in enumerate(itertools.pairwise(times), 1):
        if b <= a:
            yield ("visits", i), f"'{sections['visits'][i]}' does not come after the visit before; order them in time"
    for name, arm in sections["arms"].items():
        if arm.duration and times and arm.duration.to("d") > times[-1]:
            yield ("arms", name, "for"), f"'{arm.duration}' ends after the last visit; shorten it or add a visit"


def _endpoints(sections: Mapping[str, Any], model: Model | None) -> Iterator[Found]:
    for name, plan in sections.get("endpoints", {}).items():
        if model and plan.kind == "course" and name not in model.endpoints:
            yield (
                ("endpoints", name),
                f"the model has no such endpoint; {_near(name, list(model.endpoints))}, or kind: event",
            )
            continue
        if plan.margin is not None and model and plan.kind == "course":
            unit = model.endpoints[name].unit
            try:
                value = plan.margin.to(unit)
            except ValueError:
                yield ("endpoints", name, "margin"), f"'{plan.margin}' is not a quantity in {unit}; write it in {unit}"
                continue
            if value <= 0:
                yield ("endpoints", name, "margin"), f"'{plan.margin}' must be more than 0"


def _parameters(sections: Mapping[str, Any], model: Model | None, path: Path) -> Iterator[Found]:
    origin, calibration = sections.get("parameters_from"), sections.get("calibration")
    uses = {use.use for use in sections.get("evidence", {}).values()}
    if origin is not None:
        if not (path.parent / f"{origin}.yaml").is_file():
            others = sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != path.stem)
            yield ("parameters_from",), f"there is no study {origin!r} beside this one; {_near(origin, others)}"
        if calibration is not None:
            yield (
                ("calibration",),
                "a study that takes its parameters from another does not calibrate; keep one of the two",
            )
    if calibration is None:
        if "calibration" in uses:
            yield ("evidence",), "there is calibration evidence but no calibration section; add it, or use: validation"
        return
    if "calibration" not in uses:
        yield ("calibration",), "there is no evidence with use: calibration; add it"
    endpoints = sections.get("endpoints", {})
    if calibration.endpoint not in endpoints:
        yield (
            ("calibration", "endpoint"),
            f"{calibration.endpoint!r} is no endpoint; {_near(calibration.endpoint, endpoints)}",
        )
    if model is None:
        return
    known = {n: m["unit"] for n, m in model.parameters.fields().items()}
    known |= {f"{n}.spread": "1" for n in model.effects()}
    known |= {f"{n}.{part}": "1" for n, e in endpoints.items() if e.kind == "event" for part in ("background", "drug")}
    for name, plan in calibration.priors.items():
        place: Place = ("calibration", "priors", name)
        if name not in known:
            yield place, f"neither a parameter of the model nor of an event; {_near(name, known)}"
            continue
        try:
            units.factor(plan.unit, known[name])
        except ValueError:
            yield (*place, "unit"), f"{plan.unit!r} does not measure what {name} does; write {known[name]}"
    for name, plan in endpoints.items():
        given = [p for p in ("background", "drug") if f"{name}.{p}" in calibration.priors]
        if plan.kind == "event" and len(given) == 1:
            yield (
                ("calibration", "priors"),
                f"the event {name} has a prior of its {given[0]} only; give background and drug",
            )


def _borrowing(sections: Mapping[str, Any]) -> Iterator[Found]:
    analysis = sections.get("analysis")
    if analysis and analysis.borrowing and "arms" in sections and analysis.borrowing.arm not in sections["arms"]:
        arm = analysis.borrowing.arm
        yield ("analysis", "borrowing", "arm"), f"{arm!r} is no arm; {_near(arm, sections['arms'])}"


def _evidence(
    sections: Mapping[str, Any], source: Source, path: Path, root: Path, found: list[Found]
) -> Iterator[tuple[str, int, str, str]]:
    """Names only: which arms and outcomes a file is about. Its figures stay closed."""
    arms, endpoints = source.data.get("arms") or {}, source.data.get("endpoints") or {}
    for name, use in sections.get("evidence", {}).items():
        file = root / use.file
        if not file.resolve().is_relative_to(root.resolve()):
            found.append((("evidence", name, "file"), f"'{use.file}' leaves the project; keep evidence below its root"))
            continue
        if not file.is_file():
            found.append(
                (("evidence", name, "file"), f"there is no file '{use.file}'; write a path below the project's root")
            )
            continue
        try:
            rows = evidence.arms(file)
        except evidence.EvidenceError as e:
            found.append((("evidence", name, "file"), str(e)))
            continue
        seen: dict[tuple, int] = {}
        for row in rows:
            for arm in row.arms:
                if arm not in arms:
                    yield str(use.file), row.line, "arm", f"{arm!r} is no arm of {path.name}; {_near(arm, arms)}"
            if row.outcome not in endpoints:
                yield (
                    str(use.file),
                    row.line,
                    "outcome",
                    f"{row.outcome!r} is no endpoint of {path.name}; {_near(row.outcome, endpoints)}",
                )
            key = (row.arms, row.outcome, row.visit)
            if key in seen:
                label = " + ".join(row.arms)
                yield (
                    str(use.file),
                    row.line,
                    "arm",
                    f"{label}, {row.outcome} stands already on line {seen[key]}; keep one",
                )
            seen[key] = row.line
