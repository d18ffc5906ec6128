"""Torsade classes: the FDA's own coefficients, tables and measures, and examples worked by hand."""

import math

import numpy as np
import polars as pl
import pytest

from cohort import external
from cohort.analysis import AnalysisError
from cohort.analysis.torsade import (
    Judged,
    ProportionalOdds,
    auc,
    block,
    counted,
    draw,
    fit,
    interval,
    jackknifed,
    judge,
    left_out,
    likelihood_ratios,
    majority,
    mean_error,
    measures,
    net_block,
    pairwise,
    scores,
)

# FDA/CiPA 4bfb160d, chantest_AP_simulation/results/uncertainty: qNettraining_errors.csv
FDA = ProportionalOdds(20.01199509307, 15.665426847338, -292.539547635619)
# qNettraining_probs.csv and qNetLOOCV_probs.csv: class, samples of 2000 in each class in sample, and left out
TABLE = {
    "quinidine": (2, (0, 776, 1224), (0, 991, 1009)),
    "bepridil": (2, (0, 2, 1998), (0, 2, 1998)),
    "dofetilide": (2, (0, 2, 1998), (0, 8, 1992)),
    "sotalol": (2, (0, 1925, 75), (0, 1998, 2)),
    "chlorpromazine": (1, (31, 1969, 0), (76, 1924, 0)),
    "cisapride": (1, (0, 2000, 0), (0, 2000, 0)),
    "terfenadine": (1, (2, 1998, 0), (2, 1998, 0)),
    "ondansetron": (1, (0, 2000, 0), (0, 2000, 0)),
    "diltiazem": (0, (2000, 0, 0), (2000, 0, 0)),
    "mexiletine": (0, (2000, 0, 0), (2000, 0, 0)),
    "ranolazine": (0, (2000, 0, 0), (2000, 0, 0)),
    "verapamil": (0, (1733, 267, 0), (1644, 356, 0)),
    "risperidone": (1, (446, 1554, 0), (758, 1242, 0)),
    "metoprolol": (0, (1862, 138, 0), (1819, 181, 0)),
    "ibutilide": (2, (0, 0, 2000), (0, 0, 2000)),
    "domperidone": (1, (0, 25, 1975), (0, 6, 1994)),
    "clarithromycin": (1, (0, 2000, 0), (3, 1997, 0)),
    "astemizole": (1, (0, 2000, 0), (0, 2000, 0)),
    "azimilide": (2, (0, 0, 2000), (0, 0, 2000)),
    "disopyramide": (2, (0, 1990, 10), (0, 1999, 1)),
    "droperidol": (1, (0, 2000, 0), (0, 2000, 0)),
    "pimozide": (1, (0, 168, 1832), (0, 89, 1911)),
    "vandetanib": (2, (0, 0, 2000), (0, 0, 2000)),
    "tamoxifen": (0, (1281, 719, 0), (303, 1697, 0)),
    "loratadine": (0, (2000, 0, 0), (2000, 0, 0)),
    "clozapine": (1, (276, 1724, 0), (449, 1551, 0)),
    "nifedipine": (0, (2000, 0, 0), (2000, 0, 0)),
    "nitrendipine": (0, (2000, 0, 0), (2000, 0, 0)),
}
TRUTH = np.array([row[0] for row in TABLE.values()])
EXACT = "cipa/cipa_exact_input_output_pairs_4drugs.csv"
REFERENCE = "cipa/cipa_ref_torsade_metric_score_4drugs.csv"


def test_the_fdas_coefficients_have_its_boundaries():
    low, high = FDA.boundaries
    assert (round(low, 4), round(high, 4)) == (0.0683, 0.0536)


def test_at_a_boundary_two_classes_are_as_probable_and_on_either_side_one_is_more():
    low, high = FDA.boundaries
    for at, k in ((low, 0), (high, 1)):
        some, most = FDA.at_least(np.array(at))
        p = np.array([1 - some, some - most, most])
        assert p[k] == pytest.approx(p[k + 1], abs=1e-12)
        assert FDA.classes(np.array([at + 1e-9, at - 1e-9])).tolist() == [k, k + 1]


def test_where_intermediate_is_never_most_probable_there_are_no_boundaries():
    assert np.isnan(ProportionalOdds(1.0, 0.5, -1.0).boundaries).all()  # k = exp(-0.5) > 1/2


def test_the_fdas_mean_error_follows_from_its_table_of_all_28_drugs():
    """qNettraining_errors.csv, so that these coefficients were fitted on all 28 drugs, not on the 12 for training."""
    assert mean_error(np.array([row[1] for row in TABLE.values()]), TRUTH) == pytest.approx(0.185375, abs=1e-12)


def test_the_fdas_leave_one_out_is_right_for_23_of_28_drugs_by_majority():
    said = majority(np.array([row[2] for row in TABLE.values()]))
    wrong = {drug: int(k) for drug, k, true in zip(TABLE, said, TRUTH, strict=True) if k != true}
    assert wrong == {"sotalol": 1, "disopyramide": 1, "domperidone": 2, "pimozide": 2, "tamoxifen": 1}
    assert (majority(np.array([row[1] for row in TABLE.values()])) == TRUTH).sum() == 24


def test_a_tie_goes_to_the_higher_risk():
    assert majority(np.array([[5, 5, 0], [0, 5, 5], [4, 3, 3]])).tolist() == [1, 2, 0]


def test_the_published_measures_of_the_eight_nanion_drugs_follow_from_their_counts():
    """LOOCV/results/uncertainty/qNetLOOCV_probs.csv against LOOCV/Result_PlotTableLOOCV/Table7.txt."""
    table = {
        "bepridil": (2, (0, 408, 1592)),
        "terfenadine": (1, (0, 8, 1992)),
        "ranolazine": (0, (1990, 10, 0)),
        "verapamil": (0, (2000, 0, 0)),
        "risperidone": (1, (731, 1269, 0)),
        "clarithromycin": (1, (14, 1986, 0)),
        "azimilide": (2, (0, 0, 2000)),
        "tamoxifen": (0, (2, 1998, 0)),
    }
    rng = np.random.default_rng(1)
    truth = np.array([true for true, _ in table.values()])
    said = np.stack([rng.permutation(np.repeat(range(3), n)) for _, n in table.values()], axis=1)
    plus, minus = likelihood_ratios(said > 0, truth > 0)
    plus_2, minus_2 = likelihood_ratios(said > 1, truth > 1)
    assert interval(plus) == pytest.approx((3.0, 2.4, 3.0))
    assert interval(minus) == pytest.approx((0.0, 0.0, 0.3))
    assert interval(plus_2) == pytest.approx((6.0, 3.0, 6.0))
    assert interval(minus_2) == pytest.approx((0.0, 0.0, 0.6))
    assert round(mean_error(np.array([n for _, n in table.values()]), truth), 3) == 0.322


def test_the_area_under_a_curve_of_six_drugs_counts_pairs():
    """Risks 4, 3, 1 of the positive, 2, 1, 0 of the negative: 8 of 9 pairs, of which the tie counts half: 7.5."""
    risk = np.array([[4.0, 3.0, 1.0, 2.0, 1.0, 0.0]])
    positive = np.array([True, True, True, False, False, False])
    assert auc(risk, positive)[0] == pytest.approx(7.5 / 9)


def test_likelihood_ratios_by_hand():
    """Of 4 positive 3 are called, of 5 negative 1: sensitivity 3/4, specificity 4/5."""
    truth = np.array([True] * 4 + [False] * 5)
    said = np.array([[True, True, True, False, True, False, False, False, False]])
    plus, minus = likelihood_ratios(said, truth)
    assert (plus[0], minus[0]) == pytest.approx((3.75, 0.3125))


def test_a_threshold_that_calls_all_or_none_tells_nothing_and_a_perfect_one_everything():
    truth = np.array([True, False])
    plus, minus = likelihood_ratios(np.array([[True, True], [False, False], [True, False]]), truth)
    assert plus.tolist() == [1.0, 1.0, np.inf]
    assert minus.tolist() == [1.0, 1.0, 0.0]


def _judged(said, some, high, truth, learnt):
    return Judged(np.array([some]), np.array([high]), np.array([said]), np.array(truth), np.array(learnt))


def test_pairs_are_ranked_by_class_then_by_risk_and_learnt_pairs_are_left_out():
    """High, intermediate, low: said intermediate, intermediate, low. Within intermediate the first is riskier."""
    judged = _judged([1, 1, 0], [0.9, 0.8, 0.1], [0.4, 0.3, 0.0], [2, 1, 0], [False, False, False])
    assert pairwise(judged)[0] == 1.0
    swapped = _judged([1, 1, 0], [0.8, 0.9, 0.1], [0.4, 0.3, 0.0], [2, 1, 0], [False, False, False])
    assert pairwise(swapped)[0] == pytest.approx(2 / 3)
    assert pairwise(_judged([1, 1, 0], [0.8, 0.9, 0.1], [0.4, 0.3, 0.0], [2, 1, 0], [True, True, False]))[0] == 1.0


def test_proportional_odds_are_fitted_exactly_where_counts_obey_them():
    """At score 0 the odds of at least 1 are 1, of 2 are 1/3; at score 1 twice those: 1/3, 4/15, 2/5 of 60."""
    known = {"a": [0.0] * 60 + [1.0] * 20, "b": [0.0] * 30 + [1.0] * 16, "c": [0.0] * 30 + [1.0] * 24}
    rows = [(x, k) for k, name in enumerate("abc") for x in known[name]]
    each = {str(i): np.array([x]) for i, (x, _) in enumerate(rows)}  # one sample a drug, so that all weigh the same
    found = fit(each, {str(i): k for i, (_, k) in enumerate(rows)})
    assert (found.intermediate, found.high, found.slope) == pytest.approx((0, -math.log(3), math.log(2)), abs=1e-7)


def test_each_drug_has_the_same_weight_however_many_samples_it_has():
    known = {"a": np.array([3.0, 5.0]), "b": np.array([2.0, 4.5]), "c": np.array([1.0, 4.0]), "d": np.array([2.5, 3.5])}
    classes = {"a": 0, "b": 1, "c": 2, "d": 1}
    more = known | {"b": np.tile(known["b"], 7)}
    one, other = fit(known, classes), fit(more, classes)
    assert (one.intermediate, one.high, one.slope) == pytest.approx((other.intermediate, other.high, other.slope))


def test_classes_that_do_not_overlap_are_parted_half_way():
    known = {"a": np.array([0.08, 0.07]), "b": np.array([0.06, 0.055]), "c": np.array([0.045, 0.03])}
    classes = {"a": 0, "b": 1, "c": 2}
    assert fit(known, classes).boundaries == pytest.approx((0.065, 0.05), abs=2e-4)


def test_a_class_without_a_drug_and_scores_all_the_same_are_refused():
    with pytest.raises(AnalysisError, match="intermediate: no drug of this class"):
        fit({"a": np.ones(2), "b": np.zeros(2)}, {"a": 0, "b": 2})
    with pytest.raises(AnalysisError, match="tell no classes apart"):
        fit({"a": np.ones(2), "b": np.ones(2), "c": np.ones(2)}, {"a": 0, "b": 1, "c": 2})


@pytest.fixture
def made_up():
    """Nine drugs whose scores fall with class, and overlap."""
    rng = np.random.default_rng(3)
    classes = {f"{name}{i}": k for k, name in enumerate(("l", "i", "h")) for i in range(3)}
    return {d: rng.normal(0.075 - 0.012 * k, 0.006, 40) for d, k in classes.items()}, classes


def test_leaving_one_out_is_fitting_without_it(made_up):
    known, classes = made_up
    others = {d: k for d, k in classes.items() if d != "h1"}
    own, alone = left_out(known, classes)["h1"], fit(known, others)
    assert (own.intermediate, own.high, own.slope) == pytest.approx((alone.intermediate, alone.high, alone.slope))


def test_measures_of_one_classifier_are_those_of_the_score_itself(made_up):
    """P(at least intermediate) falls as the score rises, so that the area under the curve is that of the score."""
    known, classes = made_up
    model, drawn = fit(known, classes), draw(known, 500, 1)
    judged = judge(known, classes, lambda drug: model, drawn)
    truth = np.array(list(classes.values()))
    score = np.stack([known[d][drawn[d]] for d in classes], axis=1)
    found = measures(judged)
    assert np.array_equal(found["AUC1"], auc(-score, truth > 0))
    assert np.array_equal(found["AUC2"], auc(-score, truth > 1))
    pairs = np.mean([score[:, i] < score[:, j] for i in range(9) for j in range(9) if truth[i] > truth[j]], axis=0)
    assert found["pairwise"] == pytest.approx(pairs)
    counts = counted(known, lambda drug: model, list(classes))
    se = found["error"].std() / math.sqrt(500)
    assert found["error"].mean() == pytest.approx(mean_error(counts, truth), abs=4 * se)


def test_draws_of_a_drug_do_not_depend_on_the_others(made_up):
    known, _ = made_up
    assert np.array_equal(draw(known, 50, 7)["i1"], draw({"i1": known["i1"]}, 50, 7)["i1"])


def test_the_jackknife_gives_the_standard_error_of_a_mean():
    x = np.random.default_rng(2).normal(size=12)
    error = jackknifed({"a": x}, lambda known: np.array([known["a"].mean()]))
    assert error[0] == pytest.approx(x.std(ddof=1) / math.sqrt(12))


def test_a_score_is_the_mean_over_all_four_concentrations_or_there_is_none():
    table = pl.DataFrame(
        {
            "drug": ["x"] * 9,
            "sample": [1, 1, 1, 1, 2, 2, 2, 2, 1],
            "times_cmax": [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 10.0],
            "qnet": [0.07, 0.06, 0.05, 0.04, 0.07, math.nan, 0.05, 0.04, 9.0],
        }
    )
    assert scores(table, "qnet", (1, 2, 3, 4))["x"] == pytest.approx([0.055])


def test_at_its_ic50_half_of_a_current_is_blocked_and_net_block_is_a_difference():
    assert block(np.array([10.0]), np.array([10.0]), np.array([1.7]))[0] == pytest.approx(0.5)
    assert net_block(np.array([0.5]), np.array([0.2]), np.array([0.1]))[0] == pytest.approx(0.2)


def test_scores_of_the_fdas_own_rows_lie_in_its_distributions():
    """Means of the 25 samples whose rows are at hand against those of all 2000, four drugs."""
    rows, reference = external.found(EXACT), external.found(REFERENCE)
    if rows is None or reference is None:
        pytest.skip(f"put {EXACT} and {REFERENCE} of FDA/CiPA below COHORT_DATA")
    table = pl.read_csv(rows).rename({"dose_xCmax": "times_cmax", "out_qNet": "qnet"})
    known = scores(table, "qnet", (1, 2, 3, 4))
    said = pl.read_csv(reference)
    assert set(known) == set(said["drug"])
    for row in said.iter_rows(named=True):
        own = known[row["drug"]]
        assert len(own) == 25
        assert own.mean() == pytest.approx(row["mean"], abs=3 * row["std"] / math.sqrt(len(own)))
        assert row["min"] - 1e-5 <= own.min() <= own.max() <= row["max"] + 1e-5


def test_the_fdas_boundaries_put_its_scores_where_its_table_does():
    """None of azimilide's 2000 samples lies above the boundary to high, some of bepridil's and of terfenadine's do."""
    reference = external.found(REFERENCE)
    if reference is None:
        pytest.skip(f"put {REFERENCE} of FDA/CiPA below COHORT_DATA")
    rows = {row["drug"]: row for row in pl.read_csv(reference).iter_rows(named=True)}
    for drug, row in rows.items():
        ends = FDA.classes(np.array([row["max"], row["min"]]))
        told = np.flatnonzero(TABLE[drug][1])
        assert (ends[0], ends[1]) == (told[0], told[-1])
