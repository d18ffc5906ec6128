"""Random effects, covariates and errors mean what a paper's methods section says."""

import math
import pickle

import jax
import numpy as np
import pytest

from cohort.model import (
    Record,
    Route,
    Scalar,
    additive,
    fixed,
    last,
    logitnormal,
    lognormal,
    lowest,
    normal,
    of_baseline,
    proportional,
    quantity,
)


def test_a_lognormal_parameter_has_the_coefficient_of_variation_given(linear):
    z = {name: np.random.default_rng(1).standard_normal(200_000) for name in linear.effects()}
    x = linear.covariates(weight=np.full(200_000, 70.0), sex=np.zeros(200_000))
    cl = np.asarray(linear.subject(linear.typical(), z, x).cl)
    assert np.median(cl) == pytest.approx(2.0, rel=0.005)
    assert cl.std() / cl.mean() == pytest.approx(0.3, rel=0.01)  # declared cv


def test_kinds_of_variability_at_one_standard_deviation():
    class P(Record):
        a: Scalar = lognormal(2.0, "1", cv=0.5, about="")
        b: Scalar = logitnormal(0.2, "1", sd=0.7, about="")
        c: Scalar = normal(-1.0, "1", sd=3.0, about="")
        d: Scalar = fixed(4.0, "1", about="")

    class X(Record):
        weight: Scalar = quantity("kg", "body weight")

    model = _model(P, X)
    p = model.subject(model.typical(), dict.fromkeys("abc", 1.0), X(weight=70.0))
    assert p.a == pytest.approx(2 * math.exp(math.sqrt(math.log(1.25))))
    assert math.log(p.b / (1 - p.b)) == pytest.approx(math.log(0.25) + 0.7)
    assert p.c == pytest.approx(2.0)
    assert p.d == 4.0


def _model(P, X):
    from cohort.model import Model

    class Y(Record):
        y: Scalar = quantity("1", "state")

    class Out(Record):
        y: Scalar = quantity("1", "output")

    return Model(
        covariates=X,
        parameters=P,
        state=Y,
        outputs=Out,
        time="d",
        individual=lambda p, x: p,
        initial=lambda p: Y(y=1.0),
        ode=lambda t, y, p: Y(y=-y.y),
        observe=lambda t, y, p: Out(y=y.y),
        routes={},
        endpoints={},
    )


def test_correlated_effects_have_the_correlation_of_the_model_and_stay_standard(evolocumab):
    rng = np.random.default_rng(2)
    z = {name: rng.standard_normal(100_000) for name in evolocumab.effects()}
    tied = evolocumab.correlate(z)
    assert np.corrcoef(tied["cl"], tied["vmax"])[0, 1] == pytest.approx(0.5, abs=0.015)
    assert tied["vmax"].std() == pytest.approx(1, abs=0.015)
    assert np.array_equal(tied["ka"], z["ka"])


def test_a_correlation_that_cannot_be_is_refused(evolocumab):
    for value in (1.5, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=rf"\('cl', 'vmax'\) is {value}; write a number between -1 and 1"):
            evolocumab.replace(correlations={("cl", "vmax"): value})


def test_correlations_that_contradict_each_other_are_refused(evolocumab):
    with pytest.raises(ValueError, match="their matrix is not positive definite; lower them"):
        evolocumab.replace(correlations={("cl", "vmax"): 0.9, ("cl", "v"): 0.9, ("v", "vmax"): -0.9})


def test_variances_of_error_parts_add():
    error = proportional(0.1) + additive(3.0)
    sd = error.sd(np.array([[0.0, 40.0]]), lambda name: np.zeros(1))
    assert sd == pytest.approx(np.array([[3.0, 5.0]]))


def test_the_error_of_a_percent_change_spares_the_baseline():
    sd = of_baseline("sigma").sd(np.array([[120.0, 60.0], [200.0, 60.0]]), lambda name: np.array([15.0, 15.0]))
    assert sd == pytest.approx(np.array([[0.0, 18.0], [0.0, 30.0]]))


def test_two_errors_of_one_kind_are_refused():
    with pytest.raises(ValueError, match="different kinds"):
        assert additive(1.0) + additive(2.0)


def test_missing_visits_are_missing_not_low():
    visits = np.array([[120.0, 60.0, np.nan], [120.0, 60.0, 80.0]])
    assert np.isnan(last(visits)[0])
    assert np.asarray(lowest(visits)).tolist() == [60.0, 60.0]


def test_a_record_with_a_missing_quantity_is_refused_by_the_language(linear):
    with pytest.raises(TypeError, match="gone"):
        linear.state(depot=0.0, central=0.0)


def test_jax_differentiates_through_a_record(linear):
    slope = jax.grad(
        lambda cl: linear.ode(0.0, linear.state(depot=0.0, central=30.0, gone=0.0), _with(linear, cl)).gone
    )
    assert float(slope(2.0)) == pytest.approx(3.0)  # d(cl/v * 30 mg)/d cl at v = 10 L


def _with(linear, cl):
    return linear.parameters().replace(cl=cl)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"routes": {"sc": Route("dept")}}, "route 'sc' doses 'dept', but the states are depot, central, gone"),
        ({"routes": {"sc": Route("depot", bioavailability="F")}}, "route 'sc' names 'F', but the parameters are"),
        ({"routes": {"iv": Route("central", molar_mass=0)}}, "has the molar mass 0; write one above 0, in g/mol"),
        ({"routes": {"iv": Route("central", molar_mass=-1.5)}}, r"has the molar mass -1\.5; write one above 0"),
        ({"correlations": {("cl", "f"): 0.5}}, "names f, which varies between no subjects"),
        ({"correlations": {("cl", "cl"): 0.5}}, "names one parameter twice"),
        ({"correlations": {("cl", "v"): 0.5, ("v", "cl"): 0.1}}, "or stands twice; write each pair once"),
        ({"correlations": {("cl", "w"): 0.5}}, "names 'w', but the parameters are ka, f, cl, v"),
    ],
)
def test_a_part_that_names_what_is_not_there_is_refused(linear, part, reason):
    with pytest.raises(ValueError, match=reason):
        linear.replace(**part)


@pytest.mark.parametrize("typical", [0.0, -1.0, math.nan])
def test_a_lognormal_parameter_is_positive(typical):
    with pytest.raises(ValueError, match="typical > 0"):
        lognormal(typical, "L", cv=0.3, about="volume")


def test_a_model_travels_as_its_text(evolocumab):
    copy = pickle.loads(pickle.dumps(evolocumab))
    assert copy.text == evolocumab.text
    assert copy.typical() == evolocumab.typical()


def test_a_changed_model_no_longer_claims_its_file(evolocumab):
    changed = evolocumab.replace(individual=lambda p, x: p)
    assert changed.text == ""
    assert changed.recipe is None
