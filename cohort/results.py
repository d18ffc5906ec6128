"""A study's result folder: where each step leaves its work, and how a notebook opens it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.record import Audit
from cohort.study import Study, read_study

if TYPE_CHECKING:
    import xarray as xr


class ResultsError(RuntimeError):
    """A step whose input is not there yet; the message says which command makes it."""


@dataclass(frozen=True)
class Results:
    """What the steps of one study left in `folder`; each property reads one file."""

    study: Study
    folder: Path

    @property
    def audit(self) -> Audit:
        return Audit(self.folder / "audit.jsonl")

    @property
    def population_file(self) -> Path:
        return self.folder / "population.parquet"

    @property
    def attrition_file(self) -> Path:
        return self.folder / "attrition.json"

    @property
    def posterior_file(self) -> Path:
        """The calibration this study's parameters come from: its own, or that of the study it names."""
        name = self.study.parameters_from or self.study.name
        return self.study.root / "results" / name / "posterior.nc"

    @property
    def parameters_file(self) -> Path:
        return self.folder / "parameters.parquet"

    def arm_file(self, arm: str) -> Path:
        return self.folder / "arms" / f"{arm}.parquet"

    @property
    def trial_file(self) -> Path:
        return self.folder / "trial.parquet"

    @property
    def comparison_file(self) -> Path:
        return self.folder / "comparison.nc"

    @property
    def sensitivity_file(self) -> Path:
        return self.folder / "sensitivity.json"

    @property
    def report_file(self) -> Path:
        return self.folder / "report.html"

    @cached_property
    def population(self) -> pl.DataFrame:
        return pl.read_parquet(self._there(self.population_file, "population"))

    @cached_property
    def attrition(self) -> dict[str, Any]:
        return json.loads(self._there(self.attrition_file, "population").read_text())

    @cached_property
    def posterior(self) -> "xr.DataTree | None":
        """None for a study that neither calibrates nor names another's calibration."""
        if self.study.calibration is None and self.study.parameters_from is None:
            return None
        import xarray as xr

        return xr.open_datatree(self._there(self.posterior_file, "calibrate", self.study.parameters_from)).load()

    @cached_property
    def parameters(self) -> pl.DataFrame:
        return pl.read_parquet(self._there(self.parameters_file, "simulate"))

    @cached_property
    def visits(self) -> pl.DataFrame:
        """A row per draw, arm, subject and visit."""
        return pl.concat([pl.read_parquet(self._there(self.arm_file(arm), "simulate")) for arm in self.study.arms])

    @cached_property
    def trial(self) -> pl.DataFrame:
        return pl.read_parquet(self._there(self.trial_file, "trial"))

    @cached_property
    def comparison(self) -> "xr.DataTree":
        import xarray as xr

        return xr.open_datatree(self._there(self.comparison_file, "compare")).load()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The tables of the comparison."""
        return json.loads(self.comparison.attrs["summary"])

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """The tables of the calibration this study rests on, its own or another's."""
        return None if self.posterior is None else json.loads(self.posterior.attrs["summary"])

    @cached_property
    def sensitivity(self) -> dict[str, Any] | None:
        """The calibration under other assumptions; None where `cohort sensitivity` has not been run."""
        return json.loads(self.sensitivity_file.read_text()) if self.sensitivity_file.is_file() else None

    def _there(self, path: Path, verb: str, study: str | None = None) -> Path:
        if not path.is_file():
            name = f"config/studies/{study}.yaml" if study else str(self.study.path)
            raise ResultsError(f"{path} is not there yet; run: cohort {verb} {name}")
        return path


def open_results(study: str | Path | Study) -> Results:
    """Open the results of a study, named by its file or by its name in config/studies/."""
    if isinstance(study, Study):
        return Results(study, study.results)
    path = Path(study)
    read = read_study(path if path.suffix == ".yaml" else Path("config/studies") / f"{study}.yaml")
    return Results(read, read.results)
