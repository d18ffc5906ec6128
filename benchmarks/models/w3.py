"""W3: the body as fourteen organs between arteries and veins (PBPK), a drug by mouth, cleared by liver and kidney.

    transit_1 -> ... -> transit_4 -> gut
    venous -> lung -> arterial -> every organ -> venous; gut, spleen, pancreas and stomach drain through the liver

Every organ is well stirred and limited by its blood flow [1]: blood leaves it at amount / (volume * partition
coefficient). A workload of the benchmark: organ volumes and flows are round numbers for an adult of 70 kg, the drug's
are chosen for the benchmark; none is published. Every parameter varies by 30 %, but for the fractions of cardiac
output.

References
----------
[1] Jones & Rowland-Yeo 2013, CPT Pharmacometrics Syst Pharmacol 2:e63. Flow-limited whole-body PBPK.
"""

from cohort import Model, Record, Route, Scalar, lognormal, quantity

# Fraction of cardiac output to each organ; `hepatic` is the hepatic artery.
FLOW = {
    "adipose": 0.05, "bone": 0.05, "brain": 0.12, "heart": 0.04, "kidney": 0.19, "muscle": 0.17, "skin": 0.05,
    "rest": 0.075, "gut": 0.15, "spleen": 0.02, "pancreas": 0.01, "stomach": 0.01, "hepatic": 0.065,
}  # fmt: skip


class Covariates(Record):
    """None."""


class Parameters(Record):
    co: Scalar = lognormal(350.0, "L/h", cv=0.3, about="cardiac output")
    v_lung: Scalar = lognormal(0.5, "L", cv=0.3, about="volume of the lung")
    v_adipose: Scalar = lognormal(14.5, "L", cv=0.3, about="volume of adipose tissue")
    v_bone: Scalar = lognormal(10.0, "L", cv=0.3, about="volume of bone")
    v_brain: Scalar = lognormal(1.45, "L", cv=0.3, about="volume of the brain")
    v_heart: Scalar = lognormal(0.33, "L", cv=0.3, about="volume of the heart")
    v_kidney: Scalar = lognormal(0.31, "L", cv=0.3, about="volume of the kidneys")
    v_muscle: Scalar = lognormal(29.0, "L", cv=0.3, about="volume of muscle")
    v_skin: Scalar = lognormal(3.3, "L", cv=0.3, about="volume of skin")
    v_rest: Scalar = lognormal(3.8, "L", cv=0.3, about="volume of the rest of the body")
    v_gut: Scalar = lognormal(1.2, "L", cv=0.3, about="volume of the gut")
    v_spleen: Scalar = lognormal(0.18, "L", cv=0.3, about="volume of the spleen")
    v_pancreas: Scalar = lognormal(0.14, "L", cv=0.3, about="volume of the pancreas")
    v_stomach: Scalar = lognormal(0.15, "L", cv=0.3, about="volume of the stomach")
    v_liver: Scalar = lognormal(1.8, "L", cv=0.3, about="volume of the liver")
    v_arterial: Scalar = lognormal(1.7, "L", cv=0.3, about="volume of arterial blood")
    v_venous: Scalar = lognormal(3.9, "L", cv=0.3, about="volume of venous blood")
    kp_lung: Scalar = lognormal(2.5, "1", cv=0.3, about="partition coefficient, lung to blood")
    kp_adipose: Scalar = lognormal(20.0, "1", cv=0.3, about="partition coefficient, adipose tissue to blood")
    kp_bone: Scalar = lognormal(2.0, "1", cv=0.3, about="partition coefficient, bone to blood")
    kp_brain: Scalar = lognormal(3.0, "1", cv=0.3, about="partition coefficient, brain to blood")
    kp_heart: Scalar = lognormal(3.0, "1", cv=0.3, about="partition coefficient, heart to blood")
    kp_kidney: Scalar = lognormal(4.0, "1", cv=0.3, about="partition coefficient, kidneys to blood")
    kp_muscle: Scalar = lognormal(3.0, "1", cv=0.3, about="partition coefficient, muscle to blood")
    kp_skin: Scalar = lognormal(4.0, "1", cv=0.3, about="partition coefficient, skin to blood")
    kp_rest: Scalar = lognormal(2.0, "1", cv=0.3, about="partition coefficient, rest of the body to blood")
    kp_gut: Scalar = lognormal(4.0, "1", cv=0.3, about="partition coefficient, gut to blood")
    kp_spleen: Scalar = lognormal(3.0, "1", cv=0.3, about="partition coefficient, spleen to blood")
    kp_pancreas: Scalar = lognormal(4.0, "1", cv=0.3, about="partition coefficient, pancreas to blood")
    kp_stomach: Scalar = lognormal(4.0, "1", cv=0.3, about="partition coefficient, stomach to blood")
    kp_liver: Scalar = lognormal(6.0, "1", cv=0.3, about="partition coefficient, liver to blood")
    ktr: Scalar = lognormal(2.0, "1/h", cv=0.3, about="transit rate along the gut")
    vmax: Scalar = lognormal(60.0, "mg/h", cv=0.3, about="capacity of the liver to eliminate")
    km: Scalar = lognormal(2.0, "mg/L", cv=0.3, about="concentration of half that capacity")
    clr: Scalar = lognormal(1.0, "L/h", cv=0.3, about="renal clearance")


class State(Record):
    transit_1: Scalar = quantity("mg", "drug in the gut's lumen, first transit compartment")
    transit_2: Scalar = quantity("mg", "second transit compartment")
    transit_3: Scalar = quantity("mg", "third transit compartment")
    transit_4: Scalar = quantity("mg", "fourth transit compartment")
    lung: Scalar = quantity("mg", "drug in the lung")
    adipose: Scalar = quantity("mg", "drug in adipose tissue")
    bone: Scalar = quantity("mg", "drug in bone")
    brain: Scalar = quantity("mg", "drug in the brain")
    heart: Scalar = quantity("mg", "drug in the heart")
    kidney: Scalar = quantity("mg", "drug in the kidneys")
    muscle: Scalar = quantity("mg", "drug in muscle")
    skin: Scalar = quantity("mg", "drug in skin")
    rest: Scalar = quantity("mg", "drug in the rest of the body")
    gut: Scalar = quantity("mg", "drug in the gut's wall")
    spleen: Scalar = quantity("mg", "drug in the spleen")
    pancreas: Scalar = quantity("mg", "drug in the pancreas")
    stomach: Scalar = quantity("mg", "drug in the stomach's wall")
    liver: Scalar = quantity("mg", "drug in the liver")
    arterial: Scalar = quantity("mg", "drug in arterial blood")
    venous: Scalar = quantity("mg", "drug in venous blood")


class Outputs(Record):
    venous: Scalar = quantity("mg/L", "concentration in venous blood")
    liver: Scalar = quantity("mg/L", "concentration in blood that leaves the liver")
    adipose: Scalar = quantity("mg/L", "concentration in blood that leaves adipose tissue")


def individual(p: Parameters, x: Covariates) -> Parameters:
    return p


def initial(p: Parameters) -> State:
    return State(**dict.fromkeys(State.fields(), 0.0))


def leaving(organ: str, y: State, p: Parameters) -> Scalar:
    """Concentration in the blood that leaves an organ. [1]"""
    return getattr(y, organ) / (getattr(p, f"v_{organ}") * getattr(p, f"kp_{organ}"))


def ode(t: Scalar, y: State, p: Parameters) -> State:
    arterial, venous = y.arterial / p.v_arterial, y.venous / p.v_venous
    q = {organ: fraction * p.co for organ, fraction in FLOW.items()}
    c = {organ: leaving(organ, y, p) for organ in (*FLOW, "lung", "liver") if organ != "hepatic"}
    taken_up = {organ: q[organ] * (arterial - c[organ]) for organ in FLOW if organ != "hepatic"}

    portal = ("gut", "spleen", "pancreas", "stomach")
    to_liver = q["hepatic"] * arterial + sum(q[organ] * c[organ] for organ in portal)
    from_liver = (q["hepatic"] + sum(q[organ] for organ in portal)) * c["liver"]
    returning = sum(q[o] * c[o] for o in FLOW if o not in (*portal, "hepatic")) + from_liver
    metabolised = p.vmax * c["liver"] / (p.km + c["liver"])

    organs = taken_up | {
        "gut": taken_up["gut"] + p.ktr * y.transit_4,
        "kidney": taken_up["kidney"] - p.clr * c["kidney"],
        "liver": to_liver - from_liver - metabolised,
        "lung": p.co * (venous - c["lung"]),
    }
    return State(
        transit_1=-p.ktr * y.transit_1,
        transit_2=p.ktr * (y.transit_1 - y.transit_2),
        transit_3=p.ktr * (y.transit_2 - y.transit_3),
        transit_4=p.ktr * (y.transit_3 - y.transit_4),
        **organs,
        arterial=p.co * (c["lung"] - arterial),
        venous=returning - p.co * venous,
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(venous=y.venous / p.v_venous, liver=leaving("liver", y, p), adipose=leaving("adipose", y, p))


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
    routes={"po": Route("transit_1")},
    endpoints={},
)
