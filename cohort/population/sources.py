"""Where virtual people come from: each source is a chain of steps, with the ages it has evidence for."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from cohort.population import (
    body,
    children,
    circulation,
    enzymes,
    genes,
    lifestyle,
    plasma,
    reference_adults,
    table,
    us,
)
from cohort.population.causal import Chain, Column, Columns, Step
from cohort.population.conditions import Condition, check_stack, read_condition, with_conditions
from cohort.population.resample import read_people
from cohort.streams import Streams, streams

BLOCK = 8192  # people made at a time: their columns stay in the processor's cache

# Between latents. The first two together bring kidney mass and measured GFR to a correlation of 0.65 below 65 y, where
# 0.62 is published (tests/population/test_sources.py). Of two people of one size the leaner has more creatinine: by how
# much, unverified.
ANYONE = {
    **enzymes.CORRELATIONS,
    **lifestyle.CORRELATIONS,
    ("kidney", "mass_kidney"): -0.6,
    ("measured_gfr", "mass_kidney"): 0.4,
    ("kidney", "fat"): -0.2,
}


class SourceError(ValueError):
    """A source of people that is not known; the message names those that are."""


@dataclass(frozen=True)
class Source:
    """`ages`: y, the first included, the last not. `inverses`: for a column, its latent from the columns before it.
    `rows`: people of a file, (rows,) by column, of whom each virtual person is one; `extra`: columns of it that no
    step makes. `stack`: conditions that everyone has."""

    name: str
    about: str
    chain: Chain
    ages: tuple[float, float]
    inverses: Mapping[str, Callable[[Columns], np.ndarray]] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    extra: Mapping[str, Column] = field(default_factory=dict)
    stack: tuple[Condition, ...] = ()

    @functools.cached_property
    def columns(self) -> dict[str, Column]:
        return {**self.chain.columns, **self.extra}

    @property
    def conditional(self) -> bool:
        """Whether there are conditions that not everyone can have."""
        return bool(self.stack)

    def given(self, own: Streams) -> dict[str, np.ndarray]:
        """What the file says of these people; nothing without one."""
        if not self.rows:
            return {}
        size = len(self.rows["age"])
        row = np.minimum((own.uniform("row")[:, 0] * size).astype(np.intp), size - 1)
        return {name: values[row] for name, values in self.rows.items()} | {"row": row + 1.0}

    def people(self, own: Streams, given: Columns | None = None) -> dict[str, np.ndarray]:
        """Every column of the people whose streams these are, (n,) each. given: columns known from elsewhere."""
        made = self.chain.people(lambda name: own.normal(name)[:, 0], {**self.given(own), **(given or {})})
        return {name: made[name] for name in self.columns}

    def refused(self, own: Streams, given: Columns | None = None) -> np.ndarray:
        """Why someone cannot have the conditions, (n,) texts; empty for those who can."""
        who = self.chain.upto("sex", "age").people(
            lambda name: own.normal(name)[:, 0], {**self.given(own), **(given or {})}
        )
        reasons = np.full(own.size, "", dtype=object)
        for condition in self.stack:
            for reason, unfit in condition.unfit(who).items():
                reasons[unfit] = f"{condition.name}: they {reason}"
        return reasons

    def tables(self, seed: int, size: int) -> Iterator[pa.Table]:
        """The first `size` people of this seed, in blocks of BLOCK."""
        for first in range(0, size, BLOCK):
            subjects = names(first, min(BLOCK, size - first))
            yield table.table(subjects, self.people(streams(seed, "population", subjects)), self.columns)


def names(after: int, n: int) -> list[str]:
    """Ids of n candidates, counted from 1."""
    return [f"{i:07d}" for i in range(after + 1, after + 1 + n)]


ADULTS = (*body.STEPS, *circulation.STEPS, *plasma.STEPS)
NAMES = ("us", "europe", "japan", "us_children", "german_children", "who_children", "resample")


@functools.cache
def _base(name: str, abundances: str) -> Source:
    def chain(steps: Sequence[Step], region: str, correlations: Mapping[tuple[str, str], float]) -> Chain:
        rest = (*lifestyle.lifestyle_steps(region), *genes.STEPS, *enzymes.abundance_steps(abundances))
        made = Chain((*steps, *rest))
        tied = {pair: r for pair, r in {**correlations, **ANYONE}.items() if set(pair) <= set(made.latents)}
        return Chain(made.steps, tied)

    match name:
        case "us" | "resample":
            told = "adults of the United States: NHANES 2013-2018"
            made = chain((*us.STEPS, *ADULTS), "us", us.CORRELATIONS)
            return Source("us", told, made, us.AGES, us.INVERSES)
        case "europe" | "japan":
            reference = {"europe": reference_adults.EUROPE, "japan": reference_adults.JAPAN}[name]
            made = chain((*reference_adults.steps(reference), *ADULTS), name, us.CORRELATIONS)
            inverses = reference_adults.inverses(reference)
            return Source(name, f"adults: {reference.source}", made, reference_adults.AGES, inverses)
        case "us_children" | "german_children" | "who_children":
            growth = {"us_children": children.US, "german_children": children.GERMAN, "who_children": children.WHO}[
                name
            ]
            steps = children.who_children() if name == "who_children" else children.steps(growth)
            made = chain(steps, "europe" if name == "german_children" else "us", children.CORRELATIONS)
            return Source(name, f"children: {growth.source}", made, growth.ages, children.INVERSES[name])
    raise SourceError(f"{name!r} is no source of people; write one of {', '.join(NAMES)}")


def source(
    name: str,
    *,
    conditions: Sequence[str] = (),
    compound: str | Path | None = None,
    people: Path | None = None,
    abundances: str = enzymes.DEFAULT,
) -> Source:
    """The source of this name. conditions: texts such as "ckd=4", which everyone has; compound: a drug by name or
    file, whose partition coefficients everyone gets; people: the file of `resample`; abundances: a set of enzymes.

    Errors: SourceError, ConditionError, CompoundError, PeopleError with everything wrong of each."""
    if abundances not in enzymes.SETS:
        raise SourceError(f"{abundances!r} is not a set of abundances; write one of {', '.join(enzymes.SETS)}")
    made = _base(name, abundances)
    if (name == "resample") != (people is not None):
        raise SourceError("people: the source resample takes the people of a file; write both, or neither")
    if people is not None:
        rows, extra = read_people(people, made.columns)
        row = Column("1", "row of the file, counted from 1", people.name)
        told = f"{len(rows['age'])} people of {people.name}; what it lacks: {made.about}"
        made = replace(made, name=name, about=told, rows=rows, extra={**extra, "row": row}, inverses={})
    stack = [read_condition(text) for text in conditions]
    check_stack(stack)
    if wrong := [c for c, _ in stack if c.after in made.rows]:
        listed = "; ".join(f"{c.name} would change {c.after}, which the file says" for c in wrong)
        raise SourceError(f"conditions: {listed}: leave it out")
    if stack:
        chosen = tuple(condition for condition, _ in stack)
        made = replace(made, chain=with_conditions(made.chain, stack), inverses={}, stack=chosen)
    if compound is not None:
        from cohort.population.partition import compound_steps, read_compound  # pydantic and pint take a while

        drug = compound_steps(read_compound(compound))
        if lacking := [c for s in drug for c in s.needs if c not in made.columns]:
            raise SourceError(
                f"compound {compound}: the set {abundances!r} has no {', '.join(lacking)}; choose another"
            )
        made = replace(made, chain=Chain((*made.chain.steps, *drug), made.chain.correlations))
    return made
