"""Matching to a trial: weights against exponential tilting's closed forms, and tables that no group of people has."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtr, ndtri

from cohort.population.baseline import MatchingError, Target
from cohort.population.matching import balance, baseline_table, resample


def people(n: int = 20_000, seed: int = 1) -> pl.DataFrame:
    """Age is normal on a grid of quantiles, so that sums over the pool are its integrals; the rest is drawn."""
    rng = np.random.default_rng(seed)
    age = 45 + 10 * ndtri((np.arange(n) + 0.5) / n)
    return pl.DataFrame(
        {
            "subject": [f"{i:06d}" for i in range(n)],
            "sex": np.where(rng.random(n) < 0.5, "male", "female"),
            "age": age,
            "weight": 80 + 0.3 * (age - 45) + 15 * rng.standard_normal(n),
            "statin": rng.random(n) < ndtr((age - 60) / 10),
        }
    )


POOL = people()


def age(mean: float, sd: float | None = None, n: int | None = None) -> list[Target]:
    lines = [Target("age", "mean", mean, "y", n=n)]
    return lines + ([Target("age", "sd", sd, "y", n=n)] if sd else [])


def test_a_normal_pool_becomes_the_normal_that_was_published():
    weights = balance(POOL, age(52, 8)).weights
    x = POOL["age"].to_numpy()
    ratio = np.exp(-0.5 * ((x - 52) / 8) ** 2 + 0.5 * ((x - 45) / 10) ** 2)  # of the two densities
    inside = np.abs(x - 45) < 30
    assert weights[inside] == pytest.approx((ratio / ratio.sum())[inside], rel=2e-2)
    assert weights @ x == pytest.approx(52, abs=1e-7)
    assert np.sqrt(weights @ (x - 52) ** 2) == pytest.approx(8, abs=1e-7)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0])
def test_effective_size_falls_as_the_square_of_the_shift(shift: float):
    matched = balance(POOL, age(45 + 10 * shift, 10))
    assert matched.effective == pytest.approx(POOL.height * math.exp(-(shift**2)), rel=0.02)
    assert matched.largest == matched.weights.max()


def test_every_line_of_a_table_is_met():
    targets = [
        *age(58, 9),
        Target("sex", "percent", 30, "percent", "female"),
        Target("statin", "percent", 61.5, "percent", "yes"),
        Target("weight", "median", 84, "kg"),
        Target("weight", "quantile(0.75)", 95, "kg"),
    ]
    matched = balance(POOL, targets)
    table = matched.table
    assert table["after"].to_numpy() == pytest.approx(table["published"].to_numpy(), rel=2e-3)
    assert table["difference_after"].abs().max() < 1e-8  # type: ignore[operator]
    assert table["difference_before"][0] == pytest.approx((45 - 58) / 9, abs=1e-3)
    assert matched.weights.sum() == pytest.approx(1)
    assert matched.iterations < 20


def test_dependence_comes_from_the_pool():
    weights = balance(POOL, age(60)).weights
    assert weights @ POOL["weight"].to_numpy() == pytest.approx(80 + 0.3 * 15, abs=0.8)
    assert weights @ POOL["statin"].to_numpy() > 0.4 > 2 * POOL["statin"].to_numpy().mean()


def test_all_levels_of_a_category_may_be_published():
    both = [Target("sex", "percent", 40, "percent", "male"), Target("sex", "percent", 60, "percent", "female")]
    assert balance(POOL, both).table["after"].to_list() == pytest.approx([40, 60])


def test_a_small_trial_is_met_softly():
    """A normal pool shrinks a published mean as if it were one patient more."""
    n = 9
    matched = balance(POOL, [*age(55, n=n), Target("age", "sd", 10, "y")], soft=True)
    assert matched.table["after"][0] == pytest.approx(55 - 10 / (n + 1), abs=0.02)
    assert matched.table["standard_errors"][0] == pytest.approx(-1 / (10 / 3), abs=0.02)
    assert balance(POOL, age(55, 10, n=10_000), soft=True).table["after"][0] == pytest.approx(55, abs=0.01)


def test_a_small_trial_may_lie_where_no_pool_reaches():
    young = POOL.filter(pl.col("age") < 50)
    with pytest.raises(MatchingError, match=r"age: mean 51 y cannot be reached; the pool reaches at most 50 y"):
        balance(young, age(51))
    matched = balance(young, age(51, n=4), soft=True)
    assert 45 < matched.table["after"][0] < 50
    assert any("standard errors off" in w for w in balance(young, age(60, n=400), soft=True).warnings(10))


def test_what_cannot_be_reached_is_named_with_how_far_the_pool_goes():
    young = POOL.filter(pl.col("age").is_between(20, 48.3))
    high = f"{young['age'].max():.4g}"
    men = [Target("sex", "percent", 30, "percent", "female")]
    with pytest.raises(MatchingError) as e:
        balance(young, [*age(51), *men])
    assert f"age: mean 51 y cannot be reached; the pool reaches at most {high} y" in str(e.value)
    assert "sex" not in str(e.value)
    with pytest.raises(
        MatchingError, match=r"age: sd 40 y about the published mean cannot be reached; the pool reaches at most 19.99"
    ):
        balance(young, age(40, 40))
    with pytest.raises(MatchingError, match=r"sex: percent other 5 percent cannot be reached; .* at most 0 percent"):
        balance(young, [Target("sex", "percent", 5, "percent", "other")])


def test_lines_that_only_together_cannot_hold_are_named_together():
    """No woman of this pool is over 40."""
    pool = POOL.filter((pl.col("sex") == "male") | (pl.col("age") < 40)).filter(pl.col("age") < 60)
    targets = [
        Target("age", "mean", 45, "y"),
        Target("sex", "percent", 90, "percent", "female"),
        Target("weight", "mean", 81, "kg"),
    ]
    with pytest.raises(MatchingError) as e:
        balance(pool, targets)
    first, second, _ = str(e.value).splitlines()
    assert first.startswith("age: mean 45 y cannot be reached with sex: percent female 90 percent")
    assert float(first.split("at most ")[1].split()[0]) == pytest.approx(0.9 * 40 + 0.1 * 60, abs=0.02)
    assert float(second.split("at most ")[1].split()[0]) == pytest.approx(75, abs=0.1)  # 45 = 60 - 20 share
    assert "weight" not in str(e.value)


def test_little_information_is_warned_of():
    matched = balance(POOL, age(64, 9))
    far = matched.warnings(2000)
    assert any("below 10%" in w for w in far)
    assert any("below the 2000 wanted" in w for w in far)
    assert any("repeated" in w for w in far)
    assert not balance(POOL, age(46, 10)).warnings(1000)


def test_nobody_is_drawn_twice_while_weights_allow():
    matched = balance(POOL, age(50, 9))
    cohort, repeats = resample(POOL, matched, 1000, seed=3)
    assert cohort.height == 1000
    assert repeats == 0
    assert not cohort["subject"].is_duplicated().any()
    assert cohort["age"].mean() == pytest.approx(50, abs=4 * 9 / math.sqrt(1000))
    assert cohort["age"].std() == pytest.approx(9, abs=4 * 9 / math.sqrt(2000))


def test_people_are_drawn_as_often_as_their_weights_say():
    pool = people(40)
    matched = balance(pool, age(49, 9))
    n, times = 8, 4000
    counts = np.zeros(pool.height)
    for seed in range(times):
        drawn = resample(pool, matched, n, seed)[0]["subject"].str.head(6).to_list()
        np.add.at(counts, [int(s) for s in drawn], 1)
    expected = n * matched.weights
    error = np.sqrt(np.maximum(expected * (1 - expected), 1e-3) / times)
    assert (np.abs(counts / times - expected) / error).max() < 4.5


def test_one_of_two_is_drawn_as_often_as_the_weights_say():
    pair = people(2)
    matched = balance(pair, age(47))
    drawn = [resample(pair, matched, 1, seed)[0]["subject"][0] for seed in range(2000)]
    share = float(matched.weights[1])
    assert 0.6 < share < 0.7
    assert drawn.count("000001") / 2000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 2000))


def test_those_who_stand_for_more_than_one_are_repeated_under_ids_of_their_own():
    pool = people(50)
    matched = balance(pool, age(62, 4))
    cohort, repeats = resample(pool, matched, 40, seed=1)
    assert cohort.height == 40
    assert not cohort["subject"].is_duplicated().any()
    assert repeats == cohort["subject"].str.contains("~").sum() > 0
    shares = cohort.group_by(pl.col("subject").str.head(6)).len()
    copies = {r["subject"]: r["len"] for r in shares.iter_rows(named=True)}
    for subject, weight in zip(pool["subject"], matched.weights, strict=True):
        assert math.floor(40 * weight) <= copies.get(subject, 0) <= math.ceil(40 * weight)


def test_the_order_of_the_pool_does_not_matter():
    shuffled = POOL.sample(fraction=1.0, shuffle=True, seed=5)
    one, _ = resample(POOL, balance(POOL, age(50, 9)), 500, seed=3)
    two, _ = resample(shuffled, balance(shuffled, age(50, 9)), 500, seed=3)
    assert one.equals(two)


def test_an_id_on_two_rows_is_refused():
    twice = pl.concat([POOL, POOL.head(1)])
    with pytest.raises(MatchingError, match="'000000' stands on more than one row"):
        resample(twice, balance(twice, age(50)), 10, seed=1)


def test_cells_that_are_not_numbers_are_refused_by_row():
    pool = POOL.head(100).with_columns(age=pl.when(pl.col("subject") == "000041").then(math.nan).otherwise("age"))
    with pytest.raises(MatchingError, match=r"column 'age': 1 cells are missing or not finite, the first in rows \[42"):
        balance(pool, age(45))


def test_a_drawn_cohort_has_a_baseline_table_of_its_own():
    targets = age(50, 9, n=300)
    cohort, _ = resample(POOL, balance(POOL, targets), 2000, seed=2)
    table = baseline_table(cohort, np.full(2000, 1 / 2000), targets)
    assert table["published"].to_list() == [50, 9]
    assert table["difference_after"].abs().max() < 0.1  # type: ignore[operator]


def test_misses_are_told_in_standard_errors_of_the_published_figure():
    """Of a mean, SD over root n; of an SD, through that of the variance, root 2/n; of a share, the binomial's."""
    targets = [*age(46, 9, n=50), Target("sex", "percent", 60, "percent", "male", n=50)]
    table = baseline_table(POOL, np.full(POOL.height, 1 / POOL.height), targets)
    men = float((POOL["sex"] == "male").mean())  # type: ignore[arg-type]
    wanted = [-1 / (9 / math.sqrt(50)), (101 / 81 - 1) / math.sqrt(2 / 50), (men - 0.6) / math.sqrt(0.6 * 0.4 / 50)]
    assert table["standard_errors"].to_list() == pytest.approx(wanted, abs=0.01)


def test_weights_are_the_same_bits_however_many_threads_linear_algebra_has():
    """As a subprocess: how many there are is read when NumPy is loaded."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_matching import POOL, Target, age, balance
weight, statin = Target("weight", "mean", 84.0, "kg"), Target("statin", "percent", 20.0, "%", level="yes")
made = balance(POOL, [*age(52, 9), weight, statin])
sys.stdout.write(made.weights.tobytes().hex() + made.table.write_json())
"""
    said = []
    for threads in ("1", "2"):
        env = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        said.append(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    assert said[0] == said[1]
