"""Plausible patients on a one-compartment model, whose exposure and half-life give clearance and volume back."""

import math

import numpy as np
import pytest

from cohort.population.baseline import MatchingError
from cohort.population.plausible import Observed, Plausible, PlausibleError, accept, diversity, plausible, prevalence

DOSE = 100.0  # mg
BOUNDS = {"cl": (0.5, 50.0), "v": (5.0, 500.0)}  # L/h, L
RANGES = {"auc": (2.5, 40.0), "half_life": (0.8, 20.0)}  # mg h/L, h
SD = np.array([0.4, 0.5])  # of logarithms
CORRELATION = 0.5
COVARIANCE = np.array([[SD[0] ** 2, CORRELATION * SD.prod()], [CORRELATION * SD.prod(), SD[1] ** 2]])
OBSERVED = Observed(("auc", "half_life"), np.log([10.0, 4.0]), COVARIANCE, frozenset(RANGES))


def one_compartment(p: np.ndarray) -> np.ndarray:
    cl, v = p.T
    return np.column_stack([DOSE / cl, math.log(2) * v / cl])


FOUND = plausible(one_compartment, BOUNDS, RANGES, 3000, seed=1)


def test_plausible_patients_are_within_all_ranges():
    for values, box in ((FOUND.parameters, BOUNDS), (FOUND.outputs, RANGES)):
        low, high = np.array(list(box.values())).T
        assert np.all((values >= low) & (values <= high))
    assert FOUND.outputs == pytest.approx(one_compartment(FOUND.parameters))
    assert len(FOUND.parameters) == 3000 <= FOUND.starts
    assert FOUND.simulated > 3000


def test_the_same_seed_finds_the_same_patients():
    one, again = (plausible(one_compartment, BOUNDS, RANGES, 30, seed=2) for _ in range(2))
    assert np.array_equal(one.parameters, again.parameters)


def test_patients_taken_have_the_observed_outputs_without_weights():
    taken = accept(FOUND, OBSERVED, seed=1)
    y = np.log(FOUND.outputs[taken.taken])
    n = len(y)
    assert n > 100
    assert taken.effective == pytest.approx(n)
    assert max(taken.misfit.values()) < 1.36 / math.sqrt(n)  # not told apart at 5 % by Kolmogorov's test
    assert np.all(np.abs(y.mean(axis=0) - OBSERVED.mean) < 3 * SD / math.sqrt(n))
    assert y.std(axis=0) == pytest.approx(SD, rel=3 / math.sqrt(2 * n))
    assert np.corrcoef(y.T)[0, 1] == pytest.approx(CORRELATION, abs=3 * (1 - CORRELATION**2) / math.sqrt(n))


def test_their_parameters_are_those_of_the_models_inverse():
    """log cl = log dose - log auc, log v = log half-life + log cl - log log 2: normal, with known moments."""
    taken = accept(FOUND, OBSERVED, seed=1).taken
    spread = math.sqrt(COVARIANCE[0, 0] + COVARIANCE[1, 1] - 2 * COVARIANCE[0, 1])
    mean_cl, mean_v = math.log(DOSE / 10), math.log(4 * DOSE / 10 / math.log(2))
    for x, mean, sd in zip(np.log(FOUND.parameters[taken]).T, (mean_cl, mean_v), (SD[0], spread), strict=True):
        assert x.mean() == pytest.approx(mean, abs=3 * sd / math.sqrt(len(taken)))
        assert x.std() == pytest.approx(sd, rel=3 / math.sqrt(2 * len(taken)))


def test_prevalence_weights_give_the_observed_mean_and_sd():
    weighted = prevalence(FOUND, OBSERVED)
    y = np.log(FOUND.outputs)
    mean = weighted.weights @ y
    assert mean == pytest.approx(np.log([10.0, 4.0]), abs=1e-6)
    assert np.sqrt(weighted.weights @ (y - mean) ** 2) == pytest.approx(SD, rel=1e-6)
    assert (weighted.weights * (y - mean).T[0]) @ (y - mean).T[1] / SD.prod() == pytest.approx(CORRELATION, abs=0.08)
    assert max(weighted.misfit.values()) < 0.03
    assert weighted.effective == pytest.approx(1 / np.sum(weighted.weights**2))
    assert 200 < weighted.effective < 3000


def test_weights_use_more_patients_than_taking_does():
    assert prevalence(FOUND, OBSERVED).effective > accept(FOUND, OBSERVED, seed=1).effective


def test_the_observed_may_be_people_themselves():
    rng = np.random.default_rng(3)
    people = np.exp(rng.multivariate_normal(OBSERVED.mean, COVARIANCE, 5000))
    seen = Observed.of(people, ("auc", "half_life"), ("auc", "half_life"))
    assert seen.mean == pytest.approx(OBSERVED.mean, abs=0.03)
    assert seen.covariance == pytest.approx(COVARIANCE, abs=0.02)
    assert max(seen.misfit(people, np.full(5000, 1 / 5000)).values()) < 0.02


def test_misfit_is_kolmogorovs_distance():
    from scipy.stats import kstest

    y = np.exp(np.random.default_rng(4).normal([2, 1], 0.7, (200, 2)))
    seen = OBSERVED.misfit(y, np.full(200, 1 / 200))
    for i, name in enumerate(RANGES):
        wanted = kstest((np.log(y[:, i]) - OBSERVED.mean[i]) / SD[i], "norm").statistic
        assert seen[name] == pytest.approx(wanted)


def test_uniform_patients_are_as_diverse_as_can_be():
    u = np.random.default_rng(5).random((20_000, 2))
    low, high = np.array(list(BOUNDS.values())).T
    everyone = Plausible(low + u * (high - low), u, BOUNDS, RANGES, 1, 1)
    table = diversity(everyone, np.full(len(u), 1 / len(u)))
    assert table["parameter"].to_list() == ["cl", "v", "all"]
    assert table["spread"].to_list() == pytest.approx([1, 1, 1], abs=0.01)
    assert table["covered"].to_list() == pytest.approx([1, 1, 1], abs=0.01)


def test_spread_is_the_distance_between_patients():
    taken = accept(FOUND, OBSERVED, seed=1)
    u = (FOUND.parameters[taken.taken] - [0.5, 5]) / [49.5, 495]
    n = len(u)
    squares = ((u[:, None] - u[None]) ** 2).sum(axis=(0, 1)) / n**2
    assert taken.diversity["spread"][:2].to_list() == pytest.approx(np.sqrt(squares * 6).tolist())
    assert taken.diversity["covered"][0] == pytest.approx(np.ptp(u[:, 0]))


def test_outputs_out_of_reach_are_named_with_how_far_the_model_goes():
    with pytest.raises(PlausibleError) as e:
        plausible(one_compartment, BOUNDS, {"auc": (300.0, 400.0), "half_life": (0.8, 20.0)}, 5, seed=1)
    assert str(e.value).startswith("auc: from 300 to 400 was asked; the model went from")
    assert float(str(e.value).splitlines()[0].split()[-1]) == pytest.approx(200)  # 100 mg over 0.5 L/h
    assert "half_life" not in str(e.value)


def test_ranges_that_never_meet_are_told_of():
    with pytest.raises(PlausibleError, match="auc, twice: each comes within its range, too seldom together"):
        plausible(
            lambda p: one_compartment(p)[:, :1] * [1, 2], BOUNDS, {"auc": (5.0, 6.0), "twice": (20.0, 22.0)}, 5, seed=1
        )


def test_failed_solves_are_given_up_not_kept():
    def fails(p: np.ndarray) -> np.ndarray:
        return np.where(p[:, :1] > 25, np.nan, one_compartment(p))

    found = plausible(fails, BOUNDS, RANGES, 50, seed=1)
    assert np.all(found.parameters[:, 0] <= 25)


@pytest.mark.parametrize(
    ("bounds", "ranges", "complaint"),
    [
        ({"cl": (5.0, 1.0), "v": (5.0, 500.0)}, RANGES, "parameter 'cl': from 5 to 1 is no range"),
        (BOUNDS, {"auc": (1.0, math.inf), "half_life": (1.0, 2.0)}, "output 'auc': from 1 to inf is no range"),
        (BOUNDS, {"auc": (5.0, 15.0)}, r"the model returned \(5, 2\) for 5 patients with 1 outputs"),
    ],
)
def test_bounds_that_are_none_are_refused(bounds, ranges, complaint: str):
    with pytest.raises(PlausibleError, match=complaint):
        plausible(one_compartment, bounds, ranges, 5, seed=1)


def test_observed_outputs_are_those_of_the_model():
    other = Observed(("auc", "cmax"), OBSERVED.mean, COVARIANCE)
    with pytest.raises(PlausibleError, match="observed are auc, cmax; the model gives auc, half_life"):
        accept(FOUND, other, seed=1)


def test_people_whom_no_plausible_patient_is_like_are_refused():
    far = Observed(OBSERVED.names, np.log([100.0, 4.0]), COVARIANCE, OBSERVED.logs)
    with pytest.raises(MatchingError, match=r"auc: mean .* cannot be reached; the pool reaches at most"):
        prevalence(FOUND, far)
