"""What was written down before: the record of a study's predictions, and whether this run's are those."""

import json
import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from cohort.comparison.predict import ComparisonError, Predictions, record, registered_path
from cohort.record import Audit, file_digest, git
from cohort.study import Study


def register(study: Study, predictions: Predictions, posterior_attrs: dict[str, Any], audit: Audit) -> dict[str, Any]:
    """The record that `cohort register` writes to config/registered/.

    Errors: ComparisonError where there is nothing to predict, where this study's outcomes were opened before, and where
    other predictions are registered already.
    """
    if not any(use.use == "validation" for use in study.evidence.values()):
        raise ComparisonError(f"{study.path}: there is no evidence with use: validation; nothing to register")
    made, path = record(study, predictions, posterior_attrs), registered_path(study)
    if path.is_file() and json.loads(path.read_text())["predictions_hash"] != made["predictions_hash"]:
        raise ComparisonError(f"{path} holds other predictions; a registration is not overwritten")
    if opened := _first_opening(audit):
        raise ComparisonError(f"{study.path}: its outcomes were opened at {opened}; it is too late to register")
    return made


def _first_opening(audit: Audit | None) -> str | None:
    """When validation outcomes were first opened here."""
    lines = audit.lines() if audit else []
    return next((s["time"] for s in lines if s["event"] == "outcomes opened" and s["use"] == "validation"), None)


def standing(study: Study, mine: dict[str, Any], audit: Audit | None) -> dict[str, Any]:
    """Whether these predictions were written down before.

    `registered`: config/registered/ holds them, committed before the outcomes were first opened here; what they rest
    on is the same, and so is every predicted mean, standard deviation, share and risk within four of its simulation
    errors (to the bit on the same kind of machine). `post hoc` otherwise, with the reasons.
    """
    path = registered_path(study)
    if not path.is_file():
        return {"status": "post hoc", "reasons": [f"there is no {path.name} in config/registered/"], "file": None}
    theirs = json.loads(path.read_text())
    reasons = [
        f"{key}: registered {theirs['identity'].get(key)}, now {mine['identity'][key]}"
        for key in mine["identity"]
        if theirs["identity"].get(key) != mine["identity"][key]
    ]
    committed = git(study.root, "log", "-1", "--format=%cI", "--", str(path))
    opened = _first_opening(audit)
    if not committed or git(study.root, "status", "--porcelain", "--", str(path)):
        reasons.append("the registered file is not committed as it stands")
    elif opened and datetime.fromisoformat(committed) > datetime.fromisoformat(opened):
        reasons.append(f"it was committed at {committed}, after the outcomes were first opened at {opened}")
    differences = []
    for endpoint, arms in mine["predictions"]["arms"].items():
        for arm, now in arms.items():
            then = theirs["predictions"]["arms"].get(endpoint, {}).get(arm)
            if then is None:
                reasons.append(f"{endpoint}, {arm}: not registered")
                continue
            off, allowed = abs(now["mean"] - then["mean"]), 4 * math.hypot(now["mcse"], then["mcse"])
            differences.append((off, allowed))
            if off > allowed:
                reasons.append(f"{endpoint}, {arm}: registered {then['mean']:.2f}, now {now['mean']:.2f}")
            draws = mine["identity"]["draws"]
            # The variance of the mean over draws, noise and all, has an error of its own from so many draws.
            errors = (draws * one["mcse"] ** 2 * math.sqrt(2 / (draws - 1)) for one in (now, then))
            variance = 4 * math.hypot(*errors)
            for key, patients in (("sd", 0.0), ("predictive_sd", 0.15)):  # patients' variance: 64 trials of some forty
                if abs(now[key] ** 2 - then[key] ** 2) > variance + patients * now[key] ** 2:
                    reasons.append(f"{endpoint}, {arm}, {key}: registered {then[key]:.2f}, now {now[key]:.2f}")
    reasons += _shares_and_risks(theirs["predictions"], mine["predictions"], mine["errors"])
    return {
        "status": "post hoc" if reasons else "registered",
        "reasons": reasons,
        "file": path.name,
        "file_hash": file_digest(path),
        "committed": committed,
        "identical": theirs["predictions_hash"] == mine["predictions_hash"],
        "largest_difference": max((off for off, _ in differences), default=0.0),
        "tolerance": min((allowed for _, allowed in differences), default=0.0),
        "registered": theirs["predictions"],
    }


def _shares_and_risks(theirs: dict[str, Any], mine: dict[str, Any], errors: dict[str, Any]) -> Iterator[str]:
    """What differs by more than four simulation errors of both. errors: of this run's."""
    for kind, reads in (("shares", lambda found: found["mean"]), ("risks", lambda found: found)):
        for endpoint, now in mine[kind].items():
            then = theirs[kind].get(endpoint)
            if (then is None) != (now is None):
                yield f"{endpoint}: registered {then}, now {now}"
                continue
            for group in now or ():
                if then.get(group) is None:
                    yield f"{endpoint}, {group}: not registered"
                    continue
                a, b = reads(then[group]), reads(now[group])
                if abs(a - b) > 4 * math.sqrt(2) * errors[endpoint][group] + 1e-4:  # as rounded
                    yield f"{endpoint}, {group}: registered {a:.4f}, now {b:.4f}"


def plan_standing(audit: Audit | None, plan: str | None) -> dict[str, Any] | None:
    """Whether this plan of a comparison, by its hash, was frozen before the outcomes were first opened here; the how
    manyth plan it is, and when it was first frozen. None where there is no plan."""
    if plan is None:
        return None
    lines = audit.lines() if audit else []
    opened = [i for i, s in enumerate(lines) if s["event"] == "outcomes opened" and s["use"] == "validation"]
    frozen = [i for i, s in enumerate(lines) if s["event"] == "predictions frozen" and s.get("plan")]
    known = list(dict.fromkeys(lines[i]["plan"] for i in frozen))
    first = next((i for i in frozen if lines[i]["plan"] == plan), None)
    before = first is not None and (not opened or first < opened[0])
    return {
        "status": "planned before" if before else "post hoc",
        "number": known.index(plan) + 1 if plan in known else len(known) + 1,
        "frozen": None if first is None else lines[first]["time"],
        "opened": lines[opened[0]]["time"] if opened else None,
    }
