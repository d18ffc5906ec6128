"""The chapter on the CDISC pilot trial, against the trial's own report, and its promises about what is read when."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort import chapters, external
from cohort.analysis.reml import reml
from cohort.chapters import ChapterError, Data, cdiscpilot
from cohort.chapters.cdiscpilot import efficacy, prognosis, safety, scoring, trial, twins, virtual
from cohort.library import load
from cohort.results import Results
from cohort.study import read_study

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("COHORT_DATA", ROOT.parent / "shared/data")) / trial.FOLDER
pytestmark = pytest.mark.skipif(
    not (DATA / "adam_adsl.csv.gz").is_file(), reason=f"needs {trial.OBTAIN}; set COHORT_DATA"
)


@pytest.fixture(scope="module")
def files() -> dict[str, pl.DataFrame]:
    return {name: trial.read(DATA / f"adam_{name}.csv.gz") for name in ("adsl", "adqsadas", "adae", "adtte")}


@pytest.fixture(scope="module")
def real(files) -> trial.Trial:
    return trial.Trial.of(files["adsl"], files["adqsadas"])


@pytest.fixture(scope="module")
def study():
    return read_study(ROOT / "config/studies/cdiscpilot.yaml")


@pytest.fixture(scope="module")
def model(study):
    return load(study.model, study.path.parent)


@pytest.fixture(scope="module")
def own(study, model, real) -> twins.Twins:
    return twins.twins(study, model, real.people, trial.carried(trial.taught(real.adqsadas)), draws=200)


def test_independent_the_trials_own_table_is_reproduced(files):
    found = {arm: (n, round(mean, 2), round(sd, 2)) for arm, n, mean, sd in efficacy.again(files["adqsadas"]).rows()}
    assert found == trial.PUBLISHED


def test_independent_the_trials_analysis_of_covariance_is_reproduced(real):
    """Table 14-3.01: differences, standard errors, intervals; P 0.569 and 0.233."""
    for row in efficacy.covariance(real).iter_rows(named=True):
        difference, se, low, high = trial.ANCOVA[row["arm"]]
        assert (round(row["difference"], 1), round(row["se"], 2)) == (difference, se)
        assert (round(row["low"], 1), round(row["high"], 1)) == (low, high)
        assert round(row["p"], 3) == {"low dose": 0.569, "high dose": 0.233}[row["arm"]]


def test_independent_repeated_measures_are_those_of_sas(real):
    """PROC MIXED, type UN, efficacy set: -0.5939 and -0.8282, with P of 0.5600 and 0.4403 by Kenward and Roger."""
    who = real.people["efficacy"].to_numpy()
    rows = real.scores.filter(pl.col("visit") != "Baseline").pivot("visit", index="subject", values="change")
    y = real.people.select("subject").join(rows, on="subject", how="left", maintain_order="left")
    only = trial.Trial(real.people.filter(who), real.adsl, real.adqsadas, real.scores, real.stops)
    found = reml(only.longitudinal(y.select(trial.VISITS).to_numpy().astype(float)[who]))
    for i, (difference, t) in enumerate(((-0.5939, 0.584), (-0.8282, 0.773))):
        assert found.effect[i, -1] == pytest.approx(difference, abs=5e-4)
        assert abs(found.effect[i, -1] / found.se[i, -1]) == pytest.approx(t, abs=0.01)


def test_what_counts_as_after_treatment_goes_by_the_rule(real):
    assert list(real.retrieved().values()) == [37, 38, 41]
    gaps = real.since_last_patch().filter(pl.col("visit") == "Week 24", ~pl.col("retrieval"), pl.col("gap") > 0)
    assert sorted(gaps["gap"].to_list()) == [1, 2, 6, 19]


def test_the_estimands_see_what_they_should(real):
    """Treatment policy: 65, 49 and 41 were seen at week 24; one more score each is that of a patient while alive."""
    policy, on = (real.changes(real.handled(s)) for s in ("treatment policy", "hypothetical"))
    arm = real.people["arm"].to_numpy()
    seen = {a: [int((~np.isnan(y[arm == a, -1])).sum()) for y in (policy, on)] for a in trial.ARMS}
    assert seen == {"placebo": [66, 61], "low dose": [50, 28], "high dose": [41, 30]}
    stops = real.stops.filter(pl.col("event") == "discontinuation").group_by("arm").len().rows()
    assert dict(stops) == {"placebo": 26, "low dose": 58, "high dose": 57}  # of 28, 59, 57 the dead are none
    late = efficacy.stopped(real).after(real.longitudinal(on))
    assert not (late & ~np.isnan(on)).any()


def test_independent_events_are_those_of_the_trials_report(files, real):
    patients = dict(real.people.group_by("arm").len().rows())
    rows = safety.anything(files["adae"], patients)
    had = {kind: rows.filter(pl.col("kind") == kind)["events"].to_list() for kind in rows["kind"].unique()}
    assert had["any event on treatment"] == [65, 77, 76]
    assert had["any of the skin"] == [29, 62, 61]
    seen = safety.seen(files["adtte"])
    assert seen["events"].to_list() == [29, 62, 61]
    assert seen["days"].to_list() == [9855, 3945, 3053]
    assert seen["median"].to_list() == [None, 33, 36]
    counts = safety.counted(files["adae"])
    assert counts.height == 230
    assert counts.filter(pl.col("term") == "PRURITUS").row(0)[2:] == (8, 21, 26)


def test_what_is_read_before_the_predictions_holds_no_outcome_of_the_high_dose(files):
    """Whatever the high dose's patients did after baseline, twins and frozen figures are the same."""
    after = (pl.col("TRTP") == trial.ARMS["high dose"]) & (pl.col("ABLFL").fill_null("") != "Y")
    other = files["adqsadas"].with_columns(
        AVAL=pl.when(after).then(pl.lit(69.0)).otherwise("AVAL"), CHG=pl.when(after).then(50.0).otherwise("CHG")
    )
    left = files["adsl"].with_columns(DCDECOD=pl.lit("DEATH"), TRTDUR=pl.lit(1.0))
    assert trial.baseline(left, other).equals(trial.baseline(files["adsl"], files["adqsadas"]))
    assert trial.carried(trial.taught(other)).equals(trial.carried(trial.taught(files["adqsadas"])))
    with pytest.raises(ValueError, match="holds the high dose"):
        twins.effects(trial.baseline(left, other), trial.carried(other), 54.0)


def test_no_patients_own_outcome_is_in_the_effect_of_its_twin(real):
    """Another outcome of a low-dose patient changes other sites' effect and not its own; placebo has none."""
    learnt = trial.carried(trial.taught(real.adqsadas))
    one = learnt.filter(pl.col("arm") == "low dose")["subject"][0]
    other = learnt.with_columns(change=pl.when(pl.col("subject") == one).then(40.0).otherwise("change"))
    at = real.order.index(one)
    before, after = (twins.effects(real.people, table, 54.0)[0] for table in (learnt, other))
    fold = twins.folds(real.people)
    assert after[at] == before[at]
    low = (real.people["arm"] == "low dose").to_numpy()
    assert np.all(after[low & (fold != fold[at])] > before[low & (fold != fold[at])])


def test_the_true_baseline_lies_between_the_measured_and_the_typical_one():
    """With a flat measurement it is the published distribution; with a sharp one the measured score."""
    u = (np.arange(4000) + 0.5)[None] / 4000
    vague, sharp, usual = (twins.beliefs(np.array([40.0]), np.array([22.2]), p, u) for p in (2.02, 1e6, 87.5))
    assert np.median(sharp) == pytest.approx(40, abs=0.1)
    assert 22.2 < np.median(usual) < 40
    assert np.std(np.log(usual)) < np.std(np.log(vague)) < 1.2 * twins.BETWEEN


def test_the_patch_shifts_in_proportion_to_its_dose_and_placebo_does_not(study, model):
    found = twins.shift(study, model)
    assert not found["placebo"].any()
    assert found["low dose"][-1] == pytest.approx(54, rel=2e-3)
    assert found["high dose"][-1] == pytest.approx(81, rel=2e-3)
    assert found["high dose"][0] < 81 * found["low dose"][0] / 54  # two weeks at the lower dose first


def test_twins_on_placebo_are_calibrated_and_beat_no_change_at_week_24(real, own, model):
    rows, each = scoring.scored(real, own, model.typical()["precision"])
    placebo = rows.row(by_predicate=(pl.col("arm") == "placebo") & (pl.col("visit") == "all"), named=True)
    assert (placebo["n"], placebo["patients"]) == (212, 79)
    assert placebo["low_0.8"] < 0.8 < placebo["high_0.8"]
    assert placebo["low_0.95"] < 0.95 < placebo["high_0.95"]
    last = rows.row(by_predicate=(pl.col("arm") == "placebo") & (pl.col("visit") == "Week 24"), named=True)
    assert last["against_no_change"] + last["against_no_change_se"] < 0
    assert each.height == 212 + 173 + 155


def test_the_models_placebo_declines_too_little(study, model, real):
    """About two standard errors (0.65) for a typical patient, less where people's baselines and medication count."""
    placebo = real.people.filter((pl.col("arm") == "placebo") & pl.col("efficacy"))
    rows = virtual.placebo(study, model, placebo)
    off = {(r["way"], r["medicated"]): (2.5447 - r["predicted"]) / 0.6530 for r in rows}
    assert off["typical patient", False] == pytest.approx(2.04, abs=0.02)
    ways = [off[way, False] for way in dict.fromkeys(r["way"] for r in rows)]
    assert ways == sorted(ways, reverse=True)
    assert all(off[way, True] < off[way, False] for way, _ in off)
    assert rows[0]["predicted"] == pytest.approx(1.2134, abs=0.01)  # the published curve at baseline 24.1


def test_a_prognostic_score_saves_next_to_nothing(real, own):
    scores = {"PROCOVA": own.change["placebo"], "fitted score": prognosis.fitted_score(real)}
    found = prognosis.saved(real, scores)
    assert found.height == 8
    assert found["ratio"].is_between(0.97, 1.03).all()
    plain = found.filter(pl.col("analysis").str.starts_with("covariance"))["without"].to_list()[:2]
    assert plain == pytest.approx(efficacy.covariance(real)["difference"].to_list(), abs=0.01)


def test_the_fitted_score_of_a_patient_does_not_know_the_patients_site(real):
    changed = real.adqsadas.with_columns(
        CHG=pl.when(pl.col("SITEGR1").cast(pl.String) == real.people["site"][0]).then(30.0).otherwise("CHG")
    )
    other = trial.Trial(real.people, real.adsl, changed, real.scores, real.stops)
    here = (real.people["site"] == real.people["site"][0]).to_numpy()
    before, after = prognosis.fitted_score(real), prognosis.fitted_score(other)
    assert after[here] == pytest.approx(before[here], abs=1e-9)
    fold = twins.folds(real.people)
    others = fold != fold[here][0]
    assert np.abs(after[others] - before[others]).mean() > 1


def test_twins_made_again_are_the_same_to_the_bit(study, model, real, own):
    again = twins.twins(study, model, real.people, trial.carried(trial.taught(real.adqsadas)), draws=200)
    assert again.hash() == own.hash()
    assert own.frozen(real.people)["draws"] == own.hash()


@pytest.mark.slow
def test_hazard_ratios_by_period_have_no_sign_against_one_and_the_patch_costs_days(files):
    found = safety.periods(files["adtte"].select("USUBJID", "TRTA", "AVAL", "CNSR").sort("USUBJID"), 1)
    assert np.max(found["r_hat"].to_numpy()) <= 1.01
    ratios = found.filter(pl.col("kind") == "ratio")
    assert np.min(ratios["low"].to_numpy()) > 1
    km = {r["arm"]: r for r in safety.seen(files["adtte"]).iter_rows(named=True)}
    for row in found.filter(pl.col("kind") == "share").iter_rows(named=True):
        assert row["mean"] == pytest.approx(km[row["arm"]]["share"], abs=0.04)


def _unsampled(work, *args) -> pl.DataFrame:
    """What a job returns, its posterior replaced by REML's normal: the page is looked at here, not the sampler."""
    told = {"r_hat": 1.0, "ess_bulk": 2000.0, "ess_tail": 2000.0, "divergences": 0.0}
    if work in (efficacy.sampled, efficacy.completed):
        data = args[0]
        found, rows = reml(data), []
        kinds = ["difference"] if work is efficacy.sampled else ["difference", *efficacy.REFERENCE.values()]
        kinds += [] if work is efficacy.sampled else ["from those retrieved"]
        for i, arm in enumerate(efficacy.ACTIVE):
            for j, visit in enumerate(trial.VISITS):
                mean, se = float(found.effect[i, j]), float(found.se[i, j])
                figures = {"mean": mean, "low": mean - 1.96 * se, "high": mean + 1.96 * se, "mcse": 0.01, "below": 0.7}
                more = {"below_mcse": 0.01, "reml": mean, "reml_se": se, "n": 50}
                rows += [{"kind": k, "arm": arm, "visit": visit, **figures, **more} for k in kinds]
            if work is efficacy.completed:
                of = {"arm": arm, "visit": "Week 24", "mean": -2.0, "below_mcse": 0.01}
                rows += [
                    {"kind": f"tipping, {k}", **of, "delta": d, "below": 0.7 - d / 30}
                    for k in ("at random", "jump to placebo")
                    for d in efficacy.DELTAS.tolist()
                ]
        for arm in trial.ARMS:
            rows += [
                {"kind": "mean", "arm": arm, "visit": v, "mean": 1.0, "low": 0.0, "high": 2.0, "mcse": 0.01, "n": 50}
                for v in trial.VISITS
            ]
        return pl.DataFrame(rows, infer_schema_length=None).with_columns(**{k: pl.lit(v) for k, v in told.items()})
    told.pop("ess_tail")
    if work is safety.terms:
        often = args[0].filter(pl.sum_horizontal(*trial.ARMS) >= safety.FEWEST)
        raised = (pl.col("high dose") > 20).cast(pl.Float64)
        return often.with_columns(
            p=raised, mcse=pl.lit(0.01), shrunk=pl.lit(2.0), low=pl.lit(1.0), high=pl.lit(4.0), flag=raised == 1,
            flag_fdr=raised == 1, expected_fdr=pl.lit(0.05), **{k: pl.lit(v) for k, v in told.items()},
        )  # fmt: skip
    of = {"mean": 4.0, "low": 2.0, "high": 6.0, "mcse": 0.1}
    rows = [{"kind": k, "arm": a, **of} for k in ("share", "free of event") for a in trial.ARMS]
    for arm in efficacy.ACTIVE:
        rows += [{"kind": "ratio", "arm": arm, "start": s, "end": s + 28.0, **of} for s in (0.0, 28.0)]
        rows.append({"kind": "late less early", "arm": arm, **of, "p": 0.3, "doubt": False})
        rows.append({"kind": "free", "arm": arm, "mean": -70.0, "low": -90.0, "high": -50.0, "mcse": 0.2})
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(**{k: pl.lit(v) for k, v in told.items()})


@pytest.fixture
def results(study, tmp_path, monkeypatch) -> Results:
    monkeypatch.setenv(external.VARIABLE, str(DATA.parents[1]))
    monkeypatch.setattr(twins, "DRAWS", 60)
    rng = np.random.default_rng(1)
    told = {w: {a: rng.normal(0.7, 0.1, 64).tolist() for a in trial.ARMS} for w in virtual.WHAT}
    monkeypatch.setattr(virtual, "predicted", lambda results: told)
    monkeypatch.setattr(Data, "solve", lambda self, jobs: [_unsampled(job.work, *job.args) for job in jobs])
    return Results(study, tmp_path / "results")


def test_the_page_tells_both_verdicts_and_opens_outcomes_last(results):
    file = chapters.write(results, "cdiscpilot", Data(results, "cdiscpilot"))
    told = [(line["event"], line.get("use")) for line in results.audit.lines()]
    before = [("data opened", "input"), ("data opened", "input"), ("data opened", "calibration")]
    assert told == [*before, ("chapter frozen", None), *[("data opened", "validation")] * 4]
    kept = json.loads(file.read_text())
    assert kept["efficacy"].startswith("No benefit is shown at week 24")
    assert "29/86, 62/84, 61/84" in kept["safety"]
    assert "application site pruritus, pruritus" in kept["safety"]
    assert "2.54 (5.80), 2.00 (5.55), 1.47 (4.26) in 79, 81, 74 patients" in kept["findings"][0]
    assert all(len(block["rows"]) for block in kept["blocks"] if block["kind"] == "table")
    figures = [block for block in kept["blocks"] if block["kind"] == "figure"]
    assert len(figures) == 5
    assert all("interval" in block["caption"] or "band" in block["caption"] for block in figures)
    assert len(kept["predicted"]["twins"]["subject"]) == 254


def test_other_twins_than_those_frozen_are_refused(results):
    data = Data(results, "cdiscpilot")
    frozen = cdiscpilot.predict(results, data)
    data.frozen = True
    frozen["twins"]["draws"] = "0" * 64
    with pytest.raises(ChapterError, match="are not those that were frozen"):
        cdiscpilot.made(results, frozen, data)
