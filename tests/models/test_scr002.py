"""Four drugs and QTcF: pharmacokinetics in closed form and against published figures, the cell's curves against the "
"cell."""

import numpy as np
import pytest

from cohort.dosing.records import Events
from cohort.engine import solve
from cohort.library import load, path_of
from cohort.trace import check_units

DRUGS = {"dofetilide": 0.5, "ranolazine": 1500.0, "quinidine": 400.0, "verapamil": 120.0}  # mg, as in the trial
LEVELS = ("placebo", *DRUGS)


@pytest.fixture(scope="module")
def scr002():
    return load("scr002")


def typical(model, drug: str, n: int = 1, **covariates):
    """Parameters of n people of 70 kg who take `drug`, of typical random effects."""
    given = {"weight": 70.0, "sex": 0, "drug": LEVELS.index(drug)} | covariates
    x = model.covariates(**{k: np.broadcast_to(np.asarray(v), (n,)) for k, v in given.items()})
    p = model.subject(model.typical(), dict.fromkeys(model.effects(), np.zeros(n)), x)
    return model.parameters(**{k: np.broadcast_to(np.asarray(v, float), (n,)) for k, v in vars(p).items()})


def course(model, drug: str, hours, mg: float | None = None, **covariates):
    """Outputs of one typical person at these hours, after the trial's dose or another."""
    p = typical(model, drug, **covariates)
    if drug == "placebo":
        events = Events.of(1, into="dofetilide", amount=0.0)
    else:
        nmol = (DRUGS[drug] if mg is None else mg) / model.routes[drug].molar_mass * 1e6
        events = Events.of(1, into=drug, amount=nmol)
    seen, status = solve(model, p, events, np.asarray(hours, float))
    assert not status.code.any()
    return p, seen


def test_all_units_agree(scr002):
    assert check_units(scr002, str(path_of("scr002"))) == []


@pytest.mark.parametrize("drug", DRUGS)
def test_plasma_and_heart_follow_the_closed_form(scr002, drug):
    """One compartment with absorption, and a second first-order step behind it: sums of exponentials."""
    hours = np.array([0.0, 0.25, 0.5, 1, 2, 4, 8, 24])
    p, seen = course(scr002, drug, hours)
    q = {name: float(value[0]) for name, value in vars(p).items()}
    dose = DRUGS[drug] / scr002.routes[drug].molar_mass * 1e6
    ka, k, ke0 = q["ka"], q["cl"] / q["v"], q["ke0"]
    t = np.maximum(hours - q["lag"], 0.0)
    c = dose / q["v"] * ka / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))
    assert np.allclose(seen.c[0], q["exposure"] * c * q["mass"], rtol=1e-9, atol=1e-9)
    rates = (k, ka, ke0)
    heart = sum(np.exp(-r * t) / np.prod([other - r for other in rates if other != r]) for r in rates) * (
        dose / q["v"] * ka * ke0
    )
    relative = (q["free"] * q["exposure"] * np.maximum(heart, 0) / q["half"]) ** q["hill"]
    assert np.allclose(seen.dapd[0], q["most"] * relative / (1 + relative), rtol=1e-6, atol=1e-6)


def test_dofetilide_follows_the_arm_that_it_was_fitted_to(scr002):
    """The trial's mean: 2.10 ng/mL at 4 h, at which the translator is learnt, 0.71 at 12 h. Calibration data, so a fit.
    At the peak, 2.63 at 2.5 h, one compartment is too flat by an eighth."""
    _, seen = course(scr002, "dofetilide", [0, 2.5, 4, 12], weight=68.3)
    assert seen.c[0, 1] / 2.63 == pytest.approx(0.88, abs=0.02)
    assert seen.c[0, 2] == pytest.approx(2.10, rel=0.05)
    assert seen.c[0, 3] == pytest.approx(0.71, rel=0.12)


def test_verapamil_has_the_published_area_and_half_life_independent(scr002):
    """Abernethy 1985: 120 mg by mouth, 585 ng/mL h, half-life 4.25 h."""
    hours = np.linspace(0, 60, 6001)
    _, seen = course(scr002, "verapamil", hours)
    assert np.trapezoid(seen.c[0], hours) == pytest.approx(585, rel=0.01)
    late = seen.c[0, [2000, 3000]]
    assert 10 * np.log(2) / np.log(late[0] / late[1]) == pytest.approx(4.25, rel=0.01)


def test_quinidine_peaks_as_published_independent(scr002):
    """El-Eraky 2003: 3 mg/kg by mouth, Cmax 997 (men) and 871 ng/mL (women), if the dose was of base."""
    hours = np.linspace(0, 6, 601)
    base = 3 * 70 * scr002.routes["quinidine"].molar_mass / 324.42  # mg of sulphate that hold so much base
    _, seen = course(scr002, "quinidine", hours, mg=base)
    assert 871 < seen.c[0].max() < 997


def test_ranolazine_is_released_slowly_independent(scr002):
    """Label: peak at 2 to 5 h; Jerling 2006: apparent half-life 7 h of the extended release."""
    hours = np.linspace(0, 36, 3601)
    _, seen = course(scr002, "ranolazine", hours)
    assert 2 <= hours[seen.c[0].argmax()] <= 5
    assert 6 * np.log(2) / np.log(seen.c[0, 3000] / seen.c[0, 3600]) == pytest.approx(7, rel=0.02)


def test_placebo_moves_qtcf_as_its_arm(scr002):
    """Fifteen observed means of the placebo arm, ms; three parameters, one of them calibrated. The fit's own error: "
    "1.8."""
    hours = [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 12, 14, 24]
    seen_means = [-8.3, -5.4, -5.4, -2.3, -4.1, -5.9, -9.4, -7.8, -9.4, -7.4, -9.4, -9.5, -13.1, -12.1, -5.0]
    _, seen = course(scr002, "placebo", hours)
    change = seen.change[0, 1:] - seen.change[0, 0]
    assert seen.dapd[0] == pytest.approx(0.0, abs=1e-6)
    assert np.sqrt(np.mean((change - seen_means) ** 2)) < 1.8


def test_a_person_is_the_same_on_every_drug(scr002):
    """Baseline, and so what a crossover compares, does not depend on what is taken; women's is longer by 11.8 ms."""
    before = {drug: course(scr002, drug, [0.0, 1.0])[1].qtcf[0, 0] for drug in LEVELS}
    assert list(before.values()) == pytest.approx([389.0] * 5)
    _, woman = course(scr002, "placebo", [0.0, 1.0], sex=1)
    assert woman.qtcf[0, 0] - before["placebo"] == pytest.approx(11.8)


def test_the_change_starts_at_100_ms_so_that_its_residual_is_in_ms(scr002):
    for drug in LEVELS:
        _, seen = course(scr002, drug, [0.0, 3.0])
        assert seen.change[0, 0] == pytest.approx(100.0)
        assert seen.change[0, 1] - 100 == pytest.approx(seen.qtcf[0, 1] - seen.qtcf[0, 0])


def test_quinidine_sulphate_holds_two_bases(scr002):
    """400 mg of the dihydrate, 782.94 g/mol, hold 331.5 mg of base."""
    assert 400 / scr002.routes["quinidine"].molar_mass * 324.42 == pytest.approx(331.5, abs=0.1)


@pytest.mark.slow
def test_the_curves_are_those_of_the_cell(scr002):
    """The cell solved again, three free concentrations of each drug around its peak, 1,000 beats from the undrugged
    steady state: dAPD90 within 1.5 ms, of which reading it to whole ms takes half."""
    from cohort.pharmacometrics.beats import cells, counting, pace

    cell = load("cipa")
    at = {
        "dofetilide": (0.5, 2.0, 4.0),
        "ranolazine": (500.0, 1500.0, 4500.0),
        "quinidine": (250.0, 750.0, 1500.0),
        "verapamil": (5.0, 20.0, 60.0),
    }
    drugs = [drug for drug, own in at.items() for _ in own]
    free = np.array([c for own in at.values() for c in own])
    levels = cell.covariates.fields()["drug"]["levels"]
    x = cell.covariates(**covariates_of_the_cell(cell, np.array([levels.index(d) for d in drugs])))
    neither_sex = cell.typical() | {"sexed": 0.0}  # as the curves were read; a man's APD90 is 23 ms shorter
    p = cell.subject(neither_sex, dict.fromkeys(cell.effects(), np.zeros(len(free))), x)
    p = cells(cell, len(free), **{**vars(p), "concentration": free})
    read = counting(pace(cell, p, 1000, range(997, 1001))).sort("cell")
    assert not read["code"].to_numpy().any()
    for drug, c, apd in zip(drugs, free, read["apd90"].to_numpy(), strict=True):
        q = {name: scr002.typical()[f"{drug}_{name}"] for name in ("most", "half", "hill")}
        relative = (c / q["half"]) ** q["hill"]
        assert q["most"] * relative / (1 + relative) == pytest.approx(apd - 290, abs=1.5), (drug, c)


def covariates_of_the_cell(cell, drug: np.ndarray) -> dict:
    """The drug of each lane, and of everything else the first level or one."""
    fields = cell.covariates.fields()
    return {
        n: drug if n == "drug" else np.zeros(len(drug), int) if m["levels"] else np.ones(len(drug))
        for n, m in fields.items()
    }
