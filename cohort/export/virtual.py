"""One virtual trial of a study, as its tables: what every data set is made of.

A trial is one parameter draw, in which each person is in one arm. At the posterior mean everybody goes through every
arm: no trial, and never exported.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort import units
from cohort.cdisc.dataset import EPOCH
from cohort.engine.subjects import individuals
from cohort.enrolment import covariates_of
from cohort.library import load
from cohort.model import Model
from cohort.streams import streams
from cohort.study import Study, setting_text
from cohort.trial import MEAN, declares, lost_after
from cohort.trial.conduct import Patients
from cohort.trial.leaving import HAZARD
from cohort.trial.tables import tables_of_arm
from cohort.trial.visits import World, measure
from cohort.units import Quantity

if TYPE_CHECKING:
    from cohort.results import Results

FIRST, LAST = date(1582, 10, 15), date(9000, 12, 31)  # a SAS date lies between
PERSON = ("age", "sex", "ancestry", "height", "weight", "bmi")
TABLES = ("subjects", "measurements", "intercurrent", "adverse_events", "time_to_event")


class ExportError(ValueError):
    """A virtual trial that cannot be exported; the message says what to change."""


@dataclass(frozen=True, eq=False)
class VirtualTrial:
    """One draw's trial.

    tables: those of TABLES, as `cohort.trial.tables` makes them, of this draw. analysed: what the comparison receives
    of it, a row per arm and subject. people: its subjects as the population has them. start: when enrolment starts, a
    date that only stands for one.
    """

    study: Study
    model: Model
    draw: int
    people: pl.DataFrame
    tables: dict[str, pl.DataFrame]
    analysed: pl.DataFrame
    start: date = EPOCH

    @cached_property
    def concentrations(self) -> tuple[str, ...]:
        """The outputs that are concentrations of a drug: amounts per volume, and nought in everyone before a dose."""
        return tuple(
            name
            for name, values in self._before_treatment.items()
            if (in_mass(self.unit(name)) or in_moles(self.unit(name))) and not np.any(values)
        )

    @cached_property
    def treated(self) -> pl.DataFrame:
        """The people with the covariates that their arm sets in place of their own."""
        made, covariates, subjects = self.people, self.model.covariates.fields(), self.tables["subjects"]
        for arm, plan in self.study.arms.items():
            here = pl.col("subject").is_in(subjects.filter(pl.col("arm") == arm)["subject"].implode())
            for name, value in plan.sets.items():
                unit, levels = covariates[name]["unit"], covariates[name]["levels"]
                number = isinstance(value, Quantity) and not levels
                said = pl.lit(value.to(unit) if number else setting_text(value))  # type: ignore[union-attr]
                own = pl.col(name) if name in made.columns else pl.lit(None)
                made = made.with_columns(pl.when(here).then(said).otherwise(own).alias(name))
        return made

    @cached_property
    def individuals(self) -> Any:
        """Parameters of people without random effects, at the model's typical values; (n,) each."""
        none = dict.fromkeys(self.model.effects(), 0.0)
        x = covariates_of(self.model, self.treated)
        return individuals(self.model, self.model.typical(), none, x, self.people.height)

    @cached_property
    def _before_treatment(self) -> dict[str, np.ndarray]:
        p = self.individuals
        seen = self.model.observe(0.0, self.model.initial(p), p)
        return {name: np.asarray(value) for name, value in vars(seen).items()}

    def enters(self, route: str, output: str) -> bool:
        """Whether a dose by this route is in this output at once, with no absorption between."""
        p, state = self.individuals, self.model.routes[route].state
        before = self.model.initial(p)
        after = before.replace(**{state: getattr(before, state) + 1.0})
        return bool(np.any(np.asarray(getattr(self.model.observe(0.0, after, p), output)) != 0))

    def unit(self, name: str) -> str:
        """The unit of an output, or of an endpoint of the model."""
        outputs = self.model.outputs.fields()
        return outputs[name]["unit"] if name in outputs else self.model.endpoints[name].unit

    def about(self, name: str) -> str:
        """The meaning of an output, or of an endpoint of the model."""
        outputs = self.model.outputs.fields()
        return outputs[name]["about"] if name in outputs else self.model.endpoints[name].about


def in_mass(unit: str) -> float | None:
    """What a concentration in this unit is multiplied by to be in mg/L; None where it is not of mass."""
    return _factor(unit, "mg/L")


def in_moles(unit: str) -> float | None:
    """The same in nmol/L, of a concentration in moles."""
    return _factor(unit, "nmol/L")


def _factor(unit: str, target: str) -> float | None:
    try:
        return units.factor(unit, target)
    except ValueError:
        return None


def virtual_trial(results: "Results", draw: int | None = None, start: date = EPOCH) -> VirtualTrial:
    """The trial of one draw, the first one if left out, from a study's results. Errors: ExportError for a draw that
    there is no trial of; ResultsError where a step has not been run."""
    study = results.study
    analysis = pl.scan_parquet(results.there(results.trial_file, "trial"), glob=False)
    trials = sorted(set(analysis.select(pl.col("draw").unique()).collect()["draw"]) - {MEAN})
    wrong = []
    if draw == MEAN:
        wrong.append("draw 0 is the posterior mean, where everyone goes through every arm: no trial")
    elif draw is not None and draw not in trials:
        wrong.append(f"there is no draw {draw}")
    if wrong:
        raise ExportError(f"{study.path}: {wrong[0]}; write --draw with one of {trials[0]} to {trials[-1]}")
    if not FIRST <= start <= LAST:
        raise ExportError(f"{start} is no date that SAS counts; write one from {FIRST} to {LAST}")
    chosen = trials[0] if draw is None else draw
    model = load(study.model, study.path.parent)
    own = pl.col("draw") == chosen
    if declares(study):
        files = {name: results.trial_folder / f"{name}.parquet" for name in TABLES}
        tables = {
            n: pl.scan_parquet(results.there(f, "trial"), glob=False).filter(own).collect() for n, f in files.items()
        }
    else:
        arms = [results.there(results.arm_file(arm), "simulate") for arm in sorted(study.arms)]
        visits = pl.concat([pl.scan_parquet(file, glob=False).filter(own).collect() for file in arms])
        tables = planned_tables(study, model, visits, results.parameters)
    people = pl.scan_parquet(results.there(results.population_file, "population"), glob=False)
    known = people.collect_schema().names()
    columns = [c for c in dict.fromkeys(("subject", *PERSON, *model.covariates.fields())) if c in known]
    in_trial = tables["subjects"].lazy().select("subject")
    those = people.select(columns).join(in_trial, on="subject", how="semi", maintain_order="left").collect()
    return VirtualTrial(study, model, chosen, those, tables, analysis.filter(own).collect(), start)


def planned_tables(
    study: Study, model: Model, visits: pl.DataFrame, parameters: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """The tables of trials whose study declares nothing of its conduct but the share lost: every visit on its planned
    day, nobody stops treatment, and what is measured and who is lost are those of `analysis_set`.

    visits: as `simulate` returns; parameters: values by draw. There are no adverse events: they have no times.
    """
    days = np.array([visit.to("d") for visit in study.visits])
    made: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    for (draw, arm), rows in visits.sort("draw", "arm", "subject", "time").group_by("draw", "arm", maintain_order=True):
        subjects = rows["subject"].to_list()[:: len(days)]
        n = len(subjects)
        true = {name: rows[name].to_numpy().reshape(n, -1) for name in model.outputs.fields()}
        luck = streams(study.seed, f"measurement {draw}", subjects)
        noise = {name: luck.normal(name, len(days)) for name in true}
        lanes = pl.DataFrame({"draw": pl.Series([draw] * n, dtype=pl.Int32), "subject": subjects, "stratum": [""] * n})
        values = lanes.select("draw").join(parameters, on="draw", how="left", maintain_order="left")
        lost = lost_after(study, subjects, int(str(draw)))
        lost = np.where(lost < days[-1], lost, np.inf)
        never, no_reason = np.full(n, np.inf), np.full(n, "", dtype=object)
        patients = Patients(
            arm=str(arm),
            lanes=lanes,
            at=np.tile(days, (n, 1)),
            attended=np.ones((n, len(days)), dtype=bool),
            calendar=np.full(n, np.nan),
            events={},
            discontinued=never,
            why_discontinued=no_reason,
            withdrew=lost,
            why_withdrew=np.where(np.isfinite(lost), HAZARD, "").astype(object),
            censored=never,
            code=rows["code"].to_numpy()[:: len(days)],
            worlds={"lived": World(true, measure(model, true, noise, values), never)},
        )
        for name, table in tables_of_arm(study, model, patients, []).items():
            if name in made:
                made[name].append(table)
    return {name: pl.concat(parts) for name, parts in made.items()}
