"""Covariates that an arm sets: what is read, what is refused, and who then has them.

The model's only state rises by `exposure` times `size` a day in readers of six, twice as fast in readers of three, so
that every visit can be computed by hand.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.enrolment import columns_read, covariates_of, sample_population
from cohort.export.virtual import VirtualTrial
from cohort.library import load
from cohort.simulation import simulate
from cohort.study import Study, StudyError, fingerprint, read_study
from cohort.trial.tables import tables

MODEL = """
import jax.numpy as jnp

from cohort import Endpoint, Model, Record, Route, Scalar, category, fixed, last, quantity


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))
    exposure: Scalar = quantity("1", "multiple of the usual concentration", plausible=(0, 50))
    reading: Scalar = category("six_spans", "three_spans", about="how the chain is read")


class Parameters(Record):
    speed: Scalar = fixed(1.0, "1/d", about="of the rise", source="test")


class State(Record):
    level: Scalar = quantity("1", "what rises")


class Outputs(Record):
    level: Scalar = quantity("1", "what rises")


def individual(p, x):
    return p.replace(speed=p.speed * x.exposure * jnp.array([1.0, 2.0])[x.reading] * x.weight / 70)


def initial(p):
    return State(level=0.0)


def ode(t, y, p):
    return State(level=p.speed)


def observe(t, y, p):
    return Outputs(level=y.level)


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="d",
    individual=individual,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={"iv": Route("level")},
    endpoints={"level": Endpoint(lambda out: last(out.level), unit="1", about="at the last visit")},
)
"""

STUDY = """
title: Settings
question: What do these arms do?
context_of_use: A test
model: mine.py
population:
  source: us
  size: 40
  covariates: {COVARIATES}
  eligibility: [ELIGIBILITY]
conduct: {dropout: 0.0, source: by designCONDUCT}
arms:
ARMS
visits: [0 d, 1 d, 3 d]
endpoints:
  level: {role: efficacy, better: lower}
analysis: {draws: 16, discrepancy: 5 percent, arm_discrepancy: 5 percent, max_failed_fraction: 0, source: assumption}
seed: 7
"""
EXPOSURE = "exposure: {mean: 2 dimensionless, sd: 0.5 dimensionless, source: test}"
SIX, THREE = "{exposure: 2, reading: six_spans}", "{exposure: 3, reading: three_spans}"

type Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a study with these arms, each by what it sets, and its model."""

    def write(*sets: str, covariates: str = "", eligibility: str = "", conduct: str = "") -> Path:
        (tmp_path / "mine.py").write_text(MODEL)
        arms = "\n".join(f"  arm_{i}: {{n: 10{', sets: ' + given if given else ''}}}" for i, given in enumerate(sets))
        text = STUDY.replace("COVARIATES", covariates).replace("ARMS", arms).replace("ELIGIBILITY", eligibility)
        path = tmp_path / "study.yaml"
        path.write_text(text.replace("CONDUCT", conduct).replace("percent", "dimensionless"))
        return path

    return write


@pytest.fixture
def two(write: Write) -> Study:
    return read_study(write(SIX, THREE))


# --- what is read ----------------------------------------------------------------------------------------------------


def test_what_an_arm_sets_is_part_of_its_treatment(two: Study):
    assert two.arms["arm_0"].treatment == {"sets": {"exposure": "2", "reading": "six_spans"}, **_nothing()}
    assert two.arms["arm_0"].treatment != two.arms["arm_1"].treatment


def _nothing() -> dict[str, None]:
    return dict.fromkeys(["dose", "route", "every", "duration"])


def test_what_an_arm_sets_is_part_of_the_fingerprint(write: Write):
    first, second = read_study(write(SIX, THREE)), read_study(write(SIX, THREE.replace("3,", "4,")))
    assert fingerprint(first) != fingerprint(second)


WRONG = {
    "unknown": ("{exposre: 2}", "exposre", "'exposre' is no covariate of the model; did you mean 'exposure'?"),
    "level": ("{reading: six_span}", "reading", "'six_span' is no level of reading; write one of six_spans, three_"),
    "number for a level": ("{reading: 2}", "reading", "'2' is no level of reading; write one of"),
    "word for a number": ("{exposure: high}", "exposure", "'high' is not a plain number; write such as 2"),
    "unit of a plain number": ("{exposure: 2 kg}", "exposure", "'2 kg' is not a plain number; write such as 2"),
    "another unit": ("{weight: 2 cm}", "weight", "'2 cm' is not a quantity in kg; write such as 2 kg"),
    "no unit": ("{weight: 70}", "weight", "'70' is not a quantity in kg; write such as 2 kg"),
    "implausible": ("{exposure: 51}", "exposure", "'51' is not plausible; write one within 0 to 50 1"),
    "yes or no": ("{exposure: true}", "exposure", "True is no value of a covariate; write such as 2, 70 kg or the"),
    "nothing": ("{exposure: ''}", "exposure", "'' is no value of a covariate; write such as 2, 70 kg or the word"),
    "infinite": ("{exposure: .inf}", "exposure", "'.inf' is not a plain number; write such as 2"),
    "a list": ("{exposure: [1, 2]}", "exposure", "[1, 2] is no value of a covariate; write such as 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_set_is_refused_by_its_place(write: Write, case: str):
    given, key, message = WRONG[case]
    with pytest.raises(StudyError) as refused:
        read_study(write(SIX, given, covariates=EXPOSURE))
    found = [p for p in refused.value.problems if p.key.startswith("arms")]
    assert [p.key for p in found] == [f"arms.arm_1.sets.{key}"]
    assert found[0].message.startswith(message)


def test_no_mapping_is_refused(write: Write):
    with pytest.raises(StudyError, match=r"arms.arm_1.sets: found 'high'; write keys and values below it"):
        read_study(write(SIX, "high"))


def test_arms_that_set_the_same_are_one(write: Write):
    with pytest.raises(StudyError, match=r"arms\.arm_1: is the same as 'arm_0'; write each arm once"):
        read_study(write(SIX, SIX))


def test_a_covariate_that_one_arm_leaves_open_is_the_peoples_own(write: Write):
    with pytest.raises(StudyError, match=r"the model needs 'exposure' \(1\) and the source lacks it; add it"):
        read_study(write(SIX, "{reading: three_spans}"))


def test_a_criterion_on_what_people_do_not_have_is_refused(write: Write):
    with pytest.raises(StudyError, match="'exposure' in 'exposure >= 1 dimensionless' is no column"):
        read_study(write(SIX, THREE, eligibility="'exposure >= 1 dimensionless'"))
    with pytest.raises(StudyError, match="'reading' is no column of people"):
        read_study(write(SIX, THREE, conduct=", allocation: {blocks: 2, strata: [reading]}"))


# --- who has it ------------------------------------------------------------------------------------------------------


def _at_mean(visits: pl.DataFrame, arm: str) -> np.ndarray:
    return visits.filter(pl.col("arm") == arm, pl.col("draw") == 0)["level"].to_numpy().reshape(-1, 3)


def test_a_covariate_that_every_arm_sets_is_no_column_of_people(two: Study):
    people = sample_population(two).people
    assert not {"exposure", "reading"} & set(people.columns)
    assert columns_read(two) == ["weight"]


def test_everyone_in_the_arm_has_it(two: Study):
    people = sample_population(two).people
    visits, weight = simulate(two, people), people["weight"].to_numpy()
    assert _at_mean(visits, "arm_0") == pytest.approx(np.outer(weight / 70, [0, 2, 6]))
    assert _at_mean(visits, "arm_1") == pytest.approx(np.outer(weight / 70, [0, 6, 18]))


def test_in_an_arm_that_sets_nothing_people_have_their_own(write: Write):
    study = read_study(
        write("{reading: six_spans}", "{exposure: 5, reading: six_spans, weight: 140 kg}", covariates=EXPOSURE)
    )
    people = sample_population(study).people
    visits, own = simulate(study, people), people["exposure"].to_numpy()
    assert own.std() > 0.1
    assert _at_mean(visits, "arm_0")[:, 1] == pytest.approx(own * people["weight"].to_numpy() / 70)
    assert _at_mean(visits, "arm_1")[:, 1] == pytest.approx(np.full(40, 10.0))


def test_a_number_is_set_in_the_models_unit(write: Write):
    study = read_study(write("{exposure: 1, reading: six_spans, weight: 140000 g}", SIX))
    visits = simulate(study, sample_population(study).people)
    assert _at_mean(visits, "arm_0")[:, 1] == pytest.approx(np.full(40, 2.0))


def test_conducted_trials_and_what_is_exported_have_it_too(write: Write):
    study = read_study(write(SIX, THREE, conduct=", visits: {missed: 0.0, source: test}"))
    people, model = sample_population(study).people, load("mine.py", study.path.parent)
    parameters = pl.DataFrame({"draw": [0], **{name: [value] for name, value in model.typical().items()}})
    made = tables(study, people, parameters)
    lived = made["potential"].filter(pl.col("arm") == "arm_1", pl.col("visit_number") == 1)
    weight = dict(people.select("subject", "weight").rows())
    assert lived["lived_true"].to_list() == pytest.approx([6 * weight[s] / 70 for s in lived["subject"]])

    half = people["subject"].to_list()[:20]
    arms = pl.DataFrame(
        {"subject": people["subject"], "arm": ["arm_0" if s in half else "arm_1" for s in people["subject"]]}
    )
    trial = VirtualTrial(study, model, 1, people, {"subjects": arms}, pl.DataFrame())
    assert trial.treated.filter(pl.col("subject").is_in(half))["reading"].unique().to_list() == ["six_spans"]
    assert trial.treated["exposure"].to_list() == [2.0] * 20 + [3.0] * 20
    assert trial.individuals.speed == pytest.approx(
        [a * weight[s] / 70 for s, a in zip(people["subject"], [2.0] * 20 + [6.0] * 20, strict=True)]
    )


def test_settings_stand_for_columns_that_are_not_there(two: Study):
    model = load("mine.py", two.path.parent)
    x = covariates_of(model, pl.DataFrame({"weight": [70.0, 80.0]}), two.arms["arm_1"].sets)
    assert (x.exposure.tolist(), x.reading.tolist(), x.weight.tolist()) == ([3.0, 3.0], [1, 1], [70.0, 80.0])
