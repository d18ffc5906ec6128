"""The data sets of a virtual trial as a folder of files, and what is not among them, with the reason."""

import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cohort.cdisc.checks import refuse, refuse_undescribed
from cohort.cdisc.dataset import EPOCH, Dataset, created, simulated_study
from cohort.cdisc.dataset_json import write_dataset_json
from cohort.cdisc.define import write_define
from cohort.cdisc.transport import write_transport
from cohort.export.adae import adae
from cohort.export.adeff import adeff
from cohort.export.adpc import adpc
from cohort.export.adpp import adpp
from cohort.export.adsl import adsl
from cohort.export.adtte import adtte
from cohort.export.consistency import refuse_inconsistent
from cohort.export.virtual import ExportError, VirtualTrial, virtual_trial
from cohort.record import file_digest
from cohort.store import write_text

if TYPE_CHECKING:
    from cohort.results import Results

FORMATS = ("xpt", "json", "define")
OTHERS: dict[str, Callable[[VirtualTrial, Dataset], tuple[Dataset | None, list[str]]]] = {
    "ADPC": adpc,
    "ADEFF": adeff,
    "ADAE": adae,
    "ADTTE": adtte,
    "ADPP": adpp,
}


@dataclass(frozen=True)
class Package:
    """The data sets, ADSL first; absent: why each of the others is not there; partly: what is missing in one."""

    trial: VirtualTrial
    datasets: tuple[Dataset, ...]
    absent: dict[str, list[str]] = field(default_factory=dict)
    partly: dict[str, list[str]] = field(default_factory=dict)


def package(trial: VirtualTrial) -> Package:
    """Every data set that the trial gives, checked against each other. Errors: InconsistentError."""
    subjects = adsl(trial)
    made, absent, partly = [subjects], {}, {}
    for name, build in OTHERS.items():
        one, said = build(trial, subjects)
        if one is None:
            absent[name] = said
            continue
        made.append(one)
        if said:
            partly[name] = said
    refuse_inconsistent(made)
    return Package(trial, tuple(made), absent, partly)


def write_package(package: Package, folder: Path, when: datetime, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the files, each whole or not at all, the define after what it describes; returns them, in that order. What
    another export left in the folder under such a name is removed. `when`: the time the files say they were made.
    Errors: NotExportable, of any of the data sets, before a file is written."""
    names = [f"{name.lower()}.{suffix}" for name in ("ADSL", *OTHERS) for suffix in ("xpt", "json")]
    before = [folder / name for name in (*names, "define.xml")]
    for one in package.datasets:
        refuse(one.fitted())
        refuse_undescribed(one)
    written = []
    for one in package.datasets:
        if "xpt" in formats:
            written.append(folder / f"{one.name.lower()}.xpt")
            write_transport(one, written[-1], when)
        if "json" in formats:
            written.append(folder / f"{one.name.lower()}.json")
            write_dataset_json(one, written[-1], when)
    if "define" in formats:
        written.append(folder / "define.xml")
        suffix = ".xpt" if "xpt" in formats or "json" not in formats else ".json"
        study, title = simulated_study(package.trial.study.name), f"SIMULATED: {package.trial.study.title}"
        about = f"{title}. Virtual trial of parameter draw {package.trial.draw}; every subject is virtual."
        write_define(package.datasets, written[-1], when, study=study, description=about, suffix=suffix)
    written.append(folder / "README.txt")
    write_text(written[-1], readme(package))
    for stale in set(before) - set(written):
        stale.unlink(missing_ok=True)
    return written


def readme(package: Package) -> str:
    """What the folder holds and what not, in words."""
    trial = package.trial
    lines = [
        f"SIMULATED analysis data sets of {trial.study.name}: {trial.study.title}",
        "",
        *textwrap.wrap(
            f"One virtual trial, that of parameter draw {trial.draw} of {trial.study.analysis.draws}. Every subject is "
            "virtual; no person was studied. The data set labels, STUDYID and SIMFL say so. One trial shows how the "
            "data would look, not how sure the prediction is: that takes every draw, and is in the comparison.",
            100,
        ),
        "",
        *textwrap.wrap(
            f"Dates only stand for days: enrolment starts on {trial.start.isoformat()}, a date without a meaning.", 100
        ),
        "",
        "What is here",
        *(f"  {one.name}  {one.label}: {one.rows.height} records" for one in package.datasets),
        "",
        "What is not here",
    ]
    absences = package.absent | package.partly
    for name, said in absences.items():
        where = name if name in package.absent else f"{name}, in part"
        lines += [f"  {where}: {reason}" for reason in said]
    return "\n".join([*lines, *(["  Nothing: every data set is complete."] if not absences else [])]) + "\n"


def export(
    results: "Results",
    *,
    draw: int | None = None,
    formats: Sequence[str] = FORMATS,
    folder: Path | None = None,
    start: date = EPOCH,
) -> Package:
    """Write a study's data sets to its results, or to another folder, and a line to its audit trail. The files say
    they were made when the trials were, or at SOURCE_DATE_EPOCH: the same run gives the same bytes. Errors:
    ExportError, InconsistentError, NotExportable; ResultsError for a step that was not run."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ExportError(f"--format {', '.join(unknown)}: write one or more of {', '.join(FORMATS)}, with commas")
    made = package(virtual_trial(results, draw, start))
    into = results.folder / "export" if folder is None else folder
    if folder is None:
        results.begin("export")
    files = write_package(made, into, _when(results), formats)
    if folder is None:
        results.stamp("export")
    hashes = {file.name: file_digest(file) for file in files}
    results.audit.append("exported", draw=made.trial.draw, start=start.isoformat(), files=hashes)
    return made


def _when(results: "Results") -> datetime:
    """When the trials were run, by the audit trail; SOURCE_DATE_EPOCH where that is set."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return created(None)
    ran = [line["time"] for line in results.audit.lines() if line["event"] == "trials"]
    if not ran:
        raise ExportError(
            f"{results.audit.path} does not say when the trials were run; run: cohort trial {results.study.path}"
        )
    return datetime.fromisoformat(ran[-1])
