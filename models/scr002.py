"""Four drugs and the QT interval: dose to plasma, to free drug at the heart cell, to its action potential, to QTcF.

    gut --ka--> plasma --cl-->                      one compartment, oral, per drug
                  c -- x fu --> free, delayed by ke0 --> longer action potential of the cell (dAPD90, per drug)
                                                          x slope --> change of QTcF, + that of placebo

Which drug a person takes is the covariate `drug`, which an arm sets; a dose goes by the route of that name. What differs
between the drugs is written drug by drug and picked in `individual`. People keep what is theirs in every arm.

The cell enters as a curve per drug, dAPD90 against free concentration: a Hill function fitted to the CiPA cell model
[1]; a slow test solves the cell again. The slope, milliseconds of QTcF for one of dAPD90, and the delay are what a study
calibrates. A slope learnt from dofetilide, which blocks hERG alone, is an extrapolation for a drug that blocks inward
currents as well.

References
----------
[1] models/cipa.py: the CiPA cell with each drug's fixed parameters of 2020, 1,000 beats of 2 s, nine free concentrations
    each: the curves stay within 1.1 ms of its dAPD90, which is read to 1 ms. docs/scr002.md tells how.
[2] Dofetilide arm of NCT01873950 (PhysioNet ecgrdvq 1.0.0), each of 22 subjects fitted alone on square roots, F = 1:
    geometric mean and standard deviation of logarithms. Calibration data. Labels give 3 L/kg and 10 h; here 2.4 L/kg, 5.5 h.
[3] Placebo arm of the same, and both arms' pre-dose recordings. Calibration data.
[4] Jerling 2006, Clin Pharmacokinet 45:469 (abstract): extended-release ranolazine; half-life 1.4 to 1.9 h, apparent
    7 h from extended release; 61 to 64 % bound.
[5] Tan et al. 2013, Am J Cardiovasc Drugs 13:17: 1500 mg sustained-release ranolazine in healthy adults, AUC 29.3 mg/L*h
    and Cmax 2.33 mg/L: from memory, the abstract seen breaks off before its results: unverified.
[6] El-Eraky & Thomas 2003, Br J Clin Pharmacol 56:198 (abstract): 3 mg/kg oral quinidine in 48 healthy people, Cmax 997
    (27 men) and 871 ng/mL (21 women).
[7] Quinidine intravenously in 8 healthy men, as cited by a supplier's page without its reference: half-life 5.7 h, free
    fraction 22.8 % (15.4 to 47.2); labels say 80 to 90 % bound.
[8] Abernethy, Schwartz & Todd 1985 (abstract): 120 mg oral verapamil in 9 healthy people, AUC 585 (SE 113) ng/mL*h,
    half-life 4.25 h.
[9] Labels: dofetilide 60 to 70 % bound, verapamil about 90 % (the latter from memory: unverified).
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from cohort import (
    Endpoint,
    Model,
    Record,
    Route,
    Scalar,
    category,
    first,
    fixed,
    lognormal,
    normal,
    of_baseline,
    quantity,
)

DRUGS = ("placebo", "dofetilide", "ranolazine", "quinidine", "verapamil")
HOURS = (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 12, 14, 24)  # of the trial's recordings
ASSUMED = "assumption: not found in a source read; unverified"
CELL = "[1] Hill function through the cell's dAPD90 at nine concentrations"


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(30, 200))
    sex: Scalar = category("male", "female", about="sex")
    drug: Scalar = category(*DRUGS, about="what is taken; set by the arm")


class Parameters(Record):
    """A typical subject of 70 kg. Clearances and volumes are apparent: divided by the bioavailability."""

    dofetilide_cl: Scalar = fixed(21.6, "L/h", about="dofetilide, apparent clearance at 70 kg", source="[2]")
    dofetilide_v: Scalar = fixed(171.0, "L", about="dofetilide, apparent volume at 70 kg", source="[2]")
    dofetilide_ka: Scalar = fixed(1.57, "1/h", about="dofetilide, absorption rate constant", source="[2]")
    dofetilide_lag: Scalar = fixed(0.31, "h", about="dofetilide, lag of absorption", source="[2]")
    dofetilide_cl_sd: Scalar = fixed(0.10, "1", about="dofetilide, between-subject sd of log clearance", source="[2]")
    dofetilide_v_sd: Scalar = fixed(0.12, "1", about="dofetilide, between-subject sd of log volume", source="[2]")
    dofetilide_ka_sd: Scalar = fixed(0.57, "1", about="dofetilide, between-subject sd of log ka", source="[2]")
    dofetilide_fu: Scalar = fixed(
        0.36, "1", about="dofetilide, free fraction in plasma", source="[9] 30 to 40 %", rse=10
    )
    dofetilide_exposure: Scalar = fixed(
        1.0, "1", about="dofetilide, exposure relative to that of these values", source="[2]", rse=2
    )
    dofetilide_potency: Scalar = fixed(
        1.0, "1", about="dofetilide, potency in the cell relative to the fixed parameters", source="[1]"
    )
    dofetilide_most: Scalar = fixed(396.0, "ms", about="dofetilide, largest dAPD90 of the curve", source=CELL)
    dofetilide_half: Scalar = fixed(16.0, "nM", about="dofetilide, free concentration of half of it", source=CELL)
    dofetilide_hill: Scalar = fixed(1.05, "1", about="dofetilide, exponent of the curve", source=CELL)
    dofetilide_mass: Scalar = fixed(
        0.44156, "ng/mL/nM", about="dofetilide, mass of a mole as assayed", source="dofetilide, 441.56 g/mol"
    )

    ranolazine_cl: Scalar = fixed(
        51.0, "L/h", about="ranolazine, apparent clearance at 70 kg", source="[5] 1500 mg / AUC: unverified"
    )
    ranolazine_v: Scalar = fixed(
        122.0, "L", about="ranolazine, apparent volume at 70 kg", source="clearance and [4]'s half-life, 1.65 h"
    )
    ranolazine_ka: Scalar = fixed(
        0.1, "1/h", about="ranolazine, rate constant of release and absorption", source="[4] apparent half-life 7 h"
    )
    ranolazine_lag: Scalar = fixed(0.0, "h", about="ranolazine, lag of absorption", source=ASSUMED)
    ranolazine_cl_sd: Scalar = fixed(
        0.47,
        "1",
        about="ranolazine, between-subject sd of log clearance",
        source="between 0.36 of [5] (unverified) and 0.7 of patients' Cmax in the label",
    )
    ranolazine_v_sd: Scalar = fixed(0.3, "1", about="ranolazine, between-subject sd of log volume", source=ASSUMED)
    ranolazine_ka_sd: Scalar = fixed(0.3, "1", about="ranolazine, between-subject sd of log ka", source=ASSUMED)
    ranolazine_fu: Scalar = fixed(0.375, "1", about="ranolazine, free fraction in plasma", source="[4]", rse=5)
    ranolazine_exposure: Scalar = fixed(
        1.0, "1", about="ranolazine, exposure relative to that of these values", source=ASSUMED, rse=15
    )
    ranolazine_potency: Scalar = fixed(
        1.0, "1", about="ranolazine, potency in the cell relative to the fixed parameters", source="[1]"
    )
    ranolazine_most: Scalar = fixed(536.0, "ms", about="ranolazine, largest dAPD90 of the curve", source=CELL)
    ranolazine_half: Scalar = fixed(42290.0, "nM", about="ranolazine, free concentration of half of it", source=CELL)
    ranolazine_hill: Scalar = fixed(1.006, "1", about="ranolazine, exponent of the curve", source=CELL)
    ranolazine_mass: Scalar = fixed(
        0.42754, "ng/mL/nM", about="ranolazine, mass of a mole as assayed", source="ranolazine, 427.54 g/mol"
    )

    quinidine_cl: Scalar = fixed(
        22.1, "L/h", about="quinidine, apparent clearance at 70 kg", source="volume and [7]'s half-life"
    )
    quinidine_v: Scalar = fixed(
        182.0,
        "L",
        about="quinidine, apparent volume at 70 kg",
        source="[6] 2.6 L/kg gives its Cmax, had the dose been of base",
    )
    quinidine_ka: Scalar = fixed(
        1.6, "1/h", about="quinidine, absorption rate constant", source="[6] largest effect at 2 h"
    )
    quinidine_lag: Scalar = fixed(0.0, "h", about="quinidine, lag of absorption", source=ASSUMED)
    quinidine_cl_sd: Scalar = fixed(0.25, "1", about="quinidine, between-subject sd of log clearance", source=ASSUMED)
    quinidine_v_sd: Scalar = fixed(
        0.29,
        "1",
        about="quinidine, between-subject sd of log volume",
        source="[6] Cmax, if its 56 ng/mL are a standard error",
    )
    quinidine_ka_sd: Scalar = fixed(0.5, "1", about="quinidine, between-subject sd of log ka", source=ASSUMED)
    quinidine_fu: Scalar = fixed(
        0.17, "1", about="quinidine, free fraction in plasma", source="between [7] and labels", rse=25
    )
    quinidine_exposure: Scalar = fixed(
        1.0, "1", about="quinidine, exposure relative to that of these values", source=ASSUMED, rse=20
    )
    quinidine_potency: Scalar = fixed(
        1.0, "1", about="quinidine, potency in the cell relative to the fixed parameters", source="[1]"
    )
    quinidine_most: Scalar = fixed(527.0, "ms", about="quinidine, largest dAPD90 of the curve", source=CELL)
    quinidine_half: Scalar = fixed(3876.0, "nM", about="quinidine, free concentration of half of it", source=CELL)
    quinidine_hill: Scalar = fixed(0.817, "1", about="quinidine, exponent of the curve", source=CELL)
    quinidine_mass: Scalar = fixed(
        0.32442, "ng/mL/nM", about="quinidine, mass of a mole as assayed", source="quinidine base, 324.42 g/mol"
    )

    verapamil_cl: Scalar = fixed(
        190.0, "L/h", about="verapamil, apparent clearance at 70 kg", source="[8] 120 mg of hydrochloride / AUC"
    )
    verapamil_v: Scalar = fixed(
        1165.0, "L", about="verapamil, apparent volume at 70 kg", source="[8] clearance and half-life"
    )
    verapamil_ka: Scalar = fixed(
        2.0,
        "1/h",
        about="verapamil, absorption rate constant",
        source="Cmax at 1.2 h after 80 mg, abstract doi 10.1038/clpt.1981.216",
    )
    verapamil_lag: Scalar = fixed(0.0, "h", about="verapamil, lag of absorption", source=ASSUMED)
    verapamil_cl_sd: Scalar = fixed(
        0.54, "1", about="verapamil, between-subject sd of log clearance", source="[8] SE of the AUC times √9"
    )
    verapamil_v_sd: Scalar = fixed(0.3, "1", about="verapamil, between-subject sd of log volume", source=ASSUMED)
    verapamil_ka_sd: Scalar = fixed(0.5, "1", about="verapamil, between-subject sd of log ka", source=ASSUMED)
    verapamil_fu: Scalar = fixed(0.1, "1", about="verapamil, free fraction in plasma", source="[9]", rse=25)
    verapamil_exposure: Scalar = fixed(
        1.0, "1", about="verapamil, exposure relative to that of these values", source="[8] SE", rse=19
    )
    verapamil_potency: Scalar = fixed(
        1.0, "1", about="verapamil, potency in the cell relative to the fixed parameters", source="[1]"
    )
    verapamil_most: Scalar = fixed(19.6, "ms", about="verapamil, largest dAPD90 of the curve", source=CELL)
    verapamil_half: Scalar = fixed(73.8, "nM", about="verapamil, free concentration of half of it", source=CELL)
    verapamil_hill: Scalar = fixed(2.4, "1", about="verapamil, exponent of the curve", source=CELL)
    verapamil_mass: Scalar = fixed(
        0.4546, "ng/mL/nM", about="verapamil, mass of a mole as assayed", source="verapamil base, 454.60 g/mol"
    )

    cl_z: Scalar = normal(
        0.0,
        "1",
        sd=1.0,
        about="a person's log clearance of whichever drug, in its standard deviations",
        source="assumption: ranks alike for all drugs",
    )
    v_z: Scalar = normal(
        0.0, "1", sd=1.0, about="the same of the volume", source="assumption: ranks alike for all drugs"
    )
    ka_z: Scalar = normal(
        0.0,
        "1",
        sd=1.0,
        about="the same of the absorption rate constant",
        source="assumption: ranks alike for all drugs",
    )
    weight_on_cl: Scalar = fixed(
        0.75, "1", about="exponent of weight/70 kg on clearance", source="allometric convention"
    )
    weight_on_v: Scalar = fixed(1.0, "1", about="exponent of weight/70 kg on volume", source="allometric convention")

    baseline: Scalar = normal(
        389.0, "ms", sd=17.0, about="QTcF of a man before the dose", source="[3] pre-dose recordings of both arms"
    )
    female_on_baseline: Scalar = fixed(
        11.8, "ms", about="QTcF of women minus that of men", source="[3] 11 women, 11 men"
    )
    placebo: Scalar = fixed(
        -5.5,
        "ms",
        about="change of QTcF from before the dose without a drug, apart from the time of day",
        source="[3]; to be calibrated",
    )
    daily: Scalar = fixed(
        3.55, "ms", about="amplitude of the change over a day", source="[3] least squares on 15 means"
    )
    peak_time: Scalar = fixed(
        0.55, "h", about="when QTcF is longest, after the dose", source="[3] least squares on 15 means"
    )
    day: Scalar = fixed(24.0, "h", about="period of that change", source="by definition")
    settling: Scalar = fixed(
        0.1,
        "h",
        about="time in which the change on placebo comes, after the pre-dose recording",
        source="assumption: whole at the first recording, 0.5 h",
    )
    slope: Scalar = lognormal(
        1.65,
        "1",
        cv=0.25,
        about="QTcF prolonged for each ms of dAPD90",
        source="to be calibrated; cv: slopes of 22 subjects on dofetilide",
    )
    ke0: Scalar = fixed(
        3.3,
        "1/h",
        about="rate at which the heart follows plasma",
        source="[2], [3] least squares on dofetilide's ddQTcF, fixed",
    )
    sigma: Scalar = fixed(
        9.0,
        "percent",
        about="residual sd of the change of QTcF at one recording, in ms: percent of the 100 ms of `change`",
        source="[3]; to be calibrated",
    )

    reference: Scalar = fixed(100.0, "ms", about="what `change` is before the dose", source="by definition")

    # Of the drug that is taken: `individual` picks them.
    cl: Scalar = fixed(1.0, "L/h", about="apparent clearance", source="the drug's own")
    v: Scalar = fixed(1.0, "L", about="apparent volume", source="the drug's own")
    ka: Scalar = fixed(1.0, "1/h", about="absorption rate constant", source="the drug's own")
    lag: Scalar = fixed(0.0, "h", about="lag of absorption", source="the drug's own")
    free: Scalar = fixed(1.0, "1", about="free fraction times relative potency in the cell", source="the drug's own")
    exposure: Scalar = fixed(1.0, "1", about="relative exposure", source="the drug's own")
    most: Scalar = fixed(1.0, "ms", about="largest dAPD90 of the curve", source="the drug's own")
    half: Scalar = fixed(1.0, "nM", about="free concentration of half of it", source="the drug's own")
    hill: Scalar = fixed(1.0, "1", about="exponent of the curve", source="the drug's own")
    mass: Scalar = fixed(1.0, "ng/mL/nM", about="mass of a mole", source="of the base, which assays measure")


class State(Record):
    gut: Scalar = quantity("nmol", "drug to be absorbed")
    plasma: Scalar = quantity("nmol", "drug in plasma")
    heart: Scalar = quantity("nM", "total concentration that the heart has followed")


class Outputs(Record):
    c: Scalar = quantity("ng/mL", "drug in plasma", plausible=(-1e-3, 1e6))
    dapd: Scalar = quantity("ms", "prolongation of the cell's action potential", plausible=(-1e-3, 2000))
    qtcf: Scalar = quantity("ms", "QT interval, Fridericia, without residual", plausible=(200, 2500))
    # A residual that a study can calibrate is a percentage of the first visit. Here that is 100 ms: one percent is 1 ms.
    change: Scalar = quantity(
        "ms", "100 ms and the change of QTcF from before the dose", error=of_baseline("sigma"), plausible=(-200, 2500)
    )


def individual(p: Parameters, x: Covariates) -> Parameters:
    def own(name: str) -> Scalar:
        """The value of the drug that is taken; on placebo dofetilide's, of which nothing is given."""
        at = {drug: getattr(p, f"{drug}_{name}") for drug in DRUGS[1:]}
        other = jnp.where(x.drug == 3, at["quinidine"], jnp.where(x.drug == 4, at["verapamil"], at["dofetilide"]))
        return jnp.where(x.drug == 2, at["ranolazine"], other)

    size = x.weight / 70
    return p.replace(
        baseline=p.baseline + jnp.where(x.sex == 1, p.female_on_baseline, 0.0),
        cl=own("cl") * size**p.weight_on_cl * jnp.exp(own("cl_sd") * p.cl_z),
        v=own("v") * size**p.weight_on_v * jnp.exp(own("v_sd") * p.v_z),
        ka=own("ka") * jnp.exp(own("ka_sd") * p.ka_z),
        lag=own("lag"),
        free=own("fu") * own("potency"),
        exposure=own("exposure"),
        most=own("most"),
        half=own("half"),
        hill=own("hill"),
        mass=own("mass"),
    )


def initial(p: Parameters) -> State:
    return State(gut=0.0, plasma=0.0, heart=0.0)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    c = y.plasma / p.v
    return State(gut=-p.ka * y.gut, plasma=p.ka * y.gut - p.cl * c, heart=p.ke0 * (c - y.heart))


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    # A concentration of nought may come out as -1e-20, which has no power.
    relative = jnp.maximum(p.free * p.exposure * y.heart / p.half, 1e-12) ** p.hill
    dapd = p.most * relative / (1 + relative)
    turn = 2 * jnp.pi / p.day
    daily = p.daily * (jnp.cos(turn * (t - p.peak_time)) - jnp.cos(turn * p.peak_time))
    without = p.placebo * (1 - jnp.exp(-t / p.settling)) + daily
    change = without + p.slope * dapd
    return Outputs(
        c=p.exposure * p.mass * y.plasma / p.v, dapd=dapd, qtcf=p.baseline + change, change=p.reference + change
    )


def _change_at(hours: float) -> Callable[[Any], Any]:
    place = HOURS.index(hours)

    def reads(visits: Any) -> Any:
        return visits.change[..., place] - first(visits.change)

    return reads


def _longest(visits: Outputs) -> Scalar:
    return jnp.nanmax(jnp.asarray(visits.qtcf), axis=-1)


def above_480(visits: Outputs) -> Scalar:
    """Whether QTcF was above 480 ms at any recording."""
    return _longest(visits) > 480.0


def above_500(visits: Outputs) -> Scalar:
    """Whether QTcF was above 500 ms at any recording."""
    return _longest(visits) > 500.0


def longer_by_60(visits: Outputs) -> Scalar:
    """Whether QTcF was longer than before the dose by more than 60 ms at any recording."""
    return _longest(visits) - first(visits.qtcf) > 60.0


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="h",
    individual=individual,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={  # molar mass of what is weighed, per mole of the base: quinidine as sulphate dihydrate, two bases in one
        "dofetilide": Route("gut", lag="lag", molar_mass=441.56),
        "ranolazine": Route("gut", lag="lag", molar_mass=427.54),
        "quinidine": Route("gut", lag="lag", molar_mass=391.47),
        "verapamil": Route("gut", lag="lag", molar_mass=491.06),
    },
    endpoints={
        "dqtcf_2h5": Endpoint(_change_at(2.5), unit="ms", about="change of QTcF from before the dose at 2.5 h"),
        "dqtcf_4h": Endpoint(_change_at(4), unit="ms", about="change of QTcF from before the dose at 4 h"),
        "dqtcf_6h": Endpoint(_change_at(6), unit="ms", about="change of QTcF from before the dose at 6 h"),
        "qtcf_above_480": Endpoint(above_480, unit="1", about="QTcF above 480 ms at any recording", binary=True),
        "qtcf_above_500": Endpoint(above_500, unit="1", about="QTcF above 500 ms at any recording", binary=True),
        "longer_by_60": Endpoint(
            longer_by_60, unit="1", about="QTcF longer by more than 60 ms at any recording", binary=True
        ),
    },
)
