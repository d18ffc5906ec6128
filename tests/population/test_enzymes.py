"""Enzymes of the liver are as abundant, as variable and as correlated as was published.

References
----------
[1] Achour, Barber & Rostami-Hodjegan 2014, Drug Metab Dispos 42:1349: rank correlations.
[2] Barter et al. 2008, Drug Metab Dispos 36:2405: 40 (37-43) mg/g at 28 y, 29 (27-32) at 65 y.
[3] Wilson et al. 2003, Br J Clin Pharmacol 56:433: 33 (26-54) mg/g, n = 20; 107 (65-185) 1e6/g, n = 7.
[4] Salem 2014, Upreti 2016, Cheung 2019: ontogeny.
"""

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from cohort.population import genes
from cohort.population.causal import Chain, Column, Columns, step
from cohort.population.enzymes import (
    CORRELATIONS,
    DEFAULT,
    ONTOGENY,
    SETS,
    STEPS,
    abundance_steps,
    liver_scaling,
    ontogeny,
)

DATA = Path(os.environ.get("COHORT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "population"
SIGMOIDS = DATA / "ontogeny_sigmoid_parameters.csv"
N = 400_000
EUR = genes.ANCESTRIES.index("EUR")


@step({name: Column("1", name, "given") for name in ("sex", "age", "genetic_ancestry", "smoking")})
def person(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
    raise AssertionError("given")


def _people(set_name: str = DEFAULT, n: int = N, **given: np.ndarray | float) -> dict[str, np.ndarray]:
    """Europeans of 40 y who do not smoke, half of them women, but for what is given."""
    people = {"sex": np.arange(n) % 2, "age": 40.0, "genetic_ancestry": EUR, "smoking": 0} | given
    columns = {name: np.broadcast_to(value, n) for name, value in people.items()}
    rng = np.random.default_rng(5)
    chain = Chain((person, *genes.STEPS, *abundance_steps(set_name)), CORRELATIONS)
    return chain.people(lambda name: rng.standard_normal(n), columns)


@pytest.mark.parametrize("set_name", SETS)
def test_europeans_have_the_mean_and_variation_of_the_set(set_name: str) -> None:
    people = _people(set_name)
    for enzyme, (mean, cv) in SETS[set_name].enzymes.items():
        amount = people[f"abundance_{enzyme}"]
        if enzyme == "CYP3A5":  # published of carriers of *1
            amount = amount[people["CYP3A5_phenotype"] > 0]
        error = 4 * cv / np.sqrt(len(amount))
        assert amount.mean() == pytest.approx(mean, rel=error), enzyme
        assert amount.std() / amount.mean() == pytest.approx(cv, rel=0.05), enzyme


def test_enzymes_are_correlated_as_in_livers() -> None:
    people = _people()
    alike = (people["sex"] == 0) & (people["CYP2C9"] == 0)  # what is not of the enzymes themselves held the same
    amount = {e: people[f"abundance_{e}"] for e in ("CYP3A4", "CYP3A5", "CYP2C8", "CYP2C9")}
    carriers = alike & (people["CYP3A5_phenotype"] == 1)
    assert spearmanr(amount["CYP3A4"][carriers], amount["CYP3A5"][carriers])[0] == pytest.approx(0.70, abs=0.01)  # [1]
    for a, b, rho in (("CYP3A4", "CYP2C8", 0.68), ("CYP3A4", "CYP2C9", 0.55), ("CYP2C8", "CYP2C9", 0.55)):
        assert spearmanr(amount[a][alike], amount[b][alike])[0] == pytest.approx(rho, abs=0.01)  # [1]
    assert spearmanr(people["abundance_CYP1A2"], amount["CYP3A4"])[0] == pytest.approx(0, abs=0.01)


def test_the_correlations_are_those_of_some_population() -> None:
    names = sorted({name for pair in CORRELATIONS for name in pair})
    r = np.eye(len(names))
    for (a, b), value in CORRELATIONS.items():
        i, j = names.index(a), names.index(b)
        r[i, j] = r[j, i] = value
    assert np.linalg.eigvalsh(r).min() > 0.1


def test_cyp3a5_is_only_in_carriers_of_the_first_allele() -> None:
    people = _people()
    expressed = people["abundance_CYP3A5"] > 0
    np.testing.assert_array_equal(expressed, people["CYP3A5_phenotype"] > 0)
    assert expressed.mean() == pytest.approx(0.10, abs=0.01)
    assert (_people(genetic_ancestry=0)["abundance_CYP3A5"] > 0).mean() == pytest.approx(0.80, abs=0.02)  # Africans


def test_poor_metabolisers_have_no_cyp2d6_and_ultrarapid_ones_more() -> None:
    people = _people()
    of = {
        p: people["abundance_CYP2D6"][people["CYP2D6_phenotype"] == i] for i, p in enumerate(("PM", "IM", "NM", "UM"))
    }
    assert of["PM"].max() == 0
    assert 0 < of["IM"].mean() < 0.6 * of["NM"].mean()
    assert of["UM"].mean() > 1.4 * of["NM"].mean()


def test_smoking_induces_cyp1a2_and_women_have_more_cyp3a4() -> None:
    never, former, current = (_people(smoking=level) for level in range(3))
    np.testing.assert_allclose(current["abundance_CYP1A2"], 1.55 * never["abundance_CYP1A2"])
    np.testing.assert_array_equal(former["abundance_CYP1A2"], never["abundance_CYP1A2"])
    np.testing.assert_array_equal(current["abundance_CYP3A4"], never["abundance_CYP3A4"])
    men, women = (_people(sex=np.full(N, sex)) for sex in range(2))
    np.testing.assert_allclose(women["abundance_CYP3A4"], 1.2 * men["abundance_CYP3A4"])


def test_children_grow_into_their_enzymes() -> None:
    assert ontogeny("CYP3A4", np.array([0.0, 0.64]))[:2] == pytest.approx([0.11, (0.11 + 1.06) / 2])  # [4]
    assert ontogeny("CYP2D6", np.array([0.0, 0.1])) == pytest.approx([0.036, (0.036 + 1) / 2])
    assert ontogeny("CYP2E1", np.array([0.0]))[0] == 0
    newborn, grown = _people(n=1000, age=0.0), _people(n=1000, age=40.0)
    np.testing.assert_allclose(newborn["abundance_CYP3A4"], 0.11 * grown["abundance_CYP3A4"])


@pytest.mark.parametrize("enzyme", ONTOGENY)
def test_adults_have_adult_enzymes(enzyme: str) -> None:
    fmax, fbirth, half, _, cap = ONTOGENY[enzyme]
    assert np.all(ontogeny(enzyme, np.array([cap, 30.0, 90.0])) == 1)
    assert ontogeny(enzyme, np.array([0.0]))[0] == fbirth
    assert half == 0 or ontogeny(enzyme, np.array([half]))[0] == pytest.approx((fbirth + fmax) / 2)


@pytest.mark.skipif(not SIGMOIDS.exists(), reason="shared data absent: set COHORT_DATA")
def test_ontogeny_is_the_published_table() -> None:
    with SIGMOIDS.open() as file:
        published = {
            row["protein"]: tuple(float(row[c]) for c in ("fmax", "fbirth", "age50_years", "hill_n", "age_cap_years"))
            for row in csv.DictReader(file)
            if row["location"] == "hepatic"
        }
    assert dict(ONTOGENY) == {enzyme: published[enzyme] for enzyme in ONTOGENY}


def test_a_gram_of_liver_holds_the_protein_and_the_cells_of_its_age() -> None:
    zero = {"mppgl": np.zeros(4), "hpgl": np.zeros(4)}
    typical = liver_scaling.run({"age": np.array([28.0, 65.0, 80.0, 90.0])}, zero)
    young, old, *oldest = typical["mppgl"]
    assert 37 < young < 43  # [2]
    assert 27 < old < 32  # [2]
    assert oldest[0] == oldest[1] < old  # no cubic that turns up again
    assert liver_scaling.run({"age": np.full(4, 40.0)}, zero)["hpgl"][0] == pytest.approx(107, rel=0.05)  # [3]
    rng = np.random.default_rng(2)
    z = {name: rng.standard_normal(20_000) for name in liver_scaling.draws}
    people = liver_scaling.run({"age": np.full(20_000, 40.0)}, z)
    ranges = (
        np.ptp(np.log(people["mppgl"]).reshape(-1, 20), axis=1),
        np.ptp(np.log(people["hpgl"][:7000]).reshape(-1, 7), axis=1),
    )
    assert [r.mean() for r in ranges] == pytest.approx([np.log(54 / 26), np.log(185 / 65)], rel=0.03)  # [3]


def test_sets_are_not_mixed() -> None:
    for name in SETS:
        made = {c for s in abundance_steps(name) for c in s.makes if c.startswith("abundance_")}
        assert made == {f"abundance_{enzyme}" for enzyme in SETS[name].enzymes}
        sources = [s.makes[c].source for s in abundance_steps(name) for c in s.makes if c in made]
        assert all(source.startswith(SETS[name].source) for source in sources)
    assert [s.name for s in STEPS] == [s.name for s in abundance_steps(DEFAULT)]


def test_a_set_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'simcyp' is not a set.*simcyp2004, lcms"):
        abundance_steps("simcyp")
    with pytest.raises(ValueError, match="no ontogeny of 'CYP9'"):
        ontogeny("CYP9", np.zeros(1))


def test_a_person_is_the_same_alone_and_in_a_block() -> None:
    ages = np.linspace(0, 60, 50)
    block = {"age": ages, "sex": np.arange(50) % 2, "smoking": np.arange(50) % 3}
    z = np.random.default_rng(4).standard_normal(50)
    for s in (s for s in STEPS if set(s.needs) <= set(block) and len(s.draws) == 1):
        whole = s.run({c: block[c] for c in s.needs}, {s.draws[0]: z})
        for i in (0, 9, 49):
            alone = s.run({c: block[c][i : i + 1] for c in s.needs}, {s.draws[0]: z[i : i + 1]})
            assert all(alone[c][0] == whole[c][i] for c in s.makes)
