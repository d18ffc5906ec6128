"""How a calibration fits, and what it learnt: a fit is judged as a fit, never as a validation."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import scipy

from cohort.calibration.fit import Data
from cohort.inference.diagnosis import flat
from cohort.study import Prior, Study, dose_unit

if TYPE_CHECKING:
    import xarray as xr

FROM_THE_PRIOR = 0.8  # posterior SD over prior SD above which a parameter is labelled so
KHAT = 0.7  # above this, importance weights do not stand for a posterior without the arm


def log_scale(prior: Prior) -> bool:
    return prior.kind == "lognormal"


def prior_sd(prior: Prior) -> float:
    """Standard deviation of the prior: of the logarithm for a lognormal, of the value otherwise."""
    if prior.kind == "halfnormal":
        return prior.arguments[0] * math.sqrt(1 - 2 / math.pi)
    return prior.arguments[1]


def contraction(posterior: "xr.DataTree", priors: dict[str, Prior]) -> pl.DataFrame:
    """Per parameter: posterior mean and SD, prior SD on the same scale, their ratio, and whether the prior speaks."""
    rows = []
    for name, prior in priors.items():
        draws = flat(posterior, name)
        scaled = np.log(draws) if log_scale(prior) else draws
        ratio = float(scaled.std()) / prior_sd(prior)
        rows.append(
            {
                "parameter": name,
                "mean": float(draws.mean()),
                "sd": float(draws.std()),
                "low": float(np.quantile(draws, 0.025)),
                "high": float(np.quantile(draws, 0.975)),
                "prior": str(prior),
                "ratio": ratio,
                "from_the_prior": ratio > FROM_THE_PRIOR,
            }
        )
    return pl.DataFrame(rows)


def leave_one_out(posterior: "xr.DataTree", data: Data, refit: Any) -> pl.DataFrame:
    """Each arm predicted from the others: by Pareto-smoothed weights where they hold, by `refit(arm)` where not.

    Returns per arm position: khat, refitted, mean and SD of the arm's mean without it, and z of the observation
    (SD and SE together).
    """
    from arviz_stats.base import array_stats

    means = flat(posterior, "arm_mean")
    rows = []
    for i in np.flatnonzero(np.isfinite(data.mean)):
        log_likelihood = scipy.stats.norm.logpdf(data.mean[i], means[:, i], data.se[i])
        if np.ptp(log_likelihood) > 0:
            log_weights, khat = array_stats.psislw(log_likelihood)
        else:  # an arm whose mean nothing calibrated moves: without it the posterior is the same
            log_weights, khat = np.zeros_like(log_likelihood), 0.0
        refitted = not float(khat) <= KHAT
        draws, weights = (refit(int(i)), None) if refitted else (means[:, i], np.exp(log_weights - log_weights.max()))
        mean = float(np.average(draws, weights=weights))
        sd = float(np.sqrt(np.average((draws - mean) ** 2, weights=weights)))
        z = (data.mean[i] - mean) / math.hypot(sd, data.se[i])
        rows.append(
            {"position": int(i), "khat": float(khat), "refitted": refitted, "loo_mean": mean, "loo_sd": sd, "loo_z": z}
        )
    return pl.DataFrame(rows)


def chi_square(means: np.ndarray, observed: np.ndarray, se: np.ndarray) -> tuple[float, float]:
    """Posterior mean of the arms' chi-square, and its posterior predictive p. means: (draws, arms)."""
    chi2 = np.nansum(((observed - means) / se) ** 2, axis=1)
    return float(chi2.mean()), float(scipy.stats.chi2.sf(chi2, np.isfinite(observed).sum()).mean())


def fit_of_arms(
    study: Study, posterior: "xr.DataTree", data: Data, loo: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, float]]:
    """Per arm: observed, fitted, z = (observed - fitted)/SE, and the prediction from the other arms. Beside it the
    posterior predictive p of chi-square and the trends of the residuals with dose and between regimens."""
    means = flat(posterior, "arm_mean")
    used = np.flatnonzero(np.isfinite(data.mean))
    names = list(study.arms)
    z = (data.mean - means.mean(axis=0)) / data.se
    table = pl.DataFrame(
        {
            "arm": [names[i] for i in used],
            "position": used,
            "observed": data.mean[used],
            "se": data.se[used],
            "fitted": means.mean(axis=0)[used],
            "sd": means.std(axis=0)[used],
            "z": z[used],
        }
    ).join(loo, on="position", how="left")
    chi2, p = chi_square(means, data.mean, data.se)
    summary = {"chi2": chi2, "arms": float(len(used)), "p_chi2": p}
    residual = data.mean - means.mean(axis=0)
    arms = list(study.arms.values())
    for group, members in zip(data.groups, data.members > 0, strict=True):
        members = members & np.isfinite(data.mean)
        own = [arms[i].dose for i in np.flatnonzero(members)]
        if unit := dose_unit([dose for dose in own if dose]):  # else no line goes through them
            doses = np.array([dose.to(unit) if dose else 0.0 for dose in own])
            summary[f"slope_{group}"] = float(np.polyfit(doses / doses.max(), residual[members], 1)[0])
        summary[f"mean_residual_{group}"] = float(residual[members].mean())
    return table, summary
