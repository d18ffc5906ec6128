"""The causal order: columns of a person, and the steps that make each from latent normals and earlier columns."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

type Columns = Mapping[str, np.ndarray]  # (n,) each; a category by the index of its level


@dataclass(frozen=True)
class Column:
    """One column of a table of people. `unit` as pint reads it, "1" of ratios and fractions. A category has `levels`.
    `source`: where its distribution comes from, with "unverified" where a figure was not checked."""

    unit: str
    about: str
    source: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """Makes some columns from others and from latent standard normals. `run(x, z)` sees those it declares, no more,
    and returns a column of (n,) for each that it makes."""

    run: Callable[[Columns, Columns], Mapping[str, np.ndarray]]
    makes: Mapping[str, Column]
    needs: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.run.__name__.strip("_").replace("_", " ")


def step(
    makes: Mapping[str, Column], *, needs: Iterable[str] = (), draws: Iterable[str] = ()
) -> Callable[[Callable[[Columns, Columns], Mapping[str, np.ndarray]]], Step]:
    """Decorates `def name(x, z)`: x holds the columns in `needs`, z the latents in `draws`."""
    return lambda run: Step(run, makes, tuple(needs), tuple(draws))


@dataclass(frozen=True)
class Chain:
    """Steps in causal order, and the correlations between latents (a Gaussian copula)."""

    steps: tuple[Step, ...]
    correlations: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made: set[str] = set()
        for s in self.steps:
            if missing := [c for c in s.needs if c not in made]:
                raise ValueError(f"step {s.name!r} needs {', '.join(missing)}, which no earlier step makes")
            made |= set(s.makes)

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every column, in the order made; the last step that makes one tells of it."""
        return {name: column for s in self.steps for name, column in s.makes.items()}

    @cached_property
    def latents(self) -> tuple[str, ...]:
        """Every latent, once, in the order of use."""
        return tuple(dict.fromkeys(name for s in self.steps for name in s.draws))

    def upto(self, *columns: str) -> "Chain":
        """The steps alone that these columns rest on."""
        wanted, kept = set(columns), []
        for s in reversed(self.steps):
            if wanted & set(s.makes):
                kept.append(s)
                wanted |= set(s.needs)
        return Chain(tuple(reversed(kept)), self.correlations)

    @cached_property
    def _tied(self) -> dict[str, dict[str, float]]:
        """Rows of the Cholesky factor of the latents that are correlated with another: name to weights."""
        # In the order of the correlations, not of the steps: a chain of fewer steps makes the same people.
        names = list(dict.fromkeys(name for pair in self.correlations for name in pair))
        r = np.eye(len(names))
        for (a, b), value in self.correlations.items():
            i, j = names.index(a), names.index(b)
            r[i, j] = r[j, i] = value
        lower = np.linalg.cholesky(r) if names else r
        return {n: {m: lower[i, j] for j, m in enumerate(names) if lower[i, j]} for i, n in enumerate(names)}

    def tie(self, independent: Callable[[str], np.ndarray]) -> Callable[[str], np.ndarray]:
        """From independent standard normals by name to correlated ones."""
        kept: dict[str, np.ndarray] = {}

        def drawn(name: str) -> np.ndarray:
            if name not in kept:
                kept[name] = independent(name)
            return kept[name]

        def tied(name: str) -> np.ndarray:
            row = self._tied.get(name)
            if row is None or list(row) == [name]:
                return drawn(name) if row else independent(name)
            first, *others = row.items()
            total = first[1] * drawn(first[0])
            for other, weight in others:
                total += weight * drawn(other)
            return total

        return tied

    def people(self, independent: Callable[[str], np.ndarray], given: Columns | None = None) -> dict[str, np.ndarray]:
        """Every column of n people. independent: a latent's name to (n,) independent standard normals; given: columns
        known from elsewhere, which take the place of what the first step that makes them would."""
        z, made = self.tie(independent), dict(given or {})
        waiting = set(made)  # of a column made twice, what is given replaces the first: a condition may follow
        for s in self.steps:
            known = waiting & set(s.makes)
            waiting -= known
            if len(known) < len(s.makes):
                out = s.run({c: made[c] for c in s.needs}, {d: z(d) for d in s.draws})
                made |= {name: value for name, value in out.items() if name not in known}
        return made
