"""What the conduct of a study and the estimands of its endpoints must make sense of, beyond their grammar."""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cohort import units
from cohort.bounded import Place
from cohort.model import Model
from cohort.study.grammar import Criterion, near
from cohort.study.people import people_of
from cohort.study.protocol import Conduct, Dependence, EndpointPlan, Estimand, Strategy, dose_unit, set_by_all
from cohort.units import Quantity

Found = tuple[Place, str]
Columns = Mapping[str, str | tuple[str, ...]]  # unit of each column, or its levels

OF_SHARES = {"difference of proportions", "risk ratio", "odds ratio"}


def check(sections: Mapping[str, Any], model: Model | None, root: Path) -> Iterator[Found]:
    """Problems of `conduct` and of the endpoints' estimands, by place."""
    conduct: Conduct | None = sections.get("conduct")
    known = _columns(sections, model, root)
    endpoints: Mapping[str, EndpointPlan] = sections.get("endpoints", {})
    if conduct is not None:
        if conduct.withdrawal is not None and conduct.dropout > 0:
            message = "withdrawal says who leaves the study; write dropout: 0, or leave out withdrawal"
            yield ("conduct", "dropout"), message
        yield from _enrolment(conduct, sections)
        yield from _allocation(conduct, sections, known)
        yield from _visits(conduct, sections)
        yield from _leaving(conduct, sections, endpoints, model)
        yield from _rescue(conduct, sections, endpoints, model)
    for name, plan in endpoints.items():
        if isinstance(plan.estimand, Estimand):
            yield from _estimand(name, plan, plan.estimand, conduct, model, known)


def _columns(sections: Mapping[str, Any], model: Model | None, root: Path) -> Columns | None:
    """What people have; None where it cannot be told, which is said elsewhere."""
    if "population" not in sections or model is None:
        return None
    try:
        people = people_of(sections["population"], root).columns
    except ValueError:
        return None
    assigned = set_by_all(sections.get("arms", {})) - set(sections["population"].covariates)  # no column of people
    own = {n: m["levels"] or m["unit"] for n, m in model.covariates.fields().items() if n not in assigned}
    return own | {name: column.levels or column.unit for name, column in people.items()}


def _in(value: Quantity, unit: str) -> bool:
    """Whether a quantity can be written in a unit."""
    try:
        units.factor(value.unit, unit)
    except ValueError:
        return False
    return True


def _enrolment(conduct: Conduct, sections: Mapping[str, Any]) -> Iterator[Found]:
    plan = conduct.enrolment
    if plan is None or plan.cutoff is None or "arms" not in sections:
        return
    planned, rate = sum(arm.n for arm in sections["arms"].values()), plan.rate.to("1/d")
    ramp = plan.ramp.to("d") if plan.ramp else 0.0
    last = math.sqrt(2 * ramp * planned / rate) if planned < rate * ramp / 2 else planned / rate + ramp / 2
    if last >= plan.cutoff.to("d"):
        message = f"'{plan.cutoff}' comes before the {planned} patients planned are in, about day {last:.0f}"
        yield ("conduct", "enrolment", "cutoff"), f"{message}; write a later one, or a higher rate"


def _allocation(conduct: Conduct, sections: Mapping[str, Any], known: Columns | None) -> Iterator[Found]:
    plan, place = conduct.allocation, ("conduct", "allocation")
    if plan is None:
        return
    arms = sections.get("arms", {})
    planned = dict(plan.ratio or {name: arm.n for name, arm in arms.items()})
    if plan.ratio is not None and arms:
        for name in sorted(set(plan.ratio) - set(arms)):
            yield (*place, "ratio", name), f"{name!r} is no arm; {near(name, arms)}"
        if missing := [name for name in arms if name not in plan.ratio]:
            yield (*place, "ratio"), f"there is no share of {', '.join(missing)}; add it"
    if planned:
        whole = sum(planned.values()) // math.gcd(*planned.values())
        shares = ":".join(str(n // math.gcd(*planned.values())) for n in planned.values())
        for i, block in enumerate(plan.blocks):
            if block % whole:
                advice = f"write a multiple of {whole}" + ("" if plan.ratio else ", or a simpler ratio")
                yield (*place, "blocks", i), f"{block} places cannot be shared out as {shares}; {advice}"
    for i, one in enumerate(plan.strata):
        yield from _criterion((*place, "strata", i), one, known)


def _criterion(place: Place, one: Criterion, known: Columns | None) -> Iterator[Found]:
    """A criterion on people, or a bare column, whose levels then are strata."""
    if known is None:
        return
    if one.column not in known:
        yield place, f"{one.column!r} is no column of people; {near(one.column, known)}"
        return
    holds = known[one.column]
    if not one.bounds:
        if not isinstance(holds, tuple):
            yield place, f"{one.column} is a quantity in {holds}; write a criterion such as {one.column} >= 1 {holds}"
        return
    yield from _limits(place, one, holds)


def _limits(place: Place, one: Criterion, holds: str | tuple[str, ...]) -> Iterator[Found]:
    """The limits of a criterion on what is in this unit or has these levels."""
    for _, limit in one.bounds:
        if isinstance(holds, tuple):
            if limit not in holds:
                yield place, f"'{limit}' is no level of {one.column}; write one of {', '.join(holds)}"
        elif not isinstance(limit, Quantity):
            yield place, f"{one.column} is a quantity in {holds}; compare it with a number and its unit"
        elif not _in(limit, holds):
            yield place, f"'{limit}' does not measure {one.column}; write it in {holds}"


def _visits(conduct: Conduct, sections: Mapping[str, Any]) -> Iterator[Found]:
    plan, visits = conduct.visits, [v.to("d") for v in sections.get("visits", [])]
    place: Place = ("conduct", "visits", "window")
    if plan is None or plan.window is None or len(visits) < 2:
        return
    width = [w.to("d") for w in plan.window]
    if len(width) not in (1, len(visits) - 1):
        found = f"{len(width)} windows for the {len(visits) - 1} visits after the first"
        yield place, f"{found}; write one for all, or one each"
        return
    width = [0.0, *(width if len(width) > 1 else width * (len(visits) - 1))]
    for k, ((a, wa), (b, wb)) in enumerate(itertools.pairwise(zip(visits, width, strict=True)), 1):
        if a < b and a + wa >= b - wb:
            before, after = sections["visits"][k - 1], sections["visits"][k]
            yield place, f"the windows of '{before}' and '{after}' meet; write a narrower one"
            return


def _measurable(endpoints: Mapping[str, EndpointPlan], model: Model) -> dict[str, str]:
    """The unit of everything a course has: outputs, and endpoints that the model reads."""
    read = {n: e.unit for n, e in model.endpoints.items() if n in endpoints and endpoints[n].kind == "course"}
    return {n: m["unit"] for n, m in model.outputs.fields().items()} | read


def _leaving(
    conduct: Conduct, sections: Mapping[str, Any], endpoints: Mapping[str, EndpointPlan], model: Model | None
) -> Iterator[Found]:
    counted = [name for name, plan in endpoints.items() if plan.kind == "event"]
    for key in ("discontinuation", "withdrawal"):
        plan = getattr(conduct, key)
        if plan is None:
            continue
        for name in sorted(set(plan.after) - set(counted)):
            place = ("conduct", key, "after", name)
            yield place, f"{name!r} is no endpoint of kind event; {near(name, counted)}"
        if model is None:
            continue
        arms = sections.get("arms", {})
        unit = dose_unit([regimen.dose for arm in arms.values() for regimen in arm.regimens])
        known = _measurable(endpoints, model) | {"dose": unit or "1"}
        for i, term in enumerate(plan.depends):
            if term.on == "dose" and unit is None:
                message = "the doses of the arms do not measure one thing; write an output or endpoint of the course"
                yield ("conduct", key, "depends", i, "on"), message
                continue
            yield from _term(("conduct", key, "depends", i), term, known)
            ruled = [name for name, arm in arms.items() if arm.rule is not None]
            if term.on == "dose" and ruled:
                message = f"a rule sets the doses of {', '.join(ruled)}, which are not known beforehand"
                yield ("conduct", key, "depends", i, "on"), f"{message}; write an output or endpoint of the course"
    if conduct.discontinuation is not None:
        for name, arm in sections.get("arms", {}).items():
            if arm.adherence and arm.adherence.half_stop_within:
                message = "patients stop by conduct.discontinuation already; keep one of the two"
                yield ("arms", name, "adherence", "half_stop_within"), message


def _term(place: Place, term: Dependence, known: Mapping[str, str]) -> Iterator[Found]:
    if term.on not in known:
        yield (
            (*place, "on"),
            f"{term.on!r} is neither an output, an endpoint of the course nor dose; " + near(term.on, known),
        )
        return
    for part in ("per", "reference"):
        if not _in(getattr(term, part), known[term.on]):
            message = f"'{getattr(term, part)}' does not measure {term.on}; write it in {known[term.on]}"
            yield (*place, part), message
    if not math.isfinite(term.log_hazard):
        yield (*place, "log_hazard"), f"{term.log_hazard} is not a finite number; write such as 0.1"


def _rescue(
    conduct: Conduct, sections: Mapping[str, Any], endpoints: Mapping[str, EndpointPlan], model: Model | None
) -> Iterator[Found]:
    plan, place = conduct.rescue, ("conduct", "rescue")
    if plan is None or model is None:
        return
    known, outputs = _measurable(endpoints, model), model.outputs.fields()
    if plan.when.column not in known:
        message = f"{plan.when.column!r} is neither an output nor an endpoint of the course"
        yield (*place, "when"), f"{message}; {near(plan.when.column, known)}"
    else:
        yield from _limits((*place, "when"), plan.when, known[plan.when.column])
    if plan.output not in outputs:
        yield (*place, "output"), f"{plan.output!r} is no output of the model; {near(plan.output, list(outputs))}"
    elif plan.effect.unit != "percent" and not _in(plan.effect, outputs[plan.output]["unit"]):
        unit = outputs[plan.output]["unit"]
        yield (*place, "effect"), f"'{plan.effect}' does not measure {plan.output}; write percent of it, or {unit}"
    elif plan.effect.unit == "percent" and outputs[plan.output]["unit"] != "percent" and plan.effect.value <= -100:
        yield (*place, "effect"), f"'{plan.effect}' leaves nothing of {plan.output}; write more than -100 percent"
    visits = sections.get("visits", [])
    if visits and plan.since is not None and plan.since.to("d") >= visits[-1].to("d"):
        yield (*place, "since"), f"'{plan.since}' leaves no visit after it; write less than '{visits[-1]}'"


def _estimand(
    name: str,
    plan: EndpointPlan,
    estimand: Estimand,
    conduct: Conduct | None,
    model: Model | None,
    known: Columns | None,
) -> Iterator[Found]:
    place: Place = ("endpoints", name, "estimand")
    if plan.kind == "event":
        yield place, "an event is counted, no course is measured; write its estimand as text"
        return
    binary = bool(model and name in model.endpoints and model.endpoints[name].binary)
    if model and name in model.endpoints and binary != (estimand.summary in OF_SHARES):
        kind = "yes or no" if binary else "a measured quantity"
        fits = ", ".join(sorted(OF_SHARES)) if binary else "mean difference, ratio of means, difference of medians"
        yield (*place, "summary"), f"'{estimand.summary}', but {name} is {kind}; write one of {fits}"
    for event in ("discontinuation", "rescue"):
        handled: Strategy | None = getattr(estimand.events, event)
        where = (*place, "events", event)
        happens = conduct is not None and getattr(conduct, event) is not None
        if conduct is not None and happens and handled is None:
            yield (*place, "events"), f"conduct has {event}, and no strategy is given for it; add {event}"
        if conduct is not None and not happens and handled is not None:
            yield where, f"conduct has no {event}; add it there, or leave out the strategy"
        if handled is None:
            continue
        if handled.value == "failure" and model and not binary:
            yield (*where, "value"), f"{name} is a measured quantity; write a number with its unit"
        elif isinstance(handled.value, Quantity) and model and name in model.endpoints:
            unit = model.endpoints[name].unit
            if binary:
                yield (*where, "value"), f"'{handled.value}', but {name} is yes or no; write failure"
            elif not _in(handled.value, unit):
                yield (*where, "value"), f"'{handled.value}' does not measure {name}; write it in {unit}"
        if handled.strategy == "principal stratum" and handled.predictor is None:
            message = "not identifiable: a trial has each person in one arm; add predictor, a criterion at baseline"
            yield where, message
        if handled.predictor is not None:
            yield from _criterion((*where, "predictor"), handled.predictor, known)
