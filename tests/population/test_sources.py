"""Sources of people: what each makes, that a person is the same in any company, and what goes with what.

References
----------
[1] NHANES 2013-2018, ages 20-79: correlation of ln height and ln weight 0.423 (men), 0.278 (women); of height and body
    mass index 0.061 and -0.055 (our fit of the survey).
[2] Achour et al. 2014: correlations of enzymes in livers, CYP3A4 with 2C8 0.68, 2C9 0.55; 2C8 with 2C9 0.55.
[3] Renal parenchymal volume by CT in 224 kidney donors: with body surface r 0.68, with measured GFR r 0.62.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.population import table
from cohort.population.causal import Columns
from cohort.population.circulation import FLOWS
from cohort.population.growth import growth
from cohort.population.sources import BLOCK, NAMES, Source, SourceError, names, source
from cohort.streams import streams
from cohort.units import unit

ALL = [name for name in NAMES if name != "resample"]  # which needs a file: test_resample.py
ADULTS = ("us", "europe", "japan")
DATA = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared" / "data")
MEN, WOMEN = 0, 1

type People = dict[str, np.ndarray]


def people_of(made: Source, subjects: list[str], seed: int = 1) -> People:
    return made.people(streams(seed, "population", subjects))


@pytest.fixture(params=ALL)
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """Every source in turn. The standards of the WHO are not shipped."""
    if request.param == "who_children":
        if not (DATA / "population" / "lms_who_wt_for_age_boys.csv").is_file():
            pytest.skip("the WHO standards are not shipped, and COHORT_DATA has none")
        monkeypatch.setenv("COHORT_DATA", str(DATA))
    yield source(request.param)
    growth.cache_clear()


@pytest.fixture(scope="module")
def us() -> People:
    return people_of(source("us"), names(0, 20_000))


# ---------------------------------------------------------------- what is made


def test_every_source_makes_people(made: Source):
    people = people_of(made, names(0, 2000))
    assert list(people) == list(made.columns)
    assert 0.4 < np.mean(people["sex"]) < 0.6
    for column, values in people.items():
        assert values.shape == (2000,), column
        assert np.isfinite(values).all(), column
        if levels := made.columns[column].levels:
            assert np.issubdtype(values.dtype, np.integer), column
            assert (values.min() >= 0) & (values.max() < len(levels)), column


def test_everyone_closes(made: Source):
    x = people_of(made, names(0, 5000))
    for kind, whole in (("mass_", "weight"), ("flow_", "cardiac_output"), ("blood_", "volume_blood")):
        parts = sum(x[c] for c in x if c.startswith(kind))
        np.testing.assert_allclose(parts, x[whole], atol=1e-9, rtol=0, err_msg=whole)


def test_every_column_has_a_unit_a_meaning_and_a_source(made: Source):
    for column, told in made.columns.items():
        unit(told.unit)  # refuses what pint does not read
        assert told.about.strip(), column
        assert told.source.strip(), column
        assert len(set(told.levels)) == len(told.levels) != 1 or column == "ancestry", column
    assert made.about.strip()


def test_columns_are_in_the_units_of_the_field():
    expected = {"mass_": "kg", "volume_": "L", "blood_": "L", "flow_": "L/h", "abundance_": "pmol/mg"}
    single = {"age": "y", "height": "cm", "weight": "kg", "creatinine": "mg/dL", "albumin": "g/L", "haematocrit": "1"}
    for column, told in source("us").columns.items():
        for start, text in expected.items():
            if column.startswith(start):
                assert told.unit == text, column
        assert told.unit == single.get(column, told.unit), column


def test_all_adults_have_the_same_columns():
    first, *others = (source(name).columns for name in ADULTS)
    for columns in others:
        assert set(columns) == set(first)
        assert all(columns[c].unit == first[c].unit for c in first)


def test_people_are_of_the_ages_of_the_source(made: Source):
    age = people_of(made, names(0, 5000))["age"]
    first, last = made.ages
    assert ((age >= first) & (age < last)).all()
    assert age.min() < first + 0.05 * (last - first)
    assert age.max() > last - 0.05 * (last - first)


@pytest.mark.parametrize("name", ADULTS)
def test_ages_outside_the_source_are_flagged(name: str):
    made, ages = source(name), np.array([17.9, 18.0, 50.0, 79.9, 80.0, 89.0])
    x = made.people(streams(1, "population", names(0, 6)), {"age": ages})
    assert x["age_outside_source"].tolist() == [1, 0, 0, 0, 1, 1]
    np.testing.assert_array_equal(x["age"], ages)


def test_what_is_given_stays():
    made, n = source("us"), 500
    known = {"sex": np.full(n, WOMEN), "age": np.full(n, 40.0), "creatinine": np.full(n, 1.0)}
    x = made.people(streams(1, "population", names(0, n)), known)
    for column, values in known.items():
        np.testing.assert_array_equal(x[column], values)
    # 142 × 1.012 × (1.0 / 0.7)^-1.2 × 0.9938^40
    np.testing.assert_allclose(x["gfr"], 73.03, atol=0.01)


def test_a_source_that_is_not_known_is_refused():
    with pytest.raises(SourceError, match="'uk' is no source of people; write one of us, europe, japan"):
        source("uk")
    with pytest.raises(SourceError, match="resample takes the people of a file"):
        source("resample")
    with pytest.raises(SourceError, match="resample takes the people of a file"):
        source("us", people=Path("people.csv"))


# ---------------------------------------------------------------- the same in any company


def test_a_person_is_the_same_in_any_company(made: Source):
    subjects = names(0, 300)
    together = people_of(made, subjects)
    backwards = people_of(made, subjects[::-1])
    for column, values in together.items():
        np.testing.assert_array_equal(backwards[column][::-1], values, err_msg=column)
    for i in (0, 7, 299):
        alone = people_of(made, [subjects[i]])
        assert all(alone[c][0] == together[c][i] for c in together)


@given(picked=st.lists(st.integers(0, 199), min_size=1, max_size=40))
def test_any_few_of_the_people_are_the_same_people(picked: list[int]):
    subjects = names(0, 200)
    together = people_of(source("us"), subjects)
    few = people_of(source("us"), [subjects[i] for i in picked])
    for column, values in few.items():
        np.testing.assert_array_equal(values, together[column][picked], err_msg=column)


def test_blocks_change_nobody():
    made, size = source("us"), BLOCK + 100
    rows = pa.concat_tables(made.tables(3, size))
    assert rows.column("subject").to_pylist() == names(0, size)
    across = people_of(made, names(BLOCK - 50, 100), seed=3)  # half in the first block, half in the next
    for column in ("weight", "mass_liver", "flow_kidney", "abundance_CYP3A4"):
        np.testing.assert_array_equal(rows.column(column).to_numpy()[BLOCK - 50 : BLOCK + 50], across[column])
    fewer = pa.concat_tables(made.tables(3, 64))
    assert fewer.equals(rows.slice(0, 64))


def test_the_seed_makes_other_people(us: People):
    other = people_of(source("us"), names(0, 20_000), seed=2)
    assert not np.isin(other["height"], us["height"]).any()
    assert abs(np.corrcoef(us["height"], other["height"])[0, 1]) < 0.03


def test_sex_and_age_do_not_depend_on_what_else_is_asked(us: People):
    """By which people are refused before the rest of them is made."""
    own = streams(1, "population", names(0, 100))
    part = source("us").chain.upto("sex", "age").people(lambda name: own.normal(name)[:, 0])
    assert "height" not in part
    for column, values in part.items():
        np.testing.assert_array_equal(values, us[column][:100], err_msg=column)


def test_asking_for_less_changes_nothing(us: People):
    """A person does not depend on which columns are made."""
    own = streams(1, "population", names(0, 100))
    part = source("us").chain.upto("mass_liver", "CYP2D6").people(lambda name: own.normal(name)[:, 0])
    assert "aag" not in part
    for column, values in part.items():
        np.testing.assert_array_equal(values, us[column][:100], err_msg=column)


# ---------------------------------------------------------------- conditions


def test_pregnancy_refuses_men():
    made, own = source("us", conditions=["pregnancy=20"]), streams(1, "population", names(0, 2000))
    assert made.conditional
    who = people_of(source("us"), names(0, 2000))
    reasons = made.refused(own)
    unfit = (who["sex"] == MEN) | (who["age"] < 15) | (who["age"] > 50)
    assert ((reasons != "") == unfit).all()
    assert set(reasons[who["sex"] == MEN]) <= {"pregnancy: they are men", "pregnancy: they are not 15 to 50 y"}
    assert (reasons[(who["sex"] == MEN) & (who["age"] < 50)] == "pregnancy: they are men").all()
    kept = made.people(own.of(reasons == ""))
    assert (kept["sex"] == WOMEN).all()
    assert len(kept["sex"]) > 300


def test_a_source_without_conditions_refuses_nobody():
    made = source("europe")
    assert not made.conditional
    assert (made.refused(streams(1, "population", names(0, 50))) == "").all()


@pytest.mark.parametrize("stack", [("obesity=2", "ckd=4"), ("child_pugh=B", "heart_failure=III", "ckd=3"), ("ckd=5",)])
@pytest.mark.parametrize("name", ADULTS)
def test_people_with_conditions_close(name: str, stack: tuple[str, ...]):
    made = source(name, conditions=stack)
    x = people_of(made, names(0, 2000))
    masses, flows = (sum(x[c] for c in x if c.startswith(kind)) for kind in ("mass_", "flow_"))
    np.testing.assert_allclose(masses, x["weight"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(flows, x["cardiac_output"], atol=1e-9, rtol=0)
    assert all((x[f"flow_{organ}"] > 0).all() for organ in FLOWS)


# ---------------------------------------------------------------- the file


def test_the_file_tells_unit_meaning_and_source(tmp_path: Path):
    made, file = source("us"), tmp_path / "people.parquet"
    rows = table.write(file, made.tables(1, 500), table.schema(made.columns, {"seed": "1"}))
    assert rows == 500
    schema = pq.read_schema(file)
    assert schema.names == ["subject", *made.columns]
    assert schema.metadata[b"seed"] == b"1"
    for name, column in made.columns.items():
        told = schema.field(name).metadata
        assert told[b"unit"].decode() == column.unit, name
        assert told[b"about"].decode() == column.about, name
        assert told[b"source"].decode() == column.source, name
        assert told.get(b"levels", b"").decode() == ", ".join(column.levels), name


def test_the_file_holds_the_people(tmp_path: Path):
    made, file = source("japan"), tmp_path / "people.parquet"
    table.write(file, made.tables(1, 500), table.schema(made.columns))
    rows, people = pq.read_table(file), people_of(made, names(0, 500))
    for name, column in made.columns.items():
        read = rows.column(name).to_pylist()
        if column.levels:
            assert read == [column.levels[i] for i in people[name]], name
        else:
            np.testing.assert_array_equal(read, people[name], err_msg=name)


# ---------------------------------------------------------------- what goes with what


def of_sex(people: Columns, sex: int) -> People:
    return {name: values[people["sex"] == sex] for name, values in people.items()}


def r(x: Columns, a: str, b: str) -> float:
    return float(np.corrcoef(x[a], x[b])[0, 1])


@pytest.mark.parametrize("sex", [MEN, WOMEN])
@pytest.mark.parametrize(
    ("a", "b", "sign"),
    [
        ("height", "weight", 1),
        ("weight", "fat_free_mass", 1),
        ("age", "cardiac_output", -1),
        ("age", "gfr", -1),
        ("age", "mass_muscle", -1),
        ("age", "mass_brain", -1),
        ("age", "fat_share", 1),
        ("age", "albumin", -1),
        ("bsa", "cardiac_output", 1),
        ("bsa", "mass_liver", 1),
        ("bsa", "measured_gfr", 1),
        ("bsa", "volume_blood", 1),
        ("mass_kidney", "gfr", 1),
        ("age", "hypertension", 1),
        ("bmi", "diabetes", 1),
    ],
)
def test_columns_go_together_in_the_right_direction(us: People, sex: int, a: str, b: str, sign: int):
    x = of_sex(us, sex)
    x["fat_share"] = 1 - x["fat_free_mass"] / x["weight"]
    assert sign * r(x, a, b) > 0.03  # three standard errors


def test_haematocrit_falls_with_age_in_men_and_rises_in_women(us: People):
    """NHANES: by 0.34 a decade in men; in women up, after the menopause."""
    assert r(of_sex(us, MEN), "age", "haematocrit") < -0.1
    assert r(of_sex(us, WOMEN), "age", "haematocrit") > 0.05


def test_who_has_more_muscle_has_more_creatinine(us: People):
    """Between the sexes; within one they are drawn apart."""
    assert r(us, "mass_muscle", "creatinine") > 0.2


def test_height_and_body_mass_go_together_as_in_the_survey(us: People):
    for sex, weight, index in ((MEN, 0.423, 0.061), (WOMEN, 0.278, -0.055)):
        x = of_sex(us, sex)
        logarithms = {name: np.log(x[name]) for name in ("height", "weight")}
        assert r(logarithms, "height", "weight") == pytest.approx(weight, abs=0.1)  # [1]
        assert r(x, "height", "bmi") == pytest.approx(index, abs=0.1)


@pytest.mark.parametrize(("a", "b", "target"), [("3A4", "2C8", 0.68), ("3A4", "2C9", 0.55), ("2C8", "2C9", 0.55)])
def test_enzymes_go_together_as_in_livers(us: People, a: str, b: str, target: float):
    """[2], by ranks."""
    ranks = {name: np.argsort(np.argsort(us[f"abundance_CYP{name}"])) for name in (a, b)}
    assert r(ranks, a, b) == pytest.approx(target, abs=0.1)


def test_smokers_have_more_cyp1a2(us: People):
    never, now = (np.median(us["abundance_CYP1A2"][us["smoking"] == level]) for level in (0, 2))
    assert 1.4 < now / never < 1.8


def test_genes_go_with_ancestry(us: People):
    """CYP3A5 is expressed in 10 % of Europeans and 79 % of Africans."""
    levels = source("us").columns["CYP3A5_phenotype"].levels
    ancestry = source("us").columns["genetic_ancestry"].levels
    poor = us["CYP3A5_phenotype"] == levels.index("PM")
    for group, share in (("EUR", 0.90), ("AFR", 0.21)):
        assert poor[us["genetic_ancestry"] == ancestry.index(group)].mean() == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize(("b", "target"), [("bsa", 0.68), ("measured_gfr", 0.62)])
def test_kidneys_go_with_size_and_function(us: People, b: str, target: float):
    """[3], donors below 65 y."""
    x = {name: values[us["age"] < 65] for name, values in us.items()}
    assert r(x, "mass_kidney", b) == pytest.approx(target, abs=0.1)
