"""What a file says of one person: read in the columns' units, or refused with everything wrong."""

from pathlib import Path

import pytest

from cohort.population.person import PersonError, read_person
from cohort.population.twin import Known

GOOD = """
source: us
given: {sex: female, ancestry: non-Hispanic White, age: 60 y}
known:
  height: 1.58 m
  haematocrit: 0.41
  creatinine: {value: 11 mg/L, sd: 0.6 mg/L}
"""


def _read(folder: Path, text: str):
    path = folder / "person.yaml"
    path.write_text(text)
    return read_person(path)


def test_values_are_read_in_the_units_of_the_columns(tmp_path: Path):
    person = _read(tmp_path, GOOD)
    assert person.source.name == "us"
    assert person.given == {"sex": "female", "ancestry": "non-Hispanic White", "age": 60.0}
    assert person.known["height"].value == pytest.approx(158)
    assert person.known["haematocrit"] == Known(0.41)
    assert person.known["creatinine"].value == pytest.approx(1.1)
    assert person.known["creatinine"].sd == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("source: us", "source: uk", "source: 'uk' is no source of people"),
        ("source: us", "source: us\nconditions: [ckt=4]", "conditions: 'ckt=4': no condition is called 'ckt'"),
        ("known:", "knwon:", "knwon: unknown key; did you mean 'known'?"),
        ("sex: female", "sex: woman", "given.sex: 'woman'; write one of male, female"),
        ("age: 60 y", "age: 60 kg", "given.age: kg cannot be written in y; write it in y"),
        ("age: 60 y", "age: 60", "given.age: 60; write a number with its unit, y"),
        ("height:", "hight:", "known.hight: no column of the source; did you mean 'height'?"),
        ("sd: 0.6 mg/L", "error: 0.6 mg/L", "known.creatinine.error: unknown key"),
        ("{value: 11 mg/L, sd: 0.6 mg/L}", "{sd: 0.6 mg/L}", "known.creatinine: the value is missing"),
        ("0.41", "high", "known.haematocrit: 'high'; write a number"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, said: str):
    assert old in GOOD
    with pytest.raises(PersonError) as refused:
        _read(tmp_path, GOOD.replace(old, new))
    assert said in str(refused.value)


def test_everything_wrong_is_said_at_once(tmp_path: Path):
    text = GOOD.replace("female", "woman").replace("height:", "hight:").replace("0.41", "high")
    with pytest.raises(PersonError) as refused:
        _read(tmp_path, text)
    assert len(str(refused.value).splitlines()) == 3


def test_no_file_no_yaml_and_no_knowledge_are_refused(tmp_path: Path):
    with pytest.raises(PersonError, match="no such file"):
        read_person(tmp_path / "nobody.yaml")
    with pytest.raises(PersonError, match="not YAML"):
        _read(tmp_path, "source: [us")
    with pytest.raises(PersonError, match="at least one column"):
        _read(tmp_path, "source: us\n")
