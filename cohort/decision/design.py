"""What is fixed before a trial: the size of its arms, the priors of its analysis, and what counts as success."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cohort.decision import DecisionError
from cohort.decision.criteria import Criterion, Decision
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture

Prior = BetaMixture | NormalMixture | GammaMixture
ARMS = ("treatment", "control")
ROUNDING = 1e-12  # of a sum of a control, a drift and an effect
SMALLEST = 0.05  # of a beta's or gamma's shape: with less, the density is a spike at a bound


@dataclass(frozen=True)
class Arm:
    """n: subjects, or for a rate the exposure, or for a log hazard ratio the events. prior: that of the analysis."""

    n: float
    prior: Prior


@dataclass(frozen=True)
class Design:
    """One or two arms, and a decision about `treatment` and `control`.

    The outcome is binary with beta priors, normal with normal ones (sigma: the known SD of one subject; 2 for a log
    hazard ratio whose n are events), Poisson with gamma ones. control: None for a single arm. unit: of the outcome's
    mean, for thresholds that have one; probabilities are fractions, "1".
    Errors: DecisionError with everything that is wrong."""

    name: str
    decision: Decision
    treatment: Arm
    control: Arm | None = None
    sigma: float | None = None
    unit: str = "1"

    def __post_init__(self) -> None:
        wrong = [f"{self.name}: {w}" for w in _wrong(self)]
        if wrong:
            raise DecisionError("\n".join(wrong))
        object.__setattr__(self, "decision", self.decision.in_units(self.unit))

    @property
    def family(self) -> str:
        return self.treatment.prior.family

    @property
    def arms(self) -> tuple[Arm, ...]:
        return (self.treatment,) if self.control is None else (self.treatment, self.control)

    @property
    def n(self) -> float:
        return sum(arm.n for arm in self.arms)

    def standard_error(self, arm: Arm) -> float:
        """Of a normal arm's mean."""
        return float(self.sigma or math.nan) / math.sqrt(arm.n)

    def with_cut(self, cut: float, which: int = 0) -> "Design":
        """The same design with another probability cut of one criterion."""
        return replace(self, decision=self.decision.with_cut(cut, which))


def _wrong(design: Design) -> list[str]:
    found = []
    arms = dict(zip(ARMS, design.arms, strict=False))
    for name, arm in arms.items():
        if not 0 < arm.n < math.inf:
            found.append(f"{name}: n is {arm.n}; an arm needs subjects, write a positive number")
        elif isinstance(arm.prior, BetaMixture) and arm.n != int(arm.n):
            found.append(f"{name}: n is {arm.n}; write a whole number of subjects")
        small = min(_shapes(arm.prior), default=1.0)
        if small < SMALLEST:
            found.append(f"{name}: a prior's shape is {small}; write {SMALLEST} or more")
    if len({type(arm.prior) for arm in arms.values()}) > 1:
        found.append("priors of the two arms are of two families; write both as one, such as BetaMixture")
    normal = isinstance(design.treatment.prior, NormalMixture)
    if normal and not (design.sigma is not None and 0 < design.sigma < math.inf):
        found.append(f"sigma is {design.sigma}; write the positive standard deviation of one subject")
    if not normal and design.sigma is not None:
        found.append(f"sigma is {design.sigma}; only a normal outcome has one, leave it out")
    if not design.decision.criteria:
        found.append("decision: no criterion; write one or more")
    for c in design.decision.criteria:
        if unknown := [name for name in c.names if name not in arms]:
            found.append(f"'{c}': {unknown[0]} is no arm of this design; write {' or '.join(arms)}")
        if c.operation == "/" and normal:
            found.append(f"'{c}': a ratio of normal means has no closed form; write a difference")
    return found


def _shapes(prior: Prior) -> list[float]:
    if isinstance(prior, BetaMixture):
        return [float(x) for x in (*prior.a, *prior.b)]
    return [float(x) for x in prior.shape] if isinstance(prior, GammaMixture) else []


def require_designs(designs: Sequence[Design], *, arms: int | None = None) -> None:
    """Errors: DecisionError if there are none, two of a name, or one of another family or number of arms."""
    wrong = [] if designs else ["no designs; give one or more"]
    names = [d.name for d in designs]
    wrong += [f"{n}: two designs have this name; give each its own" for n in dict.fromkeys(names) if names.count(n) > 1]
    if len({d.family for d in designs}) > 1:
        wrong.append(f"designs are of families {sorted({d.family for d in designs})}; compare those of one")
    wrong += [f"{d.name}: has {len(d.arms)} arms; give {arms}" for d in designs if arms and len(d.arms) != arms]
    if wrong:
        raise DecisionError("\n".join(wrong))


def require_truth(design: Design, treatment: np.ndarray, control: np.ndarray | None) -> None:
    """Errors: DecisionError of true values that this outcome cannot have."""
    wrong = []
    for name, x in (("treatment", treatment), ("control", control)):
        if x is None:
            continue
        bad = ~np.isfinite(x)
        if design.family == "beta":
            bad |= ~((x >= 0) & (x <= 1))
        if design.family == "gamma":
            bad |= ~(x >= 0)
        if bad.any():
            kind = {"beta": "a probability, 0 to 1", "gamma": "a rate of 0 or more", "normal": "a finite number"}
            wrong.append(f"true {name}: found {x[bad].flat[0]}; write {kind[design.family]}")
    if (control is None) != (design.control is None):
        wrong.append(f"{design.name}: {len(design.arms)} arms, but the truth is given for {2 - (control is None)}")
    if wrong:
        raise DecisionError("\n".join(wrong))


def upward(c: Criterion) -> tuple[float, bool]:
    """A criterion of a difference as one on treatment - control: its threshold, and whether P(above) is meant.
    Both are continuous, so that P(< c) is 1 - P(> c)."""
    return (-c.threshold, not c.above) if c.first == "control" else (c.threshold, c.above)


def boundary(design: Design, which: int = 0) -> float:
    """The true effect at which the type I error of a criterion is taken: its threshold on treatment - control, of a
    single arm that on the arm's parameter. A ratio compared with 1 has 0.
    Errors: DecisionError of a criterion that is not there, or whose threshold is no one effect."""
    if not 0 <= which < len(design.decision.criteria):
        raise DecisionError(f"which is {which}; the decision has criteria 0 to {len(design.decision.criteria) - 1}")
    c = design.decision.criteria[which]
    if c.operation == "-":
        return upward(c)[0] + 0.0  # never -0
    if c.operation == "" and design.control is None:
        return c.threshold
    if c.operation == "/" and c.threshold == 1:
        return 0.0
    raise DecisionError(
        f"{design.name}, '{c}': its threshold is no one value of treatment - control; give null, such as 0"
    )


def in_range(design: Design, truth: np.ndarray) -> np.ndarray:
    """True parameters, put on a bound of the outcome where rounding of a sum took them over it."""
    if design.family == "normal":
        return truth
    near = np.where(np.abs(truth) < ROUNDING, 0.0, truth)
    return np.where(np.abs(near - 1) < ROUNDING, 1.0, near) if design.family == "beta" else near
