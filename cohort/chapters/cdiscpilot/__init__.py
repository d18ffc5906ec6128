"""The CDISC pilot trial patient by patient: its own analysis again, two estimands, safety, twins and their worth.

Before the predictions are frozen the trial's files are opened for baselines and for placebo and low dose, and every
other row is dropped as it is read (`trial.baseline`, `trial.taught`); the files themselves hold all arms. Frozen are
every patient's twin under every arm, and what the virtual trials found of each arm.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cohort.chapters import Chapter, ChapterError, Data
from cohort.chapters.cdiscpilot import efficacy, page, prognosis, safety, scoring, trial, twins, virtual
from cohort.library import load
from cohort.results import Results


def predict(results: Results, data: Data) -> dict[str, Any]:
    """Twins from published parameters and the measured baseline, the patch's effect from placebo and low dose."""
    study = results.study
    adsl, scores = (trial.read(trial.opened(data, name, "input")) for name in ("adsl", "adqsadas"))
    people = trial.baseline(adsl, scores)
    learnt = trial.carried(trial.taught(trial.read(trial.opened(data, "adqsadas", "calibration"))))
    own = twins.twins(study, load(study.model, study.path.parent), people, learnt)
    return {"twins": own.frozen(people), "virtual": virtual.predicted(results)}


def made(results: Results, predicted: Mapping[str, Any], data: Data) -> Chapter:
    """Errors: ChapterError where the twins are not those that were frozen."""
    study = results.study
    files = {name: trial.read(trial.opened(data, name, "validation")) for name in ("adsl", "adqsadas", "adae", "adtte")}
    real = trial.Trial.of(files["adsl"], files["adqsadas"])
    learnt = trial.carried(trial.taught(files["adqsadas"]))
    model = load(study.model, study.path.parent)
    own = twins.twins(study, model, real.people, learnt)  # all draws: the record holds their quantiles and their hash
    if own.hash() != predicted["twins"]["draws"]:
        raise ChapterError("chapter cdiscpilot: the twins made again are not those that were frozen; run it again")
    patients = dict(real.people.group_by("arm").len().rows())
    jobs = [*efficacy.jobs(real, study.seed), *safety.jobs(files["adae"], files["adtte"], patients, study.seed)]
    policy, hypothetical, terms, periods = data.solve(jobs)
    scores, each = scoring.scored(real, own, model.typical()["precision"])
    placebo = real.people.filter((real.people["arm"] == "placebo") & real.people["efficacy"])
    stops = real.stops.filter(real.stops["event"] == "discontinuation")
    procova = {"PROCOVA": own.change["placebo"], "fitted score": prognosis.fitted_score(real)}
    found = page.Found(
        again=efficacy.again(real.adqsadas),
        covariance=efficacy.covariance(real),
        retrieved=real.retrieved(),
        stops=dict(stops.group_by("arm").len().rows()),
        policy=policy,
        hypothetical=hypothetical,
        anything=safety.anything(files["adae"], patients),
        terms=terms,
        periods=periods,
        seen=safety.seen(files["adtte"]),
        skin=safety.skin(files["adtte"]),
        compared=virtual.compared(predicted["virtual"], virtual.observed(real, files["adtte"], files["adae"])),
        placebo=virtual.placebo(study, model, placebo),
        scores=scores,
        each=each,
        twins={a: np.mean(own.change[a][(real.people["arm"] == a).to_numpy()], axis=0).tolist() for a in trial.ARMS},
        saved=prognosis.saved(real, procova),
        patients=patients,
        after=real.after(),
    )
    return page.chapter(found)
