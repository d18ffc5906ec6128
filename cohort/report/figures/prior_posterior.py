"""What was believed of the control before the trial, what the trial says, and both together."""

import numpy as np
import scipy

from cohort.display.style import OBSERVED, PREDICTED, PRIOR, QUIET, grid, svg
from cohort.mixture import NormalMixture


def prior_posterior(prior: NormalMixture, y: float, se: float, unit: str) -> str:
    """prior: of the control's mean, its last component the vague one; y, se: the control's published mean."""
    posterior = prior.updated(y, se)
    low = min(float(prior.quantile(0.01)), y - 4 * se)
    high = max(float(prior.quantile(0.99)), y + 4 * se)
    x = np.linspace(low, high, 500)
    figure, (axis,) = grid(1, 1, 2.7)
    axis.fill_between(x, np.asarray(prior.pdf(x)), color=PRIOR, lw=0, alpha=0.8, label="prior: virtual and vague part")
    vague = float(prior.weight[-1]) * scipy.stats.norm.pdf(x, prior.means[-1], prior.sds[-1])
    axis.plot(x, vague, color=QUIET, lw=1, ls=(0, (1, 1.2)), label="its vague part")
    likelihood = scipy.stats.norm.pdf(x, y, se)
    axis.plot(x, likelihood, color=OBSERVED, lw=1.6, ls=(0, (5, 1.5)), label="likelihood: this trial")
    axis.plot(x, np.asarray(posterior.pdf(x)), color=PREDICTED, lw=2, label="posterior")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_ylim(bottom=0)
    axis.set_xlabel(f"mean of the control ({unit})")
    axis.legend(loc="upper right", fontsize=9)
    return svg(figure, "Prior, likelihood and posterior of the control's mean")
