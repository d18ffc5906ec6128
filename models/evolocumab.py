"""Evolocumab: an antibody against PCSK9, cleared by its target, that frees LDL receptors.

         dose x F
            |
          depot --ka--> central --cl--> (linear)
                           \\--vmax, km--> (with PCSK9)
                           c
    kout*base --> ldl --kout*(1 + smax*c/(sc50 + c))-->

The pharmacokinetics are published [1]. Of the pharmacodynamics only the turnover rate is [2]; stimulation, residual and
drift are broad priors here, which a study calibrates.

References
----------
[1] Kuchimanchi et al. 2018, J Pharmacokinet Pharmacodyn 45:505, doi 10.1007/s10928-018-9592-y. Table 3: pooled analysis
    of eleven studies (the phase 2 trials among them), n = 3414.
[2] Gibbs et al. 2017, J Clin Pharmacol 57:616: LDL turnover, fitted to two phase 1 studies.
[3] Dayneka, Garzone & Jusko 1993, J Pharmacokinet Biopharm 21:457. Indirect response, type IV: stimulated removal.
"""

import jax.numpy as jnp

from cohort import (
    Endpoint,
    Model,
    Record,
    Route,
    Scalar,
    additive,
    category,
    first,
    fixed,
    last,
    lognormal,
    lowest,
    of_baseline,
    proportional,
    quantity,
)


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))
    sex: Scalar = category("male", "female", about="sex")
    pcsk9: Scalar = quantity("ng/mL", "unbound PCSK9 before treatment", plausible=(20, 3000))
    statin: Scalar = category("no", "yes", about="on a statin")
    ezetimibe: Scalar = category("no", "yes", about="on ezetimibe, mostly with a statin")
    ldl: Scalar = quantity("mg/dL", "LDL cholesterol before treatment", plausible=(10, 800))


class Parameters(Record):
    """A typical subject: 84 kg man, no lipid-lowering drug, unbound PCSK9 425 ng/mL."""

    ka: Scalar = lognormal(0.319, "1/d", cv=0.746, about="absorption rate constant", source="[1] Table 3, fixed there")
    f: Scalar = fixed(0.72, "1", about="subcutaneous bioavailability", source="[1] Table 3, fixed there")
    cl: Scalar = lognormal(0.105, "L/d", cv=0.543, about="linear clearance", source="[1] Table 3")
    v: Scalar = lognormal(5.18, "L", cv=0.283, about="volume of distribution", source="[1] Table 3")
    vmax: Scalar = lognormal(9.85, "nM/d", cv=0.311, about="capacity of target-mediated elimination", source="[1] Table 3, fixed there")
    km: Scalar = fixed(27.3, "nM", about="concentration of half that capacity", source="[1] Table 3, fixed there")

    weight_on_cl: Scalar = fixed(0.276, "1", about="exponent of weight/84 kg on cl", source="[1] Table 3", rse=30.4)
    weight_on_v: Scalar = fixed(1.04, "1", about="exponent of weight/84 kg on v", source="[1] Table 3", rse=4.05)
    weight_on_vmax: Scalar = fixed(0.145, "1", about="exponent of weight/84 kg on vmax", source="[1] Table 3", rse=33.0)
    female_on_v: Scalar = fixed(1.11, "1", about="v of women relative to men", source="[1] Table 3", rse=1.42)
    statin_on_vmax: Scalar = fixed(1.13, "1", about="vmax on a statin alone", source="[1] Table 3", rse=1.02)
    ezetimibe_on_vmax: Scalar = fixed(1.20, "1", about="vmax on ezetimibe", source="[1] Table 3", rse=1.59)
    pcsk9_on_vmax: Scalar = fixed(0.194, "1", about="exponent of pcsk9/425 ng/mL on vmax", source="[1] Table 3", rse=7.47)
    ug_per_nmol: Scalar = fixed(0.1418, "ug/mL/nM", about="molar mass, 141.8 kDa", source="[1]")

    base: Scalar = fixed(120.0, "mg/dL", about="LDL cholesterol before treatment", source="replaced by the subject's own")
    kout: Scalar = fixed(0.305, "1/d", about="LDL turnover rate", source="[2]")
    smax: Scalar = lognormal(2.0, "1", cv=0.42, about="largest relative stimulation of LDL removal", source="prior, to be calibrated")
    sc50: Scalar = lognormal(2.0, "ug/mL", cv=0.42, about="concentration of half that stimulation", source="prior, to be calibrated")
    drift: Scalar = fixed(0.0, "1", about="change of LDL over 84 d without treatment, fraction of baseline", source="prior, to be calibrated")
    drift_time: Scalar = fixed(84.0, "d", about="time over which the drift builds up, linearly", source="length of the trials")
    sigma: Scalar = fixed(15.0, "percent", about="residual standard deviation of the change from baseline", source="prior, to be calibrated")


class State(Record):
    depot: Scalar = quantity("nmol", "antibody under the skin")
    central: Scalar = quantity("nmol", "unbound antibody in plasma")
    ldl: Scalar = quantity("mg/dL", "LDL cholesterol")


class Outputs(Record):
    c: Scalar = quantity("nM", "unbound antibody in plasma", error=proportional(0.282) + additive(5.41), plausible=(-1e-3, 2e4))  # [1]
    ldl: Scalar = quantity("mg/dL", "LDL cholesterol", error=of_baseline("sigma"), plausible=(0, 1500))


def individual(p: Parameters, x: Covariates) -> Parameters:
    size = x.weight / 84  # [1]
    lipid_lowering = jnp.where(x.ezetimibe == 1, p.ezetimibe_on_vmax, jnp.where(x.statin == 1, p.statin_on_vmax, 1.0))
    return p.replace(
        cl=p.cl * size**p.weight_on_cl,
        v=p.v * size**p.weight_on_v * jnp.where(x.sex == 1, p.female_on_v, 1.0),
        vmax=p.vmax * size**p.weight_on_vmax * lipid_lowering * (x.pcsk9 / 425) ** p.pcsk9_on_vmax,
        base=x.ldl,
    )


def initial(p: Parameters) -> State:
    return State(depot=0.0, central=0.0, ldl=p.base)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    c = y.central / p.v
    c_mass = c * p.ug_per_nmol
    stimulation = p.smax * c_mass / (p.sc50 + c_mass)  # [3]
    return State(
        depot=-p.ka * y.depot,
        central=p.ka * y.depot - p.cl * c - p.vmax * p.v * c / (p.km + c),  # [1]
        ldl=p.kout * p.base - p.kout * (1 + stimulation) * y.ldl,  # [3]
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(c=y.central / p.v, ldl=y.ldl + p.base * p.drift * jnp.minimum(t / p.drift_time, 1.0))


def ldl_change(visits: Outputs) -> Scalar:
    """Percent change of LDL cholesterol from the first visit to the last."""
    return 100 * (last(visits.ldl) / first(visits.ldl) - 1)


def ldl_below_25(visits: Outputs) -> Scalar:
    """Whether LDL cholesterol was below 25 mg/dL at any visit."""
    return lowest(visits.ldl) < 25.0


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="d",
    individual=individual,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={
        "sc": Route("depot", bioavailability="f", molar_mass=141_800),
        "iv": Route("central", molar_mass=141_800),
    },
    correlations={("cl", "vmax"): 0.5},  # "high" in [1], the block is unpublished: a stated assumption, varied from 0 to 0.8
    endpoints={
        "ldl_change": Endpoint(ldl_change, unit="percent", about="change of LDL cholesterol at the last visit"),
        "ldl_below_25": Endpoint(ldl_below_25, unit="1", about="LDL cholesterol below 25 mg/dL at any visit", binary=True),
    },
)
