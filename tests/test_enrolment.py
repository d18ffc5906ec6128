"""Virtual people resemble the survey they stand for, meet the criteria, and are refused where they make no sense."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.enrolment import (
    BLOCK,
    PopulationError,
    candidates,
    check_people,
    columns_of,
    covariates_of,
    sample_population,
)
from cohort.model import Record, Scalar, category, quantity
from cohort.population.baseline import MatchingError
from cohort.population.sources import source
from cohort.study import Spread, read_study, source_of
from cohort.study.grammar import criterion
from cohort.study.protocol import Match
from cohort.units import Quantity


def _sized(study, size: int, **changes):
    return study.model_copy(update={"population": study.population.model_copy(update={"size": size} | changes)})


def _candidates(study, model, subjects: list[str]) -> pl.DataFrame:
    return candidates(study, source_of(study), model, subjects)


@pytest.fixture(scope="session")
def adults(laplace, evolocumab) -> pl.DataFrame:
    """Forty thousand candidates of the `us` source, ages even from 20 to 80 y, before any criterion."""
    covariates = {k: v for k, v in laplace.population.covariates.items() if k != "age"}
    return _candidates(_sized(laplace, 1, covariates=covariates), evolocumab, [str(i) for i in range(40_000)])


# NHANES 2013-2018, ages 20-79, examination weights: mean and SD (CDC/NCHS, public domain). Monte Carlo error of the
# means is at most 0.05 cm and 0.15 kg; the rest of the tolerance is for the fit, and for ages that are even here.
@pytest.mark.parametrize(
    ("sex", "column", "mean", "sd", "within"),
    [
        ("male", "height", 175.7, 7.5, 0.7),
        ("male", "weight", 90.7, 21.4, 1.3),
        ("male", "bmi", 29.3, 6.3, 0.3),
        ("female", "height", 161.7, 6.9, 0.7),
        ("female", "weight", 78.0, 21.5, 1.3),
        ("female", "bmi", 29.8, 7.9, 0.3),
    ],
)
def test_us_adults_have_the_size_of_nhanes(adults, sex: str, column: str, mean: float, sd: float, within: float):
    values = adults.filter(pl.col("sex") == sex)[column].to_numpy()
    assert values.mean() == pytest.approx(mean, abs=within)
    assert values.std() == pytest.approx(sd, rel=0.05)


# NHANES 2013-2018, ages 20-79: 5th, 50th and 95th percentile of weight, kg. The fit alone, at the survey's own ages,
# gives 62.3, 88.2, 128.8 and 50.9, 74.9, 120.1.
@pytest.mark.parametrize(("sex", "percentiles"), [("male", (62.2, 87.6, 130.6)), ("female", (50.1, 73.8, 120.3))])
def test_us_adults_have_the_tails_of_nhanes(adults, sex: str, percentiles: tuple[float, ...]):
    weights = adults.filter(pl.col("sex") == sex)["weight"].to_numpy()
    assert np.percentile(weights, [5, 50, 95]) == pytest.approx(percentiles, rel=0.035)


def test_half_the_candidates_are_women_unless_the_study_says_otherwise(adults, laplace, evolocumab):
    share = (adults["sex"] == "female").mean()
    assert share == pytest.approx(laplace.population.covariates["female"].fraction, abs=4 * 0.5 / math.sqrt(40_000))


# Dietary Reference Intakes for Japanese 2020 (MHLW): reference height, cm, and weight, kg, in the middle of age bands.
@pytest.mark.parametrize(
    ("age", "sex", "height", "weight"),
    [
        (40, "male", 171.0, 68.1),
        (57.5, "male", 169.0, 68.0),
        (70, "male", 165.2, 65.0),
        (40, "female", 158.0, 53.0),
        (57.5, "female", 155.8, 53.8),
        (70, "female", 152.0, 52.1),
    ],
)
def test_japanese_adults_have_the_reference_size(root, evolocumab, age, sex, height, weight):
    study = read_study(root / "config/studies/yukawa.yaml")
    spread = study.population.covariates["age"]
    assert isinstance(spread, Spread)
    narrow = {"mean": Quantity(age, "y"), "sd": Quantity(0.1, "y")}
    covariates = study.population.covariates | {"age": spread.model_copy(update=narrow)}
    people = _candidates(_sized(study, 1, covariates=covariates), evolocumab, [str(i) for i in range(20_000)])
    people = people.filter(pl.col("sex") == sex)
    error = 4 / math.sqrt(people.height)
    assert people["height"].mean() == pytest.approx(height, abs=5.7 * error)
    # the median BMI is the reference; weight follows height, so its median is the reference within a percent
    assert people["weight"].median() == pytest.approx(weight, rel=0.01 + 0.2 * error)


def test_covariates_have_the_mean_and_sd_of_the_protocol(adults, laplace):
    for name in ("pcsk9", "ldl"):
        want = laplace.population.covariates[name]
        assert adults[name].mean() == pytest.approx(want.mean.value, abs=4 * want.sd.value / math.sqrt(40_000))
        assert adults[name].std() == pytest.approx(want.sd.value, rel=0.04)
    assert set(adults["statin"]) == {"yes"}
    assert (adults["ezetimibe"] == "yes").mean() == pytest.approx(0.1, abs=0.006)


def test_height_and_body_mass_index_make_the_weight(adults):
    metres = adults["height"].to_numpy() / 100
    assert adults["weight"].to_numpy() == pytest.approx(adults["bmi"].to_numpy() * metres**2)


def test_ages_beyond_the_survey_are_flagged(laplace, evolocumab):
    people = _candidates(laplace, evolocumab, [str(i) for i in range(5000)])
    outside = (people["age"] < 18) | (people["age"] >= 80)
    assert outside.any()
    assert ((people["age_outside_source"] == "yes") == outside).all()


def test_a_cohort_is_the_first_eligible_candidates(laplace, evolocumab):
    cohort = sample_population(_sized(laplace, 150))
    everyone = _candidates(laplace, evolocumab, [f"{i:07d}" for i in range(1, cohort.screened + 1)])
    eligible = everyone.filter((pl.col("age") >= 18) & (pl.col("age") <= 80) & (pl.col("ldl") >= 85))
    assert eligible.equals(cohort.people)
    assert everyone["subject"][-1] == cohort.people["subject"][-1]


def test_a_person_is_the_same_whatever_the_size_of_the_cohort(laplace):
    small, large = (sample_population(_sized(laplace, size)).people for size in (50, BLOCK + 500))
    assert large.head(50).equals(small)


def test_attrition_adds_up(laplace):
    for size in (1, 150, BLOCK + 500):
        cohort = sample_population(_sized(laplace, size))
        assert cohort.people.height == size
        assert cohort.screened == size + sum(cohort.excluded.values())


def test_each_is_counted_at_the_first_criterion_not_met(laplace):
    cohort = sample_population(_sized(laplace, 500))
    assert list(cohort.excluded) == [str(c) for c in laplace.population.eligibility]
    assert min(cohort.excluded.values()) > 0


def test_criteria_that_nobody_meets_are_refused_with_the_one_that_turned_most_away(laplace):
    study = _sized(laplace, 10, eligibility=[criterion("age >= 18 y"), criterion("ldl > 5000 mg/dL")])
    with pytest.raises(PopulationError, match=r"0 of \d+ candidates are eligible, 10 are needed; 'ldl > 5000 mg/dL'"):
        sample_population(study)


def test_a_cohort_without_criteria_takes_everyone(laplace):
    cohort = sample_population(_sized(laplace, 70, eligibility=[]))
    assert (cohort.screened, cohort.people.height, cohort.excluded) == (70, 70, {})


def test_people_as_sampled_are_people(laplace, people):
    check_people(laplace, people)


def _with(people: pl.DataFrame, row: int, column: str, value: object) -> pl.DataFrame:
    values = people[column].to_list()
    values[row] = value
    return people.with_columns(pl.Series(column, values, dtype=people[column].dtype))


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("weight", -70.0, r"row 3, subject '\d+', column 'weight': -70.0; write a number from 20 to 300 kg"),
        ("weight", 7000.0, r"row 3, .* column 'weight': 7000.0"),
        ("ldl", math.nan, r"row 3, .* column 'ldl': nan; write a number from 10 to 800 mg/dL"),
        ("pcsk9", math.inf, r"row 3, .* column 'pcsk9': inf"),
        ("pcsk9", None, r"row 3, .* column 'pcsk9': None"),
        ("statin", "maybe", r"row 3, .* column 'statin': 'maybe'; write one of no, yes"),
        ("sex", None, r"row 3, .* column 'sex': None; write one of male, female"),
        ("subject", None, r"row 3, column 'subject': None; write an id"),
        ("subject", "", r"row 3, column 'subject': ''"),
        ("subject", "0000001 ", r"row 3, column 'subject': '0000001 '; write an id without surrounding space"),
        ("subject", "e\u0301", r"row 3, column 'subject': .* in Unicode's NFC"),
    ],
)
def test_a_bad_value_is_refused_by_row_and_column(laplace, people, column: str, value: object, reason: str):
    with pytest.raises(PopulationError, match=reason):
        check_people(laplace, _with(people, 2, column, value))


def test_a_subject_on_two_rows_is_refused(laplace, people):
    with pytest.raises(PopulationError, match=r"subject '.*' stands on more than one row; keep one"):
        check_people(laplace, pl.concat([people, people.head(1)]))


def test_a_missing_covariate_column_is_refused(laplace, people):
    with pytest.raises(PopulationError, match=r"column 'pcsk9' \(ng/mL\) is missing; add it"):
        check_people(laplace, people.drop("pcsk9"))
    with pytest.raises(PopulationError, match=r"column 'sex' \(male or female\) is missing; add it"):
        check_people(laplace, people.drop("sex"))


def test_numbers_written_as_text_are_refused(laplace, people):
    with pytest.raises(PopulationError, match="column 'weight' holds text; write numbers in kg"):
        check_people(laplace, people.with_columns(pl.col("weight").cast(pl.String)))


def test_ids_that_are_numbers_are_refused(laplace, people):
    with pytest.raises(PopulationError, match="so that 0012 stays 0012"):
        check_people(laplace, people.with_columns(pl.col("subject").cast(pl.Int64)))


def test_nobody_is_no_population(laplace, people):
    with pytest.raises(PopulationError, match="no rows"):
        check_people(laplace, people.clear())


def test_all_that_is_wrong_is_said_at_once(laplace, people):
    bad = _with(_with(_with(people, 0, "weight", -1.0), 5, "weight", math.nan), 9, "ezetimibe", "?").drop("ldl")
    with pytest.raises(PopulationError) as refused:
        check_people(laplace, bad)
    found = str(refused.value).splitlines()
    assert len(found) == 4
    for place in ("row 1,", "row 6,", "row 10,", "column 'ldl'"):
        assert any(place in line for line in found)


BASELINE = """variable,level,statistic,value,unit,n,source
age,,mean,58,y,400,a made-up trial
age,,sd,9,y,400,a made-up trial
sex,female,percent,42,percent,400,a made-up trial
bmi,,mean,27.5,kg/m**2,400,a made-up trial
bmi,,sd,4,kg/m**2,400,a made-up trial
gfr,,median,85,mL/min,400,a made-up trial
"""


def _matching(laplace, folder: Path, size: int, **changes):
    """LAPLACE with its people matched to a baseline table, in a folder of its own."""
    (folder / "baseline.csv").write_text(BASELINE)
    covariates = {k: v for k, v in laplace.population.covariates.items() if k not in ("age", "female")}
    plan = Match(table=Path("baseline.csv"))
    study = _sized(laplace, size, covariates=covariates, match=plan, **changes)
    return study.model_copy(update={"root": folder})


def test_matched_people_have_the_published_baseline(laplace, tmp_path: Path):
    study = _matching(laplace, tmp_path, 1000)
    screening = sample_population(study)
    people, told = screening.people, screening.matching
    assert told is not None
    assert people.height == 1000
    assert told["pool"] == 20_000
    assert people["subject"].n_unique() == 1000
    error = 4 / math.sqrt(1000)
    assert people["age"].mean() == pytest.approx(58, abs=9 * error)
    assert people["age"].std() == pytest.approx(9, rel=error)
    assert (people["sex"] == "female").mean() == pytest.approx(0.42, abs=0.5 * error)
    assert people["bmi"].mean() == pytest.approx(27.5, abs=4 * error)
    assert (people["gfr"] <= 85).mean() == pytest.approx(0.5, abs=0.5 * error)
    for row in told["rows"]:  # weights meet the table exactly; the draw, by chance
        assert abs(row["difference_after"]) < 1e-6, row["target"]
    assert any(abs(row["difference_before"]) > 0.5 for row in told["rows"])


def test_matched_people_are_people_of_the_pool(laplace, tmp_path: Path, evolocumab):
    study = _matching(laplace, tmp_path, 100)
    people = sample_population(study).people
    whole = _candidates(study, evolocumab, people["subject"].to_list())
    assert whole.equals(people.select(whole.columns))
    masses = people.select(pl.sum_horizontal(pl.col("^mass_.*$"))).to_series()
    assert masses.to_numpy() == pytest.approx(people["weight"].to_numpy(), abs=1e-9)


def test_a_baseline_that_the_pool_cannot_have_is_refused_by_name(laplace, tmp_path: Path):
    study = _matching(laplace, tmp_path, 50)
    (tmp_path / "baseline.csv").write_text(BASELINE.replace("bmi,,mean,27.5", "bmi,,mean,75"))
    with pytest.raises(MatchingError, match="bmi: mean 75"):
        sample_population(study)


def test_people_with_a_condition_have_it_and_are_closed(laplace):
    study = _sized(laplace, 300, conditions=["heart_failure=III", "ckd=4"])
    people = sample_population(study).people
    assert people["gfr"].is_between(15, 30).all()
    flows = people.select(pl.sum_horizontal(pl.col("^flow_.*$"))).to_series()
    assert flows.to_numpy() == pytest.approx(people["cardiac_output"].to_numpy(), rel=1e-9)


def test_who_cannot_have_a_condition_is_turned_away_and_counted(laplace):
    study = _sized(laplace, 200, conditions=["pregnancy=20"], eligibility=[criterion("sex == female")])
    screening = sample_population(study)
    people = screening.people
    assert people["age"].is_between(15, 50).all()
    assert (people["sex"] == "female").all()
    assert screening.screened == 200 + sum(screening.excluded.values())
    assert screening.excluded["pregnancy: they are men"] > 0


def test_a_model_may_ask_for_an_organ_a_gene_or_a_partition_coefficient(linear, tmp_path: Path):
    """Columns of the source reach the model by their names, with their levels."""
    people = pl.DataFrame(next(source("us").tables(1, 50)))

    class Covariates(Record):
        mass_liver: Scalar = quantity("kg", "liver")
        CYP2D6_phenotype: Scalar = category("PM", "IM", "NM", "UM", about="phenotype")

    asking = linear.__class__(**{**vars(linear), "covariates": Covariates})
    x = covariates_of(asking, people)
    assert x.mass_liver.tolist() == people["mass_liver"].to_list()
    assert [("PM", "IM", "NM", "UM")[i] for i in x.CYP2D6_phenotype] == people["CYP2D6_phenotype"].to_list()


def test_every_column_of_enrolled_people_has_unit_and_source(laplace, people):
    """What the trial says of its own people carries the trial's source, all else the source's."""
    columns = columns_of(laplace)
    assert ["subject", *columns] == people.columns
    assert columns["sex"].source == laplace.population.covariates["female"].source
    assert columns["ldl"].unit == "mg/dL"
    assert columns["statin"].levels == ("no", "yes")
    assert columns["height"].source.startswith("NHANES")
    assert all(column.source for column in columns.values())
