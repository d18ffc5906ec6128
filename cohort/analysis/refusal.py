"""What no model of an endpoint takes: improper priors, columns that are not numbers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cohort.analysis import AnalysisError


def refuse(wrong: list[str]) -> None:
    """Raises AnalysisError with every line of `wrong`, if there is one."""
    if wrong:
        raise AnalysisError("\n".join(wrong))


def improper(named: Mapping[str, float], location: Mapping[str, float] | None = None) -> list[str]:
    """What makes a prior improper: scales that are not positive and finite, locations that are not finite."""
    wrong = [
        f"priors.{k}: {v} is no scale of a proper prior; write a positive, finite number"
        for k, v in named.items()
        if not 0 < v < math.inf
    ]
    return wrong + [
        f"priors.{k}: {v} is no location of a prior; write a finite number"
        for k, v in (location or {}).items()
        if not math.isfinite(v)
    ]


def unusable(name: str, column: Any, n: int | None = None) -> list[str]:
    """What is wrong with a numeric column that should hold n finite numbers."""
    found = np.asarray(column)
    if found.ndim != 1 or not len(found) or (n is not None and len(found) != n):
        return [f"{name}: shape {found.shape}; write one number for each of {n or 'the'} subjects or rows"]
    if found.dtype.kind not in "biuf":
        return [f"{name}: {found.dtype} is not numeric; write numbers"]
    if bad := np.flatnonzero(~np.isfinite(found.astype(float))).tolist():
        return [f"{name}: {len(bad)} missing or not finite, the first in row {bad[0] + 1}; leave out or impute them"]
    return []
