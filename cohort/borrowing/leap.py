"""The latent exchangeability prior (LEAP): each historical subject is, or is not, as the trial's control subjects are.

    a historical subject: with probability gamma from the trial's own distribution, else from another one;
    gamma ~ Beta on 0 to n_cap / N: at most n_cap of the N are taken for exchangeable on average  [1]

Memberships are summed out, so the posterior is smooth. Binomial outcomes by quadrature; normal ones, subject by
subject, by NUTS. A proportion says little of who was exchangeable: unless gamma may be large, any other group explains
the historical events as well, and nothing is borrowed.

References
----------
[1] Alt et al. 2024, Biometrics 80:ujae083: LEAP, the latent exchangeability prior.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from cohort.borrowing import checks
from cohort.borrowing.borrowed import Borrowed
from cohort.borrowing.density import Density
from cohort.borrowing.power import cap
from cohort.borrowing.quadrature import unit
from cohort.borrowing.trials import Binomial, one, pooled
from cohort.inference.sampling import DEFAULT, Sampling

if TYPE_CHECKING:
    import xarray as xr

    from cohort.inference.sbc import Case


def binomial(
    trial: Binomial,
    historical: Binomial,
    *,
    share_prior: tuple[float, float] = (1.0, 1.0),
    prior: tuple[float, float] = (1.0, 1.0),
    n_cap: float | None = None,
    points: int = 200,
) -> Borrowed:
    """One arm's proportion. prior: shapes of its beta; the other group's is uniform, and summed out in closed form.
    share_prior: shapes of gamma / most.

    `weight`: E(gamma | data); about: its SD and the greatest gamma that is allowed."""
    wrong = checks.positive("gamma prior, shapes", share_prior) + checks.positive("prior shapes", prior)
    checks.refuse(wrong + one("trial", trial))
    data = pooled(historical)
    y, n = float(data.events[0]), float(data.n[0])
    most = cap(n_cap, n)
    u, w = unit(points)
    gamma = most * stats.beta(*share_prior).ppf(u)[:, None]
    logit = np.linspace(-16, 16, 3201)
    p = special.expit(logit)
    low = gamma * p
    # the share of events in the historical trial is uniform over an interval of length 1 - gamma
    held = special.betainc(y + 1, n - y + 1, low + 1 - gamma) - special.betainc(y + 1, n - y + 1, low)
    length = 1 - gamma
    middle = stats.binom.pmf(y, n, np.clip(low + length / 2, 0, 1))
    likelihood = np.where(length > 1e-5, np.maximum(held, 0) / np.maximum(length, 1e-5) / (n + 1), middle)
    mine = prior[0] * np.log(p) + prior[1] * np.log(special.expit(-logit)) - special.betaln(*prior)
    rest = mine + trial.log_likelihood(logit[:, None])[:, 0]
    joint = w[:, None] * likelihood * np.exp(rest - rest.max())
    posterior = Density.of(logit, np.log(np.maximum(joint.sum(axis=0), 1e-300)), "logit")
    of_share = joint.sum(axis=1) / joint.sum()
    mean = float(of_share @ gamma[:, 0])
    about = {"gamma_sd": float(np.sqrt(of_share @ (gamma[:, 0] - mean) ** 2)), "gamma_most": most}
    return Borrowed("LEAP", posterior, mean, "E(gamma | data), the share taken for exchangeable", None, False, about)


@dataclass(frozen=True)
class Priors:
    """Of normal outcomes: means ~ N(mean, mean_sd²), SDs ~ half-normal(sd_scale), in the unit of the outcome; gamma ~
    most Beta(*share). Errors: BorrowingError of an improper one."""

    mean: float
    mean_sd: float
    sd_scale: float
    share: tuple[float, float] = (1.0, 1.0)
    most: float = 1.0

    def __post_init__(self) -> None:
        wrong = checks.numbers("mean", self.mean) + checks.positive("mean_sd", self.mean_sd)
        wrong += checks.positive("sd_scale", self.sd_scale) + checks.positive("share, shapes", self.share)
        wrong += checks.within("most", self.most, 0, 1) + checks.positive("most", self.most)
        checks.refuse(wrong)


def model(p: Priors) -> Callable[[Any, Any], None]:
    """The model under these priors. Its design holds arrays of the two sizes, `current` (n,) and `historical`
    (n_historical,); sites: mean and sd of the trial's arm and of exchangeable historical subjects, other_mean and
    other_sd of the rest, and share; observed `current` and `historical`. The design's values are where chains start and
    in what steps, nothing else: from far away a chain may take the two groups for one wide one and never leave."""

    def made(design: Any, outcome: Any = None) -> None:
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        seen = outcome or {}

        def group(name: str, x: Any, width: float) -> tuple[Any, Any]:
            """Mean and SD of a group, as a shift from where its chain starts; their prior stays as it is."""
            spread = jnp.std(x)
            spread = jnp.where(spread > 0, spread, 1.0)
            centre, step = jnp.mean(x), width * spread
            of_mean = dist.Normal((p.mean - centre) / step, p.mean_sd / step)
            mean = centre + step * numpyro.sample(f"{name}mean|shift", of_mean)
            sd = spread * numpyro.sample(f"{name}sd|ratio", dist.HalfNormal(p.sd_scale / spread))
            return numpyro.deterministic(f"{name}mean", mean), numpyro.deterministic(f"{name}sd", sd)

        n = len(design["current"])
        mean, sd = group("", jnp.asarray(design["current"]), n**-0.5)
        other_mean, other_sd = group("other_", jnp.asarray(design["historical"]), 0.5)
        share = p.most * numpyro.sample("share|of most", dist.Beta(*p.share))
        numpyro.deterministic("share", share)
        numpyro.sample("current", dist.Normal(mean, sd).expand([n]), obs=seen.get("current"))
        both = dist.MixtureSameFamily(
            dist.Categorical(probs=jnp.stack([share, 1 - share])),
            dist.Normal(jnp.stack([mean, other_mean]), jnp.stack([sd, other_sd])),
        )
        numpyro.sample("historical", both.expand([len(design["historical"])]), obs=seen.get("historical"))

    return made


def normal(
    current: np.ndarray, historical: np.ndarray, priors: Priors, *, seed: int, sampling: Sampling = DEFAULT
) -> "xr.DataTree":
    """Posterior of one arm's mean from outcomes of subjects, (n,) and (n_historical,); sites as in `model`,
    share the gamma above.

    Errors: BorrowingError of too few subjects or none that vary; NotConverged."""
    from cohort.inference.diagnosis import require
    from cohort.inference.sampling import numpyro_nuts

    wrong = []
    for where, x in (("current", current), ("historical", historical)):
        wrong += (
            checks.numbers(where, x)
            or ([f"{where}: {np.size(x)} subjects; write two or more"] if np.size(x) < 2 else [])
            or ([f"{where}: all subjects are alike; write outcomes that vary"] if np.ptp(x) == 0 else [])
        )
    checks.refuse(wrong)
    data = {"current": np.asarray(current, float), "historical": np.asarray(historical, float)}
    sites = ["mean|shift", "sd|ratio", "other_mean|shift", "other_sd|ratio", "share|of most"]
    tree = numpyro_nuts(model(priors), data, data, seed=seed, sampling=sampling, priors=sites)
    require(tree, ["mean", "sd", "share"], what="the latent exchangeability prior")
    return tree


def case() -> "Case":
    """For simulation-based calibration: few subjects, some of them exchangeable."""
    from cohort.inference.sbc import Case

    made, sizes = model(Priors(0.0, 1.0, 1.0)), {"current": np.zeros(10), "historical": np.zeros(15)}
    return Case("LEAP, normal outcome", made, sizes, ("current", "historical"), ("mean", "sd", "share"))
