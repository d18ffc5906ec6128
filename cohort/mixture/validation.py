"""What a mixture prior and the data that update it must hold to be used at all; every reason is told at once."""

from collections.abc import Callable
from typing import Any

import numpy as np

SUM = 1e-6  # published weights are rounded to seven or eight digits: their sum may be this far from 1
SHOWN = 5  # offending values named in one line of a message


class MixtureError(ValueError):
    """A mixture, or data for it, that cannot be used; the message holds every reason."""


def require(what: str, reasons: list[str]) -> None:
    """Raise MixtureError with all reasons, one a line; nothing if there are none."""
    if reasons:
        raise MixtureError("\n  ".join([what, *reasons]))


def array(name: str, value: Any, reasons: list[str], ndim: int | None = None) -> np.ndarray:
    """A float64 array of its own; adds a reason if there are no numbers in it, not all are finite, or the number of
    dimensions is not ndim."""
    try:
        made = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        reasons.append(f"{name}: {value!r} is not an array of numbers; write floats")
        return np.full((1,) * (ndim or 0), np.nan)
    if ndim is not None and made.ndim != ndim:
        reasons.append(f"{name}: has {made.ndim} dimensions, shape {made.shape}; write {ndim}")
        return np.full((1,) * ndim, np.nan)
    if made.size == 0:
        reasons.append(f"{name}: is empty; write at least one number")
    each(name, made, np.isfinite, "is not finite; write a number", reasons)
    return made


def each(name: str, value: np.ndarray, good: Callable[[np.ndarray], np.ndarray], said: str, reasons: list[str]) -> None:
    """Adds one reason for the entries of `value` that are not good; NaN is left to `array`."""
    with np.errstate(invalid="ignore"):
        bad = ~np.asarray(good(value))
    if good is not np.isfinite:
        bad &= np.isfinite(value)
    if bad.any():
        places = np.argwhere(bad)[:SHOWN]
        shown = ", ".join(
            f"{name}{list(map(int, place)) if len(place) else ''} {value[tuple(place)]:g}" for place in places
        )
        more = f" and {int(bad.sum()) - SHOWN} more" if bad.sum() > SHOWN else ""
        reasons.append(f"{shown}{more} {said}")


def weights(value: Any, components: int, reasons: list[str]) -> np.ndarray:
    """Weights of components, (components,), of sum 1: rescaled where the sum is 1 up to rounding, else refused."""
    made = array("weight", value, reasons, ndim=1)
    each("weight", made, lambda w: (w >= 0) & (w <= 1), "is outside 0-1; write a share", reasons)
    if made.shape != (components,):
        reasons.append(f"weight: {made.size} weights for {components} components; write one for each")
    total = float(made.sum())
    if np.isfinite(total) and abs(total - 1) > SUM:
        reasons.append(f"weight: sum is {total:.8g}; write weights that sum to 1")
    return made / total if np.isfinite(total) and total > 0 else made


def components(reasons: list[str], **parameters: Any) -> list[np.ndarray]:
    """Parameters of components, each (components,); adds a reason if their lengths differ."""
    made = [array(name, value, reasons, ndim=1) for name, value in parameters.items()]
    if len({a.shape for a in made}) > 1:
        lengths = ", ".join(f"{name} {a.size}" for name, a in zip(parameters, made, strict=True))
        reasons.append(f"components differ in number: {lengths}; write one value each per component")
    return made


def data(reasons: list[str], **values: Any) -> list[np.ndarray]:
    """Data that update a prior, finite and of shapes that broadcast."""
    made = [array(name, value, reasons) for name, value in values.items()]
    try:
        np.broadcast_shapes(*(a.shape for a in made))
    except ValueError:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in zip(values, made, strict=True))
        reasons.append(f"shapes do not go together: {shapes}; write equal shapes, or a scalar")
    return made
