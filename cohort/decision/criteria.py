"""Success criteria as a protocol writes them, such as `P(treatment - control > 3 percent) > 0.975`, read and judged.

    decision  := criterion { "and" criterion }
    criterion := "P" "(" quantity ( ">" | "<" ) number [ unit ] ")" ( ">" | "<" ) number
    quantity  := name | name "-" name | name "/" name

A posterior probability that is estimated from draws has a Monte Carlo standard error. Where that is not well below the
distance to the cut, there is no conclusion but to draw more. Nor is there one from fewer than LEAST effective draws.

References
----------
[1] Vehtari et al. 2021, Rank-normalization, folding, and localization. Bayesian Anal 16:667-718,
    doi 10.1214/20-BA1221: with an effective size below about 100 a chain, the size is itself not well estimated.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cohort.decision import DecisionError
from cohort.units import factor, spelt

if TYPE_CHECKING:
    from cohort.mixture import ScalarMixture

GATE = 3.0  # how many standard errors a probability must be from its cut
LEAST = 100.0  # effective draws: with fewer, the effective size is not well known, nor the standard error from it [1]
MORE_DRAWS = "no conclusion: more draws"

_NAME = r"[^\W\d][\w.]*"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_CRITERION = re.compile(
    rf"\s*P\s*\(\s*(?P<first>{_NAME})\s*(?:(?P<operation>[-/])\s*(?P<second>{_NAME})\s*)?"
    rf"(?P<side>[<>])\s*(?P<threshold>{_NUMBER})\s*(?P<unit>[^\s()<>=\d.+-][^()<>=]*?)?\s*\)"
    rf"\s*(?P<toward>[<>])\s*(?P<cut>{_NUMBER})\s*"
)
_FORM = "write such as P(treatment - control > 0) > 0.975, with 'and' between criteria"

Role = Literal["benefit", "risk"]


@dataclass(frozen=True)
class Criterion:
    """One posterior probability and the cut it must pass."""

    first: str
    operation: Literal["", "-", "/"]
    second: str  # "" where the quantity is a single name
    above: bool  # P(quantity > threshold), or P(quantity < threshold)
    threshold: float
    unit: str  # of the threshold as it was written; "" for that of the draws
    cut: float
    exceeds: bool = True  # the probability must be more than the cut, or less
    role: Role = "benefit"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.first, self.second) if self.second else (self.first,)

    @property
    def quantity(self) -> str:
        return f"{self.first} {self.operation} {self.second}" if self.second else self.first

    @property
    def event(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"P({self.quantity} {'>' if self.above else '<'} {spelt(self.threshold)}{unit})"

    def __str__(self) -> str:
        return f"{self.event} {'>' if self.exceeds else '<'} {spelt(self.cut)}"

    def met(self, probability: np.ndarray | float) -> np.ndarray:
        """Whether the cut is passed, of the shape of probability."""
        return np.asarray(probability) > self.cut if self.exceeds else np.asarray(probability) < self.cut

    def happens(self, draws: Mapping[str, np.ndarray]) -> np.ndarray:
        """Draw by draw, whether the quantity is on the wanted side of the threshold."""
        value = self.value(draws)
        return value > self.threshold if self.above else value < self.threshold

    def value(self, draws: Mapping[str, np.ndarray]) -> np.ndarray:
        """The quantity, draw by draw."""
        value = np.asarray(draws[self.first], float)
        if self.operation == "-":
            value = value - draws[self.second]
        if self.operation == "/":
            value = value / draws[self.second]
        return value


@dataclass(frozen=True)
class Decision:
    """Criteria that must all be met."""

    criteria: tuple[Criterion, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for c in self.criteria for name in c.names))

    def __str__(self) -> str:
        return " and ".join(map(str, self.criteria))

    def of(self, role: Role) -> "Decision":
        """The criteria of one role; none may be left."""
        return Decision(tuple(c for c in self.criteria if c.role == role))

    def with_safety(self, risk: "Decision") -> "Decision":
        """These criteria of benefit and those of risk side by side: all must be met."""
        return Decision(self.criteria + tuple(replace(c, role="risk") for c in risk.criteria))

    def with_cut(self, cut: float, which: int = 0) -> "Decision":
        """The same decision with another probability cut of one criterion, the first if not said."""
        criteria = list(self.criteria)
        criteria[which] = replace(criteria[which], cut=cut)
        return Decision(tuple(criteria))

    def in_units(self, units: Mapping[str, str] | str) -> "Decision":
        """Thresholds in the units of the quantities, by name or one for all; "1" is a fraction or a plain number.
        Errors: DecisionError of a threshold whose unit measures something else, or of a name without a unit."""
        wrong, found = [], []
        for c in self.criteria:
            own = [units if isinstance(units, str) else units.get(name) for name in c.names]
            if not c.unit:
                found.append(c)
                continue
            if None in own or len(set(own)) > 1:
                wrong.append(f"{c.event}: units of {' and '.join(c.names)} are {own}; give them one and the same")
                continue
            target = "1" if c.operation == "/" else str(own[0])
            try:
                found.append(replace(c, threshold=c.threshold * factor(c.unit, target), unit=""))
            except ValueError as e:
                wrong.append(f"{c.event}: {e}; write the threshold in {target}")
        if wrong:
            raise DecisionError("\n".join(wrong))
        return Decision(tuple(found))


def decision(text: str, names: Iterable[str] | None = None) -> Decision:
    """Read a decision. names: the quantities that there are; any name will do if None.
    Errors: DecisionError with everything that is wrong."""
    known = None if names is None else list(names)
    if not isinstance(text, str) or not text.strip():
        raise DecisionError(f"decision: found {text!r}; {_FORM}")
    wrong, criteria = [], []
    for part in re.split(r"\s+and\s+", text.strip()):
        match = _CRITERION.fullmatch(part)
        if match is None:
            wrong.append(f"'{part}': not a criterion; {_FORM}")
            continue
        threshold, cut = float(match["threshold"]), float(match["cut"])
        c = Criterion(
            first=match["first"],
            operation=match["operation"] or "",  # type: ignore[arg-type]
            second=match["second"] or "",
            above=match["side"] == ">",
            threshold=threshold,
            unit=match["unit"] or "",
            cut=cut,
            exceeds=match["toward"] == ">",
        )
        criteria.append(c)
        if not 0 < cut < 1:
            wrong.append(f"'{part}': the probability {spelt(cut)} is not between 0 and 1; write such as 0.975")
        if not math.isfinite(threshold):
            wrong.append(f"'{part}': the threshold is not finite")
        if c.operation == "/" and threshold <= 0:
            wrong.append(f"'{part}': a ratio is compared with {spelt(threshold)}; write a positive threshold")
        if c.second and c.first == c.second:
            wrong.append(f"'{part}': {c.first} is compared with itself; name two quantities")
        wrong += [f"'{part}': {_unknown(name, known)}" for name in c.names if known is not None and name not in known]
    if wrong:
        raise DecisionError("\n".join(wrong))
    return Decision(tuple(criteria))


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
    return f"no quantity is named '{name}'; {hint}"


@dataclass(frozen=True)
class Finding:
    """One criterion judged. mcse: Monte Carlo standard error of the probability, 0 where it is exact. ess: effective
    draws it rests on, infinite where it is exact or they are not known."""

    criterion: Criterion
    probability: float
    mcse: float
    ess: float = math.inf

    @property
    def settled(self) -> bool:
        """Whether the standard error is less than a third of the distance to the cut, from LEAST draws or more."""
        near = self.mcse >= abs(self.probability - self.criterion.cut) / GATE
        return self.mcse == 0 or (self.ess >= LEAST and not near)

    @property
    def met(self) -> bool | None:
        """None where more draws are needed to say."""
        return bool(self.criterion.met(self.probability)) if self.settled else None


@dataclass(frozen=True)
class Verdict:
    """What the posterior says to the criteria, benefit and risk side by side."""

    findings: tuple[Finding, ...]

    @property
    def met(self) -> bool | None:
        """All criteria: one that is clearly missed settles it; None where more draws are needed to say."""
        answers = [f.met for f in self.findings]
        return False if False in answers else None if None in answers else True

    @property
    def conclusion(self) -> str:
        return {True: "criteria met", False: "criteria not met", None: MORE_DRAWS}[self.met]

    def of(self, role: Role) -> "Verdict | None":
        """The part of benefit or of risk; None where there is none."""
        found = tuple(f for f in self.findings if f.criterion.role == role)
        return Verdict(found) if found else None

    def rows(self) -> list[dict[str, object]]:
        """One per criterion, for a table."""
        return [
            {
                "role": f.criterion.role,
                "criterion": str(f.criterion),
                "probability": f.probability,
                "mcse": f.mcse,
                "cut": f.criterion.cut,
                "met": f.met,
            }
            for f in self.findings
        ]


def judge(decision: Decision, probabilities: Iterable[float], mcse: Iterable[float] | None = None) -> Verdict:
    """A verdict on probabilities that are known, one per criterion; exact where no mcse is given.
    Errors: DecisionError of a number that is no probability, or of too few of them."""
    found = list(probabilities)
    errors = [0.0] * len(found) if mcse is None else list(mcse)
    if len(found) != len(decision.criteria) or len(errors) != len(found):
        raise DecisionError(f"{len(found)} probabilities for {len(decision.criteria)} criteria; give one for each")
    pairs = list(zip(decision.criteria, found, errors, strict=True))
    wrong = [f"{c.event}: found {p}; not a probability" for c, p, _ in pairs if not -1e-9 <= p <= 1 + 1e-9]
    wrong += [f"{c.event}: standard error {e}; write 0 or more" for c, _, e in pairs if not 0 <= e < math.inf]
    if wrong:
        raise DecisionError("\n".join(wrong))
    return Verdict(tuple(Finding(c, min(max(float(p), 0.0), 1.0), float(e)) for c, p, e in pairs))


def evaluate(
    decision: Decision,
    draws: Mapping[str, np.ndarray],
    *,
    ess: Mapping[str, float] | None = None,
    units: Mapping[str, str] | str | None = None,
) -> Verdict:
    """The verdict of posterior draws. draws: by name, each (draws,) or (chains, draws), all of one shape.

    ess: effective sample sizes by name; the smallest of a criterion's names counts. Without it, draws with chains get
    the effective size of the event itself, or of the quantity where the event is true for all draws or none; others are
    taken as independent. With fewer than LEAST effective draws a criterion is not settled. units: those of the draws,
    needed where a threshold has one. Errors: DecisionError with everything that is wrong."""
    ready = decision.in_units(units) if units is not None else decision
    wrong = [f"{c.event}: the unit of the draws is not given; give units" for c in ready.criteria if c.unit]
    wrong += [_unknown(name, list(draws)) for name in ready.names if name not in draws]
    arrays = {name: np.asarray(draws[name], float) for name in ready.names if name in draws}
    for name, x in arrays.items():
        if x.ndim not in (1, 2) or x.size < 2:
            wrong.append(f"{name}: draws of shape {x.shape}; give (draws,) or (chains, draws)")
        elif not np.isfinite(x).all():
            wrong.append(f"{name}: {np.sum(~np.isfinite(x))} draws are not finite; no conclusion rests on them")
    if len({x.shape for x in arrays.values()}) > 1:
        wrong.append(f"draws have shapes { ({n: x.shape for n, x in arrays.items()}) }; give all of one shape")
    for c in ready.criteria:
        if c.operation == "/" and np.any(arrays.get(c.second, np.ones(1)) <= 0):
            wrong.append(f"{c.event}: {c.second} has draws of 0 or less; a ratio needs positive ones")
    for name, size in (ess or {}).items():
        if not 1 <= size < math.inf:
            wrong.append(f"ess of {name} is {size}; write a number of 1 or more")
    if wrong:
        raise DecisionError("\n".join(wrong))
    events = [c.happens(arrays) for c in ready.criteria]
    sizes = [_size(c, x, arrays, ess) for c, x in zip(ready.criteria, events, strict=True)]
    mcse = [_mcse(float(x.mean()), n) for x, n in zip(events, sizes, strict=True)]
    found = judge(ready, [float(x.mean()) for x in events], mcse)
    as_written = zip(found.findings, decision.criteria, sizes, strict=True)
    return Verdict(tuple(replace(f, criterion=c, ess=n) for f, c, n in as_written))


def evaluate_exactly(
    decision: Decision, posterior: Mapping[str, "ScalarMixture"], *, units: Mapping[str, str] | str | None = None
) -> Verdict:
    """The verdict of independent posteriors that are mixtures, by name, all of one family: no Monte Carlo error.
    Errors: DecisionError with everything that is wrong."""
    from cohort.mixture.difference import probability

    ready = decision.in_units(units) if units is not None else decision
    wrong = [f"{c.event}: the unit of the posterior is not given; give units" for c in ready.criteria if c.unit]
    wrong += [_unknown(name, list(posterior)) for name in ready.names if name not in posterior]
    if wrong:
        raise DecisionError("\n".join(wrong))
    found = []
    for c in ready.criteria:
        first = posterior[c.first]
        if c.operation == "":
            above = float(first.sf(c.threshold))
        elif c.operation == "-":
            above = float(probability(first, posterior[c.second], c.threshold))
        else:
            above = float(probability(first, posterior[c.second], math.log(c.threshold), "log"))
        found.append(above if c.above else 1 - above)
    return Verdict(tuple(Finding(c, min(max(p, 0.0), 1.0), 0.0) for c, p in zip(decision.criteria, found, strict=True)))


def effective_size(x: np.ndarray, method: Literal["mean", "bulk"]) -> float:
    """Effective sample size of draws (chains, draws) for their mean, or of their ranks; at least 1, and 1 where chains
    are too short to say."""
    from arviz_stats.base import array_stats

    found = float(array_stats.ess(x.astype(float), chain_axis=0, draw_axis=1, method=method))  # type: ignore
    return found if found >= 1 else 1.0


def _size(c: Criterion, event: np.ndarray, draws: Mapping[str, np.ndarray], ess: Mapping[str, float] | None) -> float:
    if ess is not None and all(name in ess for name in c.names):
        return min(float(ess[name]) for name in c.names)
    if event.ndim == 1:
        return float(event.size)
    if event.any() and not event.all():
        return effective_size(event, "mean")
    return effective_size(c.value(draws), "bulk")  # a constant event says nothing of how the chains mix


def _mcse(p: float, n: float) -> float:
    """Of a probability from n effective draws; one more of each kind is counted, for none seen is not never."""
    q = (n * p + 1) / (n + 2)
    return math.sqrt(q * (1 - q) / n)
