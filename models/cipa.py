"""The CiPA heart cell: a human ventricular myocyte, endocardial, whose hERG channels bind and trap a drug (CiPAORdv1.0).

O'Hara and Rudy's cell [1] with the Markov hERG channel of Li and colleagues [2] and conductances as rescaled for
proarrhythmia [3, 4]. A drug binds hERG in its open states, may be trapped when the channel closes, and blocks other
currents by Hill curves. What is asked of a beat is its net charge qNet, the integral of six currents [3], and how long
the action potential lasts. Time is in ms, and a beat is a stimulus of 0.5 ms: 40 mV into v by the route `stimulus`, and
the potassium that carries it by `stimulus_potassium` (`cohort.pharmacometrics.beats.pacing` writes both).

48 of the published 49 states are states here; the 49th, the drug's concentration, never changes and is a parameter.
qNet adds a state. `individual` looks the drug up in the set of 2020 [6]: hERG by its kinetics, ICaL, INaL and INa by Hill
curves, and nothing else, for that set has nothing else. Parameters of another set, or samples of this one, are given to
`solve` as parameters of each lane; the sets of 2017 and 2018 also block Ito, IK1 and IKs, which have parameters too.

Constants of the gates' rate equations stand in `ode`, as they do in [1], whose pages are named there: potentials in mV,
times in ms.

References
----------
[1] O'Hara, Virág, Varró & Rudy 2011, PLoS Comput Biol 7:e1002061, doi 10.1371/journal.pcbi.1002061, and its Text S1,
    whose pages are cited. Numbers compared with the CellML/Myokit text of FarmHJ/importance-of-binding-mechanism (BSD-3).
[2] Li et al. 2017, Circ Arrhythm Electrophysiol 10:e004628, doi 10.1161/CIRCEP.116.004628: hERG with a drug at 37 °C.
[3] Dutta et al. 2017, Front Physiol 8:616, doi 10.3389/fphys.2017.00616: conductances rescaled; qNet.
[4] FDA/CiPA, branch Model-Validation-2018 (a0924b59): the division of GKr by 1.1, "manual adjustment", of 2018.
[5] The same, newordherg_pars.txt and newordherg_states_CL2000.txt: the values of [2] in full, and the steady state of
    the undrugged cell at a cycle of 2000 ms.
[6] The same, branch Lab_Specific_Validation_Calibration_2020 (4bfb160d): 28 drugs, hERG kinetics and Hill curves
    measured at one laboratory by automated patch clamp ("chantest"); free Cmax, and class of risk.
[7] Yang & Clancy 2012, Front Physiol 3:360, doi 10.3389/fphys.2012.00360: female/male ratios of endocardial
    conductances, from channel expression; values from memory: unverified.
"""

from typing import Any

import jax.numpy as jnp

from cohort import (
    Endpoint,
    Model,
    Record,
    Route,
    Scalar,
    category,
    fixed,
    lognormal,
    quantity,
)
from cohort.pharmacometrics import beats

# The 28 drugs [6]: free Cmax (nM), Kmax, Ku (1/ms), n, halfmax (nM^n), Vhalf (mV); IC50 (nM) and h of ICaL, INaL, INa.
# Fits at 1e8 and beyond say that the data could not tell; kinetics are paired with samples for that reason.
DRUGS = {
    "none": (0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1e9, 1.0, 1e9, 1.0, 1e9, 1.0),
    "quinidine": (3237.0, 275.7, 0.004103, 0.8488, 53830.0, -61.35, 30290.0, 1.98, 2359.0, 0.9002, 16620.0, 1.377),
    "bepridil": (33.0, 5594000.0, 0.0001719, 0.9374, 1.472e8, -61.34, 21230.0, 0.505, 7.943e9, 1.98, 7.943e9, 1.008),
    "dofetilide": (2.0, 35.1, 1.816e-5, 1.08, 216.6, -1.0, 7.943e9, 1.097, 18350.0, 0.505, 710.3, 1.98),
    "sotalol": (
        14690.0,
        96190.0,
        0.02225,
        0.7513,
        3.856e8,
        -51.5,
        14290000.0,
        0.9927,
        7.943e9,
        1.98,
        49180000.0,
        0.6235,
    ),
    "chlorpromazine": (
        38.0,
        157900.0,
        0.04671,
        0.8871,
        43510000.0,
        -14.45,
        6632.0,
        1.478,
        669.7,
        1.779,
        10340.0,
        1.356,
    ),
    "cisapride": (2.6, 10.22, 0.0004161, 0.9615, 42.32, -167.4, 7.943e9, 1.196, 456.2, 1.817, 6248.0, 0.8854),
    "terfenadine": (4.0, 102200.0, 7.788e-5, 0.6502, 409500.0, -81.63, 942.5, 1.98, 98.68, 1.137, 7.91e9, 0.8124),
    "ondansetron": (139.0, 172000.0, 0.02324, 0.891, 52240000.0, -82.2, 103900.0, 0.505, 6830.0, 1.251, 21170.0, 1.98),
    "diltiazem": (122.0, 182500.0, 0.282, 0.9382, 6.677e8, -90.65, 31030.0, 1.176, 3038.0, 1.081, 19700.0, 1.275),
    "mexiletine": (4129.0, 15.0, 0.07114, 1.139, 723000.0, -87.51, 176100.0, 0.8571, 4669.0, 0.982, 67500.0, 1.244),
    "ranolazine": (1948.2, 52.84, 0.02035, 0.9532, 143000.0, -94.99, 187800.0, 1.98, 5946.0, 0.9904, 82430.0, 1.058),
    "verapamil": (81.0, 1694000.0, 0.0008165, 1.043, 3.356e8, -97.08, 3218.0, 0.5251, 974.0, 1.203, 4172.0, 1.98),
    "risperidone": (1.81, 3.726, 0.0009118, 0.8593, 93.16, -72.15, 8503.0, 1.98, 3301.0, 1.98, 7.943e9, 1.389),
    "metoprolol": (
        1800.0,
        82210.0,
        0.9785,
        0.6873,
        53800000.0,
        -86.19,
        391000.0,
        0.8924,
        24350.0,
        0.7559,
        148800.0,
        1.004,
    ),
    "ibutilide": (100.0, 14.45, 6.104e-5, 0.902, 35.07, -9.817, 31200.0, 0.9494, 811.0, 0.9446, 6957.0, 0.6987),
    "domperidone": (19.0, 677100.0, 0.0002305, 0.6137, 3576000.0, -24.19, 14120.0, 1.291, 669.0, 0.8924, 6659.0, 1.425),
    "clarithromycin": (
        1206.0,
        68.65,
        0.01517,
        0.7455,
        56880.0,
        -161.7,
        128900.0,
        1.98,
        269100.0,
        1.335,
        243300.0,
        1.98,
    ),
    "astemizole": (0.26, 77530.0, 3.073e-5, 0.6762, 169600.0, -1.001, 972.0, 1.98, 786.5, 1.98, 1862.0, 1.98),
    "azimilide": (70.0, 78990.0, 0.007555, 0.5785, 1296000.0, -10.16, 9587.0, 1.98, 3700.0, 1.352, 18970.0, 1.98),
    "disopyramide": (
        742.0,
        1.756,
        0.0364,
        1.999,
        1560000.0,
        -72.32,
        110000.0,
        0.8718,
        20050.0,
        0.7218,
        73110.0,
        0.9003,
    ),
    "droperidol": (6.33, 15.85, 0.001267, 0.5489, 90.09, -78.78, 7427.0, 0.9114, 530.8, 1.017, 8063.0, 1.067),
    "pimozide": (0.431, 12.74, 4.288e-5, 0.57, 5.314, -71.47, 443.3, 1.151, 6624.0, 0.5151, 7.943e9, 1.235),
    "vandetanib": (255.4, 25.67, 0.01765, 0.7128, 797.7, -41.57, 3829.0, 1.98, 4654.0, 1.812, 6335.0, 1.98),
    "tamoxifen": (21.0, 4.429, 0.006673, 1.715, 144900.0, -1.0, 3944.0, 1.98, 4515.0, 1.98, 9227.0, 1.98),
    "loratadine": (0.45, 98960.0, 0.01055, 0.8403, 1.065e8, -1.0, 2652.0, 1.522, 2187.0, 1.087, 18180.0, 1.98),
    "clozapine": (71.0, 6.331, 0.02552, 1.314, 33760.0, -8.325, 4477.0, 1.98, 2235.0, 1.347, 9338.0, 1.889),
    "nifedipine": (7.7, 1.029, 0.3565, 0.9613, 130200.0, -23.05, 33.89, 0.8526, 781.5, 0.7852, 41720.0, 1.538),
    "nitrendipine": (3.02, 1.847, 0.991, 1.561, 15820000.0, -68.23, 527.1, 0.6373, 356.2, 0.8922, 10410.0, 1.211),
}
CMAX, KMAX, KU, N, HALFMAX, VHALF, ICAL, ICAL_H, INAL, INAL_H, INA, INA_H = zip(*DRUGS.values(), strict=True)

OWN = "replaced by that of the drug"
CV = 0.2  # of every conductance that varies: an assumption, for nobody has measured it in one heart beside another
EXPRESSED = "between cells CV 20 %: an assumption, unverified"


class Covariates(Record):
    drug: Scalar = category(*DRUGS, about="what the cell is bathed in")
    exposure: Scalar = quantity("1", "concentration, as multiple of the drug's free Cmax", plausible=(0, 100))
    sex: Scalar = category("male", "female", about="sex")


class Parameters(Record):
    """An undrugged endocardial cell of neither sex."""

    # What varies between cells
    g_na: Scalar = lognormal(75.0, "mS/uF", cv=CV, about="conductance of INa", source=f"[1] p. 6; {EXPRESSED}")
    g_nal: Scalar = lognormal(
        0.0075 * 2.661, "mS/uF", cv=CV, about="conductance of INaL", source=f"[1] p. 7, x 2.661 [3]; {EXPRESSED}"
    )
    g_to: Scalar = lognormal(0.02, "mS/uF", cv=CV, about="conductance of Ito", source=f"[1] p. 8; {EXPRESSED}")
    p_ca: Scalar = lognormal(
        1e-4 * 1.007, "cm/s", cv=CV, about="permeability of ICaL to Ca", source=f"[1] p. 9, x 1.007 [3]; {EXPRESSED}"
    )
    g_kr: Scalar = lognormal(
        0.046 * 1.114 / 1.1,
        "mS/uF",
        cv=CV,
        about="conductance of IKr",
        source=f"[1] p. 10, x 1.114 [3] / 1.1 [4]; {EXPRESSED}",
    )
    g_ks: Scalar = lognormal(
        0.0034 * 1.870, "mS/uF", cv=CV, about="conductance of IKs", source=f"[1] p. 11, x 1.870 [3]; {EXPRESSED}"
    )
    g_k1: Scalar = lognormal(
        0.1908 * 1.698,
        "mS/uF",
        cv=CV,
        about="conductance of IK1 at 1 mM outside",
        source=f"[1] p. 12, x 1.698 [3]; {EXPRESSED}",
    )
    g_naca: Scalar = lognormal(8e-4, "uC/uF", cv=CV, about="size of INaCa", source=f"[1] p. 13; {EXPRESSED}")
    p_nak: Scalar = lognormal(30.0, "uC/uF", cv=CV, about="size of INaK", source=f"[1] p. 15; {EXPRESSED}")
    j_up: Scalar = lognormal(
        0.004375, "mM/ms", cv=CV, about="largest uptake by SERCA", source=f"[1] p. 17; {EXPRESSED}"
    )

    # Ratios of women to men; half of their logarithm either way, so that the cell of neither sex lies between
    sexed: Scalar = fixed(
        1.0, "1", about="how much of the difference between the sexes there is: 0 none, 1 all", source="a choice"
    )
    female_on_g_kr: Scalar = fixed(0.79, "1", about="IKr of women relative to men", source="[7]: unverified")
    female_on_g_ks: Scalar = fixed(0.83, "1", about="IKs of women relative to men", source="[7]: unverified")
    female_on_g_k1: Scalar = fixed(0.86, "1", about="IK1 of women relative to men", source="[7]: unverified")
    female_on_g_to: Scalar = fixed(0.64, "1", about="Ito of women relative to men", source="[7]: unverified")
    female_on_p_nak: Scalar = fixed(0.79, "1", about="INaK of women relative to men", source="[7]: unverified")
    female_on_g_pca: Scalar = fixed(1.6, "1", about="IpCa of women relative to men", source="[7]: unverified")

    # The drug
    concentration: Scalar = fixed(0.0, "nM", about="free concentration of the drug", source=OWN)
    kmax: Scalar = fixed(0.0, "1", about="largest binding to hERG, of the unbinding rate", source=OWN)
    ku: Scalar = fixed(0.0, "1/ms", about="rate of unbinding from hERG", source=OWN)
    n: Scalar = fixed(1.0, "1", about="Hill coefficient of binding to hERG", source=OWN)
    halfmax: Scalar = fixed(
        1.0, "1", about="of binding, the concentration in nM of its half, to the power n", source=OWN
    )
    vhalf: Scalar = fixed(1.0, "mV", about="potential at which a trapping channel is half open", source=OWN)
    kt: Scalar = fixed(
        3.5e-5, "1/ms", about="rate of trapping in hERG", source="[2], [5]; it is the same for all drugs"
    )
    slope_trap: Scalar = fixed(6.789, "mV", about="slope of the opening of trapping channels", source="[2]")
    ic50_na: Scalar = fixed(1e9, "nM", about="half block of INa", source=OWN)
    h_na: Scalar = fixed(1.0, "1", about="Hill coefficient of the block of INa", source=OWN)
    ic50_nal: Scalar = fixed(1e9, "nM", about="half block of INaL", source=OWN)
    h_nal: Scalar = fixed(1.0, "1", about="Hill coefficient of the block of INaL", source=OWN)
    ic50_cal: Scalar = fixed(1e9, "nM", about="half block of ICaL", source=OWN)
    h_cal: Scalar = fixed(1.0, "1", about="Hill coefficient of the block of ICaL", source=OWN)
    ic50_to: Scalar = fixed(1e9, "nM", about="half block of Ito; not in the set of 2020", source=OWN)
    h_to: Scalar = fixed(1.0, "1", about="Hill coefficient of the block of Ito", source=OWN)
    ic50_k1: Scalar = fixed(1e9, "nM", about="half block of IK1; not in the set of 2020", source=OWN)
    h_k1: Scalar = fixed(1.0, "1", about="Hill coefficient of the block of IK1", source=OWN)
    ic50_ks: Scalar = fixed(1e9, "nM", about="half block of IKs; not in the set of 2020", source=OWN)
    h_ks: Scalar = fixed(1.0, "1", about="Hill coefficient of the block of IKs", source=OWN)

    # Surroundings and geometry
    nao: Scalar = fixed(140.0, "mM", about="Na outside", source="[1] p. 5")
    cao: Scalar = fixed(1.8, "mM", about="Ca outside", source="[1] p. 5")
    ko: Scalar = fixed(5.4, "mM", about="K outside", source="[1] p. 5, [5]")
    ko_normal: Scalar = fixed(5.4, "mM", about="K outside at which IKr has its conductance", source="[1] p. 10")
    gas: Scalar = fixed(8314.0, "J/kmol/K", about="gas constant", source="[1] p. 2")
    kelvin: Scalar = fixed(310.0, "K", about="temperature", source="[1] p. 2")
    faraday: Scalar = fixed(96485.0, "C/mol", about="Faraday's constant", source="[1] p. 2")
    cm: Scalar = fixed(1.0, "uF/cm**2", about="capacitance of the membrane", source="[1] p. 6")
    area: Scalar = fixed(
        2 * (2 * 3.14 * 0.0011**2 + 2 * 3.14 * 0.0011 * 0.01),
        "cm**2",
        about="membrane, twice that of a cylinder of 100 x 22 um",
        source="[1] p. 6",
    )
    v_myo: Scalar = fixed(0.68 * 3.14 * 0.0011**2 * 0.01 * 1e3, "uL", about="cytosol", source="[1] p. 6")
    v_nsr: Scalar = fixed(
        0.0552 * 3.14 * 0.0011**2 * 0.01 * 1e3, "uL", about="network of the reticulum", source="[1] p. 6"
    )
    v_jsr: Scalar = fixed(
        0.0048 * 3.14 * 0.0011**2 * 0.01 * 1e3, "uL", about="junctions of the reticulum", source="[1] p. 6"
    )
    v_ss: Scalar = fixed(
        0.02 * 3.14 * 0.0011**2 * 0.01 * 1e3, "uL", about="space below the membrane", source="[1] p. 6"
    )
    mv: Scalar = fixed(1.0, "mV", about="unit of potentials in the rate equations", source="a unit")
    per_ms: Scalar = fixed(1.0, "1/ms", about="unit of rates in the rate equations", source="a unit")
    mm: Scalar = fixed(1.0, "mM", about="unit of concentrations in equations of plain numbers", source="a unit")
    nm: Scalar = fixed(1.0, "nM", about="unit of concentrations of the drug", source="a unit")

    # Currents and fluxes that are the same in all cells
    pr_nak: Scalar = fixed(0.01833, "1", about="permeability of IKs to Na, of that to K", source="[1] p. 6")
    p_ca_camk: Scalar = fixed(
        1.1, "1", about="permeability of ICaL once phosphorylated, of that before", source="[1] p. 10"
    )
    p_cana: Scalar = fixed(0.00125, "1", about="permeability of ICaL to Na, of that to Ca", source="[1] p. 10")
    p_cak: Scalar = fixed(3.574e-4, "1", about="permeability of ICaL to K, of that to Ca", source="[1] p. 10")
    g_kb: Scalar = fixed(0.003, "mS/uF", about="conductance of the background K current", source="[1] p. 15")
    p_nab: Scalar = fixed(3.75e-10, "cm/s", about="permeability of the background Na current", source="[1] p. 15")
    p_cab: Scalar = fixed(2.5e-8, "cm/s", about="permeability of the background Ca current", source="[1] p. 15")
    g_pca: Scalar = fixed(5e-4, "uA/uF", about="largest current of the Ca pump of the membrane", source="[1] p. 15")
    km_pca: Scalar = fixed(5e-4, "mM", about="Ca of its half", source="[1] p. 15")
    km_n: Scalar = fixed(
        0.002, "mM", about="Ca that inactivates ICaL by half, of one of four calmodulins", source="[1] p. 9"
    )
    k2_n: Scalar = fixed(1000.0, "1/ms", about="rate into the mode of Ca-dependent inactivation", source="[1] p. 9")

    kna1: Scalar = fixed(15.0, "mM", about="INaCa: dissociation of the first Na", source="[1] p. 12")
    kna2: Scalar = fixed(5.0, "mM", about="INaCa: dissociation of the second Na", source="[1] p. 12")
    kna3: Scalar = fixed(88.12, "mM", about="INaCa: dissociation of the third Na", source="[1] p. 12")
    kasymm: Scalar = fixed(12.5, "1", about="INaCa: asymmetry", source="[1] p. 12")
    w_na: Scalar = fixed(6e4, "1/s", about="INaCa: turn with Na", source="[1] p. 12")
    w_ca: Scalar = fixed(6e4, "1/s", about="INaCa: turn with Ca", source="[1] p. 12")
    w_naca: Scalar = fixed(5e3, "1/s", about="INaCa: turn with both", source="[1] p. 12")
    k_caon: Scalar = fixed(1.5e6, "1/mM/s", about="INaCa: binding of Ca", source="[1] p. 12")
    k_caoff: Scalar = fixed(5e3, "1/s", about="INaCa: release of Ca", source="[1] p. 12")
    q_na: Scalar = fixed(0.5224, "1", about="INaCa: charge that Na moves", source="[1] p. 12")
    q_ca: Scalar = fixed(0.167, "1", about="INaCa: charge that Ca moves", source="[1] p. 12")
    km_caact: Scalar = fixed(150e-6, "mM", about="INaCa: Ca that activates by half", source="[1] p. 13")
    ss_naca: Scalar = fixed(0.2, "1", about="INaCa: share below the membrane", source="[1] p. 13")

    k1p: Scalar = fixed(949.5, "1/s", about="INaK: k1+", source="[1] p. 14")
    k1m: Scalar = fixed(182.4, "1/mM/s", about="INaK: k1-", source="[1] p. 14")
    k2p: Scalar = fixed(687.2, "1/s", about="INaK: k2+", source="[1] p. 14")
    k2m: Scalar = fixed(39.4, "1/s", about="INaK: k2-", source="[1] p. 14")
    k3p: Scalar = fixed(1899.0, "1/s", about="INaK: k3+", source="[1] p. 14")
    k3m: Scalar = fixed(79300.0, "1/mM**2/s", about="INaK: k3-", source="[1] p. 14")
    k4p: Scalar = fixed(639.0, "1/s", about="INaK: k4+", source="[1] p. 14")
    k4m: Scalar = fixed(40.0, "1/s", about="INaK: k4-", source="[1] p. 14")
    k_nai: Scalar = fixed(9.073, "mM", about="INaK: dissociation of Na inside at 0 mV", source="[1] p. 14")
    k_nao: Scalar = fixed(27.78, "mM", about="INaK: dissociation of Na outside at 0 mV", source="[1] p. 14")
    delta: Scalar = fixed(-0.155, "1", about="INaK: partition of the potential", source="[1] p. 14")
    k_ki: Scalar = fixed(0.5, "mM", about="INaK: dissociation of K inside", source="[1] p. 14")
    k_ko: Scalar = fixed(0.3582, "mM", about="INaK: dissociation of K outside", source="[1] p. 14")
    mg_adp: Scalar = fixed(0.05, "mM", about="INaK: MgADP", source="[1] p. 14")
    mg_atp: Scalar = fixed(9.8, "mM", about="INaK: MgATP", source="[1] p. 14")
    k_mgatp: Scalar = fixed(1.698e-7, "mM", about="INaK: dissociation of MgATP", source="[1] p. 14")
    protons: Scalar = fixed(1e-7, "mM", about="INaK: H+", source="[1] p. 14")
    phosphate: Scalar = fixed(4.2, "mM", about="INaK: inorganic phosphate, all", source="[1] p. 14")
    k_hp: Scalar = fixed(1.698e-7, "mM", about="INaK: dissociation of phosphate and H+", source="[1] p. 14")
    k_nap: Scalar = fixed(224.0, "mM", about="INaK: dissociation of phosphate and Na", source="[1] p. 14")
    k_kp: Scalar = fixed(292.0, "mM", about="INaK: dissociation of phosphate and K", source="[1] p. 14")

    camk_o: Scalar = fixed(0.05, "1", about="share of CaMK with calmodulin at rest", source="[1] p. 16")
    km_cam: Scalar = fixed(0.0015, "mM", about="Ca that binds half of calmodulin", source="[1] p. 16")
    km_camk: Scalar = fixed(0.15, "1", about="active CaMK that phosphorylates half", source="[1] p. 16")
    a_camk: Scalar = fixed(0.05, "1/ms", about="rate at which CaMK is trapped active", source="[1] p. 16")
    b_camk: Scalar = fixed(0.00068, "1/ms", about="rate at which it is set free", source="[1] p. 16")
    tau_diff: Scalar = fixed(2.0, "ms", about="diffusion of Na and K below the membrane", source="[1] p. 16")
    tau_diff_ca: Scalar = fixed(0.2, "ms", about="diffusion of Ca below the membrane", source="[1] p. 16")
    bt: Scalar = fixed(4.75, "ms", about="time constant of release from the reticulum", source="[1] p. 17")
    bt_camk: Scalar = fixed(1.25, "1", about="the same once phosphorylated, of that before", source="[1] p. 17")
    a_rel: Scalar = fixed(0.5, "mM/mV/ms", about="release by ICaL", source="[1] p. 17")
    km_jsr: Scalar = fixed(1.5, "mM", about="Ca of the junctions at half release", source="[1] p. 17")
    km_tau: Scalar = fixed(
        0.0123, "mM", about="Ca of the junctions that doubles the rate of release", source="[1] p. 17"
    )
    tau_least: Scalar = fixed(0.001, "ms", about="shortest time constant of release", source="[1], published program")
    km_up: Scalar = fixed(0.00092, "mM", about="Ca at half uptake", source="[1] p. 17")
    km_up_camk: Scalar = fixed(0.00017, "mM", about="how much lower it is once phosphorylated", source="[1] p. 17")
    up_camk: Scalar = fixed(1.75, "1", about="how much more uptake once phosphorylated", source="[1] p. 17")
    j_leak: Scalar = fixed(0.0039375, "mM/ms", about="leak of the reticulum at 15 mM", source="[1] p. 17")
    nsr_full: Scalar = fixed(15.0, "mM", about="Ca of the network to which the leak is referred", source="[1] p. 17")
    tau_tr: Scalar = fixed(100.0, "ms", about="transfer from network to junctions", source="[1] p. 17")
    cmdn: Scalar = fixed(0.05, "mM", about="calmodulin", source="[1] p. 18")
    km_cmdn: Scalar = fixed(0.00238, "mM", about="Ca that binds half of it", source="[1] p. 18")
    trpn: Scalar = fixed(0.07, "mM", about="troponin", source="[1] p. 18")
    km_trpn: Scalar = fixed(0.0005, "mM", about="Ca that binds half of it", source="[1] p. 18")
    bsr: Scalar = fixed(0.047, "mM", about="binding sites of the reticulum", source="[1] p. 18")
    km_bsr: Scalar = fixed(0.00087, "mM", about="Ca that binds half of them", source="[1] p. 18")
    bsl: Scalar = fixed(1.124, "mM", about="binding sites of the membrane", source="[1] p. 18")
    km_bsl: Scalar = fixed(0.0087, "mM", about="Ca that binds half of them", source="[1] p. 18")
    csqn: Scalar = fixed(10.0, "mM", about="calsequestrin", source="[1] p. 18")
    km_csqn: Scalar = fixed(0.8, "mM", about="Ca that binds half of it", source="[1] p. 18")

    # hERG: each rate is a exp(b v) q^((T - 20) / 10)
    celsius: Scalar = fixed(37.0, "1", about="temperature in degrees Celsius", source="[5]")
    a1: Scalar = fixed(0.0264, "1/ms", about="C1 to C2", source="[2], [5]")
    b1: Scalar = fixed(4.631e-5, "1/mV", about="C1 to C2, by potential", source="[2], [5]")
    q1: Scalar = fixed(4.843, "1", about="C1 to C2, by 10 degrees", source="[2], [5]")
    a2: Scalar = fixed(4.986e-6, "1/ms", about="C2 to C1", source="[2], [5]")
    b2: Scalar = fixed(-0.004226, "1/mV", about="C2 to C1, by potential", source="[2], [5]")
    q2: Scalar = fixed(4.23, "1", about="C2 to C1, by 10 degrees", source="[2], [5]")
    a3: Scalar = fixed(0.001214, "1/ms", about="IC2 to IO", source="[2], [5]")
    b3: Scalar = fixed(0.008516, "1/mV", about="IC2 to IO, by potential", source="[2], [5]")
    q3: Scalar = fixed(4.962, "1", about="IC2 to IO, by 10 degrees", source="[2], [5]")
    a4: Scalar = fixed(1.854e-5, "1/ms", about="IO to IC2", source="[2], [5]")
    b4: Scalar = fixed(-0.04641, "1/mV", about="IO to IC2, by potential", source="[2], [5]")
    q4: Scalar = fixed(3.769, "1", about="IO to IC2, by 10 degrees", source="[2], [5]")
    a11: Scalar = fixed(0.0007868, "1/ms", about="IC1 to IC2", source="[2], [5]")
    b11: Scalar = fixed(1.535e-8, "1/mV", about="IC1 to IC2, by potential", source="[2], [5]")
    q11: Scalar = fixed(4.942, "1", about="IC1 to IC2, by 10 degrees", source="[2], [5]")
    a21: Scalar = fixed(5.455e-6, "1/ms", about="IC2 to IC1", source="[2], [5]")
    b21: Scalar = fixed(-0.1688, "1/mV", about="IC2 to IC1, by potential", source="[2], [5]")
    q21: Scalar = fixed(4.156, "1", about="IC2 to IC1, by 10 degrees", source="[2], [5]")
    a31: Scalar = fixed(0.005509, "1/ms", about="C2 to O", source="[2], [5]")
    b31: Scalar = fixed(7.771e-9, "1/mV", about="C2 to O, by potential", source="[2], [5]")
    q31: Scalar = fixed(4.22, "1", about="C2 to O, by 10 degrees", source="[2], [5]")
    a41: Scalar = fixed(0.001416, "1/ms", about="O to C2", source="[2], [5]")
    b41: Scalar = fixed(-0.02877, "1/mV", about="O to C2, by potential", source="[2], [5]")
    q41: Scalar = fixed(1.459, "1", about="O to C2, by 10 degrees", source="[2], [5]")
    a51: Scalar = fixed(0.4492, "1/ms", about="C1 to IC1", source="[2], [5]")
    b51: Scalar = fixed(0.008595, "1/mV", about="C1 to IC1, by potential", source="[2], [5]")
    q51: Scalar = fixed(5.0, "1", about="C1 to IC1, by 10 degrees", source="[2], [5]")
    a52: Scalar = fixed(0.3181, "1/ms", about="C2 to IC2", source="[2], [5]")
    b52: Scalar = fixed(3.613e-8, "1/mV", about="C2 to IC2, by potential", source="[2], [5]")
    q52: Scalar = fixed(4.663, "1", about="C2 to IC2, by 10 degrees", source="[2], [5]")
    a53: Scalar = fixed(0.149, "1/ms", about="O to IO", source="[2], [5]")
    b53: Scalar = fixed(0.004668, "1/mV", about="O to IO, by potential", source="[2], [5]")
    q53: Scalar = fixed(2.412, "1", about="O to IO, by 10 degrees", source="[2], [5]")
    a61: Scalar = fixed(0.01241, "1/ms", about="IC1 to C1", source="[2], [5]")
    b61: Scalar = fixed(0.1725, "1/mV", about="IC1 to C1, by potential", source="[2], [5]")
    q61: Scalar = fixed(5.568, "1", about="IC1 to C1, by 10 degrees", source="[2], [5]")
    a62: Scalar = fixed(0.3226, "1/ms", about="IC2 to C2", source="[2], [5]")
    b62: Scalar = fixed(-0.0006575, "1/mV", about="IC2 to C2, by potential", source="[2], [5]")
    q62: Scalar = fixed(5.0, "1", about="IC2 to C2, by 10 degrees", source="[2], [5]")
    a63: Scalar = fixed(0.008978, "1/ms", about="IO to O", source="[2], [5]")
    b63: Scalar = fixed(-0.02215, "1/mV", about="IO to O, by potential", source="[2], [5]")
    q63: Scalar = fixed(5.682, "1", about="IO to O, by 10 degrees", source="[2], [5]")


class State(Record):
    v: Scalar = quantity("mV", "membrane potential")
    nai: Scalar = quantity("mM", "Na in the cytosol")
    nass: Scalar = quantity("mM", "Na below the membrane")
    ki: Scalar = quantity("mM", "K in the cytosol")
    kss: Scalar = quantity("mM", "K below the membrane")
    cai: Scalar = quantity("mM", "free Ca in the cytosol")
    cass: Scalar = quantity("mM", "free Ca below the membrane")
    cansr: Scalar = quantity("mM", "Ca in the network of the reticulum")
    cajsr: Scalar = quantity("mM", "free Ca in the junctions of the reticulum")
    m: Scalar = quantity("1", "INa: activation")
    hf: Scalar = quantity("1", "INa: fast inactivation")
    hs: Scalar = quantity("1", "INa: slow inactivation")
    j: Scalar = quantity("1", "INa: recovery")
    hsp: Scalar = quantity("1", "INa: slow inactivation, phosphorylated")
    jp: Scalar = quantity("1", "INa: recovery, phosphorylated")
    ml: Scalar = quantity("1", "INaL: activation")
    hl: Scalar = quantity("1", "INaL: inactivation")
    hlp: Scalar = quantity("1", "INaL: inactivation, phosphorylated")
    a: Scalar = quantity("1", "Ito: activation")
    i_f: Scalar = quantity("1", "Ito: fast inactivation")
    i_s: Scalar = quantity("1", "Ito: slow inactivation")
    ap: Scalar = quantity("1", "Ito: activation, phosphorylated")
    i_fp: Scalar = quantity("1", "Ito: fast inactivation, phosphorylated")
    i_sp: Scalar = quantity("1", "Ito: slow inactivation, phosphorylated")
    d: Scalar = quantity("1", "ICaL: activation")
    ff: Scalar = quantity("1", "ICaL: fast inactivation")
    fs: Scalar = quantity("1", "ICaL: slow inactivation")
    fcaf: Scalar = quantity("1", "ICaL: fast inactivation by Ca")
    fcas: Scalar = quantity("1", "ICaL: slow inactivation by Ca")
    jca: Scalar = quantity("1", "ICaL: recovery from inactivation by Ca")
    nca: Scalar = quantity("1", "ICaL: share of channels that Ca inactivates")
    ffp: Scalar = quantity("1", "ICaL: fast inactivation, phosphorylated")
    fcafp: Scalar = quantity("1", "ICaL: fast inactivation by Ca, phosphorylated")
    xs1: Scalar = quantity("1", "IKs: slow activation")
    xs2: Scalar = quantity("1", "IKs: fast activation")
    xk1: Scalar = quantity("1", "IK1: inactivation")
    jrelnp: Scalar = quantity("mM/ms", "release from the reticulum")
    jrelp: Scalar = quantity("mM/ms", "release from the reticulum, phosphorylated")
    camkt: Scalar = quantity("1", "share of CaMK that is trapped active")
    ic1: Scalar = quantity("1", "hERG: inactivated, closed")
    ic2: Scalar = quantity("1", "hERG: inactivated, closed, next to open")
    c1: Scalar = quantity("1", "hERG: closed")
    c2: Scalar = quantity("1", "hERG: closed, next to open")
    o: Scalar = quantity("1", "hERG: open")
    io: Scalar = quantity("1", "hERG: inactivated, open")
    iobound: Scalar = quantity("1", "hERG: inactivated, open, with drug")
    obound: Scalar = quantity("1", "hERG: open, with drug")
    cbound: Scalar = quantity("1", "hERG: closed, drug trapped")
    qnet: Scalar = quantity("nC/uF", "net charge of INaL, ICaL, IKr, IKs, IK1 and Ito since the start")


class Outputs(Record):
    v: Scalar = quantity("mV", "membrane potential", plausible=(-200, 200))
    qnet: Scalar = quantity("nC/uF", "net charge since the start")
    cai: Scalar = quantity("mM", "free Ca in the cytosol", plausible=(-1e-6, 1))


def individual(p: Parameters, x: Covariates) -> Parameters:
    half = p.sexed * jnp.where(x.sex == 1, 0.5, -0.5)  # [7] compares women with men; [1] has hearts of both

    def of_drug(values: tuple[float, ...]) -> Scalar:
        return jnp.array(values)[x.drug]

    return p.replace(
        g_kr=p.g_kr * p.female_on_g_kr**half,
        g_ks=p.g_ks * p.female_on_g_ks**half,
        g_k1=p.g_k1 * p.female_on_g_k1**half,
        g_to=p.g_to * p.female_on_g_to**half,
        p_nak=p.p_nak * p.female_on_p_nak**half,
        g_pca=p.g_pca * p.female_on_g_pca**half,
        concentration=x.exposure * of_drug(CMAX),
        kmax=of_drug(KMAX),
        ku=of_drug(KU),
        n=of_drug(N),
        halfmax=of_drug(HALFMAX),
        vhalf=of_drug(VHALF),
        ic50_na=of_drug(INA),
        h_na=of_drug(INA_H),
        ic50_nal=of_drug(INAL),
        h_nal=of_drug(INAL_H),
        ic50_cal=of_drug(ICAL),
        h_cal=of_drug(ICAL_H),
    )


def initial(p: Parameters) -> State:
    """The undrugged cell paced at 2000 ms until nothing changes [5]."""
    return State(
        v=-88.0145 * p.mv,
        nai=6.46961 * p.mm,
        nass=6.46967 * p.mm,
        ki=145.501 * p.mm,
        kss=145.501 * p.mm,
        cai=7.45321e-05 * p.mm,
        cass=7.30454e-05 * p.mm,
        cansr=1.37897 * p.mm,
        cajsr=1.37944 * p.mm,
        m=0.00733485,
        hf=0.698542,
        hs=0.698542,
        j=0.698542,
        hsp=0.455526,
        jp=0.698541,
        ml=0.000187813,
        hl=0.513396,
        hlp=0.307923,
        a=0.00100025,
        i_f=0.999555,
        i_s=0.871715,
        ap=0.000509652,
        i_fp=0.999555,
        i_sp=0.905466,
        d=2.33382e-09,
        ff=1.0,
        fs=0.971897,
        fcaf=1.0,
        fcas=1.0,
        jca=1.0,
        nca=0.0015391,
        ffp=1.0,
        fcafp=1.0,
        xs1=0.130941,
        xs2=0.000192517,
        xk1=0.996756,
        jrelnp=1.46507e-07 * p.mm * p.per_ms,
        jrelp=1.83132e-07 * p.mm * p.per_ms,
        camkt=0.00325232,
        ic1=0.999637,
        ic2=6.83208e-05,
        c1=1.80145e-08,
        c2=8.26619e-05,
        o=0.00015551,
        io=5.67623e-05,
        iobound=0.0,
        obound=0.0,
        cbound=0.0,
        qnet=0.0,
    )


def falling(x: Scalar) -> Scalar:
    """Boltzmann's curve, from 1 to 0."""
    return 1 / (1 + jnp.exp(x))


def driven(u: Scalar, grown: Scalar, inside: Scalar, outside: Scalar) -> Scalar:
    """Goldman's drive on an ion through an open channel, u (inside e^u - outside) / (e^u - 1), finite at u = 0.
    grown: e^u - 1."""
    small = jnp.abs(u) < 1e-6
    return jnp.where(small, 1 - u / 2, u / jnp.where(small, 1.0, grown)) * (inside * (grown + 1) - outside)


def unblocked(p: Parameters, ic50: Scalar, h: Scalar) -> Scalar:
    return 1 / (1 + (p.concentration / ic50) ** h)


def sodium_calcium(p: Parameters, u: Scalar, na: Scalar, ca: Scalar) -> Scalar:
    """INaCa of a whole cell's exchangers that see this Na and Ca inside. u: v F / (R T). [1] p. 12-13"""
    hca, hna = jnp.exp(p.q_ca * u), jnp.exp(p.q_na * u)
    h1 = 1 + na / p.kna3 * (1 + hna)
    h2, h3 = na * hna / (p.kna3 * h1), 1 / h1
    h4 = 1 + na / p.kna1 * (1 + na / p.kna2)
    h5, h6 = na * na / (h4 * p.kna1 * p.kna2), 1 / h4
    h7 = 1 + p.nao / p.kna3 * (1 + 1 / hna)
    h8, h9 = p.nao / (p.kna3 * hna * h7), 1 / h7
    h10 = p.kasymm + 1 + p.nao / p.kna1 * (1 + p.nao / p.kna2)
    h11, h12 = p.nao * p.nao / (h10 * p.kna1 * p.kna2), 1 / h10
    k1, k2, k5 = h12 * p.cao * p.k_caon, p.k_caoff, p.k_caoff
    k3p, k3pp, k4p, k4pp = h9 * p.w_ca, h8 * p.w_naca, h3 * p.w_ca / hca, h2 * p.w_naca
    k3, k4 = k3p + k3pp, k4p + k4pp
    k6, k7, k8 = h6 * ca * p.k_caon, h5 * h2 * p.w_na, h8 * h11 * p.w_na
    x1 = k2 * k4 * (k7 + k6) + k5 * k7 * (k2 + k3)
    x2 = k1 * k7 * (k4 + k5) + k4 * k6 * (k1 + k8)
    x3 = k1 * k3 * (k7 + k6) + k8 * k6 * (k2 + k3)
    x4 = k2 * k8 * (k4 + k5) + k3 * k5 * (k1 + k8)
    sodium = 3 * (x4 * k7 - x1 * k8) + x3 * k4pp - x2 * k3pp
    calcium = x2 * k2 - x1 * k1
    return p.g_naca / (1 + (p.km_caact / ca) ** 2) * (sodium + 2 * calcium) / (x1 + x2 + x3 + x4)


def sodium_potassium(p: Parameters, u: Scalar, na: Scalar, k: Scalar) -> Scalar:
    """INaK. u: v F / (R T). [1] p. 14-15"""
    nai = na / (p.k_nai * jnp.exp(p.delta * u / 3))
    nao = p.nao / (p.k_nao * jnp.exp((1 - p.delta) * u / 3))
    ki, ko, atp = k / p.k_ki, p.ko / p.k_ko, p.mg_atp / p.k_mgatp
    within = (1 + nai) ** 3 + (1 + ki) ** 2 - 1
    without = (1 + nao) ** 3 + (1 + ko) ** 2 - 1
    free = p.phosphate / (1 + p.protons / p.k_hp + na / p.k_nap + k / p.k_kp)
    a1, b1 = p.k1p * nai**3 / within, p.k1m * p.mg_adp
    a2, b2 = p.k2p, p.k2m * nao**3 / without
    a3, b3 = p.k3p * ko**2 / without, p.k3m * free * p.protons / (1 + atp)
    a4, b4 = p.k4p * atp / (1 + atp), p.k4m * ki**2 / within
    x1 = a4 * a1 * a2 + b2 * b4 * b3 + a2 * b4 * b3 + b3 * a1 * a2
    x2 = b2 * b1 * b4 + a1 * a2 * a3 + a3 * b1 * b4 + a2 * a3 * b4
    x3 = a2 * a3 * a4 + b3 * b2 * b1 + b2 * b1 * a4 + a3 * a4 * b1
    x4 = b4 * b3 * b2 + a3 * a4 * a1 + b2 * a4 * a1 + b3 * b2 * a1
    return p.p_nak * (3 * (x1 * a3 - x2 * b3) + 2 * (x4 * b1 - x3 * a1)) / (x1 + x2 + x3 + x4)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    v, exp = y.v / p.mv, jnp.exp
    rtf = p.gas * p.kelvin / p.faraday
    u = y.v / rtf
    once = jnp.expm1(u)
    twice = once * (once + 2)  # e^2u - 1
    e_na, e_k = rtf * jnp.log(p.nao / y.nai), rtf * jnp.log(p.ko / y.ki)
    e_ks = rtf * jnp.log((p.ko + p.pr_nak * p.nao) / (y.ki + p.pr_nak * y.nai))

    def relaxed(x: Scalar, target: Scalar, tau: Scalar) -> Scalar:
        """tau: a plain number, in ms."""
        return p.per_ms * (target - x) / tau

    # CaMK [1] p. 16
    camk_bound = p.camk_o * (1 - y.camkt) / (1 + p.km_cam / y.cass)
    camk = camk_bound + y.camkt
    phosphorylated = 1 / (1 + p.km_camk / camk)
    plain = 1 - phosphorylated

    # INa [1] p. 6
    m_tau = 1 / (6.765 * exp((v + 11.64) / 34.77) + 8.552 * exp(-(v + 77.42) / 5.955))
    h_inf, hsp_inf = falling((v + 82.90) / 6.086), falling((v + 89.1) / 6.086)
    hf_tau = 1 / (1.432e-5 * exp(-(v + 1.196) / 6.285) + 6.149 * exp((v + 0.5096) / 20.27))
    hs_tau = 1 / (0.009794 * exp(-(v + 17.95) / 28.05) + 0.3343 * exp((v + 5.730) / 56.66))
    j_tau = 2.038 + 1 / (0.02136 * exp(-(v + 100.6) / 8.281) + 0.3052 * exp((v + 0.9941) / 38.45))
    h, hp = 0.99 * y.hf + 0.01 * y.hs, 0.99 * y.hf + 0.01 * y.hsp
    g_na = p.g_na * unblocked(p, p.ic50_na, p.h_na)
    i_na = g_na * (y.v - e_na) * y.m**3 * (plain * h * y.j + phosphorylated * hp * y.jp)

    # INaL [1] p. 7
    g_nal = p.g_nal * unblocked(p, p.ic50_nal, p.h_nal)
    i_nal = g_nal * (y.v - e_na) * y.ml * (plain * y.hl + phosphorylated * y.hlp)

    # Ito [1] p. 8
    a_tau = 1.0515 / (falling(-(v - 18.4099) / 29.3814) / 1.2089 + 3.5 * falling((v + 100) / 29.3814))
    i_inf = falling((v + 43.94) / 5.711)
    if_tau = 4.562 + 1 / (0.3933 * exp(-(v + 100) / 100) + 0.08004 * exp((v + 50) / 16.59))
    is_tau = 23.62 + 1 / (0.001416 * exp(-(v + 96.52) / 59.05) + 1.780e-8 * exp((v + 114.1) / 8.079))
    slower = 1.354 + 1e-4 / (exp((v - 167.4) / 15.89) + exp(-(v - 12.23) / 0.2154))
    slower = slower * (1 - 0.5 * falling((v + 70) / 20))
    fast = falling((v - 213.6) / 151.2)
    ito, itop = fast * y.i_f + (1 - fast) * y.i_s, fast * y.i_fp + (1 - fast) * y.i_sp
    g_to = p.g_to * unblocked(p, p.ic50_to, p.h_to)
    i_to = g_to * (y.v - e_k) * (plain * y.a * ito + phosphorylated * y.ap * itop)

    # ICaL, with ICaNa and ICaK through the same channels [1] p. 9-10
    d_tau = 0.6 + 1 / (exp(-0.05 * (v + 6)) + exp(0.09 * (v + 14)))
    f_inf = falling((v + 19.58) / 3.696)
    ff_grown, fcaf_grown = exp((v + 20) / 10), exp((v - 4) / 7)
    ff_tau = 7 + 1 / (0.0045 / ff_grown + 0.0045 * ff_grown)
    fs_tau = 1000 + 1 / (3.5e-5 * exp(-(v + 5) / 4) + 3.5e-5 * exp((v + 5) / 6))
    fcaf_tau = 7 + 1 / (0.04 / fcaf_grown + 0.04 * fcaf_grown)
    fcas_tau = 100 + 1 / (1.2e-4 * exp(-v / 3) + 1.2e-4 * exp(v / 7))
    fast_ca = 0.3 + 0.6 * falling((v - 10) / 10)
    f, fp = 0.6 * y.ff + 0.4 * y.fs, 0.6 * y.ffp + 0.4 * y.fs
    fca, fcap = fast_ca * y.fcaf + (1 - fast_ca) * y.fcas, fast_ca * y.fcafp + (1 - fast_ca) * y.fcas
    km2_n = p.per_ms * y.jca
    n_inf = 1 / (p.k2_n / km2_n + (1 + p.km_n / y.cass) ** 4)
    open_np = y.d * (f * (1 - y.nca) + y.jca * fca * y.nca)
    open_p = y.d * (fp * (1 - y.nca) + y.jca * fcap * y.nca)
    p_ca = p.p_ca * unblocked(p, p.ic50_cal, p.h_cal) * (plain * open_np + phosphorylated * p.p_ca_camk * open_p)
    i_ca = p_ca * p.faraday / p.cm * 2 * driven(2 * u, twice, y.cass, 0.341 * p.cao)
    i_cana = p.p_cana * p_ca * p.faraday / p.cm * driven(u, once, 0.75 * y.nass, 0.75 * p.nao)
    i_cak = p.p_cak * p_ca * p.faraday / p.cm * driven(u, once, 0.75 * y.kss, 0.75 * p.ko)

    # IKr: drug binds the open states, is released from them, and is trapped where they close [2]
    def rate(a: Scalar, b: Scalar, q: Scalar) -> Scalar:
        return a * q ** ((p.celsius - 20) / 10) * exp(b * y.v)

    to_c2, to_c1 = rate(p.a1, p.b1, p.q1) * y.c1, rate(p.a2, p.b2, p.q2) * y.c2
    to_io, from_io = rate(p.a3, p.b3, p.q3) * y.ic2, rate(p.a4, p.b4, p.q4) * y.io
    to_ic2, to_ic1 = rate(p.a11, p.b11, p.q11) * y.ic1, rate(p.a21, p.b21, p.q21) * y.ic2
    opening, closing = rate(p.a31, p.b31, p.q31) * y.c2, rate(p.a41, p.b41, p.q41) * y.o
    inactivated_c1, recovered_c1 = rate(p.a51, p.b51, p.q51) * y.c1, rate(p.a61, p.b61, p.q61) * y.ic1
    inactivated_c2, recovered_c2 = rate(p.a52, p.b52, p.q52) * y.c2, rate(p.a62, p.b62, p.q62) * y.ic2
    inactivation, recovery = rate(p.a53, p.b53, p.q53), rate(p.a63, p.b63, p.q63)
    inactivated, recovered = inactivation * y.o, recovery * y.io
    dose = (p.concentration / p.nm) ** p.n
    binding = p.kmax * p.ku * dose / (dose + p.halfmax)
    bound_o = binding * y.o - p.ku * y.obound
    bound_io = binding * y.io - p.ku * inactivation / recovery * y.iobound  # detailed balance
    released = p.kt * falling(-(y.v - p.vhalf) / p.slope_trap) * y.cbound
    trapped_o, trapped_io = p.kt * y.obound - released, p.kt * y.iobound - released
    i_kr = p.g_kr * jnp.sqrt(p.ko / p.ko_normal) * y.o * (y.v - e_k)

    # IKs, IK1 [1] p. 11-12
    xs_inf = falling(-(v + 11.60) / 8.932)
    xs1_tau = 817.3 + 1 / (2.326e-4 * exp((v + 48.28) / 17.80) + 0.001292 * exp(-(v + 210) / 230))
    xs2_tau = 1 / (0.01 * exp((v - 50) / 20) + 0.0193 * exp(-(v + 66.54) / 31))
    by_ca = 1 + 0.6 / (1 + (3.8e-5 * p.mm / y.cai) ** 1.4)
    i_ks = p.g_ks * unblocked(p, p.ic50_ks, p.h_ks) * by_ca * y.xs1 * y.xs2 * (y.v - e_ks)
    ko = p.ko / p.mm
    xk1_inf = falling(-(v + 2.5538 * ko + 144.59) / (1.5692 * ko + 3.8115))
    xk1_tau = 122.2 / (exp(-(v + 127.2) / 20.36) + exp((v + 236.8) / 69.33))
    rectified = falling((v + 105.8 - 2.6 * ko) / 9.493)
    i_k1 = p.g_k1 * unblocked(p, p.ic50_k1, p.h_k1) * jnp.sqrt(ko) * rectified * y.xk1 * (y.v - e_k)

    # Exchanger, pumps and background [1] p. 12-15
    i_naca = (1 - p.ss_naca) * sodium_calcium(p, u, y.nai, y.cai)
    i_naca_ss = p.ss_naca * sodium_calcium(p, u, y.nass, y.cass)
    i_nak = sodium_potassium(p, u, y.nai, y.ki)
    i_kb = p.g_kb * falling(-(v - 14.48) / 18.34) * (y.v - e_k)
    i_nab = p.p_nab * p.faraday / p.cm * driven(u, once, y.nai, p.nao)
    i_cab = p.p_cab * p.faraday / p.cm * 2 * driven(2 * u, twice, y.cai, 0.341 * p.cao)
    i_pca = p.g_pca * y.cai / (p.km_pca + y.cai)

    # Fluxes [1] p. 16-17
    diff_na, diff_k = (y.nass - y.nai) / p.tau_diff, (y.kss - y.ki) / p.tau_diff
    diff_ca = (y.cass - y.cai) / p.tau_diff_ca
    release = p.a_rel * p.bt * -i_ca / (1 + (p.km_jsr / y.cajsr) ** 8)
    tau_rel = p.bt / (1 + p.km_tau / y.cajsr)
    j_rel = plain * y.jrelnp + phosphorylated * y.jrelp
    up = p.j_up * y.cai / (y.cai + p.km_up)
    up_p = (1 + p.up_camk) * p.j_up * y.cai / (y.cai + p.km_up - p.km_up_camk)
    j_up = plain * up + phosphorylated * up_p - p.j_leak * y.cansr / p.nsr_full
    j_tr = (y.cansr - y.cajsr) / p.tau_tr

    # Ions [1] p. 18; what a current moves in a space, amount per volume and time
    moved = p.area * p.cm / p.faraday
    na, k, ca = i_na + i_nal + i_nab, i_to + i_kr + i_ks + i_k1 + i_kb, i_pca + i_cab
    free_i = 1 / (1 + p.cmdn * p.km_cmdn / (p.km_cmdn + y.cai) ** 2 + p.trpn * p.km_trpn / (p.km_trpn + y.cai) ** 2)
    free_ss = 1 / (1 + p.bsr * p.km_bsr / (p.km_bsr + y.cass) ** 2 + p.bsl * p.km_bsl / (p.km_bsl + y.cass) ** 2)
    free_jsr = 1 / (1 + p.csqn * p.km_csqn / (p.km_csqn + y.cajsr) ** 2)

    return State(
        v=-(na + k + ca + i_ca + i_cana + i_cak + i_naca + i_naca_ss + i_nak),
        nai=-(na + 3 * i_naca + 3 * i_nak) * moved / p.v_myo + diff_na * p.v_ss / p.v_myo,
        nass=-(i_cana + 3 * i_naca_ss) * moved / p.v_ss - diff_na,
        ki=-(k - 2 * i_nak) * moved / p.v_myo + diff_k * p.v_ss / p.v_myo,
        kss=-i_cak * moved / p.v_ss - diff_k,
        cai=free_i
        * (-(ca - 2 * i_naca) * moved / (2 * p.v_myo) - j_up * p.v_nsr / p.v_myo + diff_ca * p.v_ss / p.v_myo),
        cass=free_ss * (-(i_ca - 2 * i_naca_ss) * moved / (2 * p.v_ss) + j_rel * p.v_jsr / p.v_ss - diff_ca),
        cansr=j_up - j_tr * p.v_jsr / p.v_nsr,
        cajsr=free_jsr * (j_tr - j_rel),
        m=relaxed(y.m, falling(-(v + 39.57) / 9.871), m_tau),
        hf=relaxed(y.hf, h_inf, hf_tau),
        hs=relaxed(y.hs, h_inf, hs_tau),
        j=relaxed(y.j, h_inf, j_tau),
        hsp=relaxed(y.hsp, hsp_inf, 3 * hs_tau),
        jp=relaxed(y.jp, h_inf, 1.46 * j_tau),
        ml=relaxed(y.ml, falling(-(v + 42.85) / 5.264), m_tau),
        hl=relaxed(y.hl, falling((v + 87.61) / 7.488), 200.0),
        hlp=relaxed(y.hlp, falling((v + 93.81) / 7.488), 600.0),
        a=relaxed(y.a, falling(-(v - 14.34) / 14.82), a_tau),
        i_f=relaxed(y.i_f, i_inf, if_tau),
        i_s=relaxed(y.i_s, i_inf, is_tau),
        ap=relaxed(y.ap, falling(-(v - 24.34) / 14.82), a_tau),
        i_fp=relaxed(y.i_fp, i_inf, slower * if_tau),
        i_sp=relaxed(y.i_sp, i_inf, slower * is_tau),
        d=relaxed(y.d, falling(-(v + 3.940) / 4.230), d_tau),
        ff=relaxed(y.ff, f_inf, ff_tau),
        fs=relaxed(y.fs, f_inf, fs_tau),
        fcaf=relaxed(y.fcaf, f_inf, fcaf_tau),
        fcas=relaxed(y.fcas, f_inf, fcas_tau),
        jca=relaxed(y.jca, f_inf, 75.0),
        nca=n_inf * p.k2_n - y.nca * km2_n,
        ffp=relaxed(y.ffp, f_inf, 2.5 * ff_tau),
        fcafp=relaxed(y.fcafp, f_inf, 2.5 * fcaf_tau),
        xs1=relaxed(y.xs1, xs_inf, xs1_tau),
        xs2=relaxed(y.xs2, xs_inf, xs2_tau),
        xk1=relaxed(y.xk1, xk1_inf, xk1_tau),
        jrelnp=(release - y.jrelnp) / jnp.maximum(tau_rel, p.tau_least),
        jrelp=(p.bt_camk * release - y.jrelp) / jnp.maximum(p.bt_camk * tau_rel, p.tau_least),
        camkt=p.a_camk * camk_bound * camk - p.b_camk * y.camkt,
        ic1=to_ic1 - to_ic2 + inactivated_c1 - recovered_c1,
        ic2=to_ic2 - to_ic1 - to_io + from_io + inactivated_c2 - recovered_c2,
        c1=to_c1 - to_c2 - inactivated_c1 + recovered_c1,
        c2=to_c2 - to_c1 - opening + closing - inactivated_c2 + recovered_c2,
        o=opening - closing - inactivated + recovered - bound_o,
        io=to_io - from_io + inactivated - recovered - bound_io,
        iobound=bound_io - trapped_io,
        obound=bound_o - trapped_o,
        cbound=trapped_o + trapped_io,
        qnet=i_nal + i_ca + i_kr + i_ks + i_k1 + i_to,  # [3]; of ICaL what Ca carries
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(v=y.v, qnet=y.qnet, cai=y.cai)


def of_last(series: Any) -> Any:
    """The samples of the last beat, 1 ms apart; visits before it, such as the first one, say nothing of it."""
    return series[..., -(round(beats.CYCLE) + 1) :]


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="ms",
    individual=individual,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={"stimulus": Route("v"), "stimulus_potassium": Route("ki")},
    endpoints={
        "qnet": Endpoint(
            lambda seen: beats.net_charge(of_last(seen.qnet)), unit="uC/uF", about="net charge of the last beat"
        ),
        "apd90": Endpoint(
            lambda seen: beats.duration(of_last(seen.v), 0.9),
            unit="ms",
            about="action potential, upstroke to 90 % repolarisation",
        ),
        "repolarisation_failure": Endpoint(
            lambda seen: beats.failed(of_last(seen.v)),
            unit="1",
            about="no return, or an early afterdepolarisation",
            binary=True,
        ),
    },
)
