"""The command `cohort`: one short verb per step. Imports are lazy, for a pipeline starts some twenty of these."""

import os

from cohort.record import ONE_THREAD

os.environ.update(ONE_THREAD)  # before NumPy comes; Snakemake would have said otherwise, by the step

from cohort.cli import dossier, export, people, records, runs, signatures, steps
from cohort.cli.app import app

__all__ = ["app", "dossier", "export", "people", "records", "runs", "signatures", "steps"]
