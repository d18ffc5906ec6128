"""Drift: no borrowing knows nothing of it, borrowing gains near none and pays elsewhere, harm is counted."""

import numpy as np
import polars as pl
import pytest
from decision_designs import BINARY, CROHN_ROBUST, UNIFORM, VAGUE, crohn

from cohort.decision import DecisionError, drift, exact, simulate
from cohort.decision.criteria import decision
from cohort.decision.design import Arm, Design
from cohort.decision.sweet_spot import ranges, sweet_spot
from cohort.mixture import NormalMixture

EFFECT = decision("P(treatment - control < 0) > 0.95")


def moved(by: float) -> list[Design]:
    """The evidence moves by minus the drift, the truth stays."""
    m = CROHN_ROBUST
    prior = NormalMixture(m.weight, m.component_mean - by, m.component_sd)
    return [crohn("none", VAGUE, wanted=EFFECT), crohn("robust", prior, wanted=EFFECT)]


def test_without_borrowing_every_measure_is_identical_across_drift():
    found = drift.table(moved, centre=-50.0, drifts=np.linspace(-40, 40, 5), effects=(0.0, -60.0))
    for (effect,), rows in found.filter(design="none").group_by("effect"):
        for name in (*exact.MEASURES,):
            assert rows[name].n_unique() == 1, (effect, name)
    assert found.filter(design="robust", effect=0.0)["rate"].n_unique() == 5


def test_simulated_measures_without_borrowing_are_identical_across_drift():
    measure = simulate.measure(seed=3, trials=2000)
    found = drift.table(moved, centre=-50.0, drifts=(-40.0, 0.0, 40.0), measure=measure)
    assert found.filter(design="none")["rate"].n_unique() == 1
    assert found.filter(design="none")["mse"].n_unique() == 1
    assert found["method"].unique().to_list() == ["simulated"]


def test_moving_the_evidence_or_the_truth_is_the_same_to_a_normal_mean():
    at = np.array([-30.0, 0.0, 30.0])
    fixed = drift.table(moved(0.0), centre=-50.0, drifts=at, level=None)
    turned = drift.table(moved, centre=-50.0, drifts=at, level=None)
    key = ["design", "drift"]
    assert fixed.sort(key)["rate"].to_numpy() == pytest.approx(turned.sort(key)["rate"].to_numpy(), rel=1e-3)


def test_the_table_holds_the_published_rates_and_says_which_are_type_1():
    found = drift.table([BINARY["MAP 24:6"]], centre=0.25, drifts=(0.0, 0.25), effects=(0.0, 0.3), level=None)
    type_1 = found.filter(kind="type I").sort("drift")
    assert type_1["rate"].to_list() == pytest.approx([0.01974008, 0.3878207], rel=1e-6)
    assert set(found.filter(effect=0.3)["kind"]) == {"power"}
    assert found.select(pl.col("^.*_mcse$")).to_numpy().max() == 0


def test_the_worst_drift_is_a_maximum():
    within = (-0.2, 0.7)
    at, most = drift.worst([BINARY["robust 24:6"]], centre=0.25, within=within)
    grid = np.linspace(*within, 500)
    assert most >= exact.rate(BINARY["robust 24:6"], 0.25 + grid, 0.25 + grid).max() - 1e-9
    found = drift.table([BINARY["robust 24:6"]], centre=0.25, drifts=(0.0,), worst_within=within, level=None)
    assert found.filter("worst")["rate"].to_list() == pytest.approx([most])
    assert found.filter("worst")["drift"].to_list() == pytest.approx([at])


def harm(correlation: float = 0.0) -> drift.Safety:
    design = Design("events", decision("P(treatment - control > 0.1) < 0.5"), Arm(40, UNIFORM), Arm(20, UNIFORM))
    return drift.Safety(design, treatment=0.35, control=0.1, correlation=correlation)


def test_going_with_harm_is_the_product_where_endpoints_are_independent():
    designs = [crohn("robust", CROHN_ROBUST, wanted=EFFECT)]
    table = drift.table(designs, centre=-50.0, drifts=(0.0,), effects=(-60.0,), level=None, safety=harm())
    product = table["rate"][0] * harm().passed()
    assert table["go_with_harm"][0] == pytest.approx(product)
    drawn = simulate.simulate(
        designs, -110.0, -50.0, seed=1, trials=20_000, variance="known", level=None, safety=harm()
    ).characteristics[0]
    assert drawn.value["go_with_harm"][0] == pytest.approx(product, abs=4 * drawn.mcse["go_with_harm"][0])


def test_correlated_harm_is_no_product():
    designs = [crohn("robust", CROHN_ROBUST, wanted=EFFECT)]
    for safety, simulated in ((harm(0.5), None), (harm(), simulate.measure(seed=1, trials=100))):
        with pytest.raises(DecisionError, match=r"simulate\.measure"):
            drift.table(designs, centre=-50.0, drifts=(0.0,), safety=safety, measure=simulated)
    measure = simulate.measure(seed=1, trials=1000, safety=harm(0.5))
    found = drift.table(designs, centre=-50.0, drifts=(0.0,), effects=(-60.0,), measure=measure)
    assert 0 < found["go_with_harm"][0] < found["rate"][0]
    assert found["go_with_harm_mcse"][0] > 0


def test_harm_that_goes_with_a_low_outcome_makes_going_less_or_more_likely():
    designs = [crohn("flat", VAGUE, wanted=EFFECT)]
    rates = [
        simulate.simulate(designs, -90.0, -50.0, seed=1, trials=20_000, level=None, safety=harm(rho))
        .characteristics[0]
        .value["go_with_harm"][0]
        for rho in (-0.9, 0.0, 0.9)
    ]
    assert rates[0] < rates[1] < rates[2]  # a low outcome is wanted: with rho < 0 those have the events


def test_the_sweet_spot_is_around_no_drift():
    none, robust = moved(0.0)
    found = sweet_spot(robust, none, centre=-50.0, within=(-100, 100), effect=-60.0, alpha=0.075)
    (low, high), *_ = found.mse
    assert low < 0 < high
    (low, high), *_ = found.both
    inside, outside = -50 + (low + high) / 2, -50 + high + 5
    gain = [exact.rate(d, np.array([inside - 60, outside - 60]), np.array([inside, outside])) for d in (robust, none)]
    assert gain[0][0] > gain[1][0]
    assert gain[0][1] < gain[1][1] or exact.rate(robust, np.array([outside]), np.array([outside]))[0] > 0.075


def test_the_null_is_the_margin_of_the_criterion():
    margin = decision("P(treatment - control < -20) > 0.95")
    none, robust = crohn("none", VAGUE, wanted=margin), crohn("robust", CROHN_ROBUST, wanted=margin)
    found = drift.table([none, robust], centre=-50.0, drifts=(0.0, 20.0), worst_within=(-20, 20), level=None)
    assert set(found["effect"]) == {-20.0}
    assert set(found["kind"]) == {"type I"}
    assert found.filter(design="none", drift=0.0)["rate"][0] == pytest.approx(0.05, abs=1e-3)
    both = drift.table([robust, crohn("zero", VAGUE, wanted=EFFECT)], centre=-50.0, drifts=(0.0,), level=None)
    assert set(both.filter(kind="type I").select("design", "effect").rows()) == {("robust", -20.0), ("zero", 0.0)}
    assert drift.worst([robust], centre=-50.0, within=(-20, 20)) == drift.worst(
        [robust], centre=-50.0, within=(-20, 20), null=-20.0
    )
    spot = sweet_spot(robust, none, centre=-50.0, within=(-20, 20), effect=-80.0, alpha=0.1)
    at = np.array([-50.0])
    assert spot.type_1[100] == pytest.approx(exact.rate(robust, at - 20, at)[0])
    with pytest.raises(DecisionError, match="the null"):
        sweet_spot(robust, none, centre=-50.0, within=(-20, 20), effect=-20.0, alpha=0.1)


def test_ranges_of_a_parabola():
    x = np.linspace(-3, 3, 601)
    assert ranges(x, 1 - x**2) == (pytest.approx((-1, 1), abs=1e-3),)
    assert ranges(x, x**2 - 1) == (pytest.approx((-3, -1), abs=1e-3), pytest.approx((1, 3), abs=1e-3))
    assert ranges(x, -np.ones(601)) == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drifts": (0.9,)}, "true"),
        ({"drifts": (np.nan,)}, "finite"),
        ({"drifts": ()}, "finite"),
        ({"drifts": (0.0,), "level": 1.5}, "level"),
        ({"drifts": (0.0,), "worst_within": (0.3, 0.1)}, "lower end first"),
    ],
)
def test_grids_that_make_no_sense_are_refused(options: dict, said: str):
    with pytest.raises(DecisionError, match=said):
        drift.table([BINARY["MAP 24:6"]], centre=0.25, **options)
    with pytest.raises(DecisionError):
        drift.Safety(BINARY["MAP 24:6"], treatment=1.2, control=0.1)
    with pytest.raises(DecisionError, match="this name"):
        drift.table([BINARY["MAP 24:6"]] * 2, centre=0.25, drifts=(0.0,))
