"""How far a calibration moves when something moves that it takes as given: each assumption by itself, fitted again."""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort import units
from cohort.calibration import CalibrationError, calibrate
from cohort.calibration.fit import priors
from cohort.calibration.fitness import chi_square
from cohort.inference.diagnosis import convergence, flat, values
from cohort.library import load
from cohort.model import Model
from cohort.record import plain
from cohort.study import Study

if TYPE_CHECKING:
    import xarray as xr

CORRELATIONS = (0.0, 0.8)
SPREADS = (0.8, 1.2)


@dataclass(frozen=True)
class Variant:
    """One assumption changed. `apart`: as `calibrate` takes it."""

    label: str
    study: Study
    model: Model
    apart: float = 0.0


def variants(study: Study, model: Model) -> Iterator[Variant]:
    """Every assumption that this study and model have, one at a time."""
    plan = study.calibration
    assert plan is not None

    def planned(**changes: Any) -> Study:
        return study.model_copy(update={"calibration": plan.model_copy(update=changes)})

    for pair, assumed in model.correlations.items():
        for value in CORRELATIONS:
            tied = model.replace(correlations={**model.correlations, pair: value})
            yield Variant(f"correlation of {pair[0]} and {pair[1]} {value:g}, not {assumed:g}", study, tied)
    taken = [n for n in model.effects() if not {n, f"{n}.spread"} & set(plan.priors)]
    for factor in SPREADS if taken else ():
        label = f"spread between subjects of {', '.join(taken)} times {factor:g}"
        yield Variant(label, study, with_spreads(model, taken, factor))
    for name, others in plan.sensitivity.priors.items():
        for prior in others:
            other = plan.priors[name].model_copy(update={"prior": prior})
            label = f"prior of {name} {prior}, not {plan.priors[name].prior}"
            yield Variant(label, planned(priors={**plan.priors, name: other}), model)
    if plan.sensitivity.per_group:
        shared = plan.priors[plan.sensitivity.per_group]
        size = shared.prior.arguments[-1] * units.factor(shared.unit, model.endpoints[plan.endpoint].unit)
        yield Variant(f"{plan.sensitivity.per_group} of each group of arms, not one", study, model, apart=size)
    yield Variant(
        f"{2 * plan.subjects} subjects integrated over, not {plan.subjects}", planned(subjects=2 * plan.subjects), model
    )


def with_spreads(model: Model, names: list[str], factor: float) -> Model:
    """The same model with the spread of these parameters between subjects multiplied by `factor`."""
    own = {f.name: f for f in dataclasses.fields(model.parameters)}  # type: ignore[arg-type]
    body = {
        name: dataclasses.field(
            default=own[name].default,
            metadata={**own[name].metadata, "spread": own[name].metadata["spread"] * factor},
        )
        for name in names
    }
    annotations = {name: own[name].type for name in names}
    wider = types.new_class(
        model.parameters.__name__,
        (model.parameters,),
        exec_body=lambda ns: ns.update(body, __annotations__=annotations),
    )
    return model.replace(parameters=wider)


def sensitivity(
    study: Study,
    people: pl.DataFrame,
    base: "xr.DataTree",
    *,
    model: Model | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Fit every variant. base: the posterior as calibrated.

    Returns plain tables: `base` and each of `variants` with its parameters (mean, SD, and the shift of the mean in
    posterior SDs of the base, with its simulation error), the arms' fitted means and the p of chi-square. A variant
    that does not converge has no tables and says so under `refused`.
    """
    model = model or load(study.model, study.path.parent)
    names = list(priors(study, model))
    before = _moments(base, names)
    todo = list(variants(study, model))
    progress(0, len(todo))
    rows: list[dict[str, Any]] = []
    for done, variant in enumerate(todo, 1):
        row: dict[str, Any] = {"label": variant.label, "refused": None, "parameters": [], "arms": [], "p_chi2": None}
        try:
            tree = calibrate(variant.study, people, model=variant.model, leave_one_out=False, apart=variant.apart)
        except CalibrationError as e:
            row["refused"] = str(e)
        else:
            row |= _tables(tree, names, before)
        rows.append(row)
        progress(done, len(todo))
    return plain(
        {
            "study": study.name,
            **{k: base.attrs.get(k) for k in ("study_hash", "model_hash", "evidence_hash")},
            "base": {"label": "as calibrated", **_tables(base, names, before)},
            "variants": rows,
        }
    )


def _moments(tree: "xr.DataTree", names: list[str]) -> dict[str, tuple[float, float, float]]:
    """Mean, SD and simulation error of the mean of each parameter."""
    from arviz_stats import summary

    table = summary(tree, var_names=names, round_to="none")
    found = {}
    for name in names:
        draws = flat(tree, name)
        sd = float(draws.std())
        found[name] = (float(draws.mean()), sd, sd / math.sqrt(float(np.asarray(table["ess_bulk"][name]))))
    return found


def _tables(tree: "xr.DataTree", names: list[str], before: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    parameters = [
        {
            "parameter": name,
            "mean": mean,
            "sd": sd,
            "shift": (mean - before[name][0]) / before[name][1],
            "shift_mcse": math.hypot(error, before[name][2]) / before[name][1],
        }
        for name, (mean, sd, error) in _moments(tree, names).items()
    ]
    draws = flat(tree, "arm_mean")
    observed, se = values(tree, "mean", "observed_data"), values(tree, "se", "observed_data")
    chi2, p = chi_square(draws, observed, se)
    arms = [
        {"arm": str(a), "observed": float(y), "se": float(s), "fitted": float(f.mean()), "sd": float(f.std())}
        for a, y, s, f in zip(values(tree, "arm"), observed, se, np.swapaxes(draws, 0, 1), strict=True)
    ]
    found = convergence(tree, names)
    return {
        "parameters": parameters,
        "arms": arms,
        "chi2": chi2,
        "p_chi2": p,
        "r_hat": found["r_hat"],
        "ess_bulk": found["ess_bulk"],
    }
