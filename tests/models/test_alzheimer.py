"""Progression against its closed form and the published course, events against their hazards, and the trial's fit."""

import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.special import ndtr

from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.library import load, path_of
from cohort.model import Model
from cohort.streams import streams
from cohort.study import Study, read_study
from cohort.trace import check_units
from tools import fit_cdiscpilot as trial

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = Path(os.environ.get("COHORT_DATA", ROOT.parent / "shared/data")) / trial.FOLDER
YEAR = 365.25
WEEK24 = 168.0

needs_trial = pytest.mark.skipif(
    not (FILES / "adam_adsl.csv.gz").is_file(),
    reason="needs the CDISC pilot trial's ADaM data sets, in the folder that COHORT_DATA names",
)


@pytest.fixture(scope="module")
def alzheimer() -> Model:
    return load("alzheimer")


@pytest.fixture(scope="module")
def study() -> Study:
    return read_study(ROOT / "config/studies/cdiscpilot.yaml")


def patients(model: Model, n: int = 1, z: dict[str, np.ndarray] | None = None, **covariates):
    """Parameters of n patients: the typical woman of [1] where nothing else is given."""
    given = {"age": 75.0, "sex": 1, "apoe4": 0.72, "comedication": 1, "adas": 22.2} | covariates
    x = model.covariates(**{name: np.broadcast_to(np.asarray(v), (n,)) for name, v in given.items()})
    p = model.subject(model.typical(), dict.fromkeys(model.effects(), np.zeros(n)) | (z or {}), x)
    return model.parameters(**{k: np.broadcast_to(np.asarray(v, float), (n,)) for k, v in vars(p).items()})


def patches(n: int, *worn: tuple[float, float, float]) -> Events:
    """Patches of a day for everybody: dose in mg, first day, number of days of each period."""
    rows = {"time": [], "amount": [], "additional": []}
    for mg, start, days in worn:
        for name, value in (("time", start), ("amount", mg), ("additional", days - 1)):
            rows[name].append(value)
    return Events.of(
        n,
        np.zeros(n, dtype=int),
        course=0,
        into="patch",
        duration=1.0,
        interval=1.0,
        **{name: values for name, values in rows.items()},
    )


def untreated(n: int) -> Events:
    return patches(n, (0.0, 0.0, 1))


def closed_form(base, rate, t, shape=6.91):
    """The expected score in points at t years, of Conrado et al. 2014, as its deposited control stream has it."""
    base, rate = np.asarray(base, float), np.asarray(rate, float)
    fading = (70.0**shape - base**shape) * np.exp(-shape * rate * t)
    return 70 * base / (base**shape + fading) ** (1 / shape)


def test_all_units_agree(alzheimer):
    assert check_units(alzheimer, str(path_of("alzheimer"))) == []


def test_the_typical_patient_has_the_published_course(alzheimer):
    """ADAS-Cog at 0, 0.5, 1, 1.5, 2 years, from the deposited estimates."""
    t = YEAR * np.array([0, 0.5, 1, 1.5, 2])
    out, _ = solve(alzheimer, patients(alzheimer), untreated(1), t)
    assert out.adas[0] == pytest.approx([22.20, 23.96, 25.87, 27.92, 30.14], abs=1e-2)
    assert out.adas[0] == pytest.approx(closed_form(22.2, 0.153, t / YEAR), abs=1e-6)


def test_every_course_is_the_closed_form(alzheimer):
    """Thirty patients, some of whom improve, over ten years."""
    rng = np.random.default_rng(1)
    base, z = rng.uniform(2, 68, 30), rng.standard_normal(30)
    p = patients(alzheimer, 30, {"rate": z}, adas=base)
    years = np.array([0, 0.25, 1, 3, 10])
    out, status = solve(alzheimer, p, untreated(30), years * YEAR, numerics=Numerics(rtol=1e-10, atol=1e-10))
    assert not status.code.any()
    rate = 0.153 + 0.1436 * np.log(base / 22.2) + 0.1951 * z
    assert (rate < 0).any()
    assert out.adas == pytest.approx(closed_form(base[:, None], rate[:, None], years), abs=1e-6)


def test_baseline_and_rate_vary_together_as_published(alzheimer):
    """Baselines drawn as in [1] give its block: variances 0.156 and 0.0413, covariance 0.0224."""
    n = 200_000
    draw = np.random.default_rng(2).standard_normal((2, n))
    base = 22.2 * np.exp(math.sqrt(0.156) * draw[0])
    x = alzheimer.covariates(
        age=np.full(n, 75.0), sex=np.ones(n, int), apoe4=np.full(n, 0.72), comedication=np.ones(n, int), adas=base
    )
    z = dict.fromkeys(alzheimer.effects(), np.zeros(n)) | {"rate": draw[1]}
    p = alzheimer.subject(alzheimer.typical(), z, x)
    found = np.cov(np.log(base), np.asarray(p.rate))
    assert found == pytest.approx(np.array([[0.156, 0.0224], [0.0224, 0.0413]]), rel=0.03)
    assert np.asarray(p.rate).mean() == pytest.approx(0.153, abs=0.002)


def test_covariates_act_as_published(alzheimer):
    """-2.4 % per year of age, +19.5 % per copy of APOE4, 0.698 without medication; a man's 0.953 of the baseline."""
    p = patients(alzheimer, 4, age=[75.0, 85, 75, 75], apoe4=[0.72, 0.72, 1.72, 0.72], comedication=[1, 1, 1, 0])
    copy = 0.153 - 0.1436 * math.log(1.0372)  # who has a copy more and the same baseline lies below what is typical
    assert p.rate / 0.153 == pytest.approx([1, 0.76, 1.195 * copy / 0.153, 0.698])
    man = patients(alzheimer, sex=0, adas=22.2 * 0.953)
    assert man.rate[0] == pytest.approx(0.153)


def test_a_measurement_at_24_points_scatters_by_3_53(alzheimer):
    """sqrt(24 (70 - 24)/(87.5 + 1)); within the scale at either end."""
    error = alzheimer.outputs.fields()["adas"]["error"]
    true = np.array([[24.0, 1.0, 69.0]])
    z = np.random.default_rng(3).standard_normal((200_000, 1))
    seen = error.measured(
        np.broadcast_to(true, (len(z), 3)), np.broadcast_to(z, (len(z), 3)), lambda name: np.full(len(z), 87.5)
    )
    assert math.sqrt(24 * 46 / 88.5) == pytest.approx(3.5319366, abs=1e-6)
    assert seen[:, 0].std() == pytest.approx(3.53, abs=0.02)
    assert seen.mean(axis=0) == pytest.approx(true[0], abs=0.03)
    assert ((seen > 0) & (seen < 70)).all()


def test_the_score_stays_within_the_scale_whatever_the_effect(alzheimer):
    """Ten times the largest plausible effect, either way, at either end of the scale, for twenty years."""
    p = patients(alzheimer, 4, adas=[1.0, 69.0, 1.0, 69.0])
    p = p.replace(xanomeline=np.array([-0.5, -0.5, 0.5, 0.5]), placebo=np.full(4, 20.0))
    out, status = solve(alzheimer, p, patches(4, (81.0, 0.0, 7000)), YEAR * np.arange(21.0))
    assert not status.code.any()
    assert ((out.adas > 0) & (out.adas < 70)).all()


def test_a_patch_of_nothing_changes_nothing(alzheimer):
    at = np.array([0.0, 84, 168])
    p = patients(alzheimer, adas=24.0)
    out, _ = solve(alzheimer, p, patches(1, (0.0, 0.0, 168)), at)
    none, _ = solve(alzheimer, p.replace(xanomeline=np.zeros(1)), patches(1, (81.0, 0.0, 168)), at)
    assert out.adas == pytest.approx(none.adas, abs=1e-7)
    assert not out.burden.any()


def test_the_effect_is_proportional_to_the_dose_and_goes_when_patches_stop(alzheimer):
    """A patient at the reference who does not progress: -0.0102 points per mg a day, half gone two weeks later."""
    still = patients(alzheimer, 3, adas=24.0).replace(rate=np.zeros(3), xanomeline=np.array([-1e-3, -1.5e-3, -1e-3]))
    at = np.array([0.0, 168.0, 168 + math.log(2) / 0.05, 168 + 42.0])
    worn, _ = solve(alzheimer, still, patches(3, (54.0, 0.0, 168)), at)
    change = worn.adas - 24
    assert change[0, 1] == pytest.approx(-0.054, rel=0.01)
    assert change[1, 1] / change[0, 1] == pytest.approx(1.5, rel=0.01)
    assert change[0, 2] / change[0, 1] == pytest.approx(0.5, abs=0.02)
    assert change[0, 3] / change[0, 1] == pytest.approx(math.exp(-2.1), abs=0.02)


def test_most_skin_events_come_early_and_the_share_is_that_of_the_hazard(alzheimer):
    """The share with an event by a day is 1 - exp(-H), H by quadrature; on 54 mg half of all come within 35 days."""
    n, days = 4000, np.array([0.0, 14, 28, 35, 56, 84, 168])
    s = streams(5, "effects", [str(i) for i in range(n)])
    z = {name: s.normal(name)[:, 0] for name in alzheimer.effects()}
    for mg in (0.0, 54.0):
        out, _ = solve(alzheimer, patients(alzheimer, n, z), patches(n, (mg, 0.0, 168)), days)

        def hazard(t: float, mg=mg) -> float:
            daily = mg * -math.expm1(-2.8 * t)
            return (0.00734 + 6.86e-4 * daily * -math.expm1(-0.0410 * t)) * math.exp(-0.0148 * t)

        expected = np.array([-math.expm1(-quad(hazard, 0, t)[0]) for t in days])
        spread = np.sqrt(expected * (1 - expected) / n)
        assert (np.abs(out.skin.mean(axis=0) - expected) <= 3.5 * spread + 1e-12).all()
        assert (np.diff(out.skin, axis=1) >= 0).all()  # a first event happens once
    assert out.skin.mean(axis=0)[3] > 0.5 * out.skin.mean(axis=0)[-1]


def test_who_stops_early_has_fewer_events_and_nobody_loses_one(alzheimer):
    n = 2000
    s = streams(6, "effects", [str(i) for i in range(n)])
    p = patients(alzheimer, n, {name: s.normal(name)[:, 0] for name in alzheimer.effects()})
    days = np.array([0.0, 14, 28, 168])
    on, _ = solve(alzheimer, p, patches(n, (54.0, 0.0, 168)), days)
    off, _ = solve(alzheimer, p, patches(n, (54.0, 0.0, 14)), days)
    assert (on.skin[:, :2] == off.skin[:, :2]).all()
    assert (on.skin >= off.skin).all()
    assert on.skin[:, -1].mean() > off.skin[:, -1].mean() + 0.1


def test_thresholds_are_exponential(alzheimer):
    """The share still without an event at the threshold is the normal's upper tail, within the fit's 1.2e-7."""
    z = np.linspace(-3, 3, 7)
    p = patients(alzheimer, 7, {"skin_threshold": z})
    assert np.exp(-p.skin_threshold) == pytest.approx(ndtr(-z), rel=1.2e-7)


def test_endpoints_read_visits_with_missing_values(alzheimer):
    visits = alzheimer.outputs(
        adas=np.array([[20.0, np.nan, 23.0], [20.0, 21.0, np.nan]]),
        skin=np.array([[0.0, 1, 1], [0, 0, np.nan]]),
        other=np.array([[0.0, 0, 0], [0, 1, 1]]),
        burden=np.zeros((2, 3)),
    )
    assert alzheimer.endpoints["adas_change"].reads(visits) == pytest.approx([3, np.nan], nan_ok=True)
    assert np.asarray(alzheimer.endpoints["skin_event"].reads(visits)).tolist() == [True, False]
    assert np.asarray(alzheimer.endpoints["other_event"].reads(visits)).tolist() == [False, True]


@needs_trial
def test_the_trials_own_table_is_reproduced():
    """Change of ADAS-Cog(11) by week 24, last value carried forward: the trial's report, table 14-3.01."""
    found = trial.change(FILES)
    told = {arm: (n, round(mean, 2), round(sd, 2)) for arm, (n, mean, sd) in found.items()}
    assert told == {"Placebo": (79, 2.54, 5.80), "Xanomeline Low Dose": (81, 2.00, 5.55)}


@needs_trial
def test_the_fitted_hazards_stand_in_the_model(alzheimer):
    """Fitted again on placebo and 54 mg; rounding of the third digit aside."""
    fields = alzheimer.parameters()
    fits = {**trial.skin(FILES).estimates, **trial.other(FILES).estimates, **trial.stopping(FILES).estimates}
    ours = {name: one for name, one in fits.items() if hasattr(fields, name)}
    assert len(ours) == 8
    for name, one in ours.items():
        assert getattr(fields, name) == pytest.approx(one.value, rel=4e-3), name
        assert alzheimer.parameters.fields()[name]["rse"] == pytest.approx(100 * one.se, rel=0.02), name
    effect = trial.effect(FILES)
    assert fields.xanomeline == pytest.approx(effect.value, rel=4e-3)


@needs_trial
def test_the_fitted_stopping_and_priors_stand_in_the_study(study):
    fits = {**trial.skin(FILES).estimates, **trial.other(FILES).estimates}
    priors = study.calibration.priors
    for name in ("skin_background", "skin_xanomeline", "other_background", "other_xanomeline"):
        median, sigma = priors[name].prior.arguments
        assert median == pytest.approx(fits[name].value, rel=4e-3)
        assert sigma == pytest.approx(fits[name].held, rel=0.01)
    stopping = trial.stopping(FILES).estimates
    plan = study.conduct.discontinuation
    terms = {term.on: term.log_hazard for term in plan.depends}
    assert plan.share == pytest.approx(trial.share(stopping["stopping_hazard"].value), abs=5e-4)
    assert terms == {
        "burden": 1.0,
        "skin": pytest.approx(stopping["stopping_skin"].value, abs=5e-4),
        "adas": pytest.approx(stopping["stopping_adas"].value, abs=5e-4),
    }


@needs_trial
def test_the_high_dose_is_never_read():
    for name, treatment in (("adsl", "TRT01A"), ("adtte", "TRTA"), ("adae", "TRTA"), ("adqsadas", "TRTP")):
        assert set(trial.read(FILES, name, treatment)[treatment].unique()) == set(trial.DOSE)


@needs_trial
def test_the_population_is_matched_to_the_trials_own_baseline():
    """config/evidence/cdiscpilot_baseline.csv holds figures of all 254, no row of anybody."""
    people = pl.read_csv(FILES / "adam_adsl.csv.gz", infer_schema_length=None)
    table = pl.read_csv(ROOT / "config/evidence/cdiscpilot_baseline.csv")
    columns = {"age": "AGE", "height": "HEIGHTBL", "bmi": "BMIBL"}
    for variable, statistic, value in table.select("variable", "statistic", "value").iter_rows():
        if variable in columns:
            own = people[columns[variable]].drop_nulls()
            assert value == pytest.approx(own.mean() if statistic == "mean" else own.std(), rel=1e-3)


def typical_change(model: Model, medication: int) -> float:
    """Points in 24 weeks, of a typical woman with the trial's baseline on placebo."""
    out, _ = solve(model, patients(model, adas=24.12, comedication=medication), untreated(1), np.array([0.0, WEEK24]))
    return float(out.adas[0, 1] - out.adas[0, 0])


def test_a_typical_patient_worsens_by_1_3_points_in_24_weeks_and_by_1_9_on_medication(alzheimer):
    """From the closed form, with the published rate at 24.12 points."""
    for medication, factor in ((0, 0.698), (1, 1.0)):
        rate = (0.153 + 0.1436 * math.log(24.12 / 22.2)) * factor
        expected = float(closed_form(24.12, rate, WEEK24 / YEAR)) - 24.12
        assert typical_change(alzheimer, medication) == pytest.approx(expected, abs=1e-6)


@pytest.mark.xfail(
    strict=True, reason="the published progression gives 1.31 points; what the trial's patients lost is more"
)
def test_a_typical_patient_on_placebo_worsens_as_the_trials_did(alzheimer):
    """2.54 points, standard error 0.65: within one, without other medication."""
    assert typical_change(alzheimer, 0) == pytest.approx(2.54, abs=0.65)
