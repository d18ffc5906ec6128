"""T9: subgroups and multiplicity."""

from cohort.display.table import Absent
from cohort.study import Study


def subgroups(study: Study) -> Absent:
    """The evidence is of whole arms, so there is nothing to shrink."""
    planned = "one comparison is planned" if study.comparison else "no comparison is planned"
    return Absent(
        "T9",
        "Subgroups, shrunk and raw, and multiplicity",
        f"none in the published evidence, which is of whole arms; {planned}, so nothing is adjusted for multiplicity",
    )
