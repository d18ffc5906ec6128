"""The analysis set of trials whose conduct the study declares: each endpoint under its own estimand."""

import numpy as np
import polars as pl

from cohort.model import Model
from cohort.study import Study
from cohort.study.protocol import EndpointPlan, Estimand
from cohort.trial.allocation import MEAN, TrialError
from cohort.trial.analysis import carried_forward, read
from cohort.trial.estimand import apply
from cohort.trial.tables import principal

GROUP = ["draw", "arm", "subject"]


def analysed(study: Study, model: Model, people: pl.DataFrame, made: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The columns of `analysis_set`, from the tables of a trial: one row per draw, arm and subject.

    An endpoint whose estimand is text is read from the visits seen, the missing ones as its `missing` says and the no
    of a yes-or-no endpoint only of who was seen to the end, and its true value is that of the course as lived. One with
    the five attributes has at the last visit what its strategies make of it, null where it would have to be imputed or
    is outside the population; its true value is known. NaN stands for null, as in `analysis_set`; both columns are NaN
    of a patient whose course failed. Errors: TrialError for a principal stratum without a predictor, which a trial with
    one arm per person does not have.
    """
    rows = made["subjects"].select(*GROUP, "code", "completed").sort(GROUP)
    for name, plan in study.endpoints.items():
        if plan.kind != "course":
            continue
        if isinstance(plan.estimand, Estimand):
            own = _estimated(study, model, people, made, name, plan, plan.estimand)
        else:
            own = _read(study, model, made, name, plan)
        rows = rows.join(own, on=GROUP, how="left", maintain_order="left", validate="1:1")
    plans = [n for n, e in study.endpoints.items() if e.kind == "course"]
    floats = [pl.col(c).cast(pl.Float64).fill_null(np.nan) for n in plans for c in (f"{n}_true", n)]
    trials = [pl.when(pl.col("draw") != MEAN).then(pl.col(c)).alias(c) for c in (*plans, "completed")]
    return rows.with_columns(floats).with_columns(trials)


def _estimated(
    study: Study,
    model: Model,
    people: pl.DataFrame,
    made: dict[str, pl.DataFrame],
    name: str,
    plan: EndpointPlan,
    estimand: Estimand,
) -> pl.DataFrame:
    of = {table: made[table].filter(pl.col("parameter") == name) for table in ("measurements", "potential")}
    stratum = principal(study, people, name)
    handled = (estimand.events.discontinuation, estimand.events.rescue)
    if stratum is None and any(h is not None and h.strategy == "principal stratum" for h in handled):
        raise TrialError(
            f"{study.path}: endpoints.{name}.estimand: a trial does not see who belongs to the principal stratum; "
            "add predictor, a criterion on baseline columns, or apply the estimand to the posterior mean's tables"
        )
    unit, failure = model.endpoints[name].unit, float(plan.better == "lower")
    seen = apply(estimand, of["measurements"], made["intercurrent"], stratum=stratum, unit=unit, failure=failure)
    true = apply(
        estimand,
        of["measurements"],
        made["intercurrent"],
        potential=of["potential"],
        truth=True,
        stratum=stratum,
        unit=unit,
        failure=failure,
    )
    last = pl.col("visit_number") == len(study.visits) - 1
    found = seen.filter(last).select(*GROUP, pl.col("analysis_value").alias(name))
    known = true.filter(last).select(*GROUP, pl.col("analysis_value").alias(f"{name}_true"))
    return found.join(known, on=GROUP, how="left", maintain_order="left", validate="1:1")


def _read(study: Study, model: Model, made: dict[str, pl.DataFrame], name: str, plan: EndpointPlan) -> pl.DataFrame:
    visits = len(study.visits)
    seen, true = {}, {}
    rows = pl.DataFrame()
    for output in model.outputs.fields():
        own = pl.col("parameter") == output
        rows = made["measurements"].filter(own).sort(*GROUP, "visit_number")
        seen[output] = rows["value"].fill_null(np.nan).to_numpy().reshape(-1, visits)
        lived = made["potential"].filter(own).sort(*GROUP, "visit_number")["lived_true"]
        true[output] = lived.fill_null(np.nan).to_numpy().reshape(-1, visits)
    if plan.missing == "locf":
        seen = {output: carried_forward(values) for output, values in seen.items()}
    endpoint = model.endpoints[name]
    ill = np.isnan(next(iter(true.values()))[:, 0])
    known = np.asarray(endpoint.reads(model.outputs(**true)), dtype=float)
    found = {name: read(endpoint, model.outputs(**seen)), f"{name}_true": known}
    columns = {column: np.where(ill, np.nan, values) for column, values in found.items()}
    return rows.filter(pl.col("visit_number") == 0).select(GROUP).with_columns(**columns)
