"""Torsade risk of 28 drugs from the net charge that flows in a heart cell: class boundaries from the 12 drugs for
training, applied once to the 16 for validation.

Each sample of a drug is a lane: its own hERG kinetics and Hill curves (FDA's 2020 set), four concentrations, paced
from the undrugged steady state on. Options: `samples` of the 2000 there are, `beats` of each lane, `block` lanes a
job.

References
----------
[1] Li et al. 2019, Clin Pharmacol Ther 105:466-475, doi 10.1002/cpt.1184: torsade metric score, classes, measures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cohort.analysis.torsade import (
    ProportionalOdds,
    Scores,
    counted,
    draw,
    fit,
    interval,
    jackknifed,
    judge,
    left_out,
    majority,
    measures,
    scores,
)
from cohort.chapters import Chapter, ChapterError, Data, Figure, Text
from cohort.chapters.torsade import page, population
from cohort.chapters.torsade.cells import TIMES, lanes, summary
from cohort.chapters.torsade.drugs import classes, net_blocks, samples, table
from cohort.chapters.torsade.fda import against_fda
from cohort.display.table import Table
from cohort.results import Results

OPTIONS = {"samples": 8, "beats": 300, "block": 56}
MOST = {"samples": 2000}
FIRST = 25  # samples whose lanes are kept one by one: those of which FDA's own results are at hand


def _options(results: Results) -> dict[str, int]:
    """Errors: ChapterError."""
    given = results.study.chapters["torsade"]
    if unknown := sorted(set(given) - set(OPTIONS)):
        raise ChapterError(f"chapters.torsade.{unknown[0]}: unknown option; there are: {', '.join(OPTIONS)}")
    options = OPTIONS | {name: int(value) for name, value in given.items()}
    for name, value in options.items():
        if not 1 <= value <= MOST.get(name, value):
            most = f"1 to {MOST[name]}" if name in MOST else "1 or more"
            raise ChapterError(f"chapters.torsade.{name}: {value}; write {most}")
    return options


def predict(results: Results, data: Data) -> dict[str, Any]:
    """Scores of all drugs, boundaries from the training drugs, and the class that these give every drug."""
    options, drugs = _options(results), table(results, validation=False)
    drawn = {drug: samples(drug, options["samples"], data) for drug in drugs["drug"]}
    cells = lanes(drugs, drawn, options, data)
    known = {"qnet": scores(cells, "qnet", TIMES)} | net_blocks(drawn, drugs)
    training = classes(drugs)
    classifiers = {metric: _classifier(own, training) for metric, own in known.items()}
    counts = {
        metric: dict(
            zip(own, counted(own, lambda drug, m=metric: _odds(classifiers[m]), list(own)).tolist(), strict=True)
        )
        for metric, own in known.items()
    }
    return {
        "options": options,
        "cells": summary(cells).to_dicts(),
        "first": cells.filter(pl.col("sample") <= FIRST).to_dicts(),
        "scores": {metric: {drug: own[drug].tolist() for drug in own} for metric, own in known.items()},
        "classifiers": classifiers,
        "counts": counts,
        "population": population.accept(results),
    }


def _classifier(known: Scores, training: Mapping[str, int]) -> dict[str, Any]:
    """Coefficients and boundaries, with Monte Carlo errors, and how far each training drug, left out, moves them."""

    def boundaries(some: Scores) -> np.ndarray:
        return np.array(fit(some, training).boundaries)

    own = fit(known, training)
    without = np.array([m.boundaries for m in left_out(known, training).values()])
    return {
        "intermediate": own.intermediate,
        "high": own.high,
        "slope": own.slope,
        "boundaries": list(own.boundaries),
        "errors": jackknifed({d: known[d] for d in training}, boundaries).tolist(),
        "lowest": np.nanmin(without, axis=0).tolist(),
        "highest": np.nanmax(without, axis=0).tolist(),
        "apart": [_apart(known, training, k) for k in (0, 1)],
    }


def _apart(known: Scores, training: Mapping[str, int], k: int) -> bool:
    """Whether no sample of a class up to k lies among those of the classes above it: the boundary is then half-way
    between the two that are nearest, and hangs on these."""
    below = np.concatenate([known[drug] for drug, own in training.items() if own <= k])
    above = np.concatenate([known[drug] for drug, own in training.items() if own > k])
    return bool(below.min() > above.max() or below.max() < above.min())


def _odds(of: Mapping[str, Any]) -> ProportionalOdds:
    return ProportionalOdds(of["intermediate"], of["high"], of["slope"])


def made(results: Results, predicted: Mapping[str, Any], data: Data) -> Chapter:
    """Open the classes of the validation drugs and FDA's own results, and say how near the predictions come."""
    drugs = table(results, validation=True)
    known = {
        metric: {drug: np.array(values) for drug, values in own.items()} for metric, own in predicted["scores"].items()
    }
    judged = {metric: _performance(known[metric], drugs) for metric in page.METRICS}
    rows = page.drug_rows(predicted, known["qnet"], drugs, judged["qnet"])
    blocks: list[Text | Table | Figure] = [
        Text(_question(predicted)),
        page.drug_table(rows, predicted["options"]["samples"]),
        Figure(
            "torsade_scores",
            page.drawn(known["qnet"], drugs, predicted["classifiers"]["qnet"]),
            page.drawn_caption(predicted),
        ),
        page.boundary_table(page.boundary_rows(predicted, known, drugs)),
        page.measure_table(judged, "validation", "The 16 drugs for validation, by boundaries from the 12 for training"),
        page.measure_table(judged, "left_out", "All 28 drugs, each by the fit on the other 27 (secondary)"),
        *against_fda(predicted, known["qnet"], data),
        *(population.shown(predicted["population"]) if predicted["population"] else []),
    ]
    right = {part: [r for r in rows if r["set"] == part and not r["missed"]] for part in ("training", "validation")}
    missed = [r for r in rows if r["missed"]]
    names = ", ".join(f"{r['drug']} ({r['class']}, said {r['said']})" for r in missed) or "none"
    safety = (
        f"{len(right['training']) + len(right['validation'])} of {len(rows)} drugs fall into their class, "
        f"{len(right['validation'])} of {sum(r['set'] == 'validation' for r in rows)} of those for validation; "
        f"missed: {names}."
    )
    return Chapter(
        "Torsade risk of 28 drugs",
        "absent: none of these drugs is meant to work on the cell here; the question is their risk.",
        safety,
        _findings(predicted, rows, judged, drugs),
        blocks,
    )


def _performance(known: Scores, drugs: pl.DataFrame) -> dict[str, Any]:
    """CiPA's measures on the validation drugs by the training drugs' fit, and on all left out in turn."""
    truth = classes(drugs)
    training = [drug for drug, part in zip(drugs["drug"], drugs["set"], strict=True) if part == "training"]
    taught = {drug: truth[drug] for drug in training}
    drawn = draw(known, page.DRAWS, 1)
    new = np.array([drug not in taught for drug in truth])

    def once(some: Scores) -> dict[str, np.ndarray]:
        own = fit(some, taught)
        judged = judge(some, truth, lambda drug: own, drawn, training)
        return measures(judged.of(new), judged)

    def in_turn(some: Scores) -> dict[str, np.ndarray]:
        own = left_out(some, truth)
        return measures(judge(some, truth, own.__getitem__, drawn, training))

    counts = counted(known, left_out(known, truth).__getitem__, list(truth))
    told: dict[str, Any] = {"counts": dict(zip(truth, counts.tolist(), strict=True))}
    told["majority"] = dict(zip(truth, majority(counts).tolist(), strict=True))
    for name, of in (("validation", once), ("left_out", in_turn)):
        found = of(known)
        # Likelihood ratios may be infinite, and have no mean then.
        sure = [measure for measure in found if "LR" not in measure]

        def means(some: Scores, of: Any = of, sure: Sequence[str] = sure) -> np.ndarray:
            own = of(some)
            return np.array([own[measure].mean() for measure in sure])

        errors = dict(zip(sure, jackknifed(known, means).tolist(), strict=True))
        told[name] = {
            measure: dict(zip(("value", "low", "high"), interval(values), strict=True))
            | {"error": errors.get(measure), "mean": float(values.mean()) if measure in sure else None}
            for measure, values in found.items()
        }
    return told


def _question(predicted: Mapping[str, Any]) -> str:
    options = predicted["options"]
    paced = sum(cell["samples"] for cell in predicted["cells"])
    unsolved = sum(cell["unsolved"] for cell in predicted["cells"])
    failed = sum(cell["failed"] for cell in predicted["cells"])
    return (
        "Does the net charge that flows during a beat of a heart cell, under what each drug does to its currents, put "
        "a drug into the class of torsade risk in which experts put it? Boundaries come from 12 drugs (proportional "
        "odds on all samples, every drug with the same weight) and are applied once to 16 others. "
        f"{paced} lanes were paced {options['beats']} beats of 2 s each: 28 drugs, {options['samples']} of the 2000 "
        f"samples of their hERG kinetics and Hill curves, 4 concentrations. {unsolved} could not be "
        f"solved; {failed} failed to repolarise in the last beat, and enter with the charge that they have."
        + _overlap(predicted["classifiers"]["qnet"]["apart"])
    )


def _overlap(apart: Sequence[bool]) -> str:
    if not any(apart):
        return ""
    which = " and ".join(name for name, own in zip(("first", "second"), apart, strict=True) if own)
    return (
        f" In these samples the training drugs on both sides of the {which} boundary do not overlap: where neither "
        "boundary is crossed, each lies half-way between the two nearest samples, and hangs on these."
    )


def _findings(
    predicted: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    judged: Mapping[str, Mapping[str, Any]],
    drugs: pl.DataFrame,
) -> list[str]:
    """What the top of the report says: measures beside the baseline's, leave-one-out beside FDA's."""
    cell, net = judged["qnet"]["validation"], judged["net_block"]["validation"]
    truth = dict(zip(drugs["drug"], drugs["class"], strict=True))
    out = {m: sum(judged[m]["majority"][d] == truth[d] for d in truth) for m in ("qnet", "net_block")}
    fda = [r for r in rows if r["fda"] != r["class"]]
    alike = [r for r in rows if r["left_out"] == r["fda"]]
    apart = ", ".join(f"{r['drug']} ({r['left_out']}, FDA {r['fda']})" for r in rows if r["left_out"] != r["fda"])

    def beside(measure: str) -> str:
        return f"{page.ratio(cell[measure]['value'])} ({page.ratio(net[measure]['value'])})"

    return [
        f"On the 16 validation drugs, median over draws, net block of currents without a cell in brackets: AUC1 "
        f"{beside('AUC1')}, AUC2 {beside('AUC2')}, pairs in order {beside('pairwise')}, LR+ {beside('LR1+')} "
        f"and {beside('LR2+')}, mean error {beside('error')} classes.",
        f"Left out in turn, {out['qnet']} of 28 drugs fall into their class (FDA's own fit: {len(rows) - len(fda)}; "
        f"net block: {out['net_block']}); {len(alike)} of 28 fall as in FDA's" + (f", not {apart}." if apart else "."),
    ]
