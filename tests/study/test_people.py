"""What a study may say of its people: source, conditions, a compound, a published baseline; and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cohort.population.sources import source
from cohort.study import CriterionError, Problem, criteria_of, fingerprint, read_study, source_of

SOURCE = "  source: us "
WRONG = {
    "unknown condition": ("  conditions: [ckt=4]\n", "population", "no condition is called 'ckt'; did you mean 'ckd'?"),
    "unknown stage": ("  conditions: [ckd=7]\n", "population", "'7' is no value of ckd; write ckd=3, one of 3,"),
    "pregnant men": (
        "  conditions: [pregnancy=20]\n",
        "population.conditions.0",
        "men are drawn as well; add the criterion sex == female",
    ),
    "two ages": ("  conditions: [elderly=65-90]\n", "population.conditions.0", "the covariates say it otherwise"),
    "people of a file without the file": ("  people: nobody.csv\n", "population", "write both, or neither"),
    "unknown set of enzymes": ("  abundances: guess\n", "population", "'guess' is not a set of abundances"),
    "no baseline table": (
        "  match: {table: nowhere.csv}\n",
        "population.match.table",
        "there is no file 'nowhere.csv'; write a path below the project's root",
    ),
    "an impossible table": (
        "  match: {table: config/bad.csv}\n",
        "population.match.table",
        "config/bad.csv:2, value: age: mean 85 y lies outside the criterion '18 y <= age <= 80 y'",
    ),
    "a pool smaller than the cohort": (
        "  match: {table: config/bad.csv, pool: 1}\n",
        "population.match.pool",
        "at least 2",
    ),
    "weight as a covariate": (
        ("  covariates:\n", "  covariates:\n    weight: {mean: 80 kg, sd: 10 kg, source: x}\n"),
        "population.covariates.weight",
        "hangs together with other columns of the source; match it",
    ),
}
TABLE = "variable,level,statistic,value,unit,n,source\nage,,mean,85,y,100,made up\nbmi,,sd,0,kg/m**2,100,made up\n"


@pytest.mark.parametrize("case", WRONG)
def test_people_that_cannot_be_are_refused(problems: Callable[..., list[Problem]], folder: Path, case: str):
    (folder / "config/bad.csv").write_text(TABLE)
    edit, key, message = WRONG[case]
    found = problems(edit if isinstance(edit, tuple) else (SOURCE, edit + SOURCE))
    assert any(p.key == key and message in p.message for p in found), "\n".join(map(str, found))


def test_everything_wrong_with_a_baseline_table_is_said_at_once(problems: Callable[..., list[Problem]], folder: Path):
    (folder / "config/bad.csv").write_text(TABLE)
    found = problems((SOURCE, "  match: {table: config/bad.csv}\n" + SOURCE))
    assert len([p for p in found if p.key == "population.match.table"]) == 2


def test_conditions_and_a_compound_make_the_source(edited: Callable[..., Path], root: Path, folder: Path):
    plain = source("us")
    path = edited((SOURCE, "  conditions: [ckd=4]\n" + SOURCE))
    assert source_of(read_study(path)).columns["gfr"].source.startswith("KDIGO stage")
    assert fingerprint(read_study(path)) != fingerprint(read_study(root / "config/studies/laplace.yaml"))
    assert set(plain.columns) == set(source_of(read_study(path)).columns)


def test_a_source_without_the_new_keys_keeps_its_fingerprint(root: Path):
    """Registered predictions name it: keys added to the schema later leave it alone."""
    assert fingerprint(read_study(root / "config/studies/mendel.yaml")).startswith("a29559d83259")
    assert fingerprint(read_study(root / "config/studies/yukawa.yaml")).startswith("85329691e6b5")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["age >= 70 y", "age < 60 y"], "age has no value left"),
        (["hight > 3 cm"], "'hight' in 'hight > 3 cm' is no column; did you mean 'height'?"),
        (["weight > 60 y"], "weight is in kg"),
        (["sex == woman"], "'woman' is no level of sex; write one of male, female"),
        (["sex == male", "sex == female"], "keep one level"),
        (["weight > 60"], "'60' in 'weight > 60' is not a number with a unit"),
        (["gfr == male"], "gfr is a quantity in mL/min"),
    ],
)
def test_criteria_that_contradict_or_make_no_sense_are_refused(texts: list[str], said: str):
    with pytest.raises(CriterionError) as refused:
        criteria_of(texts, source("us").columns)
    assert said in str(refused.value)


def test_men_are_not_drawn_for_a_pregnancy():
    with pytest.raises(CriterionError, match="add the criterion sex == female"):
        criteria_of([], source("us").columns, ["pregnancy=20"])
    assert criteria_of(["sex == female"], source("us").columns, ["pregnancy=20"])
