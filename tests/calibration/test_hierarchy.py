"""Nonlinear mixed effects: a posterior known from elsewhere, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from cohort import Endpoint, Model, Record, Scalar, additive, fixed, last, lognormal, quantity
from cohort.calibration.hierarchy import Hierarchy
from cohort.calibration.response import CalibrationError
from cohort.inference.diagnosis import flat
from cohort.inference.sampling import Sampling
from cohort.library import load


class Nothing(Record):
    weight: Scalar = quantity("kg", "body weight")


class Levels(Record):
    level: Scalar = lognormal(10.0, "mg", cv=0.3, about="what stays", source="made up")
    sigma: Scalar = fixed(0.5, "mg", about="residual error", source="made up")


class Held(Record):
    amount: Scalar = quantity("mg", "what stays")


class Seen(Record):
    amount: Scalar = quantity("mg", "what stays", error=additive("sigma"))


LEVEL = Model(
    covariates=Nothing,
    parameters=Levels,
    state=Held,
    outputs=Seen,
    time="h",
    individual=lambda p, x: p,
    initial=lambda p: Held(amount=p.level),
    ode=lambda t, y, p: Held(amount=0.0 * y.amount),
    observe=lambda t, y, p: Seen(amount=y.amount),
    routes={},
    endpoints={"amount": Endpoint(lambda visits: last(visits.amount), unit="mg", about="at the end")},
)
ROWS = np.repeat(np.arange(40), 6)


def levels(centred):
    """Forty people of log-SD 0.3 around 10 mg, six measurements each, SD 0.5 mg."""
    rng = np.random.default_rng(11)
    own = 10.0 * np.exp(0.3 * rng.standard_normal(40))
    seen = own[ROWS] + 0.5 * rng.standard_normal(len(ROWS))
    fit = Hierarchy(
        LEVEL,
        LEVEL.covariates(weight=np.ones(40)),
        lambda p: {"amount": p.level[ROWS]},
        {"amount": seen},
        {"level": "lognormal(10, 1)", "level.spread": "halfnormal(1)", "sigma": "halfnormal(2)"},
        centred,
    )
    return fit, own, seen


@pytest.mark.parametrize("centred", [{"level": 1.0}, {"level": np.linspace(0, 1, 40)}], ids=["whole", "each_apart"])
def test_values_spread_and_error_are_found_however_the_effects_are_drawn(centred):
    """Against the moments of the means of each person, which are nearly sufficient with six values of each."""
    fit, own, seen = levels(centred)
    tree = fit.fit(1, Sampling(warmup=300, draws=400, chains=1))
    means = np.log(seen.reshape(40, 6).mean(axis=1))
    assert np.log(flat(tree, "level")).mean() == pytest.approx(means.mean(), abs=0.02)
    assert flat(tree, "level.spread").mean() == pytest.approx(means.std(ddof=1), abs=0.02)
    within = seen.reshape(40, 6).std(axis=1, ddof=1)
    assert flat(tree, "sigma").mean() == pytest.approx(np.sqrt((within**2).mean()), abs=0.03)
    assert fit.own(tree, "level").mean(axis=(0, 1)) == pytest.approx(own, abs=0.7)
    assert tree["sample_stats"].dataset["diverging"].values.sum() == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"priors": {"clearance": "normal(1, 1)"}}, "'clearance', which is none of"),
        ({"centred": {"lag": 1.0}}, "'lag' is centred, and not lognormal"),
        ({"measured": {"inr": np.ones(3)}}, "'inr' was measured; the model's outputs are c, pca"),
        ({"measured": {"pca": np.array([1.0, np.nan])}}, "values that are no numbers"),
    ],
)
def test_what_cannot_be_fitted_is_said(changed, words):
    model = load("warfarin_total")
    given = {"measured": {"pca": np.ones(2)}, "priors": {}, "centred": {}} | changed
    with pytest.raises(CalibrationError, match=words):
        Hierarchy(model, model.covariates(weight=jnp.ones(2)), lambda p: {}, **given)
