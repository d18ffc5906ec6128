"""One arm of a trial borrowing from its virtual arm by a robust mixture, at every discrepancy that may be believed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cohort.comparison.learning import Prior
from cohort.comparison.predict import ArmPrediction
from cohort.mixture import NormalMixture
from cohort.mixture.size import ess


def table(
    prediction: ArmPrediction, y: float, se: float, *, priors: Mapping[str, Prior], weight: float, level: float
) -> list[dict[str, Any]]:
    """The arm's mean without borrowing, with robust and with full borrowing, side by side. priors: of the virtual arm,
    by what its discrepancy rests on. The vague part is worth one patient, centred on the virtual mean. `patients`: how
    many the virtual evidence is worth (ELIR), limited by what is not known of the model, never by the number simulated.
    """
    patient = float(np.sqrt(np.mean(prediction.sd**2)))
    rows = [_row("no borrowing", "", NormalMixture([1.0], [y], [se]), None, None, level)]
    for label, prior in priors.items():
        worth = float(ess(prior.mixture, method="elir", sigma=patient))
        vague = NormalMixture([1.0], [prior.mixture.mean], [patient])
        robust = prior.mixture.robust(1 - weight, vague).updated(y, se)
        rows.append(_row("robust borrowing", label, robust, 1 - float(robust.weight[-1]), worth, level))
        rows.append(_row("full borrowing", label, prior.mixture.updated(y, se), 1.0, worth, level))
    return rows


def _row(
    label: str, discrepancy: str, mixture: NormalMixture, weight: float | None, patients: float | None, level: float
) -> dict[str, Any]:
    low, high = mixture.interval(level)
    return {
        "label": label,
        "discrepancy": discrepancy,
        "mean": mixture.mean,
        "sd": mixture.sd,
        "low": low,
        "high": high,
        "weight_after": weight,
        "patients": patients,
    }
