"""The volunteers' total warfarin and prothrombin complex activity, fitted together, and the check of the fit.

References
----------
[1] O'Reilly, Aggeler & Leong 1963, J Clin Invest 42:1542; O'Reilly & Aggeler 1968, Circulation 38:169: the volunteers.
[2] Holford 1986, Clin Pharmacokinet 11:483: the middle of the priors, a review that knew these data among others.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import polars as pl

from cohort.calibration.hierarchy import Hierarchy
from cohort.chapters import ChapterError, Data
from cohort.dosing.records import Events
from cohort.engine import Status, solve
from cohort.inference.diagnosis import NotConverged, reasons_to_refuse
from cohort.inference.sampling import Sampling
from cohort.library import load
from cohort.pharmacometrics.indirect_response import one_dose, slowed
from cohort.pharmacometrics.vpc import Check, vpc
from cohort.record import digest, hardware, source_digest
from cohort.store import Job

FILE = "trials/warfarin_pkpd/warfarin.csv"
OBTAIN = "the data set `warfarin` of the R package nlmixr2data, as CSV with its columns"
MODEL = "warfarin_total"
OUTPUTS = ("c", "pca")
SPREAD = "halfnormal(0.5)"
PRIORS = {
    "ka": "lognormal(1, 0.7)",  # a peak between 2 and 6 h [2]
    "lag": "lognormal(1, 0.5)",
    "cl": "lognormal(0.2, 0.7)",  # [2]
    "v": "lognormal(10, 0.7)",  # [2]
    "pca0": "lognormal(100, 0.2)",  # normal plasma, by definition
    "c50": "lognormal(1.5, 0.7)",  # [2]
    "kout": "lognormal(0.041, 0.5)",  # a half-life of 17 h [2]
    "sigma_share": "halfnormal(0.2)",
    "sigma_c": "halfnormal(1)",
    "sigma_pca": "halfnormal(10)",
}
CHAINS = 2
CENTRED = {"cl": 1.0, "v": 1.0, "pca0": 1.0, "c50": 1.0}
SAMPLING = Sampling(warmup=400, draws=2000, chains=1, target_accept=0.93)
REPLICATES = 500
PERCENTILES = (10, 50, 90)  # of 32 people, no further out


@dataclass(frozen=True)
class Volunteers:
    """`people`: a row each, with dose (mg), weight (kg) and age (y). `seen`: a row per measurement: person (from 0),
    time (h), output (c in mg/L, pca in percent of normal) and value."""

    people: pl.DataFrame
    seen: pl.DataFrame

    @property
    def n(self) -> int:
        return self.people.height

    @functools.cached_property
    def times(self) -> np.ndarray:
        return np.unique(self.seen["time"].to_numpy())

    def rows(self, output: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Person, time and value of each measurement of an output."""
        own = self.seen.filter(output=output)
        return own["person"].to_numpy(), own["time"].to_numpy(), own["value"].to_numpy()

    def events(self, copies: int = 1, delay: float = 0.0) -> Events:
        """The one dose of everyone, `copies` times over, `delay` hours late."""
        many = self.n * copies
        dose = np.tile(self.people["dose"].to_numpy(), copies)
        return Events.of(many, np.arange(many), course=np.arange(many), time=delay, into="oral", amount=dose)


def volunteers(file: Path) -> Volunteers:
    """Read as `FILE` is laid out: one dose of each id at 0 h, then concentrations `cp` and activities `pca`."""
    raw = pl.read_csv(file)
    people = raw.filter(pl.col("evid") == 1).sort("id").select("id", dose="amt", weight="wt", age="age")
    if people["id"].n_unique() != people.height or raw.filter((pl.col("evid") == 1) & (pl.col("time") != 0)).height:
        raise ValueError(f"{file.name} has other doses than one of each id at 0 h; obtain {OBTAIN}")
    place = people.select("id").with_row_index("person")
    seen = raw.filter(pl.col("evid") == 0).join(place, on="id").sort("dvid", "person", "time")
    output = pl.col("dvid").replace_strict({"cp": "c", "pca": "pca"})
    return Volunteers(people.drop("id"), seen.select("person", "time", output=output, value="dv"))


def hierarchy(who: Volunteers) -> Hierarchy:
    """What is fitted: concentrations in closed form, activities by quadrature."""
    model = load(MODEL)
    dose = who.people["dose"].to_numpy()
    (i, at, c), (j, then, pca) = (who.rows(output) for output in OUTPUTS)
    visits = np.unique(then)
    column = np.searchsorted(visits, then)

    def course(p: Any) -> dict[str, Any]:
        def inhibition(t: Any) -> Any:
            lag = jnp.broadcast_to(p.lag, who.n)[:, None, None]
            ka, cl, v, c50 = (own[:, None, None] for own in (p.ka, p.cl, p.v, p.c50))
            c = one_dose(t - lag, p.f * dose[:, None, None], ka, cl, v)
            return p.emax * c / (c50 + c)

        activity = slowed(visits, jnp.broadcast_to(p.lag, who.n), p.pca0, p.kout, inhibition)
        return {
            "c": one_dose(at - jnp.broadcast_to(p.lag, who.n)[i], p.f * dose[i], p.ka[i], p.cl[i], p.v[i]),
            "pca": activity[j, column],
        }

    priors = PRIORS | {f"{name}.spread": SPREAD for name in model.effects()}
    x = model.covariates(weight=who.people["weight"].to_numpy())
    return Hierarchy(model, x, course, {"c": c, "pca": pca}, priors, CENTRED)


def chain(who: Volunteers, number: int) -> pl.DataFrame:
    """One chain: a row per draw, with what has a prior, each person's parameters before covariates as lists, and how
    the chain went."""
    fit = hierarchy(who)
    names = tuple(f"{name}|standard" for name in sorted(fit.priors))
    tree = fit.fit(number, replace(SAMPLING, dense=(names,)))
    drawn, went = (tree[group].dataset.isel(chain=0) for group in ("posterior", "sample_stats"))
    table = {name: drawn[name].values for name in sorted(fit.priors)}
    table |= {f"own.{name}": fit.own(tree, name)[0] for name in fit.model.effects()}
    return pl.DataFrame(table | {f"stat.{name}": went[name].values for name in ("diverging", "energy", "n_steps")})


@dataclass(frozen=True)
class Fit:
    """`chains`: as `chain` gives them."""

    who: Volunteers
    chains: list[pl.DataFrame]

    @functools.cached_property
    def draws(self) -> pl.DataFrame:
        return pl.concat(self.chains)

    @functools.cached_property
    def names(self) -> list[str]:
        return [name for name in self.draws.columns if not name.startswith(("own.", "stat."))]

    @functools.cached_property
    def diagnostics(self) -> pl.DataFrame:
        """R-hat, effective sample sizes and Monte Carlo errors, a row for each of `names`."""
        import arviz_stats
        from arviz_base import from_dict

        stacked = {name: np.stack([part[name].to_numpy() for part in self.chains]) for name in self.names}
        table: Any = arviz_stats.summary(from_dict({"posterior": stacked}), kind="diagnostics", round_to="none")
        return pl.DataFrame({"name": list(table.index)} | {str(c): table[c].to_numpy() for c in table.columns})

    def convergence(self) -> dict[str, float]:
        """Of what has a prior. Errors: NotConverged."""
        table = self.diagnostics
        energy = np.stack([part["stat.energy"].to_numpy() for part in self.chains])
        found = {
            "r_hat": float(table["r_hat"].to_numpy().max()),
            "ess_bulk": float(table["ess_bulk"].to_numpy().min()),
            "ess_tail": float(table["ess_tail"].to_numpy().min()),
            "bfmi": float(((np.diff(energy, axis=1) ** 2).mean(axis=1) / energy.var(axis=1)).min()),
            "divergences": float(self.draws["stat.diverging"].sum()),
            "draws": float(self.draws.height),
        }
        if wrong := reasons_to_refuse(found, min_ess=400):
            raise NotConverged(f"the volunteers' fit is not used: {'; '.join(wrong)}")
        return found

    def estimates(self) -> list[dict[str, Any]]:
        """Mean, its Monte Carlo error, and 95 % interval of each typical value and residual error, and of its spread
        between people."""
        error = dict(zip(self.diagnostics["name"], self.diagnostics["mcse_mean"], strict=True))
        return [
            {"name": name, "mcse": error[name]}
            | _told(self.draws[name].to_numpy())
            | _spread(self.draws, f"{name}.spread")
            for name in PRIORS
        ]

    def individual(self, name: str) -> np.ndarray:
        """Posterior mean of each person's own parameter before covariates, (n,)."""
        return np.stack(self.draws[f"own.{name}"].to_list()).mean(axis=0)

    def check(self, seed: int) -> Check:
        """A visual predictive check: new people of the volunteers' weights and doses, through the engine, each
        replicate under one draw of the posterior."""
        model, rng = load(MODEL), np.random.default_rng(seed)
        picked = rng.choice(self.draws.height, REPLICATES, replace=False)
        values = {name: np.repeat(self.draws[name].to_numpy()[picked], self.who.n) for name in self.names}
        z = {name: rng.standard_normal(REPLICATES * self.who.n) for name in model.effects()}
        x = model.covariates(weight=np.tile(self.who.people["weight"].to_numpy(), REPLICATES))
        p = model.subject(model.typical() | values, z, x)
        outputs, status = solve(model, p, self.who.events(REPLICATES), self.who.times)
        all_solved(status, "the predictive check")
        noise = {name: rng.standard_normal((REPLICATES * self.who.n, len(self.who.times))) for name in OUTPUTS}
        fields, copies = model.outputs.fields(), []
        seen = self.who.seen
        column = np.searchsorted(self.who.times, seen["time"].to_numpy())
        for k in range(REPLICATES):
            rows = slice(k * self.who.n, (k + 1) * self.who.n)
            drawn = {
                name: fields[name]["error"].measured(
                    np.asarray(getattr(outputs, name))[rows],
                    noise[name][rows],
                    lambda parameter, rows=rows: np.broadcast_to(values[parameter][rows], self.who.n),
                )
                for name in OUTPUTS
            }
            each = np.where(
                seen["output"].to_numpy() == "c",
                drawn["c"][seen["person"].to_numpy(), column],
                drawn["pca"][seen["person"].to_numpy(), column],
            )
            copies.append(seen.with_columns(value=pl.Series(each), replicate=pl.lit(k)))
        return vpc(seen, pl.concat(copies), by=["output"], percentiles=PERCENTILES, interval=0.95)


def all_solved(status: Status, what: str) -> None:
    """Errors: ChapterError where a person could not be solved, who would else be left out of means and percentiles."""
    if failed := int((status.code != 0).sum()):
        raise ChapterError(f"warfarin_volunteers: {failed} of {len(status.code)} people of {what} could not be solved")


def fitted(who: Volunteers, data: Data) -> Fit:
    """The fit, its chains beside each other where the study has workers."""
    rests = [digest([who.people.write_csv(), who.seen.write_csv()]), digest(load(MODEL).text), source_digest()]
    jobs = [
        Job(digest([*rests, "volunteers", number, hardware()])[:32], chain, (who, number)) for number in range(CHAINS)
    ]
    return Fit(who, data.solve(jobs))


def _told(draws: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"mean": float(draws.mean()), "low": float(low), "high": float(high)}


def _spread(draws: pl.DataFrame, name: str) -> dict[str, float]:
    if name not in draws.columns:
        return {}
    return {f"spread_{key}": value for key, value in _told(draws[name].to_numpy()).items()}
