"""Doses that are no mass: a stimulus in mV enters a membrane, and what rests on doses knows their unit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.enrolment import sample_population
from cohort.report.figures.dose_response import dose_response
from cohort.simulation import simulate
from cohort.study import Study, StudyError, fingerprint, read_study
from cohort.trial.leaving import _being_given

MODEL = """
from cohort import Endpoint, Model, Record, Route, Scalar, fixed, last, quantity


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))


class Parameters(Record):
    rate: Scalar = fixed(0.5, "1/ms", about="of the return", source="test")


class State(Record):
    v: Scalar = quantity("mV", "potential above rest")
    drug: Scalar = quantity("mg", "drug")


class Outputs(Record):
    v: Scalar = quantity("mV", "potential above rest", plausible=(-1, 1000))


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="ms",
    individual=lambda p, x: p,
    initial=lambda p: State(v=0.0, drug=0.0),
    ode=lambda t, y, p: State(v=-p.rate * y.v, drug=-p.rate * y.drug),
    observe=lambda t, y, p: Outputs(v=y.v),
    routes={"stimulus": Route("v"), "iv": Route("drug")},
    endpoints={"v": Endpoint(lambda out: last(out.v), unit="mV", about="at the last visit")},
)
"""

STUDY = """
title: Doses
question: What does a stimulus do?
context_of_use: A test
model: mine.py
population: {source: us, size: 20, covariates: {}, eligibility: []}
conduct: {dropout: 0.0, source: by designCONDUCT}
arms:
  paced: {n: 10, dose: DOSE, route: stimulus, every: 10 ms, for: 20 ms}
  rest:  {n: 10MORE}
visits: [0 ms, {from: 1 ms, until: 3 ms, every: 1 ms}, 10 ms, 11 ms, 20 ms]
endpoints:
  v: {role: efficacy, better: lower}
analysis: {discrepancy: 5 mV, arm_discrepancy: 5 mV, max_failed_fraction: 0, source: assumption}
seed: 7
"""

type Write = Callable[..., Study]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(dose: str = "40 mV", more: str = "", conduct: str = "") -> Study:
        (tmp_path / "mine.py").write_text(MODEL)
        text = STUDY.replace("DOSE", dose).replace("MORE", more).replace("CONDUCT", conduct)
        (tmp_path / "study.yaml").write_text(text)
        return read_study(tmp_path / "study.yaml")

    return write


@pytest.mark.parametrize(("dose", "mv"), [("40 mV", 40.0), ("0.08 V", 80.0)])
def test_a_stimulus_raises_the_potential_by_its_size(write: Write, dose: str, mv: float):
    study = write(dose)
    rows = simulate(study, sample_population(study).people).filter(pl.col("arm") == "paced")
    v = rows["v"].to_numpy().reshape(20, -1)
    t = np.array([0, 1, 2, 3, 10, 11, 20.0])
    want = sum(np.where(t > begin, mv * np.exp(-0.5 * np.maximum(t - begin, 0)), 0.0) for begin in (0, 10))
    assert v == pytest.approx(np.tile(want, (20, 1)), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("dose", ["40 mg", "40 mA", "40 dimensionless"])
def test_a_stimulus_in_another_unit_is_refused_with_the_right_one(write: Write, dose: str):
    with pytest.raises(StudyError) as refused:
        write(dose)
    [found] = refused.value.problems
    assert found.key == "arms.paced.dose"
    assert found.message == f"'{dose}' does not measure v, which stimulus enters; write a number and mV"


def test_a_study_whose_doses_are_no_masses_has_their_unit(write: Write):
    assert write().dose_unit == "mV"
    assert write("0.04 V").dose_unit == "V"
    mixed = write(more=", dose: 5 g, route: iv, every: 10 ms, for: 20 ms")
    assert mixed.dose_unit is None
    assert fingerprint(mixed) != fingerprint(write())


def test_a_hazard_may_depend_on_the_stimulus_in_its_unit(write: Write):
    term = "{on: dose, log_hazard: 0.5, per: 10 PER, reference: 0 PER}"
    leaving = f", withdrawal: {{share: 0.1, depends: [{term}], source: test}}"
    study = write(conduct=leaving.replace("PER", "mV"))
    given = _being_given(study.arms["paced"].regimens, np.array([[0.0, 1e-7, 1.0]]), "mV")
    assert given.tolist() == [[40.0, 40.0, 0.0]]  # 20 ms are 2.3e-7 d
    with pytest.raises(StudyError, match="'10 mg' does not measure dose; write it in mV"):
        write(conduct=leaving.replace("PER", "mg"))
    with pytest.raises(StudyError, match="the doses of the arms do not measure one thing; write an output"):
        write(more=", dose: 5 mg, route: iv, every: 10 ms, for: 20 ms", conduct=leaving.replace("PER", "mV"))


def test_the_figure_of_dose_and_response_says_the_unit(write: Write):
    study, about = write(more=", dose: 5 g, route: iv, every: 10 ms, for: 20 ms"), {"kind": "mean", "se": 1.0}
    about |= {"low_0.95": 0.0, "high_0.95": 2.0, "predicted": 1.0, "predicted_sd": 0.5, "observed": 1.0}
    drawn = dose_response(study, [about | {"arm": arm} for arm in study.arms], "v", "mV")
    assert "dose (mV)" in drawn
    assert "dose (mg)" in drawn
