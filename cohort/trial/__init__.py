"""A virtual trial of the real size: who is allocated to which arm, what is measured, who drops out."""

from cohort.trial.allocation import MEAN, TrialError, allocate
from cohort.trial.analysed import analysed
from cohort.trial.analysis import analysis_set, lost_after
from cohort.trial.columns import COLUMNS, write_tables
from cohort.trial.estimand import EstimandError, apply
from cohort.trial.tables import declares, tables

__all__ = [
    "COLUMNS",
    "MEAN",
    "EstimandError",
    "TrialError",
    "allocate",
    "analysed",
    "analysis_set",
    "apply",
    "declares",
    "lost_after",
    "tables",
    "write_tables",
]
