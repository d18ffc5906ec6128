"""The planned comparison: what borrowing does to a result, and what it costs when the virtual control is off."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import scipy

from cohort.comparison import ArmPrediction, Predictions, planned
from cohort.comparison.characteristics import designs, first_alone
from cohort.comparison.discrepancy import ComparisonError
from cohort.decision.exact import rate
from cohort.study import Study, read_study

DRAWS = 100


def prediction(centre: float, spread: float, seed: int) -> ArmPrediction:
    theta = np.random.default_rng(seed).standard_normal(DRAWS)
    theta = centre + spread * (theta - theta.mean()) / theta.std(ddof=1)
    return ArmPrediction(theta, np.full(DRAWS, 15.0), np.full(DRAWS, 45.0), np.zeros(DRAWS))


@pytest.fixture(scope="module")
def study(root) -> Study:
    study = read_study(root / "config/studies/mendel.yaml")
    assert study.comparison
    return study.model_copy(update={"comparison": study.comparison.model_copy(update={"discrepancy_from": []})})


@pytest.fixture(scope="module")
def predictions(study) -> Predictions:
    means = {
        name: prediction(-60.0 if arm.active else 0.0, 2.0 if arm.active else 0.4, i)
        for i, (name, arm) in enumerate(study.arms.items())
    }
    return Predictions({"ldl_change": means}, {}, {})


@pytest.fixture(scope="module")
def setting(study, predictions):
    found = planned.prepare(study, predictions, {})
    assert found is not None
    return found


@pytest.fixture(scope="module")
def before(study, predictions, setting):
    return planned.before(study, setting, predictions)


def outcomes(treatment: float | None = -47.0, control: float = -3.7, n: int = 45) -> pl.DataFrame:
    rows = [("evolocumab_140_q2w", treatment), ("placebo_q2w", control)]
    base = {"outcome": "ldl_change", "n": n, "se": 2.6, "events": None}
    found = [base | {"arms": [arm], "estimate": y} for arm, y in rows if y is not None]
    return pl.DataFrame(found, schema_overrides={"events": pl.Int64})


def method(found: dict, name: str) -> dict:
    return next(row for row in found["methods"] if row["method"] == name)


def test_the_virtual_control_is_never_worth_more_than_the_cap(study, predictions, setting):
    rows = {row["discrepancy"]: row for row in planned.before(study, setting, predictions)["priors"]}
    # 0.4 points of a patient's 15: 1400 patients' worth, of whom the calibration had 157 on placebo.
    assert rows["none"]["elir_before"] == pytest.approx((15 / 0.4) ** 2)
    assert rows["none"]["elir"] == pytest.approx(157)
    assert all(row["elir"] <= 157 + 1e-6 for row in rows.values())
    assert rows["assumed"]["stretch"] == 1


def test_double_programmed_without_borrowing_the_result_is_the_trial_alone(study, setting):
    found = planned.after(study, setting, outcomes(), None)
    alone = method(found, "no borrowing")
    assert (alone["mean"], alone["sd"]) == pytest.approx((-3.7, 2.6), rel=1e-3)
    assert alone["difference"] == pytest.approx(-43.3, abs=1e-2)
    se = np.hypot(2.6, 2.6)
    assert alone["criteria"][1]["p"] == pytest.approx(scipy.stats.norm.cdf((-30 + 43.3) / se), abs=1e-4)
    assert alone["patients"] == 0


def test_three_results_stand_beside_each_other_and_robust_lies_between(study, setting):
    found = planned.after(study, setting, outcomes(), None)
    alone, robust, full = (method(found, m) for m in ("no borrowing", "robust, discrepancy assumed", "full borrowing"))
    assert alone["mean"] < robust["mean"] < full["mean"]
    assert alone["sd"] > robust["sd"] > full["sd"]
    assert robust["planned"]
    assert 0 < robust["patients"] < full["patients"]
    assert method(found, "SAM")["uses_data_twice"]


def test_the_weight_on_the_virtual_part_falls_with_conflict_symmetrically(study, setting):
    found = planned.after(study, setting, outcomes(), None)["conflict"]
    weights = np.array(found["weight"]["assumed"])
    assert weights == pytest.approx(weights[::-1], abs=2e-3)
    assert weights.argmax() == len(weights) // 2
    assert weights[len(weights) // 2] > found["before"] > weights[0]


def test_a_control_that_turns_the_decision_is_where_the_probability_crosses_its_cut(study, setting):
    found = planned.after(study, setting, outcomes(treatment=-40.0), None)["tipping"]
    (turn,) = found["turns"]["no borrowing"]
    # P(T - C < -30) > .5 turns where the difference of the means is -30.
    assert turn == pytest.approx(-10.0, abs=0.05)


def test_no_borrowing_has_the_same_characteristics_whatever_the_drift(before):
    rows = [r for r in before["drift"] if r["design"] == "no borrowing" and r["effect"] == 0]
    assert np.ptp([r["first"] for r in rows]) < 1e-5
    assert rows[0]["first"] == pytest.approx(0.025, abs=1e-5)
    assert np.ptp([r["mse"] for r in rows]) < 1e-2
    assert all(r["rate_mcse"] == 0 for r in before["drift"])


def test_borrowing_from_a_control_that_is_off_inflates_type_one_error_and_a_stricter_cut_holds_it(before):
    rows = {(r["design"], r["scope"]): r for r in before["calibrated"]}
    assert rows["robust", "as designed"]["type_one"] > 0.03
    assert rows["robust", "as designed"]["missed"]
    held = rows["robust", "agreed drift"]
    assert held["type_one"] == pytest.approx(0.025, abs=1e-4)
    assert held["cut"] > 0.975
    assert rows["full borrowing", "as designed"]["type_one"] > 0.9


def test_double_programmed_type_one_error_of_full_borrowing(study, predictions, setting):
    from cohort.comparison.characteristics import Trial

    means = predictions.means["ldl_change"]
    trial = Trial(setting, means["evolocumab_140_q2w"], means["placebo_q2w"], 45, 45, 20.0)
    full = first_alone(designs(trial)[2])
    prior_sd, se, centre = 0.4, 15 / 45**0.5, setting.virtual["none"].mixture.mean
    shrink = prior_sd**2 / (prior_sd**2 + se**2)
    posterior_sd = np.hypot(se, (prior_sd**-2 + se**-2) ** -0.5)
    for drift in (-10.0, 0.0, 5.0):
        # T - C with C shrunk towards the prior: its bias and its sampling spread against the posterior's cut.
        bias = drift - shrink * drift
        spread = np.hypot(se, shrink * se)
        expected = scipy.stats.norm.cdf((-1.959964 * posterior_sd - bias) / spread)
        at = np.array([centre + drift])
        assert rate(full, at, at)[0] == pytest.approx(expected, abs=2e-4)


def test_assurance_is_at_most_the_power_of_a_sure_effect(before):
    for row in before["assurance"]:
        assert 0 <= row["assurance"] <= 1
        assert row["mcse"] <= 0.5 / 4000**0.5
    none = next(r for r in before["assurance"] if r["design"] == "no borrowing")
    assert none["type_one"] == pytest.approx(0.025, abs=1e-4)


def test_an_arm_without_a_published_mean_gives_no_conclusion_and_no_number(study, setting):
    found = planned.after(study, setting, outcomes(treatment=None), None)
    assert found["says"].startswith("no conclusion: evolocumab_140_q2w and placebo_q2w")
    assert "methods" not in found
    assert planned.after(study, setting, None, None)["says"].startswith("no conclusion")


def test_harm_that_nobody_predicted_gives_no_conclusion(study, setting):
    found = planned.after(study, setting, outcomes(), None)["benefit_risk"]
    assert found["says"] == "no conclusion"
    assert "neither counted in this trial nor predicted" in found["why"]


RISKS = {"treatment_related_ae.placebo": np.full((4, 500), 0.10), "treatment_related_ae.drug": np.full((4, 500), 0.60)}


def judged(study, setting, risks, counts):
    from cohort.comparison.primary import benefit_and_risk, methods_table

    seen = planned._seen(setting, outcomes())
    assert seen is not None
    found = benefit_and_risk(study.comparison.harm, methods_table(setting, seen), risks, counts)
    assert found is not None
    return found


def test_a_margin_in_percent_is_one_of_percent(study, setting):
    found = judged(study, setting, RISKS, {})
    assert found["criteria"][0]["p"] == 0.0  # 50 points more than 10
    assert found["says"] == "no go"
    assert "no counts of this trial" in found["why"]


def test_double_programmed_harm_by_the_trials_own_counts_whatever_was_predicted(study, setting):
    from cohort.comparison.primary import Counts

    safe = {name: np.full((4, 500), 0.05) for name in RISKS}
    found = judged(study, setting, safe, {"treatment_related_ae": Counts(placebo=(5, 90), drug=(200, 271))})
    assert found["says"] == "no go"
    found = judged(study, setting, safe, {"treatment_related_ae": Counts(placebo=(5, 90), drug=(20, 271))})
    rng = np.random.default_rng(1)
    difference = rng.beta(21, 252, 400_000) - rng.beta(6, 86, 400_000)
    assert found["criteria"][0]["p"] == pytest.approx((difference < 0.10).mean(), abs=2e-3)
    assert "own counts" in found["why"]


def test_type_one_error_of_a_margin_is_at_the_margin(study, predictions):
    from cohort.decision.criteria import decision

    plan = study.comparison.model_copy(update={"decision": decision("P(evolocumab_140_q2w - placebo_q2w < 5) > 0.975")})
    inferior = study.model_copy(update={"comparison": plan})
    setting = planned.prepare(inferior, predictions, {})
    assert setting is not None
    rows = planned.before(inferior, setting, predictions)["calibrated"]
    assert next(r for r in rows if r["design"] == "no borrowing")["type_one"] == pytest.approx(0.025, abs=1e-4)


def test_a_criterion_may_name_its_arms_in_either_order(study, predictions):
    from cohort.decision.criteria import decision

    found = []
    for text in ("P(evolocumab_140_q2w - placebo_q2w < -30) > 0.5", "P(placebo_q2w - evolocumab_140_q2w > 30) > 0.5"):
        plan = study.comparison.model_copy(update={"decision": decision(text)})
        other = study.model_copy(update={"comparison": plan})
        setting = planned.prepare(other, predictions, {})
        assert setting is not None
        rows = planned.before(other, setting, predictions)["drift"]
        found.append([(r["effect"], r["drift"], r["rate"]) for r in rows])
    assert np.array(found[0]) == pytest.approx(np.array(found[1]))


def test_the_arms_have_their_own_standard_deviations_and_only_the_analysed_count(study, predictions):
    from cohort.comparison.characteristics import Trial

    noisy = dataclasses.replace(predictions.means["ldl_change"]["evolocumab_140_q2w"], sd=np.full(DRAWS, 30.0))
    control = dataclasses.replace(predictions.means["ldl_change"]["placebo_q2w"], n=np.full(DRAWS, 40.0))
    setting = planned.prepare(study, predictions, {})
    assert setting is not None
    first = first_alone(designs(Trial(setting, noisy, control, 45, 45, 20.0))[0])
    se = np.hypot(30 / 45**0.5, 15 / 40**0.5)
    power = rate(first, np.array([-10.0]), np.array([0.0]))[0]
    assert power == pytest.approx(scipy.stats.norm.cdf(10 / se - 1.959964), abs=1e-3)


def test_a_control_that_no_parameter_moves_is_held_by_the_cap(study, predictions):
    still = dataclasses.replace(predictions.means["ldl_change"]["placebo_q2w"], theta=np.zeros(DRAWS))
    means = predictions.means["ldl_change"] | {"placebo_q2w": still}
    setting = planned.prepare(study, Predictions({"ldl_change": means}, {}, {}), {})
    assert setting is not None
    assert setting.capped["none"].ess == pytest.approx(157)


def test_a_study_that_taught_nothing_is_refused(root, predictions):
    study = read_study(root / "config/studies/mendel.yaml")
    with pytest.raises(
        ComparisonError, match=r"yukawa: no control arm with an outcome of ldl_change; run: cohort comp"
    ):
        planned.prepare(study, predictions, {"yukawa": {}})
