"""Reading a posterior, and refusing one whose chains did not find it.

References
----------
[1] Vehtari et al. 2021, Bayesian Analysis 16:667: rank-normalised R-hat, bulk and tail effective sample size.
[2] Betancourt 2016, arXiv:1604.00695: the energy diagnostic BFMI, of concern below 0.3.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

MAX_RHAT = 1.01  # [1]
MIN_ESS = 400  # [1], bulk and tail
MIN_BFMI = 0.3  # [2]


class NotConverged(RuntimeError):
    """A posterior that may not be used: no conclusion rests on it; the message holds every reason."""


def values(tree: "xr.DataTree", name: str, group: str = "posterior") -> np.ndarray:
    """A variable of a DataTree, (chains, draws, ...), or as it is in a group without chains."""
    return tree.children[group].dataset[name].values


def flat(tree: "xr.DataTree", name: str) -> np.ndarray:
    """The draws of a variable, chain after chain: (chains * draws, ...)."""
    found = values(tree, name)
    return found.reshape(-1, *found.shape[2:])


def convergence(tree: "xr.DataTree", names: list[str] | None = None) -> dict[str, float]:
    """Largest R-hat, smallest bulk and tail effective sample size, smallest BFMI, divergences, transitions that came
    to the greatest tree depth, and the number of draws. names: of which variables; all of the posterior if None."""
    from arviz_stats import summary

    names = [str(name) for name in tree.children["posterior"].dataset.data_vars] if names is None else names
    table = summary(tree, var_names=names, kind="diagnostics", round_to="none")
    statistics = tree.children["sample_stats"].dataset
    found = {
        "r_hat": float(np.max(np.asarray(table["r_hat"], float))),
        "ess_bulk": float(np.min(np.asarray(table["ess_bulk"], float))),
        "ess_tail": float(np.min(np.asarray(table["ess_tail"], float))),
        "divergences": int(values(tree, "diverging", "sample_stats").sum()),
        "draws": len(flat(tree, names[0])),
    }
    if "energy" in statistics:
        energy = values(tree, "energy", "sample_stats")
        found["bfmi"] = float(((np.diff(energy, axis=1) ** 2).mean(axis=1) / energy.var(axis=1)).min())
    if "reached_max_treedepth" in statistics:
        found["deepest"] = int(values(tree, "reached_max_treedepth", "sample_stats").sum())
    return found


def reasons_to_refuse(found: dict[str, float], *, min_ess: float = 0.0) -> list[str]:
    """Why a posterior with this `convergence` may not be used; nothing if it may."""
    wrong = []
    if not found["r_hat"] <= MAX_RHAT:  # also where it is NaN
        wrong.append(f"R-hat is {found['r_hat']:.3f}, more than {MAX_RHAT}")
    if found["divergences"] > 0:
        wrong.append(f"{found['divergences']:.0f} transitions diverged")
    smallest = min(found.get("ess_bulk", min_ess), found.get("ess_tail", min_ess))
    if not smallest >= min_ess:
        wrong.append(f"the effective sample size is {smallest:.0f}, less than {min_ess:.0f}")
    if found.get("bfmi", 1.0) < MIN_BFMI:
        wrong.append(f"BFMI is {found['bfmi']:.2f}, less than {MIN_BFMI}")
    return wrong


def require(tree: "xr.DataTree", names: list[str] | None = None, *, what: str = "the fit") -> dict[str, float]:
    """The convergence of a posterior that may be used; it is kept in its attributes as well. Errors: NotConverged."""
    found = convergence(tree, names)
    if wrong := reasons_to_refuse(found, min_ess=MIN_ESS):
        raise NotConverged(f"{what} did not converge, no conclusion is drawn from it: {'; '.join(wrong)}")
    tree.attrs |= found
    return found
