"""Prior and posterior of each calibrated parameter, and how the arms fit."""

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cohort.display.style import OBSERVED, PREDICTED, PRIOR, arm_label, grid, svg
from cohort.inference.diagnosis import flat
from cohort.study import Prior
from cohort.study.grammar import prior as read_prior

if TYPE_CHECKING:
    import xarray as xr


def _density(prior: Prior, x: np.ndarray) -> np.ndarray:
    match prior.kind, prior.arguments:
        case "lognormal", (median, sigma):
            return scipy.stats.lognorm.pdf(x, sigma, scale=median)
        case "normal", (mean, sd):
            return scipy.stats.norm.pdf(x, mean, sd)
    return scipy.stats.halfnorm.pdf(x, scale=prior.arguments[0])


def learning(posterior: "xr.DataTree", parameters: list[dict[str, Any]]) -> str:
    """parameters: as the calibration summarises them. Grey: prior; blue: posterior."""
    figure, axes = grid(len(parameters), 3, 1.55)
    for axis, row in zip(axes, parameters, strict=True):
        draws = flat(posterior, row["parameter"])
        prior = read_prior(row["prior"])
        span = np.quantile(draws, [0.001, 0.999])
        wide = np.ptp(span) * 0.35
        low = span[0] - wide if prior.kind == "normal" else max(span[0] - wide, 1e-9)
        x = np.linspace(low, span[1] + wide, 300)
        axis.fill_between(x, _density(prior, x), color=PRIOR, lw=0)
        axis.hist(draws, bins=50, density=True, histtype="step", color=PREDICTED, lw=1.4)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.set_title(
            row["parameter"].replace("_", " ") + (" *" if row["from_the_prior"] else ""),
            fontsize=8.5,
        )
    return svg(figure, "Prior and posterior of each calibrated parameter")


def fit_of_arms(arms: list[dict[str, Any]]) -> str:
    """Residual of each arm in standard errors: fitted with it, and predicted without it."""
    figure, (axis,) = grid(1, 1, 0.36 * len(arms) + 0.9)
    rows = np.arange(len(arms))[::-1]
    axis.axvspan(-1.96, 1.96, color="#f0f2f5", zorder=0)
    axis.axvline(0, color="#bbb", lw=0.8)
    axis.plot([a["z"] for a in arms], rows, "o", color=PREDICTED, label="fitted, arm included")
    axis.plot([a["loo_z"] for a in arms], rows, "D", color=OBSERVED, ms=5, label="predicted from the other arms")
    axis.set_yticks(rows, [arm_label(a["arm"]) for a in arms])
    axis.set_xlabel("z: observed minus model, in standard deviations")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return svg(figure, "Residual of every calibration arm")


def ranks(posterior: "xr.DataTree", names: list[str]) -> str:
    """ArviZ's rank plot: chains that explore the same posterior have uniform ranks, inside the band."""
    import arviz_plots as azp

    rows = -(-len(names) // 3)
    collection = azp.plot_rank(
        posterior,
        var_names=names,
        envelope_prob=0.99,
        backend="matplotlib",
        figure_kwargs={"figsize": (6.6, 1.7 * rows)},
    )
    return svg(collection.viz["figure"].item(), "Rank plot of the chains, by ArviZ")
