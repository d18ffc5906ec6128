"""The posterior of model parameters from calibration arms: opens calibration outcomes, and no others."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy

from cohort import evidence
from cohort.calibration import fitness
from cohort.calibration.fit import Data, fitted, observed, priors, probability, run, sampler
from cohort.calibration.response import CalibrationError, response
from cohort.inference.diagnosis import convergence, flat, reasons_to_refuse
from cohort.library import load
from cohort.model import Model
from cohort.record import canonical, digest, file_digest, plain
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
) -> "xr.DataTree":
    """Fit the study's parameters to its calibration evidence by NUTS.

    people: the population whose covariates the arms' means are taken over. Returns an ArviZ DataTree (`posterior` with
    every calibrated value in the model's units, `arm_mean`, `group_sd`; `sample_stats`; `log_likelihood`), with the fit
    and the hashes of what went in among its attributes. Errors: CalibrationError if R-hat > 1.01 or a transition
    diverged: such a posterior is not returned. `apart`: as `probability` takes it.
    """
    plan = study.calibration
    if plan is None:
        instead = (
            f"its parameters come from '{study.parameters_from}': calibrate that study"
            if study.parameters_from
            else "add it, or write parameters_from"
        )
        raise CalibrationError(f"{study.path}: there is no calibration section; {instead}")
    model = model or load(study.model, study.path.parent)
    files = [study.root / use.file for use in study.evidence.values() if use.use == "calibration"]
    outcomes = pl.concat([evidence.read(f) for f in files]) if outcomes is None else outcomes
    data = observed(study, outcomes)
    endpoint = response(study, people, model, plan.subjects, plan.step.to(model.time))
    inference = probability(study, model, endpoint, data, apart=apart)
    measured = np.isfinite(data.mean)
    mcmc = run(sampler(inference, chains=plan.chains, warmup=plan.warmup, draws=plan.draws), study.seed, measured)
    posterior = _tree(mcmc, study, data, partial(fitted, study, model, endpoint, data))
    calibrated = priors(study, model)
    found = convergence(posterior, list(calibrated))
    if wrong := reasons_to_refuse(found):
        raise CalibrationError(
            f"{study.path}: the calibration did not converge: {'; '.join(wrong)}. Nothing was written"
        )

    # Without one arm the posterior is close by: chains go on from where they are, with the steps they have adapted.
    shorter = sampler(inference, chains=plan.chains, warmup=plan.warmup, draws=300)
    shorter.post_warmup_state = mcmc.last_state

    def refit(arm: int) -> np.ndarray:
        left = run(shorter, study.seed, measured & (np.arange(len(measured)) != arm)).get_samples(group_by_chain=True)
        settled = {k: v[:, 100:].reshape(-1, *v.shape[2:]) for k, v in _natural(left).items()}
        return fitted(study, model, endpoint, data, settled)["arm_mean"][:, arm]

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


def _natural(samples: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The parameters themselves, without the standard variables that NUTS moved."""
    return {k: np.asarray(v) for k, v in samples.items() if not k.endswith("|standard")}


def _tree(mcmc: Any, study: Study, data: Data, fitted: Callable[..., dict[str, np.ndarray]]) -> "xr.DataTree":
    from arviz_base import from_dict

    draws = _natural(mcmc.get_samples(group_by_chain=True))
    shape = next(iter(draws.values())).shape
    made = fitted({k: v.reshape(-1, *v.shape[2:]) for k, v in draws.items()})
    made = {k: v.reshape(*shape, -1) for k, v in made.items()}
    extra = {k: np.asarray(v) for k, v in mcmc.get_extra_fields(group_by_chain=True).items()}
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
