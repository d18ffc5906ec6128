"""Evolocumab against an independent solver and against published pharmacokinetic facts."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cohort.dosing.records import Events
from cohort.engine import solve
from cohort.library import path_of
from cohort.streams import streams
from cohort.trace import check_units

KILODALTON = 141.8
WEEKLY = np.arange(0.0, 85.0, 7.0)


def _doses(mg: float | np.ndarray, times: list[float], n: int, route: str = "sc") -> Events:
    nmol = np.broadcast_to(np.asarray(mg, float) / KILODALTON * 1e3, (n,))
    course = np.repeat(np.arange(n), len(times))
    return Events.of(
        n, np.arange(n), course=course, time=np.tile(times, n), into=route, amount=np.repeat(nmol, len(times))
    )


def _typical(model, n: int = 1, **covariates):
    """The typical subject of [1] in the model's file, with other covariates where given."""
    given = {"weight": 84.0, "sex": 0, "pcsk9": 425.0, "statin": 0, "ezetimibe": 0, "ldl": 120.0} | covariates
    x = model.covariates(**{k: np.broadcast_to(np.asarray(v), (n,)) for k, v in given.items()})
    p = model.subject(model.typical(), dict.fromkeys(model.effects(), np.zeros(n)), x)
    return model.parameters(**{k: np.broadcast_to(np.asarray(v, float), (n,)) for k, v in vars(p).items()})


def test_all_units_agree(evolocumab):
    assert check_units(evolocumab, str(path_of("evolocumab"))) == []


def test_pharmacokinetics_and_ldl_agree_with_scipy_at_tight_tolerance(evolocumab, people):
    """140 mg every two weeks in random subjects; DOP853 on equations written here from the papers."""
    some = people.head(6)
    s = streams(3, "effects", some["subject"].to_list())
    z = {name: s.normal(name)[:, 0] for name in evolocumab.effects()}
    x = evolocumab.covariates(
        **{c: some[c].to_numpy() for c in ("weight", "pcsk9", "ldl")},
        sex=(some["sex"] == "female").to_numpy().astype(int),
        statin=(some["statin"] == "yes").to_numpy().astype(int),
        ezetimibe=(some["ezetimibe"] == "yes").to_numpy().astype(int),
    )
    p = evolocumab.subject(evolocumab.typical(), z, x)
    p = evolocumab.parameters(**{k: np.broadcast_to(np.asarray(v, float), (6,)) for k, v in vars(p).items()})
    given = [0.0, 14, 28, 42, 56, 70]
    out, status = solve(evolocumab, p, _doses(140.0, given, 6), WEEKLY)
    assert not status.code.any()
    for i in range(6):
        q = {k: float(v[i]) for k, v in vars(p).items()}

        def slope(t, y, q=q):
            depot, central, ldl = y
            c = central / q["v"]
            mass = c * KILODALTON / 1000
            effect = q["smax"] * mass / (q["sc50"] + mass)
            uptake = q["ka"] * depot
            eliminated = q["cl"] * c + q["vmax"] * c / (q["km"] + c) * q["v"]
            return [-uptake, uptake - eliminated, q["kout"] * (q["base"] - (1 + effect) * ldl)]

        y, want = np.array([0.0, 0.0, q["base"]]), []
        for a, b in zip(WEEKLY, [*WEEKLY[1:], None], strict=True):
            want.append((y[1] / q["v"], y[2]))
            if b is None:
                break
            if a in given:
                y = y + np.array([0.72 * 140 / KILODALTON * 1e3, 0.0, 0.0])
            y = solve_ivp(slope, (a, b), y, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
        concentration, ldl = np.array(want).T
        assert out.c[i] == pytest.approx(concentration, rel=2e-6, abs=1e-8)
        assert out.ldl[i] == pytest.approx(ldl, rel=1e-6)


CHINESE, AMERICAN = 65.0, 75.0  # kg; the former weighed some 60-70 kg, of the latter it is an assumption


def _single(model, weight: float, mg: float, days: float, route: str = "sc") -> tuple[np.ndarray, np.ndarray]:
    """Days, and ug/mL after one dose in a typical man of this weight."""
    t = np.arange(0.0, days + 0.1, 0.25)
    out, _ = solve(model, _typical(model, weight=weight), _doses(mg, [0.0], 1, route), t)
    return t, out.c[0] * KILODALTON / 1000


def test_140_mg_peak_as_high_as_in_chinese_volunteers(evolocumab):
    """Two studies: means 13.8 and 14.1 ug/mL, SD 4-5."""
    assert _single(evolocumab, CHINESE, 140.0, 28)[1].max() == pytest.approx(14, abs=4)


# Repatha's United States label, section 12.3: mean and SD between healthy volunteers, whose weight it does not print.
LABEL = [(140.0, 18.6, 7.3, 188, 98.6), (420.0, 59.0, 17.2, 924, 346)]


@pytest.mark.parametrize(("mg", "peak", "peak_sd", "area", "area_sd"), LABEL)
def test_a_single_dose_lies_within_the_spread_of_the_labels_volunteers(evolocumab, mg, peak, peak_sd, area, area_sd):
    """ug/mL, d*ug/mL. Threefold dose, fivefold area: the target takes less of a high dose."""
    t, c = _single(evolocumab, AMERICAN, mg, 84)
    assert c.max() == pytest.approx(peak, abs=peak_sd)
    assert np.trapezoid(c, t) == pytest.approx(area, abs=area_sd)


@pytest.mark.xfail(reason="absorption at the published 0.319/d, fixed there, peaks at 5 to 5.5 d: one to two days late")
@pytest.mark.parametrize("weight", [CHINESE, AMERICAN])
def test_a_single_140_mg_peaks_between_day_3_and_5(evolocumab, weight: float):
    """Median 3-4 d: Repatha's United States label, section 12.3; median 4 d in the two Chinese studies."""
    t, c = _single(evolocumab, weight, 140.0, 28)
    assert 3 <= t[c.argmax()] <= 5


def test_420_mg_into_a_vein_are_cleared_at_12_millilitres_an_hour(evolocumab):
    """Repatha's United States label, section 12.3: 12 (SD 2) mL/h."""
    t, c = _single(evolocumab, AMERICAN, 420.0, 112, route="iv")
    area = np.trapezoid(c[1:], t[1:]) + c[1] * t[1]  # before the first point the level hardly falls
    assert 420 / area / 24 * 1000 == pytest.approx(12, abs=2)


def _accumulation(model, mg: float, every: float) -> tuple[float, float]:
    """Of a typical subject, first interval to twelfth: ratio of exposures, ratio of troughs."""
    t = np.arange(0.0, 12 * every + 0.1, 0.5)
    out, _ = solve(model, _typical(model), _doses(mg, [every * k for k in range(12)], 1), t)
    c, n = out.c[0], round(every / 0.5)
    return np.trapezoid(c[11 * n :]) / np.trapezoid(c[: n + 1]), c[12 * n] / c[n]


LATE = pytest.mark.xfail(reason="the published parameters give 18.3 d at 420 mg every 4 weeks")


@pytest.mark.parametrize(("mg", "every"), [(140.0, 14.0), pytest.param(420.0, 28.0, marks=LATE)])
def test_the_effective_half_life_is_11_to_17_days(evolocumab, mg: float, every: float):
    """Kasichayanula et al. 2018, Clin Pharmacokinet 57:769.

    Effective: the half-life of a linear drug that accumulates as much, ln 2 * tau/ln(R/(R - 1)) with R the ratio of
    exposures over an interval. The terminal half-life says little, for the target removes the last of the drug fast.
    """
    ratio, _ = _accumulation(evolocumab, mg, every)
    assert 11 <= math.log(2) * every / math.log(ratio / (ratio - 1)) <= 17


@pytest.mark.parametrize(("mg", "every"), [(140.0, 14.0), (420.0, 28.0)])
def test_troughs_accumulate_about_two_to_threefold(evolocumab, mg: float, every: float):
    """Repatha's United States label, section 12.3: approximately 2- to 3-fold."""
    assert round(_accumulation(evolocumab, mg, every)[1]) in (2, 3)


def test_placebo_changes_nothing(evolocumab):
    out, status = solve(evolocumab, _typical(evolocumab, 3, ldl=[90.0, 120.0, 190.0]), _doses(0.0, [0.0], 3), WEEKLY)
    assert not status.code.any()
    assert not out.c.any()
    assert out.ldl == pytest.approx(np.repeat([[90.0], [120.0], [190.0]], len(WEEKLY), axis=1), rel=1e-9)


def test_a_higher_dose_lowers_ldl_more(evolocumab):
    mg = np.array([0.0, 70, 105, 140, 280, 420])
    given = [0.0, 14, 28, 42, 56, 70]
    out, _ = solve(evolocumab, _typical(evolocumab, 6), _doses(mg, given, 6), WEEKLY)
    assert np.all(np.diff(out.ldl[:, -1]) < 0)
    assert np.all(out.ldl > 0)


def test_drift_moves_ldl_linearly_until_day_84_and_no_further(evolocumab):
    p = _typical(evolocumab).replace(drift=np.array([-0.05]))
    out, _ = solve(evolocumab, p, _doses(0.0, [0.0], 1), np.array([0.0, 42, 84, 168]))
    assert out.ldl[0] == pytest.approx([120, 117, 114, 114])


def test_ezetimibe_with_a_statin_counts_as_ezetimibe_alone(evolocumab):
    """Kuchimanchi 2018, Table 3: 1.13 for a statin alone, 1.20 for ezetimibe, not their product."""
    p = _typical(evolocumab, 4, statin=[0, 1, 0, 1], ezetimibe=[0, 0, 1, 1])
    assert p.vmax / 9.85 == pytest.approx([1, 1.13, 1.20, 1.20])


def test_covariates_act_as_published(evolocumab):
    """Kuchimanchi 2018, Table 3: powers of weight/84 kg and PCSK9/425 ng/mL; volume of women 1.11 that of men."""
    p = _typical(evolocumab, 4, weight=[84.0, 168, 84, 84], sex=[0, 0, 1, 0], pcsk9=[425.0, 425, 425, 850])
    assert p.cl / 0.105 == pytest.approx([1, 2**0.276, 1, 1])
    assert p.v / 5.18 == pytest.approx([1, 2**1.04, 1.11, 1])
    assert p.vmax / 9.85 == pytest.approx([1, 2**0.145, 1, 2**0.194])


def test_an_intravenous_dose_arrives_whole_and_a_subcutaneous_one_by_72_percent(evolocumab):
    """Without its target the drug is linear, and the areas under the curve are dose/cl and 0.72 dose/cl."""
    p = _typical(evolocumab).replace(vmax=np.zeros(1))
    far = np.linspace(0.0, 1400.0, 2801)
    areas = []
    for route in ("iv", "sc"):
        out, _ = solve(evolocumab, p, _doses(140.0, [0.0], 1, route), far)
        areas.append(np.trapezoid(out.c[0][1:], far[1:]))
    assert areas[1] == pytest.approx(0.72 * 140 / KILODALTON * 1e3 / 0.105, rel=1e-3)
    # the half day before the first point after the bolus is not in the sum
    assert areas[0] == pytest.approx(140 / KILODALTON * 1e3 / 0.105 * math.exp(-0.105 / 5.18 * 0.5), rel=1e-3)


def test_endpoints_read_a_visit_table_with_missing_values(evolocumab):
    visits = evolocumab.outputs(
        c=np.zeros((3, 3)), ldl=np.array([[120.0, 24.0, 60.0], [120.0, np.nan, 90.0], [120.0, 60.0, np.nan]])
    )
    assert evolocumab.endpoints["ldl_change"].reads(visits) == pytest.approx([-50, -25, np.nan], nan_ok=True)
    assert np.asarray(evolocumab.endpoints["ldl_below_25"].reads(visits)).tolist() == [True, False, False]
