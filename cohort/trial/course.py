"""The course of patients in an arm, solved by the engine: as the arm orders, or with treatment stopped at some time."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from cohort.dosing import events
from cohort.dosing.adherence import expanded
from cohort.dosing.records import Events
from cohort.engine import Numerics, Status, solve
from cohort.engine.problem import decides
from cohort.engine.subjects import individuals
from cohort.enrolment import covariates_of
from cohort.model import Model
from cohort.streams import streams
from cohort.study import Study
from cohort.trial.allocation import TrialError


def numerics(study: Study) -> Numerics:
    return Numerics(**study.numerics.model_dump())


def measured(study: Study, model: Model, subjects: Sequence[str], ordered: Events) -> np.ndarray:
    """A standard normal for the error of each output that a rule sees, (n, decisions, outputs)."""
    deciding = ordered.rows.filter(pl.col("action") == "decide")["course"].to_numpy()
    decisions = int(np.bincount(deciding).max(initial=0))
    own = streams(study.seed, "decisions", subjects)
    return np.stack([own.normal(name, decisions) for name in model.outputs.fields()], axis=-1)


def course(
    study: Study,
    model: Model,
    arm: str,
    table: pl.DataFrame,
    parameters: pl.DataFrame,
    times: np.ndarray,
    stops: np.ndarray | None = None,
    threads: int = 1,
) -> tuple[dict[str, np.ndarray], Status]:
    """Solve the lanes of one arm.

    table: draw, subject and the covariates, a row per lane; parameters: values by draw; times: (visits,) or
    (n, visits), in the model's unit; stops: (n,), in that unit, when each takes no more, never if left out. Doses are
    removed from that time on, those at it among them, and so are the decisions of the arm's rule; an infusion that is
    running is given to its end. Returns each output, (n, visits), and how the solve ended.
    """
    values = table.select("draw").join(parameters, on="draw", how="left", maintain_order="left")
    subjects = table["subject"].to_list()
    effects = streams(study.seed, "effects", subjects)
    z = {name: effects.normal(name)[:, 0] for name in model.effects()}
    typical = {name: values[name].to_numpy().astype(float) for name in model.typical()}
    plan = study.arms[arm]
    p = individuals(model, typical, z, covariates_of(model, table, plan.sets), len(subjects))
    ordered = events(plan, model, subjects, study.seed, study.visits[-1].to(model.time))
    rule = model.rules[plan.rule.name] if plan.rule else None
    noise = measured(study, model, subjects, ordered) if rule else None
    if stops is not None:
        ordered = stopped(ordered, stops)
    outputs, status = solve(model, p, ordered, times, numerics=numerics(study), rule=rule, noise=noise, threads=threads)
    return {name: getattr(outputs, name) for name in model.outputs.fields()}, status


def stopped(ordered: Events, stops: np.ndarray) -> Events:
    """The events without the doses and decisions from each subject's stop on. stops: (n,), infinite for nobody's."""
    ordered = expanded(ordered)
    own = pl.DataFrame({"course": ordered.course, "stop": stops}).with_row_index("subject")
    kept = (
        own.join(ordered.rows.with_row_index("row"), on="course", how="inner")
        .filter((pl.col("time") < pl.col("stop")) | ~pl.col("action").is_in(["dose", "decide"]))
        .sort("subject", "row")
        .with_columns(course=pl.col("subject").cast(pl.Int64))
    )
    rows = kept.select(pl.col(name).cast(kind) for name, kind in ordered.rows.schema.items())
    return Events(np.arange(len(stops)), rows)


def stoppable(study: Study, model: Model) -> None:
    """Errors: TrialError for arms whose treatment removing doses does not stop: their rule sets a rate that runs on."""
    for name, arm in study.arms.items():
        rates = decides(model, model.rules[arm.rule.name])[1] if arm.rule else set()
        if rates:
            raise TrialError(
                f"{study.path}: arms.{name}.rule: {arm.rule.name if arm.rule else ''} sets the rate of "
                f"{', '.join(sorted(rates))}, which runs on when treatment is stopped; "
                "leave out conduct.discontinuation, or use a rule that sets doses"
            )
