"""The protocol: one YAML file to one frozen, typed object, or every reason why not."""

from cohort.study.checks import CriterionError, criteria_of
from cohort.study.grammar import Criterion, Prior
from cohort.study.people import source_of, unit_of
from cohort.study.protocol import (
    Arm,
    ComparisonPlan,
    Regimen,
    Share,
    Spread,
    Study,
    dose_unit,
    is_mass,
    setting_text,
)
from cohort.study.reader import Problem, StudyError, fingerprint, planned, read_study

__all__ = [
    "Arm",
    "ComparisonPlan",
    "Criterion",
    "CriterionError",
    "Prior",
    "Problem",
    "Regimen",
    "Share",
    "Spread",
    "Study",
    "StudyError",
    "criteria_of",
    "dose_unit",
    "fingerprint",
    "is_mass",
    "planned",
    "read_study",
    "setting_text",
    "source_of",
    "unit_of",
]
