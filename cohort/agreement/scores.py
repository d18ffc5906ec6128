"""How good predictions of single patients are: proper scores, which reward a distribution that is sharp and right.

References
----------
[1] Gneiting and Raftery 2007, JASA 102:359, doi 10.1198/016214506000001437: strictly proper scoring rules; the
    continuous ranked probability score, and its closed form for a normal distribution.
[2] Czado, Gneiting and Held 2009, Biometrics 65:1254, doi 10.1111/j.1541-0420.2009.01191.x: the transform of a
    prediction that is right is uniform, also where results are discrete.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from cohort.agreement import AgreementError


def crps(draws: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score [1] of each prediction, (n,), in the outcome's unit; less is better, and
    it is the absolute error where a prediction is one number. draws: (n, m), the prediction as equally likely values;
    observed: (n,). Errors: AgreementError of values that are missing."""
    x, y = np.sort(np.asarray(draws, float), axis=1), np.asarray(observed, float)
    if x.ndim != 2 or y.shape != x.shape[:1] or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise AgreementError(f"draws {x.shape}, observed {y.shape}; write a row of finite draws for each finite result")
    m = x.shape[1]
    between = 2 * x @ (2 * np.arange(1, m + 1) - m - 1) / m**2  # mean |X - X'| of the sorted draws
    return np.abs(x - y[:, None]).mean(axis=1) - between / 2


def crps_normal(mean: np.ndarray, sd: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The same of normal predictions, in closed form [1], (n,)."""
    z = (np.asarray(observed, float) - mean) / sd
    phi, below = scipy.stats.norm.pdf(z), scipy.stats.norm.cdf(z)
    return sd * (z * (2 * below - 1) + 2 * phi - 1 / np.sqrt(np.pi))


def places(draws: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Where each result lies in its prediction: the share below it, half of what equals it counted [2], (n,)."""
    y = np.asarray(observed, float)[:, None]
    return (draws < y).mean(axis=1) + (draws == y).mean(axis=1) / 2


@dataclass(frozen=True)
class Gain:
    """Mean score of one prediction less that of another, and its standard error over patients."""

    mean: float
    se: float
    patients: int


def gain(score: np.ndarray, other: np.ndarray, patient: np.ndarray) -> Gain:
    """score, other, patient: (n,), the last the patient of each result: one with several counts once.

    Errors: AgreementError with fewer than two patients."""
    ids, at = np.unique(np.asarray(patient), return_inverse=True)
    if len(ids) < 2:
        raise AgreementError(f"{len(ids)} patients; a standard error needs two or more")
    by_patient = np.bincount(at, np.asarray(score, float) - np.asarray(other, float)) / np.bincount(at)
    return Gain(float(by_patient.mean()), float(by_patient.std(ddof=1) / np.sqrt(len(ids))), len(ids))
