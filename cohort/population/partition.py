"""What a compound adds to a body: binding in plasma, partition into tissues, clearance, for each person.

A tissue:plasma coefficient Kp is the ratio of total concentrations at steady state: that of unbound drug times the
fraction unbound in plasma, Kp = Kpu fu. Four predictions from physical chemistry, on one tissue composition [7].

References
----------
[1] Rodgers, Leahy & Rowland 2005, J Pharm Sci 94:1259. Moderate to strong bases (pKa 7 or more): bound to acidic
    phospholipids, as strongly as blood cells bind them.
[2] Rodgers & Rowland 2006, J Pharm Sci 95:1238. All others: bound to albumin, neutrals to lipoproteins.
[3] Poulin & Theil 2002, J Pharm Sci 91:129.
[4] Berezhkovskiy 2004, J Pharm Sci 93:1628.
[5] Schmitt 2008, Toxicol In Vitro 22:457; corrigendum 22:1666.
[6] McNamara & Alcorn 2002, AAPS PharmSci 4:E4. Fraction unbound by the concentration of the binding protein.
[7] Utsey et al. 2020, Drug Metab Dispos 48:903: one composition for all methods, and [5] on total water.
"""

import difflib
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from cohort.bounded import BoundError, read, text
from cohort.population.causal import Column, Columns, Step, step
from cohort.units import quantity


class Tissue(NamedTuple):
    """Volume fractions of a tissue, its pH, and the ratios of its albumin and lipoprotein to those of plasma."""

    water: float
    protein: float
    phospholipid: float
    neutral_lipid: float
    neutral_phospholipid: float
    acidic_phospholipid: float
    ph: float
    extracellular_water: float = 0.0
    intracellular_water: float = 0.0
    albumin: float = 0.0
    lipoprotein: float = 0.0


COMPOSITION: dict[str, Tissue] = {  # [7]; water as the sum of its two parts
    "adipose": Tissue(0.152, 0.05, 0.002, 0.798, 0.0478, 0.0067, 7.1, 0.135, 0.017, 0.049, 0.069),
    "bone": Tissue(0.446, 0.268, 0.0011, 0.074, 0.0016, 0.0008, 7.0, 0.1, 0.346, 0.1, 0.05),
    "brain": Tissue(0.782, 0.08, 0.0565, 0.045, 0.0553, 0.02022, 7.1, 0.162, 0.62, 0.048, 0.041),
    "gut": Tissue(0.757, 0.133, 0.0163, 0.0487, 0.0124, 0.0035, 7.4, 0.282, 0.475, 0.158, 0.141),
    "heart": Tissue(0.776, 0.17, 0.0166, 0.089, 0.0079, 0.00309, 7.1, 0.32, 0.456, 0.157, 0.16),
    "kidney": Tissue(0.756, 0.17, 0.0162, 0.036, 0.0166, 0.00387, 7.22, 0.273, 0.483, 0.13, 0.137),
    "liver": Tissue(0.734, 0.18, 0.0252, 0.037, 0.0115, 0.00258, 7.23, 0.161, 0.573, 0.086, 0.161),
    "lung": Tissue(0.782, 0.18, 0.009, 0.003, 0.0056, 0.0014, 6.6, 0.336, 0.446, 0.212, 0.168),
    "muscle": Tissue(0.748, 0.17, 0.0072, 0.013, 0.0092, 0.0019, 6.81, 0.118, 0.63, 0.064, 0.059),
    "skin": Tissue(0.673, 0.29, 0.0111, 0.036, 0.0502, 0.01382, 7.0, 0.382, 0.291, 0.277, 0.096),
    "spleen": Tissue(0.786, 0.19, 0.0198, 0.014, 0.0103, 0.00191, 7.0, 0.207, 0.579, 0.097, 0.207),
    "blood_cells": Tissue(0.663, 0.33, 0.0, 0.002, 0.0025, 0.0005, 7.22, 0.0, 0.603),  # pH of [1]
    "plasma": Tissue(0.928, 0.07, 0.00225, 0.003, 0.005, 0.00097, 7.4),  # pH of [1]
}
PH_CELLS = 7.0  # intracellular water of every tissue [1]

# Organs without a composition of their own: wall of the gut, lymphoid tissue, or the mean of all but adipose tissue, as
# [7] has it for pancreas and rest.
LIKE = dict.fromkeys(("small_intestine", "large_intestine", "stomach"), "gut") | {
    "lymph_nodes": "spleen",
    "thymus": "spleen",
}
MEAN = ("gonads", "pancreas", "rest")
ORGANS = (
    "adipose", "bone", "brain", "gonads", "heart", "kidney", "large_intestine", "liver", "lung", "lymph_nodes",
    "muscle", "pancreas", "rest", "skin", "small_intestine", "spleen", "stomach", "thymus",
)  # fmt: skip

# At these a compound's fraction unbound and blood:plasma ratio hold: g/L, and 1.
BINDING = {"albumin": 44.9, "aag": 0.8}  # albumin: Gaohua 2012, Br J Clin Pharmacol 74:873, Table 2; aag: unverified
HAEMATOCRIT = 0.45  # [1]


def _number(unit: str = "") -> BeforeValidator:
    """Reads "3.04 1/h" in a file, and a number alone in Python or where there is no unit."""

    def read(value: Any, info: ValidationInfo) -> Any:
        if unit and isinstance(value, str):
            return quantity(value, unit).to(unit)
        if isinstance(value, str | bool) or (unit and info.context == "file"):
            raise ValueError("not such a number")
        return value

    return BeforeValidator(read)


type Plain = Annotated[float, _number()]
type Share = Annotated[float, _number(), Field(gt=0, le=1)]


class Compound(BaseModel):
    """A compound. `pka_acid`, `pka_base`: of its groups; without any it is neutral. `fu`: unbound in plasma, `binds`
    what binds it there. `clint`: intrinsic clearance of unbound drug by each enzyme. `renal`: renal clearance over what
    is filtered, 1 with filtration alone. `log_vo`: vegetable oil:water, from `log_p` if left out. `sources`: of each
    number, by its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    molar_mass: Annotated[float, _number("g/mol"), Field(gt=0)]
    log_p: Plain
    log_vo: Plain | None = None
    pka_acid: tuple[Plain, ...] = ()
    pka_base: tuple[Plain, ...] = ()
    fu: Share
    binds: Literal["albumin", "aag"]
    blood_plasma_ratio: Annotated[float, _number(), Field(ge=1 - HAEMATOCRIT)]  # less, and cells would hold less than 0
    clint: dict[str, Annotated[float, _number("uL/min/pmol"), Field(ge=0)]]
    renal: Annotated[float, _number(), Field(ge=0)]
    absorption_rate: Annotated[float, _number("1/h"), Field(gt=0)]
    fraction_absorbed: Share
    gut_availability: Share
    sources: dict[str, str]

    @field_validator("sources")
    @classmethod
    def _each_number_has_one(cls, sources: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        needed = [k for k, v in info.data.items() if k not in ("name", "binds") and v not in (None, (), {})]
        if missing := [k for k in needed if not sources.get(k, "").strip()]:
            raise ValueError(f"say where {', '.join(missing)} come from")
        return sources

    def ionised(self, ph: float, *, acid: bool = True, base: bool = True) -> float:
        """Ionised over neutral drug at this pH, of acidic, basic or all groups: X - 1, Y - 1, Z - 1 of [1] and [2]."""
        acids = np.cumprod([10 ** (ph - pka) for pka in sorted(self.pka_acid)]) if acid else ()
        bases = np.cumprod([10 ** (pka - ph) for pka in sorted(self.pka_base, reverse=True)]) if base else ()
        return float(np.sum(acids) + np.sum(bases))

    @property
    def strong_base(self) -> bool:
        return any(pka >= 7 for pka in self.pka_base)  # [1]

    @property
    def in_oil(self) -> float:
        """Vegetable oil:water partition coefficient of neutral drug, which stands for adipose tissue [3]."""
        return 10 ** (1.115 * self.log_p - 1.35 if self.log_vo is None else self.log_vo)

    @property
    def in_cells(self) -> float:
        """Blood cells to unbound drug in plasma [1]."""
        return (HAEMATOCRIT - 1 + self.blood_plasma_ratio) / (HAEMATOCRIT * self.fu)


type Body = Mapping[str, Tissue]
type Coefficients = dict[str, Any]  # Kp by tissue, of the shape of fu


def _rodgers_rowland(c: Compound, fu: Any, body: Body) -> Coefficients:
    """[1] for bases of pKa 7 or more, [2] for all others."""
    plasma, cells, p = body["plasma"], body["blood_cells"], 10**c.log_p
    x, y, z = (1 + c.ionised(ph) for ph in (PH_CELLS, plasma.ph, cells.ph))

    def lipid(t: Tissue, p: float) -> float:
        return (p * t.neutral_lipid + (0.3 * p + 0.7) * t.neutral_phospholipid) / y

    if c.strong_base:
        in_tissue, in_cells = (c.ionised(ph, acid=False) for ph in (PH_CELLS, cells.ph))
        free = max(c.in_cells - z / y * cells.intracellular_water - lipid(cells, p), 0.0)
        affinity = free / (cells.acidic_phospholipid * in_cells)
        bound = {k: affinity * t.acidic_phospholipid * in_tissue for k, t in body.items()}
    else:
        in_plasma = np.maximum(1 / fu - 1 - lipid(plasma, p), 0.0)
        neutral = not (c.pka_acid or c.pka_base)
        bound = {k: in_plasma * (t.lipoprotein if neutral else t.albumin) for k, t in body.items()}
    return {
        k: fu
        * (
            t.extracellular_water
            + x / y * t.intracellular_water
            + lipid(t, c.in_oil if k == "adipose" else p)
            + bound[k]
        )
        for k, t in body.items()
    }


def _lipid_and_water(c: Compound, k: str, t: Tissue, water: Any) -> Any:
    """Numerator and denominator of [3] and [4]. Adipose tissue takes what oil takes of all drug at the pH of plasma."""
    p = c.in_oil / (1 + c.ionised(7.4)) if k == "adipose" else 10**c.log_p
    return p * (t.neutral_lipid + 0.3 * t.phospholipid) + water + 0.7 * t.phospholipid


def _unbound_in_tissue(fu: Any) -> Any:
    return 1 / (1 + 0.5 * (1 - fu) / fu)  # half the binding protein of plasma [3]


def _poulin_theil(c: Compound, fu: Any, body: Body) -> Coefficients:
    """[3]."""
    made = {}
    for k, t in body.items():
        ratio = _lipid_and_water(c, k, t, t.water) / _lipid_and_water(c, k, body["plasma"], body["plasma"].water)
        made[k] = ratio * (fu if k == "adipose" else fu / _unbound_in_tissue(fu))
    return made


def _berezhkovskiy(c: Compound, fu: Any, body: Body) -> Coefficients:
    """[4]: as [3], with bound drug in the water's part."""
    in_tissue, plasma = _unbound_in_tissue(fu), body["plasma"]
    return {
        k: _lipid_and_water(c, k, t, t.water / in_tissue) / _lipid_and_water(c, k, plasma, plasma.water / fu)
        for k, t in body.items()
    }


def _schmitt(c: Compound, fu: Any, body: Body) -> Coefficients:
    """[5] on total water, as [7]; membrane affinity is octanol:water."""
    k = 10**c.log_p
    protein = 0.163 + 0.0221 * k
    made = {}
    for name, t in body.items():
        neutral, anion, cation = _by_charge(c, t.ph)
        lipid = k * (neutral + 0.001 * (anion + cation))
        acidic = k * (neutral + 0.05 * anion + 20 * cation)
        made[name] = fu * (
            t.water
            + lipid * t.neutral_lipid
            + k * t.neutral_phospholipid
            + acidic * t.acidic_phospholipid
            + protein * t.protein
        )
    return made


def _by_charge(c: Compound, ph: float) -> tuple[float, float, float]:
    """Fractions of drug without net charge, negative and positive."""
    groups = [(-1, 1 / (1 + 10 ** (pka - ph))) for pka in c.pka_acid]
    groups += [(1, 1 / (1 + 10 ** (ph - pka))) for pka in c.pka_base]
    share = {0: 0.0, -1: 0.0, 1: 0.0}
    for on in itertools.product((False, True), repeat=len(groups)):
        charge = sum(sign for (sign, _), charged in zip(groups, on, strict=True) if charged)
        odds = [p if charged else 1 - p for (_, p), charged in zip(groups, on, strict=True)]
        share[int(np.sign(charge))] += float(np.prod(odds))
    return share[0], share[-1], share[1]


METHODS: dict[str, Callable[[Compound, Any, Body], Coefficients]] = {
    "rodgers_rowland": _rodgers_rowland,
    "poulin_theil": _poulin_theil,
    "berezhkovskiy": _berezhkovskiy,
    "schmitt": _schmitt,
}


def partition(
    compound: Compound, method: str = "rodgers_rowland", fu: Any = None, body: Body = COMPOSITION
) -> Coefficients:
    """Kp by tissue. `fu`: of people whose plasma is not the compound's, one value or (n,). Errors: ValueError for a
    method that is none."""
    if method not in METHODS:
        raise ValueError(f"{method!r} predicts no partition coefficients; write one of {', '.join(METHODS)}")
    made = METHODS[method](compound, compound.fu if fu is None else fu, body)
    return {k: value for k, value in made.items() if k not in ("plasma", "blood_cells")}


def kp_columns(compound: Compound, method: str, x: Columns) -> dict[str, np.ndarray]:
    """`fu`, `blood_plasma_ratio` and `kp_<organ>`, (n,) each, of people with the columns `compound.binds` and
    `haematocrit`. What a cell or tissue takes of unbound drug is the compound's; binding in plasma is the person's."""
    fu = 1 / (1 + (1 / compound.fu - 1) * (x[compound.binds] / BINDING[compound.binds]))  # [6]
    cells = x["haematocrit"]
    kp = partition(compound, method, fu)
    lean = np.mean([value for k, value in kp.items() if k != "adipose"], axis=0)
    organs = {f"kp_{o}": lean if o in MEAN else kp[LIKE.get(o, o)] for o in ORGANS}
    return {"fu": fu, "blood_plasma_ratio": 1 - cells + cells * compound.in_cells * fu, **organs}


def clint_liver(compound: Compound, x: Columns) -> np.ndarray:
    """Intrinsic clearance of unbound drug by the whole liver, L/h, of people with the columns `abundance_<enzyme>`
    (pmol/mg), `mppgl` (mg/g) and `mass_liver` (kg)."""
    per_mg = sum(
        (value * x[f"abundance_{enzyme}"] for enzyme, value in compound.clint.items()), np.zeros(len(x["mass_liver"]))
    )
    return 0.06 * per_mg * x["mppgl"] * x["mass_liver"]  # uL/min to L/h, kg to g


def compound_steps(compound: Compound, method: str = "rodgers_rowland") -> tuple[Step, ...]:
    """What this compound finds in each person: the columns that `models/pbpk.py` needs beside the body's own."""
    name, source = compound.name, compound.sources
    binding = {
        "fu": Column(
            "1", f"fraction of {name} unbound in plasma", f"{source['fu']}; by {compound.binds} (McNamara 2002)"
        ),
        "blood_plasma_ratio": Column(
            "1", f"blood:plasma ratio of {name}", f"{source['blood_plasma_ratio']}; by haematocrit and fu"
        ),
    }
    for organ in ORGANS:
        like = "mean of lean tissues" if organ in MEAN else LIKE.get(organ, organ)
        binding[f"kp_{organ}"] = Column(
            "1", f"{organ.replace('_', ' ')} to plasma ratio of {name}", f"{method}, composition of {like}: Utsey 2020"
        )

    @step(binding, needs=(compound.binds, "haematocrit"))
    def partition_coefficients(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        return kp_columns(compound, method, x)

    @step(
        {
            "clint_liver": Column("L/h", f"clearance of unbound {name} by liver cells", source.get("clint", "none")),
            "cl_kidney": Column("L/h", f"renal clearance of unbound {name}", f"GFR times {source['renal']}"),
            "ka": Column("1/h", f"absorption rate of {name}", source["absorption_rate"]),
            "fa": Column("1", f"fraction of {name} that the gut absorbs", source["fraction_absorbed"]),
            "fg": Column("1", f"fraction of absorbed {name} that passes the gut's wall", source["gut_availability"]),
        },
        needs=("mass_liver", "mppgl", "measured_gfr", *(f"abundance_{e}" for e in compound.clint)),
    )
    def clearance_and_absorption(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        gfr = x["measured_gfr"]
        return {
            "clint_liver": clint_liver(compound, x),
            "cl_kidney": 0.06 * compound.renal * gfr,  # mL/min to L/h
            "ka": np.full_like(gfr, compound.absorption_rate),
            "fa": np.full_like(gfr, compound.fraction_absorbed),
            "fg": np.full_like(gfr, compound.gut_availability),
        }

    return partition_coefficients, clearance_and_absorption


COMPOUNDS = Path(__file__).parent / "compounds"
INSTEAD = {
    "name": "write a name such as midazolam",
    "molar_mass": "write such as 325.8 g/mol",
    "log_p": "write log10 octanol:water such as 3.1",
    "log_vo": "write log10 vegetable oil:water such as 2.1, or leave it out",
    "pka_acid": "write a list such as [4.4], or leave it out",
    "pka_base": "write a list such as [6.0], or leave it out",
    "fu": "write a number above 0, up to 1",
    "binds": "write albumin or aag",
    "blood_plasma_ratio": f"write a number from {1 - HAEMATOCRIT:g} on",
    "clint": "write such as {CYP3A4: 2.0 uL/min/pmol}, or {} for none",
    "renal": "write 1 for filtration alone, 0 for none",
    "absorption_rate": "write such as 3 1/h",
    "fraction_absorbed": "write a number above 0, up to 1",
    "gut_availability": "write a number above 0, up to 1",
    "sources": "write such as {log_p: Rodgers & Rowland 2006}, one for each number",
}


class CompoundError(ValueError):
    """A file that cannot be read as a compound; the message names file, line, key and what to write instead."""


def compound_names() -> list[str]:
    return sorted(file.stem for file in COMPOUNDS.glob("*.yaml"))


def read_compound(reference: str | Path) -> Compound:
    """A compound by its name, of those shipped, or from a YAML file by its path. Errors: CompoundError with everything
    that is wrong."""
    own = str(reference).endswith(".yaml")
    path = Path(reference) if own else COMPOUNDS / f"{reference}.yaml"
    if not own and (path.stem != str(reference) or not os.path.isfile(path)):  # a name, not the way to another folder
        known = ", ".join(compound_names())
        raise CompoundError(
            f"no compound {str(reference)!r}; there are {known}. One of your own: its path, ending in .yaml"
        )
    try:
        written = text(path)
    except BoundError as e:
        raise CompoundError(str(e)) from None
    said = read(written)
    if said.problems:
        raise CompoundError("\n".join(f"{path}:{said.line(place)}  {message}" for place, message in said.problems))
    found = said.data
    if not isinstance(found, dict):
        raise CompoundError(f"{path}:1  found {str(found)[:40]}; write keys such as {', '.join(INSTEAD)}")
    try:
        return Compound.model_validate({str(k): v for k, v in found.items()}, context="file")
    except ValidationError as e:
        raise CompoundError("\n".join(_wrong(path, written.splitlines(), e))) from None


def _wrong(path: Path, lines: list[str], e: ValidationError) -> list[str]:
    """One line for each key that is wrong."""
    said: dict[str, str] = {}
    for error in e.errors():
        key = str(error["loc"][0])
        at = next((i for i, line in enumerate(lines, 1) if line.startswith(f"{key}:")), 1)
        if error["type"] == "missing":
            what = f"missing; {INSTEAD[key]}"
        elif key not in INSTEAD:
            near = difflib.get_close_matches(key, INSTEAD, n=1)
            what = f"unknown key; {f'did you mean {near[0]!r}?' if near else 'known: ' + ', '.join(INSTEAD)}"
        elif key == "sources" and error["type"] == "value_error":
            what = error["msg"].removeprefix("Value error, ")
        else:
            within = ".".join(str(part) for part in error["loc"][1:2])
            what = f"{f'{within}: ' if within else ''}found {error['input']!r}; {INSTEAD[key]}"
        said.setdefault(f"{key}{error['loc'][1:2]}", f"{path}:{at}  {key}: {what}")
    return list(said.values())
