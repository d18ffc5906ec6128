"""Arms with infusions, several drugs, adherence and decision rules, from the study file to the visits.

The model is written out below as a user's file would be: an oral drug that lowers a marker, and a second one, with a
route of its own, that slows the elimination of the first. `given` counts every milligram that has entered, so that
each patient's doses can be read off the visits.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from cohort.cli import app
from cohort.enrolment import sample_population
from cohort.library import load
from cohort.record import digest
from cohort.simulation import simulate
from cohort.streams import streams
from cohort.study import Study, StudyError, fingerprint, read_study

MODEL = """
import jax.numpy as jnp

from cohort import Decision, Endpoint, Model, Record, Route, Rule, Scalar
from cohort import additive, fixed, last, lognormal, proportional, quantity


class Covariates(Record):
    weight: Scalar = quantity("kg", "body weight", plausible=(20, 300))


class Parameters(Record):
    ka: Scalar = fixed(0.8, "1/h", about="absorption", source="test")
    cl: Scalar = lognormal(4.0, "L/h", cv=0.4, about="clearance", source="test")
    v: Scalar = fixed(30.0, "L", about="volume", source="test")
    ki: Scalar = fixed(2.0, "mg/L", about="inhibitor that halves the clearance", source="test")
    kb: Scalar = fixed(0.05, "1/h", about="elimination of the inhibitor", source="test")
    vb: Scalar = fixed(20.0, "L", about="volume of the inhibitor", source="test")
    base: Scalar = lognormal(100.0, "percent", cv=0.2, about="marker without the drug", source="test")
    kout: Scalar = fixed(0.2, "1/h", about="turnover of the marker", source="test")
    ic50: Scalar = fixed(1.0, "mg/L", about="concentration of half the effect", source="test")


class State(Record):
    depot: Scalar = quantity("mg", "drug in the gut")
    central: Scalar = quantity("mg", "drug in plasma")
    gone: Scalar = quantity("mg", "drug eliminated")
    inhibitor: Scalar = quantity("mg", "inhibitor in plasma")
    marker: Scalar = quantity("percent", "marker")


class Outputs(Record):
    c: Scalar = quantity("mg/L", "drug in plasma", error=proportional(0.05), plausible=(-1e-2, 1e4))
    marker: Scalar = quantity("percent", "marker", error=additive(4.0), plausible=(0, 1e4))
    inhibitor: Scalar = quantity("mg/L", "inhibitor in plasma", plausible=(-1e-2, 1e4))
    given: Scalar = quantity("mg", "all of the drug that has entered")


def individual(p, x):
    return p.replace(cl=p.cl * (x.weight / 70) ** 0.75)


def initial(p):
    return State(depot=0.0, central=0.0, gone=0.0, inhibitor=0.0, marker=p.base)


def ode(t, y, p):
    absorbed = p.ka * y.depot
    eliminated = p.cl / (1 + y.inhibitor / p.vb / p.ki) * y.central / p.v
    c = y.central / p.v
    return State(
        depot=-absorbed,
        central=absorbed - eliminated,
        gone=eliminated,
        inhibitor=-p.kb * y.inhibitor,
        marker=p.kout * (p.base * p.ic50 / (p.ic50 + c) - y.marker),
    )


def observe(t, y, p):
    given = y.depot + y.central + y.gone
    return Outputs(c=y.central / p.v, marker=y.marker, inhibitor=y.inhibitor / p.vb, given=given)


class Dose(Record):
    amount: Scalar = fixed(100.0, "mg", about="of each dose from now on")


def titrate(t, seen, memory):
    amount = jnp.where(seen.marker > 65.0, 2.0, jnp.where(seen.marker < 50.0, 0.5, 1.0)) * memory.amount
    amount = jnp.clip(amount, 25.0, 400.0)
    return Decision(Dose(amount=amount), doses={"oral": amount})


class Pump(Record):
    rate: Scalar = fixed(0.0, "mg/h", about="of the infusion")


def hold(t, seen, memory):
    rate = jnp.maximum(memory.rate + 12.0 * (2.0 - seen.c), 0.0)
    return Decision(Pump(rate=rate), rates={"iv": rate})


model = Model(
    covariates=Covariates,
    parameters=Parameters,
    state=State,
    outputs=Outputs,
    time="h",
    individual=individual,
    initial=initial,
    ode=ode,
    observe=observe,
    routes={"oral": Route("depot"), "iv": Route("central"), "other": Route("inhibitor")},
    endpoints={"marker": Endpoint(lambda out: last(out.marker), unit="percent", about="marker at the last visit")},
    rules={
        "titrate": Rule(Dose, titrate, about="doubles the dose while the marker is above 65, halves it below 50"),
        "hold": Rule(Pump, hold, about="an infusion that is to keep 2 mg/L"),
    },
)
"""

STUDY = """
title: Arms
question: What do these arms do?
context_of_use: A test
model: mine.py
population: {source: us, size: 200, covariates: {}, eligibility: []}
conduct: {dropout: 0.0, source: by design}
arms:
ARMS
visits: [VISITS]
endpoints:
  marker: {role: efficacy, better: lower}
analysis: {discrepancy: 5 percent, arm_discrepancy: 5 percent, max_failed_fraction: 0, source: assumption}
seed: 7
"""

VISITS = [0, 1, 2, 6, 7, 8, 9, 12, 18, 24, 36, 48, 60, 72, 84, 96]
ORAL = "dose: 100 mg, route: oral, every: 12 h, for: 96 h"
DAILY = "dose: 100 mg, route: oral, every: 24 h, for: 96 h"
OFTEN = "dose: 10 mg, route: oral, every: 2 h, for: 96 h"  # 48 doses
DRIP = "dose: 120 mg, route: iv, every: 24 h, for: 90 h, start: 6 h, over: 3 h"
SECOND = "also: [{dose: 50 mg, route: other, every: 24 h, for: 48 h, start: 24 h}]"
TITRATED = f"{DAILY}, rule: {{name: titrate, every: 24 h}}"
FORGETFUL = "adherence: {missed: 0.3, spread: 0.1, runs: 0.4, source: assumption}"
ARMS = {
    "placebo": "",
    "oral": ORAL,
    "drip": DRIP,
    "delayed": "dose: 100 mg, route: oral, every: 12 h, for: 90 h, start: 6 h",
    "both": f"{ORAL}, {SECOND}",
    "fixed": DAILY,
    "titrated": TITRATED,
    "held": "rule: {name: hold, every: 2 h, start: 0 h}",
    "often": OFTEN,
    "perfect": f"{OFTEN}, adherence: {{missed: 0, source: nobody}}",
    "forgetful": f"{OFTEN}, {FORGETFUL}",
    "forgetful_higher": f"{OFTEN.replace('10 mg', '20 mg')}, {FORGETFUL}",
    "doubling": f"{OFTEN}, adherence: {{doubled: 0.2, source: assumption}}",
    "quitting": f"{OFTEN}, adherence: {{half_stop_within: 2 d, source: assumption}}",
    "late": f"{ORAL}, adherence: {{late: 2 h, source: assumption}}",
    "nursed": f"{ORAL}, {SECOND}, adherence: {{missed: 0.5, routes: [other], source: assumption}}",
    "forgetful_titrated": f"{TITRATED}, adherence: {{missed: 0.3, source: assumption}}",
}

type Write = Callable[..., Study]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Write a study with these arms in a folder of its own, and read it."""
    folder = tmp_path_factory.mktemp("studies")

    def write(arms: dict[str, str], more: str = "", model: str = MODEL) -> Study:
        part = folder / digest([arms, more, model])[:12]
        part.mkdir(exist_ok=True)
        (part / "mine.py").write_text(model)
        lines = "\n".join(f"  {name}: {{{', '.join(filter(None, ['n: 10', arm]))}}}" for name, arm in arms.items())
        text = STUDY.replace("ARMS", lines).replace("VISITS", ", ".join(f"{t} h" for t in VISITS))
        (part / "study.yaml").write_text(text + more)
        return read_study(part / "study.yaml")

    return write


@pytest.fixture(scope="module")
def study(write: Write) -> Study:
    return write(ARMS)


@pytest.fixture(scope="module")
def patients(study: Study) -> pl.DataFrame:
    return sample_population(study).people


@pytest.fixture(scope="module")
def visits(study: Study, patients: pl.DataFrame) -> pl.DataFrame:
    return simulate(study, patients)


@pytest.fixture(scope="module")
def course(visits: pl.DataFrame) -> Callable[[str, str], np.ndarray]:
    """An output of everyone in an arm, (patients, visits)."""

    def course(arm: str, output: str) -> np.ndarray:
        return visits.filter(pl.col("arm") == arm)[output].to_numpy().reshape(-1, len(VISITS))

    return course


@pytest.fixture(scope="module")
def clearance(study: Study, patients: pl.DataFrame) -> np.ndarray:
    """Of each patient, (patients,), L/h."""
    z = streams(study.seed, "effects", patients["subject"].to_list()).normal("cl")[:, 0]
    sd = np.sqrt(np.log1p(0.4**2))
    return 4.0 * np.exp(sd * z) * (patients["weight"].to_numpy() / 70) ** 0.75


def at(*hours: int) -> list[int]:
    """The columns of these visits."""
    return [VISITS.index(hour) for hour in hours]


# --- several drugs, infusions, a later start -------------------------------------------------------------------------


def test_an_infusion_rises_to_its_end_and_falls_from_there(course, clearance):
    """R / cl (1 - exp(-k t)) while it runs and exponentially from there, of the four infusions together."""
    k, t = (clearance / 30)[:, None], np.array(VISITS, dtype=float)
    want = np.zeros((len(clearance), len(t)))
    for begin in (6, 30, 54, 78):
        running = np.clip(t - begin, 0, 3)
        risen = 120 / 3 / clearance[:, None] * -np.expm1(-k * running)
        want += risen * np.exp(-k * np.maximum(t - begin - 3, 0))
    assert course("drip", "c") == pytest.approx(want, rel=1e-6, abs=1e-7)
    assert course("drip", "given")[:, at(6, 7, 8, 9, 12)] == pytest.approx(np.tile([0, 40, 80, 120, 120.0], (200, 1)))


def test_doses_begin_at_the_start_of_their_regimen(course):
    early, late = course("oral", "given"), course("delayed", "given")
    assert (late[:, at(0, 1, 2, 6)] == 0).all()  # a visit comes before the dose at its time
    assert course("delayed", "c")[:, at(7, 8, 12, 18, 24)] == pytest.approx(
        course("oral", "c")[:, at(1, 2, 6, 12, 18)], rel=1e-6
    )
    assert late[:, -1] == pytest.approx(800)
    assert early[:, -1] == pytest.approx(800)


def test_a_second_drug_is_given_beside_the_first(course):
    t = np.array(VISITS, dtype=float)
    want = sum(np.where(t > begin, 50 / 20 * np.exp(-0.05 * np.maximum(t - begin, 0)), 0.0) for begin in (24, 48))
    assert course("both", "inhibitor") == pytest.approx(np.tile(want, (200, 1)), rel=1e-6, abs=1e-8)
    assert course("both", "given")[:, -1] == pytest.approx(800)


def test_a_second_drug_that_slows_the_elimination_of_the_first_raises_it(course):
    alone, both = course("oral", "c"), course("both", "c")
    before, after = VISITS.index(24) + 1, VISITS.index(36)
    assert both[:, :before] == pytest.approx(alone[:, :before], rel=1e-6, abs=1e-8)
    assert (both[:, after:] > 1.1 * alone[:, after:]).all()


# --- adherence -------------------------------------------------------------------------------------------------------


def test_perfect_adherence_is_no_adherence(course):
    assert np.array_equal(course("perfect", "given"), course("often", "given"))
    assert np.array_equal(course("perfect", "c"), course("often", "c"))


def test_patients_miss_the_share_of_doses_that_is_said_and_differ_by_its_spread(course):
    taken = course("forgetful", "given")[:, -1] / 480
    assert taken.mean() == pytest.approx(0.7, abs=0.04)
    within = 0.3 * 0.7 / 48 * (1 + 0.4) / (1 - 0.4)  # of a Markov chain's mean
    assert taken.std() == pytest.approx((0.1**2 + within) ** 0.5, rel=0.2)
    doses = course("forgetful", "given") / 10
    assert doses == pytest.approx(np.round(doses), abs=1e-5), "a dose is taken whole or not at all"


def test_of_the_doses_taken_the_share_that_is_said_is_doubled(course):
    assert course("doubling", "given").mean(axis=0)[-1] / 480 == pytest.approx(1.2, abs=0.02)


def test_half_of_the_patients_have_stopped_by_the_time_that_is_said(course):
    taken = np.round(course("quitting", "given") / 10)
    going_on = taken[:, VISITS.index(60)] > taken[:, VISITS.index(48)]
    assert going_on.mean() == pytest.approx(0.5, abs=0.1)
    stopped = taken[:, VISITS.index(72)] == taken[:, VISITS.index(60)]
    assert (taken[stopped, -1] == taken[stopped, VISITS.index(72)]).all(), "who has stopped stays away"


def test_a_dose_that_is_late_is_taken_before_the_next(course):
    late = np.round(course("late", "given") / 100)
    begun = [t for t in VISITS if t % 12 == 0]
    assert (late[:, at(*begun)] == np.arange(len(begun))).all()
    assert 0.2 < (late[:, VISITS.index(1)] == 0).mean() < 0.9  # exp(-1 h / 2 h) of them wait longer than an hour


def test_who_takes_a_drug_himself_leaves_that_of_the_nurse_alone(course):
    assert course("nursed", "given") == pytest.approx(course("both", "given"), rel=1e-6)
    had = course("nursed", "inhibitor")[:, VISITS.index(36)] > 0
    assert had.mean() == pytest.approx(0.5, abs=0.12)


def test_a_patient_misses_the_same_doses_in_every_arm_that_orders_them_at_the_same_times(course):
    assert course("forgetful_higher", "given") == pytest.approx(2 * course("forgetful", "given"), rel=1e-6, abs=1e-6)


# --- rules -----------------------------------------------------------------------------------------------------------


def test_every_dose_is_what_the_rule_makes_of_what_was_measured(study, patients, course):
    """From the marker at the visit, before the dose of that time, and the patient's own measurement error."""
    luck = streams(study.seed, "decisions", patients["subject"].to_list()).normal("marker", 4)
    amount = np.full(len(patients), 100.0)
    days, orders = at(24, 48, 72, 96), []
    for k, day in enumerate(days[:3]):
        seen = course("titrated", "marker")[:, day] + 4.0 * luck[:, k]
        amount = np.clip(np.where(seen > 65, 2.0, np.where(seen < 50, 0.5, 1.0)) * amount, 25, 400)
        orders.append(amount)
    doses = np.diff(course("titrated", "given")[:, days])
    assert doses == pytest.approx(np.array(orders).T, rel=1e-6)
    assert len(np.unique(np.round(doses[:, 2]))) == 5  # 25, 50, ... 400 mg: patients part


def test_who_is_above_the_target_gets_more_and_fewer_are_above_it_in_the_end(course):
    above = course("titrated", "marker")[:, VISITS.index(24)] > 75  # so far that no error of measurement hides it
    given = course("titrated", "given")[:, -1]
    assert above.sum() > 20
    assert (given[above] > 400).all()
    assert given[above].mean() > 1.5 * given[~above].mean()
    off = [np.abs(course(arm, "marker")[:, -1] - 57.5).mean() for arm in ("fixed", "titrated")]
    assert off[1] < off[0]


def test_what_a_patient_misses_a_rule_cannot_give(course):
    taken = np.diff(course("forgetful_titrated", "given")[:, at(24, 48, 72, 96)])
    missed = np.isclose(taken, 0, atol=1e-4)
    assert missed.mean() == pytest.approx(0.3, abs=0.06)
    amounts = np.log2(taken[~missed] / 25)
    assert amounts == pytest.approx(np.round(amounts), abs=1e-5)


def test_a_controller_keeps_everyones_concentration_though_their_clearances_differ(course, clearance):
    assert clearance.max() > 4 * clearance.min()
    end = course("held", "c")[:, VISITS.index(48) :]
    assert end.mean() == pytest.approx(2, rel=0.01)
    assert np.abs(end.mean(axis=1) / 2 - 1).max() < 0.2
    needed = np.diff(course("held", "given")[:, at(48, 96)])[:, 0] / 48
    assert needed == pytest.approx(2 * clearance, rel=0.25)


# --- the same bits everywhere ----------------------------------------------------------------------------------------

KEY = ["draw", "arm", "subject", "time"]


@pytest.mark.parametrize("chunk", [7, 64])
def test_chunks_of_any_size_give_the_same_bits_in_every_arm(study, patients, visits, chunk: int):
    some = patients.head(50)
    whole = visits.join(some.select("subject"), on="subject", how="semi", maintain_order="left")
    assert simulate(study, some, chunk=chunk).equals(whole)


def test_a_patient_takes_and_is_given_the_same_alone_as_in_company(study, patients, visits):
    for i in (0, 63, 199):
        alone = simulate(study, patients[i : i + 1])
        assert alone.equals(visits.filter(pl.col("subject") == patients["subject"][i]))


def test_patients_in_another_order_have_the_same_bits(study, patients, visits):
    assert simulate(study, patients.reverse()).sort(KEY).equals(visits.sort(KEY))


def test_a_patient_has_the_same_luck_in_every_trial(study, patients, visits):
    """Doses taken and errors of measurement belong to the patient, not to the draw of parameters."""
    values = load(study.model, study.path.parent).typical()
    parameters = pl.DataFrame({"draw": [0, 1], **{name: [value, value] for name, value in values.items()}})
    both = simulate(study, patients, parameters)
    trial = both.filter(pl.col("draw") == 1).drop("draw")
    assert trial["arm"].n_unique() == len(ARMS)
    assert trial.join(visits.drop("draw"), on=trial.columns, how="anti").height == 0


# --- numerics --------------------------------------------------------------------------------------------------------

FEW = {name: ARMS[name] for name in ("both", "held", "forgetful_titrated")}


@pytest.fixture(scope="module")
def few(visits: pl.DataFrame) -> pl.DataFrame:
    return visits.filter(pl.col("arm").is_in(list(FEW)))


def near(got: pl.DataFrame, want: pl.DataFrame, tolerance: float) -> None:
    assert got.select(KEY).equals(want.select(KEY))
    for name in ("c", "marker", "inhibitor", "given"):
        np.testing.assert_allclose(got[name], want[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("solver", ["explicit", "stiff"])
def test_a_solver_named_in_the_study_finds_the_same_courses(write, patients, few, solver: str):
    near(simulate(write(FEW, more=f"numerics: {{solver: {solver}}}\n"), patients), few, 1e-6)


def test_the_xla_back_end_finds_the_courses_of_the_native_one(write, patients, few):
    some = patients.head(70)
    got = simulate(write(FEW, more="numerics: {backend: xla}\n"), some)
    near(got, few.join(some.select("subject"), on="subject", how="semi", maintain_order="left"), 1e-7)


def test_the_tolerance_of_the_study_is_the_engines(write, patients, few):
    arm = {"both": ARMS["both"]}
    rough = simulate(write(arm, more="numerics: {rtol: 1e-4, atol: 1e-4}\n"), patients)
    off = np.abs(rough["c"].to_numpy() - few.filter(pl.col("arm") == "both")["c"].to_numpy())
    assert 1e-7 < off.max() < 1e-2


def test_a_closed_form_gives_and_decides_what_steps_do(write, patients):
    """Without the effect of either drug the model is linear."""
    linear = MODEL.replace(" / (1 + y.inhibitor / p.vb / p.ki)", "").replace(" * p.ic50 / (p.ic50 + c)", "")
    arms = {name: ARMS[name] for name in ("drip", "both", "titrated", "held", "late")}
    exact, stepped = (
        simulate(write(arms, more=f"numerics: {{solver: {solver}}}\n", model=linear), patients)
        for solver in ("linear", "explicit")
    )
    near(stepped, exact, 1e-6)


def test_chunks_of_another_protocol_are_not_taken_for_this_ones(write, patients, tmp_path: Path):
    """A start, a rate, a rule's interval, an adherence or a tolerance that differs is another chunk."""
    one = {"drip": DRIP, "titrated": ARMS["titrated"], "late": ARMS["late"]}
    others = [
        one | {"drip": DRIP.replace("start: 6 h", "start: 5 h")},
        one | {"drip": DRIP.replace("over: 3 h", "over: 2 h")},
        one | {"titrated": ARMS["titrated"].replace("every: 24 h}", "every: 48 h}")},
        one | {"late": ARMS["late"].replace("late: 2 h", "late: 3 h")},
    ]
    study, some = write(one), patients.head(4)
    changes = [{}, *({"arms": write(arms).arms} for arms in others)]
    changes.append({"numerics": write(one, more="numerics: {rtol: 1e-7}\n").numerics})
    seen = []
    for change in changes:
        simulate(study.model_copy(update=change), some, state=tmp_path)
        seen.append(len(list(tmp_path.glob("*.parquet"))))
    assert seen == [3, 6, 9, 12, 15, 18]


# --- the command -----------------------------------------------------------------------------------------------------


def test_check_counts_the_arms_and_says_how_they_are_solved(study):
    done = CliRunner().invoke(app, ["check", str(study.path)])
    assert done.exit_code == 0, done.output
    assert f"{len(ARMS)} arms, {10 * len(ARMS)} patients planned, {fingerprint(study)[:12]}" in done.output
    assert "Tsit5 (chosen by the program), native back end" in done.output


def test_check_finds_the_units_of_a_model_with_rules_in_order(study):
    done = CliRunner().invoke(app, ["check", str(study.path.parent / study.model)])
    assert done.exit_code == 0, done.output
    assert "units agree" in done.output


def test_check_says_all_that_is_wrong_with_the_arms_at_once(write):
    with pytest.raises(StudyError) as refused:
        write({"a": f"{ORAL}, over: 0 h", "b": f"{ORAL}, rule: {{name: titrait, every: 24 h}}", "c": "start: 1 h"})
    path = refused.value.problems[0].file
    done = CliRunner().invoke(app, ["check", path])
    assert done.exit_code == 2
    for key in ("a.over: '0 h' must be more than 0", "b.rule.name: 'titrait' is no rule", "c: start without a dose"):
        assert f"arms.{key}" in done.stderr
