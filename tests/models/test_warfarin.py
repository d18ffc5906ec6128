"""Warfarin against published plateaus and algorithms, a time in range worked by hand, and the conservation of mass."""

import csv
import math

import numpy as np
import pytest

from cohort import external, load_model
from cohort.dosing.records import Events
from cohort.engine import Numerics, solve
from cohort.library import path_of
from cohort.trace import check_units

FINE = Numerics(solver="explicit", rtol=1e-10, atol=1e-10)
TABLE = "qsp/verify_warfarin_hamberg2007_5mg.csv"
DAYS = (5, 7, 14, 28, 60)
# 71 years and *1/*1, as the verification's patients are; what else is said does not enter its figures.
TYPICAL = {
    "age": 71.0,
    "height": 170.0,
    "weight": 75.0,
    "bsa": 1.9,
    "genetic_ancestry": "EUR",
    "CYP2C9": "*1/*1",
    "VKORC1": "GG",
    "smoking": "never",
    "diabetes": "no",
    "amiodarone": "no",
    "vte": "no",
    "stroke": "no",
    "genotyped": "yes",
    "reading": "published",
    "since": 0.0,
}


@pytest.fixture(scope="module")
def warfarin():
    return load_model("warfarin")


def subjects(model, n=1, effects=None, **covariates):
    """n subjects without random effects but those given; a covariate is one value or a list of n."""
    fields, x = model.covariates.fields(), {}
    for name, value in (TYPICAL | covariates).items():
        levels = fields[name]["levels"]
        values = [value] * n if isinstance(value, str) or np.ndim(value) == 0 else list(value)
        x[name] = np.array([levels.index(v) for v in values] if levels else values)
    z = dict.fromkeys(model.effects(), np.zeros(n)) | (effects or {})
    p = model.subject(model.typical(), z, model.covariates(**x))
    return model.parameters(**{k: np.broadcast_to(np.asarray(v, float), (n,)) for k, v in vars(p).items()})


def daily(n, days, mg=5.0):
    return Events.of(n, into="oral", amount=mg, interval=24.0, additional=days - 1)


def guided(n, days, mg=5.0):
    """A decision every morning and a dose after it."""
    at = np.repeat(24.0 * np.arange(days), 2)
    return Events.of(n, time=at, action=["decide", "dose"] * days, into="oral", amount=[0.0, mg] * days)


def doses(model, rule, p, days):
    """What is taken on each day under a rule, (n, days), mg."""
    n = len(p.cl)
    out, status = solve(model, p, guided(n, days), 24.0 * np.arange(days) + 23.9, rule=model.rules[rule], numerics=FINE)
    assert not status.code.any()
    return np.diff(out.taken, axis=1, prepend=0.0), out


def visits(model, days, inrs, since: float = 0.0, black: float | np.ndarray = 0.0):
    """Outputs as they are seen at visits on these days; NaN where a visit was missed."""
    inr = np.asarray(inrs, float)
    seen = np.where(np.isnan(inr), np.nan, 1.0)
    rest = dict.fromkeys(model.outputs.fields(), seen)
    hour = 24.0 * np.broadcast_to(np.asarray(days, float), inr.shape) * seen
    return model.outputs(**rest | {"inr": inr, "hour": hour, "since": 24 * since * seen, "black": black * seen})


def read(model, endpoint, seen):
    return np.asarray(model.endpoints[endpoint].reads(seen), float)


def test_all_units_agree(warfarin):
    assert check_units(warfarin, str(path_of("warfarin"))) == []


# --- The model. ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not external.found(TABLE), reason=f"{TABLE} is not below COHORT_DATA")
def test_the_inr_of_eighteen_genotypes_on_five_days_is_that_of_the_table(warfarin):
    """5 mg a day in the published reading; the table, of other software, has four decimals."""
    path = external.file(TABLE, obtain="the INRs of Hamberg's model by genotype")
    rows = list(csv.DictReader(path.open()))
    p = subjects(
        warfarin, 18, CYP2C9=[r["CYP2C9"] for r in rows], VKORC1=[r["VKORC1"].replace("AG", "GA") for r in rows]
    )
    out, status = solve(warfarin, p, daily(18, 60), [24.0 * d for d in DAYS], numerics=FINE)
    want = np.array([[float(r[f"INR_d{d}"]) for d in DAYS] for r in rows])
    assert want.shape == (18, 5)
    assert not status.code.any()
    assert np.abs(out.inr - want).max() < 5.001e-5


@pytest.mark.parametrize(("reading", "inr"), [("published", 1.29374234), ("six_spans", 1.39041156)])
def test_day_five_tells_the_readings_of_the_transit_time_apart(warfarin, reading, inr):
    """Of the patient with GG and *1/*1, from two independent codes of the model."""
    out, _ = solve(warfarin, subjects(warfarin, reading=reading), daily(1, 6), [120.0], numerics=FINE)
    assert out.inr[0, 0] == pytest.approx(inr, abs=1e-6)


def test_plateaus_do_not_depend_on_the_reading(warfarin):
    """A constant concentration has one answer, base + 20 (1 - (1 - I)^2)^3.61; daily doses swing about it."""
    p = subjects(warfarin, 3, reading=["published", "six_spans", "hamberg_2010"])
    out, _ = solve(warfarin, p, daily(3, 200), [24.0 * 200 - 12], numerics=FINE)
    c = 2.5 / 24 / 0.314  # mg/L, the mean: half of 5 mg a day over the clearance
    i = c**0.424 / (4.61**0.424 + c**0.424)
    assert out.inr[:, 0] == pytest.approx(1 + 20 * (1 - (1 - i) ** 2) ** 3.61, rel=0.02)


def test_half_of_what_is_swallowed_is_s_warfarin_and_none_is_lost(warfarin):
    """Amounts in the four compartments add up to all doses so far, in whoever takes them."""
    rng = np.random.default_rng(1)
    z = {name: rng.standard_normal(40) for name in warfarin.effects()}
    p = subjects(warfarin, 40, effects=z)
    at = 24.0 * np.arange(30) + 5.0
    out, status = solve(warfarin, p, daily(40, 30, 7.0), at, numerics=FINE)
    assert not status.code.any()
    assert out.taken == pytest.approx(np.broadcast_to(7.0 * np.arange(1, 31), (40, 30)), rel=1e-8)


def test_clearance_falls_by_nine_percent_a_decade_and_by_genotype_as_published(warfarin):
    p = subjects(warfarin, 4, age=[71.0, 81.0, 71.0, 71.0], CYP2C9=["*1/*1", "*1/*1", "*3/*3", "*2/*8"])
    assert p.cl / 0.314 == pytest.approx([1.0, 1 - 0.091, 1 - 0.852, 1 - 0.315])  # *8 acts as *1


def test_the_spread_between_occasions_is_the_published_residual(warfarin):
    """Log INR at a plateau, over subjects who differ by their luck alone: SD = sqrt(0.0325)."""
    rng = np.random.default_rng(2)
    luck = {name: rng.standard_normal(4000) for name in warfarin.effects() if name.startswith("luck")}
    people, how = subjects(warfarin, 4000, effects=luck), Numerics(solver="explicit", rtol=1e-6, atol=1e-6)
    out, status = solve(warfarin, people, daily(4000, 30), [24.0 * 20, 24.0 * 28], numerics=how)  # as the studies
    assert not status.code.any()
    log = np.log(out.inr)
    assert log.std(axis=0) == pytest.approx(math.sqrt(0.0325), rel=0.05)
    assert abs(np.corrcoef(log.T)[0, 1]) < 4 / math.sqrt(4000)  # two weeks, two occasions


# --- The algorithms. -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "percent"),
    [
        ({"VKORC1": "GA"}, -28),
        ({"VKORC1": "AA"}, 100 * (0.72**2 - 1)),
        ({"bsa": 1.9 + 0.25}, 11),
        ({"CYP2C9": "*1/*3"}, -33),
        ({"CYP2C9": "*1/*2"}, -19),
        ({"age": 81.0}, -7),
        ({"amiodarone": "yes"}, -22),
        ({"smoking": "current"}, 10),
        ({"genetic_ancestry": "AFR"}, -9),
        ({"vte": "yes"}, 7),
    ],
)
def test_gages_dose_changes_by_the_percentages_of_the_abstract(warfarin, changed, percent):
    """Gage 2008, abstract: -28 % per allele of VKORC1, +11 % per 0.25 m², and so on; whole percents."""
    dose, base = (subjects(warfarin, **x).guided[0] for x in (changed, {}))
    assert 100 * (dose / base - 1) == pytest.approx(percent, abs=0.6)


def test_gages_dose_of_a_patient_worked_by_hand(warfarin):
    """60 years, 2 m², GA, *1/*2, thrombosis: exp(.9751 - .3238 + .8634 - .447 - .2066 + .50725 + .0664) = 4.201 mg; by
    clinical variables exp(.613 + .85 - .45 + .54 + .0784) = 5.110 mg."""
    p = subjects(warfarin, age=60.0, bsa=2.0, VKORC1="GA", CYP2C9="*1/*2", vte="yes")
    assert p.guided[0] == pytest.approx(math.exp(1.43475), rel=1e-9)
    assert p.clinical[0] == pytest.approx(math.exp(1.6314), rel=1e-9)


def test_iwpcs_dose_of_a_patient_worked_by_hand(warfarin):
    """60 years, 175 cm, 80 kg, GA, *1/*3: root 5.6044 - 1.5684 + 1.5225 + 1.024 - .8677 - .9357 = 4.7791."""
    p = subjects(warfarin, age=60.0, height=175.0, weight=80.0, VKORC1="GA", CYP2C9="*1/*3")
    assert p.iwpc[0] == pytest.approx(4.7791**2 / 7, rel=1e-9)


def test_three_loading_doses_leave_what_the_maintenance_dose_leaves_at_its_plateau(warfarin):
    """Avery 2011: three equal doses accumulate, a day after the third, to the plateau of the maintenance dose."""
    p = subjects(warfarin, 2, CYP2C9=["*1/*1", "*2/*3"])
    for load, dose, k in zip(p.load, p.iwpc, (0.0189, 0.0090), strict=True):
        left = math.exp(-24 * k)
        assert load * (left + left**2 + left**3) == pytest.approx(dose * left / (1 - left), rel=1e-9)


def test_lenzinis_revision_of_a_patient_worked_by_hand(warfarin):
    """INR 1.4 on day 4 after 6 mg on day 2 and 7 on day 1; 70 years, 1.9 m², GA, *1/*1, EU-PACT's form:
    exp(3.10894 - .5369 - .23032 + .467343 + .668225 - .51611 ln 1.4 + .1014 + .14126) / 7."""
    module = __import__("sys").modules[warfarin.rules["eupact_guided"].decide.__module__]
    p = subjects(warfarin, age=70.0, VKORC1="GA")
    by_hand = math.exp(3.10894 - 0.5369 - 0.23032 + 0.467343 + 0.668225 + 0.1014 + 0.14126) * 1.4**-0.51611 / 7
    assert float(module.revision("guided", p.revised[0], 1.4, 6.0, 7.0)) == pytest.approx(by_hand, rel=1e-9)


# --- The rules. ------------------------------------------------------------------------------------------------------


def test_standard_doses_go_by_age(warfarin):
    taken, _ = doses(warfarin, "eupact_standard", subjects(warfarin, 2, age=[75.0, 76.0]), 4)
    assert taken[:, :3] == pytest.approx(np.array([[10.0, 5, 5], [5, 5, 5]]), rel=1e-6)


def test_guided_doses_are_those_of_the_algorithms_up_to_day_seven(warfarin):
    p = subjects(warfarin, 1, VKORC1="GA", age=60.0)
    taken, out = doses(warfarin, "eupact_guided", p, 8)
    one, two, three = 1.5 * p.load - 0.5 * p.iwpc, p.load, 0.5 * p.load + 0.5 * p.iwpc
    inr, _ = solve(warfarin, p, guided(1, 4), [72.0], rule=warfarin.rules["eupact_guided"], numerics=FINE)
    revised = p.revised * np.exp(-0.51611 * np.log(inr.inr[:, 0]) + 0.0169 * two + 0.02018 * one)
    want = [one, two, three, revised, revised, revised, revised]
    assert taken[0, :7] == pytest.approx(np.array(want).ravel(), rel=1e-6)
    assert (out.inr < 3.4).all()


def test_a_first_dose_without_the_genotype_is_the_clinical_one_and_else_ignores_cyp2c9(warfarin):
    p = subjects(warfarin, 3, CYP2C9=["*1/*3"] * 2 + ["*1/*1"], VKORC1="GA", genotyped=["no", "yes", "yes"])
    taken, _ = doses(warfarin, "coag_guided", p, 3)
    assert taken[0, 0] == pytest.approx(p.clinical[0], rel=1e-6)
    assert taken[1, 0] == pytest.approx(p.guided[2], rel=1e-6)
    assert taken[:, 1] == pytest.approx(p.guided, rel=1e-6)


@pytest.mark.parametrize(
    ("inr", "before", "change", "today"),
    [
        (1.5, 0, 1.10, 2.0),
        (1.7, 0, 1.05, 1.5),
        (1.9, 0, 1.00, 1.0),
        (1.9, -1, 1.05, 1.05),
        (2.5, 1, 1.00, 1.0),
        (3.2, 0, 1.00, 1.0),
        (3.2, 1, 0.95, 0.95),
        (3.6, 0, 0.90, 0.5),
        (4.5, 0, 0.90, 0.0),
        (5.5, 0, 0.85, 0.0),
    ],
)
def test_the_table_of_adjustments_changes_the_daily_dose_and_todays(warfarin, inr, before, change, today):
    """Anderson 2007: at most 10 % up, 15 % down; a boost, half a dose or none on the day itself."""
    module = __import__("sys").modules[warfarin.rules["eupact_guided"].decide.__module__]
    orders, given = module.adjusted(inr, module.Orders(daily=4.0, zone=float(before)))
    assert float(orders.daily) == pytest.approx(4.0 * change)
    assert float(given) == pytest.approx(4.0 * today)
    assert bool(orders.hold) == (inr >= 5)


@pytest.mark.parametrize("rule", sorted(load_model("warfarin").rules))
def test_no_dose_is_negative_or_above_fifteen(warfarin, rule):
    rng = np.random.default_rng(3)
    n = 200
    z = {name: 1.5 * rng.standard_normal(n) for name in warfarin.effects()}
    genes = rng.choice(["*1/*1", "*1/*3", "*3/*3", "*2/*2"], n).tolist()
    p = subjects(warfarin, n, effects=z, CYP2C9=genes, VKORC1=rng.choice(["GG", "GA", "AA"], n).tolist())
    taken, _ = doses(warfarin, rule, p, 40)
    assert taken.min() > -1e-6
    assert taken.max() < 15 + 1e-6


# --- Time in range. --------------------------------------------------------------------------------------------------


def test_time_in_range_of_a_patient_worked_by_hand(warfarin):
    """Day 0 INR 1, day 10 INR 3.5, day 20 INR 2.5: up by 0.25 a day, in range from day 4 to 8; down by 0.1 a day, in
    range from day 15 on. 9 of 20 days; below 2 for 4 days; never above 4."""
    seen = visits(warfarin, [0, 10, 20], [1.0, 3.5, 2.5])
    assert read(warfarin, "ttr", seen) == pytest.approx(45.0)
    assert read(warfarin, "time_below_2", seen) == pytest.approx(20.0)
    assert read(warfarin, "time_above_4", seen) == 0.0


def test_a_line_passes_over_a_missed_visit_but_not_over_more_than_56_days(warfarin):
    missed = visits(warfarin, [0, 10, 20], [[2.0, np.nan, 4.0], [2.5, 2.5, np.nan], [np.nan, 2.5, np.nan]])
    assert read(warfarin, "ttr", missed) == pytest.approx([50.0, 100.0, np.nan], nan_ok=True)
    gap = visits(warfarin, [0, 10, 67], [2.5, 2.5, 2.0])
    assert read(warfarin, "ttr", gap) == pytest.approx(100.0)
    within = visits(warfarin, [0, 10, 66], [1.0, 1.0, 3.0])
    assert read(warfarin, "ttr", within) == pytest.approx(100 * 28 / 66)


def test_time_counts_from_where_the_trials_window_opens(warfarin):
    assert read(warfarin, "ttr", visits(warfarin, [0, 3, 13], [1.0, 2.0, 2.5], since=3.0)) == pytest.approx(100.0)


def test_a_constant_inr_is_in_range_or_is_not(warfarin):
    seen = visits(warfarin, [0, 7, 14], [[2.0] * 3, [3.0] * 3, [3.01] * 3, [1.99] * 3])
    assert read(warfarin, "ttr", seen).tolist() == [100.0, 100.0, 0.0, 0.0]


def test_below_within_and_above_make_up_the_whole_time(warfarin):
    inr = np.random.default_rng(4).uniform(1, 4, (50, 8))  # none above 4
    seen = visits(warfarin, 7.0 * np.arange(8), inr)
    up_to_4 = read(warfarin, "time_below_2", seen) + read(warfarin, "ttr", seen)
    assert (up_to_4 <= 100 + 1e-9).all()
    assert read(warfarin, "time_above_4", visits(warfarin, 7.0 * np.arange(8), inr + 3.0)) == pytest.approx(100.0)


def test_groups_are_read_from_the_people_of_them(warfarin):
    black = np.array([[1.0], [0.0]])
    seen = visits(warfarin, [0, 7], [[2.5, 2.5], [2.5, 4.5]], black=black)
    assert read(warfarin, "ttr_black", seen) == pytest.approx([100.0, np.nan], nan_ok=True)
    assert read(warfarin, "ttr_others", seen) == pytest.approx([np.nan, 25.0], nan_ok=True)
