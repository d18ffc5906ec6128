"""What the virtual trials predict, in the form that is frozen before an outcome is read."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from cohort.library import load
from cohort.record import code, digest, plain
from cohort.study import Study, fingerprint
from cohort.trial import MEAN

QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


class ComparisonError(RuntimeError):
    """A comparison that cannot be made, or whose posterior may not be used; the message says why."""


@dataclass(frozen=True)
class ArmPrediction:
    """One arm's mean of a continuous endpoint, under each posterior draw.

    theta: (draws,) mean over the population; sd, n: (draws,) standard deviation between patients as measured, and
    number analysed, in that draw's virtual trial; noise: (draws,) simulation error of each theta that is its own, from
    the patients redrawn; common: simulation error that all share, from the people at the posterior mean.
    """

    theta: np.ndarray
    sd: np.ndarray
    n: np.ndarray
    noise: np.ndarray
    common: float = 0.0

    def minus(self, control: "ArmPrediction") -> "ArmPrediction":
        """The difference of two arms of independent patients under the same parameters."""
        return ArmPrediction(
            self.theta - control.theta,
            np.sqrt(self.sd**2 / self.n + control.sd**2 / control.n),
            np.ones_like(self.n),
            np.hypot(self.noise, control.noise),
            float(np.hypot(self.common, control.common)),
        )

    @property
    def standard_error(self) -> np.ndarray:
        """Sampling error of a trial's mean, under each draw."""
        return self.sd / np.sqrt(self.n)

    @property
    def means(self) -> np.ndarray:
        """theta drawn towards its mean until only its uncertainty is left: sampling error enters once, with a trial."""
        spread = self.theta.std(ddof=1)
        centre = self.theta.mean()
        return centre + (self.theta - centre) * (self.parameter_sd / spread if spread > 0 else 1.0)

    def cdf(self, value: float) -> float:
        """Share of the predictive distribution of a trial's mean that lies below `value`."""
        return float(ndtr((value - self.means) / self.standard_error).mean())

    def quantile(self, q: float) -> float:
        """Of the predictive distribution of a trial's mean: a normal per draw, all draws alike."""
        width = 12 * float(self.standard_error.max() + self.theta.std())
        low, high = self.theta.mean() - width, self.theta.mean() + width
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.cdf(middle) < q else (low, middle)
        return (low + high) / 2

    @property
    def parameter_sd(self) -> float:
        """Standard deviation of the population's mean under parameter uncertainty. Patients are redrawn for every draw,
        so their noise is in the spread of theta and is taken out; what all draws share is not, and is added once."""
        between = max(self.theta.var(ddof=1) - np.mean(self.noise**2), 0.0)
        return float(np.sqrt(between + self.common**2))

    @property
    def mcse(self) -> float:
        """Simulation error of the predicted mean: of finitely many draws and patients."""
        return float(np.sqrt(self.theta.var(ddof=1) / len(self.theta) + self.common**2))

    def summary(self) -> dict[str, Any]:
        return {
            "mean": float(self.theta.mean()),
            "sd": self.parameter_sd,
            "mcse": self.mcse,
            "predictive_sd": float(np.sqrt(self.parameter_sd**2 + np.mean(self.standard_error**2))),
            "quantiles": [self.quantile(q) for q in QUANTILES],
        }


@dataclass(frozen=True)
class Predictions:
    """Everything a study predicts. `means`: per endpoint and arm; `shares`: per yes-or-no endpoint and arm, the share
    in each draw's trial on the true course; `risks`: per event, probability without and with drug under each draw, None
    if not modelled.
    """

    means: dict[str, dict[str, ArmPrediction]]
    shares: dict[str, dict[str, np.ndarray]]
    risks: dict[str, tuple[np.ndarray, np.ndarray] | None]

    def hash(self) -> str:
        means = {e: {a: [p.theta, p.sd, p.n] for a, p in arms.items()} for e, arms in self.means.items()}
        return digest(plain({"means": means, "shares": self.shares, "risks": self.risks}))


def predict(study: Study, analysis: pl.DataFrame, parameters: pl.DataFrame) -> Predictions:
    """analysis: as `analysis_set` returns; parameters: values by draw."""
    model = load(study.model, study.path.parent)
    means: dict[str, dict[str, ArmPrediction]] = {}
    shares: dict[str, dict[str, np.ndarray]] = {}
    for name, plan in study.endpoints.items():
        if plan.kind != "course":
            continue
        if model.endpoints[name].binary:
            trials = analysis.filter(pl.col("draw") != MEAN).group_by("arm", "draw", maintain_order=True)
            per_trial = trials.agg(share=pl.col(f"{name}_true").fill_nan(None).mean()).sort("draw")
            shares[name] = {arm: per_trial.filter(pl.col("arm") == arm)["share"].to_numpy() for arm in study.arms}
        else:
            means[name] = {arm: _arm(analysis.filter(pl.col("arm") == arm), name) for arm in study.arms}
    draws = parameters.filter(pl.col("draw") != MEAN).sort("draw")
    risks: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}
    for name, plan in study.endpoints.items():
        if plan.kind == "event" and f"{name}.background" in draws.columns:
            logit = draws[f"{name}.background"].to_numpy()
            risks[name] = (_expit(logit), _expit(logit + draws[f"{name}.drug"].to_numpy()))
        elif plan.kind == "event":
            risks[name] = None
    return Predictions(means, shares, risks)


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _arm(rows: pl.DataFrame, name: str) -> ArmPrediction:
    """Each draw's mean over the population: the mean of everyone at the posterior mean, plus the mean change of the
    draw's own patients against themselves there. The pairing removes most of the patients' sampling noise."""
    truth = f"{name}_true"
    everyone = rows.filter((pl.col("draw") == MEAN) & pl.col(truth).is_not_nan()).select("subject", at_mean=truth)
    paired = rows.filter(pl.col("draw") != MEAN).join(everyone, on="subject", how="inner").sort("draw", "subject")
    per_draw = (
        paired.filter(pl.col(truth).is_not_nan())
        .with_columns(change=pl.col(truth) - pl.col("at_mean"))
        .group_by("draw", maintain_order=True)
        .agg(
            shift=pl.col("change").mean(),
            shift_variance=pl.col("change").var() / pl.len(),
            sd=pl.col(name).fill_nan(None).std(),
            n=pl.col(name).fill_nan(None).count(),
        )
    )
    few = per_draw.filter(pl.col("n") < 2)["draw"].to_list()
    if few:
        raise ComparisonError(
            f"{name}, {rows['arm'][0]}: draws {', '.join(map(str, few[:5]))} have fewer than two patients with a "
            "result; a trial without a standard deviation predicts nothing: plan more patients, or fewer who leave"
        )
    centre = everyone["at_mean"]
    variance = float(np.var(centre.to_numpy(), ddof=1)) / len(centre)
    return ArmPrediction(
        float(np.mean(centre.to_numpy())) + per_draw["shift"].to_numpy(),
        per_draw["sd"].to_numpy(),
        per_draw["n"].to_numpy().astype(float),
        np.sqrt(per_draw["shift_variance"].to_numpy()),
        math.sqrt(variance),
    )


def identity(study: Study, posterior_attrs: dict[str, Any]) -> dict[str, Any]:
    """What a prediction rests on: model, study with its population assumptions, calibration, seed and draws."""
    return {
        "study": fingerprint(study),
        "model": digest(load(study.model, study.path.parent).text),
        "calibration": {k: posterior_attrs.get(k) for k in ("study", "study_hash", "model_hash", "evidence_hash")},
        "seed": study.seed,
        "draws": study.analysis.draws,
    }


def record(study: Study, predictions: Predictions, posterior_attrs: dict[str, Any]) -> dict[str, Any]:
    """What is written down: the identity, the code that ran, and the predictions, rounded for reading."""
    arms = {e: {a: p.summary() for a, p in per.items()} for e, per in predictions.means.items()}
    effects = {
        e: {a: p.minus(per[study.arms[a].control]).summary() for a, p in per.items() if study.arms[a].control}  # type: ignore[index]
        for e, per in predictions.means.items()
    }
    shares = {
        e: {a: {"mean": float(s.mean()), "quantiles": np.quantile(s, QUANTILES)} for a, s in per.items()}
        for e, per in predictions.shares.items()
    }
    risks = {
        e: None if r is None else {"placebo": float(r[0].mean()), "drug": float(r[1].mean())}
        for e, r in predictions.risks.items()
    }
    errors = {
        e: {a: float(s.std(ddof=1) / math.sqrt(len(s))) for a, s in per.items()}
        for e, per in predictions.shares.items()
    } | {
        e: {g: float(s.std(ddof=1) / math.sqrt(len(s))) for g, s in zip(("placebo", "drug"), r, strict=True)}
        for e, r in predictions.risks.items()
        if r is not None
    }
    facts = {"arms": arms, "effects": effects, "shares": shares, "risks": risks}
    return {
        "identity": identity(study, posterior_attrs),
        "code": {k: v for k, v in code().items() if k in ("cohort", "commit", "changed_since_commit", "versions")},
        "quantiles": list(QUANTILES),
        "predictions_hash": predictions.hash(),
        "predictions": _rounded(plain(facts)),
        "errors": plain(errors),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def registered_path(study: Study) -> Path:
    return study.root / "config" / "registered" / f"{study.name}.json"
