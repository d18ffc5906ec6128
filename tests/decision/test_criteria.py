"""Criteria are read as they are written, and no conclusion is drawn that the draws do not carry."""

import numpy as np
import pytest

from cohort.decision import DecisionError
from cohort.decision.criteria import MORE_DRAWS, Decision, decision, evaluate, evaluate_exactly, judge
from cohort.mixture import BetaMixture

TEXT = "P(treatment - control > 0) > 0.975 and P(treatment - control > 3 percent) > 0.5"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "P(high - placebo < -30 percent) > 0.95",
        "P(treatment / control < 1.2) > 0.8",
        "P(response > 0.2) > 0.9",
        "P(a.b_1 - c > -1.5e-3 mg/dL) < 0.1",
    ],
)
def test_a_decision_reads_back_as_it_was_written(text: str):
    read = decision(text)
    assert decision(str(read)) == read


def test_the_parts_of_a_criterion():
    first, second = decision(TEXT).criteria
    assert (first.names, first.operation, first.above, first.threshold, first.cut) == (
        ("treatment", "control"),
        "-",
        True,
        0.0,
        0.975,
    )
    assert (second.threshold, second.unit, second.cut) == (3.0, "percent", 0.5)


def test_thresholds_are_converted_to_the_units_of_the_quantities():
    assert decision(TEXT).in_units("1").criteria[1].threshold == pytest.approx(0.03)
    assert decision("P(a < 2 h) > 0.5").in_units({"a": "min"}).criteria[0].threshold == pytest.approx(120)
    with pytest.raises(DecisionError, match="cannot be written in mg"):
        decision("P(a < 2 h) > 0.5").in_units({"a": "mg"})


def test_everything_wrong_is_told_at_once():
    with pytest.raises(DecisionError) as told:
        decision("P(treatmnt - control > 0) > 0.975 and P(x) and P(control/other > -1) > 2", ["treatment", "control"])
    for part in ("did you mean 'treatment'", "'P(x)': not a criterion", "positive threshold", "not between 0 and 1"):
        assert part in str(told.value)


@pytest.mark.parametrize(
    "text",
    ["", "P(a > 0)", "a > 0", "P(a - b - c > 0) > 0.5", "P(a > 0) > 0.5 or P(b > 0) > 0.5", "P(a-a > 0) > 0.5",
     "P(__import__('os') > 0) > 0.5", "P(a > nan) > 0.5", "P(a > 1e999) > 0.5", "P(a > 0) > 0.5 and"],
)  # fmt: skip
def test_text_that_is_no_decision_is_refused(text: str):
    with pytest.raises(DecisionError):
        decision(text)


def test_probabilities_are_shares_of_draws():
    x = np.linspace(0, 1, 1001)
    found = evaluate(decision("P(a - b > 0.25) > 0.5 and P(a / b < 0.5) < 0.1"), {"a": x, "b": np.ones(1001) * 0.5})
    assert [f.probability for f in found.findings] == pytest.approx([250 / 1001, 250 / 1001])


def test_double_programmed_standard_error_of_a_probability():
    draws = np.random.default_rng(1).standard_normal(4000)
    p = float(np.mean(draws > 1))
    one = evaluate(decision("P(a > 1) > 0.5"), {"a": draws}, ess={"a": 400})
    assert one.findings[0].mcse == pytest.approx(np.sqrt(p * (1 - p) / 400), rel=0.02)
    chains = np.repeat(draws.reshape(4, 1000), 10, axis=1)  # each draw ten times is no more information
    event = evaluate(decision("P(a > 1) > 0.5"), {"a": chains}).findings[0]
    assert event.mcse == pytest.approx(np.sqrt(p * (1 - p) / 4000), rel=0.25)


def test_a_probability_near_its_cut_needs_more_draws():
    draws = np.r_[np.ones(974), np.zeros(26)]
    verdict = evaluate(decision("P(a > 0.5) > 0.975"), {"a": draws})
    assert verdict.conclusion == MORE_DRAWS
    assert verdict.met is None


def test_the_gate_is_a_third_of_the_distance():
    wanted = decision("P(a > 0) > 0.9")
    assert judge(wanted, [0.93], [0.00999]).met is True
    assert judge(wanted, [0.93], [0.01001]).met is None


def test_a_criterion_clearly_missed_settles_the_decision():
    both = decision("P(a > 0) > 0.9 and P(b > 0) > 0.9")
    assert judge(both, [0.5, 0.9], [0.001, 0.01]).met is False
    assert judge(both, [0.99, 0.9], [0.001, 0.01]).met is None


def test_certainty_in_few_draws_is_no_certainty():
    assert evaluate(decision("P(a > 0) > 0.99"), {"a": np.ones(100)}).met is None
    assert evaluate(decision("P(a > 0) > 0.99"), {"a": np.ones(10_000)}).met is True


def slow_chains(rho: float, seed: int = 1) -> np.ndarray:
    """Standard normal autoregressive chains, (4, 1000); of size about 4000 (1 - rho) / (1 + rho)."""
    rng = np.random.default_rng(seed)
    x = np.empty((4, 1000))
    x[:, 0] = rng.standard_normal(4)
    for i in range(1, 1000):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(4)
    return x


def test_an_event_of_all_draws_rests_on_the_effective_size_of_the_quantity():
    wanted = decision("P(a - b > -50) > 0.9")
    for rho in (0.0, 0.8):
        x = slow_chains(rho)
        found = evaluate(wanted, {"a": x, "b": np.zeros_like(x)}).findings[0]
        assert found.probability == 1
        assert found.ess == pytest.approx(4000 * (1 - rho) / (1 + rho), rel=0.25)
        assert found.met is True
    x = np.exp(slow_chains(0.8))
    never = evaluate(decision("P(a / b < 1e-9) < 0.1"), {"a": x, "b": np.ones_like(x)}).findings[0]
    assert never.ess == pytest.approx(4000 / 9, rel=0.25)


def test_chains_that_hardly_move_settle_nothing():
    for text in ("P(a > -50) > 0.5", "P(a > 50) > 0.5", "P(a > -50) < 0.5"):
        stuck = evaluate(decision(text), {"a": slow_chains(0.999)})
        assert stuck.findings[0].ess < 100
        assert stuck.conclusion == MORE_DRAWS


def test_a_hundred_effective_draws_are_the_least():
    wanted, draws = decision("P(a > 0) > 0.5"), {"a": np.ones(4000)}
    assert evaluate(wanted, draws, ess={"a": 99}).met is None
    assert evaluate(wanted, draws, ess={"a": 100}).met is True
    assert evaluate(wanted, {"a": np.ones(99)}).met is None
    assert evaluate_exactly(wanted, {"a": BetaMixture([1], [5], [5])}).met is True


def test_benefit_and_risk_stand_side_by_side():
    joined = decision("P(effect > 0) > 0.9").with_safety(decision("P(harm > 0.1) < 0.2"))
    assert isinstance(joined, Decision)
    verdict = judge(joined, [0.95, 0.5])
    assert [row["role"] for row in verdict.rows()] == ["benefit", "risk"]
    benefit, risk = verdict.of("benefit"), verdict.of("risk")
    assert benefit is not None
    assert risk is not None
    assert (benefit.met, risk.met, verdict.met) == (True, False, False)


def test_independent_exact_probability_of_published_mixture():
    control = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
    control = control.robust(0.2, BetaMixture([1], [1], [1])).updated(1, 6)
    arms = {"treatment": BetaMixture([1], [14.5], [11]), "control": control}
    verdict = evaluate_exactly(decision("P(treatment - control > 0) > 0.95"), arms)
    assert verdict.findings[0].probability == pytest.approx(0.9913232677, rel=1e-8)
    assert verdict.conclusion == "criteria met"


@pytest.mark.parametrize(
    ("draws", "said"),
    [
        ({"a": np.ones(10)}, "no quantity is named 'b'"),
        ({"a": np.ones(10), "b": np.r_[np.ones(9), np.nan]}, "1 draws are not finite"),
        ({"a": np.ones(10), "b": np.ones(9)}, "all of one shape"),
        ({"a": np.ones(10), "b": np.zeros(10)}, "draws of 0 or less"),
        ({"a": np.ones(1), "b": np.ones(1)}, "give .draws,."),
    ],
)
def test_draws_that_carry_no_conclusion_are_refused(draws: dict, said: str):
    with pytest.raises(DecisionError, match=said):
        evaluate(decision("P(a / b > 1) > 0.5"), draws)


def test_a_threshold_with_a_unit_needs_the_unit_of_the_draws():
    with pytest.raises(DecisionError, match="unit of the draws is not given"):
        evaluate(decision("P(a > 3 percent) > 0.5"), {"a": np.ones(10)})
    assert (
        evaluate(decision("P(a > 3 percent) > 0.5"), {"a": np.full(99, 0.04)}, units="1").findings[0].probability == 1
    )


@pytest.mark.parametrize("probability", [np.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(probability: float):
    with pytest.raises(DecisionError):
        judge(decision("P(a > 0) > 0.5"), [probability])
