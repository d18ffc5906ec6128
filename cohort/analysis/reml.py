"""The MMRM of `longitudinal` by restricted maximum likelihood: estimates without Monte Carlo error.

Two analyses that differ by a percent, such as with and without a prognostic score, are told apart here and not by two
posteriors that were sampled; and it is the same model found in another way, beside a posterior under vague priors.

References
----------
[1] Patterson & Thompson 1971, Biometrika 58:545: restricted likelihood.
[2] Kenward & Roger 1997, Biometrics 53:983, for why these standard errors, which take the covariance for known, are a
    little small where visits have few values.
"""

from dataclasses import dataclass

import numpy as np

from cohort.analysis import AnalysisError
from cohort.analysis.longitudinal import Longitudinal, patterns


@dataclass(frozen=True)
class Reml:
    """effect, se: (treated arms, visits), against the control. control: (visits,), of the trial's average subject.
    sigma: (visits, visits), between the values of one subject."""

    effect: np.ndarray
    se: np.ndarray
    control: np.ndarray
    sigma: np.ndarray


def _design(data: Longitudinal) -> np.ndarray:
    """What the mean of each value hangs on, (subjects, visits, k): arms and baseline by visit, each covariate once, the
    score of a visit at that visit."""
    z, visits = data.columns(), len(data.visits)
    by_visit = len(data.subjects.arms) + 1
    names = len(data.subjects.encoding.names)
    parts = [np.einsum("iq,vw->ivqw", z[:, :by_visit], np.eye(visits)).reshape(len(z), visits, -1)]
    parts.append(np.repeat(z[:, None, by_visit : by_visit + names], visits, axis=1))
    if data.twin is not None:
        parts.append(np.einsum("iv,vw->ivw", z[:, -visits:], np.eye(visits)))
    return np.concatenate(parts, axis=2)


def reml(data: Longitudinal) -> Reml:
    """Sigma free. Errors: AnalysisError where the values do not determine the means, or no maximum is found."""
    from scipy.optimize import minimize

    visits, x = len(data.visits), _design(data)
    seen, pattern = patterns(data)
    groups = [(np.flatnonzero(row), np.flatnonzero(pattern == p)) for p, row in enumerate(seen)]
    used = [(at, x[who][:, at], data.y[np.ix_(who, at)]) for at, who in groups]
    k = x.shape[2]
    whole = sum(np.einsum("iva,ivb->ab", part, part) for _, part, _ in used)
    if np.linalg.matrix_rank(whole) < k:
        raise AnalysisError(f"the values seen do not determine {k} means and coefficients; leave covariates out")
    lower = np.tril_indices(visits)
    scale = data.spread()[1]

    def gls(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        factor = np.zeros((visits, visits))
        factor[lower] = theta
        factor[np.diag_indices(visits)] = np.exp(np.diag(factor))
        sigma = scale**2 * factor @ factor.T
        information, score, squares, logs = np.zeros((k, k)), np.zeros(k), 0.0, 0.0
        for at, part, y in used:
            own = sigma[np.ix_(at, at)]
            weighed = np.einsum("vw,iwa->iva", np.linalg.inv(own), part)
            information += np.einsum("iva,ivb->ab", part, weighed)
            score += np.einsum("iva,iv->a", weighed, y)
            squares += float(np.einsum("iv,vw,iw->", y, np.linalg.inv(own), y))
            logs += len(y) * np.linalg.slogdet(own)[1]
        beta = np.linalg.solve(information, score)
        deviance = logs + squares - beta @ score + np.linalg.slogdet(information)[1]  # [1]
        return float(deviance), beta, information, sigma

    found = minimize(lambda t: gls(t)[0], np.zeros(len(lower[0])), method="BFGS", options={"gtol": 1e-4})
    if not np.isfinite(found.fun) or np.abs(found.jac).max() > 0.05:
        raise AnalysisError(f"the restricted likelihood has no maximum that was found: {found.message}")
    _, beta, information, sigma = gls(found.x)
    se = np.sqrt(np.diag(np.linalg.inv(information)))
    arms = len(data.subjects.arms)
    treated, shape = slice(visits, visits * arms), (arms - 1, visits)
    return Reml(beta[treated].reshape(shape), se[treated].reshape(shape), beta[:visits], sigma)
