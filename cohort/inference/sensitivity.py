"""How a posterior moves when prior or likelihood is made a little stronger, and how each observation is predicted.

References
----------
[1] Kallioinen et al. 2024, Statistics and Computing 34:57: power-scaling sensitivity, of concern above 0.05.
[2] Vehtari et al. 2024, JMLR 25(72): Pareto-smoothed weights hold below min(0.7, 1 - 1/log10 S) for S draws.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

CONCERN = 0.05  # [1]
ALPHAS = (0.8, 1.25)  # wider than the derivative's .99 and 1.01, at which no weight can fail


def khat_limit(draws: int) -> float:
    """Up to which Pareto k the weights of so many draws stand for another posterior [2]."""
    return min(0.7, 1 - 1 / np.log10(draws))


def _khat(log_weights: np.ndarray) -> float:
    from arviz_stats.base import array_stats

    if np.ptp(log_weights) == 0:
        return 0.0
    return float(array_stats.psislw(-log_weights)[1])


def _scaled(tree: "xr.DataTree", group: str) -> np.ndarray:
    """The whole log density of a group at each draw, (draws,)."""
    dataset = tree.children[group].dataset
    total = 0.0
    for name in dataset.data_vars:
        values = dataset[name].values
        total = total + values.reshape(*values.shape[:2], -1).sum(axis=2)
    return np.asarray(total).reshape(-1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What ArviZ would say on the terminal stands in the rows that are returned."""
    logger = logging.getLogger("arviz_stats")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        finally:
            logger.setLevel(level)


def power_scaled(tree: "xr.DataTree", names: Sequence[str]) -> list[dict[str, Any]]:
    """Sensitivity of each parameter to prior and likelihood [1], by ArviZ, and the largest Pareto k of the weights,
    which it does not look at. tree: with the groups log_prior and log_likelihood.

    `says`: of a prior above 0.05, whether the likelihood is as well (a conflict) or not.
    """
    from arviz_stats import psense_summary

    with quiet():
        table: Any = psense_summary(tree, var_names=list(names), round_to=6)
    k = {
        group: max(_khat((alpha - 1) * _scaled(tree, group)) for alpha in ALPHAS)
        for group in ("log_prior", "log_likelihood")
    }
    rows = []
    for name, row in table.iterrows():
        prior, likelihood = float(row["prior"]), float(row["likelihood"])
        says = "none"
        if prior >= CONCERN:
            says = "prior and data in conflict" if likelihood >= CONCERN else "the prior speaks, the data hardly"
        rows.append(
            {
                "parameter": str(name),
                "prior": prior,
                "likelihood": likelihood,
                "says": says,
                "khat": max(k.values()),
                "reliable": max(k.values()) <= khat_limit(len(_scaled(tree, "log_prior"))),
            }
        )
    return rows


def leave_one_out(tree: "xr.DataTree", name: str | None = None) -> dict[str, Any]:
    """Expected log predictive density of each observation left out, by ArviZ: its sum with standard error, the largest
    Pareto k, how many are above the limit for this number of draws, and whether the sum may be used."""
    from arviz_stats import loo

    with quiet():
        found: Any = loo(tree, var_name=name, pointwise=True)
    k = np.asarray(found.pareto_k).reshape(-1)
    draws = int(np.prod([tree.children["posterior"].sizes[d] for d in ("chain", "draw")]))
    limit = khat_limit(draws)
    above = int((k > limit).sum())
    return {
        "elpd": float(found.elpd),
        "se": float(found.se),
        "observations": len(k),
        "khat": float(k.max()),
        "limit": float(limit),
        "above": above,
        "reliable": above == 0,
    }
