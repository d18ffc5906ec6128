"""Weibull and log-normal survival with censoring: their likelihood, posterior and two readings are the textbook's."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from cohort.analysis import AnalysisError
from cohort.analysis import parametric as q
from cohort.analysis.survival import survival
from cohort.inference.diagnosis import flat
from cohort.inference.sampling import Engine, Sampling
from cohort.inference.sbc import calibrated, uniformity

ENGINES: tuple[Engine, ...] = ("numpyro", "pymc")
SHORT = Sampling(warmup=500, draws=2000, chains=4)
NAN = float("nan")


def trial(n=60, upper=False, seed=4):
    rng = np.random.default_rng(seed)
    arm = np.where(np.arange(n) % 2, "treated", "control")
    latent = rng.weibull(1.4, n) * np.where(arm == "treated", 3.0, 2.0)
    stop = rng.uniform(1, 4, n)
    time, event = np.minimum(latent, stop), latent <= stop
    if not upper:
        return survival(time, event, arm, control="control", unit="y")
    # Visits every half year: the event lies between two.
    low = np.where(event, np.floor(time * 2) / 2, time)
    return survival(low, event, arm, control="control", unit="y", upper=np.where(event, low + 0.5, NAN))


def log_likelihood(data, family, location, spread, effect):
    """By SciPy, of each subject."""
    treated = data.arm == 1
    if family == "lognormal":
        base: Any = stats.lognorm(spread, scale=np.exp(location + effect * treated))
    else:
        ratio = -effect / spread if family == "weibull_ph" else effect
        base = stats.weibull_min(spread, scale=np.exp(location + ratio * treated))
    exact = np.where(data.event, base.logpdf(np.maximum(data.time, 1e-9)), base.logsf(data.time))
    if data.upper is None:
        return exact
    within = ~np.isnan(data.upper)
    mass = base.cdf(np.where(within, data.upper, 1.0)) - base.cdf(data.time)
    return np.where(within, np.log(np.where(within, mass, 1.0)), exact)


@pytest.mark.parametrize("upper", [False, True], ids=["right", "interval"])
@pytest.mark.parametrize("family", q.FAMILIES)
def test_double_programmed_likelihood_of_each_subject_by_scipy(family, upper):
    import jax
    from numpyro.infer.util import compute_log_probs

    jax.config.update("jax_enable_x64", True)
    data = trial(upper=upper)
    d = q.design(data, family, q.Priors())
    seen = {"time": data.time, "event": data.event} | ({"upper": data.upper} if upper else {})
    name = "sigma" if family == "lognormal" else "shape"
    for location, spread, effect in ((0.8, 1.3, -0.4), (0.2, 0.7, 0.5)):
        point = {"location": location, name: spread, "effect": np.array([effect])}
        found, _ = compute_log_probs(q.model, (d, seen), {}, point, sum_log_prob=False)
        expected = log_likelihood(data, family, location, spread, effect)
        np.testing.assert_allclose(np.asarray(found["time"]), expected, rtol=1e-9)


def grid(data, family, priors):
    """Posterior mean and SD of location, spread and effect on a grid."""
    centre = np.log(data.time.sum() / data.event.sum())
    axes = (np.linspace(-0.6, 2.6, 61), np.linspace(0.4, 3.0, 53), np.linspace(-2.2, 2.2, 61))
    log = np.empty([len(a) for a in axes])
    for i, j, k in np.ndindex(log.shape):
        point = (axes[0][i], axes[1][j], axes[2][k])
        log[i, j, k] = _fast(data, family, *point)
    log += stats.norm.logpdf(axes[0], centre, priors.location_sd)[:, None, None]
    log += stats.lognorm.logpdf(axes[1], priors.shape_sd)[None, :, None]
    log += stats.norm.logpdf(axes[2], 0, priors.effect_sd)
    w = np.exp(log - log.max())
    w /= w.sum()
    mean = [np.sum(w * a.reshape([-1 if m == i else 1 for m in range(3)])) for i, a in enumerate(axes)]
    square = [np.sum(w * a.reshape([-1 if m == i else 1 for m in range(3)]) ** 2) for i, a in enumerate(axes)]
    return np.array(mean), np.sqrt(np.array(square) - np.array(mean) ** 2)


def _fast(data, family, location, spread, effect):
    log_t, treated = np.log(data.time), data.arm == 1
    if family == "lognormal":
        z = (log_t - location - effect * treated) / spread
        return np.sum(np.where(data.event, stats.norm._logpdf(z) - np.log(spread) - log_t, stats.norm._logsf(z)))
    ratio = -effect / spread if family == "weibull_ph" else effect
    z = spread * (log_t - location - ratio * treated)
    return np.sum(data.event * (np.log(spread) + z - log_t) - np.exp(z))


@pytest.mark.slow
@pytest.mark.parametrize("family", q.FAMILIES)
def test_double_programmed_posterior_on_a_grid(family):
    data = trial()
    tree = q.fit(data, family, seed=3, sampling=SHORT)
    mean, sd = grid(data, family, q.Priors())
    for name, m, s in zip(("location", "sigma" if family == "lognormal" else "shape", "effect"), mean, sd, strict=True):
        draws = flat(tree, name)
        assert draws.mean() == pytest.approx(m, abs=4 * s / np.sqrt(1200))
        assert draws.std() == pytest.approx(s, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("family", q.FAMILIES)
def test_independent_pymc_says_the_same(family):
    data = trial(n=120)
    here, there = (q.fit(data, family, seed=5, sampling=SHORT, engine=engine) for engine in ENGINES)
    for name in ("location", "sigma" if family == "lognormal" else "shape", "effect", "log_time_ratio"):
        a, b = flat(here, name), flat(there, name)
        assert a.mean() == pytest.approx(b.mean(), abs=4 * np.sqrt(2) * a.std() / np.sqrt(1200))
        assert a.std() == pytest.approx(b.std(), rel=0.1)


def test_log_normal_without_censoring_is_regression_of_log_times():
    rng = np.random.default_rng(1)
    arm = np.where(np.arange(80) % 2, "treated", "control")
    time = np.exp(rng.normal(0.3 + 0.5 * (arm == "treated"), 0.6))
    data = survival(time, np.ones(80), arm, control="control", unit="y")
    tree = q.fit(data, "lognormal", seed=1, sampling=SHORT, priors=q.Priors(effect_sd=10))
    y0, y1 = (np.log(time[arm == a]) for a in ("control", "treated"))
    s2 = (y0.var(ddof=1) + y1.var(ddof=1)) / 2
    effect = flat(tree, "effect")
    assert effect.mean() == pytest.approx(y1.mean() - y0.mean(), abs=0.015)
    assert effect.std() == pytest.approx(np.sqrt(s2 / 20), abs=0.012)
    assert "log_hr" not in tree["posterior"].data_vars  # it has none
    assert "log_prior" in tree.children


@pytest.mark.slow
def test_the_two_readings_of_a_weibull_are_one_model():
    tree = q.fit(trial(), "weibull_ph", seed=9, sampling=SHORT)
    k, ratio, log_hr = (flat(tree, name) for name in ("shape", "log_time_ratio", "log_hr"))
    np.testing.assert_allclose(log_hr, -k[:, None] * ratio, rtol=1e-10)


def test_events_known_to_a_day_tell_as_much_as_exact_ones():
    data = trial()
    day = 1 / 365.25
    low = np.where(data.event, data.time - day / 2, data.time)
    arm = np.array(data.arms)[data.arm]
    near = survival(
        low, data.event, arm, control="control", unit="y", upper=np.where(data.event, data.time + day / 2, NAN)
    )
    exact = log_likelihood(data, "weibull_ph", 0.8, 1.3, -0.4)
    known = log_likelihood(near, "weibull_ph", 0.8, 1.3, -0.4) - np.where(data.event, np.log(day), 0)
    np.testing.assert_allclose(known, exact, atol=1e-3)


@pytest.mark.slow
def test_a_fit_to_intervals_finds_what_a_fit_to_exact_times_finds():
    exact = q.fit(trial(n=200), "weibull_ph", seed=2, sampling=SHORT)
    seen = q.fit(trial(n=200, upper=True), "weibull_ph", seed=2, sampling=SHORT)
    a, b = flat(exact, "effect"), flat(seen, "effect")
    assert a.mean() == pytest.approx(b.mean(), abs=0.3 * a.std())
    assert b.std() >= 0.97 * a.std()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ([0, 0, 0, 0], "every time is censored, no conclusion"),
        ([1, 0, 1, 0], "no event in 'b', no conclusion on a hazard ratio"),
    ],
)
def test_no_conclusion_without_events(event, said):
    data = survival([1.0, 2, 3, 4], event, list("abab"), control="a", unit="y")
    with pytest.raises(AnalysisError, match=said):
        q.fit(data, "weibull_ph", seed=1)


def test_unknown_families_improper_priors_and_intervals_in_pymc_are_refused():
    with pytest.raises(AnalysisError, match="'gompertz' is unknown; write one of weibull_ph"):
        q.fit(trial(), "gompertz", seed=1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AnalysisError, match=r"shape_sd: -1.*effect_sd: nan"):
        q.Priors(shape_sd=-1, effect_sd=NAN)
    with pytest.raises(AnalysisError, match="PyMC takes no event known by an interval"):
        q.fit(trial(upper=True), "weibull_ph", seed=1, engine="pymc")


@pytest.mark.slow
@pytest.mark.parametrize("family", q.FAMILIES)
def test_ranks_of_its_own_prior_are_uniform(family):
    rows = uniformity(calibrated(q.case(family), replicates=100, seed=1))
    assert sum(not row["inside"] for row in rows) == 0
