"""What the audit trail and the signatures say of how a result came about; nobody's key is trusted here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohort.provenance.signature import check
from cohort.record import code, digest
from cohort.record import trail as lines_of
from cohort.results import Results

AFTERWARDS = ("report", "dossier", "sealed", "signed", "exported", "verified")


def rows(results: Results) -> list[dict[str, Any]]:
    """The order of things as the trail has it: item, what it says, and whether that departs from the plan."""
    return [{"item": item, "says": says, "missed": wrong} for item, says, wrong in _rows(results)]


def _rows(results: Results) -> Iterator[tuple[str, str, bool]]:
    if not results.audit.path.is_file():
        yield "Trail", "there is none", True
        return
    broken = results.audit.broken_at()
    lines = results.audit.lines()
    last = lines_of(results.audit.path.read_text(encoding="utf-8"))[-1]
    whole = "whole" if broken is None else f"BROKEN at line {broken}"
    yield "Chain", f"{whole}, {len(lines)} lines; hash of the last {digest(last)}", broken is not None
    opened = [i for i, a in enumerate(lines) if a["event"] == "outcomes opened" and a.get("use") == "validation"]
    frozen = [i for i, a in enumerate(lines) if a["event"] == "predictions frozen"]
    if opened:
        first = lines[opened[0]]
        before = bool(frozen) and frozen[0] < opened[0]
        when = f"predictions were frozen at {lines[frozen[0]]['time'][:19]}" if before else "nothing was frozen before"
        yield "Order", f"outcomes were first opened at {first['time'][:19]}; {when}", not before
        if len(opened) > 1:
            yield "Openings", f"outcomes were opened {len(opened)} times, the last at {_when(lines[opened[-1]])}", True
        again = [a for a in lines[opened[0] :] if a["event"] == "simulated"]
        if again:
            yield "Simulated again", f"{len(again)} times after the outcomes were first opened", True
    else:
        yield "Order", "no outcomes of a validation were opened here", False
    simulated = [a for a in lines if a["event"] == "simulated"]
    if simulated:
        made = simulated[-1].get("code") or {}
        dirty = bool(made.get("changed_since_commit"))
        state = "with changes that are in no commit" if dirty else "as committed"
        yield "Code that simulated", f"{made.get('commit') or 'no commit'}, {state}", dirty or not made.get("commit")
        now = code()
        if now.get("commit") != made.get("commit"):
            yield "Code of this dossier", f"{now.get('commit') or 'no commit'}, another than simulated", False
    compared = [i for i, a in enumerate(lines) if a["event"] == "compared"]
    later = [a["event"] for a in lines[compared[-1] + 1 :] if a["event"] not in AFTERWARDS] if compared else []
    if later:
        yield "After the last comparison", ", ".join(later), True


def _when(line: dict[str, Any]) -> str:
    return str(line["time"])[:19]


def signatures(folder: Path) -> list[dict[str, Any]]:
    """Of each: printed name, time in UTC, meaning, key, and whether it holds over the manifest that lies here."""
    found = []
    for one in check(folder, {}):
        holds = "holds over this manifest; not checked against trusted keys here"
        found.append({**vars(one), "says": holds if one.valid else f"NOT VALID: {one.reason}", "missed": not one.valid})
    return found
