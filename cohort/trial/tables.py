"""The tables of a trial: subjects, measurements, intercurrent events, adverse events, times to event, by draw and arm.

They hold what a real trial's would, and one that only virtual trials have: `potential`, what each patient's values
would have been without the intercurrent events.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from cohort.engine import CODES
from cohort.library import load
from cohort.model import Model
from cohort.study import Study
from cohort.study.protocol import Estimand
from cohort.trial.allocation import MEAN, TrialError, allocate, keeps, strata_of
from cohort.trial.columns import COLUMNS, KEY
from cohort.trial.conduct import Patients, calendar, conducted
from cohort.trial.course import stoppable
from cohort.trial.visits import World, last_seen, so_far, unit_of, windows


def declares(study: Study) -> bool:
    """Whether the study says more of its conduct than the share lost: then its trials have tables."""
    conduct = study.conduct
    said = (conduct.enrolment, conduct.allocation, conduct.visits, conduct.discontinuation, conduct.withdrawal)
    estimands = any(isinstance(plan.estimand, Estimand) for plan in study.endpoints.values())
    return any(part is not None for part in (*said, conduct.rescue)) or estimands


def tables(
    study: Study,
    people: pl.DataFrame,
    parameters: pl.DataFrame,
    *,
    threads: int = 1,
    client: Any = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, pl.DataFrame]:
    """Run the conduct of every draw's trial, and of everyone in every arm at the posterior mean.

    people: as enrolled, subject and the model's covariates; parameters: values by draw; with `client`, arms are Dask
    tasks. Returns the tables of COLUMNS,
    sorted by draw, arm and subject, whatever the order of people, arms and draws. Errors: TrialError, also where more
    patients failed than `analysis.max_failed_fraction`, a course that was solved on treatment only being a failure.
    """
    model = load(study.model, study.path.parent)
    if study.conduct.discontinuation is not None:
        stoppable(study, model)
    made: dict[str, list[pl.DataFrame]] = {name: [] for name in COLUMNS}
    everyone = _lanes(study, people, parameters["draw"].to_list())
    wanted = sorted({*model.covariates.fields(), "age", "sex", *_strata(study)} & set(people.columns))
    covariates = people.select("subject", *wanted)
    tasks = (
        (study, model, arm, lanes.join(covariates, on="subject", how="left", maintain_order="left"), parameters, wanted)
        for arm, lanes in everyone.items()
    )
    if client is None:
        arms = (_arm(*task, threads) for task in tasks)
    else:
        futures = [client.submit(_arm, *task, threads, pure=False) for task in tasks]
        arms = (future.result() for future in futures)
    for done, of_arm in enumerate(arms, 1):
        for name, table in of_arm.items():
            made[name].append(table)
        progress(done, len(everyone))
    order = {"measurements": ["parameter", "visit_number"], "potential": ["parameter", "visit_number"]}
    order |= {"intercurrent": ["time", "event"], "adverse_events": ["time", "event"], "time_to_event": ["PARAM"]}
    found = {name: pl.concat(parts).sort(*KEY, *order.get(name, [])) for name, parts in made.items()}
    _check_failures(study, found["subjects"])
    return found


def _arm(
    study: Study,
    model: Model,
    arm: str,
    lanes: pl.DataFrame,
    parameters: pl.DataFrame,
    columns: list[str],
    threads: int,
) -> dict[str, pl.DataFrame]:
    return tables_of_arm(study, model, conducted(study, model, arm, lanes, parameters, threads), columns)


def _check_failures(study: Study, subjects: pl.DataFrame) -> None:
    """Errors: TrialError, by arm and reason, where more failed, on treatment or after it, than the study allows."""
    failed = subjects.filter(pl.col("code") > 0)
    if failed.height > study.analysis.max_failed_fraction * subjects.height:
        counts = failed.group_by("arm", "code", maintain_order=True).len().iter_rows()
        listed = "; ".join(f"{arm}: {n} {CODES[code]}" for arm, code, n in counts)
        raise TrialError(
            f"{study.path}: {failed.height} of {subjects.height} patients of the virtual trials failed, on treatment "
            f"or after it: {listed}; mend the model or its numerics, or raise analysis.max_failed_fraction"
        )


def _strata(study: Study) -> set[str]:
    plan = study.conduct.allocation
    predictors = {
        handled.predictor.column
        for endpoint in study.endpoints.values()
        if isinstance(endpoint.estimand, Estimand)
        for handled in (endpoint.estimand.events.discontinuation, endpoint.estimand.events.rescue)
        if handled is not None and handled.predictor is not None
    }
    return predictors | {s.column for s in (plan.strata if plan else [])}


def _lanes(study: Study, people: pl.DataFrame, draws: list[int]) -> dict[str, pl.DataFrame]:
    """Per arm: draw, subject, stratum and day of randomisation, without whom the cut-off keeps from entering."""
    subjects = sorted(people["subject"].to_list())
    stratum = strata_of(study, people, subjects)
    rows: dict[str, list[tuple]] = {arm: [] for arm in sorted(study.arms)}
    cutoff = study.conduct.enrolment and study.conduct.enrolment.cutoff
    for draw in sorted(draws):
        if draw == MEAN:
            for arm in rows:
                rows[arm] += [(MEAN, s, stratum[s], None) for s in subjects]
            continue
        days = calendar(study, subjects, draw) if study.conduct.enrolment else {}
        for arm, who in allocate(study, subjects, draw, people).items():
            entered = [s for s in who if not cutoff or days[s] < cutoff.to("d")]
            rows[arm] += [(draw, s, stratum[s], days.get(s)) for s in entered]
    schema = {"draw": pl.Int32, "subject": pl.String, "stratum": pl.String, "calendar": pl.Float64}
    return {arm: pl.DataFrame(own, schema=schema, orient="row") for arm, own in rows.items()}


def tables_of_arm(study: Study, model: Model, p: Patients, covariates: list[str]) -> dict[str, pl.DataFrame]:
    key = p.lanes.select("draw", arm=pl.lit(p.arm), subject="subject")
    rescue = p.worlds["lived"].rescued
    until, well = p.followup, p.code == 0
    left = np.isfinite(p.withdrew) & (p.withdrew <= until)
    stopped = np.isfinite(p.discontinued) & (p.discontinued <= until)
    saved = np.isfinite(rescue) & (rescue <= until)
    times = {"discontinuation": (p.discontinued, stopped), "rescue": (rescue, saved), "withdrawal": (p.withdrew, left)}
    text = str(study.conduct.rescue.when) if study.conduct.rescue else ""
    reasons = {"discontinuation": p.why_discontinued, "rescue": np.full(len(until), text), "withdrawal": p.why_withdrew}
    happened = {name: p.events[name] <= until for name in p.events}
    subjects = key.with_columns(
        stratum=p.lanes["stratum"],
        randomised=pl.Series(p.calendar).fill_nan(None),
        treatment_end=pl.Series(np.minimum(p.discontinued, until)),
        followup=pl.Series(until),
        discontinued=pl.Series(stopped),
        discontinuation_reason=_texts(p.why_discontinued, stopped),
        withdrawn=pl.Series(left),
        withdrawal_reason=_texts(p.why_withdrew, left),
        rescued=pl.Series(saved),
        completed=pl.Series(until == p.at[:, -1]),
        code=pl.Series(p.code, dtype=pl.Int8),
        **{name: p.lanes[name] for name in covariates},
    )
    intercurrent = [
        key.with_columns(
            event=pl.lit(name), time=pl.Series(time), reason=pl.Series(reasons[name], dtype=pl.String)
        ).filter(pl.Series(hit & well))
        for name, (time, hit) in times.items()
    ]
    ill = [
        key.with_columns(
            event=pl.lit(name),
            time=pl.Series(p.events[name]),
            on_treatment=pl.Series(p.events[name] <= p.discontinued),
            led_to=_led_to(name, p, stopped, left),
        ).filter(pl.Series(happened[name] & well))
        for name in p.events
    ]
    waits = {name: (p.events[name], happened[name]) for name in p.events}
    waits |= {name: pair for name, pair in times.items() if name in _possible(study)}
    ended = np.where(left, "withdrawal", np.where(p.censored <= until, "cut-off", "completed"))
    waited = [
        key.with_columns(
            PARAM=pl.lit(name),
            AVAL=pl.Series(np.where(hit, time, until)),
            CNSR=pl.Series(np.where(hit, 0, 1), dtype=pl.Int8),
            EVNTDESC=pl.Series(np.where(hit, "event", ended), dtype=pl.String),
        ).filter(pl.Series(well))
        for name, (time, hit) in waits.items()
    ]
    return {
        "subjects": subjects,
        "measurements": _measurements(study, model, p, key),
        "potential": _potential(study, model, p, key),
        "intercurrent": pl.concat(intercurrent),
        "adverse_events": pl.concat(ill) if ill else _none("adverse_events", key),
        "time_to_event": pl.concat(waited) if waited else _none("time_to_event", key),
    }


def _possible(study: Study) -> list[str]:
    """The kinds of intercurrent event that the study's conduct has."""
    conduct = study.conduct
    there = {
        "discontinuation": conduct.discontinuation is not None,
        "rescue": conduct.rescue is not None,
        "withdrawal": conduct.withdrawal is not None or conduct.dropout > 0,
    }
    return [name for name, so in there.items() if so]


def _texts(reasons: np.ndarray, happened: np.ndarray) -> pl.Series:
    return pl.Series([str(why) if yes else None for why, yes in zip(reasons, happened, strict=True)], dtype=pl.String)


def _led_to(name: str, p: Patients, stopped: np.ndarray, left: np.ndarray) -> pl.Series:
    one = (p.why_discontinued == name) & stopped
    two = (p.why_withdrew == name) & left
    return pl.Series(
        np.select([one & two, one, two], ["both", "discontinuation", "withdrawal"], "nothing"), dtype=pl.String
    )


def _none(name: str, key: pl.DataFrame) -> pl.DataFrame:
    kinds = {"CNSR": pl.Int8, "on_treatment": pl.Boolean, "time": pl.Float64, "AVAL": pl.Float64}
    return key.clear().with_columns(
        **{c: pl.lit(None, dtype=kinds.get(c, pl.String)) for c in COLUMNS[name] if c not in KEY}
    )


def parameters_of(study: Study, model: Model) -> list[str]:
    """What is measured: the model's outputs, and the endpoints that it reads from them."""
    return [*model.outputs.fields(), *(name for name, plan in study.endpoints.items() if plan.kind == "course")]


def _missing(p: Patients) -> np.ndarray:
    """Why each visit has no value, (n, visits), None where it has one. Failed before withdrawn before cut off."""
    after = p.at > np.minimum(p.withdrew, p.censored)[:, None]
    cut = after & (p.censored < p.withdrew)[:, None]
    failed = np.broadcast_to((p.code > 0)[:, None], p.at.shape)
    return np.select([failed, cut, after, ~p.attended], ["failed", "cut-off", "withdrawal", "missed"], "")


def _measurements(study: Study, model: Model, p: Patients, key: pl.DataFrame) -> pl.DataFrame:
    n, visits = p.at.shape
    seen, lived = p.seen, p.worlds["lived"]
    nulls = {"": None}
    planned = np.array([v.to("d") for v in study.visits])
    grid = _grid(key, visits).with_columns(
        visit=pl.Series(np.tile([str(v) for v in study.visits], n), dtype=pl.String),
        visit_day=pl.Series(np.tile(planned, n)),
        window_end=pl.Series(np.tile(planned + windows(study), n)),
        time=pl.Series(np.where(seen, p.at, np.nan).reshape(-1)).fill_nan(None),
        on_treatment=pl.Series((p.at <= np.minimum(p.discontinued, p.withdrew)[:, None]).reshape(-1)),
        rescued=pl.Series((p.at > lived.rescued[:, None]).reshape(-1)),
        missing=pl.Series(_missing(p).reshape(-1), dtype=pl.String).replace(nulls),
    )
    made = []
    for name in parameters_of(study, model):
        kept = {k: np.where(seen, v, np.nan) for k, v in lived.measured.items()}
        if name not in lived.measured:
            kept = {k: last_seen(v, seen) for k, v in kept.items()}
        value = np.where(seen, so_far(model, name, kept), np.nan)
        base = value[:, :1] if name in lived.measured else np.full((n, 1), np.nan)
        change = value - base
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = 100 * change / base
        columns = {"value": value, "baseline": np.broadcast_to(base, value.shape), "change": change}
        columns["percent_change"] = np.where(np.isfinite(percent), percent, np.nan)
        numbers = {k: pl.Series(v.reshape(-1)).fill_nan(None) for k, v in columns.items()}
        made.append(grid.with_columns(parameter=pl.lit(name), unit=pl.lit(unit_of(model, name)), **numbers))
    return pl.concat(made).select(*COLUMNS["measurements"])


def _grid(key: pl.DataFrame, visits: int) -> pl.DataFrame:
    rows = np.repeat(np.arange(key.height), visits)
    return key[rows].with_columns(visit_number=pl.Series(np.tile(np.arange(visits), key.height), dtype=pl.Int32))


def _potential(study: Study, model: Model, p: Patients, key: pl.DataFrame) -> pl.DataFrame:
    treated = p.worlds.get("without_discontinuation", p.worlds["lived"])
    failed = (p.code > 0)[:, None]
    planned = np.array([v.to("d") for v in study.visits])
    grid = _grid(key, p.at.shape[1]).with_columns(
        discontinued=pl.Series((p.at > p.discontinued[:, None]).reshape(-1)),
        discontinued_by_planned_day=pl.Series((planned > p.discontinued[:, None]).reshape(-1)),
        rescued=pl.Series((p.at > p.worlds["lived"].rescued[:, None]).reshape(-1)),
        rescued_without_discontinuation=pl.Series((p.at > treated.rescued[:, None]).reshape(-1)),
    )

    def read(world: World, name: str, true: bool) -> pl.Series:
        values = so_far(model, name, world.true if true else world.measured)
        return pl.Series(np.where(failed, np.nan, values).reshape(-1)).fill_nan(None)

    made = []
    for name in parameters_of(study, model):
        columns = {}
        for world in ("lived", "without_discontinuation", "without_rescue", "without_either"):
            columns[world] = read(_nearest(p, world), name, False)
            columns[f"{world}_true"] = read(_nearest(p, world), name, True)
        made.append(grid.with_columns(parameter=pl.lit(name), **columns))
    return pl.concat(made).select(*COLUMNS["potential"])


def _nearest(p: Patients, world: str) -> World:
    """A world, or the one it is when the study lacks what would tell them apart."""
    if world in p.worlds:
        return p.worlds[world]
    one = {"without_either": [w for w in ("without_discontinuation", "without_rescue") if w in p.worlds]}
    return p.worlds[(one.get(world) or ["lived"])[0]]


def principal(study: Study, people: pl.DataFrame, endpoint: str) -> pl.DataFrame | None:
    """Who belongs to an endpoint's principal stratum by its predictor: subject, in_stratum; None without one."""
    plan = study.endpoints[endpoint].estimand
    if not isinstance(plan, Estimand):
        return None
    handled = (plan.events.discontinuation, plan.events.rescue)
    criteria = [h.predictor for h in handled if h is not None and h.predictor is not None]
    if not criteria:
        return None
    met = np.logical_and.reduce([keeps(study, one, people[one.column]) for one in criteria])
    return people.select("subject").with_columns(in_stratum=pl.Series(met))
