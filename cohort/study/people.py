"""Which columns the people of a study have: those of the source it names, with its conditions and compound."""

from pathlib import Path
from typing import TYPE_CHECKING

from cohort.bounded import inside
from cohort.model import Model
from cohort.population.enzymes import DEFAULT
from cohort.population.sources import Source, source

if TYPE_CHECKING:
    from cohort.study.protocol import Population, Study


def people_of(population: "Population", root: Path) -> Source:
    """The source of a study's people. Errors: ValueError, of a file or condition that it names and that is not one."""
    compound = population.compound
    return source(
        population.source,
        conditions=tuple(population.conditions),
        compound=inside(compound, root) if compound and compound.endswith(".yaml") else compound,
        people=population.people and inside(population.people, root),
        abundances=population.abundances or DEFAULT,
    )


def source_of(study: "Study") -> Source:
    return people_of(study.population, study.root)


def unit_of(people: Source, model: Model, column: str) -> str:
    """The unit of a column of the people of a study with this model, "1" of categories."""
    if column in people.columns:
        return people.columns[column].unit
    meta = model.covariates.fields()[column]
    return "1" if meta["levels"] else meta["unit"]
