"""Sensitivity indices against functions whose indices are known.

References
----------
[1] Ishigami & Homma 1990, An importance quantification technique in uncertainty analysis for computer models. ISUMA'90,
    doi 10.1109/ISUMA.1990.151285.
[2] Saltelli & Sobol' 1995, About the use of rank transformation in sensitivity analysis of model output. Reliab Eng
    Syst Saf 50:225: the g-function.
[3] Sobol' & Kucherenko 2009, Math Comput Simul 79:3009.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from cohort.model import Model, Record, Route, Scalar, logitnormal, lognormal, quantity
from cohort.model import normal as normal_
from cohort.pharmacometrics.sensitivity import Varying, between_subjects, dgsm, sobol

A, B = 7.0, 0.1
ISHIGAMI = {f"x{i}": (-np.pi, np.pi) for i in (1, 2, 3)}
V1, V2, V13 = 0.5 * (1 + B * np.pi**4 / 5) ** 2, A**2 / 8, B**2 * np.pi**8 * 8 / 225  # [1]
VARIANCE = V1 + V2 + V13
NORMAL = Varying("normal", lambda z: z)


def ishigami(x):
    return jnp.sin(x["x1"]) + A * jnp.sin(x["x2"]) ** 2 + B * x["x3"] ** 4 * jnp.sin(x["x1"])


def _close(table, column: str, want, errors: float = 5):
    off = (table[column].to_numpy() - np.asarray(want)) / np.maximum(table[f"{column}_error"].to_numpy(), 1e-12)
    assert np.abs(off).max() < errors, (column, table[column].to_list(), list(want))


def test_ishigamis_function():
    table = sobol(ishigami, ISHIGAMI, n=1024)
    assert table["parameter"].to_list() == ["x1", "x2", "x3"]
    _close(table, "first", [V1 / VARIANCE, V2 / VARIANCE, 0])
    _close(table, "total", [(V1 + V13) / VARIANCE, V2 / VARIANCE, V13 / VARIANCE])
    assert table.select("first_error", "total_error").to_numpy().max() < 0.02


def test_sobols_g_function():
    a = np.array([0.0, 1, 4.5, 9, 99, 99])
    over = {f"x{i}": (0.0, 1.0) for i in range(6)}
    parts = 1 / (3 * (1 + a) ** 2)  # [2]
    variance = np.prod(1 + parts) - 1
    table = sobol(
        lambda x: np.prod([(np.abs(4 * x[f"x{i}"] - 2) + a[i]) / (1 + a[i]) for i in range(6)], axis=0), over, n=2048
    )
    _close(table, "first", parts / variance)
    _close(table, "total", parts / (1 + parts) * np.prod(1 + parts) / variance)


def test_the_error_shrinks_with_more_points_and_says_how_far_off_an_index_is():
    few, many = (sobol(ishigami, ISHIGAMI, n=n, replicates=16) for n in (128, 4096))
    assert many["total_error"].mean() < few["total_error"].mean() / 8  # type: ignore[operator]
    off = np.array(
        [
            (t["total"] - np.array([V1 + V13, V2, V13]) / VARIANCE) / t["total_error"]
            for t in (sobol(ishigami, ISHIGAMI, n=256, seed=s) for s in range(20))
        ]
    )
    assert 0.5 < np.sqrt(np.mean(off**2)) < 2


def test_the_seed_decides():
    first, again, other = (sobol(ishigami, ISHIGAMI, n=64, seed=s) for s in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_several_outputs_at_once():
    table = sobol(lambda x: {"a": x["x1"] + 2 * x["x2"], "none": 0 * x["x1"]}, {"x1": (0, 1), "x2": (0, 1)}, n=256)
    assert table.columns == ["output", "parameter", "first", "first_error", "total", "total_error"]
    assert table["output"].to_list() == ["a", "a", "none", "none"]
    assert table["total"].to_list() == pytest.approx([0.2, 0.8, 0, 0], abs=0.01)


def test_derivatives_of_ishigamis_function_bound_its_total_indices():
    table = dgsm(ishigami, ISHIGAMI, n=1024)
    # mean squares of the derivatives, worked from [1]
    squares = np.array([0.5 * (1 + 2 * B * np.pi**4 / 5 + B**2 * np.pi**8 / 9), A**2 / 2, 16 * B**2 * np.pi**6 / 7 / 2])
    _close(table, "measure", (2 * np.pi) ** 2 * squares)
    _close(table, "bound", 4 * squares / VARIANCE)  # [3]: squared range over π², over the variance
    assert (table["bound"].to_numpy() > np.array([V1 + V13, V2, V13]) / VARIANCE).all()


def test_the_bound_is_reached_by_a_sum_of_normal_effects():
    table = dgsm(lambda x: 3 * x["a"] + 4 * x["b"], {"a": NORMAL, "b": NORMAL}, n=4096)
    assert table["measure"].to_list() == pytest.approx([9, 16], rel=1e-12)
    _close(table, "bound", [0.36, 0.64])
    both = dgsm(lambda x: {"sum": x["a"] + x["b"], "none": 0 * x["a"]}, {"a": NORMAL, "b": NORMAL}, n=64)
    assert both["bound"].to_list() == pytest.approx([0.5, 0.5, 0, 0], abs=0.1)


class Covariates(Record):
    pass


class Parameters(Record):
    f: Scalar = logitnormal(0.5, "1", sd=0.8, about="bioavailability")
    cl: Scalar = lognormal(2.0, "L/h", cv=0.4, about="clearance")
    v: Scalar = lognormal(10.0, "L", cv=0.3, about="volume")
    base: Scalar = normal_(5.0, "mg/L", sd=2.0, about="baseline")


class State(Record):
    central: Scalar = quantity("mg", "in plasma")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "concentration")


def _model(**correlations) -> Model:
    return Model(
        covariates=Covariates,
        parameters=Parameters,
        state=State,
        outputs=Outputs,
        time="h",
        individual=lambda p, x: p,
        initial=lambda p: State(central=0.0),
        ode=lambda t, y, p: State(central=-p.cl / p.v * y.central),
        observe=lambda t, y, p: Outputs(c=y.central / p.v),
        routes={"oral": Route("central", bioavailability="f")},
        endpoints={},
        **correlations,
    )


def test_parameters_vary_as_the_model_declares():
    z = np.array([-1.0, 0, 2])
    over = between_subjects(_model())
    assert list(over) == ["f", "cl", "v", "base"]
    spread = np.sqrt(np.log1p(0.4**2))
    assert np.asarray(over["cl"].value(z)) == pytest.approx(2 * np.exp(spread * z))
    assert np.asarray(over["f"].value(z)) == pytest.approx(1 / (1 + np.exp(-0.8 * z)))
    assert np.asarray(over["base"].value(z)) == pytest.approx(5 + 2 * z)
    assert list(between_subjects(_model(), ["v"])) == ["v"]


def test_log_auc_divides_between_clearance_and_bioavailability_as_their_variances_do():
    over = between_subjects(_model(), ["cl", "v", "f"])
    table = sobol(lambda p: np.log(100 * p["f"] / p["cl"]), over, n=1024)
    f = np.random.default_rng(1).standard_normal(4_000_000)
    of_f, of_cl = np.var(np.log(1 / (1 + np.exp(-0.8 * f)))), np.log1p(0.4**2)
    want = np.array([of_cl, 0, of_f]) / (of_f + of_cl)
    assert table["first"].to_numpy() == pytest.approx(want, abs=0.01)
    assert table["total"].to_numpy() == pytest.approx(want, abs=0.01)
    bound = dgsm(lambda p: jnp.log(100 * p["f"] / p["cl"]), over, n=1024)
    assert bound["measure"].to_numpy()[:2] == pytest.approx([of_cl, 0], rel=1e-12)
    assert (bound["bound"].to_numpy() > want - 0.005).all()


def test_correlated_parameters_are_refused():
    with pytest.raises(ValueError, match=r"cl, v are correlated; write model.replace\(correlations=\{\}\)"):
        between_subjects(_model(correlations={("cl", "v"): 0.5}))
    with pytest.raises(ValueError, match="'ka' does not vary between subjects; those that do are f, cl, v, base"):
        between_subjects(_model(), ["cl", "ka"])


def test_what_cannot_be_is_refused_all_at_once():
    with pytest.raises(ValueError, match=r"a ranges from 2 to 1.*give 2 or more; n is 100.*replicates is 1"):
        sobol(lambda x: x["a"], {"a": (2, 1)}, n=100, replicates=1)
    with pytest.raises(ValueError, match=r"not finite at \d+ of 256 points, the first a=0\.\d+, b=0\.\d+"):
        sobol(lambda x: np.where(x["a"] > 0.9, np.nan, x["a"]), {"a": (0, 1), "b": (0, 1)}, n=256)
    with pytest.raises(ValueError, match="not finite at 256 of 256"):
        dgsm(lambda x: jnp.log(-x["a"]), {"a": (0.1, 1)}, n=256)
