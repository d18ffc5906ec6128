"""What the report's tables say of a comparison."""

import csv
import io
import re
from types import SimpleNamespace

import jinja2
import numpy as np
import polars as pl
import pytest
import scipy
from hand_made import arm, comparison

from cohort.agreement.equivalence import equivalence
from cohort.comparison import ArmPrediction, Predictions
from cohort.comparison.agreement import rows as against
from cohort.display.table import Absent, Column, Table, number, percent, probability, significant
from cohort.engine import CODES
from cohort.report.tables import evidence_notes, failures, verdicts, words_of, write
from cohort.report.tables.characteristics import assurance, calibrated, operating
from cohort.report.tables.diagnostics import diagnostics, fits
from cohort.report.tables.limits import limits
from cohort.report.tables.primary import borrowed_arm, borrowed_control, primary
from cohort.report.tables.priors import calibration_priors, control_priors
from cohort.report.tables.provenance import provenance
from cohort.report.tables.question import question
from cohort.report.tables.safety import adverse_events, benefit_and_risk, contrasts, exact_interval, risk_contrasts
from cohort.report.tables.sensitivity import calibration_sensitivity, power_scaling, primary_sensitivity
from cohort.report.tables.subgroups import subgroups
from cohort.report.tables.validation import agreed, checks, coverage, validation
from cohort.study import read_study


@pytest.fixture(scope="module")
def mendel(root):
    return read_study(root / "config/studies/mendel.yaml")


def there(found: Table | Absent) -> Table:
    assert isinstance(found, Table), found
    return found


def cells(table: Table, row: int = 0) -> dict[str, str]:
    return {c.key: c.cell(table.rows[row]) for c in table.columns}


def read(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.csv())))


@pytest.mark.parametrize(
    ("value", "text"), [(-3.14, "−3.1"), (0.0, "0.0"), (-0.04, "0.0"), (None, "–"), (12.25, "12.2"), (99.96, "100.0")]
)
def test_a_figure_has_a_true_minus_sign_and_no_minus_zero(value, text: str):
    assert number(value) == text


def test_shares_are_percentages_and_small_numbers_keep_their_digits():
    assert percent(0.128) == "13 %"
    assert percent(-0.03, 1) == "−3.0 %"
    assert percent(None) == "–"
    assert significant(-0.012345) == "−0.0123"


@pytest.mark.parametrize(("p", "text"), [(1.0, ">0.999"), (0.99949, "0.999"), (0.0, "<0.001"), (0.96, "0.960")])
def test_no_posterior_probability_is_said_to_be_certain(p: float, text: str):
    assert probability(p) == text


def test_a_standard_error_that_would_round_to_nought_keeps_a_digit_and_an_exact_value_has_none():
    column = Column("p", "p", probability, error="e")
    assert column.cell({"p": 0.5, "e": 0.0002}) == "0.500 ± 2e-04"
    assert column.cell({"p": 0.5, "e": 1e-17}) == "0.500 ± <1e-06"
    assert column.cell({"p": 0.5, "e": 0.0}) == "0.500"


def test_a_text_that_a_spreadsheet_would_run_is_escaped_and_numbers_are_not_touched():
    columns = (Column("text", "text"), Column("x", "x", number, low="low", high="high"))
    texts = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "plain, with a comma", "−1"]
    rows = [{"text": text, "x": -1.23456789012, "low": -2, "high": None} for text in texts]
    found = read(Table("T1", "x", "", "", columns, rows))
    assert [row["text"] for row in found] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\tx", texts[5], "−1"]
    assert {(row["x"], row["low"], row["high"]) for row in found} == {("-1.23456789012", "-2", "")}


def test_a_hidden_column_is_in_the_csv_only():
    table = Table("T10", "x", "", "", (Column("a", "a"), Column("b", "b", hidden=True)), [{"a": 1, "b": 2}])
    assert [c.key for c in table.shown] == ["a"]
    assert read(table) == [{"a": "1", "b": "2"}]
    assert table.file == "T10_x.csv"


def test_every_number_of_the_primary_result_in_the_page_is_the_one_of_the_csv():
    table = there(primary(comparison()))
    html = page().from_string('{% from "table.html" import show %}{{ show(table) }}').render(table=table)
    body = html[html.index("<tbody>") :]
    lines = [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in re.findall(r"<tr.*?</tr>", body, re.DOTALL)]
    assert len(lines) == 3
    for line, row in zip(lines, read(table), strict=True):
        numbers = {k: float(v) for k, v in row.items() if re.fullmatch(r"-?[\d.]+", v)}
        for column, cell in zip(table.shown, line, strict=True):
            if column.key in numbers:
                assert cell == column.cell(numbers)
    assert [line[1] for line in lines] == ["no success", "success", "success"]


def test_the_primary_result_shows_both_sides_of_a_decision_that_borrowing_turns():
    table = there(primary(comparison()))
    assert [row["design"] for row in table.rows] == ["no borrowing", "robust borrowing", "full borrowing"]
    assert [row["decision"] for row in table.rows] == [False, True, True]
    assert [row["p_1"] for row in table.rows] == [0.96, 0.98, 0.99]
    assert cells(table)["difference"] == "−37.0 (−43.9 to −30.1)"
    assert "exact" in table.caption
    assert "equal-tailed" in table.caption


def test_without_an_outcome_there_is_no_conclusion_and_the_reason_is_given():
    before = {k: v for k, v in comparison().items() if k not in ("methods", "sensitivity", "observed", "n")}
    before["says"] = "no conclusion: no published mean"
    for table in (primary, borrowed_control, primary_sensitivity, benefit_and_risk):
        found = table(before | {"benefit_risk": None})
        assert isinstance(found, Absent)
        assert found.reason == "no conclusion: no published mean"
    assert there(operating(before)).rows


def test_a_method_that_uses_the_data_twice_is_labelled():
    table = there(borrowed_control(comparison()))
    assert {row["method"]: cells(table, i)["uses_data_twice"] for i, row in enumerate(table.rows)}["SAM"] == "yes"
    assert "no Bayesian posterior" in table.caption
    alone = comparison()
    alone["methods"] = [m for m in alone["methods"] if not m["uses_data_twice"]]
    assert "no Bayesian posterior" not in there(borrowed_control(alone)).caption


def test_an_arm_that_borrows_is_shown_by_discrepancy():
    rows = [
        {"label": "no borrowing", "discrepancy": "", "mean": -50.0, "sd": 2.6, "low": -55.1, "high": -44.9}
        | {"weight_after": None, "patients": None},
        {"label": "robust borrowing", "discrepancy": "learnt", "mean": -52.0, "sd": 2.0, "low": -56.0, "high": -48.0}
        | {"weight_after": 0.7, "patients": 18.8},
    ]
    table = there(borrowed_arm({"arm": "evolocumab_140_q2w", "weight": 0.8, "level": 0.9, "rows": rows}))
    assert cells(table, 0)["weight_after"] == "–"
    assert cells(table, 1)["patients"] == "18.8"
    assert "90 %" in table.caption


def test_a_decision_that_turns_under_another_assumption_is_marked():
    table = there(primary_sensitivity(comparison()))
    assert [row["missed"] for row in table.rows] == [False, True]
    assert "turns in 1 of 1" in table.caption


def test_type_one_error_beyond_what_is_allowed_is_said_and_marked():
    table = there(calibrated(comparison()))
    assert [row["missed"] for row in table.rows] == [False, True, True]
    assert "not held by: robust, full borrowing" in table.caption
    assert cells(table, 1)["type_one"] == "0.0570"
    cuts = {c.key: c.show for c in table.columns}["cut"]
    assert [cuts(value) for value in (0.975, 0.99999987, None)] == ["0.9750", "1 − 1e-07", "none"]


def test_exact_characteristics_say_so_and_simulated_ones_carry_their_error():
    table = there(operating(comparison()))
    assert {cells(table, i)["computed"] for i in range(len(table.rows))} == {"exact"}
    assert "±" not in cells(table)["rate"]
    simulated = comparison()
    for row in simulated["drift"]:
        row |= {"method": "simulated", "rate_mcse": 0.007}
    table = there(operating(simulated))
    assert cells(table)["rate"] == "0.500 ± 0.007"
    assert cells(table)["computed"] == "simulated"


def test_the_long_table_has_a_short_one_in_view_and_every_row_in_its_csv():
    table = there(operating(comparison()))
    assert len(table.rows) == len(read(table)) == 45
    assert len(table.brief) == 15
    assert {row["effect"] for row in table.brief} == {0.0}


def test_assurance_has_its_simulation_error_and_its_design_prior():
    table = there(assurance(comparison()))
    assert cells(table)["assurance"] == "0.750 ± 0.004"
    assert cells(table)["control"] == "1.0 (5.0)"


def test_the_virtual_controls_prior_has_three_effective_sample_sizes():
    table = there(control_priors(comparison()))
    row = cells(table, 1)
    assert (row["discrepancy"], row["elir"], row["moment"], row["morita"]) == ("learnt, planned", "9.0", "8.0", "11.0")
    assert row["mu_d"] == "–"


def predictions(placebo: float, drug: float, risks: tuple[np.ndarray, np.ndarray] | None = None) -> Predictions:
    def of(mean: float) -> ArmPrediction:
        theta = mean + np.linspace(-1, 1, 64)
        return ArmPrediction(theta, np.full(64, 14.0), np.full(64, 45.0), np.zeros(64))

    means = {"ldl_change": {"placebo_q2w": of(placebo), "evolocumab_140_q2w": of(drug)}}
    return Predictions(means, {}, {"treatment_related_ae": risks})


def set_against(row: dict, virtual: Predictions, margin: float | None) -> dict:
    """The row as the comparison makes it; an effect is of the treated arm less the control."""
    per_arm = virtual.means["ldl_change"]
    arm = per_arm[row["arm"]]
    arm = arm.minus(per_arm["placebo_q2w"]) if row["kind"] == "effect" else arm
    return against(arm, row["observed"], row["se"], margin)


def test_agreement_is_a_probability_and_a_difference_that_is_not_significant_is_none():
    """0.5 apart with a standard error of 0.5 and a margin of 5 is equivalent; 20 apart is different; 4 apart with an
    error of 6 is not significant, and undecided."""
    seen = [arm("placebo_q2w", "mean", 0.0, 0.5, True) | {"se": 0.5}]
    seen += [
        arm("evolocumab_140_q2w", "mean", -60.0, -40.0, False),
        arm("evolocumab_140_q2w", "effect", -60, -56, True),
    ]
    seen[2]["se"] = 6.0
    rows = agreed({"arms": [row | set_against(row, predictions(0.0, -60.0), 5.0) for row in seen]})
    assert [row["says"] for row in rows] == ["equivalent", "different", "undecided"]
    assert abs(rows[2]["difference"]) < 1.96 * 6
    virtual = predictions(0.0, -60.0).means["ldl_change"]["placebo_q2w"].means
    found = equivalence(0.5, 0.5, virtual, margin=5.0)
    assert (rows[0]["p_within_margin"], rows[0]["p_tost"]) == (found.within, found.p_tost)
    table = there(validation(rows, "mean", validated=True, unit="percentage points"))
    assert len(table.rows) == 2
    assert "which is no agreement" in table.caption
    fitted = there(validation(rows, "mean", validated=False, unit="percentage points"))
    assert "no validation" in fitted.title
    assert "no evidence of prediction" in fitted.caption
    assert isinstance(validation([], "effect", validated=True, unit="–"), Absent)


def test_without_a_margin_nothing_agrees():
    row = arm("placebo_q2w", "mean", 0.0, 0.0, True)
    rows = agreed({"arms": [row | set_against(row, predictions(0.0, -60.0), None)]})
    table = there(validation(rows, "mean", validated=True, unit="percentage points"))
    assert cells(table)["says"] == "no margin stated"
    assert cells(table)["p_within_margin"] == "–"


def test_coverage_counts_arms_and_has_the_interval_of_one_trial():
    arms = [arm(f"a{i}", "mean", 0.0, 0.0, i < 6) for i in range(8)]
    outcomes = [{"outcome": "ldl_change", "arm": f"a{i}", "trial": "t"} for i in range(8)]
    table = there(coverage(checks({"arms": arms, "outcomes": outcomes}, 64), validated=True))
    assert [(row["inside"], row["of"], row["trials"]) for row in table.rows] == [(6, 8, 1)] * 3
    assert all(row["high_by_trial"] - row["low_by_trial"] > row["high"] - row["low"] for row in table.rows)
    assert isinstance(coverage([], validated=True), Absent)


@pytest.mark.parametrize(("events", "n"), [(11, 155), (39, 474), (1, 20)])
def test_independent_exact_interval_of_a_proportion_is_scipys(events: int, n: int):
    interval = scipy.stats.binomtest(events, n).proportion_ci(0.95, method="exact")
    assert exact_interval(events, n) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_none_or_all_have_a_one_sided_bound_in_closed_form():
    """Of n without an event: 1 - 0.05^(1/n), the rule of three in full."""
    assert exact_interval(0, 155) == pytest.approx((0.0, 1 - 0.05 ** (1 / 155)))
    assert exact_interval(20, 20) == pytest.approx((0.05 ** (1 / 20), 1.0))


def events(placebo: int | None, drug: int | None) -> dict:
    row = {"event": "treatment_related_ae", "modelled": False}
    return {
        "events": [
            row | {"arms": ["placebo_q2w"], "n": 100, "observed": placebo},
            row | {"arms": ["evolocumab_140_q2w"], "n": 200, "observed": drug},
        ]
    }


def test_where_no_event_was_seen_there_is_an_upper_bound_and_no_ratio(laplace):
    table = there(adverse_events(laplace, events(0, 0)))
    assert cells(table)["share"] == "0.0 % (0.0 % to 3.0 %)"  # the rule of three: 3 of 100
    assert cells(table)["risk"] == "not predicted"
    [row] = contrasts(laplace, events(0, 0), predictions(0, 0))
    assert row["ratio"] is None
    assert row["difference_low"] < 0 < row["difference_high"]
    uncounted = there(adverse_events(laplace, events(None, None)))
    assert cells(uncounted)["observed"] == "no count found"
    assert isinstance(risk_contrasts(contrasts(laplace, events(None, None), predictions(0, 0)), 64), Absent)


def test_risks_are_contrasted_as_seen_and_as_predicted(laplace):
    """5 of 100 and 30 of 200: 10 points more, three times as much."""
    risks = (np.full(64, 0.1), np.linspace(0.1, 0.2, 64))
    seen, predicted = contrasts(laplace, events(5, 30), predictions(0, 0, risks))
    assert seen["difference"] == pytest.approx(0.1, abs=0.01)
    assert seen["ratio"] == pytest.approx(3.0, abs=0.4)
    assert seen["more"] > 0.98
    assert predicted["difference"] == pytest.approx(0.05, abs=1e-9)
    assert predicted["ratio"] == pytest.approx(1.5, abs=1e-9)


def test_too_few_draws_of_harm_are_no_conclusion():
    table = there(benefit_and_risk(comparison()))
    assert [row["side"] for row in table.rows] == ["benefit", "benefit", "risk"]
    assert cells(table, 2)["met_word"] == "no conclusion: more draws"
    assert cells(table, 2)["p"] == "0.810 ± 0.010"
    assert "no conclusion" in table.caption


def diagnosed(r_hat: float) -> dict:
    convergence = {"r_hat": r_hat, "ess_bulk": 900.0, "ess_tail": 800.0, "divergences": 0, "bfmi": 0.9, "draws": 4000}
    loo = {"khat": 0.94, "limit": 0.7, "above": 3, "observations": 8, "reliable": False}
    scaled = {"parameter": "trial", "prior": 0.09, "likelihood": 0.03, "khat": 0.2, "reliable": True, "says": "x"}
    return {"convergence": convergence, "leave_one_out": loo, "power_scaled": [scaled]}


@pytest.mark.parametrize(("r_hat", "reliable"), [(1.003, True), (1.02, False), (float("nan"), False)])
def test_a_fit_that_did_not_converge_is_not_reliable(r_hat: float, reliable: bool):
    [row] = fits(None, "", diagnosed(r_hat))
    assert row["reliable"] is reliable
    assert row["loo_reliable"] is False
    table = there(diagnostics([row]))
    assert cells(table)["loo_above"] == "3 (8)"
    assert cells(there(power_scaling(diagnosed(r_hat))))["khat"] == "0.20"


def test_arms_that_leave_one_out_cannot_weigh_count_as_reliable_once_they_are_refitted():
    arms = [{"khat": 0.9, "refitted": True}, {"khat": 0.3, "refitted": False}]
    convergence = diagnosed(1.0)["convergence"]
    [row] = fits({"diagnostics": convergence, "arms": arms}, "laplace", None)
    assert (row["loo_above"], row["refitted"], row["loo_reliable"]) == (1, 1, True)
    [row] = fits({"diagnostics": convergence, "arms": [arms[0] | {"refitted": False}]}, "laplace", None)
    assert row["loo_reliable"] is False


def test_limits_name_deviations_failures_with_their_bound_and_assumptions(mendel):
    summary = {
        "validation": True,
        "arms": [{}],
        "standing": {"status": "post hoc", "reasons": ["another seed"]},
        "comparison": comparison(),
        "events": [],
    }
    failed = [{"arm": "a", "mean": 50, "draws": 50, "failed": 1, "reasons": {"step limit": 1}, "bound": 2.0}]
    plan = {"status": "post hoc", "number": 2, "frozen": "2026-02-01T00", "opened": "2026-01-01T00:00:00"}
    summary["comparison"] |= {"standing": plan}
    table = limits(mendel, summary, failed, fits(None, "", diagnosed(1.02)), same=False)
    says = "\n".join(f"{row['kind']}: {row['says']}" for row in table.rows)
    assert "deviation: another seed" in says
    assert "deviation: the predictions are post hoc" in says
    assert "deviation: the virtual trials no longer give the predictions that were frozen" in says
    assert "limitation: discrepancy of this trial: R-hat is 1.020" in says
    assert "limitation: the planned borrowing does not hold the type I error" in says
    assert "limitation: retrospective" in says
    assert (
        "deviation: the comparison's plan is post hoc, after the outcomes were first opened here (2026-01-01)" in says
    )
    assert "failure: a: 1 of 100 simulated patients failed (step limit 1)" in says
    assert [row["bound"] for row in table.rows if row["kind"] == "failure"] == [2.0]
    assert all(f"assumption: {a}" in says for a in mendel.assumptions)
    none = limits(mendel, {"events": []}, [failed[0] | {"failed": 0, "reasons": {}}], [])
    assert [row["bound"] for row in none.rows if row["kind"] == "failure"] == [0.0]


def test_what_is_asked_has_the_estimand_the_margin_and_the_plan(mendel, laplace):
    says = {row["item"]: row["says"] for row in question(mendel).rows}
    assert says["Margin of agreement, ldl_change"] == "5 percent on either side"
    assert says["Success"] == str(mendel.comparison.decision)
    assert says["Model risk"].startswith(f"{mendel.credibility.model_risk}: influence")
    silent = {row["item"]: row["says"] for row in question(mendel.model_copy(update={"credibility": None})).rows}
    assert silent["Model risk"].startswith("not assessed")
    assert {row["item"]: row["says"] for row in question(laplace).rows}["Planned comparison"].startswith("none")


def test_provenance_has_the_hash_of_every_file_of_evidence_as_it_was_opened(mendel):
    made = {"study": "s", "model": "m", "commit": "c", "cohort": "1", "lock": "l", "engine": "e", "python": "3"}
    made |= {"machine": "x", "versions": {"numpy": "2"}, "changed_since_commit": True}
    opened = {"event": "outcomes opened", "evidence": "mendel", "use": "validation", "file": "f.csv", "sha256": "abc"}
    audit = [opened | {"time": "2026-01-01T00:00:00"}]
    audit += [{"event": "predictions frozen", "predictions": "p", "time": "2026-01-01T00:00:00"}]
    rows = {row["item"]: row for row in provenance(mendel, {}, made, audit, "q").rows}
    assert rows["Evidence mendel"]["value"] == "abc"
    assert rows["Learnt from yukawa"]["detail"].endswith("not opened")
    assert "the trials differ now" in rows["Predictions"]["detail"]
    assert "changed since that commit" in rows["Code"]["detail"]
    assert rows["Seed"]["value"] == str(mendel.seed)


def test_priors_of_the_calibration_are_in_the_unit_of_their_posterior(laplace, evolocumab):
    """Drift is stated in percent and calibrated as a share."""
    learnt = {"parameter": "drift", "prior": "normal(0, 0.05)", "mean": 0.007, "sd": 0.016, "low": -0.025}
    learnt |= {"high": 0.038, "ratio": 0.33, "from_the_prior": False}
    table = there(calibration_priors(laplace, evolocumab, {"parameters": [learnt]}))
    row = cells(table)
    assert (row["prior"], row["unit"]) == ("normal(0, 0.05)", evolocumab.parameters.fields()["drift"]["unit"])
    assert row["stated"] == "normal(0, 5) percent"
    assert isinstance(calibration_priors(laplace, evolocumab, None), Absent)


def test_a_study_without_a_plan_lists_what_it_has_not(laplace):
    found = [f(None) for f in (primary, borrowed_control, borrowed_arm, primary_sensitivity, power_scaling)]
    found += [f(None) for f in (operating, calibrated, assurance, benefit_and_risk, control_priors)]
    found += [subgroups(laplace), calibration_sensitivity(None, "laplace", True), diagnostics([])]
    assert all(isinstance(a, Absent) and a.reason for a in found)
    assert "none in the published evidence" in subgroups(laplace).reason


def page() -> jinja2.Environment:
    loader = jinja2.PackageLoader("cohort.report", "page")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def test_what_is_not_here_is_listed_with_its_reason_and_what_a_study_says_is_no_markup(mendel):
    study = mendel.model_copy(update={"assumptions": ["<script>alert(1)</script>"]})
    tables = {"limits": limits(study, {"events": []}, [], [])}
    absent = [Absent("T6", "Primary result", "the study plans no comparison")]
    html = page().get_template("limits.html").render(tables=tables, absent=absent)
    assert "What is not here" in html
    assert "T6, primary result: the study plans no comparison." in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "Every table applies" in page().get_template("limits.html").render(tables=tables, absent=[])


def test_every_table_is_written_and_those_of_an_earlier_report_are_gone(tmp_path):
    results = SimpleNamespace(folder=tmp_path)
    table = there(primary(comparison()))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/T09_old.csv").write_text("x")
    (tmp_path / "tables/notes.csv").write_text("x")
    assert write(results, {"primary": table}) == ["T06_primary.csv"]  # type: ignore[arg-type]
    assert sorted(f.name for f in (tmp_path / "tables").iterdir()) == ["T06_primary.csv", "notes.csv"]
    assert (tmp_path / "tables/T06_primary.csv").read_text() == table.csv()
    assert [float(r["difference"]) for r in read(table)] == [m["difference"] for m in table.rows]


def test_the_banner_groups_arms_by_verdict():
    found = words_of({"validation_arms": Table("T5", "x", "", "", (), [{"arm": "a", "says": "different"}])})
    assert [r["arm"] for r in found["different"]] == ["a"]
    assert found["equivalent"] == found["undecided"] == []
    assert words_of({}) == {"equivalent": [], "different": [], "undecided": []}


def row(arm: str, inside: bool, difference: float) -> dict:
    return {"endpoint": "ldl_change", "arm": arm, "kind": "mean", "inside_0.95": inside, "difference": difference}


def test_a_verdict_counts_hits_and_names_misses(laplace):
    means = [row("placebo_q2w", True, 1.0), row("evolocumab_140_q2w", False, 11.0)]
    effect = row("evolocumab_140_q2w", True, 0.0) | {"kind": "effect"}
    [verdict] = verdicts(laplace, {"arms": [*means, effect]})
    assert [r["arm"] for r in verdict["hit"]] == ["placebo_q2w"]
    assert [r["arm"] for r in verdict["missed"]] == ["evolocumab_140_q2w"]
    assert (verdict["of"], verdict["mean_difference"]) == (2, 6.0)


def test_without_published_means_there_is_no_verdict(laplace):
    assert verdicts(laplace, {}) == []


def test_failures_are_counted_by_arm_and_reason_with_a_bound():
    """Two of four patients failed: means of values from -100 to 100 could be 100 points off."""
    visits = pl.DataFrame(
        {
            "draw": [0, 0, 0, 0, 1, 1, 1, 1],
            "arm": ["a"] * 8,
            "subject": ["1", "1", "2", "2"] * 2,
            "code": [0, 0, 1, 1, 0, 0, 2, 2],
        }
    )
    [found] = failures(visits, 2, CODES)
    assert (found["mean"], found["draws"], found["failed"], found["bound"]) == (2, 2, 2, 100.0)
    assert found["reasons"] == {"step limit": 1, "not finite": 1}


def test_each_wording_of_a_trial_is_said_once():
    line = {
        "trial": "t",
        "registry": "NCT1",
        "assay": "x",
        "analysis_set": "",
        "adjustment": "",
        "missing_data": "",
        "source": "s",
    }
    [note] = evidence_notes({"outcomes": [line, line, line | {"assay": "y"}]})
    assert note["assay"] == ["x", "y"]
    assert note["missing_data"] == []
