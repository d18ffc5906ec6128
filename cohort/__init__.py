"""Virtual cohorts and in-silico clinical trials.

Names are imported when they are first used: a pipeline starts the command some twenty times.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from cohort.calibration import calibrate
    from cohort.comparison import compare
    from cohort.dosing.covariates import CovariateCourse
    from cohort.dosing.records import Events
    from cohort.dosing.table import read_events
    from cohort.engine import Numerics, solve
    from cohort.enrolment import sample_population
    from cohort.library import load as load_model
    from cohort.model import (
        Decision,
        Endpoint,
        Model,
        Record,
        Route,
        Rule,
        Scalar,
        additive,
        beta_error,
        category,
        exponential,
        first,
        fixed,
        last,
        logitnormal,
        lognormal,
        lognormal_error,
        lowest,
        normal,
        of_baseline,
        proportional,
        quantity,
    )
    from cohort.pharmacometrics.nca import nca
    from cohort.pharmacometrics.scan import scan
    from cohort.pharmacometrics.sensitivity import dgsm, sobol
    from cohort.pharmacometrics.vpc import vpc
    from cohort.population.plausible import plausible
    from cohort.population.sources import source
    from cohort.population.twin import twin
    from cohort.results import open_results
    from cohort.simulation import simulate
    from cohort.study import Study, read_study

_ROOMS = {
    "calibrate": "cohort.calibration",
    "compare": "cohort.comparison",
    "CovariateCourse": "cohort.dosing.covariates",
    "Events": "cohort.dosing.records",
    "read_events": "cohort.dosing.table",
    "Numerics": "cohort.engine",
    "solve": "cohort.engine",
    "nca": "cohort.pharmacometrics.nca",
    "scan": "cohort.pharmacometrics.scan",
    "dgsm": "cohort.pharmacometrics.sensitivity",
    "sobol": "cohort.pharmacometrics.sensitivity",
    "vpc": "cohort.pharmacometrics.vpc",
    "plausible": "cohort.population.plausible",
    "source": "cohort.population.sources",
    "twin": "cohort.population.twin",
    "load_model": "cohort.library",
    "sample_population": "cohort.enrolment",
    "open_results": "cohort.results",
    "simulate": "cohort.simulation",
    "Study": "cohort.study",
    "read_study": "cohort.study",
}

__all__ = [
    "CovariateCourse",
    "Decision",
    "Endpoint",
    "Events",
    "Model",
    "Numerics",
    "Record",
    "Route",
    "Rule",
    "Scalar",
    "Study",
    "additive",
    "beta_error",
    "calibrate",
    "category",
    "compare",
    "dgsm",
    "exponential",
    "first",
    "fixed",
    "last",
    "load_model",
    "logitnormal",
    "lognormal",
    "lognormal_error",
    "lowest",
    "nca",
    "normal",
    "of_baseline",
    "open_results",
    "plausible",
    "proportional",
    "quantity",
    "read_events",
    "read_study",
    "sample_population",
    "scan",
    "simulate",
    "sobol",
    "solve",
    "source",
    "twin",
    "vpc",
]


def __getattr__(name: str) -> typing.Any:
    if name not in __all__:
        raise AttributeError(f"cohort has no {name!r}; it has {', '.join(__all__)}")
    room = importlib.import_module(_ROOMS.get(name, "cohort.model"))
    return getattr(room, "load" if name == "load_model" else name)


def __dir__() -> list[str]:
    return __all__
