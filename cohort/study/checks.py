"""What a study must make sense of beyond its grammar: routes, units, arms, evidence, priors, who can be enrolled.

Works on whatever sections were readable, so that its findings come together with the grammar's.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cohort import evidence, units
from cohort.bounded import BoundError, Place, Source, inside
from cohort.library import ModelError, load
from cohort.model import Model
from cohort.population.baseline import MatchingError, read_targets
from cohort.population.causal import Column
from cohort.study import comparison, conduct
from cohort.study.grammar import Criterion, Prior, criterion, near
from cohort.study.people import people_of
from cohort.study.protocol import Share, Spread, is_mass, set_by_all, setting_text
from cohort.units import Quantity

# Between what a person lies, in the units above; a model's own `plausible` may be narrower.
LIVING = {"age": (0.0, 120.0), "height": (50.0, 250.0), "weight": (2.0, 500.0), "bmi": (8.0, 150.0)}

MOST_DOSES = 100_000  # of a regimen: one every quarter of an hour for three years
LONGEST = 200 * 365.25  # d, of a trial

Found = tuple[Place, str]


def columns(people: Mapping[str, Column], model: Model | None) -> dict[str, str | tuple[str, ...]]:
    """Unit, or levels, of each column a virtual person has: the source's and the model's covariates."""
    covariates = model.covariates.fields() if model else {}
    return {n: c.levels or c.unit for n, c in people.items()} | {
        name: m["levels"] or m["unit"] for name, m in covariates.items() if name not in people
    }


# Nothing beside a source: whose columns are known when what stands beside it is wrong.
BARE = {"source": "us", "conditions": [], "compound": None, "people": None, "abundances": None}

# What a trial may say of its own people beside sex and age: no other column follows from it by an identity.
REPLACEABLE = {"haematocrit", "albumin", "aag"}


def check(
    sections: Mapping[str, Any], source: Source, path: Path, root: Path
) -> tuple[list[Found], list[tuple[str, int, str, str]]]:
    """Returns problems of the study file, by place, and of its evidence files, as (file, line, key, message)."""
    found: list[Found] = []
    model: Model | None = None
    if "model" in sections:
        try:
            model = load(sections["model"], path.parent, within=(root, path.parent))
        except ModelError as e:
            found.append((("model",), str(e)))
    if "population" in sections:
        people: Mapping[str, Column] = {}
        try:
            people = people_of(sections["population"], root).columns
        except ValueError as e:
            found += [(("population",), line) for line in str(e).splitlines()]
            people = people_of(sections["population"].model_copy(update=BARE), root).columns
        if model:
            found += _covariates(model, people)
        found += _population(sections["population"], people, model, set_by_all(sections.get("arms", {})))
        found += _match(sections["population"], people, root)
        found += _conditions(sections["population"])
    if "arms" in sections:
        found += _arms(sections["arms"], source, model)
        found += _visits(sections)
        found += _enough(sections)
    found += _endpoints(sections, model)
    found += _parameters(sections, model, path)
    found += _discrepancies(sections, model)
    found += _borrowing(sections)
    found += conduct.check(sections, model, root)
    found += comparison.check(sections, model, path)
    return found, list(_evidence(sections, source, path, root, model, found))


def _measures(found: str, wanted: str) -> bool:
    """Whether what is in one unit can be written in the other."""
    try:
        units.factor(found, wanted)
    except ValueError:
        return False
    return True


def _covariates(model: Model, people: Mapping[str, Column]) -> Iterator[Found]:
    """Covariates of the model that people have otherwise."""
    for name, meta in model.covariates.fields().items():
        if (column := people.get(name)) is None:
            continue
        if (meta["levels"] or ()) != column.levels:
            levels = f"the levels {', '.join(column.levels)}" if column.levels else f"the unit {column.unit}"
            yield ("model",), f"its covariate {name} has other levels than people have; {levels}: declare it so"
        elif not column.levels and meta["unit"] != column.unit:
            unit = meta["unit"]
            yield ("model",), f"its covariate {name} is in {unit}, but people come in {column.unit}; declare it so"


def _plausible(name: str, model: Model | None) -> tuple[float, float]:
    """Between which values a column lies, in its unit."""
    low, high = LIVING.get(name, (-math.inf, math.inf))
    own = (model.covariates.fields().get(name, {}) if model else {}).get("plausible", (-math.inf, math.inf))
    return max(low, own[0]), min(high, own[1])


def _population(
    population: Any, people: Mapping[str, Column], model: Model | None, assigned: frozenset[str]
) -> Iterator[Found]:
    """assigned: the covariates that every arm sets; where the population has them too, they are people's own."""
    known = columns(people, model)
    own = {c for c in known if c not in people}
    given = {"female", "age"} | own | REPLACEABLE | {n for n, c in people.items() if c.levels == ("no", "yes")}
    for name, distribution in population.covariates.items():
        place: Place = ("population", "covariates", name)
        if model and name not in given:
            if name in people:
                yield place, "hangs together with other columns of the source; match it, or write it as a criterion"
            else:
                yield place, f"neither the source nor the model has it; {near(name, sorted(given))}"
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
                low, high = _plausible(name, model)
                if number <= 0:
                    yield (*place, key), f"'{value}' must be more than 0"
                elif key == "mean" and not low <= number <= high:
                    within = f"{low:g} to {high:g} {levels_or_unit}"
                    yield (*place, key), f"'{value}' is no plausible mean; write one within {within}"
    if model:
        for name in sorted(own - set(population.covariates) - assigned):
            unit = known[name] if isinstance(known[name], str) else "yes or no"
            yield ("population", "covariates"), f"the model needs '{name}' ({unit}) and the source lacks it; add it"
    known = {n: u for n, u in known.items() if n in people or n in population.covariates or n not in assigned}
    yield from (
        (("population", "eligibility", i), message)
        for i, message in _eligibility(population.eligibility, known, model, model is not None)
    )


def _match(population: Any, people: Mapping[str, Column], root: Path) -> Iterator[Found]:
    if population.match is None:
        return
    place: Place = ("population", "match", "table")
    try:
        file = inside(population.match.table, root)
    except BoundError as e:
        yield place, str(e)
        return
    if not file.is_file():
        yield place, f"there is no file '{population.match.table}'; write a path below the project's root"
        return
    try:
        read_targets(file, people, population.eligibility)
    except MatchingError as e:
        yield from ((place, line) for line in str(e).splitlines())


def _pregnancy(condition: str) -> bool:
    return condition.partition("=")[0].strip() == "pregnancy"


def _women_alone(criteria: Sequence[Criterion]) -> bool:
    return any(c.column == "sex" and c.bounds[0][1] == "female" for c in criteria)


def _conditions(population: Any) -> Iterator[Found]:
    """Pregnancy where men are drawn, old age where the trial's own ages are."""
    women = getattr(population.covariates.get("female"), "fraction", None) == 1
    for i, condition in enumerate(population.conditions):
        place: Place = ("population", "conditions", i)
        if _pregnancy(condition) and not (women or _women_alone(population.eligibility)):
            yield place, "men are drawn as well; add the criterion sex == female, or female: {fraction: 1, ...}"
        if condition.partition("=")[0].strip() == "elderly" and "age" in population.covariates:
            yield place, "the covariates say it otherwise; keep one of the two"


class CriterionError(ValueError):
    """Criteria that cannot be read, or that nobody can meet; the message holds every reason."""


def criteria_of(texts: Sequence[str], people: Mapping[str, Column], conditions: Sequence[str] = ()) -> list[Criterion]:
    """Criteria on columns of people who have these conditions, outside a study. Errors: CriterionError."""
    read, wrong = [], []
    for text in texts:
        try:
            read.append(criterion(text))
        except ValueError as e:
            wrong.append(str(e))
    wrong += [message for _, message in _eligibility(read, columns(people, None), None, True)]
    if not _women_alone(read):
        wrong += [f"{c!r}: men are drawn as well; add the criterion sex == female" for c in conditions if _pregnancy(c)]
    if wrong:
        raise CriterionError("\n".join(wrong))
    return read


def _eligibility(
    criteria: Sequence[Criterion], known: Mapping[str, Any], model: Model | None, whole: bool
) -> Iterator[tuple[int, str]]:
    """What is wrong with each criterion, by its place. whole: whether `known` has every column there is."""
    allowed: dict[str, tuple[float, float]] = {}
    level: dict[str, Any] = {}
    for i, one in enumerate(criteria):
        if one.column not in known:
            if whole:
                yield i, f"{one.column!r} in {one.text!r} is no column; {near(one.column, known)}"
            continue
        levels_or_unit = known[one.column]
        limit = one.bounds[0][1]
        if isinstance(levels_or_unit, tuple):
            if limit not in levels_or_unit:
                yield i, f"'{limit}' is no level of {one.column}; write one of {', '.join(levels_or_unit)}"
            elif level.setdefault(one.column, limit) != limit:
                yield i, f"no one can meet {one.text!r} together with the lines above; keep one level"
            continue
        if isinstance(limit, str):
            yield i, f"{one.column} is a quantity in {levels_or_unit}; compare it with a number and its unit"
            continue
        try:
            low, high = one.interval(levels_or_unit)
        except ValueError as e:
            yield i, f"{one.text!r}: {e}; {one.column} is in {levels_or_unit}"
            continue
        least, most = _plausible(one.column, model)
        if low <= high and (low > most or high < least):
            within = f"{least:g} to {most:g} {levels_or_unit}"
            yield i, f"no one can meet {one.text!r}; write a limit on {one.column} within {within}"
            continue
        before = allowed.get(one.column, (least, most))
        low, high = max(low, before[0]), min(high, before[1])
        allowed[one.column] = (low, high)
        if low > high:
            yield (
                i,
                f"no one can meet {one.text!r} together with the lines above; {one.column} has no value left",
            )


def _named(source: Source, section: str) -> dict[str, Any]:
    """The entries of a section, also of those that are wrong in themselves."""
    found = source.data.get(section)
    return found if isinstance(found, dict) else {}


def _arms(arms: Mapping[str, Any], source: Source, model: Model | None) -> Iterator[Found]:
    named = _named(source, "arms")
    if not named:
        yield ("arms",), "there are no arms; write at least one"
    regimens: dict[str, str] = {}
    for name, arm in arms.items():
        if model:
            yield from _routes(name, arm, model)
        if arm.control is not None and (arm.control not in named or arm.control == name):
            others = [other for other in named if other != name]
            yield ("arms", name, "control"), f"{arm.control!r} is no other arm; {near(arm.control, others)}"
        if arm.n < 2:
            yield ("arms", name, "n"), f"{arm.n} patient has no standard deviation; write at least 2"
        for place, regimen in _regimens(name, arm):
            doses = regimen.duration.to("d") / regimen.every.to("d")
            if doses > MOST_DOSES:
                yield (*place, "every"), f"'{regimen.every}' makes {doses:.3g} doses; write at most {MOST_DOSES:,}"
            if regimen.every.to("d") > regimen.duration.to("d"):
                yield (
                    (*place, "every"),
                    f"'{regimen.every}' is longer than for, '{regimen.duration}'; "
                    "for a single dose write the same time twice",
                )
        if arm.active or arm.sets:
            regimen = str(arm.treatment)
            if regimen in regimens:
                yield ("arms", name), f"is the same as '{regimens[regimen]}'; write each arm once"
            regimens[regimen] = name
    for control in {arm.control for arm in arms.values()} & set(arms):
        if arms[control].control is not None:
            yield ("arms", control, "control"), "is itself a control; leave its own control out"


def _regimens(name: str, arm: Any) -> Iterator[tuple[Place, Any]]:
    """Where each regimen of an arm stands, and it."""
    for k, regimen in enumerate(arm.regimens):
        yield ("arms", name) if k == 0 else ("arms", name, "also", k - 1), regimen


def _routes(name: str, arm: Any, model: Model) -> Iterator[Found]:
    """Routes, rules and covariates that the model does not have."""
    yield from (((*("arms", name, "sets"), key), message) for key, message in _settings(arm, model))
    known = list(model.routes)
    for place, regimen in _regimens(name, arm):
        if regimen.route not in known:
            yield (*place, "route"), f"{regimen.route!r} is no route of the model; {near(regimen.route, known)}"
            continue
        route, dose = model.routes[regimen.route], regimen.dose
        unit = model.state.fields()[route.state]["unit"]
        if (route.molar_mass is None or not is_mass(dose)) and not _measures(dose.unit, unit):
            masses = route.molar_mass is not None or _measures("mg", unit)
            said = "is not a mass" if masses else f"does not measure {route.state}, which {regimen.route} enters"
            units_of = f"one of {', '.join(units.DIMENSIONS['mass'][1])}" if masses else unit
            yield (*place, "dose"), f"'{dose}' {said}; write a number and {units_of}"
    if arm.adherence and not arm.regimens:
        yield ("arms", name, "adherence"), "the arm has no doses to take; leave it out"
    for k, route in enumerate((arm.adherence.routes or []) if arm.adherence else []):
        if route not in {regimen.route for regimen in arm.regimens}:
            used = sorted({regimen.route for regimen in arm.regimens})
            yield ("arms", name, "adherence", "routes", k), f"the arm has no doses by {route!r}; {near(route, used)}"
    if arm.rule and arm.rule.name not in model.rules:
        rules = list(model.rules)
        advice = near(arm.rule.name, rules) if rules else "the model has none; add rules={...} to its Model"
        yield ("arms", name, "rule", "name"), f"{arm.rule.name!r} is no rule of the model; {advice}"


def _settings(arm: Any, model: Model) -> Iterator[tuple[str, str]]:
    """What an arm sets that is no covariate of the model, or is not what that covariate holds."""
    covariates = model.covariates.fields()
    for name, value in arm.sets.items():
        if name not in covariates:
            have = near(name, list(covariates)) if covariates else "it has none"
            yield name, f"{name!r} is no covariate of the model; {have}"
            continue
        levels, unit, said = covariates[name]["levels"], covariates[name]["unit"], setting_text(value)
        if levels:
            if said not in levels:
                yield name, f"'{said}' is no level of {name}; write one of {', '.join(levels)}"
        elif not isinstance(value, Quantity) or not _measures(value.unit, unit):
            plain = "a plain number; write such as 2"
            yield name, f"'{said}' is not {plain if unit == '1' else f'a quantity in {unit}; write such as 2 {unit}'}"
        else:
            low, high = _plausible(name, model)
            if not low <= value.to(unit) <= high:
                yield name, f"'{said}' is not plausible; write one within {low:g} to {high:g} {unit}"


def _visits(sections: Mapping[str, Any]) -> Iterator[Found]:
    times = [visit.to("d") for visit in sections.get("visits", [])]
    if times and times[-1] > LONGEST:
        yield ("visits", len(times) - 1), f"'{sections['visits'][-1]}' is longer than anybody lives; write less"
    if times and times[0] != 0:
        yield ("visits", 0), "the first visit is the baseline; write 0 wk"
    for i, (a, b) in enumerate(itertools.pairwise(times), 1):
        if b <= a:
            yield ("visits", i), f"'{sections['visits'][i]}' does not come after the visit before; order them in time"
    for name, arm in sections["arms"].items():
        for k, time in enumerate((arm.rule.at or []) if arm.rule and times else []):
            if time.to("d") > times[-1] * (1 + 1e-9):
                yield ("arms", name, "rule", "at", k), f"'{time}' is after the last visit; leave it out, or add a visit"
        first = (arm.rule.start or arm.rule.every).to("d") if arm.rule and arm.rule.every else 0.0
        if times and first > times[-1]:
            yield (
                ("arms", name, "rule"),
                "first decides after the last visit; start it earlier, or add a visit",
            )
        for place, regimen in _regimens(name, arm):
            end = regimen.duration.to("d") + (regimen.start.to("d") if regimen.start else 0.0)
            if times and end > times[-1] * (1 + 1e-9):
                begun = f", from '{regimen.start}' on," if regimen.start else ""
                yield (
                    (*place, "for"),
                    f"'{regimen.duration}'{begun} ends after the last visit; shorten it or add a visit",
                )


def _enough(sections: Mapping[str, Any]) -> Iterator[Found]:
    planned = sum(arm.n for arm in sections["arms"].values())
    if "population" in sections and sections["population"].size < planned:
        size = sections["population"].size
        yield ("population", "size"), f"the arms plan {planned} patients, the population has {size}; raise it"


def _endpoints(sections: Mapping[str, Any], model: Model | None) -> Iterator[Found]:
    for name, plan in sections.get("endpoints", {}).items():
        if model and plan.kind == "course" and name not in model.endpoints:
            yield (
                ("endpoints", name),
                f"the model has no such endpoint; {near(name, list(model.endpoints))}, or kind: event",
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


def _continuous(name: str, plan: Any, model: Model | None) -> bool:
    """Whether an endpoint is measured, not counted; a model that could not be read says nothing against it."""
    return plan.kind == "course" and not (model and name in model.endpoints and model.endpoints[name].binary)


def _calibrates(path: Path) -> bool:
    return comparison.said(path).get("calibration") is not None


def _parameters(sections: Mapping[str, Any], model: Model | None, path: Path) -> Iterator[Found]:
    origin, calibration = sections.get("parameters_from"), sections.get("calibration")
    uses = {use.use for use in sections.get("evidence", {}).values()}
    if origin is not None:
        others = sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != path.stem and _calibrates(p))
        if origin == path.stem:
            yield ("parameters_from",), f"is this study itself; {near(origin, others)}"
        elif not (path.parent / f"{origin}.yaml").is_file():
            yield ("parameters_from",), f"there is no study {origin!r} beside this one; {near(origin, others)}"
        elif origin not in others:
            yield ("parameters_from",), f"the study {origin!r} has no calibration section; {near(origin, others)}"
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
            f"{calibration.endpoint!r} is no endpoint; {near(calibration.endpoint, endpoints)}",
        )
    elif not _continuous(calibration.endpoint, endpoints[calibration.endpoint], model):
        measured = [n for n, e in endpoints.items() if _continuous(n, e, model)]
        yield (
            ("calibration", "endpoint"),
            f"{calibration.endpoint!r} counts subjects; write one that is measured: {', '.join(measured) or 'none'}",
        )
    if visits := sections.get("visits"):
        first, second = (visit.to("d") for visit in visits[:2])
        if 0 < second - first < calibration.step.to("d") - 1e-9:
            longest = f"{second - first:g} d between the first two visits"
            yield ("calibration", "step"), f"'{calibration.step}' is longer than the {longest}; write less"
    made, analysis = calibration.chains * calibration.draws, sections.get("analysis")
    if analysis and analysis.draws > made:
        yield (
            ("analysis", "draws"),
            f"{analysis.draws} are more than the {made} that the calibration makes (chains times draws); write fewer",
        )
    if model is not None:
        yield from _priors(calibration, endpoints, model)


def _priors(calibration: Any, endpoints: Mapping[str, Any], model: Model) -> Iterator[Found]:
    errors = (part for m in model.outputs.fields().values() for part in vars(m["error"]).values())
    deviations = {f"{n}.spread" for n in model.effects()} | {part for part in errors if isinstance(part, str)}
    positive = {n for n, m in model.parameters.fields().items() if m["kind"] == "lognormal"}
    known = {n: m["unit"] for n, m in model.parameters.fields().items()}
    known |= {f"{n}.spread": "1" for n in model.effects()}
    known |= {f"{n}.{part}": "1" for n, e in endpoints.items() if e.kind == "event" for part in ("background", "drug")}
    for name, plan in calibration.priors.items():
        place: Place = ("calibration", "priors", name)
        if name not in known:
            yield place, f"neither a parameter of the model nor of an event; {near(name, known)}"
            continue
        if not _measures(plan.unit, known[name]):
            yield (*place, "unit"), f"{plan.unit!r} does not measure what {name} does; write {known[name]}"
    for name, plan in endpoints.items():
        given = [p for p in ("background", "drug") if f"{name}.{p}" in calibration.priors]
        if plan.kind == "event" and len(given) == 1:
            yield (
                ("calibration", "priors"),
                f"the event {name} has a prior of its {given[0]} only; give background and drug",
            )
    written: list[tuple[Place, str, Prior]] = [
        (("calibration", "priors", name, "prior"), name, plan.prior) for name, plan in calibration.priors.items()
    ]
    others: Place = ("calibration", "sensitivity", "priors")
    for name, tried in calibration.sensitivity.priors.items():
        if name not in calibration.priors:
            yield (*others, name), f"is not among the priors above; {near(name, calibration.priors)}"
        written += [((*others, name, i), name, prior) for i, prior in enumerate(tried)]
    for place, name, prior in written:
        if name in positive and prior.kind != "lognormal":
            yield place, f"{name} is log-normal, '{prior}' is not; write lognormal(median, sd of log)"
        elif name in deviations and prior.kind == "normal":
            can = "halfnormal(scale) or lognormal(median, sd of log)"
            yield place, f"'{prior}' lets a standard deviation be negative; write {can}"
    group = calibration.sensitivity.per_group
    if group is not None and group not in calibration.priors:
        message = f"{group!r} is not among the priors above; {near(group, calibration.priors)}"
        yield ("calibration", "sensitivity", "per_group"), message
    elif group is not None and calibration.endpoint in model.endpoints:
        unit, own = model.endpoints[calibration.endpoint].unit, calibration.priors[group].unit
        if not _measures(own, unit):
            message = f"{group} is in {own}, {calibration.endpoint} in {unit}; name a parameter that shifts it"
            yield ("calibration", "sensitivity", "per_group"), message


def _discrepancies(sections: Mapping[str, Any], model: Model | None) -> Iterator[Found]:
    plans, analysis = sections.get("endpoints", {}), sections.get("analysis")
    if model is None or analysis is None:
        return
    wanted = {model.endpoints[n].unit for n, e in plans.items() if n in model.endpoints and _continuous(n, e, model)}
    for key in ("discrepancy", "arm_discrepancy"):
        value = getattr(analysis, key)
        if wanted and not any(_measures(value.unit, unit) for unit in wanted):
            yield ("analysis", key), f"'{value}' measures no endpoint; write it in {' or '.join(sorted(wanted))}"
        elif others := sorted(unit for unit in wanted if not _measures(value.unit, unit)):
            yield (
                ("analysis", key),
                f"'{value}' does not measure the endpoints in {', '.join(others)}; keep endpoints of one kind of unit",
            )


def _borrowing(sections: Mapping[str, Any]) -> Iterator[Found]:
    analysis = sections.get("analysis")
    if analysis and analysis.borrowing and "arms" in sections and analysis.borrowing.arm not in sections["arms"]:
        arm = analysis.borrowing.arm
        yield ("analysis", "borrowing", "arm"), f"{arm!r} is no arm; {near(arm, sections['arms'])}"


def _evidence(
    sections: Mapping[str, Any], source: Source, path: Path, root: Path, model: Model | None, found: list[Found]
) -> Iterator[tuple[str, int, str, str]]:
    """Names only: trial, arms, outcome, visit and unit of each line. Its figures stay closed."""
    arms, endpoints = _named(source, "arms"), _named(source, "endpoints")
    files: dict[Path, str] = {}
    seen: dict[tuple[str, str], tuple[Path, int]] = {}  # (arm, outcome) to where it stands
    for name, use in sections.get("evidence", {}).items():
        file = root / use.file
        place: Place = ("evidence", name, "file")
        if not file.resolve().is_relative_to(root.resolve()):
            found.append((place, f"'{use.file}' leaves the project; keep evidence below its root"))
            continue
        if not file.is_file():
            found.append((place, f"there is no file '{use.file}'; write a path below the project's root"))
            continue
        if files.setdefault(file.resolve(), name) != name:
            found.append((place, f"'{use.file}' is already '{files[file.resolve()]}'; keep one"))
            continue
        try:
            rows = evidence.arms(file)
        except evidence.EvidenceError as e:
            found.append((place, str(e)))
            continue
        for row in rows:
            wrong = list(_names(row, name, path, arms, endpoints))
            if row.outcome in sections.get("endpoints", {}):
                wrong += _measure(row, sections, model)
            again = [arm for arm in row.arms if (arm, row.outcome) in seen]
            if again:
                first, line = seen[again[0], row.outcome]
                at = f"on line {line}" if first == use.file else f"in {first.as_posix()}:{line}"
                wrong.append(("arm", f"{' + '.join(again)}, {row.outcome} stands already {at}; keep one"))
            for key, message in wrong:
                yield str(use.file), row.line, key, message
            seen |= {(arm, row.outcome): (use.file, row.line) for arm in row.arms if arm not in again}


def _names(
    row: evidence.Row, trial: str, path: Path, arms: Mapping[str, Any], endpoints: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """What a line of evidence calls by another name than the study does, as (column, message)."""
    if row.trial != trial:
        yield "trial", f"{row.trial!r}, but {path.name} calls this evidence '{trial}'; write {trial}, or rename it"
    for arm in row.arms:
        if arm not in arms:
            yield "arm", f"{arm!r} is no arm of {path.name}; {near(arm, arms)}"
    if len(set(row.arms)) < len(row.arms):
        yield "arm", "names an arm twice; keep one"
    if row.outcome not in endpoints:
        yield "outcome", f"{row.outcome!r} is no endpoint of {path.name}; {near(row.outcome, endpoints)}"


def _measure(row: evidence.Row, sections: Mapping[str, Any], model: Model | None) -> Iterator[tuple[str, str]]:
    """What a line of evidence measures otherwise than the study does: its figures are taken as they stand."""
    plan = sections["endpoints"][row.outcome]
    if not _continuous(row.outcome, plan, model):
        if row.unit != "subjects":
            yield "unit", f"{row.unit!r}, but {row.outcome} is a count; write subjects"
    elif model and row.outcome in model.endpoints:
        unit = model.endpoints[row.outcome].unit
        if not _measures(row.unit, unit):
            yield "unit", f"{row.unit!r} does not measure what {row.outcome} does; write it in {unit}"
        elif not math.isclose(units.factor(row.unit, unit), 1):
            yield "unit", f"{row.unit!r}, but {row.outcome} is in {unit}; write it in {unit}"
    if plan.kind == "course" and "visits" in sections:
        last = sections["visits"][-1]
        try:
            at = units.quantity(row.visit, "time").to("d")
        except ValueError as e:
            yield "visit", str(e)
            return
        if not math.isclose(at, last.to("d")):
            yield "visit", f"'{row.visit}' is not the last visit; write the result at '{last}', or end the visits there"
