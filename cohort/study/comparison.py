"""Whether the comparison that a study plans can be made: its arms, endpoint, decisions, and what it learns from."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cohort.bounded import BoundError, Place, read, text
from cohort.decision import DecisionError
from cohort.decision.criteria import Decision, decision
from cohort.model import Model
from cohort.study.grammar import near

Found = tuple[Place, str]
GROUPS = ("placebo", "drug")


def risks_of(endpoints: Mapping[str, Any]) -> list[str]:
    """The names that `harm` may speak of: the risk of each event in patients on placebo and on drug."""
    return [f"{name}.{group}" for name, plan in endpoints.items() if plan.kind == "event" for group in GROUPS]


def check(sections: Mapping[str, Any], model: Model | None, path: Path) -> Iterator[Found]:
    """Everything that is wrong with the section `comparison`, with its place."""
    plan, arms, endpoints = sections.get("comparison"), sections.get("arms"), sections.get("endpoints")
    if plan is None or arms is None or endpoints is None:
        return
    unit = model.endpoints[plan.endpoint].unit if model and plan.endpoint in model.endpoints else None
    if plan.endpoint not in endpoints or (model and (unit is None or model.endpoints[plan.endpoint].binary)):
        means = [n for n in endpoints if not model or (n in model.endpoints and not model.endpoints[n].binary)]
        yield ("comparison", "endpoint"), f"{plan.endpoint!r} is no endpoint with means; {near(plan.endpoint, means)}"
        unit = None
    for key in ("treatment", "control"):
        name = getattr(plan, key)
        if name not in arms:
            yield ("comparison", key), f"{name!r} is no arm; {near(name, list(arms))}"
    if plan.treatment in arms and not arms[plan.treatment].active:
        yield ("comparison", "treatment"), f"{plan.treatment!r} is given nothing; write an arm with a dose"
    if plan.control in arms and arms[plan.control].active:
        yield ("comparison", "control"), f"{plan.control!r} is given a dose; write the arm that is not"
    yield from _decided(("comparison", "decision"), plan.decision, [plan.treatment, plan.control], unit)
    place: Place = ("comparison", "decision")
    first = plan.decision.criteria[0]
    if first.operation != "-" or not first.exceeds:
        yield place, f"'{first}' comes first; begin with a difference whose probability must be more than its cut"
    for c in plan.decision.criteria:
        if c.operation == "/":
            yield place, f"'{c}' is a ratio of means that may be 0; write a difference"
    if plan.harm is not None:
        yield from _decided(("comparison", "harm"), plan.harm, risks_of(endpoints), "1")
    if unit is not None:
        try:
            plan.drift.to(unit)
        except ValueError:
            yield ("comparison", "drift"), f"'{plan.drift}' is not in the endpoint's unit; write it in {unit}"
        better = endpoints[plan.endpoint].better
        for c in plan.decision.criteria:
            forwards = c.first == plan.treatment
            if c.operation == "-" and c.exceeds and (c.above == forwards) != (better == "higher"):
                side = ">" if (better == "higher") == forwards else "<"
                yield ("comparison", "decision"), f"'{c}' is met by harm, for {better} is better; write {side}"
    yield from _learnt(plan, sections, path)


def _decided(place: Place, what: Decision, names: list[str], unit: str | None) -> Iterator[Found]:
    try:
        decision(str(what), names)
        if unit is not None:
            what.in_units(unit)
    except DecisionError as e:
        yield from ((place, line) for line in str(e).splitlines())


def _learnt(plan: Any, sections: Mapping[str, Any], path: Path) -> Iterator[Found]:
    """Studies whose trials are out of sample: validated, by the same calibrated model, and none of them this one."""
    for i, name in enumerate(plan.discrepancy_from):
        place: Place = ("comparison", "discrepancy_from", i)
        file = path.parent / f"{name}.yaml"
        others = sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != path.stem)
        if name == path.stem:
            yield place, "is this study itself; its own outcomes cannot teach the prior that meets them"
            continue
        if not file.is_file():
            yield place, f"there is no study {name!r} beside this one; {near(name, others)}"
            continue
        other = said(file)
        uses = [use.get("use") for use in _mapping(other, "evidence").values() if isinstance(use, dict)]
        if "validation" not in uses or "calibration" in uses:
            yield place, f"{name!r} does not validate alone; what a model was fitted to cannot teach its errors"
        for key in ("model", "parameters_from"):
            theirs, own = other.get(key), sections.get(key)
            if theirs != own:
                yield place, f"{name!r} has {key}: {theirs}, this study {own}; these are errors of another model"
        taught_by = _mapping(other, "comparison").get("discrepancy_from")
        if isinstance(taught_by, list) and path.stem in taught_by:
            yield place, f"{name!r} learns from this study in turn; keep one direction"


def _mapping(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def said(file: Path) -> dict[str, Any]:
    """What another study's file says, as it stands; nothing where it is not one, which reading it will tell."""
    try:
        return _plain(text(file))
    except BoundError:
        return {}


@functools.lru_cache(maxsize=256)  # every study of a folder looks at the others
def _plain(written: str) -> dict[str, Any]:
    found = read(written).data
    return found if isinstance(found, dict) else {}
