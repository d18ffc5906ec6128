"""Diseases and states that change a body: chronic kidney disease, cirrhosis, heart failure, pregnancy, obesity, old
age, smoking.

Each is a small pure transform of people's columns. It says what it changes and on whose word, and keeps the body
closed: mass that one organ loses goes to another that it names, and organs that it does not name share what is left of
the cardiac output, the brain's flow always kept. So conditions stack, in the order given: each takes the body that the
one before it left, and the last has the last word (ckd=4 after child_pugh=C leaves GFR within stage 4; before it, lower
still). Obesity, old age and smoking act where their column is made, and the rest of the body follows from it.

References
----------
[1] Malik et al. 2020, Clin Pharmacokinet 59:1487, as in PK-Sim: kidney volume, renal flow, haematocrit, binding by GFR.
[2] Edginton & Willmann 2008, Clin Pharmacokinet 47:743: cirrhosis by Child-Pugh class, also as in PK-Sim.
[3] Johnson et al. 2010, Clin Pharmacokinet 49:189: flows in cirrhosis, as PK-Sim has them since its issue 2621: hepatic
    arterial flow 1.61, 2.34, 5.29 times per volume of a liver that has shrunk to 0.69, 0.55, 0.28, hence 1.11, 1.29 and
    1.48 times in L/h.
[4] Kapraun et al. 2019, PLoS One 14:e0215906, as in httk 2.7.4: pregnancy by week. GFR in mL/min, as httk's equation
    has it. httk's thyroid flow subtracts the terminal share from itself; no thyroid is carried here.
[5] Whittaker & Lind 1993, Br J Obstet Gynaecol 100:587: albumin falls by 1.9 g/L by week 7, by 22 % by week 36.
[6] Tracy et al. 2005, Am J Obstet Gynecol 192:633: CYP1A2, 2D6 and 3A at weeks 14-18, 24-28, 36-40.
[7] McGready et al. 2003, Eur J Clin Pharmacol 59:553: cycloguanil, made by CYP2C19, is 73 % higher after pregnancy.
[8] Leithe et al. 1984, Circulation 69:57, and Leier 1992, Am Heart J 124:726: flow to liver, kidneys and limbs falls in
    proportion to cardiac output; coronary and cerebral flow is spared.
[9] Jung et al. 2021, ESC Heart Fail 8:1562: measured GFR 68.1 in heart failure, 83.6 in controls.
[10] NHANES 2013-2018: BMI of 30-35, 35-40, above: 23.8, 9.2, 6.0 % of men, 20.0, 11.6, 10.5 % of women (our figures).
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from cohort.population import body, circulation, plasma
from cohort.population.body import DENSITY, mosteller
from cohort.population.causal import Chain, Column, Columns, Step
from cohort.population.circulation import FLOWS, PORTAL, close_flow
from cohort.population.plasma import creatinine_of

ADULT = 18  # y
FEMALE = 1
LIPID = 0.80  # of adipose tissue, by mass (ICRP 89)

type Changed = dict[str, np.ndarray]


class ConditionError(ValueError):
    """A condition that does not exist, or that these people cannot have."""


@dataclass(frozen=True)
class Condition:
    """`values` are allowed. `after`: the column behind whose step it acts, "" for the end of the chain. `needs` and
    `draws`: columns and latents it reads; `changes`: columns it changes or adds. `apply(x, z, value)` returns those and
    leaves x untouched. `unfit(x)`: who cannot have it, (n,) by reason."""

    name: str
    about: str
    source: str
    values: tuple[str, ...]
    after: str
    draws: tuple[str, ...]
    needs: tuple[str, ...]
    changes: Mapping[str, Column]
    apply: Callable[[Columns, Columns, str], Changed]
    unfit: Callable[[Columns], Mapping[str, np.ndarray]]


_MADE = {n: c for s in (*body.STEPS, *circulation.STEPS, *plasma.STEPS) for n, c in s.makes.items()} | {
    "age": Column("y", "age", ""),
    "bmi": Column("kg/m**2", "body mass index", ""),
    "weight": Column("kg", "body weight", ""),
    "haematocrit": Column("1", "packed cells, as a fraction of the volume of blood", ""),
    "creatinine": Column("mg/dL", "creatinine in serum", ""),
    "smoking": Column("1", "cigarettes", "", ("never", "former", "current")),
}


def _changes(sources: Mapping[str, str]) -> dict[str, Column]:
    """Columns that a condition changes, each told of by its own source, and what it is of before the condition."""
    columns = {}
    for name, source in sources.items():
        enzyme = Column("pmol/mg", f"{name.removeprefix('abundance_')} per microsomal protein of the liver", "")
        before = _MADE.get(name, enzyme)
        columns[name] = replace(before, source="; before: ".join(filter(None, (source, before.source))))
    return columns


def _adults(x: Columns) -> dict[str, np.ndarray]:
    return {"are below 18 y": x["age"] < ADULT}


def _gain(x: Columns, **gain: np.ndarray) -> Changed:
    """Masses and volumes of organs that gain or lose this many kg."""
    mass = {organ: x[f"mass_{organ}"] + kg for organ, kg in gain.items()}
    return {f"mass_{o}": m for o, m in mass.items()} | {f"volume_{o}": m * (1 / DENSITY[o]) for o, m in mass.items()}


def _share(x: Columns, output: np.ndarray, flow: Mapping[str, np.ndarray]) -> Changed:
    """Flows at this cardiac output, but those that stay: those in `flow` so, the brain's as it was, the others share
    the balance, a conceptus from an earlier condition with them."""
    before = {o: x[f"flow_{o}"] for o in (*FLOWS, "conceptus") if f"flow_{o}" in x}
    closed = close_flow(before | dict(flow), output, kept=("brain", *(o for o in flow if o != "brain")))
    return {f"flow_{o}": q for o, q in closed.items() if q is not before.get(o)}


def _flows(source: str, spared: tuple[str, ...] = ()) -> dict[str, str]:
    return {f"flow_{o}": source for o in FLOWS if o not in ("brain", *spared)}


FLOW_COLUMNS = tuple(f"flow_{o}" for o in FLOWS)
KIDNEY_FUNCTION = ("sex", "age", "gfr", "measured_gfr")


def _filtration(x: Columns, gfr: np.ndarray) -> Changed:
    """What goes with an indexed GFR, mL/min per 1.73 m²: measured GFR in proportion, creatinine by CKD-EPI 2021."""
    return {
        "gfr": gfr,
        "measured_gfr": x["measured_gfr"] * (gfr / x["gfr"]),
        "creatinine": creatinine_of(x["sex"], x["age"], gfr),
    }


# ---------------------------------------------------------------- chronic kidney disease

STAGES = {"3": (30.0, 60.0), "3a": (45.0, 60.0), "3b": (30.0, 45.0), "4": (15.0, 30.0), "5": (5.0, 15.0)}  # KDIGO
HEALTHIEST = 118.0  # mL/min per 1.73 m², where the kidney volume of [1] is largest
_HAEMATOCRIT_TO = (20.0, 30.0, 40.0, 50.0)  # GFR up to which each haematocrit holds [1]
_HAEMATOCRIT = np.array([[34.3, 41.7, 42.6, 43.3, 44.8], [33.5, 37.4, 38.4, 39.7, 39.6]]) / np.array([[45.5], [40.0]])
_UNBOUND = np.array([1.55, 1.16, 1.07])  # times as much unbound of a drug that is bound tightly: stages 5, 4, 3 [1]


def _ckd(x: Columns, z: Columns, value: str) -> Changed:
    low, high = STAGES[value]
    gfr = low + (high - low) * ndtr(z["ckd"])
    healthy = np.clip(x["gfr"], gfr, HEALTHIEST)  # kidneys that filter less already do not grow
    fall, total = healthy - gfr, healthy + gfr
    volume = np.exp(fall * (6.3e-5 * total - 0.0149))  # [1]
    perfusion = np.exp(fall * (3.1e-5 * total - 0.0170))  # per volume [1]
    lost = x["mass_kidney"] * (1 - volume)
    return {
        **_filtration(x, gfr),
        **_gain(x, kidney=-lost, adipose=lost),
        "fat_free_mass": x["fat_free_mass"] - LIPID * lost,
        "haematocrit": x["haematocrit"] * _HAEMATOCRIT[x["sex"], np.searchsorted(_HAEMATOCRIT_TO, gfr)],
        "albumin": x["albumin"] / _UNBOUND[np.searchsorted((15.0, 30.0), gfr, side="right")],
        **_share(x, x["cardiac_output"], {"kidney": x["flow_kidney"] * volume * perfusion}),
    }


_MALIK = "Malik 2020 (PK-Sim)"
CKD = Condition(
    "ckd",
    "chronic kidney disease, not on dialysis: GFR evenly spread within the stage (5-15 in stage 5; unverified)",
    _MALIK,
    tuple(STAGES),
    after="",
    draws=("ckd",),
    needs=(
        *KIDNEY_FUNCTION,
        *("mass_kidney", "mass_adipose", "fat_free_mass", "haematocrit", "albumin", "cardiac_output"),
        *FLOW_COLUMNS,
    ),
    changes=_changes(
        {
            "gfr": "KDIGO stage; within it evenly: unverified",
            "measured_gfr": "falls as gfr does",
            "creatinine": "CKD-EPI 2021 of gfr",
            "mass_kidney": _MALIK,
            "volume_kidney": _MALIK,
            "mass_adipose": "takes what the kidneys lose (PK-Sim)",
            "volume_adipose": "takes what the kidneys lose (PK-Sim)",
            "fat_free_mass": "less by the lipid of the adipose tissue gained",
            "haematocrit": _MALIK,
            "albumin": f"{_MALIK}: what would bind as its plasma does, lower than a laboratory's albumin",
            **_flows("share what the kidneys lose, cardiac output as before: unverified"),
            "flow_kidney": _MALIK,
        }
    ),
    apply=_ckd,
    unfit=_adults,
)

# ---------------------------------------------------------------- cirrhosis


@dataclass(frozen=True)
class ChildPugh:
    """Factors of one class. One set of enzymes, [2], which belongs to its functional liver: [3] has other factors for
    other enzymes, in a liver that shrinks less."""

    liver: float  # functional volume
    arterial: float  # hepatic arterial flow, L/h [3]
    portal: float  # what reaches the liver through the portal vein
    renal: float
    cardiac: float
    gfr: float
    albumin: float
    aag: float
    haematocrit: float
    cyp3a4: float
    cyp1a2: float
    cyp2e1: float


CHILD_PUGH = {
    "A": ChildPugh(0.69, 1.61 * 0.69, 0.40, 0.88, 1.11, 1.00, 0.81, 0.60, 0.866, 1.0, 1.0, 1.00),
    "B": ChildPugh(0.55, 2.34 * 0.55, 0.36, 0.65, 1.27, 0.70, 0.68, 0.56, 0.822, 0.4, 0.1, 0.83),
    "C": ChildPugh(0.28, 5.29 * 0.28, 0.04, 0.48, 1.36, 0.36, 0.50, 0.30, 0.778, 0.4, 0.1, 0.83),
}


def _child_pugh(x: Columns, z: Columns, value: str) -> Changed:
    f = CHILD_PUGH[value]
    lost = x["mass_liver"] * (1 - f.liver)
    output = x["cardiac_output"] * f.cardiac
    flow = {o: x[f"flow_{o}"] * f.portal for o in PORTAL}
    flow |= {"liver": x["flow_liver"] * f.arterial, "kidney": x["flow_kidney"] * f.renal}
    enzymes = {"abundance_CYP3A4": f.cyp3a4, "abundance_CYP1A2": f.cyp1a2, "abundance_CYP2E1": f.cyp2e1}
    return {
        **_gain(x, liver=-lost, rest=lost),
        "cardiac_output": output,
        **_share(x, output, flow),
        **_filtration(x, x["gfr"] * f.gfr),
        "albumin": x["albumin"] * f.albumin,
        "aag": x["aag"] * f.aag,
        "haematocrit": x["haematocrit"] * f.haematocrit,
        **{name: x[name] * factor for name, factor in enzymes.items() if name in x},
    }


_CIRRHOSIS = "Edginton & Willmann 2008"
CIRRHOSIS = Condition(
    "child_pugh",
    "cirrhosis of the liver by Child-Pugh class",
    f"{_CIRRHOSIS}; hepatic arterial flow: Johnson 2010 (PK-Sim)",
    tuple(CHILD_PUGH),
    after="",
    draws=(),
    needs=(
        *KIDNEY_FUNCTION,
        *("mass_liver", "mass_rest", "cardiac_output", "albumin", "aag", "haematocrit"),
        *("abundance_CYP3A4", "abundance_CYP1A2", "abundance_CYP2E1"),
        *FLOW_COLUMNS,
    ),
    changes=_changes(
        {
            "mass_liver": f"{_CIRRHOSIS}: the liver that works",
            "volume_liver": f"{_CIRRHOSIS}: the liver that works",
            "mass_rest": "takes what the liver loses, as scar and nodules: unverified",
            "volume_rest": "takes what the liver loses, as scar and nodules: unverified",
            "cardiac_output": _CIRRHOSIS,
            **_flows(f"{_CIRRHOSIS}: takes the balance, shunted portal blood with it"),
            **{f"flow_{o}": f"{_CIRRHOSIS}: what reaches the liver; the rest is shunted past it" for o in PORTAL},
            "flow_liver": "Johnson 2010, per volume of the smaller liver (PK-Sim)",
            "flow_kidney": _CIRRHOSIS,
            "gfr": _CIRRHOSIS,
            "measured_gfr": _CIRRHOSIS,
            "creatinine": "CKD-EPI 2021 of gfr; lower in cirrhosis with little muscle: unverified",
            "albumin": _CIRRHOSIS,
            "aag": _CIRRHOSIS,
            "haematocrit": f"{_CIRRHOSIS}: 0.39, 0.37, 0.35 of 0.45 (PK-Sim)",
            "abundance_CYP3A4": _CIRRHOSIS,
            "abundance_CYP1A2": _CIRRHOSIS,
            "abundance_CYP2E1": _CIRRHOSIS,
        }
    ),
    apply=_child_pugh,
    unfit=_adults,
)

# ---------------------------------------------------------------- heart failure

# Cardiac output, of the healthy: cardiac indices of 2.7, 2.3 and 1.8 against 3.1 L/min/m², unverified by class.
NYHA = {"II": 0.87, "III": 0.74, "IV": 0.58}
FAILING_GFR = 68.1 / 83.6  # [9], all classes alike


def _heart_failure(x: Columns, z: Columns, value: str) -> Changed:
    output = x["cardiac_output"] * NYHA[value]
    spared = {"brain": x["flow_brain"], "heart": x["flow_heart"]}
    return {"cardiac_output": output, **_share(x, output, spared), **_filtration(x, x["gfr"] * FAILING_GFR)}


_PROPORTION = "falls in proportion to cardiac output (Leithe 1984, Leier 1992)"
HEART_FAILURE = Condition(
    "heart_failure",
    "chronic heart failure by NYHA class: flow to all but brain and heart falls",
    "Leithe 1984, Leier 1992, Jung 2021; cardiac output by class: unverified",
    tuple(NYHA),
    after="",
    draws=(),
    needs=(*KIDNEY_FUNCTION, "cardiac_output", *FLOW_COLUMNS),
    changes=_changes(
        {
            "cardiac_output": "by NYHA class: unverified",
            **_flows(_PROPORTION, spared=("heart",)),
            "gfr": "Jung 2021, classes alike",
            "measured_gfr": "Jung 2021, classes alike",
            "creatinine": "CKD-EPI 2021 of gfr",
        }
    ),
    apply=_heart_failure,
    unfit=_adults,
)

# ---------------------------------------------------------------- pregnancy

FERTILE = (15, 50)  # y
ENZYMES_AT = (0, 16, 26, 38)  # weeks, the middles of those of [6]
_ENZYMES = {
    "CYP1A2": (1, 0.672, 0.519, 0.348),
    "CYP2D6": (1, 1.256, 1.348, 1.478),
    "CYP3A4": (1, 1.365, 1.365, 1.365),
}


@dataclass(frozen=True)
class Gestation:
    """A pregnancy of t weeks [4]: kg gained, L/h of blood, and factors against the same woman before it."""

    weight: float
    adipose: float
    conceptus: float  # fetus, placenta, amniotic fluid; kg, or L
    haematocrit: float
    plasma: float
    cardiac: float
    renal: float
    gfr: float
    shares: Mapping[str, float]  # of cardiac output, of an organ
    placental_flow: float
    albumin: float
    enzymes: Mapping[str, float]

    @classmethod
    def of(cls, t: float) -> "Gestation":
        def logistic(t: float, top: float, rate: float, middle: float) -> float:
            return top / (1 + np.exp(-rate * (t - middle)))

        def plasma(t: float) -> float:
            return 2.4958 + logistic(t, 1.2406, 0.31338, 17.813)

        placenta = max(0.0, -1.7646 * t + 0.91775 * t**2 - 0.011543 * t**3)  # mL
        amniotic = logistic(t, 822.34, 0.26988, 20.15)  # mL
        fetus = 0.0018282 * np.exp(1.1735 / 0.077577 * (1 - np.exp(-0.077577 * t)))  # g
        gut, hepatic = 1 - (17 - 12.5) / 17 * t / 40, 1 - (10 - 7.5) / 10 * t / 40
        return cls(
            weight=-0.010614 * t + 0.029161 * t**2 - 0.00050203 * t**3,
            adipose=0.14937 * t,
            conceptus=(fetus + placenta + amniotic) / 1000,
            haematocrit=(39.192 - 0.10562 * t - 0.00071045 * t**2) / 39.192,
            plasma=plasma(t) / plasma(0),
            cardiac=(301.78 + 3.2512 * t + 0.15947 * t**2 - 0.0047059 * t**3) / 301.78,
            renal=(53.248 + 3.6447 * t - 0.15357 * t**2 + 0.0016968 * t**3) / 53.248,
            gfr=(113.73 + 3.5784 * t - 0.067272 * t**2) / 113.73,
            # The liver's share, the gut's in it, falls from 27 to 20 %, the gut's from 17 to 12.5 %.
            shares={
                **dict.fromkeys(("stomach", "small_intestine", "large_intestine"), gut),
                **dict.fromkeys(("liver", "spleen", "pancreas"), hepatic),
                "adipose": 1 - (8.5 - 7.8) / 8.5 * t / 40,
            },
            placental_flow=0.059176 * placenta,
            albumin=float(np.interp(t, (0, 7, 36), (1, 1 - 1.9 / 45.9, 0.78))),  # [5]
            enzymes={f"abundance_{e}": float(np.interp(t, ENZYMES_AT, f)) for e, f in _ENZYMES.items()}
            | {"abundance_CYP2C19": float(np.interp(t, (0, 36), (1, 1 / 1.73)))},  # [7]; its course: unverified
        )


def _pregnancy(x: Columns, z: Columns, value: str) -> Changed:
    g = Gestation.of(float(value))
    weight = x["weight"] + g.weight
    bsa = mosteller(x["height"], weight)
    haematocrit = x["haematocrit"] * g.haematocrit
    blood = g.plasma * (1 - x["haematocrit"]) / (1 - haematocrit)  # its volume, times as much
    drawn = x["mass_blood"] * (blood - 1)
    conceptus = np.full_like(weight, g.conceptus)
    output = x["cardiac_output"] * g.cardiac
    flow = {o: x[f"flow_{o}"] * (g.cardiac * share) for o, share in g.shares.items()}
    flow |= {"kidney": x["flow_kidney"] * g.renal, "conceptus": np.full_like(weight, g.placental_flow)}
    filtration = _filtration(x, x["gfr"] * g.gfr * (x["bsa"] / bsa))
    return {
        "weight": weight,
        "bmi": weight / (x["height"] / 100) ** 2,
        "bsa": bsa,
        "fat_free_mass": x["fat_free_mass"] + g.weight - LIPID * g.adipose,
        **_gain(
            x,
            adipose=np.full_like(weight, g.adipose),
            blood=drawn,
            rest=g.weight - g.adipose - g.conceptus - drawn,  # womb, breasts, water in tissue
        ),
        "mass_conceptus": conceptus,
        "volume_conceptus": conceptus,
        **{f"blood_{o}": x[f"blood_{o}"] * blood for o in body.BLOOD_SHARE},
        "haematocrit": haematocrit,
        "cardiac_output": output,
        **_share(x, output, flow),
        **filtration,
        "measured_gfr": x["measured_gfr"] * g.gfr,
        "albumin": x["albumin"] * g.albumin,
        **{name: x[name] * factor for name, factor in g.enzymes.items() if name in x},
    }


_KAPRAUN = "Kapraun 2019"
PREGNANCY = Condition(
    "pregnancy",
    "pregnancy of so many weeks: what the mean woman gains is added, flows and volumes change in proportion",
    f"{_KAPRAUN}; albumin: Whittaker 1993; enzymes: Tracy 2005, McGready 2003",
    tuple(str(week) for week in range(1, 41)),
    after="",
    draws=(),
    needs=(
        *KIDNEY_FUNCTION,
        *("height", "weight", "bsa", "fat_free_mass", "mass_adipose", "mass_blood", "mass_rest"),
        *(f"blood_{o}" for o in body.BLOOD_SHARE),
        *("haematocrit", "albumin", "cardiac_output"),
        *FLOW_COLUMNS,
        *(f"abundance_{e}" for e in (*_ENZYMES, "CYP2C19")),
    ),
    changes=_changes(
        {
            "weight": _KAPRAUN,
            "bmi": "of the weight now",
            "bsa": "Mosteller 1987, of the weight now",
            "fat_free_mass": f"{_KAPRAUN}: all gain but the lipid of adipose tissue",
            **{f"{kind}_{o}": _KAPRAUN for o in ("adipose", "blood") for kind in ("mass", "volume")},
            **{f"{kind}_rest": f"{_KAPRAUN}: the gain that is nowhere else" for kind in ("mass", "volume")},
            **{f"blood_{o}": f"{_KAPRAUN}; shared as before: unverified" for o in body.BLOOD_SHARE},
            "haematocrit": _KAPRAUN,
            "cardiac_output": _KAPRAUN,
            **_flows(f"{_KAPRAUN}; organs it does not name share the balance"),
            "gfr": f"{_KAPRAUN}, by the body surface now",
            "measured_gfr": _KAPRAUN,
            "creatinine": "CKD-EPI 2021 of gfr, which was not made for pregnancy: unverified",
            "albumin": "Whittaker & Lind 1993",
            **{f"abundance_{e}": "Tracy 2005: activity of women studied in pregnancy and after" for e in _ENZYMES},
            "abundance_CYP2C19": "McGready 2003 at term; linear up to it: unverified",
        }
    )
    | {
        "mass_conceptus": Column("kg", "fetus, placenta and amniotic fluid", _KAPRAUN),
        "volume_conceptus": Column("L", "volume of mass_conceptus", "density 1 kg/L: unverified"),
        "flow_conceptus": Column("L/h", "maternal flow to the placenta", _KAPRAUN),
    },
    apply=_pregnancy,
    unfit=lambda x: {
        "are men": x["sex"] != FEMALE,
        f"are not {FERTILE[0]} to {FERTILE[1]} y": (x["age"] < FERTILE[0]) | (x["age"] > FERTILE[1]),
    },
)

# ---------------------------------------------------------------- obesity, old age, smoking

CLASSES = {"1": (30.0, 35.0), "2": (35.0, 40.0), "3": (40.0, 70.0)}  # kg/m², WHO; the end of class 3: unverified
THINNING = np.array([0.187, 0.139])  # m²/kg: above 30, so much fewer men and women at each kg/m² [10]


def _obesity(x: Columns, z: Columns, value: str) -> Changed:
    low, high = CLASSES[value]
    rate = THINNING[x["sex"]]
    # Who is heavy among all is heavy within the class: the latent is body mass's own.
    return {"bmi": low - np.log1p(-ndtr(z["bmi"]) * (1 - np.exp(-rate * (high - low)))) / rate}


OBESITY = Condition(
    "obesity",
    "obesity of a WHO class: BMI within it, from which weight, fat, organs and flows follow",
    "WHO classes; thinning out above 30 kg/m²: NHANES 2013-2018, elsewhere unverified",
    tuple(CLASSES),
    after="bmi",
    draws=("bmi",),
    needs=("sex", "age"),
    changes=_changes({"bmi": "within the WHO class thinning out as in NHANES 2013-2018; elsewhere unverified"}),
    apply=_obesity,
    unfit=_adults,
)


def _elderly(x: Columns, z: Columns, value: str) -> Changed:
    first, last = map(float, value.split("-"))
    return {"age": first + (last - first) * ndtr(z["age"])}


ELDERLY = Condition(
    "elderly",
    "people of these ages: what age does to liver, muscle, bone, cardiac output, kidneys and albumin follows from it",
    "evenly spread over the ages: an assumption",
    ("65-90", "65-75", "75-85", "85-90"),
    after="age",
    draws=("age",),
    needs=(),
    changes=_changes({"age": "evenly spread over the ages of the condition: an assumption"}),
    apply=_elderly,
    unfit=lambda x: {},
)

_HABITS = _MADE["smoking"].levels
SMOKING = Condition(
    "smoking",
    "everybody never smoked, gave it up or smokes; CYP1A2 follows from it",
    "chosen",
    _HABITS,
    after="smoking",
    draws=(),
    needs=("age",),
    changes=_changes({"smoking": "chosen"}),
    apply=lambda x, z, value: {"smoking": np.full(len(x["age"]), _HABITS.index(value), np.int8)},
    unfit=_adults,
)

CONDITIONS: dict[str, Condition] = {
    c.name: c for c in (CKD, CIRRHOSIS, HEART_FAILURE, PREGNANCY, OBESITY, ELDERLY, SMOKING)
}

# ---------------------------------------------------------------- choosing and stacking


def read_condition(text: str) -> tuple[Condition, str]:
    """A condition and its value of text such as "ckd=4", "pregnancy=20", "child_pugh=B"."""
    name, _, value = (part.strip() for part in text.partition("="))
    if name not in CONDITIONS:
        near = difflib.get_close_matches(name, CONDITIONS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CONDITIONS)}"
        raise ConditionError(f"{text!r}: no condition is called {name!r}; {hint}")
    condition = CONDITIONS[name]
    if value not in condition.values:
        first, *_, last = values = condition.values
        allowed = f"{first} to {last}" if len(values) > 10 else ", ".join(values)
        raise ConditionError(f"{text!r}: {value!r} is no value of {name}; write {name}={first}, one of {allowed}")
    return condition, value


def check_stack(stack: Sequence[tuple[Condition, str]]) -> None:
    """Refuses conditions that nobody has at once."""
    names = [condition.name for condition, _ in stack]
    for name in names:
        if names.count(name) > 1:
            values = ", ".join(value for condition, value in stack if condition.name == name)
            raise ConditionError(f"{name} is given {names.count(name)} times ({values}); keep one")
    if "pregnancy" in names and "elderly" in names:
        fertile = f"{FERTILE[0]} to {FERTILE[1]} y"
        raise ConditionError(f"pregnancy is for women of {fertile}, elderly for 65 y and above; keep one")


def _step(condition: Condition, value: str, made: Mapping[str, Column]) -> Step:
    """The condition as a step of a chain that has made these columns. Enzymes that the chain lacks are left out."""
    needs = [c for c in condition.needs if c in made or not c.startswith("abundance_")]
    needs += ["flow_conceptus"] if "flow_conceptus" in made and FLOW_COLUMNS[0] in needs else []
    changes = {n: c for n, c in condition.changes.items() if n in made or not n.startswith("abundance_")}
    if "flow_conceptus" in needs and "flow_conceptus" not in changes:
        shared = f"{condition.name}: shares the balance of cardiac output: unverified"
        changes["flow_conceptus"] = replace(made["flow_conceptus"], source=shared)

    def run(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        for reason, who in condition.unfit(x).items():
            if count := int(np.count_nonzero(who)):
                raise ConditionError(f"{condition.name}={value}: {count} of {len(who)} people {reason}")
        return condition.apply(x, z, value)

    run.__name__ = f"{condition.name}={value}"
    return Step(run, changes, tuple(needs), condition.draws)


def with_conditions(chain: Chain, stack: Sequence[tuple[Condition, str]]) -> Chain:
    """The chain of people who have all of these conditions: each where it acts, those of the end in the order given."""
    check_stack(stack)
    steps = list(chain.steps)
    for condition, value in stack:
        places = [i for i, s in enumerate(steps) if condition.after in s.makes] if condition.after else [len(steps) - 1]
        if not places:
            raise ConditionError(f"{condition.name} changes {condition.after!r}, which this source does not make")
        made = Chain(tuple(steps[: places[-1] + 1])).columns
        if missing := [c for c in condition.needs if c not in made and not c.startswith("abundance_")]:
            raise ConditionError(f"{condition.name} needs {', '.join(missing)}, which this source does not make")
        steps.insert(places[-1] + 1, _step(condition, value, made))
    return Chain(tuple(steps), chain.correlations)
