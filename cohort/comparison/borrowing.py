"""Borrowing from a virtual arm by a robust mixture: the virtual evidence with a weight, a vague part with the rest.

References
----------
[1] Schmidli et al. 2014, Biometrics 70:1023: robust meta-analytic-predictive priors; the update of normal mixtures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from cohort.comparison.predict import ArmPrediction


@dataclass(frozen=True)
class Mixture:
    """Normal components: weights, means and standard deviations, each (components,)."""

    weight: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def updated(self, y: float, se: float) -> "Mixture":
        """After one observed mean with its standard error [1]: exact."""
        marginal = self.weight * scipy.stats.norm.pdf(y, self.mean, np.hypot(self.sd, se))
        precision = self.sd**-2 + se**-2
        return Mixture(marginal / marginal.sum(), (self.mean / self.sd**2 + y / se**2) / precision, precision**-0.5)

    def moments(self) -> tuple[float, float]:
        mean = float(self.weight @ self.mean)
        return mean, float(np.sqrt(self.weight @ (self.sd**2 + self.mean**2) - mean**2))

    def quantile(self, q: float) -> float:
        low, high = float((self.mean - 12 * self.sd).min()), float((self.mean + 12 * self.sd).max())
        for _ in range(80):
            middle = (low + high) / 2
            below = float(self.weight @ scipy.stats.norm.cdf(middle, self.mean, self.sd))
            low, high = (middle, high) if below < q else (low, middle)
        return (low + high) / 2


def _row(label: str, factor: float, mixture: Mixture, weight: float | None, level: float) -> dict[str, Any]:
    mean, sd = mixture.moments()
    low, high = mixture.quantile((1 - level) / 2), mixture.quantile((1 + level) / 2)
    return {
        "label": label,
        "discrepancy_factor": factor,
        "mean": mean,
        "sd": sd,
        "low": low,
        "high": high,
        "weight_after": weight,
    }


def table(
    prediction: ArmPrediction, y: float, se: float, *, discrepancy: float, weight: float, level: float
) -> list[dict[str, Any]]:
    """The arm's mean without borrowing, with robust borrowing and with full borrowing, side by side, at a discrepancy
    of nothing, as assumed, and doubled. The vague part is worth one patient, centred on the virtual mean."""
    centre = float(prediction.theta.mean())
    one_patient = float(np.sqrt(np.mean(prediction.sd**2)))
    flat = Mixture(np.ones(1), np.array([y]), np.array([se]))
    rows = [_row("no borrowing", float("nan"), flat, None, level)]
    for factor in (0.0, 1.0, 2.0):
        virtual = float(np.hypot(prediction.parameter_sd, factor * discrepancy))
        robust = Mixture(np.array([weight, 1 - weight]), np.full(2, centre), np.array([virtual, one_patient])).updated(
            y, se
        )
        full = Mixture(np.ones(1), np.array([centre]), np.array([virtual])).updated(y, se)
        rows.append(_row("robust borrowing", factor, robust, float(robust.weight[0]), level))
        rows.append(_row("full borrowing", factor, full, 1.0, level))
        rows[-1]["worth_patients"] = rows[-2]["worth_patients"] = (one_patient / virtual) ** 2
    return rows
