"""Chapters: predictions are frozen before validation data are opened, and what was opened stands in the trail."""

import json
import sys
import types

import polars as pl
import pytest

from cohort import chapters, external
from cohort.chapters import Chapter, ChapterError, Data, Text
from cohort.display.table import Column, Table
from cohort.record import digest
from cohort.results import Results
from cohort.store import Job

TABLE = Table("C1", "arms", "Arms", "Means, no interval.", [Column("arm", "arm", plain=True)], [{"arm": "placebo"}])


STUDY = types.SimpleNamespace(chapters={"example": {}})


@pytest.fixture
def results(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "seen.csv").write_text("y\n3\n")
    monkeypatch.setenv(external.VARIABLE, str(tmp_path / "data"))
    return Results(STUDY, tmp_path / "results")  # type: ignore[arg-type]


def _named(monkeypatch, predict, made):
    module = types.ModuleType("cohort.chapters.example")
    module.predict, module.made = predict, made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cohort.chapters.example", module)
    monkeypatch.setattr(chapters, "known", lambda: ["example"])


def _chapter(results, predicted, data):
    data.open("seen.csv", use="validation", obtain="it")
    return Chapter("Example", "none", "none", [f"predicted {predicted['y']}"], [Text("words"), TABLE])


def test_predictions_are_frozen_before_validation_data_are_opened(results, monkeypatch):
    _named(monkeypatch, lambda results, data: {"y": 2}, _chapter)
    file = chapters.write(results, "example", Data(results, "example"))
    told = [line["event"] for line in results.audit.lines()]
    assert told == ["chapter frozen", "data opened"]
    assert results.audit.lines()[0]["predicted"] == digest({"y": 2})
    kept = json.loads(file.read_text())
    assert kept["findings"] == ["predicted 2"]
    assert kept["blocks"][1]["rows"] == [{"missed": False, "cells": ["placebo"]}]
    assert (results.folder / "chapters/example/arms.csv").read_text() == "arm\nplacebo\n"


def test_validation_data_stay_closed_while_predicting(results, monkeypatch):
    def peeks(results, data):
        data.open("seen.csv", use="validation", obtain="it")

    _named(monkeypatch, peeks, _chapter)
    with pytest.raises(ChapterError, match=r"seen\.csv is for validation; open it in made"):
        chapters.write(results, "example", Data(results, "example"))


def test_without_the_data_a_chapter_says_what_to_obtain(results, monkeypatch):
    monkeypatch.setenv(external.VARIABLE, str(results.folder))
    _named(monkeypatch, lambda results, data: {}, _chapter)
    kept = json.loads(chapters.write(results, "example", Data(results, "example")).read_text())
    assert "obtain it" in kept["findings"][0]
    assert kept["efficacy"].startswith("not assessed")


def _squares(n):
    return pl.DataFrame({"square": [n * n]})


def test_jobs_come_back_in_their_order_without_a_store(results):
    made = Data(results, "example").solve([Job(str(n), _squares, (n,)) for n in (3, 1, 2)])
    assert [t["square"][0] for t in made] == [9, 1, 4]


def test_an_unknown_chapter_is_refused_with_those_that_there_are():
    with pytest.raises(ChapterError, match="no chapter 'weather'; there are:"):
        chapters.analysis("weather")
