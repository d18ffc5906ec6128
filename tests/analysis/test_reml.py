"""The MMRM by restricted maximum likelihood: against closed forms, and SAS on a real trial."""

import numpy as np
import pytest

from cohort.analysis import AnalysisError
from cohort.analysis.longitudinal import Longitudinal
from cohort.analysis.reml import reml
from cohort.analysis.subjects import Subjects

ARMS = ("placebo", "drug")


def _trial(n: int = 80, **more) -> Longitudinal:
    rng = np.random.default_rng(3)
    arm = np.array(ARMS)[np.arange(n) % 2]
    site = np.array(["a", "b", "c"])[rng.integers(3, size=n)]
    baseline = rng.normal(25, 8, n)
    y = rng.multivariate_normal([1, 2, 3], 9 * np.eye(3) + 6, n) - 0.1 * (baseline[:, None] - 25)
    subjects = Subjects(arm, ARMS, {"site": site} if more.pop("sites", False) else {})
    return Longitudinal(y, subjects, ("1", "2", "3"), baseline, **more)


def test_of_complete_data_it_is_the_analysis_of_covariance_of_each_visit():
    data = _trial()
    x = data.columns()
    found = reml(data)
    for j in range(3):
        beta, rest, *_ = np.linalg.lstsq(x, data.y[:, j])
        assert found.effect[0, j] == pytest.approx(beta[1], abs=1e-5)
        se = np.sqrt(rest[0] / (len(x) - x.shape[1]) * np.linalg.inv(x.T @ x)[1, 1])
        assert found.se[0, j] == pytest.approx(se, rel=1e-3)


def test_a_score_that_is_the_outcome_but_for_noise_takes_the_variance_away():
    plain = _trial()
    twin = plain.y + np.random.default_rng(5).normal(0, 0.5, plain.y.shape)
    within = reml(_trial(twin=twin))
    assert np.all(within.se < 0.25 * reml(plain).se)
    assert np.all(np.sqrt(np.diag(within.sigma)) < 0.7)


def test_nothing_depends_on_what_a_missing_value_would_have_been_or_on_the_order_of_subjects():
    data = _trial(sites=True)
    y = data.y.copy()
    y[::7, 2] = np.nan
    hole = Longitudinal(y, data.subjects, data.visits, data.baseline)
    back = np.arange(len(y))[::-1]
    covariates = {k: v[back] for k, v in data.subjects.covariates.items()}
    turned = Longitudinal(
        y[back], Subjects(data.subjects.arm[back], ARMS, covariates), data.visits, data.baseline[back]
    )
    assert reml(hole).effect == pytest.approx(reml(turned).effect, abs=1e-4)
    assert reml(hole).se[0, 2] > reml(data).se[0, 2]


def test_covariates_that_follow_from_each_other_are_refused():
    data = _trial()
    same = {"sex": np.where(data.subjects.arm == "drug", "m", "f")}
    with pytest.raises(AnalysisError, match="do not determine"):
        reml(Longitudinal(data.y, Subjects(data.subjects.arm, ARMS, same), data.visits, data.baseline))
