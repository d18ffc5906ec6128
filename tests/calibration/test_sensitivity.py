"""Each assumption is varied by itself, and a variant that cannot be fitted says so."""

import json

import numpy as np
import pytest

from cohort.calibration import CalibrationError
from cohort.calibration import sensitivity as room
from cohort.calibration.sensitivity import sensitivity, variants, with_spreads


@pytest.fixture(scope="module")
def planned(laplace, evolocumab):
    return {v.label: v for v in variants(laplace, evolocumab)}


def tree(names, arms, shift: float = 0.0):
    """A posterior of 4 by 200 draws, every parameter standard normal around `shift`, every arm observed as fitted."""
    from arviz_base import from_dict

    rng = np.random.default_rng(1)
    z = rng.standard_normal((4, 200))
    z = (z - z.mean()) / z.std()
    return from_dict(
        {
            "posterior": {**{n: shift + z for n in names}, "arm_mean": np.zeros((4, 200, len(arms)))},
            "sample_stats": {"energy": rng.standard_normal((4, 200)), "diverging": np.zeros((4, 200), dtype=bool)},
            "observed_data": {"mean": np.full(len(arms), 1.0), "se": np.full(len(arms), 2.0)},
        },
        coords={"arm": list(arms)},
        dims={"arm_mean": ["arm"], "mean": ["arm"], "se": ["arm"]},
    )


def test_what_is_varied(planned):
    assert list(planned) == [
        "correlation of cl and vmax 0, not 0.5",
        "correlation of cl and vmax 0.8, not 0.5",
        "spread between subjects of ka, cl, v, vmax times 0.8",
        "spread between subjects of ka, cl, v, vmax times 1.2",
        "prior of kout lognormal(0.305, 0.1), not lognormal(0.305, 0.3)",
        "prior of kout lognormal(0.08, 0.3), not lognormal(0.305, 0.3)",
        "drift of each group of arms, not one",
        "128 subjects integrated over, not 64",
    ]


def test_each_variant_changes_one_thing(planned, laplace, evolocumab):
    for variant in planned.values():
        changed = [
            variant.model.correlations != evolocumab.correlations,
            variant.model.typical() != evolocumab.typical(),
            variant.study.calibration.priors != laplace.calibration.priors,
            variant.study.calibration.subjects != laplace.calibration.subjects,
            variant.apart != 0,
        ]
        assert sum(changed) == 1, variant.label
        assert variant.study.seed == laplace.seed


def test_a_drift_of_its_own_has_the_size_of_the_shared_ones_prior(planned):
    """5 percent, in the unit of the endpoint: percentage points."""
    assert planned["drift of each group of arms, not one"].apart == 5.0


def test_wider_spreads_are_those_of_the_named_parameters_alone(evolocumab):
    wider, before = with_spreads(evolocumab, ["cl", "v"], 1.2).typical(), evolocumab.typical()
    assert {n for n in before if wider[n] != before[n]} == {"cl.spread", "v.spread"}
    assert wider["cl.spread"] == pytest.approx(1.2 * before["cl.spread"])
    assert list(wider) == list(before)
    assert evolocumab.typical() == before


def test_a_model_with_wider_spreads_is_the_same_for_the_typical_patient(evolocumab):
    wider = with_spreads(evolocumab, ["cl"], 2.0)
    x = evolocumab.covariates(weight=84.0, sex=0, pcsk9=425.0, statin=0, ezetimibe=0, ldl=120.0)
    typical, spread = (dict.fromkeys(evolocumab.effects(), z) for z in (0.0, 1.0))
    a, b = (m.subject(m.typical(), typical, x) for m in (evolocumab, wider))
    assert {n: float(v) for n, v in vars(a).items()} == {n: float(v) for n, v in vars(b).items()}
    a, b = (m.subject(m.typical(), spread, x) for m in (evolocumab, wider))
    assert float(b.cl / 0.105) == pytest.approx(float(a.cl / 0.105) ** 2)


def test_shifts_are_in_sds_of_the_posterior_as_calibrated(laplace, people, monkeypatch):
    names, arms = list(laplace.calibration.priors), list(laplace.arms)
    seen: list[tuple[int, int]] = []

    def fitted(study, _, **how):
        if how["apart"]:
            raise CalibrationError("it did not converge")
        return tree(names, arms, shift=0.5)

    monkeypatch.setattr(room, "calibrate", fitted)
    found = sensitivity(laplace, people, tree(names, arms), progress=lambda *p: seen.append(p))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert seen == [(k, 8) for k in range(9)]
    assert {row["shift"] for row in found["base"]["parameters"]} == {0.0}
    *others, apart, subjects = found["variants"]
    for variant in (*others, subjects):
        assert variant["refused"] is None
        assert [row["parameter"] for row in variant["parameters"]] == names
        assert [row["shift"] for row in variant["parameters"]] == pytest.approx([0.5] * len(names))
        assert [row["arm"] for row in variant["arms"]] == arms
        assert variant["chi2"] == pytest.approx(len(arms) / 4)
        assert 0 < variant["p_chi2"] < 1
    assert (apart["refused"], apart["parameters"], apart["p_chi2"]) == ("it did not converge", [], None)
