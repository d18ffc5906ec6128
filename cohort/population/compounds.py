"""Two compounds to try a body with: midazolam, cleared by CYP3A4, and caffeine, cleared by CYP1A2.

Figures as published, none fitted to a concentration-time profile here.

References
----------
[1] Gaohua et al. 2012, Br J Clin Pharmacol 74:873, Table 3 (Simcyp's compounds).
[2] Rodgers & Rowland 2006, J Pharm Sci 95:1238, as listed with other measured values in the evaluation report of the
    Open Systems Pharmacology model of midazolam.
[3] Utsey et al. 2020, Drug Metab Dispos 48:903, and the inputs published with it.
[4] Huang et al. 2004, Drug Metab Dispos 32:1434: expressed enzymes, 1'- and 4-hydroxylation together: CYP3A4 1.84 +
    0.16, CYP3A5 5.62 + 0.14 uL/min/pmol.
[5] Newton et al. 1981, Eur J Clin Pharmacol 21:45, doi 10.1007/BF00609587: of caffeine 1.83 % of the dose in urine,
    clearance 0.98 mL/min/kg.
[6] Britz et al. 2019, CPT Pharmacometrics Syst Pharmacol, doi 10.1002/psp4.12397, and the inputs published with it.
[7] Hansch, Leo & Hoekman 1995, after [6].
[8] Ha et al. 1996, Eur J Clin Pharmacol 49:309: expressed CYP1A2 clears 160 L/h/mmol, 0.0027 uL/min/pmol.
[9] Floyd et al. 2003, Pharmacogenetics 13:595 (systemic clearance, 57 people), and Shih & Huang 2002, Drug Metab Dispos
    30:1491 (oral, 26 people): midazolam's kinetics do not differ between CYP3A5 genotypes.
"""

from cohort.population.partition import Compound

MIDAZOLAM = Compound(
    name="midazolam",
    molar_mass=325.77,
    log_p=3.1,
    pka_base=(6.0,),
    fu=0.032,
    binds="albumin",
    blood_plasma_ratio=0.664,
    # Without CYP3A5: what it clears when expressed [4] would make the oral exposure of carriers of *1 a third of that
    # of others, which in people it is not [9].
    clint={"CYP3A4": 2.00},
    renal=1.0,
    absorption_rate=3.04,
    fraction_absorbed=0.88,
    gut_availability=0.59,
    sources={
        "molar_mass": "C18H13ClFN3",
        "log_p": "Rodgers & Rowland 2006 [2]",
        "pka_base": "Utsey 2020 [3]",
        "fu": "Gaohua 2012 [1]",
        "blood_plasma_ratio": "Gaohua 2012 [1]",
        "clint": "Huang 2004 [4]; CYP3A5 left out [9]",
        "renal": "filtration alone",
        "absorption_rate": "Gaohua 2012 [1]",
        "fraction_absorbed": "Gaohua 2012 [1]",
        "gut_availability": "Gaohua 2012 [1]",
    },
)

CAFFEINE = Compound(
    name="caffeine",
    molar_mass=194.19,
    log_p=-0.07,
    pka_base=(0.8,),
    fu=0.681,
    binds="albumin",
    blood_plasma_ratio=0.98,
    # 8 L/h [1] over 52 pmol/mg, 40 mg/g and the 1.2 L (1.25 kg) of their liver. Calculated back from clearance in vivo:
    # expressed enzyme [8] clears a nineteenth of it.
    clint={"CYP1A2": 8 / (0.06 * 52 * 40 * 1.25)},
    renal=0.015,
    absorption_rate=2.18,
    fraction_absorbed=1.0,
    gut_availability=1.0,
    sources={
        "molar_mass": "C8H10N4O2",
        "log_p": "Hansch 1995 [7]",
        "pka_base": "Britz 2019 [6]",
        "fu": "Gaohua 2012 [1], after Utsey 2020 [3]",
        "blood_plasma_ratio": "Gaohua 2012 [1], after Utsey 2020 [3]",
        "clint": "Gaohua 2012 [1], after Utsey 2020 [3], per pmol of CYP1A2; from clearance in vivo",
        "renal": "1.83 % of 0.98 mL/min/kg, over fu times GFR: Newton 1981 [5]",
        "absorption_rate": "Gaohua 2012 [1], after Utsey 2020 [3]",
        "fraction_absorbed": "Gaohua 2012 [1], after Utsey 2020 [3]",
        "gut_availability": "Gaohua 2012 [1], after Utsey 2020 [3]",
    },
)
