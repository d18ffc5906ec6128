"""Gauss points on 0 to 1 and of the standard normal, each made once."""

from functools import cache

import numpy as np


@cache
def unit(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre points on 0 to 1 and weights of sum 1, each (points,)."""
    u, w = np.polynomial.legendre.leggauss(points)
    return (u + 1) / 2, w / 2


@cache
def standard_normal(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Hermite points of N(0, 1) and weights of sum 1, each (points,)."""
    x, w = np.polynomial.hermite_e.hermegauss(points)
    return x, w / w.sum()
