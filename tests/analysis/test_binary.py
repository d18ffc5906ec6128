"""A binary endpoint: conjugate arms against published numbers, logistic regression against quadrature."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from cohort.analysis import AnalysisError
from cohort.analysis.binary import Binary, Priors, case, fit, marginal, probability, two_arms
from cohort.analysis.subjects import Subjects, encoded, standardised
from cohort.inference.sampling import Sampling
from cohort.mixture import BetaMixture

QUICK = Sampling(warmup=500, draws=1500)
M_AS = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])


def trial(n=60, seed=3):
    rng = np.random.default_rng(seed)
    arm = np.where(np.arange(n) % 2, "drug", "placebo")
    age, sex = rng.normal(50, 10, n), np.where(np.arange(n) % 3, "male", "female")
    y = rng.uniform(size=n) < expit(-0.5 + 1.0 * (arm == "drug") + 0.15 * (age - 50))
    return Binary(y.astype(float), Subjects(arm, ("placebo", "drug"), {"age": age, "sex": sex}))


@pytest.fixture(scope="module")
def adjusted():
    data = trial()
    return data, fit(data, seed=1, sampling=QUICK)


@pytest.fixture(scope="module")
def separated():
    """Nobody of ten on placebo responds, everybody of ten on drug."""
    arm = np.repeat(["placebo", "drug"], 10)
    data = Binary((arm == "drug").astype(int), Subjects(arm, ("placebo", "drug")))
    return data, fit(data, seed=2, sampling=QUICK)


@pytest.mark.parametrize(
    ("prior", "p"), [(M_AS.robust(0.2, BetaMixture([1.0], [1], [1])), 0.9913232544), (M_AS, 0.9953022173)]
)
def test_independent_spondylitis_trial_has_the_probability_of_rbest(prior, p):
    arms = two_arms((1, 14), (6, 24), prior, BetaMixture([1.0], [0.5], [1]))
    assert probability(*arms, 0.0) == pytest.approx(p, abs=2e-8)


def test_double_programmed_ratio_and_odds_ratio_of_two_arms():
    from scipy.integrate import quad
    from scipy.stats import beta

    one = BetaMixture([1.0], [1.0], [1.0])
    arms = two_arms((6, 12), (20, 22), one, one)

    def over(bound: Callable[[float], float]) -> float:
        return quad(lambda p: beta.pdf(p, 7, 15) * beta.sf(bound(p), 13, 11), 0, 1, points=[2 / 3], epsabs=1e-12)[0]

    by_ratio, by_odds = over(lambda p: min(1.5 * p, 1)), over(lambda p: 2 * p / (1 + p))
    assert probability(*arms, 1.5, "ratio") == pytest.approx(by_ratio, abs=1e-8)
    assert probability(*arms, 2.0, "odds ratio") == pytest.approx(by_odds, abs=1e-8)


def test_double_programmed_complete_separation_has_the_posterior_of_quadrature(separated):
    from arviz_stats import mcse

    data, tree = separated
    a, b = np.meshgrid(np.linspace(-14, 8, 1200), np.linspace(-8, 18, 1200), indexing="ij")
    log = -((a / 2.5) ** 2 + (b / 2.5) ** 2) / 2 - 10 * np.log1p(np.exp(a)) - 10 * np.log1p(np.exp(-a - b))
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    found = tree.children["posterior"].dataset
    for name, exact in (("intercept", np.sum(weight * a)), ("effect", np.sum(weight * b))):
        draws = found[name].values.reshape(4, -1)
        assert abs(draws.mean() - exact) < 4 * float(mcse(draws))
    difference = marginal(tree, data, "drug")["difference"].values
    exact = np.sum(weight * (expit(a + b) - expit(a)))
    assert abs(difference.mean() - exact) < 4 * float(mcse(difference))
    assert 4 < float(found["effect"].mean()) < 6  # finite


def test_double_programmed_g_computation_is_everyone_treated_less_no_one(adjusted):
    data, tree = adjusted
    post = tree.children["posterior"].dataset.isel(chain=2, draw=17)
    age, male = data.subjects.covariates["age"], (data.subjects.covariates["sex"] == "male").astype(float)
    beta = post["coefficient"].values
    risks = []
    for shift in (0.0, float(post["effect"][0])):
        eta = float(post["intercept"]) + shift + beta[0] * (age - age.mean()) / age.std() + beta[1] * (male - 2 / 3)
        risks.append(np.mean(1 / (1 + np.exp(-eta))))
    found = marginal(tree, data, "drug").isel(chain=2, draw=17)
    assert float(found["control"]) == pytest.approx(risks[0], rel=1e-12)
    assert float(found["difference"]) == pytest.approx(risks[1] - risks[0], rel=1e-10)
    assert float(found["ratio"]) == pytest.approx(risks[1] / risks[0], rel=1e-12)
    assert float(found["odds_ratio"]) == pytest.approx(np.divide(*[r / (1 - r) for r in risks[::-1]]), rel=1e-11)


def test_marginal_odds_ratio_is_nearer_one_than_the_conditional(adjusted):
    data, tree = adjusted
    conditional = np.exp(tree.children["posterior"].dataset["effect"].values[..., 0])
    inside = np.log(marginal(tree, data, "drug")["odds_ratio"].values) / np.log(conditional)
    assert (inside < 1).all()
    assert (inside > 0).all()


def test_bayesian_bootstrap_keeps_the_mean_and_widens_each_risk(adjusted):
    data, tree = adjusted
    fixed, free = marginal(tree, data, "drug"), marginal(tree, data, "drug", bootstrap_seed=5)
    for name in ("control", "treated"):
        assert float(free[name].mean()) == pytest.approx(float(fixed[name].mean()), abs=0.01)
        assert float(free[name].std()) > float(fixed[name].std())
    again = marginal(tree, data, "drug", bootstrap_seed=5)
    assert np.array_equal(again["control"], free["control"])


def test_marginal_risks_are_of_the_population_asked_for(adjusted):
    data, tree = adjusted
    old = {"age": np.full(3, 75.0), "sex": np.array(["male", "female", "male"])}
    assert float(marginal(tree, data, "drug", population=old)["control"].mean()) > 0.8  # risk rises with age here
    with pytest.raises(AnalysisError, match=r"covariate 'sex': other not seen in the fit; write one of \['female'"):
        marginal(tree, data, "drug", population={"age": [50.0], "sex": ["other"]})
    with pytest.raises(AnalysisError, match="covariate 'age': missing; give it for every subject"):
        marginal(tree, data, "drug", population={"sex": ["male"]})
    with pytest.raises(AnalysisError, match="'dose' is no treated arm"):
        standardised(tree, data.subjects, "dose", expit)


def test_shifting_and_rescaling_a_covariate_changes_no_bit_of_the_design():
    n = 64  # a power of two and whole numbers: the mean is exact
    age = np.random.default_rng(1).integers(20, 80, n)
    arm = np.where(np.arange(n) % 2, "drug", "placebo")
    designs = [Subjects(arm, ("placebo", "drug"), {"age": a}).design()["x"] for a in (age, age + 4096, age * 2.0 - 512)]
    assert np.array_equal(designs[0], designs[1])
    assert np.array_equal(designs[0], designs[2])
    assert abs(designs[0].mean()) < 1e-12


def test_people_are_predicted_with_the_trial_s_centre_and_scale():
    encoding = encoded({"age": np.array([40.0, 50, 60]), "site": np.array(["b", "a", "c"])}, 3)
    assert encoding.names == ("age", "site: b", "site: c")
    one = encoding.matrix({"age": [70.0], "site": ["a"]})
    assert one[0] == pytest.approx([20 / np.std([40, 50, 60]), -1 / 3, -1 / 3])


@pytest.mark.parametrize(
    ("arm", "arms", "covariates", "said"),
    [
        (["a", "a"], ("a", "b"), {}, "'b' has no subjects"),
        (["a", "b", "c"], ("a", "b"), {}, "'c' is not among"),
        (["a", "b"], ("a",), {}, "two or more different names"),
        (["a", "b"], ("a", "b"), {"age": [1.0, math.nan]}, "covariate 'age': 1 missing or not finite"),
        (["a", "b"], ("a", "b"), {"age": [1.0, 1.0]}, "every subject has 1.0; leave it out"),
        (["a", "b"], ("a", "b"), {"age": [1.0]}, "one number for each of 2"),
        (["a", "b"], ("a", "b"), {"sex": ["m", "m"]}, "every subject has m; leave it out"),
        (["a", "b"], ("a", "b"), {"sex": np.array(["m", None])}, "1 missing, the first in row 2"),
    ],
)
def test_subjects_that_no_regression_can_be_made_of_are_refused(arm, arms, covariates, said):
    with pytest.raises(AnalysisError, match=said):
        Subjects(np.array(arm), arms, covariates)


def test_every_reason_is_told_at_once():
    with pytest.raises(AnalysisError) as refused:
        Subjects(np.array(["a", "x"]), ("a", "b"), {"age": np.array([1.0, 1.0]), "sex": np.array(["m", ""])})
    assert len(str(refused.value).splitlines()) == 4


@pytest.mark.parametrize(
    ("y", "said"), [([0, 2], "2 is no outcome"), ([0, math.inf], "not finite"), ([1], "each of 2")]
)
def test_outcomes_other_than_0_and_1_are_refused(y, said):
    with pytest.raises(AnalysisError, match=said):
        Binary(np.array(y), Subjects(np.array(["a", "b"]), ("a", "b")))


def test_improper_priors_are_refused():
    with pytest.raises(AnalysisError, match=r"priors\.effect_sd: inf is no scale of a proper prior"):
        Priors(effect_sd=math.inf)
    with pytest.raises(AnalysisError, match=r"intercept_sd: 0.*\n.*coefficient_sd: -1.*\n.*intercept: nan"):
        Priors(intercept=math.nan, intercept_sd=0, coefficient_sd=-1)


@pytest.mark.parametrize(
    ("events", "n", "said"),
    [((7, 1), (6, 6), "7 events of 6"), ((0, 0), (0, 6), "no subjects"), ((-1, 0), (6, 6), "-1 events")],
)
def test_impossible_counts_are_refused(events, n, said):
    with pytest.raises(AnalysisError, match=said):
        two_arms(events, n, M_AS, M_AS)


def test_bounds_outside_the_scale_are_refused():
    with pytest.raises(AnalysisError, match="-1 is no ratio; write a positive number"):
        probability(M_AS, M_AS, -1, "ratio")
    with pytest.raises(AnalysisError, match="scale: 'hazard'"):
        probability(M_AS, M_AS, 0, "hazard")  # pyright: ignore[reportArgumentType]


def test_the_case_draws_its_data_and_has_its_parameters():
    from numpyro.handlers import seed, trace

    made = case()
    sites = trace(seed(made.model, 0)).get_trace(made.design, None)
    assert set(made.observed) | set(made.parameters) <= set(sites)
    assert set(np.unique(sites["y"]["value"])) <= {0, 1}


def test_log_prior_is_kept_for_sensitivity(adjusted):
    _, tree = adjusted
    assert set(tree.children["log_prior"].dataset) == {"intercept", "effect", "coefficient"}


@pytest.mark.slow
def test_independent_pymc_agrees_within_monte_carlo_error(adjusted):
    from arviz_stats import mcse

    data, tree = adjusted
    twin = fit(data, seed=1, sampling=QUICK, engine="pymc")
    for name in ("control", "treated", "difference"):
        a, b = (marginal(t, data, "drug")[name].values for t in (tree, twin))
        assert abs(a.mean() - b.mean()) < 4 * math.hypot(float(mcse(a)), float(mcse(b)))
        assert a.std() == pytest.approx(b.std(), rel=0.15)
