"""Exposure against curves known in closed form, and against published analyses of two data sets.

References
----------
[1] Boeckmann, Sheiner & Beal 1994, NONMEM Users Guide V: theophylline in twelve subjects (R's `Theoph`), analysed as
    320 mg by mouth each; here subjects 1, 2, 6 and 9.
[2] Kwan, Breault, Umbenhauer, McMahon & Duggan 1976, J Pharmacokinet Biopharm 4:255: 25 mg of indomethacin into a vein
    (R's `Indometh`); here subjects 1, 2 and 4.
[3] Han 2018, Validation of noncompartmental analysis performed by NonCompart R package, appendix A, tests 1, 2, 4, 5:
    results of Phoenix WinNonlin 6.3 and 7.0 for [1] and [2]; github.com/asancpt/NonCompart-tests.
"""

import numpy as np
import polars as pl
import pytest

from cohort.pharmacometrics.nca import accumulation, nca, nca_interval

THEOPH_TIMES = np.array(
    [
        [0, 0.25, 0.57, 1.12, 2.02, 3.82, 5.1, 7.03, 9.05, 12.12, 24.37],
        [0, 0.27, 0.52, 1, 1.92, 3.5, 5.02, 7.03, 9, 12, 24.3],
        [0, 0.27, 0.58, 1.15, 2.03, 3.57, 5, 7, 9.22, 12.1, 23.85],
        [0, 0.3, 0.63, 1.05, 2.02, 3.53, 5.02, 7.17, 8.8, 11.6, 24.43],
    ]
)  # h [1]
THEOPH = np.array(
    [
        [0.74, 2.84, 6.57, 10.5, 9.66, 8.58, 8.36, 7.47, 6.89, 5.94, 3.28],
        [0, 1.72, 7.91, 8.31, 8.33, 6.85, 6.08, 5.4, 4.55, 3.01, 0.9],
        [0, 1.29, 3.08, 6.44, 6.32, 5.53, 4.94, 4.02, 3.46, 2.78, 0.92],
        [0, 7.37, 9.03, 7.14, 6.33, 5.66, 5.67, 4.24, 4.11, 3.16, 1.12],
    ]
)  # mg/L [1]
INDOMETH_TIMES = np.array([0.25, 0.5, 0.75, 1, 1.25, 2, 3, 4, 5, 6, 8])  # h [2]
INDOMETH = np.array(
    [
        [1.5, 0.94, 0.78, 0.48, 0.37, 0.19, 0.12, 0.11, 0.08, 0.07, 0.05],
        [2.03, 1.63, 0.71, 0.7, 0.64, 0.36, 0.32, 0.2, 0.25, 0.12, 0.08],
        [1.85, 1.39, 1.02, 0.89, 0.59, 0.4, 0.16, 0.11, 0.1, 0.07, 0.07],
    ]
)  # mg/L [2]

K, KA, V, DOSE = 0.1, 1.2, 20.0, 100.0


def _bolus(t):
    return DOSE / V * np.exp(-K * np.asarray(t, float))


def _oral(t):
    t = np.asarray(t, float)
    return DOSE / V * KA / (KA - K) * (np.exp(-K * t) - np.exp(-KA * t))


def _check(table: pl.DataFrame, published: dict[str, list[float]], digits: float = 6e-8):
    for name, values in published.items():
        assert table[name].to_numpy() == pytest.approx(values, abs=digits, rel=1e-8), name


def test_theophylline_as_winnonlin_reports_it_with_the_linear_rule():
    table = nca(THEOPH, THEOPH_TIMES, dose=320, method="linear", subjects=[1, 2, 6, 9])
    assert table["subject"].to_list() == [1, 2, 6, 9]
    published = {  # [3] test 1
        "c_max": [10.5, 8.33, 6.44, 9.03],
        "t_max": [1.12, 1.92, 1.15, 0.63],
        "c_last": [3.28, 0.9, 0.92, 1.12],
        "t_last": [24.37, 24.3, 23.85, 24.43],
        "lambda_z": [0.0484570, 0.1040864, 0.0877957, 0.0824586],
        "half_life": [14.3043776, 6.6593416, 7.8949979, 8.4059988],
        "r2_adjusted": [0.9999995, 0.9957931, 0.9978896, 0.9988873],
        "points": [3, 4, 7, 3],
        "lambda_z_from": [9.05, 7.03, 2.03, 8.8],
        "auc_last": [148.9230500, 91.5268000, 73.7755500, 86.3261500],
        "auc_inf": [216.6119330, 100.1734591, 84.2544183, 99.9087179],
        "auc_inf_predicted": [216.6149558, 100.0643176, 84.4966986, 99.8660677],
        "extrapolated": [31.2489169, 8.6316867, 12.4371737, 13.5949777],
        "aumc_last": [1459.0711035, 706.5865660, 609.1523875, 705.2296255],
        "aumc_inf": [4505.5348194, 999.7722880, 978.4284857, 1201.7715381],
        "mrt": [20.8000305, 9.9804109, 11.6127855, 12.0286954],
        "cl": [1.4772963, 3.1944589, 3.7980204, 3.2029237],
        "vz": [30.4867482, 30.6904416, 43.2597345, 38.8427934],
    }
    _check(table, published)
    assert "vss" not in table.columns


def test_theophylline_as_winnonlin_reports_it_with_the_logarithmic_rule_on_the_way_down():
    table = nca(THEOPH, THEOPH_TIMES, dose=320)
    published = {  # [3] test 2
        "auc_last": [147.2347485, 88.73127549, 71.69701499, 83.93743601],
        "auc_inf": [214.9236316, 97.37793463, 82.17588332, 97.52000394],
        "extrapolated": [31.49438828, 8.879485045, 12.75175624, 13.92798132],
        "aumc_last": [1499.129085, 716.2787279, 618.6659191, 723.3794155],
        "aumc_inf": [4545.592801, 1009.46445, 987.9420173, 1219.921328],
        "mrt": [21.14980455, 10.36645985, 12.02228656, 12.50944708],
        "cl": [1.488900954, 3.286165405, 3.894086526, 3.281378046],
        "vz": [30.72623247, 31.57150238, 44.35393475, 39.79423233],
    }
    _check(table, published)


def test_indomethacin_after_a_bolus_starts_from_where_its_first_samples_point():
    table = nca(INDOMETH, INDOMETH_TIMES, dose=25, given="bolus")
    published = {  # [3] test 4
        "c_max": [1.5, 2.03, 1.85],
        "c_0": [2.3936170, 2.5281595, 2.4622302],
        "points": [3, 9, 11],  # the peak itself is part of the terminal phase of the third subject
        "lambda_z_from": [5, 0.75, 0.25],
        "half_life": [4.3781270, 2.2930632, 1.5219104],
        "r2_adjusted": [0.9941335, 0.9401933, 0.8586943],
        "auc_last": [2.0098984, 3.2028878, 2.7483832],
        "auc_inf": [2.3257135, 3.4675431, 2.9020789],
        "auc_inf_predicted": [2.3272832, 3.4501946, 2.8185565],
        "aumc_last": [3.3047961, 6.4131687, 4.4049718],
        "aumc_inf": [7.8261005, 9.4059410, 5.9719996],
        "mrt": [3.3650320, 2.7125665, 2.0578350],
        "cl": [10.7493892, 7.2097158, 8.6145142],
        "vz": [67.8963898, 23.8511160, 18.9144805],
        "vss": [36.1720388, 19.5568334, 17.7272490],
    }
    _check(table, published)


def test_an_infusion_starts_from_zero_and_its_peak_is_no_part_of_the_terminal_phase():
    table = nca(INDOMETH, INDOMETH_TIMES, dose=25, given="infusion", duration=0.25, method="linear")
    published = {  # [3] test 5
        "points": [3, 9, 10],
        "lambda_z": [0.1583205, 0.3022800, 0.4290762],
        "auc_last": [1.7412500, 2.9325000, 2.4775000],
        "auc_inf": [2.0570651, 3.1971553, 2.6406412],
        "aumc_inf": [7.7925545, 9.3915223, 6.0672197],
        "cl": [12.1532371, 7.8194513, 9.4673975],
        "vz": [76.7635175, 25.8682374, 22.0646091],
    }
    _check(table, published)
    moment = np.array([7.7925545, 9.3915223, 6.0672197]) / [2.0570651, 3.1971553, 2.6406412]
    assert table["mrt"].to_numpy() == pytest.approx(moment - 0.125, rel=1e-7)


def test_one_compartment_after_a_bolus_is_exact_where_samples_only_fall():
    t = [0, 0.5, 1, 3, 8, 20, 24]
    row = nca([[0.0, *_bolus(t[1:])]], t, dose=DOSE, given="bolus").row(0, named=True)
    want = {
        "c_0": DOSE / V,
        "lambda_z": K,
        "half_life": np.log(2) / K,
        "auc_last": DOSE / V / K * (1 - np.exp(-K * 24)),
        "auc_inf": DOSE / V / K,
        "aumc_inf": DOSE / V / K**2,
        "mrt": 1 / K,
        "cl": K * V,
        "vz": V,
        "vss": V,
        "extrapolated": 100 * np.exp(-K * 24),
    }
    assert {name: row[name] for name in want} == pytest.approx(want, rel=1e-12)


def test_one_compartment_by_mouth_densely_sampled():
    t = np.linspace(0, 120, 6001)
    row = nca([_oral(t)], t, dose=DOSE).row(0, named=True)
    t_max = np.log(KA / K) / (KA - K)
    assert row["t_max"] == pytest.approx(t_max, abs=0.011)
    assert row["c_max"] == pytest.approx(_oral(t_max), rel=1e-4)
    assert row["cl"] == pytest.approx(K * V, rel=1e-5)
    assert row["half_life"] == pytest.approx(np.log(2) / K, rel=5e-4)  # the longest phase as good begins early
    assert row["mrt"] == pytest.approx(1 / K + 1 / KA, rel=1e-4)


def test_a_two_hour_infusion_has_the_residence_time_of_a_bolus():
    rate, length = DOSE / 2, 2.0
    t = np.linspace(0, 100, 5001)
    c = rate / (K * V) * np.where(t < length, 1 - np.exp(-K * t), (1 - np.exp(-K * length)) * np.exp(-K * (t - length)))
    row = nca([c], t, dose=DOSE, given="infusion", duration=length).row(0, named=True)
    assert row["mrt"] == pytest.approx(1 / K, rel=1e-4)
    assert row["vss"] == pytest.approx(V, rel=1e-4)


def test_a_missed_sample_is_as_if_it_had_not_been_planned():
    missed = THEOPH[:1].copy()
    missed[0, 6] = np.nan
    kept = np.delete(np.arange(11), 6)
    assert nca(missed, THEOPH_TIMES[:1]).equals(nca(THEOPH[:1, kept], THEOPH_TIMES[:1, kept]))


def test_samples_below_the_limit_are_zero_before_the_first_quantifiable_one_and_left_out_after():
    t = np.array([0, 1, 2, 4, 8, 12, 16, 24.0])
    c = np.array([[0.3, 0.4, 5, 4, 0.2, 2, 1, 0.49]])
    table = nca(c, t, lloq=0.5, method="linear")
    assert table["auc_last"].item() == pytest.approx(0 + 0.5 * 5 + 9 + 0.5 * 8 * (4 + 2) + 0.5 * 4 * (2 + 1))
    assert (table["t_last"].item(), table["c_last"].item()) == (16, 1)


def test_who_has_nothing_quantifiable_has_no_exposure_and_no_half_life():
    nothing, placebo, drug = np.full(5, np.nan), np.zeros(5), [0, 4, 3, 2, 1]
    table = nca([nothing, placebo, drug], np.arange(5.0), dose=1.0)
    assert table["auc_last"].to_list() == pytest.approx(
        [np.nan, 0, 2 + _fall(4, 3) + _fall(3, 2) + _fall(2, 1)], nan_ok=True
    )
    assert table["c_max"].to_list() == pytest.approx([np.nan, 0, 4], nan_ok=True)
    assert np.isnan(table["t_max"].to_numpy()).tolist() == [True, True, False]
    assert np.isnan(table["half_life"].to_numpy()).tolist() == [True, True, False]
    assert np.isnan(table["cl"].to_numpy()).tolist() == [True, True, False]


def _fall(a: float, b: float) -> float:
    return (a - b) / np.log(a / b)


def test_two_samples_after_the_peak_are_no_terminal_phase():
    assert np.isnan(nca([[0, 4, 3, 2.0]], [0, 1, 2, 3])["lambda_z"].item())
    assert np.isfinite(nca([[0, 4, 3, 2.0, 1]], [0, 1, 2, 3, 4])["lambda_z"].item())


def test_a_curve_that_rises_at_its_end_has_no_half_life_from_there():
    row = nca([[0, 9.0, 1, 2, 3, 4]], np.arange(6.0)).row(0, named=True)
    assert np.isnan(row["half_life"])


def test_of_terminal_phases_as_good_the_longest_is_taken():
    t = np.array([0, 1, 2, 4, 6, 8, 10, 12.0])
    line = np.exp(-0.2 * t) * np.array([0, 1.6, 1, 1, 1, 1.001, 1, 1])
    row = nca([line], t).row(0, named=True)
    assert row["points"] == 6  # from 2 h on, though the last three alone lie on a straighter line
    assert row["lambda_z"] == pytest.approx(0.2, rel=1e-3)


def test_a_subject_is_the_same_in_any_company():
    together = nca(THEOPH, THEOPH_TIMES, dose=[320, 320, 300, 250])
    for i, dose in enumerate([320, 320, 300, 250]):
        alone = nca(THEOPH[i : i + 1], THEOPH_TIMES[i], dose=dose, subjects=[i])
        assert alone.equals(together[i : i + 1])


def _repeated(t, single, tau: float, doses: int):
    """Superposition: the curve of so many doses, each sample at the time of a dose taken before it."""
    t = np.asarray(t, float)
    return sum(np.where(t > i * tau, single(np.maximum(t - i * tau, 0)), 0.0) for i in range(doses))


def test_a_bolus_every_day_accumulates_as_known():
    tau, doses = 8.0, 40
    t = np.unique(np.concatenate([np.arange(0, tau + 1e-9, 0.5), (doses - 1) * tau + np.arange(0, tau + 1e-9, 0.5)]))
    c = _repeated(t, _bolus, tau, doses)
    first = nca_interval([c], t, start=0, tau=tau, dose=DOSE, given="bolus")
    steady = nca_interval([c], t, start=(doses - 1) * tau, tau=tau, dose=DOSE, given="bolus")
    gathered = 1 / (1 - np.exp(-K * tau))
    row = steady.row(0, named=True)
    assert row["auc_tau"] == pytest.approx(DOSE / (K * V), rel=1e-9)
    assert row["cl"] == pytest.approx(K * V, rel=1e-9)
    assert row["c_avg"] == pytest.approx(DOSE / (K * V) / tau, rel=1e-9)
    assert row["c_trough"] == row["c_min"] == pytest.approx(DOSE / V * gathered * np.exp(-K * tau), rel=1e-9)
    high = DOSE / V * gathered * np.exp(-K * 0.5)
    assert row["fluctuation"] == pytest.approx(100 * (high - row["c_min"]) / row["c_avg"], rel=1e-9)
    assert row["swing"] == pytest.approx(100 * (np.exp(K * (tau - 0.5)) - 1), rel=1e-9)
    ratios = accumulation(first, steady).row(0, named=True)
    assert ratios == pytest.approx({"subject": 0, "r_auc": gathered, "r_max": gathered}, rel=1e-9)


def test_a_daily_tablet_at_steady_state_has_the_exposure_of_a_single_one():
    tau, doses = 12.0, 30
    t = np.concatenate([np.linspace(0, tau, 2401), (doses - 1) * tau + np.linspace(0, tau, 2401)])
    c = _repeated(t, _oral, tau, doses)
    steady = nca_interval([c], t, start=(doses - 1) * tau, tau=tau)
    single = nca([_oral(np.linspace(0, 200, 20001))], np.linspace(0, 200, 20001))
    assert steady["auc_tau"].item() == pytest.approx(single["auc_inf"].item(), rel=1e-6)
    first = DOSE / V * KA / (KA - K) * ((1 - np.exp(-K * tau)) / K - (1 - np.exp(-KA * tau)) / KA)
    gathered = accumulation(nca_interval([c], t, start=0, tau=tau), steady)["r_auc"].item()
    assert gathered == pytest.approx(DOSE / (K * V) / first, rel=1e-5)


def test_an_interval_without_a_sample_at_its_end_follows_the_terminal_phase_there():
    tau = 8.0
    t = np.array([0, 0.5, 1, 2, 4, 6])
    whole = nca_interval([_bolus([*t, tau])], [*t, tau], start=0, tau=tau, given="bolus")
    early = nca_interval([_bolus(t)], t, start=0, tau=tau, given="bolus")
    for name in ("auc_tau", "c_trough", "c_avg"):
        assert early[name].item() == pytest.approx(whole[name].item(), rel=1e-12)


def test_a_trough_before_a_later_bolus_is_not_where_its_curve_begins():
    t = np.array([0, 2, 4, 8, 8, 10, 12, 16])
    after = np.array([0, 1, 1, 1, 2, 2, 2, 2])  # doses given so far; at 8 h one sample before, one after
    c = _bolus(t) * (after > 0) + _bolus(t - 8) * (after > 1)
    once, twice = np.delete(np.arange(8), 4), np.arange(8)
    for kept in (once, twice):
        row = nca_interval([c[kept]], t[kept], start=8, tau=8, given="bolus").row(0, named=True)
        want = (_bolus(0) + _bolus(8)) / K * (1 - np.exp(-8 * K))
        assert row["auc_tau"] == pytest.approx(want, rel=1e-12)
    assert nca_interval([c], t, start=0, tau=8, given="bolus")["auc_tau"].item() == pytest.approx(
        _bolus(0) / K * (1 - np.exp(-8 * K)), rel=1e-12
    )


def test_what_does_not_match_is_refused():
    with pytest.raises(ValueError, match=r"concentrations of \(1, 3\) and times of \(2,\)"):
        nca([[1.0, 2, 3]], [0, 1])
    with pytest.raises(ValueError, match=r"times go back in 1 of 2 subjects \(rows 1\)"):
        nca(np.ones((2, 3)), [[0, 1, 2], [0, 2, 1]])
    with pytest.raises(ValueError, match="given is 'iv'"):
        nca([[1.0, 2, 3]], [0, 1, 2], given="iv")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method is 'log'"):
        nca([[1.0, 2, 3]], [0, 1, 2], method="log")  # type: ignore[arg-type]
