"""The posterior of model parameters from calibration arms: opens calibration outcomes, and no others."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy

from cohort import evidence
from cohort.calibration import fitness
from cohort.calibration.fit import Chains, Data, chain, fitted, observed, priors, stacked
from cohort.calibration.response import CalibrationError
from cohort.enrolment import own_covariates
from cohort.inference.diagnosis import convergence, flat, reasons_to_refuse
from cohort.library import load
from cohort.model import Model
from cohort.record import canonical, digest, file_digest, plain
from cohort.store import Store, run
from cohort.study import Study, fingerprint

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CalibrationError", "calibrate"]


def calibrate(
    study: Study,
    people: pl.DataFrame,
    *,
    outcomes: pl.DataFrame | None = None,
    model: Model | None = None,
    leave_one_out: bool = True,
    apart: float = 0.0,
    store: Store | None = None,
    client: Any = None,
    said: Callable[[str], None] = lambda text: None,
) -> "xr.DataTree":
    """Fit the study's parameters to its calibration evidence by NUTS.

    people: the population whose covariates the arms' means are taken over. Returns an ArviZ DataTree (`posterior` with
    every calibrated value in the model's units, `arm_mean`, `group_sd`; `sample_stats`; `log_likelihood`), with the fit
    and the hashes of what went in among its attributes. Errors: CalibrationError if R-hat > 1.01 or a transition
    diverged: such a posterior is not returned. `apart`: as `probability` takes it. With `store`, the chains of the
    study's own model are kept there and found again; with `client`, they are Dask tasks.
    """
    plan = study.calibration
    if plan is None:
        instead = (
            f"its parameters come from '{study.parameters_from}': calibrate that study"
            if study.parameters_from
            else "add it, or write parameters_from"
        )
        raise CalibrationError(f"{study.path}: there is no calibration section; {instead}")
    own = model is None
    model = model or load(study.model, study.path.parent)
    files = [study.root / use.file for use in study.evidence.values() if use.use == "calibration"]
    outcomes = pl.concat([evidence.read(f) for f in files]) if outcomes is None else outcomes
    data = observed(study, outcomes)
    covariates = people.select("subject", *own_covariates(study, model, people.columns))
    chains = Chains(study, model, covariates, data, apart, leave_one_out)
    if store is None or not own:
        drawn = [chain(chains, number) for number in range(plan.chains)]
    else:
        keys = list(run(store, map(chains.job, range(plan.chains)), client=client, said=said))
        drawn = [store.read(key) for key in keys]
        store.keep(keys)
    under = partial(fitted, study, model, chains.endpoint, data)
    posterior = _tree(*stacked(drawn, ""), study, data, under)
    calibrated = priors(study, model)
    found = convergence(posterior, list(calibrated))
    if wrong := reasons_to_refuse(found):
        raise CalibrationError(
            f"{study.path}: the calibration did not converge: {'; '.join(wrong)}. Nothing was written"
        )

    def refit(arm: int) -> np.ndarray:
        left, _ = stacked(drawn, list(study.arms)[arm])
        return under({k: v.reshape(-1, *v.shape[2:]) for k, v in left.items()})["arm_mean"][:, arm]

    summary: dict[str, Any] = {
        "diagnostics": found,
        "parameters": fitness.contraction(posterior, calibrated).to_dicts(),
    }
    if leave_one_out:
        loo = fitness.leave_one_out(posterior, data, refit)
        arms, overall = fitness.fit_of_arms(study, posterior, data, loo)
        summary |= {
            "arms": arms.to_dicts(),
            "fit": overall,
            "groups": _groups(posterior, data),
            "counts": _counts(posterior, data),
        }
    posterior.attrs |= {
        "study": study.name,
        "study_hash": fingerprint(study),
        "model_hash": digest(model.text),
        "evidence_hash": canonical({f.name: file_digest(f) for f in files}),
        "summary": canonical(plain(summary)),
    }
    return posterior


def _tree(
    draws: dict[str, np.ndarray],
    extra: dict[str, np.ndarray],
    study: Study,
    data: Data,
    fitted: Callable[..., dict[str, np.ndarray]],
) -> "xr.DataTree":
    from arviz_base import from_dict

    shape = next(iter(draws.values())).shape
    made = fitted({k: v.reshape(-1, *v.shape[2:]) for k, v in draws.items()})
    made = {k: v.reshape(*shape, -1) for k, v in made.items()}
    log_likelihood = {"mean": scipy.stats.norm.logpdf(data.mean, made["arm_mean"], data.se)}
    return from_dict(
        {
            "posterior": draws | made,
            "sample_stats": extra,
            "log_likelihood": log_likelihood,
            "observed_data": {"mean": data.mean, "se": data.se, "pooled_sd": data.sd},
        },
        coords={"arm": list(study.arms), "group": list(data.groups)},
        dims={
            "arm_mean": ["arm"],
            "group_sd": ["group"],
            "offset": ["group"],
            "mean": ["arm"],
            "se": ["arm"],
            "pooled_sd": ["group"],
        },
    )


def _groups(posterior: "xr.DataTree", data: Data) -> list[dict[str, Any]]:
    if not len(data.sd):
        return []  # published without a standard deviation between patients
    fitted = flat(posterior, "group_sd")
    return [
        {"group": g, "observed": float(sd), "df": float(df), "fitted": float(f.mean()), "sd": float(f.std())}
        for g, sd, df, f in zip(data.groups, data.sd, data.df, fitted.T, strict=True)
    ]


def _counts(posterior: "xr.DataTree", data: Data) -> list[dict[str, Any]]:
    """Fitted probability of each event, on placebo and on the drug, beside the counts."""
    rows = []
    for event, (n, events, drug) in data.counts.items():
        background = flat(posterior, f"{event}.background")
        effect = flat(posterior, f"{event}.drug")
        for k in range(len(n)):
            p = 1 / (1 + np.exp(-(background + drug[k] * effect)))
            low, high = np.quantile(p, [0.025, 0.975])
            rows.append(
                {
                    "event": event,
                    "on_drug": bool(drug[k]),
                    "events": int(events[k]),
                    "n": int(n[k]),
                    "fitted": float(p.mean()),
                    "low": float(low),
                    "high": float(high),
                }
            )
    return rows
