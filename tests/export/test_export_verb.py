"""`cohort export` on a study of sixty patients whose conduct is declared, from its population to its files."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pyreadstat
import pytest
from typer.testing import CliRunner, Result

from cohort.cdisc.dataset import CdiscError
from cohort.cdisc.read import read_adam
from cohort.cli import app
from cohort.export.package import FORMATS
from cohort.record import Audit, file_digest

ARMS = ("placebo_q2w", "evolocumab_140_q2w", "evolocumab_420_q4w")
STUDY = "config/studies/small.yaml"
CONDUCT = """conduct:
  dropout: 0
  source: a test
  visits: {window: 2 d, missed: 0.05, source: a test}
  discontinuation: {share: 0.2, source: a test}
  withdrawal: {share: 0.2, source: a test}

"""
DATASETS = ("adsl", "adpc", "adeff", "adtte", "adpp")  # no parameter is an adverse event's risk


def cohort(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def done(*words: str | Path) -> Result:
    result = cohort(*words)
    assert result.exit_code == 0, result.output
    return result


def refused(*words: str | Path) -> str:
    result = cohort(*words)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return result.stderr


def small(text: str) -> str:
    """LAPLACE cut to three arms of twenty and sixteen draws, with a conduct and without a calibration."""
    sections: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        name = line.split(":")[0] if line[:1].isalpha() else name
        sections.setdefault(name, []).append(line)
    arms = [x for x in sections["arms"] if not x.startswith("  ") or x.split(":")[0].strip() in ARMS]
    sections["arms"] = [x.replace("{n: 78", "{n: 20").replace("{n: 80", "{n: 20") for x in arms]
    sections["conduct"] = [CONDUCT]
    sections["population"] = [x.replace("size: 2000", "size: 80") for x in sections["population"]]
    sections["analysis"] = [x.replace("draws: 64", "draws: 16") for x in sections["analysis"]]
    kept = {n: lines for n, lines in sections.items() if n not in ("calibration", "evidence")}
    return "".join("".join(lines) for lines in kept.values())


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every step up to the trial and the export were run."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "config/studies").mkdir(parents=True)
    shutil.copytree(root / "config/cluster", folder / "config/cluster")
    text = small((root / "config/studies/laplace.yaml").read_text())
    (folder / STUDY).write_text(text.replace("control: placebo_q4w", "control: placebo_q2w"))
    for verb in ("population", "simulate", "trial", "export"):
        done(verb, folder / STUDY)
    return folder


@pytest.fixture
def fresh(finished: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(finished, tmp_path / "again")
    return tmp_path / "again"


def test_all_files_are_there_and_the_trail_says_which(finished):
    folder = finished / "results/small/export"
    expected = {f"{name}.{suffix}" for name in DATASETS for suffix in ("xpt", "json")} | {"define.xml", "README.txt"}
    assert {file.name for file in folder.iterdir()} == expected
    line = Audit(finished / "results/small/audit.jsonl").lines()[-1]
    assert (line["event"], line["draw"], line["start"]) == ("exported", 1, "1960-01-01")
    assert line["files"] == {file.name: file_digest(file) for file in folder.iterdir()}
    assert (finished / "results/small/made/export.json").is_file()
    told = (folder / "README.txt").read_text()
    assert "ADAE: treatment_related_ae, treatment_related_serious_ae, treatment_related_severe_ae: the" in told
    assert "SIMULATED" in told.splitlines()[0]


def test_another_program_reads_the_same_numbers_from_both_formats(finished):
    """pyreadstat reads transport files; the JSON is read as such."""
    folder = finished / "results/small/export"
    for name in DATASETS:
        file = folder / f"{name}.xpt"
        frame, meta = pyreadstat.read_xport(file, output_format="polars", disable_datetime_conversion=True)
        assert isinstance(frame, pl.DataFrame)
        plain = json.loads((folder / f"{name}.json").read_text())
        assert meta.file_label == plain["label"]
        assert plain["label"].startswith("SIMULATED ")
        assert frame.height == plain["records"] == len(plain["rows"]) > 0
        assert frame.columns == [column["name"] for column in plain["columns"]]
        assert set(frame["STUDYID"]) == {"SIM-SMALL"}
        theirs = read_adam(folder / f"{name}.json")
        for column in {"AVAL", "AGE", "TRTPN"} & set(frame.columns):
            assert frame[column].to_list() == theirs[column].to_list()
    assert set(read_adam(folder / "adsl.xpt")["TRT01P"]) == set(ARMS)


def test_the_define_names_every_data_set_and_the_draw(finished):
    text = (finished / "results/small/export/define.xml").read_text()
    tree = ET.fromstring(text)
    sets = [e.attrib["Name"] for e in tree.iter() if e.tag.endswith("}ItemGroupDef")]
    assert sets == ["ADSL", "ADPC", "ADEFF", "ADTTE", "ADPP"]
    assert "Virtual trial of parameter draw 1" in text


def test_the_same_run_gives_the_same_bytes_and_the_time_is_that_of_the_trials(finished, fresh):
    done("export", fresh / STUDY)
    for file in (finished / "results/small/export").iterdir():
        assert (fresh / "results/small/export" / file.name).read_bytes() == file.read_bytes(), file.name
    ran = next(x for x in Audit(fresh / "results/small/audit.jsonl").lines() if x["event"] == "trials")["time"]
    made = json.loads((fresh / "results/small/export/adsl.json").read_text())["datasetJSONCreationDateTime"]
    assert datetime.fromisoformat(made) == datetime.fromisoformat(ran).replace(microsecond=0)


def test_another_draw_is_another_trial_in_the_formats_and_the_folder_asked_for(fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    into = tmp_path / "elsewhere"
    done("export", fresh / STUDY, "--draw", "7", "--format", "json", "--output", into, "--reference-date", "2020-02-29")
    assert {file.name for file in into.iterdir()} == {f"{name}.json" for name in DATASETS} | {"README.txt"}
    adsl, first = read_adam(into / "adsl.json"), read_adam(fresh / "results/small/export/adsl.json")
    assert set(adsl["DRAW"]) == {7}
    assert set(adsl["TRTSDT"]) == {"2020-02-29"}
    assert adsl.select("SUBJID", "TRT01P").rows() != first.select("SUBJID", "TRT01P").rows()
    made = json.loads((into / "adsl.json").read_text())["datasetJSONCreationDateTime"]
    assert datetime.fromisoformat(made) == datetime.fromtimestamp(1_000_000_000, UTC)
    assert Audit(fresh / "results/small/audit.jsonl").broken_at() is None


def test_a_folder_holds_one_export(fresh):
    """What an earlier one left is not mistaken for part of this."""
    folder = fresh / "results/small/export"
    (folder / "adae.xpt").write_bytes(b"of another draw")
    (folder / "notes.txt").write_text("mine")
    done("export", fresh / STUDY, "--format", "xpt")
    assert {file.name for file in folder.iterdir()} == {f"{n}.xpt" for n in DATASETS} | {"README.txt", "notes.txt"}


def test_what_there_is_no_trial_of_is_refused(fresh):
    said = refused("export", fresh / STUDY, "--draw", "0")
    assert "draw 0 is the posterior mean, where everyone goes through every arm: no trial; write --draw" in said
    assert "there is no draw 17; write --draw with one of 1 to 16" in refused("export", fresh / STUDY, "--draw", "17")
    said = refused("export", fresh / STUDY, "--format", "xpt,sas")
    assert f"--format sas: write one or more of {', '.join(FORMATS)}, with commas" in said
    assert "no date that SAS counts" in refused("export", fresh / STUDY, "--reference-date", "1500-01-01")
    (fresh / "results/small/trial/subjects.parquet").unlink()
    assert "subjects.parquet is not there yet; run: cohort trial" in refused("export", fresh / STUDY)


def test_an_id_that_a_transport_file_cannot_hold_is_refused_and_nothing_is_written(fresh):
    """Beyond ASCII it would be replaced, and two people could become one."""
    shutil.rmtree(fresh / "results/small/export")
    for file in (fresh / "results/small").rglob("*.parquet"):
        table = pl.read_parquet(file)
        if "subject" in table.columns:
            table.with_columns(pl.col("subject").str.replace("^0+", "é")).write_parquet(file)
    said = refused("export", fresh / STUDY)
    assert "data set ADSL" in said
    assert "holds 'é' (U+00E9); write printable ASCII" in said
    assert not list((fresh / "results/small").glob("export/*.xpt"))


def test_a_file_of_another_kind_is_no_adam(tmp_path):
    with pytest.raises(CdiscError, match=r"adsl\.csv: neither \.xpt nor \.json"):
        read_adam(tmp_path / "adsl.csv")
