"""Total warfarin after an oral dose, and the prothrombin complex activity that follows.

    dose x F --lag--> gut --ka--> plasma --cl-->
                                  c = plasma / v

    kout*pca0 * (1 - emax*c/(c50 + c)) --> pca --kout-->

One compartment with first-order absorption after a lag; clearance and volume grow with body weight [3]. Warfarin slows
the synthesis of the factors that need vitamin K, whose activity then falls as fast as they are broken down [1, 2]: an
indirect response of type I [4]. Both enantiomers together, as an assay of 1963 measured them. Prothrombin complex
activity is what a prothrombin time reads off a dilution curve, in percent of normal plasma.

The values are one published fit [5] to the volunteers of [2, 6]; `cohort.chapters.warfarin_volunteers` fits them anew.

References
----------
[1] Holford 1986, Clin Pharmacokinet 11:483, doi 10.2165/00003088-198611060-00005; abstract read.
[2] O'Reilly, Aggeler & Leong 1963, J Clin Invest 42:1542: one dose of 1.5 mg/kg; abstract read.
[3] Anderson & Holford 2008, Annu Rev Pharmacol Toxicol 48:303: size to the power 3/4 in clearances, 1 in volumes.
[4] Dayneka, Garzone & Jusko 1993, J Pharmacokinet Biopharm 21:457.
[5] Nguyen et al. 2017, CPT Pharmacometrics Syst Pharmacol 6:87, doi 10.1002/psp4.12161, warfarin example: the NONMEM
    control stream ka1_to_emax1_simln from which its data were simulated, github.com/isoplinks/
    model_evaluation_continuous, commit 9ff37d2. Variances there are of logarithms, half-lives are turned into rates.
[6] O'Reilly & Aggeler 1968, Circulation 38:169.
"""

import math

from cohort import Endpoint, Model, Record, Route, Scalar, additive, fixed, lognormal, lowest, proportional, quantity


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))


def cv(variance: float) -> float:
    """Coefficient of variation of a lognormal with this variance of the logarithm."""
    return math.sqrt(math.expm1(variance))


class Parameters(Record):
    """A typical adult of 70 kg."""

    ka: Scalar = lognormal(math.log(2) / 0.588, "1/h", cv=cv(0.551), about="absorption rate constant", source="[5]")
    lag: Scalar = fixed(0.842, "h", about="time until absorption starts", source="[5]")
    f: Scalar = fixed(1.0, "1", about="bioavailability", source="essentially complete [1]")
    cl: Scalar = lognormal(0.135, "L/h", cv=cv(0.0703), about="clearance of total warfarin", source="[5]")
    v: Scalar = lognormal(8.03, "L", cv=cv(0.0195), about="volume of distribution", source="[5]")
    weight_on_cl: Scalar = fixed(0.75, "1", about="exponent of weight/70 kg on cl", source="[3]")
    weight_on_v: Scalar = fixed(1.0, "1", about="exponent of weight/70 kg on v", source="[3]")
    pca0: Scalar = lognormal(96.6, "percent", cv=cv(0.00286), about="activity without the drug", source="[5]")
    emax: Scalar = fixed(1.0, "1", about="largest inhibition of synthesis", source="[5], fixed there")
    c50: Scalar = lognormal(1.17, "mg/L", cv=cv(0.2), about="concentration that halves synthesis", source="[5]")
    kout: Scalar = lognormal(math.log(2) / 13.0, "1/h", cv=cv(0.0114), about="turnover of the activity", source="[5]")
    sigma_share: Scalar = fixed(0.00677**0.5, "1", about="residual error of concentrations, a share", source="[5]")
    sigma_c: Scalar = fixed(0.094**0.5, "mg/L", about="residual error of concentrations beside it", source="[5]")
    sigma_pca: Scalar = fixed(14.6**0.5, "percent", about="residual error of activities", source="[5]")


class State(Record):
    gut: Scalar = quantity("mg", "warfarin to be absorbed")
    plasma: Scalar = quantity("mg", "warfarin in the body")
    pca: Scalar = quantity("percent", "prothrombin complex activity, of normal")


class Outputs(Record):
    c: Scalar = quantity(
        "mg/L",
        "total warfarin in plasma",
        error=proportional("sigma_share") + additive("sigma_c"),
        plausible=(-1e-3, 1e3),
    )
    pca: Scalar = quantity(
        "percent", "prothrombin complex activity, of normal", error=additive("sigma_pca"), plausible=(-1e-3, 300)
    )


def individual(p: Parameters, x: Covariates) -> Parameters:
    size = x.weight / 70  # [3]
    return p.replace(cl=p.cl * size**p.weight_on_cl, v=p.v * size**p.weight_on_v)


def initial(p: Parameters) -> State:
    return State(gut=0.0, plasma=0.0, pca=p.pca0)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    c = y.plasma / p.v
    left = 1 - p.emax * c / (p.c50 + c)  # of the synthesis [4]
    return State(
        gut=-p.ka * y.gut,
        plasma=p.ka * y.gut - p.cl * c,
        pca=p.kout * (p.pca0 * left - y.pca),
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(c=y.plasma / p.v, pca=y.pca)


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
    routes={"oral": Route("gut", bioavailability="f", lag="lag")},
    endpoints={
        "lowest_pca": Endpoint(lambda visits: lowest(visits.pca), unit="percent", about="lowest activity at any visit"),
    },
)
