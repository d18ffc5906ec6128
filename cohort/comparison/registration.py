"""What was written down before: the record of a study's predictions, and whether this run's are those."""

import json
import math
from datetime import datetime
from typing import Any

from cohort.comparison.discrepancy import ComparisonError
from cohort.comparison.predict import Predictions, record, registered_path
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
    on is the same, and so is every predicted mean within its simulation error (to the bit on the same kind of
    machine). `post hoc` otherwise, with the reasons.
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
