"""Mixtures of conjugate distributions as priors: what data make of them, what they are worth, and what they exclude."""

from cohort.mixture import difference
from cohort.mixture.families import BetaMixture, GammaMixture, NormalMixture
from cohort.mixture.multivariate import MvNormalMixture
from cohort.mixture.scalar import ScalarMixture, posterior_cdf, posterior_quantile, posterior_weights
from cohort.mixture.validation import MixtureError

__all__ = [
    "BetaMixture",
    "GammaMixture",
    "MixtureError",
    "MvNormalMixture",
    "NormalMixture",
    "ScalarMixture",
    "difference",
    "posterior_cdf",
    "posterior_quantile",
    "posterior_weights",
]
