"""Scans of models with known courses, among them two drugs of which one inhibits the other's elimination.

References
----------
[1] Rowland & Matin 1973, Kinetics of drug-drug interactions. J Pharmacokinet Biopharm 1:553: competitive inhibition.
"""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from cohort.dosing.records import Events
from cohort.model import Model, Record, Route, Scalar, fixed, lognormal, quantity
from cohort.pharmacometrics.nca import nca
from cohort.pharmacometrics.scan import response, scan
from cohort.pharmacometrics.sensitivity import between_subjects, dgsm, sobol

TIMES = [0.0, 1, 2, 5, 10]


class Covariates(Record):
    pass


class Parameters(Record):
    vmax: Scalar = lognormal(20.0, "mg/h", cv=0.3, about="capacity to eliminate the victim")
    km: Scalar = fixed(2.0, "mg/L", about="concentration of the victim at half that capacity")
    ki: Scalar = fixed(0.5, "mg/L", about="concentration of the inhibitor that doubles km")
    v: Scalar = fixed(10.0, "L", about="volume of either")
    cl: Scalar = fixed(4.0, "L/h", about="clearance of the inhibitor")


class State(Record):
    victim: Scalar = quantity("mg", "drug whose elimination is inhibited")
    inhibitor: Scalar = quantity("mg", "drug that inhibits it")


class Outputs(Record):
    victim: Scalar = quantity("mg/L", "concentration of the victim", plausible=(-1e-6, 1e3))
    inhibitor: Scalar = quantity("mg/L", "concentration of the inhibitor")


def _ode(t, y, p):
    c, i = y.victim / p.v, y.inhibitor / p.v
    return State(victim=-p.vmax * c / (p.km * (1 + i / p.ki) + c), inhibitor=-p.cl * i)  # [1]


@pytest.fixture(scope="module")
def two_drugs() -> Model:
    return Model(
        covariates=Covariates,
        parameters=Parameters,
        state=State,
        outputs=Outputs,
        time="h",
        individual=lambda p, x: p,
        initial=lambda p: State(victim=0.0, inhibitor=0.0),
        ode=_ode,
        observe=lambda t, y, p: Outputs(victim=y.victim / p.v, inhibitor=y.inhibitor / p.v),
        routes={"victim": Route("victim"), "inhibitor": Route("inhibitor")},
        endpoints={},
    )


def _infused(**rates: float) -> Events:
    """Infusions without end into a route each, from 0 h."""
    return Events.of(1, into=list(rates), rate=list(rates.values()), amount=[1e4 * r for r in rates.values()])


def test_every_combination_of_values_is_solved(linear):
    x = linear.covariates(weight=70.0, sex=0.0)
    dose = Events.of(1, into="iv", amount=100.0)
    table = scan(linear, dose, TIMES, {"cl": [1.0, 2.0], "v": [5.0, 10.0, 20.0]}, x=x)
    assert table.columns == ["point", "cl", "v", "time", "c", "total", "status"]
    assert table.height == 6 * len(TIMES)
    assert table.unique(["point"], maintain_order=True).select("cl", "v").rows() == [
        (1, 5), (1, 10), (1, 20), (2, 5), (2, 10), (2, 20)
    ]  # fmt: skip
    later = table.filter(pl.col("time") > 0)
    want = later.select(100 / pl.col("v") * (-pl.col("cl") / pl.col("v") * pl.col("time")).exp()).to_series()
    assert later["c"].to_numpy() == pytest.approx(want.to_numpy(), rel=1e-6)
    assert table["status"].unique().to_list() == ["finished"]


def test_one_at_a_time_starts_from_the_typical_subject(linear):
    x = linear.covariates(weight=70.0, sex=1.0)
    dose = Events.of(1, into="iv", amount=100.0)
    over = {"cl": [1.0, 4.0], "sex": ["male"]}
    table = scan(linear, dose, [0.0, 5.0], over, x=x, design="one at a time").filter(time=5.0)
    assert table.select("varied", "cl", "sex").rows() == [
        ("", 2, "female"), ("cl", 1, "female"), ("cl", 4, "female"), ("sex", 2, "male")
    ]  # fmt: skip
    assert table["c"].to_numpy() == pytest.approx([10 * np.exp(-k * 5) for k in (0.2, 0.1, 0.4, 0.2)], rel=1e-6)


def test_a_covariate_is_scanned_like_a_parameter(evolocumab):
    x = dict(weight=84.0, sex=0.0, pcsk9=425.0, statin=0.0, ezetimibe=0.0, ldl=120.0)
    over = {"weight": [50.0, 84.0, 120.0]}
    dose = Events.of(1, into="iv", amount=1.0)
    table = scan(evolocumab, dose, [0.0, 1e-6], over, x=evolocumab.covariates(**x)).filter(pl.col("time") > 0)
    want = [1 / (5.18 * (w / 84) ** 1.04) for w in (50, 84, 120)]
    assert table["c"].to_numpy() / table["c"][1] == pytest.approx(np.array(want) / want[1], rel=1e-4)


def test_regimens_are_scanned_by_name(linear):
    x = linear.covariates(weight=70.0, sex=0.0)
    doses = {f"{mg} mg": Events.of(1, into="iv", amount=float(mg)) for mg in (50, 100)}
    table = scan(linear, doses, [0.0, 1.0], {"cl": [1.0, 2.0]}, x=x).filter(time=1.0)
    assert table["regimen"].to_list() == ["50 mg", "50 mg", "100 mg", "100 mg"]
    assert table["c"].to_numpy() == pytest.approx([mg / 10 * np.exp(-cl / 10) for mg in (50, 100) for cl in (1, 2)])


def test_an_inhibitor_raises_the_steady_state_of_its_victim_as_known(two_drugs):
    alone, together = _infused(victim=10.0), _infused(victim=10.0, inhibitor=4.0)
    over = {"vmax": [15.0, 20.0], "ki": [0.25, 0.5]}
    table = scan(two_drugs, {"alone": alone, "together": together}, [0.0, 2000.0], over).filter(time=2000.0)
    for row in table.iter_rows(named=True):
        i = 4.0 / 4.0 if row["regimen"] == "together" else 0.0
        assert row["inhibitor"] == pytest.approx(i, rel=1e-6, abs=1e-9)
        assert row["victim"] == pytest.approx(10 * 2 * (1 + i / row["ki"]) / (row["vmax"] - 10), rel=1e-6)


def test_a_solve_that_fails_is_a_row_with_a_reason(two_drugs):
    table = scan(two_drugs, _infused(victim=100.0), [0.0, 500.0], {"vmax": [10.0, 200.0]}).filter(time=500.0)
    assert table["status"].to_list() == ["out of plausible range", "finished"]
    assert table["victim"].is_null().to_list() == [True, False]


def test_auc_of_a_scan_by_non_compartmental_analysis(linear):
    x = linear.covariates(weight=70.0, sex=0.0)
    times = np.linspace(0, 60, 241)
    table = scan(linear, Events.of(1, into="sc", amount=100.0), times, {"cl": [1.0, 2.0, 4.0]}, x=x)
    exposure = nca(table["c"].to_numpy().reshape(3, -1), times, dose=100.0)
    assert exposure["cl"].to_numpy() == pytest.approx(np.array([1, 2, 4]) / 0.7, rel=2e-3)


def test_log_auc_is_as_sensitive_to_each_parameter_as_it_varies(linear):
    """AUC = dose F / CL, whatever the volume and the absorption."""
    x = linear.covariates(weight=70.0, sex=0.0)
    times = np.linspace(0, 120, 121)
    f = response(
        linear,
        Events.of(1, into="iv", amount=100.0),
        times,
        lambda out: {"log auc": np.log(nca(out.c, times, given="bolus")["auc_inf"].to_numpy())},
        x=x,
    )
    table = sobol(f, between_subjects(linear, ["cl", "v"]), n=64, replicates=4)
    assert table["output"].unique().to_list() == ["log auc"]
    assert table["total"].to_numpy() == pytest.approx([1, 0], abs=0.02)


def test_what_cannot_be_scanned_is_refused_all_at_once(linear):
    two = Events.of(2, into="iv", amount=1.0)
    with pytest.raises(ValueError, match=r"over names 'kaa'.*no values of cl.*no value of weight.*those of 2 subjects"):
        scan(linear, two, TIMES, {"kaa": [1.0], "cl": [], "sex": ["male"]})
    x = linear.covariates(weight=70.0, sex=0.0)
    with pytest.raises(ValueError, match=r"sex is 'man'; write one of male, female; design is 'all'"):
        scan(linear, Events.none(1), TIMES, {"sex": ["man"]}, x=x, design="all")  # type: ignore[arg-type]


def test_the_slope_of_a_steady_state_is_the_known_one_and_bounds_what_a_parameter_does(two_drugs):
    """At steady state C = R km (1 + I/ki) / (vmax - R): in vmax, log C has the slope -1 / (vmax - R)."""
    rates = {"victim": 5.0, "inhibitor": 2.0}
    log_c = response(two_drugs, _infused(**rates), [0.0, 400.0], lambda out: jnp.log(out.victim[:, -1]), smooth=True)
    vmax = np.array([12.0, 20.0, 30.0])
    _, slope = jax.jvp(lambda v: log_c({"vmax": v}), (jnp.asarray(vmax),), (jnp.ones(3),))
    assert np.asarray(slope) == pytest.approx(-1 / (vmax - 5), rel=1e-5)
    table = dgsm(log_c, {"vmax": (15.0, 25.0)}, n=32, replicates=2)
    x = np.linspace(15, 25, 200_001)
    assert table["measure"][0] == pytest.approx(np.mean((10 / (x - 5)) ** 2), rel=0.02)
