"""Concentration and QTc: a linear mixed model with a random intercept and a random slope for every subject.

    change = (a + u_i) + treatment + (b + v_i) concentration + time_k + d (baseline - its mean) + error
    (u_i, v_i) ~ Normal(0, D), error ~ Normal(0, sigma²)

`change` is the QTc interval's change from before the dose, on drug and on placebo (concentration and treatment 0);
that is the model of the white paper [1]. In a crossover it may be the time-matched difference of two such changes,
drug minus placebo of the same subject; then treatment, time and baseline are left out. Random effects are integrated
out, so what is sampled or maximised are the fixed effects and four parameters of spread.

References
----------
[1] Garnett et al. 2018, J Pharmacokinet Pharmacodyn 45:383, doi 10.1007/s10928-017-9558-5: the model, and the
    bound of a two-sided 90 % interval. Its equation was read in a later paper that quotes it.
[2] ICH E14 questions and answers (R3) 2015, 5.1: an upper bound of 10 ms or more is not a negative study.
[3] Patterson & Thompson 1971, Biometrika 58:545: restricted likelihood.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.optimize import minimize

from cohort.analysis import AnalysisError
from cohort.inference.diagnosis import flat, require
from cohort.inference.sampling import Sampling, numpyro_nuts

if TYPE_CHECKING:
    import xarray as xr

LIMIT = 10.0  # ms [2]
LEVEL = 0.90  # two-sided; its upper end is the bound [1]
SAMPLING = Sampling(warmup=600, draws=600, chains=4, dense=True)
PARAMETERS = ["beta", "sd", "correlation", "sigma"]


@dataclass(frozen=True)
class Recordings:
    """A row per subject, period and time. change: (n,) ms; concentration: (n,), 0 on placebo; subject: (n,) whose;
    treatment: (n,) 1 on drug and 0 on placebo; time: (n,) nominal, a level each; baseline: (n,) ms before the dose.
    What is None is not in the model. Errors: AnalysisError of values that are no numbers, and of a concentration that
    does not vary."""

    change: np.ndarray
    concentration: np.ndarray
    subject: np.ndarray
    treatment: np.ndarray | None = None
    time: np.ndarray | None = None
    baseline: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if values is None or name == "subject":
                continue
            if len(values) != len(self.subject):
                raise AnalysisError(f"{name} has {len(values)} rows, subject {len(self.subject)}")
            if not np.isfinite(values).all():
                raise AnalysisError(f"{name} has values that are no numbers; leave those rows out")
        if not np.ptp(self.concentration) > 0:
            raise AnalysisError("the concentration does not vary: it has no slope")

    @functools.cached_property
    def scale(self) -> float:
        """The unit in which the concentration enters, its largest: the slope is then in ms."""
        return float(np.max(np.abs(self.concentration)))

    @functools.cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Of the fixed effects, (n,) each. Times are coded to sum to nought, so that the intercept is at their mean."""
        found = {"intercept": np.ones(len(self.change)), "concentration": self.concentration / self.scale}
        if self.treatment is not None:
            found["treatment"] = np.asarray(self.treatment, float)
        if self.time is not None:
            levels = np.unique(self.time)
            last = self.time == levels[-1]
            found |= {f"time {level:g}": (self.time == level) - 1.0 * last for level in levels[:-1]}
        if self.baseline is not None:
            found["baseline"] = self.baseline - self.baseline.mean()
        return found

    @functools.cached_property
    def blocks(self) -> dict[str, np.ndarray]:
        """By subject, padded with rows of nought that are not `seen`: y (subjects, rows), x (subjects, rows, fixed), z
        (subjects, rows, 2), seen."""
        who, inverse = np.unique(self.subject, return_inverse=True)
        place = np.zeros(len(inverse), int)
        for i in range(len(who)):
            place[inverse == i] = np.arange((inverse == i).sum())
        x = np.stack(list(self.columns.values()), axis=1)
        z = x[:, :2]
        shape = (len(who), int(place.max()) + 1)
        made = {
            "y": np.zeros(shape),
            "x": np.zeros((*shape, x.shape[1])),
            "z": np.zeros((*shape, 2)),
            "seen": np.zeros(shape, bool),
        }
        for name, rows in {"y": self.change, "x": x, "z": z, "seen": np.ones(len(inverse), bool)}.items():
            made[name][inverse, place] = rows
        return made


@dataclass(frozen=True)
class Estimates:
    """By restricted maximum likelihood. beta: by column, the slope in ms for one of concentration; covariance: of beta
    in that order; random: D of intercept and slope, in those units; sigma: ms."""

    beta: dict[str, float]
    covariance: np.ndarray
    random: np.ndarray
    sigma: float

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """Of a fixed effect, by the normal distribution."""
        from scipy.special import ndtri

        place = list(self.beta).index(name)
        half = float(ndtri((1 + level) / 2) * np.sqrt(self.covariance[place, place]))
        return self.beta[name] - half, self.beta[name] + half


STARTS = ([0.0, 0.0, 0.0], [0.0, 0.0, -3.0], [-3.0, 0.0, 0.0])


def reml(data: Recordings, *, starts: int = len(STARTS)) -> Estimates:
    """The same model by restricted maximum likelihood [3], the best of so many searches. Errors: AnalysisError where it
    has no maximum."""
    blocks = data.blocks
    x, y, z = blocks["x"], blocks["y"], blocks["z"]
    n, p = int(blocks["seen"].sum()), x.shape[2]
    # Padding is nought in x, y and z, so sums over rows are those of the rows seen.
    xx, xy, yy = np.einsum("srp,srq->pq", x, x), np.einsum("srp,sr->p", x, y), float((y**2).sum())
    zz, zx, zy = (
        np.einsum("srk,srl->skl", z, z),
        np.einsum("srk,srp->skp", z, x),
        np.einsum("srk,sr->sk", z, y),
    )

    def solved(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
        """-2 log restricted likelihood with sigma profiled out; theta: Cholesky factor of D / sigma²."""
        lower = np.array([[np.exp(theta[0]), 0.0], [theta[1], np.exp(theta[2])]])
        inner = np.eye(2) + lower.T @ zz @ lower
        half_x, half_y = lower.T @ zx, np.einsum("lk,sl->sk", lower, zy)
        middle = np.linalg.inv(inner)
        a = xx - np.einsum("skp,skl,slq->pq", half_x, middle, half_x)
        b = xy - np.einsum("skp,skl,sl->p", half_x, middle, half_y)
        c = yy - np.einsum("sk,skl,sl->", half_y, middle, half_y)
        beta = np.linalg.solve(a, b)
        sigma2 = float(c - b @ beta) / (n - p)
        deviance = (n - p) * np.log(sigma2) + np.linalg.slogdet(inner)[1].sum() + np.linalg.slogdet(a)[1]
        return float(deviance), beta, a, sigma2

    # A spread of nought is at minus infinity of its logarithm: bounds keep the search where numbers are.
    bounds = [(-12.0, 6.0), (-400.0, 400.0), (-12.0, 6.0)]
    found = min((minimize(lambda t: solved(t)[0], s, bounds=bounds) for s in STARTS[:starts]), key=lambda one: one.fun)
    _, beta, a, sigma2 = solved(found.x)
    if not (np.isfinite(found.fun) and sigma2 > 0):
        raise AnalysisError("the restricted likelihood has no maximum; the fixed effects explain every value")
    lower = np.array([[np.exp(found.x[0]), 0.0], [found.x[1], np.exp(found.x[2])]])
    unit = np.array([1.0 / data.scale if name == "concentration" else 1.0 for name in data.columns])
    back = np.array([1.0, 1.0 / data.scale])
    return Estimates(
        dict(zip(data.columns, beta * unit, strict=True)),
        sigma2 * np.linalg.inv(a) * np.outer(unit, unit),
        sigma2 * lower @ lower.T * np.outer(back, back),
        float(np.sqrt(sigma2)),
    )


def concentration_qtc(design: dict[str, Any], outcome: Any) -> None:
    """The NumPyro model; random effects are integrated out.

    Priors in ms, wide beside what QT trials show: fixed effects Normal(0, 100), of the baseline Normal(0, 1);
    standard deviations half-normal(30), the slope's in ms at the largest concentration; correlation uniform."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    beta = numpyro.sample("beta", dist.Normal(jnp.zeros_like(design["prior"]), design["prior"]).to_event(1))
    sd: Any = numpyro.sample("sd", dist.HalfNormal(30.0 * jnp.ones(2)).to_event(1))
    correlation = numpyro.sample("correlation", dist.Uniform(-1.0, 1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(30.0))
    lower = jnp.array([[1.0, 0.0], [0.0, 0.0]]) * sd[0] + jnp.array([[0.0, 0.0], [1.0, 0.0]]) * sd[1] * correlation
    lower = lower + jnp.array([[0.0, 0.0], [0.0, 1.0]]) * sd[1] * jnp.sqrt(1 - correlation**2)
    with numpyro.plate("subject", design["x"].shape[0]):
        numpyro.sample(
            "change",
            dist.LowRankMultivariateNormal(
                design["x"] @ beta, design["z"] @ lower, jnp.where(design["seen"], sigma**2, 1.0)
            ),
            obs=outcome,
        )


def design(data: Recordings) -> dict[str, Any]:
    """What of the data does not vary: what `concentration_qtc` takes."""
    prior = np.array([1.0 if name == "baseline" else 100.0 for name in data.columns])
    return {"x": data.blocks["x"], "z": data.blocks["z"], "seen": data.blocks["seen"], "prior": prior}


def fit(data: Recordings, *, seed: int, sampling: Sampling = SAMPLING) -> "xr.DataTree":
    """The posterior; its attributes hold the columns, the concentration's unit, and convergence. Errors: "
    "NotConverged."""
    tree = numpyro_nuts(
        concentration_qtc,
        design(data),
        data.blocks["y"],
        seed=seed,
        sampling=sampling,
        priors=PARAMETERS,
        coords={"column": list(data.columns)},
        dims={"beta": ["column"]},
    )
    require(tree, PARAMETERS, what="the concentration-QTc model")
    tree.attrs |= {"columns": list(data.columns), "scale": data.scale}
    return tree


def slopes(tree: "xr.DataTree") -> np.ndarray:
    """Draws of the slope, (draws,), in ms for one of concentration."""
    return _beta(tree, "concentration") / tree.attrs["scale"]


def _beta(tree: "xr.DataTree", name: str) -> np.ndarray:
    return flat(tree, "beta")[:, list(tree.attrs["columns"]).index(name)]


def at(tree: "xr.DataTree", concentration: np.ndarray | float) -> np.ndarray:
    """Draws of the mean placebo-corrected change at these concentrations, (draws, ...), ms. In the model of differences
    the intercept is part of it, in the white paper's the treatment's [1]."""
    shift = _beta(tree, "treatment" if "treatment" in tree.attrs["columns"] else "intercept")
    given = np.asarray(concentration, float)
    return shift.reshape(-1, *[1] * given.ndim) + np.multiply.outer(slopes(tree), given)


def bound(draws: np.ndarray, level: float = LEVEL) -> float:
    """The upper end of the two-sided interval at `level` of draws in ms: what is compared with 10 ms [2]."""
    return float(np.quantile(draws, (1 + level) / 2))


def time_matched(table: pl.DataFrame, drug: str, placebo: str) -> pl.DataFrame:
    """table: subject, arm, time, qtcf and c, with one row at the arm's earliest time as baseline.

    Returns subject, time, c (of the drug), baseline, change and placebo_change, and their difference `corrected`, for
    every time after the first that subject has in both arms."""
    rows = table.filter(pl.col("qtcf").is_not_null())
    start = rows.group_by("arm").agg(start=pl.col("time").min())
    rows = rows.join(start, on="arm")
    before = rows.filter(pl.col("time") == pl.col("start")).select("subject", "arm", baseline="qtcf")
    rows = rows.filter(pl.col("time") > pl.col("start")).join(before, on=["subject", "arm"])
    rows = rows.with_columns(change=pl.col("qtcf") - pl.col("baseline"))
    own = rows.filter(pl.col("arm") == drug).select("subject", "time", "c", "baseline", "change")
    other = rows.filter(pl.col("arm") == placebo).select(
        "subject", "time", placebo_baseline="baseline", placebo_change="change"
    )
    joined = own.join(other, on=["subject", "time"]).sort("subject", "time")
    return joined.with_columns(corrected=pl.col("change") - pl.col("placebo_change"))


def of_changes(matched: pl.DataFrame) -> Recordings:
    """The white paper's model, of drug and placebo together. Rows without a measured concentration are left out, with
    the placebo's of that subject and time. matched: as `time_matched` returns."""
    rows = matched.filter(pl.col("c").is_not_null())
    both = {name: rows[name].to_numpy() for name in rows.columns}
    nothing = np.zeros(len(rows))
    return Recordings(
        np.concatenate([both["change"], both["placebo_change"]]),
        np.concatenate([both["c"], nothing]),
        np.concatenate([both["subject"], both["subject"]]),
        np.concatenate([nothing + 1, nothing]),
        np.concatenate([both["time"], both["time"]]),
        np.concatenate([both["baseline"], both["placebo_baseline"]]),
    )


def of_differences(matched: pl.DataFrame) -> Recordings:
    """The model of the time-matched differences. matched: as `time_matched` returns."""
    rows = matched.filter(pl.col("c").is_not_null())
    return Recordings(rows["corrected"].to_numpy(), rows["c"].to_numpy(), rows["subject"].to_numpy())
