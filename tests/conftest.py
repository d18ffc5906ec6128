"""What several tests share: the calibration study, two hundred of its people, and a model with a known solution."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from cohort.enrolment import sample_population
from cohort.library import load
from cohort.model import Model, Record, Route, Scalar, category, fixed, lognormal, quantity
from cohort.study import Study, read_study

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("cohort", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("cohort")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def laplace() -> Study:
    return read_study(ROOT / "config/studies/laplace.yaml")


@pytest.fixture(scope="session")
def evolocumab() -> Model:
    return load("evolocumab")


@pytest.fixture(scope="session")
def people(laplace: Study) -> pl.DataFrame:
    """Two hundred of LAPLACE's people."""
    population = laplace.population.model_copy(update={"size": 200})
    return sample_population(laplace.model_copy(update={"population": population})).people


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))
    sex: Scalar = category("male", "female", about="sex")


class Parameters(Record):
    ka: Scalar = lognormal(0.5, "1/d", cv=0.5, about="absorption rate constant")
    f: Scalar = fixed(0.7, "1", about="bioavailability")
    cl: Scalar = lognormal(2.0, "L/d", cv=0.3, about="clearance")
    v: Scalar = lognormal(10.0, "L", cv=0.2, about="volume")


class State(Record):
    depot: Scalar = quantity("mg", "under the skin")
    central: Scalar = quantity("mg", "in plasma")
    gone: Scalar = quantity("mg", "eliminated")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "concentration", plausible=(-1e-6, 1e6))
    total: Scalar = quantity("mg", "all of the drug, wherever it is")


def _ode(t: Scalar, y: State, p: Parameters) -> State:
    absorbed, eliminated = p.ka * y.depot, p.cl / p.v * y.central
    return State(depot=-absorbed, central=absorbed - eliminated, gone=eliminated)


@pytest.fixture(scope="session")
def linear() -> Model:
    """One compartment with first-order absorption, closed: what is eliminated is kept."""
    return Model(
        covariates=Covariates,
        parameters=Parameters,
        state=State,
        outputs=Outputs,
        time="d",
        individual=lambda p, x: p,
        initial=lambda p: State(depot=0.0, central=0.0, gone=0.0),
        ode=_ode,
        observe=lambda t, y, p: Outputs(c=y.central / p.v, total=y.depot + y.central + y.gone),
        routes={"sc": Route("depot", bioavailability="f"), "iv": Route("central")},
        endpoints={},
    )


@pytest.fixture(scope="session")
def subjects(linear: Model) -> Parameters:
    """Three hundred subjects of the linear model."""
    rng = np.random.default_rng(1)
    z = {name: rng.standard_normal(300) for name in linear.effects()}
    p = linear.subject(linear.typical(), z, Covariates(weight=np.full(300, 70.0), sex=np.zeros(300)))
    return Parameters(**{name: np.broadcast_to(np.asarray(value, float), 300) for name, value in vars(p).items()})
