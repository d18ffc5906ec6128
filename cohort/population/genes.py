"""Genotypes of eight pharmacogenes: alleles under Hardy-Weinberg by genetic ancestry, and what a pair of them does.

The two haplotypes of a gene are two latents; cut at the allele frequencies of the person's ancestry they give the
diplotype, and it the activity score and the phenotype by the rules of CPIC. `tables/alleles.csv` holds the function of
each allele [1] and its frequency, with a source in each row; the reference allele takes what the others leave.

References
----------
[1] CPIC allele function and diplotype tables (CC0), as in PharmCAT: activity of CYP2D6 *9, *10 and *41 0.25, of *17 and
    *29 0.5; SLCO1B1 *14 and *20 increased, so that *1/*14 is normal.
[2] Caudle et al. 2020, Clin Transl Sci 13:116: CYP2D6 score 0 poor, 0.25-1 intermediate, 1.25-2.25 normal metaboliser.
[3] Bosma et al. 1995, N Engl J Med 333:1171: the promoter of UGT1A1*28 has 30 % of the normal activity.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from cohort.population.causal import Column, Columns, Step, step

ANCESTRIES = ("AFR", "AMR", "EAS", "EUR", "SAS")  # superpopulations of the 1000 Genomes Project (1KGP)

# Poor, intermediate, normal, rapid, ultrarapid metabolisers (PM to UM); scores below a bound are of that phenotype [2].
SCORED: Mapping[str, Mapping[str, float]] = {
    "CYP2D6": {"PM": 0.25, "IM": 1.25, "NM": 2.5, "UM": np.inf},
    "CYP2C9": {"PM": 1.0, "IM": 2.0, "NM": np.inf},
}
# Without a score: two alleles of lost function, one, none; then none lost and one gained, and two gained [1].
COUNTED: Mapping[str, tuple[str, ...]] = {
    "CYP2C19": ("PM", "IM", "NM", "RM", "UM"),
    "CYP3A5": ("PM", "IM", "NM"),
    "SLCO1B1": ("poor", "decreased", "normal", "normal", "increased"),
    "ABCG2": ("poor", "decreased", "normal"),
    "UGT1A1": ("PM", "IM", "NM", "NM", "NM"),
    "VKORC1": ("high sensitivity", "intermediate sensitivity", "normal sensitivity"),  # to warfarin
}

# Of a normal metaboliser's, whatever the substrate: a default to be replaced by what is known of a drug, unverified but
# for the zeros. CYP3A5: carriers of one *1 and of two alike. UGT1A1 [3], *6 as *28.
_METABOLISER = {"PM": 0.0, "IM": 0.5, "NM": 1.0, "RM": 1.25, "UM": 1.5}
ACTIVITY: Mapping[str, Mapping[str, float]] = {
    "CYP2D6": _METABOLISER,
    "CYP2C19": _METABOLISER,
    "CYP2C9": _METABOLISER,
    "CYP3A5": {"PM": 0.0, "IM": 1.0, "NM": 1.0},
    "UGT1A1": {"PM": 0.3, "IM": 0.65, "NM": 1.0},
}


def activity(gene: str, phenotype: str) -> float:
    """Activity of a phenotype over that of a normal metaboliser, by default (`ACTIVITY`)."""
    if gene not in ACTIVITY:
        raise ValueError(f"{gene!r} has no activity by default; write one of {', '.join(ACTIVITY)}")
    if phenotype not in (known := GENES[gene].phenotypes):
        raise ValueError(f"{phenotype!r} is not a phenotype of {gene}; write one of {', '.join(known)}")
    return ACTIVITY[gene][phenotype]


@dataclass(frozen=True)
class Gene:
    """frequency: (5, alleles), of `ANCESTRIES`, rows sum to 1. value: (alleles,) CPIC activity, NaN without a score."""

    name: str
    alleles: tuple[str, ...]
    function: tuple[str, ...]  # no, decreased, normal, increased
    value: np.ndarray
    frequency: np.ndarray
    source: str

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Alleles of each diplotype, in the order of the table."""
        return tuple(combinations_with_replacement(range(len(self.alleles)), 2))

    @cached_property
    def diplotypes(self) -> tuple[str, ...]:
        slash = "/" if self.alleles[0].startswith("*") else ""  # *1/*2, but GA
        return tuple(f"{self.alleles[i]}{slash}{self.alleles[j]}" for i, j in self.pairs)

    @cached_property
    def index(self) -> np.ndarray:
        """Diplotype of two alleles in either order, (alleles, alleles)."""
        table = np.empty((len(self.alleles),) * 2, dtype=np.intp)
        for d, (i, j) in enumerate(self.pairs):
            table[i, j] = table[j, i] = d
        return table

    @cached_property
    def score(self) -> np.ndarray:
        """Activity score of each diplotype, NaN where the gene has none."""
        return np.array([self.value[i] + self.value[j] for i, j in self.pairs])

    @cached_property
    def phenotypes(self) -> tuple[str, ...]:
        """From the least active to the most."""
        return tuple(dict.fromkeys(SCORED.get(self.name) or COUNTED[self.name]))

    @cached_property
    def phenotype(self) -> np.ndarray:
        """Phenotype of each diplotype, an index of `phenotypes`."""
        if bounds := SCORED.get(self.name):
            return np.searchsorted(list(bounds.values()), self.score, side="right")
        lost = np.array([f in ("no", "decreased") for f in self.function])
        gained = np.array([f == "increased" for f in self.function])
        rank = [2 - lost[i] - lost[j] if lost[i] or lost[j] else 2 + gained[i] + gained[j] for i, j in self.pairs]
        return np.array([self.phenotypes.index(COUNTED[self.name][r]) for r in rank])

    def shares(self, ancestry: str) -> np.ndarray:
        """Expected share of each diplotype under Hardy-Weinberg, (diplotypes,)."""
        p = self.frequency[ANCESTRIES.index(ancestry)]
        return np.array([p[i] * p[j] * (1 + (i != j)) for i, j in self.pairs])

    def phenotype_shares(self, ancestry: str) -> np.ndarray:
        """Expected share of each phenotype under Hardy-Weinberg, (phenotypes,)."""
        return np.bincount(self.phenotype, self.shares(ancestry), len(self.phenotypes))


def _read() -> dict[str, Gene]:
    with (Path(__file__).parent / "tables" / "alleles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    genes = {}
    for name in dict.fromkeys(row["gene"] for row in rows):
        reference, *others = own = [row for row in rows if row["gene"] == name]
        frequency = np.array([[float(row[a]) for row in others] for a in ANCESTRIES])
        genes[name] = Gene(
            name=name,
            alleles=tuple(row["allele"] for row in own),
            function=tuple(row["function"] for row in own),
            value=np.array([float(row["activity"] or "nan") for row in own]),
            frequency=np.column_stack([1 - frequency.sum(axis=1), frequency]),
            source=f"CPIC; allele frequencies: {reference['allele']} {reference['source']}; "
            + "; ".join(dict.fromkeys(row["source"] for row in others)),
        )
    return genes


GENES = _read()


def _genotype(gene: Gene) -> Step:
    name, alleles = gene.name, len(gene.alleles)
    cuts = ndtri(np.minimum(gene.frequency.cumsum(axis=1), 1)[:, :-1]).T.copy()  # (alleles - 1, 5)
    cell = gene.index.ravel()
    makes = {
        name: Column("1", f"diplotype of {name}", gene.source, gene.diplotypes),
        f"{name}_phenotype": Column("1", f"phenotype of {name} by its diplotype", "CPIC", gene.phenotypes),
    }
    if name in SCORED:
        makes[f"{name}_score"] = Column("1", f"activity score of {name}", "CPIC")

    def genotype(x: Columns, z: Columns) -> Mapping[str, np.ndarray]:
        first, second = z[f"{name}_1"], z[f"{name}_2"]
        i, j = (np.zeros(len(first), dtype=np.int8) for _ in range(2))
        for at in cuts:
            cut = at[x["genetic_ancestry"]]
            i += first > cut
            j += second > cut
        diplotype = cell[i.astype(np.intp) * alleles + j]
        out = {name: diplotype, f"{name}_phenotype": gene.phenotype[diplotype]}
        if name in SCORED:
            out[f"{name}_score"] = gene.score[diplotype]
        return out

    genotype.__name__ = name
    return step(makes, needs=("genetic_ancestry",), draws=(f"{name}_1", f"{name}_2"))(genotype)


STEPS = tuple(_genotype(gene) for gene in GENES.values())
