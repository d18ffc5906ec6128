"""The sections of a protocol as typed, frozen values; what each key of a study file may hold."""

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    model_validator,
)

from cohort import units
from cohort.decision import DecisionError
from cohort.decision.criteria import Decision, decision
from cohort.study.grammar import Criterion, Prior, criterion, near, prior
from cohort.units import Quantity, spelt

MOST_VISITS = 100_000  # of one range


def _quantity(dimension: str) -> Any:
    def read(value: Any) -> Quantity:
        return value if isinstance(value, Quantity) else units.quantity(value, dimension)

    return read


def _any_quantity(value: Any) -> Quantity:
    """A number with some unit; whether it is the right one is checked once the model is known."""
    if isinstance(value, Quantity):
        return value
    read = units.number_and_unit(value)
    if read is None:
        raise ValueError(f"{value!r} is not a quantity; write a number and its unit, such as 120 mg/dL")
    units.unit(read.unit)
    return read


def _dose(value: Any) -> Quantity:
    """A mass, or a number in some unit: whether it is that of the state it enters is checked with the model."""
    if isinstance(value, Quantity):
        return value
    read, masses = units.number_and_unit(value), units.DIMENSIONS["mass"][1]
    with contextlib.suppress(ValueError):
        if read is not None and (read.unit in masses or not is_mass(read)):
            return read
    hint = f"write a number and one of {', '.join(masses)}, or the unit of the state that the route enters"
    raise ValueError(f"{value!r} is not a mass; {hint}")


def is_mass(dose: Quantity) -> bool:
    """Errors: ValueError for what has no unit."""
    return units.unit(dose.unit).dimensionality == units.unit("mg").dimensionality


def _positive(value: Quantity) -> Quantity:
    if not value.value > 0:
        raise ValueError(f"'{value}' must be more than 0")
    return value


def _not_negative(value: Quantity) -> Quantity:
    if not value.value >= 0:
        raise ValueError(f"'{value}' must not be negative")
    return value


def _decision(value: Any) -> Decision:
    try:
        return value if isinstance(value, Decision) else decision(value)
    except DecisionError as e:  # which names and units there are is checked once arms and endpoints are known
        raise ValueError(str(e)) from None


def _absent(value: Any) -> bool:
    """Left out: such a key, added after studies were registered, has no part in their fingerprint."""
    return value is None or value in ([], {})


def _listed(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


def _composite(value: Any) -> "Quantity | str | None":
    return value if value in (None, "failure") else _any_quantity(value)


def _setting(value: Any) -> "Quantity | str":
    """What an arm sets a covariate to: a number, with its unit if it has one, or the word of a level."""
    if isinstance(value, Quantity):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return Quantity(float(value), "1")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no value of a covariate; write such as 2, 70 kg or the word of a level")
    read = units.number_and_unit(value) or units.number_and_unit(f"{value} 1")
    try:
        return value if read is None or not units.unit(read.unit) else read
    except ValueError:  # a level such as 1/1 is no quantity
        return value


def setting_text(value: Quantity | str) -> str:
    """As it stands in a study file."""
    return units.spelt(value.value) if isinstance(value, Quantity) and value.unit == "1" else str(value)


def _stratum(value: Any) -> Criterion:
    """What people are stratified by: a criterion, met or not, or a column by its name, each level for itself."""
    return Criterion(value, value, ()) if isinstance(value, str) and value.isidentifier() else criterion(value)


def _relative(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is not a path; write such as config/evidence/trial.csv")
    path = Path(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{path}' leaves the project; write a path below its root, such as config/evidence/trial.csv")
    if len(str(path)) > 1000 or any(len(part.encode()) > 255 for part in path.parts):
        raise ValueError(f"'{str(path)[:40]}…' is longer than a path can be; write a shorter one")
    return path


text = PlainSerializer(str, return_type=str)
Time = Annotated[Quantity, BeforeValidator(_quantity("time")), AfterValidator(_not_negative), text]
Dose = Annotated[Quantity, BeforeValidator(_dose), AfterValidator(_positive), text]
PositiveQuantity = Annotated[Quantity, BeforeValidator(_any_quantity), AfterValidator(_positive), text]
AnyQuantity = Annotated[Quantity, BeforeValidator(_any_quantity), text]
File = Annotated[Path, BeforeValidator(_relative), PlainSerializer(lambda p: p.as_posix(), return_type=str)]
Setting = Annotated[Quantity | str, PlainValidator(_setting), PlainSerializer(setting_text, return_type=str)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=True)


class Share(Section):
    """A yes-or-no covariate."""

    fraction: Fraction
    source: Words


class Spread(Section):
    """A continuous covariate by its arithmetic mean and standard deviation."""

    mean: AnyQuantity
    sd: AnyQuantity
    shape: Literal["normal", "lognormal"] = "lognormal"
    source: Words


def _kind(value: Any) -> str:
    return "share" if isinstance(value, Share) or (isinstance(value, dict) and "fraction" in value) else "spread"


Distribution = Annotated[Annotated[Share, Tag("share")] | Annotated[Spread, Tag("spread")], Discriminator(_kind)]


class Match(Section):
    """A published baseline table that the enrolled people shall have: a file of it, how many eligible candidates the
    pool has for each who is enrolled, and whether its figures' own sampling error is respected (`soft`)."""

    table: File
    pool: Annotated[int, Field(ge=2, le=10_000)] = 20
    soft: bool = False


class Population(Section):
    """`source`: where people come from; of `resample`, `people` is the file. `conditions`: what they all have."""

    source: Literal["us", "europe", "japan", "us_children", "german_children", "who_children", "resample"]
    size: Annotated[int, Field(gt=0, le=1_000_000_000)]
    covariates: dict[str, Distribution] = {}
    eligibility: list[Annotated[Criterion, BeforeValidator(criterion), text]] = []
    people: Annotated[File | None, Field(exclude_if=_absent)] = None
    conditions: Annotated[list[str], Field(exclude_if=_absent)] = []
    compound: Annotated[str | None, Field(exclude_if=_absent)] = None
    abundances: Annotated[str | None, Field(exclude_if=_absent)] = None
    match: Annotated[Match | None, Field(exclude_if=_absent)] = None

    @property
    def files(self) -> list[Path]:
        """Files that it names, below the project's root: people, a compound of its own, a baseline table."""
        own = Path(self.compound) if self.compound and self.compound.endswith(".yaml") else None
        return [file for file in (self.people, own, self.match and self.match.table) if file is not None]


class Regimen(Section):
    """A dose by a route, `every` so often, `for` so long, from `start` on; `over` some time as an infusion."""

    dose: Dose
    route: str
    every: Annotated[Time, AfterValidator(_positive)]
    duration: Annotated[Annotated[Time, AfterValidator(_positive)], Field(alias="for")]
    start: Annotated[Time | None, Field(exclude_if=_absent)] = None
    over: Annotated[Annotated[Time, AfterValidator(_positive)] | None, Field(exclude_if=_absent)] = None


class AdherencePlan(Section):
    """What patients make of the doses they take themselves: `missed` of them, differing between patients by the
    standard deviation `spread` and correlated from dose to dose by `runs`; `doubled` of those taken; taken `late` on
    average; half of the patients stop within `half_stop_within`. `routes`: which, all if left out."""

    missed: Fraction = 0.0
    spread: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    runs: Annotated[float, Field(ge=0, lt=1)] = 0.0
    doubled: Fraction = 0.0
    late: Time | None = None
    half_stop_within: Annotated[Time, AfterValidator(_positive)] | None = None
    routes: Annotated[list[str], Field(min_length=1)] | None = None
    source: Words

    @model_validator(mode="after")
    def _possible(self) -> "AdherencePlan":
        most = (self.missed * (1 - self.missed)) ** 0.5  # all or nothing
        if self.spread and not self.missed:
            raise ValueError("spread is of the share missed; add missed")
        if self.spread and self.spread >= most:
            raise ValueError(
                f"spread {self.spread:g} is more than shares around {self.missed:g} have; write less than {most:.3g}"
            )
        return self


class RulePlan(Section):
    """A rule of the model that sets the doses to come, `every` so often, first at `start`: one interval on, if left
    out. Or `at` times of its own."""

    name: str
    every: Annotated[Annotated[Time, AfterValidator(_positive)] | None, Field(exclude_if=_absent)] = None
    start: Annotated[Time | None, Field(exclude_if=_absent)] = None
    at: Annotated[Annotated[list[Time], Field(min_length=1)] | None, Field(exclude_if=_absent)] = None

    @model_validator(mode="after")
    def _when(self) -> "RulePlan":
        if (self.every is None) == (self.at is None):
            raise ValueError("it decides `every` so often or `at` times of its own; write one of the two")
        if self.at is not None and self.start is not None:
            raise ValueError("start belongs to every; leave it out, for `at` says each time")
        for a, b in itertools.pairwise(self.at or []):
            if not a.to("d") < b.to("d"):
                raise ValueError(f"at: '{b}' does not come after '{a}'; order the times, each once")
        return self

    def times(self, unit: str, until: float) -> np.ndarray:
        """When it decides, in this unit, as far as `until`."""
        if self.at is not None:
            at = np.array([time.to(unit) for time in self.at])
            return at[at <= until * (1 + 1e-9)]
        assert self.every is not None
        every = self.every.to(unit)
        start = self.start.to(unit) if self.start else every
        return start + every * np.arange(max(0, math.floor((until - start) / every + 1e-9) + 1))


class Arm(Section):
    """`n`: planned number of patients. An arm without a dose takes placebo, or what its rule sets. `also`: regimens
    beside the first one. `sets`: covariates of the model that everyone in the arm has at this value, whatever the
    population says of them; an arm that gives nothing is placebo all the same."""

    n: Annotated[int, Field(gt=0)]
    dose: Dose | None = None
    route: str | None = None
    every: Annotated[Time, AfterValidator(_positive)] | None = None
    duration: Annotated[Annotated[Time, AfterValidator(_positive)] | None, Field(alias="for")] = None
    control: str | None = None
    start: Annotated[Time | None, Field(exclude_if=_absent)] = None
    over: Annotated[Annotated[Time, AfterValidator(_positive)] | None, Field(exclude_if=_absent)] = None
    also: Annotated[list[Regimen], Field(exclude_if=_absent)] = []
    adherence: Annotated[AdherencePlan | None, Field(exclude_if=_absent)] = None
    rule: Annotated[RulePlan | None, Field(exclude_if=_absent)] = None
    sets: Annotated[dict[str, Setting], Field(exclude_if=_absent)] = {}

    @model_validator(mode="after")
    def _whole_regimen(self) -> "Arm":
        regimen = {"dose": self.dose, "route": self.route, "every": self.every, "for": self.duration}
        missing = [key for key, value in regimen.items() if value is None]
        if 0 < len(missing) < len(regimen):
            raise ValueError(
                f"a regimen needs dose, route, every and for; add {', '.join(missing)}, or leave out all four"
            )
        extra = [key for key in ("start", "over", "also") if getattr(self, key)]
        if len(missing) == len(regimen) and extra:
            raise ValueError(f"{', '.join(extra)} without a dose; add dose, route, every and for")
        return self

    @property
    def regimens(self) -> list[Regimen]:
        """Every regimen of the arm, the first one first."""
        if self.dose is None or self.route is None or self.every is None or self.duration is None:
            return []
        first = Regimen(
            dose=self.dose,
            route=self.route,
            every=self.every,
            duration=self.duration,
            start=self.start,
            over=self.over,
        )
        return [first, *self.also]

    @property
    def active(self) -> bool:
        """Whether anything is given, as planned or as a rule decides; else it is placebo."""
        return self.dose is not None or self.rule is not None

    @property
    def treatment(self) -> dict[str, Any]:
        """What is done to the arm's patients, as plain values: arms that are equal in it are one."""
        return self.model_dump(mode="json", exclude={"n", "control"})


def dose_unit(doses: Sequence[Quantity]) -> str | None:
    """The unit in which all of these doses can be told: mg of masses, or the first one's; None where they do not
    measure the same."""
    if all(map(is_mass, doses)):
        return "mg"
    same = {units.unit(dose.unit).dimensionality for dose in doses}
    return doses[0].unit if len(same) == 1 else None


def set_by_all(arms: Mapping[str, Arm]) -> frozenset[str]:
    """The covariates that every arm sets: nobody's own is ever read, so that people need not have them."""
    return frozenset(set.intersection(*(set(arm.sets) for arm in arms.values()))) if arms else frozenset()


class Strategy(Section):
    """How an intercurrent event is handled [ICH E9(R1)]. `value`: what a composite variable takes once it happened,
    `failure` of a yes-or-no endpoint or a number with its unit. `predictor`: a criterion on baseline columns that
    stands for the principal stratum, which no trial sees."""

    strategy: Literal["treatment policy", "hypothetical", "composite", "while on treatment", "principal stratum"]
    value: Annotated[AnyQuantity | Literal["failure"] | None, PlainValidator(_composite)] = None
    predictor: Annotated[Criterion, BeforeValidator(criterion), text] | None = None

    @model_validator(mode="after")
    def _composed(self) -> "Strategy":
        if (self.strategy == "composite") != (self.value is not None):
            message = "composite needs the value that the variable takes; add value: failure, or a number with its unit"
            raise ValueError(message if self.value is None else f"{self.strategy} takes no value; leave it out")
        if self.predictor is not None and self.strategy != "principal stratum":
            raise ValueError(f"{self.strategy} takes no predictor; leave it out")
        return self


def _strategy(value: Any) -> Any:
    return {"strategy": value} if isinstance(value, str) else value


class Handling(Section):
    """The strategy of each kind of intercurrent event. Who withdraws from the study is not observed any more: what
    would have been seen is missing data, and the hypothetical strategy the only one."""

    discontinuation: Annotated[Strategy | None, BeforeValidator(_strategy), Field(exclude_if=_absent)] = None
    rescue: Annotated[Strategy | None, BeforeValidator(_strategy), Field(exclude_if=_absent)] = None
    withdrawal: Literal["hypothetical"] = "hypothetical"


class Estimand(Section):
    """What is estimated, by the five attributes of ICH E9(R1)."""

    population: Words
    treatment: Words
    variable: Words
    summary: Literal[
        "mean difference",
        "ratio of means",
        "difference of medians",
        "difference of proportions",
        "risk ratio",
        "odds ratio",
    ]
    events: Handling = Handling()

    def __str__(self) -> str:
        handled = {"discontinuation": self.events.discontinuation, "rescue": self.events.rescue}
        told = [f"{event}: {plan.strategy}" for event, plan in handled.items() if plan]
        events = "; ".join([*told, f"withdrawal: {self.events.withdrawal}"])
        return f"{self.summary} of {self.variable}, {self.treatment}, in {self.population} ({events})"


def _estimand(value: Any) -> "str | Estimand":
    """Text as it stands, or the five attributes."""
    if isinstance(value, str | Estimand):
        return value
    if isinstance(value, dict):
        return Estimand.model_validate(value, strict=True)
    attributes = ", ".join(Estimand.model_fields)
    raise ValueError(f"{value!r} is no estimand; write text, or the attributes {attributes}")


class EndpointPlan(Section):
    """`course`: read by the model from a subject's visits. `event`: a count of subjects, by background and drug."""

    role: Literal["efficacy", "safety"]
    better: Literal["lower", "higher"]
    kind: Literal["course", "event"] = "course"
    margin: AnyQuantity | None = None
    missing: Literal["available", "locf"] = "available"
    estimand: Annotated[str | Estimand, BeforeValidator(_estimand)] = ""


class EvidenceUse(Section):
    """`prospective`: the outcomes were not public when the predictions were registered."""

    file: File
    use: Literal["calibration", "validation"]
    estimand: Words = "as published"
    prospective: Annotated[bool, Field(exclude_if=lambda value: not value)] = False


class Enrolment(Section):
    """People arrive at random, at `rate` once the `ramp` is over, along which the rate rises in a line from nothing.
    `cutoff`: nothing later is seen, from the start of enrolment on."""

    rate: Annotated[Quantity, BeforeValidator(_quantity("1/d")), AfterValidator(_positive), text]
    ramp: Annotated[Time, AfterValidator(_positive)] | None = None
    cutoff: Annotated[Time, AfterValidator(_positive)] | None = None
    source: Words


class Allocation(Section):
    """Permuted blocks: their sizes, drawn with equal chance where there are several, within `strata`, the levels of a
    column or a criterion met or not. `ratio`: of the arms, that of their planned numbers if left out."""

    blocks: Annotated[list[Annotated[int, Field(gt=0)]], BeforeValidator(_listed), Field(min_length=1)]
    strata: list[Annotated[Criterion, BeforeValidator(_stratum), text]] = []
    ratio: dict[Name, Annotated[int, Field(gt=0)]] | None = None


class VisitPlan(Section):
    """When visits after the first take place: within `window` on either side of the planned time, one for all or one
    each, uniformly or by a normal distribution with half the window as its standard deviation, cut there. `missed`: the
    share of them that do not take place, whatever else happens."""

    window: Annotated[list[Time] | None, BeforeValidator(_listed)] = None
    distribution: Literal["uniform", "normal"] = "uniform"
    missed: Annotated[float, Field(ge=0, lt=1)] = 0.0
    source: Words


class Dependence(Section):
    """A hazard's logarithm changes by `log_hazard` for `per` more of an output or endpoint so far, or of the dose that
    is being given; at `reference` it does not. `value`: as last measured, or the actual one of the moment."""

    on: str
    log_hazard: float
    per: PositiveQuantity
    reference: AnyQuantity
    value: Literal["measured", "actual"] = "measured"


class Leaving(Section):
    """`share` of patients would leave by the last visit if nothing else took them and all were at the reference; what
    their hazard `depends` on; `after`: of those with an adverse event, the share who leave at once."""

    share: Annotated[float, Field(ge=0, lt=1)]
    depends: list[Dependence] = []
    after: dict[Name, Fraction] = {}
    source: Words


class Rescue(Section):
    """Whoever meets the criterion `when`, as measured at a visit not before `since`, gets other medication from then
    on. Its `effect` on one output: percent of it, or an amount in its unit, half of it after `half_time`."""

    when: Annotated[Criterion, BeforeValidator(criterion), text]
    since: Time | None = None
    output: str
    effect: AnyQuantity
    half_time: Annotated[Time, AfterValidator(_positive)] | None = None
    source: Words


class Conduct(Section):
    """What happens to patients between the visits: the share lost by the last visit, at a constant hazard, or more
    than that. `discontinuation` is of the treatment, after which they are seen on; `withdrawal` is from the study."""

    dropout: Annotated[float, Field(ge=0, lt=1)]
    source: Words
    enrolment: Annotated[Enrolment | None, Field(exclude_if=_absent)] = None
    allocation: Annotated[Allocation | None, Field(exclude_if=_absent)] = None
    visits: Annotated[VisitPlan | None, Field(exclude_if=_absent)] = None
    discontinuation: Annotated[Leaving | None, Field(exclude_if=_absent)] = None
    withdrawal: Annotated[Leaving | None, Field(exclude_if=_absent)] = None
    rescue: Annotated[Rescue | None, Field(exclude_if=_absent)] = None


class PriorPlan(Section):
    prior: Annotated[Prior, BeforeValidator(prior), text]
    unit: str
    source: Words


class Sensitivity(Section):
    """Other assumptions to fit under: `priors` by parameter, in the unit of its own; `per_group`, a parameter that the
    arms share and that here each group with a pooled standard deviation has for itself."""

    priors: dict[str, list[Annotated[Prior, BeforeValidator(prior), text]]] = {}
    per_group: str | None = None


class Calibration(Section):
    endpoint: str
    priors: dict[str, PriorPlan]
    subjects: Annotated[int, Field(ge=8, le=1024)] = 64
    step: Annotated[Time, AfterValidator(_positive)]
    adjustment: Fraction = 0.05
    sensitivity: Annotated[Sensitivity, Field(exclude=True)] = Sensitivity()  # no result rests on it
    chains: Annotated[int, Field(ge=2, le=64)] = 4
    warmup: Annotated[int, Field(ge=100, le=1_000_000)] = 400
    draws: Annotated[int, Field(ge=100, le=1_000_000)] = 600


class Borrowing(Section):
    """A virtual arm that a real one borrows from: `weight` on it before the data; the rest is vague."""

    arm: str
    weight: Annotated[float, Field(gt=0, lt=1)]


class Analysis(Section):
    """`level`: of the credible intervals of discrepancy and borrowing; `discrepancy`: standard deviation assumed of
    a trial's difference from the model, shared by its arms; `arm_discrepancy`: the same of each arm beside that."""

    draws: Annotated[int, Field(ge=16, le=1_000_000)] = 64
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    discrepancy: PositiveQuantity
    arm_discrepancy: PositiveQuantity
    source: Words
    max_failed_fraction: Fraction = 0.01
    engine: Literal["numpyro", "pymc"] = "numpyro"
    borrowing: Borrowing | None = None


class ComparisonPlan(Section):
    """How a real trial borrows from its virtual control arm, what is decided, and how that is judged.

    `weight`: of the virtual control before the data; the rest is vague, worth one patient. `discrepancy_from`: studies
    whose trials the model did not see and whose outcomes teach how far it errs. `cap`: most patients that the virtual
    control may be worth; as many as the calibration had on control, if not given. `decision`: on the means of arms;
    `harm`: what must hold beside it, on risks such as `<event>.drug - <event>.placebo`. `drift`: how far the true
    control may be from the virtual one in the operating characteristics, on either side. No prediction rests on any of
    it, so it may be written after predictions are registered."""

    endpoint: Name
    treatment: Name
    control: Name
    weight: Annotated[float, Field(gt=0, lt=1)] = 0.8
    discrepancy_from: list[Name] = []
    cap: Annotated[int | None, Field(gt=0)] = None
    decision: Annotated[Decision, BeforeValidator(_decision), text]
    harm: Annotated[Decision | None, BeforeValidator(lambda v: None if v is None else _decision(v)), text] = None
    drift: PositiveQuantity
    type_one_error: Annotated[float, Field(gt=0, lt=0.5)] = 0.025
    source: Words


# Credibility factors by the name that a study file gives them, each with its group. [ASME V&V 40-2018, section 5]
FACTORS: dict[str, tuple[str, str]] = {
    "software_quality_assurance": ("verification, code", "software quality assurance"),
    "numerical_code_verification": ("verification, code", "numerical code verification"),
    "discretisation_error": ("verification, calculation", "discretisation error"),
    "numerical_solver_error": ("verification, calculation", "numerical solver error"),
    "use_error": ("verification, calculation", "use error"),
    "model_form": ("validation, model", "model form"),
    "model_inputs": ("validation, model", "model inputs"),
    "test_samples": ("validation, comparator", "test samples"),
    "test_conditions": ("validation, comparator", "test conditions"),
    "equivalency_of_inputs": ("validation, assessment", "equivalency of inputs"),
    "output_comparison": ("validation, assessment", "output comparison"),
    "relevance_of_quantities": ("applicability", "relevance of the quantities of interest"),
    "relevance_of_validation": ("applicability", "relevance of the validation activities to the context of use"),
}

Level = Literal["low", "medium", "high"]
# Model risk by influence, then by consequence: both weigh the same. Of two neighbours the lower below medium and the
# higher above it, so that only what is low in one and at most medium in the other is low.
RISK: dict[str, dict[str, Level]] = {
    "low": {"low": "low", "medium": "low", "high": "medium"},
    "medium": {"low": "low", "medium": "medium", "high": "high"},
    "high": {"low": "medium", "medium": "high", "high": "high"},
}


def _factor(name: str) -> str:
    if name not in FACTORS:
        raise ValueError(f"{name!r} is no credibility factor; {near(name, FACTORS)}")
    return name


def _derived(value: Any) -> None:
    raise ValueError("model risk follows from influence and consequence; leave it out")


class Rated(Section):
    """A rating, and why it is that and no other."""

    level: Level
    because: Words


class Goal(Section):
    """What evidence a credibility factor is to have, and why that much is enough for the model's risk."""

    goal: Words
    because: Words


class Credibility(Section):
    """How much rests on the model, in the terms of ICH M15, and what evidence is held to be enough [ASME V&V 40-2018].

    `influence`: the weight of the model beside other evidence; `consequence`: of a wrong decision; `impact`: how far
    its use departs from what is usual. `goals`: by credibility factor. `deviations`, `limits`: that no step of the
    platform can see. No prediction rests on any of it, so it may be written after predictions are registered."""

    influence: Rated
    consequence: Rated
    impact: Rated
    goals: dict[Annotated[str, AfterValidator(_factor)], Goal] = {}
    deviations: list[Words] = []
    limits: list[Words] = []
    risk: Annotated[None, BeforeValidator(_derived), Field(exclude=True)] = None

    @property
    def model_risk(self) -> Level:
        return RISK[self.influence.level][self.consequence.level]


class NumericsPlan(Section):
    """How the model is solved: `solver` and `backend` as of the engine, tolerances of the states in their own units."""

    solver: Literal["auto", "linear", "explicit", "stiff"] = "auto"
    backend: Literal["native", "xla"] = "native"
    rtol: Annotated[float, Field(ge=1e-13, le=1e-2)] = 1e-8
    atol: Annotated[float, Field(gt=0)] = 1e-8


class VisitRange(Section):
    """Visits `every` so often, the first at `from`, the last at `until`."""

    first: Annotated[Time, Field(alias="from")]
    until: Time
    every: Annotated[Time, AfterValidator(_positive)]

    @model_validator(mode="after")
    def _whole(self) -> "VisitRange":
        unit, step = self.every.unit, self.every.value
        steps = (self.until.to(unit) - self.first.to(unit)) / step
        if steps < 0:
            raise ValueError(f"until '{self.until}' comes before from '{self.first}'; write a later one")
        if steps >= MOST_VISITS:
            raise ValueError(f"'{self.every}' makes {steps:.3g} visits; write at most {MOST_VISITS:,}")
        if abs(steps - round(steps)) > 1e-6:
            last = spelt(float(Decimal(repr(self.first.to(unit))) + math.floor(steps) * Decimal(repr(step))))
            message = f"from '{self.first}' to '{self.until}' is no whole number of '{self.every}'"
            raise ValueError(f"{message}; write until: {last} {unit}")
        return self

    @property
    def visits(self) -> list[Quantity]:
        """In the unit of `every`, counted in decimals: 0.3 d is no 0.30000000000000004 d."""
        unit = self.every.unit
        start, step = (Decimal(repr(time.to(unit))) for time in (self.first, self.every))
        steps = round((self.until.to(unit) - self.first.to(unit)) / self.every.value)
        return [Quantity(float(start + k * step), unit) for k in range(steps + 1)]


def _visit(value: Any) -> "Quantity | VisitRange":
    if not isinstance(value, dict):
        return _not_negative(_quantity("time")(value))
    keys = ["from", "until", "every"]
    if unknown := [key for key in value if key not in keys]:
        raise ValueError(f"unknown key {unknown[0]!r}; {near(str(unknown[0]), keys)}")
    return VisitRange.model_validate(value, strict=True)


def _visits(value: "list[Quantity | VisitRange]") -> list[Quantity]:
    return [visit for one in value for visit in (one.visits if isinstance(one, VisitRange) else [one])]


Visits = Annotated[
    list[Annotated[Quantity, PlainValidator(_visit), text]],
    AfterValidator(_visits),
    Field(min_length=2),
]


class Study(Section):
    """What a protocol says. `cohort.read_study` makes it from a file."""

    title: Words
    registry: str = ""
    question: Words
    context_of_use: Words
    model: str
    parameters_from: Name | None = None
    population: Population
    conduct: Conduct
    arms: dict[Name, Arm]
    visits: Visits
    endpoints: dict[Name, EndpointPlan]
    evidence: dict[Name, EvidenceUse] = {}
    calibration: Calibration | None = None
    analysis: Analysis
    comparison: ComparisonPlan | None = None
    credibility: Credibility | None = None
    chapters: Annotated[dict[Name, dict[str, bool | int | float | str]], Field(exclude_if=lambda value: not value)] = {}
    numerics: Annotated[NumericsPlan, Field(exclude_if=lambda n: n == NumericsPlan())] = NumericsPlan()
    assumptions: list[str] = []
    seed: Annotated[int, Field(ge=0)]
    name: str = Field(exclude=True)
    path: Path = Field(exclude=True)
    root: Path = Field(exclude=True)

    @property
    def dose_unit(self) -> str | None:
        """The unit in which every dose of every arm can be told; None where they do not measure the same."""
        return dose_unit([regimen.dose for arm in self.arms.values() for regimen in arm.regimens])

    @property
    def assigned(self) -> frozenset[str]:
        """The model's covariates that every arm sets and the population says nothing of: people lack them."""
        return set_by_all(self.arms) - set(self.population.covariates)

    @property
    def results(self) -> Path:
        return self.root / "results" / self.name
