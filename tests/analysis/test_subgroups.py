"""Subgroup effects: NUTS against quadrature over tau, shrinkage, and the directions that are claimed."""

import math

import numpy as np
import pytest
from scipy import stats

from cohort.analysis import AnalysisError
from cohort.analysis.subgroups import Estimates, Priors, case, differences, directions, effects, exact, fit
from cohort.inference.sampling import Sampling

DATA = Estimates(("a", "b", "c", "d"), np.array([0.5, 0.1, -0.2, 0.8]), np.array([0.2, 0.2, 0.3, 0.4]))
QUICK = Sampling(warmup=500, draws=2000, target_accept=0.98)


@pytest.fixture(scope="module")
def tree():
    return fit(DATA, seed=1, sampling=QUICK)


def agree(tree):
    from arviz_stats import mcse

    drawn, found = effects(tree, DATA), exact(DATA)
    assert (np.abs(drawn.mean - found.mean) < 4 * drawn.mcse).all()
    assert drawn.sd == pytest.approx(found.sd, rel=0.1)
    assert drawn.positive == pytest.approx(found.positive, abs=0.03)
    assert np.abs(drawn.low - found.low).max() < 0.1
    assert np.abs(drawn.high - found.high).max() < 0.1
    for name, exactly in (("tau", found.tau[0]), ("overall", found.overall[0])):
        draws = tree.children["posterior"].dataset[name].values
        assert abs(draws.mean() - exactly) < 4 * float(mcse(draws))


def test_double_programmed_nuts_has_the_posterior_of_quadrature(tree):
    agree(tree)


@pytest.mark.slow
def test_independent_pymc_of_the_hierarchy_itself_agrees_within_monte_carlo_error():
    agree(fit(DATA, seed=1, sampling=Sampling(target_accept=0.98), engine="pymc"))


def test_double_programmed_quadrature_over_tau_and_the_overall_effect():
    """By brute force on a grid of (overall, tau), each subgroup's conditional mean averaged."""
    d, tau = np.meshgrid(np.linspace(-3, 3, 601), (np.arange(1500) + 0.5) / 375, indexing="ij")
    log = stats.norm.logpdf(d, 0, 2.5) + stats.halfnorm.logpdf(tau, 0, 0.5)
    for y, se in zip(DATA.estimate, DATA.se, strict=True):
        log += stats.norm.logpdf(y, d, np.sqrt(se**2 + tau**2))
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    found = exact(DATA)
    assert found.overall[0] == pytest.approx(np.sum(weight * d), abs=1e-5)
    assert found.tau[0] == pytest.approx(np.sum(weight * tau), abs=1e-5)
    for g, (y, se) in enumerate(zip(DATA.estimate, DATA.se, strict=True)):
        v = se**2 + tau**2
        mean, sd = (tau**2 * y + se**2 * d) / v, tau * se / np.sqrt(v)
        assert found.mean[g] == pytest.approx(np.sum(weight * mean), abs=1e-5)
        assert found.positive[g] == pytest.approx(np.sum(weight * stats.norm.sf(0, mean, sd)), abs=1e-5)


def test_equal_errors_shrink_towards_each_other_in_order_and_sum():
    data = Estimates(("a", "b", "c"), np.array([0.0, 1.0, 2.0]), np.full(3, 0.5))
    found = exact(data, Priors(overall_sd=1e3))
    assert found.mean.mean() == pytest.approx(1.0, abs=1e-5)
    assert 0 < found.mean[0] < found.mean[1] < found.mean[2] < 2
    assert (found.sd < 0.5).all()


@pytest.mark.parametrize(("tau", "shrunk"), [(1e-4, True), (1e4, False)])
def test_the_prior_of_tau_goes_from_pooled_to_raw(tau, shrunk):
    found = exact(DATA, Priors(overall_sd=1e3, tau_scale=tau))
    pooled = np.average(DATA.estimate, weights=DATA.se**-2)
    if shrunk:
        assert found.mean == pytest.approx(np.full(4, pooled), abs=1e-4)
    else:  # flat in tau: hardly shrunk
        assert np.abs(found.mean - DATA.estimate).max() < 0.35
        assert np.abs(found.mean - DATA.estimate).max() < np.abs(exact(DATA).mean - DATA.estimate).max()


def test_the_interval_holds_its_level():
    found = exact(DATA, level=0.8)
    inner = exact(DATA, level=0.5)
    assert (found.low < inner.low).all()
    assert (inner.high < found.high).all()
    assert found.raw_high - found.raw_low == pytest.approx(2 * 1.2815515655 * DATA.se)


def test_expected_false_directions_are_the_posterior_chances_of_the_other_sign():
    found = exact(DATA)
    said = directions(found, threshold=0.95)
    wrong = np.minimum(found.positive, 1 - found.positive)
    assert said.claimed == tuple(n for n, w in zip(DATA.name, wrong, strict=True) if w <= 0.05)
    assert said.expected_false == pytest.approx(wrong[wrong <= 0.05].sum())
    assert said.of_all == pytest.approx(wrong.sum())
    assert str(said).startswith(f"{len(said.claimed)} of 4 subgroups have a direction with probability 0.95 or more")


@pytest.mark.slow
def test_expected_false_directions_are_those_that_are_false():
    """Of 400 trials of 8 subgroups drawn from the prior: claims that are wrong, against what was expected."""
    rng, se, false, expected, claims = np.random.default_rng(4), np.full(8, 0.3), 0, 0.0, 0
    for _ in range(400):
        truth = rng.normal(rng.normal(0, 0.5), abs(rng.normal(0, 0.5)), 8)
        data = Estimates(tuple("abcdefgh"), rng.normal(truth, se), se)
        found = exact(data, Priors(overall_sd=0.5), nodes=8)
        said = directions(found, threshold=0.9)
        claimed = np.isin(found.name, said.claimed)
        false += int(np.sum((found.positive[claimed] > 0.5) != (truth[claimed] > 0)))
        expected += said.expected_false
        claims += len(said.claimed)
    assert claims > 1000
    assert abs(false - expected) < 4 * math.sqrt(expected) * 1.5  # claims of one trial go together


def test_independent_difference_and_error_of_a_subgroup_are_welch_s():
    rng = np.random.default_rng(1)
    arm, group = np.repeat(["c", "t"], 40), np.tile(["x", "y"], 40)
    y = rng.normal(size=80) + (arm == "t")
    found = differences(y, arm, group, control="c", treated="t")
    for name, estimate, se in zip(found.name, found.estimate, found.se, strict=True):
        parts = [y[(group == name) & (arm == a)] for a in ("t", "c")]
        reference = stats.ttest_ind(*parts, equal_var=False)
        assert estimate / se == pytest.approx(float(reference.statistic), rel=1e-12)  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "estimate", "se", "said"),
    [
        (("a",), [0.1], [0.1], "two or more"),
        (("a", "a"), [0.1, 0.2], [0.1, 0.1], "repeats"),
        (("a", "b"), [0.1, math.nan], [0.1, 0.1], "estimate: 1 missing"),
        (("a", "b"), [0.1, 0.2], [0.1, 0.0], "se: 0; write positive"),
        (("a", "b"), [0.1, 0.2], [0.1], "se: shape"),
    ],
)
def test_estimates_that_cannot_be_shrunk_are_refused(name, estimate, se, said):
    with pytest.raises(AnalysisError, match=said):
        Estimates(name, np.array(estimate), np.array(se))


def test_subgroups_without_subjects_or_variance_are_all_told():
    y = np.array([1.0, 2, 3, 3, 1, 2])
    with pytest.raises(AnalysisError) as refused:
        differences(y, np.array(list("cctttt")), np.array(list("xxxxyy")), control="c", treated="t")
    told = str(refused.value).splitlines()
    assert told == [
        "subgroup 'x', arm 't': every subject has 3; there is no variance",
        "subgroup 'y', arm 'c': 0 subjects; enrol two or more, or merge",
    ]
    with pytest.raises(AnalysisError, match="'z' is unknown; write c or t"):
        differences(y, np.array(list("cctttz")), np.array(list("xxxxyy")), control="c", treated="t")


def test_levels_thresholds_and_priors_out_of_range_are_refused():
    with pytest.raises(AnalysisError, match="level: 1"):
        exact(DATA, level=1)
    with pytest.raises(AnalysisError, match=r"threshold: 0\.4"):
        directions(exact(DATA), threshold=0.4)
    with pytest.raises(AnalysisError, match=r"priors\.tau_scale: inf"):
        Priors(tau_scale=math.inf)


def test_the_case_draws_its_data_and_has_its_parameters():
    from numpyro.handlers import seed, trace

    made = case()
    sites = trace(seed(made.model, 0)).get_trace(made.design, None)
    assert set(made.observed) | set(made.parameters) <= set(sites)


@pytest.mark.parametrize("gap", [None, float("nan"), ""])
def test_a_missing_label_is_no_subgroup(gap):
    arm, group = ["c", "t"] * 4, ["x"] * 4 + ["y"] * 4
    with pytest.raises(AnalysisError, match=r"group: 2 missing .*the first in row 2"):
        differences(np.arange(8.0), arm, ["x", gap, gap, *group[3:]], control="c", treated="t")  # type: ignore[arg-type]
    with pytest.raises(AnalysisError, match=r"arm: 1 missing .*the first in row 1"):
        differences(np.arange(8.0), [gap, *arm[1:]], group, control="c", treated="t")  # type: ignore[arg-type]
