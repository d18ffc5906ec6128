"""The chapter on torsade risk: validation classes cannot reach a prediction, and what is known of the drugs."""

import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from cohort import external
from cohort.chapters import ChapterError, Data, torsade, write
from cohort.chapters.torsade import drugs as drugs_of
from cohort.chapters.torsade import fda
from cohort.chapters.torsade.cells import NAMES, limit, paced
from cohort.chapters.torsade.population import RANGES, accept, shown
from cohort.results import Results

SAMPLES = 6
needs_samples = pytest.mark.skipif(
    external.found("cipa/hill_samples/bepridil_IC50_samples.csv.gz") is None,
    reason="put cipa/hill_samples of FDA/CiPA below COHORT_DATA",
)


@pytest.fixture
def results(root, tmp_path):
    """A study folder of its own, with the table of drugs."""
    (tmp_path / drugs_of.DRUGS).parent.mkdir(parents=True)
    shutil.copy(root / drugs_of.DRUGS, tmp_path / drugs_of.DRUGS)
    study = SimpleNamespace(chapters={"torsade": {"samples": SAMPLES, "beats": 3}}, root=tmp_path, arms={})
    return Results(study, tmp_path / "results")  # type: ignore[arg-type]


@pytest.fixture
def without_cells(monkeypatch):
    """Net charge that falls with block of hERG at Cmax, in place of paced cells."""

    def cells(drugs, samples, options, data):
        rows = []
        for drug, cmax in zip(drugs["drug"], drugs["cmax"], strict=True):
            ic50 = samples[drug]["hERG_IC50"].to_numpy()
            rows += [
                {
                    "drug": drug,
                    "sample": i + 1,
                    "times_cmax": k,
                    "qnet": 0.07 - 0.04 * k * cmax / (k * cmax + at),
                    "apd90": 300.0,
                }
                for i, at in enumerate(ic50)
                for k in torsade.TIMES
            ]
        return pl.DataFrame(rows).with_columns(failed=pl.lit(0.0), code=pl.lit(0))

    monkeypatch.setattr(torsade, "lanes", cells)


def test_there_are_28_drugs_12_to_train_on_and_8_11_and_9_of_each_risk(results):
    drugs = drugs_of.table(results, validation=True)
    assert (drugs["set"] == "training").sum() == 12
    assert np.bincount(drugs["class"].to_numpy()).tolist() == [9, 11, 8]
    training = drugs.filter(pl.col("set") == "training")
    assert np.bincount(training["class"].to_numpy()).tolist() == [4, 4, 4]


def test_predicting_the_classes_of_validation_drugs_are_not_told(results):
    drugs = drugs_of.table(results, validation=False)
    assert set(drugs.columns) == {"drug", "set", "cmax", "class"}
    hidden = drugs.filter(pl.col("set") == "validation")
    assert hidden["class"].null_count() == hidden.height == 16


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beatz": 3}, "beatz: unknown option; there are: samples"),
        ({"samples": 2001}, "samples: 2001; write 1 to 2000"),
    ],
)
def test_options_that_there_are_not_are_refused(results, options, said):
    results.study.chapters["torsade"] = options
    with pytest.raises(ChapterError, match=said):
        torsade.predict(results, Data(results, "torsade"))


@needs_samples
def test_other_classes_of_validation_drugs_predict_the_same(results, without_cells):
    before = torsade.predict(results, Data(results, "torsade"))
    file = results.study.root / drugs_of.DRUGS
    table = pl.read_csv(file)
    turned = pl.when(pl.col("set") == "validation").then(pl.lit("low")).otherwise(pl.col("class"))
    table.with_columns(turned.alias("class")).write_csv(file)
    assert torsade.predict(results, Data(results, "torsade")) == before


@needs_samples
def test_validation_data_are_opened_after_the_prediction_is_frozen(results, without_cells):
    write(results, "torsade", Data(results, "torsade"))
    lines = results.audit.lines()
    frozen = [line["event"] for line in lines].index("chapter frozen")
    uses = [(line["use"], i > frozen) for i, line in enumerate(lines) if line["event"] == "data opened"]
    assert {after for use, after in uses if use == "validation"} == {True}
    assert {after for use, after in uses if use != "validation"} == {False}
    assert sum(use == "input" for use, _ in uses) == 56  # hERG kinetics and Hill curves of 28 drugs


@needs_samples
def test_the_2018_kinetics_are_never_read(results, without_cells):
    torsade.predict(results, Data(results, "torsade"))
    files = [line["file"] for line in results.audit.lines() if line["event"] == "data opened"]
    assert not [file for file in files if "boot_pars" in file and "2020" not in file]


@needs_samples
def test_the_samples_are_those_of_the_fdas_own_rows(results):
    """Of all 25 samples of four drugs whose rows FDA's results have: kinetics and Hill curves, paired as here."""
    rows = pl.read_csv(external.file(fda.EXACT, obtain=drugs_of.OBTAIN)).filter(pl.col("dose_xCmax") == 1)
    for name, theirs in rows.group_by("drug"):
        own = drugs_of.samples(str(name[0]), 25, Data(results, "torsade")).drop("hERG_IC50", "hERG_h")
        assert own.equals(theirs.sort("sample").select(pl.col(own.columns).cast(pl.Float64)))


def test_what_shrinks_by_a_factor_is_extrapolated_to_its_limit_and_nothing_else():
    settled = limit(np.array([5 + 3.0, 1.0, 2.0]), np.array([5 + 1.5, 1.0, 3.0]), np.array([5 + 0.75, 1.0, 4.5]))
    assert settled == pytest.approx([5.0, 1.0, 4.5], abs=1e-12)


@pytest.fixture(scope="module")
def fda_lanes():
    """Sample 1 of three drugs at 1 to 4 times Cmax: what FDA's own rows say went in, and came out."""
    table = external.found(fda.EXACT)
    if table is None:
        pytest.skip(f"put {fda.EXACT} of FDA/CiPA below COHORT_DATA")
    rows = pl.read_csv(table).filter((pl.col("sample") == 1) & (pl.col("drug") != "bepridil"))
    return rows.rename({"dose_xCmax": "times_cmax"}).with_columns(concentration=pl.col("conc_nM"))


def test_300_beats_extrapolated_come_within_4e_5_of_the_fdas_1000(fda_lanes):
    columns = fda_lanes.select("drug", "sample", "times_cmax", *NAMES).to_dict(as_series=False)
    found = paced(columns, 300)
    assert (found["qnet"] - fda_lanes["out_qNet"]).abs().max() < 4e-5
    assert (found["apd90"] - fda_lanes["out_APD90"]).abs().max() <= 1


def test_a_lane_has_the_same_bits_in_any_company(fda_lanes):
    columns = fda_lanes.select("drug", "sample", "times_cmax", *NAMES)
    together = paced(columns.to_dict(as_series=False), 2)
    alone = pl.concat(paced(columns[i].to_dict(as_series=False), 2) for i in (0, 7))
    assert together[[0, 7]].equals(alone)


class _Cells:
    """Four people in two arms; beats are straight falls from 40 to -88 mV: in 300 ms undrugged, in 500 with the drug,
    but for one cell whose undrugged beat takes 600 ms, and one that with the drug does not come back."""

    def __init__(self, folder):
        arms = {"none": SimpleNamespace(control=None), "drug": SimpleNamespace(control="none")}
        self.study = SimpleNamespace(arms=arms, seed=1, model="cipa", path=folder / "study.yaml")
        self.population = pl.DataFrame({"subject": list("abcd"), "sex": ["male", "male", "female", "female"]})

    def visits_of(self, arm):
        at = np.arange(2001.0)
        lengths = (
            {"a": 300, "b": 300, "c": 600, "d": 300} if arm == "none" else {"a": 500, "b": 9000, "c": 500, "d": 500}
        )
        rows = []
        for subject, length in lengths.items():
            v = np.where(at == 0, -88.0, np.maximum(40 - 128 * (at - 1) / length, -88.0))
            rows.append(pl.DataFrame({"subject": subject, "time": at, "v": v, "qnet": at / 2000 * 70}))
        return pl.concat(rows).with_columns(draw=pl.lit(0))


def test_cells_are_accepted_by_their_undrugged_beat_and_the_others_leave_every_arm(tmp_path, monkeypatch):
    monkeypatch.setattr("cohort.chapters.torsade.population.RANGES", {"apd90": RANGES["apd90"]})
    found = accept(_Cells(tmp_path))  # type: ignore[arg-type]
    assert found is not None
    assert (found["cells"], found["accepted"], found["by_sex"]) == (4, 3, {"women": [1, 2], "men": [2, 2]})
    rows = {(row["arm"], row["sex"]): row for row in found["arms"]}
    assert rows["none", "all"]["apd90"] == pytest.approx(0.9 * 300, abs=2)
    assert rows["drug", "all"]["longer"] == pytest.approx(0.9 * 200, abs=2)
    assert (rows["drug", "all"]["failures"], rows["drug", "all"]["n"]) == (1, 3)
    assert rows["drug", "all"]["share_low"] == pytest.approx(0.0084, abs=1e-4)  # exact limits of 1 in 3
    assert rows["none", "men"]["qnet"] == pytest.approx(0.07)
    words = shown(found)[0]
    assert "3 of 4 virtual cells (75 % ± 21.7 %" in words.text  # type: ignore[union-attr]


def test_classes_are_apart_where_no_sample_lies_among_those_of_another():
    known = {"a": np.array([0.08, 0.07]), "b": np.array([0.065, 0.05]), "c": np.array([0.055, 0.04])}
    classes = {"a": 0, "b": 1, "c": 2}
    assert [torsade._apart(known, classes, k) for k in (0, 1)] == [True, False]
