"""The dossier says what the results say, in every section; what is wrong looks wrong, and what a study says is text."""

import dataclasses
import html
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from cohort.cli import app
from cohort.display.style import arm_label
from cohort.display.table import number
from cohort.dossier import assessment, assumptions, dossier, failures, pdf, read_tests, trail, verify
from cohort.record import Audit
from cohort.report.tables import made
from cohort.results import Results, open_results
from cohort.study.protocol import FACTORS

JUNIT = """<testsuites><testsuite name="pytest">
<testcase classname="tests.engine.test_curves" name="test_a"/>
<testcase classname="tests.cli.test_x" name="{name}">{inner}</testcase></testsuite></testsuites>"""


def cohort(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture(scope="module")
def checks(results: Results):
    return verify(results, patients=4)


@pytest.fixture(scope="module")
def page(results: Results, checks) -> str:
    return dossier(results, None, checks)


def text_of(page: str) -> str:
    """The page as it is read: no tags, one space between words."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def section(page: str, name: str) -> str:
    return text_of("<body>" + page.split(f'id="{name}"', 1)[1].split("<h2", 1)[0])


def test_it_claims_nothing_and_says_so_first(page):
    text = text_of(page)
    first = text.index("claims no compliance with any guideline or standard, no qualification, and no approval")
    assert first < text.index("Assessment", text.index("Signatures"))
    for word in ("compliant", "qualified", "approved", "complies"):
        assert word not in text.lower()


def test_it_is_one_file_that_needs_nothing_else(page):
    assert not re.search(r"<script|<link|@import|\bsrc=|url\(|href=\"(?!#)", page)
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))
    assert len(targets) == 13


def test_the_assessment_is_the_study_s_and_the_risk_the_table_s(page, results):
    own, text = results.study.credibility, section(page, "assessment")
    assert own is not None
    assert f"Model influence {own.influence.level} : {own.influence.because}" in text
    assert f"Consequence of wrong decision {own.consequence.level} : {own.consequence.because}" in text
    assert "Model risk medium : from influence high and consequence low" in text
    for words in (results.study.question, results.study.context_of_use.strip(), own.impact.because):
        assert re.sub(r"\s+", " ", words) in text
    assert page.count('<td class="is">medium</td>') == 1


def test_every_factor_has_a_row_with_its_goal_or_the_want_of_one(page, results):
    goals = results.study.credibility.goals
    for name, (_, label) in FACTORS.items():
        row = text_of("<body>" + page.split(f'id="f-{name}"', 1)[1].split('<div class="factor"', 1)[0])
        assert label[1:] in row
        assert (goals[name].goal in row) if name in goals else ("states no goal" in row)


def test_the_validation_is_the_comparison_s(page, results):
    text = section(page, "validation")
    for row in results.summary["arms"]:
        if row["kind"] == "mean":
            assert arm_label(row["arm"]) in text
            for key in ("predicted", "observed", "low_0.95", "difference"):
                assert number(row[key]) in text
    assert f"These predictions are {results.summary['standing']['status']}" in text
    inside = sum(r["inside_0.95"] for r in results.summary["arms"] if r["kind"] == "mean")
    assert f"{inside} of 3 arms inside their 95 % predictive interval" in section(page, "factors")
    assert "evidence against" in page.split('id="f-output_comparison"')[1].split("</h4>")[0]
    one = results.summary["discrepancy"]
    assert f"ldl_change: {number(one['mean'])} ({number(one['low'])} to {number(one['high'])}" in text


def test_the_verification_is_what_was_checked(page, checks):
    text = section(page, "verification")
    assert f"{len(checks.checks)} of {len(checks.checks)} checks passed" in text
    for row in checks.checks:
        assert row["what"] in text
    assert "FAILED" not in text_of(page)


def test_without_test_results_there_is_no_such_evidence(page):
    assert "No evidence: results of the test suite were not given" in text_of(page)


def test_diagnostics_and_population_are_the_report_s(page, results):
    tables = made(results).tables
    text = section(page, "diagnostics")
    for row in tables["diagnostics"].rows:
        assert f"{row['r_hat']:.4f}" in text
        assert f"{row['ess_bulk']:.0f}" in text
    text = section(page, "people")
    assert "No evidence that the virtual people have the trial's baseline" in text
    age = results.population["age"]
    assert f"{age.mean():.3g} ({age.std():.3g})" in text


def test_every_input_is_listed_with_its_source_and_tags(page, results, evolocumab):
    found = assumptions.rows(results)
    names = [row["name"] for row in found if row["group"] == "model parameter"]
    assert names == list(evolocumab.parameters.fields())
    (tied,) = (row for row in found if row["group"] == "model correlation")
    assert tied["tagged"] == ["no source"]
    said = {row["name"]: row["tagged"] for row in found if row["group"] == "population"}
    assert said["covariates.pcsk9"] == ["assumption", "unverified"]
    assert said["covariates.statin"] == []
    assert sum(row["group"] == "stated assumption" for row in found) == len(results.study.assumptions)
    counts = {row["group"]: row for row in assumptions.counts(found)}
    assert counts["population"]["of"] == len(results.study.population.covariates)
    assert counts["population"]["assumption"] == sum("assumption" in tags for tags in said.values())
    text = section(page, "assumptions")
    for row in found:
        if row["group"] != "people, other columns":
            assert re.sub(r"\s+", " ", row["source"]).strip() in text
    assert "Kuchimanchi et al. 2018" in text


@pytest.mark.parametrize(
    ("says", "tags"),
    [
        ("assumption: as in LAPLACE", ["assumption"]),
        ("NHANES; skin: unverified", ["unverified"]),
        ("assumed; not found", ["assumption", "unverified"]),
        ("[1] Table 3", []),
        ("  ", ["no source"]),
    ],
)
def test_a_source_is_tagged_by_its_own_words(says, tags):
    assert assumptions.tags(says) == tags


def test_failures_are_bounded_by_the_worst_that_was_seen(results):
    """Two of an arm's courses fail: the mean moves by their share of the way to the lowest and highest value seen."""
    trial = results.trial
    arm, control = "evolocumab_140_q2w", "placebo_q2w"
    rows = trial.with_row_index().filter((pl.col("arm") == arm) & (pl.col("draw") == 0))["index"].to_list()[:2]
    hit = pl.int_range(pl.len()).is_in(rows)
    spoilt = trial.with_columns(
        code=pl.when(hit).then(pl.lit(1, dtype=pl.Int8)).otherwise("code"),
        ldl_change_true=pl.when(hit).then(None).otherwise("ldl_change_true"),
    )
    other = Results(results.study, results.folder)
    other.__dict__["trial"], other.__dict__["visits"] = spoilt, results.visits
    found = {(r["arm"], r["endpoint"]): r for r in failures.rows(other)}
    row = found[arm, "ldl_change"]
    solved = spoilt.filter(pl.col("code") == 0)
    low, high = solved["ldl_change_true"].min(), solved["ldl_change_true"].max()
    courses = trial.filter(pl.col("arm") == arm).height
    mean = solved.filter((pl.col("arm") == arm) & (pl.col("draw") == 0))["ldl_change_true"].mean()
    share = 2 / courses
    assert (row["failed"], row["courses"]) == (2, courses)
    assert row["low"] == pytest.approx((1 - share) * mean + share * low)
    assert row["high"] == pytest.approx((1 - share) * mean + share * high)
    alone = found[control, "ldl_change"]
    assert alone["low"] == alone["high"] == alone["mean"]
    assert row["difference_low"] == pytest.approx(row["low"] - alone["high"])
    share_of_low = found[arm, "ldl_below_25"]
    assert share_of_low["high"] - share_of_low["low"] == pytest.approx(share)


def test_limits_and_deviations_are_those_of_run_and_file(edited, checks):
    def change(said: dict) -> None:
        said["credibility"]["deviations"] = ["the third visit was moved"]
        said["credibility"]["limits"] = ["nobody over ninety"]

    results = edited(change)
    page = dossier(results, None, checks)
    assert "the third visit was moved [small.yaml]" in section(page, "deviations")
    assert "nobody over ninety [small.yaml]" in section(page, "limits")
    rows = made(results).tables["limits"].rows
    for kind, where in (("deviation", "deviations"), ("limitation", "limits")):
        for row in rows:
            if row["kind"] == kind:
                assert re.sub(r"\s+", " ", row["says"]) in section(page, where)


def test_the_trail_tells_the_order_and_a_break(own):
    results = open_results(own)
    rows = {row["item"]: row for row in trail.rows(results)}
    assert "predictions were frozen at" in rows["Order"]["says"]
    assert not rows["Order"]["missed"]
    results.audit.append("simulated", patients=1, failed=0, code={"commit": "abc", "changed_since_commit": True})
    rows = {row["item"]: row for row in trail.rows(results)}
    assert rows["After the last comparison"]["says"] == "simulated"
    assert rows["Simulated again"]["missed"]
    assert rows["Code that simulated"]["missed"]
    text = results.audit.path.read_text().replace('"screened":', '"screaned":', 1)
    results.audit.path.write_text(text)
    (chain,) = (row for row in trail.rows(results) if row["item"] == "Chain")
    assert "BROKEN" in chain["says"]
    assert chain["missed"]


def test_a_study_without_the_section_is_not_assessed(edited, checks):
    results = edited(lambda said: said.pop("credibility"))
    rows = {row["element"]: row for row in assessment(results.study, results.summary)}
    assert "not assessed" in rows["Model risk"]["says"]
    assert "rating" not in rows["Model risk"]
    page = dossier(results, None, checks)
    assert page.count("states no goal for this factor") == len(FACTORS)
    assert "does not say why its validation is relevant" in text_of(page)


HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }} =HYPERLINK("http://x")'


def test_what_others_say_is_text_and_never_markup(edited, checks, tmp_path):
    """In the study's file, in names of tests, in their commit, in a signature's file."""

    def change(said: dict) -> None:
        said["credibility"]["impact"]["because"] = HOSTILE
        said["credibility"]["goals"] = {"model_form": {"goal": HOSTILE, "because": HOSTILE}}
        said["credibility"] |= {"deviations": [HOSTILE], "limits": [HOSTILE]}

    results = edited(change)
    tests = tmp_path / "tests.xml"
    name = html.escape(HOSTILE, quote=True)
    tests.write_text(JUNIT.format(name=name, inner=f'<failure message="{name}"/>'))
    (results.folder / "signatures").mkdir()
    (results.folder / "signatures/0123456789abcdef.json").write_text(json.dumps({"name": HOSTILE}))
    page = dossier(results, read_tests(tests, HOSTILE), checks)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 7
    assert not re.search(r"<script|<img|onerror=(?!alert)", page)
    assert "{{ 7 * 7 }}" in page
    assert "NOT VALID" in section(page, "signatures")


def test_a_check_that_fails_is_loud(results, checks):
    bad = {**checks.checks[0], "found": 0.25, "passed": False}
    forged = dataclasses.replace(checks, checks=[bad, *checks.checks[1:]])
    page = dossier(results, None, forged)
    text = text_of(page)
    assert 'class="alarm"' in page
    assert text.index("1 verification check FAILED on this machine") < text.index("What this is.")
    assert f"{bad['what']}: expected {bad['expected']}, found 0.25" in text
    assert "evidence against" in page.split('id="f-numerical_code_verification"')[1].split("</h4>")[0]
    assert re.search(r'<tr class="miss"><td class="text">closed form: one compartment', page)


def test_tests_that_failed_are_loud(results, checks, tmp_path):
    file = tmp_path / "tests.xml"
    file.write_text(JUNIT.format(name="test_b", inner="<failure/>"))
    page = dossier(results, read_tests(file, "abc1234"), checks)
    text = text_of(page)
    assert "1 tests FAILED in tests.xml" in text
    assert "tests.cli.test_x::test_b" in section(page, "tests")
    assert "1 passed, 1 failed, 0 skipped" in section(page, "tests")
    row = text_of("<body>" + page.split('id="f-software_quality_assurance"')[1].split('<div class="factor"')[0])
    assert row.index("evidence against") < row.index("1 tests failed")
    assert "the tests ran at another commit, abc1234" in row or "no commit is known" in row


def test_the_verb_writes_the_page_and_tells_the_trail(own, tmp_path):
    made = cohort("dossier", own, "--patients", "3")
    assert made.exit_code == 0, made.output
    folder = own.parents[2] / "results/small"
    assert (folder / "dossier.html").is_file()
    assert Audit(folder / "audit.jsonl").lines()[-1]["event"] == "dossier"
    before = (folder / "audit.jsonl").read_bytes()
    made = cohort("dossier", own, "--patients", "3", "-o", tmp_path / "elsewhere")
    assert made.exit_code == 0, made.output
    assert (folder / "audit.jsonl").read_bytes() == before
    one, two = (f.read_text() for f in (folder / "dossier.html", tmp_path / "elsewhere/dossier.html"))
    assert re.sub(r"[0-9a-f]{64}|\d+ lines", "", one) == re.sub(r"[0-9a-f]{64}|\d+ lines", "", two)


def test_the_verb_says_what_failed_with_exit_code_4(own, tmp_path):
    file = open_results(own).arm_file("placebo_q2w")
    rows = pl.read_parquet(file)
    rows.with_columns(ldl=pl.col("ldl") * 1.01).write_parquet(file)
    made = cohort("dossier", own, "--patients", "3", "-o", tmp_path / "out")
    assert made.exit_code == 4
    assert "FAILED: placebo_q2w: the result folder's, solved again" in made.output.replace("\n", " ")
    assert "FAILED on this machine" in (tmp_path / "out/dossier.html").read_text()


def test_the_verb_refuses_what_it_cannot_read(own, tmp_path):
    made = cohort("dossier", own, "--tests", tmp_path / "none.xml", "-o", tmp_path / "out")
    assert made.exit_code == 2
    assert "no such file" in made.output
    assert not (tmp_path / "out").exists()
    (own.parents[2] / "results/small/comparison.nc").unlink()
    made = cohort("dossier", own, "-o", tmp_path / "out")
    assert made.exit_code == 2
    assert "run: cohort compare" in made.output.replace("\n", " ")


def test_without_a_browser_the_page_stands_alone(own, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    made = cohort("dossier", own, "--patients", "3", "--pdf", "-o", tmp_path / "out")
    assert made.exit_code == 0
    assert "no Chromium is installed" in made.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["dossier.html"]


def test_a_browser_that_makes_no_pdf_is_said(page, tmp_path, monkeypatch):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho cannot draw >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "page.html").write_text(page)
    with pytest.raises(pdf.DossierError, match="cannot draw"):
        pdf.write_pdf(tmp_path / "page.html", tmp_path / "page.pdf")
    assert not (tmp_path / "page.pdf").exists()


@pytest.mark.skipif(pdf.browser() is None, reason="no Chromium is installed")
def test_a_browser_prints_it(page, tmp_path):
    (tmp_path / "page.html").write_text(page)
    pdf.write_pdf(tmp_path / "page.html", tmp_path / "page.pdf")
    text = (tmp_path / "page.pdf").read_bytes()
    assert text.startswith(b"%PDF")
    assert len(re.findall(rb"/Type ?/Page\b", text)) > 3


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_commands_name_the_commit_that_simulated(page, results):
    ran = next(a["code"] for a in reversed(results.audit.lines()) if a["event"] == "simulated")
    assert f"git checkout {ran['commit'] or '(no commit'}" in text_of(page)
