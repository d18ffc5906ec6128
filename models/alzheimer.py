"""Alzheimer's disease on ADAS-Cog(11), and a patch of xanomeline: progression, effect, events of the skin and others.

    baseline --> score --rate*(1 - (score/70)^shape)-->          the disease [1]
    patch, 24 h --> drug --elimination-->                        mg a day
                     |--> effect, in points, slow to come and go
                     '--> cumulative hazards of the first event of the skin, of the first other event

The score stays within 0 and 70: progression saturates [1], and effects shift its log-odds, so that a point at 24 is less
near either end. An event has happened once its cumulative hazard exceeds the patient's own threshold, which is
exponentially distributed with mean 1: the first passage of a hazard, exactly.

Rates and baseline are those of [1]; in a study a patient's own baseline comes from the people, and the rate is that of
patients with such a baseline, by the correlation in [1]. [1] has no separate response to placebo: its patients' rate
holds whatever there was of it. A transient one, as in the simulation tool of the same consortium, is a declared
alternative: set `placebo`. It could only lower the mean on placebo at week 24 further.

References
----------
[1] Conrado, Denney, Chen & Ito 2014, J Pharmacokinet Pharmacodyn 41:581, doi 10.1007/s10928-014-9375-z: 4494 patients,
    15 studies. Values are those of the NONMEM listing of the real-data fit that its authors deposited, DDMODEL00000290,
    as transcribed with line numbers in nlmixr2lib (Conrado_2014_alzheimer); the paper's tables were not read.
[2] tools/fit_cdiscpilot.py: maximum likelihood on placebo and 54 mg of the CDISC pilot trial (170 patients).
[3] The trial's redacted protocol, H2Q-MC-LZZT(c), and the Vulcan implementation guide of HL7: 0, 50 cm2 (54 mg), 75 cm2
    (81 mg), patches changed daily.
"""

import jax.numpy as jnp

from cohort import (
    Endpoint,
    Model,
    Record,
    Route,
    Scalar,
    beta_error,
    category,
    exponential,
    first,
    fixed,
    last,
    normal,
    quantity,
)


class Covariates(Record):
    age: Scalar = quantity("y", "age", plausible=(40, 110))
    sex: Scalar = category("male", "female", about="sex")
    apoe4: Scalar = quantity("1", "copies of APOE4; 0.72 where unknown, as in [1]", plausible=(0, 2))
    comedication: Scalar = category("no", "yes", about="on a cholinesterase inhibitor or memantine")
    adas: Scalar = quantity("1", "ADAS-Cog(11) before treatment, without its measurement error", plausible=(0.5, 69.5))


class Parameters(Record):
    """A typical patient: woman of 75 years with 0.72 copies of APOE4, on symptomatic medication, 22.2 points."""

    upper: Scalar = fixed(70.0, "1", about="worst score", source="the scale")
    year: Scalar = fixed(365.25, "d/y", about="days of a year", source="[1]")
    base: Scalar = fixed(22.2, "1", about="score before treatment", source="[1] TH1; replaced by the patient's own")
    rate: Scalar = normal(0.153, "1/y", sd=0.1951, about="rate of progression at the typical baseline", source="[1] TH2; SD between patients of one baseline, from the block 0.156, 0.0224, 0.0413")
    shape: Scalar = fixed(6.91, "1", about="how late progression slows towards the worst score", source="[1] TH3")
    precision: Scalar = fixed(87.5, "1", about="precision of a measured score, beta distribution", source="[1] TH4")
    base_on_rate: Scalar = fixed(0.1436, "1/y", about="rate per unit of log baseline over the typical one", source="[1], 0.0224/0.156 of the block")
    male_on_base: Scalar = fixed(0.953, "1", about="typical baseline of men relative to women", source="[1] TH5")
    apoe4_on_base: Scalar = fixed(0.0372, "1", about="fractional change of the typical baseline per copy of APOE4", source="[1] TH9")
    age_on_rate: Scalar = fixed(-0.024, "1", about="fractional change of the rate per year of age over 75", source="[1] TH6")
    apoe4_on_rate: Scalar = fixed(0.195, "1", about="fractional change of the rate per copy of APOE4", source="[1] TH7")
    untreated_on_rate: Scalar = fixed(-0.302, "1", about="fractional change of the rate without symptomatic medication", source="[1] TH8; selection, not benefit: the worse are treated")

    placebo: Scalar = fixed(0.0, "1", about="depth of a transient response to placebo, points at the reference", source="none in [1]; 2.1 is the middle of the prior in public code of the consortium's tool, unverified")
    placebo_on: Scalar = fixed(6.55, "1/y", about="onset of that response", source="as `placebo`, unverified")
    placebo_off: Scalar = fixed(1.58, "1/y", about="loss of that response", source="as `placebo`, unverified")

    elimination: Scalar = fixed(2.8, "1/d", about="elimination of xanomeline once the patch is off", source="assumption: half-life 6 h, unverified; hours are nothing to weeks")
    onset: Scalar = fixed(0.05, "1/d", about="how fast the effect comes and goes", source="assumption: half in two weeks, gone six weeks after the last patch")
    xanomeline: Scalar = fixed(-0.0102, "d/mg", about="points at the reference per mg a day", source="[2] 54 mg less placebo, SE 0.0166; calibrated in a study")
    reference: Scalar = fixed(24.0, "1", about="score at which effects are given in points", source="the trial's baseline on placebo, 24.1")

    skin_background: Scalar = fixed(0.00734, "1/d", about="hazard of a skin event without drug, at the start", source="[2]", rse=24.6)
    skin_xanomeline: Scalar = fixed(6.86e-4, "1/mg", about="the same per mg a day, once sensitised", source="[2]", rse=53.7)
    skin_sensitising: Scalar = fixed(0.0410, "1/d", about="how fast the skin becomes sensitive to the drug", source="[2]", rse=87.0)
    skin_fading: Scalar = fixed(0.0148, "1/d", about="how fast both hazards of the skin fall", source="[2]", rse=26.4)
    other_background: Scalar = fixed(0.0187, "1/d", about="hazard of another event without drug, at the start", source="[2]", rse=16.9)
    other_xanomeline: Scalar = fixed(7.16e-5, "1/mg", about="the same per mg a day", source="[2]", rse=103.5)
    other_fading: Scalar = fixed(0.0147, "1/d", about="how fast both hazards of other events fall", source="[2]", rse=18.5)
    stopping_xanomeline: Scalar = fixed(0.0335, "d/mg", about="hazard of stopping per mg a day, of that without drug", source="[2]", rse=37.8)
    skin_threshold: Scalar = exponential(1.0, "1", about="cumulative hazard at which the skin event happens", source="by definition of a hazard")
    other_threshold: Scalar = exponential(1.0, "1", about="cumulative hazard at which the other event happens", source="by definition of a hazard")


class State(Record):
    score: Scalar = quantity("1", "ADAS-Cog(11) without drug and without measurement error")
    drug: Scalar = quantity("mg", "xanomeline delivered and not yet eliminated")
    effect: Scalar = quantity("1", "effect of the drug, points at the reference")
    skin: Scalar = quantity("1", "cumulative hazard of a first event of the skin")
    other: Scalar = quantity("1", "cumulative hazard of a first other event")


class Outputs(Record):
    adas: Scalar = quantity("1", "ADAS-Cog(11)", error=beta_error("precision", 70.0), plausible=(0, 70))
    skin: Scalar = quantity("1", "whether a first event of the skin has happened")
    other: Scalar = quantity("1", "whether a first other event has happened")
    burden: Scalar = quantity("1", "logarithm of the hazard of stopping relative to that without drug")


def individual(p: Parameters, x: Covariates) -> Parameters:
    sex = jnp.where(x.sex == 1, 1.0, p.male_on_base)
    typical = p.base * sex * (1 + p.apoe4_on_base * (x.apoe4 - 0.72))  # [1]
    treated = jnp.where(x.comedication == 1, 1.0, 1 + p.untreated_on_rate)
    relative = (1 + p.age_on_rate * (x.age - 75)) * (1 + p.apoe4_on_rate * (x.apoe4 - 0.72)) * treated  # [1]
    return p.replace(base=x.adas, rate=(p.rate + p.base_on_rate * jnp.log(x.adas / typical)) * relative)


def initial(p: Parameters) -> State:
    return State(score=p.base, drug=0.0, effect=0.0, skin=0.0, other=0.0)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    daily = p.elimination * y.drug  # mg/d; what a patch gives in a day, once levels are steady
    sensitive = 1 - jnp.exp(-p.skin_sensitising * t)
    return State(
        score=p.rate / p.year * y.score * (1 - (y.score / p.upper) ** p.shape),  # [1], Richards' equation
        drug=-daily,
        effect=p.onset * (p.xanomeline * daily - y.effect),
        skin=(p.skin_background + p.skin_xanomeline * daily * sensitive) * jnp.exp(-p.skin_fading * t),  # [2]
        other=(p.other_background + p.other_xanomeline * daily) * jnp.exp(-p.other_fading * t),  # [2]
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    years = t / p.year
    response = p.placebo * (jnp.exp(-p.placebo_off * years) - jnp.exp(-p.placebo_on * years))
    point = p.upper / (p.reference * (p.upper - p.reference))  # log-odds of a point at the reference
    odds = jnp.exp(point * (y.effect - response))  # times those without drug
    left = jnp.maximum(p.upper - y.score, 1e-6)  # rounding may reach the worst score, which the disease does not
    return Outputs(
        adas=p.upper * y.score * odds / (y.score * odds + left),
        skin=jnp.where(y.skin > p.skin_threshold, 1.0, 0.0),
        other=jnp.where(y.other > p.other_threshold, 1.0, 0.0),
        burden=jnp.log(1 + p.stopping_xanomeline * p.elimination * y.drug),  # linear in dose, as the other hazards
    )


def adas_change(visits: Outputs) -> Scalar:
    """Change of ADAS-Cog(11) from the first visit to the last; positive is worse."""
    return last(visits.adas) - first(visits.adas)


def skin_event(visits: Outputs) -> Scalar:
    """Whether a skin event has happened by the last visit."""
    return last(visits.skin) > 0.5


def other_event(visits: Outputs) -> Scalar:
    """Whether an event other than of the skin has happened by the last visit."""
    return last(visits.other) > 0.5


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
    routes={"patch": Route("drug")},  # worn for a day: an infusion over 1 d
    endpoints={
        "adas_change": Endpoint(adas_change, unit="1", about="change of ADAS-Cog(11) at the last visit, points"),
        "skin_event": Endpoint(skin_event, unit="1", about="a first dermatological event by the last visit", binary=True),
        "other_event": Endpoint(other_event, unit="1", about="a first other adverse event by the last visit", binary=True),
    },
)
