"""Parameters of ADPP against the closed form of one compartment, subject by subject."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort.engine.subjects import individuals
from cohort.enrolment import covariates_of, sample_population
from cohort.export.adpp import adpp
from cohort.export.adsl import adsl
from cohort.export.consistency import refuse_inconsistent
from cohort.export.virtual import VirtualTrial, planned_tables
from cohort.library import load
from cohort.simulation import simulate
from cohort.streams import streams
from cohort.study import read_study
from cohort.trial import analysis_set

MODEL = '''
from cohort import Endpoint, Model, Record, Route, Scalar, fixed, last, lognormal, quantity


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))


class Parameters(Record):
    ka: Scalar = lognormal(2.0, "1/d", cv=0.3, about="absorption rate constant")
    f: Scalar = fixed(0.7, "1", about="bioavailability")
    cl: Scalar = lognormal(4.0, "L/d", cv=0.3, about="clearance")
    v: Scalar = lognormal(10.0, "L", cv=0.2, about="volume")


class State(Record):
    depot: Scalar = quantity("{state}", "under the skin")
    central: Scalar = quantity("{state}", "in plasma")


class Outputs(Record):
    c: Scalar = quantity("{unit}", "drug in plasma")


def ode(t: Scalar, y: State, p: Parameters) -> State:
    return State(depot=-p.ka * y.depot, central=p.ka * y.depot - p.cl / p.v * y.central)


def at_end(visits: Outputs) -> Scalar:
    """The concentration at the last visit."""
    return last(visits.c)


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="d",
    individual=lambda p, x: p,
    initial=lambda p: State(depot=0.0, central=0.0),
    ode=ode,
    observe=lambda t, y, p: Outputs(c=y.central / p.v),
    routes={{"sc": Route("depot", bioavailability="f"{mass}), "iv": Route("central"{mass})}},
    endpoints={{"at_end": Endpoint(at_end, unit="{unit}", about="concentration at the end")}},
)
'''
STUDY = """
title: Two routes
question: Are the parameters of each subject those of the model?
context_of_use: A test
model: ../../one.py
population: {source: us, size: 80, eligibility: [18 y <= age <= 65 y]}
conduct: {dropout: 0, source: by design}
arms:
  bolus: {n: 20, dose: 100 mg, route: iv, every: 24 d, for: 24 d}
  often: {n: 20, dose: 100 mg, route: iv, every: 4 d, for: 24 d}
  infused: {n: 20, dose: 100 mg, route: iv, every: 24 d, for: 24 d, over: 0.2 d}
  skin: {n: 20, dose: 100 mg, route: sc, every: 24 d, for: 24 d}
visits: [0 d, 0.1 d, 0.2 d, 0.4 d, 0.6 d, 0.8 d, 1 d, 1.5 d, 2 d, 3 d, 4 d, 6 d, 8 d, 10 d, 12 d, 16 d, 20 d, 20.5 d,
  21 d, 22 d, 23 d, 24 d]
endpoints: {at_end: {role: efficacy, better: higher}}
analysis: {draws: 16, discrepancy: 1 UNIT, arm_discrepancy: 1 UNIT, source: a test}
seed: 7
"""


@pytest.fixture(scope="module", params=["mg/L", "nM"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The values of ADPP by arm, interval and code, beside each subject's own parameters. A dose in mg enters a state
    in mg, or with the molar mass one in nmol; the clearance in L/d is the same."""
    folder: Path = tmp_path_factory.mktemp("one")
    molar = request.param == "nM"
    words = {"unit": request.param, "state": "nmol" if molar else "mg", "mass": ", molar_mass=50_000" if molar else ""}
    (folder / "config/studies").mkdir(parents=True)
    (folder / "one.py").write_text(MODEL.format(**words))
    (folder / "config/studies/one.yaml").write_text(STUDY.replace("UNIT", request.param))
    study = read_study(folder / "config/studies/one.yaml")
    model, people = load(study.model, study.path.parent), sample_population(study).people
    values = pl.DataFrame(
        {"draw": pl.Series([0, 1], dtype=pl.Int32), **{k: [v] * 2 for k, v in model.typical().items()}}
    )
    visits = simulate(study, people, values).filter(pl.col("draw") == 1)
    sets = analysis_set(study, model, visits, values)
    trial = VirtualTrial(study, model, 1, people, planned_tables(study, model, visits, values), sets)
    subjects = adsl(trial)
    made, absent = adpp(trial, subjects)
    assert made is not None
    assert absent == []
    refuse_inconsistent([subjects, made])
    ids = people["subject"].to_list()
    luck = streams(study.seed, "effects", ids)
    z = {name: luck.normal(name)[:, 0] for name in model.effects()}
    p = individuals(model, model.typical(), z, covariates_of(model, people), len(ids))
    own = pl.DataFrame({"SUBJID": ids, **{name: getattr(p, name) for name in ("ka", "cl", "v")}})
    return made.rows.join(own, on="SUBJID"), 100e6 / 50_000 if molar else 100.0


def of(found, arm: str, code: str, visit: int = 0) -> pl.DataFrame:
    rows = found[0].filter(pl.col("TRTP") == arm, pl.col("PARAMCD") == code, pl.col("AVISITN") == visit)
    assert rows.height == 20
    return rows


def test_after_a_bolus_area_clearance_volume_and_half_life_are_the_subjects_own(found):
    """The logarithmic rule and the line back to the dose are exact of a single exponential."""
    dose = found[1]
    for code, expected in (
        ("AUCIFO", dose / pl.col("cl")),
        ("CLO", pl.col("cl")),
        ("VZO", pl.col("v")),
        ("VSSO", pl.col("v")),
        ("LAMZHL", np.log(2) * pl.col("v") / pl.col("cl")),
        ("C0", dose / pl.col("v")),
    ):
        rows = of(found, "bolus", code)
        assert np.allclose(rows["AVAL"], rows.select(expected.alias("x"))["x"], rtol=1e-5), code
    assert np.std(of(found, "bolus", "CLO")["AVAL"].to_numpy()) > 0.5


def test_an_absorbed_dose_has_the_area_of_what_arrives(found):
    rows = of(found, "skin", "AUCIFO")
    assert np.allclose(rows["AVAL"], 0.7 * found[1] / rows["cl"], rtol=0.02)
    clearance = of(found, "skin", "CLFO")
    assert np.allclose(clearance["AVAL"], clearance["cl"] / 0.7, rtol=0.02)
    peak = of(found, "skin", "TMAX")
    k = peak["cl"] / peak["v"]
    assert (abs(peak["AVAL"] - np.log(peak["ka"] / k) / (peak["ka"] - k)) < 0.5).all()


def test_an_infusion_has_the_area_and_clearance_of_a_dose_into_the_blood(found):
    """Its mean residence time is that of a bolus: half the infusion's length is taken off."""
    rows = of(found, "infused", "AUCIFO")
    assert np.allclose(rows["AVAL"], found[1] / rows["cl"], rtol=0.02)
    assert np.allclose(of(found, "infused", "CLO")["AVAL"], rows["cl"], rtol=0.02)
    stay = of(found, "infused", "MRTIVIFO")
    assert np.allclose(stay["AVAL"], stay["v"] / stay["cl"], rtol=0.03)


def test_of_many_doses_the_first_interval_and_the_last_are_there(found):
    """A dose every 4 d: the first area is what is eliminated till the next; the sixth's nearly that of a whole dose."""
    first = of(found, "often", "AUCTAU", 1)
    gone = 1 - np.exp(-4 * first["cl"].to_numpy() / first["v"].to_numpy())
    assert np.allclose(first["AVAL"], found[1] / first["cl"].to_numpy() * gone, rtol=1e-5)
    later = of(found, "often", "AUCTAU", 2)
    kept = np.exp(-24 * later["cl"].to_numpy() / later["v"].to_numpy())
    assert np.allclose(later["AVAL"], found[1] / later["cl"].to_numpy() * (1 - kept), rtol=1e-5)
    clearance = of(found, "often", "CLTAU", 2)
    assert np.allclose(clearance["AVAL"], clearance["cl"], rtol=0.05)
    assert found[0].filter(pl.col("PARAMCD") == "CLTAU", pl.col("AVISITN") == 1).height == 0


def test_units_are_those_of_concentration_and_day(found):
    units = dict(found[0].select("PARAMCD", "AVALU").unique().rows())
    unit = "mg/L" if found[1] == 100 else "nM"
    assert units["AUCTAU"] == f"d*{unit}"
    assert units["CMAX"] == unit
    assert units["CLO"] == units["CLFO"] == "L/d"
