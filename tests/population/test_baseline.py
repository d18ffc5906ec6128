"""A published baseline table: read in the columns' units, and refused where no group of people could have it."""

import pytest

from cohort.population.baseline import MatchingError, Target, check_targets, read_targets
from cohort.population.causal import Column
from cohort.study.grammar import criterion

COLUMNS = {
    "sex": Column("1", "sex", "made up", ("male", "female")),
    "age": Column("y", "age", "made up"),
    "weight": Column("kg", "body weight", "made up"),
    "haematocrit": Column("1", "share of red cells in blood", "made up"),
    "statin": Column("1", "takes a statin", "made up", ("no", "yes")),
}

HEADER = "variable,level,statistic,value,unit,n,source\n"


def test_a_table_is_read_in_the_units_of_the_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        HEADER
        + "age,,mean,612,month,302,Table 1\nage,,sd,9.5,y,302,Table 1\n"
        + "sex,female,percent,33.1,%,302,Table 1\nsex,male,percent,67,percent,302,Table 1\n"
        + "weight,,quantile(0.25),70000,g,,Table 1\nweight,,median,80,kg,,Table 1\n"
        + "haematocrit,,mean,41,percent,,Table 1\nstatin,,percent,0.61,1,,Table 1\n"
    )
    t = {(t.variable, t.level, t.statistic): t for t in read_targets(path, COLUMNS)}
    assert t["age", "", "mean"].value == pytest.approx(51)
    assert t["age", "", "mean"].n == 302
    assert t["sex", "female", "percent"].value == pytest.approx(100 * 33.1 / 100.1)  # rounding in print
    assert t["weight", "", "quantile(0.25)"].value == pytest.approx(70)
    assert t["weight", "", "median"].n is None
    assert t["haematocrit", "", "mean"].value == pytest.approx(0.41)
    assert t["statin", "yes", "percent"].value == pytest.approx(61)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("agee,,mean,51,y,,T1", ":2, variable: 'agee' is no column; did you mean 'age'?"),
        ("age,,mean,51,,,T1", ":2, unit: missing; write such as y"),
        ("age,,mean,51,kg,,T1", ":2, unit: kg cannot be written in y"),
        ("age,,mean,nan,y,,T1", ":2, value: 'nan'; write a number"),
        ("age,,mean,51,y,-3,T1", ":2, n: '-3'; write the number of patients"),
        ("age,,mean,51,y,,", ":2, source: empty"),
        ("age,,average,51,y,,T1", ":2, statistic: 'average'; write mean"),
        ("age,old,mean,51,y,,T1", ":2, level: 'old', but age is a number"),
        ("age,,mean,51,y,,T1\nage,,sd,0,y,,T1", ":3, value: 0: an SD is more than 0"),
        ("age,,sd,5,y,,T1", ":2: an SD needs the mean of age"),
        ("age,,mean,51,y,,T1\nage,,mean,52,y,,T1", ":3: says the same as"),
        ("age,,median,51,y,,T1\nage,,quantile(0.5),52,y,,T1", ":3: says the same as"),
        ("age,,mean,17,y,,T1", "age: mean 17 y lies outside the criterion '18 y <= age <= 80 y'"),
        ("weight,,mean,82000,kg,,T1", "no such people; write one from 0.3 to 600 kg"),
        ("sex,mail,percent,20,%,,T1", ":2, level: 'mail' of sex; did you mean 'male'?"),
        ("sex,male,percent,120,%,,T1", ":2, value: 120 percent; write one from 0 to 100"),
        ("sex,male,percent,60,%,,T1\nsex,female,percent,50,%,,T1", "the percentages of sex sum to 110"),
        ("sex,male,percent,60,%,,T1\nsex,female,percent,30,%,,T1", "the percentages of sex sum to 90"),
        ("sex,male,mean,60,%,,T1", "statistic: mean of sex, which is a category"),
        ("age,,median,50,y,,T1\nage,,quantile(0.25),52,y,,T1", "quantiles are out of order"),
        ("age,,mean,50,y,,T1\nage,,sd,5,y,,T1\nage,,median,60,y,,T1", "age: median 60 y cannot be with age: mean 50 y"),
        ("age,,mean,50,y,T1", ":2: more or fewer cells"),
    ],
)
def test_an_impossible_table_is_refused(tmp_path, lines: str, complaint: str):
    path = tmp_path / "table.csv"
    path.write_text(HEADER + lines + "\n")
    with pytest.raises(MatchingError) as e:
        read_targets(path, COLUMNS, [criterion("18 y <= age <= 80 y")])
    assert complaint in str(e.value)
    assert str(path) in str(e.value)


def test_everything_wrong_is_told_at_once(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(HEADER + "agee,,mean,51,y,,T1\nweight,,mean,x,kg,,T1\nsex,male,percent,120,%,,\n")
    with pytest.raises(MatchingError) as e:
        read_targets(path, COLUMNS)
    assert [f":{i}," in str(e.value) for i in (2, 3, 4)] == [True] * 3
    assert len(str(e.value).splitlines()) == 4


def test_targets_written_in_python_are_checked_alike():
    with pytest.raises(MatchingError, match="target 2, value: -1: an SD is more than 0"):
        check_targets([Target("age", "mean", 50, "y"), Target("age", "sd", -1, "y")], COLUMNS)
    assert check_targets([Target("age", "mean", 600, "month")], COLUMNS)[0].value == pytest.approx(50)


def test_nobody_of_an_excluded_level_may_be_published():
    with pytest.raises(MatchingError, match=r"male 40 percent lies outside the criterion 'sex == female'"):
        check_targets([Target("sex", "percent", 40, "percent", "male")], COLUMNS, [criterion("sex == female")])
