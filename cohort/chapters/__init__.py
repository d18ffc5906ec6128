"""Chapters: what the report of a study says beyond the spine, one analysis of one field a file.

A study names its chapters. Each file here has two functions, and cannot see what it predicts before it has:

    predict(results, data) -> plain values     frozen: their hash goes into the audit trail
    made(results, predicted, data) -> Chapter  only now may validation data be opened

Data of others come through `data.open`, so that the trail tells which were opened, when, and as what.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import polars as pl

from cohort import external
from cohort.display.table import Table
from cohort.record import canonical, digest, file_digest, plain
from cohort.results import Results
from cohort.store import Job, Store, run, write_text

type Use = Literal["input", "calibration", "validation"]


class ChapterError(ValueError):
    """A chapter that is not there or opens what it may not; the message says which, and what to write instead."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Figure:
    """`drawn`: SVG text, as `cohort.display.style.svg` gives it."""

    name: str
    drawn: str
    caption: str


@dataclass(frozen=True)
class Chapter:
    """`efficacy`, `safety`: the verdict in a sentence, or why there is none. `findings`: what a reader of the top of
    the report shall know. `blocks`: in order; tables are numbered when the report is made."""

    title: str
    efficacy: str
    safety: str
    findings: Sequence[str]
    blocks: Sequence[Text | Table | Figure]


class _Analysis(Protocol):
    def predict(self, results: Results, data: "Data") -> Mapping[str, Any]: ...

    def made(self, results: Results, predicted: Mapping[str, Any], data: "Data") -> Chapter: ...


@dataclass
class Data:
    """What a chapter reads of others' data, and where its heavy work is done.

    store, client: of the study and its cluster; without them jobs run here, one after another, and nothing is kept."""

    results: Results
    chapter: str
    store: Store | None = None
    client: Any = None
    frozen: bool = False
    used: list[str] = field(default_factory=list)

    def open(self, path: str, *, use: Use, obtain: str) -> Path:
        """A file below the folder of COHORT_DATA. use: `input` of the model, `calibration`, or `validation`, which may
        not be opened before the chapter's predictions are frozen. Errors: AbsentData, ChapterError."""
        if use == "validation" and not self.frozen:
            raise ChapterError(f"chapter {self.chapter}: {path} is for validation; open it in made(), not in predict()")
        file = external.file(path, obtain=obtain)
        told = {"chapter": self.chapter, "use": use, "file": path, "sha256": file_digest(file)}
        self.results.audit.append("data opened", **told)
        return file

    def solve(self, jobs: Sequence[Job], said: Any = lambda text: None) -> list[pl.DataFrame]:
        """The tables of these jobs, in their order, made where they are not there yet."""
        if self.store is None:
            return [job.work(*job.args) for job in jobs]
        keys = list(run(self.store, jobs, client=self.client, said=said))
        self.used += keys
        return [self.store.read(key) for key in keys]


def known() -> list[str]:
    """The names of the chapters that there are."""
    here = Path(__file__).parent
    files = {p.stem for p in here.glob("*.py")} | {p.parent.name for p in here.glob("*/__init__.py")}
    return sorted(files - {"__init__"})


def analysis(name: str) -> _Analysis:
    """The two functions of a chapter. Errors: ChapterError for one that there is not."""
    if name not in known():
        raise ChapterError(f"no chapter {name!r}; there are: {', '.join(known())}")
    return cast(_Analysis, importlib.import_module(f"cohort.chapters.{name}"))


def write(results: Results, name: str, data: Data) -> Path:
    """Predict, freeze, open and assemble one chapter; its text, tables and figures go to chapters/<name>.json, with
    every table as CSV and every figure as SVG beside it. Where data are absent the chapter says which to obtain."""
    own = analysis(name)
    try:
        predicted = plain(own.predict(results, data))
        results.audit.append("chapter frozen", chapter=name, predicted=digest(predicted))
        data.frozen = True
        chapter = own.made(results, predicted, data)
    except external.AbsentData as e:
        reason = "not assessed: data are absent"
        chapter = Chapter(name.replace("_", " ").capitalize(), reason, reason, [str(e)], [Text(str(e))])
        predicted = {}
    folder = results.folder / "chapters"
    for old in [*folder.glob(f"{name}/*.csv"), *folder.glob(f"{name}/*.svg")]:
        old.unlink()
    blocks = [_kept(block, folder / name) for block in chapter.blocks]
    told = {
        "title": chapter.title,
        "efficacy": chapter.efficacy,
        "safety": chapter.safety,
        "findings": list(chapter.findings),
        "blocks": blocks,
        "predicted": predicted,
    }
    file = folder / f"{name}.json"
    write_text(file, canonical(plain(told)))
    return file


def _kept(block: Text | Table | Figure, folder: Path) -> dict[str, Any]:
    """A block as the report shows it: words and figures, no values to compute with."""
    match block:
        case Text(text):
            return {"kind": "text", "text": text}
        case Figure(name, drawn, caption):
            write_text(folder / f"{name}.svg", drawn)
            return {"kind": "figure", "name": name, "drawn": drawn, "caption": caption}
        case Table():
            write_text(folder / f"{block.name}.csv", block.csv())
            heads = [{"label": c.label, "plain": c.plain} for c in block.shown]
            rows = [
                {"missed": bool(row.get("missed")), "cells": [c.cell(row) for c in block.shown]} for row in block.rows
            ]
            return {
                "kind": "table",
                "name": block.name,
                "title": block.title,
                "caption": block.caption,
                "heads": heads,
                "rows": rows,
            }


__all__ = ["Chapter", "ChapterError", "Data", "Figure", "Text", "analysis", "known", "write"]
