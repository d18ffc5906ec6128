"""A user's own people: drawn as they are, completed where they say nothing, refused where they make no sense."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.population.resample import PeopleError, read_people
from cohort.population.sources import SourceError, names, source
from cohort.streams import streams

GOOD = """subject,sex,age,height,weight,ancestry,ldl,site
0012,male,50,178,80,non-Hispanic White,130,north
0013,female,44,160,70,Other,150,south
0014,female,61.5,155,49.5,non-Hispanic Black,101,north
"""


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, name: str = "people.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def _people(path: Path, n: int) -> dict[str, np.ndarray]:
    return source("resample", people=path).people(streams(1, "population", names(0, n)))


def test_each_person_is_one_row_and_rows_are_drawn_evenly(written):
    people = _people(written(GOOD), 30_000)
    row = people["row"].astype(int)
    assert np.bincount(row, minlength=4)[1:] / 30_000 == pytest.approx([1 / 3] * 3, abs=4 * np.sqrt(2 / 9 / 30_000))
    for name, values in {"age": (50, 44, 61.5), "height": (178, 160, 155), "ldl": (130, 150, 101)}.items():
        assert (people[name] == np.array(values)[row - 1]).all()
    assert people["weight"] == pytest.approx(people["bmi"] * (people["height"] / 100) ** 2, rel=1e-12)


def test_what_the_file_lacks_is_made_for_the_person_of_the_row(written):
    people = _people(written(GOOD), 5000)
    masses = sum(v for k, v in people.items() if k.startswith("mass_"))
    assert masses == pytest.approx(people["weight"], abs=1e-9)
    assert len(set(people["creatinine"][people["row"] == 1])) > 1000  # it has its own spread
    heavy, light = (people["mass_liver"][people["row"] == r].mean() for r in (1, 3))
    assert heavy > light


def test_a_column_of_the_file_takes_the_place_of_the_equation(written):
    text = (
        GOOD.replace("site\n", "site,creatinine\n").replace("north\n", "north,2.5\n").replace("south\n", "south,0.7\n")
    )
    people = _people(written(text), 500)
    assert set(people["creatinine"]) == {2.5, 0.7}
    assert people["gfr"][people["row"] == 1].max() < 32  # CKD-EPI 2021 of 2.5 mg/dL, a man of 50 y: 30.6


def test_a_person_is_the_same_whatever_the_company(written):
    path = written(GOOD)
    many, few = _people(path, 500), _people(path, 7)
    assert all((few[name] == many[name][:7]).all() for name in few)


def test_parquet_keeps_ids_and_units(written, tmp_path: Path):
    frame = pl.read_csv(written(GOOD), schema_overrides={"subject": pl.String})
    frame.write_parquet(tmp_path / "people.parquet")
    columns = source("us").columns
    rows, extra = read_people(tmp_path / "people.parquet", columns)
    assert rows["age"].tolist() == [50, 44, 61.5]
    assert extra["site"].levels == ("north", "south")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0013,", "0012,", "row 2, column 'subject': the id of row 1 again; keep one"),
        ("0013,", " 0013,", "row 2, column 'subject': write an id without surrounding space"),
        ("0013,", ",", "row 2, column 'subject': write the subject's id"),
        (",44,", ",,", "row 2, column 'age': nothing; write a number in y"),
        (",44,", ",nan,", "row 2, column 'age': no finite number; write a number in y"),
        (",44,", ",inf,", "row 2, column 'age': "),
        (",44,", ",-44,", "row 2, column 'age': a number below 0; write one from 0 to 130"),
        ("female,44", "woman,44", "row 2, column 'sex': another text; write one of male, female"),
        (",Other,", ",Martian,", "row 2, column 'ancestry': another text; write one of Mexican American"),
        ("height,weight", "hight,weight", "column 'height' is missing; add it, or rename 'hight'"),
        (",70,", ",heavy,", "row 2, column 'weight': another text; write a number in kg"),
        (",ldl,", ",bmi,", "row 1, column 'bmi': a number; it does not follow from height and weight; mend one"),
    ],
)
def test_a_bad_cell_is_refused_by_row_and_column(written, old: str, new: str, said: str):
    assert old in GOOD
    with pytest.raises(PeopleError) as refused:
        source("resample", people=written(GOOD.replace(old, new, 1)))
    assert said in str(refused.value)


def test_a_pregnant_man_is_refused(written):
    text = GOOD.replace("site\n", "pregnant\n").replace("north", "yes").replace("south", "no")
    with pytest.raises(PeopleError, match="row 1, column 'pregnant': another text; a man is not; mend sex or pregnant"):
        source("resample", people=written(text))


def test_everything_wrong_is_said_at_once(written):
    text = GOOD.replace("female,44", "woman,44").replace(",61.5,", ",nan,").replace("0013", "0012")
    with pytest.raises(PeopleError) as refused:
        source("resample", people=written(text))
    assert len(str(refused.value).splitlines()) == 3


def test_no_people_and_no_such_file_are_refused(written, tmp_path: Path):
    with pytest.raises(PeopleError, match="there are no rows"):
        source("resample", people=written(GOOD.splitlines()[0] + "\n"))
    with pytest.raises(PeopleError, match="no such file"):
        source("resample", people=tmp_path / "nobody.csv")
    with pytest.raises(PeopleError, match=r"write people as \.csv or \.parquet"):
        source("resample", people=written(GOOD, "people.txt"))
    with pytest.raises(SourceError, match="write both, or neither"):
        source("resample")


def test_a_unit_that_the_column_is_not_in_is_refused(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = pl.read_csv(GOOD.encode(), schema_overrides={"subject": pl.String}).to_arrow()
    place = frame.schema.get_field_index("height")
    field = frame.schema.field("height").with_metadata({"unit": "m"})
    pq.write_table(frame.cast(pa.schema(frame.schema).set(place, field)), tmp_path / "people.parquet")
    with pytest.raises(PeopleError, match="column 'height' is in m; write it in cm"):
        source("resample", people=tmp_path / "people.parquet")


def test_a_condition_that_would_change_what_the_file_says_is_refused(written):
    with pytest.raises(SourceError, match="obesity would change bmi, which the file says"):
        source("resample", people=written(GOOD), conditions=["obesity=2"])
