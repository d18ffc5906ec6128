"""Simulated trials against the exact characteristics, and the same whoever runs them."""

import numpy as np
import pytest
from decision_designs import BINARY, CROHN, CROHN_ROBUST, VAGUE, crohn
from scipy import stats

from cohort.decision import DecisionError, exact, simulate
from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design
from cohort.decision.trials import Trial, trial
from cohort.mixture import NormalMixture, difference

T, C = np.array([-50.0, -110.0]), np.array([-50.0, -50.0])
DESIGNS = [crohn("flat", VAGUE), crohn("MAP", CROHN), crohn("robust", CROHN_ROBUST)]


def test_double_programmed_simulation_agrees_with_quadrature():
    drawn = simulate.simulate(DESIGNS, T, C, seed=1, trials=20_000, variance="known")
    for design, found in zip(DESIGNS, drawn.characteristics, strict=True):
        want = exact.characteristics(design, T, C)
        for name in ("rate", "bias", "mse", "coverage", "width", "ess_borrowed"):
            tolerance = 4.5 * found.mcse[name] + 1e-6 * np.abs(want.value[name])
            assert np.all(np.abs(found.value[name] - want.value[name]) <= tolerance), (design.name, name)


def test_with_flat_priors_mode_t_is_the_t_test():
    flat = crohn("flat", VAGUE, n=4, wanted=decision("P(treatment - control < 0) > 0.975"))
    small = Design("small", flat.decision, Arm(5, VAGUE), Arm(4, VAGUE), sigma=88.0)
    drawn = simulate.simulate([small], -150.0, -50.0, seed=2, trials=150, variance="t")
    for index in range(150):
        one = trial(small, -150.0, -50.0, seed=2, index=index)
        p = float(stats.ttest_ind(one.treatment, one.control, alternative="less")[1])  # type: ignore
        if abs(p - 0.025) > 1e-4:  # the vague prior is not quite flat
            assert (p < 0.025) == drawn.decided[0, 0, index]


def test_a_plugged_in_variance_is_too_sure_in_small_trials():
    small = Design("small", decision("P(treatment - control < 0) > 0.975"), Arm(4, VAGUE), Arm(4, VAGUE), sigma=88.0)
    rate = {
        mode: simulate.simulate([small], -50.0, -50.0, seed=1, trials=20_000, variance=mode, level=None)
        .characteristics[0]
        .rate[0]
        for mode in ("t", "normal")
    }
    assert rate["t"] == pytest.approx(0.025, abs=0.005)
    assert rate["normal"] > 0.04


def test_standard_errors_are_those_of_proportions():
    n = 10_000
    assert simulate.share(np.r_[np.ones(250), np.zeros(n - 250)])[1] == pytest.approx(0.00156, abs=1e-5)
    assert simulate.share(np.r_[np.ones(8000), np.zeros(2000)])[1] == pytest.approx(0.004, abs=1e-5)
    n = 100_000
    assert simulate.share(np.r_[np.ones(2500), np.zeros(n - 2500)])[1] == pytest.approx(0.00049, abs=1e-5)


def test_common_random_numbers_make_a_difference_of_designs_sure():
    drawn = simulate.simulate(DESIGNS, T, C, seed=1, trials=5000, level=None)
    gain, mcse = drawn.gain("robust", "MAP")
    alone = np.hypot(*(c.mcse["rate"] for c in drawn.characteristics[1:]))
    assert np.all(mcse < 0.75 * alone)
    assert gain == pytest.approx(drawn.characteristics[2].rate - drawn.characteristics[1].rate)


def test_a_trial_is_the_same_in_any_company():
    few = simulate.simulate(DESIGNS[2:], T, C, seed=5, trials=300)
    many = simulate.simulate([*DESIGNS, crohn("more", CROHN, n=50)], T, C, seed=5, trials=4500)
    assert np.array_equal(few.decided[0], many.decided[2][:, :300])
    assert few.estimate[0] == pytest.approx(many.estimate[2][:, :300], rel=1e-12)


def _mean_difference(one: Trial) -> dict[str, float]:
    if one.index == 7:
        raise RuntimeError("R-hat is 1.3")
    noise = np.random.default_rng(one.seed).normal()
    return {"difference": float(one.treatment.mean() - one.control.mean()), "noise": noise}


def test_an_analysis_of_ones_own_sees_the_trials_that_were_simulated():
    found = simulate.analyse(DESIGNS[0], -110.0, -50.0, _mean_difference, seed=9, trials=range(20))
    drawn = simulate.simulate(DESIGNS[:1], -110.0, -50.0, seed=9, trials=20, variance="known", level=None)
    seen = found.filter(found["failed"].is_null())
    assert seen["difference"].to_numpy() == pytest.approx(drawn.estimate[0, 0, seen["trial"].to_numpy()], rel=1e-3)


def test_a_failed_analysis_is_a_row_with_its_reason():
    found = simulate.analyse(DESIGNS[0], -110.0, -50.0, _mean_difference, seed=9, trials=range(6, 9))
    assert found["failed"].to_list() == [None, "RuntimeError: R-hat is 1.3", None]
    assert found["difference"][1] is None


def test_results_do_not_depend_on_chunks_or_workers():
    from cohort.cluster import Local, client

    alone = simulate.analyse(DESIGNS[0], -110.0, -50.0, _mean_difference, seed=9, trials=range(12), chunk=5)
    with client(Local(workers=2)) as workers:
        spread = simulate.analyse(
            DESIGNS[0], -110.0, -50.0, _mean_difference, seed=9, trials=range(12), chunk=2, client=workers
        )
    assert spread.equals(alone)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: simulate.simulate([BINARY["MAP 24:6"]], 0.5, 0.3, seed=1), "write normal priors"),
        (lambda: simulate.simulate(DESIGNS, np.nan, -50.0, seed=1), "finite"),
        (lambda: simulate.simulate(DESIGNS, -50.0, -50.0, seed=1, trials=1), "2 or more"),
        (lambda: simulate.simulate([crohn("few", VAGUE, n=2.5)], -50.0, -50.0, seed=1), "whole numbers"),
        (lambda: simulate.simulate(DESIGNS, -50.0, -50.0, seed=1, variance="z"), "known, normal or t"),  # type: ignore[arg-type]
        (lambda: simulate.analyse(DESIGNS[0], -50.0, -50.0, _mean_difference, seed=1, trials=[]), "one index"),
    ],
)
def test_simulations_that_make_no_sense_are_refused(call, said: str):
    with pytest.raises(DecisionError, match=said):
        call()


def _by_nuts(one: Trial) -> dict[str, float]:
    """The control under the mixture prior and the treatment under its own, by NUTS: nothing of the algebra is used."""
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    from cohort.inference.sampling import Sampling, numpyro_nuts

    design = DESIGNS[2]
    assert design.control is not None
    priors = [arm.prior for arm in design.arms]

    def model() -> None:
        for name, y, prior in zip(("treatment", "control"), (one.treatment, one.control), priors, strict=True):
            assert isinstance(prior, NormalMixture)
            parts = dist.Normal(jnp.asarray(prior.means), jnp.asarray(prior.sds))
            mean = numpyro.sample(name, dist.MixtureSameFamily(dist.Categorical(jnp.asarray(prior.weight)), parts))
            with numpyro.plate(f"subjects of {name}", len(y)):
                numpyro.sample(f"y of {name}", dist.Normal(mean, design.sigma), obs=jnp.asarray(y))

    found = numpyro_nuts(model, seed=one.seed, sampling=Sampling(warmup=500, draws=2500)).children["posterior"].dataset
    difference = (found["treatment"] - found["control"]).values.reshape(-1)
    return {"difference": float(difference.mean()), "sd": float(difference.std()), "p": float((difference < 0).mean())}


@pytest.mark.slow
def test_independent_nuts_confirms_the_conjugate_analysis_of_simulated_trials():
    design = DESIGNS[2]
    assert design.control is not None
    found = simulate.analyse(design, -70.0, -50.0, _by_nuts, seed=9, trials=range(4))
    assert found["failed"].null_count() == 4
    for row in found.iter_rows(named=True):
        one = trial(design, -70.0, -50.0, seed=9, index=row["trial"])
        after = [
            arm.prior.updated(float(y.mean()), design.standard_error(arm))
            for arm, y in zip(design.arms, (one.treatment, one.control), strict=True)
        ]
        sd = float(np.hypot(after[0].sd, after[1].sd))
        assert row["difference"] == pytest.approx(after[0].mean - after[1].mean, abs=0.08 * sd)
        assert row["sd"] == pytest.approx(sd, rel=0.08)
        assert row["p"] == pytest.approx(1 - difference.probability(*after, above=0.0), abs=0.02)
