"""What happens between visits, against closed forms, against runs of the engine, and whoever else is in the trial."""

import math
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from scipy.special import expit

from cohort.simulation import simulate
from cohort.study import Regimen
from cohort.trial import MEAN, TrialError, analysed, analysis_set, apply, declares, tables
from cohort.trial.conduct import Patients, conducted
from cohort.trial.course import course
from cohort.units import Quantity

EVENT = "treatment_related_ae"
DRUG = "evolocumab_140_q2w"
LAST = 84.0


@pytest.fixture(scope="module")
def crowd(company) -> pl.DataFrame:
    """Ten thousand lanes of one arm: the company under 25 draws of the same values, each with luck of its own."""
    return pl.concat([company.with_columns(draw=pl.lit(d, pl.Int32), calendar=None) for d in range(1, 26)])


@pytest.fixture(scope="module")
def run(evolocumab, parameters, crowd):
    def made(study: Any, arm: str = DRUG, values: pl.DataFrame | None = None) -> Patients:
        lanes = crowd.with_columns(pl.col("calendar").cast(pl.Float64), stratum=pl.lit(""))
        return conducted(study, evolocumab, arm, lanes, parameters(25) if values is None else values)

    return made


def _binomial(found: np.ndarray, share: float) -> None:
    assert found.mean() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / found.size))


def test_a_constant_hazard_loses_the_share_planned(conducting, run):
    p = run(conducting({"dropout": 0.2}))
    _binomial(np.isfinite(p.withdrew), 0.2)
    _binomial(p.withdrew <= LAST / 2, 1 - math.sqrt(0.8))
    assert not np.isfinite(p.discontinued).any()


def test_competing_hazards_take_each_its_part(conducting, run):
    """Of hazards a and b, a comes first by T with probability a / (a + b) (1 - exp(-(a + b) T))."""
    p = run(conducting({"discontinuation": {"share": 0.3}, "withdrawal": {"share": 0.2}}))
    a, b = -math.log(0.7), -math.log(0.8)
    _binomial(np.isfinite(p.discontinued) & (p.discontinued < p.withdrew), a / (a + b) * (1 - math.exp(-a - b)))
    _binomial(np.isfinite(p.withdrew) & (p.withdrew < p.discontinued), b / (a + b) * (1 - math.exp(-a - b)))


def test_an_adverse_event_has_the_risk_of_the_parameters_on_either_arm(conducting, run):
    study = conducting({"dropout": 0.1})
    _binomial(run(study).events[EVENT] <= LAST, expit(-1.5))
    _binomial(run(study, "placebo_q2w").events[EVENT] <= LAST, expit(-2.0))


def test_the_share_of_events_that_lead_to_stopping_stops(conducting, run):
    p = run(conducting({"discontinuation": {"share": 0.0, "after": {EVENT: 0.4}}}))
    stopped = np.isfinite(p.discontinued)
    _binomial(stopped, 0.4 * expit(-1.5))
    assert (p.why_discontinued[stopped] == EVENT).all()
    assert (p.discontinued[stopped] == p.events[EVENT][stopped]).all()


def test_an_event_after_stopping_comes_at_the_hazard_without_drug(conducting, run, parameters):
    """A drug with 100 times the odds, stopped at a hazard: no event within what follows but the background's."""
    p = run(conducting({"discontinuation": {"share": 0.9}}), values=parameters(25, background=-30.0, drug=31.0))
    assert (p.events[EVENT] <= np.minimum(p.discontinued, 1e9))[p.events[EVENT] < 1e4].all()
    a, b = -math.log(0.1), math.log1p(math.exp(1.0))
    _binomial(p.events[EVENT] <= np.minimum(p.discontinued, LAST), b / (a + b) * (1 - math.exp(-a - b)))


@pytest.mark.parametrize(("sign", "arm"), [(1, DRUG), (-1, DRUG)])
def test_a_hazard_on_the_dose_multiplies_as_it_says(conducting, run, sign: int, arm: str):
    term = {"on": "dose", "log_hazard": 0.5 * sign, "per": "70 mg", "reference": "0 mg"}
    p = run(conducting({"withdrawal": {"share": 0.2, "depends": [term]}}), arm)
    _binomial(np.isfinite(p.withdrew), 1 - 0.8 ** math.exp(0.5 * sign * 2))
    on_placebo = run(conducting({"withdrawal": {"share": 0.2, "depends": [term]}}), "placebo_q2w")
    _binomial(np.isfinite(on_placebo.withdrew), 0.2)


def test_a_hazard_on_the_dose_follows_every_regimen_from_its_start_to_its_end(conducting, run):
    """140 mg for 6 weeks and 210 mg for 4 weeks from day 25: 140 mg to day 25, 350 to 42, 210 to 53, and none then."""
    term = {"on": "dose", "log_hazard": 0.5, "per": "140 mg", "reference": "0 mg"}
    study = conducting({"withdrawal": {"share": 0.2, "depends": [term]}})
    also = Regimen.model_validate(
        {"dose": "210 mg", "route": "sc", "every": "2 wk", "for": "4 wk", "start": "25 d"}, strict=True
    )
    arm = study.arms[DRUG].model_copy(update={"duration": Quantity(6, "wk"), "also": [also]})
    p = run(study.model_copy(update={"arms": study.arms | {DRUG: arm}}))
    hazard = -math.log(0.8) / LAST
    spans = [(25, 140), (42 - 25, 350), (53 - 42, 210), (LAST - 53, 0)]
    gained = np.cumsum([hazard * days * math.exp(0.5 * dose / 140) for days, dose in spans])
    for day, total in zip((25, 42, 53, LAST), gained, strict=True):
        _binomial(p.withdrew <= day, 1 - math.exp(-total))


@pytest.mark.parametrize("value", ["measured", "actual"])
def test_whoever_does_badly_leaves_and_what_is_left_looks_better_than_the_truth(
    conducting, company, parameters, evolocumab, value: str
):
    """The available cases are biased downwards; with what is known of virtual people the estimand is the truth."""
    term = {"on": "ldl_change", "log_hazard": 0.6, "per": "10 percent", "reference": "-55 percent", "value": value}
    study = conducting({"withdrawal": {"share": 0.3, "depends": [term]}}, n=130)
    made = tables(study, company, parameters(10))
    rows = {n: made[n].filter(pl.col("parameter") == "ldl_change") for n in ("measurements", "potential")}
    seen = made["intercurrent"]
    estimand = _estimand({"discontinuation": "treatment policy"})
    at_end = (pl.col("visit_number") == 12) & (pl.col("arm") == DRUG) & (pl.col("draw") > 0)
    cases = apply(estimand, rows["measurements"], seen).filter(at_end)
    known = apply(estimand, rows["measurements"], seen, potential=rows["potential"]).filter(at_end)
    true = apply(estimand, rows["measurements"], seen, potential=rows["potential"], truth=True).filter(at_end)
    assert 0.2 < cases["imputable"].to_numpy().mean() < 0.8
    found, actual = cases["analysis_value"].drop_nulls().to_numpy(), true["analysis_value"].to_numpy()
    assert found.mean() - actual.mean() < -4 * found.std() / math.sqrt(found.size)
    assert known["analysis_value"].null_count() == 0
    noise = known["analysis_value"].to_numpy() - actual
    assert noise.mean() == pytest.approx(0, abs=4 * noise.std() / math.sqrt(noise.size))
    lived = rows["potential"].filter(at_end)["lived_true"]
    assert true["analysis_value"].to_list() == lived.to_list()


def _estimand(events: dict[str, Any]):
    from cohort.trial.estimand import handling

    return handling(events)


def test_the_course_after_stopping_is_an_engine_run_of_the_shortened_regimen(
    conducting, evolocumab, company, parameters
):
    study = conducting()
    lanes = company.with_columns(draw=pl.lit(0, pl.Int32))
    visits = np.array([v.to("d") for v in study.visits])
    stops = np.full(len(lanes), 35.0)
    off, _ = course(study, evolocumab, DRUG, lanes, parameters(0), visits, stops)
    arm = study.arms[DRUG].model_copy(update={"duration": Quantity(5, "wk")})
    shorter = study.model_copy(update={"arms": study.arms | {DRUG: arm}})
    shortened, _ = course(shorter, evolocumab, DRUG, lanes, parameters(0), visits)
    for name in off:
        assert off[name].tobytes() == shortened[name].tobytes()
    never, _ = course(study, evolocumab, DRUG, lanes, parameters(0), visits, np.full(len(lanes), np.inf))
    on, _ = course(study, evolocumab, DRUG, lanes, parameters(0), visits)
    assert never["ldl"].tobytes() == on["ldl"].tobytes()


def test_each_patient_who_stopped_has_the_course_of_its_own_last_dose(conducting, evolocumab, run, parameters):
    study = conducting({"discontinuation": {"share": 0.4}})
    p = run(study)
    visits = np.array([v.to("d") for v in study.visits])
    for k in np.flatnonzero(np.isfinite(p.discontinued))[:6]:
        doses = math.ceil(p.discontinued[k] / 14)  # at 0, 14, ... d, before the stop
        arm = study.arms[DRUG].model_copy(update={"duration": Quantity(14.0 * doses, "d")})
        shorter = study.model_copy(update={"arms": study.arms | {DRUG: arm}})
        alone, _ = course(shorter, evolocumab, DRUG, p.lanes[int(k)], parameters(25), visits)
        assert alone["ldl"][0].tobytes() == p.worlds["lived"].true["ldl"][k].tobytes()
        assert (
            p.worlds["without_discontinuation"].true["ldl"][k][visits > p.discontinued[k] + 28]
            != alone["ldl"][0][visits > p.discontinued[k] + 28]
        ).all()


def test_visits_lie_in_their_windows_and_have_the_value_of_their_time(conducting, evolocumab, run, parameters):
    study = conducting({"visits": {"window": "3 d"}})
    p = run(study)
    planned = np.array([v.to("d") for v in study.visits])
    assert (p.at[:, 0] == 0).all()
    assert scipy.stats.kstest(((p.at - planned)[:, 1:] / 3).ravel(), "uniform", args=(-1, 2)).pvalue > 1e-3
    alone, _ = course(study, evolocumab, DRUG, p.lanes[:1], parameters(25), p.at[0])
    assert alone["ldl"].tobytes() == p.worlds["lived"].true["ldl"][:1].tobytes()


def test_normal_windows_are_cut_at_two_deviations(conducting, run):
    study = conducting({"visits": {"window": "3 d", "distribution": "normal"}})
    off = (run(study).at - np.array([v.to("d") for v in study.visits]))[:, 1:].ravel()
    assert np.abs(off).max() <= 3
    assert scipy.stats.kstest(off / 1.5, "truncnorm", args=(-2, 2)).pvalue > 1e-3


def test_the_planned_share_of_visits_is_missed_but_no_first_one(conducting, run):
    p = run(conducting({"visits": {"missed": 0.1}}))
    assert p.attended[:, 0].all()
    _binomial(~p.attended[:, 1:], 0.1)


def test_rescue_begins_where_its_criterion_is_met_and_changes_its_output_alone(conducting, run):
    study = conducting(
        {"rescue": {"when": "ldl >= 150 mg/dL", "since": "2 wk", "output": "ldl", "effect": "-30 percent"}}
    )
    p = run(study, "placebo_q2w")
    lived, without = p.worlds["lived"], p.worlds["without_rescue"]
    met = (without.measured["ldl"] >= 150) & (p.at >= 14)
    first = np.where(met.any(axis=1), p.at[np.arange(len(met)), met.argmax(axis=1)], np.inf)
    assert (lived.rescued == first).all()
    after = p.at > lived.rescued[:, None]
    assert np.allclose(lived.true["ldl"][after], 0.7 * without.true["ldl"][after], rtol=1e-15)
    assert (lived.true["ldl"][~after] == without.true["ldl"][~after]).all()
    assert (lived.true["c"] == without.true["c"]).all()
    assert 0.05 < np.isfinite(lived.rescued).mean() < 0.95


def test_half_of_the_effect_of_rescue_is_there_after_its_half_time(conducting, run):
    plan = {"when": "ldl >= 150 mg/dL", "output": "ldl", "effect": "-20 mg/dL", "half_time": "1 wk"}
    p = run(conducting({"rescue": plan}), "placebo_q2w")
    fell = p.worlds["lived"].true["ldl"] - p.worlds["without_rescue"].true["ldl"]
    since = p.at - p.worlds["lived"].rescued[:, None]
    assert fell[since == 7] == pytest.approx(-10)
    assert fell[since == 14] == pytest.approx(-15)
    assert (fell[since <= 0] == 0).all()


def test_without_more_than_dropout_the_tables_are_the_analysis_set(conducting, company, parameters, evolocumab):
    """The same patients leave, with the same values at the same visits."""
    study = conducting({"dropout": 0.2, "visits": {"missed": 0.0}})
    values = parameters(2)
    known = analysis_set(study, evolocumab, simulate(study, company, values), values)
    made = analysed(study, evolocumab, company, tables(study, company, values))
    key = ["draw", "arm", "subject"]
    both = known.sort(key).join(made, on=key, suffix="_tables", validate="1:1")
    assert both.height == known.height == made.height
    for name in ("ldl_change_true", "ldl_change", "ldl_below_25_true", "ldl_below_25", "completed", "code"):
        one = both.filter(pl.col("draw") > 0) if name in ("ldl_change", "ldl_below_25", "completed") else both
        assert one[name].equals(one[f"{name}_tables"], null_equal=True), name


COMPOSED = {
    "ldl_change": {
        "role": "efficacy",
        "better": "lower",
        "estimand": {
            "population": "all randomised",
            "treatment": "drug against placebo",
            "variable": "LDL cholesterol",
            "summary": "mean difference",
            "events": {"discontinuation": {"strategy": "composite", "value": "0 percent"}},
        },
    }
}


def test_the_truth_of_a_composite_does_not_depend_on_when_and_whether_visits_are_seen(
    conducting, company, parameters, evolocumab
):
    """Who stopped before the planned end has failed, whatever was seen; who was not seen and stopped before the last
    visit's window ended is known to have failed."""
    stops = {"discontinuation": {"share": 0.6}}
    key = ["draw", "arm", "subject"]
    sets = {}
    for missed in (0.0, 0.8):
        study = conducting({**stops, "visits": {"window": "3 d", "missed": missed}}, COMPOSED)
        made = tables(study, company, parameters(10))
        sets[missed] = analysed(study, evolocumab, company, made).join(
            made["intercurrent"].filter(pl.col("event") == "discontinuation"), on=key, how="left"
        )
        last = made["measurements"].filter(pl.col("parameter") == "ldl_change", pl.col("visit_number") == 12)
        assert (last["window_end"] == LAST + 3).all()
        rows = sets[missed].join(last.select(*key, "missing"), on=key).filter(pl.col("draw") > 0)
        unseen = rows.filter(pl.col("missing").is_not_null(), pl.col("time").is_not_null())
        assert (unseen["ldl_change"] == 0).all()
        assert unseen.filter(pl.col("time") > LAST).height > 0 or missed == 0
    one, other = (s["ldl_change_true"] for s in sets.values())
    assert one.equals(other)
    early = pl.col("time").fill_null(math.inf) < LAST
    drug = pl.col("arm") != "placebo_q2w"  # where nothing else changes by nothing
    assert (sets[0.0].filter(drug).select((pl.col("ldl_change_true") == 0) == early).to_series()).all()


@pytest.fixture
def failing(monkeypatch) -> Callable[[Collection[str]], None]:
    """Lets the courses of some people fail once treatment stopped, and no others."""

    def fail(subjects: Collection[str]) -> None:
        def broken(study, model, arm, table, values, times, stops=None, threads=1):
            outputs, status = course(study, model, arm, table, values, times, stops, threads)
            if stops is None:
                return outputs, status
            ill = table["subject"].is_in(list(subjects)).to_numpy()
            made = {name: np.where(ill[:, None], np.nan, values) for name, values in outputs.items()}
            return made, replace(status, code=np.where(ill, 1, status.code))

        monkeypatch.setattr("cohort.trial.conduct.course", broken)

    return fail


def test_too_many_failures_after_treatment_stops_are_refused_by_arm_and_reason(
    conducting, company, parameters, failing
):
    failing(company["subject"].to_list())
    with pytest.raises(TrialError) as refused:
        tables(conducting({"discontinuation": {"share": 0.3}}), company, parameters(1))
    assert "patients of the virtual trials failed, on treatment or after it" in str(refused.value)
    for arm in ("placebo_q2w", DRUG, "evolocumab_420_q4w"):
        assert re.search(rf"{arm}: \d+ step limit", str(refused.value))


def test_a_patient_who_failed_after_stopping_has_no_value_and_is_not_analysed(
    conducting, company, parameters, evolocumab, failing
):
    """Although the composite gives everybody else who stopped a value, and the truth too."""
    ill = company["subject"].to_list()[:40]
    failing(ill)
    study = conducting({"discontinuation": {"share": 0.3}}, COMPOSED)
    lenient = study.model_copy(update={"analysis": study.analysis.model_copy(update={"max_failed_fraction": 0.1})})
    made = tables(lenient, company, parameters(2))
    key = ["draw", "arm", "subject"]
    failed = made["subjects"].filter(pl.col("code") > 0)
    assert failed.height > 10
    assert set(failed["subject"]) <= set(ill)
    trial = analysed(lenient, evolocumab, company, made)
    own = trial.join(failed.select(key), on=key, how="semi")
    assert own["ldl_change_true"].is_nan().all()
    assert own.filter(pl.col("draw") > 0)["ldl_change"].is_nan().all()
    assert not trial.join(failed, on=key, how="anti")["ldl_change_true"].is_nan().any()
    rows = {n: made[n].filter(pl.col("parameter") == "ldl_change") for n in ("measurements", "potential")}
    events = COMPOSED["ldl_change"]["estimand"]["events"]
    for truth in (False, True):
        handled = apply(
            _estimand(events),
            rows["measurements"],
            made["intercurrent"],
            potential=rows["potential"],
            truth=truth,
            unit="percent",
        ).with_columns(failed=pl.struct(key).is_in(failed.select(pl.struct(key)).to_series().implode()))
        assert (handled["analysed"] != handled["failed"]).all()
        blank = handled.filter("failed")
        assert blank["analysis_value"].null_count() == blank.height
        assert not blank["imputable"].any()
        assert set(blank["reason"]) == {"failed: the course was not solved"}


def test_of_whom_a_course_failed_the_principal_stratum_is_not_known(conducting, company, parameters, failing):
    ill = company["subject"].to_list()[:40]
    failing(ill)
    study = conducting({"discontinuation": {"share": 0.3}})
    lenient = study.model_copy(update={"analysis": study.analysis.model_copy(update={"max_failed_fraction": 0.1})})
    made = tables(lenient, company, parameters(0))
    failed = set(made["subjects"].filter(pl.col("code") > 0)["subject"])
    rows = made["measurements"].filter(pl.col("parameter") == "ldl_change")
    kept = apply(_estimand({"discontinuation": "principal stratum"}), rows, made["intercurrent"]).filter("analysed")
    assert failed
    assert not failed & set(kept["subject"])


def test_nobody_is_seen_after_the_cut_off(conducting, company, parameters):
    study = conducting({"enrolment": {"rate": "3 1/d", "cutoff": "90 d"}})
    made = tables(study, company, parameters(2))
    rows = made["measurements"].join(made["subjects"], on=["draw", "arm", "subject"]).filter(pl.col("draw") > 0)
    seen = rows.filter(pl.col("value").is_not_null())
    assert (seen["time"] + seen["randomised"] <= 90).all()
    assert set(rows["missing"].drop_nulls()) == {"cut-off"}
    assert made["subjects"].filter(pl.col("draw") == MEAN)["randomised"].null_count() == 400 * 3
    waits = made["time_to_event"].join(made["subjects"], on=["draw", "arm", "subject"]).filter(pl.col("draw") > 0)
    assert (waits["AVAL"] <= 90 - waits["randomised"] + 1e-9).all()


EVENTFUL = {
    "enrolment": {"rate": "3 1/d", "ramp": "20 d", "cutoff": "120 d"},
    "allocation": {"blocks": [3, 6], "strata": ["sex"]},
    "visits": {"window": "2 d", "missed": 0.05},
    "discontinuation": {
        "share": 0.2,
        "depends": [{"on": "ldl", "log_hazard": 0.1, "per": "10 mg/dL", "reference": "120 mg/dL"}],
        "after": {EVENT: 0.3},
    },
    "withdrawal": {"share": 0.1},
    "rescue": {"when": "ldl >= 170 mg/dL", "output": "ldl", "effect": "-30 percent"},
}


@pytest.fixture(scope="module")
def eventful(conducting):
    return conducting(EVENTFUL)


@pytest.fixture(scope="module")
def made(eventful, company, parameters) -> dict[str, pl.DataFrame]:
    return tables(eventful, company, parameters(3))


def test_tables_do_not_depend_on_how_people_arms_and_draws_are_listed(eventful, company, parameters, made):
    other = eventful.model_copy(update={"arms": dict(reversed(eventful.arms.items()))})
    shuffled = company.sample(fraction=1.0, shuffle=True, seed=3)
    again = tables(other, shuffled, parameters(3).reverse())
    for name, table in made.items():
        assert table.equals(again[name], null_equal=True), name


def test_a_trial_is_the_same_without_the_others_and_on_more_threads(eventful, company, parameters, made):
    alone = tables(eventful, company, parameters(3).filter(pl.col("draw") == 2), threads=2)
    for name, table in made.items():
        assert table.filter(pl.col("draw") == 2).equals(alone[name], null_equal=True), name


def test_the_tables_agree_with_each_other(made):
    key = ["draw", "arm", "subject"]
    subjects, events = made["subjects"], made["intercurrent"]
    assert not subjects.select(key).is_duplicated().any()
    counted = events.group_by(key).agg(n=pl.len()).join(subjects, on=key, how="right")["n"].fill_null(0)
    told = subjects.select(n=pl.sum_horizontal("discontinued", "withdrawn", "rescued"))["n"]
    assert counted.to_list() == told.to_list()
    assert not events.select(*key, "event").is_duplicated().any()
    late = events.join(subjects, on=key).filter(pl.col("time") > pl.col("followup"))
    assert late.height == 0
    rows = made["measurements"].join(subjects, on=key)
    assert rows.filter(pl.col("value").is_not_null() & (pl.col("time") > pl.col("followup"))).height == 0
    assert rows.filter(pl.col("on_treatment") & (pl.col("time") > pl.col("treatment_end"))).height == 0
    assert rows.filter(pl.col("value").is_null() != pl.col("missing").is_not_null()).height == 0
    waits = made["time_to_event"].filter(pl.col("CNSR") == 0)
    happened = pl.concat([events.select(*key, "event", "time"), made["adverse_events"].select(*key, "event", "time")])
    both = waits.join(happened, left_on=[*key, "PARAM"], right_on=[*key, "event"], how="full")
    assert both.height == waits.height == happened.height
    assert both["AVAL"].equals(both["time"].alias("AVAL"))


def test_baseline_and_change_are_those_of_the_first_visit(made):
    rows = made["measurements"].filter(pl.col("parameter") == "ldl", pl.col("value").is_not_null())
    first = rows.filter(pl.col("visit_number") == 0).select("draw", "arm", "subject", first="value")
    both = rows.join(first, on=["draw", "arm", "subject"])
    assert (both["baseline"] == both["first"]).all()
    assert (both["change"] == both["value"] - both["first"]).all()
    change = made["measurements"].filter(pl.col("parameter") == "ldl_change", pl.col("value").is_not_null())
    assert change["value"].to_numpy() == pytest.approx(
        both.sort("draw", "arm", "subject", "visit_number")["percent_change"].to_numpy(), abs=1e-10
    )


def test_a_study_with_no_more_than_dropout_declares_nothing(conducting, laplace, eventful):
    assert not declares(laplace)
    assert not declares(conducting({"dropout": 0.1}))
    assert declares(eventful)


def test_an_event_without_parameters_cannot_lead_to_leaving(conducting, company, parameters):
    study = conducting({"withdrawal": {"share": 0.1, "after": {EVENT: 0.5}}})
    values = parameters(1).drop(f"{EVENT}.background", f"{EVENT}.drug")
    with pytest.raises(
        TrialError, match=r"leads to leaving, but the parameters have no treatment_related_ae.background"
    ):
        tables(study, company, values)
