"""Mixtures to RBesT's JSON and back, and subjects as lines that FACTS reads."""

import json

import numpy as np
import polars as pl
import pytest

from cohort.mixture import BetaMixture, GammaMixture, MixtureError, MvNormalMixture, NormalMixture
from cohort.mixture.exchange import facts_subjects, from_rbest, rbest_sigma, to_rbest

BETA = BetaMixture([0.6167463, 0.3832537], [19.1916387, 3.5278745], [57.7779318, 9.3735980])
NORMAL = NormalMixture([0.2, 0.8], [0, 2], [2, 1 / 3])
GAMMA = GammaMixture([0.6, 0.4], [20, 4], [10, 1])
COV = np.array([[4.0, 1.0, -0.5], [1.0, 9.0, 0.3], [-0.5, 0.3, 0.25]])
VISITS = MvNormalMixture([0.9, 0.1], [[1, 2, 3], [4, 5, 6]], [COV, 2 * COV])


@pytest.mark.parametrize("m", [BETA, NORMAL, GAMMA], ids=lambda m: m.family)
def test_a_mixture_comes_back_with_every_digit(m):
    back = from_rbest(to_rbest(m))
    assert type(back) is type(m)
    np.testing.assert_allclose(back.weight, m.weight, rtol=1e-15)
    np.testing.assert_array_equal(back.parameters, m.parameters)


def test_several_quantities_come_back_by_their_correlations():
    back = from_rbest(to_rbest(VISITS))
    np.testing.assert_allclose(back.component_mean, VISITS.component_mean)
    np.testing.assert_allclose(back.component_cov, VISITS.component_cov, rtol=1e-12)


def test_the_text_is_laid_out_as_rbest_s():
    held = json.loads(to_rbest(NORMAL, sigma=5))
    assert held["comp"] == [[0.2, 0.8], [0, 2], [2, 1 / 3]]
    assert held["meta"] == {
        "dim": [3, 2],
        "dimnames": [["w", "m", "s"], ["comp1", "comp2"]],
        "link": ["identity"],
        "sigma": [5],
        "class": ["normMix", "mix"],
        "likelihood": ["normal"],
    }
    assert rbest_sigma(to_rbest(NORMAL, sigma=5)) == 5
    assert rbest_sigma(to_rbest(NORMAL)) is None
    rows = json.loads(to_rbest(VISITS))["meta"]["dimnames"][0]
    assert rows == ["w", "m[1]", "m[2]", "m[3]", "s[1]", "s[2]", "s[3]", "rho[2,1]", "rho[3,1]", "rho[3,2]"]


def test_rounded_text_of_an_em_fit_is_read_and_its_weights_are_rescaled():
    text = """{"meta": {"dim": [3, 3], "dimnames": [["w", "a", "b"], ["comp1", "comp2", "comp3"]], "link": "identity",
    "class": ["EM", "EMbmm", "betaMix", "mix"], "likelihood": "binomial"},
    "comp": [[0.333, 0.333, 0.333], [1.5, 20, 4], [3, 60.25, 8]]}"""
    found = from_rbest(text)
    np.testing.assert_allclose(found.weight, 1 / 3)
    np.testing.assert_array_equal(found.b, [3, 60.25, 8])


def test_correlations_are_read_by_columns_of_the_lower_triangle():
    text = json.dumps(
        {
            "meta": {"class": ["mvnormMix", "mix"], "link": ["identity"], "likelihood": ["mvnormal"]},
            "comp": [[1], [0], [0], [0], [1], [2], [3], [0.1], [0.2], [0.3]],
        }
    )
    cov = from_rbest(text).component_cov[0]
    np.testing.assert_allclose([cov[1, 0], cov[2, 0], cov[2, 1]], [0.1 * 2, 0.2 * 3, 0.3 * 6])
    np.testing.assert_allclose(cov, cov.T)


def changed(**meta):
    held = json.loads(to_rbest(BETA))
    held["meta"] |= meta
    return json.dumps(held)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "no 'meta' and 'comp'"),
        ("[1, 2]", "no 'meta' and 'comp'"),
        ("{}", "no 'meta' and 'comp'"),
        (changed(**{"class": ["tMix", "mix"]}), "names no mixture that is known"),
        (changed(link=["logit"]), "link"),
        (changed(**{"class": ["gammaMix", "mix"]}), "only 'poisson' can update a gammaMix"),
        (changed(**{"class": ["gammaMix", "mix"], "likelihood": ["exp"]}), "only 'poisson'"),
        (
            changed(**{"class": ["mvnormMix", "mix"], "likelihood": ["mvnormal"]}).replace("9.373598", "-9"),
            "SD is not positive",
        ),
        (to_rbest(BETA).replace("0.3832537", "0.5"), "weights sum to 1.11"),
        (to_rbest(BETA).replace("9.373598", "-1"), r"b\[1\] -1 is not positive"),
        (to_rbest(BETA).replace("9.373598", "NaN"), "not finite"),
    ],
)
def test_text_that_holds_no_mixture_of_ours_is_refused(text, said):
    with pytest.raises(MixtureError, match=said):
        from_rbest(text)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: to_rbest(BETA, sigma=1), "no meaning for a BetaMixture"),
        (lambda: to_rbest(NORMAL, sigma=0), "0 is not a standard deviation"),
        (lambda: to_rbest(3), "is a int"),  # pyright: ignore
    ],
)
def test_what_rbest_cannot_hold_is_refused(make, said):
    with pytest.raises(MixtureError, match=said):
        make()


LONG = pl.DataFrame(
    {
        "subject": ["b7", "b7", "a1", "a1"],
        "arm": ["low", "low", "placebo", "placebo"],
        "visit": [2, 1, 1, 2],
        "response": [0.17, 0.11, 0.27, -3.0],
    }
)


def test_visits_of_a_subject_stand_together_in_order(tmp_path):
    numbers = facts_subjects(LONG, tmp_path / "external.dat", arms=["placebo", "low"])
    assert (tmp_path / "external.dat").read_text().split() == ["1,2,1,0.11", "1,2,2,0.17", "2,1,1,0.27", "2,1,2,-3.0"]
    assert numbers.rows() == [("b7", 1), ("a1", 2)]


def test_times_to_events_and_groups_have_their_own_columns(tmp_path):
    table = pl.DataFrame({"subject": [5, 6], "group": [1, 2], "arm": [2, 1], "time": [8.87, 9.34]})
    facts_subjects(table, tmp_path / "tte.dat")
    assert (tmp_path / "tte.dat").read_text().split() == ["1,1,2,8.87", "2,2,1,9.34"]


def test_a_dichotomous_response_is_0_or_1(tmp_path):
    table = pl.DataFrame({"subject": [1, 2], "arm": [1, 2], "visit": [1, 1], "response": [True, False]})
    facts_subjects(table, tmp_path / "yes.dat")
    assert (tmp_path / "yes.dat").read_text().split() == ["1,1,1,1", "2,2,1,0"]


NUMBERED = LONG.with_columns(arm=pl.Series([2, 2, 1, 1]))


@pytest.mark.parametrize(
    ("table", "arms", "said"),
    [
        (NUMBERED.drop("visit"), None, "visit: column is missing"),
        (NUMBERED.with_columns(age=pl.lit(50)), None, "age: the file has no place for this column"),
        (NUMBERED.clear(), None, "no rows"),
        (LONG, None, "arm: holds names, low, placebo"),
        (LONG, ["placebo"], "low not in arms"),
        (LONG, ["placebo", "low", "low"], "names one twice"),
        (NUMBERED.with_columns(response=pl.Series([0.1, None, 0.2, 0.3])), None, "1 of 4 values are missing"),
        (NUMBERED.with_columns(response=pl.Series([0.1, np.inf, 0.2, 0.3])), None, "not finite"),
        (NUMBERED.with_columns(response=pl.Series(["a", "b", "c", "d"])), None, "holds String"),
        (NUMBERED.with_columns(arm=pl.Series([1, 2, 1, 1])), None, "'b7': is in 2 of arm"),
        (NUMBERED.with_columns(arm=pl.Series([0, 0, 1, 1])), None, "whole numbers from 1"),
        (NUMBERED.with_columns(visit=pl.Series([1, 1, 1, 2])), None, "'b7': has a visit twice"),
        (NUMBERED.with_columns(visit=pl.Series([1.5, 1, 1, 2])), None, "whole numbers from 0"),
        (NUMBERED.with_columns(visit=pl.Series([2, 4, 2, 4])), None, "number them from 1"),
        (NUMBERED[:3], None, "'a1': has 1 of 2 visits"),
        (pl.DataFrame({"subject": [1, 1], "arm": [1, 1], "time": [2.0, 3.0]}), None, "has two rows"),
        (pl.DataFrame({"subject": [1], "arm": [1], "time": [0.0]}), None, "0 is not positive"),
    ],
)
def test_subjects_that_facts_cannot_hold_are_refused_and_no_file_is_written(table, arms, said, tmp_path):
    with pytest.raises(MixtureError, match=said):
        facts_subjects(table, tmp_path / "external.dat", arms)
    assert not (tmp_path / "external.dat").exists()
