"""W1: a small molecule by mouth, two compartments, everything first order.

    depot --ka--> central <--q--> peripheral
                     |
                     cl

A workload of the benchmark: its typical values are of the size that such drugs have, chosen for the benchmark and
published nowhere. Every parameter varies by 30 %.
"""

from cohort import Model, Record, Route, Scalar, lognormal, quantity


class Covariates(Record):
    """None."""


class Parameters(Record):
    cl: Scalar = lognormal(2.0, "L/h", cv=0.3, about="clearance")
    v2: Scalar = lognormal(20.0, "L", cv=0.3, about="central volume")
    q: Scalar = lognormal(3.0, "L/h", cv=0.3, about="intercompartmental clearance")
    v3: Scalar = lognormal(50.0, "L", cv=0.3, about="peripheral volume")
    ka: Scalar = lognormal(1.0, "1/h", cv=0.3, about="absorption rate constant")


class State(Record):
    depot: Scalar = quantity("mg", "drug in the gut")
    central: Scalar = quantity("mg", "drug in plasma")
    peripheral: Scalar = quantity("mg", "drug in tissue")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "plasma concentration")


def individual(p: Parameters, x: Covariates) -> Parameters:
    return p


def initial(p: Parameters) -> State:
    return State(depot=0.0, central=0.0, peripheral=0.0)


def ode(t: Scalar, y: State, p: Parameters) -> State:
    exchange = p.q / p.v2 * y.central - p.q / p.v3 * y.peripheral
    return State(
        depot=-p.ka * y.depot,
        central=p.ka * y.depot - p.cl / p.v2 * y.central - exchange,
        peripheral=exchange,
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(c=y.central / p.v2)


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
