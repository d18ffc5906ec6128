"""W2S: a drug that binds its target fast, so that hours of the course hang on seconds of binding: a stiff model.

    depot --ka--> ligand --kel-->
                     +
    ksyn--> target --kdeg-->      ligand + target <--kon, koff--> complex --kint-->

    100*kout*(1 - imax*complex/(ec50 + complex))--> effect --kout-->

Full target-mediated disposition [1]; the complex stops the production of an effect of 100 percent. Binding runs at
100 to 1000 1/h, elimination at 0.02 1/h. A workload of the benchmark: its typical values are of the size that such
drugs have, chosen for the benchmark and published nowhere. Every parameter varies by 30 %, but for the largest
inhibition.

References
----------
[1] Mager & Jusko 2001, J Pharmacokinet Pharmacodyn 28:507. Target-mediated drug disposition.
"""

from cohort import Model, Record, Route, Scalar, fixed, lognormal, quantity


class Covariates(Record):
    """None."""


class Parameters(Record):
    ka: Scalar = lognormal(0.5, "1/h", cv=0.3, about="absorption rate constant")
    v: Scalar = lognormal(3.0, "L", cv=0.3, about="volume of distribution")
    kel: Scalar = lognormal(0.02, "1/h", cv=0.3, about="elimination of unbound ligand")
    kon: Scalar = lognormal(2.0, "1/nM/h", cv=0.3, about="binding to the target")
    koff: Scalar = lognormal(0.2, "1/h", cv=0.3, about="dissociation of the complex")
    kdeg: Scalar = lognormal(0.1, "1/h", cv=0.3, about="degradation of unbound target")
    r0: Scalar = lognormal(10.0, "nM", cv=0.3, about="target before treatment")
    kint: Scalar = lognormal(0.05, "1/h", cv=0.3, about="internalisation of the complex")
    kout: Scalar = lognormal(0.1, "1/h", cv=0.3, about="turnover rate of the effect")
    ec50: Scalar = lognormal(2.0, "nM", cv=0.3, about="complex at half the largest inhibition")
    imax: Scalar = fixed(0.9, "1", about="largest inhibition of the effect's production")


class State(Record):
    depot: Scalar = quantity("nmol", "ligand not yet absorbed")
    ligand: Scalar = quantity("nM", "unbound ligand in plasma")
    target: Scalar = quantity("nM", "unbound target")
    complex: Scalar = quantity("nM", "ligand bound to target")
    effect: Scalar = quantity("percent", "effect, in percent of its level before treatment")


class Outputs(Record):
    ligand: Scalar = quantity("nM", "unbound ligand in plasma")
    target: Scalar = quantity("nM", "unbound target")
    effect: Scalar = quantity("percent", "effect, in percent of its level before treatment")


def individual(p: Parameters, x: Covariates) -> Parameters:
    return p


def initial(p: Parameters) -> State:
    return State(depot=0.0, ligand=0.0, target=p.r0, complex=0.0, effect=100.0)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    binding = p.kon * y.ligand * y.target - p.koff * y.complex
    ksyn = p.r0 * p.kdeg
    inhibition = p.imax * y.complex / (p.ec50 + y.complex)
    return State(
        depot=-p.ka * y.depot,
        ligand=p.ka * y.depot / p.v - p.kel * y.ligand - binding,  # [1]
        target=ksyn - p.kdeg * y.target - binding,  # [1]
        complex=binding - p.kint * y.complex,  # [1]
        effect=100 * p.kout * (1 - inhibition) - p.kout * y.effect,
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(ligand=y.ligand, target=y.target, effect=y.effect)


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
    routes={"sc": Route("depot")},
    endpoints={},
)
