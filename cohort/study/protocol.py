"""The sections of a protocol as typed, frozen values; what each key of a study file may hold."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    model_validator,
)

from cohort import units
from cohort.study.grammar import Criterion, Prior, criterion, prior
from cohort.units import Quantity


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


def _positive(value: Quantity) -> Quantity:
    if not value.value > 0:
        raise ValueError(f"'{value}' must be more than 0")
    return value


def _not_negative(value: Quantity) -> Quantity:
    if not value.value >= 0:
        raise ValueError(f"'{value}' must not be negative")
    return value


def _absent(value: Any) -> bool:
    """Left out: such a key, added after studies were registered, has no part in their fingerprint."""
    return value is None or value == []


def _relative(value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is not a path; write such as config/evidence/trial.csv")
    path = Path(value)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"'{path}' leaves the project; write a path below its root, such as config/evidence/trial.csv")
    return path


text = PlainSerializer(str, return_type=str)
Time = Annotated[Quantity, BeforeValidator(_quantity("time")), AfterValidator(_not_negative), text]
Mass = Annotated[Quantity, BeforeValidator(_quantity("mass")), AfterValidator(_positive), text]
PositiveQuantity = Annotated[Quantity, BeforeValidator(_any_quantity), AfterValidator(_positive), text]
AnyQuantity = Annotated[Quantity, BeforeValidator(_any_quantity), text]
File = Annotated[Path, BeforeValidator(_relative), PlainSerializer(lambda p: p.as_posix(), return_type=str)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


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
    pool: Annotated[int, Field(ge=2)] = 20
    soft: bool = False


class Population(Section):
    """`source`: where people come from; of `resample`, `people` is the file. `conditions`: what they all have."""

    source: Literal["us", "europe", "japan", "us_children", "german_children", "who_children", "resample"]
    size: Annotated[int, Field(gt=0)]
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

    dose: Mass
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
    out."""

    name: str
    every: Annotated[Time, AfterValidator(_positive)]
    start: Annotated[Time | None, Field(exclude_if=_absent)] = None


class Arm(Section):
    """`n`: planned number of patients. An arm without a dose takes placebo, or what its rule sets. `also`: regimens
    beside the first one."""

    n: Annotated[int, Field(gt=0)]
    dose: Mass | None = None
    route: str | None = None
    every: Annotated[Time, AfterValidator(_positive)] | None = None
    duration: Annotated[Annotated[Time, AfterValidator(_positive)] | None, Field(alias="for")] = None
    control: str | None = None
    start: Annotated[Time | None, Field(exclude_if=_absent)] = None
    over: Annotated[Annotated[Time, AfterValidator(_positive)] | None, Field(exclude_if=_absent)] = None
    also: Annotated[list[Regimen], Field(exclude_if=_absent)] = []
    adherence: Annotated[AdherencePlan | None, Field(exclude_if=_absent)] = None
    rule: Annotated[RulePlan | None, Field(exclude_if=_absent)] = None

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


class EndpointPlan(Section):
    """`course`: read by the model from a subject's visits. `event`: a count of subjects, by background and drug."""

    role: Literal["efficacy", "safety"]
    better: Literal["lower", "higher"]
    kind: Literal["course", "event"] = "course"
    margin: AnyQuantity | None = None
    missing: Literal["available", "locf"] = "available"
    estimand: str = ""


class EvidenceUse(Section):
    file: File
    use: Literal["calibration", "validation"]
    estimand: Words = "as published"


class Conduct(Section):
    """What happens to patients between the visits: the share lost by the last visit, at a constant hazard."""

    dropout: Annotated[float, Field(ge=0, lt=1)]
    source: Words


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
    chains: Annotated[int, Field(ge=2)] = 4
    warmup: Annotated[int, Field(ge=100)] = 400
    draws: Annotated[int, Field(ge=100)] = 600


class Borrowing(Section):
    """A virtual arm that a real one borrows from: `weight` on it before the data; the rest is vague."""

    arm: str
    weight: Annotated[float, Field(gt=0, lt=1)]


class Analysis(Section):
    """`level`: of the credible intervals of discrepancy and borrowing; `discrepancy`: standard deviation assumed of
    a trial's difference from the model, shared by its arms; `arm_discrepancy`: the same of each arm beside that."""

    draws: Annotated[int, Field(ge=16)] = 64
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    discrepancy: PositiveQuantity
    arm_discrepancy: PositiveQuantity
    source: Words
    max_failed_fraction: Fraction = 0.01
    engine: Literal["numpyro", "pymc"] = "numpyro"
    borrowing: Borrowing | None = None


class NumericsPlan(Section):
    """How the model is solved: `solver` and `backend` as of the engine, tolerances of the states in their own units."""

    solver: Literal["auto", "linear", "explicit", "stiff"] = "auto"
    backend: Literal["native", "xla"] = "native"
    rtol: Annotated[float, Field(ge=1e-13, le=1e-2)] = 1e-8
    atol: Annotated[float, Field(gt=0)] = 1e-8


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
    visits: Annotated[list[Time], Field(min_length=2)]
    endpoints: dict[Name, EndpointPlan]
    evidence: dict[Name, EvidenceUse] = {}
    calibration: Calibration | None = None
    analysis: Analysis
    numerics: Annotated[NumericsPlan, Field(exclude_if=lambda n: n == NumericsPlan())] = NumericsPlan()
    assumptions: list[str] = []
    seed: Annotated[int, Field(ge=0)]
    name: str = Field(exclude=True)
    path: Path = Field(exclude=True)
    root: Path = Field(exclude=True)

    @property
    def results(self) -> Path:
        return self.root / "results" / self.name
