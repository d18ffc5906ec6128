"""An event table means what NONMEM says it means, or is refused row by row.

References
----------
[1] Boeckmann, Sheiner & Beal 1994, NONMEM Users Guide, part V: theophylline in twelve subjects (data of R. A. Upton).
[2] NONMEM Users Guides, part VIII, Help Guide: ADDL, AMT, EVID and MDV data items.
"""

import csv
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort.dosing.table import EventTable, EventTableError, read_events
from cohort.engine import solve
from cohort.model import Model, Record, Route, Scalar, category, quantity

ROW = {"time": 0.0, "action": "observe", "into": "", "amount": 0.0, "rate": 0.0, "duration": 0.0, "interval": 0.0}
ROW |= {"additional": 0, "steady": 0}


def _events(table: EventTable, i: int = 0) -> list[dict]:
    """What happens to subject i."""
    return table.events.rows.filter(course=table.events.course[i]).drop("course").to_dicts()


def _read(tmp_path: Path, text: str, model: Model, **options: Any) -> EventTable:
    path = tmp_path / "events.csv"
    path.write_text(text, encoding="utf-8")
    return read_events(path, model, **options)


def _refused(tmp_path: Path, text: str, model: Model, **options: Any) -> list[str]:
    """What is wrong with it, line by line."""
    with pytest.raises(EventTableError) as refusal:
        _read(tmp_path, text, model, **options)
    where, *wrong = str(refusal.value).split("\n")
    assert where.startswith(str(tmp_path / "events.csv"))
    return [line.strip() for line in wrong]


# Published layouts

THEOPHYLLINE = """ID,AMT,TIME,CP,WT
1,4.02,0,.,79.6
1,.,0,0.74,.
1,.,0.25,2.84,.
1,.,0.57,6.57,.
1,.,1.12,10.5,.
2,4.4,0,.,72.4
2,.,0,0,.
2,.,0.27,1.72,.
"""  # the first rows of two subjects [1]; amounts in mg/kg


class _Weight(Record):
    wt: Scalar = quantity("kg", "body weight", plausible=(20, 300))


class _Concentration(Record):
    cp: Scalar = quantity("mg/L", "theophylline")


@pytest.fixture
def oral(linear: Model) -> Model:
    """One route and one measured output."""
    return linear.replace(
        covariates=_Weight,
        outputs=_Concentration,
        observe=lambda t, y, p: _Concentration(cp=y.central / p.v),
        routes={"oral": Route("depot")},
    )


def test_theophylline_reads_as_its_authors_laid_it_out(tmp_path: Path, oral: Model):
    table = _read(tmp_path, THEOPHYLLINE.replace("CP", "DV"), oral)
    assert table.subjects == ["1", "2"]
    assert _events(table)[0] == ROW | {"action": "dose", "into": "oral", "amount": 4.02}
    assert [r["time"] for r in _events(table)[1:]] == [0, 0.25, 0.57, 1.12]
    assert {r["action"] for r in _events(table)[1:]} == {"observe"}
    assert _events(table, 1)[0]["amount"] == 4.4
    np.testing.assert_array_equal(table.observed.cp, [[0.74, 2.84, 6.57, 10.5], [0, 1.72, np.nan, np.nan]])
    assert table.covariates.start.wt.tolist() == [79.6, 72.4]
    assert table.covariates.changes.is_empty()
    assert (table.absent, table.ignored) == ((), ())


def test_what_was_observed_lies_where_it_is_predicted(tmp_path: Path, oral: Model):
    table = _read(tmp_path, THEOPHYLLINE.replace("CP", "DV"), oral)
    p = oral.parameters(ka=np.full(2, 1.5), f=np.full(2, 0.7), cl=np.full(2, 0.04), v=np.full(2, 0.5))
    predicted, status = solve(oral, p, table.events, covariates=table.covariates)
    assert not status.code.any()
    assert predicted.cp.shape == table.observed.cp.shape
    np.testing.assert_array_equal(np.isnan(predicted.cp), np.isnan(table.observed.cp))
    t, k = np.array([0, 0.25, 0.57, 1.12]), 0.04 / 0.5  # one compartment with first-order absorption
    exact = 4.02 / 0.5 * 1.5 / (1.5 - k) * (np.exp(-k * t) - np.exp(-1.5 * t))
    np.testing.assert_allclose(predicted.cp[0], exact, rtol=1e-9, atol=1e-12)


def test_doses_and_additional_doses_are_the_same_events_as_in_the_help_guide(tmp_path: Path, oral: Model):
    """The example of ADDL [2]: an observation and an extra dose between do not affect the regular doses."""
    table = _read(
        tmp_path,
        "ID,TIME,AMT,ADDL,II,DV,WT\n1,10.,15.,2,12.,.,70\n1,15.,.,.,.,25.7,70\n1,20.,10.,0,0,.,70\n1,36.,.,.,.,30.2,70\n",
        oral,
    )
    dose = ROW | {"action": "dose", "into": "oral"}
    assert _events(table) == [
        dose | {"time": 10, "amount": 15, "additional": 2, "interval": 12},
        ROW | {"time": 15},
        dose | {"time": 20, "amount": 10},
        ROW | {"time": 36},
    ]
    assert table.observed.cp.tolist() == [[25.7, 30.2]]


# Round trips

number = st.floats(min_value=1e-6, max_value=1e6, allow_nan=False)
names = st.text(st.characters(exclude_categories=("C", "Z"), max_codepoint=0x2FFF), min_size=1, max_size=6)
ids = names.map(lambda s: unicodedata.normalize("NFC", s)).filter(lambda s: s == s.strip() and s not in ("", "."))


@st.composite
def records(draw: st.DrawFn) -> tuple[dict, list[dict]]:
    """One record: what stands in the table, and what it means."""
    kind = draw(
        st.sampled_from(["observe", "bolus", "infusion", "long", "repeated", "steady", "constant", "other", "reset"])
    )
    if kind in ("observe", "other", "reset"):
        return {"EVID": {"observe": 0, "other": 2, "reset": 3}[kind]}, [ROW | {"action": kind}]
    cmt, into = draw(st.sampled_from([("1", "sc"), ("2", "iv"), ("3", "gone"), ("sc", "sc"), ("central", "iv")]))
    cells, means = {"EVID": 1, "CMT": cmt}, ROW | {"action": "dose", "into": into}
    if kind != "constant":
        means |= {"amount": draw(number)}
        cells |= {"AMT": means["amount"]}
    if kind in ("infusion", "constant"):
        means |= {"rate": draw(number)}
        cells |= {"RATE": means["rate"]}
    if kind == "long":
        cells |= {"DUR": draw(number)}
        means |= {"duration": cells["DUR"]}
    if kind in ("repeated", "steady"):
        means |= {"interval": draw(number), "additional": draw(st.integers(kind == "repeated", 50))}
        cells |= {"II": means["interval"], "ADDL": means["additional"]}
    if kind in ("steady", "constant"):
        means |= {"steady": draw(st.sampled_from([1, 2]))}
        cells |= {"SS": means["steady"]}
    if draw(st.booleans()):
        return cells | {"EVID": 4}, [ROW | {"action": "reset"}, means]
    return cells, [means]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict], dict[str, list[dict]]]:
    """The rows of a table, and each subject's events."""
    rows, events = [], {}
    for subject in draw(st.lists(ids, min_size=1, max_size=4, unique=True)):
        told = draw(st.lists(st.tuples(st.integers(0, 3), records()), min_size=1, max_size=6))
        time, events[subject] = draw(st.floats(-10, 10)), []
        for later, (cells, means) in told:
            time += later / 7
            rows.append({"ID": subject, "TIME": time, "weight": 70, "sex": "male"} | cells)
            events[subject] += [row | {"time": time} for row in means]
    return rows, events


COLUMNS = ["ID", "TIME", "AMT", "RATE", "DUR", "II", "ADDL", "SS", "CMT", "EVID", "weight", "sex"]


def _write_csv(path: Path, rows: list[dict], missing: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval=missing)
        writer.writeheader()
        writer.writerows(rows)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), missing=st.sampled_from([".", "", "0"]), parquet=st.booleans())
def test_what_was_written_is_read_again(tmp_path: Path, linear: Model, table: Any, missing: str, parquet: bool):
    rows, events = table
    if parquet:
        path = tmp_path / "events.parquet"
        pl.DataFrame([{c: r.get(c) for c in COLUMNS} for r in rows], infer_schema_length=None).write_parquet(path)
    else:
        path = tmp_path / "events.csv"
        _write_csv(path, rows, missing)
    read = read_events(path, linear)
    assert read.subjects == list(events)
    assert [_events(read, i) for i in range(len(events))] == list(events.values())


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), data=st.data())
def test_a_malformed_cell_is_refused_by_row_and_column(tmp_path: Path, linear: Model, table: Any, data: st.DataObject):
    rows, _ = table
    i, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from(COLUMNS))
    junk = "" if column == "ID" else data.draw(st.sampled_from(["1O", "1,5", "nan", "-inf", "1 mg", "?"]))
    rows[i][column] = junk
    _write_csv(tmp_path / "events.csv", rows, ".")
    with pytest.raises(EventTableError) as refusal:
        read_events(tmp_path / "events.csv", linear)
    assert f"\n  row {i + 2}, {column}: " in str(refusal.value)


def test_all_faults_are_named_at_once_in_the_order_of_the_rows(tmp_path: Path, linear: Model):
    wrong = _refused(
        tmp_path,
        "ID,TIME,AMT,CMT,EVID,MDV,weight,sex\n"
        "1,0,ten,sc,1,1,70,male\n"
        "1,1,.,.,0,0,700,male\n"
        "1,2,50,oral,1,1,70,male\n"
        "\n"
        "1,3,50,sc,7,1,70,mael\n"
        "2,0,50,sc,1,0,70\n"
        "1,8:30,.,.,0,.,.,.\n",
        linear,
    )
    assert [line.split(";")[0] for line in wrong] == [
        "row 2, AMT: 'ten'",
        "row 3, weight: '700'",
        "row 4, CMT: 'oral'",
        "row 6, EVID: '7'",
        "row 6, sex: 'mael'",
        "row 7, 7 cells, where the header has 8",
        "row 8, ID: '1'",
        "row 8, TIME: '8:30'",
        "row 8, weight: missing",
        "row 8, sex: missing",
    ]
    assert "write a number from 20 to 300 kg" in wrong[1]
    assert "depot, central, gone" in wrong[2]
    assert "write one of male, female" in wrong[4]


# What happens

HEAD = "ID,TIME,AMT,RATE,DUR,II,ADDL,SS,CMT,EVID,MDV\n"


@pytest.mark.parametrize(
    ("row", "where", "advice"),
    [
        ("1,0,5,.,.,.,.,.,1,0,.", "AMT: '5'", "no dose"),
        ("1,0,.,.,.,.,3,.,1,2,.", "ADDL: '3'", "no dose"),
        ("1,0,5,.,.,.,.,.,1,3,.", "AMT: '5'", "no dose"),
        ("1,0,0,.,.,.,.,.,1,1,.", "AMT: '0'", "more than 0"),
        ("1,0,.,.,.,.,.,.,1,1,.", "AMT: missing", "more than 0"),
        ("1,0,-5,.,.,.,.,.,1,1,.", "AMT: '-5'", "more than 0"),
        ("1,0,.,5,.,.,.,.,1,1,.", "AMT: missing", "more than 0"),
        ("1,0,5,-3,.,.,.,.,1,1,.", "RATE: '-3'", "-1 or -2"),
        ("1,0,5,-1,.,.,.,.,1,1,.", "RATE: '-1'", "whose rate the model says"),
        ("1,0,5,-2,.,.,.,.,1,1,.", "RATE: '-2'", "whose duration the model says"),
        ("1,0,5,.,-1,.,.,.,1,1,.", "DUR: '-1'", "how long"),
        ("1,0,5,1,5,.,.,.,1,1,.", "DUR: '5'", "keep one"),
        ("1,0,5,.,.,-1,.,.,1,1,.", "II: '-1'", "time between doses"),
        ("1,0,5,.,.,.,2,.,1,1,.", "II: missing", "time between doses"),
        ("1,0,5,.,.,.,.,1,1,1,.", "II: missing", "time between doses"),
        ("1,0,5,.,.,24,.,.,1,1,.", "II: '24'", "nothing repeats"),
        ("1,0,.,5,.,24,.,1,1,1,.", "II: '24'", "never pauses"),
        ("1,0,.,5,.,.,2,1,1,1,.", "ADDL: '2'", "never pauses"),
        ("1,0,5,.,.,24,1.5,.,1,1,.", "ADDL: '1.5'", "0, 1, 2"),
        ("1,0,5,.,.,24,.,3,1,1,.", "SS: '3'", "0, 1 or 2"),
        ("1,0,5,.,.,.,.,.,4,1,.", "CMT: '4'", "depot, central, gone"),
        ("1,0,5,.,.,.,.,.,1.5,1,.", "CMT: '1.5'", "depot, central, gone"),
        ("1,0,.,.,.,.,.,.,-1,2,.", "CMT: '-1'", "depot, central, gone"),
        ("1,0,5,.,.,.,.,.,.,1,.", "CMT: missing", "where the dose goes"),
        ("1,0,5,.,.,.,.,.,0,1,.", "CMT: '0'", "where the dose goes"),
        ("1,0,5,.,.,.,.,.,1,5,.", "EVID: '5'", "0, 1, 2, 3 or 4"),
        ("1,0,5,.,.,.,.,.,1,1,0", "MDV: '0'", "only an observation"),
        ("1,0,.,.,.,.,.,.,1,0,101", "MDV: '101'", "0, or 1"),
        ("1,.,5,.,.,.,.,.,1,1,.", "TIME: missing", "when the event was"),
        (".,0,5,.,.,.,.,.,1,1,.", "ID: missing", "id"),
    ],
)
def test_what_no_record_can_mean_is_refused(tmp_path: Path, linear: Model, row: str, where: str, advice: str):
    (wrong,) = _refused(tmp_path, HEAD + row + "\n", linear)
    assert wrong.startswith(f"row 2, {where}; ")
    assert advice in wrong


def test_without_evid_a_record_that_orders_something_is_a_dose(tmp_path: Path, linear: Model):
    table = _read(tmp_path, "ID,TIME,AMT,RATE,SS,CMT\n1,0,5,0,0,1\n1,0,.,2,1,2\n1,0,.,.,.,.\n1,0,0,0,0,1\n", linear)
    assert [r["action"] for r in _events(table)] == ["dose", "dose", "observe", "observe"]


def test_without_evid_a_malformed_amount_is_the_only_fault_of_its_row(tmp_path: Path, linear: Model):
    wrong = _refused(tmp_path, "ID,TIME,AMT,II,ADDL,CMT\n1,0,5mg,12,3,1\n", linear)
    assert [line.split(";")[0] for line in wrong] == ["row 2, AMT: '5mg'"]


def test_columns_go_by_name_in_any_case_and_order(tmp_path: Path, linear: Model):
    table = _read(tmp_path, " Evid,amt,Sex,cmt ,time,id,WEIGHT\n1,5,1,sc,2,x,70\n", linear)
    assert _events(table) == [ROW | {"time": 2, "action": "dose", "into": "sc", "amount": 5}]
    assert (table.covariates.start.weight.tolist(), table.covariates.start.sex.tolist()) == ([70], [1])


def test_a_reset_and_dose_is_a_reset_and_then_a_dose(tmp_path: Path, linear: Model):
    table = _read(tmp_path, "ID,TIME,AMT,CMT,EVID,II,ADDL\n1,0,.,.,0,.,.\n1,5,9,iv,4,12,2\n", linear)
    assert _events(table)[1:] == [
        ROW | {"time": 5, "action": "reset"},
        ROW | {"time": 5, "action": "dose", "into": "iv", "amount": 9, "interval": 12, "additional": 2},
    ]


def test_records_of_one_time_keep_their_order(tmp_path: Path, linear: Model):
    text = "ID,TIME,AMT,CMT,EVID\n1,0,5,1,1\n1,0,.,.,0\n2,0,.,.,0\n2,0,5,1,1\n"
    table = _read(tmp_path, text, linear)
    assert [[r["action"] for r in _events(table, i)] for i in (0, 1)] == [["dose", "observe"], ["observe", "dose"]]


def test_a_duration_is_that_of_an_infusion(tmp_path: Path, linear: Model):
    table = _read(tmp_path, "ID,TIME,AMT,DUR,CMT\n1,0,100,4,iv\n1,5,100,.,iv\n", linear)
    assert [(r["rate"], r["duration"]) for r in _events(table)] == [(0, 4), (0, 0)]


def test_a_modelled_rate_or_duration_needs_a_route_that_has_one(tmp_path: Path, linear: Model):
    model = linear.replace(routes={"iv": Route("central", duration="v"), "po": Route("depot", rate="cl")})
    text = "ID,TIME,AMT,RATE,CMT\n1,0,100,-2,2\n1,5,100,-1,1\n"
    assert [(r["into"], r["rate"]) for r in _events(_read(tmp_path, text, model))] == [("iv", -2), ("po", -1)]
    wrong = _refused(tmp_path, "ID,TIME,AMT,RATE,CMT\n1,0,100,-1,2\n1,5,100,-2,1\n1,6,100,-1,3\n", model)
    assert [line.split(";")[0] for line in wrong] == [f"row {i}, RATE: '{v}'" for i, v in ((2, -1), (3, -2), (4, -1))]


# Where it goes


def test_a_state_that_one_route_doses_stands_for_the_route(tmp_path: Path, linear: Model):
    text = "ID,TIME,AMT,CMT\n" + "".join(f"1,0,5,{cmt}\n" for cmt in ("1", "depot", "sc", "2", "central", "3", "1.0"))
    assert [r["into"] for r in _events(_read(tmp_path, text, linear))] == ["sc", "sc", "sc", "iv", "iv", "gone", "sc"]


def test_a_state_that_two_routes_dose_needs_a_route(tmp_path: Path, linear: Model):
    two = linear.replace(routes={"sc": Route("depot", bioavailability="f"), "im": Route("depot")})
    wrong = _refused(tmp_path, "ID,TIME,AMT,CMT\n1,0,5,1\n1,1,5,im\n1,2,5,depot\n", two)
    assert [line.split(";")[0] for line in wrong] == ["row 2, CMT: '1'", "row 4, CMT: 'depot'"]
    assert "sc and im both dose depot" in wrong[0]
    table = _read(tmp_path, "ID,TIME,AMT,CMT,ROUTE\n1,0,5,1,im\n1,1,5,.,sc\n1,2,5,2,.\n", two)
    assert [r["into"] for r in _events(table)] == ["im", "sc", "central"]


def test_route_and_compartment_do_not_contradict_each_other(tmp_path: Path, linear: Model):
    wrong = _refused(tmp_path, "ID,TIME,AMT,CMT,ROUTE\n1,0,5,1,iv\n1,0,5,.,po\n1,0,5,.,.\n", linear)
    assert [line.split(";")[0] for line in wrong] == [
        "row 2, ROUTE: 'iv'",
        "row 3, ROUTE: 'po'",
        "row 4, ROUTE: missing",
    ]
    assert "doses central" in wrong[0]


def test_the_only_route_is_where_doses_go_unless_told(tmp_path: Path, oral: Model):
    text = "ID,TIME,AMT,CMT,WT\n1,0,5,.,70\n1,1,5,0,70\n1,2,5,2,70\n"
    assert [r["into"] for r in _events(_read(tmp_path, text, oral))] == ["oral", "oral", "central"]


def test_a_dose_by_a_route_with_a_molar_mass_is_in_mg(tmp_path: Path, evolocumab: Model):
    text = "ID,TIME,AMT,DUR,CMT\n1,0,140,.,sc\n1,0,140,2,iv\n1,0,140,.,ldl\n"
    sc, iv, bare = _events(_read(tmp_path, text, evolocumab))
    assert sc["amount"] == iv["amount"] == pytest.approx(140e-3 / 141_800 * 1e9)
    assert iv["duration"] == 2
    assert bare["amount"] == 140


# What was measured


def test_an_observation_without_a_measurement_is_still_predicted(tmp_path: Path, oral: Model):
    text = "ID,TIME,DV,MDV,WT\n1,0,1,0,70\n1,1,9,1,70\n1,2,.,.,70\n1,3,4,.,70\n2,0,8,.,70\n"
    table = _read(tmp_path, text, oral)
    assert [len(_events(table, i)) for i in (0, 1)] == [4, 1]
    nan = np.nan
    np.testing.assert_array_equal(table.observed.cp, [[1, nan, nan, 4], [8, nan, nan, nan]])


def test_a_measurement_says_of_which_output_it_is(tmp_path: Path, linear: Model):
    text = "ID,TIME,DV,DVID,AMT,CMT\n1,0,.,0,5,1\n1,1,7,c,.,.\n1,1,8,2,.,.\n1,2,9,total,.,.\n"
    observed = _read(tmp_path, text, linear).observed
    np.testing.assert_array_equal(observed.c, [[7, np.nan, np.nan]])
    np.testing.assert_array_equal(observed.total, [[np.nan, 8, 9]])
    wrong = _refused(tmp_path, "ID,TIME,DV,DVID\n1,1,7,.\n1,1,8,3\n1,1,.,.\n", linear)
    assert [line.split(";")[0] for line in wrong] == ["row 2, DVID: missing", "row 3, DVID: '3'"]
    assert "no column DVID" in _refused(tmp_path, "ID,TIME,DV\n1,1,7\n", linear)[0]


def test_the_observed_have_the_shape_of_what_is_predicted(linear: Model):
    rows = pl.DataFrame({"ID": ["a"] * 3 + ["b"], "TIME": [0.0, 1, 2, 0], "AMT": [5.0, 0, 0, 5], "CMT": 1})
    assert read_events(rows, linear).observed.c.shape == (2, 2)
    assert read_events(rows.filter(pl.col("AMT") > 0), linear).observed.c.shape == (2, 0)


# Who it is


@pytest.mark.parametrize("column", [[1, 1, 20], [1.0, 1.0, 20.0], ["1", "1", "20"]])
def test_an_id_is_text_however_it_was_stored(linear: Model, column: list):
    assert read_events(pl.DataFrame({"ID": column, "TIME": [0, 1, 0]}), linear).subjects == ["1", "20"]


def test_ids_that_look_alike_are_refused(tmp_path: Path, linear: Model):
    wrong = _refused(tmp_path, "ID,TIME\n7,0\n 7,1\nJosé,0\nJose\u0301,0\n", linear)
    assert [line.split(":")[0] for line in wrong] == ["row 3, ID", "row 5, ID"]
    assert ("space" in wrong[0], "NFC" in wrong[1]) == (True, True)


def test_ids_may_be_padded_alike(tmp_path: Path, linear: Model):
    assert _read(tmp_path, "ID,TIME\n   7,0\n   7,1\n  10,0\n", linear).subjects == ["7", "10"]


def test_the_records_of_a_subject_stand_together_in_order_of_time(tmp_path: Path, linear: Model):
    wrong = _refused(tmp_path, "ID,TIME,EVID\n1,0,0\n1,5,0\n1,4,0\n2,0,0\n1,9,0\n1,10,0\n2,1,0\n2,0,3\n", linear)
    assert [line.split(";")[0] for line in wrong] == [
        "row 4, TIME: '4'",
        "row 6, ID: '1'",
        "row 8, ID: '2'",
        "row 9, TIME: '0'",
    ]


def test_time_starts_again_with_each_subject(tmp_path: Path, linear: Model):
    assert _read(tmp_path, "ID,TIME\n1,5\n1,5\n2,-1\n", linear).events.rows["time"].to_list() == [5, 5, -1]


def test_subjects_with_equal_records_share_a_course(linear: Model):
    one = pl.DataFrame({"TIME": [0.0, 1.0], "AMT": [5.0, 0.0], "CMT": ["sc", "."]})
    other = one.with_columns(AMT=pl.col("AMT") * 2)
    who = {"a": one, "b": other, "c": one, "d": other, "e": one.head(1)}
    table = read_events(pl.concat([rows.with_columns(ID=pl.lit(name)) for name, rows in who.items()]), linear)
    assert table.events.course.tolist() == [0, 1, 0, 1, 2]
    assert table.events.rows.height == 5
    assert [_events(table, i)[0]["amount"] for i in range(5)] == [5, 10, 5, 10, 5]


# Covariates

CHANGING = "ID,TIME,weight,sex\n1,0,70,male\n1,5,.,.\n1,7,72,.\n1,9,72,female\n1,9,71,.\n2,0,80,1\n2,3,80,1\n"


def test_a_covariate_holds_from_its_record_until_the_next_that_says_otherwise(tmp_path: Path, linear: Model):
    course = _read(tmp_path, CHANGING, linear).covariates
    course.check()
    assert (course.start.weight.tolist(), course.start.sex.tolist()) == ([70, 80], [0, 1])
    assert course.changes.rows() == [(0, 7.0, "weight", 72.0), (0, 9.0, "weight", 71.0), (0, 9.0, "sex", 1.0)]
    assert course.linear == frozenset()


def test_a_covariate_that_runs_straight_keeps_every_value_that_was_recorded(tmp_path: Path, linear: Model):
    course = _read(tmp_path, CHANGING, linear, linear=["weight"]).covariates
    course.check()
    weight = course.changes.filter(name="weight").select("subject", "time", "value").rows()
    assert weight == [(0, 0, 70), (0, 7, 72), (0, 9, 71), (1, 0, 80), (1, 3, 80)]
    assert course.linear == {"weight"}
    wrong = _refused(tmp_path, CHANGING, linear, linear=["sex", "wieght"])
    assert [line.split(";")[0] for line in wrong] == [
        f"linear: '{n}' is no covariate that is a number" for n in ("sex", "wieght")
    ]


def test_a_covariate_is_known_from_the_start(tmp_path: Path, linear: Model):
    wrong = _refused(tmp_path, "ID,TIME,weight,sex\n1,0,70,0\n2,0,.,1\n2,1,70,1\n", linear)
    assert wrong == ["row 3, weight: missing; write the value that the subject starts with"]


def test_what_is_not_in_the_table_is_said(tmp_path: Path, linear: Model):
    table = _read(tmp_path, "ID,TIME,weight,TAD,Comment\n1,0,70,2,a\n", linear)
    assert (table.absent, table.ignored) == (("sex",), ("TAD", "Comment"))
    assert np.isnan(table.covariates.start.sex).all()
    with pytest.raises(ValueError, match="start, sex: cannot be nan"):
        table.covariates.check()


def test_a_level_goes_before_an_index(tmp_path: Path, linear: Model):
    class Grade(Record):
        grade: Scalar = category("1", "2", "3")

    table = _read(tmp_path, "ID,TIME,grade\n1,0,1\n1,1,3\n1,2,0\n", linear.replace(covariates=Grade))
    assert table.covariates.start.grade.tolist() == [0]
    assert table.covariates.changes["value"].to_list() == [2, 0]


# What is no table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column ID"),
        ("ID,AMT\n1,5\n", "no column TIME; there are ID, AMT"),
        ("ID;TIME\n1;0\n", "no column ID; there are ID;TIME"),
        ("ID,TIME,time\n1,0,0\n", "TIME is the meaning of more than one column"),
        ("ID,TIME,DAT1\n1,0,3\n", "dates are not read; write TIME as a number in d"),
        ("ID,TIME\n", "no records"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path, linear: Model, text: str, message: str):
    assert any(message in line for line in _refused(tmp_path, text, linear))


def test_what_cannot_be_opened_is_refused(tmp_path: Path, linear: Model):
    (tmp_path / "latin.csv").write_bytes("ID,TIME\nJosé,0\n".encode("latin-1"))
    (tmp_path / "quote.csv").write_text('ID,TIME\n"1"x,0\n')
    (tmp_path / "no.parquet").write_text("ID,TIME\n1,0\n")
    (tmp_path / "book.xlsx").write_text("")
    for name in ("latin.csv", "quote.csv", "no.parquet", "none.csv", "book.xlsx"):
        with pytest.raises(EventTableError, match=name):
            read_events(tmp_path / name, linear)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path, linear: Model):
    assert _read(tmp_path, "\ufeffID,TIME\n1,0\n", linear).subjects == ["1"]


def test_the_rows_of_a_frame_are_counted_as_if_it_had_a_header(linear: Model):
    with pytest.raises(EventTableError, match=r"event table\n  row 3, TIME: '-1'"):
        read_events(pl.DataFrame({"ID": ["1", "1"], "TIME": [0, -1]}), linear)
