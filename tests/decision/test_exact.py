"""Exact operating characteristics against published tables, closed forms, and the same sums written plainly."""

import numpy as np
import pytest
from decision_designs import AS, BINARY, CROHN, CROHN_ROBUST, DUAL, FEWER, HALF, RATES, ROBUST, UNIFORM, VAGUE, crohn
from scipy import integrate, stats

from cohort.decision import DecisionError, counted, exact, intervals, normal
from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design
from cohort.mixture import BetaMixture, GammaMixture, NormalMixture, difference

THETA = np.array([0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6])
RBEST = {  # type I error of 24 against 6 or 24 with P(difference > 0) > 0.95, RBesT 1.9-0
    "uniform 24:6": [2.767026e-5, 0.003324733, 0.009915496, 0.01907607, 0.03399293, 0.04149095, 0.04498773],
    "uniform 24:24": [0.03759394, 0.05088007, 0.04927474, 0.04815767, 0.05248986, 0.05571273, 0.05248986],
    "MAP 24:6": [3.030139e-5, 0.005056404, 0.01974008, 0.05279831, 0.1900374, 0.3878207, 0.5687371],
    "robust 24:6": [3.022498e-5, 0.004851488, 0.01794624, 0.04416951, 0.1252621, 0.1899200, 0.2018508],
    "Beta(11,32)": [3.031264e-5, 0.005122321, 0.02048784, 0.05722841, 0.2344934, 0.5409593, 0.8282196],
}


@pytest.mark.parametrize("name", RBEST)
def test_independent_type_1_error_of_secukinumab_designs(name: str):
    assert exact.rate(BINARY[name], THETA, THETA) == pytest.approx(RBEST[name], rel=1e-6)


def _arms(design: Design, largest: float = 0.0):
    assert design.control is not None
    return counted.posteriors(design.treatment, largest), counted.posteriors(design.control, largest)


def test_independent_posterior_probabilities_of_published_cases():
    t, c = _arms(BINARY["robust 24:6"])
    assert counted.beyond(t, c, 0.0)[14, 1] == pytest.approx(0.9913232677, abs=1e-9)
    assert counted.beyond(t, c, 0.0)[14, 1] == pytest.approx(0.99132326815832954, abs=1e-12)  # mpmath, 30 digits
    t, c = _arms(BINARY["MAP 24:6"])
    assert counted.beyond(t, c, 0.0)[14, 1] == pytest.approx(0.9953022173, abs=2e-8)
    t, c = _arms(FEWER, 5.0)
    assert 1 - counted.beyond(t, c, 0.0)[18, 30] == pytest.approx(0.94286546, abs=1e-8)


@pytest.mark.parametrize("threshold", [-0.6, -0.1, 0.0, 0.05, 0.4])
def test_double_programmed_tables_of_beta_differences(threshold: float):
    t, c = _arms(BINARY["robust 24:6"])
    found = counted.beyond(t, c, threshold)
    for y, z in ((0, 0), (0, 6), (14, 1), (24, 0), (24, 6), (9, 3)):
        a, b = HALF.updated(y, 24), ROBUST.updated(z, 6)
        assert found[y, z] == pytest.approx(difference.probability(a, b, threshold), abs=1e-9)
    assert counted.beyond(t, c, threshold, exact=False) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("ratio", [0.4, 1.0, 1.7])
def test_double_programmed_tables_of_ratios(ratio: float):
    for design, table_at in ((BINARY["robust 24:6"], ((0, 0), (14, 1), (24, 6))), (FEWER, ((0, 0), (18, 30), (40, 9)))):
        t, c = _arms(design, 3.0)
        found = counted.beyond(t, c, ratio, ratio=True)
        for y, z in table_at:
            assert design.control is not None
            a = design.treatment.prior.updated(y, design.treatment.n)
            b = design.control.prior.updated(z, design.control.n)
            assert found[y, z] == pytest.approx(difference.probability(a, b, np.log(ratio), "log"), abs=1e-9)


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.7])
def test_double_programmed_tables_of_gamma_differences(threshold: float):
    t, c = _arms(FEWER, 3.0)
    found = counted.beyond(t, c, threshold)
    for y, z in ((0, 0), (18, 30), (60, 20), (5, 70)):
        a, b = FEWER.treatment.prior.updated(y, 12), RATES.updated(z, 12)
        assert found[y, z] == pytest.approx(difference.probability(a, b, threshold), abs=1e-9)


def test_tables_stay_exact_in_large_arms():
    design = Design("large", decision("P(treatment - control > 0) > 0.9"), Arm(1000, HALF), Arm(300, ROBUST))
    t, c = _arms(design)
    found = counted.beyond(t, c, 0.02)
    for y, z in ((0, 0), (300, 80), (1000, 300), (500, 1)):
        want = difference.probability(HALF.updated(y, 1000), ROBUST.updated(z, 300), 0.02)
        assert found[y, z] == pytest.approx(want, abs=1e-9)


def test_double_programmed_characteristics_of_a_binary_design():
    p_t, p_c = 0.7, 0.3
    design = Design("small", BINARY["robust 24:6"].decision, Arm(8, HALF), Arm(4, ROBUST))
    sums: dict[str, float] = dict.fromkeys(("rate", "bias", "mse", "coverage", "width"), 0.0)
    for y in range(9):
        for z in range(5):
            p = float(stats.binom.pmf(y, 8, p_t) * stats.binom.pmf(z, 4, p_c))
            a, b = HALF.updated(y, 8), ROBUST.updated(z, 4)
            low, high = difference.quantile(a, b, [0.025, 0.975])
            error = a.mean - b.mean - (p_t - p_c)
            for name, x in (
                ("rate", difference.probability(a, b) > 0.95),
                ("bias", error),
                ("mse", error**2),
                ("coverage", low <= p_t - p_c <= high),
                ("width", high - low),
            ):
                sums[name] += p * float(x)
    found = exact.characteristics(design, np.array([p_t]), np.array([p_c]))
    for name, want in sums.items():
        assert found.value[name][0] == pytest.approx(want, rel=1e-4 if name == "width" else 1e-8)
        assert found.mcse[name][0] == 0
    assert found.value["n_expected"][0] == 12


def test_double_programmed_quantiles_of_differences():
    t, c = _arms(BINARY["MAP 24:6"])
    found = intervals.quantiles(t, c, (0.025, 0.975))
    for y, z in ((0, 0), (12, 3), (24, 6), (24, 0), (3, 1)):
        want = difference.quantile(HALF.updated(y, 24), AS.updated(z, 6), [0.025, 0.975])
        assert found[:, y, z] == pytest.approx(want, abs=1e-3)


def test_what_a_beta_prior_lends_is_its_own_size_where_all_agree():
    design = Design("conjugate", BINARY["Beta(11,32)"].decision, Arm(24, UNIFORM), Arm(6, BetaMixture([1], [11], [32])))
    found = exact.characteristics(design, np.array([0.3]), np.array([0.3]), level=None)
    assert found.value["ess_borrowed"][0] == pytest.approx(43, rel=1e-9)
    assert "coverage" not in found.value


def test_one_arm_is_a_binomial_tail():
    design = Design("one arm", decision("P(treatment > 0.2) > 0.95"), Arm(40, UNIFORM))
    least = exact.critical_values(design)["lowest"][0]
    passed = stats.beta.sf(0.2, 1 + np.arange(41), 41 - np.arange(41)) > 0.95
    assert least == int(np.argmax(passed))
    assert exact.rate(design, np.array([0.2, 0.4])) == pytest.approx(stats.binom.sf(least - 1, 40, [0.2, 0.4]))
    found = exact.characteristics(design, np.array([0.3]))
    y = np.arange(41)
    low, high = stats.beta.ppf([[0.025], [0.975]], 1 + y, 41 - y)
    p = stats.binom.pmf(y, 40, 0.3)
    assert found.value["coverage"][0] == pytest.approx(p @ ((low <= 0.3) & (high >= 0.3)), abs=1e-12)
    assert found.value["width"][0] == pytest.approx(p @ (high - low), rel=1e-4)


def test_critical_values_rise_with_the_control():
    table = exact.critical_values(BINARY["robust 24:6"])
    assert table["lowest"].to_list() == [10, 11, 13, 17, 21, 24, None]
    means = exact.critical_values(crohn("robust", CROHN_ROBUST), np.array([-80.0, -50.0, -20.0]))
    assert means["highest"].is_sorted()


def test_a_risk_criterion_is_met_from_below():
    safe = Design("safe", decision("P(treatment - control > 0.1) < 0.2"), Arm(24, UNIFORM), Arm(24, UNIFORM))
    table = exact.critical_values(safe)
    assert set(table["lowest"].drop_nulls()) == {0}
    assert exact.rate(safe, np.array([0.1, 0.5]), np.array([0.1, 0.1]))[0] > 0.5


def test_names_may_stand_either_way_round():
    turned = Design("turned", decision("P(control - treatment < 0) > 0.95"), Arm(24, HALF), Arm(6, ROBUST))
    assert exact.rate(turned, THETA, THETA) == pytest.approx(exact.rate(BINARY["robust 24:6"], THETA, THETA))
    flat = Design("flat", decision("P(control - treatment > 0) > 0.95"), Arm(40, VAGUE), Arm(20, CROHN), sigma=88)
    same = Design("same", decision("P(treatment - control < 0) > 0.95"), Arm(40, VAGUE), Arm(20, CROHN), sigma=88)
    at = np.array([-70.0, -50.0])
    assert exact.rate(flat, at - 20, at) == pytest.approx(exact.rate(same, at - 20, at), rel=1e-12)


# --- normal ---


def test_normal_type_1_error_with_flat_priors_is_alpha():
    design = crohn("flat", VAGUE, wanted=decision("P(treatment - control < 0) > 0.975"))
    at = np.array([-90.0, -50.0, 0.0])
    assert exact.rate(design, at, at) == pytest.approx(0.025, rel=1e-3)


def test_double_programmed_dual_criterion_of_normal_means():
    """The region of success found by brute force at every control mean, then adaptive quadrature."""
    design = crohn("robust", CROHN_ROBUST)
    se_t, se_c = 88 / np.sqrt(40), 88 / np.sqrt(20)

    def go(y_t: float, y_c: float) -> bool:
        a, b = VAGUE.updated(y_t, se_t), CROHN_ROBUST.updated(y_c, se_c)
        return difference.probability(a, b, 0.0) < 0.05 and difference.probability(a, b, -50.0) < 0.5

    y_c = np.linspace(-50 - 6 * se_c, -50 + 6 * se_c, 49)
    at = []
    for y in y_c:
        low, high = -400.0, 200.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if go(middle, float(y)) else (low, middle)
        at.append((low + high) / 2)
    assert normal.region(design, y_c)[1] == pytest.approx(np.array(at), abs=1e-4)
    edge = stats.norm.cdf((np.array(at) + 110) / se_t) * stats.norm.pdf(y_c, -50, se_c)
    assert exact.rate(design, np.array([-110.0]), np.array([-50.0]))[0] == pytest.approx(
        integrate.simpson(edge, x=y_c), rel=1e-4
    )


def test_double_programmed_bias_and_error_of_a_normal_design():
    design = crohn("robust", CROHN_ROBUST)
    se_t, se_c = 88 / np.sqrt(40), 88 / np.sqrt(20)

    def power(k: int) -> float:
        def f(y: float) -> float:
            return float(stats.norm.pdf(y, -30, se_c)) * CROHN_ROBUST.updated(y, se_c).mean ** k

        return integrate.quad(f, -30 - 9 * se_c, -30 + 9 * se_c, epsabs=1e-9, limit=200)[0]

    found = exact.characteristics(design, np.array([-100.0]), np.array([-30.0]))
    shrink = 8800**2 / (8800**2 + se_t**2)
    mean_t = -50 + shrink * (-100 + 50)
    bias = mean_t - power(1) + 70
    assert found.value["bias"][0] == pytest.approx(bias, rel=1e-6)
    variance = (shrink * se_t) ** 2 + power(2) - power(1) ** 2
    assert found.value["mse"][0] == pytest.approx(variance + bias**2, rel=1e-6)


def test_flat_normal_intervals_are_those_of_the_textbook():
    found = exact.characteristics(crohn("flat", VAGUE), np.array([-90.0, -30.0]), np.array([-50.0, -50.0]))
    se = 88 * np.sqrt(1 / 40 + 1 / 20)
    assert found.value["coverage"] == pytest.approx(0.95, rel=1e-4)
    assert found.value["width"] == pytest.approx(2 * stats.norm.ppf(0.975) * se, rel=1e-3)
    assert found.value["ess_borrowed"] == pytest.approx(88**2 / 8800**2, rel=1e-6)


def test_double_programmed_intervals_with_a_mixture():
    design = crohn("robust", CROHN_ROBUST)
    rng = np.random.default_rng(1)
    y_t, y_c = rng.normal(-100, 88 / np.sqrt(40), 80), rng.normal(-50, 88 / np.sqrt(20), 80)
    wide, held = [], []
    for a, b in zip(y_t, y_c, strict=True):
        pair = VAGUE.updated(a, 88 / np.sqrt(40)), CROHN_ROBUST.updated(b, 88 / np.sqrt(20))
        low, high = difference.quantile(*pair, [0.025, 0.975])
        own = normal.quantiles(design, np.array([a]), np.array([b]), (0.025, 0.975))[:, 0, 0]
        assert own == pytest.approx([low, high], abs=1e-4)
        wide.append(high - low)
        held.append(low <= -50 <= high)
    found = exact.characteristics(design, np.array([-100.0]), np.array([-50.0]))
    assert found.value["width"][0] == pytest.approx(np.mean(wide), abs=4 * np.std(wide) / np.sqrt(80))
    assert found.value["coverage"][0] == pytest.approx(np.mean(held), abs=0.08)


@pytest.mark.parametrize(
    ("n", "rates", "critical"), [(155, (0.8008453, 0.0499503), 0.1356869), (233, (0.9203973,), None)]
)
def test_independent_non_inferiority_of_neuenschwander_2011(n: int, rates: tuple[float, ...], critical: float | None):
    prior = NormalMixture([1], [0], [100])
    design = Design("NI", decision("P(treatment < 0.4) > 0.95"), Arm(n, prior), sigma=2.0)
    assert exact.rate(design, np.array([0.0, 0.4]))[: len(rates)] == pytest.approx(rates, abs=1e-3)
    closed = 0.4 - stats.norm.ppf(0.95) * 2 / np.sqrt(n)
    assert exact.critical_values(design)["highest"][0] == pytest.approx(closed, abs=1e-4)
    if critical is not None:
        assert exact.critical_values(design)["highest"][0] == pytest.approx(critical, abs=1e-4)


# --- Poisson ---


def test_double_programmed_rate_of_a_poisson_design():
    at_t, at_c = 1.2, 2.0
    total = 0.0
    for y in range(45):
        for z in range(70):
            p = stats.poisson.pmf(y, 12 * at_t) * stats.poisson.pmf(z, 12 * at_c)
            if p > 1e-7:
                a, b = FEWER.treatment.prior.updated(y, 12), RATES.updated(z, 12)
                total += p * (difference.probability(a, b) < 0.1)
    assert exact.rate(FEWER, np.array([at_t]), np.array([at_c]))[0] == pytest.approx(total, abs=1e-4)


def test_poisson_intervals_of_one_arm():
    design = Design("rate", decision("P(treatment < 2) > 0.9"), Arm(30, GammaMixture([1], [2], [1])))
    found = exact.characteristics(design, np.array([1.5]))
    y = np.arange(150)
    low, high = stats.gamma.ppf([[0.025], [0.975]], 2 + y, scale=1 / 31)
    p = stats.poisson.pmf(y, 45)
    assert found.value["coverage"][0] == pytest.approx(p @ ((low <= 1.5) & (high >= 1.5)), abs=1e-10)
    assert found.value["width"][0] == pytest.approx(p @ (high - low), rel=1e-4)


def test_double_programmed_intervals_of_a_poisson_difference():
    t, c = _arms(FEWER, 3.0)
    found = intervals.quantiles(t, c, (0.025, 0.975))
    for y, z in ((0, 0), (18, 30), (30, 18), (2, 40)):
        want = difference.quantile(FEWER.treatment.prior.updated(y, 12), RATES.updated(z, 12), [0.025, 0.975])
        assert found[:, y, z] == pytest.approx(want, abs=5e-3)


# --- what is refused ---


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Design("d", DUAL, Arm(0, UNIFORM), Arm(6, UNIFORM)), "an arm needs subjects"),
        (lambda: Design("d", DUAL, Arm(2.5, UNIFORM), Arm(6, UNIFORM)), "whole number"),
        (lambda: Design("d", DUAL, Arm(6, UNIFORM), Arm(6, CROHN)), "two families"),
        (lambda: Design("d", DUAL, Arm(6, CROHN), Arm(6, CROHN)), "sigma is None"),
        (lambda: Design("d", DUAL, Arm(6, CROHN), Arm(6, CROHN), sigma=0.0), "sigma is 0.0"),
        (lambda: Design("d", DUAL, Arm(6, UNIFORM)), "no arm of this design"),
        (lambda: Design("d", decision("P(placebo > 0) > 0.9"), Arm(6, UNIFORM)), "no arm of this design"),
        (lambda: Design("d", DUAL, Arm(6, BetaMixture([1], [0.01], [1])), Arm(6, UNIFORM)), "0.05 or more"),
        (
            lambda: Design("d", decision("P(treatment / control > 1) > 0.9"), Arm(6, CROHN), Arm(6, CROHN), sigma=1.0),
            "a ratio of normal means",
        ),
    ],
)
def test_designs_that_make_no_sense_are_refused(made, said: str):
    with pytest.raises(DecisionError, match=said):
        made()


@pytest.mark.parametrize(("treatment", "control"), [(1.1, 0.3), (0.5, -0.1), (np.nan, 0.3), (0.5, None)])
def test_truths_that_cannot_be_are_refused(treatment: float, control: float | None):
    with pytest.raises(DecisionError):
        exact.rate(BINARY["MAP 24:6"], np.array([treatment]), None if control is None else np.array([control]))


def test_percent_is_a_hundredth_of_a_probability():
    a, b = (
        Design("d", decision(f"P(treatment - control > {x}) > 0.9"), Arm(24, UNIFORM), Arm(24, UNIFORM))
        for x in ("10 percent", "0.1")
    )
    assert np.array_equal(exact.rate(a, THETA, THETA), exact.rate(b, THETA, THETA))
