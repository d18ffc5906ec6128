"""Partition coefficients, binding and clearance against other engines' figures, limits and sums done by hand."""

import numpy as np
import pytest

from cohort.population import partition as module
from cohort.population.causal import Chain, Column, step
from cohort.population.partition import (
    BINDING,
    COMPOSITION,
    METHODS,
    ORGANS,
    Compound,
    CompoundError,
    clint_liver,
    compound_steps,
    kp_columns,
    partition,
    read_compound,
)
from cohort.units import factor

MIDAZOLAM, CAFFEINE = read_compound("midazolam"), read_compound("caffeine")
LEAN = ("bone", "brain", "gut", "heart", "kidney", "liver", "lung", "muscle", "skin", "spleen")


def _like(compound: Compound, **changes) -> Compound:
    return compound.model_copy(update=changes)


def _neutral(**changes) -> Compound:
    return _like(CAFFEINE, **({"pka_acid": (), "pka_base": ()} | changes))


# The models published with Utsey et al. 2020 (github.com/metrumresearchgroup/PBPK_PC, model/*.cpp), in LEAN's order.
# Their composition has other water fractions than the one used here, which shows in compounds that love water.
POULIN_THEIL = [
    (
        _like(MIDAZOLAM, log_p=3.13),
        [8.827128, 7.395849, 6.400272, 11.178, 4.900364, 5.334801, 0.7442749, 1.860674, 4.709419, 2.427498],
        0.002,
    ),
    (
        _like(MIDAZOLAM, log_p=2.15, pka_base=(9.7,), fu=0.879),
        [7.094268, 6.200645, 5.382199, 9.097863, 4.254921, 4.571359, 1.042462, 1.893321, 4.040463, 2.343402],
        0.01,
    ),
    (
        _like(MIDAZOLAM, log_p=2.2, pka_base=(6.5,), fu=0.11),
        [4.48555, 3.901444, 3.38532, 5.743885, 2.666754, 2.869263, 0.6260866, 1.167515, 2.535692, 1.452498],
        0.01,
    ),
    (
        _neutral(log_p=1.2, fu=0.61),
        [1.318404, 1.460666, 1.286568, 1.827963, 1.170989, 1.1905, 0.7274346, 0.8298471, 1.057862, 0.9069211],
        0.03,
    ),
    (
        _like(CAFFEINE, pka_base=(10.4,)),
        [0.4533072, 0.7779381, 0.6984072, 0.7512029, 0.7426488, 0.714217, 0.72736, 0.7127541, 0.6382312, 0.7333799],
        0.055,
    ),
]


@pytest.mark.parametrize(
    ("compound", "published", "rel"), POULIN_THEIL, ids=["midazolam", "metoprolol", "alfentanil", "digoxin", "caffeine"]
)
def test_poulin_and_theil_agree_with_the_models_of_utsey_2020(compound, published, rel):
    kp = partition(compound, "poulin_theil")
    assert [kp[t] for t in LEAN] == pytest.approx(published, rel=rel)


def test_adipose_tissue_differs_from_utsey_2020_by_the_ph_at_which_oil_is_shared():
    """They took pH 7.1 for midazolam (2.33842); Poulin & Theil have plasma's 7.4."""
    assert partition(_like(MIDAZOLAM, log_p=3.13), "poulin_theil")["adipose"] == pytest.approx(2.33842, rel=0.03)


def test_rodgers_and_rowland_agree_with_the_coefficients_of_gaohua_2012():
    """Midazolam of Table 4, computed with Simcyp; its log P and pKa: Wang 2019. The lipids of human tissue are Poulin &
    Theil 2002's. Liver and muscle are left out: Simcyp's have other lipids."""
    lipids = {
        "adipose": (0.79, 0.002), "bone": (0.074, 0.0011), "brain": (0.051, 0.0565), "gut": (0.0487, 0.0163),
        "heart": (0.0115, 0.0166), "kidney": (0.0207, 0.0162), "lung": (0.003, 0.009), "spleen": (0.0201, 0.0198),
        "plasma": (0.0035, 0.00225),
    }  # fmt: skip
    body = COMPOSITION | {
        k: COMPOSITION[k]._replace(neutral_lipid=neutral, neutral_phospholipid=phospholipid)
        for k, (neutral, phospholipid) in lipids.items()
    }
    published = {
        "adipose": 9.334, "bone": 7.712, "brain": 7.04, "gut": 5.62, "heart": 1.805, "kidney": 2.725, "lung": 0.728,
        "spleen": 2.757,
    }  # fmt: skip
    kp = partition(_like(MIDAZOLAM, log_p=3.53, pka_base=(6.2,)), "rodgers_rowland", body=body)
    assert {k: kp[k] for k in published} == pytest.approx(published, rel=0.016)


def test_blood_cells_as_a_tissue_hold_of_a_strong_base_what_they_hold_in_blood(monkeypatch):
    """The affinity to acidic phospholipids comes from the blood:plasma ratio, so that it must give it back."""
    base = _like(MIDAZOLAM, log_p=2.15, pka_base=(9.7,), fu=0.879, blood_plasma_ratio=1.13)
    monkeypatch.setattr(module, "PH_CELLS", COMPOSITION["blood_cells"].ph)
    kp = partition(base, "rodgers_rowland", body=COMPOSITION | {"cells": COMPOSITION["blood_cells"]})
    in_blood = 1 + (base.blood_plasma_ratio - 1) / 0.45  # of cells to plasma, by their volume
    assert kp["cells"] == pytest.approx(in_blood, rel=1e-12)


def test_a_strong_base_that_blood_cells_hardly_take_is_bound_by_no_phospholipid():
    base = _like(MIDAZOLAM, log_p=0.0, pka_base=(9.0,), fu=0.9, blood_plasma_ratio=0.56)
    muscle = COMPOSITION["muscle"]
    x, y = 1 + 10**2.0, 1 + 10**1.6
    want = 0.9 * (0.118 + x / y * 0.63 + (muscle.neutral_lipid + muscle.neutral_phospholipid) / y)
    assert partition(base)["muscle"] == pytest.approx(want, rel=1e-12)


def test_an_acid_of_albumin_is_where_albumin_is():
    """Rodgers & Rowland 2006 by hand: acid of pKa 4, log P 1, 99 % bound, in skin."""
    acid = _like(MIDAZOLAM, log_p=1.0, pka_acid=(4.0,), pka_base=(), fu=0.01)
    x, y = 1 + 10**3.0, 1 + 10**3.4
    plasma = (10 * 0.003 + 3.7 * 0.005) / y
    bound = (1 / 0.01 - 1 - plasma) * 0.277
    want = 0.01 * (0.382 + x / y * 0.291 + (10 * 0.036 + 3.7 * 0.0502) / y + bound)
    assert partition(acid)["skin"] == pytest.approx(want, rel=1e-12)


def test_an_ideal_neutral_is_the_sum_of_water_and_lipids():
    """Unbound, with log P 0 (Rodgers & Rowland 2006; vegetable oil:water 10^-1.35 for adipose tissue)."""
    kp = partition(_neutral(log_p=0.0, fu=1.0))
    assert kp["muscle"] == pytest.approx(0.118 + 0.63 + 0.013 + 0.0092)
    oil = 10**-1.35
    assert kp["adipose"] == pytest.approx(0.135 + 0.017 + oil * 0.798 + (0.3 * oil + 0.7) * 0.0478)


def test_what_shuns_lipids_is_in_water_alone():
    """log P -8, unbound: phospholipids count by 0.7 as water."""
    shy = _neutral(log_p=-8.0, fu=1.0)
    for tissue in LEAN:
        t, plasma = COMPOSITION[tissue], COMPOSITION["plasma"]
        of_plasma = (t.water + 0.7 * t.phospholipid) / (plasma.water + 0.7 * plasma.phospholipid)
        want = {
            "rodgers_rowland": t.water + 0.7 * t.neutral_phospholipid,
            "poulin_theil": of_plasma,
            "berezhkovskiy": of_plasma,
            "schmitt": t.water + 0.163 * t.protein,
        }
        assert {m: partition(shy, m)[tissue] for m in METHODS} == pytest.approx(want, rel=1e-6), tissue


def test_schmitt_by_hand():
    """Base of pKa 7.1, half of it charged in adipose tissue (pH 7.1); log P 1."""
    kp = partition(_like(MIDAZOLAM, log_p=1.0, pka_base=(7.1,), fu=0.5), "schmitt")["adipose"]
    lipid, acidic, protein = 10 * 0.5005, 10 * 10.5, 0.163 + 0.221
    want = 0.5 * (0.152 + lipid * 0.798 + 10 * 0.0478 + acidic * 0.0067 + protein * 0.05)
    assert kp == pytest.approx(want, rel=1e-9)


def test_a_zwitterion_counts_as_uncharged_to_schmitts_lipids():
    zwitterion = _like(MIDAZOLAM, pka_acid=(2.0,), pka_base=(12.0,))
    assert partition(zwitterion, "schmitt")["liver"] == pytest.approx(
        partition(_neutral(log_p=3.1, fu=0.032), "schmitt")["liver"], rel=1e-3
    )


def test_a_group_is_half_ionised_at_its_pka():
    assert _like(MIDAZOLAM, pka_base=(7.4,)).ionised(7.4) == pytest.approx(1)
    assert _like(MIDAZOLAM, pka_base=(), pka_acid=(7.4,)).ionised(7.4) == pytest.approx(1)
    assert _neutral().ionised(7.4) == 0


def test_a_second_base_adds_its_double_charge():
    """Rodgers & Rowland 2006: 10^(pKa1 - pH) + 10^(pKa1 + pKa2 - 2 pH)."""
    assert _like(MIDAZOLAM, pka_base=(6.0, 9.0)).ionised(7.0) == pytest.approx(10**2 + 10**1)


def test_an_unknown_method_names_the_known():
    with pytest.raises(ValueError, match="'rodgers' predicts no partition coefficients; write one of rodgers_rowland"):
        partition(MIDAZOLAM, "rodgers")


def _people(**columns) -> dict[str, np.ndarray]:
    return {k: np.atleast_1d(np.asarray(v, float)) for k, v in columns.items()}


@pytest.mark.parametrize("method", METHODS)
def test_reference_plasma_gives_the_compounds_own_figures(method: str):
    made = kp_columns(MIDAZOLAM, method, _people(albumin=BINDING["albumin"], haematocrit=0.45))
    assert made["fu"] == pytest.approx(0.032)
    assert made["blood_plasma_ratio"] == pytest.approx(0.664)
    own = partition(MIDAZOLAM, method)
    assert made["kp_muscle"] == pytest.approx(own["muscle"])
    assert made["kp_stomach"] == pytest.approx(own["gut"])
    assert made["kp_rest"] == pytest.approx(np.mean([own[t] for t in LEAN]))


def test_half_the_albumin_halves_what_is_bound_for_each_unbound():
    made = kp_columns(MIDAZOLAM, "rodgers_rowland", _people(albumin=[44.9, 22.45], haematocrit=[0.45, 0.45]))
    assert (1 / made["fu"][1] - 1) * 2 == pytest.approx(1 / made["fu"][0] - 1)  # McNamara & Alcorn 2002
    assert np.all([made[f"kp_{o}"][1] > made[f"kp_{o}"][0] for o in ORGANS])


def test_an_acid_glycoprotein_binds_what_it_binds():
    base = _like(MIDAZOLAM, binds="aag")
    made = kp_columns(base, "rodgers_rowland", _people(aag=[0.8, 1.6], haematocrit=0.45))
    assert made["fu"] == pytest.approx([0.032, 1 / (1 + 2 * (1 / 0.032 - 1))])


def test_blood_without_cells_is_plasma():
    made = kp_columns(MIDAZOLAM, "schmitt", _people(albumin=[30.0, 50.0], haematocrit=[0.0, 0.0]))
    assert made["blood_plasma_ratio"] == pytest.approx([1, 1])


def test_the_livers_clearance_has_the_unit_it_says():
    x = _people(abundance_CYP3A4=137.0, abundance_CYP3A5=10.0, mppgl=40.0, mass_liver=1.8)
    per_mg = (2.00 * 137 + 5.76 * 10) * factor("uL/min", "L/h")  # L/h per mg of microsomal protein
    both = _like(MIDAZOLAM, clint={"CYP3A4": 2.00, "CYP3A5": 5.76})
    assert clint_liver(both, x) == pytest.approx([per_mg * 40 * 1800])


def test_a_compound_that_no_enzyme_clears_has_no_clearance_by_the_liver():
    assert clint_liver(_like(MIDAZOLAM, clint={}), _people(mppgl=[40.0, 40], mass_liver=[1.8, 1])).tolist() == [0, 0]


def _body() -> Chain:
    made = ("albumin", "haematocrit", "mass_liver", "mppgl", "measured_gfr", "abundance_CYP3A4")
    typical = {"albumin": 44, "haematocrit": 0.43, "mass_liver": 1.7, "mppgl": 38, "measured_gfr": 110}

    @step({name: Column("1", name, "made up") for name in made}, draws=made)
    def body(x, z):
        return {name: typical.get(name, 50) * np.exp(0.1 * z[name]) for name in made}

    return Chain((body, *compound_steps(MIDAZOLAM)))


def _drawn(name: str) -> np.ndarray:
    return np.random.default_rng(sum(name.encode())).standard_normal(500)


def test_a_person_has_the_same_coefficients_in_any_company():
    chain = _body()
    some = chain.people(lambda name: _drawn(name)[7:9])
    everyone = chain.people(_drawn)
    assert set(chain.columns) == set(everyone)
    for name, value in some.items():
        assert np.array_equal(value, everyone[name][7:9]), name
    assert np.std(everyone["kp_muscle"]) > 0


def test_a_chain_without_an_enzyme_says_which_it_lacks():
    with pytest.raises(ValueError, match="abundance_CYP1A2"):
        Chain((*_body().steps, *compound_steps(CAFFEINE)))


def test_kidneys_clear_of_unbound_drug_what_they_filter():
    people = _body().people(_drawn)
    assert people["cl_kidney"] == pytest.approx(people["measured_gfr"] * factor("mL/min", "L/h"))


FILE = """\
name: made up
molar_mass: 300 g/mol
log_p: 2.0
pka_base: [8.1]
fu: 0.2
binds: aag
blood_plasma_ratio: 0.9
clint: {CYP2D6: 1.5 uL/min/pmol}
renal: 1
absorption_rate: 0.02 1/min
fraction_absorbed: 0.9
gut_availability: 1
sources: {molar_mass: a, log_p: a, pka_base: a, fu: a, blood_plasma_ratio: a, clint: a, renal: a, absorption_rate: a,
  fraction_absorbed: a, gut_availability: a}
"""


def test_a_compound_is_read_from_a_file_with_its_units(tmp_path):
    path = tmp_path / "drug.yaml"
    path.write_text(FILE)
    compound = read_compound(path)
    assert (compound.absorption_rate, compound.clint, compound.pka_base) == (
        pytest.approx(1.2),
        {"CYP2D6": 1.5},
        (8.1,),
    )
    assert partition(compound)["lung"] > 0


def test_a_wrong_file_says_all_that_is_wrong(tmp_path):
    path = tmp_path / "drug.yaml"
    text = FILE.replace("300 g/mol", "300").replace("log_p: 2.0", "log_pp: 2.0").replace("fu: 0.2", "fu: 20")
    path.write_text(
        text.replace("renal: 1\n", "").replace("1.5 uL/min/pmol", "1.5 L/h").replace("sources: {", "sources: {x: a,")
    )
    with pytest.raises(CompoundError) as e:
        read_compound(path)
    assert str(e.value).splitlines() == [
        f"{path}:2  molar_mass: found 300; write such as 325.8 g/mol",
        f"{path}:1  log_p: missing; write log10 octanol:water such as 3.1",
        f"{path}:5  fu: found 20; write a number above 0, up to 1",
        f"{path}:8  clint: CYP2D6: found '1.5 L/h'; write such as {{CYP3A4: 2.0 uL/min/pmol}}, or {{}} for none",
        f"{path}:1  renal: missing; write 1 for filtration alone, 0 for none",
        f"{path}:3  log_pp: unknown key; did you mean 'log_p'?",
    ]


def test_a_number_without_a_source_is_refused(tmp_path):
    path = tmp_path / "drug.yaml"
    path.write_text(FILE.replace("fu: a, ", "").replace("clint: a", "clint: ' '"))
    with pytest.raises(CompoundError, match=r"drug.yaml:13  sources: say where fu, clint come from"):
        read_compound(path)


@pytest.mark.parametrize("no_number", [".nan", ".inf", "'2.0'", "yes", "[2.0]"])
def test_what_is_no_number_is_refused(tmp_path, no_number):
    path = tmp_path / "drug.yaml"
    path.write_text(FILE.replace("log_p: 2.0", f"log_p: {no_number}"))
    with pytest.raises(CompoundError, match=r"drug\.yaml:3  log_p: found"):
        read_compound(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [("- 1", r"found \[1\]; write keys such as name"), ("a: [", "not YAML"), (None, "no such file")],
)
def test_what_is_no_compound_file_is_refused(tmp_path, text, says):
    path = tmp_path / "drug.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CompoundError, match=says):
        read_compound(path)


def test_caffeine_has_of_the_liver_of_gaohua_2012_the_clearance_it_came_from():
    """8 L/h of unbound drug, of 1.25 kg with 52 pmol/mg and 40 mg/g."""
    x = _people(abundance_CYP1A2=52.0, mppgl=40.0, mass_liver=1.25)
    assert clint_liver(CAFFEINE, x) == pytest.approx([8.0])
