"""What was inferred from a sealed run, made again: predictions and all that follows from them without sampling; the
calibration and the comparison, which MCMC samples; and the report."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from cohort import evidence
from cohort.calibration import calibrate
from cohort.comparison import agreement, compare, learning, safety
from cohort.comparison.predict import Predictions, predict, record, registered_path
from cohort.comparison.registration import standing
from cohort.library import load
from cohort.provenance.again import FIGURE, tolerance
from cohort.provenance.bundle import Sealed
from cohort.provenance.same import Outcome, different, numbers, texts, together
from cohort.trial import MEAN

MCMC = 0.05  # of what sampling computes anew on another machine, relative
SPREAD = 0.2  # by which a standard deviation that was sampled anew may be another, relative
ROUNDED = 1e-4  # to which predictions are written down
SEEN = re.compile(r"(^|[.\[\]])(observed|outcomes|se|n|events|margin|position)(?=$|[.\[])")  # what no sampler makes
UNCOMMITTED = "the registered file is not committed as it stands"

type Redraw = Callable[[Sealed], Mapping[str, str]]  # report, tables and figures of results, by their paths


# ----------------------------------------------------------------------------------------------------- predictions


def predictions(results: Sealed) -> Outcome:
    """What was predicted, from the trials, and what was found of it beside the outcomes; against the hash that the
    trail holds from before they were opened, and what was registered. Where predictions have that hash they are
    recorded to the digit."""
    study, what, summary = results.study, "predictions", results.summary
    posterior = results.posterior
    attrs = {} if posterior is None else {str(k): v for k, v in posterior.attrs.items()}
    made = predict(study, results.trial, results.parameters)
    told = record(study, made, attrs)
    rtol, _ = tolerance(results)
    frozen = [line["predictions"] for line in results.told if line["event"] == "predictions frozen"]
    if not frozen:
        return different(what, "the audit trail does not say that they were frozen")
    same = made.hash() == frozen[-1]
    due = _due(results, made) | {"identity": told["identity"], "quantiles": told["quantiles"]}
    outcomes = [
        numbers(what, summary.get("predictions"), told["predictions"], 0.0 if same else rtol, 0.0 if same else ROUNDED),
        numbers(what, {key: summary.get(key) for key in due}, due, rtol, FIGURE, _seen),
    ]
    if not same and outcomes[0].identical:
        outcomes.append(Outcome(what, 0, rtol, "digits beyond the fourth (their hash is another)", rtol))
    if wrong := [*_registered(results, told), *_standing(results, told)]:
        outcomes.append(different(what, "; ".join(wrong)))
    return together(what, outcomes)


def _seen(place: str) -> bool:
    return SEEN.search(place) is not None


def _due(results: Sealed, made: Predictions) -> dict[str, Any]:
    """The parts of a comparison that follow from its predictions and the evidence without sampling."""
    study = results.study
    model = load(study.model, study.path.parent)
    uses = study.evidence.values()
    tables = [evidence.read(study.root / use.file).with_columns(use=pl.lit(use.use)) for use in uses]
    outcomes = pl.concat(tables) if tables else None
    found: dict[str, Any] = {
        "validation": any(use.use == "validation" for use in study.evidence.values()),
        "events": safety.events(study, made, outcomes),
        "evidence_of_model": {e: learning.plain(study, per) for e, per in made.means.items()},
    }
    if made.shares:
        arms = [pl.scan_parquet(results.arm_file(a), glob=False).filter(pl.col("draw") == MEAN) for a in study.arms]
        at_mean = pl.concat(pl.collect_all(arms, engine="streaming"))
        found["shares"] = safety.shares(study, model, at_mean, results.trial, made, outcomes)
    if outcomes is not None:
        rows, fitted = agreement.by_use(agreement.arms_and_effects(study, made, outcomes), outcomes)
        found |= {"arms": rows, "coverage": agreement.coverage(rows)} | ({"fitted": fitted} if fitted else {})
        found["outcomes"] = outcomes.drop("arms", "use").to_dicts()
        found["not_compared"] = agreement.not_compared(study, made, outcomes)
    return found


def _registered(results: Sealed, told: dict[str, Any]) -> list[str]:
    """Where the registration says other numbers than those whose hash it bears."""
    path = registered_path(results.study)
    theirs = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if theirs.get("predictions_hash") != told["predictions_hash"]:
        return []
    parts = [key for key in ("identity", "quantiles", "predictions") if theirs.get(key) != _read(told[key])]
    return [f"the registration has other {' and '.join(parts)} than those whose hash it bears"] if parts else []


def _read(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _standing(results: Sealed, told: dict[str, Any]) -> list[str]:
    """Where the comparison gives other reasons than registration and predictions for standing as it does. What git said
    of the registration cannot be had again; `integrity` holds the rest of the standing against the trail."""
    if not any(use.use == "validation" for use in results.study.evidence.values()):
        return []
    then, now = results.summary.get("standing") or {}, _read(standing(results.study, told, None))
    by_git = (UNCOMMITTED, "it was committed at ")
    sides = [[r for r in side.get("reasons", ()) if not r.startswith(by_git)] for side in (then, now)]
    facts = ("largest_difference", "tolerance")
    apart = numbers(
        "", [then.get(key) for key in facts], [now.get(key) for key in facts], tolerance(results)[0], FIGURE
    )
    if sides[0] != sides[1] or apart.problem or not apart.within:
        return ["why it counts as registered or post hoc is not what the registration and the predictions give"]
    return []


# --------------------------------------------------------------------------------------------------------- sampled


def calibration(results: Sealed) -> Outcome:
    """The posterior, sampled again. On another machine chains part ways: then means may be off by a tenth of their SD,
    and an SD by SPREAD of itself."""
    what, then = "calibration", results.posterior
    made = calibrate(results.study, results.enrolled)
    assert then is not None
    old, new = (tree.children["posterior"].dataset for tree in (then, made))
    outcomes = []
    for name in sorted({*map(str, old.data_vars), *map(str, new.data_vars)}):
        if name not in new or name not in old or new[name].shape != old[name].shape:
            outcomes.append(different(what, f"{name} has another shape"))
            continue
        outcomes.append(_sampled(name, np.asarray(old[name].values, float), np.asarray(new[name].values, float)))
    same = all(o.identical for o in outcomes)
    rtol, atol = (0.0, 0.0) if same else (2 * MCMC, 2 * MCMC)
    tables = [
        {k: v for k, v in json.loads(str(t.attrs["summary"])).items() if k != "diagnostics"} for t in (then, made)
    ]
    outcomes.append(numbers(what, tables[0], tables[1], rtol, atol, _seen))
    return _by_mcmc(together(what, outcomes))


def _sampled(name: str, a: np.ndarray, b: np.ndarray) -> Outcome:
    """Two samples of one posterior, (chain, draw, ...). The scale is that of the one sampled here."""
    if a.tobytes() == b.tobytes():
        return Outcome("calibration", a.size)
    spread = np.maximum(b.std(axis=(0, 1)), 1e-300)
    off = float(np.max(np.abs(a.mean(axis=(0, 1)) - b.mean(axis=(0, 1))) / spread))
    ratio = float(np.max(np.abs(np.log(np.maximum(a.std(axis=(0, 1)), 1e-300) / spread))))
    if ratio > SPREAD:
        where, within = f"the standard deviation of {name}, of which it is the logarithm's", False
        return Outcome("calibration", a.size, ratio, where, SPREAD, within, gap=ratio)
    where = f"the mean of {name}, in its standard deviations"
    return Outcome("calibration", a.size, off, where, 2 * MCMC, bool(off <= 2 * MCMC), gap=off)


def comparison(results: Sealed) -> Outcome:
    """The comparison's tables, sampled again; not how it stands to what was registered, which `predictions` asks, and
    with no tolerance for what was observed."""
    tree = compare(results.study, results.visits, results.posterior, analysis=results.trial, learnt=results.learnt)
    made = json.loads(tree.attrs["summary"])
    return _by_mcmc(numbers("comparison", _placeless(results.summary), _placeless(made), MCMC, 1e-6, _seen))


def _placeless(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        k: _placeless(v) if k == "comparison" else v
        for k, v in summary.items()
        if k not in ("standing", "plan_standing")
    }


def _by_mcmc(outcome: Outcome) -> Outcome:
    return replace(outcome, sampled=True)


# ---------------------------------------------------------------------------------------------------------- report


def report(results: Sealed, redraw: Redraw) -> Outcome:
    """Report, tables and figures, drawn again from what lies in the folder and from the trail as it then was."""
    what, made = "report", dict(redraw(results.when("report")))
    there = {
        path.relative_to(results.folder).as_posix(): path
        for path in (*results.folder.glob("tables/*"), *results.folder.glob("figures/*"), results.report_file)
    }
    if odd := sorted(made.keys() ^ there.keys()):
        return different(what, f"{', '.join(odd[:5])}: there or drawn again, not both")
    rtol, _ = tolerance(results)
    found = [texts(what, path.read_bytes(), made[name].encode(), rtol) for name, path in there.items()]
    names = [f"{name} {o.problem.removeprefix('report: ')}" for name, o in zip(there, found, strict=True) if o.problem]
    if names:
        return different(what, "; ".join(names[:5]))
    return together(what, found)
