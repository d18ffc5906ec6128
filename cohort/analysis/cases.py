"""The models of endpoints by name, each with a small design, for simulation-based calibration: `cohort sbc`."""

from collections.abc import Callable
from importlib import import_module

from cohort.analysis import AnalysisError
from cohort.inference.sbc import Case

# name: module, function, arguments
CASES: dict[str, tuple[str, str, tuple]] = {
    "adverse events": ("adverse_events", "case", ()),
    "binary": ("binary", "case", ()),
    "continuous": ("continuous", "case", ()),
    "counts": ("counts", "case", ()),
    "dose response": ("dose_response", "case", ()),
    "dose response of trials": ("dose_response", "case", (3,)),
    "hazards": ("hazards", "case", ()),
    "log-normal survival": ("parametric", "case", ("lognormal",)),
    "longitudinal": ("longitudinal", "case", ()),
    "piecewise survival": ("piecewise", "case", ()),
    "prognostic score": ("continuous", "procova_case", ()),
    "subgroups": ("subgroups", "case", ()),
    "Weibull survival": ("parametric", "case", ("weibull_ph",)),
}


def case(name: str) -> Case:
    """A model by name. Errors: AnalysisError with the names that there are."""
    if name not in CASES:
        raise AnalysisError(f"there is no model {name!r}; write one of {', '.join(CASES)}")
    module, function, arguments = CASES[name]
    make: Callable[..., Case] = getattr(import_module(f"cohort.analysis.{module}"), function)
    return make(*arguments)
