"""Enzymes of the liver: how much of each a milligram of microsomal protein holds, and how much protein a gram of liver.

Abundances come in named sets, one source each, and a chain is made of one of them: methods differ by a factor of two to
three, so a mean of one beside a mean of another would be wrong (`abundance_steps`). A person's abundance is lognormal,
times what genotype, smoking and sex make of it, times the ontogeny of a child. Both sets were measured in livers of
mostly European adults, so the multipliers are scaled to leave the mean and CV of a set as they are in Europeans (equal
sexes, Hardy-Weinberg, no smokers): people of other ancestries differ by their genotypes alone. Genotype works on
abundance as functional enzyme: CYP2D6 and CYP2C9 by activity score / 2, CYP2C19 and UGT1A1 by the default activity of
the phenotype; CYP3A5 is for carriers of *1, and nothing in others.

Not here, on purpose: the lower clearance by Chinese microsomes [7] (CYP1A2 0.54, CYP2C9 0.58, CYP2C19 0.26, CYP2E1 0.35
of the Caucasian), which is one comparison of medians of activity with the genotypes in it; transporters (OATP1B1, P-gp,
BCRP) and UGT1A1 in the first set, for want of a published abundance of the same kind.

References
----------
[1] Rowland Yeo, Rostami-Hodjegan & Tucker 2004, Br J Clin Pharmacol 57:687 (pA2 1(4):225P): 19 sources, Caucasian.
[2] Achour, Russell, Barber & Rostami-Hodjegan 2014, Drug Metab Dispos 42:500: LC-MS/MS, 24 livers.
[3] Achour, Barber & Rostami-Hodjegan 2014, Drug Metab Dispos 42:1349: rank correlations.
[4] Dobrinas et al. 2011, Clin Pharmacol Ther 90:117: smokers 1.55 times, of 194 (Faber & Fuhr 2004, 76:178: 1.56).
[5] Hu & Zhao 2010, Drug Metab Dispos 38:817: clearance of midazolam per kg 20 % higher in women, of 409 people.
[6] Salem 2014, Upreti 2016, Cheung 2019: ontogeny. Above the age cap 1, also where the curve does not end at 1.
[7] Yang et al. 2012, Br J Clin Pharmacol 73:268 (PMC3269586).
[8] Barter et al. 2008, Drug Metab Dispos 36:2405: microsomal protein by age, 40 mg/g at 28 y, 29 (27-32) at 65 y. In
    children a newer study (52:1363) finds no effect of age, 30.4 mg/g from one month on.
[9] Wilson et al. 2003, Br J Clin Pharmacol 56:433: between people 26-54 mg/g (n = 20) and 65-185e6 cells/g (n = 7).
[10] Barter et al. 2007, Curr Drug Metab 8:33, as in httk: hepatocellularity by age.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cohort.population.causal import Column, Columns, Step, step
from cohort.population.genes import GENES, activity


@dataclass(frozen=True)
class AbundanceSet:
    """enzymes: mean, pmol/mg microsomal protein, and CV between people."""

    source: str
    enzymes: Mapping[str, tuple[float, float]]


SETS: Mapping[str, AbundanceSet] = {
    "simcyp2004": AbundanceSet(
        "Rowland Yeo 2004; means but CYP3A4's, and CVs: unverified",
        {
            "CYP1A2": (52, 0.67),
            "CYP2A6": (20, 1.7),
            "CYP2B6": (17, 1.2),
            "CYP2C8": (24, 0.81),
            "CYP2C9": (73, 0.54),
            "CYP2C19": (14, 1.06),
            "CYP2D6": (8, 0.61),
            "CYP2E1": (61, 0.61),
            "CYP3A4": (137, 0.41),
            "CYP3A5": (103, 0.65),  # of carriers of *1
        },
    ),
    "lcms": AbundanceSet(
        "Achour 2014, Drug Metab Dispos 42:500",
        {
            "CYP2C9": (40.0, 26.0 / 40.0),
            "CYP2D6": (11.9, 13.2 / 11.9),
            "CYP3A4": (68.1, 52.3 / 68.1),
            "UGT1A1": (33.6, 34.0 / 33.6),
        },
    ),
}
DEFAULT = "simcyp2004"  # the only one with all ten enzymes, and what published PBPK models were calibrated with

# fmax, fbirth, age at half (y), Hill exponent, age cap (y) [6]
ONTOGENY: Mapping[str, tuple[float, float, float, float, float]] = {
    "CYP1A2": (1.71, 0.24, 0.36, 1.73, 3),
    "CYP2A6": (1, 0, 0.21, 5.68, 1),
    "CYP2B6": (1, 0.277, 1.537, 1.73, 25),
    "CYP2C8": (1.053, 0.41, 0.366, 0.68, 20),
    "CYP2C9": (0.98, 0.17, 0.0157, 0.53, 5),
    "CYP2C19": (0.98, 0.3, 0.29, 2.44, 5),
    "CYP2D6": (1, 0.036, 0.1, 1, 10),
    "CYP2E1": (0.99, 0, 0.23, 0.5, 18),
    "CYP3A4": (1.06, 0.11, 0.64, 1.91, 25),
    "CYP3A5": (1, 1, 0, 1, 25),
    "UGT1A1": (1, 0, 0.183, 1.105, 25),
}


def ontogeny(enzyme: str, age: np.ndarray) -> np.ndarray:
    """Abundance in a child over that in an adult, of postnatal age in years [6]."""
    if enzyme not in ONTOGENY:
        raise ValueError(f"no ontogeny of {enzyme!r}; write one of {', '.join(ONTOGENY)}")
    fmax, fbirth, half, hill, cap = ONTOGENY[enzyme]
    power = np.maximum(np.asarray(age, dtype=float), 0.0) ** hill  # nobody below 0 y is enrolled
    grown = np.divide(power, half**hill + power, out=np.zeros_like(power), where=power > 0)
    return np.where(age < cap, fbirth + (fmax - fbirth) * grown, 1.0)


def _pearson(spearman: float) -> float:
    """Correlation of normals of which the ranks have this one."""
    return 2 * np.sin(np.pi * spearman / 6)


_A4_A5, _A4_C8, _A4_C9, _C8_C9 = (_pearson(rho) for rho in (0.70, 0.68, 0.55, 0.55))  # [3]
CORRELATIONS: dict[tuple[str, str], float] = {
    ("abundance_CYP3A4", "abundance_CYP3A5"): _A4_A5,
    ("abundance_CYP3A4", "abundance_CYP2C8"): _A4_C8,
    ("abundance_CYP3A4", "abundance_CYP2C9"): _A4_C9,
    ("abundance_CYP2C8", "abundance_CYP2C9"): _C8_C9,
    # Not published: independent given CYP3A4. Zero would contradict the four above (no positive definite matrix).
    ("abundance_CYP3A5", "abundance_CYP2C8"): _A4_A5 * _A4_C8,
    ("abundance_CYP3A5", "abundance_CYP2C9"): _A4_A5 * _A4_C9,
}


@dataclass(frozen=True)
class Multiplier:
    """What a category makes of an enzyme. factor: (levels,); donors: share of each level among the livers of a set."""

    column: str
    factor: np.ndarray
    donors: np.ndarray
    source: str


def _by_score(gene: str) -> Multiplier:
    return Multiplier(gene, GENES[gene].score / 2, GENES[gene].shares("EUR"), "functional enzyme, activity score / 2")


def _by_phenotype(gene: str) -> Multiplier:
    factor = np.array([activity(gene, phenotype) for phenotype in GENES[gene].phenotypes])
    shares = GENES[gene].phenotype_shares("EUR")
    return Multiplier(f"{gene}_phenotype", factor, shares, "functional enzyme, activity by phenotype: unverified")


MULTIPLIERS: Mapping[str, Multiplier] = {
    "CYP1A2": Multiplier("smoking", np.array([1, 1, 1.55]), np.array([1, 0, 0]), "smokers 1.55: Dobrinas 2011"),
    "CYP2C9": _by_score("CYP2C9"),
    "CYP2C19": _by_phenotype("CYP2C19"),
    "CYP2D6": _by_score("CYP2D6"),
    "CYP3A4": Multiplier("sex", np.array([1, 1.2]), np.array([0.5, 0.5]), "women 1.2: Hu & Zhao 2010 [midazolam]"),
    "CYP3A5": Multiplier("CYP3A5_phenotype", np.array([0, 1, 1]), np.array([0, 0.5, 0.5]), "carriers of *1 only"),
    "UGT1A1": _by_phenotype("UGT1A1"),
}


def _abundance(enzyme: str, mean: float, cv: float, source: str) -> Step:
    name = f"abundance_{enzyme}"
    by = MULTIPLIERS.get(enzyme)
    if by is None:
        factor, needs, spread = np.ones(1), ("age",), 1.0
    else:
        among = by.donors @ by.factor
        factor, needs, source = by.factor / among, ("age", by.column), f"{source}; {by.source}"
        spread = by.donors @ factor**2  # 1 + CV² that is the multiplier's own
    variance = np.log((1 + cv**2) / spread)
    sigma, typical = np.sqrt(variance), mean * factor * np.exp(-variance / 2)
    cap = ONTOGENY[enzyme][-1]

    def abundance(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        amount = np.exp(sigma * z[name])
        amount *= typical[0] if by is None else typical[x[by.column]]
        young = x["age"] < cap
        if young.any():
            amount[young] *= ontogeny(enzyme, x["age"][young])
        return {name: amount}

    abundance.__name__ = name
    column = Column("pmol/mg", f"{enzyme} per microsomal protein of the liver", source)
    return step({name: column}, needs=needs, draws=(name,))(abundance)


# SD of the logarithm: the range of n people over that expected of n normals, 3.73 SD (n = 20) and 2.70 SD (n = 7) [9].
MPPGL_SPREAD = np.log(54 / 26) / 3.735
HPGL_SPREAD = np.log(185 / 65) / 2.704


@step(
    {
        "mppgl": Column("mg/g", "microsomal protein per liver", "Barter 2008; spread: Wilson 2003, range"),
        "hpgl": Column(
            "1/ug",
            "hepatocytes per liver, which is 10⁶/g",
            "Barter 2007 as in httk; spread from the range of Wilson 2003",
        ),
    },
    needs=("age",),
    draws=("mppgl", "hpgl"),
)
def liver_scaling(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    age = np.minimum(x["age"], 77)  # y, where the cubic turns up again: flat beyond
    log10_protein = 1.407 + age * (0.0158 + age * (-0.00038 + age * 0.0000024))  # [8]
    log_cells = np.log(10) * 3.10 - 0.66 * np.log(np.maximum(x["age"], 19))  # [10], from 19 y
    return {
        "mppgl": np.exp(np.log(10) * log10_protein + MPPGL_SPREAD * z["mppgl"]),
        "hpgl": np.exp(log_cells + HPGL_SPREAD * z["hpgl"]),
    }


def abundance_steps(set_name: str) -> tuple[Step, ...]:
    """The enzymes of one set, and protein and cells per gram of liver."""
    if set_name not in SETS:
        raise ValueError(f"{set_name!r} is not a set of abundances; write one of {', '.join(SETS)}")
    chosen = SETS[set_name]
    return (*(_abundance(e, mean, cv, chosen.source) for e, (mean, cv) in chosen.enzymes.items()), liver_scaling)


STEPS = abundance_steps(DEFAULT)
