"""A person's twin: everybody whom the chain could make who is like one real person in all that is known of them.

Columns known exactly hold their latent normals at one value, and the others follow from them by the Gaussian
conditional: draws are exact. Columns known with a measurement error, and criteria, weigh people: draws are those of
elliptical slice sampling [1] on the independent latents, many chains at once, with jumps between: proposals from a
mixture of Gaussians that was fitted to the chains while they warmed up, one for each combination of categories met, so
that a chain also crosses from one category to another.

References
----------
[1] Murray, Adams & MacKay 2010, Elliptical slice sampling. AISTATS, PMLR 9:541-548.
[2] Vehtari et al. 2021, Rank-normalization, folding, and localization: an improved R-hat. Bayesian Analysis
    16:667-718, doi 10.1214/20-BA1221.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2

from cohort.population.baseline import Criterion
from cohort.population.causal import Chain, Columns
from cohort.streams import streams

type Inverses = Mapping[str, Callable[[Columns], np.ndarray]]

FAR = 5.0  # standard deviations: one person in 3.5 million is farther, and nobody known is taken for them
CHAINS = 64
PRIOR = 8192  # people among whom the chains find their starts
STARTS = 256
WARM = (0.01, 0.05, 0.2, 0.5, *(1.0,) * 8)  # powers of the likelihood: the chains come to what is known by degrees
ROUND = 40  # iterations at each, after which the jumps are learned anew
KEPT = 400  # iterations, doubled until the chains agree
PIECES, WIDER = 8, 1.2  # Gaussians for each combination of categories; their SDs, in those of the chains
PATIENCE = 4  # doublings
CONVERGED = 1.01  # [2]


class TwinError(ValueError):
    """What is known of a person cannot be, or not be used; the message names the column."""


@dataclass(frozen=True)
class Known:
    """A value measured in one person, in the column's unit; `sd`: of its measurement error, None where it is exact."""

    value: float
    sd: float | None = None


@dataclass(frozen=True)
class Twin:
    """Draws of one person. `people`: every column of the chain, the true values, (draws,); `known`: as measured.

    `rhat` and `effective` (bulk sample size): the worst of any latent [2]; 1 and the number of draws where exact."""

    people: dict[str, np.ndarray]
    known: dict[str, Known]
    rhat: float
    effective: float


def twin(
    chain: Chain,
    known: Mapping[str, Known | float],
    draws: int,
    seed: int,
    given: Mapping[str, float | str] | None = None,
    inverses: Inverses | None = None,
    criteria: Sequence[Criterion] = (),
) -> Twin:
    """People like one real person.

    given: columns at the head of the chain, such as sex and age, which nothing else known can tell of; a category by
    its level. inverses: for a column known exactly, the latent that its step draws, (1,), from the columns given and
    exactly known. criteria: what the person met, such as a trial's. Errors: TwinError of what cannot be."""
    known = {name: k if isinstance(k, Known) else Known(k) for name, k in known.items()}
    _check(chain, known, given or {}, draws, criteria)
    fixed = {name: _index(chain, name, value) for name, value in (given or {}).items()}
    exact = {name: k.value for name, k in known.items() if not k.sd}
    target = _Target(chain, fixed, {n: k for n, k in known.items() if k.sd}, criteria, exact, inverses or {})
    s = streams(seed, "twin", [f"{i:07d}" for i in range(draws)])
    latents, rhat, effective = target.names, 1.0, float(draws)
    if target.weighs:
        rng = np.random.default_rng(seed)
        chains, rhat, effective = _sampled(target, draws, rng)
        drawn = dict(zip(latents, target.held(chains), strict=True))
    else:
        free = np.array([s.normal(name)[:, 0] for name in latents]).reshape(len(latents), draws)
        drawn = dict(zip(latents, target.held(free), strict=True))
    people = chain.people(
        lambda name: drawn[name] if name in drawn else s.normal(name)[:, 0],
        {name: np.full(draws, value) for name, value in fixed.items()},
    )
    for name, value in exact.items():
        if name not in fixed and not np.allclose(people[name], value, rtol=1e-6, atol=1e-9):
            raise TwinError(f"{name}: its inverse does not give {value:g} back: it is beyond what the chain makes")
    return Twin(people, known, rhat, effective)


def _check(
    chain: Chain,
    known: Mapping[str, Known],
    given: Mapping[str, float | str],
    draws: int,
    criteria: Sequence[Criterion],
) -> None:
    wrong = []
    for name in (*known, *given, *(c.column for c in criteria)):
        if name not in chain.columns:
            near = difflib.get_close_matches(name, chain.columns, n=1)
            wrong.append(f"{name}: no column of the chain" + (f"; did you mean '{near[0]}'?" if near else ""))
    for name, k in known.items():
        if not math.isfinite(k.value) or (k.sd is not None and not (math.isfinite(k.sd) and k.sd >= 0)):
            wrong.append(f"{name}: {k.value} with an error of {k.sd}; write numbers, and an error of 0 or more")
        elif name in chain.columns and chain.columns[name].levels:
            wrong.append(f"{name}: a category; give it, or ask for it as a criterion")
        elif name in given:
            wrong.append(f"{name}: given and known; keep one")
    for name in given:
        step = next((s for s in chain.steps if name in s.makes), None)
        if step and (open_ := [n for n in (*step.needs, *step.makes) if n not in given]):
            wrong.append(f"{name}: comes with {', '.join(open_)}; give both, or ask for it as a criterion")
        if step and any(latent in pair for latent in step.draws for pair in chain.correlations):
            wrong.append(f"{name}: tells of others by its latent; write it as known, or as a criterion")
    if draws < 1:
        wrong.append(f"{draws} draws; ask for one or more")
    if wrong:
        raise TwinError("\n".join(wrong))


def _index(chain: Chain, name: str, value: float | str) -> float | int:
    levels = chain.columns[name].levels
    if levels and value not in levels:
        raise TwinError(f"{name}: {value!r} is no level; write one of {', '.join(levels)}")
    if not levels and not (isinstance(value, int | float) and math.isfinite(value)):
        raise TwinError(f"{name}: {value!r}; write a number in {chain.columns[name].unit}")
    return levels.index(str(value)) if levels else float(value)


class _Target:
    """The posterior, as a density of independent latents `names` under a standard normal prior."""

    def __init__(
        self,
        chain: Chain,
        fixed: Mapping[str, float],
        measured: Mapping[str, Known],
        criteria: Sequence[Criterion],
        exact: Mapping[str, float],
        inverses: Inverses,
    ) -> None:
        self.chain, self.fixed, self.measured, self.criteria = chain, fixed, measured, criteria
        self.above = Chain(chain.upto(*measured, *(c.column for c in criteria)).steps)
        held = {name: self._held(name, exact, inverses) for name in exact}
        used = [d for s in self.above.steps for d in s.draws if not all(name in fixed for name in s.makes)]
        rows = {latent: _row(chain, latent) for latent in (*used, *(latent for latent, _ in held.values()))}
        self.names = tuple(dict.fromkeys(name for row in rows.values() for name in row))
        a = np.array([[rows[latent].get(name, 0.0) for name in self.names] for latent, _ in held.values()])
        self.a, self.z = a.reshape(len(held), len(self.names)), np.array([z for _, z in held.values()])
        if len(held) and np.linalg.matrix_rank(self.a) < len(held):
            raise TwinError(f"{' and '.join(held)} hang on the same latent: keep one, or give them a measurement error")
        self.back = np.linalg.pinv(self.a)

    @property
    def weighs(self) -> bool:
        return bool(self.measured or self.criteria)

    def _held(self, name: str, exact: Mapping[str, float], inverses: Inverses) -> tuple[str, float]:
        """The latent that an exactly known column stands for, and its value."""
        makers = [s for s in self.chain.steps if name in s.makes]
        if name not in inverses or len(makers) != 1 or len(makers[0].draws) != 1:
            raise TwinError(f"{name}: nothing gives its latent back; write its measurement error, Known(value, sd)")
        try:
            x = {n: np.array([v]) for n, v in {**self.fixed, **exact}.items()}
            z = float(inverses[name](x)[0])
        except KeyError as e:
            raise TwinError(f"{name}: known exactly only beside {e.args[0]}; give it, or a measurement error") from None
        if not abs(z) <= FAR:
            raise TwinError(
                f"{name}: {exact[name]:g} {self.chain.columns[name].unit} lies {z:.1f} standard deviations off"
            )
        return makers[0].draws[0], z

    def held(self, free: np.ndarray) -> np.ndarray:
        """From free standard normals, (names, n), to those given what is known exactly (Matheron's rule)."""
        return free + self.back @ (self.z[:, None] - self.a @ free) if len(self.a) else free

    def columns(self, free: np.ndarray) -> dict[str, np.ndarray]:
        """The columns that what is measured hangs on. free: (names, n)."""
        tied = self.chain.tie(dict(zip(self.names, self.held(free), strict=True)).__getitem__)
        return self.above.people(tied, {n: np.full(free.shape[1], v) for n, v in self.fixed.items()})

    def group(self, free: np.ndarray) -> np.ndarray:
        """Who have the same categories: the index of a combination of levels, (n,) of (names, n)."""
        x = self.columns(free)
        levels = [x[name] for name, column in self.above.columns.items() if column.levels] or [np.zeros(free.shape[1])]
        return np.unique(np.array(levels), axis=1, return_inverse=True)[1].ravel()

    def misses(self, x: Columns) -> dict[str, np.ndarray]:
        """In standard deviations of the measurement error, (n,)."""
        return {name: (x[name] - k.value) / (k.sd or math.inf) for name, k in self.measured.items()}

    def log_likelihood(self, free: np.ndarray) -> np.ndarray:
        """(n,) of (names, n); -inf of people who miss a criterion or could not be."""
        with np.errstate(all="ignore"):
            x = self.columns(free)
            total = np.zeros(free.shape[1]) - sum(m**2 for m in self.misses(x).values()) / 2
            for c in self.criteria:
                column = self.chain.columns[c.column]
                values = np.array(column.levels)[x[c.column]] if column.levels else x[c.column]
                total[~c.keeps(values, column.unit)] = -math.inf
        return np.where(np.isnan(total), -math.inf, total)


def _row(chain: Chain, latent: str) -> dict[str, float]:
    """A latent as a sum of independent ones: name to weight."""
    names: list[str] = []

    def unit(name: str) -> np.ndarray:
        names.append(name)
        return np.array([float(name == n) for n in chain.latents])

    weights = chain.tie(unit)(latent)
    return {name: float(weights[chain.latents.index(name)]) for name in names}


@dataclass(frozen=True)
class _Mixture:
    """Gaussians, some for each combination of categories among the people seen: what the chains propose to jump to."""

    share: np.ndarray  # (groups,)
    centre: np.ndarray  # (groups, names)
    root: np.ndarray  # (groups, names, names), lower triangles

    @classmethod
    def of(cls, x: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> "_Mixture":
        """x: (names, n); group: (n,), the index of each one's. A posterior that bends is covered piece by piece."""
        d, pieces = len(x), []
        for g in range(group.max() + 1):
            some = x[:, group == g]
            few = min(PIECES, some.shape[1] // (20 * d))
            piece = kmeans2(some.T, few, minit="++", rng=rng)[1] if few > 1 else np.zeros(some.shape[1])
            pieces += [some[:, piece == k] for k in np.unique(piece)]
        size = np.array([p.shape[1] for p in pieces])
        whole = np.cov(x).reshape(d, d)  # lends a little to pieces of few
        spread = [
            WIDER**2 * (n * np.cov(p, bias=True).reshape(d, d) + 0.1 * d * whole) / (n + 0.1 * d)
            for n, p in zip(size, pieces, strict=True)
        ]
        root = np.array([np.linalg.cholesky(s + 1e-10 * np.eye(d)) for s in spread])
        return cls(size / size.sum(), np.array([p.mean(axis=1) for p in pieces]), root)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(names, n)."""
        group = rng.choice(len(self.share), n, p=self.share)
        z = rng.standard_normal((n, self.centre.shape[1], 1))
        return (self.centre[group] + (self.root[group] @ z)[:, :, 0]).T

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """(n,) of (names, n), but for a constant."""
        z = np.linalg.solve(self.root, x[None] - self.centre[:, :, None])
        volume = np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(axis=1)
        log_each = np.log(self.share)[:, None] - volume[:, None] - (z**2).sum(axis=1) / 2
        top = log_each.max(axis=0)
        return top + np.log(np.exp(log_each - top).sum(axis=0))


def _sampled(target: _Target, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """(names, draws) of the posterior, the worst R-hat and the least bulk effective size."""
    from arviz_stats.base import array_stats

    d = len(target.names)
    prior = rng.standard_normal((d, PRIOR))
    weight = WARM[0] * target.log_likelihood(prior)
    if not np.isfinite(weight).any():
        raise TwinError(f"nobody of {PRIOR} people is like this: what is known and the criteria contradict")
    if not d:  # all that is asked of the person is given
        return np.empty((0, draws)), 1.0, float(draws)
    p = np.exp(weight - weight.max())
    x, jumps = prior[:, rng.choice(PRIOR, STARTS, p=p / p.sum())], None
    for power in WARM:
        path = _walk(target, x, jumps, ROUND, rng, power)
        x, last = path[-1], path[ROUND // 2 :].transpose(1, 0, 2).reshape(d, -1)
        jumps = _Mixture.of(last, target.group(last), rng)
    x, length, rhat = x[:, rng.permutation(STARTS)[:CHAINS]], max(KEPT, -(-draws // CHAINS)), math.inf
    for doubling in range(PATIENCE):
        path = _walk(target, x, jumps, length << doubling, rng)
        x, flat = path[-1], path.transpose(1, 0, 2).reshape(d, -1)
        _possible(target, flat)
        held = np.array([target.held(step) for step in path])  # (iterations, names, chains)
        moving = held.transpose(1, 2, 0)[held.std(axis=(0, 2)) > 1e-9]
        rhat = max((float(np.squeeze(array_stats.rhat(v))) for v in moving), default=1.0)
        if rhat <= CONVERGED:
            effective = min((float(np.squeeze(array_stats.ess(v))) for v in moving), default=float(flat.shape[1]))
            return flat[:, rng.permutation(flat.shape[1])[:draws]], rhat, effective
        jumps = _Mixture.of(flat, target.group(flat), rng)
    raise TwinError(
        f"the chains do not agree (R-hat {rhat:.3f}, above {CONVERGED}): write larger measurement errors, or give "
        "categories that are known"
    )


def _possible(target: _Target, free: np.ndarray) -> None:
    """Errors: TwinError when the person is one whom the chain never makes. free: (names, n), of the posterior."""
    off = {f"latent {name}": z.mean() for name, z in zip(target.names, target.held(free), strict=True)}
    off |= {name: miss.mean() for name, miss in target.misses(target.columns(free)).items()}
    worst = max(off, key=lambda name: abs(off[name]))
    if abs(off[worst]) > FAR:
        told = ", ".join(f"{name} {k.value:g}" for name, k in target.measured.items())
        raise TwinError(f"nobody is like this: {told}: {worst} lies {off[worst]:.1f} standard deviations off")


def _walk(
    target: _Target,
    x: np.ndarray,
    jumps: _Mixture | None,
    iterations: int,
    rng: np.random.Generator,
    power: float = 1.0,
) -> np.ndarray:
    """Elliptical slice sampling [1], each time followed by a proposal to jump. x: (names, chains). power: of
    the likelihood. Returns (iterations, names, chains)."""
    path = np.empty((iterations, *x.shape))
    now, n = power * target.log_likelihood(x), x.shape[1]
    for i in range(iterations):
        level, other, old = now + np.log(rng.random(n)), rng.standard_normal(x.shape), x
        angle = rng.uniform(0, 2 * math.pi, n)
        low, high = angle - 2 * math.pi, angle.copy()
        out, x = np.arange(n), x.copy()  # chains that have not moved yet
        while out.size:
            there = old[:, out] * np.cos(angle[out]) + other[:, out] * np.sin(angle[out])
            value = power * target.log_likelihood(there)
            fits = value >= level[out]
            x[:, out[fits]], now[out[fits]] = there[:, fits], value[fits]
            out = out[~fits]
            left = angle[out] < 0
            low[out[left]], high[out[~left]] = angle[out[left]], angle[out[~left]]
            angle[out] = rng.uniform(low[out], high[out])
        if jumps is not None:  # Metropolis and Hastings: whoever does not accept stays
            there = jumps.draw(n, rng)
            value = power * target.log_likelihood(there)
            odds = value - now - np.sum(there**2 - x**2, axis=0) / 2 + jumps.log_density(x) - jumps.log_density(there)
            moves = np.log(rng.random(n)) < odds
            x[:, moves], now[moves] = there[:, moves], value[moves]
        path[i] = x
    return path
