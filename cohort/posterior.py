"""Reading a posterior: its draws as arrays, whether the chains converged, and what a simulation varies over."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cohort.model import Model
from cohort.study import Study
from cohort.trial import MEAN

if TYPE_CHECKING:
    import xarray as xr


def values(tree: "xr.DataTree", name: str, group: str = "posterior") -> np.ndarray:
    """A variable of a DataTree, (chains, draws, ...), or as it is in a group without chains."""
    return tree.children[group].dataset[name].values


def flat(tree: "xr.DataTree", name: str) -> np.ndarray:
    """The draws of a variable, chain after chain: (chains * draws, ...)."""
    found = values(tree, name)
    return found.reshape(-1, *found.shape[2:])


def convergence(tree: "xr.DataTree", names: list[str]) -> dict[str, float]:
    """Largest R-hat, smallest bulk and tail effective sample size, divergences, and the number of draws."""
    from arviz_stats import summary

    table = summary(tree, var_names=names, kind="diagnostics", round_to="none")
    return {
        "r_hat": float(np.max(np.asarray(table["r_hat"], float))),
        "ess_bulk": float(np.min(np.asarray(table["ess_bulk"], float))),
        "ess_tail": float(np.min(np.asarray(table["ess_tail"], float))),
        "divergences": int(values(tree, "diverging", "sample_stats").sum()),
        "draws": len(flat(tree, names[0])),
    }


def parameter_draws(study: Study, model: Model, posterior: "xr.DataTree | None") -> pl.DataFrame:
    """What `simulate` varies over: draw 0 the posterior mean, then the study's number of draws, evenly spaced through
    the chains. Without a posterior, the model's own values, known exactly."""
    n = study.analysis.draws
    columns = {name: np.full(n + 1, value) for name, value in model.typical().items()}
    if posterior is not None:
        dataset = posterior.children["posterior"].dataset
        for name in (str(k) for k, v in dataset.data_vars.items() if v.ndim == 2):
            draws = flat(posterior, name)
            picked = (np.arange(n) * len(draws)) // n
            columns[name] = np.concatenate([[draws.mean()], draws[picked]])
    return pl.DataFrame({"draw": np.arange(MEAN, MEAN + n + 1, dtype=np.int32), **columns})
