"""W2: a small molecule by mouth, cleared along a linear and a saturable path, that stops its response's production.

    depot --ka--> central --cl--> (linear)
                     \\--vmax, km--> (saturable)
                     c
    kin*(1 - imax*c/(ic50 + c))--> response --kout-->

A workload of the benchmark: its typical values are of the size that such drugs have, chosen for the benchmark and
published nowhere. Every parameter varies by 30 %, but for the largest inhibition.

References
----------
[1] Dayneka, Garzone & Jusko 1993, J Pharmacokinet Biopharm 21:457. Indirect response, type I: inhibited production.
"""

from cohort import Model, Record, Route, Scalar, fixed, lognormal, quantity


class Covariates(Record):
    """None."""


class Parameters(Record):
    ka: Scalar = lognormal(1.0, "1/h", cv=0.3, about="absorption rate constant")
    v: Scalar = lognormal(20.0, "L", cv=0.3, about="volume of distribution")
    cl: Scalar = lognormal(0.5, "L/h", cv=0.3, about="linear clearance")
    vmax: Scalar = lognormal(4.0, "mg/h", cv=0.3, about="capacity of saturable elimination")
    km: Scalar = lognormal(1.0, "mg/L", cv=0.3, about="concentration of half that capacity")
    kin: Scalar = lognormal(5.0, "1/h", cv=0.3, about="production of the response")
    kout: Scalar = lognormal(0.1, "1/h", cv=0.3, about="turnover rate of the response")
    ic50: Scalar = lognormal(1.0, "mg/L", cv=0.3, about="concentration of half the largest inhibition")
    imax: Scalar = fixed(0.9, "1", about="largest inhibition of production")


class State(Record):
    depot: Scalar = quantity("mg", "drug in the gut")
    central: Scalar = quantity("mg", "drug in plasma")
    response: Scalar = quantity("1", "response")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "plasma concentration")
    response: Scalar = quantity("1", "response")


def individual(p: Parameters, x: Covariates) -> Parameters:
    return p


def initial(p: Parameters) -> State:
    return State(depot=0.0, central=0.0, response=p.kin / p.kout)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    c = y.central / p.v
    inhibition = p.imax * c / (p.ic50 + c)
    return State(
        depot=-p.ka * y.depot,
        central=p.ka * y.depot - p.cl * c - p.vmax * c / (p.km + c),
        response=p.kin * (1 - inhibition) - p.kout * y.response,  # [1]
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(c=y.central / p.v, response=y.response)


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
    routes={"po": Route("depot")},
    endpoints={},
)
