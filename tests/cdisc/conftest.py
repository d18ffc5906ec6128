"""A small simulated study with every kind of variable, and the CDISC pilot's ADSL as a data set read from outside."""

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cohort.cdisc.dataset import FLAG, Dataset, Variable, simulated_label, simulated_study

PILOT = Path(os.environ.get("COHORT_DATA") or Path(__file__).parents[3] / "shared/data") / "trials/cdiscpilot01"
STUDY = simulated_study("test")
STUDYID = Variable("STUDYID", "Study Identifier", "text", origin="Assigned", mandatory=True)
USUBJID = Variable("USUBJID", "Unique Subject Identifier", "text", origin="Assigned", mandatory=True)


@pytest.fixture
def when() -> datetime:
    return datetime(2024, 2, 29, 23, 59, 7, tzinfo=UTC)


@pytest.fixture
def adsl() -> Dataset:
    variables = (
        STUDYID,
        USUBJID,
        Variable("AGE", "Age", "integer", method="Sampled from the virtual population.", comment="years"),
        Variable("SEX", "Sex", "text", length=1, method="Sampled.", codelist=(("F", "Female"), ("M", "Male"))),
        Variable("TRT01PN", "Planned Treatment (N)", "integer", origin="Protocol", codelist=(("0", "A"), ("1", "B"))),
        Variable("WEIGHTBL", "Weight at Baseline (kg)", "number", format="8.1", method="Sampled, < 200 & > 30."),
        Variable("TRTSDT", "Date of First Exposure to Treatment", "integer", format="DATE9.", method="Day 1."),
        Variable("RFSTDTC", "Subject Reference Start Date/Time", "datetime", origin="Predecessor", method="DM.RFSTDTC"),
        Variable("BRTHDTC", "Date of Birth", "date", method="Year only."),
        FLAG,
    )
    rows = {
        "STUDYID": [STUDY] * 3,
        "USUBJID": ["0012", "12", " 12"],
        "AGE": [41, None, 2**53],
        "SEX": ["F", "M", None],
        "TRT01PN": [0, 1, 1],
        "WEIGHTBL": [70.1, 1 / 3, None],
        "TRTSDT": [0, 23435, -1],
        "RFSTDTC": ["1960-01-01", "2024-02-29T08:30", None],
        "BRTHDTC": ["1983", "1983-04", "1983-04-05"],
        "SIMFL": ["Y"] * 3,
    }
    return _dataset("ADSL", "Subject-Level Analysis Dataset", variables, rows, ("STUDYID", "USUBJID"))


@pytest.fixture
def adeff() -> Dataset:
    methods = (("LDL", "Observed by the model."), ("LDLPCT", "100 (LDL - baseline) / baseline."))
    variables = (
        STUDYID,
        USUBJID,
        Variable("PARAMCD", "Parameter Code", "text", origin="Assigned", codelist=(("LDL", "LDL"), ("LDLPCT", "%"))),
        Variable("AVISITN", "Analysis Visit (N)", "number", origin="Protocol"),
        Variable("AVAL", "Analysis Value", "number", by_parameter=methods),
        FLAG,
    )
    rows = {
        "STUDYID": [STUDY] * 4,
        "USUBJID": ["0012", "0012", "12", "12"],
        "PARAMCD": ["LDL", "LDLPCT"] * 2,
        "AVISITN": [1.0, 1.0, 1.0, 2.5],
        "AVAL": [3.2, -51.25, None, 1e-300 * 1e250],
        "SIMFL": ["Y"] * 4,
    }
    keys = ("STUDYID", "USUBJID", "PARAMCD", "AVISITN")
    return _dataset("ADEFF", "Efficacy Analysis", variables, rows, keys)


def _dataset(name: str, label: str, variables: tuple[Variable, ...], rows: dict, keys: tuple[str, ...]) -> Dataset:
    subject = name == "ADSL"
    return Dataset(
        name,
        simulated_label(label),
        variables,
        pl.DataFrame(rows),
        keys=keys,
        structure="One record per subject" if subject else "One record per subject per parameter per visit",
        class_="SUBJECT LEVEL ANALYSIS DATASET" if subject else "BASIC DATA STRUCTURE",
    )


@pytest.fixture(scope="session")
def pilot() -> Dataset:
    """The ADSL of a real trial. Its dates are ISO text here; a transport file has them as days since 1960."""
    file = PILOT / "adam_adsl.csv.gz"
    if not file.is_file():
        pytest.skip("shared data absent: set COHORT_DATA")
    table = pl.read_csv(file, schema_overrides={"SUBJID": pl.String, "SITEID": pl.String, "SITEGR1": pl.String})
    table = table.with_columns(pl.col(pl.Int64).cast(pl.Float64))
    days = (pl.col(c).str.to_date() - pl.date(1960, 1, 1) for c in table.columns if c.endswith("DT"))
    table = table.with_columns(d.dt.total_days() for d in days)
    kinds = {pl.String: "text", pl.Float64: "number", pl.Int64: "integer"}
    variables = tuple(
        Variable(c, c.title(), kinds[type(t)], format="DATE9." if t == pl.Int64 else "")  # pyright: ignore
        for c, t in table.schema.items()
    )
    return Dataset("ADSL", "Subject-Level Analysis", variables, table, keys=("USUBJID",), source=str(file))
