"""A drug in the whole body (PBPK): fourteen tissues between arteries and veins, each as its subject has them.

    lumen --ka--> gut -+
    spleen, pancreas, stomach -+--> liver -> venous -> lung -> arterial -> every tissue -> venous

Every tissue is well stirred and limited by its blood flow [1]: what leaves it has the concentration that its drug would
have in blood, C Kp / Rb of it being in tissue and C in the blood that the tissue holds. Liver cells clear unbound drug
[2]; kidneys clear unbound drug of arterial plasma; the wall of the gut clears a part of what it absorbs [3].

One model serves every compound. The body is the subject's: volumes, blood, flows, GFR. The compound's binding,
partition, clearance and absorption are the subject's too: `cohort/population/partition.py` makes them from a compound
and the subject's proteins, blood and enzymes. Beside these only absorption varies here.

References
----------
[1] Jones & Rowland-Yeo 2013, CPT Pharmacometrics Syst Pharmacol 2:e63. Flow-limited whole-body PBPK.
[2] Rowland, Benet & Graham 1973, J Pharmacokinet Biopharm 1:123. The well-stirred liver.
[3] Yang et al. 2007, Curr Drug Metab 8:676. Availability of the gut's wall, Q / (Q + CLint).
"""

import jax.numpy as jnp

from cohort import Endpoint, Model, Record, Route, Scalar, fixed, last, lognormal, quantity

OWN = "replaced by the subject's own; here the reference man's, ICRP 89, with all partition coefficients 1"
TISSUES = {
    "adipose": ("adipose",),
    "bone": ("bone",),
    "brain": ("brain",),
    "gut": ("small_intestine", "large_intestine"),
    "heart": ("heart",),
    "kidney": ("kidney",),
    "liver": ("liver",),
    "lung": ("lung",),
    "muscle": ("muscle",),
    "pancreas": ("pancreas",),
    "skin": ("skin",),
    "spleen": ("spleen",),
    "stomach": ("stomach",),
    "rest": ("gonads", "lymph_nodes", "thymus", "rest"),
}
FED = tuple(tissue for tissue in TISSUES if tissue != "lung")  # by an artery
PORTAL = ("gut", "pancreas", "spleen", "stomach")  # drain into the liver


class Covariates(Record):
    """The body, `volume_<organ>`, `blood_<organ>` and `flow_<organ>`, and the compound in it."""

    volume_adipose: Scalar = quantity("L", "volume of adipose tissue, without blood")
    volume_bone: Scalar = quantity("L", "volume of bone, without blood")
    volume_brain: Scalar = quantity("L", "volume of brain, without blood")
    volume_gonads: Scalar = quantity("L", "volume of gonads, without blood")
    volume_heart: Scalar = quantity("L", "volume of heart, without blood")
    volume_kidney: Scalar = quantity("L", "volume of kidney, without blood")
    volume_large_intestine: Scalar = quantity("L", "volume of large intestine, without blood")
    volume_liver: Scalar = quantity("L", "volume of liver, without blood")
    volume_lung: Scalar = quantity("L", "volume of lung, without blood")
    volume_lymph_nodes: Scalar = quantity("L", "volume of lymph nodes, without blood")
    volume_muscle: Scalar = quantity("L", "volume of muscle, without blood")
    volume_pancreas: Scalar = quantity("L", "volume of pancreas, without blood")
    volume_rest: Scalar = quantity("L", "volume of all else, without blood")
    volume_skin: Scalar = quantity("L", "volume of skin, without blood")
    volume_small_intestine: Scalar = quantity("L", "volume of small intestine, without blood")
    volume_spleen: Scalar = quantity("L", "volume of spleen, without blood")
    volume_stomach: Scalar = quantity("L", "volume of stomach, without blood")
    volume_thymus: Scalar = quantity("L", "volume of thymus, without blood")
    blood_adipose: Scalar = quantity("L", "blood in adipose tissue")
    blood_bone: Scalar = quantity("L", "blood in bone")
    blood_brain: Scalar = quantity("L", "blood in brain")
    blood_gonads: Scalar = quantity("L", "blood in gonads")
    blood_heart: Scalar = quantity("L", "blood in heart")
    blood_kidney: Scalar = quantity("L", "blood in kidney")
    blood_large_intestine: Scalar = quantity("L", "blood in large intestine")
    blood_liver: Scalar = quantity("L", "blood in liver")
    blood_lung: Scalar = quantity("L", "blood in lung")
    blood_lymph_nodes: Scalar = quantity("L", "blood in lymph nodes")
    blood_muscle: Scalar = quantity("L", "blood in muscle")
    blood_pancreas: Scalar = quantity("L", "blood in pancreas")
    blood_rest: Scalar = quantity("L", "blood in all else")
    blood_skin: Scalar = quantity("L", "blood in skin")
    blood_small_intestine: Scalar = quantity("L", "blood in small intestine")
    blood_spleen: Scalar = quantity("L", "blood in spleen")
    blood_stomach: Scalar = quantity("L", "blood in stomach")
    blood_thymus: Scalar = quantity("L", "blood in thymus")
    blood_arterial: Scalar = quantity("L", "blood in arteries")
    blood_venous: Scalar = quantity("L", "blood in veins")
    flow_adipose: Scalar = quantity("L/h", "arterial flow to adipose tissue")
    flow_bone: Scalar = quantity("L/h", "arterial flow to bone")
    flow_brain: Scalar = quantity("L/h", "arterial flow to brain")
    flow_gonads: Scalar = quantity("L/h", "arterial flow to gonads")
    flow_heart: Scalar = quantity("L/h", "arterial flow to heart")
    flow_kidney: Scalar = quantity("L/h", "arterial flow to kidney")
    flow_large_intestine: Scalar = quantity("L/h", "arterial flow to large intestine")
    flow_liver: Scalar = quantity("L/h", "hepatic artery")
    flow_lymph_nodes: Scalar = quantity("L/h", "arterial flow to lymph nodes")
    flow_muscle: Scalar = quantity("L/h", "arterial flow to muscle")
    flow_pancreas: Scalar = quantity("L/h", "arterial flow to pancreas")
    flow_rest: Scalar = quantity("L/h", "arterial flow to all else")
    flow_skin: Scalar = quantity("L/h", "arterial flow to skin")
    flow_small_intestine: Scalar = quantity("L/h", "arterial flow to small intestine")
    flow_spleen: Scalar = quantity("L/h", "arterial flow to spleen")
    flow_stomach: Scalar = quantity("L/h", "arterial flow to stomach")
    flow_thymus: Scalar = quantity("L/h", "arterial flow to thymus")
    kp_adipose: Scalar = quantity("1", "adipose tissue to plasma partition coefficient")
    kp_bone: Scalar = quantity("1", "bone to plasma partition coefficient")
    kp_brain: Scalar = quantity("1", "brain to plasma partition coefficient")
    kp_gonads: Scalar = quantity("1", "gonads to plasma partition coefficient")
    kp_heart: Scalar = quantity("1", "heart to plasma partition coefficient")
    kp_kidney: Scalar = quantity("1", "kidney to plasma partition coefficient")
    kp_large_intestine: Scalar = quantity("1", "large intestine to plasma partition coefficient")
    kp_liver: Scalar = quantity("1", "liver to plasma partition coefficient")
    kp_lung: Scalar = quantity("1", "lung to plasma partition coefficient")
    kp_lymph_nodes: Scalar = quantity("1", "lymph nodes to plasma partition coefficient")
    kp_muscle: Scalar = quantity("1", "muscle to plasma partition coefficient")
    kp_pancreas: Scalar = quantity("1", "pancreas to plasma partition coefficient")
    kp_rest: Scalar = quantity("1", "all else to plasma partition coefficient")
    kp_skin: Scalar = quantity("1", "skin to plasma partition coefficient")
    kp_small_intestine: Scalar = quantity("1", "small intestine to plasma partition coefficient")
    kp_spleen: Scalar = quantity("1", "spleen to plasma partition coefficient")
    kp_stomach: Scalar = quantity("1", "stomach to plasma partition coefficient")
    kp_thymus: Scalar = quantity("1", "thymus to plasma partition coefficient")
    fu: Scalar = quantity("1", "fraction unbound in plasma", plausible=(0, 1))
    blood_plasma_ratio: Scalar = quantity("1", "blood:plasma ratio")
    clint_liver: Scalar = quantity("L/h", "clearance of unbound drug by liver cells")
    cl_kidney: Scalar = quantity("L/h", "renal clearance of unbound drug")
    ka: Scalar = quantity("1/h", "absorption rate constant")
    fa: Scalar = quantity("1", "fraction that the gut absorbs", plausible=(0, 1))
    fg: Scalar = quantity("1", "fraction of what is absorbed that passes the gut's wall", plausible=(0, 1))


class Parameters(Record):
    """One subject and compound. A volume by the blood that leaves it is tissue times Kp / Rb, and its own blood."""

    ka: Scalar = lognormal(
        1.0, "1/h", cv=0.3, about="absorption rate constant; times the compound's", source="CV 30 %: unverified"
    )
    gut_enzymes: Scalar = lognormal(
        1.0, "1", cv=0.6, about="clearance by the gut's wall, relative to the compound's", source="CV 60 %: unverified"
    )

    fa: Scalar = fixed(1.0, "1", about="fraction that the gut absorbs", source=OWN)
    fg: Scalar = fixed(1.0, "1", about="fraction of what is absorbed that passes the gut's wall", source=OWN)
    rb: Scalar = fixed(1.0, "1", about="blood:plasma ratio", source=OWN)
    cl_liver: Scalar = fixed(
        30.0, "L/h", about="clearance by liver cells of the blood that leaves them, fu CLint / Rb", source=OWN
    )
    cl_kidney: Scalar = fixed(7.0, "L/h", about="renal clearance of arterial blood, fu CL / Rb", source=OWN)

    v_adipose: Scalar = fixed(20.1, "L", about="volume of adipose tissue by the blood that leaves it", source=OWN)
    v_bone: Scalar = fixed(6.54, "L", about="volume of bone by the blood that leaves it", source=OWN)
    v_brain: Scalar = fixed(1.46, "L", about="volume of brain by the blood that leaves it", source=OWN)
    v_gut: Scalar = fixed(1.29, "L", about="volume of gut by the blood that leaves it", source=OWN)
    v_heart: Scalar = fixed(0.373, "L", about="volume of heart by the blood that leaves it", source=OWN)
    v_kidney: Scalar = fixed(0.401, "L", about="volume of kidney by the blood that leaves it", source=OWN)
    v_liver: Scalar = fixed(2.26, "L", about="volume of liver by the blood that leaves it", source=OWN)
    v_lung: Scalar = fixed(1.14, "L", about="volume of lung by the blood that leaves it", source=OWN)
    v_muscle: Scalar = fixed(28.6, "L", about="volume of muscle by the blood that leaves it", source=OWN)
    v_pancreas: Scalar = fixed(0.166, "L", about="volume of pancreas by the blood that leaves it", source=OWN)
    v_skin: Scalar = fixed(3.12, "L", about="volume of skin by the blood that leaves it", source=OWN)
    v_spleen: Scalar = fixed(0.216, "L", about="volume of spleen by the blood that leaves it", source=OWN)
    v_stomach: Scalar = fixed(0.196, "L", about="volume of stomach by the blood that leaves it", source=OWN)
    v_rest: Scalar = fixed(3.74, "L", about="volume of all else by the blood that leaves it", source=OWN)
    v_arterial: Scalar = fixed(0.555, "L", about="arterial blood", source=OWN)
    v_venous: Scalar = fixed(1.19, "L", about="venous blood", source=OWN)
    q_adipose: Scalar = fixed(19.5, "L/h", about="arterial flow to adipose tissue", source=OWN)
    q_bone: Scalar = fixed(19.5, "L/h", about="arterial flow to bone", source=OWN)
    q_brain: Scalar = fixed(46.8, "L/h", about="arterial flow to brain", source=OWN)
    q_gut: Scalar = fixed(54.6, "L/h", about="arterial flow to gut", source=OWN)
    q_heart: Scalar = fixed(15.6, "L/h", about="arterial flow to heart", source=OWN)
    q_kidney: Scalar = fixed(74.1, "L/h", about="arterial flow to kidney", source=OWN)
    q_liver: Scalar = fixed(25.4, "L/h", about="hepatic artery", source=OWN)
    q_muscle: Scalar = fixed(66.3, "L/h", about="arterial flow to muscle", source=OWN)
    q_pancreas: Scalar = fixed(3.9, "L/h", about="arterial flow to pancreas", source=OWN)
    q_skin: Scalar = fixed(19.5, "L/h", about="arterial flow to skin", source=OWN)
    q_spleen: Scalar = fixed(11.7, "L/h", about="arterial flow to spleen", source=OWN)
    q_stomach: Scalar = fixed(3.9, "L/h", about="arterial flow to stomach", source=OWN)
    q_rest: Scalar = fixed(29.2, "L/h", about="arterial flow to all else", source=OWN)


class State(Record):
    lumen: Scalar = quantity("mg", "drug to be absorbed")
    adipose: Scalar = quantity("mg", "drug in adipose tissue")
    bone: Scalar = quantity("mg", "drug in bone")
    brain: Scalar = quantity("mg", "drug in brain")
    gut: Scalar = quantity("mg", "drug in the wall of small and large intestine")
    heart: Scalar = quantity("mg", "drug in heart")
    kidney: Scalar = quantity("mg", "drug in kidney")
    liver: Scalar = quantity("mg", "drug in liver")
    lung: Scalar = quantity("mg", "drug in lung")
    muscle: Scalar = quantity("mg", "drug in muscle")
    pancreas: Scalar = quantity("mg", "drug in pancreas")
    skin: Scalar = quantity("mg", "drug in skin")
    spleen: Scalar = quantity("mg", "drug in spleen")
    stomach: Scalar = quantity("mg", "drug in the wall of the stomach")
    rest: Scalar = quantity("mg", "drug in gonads, lymph nodes, thymus and all else")
    arterial: Scalar = quantity("mg", "drug in arterial blood")
    venous: Scalar = quantity("mg", "drug in venous blood")
    eliminated: Scalar = quantity("mg", "drug cleared by liver, kidneys and the gut's wall")
    auc: Scalar = quantity("mg*h/L", "area under the concentration in venous plasma")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "concentration in venous plasma", plausible=(-1e-3, 1e5))
    c_liver: Scalar = quantity("mg/L", "concentration in plasma that leaves the liver")
    body: Scalar = quantity("mg", "drug in the body and the gut's lumen")
    eliminated: Scalar = quantity("mg", "drug cleared")
    auc: Scalar = quantity("mg*h/L", "area under the concentration in venous plasma")


def individual(p: Parameters, x: Covariates) -> Parameters:
    rb = x.blood_plasma_ratio

    def volume(organ: str) -> Scalar:
        return getattr(x, f"volume_{organ}") * getattr(x, f"kp_{organ}") / rb + getattr(x, f"blood_{organ}")

    wall = p.gut_enzymes * (1 - x.fg) / x.fg  # CLint / Q [3]
    return p.replace(
        ka=p.ka * x.ka,
        fa=x.fa,
        fg=1 / (1 + wall),
        rb=rb,
        cl_liver=x.fu * x.clint_liver / rb,  # [2]
        cl_kidney=x.fu * x.cl_kidney / rb,
        v_arterial=x.blood_arterial,
        v_venous=x.blood_venous,
        **{f"v_{tissue}": sum(volume(o) for o in organs) for tissue, organs in TISSUES.items()},
        **{f"q_{tissue}": sum(getattr(x, f"flow_{o}") for o in TISSUES[tissue]) for tissue in FED},
    )


def initial(p: Parameters) -> State:
    return State(**dict.fromkeys(State.fields(), 0.0))


def leaving(tissue: str, y: State, p: Parameters) -> Scalar:
    """Concentration in the blood that leaves a tissue."""
    return getattr(y, tissue) / getattr(p, f"v_{tissue}")


def ode(t: Scalar, y: State, p: Parameters) -> State:
    arterial, venous = y.arterial / p.v_arterial, y.venous / p.v_venous
    q = {tissue: getattr(p, f"q_{tissue}") for tissue in FED}
    c = {tissue: leaving(tissue, y, p) for tissue in TISSUES}
    output = sum(q.values())

    absorbed = p.ka * y.lumen
    by_liver, by_kidney, by_gut = p.cl_liver * c["liver"], p.cl_kidney * arterial, (1 - p.fg) * absorbed
    portal = sum(q[tissue] * c[tissue] for tissue in PORTAL)
    from_liver = (q["liver"] + sum(q[tissue] for tissue in PORTAL)) * c["liver"]
    returning = sum(q[tissue] * c[tissue] for tissue in FED if tissue not in (*PORTAL, "liver")) + from_liver

    tissues = {tissue: q[tissue] * (arterial - c[tissue]) for tissue in FED} | {
        "liver": q["liver"] * arterial + portal - from_liver - by_liver,
        "lung": output * (venous - c["lung"]),
    }
    tissues["gut"] += p.fg * absorbed
    tissues["kidney"] -= by_kidney
    return State(
        lumen=-absorbed,
        **tissues,
        arterial=output * (c["lung"] - arterial),
        venous=returning - output * venous,
        eliminated=by_liver + by_kidney + by_gut,
        auc=venous / p.rb,
    )


def observe(t: Scalar, y: State, p: Parameters) -> Outputs:
    return Outputs(
        c=y.venous / p.v_venous / p.rb,
        c_liver=leaving("liver", y, p) / p.rb,
        body=y.lumen + y.arterial + y.venous + sum(getattr(y, tissue) for tissue in TISSUES),
        eliminated=y.eliminated,
        auc=y.auc,
    )


def cmax(visits: Outputs) -> Scalar:
    """Highest concentration at any visit."""
    return jnp.nanmax(jnp.asarray(visits.c), axis=-1)


def auc(visits: Outputs) -> Scalar:
    """Area under the concentration from the first dose to the last visit."""
    return last(visits.auc)


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
    routes={"oral": Route("lumen", bioavailability="fa"), "iv": Route("venous")},
    endpoints={
        "cmax": Endpoint(cmax, unit="mg/L", about="highest concentration in venous plasma at any visit"),
        "auc": Endpoint(auc, unit="mg*h/L", about="area under the concentration in venous plasma to the last visit"),
    },
)
