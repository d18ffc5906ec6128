"""Individual measurements to a population: a nonlinear mixed-effects model, its posterior by NUTS.

Each subject has the typical parameters times what is its own; the model's `individual` then applies covariates, and
what was measured is the subject's course with the residual error that the model declares for the output. How a course
comes from parameters is given as a function that JAX differentiates, in closed form where there is one: the engine's
solvers step by tolerance and have no gradients.

References
----------
[1] Betancourt & Girolami 2015, Hamiltonian Monte Carlo for hierarchical models, in Current Trends in Bayesian
    Methodology with Applications, chapter 4: where data say much of a subject, an effect is better drawn around the
    typical value, where they say little, around zero and scaled after.
[2] Papaspiliopoulos, Roberts & Sköld 2003, in Bayesian Statistics 7:307: partly the one and partly the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cohort.calibration.fit import distribution
from cohort.calibration.response import CalibrationError
from cohort.inference.sampling import Sampling, numpyro_nuts
from cohort.model import Model, Record
from cohort.study.grammar import Prior, prior

if TYPE_CHECKING:
    import xarray as xr

SAMPLING = Sampling(warmup=500, draws=500, chains=2, target_accept=0.85)


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A fit of n subjects.

    x: covariates of (n,). course: the subjects' parameters, records of (n,), to what each output should have been where
    it was measured, {output: (rows,)}; `measured`: what it was, alike. priors: of typical values by the parameter's
    name, of the standard deviation between subjects as `<name>.spread`, of residual errors by their parameter's name,
    all in the model's units and written as in a study; what has none stays as the model says. centred: by effect, how
    far it is drawn around the typical value, 1, or around zero, 0, of all or of each subject [1, 2]; it changes how
    fast chains mix and not what they find.
    """

    model: Model
    x: Record
    course: Callable[[Any], Mapping[str, Any]]
    measured: Mapping[str, np.ndarray]
    priors: Mapping[str, str]
    centred: Mapping[str, float | np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known, outputs = self.model.typical(), self.model.outputs.fields()
        tied = {name for pair in self.model.correlations for name in pair}
        kinds = {name: meta["kind"] for name, meta in self.model.parameters.fields().items()}
        wrong = [f"a prior of {n!r}, which is none of {', '.join(known)}" for n in self.priors if n not in known]
        wrong += [
            f"{name!r} is centred, and not lognormal without correlation; leave it out"
            for name in self.centred
            if kinds.get(name) != "lognormal" or name in tied
        ]
        for name, values in self.measured.items():
            if name not in outputs:
                wrong.append(f"{name!r} was measured; the model's outputs are {', '.join(outputs)}")
            elif any(getattr(outputs[name]["error"], part) for part in ("logarithmic", "precision", "baseline")):
                wrong.append(f"the error of {name!r} is not additive or proportional; no other is fitted here")
            elif not outputs[name]["error"].additive and not outputs[name]["error"].proportional:
                wrong.append(f"the output {name!r} has no residual error; declare one in the model")
            if not np.isfinite(values).all():
                wrong.append(f"{name!r} has values that are no numbers; leave these rows out")
        if wrong:
            raise CalibrationError("; ".join(wrong))

    @property
    def n(self) -> int:
        return len(np.asarray(next(iter(vars(self.x).values()))))

    def probability(self) -> None:
        """The NumPyro model."""
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        values: dict[str, Any] = dict(self.model.typical())
        for name, text in sorted(self.priors.items()):  # the order in which they are written must not matter
            standard, transform = distribution(prior(text))
            values[name] = numpyro.deterministic(name, transform(numpyro.sample(f"{name}|standard", standard)))
        z = {}
        for name in self.model.effects():
            share, spread = np.broadcast_to(self.centred.get(name, 0.0), self.n), values[f"{name}.spread"]
            place = share * jnp.log(values[name]) if name in self.centred else jnp.zeros(self.n)
            own = numpyro.sample(f"{name}|own", dist.Normal(place, spread**share).to_event(1))
            z[name] = (own - place) / spread**share
        p = self.model.subject(values, z, self.x)
        course = self.course(p)
        if course.keys() != self.measured.keys():
            raise CalibrationError(f"the course gives {', '.join(course)}; measured were {', '.join(self.measured)}")
        for name, expected in course.items():
            error = self.model.outputs.fields()[name]["error"]
            added, share = (values[e] if isinstance(e, str) else e for e in (error.additive, error.proportional))
            sd = jnp.sqrt(added**2 + (share * expected) ** 2)
            numpyro.sample(name, dist.Normal(expected, sd), obs=self.measured[name])

    def fit(self, seed: int, sampling: Sampling = SAMPLING) -> "xr.DataTree":
        """The posterior, convergence not judged yet: `cohort.inference.diagnosis.require` of what has a prior."""
        typical = self.model.typical()
        start: dict[str, Any] = {f"{name}|own": np.zeros(self.n) for name in self.model.effects()}
        start |= {f"{name}|own": np.broadcast_to(w, self.n) * np.log(typical[name]) for name, w in self.centred.items()}
        start |= {f"{name}|standard": _standard(prior(text), typical[name]) for name, text in self.priors.items()}
        return numpyro_nuts(self.probability, seed=seed, sampling=sampling, start=start)

    def own(self, tree: "xr.DataTree", name: str) -> np.ndarray:
        """Each subject's parameter before covariates, (chains, draws, n), of one that is lognormal."""
        drawn = tree["posterior"].dataset
        typical, spread = drawn[name].values[..., None], drawn[f"{name}.spread"].values[..., None]
        share = np.broadcast_to(self.centred.get(name, 0.0), self.n)
        z = (drawn[f"{name}|own"].values - share * np.log(typical)) / spread**share
        return typical * np.exp(spread * z)


def _standard(given: Prior, value: float) -> float:
    """Where a value stands under its prior, in the standard variable of `distribution`."""
    match given.kind, given.arguments:
        case "lognormal", (median, sigma):
            return float(np.log(value / median) / sigma)
        case "normal", (mean, sd):
            return (value - mean) / sd
        case _:
            return value / given.arguments[-1]
