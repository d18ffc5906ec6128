"""What other trials teach of the model's errors: no more than as many trials as there are, however many arms."""

import numpy as np
import pytest

from cohort.borrowing.scale import Scale
from cohort.borrowing.virtual import Discrepancy, Evidence, Validation
from cohort.comparison import ArmPrediction
from cohort.comparison.learning import assumed, evidence_of, priors, validation

ASSUMED = Discrepancy(3.5, Scale(3.5), Scale(2.5))


def arm(noise: float = 0.0, common: float = 0.0, seed: int = 1) -> ArmPrediction:
    theta = np.random.default_rng(seed).normal(0.0, 2.0, 400)
    return ArmPrediction(theta, np.full(400, 15.0), np.full(400, 45.0), np.full(400, noise), common)


def trial(off: float, arms: int, se: float = 2.0) -> Validation:
    return Validation(np.full(arms, off), np.full(arms, se), Evidence(np.zeros(arms), 0.1 * np.eye(arms)))


def test_noise_of_redrawn_patients_is_taken_out_of_the_covariance_and_shared_noise_added_once():
    theta = arm().theta
    plain = evidence_of([arm(), arm(seed=2)]).cov
    noisy = evidence_of([arm(noise=0.5), arm(noise=0.5, seed=2)]).cov
    assert np.diag(plain) - np.diag(noisy) == pytest.approx([0.25, 0.25])
    assert plain[0, 1] == pytest.approx(noisy[0, 1])
    shared = evidence_of([arm(common=0.3), arm(common=0.3, seed=2)]).cov
    assert shared - plain == pytest.approx(np.full((2, 2), 0.09))
    assert plain[0, 0] == pytest.approx(theta.var(ddof=1))


def test_noise_larger_than_the_spread_leaves_no_negative_variance():
    assert np.linalg.eigvalsh(evidence_of([arm(noise=9.0), arm(noise=9.0, seed=2)]).cov).min() > -1e-9


def test_four_arms_of_one_trial_teach_little_more_than_two_and_much_less_than_four_trials():
    one, wide = priors(arm(), ASSUMED, [trial(5.0, 2)], seed=1), priors(arm(), ASSUMED, [trial(5.0, 4)], seed=1)
    many = priors(arm(), ASSUMED, [trial(5.0, 1)] * 4, seed=1)
    sds = [found["learnt"].mixture.sd for found in (one, wide, many)]
    assert sds[0] > sds[1] > sds[2]
    assert sds[0] - sds[1] < (sds[1] - sds[2]) / 2


def test_a_trial_that_was_missed_moves_the_prior_towards_its_side_and_agreement_narrows_it():
    missed, hit = priors(arm(), ASSUMED, [trial(8.0, 2)], seed=1), priors(arm(), ASSUMED, [trial(0.0, 2)], seed=1)
    centre = arm().theta.mean()
    assert missed["learnt"].mixture.mean > centre + 1
    assert hit["learnt"].mixture.mean == pytest.approx(centre, abs=0.2)
    assert hit["learnt"].mixture.sd < hit["assumed"].mixture.sd


def test_only_arms_of_the_same_kind_with_an_outcome_teach():
    summary = {
        "evidence_of_model": {
            "ldl": {"arms": ["p", "d"], "active": [False, True], "mean": [0.0, -60.0], "covariance": [[1, 0], [0, 2]]}
        },
        "arms": [
            {"arm": "p", "endpoint": "ldl", "kind": "mean", "observed": -3.0, "se": 2.0},
            {"arm": "p", "endpoint": "ldl", "kind": "effect", "observed": 9.0, "se": 9.0},
        ],
    }
    found = validation(summary, "ldl", active=False)
    assert found is not None
    assert (found.y.tolist(), found.se.tolist(), found.model.cov.tolist()) == ([-3.0], [2.0], [[1.0]])
    assert validation(summary, "ldl", active=True) is None
    assert validation(summary, "other", active=False) is None


def test_the_assumption_without_trials_has_the_stated_standard_deviation(laplace):
    found = assumed(laplace, "percent")
    assert found.sigma**2 + found.trial.scale**2 == pytest.approx(5.0**2)
    assert found.arm.scale == 2.5
