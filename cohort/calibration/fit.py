"""The posterior of model parameters from calibration arms: priors, likelihood, NUTS, and what may not be used.

NumPyro and its kin take seconds to import, so only the functions that sample do.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from cohort import units
from cohort.calibration.response import CalibrationError, response, slopes
from cohort.inference.sbc import TRACING
from cohort.model import Model
from cohort.record import digest, hardware, source_digest
from cohort.store import Job, table_digest
from cohort.study import Prior, Study, fingerprint

if TYPE_CHECKING:
    from numpyro.infer import NUTS


@dataclass(frozen=True)
class Data:
    """What calibration evidence says, with arms as positions in the study.

    mean, se: (arms,), NaN where an arm gives none; sd, df: one per group whose standard deviation the published
    analysis pooled, with `members`: (groups, arms); events: (rows, ...) counts with the share of each row on drug.
    """

    mean: np.ndarray
    se: np.ndarray
    sd: np.ndarray
    df: np.ndarray
    members: np.ndarray
    groups: tuple[str, ...]
    counts: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # per event: n, events, on drug (0 or 1)


def observed(study: Study, outcomes: pl.DataFrame) -> Data:
    """Arrange evidence rows for the likelihood. Errors: CalibrationError for rows it cannot use."""
    assert study.calibration is not None
    names = list(study.arms)
    wrong: list[str] = []
    mean, se, n = (np.full(len(names), np.nan) for _ in range(3))
    pooled: dict[str, list[int]] = {}
    counts: dict[str, list[tuple[int, int, float]]] = {}
    for row in outcomes.iter_rows(named=True):
        arms = row["arms"]
        if row["outcome"] == study.calibration.endpoint:
            if len(arms) != 1 or row["estimate"] is None:
                wrong.append(f"{row['outcome']}, {row['arm']}: one arm with estimate and se is needed")
                continue
            i = names.index(arms[0])
            mean[i], se[i], n[i] = row["estimate"], row["se"], row["n"]
            if row["pooled_sd"]:
                pooled.setdefault(row["pooled_sd"], []).append(i)
        elif row["events"] is not None and f"{row['outcome']}.background" in study.calibration.priors:
            drug = {study.arms[a].active for a in arms}
            if len(drug) > 1:
                wrong.append(f"{row['outcome']}, {row['arm']}: pools drug with placebo; give them apart")
                continue
            counts.setdefault(row["outcome"], []).append((row["n"], row["events"], float(drug.pop())))
    if not np.isfinite(mean).any():
        wrong.append(f"no row gives {study.calibration.endpoint}")
    if wrong:
        raise CalibrationError("; ".join(wrong))
    members = np.array([[i in who for i in range(len(names))] for who in pooled.values()], dtype=float)
    # A model-pooled SD makes SE·√n the same in each of its arms: one datum with the group's degrees of freedom.
    sd = np.array([np.sqrt(np.mean(se[who] ** 2 * n[who])) for who in pooled.values()])
    df = np.array([np.sum(n[who]) - len(who) for who in pooled.values()])
    tables = {event: tuple(np.array(column) for column in zip(*rows, strict=True)) for event, rows in counts.items()}
    return Data(mean, se, sd, df, members.reshape(-1, len(names)), tuple(pooled), tables)  # type: ignore[arg-type]


def distribution(prior: Prior) -> tuple[Any, Callable[[Any], Any]]:
    """A prior as a standard variable and the function that turns it into the parameter: better geometry for NUTS."""
    import numpyro.distributions as dist

    match prior.kind, prior.arguments:
        case "lognormal", (median, sigma):
            return dist.Normal(0.0, 1.0), lambda u: median * jnp.exp(sigma * u)
        case "normal", (mean, sd):
            return dist.Normal(0.0, 1.0), lambda u: mean + sd * u
        case "halfnormal", (scale,):
            # The absolute value of a normal, so that NUTS passes through zero instead of diving towards it in the log.
            return dist.Normal(0.0, 1.0), lambda u: scale * jnp.abs(u)
    raise AssertionError(prior)


def priors(study: Study, model: Model) -> dict[str, Prior]:
    """The study's priors in the model's units."""
    assert study.calibration is not None
    fields = model.parameters.fields()
    return {
        name: plan.prior.scaled(units.factor(plan.unit, fields[name]["unit"] if name in fields else "1"))
        for name, plan in study.calibration.priors.items()
    }


def probability(
    study: Study, model: Model, endpoint: Callable[[Mapping[str, Any]], Any], data: Data, *, apart: float = 0.0
) -> Callable[[Any], None]:
    """The NumPyro model, a function of which arms' means are used: (arms,) of True and False.

    `apart`: standard deviation, in the endpoint's unit, of a shift that the arms of one group share; none if 0.
    """
    import numpyro
    import numpyro.distributions as dist

    plan = study.calibration
    assert plan is not None
    typical = model.typical()
    residual = residual_of(model, plan.endpoint) if len(data.sd) else 0.0  # of published means alone nothing tells
    y, se = jnp.where(jnp.isfinite(data.mean), data.mean, 0.0), jnp.where(jnp.isfinite(data.se), data.se, 1.0)

    def model_of_arms(used: Any) -> None:
        values = {}
        for name, prior in sorted(priors(study, model).items()):  # the order in the file must not matter
            standard, transform = distribution(prior)
            values[name] = numpyro.deterministic(name, transform(numpyro.sample(f"{name}|standard", standard)))
        course = endpoint(typical | {k: v for k, v in values.items() if k in typical})
        mean, structural = jnp.mean(course, axis=1), jnp.var(course, axis=1)
        if apart:
            standard = numpyro.sample("offset|standard", dist.Normal(jnp.zeros(len(data.groups)), 1.0).to_event(1))
            mean = mean + numpyro.deterministic("offset", apart * standard) @ data.members
        with numpyro.plate("arm", len(y)), numpyro.handlers.mask(mask=used):
            numpyro.sample("mean", dist.Normal(mean, se), obs=y)
        if len(data.sd):
            # The published SD is that of an adjusted analysis: it may be off from the plain one by this much.
            off = numpyro.sample("adjustment|standard", dist.Normal(0.0, 1.0)) * plan.adjustment
            total = pooled_variance(data, structural, size(residual, typical | values) ** 2)
            with numpyro.plate("group", len(data.sd)):  # scaled chi-square
                rate = data.df / 2 / (total * jnp.exp(2 * off))
                numpyro.sample("variance", dist.Gamma(data.df / 2, rate), obs=data.sd**2)
        for event, (n, events, drug) in data.counts.items():
            logit = values[f"{event}.background"] + values[f"{event}.drug"] * drug
            with numpyro.plate(f"{event}_rows", len(n)):
                numpyro.sample(f"{event}_events", dist.Binomial(n, logits=logit), obs=events)

    return model_of_arms


def residual_of(model: Model, endpoint: str) -> float | str:
    """Standard deviation that measurement adds to the endpoint: a number, or the parameter that holds it. Errors:
    CalibrationError unless the endpoint reads one output, whose residual is a percentage of baseline."""
    fields = model.outputs.fields()
    read = [name for name, moves in slopes(model, endpoint, visits=3).items() if moves.any()]
    errors = [fields[name]["error"] for name in read]
    if len(errors) != 1 or errors[0].additive or errors[0].proportional or not errors[0].baseline:
        raise CalibrationError(
            f"the endpoint {endpoint!r} reads {', '.join(read)}; to calibrate on it, it must read one output "
            "whose residual error is of_baseline(...) and nothing else"
        )
    return errors[0].baseline


def size(residual: float | str, values: Mapping[str, Any]) -> Any:
    return values[residual] if isinstance(residual, str) else residual


def pooled_variance(data: Data, structural: Any, residual: Any) -> Any:
    """Variance between patients of each group: the mean over its arms of the model's, and the residual."""
    return data.members @ structural / data.members.sum(axis=1) + residual


def fitted(
    study: Study, model: Model, endpoint: Callable[[Mapping[str, Any]], Any], data: Data, values: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Under each of many draws (draws,): the mean of each arm, (draws, arms), and the standard deviation of each
    group, (draws, groups). Draw by draw: all at once would need gigabytes."""
    typical = model.typical()
    assert study.calibration is not None
    residual = residual_of(model, study.calibration.endpoint) if len(data.sd) else 0.0

    def one(draw: Mapping[str, Any]) -> dict[str, Any]:
        course = endpoint(typical | {k: v for k, v in draw.items() if k in typical})
        within = size(residual, typical | dict(draw)) ** 2
        variance = pooled_variance(data, jnp.var(course, axis=1), within) if len(data.sd) else jnp.zeros(0)
        shift = draw["offset"] @ data.members if "offset" in draw else 0.0
        return {"arm_mean": jnp.mean(course, axis=1) + shift, "group_sd": jnp.sqrt(variance)}

    return jax.device_get(jax.jit(lambda v: jax.lax.map(one, v))({k: jnp.asarray(v) for k, v in values.items()}))


@dataclass(frozen=True, eq=False)
class Chains:
    """What a chain of NUTS needs: it is the same wherever it runs, and whichever others run with it.

    `left_out`: whether each arm is also left out in turn, by a short run that goes on from where the chain ends.
    """

    study: Study
    model: Model
    people: pl.DataFrame
    data: Data
    apart: float
    left_out: bool

    @property
    def used(self) -> np.ndarray:
        return np.isfinite(self.data.mean)

    @functools.cached_property
    def endpoint(self) -> Callable[[Mapping[str, Any]], Any]:
        plan = self.study.calibration
        assert plan is not None
        return response(self.study, self.people, self.model, plan.subjects, plan.step.to(self.model.time))

    @functools.cached_property
    def identity(self) -> str:
        """What determines the draws of a chain; with XLA, the processor's instructions as well."""
        known = {name: _hashed(value) for name, value in vars(self.data).items()}
        rests = [fingerprint(self.study), digest(self.model.text), table_digest(self.people), digest(known)]
        return digest([*rests, self.apart, self.left_out, source_digest(), hardware()])

    def job(self, number: int) -> Job:
        return Job(digest([self.identity, number])[:32], chain, (self, number))

    def __getstate__(self) -> dict[str, Any]:
        """What was made of the fields stays in its process."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chains) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


@functools.lru_cache(maxsize=1)
def programs(chains: Chains) -> tuple[Any, Any]:
    """A whole chain, and the run that goes on from its end without an arm: compiled once for all chains of a process.

    Left to itself NumPyro compiles the search for a starting point anew for every chain.
    """
    from numpyro.infer import MCMC

    plan = chains.study.calibration
    assert plan is not None
    kernel = nuts(probability(chains.study, chains.model, chains.endpoint, chains.data, apart=chains.apart))

    def run(key: Any, used: Any, draws: int, state: Any = None) -> tuple[Any, Any, Any]:
        mcmc = MCMC(kernel, num_warmup=plan.warmup, num_samples=draws, progress_bar=False)
        mcmc.post_warmup_state = state
        mcmc.run(key, used, extra_fields=("energy", "diverging", "num_steps"))
        return mcmc.get_samples(), mcmc.get_extra_fields(), mcmc.last_state

    key, used = jax.random.key(0), chains.used
    with TRACING:
        whole = jax.jit(lambda key, used: run(key, used, plan.draws)).lower(key, used).compile()
        end = jax.eval_shape(lambda key, used: run(key, used, plan.draws)[2], key, used)
        short = jax.jit(lambda key, used, state: run(key, used, SHORT, state)).lower(key, used, end)
        return whole, short.compile() if chains.left_out else None


SHORT = 300  # draws of a chain without one arm, of which the first 100 settle it
SETTLING = 100


def _hashed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.shape, digest(np.ascontiguousarray(value, float).tobytes())]
    return {k: [_hashed(v) for v in row] for k, row in value.items()} if isinstance(value, dict) else value


def nuts(model_of_arms: Callable[[Any], None]) -> "NUTS":
    """NUTS with a dense mass matrix; stimulation and its half-concentration are strongly correlated."""
    from numpyro.infer import NUTS, init_to_uniform

    start: Any = init_to_uniform(radius=0.5)  # type: ignore[arg-type]
    return NUTS(model_of_arms, dense_mass=True, target_accept_prob=0.85, init_strategy=start)


def chain(chains: Chains, number: int) -> pl.DataFrame:
    """Draws of one chain: of the fit, `without` empty, and where wanted without each arm in turn, settled.

    A column for each element of a parameter, such as `kout` or `offset[0]`, and for what NUTS says of each draw, such
    as `|diverging`.
    """
    plan = chains.study.calibration
    assert plan is not None
    key = jax.random.split(jax.random.key(chains.study.seed), plan.chains)[number]
    whole, short = programs(chains)
    drawn, told, end = whole(key, chains.used)
    tables = [_table("", drawn, told, 0)]
    if chains.left_out:
        # Without one arm the posterior is close by: the chain goes on from where it is, with what it has adapted.
        for arm, name in enumerate(chains.study.arms):
            if chains.used[arm]:
                drawn, told, _ = short(key, chains.used & (np.arange(len(chains.used)) != arm), end)
                tables.append(_table(name, drawn, told, SETTLING))
    return pl.concat(tables)


def _table(without: str, drawn: Mapping[str, Any], told: Mapping[str, Any], settling: int) -> pl.DataFrame:
    columns: dict[str, np.ndarray] = {}
    natural = {name: values for name, values in drawn.items() if not name.endswith("|standard")}
    for name, values in {**natural, **{f"|{name}": values for name, values in told.items()}}.items():
        kept = np.asarray(values)[settling:]
        columns |= {name: kept} if kept.ndim == 1 else {f"{name}[{i}]": kept[:, i] for i in range(kept.shape[1])}
    rows = len(next(iter(columns.values())))
    return pl.DataFrame({"without": pl.Series([without] * rows, dtype=pl.String), **columns})


def stacked(chains: list[pl.DataFrame], without: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters, and what NUTS says of each draw: (chains, draws, ...) each."""
    parts = [table.filter(pl.col("without") == without).drop("without") for table in chains]
    names: dict[str, list[str]] = {}
    for column in parts[0].columns:
        names.setdefault(column.partition("[")[0], []).append(column)
    found = {
        name: np.stack([part[own[0]].to_numpy() if own == [name] else part.select(own).to_numpy() for part in parts])
        for name, own in names.items()
    }
    drawn = {name: values for name, values in found.items() if not name.startswith("|")}
    return drawn, {name[1:]: values for name, values in found.items() if name.startswith("|")}
