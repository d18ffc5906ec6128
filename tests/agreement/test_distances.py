"""Distances between two normals are the closed ones; real against real is the yardstick."""

import numpy as np
import pytest
import scipy

from cohort.agreement import AgreementError
from cohort.agreement.distances import by_group, compare, energy, kolmogorov, overlap, wasserstein

QUANTILES = (np.arange(100_000) + 0.5) / 100_000
A, B = scipy.stats.norm.ppf(QUANTILES), scipy.stats.norm.ppf(QUANTILES) + 0.5


@pytest.mark.parametrize(
    ("measure", "known", "tolerance"),
    [(wasserstein, 0.5, 1e-6), (kolmogorov, 0.1974127, 1e-4), (energy, 0.1395963, 1e-5), (overlap, 0.8025873, 4e-3)],
)
def test_independent_closed_forms_of_two_normals_half_a_standard_deviation_apart(measure, known, tolerance):
    # Kernel smoothing widens both densities a little: the overlap is known to a few thousandths.
    assert measure(A, B) == pytest.approx(known, abs=tolerance)


def test_the_same_population_is_no_farther_than_real_from_real():
    rng = np.random.default_rng(2)
    rows = compare(rng.normal(size=80), rng.normal(size=5000), seed=1, replicates=200)
    assert all(row["beyond"] > 0.05 for row in rows)


def test_another_population_is_farther_however_many_virtual_patients_there_are():
    rng = np.random.default_rng(2)
    real = rng.normal(size=80)
    few, many = (compare(real, rng.normal(0.8, 1, n), seed=1, replicates=200) for n in (200, 20_000))
    assert all(row["beyond"] < 0.05 for row in few + many)
    for a, b in zip(few, many, strict=True):
        assert a["distance"] == pytest.approx(b["distance"], rel=0.25)


def test_a_group_without_patients_is_a_row_with_its_reason():
    rng = np.random.default_rng(3)
    rows = by_group(
        {"women": rng.normal(size=40), "men": rng.normal(size=4)}, {"women": A, "men": A, "other": A},
        seed=1, replicates=50, measures=("wasserstein",),
    )  # fmt: skip
    said = {row["group"]: row.get("refused", "") for row in rows}
    assert said["women"] == ""
    assert "at least 10" in said["men"]
    assert said["other"] == "no real patients"


def test_missing_outcomes_and_constant_ones_are_refused():
    with pytest.raises(AgreementError, match="missing or not finite"):
        compare(np.append(A[:50], np.nan), A, seed=1)
    with pytest.raises(AgreementError, match="every outcome is 3"):
        compare(np.full(50, 3.0), A, seed=1)
    with pytest.raises(AgreementError, match="unknown measure"):
        compare(A[:50], A, seed=1, measures=("distance",))
