"""A study's result folder: where each step leaves its work, and how a notebook opens it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.comparison import Learnt, registered_path
from cohort.library import load
from cohort.record import Audit, canonical, digest, file_digest, source_digest
from cohort.store import room, sweep, write_text
from cohort.study import Study, fingerprint, planned, read_study

if TYPE_CHECKING:
    import xarray as xr


class ResultsError(RuntimeError):
    """A step whose input is not there, or was made from something else; the message says which command makes it."""


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
    def matching_file(self) -> Path:
        return self.folder / "matching.json"

    @cached_property
    def calibrated(self) -> "Results":
        """Whose calibration this study's parameters come from: its own, or that of the study it names."""
        if self.study.parameters_from is None:
            return self
        owner = read_study(self.study.path.parent / f"{self.study.parameters_from}.yaml")
        return Results(owner, owner.results)

    @property
    def posterior_file(self) -> Path:
        return self.calibrated.folder / "posterior.nc"

    @property
    def parameters_file(self) -> Path:
        return self.folder / "parameters.parquet"

    def arm_file(self, arm: str) -> Path:
        return self.folder / "arms" / f"{arm}.parquet"

    @property
    def trial_file(self) -> Path:
        return self.folder / "trial.parquet"

    @property
    def trial_folder(self) -> Path:
        """Tidy tables of a study that declares how its trial is conducted: subjects, measurements, events."""
        return self.folder / "trial"

    @property
    def comparison_file(self) -> Path:
        return self.folder / "comparison.nc"

    def chapter_file(self, chapter: str) -> Path:
        return self.folder / "chapters" / f"{chapter}.json"

    @property
    def chapters(self) -> dict[str, dict[str, Any]]:
        """What the study's chapters say, by name."""
        files = {name: self.there(self.chapter_file(name), "chapters") for name in self.study.chapters}
        return {name: json.loads(file.read_text()) for name, file in files.items()}

    @property
    def sensitivity_file(self) -> Path:
        return self.folder / "sensitivity.json"

    @property
    def report_file(self) -> Path:
        return self.folder / "report.html"

    @cached_property
    def population(self) -> pl.DataFrame:
        return pl.read_parquet(self.there(self.population_file, "population"), glob=False)

    @property
    def enrolled(self) -> pl.DataFrame:
        """Of the population, the columns that simulation reads: there may be a million people of a hundred columns."""
        from cohort.enrolment import columns_read

        return pl.read_parquet(
            self.there(self.population_file, "population"), columns=["subject", *columns_read(self.study)], glob=False
        )

    @cached_property
    def attrition(self) -> dict[str, Any]:
        return json.loads(self.there(self.attrition_file, "population").read_text())

    @cached_property
    def matching(self) -> dict[str, Any] | None:
        """How the people were matched to a published baseline table; None where the study names none."""
        if self.study.population.match is None:
            return None
        return json.loads(self.there(self.matching_file, "population").read_text())

    @cached_property
    def posterior(self) -> "xr.DataTree | None":
        """None for a study that neither calibrates nor names another's calibration."""
        if self.study.calibration is None and self.study.parameters_from is None:
            return None
        import xarray as xr

        owner = self.calibrated
        return xr.open_datatree(owner.there(owner.posterior_file, "calibrate")).load()

    @cached_property
    def parameters(self) -> pl.DataFrame:
        return pl.read_parquet(self.there(self.parameters_file, "simulate"), glob=False)

    @cached_property
    def visits(self) -> pl.DataFrame:
        """A row per draw, arm, subject and visit."""
        return pl.concat([self.visits_of(arm) for arm in self.study.arms])

    def visits_of(self, arm: str) -> pl.DataFrame:
        """The same of one arm."""
        return pl.read_parquet(self.there(self.arm_file(arm), "simulate"), glob=False)

    @cached_property
    def trial(self) -> pl.DataFrame:
        return pl.read_parquet(self.there(self.trial_file, "trial"), glob=False)

    @cached_property
    def comparison(self) -> "xr.DataTree":
        import xarray as xr

        return xr.open_datatree(self.there(self.comparison_file, "compare")).load()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The tables of the comparison."""
        return json.loads(self.comparison.attrs["summary"])

    @cached_property
    def taught_by(self) -> "dict[str, Results]":
        """The studies whose trials teach this one how far the model errs, by name."""
        plan = self.study.comparison
        names = plan.discrepancy_from if plan else []
        return {name: open_results(self.study.path.parent / f"{name}.yaml") for name in names}

    @property
    def learnt(self) -> dict[str, Learnt]:
        """What they found. Errors: ResultsError where one has not been compared yet."""
        return {
            name: Learnt(
                other.summary,
                str(other.comparison_file.relative_to(self.study.root)),
                file_digest(other.comparison_file),
            )
            for name, other in self.taught_by.items()
        }

    @cached_property
    def calibration(self) -> dict[str, Any] | None:
        """The tables of the calibration this study rests on, its own or another's."""
        return None if self.posterior is None else json.loads(self.posterior.attrs["summary"])

    @cached_property
    def sensitivity(self) -> dict[str, Any] | None:
        """The calibration under other assumptions; None where `cohort sensitivity` has not been run on it."""
        if not self.sensitivity_file.is_file() or self._changed("sensitivity") != []:
            return None
        return json.loads(self.sensitivity_file.read_text())

    def basis(self, step: str) -> dict[str, Any]:
        """What a step's output rests on: study, model, and whichever files it reads; the posterior on itself, so that
        another in its place is noticed."""
        study = self.study
        rests: dict[str, Any] = {
            "study": fingerprint(study),
            "model": digest(load(study.model, study.path.parent).text),
        }
        if study.population.files:
            rests["people"] = {f.as_posix(): file_digest(study.root / f) for f in study.population.files}
        if step in ("calibrate", "compare"):
            uses = {use.file: use.use for use in study.evidence.values()}
            read = [f for f, use in uses.items() if step == "compare" or use == "calibration"]
            rests["evidence"] = {f.as_posix(): file_digest(study.root / f) for f in read}
        if step == "chapters":
            rests["chapters"] = digest(study.chapters)
        if step in ("calibrate", "simulate", "trial", "compare", "sensitivity", "export", "chapters"):
            rests["posterior"] = file_digest(self.posterior_file) if self.posterior_file.is_file() else None
        if step == "compare":
            registered = registered_path(study)
            rests["registered"] = file_digest(registered) if registered.is_file() else None
        if step == "compare" and study.comparison is not None:
            rests["comparison plan"] = planned(study)
            files = {name: other.comparison_file for name, other in self.taught_by.items()}
            rests["learnt"] = {n: file_digest(f) if f.is_file() else None for n, f in files.items()}
        return rests

    def _stamp_file(self, step: str) -> Path:
        return self.folder / "made" / f"{step}.json"

    def _stamp(self, step: str) -> dict[str, Any] | None:
        file = self._stamp_file(step)
        return json.loads(file.read_text()) if file.is_file() else None

    def _changed(self, step: str) -> list[str] | None:
        """What has changed of what a step rested on; None where nothing says what that was."""
        then, now = self._stamp(step), self.basis(step)
        return None if then is None else [key for key in now if then.get(key) != now[key]]

    def begin(self, step: str) -> None:
        """What a step left before is undone from here on: killed half-way, it leaves nothing that a later one takes."""
        with room(self.folder):
            self._stamp_file(step).unlink(missing_ok=True)
            sweep(self.folder)

    def stamp(self, step: str) -> None:
        """Write down what a step that is done rests on, so that a later one can tell whether it still holds; and which
        code did it, which the record tells and no step asks for."""
        write_text(self._stamp_file(step), canonical({**self.basis(step), "code": source_digest()}))

    def there(self, path: Path, verb: str) -> Path:
        """A file that the step `verb` left, if it still rests on what is there. Errors: ResultsError."""
        command = f"run: cohort {verb} {self.study.path}"
        if not path.is_file():
            raise ResultsError(f"{path} is not there yet; {command}")
        changed = self._changed(verb)
        if changed is None:
            raise ResultsError(f"nothing says what {path} was made from; {command}")
        if changed:
            raise ResultsError(f"{path} was made from another {' and '.join(changed)}; {command}")
        return path


def open_results(study: str | Path | Study) -> Results:
    """Open the results of a study, named by its file or by its name in config/studies/."""
    if isinstance(study, Study):
        return Results(study, study.results)
    path = Path(study)
    read = read_study(path if path.suffix == ".yaml" else Path("config/studies") / f"{study}.yaml")
    return Results(read, read.results)
