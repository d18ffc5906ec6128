"""The command `cohort`: one short verb per step. Imports are lazy, for a pipeline starts some twenty of these."""

from cohort.cli import dossier, export, people, records, runs, signatures, steps
from cohort.cli.app import app

__all__ = ["app", "dossier", "export", "people", "records", "runs", "signatures", "steps"]
