"""A person's twin: draws against conjugate formulas, truncated normals and Bayes' rule, and people who cannot be."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from cohort.population.causal import Chain, Column, step
from cohort.population.sources import source
from cohort.population.twin import Known, Twin, TwinError, twin
from cohort.study.grammar import criterion

DRAWS = 8000
TIE = 0.6  # of height's and weight's latents


@step({"sex": Column("1", "sex", "made up", ("male", "female"))}, draws=("sex",))
def sex(x, z):
    return {"sex": (z["sex"] > 0).astype(np.int64)}


@step({"height": Column("cm", "height", "made up")}, needs=("sex",), draws=("height",))
def height(x, z):
    return {"height": 176 - 14 * x["sex"] + 7 * z["height"]}


@step({"weight": Column("kg", "weight", "made up")}, draws=("weight",))
def weight(x, z):
    return {"weight": 80 + 12 * z["weight"]}


@step({"bmi": Column("kg/m**2", "body mass index", "made up")}, needs=("height", "weight"))
def bmi(x, z):
    return {"bmi": x["weight"] / (x["height"] / 100) ** 2}


@step({"albumin": Column("g/L", "albumin", "made up")}, draws=("albumin",))
def albumin(x, z):
    return {"albumin": 43 + 3 * z["albumin"]}


@step({"odd": Column("1", "a parabola in its latent", "made up")}, draws=("odd",))
def odd(x, z):
    return {"odd": (z["odd"] - 1) ** 2}


CHAIN = Chain((sex, height, weight, bmi, albumin, odd), {("height", "weight"): TIE})
INVERSES = {"height": lambda x: (x["height"] - 176 + 14 * x["sex"]) / 7, "weight": lambda x: (x["weight"] - 80) / 12}
MAN = {"sex": "male"}


def normal_at(draws: np.ndarray, mean: float, sd: float, effective: float = DRAWS) -> bool:
    """Whether mean and SD of the draws are these, within four standard errors."""
    near = abs(draws.mean() - mean) < 4 * sd / math.sqrt(effective)
    return bool(near and abs(draws.std() / sd - 1) < 4 / math.sqrt(2 * effective))


def test_an_exact_height_tells_of_weight_as_the_gaussian_conditional():
    t = twin(CHAIN, {"height": 190.0}, DRAWS, 1, MAN, INVERSES)
    assert t.people["height"] == pytest.approx(190)
    assert normal_at(t.people["weight"], 80 + 12 * TIE * 2, 12 * math.sqrt(1 - TIE**2))
    assert normal_at(t.people["albumin"], 43, 3)
    assert (t.rhat, t.effective) == (1.0, DRAWS)


def test_two_exact_values_hold_together():
    t = twin(CHAIN, {"height": 183.0, "weight": 70.0}, 100, 1, MAN, INVERSES)
    assert t.people["bmi"] == pytest.approx(70 / 1.83**2)


def test_a_measurement_error_shrinks_a_value_to_the_rest():
    """Height is N(176, 7) and its error N(0, 7): half of the excess is believed."""
    t = twin(CHAIN, {"height": Known(190, 7)}, DRAWS, 1, MAN)
    assert normal_at(t.people["height"], 183, 7 / math.sqrt(2))
    assert normal_at(t.people["weight"], 80 + 12 * TIE, 12 * math.sqrt(1 - TIE**2 / 2))
    assert normal_at(t.people["albumin"], 43, 3)
    assert t.known["height"] == Known(190, 7)
    assert t.rhat <= 1.01
    assert t.effective > DRAWS


def test_two_measurements_are_weighed_as_by_the_conjugate_formula():
    known = {"height": Known(190, 2), "weight": Known(60, 5)}
    t = twin(CHAIN, known, DRAWS, 3, MAN)
    prior = np.array([[49, TIE * 84], [TIE * 84, 144]])
    gain = prior @ np.linalg.inv(prior + np.diag([4, 25]))
    mean = np.array([176, 80]) + gain @ np.array([14, -20])
    cov = prior - gain @ prior
    for i, name in enumerate(known):
        assert normal_at(t.people[name], mean[i], math.sqrt(cov[i, i]))
    correlation = np.corrcoef(t.people["height"], t.people["weight"])[0, 1]
    assert correlation == pytest.approx(cov[0, 1] / math.sqrt(cov[0, 0] * cov[1, 1]), abs=0.05)


def test_sampling_comes_to_the_exact_answer_as_the_error_vanishes():
    t = twin(CHAIN, {"height": Known(190, 0.05)}, DRAWS, 1, MAN)
    assert normal_at(t.people["weight"], 80 + 12 * TIE * 2, 12 * math.sqrt(1 - TIE**2))


def test_exact_and_measured_values_go_together():
    t = twin(CHAIN, {"height": 190.0, "weight": Known(70, 6)}, DRAWS, 1, MAN, INVERSES)
    mean, sd = 80 + 12 * TIE * 2, 12 * math.sqrt(1 - TIE**2)
    believed = sd**2 / (sd**2 + 36)
    assert t.people["height"] == pytest.approx(190)
    assert normal_at(t.people["weight"], mean + believed * (70 - mean), sd * math.sqrt(1 - believed))


def test_a_column_without_latent_is_met_as_by_weighing_people():
    t = twin(CHAIN, {"bmi": Known(32, 1)}, DRAWS, 1, MAN)
    rng = np.random.default_rng(5)
    h = rng.standard_normal(1_000_000)
    x = CHAIN.people(
        lambda name: h if name == "height" else rng.standard_normal(len(h)), {"sex": np.zeros(len(h), int)}
    )
    w = np.exp(-0.5 * (x["bmi"] - 32) ** 2)
    for name in ("height", "weight", "bmi"):
        mean = float(np.average(x[name], weights=w))
        assert normal_at(t.people[name], mean, math.sqrt(np.average((x[name] - mean) ** 2, weights=w)))


def test_an_unknown_category_is_drawn_by_bayes_rule():
    t = twin(CHAIN, {"height": Known(168, 0.5)}, DRAWS, 1)
    spread = math.hypot(7, 0.5)
    man, woman = norm.pdf(168, 176, spread), norm.pdf(168, 162, spread)
    assert t.people["sex"].mean() == pytest.approx(woman / (man + woman), abs=0.025)


def test_a_criterion_met_cuts_the_distribution():
    t = twin(CHAIN, {}, DRAWS, 1, MAN, criteria=[criterion("height >= 186 cm"), criterion("sex == male")])
    a = 10 / 7
    hazard = float(norm.pdf(a) / norm.sf(a))
    assert t.people["height"].min() >= 186
    assert normal_at(t.people["height"], 176 + 7 * hazard, 7 * math.sqrt(1 + a * hazard - hazard**2))


def test_what_is_wholly_known_leaves_nothing_to_sample():
    t = twin(CHAIN, {}, 10, 1, MAN, criteria=[criterion("sex == male")])
    assert t.people["sex"].tolist() == [0] * 10
    known = {"height": 183.0, "weight": 70.0, "bmi": Known(21, 1)}
    assert twin(CHAIN, known, 10, 1, MAN, INVERSES).people["bmi"] == pytest.approx(70 / 1.83**2)


def test_the_same_seed_draws_the_same_twin():
    def draw(seed: int) -> Twin:
        return twin(CHAIN, {"height": Known(180, 2)}, 50, seed, MAN)

    one, again, other = draw(1), draw(1), draw(2)
    assert all(np.array_equal(one.people[c], again.people[c]) for c in CHAIN.columns)
    assert not np.array_equal(one.people["height"], other.people["height"])


@pytest.mark.parametrize(
    ("known", "given", "criteria", "complaint"),
    [
        ({"height": 300.0}, MAN, [], r"height: 300 cm lies 17\.7 standard deviations off"),
        ({"height": Known(300, 1)}, MAN, [], r"nobody is like this: height 300: .* standard deviations off"),
        ({"heigth": 180.0}, MAN, [], "heigth: no column of the chain; did you mean 'height'"),
        ({"bmi": 30.0}, MAN, [], "bmi: nothing gives its latent back; write its measurement error"),
        ({"height": 180.0}, {}, [], "height: known exactly only beside sex"),
        ({"height": Known(180, -1)}, MAN, [], "height: 180 with an error of -1"),
        ({"height": math.nan}, MAN, [], "height: nan"),
        ({"sex": 1.0}, {}, [], "sex: a category; give it"),
        ({}, {"sex": "mail"}, [], "sex: 'mail' is no level; write one of male, female"),
        ({}, {"height": 180.0}, [], "height: comes with sex; give both"),
        ({}, {"height": 180.0, **MAN}, [], "height: tells of others by its latent; write it as known"),
        ({"albumin": 40.0}, {"albumin": 40.0}, [], "albumin: given and known; keep one"),
        ({}, MAN, ["sex == female"], "nobody of 8192 people is like this"),
        ({}, MAN, ["height >= 250 cm"], "nobody of 8192 people is like this"),
    ],
)
def test_what_cannot_be_known_is_refused(known, given, criteria, complaint: str):
    with pytest.raises(TwinError, match=complaint):
        twin(CHAIN, known, 100, 1, given, INVERSES, [criterion(c) for c in criteria])


def test_chains_that_do_not_agree_are_refused(monkeypatch):
    """A parabola is 4 at two far ends, and nothing but the latent tells which of them a chain is at."""
    monkeypatch.setattr("cohort.population.twin.PATIENCE", 1)
    monkeypatch.setattr("cohort.population.twin.PIECES", 1)
    with pytest.raises(TwinError, match=r"the chains do not agree \(R-hat"):
        twin(CHAIN, {"odd": Known(4, 0.001)}, 100, 1, MAN)


def test_an_inverse_that_does_not_give_the_value_back_is_refused():
    with pytest.raises(TwinError, match="weight: its inverse does not give 90 back"):
        twin(CHAIN, {"weight": 90.0}, 10, 1, MAN, {"weight": lambda x: (x["weight"] - 80) / 11})


WOMAN = {"sex": "female", "ancestry": "non-Hispanic White", "age": 60.0}


def test_a_woman_of_60_has_the_gfr_of_her_creatinine():
    us = source("us")
    known = {"height": 158.0, "bmi": 82 / 1.58**2, "creatinine": 1.1}
    x = twin(us.chain, known, 500, 1, WOMAN, us.inverses).people
    gfr = 142 * (1.1 / 0.7) ** -1.2 * 0.9938**60 * 1.012  # CKD-EPI 2021, doi 10.1056/NEJMoa2102953
    assert x["weight"] == pytest.approx(82)
    assert x["gfr"] == pytest.approx(gfr)
    assert sum(x[c] for c in us.chain.columns if c.startswith("mass_")) == pytest.approx(82)
    assert x["mass_liver"].std() > 0.1


def test_scales_and_a_laboratory_that_err_leave_her_as_she_is():
    us = source("us")
    known = {"height": Known(158, 1), "weight": Known(82, 0.5), "creatinine": Known(1.1, 0.06)}
    t = twin(us.chain, known, 2000, 1, WOMAN)
    assert t.rhat <= 1.01
    assert t.people["weight"].std() == pytest.approx(0.5, rel=0.1)
    exact = {"height": 158.0, "bmi": 82 / 1.58**2, "creatinine": 1.1}
    sure = twin(us.chain, exact, 2000, 1, WOMAN, us.inverses)
    for name in ("mass_liver", "cardiac_output", "haematocrit"):
        spread = sure.people[name].std()
        assert t.people[name].mean() == pytest.approx(sure.people[name].mean(), abs=0.15 * spread)
        assert t.people[name].std() == pytest.approx(spread, rel=0.1)


def test_a_woman_of_whom_less_is_known_is_met_as_by_weighing_people():
    """Neither age nor ancestry is known: the posterior bends with age, and falls into a part for each ancestry."""
    us = source("us")
    known = {"height": Known(158, 2), "weight": Known(82, 2), "creatinine": Known(1.1, 0.1)}
    t = twin(us.chain, known, DRAWS, 1, {"sex": "female"})
    n = 250_000
    rng = np.random.default_rng(8)
    up_to = [s.name for s in us.chain.steps].index("creatinine") + 1
    chain = Chain(us.chain.steps[:up_to], us.chain.correlations)
    x = chain.people(lambda name: rng.standard_normal(n), {"sex": np.ones(n, int)})
    w = np.exp(-0.5 * sum(((x[name] - k.value) / (k.sd or 1)) ** 2 for name, k in known.items()))
    effective = w.sum() ** 2 / (w**2).sum()
    assert effective > 500
    mean = np.average(x["age"], weights=w)
    sd = math.sqrt(np.average((x["age"] - mean) ** 2, weights=w))
    assert normal_at(t.people["age"], float(mean), sd, effective / 2)
    for ancestry in range(5):
        share = np.average(x["ancestry"] == ancestry, weights=w)
        error = math.sqrt(share * (1 - share) * (1 / effective + 1 / DRAWS))
        assert np.mean(t.people["ancestry"] == ancestry) == pytest.approx(share, abs=4 * error)
