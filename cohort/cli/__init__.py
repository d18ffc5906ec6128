"""The command `cohort`: one short verb per step. Imports are lazy, for a pipeline starts some twenty of these."""

from cohort.cli import people, runs, steps
from cohort.cli.app import app

__all__ = ["app", "people", "runs", "steps"]
