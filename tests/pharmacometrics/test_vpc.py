"""Visual predictive checks against values worked by hand, and against data that the model itself made."""

import numpy as np
import polars as pl
import pytest

from cohort.pharmacometrics.vpc import figure, vpc


def _frame(time, value, **others):
    return pl.DataFrame({"time": np.asarray(time, float), "value": np.asarray(value, float), **others})


def _replicates(time, values, **others):
    """values: (replicates, rows)."""
    return pl.concat([_frame(time, row, **others).with_columns(replicate=pl.lit(i)) for i, row in enumerate(values)])


def test_percentiles_of_each_time_by_hand():
    observed = _frame([1, 1, 1, 2, 2, 2], [10, 20, 40, 1, 2, 3])
    simulated = _replicates(observed["time"], [[10, 20, 30, 1, 1, 1], [20, 30, 40, 2, 2, 2], [30, 40, 50, 3, 3, 9]])
    rows = vpc(observed, simulated, percentiles=(25, 50), interval=0.5).percentiles
    assert rows.filter(time=1, percentile=25).row(0, named=True) == {
        "bin": 0, "low": 1, "high": 1, "time": 1, "n": 3, "percentile": 25,
        "observed": 15, "simulated": 25, "lower": 20, "upper": 30,
    }  # fmt: skip
    medians = rows.filter(percentile=50)
    assert medians["observed"].to_list() == [20, 2]
    assert medians["simulated"].to_list() == [30, 2]
    assert medians["lower"].to_list() == [25, 1.5]
    assert medians["upper"].to_list() == [35, 2.5]


def test_a_bin_holds_its_lower_edge_and_the_last_both():
    observed = _frame([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6])
    simulated = _replicates(observed["time"], [observed["value"]])
    rows = vpc(observed, simulated, bins=[0, 2, 6], percentiles=(50,)).percentiles
    assert rows.select("low", "high", "n", "time", "observed").rows() == [(0, 2, 2, 0.5, 0.5), (2, 6, 5, 4, 4)]
    equal = vpc(observed, simulated, bins=3, percentiles=(50,)).percentiles
    assert equal["n"].to_list() == [2, 2, 3]


def test_strata_are_checked_apart():
    observed = _frame([1, 1, 1, 1], [1, 2, 10, 20], arm=["a", "a", "b", "b"])
    simulated = _replicates(observed["time"], [[1, 1, 5, 5], [3, 3, 7, 7]], arm=observed["arm"])
    rows = vpc(observed, simulated, by=["arm"], percentiles=(50,)).percentiles
    assert rows.select("arm", "observed", "simulated").rows() == [("a", 1.5, 2), ("b", 15, 6)]


def test_a_prediction_correction_by_hand():
    observed = _frame([1, 1, 1], [5, 12, 50])
    predictions = [4.0, 10, 40]
    simulated = _replicates(observed["time"], [[4, 10, 40], [8, 20, 20]], prediction=predictions)
    check = vpc(observed, simulated, correct="prediction", percentiles=(0, 50, 100))
    assert check.points["value"].to_list() == pytest.approx([12.5, 12, 12.5])  # y * 10 / prediction
    assert check.percentiles["observed"].to_list() == pytest.approx([12, 12.5, 12.5])
    assert check.percentiles["simulated"].to_list() == pytest.approx([7.5, 15, 15])  # of (10, 10, 10), (20, 20, 5)
    raised = vpc(observed, simulated, correct="prediction", bound=2.0)
    assert raised.points["value"].to_list() == pytest.approx([2 + 3 * 8 / 2, 12, 2 + 48 * 8 / 38])
    logs = vpc(observed, simulated, correct="prediction", log=True)
    assert logs.points["value"].to_list() == pytest.approx([5 + 6, 12, 50 - 30])


def test_a_variability_correction_by_hand():
    observed = _frame([1, 1, 1], [11, 12, 9])
    simulated = _replicates(observed["time"], [[9, 8, 6], [11, 12, 14]], prediction=[10.0, 10, 10])
    check = vpc(observed, simulated, correct="variability")
    # spreads of 1, 2 and 4 around 10, of which 2 is the median
    assert check.points["value"].to_list() == pytest.approx([10 + 1 * 2, 12, 10 - 1 / 2])
    assert check.percentiles.filter(percentile=95)["lower"].item() == pytest.approx(8 + 0.025 * 4)


def test_a_prediction_correction_takes_out_the_dose():
    dose = np.tile([1.0, 10.0, 100.0], 40)
    rng = np.random.default_rng(3)
    noise = np.exp(0.2 * rng.standard_normal((51, 120)))
    observed = _frame(np.ones(120), dose * noise[0])
    simulated = _replicates(observed["time"], dose * noise[1:], prediction=dose)
    check = vpc(observed, simulated, correct="prediction")
    want = np.percentile(10 * noise[0], [5, 50, 95])
    assert check.percentiles["observed"].to_numpy() == pytest.approx(want, rel=1e-12)


def test_what_lies_below_the_limit_of_quantification_is_lower_than_the_rest():
    observed = _frame([1] * 5, [0.1, 0.2, 3, 4, 5])
    simulated = _replicates(observed["time"], [[0.1, 2, 3, 4, 5], [0.1, 0.1, 0.1, 0.1, 5], [0.3, 0.4, 2, 3, 4]])
    check = vpc(observed, simulated, lloq=1.0, percentiles=(25, 50, 100))
    assert check.percentiles["observed"].to_list() == [None, 3, 5]
    assert check.percentiles["simulated"].to_list() == [None, 2, 5]
    assert check.percentiles["lower"].to_list() == [None, None, pytest.approx(4.05)]
    share = check.censored.row(0, named=True)
    assert (share["observed"], share["simulated"]) == (0.4, 0.4)
    assert (share["lower"], share["upper"]) == pytest.approx((0.2 + 0.05 * 0.2, 0.4 + 0.95 * 0.4))
    assert check.points["value"].to_list() == [3, 4, 5]


def test_a_missed_visit_is_left_out_of_both():
    observed = _frame([1, 1, 1, 1], [1, 2, np.nan, 3]).with_columns(pl.col("value").fill_nan(None))
    simulated = _replicates(observed["time"], [[1, 2, 100, 3], [1, np.nan, 100, 4]])
    check = vpc(observed, simulated, percentiles=(50,), interval=0.5)
    row = check.percentiles.row(0, named=True)
    assert (row["n"], row["observed"], row["simulated"]) == (3, 2, 2.25)


def test_the_order_of_replicates_changes_nothing():
    observed, simulated = _made_by_the_model(np.random.default_rng(4), 20, 9)
    mixed = pl.concat([simulated.filter(replicate=i) for i in (3, 8, 0, 1, 7, 2, 6, 5, 4)])
    assert vpc(observed, mixed).percentiles.equals(vpc(observed, simulated).percentiles)


TIMES = np.array([1.0, 2, 4, 8])


def _made_by_the_model(rng: np.random.Generator, subjects: int, replicates: int):
    """One study and its replicates from the same one-compartment model; doses differ tenfold."""
    dose = np.where(np.arange(subjects) % 2, 10.0, 100.0)[:, None]
    k = 0.2 * np.exp(0.3 * rng.standard_normal((1 + replicates, subjects, 1)))
    y = dose / 20 * np.exp(-k * TIMES) * np.exp(0.1 * rng.standard_normal((1 + replicates, subjects, len(TIMES))))
    typical = (dose / 20 * np.exp(-0.2 * TIMES)).ravel()
    observed = _frame(np.tile(TIMES, subjects), y[0].ravel())
    simulated = _replicates(observed["time"], y[1:].reshape(replicates, -1), prediction=typical)
    return observed, simulated


@pytest.mark.parametrize("correct", ["none", "prediction", "variability"])
def test_data_from_the_model_itself_lie_in_the_intervals_as_often_as_stated(correct):
    studies, replicates = 150, 99
    rng = np.random.default_rng(11)
    inside = np.empty((studies, 3 * len(TIMES)))
    for i in range(studies):
        rows = vpc(*_made_by_the_model(rng, 40, replicates), correct=correct).percentiles
        inside[i] = (rows["lower"] <= rows["observed"]) & (rows["observed"] <= rows["upper"])
    # One more draw falls between the 2.5th and 97.5th percentile of so many with this probability.
    stated = 0.95 * (replicates - 1) / (replicates + 1)
    error = inside.mean(axis=1).std(ddof=1) / np.sqrt(studies)
    assert inside.mean() == pytest.approx(stated, abs=3 * error)
    assert error < 0.012


def test_a_wrong_model_is_seen():
    observed, simulated = _made_by_the_model(np.random.default_rng(5), 200, 99)
    slower = observed.with_columns(pl.col("value") * (0.05 * pl.col("time")).exp())
    rows = vpc(slower, simulated, correct="prediction").percentiles
    assert rows.select(pl.col("observed") > pl.col("upper")).to_numpy().mean() > 0.7


def test_what_does_not_match_is_refused():
    observed = _frame([1, 2], [1, 2])
    simulated = _replicates([1, 2], [[1, 2], [1, 2]], prediction=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"observed has no column 'dose'.*simulated has no column 'dose'"):
        vpc(observed, simulated, by=["dose"])
    with pytest.raises(ValueError, match="3 simulated rows are no multiple of the 2 observed"):
        vpc(observed, simulated[:3])
    with pytest.raises(ValueError, match="time of the simulated rows differ"):
        vpc(observed, simulated.with_columns(pl.col("time") + 1))
    with pytest.raises(ValueError, match="1 predictions in 'prediction' are not above the bound 0"):
        vpc(observed, simulated, correct="prediction")
    with pytest.raises(ValueError, match=r"1 observations, the first at 2, lie outside the bins from 0 to 1\.5"):
        vpc(observed, simulated, bins=[0, 1.5])
    with pytest.raises(ValueError, match="write two or more edges, ascending"):
        vpc(observed, simulated, bins=[2, 1])
    with pytest.raises(ValueError, match=r"percentiles are \[150\].*interval is 95.*correct is 'pred'"):
        vpc(observed, simulated, percentiles=[150], interval=95, correct="pred")  # type: ignore[arg-type]


def test_the_figure_has_a_panel_per_stratum_and_one_below_for_the_censored():
    observed, simulated = _made_by_the_model(np.random.default_rng(6), 40, 30)
    sex = pl.Series("sex", ["f", "f", "f", "f", "m", "m", "m", "m"] * 20)
    observed = observed.with_columns(sex)
    simulated = simulated.with_columns(pl.concat([sex] * 30))
    plain = figure(vpc(observed, simulated, by=["sex"], bins=[0, 3, 8]), ylabel="mg/L")
    assert [a.get_title(loc="left") for a in plain.axes] == ["sex f", "sex m"]
    drawn = figure(vpc(observed, simulated, by=["sex"], lloq=0.3), log=True, xlabel="h")
    assert len(drawn.axes) == 4
    assert [a.get_yscale() for a in drawn.axes] == ["log", "log", "linear", "linear"]
    assert [a.get_xlabel() for a in drawn.axes] == ["", "", "h", "h"]
    drawn.draw_without_rendering()
