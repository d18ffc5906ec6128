"""`python -m cohort.cli`: the command, where the script beside Python is not on the path."""

from cohort.cli import app

app()
