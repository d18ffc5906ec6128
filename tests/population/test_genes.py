"""Genotypes follow Hardy-Weinberg, and what they mean follows CPIC.

References
----------
[1] CPIC diplotype tables (CC0): the examples.
[2] pypgx, Supplementary Table 4: phenotypes of the 1000 Genomes Project, 347 to 661 people of each superpopulation.
[3] PMC9318053 Table 3: CYP2C19 of 1 689 246 Europeans and 184 Japanese.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from cohort.population.genes import ANCESTRIES, GENES, STEPS, activity

DATA = Path(os.environ.get("COHORT_DATA", Path(__file__).parents[3] / "shared" / "data")) / "population"
THOUSAND_GENOMES = DATA / "pgx_phenotype_frequencies_1kgp.csv"

TOLERANCE = 0.06  # largest difference of a share: two to three standard errors of 500 people
# Of rs2231142 gnomAD has about twice the heterozygotes of that table, whose own shares depart from Hardy-Weinberg.
OUTSIDE = {("ABCG2", "AMR"), ("ABCG2", "EAS"), ("ABCG2", "EUR")}


def _drawn(gene: str, ancestry: np.ndarray, seed: int = 1) -> dict[str, np.ndarray]:
    genotype = next(s for s in STEPS if gene in s.makes)
    rng = np.random.default_rng(seed)
    z = {name: rng.standard_normal(len(ancestry)) for name in genotype.draws}
    return dict(genotype.run({"genetic_ancestry": ancestry}, z))


@pytest.mark.parametrize("gene", GENES)
def test_alleles_of_every_ancestry_sum_to_one(gene: str) -> None:
    frequency = GENES[gene].frequency
    assert frequency.min() >= 0
    np.testing.assert_allclose(frequency.sum(axis=1), 1)
    assert np.all(frequency[:, 0] > 0)  # the reference is what is left


@pytest.mark.parametrize("gene", GENES)
def test_diplotypes_are_in_hardy_weinberg_proportions(gene: str) -> None:
    n = 100_000
    for a, ancestry in enumerate(ANCESTRIES):
        people = _drawn(gene, np.full(n, a))
        expected = n * GENES[gene].shares(ancestry)
        counts = np.bincount(people[gene], minlength=len(expected)).astype(float)
        common = expected >= 5
        assert counts[expected == 0].sum() == 0
        observed = np.append(counts[common], counts[~common].sum())
        expected = np.append(expected[common], expected[~common].sum())
        assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 0.001, ancestry


@pytest.mark.parametrize(
    ("gene", "diplotype", "score", "phenotype"),
    [
        ("CYP2D6", "*1/*1", 2, "NM"),
        ("CYP2D6", "*1/*4", 1, "IM"),
        ("CYP2D6", "*2/*1xN", 3, "UM"),
        ("CYP2D6", "*10/*10", 0.5, "IM"),
        ("CYP2D6", "*1/*41", 1.25, "NM"),
        ("CYP2D6", "*4/*10", 0.25, "IM"),
        ("CYP2D6", "*4/*5", 0, "PM"),
        ("CYP2D6", "*4/*2xN", 2, "NM"),
        ("CYP2D6", "*10/*1xN", 2.25, "NM"),
        ("CYP2D6", "*36+*10/*41", 0.5, "IM"),
        ("CYP2C19", "*1/*1", None, "NM"),
        ("CYP2C19", "*1/*17", None, "RM"),
        ("CYP2C19", "*17/*17", None, "UM"),
        ("CYP2C19", "*2/*17", None, "IM"),
        ("CYP2C19", "*1/*2", None, "IM"),
        ("CYP2C19", "*2/*3", None, "PM"),
        ("CYP2C9", "*1/*2", 1.5, "IM"),
        ("CYP2C9", "*2/*2", 1, "IM"),
        ("CYP2C9", "*2/*3", 0.5, "PM"),
        ("CYP2C9", "*3/*3", 0, "PM"),
        ("CYP3A5", "*1/*1", None, "NM"),
        ("CYP3A5", "*1/*3", None, "IM"),
        ("CYP3A5", "*6/*7", None, "PM"),
        ("SLCO1B1", "*5/*5", None, "poor"),
        ("SLCO1B1", "*5/*15", None, "poor"),
        ("SLCO1B1", "*1/*15", None, "decreased"),
        ("SLCO1B1", "*14/*15", None, "decreased"),
        ("SLCO1B1", "*1/*14", None, "normal"),
        ("SLCO1B1", "*14/*20", None, "increased"),
        ("ABCG2", "CA", None, "decreased"),
        ("ABCG2", "AA", None, "poor"),
        ("UGT1A1", "*28/*28", None, "PM"),
        ("UGT1A1", "*28/*6", None, "PM"),
        ("UGT1A1", "*28/*36", None, "IM"),
        ("UGT1A1", "*1/*36", None, "NM"),
        ("VKORC1", "GG", None, "normal sensitivity"),
        ("VKORC1", "GA", None, "intermediate sensitivity"),
        ("VKORC1", "AA", None, "high sensitivity"),
    ],
)
def test_a_diplotype_means_what_cpic_says(gene: str, diplotype: str, score: float | None, phenotype: str) -> None:
    it = GENES[gene]
    d = it.diplotypes.index(diplotype)
    assert it.phenotypes[it.phenotype[d]] == phenotype  # [1]
    assert np.isnan(it.score[d]) if score is None else it.score[d] == score


def test_columns_of_a_person_tell_the_same() -> None:
    people = _drawn("CYP2D6", np.arange(5).repeat(2000))
    it = GENES["CYP2D6"]
    np.testing.assert_array_equal(people["CYP2D6_phenotype"], it.phenotype[people["CYP2D6"]])
    np.testing.assert_array_equal(people["CYP2D6_score"], it.score[people["CYP2D6"]])
    assert set(_drawn("CYP2C19", np.zeros(1, dtype=int))) == {"CYP2C19", "CYP2C19_phenotype"}  # no score


def test_it_does_not_matter_which_parent_gave_an_allele() -> None:
    genotype = STEPS[0]
    ancestry, rng = np.arange(5).repeat(500), np.random.default_rng(3)
    one, two = rng.standard_normal((2, len(ancestry)))
    first, second = genotype.draws
    ab = genotype.run({"genetic_ancestry": ancestry}, {first: one, second: two})
    ba = genotype.run({"genetic_ancestry": ancestry}, {first: two, second: one})
    np.testing.assert_array_equal(ab["CYP2D6"], ba["CYP2D6"])
    alone = genotype.run({"genetic_ancestry": ancestry[7:8]}, {first: one[7:8], second: two[7:8]})
    assert alone["CYP2D6"][0] == ab["CYP2D6"][7]


@pytest.mark.skipif(not THOUSAND_GENOMES.exists(), reason="shared data absent: set COHORT_DATA")
def test_phenotypes_are_as_common_as_in_the_thousand_genomes() -> None:
    classes = {"poor": "PM", "intermediate_or_decreased": "IM", "normal": "NM", "rapid_or_increased": "RM"}
    same = {"poor": "PM", "decreased": "IM", "normal": "NM", "increased": "NM"}
    outside = set()
    with THOUSAND_GENOMES.open() as file:
        rows = [row for row in csv.DictReader(file) if row["gene"] in GENES]
    for row in rows:
        it = GENES[row["gene"]]
        published = {ours: float(row[theirs]) for theirs, ours in classes.items()} | {"UM": float(row["ultrarapid"])}
        if it.name == "SLCO1B1":  # there *1/*14 counts as possibly increased: compared as normal or better
            published["NM"] += published.pop("RM")
        known = 1 - float(row["indeterminate"])
        shares = dict.fromkeys(published, 0.0)
        for phenotype, share in zip(it.phenotypes, it.phenotype_shares(row["superpopulation"]), strict=True):
            shares[same.get(phenotype, phenotype)] += share
        if max(abs(shares[p] - published[p] / known) for p in published) > TOLERANCE:
            outside.add((it.name, row["superpopulation"]))
    assert len(rows) == 35
    assert outside == OUTSIDE


def test_cyp2c19_is_as_in_larger_samples() -> None:
    it = GENES["CYP2C19"]
    europeans = dict(zip(it.phenotypes, it.phenotype_shares("EUR"), strict=True))
    for phenotype, share in {"PM": 0.021, "IM": 0.248, "NM": 0.406, "RM": 0.276, "UM": 0.047}.items():
        assert europeans[phenotype] == pytest.approx(share, abs=0.005)  # [3]
    asians = dict(zip(it.phenotypes, it.phenotype_shares("EAS"), strict=True))
    for phenotype, share in {"IM": 0.44, "NM": 0.321, "UM": 0.0}.items():
        assert asians[phenotype] == pytest.approx(share, abs=0.06)  # [3]


def test_activity_runs_from_none_to_above_normal() -> None:
    assert [activity("CYP2D6", p) for p in ("PM", "NM")] == [0, 1]
    for gene in ("CYP2D6", "CYP2C19", "CYP2C9", "CYP3A5", "UGT1A1"):
        assert sorted(rising := [activity(gene, p) for p in GENES[gene].phenotypes]) == rising


@pytest.mark.parametrize(
    ("gene", "phenotype", "named"),
    [("CYP2D6", "RM", "PM, IM, NM, UM"), ("CYP2D6", "poor", "PM, IM, NM, UM"), ("CYP2D7", "PM", "CYP2D6, CYP2C19")],
)
def test_an_activity_that_is_not_known_is_refused(gene: str, phenotype: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        activity(gene, phenotype)
